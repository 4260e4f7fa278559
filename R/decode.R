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

# ---- draws of z ----------------------------------------------------------

#' Walk through latent space
#'
#' Decodes points on the straight line between two latent positions.
#'
#' @param object a fitted [vae()] model.
#' @param from,to ends of the walk: one row of data, which is encoded to the mean of
#'   q(z | x), or a latent position, a vector of k numbers. Where k = p a vector is data,
#'   unless it has the names of the dimensions (`z1`, ...), as rows of
#'   [predict()][predict.vae] have.
#' @param steps number of points, both ends included.
#' @param condition for a model with a condition: one value for all, or one for each
#'   point; where an end is encoded, that of the first and of the last point.
#' @return A `steps` x p matrix, the decoder's means on the scale of the data, with the
#'   latent positions (`steps` x k) as attribute `"latent"`.
#' @examples
#' x <- mnist1000$x[1:200, ] / 255
#' fit <- vae(x, k = 3, encoder = 32, control = train_control(epochs = 5, batch_size = 50))
#' walk <- interpolate_latent(fit, x[1, ], x[2, ], steps = 7)
#' plot_images(walk, c(28, 28), ncol = 7)
#' @export
interpolate_latent <- function(object, from, to, steps = 10, condition = NULL) {
  if (!inherits(object, "vae")) abort_arg("object", "be a fitted vae() model", describe(object))
  steps <- check_count(steps, "steps", 2)
  condition <- repeat_condition(condition, steps)
  code <- condition_code(object, condition, steps)
  ends <- rbind(latent_end(object, from, "from", code[1, , drop = FALSE]),
                latent_end(object, to, "to", code[steps, , drop = FALSE]))
  share <- seq(0, 1, length.out = steps)
  z <- outer(1 - share, ends[1, ]) + outer(share, ends[2, ])
  colnames(z) <- latent_names(object)
  structure(to_user(object, decode_latent(object, z, code)$mean), latent = z)
}

latent_end <- function(object, end, arg, code) {
  wanted <- sprintf("be one row of data, %d numbers, or a latent position, %d of them",
                    object$p, object$k)
  if (is.matrix(end) && nrow(end) == 1 && ncol(end) == object$k) end <- end[1, ]
  if (is.numeric(end) && is.null(dim(end)) && length(end) == object$k) {
    named <- setequal(names(end), latent_names(object))
    if (named) end <- end[latent_names(object)]
    if (named || object$k != object$p) {
      if (!all(is.finite(end))) abort_arg(arg, "hold finite numbers")
      return(as.double(end))
    }
  }
  if (is.numeric(end) && is.null(dim(end))) {
    if (length(end) != object$p) abort_arg(arg, wanted, describe(end))
    end <- matrix(end, 1, dimnames = list(NULL, names(end)))
  }
  data <- conform(object, end, arg)
  if (nrow(data$x) != 1) abort_arg(arg, wanted, sprintf("%d rows", nrow(data$x)))
  data$floats <- vae_floats(data$x, code, NULL, object$shift, object$unit,
                            unname(object$mean), arg)
  encode_rows(object, data)$mean[1, ]
}
