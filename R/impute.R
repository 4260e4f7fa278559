# Filling in missing cells.

#' Fill in missing cells
#'
#' Replaces each missing cell by its mean given the observed cells of its row,
#' or draws all missing cells of a row jointly from their conditional
#' distribution (proper draws for multiple imputation, given the fitted
#' parameters).
#'
#' @param object a fitted model.
#' @param newdata data with missing cells, as in [predict.ppca()]; by default
#'   the data that the model was fitted to.
#' @param draws 0 for the conditional mean; m for m random completions.
#' @param ... unused.
#' @return `newdata` (its features, in the order of the fit) with the missing
#'   cells filled in and all others untouched: a matrix, or a data frame if
#'   `newdata` is one. With `draws` a list of that many. With a `transform` the
#'   mean is taken on the transformed scale and mapped back.
#' @examples
#' x <- as.matrix(iris[1:4])
#' x[cbind(1:20, rep(1:4, 5))] <- NA
#' fit <- ppca(x, k = 2)
#' head(impute(fit, x))
#' set.seed(1)
#' several <- impute(fit, x, draws = 5)
#' sapply(several, function(one) one[1, 1])
#' @export
impute <- function(object, newdata = NULL, draws = 0, ...) UseMethod("impute")

#' @rdname impute
#' @export
impute.ppca <- function(object, newdata = NULL, draws = 0, ...) {
  check_dots_empty(...)
  draws <- check_count(draws, "draws", 0)
  given <- data_of(object, newdata)
  data <- conform(object, given)
  post <- posterior_pass(object, data$x, cov = draws > 0)
  complete <- function(z, noise) {
    out <- fill_cells(object, data$raw, z, noise)
    if (is.data.frame(given)) as.data.frame(out) else out
  }
  if (draws == 0) return(complete(post$mean, 0))
  roots <- covariance_roots(unpack_covariances(post$cov, object$k, NULL))
  rows <- split(seq_along(post$pattern), post$pattern)
  lapply(seq_len(draws), function(draw) {
    complete(draw_latent(post$mean, roots, rows), sqrt(object$sigma2))
  })
}

# The missing cells of x at mu + W z plus noise of that standard deviation.
fill_cells <- function(object, x, z, noise) {
  if (is_sparse(x)) return(fill_sparse(object, x, z, noise))
  w <- data_loadings(object)
  sd <- if (is.null(object$scale)) rep(1, object$p) else object$scale
  for (j in seq_len(ncol(x))) {
    rows <- which(is.na(x[, j]))
    if (!length(rows)) next
    y <- object$mean[[j]] + z[rows, , drop = FALSE] %*% w[j, ]
    if (noise > 0) y <- y + noise * sd[[j]] * stats::rnorm(length(rows))
    x[rows, j] <- transform_inverse(object$transform, y)
  }
  x
}

fill_sparse <- function(object, x, z, noise) {
  cells <- which(is.na(x@x))
  row <- x@i[cells] + 1L
  column <- rep(seq_len(ncol(x)), diff(x@p))[cells]
  w <- data_loadings(object)
  sd <- if (is.null(object$scale)) rep(1, object$p) else object$scale
  y <- object$mean[column] +
    rowSums(z[row, , drop = FALSE] * w[column, , drop = FALSE])
  if (noise > 0) y <- y + noise * sd[column] * stats::rnorm(length(cells))
  x@x[cells] <- unname(y)
  x
}
