# Training of deep VAEs, epoch by epoch. The core makes an epoch; the loop is here, and
# with it validation, early stopping, callbacks, checkpoints, history, progress and
# interrupts.
#
# A state is a list: theta, m, v (floats in raw vectors), steps, epoch (made so far), key
# (of the random numbers), best (list(theta, epoch, score), where patience asks for it;
# the start may be it), peak (the best score of an epoch so far) and idle (epochs since).

# Runs epochs until control$epochs. Returns list(state, theta, history, best_epoch,
# converged).
train_vae <- function(problem, state, control, resume) {
  if (is.null(resume)) state <- score_start(problem, state, control)
  at <- list(state = state, previous = state, history = resume$history)
  cause <- NULL
  patient <- is.null(control$patience) || state$idle < control$patience
  outcome <- if (patient) "limit" else "converged"
  bar <- progress_start(control$progress, control$epochs, "Training")
  on.exit(progress_end(bar))
  outcome <- tryCatch(allowInterrupts({
    while (outcome == "limit" && at$state$epoch < control$epochs) {
      began <- clock()
      new <- next_epoch(problem, at$state, control)
      if (is.null(new$state)) {
        cause <- new$cause
        outcome <- "failed"
      } else {
        new <- score_epoch(problem, new$state, new$row, control)
        new$row$seconds <- clock() - began
        # in one assignment: an interrupt finds the old epoch or the new one
        at <- list(state = new$state, previous = at$state,
                   history = add_row(at$history, new$row))
        done <- after_epoch(problem, at$state, at$history, control)
        outcome <- done$outcome
        cause <- done$cause
      }
      progress_update(bar, at$state$epoch)
    }
    outcome
  }), interrupt = function(condition) "interrupted")
  end <- settle(problem, at, outcome, cause)
  tell_training(end, control, problem)
  tell_validation(utils::tail(end$history$validation, end$state$epoch - state$epoch))
  row.names(end$history) <- NULL
  end
}

# Validation data may come or go where training goes on: NA where there are none.
add_row <- function(history, row) {
  if (is.null(history)) return(row)
  for (name in setdiff(names(row), names(history))) history[[name]] <- NA_real_
  for (name in setdiff(names(history), names(row))) row[[name]] <- NA_real_
  # rbind() would take as long as an epoch of a small model
  list2DF(Map(c, as.list(history), as.list(row)[names(history)]))
}

# The state after one epoch and its row of the history; or, where it is not finite, the
# cause.
next_epoch <- function(problem, state, control) {
  asked <- problem$asked
  epoch <- state$epoch + 1L
  settings <- vae_settings(asked, control, noise_scale(problem$floor, problem$u), state$key,
                           epoch)
  settings$follow <- noise_share(problem, control, epoch)
  out <- core_vae_epoch(problem$shape, problem$data, state, epoch, settings)
  if (out$failed) {
    return(list(cause = list(step = out$step, rate = settings$learning_rate)))
  }
  state[c("theta", "m", "v", "steps")] <- out[c("theta", "m", "v", "steps")]
  state$epoch <- epoch
  terms <- out$terms
  terms$reconstruction <- terms$reconstruction + problem$units
  sigma2 <- noise_of(problem, state$theta, terms$s2)
  jacobian <- jacobian_of(problem, terms)
  row <- list2DF(list(
    epoch = epoch,
    objective = terms$objective + problem$units + jacobian,
    elbo = terms$reconstruction - terms$kl + jacobian,
    reconstruction = terms$reconstruction, kl = terms$kl, sigma2 = mean(sigma2),
    beta = settings$beta, learning_rate = settings$learning_rate,
    gradient_norm = out$gradient_norm
  ))
  list(state = state, row = row)
}

# The share of the way to its closed-form optimum that sigma2 moves at a step, so that it is a
# running mean over the steps of an epoch, but of 10 to 100 of them. None while the weight of the KL has not come to its last value: with less
# weight sigma2 would shrink too far, and the dimensions that this keeps alive would
# collapse later.
noise_share <- function(problem, control, epoch) {
  asked <- problem$asked
  if (!asked$learn_sigma2 || asked$sigma2_update != "optimal" ||
      scheduled(asked$beta, epoch) < last(asked$beta)) return(0)
  1 / min(100, max(10, ceiling(problem$n / control$batch_size)))
}

# Where a fit goes on from. With other validation data patience begins anew, and the best
# weights so far are scored by them.
resumed_state <- function(problem, resume) {
  state <- resume$state
  if (identical(problem$fingerprint$validation, resume$fingerprint$validation)) return(state)
  best <- state$best
  state <- forget_best(state)
  if (is.null(best)) return(state)
  score <- validation_elbo(problem, best$theta, state$key)
  if (is.null(score)) score <- resume$history$elbo[match(best$epoch, resume$history$epoch)]
  if (is.finite(score)) state$best <- replace(best, "score", score)
  state
}

# With patience the start is the best so far: training may lead nowhere better. Not where
# the weight of the KL has yet to rise to its last value.
score_start <- function(problem, state, control) {
  if (is.null(control$patience) || is.null(problem$validation)) return(state)
  rows <- validation_rows(problem, state$theta, state$key)
  if (isTRUE(control$search)) state$scores <- list(rows)
  if (all(is.finite(rows)) && warmup_epochs(problem$asked$beta) == 0) {
    state$best <- list(theta = state$theta, epoch = 0L, score = mean(rows))
  }
  state
}

validation_elbo <- function(problem, theta, key) {
  if (!is.null(problem$validation)) mean(validation_rows(problem, theta, key))
}

validation_samples <- function(n) max(1L, min(20L, 400L %/% n))

# The ELBO of each validation row; few rows get more samples each.
validation_rows <- function(problem, theta, key) {
  held <- problem$validation
  out <- evaluate_vae(problem, theta, held$data, key, validation_samples(held$data$n))
  out$reconstruction + held$units + held$jacobian - out$kl
}

# The ELBO of the validation data, and where patience asks for it the best state so far.
score_epoch <- function(problem, state, row, control) {
  if (!is.null(problem$validation)) {
    rows <- validation_rows(problem, state$theta, state$key)
    row$validation <- mean(rows)
    if (isTRUE(control$search)) state$scores <- c(state$scores, list(rows))
  }
  if (!is.null(control$patience)) {
    score <- if (is.null(row$validation)) row$elbo else row$validation
    if (state$epoch <= warmup_epochs(problem$asked$beta)) {
      return(list(state = state, row = row))
    }
    better <- function(than) is.finite(score) && (is.null(than) || score > than)
    if (better(state$best$score)) {
      state$best <- list(theta = state$theta, epoch = state$epoch, score = score)
    }
    # the first steps may lose what the start has, and gain it later; so may a larger weight
    # of the KL
    changing <- changing_epochs(problem$asked$beta)
    if (state$epoch == changing || state$epoch < changing && is.null(state$scores)) {
      state$idle <- 0L
    } else if (better(state$peak)) {
      state$peak <- score
      state$idle <- 0L
    } else {
      state$idle <- state$idle + 1L
    }
  } else {
    state <- forget_best(state)
  }
  list(state = state, row = row)
}

# Whether training has waited for long enough. While the weight of the KL has yet to come to its
# last value it has not; but in a search for the number of epochs it has where the rows set aside
# have lost, from one half of twice the patience to the other and by three standard errors since
# the best epoch.
is_impatient <- function(problem, state, control) {
  patience <- control$patience
  if (is.null(patience) || state$idle < patience) return(FALSE)
  if (state$epoch > changing_epochs(problem$asked$beta)) return(TRUE)
  n <- length(state$scores)
  if (state$idle < 2 * patience || n < 2 * patience) return(FALSE)
  mean_of <- function(epochs) Reduce(`+`, state$scores[epochs]) / length(epochs)
  now <- mean_of(n - patience + seq_len(patience))
  before <- mean_of(n - 2 * patience + seq_len(patience))
  means <- vapply(state$scores, mean, 0)
  lost <- state$scores[[which.max(means)]] - now
  isTRUE(mean(before - now) > 0 && mean(lost) > 3 * stats::sd(lost) / sqrt(length(lost)))
}

# No best weights so far, and no wait for better ones.
forget_best <- function(state) {
  state["best"] <- state["peak"] <- list(NULL)
  state$idle <- 0L
  state
}

# Callbacks, patience and checkpoints; the outcome so far, and the cause where a callback
# failed.
after_epoch <- function(problem, state, history, control) {
  row <- history[nrow(history), ]
  light <- function() {
    new_vae(problem, list(state = state, history = history, best_epoch = state$epoch,
                          converged = NA,
                          terms = terms_of_epoch(problem, history, state$epoch)))
  }
  if (!is.null(control$checkpoint) && state$epoch %% control$every == 0) {
    write_checkpoint(with_kept_data(light(), problem), control)
  }
  stop <- FALSE
  failed <- tryCatch({
    for (f in control$callback) {
      fit <- with_kept_data(light(), problem)
      stop <- identical(f(state$epoch, as.list(row), fit), FALSE) || stop
    }
  }, error = conditionMessage)
  if (!is.null(failed)) return(list(outcome = "callback", cause = failed))
  if (stop) return(list(outcome = "stopped"))
  list(outcome = if (is_impatient(problem, state, control)) "converged" else "limit")
}

# The weights to end with, and their ELBO: the best where patience asks for them, else the
# last. Where the ELBO of those is not finite they give way to the ones before. An
# interrupt leaves the ELBO out.
settle <- function(problem, at, outcome, cause) {
  state <- at$state
  best <- state$best
  if (is.null(best)) best <- state[c("theta", "epoch")]
  evaluated <- function() {
    tryCatch(allowInterrupts(evaluate_vae(problem, best$theta, problem$data, state$key,
                                          final_samples(problem$n))),
             interrupt = function(condition) NULL)
  }
  out <- evaluated()
  if (is.null(out)) outcome <- "interrupted"
  if (!is.null(out) && !is_finite_elbo(out)) {
    outcome <- "failed"
    state <- at$previous
    best <- state[c("theta", "epoch")]
    out <- evaluated()
    if (!is.null(out) && !is_finite_elbo(out)) {
      numbers <- problem$shape$c > 0 && is.null(problem$condition$levels)
      abort("The ELBO is not finite where training starts. Choose a larger `sigma2`, or rescale ",
            if (numbers) "`condition` or ", "`x`.")
    }
  }
  list(state = state, theta = best$theta, best_epoch = best$epoch, evaluated = out,
       history = utils::head(at$history, state$epoch), outcome = outcome, cause = cause,
       converged = if (outcome == "converged") TRUE else NA)
}

is_finite_elbo <- function(out) is.finite(out$terms$reconstruction - out$terms$kl)

tell_training <- function(run, control, problem) {
  done <- sprintf("%d epoch%s", run$state$epoch, if (run$state$epoch == 1) "" else "s")
  if (run$outcome == "interrupted") {
    warning("Interrupted after ", done, "; this is the fit so far",
            if (is.null(run$evaluated)) ", with the ELBO that the steps of its epoch met",
            ", and `update(fit, epochs = )` continues it.", call. = FALSE)
  } else if (run$outcome == "callback") {
    warning("The callback failed after ", done, " (", run$cause, "); this is the fit so ",
            "far, and `update(fit, epochs = )` continues it.", call. = FALSE)
  } else if (run$outcome == "failed") {
    step <- if (is.list(run$cause)) run$cause$step
    warning("Training diverged in epoch ", run$state$epoch + 1,
            if (!is.null(step)) sprintf(", step %.0f of it", step),
            ": the ELBO or its gradient was no longer finite. This is the fit after ", done,
            ". The likely cause is ", likely_cause(run, step, control, problem), call. = FALSE)
  }
}

# The ELBO of the validation data in the epochs that were made.
tell_validation <- function(elbo) {
  wrong <- sum(is.nan(elbo) | is.infinite(elbo))
  if (wrong > 0) {
    warning(sprintf("The ELBO of the validation data was not finite in %d of %d epochs, ", wrong,
                    length(elbo)),
            "which do not count as improvements. Cells that are very far from the data trained ",
            "on may be the cause.", call. = FALSE)
  }
}

# No step was made yet, or none can be made with so little noise: no rate is to blame.
likely_cause <- function(run, step, control, problem) {
  sigma2 <- problem$asked$sigma2
  tiny <- !is.null(sigma2) && any(sigma2 / problem$u^2 < 1e-6 * problem$spread)
  if (run$state$steps == 0 && (tiny || identical(step, 1))) {
    return("`sigma2`, which is too small for the scale of the data; choose a larger one.")
  }
  norm <- utils::tail(run$history$gradient_norm, 1)
  steep <- length(norm) > 0 && norm > 1e3
  paste0("a learning rate of ",
         format(scheduled(control$learning_rate, run$state$epoch + 1)), " that is too large",
         if (steep) sprintf(" for gradients of norm %s", format(norm, digits = 2)),
         "; choose a smaller `learning_rate`",
         if (problem$asked$learn_sigma2)
           ", shorten gradients with `clip`, or raise `sigma2_min`." else
             " or shorten gradients with `clip`.")
}
