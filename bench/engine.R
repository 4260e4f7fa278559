# Rates of the package's own matrix products, float and double, beside those of R's
# BLAS, with one thread and with two; and ppca() on both.
#
#   Rscript bench/engine.R [directory of the MNIST files]
#
# Prints a table and writes bench/results/engine.csv. The rates are of a small C
# program, bench/shared/gemm_rates.c, that is compiled with src/gemm.c as the package
# is. Each is the best of 25 runs.

library(elbo)
source("bench/shared/timing.R")

config <- function(what) system2(file.path(R.home("bin"), "R"), c("CMD", "config", what), stdout = TRUE)
program <- tempfile("gemm_rates")
status <- system(paste(config("CC"), "-O2 -fopenmp -Isrc bench/shared/gemm_rates.c src/gemm.c src/threads.c -o",
                       program, "-lm -ldl -lpthread"))
stopifnot(status == 0)
blas <- extSoftVersion()[["BLAS"]]

rates <- function(threads) {
  Sys.setenv(OPENBLAS_NUM_THREADS = threads)
  on.exit(Sys.unsetenv("OPENBLAS_NUM_THREADS"))
  utils::read.csv(text = system2(program, c(threads, blas), stdout = TRUE))
}
for (threads in 1:2) {
  table <- rates(threads)
  for (type in c("float", "double")) {
    part <- table[table$type == type, ]
    case <- sprintf("%s products, %d thread%s", type, threads, if (threads > 1) "s" else "")
    cat("\n", case, "\n", sep = "")
    ratio <- part$ours / part$blas
    shape <- sprintf("%s %dx%dx%d", part$trans, part$m, part$n, part$k)
    for (i in seq_len(nrow(part))) {
      cat(sprintf("  %-18s %6.1f GFlop/s, BLAS %6.1f, ratio %.2f\n", shape[i], part$ours[i],
                  part$blas[i], ratio[i]))
    }
    report(case, "geometric mean of ours", exp(mean(log(part$ours))), NA, "GFlop/s")
    report(case, "geometric mean of ours / BLAS", exp(mean(log(ratio))), ">= 1", "x")
    report(case, paste("worst of ours / BLAS,", shape[which.min(ratio)]), min(ratio), ">= 0.9", "x")
  }
}

if (!is.null(mnist)) {
  x <- read_idx(file.path(mnist, "train-images-idx3-ubyte.gz")) / 255
  case <- "ppca() of MNIST 60,000 x 784, k = 50"
  cat("\n", case, "\n", sep = "")
  own <- seconds(ppca(x, 50))
  options(elbo.blas = "R")
  other <- seconds(ppca(x, 50))
  options(elbo.blas = NULL)
  report(case, "products by the package", own)
  report(case, "products by R's BLAS", other)
}

save_report("engine")
cat("\nWritten to", out, "\n")
