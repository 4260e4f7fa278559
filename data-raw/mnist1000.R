# Makes data/mnist1000.rda (the first 1,000 MNIST training digits) and, for
# examples and tests, inst/extdata/digits-*.gz (the first 10, as IDX files).
# Run at the top of the package:
#
#   Rscript data-raw/mnist1000.R train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz

paths <- commandArgs(trailingOnly = TRUE)
if (length(paths) != 2) stop("usage: Rscript data-raw/mnist1000.R IMAGES LABELS")
source("R/checks.R")
source("R/data.R")

x <- read_idx(paths[1])
y <- read_idx(paths[2])
stopifnot(identical(dim(x), c(60000L, 784L)), length(y) == 60000)

mnist1000 <- list(x = x[1:1000, ], y = y[1:1000])
dir.create("data", showWarnings = FALSE)
save(mnist1000, file = "data/mnist1000.rda", compress = "xz", compression_level = 9)

# `bytes`: an array's values as whole numbers 0..255, in the order of the file.
write_idx <- function(bytes, sizes, path) {
  con <- gzfile(path, "wb", compression = 9)
  on.exit(close(con))
  writeBin(as.raw(c(0, 0, 8, length(sizes))), con)
  writeBin(as.integer(sizes), con, endian = "big")
  writeBin(as.raw(bytes), con)
}

dir.create("inst/extdata", recursive = TRUE, showWarnings = FALSE)
write_idx(t(x[1:10, ]), c(10, 28, 28), "inst/extdata/digits-images-idx3-ubyte.gz")
write_idx(y[1:10], 10, "inst/extdata/digits-labels-idx1-ubyte.gz")
