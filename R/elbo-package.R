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
#' * `options(elbo.threads = )`: threads for these products and for the training of
#'   [vae()], by default two, or one where there is only one processor.
#'   `OMP_NUM_THREADS` and `OMP_THREAD_LIMIT` limit them, and a process that was forked
#'   after elbo was loaded (`parallel::mclapply()`) works with one.
#' * `options(elbo.blas = "R")`: leave the products to R's BLAS.
#' * `options(elbo.kernel = )`: `"avx2"` or `"portable"` to use less than the processor
#'   offers, for tests.
#'
#' @name elbo-package
#' @docType package
#' @keywords internal
#' @useDynLib elbo, .registration = TRUE
NULL
