# Missing cells. References: normal densities and conditionals of p x p covariances,
# row by row (helper-ppca.R), optim() on such a likelihood, and Anderson's closed
# form for two features.

quiet <- function(...) em_control(..., progress = FALSE)

fit_holes <- function(x, k, ..., tol = 1e-11, maxit = 20000, accelerate = TRUE) {
  ppca(x, k, ..., control = quiet(tol = tol, maxit = maxit, accelerate = accelerate))
}

# Worked by hand ---------------------------------------------------------------

# +-(2, 2) and +-(1, -1): S = (2.5, 1.5; 1.5, 2.5), eigenvalues 4 and 1 along (1, 1)
# and (1, -1). With k = 1: sigma2 = 1, W = sqrt(3 / 2) (1, 1), C = S.
diagonal_points <- cbind(a = c(2, -2, 1, -1), b = c(2, -2, -1, 1))

test_that("a row with one of two cells has the posterior worked by hand", {
  fit <- ppca(diagonal_points, 1)
  half <- cbind(a = 2, b = NA)
  # From the observed cell alone, w = sqrt(1.5): M = 1.5 + 1,
  # E z = sqrt(1.5) 2 / 2.5, Var z = 1 / 2.5.
  post <- posterior(fit, half)
  expect_equal(unname(post$mean), cbind(sqrt(1.5) * 0.8))
  expect_equal(unname(post$variance), cbind(0.4))
  # E(b | a = 2) = 1.5 / 2.5 * 2 = 1.2 and its density is N(a; 0, 2.5).
  expect_equal(impute(fit, half), cbind(a = 2, b = 1.2))
  expect_equal(logLik(fit, half, by = "observation"), dnorm(2, 0, sqrt(2.5), log = TRUE))
  # The reconstruction of the observed cell is not the cell: W E z = 1.5 * 0.8.
  expect_equal(predict(fit, half, type = "reconstruction"), cbind(a = 1.2, b = 1.2))
  expect_equal(residuals(fit, half), cbind(a = 0.8, b = NA))
})

test_that("two features, the second missing at times: Anderson's closed form", {
  # p = 2, k = 1 is the unrestricted bivariate normal, whose maximum with a monotone
  # pattern is known (Anderson 1957, JASA 52, 200-203): the margin of the first
  # feature from all rows, the regression of the second from the complete ones.
  x <- plain(model_data(60, 2, 1, sigma2 = 0.5, seed = 11))
  x[31:60, 2][x[31:60, 1] > 0.5] <- NA # depends on what is seen: missing at random
  seen <- !is.na(x[, 2])
  expect_gt(sum(!seen), 10)
  m1 <- mean(x[, 1])
  s11 <- mean((x[, 1] - m1)^2)
  line <- lm(x[seen, 2] ~ x[seen, 1])
  beta <- coef(line)
  s22 <- mean(residuals(line)^2) + beta[[2]]^2 * s11
  for (accelerate in c(TRUE, FALSE)) {
    fit <- fit_holes(x, 1, accelerate = accelerate, tol = 1e-14)
    expect_equal(marginal(fit)$mean, c(m1, beta[[1]] + beta[[2]] * m1), tolerance = 1e-5)
    expect_equal(marginal(fit)$cov,
                 rbind(c(s11, beta[[2]] * s11), c(beta[[2]] * s11, s22)), tolerance = 1e-5)
  }
})

# Likelihood -------------------------------------------------------------------

test_that("the likelihood is the density of the observed cells", {
  for (k in 1:3) {
    x <- with_holes(model_data(60, 5, 2), 0.3)
    fit <- fit_holes(x, k, tol = 1e-6)
    expect_equal(logLik(fit, x, by = "observation"), fit_density(fit, x))
    expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-10)
    expect_equal(as.numeric(logLik(fit, x)), fit$loglik, tolerance = 1e-10)
    expect_identical(fit$observed, sum(!is.na(x)) * 1)
    expect_identical(fit$df, ppca(model_data(60, 5, 2), k)$df)
    expect_canonical(fit$loadings)
  }
})

test_that("so it is with a scale, and with a transform", {
  x <- with_holes(model_data(60, 5, 2) %*% diag(10^(-2:2)))
  fit <- fit_holes(x, 2, scale = TRUE)
  expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-9)
  expect_equal(unname(fit$scale),
               apply(x, 2, function(v) sqrt(mean((v - mean(v, na.rm = TRUE))^2, na.rm = TRUE))))
  expect_identical(fit$df, 5 + 5 + 9 + 1)
  set.seed(5)
  pixels <- with_holes(matrix(rbinom(60 * 5, 255, 0.4), 60))
  set.seed(8)
  fit <- fit_holes(pixels, 2, transform = logit_pixels(0.01), tol = 1e-6)
  set.seed(8)
  a <- 0.01 + 0.98 * (pixels + matrix(runif(300), 60)) / 256
  jacobian <- sum(log(0.98 / 256 / (a * (1 - a))), na.rm = TRUE)
  expect_equal(fit$loglik, sum(fit_density(fit, log(a / (1 - a)))) + jacobian,
               tolerance = 1e-9)
  filled <- impute(fit, pixels)
  expect_identical(filled[!is.na(pixels)], as.numeric(pixels[!is.na(pixels)]))
  expect_true(all(filled > 0 & filled < 256))
})

test_that("a fit of complete data has the right likelihood of incomplete data", {
  x <- plain(model_data(40, 6, 2))
  fit <- ppca(x, 2)
  for (share in c(0.05, 0.5, 0.9)) {
    holes <- with_holes(x, share)
    expect_equal(logLik(fit, holes, by = "observation"), fit_density(fit, holes))
  }
  # Where nothing is missing, the two paths to a likelihood meet.
  expect_equal(sum(logLik(fit, x, by = "observation")), fit$loglik)
})

# The optimum ------------------------------------------------------------------

# Log-likelihood of theta = (mu, W by columns, log sigma2); parts may be held.
theta_target <- function(x, k, mean = NULL, sigma2 = NULL) {
  p <- ncol(x)
  function(theta) {
    mu <- if (is.null(mean)) theta[1:p] else mean
    if (is.null(mean)) theta <- theta[-(1:p)]
    w <- matrix(theta[seq_len(p * k)], p)
    noise <- if (is.null(sigma2)) exp(theta[p * k + 1]) else sigma2
    sum(log_density(x, mu, w %*% t(w) + noise * diag(p)))
  }
}

theta_of <- function(fit, mean = TRUE, sigma2 = TRUE) {
  unname(c(if (mean) fit$mean, fit$loadings, if (sigma2) log(fit$sigma2)))
}

gradient <- function(f, theta, h = 1e-4) {
  vapply(seq_along(theta), function(i) {
    step <- replace(numeric(length(theta)), i, h)
    (f(theta + step) - f(theta - step)) / (2 * h)
  }, 0)
}

test_that("EM ends where the direct likelihood is stationary", {
  x <- with_holes(model_data(40, 4, 2, seed = 5), 0.25)
  for (accelerate in c(TRUE, FALSE)) {
    full <- fit_holes(x, 2, tol = 1e-13, accelerate = accelerate)
    expect_lt(max(abs(gradient(theta_target(x, 2), theta_of(full)))), 1e-2)
    held <- fit_holes(x, 2, sigma2 = 0.3, tol = 1e-13, accelerate = accelerate)
    expect_identical(held$sigma2, 0.3)
    expect_lt(max(abs(gradient(theta_target(x, 2, sigma2 = 0.3),
                               theta_of(held, sigma2 = FALSE)))), 1e-2)
    origin <- fit_holes(x, 2, center = FALSE, tol = 1e-13, accelerate = accelerate)
    expect_identical(unname(origin$mean), numeric(4))
    expect_lt(max(abs(gradient(theta_target(x, 2, mean = numeric(4)),
                               theta_of(origin, mean = FALSE)))), 1e-2)
    # A step off by a hundredth would show: gradients there are larger.
    off <- theta_of(full) + 0.01
    expect_gt(max(abs(gradient(theta_target(x, 2), off))), 0.1)
  }
})

# One parameter-expanded EM step (Liu, Rubin and Wu 1998, Biometrika 85, 755-770), row
# by row and feature by feature: regress each feature on (1, z) over the rows where it
# is seen, let z ~ N(nu, R) have its own moments, and fold these into mu and W.
px_em_step <- function(x, mu, w, sigma2, fix_mu = FALSE) {
  k <- ncol(w)
  post <- lapply(seq_len(nrow(x)), function(i) latent_conditional(x[i, ], mu, w, sigma2))
  z <- t(vapply(post, function(one) c(1, one$mean), numeric(k + 1)))
  second <- lapply(seq_along(post), function(i) {
    tcrossprod(z[i, ]) + rbind(0, cbind(0, post[[i]]$cov))
  })
  use <- if (fix_mu) -1 else seq_len(k + 1)
  beta <- matrix(0, ncol(x), k + 1)
  squares <- 0
  for (j in seq_len(ncol(x))) {
    rows <- which(!is.na(x[, j]))
    a <- Reduce(`+`, second[rows])
    b <- colSums(x[rows, j] * z[rows, , drop = FALSE])
    beta[j, use] <- solve(a[use, use], b[use])
    squares <- squares + sum(x[rows, j]^2) - 2 * sum(beta[j, ] * b) +
      sum(beta[j, ] * (a %*% beta[j, ]))
  }
  moments <- Reduce(`+`, second) / nrow(x)
  nu <- if (fix_mu) numeric(k) else moments[1, -1]
  r <- moments[-1, -1] - tcrossprod(nu)
  slope <- beta[, -1, drop = FALSE]
  list(mean = beta[, 1] + drop(slope %*% nu), signal = slope %*% r %*% t(slope),
       sigma2 = squares / sum(!is.na(x)))
}

test_that("one plain map is the parameter-expanded EM step", {
  x <- with_holes(plain(model_data(30, 5, 2, seed = 5)), 0.3)
  x[8, ] <- NA
  for (center in c(TRUE, FALSE)) {
    start <- ppca(model_data(30, 5, 2, seed = 9), 2, center = center)
    start$mean <- start$mean + if (center) c(3, -2, 1, 0, 2) else 0
    start$iterations <- 0L
    start$history <- start$history[0, ]
    expect_warning(
      fit <- ppca(x, 2, center = center,
                  control = quiet(maxit = 2, accelerate = FALSE, start = start)),
      "not converged"
    )
    direct <- px_em_step(x, unname(start$mean), unname(start$loadings), start$sigma2,
                         fix_mu = !center)
    expect_equal(unname(fit$mean), direct$mean)
    expect_equal(tcrossprod(unname(fit$loadings)), direct$signal)
    expect_equal(fit$sigma2, direct$sigma2)
    expect_equal(fit$history$loglik[1], sum(fit_density(start, x)))
    expect_equal(fit$history$loglik[2], sum(fit_density(fit, x)))
  }
})

test_that("optim() on the direct likelihood, started elsewhere, finds the same maximum", {
  x <- with_holes(model_data(30, 4, 1, seed = 6), 0.25)
  fit <- fit_holes(x, 1)
  f <- theta_target(x, 1)
  safe <- function(theta) tryCatch(f(theta), error = function(e) -1e10)
  found <- vapply(1:3, function(seed) {
    set.seed(seed)
    optim(c(rnorm(4), rnorm(4), 0), safe, method = "BFGS",
          control = list(fnscale = -1, reltol = 1e-12, maxit = 500))$value
  }, 0)
  expect_lt(max(found), fit$loglik + 1e-6)
  expect_gt(max(found), fit$loglik - 1e-3)
})

test_that("many rows are read block by block, to the same optimum", {
  # Blocks hold 2,048 rows at most.
  x <- with_holes(model_data(5000, 3, 1, seed = 7), 0.2)
  fit <- fit_holes(x, 1, tol = 1e-13)
  expect_equal(logLik(fit, x, by = "observation"), fit_density(fit, x))
  expect_lt(max(abs(gradient(theta_target(x, 1), theta_of(fit)))), 0.2) # of 5,000 rows
})

test_that("plain and accelerated EM never fall, and meet", {
  for (seed in 1:3) {
    x <- with_holes(model_data(50, 6, 2, seed = seed), 0.3, seed)
    fast <- fit_holes(x, 2)
    slow <- fit_holes(x, 2, accelerate = FALSE)
    for (fit in list(fast, slow)) {
      expect_true(fit$converged)
      expect_gte(min(diff(fit$history$loglik)), -1e-9)
      expect_true(all(diff(fit$history$iteration) >= 1))
      expect_identical(fit$history$loglik[nrow(fit$history)], fit$loglik)
      expect_identical(fit$history$iteration[nrow(fit$history)], fit$iterations)
    }
    expect_lt(abs(fast$loglik - slow$loglik) / 50, 1e-6)
    expect_lt(fast$iterations, slow$iterations)
  }
})

test_that("other starts come to the same maximum", {
  x <- with_holes(model_data(50, 6, 2), 0.3)
  fit <- fit_holes(x, 2)
  for (seed in 1:4) {
    start <- fit
    set.seed(seed)
    start$loadings[] <- rnorm(12)
    start$mean[] <- rnorm(6, 0, 3)
    start$sigma2 <- exp(rnorm(1))
    again <- ppca(x, 2, control = quiet(tol = 1e-11, maxit = 20000, start = start))
    expect_lt(abs(again$loglik - fit$loglik) / 50, 1e-6)
  }
})

test_that("from a start far away the likelihood never falls either", {
  # A mean 30 deviations off: E z is far from 0, and all of mu, W and sigma2 move.
  x <- with_holes(plain(model_data(50, 6, 2)), 0.3)
  for (accelerate in c(TRUE, FALSE)) for (k in 1:2) {
    start <- fit_holes(x, k, tol = 1e-3)
    start$mean <- start$mean + c(30, -20, 10, 30, 5, -40)
    start$sigma2 <- 0.01
    start$history <- start$history[0, ]
    fit <- ppca(x, k, control = quiet(tol = 1e-10, maxit = 20000, start = start,
                                      accelerate = accelerate))
    expect_gt(min(diff(fit$history$loglik)), -1e-9 * abs(fit$history$loglik[1]))
    expect_lt(abs(fit$loglik - fit_holes(x, k)$loglik) / 50, 1e-5)
  }
})

test_that("update(maxit = ) continues with missing cells too", {
  x <- with_holes(model_data(50, 6, 2), 0.3)
  expect_warning(short <- ppca(x, 2, control = quiet(tol = 1e-11, maxit = 5)),
                 "EM has not converged")
  expect_lte(short$iterations, 5)
  done <- update(short, maxit = 20000)
  expect_true(done$converged)
  expect_gt(done$iterations, short$iterations)
  expect_identical(done$history[seq_len(nrow(short$history)), ], short$history)
  expect_gte(min(diff(done$history$loglik)), -1e-9)
  expect_lt(abs(done$loglik - fit_holes(x, 2)$loglik) / 50, 1e-6)
})

test_that("maxit is a bound on the maps", {
  x <- with_holes(model_data(50, 6, 2), 0.3)
  for (maxit in 1:8) {
    fit <- suppressWarnings(ppca(x, 2, control = quiet(tol = 1e-13, maxit = maxit)))
    expect_lte(fit$iterations, maxit)
    expect_gte(fit$iterations, maxit - 1)
  }
})

test_that("known parameters are recovered from 70 % of the cells", {
  # 40 data sets of 400 x 8, k = 2, noise 1/4. The plane within 7 degrees, the noise
  # within 12 % (3.4 times the standard error sqrt(2 / (0.7 * 400 * 6))), in at least
  # 38 of them.
  good <- vapply(1:40, function(seed) {
    x <- model_data(400, 8, 2, seed = seed)
    fit <- fit_holes(with_holes(x, 0.3, seed), 2, tol = 1e-7)
    cosines <- svd(crossprod(qr.Q(qr(attr(x, "w"))), qr.Q(qr(fit$loadings))))$d
    c(acos(min(cosines, 1)) * 180 / pi < 7, abs(fit$sigma2 / 0.25 - 1) < 0.12)
  }, logical(2))
  expect_gte(sum(good[1, ]), 38)
  expect_gte(sum(good[2, ]), 38)
})

# Complete data on the same path -----------------------------------------------

test_that("one missing cell among thousands hardly moves the fit", {
  x <- plain(model_data(400, 6, 2))
  whole <- ppca(x, 2)
  x[7, 3] <- NA
  fit <- fit_holes(x, 2)
  expect_equal(marginal(fit), marginal(whole), tolerance = 0.01)
  expect_equal(fit$loadings, whole$loadings, tolerance = 0.02)
  expect_equal(fit$values, whole$values[1:2], tolerance = 0.01)
  expect_equal(fit$trace, whole$trace, tolerance = 0.01)
})

# Posterior --------------------------------------------------------------------

test_that("the posterior is the conditional of the joint normal, row by row", {
  x <- with_holes(model_data(30, 5, 2), 0.4)
  x[9, ] <- NA
  fit <- ppca(model_data(30, 5, 2), 2)
  post <- posterior(fit, x)
  expect_identical(dim(post$mean), c(30L, 2L))
  for (i in 1:30) {
    direct <- latent_conditional(x[i, ], fit$mean, unname(fit$loadings), fit$sigma2)
    cov <- unname(post$cov[, , post$pattern[i]])
    expect_equal(unname(post$mean[i, ]), direct$mean)
    expect_equal(cov, direct$cov)
    expect_equal(unname(post$variance[i, ]), diag(direct$cov))
  }
  expect_equal(predict(fit, x), post$mean)
  # A pattern for each set of missing cells, and no more.
  sets <- apply(is.na(x), 1, paste, collapse = " ")
  expect_identical(dim(post$cov)[3], length(unique(sets)))
  expect_identical(length(unique(paste(sets, post$pattern))), length(unique(sets)))
})

test_that("with a scale, too", {
  x <- with_holes(model_data(30, 5, 2) %*% diag(10^(-2:2)), 0.4)
  fit <- fit_holes(x, 2, scale = TRUE, tol = 1e-6)
  z <- sweep(sweep(x, 2, fit$mean), 2, fit$scale, "/")
  post <- posterior(fit, x)
  for (i in 1:30) {
    direct <- latent_conditional(z[i, ], numeric(5), unname(fit$loadings), fit$sigma2)
    expect_equal(unname(post$mean[i, ]), direct$mean)
    expect_equal(unname(post$cov[, , post$pattern[i]]), direct$cov)
  }
})

test_that("rows with one pattern, or each with its own, give the same as one by one", {
  x <- plain(model_data(33, 6, 2))
  fit <- ppca(x, 2)
  shared <- x
  shared[, c(2, 5)] <- NA
  own <- with_holes(x, 0.5)
  for (data in list(shared, own, x)) {
    each <- do.call(rbind, lapply(1:33, function(i) {
      row <- data[i, , drop = FALSE]
      c(predict(fit, row), logLik(fit, row, by = "observation"), posterior(fit, row)$variance)
    }))
    expect_equal(unname(cbind(predict(fit, data), logLik(fit, data, by = "observation"),
                              posterior(fit, data)$variance)), each, tolerance = 1e-12)
  }
})

test_that("a row without any observed cell is kept, with the prior", {
  x <- plain(model_data(30, 5, 2))
  without <- ppca(with_holes(x), 2, control = quiet(tol = 1e-11, maxit = 5000))
  data <- rbind(with_holes(x), NA)
  fit <- fit_holes(data, 2)
  expect_identical(fit$n, 31L)
  expect_equal(unname(fit$scores[31, ]), c(0, 0))
  post <- posterior(fit, data)
  expect_equal(unname(post$mean[31, ]), c(0, 0))
  expect_equal(unname(post$cov[, , post$pattern[31]]), diag(2))
  expect_equal(logLik(fit, data, by = "observation")[31], 0)
  expect_equal(impute(fit, data)[31, ], unname(fit$mean))
  # It says nothing: neither the maximum nor the parameters change.
  expect_lt(abs(fit$loglik - without$loglik) / 30, 1e-7)
  expect_equal(marginal(fit), marginal(without), tolerance = 1e-2)
})

# What counts as missing -------------------------------------------------------

test_that("NaN counts as NA, and Inf is an error that names the column", {
  x <- with_holes(model_data(30, 5, 2))
  nan <- replace(x, is.na(x), NaN)
  expect_equal(fit_holes(nan, 2)$loglik, fit_holes(x, 2)$loglik)
  expect_equal(impute(fit_holes(x, 2), nan), impute(fit_holes(x, 2), x))
  for (value in c(Inf, -Inf)) {
    bad <- x
    bad[4, 3] <- value
    expect_error(ppca(bad, 2), "`x` must hold finite numbers or NA, not Inf in column 3.",
                 fixed = TRUE, class = "elbo_error")
    colnames(bad) <- letters[1:5]
    expect_error(ppca(bad, 2), "Inf in column \"c\"", fixed = TRUE)
    expect_error(predict(ppca(model_data(30, 5, 2), 2), unname(bad)),
                 "`newdata` must hold finite", fixed = TRUE)
  }
})

test_that("a column without any observed cell is an error that names it", {
  x <- model_data(30, 5, 2)
  x[, c(2, 4)] <- NA
  expect_error(ppca(x, 2), "`x` must have at least one observed cell.*column 2, column 4",
               class = "elbo_error")
  colnames(x) <- letters[1:5]
  expect_error(ppca(x, 2), "column \"b\", column \"d\" have none", fixed = TRUE)
  x[1, 2] <- 0
  expect_error(ppca(x, 2), "column \"d\" has none", fixed = TRUE)
  # New data may lack what they like.
  fit <- ppca(plain(model_data(30, 5, 2)), 2)
  expect_equal(unname(predict(fit, matrix(NA_real_, 2, 5))), matrix(0, 2, 2))
  expect_identical(dim(predict(fit, matrix(NA_integer_, 2, 5))), c(2L, 2L))
})

test_that("the closed form refuses missing cells", {
  expect_error(ppca(with_holes(model_data(30, 5, 2)), 2, method = "mle"),
               "`method` must be \"auto\" or \"em\" where cells are missing", fixed = TRUE)
})

# Kinds of data ----------------------------------------------------------------

test_that("integer, sparse and data-frame input with NA equal the matrix", {
  set.seed(3)
  x <- matrix(rpois(40 * 6, 3), 40, dimnames = list(NULL, letters[1:6]))
  x <- with_holes(x, 0.2)
  expect_type(x, "integer")
  double <- x * 1
  fit <- fit_holes(double, 2, tol = 1e-8)
  kinds <- list(x, as.data.frame(x), as.data.frame(double))
  if (requireNamespace("Matrix", quietly = TRUE)) {
    sparse <- methods::as(Matrix::Matrix(double, sparse = TRUE), "generalMatrix")
    expect_true(anyNA(sparse@x) && any(as.matrix(sparse) == 0, na.rm = TRUE))
    kinds <- c(kinds, sparse, methods::as(sparse, "TsparseMatrix"))
  }
  for (data in kinds) {
    other <- fit_holes(data, 2, tol = 1e-8)
    expect_equal(other$loglik, fit$loglik, tolerance = 1e-10)
    expect_equal(other$loadings, fit$loadings, tolerance = 1e-8)
    expect_equal(other$mean, fit$mean, tolerance = 1e-8)
    expect_equal(predict(fit, data), predict(fit, double))
    expect_equal(logLik(fit, data, by = "observation"),
                 logLik(fit, double, by = "observation"))
    expect_equal(unclass(posterior(fit, data)), unclass(posterior(fit, double)))
    expect_equal(residuals(fit, data), residuals(fit, double))
    expect_equal(as.matrix(impute(fit, data)), impute(fit, double))
  }
})

test_that("a wide integer matrix of many words of patterns", {
  # 200 columns: patterns that differ in a late column only are told apart.
  set.seed(4)
  x <- matrix(rpois(30 * 200, 4), 30)
  x[2, 150] <- NA
  x[3, 199] <- NA
  x[4, c(1, 150)] <- NA
  x[5, 150] <- NA
  fit <- ppca(x, 2, control = quiet(tol = 1e-4))
  post <- posterior(fit, x)
  expect_identical(post$pattern, c(1:4, 2L, rep(1L, 25)))
  expect_equal(logLik(fit, x, by = "observation"), fit_density(fit, x))
})

# Imputation -------------------------------------------------------------------

test_that("imputation by the mean is the conditional mean, and leaves the rest alone", {
  x <- with_holes(model_data(30, 5, 2), 0.4)
  x[9, ] <- NA
  for (fit in list(fit_holes(x, 2, tol = 1e-6), fit_holes(x, 2, scale = TRUE, tol = 1e-6))) {
    filled <- impute(fit, x)
    theta <- marginal(fit)
    expect_false(anyNA(filled))
    expect_identical(filled[!is.na(x)], x[!is.na(x)])
    for (i in which(rowSums(is.na(x)) > 0)) {
      expect_equal(filled[i, is.na(x[i, ])], conditional(x[i, ], theta$mean, theta$cov)$mean)
    }
  }
})

test_that("data come back in the form they were passed", {
  x <- as.data.frame(with_holes(plain(model_data(30, 4, 2))))
  names(x) <- c("a", "b", "c", "d")
  row.names(x) <- paste0("r", 1:30)
  fit <- fit_holes(x, 2)
  filled <- impute(fit, x)
  expect_s3_class(filled, "data.frame")
  expect_identical(dimnames(filled), dimnames(x))
  expect_identical(filled$a[!is.na(x$a)], x$a[!is.na(x$a)])
  # other columns, other order
  more <- cbind(note = "n", x[4:1])
  expect_identical(impute(fit, more), filled)
  expect_true(is.matrix(impute(fit, as.matrix(x))))
  several <- impute(fit, x, draws = 2)
  expect_type(several, "list")
  expect_length(several, 2)
  expect_s3_class(several[[2]], "data.frame")
  # nothing to fill
  whole <- x[stats::complete.cases(x), ]
  expect_equal(impute(fit, whole), whole)
  expect_identical(names(impute(fit, x[0, ])), names(x))
  skip_if_not_installed("Matrix")
  set.seed(3)
  counts <- with_holes(matrix(rpois(160, 2) * 1, 40))
  sparse <- methods::as(Matrix::Matrix(counts, sparse = TRUE), "generalMatrix")
  fit <- fit_holes(sparse, 2, tol = 1e-6)
  expect_s4_class(impute(fit, sparse), "dgCMatrix")
  expect_equal(as.matrix(impute(fit, sparse)), impute(fit, counts))
  # Cells are drawn column by column in both, so that one seed draws the same.
  set.seed(1)
  drawn <- impute(fit, sparse, draws = 1)[[1]]
  expect_s4_class(drawn, "dgCMatrix")
  set.seed(1)
  expect_equal(as.matrix(drawn), impute(fit, counts, draws = 1)[[1]])
})

test_that("draws have the conditional mean and covariance", {
  # Each of three rows 8,000 times. The error of a mean is sd / sqrt(8000), that of a
  # covariance sqrt((c_ii c_jj + c_ij^2) / 8000): all within 4 of those.
  x <- plain(model_data(50, 5, 2, seed = 3)) %*% diag(c(1, 10, 1, 0.1, 1))
  times <- 8000
  rows <- rbind(replace(x[1, ], c(1, 2, 4), NA), replace(x[2, ], 3, NA), NA)
  for (fit in list(ppca(x, 2), ppca(x, 2, scale = TRUE))) {
    theta <- marginal(fit)
    set.seed(1)
    drawn <- impute(fit, rows[rep(1:3, each = times), ], draws = 1)[[1]]
    for (i in 1:3) {
      gone <- which(is.na(rows[i, ]))
      y <- drawn[(i - 1) * times + seq_len(times), gone, drop = FALSE]
      direct <- conditional(rows[i, ], theta$mean, theta$cov)
      v <- diag(as.matrix(direct$cov))
      expect_lt(max(abs(colMeans(y) - direct$mean) / sqrt(v / times)), 4)
      error <- sqrt((outer(v, v) + direct$cov^2) / times)
      expect_lt(max(abs(cov(y) - direct$cov) / error), 4)
    }
  }
})

test_that("draws differ, follow the seed, and leave observed cells alone", {
  x <- with_holes(model_data(30, 5, 2))
  fit <- fit_holes(x, 2, tol = 1e-6)
  set.seed(1)
  several <- impute(fit, x, draws = 3)
  set.seed(1)
  expect_identical(impute(fit, x, draws = 3), several)
  gone <- is.na(x)
  for (one in several) expect_identical(one[!gone], x[!gone])
  expect_true(all(several[[1]][gone] != several[[2]][gone]))
  # one dimension: its 1 x 1 covariance is a matrix all the same
  fit <- fit_holes(x, 1, tol = 1e-6)
  expect_false(anyNA(impute(fit, x, draws = 1)[[1]]))
})

test_that("imputed cells are better guesses than column means", {
  # The model's own mean squared error: v = cov of missing given seen, on average.
  x <- plain(model_data(400, 8, 2))
  holes <- with_holes(x, 0.2)
  gone <- is.na(holes)
  fit <- fit_holes(holes, 2, tol = 1e-7)
  error <- mean((impute(fit, holes)[gone] - x[gone])^2)
  by_mean <- mean((rep(colMeans(holes, na.rm = TRUE), each = 400)[gone] - x[gone])^2)
  expect_lt(error, by_mean / 3)
  theta <- marginal(fit)
  expected <- unlist(lapply(1:400, function(i) {
    if (any(gone[i, ])) diag(as.matrix(conditional(holes[i, ], theta$mean, theta$cov)$cov))
  }))
  expect_equal(error, mean(expected), tolerance = 0.2)
})

test_that("residuals are NA where a cell is missing, fitted values are not", {
  x <- with_holes(model_data(30, 5, 2))
  fit <- fit_holes(x, 2, tol = 1e-6)
  r <- residuals(fit, x)
  expect_identical(plain(is.na(r)), is.na(plain(x)))
  expect_false(anyNA(fitted(fit)))
  expect_equal(plain(r), plain(x) - plain(fitted(fit)))
  expect_equal(fit$scores, predict(fit, x))
})

# Awkward data -----------------------------------------------------------------

test_that("more features than observations", {
  x <- with_holes(model_data(8, 15, 2, seed = 2), 0.2)
  for (accelerate in c(TRUE, FALSE)) {
    fit <- fit_holes(x, 2, tol = 1e-10, accelerate = accelerate)
    expect_true(fit$converged)
    expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-9)
    expect_gte(min(diff(fit$history$loglik)), -1e-8)
  }
})

test_that("few observed cells: one to three a row", {
  x <- plain(model_data(80, 6, 1, seed = 3))
  set.seed(3)
  keep <- t(vapply(1:80, function(i) seq_len(6) %in% sample(6, sample(3, 1)), logical(6)))
  x[!keep] <- NA
  fit <- fit_holes(x, 1, tol = 1e-9)
  expect_equal(logLik(fit, x, by = "observation"), fit_density(fit, x))
  expect_gte(min(diff(fit$history$loglik)), -1e-8)
  expect_lt(max(abs(gradient(theta_target(x, 1), theta_of(fit)))), 0.1)
})

test_that("where the observed cells are fitted exactly, the error says what to do", {
  # Rank 1 without noise: with two cells in every row nothing is left for sigma2.
  set.seed(2)
  x <- outer(rnorm(20), rnorm(4))
  x[cbind(1:20, rep(1:4, 5))] <- NA
  expect_error(suppressWarnings(ppca(x, 3)), "`k` must be smaller", class = "elbo_error")
  expect_s3_class(fit <- suppressWarnings(ppca(x, 1, sigma2 = 0.1)), "ppca")
  expect_equal(fit$loglik, sum(fit_density(fit, x)))
})

test_that("a fit without noise is refused, not passed off as converged", {
  # 12 x 10 with 30 % missing and k >= 6: 10 + 60 parameters and 72 scores for some 86
  # cells. They can be fitted exactly, and the likelihood has no bound as sigma2 falls.
  # Either EM has stopped at a proper maximum, or it has to say so.
  for (seed in 1:6) for (k in 5:9) {
    x <- with_holes(plain(model_data(12, 10, 3, seed = seed)), 0.3, seed)
    fit <- tryCatch(suppressWarnings(ppca(x, k)), elbo_error = conditionMessage)
    if (is.character(fit)) {
      expect_match(fit, "`k` must be smaller")
    } else {
      expect_gt(fit$sigma2, 1e-9 * mean(apply(x, 2, var, na.rm = TRUE)))
    }
  }
})

test_that("a column constant where it is seen is fitted", {
  x <- cbind(plain(model_data(40, 4, 2)), 5)
  x <- with_holes(x, 0.15)
  fit <- fit_holes(x, 2, tol = 1e-8)
  expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-9)
  expect_equal(fit$mean[5], 5, tolerance = 1e-3)
})

test_that("rows and columns may come in any order", {
  x <- with_holes(plain(model_data(40, 5, 2)), 0.2)
  fit <- fit_holes(x, 2)
  set.seed(2)
  rows <- sample(40)
  columns <- sample(5)
  other <- fit_holes(x[rows, columns], 2)
  expect_lt(abs(other$loglik - fit$loglik) / 40, 1e-8)
  expect_equal(impute(other, x[rows, columns]), impute(fit, x)[rows, columns],
               tolerance = 1e-3)
})

test_that("the path of the iteration does not depend on the units", {
  # A power of two changes no digit: the same maps, the same gains.
  x <- with_holes(plain(model_data(40, 5, 2)), 0.2)
  for (accelerate in c(TRUE, FALSE)) {
    fit <- fit_holes(x, 2, accelerate = accelerate)
    for (by in 2^c(-20, 20)) {
      other <- fit_holes(x * by, 2, accelerate = accelerate)
      expect_identical(other$iterations, fit$iterations)
      expect_equal(diff(other$history$loglik), diff(fit$history$loglik), tolerance = 1e-4)
      expect_equal(other$loadings / by, fit$loadings, tolerance = 1e-6)
    }
  }
})

test_that("units of 1e-150 and 1e150 move the likelihood by log c a cell", {
  x <- with_holes(plain(model_data(40, 5, 2)), 0.2)
  fit <- fit_holes(x, 2)
  for (by in c(1e-150, 1e150)) {
    other <- fit_holes(x * by, 2)
    expect_lt(abs(other$loglik - fit$loglik + sum(!is.na(x)) * log(by)) / 40, 1e-6)
    expect_equal(other$loadings / by, fit$loadings, tolerance = 1e-3)
    expect_equal(impute(other, x * by) / by, impute(fit, x), tolerance = 1e-3)
    expect_equal(as.numeric(logLik(other, x * by)), other$loglik, tolerance = 1e-10)
    set.seed(1)
    expect_true(all(is.finite(impute(other, x * by, draws = 1)[[1]])))
  }
})

test_that("observed cells that do not vary need sigma2", {
  # One observation a column: its mean is that value, and no noise is left.
  x <- matrix(NA_real_, 5, 3)
  x[cbind(1:3, 1:3)] <- 1:3
  expect_error(ppca(x, 1), "`x` must vary, or `sigma2` be given", class = "elbo_error")
  fit <- suppressWarnings(ppca(x, 1, sigma2 = 2))
  expect_equal(fit$loglik, 3 * dnorm(0, 0, sqrt(2), log = TRUE))
  expect_equal(unname(fit$mean), c(1, 2, 3))
})
