# elbo(): the evidence lower bound and its terms, for linear and for deep models.

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
