# Timings of ppca() side by side with what its users have today, in one run.
#
#   Rscript bench/ppca.R [directory of the MNIST files]
#
# Prints a table and writes bench/results/ppca.csv (what was measured),
# bench/results/ppca-scaling.csv and bench/results/ppca-scaling.png. Needs the
# package installed, and for the peers stats (prcomp) and pcaMethods; a peer that
# is absent is left out. Each time is the least of several runs: what the machine
# can do when nothing else runs.

library(elbo)

source("bench/shared/timing.R")

# ---- 1. tall: the MNIST training images ---------------------------------
if (!is.null(mnist)) {
  case <- "MNIST 60,000 x 784, k = 50"
  cat("\n", case, "\n", sep = "")
  x <- read_idx(file.path(mnist, "train-images-idx3-ubyte.gz")) / 255
  cross <- seconds(S <- crossprod(x))
  eig <- seconds(eigen(S, symmetric = TRUE))
  fit <- seconds(ppca(x, 50))
  pca <- seconds(prcomp(x, rank. = 50), 1)
  report(case, "crossprod(x)", cross)
  report(case, "eigen(S)", eig)
  report(case, "prcomp(x, rank. = 50)", pca)
  report(case, "ppca(x, 50)", fit)
  report(case, "ppca / (crossprod + eigen)", fit / (cross + eig), "<= 2", "x")
  report(case, "prcomp / ppca", pca / fit, ">= 6", "x")
  report(case, "memory of ppca beyond x", megabytes(ppca(x, 50)), "< 200", "MB")
  report(case, "memory of prcomp beyond x", megabytes(prcomp(x, rank. = 50)),
         NA, "MB")
  rm(x, S)
}

# ---- 2. wide ------------------------------------------------------------
set.seed(1)
case <- "500 x 20,000, k = 20"
cat("\n", case, "\n", sep = "")
x <- matrix(rnorm(500 * 20000), 500)
cross <- seconds(tcrossprod(x), 5)
fit <- seconds(ppca(x, 20), 5)
report(case, "tcrossprod(x)", cross)
report(case, "prcomp(x, rank. = 20)", seconds(prcomp(x, rank. = 20), 1))
report(case, "ppca(x, 20)", fit)
report(case, "ppca / tcrossprod", fit / cross, "<= 2", "x")
rm(x)

# ---- 3. k far below n and p ---------------------------------------------
noise <- matrix(rnorm(1e4 * 5000), 1e4)
signal <- matrix(rnorm(1e4 * 20), 1e4) %*% matrix(rnorm(20 * 5000), 20)
for (kind in c("20 factors and noise", "noise alone, no spectral gap")) {
  case <- paste0("10,000 x 5,000, k = 20, ", kind)
  cat("\n", case, "\n", sep = "")
  x <- if (kind == "20 factors and noise") noise + 0.6 * signal else noise
  cross <- seconds(crossprod(x), 2)
  fit <- seconds(ppca(x, 20), 2)
  report(case, "crossprod(x)", cross)
  report(case, "ppca(x, 20)", fit)
  report(case, "ppca / crossprod", fit / cross, "<= 2", "x")
}
rm(x, noise, signal)

# ---- 4. missing cells ---------------------------------------------------
# A decaying spectrum: variances j^-1.5 over 200 directions.
set.seed(1)
rotation <- qr.Q(qr(matrix(rnorm(200^2), 200)))
x <- matrix(rnorm(5000 * 200), 5000) %*% (10 * (1:200)^-0.75 * t(rotation))
gone <- sample(length(x), length(x) / 10)
y <- replace(x, gone, NA)
rmse <- function(filled) sqrt(mean((filled - x)[gone]^2))
case <- "5,000 x 200, 10 % missing, k = 10"
cat("\n", case, "\n", sep = "")
time <- seconds(fit <- ppca(y, 10))
report(case, "ppca(y, 10)", time)
report(case, "its held-out RMSE", rmse(impute(fit, y)), NA, "")
if (requireNamespace("pcaMethods", quietly = TRUE)) {
  peer <- seconds(
    other <- suppressWarnings(pcaMethods::pca(y, method = "ppca", nPcs = 10,
                                              seed = 1)), 1)
  report(case, "pcaMethods::pca(method = \"ppca\")", peer)
  report(case, "its held-out RMSE", rmse(pcaMethods::completeObs(other)), NA, "")
  report(case, "pcaMethods / ppca", peer / time, ">= 5", "x")
}

# ---- 5. cost over n, p, k -----------------------------------------------
cat("\nCost at growing sizes (closed form; EM on a tenth missing, 10 maps)\n")
make <- function(n, p) matrix(rnorm(n * p), n)
holes <- function(x) replace(x, sample(length(x), length(x) / 10), NA)
ten_maps <- function(x, k) {
  suppressWarnings(ppca(x, k, control = em_control(maxit = 10, tol = 1e-300)))
}
grid <- rbind(
  data.frame(over = "n", n = c(5, 10, 20, 40, 80) * 1000, p = 200, k = 10),
  data.frame(over = "p", n = 10000, p = c(50, 100, 200, 400, 800), k = 10),
  data.frame(over = "k", n = 10000, p = 200, k = c(5, 10, 20, 40, 80))
)
for (i in seq_len(nrow(grid))) {
  x <- make(grid$n[i], grid$p[i])
  grid$closed[i] <- seconds(ppca(x, grid$k[i]))
  small <- holes(x[seq_len(nrow(x) / 10), ])
  grid$missing[i] <- seconds(ten_maps(small, grid$k[i]), 2)
}
slope <- function(over, y) {
  d <- grid[grid$over == over, ]
  unname(coef(lm(log(d[[y]]) ~ log(d[[over]])))[2])
}
for (over in c("n", "p", "k")) {
  report("growth", paste0("closed form: time ~ ", over, "^"), slope(over, "closed"),
         if (over == "n") "about 1" else NA, "")
  report("growth", paste0("EM with missing cells: time ~ ", over, "^"),
         slope(over, "missing"), if (over == "n") "about 1" else NA, "")
}

png(file.path(out, "ppca-scaling.png"), 1500, 520, res = 150, pointsize = 10)
op <- par(mfrow = c(1, 3), mar = c(5, 5, 2.5, 1), mgp = c(3.4, 0.8, 0), las = 1)
labels <- c(n = "Observations n", p = "Features p", k = "Latent dimensions k")
titles <- c(n = "p = 200, k = 10", p = "n = 10,000, k = 10", k = "n = 10,000, p = 200")
for (over in c("n", "p", "k")) {
  d <- grid[grid$over == over, ]
  matplot(d[[over]], d[c("closed", "missing")], log = "xy", type = "b", pch = c(16, 17),
          lty = 1, lwd = 2, col = c("#0072B2", "#D55E00"), xlab = labels[[over]],
          ylab = "Seconds", main = titles[[over]])
  if (over == "n") {
    legend("topleft", c("closed form", "EM, n / 10 rows, 10 maps"), pch = c(16, 17),
           lty = 1, lwd = 2, col = c("#0072B2", "#D55E00"), bty = "n")
  }
}
par(op)
invisible(dev.off())

save_report("ppca")
write.csv(grid, file.path(out, "ppca-scaling.csv"), row.names = FALSE)
cat("\nWritten to", out, "\n")
