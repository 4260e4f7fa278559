# Methods of a fit. References: the definitions in helper-ppca.R, and R's own
# generics (AIC, BIC, residuals = data - fitted).

x <- plain(model_data(40, 5, 2))
dimnames(x) <- list(paste0("r", 1:40), letters[1:5])
fit <- ppca(x, 2)

# Predictions ------------------------------------------------------------------

test_that("predictions are M^-1 W'(x - mu) and mu + W z", {
  w <- fit$loadings
  m <- crossprod(w) + fit$sigma2 * diag(2)
  z <- t(solve(m, t(w) %*% (t(x) - fit$mean)))
  expect_equal(predict(fit, x), z, ignore_attr = TRUE)
  expect_equal(predict(fit, x, type = "latent"), predict(fit, x))
  expect_equal(predict(fit, x, type = "reconstruction"),
               t(fit$mean + w %*% t(z)), ignore_attr = TRUE)
  # Without newdata: the data of the fit.
  expect_equal(predict(fit), predict(fit, x))
  expect_identical(predict(fit), fit$scores)
  expect_equal(predict(fit, type = "reconstruction"), predict(fit, x, type = "reconstruction"))
  expect_equal(fitted(fit), predict(fit, x, type = "reconstruction"))
})

test_that("latent positions of the training data have mean 0 and the known spread", {
  # (1/n) sum E z E z' = I - sigma2 M^-1 at the maximum: S = C along W.
  expect_equal(colMeans(fit$scores), c(z1 = 0, z2 = 0))
  m <- crossprod(fit$loadings) + fit$sigma2 * diag(2)
  expect_equal(crossprod(fit$scores) / 40, diag(2) - fit$sigma2 * solve(m),
               ignore_attr = TRUE)
})

test_that("predictions in one batch are those of two halves", {
  expect_equal(predict(fit, x), rbind(predict(fit, x[1:17, ]), predict(fit, x[18:40, ])))
  whole <- logLik(fit, x, by = "observation")
  expect_equal(whole, c(logLik(fit, x[1:17, ], by = "observation"),
                        logLik(fit, x[18:40, ], by = "observation")))
  expect_equal(posterior(fit, x)$cov, posterior(fit, x[3, , drop = FALSE])$cov)
})

test_that("residuals are data less fit, from the call's data, kept data or new ones", {
  expect_equal(residuals(fit), x - fitted(fit))
  expect_equal(residuals(fit, x[3:4, ]), (x - fitted(fit))[3:4, ])
  expect_equal(resid(fit), residuals(fit))
  # What the k dimensions leave: n times the trace less that of the shrunken fit.
  # Along u_j, j <= k: (1 - (lambda_j - sigma2) / lambda_j)^2 lambda_j = sigma2^2 / lambda_j.
  lambda <- fit$values
  expect_equal(sum(residuals(fit)^2) / 40,
               sum(lambda[3:5]) + sum(fit$sigma2^2 / lambda[1:2]))
})

test_that("data that cannot be found are asked for", {
  away <- local({
    hidden <- x
    ppca(hidden, 2)
  })
  for (method in list(residuals, posterior, impute)) {
    expect_error(method(away), "`newdata` must be given.*`hidden`.*keep_data = TRUE",
                 class = "elbo_error")
  }
  expect_error(logLik(away, by = "observation"), "`newdata` must be given",
               class = "elbo_error")
  expect_equal(residuals(away, x), residuals(fit))
  kept <- local({
    hidden <- x
    ppca(hidden, 2, keep_data = TRUE)
  })
  expect_equal(residuals(kept), residuals(fit))
  # A name that now means something else is not taken for the data.
  hidden <- x[1:7, ]
  expect_error(residuals(away), "is not (or no longer) the data", fixed = TRUE)
})

test_that("data are found where the method is called from", {
  inner <- function() {
    data <- x
    f <- ppca(data, 2)
    list(residuals(f), posterior(f)$mean, logLik(f, by = "observation"), impute(f))
  }
  expect_equal(inner(), list(residuals(fit), posterior(fit)$mean,
                             logLik(fit, by = "observation"), x))
  frame <- as.data.frame(x)
  expect_equal(residuals(ppca(~ ., 2, data = frame)), residuals(fit))
})

# Likelihood -------------------------------------------------------------------

test_that("logLik() has what AIC and BIC need", {
  ll <- logLik(fit)
  expect_s3_class(ll, "logLik")
  expect_equal(as.numeric(ll), sum(fit_density(fit, x)))
  expect_identical(attr(ll, "df"), 5 + 10 - 1 + 1)
  expect_identical(attr(ll, "nobs"), 40L)
  expect_identical(nobs(fit), 40L)
  expect_equal(AIC(fit), -2 * as.numeric(ll) + 2 * 15)
  expect_equal(BIC(fit), -2 * as.numeric(ll) + log(40) * 15)
  new <- logLik(fit, x[1:7, ])
  expect_equal(as.numeric(new), sum(fit_density(fit, x[1:7, ])))
  expect_identical(attr(new, "nobs"), 7L)
  expect_identical(attr(new, "df"), 15)
})

test_that("by observation, it is the log density of each row", {
  each <- logLik(fit, x, by = "observation")
  expect_equal(unname(each), fit_density(fit, x))
  expect_named(each, rownames(x))
  expect_equal(logLik(fit, by = "observation"), each)
  expect_equal(sum(each), fit$loglik)
  # Far away, where a p x p inverse would still do: no cancellation.
  far <- x + 1e6
  expect_equal(unname(logLik(fit, far, by = "observation")), fit_density(fit, far))
})

test_that("held-out data have, on average, less likelihood than the fit's own", {
  # E log p(new) is below E log p(train) by about df / n = 15 / 40 nats; over 100 pairs
  # the standard error of the difference of means is about sqrt(2 * 5 / 2 / 40 / 100).
  gap <- vapply(1:100, function(seed) {
    both <- plain(model_data(80, 5, 2, seed = seed))
    f <- ppca(both[1:40, ], 2)
    (f$loglik - as.numeric(logLik(f, both[41:80, ]))) / 40
  }, 0)
  expect_gt(mean(gap), 0.2)
  expect_lt(mean(gap), 0.7)
})

# Coefficients -----------------------------------------------------------------

test_that("coef() gives the parameters", {
  expect_identical(coef(fit), list(loadings = fit$loadings, mean = fit$mean,
                                   sigma2 = fit$sigma2))
  expect_named(coef(ppca(x, 2, scale = TRUE)), c("loadings", "mean", "sigma2", "scale"))
})

# Simulation -------------------------------------------------------------------

test_that("simulated data have the model's mean and covariance", {
  # 20,000 draws: mean within 4 sqrt(c_ii / n), covariance within
  # 4 sqrt((c_ii c_jj + c_ij^2) / n).
  n <- 20000
  for (f in list(fit, ppca(x %*% diag(10^(-2:2)), 2, scale = TRUE))) {
    theta <- marginal(f)
    y <- simulate(f, n, seed = 1)
    expect_identical(dim(y), c(20000L, 5L))
    v <- diag(theta$cov)
    expect_lt(max(abs(colMeans(y) - theta$mean) / sqrt(v / n)), 4)
    expect_lt(max(abs(cov(y) - theta$cov) / sqrt((outer(v, v) + theta$cov^2) / n)), 4)
    # Means only: no noise, rank k.
    w <- f$loadings * if (is.null(f$scale)) 1 else f$scale
    m <- simulate(f, n, seed = 2, type = "mean")
    noiseless <- tcrossprod(unname(w))
    v <- diag(noiseless)
    expect_lt(max(abs(cov(m) - noiseless) / sqrt((outer(v, v) + noiseless^2) / n)), 4)
    expect_identical(qr(sweep(m, 2, f$mean) %*% diag(1 / sqrt(v)), tol = 1e-6)$rank, 2L)
  }
})

test_that("a fit to simulated data comes back to the model", {
  y <- simulate(fit, 20000, seed = 3)
  again <- ppca(y, 2)
  expect_equal(marginal(again), marginal(fit), tolerance = 0.03)
})

test_that("simulate() keeps to the convention for seeds", {
  set.seed(4)
  before <- .Random.seed
  a <- simulate(fit, 3, seed = 1)
  expect_identical(.Random.seed, before) # put back
  expect_identical(simulate(fit, 3, seed = 1), a)
  expect_false(identical(c(simulate(fit, 3, seed = 2)), c(a)))
  expect_identical(as.numeric(attr(a, "seed")), 1)
  expect_identical(attr(attr(a, "seed"), "kind"), as.list(RNGkind()))
  set.seed(1)
  b <- simulate(fit, 3)
  expect_identical(c(b), c(a))
  expect_false(identical(.Random.seed, before))
  # The attribute of an unseeded run is the state to run it again from.
  state <- attr(b, "seed")
  assign(".Random.seed", state, envir = globalenv())
  expect_identical(simulate(fit, 3), b)
})

test_that("simulated data carry the features' names, one row too", {
  expect_identical(colnames(simulate(fit, 2, seed = 1)), letters[1:5])
  expect_identical(dim(simulate(fit)), c(1L, 5L))
  expect_identical(dim(simulate(fit, seed = 1, type = "mean")), c(1L, 5L))
})

# Update -----------------------------------------------------------------------

test_that("update() changes arguments of the call", {
  expect_equal(update(fit, k = 3)$loadings, ppca(x, 3)$loadings)
  expect_identical(update(fit, k = 3)$call, quote(ppca(x = x, k = 3)))
  expect_equal(update(fit, x = x[1:20, ])$loglik, ppca(x[1:20, ], 2)$loglik)
  both <- update(fit, scale = TRUE, sigma2 = 0.5)
  expect_equal(both$loglik, ppca(x, 2, scale = TRUE, sigma2 = 0.5)$loglik)
  k <- 1
  expect_identical(update(fit, k = k)$k, 1L) # values, not only constants
  expect_error(update(fit, kk = 3), "kk", class = "elbo_error")
  expect_error(update(fit, control = em_control(), maxit = 5),
               "`maxit` must be set in `control`", class = "elbo_error")
})

test_that("update() of a closed-form fit ignores what only EM knows", {
  expect_equal(update(fit, maxit = 10)$loglik, fit$loglik)
  expect_equal(update(fit, tol = 1e-3)$loglik, fit$loglik)
})

test_that("update() uses kept data, and keeps the call readable", {
  kept <- local({
    hidden <- x
    ppca(hidden, 2, keep_data = TRUE)
  })
  again <- update(kept, k = 3)
  expect_equal(again$loadings, ppca(x, 3)$loadings)
  expect_identical(again$x, x)
  expect_lt(length(serialize(again, NULL)), length(serialize(kept, NULL)) + 2000)
  expect_lt(max(nchar(capture.output(print(summary(again))))), 100)
  expect_equal(update(again, k = 1)$loglik, ppca(x, 1)$loglik)
})

test_that("update() of a formula's fit works, with the data kept or not", {
  frame <- data.frame(a = x[, 1], b = exp(x[, 2]), c = x[, 3])
  built <- cbind(a = frame$a, `log(b)` = log(frame$b), c = frame$c)
  for (keep in c(FALSE, TRUE)) {
    by_formula <- ppca(~ a + log(b) + c, 1, data = frame, keep_data = keep)
    expect_equal(update(by_formula, k = 2)$loglik, ppca(built, 2)$loglik)
    expect_equal(update(by_formula, data = frame[1:20, ])$loglik, ppca(built[1:20, ], 1)$loglik)
  }
})

test_that("arguments of update() have names, but for a formula", {
  set.seed(1)
  few <- train_control(epochs = 1)
  flowers <- vae(~ Sepal.Length + Sepal.Width + Petal.Width, 2, encoder = 3, data = iris,
                 control = few)
  fits <- list(flowers, vae(x, 2, encoder = 3, control = few), ppca(x, 2), linear_vae(x, 2),
               linear_ae(x, 2))
  for (fit in fits) {
    expect_error(update(fit, 1), "must have names", class = "elbo_error")
    expect_error(update(fit, k = 1, 3), "must have names", class = "elbo_error")
  }
  expect_error(update(fits[[2]], ~ a), "must have names", class = "elbo_error")
  fits <- list(flowers,
               ppca(~ Sepal.Length + Sepal.Width + Petal.Width, 2, data = iris),
               linear_vae(~ Sepal.Length + Sepal.Width + Petal.Width, 2, data = iris))
  for (fit in fits) {
    expect_identical(update(fit, ~ Sepal.Length + Petal.Width, k = 1)$features,
                     c("Sepal.Length", "Petal.Width"))
    found <- update(fit, ~ . - Sepal.Width + log(Petal.Length), k = 1)
    expect_identical(found$features, c("Sepal.Length", "Petal.Width", "log(Petal.Length)"))
    expect_identical(found$k, 1L)
    expect_identical(eval(found$call)$features, found$features)
  }
})

test_that("what update() calls its own is out of the user's way", {
  f <- ppca(x, 2, keep_data = TRUE)
  of <- function(.x, .sigma2) update(f, k = .x, sigma2 = .sigma2)
  expect_identical(of(1, 0.3)[c("k", "sigma2")], list(k = 1L, sigma2 = 0.3))
})

test_that("a formula that is gone is that of the fit's terms", {
  made <- local({
    of <- ~ Sepal.Length + log(Sepal.Width)
    vae(of, 2, encoder = 3, data = iris, control = train_control(epochs = 1))
  })
  expect_identical(update(made, epochs = 3)$features, c("Sepal.Length", "log(Sepal.Width)"))
  # its name is a function's by now; its constants are gone
  made <- (function(formula, data) ppca(formula, 1, data = data))(~ Sepal.Length + Sepal.Width,
                                                                  iris)
  expect_identical(update(made, sigma2 = 0.1, data = iris)$sigma2, 0.1)
  made <- local({
    unit <- 5
    of <- ~ I(Sepal.Length / unit) + Sepal.Width
    ppca(of, 1, data = iris)
  })
  expect_error(update(made, sigma2 = 0.1), "`x` must be given: the formula", class = "elbo_error")
})

# Printing ---------------------------------------------------------------------

test_that("print() fits a screen and states the essentials", {
  out <- capture.output(value <- print(fit))
  expect_identical(value, fit)
  expect_lt(length(out), 12)
  expect_lt(max(nchar(out)), 81)
  expect_match(out[1], "Probabilistic PCA: 40 observations, 5 features, k = 2", fixed = TRUE)
  expect_match(out[2], "closed form (covariance matrix)", fixed = TRUE)
  # Share in the two leading directions, by prcomp().
  share <- summary(prcomp(x))$importance["Cumulative Proportion", 2]
  shown <- sprintf("Variance explained: %.1f %%", 100 * share)
  expect_true(any(grepl(shown, out, fixed = TRUE)))
  expect_true(any(grepl("15 parameters", out)))
  expect_output(print(ppca(x, 2, sigma2 = 1)), "sigma2: 1 (fixed)", fixed = TRUE)
  expect_output(print(ppca(t(x), 2)), "Gram matrix")
  holes <- with_holes(x)
  expect_output(print(ppca(holes, 2)), sprintf("Missing cells: %d (%.1f %%)", sum(is.na(holes)),
                                               100 * mean(is.na(holes))), fixed = TRUE)
  expect_output(print(ppca(round(abs(x)), 2, transform = logit_pixels())),
                "Transform: logit_pixels(alpha = 1e-06, levels = 256)", fixed = TRUE)
})

test_that("summary() lists the components, as prcomp() has them", {
  s <- summary(fit)
  expect_s3_class(s, "summary.ppca")
  p <- summary(prcomp(x))
  expect_equal(s$components$eigenvalue, p$sdev[1:2]^2 * 39 / 40)
  expect_equal(s$components$sd, p$sdev[1:2] * sqrt(39 / 40))
  # prcomp() rounds these to 5 decimals
  expect_equal(s$components$share, unname(p$importance[2, 1:2]), tolerance = 1e-4)
  expect_equal(s$components$cumulative, unname(p$importance[3, 1:2]), tolerance = 1e-4)
  expect_equal(s$components$snr, s$components$eigenvalue / fit$sigma2)
  expect_identical(rownames(s$components), c("z1", "z2"))
  expect_equal(c(s$AIC, s$BIC), c(AIC(fit), BIC(fit)))
  out <- capture.output(value <- print(s))
  expect_identical(value, s)
  expect_match(out[1], "Call: ppca(x = x, k = 2)", fixed = TRUE)
  expect_lt(length(out), 25)
  many <- capture.output(print(summary(ppca(mnist1000$x[1:100, ], 30))))
  expect_lt(length(many), 25)
  expect_match(many[length(many)], "and 20 more dimensions", fixed = TRUE)
  expect_lt(length(serialize(s, NULL)), 5000)
})

test_that("a posterior prints a few rows", {
  out <- capture.output(value <- print(posterior(fit, x)))
  expect_s3_class(value, "latent_posterior")
  expect_lt(length(out), 25)
  expect_match(out[1], "Posterior of 2 latent dimensions for 40 observations, 1 covariance")
  expect_output(print(posterior(fit, with_holes(x))), "patterns of missing cells")
})

test_that("printing works for the odd fits", {
  odd <- list(
    ppca(x, 2, sigma2 = 1e3), ppca(x * 1e-150, 4), ppca(x[1:3, ], 1),
    suppressWarnings(ppca(x, 2, method = "em", control = em_control(maxit = 1))),
    ppca(matrix(1, 3, 3), 1, sigma2 = 1)
  )
  for (f in odd) {
    expect_output(print(f), "Probabilistic PCA")
    out <- capture.output(print(summary(f)))
    expect_false(any(grepl("NaN", out)))
  }
})
