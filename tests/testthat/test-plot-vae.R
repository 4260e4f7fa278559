# Expected values come from eigen() and from the definitions, not from the package.

flowers <- as.matrix(iris[1:4])
n <- 150
s <- cov(flowers) * (n - 1) / n
lambda <- eigen(s)$values                          # 4.2, 0.24, 0.08, 0.02

built <- function(plot) {
  expect_s3_class(plot, "ggplot")
  expect_silent(built <- ggplot2::ggplot_build(plot))
  draw(print(plot))
  built$data
}

fixed <- function(k, sigma2, ...) {
  linear_vae(flowers, k, sigma2 = sigma2, learn_sigma2 = FALSE, ...)
}

set.seed(1)
noise <- matrix(rnorm(20 * 120), 20)
adam <- function(...) train_control(epochs = 30, learning_rate = 0.02, ...)
fits <- list(
  em = linear_vae(flowers, 2),
  one = linear_vae(flowers, 1, optimizer = "exact"),
  unnamed = linear_vae(unname(flowers), 2, optimizer = "lbfgs"),
  adam = linear_vae(flowers, 2, optimizer = "adam", control = adam()),
  batches = linear_vae(flowers, 2, optimizer = "adam", control = adam(batch_size = 50)),
  stochastic = linear_vae(flowers, 2, elbo = "stochastic", control = adam()),
  partly = fixed(3, 0.1, optimizer = "exact"),
  collapsed = fixed(2, 100, optimizer = "exact"),
  beta = fixed(3, 0.05, beta = 2, optimizer = "exact"),
  annealed = linear_vae(flowers, 2, beta = seq(0.1, 1, length.out = 15)),
  wide = linear_vae(noise, 3),
  beyond = linear_vae(noise, 30, sigma2 = 0.5, learn_sigma2 = FALSE, optimizer = "exact"),
  many = linear_vae(mnist1000$x[, 300:399] / 255, 90, sigma2 = 0.01, learn_sigma2 = FALSE,
                    optimizer = "exact"),
  ppca = as_linear_vae(ppca(flowers, 2)),
  scaled = linear_vae(~ log(Sepal.Length) + Petal.Length + Petal.Width, 1, data = iris,
                      scale = TRUE)
)
iterative <- Filter(function(fit) fit$iterations > 0, fits)

# KL of every observation and dimension, by the definition.
latent_kl <- function(fit, x) {
  z <- sweep(x, 2, colMeans(x)) %*% t(fit$V)
  t(0.5 * (fit$D - log(fit$D) + t(z)^2 - 1))
}

# ---- linear VAEs ---------------------------------------------------------

test_that("every type of plot works for every kind of fit", {
  for (fit in fits) {
    expect_draws(plot(fit), fit)
    for (type in c("kl", "scores", "loadings", "scree")) expect_draws(plot(fit, type), fit)
  }
  for (fit in iterative) expect_draws(plot(fit, "history"), fit)
  expect_draws(plot(fits$many, "loadings", dim = c(4, 25)), fits$many)
  expect_draws(plot(fits$em, "scores", col = iris$Species), fits$em)
})

test_that("graphical parameters of the user's prevail", {
  fit <- fits$em
  for (type in c("kl", "history", "scores", "loadings", "scree")) {
    expect_draws(plot(fit, type, main = "Title", xlab = "x", cex.main = 2), fit)
  }
  expect_draws(plot(fit, ylim = c(0, 9), xlim = c(0, 5), pch = 3, las = 0, xaxt = "n"), fit)
  expect_draws(plot(fit, yaxt = "n", ylab = "KL"), fit)
  expect_draws(plot(fit, "history", ylim = c(-9, 0), pch = 2, cex = 2,
                    cex.axis = 0.5, axes = FALSE), fit)
})

test_that("plots leave par() and the user's layout alone", {
  kept <- c("mar", "oma", "mfrow", "cex", "las", "mgp", "tcl", "xpd", "cex.axis", "pty")
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  graphics::par(mfrow = c(3, 4), mar = c(2, 2, 2, 2))
  before <- graphics::par(kept)
  for (type in c("kl", "history", "scores", "loadings", "scree")) plot(fits$em, type)
  collapse <- posterior_collapse(fits$em)
  plot(collapse)
  plot(stability(fits$em))
  hill <- landscape(fits$em, c(1, 2))
  plot(hill)
  plot(hill, "persp")
  ae <- linear_ae(flowers, 2)
  plot(ae)
  plot(ae, "history")
  expect_identical(graphics::par(kept), before)
  expect_identical(graphics::par("mfg"), c(3L, 3L, 3L, 4L)) # the eleventh panel
})

test_that("a small device does not stop a plot", {
  small <- function(code) draw(code, width = 2.2, height = 2.2)
  for (type in c("kl", "history", "scores", "loadings", "scree")) small(plot(fits$em, type))
  small(plot(posterior_collapse(fits$em)))
  small(plot(landscape(fits$em, c(1, 2))))
  small(plot(landscape(fits$em, c(1, 2)), "persp"))
})

test_that("KLs are drawn in decreasing order, beside those of the optimum", {
  for (name in c("em", "adam", "partly", "beta", "stochastic", "collapsed")) {
    fit <- fits[[name]]
    drawn <- kl_data(fit)$table
    own <- colMeans(latent_kl(fit, flowers))
    expect_equal(drawn$kl, unname(sort(own, decreasing = TRUE)))
    expect_identical(drawn$dimension, paste0("z", order(-own)))
    noise <- fit$beta * fit$sigma2
    expect_equal(drawn$theory, 0.5 * log(pmax(lambda[seq_len(fit$k)] / noise, 1)))
    expect_identical(drawn$state == "collapsed", drawn$kl < 0.01)
  }
  expect_identical(as.character(kl_data(fits$partly)$table$state),
                   c("in use", "in use", "collapsed"))
  expect_equal(kl_data(fits$beta)$table$theory, c(0.5 * log(lambda[1:2] / 0.1), 0))
  expect_equal(kl_data(fits$beta)$table$kl, kl_data(fits$beta)$table$theory)
  expect_true(all(kl_data(fits$collapsed)$table$kl == 0))
})

test_that("dimensions beyond the rank have no KL at the optimum", {
  drawn <- kl_data(fits$beyond)$table
  values <- svd(scale(noise, scale = FALSE))$d^2 / 20
  expect_equal(drawn$theory[1:19], 0.5 * log(values[1:19] / 0.5))
  expect_identical(drawn$theory[20:30], numeric(11))
  expect_identical(as.character(drawn$state[20:30]), rep("collapsed", 11))
  ascent <- linear_vae(noise, 30, sigma2 = 0.5, learn_sigma2 = FALSE)
  expect_equal(kl_data(ascent)$table$theory, drawn$theory)
  expect_equal(collapse_data(posterior_collapse(ascent))$predicted, 100 * 11 / 30)
})

test_that("dimensions have their names where there is room", {
  expect_identical(kl_names(kl_data(fits$em)), c("z1", "z2"))
  expect_null(kl_names(kl_data(fits$many)))
  expect_identical(kl_axis_label(kl_data(fits$many)), "Latent dimension, by decreasing KL")
})

test_that("the history is the ELBO, and the objective where that is another", {
  for (name in c("em", "unnamed", "adam", "wide")) {
    fit <- fits[[name]]
    drawn <- vae_history(fit)
    expect_identical(levels(drawn$curves$series), "ELBO")
    expect_identical(drawn$curves$iteration, fit$history$iteration)
    expect_identical(drawn$curves$value, fit$history$elbo)
    expect_null(drawn$final)
    expect_identical(drawn$ylab, "ELBO, nats per observation")
  }
  last <- tail(vae_history(fits$em)$curves$value, 1)
  # Lemma 1: log N(x; mean, C) with C of the MLE, per observation
  noise <- mean(lambda[3:4])
  expect_equal(last, -0.5 * (4 * log(2 * pi) + sum(log(c(lambda[1:2], noise, noise))) + 4))
  drawn <- vae_history(fits$annealed)
  expect_identical(levels(drawn$curves$series), c("ELBO", "objective (KL weighted by beta)"))
  history <- fits$annealed$history
  expect_equal(drawn$curves$value,
               c(history$reconstruction - history$kl,
                 history$reconstruction - history$beta * history$kl))
  labels <- vapply(fits[c("em", "unnamed", "adam")], function(fit) vae_history(fit)$xlab, "")
  expect_identical(unname(labels), c("Rounds of coordinate ascent",
                                     "Evaluations of the objective", "Epochs"))
})

test_that("where the history is of estimates the exact ELBO is marked", {
  for (name in c("stochastic", "batches")) {
    fit <- fits[[name]]
    drawn <- vae_history(fit)
    expect_identical(drawn$final$iteration, 30L)
    expect_equal(drawn$final$value, elbo(fit, flowers)[["elbo"]])
    expect_true(all(drawn$final$value >= drawn$ylim[1], drawn$final$value <= drawn$ylim[2]))
  }
})

test_that("a wild beginning is left off the axis, and nothing else is", {
  end <- 1 - 0.9^(1:27)
  wild <- history_curves(1:30, list(a = c(-1000, -100, -10, end)), "round", "x", "y")
  expect_equal(wild$ylim, range(end))
  expect_identical(wild$note, "first 3 rounds off the axis")
  expect_identical(wild$curves$value[1], -1000)
  falling <- history_curves(1:30, list(a = -c(-1000, -100, -10, end)), "round", "x", "y")
  expect_equal(falling$ylim, range(-end))
  one <- history_curves(1:10, list(a = c(-99, 1:9)), "epoch", "x", "y")
  expect_identical(one$note, "first epoch off the axis")
  expect_equal(one$ylim, c(1, 9))
  for (tame in list(1:30, c(-1000, -100, 1:7), c(end, -1000), rep(2, 30), 5, c(-9, rep(1, 20)))) {
    drawn <- history_curves(seq_along(tame), list(a = tame), "round", "x", "y")
    expect_equal(drawn$ylim, range(tame))
    expect_null(drawn$note)
  }
})

test_that("the scree has beta sigma2 for its line", {
  scree <- scree_data(fits$beta, NULL, NULL)
  expect_equal(scree$sigma2, 0.1)
  expect_equal(scree$table$eigenvalue, lambda)
  expect_identical(scree$table$used, c(TRUE, TRUE, FALSE, FALSE))
  expect_equal(scree_data(fits$em, NULL, NULL)$sigma2, mean(lambda[3:4]), tolerance = 1e-6)
})

test_that("dimensions are chosen by KL, and their axes give it", {
  fit <- fits$em
  turned <- fit
  turned$kl_dimensions <- rev(fit$kl_dimensions)   # as Adam might have left them
  expect_identical(colnames(loadings_data(turned, NULL)$loadings), c("z2", "z1"))
  kl <- colMeans(latent_kl(fit, flowers))
  expect_identical(scores_data(fit, NULL, NULL)$labels,
                   sprintf("z%d (KL %.3g nats)", 1:2, kl))
  drawn <- scores_data(fit, 2:1, NULL)
  z <- sweep(flowers, 2, colMeans(flowers)) %*% t(fit$V)
  expect_equal(drawn$table, data.frame(x = z[, 2], y = z[, 1]), ignore_attr = TRUE)
})

test_that("bad arguments of plot() are named", {
  fit <- fits$partly
  expect_refused(plot(fit, "biplot"), "`type` must be one of \"kl\", \"history\"")
  for (closed in fits[c("partly", "ppca")]) {
    expect_refused(plot(closed, "history"),
                   paste("`type` must be \"kl\", \"scores\", \"loadings\" or \"scree\" for a fit in",
                         "closed form, not \"history\": only an iterative optimiser has one"))
  }
  expect_refused(plot(fit, "scores", dims = 4),
                 "`dims` must be at most 2 distinct whole numbers between 1 and 3, not 4")
  expect_refused(plot(fit, "loadings", dim = c(3, 3)), "whose product is 4, not 3 x 3")
  expect_refused(plot(fit, "scree", n = 5), "`n` must be a whole number between 1 and 4")
})

# ---- posterior collapse --------------------------------------------------

# Percentage of collapsed dimensions at one eps, by the definition.
percent_collapsed <- function(kl, eps, delta) 100 * mean(colMeans(kl < eps) >= 1 - delta)

test_that("the curve over eps is the definition's", {
  for (name in c("em", "adam", "partly", "beta", "collapsed", "stochastic")) {
    kl <- latent_kl(fits[[name]], flowers)
    for (delta in c(0, 0.01, 0.3)) {
      data <- collapse_data(posterior_collapse(fits[[name]], eps = 0.1, delta = delta))
      grid <- c(1e-6, 0.01, 0.1, 0.3, 0.7, 1.3, 2, 3, 5, 9, 30)
      drawn <- data$steps$percent[findInterval(grid, data$steps$eps)]
      expect_equal(drawn, vapply(grid, percent_collapsed, 0, kl = kl, delta = delta))
      expect_equal(data$chosen$percent, percent_collapsed(kl, 0.1, delta))
    }
  }
})

test_that("posterior collapse is drawn from none to all collapsed", {
  for (fit in fits) {
    collapse <- posterior_collapse(fit)
    expect_draws(plot(collapse), collapse)
    data <- collapse_data(collapse)
    inside <- steps_between(data$steps, data$xlim)
    expect_identical(range(inside$eps), data$xlim)
    expect_equal(tail(inside$percent, 1), 100)
    expect_false(is.unsorted(inside$percent))
    expect_true(data$xlim[1] < 0.01 && data$xlim[2] > 0.01 && data$xlim[1] > 1e-5)
  }
  none <- collapse_data(posterior_collapse(fits$em))
  expect_identical(none$steps$percent[1], 0)
  expect_identical(none$predicted, 0)
  # nor does it where the theory says nothing
  silent <- posterior_collapse(vae(flowers, 2, encoder = 4, noise = "feature",
                                   control = train_control(epochs = 2, batch_size = 50)))
  expect_null(collapse_data(silent)$predicted)
  expect_draws(plot(silent), silent)
  if (requireNamespace("ggplot2", quietly = TRUE)) {
    expect_length(ggplot2::autoplot(silent)$layers, 3)
    expect_length(ggplot2::autoplot(posterior_collapse(fits$em))$layers, 4)
  }
  all <- collapse_data(posterior_collapse(fits$collapsed))
  expect_identical(all$steps, data.frame(eps = 0, percent = 100))
  expect_identical(all$predicted, 100)
  expect_equal(collapse_data(posterior_collapse(fits$beyond))$predicted, 100 * 11 / 30)
})

test_that("posterior collapse takes other limits and axes", {
  collapse <- posterior_collapse(fits$partly)
  expect_draws(plot(collapse, xlim = c(1e-9, 1e3), ylim = c(20, 40), main = "Title"), collapse)
  expect_draws(plot(collapse, log = "", xlim = c(0, 5), xaxt = "n"), collapse)
  own <- posterior_collapse(ppca(flowers, 2))
  expect_draws(plot(own), own)
})

test_that("steps are cut at the limits", {
  steps <- data.frame(eps = c(0, 1, 3), percent = c(0, 50, 100))
  expect_identical(steps_between(steps, c(0.5, 2)),
                   data.frame(eps = c(0.5, 1, 2), percent = c(0, 50, 50)))
  expect_identical(steps_between(steps, c(4, 5)),
                   data.frame(eps = c(4, 5), percent = c(100, 100)))
})

# ---- stability -----------------------------------------------------------

test_that("directions have their states", {
  data <- stability_data(stability(fits$partly, sigma2 = 0.05), NULL, NULL)
  expect_equal(data$table$eigenvalue, lambda)
  # two in use; the third would wake up below 0.08, the fourth would not
  expect_identical(as.character(data$table$state),
                   c("in use", "in use", "unused, not stable", "unused, stable"))
  expect_identical(data$sigma2, 0.05)
  expect_true(data$log)
  at <- stability_data(stability(fits$partly), 3, FALSE)
  expect_identical(as.character(at$table$state), c("in use", "in use", "unused, stable"))
  expect_identical(at$sigma2, 0.1)
  expect_false(at$log)
})

test_that("stability is drawn for every kind of fit", {
  for (fit in fits[c("em", "one", "partly", "collapsed", "beta", "beyond", "many", "ppca")]) {
    stable <- stability(fit)
    expect_draws(plot(stable), stable)
  }
  stable <- stability(ppca(flowers, 2))
  expect_draws(plot(stable, n = 2, log = FALSE, main = "Title", ylim = c(0, 9)), stable)
})

test_that("all directions that matter are shown, but not all others", {
  many <- stability(ppca(mnist1000$x[, 300:499] / 255, 20))
  expect_identical(nrow(stability_data(many, NULL, NULL)$table), 40L)
  few <- stability(ppca(mnist1000$x[, 300:499] / 255, 2))
  expect_identical(nrow(stability_data(few, NULL, NULL)$table), 30L)
})

test_that("bad arguments of plot.stability() are named", {
  stable <- stability(fits$partly)
  expect_refused(plot(stable, n = 5), "`n` must be a whole number between 1 and 4, not 5")
  expect_refused(plot(stable, log = 1), "`log` must be TRUE or FALSE")
  changed <- stable
  changed$in_use <- NULL
  expect_refused(plot(changed), "`x` must be as stability() returned it")
})

# ---- landscape -----------------------------------------------------------

hill <- function(sigma2, ...) landscape(ppca(flowers, 1), c(2, 3), 1, sigma2 = sigma2, ...)

# Mean log-likelihood with W = (kept first column, a u_2, b u_3), by the definition.
gaussian <- function(a, b, sigma2) {
  u <- eigen(s)$vectors
  c <- sigma2 * diag(4) + (lambda[1] - sigma2) * tcrossprod(u[, 1]) +
    a^2 * tcrossprod(u[, 2]) + b^2 * tcrossprod(u[, 3])
  -0.5 * (4 * log(2 * pi) + as.numeric(determinant(c)$modulus) + sum(diag(solve(c, s))))
}

test_that("the landscape is relative to the collapsed point, on grids without it too", {
  for (points in c(7, 8)) {
    data <- landscape_data(hill(0.05, points = points), 10)
    expected <- outer(data$a, data$b, Vectorize(function(a, b) gaussian(a, b, 0.05))) -
      gaussian(0, 0, 0.05)
    expect_equal(data$z, expected)
  }
})

test_that("the maxima of the landscape are marked", {
  data <- landscape_data(hill(0.05, points = 101), 10)   # both eigenvalues exceed it
  size <- sqrt(lambda[2:3] - 0.05)
  expect_equal(data$best, expand.grid(a = c(-1, 1) * size[1], b = c(-1, 1) * size[2]),
               ignore_attr = TRUE)
  expect_equal(data$best_z, gaussian(size[1], size[2], 0.05) - gaussian(0, 0, 0.05))
  expect_lte(max(data$z), data$best_z)
  ridge <- landscape_data(hill(0.1), 10)                 # one does
  expect_equal(abs(ridge$best$a), rep(sqrt(lambda[2] - 0.1), 2))
  expect_identical(ridge$best$b, c(0, 0))
  top <- landscape_data(hill(0.3), 10)                   # none does
  expect_identical(nrow(top$best), 0L)
  expect_lte(max(top$z), 1e-12)
})

test_that("colours tell higher from lower, and contours lie within the range", {
  expect_identical(level_fill(c(-2, 0, 2), 2), c("#0072B2", "#FFFFFF", "#D55E00"))
  data <- landscape_data(hill(0.3), 10)
  expect_true(all(data$lines < 0 & data$lines > min(data$z)))
  red <- grDevices::col2rgb(data$fill)["red", ]
  expect_false(is.unsorted(red))                         # lower is bluer
  expect_length(data$fill, length(data$levels) - 1)
})

test_that("landscapes are drawn, flat and steep ones too", {
  for (sigma2 in c(0.02, 0.05, 0.1, 0.3, 50)) {
    land <- hill(sigma2, points = 31)
    expect_draws(plot(land), land)
    expect_draws(plot(land, "persp"), land)
  }
  flat <- hill(0.1, reach = 1e-12)
  for (type in c("contour", "persp")) {
    expect_draws(plot(flat, type), flat)
    expect_draws(plot(flat, type, main = "Title", xlab = "x", ylab = "y", nlevels = 3), flat)
  }
  coarse <- hill(0.05, points = 3)
  expect_draws(plot(coarse, "persp", theta = -40, phi = 10, zlab = "z", zlim = c(-1, 1)), coarse)
  expect_draws(plot(coarse, nlevels = 1), coarse)
  expect_refused(plot(coarse, "surface"), "`type` must be one of \"contour\", \"persp\"")
  expect_refused(plot(coarse, nlevels = 0), "`nlevels` must be a whole number, 1 or more, not 0")
})

# ---- linear autoencoders -------------------------------------------------

test_that("linear autoencoders are drawn", {
  set.seed(1)
  ordered <- linear_ae(flowers, 2, "ordered")
  none <- linear_ae(flowers, 2, "none", optimizer = "adam", control = adam())
  for (fit in list(ordered, none)) {
    expect_draws(plot(fit), fit)
    expect_draws(plot(fit, "history", main = "Title"), fit)
    expect_draws(plot(fit, dims = 2, dim = c(2, 2)), fit)
  }
  drawn <- ae_history(ordered)
  expect_identical(levels(drawn$curves$series), c("loss", "squared error"))
  expect_identical(drawn$curves$value, with(ordered$history, c(loss, error)))
  z <- sweep(flowers, 2, colMeans(flowers)) %*% t(ordered$V)
  rest <- sweep(flowers, 2, colMeans(flowers)) - z %*% t(ordered$loadings)
  expect_equal(tail(drawn$curves$value, 1), mean(rowSums(rest^2)))
  single <- ae_history(none)                       # the loss is the error
  expect_identical(levels(single$curves$series), "loss")
  expect_identical(single$ylab, "Squared error per observation")
  exact <- linear_ae(flowers, 2, optimizer = "exact")
  expect_draws(plot(exact), exact)
  expect_refused(plot(exact, "history"),
                 "`type` must be \"loadings\" for a fit in closed form, not \"history\"")
  expect_refused(plot(exact, dims = 3), "`dims` must be distinct whole numbers between 1 and 2")
})

# ---- ggplot2 -------------------------------------------------------------

test_that("autoplot() draws every type for every kind of fit", {
  skip_if_not_installed("ggplot2")
  for (fit in fits[c("em", "one", "beta", "collapsed", "beyond", "many")]) {
    built(ggplot2::autoplot(fit))
  }
  for (type in c("scores", "loadings", "scree")) built(ggplot2::autoplot(fits$adam, type))
  for (fit in iterative[c("em", "unnamed", "batches", "annealed")]) {
    built(ggplot2::autoplot(fit, "history"))
  }
  built(ggplot2::autoplot(fits$many, "loadings", dim = c(4, 25)))
  layers <- built(ggplot2::autoplot(fits$partly))
  expect_equal(layers[[2]]$y, kl_data(fits$partly)$table$kl)
  expect_equal(layers[[3]]$y, c(0.5 * log(lambda[1:2] / 0.1), 0))
  expect_identical(unique(layers[[2]]$colour), c("#0072B2", "#8C8C8C"))
})

test_that("autoplot() draws what is computed from fits", {
  skip_if_not_installed("ggplot2")
  for (name in c("em", "collapsed", "many")) {
    built(ggplot2::autoplot(posterior_collapse(fits[[name]])))
    built(ggplot2::autoplot(stability(fits[[name]])))
  }
  states <- built(ggplot2::autoplot(stability(fits$partly, 0.05)))[[2]]
  expect_identical(states$colour, c("#0072B2", "#0072B2", "#D55E00", "#8C8C8C"))
  for (sigma2 in c(0.05, 0.3)) built(ggplot2::autoplot(hill(sigma2)))
  built(ggplot2::autoplot(hill(0.1, reach = 1e-12)))
  set.seed(1)
  ae <- linear_ae(flowers, 2)
  for (type in c("loadings", "history")) built(ggplot2::autoplot(ae, type))
})

test_that("autoplot() checks its arguments as plot() does", {
  skip_if_not_installed("ggplot2")
  expect_refused(ggplot2::autoplot(fits$partly, "history"), "`type` must be \"kl\"")
  expect_refused(ggplot2::autoplot(fits$em, shape = 1), "Unused argument in `...`: shape")
  expect_refused(ggplot2::autoplot(posterior_collapse(fits$em), 1), "Unused argument")
  expect_refused(ggplot2::autoplot(stability(fits$em), n = 9), "`n`")
  expect_refused(ggplot2::autoplot(hill(0.1), type = "persp"), "Unused argument in `...`: type")
})
