# Words and numbers that the prints of several models share.

# "0.1", or "0.1 to 3" for numbers that differ.
format_range <- function(x, digits) {
  ends <- vapply(range(x), format, "", digits = digits)
  paste(unique(ends), collapse = " to ")
}

number <- function(x) format_range(x, 3)

nats <- function(x) paste(number(x), if (number(x) == "1") "nat" else "nats")

# Said of a noise variance that was not learned with the rest.
noise_origin <- function(x) {
  if (isTRUE(x$tuned)) " (tuned)" else if (x$fixed) " (fixed)" else ""
}

# Rounding may leave a gap of nothing as a tiny number of either sign.
format_gap <- function(gap) format(if (abs(gap) < 5e-7) 0 else signif(gap, 3))

print_elbo <- function(x) {
  cat(sprintf("ELBO: %s nats per observation = %s reconstruction - %s KL%s\n",
              format(x$elbo, digits = 7), format(x$reconstruction, digits = 7),
              format(x$kl, digits = 4),
              if (is.null(x$transform)) "" else
                sprintf(" + %s log-Jacobian", format(x$log_jacobian, digits = 5))))
}

print_idle <- function(x) {
  idle <- sum(x$kl_dimensions < 0.01)
  cat(sprintf("Dimensions with a mean KL below 0.01: %d of %d\n", idle, x$k))
}

describe_steps <- function(x) {
  batch <- min(x$n, x$control$batch_size)
  steps <- x$iterations * ceiling(x$n / batch)
  sprintf("%d epoch%s%s, %.0f step%s", x$iterations, if (x$iterations == 1) "" else "s",
          if (batch == x$n) " of the full batch" else sprintf(" of batches of %d", batch),
          steps, if (steps == 1) "" else "s")
}
