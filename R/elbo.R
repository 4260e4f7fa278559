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

# log N(x; W z + mu, sigma2) from the squared error of each row, on the scale of
# the (transformed) data.
gaussian_log_density <- function(object, error) {
  units <- if (is.null(object$scale)) 0 else sum(log(object$scale))
  -0.5 * (error / object$sigma2 + object$p * log(2 * pi * object$sigma2)) - units
}

elbo_table <- function(object, data, reconstruction, kl, by) {
  jacobian <- transform_log_jacobian(object$transform, data$x)
  out <- data.frame(elbo = reconstruction - kl + jacobian,
                    reconstruction = reconstruction, kl = kl, log_jacobian = jacobian)
  if (!is.null(rownames(data$raw))) row.names(out) <- make.unique(rownames(data$raw))
  if (by == "mean") colMeans(out) else out
}

#' The noise variance that suits a fit best
#'
#' The noise variance that maximises the ELBO with all else fixed, W, mu and
#' q(z | x): the expected squared error of a feature,
#' sigma2 = E|x - W z - mu|^2 / p, the mean over observations and q. After training
#' with a fixed `sigma2` it shows how far that was from what the learned
#' representation deserves (Lucas et al. 2019, Table 1). With `newdata` it is the noise
#' variance that suits these: where a model was trained for long, the one that suits
#' validation data is larger than the one that suits the data trained on.
#'
#' @details
#' `fit` is the model with the tuned noise variance in the place of its own. A
#' [linear_vae()] or [vae()] keeps q(z | x), V and D included, so that its ELBO is `elbo`.
#' A [ppca()] model has no q of its own: its posterior is the exact one, which follows
#' `sigma2`, so that its log-likelihood is `elbo` or more, as after any step of EM.
#' Tuning it again raises the likelihood further, up to its maximum over `sigma2` for
#' this W and mu.
#'
#' `loglik`, `elbo`, `reconstruction`, `scores` and the like remain those of the data of
#' the fit, at the new noise variance. Where these data are needed for it (for a
#' [vae()], and a [ppca()] fit to data with missing cells) but are not found, they are
#' `NA`. `history` remains that of the training, and training that goes on
#' ([update()][stats::update]) starts at the tuned value. A `sigma2` that was fixed counts
#' as a free parameter in `df` from now on. For a [vae()] the tuned value is not below
#' `sigma2_min`.
#'
#' @inheritParams elbo
#' @return A list of class `tuned_sigma2`: `sigma2`, the `elbo` per observation
#'   there, what the model has now, `current_sigma2` and `current_elbo`, and `fit`, the
#'   model with `sigma2`, see Details.
#' @references Lucas et al. (2019), section 6.2; see [linear_vae()].
#' @examples
#' x <- mnist1000$x / 255
#' fit <- linear_vae(x, k = 10, sigma2 = 1, learn_sigma2 = FALSE)
#' tune_sigma2(fit)
#' fit <- tune_sigma2(fit)$fit
#' fit$elbo
#' @export
tune_sigma2 <- function(object, newdata = NULL, ...) UseMethod("tune_sigma2")

#' @rdname tune_sigma2
#' @export
tune_sigma2.ppca <- function(object, newdata = NULL, ...) {
  check_dots_empty(...)
  data <- data_unless_known(object, newdata)
  now <- elbo(object, data)
  tuned <- tuned_linear(object, data, now)
  own <- if (is_complete(object)) NULL else if (is.null(newdata)) data else
    data_if_any(data_of(object, NULL, env = parent.frame()))
  new_tuned(tuned$sigma2, now[["elbo"]] + tuned$gain, object, now[["elbo"]],
            linear_at_noise(object, tuned$sigma2, own))
}

# list(sigma2, gain), from the terms of the ELBO of the data, as
# reconstruction = -error / (2 sigma2) - cells/2 log(2 pi sigma2) - units.
tuned_linear <- function(object, data, now) {
  cells <- cells_per_row(object, data)
  error <- -2 * object$sigma2 *
    (now[["reconstruction"]] + cells$units + cells$count / 2 * log(2 * pi * object$sigma2))
  sigma2 <- error / cells$count
  list(sigma2 = sigma2,
       gain = 0.5 * (error / object$sigma2 - cells$count -
                       cells$count * log(sigma2 / object$sigma2)))
}

new_tuned <- function(sigma2, elbo, object, current_elbo, fit) {
  fit$tuned <- TRUE
  if (object$fixed) {
    fit$arguments$sigma2 <- fit$call$sigma2 <- unname(sigma2)
    if (!isTRUE(object$tuned)) fit$df <- object$df + length(sigma2)
  }
  structure(list(sigma2 = sigma2, elbo = elbo, current_sigma2 = object$sigma2,
                 current_elbo = current_elbo, fit = fit), class = "tuned_sigma2")
}

# `code`, or NULL where the data of a fit that it looks for are not found.
data_if_any <- function(code) tryCatch(code, elbo_error = function(e) NULL)

# A linear model with W and mu as they are and another noise variance. `data`: those of
# a fit to data with missing cells, or NULL where they are not known.
linear_at_noise <- function(object, sigma2, data) {
  out <- object
  out$sigma2 <- sigma2
  if (inherits(object, "linear_vae")) {
    change <- change_of_terms(object, sigma2)
    out$reconstruction <- object$reconstruction + change$reconstruction
    out$elbo <- object$elbo + change$reconstruction
    out$loglik <- object$loglik + object$n * change$loglik
  } else if (is_complete(object)) {
    out$loglik <- object$loglik +
      object$n * change_of_terms(as_linear_vae(object), sigma2)$loglik
    out$scores <- scores_at_noise(object, sigma2)
  } else {
    out <- incomplete_at_noise(out, object$sigma2, data)
  }
  out
}

# What the terms of the ELBO, and the log-likelihood, of the data of the fit gain by it.
change_of_terms <- function(object, sigma2) {
  u2 <- object$moments$unit^2
  terms <- lapply(c(object$sigma2, sigma2) / u2, function(s2) {
    vae_terms(object$p, object$moments, unname(object$D), s2, object$trace / u2)
  })
  list(reconstruction = terms[[2]]$reconstruction - terms[[1]]$reconstruction,
       loglik = terms[[2]]$loglik - terms[[1]]$loglik)
}

# E(z | x) = M^-1 W'(x - mu), M = W'W + sigma2 I, from that at another sigma2. M is
# symmetric.
scores_at_noise <- function(object, sigma2) {
  u <- core_unit(object)
  ww <- crossprod(unname(object$loadings) / u)
  m <- function(sigma2) ww + diag(sigma2 / u^2, object$k)
  turn <- solve(m(sigma2), m(object$sigma2), tol = 0)
  structure(object$scores %*% t(turn), dimnames = dimnames(object$scores))
}

# `object` has the new noise variance; its eigenvalues are those of its own covariance.
incomplete_at_noise <- function(object, before, data) {
  object$values <- object$values + object$sigma2 - before
  object$trace <- object$trace + object$p * (object$sigma2 - before)
  if (is.null(data)) {
    object$loglik <- NA_real_
    object$scores[] <- NA_real_
    return(object)
  }
  x <- conform(object, data)$x
  pass <- posterior_pass(object, x, loglik = TRUE)
  object$scores[] <- pass$mean
  object$loglik <- sum(pass$loglik) + sum(transform_log_jacobian(object$transform, x))
  object
}

# Observed cells of a row, and the log of their scales: means over the rows.
cells_per_row <- function(object, data) {
  log_scale <- if (is.null(object$scale)) numeric(object$p) else log(unname(object$scale))
  if (is.null(data)) return(list(count = object$p, units = sum(log_scale)))
  x <- conform(object, data)$x
  count <- summarise_columns(x)$count
  list(count = sum(count) / nrow(x), units = sum(count * log_scale) / nrow(x))
}

# A fit to complete data knows its own ELBO; then NULL, and otherwise the data.
data_unless_known <- function(object, newdata) {
  if (!is.null(newdata)) {
    if (NROW(newdata) < 1) abort_arg("newdata", "have at least 1 row", 0)
    return(newdata)
  }
  if (!is_complete(object)) data_of(object, NULL, env = parent.frame(2))
}

is_complete <- function(object) object$observed == object$n * object$p

#' @export
print.tuned_sigma2 <- function(x, ...) {
  cat(sprintf("Noise variance sigma2: %s, tuned %s\n", format(x$current_sigma2, digits = 4),
              format(x$sigma2, digits = 4)))
  cat(sprintf("ELBO, nats per observation: %s, tuned %s\n",
              format(x$current_elbo, digits = 7), format(x$elbo, digits = 7)))
  invisible(x)
}
