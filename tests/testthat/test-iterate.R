# The ascent by L-BFGS-B. References: functions whose maximum is known by hand, and
# optim() itself.

climb <- function(theta, evaluate, ..., done = 0L) {
  elbo:::climb_lbfgs(theta, evaluate, train_control(..., progress = FALSE), done)
}

# f as climb_lbfgs() wants it, that remembers where it was asked.
watched <- function(f, gradient) {
  asked <- list()
  function(theta) {
    if (missing(theta)) return(asked)
    asked[[length(asked) + 1]] <<- theta
    value <- f(theta)
    if (!is.finite(value)) return(NULL)
    list(objective = value, gradient = gradient(theta), row = c(value = value), extra = theta * 2)
  }
}

# Minus Rosenbrock's banana: the maximum is 0 at (1, 1).
banana <- function(x) -100 * (x[2] - x[1]^2)^2 - (1 - x[1])^2
slope <- function(x) {
  c(400 * x[1] * (x[2] - x[1]^2) + 2 * (1 - x[1]), -200 * (x[2] - x[1]^2))
}

interrupt <- structure(class = c("interrupt", "condition"), list(message = "", call = NULL))

test_that("it finds what optim() finds, in as many evaluations", {
  evaluate <- watched(banana, slope)
  run <- climb(c(-1.2, 1), evaluate, tol = 1e-12)
  expected <- optim(c(-1.2, 1), function(x) -banana(x), function(x) -slope(x),
                    method = "L-BFGS-B",
                    control = list(lmm = 10, factr = 1e-12 / .Machine$double.eps))
  expect_equal(run$best$theta, c(1, 1), tolerance = 1e-5)
  expect_equal(run$best$theta, expected$par, tolerance = 1e-8)
  expect_equal(run$best$objective, -expected$value)
  expect_true(run$converged)
  # Each point is looked at once, though optim() asks for value and gradient apart.
  expect_identical(run$iterations, expected$counts[["function"]])
  expect_identical(length(evaluate()), run$iterations)
})

test_that("all that was known of the best point is kept", {
  run <- climb(c(-1.2, 1), watched(banana, slope), tol = 1e-12)
  expect_identical(run$best$extra, run$best$theta * 2)
  expect_identical(run$best$objective, banana(run$best$theta))
  expect_identical(run$best$gradient, slope(run$best$theta))
})

test_that("a concave quadratic ends at its maximum, whatever the start", {
  # f = -1/2 (x - m)'A(x - m), A of condition 1e4.
  set.seed(1)
  q <- qr.Q(qr(matrix(rnorm(64), 8)))
  a <- q %*% diag(10^seq(-2, 2, length.out = 8)) %*% t(q)
  m <- 1:8
  for (seed in 1:3) {
    set.seed(seed)
    run <- climb(rnorm(8, sd = 10), watched(function(x) -sum((x - m) * (a %*% (x - m))) / 2,
                                            function(x) -drop(a %*% (x - m))), tol = 1e-16)
    expect_equal(run$best$theta, as.double(m), tolerance = 1e-3)
    expect_true(run$converged)
  }
})

test_that("a start at the maximum stays there", {
  run <- climb(c(1, 1), watched(banana, slope))
  expect_identical(run$best$theta, c(1, 1))
  expect_true(run$converged)
  expect_identical(run$history, data.frame(iteration = 1L, value = 0))
})

test_that("history has the points that were better than all before", {
  evaluate <- watched(banana, slope)
  run <- climb(c(-1.2, 1), evaluate, tol = 1e-12)
  values <- vapply(evaluate(), banana, 0)
  better <- which(values == cummax(values) & !duplicated(cummax(values)))
  expect_identical(run$history, data.frame(iteration = better, value = values[better]))
  expect_lt(nrow(run$history), run$iterations)     # some points were worse
  expect_identical(run$best$objective, max(values))
})

test_that("tol is the relative gain at which it stops", {
  count <- function(tol) climb(c(-1.2, 1), watched(banana, slope), tol = tol)$iterations
  expect_lt(count(1e-1), count(1e-6))
  expect_lte(count(1e-6), count(1e-15))
  # Below the precision of numbers it is that precision.
  expect_identical(count(1e-300), count(1e-17))
})

test_that("the limit of evaluations gives the best point so far, with a warning", {
  whole <- watched(banana, slope)
  climb(c(-1.2, 1), whole, tol = 1e-12)
  values <- vapply(whole(), banana, 0)
  for (limit in c(1, 2, 5, 20)) {
    evaluate <- watched(banana, slope)
    expect_warning(
      run <- climb(c(-1.2, 1), evaluate, tol = 1e-12, maxit = limit),
      sprintf("L-BFGS has not converged after %d evaluation%s; %s", limit,
              if (limit == 1) "" else "s", "`update(fit, maxit = )` continues it."),
      fixed = TRUE, class = "elbo_not_converged"
    )
    expect_false(run$converged)
    expect_identical(run$iterations, as.integer(limit))
    expect_identical(length(evaluate()), as.integer(limit))
    expect_identical(run$best$objective, max(values[seq_len(limit)]))
    expect_identical(run$best$theta, whole()[[which.max(values[seq_len(limit)])]])
  }
})

test_that("evaluations made before count towards the limit", {
  evaluate <- watched(banana, slope)
  expect_warning(run <- climb(c(-1.2, 1), evaluate, maxit = 12, done = 9L), "after 12 evaluations")
  expect_identical(length(evaluate()), 3L)
  expect_identical(run$iterations, 12L)
  expect_identical(run$history$iteration[1], 10L)
  done <- climb(run$best$theta, evaluate, tol = 1e-12, maxit = 500, done = run$iterations)
  expect_true(done$converged)
  expect_equal(done$best$theta, c(1, 1), tolerance = 1e-5)
})

test_that("points where nothing is finite are turned back from", {
  # log x - x on x > 0, with the maximum at 1.
  for (start in c(2.5, 5, 40)) {
    evaluate <- watched(function(x) if (all(x > 0)) sum(log(x) - x) else NaN,
                        function(x) 1 / x - 1)
    run <- climb(c(start, start), evaluate, tol = 1e-14)
    expect_true(run$converged)
    expect_equal(run$best$theta, c(1, 1), tolerance = 1e-4)
  }
  # x + log(3 - x), whose slope 1 - 1 / (3 - x) is 0 at 2: from afar a step goes past 3.
  evaluate <- watched(function(x) if (x < 3) x + log(3 - x) else Inf, function(x) 1 - 1 / (3 - x))
  run <- climb(-20, evaluate, tol = 1e-14)
  expect_true(any(vapply(evaluate(), function(x) x >= 3, NA)))
  expect_equal(run$best$theta, 2, tolerance = 1e-4)
  expect_true(all(is.finite(run$history$value)))
})

test_that("a start where nothing is finite gives no best point", {
  expect_error(climb(c(1, 1), function(theta) NULL), "`start` must give a finite objective",
               class = "elbo_error")
})

test_that("an interrupt gives the best point so far, with a warning", {
  evaluate <- watched(banana, slope)
  seen <- 0
  expect_warning(
    run <- climb(c(-1.2, 1), function(theta) {
      seen <<- seen + 1
      if (seen == 8) stop(interrupt)
      evaluate(theta)
    }),
    paste("Interrupted after 8 evaluations; this is the fit so far, and",
          "`update(fit, maxit = )` continues it."),
    fixed = TRUE
  )
  expect_false(run$converged)
  values <- vapply(evaluate(), banana, 0)
  expect_identical(length(values), 7L)
  expect_identical(run$best$objective, max(values))
  expect_identical(run$iterations, 8L)
})

test_that("other errors are not swallowed", {
  expect_error(climb(c(-1.2, 1), function(theta) stop("out of paper")), "out of paper")
  seen <- 0
  evaluate <- watched(banana, slope)
  expect_error(climb(c(-1.2, 1), function(theta) {
    seen <<- seen + 1
    if (seen == 5) elbo:::abort_arg("k", "be smaller", 3)
    evaluate(theta)
  }), "`k` must be smaller, not 3.", class = "elbo_error")
})

test_that("where a line search fails, it tries once more without its memory", {
  # |x| has no gradient at its maximum: the search fails there, and what it has found
  # counts.
  evaluate <- watched(function(x) -sum(abs(x)), function(x) -sign(x))
  run <- climb(c(3.3, -2.2), evaluate, tol = 1e-15)
  expect_lt(max(abs(run$best$theta)), 1)
  expect_identical(run$best$objective, max(vapply(evaluate(), function(x) -sum(abs(x)), 0)))
  # Both searches began where the best point was, so that it is never lost.
  expect_identical(run$history$value, cummax(run$history$value))
})
