# R's L-BFGS-B as an ascent that loses nothing: of all points it looks at, the best
# is kept, so that an interrupt or the limit of evaluations gives that.

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
