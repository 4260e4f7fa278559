# Deep VAEs: the model and its ELBO. Expected values come from the definitions in plain R
# (helper-vae.R), from quadrature, from the linear theory, or from the generating data.

# Features of different size and place, so that units matter.
n <- 60
p <- 5
x <- plain(model_data(n, p, 2)) %*% diag(c(1, 4, 0.2, 1, 10)) + rep(c(0, 50, 0, -3, 7), each = n)
colnames(x) <- letters[1:p]
holes <- with_holes(x)
species <- factor(rep(c("b", "c", "a"), length.out = n), levels = c("c", "a", "b"))
set.seed(1)
given <- matrix(rnorm(2 * n), n)

# Each feature in units of its standard deviation: a relative error of one feature does
# not hide behind the size of another.
expect_close <- function(object, expected, unit = apply(x, 2, sd), tolerance = 2e-5) {
  object <- unname(object) / rep(unit, each = nrow(object))
  expected <- unname(expected) / rep(unit, each = nrow(expected))
  expect_lt(max(abs(object - expected)), tolerance * max(1, abs(expected)))
}

# The forward pass in plain R gives what the package does: posterior, reconstruction,
# ELBO and its terms.
expect_forward_pass <- function(fit, x, condition = NULL, label = NULL) {
  w <- coef(fit)
  means <- colMeans(x, na.rm = TRUE)
  q <- reference_encode(w, x, condition, means)
  found <- posterior(fit, x, condition = condition)
  expect_equal(unname(found$mean), q$mean, tolerance = 1e-5, label = label)
  expect_equal(unname(found$variance), q$variance, tolerance = 1e-5, label = label)
  expect_identical(predict(fit, x, condition = condition), found$mean)
  back <- predict(fit, x, type = "reconstruction", condition = condition)
  expect_close(back, reference_decode(w, q$mean, condition)$mean)
  # sigma2_min is on the scale of sigma2
  floor <- fit$sigma2_min * (if (is.null(fit$scale)) 1 else fit$scale^2)
  terms <- reference_terms(w, x, condition, means, floor)
  set.seed(2)
  rows <- elbo(fit, x, samples = 500, by = "observation", condition = condition)
  expect_equal(rows$kl, terms$kl, tolerance = 1e-5, label = label)
  expect_sampled(rows$reconstruction, terms$reconstruction, terms$variance, 500)
  expect_identical(rows$elbo, rows$reconstruction - rows$kl + rows$log_jacobian)
  expect_identical(rows$log_jacobian, numeric(nrow(x)))
}

# the forward pass ---------------------------------------------------------------

test_that("coef() is the whole model, for every activation", {
  for (activation in names(activation_functions)) {
    fit <- quick_vae(x, 2, encoder = c(6, 4), activation = activation)
    w <- coef(fit)
    expect_identical(vapply(c(w$encoder, w$decoder), `[[`, "", "activation"),
                     rep(activation, 4))
    expect_forward_pass(fit, x, label = activation)
  }
})

test_that("coef() is the whole model, with linear maps or without", {
  fit <- quick_vae(x, 2, encoder = 6, condition = species)
  expect_identical(dim(coef(fit)$mean$linear), c(2L, 5L + 3L))
  expect_identical(dim(coef(fit)$output$linear), c(5L, 2L + 3L))
  for (noise in c("shared", "feature", "network")) {
    fit <- quick_vae(x, 2, encoder = c(6, 4), activation = "tanh", start = "random",
                     noise = noise, condition = species)
    expect_named(coef(fit)$mean, c("weights", "bias"))
    expect_named(coef(fit)$output, c("weights", "bias"))
    expect_forward_pass(fit, x, species, label = noise)
  }
})

test_that("coef() is the whole model, for every head and noise", {
  for (variance in c("network", "shared")) for (noise in c("shared", "feature", "network")) {
    fit <- quick_vae(x, 2, encoder = 6, activation = "tanh", latent_variance = variance,
                     noise = noise)
    w <- coef(fit)
    expect_named(w, c("encoder", "mean", "log_variance", "decoder", "output",
                      if (noise == "network") "log_sigma2" else "sigma2"))
    expect_identical(is.list(w$log_variance), variance == "network")
    if (noise != "network") expect_length(w$sigma2, if (noise == "shared") 1 else p)
    expect_forward_pass(fit, x, label = paste(variance, noise))
  }
})

test_that("coef() is the whole model, however data are centred and scaled", {
  choices <- list(list(center = FALSE), list(center = c(1, 40, 0, 0, 9)), list(scale = TRUE),
                  list(scale = c(1, 8, 1, 1, 20)), list(center = FALSE, scale = TRUE),
                  list(scale = TRUE, noise = "feature"), list(scale = TRUE, noise = "network"))
  for (choice in choices) {
    fit <- do.call(quick_vae, c(list(x, 2, encoder = 6, activation = "elu"), choice))
    label <- paste(deparse(choice), collapse = "")
    expect_forward_pass(fit, x, label = label)
  }
})

test_that("coef() is the whole model, with a condition", {
  frame <- data.frame(u = given[, 1], v = given[, 2])
  for (condition in list(species, as.character(species), given, frame, given[, 1],
                         given[, 1] > 0)) {
    fit <- quick_vae(x, 2, encoder = c(6, 4), activation = "silu", condition = condition)
    expect_forward_pass(fit, x, condition)
  }
  # first layers only; and none, where the heads are first
  fit <- quick_vae(x, 2, encoder = integer(0), condition = species, noise = "network")
  expect_forward_pass(fit, x, species)
  expect_identical(dim(coef(fit)$output$weights), c(5L, 2L + 3L))
})

test_that("coef() is the whole model, for lists of layers", {
  encoder <- list(dense(7, "gelu"), dense(3, "tanh"))
  fit <- quick_vae(x, 2, encoder = encoder, decoder = list(dense(4, "softplus"), 5, dense(6)),
                   activation = "leaky_relu")
  w <- coef(fit)
  shapes <- function(layers) lapply(layers, function(l) c(dim(l$weights), length(l$bias)))
  expect_identical(shapes(w$encoder), list(c(7L, 5L, 7L), c(3L, 7L, 3L)))
  expect_identical(shapes(w$decoder), list(c(4L, 2L, 4L), c(5L, 4L, 5L), c(6L, 5L, 6L)))
  expect_identical(vapply(w$decoder, `[[`, "", "activation"),
                   c("softplus", "leaky_relu", "relu"))
  expect_forward_pass(fit, x)
  # the decoder's default is the encoder's mirror image
  fit <- quick_vae(x, 2, encoder = encoder)
  expect_identical(vapply(coef(fit)$decoder, `[[`, "", "activation"), c("tanh", "gelu"))
  expect_identical(shapes(coef(fit)$decoder), list(c(3L, 2L, 3L), c(7L, 3L, 7L)))
  fit <- quick_vae(x, 2, encoder = dense(3, "tanh"), decoder = integer(0))
  expect_length(coef(fit)$decoder, 0)
  expect_forward_pass(fit, x)
})

test_that("coef() is the whole model, with missing cells", {
  for (center in list(TRUE, FALSE, c(1, 40, 0, 0, 9))) {
    for (noise in c("shared", "feature", "network")) {
      fit <- quick_vae(holes, 2, encoder = 6, center = center, noise = noise)
      expect_equal(fit$mean, colMeans(holes, na.rm = TRUE), tolerance = 1e-12)
      expect_forward_pass(fit, holes, label = noise)
    }
  }
  fit <- quick_vae(holes, 2, encoder = 6, scale = TRUE)
  expect_forward_pass(fit, holes)
  # a row of which nothing is known has no reconstruction term
  none <- rbind(holes[1, ], NA)
  rows <- elbo(fit, none, by = "observation")
  expect_identical(rows$reconstruction[2], 0)
  expect_identical(rows$elbo[2], -rows$kl[2])
})

test_that("names of features, latent dimensions and conditions are those of the weights", {
  fit <- quick_vae(x, 2, encoder = 6, condition = species, noise = "feature")
  w <- coef(fit)
  expect_identical(colnames(w$encoder[[1]]$weights), c(letters[1:5], "c", "a", "b"))
  expect_identical(rownames(w$mean$weights), c("z1", "z2"))
  expect_identical(dimnames(w$mean$linear), list(c("z1", "z2"), c(letters[1:5], "c", "a", "b")))
  expect_identical(dimnames(w$output$linear), list(letters[1:5], c("z1", "z2", "c", "a", "b")))
  expect_identical(names(w$log_variance$bias), c("z1", "z2"))
  expect_identical(colnames(w$decoder[[1]]$weights), c("z1", "z2", "c", "a", "b"))
  expect_identical(rownames(w$output$weights), letters[1:5])
  expect_identical(names(w$output$bias), letters[1:5])
  expect_identical(names(w$sigma2), letters[1:5])
  w <- coef(quick_vae(unname(x), 2, encoder = 6, latent_variance = "shared"))
  expect_null(rownames(w$encoder[[1]]$weights))
  expect_null(colnames(w$encoder[[1]]$weights))
  expect_named(w$log_variance, c("z1", "z2"))
})

test_that("means and sums are those of the rows", {
  fit <- quick_vae(x, 2, encoder = 6)
  set.seed(3)
  rows <- elbo(fit, x, samples = 3, by = "observation", weighted = TRUE)
  expect_named(rows, c("elbo", "reconstruction", "kl", "log_jacobian", "weighted"))
  set.seed(3)
  expect_equal(elbo(fit, x, samples = 3, weighted = TRUE), colMeans(rows), tolerance = 1e-12)
  q <- posterior(fit, x)
  expect_equal(unname(fit$kl_dimensions), colMeans(reference_kl(lapply(q, unname))),
               tolerance = 1e-5)
  expect_equal(fit$kl, sum(fit$kl_dimensions), tolerance = 1e-12)
  expect_equal(elbo(fit)[["kl"]], fit$kl)
  expect_identical(elbo(fit), unlist(unclass(fit)[c("elbo", "reconstruction", "kl",
                                                     "log_jacobian")]))
  # The reconstruction term of a fit to so few rows is from 100 samples for each.
  terms <- reference_terms(coef(fit), x)
  expect_lt(abs(fit$reconstruction - mean(terms$reconstruction)),
            5 * sqrt(mean(terms$variance) / n / 100))
  # ... and of one to 5,000 from two.
  each <- rep(seq_len(n), length.out = 5000)
  many <- quick_vae(x[each, ], 2, encoder = 6, epochs = 1, batch_size = 1000)
  terms <- reference_terms(coef(many), x)
  expect_lt(abs(many$reconstruction - mean(terms$reconstruction[each])),
            5 * sqrt(mean(terms$variance[each]) / 5000 / 2))
})

# the ELBO by hand ---------------------------------------------------------------

test_that("the ELBO of a linear decoder is the closed form", {
  for (noise in c("shared", "feature")) {
    fit <- quick_vae(x, 3, encoder = 8, decoder = integer(0), noise = noise, activation = "tanh")
    w <- coef(fit)
    q <- reference_encode(w, x)
    exact <- linear_reconstruction(x, q, w)
    # the quadrature that the other tests use agrees with it
    terms <- reference_terms(w, x, count = 20)
    expect_equal(terms$reconstruction, exact, tolerance = 1e-10)
    set.seed(4)
    rows <- elbo(fit, x, samples = 2000, by = "observation")
    expect_sampled(rows$reconstruction, exact, terms$variance, 2000)
    expect_equal(mean(rows$elbo), mean(exact - rowSums(reference_kl(q))), tolerance = 1e-3)
  }
})

# A VAE whose weights are set by hand. Data with a root mean square from 1 to 2, without
# centring, are in their own units, so that the weights of the networks are those of coef().
tiny <- function(x, ..., weights) {
  fit <- quick_vae(x, ..., center = FALSE, epochs = 1)
  do.call(with_weights, c(list(fit), weights))
}

unit_data <- function(n, p, seed = 1) {
  set.seed(seed)
  x <- matrix(runif(n * p, -2.2, 2.2), n)
  stopifnot(mean(x^2) > 1, mean(x^2) < 4)
  x
}

test_that("a net of three weights and its ELBO, by hand", {
  # q(z | x) = N(0.5 x1 - 0.2, e^-1), p(x | z) = N((z, 1), 0.25)
  y <- unit_data(6, 2)
  fit <- tiny(y, 1, encoder = integer(0), latent_variance = "shared",
              weights = list(c(0.5, 0), -0.2, -1, c(1, 0), c(0, 1), log(0.25)))
  m <- 0.5 * y[, 1] - 0.2
  d <- exp(-1)
  q <- posterior(fit, y)
  expect_equal(as.vector(q$mean), m, tolerance = 1e-6)
  expect_equal(as.vector(q$variance), rep(d, 6), tolerance = 1e-6)
  kl <- (d + m^2 - 1 + 1) / 2
  squared <- (y[, 1] - m)^2 + d + (y[, 2] - 1)^2
  exact <- -squared / (2 * 0.25) - log(2 * pi * 0.25)
  set.seed(5)
  rows <- elbo(fit, y, samples = 4000, by = "observation")
  expect_equal(rows$kl, kl, tolerance = 1e-6)
  # of (x - z)^2 / 0.5, z - x normal with mean m - x and variance d
  variance <- (2 * d^2 + 4 * d * (y[, 1] - m)^2) / 0.25
  expect_sampled(rows$reconstruction, exact, variance, 4000)
})

test_that("with the exact posterior every weight is the likelihood", {
  # W'W diagonal: the posterior of pPCA, N(M^-1 W'(x - mu), sigma2 M^-1), is that of a
  # linear VAE, and log p(x, z) - log q(z | x) does not depend on z.
  y <- unit_data(40, 4)
  w <- cbind(c(1, 1, 0, 0), c(0.5, -0.5, 1, -1))
  mu <- c(0.3, 0, -0.2, 0.1)
  sigma2 <- 0.3
  m <- diag(crossprod(w)) + sigma2
  v <- t(w) / m
  fit <- tiny(y, 2, encoder = integer(0), latent_variance = "shared",
              weights = list(v, -v %*% mu, log(sigma2 / m), w, mu, log(sigma2)))
  likelihood <- log_density(y, mu, w %*% t(w) + sigma2 * diag(4))
  for (samples in c(1, 3, 600)) {
    rows <- elbo(fit, y, samples = samples, by = "observation", weighted = TRUE)
    expect_equal(rows$weighted, likelihood, tolerance = 1e-5)
  }
  set.seed(6)
  expect_equal(mean(elbo(fit, y, samples = 4000)[["elbo"]]), mean(likelihood),
               tolerance = 1e-3)
})

test_that("the weighted bound rises from the ELBO to the log-likelihood", {
  y <- unit_data(30, 3)
  w <- matrix(c(1, 0.5, -1, 0.3, 1, 0.2), 3)
  # a posterior that is not the model's, wider than it, so that weights are bounded
  fit <- tiny(y, 2, encoder = integer(0), latent_variance = "shared",
              weights = list(matrix(0.1, 2, 3), c(0.1, -0.1), c(-0.2, 0), w, c(0, 0.2, 0),
                             log(2)))
  exact <- log_density(y, c(0, 0.2, 0), w %*% t(w) + 2 * diag(3))
  set.seed(7)
  often <- y[rep(1:30, 40), ]
  bounds <- vapply(c(1, 2, 8, 64), function(samples) {
    elbo(fit, often, samples = samples, weighted = TRUE)[["weighted"]]
  }, 0)
  expect_true(all(diff(bounds) > 0))
  expect_true(all(bounds < mean(exact) + 0.01))
  # log of a mean of weights: its error is that of the mean, relative
  q <- reference_encode(coef(fit), y)
  rule <- quadrature(2, 60)
  spread <- vapply(seq_len(30), function(i) {
    z <- rule$points * rep(sqrt(q$variance[i, ]), each = nrow(rule$points)) +
      rep(q$mean[i, ], each = nrow(rule$points))
    weight <- exp(reference_density(coef(fit), y[rep(i, nrow(z)), ], z) +
                    rowSums(dnorm(z, log = TRUE)) - rowSums(dnorm(rule$points, log = TRUE)) +
                    sum(log(q$variance[i, ])) / 2 - exact[i])
    expect_equal(sum(rule$weights * weight), 1, tolerance = 1e-6)
    sum(rule$weights * (weight - 1)^2)
  }, 0)
  rows <- elbo(fit, y, samples = 20000, by = "observation", weighted = TRUE)
  expect_sampled(rows$weighted, exact, spread, 20000)
  # one sample: the bound is that sample's ELBO, with log p(z) - log q(z) not averaged
  terms <- reference_terms(coef(fit), y)
  one <- elbo(fit, often, by = "observation", weighted = TRUE)
  expect_lt(abs(mean(one$weighted - terms$elbo)), 4 * sqrt(mean(terms$weight_variance) / 1200))
})

test_that("the weighted bound reaches a deep decoder's likelihood", {
  fit <- quick_vae(x, 1, encoder = 8, activation = "tanh", epochs = 30, start = "random")
  w <- coef(fit)
  z <- matrix(seq(-9, 9, length.out = 4001))
  exact <- apply(x[1:8, ], 1, function(row) {
    density <- reference_density(w, t(row)[rep(1, 4001), ], z) + dnorm(z[, 1], log = TRUE)
    max(density) + log(sum(exp(density - max(density))) * 18 / 4000)
  })
  set.seed(9)
  rows <- elbo(fit, x[1:8, ], samples = 20000, by = "observation", weighted = TRUE)
  expect_equal(rows$weighted, exact, tolerance = 2e-3, ignore_attr = TRUE)
  expect_true(all(rows$weighted > rows$elbo))
})

# against the linear VAE ---------------------------------------------------------

digits <- mnist1000$x / 255

# The ELBO of a linear VAE in closed form, from coef().
linear_elbo <- function(fit, x) {
  w <- coef(fit)
  q <- reference_encode(w, x)
  mean(linear_reconstruction(x, q, w) - rowSums(reference_kl(q)))
}

test_that("a linear deep VAE reaches the linear VAE's ELBO", {
  # the global maximum, by eigen(): Lemma 1 of Lucas et al. 2019
  best <- reference_ppca(digits, 5)
  set.seed(1)
  fit <- vae(digits, 5, encoder = integer(0), latent_variance = "shared", start = "random",
             control = train_control(epochs = 1500, batch_size = 250,
                                     learning_rate = schedule_cosine(1500, 0.01, 1e-5)))
  reached <- linear_elbo(fit, digits)
  expect_lt(best$loglik / 1000 - reached, 0.1)
  expect_gt(best$loglik / 1000 - reached, 0)
  expect_equal(fit$sigma2, best$sigma2, tolerance = 2e-3)
  expect_equal(tune_sigma2(fit, digits)$sigma2, best$sigma2, tolerance = 2e-3)
  expect_equal(elbo(fit, digits, samples = 50)[["elbo"]], reached, tolerance = 5e-4)
  # Corollary 1: columns of W are the scaled principal components; KL_j is 1/2 log
  # lambda_j / sigma2
  w <- coef(fit)$output$weights
  gram <- crossprod(w)
  cosines <- gram / sqrt(outer(diag(gram), diag(gram)))
  expect_lt(max(abs(cosines[upper.tri(cosines)])), 0.1)
  expect_equal(sort(unname(fit$kl_dimensions)),
               sort(0.5 * log(best$values[1:5] / best$sigma2)), tolerance = 0.02)
})

test_that("and its collapse, where the noise variance is large", {
  set.seed(1)
  fit <- vae(digits, 10, encoder = integer(0), latent_variance = "shared", start = "random",
             sigma2 = 2, learn_sigma2 = FALSE,
             control = train_control(epochs = 600, batch_size = 250,
                                     learning_rate = schedule_cosine(600, 0.01, 1e-5)))
  lambda <- reference_ppca(digits, 10)$values[1:10]
  found <- posterior_collapse(fit, digits)$dimensions
  expect_identical(sum(found$collapsed), sum(lambda <= 2))
  expect_equal(sort(found$eigenvalue, decreasing = TRUE), lambda, tolerance = 1e-8)
  expect_identical(found$predicted, found$collapsed)
  exact <- linear_vae(digits, 10, sigma2 = 2, learn_sigma2 = FALSE, optimizer = "exact")
  expect_identical(sum(posterior_collapse(exact)$dimensions$collapsed), sum(found$collapsed))
  expect_lt(exact$elbo - linear_elbo(fit, digits), 0.1)
})

# scale --------------------------------------------------------------------------

test_that("a power of two changes units and no bit else", {
  for (noise in c("shared", "feature", "network")) {
    one <- quick_vae(x, 2, encoder = 6, noise = noise)
    other <- quick_vae(x * 2^-12, 2, encoder = 6, noise = noise)
    expect_identical(other$theta, one$theta)
    expect_identical(other$state, one$state)
    expect_identical(other$kl, one$kl)
    expect_identical(other$sigma2, one$sigma2 * 2^-24)
    expect_equal(other$elbo, one$elbo + p * log(2^12), tolerance = 1e-12)
    for (name in c("epoch", "kl", "beta", "learning_rate", "gradient_norm")) {
      expect_identical(other$history[[name]], one$history[[name]])
    }
    for (name in c("objective", "elbo", "reconstruction")) {
      expect_equal(other$history[[name]], one$history[[name]] + p * log(2^12),
                   tolerance = 1e-12)
    }
    expect_identical(other$history$sigma2, one$history$sigma2 * 2^-24)
    expect_identical(predict(other, x * 2^-12), predict(one, x))
    expect_equal(coef(other)$output$weights, coef(one)$output$weights * 2^-12,
                 tolerance = 1e-14)
  }
})

test_that("another unit moves the ELBO by its log for each feature", {
  # 1.2 keeps the power of two in which the networks work, or moves it by one: then
  # the learning rate means something else, and the first epoch's weights alone agree.
  one <- quick_vae(x, 2, encoder = 6, learning_rate = 1e-6, epochs = 1)
  for (factor in c(1.2, 1000)) {
    other <- quick_vae(x * factor, 2, encoder = 6, learning_rate = 1e-6, epochs = 1)
    # the same model on the other scale: weights by hand
    w <- coef(one)
    w$encoder[[1]]$weights <- w$encoder[[1]]$weights / factor
    w$mean$linear <- w$mean$linear / factor
    w$output <- lapply(w$output, `*`, factor)
    w$sigma2 <- w$sigma2 * factor^2
    moved <- reference_terms(w, x * factor)
    expect_equal(moved$reconstruction, reference_terms(coef(one), x)$reconstruction -
                   p * log(factor), tolerance = 1e-8)
    terms <- reference_terms(coef(other), x * factor)
    rows <- elbo(other, x * factor, samples = 300, by = "observation")
    expect_sampled(rows$reconstruction, terms$reconstruction, terms$variance, 300)
    expect_equal(other$sigma2, one$sigma2 * factor^2, tolerance = 1e-4)
  }
})

test_that("scale = TRUE is training on data divided by their standard deviations", {
  sd <- apply(x, 2, sd) * sqrt((n - 1) / n)    # divisor n, as in ppca()
  expected <- quick_vae(x / rep(sd, each = n), 2, encoder = 6)
  fit <- quick_vae(x, 2, encoder = 6, scale = TRUE)
  expect_equal(unname(fit$scale), unname(sd), tolerance = 1e-12)
  expect_equal(fit$sigma2, expected$sigma2, tolerance = 1e-5)
  expect_equal(fit$kl, expected$kl, tolerance = 1e-5)
  expect_equal(fit$elbo, expected$elbo - sum(log(sd)), tolerance = 1e-5)
  expect_equal(fit$history$elbo, expected$history$elbo - sum(log(sd)), tolerance = 1e-5)
  expect_close(predict(fit, x, type = "reconstruction"),
               predict(expected, x / rep(sd, each = n), type = "reconstruction") *
                 rep(sd, each = n))
})

test_that("the log-Jacobian of a transform enters the ELBO", {
  pixels <- mnist1000$x[1:50, 400:411] + 0.5       # not whole: no noise is added
  transform <- logit_pixels(alpha = 0.01)
  a <- 0.01 + 0.98 * pixels / 256
  y <- log(a / (1 - a))
  jacobian <- rowSums(log(0.98 / 256) - log(a) - log(1 - a))
  fit <- quick_vae(pixels, 2, encoder = 6, transform = transform)
  plain_fit <- quick_vae(y, 2, encoder = 6)
  expect_equal(fit$log_jacobian, mean(jacobian), tolerance = 1e-10)
  expect_equal(fit$elbo, plain_fit$elbo + mean(jacobian), tolerance = 1e-6)
  expect_equal(fit$elbo, fit$reconstruction - fit$kl + fit$log_jacobian, tolerance = 1e-12)
  expect_equal(fit$history$elbo, plain_fit$history$elbo + mean(jacobian), tolerance = 1e-6)
  expect_equal(fit$history$objective, plain_fit$history$objective + mean(jacobian),
               tolerance = 1e-6)
  set.seed(2)
  rows <- elbo(fit, pixels, by = "observation", weighted = TRUE)
  set.seed(2)
  expected <- elbo(plain_fit, y, by = "observation", weighted = TRUE)
  expect_equal(rows$log_jacobian, jacobian, tolerance = 1e-10)
  expect_equal(rows$elbo, expected$elbo + jacobian, tolerance = 1e-6)
  expect_equal(rows$weighted, expected$weighted + jacobian, tolerance = 1e-6)
  # reconstructions are on the scale of the pixels
  z <- reference_decode(coef(fit), reference_encode(coef(fit), y)$mean)$mean
  expected <- pmin(256, pmax(0, (1 / (1 + exp(-z)) - 0.01) / 0.98 * 256))
  expect_lt(max(abs(predict(fit, pixels, type = "reconstruction") - expected)), 1e-3)
})

test_that("missing cells count for nothing", {
  fit <- quick_vae(holes, 2, encoder = 6)
  expect_identical(fit$observed, sum(!is.na(holes)) * 1)
  means <- colMeans(holes, na.rm = TRUE)
  # what is written into missing cells does not matter to the encoder if it is the mean
  filled <- holes
  filled[is.na(holes)] <- means[col(holes)[is.na(holes)]]
  expect_equal(predict(fit, holes), predict(fit, filled), tolerance = 1e-6)
  set.seed(3)
  rows <- elbo(fit, holes, samples = 20, by = "observation")
  set.seed(3)
  whole <- elbo(fit, filled, samples = 20, by = "observation")
  expect_equal(rows$kl, whole$kl, tolerance = 1e-6)
  complete <- rowSums(is.na(holes)) == 0
  expect_equal(rows[complete, ], whole[complete, ], tolerance = 1e-6)
  expect_true(all(rows$reconstruction[!complete] != whole$reconstruction[!complete]))
})

# noise variance -----------------------------------------------------------------

test_that("sigma2_min binds where a feature never varies, and says so", {
  flat <- cbind(x, constant = 3)
  spread <- sum(sweep(flat, 2, colMeans(flat))^2) / (n * 6)
  run <- function(...) {
    warned(quick_vae(flat, 2, encoder = 6, decoder = integer(0), noise = "feature", ...))
  }
  outs <- list(
    # its noise variance falls epoch by epoch
    falls = run(sigma2_min = 0.01, sigma2_update = "gradient", epochs = 300,
                learning_rate = schedule_cosine(300, 0.02)),
    optimal = run(sigma2_min = 0.01, epochs = 100),
    # or was below from the start: the least is then a millionth of the variance of each
    # feature, or for one that has none of their mean
    starts = run(sigma2 = c(1, 16, 0.04, 1, 100, 1e-15), sigma2_update = "gradient"),
    there = run(sigma2 = c(1, 16, 0.04, 1, 100, 1e-15), sigma2_update = "gradient", epochs = 1,
                learning_rate = 1e-300),
    # and each may have a least of its own
    own = run(sigma2 = c(1, 16, 0.04, 1, 100, 1e-15), sigma2_min = c(1:5, 60) * 1e-4)
  )
  each <- 1e-6 * c(unname(colMeans(sweep(x, 2, colMeans(x))^2)), spread)
  least <- list(falls = rep(0.01, 6), optimal = rep(0.01, 6), starts = each, there = each,
                own = c(1:5, 60) * 1e-4)
  for (case in names(outs)) {
    fit <- outs[[case]]$value
    expect_equal(fit$sigma2_min, least[[case]], tolerance = 1e-6)
    expect_equal(fit$sigma2[["constant"]], least[[case]][6], tolerance = 1e-5)
    expect_true(all(fit$sigma2[1:5] > least[[case]][1:5] * 1.01))
    expect_equal(fit$floored, 1 / 6)
    expect_length(outs[[case]]$said, 1)
    ends <- unique(vapply(range(least[[case]]), format, "", digits = 3))
    expect_match(outs[[case]]$said, sprintf("sigma2_min = %s, in 16.7 %% of the cells",
                                            paste(ends, collapse = " to ")), fixed = TRUE)
    expect_output(print(fit), "which binds in 16.7 % of the cells", fixed = TRUE)
  }
  # one for all cells
  for (update in c("optimal", "gradient")) {
    out <- warned(quick_vae(x, 2, encoder = 6, sigma2 = 50, sigma2_min = 40, epochs = 20,
                            sigma2_update = update, learning_rate = 0.1))
    expect_equal(out$value$sigma2, 40, tolerance = 1e-5)
    expect_identical(out$value$floored, 1)
    expect_match(out$said, "sigma2_min = 40, in 100 % of the cells", fixed = TRUE)
  }
  # where it does not bind nothing is said
  out <- warned(quick_vae(x, 2, encoder = 6))
  expect_identical(out$said, character())
  expect_identical(out$value$floored, 0)
  out <- warned(quick_vae(x, 2, encoder = 6, sigma2 = 1e-12, learn_sigma2 = FALSE))
  expect_identical(out$said, character())
})

test_that("a noise variance from the decoder is floored cell by cell", {
  for (scale in c(FALSE, TRUE)) {
    least <- if (scale) 1.2 else 40
    fit <- warned(quick_vae(x, 2, encoder = 6, noise = "network", sigma2 = least,
                            sigma2_min = least, scale = scale, epochs = 10, beta = 1))$value
    w <- coef(fit)
    z <- unname(predict(fit, x))
    raw <- exp(affine(run_layers(z, w$decoder), w$log_sigma2))
    floor <- least * (if (scale) fit$scale^2 else rep(1, 5))
    below <- mean(raw < rep(floor, each = n))
    expect_gt(below, 0.05)
    expect_lt(below, 0.95)
    expect_equal(fit$floored, below, tolerance = 0.3)
    expect_forward_pass(fit, x)
  }
})

test_that("a fixed sigma2 stays exactly", {
  for (sigma2 in c(0.3, 7)) {
    fit <- quick_vae(x, 2, encoder = 6, sigma2 = sigma2, learn_sigma2 = FALSE)
    expect_identical(fit$sigma2, sigma2)
    expect_identical(coef(fit)$sigma2, sigma2)
    expect_equal(fit$history$sigma2, rep(sigma2, 4), tolerance = 1e-6)
    expect_identical(fit$sigma2_min, 0)
    expect_true(fit$fixed)
    expect_output(print(fit), "(fixed)", fixed = TRUE)
    expect_forward_pass(fit, x)
  }
  expect_identical(quick_vae(x, 2, encoder = 6, learn_sigma2 = FALSE)$sigma2, 1)
  each <- c(1, 16, 0.04, 1, 100)
  fit <- quick_vae(x, 2, encoder = 6, sigma2 = each, learn_sigma2 = FALSE, noise = "feature")
  expect_identical(fit$sigma2, structure(each, names = letters[1:5]))
  expect_forward_pass(fit, x)
  fit <- quick_vae(x, 2, encoder = 6, sigma2 = 2, learn_sigma2 = FALSE, noise = "feature")
  expect_identical(unname(fit$sigma2), rep(2, 5))
  fit <- quick_vae(x, 2, encoder = 6, sigma2 = each, learn_sigma2 = FALSE, noise = "network")
  to <- reference_decode(coef(fit), predict(fit, x))
  expect_equal(to$variance, matrix(each, n, p, byrow = TRUE), tolerance = 1e-5)
  expect_equal(fit$sigma2, mean(each), tolerance = 1e-5)
})

test_that("a learned sigma2 starts at that of pPCA, or where it is told", {
  # q is 2: the mean of the variances that two principal components leave
  left <- function(y) reference_ppca(y, 2)$sigma2
  # with a noise variance for each feature its unit is the power of two at or below its root mean
  # square, and pPCA is that of the features in these units
  units <- 2^floor(log2(sqrt(colMeans(sweep(x, 2, colMeans(x))^2))))
  each <- c(1, 16, 0.04, 1, 100)
  about <- c(1, 40, 0, 0, 9)
  for (start in c("linear", "random")) {
    still <- function(...) {
      quick_vae(x, 2, encoder = 6, learning_rate = 1e-300, epochs = 1, start = start,
                sigma2_update = "gradient", ...)
    }
    expect_equal(still()$sigma2, left(x), tolerance = 1e-5)
    expect_equal(still()$sigma2, ppca(x, 2)$sigma2, tolerance = 1e-5)
    expect_equal(still(sigma2 = 3)$sigma2, 3, tolerance = 1e-6)
    expect_equal(unname(still(sigma2 = each, noise = "feature")$sigma2), each, tolerance = 1e-6)
    of_each <- left(sweep(x, 2, units, "/")) * units^2
    expect_equal(unname(still(noise = "feature")$sigma2), unname(of_each), tolerance = 1e-5)
    expect_equal(still(noise = "network")$sigma2, mean(of_each), tolerance = 1e-5)
    # whatever is subtracted first: the decoder has a constant
    expect_equal(still(center = about)$sigma2, left(x), tolerance = 1e-5)
    expect_equal(still(center = FALSE)$sigma2, left(x), tolerance = 1e-5)
  }
})

# what is maximised --------------------------------------------------------------

test_that("the objective is reconstruction - beta KL, and free bits are free", {
  # A rate of 1e-300 leaves the weights: KL is then that of the fit, whatever the noise.
  still <- function(...) {
    quick_vae(x, 3, encoder = 6, learning_rate = 1e-300, epochs = 1, batch_size = NULL, ...)
  }
  for (beta in c(0, 0.5, 1, 4)) {
    fit <- still(beta = beta)
    expect_equal(fit$history$objective, fit$history$reconstruction - beta * fit$history$kl,
                 tolerance = 1e-10)
    expect_equal(fit$history$kl, fit$kl, tolerance = 1e-6)
    expect_identical(fit$history$beta, beta)
    expect_identical(fit$beta, beta)
  }
  bits <- sort(unname(fit$kl_dimensions))[2] * 1.01
  for (beta in c(0.5, 2)) {
    fit <- still(beta = beta, free_bits = bits)
    expect_equal(fit$history$objective,
                 fit$history$reconstruction - beta * sum(pmax(fit$kl_dimensions, bits)),
                 tolerance = 1e-6)
    expect_equal(fit$history$elbo, fit$history$reconstruction - fit$history$kl,
                 tolerance = 1e-10)
  }
  # where all are below, the KL does not pull
  free <- quick_vae(x, 3, encoder = 6, free_bits = 1000)
  none <- quick_vae(x, 3, encoder = 6, beta = 0)
  expect_identical(free$theta, none$theta)
  expect_false(identical(quick_vae(x, 3, encoder = 6)$theta, none$theta))
})

test_that("free bits keep dimensions in use that beta would collapse", {
  set.seed(1)
  noise <- matrix(rnorm(200 * 4), 200)
  run <- function(...) {
    quick_vae(noise, 2, encoder = 8, sigma2 = 1, learn_sigma2 = FALSE, epochs = 60,
              batch_size = 50, learning_rate = 0.01, ...)$kl_dimensions
  }
  expect_lt(max(run(beta = 2)), 0.05)
  expect_gt(min(run(beta = 2, free_bits = 0.3)), 0.15)
})

test_that("a schedule of beta is followed epoch by epoch, and its last value kept", {
  fit <- quick_vae(x, 2, encoder = 6, beta = c(0, 0.25, 1.5), epochs = 5)
  expect_identical(fit$history$beta, c(0, 0.25, 1.5, 1.5, 1.5))
  expect_identical(fit$beta, 1.5)
  expect_equal(fit$history$objective, fit$history$reconstruction -
                 fit$history$beta * fit$history$kl, tolerance = 1e-10)
  # the same as going by hand from beta to beta
  expect_identical(quick_vae(x, 2, encoder = 6, beta = c(0, 0), epochs = 3)$theta,
                   quick_vae(x, 2, encoder = 6, beta = 0, epochs = 3)$theta)
})

# optimisers ---------------------------------------------------------------------

# Steps over which the learning rate rises, see ?train_control.
rise <- 100

# States after each epoch of one step, by callback.
states <- function(..., epochs = 5) {
  seen <- list()
  keep <- function(epoch, metrics, fit) {
    seen[[epoch]] <<- list(theta = from_floats(fit$state$theta), m = from_floats(fit$state$m),
                           v = from_floats(fit$state$v), norm = metrics$gradient_norm,
                           layout = fit$layout)
    TRUE
  }
  control <- list(...)
  arguments <- control[intersect(names(control), c("optimizer", "latent_variance", "noise",
                                                   "start"))]
  control <- c(control[setdiff(names(control), names(arguments))], list(callback = keep))
  do.call(quick_vae, c(list(x, 2, encoder = 6, sigma2_update = "gradient", batch_size = Inf,
                            epochs = epochs, control = control), arguments))
  seen
}

test_that("Adam's steps are those of Kingma and Ba", {
  for (rate in c(1e-2, 0.1)) for (start in c("linear", "random")) {
    at <- states(learning_rate = rate, start = start)
    for (t in 2:5) {
      gradient <- (at[[t]]$m - 0.9 * at[[t - 1]]$m) / 0.1
      expect_equal(sqrt(sum(gradient^2)), at[[t]]$norm, tolerance = 1e-5)
      expect_equal(at[[t]]$v, 0.999 * at[[t - 1]]$v + 0.001 * gradient^2, tolerance = 1e-4)
      step <- rate * t / rise * at[[t]]$m / (1 - 0.9^t) /
        (sqrt(at[[t]]$v / (1 - 0.999^t)) + 1e-8)
      expect_equal(at[[t]]$theta, at[[t - 1]]$theta + step, tolerance = 1e-6)
    }
  }
  # after as many steps the rate is whole
  at <- states(learning_rate = 1e-3, epochs = 103)
  for (t in 98:103) {
    step <- 1e-3 * min(1, t / rise) * at[[t]]$m / (1 - 0.9^t) /
      (sqrt(at[[t]]$v / (1 - 0.999^t)) + 1e-8)
    expect_equal(at[[t]]$theta - at[[t - 1]]$theta, step, tolerance = 1e-3)
  }
})

test_that("SGD's steps are those of momentum", {
  for (momentum in c(0, 0.5, 0.9)) {
    at <- states(optimizer = "sgd", learning_rate = 1e-3, momentum = momentum)
    for (t in 2:5) {
      gradient <- at[[t]]$m - momentum * at[[t - 1]]$m
      expect_equal(sqrt(sum(gradient^2)), at[[t]]$norm, tolerance = 1e-5)
      expect_equal(at[[t]]$theta, at[[t - 1]]$theta + 1e-3 * t / rise * at[[t]]$m,
                   tolerance = 1e-6)
    }
    expect_length(at[[1]]$v, 0)
  }
})

test_that("weight decay shrinks weights, not biases or variances", {
  rate <- 0.01
  decay <- 3
  for (noise in c("shared", "network")) {
    at <- states(learning_rate = rate, weight_decay = decay, noise = noise)
    layout <- at[[1]]$layout
    weight <- unlist(lapply(seq_len(nrow(layout)), function(i) {
      biases <- layout$size[i] - layout$out[i] * layout$into[i]
      rep(c(TRUE, FALSE), c(layout$out[i] * layout$into[i], biases))
    }))
    expect_length(weight, length(at[[1]]$theta))
    for (t in 2:5) {
      now <- rate * t / rise                    # of the step and of the decay
      step <- now * at[[t]]$m / (1 - 0.9^t) / (sqrt(at[[t]]$v / (1 - 0.999^t)) + 1e-8)
      shrunk <- at[[t - 1]]$theta * ifelse(weight, 1 - now * decay, 1)
      expect_equal(at[[t]]$theta, shrunk + step, tolerance = 1e-6)
    }
  }
})

test_that("clip shortens gradients, and the history shows how long they were", {
  free <- states(optimizer = "sgd", learning_rate = 1e-3, momentum = 0)
  length_of <- function(state) sqrt(sum(state$m^2))
  norms <- vapply(free, `[[`, 0, "norm")
  limit <- mean(range(norms))
  at <- states(optimizer = "sgd", learning_rate = 1e-3, momentum = 0, clip = limit)
  for (state in at) expect_equal(length_of(state), min(limit, state$norm), tolerance = 1e-5)
  expect_identical(at[[1]]$norm, free[[1]]$norm)
  # longer than any: nothing happens
  long <- states(optimizer = "sgd", learning_rate = 1e-3, momentum = 0, clip = 1e6)
  expect_identical(long, free)
})

test_that("a learning rate's schedule is followed", {
  rate <- schedule_step(4, 0.02, every = 2)
  fit <- quick_vae(x, 2, encoder = 6, learning_rate = rate, epochs = 6)
  expect_equal(fit$history$learning_rate, c(0.02, 0.02, 0.002, 0.002, 0.002, 0.002))
})

test_that("more samples make the estimates of an epoch less noisy", {
  few <- x[1:10, ]
  # What the samples add: the distance of an epoch's estimate from its expectation, at
  # weights that differ from seed to seed.
  errors <- function(samples) {
    vapply(1:25, function(seed) {
      fit <- quick_vae(few, 2, encoder = 6, seed = seed, epochs = 1, learning_rate = 1e-300,
                       control = list(samples = samples))
      terms <- reference_terms(coef(fit), few, count = 20)
      (fit$history$reconstruction - mean(terms$reconstruction)) /
        sqrt(mean(terms$variance) / 10)
    }, 0)
  }
  expect_lt(abs(mean(errors(1)^2) - 1), 5 * sqrt(2 / 25))
  expect_lt(abs(16 * mean(errors(16)^2) - 1), 5 * sqrt(2 / 25))
})

# sizes --------------------------------------------------------------------------

test_that("batches of all rows are the full batch", {
  full <- quick_vae(x, 2, encoder = 6, batch_size = Inf)
  for (size in c(n, n + 1, 10 * n)) {
    expect_same_fit(quick_vae(x, 2, encoder = 6, batch_size = size), full)
  }
  expect_false(identical(quick_vae(x, 2, encoder = 6, batch_size = n - 1)$theta, full$theta))
  expect_equal(quick_vae(x, 2, encoder = 6, batch_size = 7)$state$steps, 4 * ceiling(n / 7))
  # by default 100
  expect_same_fit(quick_vae(x, 2, encoder = 6, batch_size = NULL), full)
  expect_equal(quick_vae(x[rep(1:n, 2), ], 2, encoder = 6, batch_size = NULL)$state$steps, 8)
})

test_that("small data and many dimensions work", {
  fit <- quick_vae(x, 9, encoder = 6)              # k > p
  expect_identical(dim(predict(fit, x)), c(60L, 9L))
  expect_identical(fit$k, 9L)
  fit <- quick_vae(x[1:2, 1:2], 1, encoder = 3)
  expect_true(is.finite(fit$elbo))
  fit <- quick_vae(x, 1, encoder = 1)
  expect_forward_pass(fit, x)
  fit <- quick_vae(x[1:3, ], 2, encoder = rep(3, 32), activation = "silu")
  # with the map beside the layers of each
  expect_identical(nrow(fit$layout), 32L + 3L + 32L + 3L)
  expect_true(is.finite(fit$elbo))
})

test_that("the fields are as documented", {
  fit <- quick_vae(x, 2, encoder = 6, decoder = 4)
  expect_identical(fit[c("n", "p", "k", "iterations", "best_epoch")],
                   list(n = 60L, p = 5L, k = 2L, iterations = 4L, best_epoch = 4L))
  expect_identical(fit$converged, NA)
  # encoder 6 (5+1), mean and log_variance 2 (6+1), decoder 4 (2+1), output 5 (4+1), sigma2,
  # and from the linear start maps of 2 x 5 and 5 x 2
  expect_equal(fit$df, 36 + 14 + 14 + 12 + 25 + 1 + 10 + 10)
  expect_equal(quick_vae(x, 2, encoder = 6, decoder = 4, learn_sigma2 = FALSE)$df, 121)
  expect_equal(quick_vae(x, 2, encoder = 6, decoder = 4, start = "random")$df, 102)
  expect_identical(nrow(fit$history), 4L)
  expect_named(fit$history, c("epoch", "objective", "elbo", "reconstruction", "kl", "sigma2",
                              "beta", "learning_rate", "gradient_norm", "seconds"))
  expect_identical(fit$history$epoch, 1:4)
  expect_equal(fit$mean, colMeans(x), tolerance = 1e-12)
})

test_that("means over cells are over the observed ones, however many rows there are", {
  # more rows than are evaluated at a time, and holes in the last of them alone
  long <- plain(model_data(600, 3, 1))
  long[513:600, 1:2] <- NA
  seen <- colSums(!is.na(long))
  each <- c(1, 4, 100)
  fit <- quick_vae(long, 1, encoder = 3, noise = "network", sigma2 = each, learn_sigma2 = FALSE)
  expect_equal(fit$sigma2, sum(seen * each) / sum(seen), tolerance = 1e-5)
  # of the features, the third is below the least variance
  floored <- warned(quick_vae(long, 1, encoder = 3, noise = "feature", sigma2 = c(1, 1, 1e-9),
                              sigma2_min = 1e-6, sigma2_update = "gradient", epochs = 1,
                              learning_rate = 1e-300))$value
  expect_equal(floored$floored, 600 / sum(seen), tolerance = 1e-6)
})

# kinds of input -----------------------------------------------------------------

test_that("a model is the same, whatever holds its data", {
  y <- round(x * 4)
  expected <- quick_vae(y, 2, encoder = 6)
  expect_same_fit(quick_vae(structure(as.integer(y), dim = dim(y), dimnames = dimnames(y)), 2,
                            encoder = 6), expected)
  expect_same_fit(quick_vae(as.data.frame(y), 2, encoder = 6), expected)
  expect_same_fit(quick_vae(~., 2, encoder = 6, data = as.data.frame(y)), expected)
  skip_if_not_installed("Matrix")
  expect_equal(essence(quick_vae(sparse_of(y), 2, encoder = 6))[c("theta", "elbo", "sigma2")],
               essence(expected)[c("theta", "elbo", "sigma2")], tolerance = 1e-5)
})

test_that("sparse data train as dense ones do", {
  skip_if_not_installed("Matrix")
  set.seed(1)
  dense_x <- matrix(rpois(60 * 8, 0.5), 60) * 1
  for (center in list(TRUE, FALSE)) for (y in list(dense_x, with_holes(dense_x))) {
    fit <- quick_vae(sparse_of(y), 2, encoder = 6, center = center, validation = 0.2)
    expected <- quick_vae(y, 2, encoder = 6, center = center, validation = 0.2)
    expect_equal(coef(fit), coef(expected), tolerance = 1e-5)
    expect_equal(fit$elbo, expected$elbo, tolerance = 1e-5)
    expect_equal(fit$history$validation, expected$history$validation, tolerance = 1e-5)
    expect_equal(predict(fit, sparse_of(y)), predict(fit, y), tolerance = 1e-6)
    set.seed(1)
    one <- elbo(fit, sparse_of(y), by = "observation")
    set.seed(1)
    expect_equal(one, elbo(fit, y, by = "observation"), tolerance = 1e-6)
    expect_equal(tune_sigma2(fit, sparse_of(y))$sigma2, tune_sigma2(fit, y)$sigma2,
                 tolerance = 0.2)
    expect_equal(residuals(fit, sparse_of(y)), residuals(fit, y), tolerance = 1e-5)
  }
})

test_that("a formula chooses the features", {
  frame <- cbind(as.data.frame(x), species)
  set.seed(1)
  fit <- vae(~ a + log(b) + d, 2, data = frame, encoder = 6, beta = 1, control = train_control(
    epochs = 4, batch_size = 10, learning_rate = 0.02))
  expected <- quick_vae(cbind(a = x[, "a"], `log(b)` = log(x[, "b"]), d = x[, "d"]), 2,
                        encoder = 6)
  expect_identical(fit$theta, expected$theta)
  expect_identical(fit$features, c("a", "log(b)", "d"))
  expect_equal(unname(predict(fit, frame)), unname(predict(expected, cbind(
    a = x[, "a"], `log(b)` = log(x[, "b"]), d = x[, "d"]))))
  expect_equal(predict(fit), predict(fit, frame))
  u <- x[, 1]
  v <- x[, 4]
  alone <- vae(~ u + v, 1, encoder = 3, control = train_control(epochs = 1))
  expect_identical(alone$features, c("u", "v"))
  expect_error(vae(~ ., 2), "`data` must be a data frame where the formula has a `.`, not NULL.",
               fixed = TRUE, class = "elbo_error")
  expect_error(vae(x, 2, data = frame), "`data` must be NULL where `x` is not a formula",
               fixed = TRUE, class = "elbo_error")
})

test_that("data that make no model are refused", {
  expect_error(vae(matrix(1, 5, 3), 1), "`x` must vary", class = "elbo_error")
  expect_error(vae(x, 2, scale = c(1, 1)), "`scale` must", class = "elbo_error")
  expect_error(vae(x, 2, condition = species[-1]),
               "`condition` must have a value for each of the 60 rows, not 59.", fixed = TRUE,
               class = "elbo_error")
  expect_error(vae(x, 2, condition = replace(species, 3, NA)), "no missing values",
               class = "elbo_error")
  expect_error(vae(x, 2, condition = replace(given, 3, Inf)), "finite", class = "elbo_error")
  expect_error(vae(x, 2, encoder = 1:33), "`encoder` must have at most 32 layers, not 33.",
               fixed = TRUE, class = "elbo_error")
  expect_error(vae(x, 2, sigma2 = 1:5), "`sigma2` must be NULL or a positive number",
               fixed = TRUE, class = "elbo_error")
  expect_error(vae(x, 2, sigma2 = 1:4, noise = "feature"), "or 5 of them", fixed = TRUE,
               class = "elbo_error")
  expect_error(vae(x, 2, validation = 0.99), "leave 2 rows or more", class = "elbo_error")
})

# memory -------------------------------------------------------------------------

test_that("a fit holds weights and what Adam knows of them, not the data", {
  big <- mnist1000$x[1:1000, ] / 255
  set.seed(1)
  fit <- vae(big, 5, encoder = 16, control = train_control(epochs = 2, batch_size = 500))
  bytes <- 4 * sum(fit$layout$size)
  # theta in the fit, theta, m and v in the state
  expect_lt(as.numeric(object.size(fit)), 4 * bytes + 150e3)
  expect_lt(length(serialize(fit, NULL)), 4 * bytes + 150e3)
  expect_lt(bytes, as.numeric(object.size(big)) / 10)
  kept <- vae(big, 5, encoder = 16, keep_data = TRUE,
              control = train_control(epochs = 1, batch_size = 500))
  expect_identical(kept$x, big)
  # best weights, where patience keeps them, are once more theta
  patient <- vae(big, 5, encoder = 16, validation = 0.1,
                 control = train_control(epochs = 2, batch_size = 500, patience = 5))
  expect_lt(as.numeric(object.size(patient)), 5 * bytes + 160e3)
})

test_that("the noise variance is that of scaled features, and coef() has that of the data", {
  set.seed(1)
  for (noise in c("shared", "feature")) {
    fit <- vae(x, 2, encoder = 4, scale = TRUE, noise = noise,
               control = train_control(epochs = 2, batch_size = 20))
    expect_equal(coef(fit)$sigma2, fit$sigma2 * apply(x, 2, function(v) sd(v) * sqrt(1 - 1 / n))^2)
    # an estimated scale is a parameter
    plain <- update(fit, scale = FALSE)
    expect_identical(fit$df, plain$df + p)
    expect_identical(update(fit, scale = rep(2, p))$df, plain$df)
  }
})

test_that("numbers that single precision does not hold are refused by name", {
  fit <- quick_vae(x, 2, encoder = 4)
  far <- replace(x, 3, 1e25)
  expect_error(predict(fit, far), "`newdata` must hold numbers that can be squared",
               class = "elbo_error")
  expect_error(interpolate_latent(fit, far[3, ], x[1, ]), "`from` must hold", class = "elbo_error")
  expect_error(vae(x, 2, validation = far), "`validation` must hold", class = "elbo_error")
  expect_error(vae(x, 2, condition = 1e20 * seq_len(n)), "`condition` must have finite numbers",
               class = "elbo_error")
  expect_error(vae(x, 2, condition = matrix(0, n, 0)), "`condition` must have at least 1 column",
               class = "elbo_error")
  # what can be said of cells that are far away is said
  far[3] <- 1e17
  bound <- elbo(quick_vae(x, 2, encoder = integer(0), latent_variance = "shared"), far,
                samples = 3, by = "observation", weighted = TRUE)
  expect_false(anyNA(bound))
})

test_that("a column that is held out whole is told apart from one without data", {
  once <- x
  once[-1, 3] <- NA
  message <- vapply(1:12, function(seed) {
    set.seed(seed)
    tryCatch({
      vae(once, 2, encoder = 4, validation = 0.5, control = train_control(epochs = 1))
      ""
    }, elbo_error = conditionMessage)
  }, "")
  expect_setequal(sub(".*(without the `validation` share).*", "\\1", message),
                  c("", "without the `validation` share"))
  expect_error(vae(replace(x, cbind(1:n, 3), NA), 2), "^`x` must have at least one observed",
               class = "elbo_error")
})
