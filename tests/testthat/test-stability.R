# Stability and the landscape. The reference is the mean log-likelihood of N(mu, W W' +
# sigma2 I) from its definition, p x p, and its numerical second derivatives.

x <- plain(model_data(60, 6, 4, seed = 5))
colnames(x) <- letters[1:6]
s <- crossprod(sweep(x, 2, colMeans(x))) / 60
spectrum <- eigen(s, symmetric = TRUE)
lambda <- spectrum$values
u <- spectrum$vectors

mean_loglik <- function(w, sigma2, cov = s) {
  c <- w %*% t(w) + sigma2 * diag(nrow(cov))
  -(nrow(cov) * log(2 * pi) + as.numeric(determinant(c)$modulus) + sum(diag(solve(c, cov)))) / 2
}

# f''(0) by central differences and one step of Richardson's extrapolation: the error is
# of order h^4.
second_derivative <- function(f, h = 1e-2) {
  rough <- function(h) (f(h) - 2 * f(0) + f(-h)) / h^2
  (4 * rough(h / 2) - rough(h)) / 3
}

# The Hessian of f at theta by differences.
numerical_hessian <- function(f, theta, h = 2e-3) {
  m <- length(theta)
  step <- function(i) replace(numeric(m), i, h)
  out <- outer(seq_len(m), seq_len(m), Vectorize(function(i, j) {
    (f(theta + step(i) + step(j)) - f(theta + step(i) - step(j)) -
       f(theta - step(i) + step(j)) + f(theta - step(i) - step(j))) / (4 * h^2)
  }))
  (out + t(out)) / 2
}

# W with the directions `used`, (lambda_j - noise)^(1/2) u_j, and zero columns up to k.
stationary <- function(used, noise, k = length(used)) {
  w <- matrix(0, 6, k)
  for (j in seq_along(used)) w[, j] <- sqrt(lambda[used[j]] - noise) * u[, used[j]]
  w
}

# A linear VAE at that W: a step too short to move anything.
hold <- function(w, sigma2, ...) {
  linear_vae(x, ncol(w), optimizer = "adam", sigma2 = sigma2, learn_sigma2 = FALSE,
             start = list(loadings = w),
             control = train_control(epochs = 1, learning_rate = 1e-300), ...)
}

# The curvature of f(W) along each principal direction, where W has the directions
# `used`: along itself, for a used one; else along a zero column, or if there is none,
# along the used column of the smallest eigenvalue.
curvature_along <- function(f, w, used) {
  free <- which(colSums(w^2) == 0)
  vapply(1:6, function(j) {
    column <- if (j %in% used) match(j, used) else if (length(free)) free[1] else
      match(max(used), used)
    second_derivative(function(t) {
      w[, column] <- w[, column] + t * u[, j]
      f(w)
    })
  }, 0)
}

# Curvature ----------------------------------------------------------------------

test_that("curvatures are second derivatives of the exact log-likelihood", {
  # Leading and other directions in use, with zero columns and without.
  cases <- list(
    list(used = 1:2, k = 4, noise = mean(lambda[2:3])),
    list(used = 1:2, k = 3, noise = 0.5 * lambda[6]),
    list(used = c(1, 3), k = 3, noise = mean(lambda[3:4])),
    list(used = 1:3, k = 3, noise = 0.5 * lambda[6]),
    list(used = c(2, 4), k = 2, noise = 0.9 * lambda[5]),
    list(used = 5, k = 1, noise = 0.1 * lambda[6]),
    list(used = 1:5, k = 5, noise = lambda[6])
  )
  for (case in cases) {
    w <- stationary(case$used, case$noise, case$k)
    found <- stability(hold(w, case$noise))
    expect_s3_class(found, c("stability", "data.frame"), exact = TRUE)
    expect_identical(names(found), c("direction", "eigenvalue", "in_use", "curvature", "stable"))
    expect_equal(found$eigenvalue, lambda)
    expect_identical(found$direction, 1:6)
    expect_identical(found$in_use, 1:6 %in% case$used)
    expected <- curvature_along(function(w) mean_loglik(w, case$noise), w, case$used)
    expect_equal(found$curvature, expected, tolerance = 1e-5)
    expect_identical(attr(found, "sigma2"), case$noise)
    expect_identical(attr(found, "free"), as.integer(case$k - length(case$used)))
  }
})

test_that("with no direction in use all curvatures are those of zero columns", {
  # DESIGN, "The mathematics": (lambda_j - sigma2) / sigma2^2.
  for (noise in c(0.5 * lambda[6], mean(lambda[2:3]), 2 * lambda[1])) {
    found <- stability(hold(matrix(0, 6, 2), noise))
    expect_identical(found$in_use, rep(FALSE, 6))
    expect_equal(found$curvature, (lambda - noise) / noise^2)
    expect_identical(found$stable, lambda < noise)
    expect_identical(attr(found, "stable"), noise > lambda[1])
    expect_identical(attr(found, "free"), 2L)
  }
})

test_that("no other way up is steeper: the full Hessian over W", {
  # Its largest eigenvalue is the largest curvature, or 0 along rotations where none
  # is positive; so `stable` is stability against any perturbation of W.
  for (case in list(list(used = 1:2, k = 3, noise = mean(lambda[3:4])),
                    list(used = 1:2, k = 3, noise = sqrt(lambda[2] * lambda[3])),
                    list(used = 1, k = 2, noise = mean(lambda[2:3])),
                    list(used = 1:2, k = 2, noise = 0.8 * lambda[4]),
                    list(used = c(1, 3), k = 2, noise = 0.8 * lambda[4]))) {
    w <- stationary(case$used, case$noise, case$k)
    h <- numerical_hessian(function(theta) mean_loglik(matrix(theta, 6), case$noise), c(w))
    top <- max(eigen(h, symmetric = TRUE, only.values = TRUE)$values)
    found <- stability(hold(w, case$noise))
    expect_equal(top, max(found$curvature, 0), tolerance = 1e-4,
                 label = paste(c(case$used, "of", case$k), collapse = " "))
    expect_identical(attr(found, "stable"), top < 1e-4)
  }
})

test_that("with a weight on the KL, sigma2 is beta times the noise variance", {
  # The objective, with V and D at their best for W (whose columns are orthogonal):
  # ?linear_vae, Details. Its curvature is beta times that of the log-likelihood.
  objective <- function(w, sigma2, beta) {
    noise <- beta * sigma2
    v <- solve(t(w) %*% w + noise * diag(ncol(w)), t(w))
    d <- noise / (colSums(w^2) + noise)
    kl <- (sum(d - log(d) - 1) + sum(diag(v %*% s %*% t(v)))) / 2
    error <- sum(diag(s)) - 2 * sum(diag(w %*% v %*% s)) +
      sum(diag(t(w) %*% w %*% v %*% s %*% t(v))) + sum(colSums(w^2) * d)
    -error / (2 * sigma2) - 3 * log(2 * pi * sigma2) - beta * kl
  }
  for (beta in c(0.3, 2, 5)) {
    noise <- mean(lambda[2:3])
    w <- stationary(1:2, noise, 3)
    found <- stability(hold(w, noise / beta, beta = beta))
    expected <- curvature_along(function(w) objective(w, noise / beta, beta), w, 1:2)
    expect_equal(beta * found$curvature, expected, tolerance = 1e-5)
    expect_equal(attr(found, "sigma2"), noise)
    expect_equal(found$curvature, stability(ppca(x, 3, sigma2 = noise))$curvature)
  }
})

test_that("another sigma2 gives the point that would be stationary there", {
  fit <- ppca(x, 4)
  for (noise in c(0.01, mean(lambda[3:4]), mean(lambda[1:2]), 2 * lambda[1])) {
    expect_equal(stability(fit, sigma2 = noise), stability(ppca(x, 4, sigma2 = noise)))
  }
  # Not the leading directions: those in use that exceed it remain.
  noise <- sqrt(lambda[2] * lambda[4])
  found <- stability(hold(stationary(c(2, 4), 0.9 * lambda[5]), 0.9 * lambda[5]), sigma2 = noise)
  expect_identical(found$in_use, 1:6 == 2)
  expect_identical(attr(found, "free"), 1L)
  w <- stationary(2, noise, 2)
  expect_equal(found$curvature, curvature_along(function(w) mean_loglik(w, noise), w, 2),
               tolerance = 1e-5)
})

test_that("a direction at the noise itself is flat, and not a way up", {
  fit <- ppca(x, 3)
  found <- stability(fit, sigma2 = fit$values[3])
  expect_identical(found$curvature[3], 0)
  expect_identical(found$stable, c(TRUE, TRUE, TRUE, TRUE, TRUE, TRUE))
  expect_identical(found$in_use, c(TRUE, TRUE, FALSE, FALSE, FALSE, FALSE))
})

test_that("centre, scale and units are those of the fit", {
  sd <- sqrt(diag(s))
  scaled <- eigen(s / outer(sd, sd), symmetric = TRUE)$values
  noise <- mean(scaled[2:3])
  found <- stability(ppca(x, 3, scale = TRUE, sigma2 = noise))
  expect_equal(found$eigenvalue, scaled)
  expect_equal(found$curvature[3:6], (scaled[3:6] - noise) / noise^2)
  same <- linear_vae(x, 3, scale = TRUE, sigma2 = noise, learn_sigma2 = FALSE,
                     optimizer = "exact")
  expect_equal(stability(same), found)
  # Lengths in other units: curvature, a second derivative in length, follows.
  large <- stability(linear_vae(1e5 * x, 3, sigma2 = 1e10 * mean(lambda[2:3]),
                                learn_sigma2 = FALSE, optimizer = "exact"))
  small <- stability(ppca(x, 3, sigma2 = mean(lambda[2:3])))
  expect_equal(large$curvature * 1e10, small$curvature)
  expect_identical(large$in_use, small$in_use)
})

test_that("it works where p exceeds n, with eigenvalues of 0 that are no way up", {
  wide <- plain(model_data(6, 11, 2))
  values <- reference_ppca(wide, 1)$values
  for (fit in list(ppca(wide, 3), linear_vae(wide, 3, optimizer = "exact"))) {
    found <- stability(fit)
    expect_identical(found$in_use[1:3], rep(TRUE, 3))
    expect_equal(found$eigenvalue, values[seq_along(found$eigenvalue)])
    expect_true(attr(found, "stable"))
  }
})

# Which directions are in use ----------------------------------------------------

test_that("training that began with zero columns is seen to have left them", {
  # A zero column stays zero in coordinate ascent: its V is zero, and so its next W.
  noise <- sqrt(lambda[4] * lambda[5])
  for (used in list(1, 2, c(1, 3), c(2, 4), 1:4, integer())) {
    set.seed(1)
    w <- matrix(0, 6, 4)
    # Not the stationary lengths: em has to find those.
    for (j in seq_along(used)) w[, j] <- 1.3 * sqrt(lambda[used[j]]) * u[, used[j]]
    fit <- linear_vae(x, 4, sigma2 = noise, learn_sigma2 = FALSE, start = list(loadings = w),
                      control = train_control(maxit = 300))
    found <- expect_no_warning_of(stability(fit))
    expect_identical(found$in_use, 1:6 %in% used, label = paste(c(used, "in use"), collapse = " "))
    expect_identical(attr(found, "free"), 4L - length(used))
    # Theorem 1, and DESIGN: stable iff every unused eigenvalue is below sigma2.
    expect_identical(attr(found, "stable"), all(lambda[setdiff(1:6, used)] < noise))
  }
})

test_that("rotated or reordered columns are the same point", {
  set.seed(2)
  turn <- qr.Q(qr(matrix(rnorm(16), 4)))
  noise <- mean(lambda[3:4])
  w <- stationary(c(3, 1), noise, 4)
  plain_point <- stability(hold(w, noise))
  expect_identical(which(plain_point$in_use), c(1L, 3L))
  expect_equal(stability(hold(w %*% turn, noise)), plain_point)
  expect_equal(stability(hold(w[, 4:1], noise)), plain_point)
})

test_that("away from a stationary point it says so", {
  set.seed(3)
  away <- hold(matrix(3 * rnorm(12), 6), 0.5)             # long enough to be in use
  expect_warning(found <- stability(away), "not at a stationary point: .* off the eigenvalues")
  expect_identical(sum(found$in_use & found$eigenvalue > 0.5), sum(found$in_use))
  # The stated distance: eigenvalues of S within the span of W, against the nearest ones.
  b <- qr.Q(qr(unname(away$loadings)))
  own <- eigen(t(b) %*% s %*% b, symmetric = TRUE)$values
  said <- tryCatch(stability(away), warning = conditionMessage)
  left <- lambda
  off <- vapply(own, function(value) {
    nearest <- which.min(abs(left - value))
    gap <- abs(left[nearest] - value)
    left[nearest] <<- Inf
    gap
  }, 0)
  # And squared lengths along the axes of W'W against variance - noise.
  turned <- svd(unname(away$loadings))
  length2 <- turned$d^2
  variance <- diag(t(turned$u) %*% s %*% turned$u)
  expect_true(all(length2 > 0.5 * (variance - 0.5)))
  off <- c(off, abs(length2 - pmax(variance - 0.5, 0)))
  expect_match(said, paste0("by up to ", format(max(off), digits = 2), "."), fixed = TRUE)
  # Columns of random lengths where the noise covers all directions.
  expect_warning(found <- stability(hold(matrix(rnorm(12), 6), 2 * lambda[1])),
                 "not at a stationary point")
  expect_false(any(found$in_use))
  for (optimizer in c("em", "lbfgs", "exact")) {
    set.seed(1)
    expect_no_warning_of(stability(linear_vae(x, 3, optimizer = optimizer)))
  }
})

# Theorems as experiments --------------------------------------------------------

test_that("without a zero column a point is stable if and only if it has the leading directions", {
  # Tipping and Bishop (1999), appendix A: every choice of 2 out of 6.
  noise <- 0.8 * lambda[6]
  for (used in combn(6, 2, simplify = FALSE)) {
    found <- stability(hold(stationary(used, noise), noise))
    expect_identical(found$in_use, 1:6 %in% used)
    expect_identical(attr(found, "stable"), identical(used, 1:2))
    # And each way up is along an unused direction of a larger eigenvalue.
    expect_identical(which(!found$stable), setdiff(seq_len(max(used)), used))
  }
})

test_that("where the noise exceeds lambda_j, direction j collapses from any start", {
  for (kept in c(1, 3)) {
    noise <- sqrt(lambda[kept] * lambda[kept + 1])
    said_before <- stability(hold(stationary(seq_len(kept), noise, 5), noise))
    expect_true(attr(said_before, "stable"))
    for (seed in 1:5) {
      set.seed(seed)
      fit <- linear_vae(x, 5, sigma2 = noise, learn_sigma2 = FALSE,
                        control = train_control(tol = 1e-13, maxit = 5000))
      found <- stability(fit)
      expect_identical(found$in_use, 1:6 <= kept)
      expect_true(attr(found, "stable"))
      expect_equal(fit$loglik, reference_ppca(x, kept, sigma2 = noise)$loglik,
                   tolerance = 1e-9)
      # What is left of the other columns: nothing.
      expect_lt(sum(svd(fit$loadings)$d[(kept + 1):5]^2), 1e-6 * noise)
    }
  }
})

test_that("a collapsed dimension wakes up where, and only where, the curvature is positive", {
  # From the point with the first two directions and a zero column, disturbed by a
  # hundredth of the third direction.
  for (noise in c(0.7, 1.5) * lambda[3]) {
    w <- stationary(1:2, noise, 3)
    said <- stability(hold(w, noise))
    expect_identical(which(!said$stable), if (noise < lambda[3])
      which(lambda > noise & 1:6 > 2) else integer())
    w[, 3] <- 0.01 * u[, 3]
    after <- linear_vae(x, 3, sigma2 = noise, learn_sigma2 = FALSE, start = list(loadings = w),
                        control = train_control(tol = 1e-14, maxit = 5000))
    expect_identical(stability(after)$in_use, 1:6 <= if (noise < lambda[3]) 3 else 2)
  }
})

test_that("with sigma2 learned a point with a free dimension is no maximum", {
  # sigma2 at its best for two directions is the mean of the other eigenvalues, below
  # the largest of them.
  noise <- mean(lambda[3:6])
  found <- stability(hold(stationary(1:2, noise, 3), noise))
  expect_false(attr(found, "stable"))
  expect_false(found$stable[3])
  # At the global maximum all dimensions are in use, and it is stable.
  for (fit in list(ppca(x, 3), linear_vae(x, 3, optimizer = "exact"))) {
    expect_true(attr(stability(fit), "stable"))
    expect_identical(attr(stability(fit), "free"), 0L)
  }
})

# Printing -------------------------------------------------------------------------

test_that("it prints what it found, and invisibly", {
  noise <- mean(lambda[3:4])
  said <- capture.output(expect_invisible(print(stability(ppca(x, 4, sigma2 = noise)))))
  expect_match(said, "3 of 6 directions in use, 1 zero column in W", fixed = TRUE, all = FALSE)
  expect_match(said, "Stable: a local maximum at this sigma2", fixed = TRUE, all = FALSE)
  saddle <- hold(stationary(1, 0.9 * lambda[3], 3), 0.9 * lambda[3])
  expect_output(print(stability(saddle)), "2 zero columns in W", fixed = TRUE)
  expect_output(print(stability(saddle)), "rises along 2 unused directions", fixed = TRUE)
  # A part of it is a data frame that still prints.
  expect_output(print(stability(saddle)[1:2, ]), "curvature")
  expect_output(print(stability(saddle)[, 1:2]), "eigenvalue")
  many <- ppca(plain(model_data(40, 30, 3)), 3)
  expect_output(print(stability(many)), "... and 18 more directions", fixed = TRUE)
})

# Landscape ------------------------------------------------------------------------

# The mean log-likelihood of W = (kept directions, a u_i, b u_j).
cell <- function(a, b, pair, keep, sigma2) {
  kept <- lapply(keep, function(j) sqrt(max(lambda[j] - sigma2, 0)) * u[, j])
  mean_loglik(do.call(cbind, c(kept, list(a * u[, pair[1]], b * u[, pair[2]]))), sigma2)
}

test_that("each cell is the log-likelihood of the W that it stands for", {
  fit <- ppca(x, 3)
  for (case in list(list(pair = c(4, 5), keep = 1:3, sigma2 = mean(lambda[4:5])),
                    list(pair = c(5, 2), keep = c(4, 1), sigma2 = 0.5 * lambda[6]),
                    list(pair = c(1, 2), keep = integer(), sigma2 = lambda[3]),
                    list(pair = c(1, 6), keep = 2:5, sigma2 = lambda[4]),   # some kept are 0
                    list(pair = c(2, 3), keep = c(4, 6, 5, 1), sigma2 = 0.01))) {
    hill <- do.call(landscape, c(list(fit, reach = 1.7, points = 7), case))
    expect_s3_class(hill, "landscape")
    expect_equal(hill$a, seq(-1.7, 1.7, length.out = 7))
    expect_identical(hill$b, hill$a)
    expected <- outer(hill$a, hill$b, Vectorize(function(a, b) {
      cell(a, b, case$pair, case$keep, case$sigma2)
    }))
    expect_equal(hill$loglik, expected, tolerance = 1e-10)
    expect_identical(hill$pair, as.integer(case$pair))
    expect_identical(hill$keep, as.integer(case$keep))
    expect_identical(hill$sigma2, case$sigma2)
    expect_equal(hill$eigenvalues, lambda[case$pair])
  }
})

test_that("the log-likelihood of the data themselves is that of the cell", {
  hill <- landscape(ppca(x, 3), c(4, 5), 1:3, sigma2 = 0.2, reach = 1, points = 3)
  w <- cbind(stationary(1:3, 0.2), -1 * u[, 4], 1 * u[, 5])
  expect_equal(hill$loglik[1, 3], mean(log_density(x, colMeans(x), w %*% t(w) + 0.2 * diag(6))))
})

test_that("curvature is the numerical Hessian at the collapsed point, without a cross term", {
  # The table beside Fig. 1 of Lucas et al. (2019): sigma2 at lambda_4, between the two,
  # and below both.
  fit <- ppca(x, 3)
  for (sigma2 in c(lambda[3], mean(lambda[4:5]), 0.5 * lambda[6])) {
    hill <- landscape(fit, c(4, 5), 1:2, sigma2 = sigma2)
    h <- numerical_hessian(function(ab) cell(ab[1], ab[2], c(4, 5), 1:2, sigma2), c(0, 0))
    expect_equal(hill$curvature, diag(h), tolerance = 1e-3)
    expect_lt(abs(h[1, 2]), 1e-5 * max(abs(h)))
    # stability() of that point says the same.
    point <- hold(stationary(1:2, sigma2, 4), sigma2)
    expect_equal(stability(point)$curvature[4:5], hill$curvature)
  }
  # And in the grid itself, near the centre.
  close <- landscape(fit, c(4, 5), 1:2, sigma2 = 0.3, reach = 1e-3, points = 3)
  bend <- (close$loglik[3, 2] - 2 * close$loglik[2, 2] + close$loglik[1, 2]) / 1e-6
  expect_equal(bend, close$curvature[1], tolerance = 1e-3)
})

test_that("the grid reaches past both maxima, which are at (lambda - sigma2)^(1/2)", {
  fit <- ppca(x, 2)
  sigma2 <- 0.5 * lambda[5]
  hill <- landscape(fit, c(4, 3), 1:2, sigma2 = sigma2)
  expect_identical(dim(hill$loglik), c(61L, 61L))
  expect_equal(max(hill$a), 2 * sqrt(lambda[3] - sigma2))
  best <- arrayInd(which.max(hill$loglik), dim(hill$loglik))
  step <- diff(hill$a[1:2])
  expect_lt(abs(abs(hill$a[best[1]]) - sqrt(lambda[4] - sigma2)), step)
  expect_lt(abs(abs(hill$b[best[2]]) - sqrt(lambda[3] - sigma2)), step)
  # Both columns at their best: the maximum over four dimensions at this sigma2.
  expect_lt(max(hill$loglik), reference_ppca(x, 4, sigma2 = sigma2)$loglik / 60 + 1e-12)
  expect_gt(max(hill$loglik), reference_ppca(x, 4, sigma2 = sigma2)$loglik / 60 - 0.01)
  # Signs of columns do not matter.
  expect_equal(hill$loglik, hill$loglik[61:1, 61:1])
  # Where both are collapsed for good, as far as the noise.
  high <- landscape(fit, c(4, 3), 1:2, sigma2 = lambda[2])
  expect_equal(max(high$a), sqrt(lambda[2]))
  expect_identical(which.max(high$loglik), 31L + 30L * 61L)
})

test_that("it is also the greatest ELBO that a linear VAE with this W can have", {
  hill <- landscape(ppca(x, 3), c(4, 5), 1:2, sigma2 = 0.3, reach = 0.8, points = 5)
  for (i in c(1, 3, 4)) for (j in c(2, 3)) {
    w <- cbind(stationary(1:2, 0.3), hill$a[i] * u[, 4], hill$b[j] * u[, 5])
    expect_equal(hold(w, 0.3)$elbo, hill$loglik[i, j])
  }
})

test_that("the noise variance is the model's unless given", {
  fit <- linear_vae(x, 3, optimizer = "exact")
  expect_identical(landscape(fit, 4:5), landscape(fit, 4:5, sigma2 = fit$sigma2))
  expect_equal(landscape(as_linear_vae(ppca(x, 3)), 4:5)$loglik, landscape(fit, 4:5)$loglik)
})

test_that("with a scale or a transform it is on the scale of the data", {
  sd <- sqrt(diag(s))
  scaled <- eigen(s / outer(sd, sd), symmetric = TRUE)
  w <- cbind(scaled$vectors[, 1] * sqrt(scaled$values[1] - 0.2), -0.5 * scaled$vectors[, 3],
             0.5 * scaled$vectors[, 2])
  cov <- (w %*% t(w) + 0.2 * diag(6)) * outer(sd, sd)
  hill <- landscape(ppca(x, 2, scale = TRUE), c(3, 2), 1, sigma2 = 0.2, reach = 0.5, points = 3)
  expect_equal(hill$loglik[1, 3], mean(log_density(x, colMeans(x), cov)))
  # Under a transform the density of the data is that of their images and its Jacobian.
  set.seed(6)
  pixels <- matrix(rbinom(240, 255, 0.4), 40)
  set.seed(7)
  fit <- ppca(pixels, 2, transform = logit_pixels(0.01))
  hill <- landscape(fit, 1:2, reach = sqrt(fit$values[2] - fit$sigma2), points = 3)
  a <- 0.01 + 0.98 * (pixels + {set.seed(7); runif(240)}) / 256
  y <- log(a / (1 - a))
  jacobian <- rowSums(log(0.98 / 256) - log(a * (1 - a)))
  direction <- eigen(cov(y))$vectors[, 1:2]
  size <- max(hill$a)
  expect_equal(hill$loglik[3, 1],
               mean(log_density(y, colMeans(y), size^2 * direction %*% t(direction) +
                                  fit$sigma2 * diag(6)) + jacobian))
})

test_that("directions whose eigenvalues are not known are refused, and so are others", {
  fit <- ppca(x, 3)
  for (pair in list(c(6, 7), c(0, 1), c(1.5, 2), 1, 1:3, c(2, 2), c(NA, 1), "1", NULL)) {
    expect_error(landscape(fit, pair), "`pair` must be 2 distinct whole numbers between 1 and 6",
                 class = "elbo_error")
  }
  expect_error(landscape(fit, 4:5, keep = 7), "`keep` must be distinct whole numbers",
               class = "elbo_error")
  expect_error(landscape(fit, 4:5, keep = 3:4),
               "`pair` must be two directions that `keep` does not hold, not 4.", fixed = TRUE,
               class = "elbo_error")
  # EM knows no more than k.
  set.seed(1)
  em <- ppca(x, 3, method = "em", control = em_control(accelerate = FALSE))
  expect_error(landscape(em, 4:5), "between 1 and 3", class = "elbo_error")
})

test_that("a landscape prints in a few lines, and invisibly", {
  hill <- landscape(ppca(x, 3), c(4, 5), 1:3, sigma2 = 0.3)
  said <- capture.output(expect_invisible(print(hill)))
  expect_match(said, "around two zero columns of W, sigma2 = 0.3", fixed = TRUE, all = FALSE)
  expect_match(said, "Kept: 1, 2, 3", fixed = TRUE, all = FALSE)
  expect_output(print(landscape(ppca(x, 3), 4:5)), "Kept: none", fixed = TRUE)
})

test_that("a fit to data with missing cells is refused", {
  # No covariance matrix stands for such data: `values` of the fit are those of
  # W W' + sigma2 I, with which stability() would call any fit a local maximum, and
  # landscape() would show what is not the likelihood.
  fit <- ppca(with_holes(x), 3)
  expect_error(stability(fit), "missing cells", class = "elbo_error")
  expect_error(landscape(fit, 1:2), "missing cells", class = "elbo_error")
})

test_that("what is left of a collapsed column is not in use", {
  # Coordinate ascent shrinks the column of an eigenvalue just below the noise slowly; a
  # column that is on its way up from nearly 0 is not there yet either.
  noise <- lambda[2] * 1.01
  w <- stationary(1, noise, 3)
  w[, 2] <- sqrt(1e-3 * noise) * u[, 2]
  expect_identical(stability(hold(w, noise))$in_use, 1:6 == 1)
  noise <- lambda[2] * 0.9
  w <- stationary(1, noise, 3)
  w[, 2] <- sqrt(0.01 * (lambda[2] - noise)) * u[, 2]
  found <- stability(hold(w, noise))
  expect_identical(found$in_use, 1:6 == 1)
  expect_false(found$stable[2])
  # A direction that the noise all but covers is in use where its column is as it should be.
  noise <- lambda[2] * 0.999
  expect_identical(stability(hold(stationary(1:2, noise, 3), noise))$in_use, 1:6 <= 2)
})
