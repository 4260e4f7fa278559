# Timings of linear_vae(), in one run with the closed form of ppca() and with the
# products of its stochastic step on their own.
#
#   Rscript bench/linear_vae.R [directory of the MNIST files]
#
# Prints a table and writes bench/results/linear_vae.csv. Needs the package installed.
# Each time is the least of several runs.

library(elbo)
source("bench/shared/timing.R")
options(matprod = "blas")             # R's own products without their search for NaN

data_and_name <- function() {
  if (is.null(mnist)) {
    return(list(x = matrix(runif(60000 * 784), 60000), name = "uniform 60,000 x 784"))
  }
  list(x = read_idx(file.path(mnist, "train-images-idx3-ubyte.gz")) / 255,
       name = "MNIST 60,000 x 784")
}
given <- data_and_name()
x <- given$x

# ---- 1. coordinate ascent to convergence ---------------------------------
case <- paste0(given$name, ", k = 50")
cat("\n", case, "\n", sep = "")
closed <- seconds(pca <- ppca(x, 50))
seeded <- function(...) {
  set.seed(1)
  linear_vae(x, 50, ...)
}
em <- seconds(fit <- seeded())
exact <- seconds(linear_vae(x, 50, optimizer = "exact"))
report(case, "ppca(x, 50)", closed)
report(case, "linear_vae(x, 50), em to 1e-9", em)
report(case, "its rounds", fit$iterations, NA, "")
report(case, "its distance to the maximum, nats", pca$loglik / pca$n - fit$elbo, NA, "")
report(case, "em / ppca", em / closed, "< 3", "x")
report(case, "linear_vae(optimizer = \"exact\")", exact)
report(case, "memory of em beyond x", megabytes(seeded()), NA, "MB")

# ---- 2. after the pass a step does not depend on n ------------------------
case <- "one round or step of the analytic ELBO, k = 50"
cat("\n", case, "\n", sep = "")
steps <- function(n, optimizer) {
  part <- x[seq_len(n), ]
  run <- function(steps) {
    set.seed(1)
    suppressWarnings(linear_vae(part, 50, optimizer = optimizer, control = train_control(
      epochs = steps, maxit = steps, accelerate = "none", tol = 1e-300)))
  }
  (seconds(run(301)) - seconds(run(1))) / 300
}
for (n in c(3750, 15000, 60000)) {
  report(case, sprintf("em, n = %s", format(n, big.mark = ",")), 1000 * steps(n, "em"), NA, "ms")
  report(case, sprintf("adam, n = %s", format(n, big.mark = ",")), 1000 * steps(n, "adam"), NA,
         "ms")
}

# ---- 3. stochastic mini-batches -------------------------------------------
for (k in c(50, 200)) {
  batch <- 500
  case <- sprintf("stochastic ELBO, batch %d, k = %d", batch, k)
  cat("\n", case, "\n", sep = "")
  run <- function(epochs) {
    set.seed(1)
    linear_vae(x, k, elbo = "stochastic", sigma2 = 0.1,
               control = train_control(epochs = epochs, batch_size = batch))
  }
  # what an epoch adds, beside the set-up and the final pass
  epoch <- seconds(run(4)) / 3 - seconds(run(1)) / 3
  xb <- x[seq_len(batch), ]
  w <- matrix(rnorm(784 * k), 784)
  z <- matrix(rnorm(batch * k), batch)
  products <- seconds(for (i in 1:20) {
    xb %*% w                                   # means
    tcrossprod(z, w)                           # reconstructions
    crossprod(xb, z)                           # gradient of W
    xb %*% w                                   # gradient of z
    crossprod(xb, z)                           # gradient of V
  }, 5) / 20 * nrow(x) / batch
  flops <- 10 * nrow(x) * 784 * k / 1e9
  report(case, "an epoch", epoch)
  report(case, "its products on their own", products)
  report(case, "rate of the epoch", flops / epoch, NA, "GFlop/s")
  report(case, "rate of the products", flops / products, NA, "GFlop/s")
  report(case, "rate of the epoch / of the products", products / epoch, ">= 0.5", "x")
}

save_report("linear_vae")
cat("\nWritten to", out, "\n")
