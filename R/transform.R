# Invertible transforms of the data, applied cell by cell before a model is
# fitted. A transform is plain data (a list of parameters with a class), so a fit
# that keeps one can be saved. What models call, with NULL for no transform:
#
#   transform_forward(transform, x)       n x p data      -> n x p model scale
#   transform_inverse(transform, y)       n x p model scale -> n x p data
#   transform_log_jacobian(transform, y)  n x p model scale -> n, log |dy/dx|
#
# so that log p(x) = log p(y) + log |dy/dx| for each row. NA cells stay NA and add
# nothing to the Jacobian.
#
# logit_pixels: v = x + u, u ~ U[0, 1), a = alpha + (1 - 2 alpha) v / levels,
# y = log(a / (1 - a)).
# Reference: G. Papamakarios, T. Pavlakou and I. Murray, "Masked autoregressive
# flow for density estimation", 2017, section 4 and appendix; the noise, from
# B. Uria, I. Murray and H. Larochelle, "RNADE", 2013.

#' Put pixels on the whole real line
#'
#' Grey levels are whole numbers in a bounded range, which a Gaussian model fits
#' badly. `logit_pixels()` describes a transform that spreads each level over a
#' unit interval with uniform noise and then maps the bounded range to the real
#' line with a logit. Pass it as the `transform` argument of a model; the model
#' then fits the transformed data, and its log-likelihood or ELBO, with the
#' transform's log-Jacobian added, stays on the scale of the data that you passed.
#'
#' For a pixel x the noise is u, uniform on \[0, 1), and the transform is
#' \deqn{y = \mathrm{logit}(\alpha + (1 - 2\alpha)(x + u) / levels).}{y = logit(alpha + (1 - 2 alpha) (x + u) / levels).}
#' The noise comes from R's generator, so `set.seed()` governs it, and turns
#' counts into a density: the mean log density over the noise is a lower bound
#' on the log probability of the pixels themselves.
#'
#' @section What `x` may hold:
#' Where every observed value of `x` is a whole number, `x` is taken for pixels,
#' from 0 to `levels - 1`, and gets noise. Where any value is not whole, `x` is
#' taken for a continuous measurement from 0 to `levels`, noise or equivalent
#' included, and gets none. Any other value is an error. Pixels already divided
#' by 255 are on the wrong scale for this transform (multiply them by 255 again),
#' and a warning says so. `NA` cells stay `NA`.
#'
#' Going back, a model's reconstruction is on the scale of x + u, within
#' \[0, levels\]: `floor()` of it is a pixel.
#'
#' @param alpha A number between 0 and 0.5, how far the ends of the range are
#'   kept from 0 and 1, where the logit is infinite. The smaller, the longer the
#'   tails of the transformed data; log densities with different `alpha` can be
#'   compared, because all are on the scale of the data.
#' @param levels A whole number, 2 or more: how many levels a pixel can take, 256
#'   for 8-bit images.
#'
#' @return An object of class `logit_pixels` and `elbo_transform`: a list of the
#'   two parameters, for the `transform` argument of a model.
#'
#' @section Errors:
#' `alpha` that is not a number strictly between 0 and 0.5, or `levels` that is
#' not a whole number of at least 2.
#'
#' @source The transform of G. Papamakarios, T. Pavlakou and I. Murray (2017),
#'   *Masked autoregressive flow for density estimation*, Advances in Neural
#'   Information Processing Systems 30, with the uniform noise of B. Uria, I.
#'   Murray and H. Larochelle (2013), *RNADE: the real-valued neural
#'   autoregressive density-estimator*, Advances in Neural Information Processing
#'   Systems 26.
#'
#' @examples
#' logit_pixels()
#' # Black and white images have two levels.
#' logit_pixels(alpha = 0.01, levels = 2)
#' @export
logit_pixels <- function(alpha = 1e-6, levels = 256) {
  structure(
    list(
      alpha = check_number(alpha, "alpha", min = 0, max = 0.5, open = TRUE),
      levels = check_count(levels, "levels", min = 2L)
    ),
    class = c("logit_pixels", "elbo_transform")
  )
}

#' @export
format.elbo_transform <- function(x, ...) {
  values <- vapply(unclass(x), format, "", digits = 15)
  paste0(class(x)[1], "(", paste(names(x), values, sep = " = ", collapse = ", "), ")")
}

#' @export
print.elbo_transform <- function(x, ...) {
  cat("Transform of the data: ", format(x), "\n", sep = "")
  invisible(x)
}

check_transform <- function(transform, arg = "transform") {
  if (!is.null(transform) && !inherits(transform, "elbo_transform")) {
    abort_arg(arg, "be NULL or a transform, such as logit_pixels()", describe(transform))
  }
  transform
}

# x: numeric n x p, may hold NA. `arg` is the name of x in the user's call. Draws
# from R's generator, a number for every cell, column by column: the noise of a
# cell depends on the seed and the shape of x, not on which other cells are
# missing. Whether x is pixels is a question to the whole of it, so x is never
# passed in parts.
transform_forward <- function(transform, x, arg = "x") {
  if (is.null(transform)) x else UseMethod("transform_forward")
}

# y: numeric n x p on the model's scale, to the scale of x.
transform_inverse <- function(transform, y) {
  if (is.null(transform)) y else UseMethod("transform_inverse")
}

# y: numeric n x p on the model's scale. Returns n numbers, the sums of
# log |dy/dx| over the observed cells of each row.
transform_log_jacobian <- function(transform, y) {
  if (is.null(transform)) numeric(nrow(y)) else UseMethod("transform_log_jacobian")
}

# list(alpha, levels) where x is pixels that transform_forward() would spread by noise and
# where the core can do that too (src/each.h, each_dequantise()); otherwise NULL.
fresh_noise <- function(transform, x) {
  if (inherits(transform, "logit_pixels") && all_whole(x)) transform[c("alpha", "levels")]
}

# 1 - a is computed from levels - v, not from a: exact at the upper end, where
# a rounds to 1 for a small alpha.
#' @exportS3Method
transform_forward.logit_pixels <- function(transform, x, arg = "x") {
  alpha <- transform$alpha
  levels <- transform$levels
  pixels <- check_pixels(x, levels, arg)
  slope <- (1 - 2 * alpha) / levels
  map_columns(x, function(v) {
    if (pixels) v <- v + stats::runif(length(v))
    log(alpha + slope * v) - log(alpha + slope * (levels - v))
  })
}

# Clamped: y outside the image of [0, levels], which models do produce, goes to
# the nearest end. Where y > 0 the distance from the upper end is computed, from
# 1 - a = plogis(-y), and where y <= 0 that from the lower: neither end loses
# digits to an a that rounds to 1.
#' @exportS3Method
transform_inverse.logit_pixels <- function(transform, y) {
  alpha <- transform$alpha
  levels <- transform$levels
  map_columns(y, function(y) {
    from_end <- levels * (stats::plogis(-abs(y)) - alpha) / (1 - 2 * alpha)
    from_end <- pmax(from_end, 0)
    upper <- which(y > 0)
    from_end[upper] <- levels - from_end[upper]
    from_end
  })
}

# dy/dx = slope / (a (1 - a)), and -log(a (1 - a)) = |y| + 2 log(1 + exp(-|y|)),
# which neither overflows nor cancels.
#' @exportS3Method
transform_log_jacobian.logit_pixels <- function(transform, y) {
  log_slope <- log1p(-2 * transform$alpha) - log(transform$levels)
  total <- numeric(nrow(y))
  for (cols in column_blocks(y)) {
    size <- abs(y[, cols, drop = FALSE])
    total <- total +
      rowSums(log_slope + size + 2 * log1p(exp(-size)), na.rm = TRUE)
  }
  total
}

# TRUE for pixels (whole numbers, 0 to levels - 1), FALSE for continuous values
# (0 to levels), an error for anything else.
check_pixels <- function(x, levels, arg) {
  pixels <- all_whole(x)
  top <- if (pixels) levels - 1L else levels
  # The constants stand in for an x without an observed value.
  low <- min(x, Inf, na.rm = TRUE)
  high <- max(x, -Inf, na.rm = TRUE)
  if (low < 0 || high > top) abort_pixels(x, levels, pixels, top, arg)
  # Pixels divided by 255 hold exact zeros or ones; pixels with noise do not.
  if (!pixels && high <= 1 && (low == 0 || high == 1) && levels > 2) {
    warning("`", arg, "` is taken for continuous values from 0 to ", levels,
            ", but none is above 1: were pixels divided by ", levels - 1L, "? ",
            "logit_pixels() takes them as they are.", call. = FALSE)
  }
  pixels
}

abort_pixels <- function(x, levels, pixels, top, arg) {
  at <- which(x < 0 | x > top, arr.ind = TRUE)[1, ]
  abort_arg(
    arg,
    sprintf("hold %s from 0 to %d for logit_pixels(levels = %d)",
            if (pixels) "pixels" else "values", top, levels),
    sprintf("%s (row %d, column %d)", format(x[at[1], at[2]]), at[1], at[2])
  )
}

all_whole <- function(x) {
  if (is.integer(x)) return(TRUE)
  for (cols in column_blocks(x)) {
    v <- x[, cols]
    if (!all(v == floor(v), na.rm = TRUE)) return(FALSE)
  }
  TRUE
}

# x with f applied to its values, as doubles, with its dim and dimnames. By blocks
# of columns, so that the temporaries of f are small beside x.
map_columns <- function(x, f) {
  out <- array(0, dim(x), dimnames(x))
  for (cols in column_blocks(x)) out[, cols] <- f(as.double(x[, cols]))
  out
}

# A transform moves zeros, and a sparse matrix would have to be filled in.
check_dense_transform <- function(transform, x) {
  check_transform(transform)
  if (!is.null(transform) && is_sparse(x)) {
    abort_arg("transform", "be NULL for a sparse matrix", format(transform))
  }
  transform
}

# The transformed data, and the state of R's generator from which the transform drew:
# that of `noise`, if it is to draw again what it drew before.
transform_again <- function(transform, raw, arg, noise = NULL) {
  state <- seed_state(NULL)$seed
  if (!is.null(noise)) assign(".Random.seed", noise, envir = globalenv())
  x <- transform_forward(transform, raw, arg = arg)
  if (!is.null(noise)) assign(".Random.seed", state, envir = globalenv())
  list(x = x,
       noise_seed = if (!is.null(transform)) if (is.null(noise)) state else noise)
}

to_user <- function(object, y, names = NULL) {
  dimnames(y) <- list(names, object$features)
  transform_inverse(object$transform, y)
}
