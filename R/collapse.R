#' Posterior collapse
#'
#' Which latent dimensions have collapsed onto the prior, and why. By the definition of
#' Lucas et al. (2019, section 6.2) dimension j has (eps, delta)-collapsed if
#' KL(q(z_j | x) || p(z_j)) is below `eps` for a share of at least 1 - `delta` of
#' the observations. Beside it: what the theory of the linear VAE predicts, where the ELBO
#' goes, and a verdict in words with its remedy.
#'
#' @details
#' **Theory.** The prediction is for the global maximum at the model's `sigma2` and `beta`:
#' the dimension that belongs to the eigenvalue lambda_j of the data's covariance
#' collapses if and only if lambda_j <= beta sigma2, and has otherwise a KL of
#' 1/2 log(lambda_j / (beta sigma2)). Eigenvalues are given to the model's
#' dimensions in order of their mean KL. For a deep [vae()] they
#' say what a linear VAE with its noise variance would do with these data: a guide, not a
#' theorem. There is no prediction for noise variances that differ between features, and
#' for a [vae()] none where cells are missing; a condition is left out of account.
#'
#' **Terms.** The rate is the KL, the distortion minus the reconstruction term: ELBO =
#' - distortion - rate, and the log-Jacobian of a transform. The information between x and z
#' is E KL(q(z | x) || q(z)), q(z) the mean of q(z | x) over at most 2,000 of the rows, from
#' one draw of z for each (Hoffman and Johnson 2016): of these rows without bias, of the
#' population too low, and never above log n, its `bound`. A value near that says only that the
#' information is no less.
#'
#' **Gap.** Log-likelihood less ELBO is a KL from the
#' exact posterior, N(M^-1 W'(x - mu), sigma2 M^-1) with M = W'W + sigma2 I, in two
#' parts. `rotation`: what the best diagonal covariance loses as W'W is not
#' diagonal, 1/2 (log|diag M| - log|M|). `posterior`: what V and D lose to those
#' that are best for this W. A [ppca()] fit has no gap; its dimensions are measured
#' by the margins of its exact posterior. For a deep [vae()] `total` is the
#' importance-weighted bound (Burda et al. 2016), of 50 samples of each of 500 rows at most,
#' less the ELBO of the same draws: the least that the gap is.
#'
#' **Verdict.** The yardstick is pPCA with the same k, which every VAE contains; it and the ELBO
#' that it is compared with are those of the data of the fit, also where there are others. The ELBO
#' counts as below its log-likelihood where it is so by more than the sampling of z
#' does and the p parameters of each direction that the model does without gain
#' by chance, 1 / n nats each, and a twentieth of pPCA's KL. The first of these that holds is the verdict:
#' \describe{
#'   \item{units}{losses were averaged instead of summed, or units changed: `beta` is p or 1 / p
#'     within a quarter; or a fixed `sigma2` is, within a factor of 2, 255^2 times or that part
#'     of the one that suits (pPCA's, or the tuned one), or exactly p or p / 2 and at least 10
#'     times it, or above the variance of all features together. p counts from 10 on.}
#'   \item{sigma2 fixed too large}{a fixed `sigma2` is more than a tenth above the tuned one (with
#'     one for each feature, in the geometric mean); or carries fewer directions than pPCA's
#'     would, and the ELBO is below pPCA's.}
#'   \item{sigma2 tuned late}{`sigma2` was fixed in training and then tuned, [tune_sigma2()], and
#'     the ELBO is below pPCA's.}
#'   \item{beta}{`beta` is not 1 and the ELBO below pPCA's; or it is above 1, and dimensions
#'     have collapsed, and there are eigenvalues between sigma2 and beta sigma2.}
#'   \item{free bits}{`free_bits` are above 0 and the ELBO below pPCA's.}
#'   \item{encoder lags}{with the decoder as it is, a better encoder gains more than
#'     a tenth of what the ELBO is below pPCA's, and the KL rises. Known for a
#'     [linear_vae()], and measured for a [vae()] where `encoder_epochs` asks for it.}
#'   \item{sigma2 fixed too small}{a fixed `sigma2` is more than a tenth below the tuned one.}
#'   \item{undertrained}{the ELBO is below pPCA's after less than 300 steps, or (after the next
#'     two) it was still rising at the end, or rose in the second half of training by a tenth of
#'     what is wanting.}
#'   \item{warm-up ended}{the ELBO is below pPCA's, and the KL less than half of what it was
#'     in the second half of a warm-up of its weight.}
#'   \item{sigma2 stuck}{`sigma2` was learned, but is more than half above pPCA's, the ELBO below,
#'     and nine tenths of the dimensions have collapsed, or of pPCA's KL.}
#'   \item{none}{no more than one in twenty has collapsed and the ELBO is not below pPCA's:
#'     nothing is wrong.}
#'   \item{surplus}{more have collapsed and the ELBO is not below pPCA's: the data have no use
#'     for them.}
#'   \item{unexplained}{none of these.}
#' }
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
#'   \item{verdict, remedy}{what is wrong, see Details, and what to do.}
#'   \item{evidence}{list of the numbers on which the verdict rests.}
#'   \item{rate, distortion, elbo}{see Details, per observation, for `newdata`.}
#'   \item{own}{whether these are the data of the fit, for which the yardstick is.}
#'   \item{information}{list of the mutual information `value`, its standard error `se`, and
#'     its `bound`.}
#'   \item{weighted}{for a [vae()], list of the importance-weighted bound `value` with
#'     its standard error `se` over rows, how far it is `above` the ELBO, `samples` and `rows`.}
#'   \item{gap}{list of `total` and, for linear models, `rotation` and `posterior`, for the
#'     data of the fit.}
#'   \item{tuned}{list of the `sigma2` that suits the representation best, see
#'     [tune_sigma2()], and what it would `gain`.}
#'   \item{linear}{list of `k`, `elbo`, `sigma2` and `kl` of pPCA, for the data of the fit.}
#'   \item{carried}{list of `count`, how many of all eigenvalues exceed beta sigma2, and `least`,
#'     `TRUE` where not all are known and there may be more.}
#'   \item{encoder}{what a better encoder would `gain`, and its `kl`, where that is known.}
#'   \item{eps, delta, sigma2, origin, fixed, beta, n}{settings; `origin` says in words where
#'     `sigma2` comes from, if it was not learned.}
#'   [plot()][plot.posterior_collapse] draws the percentage over eps.
#' @references Lucas et al. (2019), see [linear_vae()]. Burda, Y., Grosse, R. and
#'   Salakhutdinov, R. (2016). Importance weighted autoencoders. *International
#'   Conference on Learning Representations*. \doi{10.48550/arXiv.1509.00519}
#'
#'   Hoffman, M. D. and Johnson, M. J. (2016). ELBO surgery: yet another way to carve up the
#'   variational evidence lower bound. *NIPS Workshop on Advances in Approximate Bayesian
#'   Inference*.
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
  terms <- elbo(object, data)
  linear <- inherits(object, "linear_vae")
  elbo <- if (linear) object$elbo else object$loglik / object$n
  own <- is.null(newdata) || isTRUE(all.equal(terms[["elbo"]], elbo, tolerance = 1e-10))
  collapse_result(object, list(
    q = latent_margins(object, data), own = own, terms = terms, eps = eps, delta = delta,
    values = object$values, trace = object$trace, tuned = tuned_linear(object, data, terms),
    linear = linear_yardstick(object),
    gap = if (linear) elbo_gap(object) else list(total = 0, rotation = 0, posterior = 0),
    encoder = if (linear) best_linear_encoder(object) else
      list(epochs = NA_integer_, gain = 0, kl = terms[["kl"]])
  ))
}

check_collapse <- function(eps, delta) {
  check_number(eps, "eps", 0, open = TRUE)
  if (!is_number(delta) || delta < 0 || delta >= 1) {
    abort_arg("delta", "be a number from 0 to below 1", describe(delta))
  }
}

# `seen`: what was measured. q, means and variances (n x k) of q(z_j | x); own, whether the rows
# are those of the fit; terms, of the
# ELBO; values and trace, of the covariance of the data, on the scale of sigma2; tuned,
# list(sigma2, gain); linear, list(k, elbo, sigma2, kl) of pPCA; gap; encoder, what it gains
# where it alone is trained, or NULL; weighted, the importance-weighted bound, or NULL; eps
# and delta.
collapse_result <- function(object, seen) {
  q <- seen$q
  kl <- 0.5 * (q$variance - log(q$variance) + q$mean^2 - 1)
  beta <- if (is.null(object$beta)) 1 else object$beta
  threshold <- apply(kl, 2, collapse_threshold, seen$delta)
  dimensions <- data.frame(
    share = colMeans(kl < seen$eps), collapsed = threshold < seen$eps,
    mean_kl = colMeans(kl),
    active_variance = colMeans((q$mean - rep(colMeans(q$mean), each = nrow(q$mean)))^2),
    threshold = threshold, row.names = colnames(q$mean)
  )
  object$values <- seen$values
  out <- list(
    dimensions = cbind(dimensions, predict_collapse(object, dimensions$mean_kl, beta)),
    percent = 100 * mean(dimensions$collapsed),
    active_units = sum(dimensions$active_variance > 0.01),
    rate = seen$terms[["kl"]], distortion = -seen$terms[["reconstruction"]],
    elbo = seen$terms[["elbo"]], gap = seen$gap, weighted = seen$weighted,
    information = mutual_information(q$mean, q$variance),
    sigma2 = object$sigma2, origin = noise_origin(object), fixed = object$fixed, beta = beta,
    tuned = seen$tuned, linear = seen$linear, own = seen$own,
    carried = directions_carried(object, beta * mean(object$sigma2)),
    encoder = seen$encoder, theory = theory_of(object),
    eps = seen$eps, delta = seen$delta, n = nrow(kl)
  )
  out$evidence <- evidence_of(object, out, seen$trace)
  structure(c(out, diagnose(out$evidence)), class = "posterior_collapse")
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
  eigenvalue <- c(object$values, rep(if (all_values_known(object)) 0 else NA, object$k))[place]
  noise <- beta * mean(object$sigma2)
  data.frame(eigenvalue = eigenvalue,
             predicted_kl = ifelse(eigenvalue > noise, 0.5 * log(eigenvalue / noise), 0),
             predicted = eigenvalue <= noise)
}

# What keeps the linear theory from these data and this noise, or NULL.
theory_of <- function(object) {
  if (!inherits(object, "vae") || !anyNA(object$values)) return(NULL)
  if (object$noise != "shared") "it has one noise variance for all features" else
    if (object$observed < object$n * object$p) "it knows no missing cells" else
      "it needs 2 rows or more"
}

# ---- the linear yardstick ------------------------------------------------

# pPCA with the k of a linear model, or with the most that leave noise: list(k, elbo,
# sigma2, kl), `elbo` its log-likelihood per observation on the scale of the data. Known without data
# where they are complete, or where the fit is that model.
linear_yardstick <- function(object) {
  unknown <- list(k = object$k, elbo = NA_real_, sigma2 = NA_real_, kl = NA_real_)
  if (!is_complete(object)) {
    if (object$fixed || isTRUE(object$tuned)) return(unknown)
    return(list(k = object$k, elbo = object$loglik / object$n, sigma2 = object$sigma2,
                kl = linear_kl(object$values[seq_len(object$k)], object$sigma2)))
  }
  lambda <- utils::head(object$values, object$k)
  rest <- object$trace - cumsum(lambda)
  zero <- object$p * max(object$n, object$p) * .Machine$double.eps * max(lambda)
  k <- sum(rest > zero & seq_along(lambda) < object$p)
  if (k < 1) return(unknown)
  lambda <- lambda[seq_len(k)]
  sigma2 <- rest[k] / (object$p - k)
  units <- if (is.null(object$scale)) 0 else sum(log(object$scale))
  elbo <- -0.5 * (object$p * log(2 * pi) + sum(log(lambda)) + (object$p - k) * log(sigma2) +
                    object$p) - units + object$log_jacobian
  list(k = k, elbo = elbo, sigma2 = sigma2, kl = linear_kl(lambda, sigma2))
}

# Of the fit of a vae(), which knows it; `elbo` is that of the rows trained on.
deep_yardstick <- function(object) {
  known <- function(x) if (is.null(x)) NA_real_ else x
  list(k = known(object$linear$k), elbo = known(object$linear$loglik),
       sigma2 = known(object$linear$sigma2),
       kl = if (is.null(object$linear)) NA_real_ else
         linear_kl(object$linear$values[seq_len(object$linear$k)], object$linear$sigma2))
}

# ---- the encoder at its best ---------------------------------------------

# What V and D that are best for W gain, in nats of reconstruction - beta KL, and the KL and
# the collapsed dimensions there: V = M^-1 W', D = s diag(M)^-1, M = W'W + s I,
# s = beta sigma2, so that W'S V' = W'SW M^-1 and V S V' = M^-1 W'SW M^-1.
best_linear_encoder <- function(object) {
  u2 <- object$moments$unit^2
  s2 <- unname(object$sigma2) / u2
  s <- object$beta * s2
  m <- object$moments$ww + diag(s, object$k)
  best <- object$moments
  best$wsv <- t(solve(m, best$wsw, tol = 0))
  best$vsv <- solve(m, best$wsv, tol = 0)
  terms <- function(moments, d) {
    vae_terms(object$p, moments, d, s2, object$trace / u2)
  }
  now <- terms(object$moments, unname(object$D))
  new <- terms(best, s / diag(m))
  list(epochs = NA_integer_, gain = objective_of(new, object$beta) - objective_of(now, object$beta),
       kl = new$kl)
}

objective_of <- function(terms, beta) terms$reconstruction - beta * terms$kl

# A deep VAE whose encoder alone is trained on, by Adam from the rate that the fit began
# with: what that gains on these rows, and their KL then. The decoder and the noise, which
# are the parameters after those of the encoder, stay.
trained_encoder <- function(object, rows, epochs) {
  layout <- object$layout
  of_encoder <- grepl("^(encoder|mean|log_variance)", layout$name)
  control <- object$control
  control$learning_rate <- schedule_cosine(epochs, max(control$learning_rate))
  control$weight_decay <- 0
  asked <- object$arguments
  asked[c("beta", "optimizer")] <- list(object$beta, "adam")
  noise <- noise_scale(object$sigma2_min / object$u^2, object$u)
  none <- raw(length(object$theta))
  state <- list(theta = object$theta, m = none, v = none, steps = 0)
  key <- sample.int(.Machine$integer.max, 2L)
  for (epoch in seq_len(epochs)) {
    settings <- vae_settings(asked, control, noise, key, epoch)
    settings$frozen <- c(sum(layout$size[of_encoder]), sum(layout$size))
    state <- core_vae_epoch(object$shape, rows$floats, state, epoch, settings)
    if (state$failed) {
      return(list(epochs = epochs, gain = NA_real_, kl = NA_real_))
    }
  }
  trained <- object
  trained$theta <- state$theta
  terms <- same_draws(list(object, trained), function(fit) {
    lapply(observe_vae(fit, rows, 10L)[c("reconstruction", "kl")], mean)
  })
  list(epochs = epochs,
       gain = objective_of(terms[[2]], object$beta) - objective_of(terms[[1]], object$beta),
       kl = terms[[2]]$kl)
}

# ---- the importance-weighted bound ---------------------------------------

# Of a deep VAE, with the ELBO of the same draws, on `most` rows at random: list(value, se,
# above, samples, rows), `above` the ELBO and so the least that the log-likelihood is above it.
weighted_bound <- function(object, rows, samples = 50L, most = 500L) {
  some <- if (rows$floats$n > most) sort(sample.int(rows$floats$n, most)) else
    seq_len(rows$floats$n)
  part <- list(x = rows$x[some, , drop = FALSE], floats = some_floats(rows$floats, some))
  out <- observe_vae(object, part, samples)
  each <- out$weighted + transform_log_jacobian(object$transform, part$x)
  list(value = mean(each), se = stats::sd(each) / sqrt(length(some)),
       above = mean(out$weighted - out$reconstruction + out$kl), samples = samples,
       rows = length(some))
}

# ---- printing ------------------------------------------------------------

#' @export
print.posterior_collapse <- function(x, ...) {
  d <- x$dimensions
  cat(sprintf("Posterior collapse of %d latent dimensions, %d observations\n", nrow(d), x$n))
  cat(sprintf("(eps = %s, delta = %s)-collapsed: %d of %d (%.1f %%)\n", format(x$eps),
              format(x$delta), sum(d$collapsed), nrow(d), x$percent))
  cat(describe_rest(x), "Active units: ", x$active_units, "\n", sep = "")
  cat(sprintf("Dimensions with a mean KL below %s: %d of %d\n", format(x$eps),
              sum(d$mean_kl < x$eps), nrow(d)))
  cat("Verdict: ", x$verdict, "\n", sep = "")
  remedy <- strwrap(x$remedy, 80, indent = 2, exdent = 2)
  cat(remedy, sep = "\n")
  cat("Noise variance sigma2: ", describe_variances(x), "\n", sep = "")
  cat(describe_theory(x), "\n", sep = "")
  cat(sprintf("ELBO: %s nats per observation%s\n", format(x$elbo, digits = 7),
              describe_difference(x)))
  cat(sprintf("Rate %s, distortion %s, mutual information %s (at most %s) nats\n",
              format(x$rate, digits = 4), format(x$distortion, digits = 7),
              format_gap(x$information$value),
              format(x$information$bound, digits = 3)))
  cat(describe_gap(x), "\n\n", sep = "")
  shown <- c("share", "mean_kl", "threshold", "active_variance", "eigenvalue", "predicted_kl")
  if (anyNA(d$eigenvalue)) shown <- shown[1:4]
  rows <- min(nrow(d), 8, max(1, 11 - length(remedy) - !x$own))     # of 24 lines in all
  print(d[order(-d$mean_kl)[seq_len(rows)], shown], digits = 3)
  if (nrow(d) > rows) cat("... and", nrow(d) - rows, "more dimensions\n")
  invisible(x)
}

# How far the others are from eps.
describe_rest <- function(x) {
  above <- x$dimensions$threshold[!x$dimensions$collapsed]
  if (!length(above)) return("")
  sprintf("Thresholds of the others: least %s, median %s. ", format(min(above), digits = 2),
          format(stats::median(above), digits = 2))
}

describe_variances <- function(x) {
  paste0(format_range(x$sigma2, 4), x$origin,
         if (!anyNA(x$tuned$sigma2)) paste0(", tuned ", format_range(x$tuned$sigma2, 4)),
         if (!is.na(x$linear$sigma2)) paste0(", pPCA's ", format(x$linear$sigma2, digits = 4)))
}

describe_theory <- function(x) {
  if (!is.null(x$theory)) return(paste0("The linear theory predicts nothing: ", x$theory))
  if (is.na(x$carried$count)) return("The linear theory predicts nothing: too few eigenvalues are known")
  noise <- sprintf("%ssigma2 = %s", if (x$beta == 1) "" else "beta * ",
                   format(x$beta * x$sigma2, digits = 4))
  sprintf("Predicted by %seigenvalues <= %s: %s; %s%d exceed it",
          if (inherits(x$weighted, "list")) "the linear theory, " else "", noise,
          if (anyNA(x$dimensions$predicted)) "unknown" else sum(x$dimensions$predicted),
          if (x$carried$least) "at least " else "", x$carried$count)
}

describe_difference <- function(x) {
  short <- x$evidence$short
  if (is.na(short)) return("")
  sprintf("%s, %s pPCA's with k = %d",
          if (x$own) "" else
            sprintf("\n  of the data of the fit: %s", format(x$linear$elbo - short, digits = 7)),
          if (abs(short) <= x$evidence$error) "equal to" else
            paste(format(abs(short), digits = 3), if (short > 0) "below" else "above"), x$linear$k)
}

describe_gap <- function(x) {
  if (is.null(x$weighted)) {
    return(sprintf("Log-likelihood - ELBO: %s (rotation %s, posterior %s)",
                   format_gap(x$gap$total), format_gap(x$gap$rotation),
                   format_gap(x$gap$posterior)))
  }
  sprintf("Importance-weighted bound (%d samples, %d rows): %s; ELBO of these draws: %s",
          x$weighted$samples, x$weighted$rows, format(x$weighted$value, digits = 7),
          format(x$weighted$value - x$weighted$above, digits = 7))
}

#' @rdname posterior_collapse
#' @param condition for a [vae()] with a condition, that of the rows of `newdata`.
#' @param samples for a [vae()], the samples of z for each row from which the distortion is
#'   estimated; they are drawn from R's generator.
#' @param encoder_epochs for a [vae()]: 0, or a number of epochs for which a copy of the
#'   encoder is trained on these rows, with the decoder as it is, to see whether the encoder
#'   lags.
#' @export
posterior_collapse.vae <- function(object, newdata = NULL, eps = 0.01, delta = 0.01,
                                   condition = NULL, samples = 1, encoder_epochs = 0, ...) {
  check_dots_empty(...)
  check_collapse(eps, delta)
  samples <- check_count(samples, "samples")
  encoder_epochs <- check_count(encoder_epochs, "encoder_epochs", 0)
  rows <- vae_rows(object, newdata, condition)
  q <- encode_rows(object, rows)
  seen <- errors_of(object, rows, samples)
  spectrum <- linear_spectrum(object, rows)
  weighted <- weighted_bound(object, rows)
  # the numbers that the fit shows, where they are these
  own <- is.null(newdata) && is.null(condition) && samples == 1 && is.finite(object$elbo)
  collapse_result(object, list(
    q = q, own = is.null(newdata) || identical(fingerprints(rows$floats)$x, object$fingerprint$x),
    terms = unlist((if (own) object else seen)[c("elbo", "reconstruction", "kl")]),
    eps = eps, delta = delta,
    values = spectrum$values, trace = spectrum$trace,
    tuned = tuned_deep(object, seen), linear = deep_yardstick(object), gap = list(total = weighted$above), weighted = weighted,
    encoder = if (encoder_epochs > 0) trained_encoder(object, rows, encoder_epochs)
  ))
}

# Eigenvalues of the covariance of the rows (of the features, scaled as the model scales
# them), on which the linear theory rests, all that are known: k or more, NA where it says
# nothing; and their sum, the variance of all features.
linear_spectrum <- function(object, rows) {
  columns <- summarise_columns(rows$x)
  squares <- column_squares(rows$x, columns$mean, object$unit) / columns$count * object$u^2
  out <- list(values = rep(NA_real_, object$k), trace = sum(squares, na.rm = TRUE))
  if (object$noise != "shared" || rows$missing || nrow(rows$x) < 2) return(out)
  data <- prepare_data(rows$x, TRUE, if (is.null(object$scale)) FALSE else unname(object$scale))
  k <- min(object$k, data$n, data$p)
  if (data$p <= min(data$n, 5000)) {
    data$s <- core_covariance(data)
  }
  values <- covariance_values(data, k) * data$u^2
  out$values <- c(values, numeric(max(0, object$k - length(values))))
  out
}
