# vae(x, k) with every other argument left alone (but for the transform that pixels need),
# on real and simulated data, beside ppca() with the same k.
#
#   Rscript bench/defaults.R [directory of the MNIST files]
#
# Prints a table and writes bench/results/defaults.csv: the ELBO of the rows given to
# vae() and of as many as a fifth of all that it never saw (for MNIST its 10,000 test
# images), the log-likelihood of ppca() for the same rows, all in nats per observation;
# the share of latent dimensions with a mean KL below 0.01; seconds. The large set needs
# MNIST. A row is a median over splits of the data, of which the small sets have five;
# `lost` counts the splits where the ELBO of the rows given was below the log-likelihood
# by more than the sampling of z explains, `lost_held_out` those where that of the rows
# never seen was, by more than two standard errors of the difference.

library(elbo)
source("bench/shared/timing.R")

standardised <- function(x) scale(as.matrix(x))

nonlinear <- function() {
  set.seed(7)
  inner <- matrix(rnorm(5000 * 3), 5000) %*% matrix(rnorm(3 * 40), 3)
  tanh(inner) %*% matrix(rnorm(40 * 30), 40) / 3 + 0.1 * matrix(rnorm(5000 * 30), 5000)
}

# Five directions of a variance well above that of the noise; more features than rows.
wide <- function() {
  set.seed(8)
  matrix(rnorm(75 * 5), 75) %*% matrix(rnorm(5 * 300), 5) + matrix(rnorm(75 * 300), 75)
}

# Counts with three groups of words, nine cells in ten zero.
sparse <- function() {
  set.seed(9)
  group <- sample(3, 1000, replace = TRUE)
  rate <- matrix(rexp(3 * 60, 8), 3)[group, ]
  Matrix::Matrix(matrix(rpois(60000, rate), 1000) * 1, sparse = TRUE)
}

sets <- list(
  iris = list(x = as.matrix(iris[1:4]), k = 2, splits = 5),
  "airquality, scaled" = list(x = standardised(airquality[1:4]), k = 2, splits = 5),
  "state.x77, scaled" = list(x = standardised(state.x77), k = 3, splits = 5),
  "1,000 digits / 255" = list(x = mnist1000$x / 255, k = 20, splits = 1),
  "1,000 digits, logit" = list(x = mnist1000$x, k = 20, splits = 1, pixels = TRUE),
  "nonlinear 5,000 x 30" = list(x = nonlinear(), k = 3, splits = 1),
  "wide 75 x 300" = list(x = wide(), k = 5, splits = 5),
  "sparse 1,000 x 60" = list(x = sparse(), k = 3, splits = 5)
)
if (!is.null(mnist)) {
  image <- function(name) read_idx(file.path(mnist, paste0(name, "-images-idx3-ubyte.gz")))
  sets[["60,000 digits, logit"]] <- list(x = image("train"), held = image("t10k"), k = 200,
                                         splits = 1, pixels = TRUE)
}

compare <- function(set, split) {
  transform <- if (isTRUE(set$pixels)) logit_pixels(1e-6)
  x <- set$x
  held <- set$held
  if (is.null(held)) {
    set.seed(split)
    out <- sample(nrow(x), nrow(x) %/% 5)
    held <- x[out, , drop = FALSE]
    x <- x[-out, , drop = FALSE]
  }
  linear <- ppca(x, set$k, transform = transform)
  set.seed(split)
  seconds <- system.time(fit <- vae(x, set$k, transform = transform))[["elapsed"]]
  both <- compare_models(vae = fit, ppca = linear, newdata = held, samples = 20)
  at <- function(model, what) both$table[[what]][both$table$model == model]
  short <- at("ppca", "value") - at("vae", "value")
  data.frame(
    elbo = fit$elbo, ppca = as.numeric(logLik(linear)) / linear$n,
    held_out = at("vae", "value"), ppca_held_out = at("ppca", "value"),
    collapsed = mean(fit$kl_dimensions < 0.01), epochs = fit$iterations, seconds = seconds,
    lost = as.numeric(logLik(linear)) / linear$n - fit$elbo > 3 * sqrt(set$k / 2e4),
    lost_held_out = short > 2 * max(both$table$difference_se, na.rm = TRUE)
  )
}

rows <- lapply(names(sets), function(name) {
  set <- sets[[name]]
  each <- do.call(rbind, lapply(seq_len(set$splits), function(split) compare(set, split)))
  size <- dim(set$x)
  row <- data.frame(set = name, n = size[1], p = size[2], k = set$k, splits = set$splits,
                    lapply(each[1:7], median), lapply(each[8:9], sum))
  print(format(row, digits = 5), row.names = FALSE)
  row
})
table <- do.call(rbind, rows)
table$machine <- machine()
write.csv(table, file.path(out, "defaults.csv"), row.names = FALSE)
cat("\nWritten to", file.path(out, "defaults.csv"), "\n")
