# tune_sigma2(): the noise variance that suits a fit's representation best.

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

#' @export
print.tuned_sigma2 <- function(x, ...) {
  cat(sprintf("Noise variance sigma2: %s, tuned %s\n", format(x$current_sigma2, digits = 4),
              format(x$sigma2, digits = 4)))
  cat(sprintf("ELBO, nats per observation: %s, tuned %s\n",
              format(x$current_elbo, digits = 7), format(x$elbo, digits = 7)))
  invisible(x)
}

#' @rdname tune_sigma2
#' @param condition for a [vae()] with a condition, that of the rows of `newdata`.
#' @param samples for a [vae()], the samples of z for each row from which the errors are
#'   estimated; they are drawn from R's generator.
#' @export
tune_sigma2.vae <- function(object, newdata = NULL, condition = NULL, samples = 1, ...) {
  check_dots_empty(...)
  samples <- check_count(samples, "samples")
  if (object$noise == "network") {
    abort_arg("object", "have a noise variance of its own",
              "one that the decoder computes from z (`noise = \"network\"`)")
  }
  env <- parent.frame()
  measure <- function(newdata, condition = NULL) {
    errors_of(object, vae_rows(object, newdata, condition, env), samples)
  }
  # with the same draws for the rows that were given and for those trained on
  both <- same_draws(list(function() measure(newdata, condition),
                          function() if (!is.null(newdata)) data_if_any(measure(NULL))),
                     function(f) f())
  seen <- both[[1]]
  if (!sum(seen$count)) abort_arg("newdata", "have an observed cell")
  tuned <- tuned_deep(object, seen)
  fit <- vae_at_noise(object, tuned$sigma2, if (is.null(newdata)) seen else both[[2]])
  fit$floored <- tuned$floored
  new_tuned(tuned$sigma2, seen$elbo + tuned$gain, object, seen$elbo, fit)
}

# The noise variance that suits rows best, what their ELBO gains by it, and the share of
# their cells where the least value binds.
tuned_deep <- function(object, seen) {
  if (object$noise == "network" || !sum(seen$count)) {
    return(list(sigma2 = NA_real_, gain = NA_real_, floored = NA_real_))
  }
  best <- if (object$noise == "shared") sum(seen$error) / sum(seen$count) else
    ifelse(seen$count > 0, seen$error / seen$count, unname(object$sigma2))
  sigma2 <- pmax(best, object$sigma2_min)
  if (length(sigma2) > 1) names(sigma2) <- object$features
  floored <- sum(rep_len(best < object$sigma2_min, length(seen$count)) * seen$count) /
    sum(seen$count)
  list(sigma2 = sigma2, gain = gain_of_noise(object, sigma2, seen), floored = floored)
}

# Of rows: squared error expected over q and observed cells of each feature, sums over the
# rows; and the terms of their ELBO.
errors_of <- function(object, rows, samples) {
  out <- observe_vae(object, rows, samples)
  jacobian <- mean(transform_log_jacobian(object$transform, rows$x))
  list(error = out$error * object$u^2, count = summarise_columns(rows$x)$count,
       n = nrow(rows$x), elbo = mean(out$reconstruction - out$kl) + jacobian,
       reconstruction = mean(out$reconstruction), kl = mean(out$kl),
       kl_dimensions = out$kl_dimensions, log_jacobian = jacobian)
}

# What their reconstruction term gains, per row.
gain_of_noise <- function(object, sigma2, seen) {
  now <- rep_len(unname(object$sigma2), length(seen$error))
  new <- rep_len(unname(sigma2), length(seen$error))
  0.5 * sum(seen$error / now - seen$error / new - seen$count * log(new / now)) / seen$n
}

# A VAE with another noise variance, and the ELBO that it has of the rows it was trained
# on: `own`, errors_of() these, or NULL where they are not known.
vae_at_noise <- function(object, sigma2, own) {
  object$theta <- set_noise(object, object$theta, sigma2 / object$u^2)
  object$state$theta <- set_noise(object, object$state$theta, sigma2 / object$u^2)
  # the best weights so far, and the wait for better ones, were those of other noise
  object$state <- forget_best(object$state)
  if (is.null(own)) {
    object$elbo <- object$reconstruction <- NA_real_
  } else {
    gain <- gain_of_noise(object, sigma2, own)
    object$elbo <- own$elbo + gain
    object$reconstruction <- own$reconstruction + gain
    object[c("kl", "log_jacobian")] <- own[c("kl", "log_jacobian")]
    object$kl_dimensions <- structure(own$kl_dimensions, names = latent_names(object))
  }
  object$sigma2 <- sigma2
  object
}
