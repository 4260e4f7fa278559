# The loop of iterations that EM, coordinate ascent, L-BFGS and Adam run in: limits, history,
# interrupts, warnings; and the steps that accelerate a map.
#
# A state is a list with the parameters, their total log-likelihood `loglik`, their `sigma2`,
# and whatever its step() needs. step(state, left) returns the next state, having made `maps`
# of the maps that are left.

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

# With a class of its own, for callers that fit many models.
warn_not_converged <- function(...) {
  warning(structure(class = c("elbo_not_converged", "warning", "condition"),
                    list(message = paste0(...), call = NULL)))
}

# The history of a fit that goes on from another.
whole_history <- function(before, history) {
  out <- rbind(before$history, history)
  row.names(out) <- NULL
  out
}

done_before <- function(control) {
  if (is.null(control$resume)) 0L else control$resume$iterations
}

# A fit goes on with the data that it was made of, as far as their shape says.
check_resume <- function(resume, raw) {
  if (!is.null(resume) && (nrow(raw) != resume$n || ncol(raw) != resume$p)) {
    abort_arg("x", sprintf("be the %d x %d data that the model was fitted to", resume$n,
                           resume$p), sprintf("%d x %d ones", nrow(raw), ncol(raw)))
  }
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

# Starting values from which nothing can be computed.
stop_start <- function(what) {
  abort_arg("start", paste0("give a finite ", what, ", and a first step from it; with optimizer = ",
                            "\"adam\" a smaller `learning_rate` may do"))
}

# evaluate(theta) returns a list with `objective`, `gradient`, `row` (of the history)
# and what else is wanted of the best point; NULL where the objective is not finite.
climb_lbfgs <- function(theta, evaluate, control, done) {
  last <- NULL
  kept <- list(best = NULL, rows = list())
  count <- done
  bar <- progress_start(control$progress, control$maxit, "L-BFGS")
  on.exit(progress_end(bar))
  look <- function(theta) {
    if (identical(theta, last$theta)) return(last)
    if (count >= control$maxit) {
      stop(structure(class = c("elbo_limit", "error", "condition"),
                     list(message = "the limit of evaluations", call = NULL)))
    }
    count <<- count + 1L
    progress_update(bar, count)
    to <- evaluate(theta)
    best <- kept$best
    if (is.null(to) && is.null(best)) stop_start("objective")
    if (is.null(to)) {           # far out: low, but a number to turn back from
      to <- list(objective = best$objective - 1e6, gradient = numeric(length(theta)))
    }
    last <<- c(list(theta = theta), to)
    if (is.null(best) || to$objective > best$objective) {
      # in one assignment: an interrupt finds the point with its row, or the one before
      kept <<- list(best = last, rows = c(kept$rows, list(c(iteration = count, to$row))))
    }
    last
  }
  run <- function(from) {
    stats::optim(from, function(theta) -look(theta)$objective,
                 function(theta) -look(theta)$gradient, method = "L-BFGS-B",
                 control = list(maxit = control$maxit, lmm = 10,
                                factr = max(control$tol / .Machine$double.eps, 1)))
  }
  outcome <- tryCatch({
    # A line search may fail where the memory misleads it: then once more without.
    if (run(theta)$convergence != 0) run(kept$best$theta)
    "converged"
  }, interrupt = function(condition) "interrupted",
  elbo_limit = function(condition) "limit")
  if (is.null(kept$best)) abort("Interrupted before there was anything to keep.")
  tell_outcome(outcome, count,
               list(name = "L-BFGS", unit = "evaluation", argument = "maxit"))
  history <- as.data.frame(do.call(rbind, kept$rows))
  history$iteration <- as.integer(history$iteration)
  list(best = kept$best, converged = outcome == "converged", iterations = as.integer(count),
       history = history)
}

# Where the observed cells can be fitted exactly, the likelihood grows without
# bound as sigma2 falls, until rounding ends the iteration.
stop_no_noise <- function(state) {
  abort("`k` must be smaller than ", ncol(state$w), ", or `sigma2` be given: with this ",
        "many dimensions the observed cells are fitted exactly and no noise is left.",
        class = "elbo_no_noise")
}
