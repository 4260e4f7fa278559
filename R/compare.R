# Any families on one data set and one scale: log densities of the same rows, or bounds
# of them, and their paired differences.

#' Compare models on the same data
#'
#' The log-likelihood of each row of the data, or for a variational autoencoder its
#' evidence lower bound (ELBO), in nats: means over the rows with their standard errors,
#' and differences from the best model, paired by row, with theirs.
#'
#' @details
#' All values are log densities of the data as passed: `scale` and `transform` enter with
#' their log-Jacobian. Models with different ones are therefore on one scale, as long as
#' they have the same features.
#'
#' **Exact values and bounds.** The value of a [ppca()] model is its log-likelihood, exactly.
#' That of a [linear_vae()] is its ELBO, exactly computed; its log-likelihood, which is known
#' too, is beside it. That of a [vae()] is its ELBO, of which the reconstruction term is
#' estimated, without bias, from `samples` draws of z; its log-likelihood is not known. A
#' bound is below the log-likelihood of its model. A model with a bound may hence be better
#' than it looks, but not worse: where it is ahead of an exact value by more than chance it
#' is the better model.
#' With `weighted = TRUE` the values are as close to the log-likelihood as can be known:
#' that itself for a linear VAE, and for a deep one the importance-weighted bound of
#' `samples` draws, see [elbo()].
#'
#' **Standard errors** are standard deviations over the rows by the root of their number, and
#' contain the noise of the draws of z. They are those of new data where `newdata` are;
#' for the data that models were fitted to they say nothing of overfitting, and a model with
#' more parameters looks better there than it is.
#'
#' **Whole numbers.** A transform such as [logit_pixels()] adds uniform noise to whole pixels;
#' all models that have one see the same noise. A model without a transform sees the whole
#' numbers themselves, of which a density can be made as large as one likes: pass data with
#' noise, `x + runif(length(x))`, where both kinds are compared.
#'
#' A model with a condition has the density of x given that; it has seen more of a row than
#' one without.
#'
#' @param ... fitted [ppca()], [linear_vae()] and [vae()] models of the same features, one or
#'   more, named by their argument names or else by their expressions.
#'   `do.call(compare_models, fits)` takes a named list.
#' @param newdata data with the features of the models, in rows. By default those that the
#'   models were fitted to, which must be the same for all, and be in the fits
#'   (`keep_data = TRUE`) or still be found under the names used in the calls.
#' @param samples for a [vae()]: number of draws of z for each row, from R's generator.
#' @param weighted see Details.
#' @param condition for models with a condition: that of the rows of `newdata`.
#' @return An object of class `model_comparison`: a list with
#'   \item{table}{data frame, a row for each model, the best first: `model` (its name),
#'     `family`, `k`, `parameters` (free ones), `value` (mean over the rows) and `se`, `kind`
#'     (`"exact"` or `"bound"`), `difference` (of the value from the best one) and
#'     `difference_se`, `loglik` (mean log-likelihood, `NA` where it is not known), `elbo`
#'     (mean ELBO; of pPCA, whose posterior is exact, the log-likelihood), and `seconds`, how
#'     long the fit took.}
#'   \item{values}{the value of each row (n) in each model, a matrix with their names.}
#'   \item{n, p, samples, weighted, own, noise}{rows, features, settings, whether the data are
#'     those of the fits, and whether a transform added noise to them.}
#'   [plot()][plot.model_comparison] draws it; `tidy()` of the generics package gives the
#'   table.
#' @seealso [elbo()], [logLik()][logLik.ppca], [select_rank()].
#' @examples
#' train <- iris[seq(1, 150, 2), 1:4]
#' test <- iris[seq(2, 150, 2), 1:4]
#' set.seed(1)
#' compared <- compare_models(
#'   `one dimension` = ppca(train, k = 1), `two dimensions` = ppca(train, k = 2),
#'   fixed = linear_vae(train, k = 2, sigma2 = 0.5, learn_sigma2 = FALSE),
#'   deep = vae(train, k = 2, encoder = 8,
#'              control = train_control(epochs = 20, batch_size = 25)),
#'   newdata = test, samples = 10
#' )
#' compared
#' plot(compared)
#' @export
compare_models <- function(..., newdata = NULL, samples = 1, weighted = FALSE,
                           condition = NULL) {
  fits <- list(...)
  names(fits) <- model_names(fits, match.call(expand.dots = FALSE)$...)
  check_compared(fits)
  samples <- check_count(samples, "samples")
  weighted <- check_flag(weighted, "weighted")
  if (!is.null(condition) && !any(vapply(fits, has_condition, NA))) {
    abort_arg("condition", "be left out: no model has one")
  }
  given <- if (is.null(newdata)) own_rows(fits, condition, parent.frame()) else
    given_rows(fits, newdata, condition)
  copies <- transformed_rows(fits, given$raw)
  each <- same_draws(seq_along(fits), function(i) {
    data <- list(raw = given$raw, missing = given$missing, condition = given$condition[[i]],
                 own = is.null(newdata), x = copies$x[[i]])
    compared_terms(fits[[i]], data, samples, weighted)
  })
  values <- vapply(each, `[[`, numeric(nrow(given$raw)), "value")
  values <- matrix(values, nrow(given$raw), dimnames = list(rownames(given$raw), names(fits)))
  structure(
    list(table = comparison_table(fits, each, values), values = values,
         n = nrow(values), p = fits[[1]]$p, samples = samples, weighted = weighted,
         own = is.null(newdata), noise = copies$noise,
         untransformed = any(vapply(fits, function(fit) is.null(fit$transform), NA))),
    class = "model_comparison"
  )
}

# ---- arguments -----------------------------------------------------------

# By argument names, or expressions as they were written.
model_names <- function(fits, expressions) {
  given <- if (is.null(names(fits))) rep("", length(fits)) else names(fits)
  for (i in which(given == "")) {
    e <- expressions[[i]]
    given[i] <- if (is.name(e) || is.call(e)) deparse(e, nlines = 1)[1] else
      paste("model", i)                 # a value, by do.call()
  }
  given
}

check_compared <- function(fits) {
  if (!length(fits)) abort_arg("...", "hold one fitted model or more", "none")
  for (name in names(fits)) {
    fit <- fits[[name]]
    if (inherits(fit, c("ppca", "vae"))) next
    advice <- if (is.list(fit) && !is.object(fit)) {
      "; a list of models is compared by do.call(compare_models, fits)"
    } else if (inherits(fit, "linear_ae")) "; a linear autoencoder has no likelihood"
    abort_arg("...", "hold fitted ppca(), linear_vae() or vae() models",
              paste0(describe(fit), advice))
  }
  twice <- names(fits)[duplicated(names(fits))]
  if (length(twice)) {
    abort_arg("...", "hold models with distinct names: give them as arguments with names",
              paste("two called", dQuote(twice[1], FALSE)))
  }
  check_same_features(fits)
}

check_same_features <- function(fits) {
  first <- fits[[1]]
  for (name in names(fits)[-1]) {
    other <- fits[[name]]
    named <- !is.null(first$features) && !is.null(other$features)
    if (other$p == first$p && (!named || setequal(other$features, first$features))) next
    what <- if (other$p != first$p) paste(c(first$p, other$p), "of them") else
      c(others = dQuote(setdiff(first$features, other$features)[1], FALSE),
        dQuote(setdiff(other$features, first$features)[1], FALSE))
    abort_arg("...", "hold models of the same features, or they are not on one scale",
              sprintf("%s (%s) and %s (%s)", names(fits)[1], what[1], name, what[2]))
  }
}

has_condition <- function(fit) !is.null(fit$condition)

# ---- the rows ------------------------------------------------------------

# `newdata` with the features of the first model, in its order and with their names.
given_rows <- function(fits, newdata, condition) {
  rows <- untransformed_rows(fits[[1]], newdata)
  if (nrow(rows$raw) < 1) abort_arg("newdata", "have at least 1 row", 0)
  rows$condition <- lapply(fits, function(fit) if (has_condition(fit)) condition)
  rows
}

# list(raw, missing)
untransformed_rows <- function(fit, x) {
  rows <- conform(fit[c("features", "p", "terms")], x)[c("raw", "missing")]
  if (!is.null(fit$features)) colnames(rows$raw) <- fit$features
  rows
}

# Those that all models were fitted to.
own_rows <- function(fits, condition, env) {
  rows <- vapply(fits, function(fit) as.double(fit$n), 0)
  if (length(unique(rows)) > 1) {
    abort_arg("newdata", "be given where the models were fitted to different numbers of rows",
              sprintf("NULL: they were %s", paste(unique(rows), collapse = " and ")))
  }
  found <- lapply(fits, function(fit) {
    own <- if (inherits(fit, "vae")) {
      training_rows(fit, if (has_condition(fit)) condition, env)
    } else list(x = data_of(fit, NULL, env = env))
    c(untransformed_rows(fit, own$x), list(condition = own$condition))
  })
  first <- fits[[1]]
  raw <- found[[1]]$raw
  for (name in names(fits)[-1]) {
    other <- select_features(found[[name]]$raw, first$features, first$p, "newdata")
    if (same_cells(raw, other)) next
    abort_arg("newdata", "be given where the models were fitted to different data",
              sprintf("NULL: the data of %s are not those of %s", name, names(fits)[1]))
  }
  list(raw = raw, missing = found[[1]]$missing, condition = lapply(found, `[[`, "condition"))
}

same_cells <- function(a, b) {
  if (is_sparse(a) != is_sparse(b)) {
    a <- as.matrix(a)
    b <- as.matrix(b)
  }
  a <- unname(a)
  b <- unname(b)
  identical(a, b) || isTRUE(all.equal(a, b, tolerance = 0))
}

# The rows as each model has them: transformed, with the same noise for all, and with the
# features in its order; and whether there was noise.
transformed_rows <- function(fits, raw) {
  transforms <- lapply(fits, `[[`, "transform")
  distinct <- unique(transforms)
  before <- seed_state(NULL)$seed
  copies <- same_draws(distinct, function(transform) {
    transform_forward(transform, raw, arg = "newdata")
  })
  noise <- !identical(before, seed_state(NULL)$seed)
  x <- lapply(fits, function(fit) {
    at <- which(vapply(distinct, identical, NA, fit$transform))
    select_features(copies[[at]], fit$features, fit$p, "newdata")
  })
  list(x = x, noise = noise)
}

# ---- the values ----------------------------------------------------------

# Of each row of `data` (a list of raw, x, missing, condition and own): list(value, kind,
# loglik, elbo), the log-likelihood NULL where it is not known.
compared_terms <- function(object, data, samples, weighted) UseMethod("compared_terms")

#' @exportS3Method
compared_terms.ppca <- function(object, data, samples, weighted) {
  loglik <- posterior_pass(object, data$x, loglik = TRUE)$loglik +
    transform_log_jacobian(object$transform, data$x)
  list(value = loglik, kind = "exact", loglik = loglik, elbo = loglik)
}

#' @exportS3Method
compared_terms.linear_vae <- function(object, data, samples, weighted) {
  seen <- observe_rows(object, data)
  jacobian <- transform_log_jacobian(object$transform, data$x)
  elbo <- gaussian_log_density(object, seen$error) - seen$kl + jacobian
  loglik <- posterior_pass(object, data$x, loglik = TRUE)$loglik + jacobian
  list(value = if (weighted) loglik else elbo, kind = if (weighted) "exact" else "bound",
       loglik = loglik, elbo = elbo)
}

#' @exportS3Method
compared_terms.vae <- function(object, data, samples, weighted) {
  code <- condition_code(object, data$condition, nrow(data$x))
  data$floats <- vae_floats(data$x, code, NULL, object$shift, object$unit,
                            unname(object$mean), "newdata")
  if (data$own) check_found(object, object$fingerprint, data$floats, FALSE, "newdata")
  seen <- observe_vae(object, data, samples)
  jacobian <- transform_log_jacobian(object$transform, data$x)
  elbo <- seen$reconstruction - seen$kl + jacobian
  list(value = if (weighted) seen$weighted + jacobian else elbo, kind = "bound",
       elbo = elbo)
}

comparison_table <- function(fits, each, values) {
  se <- function(x) apply(x, 2, stats::sd) / sqrt(nrow(x))
  means <- function(name) {
    vapply(each, function(terms) if (is.null(terms[[name]])) NA_real_ else mean(terms[[name]]), 0)
  }
  value <- colMeans(values)
  best <- which.max(value)
  apart <- values - if (length(best)) values[, best] else NA
  table <- data.frame(
    model = names(fits), family = vapply(fits, function(fit) class(fit)[1], ""),
    k = vapply(fits, function(fit) as.integer(fit$k), 0L),
    parameters = vapply(fits, function(fit) as.double(fit$df), 0),
    value = value, se = se(values), kind = vapply(each, `[[`, "", "kind"),
    difference = colMeans(apart), difference_se = se(apart), loglik = means("loglik"),
    elbo = means("elbo"), seconds = vapply(fits, fit_seconds, 0)
  )
  table <- table[order(-value), ]
  row.names(table) <- NULL
  table
}

# ---- printing ------------------------------------------------------------

#' @export
print.model_comparison <- function(x, ...) {
  t <- x$table
  cat(sprintf("%d model%s on %d observation%s%s of %d features\n", nrow(t),
              if (nrow(t) == 1) "" else "s", x$n, if (x$n == 1) "" else "s",
              if (x$own) " that they were fitted to," else "", x$p))
  cat("Nats per observation (standard error)\n\n")
  print_columns(utils::head(comparison_columns(t), 10))
  if (nrow(t) > 10) cat("... and", nrow(t) - 10, "more models\n")
  notes <- comparison_notes(x)
  if (length(notes)) cat("\n")
  for (note in notes) cat(strwrap(note, 0.95 * getOption("width")), sep = "\n")
  invisible(x)
}

# What of the table is shown, as text.
comparison_columns <- function(t) {
  with_se <- function(value, se) {
    digits <- digits_of(se)
    sprintf("%.*f (%.*f)", digits, value, digits, se)
  }
  apart <- with_se(t$difference, t$difference_se)
  apart[which(t$difference == 0 & t$difference_se %in% 0)] <- ""
  out <- data.frame(model = short_names(t$model), family = t$family, k = format(t$k),
                    params = format(t$parameters, scientific = FALSE),
                    value = with_se(t$value, t$se), kind = t$kind, difference = apart)
  told <- t$kind == "bound" & !is.na(t$loglik)
  if (any(told)) out$loglik <- ifelse(told, sprintf("%.*f", digits_of(t$se), t$loglik), "")
  out$seconds <- ifelse(is.na(t$seconds), "", sprintf("%.3g", t$seconds))
  out
}

# Decimals with which the smallest standard error has two digits.
digits_of <- function(se) {
  steps <- se[is.finite(se) & se > 0]
  if (length(steps)) min(6, max(0, 1 - floor(log10(min(steps))))) else 4
}

short_names <- function(names, most = 20) {
  ifelse(nchar(names) > most, paste0(substr(names, 1, most - 3), "..."), names)
}

# Lines that are not wrapped; names at the left, numbers at the right.
print_columns <- function(table) {
  text <- Map(function(column, name) {
    left <- name %in% c("model", "family", "kind")
    formatC(c(name, column), width = max(nchar(c(name, column))), flag = if (left) "-" else "")
  }, table, names(table))
  cat(do.call(paste, unname(text)), sep = "\n")
}

comparison_notes <- function(x) {
  bound <- x$table$kind == "bound"
  weighted <- any(bound & x$table$family == "vae") && x$weighted
  c(if (any(bound)) paste0(
      if (weighted) sprintf("Bounds are importance-weighted, by %d draws of z. ", x$samples),
      "A bound is below the log-likelihood of its model, which may be better than it looks."),
    if (x$noise && x$untransformed) paste(
      "The data are whole numbers. Models with a transform see them with uniform noise, the",
      "others as they are, which can favour these: pass data with noise (see",
      "?compare_models)."))
}

# ---- drawings ------------------------------------------------------------

#' Plot a comparison of models
#'
#' Draws a point for each model, the best at the top, with a line of two standard errors
#' to each side. Values that are exact are filled points, bounds are open ones: the
#' log-likelihood of such a model is further to the right.
#'
#' @param x,object the result of [compare_models()].
#' @param type `"value"`, or `"difference"` from the best model. Rows differ more from each
#'   other than models do on the same rows, so that differences may be certain where the
#'   lines of the values overlap.
#' @param ... for `plot()`, graphical parameters such as `xlim`; for `autoplot()`, unused.
#' @return `plot()`: `x`, invisibly. `autoplot()`: a ggplot2 object.
#' @examples
#' compared <- compare_models(one = ppca(iris[1:4], 1), two = ppca(iris[1:4], 2))
#' plot(compared)
#' plot(compared, "difference")
#' @export
plot.model_comparison <- function(x, type = c("value", "difference"), ...) {
  draw_comparison(comparison_data(x, type), ...)
  invisible(x)
}

#' @rdname plot.model_comparison
#' @exportS3Method ggplot2::autoplot
autoplot.model_comparison <- function(object, type = c("value", "difference"), ...) {
  check_installed("ggplot2", "`autoplot()`")
  check_dots_empty(...)
  gg_comparison(comparison_data(object, type))
}

comparison_data <- function(x, type) {
  type <- check_choice(type, "type", c("value", "difference"))
  t <- x$table
  value <- t[[type]]
  se <- if (type == "value") t$se else t$difference_se
  se[is.na(se)] <- 0
  table <- data.frame(model = factor(t$model, rev(t$model)), kind = t$kind, value = value,
                      low = value - 2 * se, high = value + 2 * se)
  label <- if (type == "difference") "Difference from the best" else
    if (all(t$kind == "exact")) "Log-likelihood" else
      if (all(t$kind == "bound")) "Bound of the log-likelihood" else "Log-likelihood or bound"
  list(table = table[is.finite(value), ],
       xlab = paste0(label, ", nats per observation"),
       note = "two standard errors to each side", zero = type == "difference")
}

draw_comparison <- function(data, ..., xlab = data$xlab, ylab = "", xlim = NULL, pch = NULL) {
  table <- data$table
  at <- as.integer(table$model)
  names <- short_names(as.character(table$model), 30)
  old <- graphics::par(mar = c(4, bottom_lines(names), 2.5, 1))
  on.exit(graphics::par(old))
  if (is.null(xlim)) xlim <- range(table$low, table$high)
  if (is.null(pch)) pch <- COMPARED_PCH[table$kind]
  plot(table$value, at, type = "n", xlab = xlab, ylab = ylab, xlim = xlim,
       ylim = c(min(at) - 0.5, max(at) + 0.5), yaxt = "n", tcl = -0.3, mgp = c(2.4, 0.6, 0),
       ...)
  graphics::abline(h = at, col = "grey90")
  if (data$zero) graphics::abline(v = 0, lty = 3, col = COLOURS[["grey"]])
  graphics::segments(table$low, at, table$high, at, col = COLOURS[["blue"]], lwd = 1.5)
  graphics::points(table$value, at, pch = pch, col = COLOURS[["blue"]], bg = "white", cex = 1.2)
  room <- (graphics::par("mai")[2] - 0.15) / max(graphics::strwidth(names, "inches"))
  graphics::axis(2, at, names, las = 1, tick = FALSE, mgp = c(3, 0.5, 0),
                 cex.axis = max(0.5, min(1, room)))
  kinds <- intersect(names(COMPARED_PCH), table$kind)
  if (length(kinds) == 1) kinds <- character(0)
  legend_above(c(kinds, data$note), rep(COLOURS[["blue"]], length(kinds) + 1),
               pch = c(COMPARED_PCH[kinds], NA), lty = c(rep(NA, length(kinds)), 1))
}

COMPARED_PCH <- c(exact = 19, bound = 21)

gg_comparison <- function(data) {
  several <- length(unique(data$table$kind)) > 1
  ggplot2::ggplot(data$table, ggplot2::aes(x = .data[["value"]], y = .data[["model"]])) +
    (if (data$zero) ggplot2::geom_vline(xintercept = 0, linetype = 3)) +
    ggplot2::geom_segment(ggplot2::aes(x = .data[["low"]], xend = .data[["high"]],
                                       yend = .data[["model"]]), colour = COLOURS[["blue"]]) +
    ggplot2::geom_point(ggplot2::aes(shape = .data[["kind"]]), size = 2.5, fill = "white",
                        colour = COLOURS[["blue"]]) +
    ggplot2::scale_shape_manual(NULL, values = COMPARED_PCH) +
    (if (!several) ggplot2::guides(shape = "none")) +
    ggplot2::scale_y_discrete(labels = function(names) short_names(names, 30)) +
    ggplot2::labs(x = data$xlab, y = NULL, subtitle = paste("Lines:", data$note))
}

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.model_comparison <- function(x, ...) {
  check_dots_empty(...)
  x$table
}
