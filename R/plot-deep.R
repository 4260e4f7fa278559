# Drawings of deep VAEs, built as plot.R says and from its parts and those of
# plot-vae.R. Each *_data() function names in `kind` the pair of functions, of DRAWINGS,
# that draws what it returns.

VAE_PLOTS <- c("history", "kl", "latent", "reconstructions", "samples", "traversal")

#' Plot a deep VAE
#'
#' `plot()` draws with base graphics, `autoplot()` makes the same drawing as a
#' ggplot2 object.
#'
#' @details
#' * `"history"`: ELBO per observation over epochs, as training met it; that of the
#'   validation data, where there are any; and the objective, where `free_bits` or a `beta`
#'   below 1, or above 1 to the end, made it visibly another. A dashed line is the
#'   log-likelihood of the linear model with the same k (pPCA), where it is known and not far
#'   from the curves. A cross marks the epoch whose weights the fit has, if that is not the
#'   last. The first tenth is left off the axis where it is far from the rest, which a note
#'   above the plot says.
#' * `"kl"`: the KL of each latent dimension, mean over the observations, in decreasing
#'   order; those below 0.01 nats, which have collapsed, in grey. A dashed line gives the
#'   `free_bits`, if there are any.
#' * `"latent"`: means of q(z | x) of the rows in two latent dimensions, or in one against
#'   the row number.
#' * `"reconstructions"`: with `dim`, images, the data above the reconstructions, on one
#'   scale. Otherwise the reconstruction of each feature over the data, with the share of
#'   the feature's variance that is reconstructed, 1 - |x - reconstruction|^2 / |x - mean|^2.
#' * `"samples"`: x from the model. With `dim`, images; otherwise two features, over those
#'   of the data where these can be found.
#' * `"traversal"`: the mean of p(x | z) as one latent dimension moves and all others stay.
#'   With `dim`, images, a row for each dimension; otherwise the change of each feature
#'   from where the dimension is 0, one strip for each dimension, all on one scale. For a
#'   fit with `scale` the change is divided by that of the feature.
#'
#' @param x,object a fitted [vae()] model.
#' @param type what to draw.
#' @param newdata data with the features of the fit: the rows to draw for `"latent"` and
#'   `"reconstructions"`, those whose KL is drawn for `"kl"`, and those that `"samples"` and
#'   `"traversal"` are compared with. By default the rows that the model was
#'   trained on, found as for [predict()][predict.vae].
#' @param condition for a model with a condition: that of the rows of `newdata`; for
#'   `"samples"` one value for all or one for each, by default all levels of a factor in
#'   turn; for `"traversal"` one value, by default the first level of a factor.
#' @param dims latent dimensions to draw. By default those with the largest KL: two for
#'   `"latent"`, and for `"traversal"` four, or five as images.
#' @param dim to draw rows as images: number of rows and of columns of an image, with p =
#'   rows x columns and pixels in row-major order as in [mnist1000].
#' @param n how many. For `"reconstructions"` rows, from the first: by default ten images,
#'   or 1,000 rows. For `"samples"` draws: by default thirty images (or some more, for a
#'   condition), or as many as there are rows of data, up to 1,000. For `"traversal"` values
#'   of the latent dimension: by default seven images, or 61.
#' @param features where no images are drawn, the features to draw, as names or numbers: for
#'   `"reconstructions"` up to 25, for `"samples"` up to 2, for `"traversal"` up to 8. By
#'   default those that vary most in what is drawn, at most nine, two and eight.
#' @param col for `"latent"`: one colour, or a colour for each row, or a factor with a value
#'   for each row.
#' @param limits for images: the two values that are white and black; values beyond are
#'   drawn as the nearer one. By default the range of the data, where these can be found, and
#'   otherwise of what is drawn.
#' @param from for `"traversal"`: where the other latent dimensions are: `NULL` for 0, the
#'   mean of the prior; one row of data, for its mean of q(z | x); or a latent position, a
#'   vector of k numbers (where k = p, such a vector is a row of data).
#' @param reach for `"traversal"`: the latent dimension moves from -`reach` to `reach`, in
#'   standard deviations of the prior.
#' @param sampling for `"samples"`: `"mean"` for the means of p(x | z) at draws of z from the
#'   prior, or `"ancestral"` for draws of x, noise included; see
#'   [simulate()][simulate.vae]. By default means for images, as these are usually shown,
#'   and draws where they are compared with data.
#' @param seed of the random numbers: those of `"samples"`, and of a `transform` that adds
#'   noise to data. With a number the plot of a fit is always the same, and R's generator is
#'   as before; with `NULL` they are drawn from R's generator.
#' @param ... for `plot()`, graphical parameters such as `main`; for `autoplot()`, unused.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @seealso [simulate()][simulate.vae], [interpolate_latent()], [posterior_collapse()],
#'   [plot_images()]
#' @examples
#' x <- mnist1000$x[1:200, ] / 255
#' set.seed(1)
#' fit <- vae(x, k = 3, encoder = 32, control = train_control(epochs = 10, batch_size = 50))
#' plot(fit)
#' plot(fit, "latent", col = factor(mnist1000$y[1:200]))
#' plot(fit, "reconstructions", dim = c(28, 28))
#' plot(fit, "samples", dim = c(28, 28), limits = c(0, 1))
#' plot(fit, "traversal", dim = c(28, 28), limits = c(0, 1))
#'
#' flowers <- vae(iris[1:4], k = 2, encoder = 8, activation = "tanh",
#'                control = train_control(epochs = 20, batch_size = 30, learning_rate = 0.02))
#' plot(flowers, "reconstructions")
#' plot(flowers, "traversal", from = iris[1, 1:4])
#' @export
plot.vae <- function(x, type = c("history", "kl", "latent", "reconstructions", "samples",
                                 "traversal"),
                     newdata = NULL, condition = NULL, dims = NULL, dim = NULL, n = NULL,
                     features = NULL, col = NULL, limits = NULL, from = NULL, reach = 3,
                     sampling = NULL, seed = 1, ...) {
  asked <- mget(setdiff(names(formals(plot.vae)), c("x", "type", "...")))
  data <- deep_data(x, type, asked, parent.frame())
  DRAWINGS[[data$kind]]$base(data, ...)
  invisible(x)
}

#' @rdname plot.vae
#' @exportS3Method ggplot2::autoplot
autoplot.vae <- function(object, type = c("history", "kl", "latent", "reconstructions",
                                          "samples", "traversal"),
                         newdata = NULL, condition = NULL, dims = NULL, dim = NULL, n = NULL,
                         features = NULL, col = NULL, limits = NULL, from = NULL, reach = 3,
                         sampling = NULL, seed = 1, ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  asked <- mget(setdiff(names(formals(plot.vae)), c("x", "type", "...")))
  data <- deep_data(object, type, asked, parent.frame())
  DRAWINGS[[data$kind]]$gg(data)
}

# ---- arguments -----------------------------------------------------------

# What is drawn; `asked`, the arguments of plot() by name.
deep_data <- function(x, type, asked, env) {
  type <- check_choice(type, "type", VAE_PLOTS)
  rows <- c(asked[c("newdata", "condition", "seed")], list(env = env))
  switch(type,
    history = epochs_data(x),
    kl = deep_kl_data(x, rows),
    latent = latent_data(x, rows, asked$dims, asked$col),
    reconstructions = reconstructions_data(x, rows, asked$dim, asked$n, asked$features,
                                           asked$limits),
    samples = samples_data(x, rows, asked$dim, asked$n, asked$features, asked$limits,
                           asked$sampling),
    traversal = traversal_data(x, rows, asked$dims, asked$dim, asked$n, asked$features,
                               asked$limits, asked$from, asked$reach)
  )
}

# `code` with random numbers from `seed`, after which the generator is put back.
with_seed <- function(seed, code) {
  state <- seed_state(seed)
  on.exit(state$restore())
  code
}

# The same where `code` needs random numbers for nothing but the transform.
with_transform_seed <- function(x, seed, code) {
  if (is.null(x$transform)) code else with_seed(seed, code)
}

# The first n of the rows asked for, as vae_rows() has them; by default all. `n` is a
# function of how many there are.
plotted_rows <- function(x, rows, n = NULL) {
  newdata <- rows$newdata
  condition <- rows$condition
  if (is.null(newdata)) {
    found <- training_rows(x, condition, rows$env)
    newdata <- found$x
    condition <- found$condition
  }
  if (!is.null(n) && is_data(newdata)) {
    size <- n(nrow(newdata))
    if (size < nrow(newdata)) {
      condition_code(x, condition, nrow(newdata))   # that there is one for each row
      condition <- some(condition, seq_len(size))
      newdata <- newdata[seq_len(size), , drop = FALSE]
    }
  }
  with_transform_seed(x, rows$seed, vae_rows(x, newdata, condition))
}

# How many rows, for plotted_rows().
row_count <- function(n, default) {
  function(rows) if (is.null(n)) min(rows, default) else check_count(n, "n", 1, rows)
}

feature_names <- function(x) {
  if (is.null(x$features)) paste0("x", seq_len(x$p)) else x$features
}

# `features` as numbers, or those up to `default` for which `size` is largest, in their
# order.
check_features <- function(features, x, size, default, most) {
  if (is.null(features)) {
    return(sort(utils::head(order(-size), default)))
  }
  at <- if (is.character(features)) match(features, feature_names(x)) else features
  ok <- (is.numeric(features) || is.character(features)) && !is.object(features) &&
    length(at) >= 1 && length(at) <= most && all(at %in% seq_len(x$p)) && !anyDuplicated(at)
  if (!ok) {
    unknown <- if (is.character(features)) features[is.na(at)]
    abort_arg("features", sprintf("be at most %d distinct names or numbers of features", most),
              if (length(unknown)) dQuote(unknown[1], FALSE) else describe(features))
  }
  as.integer(at)
}

# The levels of a model's factor, or NULL.
condition_levels <- function(x) x$condition$levels

# ---- what is drawn -------------------------------------------------------

# Epochs for which a value is not finite are left out.
epochs_data <- function(x) {
  history <- x$history
  if (is.null(history) && identical(x$search$best_epoch, 0L)) {
    return(list(kind = "sentence", text = paste("No epochs were made: the linear solution,",
                                                "where training starts, was best.")))
  }
  if (is.null(history) || !nrow(history)) {
    abort_arg("type", "be other than \"history\" for a fit without a finished epoch")
  }
  series <- list(ELBO = history$elbo)
  if (any(is.finite(history$validation))) series$validation <- history$validation
  # what could not be told from the ELBO is left out
  visible <- max(0.01 * diff(range(history$elbo)), 1e-6 * abs(history$elbo))
  # not where the KL only weighed more at first, as it does by default
  fell <- all(history$beta >= 1) && last(x$arguments$beta) == 1 && x$arguments$free_bits == 0
  weighted <- !fell && any(abs(history$objective - history$elbo) > visible)
  if (weighted) series$objective <- history$objective
  colours <- c(ELBO = "blue", validation = "orange", objective = "grey")[names(series)]
  out <- history_curves(history$epoch, series, "epoch", "Epochs",
                        if (weighted) "Nats per observation" else
                          "ELBO, nats per observation", colours)
  best <- match(x$best_epoch, history$epoch)
  if (!is.na(best) && x$best_epoch != x$iterations) {
    scores <- c(series$validation[best], series$ELBO[best])
    out$final <- data.frame(iteration = x$best_epoch, value = scores[is.finite(scores)][1],
                            label = sprintf("best, epoch %d", x$best_epoch))
    out$ylim <- range(out$ylim, out$final$value)
  }
  c(with_linear_level(out, x$linear$loglik), kind = "history")
}

# The log-likelihood of the linear model as a level, unless it is so far from the curves
# that an axis with both would show little of these.
with_linear_level <- function(out, loglik) {
  if (is.null(loglik) || !is.finite(loglik)) return(out)
  reach <- diff(out$ylim)
  if (reach == 0) reach <- 1
  if (loglik < out$ylim[1] - reach || loglik > out$ylim[2] + reach) return(out)
  out$level <- loglik
  out$label <- "linear model (pPCA)"
  out$ylim <- range(out$ylim, loglik)
  out
}

# KLs are those of the fit, or else of rows.
deep_kl_data <- function(x, rows) {
  kl <- x$kl_dimensions
  if (!is.null(rows$newdata) || is.null(kl)) {
    q <- encode_rows(x, plotted_rows(x, rows))
    kl <- colMeans(0.5 * (q$variance - log(q$variance) + q$mean^2 - 1))
  }
  free <- x$arguments$free_bits
  out <- c(kl_ranked(stats::setNames(kl, latent_names(x))), kind = "kl")
  if (free > 0) {
    out$level <- free
    out$label <- sprintf("free bits: %s", format(free))
  }
  out
}

# As scores_data(). A colour for each row of `x` counts for those trained on.
latent_data <- function(x, rows, dims, col) {
  dims <- check_dims(dims, 2, ranked_dimensions(x), min(2, x$k))
  z <- encode_rows(x, plotted_rows(x, rows))$mean
  held <- x$held_out
  if (is.null(rows$newdata) && length(held) && length(col) == x$n + length(held) &&
      is.null(base::dim(col))) {
    col <- col[-held]
  }
  kl <- x$kl_dimensions[dims]
  labels <- if (is.null(kl)) latent_names(x)[dims] else
    sprintf("z%d (KL %.3g nats)", dims, kl)
  single <- length(dims) == 1
  table <- if (single) data.frame(x = seq_len(nrow(z)), y = z[, dims]) else
    data.frame(x = z[, dims[1]], y = z[, dims[2]])
  row.names(table) <- NULL
  list(kind = "scores", table = table, colours = point_colours(col, nrow(z)),
       single = single, labels = if (single) c("Observation", labels) else labels)
}

reconstructions_data <- function(x, rows, dim, n, features, limits) {
  if (!is.null(dim)) dim <- check_image_dim(dim, x$p)
  shown <- plotted_rows(x, rows, row_count(n, if (is.null(dim)) 1000 else 10))
  data <- as.matrix(shown$raw)
  dimnames(data) <- NULL
  reconstruction <- unname(reconstruct_rows(x, shown))
  if (!is.null(dim)) {
    return(list(kind = "pairs", data = data, reconstruction = reconstruction, dim = dim,
                limits = check_limits(limits, data), labels = c("data", "decoded")))
  }
  centre <- rep(colMeans(data, na.rm = TRUE), each = nrow(data))
  total <- colSums((data - centre)^2, na.rm = TRUE)
  total[colSums(!is.na(data)) == 0] <- NA            # nothing to draw
  if (all(is.na(total))) abort_arg("newdata", "have an observed cell among the rows drawn")
  features <- check_features(features, x, total, min(9, sum(!is.na(total))), 25)
  empty <- features[is.na(total[features])]
  if (length(empty)) {
    abort_arg("features", "have observed cells", dQuote(feature_names(x)[empty[1]], FALSE))
  }
  error <- colSums((data - reconstruction)^2, na.rm = TRUE)
  share <- ifelse(total > 0, sprintf(": %.0f %%", 100 * (1 - error / total)), "")
  title <- paste0(feature_names(x), share)[features]
  table <- data.frame(feature = factor(rep(seq_along(features), each = nrow(data)),
                                       labels = make.unique(title, " ")),
                      data = as.vector(data[, features]),
                      reconstruction = as.vector(reconstruction[, features]))
  list(kind = "panels", table = table[!is.na(table$data), ],
       xlab = "Data", ylab = "Reconstruction",
       notes = c("reconstruction = data", "%: share of variance"))
}

samples_data <- function(x, rows, dim, n, features, limits, sampling) {
  images <- !is.null(dim)
  if (images) dim <- check_image_dim(dim, x$p)
  sampling <- if (is.null(sampling)) if (images) "mean" else "ancestral" else
    check_choice(sampling, "sampling", c("mean", "ancestral"))
  data <- if (!images) data_if_found(x, rows)
  default <- if (images) 30 else if (is.null(data)) 500 else min(nrow(data), 1000)
  given <- sampled_condition(x, rows$condition, n, default, images)
  draws <- stats::simulate(x, given$n, seed = rows$seed, type = sampling,
                           condition = given$condition)
  draws <- matrix(draws, given$n)
  if (images) {
    return(list(kind = "images", images = draws, dim = dim, labels = given$labels,
                ncol = given$ncol, limits = image_limits(x, rows, limits, draws),
                title = paste0(c(mean = "Means at draws from the prior",
                                 ancestral = "Draws from the model")[[sampling]], given$note)))
  }
  spread <- apply(draws, 2, stats::var) / (if (is.null(x$scale)) 1 else x$scale^2)
  features <- check_features(features, x, spread, min(2, x$p), min(2, x$p))
  what <- c(mean = "means at draws from the prior", ancestral = "draws")[[sampling]]
  scatter_data(x, data, draws, features, paste0(what, given$note))
}

# The range of the data if they are found, so that what is white there is white here.
image_limits <- function(x, rows, limits, images) {
  data <- if (is.null(limits)) data_if_found(x, rows)
  check_limits(limits, if (is.null(data)) images else data)
}

# Data to compare what the model makes with: those given, or those trained on if they are found.
data_if_found <- function(x, rows) {
  data <- rows$newdata
  if (is.null(data)) {
    data <- tryCatch(training_rows(x, NULL, rows$env)$x, elbo_error = function(e) NULL)
    if (is.null(data)) return(NULL)
  }
  unname(as.matrix(conform(x[c("terms", "features", "p")], data)$raw))
}

# How many to draw, and their condition with labels: `condition`, or by default all
# levels in turn.
sampled_condition <- function(x, condition, n, default, images) {
  levels <- condition_levels(x)
  turns <- is.null(condition) && !is.null(levels)
  size <- NROW(condition)
  if (is.null(n)) {
    n <- if (size > 1) size else
      if (turns && images) turns_of(length(levels), default) else default
  }
  n <- check_count(n, "n", 1)
  if (turns) condition <- rep_len(levels, n) else condition_code(x, condition, size)
  out <- list(n = n, condition = condition)
  if (!is.null(levels) && length(condition) > 1) out$labels <- as.character(condition)
  if (!is.null(levels) && length(condition) == 1) {
    out$note <- paste0(", condition ", as.character(condition))
  }
  if (turns && length(levels) %in% ONE_COLUMN_EACH && n > length(levels)) {
    out$ncol <- length(levels)
  }
  out
}

# Numbers of levels for which each has a column of images, and how many images then fill a
# figure; otherwise about `default`.
ONE_COLUMN_EACH <- 5:12

turns_of <- function(levels, default) {
  if (levels %in% ONE_COLUMN_EACH) return(levels * round(levels / 1.6))
  levels * ceiling(default / levels)
}

scatter_data <- function(x, data, draws, features, name) {
  of <- function(values, source) {
    if (is.null(values)) return(NULL)
    y <- values[, features, drop = FALSE]
    data.frame(x = if (ncol(y) == 1) seq_len(nrow(y)) else y[, 1], y = y[, ncol(y)],
               source = rep(source, nrow(y)))
  }
  labels <- c(if (!is.null(data)) sprintf("data (%d)", nrow(data)),
              sprintf("%s (%d)", name, nrow(draws)))
  table <- rbind(of(data, labels[1]), of(draws, labels[length(labels)]))
  table$source <- factor(table$source, labels)
  names <- feature_names(x)[features]
  list(kind = "scatter", table = table[!is.na(table$x) & !is.na(table$y), ],
       colours = unname(COLOURS[c(if (!is.null(data)) "grey", "blue")]),
       labels = if (length(names) == 1) c("Observation or draw", names) else names)
}

# The decoder's means along each of `dims`. As images: one row a dimension, one column a
# value. Otherwise a column of `change` for each feature.
traversal_data <- function(x, rows, dims, dim, n, features, limits, from, reach) {
  images <- !is.null(dim)
  if (images) dim <- check_image_dim(dim, x$p)
  dims <- check_dims(dims, if (images) 5 else 4, ranked_dimensions(x))
  n <- if (is.null(n)) if (images) 7 else 61 else check_count(n, "n", 2)
  reach <- check_number(reach, "reach", 0, open = TRUE)
  given <- traversal_condition(x, rows$condition)
  at <- if (is.null(from)) numeric(x$k) else
    with_transform_seed(x, rows$seed, latent_end(x, from, "from", given$code))
  value <- seq(-reach, reach, length.out = n)
  note <- c(if (!is.null(from)) "others as in `from`", given$note)
  y <- lapply(dims, function(j) move_along(x, at, j, c(0, value), given$code))
  if (images) {
    y <- do.call(rbind, lapply(y, function(y) y[-1, , drop = FALSE]))
    return(list(kind = "grid", images = y, dim = dim, limits = image_limits(x, rows, limits, y),
                row = rep(seq_along(dims), each = n), column = rep(seq_len(n), length(dims)),
                rows = latent_names(x)[dims], columns = vapply(signif(value, 2), format, ""),
                xlab = TRAVERSAL_LABEL, note = note))
  }
  sd <- if (is.null(x$scale)) 1 else x$scale
  change <- lapply(y, function(y) t((t(y[-1, , drop = FALSE]) - y[1, ]) / sd))
  moved <- do.call(pmax, lapply(change, function(y) apply(y, 2, function(v) diff(range(v)))))
  features <- check_features(features, x, moved, 8, 8)
  change <- lapply(change, function(y) y[, features, drop = FALSE])
  far <- max(abs(unlist(change)))
  list(kind = "strips", value = value, change = change, rows = latent_names(x)[dims],
       features = feature_names(x)[features], colours = level_colours(length(features)),
       reach = if (far > 0) far else 1, xlab = TRAVERSAL_LABEL, note = note,
       ylab = paste0("Change of the mean of x", if (!is.null(x$scale)) " / scale"))
}

TRAVERSAL_LABEL <- "Value of z, prior N(0, 1)"

traversal_condition <- function(x, condition) {
  levels <- condition_levels(x)
  if (is.null(condition) && !is.null(levels)) condition <- levels[1]
  if (!is.null(condition) && NROW(condition) != 1) {
    abort_arg("condition", "be one value for a traversal", describe(condition))
  }
  list(code = condition_code(x, condition, 1),
       note = if (!is.null(levels)) paste("condition", as.character(condition)))
}

# Means of p(x | z) on the scale of the data, z being `at` but for dimension j.
move_along <- function(x, at, j, value, code) {
  z <- matrix(at, length(value), x$k, byrow = TRUE)
  z[, j] <- value
  unname(to_user(x, decode_latent(x, z, code[rep(1, length(value)), , drop = FALSE])$mean))
}

# ---- base graphics -------------------------------------------------------

draw_scatter <- function(data, ..., xlab = data$labels[1], ylab = data$labels[2], pch = 19,
                         cex = point_size(nrow(data$table), 300)) {
  table <- data$table
  draw_frame(table$x, table$y, type = "n", xlab = xlab, ylab = ylab, ...)
  col <- grDevices::adjustcolor(data$colours, 0.6)[table$source]
  graphics::points(table$x, table$y, pch = pch, cex = cex, col = col)
  legend_above(levels(table$source), data$colours, pch = pch)
}

draw_sample_images <- function(data, ..., main = data$title, font.main = 1, cex.main = 1) {
  draw_images(data$images, data$dim, labels = data$labels, ncol = data$ncol,
              limits = data$limits, main = main, font.main = font.main,
              cex.main = cex.main, ...)
}

# Images of `data` in rows and columns, with their places in pixels from the top left
# corner. `block`: of each row, with more space
# between blocks.
place_images <- function(data, block = NULL) {
  gap <- 0.1 * max(data$dim)
  before <- if (is.null(block)) numeric(max(data$row)) else 2 * gap * (block - 1)
  data$left <- (data$column - 1) * (data$dim[2] + gap)
  data$top <- (data$row - 1) * (data$dim[1] + gap) + before[data$row]
  data$size <- c(max(data$left) + data$dim[2], max(data$top) + data$dim[1])
  data$gap <- gap
  data
}

# Data above reconstructions, in as many columns as make images largest in an area with
# this ratio of width to height.
place_pairs <- function(data, ratio) {
  n <- nrow(data$data)
  cell <- data$dim * 1.1
  columns <- seq_len(n)
  blocks <- ceiling(n / columns)
  size <- pmin(ratio / (columns * cell[2]), 1 / (blocks * (2 * cell[1] + 0.2 * max(data$dim))))
  columns <- which.max(size)
  blocks <- blocks[columns]
  column <- (seq_len(n) - 1) %% columns + 1
  block <- (seq_len(n) - 1) %/% columns + 1
  place_images(c(data[c("dim", "limits")],
                 list(images = rbind(data$data, data$reconstruction),
                      row = c(2 * block - 1, 2 * block), column = c(column, column),
                      rows = rep(data$labels, blocks), upright = TRUE)),
               block = rep(seq_len(blocks), each = 2))
}

draw_pairs <- function(data, ...) {
  size <- graphics::par("fin")
  draw_placed(place_pairs(data, size[1] / size[2]), ...)
}

draw_grid <- function(data, ...) draw_placed(place_images(data), ...)

# Labels of rows are along the images where they are `upright`; those of columns are below
# the last row.
draw_placed <- function(data, ..., main = NULL, xlab = data$xlab, cex.lab = 1) {
  line <- graphics::par("csi") * graphics::par("mex")
  wide <- if (isTRUE(data$upright)) 1.4 else
    0.8 + max(graphics::strwidth(data$rows, "inches")) / line
  named <- !is.null(data$columns)
  above <- !is.null(main) || !is.null(data$note)
  old <- graphics::par(mar = c(if (named) 2.9 else 0.4, wide, if (above) 2 else 0.4, 0.6))
  on.exit(graphics::par(old))
  graphics::plot.new()
  graphics::plot.window(c(0, data$size[1]), c(-data$size[2], 0), asp = 1, xaxs = "i",
                        yaxs = "i")
  right <- data$left + data$dim[2]
  bottom <- -data$top - data$dim[1]
  for (i in seq_along(data$row)) {
    graphics::rasterImage(image_pixels(data, i), data$left[i], bottom[i], right[i],
                          -data$top[i], interpolate = FALSE)
  }
  graphics::rect(data$left, bottom, right, -data$top, border = "grey75", lwd = 0.7)
  label_rows(data, line)
  if (named) label_columns(data, line, xlab, cex.lab)
  graphics::title(main = main, ...)
  if (is.null(main) && above) legend_above(paste(data$note, collapse = "; "), "black")
}

# Image i as plot_images() draws it.
image_pixels <- function(data, i) {
  image_raster(data$images[i, ], data$dim, data$limits, grDevices::grey(255:0 / 255), "#F5D9A8")
}

# Where the labels of rows and columns are, in pixels.
row_centres <- function(data) {
  data$top[match(seq_along(data$rows), data$row)] + data$dim[1] / 2
}

column_centres <- function(data) {
  data$left[match(seq_along(data$columns), data$column)] + data$dim[2] / 2
}

# A line of text in pixels.
text_line <- function(line) line / (graphics::par("pin")[1] / diff(graphics::par("usr")[1:2]))

label_rows <- function(data, line) {
  upright <- isTRUE(data$upright)
  room <- data$dim[1] + 0.8 * data$gap
  need <- max(if (upright) graphics::strwidth(data$rows) else graphics::strheight(data$rows))
  graphics::text(-0.4 * text_line(line), -row_centres(data), data$rows,
                 srt = if (upright) 90 else 0, adj = if (upright) c(0.5, 0) else c(1, 0.5),
                 cex = min(0.9, room / need), xpd = NA)
}

label_columns <- function(data, line, xlab, cex.lab) {
  below <- -data$size[2] - text_line(line) * c(0.3, 1.5)
  room <- (data$dim[2] + data$gap) / max(graphics::strwidth(paste0(data$columns, " ")))
  graphics::text(column_centres(data), below[1], data$columns, adj = c(0.5, 1),
                 cex = min(0.9, room), xpd = NA)
  middle <- data$size[1] / 2
  room <- 1.95 * min(abs(graphics::grconvertX(0:1, "nfc", "user") - middle))
  graphics::text(middle, below[2], xlab, adj = c(0.5, 1), xpd = NA,
                 cex = min(cex.lab, room / graphics::strwidth(xlab)))
}

# One panel a feature, in the plot region of one figure.
draw_panels <- function(data, ..., main = NULL, xlab = data$xlab, ylab = data$ylab, pch = 19,
                        cex = NULL, col = COLOURS[["blue"]]) {
  panels <- split(data$table, data$table$feature)
  old <- graphics::par(mar = c(1.8, 1.8, if (is.null(main)) 1.6 else 3.2, 0.6))
  on.exit(graphics::par(old))
  graphics::plot.new()
  graphics::title(main = main, line = 1.6)
  graphics::title(xlab = xlab, ylab = ylab, line = 0.6)
  legend_above(data$notes, c(COLOURS[["orange"]], "black"), lty = c(1, NA))
  area <- graphics::par("plt")
  size <- graphics::par("pin")
  columns <- which.max(pmin(size[1] / seq_along(panels),
                            size[2] / ceiling(length(panels) / seq_along(panels))))
  shape <- c(columns, ceiling(length(panels) / columns))
  if (is.null(cex)) cex <- 0.8 * point_size(nrow(panels[[1]]), 150)
  for (i in seq_along(panels)) {
    at <- c((i - 1) %% columns, (i - 1) %/% columns)
    graphics::par(plt = panel_place(at, shape, area, size), new = TRUE)
    draw_panel(panels[[i]], names(panels)[i], pch = pch, cex = cex, col = col, ...)
  }
}

# The plot region of panel `at` (column and row, from 0) in fractions of the figure, with
# room for its ticks and its title where the panel is large enough.
panel_place <- function(at, shape, area, size) {
  cell <- size / shape
  left <- min(0.36, 0.4 * cell[1])
  below <- min(0.22, 0.25 * cell[2])
  above <- min(0.2, 0.22 * cell[2])
  x <- at[1] * cell[1] + c(left, cell[1] - min(0.08, 0.1 * cell[1]))
  y <- size[2] - at[2] * cell[2] - c(cell[2] - below, above)
  unit <- c(diff(area[1:2]), diff(area[3:4])) / size
  c(area[1] + x * unit[1], area[3] + y * unit[2])
}

draw_panel <- function(panel, title, pch, cex, col, ...) {
  reach <- range(panel$data, panel$reconstruction)
  plot(panel$data, panel$reconstruction, type = "n", xlim = reach, ylim = reach, axes = FALSE,
       ann = FALSE, ...)
  graphics::abline(0, 1, col = COLOURS[["orange"]])
  graphics::points(panel$data, panel$reconstruction, pch = pch, cex = cex,
                   col = grDevices::adjustcolor(col, 0.6))
  graphics::box(col = "grey50")
  at <- pretty(reach, 3)
  graphics::axis(1, at, cex.axis = 0.7, mgp = c(1, 0.1, 0), tcl = -0.2)
  graphics::axis(2, at, cex.axis = 0.7, mgp = c(1, 0.3, 0), tcl = -0.2, las = 1)
  room <- graphics::par("pin")[1] / graphics::strwidth(title, "inches")
  graphics::mtext(title, line = 0.15, cex = graphics::par("cex") * min(0.8, room))
}

# One strip a dimension, from the top; a unit of height is two times `reach`.
draw_strips <- function(data, ..., main = NULL, xlab = data$xlab, ylab = data$ylab, lwd = 1.5,
                        lty = 1) {
  strips <- length(data$change)
  centre <- rev(seq_len(strips))
  unit <- 0.45 / data$reach
  above <- if (is.null(main)) paste(data$note, collapse = "; ") else main
  old <- graphics::par(mar = c(3.6, 6, if (nzchar(above)) 3.2 else 1.8, 1))
  on.exit(graphics::par(old))
  plot(NULL, xlim = range(data$value), ylim = c(0.5, strips + 0.5), xlab = xlab, ylab = "",
       axes = FALSE, yaxs = "i", mgp = c(2.4, 0.8, 0), ...)
  graphics::abline(h = centre, col = "grey85")
  graphics::abline(h = centre[-1] + 0.5, col = "grey60")
  for (i in seq_len(strips)) {
    graphics::matlines(data$value, centre[i] + unit * data$change[[i]], lty = lty, lwd = lwd,
                       col = data$colours)
  }
  tick <- max(Filter(function(at) at <= 0.7 * data$reach, pretty(c(0, data$reach), 4)))
  ticks <- c(-tick, 0, tick)
  graphics::axis(2, at = as.vector(outer(unit * ticks, centre, "+")),
                 labels = rep(format(ticks), strips), las = 1, cex.axis = 0.8)
  cex <- graphics::par("cex")               # which mtext() alone disregards
  graphics::mtext(data$rows, side = 2, line = 3, at = centre, las = 1, cex = cex)
  graphics::mtext(ylab, side = 2, line = 4.8, cex = cex)
  graphics::axis(1, mgp = c(2.4, 0.6, 0), tcl = -0.3)
  graphics::box()
  if (is.null(main)) {
    room <- graphics::par("pin")[1] / max(1e-9, graphics::strwidth(above, "inches"))
    graphics::mtext(above, line = 1.7, adj = 0, cex = cex * min(0.9, room))
  } else {
    graphics::title(main = main, line = 1.7)
  }
  legend_above(data$features, data$colours, lty = 1)
}

# In the place of a drawing that has nothing to draw.
draw_sentence <- function(data, ...) {
  graphics::plot.new()
  wide <- graphics::strwidth("n", "inches")
  lines <- strwrap(data$text, max(10, floor(graphics::par("pin")[1] / wide)))
  graphics::text(0.5, 0.5, paste(lines, collapse = "\n"))
  graphics::title(...)
}

# ---- ggplot2 -------------------------------------------------------------

gg_sentence <- function(data) {
  ggplot2::ggplot() +
    ggplot2::annotate("text", x = 0, y = 0, label = paste(strwrap(data$text, 50),
                                                          collapse = "\n")) +
    ggplot2::theme_void()
}

gg_scatter <- function(data) {
  ggplot2::ggplot(data$table, ggplot2::aes(x = .data[["x"]], y = .data[["y"]],
                                           colour = .data[["source"]])) +
    ggplot2::geom_point(alpha = 0.6, size = 2 * point_size(nrow(data$table), 300)) +
    ggplot2::scale_colour_manual(NULL, values = data$colours) +
    ggplot2::theme(legend.position = "top") +
    ggplot2::labs(x = data$labels[1], y = data$labels[2])
}

# The width of a figure by its height, where it is not known.
GG_RATIO <- 1.25

gg_sample_images <- function(data) {
  n <- nrow(data$images)
  heading <- if (is.null(data$labels)) 0 else 0.22 * max(data$dim)
  columns <- data$ncol
  if (is.null(columns)) {
    columns <- which.max(pmin(GG_RATIO / (seq_len(n) * data$dim[2]),
                              1 / (ceiling(n / seq_len(n)) * (data$dim[1] + heading))))
  }
  data$row <- (seq_len(n) - 1) %/% columns + 1
  data$column <- (seq_len(n) - 1) %% columns + 1
  placed <- place_images(data)
  placed$top <- placed$top + placed$row * heading
  labels <- if (!is.null(data$labels)) {
    ggplot2::annotate("text", x = placed$left + data$dim[2] / 2, y = -placed$top,
                      label = data$labels, vjust = -0.3, size = 3)
  }
  gg_placed(placed) + labels + ggplot2::expand_limits(y = 0) +
    ggplot2::labs(subtitle = data$title)
}

gg_pairs <- function(data) gg_placed(place_pairs(data, GG_RATIO))

gg_grid <- function(data) gg_placed(place_images(data))

# All images in one panel, each a raster in a frame.
gg_placed <- function(data) {
  frames <- data.frame(left = data$left, right = data$left + data$dim[2], top = -data$top,
                       bottom = -data$top - data$dim[1])
  rasters <- lapply(seq_along(data$row), function(i) {
    ggplot2::annotation_raster(image_pixels(data, i), frames$left[i], frames$right[i],
                               frames$bottom[i], frames$top[i])
  })
  nothing <- ggplot2::element_blank()
  ggplot2::ggplot(frames) +
    rasters +
    ggplot2::geom_rect(ggplot2::aes(xmin = .data[["left"]], xmax = .data[["right"]],
                                    ymin = .data[["bottom"]], ymax = .data[["top"]]),
                       fill = NA, colour = "grey75", linewidth = 0.3) +
    label_scale(ggplot2::scale_x_continuous, column_centres(data), data$columns) +
    label_scale(ggplot2::scale_y_continuous, -row_centres(data), data$rows) +
    ggplot2::coord_equal() +
    ggplot2::theme(panel.background = nothing, panel.grid = nothing, axis.ticks = nothing,
                   axis.text.y = ggplot2::element_text(
                     angle = if (isTRUE(data$upright)) 90 else 0, hjust = 0.5)) +
    ggplot2::labs(x = data$xlab, y = NULL,
                  subtitle = if (!is.null(data$note)) paste(data$note, collapse = "; "))
}

label_scale <- function(scale, at, labels) {
  scale(breaks = if (is.null(labels)) NULL else at, labels = labels, minor_breaks = NULL,
        expand = c(0.01, 0))
}

gg_panels <- function(data) {
  table <- data$table
  corners <- do.call(rbind, lapply(split(table, table$feature), function(panel) {
    reach <- range(panel$data, panel$reconstruction)
    data.frame(feature = panel$feature[1], data = reach, reconstruction = reach)
  }))
  each <- max(table(table$feature))
  ggplot2::ggplot(table, ggplot2::aes(x = .data[["data"]], y = .data[["reconstruction"]])) +
    ggplot2::geom_blank(data = corners) +
    ggplot2::geom_abline(colour = COLOURS[["orange"]]) +
    ggplot2::geom_point(colour = COLOURS[["blue"]], alpha = 0.6,
                        size = 1.6 * point_size(each, 150)) +
    ggplot2::facet_wrap(ggplot2::vars(.data[["feature"]]), scales = "free") +
    ggplot2::scale_x_continuous(n.breaks = 4) +
    ggplot2::scale_y_continuous(n.breaks = 4) +
    ggplot2::labs(x = data$xlab, y = data$ylab,
                  subtitle = paste0("Line: ", data$notes[1], "; ", data$notes[2]))
}

gg_strips <- function(data) {
  per <- length(data$value) * length(data$features)
  table <- data.frame(
    value = data$value,
    feature = factor(rep(rep(seq_along(data$features), each = length(data$value)),
                         length(data$rows)), labels = make.unique(data$features)),
    row = factor(rep(data$rows, each = per), data$rows),
    change = unlist(data$change, use.names = FALSE)
  )
  ggplot2::ggplot(table, ggplot2::aes(x = .data[["value"]], y = .data[["change"]],
                                      colour = .data[["feature"]])) +
    ggplot2::geom_line() +
    ggplot2::facet_grid(ggplot2::vars(.data[["row"]])) +
    ggplot2::scale_colour_manual(NULL, values = data$colours) +
    ggplot2::theme(legend.position = "top") +
    ggplot2::labs(x = data$xlab, y = data$ylab,
                  subtitle = if (!is.null(data$note)) paste(data$note, collapse = "; "))
}

# ---- which of them draw what ---------------------------------------------

DRAWINGS <- list(
  history = list(base = function(data, ...) draw_history(data, ...),
                 gg = function(data) gg_history(data)),
  sentence = list(base = draw_sentence, gg = gg_sentence),
  kl = list(base = function(data, ...) draw_kl(data, ...), gg = function(data) gg_kl(data)),
  scores = list(base = function(data, ...) draw_scores(data, ...),
                gg = function(data) gg_scores(data)),
  pairs = list(base = draw_pairs, gg = gg_pairs),
  panels = list(base = draw_panels, gg = gg_panels),
  images = list(base = draw_sample_images, gg = gg_sample_images),
  scatter = list(base = draw_scatter, gg = gg_scatter),
  grid = list(base = draw_grid, gg = gg_grid),
  strips = list(base = draw_strips, gg = gg_strips)
)
