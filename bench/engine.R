# Rates of the package's own matrix products, float and double, beside those of OpenBLAS
# (R's BLAS where there is none), with one thread and with two; and ppca() with the
# package's products, with R's BLAS, and on an R with the reference BLAS and LAPACK, where
# these are installed too.
#
#   Rscript bench/engine.R [directory of the MNIST files]
#
# Prints a table and writes bench/results/engine.csv. The products are those of a deep VAE
# (784 features, layers of 512 and 256, 200 latent dimensions) for batches of 100, 500 and
# 1,000, and the symmetric ones of blocks of data, by a small C program,
# bench/shared/gemm_rates.c, that is compiled with src/gemm.c as the package is. Each rate
# is the best in 0.15 s.

library(elbo)
source("bench/shared/timing.R")
source("bench/shared/programs.R")

cat("Beside", basename(other_blas), "\n")
for (threads in 1:2) {
  table <- do.call(rbind, lapply(c(100, 500, 1000), rates, threads))
  for (type in unique(table$type)) {
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
  read <- sprintf("x <- elbo::read_idx(%s) / 255; library(elbo)",
                  deparse(file.path(mnist, "train-images-idx3-ubyte.gz")))
  fastest <- paste(read, "cat(min(replicate(3, system.time(%s)[[3]])))", sep = "; ")
  case <- "ppca() of MNIST 60,000 x 784, k = 50"
  cat("\n", case, "\n", sep = "")
  own <- in_other_r(sprintf(fastest, "ppca(x, 50)"))
  report(case, "products by the package", own)
  report(case, "products by R's BLAS",
         in_other_r(sprintf(fastest, "{options(elbo.blas = 'R'); ppca(x, 50)}")))
  reference <- reference_libraries()
  if (length(reference)) {
    stock <- in_other_r(sprintf(fastest, "ppca(x, 50)"), reference)
    slow <- in_other_r(paste(read, "cat(system.time(prcomp(x, rank. = 50))[[3]])", sep = "; "),
                       reference)
    report(case, "on R with the reference BLAS and LAPACK", stock)
    report(case, "that / on R with its own", stock / own, "<= 1.5", "x")
    report(case, "prcomp(x, rank. = 50) with the reference BLAS", slow)
    report(case, "prcomp / ppca with the reference BLAS", slow / stock, ">= 80", "x")
  }
}

save_report("engine")
cat("\nWritten to", out, "\n")
