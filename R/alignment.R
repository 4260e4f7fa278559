#' How well loadings match the principal directions
#'
#' Compares the columns of W with reference directions, those of another fit or a
#' matrix: whether they are the same directions (identifiability), and whether they
#' span the same subspace.
#'
#' @param object a fitted model, or a matrix of directions, p x k.
#' @param reference the same for the reference, with as many features.
#' @param ... unused.
#' @return An object of class `alignment`: a list with
#'   \item{cosines}{k x r matrix of absolute cosines between columns of `object` and
#'     of `reference`; 0 for zero columns.}
#'   \item{best}{for each column of `object`, the reference column that it is
#'     nearest to, 0 for zero columns.}
#'   \item{axis}{distance of the axes, 1 - mean over the reference's columns of the
#'     largest squared cosine: 0 where each is a column of `object`
#'     (Bao et al. 2020).}
#'   \item{subspace}{distance of the spans, 1 - tr(P_a P_b) / r with the projections
#'     P on both, r the reference's rank: 0 where `object` spans all of
#'     `reference`.}
#'   \item{angles}{principal angles between the spans, in radians, increasing.}
#'   Zero columns belong to no span.
#' @references Bao, X., Lucas, J., Sachdeva, S. and Grosse, R. (2020). Regularized
#'   linear autoencoders recover the principal components, eventually. *Advances in
#'   Neural Information Processing Systems* 33. \doi{10.48550/arXiv.2007.06731}
#' @examples
#' x <- mnist1000$x / 255
#' pca <- ppca(x, k = 5)
#' alignment(linear_vae(x, k = 5), pca)
#' set.seed(1)
#' alignment(linear_ae(x, k = 5), pca)
#' @export
alignment <- function(object, reference, ...) {
  check_dots_empty(...)
  a <- directions_of(object, "object")
  b <- directions_of(reference, "reference")
  if (nrow(a) != nrow(b)) {
    abort_arg("reference", sprintf("have %d features, as `object` has", nrow(a)), nrow(b))
  }
  a <- unit_columns(a)
  b <- unit_columns(b)
  if (!any(b != 0)) abort_arg("reference", "have a column that is not zero")
  cosines <- pmin(abs(crossprod(a, b)), 1)
  live <- colSums(b^2) > 0
  angles <- principal_angles(a, b)
  structure(
    list(cosines = cosines,
         best = ifelse(colSums(a^2) > 0, max.col(cosines, ties.method = "first"), 0L),
         axis = 1 - mean(apply(cosines[, live, drop = FALSE], 2, max)^2),
         subspace = angles$distance, angles = angles$angles),
    class = "alignment"
  )
}

directions_of <- function(x, arg) {
  w <- if (inherits(x, c("ppca", "linear_ae"))) x$loadings else x
  if (!is.matrix(w) || !is.numeric(w) || !all(is.finite(w))) {
    abort_arg(arg, "be a fitted model or a matrix of directions", describe(x))
  }
  if (!ncol(w)) abort_arg(arg, "have at least one column")
  w
}

unit_columns <- function(w) {
  size <- sqrt(colSums(w^2))
  w / rep(ifelse(size > 0, size, 1), each = nrow(w))
}

# An orthonormal basis of the span; directions within rounding of the others' span
# add none.
span_basis <- function(w) {
  w <- w[, colSums(w^2) > 0, drop = FALSE]
  if (!ncol(w)) return(w)
  s <- svd(unname(w), nv = 0)
  s$u[, s$d > 1e-10 * s$d[1], drop = FALSE]
}

principal_angles <- function(a, b) {
  qa <- span_basis(a)
  qb <- span_basis(b)
  if (!ncol(qa)) return(list(distance = 1, angles = numeric(0)))
  inner <- crossprod(qa, qb)
  cosines <- svd(inner, nu = 0, nv = 0)$d
  # small angles by their sines, which cosines near 1 cannot resolve
  rest <- qb - qa %*% inner
  sines <- rev(svd(rest, nu = 0, nv = 0)$d)[seq_along(cosines)]
  angles <- ifelse(cosines > 0.7, asin(pmin(sines, 1)), acos(pmin(cosines, 1)))
  list(distance = sum(rest^2) / ncol(qb), angles = sort(angles))
}

#' @export
print.alignment <- function(x, ...) {
  cat(sprintf("Alignment of %d columns with %d reference directions\n", nrow(x$cosines),
              ncol(x$cosines)))
  cat("Axis distance:    ", format(signif(x$axis, 3)), "\n")
  cat("Subspace distance:", format(signif(x$subspace, 3)), "\n")
  if (length(x$angles)) {
    cat(sprintf("Largest principal angle: %s degrees\n",
                format(signif(max(x$angles) * 180 / pi, 3))))
  }
  invisible(x)
}

#' Rescale the latent space
#'
#' W <- W A, V <- A^-1 V, D <- A^-1 D A^-1 for diagonal A. Reconstructions do not
#' change, and neither does their term of the ELBO; the KL does, and so it is what
#' pins the scale of the latent space.
#'
#' @param object a fitted [linear_vae()] model.
#' @param a one positive number, or one for each latent dimension: the diagonal of
#'   A.
#' @param ... unused.
#' @return The model with its parameters, scores, ELBO, KL and log-likelihood as
#'   they are after the rescaling.
#' @references Lucas et al. (2019), see [linear_vae()].
#' @examples
#' fit <- linear_vae(iris[1:4], k = 2)
#' c(fit$reconstruction, fit$kl)
#' twice <- rescale_latent(fit, 2)
#' c(twice$reconstruction, twice$kl)
#' @export
rescale_latent <- function(object, a, ...) UseMethod("rescale_latent")

#' @rdname rescale_latent
#' @export
rescale_latent.linear_vae <- function(object, a, ...) {
  check_dots_empty(...)
  k <- object$k
  ok <- is.numeric(a) && !is.object(a) && length(a) %in% c(1, k) && all(is.finite(a)) &&
    all(a > 0)
  if (!ok) {
    abort_arg("a", sprintf("be one positive number or %d", k), describe(a))
  }
  a <- rep_len(as.double(a), k)
  object$loadings <- object$loadings * rep(a, each = object$p)
  object$V <- object$V / a
  object$D <- object$D / a^2
  object$scores <- object$scores / rep(a, each = object$n)
  m <- object$moments
  u <- m$unit
  sigma2 <- object$sigma2 / u^2
  trace <- object$trace / u^2
  object$moments <- list(ww = m$ww * outer(a, a), wsw = m$wsw * outer(a, a),
                         wsv = m$wsv * outer(a, 1 / a), vsv = m$vsv / outer(a, a), unit = u)
  terms <- vae_terms(object$p, object$moments, unname(object$D), sigma2, trace)
  before <- vae_terms(object$p, m, unname(object$D) * a^2, sigma2, trace)
  object$kl_dimensions[] <- terms$kl_dimensions
  object$elbo <- object$elbo - (terms$kl - object$kl)
  object$kl <- terms$kl
  object$loglik <- object$loglik + object$n * (terms$loglik - before$loglik)
  object$state <- NULL
  object
}
