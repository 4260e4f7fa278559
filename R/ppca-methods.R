# Methods of fitted models.

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
#' @details The latent positions of a fit in closed form are those of [stats::prcomp()] times
#'   sqrt(lambda_j - sigma2) / lambda_j: whitened, and shrunk to a variance of
#'   1 - sigma2 / lambda_j, with lambda_j the eigenvalues (divisor n).
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
