#' Stability of a stationary point
#'
#' At a stationary point of the likelihood, W has some principal directions as its
#' columns, (lambda_j - sigma2)^(1/2) u_j, and zero columns: collapsed dimensions.
#' For each principal direction of the data this says whether the model uses it,
#' and how the mean log-likelihood curves where W is perturbed along it: whether a
#' collapsed dimension would wake up (Tipping and Bishop 1999, appendix A; Lucas et
#' al. 2019, section 4.1 and appendix A).
#'
#' @details
#' The curvature is the second derivative of the mean log-likelihood at fixed
#' sigma2 in the length of the perturbation: for an unused direction,
#' (lambda_j - sigma2) / sigma2^2 along a zero column, or where W has none,
#' (lambda_j - lambda_i) / (sigma2 lambda_i) along the used column i of the
#' smallest eigenvalue; for a used direction, -2 (lambda_j - sigma2) / lambda_j^2
#' along itself. A positive curvature is a way up, so that the point is a saddle.
#' The point is stable if and only if none is positive: with a zero column, if all
#' unused eigenvalues are below sigma2. It is then a local maximum at this
#' fixed sigma2, and the unused directions stay collapsed. Where sigma2 is learned
#' it falls towards the mean of the unused eigenvalues, so that the point is a
#' saddle as long as these are not all equal and a dimension is free.
#'
#' For a [linear_vae()] with a weight beta on the KL, sigma2 is beta times the noise
#' variance throughout, and the objective is beta times the log-likelihood at that
#' variance plus what does not depend on W. That the ELBO has no other local maxima
#' is Theorem 1 of Lucas et al. (2019).
#'
#' Which directions are in use is found by comparing the variances of the data
#' within the span of W with the eigenvalues; at a point that is not stationary,
#' where these do not agree, it is the nearest assignment, with a warning.
#'
#' @param object a fitted [ppca()] or [linear_vae()] model of complete data.
#' @param sigma2 `NULL` for the model's noise variance (times beta), or another one:
#'   that of the stationary point with the same directions, as far as their
#'   eigenvalues exceed it.
#' @param ... unused.
#' @return A data frame of class `stability`, a row for each known eigenvalue:
#'   `direction`, `eigenvalue`, `in_use`, `curvature`, `stable` (the curvature is
#'   not positive); with attributes `sigma2`, `stable` (of the point as a whole)
#'   and `free` (number of zero columns).
#' @references Tipping and Bishop (1999), see [ppca()]; Lucas et al. (2019), see
#'   [linear_vae()].
#' @examples
#' fit <- ppca(iris[1:4], k = 3, sigma2 = 0.1)
#' stability(fit)
#' # with less noise the collapsed dimension would wake up
#' stability(fit, sigma2 = 0.05)
#' @export
stability <- function(object, sigma2 = NULL, ...) UseMethod("stability")

#' @rdname stability
#' @export
stability.ppca <- function(object, sigma2 = NULL, ...) {
  check_dots_empty(...)
  check_eigenvalues(object)
  noise <- if (is.null(sigma2)) {
    object$sigma2 * (if (is.null(object$beta)) 1 else object$beta)
  } else {
    check_number(sigma2, "sigma2", 0, open = TRUE)
  }
  lambda <- object$values
  in_use <- directions_in_use(object) & lambda > noise
  free <- object$k - sum(in_use)
  # the column that a perturbation takes: a zero one, or the weakest
  weakest <- if (free > 0) noise else min(lambda[in_use])
  curvature <- ifelse(in_use, -2 * (lambda - noise) / lambda^2,
                      (lambda - weakest) / (noise * weakest))
  stable <- curvature <= 0
  structure(
    data.frame(direction = seq_along(lambda), eigenvalue = lambda, in_use = in_use,
               curvature = curvature, stable = stable),
    class = c("stability", "data.frame"), sigma2 = noise, stable = all(stable),
    free = free, known = length(lambda)
  )
}

# Where cells are missing there is no covariance matrix of the data.
check_eigenvalues <- function(object) {
  if (!is_complete(object)) {
    abort_arg("object", "be a fit to complete data: with missing cells the eigenvalues of the data are not known")
  }
}

# For each known eigenvalue, whether W has its direction.
directions_in_use <- function(object) {
  lambda <- object$values
  if (!inherits(object, "linear_vae")) {
    return(seq_along(lambda) <= object$k & lambda > object$sigma2)
  }
  u <- object$moments$unit
  beta <- object$beta
  span <- span_variances(object$moments, beta * object$sigma2 / u^2)
  own <- span$variances * u^2
  in_use <- logical(length(lambda))
  off <- span$misfit * u^2
  for (value in sort(own, decreasing = TRUE)) {
    if (all(in_use)) break
    distance <- ifelse(in_use, Inf, abs(lambda - value))
    in_use[which.min(distance)] <- TRUE
    off <- max(off, min(distance))
  }
  if (off > 0.01 * max(lambda)) {
    warning("The model is not at a stationary point: variances within the span of W are off ",
            "the eigenvalues, or columns off the length that goes with them, by up to ",
            format(off, digits = 2), ".", call. = FALSE)
  }
  in_use
}

# Eigenvalues of S within the span of W, from W'W and W'SW: those of B'W'SW B with
# B = E G^(-1/2), where W'W = E G E'. At a stationary point a column of variance
# lambda is lambda - noise long, squared, or 0: one of less than half of that counts
# as 0. `misfit`: the most that a squared length is off.
span_variances <- function(moments, noise) {
  eigen <- eigen(moments$ww, symmetric = TRUE)
  length2 <- eigen$values
  e <- eigen$vectors
  some <- length2 > .Machine$double.xmin
  variance <- ifelse(some, colSums(e * (moments$wsw %*% e)) / ifelse(some, length2, 1), 0)
  used <- some & variance > noise & length2 > 0.5 * (variance - noise)
  misfit <- max(abs(length2 - ifelse(used, variance - noise, 0)))
  if (!any(used)) return(list(variances = numeric(0), misfit = misfit))
  b <- e[, used, drop = FALSE] / rep(sqrt(length2[used]), each = nrow(e))
  inner <- crossprod(b, moments$wsw %*% b)
  list(variances = eigen((inner + t(inner)) / 2, symmetric = TRUE, only.values = TRUE)$values,
       misfit = misfit)
}

#' @export
print.stability <- function(x, ...) {
  # rows or columns taken out of it are but a table
  whole <- identical(attr(x, "known"), nrow(x)) &&
    all(c("in_use", "stable") %in% names(x))
  if (whole) {
    cat(sprintf("Stationary point at sigma2 = %s: %d of %d directions in use, %d zero %s in W\n",
                format(attr(x, "sigma2"), digits = 4), sum(x$in_use), nrow(x),
                attr(x, "free"), if (attr(x, "free") == 1) "column" else "columns"))
    up <- sum(!x$stable)
    cat(if (up == 0) "Stable: a local maximum at this sigma2\n" else
      sprintf("Not stable: the likelihood rises along %d unused direction%s\n", up,
              if (up == 1) "" else "s"))
  }
  print.data.frame(utils::head(structure(x, class = "data.frame"), 12), digits = 4,
                   row.names = FALSE)
  if (nrow(x) > 12) cat("... and", nrow(x) - 12, "more directions\n")
  invisible(x)
}

#' The likelihood around a collapsed point
#'
#' The mean log-likelihood over perturbations of two zero columns of W: Fig. 1 of
#' Lucas et al. (2019). W has the principal directions `keep`, each
#' (lambda_j - sigma2)^(1/2) long, and two more columns a u_i and b u_j along the
#' directions `pair`, where a = b = 0 is the collapsed point.
#'
#' @details
#' As the columns are orthogonal the log-likelihood depends on each of the two
#' through c = a^2 + sigma2 alone, by -1/2 (log c + lambda / c), and is also the
#' greatest ELBO that a linear VAE with this W can have.
#'
#' @param object a fitted [ppca()] or [linear_vae()] model: its eigenvalues are
#'   used, which must be known for the directions asked for.
#' @param pair numbers of the two directions.
#' @param keep numbers of the directions that W keeps; may be empty (`integer()`).
#' @param sigma2 noise variance; by default the model's.
#' @param reach largest perturbation; by default twice the length at which the
#'   larger of the two would be at its best, or the noise's standard deviation if
#'   that is more.
#' @param points number of grid points on each axis, 3 or more.
#' @param ... unused.
#' @return An object of class `landscape`: a list with `a`, `b` (the
#'   perturbations), `loglik` (matrix, a in rows, mean log-likelihood in nats per
#'   observation on the scale of the model), `curvature` at the collapsed point
#'   along each direction, and the settings. Draw it with
#'   [plot()][plot.landscape].
#' @references Lucas et al. (2019), Fig. 1; see [linear_vae()].
#' @examples
#' fit <- ppca(mnist1000$x / 255, k = 8)
#' hill <- landscape(fit, pair = c(5, 7), keep = 1:3, sigma2 = fit$values[6])
#' hill
#' plot(hill)
#' @export
landscape <- function(object, pair, keep = integer(), sigma2 = NULL, ...) {
  UseMethod("landscape")
}

#' @rdname landscape
#' @export
landscape.ppca <- function(object, pair, keep = integer(), sigma2 = NULL, reach = NULL,
                           points = 61, ...) {
  check_dots_empty(...)
  check_eigenvalues(object)
  known <- length(object$values)
  pair <- check_directions(pair, "pair", known, 2)
  keep <- check_directions(keep, "keep", known)
  if (any(pair %in% keep)) {
    abort_arg("pair", "be two directions that `keep` does not hold",
              paste(intersect(pair, keep), collapse = ", "))
  }
  sigma2 <- if (is.null(sigma2)) object$sigma2 else
    check_number(sigma2, "sigma2", 0, open = TRUE)
  points <- check_count(points, "points", 3)
  lambda <- object$values
  reach <- if (is.null(reach)) {
    max(2 * sqrt(max(lambda[pair] - sigma2, 0)), sqrt(sigma2))
  } else {
    check_number(reach, "reach", 0, open = TRUE)
  }
  at <- seq(-reach, reach, length.out = points)
  # log-likelihood of the directions kept and of what is noise
  kept <- pmax(lambda[keep], sigma2)
  others <- object$trace - sum(lambda[keep]) - sum(lambda[pair])
  base <- -0.5 * (object$p * log(2 * pi) + sum(log(kept) + lambda[keep] / kept) +
                    (object$p - length(keep) - 2) * log(sigma2) + others / sigma2)
  along <- function(j) -0.5 * (log(at^2 + sigma2) + lambda[j] / (at^2 + sigma2))
  units <- if (is.null(object$scale)) 0 else sum(log(object$scale))
  structure(
    list(a = at, b = at,
         loglik = base + outer(along(pair[1]), along(pair[2]), "+") - units +
           object$log_jacobian,
         pair = pair, keep = keep, sigma2 = sigma2, eigenvalues = lambda[pair],
         curvature = (lambda[pair] - sigma2) / sigma2^2),
    class = "landscape"
  )
}

check_directions <- function(x, arg, known, count = NULL) {
  ok <- is.numeric(x) && !is.object(x) && !anyDuplicated(x) && all(x %in% seq_len(known)) &&
    (is.null(count) || length(x) == count)
  if (!ok) {
    abort_arg(arg, sprintf("be %sdistinct whole numbers between 1 and %d, the number of known eigenvalues",
                           if (is.null(count)) "" else paste(count, ""), known), describe(x))
  }
  as.integer(x)
}

#' @export
print.landscape <- function(x, ...) {
  cat(sprintf("Mean log-likelihood around two zero columns of W, sigma2 = %s\n",
              format(x$sigma2, digits = 4)))
  cat("Kept:", if (length(x$keep)) paste(x$keep, collapse = ", ") else "none", "\n")
  print(data.frame(direction = x$pair, eigenvalue = x$eigenvalues, curvature = x$curvature,
                   stable = x$curvature <= 0), row.names = FALSE, digits = 4)
  invisible(x)
}
