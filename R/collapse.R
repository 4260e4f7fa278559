#' Posterior collapse
#'
#' Which latent dimensions have collapsed onto the prior, by the definition of
#' Lucas et al. (2019, section 6.2): dimension j has (eps, delta)-collapsed if
#' KL(q(z_j | x) || p(z_j)) is below `eps` for a share of at least 1 - `delta` of
#' the observations. Beside it, what the theory of the linear VAE predicts, and
#' where the rest of the ELBO goes.
#'
#' @details
#' The prediction is for the global maximum at the model's `sigma2` and `beta`:
#' the dimension that belongs to the eigenvalue lambda_j of the data's covariance
#' collapses if and only if lambda_j <= beta sigma2, and has otherwise a KL of
#' 1/2 log(lambda_j / (beta sigma2)). Eigenvalues are given to the model's
#' dimensions in order of their mean KL.
#'
#' The rate is the KL, the distortion minus the reconstruction term: ELBO =
#' - distortion - rate. The gap between log-likelihood and ELBO is a KL from the
#' exact posterior, N(M^-1 W'(x - mu), sigma2 M^-1) with M = W'W + sigma2 I, in two
#' parts. `rotation`: what the best diagonal covariance loses as W'W is not
#' diagonal, 1/2 (log|diag M| - log|M|). `posterior`: what V and D lose to those
#' that are best for this W. A [ppca()] fit has no gap; its dimensions are measured
#' by the margins of its exact posterior. For a deep [vae()] the gap is not known, and
#' `eigenvalue` and `predicted` say what a linear VAE with its noise variance would do
#' with these data: a guide, not a theorem.
#'
#' @param object a fitted [vae()], [linear_vae()] or [ppca()] model.
#' @param newdata data with the features of the fit, in rows; by default the data
#'   that the model was fitted to, for which nothing but the fit is needed where
#'   these were complete; for a [vae()] they are found as for [posterior()].
#' @param eps threshold for the KL, in nats, above 0.
#' @param delta share of observations that may exceed it, from 0 to below 1.
#' @param ... unused.
#' @return An object of class `posterior_collapse`: a list with
#'   \item{dimensions}{data frame, a row for each latent dimension: `share` of
#'     observations with a KL below `eps`, `collapsed`, `mean_kl`,
#'     `active_variance` (variance of the posterior mean over the observations; a
#'     unit is called active where it exceeds 0.01, Burda et al. 2016),
#'     `threshold` (the smallest `eps` above which it counts as collapsed),
#'     `eigenvalue`, `predicted_kl`, `predicted` (to collapse).}
#'   \item{percent}{collapsed dimensions, per cent.}
#'   \item{active_units}{number of active units.}
#'   \item{rate, distortion}{see Details, per observation, for `newdata`.}
#'   \item{gap}{list of `total`, `rotation`, `posterior`, for the data of the fit.}
#'   \item{eps, delta, sigma2, beta, n}{settings.}
#'   [plot()][plot.posterior_collapse] draws the percentage over eps.
#' @references Lucas et al. (2019), see [linear_vae()]. Burda, Y., Grosse, R. and
#'   Salakhutdinov, R. (2016). Importance weighted autoencoders. *International
#'   Conference on Learning Representations*. \doi{10.48550/arXiv.1509.00519}
#' @examples
#' x <- mnist1000$x / 255
#' fit <- linear_vae(x, k = 20, sigma2 = 1, learn_sigma2 = FALSE, optimizer = "exact")
#' posterior_collapse(fit)
#' plot(posterior_collapse(fit))
#' @export
posterior_collapse <- function(object, newdata = NULL, eps = 0.01, delta = 0.01, ...) {
  UseMethod("posterior_collapse")
}

#' @rdname posterior_collapse
#' @export
posterior_collapse.ppca <- function(object, newdata = NULL, eps = 0.01, delta = 0.01,
                                    ...) {
  check_dots_empty(...)
  check_collapse(eps, delta)
  data <- data_unless_known(object, newdata)
  gap <- if (inherits(object, "linear_vae")) elbo_gap(object) else
    list(total = 0, rotation = 0, posterior = 0)
  collapse_result(object, latent_margins(object, data), elbo(object, data), eps, delta, gap)
}

check_collapse <- function(eps, delta) {
  check_number(eps, "eps", 0, open = TRUE)
  if (!is_number(delta) || delta < 0 || delta >= 1) {
    abort_arg("delta", "be a number from 0 to below 1", describe(delta))
  }
}

# From means and variances q (n x k) of q(z_j | x) and the terms of the ELBO; `gap` is
# NULL where the likelihood is not known.
collapse_result <- function(object, q, terms, eps, delta, gap) {
  kl <- 0.5 * (q$variance - log(q$variance) + q$mean^2 - 1)
  beta <- if (is.null(object$beta)) 1 else object$beta
  threshold <- apply(kl, 2, collapse_threshold, delta)
  dimensions <- data.frame(
    share = colMeans(kl < eps), collapsed = threshold < eps,
    mean_kl = colMeans(kl),
    active_variance = colMeans((q$mean - rep(colMeans(q$mean), each = nrow(q$mean)))^2),
    threshold = threshold, row.names = colnames(q$mean)
  )
  structure(
    list(dimensions = cbind(dimensions, predict_collapse(object, dimensions$mean_kl, beta)),
         percent = 100 * mean(dimensions$collapsed),
         active_units = sum(dimensions$active_variance > 0.01),
         rate = terms[["kl"]],
         distortion = -terms[["reconstruction"]],
         gap = gap, eps = eps, delta = delta, sigma2 = object$sigma2, beta = beta,
         n = nrow(kl), fixed = object$fixed),
    class = "posterior_collapse"
  )
}

# Means and variances (n x k) of q(z_j | x); data is NULL for a fit's own.
latent_margins <- function(object, data) {
  if (!is.null(data) || inherits(object, "linear_vae")) return(posterior(object, data))
  m <- crossprod(unname(object$loadings))
  diag(m) <- diag(m) + object$sigma2
  variance <- object$sigma2 * diag(solve(m))
  list(mean = object$scores,
       variance = matrix(variance, object$n, object$k, byrow = TRUE))
}

# The smallest number t such that for every eps above t the dimension counts as
# collapsed: the KL that a share of at least 1 - delta does not exceed.
collapse_threshold <- function(kl, delta) {
  need <- max(1, ceiling((1 - delta) * length(kl) - 1e-9))
  sort(kl, partial = need)[need]
}

# Eigenvalues for the dimensions, the largest for the one with the largest KL.
predict_collapse <- function(object, mean_kl, beta) {
  place <- order(order(-mean_kl))
  # eigenvalues beyond min(n, p) known ones are 0
  all_known <- length(object$values) >= min(object$n, object$p)
  eigenvalue <- c(object$values, rep(if (all_known) 0 else NA, object$k))[place]
  noise <- beta * mean(object$sigma2)
  data.frame(eigenvalue = eigenvalue,
             predicted_kl = ifelse(eigenvalue > noise, 0.5 * log(eigenvalue / noise), 0),
             predicted = eigenvalue <= noise)
}

#' @export
print.posterior_collapse <- function(x, ...) {
  d <- x$dimensions
  cat(sprintf("Posterior collapse of %d latent dimensions, %d observations\n", nrow(d), x$n))
  cat(sprintf("(eps = %s, delta = %s)-collapsed: %d of %d (%.1f %%)\n", format(x$eps),
              format(x$delta), sum(d$collapsed), nrow(d), x$percent))
  if (!anyNA(d$predicted)) {
    cat(sprintf("Predicted by %seigenvalues <= %ssigma2 = %s: %d\n",
                if (is.null(x$gap)) "the linear theory, " else "",
                if (x$beta == 1) "" else "beta * ", format(x$beta * x$sigma2, digits = 4),
                sum(d$predicted)))
  }
  cat(sprintf("Active units: %d\n", x$active_units))
  cat(sprintf("Rate %s, distortion %s nats per observation\n", format(x$rate, digits = 5),
              format(x$distortion, digits = 7)))
  if (!is.null(x$gap)) {
    cat(sprintf("Log-likelihood - ELBO: %s (rotation %s, posterior %s)\n",
                format_gap(x$gap$total), format_gap(x$gap$rotation),
                format_gap(x$gap$posterior)))
  }
  cat("\n")
  shown <- c("share", "collapsed", "mean_kl", "active_variance", "eigenvalue",
             "predicted_kl")
  print(utils::head(d[shown], 10), digits = 3)
  if (nrow(d) > 10) cat("... and", nrow(d) - 10, "more dimensions\n")
  invisible(x)
}
