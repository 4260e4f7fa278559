# Which models find the principal components themselves: alignment of the decoder with
# the principal directions while a linear autoencoder with a uniform and with an
# ordered penalty, and a linear VAE, are trained (Kunin et al. 2019; Bao et al. 2020;
# Lucas et al. 2019, Corollary 1).

## ---- autoencoders-train
source(system.file("experiments", "common.R", package = "elbo"))
x <- digits()
k <- 10
pca <- ppca(x, k)
checks <- unique(round(10^seq(1, log10(4000), length.out = 25)))
follow <- function(fit) {
  do.call(rbind, lapply(checks, function(epoch) {
    fit <<- update(fit, epochs = epoch)
    a <- alignment(fit, pca)
    data.frame(epoch, axis = a$axis, subspace = a$subspace)
  }))
}
# The same for coordinate ascent, whose rotation goes there at once.
follow_rounds <- function() {
  do.call(rbind, lapply(checks[checks <= 300], function(rounds) {
    set.seed(6)
    fit <- suppressWarnings(linear_vae(x, k, control = train_control(
      accelerate = "none", maxit = rounds, tol = 1e-15), start = "random"))
    a <- alignment(fit, pca)
    data.frame(epoch = rounds, axis = a$axis, subspace = a$subspace)
  }))
}
control <- train_control(epochs = 1, learning_rate = 0.005)
set.seed(6)
runs <- list(
  "autoencoder, uniform penalty" = follow(linear_ae(x, k, "uniform", optimizer = "adam",
                                                    control = control)),
  "autoencoder, ordered penalty" = follow(linear_ae(x, k, "ordered", optimizer = "adam",
                                                    control = control)),
  "linear VAE" = follow(linear_vae(x, k, optimizer = "adam", control = control)),
  "linear VAE, coordinate ascent" = follow_rounds()
)
table <- do.call(rbind, lapply(names(runs), function(name) cbind(model = name, runs[[name]])))
save_table(table, "autoencoders")
signif(t(vapply(runs, function(run) unlist(run[nrow(run), ]), numeric(3))), 2)

## ---- autoencoders-plot
save_picture(function() {
  old <- par(mfrow = c(1, 2))
  on.exit(par(old))
  colours <- c(orange, blue, green, "black")
  for (what in c("axis", "subspace")) {
    frame(range(checks), c(1e-6, 1), log = "xy", ylog = TRUE, xlab = "Epochs (rounds)",
          ylab = "Distance from the principal ones",
          main = if (what == "axis") "Directions" else "Their span")
    for (i in seq_along(runs)) {
      lines(runs[[i]]$epoch, pmax(runs[[i]][[what]], 1e-7), col = colours[i], lwd = 2)
    }
    if (what == "axis") {
      legend("bottomleft", names(runs), col = colours, lwd = 2, bty = "n", cex = 0.75)
    }
  }
}, "autoencoders", width = 8, height = 4.2)
