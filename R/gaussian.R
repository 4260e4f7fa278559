# What all linear models share: x = W z + mu + noise with noise variance sigma2, in core units or
# on the user's scale. Its maximum-likelihood solution from eigenpairs, the exact posterior of z,
# draws of it, and the terms of the ELBO for a linear encoder q(z | x) = N(V (x - mu), D).
# References: Tipping and Bishop (1999), see ?ppca; Lucas et al. (2019), see ?linear_vae.

# Loadings, noise variance and mean log-likelihood from k eigenpairs.
solve_ppca <- function(eigen, k, sigma2, u) {
  core_ppca(eigen$values[seq_len(k)], eigen$vectors, eigen$trace,
            if (!is.null(sigma2)) sigma2 / u^2)
}

# E(z | x) from the projections x'u_j: with W = U (Lambda - sigma2)^(1/2), the
# matrix M is Lambda, and E z_j = (lambda_j - sigma2)^(1/2) / lambda_j x'u_j.
scores_along <- function(eigen, solution) {
  j <- seq_len(ncol(solution$w))
  used <- j <= solution$used
  value <- ifelse(used, eigen$values[j], 1)
  weight <- ifelse(used, sqrt(pmax(value - solution$sigma2, 0)) / value, 0)
  scores <- matrix(0, nrow(eigen$projections), length(j))
  known <- seq_len(ncol(eigen$projections))
  scores[, known] <- eigen$projections * rep(weight[known], each = nrow(scores))
  scores
}

# E(z | x) = M^-1 W'(x - mu) for complete rows, M = W'W + sigma2 I.
latent_means <- function(data, w, sigma2) {
  m <- crossprod(w)
  diag(m) <- diag(m) + sigma2
  core_times(data, t(solve(m, t(w))))
}

free_parameters <- function(data, k, free_sigma2) {
  p <- data$p
  p * data$centred + p * data$estimated_scale + p * k - k * (k - 1) / 2 +
    free_sigma2
}

check_start <- function(start, p, k) {
  if (is.null(start)) return()
  if (start$p != p || start$k != k) {
    abort_arg("start", sprintf("have %d features and %d latent dimensions", p, k),
              sprintf("%d and %d", start$p, start$k))
  }
}

check_start_matrix <- function(x, arg, rows, columns) {
  ok <- is.matrix(x) && is.numeric(x) && all(dim(x) == c(rows, columns)) &&
    all(is.finite(x))
  if (!ok) {
    abort_arg(arg, sprintf("be a matrix of %d x %d finite numbers", rows, columns),
              describe(x))
  }
}

# E(z | x), posterior covariances by pattern and log densities of the rows of x
# (on the model's scale), from one pass.
posterior_pass <- function(object, x, cov = FALSE, loglik = FALSE) {
  model <- core_model(object)
  patterns <- core_patterns(x)
  out <- core_posterior(list(x = x, mu = model$mu, unit = model$unit), patterns, model$w,
                        model$sigma2, cov, loglik)
  out$pattern <- patterns$pattern + 1L
  out
}

# u x k(k+1)/2 lower triangles, by columns, to k x k x u.
unpack_covariances <- function(packed, k, latent) {
  place <- matrix(0L, k, k)
  place[lower.tri(place, diag = TRUE)] <- seq_len(k * (k + 1) / 2)
  place[upper.tri(place)] <- t(place)[upper.tri(place)]
  array(t(packed[, place, drop = FALSE]), c(k, k, nrow(packed)),
        dimnames = list(latent, latent, NULL))
}

# n x k posterior means of conformed data.
latent_of <- function(object, data) {
  z <- if (inherits(object, "linear_vae")) {
    observe_rows(object, data)$mean
  } else if (data$missing) {
    posterior_pass(object, data$x)$mean
  } else {
    model <- core_model(object)
    latent_means(list(x = data$x, mu = model$mu, unit = model$unit), model$w, model$sigma2)
  }
  dimnames(z) <- list(rownames(data$raw), colnames(object$loadings))
  z
}

# Loadings on the scale of the (transformed) data: scale_j W_j.
data_loadings <- function(object) {
  w <- object$loadings
  if (is.null(object$scale)) w else w * unname(object$scale)
}

# mu + W z for each row of z (n x k), on the scale of the user's data.
reconstruct <- function(object, z) {
  to_user(object, linear_given(object, z), rownames(z))
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

# Mean of q for each row of conformed data, its expected squared error and its KL,
# in nats and in units of the (scaled) features. `samples`: 0 for the expectation
# in closed form.
observe_rows <- function(object, data, samples = 0L) {
  check_complete(data)
  sd <- if (is.null(object$scale)) rep(1, object$p) else unname(object$scale)
  s <- core_unit(object)
  key <- if (samples > 0) sample.int(.Machine$integer.max, 2L) else c(0L, 0L)
  theta <- list(w = unname(object$loadings) / s, vt = t(unname(object$V)) * s,
                d = unname(object$D))
  out <- core_lvae_rows(list(x = data$x, mu = unname(object$mean), unit = 1 / (sd * s)), theta,
                        samples, key)
  out$error <- out$error * s^2
  out
}

# log N(x; W z + mu, sigma2) from the squared error of each row, on the scale of
# the (transformed) data.
gaussian_log_density <- function(object, error) {
  units <- if (is.null(object$scale)) 0 else sum(log(object$scale))
  -0.5 * (error / object$sigma2 + object$p * log(2 * pi * object$sigma2)) - units
}

# V' and D at their best for w: V = (W'W + s I)^-1 W', D = s (diag(W'W) + s)^-1.
best_encoder <- function(w, s) {
  ww <- crossprod(w)
  if (!all(is.finite(ww))) stop_start("ELBO")
  d <- s / (diag(ww) + s)
  diag(ww) <- diag(ww) + s
  list(vt = t(solve(ww, t(w), tol = 0)), d = d)
}

# The k x k matrices on which every exact number of a fit rests.
vae_moments <- function(data, w, vt) {
  k <- ncol(w)
  product <- core_covariance_times(data, cbind(w, vt))
  sw <- product[, seq_len(k), drop = FALSE]
  svt <- product[, k + seq_len(k), drop = FALSE]
  list(ww = crossprod(w), wsw = crossprod(w, sw), wsv = crossprod(w, svt),
       vsv = crossprod(vt, svt))
}

vae_terms <- function(p, moments, d, sigma2, trace) {
  out <- core_lvae_terms(p, moments, d, sigma2, trace)
  c(out$terms, list(kl_dimensions = out$kl, loglik = out$loglik))
}

# sum_j 1/2 log(lambda_j / sigma2).
linear_kl <- function(lambda, sigma2) sum(0.5 * log(pmax(lambda, sigma2) / sigma2))
