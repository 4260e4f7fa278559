# Pixels that the C core gives noise anew each epoch. Expected values are from plain R:
# the density of normal numbers, and what any noise in [0, 1) must keep to.

floats <- function(values) writeBin(as.double(values), raw(), size = 4)

# A model whose decoder has no weights: g is its bias, and the ELBO of a row is that of a
# normal with mean b and variance s2, as q(z | x) is the prior.
p <- 6L
n <- 40L
alpha <- 1e-6
mu <- c(-3, -1, 0, 0.5, 1, 2)
unit <- c(0.25, 0.5, 1, 0.5, 0.25, 0.125)
bias <- seq(-0.5, 0.5, length.out = p)
s2 <- 0.8
pixels <- matrix((seq_len(n * p) * 37) %% 256, p)
pixels[1, ] <- 0
pixels[p, ] <- 255
shape <- list(p = p, k = 1L, c = 0L, encoder = integer(), encoder_activation = integer(),
              decoder = integer(), decoder_activation = integer(), shared_d = FALSE,
              linear = FALSE, noise = 0L, fixed_noise = FALSE)
theta <- floats(c(numeric(p + 1), numeric(p + 1), numeric(p), bias, log(s2)))
given <- function(x = pixels) {
  list(n = n, x = floats(x), fill = if (anyNA(x)) floats(numeric(p)), condition = raw(),
       pixels = list(alpha = alpha, levels = 256L, mu = floats(mu), unit = floats(unit)))
}
settings <- function(key = 1:2, threads = 1L, batch = 7L) {
  list(beta = 1, free_bits = 0, floor = -20, square = 1, samples = 1L, batch = batch,
       key = key, threads = threads, optimiser = 0L, learning_rate = 0, momentum = 0,
       clip = Inf, warm = 0, weight_decay = 0, follow = 0, noise_rate = 1)
}
evaluate <- function(data = given(), epoch = 1L, ...) {
  .Call(C_vae_evaluate, shape, data, theta, epoch, settings(...))
}

# The logit of levels v + u on the scale of the model.
on_the_line <- function(v, u) {
  a <- alpha + (1 - 2 * alpha) * (v + u) / 256
  (log(a) - log1p(-a) - mu) * unit
}

test_that("rows of pixels have terms within those of the least and the greatest noise", {
  out <- evaluate()
  expect_equal(out$kl, numeric(n), tolerance = 1e-6)
  # log dy/dx is convex in x: over a pixel it is no more than at its ends
  slope <- function(v) {
    a <- alpha + (1 - 2 * alpha) * v / 256
    log((1 - 2 * alpha) / 256) - log(a) - log1p(-a)
  }
  most <- colSums(pmax(slope(pixels), slope(pixels + 1)))
  middle <- pmin(pmax(pixels, 128), pixels + 1)
  expect_true(all(out$jacobian <= most + 1e-3))
  expect_true(all(out$jacobian >= colSums(slope(middle)) - 1e-3))
  density <- function(y) colSums(dnorm(y, bias, sqrt(s2), log = TRUE))
  low <- on_the_line(pixels, 0)
  high <- on_the_line(pixels, 1)
  nearest <- pmin(pmax(low, bias), high)
  expect_true(all(out$reconstruction <= density(nearest) + 1e-3))
  far <- ifelse(abs(low - bias) > abs(high - bias), low, high)
  expect_true(all(out$reconstruction >= density(far) - 1e-3))
})

# E over u of the terms, by numerical integration.
test_that("means over epochs are the integrals over the noise", {
  runs <- lapply(1:400, function(epoch) evaluate(epoch = epoch))
  means <- function(name) colMeans(vapply(runs, function(r) r[[name]], numeric(n)))
  terms <- sapply(runs, function(r) c(mean(r$reconstruction), mean(r$jacobian)))
  u <- (seq_len(20000) - 0.5) / 20000
  cell <- function(f) mean(vapply(seq_len(n), function(i) {
    sum(vapply(seq_len(p), function(j) mean(f(pixels[j, i], u, j)), 0))
  }, 0))
  line <- function(v, u, j) {
    a <- alpha + (1 - 2 * alpha) * (v + u) / 256
    (log(a) - log1p(-a) - mu[j]) * unit[j]
  }
  expected <- c(
    cell(function(v, u, j) dnorm(line(v, u, j), bias[j], sqrt(s2), log = TRUE)),
    cell(function(v, u, j) {
      a <- alpha + (1 - 2 * alpha) * (v + u) / 256
      log((1 - 2 * alpha) / 256) - log(a) - log1p(-a)
    })
  )
  error <- apply(terms, 1, sd) / sqrt(ncol(terms))
  expect_true(all(abs(rowMeans(terms) - expected) < 5 * error))
})

test_that("the noise is that of key and epoch, whatever the threads and batches", {
  out <- evaluate()
  expect_identical(evaluate(threads = 2L, batch = 40L)$jacobian, out$jacobian)
  expect_false(any(evaluate(epoch = 2L)$jacobian == out$jacobian))
  expect_false(any(evaluate(key = 2:3)$jacobian == out$jacobian))
  expect_equal(out$terms$jacobian, mean(out$jacobian), tolerance = 1e-12)
})

# With a learning rate of 0 the weights stay: the epoch meets what an evaluation does, but
# for latent noise, which has no say here.
test_that("an epoch reports the Jacobian and the terms of its noise", {
  state <- list(theta = theta, m = raw(length(theta)), v = raw(length(theta)), steps = 0)
  out <- .Call(C_vae_epoch, shape, given(), state, 3L, settings())
  same <- evaluate(epoch = 3L)
  expect_equal(out$terms$jacobian, mean(same$jacobian), tolerance = 1e-6)
  expect_equal(out$terms$reconstruction, mean(same$reconstruction), tolerance = 1e-5)
})

test_that("missing pixels add nothing to terms and Jacobian", {
  holes <- pixels
  holes[2, ] <- NA
  out <- evaluate(given(holes))
  full <- evaluate()
  expect_true(all(is.finite(out$jacobian)) && all(out$jacobian != full$jacobian))
  holes[, 3] <- NA
  none <- evaluate(given(holes))
  expect_identical(none$jacobian[3], 0)
  expect_identical(none$reconstruction[3], 0)
  expect_identical(none$jacobian[-3], out$jacobian[-3])
})

test_that("without pixels the Jacobian is 0", {
  data <- given()
  data$x <- floats(pixels / 100)
  data["pixels"] <- list(NULL)
  expect_identical(evaluate(data)$jacobian, numeric(n))
  data$pixels <- NULL
  expect_identical(evaluate(data)$terms$jacobian, 0)
})

test_that("pixels of the wrong form are refused", {
  wrong <- function(...) {
    data <- given()
    data$pixels[names(list(...))] <- list(...)
    evaluate(data)
  }
  expect_error(wrong(mu = floats(1:3)), "`mu` is not 6 floats")
  expect_error(wrong(unit = as.double(1:6)), "`unit` is not 6 floats")
  expect_error(wrong(alpha = 0.5), "`alpha` is out of range")
  expect_error(wrong(alpha = NaN), "alpha")
  expect_error(wrong(levels = 1L), "levels")
  data <- given()
  data$pixels$mu <- NULL
  expect_error(evaluate(data), "element `mu` is absent")
})

# The encoder has a weight of 1 for the third feature: m is y there.
test_that("pixels are encoded with the noise of their key", {
  weights <- floats(c(0, 0, 1, 0, 0, 0, 0, numeric(p + 1), numeric(p), bias, log(s2)))
  encode <- function(...) .Call(C_vae_encode, shape, given(), weights, settings(...))
  out <- encode()
  expect_identical(encode(threads = 2L, batch = 40L), out)
  expect_false(any(encode(key = 3:4)$mean == out$mean))
  expect_true(all(out$mean >= on_the_line(pixels, 0)[3, ] - 1e-5))
  expect_true(all(out$mean <= on_the_line(pixels, 1)[3, ] + 1e-5))
})
