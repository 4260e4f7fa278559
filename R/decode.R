# From latent space back to the data, and draws of latent positions.

#' From latent positions to the data
#'
#' p(x | z) at any latent positions: its mean, its noise variances, or draws from it. For
#' [ppca()] and [linear_vae()] it is N(mu + W z, sigma2 I), for a [vae()]
#' N(g(z), sigma2) with g the decoder.
#'
#' @param object a fitted [ppca()], [linear_vae()] or [vae()] model.
#' @param z m x k matrix or data frame of latent positions, a row for each; columns with the
#'   names of the dimensions (`z1`, ...) may be in any order. A vector of k numbers is one
#'   position; where k = 1, each number of a vector is one.
#' @param type `"mean"` for the means of p(x | z), on the scale of the data (with a
#'   `transform` the mean of the transformed x, brought back); `"draws"` for a draw of x for
#'   each row of `z`, noise included, on the scale of the data, from R's generator;
#'   `"variance"` for the noise variances of the features, on the scale of the transformed
#'   data (with `scale`, that of the data before they were scaled).
#' @param condition for a [vae()] with a condition: one value for all, or one for each row of
#'   `z`.
#' @param ... unused.
#' @return An m x p matrix. Errors name `z` where it is no such matrix of finite numbers.
#' @seealso [posterior()] for the way to latent space, [simulate()][simulate.ppca] for draws
#'   with z from the prior, [interpolate_latent()].
#' @references Tipping and Bishop (1999), eq. 2, see [ppca()]; Kingma and Welling (2014), see
#'   [vae()].
#' @examples
#' fit <- ppca(iris[1:4], k = 2)
#' decode(fit, c(0, 0))                     # the mean of the features
#' decode(fit, rbind(c(-1, 0), c(1, 0)))    # along the first principal axis
#' set.seed(1)
#' q <- posterior(fit, iris[1, 1:4], draws = 3)
#' decode(fit, t(q$draws[1, , ]), type = "draws")
#' @export
decode <- function(object, z, type = c("mean", "variance", "draws"), ...) UseMethod("decode")

#' @rdname decode
#' @export
decode.ppca <- function(object, z, type = c("mean", "variance", "draws"), ...) {
  check_dots_empty(...)
  type <- check_choice(type, "type", c("mean", "variance", "draws"))
  z <- latent_positions(object, z)
  if (type == "variance") {
    return(matrix(rep(noise_sd(object)^2, each = nrow(z)), nrow(z), object$p,
                  dimnames = list(rownames(z), object$features)))
  }
  to_user(object, linear_given(object, z, noise = type == "draws"), rownames(z))
}

#' @rdname decode
#' @export
decode.vae <- function(object, z, type = c("mean", "variance", "draws"), condition = NULL,
                       ...) {
  check_dots_empty(...)
  type <- check_choice(type, "type", c("mean", "variance", "draws"))
  z <- latent_positions(object, z)
  code <- condition_code(object, repeat_condition(condition, nrow(z)), nrow(z))
  if (type == "variance") {
    variance <- decode_latent(object, z, code, TRUE)$variance
    dimnames(variance) <- list(rownames(z), object$features)
    return(variance)
  }
  to_user(object, deep_given(object, z, code, noise = type == "draws"), rownames(z))
}

# z of a call as a matrix with k columns, in the order of the dimensions.
latent_positions <- function(object, z) {
  k <- object$k
  if (is.data.frame(z)) z <- data_frame_matrix(z, "z")
  if (is.numeric(z) && is.null(dim(z)) && !is.object(z) && (k == 1 || length(z) == k)) {
    names <- if (k == 1) list(names(z), NULL) else list(NULL, names(z))
    z <- matrix(z, ncol = k, byrow = TRUE, dimnames = names)
  }
  if (!is.numeric(z) || !is.matrix(z) || is.object(z) || ncol(z) != k) {
    abort_arg("z", sprintf("be a numeric matrix with %d column%s, one a latent dimension", k,
                           if (k == 1) "" else "s"), describe(z))
  }
  if (!all(is.finite(z))) abort_arg("z", "hold finite numbers")
  storage.mode(z) <- "double"
  named <- setequal(colnames(z), latent_names(object)) && !anyDuplicated(colnames(z))
  if (named) z[, latent_names(object), drop = FALSE] else z
}

# x given z (n x k) on the scale of the transformed data: mu + W z, or a draw.
linear_given <- function(object, z, noise = FALSE) {
  y <- tcrossprod(cbind(rep(1, nrow(z)), z), cbind(object$mean, data_loadings(object)))
  if (noise) y <- y + stats::rnorm(length(y)) * rep(noise_sd(object), each = nrow(z))
  y
}

# Standard deviations of the noise, of each feature, on the scale of the transformed data.
noise_sd <- function(object) {
  sqrt(object$sigma2) * if (is.null(object$scale)) rep(1, object$p) else object$scale
}

# The same for a deep VAE.
deep_given <- function(object, z, code, noise = FALSE) {
  x <- decode_latent(object, z, code, noise)
  if (noise) x$mean + sqrt(x$variance) * stats::rnorm(length(x$mean)) else x$mean
}

# ---- draws of z ----------------------------------------------------------

# A posterior with `draws`, n x k x `draws` samples of it from R's generator.
with_draws <- function(posterior, draws) {
  if (draws == 0) return(posterior)
  mean <- unname(posterior$mean)
  roots <- if (!is.null(posterior$cov)) covariance_roots(posterior$cov)
  rows <- split(seq_along(posterior$pattern), posterior$pattern)
  sd <- sqrt(unname(posterior$variance))
  one <- function(draw) {
    if (is.null(roots)) return(mean + sd * stats::rnorm(length(mean)))
    draw_latent(mean, roots, rows)
  }
  posterior$draws <- array(unlist(lapply(seq_len(draws), one)), c(dim(mean), draws),
                           c(dimnames(posterior$mean), list(NULL)))
  posterior
}

# R with R'R = cov[, , u] for each u.
covariance_roots <- function(cov) {
  lapply(seq_len(dim(cov)[3]), function(u) chol(matrix(cov[, , u], dim(cov)[1])))
}

# z ~ N(mean_i, R_u'R_u) for the rows of each pattern u.
draw_latent <- function(mean, roots, rows) {
  z <- matrix(stats::rnorm(length(mean)), nrow(mean), ncol(mean))
  for (u in seq_along(rows)) {
    z[rows[[u]], ] <- z[rows[[u]], , drop = FALSE] %*% roots[[u]]
  }
  mean + z
}
