# Imputation by deep VAEs. A VAE without hidden layers is linear: what it should give is the
# conditional normal distribution of its marginal N(b, W W' + sigma2), which the references of
# helper-ppca.R take from coef(). (ppca()'s own imputation is tested in test-missing.R.)

x <- plain(model_data(60, 5, 2, sigma2 = 0.5))
dimnames(x) <- list(paste0("row", 1:60), letters[1:5])

linear_marginal <- function(fit) {
  w <- coef(fit)
  loadings <- unname(w$output$weights)
  list(mean = unname(w$output$bias),
       cov = loadings %*% t(loadings) + diag(rep_len(unname(w$sigma2), nrow(loadings))))
}

# A linear VAE with those weights in a decoder with mean 0, whatever the encoder is.
linear_fit <- function(x, k, ..., loadings, sigma2, encoder = 0 * t(loadings), log_d = 0) {
  fit <- quick_vae(x, k, encoder = integer(0), latent_variance = "shared", center = FALSE,
                   epochs = 1, ...)
  # core units are x times fit$unit
  u <- fit$unit[1]
  fit <- with_weights(fit, encoder / u, numeric(k), rep(log_d, k), loadings * u,
                      numeric(nrow(loadings)), log(sigma2 * u^2))
  fit$sigma2 <- sigma2
  fit
}

# Draws (cells x times) have the conditional mean and covariance: means within 4.5 standard
# errors, which count `each` draws for one, covariances within 4.5 of sqrt((c_ii c_jj + c_ij^2)).
expect_conditional <- function(draws, direct, each = 1) {
  times <- ncol(draws) / each
  cov <- as.matrix(direct$cov)
  v <- diag(cov)
  expect_lt(max(abs(rowMeans(draws) - direct$mean) / sqrt(v / times)), 4.5)
  expect_lt(max(abs(stats::cov(t(draws)) - cov) / sqrt((outer(v, v) + cov^2) / times)), 4.5)
}

loadings <- attr(model_data(60, 5, 2), "w")
holes <- rbind(replace(x[1, ], c(1, 3), NA), replace(x[2, ], 2:5, NA), x[3, ], NA,
               replace(x[5, ], 4, NA))
rownames(holes) <- paste0("case", 1:5)

# What the true posterior of complete rows is: M^-1 W' x and sigma2 / diag(M).
m <- crossprod(loadings) + 0.5 * diag(2)
good <- linear_fit(x, 2, loadings = loadings, sigma2 = 0.5,
                   encoder = solve(m, t(loadings)), log_d = log(mean(0.5 / diag(m))))
# An encoder that puts z far from where it belongs, and is sure of it.
bad <- linear_fit(x, 2, loadings = loadings, sigma2 = 0.5,
                  encoder = -0.7 * solve(m, t(loadings)), log_d = log(0.02))

# Rows as C takes them.
vae_rows_of <- function(fit, x) elbo:::vae_rows(fit, unname(x))$floats

# Missing cells of one row by turns of q(z | x) and p(x | z), in plain R.
pseudo_gibbs <- function(fit, row, steps) {
  gone <- which(is.na(row))
  row[gone] <- 0
  set.seed(1)
  vapply(seq_len(steps), function(step) {
    q <- reference_encode(coef(fit), rbind(row))
    z <- q$mean + sqrt(q$variance) * rnorm(length(q$mean))
    to <- reference_decode(coef(fit), z)
    row[gone] <<- rnorm(length(gone), to$mean[gone], sqrt(to$variance[gone]))
    row[gone]
  }, numeric(length(gone)))
}

test_that("the linear fits of these tests are what they are meant to be", {
  for (fit in list(good, bad)) {
    direct <- linear_marginal(fit)
    expect_equal(direct$cov, loadings %*% t(loadings) + 0.5 * diag(5), tolerance = 1e-6)
    expect_equal(direct$mean, numeric(5))
  }
  expect_equal(unname(predict(good, x)), unname(x %*% loadings %*% solve(m)), tolerance = 1e-5)
})

test_that("means by importance sampling are the exact conditional means", {
  set.seed(1)
  filled <- impute(good, holes, samples = 40000)
  ess <- attr(filled, "ess")
  expect_named(ess, rownames(holes))
  expect_identical(unname(is.na(ess)), c(FALSE, FALSE, TRUE, FALSE, FALSE))
  expect_true(all(is.na(attr(filled, "acceptance"))))
  expect_gt(min(ess, na.rm = TRUE), 1000)
  for (i in c(1, 2, 4, 5)) {
    direct <- conditional(holes[i, ], numeric(5), linear_marginal(good)$cov)
    v <- diag(as.matrix(direct$cov))
    gone <- is.na(holes[i, ])
    # the average of E(x | z) varies less than x itself
    expect_lt(max(abs(filled[i, gone] - direct$mean) / sqrt(v / ess[i])), 4)
    expect_identical(filled[i, !gone], holes[i, !gone])
  }
  expect_identical(filled[3, ], holes[3, ])
  expect_identical(dimnames(filled), dimnames(holes))
})

test_that("effective sample sizes are those of the weights", {
  # Where nothing is observed all weights are 1.
  set.seed(1)
  expect_equal(attr(impute(good, holes, samples = 100), "ess")[["case4"]], 100)
  # In one dimension and by quadrature: the limit of ess / samples is (E_q w)^2 / E_q w^2 for
  # the mixture q of ?impute, here with q(z | x) = N(0, e^-1) both times.
  w <- c(1, 0.5, -1)
  fit <- linear_fit(x[, 1:3], 1, loadings = cbind(w), sigma2 = 0.4, log_d = -1)
  row <- c(0.3, NA, -0.8)
  density <- function(z) dnorm(0.3, z, sqrt(0.4)) * dnorm(-0.8, -z, sqrt(0.4)) * dnorm(z)
  q <- function(z) 0.75 * dnorm(z, 0, exp(-0.5)) + 0.25 * dnorm(z)
  share <- integrate(density, -8, 8)$value^2 /
    integrate(function(z) density(z)^2 / q(z), -8, 8)$value
  set.seed(2)
  found <- attr(impute(fit, rbind(row), samples = 50000), "ess")[[1]]
  expect_equal(found / 50000, share, tolerance = 0.02)
})

test_that("draws have the conditional mean and covariance", {
  times <- 1500
  theta <- linear_marginal(good)
  incomplete <- c(1, 2, 4)
  for (i in incomplete) {
    set.seed(i)
    one <- holes[rep(i, times), ]
    rownames(one) <- NULL
    # Each row of a kind is a draw of its own.
    drawn <- impute(good, one, draws = 1, samples = 500)
    expect_type(drawn, "list")
    expect_length(drawn, 1)
    gone <- is.na(holes[i, ])
    expect_conditional(t(drawn[[1]][, gone]), conditional(holes[i, ], theta$mean, theta$cov))
  }
  # ... and so are the completions of one call.
  set.seed(8)
  several <- impute(good, holes, draws = 300, samples = 20000)
  expect_length(several, 300)
  expect_named(attr(several, "ess"), rownames(holes))
  drawn <- vapply(several, function(one) one[2, 2:5], numeric(4))
  expect_conditional(drawn, conditional(holes[2, ], theta$mean, theta$cov))
  for (one in several[1:3]) expect_identical(one[!is.na(holes)], holes[!is.na(holes)])
})

test_that("Metropolis within Gibbs mends a bad encoder", {
  # The chains' own kernel, whatever the importance samples: started far off, many at once.
  theta <- linear_marginal(bad)
  times <- 600
  for (i in 1:2) {
    rows <- vae_rows_of(bad, holes[rep(i, times), ])
    set.seed(i)
    for (draws in 0:2) {
      found <- elbo:::metropolis_within_gibbs(bad, rows, matrix(3, 2, times),
                                              matrix(0.3, 2, times), 300, draws)
      gone <- which(is.na(holes[i, ]))
      direct <- conditional(holes[i, ], theta$mean, theta$cov)
      values <- array(found$values / bad$unit[1], c(length(gone), times, max(1, draws)))
      if (draws > 0) {
        for (draw in seq_len(draws)) expect_conditional(values[, , draw], direct)
      } else {
        means <- values[, , 1]
        se <- apply(means, 1, sd) / sqrt(times)
        expect_lt(max(abs(rowMeans(means) - direct$mean) / se), 4.5)
        expect_lt(max(se / sqrt(diag(direct$cov))), 0.03)
      }
      expect_gt(min(found$acceptance), 0.05)
    }
  }
  # pseudo-Gibbs, without the acceptance, gives something else: the test can tell them apart
  pseudo <- pseudo_gibbs(bad, holes[1, ], 2000)
  direct <- conditional(holes[1, ], theta$mean, theta$cov)
  expect_gt(max(abs(rowMeans(pseudo) - direct$mean) / sqrt(diag(direct$cov))), 0.5)
})

test_that("a nonlinear decoder with noise of its own: both ways agree with quadrature", {
  fit <- quick_vae(x, 1, encoder = 4, activation = "tanh", noise = "network", epochs = 30)
  row <- replace(x[1, ], c(2, 5), NA)
  z <- cbind(seq(-8, 8, length.out = 4001))
  floor <- fit$sigma2_min
  density <- reference_density(coef(fit), rbind(row)[rep(1, 4001), ], z, floor = floor)
  weight <- exp(density - max(density)) * dnorm(z[, 1])
  weight <- weight / sum(weight)
  to <- reference_decode(coef(fit), z, floor = floor)
  mean <- colSums(weight * to$mean)[c(2, 5)]
  spread <- sqrt(colSums(weight * to$mean^2)[c(2, 5)] - mean^2)
  total <- sqrt(spread^2 + colSums(weight * to$variance)[c(2, 5)])
  set.seed(1)
  filled <- impute(fit, rbind(row), samples = 40000)
  expect_lt(max(abs(filled[1, c(2, 5)] - mean) / spread * sqrt(attr(filled, "ess"))), 4.5)
  rows <- vae_rows_of(fit, rbind(row)[rep(1, 600), ])
  for (draws in 0:1) {
    found <- elbo:::metropolis_within_gibbs(fit, rows, matrix(2, 1, 600), matrix(0.5, 1, 600),
                                            200, draws)
    values <- found$values / fit$unit[c(2, 5)] + fit$shift[c(2, 5)]
    values <- matrix(values, 2)                       # a column for each chain
    expect_lt(max(abs(rowMeans(values) - mean) / (if (draws) total else spread)) * sqrt(600), 4.5)
    if (draws) expect_equal(apply(values, 1, sd), total, tolerance = 0.15, ignore_attr = TRUE)
  }
})

test_that("impute() takes to chains where the effective sample size is low, and is right", {
  # Much is observed precisely in six dimensions, and the encoder is of no use.
  sharp <- model_data(30, 20, 6, sigma2 = 0.01, mean = 0)
  w <- attr(sharp, "w")
  fit <- linear_fit(plain(sharp), 6, loadings = w, sigma2 = 0.01, log_d = -4)
  gaps <- with_holes(plain(sharp), 0.2)
  set.seed(1)
  filled <- impute(fit, gaps, samples = 2000)
  chains <- !is.na(attr(filled, "acceptance"))
  expect_gt(sum(chains), 15)
  expect_true(all(attr(filled, "ess")[chains] >= 10))
  theta <- linear_marginal(fit)
  off <- vapply(which(chains), function(i) {
    direct <- conditional(gaps[i, ], theta$mean, theta$cov)
    mean(((filled[i, is.na(gaps[i, ])] - direct$mean)^2 / diag(as.matrix(direct$cov))))
  }, 0)
  # E(x | z) varies less than x: its variance over ess is a limit of the squared error
  expect_lt(mean(off), mean(1 / attr(filled, "ess")[chains]))
  set.seed(1)
  drawn <- impute(fit, gaps, samples = 4000, draws = 20)
  z <- unlist(lapply(which(chains), function(i) {
    direct <- conditional(gaps[i, ], theta$mean, theta$cov)
    each <- vapply(drawn, function(one) one[i, is.na(gaps[i, ])], numeric(sum(is.na(gaps[i, ]))))
    (each - direct$mean) / sqrt(diag(as.matrix(direct$cov)))
  }))
  expect_lt(abs(mean(z)), 0.1)
  expect_equal(mean(z^2), 1, tolerance = 0.1)
  # too few samples are told
  said <- warned(impute(fit, gaps, samples = 20))
  expect_match(said$said, "rows with missing cells the effective sample size is below 10")
  expect_lt(min(attr(said$value, "ess"), na.rm = TRUE), 10)
  expect_match(warned(impute(fit, gaps, samples = 20, draws = 12))$said, "is below 12")
})

test_that("effective sample sizes of chains are those of autoregressions", {
  # x_t = r x_(t-1) + e_t has (1 - r) / (1 + r) independent samples for each of its own.
  set.seed(1)
  for (r in c(0, 0.5, 0.9)) {
    chains <- t(replicate(200, stats::filter(rnorm(2100), r, "recursive")[-(1:100)]))
    expect_equal(mean(elbo:::chain_ess(chains)) / 2000, (1 - r) / (1 + r), tolerance = 0.1)
  }
  # a chain that stands, and one that drifts
  expect_identical(elbo:::chain_ess(rbind(rep(2, 50))), 1)
  expect_lt(elbo:::chain_ess(rbind(1:50)), 5)
  expect_true(all(elbo:::chain_ess(matrix(rnorm(60), 4)) >= 1))
})

test_that("completed data are of the kind of the data", {
  for (fit in list(good, quick_vae(holes[c(1:3, 5), ], 2, encoder = 4, noise = "network"))) {
    set.seed(1)
    filled <- impute(fit, holes, samples = 300)
    set.seed(1)
    expect_identical(impute(fit, holes, samples = 300), filled)
    set.seed(1)
    frame <- impute(fit, as.data.frame(holes), samples = 300)
    expect_s3_class(frame, "data.frame")
    expect_equal(as.matrix(frame), filled, ignore_attr = c("ess", "acceptance"))
    set.seed(1)
    several <- impute(fit, as.data.frame(holes), draws = 2, samples = 300)
    expect_s3_class(several[[2]], "data.frame")
    expect_false(anyNA(several[[1]]))
    expect_false(isTRUE(all.equal(several[[1]], several[[2]])))
    whole <- impute(fit, x)
    expect_equal(whole, x, ignore_attr = c("ess", "acceptance"))
    expect_true(all(is.na(attr(whole, "ess"))))
    expect_equal(impute(fit, x, draws = 1)[[1]], x)
  }
  skip_if_not_installed("Matrix")
  sparse <- methods::as(Matrix::Matrix(replace(holes, 3, 0), sparse = TRUE), "generalMatrix")
  set.seed(1)
  filled <- impute(good, sparse, samples = 300)
  expect_s4_class(filled, "dgCMatrix")
  set.seed(1)
  expect_equal(unname(as.matrix(filled)),
               plain(impute(good, replace(holes, 3, 0), samples = 300)))
})

test_that("the data of the fit, transforms, conditions and scales", {
  pixels <- with_holes(matrix(rbinom(240, 255, 0.3), 40), 0.2)
  label <- factor(rep(c("a", "b"), 20))
  set.seed(1)
  fit <- vae(pixels, 1, encoder = 3, condition = label, transform = logit_pixels(0.01),
             control = train_control(epochs = 3, batch_size = 20), keep_data = TRUE)
  set.seed(2)
  filled <- impute(fit)
  gone <- is.na(pixels)
  expect_true(all(filled[gone] > 0 & filled[gone] < 256))
  expect_identical(filled[!gone], pixels[!gone] + 0)
  set.seed(2)
  expect_identical(impute(fit, pixels, condition = label), filled)
  set.seed(2)
  expect_false(identical(impute(fit, pixels, condition = rev(label)), filled))
  expect_error(impute(fit, pixels), "`condition` must be given", class = "elbo_error")
  # data in other units, a power of two apart, give the same
  gaps <- with_holes(x)
  one <- quick_vae(gaps, 2, encoder = 4)
  other <- quick_vae(8 * gaps, 2, encoder = 4)
  set.seed(3)
  filled <- impute(one, gaps)
  set.seed(3)
  expect_equal(impute(other, 8 * gaps) / 8, filled)
})

test_that("blocks of rows and of samples change nothing but the random numbers", {
  theta <- linear_marginal(good)
  rows <- rbind(holes, holes)
  set.seed(1)
  filled <- with_function("BLOCK_CELLS", 4000,      # of the 25,000 of a row
                          impute(good, rows, samples = 5000))
  expect_gt(min(attr(filled, "ess"), na.rm = TRUE), 200)
  for (i in c(1, 2, 5, 6, 7, 10)) {
    direct <- conditional(rows[i, ], theta$mean, theta$cov)
    v <- diag(as.matrix(direct$cov))
    off <- filled[i, is.na(rows[i, ])] - direct$mean
    expect_lt(max(abs(off) / sqrt(v / attr(filled, "ess")[i])), 4)
  }
})

test_that("on data with gaps a VAE fills in no worse than pPCA does", {
  scaled <- scale(airquality[stats::complete.cases(airquality), 1:4])
  flowers <- as.matrix(iris[1:4])
  for (data in list(airquality = unname(scaled), iris = unname(flowers))) {
    gaps <- with_holes(data, 0.2, seed = 4)
    gone <- is.na(gaps)
    linear <- mean((impute(ppca(gaps, 2), gaps)[gone] - data[gone])^2)
    fit <- quick_vae(gaps, 2, encoder = 16, activation = "tanh", epochs = 300, batch_size = 30,
                     learning_rate = schedule_cosine(300, 0.01, 1e-4))
    set.seed(1)
    deep <- mean((impute(fit, gaps, samples = 500)[gone] - data[gone])^2)
    expect_lt(deep, 1.05 * linear)
  }
})
