skip_if_not_installed("generics")

flowers <- as.matrix(iris[1:4])
n <- 150
fit <- ppca(flowers, 2)

# Log density of one row under N(mu, W W' + sigma2 I), over its observed cells.
log_density <- function(row, fit) {
  seen <- which(!is.na(row))
  if (!length(seen)) return(0)
  w <- fit$loadings[seen, , drop = FALSE]
  covariance <- tcrossprod(w) + diag(fit$sigma2, length(seen))
  gap <- row[seen] - fit$mean[seen]
  -0.5 * (length(seen) * log(2 * pi) + as.numeric(determinant(covariance)$modulus) +
            sum(gap * solve(covariance, gap)))
}

# Posterior mean of one row, from the joint normal distribution of x and z.
posterior_mean <- function(row, fit) {
  seen <- which(!is.na(row))
  if (!length(seen)) return(rep(0, fit$k))
  w <- fit$loadings[seen, , drop = FALSE]
  covariance <- tcrossprod(w) + diag(fit$sigma2, length(seen))
  as.vector(crossprod(w, solve(covariance, row[seen] - fit$mean[seen])))
}

test_that("tidy() gives the loadings in long form", {
  tidied <- generics::tidy(fit)
  expect_identical(class(tidied), "data.frame")
  expect_named(tidied, c("feature", "component", "value"))
  expect_identical(tidied$feature, rep(colnames(flowers), 2))
  expect_identical(tidied$component, rep(1:2, each = 4))
  pc <- prcomp(flowers)
  lambda <- pc$sdev^2 * (n - 1) / n
  expected <- pc$rotation[, 1:2] %*% diag(sqrt(lambda[1:2] - mean(lambda[3:4])))
  # the package's signs: the largest entry of a column is positive
  expected <- apply(expected, 2, function(w) w * sign(w[which.max(abs(w))]))
  expect_equal(tidied$value, as.vector(expected))
  expect_identical(generics::tidy(ppca(unname(flowers), 2))$feature, rep(1:4, 2))
})

test_that("tidy() gives the scores in long form", {
  tidied <- generics::tidy(fit, "scores")
  expect_named(tidied, c("observation", "component", "value"))
  expect_identical(tidied$observation, rep(1:n, 2))
  expect_equal(tidied$value, as.vector(t(apply(flowers, 1, posterior_mean, fit = fit))))
  cars <- generics::tidy(ppca(mtcars, 1), matrix = "scores")
  expect_identical(cars$observation, rownames(mtcars))
})

test_that("tidy() gives the eigenvalues and their shares", {
  tidied <- generics::tidy(fit, "values")
  lambda <- eigen(cov(flowers) * (n - 1) / n)$values
  expect_identical(tidied$component, 1:4)
  expect_equal(tidied$eigenvalue, lambda)
  expect_equal(tidied$share, lambda / sum(lambda))
  expect_equal(tidied$cumulative, cumsum(lambda) / sum(lambda))
  known <- generics::tidy(ppca(flowers, 2, method = "em"), "values")
  expect_equal(known$share, tidied$share[1:2], tolerance = 1e-6)
})

test_that("glance() is one row about the model", {
  glanced <- generics::glance(fit)
  expect_identical(class(glanced), "data.frame")
  expect_named(glanced, c("n", "p", "k", "sigma2", "logLik", "AIC", "BIC", "df", "nobs",
                          "method", "converged", "iterations"))
  expect_identical(nrow(glanced), 1L)
  loglik <- sum(apply(flowers, 1, log_density, fit = fit))
  df <- 4 + (4 * 2 - 1) + 1                      # mean, loadings, noise variance
  expect_equal(glanced$logLik, loglik)
  expect_equal(glanced$df, df)
  expect_equal(glanced$AIC, -2 * loglik + 2 * df)
  expect_equal(glanced$BIC, -2 * loglik + log(n) * df)
  expect_identical(glanced$nobs, 150L)
  expect_identical(glanced$method, "mle")
  em <- generics::glance(ppca(replace(flowers, 1:5, NA), 2))
  expect_identical(em$method, "em")
  expect_gt(em$iterations, 0)
  # rows of several models stack
  both <- rbind(glanced, em)
  expect_identical(nrow(both), 2L)
})

test_that("augment() adds posterior means and log densities to the data", {
  augmented <- generics::augment(fit, iris)
  expect_identical(class(augmented), "data.frame")
  expect_identical(augmented[names(iris)], iris)
  expect_named(augmented, c(names(iris), ".z1", ".z2", ".loglik"))
  expect_equal(augmented$.loglik, unname(apply(flowers, 1, log_density, fit = fit)))
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]),
               t(apply(flowers, 1, posterior_mean, fit = fit)), ignore_attr = TRUE)
})

test_that("augment() copes with missing cells, other columns orders and matrices", {
  holes <- flowers[1:30, ]
  holes[cbind(1:30, rep_len(1:4, 30))] <- NA
  holes[30, ] <- NA
  augmented <- generics::augment(fit, as.data.frame(holes[, 4:1]))
  expect_named(augmented, c(colnames(flowers)[4:1], ".z1", ".z2", ".loglik"))
  expect_equal(augmented$.loglik, unname(apply(holes, 1, log_density, fit = fit)))
  expect_equal(unname(as.matrix(augmented[c(".z1", ".z2")])),
               unname(t(apply(holes, 1, posterior_mean, fit = fit))))
  expect_equal(generics::augment(fit, holes)[".loglik"], augmented[".loglik"])
  expect_identical(dim(generics::augment(ppca(unname(flowers), 1), unname(flowers))), c(150L, 6L))
})

test_that("augment() without data gives the scores of the fit", {
  augmented <- generics::augment(fit)
  expect_named(augmented, c(".z1", ".z2"))
  expect_equal(as.matrix(augmented), fit$scores, ignore_attr = TRUE)
})

test_that("augment() keeps sparse data and formulas in order", {
  formula <- ppca(~ log(Sepal.Length) + Petal.Length + Petal.Width, 1, data = iris)
  augmented <- generics::augment(formula, iris)
  expect_identical(augmented[names(iris)], iris)
  expect_equal(sum(augmented$.loglik), formula$loglik)
  skip_if_not_installed("Matrix")
  sparse <- Matrix::Matrix(flowers, sparse = TRUE)
  expect_equal(generics::augment(fit, sparse), generics::augment(fit, flowers))
})

test_that("means and densities of augment() are of the same dequantised pixels", {
  x <- mnist1000$x[1:100, 401:420]
  fit <- ppca(x, 2, transform = logit_pixels())
  set.seed(7)
  augmented <- generics::augment(fit, x)
  set.seed(7)
  expect_equal(sum(augmented$.loglik), as.numeric(logLik(fit, x)))
  set.seed(7)
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]), predict(fit, x), ignore_attr = TRUE)
})

test_that("tidy() of a choice of rank marks the chosen row", {
  ranks <- select_rank(flowers)
  tidied <- generics::tidy(ranks)
  expect_identical(class(tidied), "data.frame")
  expect_identical(tidied[names(ranks$table)], ranks$table)
  expect_identical(tidied$k[tidied$chosen], ranks$k)
})

test_that("bad arguments are named", {
  refused <- function(code, message) {
    expect_error(code, message, fixed = TRUE, class = "elbo_error")
  }
  refused(generics::tidy(fit, "rotation"), "`matrix` must be one of \"loadings\"")
  refused(generics::tidy(fit, conf.int = TRUE), "Unused argument in `...`: conf.int")
  refused(generics::glance(fit, 1), "Unused argument")
  refused(generics::augment(fit, iris[1:3]),
          "`data` must have the columns that the model was fitted to; \"Petal.Width\" is missing")
  refused(generics::augment(fit, "iris"), "`data` must be a numeric matrix")
  refused(generics::augment(fit, iris, newdata = iris), "Unused argument in `...`: newdata")
  refused(generics::tidy(select_rank(flowers), 1), "Unused argument")
})
