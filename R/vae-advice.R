# Is a deep VAE as good as it can be? The ELBO against the linear model's likelihood, and whether
# it was still rising.

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

# By how much the ELBO may be below pPCA's log-likelihood for no reason: what sampling does to
# it, and what the p parameters of each direction that pPCA has and the model does not gain
# by chance, 1 / n each (Akaike 1974).
allowance_of <- function(object, collapsed, error) error + collapsed * object$p / object$n

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
