# Methods of linear VAEs. A linear VAE is a pPCA model with an encoder of its own,
# so that simulate(), impute(), logLik(), nobs() and others are those of ppca; here
# is what the encoder changes.

#' Latent positions and reconstructions from a linear VAE
#'
#' @inheritParams predict.ppca
#' @param object a fitted [linear_vae()] model.
#' @param newdata a matrix, data frame or sparse matrix with the features of the
#'   fit, without missing cells.
#' @param type `"latent"` for the means of q(z | x), V (x - mu), n x k;
#'   `"reconstruction"` for mu + W V (x - mu), n x p, on the scale of the data.
#' @return A matrix with one row per row of `newdata`. Without `newdata`, that of
#'   the data the model was fitted to.
#' @examples
#' fit <- linear_vae(iris[1:4], k = 2)
#' head(predict(fit, iris))
#' head(predict(fit, iris, type = "reconstruction"))
#' @export
predict.linear_vae <- function(object, newdata = NULL,
                               type = c("latent", "reconstruction"), ...) {
  NextMethod()
}

#' @rdname posterior
#' @export
posterior.linear_vae <- function(object, newdata = NULL, draws = 0, ...) {
  check_dots_empty(...)
  draws <- check_count(draws, "draws", 0)
  mean <- if (is.null(newdata)) object$scores else
    latent_of(object, conform(object, newdata))
  k <- object$k
  latent <- names(object$D)
  post <- structure(
    list(mean = mean,
         variance = matrix(rep(object$D, each = nrow(mean)), nrow(mean), k,
                           dimnames = list(rownames(mean), latent)),
         cov = array(diag(object$D, k), c(k, k, 1), dimnames = list(latent, latent, NULL)),
         pattern = rep(1L, nrow(mean))),
    class = "latent_posterior"
  )
  with_draws(post, draws)
}

#' @rdname coef.ppca
#' @export
coef.linear_vae <- function(object, ...) {
  object[c("loadings", "V", "D", "mean", "sigma2",
           if (!is.null(object$scale)) "scale")]
}

#' Refit a linear VAE, or continue its training
#'
#' With `maxit` or `tol`, coordinate ascent and L-BFGS go on from where they
#' stopped, up to `maxit` rounds or evaluations in all; with `epochs`, Adam goes on
#' up to that many epochs in all, bit for bit as if it had never stopped. Other
#' arguments change the call, as [stats::update()] does, and fit anew. The data are
#' those in the fit (`keep_data = TRUE`) or are looked up under the name used in
#' the call.
#'
#' @param object a fitted [linear_vae()] model.
#' @param ... arguments of [linear_vae()] to change, by name; for a fit by a formula a
#'   first one without a name is a change of that, such as `~ . - a`.
#' @param epochs total number of epochs, those already made included.
#' @param maxit total number of rounds or evaluations, likewise.
#' @param tol new tolerance, see [train_control()].
#' @return A fitted model.
#' @examples
#' x <- mnist1000$x[1:200, ] / 255
#' fit <- linear_vae(x, k = 3, optimizer = "adam",
#'                   control = train_control(epochs = 20, learning_rate = 0.01))
#' fit <- update(fit, epochs = 100)
#' fit$iterations
#' update(fit, optimizer = "exact")
#' @export
update.linear_vae <- function(object, ..., epochs = NULL, maxit = NULL, tol = NULL) {
  changed <- changed_arguments(object, match.call(expand.dots = FALSE)$..., parent.frame())
  update_training(object, changed, linear_vae, epochs, maxit, tol, parent.frame())
}

# ---- printing ------------------------------------------------------------

#' @export
print.linear_vae <- function(x, ...) {
  cat("Linear VAE: ", x$n, " observations, ", x$p, " features, k = ", x$k, "\n", sep = "")
  cat("Fitted by ", describe_training(x), "\n", sep = "")
  if (!is.null(x$transform)) cat("Transform: ", format(x$transform), "\n", sep = "")
  cat(sprintf("Noise variance sigma2: %s%s\n", format(x$sigma2, digits = 4),
              noise_origin(x)))
  if (x$beta != 1) cat("Weight of the KL, beta: ", format(x$beta), "\n", sep = "")
  print_elbo(x)
  gap <- elbo_gap(x)
  cat(sprintf("Log-likelihood - ELBO: %s (rotation %s, posterior %s)\n",
              format_gap(gap$total), format_gap(gap$rotation), format_gap(gap$posterior)))
  print_idle(x)
  invisible(x)
}

describe_training <- function(x) {
  if (x$optimizer == "ppca") return("pPCA, with the encoder that is best for it")
  if (x$optimizer == "exact") return("eigen-decomposition (the global maximum)")
  how <- switch(x$optimizer,
    em = sprintf("coordinate ascent, %d rounds", x$iterations),
    lbfgs = sprintf("L-BFGS, %d evaluations", x$iterations),
    adam = paste0("Adam, ", describe_steps(x))
  )
  paste0(how, if (x$objective == "stochastic") " on the stochastic ELBO",
         if (isTRUE(x$converged)) ", converged" else
           if (isFALSE(x$converged)) ", not converged")
}

# What the ELBO loses to the log-likelihood, per observation: with M = W'W + sigma2 I,
# `rotation` is 1/2 (log|diag M| - log|M|), the KL from the exact posterior of the
# best diagonal one; `posterior` is what V and D lose to that best one.
elbo_gap <- function(object) {
  total <- object$loglik / object$n - object$elbo
  m <- object$moments$ww + diag(object$sigma2 / object$moments$unit^2, object$k)
  rotation <- 0.5 * (sum(log(diag(m))) - as.numeric(determinant(m)$modulus))
  list(total = total, rotation = rotation, posterior = total - rotation)
}

#' Summary of a linear VAE
#'
#' @param object a fitted [linear_vae()] model.
#' @param ... unused.
#' @return An object of class `summary.linear_vae`: a list with the `fit` without
#'   its scores, the `gap` between log-likelihood and ELBO (`total`, `rotation`,
#'   `posterior`, see [posterior_collapse()]), and `dimensions`, a data frame with,
#'   for each latent dimension, the squared length of its column of W, the variance
#'   of its posterior mean over the data, its posterior variance D, and its KL.
#' @examples
#' summary(linear_vae(iris[1:4], k = 2))
#' @export
summary.linear_vae <- function(object, ...) {
  dimensions <- data.frame(
    length2 = diag(object$moments$ww) * object$moments$unit^2,
    active_variance = diag(object$moments$vsv),
    posterior_variance = unname(object$D), kl = unname(object$kl_dimensions),
    row.names = names(object$D)
  )
  fit <- object
  fit$scores <- fit$x <- NULL
  structure(list(fit = fit, gap = elbo_gap(object), dimensions = dimensions),
            class = "summary.linear_vae")
}

#' @export
print.summary.linear_vae <- function(x, ...) {
  cat("Call: ", paste(deparse(x$fit$call), collapse = "\n  "), "\n", sep = "")
  print.linear_vae(x$fit)
  cat("\n")
  print(utils::head(x$dimensions, 10), digits = 4)
  more <- nrow(x$dimensions) - 10
  if (more > 0) cat("... and", more, "more dimensions\n")
  invisible(x)
}
