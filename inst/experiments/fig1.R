# Fig. 1 of Lucas et al. (2019): the log marginal likelihood of pPCA around two zero
# columns of W, perturbed in the directions of the principal components 5 and 7,
# with three components kept, for three noise variances.

## ---- fig1-setup
source(system.file("experiments", "common.R", package = "elbo"))
x <- digits()
pca <- ppca(x, k = 10)
lambda <- pca$values
noise <- c("lambda[4]" = lambda[4], "lambda[6]" = lambda[6], "lambda[8]" = lambda[8])

## ---- fig1-plot
save_picture(function() {
  old <- par(mfrow = c(1, 3))
  on.exit(par(old))
  for (name in names(noise)) {
    plot(landscape(pca, pair = c(5, 7), keep = 1:3, sigma2 = noise[[name]], reach = 2))
    title(main = parse(text = paste("sigma^2 ==", name)), line = 2.2)
  }
}, "fig1", width = 9, height = 3.6)

## ---- fig1-table
# The collapsed point itself, as a linear VAE: three principal components, two zero
# columns. Coordinate ascent has nowhere to go from there.
directions <- pca$loadings[, 1:10] / rep(sqrt(colSums(pca$loadings^2)), each = pca$p)
collapsed_at <- function(sigma2) {
  w <- directions[, 1:5] * rep(sqrt(c(lambda[1:3] - sigma2, 0, 0)), each = pca$p)
  linear_vae(x, 5, sigma2 = sigma2, learn_sigma2 = FALSE, start = list(loadings = w))
}

# The curvature again, by second differences of the exact log-likelihood.
numerical_curvature <- function(fit, direction, h = 0.02) {
  at <- function(h) {
    fit$loadings[, 4] <- h * directions[, direction]
    as.numeric(logLik(fit, x)) / nrow(x)
  }
  (at(h) - 2 * at(0) + at(-h)) / h^2
}

table <- do.call(rbind, lapply(names(noise), function(name) {
  fit <- collapsed_at(noise[[name]])
  rows <- stability(fit)[c(5, 7), ]
  data.frame(sigma2 = name, rows[c("direction", "eigenvalue", "in_use", "curvature")],
             numerical = vapply(rows$direction, numerical_curvature, 0, fit = fit),
             rows["stable"])
}))
save_table(table, "fig1")
table
