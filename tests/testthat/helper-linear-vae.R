# References for the linear VAE, written from its definition on the n x p data and
# sharing nothing with the code under test: no covariance matrix, no k x k moments.

# Rows of x as the model sees them, (x - mean) / scale.
standardise <- function(x, theta) {
  sd <- if (is.null(theta$scale)) rep(1, length(theta$mean)) else theta$scale
  unname(t((t(as.matrix(x)) - as.vector(theta$mean)) / as.vector(sd)))
}

# The ELBO of each row of x under theta (`loadings`, `V`, `D`, `mean`, `sigma2` and
# maybe `scale`, as from coef()), z | x ~ N(V y, D) with y = (x - mean) / scale:
#   reconstruction = E log N(y; W z, sigma2 I) - sum log scale,
#     E|y - W z|^2 = |y - W V y|^2 + tr(W D W'),
#   kl_each = KL(N(m, d) || N(0, 1)) = (d + m^2 - 1 - log d) / 2 (n x k).
# test-elbo.R holds it against numerical integration.
reference_elbo <- function(x, theta) {
  w <- unname(theta$loadings)
  v <- unname(theta$V)
  d <- as.vector(theta$D)
  y <- standardise(x, theta)
  p <- ncol(y)
  z <- y %*% t(v)
  error <- rowSums((y - z %*% t(w))^2) + sum(diag(w %*% diag(d, length(d)) %*% t(w)))
  units <- if (is.null(theta$scale)) 0 else sum(log(theta$scale))
  reconstruction <- -error / (2 * theta$sigma2) - p / 2 * log(2 * pi * theta$sigma2) - units
  kl_each <- (rep(d - 1 - log(d), each = nrow(y)) + z^2) / 2
  list(elbo = reconstruction - rowSums(kl_each), reconstruction = reconstruction,
       kl = rowSums(kl_each), kl_each = kl_each, error = error)
}

mean_objective <- function(x, theta, beta = 1) {
  to <- reference_elbo(x, theta)
  mean(to$reconstruction) - beta * mean(to$kl)
}

# Of each row, log p(x | z) + log p(z) - log q(z | x) for `draws` samples of z from
# q(z | x), n x draws: their mean over draws estimates the ELBO.
sampled_elbo <- function(x, theta, draws) {
  w <- unname(theta$loadings)
  y <- standardise(x, theta)
  sd <- sqrt(as.vector(theta$D))
  units <- if (is.null(theta$scale)) 0 else sum(log(theta$scale))
  centre <- y %*% t(unname(theta$V))
  out <- matrix(0, nrow(y), draws)
  for (draw in seq_len(draws)) {
    spread <- rep(sd, each = nrow(y))
    z <- centre + spread * matrix(rnorm(length(centre)), nrow(y))
    out[, draw] <- rowSums(dnorm(y, z %*% t(w), sqrt(theta$sigma2), log = TRUE)) - units +
      rowSums(dnorm(z, log = TRUE)) - rowSums(dnorm(z, centre, spread, log = TRUE))
  }
  out
}

# KL(N(m1, c1) || N(m0, c0)).
gaussian_kl <- function(m1, c1, m0, c0) {
  inverse <- solve(c0)
  d <- m0 - m1
  drop(sum(inverse * c1) + d %*% inverse %*% d - length(d) -
         as.numeric(determinant(c1)$modulus) + as.numeric(determinant(c0)$modulus)) / 2
}

# Mean KL of q(z | x) from the exact posterior of each row: log-likelihood - ELBO.
reference_gap <- function(x, theta) {
  w <- unname(theta$loadings)
  y <- standardise(x, theta)
  mean(apply(y, 1, function(row) {
    exact <- latent_conditional(row, numeric(nrow(w)), w, theta$sigma2)
    gaussian_kl(drop(unname(theta$V) %*% row), diag(as.vector(theta$D), ncol(w)),
                exact$mean, exact$cov)
  }))
}

# The residuals of the stationary equations (DESIGN, "The mathematics", beta in V and
# D), each the largest absolute difference of its two sides.
stationary_residuals <- function(fit, x) {
  theta <- coef(fit)
  w <- unname(theta$loadings)
  v <- unname(theta$V)
  d <- unname(theta$D)
  y <- standardise(x, theta)
  k <- ncol(w)
  s <- fit$beta * theta$sigma2
  z <- y %*% t(v)
  best_w <- crossprod(y, z) %*% solve(crossprod(z) + nrow(y) * diag(d, k))
  c(V = max(abs(v - solve(crossprod(w) + s * diag(k)) %*% t(w))),
    D = max(abs(d - s / (colSums(w^2) + s))),
    W = max(abs(w - best_w)),
    sigma2 = if (fit$fixed) 0 else
      abs(theta$sigma2 - mean(reference_elbo(x, theta)$error) / nrow(w)))
}

# Gradient of f by the five-point formula, whose error is of order h^4.
numeric_gradient <- function(f, at, h = 1e-3) {
  vapply(seq_along(at), function(i) {
    value <- function(steps) f(replace(at, i, at[i] + steps * h))
    (value(-2) - 8 * value(-1) + 8 * value(1) - value(2)) / (12 * h)
  }, 0)
}

# theta of the core, (W, V', log D, log sigma2) as one vector, as a list for the
# references; the data are then centred and in core units.
core_list <- function(theta, p, k) {
  pk <- p * k
  list(loadings = matrix(theta[seq_len(pk)], p), V = t(matrix(theta[pk + seq_len(pk)], p)),
       D = exp(theta[2 * pk + seq_len(k)]), mean = numeric(p),
       sigma2 = exp(theta[2 * pk + k + 1]))
}

# Which entries of theta are what.
core_parts <- function(p, k) {
  factor(rep(c("W", "V", "log D", "log sigma2"), c(p * k, p * k, k, 1)))
}

# Data as the core wants them: from S where `form_s`, else from x; `y` is the dense
# matrix that they stand for.
core_data <- function(x, form_s = TRUE) {
  data <- elbo:::covariance_data(x, list(center = TRUE, scale = FALSE, transform = NULL))
  if (!form_s) data["s"] <- list(NULL)
  data$y <- sweep(as.matrix(x), 2, data$mu) * rep(data$unit, each = nrow(x))
  data
}

# A fit with any parameters: one epoch of Adam at a rate that moves nothing.
vae_at <- function(x, theta, ...) {
  linear_vae(x, ncol(theta$loadings), ..., optimizer = "adam", start = theta,
             control = train_control(epochs = 1, learning_rate = 1e-300))
}

random_theta <- function(p, k, seed = 1) {
  set.seed(seed)
  list(loadings = matrix(rnorm(p * k), p), V = matrix(rnorm(p * k, sd = 0.4), k),
       D = exp(rnorm(k, sd = 0.5)), sigma2 = exp(rnorm(1, sd = 0.5)))
}

random_vae <- function(x, k, seed = 1, ...) {
  vae_at(x, random_theta(ncol(x), k, seed), ...)
}

# Points in +-size_j along axis j, so that S = diag(size^2) / p exactly.
axis_data <- function(size) rbind(diag(size), -diag(size))

sparse_of <- function(x) {
  methods::as(Matrix::Matrix(x * 1, sparse = TRUE), "generalMatrix")
}

fit_objective <- function(fit) fit$reconstruction - fit$beta * fit$kl

# Runs `code` while a function of the package is another.
with_function <- function(name, replacement, code) {
  original <- get(name, envir = asNamespace("elbo"))
  on.exit(utils::assignInNamespace(name, original, "elbo"))
  utils::assignInNamespace(name, replacement, "elbo")
  code
}

# Runs `code` with the interrupt that Ctrl-C makes once `after` steps are done.
with_interrupt <- function(after, code) {
  interrupt <- structure(class = c("interrupt", "condition"), list(message = "", call = NULL))
  with_function("progress_update",
                function(bar, done) if (done >= after) stop(interrupt), code)
}
