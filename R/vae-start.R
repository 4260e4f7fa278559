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

last <- function(x) x[length(x)]

# The data, of which the decoder's constant subtracts the mean, whatever `center` is.
around_mean <- function(data) {
  if (!data$centred) data[c("mu", "centred")] <- list(summarise_columns(data$x)$mean, TRUE)
  data
}

# The data with one unit for all features, but for `scale`.
shared_units <- function(data) {
  if (length(data$u) == 1) data else with_units(data, stats::median(data$u))
}

with_units <- function(data, u) {
  data$u <- u
  data$unit <- 1 / (data$sd * u)
  data
}

# pPCA of data as prepare_data() gives them, in their core units: list(k, w (p x k), mu (p,
# less that of the data), sigma2, loglik (per observation), values, rows). k is the one
# asked for, or the most that leave noise; `sigma2` (in core units) NULL for its MLE. Of large data with
# missing cells, or where all of many eigenvectors would be needed, only `rows` rows are used.
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

# ---- is the fit as good as it can be? ------------------------------------

# One sentence of what is wrong and what to do, where the ELBO is below that of the linear
# model or was still rising at the end; otherwise none.
training_advice <- function(fit) {
  short <- elbo_shortfall(fit)
  rise <- elbo_rise(fit)
  if (short > 0) {
    return(paste0(sprintf("The ELBO is %s nats below that of the linear model: ",
                          format(short, digits = 3)), shortfall_cause(fit, rise)))
  }
  if (rise > 0) {
    sprintf(paste("The ELBO was still rising at the end, by %s nats in the last tenth of the",
                  "epochs: train for longer, update(fit, epochs = %d)."),
            format(rise, digits = 2), 2L * fit$iterations)
  }
}

# How many nats the ELBO is below the likelihood of the linear model, beyond what chance
# explains, see allowance_of(): the estimate from one z has a variance of about k / 2. 0 where
# it is not below, or that likelihood is not known.
elbo_shortfall <- function(fit) {
  loglik <- fit$linear$loglik
  if (is.null(loglik) || is.na(loglik) || !is.finite(fit$elbo)) return(0)
  short <- loglik - fit$elbo
  idle <- sum(fit$kl_dimensions < 0.01)
  if (short > allowance_of(fit, idle, elbo_error(fit))) short else 0
}

# What the sampling of z may do to the ELBO.
elbo_error <- function(fit) 3 * sqrt(fit$k / (2 * fit$n * final_samples(fit$n)))

# How much the ELBO of the steps (or, where there are such, of the validation data) rose
# over the last tenth of the epochs, by a line through these; 0 where that is no more than
# chance or less than a thousandth of the ELBO's spread.
elbo_rise <- function(fit) {
  history <- fit$history
  if (!is.null(fit$search) || !isTRUE(is.finite(fit$elbo))) return(0)      # pPCA has none
  y <- if (is.null(history$validation)) history$elbo else history$validation
  last <- utils::tail(y, max(5, ceiling(length(y) / 10)))
  if (length(y) < 5 || !all(is.finite(last))) return(0)
  epoch <- seq_along(last) - mean(seq_along(last))
  slope <- sum(epoch * last) / sum(epoch^2)
  error <- last - mean(last) - slope * epoch
  se <- sqrt(sum(error^2) / (length(last) - 2) / sum(epoch^2))
  rise <- slope * length(last)
  if (slope > 3 * se && rise > max(0.01, 1e-4 * abs(fit$elbo), na.rm = TRUE)) rise else 0
}

# By how much the same ELBO rose over the last half of the epochs, from a tenth of them about
# the middle to the last tenth.
second_half_rise <- function(fit) {
  history <- fit$history
  y <- if (is.null(history$validation)) history$elbo else history$validation
  n <- length(y)
  tenth <- ceiling(n / 10)
  if (n < 5 || !is.null(fit$search)) return(0)
  rise <- mean(utils::tail(y, tenth)) - mean(y[seq(ceiling((n - tenth) / 2), length.out = tenth)])
  if (is.finite(rise)) max(0, rise) else 0
}

shortfall_cause <- function(fit, rise) {
  if (isTRUE(fit$tuned) && fit$fixed) {
    return("`sigma2` was fixed in training and tuned afterwards; learn it with the rest.")
  }
  if (fit$fixed && any(abs(log(fit$sigma2 / fit$linear$sigma2)) > 0.05)) {
    return(sprintf("`sigma2` is fixed at %s, where the linear model has %s; learn it.",
                   format_range(fit$sigma2, 3), format_range(fit$linear$sigma2, 3)))
  }
  end <- last(fit$arguments$beta)
  if (fit$beta != end) {
    return(sprintf(paste("training ended with `beta` at %s, on its way to %s. Give `epochs`, or use",
                         "ppca()."), format(fit$beta, digits = 3), format(end)))
  }
  if (fit$beta != 1) {
    return(sprintf("`beta` is %s, and only `beta = 1` maximises the ELBO.", format(fit$beta)))
  }
  if (fit$arguments$free_bits > 0) {
    return(sprintf("`free_bits` are %s, and only without them the ELBO is maximised.",
                   format(fit$arguments$free_bits)))
  }
  if (isTRUE(fit$floored > 0.5)) {
    return(paste("the noise variance is held up by `sigma2_min`; give a smaller one, or where",
                 "features differ in scale `scale = TRUE` or `noise = \"feature\"`."))
  }
  if (rise > 0) {
    return(sprintf("it was still rising; train for longer, update(fit, epochs = %d).",
                   2L * fit$iterations))
  }
  if (fit$observed < fit$n * fit$p) {
    return(paste("its encoder sees the mean in the place of a missing cell, where ppca() is",
                 "exact. Give more `epochs`, or use ppca()."))
  }
  if (fit$arguments$start == "random") {
    return("start from that model, `start = \"linear\"`, or train for longer.")
  }
  if (!is.null(fit$arguments$sigma2)) {
    return("leave `sigma2` to start at that of the linear model, or train for longer.")
  }
  if (fit$control$weight_decay > 0) return("a smaller `weight_decay` may help.")
  "a smaller `learning_rate` may help."
}
