# Eigenvalues of the covariance: see also test-ppca.R, where the routes are compared.

test_that("where Lanczos does not converge a dense decomposition takes its place, in every model", {
  x <- plain(model_data(40, 12, 3))
  fits <- function() {
    set.seed(1)
    list(ppca = ppca(x, 3)[c("loadings", "sigma2", "loglik")],
         exact = linear_vae(x, 3, optimizer = "exact")[c("loadings", "sigma2", "elbo")],
         start = linear_vae(x, 3, start = "pca")[c("elbo", "iterations")],
         autoencoder = linear_ae(x, 3, optimizer = "exact")[c("loadings", "loss")],
         rank = select_rank(x, 1:3)$table[c("k", "loglik")],
         missing = ppca(replace(x, 5, NA), 3)["loglik"],
         deep = vae(x, 3, encoder = 4, epochs = 2)[c("elbo", "linear")])
  }
  dense <- fits()
  real <- core_eigen
  tried <- 0
  failing <- function(data, k, route) {
    if (route != "krylov") return(real(data, k, route))
    tried <<- tried + 1
    checked(list(status = 1L))
  }
  found <- with_function("choose_route", function(n, p, k) "krylov",
                         with_function("core_eigen", failing, fits()))
  expect_equal(found, dense)
  expect_gt(tried, 6)
})

test_that("what the core reports is an error, but for callers that go on without", {
  for (status in 1:4) expect_error(checked(list(status = status)), class = "elbo_core")
  expect_error(checked(list(status = 1L)), "did not converge", class = "elbo_error")
  expect_identical(checked(list(status = 0L, a = 2)), list(a = 2))
  expect_null(attempt(checked(list(status = 3L))))
  expect_null(attempt(checked(list(status = 2L)), "elbo_core_not_positive"))
  expect_error(attempt(checked(list(status = 3L)), "elbo_core_not_positive"), "LAPACK")
  expect_error(attempt(stop("else")), "else")
})
