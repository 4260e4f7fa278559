# Methods of fitted models.

# ---- data that a method asks for ----------------------------------------

# The data that a method was given, or else those that the model was fitted to:
# kept in the fit, or found again through its call.
data_of <- function(object, newdata, arg = "newdata", env = parent.frame(2)) {
  if (!is.null(newdata)) return(newdata)
  if (!is.null(object$x)) return(object$x)
  found <- tryCatch(eval(data_source(object), env), error = function(e) NULL)
  if (is.null(found) || !is_data(found) || nrow(found) != object$n) {
    abort_changed(object, arg)
  }
  found
}

# What the call of a fit says its data are.
data_source <- function(object, call = object$call) {
  if (is.null(object$terms)) call$x else call$data
}

abort_changed <- function(object, arg) {
  abort("`", arg, "` must be given: the fit holds no data, and `",
        paste(deparse(data_source(object), nlines = 1), collapse = ""),
        "` is not (or no longer) the data it was fitted to. ",
        "A fit with `keep_data = TRUE` remembers them.")
}

is_data <- function(x) is.data.frame(x) || is.matrix(x) || is_s4_matrix(x)

# A power of two near the size of the model's numbers.
core_unit <- function(object) {
  2^floor(log2(sqrt(object$sigma2) + max(abs(object$loadings))))
}

# The model in units in which no square over- or underflows: the arguments that
# the core wants, with `s` a power of two.
core_model <- function(object) {
  sd <- if (is.null(object$scale)) rep(1, object$p) else unname(object$scale)
  s <- core_unit(object)
  list(mu = unname(object$mean), unit = 1 / (sd * s),
       w = unname(object$loadings) / s, sigma2 = object$sigma2 / s^2)
}

# E(z | x), posterior covariances by pattern and log densities of the rows of x
# (on the model's scale), from one pass.
posterior_pass <- function(object, x, cov = FALSE, loglik = FALSE) {
  model <- core_model(object)
  patterns <- core_patterns(x)
  out <- core_posterior(list(x = x, mu = model$mu, unit = model$unit), patterns, model$w,
                        model$sigma2, cov, loglik)
  out$pattern <- patterns$pattern + 1L
  out
}

# n x k posterior means of conformed data.
latent_of <- function(object, data) {
  z <- if (inherits(object, "linear_vae")) {
    observe_rows(object, data)$mean
  } else if (data$missing) {
    posterior_pass(object, data$x)$mean
  } else {
    model <- core_model(object)
    latent_means(list(x = data$x, mu = model$mu, unit = model$unit), model$w, model$sigma2)
  }
  dimnames(z) <- list(rownames(data$raw), colnames(object$loadings))
  z
}

# Loadings on the scale of the (transformed) data: scale_j W_j.
data_loadings <- function(object) {
  w <- object$loadings
  if (is.null(object$scale)) w else w * unname(object$scale)
}

# mu + W z for each row of z (n x k), on the scale of the user's data.
reconstruct <- function(object, z) {
  to_user(object, linear_given(object, z), rownames(z))
}

# ---- predictions ---------------------------------------------------------

#' Latent positions and reconstructions from a fitted model
#'
#' @param object a fitted [ppca()] model.
#' @param newdata a matrix, data frame or sparse matrix with the features of
#'   the fit; named columns are matched by name, and columns that the fit does
#'   not use are ignored. May hold `NA`. For `fitted()` there is none: it uses
#'   the scores in the fit.
#' @param type `"latent"` for the posterior means E(z | x), n x k;
#'   `"reconstruction"` for mu + W E(z | x), n x p, on the scale of the data,
#'   missing cells included.
#' @param ... unused.
#' @return A matrix with one row per row of `newdata`. Without `newdata` (or
#'   with `NULL`), that of the data the model was fitted to.
#' @references Tipping and Bishop (1999), section 3.1: p(z | x) =
#'   N(M^-1 W'(x - mu), sigma2 M^-1), M = W'W + sigma2 I.
#' @examples
#' x <- as.matrix(iris[1:4])
#' fit <- ppca(x, k = 2)
#' head(predict(fit, x))
#' head(predict(fit, x, type = "reconstruction"))
#' @export
predict.ppca <- function(object, newdata = NULL,
                         type = c("latent", "reconstruction"), ...) {
  check_dots_empty(...)
  type <- check_choice(type, "type", c("latent", "reconstruction"))
  z <- if (is.null(newdata)) object$scores else
    latent_of(object, conform(object, newdata))
  if (type == "latent") z else reconstruct(object, z)
}

#' @rdname predict.ppca
#' @export
fitted.ppca <- function(object, ...) {
  check_dots_empty(...)
  reconstruct(object, object$scores)
}

#' Residuals of a fitted model
#'
#' Data minus reconstruction, on the scale of the data.
#'
#' @inheritParams predict.ppca
#' @param newdata data to take the residuals of; by default the data that the
#'   model was fitted to, which must be in the fit (`keep_data = TRUE`) or still
#'   be found under the name used in the call.
#' @return A dense n x p matrix, `NA` where a cell is missing.
#' @examples
#' fit <- ppca(as.matrix(iris[1:4]), k = 2)
#' colMeans(residuals(fit)^2)
#' @export
residuals.ppca <- function(object, newdata = NULL, ...) {
  check_dots_empty(...)
  data <- conform(object, data_of(object, newdata))
  as.matrix(data$raw) - reconstruct(object, latent_of(object, data))
}

#' Posterior distribution of the latent variables
#'
#' p(z | x) for each row, given its observed cells. For pPCA it is the normal
#' distribution with mean M^-1 W'(x - mu) and covariance sigma2 M^-1,
#' M = W'W + sigma2 I, where W and mu are those of the observed features.
#'
#' @param object a fitted model.
#' @param newdata the data, as in [predict.ppca()]; by default the data that
#'   the model was fitted to, which must be in the fit (`keep_data = TRUE`) or
#'   still be found under the name used in the call.
#' @param draws number of samples of z to draw for each row, from R's generator.
#' @param ... unused.
#' @return A list of class `latent_posterior` with
#'   \item{mean}{n x k posterior means.}
#'   \item{variance}{n x k posterior variances, the diagonals of the
#'     covariances.}
#'   \item{cov}{k x k x u array of posterior covariances, one for each of the u
#'     patterns of missing cells (u = 1 for complete data).}
#'   \item{pattern}{for each row, which of the u covariances is its own.}
#'   \item{draws}{where they are asked for, n x k x `draws` array of samples.}
#'   A row without any observed cell has the prior, N(0, I).
#'
#'   For a [linear_vae()] it is q(z | x), one covariance for all rows. For a [vae()] it is
#'   q(z | x), too, without `cov` and `pattern`, as the encoder gives it, which sees the mean
#'   of a feature where a cell is missing.
#' @seealso [decode()], the way back.
#' @references Tipping and Bishop (1999), section 3.1.
#' @examples
#' x <- as.matrix(iris[1:4])
#' x[1, 1:2] <- NA
#' fit <- ppca(x, k = 2)
#' post <- posterior(fit, x)
#' head(post$variance)
#' post$cov[, , post$pattern[1]]
#' set.seed(1)
#' dim(posterior(fit, x, draws = 5)$draws)
#' @export
posterior <- function(object, newdata = NULL, ...) UseMethod("posterior")

#' @rdname posterior
#' @export
posterior.ppca <- function(object, newdata = NULL, draws = 0, ...) {
  check_dots_empty(...)
  draws <- check_count(draws, "draws", 0)
  data <- conform(object, data_of(object, newdata))
  out <- posterior_pass(object, data$x, cov = TRUE)
  latent <- colnames(object$loadings)
  cov <- unpack_covariances(out$cov, object$k, latent)
  variance <- matrix(apply(cov, 3, diag), ncol = object$k, byrow = TRUE)
  names <- list(rownames(data$raw), latent)
  post <- structure(
    list(mean = structure(out$mean, dimnames = names),
         variance = structure(variance[out$pattern, , drop = FALSE],
                              dimnames = names),
         cov = cov, pattern = out$pattern),
    class = "latent_posterior"
  )
  with_draws(post, draws)
}

# u x k(k+1)/2 lower triangles, by columns, to k x k x u.
unpack_covariances <- function(packed, k, latent) {
  place <- matrix(0L, k, k)
  place[lower.tri(place, diag = TRUE)] <- seq_len(k * (k + 1) / 2)
  place[upper.tri(place)] <- t(place)[upper.tri(place)]
  array(t(packed[, place, drop = FALSE]), c(k, k, nrow(packed)),
        dimnames = list(latent, latent, NULL))
}

#' @export
print.latent_posterior <- function(x, ...) {
  kind <- if (is.null(x$cov)) "each with variances of its own" else
    if (dim(x$cov)[3] == 1) "1 covariance" else
      paste(dim(x$cov)[3], "covariances (patterns of missing cells)")
  cat(sprintf("Posterior of %d latent dimensions for %d observations, %s\n",
              ncol(x$mean), nrow(x$mean), kind))
  cat("Means:\n")
  print(utils::head(x$mean))
  cat("Standard deviations:\n")
  print(utils::head(sqrt(x$variance)))
  if (!is.null(x$draws)) cat("With", dim(x$draws)[3], "draws of each\n")
  invisible(x)
}

#' Generate data from a fitted model
#'
#' @param object a fitted model.
#' @param nsim number of observations to generate.
#' @param seed `NULL` to draw from R's generator as it is, or a number for
#'   [set.seed()]; the generator is then put back as it was.
#' @param type `"ancestral"` draws z from the prior and then x given z, noise
#'   included; `"mean"` gives the mean of x given z, without the noise.
#' @param ... unused.
#' @return An `nsim` x p matrix on the scale of the data, with the state of the
#'   generator as attribute `"seed"`, as [stats::simulate()] asks.
#' @examples
#' fit <- ppca(as.matrix(iris[1:4]), k = 2)
#' simulate(fit, 3, seed = 1)
#' @importFrom stats simulate
#' @export
simulate.ppca <- function(object, nsim = 1, seed = NULL,
                          type = c("ancestral", "mean"), ...) {
  check_dots_empty(...)
  nsim <- check_count(nsim, "nsim", 0)
  type <- check_choice(type, "type", c("ancestral", "mean"))
  state <- seed_state(seed)
  on.exit(state$restore())
  z <- matrix(stats::rnorm(nsim * object$k), nsim, object$k)
  y <- linear_given(object, z, noise = type == "ancestral")
  structure(to_user(object, y), seed = state$seed)
}

# The convention of stats::simulate().
seed_state <- function(seed) {
  if (!exists(".Random.seed", envir = globalenv(), inherits = FALSE)) stats::runif(1)
  before <- get(".Random.seed", envir = globalenv())
  if (is.null(seed)) return(list(seed = before, restore = function() NULL))
  seed <- check_number(seed, "seed", -.Machine$integer.max, .Machine$integer.max)
  set.seed(seed)
  list(seed = structure(seed, kind = as.list(RNGkind())),
       restore = function() assign(".Random.seed", before, envir = globalenv()))
}

# lapply() in which each call of f finds R's generator in the same state: what is drawn
# for one is drawn for all. It is left as the last call that drew from it leaves it.
same_draws <- function(x, f) {
  begin <- end <- seed_state(NULL)$seed
  on.exit(assign(".Random.seed", end, envir = globalenv()))
  lapply(x, function(one) {
    assign(".Random.seed", begin, envir = globalenv())
    out <- f(one)
    now <- get(".Random.seed", envir = globalenv())
    if (!identical(now, begin)) end <<- now
    out
  })
}

# ---- likelihood ----------------------------------------------------------

#' Log-likelihood of a fitted model
#'
#' Exact, in nats, on the scale of the data that were passed: scaling and
#' transform enter with their log-Jacobian. Missing cells are integrated out.
#' [stats::AIC()] and [stats::BIC()] work on the result.
#'
#' @inheritParams residuals.ppca
#' @param newdata `NULL` for the data of the fit; or other data, for example
#'   held-out ones.
#' @param by `"total"` for the sum over observations, `"observation"` for a
#'   vector with the log density of each row (this needs the data).
#' @return An object of class `logLik` with attributes `df` (free parameters)
#'   and `nobs` (rows), or a numeric vector.
#' @details Free parameters: p means if estimated, p k - k (k - 1) / 2
#'   loadings, 1 noise variance if estimated, and p scales with
#'   `scale = TRUE`.
#' @examples
#' fit <- ppca(as.matrix(iris[1:4]), k = 2)
#' logLik(fit)
#' BIC(fit)
#' head(logLik(fit, iris, by = "observation"))
#' @importFrom stats logLik
#' @export
logLik.ppca <- function(object, newdata = NULL, by = c("total", "observation"),
                        ...) {
  check_dots_empty(...)
  by <- check_choice(by, "by", c("total", "observation"))
  if (is.null(newdata) && by == "total") {
    return(as_loglik(object$loglik, object, object$n))
  }
  data <- conform(object, data_of(object, newdata))
  each <- posterior_pass(object, data$x, loglik = TRUE)$loglik +
    transform_log_jacobian(object$transform, data$x)
  if (by == "observation") return(structure(each, names = rownames(data$raw)))
  as_loglik(sum(each), object, length(each))
}

as_loglik <- function(value, object, nobs) {
  structure(value, df = object$df, nobs = nobs, class = "logLik")
}

#' @importFrom stats nobs
#' @export
nobs.ppca <- function(object, ...) object$n

#' Parameters of a fitted model
#'
#' @inheritParams predict.ppca
#' @return A list: `loadings` (p x k), `mean` (p), `sigma2`, and `scale` (p)
#'   where features were scaled.
#' @examples
#' coef(ppca(as.matrix(iris[1:4]), k = 2))
#' @importFrom stats coef
#' @export
coef.ppca <- function(object, ...) {
  object[c("loadings", "mean", "sigma2", if (!is.null(object$scale)) "scale")]
}

# ---- update --------------------------------------------------------------

#' Refit a model, or continue its iterations
#'
#' With `maxit` or `tol`, an EM fit goes on from where it stopped, up to `maxit`
#' maps in all. Other arguments change the call, as [stats::update()] does, and
#' fit anew. The data are those in the fit (`keep_data = TRUE`) or are looked up
#' under the name used in the call.
#'
#' @inheritParams predict.ppca
#' @param ... arguments of [ppca()] to change, by name; for a fit by a formula a first one
#'   without a name is a change of that, such as `~ . - a`.
#' @param maxit total number of EM maps, those already made included.
#' @param tol new tolerance, see [em_control()].
#' @return A fitted model.
#' @examples
#' x <- mnist1000$x[1:200, ] / 255
#' fit <- suppressWarnings(
#'   ppca(x, k = 5, method = "em", control = em_control(maxit = 3)))
#' fit <- update(fit, maxit = 100)
#' fit$converged
#' update(fit, k = 6)
#' @importFrom stats update
#' @export
update.ppca <- function(object, ..., maxit = NULL, tol = NULL) {
  changed <- changed_arguments(object, match.call(expand.dots = FALSE)$..., parent.frame())
  check_limits_once(changed, list(maxit = maxit, tol = tol))
  goes_on <- object$method == "em" && !length(changed)
  if (goes_on && !is.null(maxit)) {
    maxit <- check_count(maxit, "maxit")
    if (maxit <= object$iterations) return(object)
  }
  asked <- c(list(maxit = maxit)[!is.null(maxit)], list(tol = tol)[!is.null(tol)])
  settings <- unclass(object$control)
  settings[names(asked)] <- asked
  shown <- if (length(asked)) {
    list(control = as.call(c(quote(em_control), settings[c("tol", "maxit", "accelerate")])))
  }
  if (goes_on && length(asked)) settings$start <- object
  refit(object, changed, ppca, do.call(em_control, settings), shown, parent.frame())
}

# The arguments that update() is to change, not evaluated. A formula may come first and
# without a name, as in stats::update().
changed_arguments <- function(object, dots, env) {
  dots <- as.list(dots)
  given <- if (is.null(names(dots))) rep("", length(dots)) else names(dots)
  unnamed <- which(given == "")
  if (!length(unnamed)) return(dots)
  formula <- if (identical(unnamed, 1L) && !"x" %in% given) eval(dots[[1]], env)
  if (!inherits(formula, "formula") || is.null(object$terms)) {
    abort("Arguments that `update()` is to change must have names, such as `k = 3`",
          if (!is.null(object$terms)) "; only a formula, the first, needs none", ".")
  }
  dots[[1]] <- stats::update.formula(stats::formula(object$terms), formula)
  environment(dots[[1]]) <- environment(formula)
  names(dots) <- replace(given, 1, "x")
  dots
}

# Limits of the iteration are given beside `control` or in it.
check_limits_once <- function(changed, limits) {
  given <- names(limits)[!vapply(limits, is.null, NA)]
  if ("control" %in% names(changed) && length(given)) {
    abort_arg(given[1], "be set in `control` where that is given too")
  }
}

# The call of train_control() that a fit shows when the settings in `asked` were changed:
# the user's where there is one, otherwise one that makes the fit's settings.
shown_control <- function(object, fitter, asked) {
  call <- object$call$control
  if (is.null(call)) call <- formals(fitter)$control
  if (is_literal_control(call)) {
    call <- match.call(train_control, call)
  } else {
    usual <- unclass(train_control())
    given <- if (is.null(object$given)) object$control else object$given
    given <- given[intersect(names(given), names(usual))]
    differs <- !mapply(identical, given, usual[names(given)])
    call <- as.call(c(quote(train_control), given[differs]))
  }
  call[names(asked)] <- asked
  call
}

# Whether `call` is one of train_control() that says all: what dots held is not known.
is_literal_control <- function(call) {
  makers <- list(quote(train_control), quote(elbo::train_control))
  is.call(call) && any(vapply(makers, identical, NA, call[[1]])) &&
    !any(grepl("^[.][.]([.]|[0-9]+)$", all.names(call)))
}

# Settings that a model takes beside `control`.
DIRECT <- c("epochs", "batch_size", "learning_rate")

# What the call of a fit shows for the settings in `asked` that were changed: arguments of
# their own where the call has them so or gives no `control`, else the call of
# train_control().
shown_settings <- function(object, fitter, asked) {
  if (!length(asked)) return(NULL)
  given <- names(object$call)
  own <- names(asked) %in% intersect(DIRECT, if ("control" %in% given) given else DIRECT)
  c(asked[own], if (!all(own)) list(control = shown_control(object, fitter, asked[!own])))
}

# The value of an argument of the fit's call, once more.
found_again <- function(expression, arg, env) {
  tryCatch(eval(expression, env), error = function(e) {
    abort_arg(arg, paste0("be given: `", paste(deparse(expression, nlines = 1), collapse = ""),
                          "`, which the fit was made with, is not found any more"))
  })
}

# The formula of a fit's call, or where its name means something else by now the one that
# its terms are.
formula_again <- function(object, call, env) {
  found <- tryCatch(eval(call$x, env), error = function(e) NULL)
  if (inherits(found, "formula")) return(found)
  terms <- object$terms
  constants <- setdiff(all.vars(terms), attr(terms, "columns"))
  if (length(constants)) abort_arg("x", "be given: the formula of the fit is not found any more")
  stats::formula(terms)
}

# The call of `object` with the arguments in `changed`, evaluated in `env`, and
# `control`, for which the call of the result shows what shown_settings() says.
# Arguments that stay are passed by value: the call may have been made where its
# names meant something. They get names, so that no call grows large.
refit <- function(object, changed, fitter, control, shown, env) {
  call <- object$call
  env <- new.env(parent = env)
  keep <- object$arguments[setdiff(names(object$arguments), names(changed))]
  visible <- call
  for (name in names(changed)) visible[name] <- call[name] <- changed[name]
  for (name in names(shown)) visible[[name]] <- shown[[name]]
  other <- is.null(shown) && "control" %in% names(changed)
  keep$control <- if (other) eval(changed$control, env) else control
  # settings that the call gives beside `control` are in it by now
  if (!other) call[setdiff(DIRECT, names(changed))] <- NULL
  kept <- !is.null(object$x) && !any(c("x", "data") %in% names(changed))
  if (!is.null(object$terms) && !kept && !"x" %in% names(changed)) {
    call$x <- formula_again(object, call, env)
  }
  if (kept) {
    keep$x <- object$x
    call$data <- NULL
  } else if ("x" %in% names(changed)) {
    if (!inherits(eval(call$x, env), "formula")) call$data <- visible$data <- NULL
  } else if (!"data" %in% names(changed)) {
    tryCatch(eval(data_source(object, call), env),
             error = function(e) abort_changed(object, "x"))
  }
  again <- setdiff(intersect(c("validation", "condition"), names(call)),
                   c(names(keep), names(changed)))
  keep[again] <- lapply(again, function(name) found_again(call[[name]], name, env))
  # what is saved with the fit while it is trained
  if (inherits(keep$control, "train_control") && !is.null(keep$control$checkpoint)) {
    keep$control$shown <- visible
  }
  for (name in names(keep)) {
    assign(paste0(".elbo_", name), keep[[name]], envir = env)
    call[[name]] <- as.name(paste0(".elbo_", name))
  }
  call[[1]] <- fitter
  fit <- eval(call, env)
  fit$call <- visible
  if (kept) fit$terms <- object$terms
  fit
}

# ---- printing ------------------------------------------------------------

#' @export
print.ppca <- function(x, ...) {
  cat("Probabilistic PCA: ", x$n, " observations, ", x$p, " features, k = ", x$k,
      "\n", sep = "")
  cat("Fitted by ", describe_method(x), "\n", sep = "")
  if (x$observed < x$n * x$p) {
    cat(sprintf("Missing cells: %.0f (%.1f %%)\n", x$n * x$p - x$observed,
                100 * (1 - x$observed / (x$n * x$p))))
  }
  if (!is.null(x$transform)) cat("Transform: ", format(x$transform), "\n", sep = "")
  cat(sprintf("Noise variance sigma2: %s%s\n", format(x$sigma2, digits = 4),
              noise_origin(x)))
  cat(sprintf("Variance explained: %.1f %%\n", 100 * variance_explained(x)))
  cat(sprintf("Log-likelihood: %s (%s nats per observation), %s parameters\n",
              format(x$loglik, digits = 8), format(x$loglik / x$n, digits = 7),
              format(x$df)))
  invisible(x)
}

# Said of a noise variance that was not learned with the rest.
noise_origin <- function(x) {
  if (isTRUE(x$tuned)) " (tuned)" else if (x$fixed) " (fixed)" else ""
}

describe_method <- function(x) {
  if (x$method == "mle") {
    return(switch(x$route,
      covariance = "closed form (covariance matrix)",
      gram = "closed form (Gram matrix)",
      krylov = "closed form (block Lanczos)"
    ))
  }
  sprintf("EM, %d maps, %s", x$iterations,
          if (x$converged) "converged" else "not converged")
}

# Share of the total variance in the k leading directions.
variance_explained <- function(x) sum(variance_shares(x))

variance_shares <- function(x) {
  values <- x$values[seq_len(x$k)]
  if (x$trace > 0) values / x$trace else values
}

#' Summary of a fitted model
#'
#' @inheritParams predict.ppca
#' @return An object of class `summary.ppca`: a list with the fit's `call`,
#'   sizes, `loglik`, `AIC`, `BIC`, and `components`, a data frame with, for
#'   each latent dimension, its eigenvalue, standard deviation, share and
#'   cumulative share of the variance, and signal-to-noise ratio
#'   lambda / sigma2.
#' @examples
#' summary(ppca(as.matrix(iris[1:4]), k = 2))
#' @export
summary.ppca <- function(object, ...) {
  values <- object$values[seq_len(object$k)]
  share <- variance_shares(object)
  out <- list(
    fit = object[c("call", "n", "p", "k", "method", "route", "converged",
                   "iterations", "sigma2", "fixed", "tuned", "loglik", "df", "observed",
                   "transform", "values", "trace")],
    AIC = stats::AIC(object), BIC = stats::BIC(object),
    components = data.frame(
      eigenvalue = values, sd = sqrt(values), share = share,
      cumulative = cumsum(share), snr = values / object$sigma2,
      row.names = colnames(object$loadings)
    )
  )
  structure(out, class = "summary.ppca")
}

#' @export
print.summary.ppca <- function(x, ...) {
  cat("Call: ", paste(deparse(x$fit$call), collapse = "\n  "), "\n", sep = "")
  print.ppca(x$fit)
  cat(sprintf("AIC: %s, BIC: %s\n\n", format(x$AIC, digits = 8),
              format(x$BIC, digits = 8)))
  print(utils::head(x$components, 10), digits = 4)
  more <- nrow(x$components) - 10
  if (more > 0) cat("... and", more, "more dimensions\n")
  invisible(x)
}
