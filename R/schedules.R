#' Schedules of a learning rate or of the weight of the KL
#'
#' Numbers, one for each epoch, for `learning_rate` in [train_control()] or for `beta` in
#' [vae()] and [linear_vae()]. The last number is kept from then on.
#'
#' @details
#' * `schedule_cosine()`: from `from` down to `to` along half a cosine (Loshchilov and
#'   Hutter 2017).
#' * `schedule_step()`: `from`, times `factor` after every `every` epochs.
#' * `schedule_warmup()`: a straight line from `from` to `to` over `epochs`: the usual KL
#'   annealing (Bowman et al. 2016).
#' * `schedule_cyclic()`: `cycles` times from `from` to `to`, along a straight line for
#'   the share `ramp` of the cycle and then constant (Fu et al. 2019).
#'
#' @param epochs number of epochs.
#' @param from,to first and last value.
#' @param factor what the value is multiplied by at each step.
#' @param every epochs from step to step.
#' @param cycles number of cycles.
#' @param ramp share of a cycle in which the value rises, above 0 and at most 1.
#' @return A numeric vector of length `epochs`.
#' @references Bowman, S. R., Vilnis, L., Vinyals, O., Dai, A. M., Jozefowicz, R. and
#'   Bengio, S. (2016). Generating sentences from a continuous space. *CoNLL*.
#'   \doi{10.48550/arXiv.1511.06349}
#'
#'   Fu, H., Li, C., Liu, X., Gao, J., Celikyilmaz, A. and Carin, L. (2019). Cyclical
#'   annealing schedule: a simple approach to mitigating KL vanishing. *NAACL*.
#'   \doi{10.48550/arXiv.1903.10145}
#'
#'   Loshchilov, I. and Hutter, F. (2017). SGDR: stochastic gradient descent with warm
#'   restarts. *International Conference on Learning Representations*.
#'   \doi{10.48550/arXiv.1608.03983}
#' @examples
#' schedule_cosine(5, 1e-3)
#' schedule_step(6, 1e-3, every = 2)
#' schedule_warmup(5)
#' schedule_cyclic(8, cycles = 2)
#' train_control(epochs = 20, batch_size = 100, learning_rate = schedule_cosine(20, 1e-3))
#' @name schedules
NULL

#' @rdname schedules
#' @export
schedule_cosine <- function(epochs, from, to = 0.01 * from) {
  epochs <- check_count(epochs, "epochs")
  from <- check_number(from, "from", 0)
  to <- check_number(to, "to", 0)
  to + (from - to) * 0.5 * (1 + cos(pi * (seq_len(epochs) - 1) / max(1, epochs - 1)))
}

#' @rdname schedules
#' @export
schedule_step <- function(epochs, from, factor = 0.1, every = ceiling(epochs / 3)) {
  epochs <- check_count(epochs, "epochs")
  from <- check_number(from, "from", 0)
  factor <- check_number(factor, "factor", 0, open = TRUE)
  every <- check_count(every, "every")
  from * factor^((seq_len(epochs) - 1) %/% every)
}

#' @rdname schedules
#' @export
schedule_warmup <- function(epochs, from = 0.01, to = 1) {
  epochs <- check_count(epochs, "epochs")
  seq(check_number(from, "from", 0), check_number(to, "to", 0), length.out = epochs)
}

#' @rdname schedules
#' @export
schedule_cyclic <- function(epochs, cycles = 4, ramp = 0.5, from = 0.01, to = 1) {
  epochs <- check_count(epochs, "epochs")
  cycles <- check_count(cycles, "cycles", 1, epochs)
  from <- check_number(from, "from", 0)
  to <- check_number(to, "to", 0)
  if (!is_number(ramp) || ramp <= 0 || ramp > 1) {
    abort_arg("ramp", "be a number above 0 and at most 1", describe(ramp))
  }
  place <- ((seq_len(epochs) - 1) * cycles / epochs) %% 1
  from + (to - from) * pmin(1, place / ramp)
}

# The value of a schedule: one number a step, of which the last is kept.
scheduled <- function(values, step) values[min(step, length(values))]

last <- function(x) x[length(x)]

# Epochs before the weight of the KL comes to its last value, for good; and before it is no
# more below that.
changing_epochs <- function(beta) max(0L, which(beta != last(beta)))

warmup_epochs <- function(beta) max(0L, which(beta < last(beta)))

# After `made` epochs or rounds, as many as the argument `limit` allowed.
warn_of_schedule <- function(beta, made, limit = "epochs") {
  warm <- changing_epochs(beta)
  warning(sprintf(paste("The final weight of the KL, `beta` = %s, was never reached: the run ended",
                        "after %d of the %d %s before it. Give `%s` of %d or more, or a shorter",
                        "schedule."),
                  format(last(beta)), made, warm, c(epochs = "epochs", maxit = "rounds")[[limit]],
                  limit, warm + 1L), call. = FALSE)
}
