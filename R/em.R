# EM for pPCA. The core computes one map; the loop is here, and with it
# acceleration, convergence, history, progress and interrupts.
#
# A state is a list with the parameters, their total log-likelihood `loglik`,
# their `sigma2`, and whatever its step() needs. step(state, left) returns the
# next state, having made `maps` of the maps that are left. Parameters are in core
# units.

# Runs step() from `state` until settled() or `control$maxit` maps, `done` of them
# made before. record() makes a state's row of the history. A step that cannot be
# made returns NULL; that, and an interrupt, end the loop with the last finished
# state. `words`: what the iteration is called in messages.
iterate <- function(state, step, control, settled, record, words, done = 0L) {
  at <- list(state = state, maps = done + state$maps, rows = 1L)
  history <- list(c(at$maps, record(state)))
  outcome <- "limit"
  bar <- progress_start(control$progress, control$maxit, words$name)
  on.exit(progress_end(bar))
  outcome <- tryCatch({
    while (outcome == "limit" && at$maps < control$maxit) {
      new <- step(at$state, control$maxit - at$maps, at$maps)
      if (is.null(new)) {
        outcome <- "failed"
      } else {
        if (settled(at$state, new, at$maps)) outcome <- "converged"
        maps <- at$maps + new$maps
        history[[at$rows + 1L]] <- c(maps, record(new))
        # in one assignment: an interrupt finds the old state or the new one
        at <- list(state = new, maps = maps, rows = at$rows + 1L)
      }
      progress_update(bar, at$maps)
    }
    outcome
  }, interrupt = function(condition) "interrupted")
  tell_outcome(outcome, at$maps, words)
  history <- as.data.frame(do.call(rbind, history[seq_len(at$rows)]))
  names(history)[1] <- "iteration"
  history$iteration <- as.integer(history$iteration)
  list(state = at$state, outcome = outcome, converged = outcome == "converged",
       iterations = as.integer(at$maps), history = history)
}

tell_outcome <- function(outcome, maps, words) {
  done <- paste0(maps, " ", words$unit, if (maps != 1) "s")
  again <- paste0("`update(fit, ", words$argument, " = )` continues it.")
  if (outcome == "interrupted") {
    warning("Interrupted after ", done, "; this is the fit so far, and ", again,
            call. = FALSE)
  } else if (outcome == "failed") {
    warning("The fit diverged after ", done, "; this is the last finite state. ",
            words$advice, call. = FALSE)
  } else if (outcome == "limit" && !isTRUE(words$open_ended)) {
    warn_not_converged(words$name, " has not converged after ", done, "; ", again)
  }
}

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

# With a class of its own, for callers that fit many models.
warn_not_converged <- function(...) {
  warning(structure(class = c("elbo_not_converged", "warning", "condition"),
                    list(message = paste0(...), call = NULL)))
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

stop_rank <- function(data, k) {
  route <- if (data$p <= data$n) "covariance" else "gram"
  eigen <- core_eigen(data, min(k, data$n, data$p), route)
  check_rank(eigen, data, k)
  abort_arg("k", "be smaller: no noise is left", k)
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

# Where the observed cells can be fitted exactly, the likelihood grows without
# bound as sigma2 falls, until rounding ends the iteration.
stop_no_noise <- function(state) {
  abort("`k` must be smaller than ", ncol(state$w), ", or `sigma2` be given: with this ",
        "many dimensions the observed cells are fitted exactly and no noise is left.",
        class = "elbo_no_noise")
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

# A state with its likelihood and its successor under the map, and what else the
# map may say about the state.
evaluate_state <- function(map, at, maps = 1L) {
  to <- map(at)
  if (is.null(to)) return(NULL)
  c(at[c("w", "mu", "sigma2")],
    list(loglik = to$loglik, successor = to[c("w", "mu", "sigma2")], maps = maps,
         extra = to$extra))
}

successor_step <- function(map) {
  function(state, left = Inf) {
    new <- evaluate_state(map, state$successor)
    if (is.null(new)) stop_no_noise(state)
    new
  }
}

# SQUAREM (Varadhan and Roland 2008, scheme S3): from theta0 and its successors
# theta1 and theta2, the extrapolation theta0 - 2 a r + a^2 v with
# r = theta1 - theta0, v = theta2 - theta1 - r, a = -|r| / |v|. Kept if it is at
# least as likely as theta1, else theta1 is.
squarem_step <- function(map, unit) {
  longest <- 4
  function(state, left = Inf) {
    next1 <- evaluate_state(map, state$successor)
    if (is.null(next1)) stop_no_noise(state)
    if (left < 2) return(next1)
    t0 <- flatten(state, state, unit)
    t1 <- flatten(next1, state, unit)
    t2 <- flatten(next1$successor, state, unit)
    r <- t1 - t0
    v <- t2 - t1 - r
    size <- sqrt(sum(r^2) / sum(v^2))
    if (!is.finite(size) || size <= 1) return(next1)
    size <- min(size, longest)
    if (size == longest) longest <<- 4 * longest
    theta <- unflatten(t0 + 2 * size * r + size^2 * v, state, unit)
    far <- evaluate_state(map, theta, 2L)
    if (is.null(far) || far$loglik < next1$loglik) {
      longest <<- max(4, longest / 4)
      next1$maps <- 2L
      return(next1)
    }
    far
  }
}

# Anderson acceleration with restarts and monotonicity control (Henderson and
# Varadhan 2019, without their damping). With f = successor - theta and the
# differences dx, df of theta and f over the last steps, the next theta is
# theta + f - (dx + df) g, where g minimises |f - df g|. Kept if it is at least as
# likely as the present state; else the memory is emptied and the successor taken.
anderson_step <- function(map, unit, memory = 10L) {
  anchor <- last_x <- last_f <- dx <- df <- NULL
  held <- 0L
  remember <- function(x, f) {
    if (!is.null(last_x)) {
      if (is.null(dx)) dx <<- df <<- matrix(0, length(x), memory)
      slot <- held %% memory + 1L
      dx[, slot] <<- x - last_x
      df[, slot] <<- f - last_f
      held <<- held + 1L
    }
    last_x <<- x
    last_f <<- f
  }
  function(state, left = Inf) {
    # a noise variance that has moved far makes other units
    if (is.null(anchor) || abs(log(state$sigma2 / anchor$sigma2)) > log(2)) {
      anchor <<- state
      last_x <<- NULL
      held <<- 0L
    }
    x <- flatten(state, anchor, unit)
    f <- flatten(state$successor, anchor, unit) - x
    remember(x, f)
    used <- seq_len(min(held, memory))
    if (length(used)) {
      g <- least_squares(df[, used, drop = FALSE], f)
      theta <- x + f - dx[, used, drop = FALSE] %*% g - df[, used, drop = FALSE] %*% g
      far <- evaluate_state(map, unflatten(theta, anchor, unit))
      if (!is.null(far) && far$loglik >= state$loglik) return(far)
      if (left < 2) return(replace(state, "maps", 1L))
      held <<- 0L
    }
    new <- evaluate_state(map, state$successor)
    if (is.null(new)) stop_no_noise(state)
    new$maps <- 1L + (length(used) > 0)
    new
  }
}

# g that minimises |f - a g|, by normal equations of scaled columns with a slight
# ridge: columns from a converging iteration are nearly dependent.
least_squares <- function(a, f) {
  cross <- crossprod(a)
  size <- sqrt(diag(cross))
  size[size == 0] <- 1
  cross <- cross / outer(size, size)
  diag(cross) <- diag(cross) + 1e-12
  drop(solve(cross, crossprod(a, f) / size, tol = 0)) / size
}

# Parameters as one vector in which a unit step means about as much everywhere:
# loadings and mean in noise units of the state `at`, the log of sigma2.
flatten <- function(theta, at, unit) {
  c(c(theta$w, (theta$mu - at$mu) * unit) / sqrt(at$sigma2), log(theta$sigma2))
}

unflatten <- function(vector, at, unit) {
  size <- length(at$w)
  sigma <- sqrt(at$sigma2)
  list(w = array(vector[seq_len(size)] * sigma, dim(at$w)),
       mu = at$mu + vector[size + seq_along(at$mu)] * sigma / unit,
       sigma2 = exp(vector[length(vector)]))
}
