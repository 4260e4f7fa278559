# What the tests of plots share.

# Draws without a file and without a word; the value of the code.
draw <- function(code, ...) {
  grDevices::pdf(NULL, ...)
  on.exit(grDevices::dev.off())
  expect_silent(value <- withVisible(code))
  value
}

expect_draws <- function(code, x) {
  value <- draw(code)
  expect_false(value$visible)
  expect_identical(value$value, x)
}

expect_refused <- function(code, message) {
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  expect_error(code, message, fixed = TRUE, class = "elbo_error")
}
