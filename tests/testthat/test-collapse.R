# Posterior collapse. References: the n x k matrix of KL(q(z_j | x) || p(z_j)) from its
# definition, hand-worked cases, and multivariate normal KLs, p x p and one row at a time.

x <- plain(model_data(40, 6, 3, seed = 4))
dimnames(x) <- list(paste0("r", 1:40), letters[1:6])
lambda <- reference_ppca(x, 1)$values
directions <- eigen(cov(x), symmetric = TRUE)$vectors

# A linear VAE at given parameters: a step too short to move any of them. What is not
# given of V and D is at its best for w.
hold <- function(x, w, sigma2, V = NULL, D = NULL, ...) {
  start <- list(loadings = w, V = V, D = D)
  linear_vae(x, ncol(w), optimizer = "adam", sigma2 = sigma2, learn_sigma2 = FALSE,
             start = start[!vapply(start, is.null, NA)],
             control = train_control(epochs = 1, learning_rate = 1e-300), ...)
}

# KL of N(m_ij, d_ij) from N(0, 1): with q = N(m, d), E log q = -1/2 (log 2 pi d + 1)
# and E log p = -1/2 (log 2 pi + d + m^2).
kl_matrix <- function(m, d) {
  if (!is.matrix(d)) d <- matrix(d, nrow(m), ncol(m), byrow = TRUE)
  unname(-(log(2 * pi * d) + 1) / 2 + (log(2 * pi) + d + m^2) / 2)
}

encode <- function(fit, x) t(unname(fit$V) %*% (t(unname(as.matrix(x))) - unname(fit$mean)))

# KL of N(m1, c1) from N(m2, c2).
normal_kl <- function(m1, c1, m2, c2) {
  d <- m2 - m1
  (sum(diag(solve(c2, c1))) + sum(d * solve(c2, d)) - length(d) +
     as.numeric(determinant(c2)$modulus) - as.numeric(determinant(c1)$modulus)) / 2
}

# The definition, word for word: the share of x whose KL is below eps is 1 - delta or
# more, in whole observations.
expect_definition <- function(found, kl, eps, delta) {
  n <- nrow(kl)
  below <- colSums(kl < eps)
  expect_equal(found$dimensions$share, below / n, tolerance = 1e-14)
  expect_identical(found$dimensions$collapsed, below >= round((1 - delta) * n, 9))
  expect_equal(found$percent, 100 * sum(found$dimensions$collapsed) / ncol(kl))
}

# All but the mutual information, which is estimated from draws.
fixed_numbers <- function(found) unclass(found)[setdiff(names(found), "information")]

# The definition ---------------------------------------------------------------

test_that("a cross of four points gives the numbers worked by hand", {
  # S = diag(2, 1/2), k = 1: sigma2 = 1/2, W = (sqrt(1.5), 0), M = 2, D = 1/4,
  # E z = sqrt(1.5) x_1 / 2 = (s, -s, 0, 0) with s^2 = 1.5. KL = (1/4 - 1 + log 4 + m^2) / 2.
  cross <- cbind(a = c(2, -2, 0, 0), b = c(0, 0, 1, -1))
  high <- (0.75 + log(4)) / 2
  low <- (-0.75 + log(4)) / 2
  for (fit in list(linear_vae(cross, 1, optimizer = "exact"), ppca(cross, 1))) {
    found <- posterior_collapse(fit, eps = 0.5, delta = 0.5)
    expect_equal(found$dimensions, data.frame(
      share = 0.5, collapsed = TRUE, mean_kl = log(2), active_variance = 0.75,
      threshold = low, eigenvalue = 2, predicted_kl = log(2), predicted = FALSE,
      row.names = "z1"
    ))
    expect_identical(found$percent, 100)
    expect_identical(found$active_units, 1L)
    expect_equal(found$rate, log(2))
    # C = S: the log-likelihood is -(log 2 pi + 1), and the ELBO as much.
    expect_equal(found$distortion, log(2 * pi) + 1 - log(2))
    expect_equal(found$gap, list(total = 0, rotation = 0, posterior = 0))
    expect_equal(posterior_collapse(fit, delta = 0)$dimensions$threshold, high)
    expect_identical(posterior_collapse(fit, eps = 0.5, delta = 0.49)$percent, 0)
  }
})

test_that("the KL is the integral of q log(q / p)", {
  fit <- hold(x, matrix(sin(1:12), 6), 0.4, D = c(0.3, 1.7))
  kl <- kl_matrix(encode(fit, x), fit$D)
  for (i in 1:3) for (j in 1:2) {
    m <- encode(fit, x)[i, j]
    s <- sqrt(fit$D[[j]])
    integrand <- function(z) {
      dnorm(z, m, s) * (dnorm(z, m, s, log = TRUE) - dnorm(z, log = TRUE))
    }
    expect_equal(integrate(integrand, m - 12 * s, m + 12 * s, rel.tol = 1e-10)$value,
                 kl[i, j], tolerance = 1e-8)
  }
  expect_equal(posterior_collapse(fit)$dimensions$mean_kl, colMeans(kl))
})

test_that("share and verdict are those of the n x k matrix, whatever eps and delta", {
  half <- hold(x, directions[, 1:4] %*% diag(c(2, 1, 0.2, 0.02)), 0.3,
               D = c(0.1, 0.4, 0.9, 1.1))
  new <- x[1:13, ] + 0.3
  for (fit in list(half, linear_vae(x, 4, sigma2 = 0.3, learn_sigma2 = FALSE),
                   linear_vae(x, 5, optimizer = "exact"))) {
    for (data in list(x, new)) {
      kl <- kl_matrix(encode(fit, data), fit$D)
      for (eps in c(1e-6, 0.01, 0.1, 0.5, 2)) for (delta in c(0, 0.01, 0.1, 0.5)) {
        found <- if (identical(data, x)) posterior_collapse(fit, eps = eps, delta = delta) else
          posterior_collapse(fit, data, eps = eps, delta = delta)
        expect_definition(found, kl, eps, delta)
        expect_identical(found$n, nrow(data))
        expect_identical(found[c("eps", "delta", "beta", "sigma2")],
                         list(eps = eps, delta = delta, beta = 1, sigma2 = fit$sigma2))
      }
      expect_equal(found$dimensions$mean_kl, colMeans(kl))
      m <- encode(fit, data)
      expect_equal(found$dimensions$active_variance,
                   unname(colMeans(sweep(m, 2, colMeans(m))^2)))
      expect_identical(found$active_units, sum(found$dimensions$active_variance > 0.01))
      expect_identical(rownames(found$dimensions), paste0("z", seq_len(fit$k)))
    }
  }
})

test_that("a share of exactly 1 - delta is enough, whatever rounding makes of 1 - delta", {
  # 1 - 0.7 rounds to more than 0.3, and yet 3 rows of 10 are 30 %.
  fit <- linear_vae(x[1:10, ], 3)
  kl <- kl_matrix(encode(fit, x[1:10, ]), fit$D)
  deltas <- c(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
  for (below in 1:9) for (j in 1:3) {
    eps <- mean(sort(kl[, j])[below + 0:1])
    found <- posterior_collapse(fit, eps = eps, delta = deltas[below])$dimensions[j, ]
    expect_true(found$collapsed, label = paste(below, "of 10 rows"))
    expect_identical(found$collapsed, found$threshold < eps)
  }
})

test_that("a dimension counts as collapsed at eps if and only if its threshold is below eps", {
  fit <- hold(x, directions[, 1:4] %*% diag(c(2, 1, 0.2, 0.02)), 0.3, D = c(0.1, 0.4, 0.9, 1.1))
  twice <- hold(rbind(x, x), fit$loadings, 0.3, D = fit$D)            # every KL twice
  for (model in list(fit, twice, ppca(x, 4, sigma2 = 0.3))) {
    for (delta in c(0, 0.01, 0.025, 0.1, 0.5, 0.9)) {
      threshold <- posterior_collapse(model, delta = delta)$dimensions$threshold
      grid <- sort(c(threshold, threshold * (1 + 1e-12), threshold * (1 - 1e-12),
                     10^(-4:1)))
      for (eps in grid) {
        found <- posterior_collapse(model, eps = eps, delta = delta)$dimensions
        expect_identical(found$collapsed, threshold < eps)
      }
    }
  }
  # delta = 0: the largest KL.
  expect_equal(posterior_collapse(fit, delta = 0)$dimensions$threshold,
               apply(kl_matrix(encode(fit, x), fit$D), 2, max))
})

# What the theory predicts -----------------------------------------------------

test_that("at the optimum what is measured is what was predicted", {
  # DESIGN, "The mathematics": KL_j = 1/2 log(lambda_j / (beta sigma2)), active-unit
  # variance 1 - beta sigma2 / lambda_j, and collapse if and only if lambda_j <= beta sigma2.
  for (beta in c(0.5, 1, 3)) for (sigma2 in c(0.01, mean(lambda[2:3]), mean(lambda[3:4]))) {
    fit <- linear_vae(x, 5, optimizer = "exact", sigma2 = sigma2, learn_sigma2 = FALSE,
                      beta = beta)
    found <- posterior_collapse(fit, delta = 0)
    noise <- beta * sigma2
    used <- lambda[1:5] > noise
    expect_equal(found$dimensions$mean_kl, ifelse(used, log(lambda[1:5] / noise) / 2, 0))
    expect_equal(found$dimensions$active_variance, ifelse(used, 1 - noise / lambda[1:5], 0))
    expect_equal(found$dimensions$predicted_kl, found$dimensions$mean_kl)
    expect_equal(found$dimensions$eigenvalue, lambda[1:5])
    expect_identical(found$dimensions$predicted, !used)
    expect_identical(found$dimensions$collapsed, !used)
    expect_equal(found$rate, sum(log(lambda[1:5] / noise)[used]) / 2)
    expect_identical(found$beta, beta)
    expect_identical(found$active_units, sum(used))
  }
})

test_that("training finds the collapse that was predicted, whatever the optimiser", {
  # sigma2 between the third and fourth eigenvalue: two of five dimensions collapse.
  sigma2 <- sqrt(lambda[3] * lambda[4])
  for (optimizer in c("em", "lbfgs")) for (seed in 1:3) {
    set.seed(seed)
    fit <- linear_vae(x, 5, optimizer = optimizer, sigma2 = sigma2, learn_sigma2 = FALSE,
                      control = train_control(tol = 1e-13, maxit = 20000))
    found <- posterior_collapse(fit)
    expect_identical(sum(found$dimensions$collapsed), 2L)
    expect_identical(found$dimensions$collapsed, found$dimensions$predicted)
    expect_equal(found$dimensions$mean_kl, found$dimensions$predicted_kl, tolerance = 1e-4)
  }
})

test_that("eigenvalues go to the dimensions by their KL, whatever the order of columns", {
  w <- directions[, c(3, 1, 2)] %*% diag(sqrt(lambda[c(3, 1, 2)] - 0.2))
  found <- posterior_collapse(hold(x, w, 0.2))
  expect_equal(found$dimensions$eigenvalue, lambda[c(3, 1, 2)])
  expect_equal(found$dimensions$mean_kl, log(lambda[c(3, 1, 2)] / 0.2) / 2)
  expect_equal(found$dimensions$predicted_kl, found$dimensions$mean_kl)
})

test_that("an eigenvalue of just the noise is predicted to collapse, and does", {
  fit <- ppca(x, 4, sigma2 = ppca(x, 4)$values[3])
  found <- posterior_collapse(fit)$dimensions
  expect_identical(found$predicted, c(FALSE, FALSE, TRUE, TRUE))
  expect_identical(found$predicted_kl[3:4], c(0, 0))
  expect_identical(found$collapsed, found$predicted)
})

test_that("with more noise than any eigenvalue the collapse is complete", {
  fit <- linear_vae(x, 3, optimizer = "exact", sigma2 = 2 * lambda[1], learn_sigma2 = FALSE)
  for (model in list(fit, ppca(x, 3, sigma2 = 2 * lambda[1]))) {
    for (newdata in list(NULL, x[1:5, ])) {
      found <- posterior_collapse(model, newdata, eps = 1e-12, delta = 0)
      expect_identical(found$percent, 100)
      expect_identical(found$active_units, 0L)
      expect_equal(found$rate, 0)
      expect_identical(found$dimensions$collapsed, rep(TRUE, 3))
      expect_identical(found$dimensions$predicted, rep(TRUE, 3))
      expect_equal(found$dimensions$predicted_kl, numeric(3))
    }
  }
  # What is left is N(mu, sigma2 I).
  expect_equal(posterior_collapse(fit)$distortion,
               -mean(log_density(x, colMeans(x), 2 * lambda[1] * diag(6))))
})

test_that("dimensions beyond the rows of x have the eigenvalue 0, and are predicted to collapse", {
  wide <- plain(model_data(5, 9, 2))
  for (optimizer in c("exact", "em")) {
    set.seed(1)
    fit <- linear_vae(wide, 7, optimizer = optimizer, sigma2 = 0.1, learn_sigma2 = FALSE)
    found <- posterior_collapse(fit)$dimensions
    expect_equal(sort(found$eigenvalue, decreasing = TRUE, na.last = TRUE),
                 reference_ppca(wide, 1)$values[1:7])
    expect_identical(found$predicted, found$collapsed)
  }
})

test_that("units of the data do not matter", {
  fit <- linear_vae(x, 4, optimizer = "exact", sigma2 = 0.3, learn_sigma2 = FALSE)
  large <- linear_vae(1e6 * x, 4, optimizer = "exact", sigma2 = 0.3e12, learn_sigma2 = FALSE)
  columns <- c("share", "collapsed", "mean_kl", "active_variance", "threshold",
               "predicted_kl", "predicted")
  expect_equal(posterior_collapse(large)$dimensions[columns],
               posterior_collapse(fit)$dimensions[columns])
})

# New data, missing cells, pPCA ------------------------------------------------

test_that("the spread of E z is measured about its mean, however far that is", {
  # E z moves along with x, and its variance stays.
  # E z^2 - (E z)^2 would cancel.
  fit <- linear_vae(x, 3, optimizer = "exact")
  near <- posterior_collapse(fit, x)$dimensions$active_variance
  far <- posterior_collapse(fit, x + 1e6)$dimensions$active_variance
  expect_equal(far, near, tolerance = 1e-6)
})

test_that("pPCA is measured by the margins of its exact posterior, as the linear VAE it is", {
  fit <- ppca(x, 4, sigma2 = 0.3)
  found <- posterior_collapse(fit, eps = 0.4, delta = 0.1)
  same <- posterior_collapse(as_linear_vae(fit), eps = 0.4, delta = 0.1)
  again <- posterior_collapse(fit, x, eps = 0.4, delta = 0.1)
  numbers <- setdiff(names(fixed_numbers(found)), c("own", "evidence", "remedy"))
  expect_equal(found[numbers], same[numbers])
  expect_equal(again[numbers], same[numbers])
  differ <- c("own", "model")
  expect_equal(found$evidence[setdiff(names(found$evidence), differ)],
               same$evidence[setdiff(names(same$evidence), differ)])
  own <- lapply(1:40, function(i) {
    latent_conditional(x[i, ], fit$mean, unname(fit$loadings), fit$sigma2)
  })
  m <- t(vapply(own, `[[`, numeric(4), "mean"))
  d <- t(vapply(own, function(one) diag(one$cov), numeric(4)))
  expect_definition(found, kl_matrix(m, d), 0.4, 0.1)
})

test_that("with missing cells each row has its own posterior", {
  holes <- with_holes(x, 0.25)
  fit <- ppca(holes, 3, sigma2 = 0.3, keep_data = TRUE)
  new <- with_holes(x[1:15, ] + 0.2, 0.4, seed = 2)
  new[2, ] <- NA
  for (data in list(holes, new)) {
    own <- lapply(seq_len(nrow(data)), function(i) {
      latent_conditional(data[i, ], unname(fit$mean), unname(fit$loadings), fit$sigma2)
    })
    m <- t(vapply(own, `[[`, numeric(3), "mean"))
    d <- t(vapply(own, function(one) diag(one$cov), numeric(3)))
    kl <- kl_matrix(m, d)
    for (eps in c(0.05, 0.5, 1)) {
      found <- if (identical(data, holes)) posterior_collapse(fit, eps = eps, delta = 0.2) else
        posterior_collapse(fit, new, eps = eps, delta = 0.2)
      expect_definition(found, kl, eps, 0.2)
    }
    expect_equal(found$dimensions$mean_kl, colMeans(kl))
    # The rate is the KL of the joint posterior, which margins alone do not have.
    rate <- mean(vapply(own, function(one) {
      normal_kl(one$mean, one$cov, numeric(3), diag(3))
    }, 0))
    expect_equal(found$rate, rate)
    # log p(x_seen) = -distortion - rate.
    expect_equal(-found$distortion - found$rate, mean(fit_density(fit, data)))
    expect_identical(found$gap, list(total = 0, rotation = 0, posterior = 0))
  }
})

test_that("a linear VAE cannot encode missing cells, and says so", {
  fit <- linear_vae(x, 2, optimizer = "exact")
  expect_error(posterior_collapse(fit, with_holes(x)),
               "`newdata` must have no missing cells", class = "elbo_error")
})

test_that("data of the fit are found, or asked for, where they are needed", {
  # A fit to complete data needs none.
  away <- local({
    hidden <- x
    linear_vae(hidden, 2, optimizer = "exact")
  })
  same <- c("dimensions", "elbo", "tuned", "linear", "gap", "verdict")
  expect_equal(posterior_collapse(away)[same], posterior_collapse(away, x)[same])
  holes <- with_holes(x, 0.1)
  inner <- function() {
    data <- holes
    posterior_collapse(ppca(data, 2))
  }
  fit <- ppca(holes, 2, keep_data = TRUE)
  expect_equal(fixed_numbers(inner()), fixed_numbers(posterior_collapse(fit)))
  fit$x <- NULL
  fit$call$x <- quote(no_longer_here)
  expect_error(posterior_collapse(fit), "`newdata` must be given", class = "elbo_error")
})

test_that("new data in a data frame or a sparse matrix are the same data", {
  fit <- linear_vae(x, 3, optimizer = "exact")
  expected <- fixed_numbers(posterior_collapse(fit, x[1:9, ]))
  shuffled <- as.data.frame(x[1:9, ])[c("c", "a", "b", "f", "e", "d")]
  expect_equal(fixed_numbers(posterior_collapse(fit, shuffled)), expected)
  skip_if_not_installed("Matrix")
  sparse <- methods::as(Matrix::Matrix(x[1:9, ], sparse = TRUE), "generalMatrix")
  expect_equal(fixed_numbers(posterior_collapse(fit, sparse)), expected)
})

# Rate, distortion, gap --------------------------------------------------------

test_that("rate and distortion add up to minus the ELBO", {
  # The ELBO of a row, from its definition: log p(x) less the KL of q from the exact
  # posterior of that row.
  fit <- hold(x, matrix(sin(1:18), 6), 0.4, D = c(0.3, 1.7, 0.5))
  by_row <- function(fit, data) {
    mean(fit_density(fit, data) - vapply(seq_len(nrow(data)), function(i) {
      post <- latent_conditional(data[i, ], unname(fit$mean), unname(fit$loadings), fit$sigma2)
      normal_kl(encode(fit, data)[i, ], diag(unname(fit$D)), post$mean, post$cov)
    }, 0))
  }
  for (data in list(x, x[3:9, ] * 1.1)) {
    found <- posterior_collapse(fit, data)
    expect_equal(-found$distortion - found$rate, by_row(fit, data))
    expect_equal(found$rate, sum(found$dimensions$mean_kl))
  }
  expect_equal(posterior_collapse(fit)$rate, fit$kl)
  expect_equal(-posterior_collapse(fit)$distortion, fit$reconstruction)
})

test_that("with a scale or a transform they are on the scale of the data, less the Jacobian", {
  scaled <- linear_vae(x %*% diag(10^(0:5)), 2, scale = TRUE, optimizer = "exact")
  found <- posterior_collapse(scaled)
  # At the maximum the ELBO is the log-likelihood (Lemma 1).
  expect_equal(-found$distortion - found$rate,
               mean(fit_density(scaled, x %*% diag(10^(0:5)))))
  set.seed(3)
  pixels <- matrix(rbinom(200, 255, 0.4), 40)
  fit <- linear_vae(pixels, 2, transform = logit_pixels(), optimizer = "exact")
  found <- posterior_collapse(fit)
  expect_equal(-found$distortion - found$rate + fit$log_jacobian, fit$loglik / 40)
})

test_that("W'W off its diagonal by a rotation costs what it does by hand", {
  # W = U diag(sqrt(a), sqrt(b)) R with R a turn by t: M = R' diag(a, b) R + sigma2 I has
  # the diagonal a c^2 + b s^2 + sigma2 and a s^2 + b c^2 + sigma2.
  sigma2 <- 0.4
  a <- lambda[1] - sigma2
  b <- lambda[2] - sigma2
  for (t in c(0, 0.1, pi / 4, 1.3)) {
    turn <- matrix(c(cos(t), sin(t), -sin(t), cos(t)), 2)
    fit <- hold(x, directions[, 1:2] %*% diag(sqrt(c(a, b))) %*% turn, sigma2)
    gap <- posterior_collapse(fit)$gap
    by_hand <- log((a * cos(t)^2 + b * sin(t)^2 + sigma2) *
                     (a * sin(t)^2 + b * cos(t)^2 + sigma2) /
                     ((a + sigma2) * (b + sigma2))) / 2
    expect_equal(gap$rotation, by_hand, tolerance = 1e-8)
    expect_equal(gap$posterior, 0, tolerance = 1e-8)
    expect_equal(gap$total, by_hand, tolerance = 1e-8)
    # W W' is the maximum's: the log-likelihood does not know the turn.
    expect_equal(fit$loglik, reference_ppca(x, 2, sigma2 = sigma2)$loglik)
  }
})

test_that("the gap is the mean KL of q from the exact posterior, and its parts add up", {
  for (seed in 1:5) {
    set.seed(seed)
    w <- matrix(rnorm(18), 6)
    sigma2 <- exp(rnorm(1))
    V <- matrix(rnorm(18, sd = 0.2), 3)
    D <- exp(rnorm(3))
    mean_kl <- function(fit) {
      mean(vapply(1:40, function(i) {
        post <- latent_conditional(x[i, ], unname(fit$mean), w, sigma2)
        normal_kl(encode(fit, x)[i, ], diag(unname(fit$D)), post$mean, post$cov)
      }, 0))
    }
    best <- hold(x, w, sigma2)
    gap <- posterior_collapse(best)$gap
    expect_gte(gap$rotation, 0)
    expect_equal(gap$total, mean_kl(best))
    expect_equal(gap$posterior, 0, tolerance = 1e-9)
    # Another encoder costs the rest, and does not touch the rotation's part.
    for (fit in list(hold(x, w, sigma2, V = V, D = D), hold(x, w, sigma2, D = D),
                     hold(x, w, sigma2, V = V))) {
      other <- posterior_collapse(fit)$gap
      expect_equal(other$total, mean_kl(fit))
      expect_equal(other$rotation, gap$rotation)
      expect_equal(other$total, other$rotation + other$posterior)
      expect_gt(other$posterior, 0)
    }
  }
})

test_that("a poor encoder's part is 1/2 (d / d0 - 1 - log(d / d0)) for each variance that is off", {
  w <- directions[, 1:2] %*% diag(sqrt(lambda[1:2] - 0.2))
  d0 <- 0.2 / lambda[1:2]                          # D = sigma2 Lambda^-1
  fit <- hold(x, w, 0.2, D = d0 * c(3, 0.5))
  expect_equal(posterior_collapse(fit)$gap$posterior,
               ((3 - 1 - log(3)) + (0.5 - 1 - log(0.5))) / 2)
  expect_equal(posterior_collapse(fit)$gap$rotation, 0)
})

# What else is measured --------------------------------------------------------

test_that("of a deep VAE all is as plain R has it from coef()", {
  # a linear decoder, for which expectations over z are closed forms
  set.seed(1)
  fit <- vae(x, 3, encoder = 5, decoder = integer(), activation = "tanh", epochs = 30,
             batch_size = 10)
  w <- coef(fit)
  q <- reference_encode(w, x)
  kl <- kl_matrix(q$mean, q$variance)
  set.seed(2)
  found <- posterior_collapse(fit, x, eps = 0.3, delta = 0.1, samples = 5000)
  expect_definition(found, kl, 0.3, 0.1)
  expect_equal(found$rate, mean(rowSums(kl)), tolerance = 1e-5)
  exact <- mean(linear_reconstruction(x, q, w))
  expect_equal(found$distortion, -exact, tolerance = 5e-3)
  loadings <- unname(w$output$weights)
  error <- (x - affine(q$mean, w$output))^2 + q$variance %*% t(loadings^2)
  expect_equal(found$tuned$sigma2, mean(error), tolerance = 0.01)
  best <- modifyList(w, list(sigma2 = mean(error)))
  expect_equal(found$tuned$gain, mean(linear_reconstruction(x, q, best)) - exact, tolerance = 0.02)
  expect_identical(found$carried, list(count = sum(lambda > fit$sigma2), least = FALSE))
  expect_equal(found$linear$elbo, reference_ppca(x, 3)$loglik / 40, tolerance = 1e-6)
  # the importance-weighted bound lies between the ELBO and the log-likelihood, which is
  # integrated here over a grid of nodes
  rule <- quadrature(3, 30)
  density <- vapply(1:40, function(i) {
    z <- rule$points * rep(sqrt(q$variance[i, ]), each = nrow(rule$points)) +
      rep(q$mean[i, ], each = nrow(rule$points))
    log_weight <- reference_density(w, x[rep(i, nrow(z)), ], z) +
      rowSums(dnorm(z, log = TRUE) - dnorm(rule$points, log = TRUE)) + sum(log(q$variance[i, ])) / 2
    log(sum(rule$weights * exp(log_weight)))
  }, 0)
  gap <- mean(density) - (exact - mean(rowSums(kl)))
  expect_gt(found$weighted$above, 0)
  expect_lt(found$weighted$above, gap + 0.05)
  expect_lt(abs(found$weighted$value - mean(density)), 0.1)
  expect_identical(found$weighted[c("samples", "rows")], list(samples = 50L, rows = 40L))
  expect_identical(found$gap, list(total = found$weighted$above))
})

test_that("the tuned noise variance, and what it gains, are by hand", {
  # W = 0 and D = 1: q is the prior, the error of a cell its variance, and the ELBO
  # -1/2 (log 2 pi s + v / s) a cell.
  v <- sum(lambda) / 6
  found <- posterior_collapse(linear_vae(x, 2, optimizer = "exact", sigma2 = 2 * lambda[1],
                                         learn_sigma2 = FALSE))
  expect_equal(found$tuned$sigma2, v)
  s <- 2 * lambda[1]
  expect_equal(found$tuned$gain, 3 * (v / s - 1 - log(v / s)))
  expect_identical(found$carried, list(count = 0L, least = FALSE))
  expect_equal(found$evidence$trace, 6 * v)
  expect_equal(found$elbo, -3 * (log(2 * pi * s) + v / s))
})

test_that("directions are counted over all eigenvalues that are known, with beta", {
  for (beta in c(1, 3)) {
    fit <- linear_vae(x, 1, optimizer = "exact", sigma2 = 0.1, learn_sigma2 = FALSE, beta = beta)
    found <- posterior_collapse(fit)
    expect_identical(found$carried, list(count = sum(lambda > 0.1 * beta), least = FALSE))
    expect_identical(found$evidence$carried_alone, as.double(sum(lambda > 0.1)))
  }
  # where one is equal to the noise it is not carried
  fit <- ppca(x, 2, sigma2 = 0.5)
  fit$sigma2 <- fit$values[3]
  expect_identical(posterior_collapse(fit)$carried$count, 2L)
  # by iteration only some are known
  few <- ppca(x, 2, sigma2 = 0.5)
  few$values <- few$values[1:2]
  expect_identical(posterior_collapse(few)$carried, list(count = 2L, least = TRUE))
  expect_output(print(posterior_collapse(few)), "at least 2 exceed it")
  few$sigma2 <- mean(few$values)                # not that of a fit: its error has no root
  found <- suppressWarnings(posterior_collapse(few))
  expect_identical(found$carried, list(count = 1L, least = FALSE))
})

test_that("the numbers are those that the fit shows", {
  set.seed(1)
  fit <- vae(x, 4, encoder = 5, epochs = 20, batch_size = 10, sigma2 = 3, learn_sigma2 = FALSE)
  shown <- function(object) grep("mean KL below", capture.output(print(object)), value = TRUE)
  for (model in list(fit, linear_vae(x, 4, sigma2 = 3, learn_sigma2 = FALSE))) {
    found <- posterior_collapse(model)
    expect_equal(found$elbo, model$elbo)
    expect_equal(found$rate, model$kl)
    expect_identical(shown(found), shown(model))
  }
})

test_that("information of no dimension is none, and of all that are apart log n", {
  none <- posterior_collapse(ppca(x, 2, sigma2 = 30))$information
  expect_equal(none$value, 0)
  all <- posterior_collapse(linear_vae(x, 5, optimizer = "exact", sigma2 = 1e-9,
                                       learn_sigma2 = FALSE))$information
  expect_equal(all$value, log(40))
  expect_equal(all$bound, log(40))
})

# Printing ---------------------------------------------------------------------

test_that("of other data it is said which numbers are theirs", {
  fit <- linear_vae(x, 2, optimizer = "exact")
  other <- x[1:10, ] * 3
  found <- posterior_collapse(fit, other)
  expect_false(found$own)
  expect_equal(found$elbo, elbo(fit, other)[["elbo"]])
  said <- capture.output(print(found))
  expect_match(said, paste0("^ELBO: ", format(found$elbo, digits = 7), " nats per observation$"),
               all = FALSE)
  expect_match(said, paste0("^  of the data of the fit: ", format(fit$elbo, digits = 7),
                            ", equal to pPCA's with k = 2$"), all = FALSE)
  expect_match(found$remedy, "For these data another sigma2")
  for (model in list(fit, ppca(x, 2))) {
    expect_error(posterior_collapse(model, x[0, ]), "`newdata` must have at least 1 row")
    expect_error(tune_sigma2(model, x[0, ]), "`newdata` must have at least 1 row")
  }
  expect_identical(dim(posterior(fit, x[0, ], draws = 2)$draws), c(0L, 2L, 2L))
})

test_that("a tuned sigma2 is called so, and nothing else", {
  tuned <- tune_sigma2(linear_vae(x, 2, sigma2 = 3, learn_sigma2 = FALSE))$fit
  found <- posterior_collapse(tuned)
  expect_identical(found$verdict, "sigma2 tuned late")
  expect_output(print(found), "sigma2: [0-9.]+ \\(tuned\\)")
})

test_that("it prints a screenful, and invisibly", {
  fit <- linear_vae(x, 5, optimizer = "exact", sigma2 = mean(lambda[2:3]), learn_sigma2 = FALSE)
  found <- posterior_collapse(fit)
  expect_s3_class(found, "posterior_collapse")
  said <- capture.output(expect_invisible(print(found)))
  expect_match(said, "Posterior collapse of 5 latent dimensions, 40 observations", fixed = TRUE,
               all = FALSE)
  expect_match(said, "(eps = 0.01, delta = 0.01)-collapsed: 3 of 5 (60.0 %)", fixed = TRUE,
               all = FALSE)
  expect_match(said, "Predicted by eigenvalues <= sigma2 = .*: 3; 2 exceed it$", all = FALSE)
  expect_match(said, "Active units: 2", fixed = TRUE, all = FALSE)
  expect_match(said, "Log-likelihood - ELBO: 0 (rotation 0, posterior 0)", fixed = TRUE,
               all = FALSE)
  # the dimensions with the largest KL first
  order <- order(-found$dimensions$mean_kl)
  rows <- regmatches(said, regexpr("^z[0-9]+", said))
  expect_identical(rows, paste0("z", order))
  expect_output(print(posterior_collapse(linear_vae(x, 2, beta = 2, optimizer = "exact"))),
                "beta * sigma2", fixed = TRUE)
  wide <- linear_vae(plain(model_data(30, 20, 3)), 15, optimizer = "exact")
  expect_output(print(posterior_collapse(wide)), "... and 7 more dimensions", fixed = TRUE)
  long <- posterior_collapse(wide)
  for (words in c(10, 60, 100)) {
    long$remedy <- paste(rep("remedy", words), collapse = " ")
    expect_lt(length(capture.output(print(long))), 25)
  }
})
