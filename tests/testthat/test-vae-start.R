# Where a deep VAE starts, how its noise variance moves and how long it is trained.
# Expected: pPCA's likelihood, from eigen() or ppca(), against the exact expectation of the
# ELBO in plain R from coef(); rules worked out by hand; and properties.

n <- 60
p <- 5
x <- plain(model_data(n, p, 2)) %*% diag(c(1, 4, 0.2, 1, 10)) + rep(c(0, 50, 0, -3, 7), each = n)
colnames(x) <- letters[1:p]
holes <- with_holes(x)
others <- plain(model_data(20, p, 2, seed = 5)) %*% diag(c(1, 4, 0.2, 1, 10)) +
  rep(c(0, 50, 0, -3, 7), each = 20)
colnames(others) <- letters[1:p]
species <- factor(rep(c("b", "c", "a"), length.out = n))
pixels <- mnist1000$x[1:60, 400:405]

# Features that are functions of two numbers, as no linear model has them.
curved <- function(n, seed = 1) {
  set.seed(seed)
  z <- matrix(rnorm(2 * n), n)
  cbind(sin(2 * z[, 1]), z[, 1]^2, z[, 1] * z[, 2], cos(z[, 2]), z[, 2]) +
    0.1 * matrix(rnorm(5 * n), n)
}

# A fit that has made an epoch of steps too small to move a single-precision number.
at_start <- function(x, k, ..., encoder = 6) {
  set.seed(1)
  vae(x, k, encoder = encoder, ..., epochs = 1, learning_rate = 1e-12,
      sigma2_update = "gradient")
}

# The ELBO per observation of a model whose decoder is linear in z, x without gaps.
linear_elbo <- function(w, x, condition = NULL) {
  q <- reference_encode(w, x, condition)
  map <- if (is.null(w$output$linear)) w$output$weights else w$output$linear
  w$output <- list(weights = map[, seq_len(ncol(q$mean))], bias = w$output$bias)
  mean(linear_reconstruction(x, q, w)) - mean(rowSums(reference_kl(q)))
}

# At the start what hidden layers add is zero.
expect_linear <- function(w) {
  added <- c(w$mean$weights, w$output$weights,
             if (is.list(w$log_variance)) w$log_variance$weights)
  expect_lt(max(abs(added)), 1e-9)
}

per_row <- function(fit) as.numeric(logLik(fit)) / fit$n

# the linear start ----------------------------------------------------------------

test_that("with a noise variance for each feature it starts at the likelier linear model", {
  each <- c(1, 16, 0.04, 1, 100)
  # of x / sqrt(sigma2_j) the noise variance is 1
  exact <- ppca(sweep(x, 2, sqrt(each), "/"), 2, sigma2 = 1)
  fit <- at_start(x, 2, noise = "feature", sigma2 = each, learn_sigma2 = FALSE)
  expect_equal(linear_elbo(coef(fit), x), per_row(exact) - sum(log(each)) / 2, tolerance = 1e-5)
  flowers <- as.matrix(iris[1:4])
  for (data in list(flowers, x, sweep(flowers, 2, 10^(0:3), "*"))) {
    likelihood <- linear_elbo(coef(at_start(data, 2, noise = "feature")), data)
    units <- 2^floor(log2(apply(data, 2, sd)))
    own <- per_row(ppca(sweep(data, 2, units, "/"), 2)) - sum(log(units))
    expect_equal(likelihood, max(own, per_row(ppca(data, 2))), tolerance = 1e-5)
  }
})

test_that("a sigma2 that is fixed is 1 where none is given, also for the start", {
  fit <- at_start(x, 2, learn_sigma2 = FALSE)
  expect_identical(fit$sigma2, 1)
  expect_equal(linear_elbo(coef(fit), x), per_row(ppca(x, 2, sigma2 = 1)), tolerance = 1e-5)
})

test_that("the least sigma2 leaves room below that of pPCA, whatever the features' units", {
  fit <- at_start(state.x77, 3)
  exact <- ppca(state.x77, 3)
  expect_equal(linear_elbo(coef(fit), state.x77), per_row(exact), tolerance = 1e-4)
  expect_equal(fit$sigma2_min, 0.01 * exact$sigma2, tolerance = 1e-6)
})

test_that("the plain call does not end below the linear model", {
  # each of these did, where it ended with the epochs found on rows set aside
  calls <- list(list(stackloss, 2, 3), list(scale(longley), 2, 4), list(LifeCycleSavings, 2, 2))
  for (call in calls) {
    set.seed(call[[3]])
    fit <- suppressWarnings(vae(call[[1]], call[[2]], encoder = 64))
    expect_gt(fit$elbo, fit$linear$loglik - elbo_error(fit))
  }
})

test_that("training starts at pPCA's likelihood", {
  expect_starts <- function(fit, exact, x, condition = NULL) {
    w <- coef(fit)
    expect_linear(w)
    expect_equal(linear_elbo(w, x, condition), per_row(exact), tolerance = 1e-5)
    expect_equal(fit$linear$loglik, per_row(exact), tolerance = 1e-8)
    expect_equal(fit$linear$sigma2, exact$sigma2, tolerance = 1e-8)
    expect_equal(unname(w$sigma2) + numeric(ncol(x)),
                 exact$sigma2 * (if (is.null(exact$scale)) 1 else unname(exact$scale)^2) +
                   numeric(ncol(x)), tolerance = 1e-6)
    expect_equal(unname(tcrossprod(w$output$linear[, seq_len(fit$k)])),
                 unname(tcrossprod(exact$loadings * (if (is.null(exact$scale)) 1 else
                   exact$scale))), tolerance = 1e-4,
                 ignore_attr = TRUE)
  }
  expect_starts(at_start(x, 2), ppca(x, 2), x)
  expect_starts(at_start(x, 2, latent_variance = "shared"), ppca(x, 2), x)
  expect_starts(at_start(x, 1, encoder = c(7, 3), activation = "tanh"), ppca(x, 1), x)
  expect_starts(at_start(x, 2, scale = TRUE), ppca(x, 2, scale = TRUE), x)
  # the decoder has a constant, whatever is subtracted first
  expect_starts(at_start(x, 2, center = FALSE), ppca(x, 2), x)
  expect_starts(at_start(x + 3, 2, center = 1:5), ppca(x, 2), x + 3)
  expect_starts(at_start(x, 2, condition = species), ppca(x, 2), x, species)
  expect_starts(at_start(x, 2, condition = cbind(1:60, 60:1) / 30), ppca(x, 2), x,
                cbind(1:60, 60:1) / 30)
  wide <- plain(model_data(12, 30, 3))
  expect_starts(at_start(wide, 3), ppca(wide, 3), wide)
})

test_that("without hidden layers the heads are the maps", {
  fit <- at_start(x, 2, encoder = integer(0))
  w <- coef(fit)
  expect_null(w$output$linear)
  expect_null(w$mean$linear)
  expect_equal(linear_elbo(w, x), per_row(ppca(x, 2)), tolerance = 1e-5)
  # of one chain alone
  w <- coef(at_start(x, 2, encoder = integer(0), decoder = 6))
  expect_null(w$mean$linear)
  expect_lt(max(abs(w$output$weights)), 1e-9)
  expect_equal(linear_elbo(w, x), per_row(ppca(x, 2)), tolerance = 1e-5)
})

test_that("of more dimensions than pPCA can have the others start collapsed", {
  fit <- at_start(x, 8)
  w <- coef(fit)
  expect_identical(fit$linear$k, 4L)
  expect_equal(linear_elbo(w, x), per_row(ppca(x, 4)), tolerance = 1e-5)
  expect_equal(fit$linear$loglik, per_row(ppca(x, 4)), tolerance = 1e-8)
  q <- reference_encode(w, x)
  expect_true(all(reference_kl(q)[, 5:8] == 0))
  expect_output(print(fit), "Linear model with k = 4, the most it can have (pPCA)", fixed = TRUE)
})

test_that("nor can pPCA have as many as the rank of the data", {
  # 10 rows have 9 eigenvalues, of which one is left as noise
  wide <- plain(model_data(10, 30, 2))
  for (k in c(8, 20)) {
    fit <- at_start(wide, k)
    expect_identical(fit$linear$k, 8L)
    expect_equal(linear_elbo(coef(fit), wide), reference_ppca(wide, 8)$loglik / 10,
                 tolerance = 1e-4)
  }
  # features that repeat others: a rank of 2
  twice <- cbind(x[, 1:2], x[, 1:2])
  fit <- at_start(twice, 3)
  expect_identical(fit$linear$k, 1L)
  expect_equal(linear_elbo(coef(fit), twice), reference_ppca(twice, 1)$loglik / n,
               tolerance = 1e-5)
})

test_that("the encoder starts as the exact posterior, dimensions by their size", {
  # N(M^-1 W'(x - mu), sigma2 M^-1), M = W'W + sigma2 I, which is diagonal
  best <- reference_ppca(x, 2)
  fit <- at_start(x, 2)
  loadings <- unname(coef(fit)$output$linear)
  gram <- crossprod(loadings)
  expect_lt(abs(gram[1, 2]), 1e-4 * gram[1, 1])
  expect_gt(gram[1, 1], gram[2, 2])
  m <- gram + best$sigma2 * diag(2)
  q <- posterior(fit, x)
  expect_equal(unname(q$mean), unname(sweep(x, 2, colMeans(x)) %*% loadings %*% solve(m)),
               tolerance = 1e-4)
  expect_equal(unname(q$variance), matrix(best$sigma2 / diag(m), n, 2, byrow = TRUE),
               tolerance = 1e-4)
})

test_that("a transform's log-Jacobian counts for the linear model, too", {
  grey <- pixels + 0.5                          # not whole: no noise is added
  transform <- logit_pixels(0.01)
  fit <- at_start(grey, 2, transform = transform)
  exact <- ppca(grey, 2, transform = transform)
  a <- 0.01 + 0.98 * grey / 256
  expect_equal(linear_elbo(coef(fit), log(a / (1 - a))) + fit$log_jacobian, per_row(exact),
               tolerance = 1e-5)
  expect_equal(fit$linear$loglik, per_row(exact), tolerance = 1e-8)
  # d logit(a(x)) / dx, by hand
  expect_equal(fit$log_jacobian, mean(rowSums(log(0.98 / 256) - log(a) - log(1 - a))),
               tolerance = 1e-10)
})

test_that("at a given sigma2 and beta the start maximises what is maximised", {
  # Lucas et al. 2019: W = U (Lambda - s I)^(1/2), D = s / Lambda, s = beta sigma2
  s <- cov(x) * (n - 1) / n
  e <- eigen(s, symmetric = TRUE)
  for (beta in c(1, 3)) for (sigma2 in c(0.5, 2)) {
    fit <- at_start(x, 2, sigma2 = sigma2, learn_sigma2 = FALSE, beta = beta)
    w <- coef(fit)
    noise <- beta * sigma2
    expect_true(all(e$values[1:2] > noise))
    loadings <- e$vectors[, 1:2] %*% diag(sqrt(e$values[1:2] - noise))
    expect_equal(unname(tcrossprod(w$output$linear)), tcrossprod(loadings), tolerance = 1e-5)
    expect_equal(sort(exp(unname(w$log_variance$bias))), sort(noise / e$values[1:2]),
                 tolerance = 1e-5)
    expect_identical(w$sigma2, sigma2)
  }
  # a schedule: of its last value
  fit <- suppressWarnings(at_start(x, 2, sigma2 = 0.5, learn_sigma2 = FALSE, beta = c(0.1, 3)))
  same <- at_start(x, 2, sigma2 = 0.5, learn_sigma2 = FALSE, beta = 3)
  expect_identical(coef(fit)$output, coef(same)$output)
})

test_that("where the KL has no weight there is no optimum, and the start is pPCA's", {
  fit <- at_start(x, 2, sigma2 = 1, beta = 0)
  expect_equal(fit$linear$loglik, per_row(ppca(x, 2)), tolerance = 1e-8)
  expect_equal(unname(tcrossprod(coef(fit)$output$linear)), tcrossprod(reference_ppca(x, 2)$w),
               tolerance = 1e-5)
  expect_equal(fit$sigma2, 1, tolerance = 1e-6)
})

test_that("with missing cells the decoder starts at EM's solution", {
  fit <- at_start(holes, 2)
  w <- coef(fit)
  expect_linear(w)
  cov <- tcrossprod(w$output$linear) + w$sigma2 * diag(p)
  found <- mean(vapply(seq_len(n), function(i) {
    seen <- which(!is.na(holes[i, ]))
    d <- holes[i, seen] - w$output$bias[seen]
    c <- cov[seen, seen, drop = FALSE]
    -0.5 * (length(seen) * log(2 * pi) + determinant(c)$modulus[[1]] + sum(d * solve(c, d)))
  }, 1))
  exact <- ppca(holes, 2, control = em_control(tol = 1e-10, maxit = 5000))
  expect_lt(abs(found - per_row(exact)), 0.01)
  expect_lt(abs(fit$linear$loglik - per_row(exact)), 0.01)
})

test_that("with noise of its own for each feature the start is that of the scaled features", {
  fit <- at_start(x, 2, noise = "feature")
  w <- coef(fit)
  expect_linear(w)
  # features are divided by u, powers of two
  y <- scale(x, TRUE, fit$u)
  exact <- ppca(y, 2)
  expect_equal(unname(w$sigma2), unname(exact$sigma2 * fit$u^2), tolerance = 1e-5)
  expect_equal(linear_elbo(w, x), per_row(exact) - sum(log(fit$u)), tolerance = 1e-5)
})

test_that("the random start has pPCA's noise variance, and no maps", {
  fit <- at_start(x, 2, start = "random")
  expect_null(coef(fit)$output$linear)
  expect_null(coef(fit)$mean$linear)
  expect_equal(fit$sigma2, ppca(x, 2)$sigma2, tolerance = 1e-6)
  expect_equal(fit$linear$loglik, per_row(ppca(x, 2)), tolerance = 1e-8)
})

test_that("the linear model of validation data is pPCA's", {
  fit <- at_start(x, 2, validation = others)
  expected <- mean(logLik(ppca(x, 2), others, by = "observation"))
  expect_equal(fit$linear$validation, expected, tolerance = 1e-8)
})

test_that("so is that of rows that were held out, or that have gaps", {
  fit <- at_start(x, 2, validation = 0.3)
  theta <- marginal(ppca(x[-fit$held_out, ], 2))
  held <- mean(log_density(x[fit$held_out, ], theta$mean, theta$cov))
  expect_equal(fit$linear$validation, held, tolerance = 1e-8)
  expect_equal(fit$linear$loglik, per_row(ppca(x[-fit$held_out, ], 2)), tolerance = 1e-8)
  expect_output(print(fit), sprintf("of the validation data %s", format(held, digits = 7)),
                fixed = TRUE)
  gaps <- with_holes(others, 0.3)
  theta <- marginal(ppca(x, 2))
  expect_equal(at_start(x, 2, validation = gaps)$linear$validation,
               mean(log_density(gaps, theta$mean, theta$cov)), tolerance = 1e-8)
})

test_that("from the linear solution training gains, or stays where there is nothing to gain", {
  y <- curved(300)
  set.seed(1)
  fit <- vae(y, 2, encoder = 32, epochs = 100, batch_size = 50,
             learning_rate = schedule_cosine(100, 0.01))
  expect_gt(fit$elbo, reference_ppca(y, 2)$loglik / 300 + 0.5)
  set.seed(1)
  fit <- vae(x, 2, encoder = integer(0), latent_variance = "shared", epochs = 200,
             learning_rate = schedule_cosine(200, 1e-3))
  expect_lt(abs(linear_elbo(coef(fit), x) - reference_ppca(x, 2)$loglik / n), 0.05)
})

# units ----------------------------------------------------------------------------

test_that("units are powers of two at or below the root mean square", {
  near <- function(u, size) {
    expect_identical(log2(u), round(log2(u)))
    expect_true(all(u / size <= 1 + 1e-12 & u / size > 0.5))
  }
  centred <- scale(x, TRUE, FALSE)
  for (factor in c(1, 1e-6, 7e5)) {
    near(at_start(x * factor, 2)$u, factor * sqrt(mean(centred^2)))
    near(at_start(x * factor, 2, noise = "feature")$u, factor * sqrt(colMeans(centred^2)))
  }
  near(at_start(x, 2, noise = "network")$u, sqrt(colMeans(centred^2)))
  near(at_start(x, 2, center = FALSE)$u, sqrt(mean(x^2)))
  seen <- !is.na(holes)
  around <- scale(holes, TRUE, FALSE)
  near(at_start(holes, 2)$u, sqrt(sum(around^2, na.rm = TRUE) / sum(seen)))
  near(at_start(holes, 2, noise = "feature")$u, sqrt(colMeans(around^2, na.rm = TRUE)))
})

test_that("features whose variances differ by 1e9 have noise variances of their order", {
  set.seed(1)
  money <- data.frame(share = runif(300), income = rlnorm(300, 10, 1))
  variance <- c(var(money$share), var(money$income))
  for (noise in c("feature", "network")) {
    set.seed(1)
    fit <- vae(money, 1, encoder = 8, noise = noise, epochs = 60)
    # with the decoder's noise its mean over the cells of each feature
    sigma2 <- if (noise == "feature") fit$sigma2 else {
      z <- predict(fit, money)
      floor <- fit$sigma2_min
      colMeans(reference_decode(coef(fit), z, floor = floor)$variance)
    }
    expect_true(all(sigma2 < 1.5 * variance & sigma2 > 1e-3 * variance), label = noise)
    expect_equal(unname(fit$sigma2_min), 1e-6 * variance * 299 / 300, tolerance = 1e-6)
  }
})

# the noise variance ---------------------------------------------------------------

test_that("in closed form sigma2 ends near its optimum, where the gradient lags", {
  y <- curved(400)
  end <- function(update, ...) {
    set.seed(1)
    fit <- vae(y, 2, encoder = 24, start = "random", sigma2_update = update, epochs = 100,
               batch_size = 50, learning_rate = schedule_cosine(100, 1e-4), ...)
    set.seed(2)
    list(sigma2 = unname(fit$sigma2), tuned = unname(tune_sigma2(fit, y, samples = 20)$sigma2))
  }
  for (noise in c("shared", "feature")) {
    optimal <- end("optimal", noise = noise)
    expect_true(all(abs(log(optimal$sigma2 / optimal$tuned)) < 0.2), label = noise)
    gradient <- end("gradient", noise = noise)
    expect_gt(max(abs(log(gradient$sigma2 / gradient$tuned))), 0.5)
  }
})

test_that("so it does for the full batch, scaled features and missing cells", {
  y <- curved(300)
  gap <- function(data, ...) {
    set.seed(1)
    fit <- vae(data, 2, encoder = 24, epochs = 100, ...)
    max(abs(log(fit$sigma2 / tune_sigma2(fit, data, samples = 50)$sigma2)))
  }
  # of 1,500 cells with a z each
  expect_lt(gap(y, batch_size = Inf), 0.1)
  expect_lt(gap(y, batch_size = 50, scale = TRUE), 0.1)
  expect_lt(gap(with_holes(y, 0.3), batch_size = 50), 0.15)
})

test_that("it moves by a running mean over the steps of an epoch, of 10 to 100", {
  rate <- function(batch, n = 200, beta = 1, epoch = 1, ...) {
    asked <- modifyList(list(learn_sigma2 = TRUE, sigma2_update = "optimal", beta = beta),
                        list(...))
    noise_share(list(asked = asked, n = n), list(batch_size = batch), epoch)
  }
  expect_identical(rate(200), 1 / 10)
  expect_identical(rate(20), 1 / 10)
  expect_identical(rate(15), 1 / 14)
  expect_identical(rate(100, n = 60000), 1 / 100)
  expect_identical(rate(50, learn_sigma2 = FALSE), 0)
  expect_identical(rate(50, sigma2_update = "gradient"), 0)
  found <- vapply(1:4, function(epoch) rate(50, beta = c(0.1, 0.5, 1), epoch = epoch), 0)
  expect_identical(found, c(0, 0, 1, 1) / 10)
})

test_that("in closed form sigma2 stays as it is while the weight of the KL changes", {
  set.seed(1)
  fit <- vae(x, 2, encoder = 6, beta = schedule_warmup(8), epochs = 12, batch_size = 20)
  start <- ppca(x, 2)$sigma2
  expect_equal(fit$history$sigma2[1:7], rep(start, 7), tolerance = 1e-6)
  expect_true(all(diff(fit$history$sigma2[7:12]) != 0))
  # a weight that is not 1 is a last value as good as any
  set.seed(1)
  fit <- vae(x, 2, encoder = 6, beta = c(1, 1, 2), epochs = 4, batch_size = 20)
  expect_equal(fit$history$sigma2[1:2], rep(start, 2), tolerance = 1e-6)
  expect_true(all(diff(fit$history$sigma2[2:4]) != 0))
})

test_that("sigma2 moves by default in closed form, from a random start by its gradient", {
  of <- function(...) at_start_update(...)$arguments$sigma2_update
  at_start_update <- function(...) vae(x, 2, encoder = 3, epochs = 1, ...)
  expect_identical(of(), "optimal")
  expect_identical(of(start = "random"), "gradient")
  expect_identical(of(start = "random", sigma2_update = "optimal"), "optimal")
  expect_identical(of(noise = "network"), "gradient")
  expect_error(of(noise = "network", sigma2_update = "optimal"), "`sigma2_update` must be",
               class = "elbo_error")
})

test_that("by gradient sigma2 has a learning rate of its own", {
  # one step of gradient ascent, proportional to its rate
  moved <- function(rate, noise) {
    set.seed(1)
    fit <- vae(x, 2, encoder = 3, start = "random", sigma2 = 1, noise = noise,
               optimizer = "sgd", epochs = 1, batch_size = Inf, learning_rate = 0.1,
               control = train_control(sigma2_rate = rate))
    list(noise = log(unname(fit$sigma2)), weights = coef(fit)$output)
  }
  for (noise in c("shared", "feature")) {
    whole <- moved(1, noise)
    expect_true(all(abs(whole$noise) > 1e-5))
    for (rate in c(0.25, 3)) {
      part <- moved(rate, noise)
      expect_equal(part$noise, rate * whole$noise, tolerance = 0.01)
      expect_identical(part$weights, whole$weights)
    }
  }
})

test_that("update() chooses anew how sigma2 is learned where the call did not say", {
  set.seed(1)
  fit <- vae(x, 2, encoder = 3, epochs = 1)
  expect_identical(update(fit, noise = "network")$arguments$sigma2_update, "gradient")
  expect_identical(update(fit, start = "random")$arguments$sigma2_update, "gradient")
  fit <- vae(x, 2, encoder = 3, epochs = 1, sigma2_update = "optimal")
  expect_identical(update(fit, start = "random")$arguments$sigma2_update, "optimal")
  expect_error(update(fit, noise = "network"), "`sigma2_update` must be \"gradient\"",
               class = "elbo_error")
})

# how long -------------------------------------------------------------------------

test_that("a run shorter than its warm-up says so", {
  train <- function(beta, epochs, ...) {
    set.seed(1)
    warned(vae(x, 2, encoder = 3, beta = beta, epochs = epochs, ...))
  }
  # 0.1, 0.2, ..., 1
  short <- train(schedule_warmup(10, 0.1), 4)
  expect_identical(short$said, paste(
    "The final weight of the KL, `beta` = 1, was never reached: the run ended after 4 of the 9",
    "epochs before it. Give `epochs` of 10 or more, or a shorter schedule."))
  expect_match(train(c(0.5, 2), 1)$said, "`beta` = 2, was never reached: the run ended after 1 of the 1",
               fixed = TRUE)
  expect_match(train(schedule_warmup(10, 0.1), 9)$said, "after 9 of the 9 epochs before it")
  expect_length(train(schedule_warmup(10, 0.1), 10)$said, 0)
  expect_length(train(0.5, 3)$said, 0)
  # who stops it knows
  expect_length(train(schedule_warmup(10), 4,
                      control = train_control(callback = function(...) FALSE))$said, 0)
  expect_length(warned(update(short$value, epochs = 10))$said, 0)
  expect_match(warned(update(short$value, epochs = 5))$said, "after 5 of the 9 epochs")
})

test_that("patience waits for the end of a warm-up", {
  # the ELBO of the validation data falls in every epoch
  falling <- function(beta, ...) {
    at <- 0
    with_function("validation_rows", function(...) {
      at <<- at + 1
      -at
    }, suppressWarnings(vae(x, 2, encoder = 3, beta = beta, validation = others,
                            control = train_control(patience = 3), ...)))
  }
  fit <- falling(1)
  expect_identical(c(fit$best_epoch, fit$iterations), c(0L, 4L))
  fit <- falling(schedule_warmup(8))             # weight 1 from epoch 8 on
  expect_identical(c(fit$best_epoch, fit$iterations), c(8L, 11L))
  expect_true(fit$converged)
  # a run that ends before has its last weights
  fit <- falling(schedule_warmup(8), epochs = 5)
  expect_identical(c(fit$best_epoch, fit$iterations), c(5L, 5L))
  expect_identical(fit$theta, fit$state$theta)
})

test_that("settings that are not given count steps", {
  chosen <- function(n, validated = FALSE, ...) {
    training_defaults(train_control(...), n, validated)[c("batch_size", "epochs", "patience")]
  }
  expect_identical(chosen(60), list(batch_size = 60L, epochs = 2000L, patience = NULL))
  expect_identical(chosen(250)$epochs, 667L)                   # of 3 steps
  expect_identical(chosen(1000), list(batch_size = 100L, epochs = 200L, patience = NULL))
  expect_identical(chosen(30000)$epochs, 150L)                 # 45,000 steps
  expect_identical(chosen(60000)$epochs, 84L)                  # 50,000 steps
  expect_identical(chosen(1e6)$epochs, 5L)
  expect_identical(chosen(1e8)$epochs, 1L)
  expect_identical(chosen(1000, batch_size = 500)$epochs, 1000L)
  expect_identical(chosen(1000, batch_size = Inf)[1:2], list(batch_size = 1000L, epochs = 2000L))
  expect_identical(chosen(60, TRUE)$patience, 300L)
  expect_identical(chosen(1000, TRUE)$patience, 30L)
  expect_identical(chosen(60000, TRUE)$patience, 10L)
  expect_null(chosen(1000, TRUE, epochs = 5)$patience)
  expect_identical(chosen(1000, TRUE, patience = 7)$patience, 7L)
  rate <- training_defaults(train_control(), 1000, FALSE)$learning_rate
  expect_identical(rate, schedule_cosine(200, 1e-3))
  expect_equal(rate[c(1, 200)], c(1e-3, 1e-5))
  expect_identical(training_defaults(train_control(learning_rate = 0.1), 9, TRUE)$learning_rate,
                   0.1)
})

test_that("settings are taken beside `control`, and count for more", {
  train <- function(...) {
    set.seed(1)
    vae(x, 2, encoder = 3, ...)
  }
  expect_same_fit(train(epochs = 2, batch_size = 20, learning_rate = 0.01),
                  train(control = train_control(2, 20, 0.01)))
  expect_same_fit(train(epochs = 3, control = train_control(2, 20, 0.01)),
                  train(control = train_control(3, 20, 0.01)))
  expect_identical(train(epochs = 1, batch_size = Inf)$control$batch_size, 60L)
  expect_error(train(epochs = 0), "`epochs` must be", class = "elbo_error")
  expect_error(train(batch_size = 0), "`batch_size` must be", class = "elbo_error")
  expect_error(train(learning_rate = -1), "`learning_rate` must be", class = "elbo_error")
})

test_that("with validation data and no epochs training stops where these say so", {
  y <- curved(300)
  held <- curved(100, seed = 2)
  set.seed(1)
  fit <- vae(y, 2, encoder = 16, validation = held, batch_size = 10, beta = 1)
  expect_true(fit$converged)
  expect_identical(fit$stopped, "converged")
  expect_null(fit$search)
  expect_identical(fit$best_epoch, which.max(fit$history$validation))
  expect_identical(fit$iterations, fit$best_epoch + 10L)             # patience
  expect_gt(max(fit$history$validation), fit$linear$validation + 0.3)
  expect_false(identical(fit$theta, fit$state$theta))
  # at a rate that spoils it the start is best
  set.seed(1)
  fit <- vae(x, 2, encoder = 16, validation = others, batch_size = 10, learning_rate = 5,
             beta = 1)
  expect_identical(c(fit$best_epoch, fit$iterations), c(0L, 51L))    # the first, and 300 steps
  expect_linear(coef(fit))
  expect_equal(linear_elbo(coef(fit), x), per_row(ppca(x, 2)), tolerance = 1e-5)
  expect_output(print(fit), "weights of epoch 0, the best, stopped early", fixed = TRUE)
})

# The waits that patience counts, and the best epochs, as epochs have these scores.
follow <- function(scores, beta) {
  state <- list(theta = "start", best = list(theta = "start", epoch = 0L, score = 0), idle = 0L)
  waits <- bests <- integer()
  for (score in scores) {
    state$epoch <- length(waits) + 1L
    state <- score_epoch(list(asked = list(beta = beta)), state, list(elbo = score),
                         list(patience = 3))$state
    waits <- c(waits, state$idle)
    bests <- c(bests, state$best$epoch)
  }
  list(waits = waits, bests = bests)
}

test_that("patience lasts while epochs gain, if less than the start has", {
  expect_identical(follow(c(-5, -4, -6, -4, NaN, -3, 1, 0.5), beta = 1),
                   list(waits = c(0L, 0L, 1L, 2L, 3L, 0L, 0L, 1L),
                        bests = c(0L, 0L, 0L, 0L, 0L, 0L, 7L, 7L)))
})

test_that("patience waits until beta has its last value; the best may come while it falls", {
  scores <- c(-5, 2, -6, -7, -8, -9, 1)
  expect_identical(follow(scores, beta = c(3, 3, 2, 1)),
                   list(waits = c(0L, 0L, 0L, 0L, 1L, 2L, 0L),
                        bests = c(0L, 2L, 2L, 2L, 2L, 2L, 2L)))
  # while it rises no epoch counts
  expect_identical(follow(scores, beta = c(0.1, 0.1, 0.5, 1)),
                   list(waits = c(0L, 0L, 0L, 0L, 1L, 2L, 0L),
                        bests = c(0L, 0L, 0L, 0L, 0L, 0L, 7L)))
})

test_that("the rows set aside are a tenth, between ten and a thousand", {
  expect_identical(vapply(c(2, 9, 10, 39, 40, 100, 101, 250, 9999, 1e4, 1e6), rows_aside, 1),
                   c(0, 0, 2, 9, 10, 10, 11, 25, 1000, 1000, 1000))
})

test_that("the number of epochs is the least within a standard error of the best", {
  fewest <- function(..., good = TRUE) {
    scores <- list(...)
    fewest_epochs(scores, rep_len(good, length(scores)))
  }
  # two rows: differences from the best have a standard error of |d1 - d2| / 2
  best <- c(-1, -1)
  expect_identical(fewest(best - 3, best, best - 1), 1L)
  expect_identical(fewest(best, best - 1), 0L)
  # a mean of 1 below, and standard errors of 2 and 0.5
  expect_identical(fewest(best - c(-1, 3), best), 0L)
  expect_identical(fewest(best - c(0.5, 1.5), best), 1L)
  expect_identical(fewest(best - 9, best - c(0.5, 1.5), best - c(-1, 3), best), 2L)
  # what is not finite is no candidate
  expect_identical(fewest(c(NaN, 1), best, best), 1L)
  expect_identical(fewest(c(-Inf, 1), best - 1, best), 2L)
  # nor what is not good, be it the best
  expect_identical(fewest(best, best - 3, best - 2, best - 4, good = c(FALSE, TRUE, TRUE, TRUE)),
                   2L)
  expect_identical(fewest(best, best - c(-1, 3), best, good = c(FALSE, TRUE, TRUE)), 1L)
})

test_that("training ends after the warm-up, where the rows trained on reach the linear model", {
  # of each epoch the mean over those that are at most 5 away
  of <- function(elbo, ..., beta = 1, start = "linear", observed = 10, loglik = -3) {
    good <- epochs_to_end_with(list(
      iterations = length(elbo), arguments = list(beta = beta, start = start), n = 5L, p = 2L,
      observed = observed, linear = list(loglik = loglik), history = data.frame(elbo = elbo)))
    which(good) - 1L
  }
  flat <- rep(-2, 6)
  expect_identical(of(flat), 0:6)
  expect_identical(of(flat, start = "random"), 1:6)
  expect_identical(of(flat, observed = 9), 1:6)
  expect_identical(of(flat, beta = c(0.1, 0.5, 1)), 3:6)
  # -10 in the first epoch: means are -20 / 6 with it and -2 without
  expect_identical(of(c(-10, rep(-2, 6)), start = "random"), 7L)
  expect_identical(of(c(-10, rep(-2, 6))), c(0L, 7L))
  # none reaches it, or it is not known: all after the warm-up
  expect_identical(of(flat - 5, start = "random", beta = c(0.5, 1)), 2:6)
  expect_identical(of(flat - 5, start = "random", loglik = NA), 0:6)
})

# small enough that a search takes a moment
searched <- function(x, k = 2, ..., encoder = 4) {
  set.seed(1)
  vae(x, k, encoder = encoder, batch_size = 10, keep_data = TRUE,
      control = train_control(patience = 5), ...)
}

test_that("without epochs these are found on rows set aside, and then all are trained on", {
  y <- curved(100)
  fit <- searched(y, encoder = 16)
  expect_identical(nobs(fit), 100L)
  expect_identical(fit$held_out, integer(0))
  expect_identical(fit$search$rows, 10)
  expect_identical(fit$search$best_epoch, fit$iterations)
  expect_gt(fit$iterations, 0)
  expect_gte(fit$search$epochs, fit$iterations)
  expect_identical(nrow(fit$search$history), fit$search$epochs)
  expect_equal(fit$mean, colMeans(y), tolerance = 1e-10)
  expect_same_fit(searched(y, encoder = 16), fit)
  expect_output(print(fit), "The epochs were chosen on 10 rows, set aside in")
  # the same fit as one that is told its epochs, and the schedules of the search
  set.seed(1)
  told <- vae(y, 2, encoder = 16, batch_size = 10, epochs = fit$iterations,
              beta = fit$arguments$beta, learning_rate = fit$control$learning_rate)
  expect_identical(told$theta, fit$theta)
  expect_identical(told$elbo, fit$elbo)
  expect_null(told$search)
  # no rows to set aside
  set.seed(1)
  few <- vae(x[1:9, ], 1, encoder = 2, learning_rate = 1e-4)
  expect_null(few$search)
  expect_identical(few$iterations, 2000L)
})

test_that("where rows set aside are few among the rows, they stay aside", {
  set.seed(1)
  many <- matrix(rnorm(20100 * 2), ncol = 2)
  fit <- vae(many, 1, encoder = 2, batch_size = 1000, control = train_control(patience = 1))
  expect_null(fit$search)
  expect_length(fit$held_out, 1000)
  expect_identical(nobs(fit), 19100L)
  expect_identical(fit$stopped, "converged")
})

test_that("where the start is best the fit is the linear solution, and works", {
  fit <- searched(x, learning_rate = 5)
  expect_identical(c(fit$search$best_epoch, fit$iterations), c(0L, 0L))
  expect_linear(coef(fit))
  expect_equal(linear_elbo(coef(fit), x), per_row(ppca(x, 2)), tolerance = 1e-5)
  expect_identical(nobs(fit), 60L)
  expect_output(print(fit), "the linear solution, where training starts, was best")
  expect_length(training_advice(fit), 0)
  expect_output(print(summary(fit)), "0 epochs", fixed = TRUE)
  expect_identical(dim(predict(fit, x)), c(60L, 2L))
})

test_that("update() after a search goes on, and fits anew as was asked", {
  y <- curved(100)
  fit <- searched(y, encoder = 8, beta = 1)
  more <- update(fit, epochs = fit$iterations + 2)
  expect_identical(more$iterations, fit$iterations + 2L)
  set.seed(1)
  told <- vae(y, 2, encoder = 8, batch_size = 10, epochs = fit$iterations + 2,
              beta = 1, learning_rate = fit$control$learning_rate)
  expect_identical(more$theta, told$theta)
  expect_null(fit$given$epochs)
  set.seed(1)
  expect_same_fit(update(fit, k = 1), searched(y, 1, encoder = 8, beta = 1))
})

test_that("vae(resume =) takes epochs beside the checkpoint", {
  path <- tempfile(fileext = ".rds")
  train <- function(epochs, ...) {
    set.seed(1)
    vae(x, 2, encoder = 4, epochs = epochs, learning_rate = 0.01, beta = 1,
        control = train_control(...))
  }
  train(3, checkpoint = path)
  whole <- train(6)
  expect_same_fit(vae(x, resume = path, epochs = 6), whole)
  train(3, checkpoint = path)
  expect_same_fit(vae(x, resume = path, control = train_control(epochs = 4), epochs = 6), whole)
})

test_that("callbacks and checkpoints are of the fit, not of the search for its epochs", {
  y <- curved(100)
  path <- tempfile(fileext = ".rds")
  seen <- list()
  set.seed(1)
  fit <- vae(y, 2, encoder = 16, batch_size = 10, control = train_control(
    patience = 5, checkpoint = path,
    callback = function(epoch, metrics, fit) seen[[length(seen) + 1]] <<- c(epoch, fit$n)))
  expect_gt(fit$iterations, 0)
  expect_identical(seen, lapply(seq_len(fit$iterations), function(epoch) c(epoch, 100L)))
  # the checkpoint is the fit, with how its epochs were chosen
  for (found in list(vae(y, resume = path), vae(resume = path))) {
    expect_same_fit(found, fit)
    expect_identical(found$search$best_epoch, fit$iterations)
  }
  more <- vae(y, resume = path, epochs = fit$iterations + 1)
  expect_null(more$search)                                     # these were not
  expect_equal(generics::glance(fit)$seconds,
               sum(fit$history$seconds, fit$search$history$seconds))
})

test_that("a search says once what there is to say", {
  set.seed(1)
  out <- warned(vae(cbind(curved(100), 1), 1, encoder = 4, noise = "feature", batch_size = 10,
                    control = train_control(patience = 5)))
  expect_false(is.null(out$value$search))
  expect_length(out$said, 1)
  expect_match(out$said, "The noise variance is at its least value")
})

test_that("a search that was interrupted, or diverged, is the fit so far, and prints", {
  y <- curved(100)
  pressed <- structure(class = c("interrupt", "condition"), list(message = "", call = NULL))
  score <- get("score_epoch", asNamespace("elbo"))
  out <- warned(with_function("score_epoch", function(problem, state, row, control) {
    if (state$epoch == 4) stop(pressed)
    score(problem, state, row, control)
  }, searched(y, learning_rate = 1e-3)))
  expect_match(out$said, "Interrupted after 3 epochs", fixed = TRUE)
  fit <- out$value
  expect_identical(c(fit$n, length(fit$held_out)), c(90L, 10L))
  expect_null(fit$search)
  expect_null(fit$state$scores)
  expect_output(print(fit), "3 epochs")
  expect_warning(more <- update(fit, epochs = 5), "`beta` = 1, was never reached")
  expect_identical(more$iterations, 5L)
  out <- warned(searched(y, learning_rate = 1e30))
  expect_match(out$said, "Training diverged")
  expect_output(print(out$value), "Deep Gaussian VAE: 90 observations", fixed = TRUE)
})

test_that("a search does without rows that have a column's only cells", {
  once <- curved(20)
  once[-1, 3] <- NA
  # 5 of the 20 rows are set aside
  found <- vapply(1:12, function(seed) {
    set.seed(seed)
    fit <- suppressWarnings(vae(once, 1, encoder = 2, batch_size = Inf,
                                control = train_control(patience = 5)))
    !is.null(fit$search)
  }, NA)
  expect_true(any(found))
  expect_false(all(found))
  expect_error(vae(replace(once, 41, NA), 1), "^`x` must have at least one observed cell",
               class = "elbo_error")
})

test_that("with a warm-up the epochs that are chosen are beyond it", {
  fit <- searched(curved(100), encoder = 8, beta = schedule_warmup(30))
  expect_gt(fit$iterations, 29L)
  expect_identical(fit$beta, 1)
  expect_identical(fit$search$best_epoch, fit$iterations)
  # a run that ends before has no better choice than all of its epochs, and is told
  out <- warned(searched(curved(100), encoder = 2, beta = schedule_warmup(5000)))
  expect_identical(out$value$iterations, out$value$search$epochs)
  expect_match(out$said, "was never reached")
})

test_that("validation = 0 is none, and no search", {
  set.seed(1)
  fit <- vae(x[1:20, ], 2, encoder = 2, validation = 0)
  expect_identical(c(fit$iterations, fit$n), c(2000L, 20L))
  expect_null(fit$search)
})

test_that("linear_vae() takes epochs, batch size and rate beside `control`", {
  train <- function(...) {
    set.seed(1)
    linear_vae(x, 2, optimizer = "adam", ...)
  }
  expect_equal(train(epochs = 4, batch_size = 10, learning_rate = 0.02)$loadings,
               train(control = train_control(epochs = 4, batch_size = 10,
                                             learning_rate = 0.02))$loadings)
  expect_identical(train(epochs = 3, control = train_control(epochs = 5))$iterations, 3L)
  expect_identical(train()$iterations, 1000L)
})

# advice ---------------------------------------------------------------------------

test_that("the print says what is wrong with a fit, and what to do", {
  train <- function(data, ..., encoder = 6) {
    set.seed(1)
    vae(data, 2, encoder = encoder, ...)
  }
  y <- curved(400)
  below <- "^The ELBO is [0-9.e+]+ nats below that of the linear model: "
  advice <- list(
    list(train(x, sigma2 = 50, learn_sigma2 = FALSE, epochs = 5),
         "`sigma2` is fixed at 50, where the linear model has 0[.][0-9]+; learn it[.]$"),
    list(train(x, beta = 50, epochs = 100, learning_rate = 0.01),
         "`beta` is 50, and only `beta = 1` maximises the ELBO[.]$"),
    list(train(x, free_bits = 5, epochs = 100, learning_rate = 0.01),
         "`free_bits` are 5, and only without them the ELBO is maximised[.]$"),
    list(suppressWarnings(train(x, sigma2_min = 20, epochs = 5)),
         "the noise variance is held up by `sigma2_min`; give a smaller one, or where features differ in scale"),
    list(train(x, sigma2 = 1e-3, epochs = 5, learning_rate = 1e-12, sigma2_update = "gradient"),
         "leave `sigma2` to start at that of the linear model, or train for longer[.]$"),
    list(train(x, epochs = 400, learning_rate = 0.01, control = train_control(weight_decay = 2)),
         "a smaller `weight_decay` may help[.]$"),
    list(train(y, encoder = 16, start = "random", epochs = 75, batch_size = Inf,
               learning_rate = 0.002),
         "it was still rising; train for longer, update[(]fit, epochs = 150[)][.]$"),
    list(train(x, start = "random", epochs = 20, learning_rate = 1e-12),
         "start from that model, `start = \"linear\"`, or train for longer[.]$"),
    list(train(x, epochs = 1, batch_size = 2, learning_rate = 1),
         "a smaller `learning_rate` may help[.]$"))
  for (case in advice) {
    expect_match(training_advice(case[[1]]), paste0(below, case[[2]]))
    said <- paste(utils::capture.output(print(case[[1]])), collapse = " ")
    expect_match(gsub(" +", " ", said), "The ELBO is [0-9.e+]+ nats below that of the linear")
  }
  # the number is the difference
  fit <- advice[[1]][[1]]
  said <- sub("^The ELBO is ([0-9.e+]+) nats.*", "\\1", training_advice(fit))
  expect_equal(as.numeric(said), per_row(ppca(x, 2)) - fit$elbo, tolerance = 0.01)
  # above it, and still rising (of validation data with the same samples of z each time)
  held <- curved(200, seed = 2)
  fit <- train(y, encoder = 16, validation = held, epochs = 20, learning_rate = 0.003)
  expect_gt(fit$elbo, fit$linear$loglik)
  expect_match(training_advice(fit), paste0(
    "^The ELBO was still rising at the end, by [0-9.]+ nats in the last tenth of the epochs: ",
    "train for longer, update[(]fit, epochs = 40[)][.]$"))
})

test_that("a good fit gets no advice", {
  set.seed(1)
  fit <- vae(iris[1:4], 2, encoder = 8)
  expect_gt(fit$elbo, fit$linear$loglik - 0.05)
  expect_null(training_advice(fit))
  said <- paste(utils::capture.output(print(fit)), collapse = "\n")
  expect_false(grepl("below that|rising", said))
  # sigma2 that is fixed where pPCA has it is not to blame
  set.seed(1)
  fit <- vae(x, 2, encoder = 6, sigma2 = ppca(x, 2)$sigma2, learn_sigma2 = FALSE, epochs = 1,
             batch_size = 2, learning_rate = 1)
  expect_false(grepl("fixed", training_advice(fit)))
})

test_that("no advice is given where there is nothing to go by", {
  set.seed(1)
  gone <- x
  fit <- vae(gone, 2, encoder = 4, epochs = 5)
  rm(gone)
  tuned <- tune_sigma2(fit, others)$fit
  expect_identical(tuned$elbo, NA_real_)
  expect_null(training_advice(tuned))
  expect_output(print(tuned), "ELBO")
  expect_output(print(summary(tuned)), "ELBO")
  short <- fit
  short$history <- short$history[1:3, ]
  expect_null(training_advice(short))
  expect_null(training_advice(replace(fit, c("history", "linear"), list(NULL))))
})

# fresh noise ------------------------------------------------------------------------

test_that("pixels get new noise in every epoch", {
  train <- function(x, ...) {
    set.seed(1)
    vae(x, 2, encoder = 4, epochs = 12, learning_rate = 1e-12, batch_size = Inf,
        sigma2_update = "gradient", ...)
  }
  # nothing moves: over epochs a fixed copy differs by the samples of z alone
  fresh <- train(pixels, transform = logit_pixels())
  set.seed(1)
  copy <- pixels + matrix(runif(length(pixels)), nrow(pixels))
  fixed <- train(copy, transform = logit_pixels())
  jacobian <- function(fit) fit$history$elbo - fit$history$reconstruction + fit$history$kl
  expect_lt(diff(range(jacobian(fixed))), 1e-6)
  expect_true(all(abs(diff(jacobian(fresh))) > 1e-6))
  expect_equal(fixed$log_jacobian, jacobian(fixed)[1], tolerance = 1e-8)
  # the expectation over u ~ U[0, 1), by a sum over its quantiles
  u <- (seq_len(2000) - 0.5) / 2000
  slope <- 1 - 2e-6
  each <- vapply(as.vector(pixels), function(v) {
    a <- 1e-6 + slope * (v + u) / 256
    term <- log(slope / 256) - log(a) - log(1 - a)
    c(mean(term), var(term))
  }, numeric(2))
  expected <- sum(each[1, ]) / nrow(pixels)
  error <- sqrt(sum(each[2, ])) / nrow(pixels)
  expect_true(all(abs(c(fresh$log_jacobian, jacobian(fresh)) - expected) < 5 * error))
  # of draws that were not trained on
  expect_false(any(fresh$log_jacobian == jacobian(fresh)))
  expect_same_fit(train(pixels, transform = logit_pixels()), fresh)
})

# The weight of the KL ---------------------------------------------------------

test_that("from the linear start beta falls from 3 to 1 in half of the epochs, unless given", {
  of <- function(...) vae(x, 2, encoder = 6, batch_size = 10, learning_rate = 0.02, ...)
  fit <- of(epochs = 10)
  # 3 to 1 along half a cosine at 0, 1/4, 1/2, 3/4 and 1 of the way
  falling <- c(3, 2 + sqrt(0.5), 2, 2 - sqrt(0.5), 1)
  expect_equal(fit$history$beta, c(falling, rep(1, 5)))
  expect_identical(fit$beta, 1)
  expect_identical(of(epochs = 1)$history$beta, 1)
  expect_identical(of(epochs = 4, start = "random")$history$beta, rep(1, 4))
  expect_identical(of(epochs = 4, beta = 1)$history$beta, rep(1, 4))
  # training that goes on has had the fall; another model has its own
  longer <- update(fit, epochs = 12)
  expect_equal(longer$history$beta, c(falling, rep(1, 7)))
  expect_identical(longer$call$beta, quote(c(schedule_cosine(5L, 3, 1), 1)))
  expect_identical(update(of(epochs = 1), epochs = 4)$call$beta, 1)
  expect_equal(update(fit, k = 3)$history$beta, fit$history$beta)
  expect_identical(update(fit, beta = 0.5)$history$beta, rep(0.5, 10))
  expect_identical(update(of(epochs = 10, beta = 2), k = 3)$history$beta, rep(2, 10))
})

test_that("training that ends while beta falls says so; the start has its last value", {
  early <- quick_vae(x, 2, encoder = 6, beta = NULL, epochs = 400, validation = others,
                     control = list(patience = 20))
  expect_identical(early$stopped, "converged")
  expect_true(early$best_epoch > 0 && early$best_epoch < 190)
  expect_identical(early$beta, early$history$beta[early$best_epoch])
  expect_output(print(early), "Weight of the KL, beta: [12].*, on its way to 1")
  early$linear$loglik <- early$elbo + 9
  expect_match(training_advice(early), "9 nats below .* with `beta` at [12].*, on its way to 1")
  never <- quick_vae(x, 2, encoder = 16, beta = NULL, validation = others, learning_rate = 1,
                     control = list(patience = 2))
  expect_identical(never$best_epoch, 0L)
  expect_identical(never$beta, 1)
})
