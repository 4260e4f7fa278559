# The saddle points of Theorem 1, seen: coordinate ascent on the ELBO of a linear VAE
# (k = 40) with and without the rotation that makes W'W diagonal, and accelerated.

## ---- rotation-train
source(system.file("experiments", "common.R", package = "elbo"))
x <- digits()
k <- 40
best <- linear_vae(x, k, optimizer = "exact")$elbo
variants <- list(
  "coordinate ascent" = train_control(accelerate = "none", rotate = FALSE, maxit = 3000),
  "with rotation" = train_control(accelerate = "none", maxit = 1500),
  "with rotation, SQUAREM" = train_control(accelerate = "squarem", maxit = 400),
  "with rotation, Anderson" = train_control(maxit = 200)
)
runs <- lapply(variants, function(control) {
  set.seed(4)
  control$tol <- 1e-13
  suppressWarnings(linear_vae(x, k, control = control))$history
})

## ---- rotation-table
gap_after <- function(history, rounds) {
  seen <- history$iteration <= rounds
  if (max(history$iteration) < rounds) NA else best - max(history$elbo[seen])
}
rounds <- c(50, 100, 120, 150, 1000, 3000)
gaps <- t(vapply(runs, function(history) vapply(rounds, gap_after, 0, history = history),
                 numeric(length(rounds))))
colnames(gaps) <- paste("after", rounds)
signif(gaps, 2)
table <- do.call(rbind, lapply(names(runs), function(name) {
  h <- runs[[name]]
  h <- h[unique(round(10^seq(0, log10(nrow(h)), length.out = 150))), ]
  data.frame(variant = name, round = h$iteration, gap = best - h$elbo)
}))
save_table(table, "rotation")

## ---- rotation-plot
save_picture(function() {
  frame(c(1, 3000), c(1e-8, 1000), log = "xy", ylog = TRUE, xlab = "Rounds",
        ylab = "Maximum - ELBO, nats per observation")
  colours <- c(orange, blue, green, "black")
  for (i in seq_along(runs)) {
    one <- table[table$variant == names(runs)[i], ]
    lines(one$round, pmax(one$gap, 1e-9), col = colours[i], lwd = 2, lty = c(1, 2, 4, 1)[i])
  }
  legend("bottomleft", names(runs), col = colours, lwd = 2, lty = c(1, 2, 4, 1), bty = "n")
}, "rotation", height = 4.5)
