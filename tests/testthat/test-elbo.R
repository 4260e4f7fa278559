# elbo() and tune_sigma2(). References: helper-linear-vae.R (the ELBO from its
# definition, row by row), numerical integration, Monte Carlo, optimise().

terms_of <- function(ref, jacobian = 0) {
  data.frame(elbo = ref$elbo + jacobian, reconstruction = ref$reconstruction, kl = ref$kl,
             log_jacobian = jacobian)
}

# What each field of a fit and each answer of elbo() says of the data it was fitted to.
expect_terms <- function(fit, x, ref, jacobian = numeric(nrow(x)), tolerance = 1e-10) {
  each <- terms_of(ref, jacobian)
  expect_equal(elbo(fit, x, by = "observation"), each, tolerance = tolerance,
               ignore_attr = "row.names")
  means <- colMeans(each)
  expect_equal(elbo(fit, x), means, tolerance = tolerance)
  expect_equal(elbo(fit), means, tolerance = tolerance)
  expect_equal(unlist(fit[names(means)]), means, tolerance = tolerance)
  expect_equal(unname(fit$kl_dimensions), colMeans(ref$kl_each), tolerance = tolerance)
}

# The reference ----------------------------------------------------------------

test_that("the reference is the ELBO: numerical integration over z", {
  # k = 1: E log p(x | z) and E log(q / p) as integrals over q(z | x).
  theta <- c(random_theta(3, 1), list(mean = c(1, 0, -1), scale = c(1, 2, 0.5)))
  x <- rbind(c(0.3, -1, 2), c(1, 1, 1))
  ref <- reference_elbo(x, theta)
  for (i in 1:2) {
    y <- (x[i, ] - theta$mean) / theta$scale
    m <- drop(theta$V %*% y)
    q <- function(z, log = FALSE) dnorm(z, m, sqrt(theta$D), log)
    expected <- function(f) {
      integrate(function(z) q(z) * f(z), m - 12 * sqrt(theta$D), m + 12 * sqrt(theta$D),
                rel.tol = 1e-10)$value
    }
    log_p <- Vectorize(function(z) {
      sum(dnorm(x[i, ], theta$mean + theta$scale * theta$loadings[, 1] * z,
                theta$scale * sqrt(theta$sigma2), log = TRUE))
    })
    expect_equal(ref$reconstruction[i], expected(log_p), tolerance = 1e-8)
    expect_equal(ref$kl[i], expected(function(z) q(z, TRUE) - dnorm(z, log = TRUE)),
                 tolerance = 1e-8)
  }
})

# Linear VAEs ------------------------------------------------------------------

x <- plain(model_data(40, 5, 2))

test_that("the ELBO of any parameters is that of the definition", {
  for (k in c(1, 2, 4)) for (seed in 1:3) {
    fit <- random_vae(x, k, seed)
    theta <- random_theta(5, k, seed)
    expect_equal(unname(fit$loadings), theta$loadings, tolerance = 1e-12)
    expect_equal(unname(fit$V), theta$V, tolerance = 1e-12)
    expect_equal(unname(fit$D), theta$D, tolerance = 1e-12)
    expect_equal(fit$sigma2, theta$sigma2, tolerance = 1e-12)
    expect_terms(fit, x, reference_elbo(x, c(theta, list(mean = colMeans(x)))))
    expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-10)
  }
})

test_that("centre and scale of any kind enter it", {
  wild <- x %*% diag(10^(-2:2))
  for (center in list(TRUE, FALSE, 1:5)) for (scale in list(FALSE, TRUE, 10^(-2:2))) {
    fit <- random_vae(wild, 2, center = center, scale = scale)
    expect_terms(fit, wild, reference_elbo(wild, coef(fit)))
    expect_equal(fit$loglik, sum(fit_density(fit, wild)), tolerance = 1e-10)
  }
  # divisor n
  expect_equal(unname(random_vae(wild, 2, scale = TRUE)$scale),
               apply(wild, 2, sd) * sqrt(39 / 40))
})

test_that("more features than rows make no difference", {
  wide <- plain(model_data(7, 12, 2))
  fit <- random_vae(wide, 3)
  expect_terms(fit, wide, reference_elbo(wide, coef(fit)))
  expect_equal(fit$loglik, sum(fit_density(fit, wide)), tolerance = 1e-10)
})

test_that("many rows, of which only blocks are worked on at a time, make none", {
  set.seed(3)
  long <- matrix(rnorm(1300 * 4), 1300)
  fit <- random_vae(long, 2)
  expect_terms(fit, long, reference_elbo(long, coef(fit)))
})

test_that("integers, data frames and sparse matrices give what doubles give", {
  digits <- mnist1000$x[1:60, 300:312]
  fit <- random_vae(digits, 2)
  ref <- reference_elbo(digits, coef(fit))
  expect_terms(fit, digits, ref, tolerance = 1e-9)
  expect_terms(random_vae(as.data.frame(digits), 2), as.data.frame(digits), ref,
               tolerance = 1e-9)
  skip_if_not_installed("Matrix")
  for (sparse in list(sparse_of(digits), sparse_of(digits[1:9, ]))) {
    fit <- random_vae(sparse, 2)
    expect_terms(fit, sparse, reference_elbo(sparse, coef(fit)), tolerance = 1e-9)
  }
})

test_that("a transform's Jacobian enters the ELBO, and neither of its other terms", {
  # Values that are not whole get no noise. With a = alpha + (1 - 2 alpha) x / 256
  # and y = log(a / (1 - a)): dy/dx = (1 - 2 alpha) / 256 / (a (1 - a)).
  set.seed(4)
  pixels <- matrix(runif(30 * 4, 0, 256), 30)
  fit <- random_vae(pixels, 2, transform = logit_pixels(0.01))
  a <- 0.01 + 0.98 * pixels / 256
  jacobian <- rowSums(log(0.98 / 256 / (a * (1 - a))))
  ref <- reference_elbo(log(a / (1 - a)), coef(fit))
  expect_terms(fit, pixels, ref, jacobian)
  expect_equal(fit$loglik, sum(fit_density(fit, log(a / (1 - a))) + jacobian))
})

test_that("beta weighs the objective, not the ELBO", {
  fit <- linear_vae(x, 3, beta = 2.5, optimizer = "exact")
  expect_terms(fit, x, reference_elbo(x, coef(fit)))
  fit <- linear_vae(x, 3, beta = 1.5, sigma2 = 4, learn_sigma2 = FALSE, optimizer = "exact")
  expect_true(any(fit$kl_dimensions == 0)) # collapsed ones included
  expect_terms(fit, x, reference_elbo(x, coef(fit)))
})

test_that("new data have their own ELBO, rows in their order, columns by name", {
  named <- x
  dimnames(named) <- list(paste0("row", 1:40), letters[1:5])
  fit <- random_vae(named, 2)
  new <- plain(model_data(6, 5, 2, seed = 8))
  colnames(new) <- letters[1:5]
  ref <- terms_of(reference_elbo(new, coef(fit)))
  expect_equal(elbo(fit, new, by = "observation"), ref)
  expect_equal(elbo(fit, new[6:1, 5:1], by = "observation"), ref[6:1, ],
               ignore_attr = "row.names")
  expect_equal(elbo(fit, cbind(as.data.frame(new), other = "a")), colMeans(ref))
  expect_identical(rownames(elbo(fit, named, by = "observation")), rownames(named))
  expect_equal(elbo(fit, new[1, , drop = FALSE]), unlist(ref[1, ]))
})

test_that("the ELBO is below the log-likelihood by the KL from the exact posterior", {
  # Bishop (2006), eq. 9.70: log p = ELBO + KL(q || p(z | x)), for any q.
  for (seed in 1:3) {
    fit <- random_vae(x, 2, seed)
    gap <- reference_gap(x, coef(fit))
    expect_gt(gap, 1e-3)
    expect_equal(fit$loglik / 40 - fit$elbo, gap, tolerance = 1e-9)
    expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-10)
    gaps <- as.numeric(logLik(fit, x, by = "observation")) -
      elbo(fit, x, by = "observation")$elbo
    expect_true(all(gaps > 0))
    expect_equal(mean(gaps), gap, tolerance = 1e-9)
  }
})

# Monte Carlo ------------------------------------------------------------------

test_that("the exact ELBO is within the standard error of its Monte Carlo estimate", {
  # Estimates of log p(x | z) + log p(z) - log q(z | x) by dnorm(), which know nothing
  # of expectations in closed form. 4 standard errors.
  wild <- x %*% diag(10^(-2:2))
  fits <- list(random_vae(x, 2), random_vae(wild, 3, scale = TRUE),
               linear_vae(x, 2, beta = 2, optimizer = "exact"),
               random_vae(x, 1, center = 1:5))
  data <- list(x, wild, x, x)
  set.seed(5)
  for (i in seq_along(fits)) {
    samples <- colMeans(sampled_elbo(data[[i]], coef(fits[[i]]), 500))
    error <- sd(samples) / sqrt(500)
    expect_lt(abs(mean(samples) - fits[[i]]$elbo), 4 * error)
    expect_lt(error, 0.2)
  }
  # Where q is the exact posterior, every sample is the log-likelihood.
  fit <- linear_vae(x, 2, optimizer = "exact")
  expect_equal(sampled_elbo(x, coef(fit), 2), matrix(fit_density(fit, x), 40, 2))
})

test_that("samples = estimates the reconstruction without bias, and the KL exactly", {
  set.seed(6)
  fit <- linear_vae(x, 2, sigma2 = 0.5, learn_sigma2 = FALSE)
  exact <- elbo(fit, x, by = "observation")
  estimates <- function(samples) {
    replicate(200, elbo(fit, x, samples = samples, by = "observation")$reconstruction)
  }
  runs <- estimates(3)
  error <- apply(runs, 1, sd) / sqrt(200)
  score <- (rowMeans(runs) - exact$reconstruction) / error
  expect_lt(max(abs(score)), 4.5)
  expect_lt(abs(mean(score)), 4 / sqrt(40))
  # The variance falls with the number of samples: 27 of them against 3.
  more <- estimates(27)
  expect_equal(mean(apply(runs, 1, var) / apply(more, 1, var)), 9, tolerance = 0.2)
  # |x - W z|^2 for z ~ N(m, D), of one row: variance 2 tr(A^2) + 4 b'A b, A = W D W'
  # and b = x - W m.
  theta <- coef(fit)
  y <- standardise(x, theta)
  a <- unname(theta$loadings) %*% diag(theta$D) %*% t(unname(theta$loadings))
  b <- y - y %*% t(unname(theta$V)) %*% t(unname(theta$loadings))
  variance <- (2 * sum(a^2) + 4 * rowSums((b %*% a) * b)) / (4 * theta$sigma2^2)
  expect_equal(mean(apply(runs, 1, var) / variance), 1 / 3, tolerance = 0.1)
  one <- elbo(fit, x, samples = 3, by = "observation")
  expect_identical(one$kl, exact$kl)
  expect_equal(one$elbo, one$reconstruction - one$kl)
})

test_that("set.seed() governs the samples, which differ between rows", {
  fit <- random_vae(x, 2)
  run <- function(seed, ...) {
    set.seed(seed)
    elbo(fit, x, samples = 2, by = "observation")
  }
  expect_identical(run(1), run(1))
  expect_false(any(run(1)$reconstruction == run(2)$reconstruction))
  twins <- x[c(1, 1, 1), ]
  expect_length(unique(elbo(fit, twins, samples = 1, by = "observation")$reconstruction), 3)
  set.seed(1)
  before <- .Random.seed
  elbo(fit, x) # exact: no draw
  expect_identical(.Random.seed, before)
})

# pPCA -------------------------------------------------------------------------

# Reconstruction and KL of one row with q the exact posterior of its observed cells.
exact_terms <- function(row, theta) {
  sd <- if (is.null(theta$scale)) rep(1, length(row)) else as.vector(theta$scale)
  w <- unname(theta$loadings)
  y <- (row - as.vector(theta$mean)) / sd
  q <- latent_conditional(y, numeric(length(y)), w, theta$sigma2)
  seen <- !is.na(row)
  w <- w[seen, , drop = FALSE]
  error <- sum((y[seen] - w %*% q$mean)^2) + sum(diag(w %*% q$cov %*% t(w)))
  k <- ncol(w)
  kl <- gaussian_kl(q$mean, q$cov, numeric(k), diag(k))
  reconstruction <- -error / (2 * theta$sigma2) -
    sum(seen) / 2 * log(2 * pi * theta$sigma2) - sum(log(sd[seen]))
  c(elbo = reconstruction - kl, reconstruction = reconstruction, kl = kl, log_jacobian = 0,
    error = error, cells = sum(seen))
}

all_terms <- function(x, theta) {
  as.data.frame(t(apply(unname(x), 1, exact_terms, theta = theta)))
}

test_that("the ELBO of pPCA is its log-likelihood, in reconstruction and KL", {
  wild <- x %*% diag(10^(-2:2))
  for (fit in list(ppca(wild, 2), ppca(wild, 2, scale = TRUE), ppca(wild, 3, sigma2 = 2),
                   ppca(wild, 2, center = FALSE, scale = 10^(-2:2)))) {
    ref <- all_terms(wild, coef(fit))[1:4]
    expect_equal(elbo(fit, wild, by = "observation"), ref, tolerance = 1e-8)
    expect_equal(elbo(fit, wild), colMeans(ref), tolerance = 1e-8)
    expect_equal(elbo(fit), colMeans(ref), tolerance = 1e-8)
    expect_equal(ref$elbo, fit_density(fit, wild), tolerance = 1e-8)
    expect_equal(elbo(fit)[["elbo"]], fit$loglik / 40, tolerance = 1e-10)
  }
})

test_that("so it is row by row where cells are missing, over the observed cells", {
  holes <- with_holes(x %*% diag(10^(-2:2)), 0.25)
  holes[7, ] <- NA
  for (scale in list(FALSE, TRUE)) {
    fit <- suppressWarnings(ppca(holes, 2, scale = scale, keep_data = TRUE))
    ref <- all_terms(holes, coef(fit))[1:4]
    got <- elbo(fit, holes, by = "observation")
    expect_equal(got, ref, tolerance = 1e-8)
    expect_equal(got$elbo, as.numeric(logLik(fit, holes, by = "observation")))
    expect_equal(unlist(got[7, ]), c(elbo = 0, reconstruction = 0, kl = 0, log_jacobian = 0))
    expect_equal(elbo(fit), colMeans(ref), tolerance = 1e-8)
    expect_equal(elbo(fit)[["elbo"]], fit$loglik / 40, tolerance = 1e-8)
    # Complete data under a model of incomplete ones, and the reverse.
    expect_equal(elbo(fit, x), colMeans(all_terms(x, coef(fit))[1:4]), tolerance = 1e-8)
  }
  complete <- ppca(x, 2)
  expect_equal(elbo(complete, holes, by = "observation"), all_terms(holes, coef(complete))[1:4],
               tolerance = 1e-8)
})

test_that("the transform's Jacobian is that of the observed cells", {
  set.seed(4)
  pixels <- matrix(runif(30 * 4, 0, 256), 30)
  fit <- ppca(pixels, 2, transform = logit_pixels(0.01))
  new <- with_holes(pixels, 0.2)
  a <- 0.01 + 0.98 * new / 256
  jacobian <- rowSums(log(0.98 / 256 / (a * (1 - a))), na.rm = TRUE)
  got <- elbo(fit, new, by = "observation")
  expect_equal(got$log_jacobian, jacobian)
  expect_equal(got$elbo, as.numeric(logLik(fit, new, by = "observation")))
  expect_equal(got$elbo, all_terms(log(a / (1 - a)), coef(fit))$elbo + jacobian)
  expect_equal(elbo(fit)[["elbo"]], fit$loglik / 30)
  expect_equal(elbo(fit)[["log_jacobian"]], fit$log_jacobian)
})

test_that("sparse data with and without missing cells", {
  skip_if_not_installed("Matrix")
  digits <- mnist1000$x[1:60, 300:312] * 1
  fit <- ppca(digits, 2)
  expect_equal(elbo(fit, sparse_of(digits), by = "observation"),
               elbo(fit, digits, by = "observation"), tolerance = 1e-8)
  digits[5, 4] <- NA
  expect_equal(elbo(fit, sparse_of(digits), by = "observation"),
               elbo(fit, digits, by = "observation"), tolerance = 1e-8)
})

# tune_sigma2() ----------------------------------------------------------------

# The sigma2 that maximises the mean of the ELBO with q and all else fixed, by
# optimise() over its log, and the ELBO there. `error` and `cells`: of each row.
tuned_by_search <- function(error, cells, now, sigma2) {
  gain <- function(log_s) {
    at <- function(s) -error / (2 * s) - cells / 2 * log(2 * pi * s)
    mean(at(exp(log_s)) - at(sigma2))
  }
  best <- optimise(gain, log(sigma2) + c(-20, 20), maximum = TRUE, tol = 1e-10)
  list(sigma2 = exp(best$maximum), elbo = now + best$objective)
}

expect_tuned <- function(tuned, search, fit, now) {
  expect_equal(tuned$sigma2, search$sigma2, tolerance = 1e-5) # what a search can tell
  expect_equal(tuned$elbo, search$elbo, tolerance = 1e-9)
  expect_identical(tuned$current_sigma2, fit$sigma2)
  expect_equal(tuned$current_elbo, now, tolerance = 1e-9)
}

# The same but for rounding, which the call of a fit shows.
expect_same_tuned <- function(one, other, tolerance) {
  one$fit$call <- other$fit$call <- NULL
  expect_equal(one, other, tolerance = tolerance)
}

test_that("for a linear VAE it is the best noise variance with all else fixed", {
  wild <- x %*% diag(10^(-2:2))
  new <- plain(model_data(9, 5, 2, seed = 8))
  fits <- list(random_vae(x, 2), random_vae(x, 2, seed = 2), random_vae(wild, 2, scale = TRUE),
               linear_vae(x, 3, sigma2 = 5, learn_sigma2 = FALSE, optimizer = "exact"))
  for (fit in fits) {
    given <- if (is.null(fit$scale)) x else wild
    for (data in list(given, new)) {
      ref <- reference_elbo(data, coef(fit))
      search <- tuned_by_search(ref$error, rep(5, nrow(data)), mean(ref$elbo), fit$sigma2)
      expect_tuned(tune_sigma2(fit, data), search, fit, mean(ref$elbo))
    }
    expect_same_tuned(tune_sigma2(fit), tune_sigma2(fit, given), 1e-9)
    # The ELBO that it promises is the ELBO of the model with that noise.
    tuned <- tune_sigma2(fit, given)
    theta <- coef(fit)
    theta$sigma2 <- tuned$sigma2
    expect_equal(tuned$elbo, mean(reference_elbo(given, theta)$elbo), tolerance = 1e-10)
  }
})

test_that("the tuned linear VAE is the model with that noise variance", {
  wild <- x %*% diag(10^(-2:2))
  new <- plain(model_data(9, 5, 2, seed = 8))
  fits <- list(random_vae(x, 2), random_vae(wild, 2, scale = TRUE),
               linear_vae(x, 3, sigma2 = 5, learn_sigma2 = FALSE, optimizer = "exact"))
  for (fit in fits) {
    own <- if (is.null(fit$scale)) x else wild
    for (data in list(own, new)) {
      tuned <- tune_sigma2(fit, data)
      model <- tuned$fit
      expect_identical(model$sigma2, tuned$sigma2)
      # decoder and encoder are as they were
      parts <- c("loadings", "V", "D", "mean", "scale", "scores", "kl", "kl_dimensions",
                 "values", "history", "moments")
      expect_identical(model[parts], fit[parts])
      # its fields are those of its parameters, for the data of the fit
      expect_terms(model, own, reference_elbo(own, coef(model)))
      expect_equal(model$loglik, sum(fit_density(model, own)), tolerance = 1e-10)
      expect_equal(elbo(model, data)[["elbo"]], tuned$elbo, tolerance = 1e-10)
      expect_equal(tune_sigma2(model, data)$sigma2, tuned$sigma2, tolerance = 1e-8)
    }
  }
})

test_that("the tuned pPCA model has the posterior of its noise variance", {
  wild <- x %*% diag(10^(-2:2))
  holes <- with_holes(x, 0.25)
  fits <- list(ppca(x, 2, sigma2 = 0.3), ppca(wild, 2, sigma2 = 0.1, scale = TRUE),
               suppressWarnings(ppca(holes, 2, sigma2 = 0.3, keep_data = TRUE)))
  for (fit in fits) {
    own <- if (!is.null(fit$x)) holes else if (is.null(fit$scale)) x else wild
    tuned <- tune_sigma2(fit)
    model <- tuned$fit
    expect_identical(model$sigma2, tuned$sigma2)
    expect_identical(model[c("loadings", "mean", "scale")], fit[c("loadings", "mean", "scale")])
    expect_equal(model$loglik, sum(fit_density(model, own)), tolerance = 1e-10)
    ref <- all_terms(own, coef(model))
    expect_equal(elbo(model, own)[["elbo"]], mean(ref$elbo), tolerance = 1e-8)
    expect_equal(model$scores, posterior(model, own)$mean, tolerance = 1e-8,
                 ignore_attr = TRUE)
    # a step of EM: the ELBO of the old posterior is a lower bound of the likelihood
    expect_gt(model$loglik / 40, tuned$elbo)
    expect_gt(tuned$elbo, fit$loglik / 40)
    # further steps lead to the maximum over sigma2, W and mu as they are
    for (step in 1:200) model <- tune_sigma2(model)$fit
    best <- optimise(function(log_s) {
      sum(fit_density(modifyList(fit, list(sigma2 = exp(log_s))), own))
    }, log(fit$sigma2) + c(-5, 5), maximum = TRUE, tol = 1e-10)
    expect_equal(model$sigma2, exp(best$maximum), tolerance = 1e-5)
    expect_equal(model$loglik, best$objective, tolerance = 1e-9)
    # eigenvalues: of S, or of the covariance of the model where cells are missing
    if (!is.null(fit$x)) {
      cov <- tcrossprod(model$loadings) + diag(model$sigma2, 5)
      expect_equal(model$values, eigen(cov)$values[1:2], tolerance = 1e-10)
      expect_equal(model$trace, sum(diag(cov)), tolerance = 1e-10)
    } else expect_identical(model[c("values", "trace")], fit[c("values", "trace")])
  }
})

test_that("a tuned model says so, counts its noise variance, and goes on from there", {
  fixed <- linear_vae(x, 2, sigma2 = 3, learn_sigma2 = FALSE, keep_data = TRUE,
                      control = train_control(accelerate = "none"))
  learned <- random_vae(x, 2)
  model <- tune_sigma2(fixed)$fit
  expect_identical(model$df, fixed$df + 1)
  expect_identical(attr(logLik(model), "df"), model$df)
  expect_identical(tune_sigma2(model)$fit$df, model$df)
  expect_identical(tune_sigma2(learned)$fit$df, learned$df)
  expect_output(print(model), paste(format(model$sigma2, digits = 4), "(tuned)"), fixed = TRUE)
  expect_output(print(summary(model)), "(tuned)", fixed = TRUE)
  expect_output(print(fixed), "3 (fixed)", fixed = TRUE)
  before <- ppca(x, 2, sigma2 = 3)
  after <- tune_sigma2(before)$fit
  expect_output(print(after), "(tuned)", fixed = TRUE)
  expect_output(print(summary(after)), "(tuned)", fixed = TRUE)
  expect_identical(after$df, before$df + 1)
  # anew with the tuned value, which is kept
  again <- update(model, k = 1)
  expect_identical(again$sigma2, model$sigma2)
  expect_equal(again$loglik, linear_vae(x, 1, sigma2 = model$sigma2, learn_sigma2 = FALSE,
                                        optimizer = "exact")$loglik, tolerance = 1e-6)
  expect_identical(eval(again$call$sigma2), model$sigma2)
  longer <- update(model, maxit = model$iterations + 50, tol = 1e-14)
  expect_identical(longer$sigma2, model$sigma2)
  expect_gt(longer$elbo, model$elbo)
  file <- tempfile()
  saveRDS(model, file)
  expect_identical(readRDS(file), model)
})

test_that("a noise variance can be that of validation data", {
  # as many dimensions as the rows bear: the fit leaves little noise, new rows have more
  set.seed(2)
  small <- matrix(rnorm(12 * 8), 12)
  valid <- matrix(rnorm(200 * 8), 200)
  test <- matrix(rnorm(2000 * 8), 2000)
  fit <- linear_vae(small, 5, optimizer = "exact")
  tuned <- tune_sigma2(fit, valid)
  expect_gt(tuned$sigma2, 2 * fit$sigma2)
  expect_gt(elbo(tuned$fit, test)[["elbo"]], elbo(fit, test)[["elbo"]] + 0.5)
  # the fields are still those of the data of the fit, whose own optimum it had
  expect_lt(tuned$fit$elbo, fit$elbo)
  # without the data of a fit with missing cells what needs them is not known
  fit_within <- function() {
    local_data <- with_holes(x)
    suppressWarnings(ppca(local_data, 2, sigma2 = 0.3))
  }
  lost <- tune_sigma2(fit_within(), x)
  expect_true(is.na(lost$fit$loglik))
  expect_true(all(is.na(lost$fit$scores)))
  expect_identical(dim(lost$fit$scores), c(40L, 2L))
  expect_equal(elbo(lost$fit, x)[["elbo"]], mean(fit_density(lost$fit, x)), tolerance = 1e-8)
})

test_that("a learned sigma2 needs no tuning", {
  set.seed(1)
  fit <- linear_vae(x, 2, control = train_control(tol = 1e-14))
  expect_equal(tune_sigma2(fit)$sigma2, fit$sigma2, tolerance = 1e-6)
  expect_equal(tune_sigma2(fit)$elbo, fit$elbo, tolerance = 1e-12)
  fit <- ppca(x, 2)
  expect_equal(tune_sigma2(fit)$sigma2, fit$sigma2, tolerance = 1e-10)
})

test_that("for pPCA likewise, missing cells and scale included", {
  wild <- x %*% diag(10^(-2:2))
  holes <- with_holes(wild, 0.25)
  fits <- list(ppca(wild, 2, sigma2 = 0.3), ppca(wild, 2, sigma2 = 0.3, scale = TRUE),
               suppressWarnings(ppca(holes, 2, sigma2 = 0.3, keep_data = TRUE)),
               suppressWarnings(ppca(holes, 2, sigma2 = 0.3, scale = TRUE, keep_data = TRUE)))
  for (fit in fits) {
    for (data in list(wild, holes)) {
      ref <- all_terms(data, coef(fit))
      search <- tuned_by_search(ref$error, ref$cells, mean(ref$elbo), fit$sigma2)
      expect_tuned(tune_sigma2(fit, data), search, fit, mean(ref$elbo))
    }
    own <- if (is.null(fit$x)) wild else holes
    expect_same_tuned(tune_sigma2(fit), tune_sigma2(fit, own), 1e-8)
  }
})

test_that("the transform's Jacobian stays where it is", {
  set.seed(4)
  pixels <- matrix(runif(30 * 4, 0, 256), 30)
  fit <- random_vae(pixels, 2, transform = logit_pixels(0.01))
  a <- 0.01 + 0.98 * pixels / 256
  ref <- reference_elbo(log(a / (1 - a)), coef(fit))
  search <- tuned_by_search(ref$error, rep(4, 30), fit$elbo, fit$sigma2)
  for (tuned in list(tune_sigma2(fit), tune_sigma2(fit, pixels))) {
    expect_tuned(tuned, search, fit, fit$elbo)
  }
})

test_that("its answer can be read", {
  fit <- linear_vae(x, 2, sigma2 = 3, learn_sigma2 = FALSE, optimizer = "exact")
  tuned <- tune_sigma2(fit)
  expect_s3_class(tuned, "tuned_sigma2")
  expect_output(print(tuned), paste("Noise variance sigma2: 3, tuned",
                                    format(tuned$sigma2, digits = 4)), fixed = TRUE)
  expect_output(print(tuned), format(tuned$elbo, digits = 7), fixed = TRUE)
})

# Where the data come from, and what is refused --------------------------------

test_that("data are found, or asked for", {
  fit_within <- function(keep) {
    local_data <- with_holes(x)
    suppressWarnings(ppca(local_data, 2, keep_data = keep))
  }
  kept <- fit_within(TRUE)
  expect_equal(elbo(kept)[["elbo"]], kept$loglik / 40, tolerance = 1e-8)
  expect_type(tune_sigma2(kept)$sigma2, "double")
  lost <- fit_within(FALSE)
  expect_error(elbo(lost), "`newdata` must be given", class = "elbo_error")
  expect_error(tune_sigma2(lost), "`newdata` must be given", class = "elbo_error")
  # Found under the name of the call, also from within a function.
  holes <- with_holes(x)
  named <- suppressWarnings(ppca(holes, 2))
  within <- function() list(elbo(named), tune_sigma2(named)$current_elbo)
  expect_equal(within()[[1]][["elbo"]], named$loglik / 40, tolerance = 1e-8)
  expect_equal(within()[[2]], named$loglik / 40, tolerance = 1e-8)
  # The means of a linear VAE are in the fit; rows and samples need the data.
  vae_within <- function() {
    local_data <- x
    linear_vae(local_data, 2, optimizer = "exact")
  }
  vae <- vae_within()
  expect_equal(elbo(vae)[["elbo"]], vae$elbo)
  expect_type(tune_sigma2(vae)$sigma2, "double")
  expect_error(elbo(vae, samples = 1), "`newdata` must be given", class = "elbo_error")
  expect_error(elbo(vae, by = "observation"), "`newdata` must be given", class = "elbo_error")
})

test_that("an encoder has nothing to say of missing cells", {
  fit <- linear_vae(x, 2, optimizer = "exact")
  holes <- with_holes(x)
  for (ask in list(elbo, tune_sigma2)) {
    expect_error(ask(fit, holes), "`newdata` must have no missing cells", class = "elbo_error")
  }
})

test_that("bad arguments are named", {
  fit <- linear_vae(x, 2, optimizer = "exact")
  expect_error(elbo(fit, x, samples = -1), "`samples` must be a whole number",
               class = "elbo_error")
  expect_error(elbo(fit, x, by = "row"), "`by` must be one of", class = "elbo_error")
  expect_error(elbo(fit, x[, 1:4]), "`newdata` must have the 5 columns", class = "elbo_error")
  expect_error(elbo(ppca(x, 2), samples = 1), "samples", class = "elbo_error")
  expect_error(tune_sigma2(fit, x, by = "mean"), "by", class = "elbo_error")
})

# Units ------------------------------------------------------------------------

test_that("the ELBO follows the units of the data to the ends of the range", {
  # In units c times smaller densities are c^p times smaller.
  for (unit in c(2^10, 1e-150, 1e100)) {
    for (fit in list(linear_vae(x * unit, 2, optimizer = "exact"),
                     random_vae(x * unit, 2, scale = rep(unit, 5)))) {
      ref <- if (is.null(fit$scale)) linear_vae(x, 2, optimizer = "exact") else random_vae(x, 2)
      shift <- 5 * log(unit)
      expect_equal(fit$elbo, ref$elbo - shift, tolerance = 1e-10)
      expect_equal(elbo(fit, x * unit), elbo(fit), tolerance = 1e-10)
      expect_equal(fit$kl, ref$kl, tolerance = 1e-10)
      expect_equal(tune_sigma2(fit, x * unit)$elbo, tune_sigma2(ref)$elbo - shift,
                   tolerance = 1e-10)
    }
  }
})

test_that("so does that of pPCA with its data", {
  for (unit in c(2^10, 1e-150, 1e100)) {
    fit <- ppca(x * unit, 2)
    expect_equal(elbo(fit, x * unit)[["elbo"]], fit$loglik / 40, tolerance = 1e-10)
    expect_equal(tune_sigma2(fit, x * unit)$sigma2 / unit^2, ppca(x, 2)$sigma2,
                 tolerance = 1e-8)
  }
})

test_that("so does that of pPCA without them", {
  # Fourth powers of lengths underflow below about 1e-81 and overflow above 1e77.
  for (unit in c(1e-150, 1e100)) {
    fit <- ppca(x * unit, 2)
    expect_equal(elbo(fit)[["elbo"]], fit$loglik / 40, tolerance = 1e-10)
    tuned <- suppressWarnings(tune_sigma2(fit))
    expect_equal(tuned$sigma2 / unit^2, ppca(x, 2)$sigma2, tolerance = 1e-8)
  }
})
