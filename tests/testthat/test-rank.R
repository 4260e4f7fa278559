# References: separate ppca() fits (which test-ppca.R checks), an independent code of
# Minka's evidence and scikit-learn's, conditional densities by helper-ppca.R, and
# simulated data of known rank.

# Information criteria ---------------------------------------------------------

test_that("the table is that of separate fits", {
  x <- model_data(40, 7, 2)
  for (settings in list(list(), list(center = FALSE), list(scale = TRUE),
                        list(center = 1:7, scale = 1:7 / 2))) {
    ranks <- do.call(select_rank, c(list(x), settings))
    expect_identical(ranks$table$k, 1:6)
    for (k in 1:6) {
      fit <- do.call(ppca, c(list(x, k), settings))
      row <- ranks$table[k, ]
      expect_identical(row$df, fit$df)
      expect_equal(row$sigma2, fit$sigma2)
      expect_equal(row$loglik, fit$loglik)
      expect_equal(row$aic, AIC(fit))
      expect_equal(row$bic, BIC(fit))
    }
    expect_identical(ranks$k, which.min(ranks$table$bic))
    expect_identical(ranks$criterion, "bic")
    expect_identical(c(ranks$n, ranks$p), c(40L, 7L))
  }
})

test_that("candidates may be given, in any order", {
  x <- model_data(40, 7, 2)
  all <- select_rank(x)$table
  some <- select_rank(x, k = c(5, 1, 3))
  expect_identical(some$table$k, c(1L, 3L, 5L))
  expect_equal(some$table, all[c(1, 3, 5), ], ignore_attr = "row.names")
  expect_identical(select_rank(x, 4)$k, 4L)
  expect_error(select_rank(x, 7), "`k` must hold distinct whole numbers between 1 and 6",
               fixed = TRUE, class = "elbo_error")
})

test_that("each criterion chooses its own best", {
  x <- model_data(40, 7, 3, sigma2 = 1.5, seed = 4)
  for (criterion in c("bic", "aic")) {
    ranks <- select_rank(x, criterion = criterion)
    expect_identical(ranks$k, which.min(ranks$table[[criterion]]))
  }
  ranks <- select_rank(x, criterion = "laplace")
  expect_identical(ranks$k, which.max(ranks$table$laplace))
})

test_that("all routes give the table of separate fits", {
  wide <- model_data(12, 20, 2)
  ranks <- select_rank(wide)
  expect_identical(ranks$table$k, 1:10) # centred rank 11, and one is left for noise
  for (k in c(1, 5, 10)) expect_equal(ranks$table$loglik[k], ppca(wide, k)$loglik)
  expect_error(select_rank(wide, 11), "`k` must be below 11, the rank", fixed = TRUE)
  large <- model_data(1005, 1002, 3)
  ranks <- select_rank(large, k = c(1, 3, 8)) # iterative: 8 eigenvalues
  for (i in 1:3) {
    fit <- ppca(large, ranks$table$k[i])
    expect_identical(fit$route, "krylov")
    expect_equal(ranks$table$loglik[i], fit$loglik, tolerance = 1e-10)
  }
  expect_identical(ranks$k, 3L)
  expect_error(select_rank(large, k = 1:3, criterion = "laplace"),
               "Laplace evidence", class = "elbo_error")
})

test_that("data frames, integers and sparse matrices are read", {
  set.seed(1)
  x <- matrix(rpois(200, 3), 40)
  expected <- select_rank(x * 1)$table
  expect_equal(select_rank(x)$table, expected)
  expect_equal(select_rank(as.data.frame(x))$table, expected)
  skip_if_not_installed("Matrix")
  sparse <- methods::as(Matrix::Matrix(x * 1, sparse = TRUE), "generalMatrix")
  expect_equal(select_rank(sparse)$table, expected)
})

test_that("a transform's Jacobian enters every criterion", {
  set.seed(5)
  x <- matrix(rbinom(40 * 5, 255, 0.4), 40)
  set.seed(8)
  ranks <- select_rank(x, transform = logit_pixels())
  set.seed(8)
  fit <- ppca(x, 2, transform = logit_pixels())
  expect_equal(ranks$table$loglik[2], fit$loglik)
  expect_equal(ranks$table$bic[2], BIC(fit))
})

test_that("constant columns and units do not disturb", {
  x <- model_data(40, 7, 2)
  expect_identical(select_rank(cbind(x, 3))$k, select_rank(cbind(x, 3) * 1e150)$k)
  small <- select_rank(x * 1e-150, criterion = "laplace")
  expect_equal(small$table$loglik, select_rank(x)$table$loglik + 280 * log(1e150))
  expect_equal(small$table$laplace, select_rank(x)$table$laplace + 280 * log(1e150))
})

# Evidence ---------------------------------------------------------------------

# Minka (2000), "Automatic choice of dimensionality for PCA", eq. 76-78 and 80 of the
# technical report (eq. 11-15 of the paper), in logs, one pair at a time. N and d are
# his; lambda_j for j > k is the noise v in the curvature.
minka <- function(lambda, k, n) {
  d <- length(lambda)
  v <- mean(lambda[(k + 1):d])
  smooth <- c(lambda[1:k], rep(v, d - k))
  log_pu <- -k * log(2)
  for (i in 1:k) {
    log_pu <- log_pu + lgamma((d - i + 1) / 2) - (d - i + 1) / 2 * log(pi)
  }
  log_az <- 0
  for (i in 1:k) for (j in (i + 1):d) {
    log_az <- log_az +
      log((1 / smooth[j] - 1 / smooth[i]) * (lambda[i] - lambda[j]) * n)
  }
  m <- d * k - k * (k + 1) / 2
  log_pu - n / 2 * sum(log(lambda[1:k])) - n * (d - k) / 2 * log(v) +
    (m + k) / 2 * log(2 * pi) - log_az / 2 - k / 2 * log(n)
}

test_that("the Laplace evidence is Minka's, with the constant of the likelihood", {
  # Values of sklearn.decomposition._pca._assess_dimension(spectrum, k, n) of
  # scikit-learn 1.2.1 for the eigenvalues of the covariance with divisor n. It leaves
  # out -n p / 2 (log 2 pi + 1), as the paper does.
  sklearn <- list(
    c(366.0404279563991, 422.9420732924925, 442.4251800715277),
    c(-763.1563328465967, -710.4156460377988, -664.8272526198481, -664.5202150717527,
      -664.9785797713989)
  )
  data <- list(iris[1:4], swiss)
  for (i in 1:2) {
    n <- nrow(data[[i]])
    p <- ncol(data[[i]])
    constant <- -n * p / 2 * (log(2 * pi) + 1)
    ranks <- select_rank(data[[i]], criterion = "laplace")
    expect_equal(ranks$table$laplace - constant, sklearn[[i]], tolerance = 1e-10)
    lambda <- eigen(cov(data[[i]]) * (n - 1) / n)$values
    expect_equal(ranks$table$laplace - constant,
                 vapply(seq_len(p - 1), function(k) minka(lambda, k, n), 0))
    expect_identical(ranks$k, which.max(sklearn[[i]]))
  }
})

test_that("tied eigenvalues do not make the evidence infinite", {
  cube <- as.matrix(expand.grid(c(-2, 2), c(-1, 1), c(-1, 1), c(-1, 1)))
  ranks <- select_rank(cube, criterion = "laplace")
  expect_true(all(is.finite(ranks$table$laplace)))
  expect_identical(ranks$k, 1L)
})

# Known ranks ------------------------------------------------------------------

test_that("the true rank is found", {
  # 40 data sets of 200 x 10, rank 3, noise 1/4, the smallest signal eigenvalue about
  # 5: BIC and the evidence are consistent and find it always (at least 39 of 40);
  # AIC adds a dimension about once in seven times (34 of 40 expected; at least 28).
  data <- lapply(1:40, function(seed) model_data(200, 10, 3, seed = seed))
  found <- function(criterion) {
    sum(vapply(data, function(x) select_rank(x, criterion = criterion)$k, 1L) == 3)
  }
  expect_gte(found("bic"), 39)
  expect_gte(found("laplace"), 39)
  expect_gte(found("aic"), 28)
})

test_that("held-out cells find the true rank, with its own candidates", {
  # 10 data sets of 100 x 8, rank 2: at least 9.
  found <- vapply(1:10, function(seed) {
    x <- model_data(100, 8, 2, seed = seed)
    select_rank(x, 1:4, criterion = "heldout", control = em_control(tol = 1e-5))$k
  }, 1L)
  expect_gte(sum(found == 2), 9)
})

test_that("so do data with missing cells", {
  found <- vapply(1:10, function(seed) {
    x <- with_holes(model_data(150, 8, 2, seed = seed), 0.2, seed)
    select_rank(x, 1:4, control = em_control(tol = 1e-6))$k
  }, 1L)
  expect_gte(sum(found == 2), 9)
})

# Missing cells ----------------------------------------------------------------

test_that("with missing cells, each rank is a fit by EM", {
  x <- with_holes(model_data(40, 6, 2))
  control <- em_control(tol = 1e-9)
  ranks <- select_rank(x, control = control)
  expect_identical(ranks$table$k, 1:5)
  for (k in 1:3) {
    fit <- ppca(x, k, control = control)
    expect_equal(ranks$table$loglik[k], fit$loglik, tolerance = 1e-7)
    expect_equal(ranks$table$bic[k], BIC(fit), tolerance = 1e-7)
    expect_identical(ranks$table$df[k], fit$df)
  }
  expect_null(ranks$table$laplace)
  expect_error(select_rank(x, criterion = "laplace"),
               "`criterion` must be .* where cells are missing", class = "elbo_error")
  expect_identical(nrow(select_rank(with_holes(model_data(30, 14, 1)),
                                    control = em_control(tol = 1e-2))$table), 10L)
})

test_that("default candidates are those that can be fitted", {
  # A model of rank k is one of rank k + 1: the likelihood cannot fall with k.
  for (seed in 1:4) {
    x <- with_holes(plain(model_data(12, 10, 3, seed = seed)), 0.3, seed)
    ranks <- suppressWarnings(select_rank(x))
    expect_gte(min(diff(c(-Inf, ranks$table$loglik))), -1e-3)
    expect_gt(min(ranks$table$sigma2), 1e-9 * mean(apply(x, 2, var, na.rm = TRUE)))
  }
  set.seed(1)
  ranks <- suppressWarnings(select_rank(model_data(8, 6, 1), criterion = "heldout"))
  expect_true(all(is.finite(ranks$table$heldout)))
  expect_identical(ranks$k, 1L)
})

# Held-out cells ---------------------------------------------------------------

test_that("held-out scores are conditional densities of the left-out cells", {
  for (missing in c(FALSE, TRUE)) {
    x <- plain(model_data(12, 4, 1, seed = 2))
    if (missing) x <- with_holes(x, 0.15)
    control <- em_control(tol = 1e-6)
    set.seed(3)
    ranks <- select_rank(x, 1:2, criterion = "heldout", folds = 3, control = control)
    set.seed(3)
    fold <- elbo:::split_cells(x, 3)
    for (k in 1:2) {
      scores <- vapply(1:3, function(f) {
        seen <- x
        seen[which(fold == f)] <- NA
        theta <- marginal(ppca(seen, k, method = "em", control = control))
        each <- vapply(1:12, function(i) {
          out <- which(fold[i, ] == f)
          if (!length(out)) return(0)
          row <- c(seen[i, -out], x[i, out])
          order <- c(setdiff(1:4, out), out)
          to_come <- replace(row, seq(to = 4, length.out = length(out)), NA)
          known <- which(!is.na(to_come))
          # the density of the cells left out: conditional() of those alone
          keep <- c(known, seq(to = 4, length.out = length(out)))
          direct <- conditional(to_come[keep], theta$mean[order][keep],
                                theta$cov[order, order][keep, keep])
          log_density(t(x[i, out]), direct$mean, as.matrix(direct$cov))
        }, 0)
        sum(each) / sum(fold == f, na.rm = TRUE)
      }, 0)
      expect_equal(ranks$table$heldout[k], mean(scores), tolerance = 1e-6)
      expect_equal(ranks$table$heldout_se[k], sd(scores) / sqrt(3), tolerance = 1e-5)
    }
    expect_identical(ranks$k, which.max(ranks$table$heldout))
  }
})

test_that("the split leaves every column a seen cell, and every cell out once", {
  for (seed in 1:20) {
    set.seed(seed)
    x <- matrix(rnorm(24), 6)
    x[2:5, 1] <- NA # two cells are left
    x[1, 2] <- NA
    fold <- elbo:::split_cells(x, 5)
    expect_identical(is.na(fold), is.na(x))
    expect_true(all(fold %in% c(1:5, NA)))
    for (f in 1:5) expect_true(all(colSums(!is.na(x) & fold != f, na.rm = TRUE) > 0))
  }
  # Balanced where there are cells enough.
  fold <- elbo:::split_cells(matrix(0, 20, 3), 5)
  expect_true(all(apply(fold, 2, tabulate, 5) == 4))
})

test_that("held-out selection follows the seed, and takes scale and transform", {
  x <- model_data(30, 5, 1)
  run <- function(...) {
    set.seed(1)
    select_rank(x, 1:2, criterion = "heldout", folds = 3, control = em_control(tol = 1e-5),
                ...)$table
  }
  expect_identical(run(), run())
  # In units of c the density of a cell falls by log c.
  base <- run()$heldout
  x <- x * 8
  expect_equal(run()$heldout, base - log(8), tolerance = 1e-4)
  expect_true(all(is.finite(run(scale = TRUE)$heldout)))
  set.seed(5)
  x <- matrix(rbinom(40 * 5, 255, 0.4), 40)
  table <- run(transform = logit_pixels(0.01))
  # Binomial(255, 0.4) has entropy 1/2 log(2 pi e 255 0.24) = 3.47 nats.
  expect_equal(table$heldout[1], -0.5 * log(2 * pi * exp(1) * 255 * 0.24), tolerance = 0.05)
})

test_that("held-out selection does not take a sparse matrix, and says so", {
  skip_if_not_installed("Matrix")
  set.seed(1)
  x <- Matrix::rsparsematrix(20, 5, 0.5)
  expect_error(select_rank(x, criterion = "heldout"), "`criterion` must be .* sparse",
               class = "elbo_error")
})

# The object -------------------------------------------------------------------

test_that("it prints the choice and its neighbours", {
  ranks <- select_rank(model_data(60, 30, 4))
  out <- capture.output(print(ranks))
  expect_match(out[1], "60 observations of 30 features: k = 4 by BIC", fixed = TRUE)
  expect_true(any(grepl("<-", out, fixed = TRUE)))
  expect_match(out[length(out)], "(11 of 29 candidates; all are in $table)", fixed = TRUE)
  expect_lt(length(out), 20)
  capture.output(expect_invisible(print(ranks)))
  for (criterion in c("aic", "laplace")) {
    expect_output(print(select_rank(model_data(60, 5, 2), criterion = criterion)),
                  c(aic = "AIC", laplace = "Laplace evidence")[[criterion]])
  }
})

test_that("data of rank 1 leave nothing to choose", {
  expect_error(select_rank(outer(1:5, 1:4)), "`x` must have a rank of at least 2",
               class = "elbo_error")
  expect_identical(select_rank(model_data(3, 6, 2))$table$k, 1L)
})
