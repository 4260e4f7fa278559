# The closed form. References: helper-ppca.R (definitions), prcomp(), hand-worked
# cases, and the known answer of 1,000 MNIST digits.

# By hand ----------------------------------------------------------------------

# Four points (+-2, 0), (0, +-1): mean 0, S = diag(2, 1/2). With k = 1:
# sigma2 = 1/2, W = (sqrt(2 - 1/2), 0), C = S exactly, so that
# loglik/n = -(2 log 2 pi + log(2 * 1/2) + 2) / 2 = -(log 2 pi + 1).
cross <- cbind(a = c(2, -2, 0, 0), b = c(0, 0, 1, -1))

test_that("a cross of four points gives the solution worked by hand", {
  fit <- ppca(cross, 1)
  expect_equal(fit$loadings, matrix(c(sqrt(1.5), 0), 2, dimnames = list(c("a", "b"), "z1")))
  expect_equal(fit$mean, c(a = 0, b = 0))
  expect_equal(fit$sigma2, 0.5)
  expect_equal(fit$values, c(2, 0.5))
  expect_equal(fit$trace, 2.5)
  expect_equal(fit$loglik, -4 * (log(2 * pi) + 1))
  # M = 1.5 + 0.5 = 2: E z = sqrt(1.5) x_1 / 2, Var z = 0.5 / 2.
  expect_equal(unname(fit$scores[, 1]), sqrt(1.5) * c(1, -1, 0, 0))
  expect_equal(unname(posterior(fit, cross)$variance[, 1]), rep(0.25, 4))
  # W E z = 1.5 x_1 / 2.
  expect_equal(fitted(fit), cbind(a = c(1.5, -1.5, 0, 0), b = 0))
  expect_identical(fit$df, 2 + 2 + 1)
  expect_identical(c(fit$n, fit$p, fit$k, fit$iterations), c(4L, 2L, 1L, 0L))
  expect_true(fit$converged)
})

test_that("a fixed noise variance is kept, and shortens the loadings by hand", {
  # sigma2 = 1: W = (sqrt(2 - 1), 0), C = diag(2, 1),
  # loglik/n = -(2 log 2 pi + log 2 + 2/2 + 0.5/1) / 2.
  fit <- ppca(cross, 1, sigma2 = 1)
  expect_equal(unname(fit$loadings), cbind(c(1, 0)))
  expect_identical(fit$sigma2, 1)
  expect_equal(fit$loglik, -2 * (2 * log(2 * pi) + log(2) + 1.5))
  expect_identical(fit$df, 2 + 2)
})

# Against the definition -------------------------------------------------------

test_that("the solution is that of Tipping and Bishop, for every k", {
  x <- model_data(40, 6, 2)
  for (k in 1:5) {
    fit <- ppca(x, k)
    ref <- reference_ppca(x, k)
    expect_equal(unname(fit$mean), colMeans(x), tolerance = 1e-12)
    expect_equal(marginal(fit)$cov, ref$cov, tolerance = 1e-10)
    expect_equal(fit$sigma2, ref$sigma2, tolerance = 1e-10)
    expect_equal(fit$values, ref$values, tolerance = 1e-10)
    expect_equal(fit$loglik, ref$loglik, tolerance = 1e-10)
    expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-10)
    expect_canonical(fit$loadings)
  }
})

test_that("eigenvalues are prcomp()'s with divisor n", {
  x <- as.matrix(iris[1:4])
  values <- prcomp(x)$sdev^2 * (149 / 150)
  fit <- ppca(x, 2)
  expect_equal(fit$values, values, tolerance = 1e-12)
  expect_equal(fit$trace, sum(values), tolerance = 1e-12)
  expect_equal(fit$sigma2, mean(values[3:4]), tolerance = 1e-12)
  # DESIGN, "The mathematics": the likelihood at the maximum from eigenvalues.
  expect_equal(fit$loglik, -75 * (4 * log(2 * pi) + sum(log(values[1:2])) +
                                    2 * log(mean(values[3:4])) + 4))
  # Columns are the principal directions, longest entry positive.
  rotation <- prcomp(x)$rotation[, 1:2]
  rotation <- rotation * rep(sign(apply(rotation, 2, function(u) u[which.max(abs(u))])),
                             each = 4)
  expect_equal(unname(fit$loadings),
               unname(rotation) * rep(sqrt(values[1:2] - fit$sigma2), each = 4))
})

test_that("1,000 digits at k = 50 have the mean log-likelihood 558.0901 nats", {
  # Known answer, from the issue that asked for this package (independent code).
  fit <- ppca(mnist1000$x / 255, 50)
  expect_lt(abs(fit$loglik / 1000 - 558.0901), 1e-4)
  expect_identical(attr(logLik(fit), "df"), 784 + 784 * 50 - 50 * 49 / 2 + 1)
})

test_that("with one dimension less than features, the covariance is S itself", {
  # p k - k (k - 1) / 2 + 1 = p (p + 1) / 2 at k = p - 1: nothing is left out.
  x <- model_data(30, 4, 2)
  s <- plain(cov(x)) * 29 / 30
  expect_equal(marginal(ppca(x, 3))$cov, s)
  expect_identical(ppca(x, 3)$df, 4 + 4 * 5 / 2)
})

# A local maximum --------------------------------------------------------------

# log-likelihood of theta = (mu, W, log sigma2), p = 4, k = 2, by its definition.
theta_loglik <- function(theta, x) {
  w <- matrix(theta[5:12], 4)
  sum(log_density(x, theta[1:4], w %*% t(w) + exp(theta[13]) * diag(4)))
}

test_that("the solution is stationary and a maximum up to rotation", {
  x <- model_data(25, 4, 2, seed = 3)
  fit <- ppca(x, 2)
  theta <- c(fit$mean, fit$loadings, log(fit$sigma2))
  f <- function(t) theta_loglik(t, x)
  h <- 1e-4
  step <- function(i) replace(numeric(13), i, h)
  gradient <- vapply(1:13, function(i) {
    (f(theta + step(i)) - f(theta - step(i))) / (2 * h)
  }, 0)
  expect_lt(max(abs(gradient)), 1e-4)
  hessian <- outer(1:13, 1:13, Vectorize(function(i, j) {
    (f(theta + step(i) + step(j)) - f(theta + step(i) - step(j)) -
       f(theta - step(i) + step(j)) + f(theta - step(i) - step(j))) / (4 * h^2)
  }))
  curvature <- eigen((hessian + t(hessian)) / 2)$values
  # One direction is flat: the rotation of 2 columns. All others go down.
  expect_lt(abs(curvature[1]), 1e-3 * abs(curvature[13]))
  expect_lt(curvature[2], -1e-2)
})

test_that("no optimiser started elsewhere finds more, and the best finds as much", {
  x <- model_data(25, 4, 2, seed = 3)
  fit <- ppca(x, 2)
  found <- vapply(1:4, function(seed) {
    set.seed(seed)
    start <- c(colMeans(x), rnorm(8), 0)
    # A step too far may leave the range of covariances that can be factored.
    target <- function(theta) tryCatch(theta_loglik(theta, x), error = function(e) -1e10)
    optim(start, target, method = "BFGS",
          control = list(fnscale = -1, reltol = 1e-10, maxit = 200))$value
  }, 0)
  expect_lt(max(found), fit$loglik + 1e-6)
  expect_gt(max(found), fit$loglik - 1e-4)
})

# Known truth ------------------------------------------------------------------

test_that("the number of free parameters is that of Wilks' theorem", {
  # 2 (loglik at the maximum - loglik at the truth) is chi-squared with df degrees
  # of freedom for large n: mean df, variance 2 df. 300 replications: the mean is
  # within 4 standard errors, sqrt(2 df / 300), and the variance is within 40 %.
  for (k in 1:2) {
    ratio <- vapply(1:300, function(seed) {
      x <- model_data(400, 5, k, seed = seed)
      theta <- attr(x, "theta")
      root <- chol(theta$cov)
      truth <- -(400 * 5 * log(2 * pi) + 800 * sum(log(diag(root))) +
                   sum(backsolve(root, t(x) - theta$mean, transpose = TRUE)^2)) / 2
      fit <- ppca(x, k)
      stopifnot(fit$df == c(11, 15)[k]) # p + p k - k (k - 1) / 2 + 1
      2 * (fit$loglik - truth)
    }, 0)
    df <- c(11, 15)[k]
    expect_lt(abs(mean(ratio) - df), 4 * sqrt(2 * df / 300))
    expect_lt(abs(var(ratio) / (2 * df) - 1), 0.4)
  }
})

test_that("known parameters are recovered", {
  # 100 data sets of 400 x 8, k = 2, noise 1/4, signal of about 8: the angle between
  # the true and the fitted plane is below 5 degrees, and sigma2, whose standard
  # error is sqrt(2 / (400 * 6)) = 2.9 %, within 10 % (3.4 standard errors), in at
  # least 97 of them.
  good <- vapply(1:100, function(seed) {
    x <- model_data(400, 8, 2, seed = seed)
    fit <- ppca(x, 2)
    cosines <- svd(crossprod(qr.Q(qr(attr(x, "w"))), qr.Q(qr(fit$loadings))))$d
    c(acos(min(cosines, 1)) * 180 / pi < 5, abs(fit$sigma2 / 0.25 - 1) < 0.1)
  }, logical(2))
  expect_gte(sum(good[1, ]), 97)
  expect_gte(sum(good[2, ]), 97)
})

# Routes -----------------------------------------------------------------------

eigen_by <- function(x, k, route, center = TRUE) {
  elbo:::data_eigen(elbo:::prepare_data(x, center, FALSE), k, route)
}

test_that("the covariance, the Gram matrix and Lanczos give the same pairs", {
  # Tall and wide; Lanczos needs min(n, p) >= 40 + 3 k. The reference is eigen().
  for (size in list(c(90, 60), c(60, 90))) {
    x <- model_data(size[1], size[2], 5, seed = 2)
    centred <- sweep(x, 2, colMeans(x))
    direct <- eigen(crossprod(centred) / nrow(x), symmetric = TRUE)
    for (route in c("covariance", "gram", "krylov")) {
      pairs <- eigen_by(x, 4, route)
      data <- elbo:::prepare_data(x, TRUE, FALSE)
      expect_equal(pairs$values[1:4] * data$u^2, direct$values[1:4], tolerance = 1e-10)
      expect_equal(pairs$trace * data$u^2, sum(direct$values), tolerance = 1e-10)
      u <- pairs$vectors
      expect_equal(crossprod(u), diag(4), tolerance = 1e-12)
      expect_equal(abs(crossprod(u, direct$vectors[, 1:4])), diag(4), tolerance = 1e-8)
    }
  }
})

# Largest |S u_j - lambda_j u_j| / lambda_j, with u from the loadings.
worst_residual <- function(fit, x) {
  centred <- sweep(x, 2, fit$mean)
  u <- sweep(fit$loadings, 2, sqrt(colSums(fit$loadings^2)), "/")
  lambda <- fit$values[seq_len(fit$k)]
  su <- crossprod(centred, centred %*% u) / nrow(x)
  max(sqrt(colSums((su - u * rep(lambda, each = nrow(u)))^2)) / lambda)
}

test_that("each route is taken where it is cheapest, to a residual of 1e-10", {
  expect_identical(ppca(model_data(30, 10, 3), 3)$route, "covariance")
  expect_identical(ppca(model_data(30, 30, 3), 3)$route, "covariance")
  expect_identical(ppca(model_data(10, 30, 3), 3)$route, "gram")
  for (size in list(c(1100, 1001), c(1001, 1100))) {
    x <- model_data(size[1], size[2], 12, seed = 4)
    fit <- ppca(x, 15)
    expect_identical(fit$route, "krylov")
    expect_length(fit$values, 15)
    expect_lt(worst_residual(fit, x), 1e-9) # 1e-10, and what forming u adds
    # All of the spectrum, from the smaller of the two products.
    centred <- plain(sweep(x, 2, colMeans(x)))
    small <- if (size[1] > size[2]) crossprod(centred) else tcrossprod(centred)
    values <- eigen(small / size[1], symmetric = TRUE, only.values = TRUE)$values
    expect_equal(fit$values, values[1:15], tolerance = 1e-10)
    expect_equal(fit$trace, sum(values), tolerance = 1e-10)
    # zero eigenvalues count in the noise where p > n
    sigma2 <- (sum(values) - sum(values[1:15])) / (size[2] - 15)
    expect_equal(fit$sigma2, sigma2, tolerance = 1e-10)
    expect_equal(fit$loglik, -size[1] / 2 *
                   (size[2] * (log(2 * pi) + 1) + sum(log(values[1:15])) +
                      (size[2] - 15) * log(sigma2)), tolerance = 1e-10)
    expect_canonical(fit$loadings)
    expect_equal(fit$loglik, sum(logLik(fit, x, by = "observation")), tolerance = 1e-10)
  }
})

test_that("Lanczos finds eigenvalues of any multiplicity", {
  # D over -D: mean 0 and S = D^2 / 1001 exactly. A Krylov space of one vector holds
  # one direction of each eigenspace; here they have 20 and 981 dimensions.
  size <- rep(c(3, 1), c(20, 981))
  x <- rbind(diag(size), -diag(size))
  for (k in c(3, 20, 25)) {
    fit <- ppca(x, k)
    expect_identical(fit$route, "krylov")
    expect_equal(fit$values, size[seq_len(k)]^2 / 1001, tolerance = 1e-10)
    sigma2 <- mean(size[-seq_len(k)]^2) / 1001
    expect_equal(fit$sigma2, sigma2, tolerance = 1e-10)
    expect_equal(fit$loglik, -1001 * (1001 * (log(2 * pi) + 1) +
                                        sum(log(fit$values)) + (1001 - k) * log(sigma2)),
                 tolerance = 1e-10)
    u <- sweep(fit$loadings[, seq_len(min(k, 20))], 2, sqrt(9 / 1001 - sigma2), "/")
    expect_equal(crossprod(u), diag(min(k, 20)), tolerance = 1e-8, ignore_attr = TRUE)
    expect_lt(max(abs(u[-(1:20), ])), 1e-8)
  }
  # All equal: any direction, and no signal.
  even <- rbind(diag(1001), -diag(1001))
  expect_equal(ppca(even, 3)$loglik, sum(dnorm(even, 0, sqrt(1 / 1001), log = TRUE)))
})

test_that("more features than observations: zero eigenvalues count in the noise", {
  x <- model_data(8, 12, 2)
  for (k in c(1, 3, 6)) {
    fit <- ppca(x, k)
    ref <- reference_ppca(x, k)
    expect_equal(fit$sigma2, ref$sigma2, tolerance = 1e-10)
    expect_equal(marginal(fit)$cov, ref$cov, tolerance = 1e-10)
    expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-10)
    expect_length(fit$values, 8)
    expect_equal(fit$values, pmax(ref$values[1:8], 0), tolerance = 1e-10)
  }
})

# Rank -------------------------------------------------------------------------

test_that("a rank that leaves no noise is refused, and the error names the rank", {
  # 5 points in general position span 4 dimensions once centred, 5 if not.
  wide <- model_data(5, 9, 3)
  for (k in 4:8) {
    expect_error(ppca(wide, k), "`k` must be below 4, the rank of `x` after centring",
                 fixed = TRUE, class = "elbo_error")
  }
  expect_error(ppca(wide, 5, center = FALSE), "`k` must be below 5, the rank of `x`, not 5",
               fixed = TRUE, class = "elbo_error")
  expect_s3_class(ppca(wide, 3), "ppca")
  expect_s3_class(ppca(wide, 4, center = FALSE), "ppca")
  # Tall, but of rank 2 by construction.
  set.seed(1)
  flat <- matrix(rnorm(60), 30) %*% matrix(rnorm(12), 2)
  expect_error(ppca(flat, 2), "`k` must be below 2, the rank", fixed = TRUE)
  expect_error(ppca(flat, 5), "`k` must be below 2, the rank", fixed = TRUE)
  expect_equal(ppca(flat, 1)$loglik, reference_ppca(flat, 1)$loglik)
  # The iterative route.
  big <- matrix(rnorm(1010 * 3), 1010) %*% matrix(rnorm(3 * 1005), 3)
  expect_error(ppca(big, 3), "the rank of `x`", fixed = TRUE, class = "elbo_error")
  expect_identical(ppca(big, 2)$route, "krylov")
  # EM comes to the same end.
  expect_error(ppca(wide, 4, method = "em"), "`k` must be below 4, the rank", fixed = TRUE)
  expect_error(ppca(flat, 2, method = "em"), "`k` must be below 2, the rank", fixed = TRUE)
})

test_that("k has to be between 1 and p - 1", {
  expect_error(ppca(cross, 2), "`k` must be a whole number between 1 and 1, not 2",
               fixed = TRUE, class = "elbo_error")
  expect_error(ppca(mnist1000$x, 900), "between 1 and 783, not 900", fixed = TRUE)
})

test_that("data without any variance have no fit, unless sigma2 is given", {
  flat <- matrix(3, 5, 4)
  expect_error(ppca(flat, 1), "`k`.*rank of `x`", class = "elbo_error")
  fit <- ppca(flat, 1, sigma2 = 2)
  expect_equal(fit$loglik, 20 * dnorm(0, 0, sqrt(2), log = TRUE))
  expect_identical(unname(fit$loadings), matrix(0, 4, 1))
  expect_equal(ppca(flat, 1, sigma2 = 2, method = "em")$loglik, fit$loglik)
})

# Fixed noise ------------------------------------------------------------------

test_that("with sigma2 fixed, directions below it collapse", {
  x <- model_data(50, 6, 3)
  values <- reference_ppca(x, 1)$values
  for (sigma2 in c(1e-3, mean(values[4:5]), mean(values[2:3]), 2 * values[1])) {
    fit <- ppca(x, 5, sigma2 = sigma2)
    ref <- reference_ppca(x, 5, sigma2 = sigma2)
    expect_identical(fit$sigma2, sigma2)
    expect_equal(marginal(fit)$cov, ref$cov, tolerance = 1e-9)
    expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-10)
    expect_identical(colSums(fit$loadings != 0) > 0,
                     structure(values[1:5] > sigma2, names = paste0("z", 1:5)))
  }
  # Above all eigenvalues: independent normals.
  expect_true(all(fit$loadings == 0))
  expect_equal(fit$loglik, sum(dnorm(x, rep(colMeans(x), each = 50), sqrt(fit$sigma2),
                                     log = TRUE)))
  expect_true(all(fit$scores == 0))
})

test_that("with sigma2 fixed, k may exceed the rank", {
  x <- model_data(5, 9, 3)
  fit <- ppca(x, 8, sigma2 = 0.1)
  expect_true(all(fit$loadings[, 5:8] == 0))
  expect_equal(fit$loglik, reference_ppca(x, 8, sigma2 = 0.1)$loglik, tolerance = 1e-9)
  expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-9)
})

# Centre and scale -------------------------------------------------------------

test_that("the mean may be left out or given", {
  x <- model_data(30, 5, 2)
  fit <- ppca(x, 2, center = FALSE)
  expect_identical(unname(fit$mean), numeric(5))
  expect_equal(fit$loglik, reference_ppca(x, 2, mean = numeric(5))$loglik)
  expect_identical(fit$df, 5 * 2 - 1 + 1)
  centre <- c(0, 2, 3.5, 4, 6)
  fit <- ppca(x, 2, center = centre)
  expect_identical(unname(fit$mean), centre)
  expect_equal(fit$loglik, reference_ppca(x, 2, mean = centre)$loglik)
  expect_identical(fit$df, 5 * 2 - 1 + 1)
  expect_same_model(ppca(x, 2, center = colMeans(x)), ppca(x, 2))
})

test_that("with a scale, S is the correlation matrix and the likelihood is the data's", {
  x <- model_data(30, 5, 2) %*% diag(c(1, 10, 0.1, 1000, 1))
  sd <- sqrt(colMeans(sweep(x, 2, colMeans(x))^2))
  fit <- ppca(x, 2, scale = TRUE)
  expect_equal(fit$scale, sd)
  expect_equal(fit$values, eigen(cor(x))$values, tolerance = 1e-10)
  expect_equal(fit$loglik, sum(fit_density(fit, x)), tolerance = 1e-10)
  # Change of variables: the standardised data's likelihood less n sum(log sd).
  z <- sweep(sweep(x, 2, colMeans(x)), 2, sd, "/")
  expect_equal(fit$loglik, ppca(z, 2)$loglik - 30 * sum(log(sd)))
  expect_identical(fit$df, 5 + 5 + 9 + 1)
  expect_equal(logLik(fit, x, by = "observation"), fit_density(fit, x))
  # A given scale costs no parameters.
  by_hand <- ppca(x, 2, scale = sd)
  expect_same_model(by_hand, fit)
  expect_identical(by_hand$df, 5 + 9 + 1)
  other <- ppca(x, 2, center = FALSE, scale = c(1, 8, 0.1, 900, 2))
  expect_equal(other$loglik, sum(fit_density(other, x)), tolerance = 1e-10)
})

test_that("reconstructions and residuals of a scaled fit are on the data's scale", {
  x <- model_data(30, 5, 4) %*% diag(c(1, 10, 0.1, 1000, 1))
  fit <- ppca(x, 4, scale = TRUE, sigma2 = 1e-9)
  # Little noise, and 4 of 5 dimensions: almost the data.
  gap <- abs(residuals(fit, x)) / rep(apply(x, 2, sd), each = 30)
  smallest <- sqrt(min(eigen(cor(x))$values))
  expect_lt(sqrt(mean(gap^2)), smallest)
  z <- posterior(fit, x)$mean
  expect_equal(fitted(fit), rep(1, 30) %o% unname(fit$mean) +
                 z %*% t(fit$loadings * fit$scale), ignore_attr = TRUE)
})

# Transform --------------------------------------------------------------------

test_that("with a transform, the likelihood is the density of the untransformed data", {
  set.seed(5)
  x <- matrix(rbinom(60 * 5, 255, rep(c(0.2, 0.4, 0.5, 0.6, 0.8), each = 60)), 60)
  set.seed(8)
  fit <- ppca(x, 2, transform = logit_pixels(0.01))
  # The transform as its definition has it (see ?logit_pixels), same noise.
  set.seed(8)
  a <- 0.01 + 0.98 * (x + matrix(runif(300), 60)) / 256
  y <- log(a / (1 - a))
  slope <- 0.98 / 256 / (a * (1 - a))
  ref <- reference_ppca(y, 2)
  expect_equal(marginal(fit)$cov, ref$cov, tolerance = 1e-9)
  expect_equal(fit$loglik, ref$loglik + sum(log(slope)), tolerance = 1e-10)
  set.seed(8)
  each <- logLik(fit, x, by = "observation")
  expect_equal(each, fit_density(fit, y) + rowSums(log(slope)), tolerance = 1e-9)
  # Back on the scale of pixels and noise.
  expect_true(all(fitted(fit) > 0 & fitted(fit) < 256))
  expect_gt(cor(c(fitted(fit)), c(x)), 0.9)
  expect_equal(range(simulate(fit, 50, seed = 1)), c(128, 128), tolerance = 1)
})

# Kinds of data ----------------------------------------------------------------

# Everything a fit says of its data.
content <- function(fit) {
  fit <- unclass(fit)
  fit[setdiff(names(fit), c("call", "terms", "seconds"))]
}

test_that("integers are read as the doubles they are", {
  x <- mnist1000$x[1:60, 300:320]
  as_double <- x
  storage.mode(as_double) <- "double"
  expect_type(x, "integer")
  expect_equal(content(ppca(x, 3)), content(ppca(as_double, 3)), tolerance = 1e-12)
  wide <- t(x)
  expect_equal(ppca(wide, 3)$loglik, ppca(t(as_double), 3)$loglik, tolerance = 1e-12)
})

test_that("data frames and formulas are read as the matrix they hold", {
  frame <- iris[1:4]
  from_matrix <- content(ppca(as.matrix(frame), 2))
  expect_equal(content(ppca(frame, 2)), from_matrix)
  expect_equal(content(ppca(~ ., k = 2, data = frame)), from_matrix)
  expect_equal(content(ppca(~ . - Species, k = 2, data = iris)), from_matrix)
  two <- cbind(a = 1:9, b = (1:9)^2, c = c(2, 7, 1, 8, 2, 8, 1, 8, 2))
  logged <- cbind(a = two[, 1], `log(b)` = log(two[, 2]))
  expect_equal(content(ppca(~ a + log(b), k = 1, data = as.data.frame(two))),
               content(ppca(logged, 1)))
  a <- two[, 1]
  b <- two[, 2]
  expect_equal(content(ppca(~ a + log(b), k = 1)), content(ppca(logged, 1)))
  # What a formula takes out is out.
  expect_identical(ppca(~ . - b, k = 1, data = as.data.frame(two))$features, c("a", "c"))
  expect_identical(ppca(~ ., k = 1, data = as.data.frame(two[, 1:2]))$features,
                   c("a", "b"))
  # Names that are no R names, bare and within a function.
  odd <- data.frame(`my var` = two[, 1], b = two[, 2], check.names = FALSE)
  expect_equal(content(ppca(~ `my var` + log(b), k = 1, data = odd))$loglik,
               ppca(logged, 1)$loglik)
  expect_equal(ppca(~ b + log(`my var`), k = 1, data = odd)$loglik,
               ppca(cbind(two[, 2], log(two[, 1])), 1)$loglik)
  # What is no sum of features is refused: products, and nothing.
  for (formula in list(~ a * b, ~ a:b, ~ 1, ~ cbind(a, b))) {
    expect_error(ppca(formula, 1, data = as.data.frame(two)), "`x`", class = "elbo_error")
  }
  # integer and double columns together
  frame$Petal.Width <- as.integer(frame$Petal.Width)
  expect_equal(content(ppca(frame, 2)), content(ppca(data.matrix(frame), 2)))
})

test_that("a formula's fit predicts from a data frame with the variables", {
  frame <- data.frame(a = 1:9, b = (1:9)^2, c = c(2, 7, 1, 8, 2, 8, 1, 8, 2))
  fit <- ppca(~ a + log(b) + c, k = 2, data = frame)
  z <- predict(fit, frame[9:1, 3:1])
  expect_equal(unname(z), unname(fit$scores[9:1, ]))
  expect_error(predict(fit, frame[c("a", "b")]), "`newdata`.*\"c\"", class = "elbo_error")
  expect_equal(residuals(fit), cbind(a = frame$a, `log(b)` = log(frame$b), c = frame$c) -
                 fitted(fit), ignore_attr = TRUE)
  expect_error(ppca(a ~ b, k = 1, data = frame), "`x` must be a one-sided formula")
  expect_error(ppca(~ ., k = 1), "`data`")
})

test_that("sparse matrices of every class give the dense result", {
  skip_if_not_installed("Matrix")
  set.seed(6)
  dense <- matrix(rpois(40 * 7, 0.7) * rexp(280), 40, dimnames = list(NULL, letters[1:7]))
  wide <- t(dense)[, 1:20]
  as_class <- function(x, class) methods::as(x, class)
  for (x in list(dense, wide)) {
    expected <- content(ppca(x, 3))
    sparse <- as_class(Matrix::Matrix(x, sparse = TRUE), "generalMatrix")
    expect_s4_class(sparse, "dgCMatrix")
    for (class in c("dgCMatrix", "TsparseMatrix", "RsparseMatrix")) {
      expect_equal(content(ppca(as_class(sparse, class), 3)), expected, tolerance = 1e-10)
    }
    full <- as_class(sparse, "unpackedMatrix")
    expect_s4_class(full, "dgeMatrix")
    expect_equal(content(ppca(full, 3)), expected, tolerance = 1e-10)
    pattern <- (x > 0) * 1
    logical <- as_class(sparse, "lMatrix")
    expect_s4_class(logical, "lgCMatrix")
    expect_equal(content(ppca(logical, 3)), content(ppca(pattern, 3)), tolerance = 1e-10)
    indicator <- as_class(sparse, "nMatrix")
    expect_s4_class(indicator, "ngCMatrix")
    expect_equal(content(ppca(indicator, 3)), content(ppca(pattern, 3)), tolerance = 1e-10)
  }
})

test_that("symmetric, triangular, diagonal and repeated entries are all read", {
  skip_if_not_installed("Matrix")
  set.seed(7)
  square <- crossprod(matrix(rpois(49, 0.6), 7))
  symmetric <- methods::as(Matrix::Matrix(square, sparse = TRUE), "symmetricMatrix")
  expect_s4_class(symmetric, "dsCMatrix")
  expect_equal(content(ppca(symmetric, 2)), content(ppca(square, 2)), tolerance = 1e-9)
  upper <- square
  upper[lower.tri(upper)] <- 0
  triangular <- methods::as(Matrix::Matrix(upper, sparse = TRUE), "triangularMatrix")
  expect_s4_class(triangular, "dtCMatrix")
  expect_equal(content(ppca(triangular, 2)), content(ppca(upper, 2)), tolerance = 1e-9)
  expect_equal(ppca(Matrix::Diagonal(7, 1:7), 2)$loglik, ppca(diag(1:7), 2)$loglik)
  # Triplets that name a cell twice mean the sum.
  twice <- Matrix::sparseMatrix(i = c(1:6, 1), j = c(1:3, 1:3, 1), x = c(1:6, 10),
                                repr = "T")
  dense <- rbind(diag(1:3), diag(4:6))
  dense[1, 1] <- 11
  expect_equal(content(ppca(twice, 1)), content(ppca(dense, 1)), tolerance = 1e-10)
  # Zeros that are stored are zeros.
  stored <- methods::as(methods::as(Matrix::Matrix(dense, sparse = TRUE), "generalMatrix"),
                        "CsparseMatrix")
  stored@x[2] <- 0
  expect_equal(content(ppca(stored, 1)), content(ppca(as.matrix(stored), 1)),
               tolerance = 1e-10)
})

test_that("a large sparse matrix takes the iterative route without being filled in", {
  skip_if_not_installed("Matrix")
  set.seed(8)
  x <- Matrix::rsparsematrix(1050, 1200, 0.02)
  fit <- ppca(x, 6)
  expect_identical(fit$route, "krylov")
  dense <- ppca(as.matrix(x), 6)
  expect_equal(fit$values, dense$values, tolerance = 1e-9)
  expect_equal(fit$loglik, dense$loglik, tolerance = 1e-9)
  expect_equal(predict(fit, x[5:9, ]), predict(dense, as.matrix(x[5:9, ])),
               tolerance = 1e-6)
})

test_that("sparse data may be centred far away, scaled, or not centred", {
  skip_if_not_installed("Matrix")
  set.seed(9)
  dense <- matrix(rpois(40 * 6, 0.7) * rexp(240), 40)
  sparse <- methods::as(Matrix::Matrix(dense, sparse = TRUE), "generalMatrix")
  expect_same_model(ppca(sparse, 2, scale = TRUE), ppca(dense, 2, scale = TRUE))
  expect_same_model(ppca(sparse, 2, center = FALSE), ppca(dense, 2, center = FALSE))
  expect_same_model(ppca(sparse, 2, center = 1:6), ppca(dense, 2, center = 1:6))
  expect_same_model(ppca(sparse, 2, sigma2 = 0.3), ppca(dense, 2, sigma2 = 0.3))
})

# Names ------------------------------------------------------------------------

test_that("dimnames reach loadings, mean, scores and predictions", {
  x <- plain(model_data(12, 4, 2))
  dimnames(x) <- list(paste0("row", 1:12), c("w", "x", "y", "z"))
  kinds <- list(x, as.data.frame(x))
  if (requireNamespace("Matrix", quietly = TRUE)) {
    kinds <- c(kinds, methods::as(Matrix::Matrix(x, sparse = TRUE), "generalMatrix"))
  }
  for (data in kinds) for (method in c("mle", "em")) {
    fit <- ppca(data, 2, method = method)
    expect_identical(dimnames(fit$loadings), list(colnames(x), c("z1", "z2")))
    expect_named(fit$mean, colnames(x))
    expect_identical(fit$features, colnames(x))
    latent <- list(rownames(x), c("z1", "z2"))
    expect_identical(dimnames(fit$scores), latent)
    expect_identical(dimnames(predict(fit, data)), latent)
    expect_identical(dimnames(predict(fit, data, type = "reconstruction")), dimnames(x))
    expect_identical(dimnames(fitted(fit)), dimnames(x))
    expect_identical(dimnames(residuals(fit, data)), dimnames(x))
    expect_identical(dimnames(posterior(fit, data)$mean), latent)
    expect_named(logLik(fit, data, by = "observation"), rownames(x))
  }
  bare <- ppca(unname(x), 2)
  expect_identical(dimnames(bare$loadings), list(NULL, c("z1", "z2")))
  expect_null(names(bare$mean))
  expect_identical(dimnames(predict(bare, unname(x))), list(NULL, c("z1", "z2")))
})

# Awkward data -----------------------------------------------------------------

test_that("constant columns are no difficulty", {
  x <- model_data(30, 5, 2)
  x <- cbind(7, plain(x), 0, -1e6)
  fit <- ppca(x, 2)
  expect_identical(fit$mean[c(1, 7, 8)], c(7, 0, -1e6))
  expect_equal(fit$loglik, reference_ppca(x, 2)$loglik)
  expect_equal(fit$loglik, sum(fit_density(fit, x)))
  expect_lt(max(abs(fit$loadings[c(1, 7, 8), ])), 1e-8)
  # as many constants as not: the noise is small, but there
  digits <- ppca(mnist1000$x[1:200, ] / 255, 5)
  expect_true(is.finite(digits$loglik))
  expect_error(ppca(x, 2, scale = TRUE), "`scale`.*column 1", class = "elbo_error")
})

test_that("the smallest data there are can be fitted", {
  # Two points of the plane: S has the one direction between them, and no noise is
  # left; three points do.
  expect_error(ppca(rbind(c(0, 0), c(3, 4)), 1), "`k` must be below 1", class = "elbo_error")
  x <- rbind(c(0, 0), c(3, 4), c(-1, 2))
  expect_equal(ppca(x, 1)$loglik, reference_ppca(x, 1)$loglik)
  # Two points with a known noise variance: lambda = |(3, 4)|^2 / 4.
  fit <- ppca(rbind(c(0, 0), c(3, 4)), 1, sigma2 = 1)
  expect_equal(fit$values[1], 6.25)
  expect_equal(unname(fit$loadings), cbind(c(3, 4) / 5 * sqrt(5.25)))
  # Two points in space, not centred.
  x <- rbind(c(1, 0, 0), c(1, 1, 0))
  expect_equal(ppca(x, 1, center = FALSE)$loglik,
               reference_ppca(x, 1, mean = numeric(3))$loglik)
})

test_that("repeated rows count twice, repeated columns are allowed", {
  x <- plain(model_data(20, 4, 2))
  expect_equal(ppca(rbind(x, x), 2)$loglik, 2 * ppca(x, 2)$loglik)
  expect_equal(marginal(ppca(rbind(x, x), 2)), marginal(ppca(x, 2)))
  both <- cbind(x, x)
  fit <- ppca(both, 2)
  expect_equal(fit$loglik, reference_ppca(both, 2)$loglik)
  expect_equal(fit$loadings[1:4, ], fit$loadings[5:8, ])
})

test_that("equal eigenvalues leave the likelihood what it is", {
  # The corners of a cube: S = I. Any direction will do; sigma2 = 1, W = 0 or nearly.
  cube <- as.matrix(expand.grid(c(-1, 1), c(-1, 1), c(-1, 1)))
  fit <- ppca(cube, 1)
  expect_equal(fit$sigma2, 1)
  expect_equal(fit$loglik, sum(dnorm(cube, log = TRUE)))
  expect_lt(max(abs(fit$loadings)), 1e-7)
})

test_that("the order of rows and columns does not matter", {
  x <- plain(model_data(30, 6, 2))
  fit <- ppca(x, 2)
  set.seed(2)
  rows <- sample(30)
  columns <- sample(6)
  shuffled <- ppca(x[rows, columns], 2)
  expect_equal(shuffled$loglik, fit$loglik)
  expect_equal(shuffled$loadings, fit$loadings[columns, ])
  expect_equal(shuffled$mean, fit$mean[columns])
  expect_equal(shuffled$scores, fit$scores[rows, ])
})

test_that("a change of units by c moves the mean log-likelihood by -p log c", {
  x <- plain(model_data(30, 6, 2))
  fit <- ppca(x, 2)
  for (by in c(1e-150, 1e-8, 7, 1e150)) {
    scaled <- ppca(x * by, 2)
    expect_equal(scaled$loglik / 30, fit$loglik / 30 - 6 * log(by), tolerance = 1e-10)
    expect_equal(scaled$loadings, fit$loadings * by)
    expect_equal(scaled$mean, fit$mean * by)
    expect_equal(scaled$sigma2, fit$sigma2 * by^2)
    expect_equal(scaled$scores, fit$scores)
    expect_equal(sum(logLik(scaled, x * by, by = "observation")), scaled$loglik,
                 tolerance = 1e-10)
    expect_equal(predict(scaled, x * by), fit$scores)
    expect_equal(ppca(x * by, 2, method = "em")$loglik, scaled$loglik, tolerance = 1e-10)
  }
})

test_that("data far from the origin keep their digits", {
  # S is accumulated from centred cells: 1e6 away, 1e-16 (1e6)^2 would drown it.
  x <- plain(model_data(50, 5, 2, sigma2 = 1e-4, mean = 0))
  near <- ppca(x, 2)
  far <- ppca(x + 2^20, 2) # x + 2^20 rounds x to 2^-33
  expect_equal(far$sigma2, near$sigma2, tolerance = 1e-5)
  expect_equal(far$loglik, near$loglik, tolerance = 1e-5)
})

test_that("features of very different sizes are fitted to full relative accuracy", {
  x <- plain(model_data(50, 4, 2)) %*% diag(c(1e-6, 1, 1e3, 1e6))
  fit <- ppca(x, 2, scale = TRUE)
  expect_equal(fit$values, eigen(cor(x))$values, tolerance = 1e-10)
})

# Rotation ---------------------------------------------------------------------

test_that("the likelihood does not know a rotation of the loadings", {
  x <- with_holes(model_data(30, 5, 2))
  fit <- ppca(model_data(30, 5, 2), 2)
  turn <- matrix(c(cos(0.7), sin(0.7), -sin(0.7), cos(0.7)), 2)
  turned <- fit
  turned$loadings <- fit$loadings %*% turn
  each <- logLik(fit, x, by = "observation")
  expect_equal(logLik(turned, x, by = "observation"), each)
  expect_equal(each, fit_density(turned, x))
  expect_equal(plain(predict(turned, x)), plain(predict(fit, x) %*% turn))
  expect_equal(impute(turned, x), impute(fit, x))
})

# What a fit is ----------------------------------------------------------------

# Environments, functions and pointers within an object, the global environment
# aside (it is saved as a name).
live_parts <- function(x) {
  if (identical(x, globalenv())) return(NULL)
  if (is.environment(x) || is.function(x) || typeof(x) == "externalptr") return(typeof(x))
  inside <- attributes(x)
  if (is.recursive(x)) inside <- c(inside, as.list(x))
  unlist(lapply(unname(inside), live_parts))
}

test_that("a fit is plain data, and small", {
  x <- plain(model_data(2000, 20, 3))
  colnames(x) <- paste0("v", 1:20)
  ballast <- runif(1e6)
  fits <- list(
    ppca(x, 3), ppca(as.data.frame(x), 3), ppca(~ ., k = 3, data = as.data.frame(x)),
    ppca(x, 3, method = "em"), ppca(with_holes(x), 3), ppca(x, 3, scale = TRUE),
    ppca(round(abs(x)), 3, transform = logit_pixels()),
    update(suppressWarnings(ppca(x, 3, method = "em", control = em_control(maxit = 2))),
           maxit = 100)
  )
  # Scores are 2000 x 3 doubles, 48 kB; the data would be 320 kB.
  for (fit in fits) {
    expect_null(live_parts(fit))
    expect_lt(length(serialize(fit, NULL)), 48000 + 16000)
    # What DESIGN and ?ppca promise, whatever else there is.
    promised <- c("call", "loadings", "mean", "sigma2", "values", "trace", "scores",
                  "loglik", "history", "converged", "iterations", "n", "p", "k", "df",
                  "observed", "method", "route", "center", "scale", "transform", "features")
    expect_identical(setdiff(promised, names(fit)), character())
  }
})

test_that("keep_data keeps the data, and nothing else does", {
  x <- plain(model_data(20, 4, 2))
  expect_null(ppca(x, 2)$x)
  expect_identical(ppca(x, 2, keep_data = TRUE)$x, x)
  kept <- ppca(x, 2, keep_data = TRUE)
  expected <- residuals(kept, x)
  x <- NULL
  expect_identical(residuals(kept), expected)
})

test_that("a saved fit works in a fresh session", {
  skip_on_cran()
  x <- plain(model_data(20, 4, 2))
  colnames(x) <- c("a", "b", "c", "d")
  x_missing <- with_holes(x)
  fits <- list(ppca(x, 2), ppca(x_missing, 2, scale = TRUE),
               ppca(~ a + b + exp(d / 4), 2, data = as.data.frame(x)))
  path <- tempfile(fileext = ".rds")
  out <- tempfile(fileext = ".rds")
  saveRDS(list(fits = fits, x = as.data.frame(x)), path)
  rscript(sprintf("
    library(elbo)
    all <- readRDS(%s)
    saveRDS(lapply(all$fits, function(fit) list(
      predict(fit, all$x), logLik(fit, all$x, by = 'observation'),
      posterior(fit, all$x), simulate(fit, 3, seed = 1), fitted(fit),
      capture.output(print(fit), print(summary(fit))))), %s)",
    deparse(path), deparse(out)))
  here <- lapply(fits, function(fit) list(
    predict(fit, as.data.frame(x)), logLik(fit, as.data.frame(x), by = "observation"),
    posterior(fit, as.data.frame(x)), simulate(fit, 3, seed = 1), fitted(fit),
    capture.output(print(fit), print(summary(fit)))
  ))
  expect_identical(readRDS(out), here)
})

test_that("a sparse matrix read in a fresh session is known for what it is", {
  skip_on_cran()
  skip_if_not_installed("Matrix")
  set.seed(1)
  x <- Matrix::rsparsematrix(20, 5, 0.5)
  path <- tempfile(fileext = ".rds")
  saveRDS(x, path)
  printed <- rscript(sprintf("x <- readRDS(%s)
    cat(format(elbo::ppca(x, 2)$loglik, digits = 15))", deparse(path)))
  expect_equal(as.numeric(tail(printed, 1)), ppca(as.matrix(x), 2)$loglik)
})

test_that("a closed-form fit needs no random numbers", {
  set.seed(1)
  before <- .Random.seed
  x <- ppca(mnist1000$x[1:50, ], 3)
  expect_identical(.Random.seed, before)
})

test_that("a sigma2 that takes the likelihood out of range is refused", {
  expect_error(ppca(iris[1:4], 2, sigma2 = 1e-320), "`sigma2` must be larger",
               class = "elbo_error")
})

test_that("whitened data, of which all eigenvalues are equal but for rounding, are fitted", {
  # LAPACK's bisection for a few eigenvalues misses some of one in ten such matrices
  for (p in 20:60) {
    set.seed(p)
    z <- scale(matrix(rnorm(3 * p * p), 3 * p), scale = FALSE)
    white <- z %*% solve(chol(crossprod(z) / nrow(z)))
    fit <- ppca(white, 2)
    expect_equal(fit$values, rep(1, p), tolerance = 1e-10)
    expect_equal(fit$loglik, -0.5 * nrow(z) * p * (log(2 * pi) + 1), tolerance = 1e-10)
  }
})

test_that("means and scales that have names are taken by them", {
  flowers <- as.matrix(iris[1:4])
  center <- colMeans(flowers) + 1:4
  scale <- c(1, 2, 4, 8)
  names(scale) <- colnames(flowers)
  fits <- list(function(...) ppca(flowers, 2, ...), function(...) linear_vae(flowers, 2, optimizer = "exact", ...),
               function(...) vae(flowers, 2, encoder = 3, ..., control = train_control(epochs = 2)))
  for (fit in fits) {
    set.seed(1)
    expected <- coef(fit(center = unname(center), scale = unname(scale)))
    set.seed(1)
    found <- coef(fit(center = rev(center), scale = scale[c(2, 4, 1, 3)]))
    expect_identical(found, expected)
  }
  expect_error(ppca(flowers, 2, center = c(a = 1, b = 2, c = 3, d = 4)),
               "`center` must have the names of the columns, or none, not \"a\"",
               class = "elbo_error")
  expect_identical(select_rank(flowers, center = rev(center), scale = rev(scale))$table,
                   select_rank(flowers, center = unname(center), scale = unname(scale))$table)
  # data without names have no order but their own
  expect_identical(ppca(unname(flowers), 2, center = rev(center))$loadings,
                   ppca(unname(flowers), 2, center = unname(rev(center)))$loadings)
})
