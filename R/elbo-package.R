#' elbo: probabilistic PCA and variational autoencoders on one scale
#'
#' Latent variable models of continuous data, fitted natively in C and reported
#' in nats per observation: the log-likelihood where it is tractable, the
#' evidence lower bound (ELBO) where it is not. Start with [ppca()] and
#' [linear_vae()]; `help(elbo)` is about the function [elbo()].
#'
#' @section Options:
#' Large matrix products are made by kernels of the package's own, in AVX-512, AVX2 or
#' portable C, whichever the processor has; R's reference BLAS takes many times as
#' long. Results do not depend on the number of threads.
#' * `options(elbo.threads = )`: threads for these products, by default two, or one
#'   where there is only one processor. `OMP_NUM_THREADS` and `OMP_THREAD_LIMIT` limit
#'   them, and a forked process (`parallel::mclapply()`) works with one.
#' * `options(elbo.blas = "R")`: leave the products to R's BLAS.
#' * `options(elbo.kernel = )`: `"avx2"` or `"portable"` to use less than the processor
#'   offers, for tests.
#'
#' @name elbo-package
#' @docType package
#' @keywords internal
#' @useDynLib elbo, .registration = TRUE
NULL

# A process that parallel forked may have inherited the OpenMP of another package,
# without its threads: to use more than one would then wait for them forever. Where
# elbo was loaded before the fork, the C code knows.
.onLoad <- function(libname, pkgname) {
  if (is.null(getOption("elbo.threads")) && is_forked_child()) options(elbo.threads = 1L)
}

is_forked_child <- function() {
  if (!"parallel" %in% loadedNamespaces()) return(FALSE)
  is_child <- get0("isChild", asNamespace("parallel"), mode = "function", inherits = FALSE)
  is.function(is_child) && isTRUE(tryCatch(is_child(), error = function(e) FALSE))
}
