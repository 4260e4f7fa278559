# KL annealing on the linear VAE: dimensions that wake up under a small weight of the
# KL collapse again once the weight is back at 1 (Lucas et al. 2019, section 3).

## ---- annealing-train
source(system.file("experiments", "common.R", package = "elbo"))
x <- digits()
k <- 20
schedule <- c(rep(0.05, 300), seq(0.05, 1, length.out = 300))
train <- function(beta) {
  set.seed(5)
  control <- train_control(epochs = 1, learning_rate = 0.02)
  fit <- linear_vae(x, k, optimizer = "adam", sigma2 = 1, learn_sigma2 = FALSE,
                    beta = beta, control = control)
  do.call(rbind, lapply(seq(20, 1200, 20), function(epoch) {
    fit <<- update(fit, epochs = epoch)
    data.frame(epoch, beta = fit$beta, awake = sum(fit$kl_dimensions >= 0.01),
               elbo = fit$elbo)
  }))
}

annealed <- train(schedule)
plain <- train(1)
table <- cbind(annealed, plain_awake = plain$awake, plain_elbo = plain$elbo)
save_table(table, "annealing")
theory <- posterior_collapse(linear_vae(x, k, sigma2 = 1, learn_sigma2 = FALSE,
                                        optimizer = "exact"))
predicted <- sum(!theory$dimensions$predicted)
table[table$epoch %in% c(100, 300, 600, 1200), ]

## ---- annealing-plot
save_picture(function() {
  frame(range(table$epoch), c(0, k), xlab = "Epochs",
        ylab = "Dimensions with a KL of 0.01 or more")
  abline(h = predicted, lty = 2, col = grey)
  lines(table$epoch, table$plain_awake, col = blue, lwd = 2)
  lines(table$epoch, table$awake, col = orange, lwd = 2)
  abline(v = c(300, 600), lty = 3, col = grey)
  mtext(expression(beta == 0.05, beta %->% 1, beta == 1), at = c(150, 450, 900), line = 0.4)
  legend("bottomright", bty = "n", lwd = 2, lty = c(1, 1, 2), col = c(orange, blue, grey),
         legend = expression("annealed", paste(beta, " = 1 throughout"),
                             paste("predicted by ", lambda > sigma^2)))
}, "annealing")
