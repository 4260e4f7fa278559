# The full MNIST files are not in the package. mnist_dir() looks for them at
# Sys.getenv("ELBO_MNIST"), then in shared/data/mnist beside the checkout: beside
# any directory above this one, as tests run in tests/testthat of the checkout or
# of an R CMD check directory. NULL where there are none.
mnist_dir <- function() {
  given <- Sys.getenv("ELBO_MNIST")
  if (nzchar(given)) return(given)
  dir <- normalizePath(getwd())
  while (dirname(dir) != dir) {
    dir <- dirname(dir)
    candidate <- file.path(dir, "shared", "data", "mnist")
    if (dir.exists(candidate)) return(candidate)
  }
  NULL
}

mnist_file <- function(name) {
  file.path(mnist_dir(), paste0(name, ".gz"))
}

skip_without_mnist <- function() {
  dir <- mnist_dir()
  if (is.null(dir)) {
    testthat::skip("Full MNIST not found: set ELBO_MNIST to the directory of its files")
  }
  if (!file.exists(file.path(dir, "train-images-idx3-ubyte.gz"))) {
    testthat::skip(paste("No train-images-idx3-ubyte.gz in", dir))
  }
}
