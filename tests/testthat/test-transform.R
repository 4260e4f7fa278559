# The transform as its definition has it, a cell at a time, in the most direct
# form: the reference for everything below.
logit_reference <- function(v, alpha, levels) {
  s <- alpha + (1 - 2 * alpha) * v / levels
  log(s / (1 - s))
}

# log |dy/dv| by hand: dy/dv = s' / (s (1 - s)), s' = (1 - 2 alpha) / levels.
log_slope_reference <- function(v, alpha, levels) {
  s <- alpha + (1 - 2 * alpha) * v / levels
  log((1 - 2 * alpha) / levels) - log(s) - log(1 - s)
}

# Continuous values over the range, without the ends.
continuous <- function(n = 6, p = 5, levels = 256) {
  matrix(seq(0.013, levels - 0.017, length.out = n * p), n, p,
         dimnames = list(letters[seq_len(n)], LETTERS[seq_len(p)]))
}

forward_seed <- function(seed, transform, x) {
  set.seed(seed)
  transform_forward(transform, x)
}

# The object -------------------------------------------------------------------

test_that("the transform is its two parameters, small and plain", {
  transform <- logit_pixels()
  expect_s3_class(transform, c("logit_pixels", "elbo_transform"), exact = TRUE)
  expect_identical(unclass(transform), list(alpha = 1e-6, levels = 256L))
  expect_lt(length(serialize(transform, NULL)), 500)
  path <- tempfile()
  saveRDS(transform, path)
  expect_identical(readRDS(path), transform)
})

test_that("it prints as the call that makes it", {
  transform <- logit_pixels(0.05, 16)
  expect_identical(format(transform), "logit_pixels(alpha = 0.05, levels = 16)")
  expect_output(print(transform), "Transform of the data: logit_pixels(alpha = 0.05",
                fixed = TRUE)
  expect_identical(eval(parse(text = format(logit_pixels()))), logit_pixels())
  capture.output(expect_invisible(print(transform)))
})

test_that("parameters out of range are refused", {
  for (alpha in list(0, 0.5, -1, NA, "a", c(0.1, 0.2), NULL)) {
    expect_error(logit_pixels(alpha), "`alpha` must be a finite number",
                 class = "elbo_error")
  }
  for (levels in list(1, 2.5, -256, Inf, NULL, "256")) {
    expect_error(logit_pixels(levels = levels),
                 "`levels` must be a whole number, 2 or more", class = "elbo_error")
  }
})

test_that("check_transform() takes a transform or NULL, and nothing else", {
  expect_null(check_transform(NULL))
  expect_identical(check_transform(logit_pixels()), logit_pixels())
  expect_error(check_transform(logit_pixels),
               paste("`transform` must be NULL or a transform, such as logit_pixels(),",
                     "not a function."),
               fixed = TRUE, class = "elbo_error")
  expect_error(check_transform("logit", "how"), "`how` must be NULL or a transform",
               class = "elbo_error")
})

# No transform -----------------------------------------------------------------

test_that("NULL is the identity, with a Jacobian of 1", {
  x <- matrix(c(-3, NA, 1e10, 2L), 2)
  set.seed(1)
  before <- .Random.seed
  expect_identical(transform_forward(NULL, x), x)
  expect_identical(transform_inverse(NULL, x), x)
  expect_identical(transform_log_jacobian(NULL, x), c(0, 0))
  expect_identical(.Random.seed, before)
})

# Forward and inverse ----------------------------------------------------------

test_that("continuous values follow the definition and get no noise", {
  x <- continuous()
  for (alpha in c(1e-6, 0.05, 0.4)) {
    set.seed(1)
    before <- .Random.seed
    expect_warning(y <- transform_forward(logit_pixels(alpha), x), NA)
    expect_equal(y, logit_reference(x, alpha, 256), tolerance = 1e-12)
    expect_identical(.Random.seed, before)
  }
})

test_that("pixels get uniform noise from R's generator", {
  x <- matrix(c(0L, 255L, 17L, 128L), 2)
  y <- forward_seed(3, logit_pixels(), x)
  set.seed(3)
  u <- matrix(runif(4), 2)
  expect_equal(y, logit_reference(x + u, 1e-6, 256), tolerance = 1e-12)
  expect_identical(forward_seed(3, logit_pixels(), x), y)
  expect_false(identical(forward_seed(4, logit_pixels(), x), y))
  storage.mode(x) <- "double"
  expect_identical(forward_seed(3, logit_pixels(), x), y)
})

test_that("the noise spreads each level over its own unit interval", {
  x <- matrix(rep(c(0, 3, 255), each = 5000), ncol = 3)
  v <- transform_inverse(logit_pixels(), forward_seed(1, logit_pixels(), x))
  expect_identical(floor(v), x)
  # 5,000 uniform numbers: P(D > 0.027) < 0.002.
  for (j in 1:3) {
    distance <- max(abs(sort(v[, j] - x[, j]) - (1:5000) / 5001))
    expect_lt(distance, 0.027)
  }
})

test_that("the noise of a cell does not depend on which others are missing", {
  x <- matrix(as.double(1:6), 2)
  y <- forward_seed(1, logit_pixels(), x)
  x[1, 2] <- NA
  y[1, 2] <- NA
  expect_identical(forward_seed(1, logit_pixels(), x), y)
})

test_that("values in many blocks of columns keep their places", {
  x <- matrix(seq_len(3e6) %% 256, 1e6, 3)
  y <- forward_seed(1, logit_pixels(), x)
  set.seed(1)
  u <- matrix(runif(3e6), 1e6)
  expect_equal(y, logit_reference(x + u, 1e-6, 256), tolerance = 1e-12)
  expect_equal(transform_inverse(logit_pixels(), y), x + u, tolerance = 1e-12)
  expect_equal(transform_log_jacobian(logit_pixels(), y),
               rowSums(log_slope_reference(x + u, 1e-6, 256)), tolerance = 1e-10)
})

test_that("the inverse undoes the forward to 1e-10 of each value", {
  # From 1e-6 above the lower end to 1e-6 below the upper; distances from both
  # ends are compared, each relative to itself.
  gap <- 10^seq(-6, 2, length.out = 400)
  for (alpha in c(1e-9, 1e-6, 0.05)) {
    transform <- logit_pixels(alpha)
    x <- cbind(gap, 256 - gap)
    v <- transform_inverse(transform, transform_forward(transform, x))
    expect_lt(max(abs(v[, 1] / gap - 1)), 1e-8)
    expect_lt(max(abs(v / x - 1)[gap > 1e-3, ]), 1e-10)
    expect_lt(max(abs(v - x)), 1e-10)
  }
})

test_that("the ends of the range are finite, even for a tiny alpha", {
  x <- cbind(c(0, 256), 0.5)
  for (alpha in c(1e-6, 1e-30, 1e-300)) {
    y <- transform_forward(logit_pixels(alpha), x)
    logit_alpha <- log(alpha) - log1p(-alpha)
    expect_equal(y[, 1], c(1, -1) * logit_alpha, tolerance = 1e-12)
    expect_equal(transform_inverse(logit_pixels(alpha), y), x, tolerance = 1e-12)
    expect_true(all(is.finite(transform_log_jacobian(logit_pixels(alpha), y))))
  }
})

test_that("the inverse stays within the range, whatever the model says", {
  v <- transform_inverse(logit_pixels(), cbind(-800, -14, 0, 14, 800, -Inf, Inf, NA))
  expect_identical(v[c(1, 2, 4:8)], c(0, 0, 256, 256, 0, 256, NA))
  expect_equal(v[3], 128, tolerance = 1e-12)
})

test_that("dim and dimnames are kept, and other attributes dropped", {
  x <- continuous()
  y <- transform_forward(logit_pixels(), x)
  expect_identical(dimnames(y), dimnames(x))
  expect_identical(dimnames(transform_inverse(logit_pixels(), y)), dimnames(x))
  expect_identical(names(transform_log_jacobian(logit_pixels(), unname(y))), NULL)
})

# The Jacobian -----------------------------------------------------------------

test_that("the log-Jacobian agrees with central differences", {
  x <- continuous()
  h <- 1e-5
  for (alpha in c(1e-6, 0.05, 0.4)) {
    transform <- logit_pixels(alpha)
    slope <- (transform_forward(transform, x + h) - transform_forward(transform, x - h)) /
      (2 * h)
    expect_equal(unname(transform_log_jacobian(transform, transform_forward(transform, x))),
                 unname(rowSums(log(slope))), tolerance = 1e-6)
  }
})

test_that("the log-Jacobian agrees with its definition, at other levels too", {
  for (levels in c(2, 16, 65536)) {
    x <- continuous(levels = levels)
    y <- transform_forward(logit_pixels(0.01, levels), x)
    expect_equal(unname(transform_log_jacobian(logit_pixels(0.01, levels), y)),
                 unname(rowSums(log_slope_reference(x, 0.01, levels))), tolerance = 1e-12)
  }
})

test_that("the density of the data integrates to one", {
  # y standard normal; p(v) = dnorm(y) |dy/dv|, v over the whole range.
  transform <- logit_pixels(0.01, 4)
  mass <- integrate(function(v) {
    y <- transform_forward(transform, cbind(v))
    exp(dnorm(y[, 1], log = TRUE) + transform_log_jacobian(transform, y))
  }, 0, 4, rel.tol = 1e-8)$value
  # The range ends at logit(alpha), short of minus infinity.
  expect_equal(mass, 1 - 2 * pnorm(log(0.01 / 0.99)), tolerance = 1e-6)
})

test_that("far out, the log-Jacobian grows as |y| and does not overflow", {
  y <- cbind(c(-1e5, -700, 700, 1e5))
  slope <- log((1 - 2e-6) / 256)
  expect_equal(transform_log_jacobian(logit_pixels(), y), slope + c(1e5, 700, 700, 1e5),
               tolerance = 1e-12)
})

# Missing cells and empty shapes -----------------------------------------------

test_that("missing cells stay missing and add nothing", {
  x <- continuous()
  full <- transform_forward(logit_pixels(), x)
  x[2, ] <- NA
  x[3, 4] <- NA
  expect_warning(y <- transform_forward(logit_pixels(), x), NA)
  expect_identical(is.na(y), is.na(x))
  expect_identical(y[-2, -4], full[-2, -4])
  jacobian <- transform_log_jacobian(logit_pixels(), y)
  expect_identical(unname(jacobian[2]), 0)
  observed <- full[3, -4, drop = FALSE]
  expect_equal(unname(jacobian[3]), sum(transform_log_jacobian(logit_pixels(), observed)))
  expect_identical(is.na(transform_inverse(logit_pixels(), y)), is.na(x))
})

test_that("a matrix without an observed value gives one", {
  for (na in list(NA, NA_integer_, NA_real_)) {
    x <- matrix(na, 2, 3)
    expect_warning(y <- transform_forward(logit_pixels(), x), NA)
    expect_identical(y, matrix(NA_real_, 2, 3))
    expect_identical(transform_log_jacobian(logit_pixels(), y), c(0, 0))
    expect_identical(transform_inverse(logit_pixels(), y), y)
  }
})

test_that("no rows, no columns, one cell", {
  for (shape in list(c(0, 3), c(2, 0), c(0, 0))) {
    x <- matrix(0, shape[1], shape[2])
    expect_warning(y <- transform_forward(logit_pixels(), x), NA)
    expect_identical(y, x)
    expect_identical(transform_inverse(logit_pixels(), y), x)
    expect_identical(transform_log_jacobian(logit_pixels(), y), numeric(shape[1]))
  }
  y <- transform_forward(logit_pixels(), matrix(12.5))
  expect_equal(y, matrix(logit_reference(12.5, 1e-6, 256)), tolerance = 1e-12)
})

# What x may hold --------------------------------------------------------------

test_that("values out of range are refused, with the place", {
  x <- matrix(c(0, 1, 2, 3, 256, 5), 2)
  expect_error(transform_forward(logit_pixels(), x),
               paste("`x` must hold pixels from 0 to 255 for logit_pixels(levels = 256),",
                     "not 256 (row 1, column 3)."),
               fixed = TRUE, class = "elbo_error")
  x[2, 1] <- -1
  expect_error(transform_forward(logit_pixels(), x), "not -1 (row 2, column 1)",
               fixed = TRUE, class = "elbo_error")
  expect_error(transform_forward(logit_pixels(), matrix(c(0.5, NA, 256.5)), "newdata"),
               paste("`newdata` must hold values from 0 to 256 for",
                     "logit_pixels(levels = 256), not 256.5 (row 3, column 1)."),
               fixed = TRUE, class = "elbo_error")
  expect_error(transform_forward(logit_pixels(levels = 2), matrix(0:2)), "from 0 to 1 ",
               class = "elbo_error")
  for (bad in c(Inf, -Inf)) {
    expect_error(transform_forward(logit_pixels(), matrix(c(1, bad))),
                 "`x` must hold pixels", class = "elbo_error")
  }
})

test_that("a refused matrix leaves R's generator alone", {
  set.seed(1)
  before <- .Random.seed
  expect_error(transform_forward(logit_pixels(), matrix(300L)), class = "elbo_error")
  expect_identical(.Random.seed, before)
})

test_that("pixels divided by 255 bring a warning", {
  expect_warning(transform_forward(logit_pixels(), matrix(c(0, 17, 255) / 255)),
                 "were pixels divided by 255?", fixed = TRUE)
  # A blank image, without noise and with it, and black and white: nothing to
  # warn of.
  expect_warning(transform_forward(logit_pixels(), matrix(0L, 2, 2)), NA)
  expect_warning(transform_forward(logit_pixels(), matrix(c(0.3, 0.7))), NA)
  expect_warning(transform_forward(logit_pixels(levels = 2), matrix(c(0.3, 0.7))), NA)
})

# MNIST ------------------------------------------------------------------------

test_that("over MNIST the log-Jacobian averages 272.18 nats", {
  skip_without_mnist()
  con <- gzfile(mnist_file("train-images-idx3-ubyte"), "rb")
  bytes <- readBin(con, "raw", 16 + 60000 * 784)
  close(con)
  # Its expectation over the noise, by hand: the mean of log a over a unit
  # interval is [a log a - a] / slope between the ends, and likewise of 1 - a.
  count <- tabulate(as.integer(bytes[-(1:16)]) + 1L, 256)
  slope <- (1 - 2e-6) / 256
  antiderivative <- function(v) {
    a <- 1e-6 + slope * v
    (a * log(a) - a) / slope
  }
  mean_log <- diff(antiderivative(0:256))
  expected <- sum(count * (log(slope) - mean_log - rev(mean_log))) / 60000
  expect_lt(abs(expected - 272.18), 0.005)

  x <- read_idx(mnist_file("train-images-idx3-ubyte"))
  y <- forward_seed(1, logit_pixels(), x)
  # The noise leaves a standard error of 0.11 nats in the mean.
  expect_lt(abs(mean(transform_log_jacobian(logit_pixels(), y)) - expected), 0.5)
})
