# Drawings of linear VAEs, of what is computed from them (collapse, stability,
# landscape), and of linear autoencoders, built as plot.R says and from its parts.

# ---- linear VAEs ---------------------------------------------------------

#' Plot a fitted linear VAE
#'
#' `plot()` draws with base graphics, `autoplot()` makes the same drawing as a
#' ggplot2 object.
#'
#' @details
#' * `"kl"`: the KL of each latent dimension, mean over the observations, in
#'   decreasing order; those below 0.01 nats, which have collapsed, in grey. The
#'   rings (a line, if there are more than 60) are what they would be at the optimum
#'   for the model's `sigma2` and `beta`: 1/2 log(lambda_j / (beta sigma2)), or 0
#'   where the eigenvalue lambda_j does not exceed beta sigma2.
#' * `"history"`: ELBO per observation over rounds, evaluations or epochs and,
#'   where `beta` was not 1 throughout, the objective. The first tenth is left off
#'   the axis where it is far from the rest, which a note above the plot says. Where
#'   training met estimates only (stochastic ELBO or mini-batches), a cross gives
#'   the exact ELBO of the fit.
#' * `"scores"`: means of q(z | x) for the observations in two latent dimensions, or
#'   in one against the row number.
#' * `"loadings"`: as in [plot.ppca()].
#' * `"scree"`: as in [plot.ppca()], with beta sigma2 for the noise variance. In use
#'   are the dimensions that are at the optimum; [stability()] finds those that the
#'   model does use.
#'
#' @inheritParams plot.ppca
#' @param x,object a fitted [linear_vae()] model.
#' @param dims latent dimensions to draw. By default those with the largest KL: two
#'   for `"scores"`, and for `"loadings"` four, or twelve as images.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @seealso [plot.posterior_collapse()], [plot.stability()], [plot.landscape()]
#' @references Lucas et al. (2019), see [linear_vae()], for the KL at the optimum.
#' @examples
#' fit <- linear_vae(iris[1:4], k = 3, sigma2 = 0.1, learn_sigma2 = FALSE)
#' plot(fit)
#' plot(fit, "history")
#' plot(fit, "scores", col = iris$Species)
#'
#' digits <- linear_vae(mnist1000$x / 255, k = 12, optimizer = "exact")
#' plot(digits, "loadings", dim = c(28, 28))
#'
#' if (requireNamespace("ggplot2", quietly = TRUE)) {
#'   ggplot2::autoplot(fit)
#' }
#' @export
plot.linear_vae <- function(x, type = c("kl", "history", "scores", "loadings", "scree"),
                            dims = NULL, dim = NULL, n = NULL, log = NULL, col = NULL,
                            ...) {
  type <- check_vae_plot(type, x)
  switch(type,
    kl = draw_kl(kl_data(x), ...),
    history = draw_history(vae_history(x), ...),
    scores = draw_scores(scores_data(x, dims, col), ...),
    loadings = draw_loadings(loadings_data(x, dims, dim), ...),
    scree = draw_scree(scree_data(x, n, log), ...)
  )
  invisible(x)
}

#' @rdname plot.linear_vae
#' @exportS3Method ggplot2::autoplot
autoplot.linear_vae <- function(object,
                                type = c("kl", "history", "scores", "loadings", "scree"),
                                dims = NULL, dim = NULL, n = NULL, log = NULL, col = NULL,
                                ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  type <- check_vae_plot(type, object)
  switch(type,
    kl = gg_kl(kl_data(object)),
    history = gg_history(vae_history(object)),
    scores = gg_scores(scores_data(object, dims, col)),
    loadings = gg_loadings(loadings_data(object, dims, dim)),
    scree = gg_scree(scree_data(object, n, log))
  )
}

check_vae_plot <- function(type, x) {
  check_plot_type(type, c("kl", "history", "scores", "loadings", "scree"),
                  is_iterative(x), "an iterative optimiser")
}

is_iterative <- function(x) x$optimizer %in% c("em", "lbfgs", "adam")

# Dimensions by decreasing KL, the largest with the largest eigenvalue.
kl_data <- function(x) {
  out <- kl_ranked(x$kl_dimensions)
  theory <- predict_collapse(x, out$table$kl, x$beta)$predicted_kl
  theory[is.na(theory)] <- 0                 # beyond the rank eigenvalues are zero
  out$table$theory <- theory
  out$label <- bquote("at the optimum: " * 1/2 * " " *
                        log(lambda / .(if (x$beta == 1) quote(sigma^2) else
                          quote((beta * sigma^2)))))
  out
}

# The KL of each dimension, a named vector. What it is compared with comes to it with a
# `label`: `table$theory`, one for each dimension, or `level`, one for all.
kl_ranked <- function(kl) {
  rank <- order(-kl)
  state <- factor(ifelse(kl[rank] < 0.01, "collapsed", "in use"), c("in use", "collapsed"))
  list(table = data.frame(rank = seq_along(kl), dimension = names(kl)[rank],
                          kl = unname(kl[rank]), state = unname(state)),
       colours = COLOURS[c("blue", "grey")])
}

# Names of the dimensions where there is room for them, and otherwise ranks.
kl_names <- function(data) if (nrow(data$table) <= 20) data$table$dimension

kl_axis_label <- function(data) {
  if (is.null(kl_names(data))) "Latent dimension, by decreasing KL" else "Latent dimension"
}

KL_LABEL <- "KL from the prior, nats per observation"

kl_limits <- function(data) c(0, max(data$table$kl, data$table$theory, data$level, 0.1))

# Up to 60 dimensions have stems, and rings for the theory, in which the points can
# be seen; more have points, and a line.
draw_kl <- function(data, ..., xlab = kl_axis_label(data), ylab = KL_LABEL,
                    ylim = kl_limits(data), xlim = NULL, xaxt = "s", pch = 19) {
  table <- data$table
  few <- nrow(table) <= 60
  names <- kl_names(data)
  if (is.null(xlim)) xlim <- c(0.5, nrow(table) + 0.5)
  draw_frame(table$rank, table$kl, type = "n", xlab = xlab, ylab = ylab, ylim = ylim,
             xlim = xlim, xaxt = if (is.null(names)) xaxt else "n", ...)
  if (!is.null(names) && xaxt != "n") {
    name_axis(table$rank, names, xlim)
  }
  graphics::abline(h = data$level, lty = 2, col = COLOURS[["orange"]])
  col <- data$colours[table$state]
  if (few) {
    graphics::segments(table$rank, 0, y1 = table$kl, lend = "butt", col = col,
                       lwd = max(1, min(4, 80 / nrow(table))))
  }
  graphics::points(table$rank, table$kl, pch = pch, col = col,
                   cex = point_size(nrow(table), 60))
  rings <- few && !is.null(table$theory)
  if (!is.null(table$theory)) {
    graphics::lines(table$rank, table$theory, type = if (few) "p" else "l", pch = 1,
                    cex = 1.7, lwd = if (few) 1.5 else 1, col = COLOURS[["orange"]])
  }
  states <- scree_legend(data)
  compared <- !is.null(data$label)
  legend_above(c(states$labels, if (compared) data$label),
               c(states$colours, if (compared) COLOURS[["orange"]]),
               pch = c(rep(pch, length(states$labels)), if (compared) if (rings) 1 else NA),
               lty = c(rep(NA, length(states$labels)),
                       if (compared) if (rings) NA else if (is.null(data$level)) 1 else 2))
}

gg_kl <- function(data) {
  names <- kl_names(data)
  few <- nrow(data$table) <= 60
  colours <- stats::setNames(data$colours, levels(data$table$state))
  stems <- if (few) {
    ggplot2::geom_linerange(ggplot2::aes(ymin = 0, ymax = .data[["kl"]]),
                            linewidth = max(0.4, min(1.5, 30 / nrow(data$table))),
                            show.legend = FALSE)
  }
  axis <- if (is.null(names)) ggplot2::scale_x_continuous(breaks = whole_breaks) else
    ggplot2::scale_x_continuous(breaks = data$table$rank, labels = names,
                                minor_breaks = NULL, expand = c(0, 0.6))
  compared <- gg_kl_compared(data, few)
  ggplot2::ggplot(data$table, ggplot2::aes(x = .data[["rank"]], y = .data[["kl"]],
                                           colour = .data[["state"]])) +
    stems +
    ggplot2::geom_point(size = if (few) 2 else 1) +
    compared$layer +
    axis +
    ggplot2::scale_colour_manual(NULL, values = colours) +
    ggplot2::expand_limits(y = kl_limits(data)) +
    ggplot2::labs(x = kl_axis_label(data), y = KL_LABEL,
                  subtitle = if (!is.null(data$label)) {
                    bquote(.(compared$sign) * ", " * .(data$label))
                  })
}

gg_kl_compared <- function(data, few) {
  colour <- COLOURS[["orange"]]
  if (!is.null(data$level)) {
    list(sign = "Dashed",
         layer = ggplot2::geom_hline(yintercept = data$level, linetype = 2, colour = colour))
  } else if (is.null(data$table$theory)) {
    NULL
  } else if (few) {
    list(sign = "Rings",
         layer = ggplot2::geom_point(ggplot2::aes(y = .data[["theory"]]), shape = 1,
                                     size = 3.5, stroke = 0.8, colour = colour))
  } else {
    list(sign = "Line",
         layer = ggplot2::geom_line(ggplot2::aes(y = .data[["theory"]]), linewidth = 0.3,
                                    colour = colour))
  }
}

vae_history <- function(x) {
  history <- x$history
  unit <- switch(x$optimizer, em = "round", lbfgs = "evaluation", adam = "epoch")
  xlab <- switch(x$optimizer, em = "Rounds of coordinate ascent",
                 lbfgs = "Evaluations of the objective", adam = "Epochs")
  weighted <- any(history$beta != 1)
  series <- list(ELBO = history$elbo)
  if (weighted) series[["objective (KL weighted by beta)"]] <- history$objective
  out <- history_curves(history$iteration, series, unit, xlab,
                        if (weighted) "Nats per observation" else
                          "ELBO, nats per observation")
  if (estimates_history(x)) {
    out$final <- data.frame(iteration = x$iterations, value = x$elbo,
                            label = "exact ELBO of the fit")
    out$ylim <- range(out$ylim, x$elbo)
  }
  out
}

# Whether the terms in the history are estimates.
estimates_history <- function(x) {
  batch <- x$control$batch_size
  x$optimizer == "adam" &&
    (x$objective == "stochastic" || (!is.null(batch) && batch < x$n))
}

# ---- posterior collapse --------------------------------------------------

#' Plot posterior collapse
#'
#' Draws the percentage of collapsed dimensions over eps, on a logarithmic axis, as
#' in Fig. 4 of Lucas et al. (2019). The curve is exact: it rises where eps passes
#' the `threshold` of a dimension. The point marks the chosen `eps`, and the dashed
#' line the percentage that the theory of the linear VAE predicts to have
#' collapsed altogether, see [posterior_collapse()].
#'
#' @details
#' The axis reaches from the smallest threshold to the largest, but not below a
#' hundredth of `eps`: dimensions that collapse at less than that, among them those
#' whose posterior is the prior, are in the curve from its beginning. `xlim` shows
#' another range.
#'
#' @param x,object the result of [posterior_collapse()].
#' @param ... for `plot()`, graphical parameters such as `xlim`; for `autoplot()`,
#'   unused.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @references Lucas et al. (2019), section 6.2; see [linear_vae()].
#' @examples
#' fit <- linear_vae(mnist1000$x / 255, k = 20, sigma2 = 1, learn_sigma2 = FALSE,
#'                   optimizer = "exact")
#' plot(posterior_collapse(fit))
#' @export
plot.posterior_collapse <- function(x, ...) {
  draw_collapse(collapse_data(x), ...)
  invisible(x)
}

#' @rdname plot.posterior_collapse
#' @exportS3Method ggplot2::autoplot
autoplot.posterior_collapse <- function(object, ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  gg_collapse(collapse_data(object))
}

# `steps`: the percentage just above each eps at which it changes, and above 0.
collapse_data <- function(x) {
  threshold <- x$dimensions$threshold
  at <- sort(unique(c(0, threshold)))
  shown <- pmax(c(threshold[threshold > 0], x$eps * c(0.2, 5)), 0.01 * x$eps)
  predicted <- x$dimensions$predicted
  told <- !all(is.na(predicted))             # by the theory
  predicted[is.na(predicted)] <- TRUE        # beyond the rank eigenvalues are zero
  list(steps = data.frame(eps = at, percent = 100 * stats::ecdf(threshold)(at)),
       chosen = data.frame(eps = x$eps, percent = x$percent),
       predicted = if (told) 100 * mean(predicted),
       xlim = range(shown) * c(0.5, 2),
       xlab = quote("Threshold " * epsilon * " for the KL, nats"),
       ylab = "Collapsed dimensions, %",
       label = bquote(paste(epsilon == .(format(x$eps)), ", ", delta == .(format(x$delta)),
                            .(sprintf(": %.4g %% of %d", x$percent, nrow(x$dimensions))))))
}

# The steps over an interval of eps.
steps_between <- function(steps, limits) {
  inside <- steps$eps > limits[1] & steps$eps < limits[2]
  percent <- function(eps) steps$percent[findInterval(eps, steps$eps)]
  data.frame(eps = c(limits[1], steps$eps[inside], limits[2]),
             percent = c(percent(limits[1]), steps$percent[inside], percent(limits[2])))
}

draw_collapse <- function(data, ..., xlab = data$xlab, ylab = data$ylab, xlim = NULL,
                          ylim = c(0, 100), log = "x", xaxt = "s", pch = 19) {
  if (is.null(xlim)) xlim <- data$xlim
  draw_frame(xlim, ylim, type = "n", log = log, xlab = xlab, ylab = ylab, xlim = xlim,
             ylim = ylim, xaxt = "n", ...)
  if (xaxt != "n") log_axis(1, powers = TRUE)
  reach <- graphics::par("usr")[1:2]
  reach <- if (graphics::par("xlog")) 10^reach else pmax(reach, 0)
  graphics::abline(h = data$predicted, lty = 2, col = COLOURS[["orange"]])
  graphics::abline(v = data$chosen$eps, lty = 3, col = COLOURS[["grey"]])
  curve <- steps_between(data$steps, reach)
  graphics::lines(curve$eps, curve$percent, type = "s", lwd = 1.5,
                  col = COLOURS[["blue"]])
  graphics::points(data$chosen$eps, data$chosen$percent, pch = pch,
                   col = COLOURS[["blue"]], xpd = NA)
  told <- !is.null(data$predicted)
  legend_above(c(data$label, if (told) sprintf("predicted: %.4g %%", data$predicted)),
               COLOURS[c("blue", if (told) "orange")], pch = c(pch, if (told) NA),
               lty = c(NA, if (told) 2))
}

gg_collapse <- function(data) {
  curve <- steps_between(data$steps, data$xlim)
  ggplot2::ggplot(curve, ggplot2::aes(x = .data[["eps"]], y = .data[["percent"]])) +
    (if (!is.null(data$predicted)) {
      ggplot2::geom_hline(yintercept = data$predicted, linetype = 2,
                          colour = COLOURS[["orange"]])
    }) +
    ggplot2::geom_vline(xintercept = data$chosen$eps, linetype = 3) +
    ggplot2::geom_step(colour = COLOURS[["blue"]]) +
    ggplot2::geom_point(data = data$chosen, colour = COLOURS[["blue"]], size = 2.5) +
    ggplot2::scale_x_log10(labels = function(at) vapply(at, format, "")) +
    ggplot2::coord_cartesian(ylim = c(0, 100)) +
    ggplot2::labs(x = data$xlab, y = data$ylab,
                  subtitle = bquote("Point: " * .(data$label) * .(
                    if (is.null(data$predicted)) "" else
                      sprintf("; dashed: predicted, %.4g %%", data$predicted))))
}

# ---- stability -----------------------------------------------------------

#' Plot the stability of a stationary point
#'
#' Draws the eigenvalues of the principal directions in decreasing order: those
#' that the model uses, those it does not use and that are stable, and those it does
#' not use and along which the likelihood rises. The dashed line is the noise
#' variance: with a zero column in W the unused directions above it are not stable.
#'
#' @param x,object the result of [stability()].
#' @param n how many directions to show. By default 30, and twice as many as up to
#'   the last that is in use or not stable, where there are as many.
#' @param log `TRUE` for a logarithmic axis, on which eigenvalues of zero are left
#'   out; by default if the eigenvalues differ by a factor of more than 100.
#' @param ... for `plot()`, graphical parameters such as `main`; for `autoplot()`,
#'   unused.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @examples
#' fit <- ppca(iris[1:4], k = 3, sigma2 = 0.1)
#' plot(stability(fit))
#' plot(stability(fit, sigma2 = 0.05))
#' @export
plot.stability <- function(x, n = NULL, log = NULL, ...) {
  draw_scree(stability_data(x, n, log), ...)
  invisible(x)
}

#' @rdname plot.stability
#' @exportS3Method ggplot2::autoplot
autoplot.stability <- function(object, n = NULL, log = NULL, ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  gg_scree(stability_data(object, n, log))
}

# As scree_data().
stability_data <- function(x, n, log, arg = "x") {
  need <- c("direction", "eigenvalue", "in_use", "stable")
  if (!all(need %in% names(x)) || !nrow(x) || is.null(attr(x, "sigma2"))) {
    abort_arg(arg, "be as stability() returned it, with all columns and attributes")
  }
  sigma2 <- attr(x, "sigma2")
  last <- max(which(x$in_use | !x$stable), 0)
  n <- if (is.null(n)) min(nrow(x), max(30, 2 * last)) else check_count(n, "n", 1, nrow(x))
  value <- x$eigenvalue[seq_len(n)]
  positive <- value > 1e-13 * max(value)
  if (is.null(log)) log <- needs_log(value[positive], sigma2)
  log <- check_flag(log, "log") && any(positive)
  states <- c("in use", "unused, stable", "unused, not stable")
  state <- ifelse(x$in_use, 1, ifelse(x$stable, 2, 3))[seq_len(n)]
  table <- data.frame(component = x$direction[seq_len(n)], eigenvalue = value,
                      state = factor(states[state], states))
  list(table = if (log) table[positive, ] else table, sigma2 = sigma2, log = log,
       colours = COLOURS[c("blue", "grey", "orange")], line = "black",
       noise = bquote(sigma^2 == .(format(sigma2, digits = 3))),
       xlab = "Direction", label = "Eigenvalue of S")
}

# ---- landscape -----------------------------------------------------------

#' Plot the likelihood around a collapsed point
#'
#' Draws the mean log-likelihood over the two perturbations of a [landscape()],
#' relative to the collapsed point in its centre: orange where it is higher, blue
#' where it is lower. Points mark the maxima, where the squared length of each
#' perturbation is lambda - sigma2; there are none but the collapsed point itself if
#' neither eigenvalue exceeds sigma2. Fig. 1 of Lucas et al. (2019).
#'
#' @param x,object the result of [landscape()].
#' @param type `"contour"`: filled contours, labelled in nats per observation;
#'   `"persp"`: a surface.
#' @param nlevels about how many contour levels to draw.
#' @param theta,phi for `"persp"`: the angles of the view, see [graphics::persp()].
#' @param ... for `plot()`, graphical parameters such as `main`; for `autoplot()`,
#'   unused.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object with the
#'   contours.
#' @references Lucas et al. (2019), Fig. 1; see [linear_vae()].
#' @examples
#' fit <- ppca(mnist1000$x / 255, k = 8)
#' hill <- landscape(fit, pair = c(5, 7), keep = 1:3, sigma2 = fit$values[6])
#' plot(hill)
#' plot(hill, "persp")
#' @export
plot.landscape <- function(x, type = c("contour", "persp"), nlevels = 15, theta = 35,
                           phi = 25, ...) {
  theta <- check_number(theta, "theta")
  phi <- check_number(phi, "phi")
  type <- check_choice(type, "type", c("contour", "persp"))
  data <- landscape_data(x, nlevels)
  if (type == "contour") draw_contours(data, ...) else draw_surface(data, theta, phi, ...)
  invisible(x)
}

#' @rdname plot.landscape
#' @exportS3Method ggplot2::autoplot
autoplot.landscape <- function(object, nlevels = 15, ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  gg_contours(landscape_data(object, nlevels))
}

# `z`: the mean log-likelihood above that of the centre, which the grid need not
# hold. `fill`: the colours between the `levels`; `lines`: those levels that have a
# contour; `best`: the maxima.
landscape_data <- function(x, nlevels) {
  nlevels <- check_count(nlevels, "nlevels", 1)
  gain <- function(at, lambda) {
    c <- at^2 + x$sigma2
    -0.5 * (log(c / x$sigma2) + lambda * (1 / c - 1 / x$sigma2))
  }
  corner <- gain(x$a[1], x$eigenvalues[1]) + gain(x$b[1], x$eigenvalues[2])
  z <- x$loglik - (x$loglik[1, 1] - corner)
  reach <- max(abs(z))
  if (!(reach > 0)) reach <- 1
  best <- lapply(sqrt(pmax(x$eigenvalues - x$sigma2, 0)), function(at) unique(c(-at, at)))
  best <- expand.grid(a = best[[1]], b = best[[2]])
  levels <- pretty(range(z), nlevels)
  rounding <- max(1e-9 * diff(range(z)), 1e-13 * max(1, abs(x$loglik)))
  middle <- (levels[-1] + levels[-length(levels)]) / 2
  list(a = x$a, b = x$b, z = z, reach = reach, levels = levels,
       fill = level_fill(middle, reach), pair = x$pair,
       best = best[best$a != 0 | best$b != 0, ],
       best_z = gain(best$a[1], x$eigenvalues[1]) + gain(best$b[1], x$eigenvalues[2]),
       lines = levels[levels > min(z) + rounding & levels < max(z) - rounding],
       axes = sprintf("Along direction %d (eigenvalue %s)", x$pair,
                      vapply(x$eigenvalues, format, "", digits = 3)),
       noise = bquote(sigma^2 == .(format(x$sigma2, digits = 3))))
}

# As light as black text on it needs.
landscape_colours <- function() {
  grDevices::colorRampPalette(c(COLOURS[["blue"]], "white", COLOURS[["orange"]]))(255)
}

# Colours of values from -reach to reach.
level_fill <- function(value, reach) {
  col <- landscape_colours()
  at <- 1 + round((length(col) - 1) * (value / reach + 1) / 2)
  col[pmin(pmax(at, 1), length(col))]
}

draw_contours <- function(data, ..., xlab = data$axes[1], ylab = data$axes[2]) {
  draw_frame(range(data$a), range(data$b), type = "n", xlab = xlab, ylab = ylab,
             xaxs = "i", yaxs = "i", ...)
  graphics::.filled.contour(data$a, data$b, data$z, data$levels, data$fill)
  if (length(data$lines)) {
    graphics::contour(data$a, data$b, data$z, levels = data$lines, add = TRUE,
                      labcex = 0.8 * graphics::par("cex"), lwd = 0.7)
  }
  mark_points(c(0, data$best$a), c(0, data$best$b))
  graphics::box()
  landscape_legend(data, bquote("contours: nats per observation, " * .(data$noise)))
}

# The collapsed point, and after it the maxima.
mark_points <- function(x, y) {
  graphics::points(x, y, pch = c(4, rep(19, length(x) - 1)), lwd = 2,
                   cex = c(1, rep(0.7, length(x) - 1)))
}

landscape_legend <- function(data, note) {
  up <- if (nrow(data$best)) if (nrow(data$best) > 1) "maxima" else "maximum"
  legend_above(c("collapsed point", up, note), "black",
               pch = c(4, if (!is.null(up)) 19, NA))
}

draw_surface <- function(data, theta, phi, ...,
                         xlab = paste("\nalong direction", data$pair[1]),
                         ylab = paste("\nalong direction", data$pair[2]),
                         zlab = "\nnats per observation", zlim = NULL,
                         ticktype = "detailed", cex.axis = 0.8) {
  z <- data$z
  if (is.null(zlim)) zlim <- if (diff(range(z)) > 0) range(z) else c(-1, 1)
  m <- nrow(z)
  n <- ncol(z)
  facet <- (z[-1, -1] + z[-m, -1] + z[-1, -n] + z[-m, -n]) / 4
  view <- graphics::persp(data$a, data$b, z, theta = theta, phi = phi, xlab = xlab,
                          ylab = ylab, zlab = zlab, zlim = zlim, ticktype = ticktype,
                          cex.axis = cex.axis, border = "grey40", lwd = 0.3,
                          col = level_fill(facet, data$reach), ...)
  at <- grDevices::trans3d(c(0, data$best$a), c(0, data$best$b),
                           c(0, rep(data$best_z, nrow(data$best))), view)
  mark_points(at$x, at$y)
  landscape_legend(data, data$noise)
}

gg_contours <- function(data) {
  table <- data.frame(a = rep(data$a, length(data$b)),
                      b = rep(data$b, each = length(data$a)), gain = as.vector(data$z))
  ggplot2::ggplot(table, ggplot2::aes(x = .data[["a"]], y = .data[["b"]])) +
    ggplot2::geom_raster(ggplot2::aes(fill = .data[["gain"]]), interpolate = TRUE) +
    (if (length(data$lines)) {
      ggplot2::geom_contour(ggplot2::aes(z = .data[["gain"]]), breaks = data$lines,
                            colour = "grey30", linewidth = 0.3)
    }) +
    ggplot2::annotate("point", x = 0, y = 0, shape = 4, size = 2.5, stroke = 1) +
    (if (nrow(data$best)) {
      ggplot2::annotate("point", x = data$best$a, y = data$best$b, size = 1.5)
    }) +
    ggplot2::scale_fill_gradientn("Nats per\nobservation", colours = landscape_colours(),
                                  limits = c(-1, 1) * data$reach) +
    ggplot2::scale_x_continuous(expand = c(0, 0)) +
    ggplot2::scale_y_continuous(expand = c(0, 0)) +
    ggplot2::coord_equal() +
    ggplot2::labs(x = data$axes[1], y = data$axes[2],
                  subtitle = bquote(.(if (nrow(data$best)) {
                    "Cross: collapsed point; points: maxima; "
                  } else {
                    "Cross: collapsed point, the maximum; "
                  }) * .(data$noise)))
}

# ---- linear autoencoders -------------------------------------------------

#' Plot a linear autoencoder
#'
#' `plot()` draws with base graphics, `autoplot()` makes the same drawing as a
#' ggplot2 object.
#'
#' @details
#' * `"loadings"`: as in [plot.ppca()].
#' * `"history"`: loss and squared error per observation over evaluations or epochs;
#'   they are the same without a penalty. The first tenth is left off the axis where
#'   it is far from the rest, which a note above the plot says.
#'
#' @inheritParams plot.ppca
#' @param x,object a fitted [linear_ae()] model.
#' @param dims for `"loadings"`: latent dimensions to draw. By default the first
#'   four, or twelve as images.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @examples
#' set.seed(1)
#' fit <- linear_ae(iris[1:4], k = 2)
#' plot(fit)
#' plot(fit, "history")
#' @export
plot.linear_ae <- function(x, type = c("loadings", "history"), dims = NULL, dim = NULL,
                           ...) {
  type <- check_ae_plot(type, x)
  switch(type,
    loadings = draw_loadings(loadings_data(x, dims, dim), ...),
    history = draw_history(ae_history(x), ...)
  )
  invisible(x)
}

#' @rdname plot.linear_ae
#' @exportS3Method ggplot2::autoplot
autoplot.linear_ae <- function(object, type = c("loadings", "history"), dims = NULL,
                               dim = NULL, ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  type <- check_ae_plot(type, object)
  switch(type,
    loadings = gg_loadings(loadings_data(object, dims, dim)),
    history = gg_history(ae_history(object))
  )
}

check_ae_plot <- function(type, x) {
  check_plot_type(type, c("loadings", "history"), is_iterative(x), "an iterative optimiser")
}

ae_history <- function(x) {
  history <- x$history
  series <- list(loss = history$loss)
  if (any(x$lambda > 0)) series[["squared error"]] <- history$error
  adam <- x$optimizer == "adam"
  history_curves(history$iteration, series, if (adam) "epoch" else "evaluation",
                 if (adam) "Epochs" else "Evaluations of the loss",
                 if (length(series) == 1) "Squared error per observation" else
                   "Per observation")
}
