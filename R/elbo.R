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

#' @rdname elbo
#' @export
elbo.linear_vae <- function(object, newdata = NULL, samples = 0,
                            by = c("mean", "observation"), ...) {
  check_dots_empty(...)
  samples <- check_count(samples, "samples", 0)
  by <- check_choice(by, "by", c("mean", "observation"))
  if (is.null(newdata) && samples == 0 && by == "mean") {
    return(unlist(object[c("elbo", "reconstruction", "kl", "log_jacobian")]))
  }
  data <- conform(object, data_of(object, newdata))
  seen <- observe_rows(object, data, samples)
  elbo_table(object, data, gaussian_log_density(object, seen$error), seen$kl, by)
}

#' @rdname elbo
#' @export
elbo.ppca <- function(object, newdata = NULL, by = c("mean", "observation"), ...) {
  check_dots_empty(...)
  by <- check_choice(by, "by", c("mean", "observation"))
  if (is.null(newdata) && by == "mean" && is_complete(object)) {
    return(elbo(as_linear_vae(object)))
  }
  data <- conform(object, data_of(object, newdata))
  pass <- posterior_pass(object, data$x, cov = TRUE, loglik = TRUE)
  cov <- unpack_covariances(pass$cov, object$k, NULL)
  # 1/2 (tr C - log|C| - k) of each pattern's posterior covariance C
  spread <- apply(cov, 3, function(c) {
    c <- matrix(c, object$k)
    0.5 * (sum(diag(c)) - as.numeric(determinant(c)$modulus) - object$k)
  })
  kl <- spread[pass$pattern] + 0.5 * rowSums(pass$mean^2)
  elbo_table(object, data, pass$loglik + kl, kl, by)
}

#' @rdname elbo
#' @param weighted for a [vae()]: `TRUE` for the importance-weighted bound of Burda et al.
#'   (2016), log 1/samples sum_s p(x, z_s) / q(z_s | x), which lies between the ELBO and
#'   the log-likelihood and rises with `samples`.
#' @param condition for a [vae()] with a condition, that of the rows of `newdata`.
#' @export
elbo.vae <- function(object, newdata = NULL, samples = 1, by = c("mean", "observation"),
                     weighted = FALSE, condition = NULL, ...) {
  check_dots_empty(...)
  samples <- check_count(samples, "samples")
  by <- check_choice(by, "by", c("mean", "observation"))
  weighted <- check_flag(weighted, "weighted")
  if (is.null(newdata) && is.null(condition) && samples == 1 && by == "mean" && !weighted) {
    return(unlist(object[c("elbo", "reconstruction", "kl", "log_jacobian")]))
  }
  rows <- vae_rows(object, newdata, condition)
  out <- observe_vae(object, rows, samples)
  table <- elbo_table(object, rows, out$reconstruction, out$kl, "observation")
  if (weighted) table$weighted <- out$weighted + table$log_jacobian
  if (by == "mean") colMeans(table) else table
}
