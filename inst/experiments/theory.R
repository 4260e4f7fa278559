# Lemma 1, Corollary 1 and Theorem 1 of Lucas et al. (2019) as experiments: linear VAEs
# from 50 random starts.

## ---- theory-learned
source(system.file("experiments", "common.R", package = "elbo"))
x <- digits()
k <- 10
pca <- ppca(x, k)
best <- pca$loglik / pca$n
set.seed(3)
learned <- do.call(rbind, lapply(1:50, function(start) {
  fit <- linear_vae(x, k, control = train_control(tol = 1e-11))
  data.frame(start, elbo = fit$elbo, relative_gap = (best - fit$elbo) / abs(best),
             sigma2 = fit$sigma2, axis_distance = alignment(fit, pca)$axis,
             rounds = fit$iterations)
}))
summary(learned[c("relative_gap", "axis_distance", "rounds")])

## ---- theory-fixed
# A noise variance between the 6th and the 7th eigenvalue. What stability() says of
# the point with six directions, before any training:
between <- mean(pca$values[6:7])
stability(ppca(x, k, sigma2 = between))[5:9, ]

fixed <- do.call(rbind, lapply(1:50, function(start) {
  fit <- linear_vae(x, k, sigma2 = between, learn_sigma2 = FALSE)
  data.frame(start, elbo = fit$elbo, collapsed = sum(fit$kl_dimensions < 0.01))
}))
table(dimensions_collapsed = fixed$collapsed)
diff(range(fixed$elbo))

## ---- theory-plot
names(fixed)[-1] <- paste0("fixed_", names(fixed)[-1])
save_table(cbind(learned, fixed[-1]), "theory")
save_picture(function() {
  frame(c(1, 50), c(1e-16, 1e-4), log = "y", ylog = TRUE, xlab = "Random start",
        ylab = "Relative gap to the maximum")
  abline(h = 1e-6, lty = 2, col = grey)
  points(learned$start, pmax(learned$relative_gap, 1e-16), pch = 19, col = blue)
}, "theory", height = 3.2)
