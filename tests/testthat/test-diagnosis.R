# The verdicts of posterior_collapse(): rules at hand-made evidence and its boundaries, and fits
# that were made to go wrong in a known way.

# Four directions with standard deviations 4, 3, 2 and 1.5 in 12 features, noise of variance
# 0.25; so pPCA with k = 4 has sigma2 near 0.25.
sound <- local({
  set.seed(2)
  w <- qr.Q(qr(matrix(rnorm(48), 12))) %*% diag(c(4, 3, 2, 1.5))
  matrix(rnorm(800), 200) %*% t(w) + matrix(rnorm(2400, sd = 0.5), 200)
})

train <- function(..., x = sound, k = 4, epochs = 100, learning_rate = 0.005) {
  set.seed(1)
  vae(x, k, encoder = 8, activation = "tanh", epochs = epochs, batch_size = 50,
      learning_rate = learning_rate, ...)
}

verdict_of <- function(fit, x = sound, ...) {
  set.seed(1)
  posterior_collapse(fit, x, ...)
}

# A fit whose encoder says nothing of x, q(z | x) = p(z), with the decoder as it was.
with_silent_encoder <- function(fit) {
  layout <- fit$layout[grepl("^(mean|log_variance)", fit$layout$name), ]
  for (i in seq_len(nrow(layout))) {
    fit$theta[4 * layout$offset[i] + seq_len(4 * layout$size[i])] <- as.raw(0)
  }
  set.seed(1)
  fit$elbo <- elbo(fit, sound, samples = 20)[["elbo"]]
  fit
}

# Fits ---------------------------------------------------------------------------

# pPCA from eigen(), on the scale of the data: with the k first eigenvalues l and the mean s
# of the others, -1/2 (p log 2 pi + sum log l + (p - k) log s + p).
linear_reference <- function(x, k) {
  values <- eigen(cov(x) * (nrow(x) - 1) / nrow(x), symmetric = TRUE)$values
  p <- ncol(x)
  s <- mean(values[(k + 1):p])
  list(values = values, sigma2 = s,
       elbo = -(p * log(2 * pi) + sum(log(values[1:k])) + (p - k) * log(s) + p) / 2)
}

test_that("a sound fit has nothing wrong, and the yardstick is pPCA's", {
  by_hand <- linear_reference(sound, 4)
  fit <- train()
  for (model in list(fit, ppca(sound, 4), linear_vae(sound, 4))) {
    found <- verdict_of(model)
    expect_identical(found$verdict, "none")
    expect_match(found$remedy, "^Nothing is wrong")
    expect_equal(found$linear$elbo, by_hand$elbo, tolerance = 1e-6)
    expect_equal(found$linear$sigma2, by_hand$sigma2, tolerance = 1e-6)
    expect_identical(found$evidence$carried_linear,
                     as.double(sum(by_hand$values > found$linear$sigma2)))
    expect_equal(found$evidence$trace, sum(by_hand$values), tolerance = 1e-6)
    expect_equal(found$evidence$linear_kl, sum(log(by_hand$values[1:4] / by_hand$sigma2)) / 2,
                 tolerance = 1e-6)
  }
  expect_identical(verdict_of(fit, encoder_epochs = 5)$verdict, "none")
})

test_that("sigma2 fixed too large is told, with what it loses and what learning it gains", {
  by_hand <- linear_reference(sound, 4)
  for (model in list(train(sigma2 = 8, learn_sigma2 = FALSE),
                     linear_vae(sound, 4, sigma2 = 8, learn_sigma2 = FALSE),
                     ppca(sound, 4, sigma2 = 8))) {
    found <- verdict_of(model)
    expect_identical(found$verdict, "sigma2 fixed too large")
    expect_identical(found$carried$count, sum(by_hand$values > 8))
    expect_match(found$remedy, sprintf("can carry %d of 4 directions", sum(by_hand$values > 8)))
    set.seed(1)
    tuned <- tune_sigma2(model, sound)
    expect_equal(found$tuned$sigma2, tuned$sigma2)
    expect_equal(found$tuned$gain, tuned$elbo - tuned$current_elbo)
    expect_gt(found$tuned$gain, 1)
    own <- if (inherits(model, "vae")) model$elbo else mean(logLik(model, by = "observation"))
    expect_equal(found$evidence$short, by_hand$elbo - own, tolerance = 1e-6)
  }
})

test_that("other causes are told apart", {
  beta <- verdict_of(train(beta = 5, epochs = 300, learning_rate = 0.01))
  expect_identical(beta$verdict, "beta")
  lambda <- linear_reference(sound, 4)$values
  expect_match(beta$remedy, sprintf("%d direction", sum(lambda > beta$sigma2 &
                                                           lambda <= 5 * beta$sigma2)))

  # a weight that sigma2 has risen with, and a small one
  raised <- verdict_of(linear_vae(iris[1:4], 2, beta = 3), iris[1:4])
  expect_identical(raised$verdict, "beta")
  expect_match(raised$remedy, "with it sigma2 has come to 0.342, where it can carry 1 of 2")
  expect_identical(verdict_of(linear_vae(sound, 4, beta = 0.2))$verdict, "beta")
  free <- verdict_of(train(free_bits = 5, epochs = 300, learning_rate = 0.01))
  expect_identical(free$verdict, "free bits")
  each <- train(sigma2 = rep(3, 12), learn_sigma2 = FALSE, noise = "feature")
  expect_identical(verdict_of(each)$verdict, "sigma2 fixed too large")

  averaged <- verdict_of(train(beta = 12))
  expect_identical(averaged$verdict, "units")
  expect_match(averaged$remedy, "averaged over the 12 features")
  half <- verdict_of(train(sigma2 = 6, learn_sigma2 = FALSE))
  expect_identical(half$verdict, "units")
  expect_match(half$remedy, "half the number of features")
  pixels <- verdict_of(train(sigma2 = 0.25 * 255^2, learn_sigma2 = FALSE, epochs = 20))
  expect_identical(pixels$verdict, "units")
  expect_match(pixels$remedy, "255^2", fixed = TRUE)

  small <- verdict_of(train(sigma2 = 0.01, learn_sigma2 = FALSE))
  expect_identical(small$verdict, "sigma2 fixed too small")

  # a noise variance that was learned in steps too short to get anywhere
  slow <- function(...) {
    train(start = "random", sigma2_update = "gradient", learning_rate = 1e-3, ...)
  }
  stuck <- verdict_of(slow(sigma2 = 200, epochs = 600))
  expect_identical(stuck$verdict, "sigma2 stuck")
  expect_match(stuck$remedy, "start = \"linear\"", fixed = TRUE)
  warm <- verdict_of(slow(sigma2 = 20, epochs = 110, beta = schedule_warmup(80, from = 0.001)))
  expect_identical(warm$verdict, "warm-up ended")

  early <- verdict_of(train(start = "random", epochs = 5))
  expect_identical(early$verdict, "undertrained")
  expect_match(early$remedy, "20 steps: train for longer, update(fit, epochs = 10)", fixed = TRUE)
  rising <- verdict_of(slow(epochs = 100))
  expect_identical(rising$verdict, "undertrained")
  expect_match(rising$remedy, "still rising")
})

test_that("dimensions that the data do not have are surplus", {
  # S = diag(5, 3, 1, 1, 1, 1) exactly: two directions above the noise, and no others.
  set.seed(1)
  z <- qr.Q(qr(scale(matrix(rnorm(240), 40), scale = FALSE))) * sqrt(40)
  x <- z %*% diag(sqrt(c(5, 3, 1, 1, 1, 1)))
  for (fit in list(linear_vae(x, 4, optimizer = "exact"), ppca(x, 4), linear_vae(x, 4))) {
    found <- posterior_collapse(fit)
    expect_identical(found$verdict, "surplus")
    expect_identical(sum(found$dimensions$collapsed), 2L)
  }
  found <- posterior_collapse(linear_vae(x, 4, sigma2 = 1.05, learn_sigma2 = FALSE))
  expect_identical(found$verdict, "surplus")
  expect_match(found$remedy, "the data have 2 directions")
  set.seed(1)
  deep <- posterior_collapse(vae(x, 4, encoder = 8, epochs = 3, learning_rate = 1e-6), x)
  expect_identical(deep$verdict, "surplus")
  expect_identical(deep$evidence$collapsed, 2L)
  # where the ELBO is a little less than pPCA's it is said how to find out more
  near <- verdict_of(train(k = 8, start = "random", epochs = 1000, learning_rate = 0.01))
  expect_identical(near$verdict, "surplus")
  expect_match(near$remedy, "nats less.*encoder_epochs = 20")
})

test_that("an encoder that lags is found by training it alone", {
  fit <- with_silent_encoder(train())
  before <- verdict_of(fit)
  expect_identical(before$percent, 100)
  expect_identical(before$verdict, "unexplained")
  expect_match(before$remedy, "posterior_collapse(fit, encoder_epochs = 20)", fixed = TRUE)
  after <- verdict_of(fit, encoder_epochs = 100)
  expect_identical(after$verdict, "encoder lags")
  expect_gt(after$encoder$gain, 0.5 * after$evidence$short)
  # the fit itself was not trained
  expect_identical(after$dimensions, before$dimensions)
  # V and D of a linear VAE that are not the best for its W
  best <- linear_vae(sound, 4, optimizer = "exact")
  poor <- linear_vae(sound, 4, optimizer = "adam", sigma2 = best$sigma2, learn_sigma2 = FALSE,
                     start = list(loadings = best$loadings, V = 0.1 * best$V, D = rep(1, 4)),
                     control = train_control(epochs = 1, learning_rate = 1e-300))
  found <- posterior_collapse(poor)
  expect_identical(found$verdict, "encoder lags")
  # what it gains is the whole gap to the likelihood, which W and sigma2 have at its maximum
  expect_equal(found$encoder$gain, poor$loglik / 200 - poor$elbo)
  expect_equal(found$encoder$kl, best$kl)
})

test_that("where the theory is silent the rest is said all the same", {
  holes <- sound
  holes[cbind(1:50, rep(1:10, 5))] <- NA
  # the encoder, which sees the mean in the place of a missing cell, takes longer to be good
  for (fit in list(train(x = holes, epochs = 500, learning_rate = schedule_cosine(500, 0.01)),
                   train(noise = "feature"),
                   train(noise = "network"),
                   train(condition = factor(rep(1:2, 100))))) {
    set.seed(1)
    found <- if (is.null(fit$condition)) posterior_collapse(fit, if (fit$observed < 2400) holes else sound) else
      posterior_collapse(fit, sound, condition = factor(rep(1:2, 100)))
    expect_identical(found$verdict, "none")
    silent <- is.null(fit$condition)
    expect_identical(is.na(found$carried$count), silent)
    expect_identical(any(grepl("The linear theory predicts nothing: it", capture.output(print(found)))),
                     silent)
  }
  expect_identical(posterior_collapse(ppca(holes, 4), holes)$verdict, "none")
  large <- posterior_collapse(ppca(holes, 4, sigma2 = 10), holes)
  expect_identical(large$verdict, "sigma2 fixed too large")
  expect_true(is.na(large$evidence$short))
})

# Rules --------------------------------------------------------------------------

# A model that nothing is wrong with, changed as each rule says.
evidence <- function(...) {
  e <- list(n = 1000, p = 20, k = 10, collapsed = 0, own = TRUE, model = "vae",
            start = "random", fixed = FALSE, late = FALSE, beta = 1, beta_end = 1, free_bits = 0,
            sigma2 = 1, tuned = 1, linear_sigma2 = 1,
            trace = 60, gain = 0,
            carried = 10, carried_alone = 10, carried_linear = 12, short = -1, error = 0.1,
            allowance = 0.1, rise = 0, second_half = 0, epochs = 100, steps = 2000, kl = 10, kl_warm = NA,
            linear_kl = 10, encoder_gain = NA, encoder_kl = NA)
  changed <- list(...)
  stopifnot(all(names(changed) %in% names(e)))
  e[names(changed)] <- changed
  if (is.null(changed$beta_end)) e$beta_end <- e$beta
  e
}

expect_verdict <- function(expected, ...) {
  found <- elbo:::diagnose(evidence(...))
  expect_identical(found$verdict, expected)
  expect_type(found$remedy, "character")
  expect_length(found$remedy, 1)
  expect_false(grepl("NA|  |\\.\\.|NULL", found$remedy), label = found$remedy)
  invisible(found$remedy)
}

test_that("few collapsed are one in twenty, and the ELBO may be below by the allowance", {
  expect_verdict("none")
  expect_verdict("none", short = NA)
  expect_verdict("none", k = 20, collapsed = 1)
  expect_verdict("surplus", k = 20, collapsed = 2)
  expect_verdict("surplus", collapsed = 10, short = NA)
  expect_verdict("none", short = 0.1, linear_kl = NA)
  expect_verdict("unexplained", short = 0.1001, linear_kl = NA)
  expect_verdict("unexplained", short = 0.2001, linear_kl = 2)
  expect_match(expect_verdict("none", short = 0.5999),
               "no more than 0.6 nats below pPCA's. To gain the 0.6 nats, start from pPCA")
  expect_match(expect_verdict("none", short = -1, own = FALSE),
               "the ELBO of the data of the fit is not below pPCA's")
  expect_verdict("unexplained", short = 0.6001)
  expect_match(expect_verdict("surplus", collapsed = 4, carried = 6), "data have 6 directions")
  expect_match(expect_verdict("surplus", collapsed = 4, carried = 7), "encoder_epochs")
  expect_match(expect_verdict("surplus", collapsed = 4, encoder_gain = 0.05, encoder_kl = 11),
               "The encoder does not lag")
  expect_match(expect_verdict("none", rise = 2), "still rising at the end, by 2 nats")
  expect_match(expect_verdict("none", tuned = 0.8, gain = 1), "tune_sigma2(fit)$fit gains 1 nat.",
               fixed = TRUE)
  expect_match(expect_verdict("none", tuned = 1.8, gain = 1, own = FALSE),
               "For these data another sigma2, 1.8, .*tune_sigma2\\(fit, newdata\\)")
  expect_match(expect_verdict("unexplained", short = 5, model = "linear_vae", start = NA), "pca")
  expect_match(expect_verdict("unexplained", short = 5, model = "ppca", start = NA), "em_control")
})

test_that("a fixed sigma2 is too large or too small beyond a tenth and beyond noise", {
  large <- function(verdict, ...) expect_verdict(verdict, fixed = TRUE, ...)
  large("none", sigma2 = 1.1, gain = 1)
  large("sigma2 fixed too large", sigma2 = 1.101, gain = 1)
  large("none", sigma2 = 1.101, gain = 0.1)
  large("none", tuned = 1.1, gain = 1)
  # one for each feature: by the geometric mean of the ratios, whatever the means are
  large("sigma2 fixed too large", trace = 1e4, sigma2 = c(1000, 2, 2),
        tuned = c(1100, 1, 1), gain = 1)
  large("sigma2 fixed too small", trace = 1e4, sigma2 = c(1000, 1, 1),
        tuned = c(900, 2, 2), gain = 1)
  large("none", trace = 1e4, sigma2 = c(1000, 1), tuned = c(1050, 1.09), gain = 1)
  expect_match(large("sigma2 fixed too large", sigma2 = c(10, 3), tuned = c(1, 1), gain = 1,
                     carried = NA), "is fixed at 3 to 10. ")
  expect_match(large("sigma2 fixed too large", sigma2 = 2, gain = 1, model = "ppca", start = NA),
               "Leave `sigma2` out")
  # what was tuned after training is not what training had
  expect_match(large("sigma2 tuned late", late = TRUE, short = 5), "tuned afterwards")
  large("none", late = TRUE)
  large("sigma2 fixed too small", tuned = 1.101, gain = 1)
  # too few directions, where that costs something
  large("sigma2 fixed too large", sigma2 = 2, tuned = 2, carried_alone = 9, short = 1)
  large("none", sigma2 = 2, tuned = 2, carried_alone = 9)
  large("unexplained", sigma2 = 2, tuned = 2, carried_alone = 10, short = 1)
  large("sigma2 fixed too large", sigma2 = 1.2, gain = 1, linear_sigma2 = NA, short = NA,
        carried = NA, carried_alone = NA, carried_linear = NA)
  expect_verdict("unexplained", sigma2 = 2, tuned = 2, carried_alone = 9, short = 1)
  expect_match(large("sigma2 fixed too large", sigma2 = 2, gain = 3, carried = 4, short = 7),
               "carry 4 of 10 directions and pPCA's, 1, 10 of 10. .* 3 nats .* 7 nats to reach pPCA")
})

test_that("units are suspected by factors, where these are at least 10", {
  for (beta in c(16.1, 20, 24.9, 1 / 20, 1 / 24.9)) {
    expect_verdict("units", beta = beta, carried = 0, collapsed = 10)
  }
  for (beta in c(15.9, 25.1)) expect_verdict("beta", beta = beta, carried = 0, collapsed = 10)
  expect_verdict("beta", beta = 9, p = 9, carried = 0, collapsed = 10)
  expect_verdict("units", beta = 10, p = 10, carried = 0, collapsed = 10)
  fixed <- function(verdict, sigma2, ...) {
    expect_verdict(verdict, fixed = TRUE, sigma2 = sigma2, gain = 2, short = 5, carried = 2,
                   carried_alone = 2, ...)
  }
  # p and p / 2, far off
  fixed("sigma2 fixed too large", 19.9)
  expect_match(fixed("units", 20), "fixed at 20, the number of features, where 1 suits the data")
  fixed("sigma2 fixed too large", 9, p = 9)
  expect_match(fixed("units", 10), "half the number of features")
  fixed("sigma2 fixed too large", 10.1)
  fixed("units", 20, linear_sigma2 = 0.1)
  fixed("sigma2 fixed too large", 10, linear_sigma2 = 1.01)
  # the variance of all features
  fixed("sigma2 fixed too large", 60)
  expect_match(fixed("units", 60.1), "above the variance of all features together, 60")
  # pixels
  expect_match(fixed("units", 40000, trace = 1e6), "for pixels from 0 to 255")
  fixed("sigma2 fixed too large", 2.1 * 255^2, trace = 1e6)
  expect_match(fixed("units", 1 / 65025, tuned = 1), "for pixels from 0 to 1,")
  # the tuned one where pPCA's is not known
  fixed("units", 20, linear_sigma2 = NA, tuned = 1)
  # all this is of a sigma2 that was fixed
  expect_verdict("none", sigma2 = 20)
})

test_that("beta loses directions, or leaves the ELBO below pPCA's", {
  expect_match(expect_verdict("beta", beta = 2, carried = 7, collapsed = 3),
               "Only `beta = 1` maximises the ELBO", fixed = TRUE)
  expect_match(expect_verdict("beta", beta = 2, carried = 9, collapsed = 1),
               "1 direction with .* is lost")
  expect_match(expect_verdict("beta", beta = 2, beta_end = 1, carried = 7, collapsed = 3),
               "ended before it had come to 1: give more `epochs`", fixed = TRUE)
  expect_match(expect_verdict("surplus", beta = 2, collapsed = 3), "`beta` is 2")
  # a sigma2 that rose with beta, so that no direction is between the two
  expect_match(expect_verdict("beta", beta = 2, sigma2 = 3, carried = 9, carried_alone = 9,
                              collapsed = 1, short = 5),
               "has come to 3, where it can carry 9 of 10 directions and pPCA's, 1, 10 of 10")
  for (weight in c(0.5, 0.99)) {
    expect_match(expect_verdict("beta", beta = weight, short = 5), "Only `beta = 1`")
    expect_match(expect_verdict("none", beta = weight), "weight 1")
  }
  expect_match(expect_verdict("beta", beta = 0.6, beta_end = 1, short = 5), "had come to 1")
  expect_verdict("none", beta = 2, carried = 7)
  expect_verdict("beta", beta = 2, carried = 7, short = 2)
  expect_verdict("surplus", beta = 1, carried = 7, collapsed = 3)
  expect_verdict("beta", beta = 2, carried = NA, carried_alone = NA, collapsed = 3)
})

test_that("an encoder lags where it gains more than noise, and the KL rises", {
  lag <- function(verdict, ...) expect_verdict(verdict, collapsed = 5, encoder_kl = 12, ...)
  lag("encoder lags", encoder_gain = 0.11)
  lag("surplus", encoder_gain = 0.1)
  lag("surplus", encoder_gain = 0.005, error = 0)
  lag("unexplained", encoder_gain = 1, short = 10)
  lag("encoder lags", encoder_gain = 1.01, short = 10)
  lag("surplus", encoder_gain = 1, kl = 12)
  expect_verdict("none", encoder_gain = 1, encoder_kl = 12)
  expect_verdict("none", k = 10, encoder_gain = NA)
})

test_that("training: warm-up, sigma2, and how long", {
  late <- function(verdict, ...) expect_verdict(verdict, collapsed = 10, short = 5, ...)
  late("unexplained")
  late("undertrained", steps = 299)
  late("unexplained", steps = 300)
  late("warm-up ended", kl_warm = 20.01)
  late("unexplained", kl_warm = 20)
  late("undertrained", kl_warm = 30, steps = 10)
  expect_verdict("surplus", collapsed = 10, kl_warm = 30)
  late("sigma2 stuck", sigma2 = 1.51)
  late("unexplained", sigma2 = 1.5)
  late("unexplained", sigma2 = 1.51, fixed = TRUE, carried_linear = 10)
  late("warm-up ended", sigma2 = 3, kl_warm = 30)
  late("sigma2 stuck", sigma2 = 3, rise = 1)
  late("undertrained", rise = 1)
  expect_match(late("undertrained", second_half = 0.51), "rose by 0.51 nats in the second half")
  late("unexplained", second_half = 0.5)
  expect_match(late("free bits", free_bits = 0.5), "`free_bits` = 0.5")
  expect_verdict("none", free_bits = 0.5)
  expect_verdict("sigma2 stuck", collapsed = 9, short = 5, sigma2 = 3)
  expect_verdict("unexplained", collapsed = 8, short = 5, sigma2 = 3)
  expect_verdict("sigma2 stuck", collapsed = 0, short = 5, sigma2 = 3, kl = 0.9)
  expect_verdict("unexplained", collapsed = 0, short = 5, sigma2 = 3, kl = 1.01)
  expect_match(late("undertrained", steps = 0, model = "linear_vae", start = NA), "100 iterations: .* `maxit`")
  expect_match(late("sigma2 stuck", sigma2 = 3, start = "linear"), "smaller `learning_rate`")
})

test_that("evidence comes from the fit", {
  fit <- train(beta = schedule_warmup(10, from = 0.1), start = "random", epochs = 20)
  e <- verdict_of(fit)$evidence
  expect_identical(e$kl_warm, max(fit$history$kl[5:9]))
  expect_identical(e[c("n", "p", "k", "steps", "epochs", "start", "beta")],
                   list(n = 200L, p = 12L, k = 4L, steps = 80, epochs = 20, start = "random", beta = 1))
  expect_equal(e$allowance, 3 * sqrt(4 / (2 * 200 * 50)) + e$collapsed * 12 / 200)
  expect_gt(e$error, 0)
  expect_true(is.na(verdict_of(train(epochs = 5))$evidence$kl_warm))
  # not over yet, or not rising
  early <- suppressWarnings(train(epochs = 5, beta = schedule_warmup(10)))
  expect_true(is.na(verdict_of(early)$evidence$kl_warm))
  expect_true(is.na(verdict_of(train(epochs = 5, beta = c(2, 2, 1)))$evidence$kl_warm))
  fell <- verdict_of(suppressWarnings(train(epochs = 2, beta = c(2, 2, 1))))$evidence
  expect_identical(fell[c("beta", "beta_end")], list(beta = 2, beta_end = 1))
  expect_setequal(names(e), names(evidence()))
  expect_setequal(names(posterior_collapse(ppca(sound, 2))$evidence), names(evidence()))
})
