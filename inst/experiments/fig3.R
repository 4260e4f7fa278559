# Fig. 3 of Lucas et al. (2019): training a linear VAE of k = 200 dimensions with the
# stochastic and with the analytic ELBO, at the same learning rate.

## ---- fig3-train
source(system.file("experiments", "common.R", package = "elbo"))
x <- digits()
settings <- train_control(epochs = 2500, learning_rate = 0.003,
                          batch_size = if (nrow(x) > 5000) 1000)
train <- function(elbo) {
  set.seed(1)                                          # the same starting values
  linear_vae(x, 200, elbo = elbo, optimizer = "adam", sigma2 = 0.1, control = settings)
}
analytic <- train("analytic")
stochastic <- train("stochastic")
steps <- seq(1, settings$epochs, by = 9)
table <- data.frame(step = c(steps, settings$epochs),
                    analytic = c(analytic$history$elbo[steps], analytic$elbo),
                    stochastic = c(stochastic$history$elbo[steps], stochastic$elbo))
save_table(table, "fig3")

## ---- fig3-table
best <- linear_vae(digits(), 200, optimizer = "exact")
last <- table[nrow(table), ]
data.frame(training = c("analytic", "stochastic", "global maximum"),
           final_elbo = c(last$analytic, last$stochastic, best$elbo),
           paper = c(950.7, 939.3, NA))

## ---- fig3-plot
save_picture(function() {
  frame(range(table$step), c(0, 1000), xlab = "Training steps",
        ylab = "ELBO, nats per observation")
  abline(h = best$elbo, lty = 2, col = grey)
  lines(table$step, table$analytic, col = green, lwd = 2)
  lines(table$step, table$stochastic, col = orange, lwd = 2)
  legend("bottomright", bty = "n", lwd = 2, lty = c(1, 1, 2), col = c(green, orange, grey),
         legend = c("analytic ELBO", "stochastic ELBO", "global maximum"))
}, "fig3")
