# EM for pPCA, of complete data and of data with missing cells. The core computes one map; the
# loop and its acceleration are those of iterate.R. Parameters are in core units.

# For EM, whose likelihood never falls but for a last bit lost to rounding: such a
# step is not taken. It has converged once a step gains less than tol nats per
# observation.
iterate_em <- function(state, step, control, n) {
  before <- control$start
  iterate(
    state,
    function(state, left, done) {
      new <- step(state, left)
      if (new$loglik >= state$loglik) return(new)
      state$maps <- new$maps
      state
    },
    control,
    settled = function(old, new, done) (new$loglik - old$loglik) / n < control$tol,
    record = function(state) c(loglik = state$loglik, sigma2 = state$sigma2),
    words = list(name = "EM", unit = "EM map", argument = "maxit"),
    done = if (is.null(before)) 0L else before$iterations
  )
}

# ---- complete data ------------------------------------------------------

solve_em_complete <- function(data, k, sigma2, control) {
  trace <- sum(core_squares(data$x, data$mu, data$unit)) / data$n
  data$trace <- trace
  if (is.null(sigma2) && (trace == 0 || k >= min(data$n - data$centred, data$p))) {
    stop_rank(data, k)
  }
  start <- start_complete(data, k, sigma2, control$start)
  step <- if (control$accelerate) ritz_step(data, k, sigma2) else
    plain_step(data, k, sigma2)
  run <- iterate_em(step(start), step, control, data$n)
  state <- run$state
  eigen <- if (control$accelerate) state$subspace$values else
    sort(colSums(state$w^2), decreasing = TRUE) + state$sigma2
  list(w = core_canonical(state$w), sigma2 = state$sigma2,
       loglik = state$loglik, values = eigen, trace = trace,
       history = run$history, converged = run$converged,
       iterations = run$iterations, route = "em")
}

# The noise variance may fall to what rounding leaves, where k reaches the rank.
check_noise <- function(data, k, sigma2, fixed) {
  if (is.null(fixed) && !(sigma2 > 1e-13 * data$trace / data$p)) stop_rank(data, k)
}

start_complete <- function(data, k, sigma2, start) {
  if (is.null(start)) {
    size <- data$trace / (2 * data$p)
    w <- matrix(stats::rnorm(data$p * k, sd = sqrt(size / k)), data$p, k)
    return(list(w = w, sigma2 = if (is.null(sigma2)) size else sigma2 / data$u^2))
  }
  list(w = unname(start$loadings) / data$u,
       sigma2 = (if (is.null(sigma2)) start$sigma2 else sigma2) / data$u^2)
}

# One product S W, then the best W within the span of the current directions,
# that product and the previous step. The first call has no subspace yet.
ritz_step <- function(data, k, sigma2) {
  function(state, left = Inf) {
    subspace <- core_ritz(data, state$w, state$subspace)
    best <- solve_ppca(
      list(values = subspace$values, vectors = subspace$u, trace = data$trace),
      k, sigma2, data$u
    )
    check_noise(data, k, best$sigma2, sigma2)
    list(w = best$w, sigma2 = best$sigma2, loglik = data$n * best$loglik,
         subspace = subspace, maps = 1L)
  }
}

# A map evaluates the likelihood of the parameters that it starts from, so a
# state carries its own successor.
plain_step <- function(data, k, sigma2) {
  fixed <- if (!is.null(sigma2)) sigma2 / data$u^2
  function(state, left = Inf) {
    from <- if (is.null(state$successor)) state else state$successor
    to <- attempt(core_em_step(data, from$w, from$sigma2, fixed), "elbo_core_not_positive")
    if (is.null(to)) stop_rank(data, k)
    check_noise(data, k, to$sigma2, sigma2)
    list(w = from$w, sigma2 = from$sigma2, loglik = data$n * to$loglik,
         successor = to[c("w", "sigma2")], maps = 1L)
  }
}

# ---- missing cells ------------------------------------------------------

solve_em_missing <- function(data, k, sigma2, control) {
  data$patterns <- core_patterns(data$x)
  map <- missing_map(data, sigma2)
  start <- start_missing(data, k, sigma2, control$start)
  step <- if (control$accelerate) squarem_step(map, data$unit) else successor_step(map)
  run <- iterate_em(evaluate_state(map, start), step, control, data$n)
  state <- run$state
  check_missing_noise(state, data, sigma2)
  w <- core_canonical(state$w)
  data$mu <- state$mu
  posterior <- core_posterior(data, data$patterns, w, state$sigma2)
  values <- colSums(w^2) + state$sigma2
  shift <- log_units(data)
  run$history$loglik <- run$history$loglik - shift
  list(w = w, mu = state$mu, sigma2 = state$sigma2,
       loglik = state$loglik - shift, values = values,
       trace = sum(values) + (data$p - k) * state$sigma2,
       scores = posterior$mean, history = run$history,
       converged = run$converged, iterations = run$iterations, route = "em")
}

check_missing_noise <- function(state, data, sigma2) {
  spread <- state$sigma2 + sum(state$w^2) / data$p
  if (is.null(sigma2) && state$sigma2 < 2e-9 * spread) stop_no_noise(state)
}

# The map of the core as a function of list(w, mu, sigma2); NULL where it left
# the range of positive definite matrices.
missing_map <- function(data, sigma2) {
  fix_mu <- !data$centred
  fix_sigma2 <- !is.null(sigma2)
  function(at) {
    to <- attempt(core_missing_em(data, at, fix_mu, fix_sigma2))
    if (isTRUE(is.finite(to$loglik))) to
  }
}

# The principal components of the data with each missing cell at its column's
# mean. A column without loadings would be a stationary point: disturb it.
start_missing <- function(data, k, sigma2, start) {
  if (!is.null(start)) {
    return(list(w = unname(start$loadings) / data$u, mu = unname(start$mean),
                sigma2 = (if (is.null(sigma2)) start$sigma2 else sigma2) / data$u^2))
  }
  eigen <- pad_eigen(data_eigen(data, min(k, data$n)), data$p, k)
  at <- solve_ppca(eigen, k, NULL, data$u)
  size <- sqrt(eigen$trace / data$p)
  if (!(size > 0) && is.null(sigma2)) {
    abort("`x` must vary, or `sigma2` be given: no column has two different values.")
  }
  idle <- colSums(at$w^2) < 1e-6 * size^2
  at$w[, idle] <- stats::rnorm(data$p * sum(idle), sd = 0.01 * size)
  noise <- max(at$sigma2, 1e-3 * size^2)
  list(w = at$w, mu = data$mu,
       sigma2 = if (is.null(sigma2)) noise else sigma2 / data$u^2)
}
