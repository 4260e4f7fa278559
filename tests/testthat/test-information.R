# Expected values: closed forms of normal distributions, and the definition in plain R.

# For independent dimensions with means m ~ N(0, a) and variances v, z is N(0, a + v) over
# all, and the information 1/2 log(1 + a / v) a dimension.
test_that("mutual information of a normal aggregate is the closed form", {
  set.seed(1)
  a <- c(0.9, 0.5, 0)
  v <- c(0.1, 0.5, 1)
  mean <- matrix(rnorm(6000), 2000) * rep(sqrt(a), each = 2000)
  variance <- matrix(v, 2000, 3, byrow = TRUE)
  exact <- sum(log(1 + a / v)) / 2
  found <- elbo:::mutual_information(mean, variance, draws = 4)
  expect_lt(abs(found$value - exact), 4 * found$se)
  expect_lt(found$se, 0.05)
  expect_identical(found[c("bound", "n", "draws")], list(bound = log(2000), n = 2000L, draws = 4))
  # of more rows a part
  more <- elbo:::mutual_information(mean, variance, most = 500)
  expect_identical(more$n, 500L)
  expect_lt(abs(more$value - exact), 4 * more$se + 0.05)
})

test_that("it is E KL(q(z | x) || p) - KL(q(z) || p), as by quadrature", {
  mean <- cbind(c(-2, 0.5, 1))
  variance <- cbind(c(0.3, 1, 0.2))
  q <- function(z) rowMeans(vapply(1:3, function(i) dnorm(z, mean[i], sqrt(variance[i])), z))
  of_all <- integrate(function(z) q(z) * (log(q(z)) - dnorm(z, log = TRUE)), -9, 9,
                      rel.tol = 1e-9)$value
  exact <- mean(reference_kl(list(mean = mean, variance = variance))) - of_all
  set.seed(1)
  found <- elbo:::mutual_information(mean[rep(1:3, 600), , drop = FALSE],
                                     variance[rep(1:3, 600), , drop = FALSE], draws = 10)
  expect_lt(abs(found$value - exact), 4 * found$se)
})

test_that("its bounds: nothing where all q are the same, log n where they are apart", {
  set.seed(1)
  same <- elbo:::mutual_information(matrix(0.3, 50, 2), matrix(0.7, 50, 2), draws = 3)
  expect_equal(same$value, 0)
  apart <- elbo:::mutual_information(cbind(1e8 * 1:50), cbind(rep(1e-8, 50)))
  expect_equal(apart$value, log(50))
  expect_identical(apart$bound, log(50))
  expect_equal(elbo:::mutual_information(cbind(1), cbind(2))$value, 0)
  # rows in blocks: the same samples, the same value
  mean <- matrix(rnorm(80), 40)
  variance <- matrix(rexp(80), 40)
  set.seed(2)
  whole <- elbo:::mutual_information(mean, variance, draws = 2)
  set.seed(2)
  parts <- with_function("BLOCK_CELLS", 300,
                         elbo:::mutual_information(mean, variance, draws = 2))
  expect_equal(parts, whole)
})
