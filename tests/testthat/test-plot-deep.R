# Expected values come from posterior(), the history and from passes through the networks
# that are written here with the weights of coef(), not from the functions that draw.

flowers <- as.matrix(iris[1:4])
digits <- mnist1000$x[1:60, ] / 255
size <- c(28, 28)

built <- function(plot) {
  expect_s3_class(plot, "ggplot")
  expect_silent(built <- ggplot2::ggplot_build(plot))
  draw(print(plot))
  built$data
}

small <- function(x, k, ..., epochs = 5, batch_size = 30, learning_rate = 0.01) {
  control <- train_control(epochs = epochs, batch_size = batch_size,
                           learning_rate = learning_rate, patience = list(...)$stop)
  arguments <- list(...)
  arguments$stop <- NULL
  call <- c(list(x, k, encoder = 8, activation = "tanh", control = control, keep_data = TRUE),
            arguments)
  do.call(vae, call)
}

set.seed(1)
noise <- matrix(rnorm(40 * 30), 40)
fits <- list(
  two = small(flowers, 2, epochs = 30),
  one = small(iris[1:4], 1, validation = 0.2),
  first = small(flowers, 2, epochs = 1),
  random = small(flowers, 2, start = "random"),
  long = small(flowers, 3, epochs = 250, batch_size = 150),
  given = small(flowers, 2, condition = iris$Species, epochs = 10),
  numbers = small(flowers, 2, condition = iris$Petal.Width),
  # overfitted: the best epoch is not the last
  best = small(noise, 3, beta = schedule_warmup(20, 0.2), validation = noise[1:5, ] + 1,
               epochs = 40, learning_rate = 0.05, stop = 5),
  free = small(flowers, 3, free_bits = 3),
  many = small(noise, 70, epochs = 30),
  holes = small(replace(flowers, c(1, 160, 161), NA), 2),
  scaled = small(mtcars, 3, scale = TRUE),
  unnamed = small(unname(flowers), 4, noise = "feature"),
  digits = small(digits, 3),
  labelled = small(digits, 3, condition = factor(mnist1000$y[1:60])),
  pixels = small(mnist1000$x[1:60, ], 2, transform = logit_pixels())
)
images <- fits[c("digits", "labelled", "pixels")]
types <- c("history", "kl", "latent", "reconstructions", "samples", "traversal")

# Rows through a chain of dense layers.
pass <- function(h, layers) {
  for (l in layers) {
    h <- h %*% t(l$weights) + rep(l$bias, each = nrow(h))
    if (identical(l$activation, "tanh")) h <- tanh(h)
  }
  unname(h)
}

# With a head's map beside the hidden layers.
pass_beside <- function(input, layers, head) {
  out <- pass(input, c(layers, list(head)))
  if (is.null(head$linear)) out else out + unname(input %*% t(head$linear))
}

encoded <- function(fit, x, code = NULL) {
  w <- coef(fit)
  pass_beside(cbind(unname(x), code), w$encoder, w$mean)
}

decoded <- function(fit, z, code = NULL) {
  w <- coef(fit)
  pass_beside(cbind(z, code), w$decoder, w$output)
}

# The arguments of plot(), with some changed, as *_data() functions have them.
drawn <- function(fit, type, ...) {
  asked <- as.list(formals(plot.vae))
  asked <- asked[setdiff(names(asked), c("x", "type", "..."))]
  deep_data(fit, type, utils::modifyList(asked, list(...), keep.null = TRUE), environment())
}

same <- function(object, expected, ...) {
  expect_equal(object, expected, tolerance = 1e-5, ignore_attr = TRUE, ...)
}

# ---- all types -----------------------------------------------------------

test_that("every type of plot works for every kind of fit", {
  for (fit in fits[setdiff(names(fits), c("numbers", names(images)))]) {
    expect_draws(plot(fit), fit)
    for (type in types) expect_draws(plot(fit, type), fit)
  }
  for (fit in images) {
    for (type in types) expect_draws(plot(fit, type, dim = size), fit)
  }
  for (type in c("samples", "traversal")) {
    expect_draws(plot(fits$numbers, type, condition = 1), fits$numbers)
  }
  expect_draws(plot(fits$two, "latent", col = iris$Species), fits$two)
})

test_that("autoplot() draws every type", {
  skip_if_not_installed("ggplot2")
  for (type in types) built(ggplot2::autoplot(fits$one, type))
  for (type in types[4:6]) {
    built(ggplot2::autoplot(fits$given, type))
    built(ggplot2::autoplot(fits$labelled, type, dim = size))
  }
  for (name in c("free", "many")) built(ggplot2::autoplot(fits[[name]], "kl"))
  built(ggplot2::autoplot(fits$digits, "samples", dim = size, n = 1))
  built(ggplot2::autoplot(fits$holes, "reconstructions"))
  built(ggplot2::autoplot(fits$scaled, "traversal", from = mtcars[1, ]))
  built(ggplot2::autoplot(fits$numbers, "traversal", condition = 1))
  points <- built(ggplot2::autoplot(fits$two, "latent", col = iris$Species))[[1]]
  same(points$x, drawn(fits$two, "latent")$table$x)
  expect_identical(length(unique(points$colour)), 3L)
  history <- built(ggplot2::autoplot(fits$best))
  expect_setequal(history[[1]]$colour, COLOURS)
  expect_identical(history[[3]]$shape, 4)
  kl <- built(ggplot2::autoplot(fits$two, "kl"))
  expect_equal(kl[[2]]$y, sort(unname(fits$two$kl_dimensions), decreasing = TRUE))
})

test_that("plots leave par() and the user's layout alone", {
  kept <- c("mar", "oma", "mfrow", "cex", "las", "mgp", "tcl", "xpd", "cex.axis", "pty", "new")
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  graphics::par(mfrow = c(3, 4), mar = c(2, 2, 2, 2))
  before <- graphics::par(kept)
  for (type in types) plot(fits$two, type)
  for (type in types[4:6]) plot(fits$labelled, type, dim = size, main = "Title")
  plot(fits$scaled, "reconstructions")
  expect_identical(graphics::par(kept), before)
  expect_identical(graphics::par("mfg"), c(3L, 2L, 3L, 4L))   # the tenth panel
  plot(1)
  expect_identical(graphics::par("mar"), c(2, 2, 2, 2))
})

test_that("a small device does not stop a plot", {
  small <- function(code) draw(code, width = 2.2, height = 2.2)
  for (type in types) small(plot(fits$two, type))
  for (type in types[4:6]) small(plot(fits$labelled, type, dim = size))
  small(plot(fits$scaled, "reconstructions"))
})

test_that("graphical parameters of the user's prevail", {
  for (type in types) {
    expect_draws(plot(fits$two, type, main = "Title", xlab = "x", ylab = "y", cex.main = 2),
                 fits$two)
  }
  for (type in types[4:6]) {
    expect_draws(plot(fits$digits, type, dim = size, main = "Title", cex.main = 2), fits$digits)
  }
  expect_draws(plot(fits$two, ylim = c(-9, 0), pch = 2, cex = 2, axes = FALSE), fits$two)
  expect_draws(plot(fits$two, "kl", ylim = c(0, 9), xlim = c(0, 5), pch = 3, xaxt = "n"),
               fits$two)
  expect_draws(plot(fits$two, "reconstructions", pch = 3, col = "red", cex = 2), fits$two)
  expect_draws(plot(fits$two, "samples", pch = 3, xlim = c(0, 9)), fits$two)
  expect_draws(plot(fits$two, "traversal", lwd = 3, lty = 2), fits$two)
})

test_that("a plot does not touch the generator unless it is asked to", {
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  set.seed(5)
  before <- .Random.seed
  for (type in types) {
    plot(fits$two, type)
    plot(fits$pixels, type, dim = size)
  }
  expect_identical(.Random.seed, before)
  expect_identical(drawn(fits$digits, "samples"), drawn(fits$digits, "samples"))
  first <- drawn(fits$digits, "samples", seed = NULL)
  expect_false(identical(.Random.seed, before))
  expect_false(identical(drawn(fits$digits, "samples", seed = NULL), first))
  set.seed(5)
  expect_identical(drawn(fits$digits, "samples", seed = NULL), first)
})

# ---- history and KL ------------------------------------------------------

test_that("the history has the ELBO, the validation ELBO and another objective", {
  for (name in c("two", "first", "long", "scaled")) {
    fit <- fits[[name]]
    shown <- drawn(fit, "history")
    expect_identical(shown$curves$value, fit$history$elbo)
    expect_identical(shown$curves$iteration, fit$history$epoch)
    expect_identical(shown$ylab, "ELBO, nats per observation")
    expect_null(shown$final)
  }
  shown <- drawn(fits$one, "history")
  expect_identical(levels(shown$curves$series), c("ELBO", "validation"))
  expect_identical(shown$curves$value, c(fits$one$history$elbo, fits$one$history$validation))
  history <- fits$best$history
  shown <- drawn(fits$best, "history")
  expect_identical(levels(shown$curves$series), c("ELBO", "validation", "objective"))
  expect_identical(shown$ylab, "Nats per observation")
  expect_equal(shown$curves$value,
               c(history$reconstruction - history$kl, history$validation,
                 history$reconstruction - history$beta * history$kl))
  expect_identical(levels(drawn(fits$free, "history")$curves$series), c("ELBO", "objective"))
})

test_that("the best epoch is marked where it is not the last", {
  fit <- fits$best
  at <- 20L + which.max(fit$history$validation[-(1:20)])      # after the warm-up
  expect_lt(at, fit$iterations)
  shown <- drawn(fit, "history")
  expect_identical(shown$final$iteration, at)
  expect_identical(shown$final$value, fit$history$validation[at])
  expect_identical(shown$final$label, sprintf("best, epoch %d", at))
  expect_true(shown$ylim[1] <= shown$final$value && shown$ylim[2] >= shown$final$value)
  fit$history$validation <- NULL                # as with patience alone
  expect_identical(drawn(fit, "history")$final$value, fit$history$elbo[at])
})

test_that("values that are not finite are left out, and a fit without any is refused", {
  fit <- fits$one
  fit$history$validation[2] <- -Inf
  curves <- drawn(fit, "history")$curves
  expect_identical(curves$iteration[curves$series == "ELBO"], 1:5)
  expect_identical(curves$iteration[curves$series == "validation"], c(1L, 3:5))
  expect_draws(plot(fit), fit)
  fit$history$validation <- NaN
  expect_identical(drawn(fit, "history")$curves$value, fit$history$elbo)
  expect_warning(none <- small(flowers, 2, learning_rate = 1e30, epochs = 2), "diverged")
  expect_refused(plot(none), "`type` must be other than \"history\" for a fit without a finished")
  expect_draws(plot(none, "kl"), none)
})

test_that("a callback can draw the fit that it is given", {
  seen <- list()
  look <- function(epoch, metrics, fit) seen[[epoch]] <<- fit
  vae(flowers, 2, encoder = 8, keep_data = TRUE,
      control = train_control(epochs = 3, batch_size = 50, callback = look))
  expect_identical(drawn(seen[[3]], "history")$curves$iteration, 1:3)
  for (fit in seen) for (type in types) {
    expect_draws(plot(fit, type, newdata = flowers), fit)
  }
})

test_that("the linear model's log-likelihood is a level, where it is not far", {
  fit <- fits$two
  exact <- as.numeric(logLik(ppca(flowers, 2))) / 150
  shown <- drawn(fit, "history")
  expect_equal(shown$level, exact, tolerance = 1e-8)
  expect_true(shown$ylim[1] <= exact && exact <= shown$ylim[2])
  # the curves take up half of the axis at least
  reach <- range(fit$history$elbo)
  at <- function(level) {
    fit$linear$loglik <- level
    drawn(fit, "history")
  }
  near <- at(reach[2] + 0.9 * diff(reach))
  expect_identical(near$ylim, c(reach[1], near$level))
  near <- at(reach[1] - 0.9 * diff(reach))
  expect_identical(near$ylim, c(near$level, reach[2]))
  expect_identical(at(mean(reach))$ylim, reach)
  for (far in list(reach[2] + 1.1 * diff(reach), reach[1] - 1.1 * diff(reach), NA_real_, NULL)) {
    expect_null(at(far)$level)
    expect_identical(at(far)$ylim, reach)
  }
  expect_draws(plot(fit, ylim = reach), fit)
  for (name in c("first", "best", "long")) expect_draws(plot(fits[[name]]), fits[[name]])
  skip_if_not_installed("ggplot2")
  layers <- built(ggplot2::autoplot(fit))
  expect_equal(layers[[length(layers)]]$yintercept, exact, tolerance = 1e-8)
  expect_match(ggplot2::autoplot(fit)$labels$subtitle, "Dashed: linear model (pPCA)", fixed = TRUE)
})

test_that("where the start was best a sentence says so", {
  set.seed(1)
  fit <- vae(flowers, 2, encoder = 4, batch_size = 10, learning_rate = 5,
             control = train_control(patience = 1))
  expect_identical(fit$iterations, 0L)
  expect_draws(plot(fit), fit)
  expect_draws(plot(fit, main = "Iris"), fit)
  said <- "No epochs were made: the linear solution, where training starts, was best."
  expect_identical(drawn(fit, "history")$text, said)
  skip_if_not_installed("ggplot2")
  layers <- built(ggplot2::autoplot(fit))
  expect_identical(gsub("\n", " ", layers[[1]]$label), said)
})

# From the posterior of every row, by the definition.
mean_kl <- function(q) colMeans(0.5 * (q$variance - log(q$variance) + q$mean^2 - 1))

test_that("KLs are drawn in decreasing order, collapsed ones apart", {
  for (name in c("two", "many", "digits")) {
    fit <- fits[[name]]
    kl <- mean_kl(posterior(fit))
    shown <- drawn(fit, "kl")
    same(shown$table$kl, sort(kl, decreasing = TRUE))
    expect_identical(shown$table$dimension, paste0("z", order(-fit$kl_dimensions)))
    expect_identical(shown$table$state == "collapsed", shown$table$kl < 0.01)
    expect_null(shown$level)
  }
  expect_setequal(as.character(drawn(fits$many, "kl")$table$state), c("in use", "collapsed"))
  other <- drawn(fits$two, "kl", newdata = flowers[1:20, ])
  same(other$table$kl, sort(mean_kl(posterior(fits$two, flowers[1:20, ])), decreasing = TRUE))
  expect_identical(drawn(fits$free, "kl")$level, 3)
})

# ---- rows ----------------------------------------------------------------

test_that("latent positions are the encoder's means in the dimensions of largest KL", {
  fit <- fits$long
  order <- order(-fit$kl_dimensions)
  shown <- drawn(fit, "latent")
  z <- encoded(fit, flowers)
  same(as.matrix(shown$table), z[, order[1:2]])
  expect_identical(shown$labels, sprintf("z%d (KL %.3g nats)", order[1:2],
                                         fit$kl_dimensions[order[1:2]]))
  same(drawn(fit, "latent", dims = 3:2)$table$y, z[, 2])
  same(drawn(fit, "latent", newdata = flowers[9:7, ])$table$x, z[9:7, order[1]])
  code <- outer(as.character(iris$Species), levels(iris$Species), "==") + 0
  given <- drawn(fits$given, "latent", dims = 1:2, newdata = flowers, condition = iris$Species)
  same(as.matrix(given$table), encoded(fits$given, flowers, code))
  single <- drawn(fits$one, "latent")
  expect_identical(single$table$x, seq_len(120))
  same(single$table$y, encoded(fits$one, flowers[-fits$one$held_out, ]))
})

test_that("colours of all rows are those of the rows trained on", {
  fit <- fits$one
  own <- iris$Species[-fit$held_out]
  expect_identical(drawn(fit, "latent", col = iris$Species)$colours$factor, own)
  expect_identical(drawn(fit, "latent", col = own)$colours$factor, own)
  expect_refused(plot(fit, "latent", col = iris$Species, newdata = flowers[1:9, ]),
                 "`col` must be colours or a factor, one or as many as observations (9)")
})

test_that("the rows are found where plot() was called", {
  local_fit <- function() {
    mine <- flowers[1:50, ]
    group <- iris$Species[c(1:20, 101:130)]
    fit <- vae(mine, 2, encoder = 4, condition = group,
               control = train_control(epochs = 1, batch_size = 50))
    for (type in types) {
      expect_draws(plot(fit, type), fit)
      if (requireNamespace("ggplot2", quietly = TRUE)) {
        expect_s3_class(ggplot2::autoplot(fit, type), "ggplot")
      }
    }
    fit
  }
  fit <- local_fit()
  expect_refused(plot(fit, "latent"), "`newdata` must be given: the fit holds no data")
  expect_refused(plot(fit, "latent", newdata = flowers), "`condition` must be given")
  # for these data are a bonus
  expect_draws(plot(fit, "samples"), fit)
  expect_identical(levels(drawn(fit, "samples")$table$source), "draws (500)")
})

test_that("reconstructions are the decoder's means at the encoder's", {
  fit <- fits$two
  shown <- drawn(fit, "reconstructions")
  y <- decoded(fit, encoded(fit, flowers))
  same(shown$table$data, as.vector(flowers))
  same(shown$table$reconstruction, as.vector(y))
  share <- 100 * (1 - colSums((flowers - y)^2) / colSums(scale(flowers, scale = FALSE)^2))
  expect_identical(levels(shown$table$feature),
                   sprintf("%s: %.0f %%", colnames(flowers), share))
  few <- drawn(fit, "reconstructions", n = 7, features = c("Petal.Width", "Sepal.Length"))
  same(few$table$data, as.vector(flowers[1:7, c(4, 1)]))
  same(few$table$reconstruction, as.vector(y[1:7, c(4, 1)]))
  expect_identical(drawn(fit, "reconstructions", n = 7, features = c(4, 1)), few)
  # a missing cell has no place over the data
  holes <- drawn(fits$holes, "reconstructions")
  same(holes$table$data, flowers[-c(1, 160, 161)])
})

test_that("of many features those that vary most are drawn, in their order", {
  shown <- drawn(fits$digits, "reconstructions")
  spread <- apply(digits, 2, var)
  expect_identical(sub(":.*", "", levels(shown$table$feature)),
                   paste0("x", sort(order(-spread)[1:9])))
  constant <- small(cbind(flowers, c = 1), 2)
  expect_identical(levels(drawn(constant, "reconstructions")$table$feature)[5], "c")
})

test_that("images are of the data above their reconstructions", {
  fit <- fits$digits
  shown <- drawn(fit, "reconstructions", dim = size, n = 4)
  same(shown$data, digits[1:4, ])
  same(shown$reconstruction, decoded(fit, encoded(fit, digits[1:4, ])))
  expect_identical(shown$limits, c(0, 1))
  expect_identical(drawn(fit, "reconstructions", dim = size, limits = c(-1, 2))$limits, c(-1, 2))
  expect_identical(nrow(drawn(fit, "reconstructions", dim = size)$data), 10L)
  # three columns of two rows of images each, and a second block for the fourth
  placed <- place_pairs(shown, 0.9)
  expect_identical(placed$images, rbind(shown$data, shown$reconstruction))
  columns <- max(placed$column)
  expect_equal(placed$top[5:8] - placed$top[1:4], rep(28 * 1.1, 4))
  expect_identical(placed$left[5:8], placed$left[1:4])
  expect_false(anyDuplicated(data.frame(placed$left, placed$top)) > 0)
  expect_identical(placed$rows, rep(c("data", "decoded"), ceiling(4 / columns)))
  expect_identical(max(place_pairs(shown, 100)$column), 4)
  expect_identical(max(place_pairs(shown, 0.01)$column), 1)
})

# ---- what models make ----------------------------------------------------

test_that("samples are simulate()'s", {
  fit <- fits$digits
  shown <- drawn(fit, "samples", dim = size)
  same(shown$images, simulate(fit, 30, seed = 1, type = "mean"))
  expect_identical(shown$title, "Means at draws from the prior")
  expect_identical(shown$limits, c(0, 1))               # the range of the data
  fit$x <- NULL
  fit$call$x <- quote(no_such_data)
  expect_identical(drawn(fit, "samples", dim = size)$limits, range(shown$images))
  expect_identical(drawn(fit, "samples", dim = size, newdata = 2 * digits)$limits, c(0, 2))
  noisy <- drawn(fit, "samples", dim = size, n = 3, sampling = "ancestral", seed = 4)
  same(noisy$images, simulate(fit, 3, seed = 4, type = "ancestral"))
  expect_identical(noisy$title, "Draws from the model")
})

test_that("samples of a model with a condition have their labels", {
  fit <- fits$labelled
  levels <- as.character(0:9)
  shown <- drawn(fit, "samples", dim = size)
  expect_identical(shown$labels, rep(levels, 6))
  expect_identical(shown$ncol, 10L)
  same(shown$images, simulate(fit, 60, 1, "mean", condition = rep(levels, 6)))
  sevens <- drawn(fit, "samples", dim = size, condition = "7", n = 2)
  same(sevens$images, simulate(fit, 2, 1, "mean", condition = "7"))
  expect_null(sevens$labels)
  expect_identical(sevens$title, "Means at draws from the prior, condition 7")
  three <- drawn(fit, "samples", dim = size, condition = c("3", "1", "3"))
  expect_identical(three$labels, c("3", "1", "3"))
  expect_identical(nrow(three$images), 3L)
  species <- drawn(fits$given, "samples", n = 7)
  expect_identical(sum(species$table$source == "draws (7)"), 7L)
})

test_that("without `dim` draws are over the data in two features", {
  fit <- fits$two
  shown <- drawn(fit, "samples", n = 50)
  draws <- unname(simulate(fit, 50, seed = 1, type = "ancestral"))[, 1:4]
  two <- sort(order(-apply(draws, 2, var))[1:2])
  expect_identical(shown$labels, colnames(flowers)[two])
  same(as.matrix(shown$table[1:2]), rbind(unname(flowers), draws)[, two])
  expect_identical(as.vector(table(shown$table$source)), c(150L, 50L))
  single <- drawn(fit, "samples", n = 5, features = "Sepal.Width", sampling = "mean",
                  newdata = flowers[1:3, ])
  expect_identical(single$labels, c("Observation or draw", "Sepal.Width"))
  same(single$table$y, c(flowers[1:3, 2], simulate(fit, 5, 1, "mean")[, 2]))
  expect_identical(single$table$x, c(1:3, 1:5))
})

test_that("a traversal moves one latent dimension and nothing else", {
  fit <- fits$digits
  order <- order(-fit$kl_dimensions)
  shown <- drawn(fit, "traversal", dim = size)
  expect_identical(shown$rows, paste0("z", order))
  expect_identical(shown$columns, as.character(-3:3))
  for (i in 1:3) {
    z <- matrix(0, 7, 3)
    z[, order[i]] <- -3:3
    same(shown$images[shown$row == i, ], decoded(fit, z))
  }
  moved <- drawn(fit, "traversal", dim = size, dims = 2, n = 3, reach = 1.5, from = digits[5, ])
  z <- encoded(fit, digits[5, , drop = FALSE])[c(1, 1, 1), ]
  z[, 2] <- c(-1.5, 0, 1.5)
  same(moved$images, decoded(fit, z))
  expect_identical(moved$columns, c("-1.5", "0", "1.5"))
  expect_identical(moved$note, "others as in `from`")
  there <- drawn(fit, "traversal", dim = size, dims = 2, n = 3, reach = 1.5, from = z[2, ])
  z[, c(1, 3)] <- z[c(2, 2, 2), c(1, 3)]
  same(there$images, decoded(fit, z))
  pixels <- drawn(fits$pixels, "traversal", dim = size)
  expect_true(all(pixels$images >= 0 & pixels$images <= 256))
})

test_that("without `dim` a traversal is the change from the middle", {
  fit <- fits$two
  shown <- drawn(fit, "traversal", dims = 2:1, n = 4, reach = 2)
  value <- c(-2, -2 / 3, 2 / 3, 2)
  middle <- decoded(fit, matrix(0, 4, 2))
  expect_identical(shown$rows, c("z2", "z1"))
  same(shown$change[[1]], decoded(fit, cbind(0, value)) - middle)
  same(shown$change[[2]], decoded(fit, cbind(value, 0)) - middle)
  expect_equal(shown$value, value)
  expect_identical(shown$features, colnames(flowers))
  expect_identical(shown$reach, max(abs(unlist(shown$change))))
  one <- drawn(fit, "traversal", dims = 1, n = 4, reach = 2, features = "Petal.Length")
  same(one$change[[1]][, 1], shown$change[[2]][, 3])
  # of many features those that move most; with `scale`, divided by it
  fit <- fits$scaled
  wide <- drawn(fit, "traversal", dims = 1)
  z <- cbind(seq(-3, 3, length.out = 61), 0, 0)
  change <- decoded(fit, z) - decoded(fit, 0 * z)
  sd <- apply(mtcars, 2, sd) * sqrt(31 / 32)
  change <- change / rep(sd, each = 61)
  most <- sort(order(-apply(change, 2, function(v) diff(range(v))))[1:8])
  expect_identical(wide$features, names(mtcars)[most])
  same(wide$change[[1]], change[, most])
})

test_that("a traversal is at one condition, which the plot tells", {
  fit <- fits$given
  at <- function(level) {
    code <- matrix(rep(levels(iris$Species) == level, each = 61) + 0, 61)
    z <- cbind(seq(-3, 3, length.out = 61), 0)
    decoded(fit, z, code) - decoded(fit, 0 * z, code)
  }
  shown <- drawn(fit, "traversal", dims = 1, condition = "virginica")
  same(shown$change[[1]], at("virginica"))
  expect_identical(shown$note, "condition virginica")
  same(drawn(fit, "traversal", dims = 1)$change[[1]], at("setosa"))
  expect_identical(drawn(fit, "traversal", from = flowers[1, ])$note,
                   c("others as in `from`", "condition setosa"))
})

# ---- wrong calls ---------------------------------------------------------

test_that("bad arguments of plot() are named", {
  fit <- fits$two
  expect_refused(plot(fit, "loadings"), "`type` must be one of \"history\", \"kl\"")
  expect_refused(plot(fits$long, "latent", dims = 4),
                 "`dims` must be at most 2 distinct whole numbers between 1 and 3, not 4")
  expect_refused(plot(fit, "latent", newdata = flowers[, 1:3]), "`newdata` must have")
  expect_refused(plot(fit, "reconstructions", dim = c(3, 3)), "whose product is 4, not 3 x 3")
  expect_refused(plot(fit, "reconstructions", n = 151), "`n` must be a whole number between 1 and 150")
  expect_refused(plot(fit, "samples", n = 0), "`n` must be a whole number, 1 or more, not 0")
  expect_refused(plot(fit, "traversal", n = 1), "`n` must be a whole number, 2 or more, not 1")
  expect_refused(plot(fit, "samples", features = 1:3),
                 "`features` must be at most 2 distinct names or numbers of features")
  expect_refused(plot(fit, "traversal", features = "Petal"), "of features, not \"Petal\"")
  expect_refused(plot(fit, "samples", sampling = "map"), "`sampling` must be one of \"mean\"")
  expect_refused(plot(fit, "samples", seed = "a"), "`seed` must be a finite number")
  expect_refused(plot(fit, "traversal", reach = 0), "`reach` must be a finite number above 0")
  expect_refused(plot(fit, "traversal", from = 1:3), "`from` must be one row of data, 4 numbers")
  expect_refused(plot(fits$digits, "samples", dim = size, limits = 1), "`limits` must be NULL or")
  for (type in types[3:6]) {
    expect_refused(plot(fit, type, condition = "a"), "`condition` must be left out")
  }
  for (type in c("samples", "traversal")) {
    expect_refused(plot(fits$numbers, type), "`condition` must be given")
    expect_refused(plot(fits$given, type, condition = "rose"),
                   "`condition` must have the values \"setosa\", \"versicolor\", \"virginica\"")
    expect_refused(plot(fits$given, type, condition = mean), "`condition` must be a factor")
  }
  expect_refused(plot(fits$given, "traversal", condition = iris$Species),
                 "`condition` must be one value for a traversal")
  expect_refused(plot(fits$given, "latent", newdata = flowers, condition = iris$Species[1:9]),
                 "`condition` must have a value for each of the 150 rows, not 9")
  expect_refused(plot(fits$given, "reconstructions", n = 5, newdata = flowers,
                      condition = iris$Species[1:9]), "of the 150 rows, not 9")
  skip_if_not_installed("ggplot2")
  expect_refused(ggplot2::autoplot(fit, "loadings"), "`type` must be one of")
  expect_refused(ggplot2::autoplot(fit, main = "Title"), "Unused argument in `...`: main")
})

test_that("features without an observed cell are not drawn", {
  set.seed(1)
  fit <- vae(iris[1:4], 2, encoder = 3, control = train_control(epochs = 1))
  gone <- as.matrix(iris[1:4])
  gone[, 2] <- NA
  drawn <- elbo:::reconstructions_data(fit, list(newdata = gone), NULL, NULL, NULL, NULL)
  expect_match(levels(drawn$table$feature), "^(Sepal.Length|Petal)")
  expect_length(levels(drawn$table$feature), 3)
  expect_draws(plot(fit, "reconstructions", newdata = gone), fit)
  expect_refused(plot(fit, "reconstructions", newdata = gone, features = "Sepal.Width"),
                 "`features` must have observed cells, not \"Sepal.Width\".")
  expect_refused(plot(fit, "reconstructions", newdata = gone * NA),
                 "`newdata` must have an observed cell")
})
