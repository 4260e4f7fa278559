# Drawings of fitted models: base graphics for plot(), ggplot2 for autoplot().
# The functions *_data() decide what is drawn and both use them; nothing else
# here computes anything. Here are pPCA, the choice of rank and images; linear
# VAEs and what is computed from them are in plot-vae.R.
#
# Base drawings stay within one figure region and touch no layout, so that they
# can be panels of a figure that the user lays out with layout() or par(mfrow).
# Colours are from the palette of Okabe and Ito, which readers with any kind of
# colour vision can tell apart.

COLOURS <- c(blue = "#0072B2", orange = "#D55E00", grey = "#8C8C8C")

#' Plot a fitted pPCA model
#'
#' `plot()` draws with base graphics, `autoplot()` makes the same drawing as a
#' ggplot2 object.
#'
#' @details
#' * `"scree"`: the known eigenvalues in decreasing order, those of the `k`
#'   dimensions in use in blue, and the noise variance as a dashed line. It is
#'   the mean of the eigenvalues that are not in use. A fit knows `k` of them
#'   only if it comes from EM or from the iterative route; see `values` in
#'   [ppca()].
#' * `"scores"`: the posterior means of the observations in two latent
#'   dimensions, or in one against the row number. Axes give each dimension's
#'   share of the total variance.
#' * `"loadings"`: the loadings of each feature, one strip for each dimension;
#'   with `dim`, as images. All dimensions share one scale.
#' * `"history"`: log-likelihood over EM maps. Where the first tenth of them is
#'   far below the others it is left off the axis, which a note above the plot
#'   says.
#'
#' @param x,object a fitted [ppca()] model.
#' @param type what to draw.
#' @param dims latent dimensions to draw. By default the first two for
#'   `"scores"`, and for `"loadings"` the first four, or twelve as images.
#' @param dim for `"loadings"` of pixels: number of rows and of columns of the
#'   image, with p = rows x columns and pixels in row-major order as in
#'   [mnist1000].
#' @param n for `"scree"`: how many eigenvalues to show. By default 2 `k`, but
#'   30 or more where there are as many.
#' @param log for `"scree"`: `TRUE` for a logarithmic axis, on which eigenvalues
#'   of zero are left out; by default if the eigenvalues differ by a factor of
#'   more than 100.
#' @param col for `"scores"`: one colour, or a colour for each observation, or a
#'   factor with a value for each observation.
#' @param ... for `plot()`, graphical parameters such as `main`; for
#'   `autoplot()`, unused.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @seealso [plot_images()]
#' @references Okabe, M. and Ito, K. (2008). *Color universal design*, for the
#'   palette.
#' @examples
#' fit <- ppca(iris[1:4], k = 2)
#' plot(fit)
#' plot(fit, "scores", col = iris$Species)
#' plot(fit, "loadings")
#'
#' digits <- ppca(mnist1000$x / 255, k = 12)
#' plot(digits, "loadings", dim = c(28, 28))
#'
#' if (requireNamespace("ggplot2", quietly = TRUE)) {
#'   ggplot2::autoplot(fit, "scores", col = iris$Species)
#' }
#' @export
plot.ppca <- function(x, type = c("scree", "scores", "loadings", "history"),
                      dims = NULL, dim = NULL, n = NULL, log = NULL,
                      col = NULL, ...) {
  type <- check_ppca_plot(type, x)
  switch(type,
    scree = draw_scree(scree_data(x, n, log), ...),
    scores = draw_scores(scores_data(x, dims, col), ...),
    loadings = draw_loadings(loadings_data(x, dims, dim), ...),
    history = draw_history(ppca_history(x), ...)
  )
  invisible(x)
}

# ---- arguments -----------------------------------------------------------

check_ppca_plot <- function(type, x) {
  check_plot_type(type, c("scree", "scores", "loadings", "history"), x$method == "em",
                  "EM")
}

# One of `types`. `history`: whether the fit has one; `iterative`: what has one.
check_plot_type <- function(type, types, history, iterative) {
  type <- check_choice(type, "type", types)
  if (type == "history" && !history) {
    others <- dQuote(setdiff(types, type), FALSE)
    choice <- sub("(.*),", "\\1 or", paste(others, collapse = ", "))
    abort_arg("type", paste("be", choice, "for a fit in closed form"),
              sprintf("\"history\": only %s has one", iterative))
  }
  type
}

# `dims`, or the first `default` of all dimensions in `order`.
check_dims <- function(dims, default, order, most = length(order)) {
  k <- length(order)
  if (is.null(dims)) return(utils::head(order, default))
  ok <- is.numeric(dims) && !is.object(dims) && length(dims) >= 1 &&
    length(dims) <= most && all(dims %in% seq_len(k)) && !anyDuplicated(dims)
  if (!ok) {
    abort_arg("dims", sprintf("be %sdistinct whole numbers between 1 and %d",
                              if (most < k) paste("at most", most, "") else "", k),
              describe(dims))
  }
  as.integer(dims)
}

check_image_dim <- function(dim, p) {
  ok <- is.numeric(dim) && !is.object(dim) && length(dim) == 2 &&
    all(is.finite(dim)) && all(dim >= 1) && all(dim == round(dim))
  if (!ok || prod(dim) != p) {
    abort_arg("dim", sprintf("be two whole numbers, rows and columns, whose product is %d", p),
              if (ok) paste(dim, collapse = " x ") else describe(dim))
  }
  as.integer(dim)
}

# ---- what is drawn -------------------------------------------------------

# The dimensions of a fit, the most important first: as they are, but for a linear
# VAE, which may have found them in any order, by KL.
ranked_dimensions <- function(x) {
  if (is.null(x$kl_dimensions)) seq_len(x$k) else order(-x$kl_dimensions)
}

# The variance that an eigenvalue must exceed for its dimension to be of use.
noise_floor <- function(x) x$sigma2 * (if (is.null(x$beta)) 1 else x$beta)

scree_data <- function(x, n, log) {
  known <- length(x$values)
  n <- if (is.null(n)) min(known, max(2 * x$k, 30)) else check_count(n, "n", 1, known)
  values <- x$values[seq_len(n)]
  # What rounding alone could have made is no eigenvalue on a logarithmic axis.
  positive <- values > max(x$n, x$p) * .Machine$double.eps * values[1]
  noise <- noise_floor(x)
  if (is.null(log)) log <- needs_log(values[positive], noise)
  log <- check_flag(log, "log") && any(positive)
  # under a fixed sigma2 some of the k may have collapsed
  used <- seq_len(n) <= x$k & values > noise
  table <- data.frame(component = seq_len(n), eigenvalue = values, used = used,
                      state = factor(ifelse(used, "in use", "not in use"),
                                     c("in use", "not in use")))
  missing <- x$observed < x$n * x$p
  list(
    table = if (log) table[positive, ] else table,
    sigma2 = noise, log = log, colours = COLOURS[c("blue", "grey")],
    line = COLOURS[["orange"]],
    noise = bquote(.(if (x$fixed && !isTRUE(x$tuned)) "fixed noise variance" else "noise variance") ~
                     .(noise_symbol(x$beta)) == .(format(noise, digits = 3))),
    xlab = "Component",
    label = paste0("Eigenvalue of ", if (missing) "the fitted covariance" else "S",
                   if (!is.null(x$scale)) ", features scaled")
  )
}

# Whether numbers (in decreasing order) call for a logarithmic axis.
needs_log <- function(values, noise) {
  length(values) > 0 && values[1] > 100 * min(values, noise)
}

noise_symbol <- function(beta) {
  if (is.null(beta) || beta == 1) quote(sigma^2) else quote(beta * sigma^2)
}

scores_data <- function(x, dims, col) {
  dims <- check_dims(dims, 2, ranked_dimensions(x), min(2, x$k))
  share <- latent_labels(x, dims)
  table <- if (length(dims) == 1) {
    data.frame(x = seq_len(x$n), y = x$scores[, dims])
  } else {
    data.frame(x = x$scores[, dims[1]], y = x$scores[, dims[2]])
  }
  list(table = table, colours = point_colours(col, x$n), single = length(dims) == 1,
       labels = if (length(dims) == 1) c("Observation", share) else share)
}

# With the share of the variance, or for a linear VAE, whose dimensions need not be
# principal components, the KL.
latent_labels <- function(x, dims) {
  if (is.null(x$kl_dimensions)) {
    return(sprintf("z%d (%.1f %% of variance)", dims, 100 * x$values[dims] / x$trace))
  }
  sprintf("z%d (KL %.3g nats)", dims, x$kl_dimensions[dims])
}

# The colour of each point and, for a factor, its levels and their colours.
point_colours <- function(col, n) {
  if (is.null(col)) return(list(each = COLOURS[["blue"]]))
  ok <- length(col) %in% c(1, n) && is.null(base::dim(col))
  if (ok && is.factor(col)) {
    palette <- level_colours(nlevels(col))
    each <- palette[as.integer(col)]
    return(list(each = ifelse(is.na(each), "grey80", each), levels = levels(col),
                palette = palette, factor = col))
  }
  ok <- ok && is_colour(col)
  if (!ok) {
    abort_arg("col", sprintf("be colours or a factor, one or as many as observations (%d)", n),
              describe(col))
  }
  list(each = col)
}

is_colour <- function(col) {
  (is.character(col) || is.numeric(col)) && is.null(dim(col)) &&
    !inherits(try(grDevices::col2rgb(col), silent = TRUE), "try-error")
}

# Okabe and Ito's colours without the black that text has, and with the yellow,
# which is faint on white, last; where they do not suffice, steps of lightness.
level_colours <- function(levels) {
  okabe_ito <- unname(grDevices::palette.colors(9, "Okabe-Ito"))[c(2:4, 6:9, 5)]
  if (levels <= 8) return(okabe_ito[seq_len(levels)])
  grDevices::hcl.colors(levels + 1, "viridis")[seq_len(levels)]
}

# Loadings of `dims`, p x length(dims).
loadings_data <- function(x, dims, dim = NULL) {
  if (!is.null(dim)) dim <- check_image_dim(dim, x$p)
  dims <- check_dims(dims, if (is.null(dim)) 4 else 12, ranked_dimensions(x))
  reach <- max(abs(x$loadings[, dims]))
  # More names than this cannot be read along an axis.
  names <- if (x$p <= 40) x$features
  list(loadings = x$loadings[, dims, drop = FALSE], dim = dim, names = names,
       reach = if (reach > 0) reach else 1)
}

history_data <- function(x) {
  data.frame(iteration = x$history$iteration, loglik = x$history$loglik / x$n)
}

ppca_history <- function(x) {
  history <- history_data(x)
  history_curves(history$iteration, list(`log-likelihood` = history$loglik), "map",
                 "EM maps (passes over the data)", "Log-likelihood, nats per observation")
}

# Named `series` over iterations of a `unit`, in long form, the first drawn on top of the
# others. Values that are not finite are left out. The values of the first tenth of the iterations, where training starts, are left
# off the axis if they would take up most of it.
history_curves <- function(iteration, series, unit, xlab, ylab,
                           colours = c("blue", "orange")[seq_along(series)]) {
  curves <- data.frame(iteration = iteration,
                       series = factor(rep(names(series), each = length(iteration)),
                                       names(series)),
                       value = unlist(series, use.names = FALSE))
  first <- rep(seq_along(iteration) <= length(iteration) / 10, length(series))
  finite <- is.finite(curves$value)
  curves <- curves[finite, ]
  ylim <- range(curves$value)
  later <- range(curves$value[!first[finite]])
  out <- 0
  if (diff(ylim) > 4 * diff(later) && diff(later) > 0) {
    ylim <- later
    beyond <- curves$iteration[curves$value < ylim[1] | curves$value > ylim[2]]
    out <- max(beyond)
  }
  note <- if (out == 1) sprintf("first %s off the axis", unit) else
    if (out > 1) sprintf("first %d %ss off the axis", out, unit)
  list(curves = curves, ylim = ylim, note = note, xlab = xlab, ylab = ylab,
       colours = unname(COLOURS[colours]))
}

# ---- base graphics -------------------------------------------------------

# plot() with horizontal tick labels, close to the axis and so small that they keep
# clear of the axis title, and no fractions on an x axis of counts.
draw_frame <- function(x, y, ..., las = 1, mgp = c(3.1, 0.6, 0), tcl = -0.3,
                       xaxp = count_ticks(x), yaxt = "s", axes = TRUE,
                       cex.axis = graphics::par("cex.axis")) {
  plot(x, y, las = las, mgp = mgp, tcl = tcl, xaxp = xaxp, yaxt = "n", axes = axes,
       cex.axis = cex.axis, ...)
  if (!axes || yaxt == "n") return(invisible())
  wide <- max(graphics::strwidth(format(graphics::axTicks(2)), "inches", cex = cex.axis))
  line <- graphics::par("csi") * graphics::par("mex")
  room <- (mgp[1] - mgp[2] - 0.4) * line
  shrink <- if (las %in% 1:2) max(0.6, min(1, room / wide)) else 1
  graphics::axis(2, las = las, mgp = mgp, tcl = tcl, cex.axis = cex.axis * shrink)
}

count_ticks <- function(x) {
  reach <- range(x)
  if (all(x == round(x)) && diff(reach) %in% 1:8) c(reach, diff(reach))
}

# An x axis of names, as small as they need to be for none to be left out.
name_axis <- function(at, names, xlim) {
  graphics::axis(1, at, FALSE, tcl = -0.3)
  room <- 0.8 * graphics::par("pin")[1] / diff(xlim) / max(graphics::strwidth(names, "inches"))
  graphics::mtext(names, 1, 0.6, at = at,
                  cex = graphics::par("cex") * max(0.5, min(1, room)))
}

# In the functions below, arguments behind `...` are defaults that the user's
# graphical parameters override.

draw_scree <- function(scree, ..., xlab = scree$xlab, ylab = scree$label,
                       ylim = NULL, pch = 19, yaxt = "s") {
  table <- scree$table
  if (is.null(ylim)) {
    ylim <- range(table$eigenvalue, scree$sigma2, if (!scree$log) 0)
  }
  draw_frame(table$component, table$eigenvalue, log = if (scree$log) "y" else "",
             type = "n", xlab = xlab, ylab = ylab, ylim = ylim,
             yaxt = if (scree$log) "n" else yaxt, ...)
  if (scree$log && yaxt != "n") log_axis()
  graphics::abline(h = scree$sigma2, lty = 2, col = scree$line)
  graphics::points(table$component, table$eigenvalue, pch = pch,
                   col = scree$colours[table$state], cex = point_size(nrow(table), 60))
  states <- scree_legend(scree)
  legend_above(c(states$labels, scree$noise), c(states$colours, scree$line),
               pch = c(rep(pch, length(states$labels)), NA),
               lty = c(rep(NA, length(states$labels)), 2))
}

# The states there are (the first always), with the number that the first holds.
scree_legend <- function(scree) {
  count <- table(scree$table$state)
  shown <- count > 0 | seq_along(count) == 1
  labels <- names(count)
  labels[1] <- sprintf("%s (%d)", labels[1], count[[1]])
  list(labels = labels[shown], colours = unname(scree$colours[shown]))
}

# The ticks that R would choose, or the powers of ten alone where there are three,
# if asked for; each labelled as briefly as it can be.
log_axis <- function(side = 2, powers = FALSE) {
  at <- graphics::axTicks(side)
  ten <- abs(log10(at) - round(log10(at))) < 1e-9
  if (powers && sum(ten) >= 3) at <- at[ten]
  graphics::axis(side, at, vapply(at, format, ""), las = 1, mgp = c(3.1, 0.6, 0),
                 tcl = -0.3)
}

# Smaller points where there are more than `many`.
point_size <- function(n, many) max(0.3, min(1, sqrt(many / n)))

draw_scores <- function(scores, ..., xlab = scores$labels[1],
                        ylab = scores$labels[2], pch = 19,
                        cex = point_size(nrow(scores$table), 300),
                        asp = if (scores$single) NA else 1) {
  # Points in a random order would show no level on top, but a plot must not
  # touch the generator; translucent points show what they cover.
  col <- grDevices::adjustcolor(scores$colours$each, 0.7)
  draw_frame(scores$table$x, scores$table$y, xlab = xlab, ylab = ylab, pch = pch,
             cex = cex, col = col, asp = asp, ...)
  if (!is.null(scores$colours$levels)) {
    legend_above(scores$colours$levels, scores$colours$palette, pch = pch)
  }
}

draw_loadings <- function(data, ...) {
  if (is.null(data$dim)) draw_loading_strips(data, ...) else draw_loading_images(data, ...)
}

# One strip a dimension, from the top; a unit of height is two times `reach`.
draw_loading_strips <- function(data, ...,
                                xlab = if (is.null(data$names)) "Feature" else "",
                                lwd = NULL) {
  w <- data$loadings
  p <- nrow(w)
  strips <- ncol(w)
  centre <- rev(seq_len(strips))
  unit <- 0.45 / data$reach
  old <- graphics::par(mar = c(bottom_lines(data$names), 6, 2.5, 1))
  on.exit(graphics::par(old))
  if (is.null(lwd)) lwd <- max(1, min(8, 150 / p))
  plot(NULL, xlim = c(1, p) + c(-0.5, 0.5), ylim = c(0.5, strips + 0.5), xlab = xlab,
       ylab = "", axes = FALSE, yaxs = "i", ...)
  graphics::abline(h = centre, col = "grey85")
  graphics::segments(rep(seq_len(p), strips), rep(centre, each = p),
                     y1 = rep(centre, each = p) + unit * as.vector(w),
                     lwd = lwd, lend = "butt", col = COLOURS[["blue"]])
  tick <- max(Filter(function(at) at <= 0.7 * data$reach, pretty(c(0, data$reach), 4)))
  ticks <- c(-tick, 0, tick)
  graphics::axis(2, at = as.vector(outer(unit * ticks, centre, "+")),
                 labels = rep(format(ticks), strips), las = 1, cex.axis = 0.8)
  cex <- graphics::par("cex")               # which mtext() alone disregards
  graphics::mtext(colnames(w), side = 2, line = 3.6, at = centre, las = 1, cex = cex)
  graphics::mtext("Loading", side = 3, line = 0.4, adj = 0, cex = cex)
  if (is.null(data$names)) {
    graphics::axis(1)
  } else {
    graphics::axis(1, at = seq_len(p), labels = data$names, las = 2, tick = FALSE)
  }
  graphics::box()
}

# Lines of margin that upright feature names need.
bottom_lines <- function(names) {
  if (is.null(names)) return(4)
  line <- graphics::par("csi") * graphics::par("mex")
  min(12, 1.5 + max(graphics::strwidth(names, "inches")) / line)
}

draw_loading_images <- function(data, ...) {
  draw_images(t(data$loadings), data$dim, labels = colnames(data$loadings),
              limits = c(-1, 1) * data$reach, col = diverging_colours(), key = TRUE, ...)
}

# Blue below zero, white at zero, orange above.
diverging_colours <- function() {
  grDevices::colorRampPalette(c("#003F66", COLOURS[["blue"]], "white",
                                COLOURS[["orange"]], "#7A3500"))(255)
}

draw_history <- function(history, ..., xlab = history$xlab, ylab = history$ylab,
                         ylim = NULL, pch = 19, cex = NULL) {
  curves <- history$curves
  series <- split(curves, curves$series)
  steps <- nrow(series[[1]])
  if (is.null(cex)) cex <- point_size(steps, 40)
  note <- if (is.null(ylim)) history$note
  if (is.null(ylim)) ylim <- history$ylim
  if (!is.null(history$level) && (history$level < min(ylim) || history$level > max(ylim))) {
    history[c("level", "label")] <- NULL
  }
  draw_frame(curves$iteration, curves$value, type = "n", xlab = xlab, ylab = ylab,
             ylim = ylim, ...)
  graphics::abline(h = history$level, lty = 2)
  for (i in rev(seq_along(series))) {
    graphics::lines(series[[i]]$iteration, series[[i]]$value, pch = pch, cex = cex,
                    type = if (steps <= 200) "o" else "l", col = history$colours[i])
  }
  if (!is.null(history$final)) {
    graphics::points(history$final$iteration, history$final$value, pch = 4, lwd = 2,
                     cex = 1.3)
  }
  history_legend(history, note)
}

history_legend <- function(history, note) {
  names <- levels(history$curves$series)
  lines <- if (length(names) > 1) names          # one is on the axis
  entries <- c(lines, history$final$label, history$label, note)
  if (is.null(entries)) return(invisible())
  last <- length(entries) - length(lines)
  of <- function(line, cross, level) {
    c(rep(line, length(lines)), if (!is.null(history$final)) cross,
      if (!is.null(history$label)) level, if (!is.null(note)) NA)
  }
  legend_above(entries, c(history$colours[seq_along(lines)], rep("black", last)),
               pch = of(NA, 4, NA), lty = of(1, NA, 2))
}

# A legend in one line above the plot, where it can hide nothing, shrunk to fit.
# Positions are in inches from the left of the plot, which work on log axes too.
legend_above <- function(labels, col, pch = NA, lty = NA) {
  labels <- as.expression(labels)
  entries <- length(labels)
  pch <- rep_len(pch, entries)
  lty <- rep_len(lty, entries)
  symbol <- ifelse(!is.na(lty), 0.34, ifelse(is.na(pch), 0, 0.14))
  gap <- 0.18
  text <- vapply(seq_along(labels), function(i) {
    graphics::strwidth(labels[i], "inches")
  }, numeric(1))
  cex <- min(0.9, graphics::par("pin")[1] / sum(symbol + text + gap))
  if (cex < 0.3) return(invisible())          # no room that would be legible
  start <- cumsum(c(0, utils::head((symbol + text + gap) * cex, -1)))
  left <- graphics::grconvertX(0, "npc", "inches")
  top <- graphics::grconvertY(1, "npc", "inches")
  across <- function(at) graphics::grconvertX(left + at, "inches", "user")
  y <- graphics::grconvertY(top + 0.13, "inches", "user")
  graphics::points(across(start + 0.05), rep(y, entries), pch = pch, col = col,
                   cex = cex, xpd = NA)
  lines <- which(!is.na(lty))
  if (length(lines)) {
    graphics::segments(across(start[lines]), y, across(start[lines] + 0.27 * cex),
                       lty = lty[lines], col = col[lines], lwd = 1.5, xpd = NA)
  }
  graphics::text(across(start + symbol * cex), y, labels, adj = c(0, 0.5),
                 cex = cex, xpd = NA)
}

# ---- images --------------------------------------------------------------

#' Draw rows of a matrix as images
#'
#' Draws each row of a matrix of pixels, such as [mnist1000], a reconstruction
#' or an imputation, as a grey image; all on one scale, in a grid that makes the
#' most of the figure.
#'
#' @param x a matrix with one image in each row, or a vector for one image.
#'   Missing cells are drawn in the colour `missing`.
#' @param dim number of rows and of columns of an image. Pixels are in row-major
#'   order: column j of `x` is the pixel in row `(j - 1) %/% dim[2] + 1` and
#'   column `(j - 1) %% dim[2] + 1`, counted from the top left corner.
#' @param labels `NULL`, or a label for each image.
#' @param ncol `NULL`, or the number of images side by side.
#' @param limits `NULL` for the range of `x`, or the two values that get the
#'   first and the last colour; values beyond are drawn as the nearer one.
#' @param col colours from low to high values; by default from white to black,
#'   as ink on paper.
#' @param missing the colour of missing cells.
#' @param ... further arguments for [graphics::title()], such as `main`.
#' @return `x`, invisibly.
#' @examples
#' x <- mnist1000$x[1:10, ]
#' plot_images(x, c(28, 28), labels = mnist1000$y[1:10])
#'
#' fit <- ppca(mnist1000$x / 255, k = 50)
#' plot_images(predict(fit, x / 255, type = "reconstruction"), c(28, 28),
#'             limits = c(0, 1), main = "Reconstructions")
#' @export
plot_images <- function(x, dim, labels = NULL, ncol = NULL, limits = NULL,
                        col = grDevices::grey(255:0 / 255), missing = "#F5D9A8",
                        ...) {
  draw_images(as_image_rows(x), dim, labels, ncol, limits, col, missing, ...)
  invisible(x)
}

as_image_rows <- function(x) {
  if (is.numeric(x) && is.null(base::dim(x)) && !is.object(x)) x <- t(x)
  x <- as.matrix(as_data_matrix(x))
  if (nrow(x) < 1) abort_arg("x", "have at least 1 row", 0)
  x
}

# One image a cell of a grid. A pixel is one unit wide and high; images hang
# from the top of their cell, below the label.
draw_images <- function(x, dim, labels = NULL, ncol = NULL, limits = NULL,
                        col = grDevices::grey(255:0 / 255), missing = "#F5D9A8",
                        key = FALSE, ..., main = NULL) {
  dim <- check_image_dim(dim, base::ncol(x))
  limits <- check_limits(limits, x)
  if (!is.null(labels) && length(labels) != nrow(x)) {
    abort_arg("labels", sprintf("be NULL or have %d elements, one for each image", nrow(x)),
              describe(labels))
  }
  if (!is_colour(col) || !length(col)) abort_arg("col", "hold colours", describe(col))
  if (!is_colour(missing) || length(missing) != 1) {
    abort_arg("missing", "be a colour", describe(missing))
  }
  old <- graphics::par(mar = c(if (key) 2.5 else 0.2, 0.2, if (is.null(main)) 0.2 else 2, 0.2))
  on.exit(graphics::par(old))
  graphics::plot.new()
  gap <- 0.1 * max(dim)
  heading <- if (is.null(labels)) 0 else 0.22 * max(dim)
  cell <- c(dim[2] + gap, dim[1] + gap + heading)
  ncol <- if (is.null(ncol)) best_columns(nrow(x), cell) else
    check_count(ncol, "ncol", 1, nrow(x))
  # Large images need less than that for a line of text.
  heading <- min(heading, 1.3 * graphics::par("csi") / inches_per_pixel(nrow(x), ncol, cell))
  cell[2] <- dim[1] + gap + heading
  graphics::plot.window(c(0, ncol * cell[1]), c(-ceiling(nrow(x) / ncol) * cell[2], 0),
                        asp = 1, xaxs = "i", yaxs = "i")
  left <- (seq_len(nrow(x)) - 1) %% ncol * cell[1] + gap / 2
  top <- -((seq_len(nrow(x)) - 1) %/% ncol * cell[2] + gap / 2 + heading)
  for (i in seq_len(nrow(x))) {
    graphics::rasterImage(image_raster(x[i, ], dim, limits, col, missing),
                          left[i], top[i] - dim[1], left[i] + dim[2], top[i],
                          interpolate = FALSE)
  }
  graphics::rect(left, top - dim[1], left + dim[2], top, border = "grey75", lwd = 0.7)
  if (!is.null(labels)) image_labels(labels, left + dim[2] / 2, top, cell[1], heading)
  graphics::title(main = main, ...)
  if (key) colour_key(limits, col)
}

check_limits <- function(limits, x) {
  if (is.null(limits)) {
    finite <- x[is.finite(x)]
    limits <- if (length(finite)) range(finite) else c(0, 1)
    # An image of one value gets the middle colour.
    return(if (limits[1] < limits[2]) limits else limits[1] + c(-0.5, 0.5))
  }
  ok <- is.numeric(limits) && length(limits) == 2 && all(is.finite(limits)) &&
    limits[1] < limits[2]
  if (!ok) abort_arg("limits", "be NULL or two increasing numbers", describe(limits))
  limits
}

# The number of columns that makes images largest in the plot region.
best_columns <- function(images, cell) {
  which.max(inches_per_pixel(images, seq_len(images), cell))
}

inches_per_pixel <- function(images, columns, cell) {
  pmin(graphics::par("pin")[1] / (columns * cell[1]),
       graphics::par("pin")[2] / (ceiling(images / columns) * cell[2]))
}

image_raster <- function(values, dim, limits, col, missing) {
  level <- pmin(pmax((values - limits[1]) / diff(limits), 0), 1)
  colours <- grDevices::rgb(t(grDevices::col2rgb(col)), maxColorValue = 255)
  cells <- colours[1 + round(level * (length(col) - 1))]
  cells[is.na(cells)] <- missing
  grDevices::as.raster(matrix(cells, dim[1], dim[2], byrow = TRUE))
}

# Text as large as all labels allow, in the `heading` above the images.
image_labels <- function(labels, x, y, width, heading) {
  labels <- as.character(labels)
  cex <- min(1, width / max(graphics::strwidth(labels)),
             0.75 * heading / graphics::strheight("Mg"))
  graphics::text(x, y + 0.2 * heading, labels, cex = cex, adj = c(0.5, 0))
}

# The scale of colours, in the bottom margin.
colour_key <- function(limits, col) {
  x <- graphics::grconvertX(0.5, "npc", "inches") + c(-0.9, 0.9)
  x <- graphics::grconvertX(x, "inches", "user")
  y <- graphics::grconvertY(0, "npc", "inches") - c(0.2, 0.08)
  y <- graphics::grconvertY(y, "inches", "user")
  graphics::rasterImage(t(col), x[1], y[1], x[2], y[2], xpd = NA)
  graphics::rect(x[1], y[1], x[2], y[2], border = "grey75", lwd = 0.7, xpd = NA)
  at <- c(limits[1], mean(limits), limits[2])
  graphics::text(c(x[1], mean(x), x[2]), y[1] - 0.6 * graphics::strheight("0"),
                 format(signif(at, 2), trim = TRUE), cex = 0.8, adj = c(0.5, 1), xpd = NA)
}

# ---- choice of rank ------------------------------------------------------

#' Plot a choice of rank
#'
#' Draws the criterion over the candidates with the chosen `k` marked, in nats:
#' for AIC and BIC both, divided by -2n, which is log-likelihood per observation
#' less the penalty; for the Laplace approximation the log evidence per
#' observation; for held-out cells the log density per cell with bars of one
#' standard error to each side. Higher is better throughout.
#'
#' @param x,object the result of [select_rank()].
#' @param ... for `plot()`, graphical parameters such as `xlim`; for
#'   `autoplot()`, unused.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @examples
#' ranks <- select_rank(iris[1:4])
#' plot(ranks)
#' @export
plot.rank_selection <- function(x, ...) {
  draw_ranks(ranks_data(x), ...)
  invisible(x)
}

# Curves in long form, the criterion that chose first.
ranks_data <- function(x) {
  table <- x$table
  curve <- function(name, score, se = 0) {
    data.frame(k = table$k, criterion = name, score = score, se = se)
  }
  curves <- switch(x$criterion,
    laplace = curve("Laplace evidence", table$laplace / x$n),
    heldout = curve("held-out cells", table$heldout, table$heldout_se),
    rbind(curve("-BIC / 2n", -table$bic / (2 * x$n)),
          curve("-AIC / 2n", -table$aic / (2 * x$n)))
  )
  label <- switch(x$criterion,
    laplace = "Log evidence, nats per observation",
    heldout = "Held-out log density, nats per cell",
    "Nats per observation"
  )
  names <- unique(curves$criterion)
  if (x$criterion == "aic") names <- rev(names)
  curves$criterion <- factor(curves$criterion, names)
  best <- curves[curves$k == x$k & curves$criterion == names[1], ]
  list(curves = curves, label = label, best = best,
       chosen = sprintf("chosen by %s: k = %d", criterion_label(x$criterion), x$k))
}

draw_ranks <- function(data, ..., xlab = "Latent dimensions k", ylab = data$label,
                       ylim = NULL) {
  curves <- data$curves
  if (is.null(ylim)) {
    ylim <- range(curves$score - curves$se, curves$score + curves$se, finite = TRUE)
  }
  draw_frame(curves$k, curves$score, type = "n", xlab = xlab, ylab = ylab,
             ylim = ylim, ...)
  graphics::abline(v = data$best$k, lty = 3, col = COLOURS[["grey"]])
  names <- levels(curves$criterion)
  col <- COLOURS[c("blue", "orange")][seq_along(names)]
  for (i in seq_along(names)) {
    one <- curves[curves$criterion == names[i], ]
    few <- nrow(one) <= 40
    graphics::lines(one$k, one$score, col = col[i], lwd = 1.5, lty = i,
                    type = if (few) "o" else "l", pch = 21, bg = "white")
    bars <- one[which(one$se > 0), ]
    graphics::segments(bars$k, bars$score - bars$se, y1 = bars$score + bars$se,
                       col = col[i])
  }
  graphics::points(data$best$k, data$best$score, pch = 19, cex = 1.3, col = col[1])
  entries <- c(rep(length(names) > 1, length(names)), TRUE)  # one is on the axis
  legend_above(c(names, data$chosen)[entries], c(col, col[1])[entries],
               pch = c(rep(NA, length(names)), 19)[entries],
               lty = c(seq_along(names), NA)[entries])
}

# ---- ggplot2 -------------------------------------------------------------

# The pronoun of ggplot2's aes(), for R CMD check.
utils::globalVariables(".data")

check_installed <- function(package, what) {
  if (!requireNamespace(package, quietly = TRUE)) {
    abort(what, " needs the package ", package, ": `install.packages(\"", package,
          "\")`, or use `plot()`.")
  }
}

#' @rdname plot.ppca
#' @exportS3Method ggplot2::autoplot
autoplot.ppca <- function(object, type = c("scree", "scores", "loadings", "history"),
                          dims = NULL, dim = NULL, n = NULL, log = NULL, col = NULL,
                          ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  type <- check_ppca_plot(type, object)
  switch(type,
    scree = gg_scree(scree_data(object, n, log)),
    scores = gg_scores(scores_data(object, dims, col)),
    loadings = gg_loadings(loadings_data(object, dims, dim)),
    history = gg_history(ppca_history(object))
  )
}

gg_scree <- function(scree) {
  colours <- stats::setNames(scree$colours, levels(scree$table$state))
  ggplot2::ggplot(scree$table,
                  ggplot2::aes(x = .data[["component"]], y = .data[["eigenvalue"]])) +
    ggplot2::geom_hline(yintercept = scree$sigma2, linetype = 2, colour = scree$line) +
    ggplot2::geom_point(ggplot2::aes(colour = .data[["state"]])) +
    ggplot2::scale_x_continuous(breaks = whole_breaks) +
    ggplot2::scale_colour_manual(NULL, values = colours) +
    (if (scree$log) ggplot2::scale_y_log10() else ggplot2::expand_limits(y = 0)) +
    ggplot2::labs(x = scree$xlab, y = scree$label,
                  subtitle = bquote("Dashed:" ~ .(scree$noise)))
}

whole_breaks <- function(limits) unique(floor(pretty(limits)))

gg_scores <- function(scores) {
  table <- scores$table
  given <- scores$colours
  table$colour <- if (is.null(given$levels)) given$each else given$factor
  ggplot2::ggplot(table, ggplot2::aes(x = .data[["x"]], y = .data[["y"]],
                                      colour = .data[["colour"]])) +
    ggplot2::geom_point(alpha = 0.7, size = 2 * point_size(nrow(table), 300)) +
    (if (is.null(given$levels)) ggplot2::scale_colour_identity() else
      ggplot2::scale_colour_manual(NULL, values = given$palette, drop = FALSE)) +
    (if (!scores$single) ggplot2::coord_equal()) +
    ggplot2::labs(x = scores$labels[1], y = scores$labels[2])
}

# Long form: a row for each feature and dimension.
long_loadings <- function(data) {
  w <- data$loadings
  data.frame(feature = rep(seq_len(nrow(w)), ncol(w)),
             component = factor(rep(colnames(w), each = nrow(w)), colnames(w)),
             loading = as.vector(w))
}

gg_loadings <- function(data) {
  if (is.null(data$dim)) gg_loading_strips(data) else gg_loading_images(data)
}

gg_loading_strips <- function(data) {
  named <- !is.null(data$names)
  axis <- if (named) {
    list(ggplot2::scale_x_continuous(breaks = seq_along(data$names), labels = data$names,
                                     minor_breaks = NULL),
         ggplot2::theme(axis.text.x = ggplot2::element_text(angle = 90, hjust = 1, vjust = 0.5)))
  }
  ggplot2::ggplot(long_loadings(data),
                  ggplot2::aes(x = .data[["feature"]], y = .data[["loading"]])) +
    ggplot2::geom_col(width = if (named) 0.6 else 1, fill = COLOURS[["blue"]]) +
    ggplot2::geom_hline(yintercept = 0, colour = "grey60") +
    ggplot2::facet_grid(ggplot2::vars(.data[["component"]])) +
    axis +
    ggplot2::labs(x = if (named) NULL else "Feature", y = "Loading")
}

gg_loading_images <- function(data) {
  table <- long_loadings(data)
  table$row <- (table$feature - 1) %/% data$dim[2] + 1
  table$column <- (table$feature - 1) %% data$dim[2] + 1
  ggplot2::ggplot(table, ggplot2::aes(x = .data[["column"]], y = .data[["row"]],
                                      fill = .data[["loading"]])) +
    ggplot2::geom_raster() +
    ggplot2::facet_wrap(ggplot2::vars(.data[["component"]])) +
    ggplot2::scale_y_reverse(expand = c(0, 0)) +
    ggplot2::scale_x_continuous(expand = c(0, 0)) +
    ggplot2::scale_fill_gradientn("Loading", colours = diverging_colours(),
                                  limits = c(-1, 1) * data$reach) +
    ggplot2::coord_equal() +
    ggplot2::theme(axis.title = ggplot2::element_blank(), axis.text = ggplot2::element_blank(),
                   axis.ticks = ggplot2::element_blank(),
                   panel.border = ggplot2::element_rect(fill = NA, colour = "grey75"))
}

gg_history <- function(history) {
  curves <- history$curves
  steps <- nrow(curves) / nlevels(curves$series)
  final <- history$final
  notes <- c(if (!is.null(final)) paste("Cross:", final$label),
             if (!is.null(history$label)) paste("Dashed:", history$label), history$note)
  curves <- curves[order(-as.integer(curves$series)), ]
  ggplot2::ggplot(curves, ggplot2::aes(x = .data[["iteration"]], y = .data[["value"]])) +
    (if (steps > 1) {
      ggplot2::geom_line(ggplot2::aes(colour = .data[["series"]],
                                      group = -as.integer(.data[["series"]])))
    }) +
    (if (steps <= 200) {
      ggplot2::geom_point(ggplot2::aes(colour = .data[["series"]]),
                          size = 2 * point_size(steps, 40))
    }) +
    (if (!is.null(final)) {
      ggplot2::geom_point(data = final, shape = 4, size = 2, stroke = 1)
    }) +
    (if (!is.null(history$level)) {
      ggplot2::geom_hline(yintercept = history$level, linetype = 2)
    }) +
    ggplot2::scale_x_continuous(breaks = whole_breaks) +
    ggplot2::scale_colour_manual(NULL, values = history$colours) +
    (if (nlevels(curves$series) == 1) ggplot2::guides(colour = "none")) +
    ggplot2::coord_cartesian(ylim = history$ylim) +
    ggplot2::labs(x = history$xlab, y = history$ylab,
                  subtitle = if (length(notes)) paste(notes, collapse = "; "))
}

#' @rdname plot.rank_selection
#' @exportS3Method ggplot2::autoplot
autoplot.rank_selection <- function(object, ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  data <- ranks_data(object)
  curves <- data$curves
  bars <- curves[which(curves$se > 0), ]
  few <- nrow(object$table) <= 40
  ggplot2::ggplot(curves, ggplot2::aes(x = .data[["k"]], y = .data[["score"]],
                                       colour = .data[["criterion"]])) +
    ggplot2::geom_vline(xintercept = data$best$k, linetype = 3) +
    ggplot2::geom_line(ggplot2::aes(linetype = .data[["criterion"]])) +
    ggplot2::geom_linerange(ggplot2::aes(ymin = .data[["score"]] - .data[["se"]],
                                         ymax = .data[["score"]] + .data[["se"]]),
                            data = bars, show.legend = FALSE) +
    (if (few) ggplot2::geom_point(shape = 21, fill = "white")) +
    ggplot2::geom_point(data = data$best, size = 3, show.legend = FALSE) +
    ggplot2::scale_x_continuous(breaks = whole_breaks) +
    ggplot2::scale_colour_manual(NULL, values = unname(COLOURS[c("blue", "orange")])) +
    ggplot2::scale_linetype_discrete(NULL) +
    (if (nlevels(curves$criterion) == 1) {
      ggplot2::guides(colour = "none", linetype = "none")
    }) +
    ggplot2::labs(x = "Latent dimensions k", y = data$label,
                  subtitle = paste0(toupper(substr(data$chosen, 1, 1)), substring(data$chosen, 2)))
}
