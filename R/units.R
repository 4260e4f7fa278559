# Core units: the core sees (x - mu) unit, so that no square over- or underflows. A fit's numbers
# come back by the same units: lengths times u, variances times u^2.

# What the core needs besides x: `mu`, and `unit` = 1 / (scale u), where u is a
# power of two near the largest deviation, so that no square over- or
# underflows and the change of units is exact. log_unit: what one complete
# observation's log density gains by it. `rows`: of all, where not NULL.
prepare_data <- function(x, center, scale, name = "`x`", rows = NULL) {
  p <- ncol(x)
  n <- if (is.null(rows)) nrow(x) else length(rows)
  columns <- summarise_columns(x, rows = rows)
  never <- which(columns$count == 0)
  if (length(never)) {
    abort(name, " must have at least one observed cell in every column; ",
          paste(vapply(utils::head(never, 5), column_label, "", x = x),
                collapse = ", "),
          if (length(never) > 1) " have none." else " has none.", class = "elbo_empty_column")
  }
  mu <- if (is.numeric(center)) as.double(center) else
    if (center) columns$mean else double(p)
  reach <- pmax(abs(columns$high - mu), abs(columns$low - mu))
  sd <- column_scale(x, mu, columns, reach, scale, rows)
  spread <- max(reach / sd)
  if (spread > 1e152 || (spread > 0 && spread < 1e-152)) {
    abort_arg("x", "hold values whose variance a double can hold; rescale it",
              paste("deviations of", format(spread, digits = 2)))
  }
  u <- if (spread > 0) 2^floor(log2(spread)) else 1
  list(x = x, n = n, p = p, mu = mu, sd = sd, u = u, unit = 1 / (sd * u),
       count = columns$count, missing = any(columns$count < n),
       centred = isTRUE(center), scaled = !isFALSE(scale),
       estimated_scale = isTRUE(scale))
}

column_scale <- function(x, mu, columns, reach, scale, rows) {
  if (is.numeric(scale)) return(as.double(scale))
  if (!scale) return(rep(1, ncol(x)))
  constant <- which(reach == 0)
  if (length(constant)) {
    abort("`scale` must be FALSE, or leave out constant columns: ",
          column_label(x, constant[1]), " has no variance.")
  }
  near <- 2^floor(log2(reach))          # squares of x / near cannot overflow
  near * sqrt(column_squares(x, mu, 1 / near, rows) / columns$count)
}

# Column summaries of all rows, or of `rows`, in one pass: observed cells, mean, smallest,
# largest. An infinite value is an error.
summarise_columns <- function(x, arg = "x", rows = NULL) {
  parts <- of_rows(x, rows, function(part, cols) {
    out <- core_summary(part)
    if (out$infinite > 0) out$infinite <- cols[out$infinite]
    out
  })
  out <- do.call(Map, c(list(f = c), parts))
  infinite <- out$infinite[out$infinite > 0]
  if (length(infinite)) {
    abort_arg(arg, "hold finite numbers or NA",
              paste("Inf in", column_label(x, infinite[1])))
  }
  huge <- which(out$count > 0 & !is.finite(out$mean))
  if (length(huge)) {
    abort_arg(arg, "hold numbers whose sums are finite; rescale it",
              paste("the huge values in", column_label(x, huge[1])))
  }
  out
}

# f(x[rows, cols], cols) for ranges of columns, in order, so that a dense x is not copied
# whole. Once for all of them where rows is NULL.
of_rows <- function(x, rows, f) {
  if (is.null(rows)) return(list(f(x, seq_len(ncol(x)))))
  if (is_sparse(x)) return(list(f(x[rows, , drop = FALSE], seq_len(ncol(x)))))
  lapply(column_blocks(x), function(cols) f(x[rows, cols, drop = FALSE], cols))
}

# Sums of squares of (x - mu) unit, of each column.
column_squares <- function(x, mu, unit, rows = NULL) {
  unlist(of_rows(x, rows, function(part, cols) {
    core_squares(part, mu[cols], unit[cols])
  }))
}

# prepare_data() with what the analytic ELBO needs of the data: the trace of S and,
# where it is to be formed and small enough, S itself.
covariance_data <- function(raw, asked, form = TRUE, noise = NULL) {
  shown <- transform_again(asked$transform, raw, "x", noise)
  x <- shown$x
  data <- prepare_data(x, asked$center, asked$scale)
  if (data$missing) {
    abort_arg("x", "have no missing cells: the encoder needs every feature. ppca() fits such data, and impute() fills them in")
  }
  data$noise_seed <- shown$noise_seed
  data$jacobian <- sum(transform_log_jacobian(asked$transform, x))
  if (form && data$p <= min(data$n, 5000)) {
    data$s <- core_covariance(data)
    data$trace <- sum(diag(data$s))
  } else {
    data$trace <- sum(core_squares(data$x, data$mu, data$unit)) / data$n
  }
  if (data$trace == 0) abort_arg("x", "vary", "the same in all rows")
  data
}

# Log density in core units to that of the data: the sum of log(unit) over
# observed cells.
log_units <- function(data) sum(data$count * log(data$unit))

with_units <- function(data, u) {
  data$u <- u
  data$unit <- 1 / (data$sd * u)
  data
}

# A power of two near the size of the model's numbers.
core_unit <- function(object) {
  2^floor(log2(sqrt(object$sigma2) + max(abs(object$loadings))))
}

# The model in units in which no square over- or underflows: the arguments that
# the core wants, with `s` a power of two.
core_model <- function(object) {
  sd <- if (is.null(object$scale)) rep(1, object$p) else unname(object$scale)
  s <- core_unit(object)
  list(mu = unname(object$mean), unit = 1 / (sd * s),
       w = unname(object$loadings) / s, sigma2 = object$sigma2 / s^2)
}
