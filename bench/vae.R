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
# out. R runs with its reference BLAS where that is installed beside another: training
# does not use R's BLAS.

library(elbo)
source("bench/shared/timing.R")
source("bench/shared/programs.R")

rows_wanted <- 60000
x <- if (is.null(mnist)) matrix(runif(rows_wanted * 784), rows_wanted) else
  read_idx(file.path(mnist, "train-images-idx3-ubyte.gz")) / 255

python <- Find(function(p) nzchar(p) && system2(p, c("-c", shQuote("import torch")),
                                                 stdout = FALSE, stderr = FALSE) == 0,
               c(Sys.which("python3"), "/usr/bin/python3"))

# The best epoch of PyTorch in seconds, and the setting.
torch_epoch <- function(batch) {
  settings <- list(c(1, 1), c(2, 1), c(2, 2))     # its own threads, OpenBLAS's
  best <- Inf
  for (s in settings) {
    out <- system2(python, c("bench/shared/vae_torch.py", s[1], batch, nrow(x), 4),
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

train <- function(batch, epochs, threads = NULL) {
  set.seed(1)
  vae(x, k = 200, control = train_control(epochs = epochs, batch_size = batch,
                                          threads = threads))
}

for (batch in c(500, 100)) {
  case <- sprintf("MNIST 60,000 x 784, 512-256-200-256-512, Adam, batch %d", batch)
  cat("\n", case, "\n", sep = "")
  rounds <- replicate(3, c(epoch = min(train(batch, 3)$history$seconds),
                           products = product_seconds(batch, 2) * nrow(x) / batch))
  own <- min(rounds["epoch", ])
  products <- min(rounds["products", ])
  report(case, "an epoch of vae(), 2 threads", own)
  report(case, "an epoch of vae(), 1 thread", min(train(batch, 3, 1)$history$seconds))
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
all <- seconds(fit <- train(500, 1), 1)
report(case, "set-up and final ELBO of vae()", all - sum(fit$history$seconds), NA)
report(case, "conversion to float", seconds(
  .Call(elbo:::C_vae_data, x, colMeans(x), rep(1, ncol(x)))), "< 1")
data <- 4 * length(x) / 2^20
size <- 4 * fit$df / 2^20
report(case, "memory of vae() beyond x", megabytes(fit <- train(500, 2)),
       sprintf("%.0f of data, 3 x %.0f of parameters, a batch", data, size), "MB")

save_report("vae")
cat("\nWritten to", out, "\n")
