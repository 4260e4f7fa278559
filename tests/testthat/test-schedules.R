# Schedules: values by the formulas of the papers that ?schedules names.

test_that("the cosine goes from one to the other along half a cosine", {
  # Loshchilov and Hutter 2017, eq. 5: min + (max - min) (1 + cos(pi t / T)) / 2
  expect_equal(schedule_cosine(5, 2, 1), c(2, 1 + (1 + sqrt(0.5)) / 2, 1.5,
                                           1 + (1 - sqrt(0.5)) / 2, 1))
  expect_equal(schedule_cosine(3, 1e-3), c(1e-3, 1e-5 + 0.99e-3 / 2, 1e-5))
  expect_identical(schedule_cosine(1, 0.1), 0.1)
  expect_equal(schedule_cosine(4, 0.5, 0.5), rep(0.5, 4))
  # up as well
  expect_equal(schedule_cosine(3, 0, 1), c(0, 0.5, 1))
  long <- schedule_cosine(100, 1, 0.1)
  expect_length(long, 100)
  expect_true(all(diff(long) < 0))
  expect_equal(long + rev(long), rep(1.1, 100))
})

test_that("steps come after every so many epochs", {
  expect_equal(schedule_step(7, 1, factor = 0.5, every = 3), c(1, 1, 1, 0.5, 0.5, 0.5, 0.25))
  # by default three levels
  expect_equal(schedule_step(6, 1), c(1, 1, 0.1, 0.1, 0.01, 0.01))
  expect_equal(schedule_step(5, 1), c(1, 1, 0.1, 0.1, 0.01))
  expect_equal(schedule_step(3, 2, factor = 3, every = 1), c(2, 6, 18))
  expect_equal(schedule_step(3, 2, every = 10), c(2, 2, 2))
  expect_identical(schedule_step(1, 0.3), 0.3)
})

test_that("a warm-up is a straight line", {
  expect_equal(schedule_warmup(5, 0, 1), c(0, 0.25, 0.5, 0.75, 1))
  expect_equal(schedule_warmup(4), c(0.01, 0.34, 0.67, 1))
  expect_equal(schedule_warmup(3, 1, 4), c(1, 2.5, 4))
  # of one epoch: where it begins
  expect_identical(schedule_warmup(1, 0.2, 1), 0.2)
})

test_that("cycles rise and stay", {
  # Fu et al. 2019, eq. 6 and 7: tau = mod(t - 1, T / M) / (T / M); tau / R up to R, then 1
  expect_equal(schedule_cyclic(8, cycles = 2, ramp = 0.5, from = 0),
               rep(c(0, 0.5, 1, 1), 2))
  expect_equal(schedule_cyclic(4, cycles = 1, ramp = 1, from = 0, to = 2), c(0, 0.5, 1, 1.5))
  expect_equal(schedule_cyclic(3, cycles = 3), rep(0.01, 3))
  expect_length(schedule_cyclic(10), 10)
  by_hand <- function(epochs, cycles, ramp, from, to) {
    vapply(seq_len(epochs), function(t) {
      period <- epochs / cycles
      tau <- (t - 1) / period - floor(round((t - 1) / period, 12))
      from + (to - from) * min(1, tau / ramp)
    }, 0)
  }
  for (epochs in c(7, 10, 100)) for (cycles in c(1, 3, 4)) for (ramp in c(0.3, 0.5, 1)) {
    expect_equal(schedule_cyclic(epochs, cycles, ramp, 0.1, 0.9),
                 by_hand(epochs, cycles, ramp, 0.1, 0.9))
  }
  # cycles that do not divide the epochs begin anew where a multiple of the period is
  found <- schedule_cyclic(300, cycles = 7, from = 0)
  expect_identical(sum(diff(found) < 0), 6L)
  expect_identical(sum(schedule_cyclic(1000, cycles = 100, from = 0) == 0), 100L)
})

test_that("what makes no schedule is refused", {
  refused <- function(code, said) expect_error(code, said, fixed = TRUE, class = "elbo_error")
  refused(schedule_cosine(0, 1), "`epochs` must be a whole number, 1 or more, not 0.")
  refused(schedule_cosine(5, -1), "`from` must be a finite number of at least 0, not -1.")
  refused(schedule_cosine(5, 1, NA), "`to` must be")
  refused(schedule_step(5, 1, factor = 0), "`factor` must be a finite number above 0, not 0.")
  refused(schedule_step(5, 1, every = 0), "`every` must be a whole number, 1 or more, not 0.")
  refused(schedule_step("5", 1), "`epochs` must be")
  refused(schedule_warmup(5, -1), "`from` must be")
  refused(schedule_warmup(5, to = Inf), "`to` must be")
  refused(schedule_cyclic(5, cycles = 6), "`cycles` must be a whole number between 1 and 5, not 6.")
  refused(schedule_cyclic(5, ramp = 0), "`ramp` must be a number above 0 and at most 1, not 0.")
  refused(schedule_cyclic(5, ramp = 2), "`ramp` must be a number above 0 and at most 1, not 2.")
})

test_that("schedules serve training", {
  flowers <- as.matrix(iris[1:4])
  rate <- schedule_cosine(4, 0.02)
  beta <- schedule_cyclic(4, cycles = 2)
  set.seed(1)
  fit <- vae(flowers, 2, encoder = 4, beta = beta,
             control = train_control(epochs = 6, batch_size = 50, learning_rate = rate))
  expect_identical(fit$history$learning_rate, c(rate, rate[c(4, 4)]))
  expect_identical(fit$history$beta, c(beta, beta[c(4, 4)]))
  linear <- linear_vae(flowers, 2, optimizer = "adam", beta = schedule_warmup(3, 0.5),
                       control = train_control(epochs = 5, learning_rate = rate))
  expect_identical(linear$history$beta, c(0.5, 0.75, 1, 1, 1))
  # a rate may come to nothing, where training does nothing
  rate <- schedule_cosine(4, 1e-3, 0)
  set.seed(1)
  early <- vae(flowers, 2, encoder = 4, sigma2_update = "gradient",
               control = train_control(3, 50, learning_rate = rate))
  late <- update(early, epochs = 6)
  expect_identical(late$history$learning_rate, rate[c(1:4, 4, 4)])
  expect_identical(late$theta, early$theta)
})
