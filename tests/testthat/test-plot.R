# Expected values come from eigen() and prcomp(), not from the package.

flowers <- as.matrix(iris[1:4])
p <- 4
n <- 150

with_holes <- function(x, share = 0.2) {
  set.seed(1)
  replace(x, sample(length(x), share * length(x)), NA)
}

fits <- list(
  complete = ppca(flowers, 2),
  one = ppca(flowers, 1),
  unnamed = ppca(unname(flowers), 2),
  em = ppca(flowers, 2, method = "em"),
  missing = ppca(with_holes(flowers), 2),
  scaled = ppca(with_holes(flowers), 1, scale = TRUE),
  collapsed = ppca(flowers, 2, sigma2 = 100),
  partly = ppca(flowers, 3, sigma2 = 0.1),
  wide = ppca(t(flowers)[, 1:20], 2),
  formula = ppca(~ log(Sepal.Length) + Petal.Length + Petal.Width, 2, data = iris)
)

test_that("every type of plot works for every kind of fit", {
  for (fit in fits) {
    expect_draws(plot(fit), fit)
    for (type in c("scree", "scores", "loadings")) expect_draws(plot(fit, type), fit)
    if (fit$method == "em") expect_draws(plot(fit, "history"), fit)
  }
})

test_that("plots work where the iterative route knows few eigenvalues", {
  set.seed(1)
  x <- matrix(rnorm(1010 * 1001), 1010)
  fit <- ppca(x, 3)
  skip_if_not(fit$route == "krylov")
  for (type in c("scree", "scores", "loadings")) expect_draws(plot(fit, type), fit)
  expect_identical(nrow(scree_data(fit, NULL, NULL)$table), 3L)
  expect_refused(plot(fit, n = 4), "`n` must be a whole number between 1 and 3, not 4")
})

test_that("graphical parameters of the user's prevail", {
  fit <- fits$em
  for (type in c("scree", "scores", "loadings", "history")) {
    expect_draws(plot(fit, type, main = "Title", xlab = "x", cex.main = 2), fit)
  }
  expect_draws(plot(fit, "scree", las = 0, pch = 3, ylim = c(0, 9), yaxt = "n", log = FALSE), fit)
  expect_draws(plot(fit, "scores", cex = 2, pch = 2, asp = NA), fit)
})

test_that("plots leave par() and the user's layout alone", {
  kept <- c("mar", "oma", "mfrow", "cex", "las", "mgp", "tcl", "xpd")
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  graphics::par(mfrow = c(2, 3), mar = c(2, 2, 2, 2))
  before <- graphics::par(kept)
  plot(fits$em)
  plot(fits$em, "scores", col = iris$Species)
  plot(fits$em, "loadings")
  plot(fits$em, "loadings", dim = c(2, 2))
  plot(fits$em, "history")
  plot_images(flowers[1:3, ], c(2, 2), labels = 1:3)
  expect_identical(graphics::par(kept), before)
  expect_identical(graphics::par("mfg"), c(2L, 3L, 2L, 3L)) # the sixth panel
})

test_that("a small device does not stop a plot", {
  for (type in c("scree", "scores", "loadings")) {
    draw(plot(fits$complete, type, col = iris$Species), width = 2.2, height = 2.2)
  }
  draw(plot(fits$complete, "loadings", dim = c(2, 2)), width = 1, height = 1)
})

test_that("the scree shows the eigenvalues and which are in use", {
  values <- eigen(cov(flowers) * (n - 1) / n)$values
  scree <- scree_data(fits$complete, NULL, NULL)
  expect_equal(scree$table$eigenvalue, values)
  expect_identical(scree$table$used, c(TRUE, TRUE, FALSE, FALSE))
  expect_equal(scree$sigma2, mean(values[3:4]))
  expect_true(scree$log)                         # 4.2 against 0.02
  expect_false(scree_data(fits$complete, NULL, FALSE)$log)
  expect_identical(nrow(scree_data(fits$complete, 3, NULL)$table), 3L)
  expect_identical(scree$label, "Eigenvalue of S")
  expect_identical(scree_data(fits$scaled, NULL, NULL)$label,
                   "Eigenvalue of the fitted covariance, features scaled")
})

test_that("a dimension that collapsed under a fixed noise variance is not in use", {
  values <- eigen(cov(flowers) * (n - 1) / n)$values # 4.2, 0.24, 0.08, 0.02
  expect_identical(scree_data(fits$partly, NULL, NULL)$table$used, c(values[1:3] > 0.1, FALSE))
  expect_false(any(scree_data(fits$collapsed, NULL, NULL)$table$used))
})

test_that("the scree limits itself and leaves zeros off a logarithmic axis", {
  set.seed(1)
  x <- matrix(rnorm(20 * 100), 20)
  scree <- scree_data(ppca(x, 2), NULL, NULL)    # 19 positive eigenvalues of 20 known
  expect_identical(nrow(scree$table), 20L)
  log <- scree_data(ppca(x, 2), NULL, TRUE)
  expect_identical(nrow(log$table), 19L)
  many <- ppca(matrix(rnorm(200 * 100), 200), 20)
  expect_identical(nrow(scree_data(many, NULL, NULL)$table), 40L)
  draw(plot(ppca(x, 2), log = TRUE))
})

test_that("axes of scores give each dimension's share of the variance", {
  share <- 100 * prcomp(flowers)$sdev^2 / sum(prcomp(flowers)$sdev^2)
  scores <- scores_data(fits$complete, 2:1, NULL)
  expect_identical(scores$labels,
                   sprintf("z%d (%.1f %% of variance)", 2:1, share[2:1]))
  expect_equal(scores$table$x, fits$complete$scores[, 2], ignore_attr = TRUE)
  alone <- scores_data(fits$one, NULL, NULL)
  expect_identical(alone$labels[1], "Observation")
  expect_equal(alone$table$y, fits$one$scores[, 1], ignore_attr = TRUE)
})

test_that("scores take colours and factors", {
  fit <- fits$complete
  expect_draws(plot(fit, "scores", col = "red"), fit)
  expect_draws(plot(fit, "scores", col = rep(2:4, 50)), fit)
  expect_draws(plot(fit, "scores", col = factor(rep(1:15, 10))), fit)
  expect_draws(plot(fit, "scores", col = replace(iris$Species, 1:9, NA)), fit)
  expect_refused(plot(fit, "scores", col = "no colour"), "`col` must be colours or a factor")
  expect_refused(plot(fit, "scores", col = c("red", "blue")), "as many as observations (150)")
  expect_identical(anyDuplicated(level_colours(8)), 0L)
  expect_identical(anyDuplicated(level_colours(30)), 0L)
})

test_that("loadings are drawn for the dimensions asked for", {
  data <- loadings_data(fits$complete, 2)
  expect_identical(data$loadings, fits$complete$loadings[, 2, drop = FALSE])
  expect_equal(data$reach, max(abs(fits$complete$loadings[, 2])))
  expect_identical(data$names, names(iris)[1:4])
  expect_null(loadings_data(fits$unnamed, NULL)$names)
  digits <- ppca(mnist1000$x[1:300, ] / 255, 14)
  expect_identical(ncol(loadings_data(digits, NULL, NULL)$loadings), 4L)
  expect_identical(ncol(loadings_data(digits, NULL, c(28, 28))$loadings), 12L)
  expect_draws(plot(digits, "loadings", dim = c(28, 28)), digits)
  expect_draws(plot(digits, "loadings", dims = c(14, 3), dim = c(14, 56)), digits)
})

test_that("the history is per observation", {
  history <- history_data(fits$em)
  expect_equal(utils::tail(history$loglik, 1), as.numeric(logLik(fits$em)) / n)
  expect_identical(history$iteration, fits$em$history$iteration)
})

test_that("bad arguments of plot() are named", {
  fit <- fits$complete
  expect_refused(plot(fit, "screen"), "`type` must be one of \"scree\", \"scores\"")
  expect_refused(plot(fit, "history"), "`type` must be \"scree\", \"scores\" or \"loadings\"")
  expect_refused(plot(fit, "scores", dims = 3),
                 "`dims` must be distinct whole numbers between 1 and 2, not 3")
  expect_refused(plot(ppca(flowers, 3), "scores", dims = 1:3), "`dims` must be at most 2 ")
  expect_refused(plot(fit, "scores", dims = c(1, 1)), "`dims`")
  expect_refused(plot(fit, "loadings", dims = 0), "`dims`")
  expect_refused(plot(fit, "loadings", dims = 1.5), "`dims`")
  expect_refused(plot(fit, "loadings", dims = "z1"), "`dims`")
  expect_refused(plot(fit, "loadings", dims = NA), "`dims`")
  expect_refused(plot(fit, "loadings", dims = integer()), "`dims`")
  expect_refused(plot(fit, "loadings", dim = c(3, 2)),
                 "`dim` must be two whole numbers, rows and columns, whose product is 4, not 3 x 2")
  expect_refused(plot(fit, "loadings", dim = 4), "`dim`")
  expect_refused(plot(fit, "loadings", dim = c(-2, -2)), "`dim`")
  expect_refused(plot(fit, "loadings", dim = c(8, 0.5)), "`dim`")
  expect_refused(plot(fit, n = 0), "`n` must be a whole number between 1 and 4, not 0")
  expect_refused(plot(fit, log = "y"), "`log` must be TRUE or FALSE")
})

# ---- images --------------------------------------------------------------

test_that("pixels run along the rows from the top left corner", {
  image <- image_raster(1:6, c(2L, 3L), c(1, 6), grDevices::grey(0:5 / 5), "red")
  expect_identical(dim(image), c(2L, 3L))
  levels <- matrix(grDevices::col2rgb(as.matrix(image))["red", ], 2) / 51
  expect_equal(levels, rbind(0:2, 3:5))
})

test_that("values beyond the limits are clamped, missing ones have their colour", {
  image <- image_raster(c(-9, 0.5, 9, NA, Inf, NaN), c(1L, 6L), c(0, 1),
                        c("black", "grey50", "white"), "#F5D9A8")
  expect_identical(as.vector(as.matrix(image)),
                   c("#000000", "#7F7F7F", "#FFFFFF", "#F5D9A8", "#FFFFFF", "#F5D9A8"))
})

test_that("the colour of zero loadings is white, and signs mirror each other", {
  col <- diverging_colours()
  expect_identical(col[128], "#FFFFFF")
  image <- image_raster(c(-1, 0, 1), c(1L, 3L), c(-1, 1), col, "red")
  expect_identical(as.vector(as.matrix(image)), c("#003F66", "#FFFFFF", "#7A3500"))
})

test_that("plot_images() draws what it is given", {
  x <- mnist1000$x[1:7, ]
  expect_draws(plot_images(x, c(28, 28)), x)
  expect_draws(plot_images(x, c(28, 28), labels = letters[1:7], ncol = 3, main = "Digits"), x)
  expect_draws(plot_images(with_holes(x), c(28, 28), limits = c(0, 255)), with_holes(x))
  expect_draws(plot_images(x[1, ], c(28, 28)), x[1, ])
  expect_draws(plot_images(x, c(14, 56), col = c("white", "blue"), missing = "pink"), x)
  blank <- matrix(NA_real_, 2, 6)
  expect_draws(plot_images(blank, c(2, 3)), blank)
  expect_draws(plot_images(matrix(3, 1, 6), c(3, 2)), matrix(3, 1, 6))
  frame <- as.data.frame(x)
  expect_draws(plot_images(frame, c(28, 28)), frame)
})

test_that("bad arguments of plot_images() are named", {
  x <- flowers[1:3, ]
  expect_refused(plot_images("a", c(2, 2)), "`x` must be a numeric matrix")
  expect_refused(plot_images(x[0, ], c(2, 2)), "`x` must have at least 1 row")
  expect_refused(plot_images(x, c(2, 3)), "`dim` must be two whole numbers")
  expect_refused(plot_images(x, c(2, 2), labels = 1:2), "`labels` must be NULL or have 3 elements")
  expect_refused(plot_images(x, c(2, 2), ncol = 4), "`ncol` must be a whole number between 1 and 3")
  expect_refused(plot_images(x, c(2, 2), limits = c(1, 1)), "`limits` must be NULL or two increasing")
  expect_refused(plot_images(x, c(2, 2), limits = c(NA, 1)), "`limits`")
  expect_refused(plot_images(x, c(2, 2), col = "nothing"), "`col` must hold colours")
  expect_refused(plot_images(x, c(2, 2), missing = 1:2), "`missing` must be a colour")
})

test_that("the grid makes images as large as they can be", {
  grDevices::pdf(NULL, width = 4, height = 4)
  on.exit(grDevices::dev.off())
  graphics::par(mar = rep(0, 4))
  graphics::plot.new()
  expect_identical(best_columns(4, c(1, 1)), 2L)
  expect_identical(best_columns(4, c(4, 1)), 1L)
  expect_identical(best_columns(4, c(1, 4)), 4L)
  expect_equal(inches_per_pixel(4, 2, c(28, 28)), 2 / 28)
})

# ---- choice of rank ------------------------------------------------------

ranks <- function(criterion, x = flowers) {
  set.seed(1)
  select_rank(x, criterion = criterion)
}

test_that("a choice of rank is drawn for every criterion", {
  for (criterion in c("bic", "aic", "laplace", "heldout")) {
    chosen <- ranks(criterion)
    expect_draws(plot(chosen), chosen)
    expect_draws(plot(chosen, main = "Title", xlab = "k", ylim = c(-5, 0)), chosen)
  }
  incomplete <- ranks("bic", with_holes(flowers))
  expect_draws(plot(incomplete), incomplete)
  single <- select_rank(flowers, k = 2)
  expect_draws(plot(single), single)
  many <- select_rank(mnist1000$x[1:60, ] / 255)
  expect_draws(plot(many), many)
})

test_that("criteria are in nats per observation and the chosen k is marked", {
  chosen <- ranks("aic")
  data <- ranks_data(chosen)
  curves <- split(data$curves, data$curves$criterion)
  expect_named(curves, c("-AIC / 2n", "-BIC / 2n"))   # the one that chose first
  for (k in 1:3) {
    fit <- ppca(flowers, k)
    expect_equal(curves[[1]]$score[k], -AIC(fit) / (2 * n))
    expect_equal(curves[[2]]$score[k], -BIC(fit) / (2 * n))
  }
  expect_identical(data$best$k, chosen$k)
  expect_equal(data$best$score, max(curves[[1]]$score))
  expect_identical(data$chosen, sprintf("chosen by AIC: k = %d", chosen$k))
})

test_that("held-out scores have their standard errors, evidence is per observation", {
  heldout <- ranks("heldout")
  data <- ranks_data(heldout)
  expect_equal(data$curves$score, heldout$table$heldout)
  expect_equal(data$curves$se, heldout$table$heldout_se)
  expect_match(data$label, "nats per cell")
  laplace <- ranks("laplace")
  expect_equal(ranks_data(laplace)$curves$score, laplace$table$laplace / n)
})

# ---- ggplot2 -------------------------------------------------------------

built <- function(plot) {
  expect_s3_class(plot, "ggplot")
  expect_silent(built <- ggplot2::ggplot_build(plot))
  draw(print(plot))
  built$data
}

test_that("autoplot() draws every type for every kind of fit", {
  skip_if_not_installed("ggplot2")
  for (fit in fits) {
    for (type in c("scree", "scores", "loadings")) built(ggplot2::autoplot(fit, type))
    if (fit$method == "em") built(ggplot2::autoplot(fit, "history"))
  }
  built(ggplot2::autoplot(fits$complete, "loadings", dim = c(2, 2)))
  points <- built(ggplot2::autoplot(fits$complete, "scores", col = iris$Species))[[1]]
  expect_equal(points$x, fits$complete$scores[, 1], ignore_attr = TRUE)
  expect_identical(length(unique(points$colour)), 3L)
  eigenvalues <- built(ggplot2::autoplot(fits$complete, log = FALSE))[[2]]
  expect_equal(eigenvalues$y, eigen(cov(flowers) * (n - 1) / n)$values)
})

test_that("autoplot() images are upright", {
  skip_if_not_installed("ggplot2")
  fit <- ppca(cbind(flowers, flowers[, 1] + rnorm(n), flowers[, 2] + rnorm(n)), 1)
  data <- gg_loading_images(loadings_data(fit, 1, c(2, 3)))$data
  expect_equal(data$row, c(1, 1, 1, 2, 2, 2))
  expect_equal(data$column, c(1, 2, 3, 1, 2, 3))
})

test_that("autoplot() draws a choice of rank", {
  skip_if_not_installed("ggplot2")
  for (criterion in c("bic", "aic", "laplace", "heldout")) {
    built(ggplot2::autoplot(ranks(criterion)))
  }
})

test_that("autoplot() checks its arguments as plot() does", {
  skip_if_not_installed("ggplot2")
  expect_refused(ggplot2::autoplot(fits$complete, "history"), "`type`")
  expect_refused(ggplot2::autoplot(fits$complete, "scores", dims = 9), "`dims`")
  expect_refused(ggplot2::autoplot(fits$complete, shape = 1), "Unused argument in `...`: shape")
  expect_refused(ggplot2::autoplot(ranks("bic"), 1), "Unused argument")
})

test_that("a package that is not there is named", {
  expect_refused(check_installed("noSuchPackage", "`autoplot()`"),
                 "`autoplot()` needs the package noSuchPackage")
})
