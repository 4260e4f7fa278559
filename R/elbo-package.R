#' elbo: probabilistic PCA and variational autoencoders on one scale
#'
#' Latent variable models of continuous data, fitted natively in C and reported
#' in nats per observation: the log-likelihood where it is tractable, the
#' evidence lower bound (ELBO) where it is not. Start with [ppca()].
#'
#' @keywords internal
#' @useDynLib elbo, .registration = TRUE
"_PACKAGE"
