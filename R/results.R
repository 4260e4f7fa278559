# What the methods of all models return: posteriors, log-likelihoods, tables of ELBO terms.

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

as_loglik <- function(value, object, nobs) {
  structure(value, df = object$df, nobs = nobs, class = "logLik")
}

elbo_table <- function(object, data, reconstruction, kl, by) {
  jacobian <- transform_log_jacobian(object$transform, data$x)
  out <- data.frame(elbo = reconstruction - kl + jacobian,
                    reconstruction = reconstruction, kl = kl, log_jacobian = jacobian)
  if (!is.null(rownames(data$raw))) row.names(out) <- make.unique(rownames(data$raw))
  if (by == "mean") colMeans(out) else out
}

latent_names <- function(object) paste0("z", seq_len(object$k))

#' Evidence lower bound of a fitted model
#'
#' The ELBO and its terms, in nats per observation, for the data of the fit or for
#' others: elbo = reconstruction - kl + log_jacobian. For a [linear_vae()] the
#' expectation over q(z | x) is exact, unless `samples` asks for an estimate. For a
#' [ppca()] model q is the exact posterior, and the ELBO the log-likelihood.
#'
#' @param object a fitted model.
#' @param newdata data with the features of the fit, in rows; without, the data
#'   that the model was fitted to, found as for [posterior()] where they are needed
#'   and not in the fit.
#' @param samples 0 for the exact expectation (not for a [vae()]); otherwise the number
#'   of reparameterised samples of z for each row, drawn from R's generator, with which
#'   the reconstruction term is estimated (without bias).
#' @param by `"mean"` over observations, or a row for each `"observation"`.
#' @param ... unused.
#' @return With `by = "mean"` a named vector: `elbo`, `reconstruction`
#'   (E log p(x | z), the Jacobian of scaling included), `kl` (of q(z | x) from the
#'   prior), `log_jacobian` (of the transform), and with `weighted = TRUE` `weighted`, that
#'   bound. Otherwise a data frame with these columns.
#' @references Lucas et al. (2019), eq. 4 and appendix C.1; see [linear_vae()].
#' @examples
#' fit <- linear_vae(iris[1:4], k = 2)
#' elbo(fit)
#' head(elbo(fit, iris, by = "observation"))
#' set.seed(1)
#' elbo(fit, iris, samples = 100)
#' elbo(ppca(iris[1:4], k = 2))
#' @export
elbo <- function(object, newdata = NULL, ...) UseMethod("elbo")
