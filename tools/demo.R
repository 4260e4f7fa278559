# The package at work on the 1,000 digits: Rscript tools/demo.R [FIGURE]
# Prints what it finds and draws it into FIGURE, build/demo.png by default.
library(elbo)

K <- 50
figure <- c(commandArgs(TRUE), "build/demo.png")[1]

seconds <- function(expr) {
  took <- system.time(expr)[["elapsed"]]
  if (took < 0.1) "less than 0.1 s" else sprintf("%.1f s", took)
}

section <- function(...) cat("\n", ..., "\n", sep = "")

blas <- extSoftVersion()[["BLAS"]]
cat("elbo ", format(packageVersion("elbo")), ", ", R.version.string, ", BLAS: ",
    if (nzchar(blas)) blas else "the one R was built with", "\n", sep = "")

x <- mnist1000$x / 255

section("1. Fit: 1,000 digits of 784 pixels, ", K, " latent dimensions")
time <- seconds(fit <- ppca(x, k = K))
print(fit)
cat("Time: ", time, "\n", sep = "")

# On pixels that are nearly always blank the noise can shrink almost to nothing,
# so that with them no criterion would stop adding dimensions.
inked <- colMeans(x > 0) > 0.1
section("2. Rank: the ", sum(inked), " pixels with ink in more than a tenth of the images")
time <- seconds(ranks <- select_rank(x[, inked], criterion = "bic"))
shown <- ranks$table[ranks$table$k %in% c(5, 10, 20, 50, ranks$k, 150, 200, 300), ]
print(transform(shown[c("k", "sigma2", "aic", "bic")],
                sigma2 = signif(sigma2, 3), aic = round(aic), bic = round(bic),
                " " = ifelse(k == ranks$k, "<- BIC", ""), check.names = FALSE),
      row.names = FALSE)
cat("Chosen of ", nrow(ranks$table), " candidates: k = ", ranks$k, " by BIC, k = ",
    ranks$table$k[which.min(ranks$table$aic)], " by AIC\nTime: ", time, "\n", sep = "")

section("3. Missing cells: a third of all pixels removed at random, ", K, " latent dimensions")
set.seed(1)
removed <- matrix(runif(length(x)) < 1 / 3, nrow(x))
holes <- replace(x, removed, NA)
time <- seconds({
  partial <- ppca(holes, k = K)
  imputed <- impute(partial, holes)
})
print(partial)
rmse <- function(guess) sqrt(mean((guess[removed] - x[removed])^2))
column_means <- matrix(colMeans(holes, na.rm = TRUE), nrow(x), ncol(x), byrow = TRUE)
cat(sprintf("Error of the removed pixels (RMSE, pixels from 0 to 1): %.3f, with column means %.3f\n",
            rmse(imputed), rmse(column_means)))
cat("Time: ", time, "\n", sep = "")

# ---- the figure ----------------------------------------------------------

# A digit of each kind in four strips, beside the eigenvalues and the criteria.
draw <- function() {
  each <- match(0:9, mnist1000$y)
  strip <- function(images, main) {
    par(cex.main = 1.2, font.main = 1)
    plot_images(images[each, ], c(28, 28), ncol = 10, limits = c(0, 1), main = main,
                adj = 0.005, line = -0.3)
  }
  layout(matrix(c(1:4, 5, 5, 6, 6), 4), widths = c(2, 1))
  par(oma = c(0.5, 0.5, 0.5, 0.5))
  strip(x, "Digits")
  strip(fitted(fit), sprintf("Reconstructed from %d latent dimensions", K))
  strip(holes, "A third of the pixels removed")
  strip(imputed, "Imputed from the pixels that are left")
  par(mar = c(4.2, 4.4, 2.4, 0.8), cex = 0.75)
  plot(fit, "scree")
  plot(ranks)
}

dir.create(dirname(figure), recursive = TRUE, showWarnings = FALSE)
png(figure, width = 1500, height = 740, res = 120)
draw()
invisible(dev.off())
section("Figure: ", figure)
