# The C core as R functions, one for each entry point: this file alone names C symbols.
#
# `data` is a list with the matrix `x` and, one number a column, `mu` and `unit`: what the
# core sees is (x - mu) unit, without a copy of it. Parameters are in these core units.
# Where the core reports that a computation failed, R stops here; callers that can go on
# say so by attempt().

# ---- failures -----------------------------------------------------------

# The status codes of src/status.h, in their order, as conditions and as sentences.
FAILURES <- list(
  not_converged = "The eigenvalue iteration did not converge; choose a smaller `k`.",
  not_positive = paste("A covariance matrix is numerically singular; choose a smaller `k` or a",
                       "larger `sigma2`."),
  lapack = "LAPACK failed to decompose a matrix.",
  not_finite = "An objective or its gradient is not a finite number."
)

# The result of an entry point, without its status.
checked <- function(out) {
  if (out$status > 0) {
    abort(FAILURES[[out$status]],
          class = c(paste0("elbo_core_", names(FAILURES)[out$status]), "elbo_core"))
  }
  out$status <- NULL
  out
}

# The value of `code`, or NULL where the core failed: in this way, or in any.
attempt <- function(code, failure = "elbo_core") {
  tryCatch(code, elbo_core = function(e) if (!inherits(e, failure)) stop(e))
}

# ---- data and S ---------------------------------------------------------

# Of each column, in one pass: count of observed cells, mean, low, high; and the number of the
# first column that holds an infinite value, or 0.
core_summary <- function(x) .Call(C_data_summary, x)

# Sums of squares of the columns.
core_squares <- function(x, mu, unit) .Call(C_data_squares, x, mu, unit)

# The data times q (p x m).
core_times <- function(data, q) .Call(C_data_times, data$x, data$mu, data$unit, q)

# S, p x p, with divisor n.
core_covariance <- function(data) .Call(C_data_covariance, data$x, data$mu, data$unit)

# S q, from data$s where it is there.
core_covariance_times <- function(data, q) {
  .Call(C_lvae_cov_times, data$s, data$x, data$mu, data$unit, q)
}

# ---- pPCA ---------------------------------------------------------------

ROUTES <- c(covariance = 0L, gram = 1L, krylov = 2L)

# The first k eigenvalues and -vectors of S: list(values, vectors, projections, trace). The dense
# routes give all values, however few vectors are asked for.
core_eigen <- function(data, k, route) {
  checked(.Call(C_ppca_eigen, data$x, data$mu, data$unit, as.integer(k), ROUTES[[route]]))
}

# The maximum-likelihood solution from k eigenpairs: list(w, sigma2, loglik, used); of sigma2,
# where it is NULL, as well.
core_ppca <- function(values, vectors, trace, sigma2) {
  .Call(C_ppca_solve, values, vectors, trace, if (is.null(sigma2)) -1 else sigma2)
}

# Its likelihood and noise variance at each of `ranks`.
core_ppca_profile <- function(values, ranks, p, trace) {
  .Call(C_ppca_profile, values, as.integer(ranks), p, trace, -1)
}

# W rotated to orthogonal columns, the longest first.
core_canonical <- function(w) .Call(C_ppca_canonical, w)

# A step of EM from (w, sigma2): its successor, and the likelihood of where it came from.
core_em_step <- function(data, w, sigma2, fixed_sigma2) {
  checked(.Call(C_em_step, data$x, data$mu, data$unit, w, sigma2, data$trace,
                if (is.null(fixed_sigma2)) -1 else fixed_sigma2))
}

# Ritz values and vectors within the span of w, S w and the step before.
core_ritz <- function(data, w, subspace) {
  checked(.Call(C_em_ritz, data$x, data$mu, data$unit, w, subspace))
}

# ---- pPCA with missing cells --------------------------------------------

# Which rows miss the same cells: what the next two want.
core_patterns <- function(x) .Call(C_missing_patterns, x)

# Of each row, given its observed cells: the posterior mean of z, and if wanted covariances by
# pattern and log densities.
core_posterior <- function(data, patterns, w, sigma2, cov = FALSE, loglik = FALSE) {
  checked(.Call(C_missing_posterior, data$x, data$mu, data$unit, patterns, w, sigma2, cov,
                loglik))
}

# A step of parameter-expanded EM from list(w, mu, sigma2).
core_missing_em <- function(data, at, fix_mu, fix_sigma2) {
  checked(.Call(C_missing_em, data$x, at$mu, data$unit, data$patterns, at$w, at$sigma2, fix_mu,
                fix_sigma2))
}

# ---- linear VAE ---------------------------------------------------------

# The terms of the analytic ELBO, and the log-likelihood, from the k x k moments.
core_lvae_terms <- function(p, moments, d, sigma2, trace) {
  checked(.Call(C_lvae_terms, as.integer(p), moments$ww, moments$wsw, moments$wsv,
                moments$vsv, d, sigma2, trace))
}

# A round of coordinate ascent from (w, sigma2).
core_lvae_ascend <- function(data, w, sigma2, beta, rotate, fix_sigma2) {
  checked(.Call(C_lvae_ascend, data$s, data$x, data$mu, data$unit, w, sigma2, data$trace, beta,
                rotate, fix_sigma2))
}

# The ELBO and its gradient by (w, log sigma2), with V and D at their best.
core_lvae_profile <- function(data, w, sigma2, beta, fix_sigma2) {
  checked(.Call(C_lvae_profile, data$s, data$x, data$mu, data$unit, w, sigma2, data$trace,
                beta, fix_sigma2))
}

# The noise variance at the maximum of the beta-ELBO.
core_lvae_noise <- function(values, p, trace, beta) .Call(C_lvae_noise, values, p, trace, beta)

# The ELBO of all rows and its gradient by theta = (W, V', log D, log sigma2).
core_lvae_gradient <- function(data, k, theta, beta, fix_sigma2) {
  .Call(C_lvae_gradient, data$s, data$x, data$mu, data$unit, k, theta, data$trace, beta,
        fix_sigma2)
}

# A step of Adam up a gradient.
core_adam <- function(state, gradient, rate) .Call(C_adam_climb, state, gradient, rate)

# An epoch of Adam in batches. `steps`: list(rate, batch, samples, key).
core_lvae_epoch <- function(data, k, state, epoch, beta, fix_sigma2, steps) {
  .Call(C_lvae_epoch, data$x, data$mu, data$unit, k, state, as.integer(epoch), beta,
        fix_sigma2, steps$rate, steps$batch, steps$samples, steps$key)
}

# Of each row: mean of q, expected squared error and KL. `theta`: list(w, vt, d).
core_lvae_rows <- function(data, theta, samples, key) {
  .Call(C_lvae_observe, data$x, data$mu, data$unit, theta$w, theta$vt, theta$d, samples, key)
}

# ---- deep VAE -----------------------------------------------------------

# Numbers as floats in raw vectors, and back.
as_floats <- function(x) .Call(C_as_float, as.double(x))
from_floats <- function(x) .Call(C_as_double, x)

# (x - mu) unit as floats, p x n; NULL where a cell cannot be squared.
core_floats <- function(data, rows = NULL) {
  .Call(C_vae_data, data$x, data$mu, data$unit, if (!is.null(rows)) rows - 1L)
}

# A fingerprint, 8 bytes, of a raw vector.
fingerprint <- function(x) .Call(C_fingerprint, x)

# The tensors of theta in their order, a column each: part of the model, outputs, inputs,
# whether there are biases, activation, and where it begins (from 0).
core_vae_layout <- function(shape) .Call(C_vae_layout, shape)

# An epoch of training: the new state, the terms that its steps met; and where these were not
# finite `failed`, with the step.
core_vae_epoch <- function(shape, data, state, epoch, settings) {
  out <- .Call(C_vae_epoch, shape, data, state, epoch, settings)
  out$failed <- out$status > 0
  out
}

# Epoch of the noise with which a fit is evaluated: no epoch of training has it.
EVALUATION <- .Machine$integer.max

# Terms of the ELBO of each row and of all.
core_vae_evaluate <- function(shape, data, theta, settings) {
  .Call(C_vae_evaluate, shape, data, theta, EVALUATION, settings)
}

# q(z | x) of rows, and p(x | z), its variances if wanted: k x n and p x n.
core_vae_encode <- function(shape, data, theta, settings) {
  .Call(C_vae_encode, shape, data, theta, settings)
}
core_vae_decode <- function(shape, z, condition, theta, variance, settings) {
  .Call(C_vae_decode, shape, z, condition, theta, variance, settings)
}

.onUnload <- function(libpath) {
  .Call(C_unload)
  library.dynam.unload("elbo", libpath)
}
