# What the checks accept is returned; what they refuse, they describe.

refused <- function(expr, message) {
  expect_error(expr, message, fixed = TRUE, class = "elbo_error")
}

test_that("errors name the argument, what would be right and what was given", {
  e <- tryCatch(elbo:::abort_arg("k", "be small", 900), error = identity)
  expect_identical(conditionMessage(e), "`k` must be small, not 900.")
  expect_s3_class(e, c("elbo_error", "error", "condition"), exact = TRUE)
  expect_null(conditionCall(e))
  expect_identical(conditionMessage(tryCatch(elbo:::abort_arg("k", "be small"),
                                             error = identity)),
                   "`k` must be small.")
})

test_that("any object has a short description", {
  describe <- elbo:::describe
  known <- list(
    list(NULL, "NULL"), list(900, "900"), list(1 / 3, "0.3333333"), list(1L, "1"),
    list(NA, "NA"), list(NA_real_, "NA"), list(NA_character_, "NA"), list(NaN, "NaN"),
    list(Inf, "Inf"), list(-Inf, "-Inf"), list(TRUE, "TRUE"), list("a", "\"a\""),
    list(character(), "a character vector of length 0"),
    list(c(1, 2), "a numeric vector of length 2"),
    list(matrix(0L, 2, 3), "a integer matrix, 2 x 3"),
    list(iris, "a data frame"), list(mean, "a function"), list(sum, "a function"),
    list(factor("a"), "an object of class 'factor'"), list(list(1), "a list"),
    list(as.Date("2020-01-01"), "an object of class 'Date'"),
    list(quote(a), "a symbol"), list(1i, "0+1i"), list(raw(1), "00")
  )
  for (pair in known) expect_identical(describe(pair[[1]]), pair[[2]])
  for (odd in list(quote(a + b), globalenv(), expression(a), array(0, c(2, 2, 2)), ~a,
                   list(), numeric(), 1e300, .Machine$integer.max)) {
    expect_type(describe(odd), "character")
    expect_length(describe(odd), 1)
    expect_lt(nchar(describe(odd)), 60)
  }
})

# Values that are no number of any kind.
no_number <- list(NULL, NA, NaN, Inf, -Inf, NA_real_, "1", TRUE, list(1), factor(1), mean,
                  numeric(), c(1, 2), 1i, quote(a), as.Date("2020-01-01"), iris)

test_that("check_count() takes whole numbers within the range", {
  check <- elbo:::check_count
  expect_identical(check(3, "k"), 3L)
  expect_identical(check(3L, "k"), 3L)
  expect_identical(check(2147483647, "k"), .Machine$integer.max)
  expect_identical(check(0, "k", 0), 0L)
  expect_identical(check(5, "k", 1, 5), 5L)
  for (bad in c(no_number, 0.5, -1, 0, 2^31, 1e300)) {
    refused(check(bad, "k"), "`k` must be a whole number, 1 or more, not ")
  }
  refused(check(6, "k", 1, 5), "`k` must be a whole number between 1 and 5, not 6.")
  refused(check(0, "k", 1, 5), "`k` must be a whole number between 1 and 5, not 0.")
  refused(check(2.5, "n"), "`n` must be a whole number, 1 or more, not 2.5.")
})

test_that("check_number() takes finite numbers within the bounds", {
  check <- elbo:::check_number
  expect_identical(check(3L, "a"), 3)
  expect_identical(check(-1e300, "a"), -1e300)
  expect_identical(check(0, "a", 0), 0)
  expect_identical(check(1e-300, "a", 0, open = TRUE), 1e-300)
  for (bad in no_number) refused(check(bad, "a"), "`a` must be a finite number, not")
  refused(check(0, "a", 0, open = TRUE), "`a` must be a finite number above 0, not 0.")
  refused(check(-1, "a", 0), "`a` must be a finite number of at least 0, not -1.")
  refused(check(2, "a", max = 1), "`a` must be a finite number of at most 1, not 2.")
  refused(check(0.5, "a", 0, 0.5, open = TRUE),
          "`a` must be a finite number above 0 and below 0.5, not 0.5.")
})

test_that("check_flag() takes TRUE and FALSE", {
  check <- elbo:::check_flag
  expect_true(check(TRUE, "f"))
  expect_false(check(FALSE, "f"))
  for (bad in list(NULL, NA, 1, 0L, "TRUE", c(TRUE, FALSE), logical(), list(TRUE))) {
    refused(check(bad, "f"), "`f` must be TRUE or FALSE, not ")
  }
})

test_that("check_choice() takes a choice or its beginning, or all for the first", {
  check <- function(x) elbo:::check_choice(x, "by", c("mean", "total"))
  expect_identical(check("total"), "total")
  expect_identical(check(c("mean", "total")), "mean")
  expect_identical(check("tot"), "total")
  both <- function(x) elbo:::check_choice(x, "by", c("abc", "abd", "ab"))
  expect_identical(both("ab"), "ab")
  expect_identical(both("abd"), "abd")
  refused(both("a"), "`by` must be one of \"abc\", \"abd\", \"ab\", not \"a\".")
  for (bad in list(NULL, NA, NA_character_, "totals", "", 1, TRUE, character(), factor("mean"),
                   c("total", "mean"), c("mean", "mean"), list("mean"), mean)) {
    refused(check(bad), "`by` must be one of \"mean\", \"total\", not ")
  }
})

test_that("check_string() takes one string", {
  check <- elbo:::check_string
  expect_identical(check("a", "s"), "a")
  for (bad in list(NULL, NA_character_, "", 1, c("a", "b"), character(), list("a"), mean)) {
    refused(check(bad, "s"), "`s` must be a single character string, not ")
  }
})

test_that("check_vector_or_flag() takes a flag or a vector of the length of a row", {
  check <- elbo:::check_vector_or_flag
  raw <- matrix(0, 2, 3)
  for (good in list(TRUE, FALSE, 1:3, c(-1, 0, 1e300))) {
    expect_identical(check(good, "center", raw), good)
  }
  for (bad in list(NULL, NA, c(TRUE, FALSE), "a", 1, 1:2, 1:4, c(1, NA, 3), c(1, Inf, 3),
                   c(1, NaN, 3), list(1, 2, 3), factor(1:3), c("1", "2", "3"), mean)) {
    refused(check(bad, "center", raw), "`center` must be TRUE, FALSE or a vector of 3 finite")
  }
  expect_identical(check(1:3, "scale", raw, positive = TRUE), 1:3)
  for (bad in list(0:2, -1:1)) {
    refused(check(bad, "scale", raw, positive = TRUE), "a vector of 3 positive finite numbers")
  }
})

test_that("check_dots_empty() says which arguments are unused", {
  f <- function(...) elbo:::check_dots_empty(...)
  expect_silent(f())
  refused(f(centre = TRUE), "Unused argument in `...`: centre.")
  refused(f(centre = TRUE, 3), "Unused arguments in `...`: centre, an unnamed one.")
  refused(f(3), "an unnamed one")
})

test_that("meant_arguments() knows other packages' names, and typing errors", {
  meant <- elbo:::meant_arguments
  known <- c("x", "k", "encoder", "sigma2", "epochs", "batch_size", "learning_rate", "...")
  for (case in list(
    # the names that Keras, torch, scikit-learn, pcaMethods and prcomp() have
    list("lr", "learning_rate"), list("latent_dim", "k"), list("n_components", "k"),
    list("ncomp", "k"), list("nPcs", "k"), list("rank.", "k"), list("hidden", "encoder"),
    list("batchsize", "batch_size"), list("n_epochs", "epochs"),
    # one or two letters that are wrong, whatever their case
    list("learning.rate", "learning_rate"), list("Epochs", "epochs"), list("encdoer", "encoder"),
    list("sigma", "sigma2"), list("batch_sizes", "batch_size")
  )) expect_identical(meant(case[[1]], known), case[[2]])
  # nothing is like these: more than a third of the letters are wrong
  for (other in c("nonsense", "colour", "abc", "kk", "z")) {
    expect_identical(meant(other, known), character())
  }
  # what another package means, but the function does not have
  expect_identical(meant("latent_dim", c("x", "scale")), character())
  # several, each once, without those that have no name
  expect_identical(meant(c("lr", "", "rate", "ncomp"), known), c("learning_rate", "k"))
  expect_identical(meant("", known), character())
  expect_identical(meant("lr", "..."), character())
  f <- function(x, learning_rate = 1, ...) elbo:::check_dots_empty(...)
  expect_error(f(1, lr = 2), "Unused argument in `...`: lr. Did you mean `learning_rate`?",
               fixed = TRUE, class = "elbo_error")
  expect_error(f(1, nonsense = 2), "Unused argument in `...`: nonsense.$", class = "elbo_error")
})
