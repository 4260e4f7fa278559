# Fig. 2 of Lucas et al. (2019): log marginal likelihood of pPCA and optimal ELBO of
# the linear VAE over the number of latent dimensions k, and the likelihood where
# sigma2 is kept at its value for k = 50 (W has its own sigma2(k)).

## ---- fig2-compute
source(system.file("experiments", "common.R", package = "elbo"))
x <- digits()
p <- ncol(x)
k <- 1:500
lambda <- ppca(x, k = 2)$values
sigma2 <- (sum(lambda) - cumsum(lambda))[k] / (p - k)
# eigenvalues of W W' + s I: c_j, each with its share of log det C + tr(C^-1 S)
likelihood <- function(k, s) {
  c_k <- lambda[seq_len(k)] - sigma2[k] + s
  rest <- sum(lambda[-seq_len(k)])
  -0.5 * (p * log(2 * pi) + sum(log(c_k)) + (p - k) * log(s) +
            sum(lambda[seq_len(k)] / c_k) + rest / s)
}
mle <- vapply(k, function(k) likelihood(k, sigma2[k]), 0)
fixed <- vapply(k, function(k) likelihood(k, sigma2[50]), 0)

## ---- fig2-elbo
# The optimal ELBO, of linear VAEs with their own V and D; and what coordinate ascent
# on the ELBO finds from random starts.
optimal_k <- c(1, seq(10, 500, by = 10))
optimal <- vapply(optimal_k, function(k) linear_vae(x, k, optimizer = "exact")$elbo, 0)
trained_k <- c(1, 5, 10, 25, 50, 75, 100, 150, 200)
set.seed(2)
trained <- vapply(trained_k, function(k) linear_vae(x, k)$elbo, 0)
table <- data.frame(k, sigma2, loglik = mle, loglik_fixed_sigma2 = fixed,
                    elbo_optimal = optimal[match(k, optimal_k)],
                    elbo_trained = trained[match(k, trained_k)])
save_table(table, "fig2")

## ---- fig2-table
c(optimal = max(abs(optimal - mle[optimal_k])),   # distance to the likelihood, in nats
  trained = max(abs(trained - mle[trained_k])))
k[which.max(fixed)]                               # where more components begin to hurt

## ---- fig2-plot
save_picture(function() {
  frame(range(k), range(mle, fixed), xlab = "Latent dimensions k",
        ylab = "Nats per observation")
  lines(k, mle, col = green, lwd = 2)
  lines(k, fixed, col = blue, lwd = 2)
  lines(optimal_k, optimal, col = orange, lwd = 2, lty = 2)
  points(trained_k, trained, col = orange, pch = 1, lwd = 2)
  abline(v = 50, lty = 3, col = grey)
  legend("bottomright", bty = "n", lwd = 2, lty = c(1, 2, NA, 1), pch = c(NA, NA, 1, NA),
         col = c(green, orange, orange, blue),
         legend = expression("log-likelihood at its maximum", "optimal ELBO",
                             "ELBO of trained linear VAEs",
                             paste("log-likelihood, ", sigma^2, " of k = 50")))
}, "fig2")
