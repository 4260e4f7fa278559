test_that("defaults are as documented", {
  control <- em_control()
  expect_s3_class(control, "em_control")
  expect_named(control, c("tol", "maxit", "accelerate", "start", "progress"))
  expect_identical(unclass(control)[1:3], list(tol = 1e-8, maxit = 1000L, accelerate = TRUE))
  expect_null(control$start)
  expect_identical(control$progress, interactive())
})

test_that("values are taken as they are, in one type", {
  control <- em_control(tol = 1L, maxit = 5, accelerate = FALSE, progress = TRUE)
  expect_identical(control$tol, 1)
  expect_identical(control$maxit, 5L)
  expect_false(control$accelerate)
  expect_true(control$progress)
  fit <- ppca(as.matrix(iris[1:4]), 2)
  expect_identical(em_control(start = fit)$start, fit)
})

test_that("a setting out of range names itself", {
  expect_error(em_control(tol = 0), "`tol` must be a finite number above 0, not 0.",
               fixed = TRUE, class = "elbo_error")
  expect_error(em_control(maxit = 0), "`maxit` must be a whole number, 1 or more, not 0.",
               fixed = TRUE, class = "elbo_error")
  expect_error(em_control(start = 1), "`start` must be NULL or a fitted `ppca()` model",
               fixed = TRUE, class = "elbo_error")
})

test_that("a control is made by em_control(), not by hand", {
  expect_error(ppca(iris[1:4], 2, control = list(tol = 1)),
               "`control` must come from `em_control()`, not a list.", fixed = TRUE,
               class = "elbo_error")
})

test_that("tol is in nats per observation: units do not matter, n does not", {
  x <- with_holes(model_data(60, 5, 2))
  count <- function(x) ppca(x, 2, method = "em", control = em_control(tol = 1e-5))$iterations
  twice <- plain(rbind(x, x))
  expect_identical(count(twice), count(x))
})

test_that("it prints in a line, and invisibly", {
  expect_output(print(em_control(tol = 1e-4, maxit = 7)),
                "EM settings: accelerated, tol 1e-04 nats, at most 7 maps", fixed = TRUE)
  expect_output(print(em_control(accelerate = FALSE)), "plain")
  capture.output(expect_invisible(print(em_control())))
})
