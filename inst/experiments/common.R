# What the experiments share. Each script runs alone, as
#   Rscript fig1.R
# on the 1,000 digits that come with the package, and writes NAME.csv and NAME.png
# to the directory ELBO_OUT (by default the current one). With ELBO_MNIST, a
# directory of MNIST's IDX files, it runs on all 60,000 training images. (The scripts on
# deep VAEs, which share mnist.R and runner.R, too, keep their results otherwise.)

library(elbo)

out_dir <- Sys.getenv("ELBO_OUT", ".")
mnist_dir <- Sys.getenv("ELBO_MNIST", "")

# Pixels from 0 to 1, an image in each row.
digits <- function() {
  if (!nzchar(mnist_dir)) return(mnist1000$x / 255)
  read_idx(file.path(mnist_dir, "train-images-idx3-ubyte.gz")) / 255
}

save_table <- function(table, name) {
  utils::write.csv(table, file.path(out_dir, paste0(name, ".csv")), row.names = FALSE)
}

# Draws to NAME.png; in a vignette also there.
save_picture <- function(draw, name, width = 7, height = 4) {
  grDevices::png(file.path(out_dir, paste0(name, ".png")), width, height, units = "in",
                 res = 110)
  tryCatch(draw(), finally = grDevices::dev.off())
  if (isTRUE(getOption("knitr.in.progress"))) draw()
  invisible()
}

# The palette of Okabe and Ito.
blue <- "#0072B2"
orange <- "#D55E00"
green <- "#009E73"
grey <- "#8C8C8C"

# An empty plot with axes as in the package's own plots.
frame <- function(x, y, ..., xlab, ylab, ylog = FALSE) {
  graphics::par(mar = c(3.5, 4.6, 2, 1))
  graphics::plot(x, y, type = "n", las = 1, mgp = c(3, 0.5, 0), tcl = -0.3, xlab = "",
                 ylab = "", yaxt = if (ylog) "n" else "s", ...)
  if (ylog) {
    powers <- seq(ceiling(log10(min(y))), floor(log10(max(y))), by = 2)
    graphics::axis(2, 10^powers, parse(text = paste0("10^", powers)), las = 1,
                   mgp = c(3, 0.6, 0), tcl = -0.3)
  }
  graphics::title(xlab = xlab, line = 2)
  graphics::title(ylab = ylab, line = 3.2)
}
