#' elbo: probabilistic PCA and variational autoencoders on one scale
#'
#' Latent variable models of continuous data, fitted natively in C and reported
#' in nats per observation: the log-likelihood where it is tractable, the
#' evidence lower bound (ELBO) where it is not. Start with [ppca()] and
#' [linear_vae()]; `help(elbo)` is about the function [elbo()].
#'
#' @name elbo-package
#' @docType package
#' @keywords internal
#' @useDynLib elbo, .registration = TRUE
NULL
