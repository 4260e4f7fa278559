#' Linear autoencoder
#'
#' The deterministic counterpart of [linear_vae()]: an encoder z = V (x - mu) and a
#' decoder mu + W z that minimise the squared error of the reconstruction, plus a
#' penalty on the weights. Without a penalty, and with a uniform one, only the span
#' of the principal directions is identified (Baldi and Hornik 1989; Kunin et al.
#' 2019); with an ordered one the directions themselves are, but gradient methods
#' find them slowly (Bao et al. 2020). The linear VAE identifies them by its
#' diagonal posterior: compare with [alignment()].
#'
#' @details
#' The loss per observation is |x - mu - W V (x - mu)|^2, averaged, plus
#' sum_j lambda_j (|w_j|^2 + |v_j|^2), w_j the columns of W and v_j the rows of V.
#' With eigenvalues e_j and eigenvectors u_j of the covariance matrix, a minimum has
#' W = V' = U diag(1 - lambda_j / e_j)^(1/2), where a negative difference counts as
#' zero. With a uniform penalty W R and R'V are minima as well, for any rotation R,
#' and without a penalty W A and A^-1 V for any invertible A.
#'
#' `"two-stage"`, for no penalty, is PCA followed by multivariate linear regression
#' of the data on the scores. Its reconstruction is the projection U_k U_k'(x - mu).
#'
#' @inheritParams linear_vae
#' @param k number of latent dimensions, from 1 to p - 1.
#' @param penalty `"uniform"`: one weight for all dimensions; `"ordered"`: one for
#'   each, increasing; `"none"`.
#' @param lambda weight of the penalty, in units of the data squared: a number for
#'   `"uniform"`, k increasing numbers for `"ordered"`. By default a tenth of the
#'   kth eigenvalue of the covariance matrix, or evenly from a tenth to nine tenths
#'   of it.
#' @param optimizer `"lbfgs"`, `"adam"` (full batch, see [train_control()]),
#'   `"exact"` (a minimum in closed form), or `"two-stage"`.
#' @param start `NULL` for random values from R's generator, or a list with
#'   `loadings` (p x k) and `V` (k x p).
#' @return An object of class `linear_ae`, a list with `loadings` (W, p x k), `V`
#'   (k x p), `mean`, `lambda` (length k), `loss` and `error` (mean squared length
#'   of the residual) per observation, `values` and `trace` (known eigenvalues of
#'   the covariance matrix, and its trace), `scores` (n x k), `history` (data frame:
#'   `iteration`, `loss`, `error`), `converged` (`NA` for `"adam"`), `iterations`,
#'   `seconds` (how long it took, on the clock), `n`, `p`, `k`, `call` and settings.
#' @references Baldi, P. and Hornik, K. (1989). Neural networks and principal
#'   component analysis. *Neural Networks* 2, 53--58.
#'   \doi{10.1016/0893-6080(89)90014-2}
#'
#'   Kunin, D., Bloom, J. M., Goeva, A. and Seed, C. (2019). Loss landscapes of
#'   regularized linear autoencoders. *International Conference on Machine
#'   Learning*. \doi{10.48550/arXiv.1901.08168}
#'
#'   Bao, X., Lucas, J., Sachdeva, S. and Grosse, R. (2020), see [alignment()].
#' @examples
#' x <- mnist1000$x / 255
#' pca <- ppca(x, k = 4)
#' set.seed(1)
#' uniform <- linear_ae(x, k = 4)
#' alignment(uniform, pca)                       # the span alone
#' alignment(linear_vae(x, k = 4), pca)          # the directions
#' @export
linear_ae <- function(x, k, penalty = c("uniform", "ordered", "none"), lambda = NULL,
                      optimizer = c("lbfgs", "adam", "exact", "two-stage"),
                      start = NULL, center = TRUE, control = train_control(),
                      keep_data = FALSE) {
  call <- match.call()
  raw <- as_data_matrix(x)
  check_shape(raw)
  asked <- list(
    k = check_rank_argument(k, ncol(raw)),
    penalty = check_choice(penalty, "penalty", c("uniform", "ordered", "none")),
    optimizer = check_choice(optimizer, "optimizer",
                             c("lbfgs", "adam", "exact", "two-stage")),
    center = check_vector_or_flag(center, "center", raw),
    keep_data = check_flag(keep_data, "keep_data")
  )
  check_ae_lambda(lambda, asked)
  asked["lambda"] <- list(lambda)
  control <- linear_defaults(check_train_control(control))
  check_ae_start(start, ncol(raw), asked$k)
  if (asked$optimizer == "two-stage" && asked$penalty != "none") {
    abort_arg("optimizer", "not be \"two-stage\" where there is a penalty",
              paste("with the", asked$penalty, "one"))
  }
  fit_linear_ae(raw, asked, start, control, call)
}

check_ae_lambda <- function(lambda, asked) {
  if (is.null(lambda)) return()
  need <- switch(asked$penalty, uniform = 1, ordered = asked$k, none = 0)
  ok <- is.numeric(lambda) && !is.object(lambda) && length(lambda) == need &&
    all(is.finite(lambda)) && all(lambda > 0) && !is.unsorted(lambda, strictly = TRUE)
  if (!ok) {
    abort_arg("lambda", switch(asked$penalty, uniform = "be a positive number",
                               ordered = sprintf("be %d increasing positive numbers", need),
                               none = "be NULL without a penalty"), describe(lambda))
  }
}

check_ae_start <- function(start, p, k) {
  if (is.null(start)) return()
  if (!is.list(start) || is.null(start$loadings) || is.null(start$V)) {
    abort_arg("start", "be NULL or a list with `loadings` and `V`", describe(start))
  }
  check_start_matrix(start$loadings, "start$loadings", p, k)
  check_start_matrix(start$V, "start$V", k, p)
}

fit_linear_ae <- function(raw, asked, start, control, call) {
  began <- clock()
  before <- use_threads(control)
  on.exit(options(before))
  check_resume(control$resume, raw)
  data <- covariance_data(raw, c(asked, list(scale = FALSE, transform = NULL)))
  k <- asked$k
  values <- covariance_values(data, k)
  lambda <- ae_lambda(values, asked, data)
  resume <- control$resume
  if (!is.null(resume)) start <- resume
  theta <- ae_start(start, data, k)
  solution <- switch(asked$optimizer,
    exact = , `two-stage` = ae_exact(data, k, lambda, asked$optimizer),
    lbfgs = ae_lbfgs(data, k, lambda, control, theta),
    adam = ae_adam(data, k, lambda, control, theta)
  )
  fit <- new_linear_ae(solution, data, lambda, values, asked, control, call)
  fit$history <- whole_history(resume, fit$history)
  fit$seconds <- seconds_since(began, resume)
  if (asked$keep_data) fit$x <- raw
  fit
}

# One weight for each dimension, in core units.
ae_lambda <- function(values, asked, data) {
  k <- asked$k
  if (asked$penalty == "none") return(numeric(k))
  if (!is.null(asked$lambda)) return(rep_len(asked$lambda / data$u^2, k))
  zero <- max(data$n, data$p) * .Machine$double.eps * values[1]
  if (length(values) < k || !(values[k] > zero)) {
    abort_arg("lambda", "be given where `k` exceeds the rank of `x`", "NULL")
  }
  share <- if (asked$penalty == "uniform") 0.1 else
    if (k == 1) 0.1 else seq(0.1, 0.9, length.out = k)
  rep_len(share * values[k], k)
}

# (W, V') as one vector.
ae_start <- function(start, data, k) {
  if (!is.null(start)) {
    return(c(unname(start$loadings), t(unname(start$V))))
  }
  stats::rnorm(2 * data$p * k, sd = sqrt(1 / data$p))
}

# Minus the loss and its gradient at theta: with A = V S V',
# dW = 2 (W A - S V') + 2 W Lambda, dV' = 2 (S V' W'W - S W) + 2 V' Lambda.
ae_evaluate <- function(data, k, lambda) {
  pk <- data$p * k
  weight <- rep(lambda, each = data$p)
  function(theta) {
    w <- matrix(theta[seq_len(pk)], data$p)
    vt <- matrix(theta[pk + seq_len(pk)], data$p)
    product <- core_covariance_times(data, cbind(w, vt))
    sw <- product[, seq_len(k), drop = FALSE]
    svt <- product[, k + seq_len(k), drop = FALSE]
    ww <- crossprod(w)
    vsv <- crossprod(vt, svt)
    error <- data$trace - 2 * sum(w * svt) + sum(ww * vsv)
    loss <- error + sum(weight * (w^2 + vt^2))
    if (!is.finite(loss)) return(NULL)
    gradient <- 2 * c(w %*% vsv - svt + weight * w, svt %*% ww - sw + weight * vt)
    list(objective = -loss, gradient = -gradient, row = c(loss = loss, error = error))
  }
}

ae_exact <- function(data, k, lambda, optimizer) {
  eigen <- data_eigen(data, min(k, data$n))
  if (optimizer == "two-stage") check_score_rank(eigen$values, data, k)
  eigen <- pad_eigen(eigen, data$p, k)
  size <- sqrt(pmax(1 - lambda / pmax(eigen$values[seq_len(k)], .Machine$double.xmin), 0))
  w <- vt <- eigen$vectors * rep(size, each = data$p)
  if (optimizer == "two-stage") {
    # multivariate regression of x on its scores
    sz <- core_covariance_times(data, vt)
    w <- sz %*% solve(crossprod(vt, sz))
  }
  list(theta = c(w, vt), converged = TRUE, iterations = 0L)
}

# Regression on the scores needs as many that vary.
check_score_rank <- function(values, data, k) {
  rank <- sum(values > max(data$n, data$p) * .Machine$double.eps * max(values))
  if (rank < k) abort_arg("k", sprintf("be at most %d, the rank of `x`", rank), k)
}

ae_lbfgs <- function(data, k, lambda, control, theta) {
  run <- climb_lbfgs(theta, ae_evaluate(data, k, lambda), control, done_before(control))
  c(list(theta = run$best$theta), run[c("converged", "iterations", "history")])
}

ae_adam <- function(data, k, lambda, control, theta) {
  evaluate <- ae_evaluate(data, k, lambda)
  none <- numeric(length(theta))
  before <- control$resume$state
  state <- c(list(theta = theta),
             if (is.null(before)) list(m = none, v = none, steps = 0) else before)
  step <- function(state, left, done) {
    at <- if (is.null(state$at)) evaluate(state$theta) else state$at
    if (is.null(at)) return(NULL)
    new <- core_adam(state, at$gradient, scheduled(control$learning_rate, done + 1))
    to <- evaluate(new$theta)
    if (is.null(to)) return(NULL)
    c(new, list(at = to, row = at$row, maps = 1L))
  }
  done <- done_before(control)
  first <- step(state, Inf, done)
  if (is.null(first)) stop_start("loss")
  run <- iterate(
    first, step,
    list(maxit = control$epochs, progress = control$progress),
    settled = function(old, new, done) FALSE, record = function(state) state$row,
    words = list(name = "Adam", unit = "epoch", argument = "epochs", open_ended = TRUE,
                 advice = "Choose a smaller `learning_rate`."),
    done = done
  )
  c(list(theta = run$state$theta, state = run$state[c("m", "v", "steps")],
         converged = NA), run[c("iterations", "history")])
}

new_linear_ae <- function(solution, data, lambda, values, asked, control, call) {
  u <- data$u
  k <- asked$k
  pk <- data$p * k
  at <- ae_evaluate(data, k, lambda)(solution$theta)
  vt <- matrix(solution$theta[pk + seq_len(pk)], data$p)
  latent <- paste0("z", seq_len(k))
  features <- colnames(data$x)
  history <- solution$history
  if (is.null(history)) history <- data.frame(iteration = 0L, t(at$row))
  history[c("loss", "error")] <- history[c("loss", "error")] * u^2
  structure(
    list(
      call = call,
      loadings = matrix(solution$theta[seq_len(pk)], data$p,
                        dimnames = list(features, latent)),
      V = structure(t(vt), dimnames = list(latent, features)),
      mean = structure(data$mu, names = features),
      lambda = lambda * u^2, loss = at$row[["loss"]] * u^2,
      error = at$row[["error"]] * u^2, values = values * u^2, trace = data$trace * u^2,
      scores = structure(core_times(data, vt) * u,
                         dimnames = list(rownames(data$x), latent)),
      history = history, converged = solution$converged,
      iterations = solution$iterations, n = data$n, p = data$p, k = k,
      penalty = asked$penalty, optimizer = asked$optimizer, center = data$centred,
      features = features, arguments = asked,
      control = unclass(control)[setdiff(names(control), "resume")],
      state = solution$state
    ),
    class = "linear_ae"
  )
}

#' Methods of linear autoencoders
#'
#' @param object a fitted [linear_ae()] model.
#' @param newdata data with the features of the fit, without missing cells; by
#'   default those that the model was fitted to (for `residuals()` found as for
#'   [residuals.ppca()]).
#' @param type `"latent"` for V (x - mu), n x k, or `"reconstruction"`, n x p.
#' @param epochs,maxit,tol as for [update.linear_vae()].
#' @param ... unused; for `update()`, arguments of [linear_ae()] to change.
#' @return `predict()`, `fitted()` (the reconstruction of the data of the fit) and
#'   `residuals()`: a matrix. `coef()`: a list of `loadings`, `V` and `mean`.
#'   `update()`: a fitted model.
#' @examples
#' fit <- linear_ae(iris[1:4], k = 2, optimizer = "exact")
#' head(predict(fit, iris))
#' mean(rowSums(residuals(fit)^2))
#' @name linear_ae-methods
NULL

#' @rdname linear_ae-methods
#' @export
predict.linear_ae <- function(object, newdata = NULL,
                              type = c("latent", "reconstruction"), ...) {
  check_dots_empty(...)
  type <- check_choice(type, "type", c("latent", "reconstruction"))
  z <- if (is.null(newdata)) object$scores else ae_latent(object, conform(object, newdata))
  if (type == "latent") z else reconstruct(object, z)
}

ae_latent <- function(object, data) {
  check_complete(data)
  s <- 2^floor(log2(max(abs(object$V), .Machine$double.xmin)))
  z <- core_times(list(x = data$x, mu = unname(object$mean), unit = rep(s, object$p)),
                  t(unname(object$V)) / s)
  dimnames(z) <- list(rownames(data$raw), rownames(object$V))
  z
}

#' @rdname linear_ae-methods
#' @export
fitted.linear_ae <- function(object, ...) {
  check_dots_empty(...)
  reconstruct(object, object$scores)
}

#' @rdname linear_ae-methods
#' @export
residuals.linear_ae <- function(object, newdata = NULL, ...) {
  check_dots_empty(...)
  data <- conform(object, data_of(object, newdata))
  as.matrix(data$raw) - reconstruct(object, ae_latent(object, data))
}

#' @rdname linear_ae-methods
#' @export
coef.linear_ae <- function(object, ...) object[c("loadings", "V", "mean")]

#' @export
nobs.linear_ae <- function(object, ...) object$n

#' @rdname linear_ae-methods
#' @export
update.linear_ae <- function(object, ..., epochs = NULL, maxit = NULL, tol = NULL) {
  changed <- changed_arguments(object, match.call(expand.dots = FALSE)$..., parent.frame())
  update_training(object, changed, linear_ae, epochs, maxit, tol, parent.frame())
}

#' @export
print.linear_ae <- function(x, ...) {
  cat("Linear autoencoder: ", x$n, " observations, ", x$p, " features, k = ", x$k, "\n",
      sep = "")
  cat("Penalty: ", switch(x$penalty, none = "none",
                          uniform = paste("uniform,", format(x$lambda[1], digits = 3)),
                          ordered = sprintf("ordered, %s to %s", format(x$lambda[1], digits = 3),
                                            format(x$lambda[x$k], digits = 3))),
      "\n", sep = "")
  cat("Fitted by ", switch(x$optimizer,
    exact = "eigen-decomposition", `two-stage` = "PCA, then regression on its scores",
    lbfgs = sprintf("L-BFGS, %d evaluations, %s", x$iterations,
                    if (x$converged) "converged" else "not converged"),
    adam = sprintf("Adam, %d epochs", x$iterations)), "\n", sep = "")
  cat(sprintf("Loss %s, squared error %s per observation (%.1f %% of the variance kept)\n",
              format(x$loss, digits = 6), format(x$error, digits = 6),
              100 * (1 - x$error / x$trace)))
  invisible(x)
}
