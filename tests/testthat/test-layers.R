# Layers: what may be asked for, how many parameters it has, what it starts from. Counts
# and variances are by hand, after He et al. 2015 and Glorot and Bengio 2010.

test_that("a dense layer is a width and an activation", {
  layer <- dense(8, "gelu")
  expect_s3_class(layer, "dense_layer")
  expect_identical(unclass(layer), list(units = 8L, activation = "gelu"))
  expect_identical(dense(3)$activation, "relu")
  expect_identical(dense(3, "tan")$activation, "tanh")
  for (name in names(activation_functions)) expect_identical(dense(1, name)$activation, name)
  expect_identical(format(layer), "8 gelu")
  expect_output(print(layer), "^Dense layer: 8 gelu$")
  capture.output(expect_invisible(print(layer)))
})

test_that("a layer that is none is refused", {
  refused <- function(code, said) expect_error(code, said, fixed = TRUE, class = "elbo_error")
  refused(dense(0), "`units` must be a whole number between 1 and 16777216, not 0.")
  refused(dense(1.5), "`units` must be a whole number")
  refused(dense(2^24 + 1), "`units` must be a whole number")
  refused(dense("8"), "`units` must be")
  refused(dense(8, "swish"), "`activation` must be one of \"identity\", \"relu\"")
  # "s" begins three of them
  refused(dense(8, "s"), "`activation` must be one of")
  x <- as.matrix(iris[1:4])
  for (bad in list("64", TRUE, list("a"), list(dense(2), NA), c(2, NA), 0, -1, 1.5, 2^25,
                   list(c(1, 2)), factor(3), list(list(dense(2))))) {
    expect_error(vae(x, 2, encoder = bad), "`encoder` must be widths of layers",
                 class = "elbo_error")
    expect_error(vae(x, 2, encoder = 2, decoder = bad), "`decoder` must be widths of layers",
                 class = "elbo_error")
  }
  expect_error(vae(x, 2, activation = "swish"), "`activation` must be one of",
               class = "elbo_error")
})

x <- plain(model_data(50, 6, 2))
still <- function(...) quick_vae(x, ..., epochs = 1, learning_rate = 1e-300)

test_that("layers can be given in many ways", {
  widths <- function(fit) vapply(coef(fit)$encoder, function(l) nrow(l$weights), 1L)
  activations <- function(fit) vapply(coef(fit)$encoder, function(l) l$activation, "")
  fit <- still(2, encoder = c(7, 3), activation = "elu")
  expect_identical(widths(fit), c(7L, 3L))
  expect_identical(activations(fit), c("elu", "elu"))
  fit <- still(2, encoder = dense(7, "gelu"))
  expect_identical(widths(fit), 7L)
  fit <- still(2, encoder = list(7, dense(3, "tanh")), activation = "silu")
  expect_identical(activations(fit), c("silu", "tanh"))
  for (none in list(integer(0), numeric(0), list(), NULL)) {
    fit <- still(2, encoder = none)
    expect_identical(nrow(fit$layout), 4L)
    expect_length(coef(fit)$encoder, 0)
  }
  expect_identical(widths(still(2, encoder = 1:32)), 1:32)
})

test_that("the number of parameters is that of the layers", {
  # by hand: out (in + 1) each
  count <- function(...) sum(still(..., start = "random")$layout$size)
  expect_equal(count(2, encoder = 5), 5 * 7 + 2 * 6 * 2 + 5 * 3 + 6 * 6 + 1)
  expect_equal(count(2, encoder = c(5, 4), decoder = 3),
               5 * 7 + 4 * 6 + 2 * 5 * 2 + 3 * 3 + 6 * 4 + 1)
  expect_equal(count(2, encoder = integer(0)), 2 * 7 * 2 + 6 * 3 + 1)
  expect_equal(count(2, encoder = integer(0), latent_variance = "shared"), 2 * 7 + 2 + 6 * 3 + 1)
  expect_equal(count(2, encoder = 5, noise = "feature"),
               5 * 7 + 2 * 6 * 2 + 5 * 3 + 6 * 6 + 6)
  expect_equal(count(2, encoder = 5, noise = "network"),
               5 * 7 + 2 * 6 * 2 + 5 * 3 + 6 * 6 * 2)
  labels <- factor(rep(1:5, 10))
  expect_equal(count(2, encoder = 5, condition = labels),
               5 * 12 + 2 * 6 * 2 + 5 * 8 + 6 * 6 + 1)
  # the maps beside hidden layers, of k x (p + c) and p x (k + c), where there are such layers
  labelled <- function(...) still(2, condition = labels, ...)
  for (widths in list(5, c(5, 4))) {
    maps <- sum(still(2, encoder = widths)$layout$size) -
      count(2, encoder = widths)
    expect_equal(maps, 2 * 6 + 6 * 2)
    maps <- sum(labelled(encoder = widths)$layout$size) -
      sum(labelled(encoder = widths, start = "random")$layout$size)
    expect_equal(maps, 2 * (6 + 5) + 6 * (2 + 5))
  }
  expect_equal(sum(still(2, encoder = 5, decoder = integer(0))$layout$size) -
                 count(2, encoder = 5, decoder = integer(0)), 2 * 6)
  expect_equal(sum(still(2, encoder = integer(0))$layout$size), count(2, encoder = integer(0)))
  for (start in c("linear", "random")) {
    fit <- still(2, encoder = c(5, 4), start = start)
    expect_identical(length(fit$theta), as.integer(4 * sum(fit$layout$size)))
    expect_equal(fit$layout$offset, c(0, cumsum(fit$layout$size)[-nrow(fit$layout)]))
  }
})

test_that("weights start with the variance of He or of Glorot, biases at zero", {
  set.seed(1)
  big <- matrix(rnorm(5 * 300), 5)
  rectified <- c("relu", "leaky_relu", "elu", "softplus", "gelu", "silu")
  for (activation in names(activation_functions)) {
    set.seed(2)
    fit <- vae(big, 100, encoder = c(200, 150), activation = activation, start = "random",
               control = train_control(epochs = 1, learning_rate = 1e-300))
    theta <- from_floats(fit$theta)
    for (i in seq_len(nrow(fit$layout))) {
      l <- fit$layout[i, ]
      if (l$into == 0) next
      values <- theta[l$offset + seq_len(l$size)]
      if (l$name == "log_variance") {
        expect_identical(values, rep(c(0, -4), l$out * c(l$into, 1)))
        next
      }
      weights <- values[seq_len(l$out * l$into)]
      hidden <- grepl("coder", l$name)
      variance <- if (hidden && activation %in% rectified) 2 / l$into else 2 / (l$into + l$out)
      # the variance of a sample variance is 2 v^2 / count
      expect_lt(abs(mean(weights^2) / variance - 1), 5 * sqrt(2 / length(weights)))
      expect_identical(values[-seq_along(weights)], numeric(l$out))
      expect_lt(abs(mean(weights)), 5 * sqrt(variance / length(weights)))
    }
  }
  expect_gt(ks.test(weights[1:5000] / sqrt(variance), "pnorm")$p.value, 1e-3)
})

test_that("beside the linear maps hidden layers start as they do without, and their heads at zero", {
  set.seed(1)
  big <- matrix(rnorm(400 * 300), 400)
  fit <- vae(big, 10, encoder = c(200, 150), epochs = 1, learning_rate = 1e-300)
  theta <- from_floats(fit$theta)
  weights <- lapply(split(fit$layout, fit$layout$name), function(l) {
    theta[l$offset + seq_len(l$out * l$into)]
  })
  for (name in c("encoder1", "encoder2", "decoder1", "decoder2")) {
    w <- weights[[name]]
    into <- fit$layout$into[fit$layout$name == name]
    expect_lt(abs(mean(w^2) * into / 2 - 1), 5 * sqrt(2 / length(w)))
  }
  for (name in c("mean", "log_variance", "output")) {
    expect_identical(unique(weights[[name]]), 0)
  }
  for (name in c("mean_linear", "output_linear")) expect_true(all(weights[[name]] != 0))
})

test_that("at random the output starts at the mean, and z at a small variance", {
  still <- function(...) {
    quick_vae(x, ..., start = "random", epochs = 1, learning_rate = 1e-300)
  }
  fit <- still(2, encoder = 5, center = TRUE)
  expect_equal(coef(fit)$output$bias, colMeans(x), tolerance = 1e-6)
  expect_equal(coef(still(2, encoder = 5, center = 1:6))$output$bias, 1:6, tolerance = 1e-6)
  expect_equal(coef(still(2, encoder = 5, center = FALSE))$output$bias, numeric(6))
  fit <- still(3, encoder = 5, latent_variance = "shared")
  expect_identical(unname(coef(fit)$log_variance), rep(-4, 3))
  expect_identical(unname(coef(still(3, encoder = 5))$log_variance$bias), rep(-4, 3))
  w <- coef(still(2, encoder = 5, noise = "network", sigma2 = 1:6))
  expect_identical(unname(w$log_sigma2$weights), matrix(0, 6, 5))
  expect_equal(unname(exp(w$log_sigma2$bias)), 1:6, tolerance = 1e-6)
})
