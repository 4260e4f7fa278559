# Mutual information between x and z.

# I_q(x; z) = E_x KL(q(z | x) || p(z)) - KL(q(z) || p(z)) in nats, q(z) the mean of q(z | x)
# over x (Hoffman and Johnson 2016): the part of the KL of the ELBO that z says of x.
# For q(z | x) = N(mean_i, variance_i), n x k each, it is estimated by the mean over rows, and
# over `draws` samples z of each from R's generator, of
#   log q(z | x_i) - log 1/n sum_j q(z | x_j).
# Of more than `most` rows as many are taken at random.
#
# Bias: of the n rows themselves, x one of them with equal probability, the estimate is
# without bias. As one of the population it is too low on average (the second term contains
# row i itself; Poole et al. 2019, section 2.3) and cannot exceed `bound`, log n: a value near
# that says only that the information is no less.
#
# Returns list(value, se, bound, n, draws); `se` takes the rows as independent.
#
# Hoffman, M. D. and Johnson, M. J. (2016). ELBO surgery: yet another way to carve up the
# variational evidence lower bound. NIPS Workshop on Advances in Approximate Bayesian
# Inference. Poole, B., Ozair, S., van den Oord, A., Alemi, A. and Tucker, G. (2019). On
# variational bounds of mutual information. International Conference on Machine Learning.
mutual_information <- function(mean, variance, draws = 1L, most = 2000L) {
  if (nrow(mean) > most) {
    rows <- sample.int(nrow(mean), most)
    mean <- mean[rows, , drop = FALSE]
    variance <- variance[rows, , drop = FALSE]
  }
  n <- nrow(mean)
  each <- numeric(n)
  for (draw in seq_len(draws)) {
    noise <- matrix(stats::rnorm(length(mean)), n)
    for (block in index_blocks(n, n)) {
      each[block] <- each[block] + information_of(mean, variance, noise, block) / draws
    }
  }
  list(value = base::mean(each), se = stats::sd(each) / sqrt(n), bound = log(n), n = n,
       draws = draws)
}

# log q(z | x_i) - log 1/n sum_j q(z | x_j) for the rows i in `block`, with
# z = mean_i + sd_i noise_i.
information_of <- function(mean, variance, noise, block) {
  precision <- 1 / variance
  noise <- noise[block, , drop = FALSE]
  z <- mean[block, , drop = FALSE] + sqrt(variance[block, , drop = FALSE]) * noise
  # sum_l (z_l - m_jl)^2 / v_jl of each pair, in products
  squares <- tcrossprod(z^2, precision) - 2 * tcrossprod(z, mean * precision) +
    rep(rowSums(mean^2 * precision), each = nrow(z))
  log_det <- rowSums(log(variance))
  log_q <- -0.5 * (squares + rep(log_det, each = nrow(z)))
  own <- -0.5 * (rowSums(noise^2) + log_det[block])
  log_q[cbind(seq_along(block), block)] <- own           # free of cancellation
  own - log_sum_exp(log_q) + log(nrow(mean))
}
