# The linear model that a deep VAE contains: pPCA with the same k. Its noise variance is
# where that of the VAE starts, its solution is where training starts with
# `start = "linear"`, and its likelihood is what the ELBO ought not to be below.

# list(k, loglik, sigma2, values, validation): log-likelihood per observation of the rows
# trained on and of the validation rows, on the scale of the data; noise variance and
# eigenvalues as pPCA has them. `solution`: where training starts, see linear_start(), in the
# core units of `data`. NULL where pPCA has no solution.
linear_model <- function(data, asked, jacobian) {
  shared <- shared_units(data)
  best <- linear_solution(shared, asked$k)
  if (is.null(best)) return(NULL)
  list(solution = linear_start(data, shared, best, asked), k = best$k, rows = best$rows,
       loglik = if (best$rows == data$n) best$loglik + log_units(shared) / data$n + jacobian else
         NA_real_,
       sigma2 = best$sigma2 * shared$u^2, values = best$values * shared$u^2,
       core = best, unit = shared$unit)
}

# The linear solution at the noise variance given, if one is: `beta` times that, with one for
# each feature in units of its root. Otherwise pPCA's, `best` in the units `shared`; or, with a
# noise variance for each feature, that of features in units of their own where it is likelier.
linear_start <- function(data, shared, best, asked) {
  noise <- if (is.null(asked$sigma2) && !asked$learn_sigma2) 1 else asked$sigma2
  units <- shared
  start <- best
  if (!is.null(noise)) {
    units <- if (length(data$u) == 1) data else with_units(data, rep_len(sqrt(noise), data$p))
    # none at sigma2 0, where `beta` is
    start <- linear_solution(units, asked$k, last(asked$beta) * noise[1] / units$u[1]^2)
  } else if (asked$noise != "shared") {
    own <- linear_solution(data, asked$k)
    score <- function(solution, data) solution$loglik + log_units(data) / data$n
    # where all is Gaussian the two are equally likely, but for rounding
    if (!is.null(own) && score(own, data) > score(best, shared) - 1e-6) {
      units <- data
      start <- own
    }
  }
  if (is.null(start)) in_units(best, shared$u / data$u) else in_units(start, units$u / data$u)
}

# A solution in other units: one number for all features, or one for each.
in_units <- function(solution, factor) {
  solution[c("w", "mu")] <- list(solution$w * factor, solution$mu * factor)
  solution$sigma2 <- solution$sigma2 * factor^2
  solution
}

# What a fit keeps of it.
SHOWN_OF_LINEAR <- c("k", "rows", "loglik", "sigma2", "values", "validation")

# The data, of which the decoder's constant subtracts the mean, whatever `center` is.
around_mean <- function(data) {
  if (!data$centred) data[c("mu", "centred")] <- list(summarise_columns(data$x)$mean, TRUE)
  data
}

# The data with one unit for all features, but for `scale`.
shared_units <- function(data) {
  if (length(data$u) == 1) data else with_units(data, stats::median(data$u))
}

# pPCA of data as prepare_data() gives them, in their core units: list(k, w (p x k), mu (p,
# less that of the data), sigma2, loglik (per observation), values, rows). k is the one
# asked for, or the most that leave noise; `sigma2` (in core units) NULL for its MLE. Of large
# data with missing cells, or where all of many eigenvectors would be needed, only `rows` rows
# are used.
linear_solution <- function(data, k, sigma2 = NULL) {
  data <- fewer_rows(data, k)
  k <- min(k, data$p - 1L)
  origin <- data$mu
  data <- around_mean(data)
  data$u <- 1
  out <- if (data$missing) linear_missing(data, k, sigma2) else
    linear_complete(data, k, sigma2)
  if (is.null(out) || !is.finite(out$loglik) || !(out$sigma2 > 0)) return(NULL)
  out$mu <- out$mu + (data$mu - origin) * data$unit
  c(out, list(k = ncol(out$w), rows = data$n))
}

# Floating-point operations that the linear model may cost.
LINEAR_COST <- 2e11

fewer_rows <- function(data, k) {
  p <- data$p
  m <- min(data$n, p)
  cost <- if (data$missing) 60 * data$n * p * k^2 else if (m > 1000 && k > m / 10) 20 * m^3 else
    0
  if (cost <= LINEAR_COST) return(data)
  rows <- if (data$missing) LINEAR_COST / (60 * p * k^2) else (LINEAR_COST / 20)^(1 / 3)
  rows <- max(2L * k, 100L, as.integer(rows))
  if (rows >= data$n) return(data)
  kept <- unique(round(seq(1, data$n, length.out = rows)))
  x <- data$x[kept, , drop = FALSE]
  count <- summarise_columns(x)$count
  if (all(count > 0)) data[c("x", "count", "n")] <- list(x, count, length(kept))
  data
}

linear_complete <- function(data, k, sigma2) {
  asked <- min(k, data$n)
  eigen <- attempt(data_eigen(data, asked))
  if (is.null(eigen)) return(NULL)
  zero <- max(data$n, data$p) * .Machine$double.eps * max(eigen$values, 0)
  rank <- sum(eigen$values > zero)
  rest <- eigen$trace - sum(eigen$values[seq_len(min(asked, length(eigen$values)))])
  if (is.null(sigma2) && rank <= k && rest <= data$p * zero) k <- rank - 1L
  if (k < 1) return(NULL)
  eigen <- pad_eigen(eigen, data$p, k)
  eigen$vectors <- eigen$vectors[, seq_len(k), drop = FALSE]
  out <- solve_ppca(eigen, k, sigma2, data$u)
  list(w = out$w, mu = numeric(data$p), sigma2 = out$sigma2, loglik = out$loglik,
       values = eigen$values)
}

# By EM, to within a hundredth of a nat.
linear_missing <- function(data, k, sigma2) {
  control <- em_control(tol = 1e-3, maxit = 200, progress = FALSE)
  fit <- tryCatch(suppressWarnings(solve_em_missing(data, k, sigma2, control)),
                  elbo_error = function(e) NULL)
  if (is.null(fit)) return(if (k > 1) linear_missing(data, k %/% 2L, sigma2))
  list(w = fit$w, mu = (fit$mu - data$mu) * data$unit, sigma2 = fit$sigma2,
       loglik = fit$loglik / data$n, values = fit$values)
}

# Mean log-likelihood of validation rows under the linear model, on the scale of the data.
linear_validation <- function(linear, x, mu, jacobian) {
  model <- linear$core
  data <- list(x = x, mu = mu + model$mu / linear$unit, unit = linear$unit)
  out <- attempt(core_posterior(data, core_patterns(x), model$w, model$sigma2, loglik = TRUE))
  if (is.null(out)) NA_real_ else mean(out$loglik + jacobian)
}

start_vae <- function(problem) {
  asked <- problem$asked
  linear <- problem$linear$solution
  sigma2 <- if (!is.null(asked$sigma2)) asked$sigma2 / problem$u^2 else
    if (!asked$learn_sigma2) 1 / problem$u^2 else
      if (is.null(linear)) problem$spread else linear$sigma2
  sigma2 <- pmax(sigma2, problem$floor)
  theta <- vae_initial(problem$layout, log(sigma2), if (asked$start == "linear") linear)
  theta <- as_floats(theta)
  none <- raw(length(theta))
  list(theta = theta, m = none, v = if (asked$optimizer == "adam") none else raw(0),
       steps = 0, epoch = 0L, key = sample.int(.Machine$integer.max, 2L), best = NULL,
       peak = NULL, idle = 0L)
}
