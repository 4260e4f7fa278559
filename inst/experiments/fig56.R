# Fig. 5 and 6 of Lucas et al. (2019): latent dimensions that have (eps, 0.01)-collapsed,
# over eps, of the rows of Table 1: sigma2 learned (Fig. 5) and fixed (Fig. 6). Draws what
# table1.R has stored.

source(system.file("experiments", "mnist.R", package = "elbo"), local = TRUE)

# One line for each value of sigma2; where there are several seeds, their mean.
draw_collapse_curves <- function(curves, main, of) {
  values <- sort(unique(as.numeric(as.character(curves$sigma2))), decreasing = TRUE)
  colours <- grDevices::hcl.colors(6, "Viridis")[seq_along(values)]
  frame(range(curves$eps), c(0, 100), log = "x", main = main, cex.main = 1,
        xlab = expression(paste("Threshold ", epsilon, " of the KL, nats")),
        ylab = "Collapsed dimensions, per cent")
  abline(v = 0.01, lty = 3, col = grey)
  for (i in seq_along(values)) {
    rows <- curves[curves$sigma2 == values[i], ]
    line <- stats::aggregate(rows["percent"], rows["eps"], mean)
    lines(line$eps, line$percent, col = colours[i], lwd = 2)
  }
  legend("topleft", bty = "n", lwd = 2, col = colours, cex = 0.9, title = of,
         legend = vapply(values, format, "", scientific = FALSE))
}

draw_fig56 <- function(curves) {
  titles <- expression(learned = paste(sigma^2, " learned"), fixed = paste(sigma^2, " fixed"))
  first <- expression(learned = paste("start of ", sigma^2), fixed = sigma^2)
  kinds <- intersect(names(titles), curves$kind)
  old <- par(mfrow = c(1, length(kinds)))
  on.exit(par(old))
  for (kind in kinds) {
    draw_collapse_curves(curves[curves$kind == kind, ], titles[kind], first[kind])
  }
}

if (sys.nframe() == 0L) {
  curves <- stored("table1-collapse")
  if (is.null(curves) || !any(c("fixed", "learned") %in% curves$kind)) {
    say("fig56: table1.R has stored nothing to draw yet")
  } else {
    save_picture(function() draw_fig56(curves), "fig56", width = 9, height = 4.2)
  }
}
