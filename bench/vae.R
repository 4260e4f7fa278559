# Seconds an epoch of a deep VAE beside PyTorch on the same processor, for the same model
# (784 features, layers of 512 and 256, 200 latent dimensions, a mirrored decoder), batch
# and optimiser.
#
#   Rscript bench/vae.R [directory of the MNIST files]
#
# Prints a table and writes bench/results/vae.csv. Where there is no MNIST, random numbers
# take its place: an epoch takes as long. An epoch and its products alone are timed by
# turns, in three rounds, and the best of each counts. PyTorch is timed with each of its
# thread settings, and the best one counts; without a Python that has torch it is left
# out. vae() runs in an R with the reference BLAS where that is installed: training does
# not use R's BLAS. Memory is the growth of R's heap, where R collects garbage as early as
# it can.

library(elbo)
source("bench/shared/timing.R")
source("bench/shared/programs.R")

n <- 60000
p <- 784
k <- 200
data <- if (is.null(mnist)) sprintf("matrix(runif(%d * %d), %d)", n, p, n) else
  sprintf("read_idx(%s) / 255", deparse(file.path(mnist, "train-images-idx3-ubyte.gz")))
reference <- reference_libraries()
blas <- if (length(reference)) "R with its reference BLAS" else "R with its own BLAS"

# What `code` prints, where x is the data and train(batch, epochs) fits.
measured <- function(code, ...) {
  in_other_r(c("library(elbo)", paste("x <-", data), sprintf(
    "train <- function(batch, epochs, threads = NULL, ...) {
       set.seed(1)
       vae(x, k = %d, start = "random", epochs = epochs, batch_size = batch,
           control = train_control(threads = threads), ...)
     }", k), code), reference, ...)
}

python <- Find(function(p) nzchar(p) && system2(p, c("-c", shQuote("import torch")),
                                                 stdout = FALSE, stderr = FALSE) == 0,
               c(Sys.which("python3"), "/usr/bin/python3"))

# The best epoch of PyTorch in seconds, and the setting.
torch_epoch <- function(batch) {
  settings <- list(c(1, 1), c(2, 1), c(2, 2))     # its own threads, OpenBLAS's
  best <- Inf
  for (s in settings) {
    out <- system2(python, c("bench/shared/vae_torch.py", s[1], batch, n, 4),
                   stdout = TRUE, env = c(sprintf("OMP_NUM_THREADS=%d", s[1]),
                                          sprintf("OPENBLAS_NUM_THREADS=%d", s[2])))
    now <- min(as.numeric(out))
    if (now < best) {
      best <- now
      setting <- sprintf("%d threads, OpenBLAS %d", s[1], s[2])
    }
  }
  list(seconds = best, setting = setting)
}

epoch_seconds <- function(batch, threads) {
  measured(sprintf("cat(min(train(%d, 3, %d)$history$seconds))", batch, threads))
}

cat("vae() in", blas, "\n")
for (batch in c(500, 100)) {
  case <- sprintf("MNIST 60,000 x 784, 512-256-200-256-512, Adam, batch %d", batch)
  cat("\n", case, "\n", sep = "")
  rounds <- replicate(3, c(epoch = epoch_seconds(batch, 2),
                           products = product_seconds(batch, 2) * n / batch))
  own <- min(rounds["epoch", ])
  products <- min(rounds["products", ])
  report(case, "an epoch of vae(), 2 threads", own)
  report(case, "an epoch of vae(), 1 thread", epoch_seconds(batch, 1))
  report(case, "its products alone, 2 threads", products)
  report(case, "share of time outside products", 1 - products / own,
         if (batch == 500) "<= 0.25" else NA, "")
  if (!is.null(python)) {
    other <- torch_epoch(batch)
    report(case, paste0("an epoch of PyTorch (", other$setting, ")"), other$seconds)
    report(case, "PyTorch / vae()", other$seconds / own,
           if (batch == 500) ">= 2" else ">= 2.5", "times")
  }
}

case <- "MNIST 60,000 x 784"
cat("\n", case, "\n", sep = "")
report(case, "set-up and final ELBO of vae()", measured(
  "all <- system.time(fit <- train(500, 1))[[3]]; cat(all - sum(fit$history$seconds))"))
report(case, "conversion to float", measured(
  "mu <- colMeans(x); unit <- rep(1, ncol(x))
   cat(min(replicate(3, system.time(.Call(elbo:::C_vae_data, x, mu, unit, NULL))[[3]])))"), "< 1")
heap <- "before <- sum(gc(reset = TRUE)[, 2]); fit <- train(500, %d, %s)
         cat(sum(gc()[, 6]) - before)"
tidy_heap <- "R_GC_MEM_GROW=0"
size <- measured("cat(4 * train(60000, 1)$df / 2^20)")
activations <- 4 * 500 * (p + 512 + 256 + 3 * k + 256 + 512 + p) / 2^20
wanted <- 4 * n * p / 2^20 + 3 * size + activations
report(case, "memory of vae() beyond x", measured(sprintf(heap, 4, "validation = 0"),
                                                  variables = tidy_heap),
       sprintf("<= %.0f", wanted), "MB")
report(case, "the same with a validation share of 0.1",
       measured(sprintf(heap, 4, "validation = 0.1"), variables = tidy_heap), NA, "MB")

save_report("vae")
cat("\nWritten to", out, "\n")
