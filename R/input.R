# From what the user passes to what the C core reads: a double or integer
# matrix, or a dgCMatrix, with finite or missing cells.

# `x` as such a matrix. Columns that are not numeric are an error that names
# them; attributes other than dim and dimnames are dropped.
as_data_matrix <- function(x, arg = "x") {
  if (is.data.frame(x)) return(data_frame_matrix(x, arg))
  if (is_s4_matrix(x)) return(s4_matrix(x, arg))
  if (!is.matrix(x) || !is.numeric(x)) {
    abort_arg(arg, "be a numeric matrix, a data frame of numbers or a sparse Matrix",
              describe(x))
  }
  if (is.object(x)) x <- unclass(x)
  extra <- setdiff(names(attributes(x)), c("dim", "dimnames"))
  for (name in extra) attr(x, name) <- NULL
  x
}

data_frame_matrix <- function(x, arg) {
  numeric <- vapply(x, function(column) {
    is.numeric(column) && is.null(dim(column))
  }, logical(1))
  if (!all(numeric)) {
    bad <- names(x)[!numeric]
    abort("`", arg, "` must have numeric columns only; ",
          paste(dQuote(bad, FALSE), collapse = ", "),
          if (length(bad) > 1) " are " else " is ",
          paste(unique(vapply(x[!numeric], function(column) class(column)[1], "")),
                collapse = ", "),
          ". Leave ", if (length(bad) > 1) "them" else "it",
          " out or turn ", if (length(bad) > 1) "them" else "it", " into numbers.")
  }
  if (!length(x)) abort_arg(arg, "have at least one column")
  out <- as.matrix(x)
  if (!nrow(x)) {                       # as.matrix() makes it logical
    whole <- all(vapply(x, is.integer, logical(1)))
    storage.mode(out) <- if (whole) "integer" else "double"
  }
  if (is.object(out)) unclass(out) else out
}

is_s4_matrix <- function(x) {
  isS4(x) && methods::is(x, "Matrix")
}

s4_matrix <- function(x, arg) {
  if (methods::is(x, "dgCMatrix")) return(x)
  if (!methods::is(x, "sparseMatrix")) return(as_data_matrix(as.matrix(x), arg))
  for (class in c("dMatrix", "generalMatrix", "CsparseMatrix")) {
    x <- methods::as(x, class)
  }
  x
}

is_sparse <- function(x) isS4(x)

# Column summaries of all rows, or of `rows`, in one pass: observed cells, mean, smallest,
# largest. An infinite value is an error.
summarise_columns <- function(x, arg = "x", rows = NULL) {
  parts <- of_rows(x, rows, function(part, cols) {
    out <- core_summary(part)
    if (out$infinite > 0) out$infinite <- cols[out$infinite]
    out
  })
  out <- do.call(Map, c(list(f = c), parts))
  infinite <- out$infinite[out$infinite > 0]
  if (length(infinite)) {
    abort_arg(arg, "hold finite numbers or NA",
              paste("Inf in", column_label(x, infinite[1])))
  }
  huge <- which(out$count > 0 & !is.finite(out$mean))
  if (length(huge)) {
    abort_arg(arg, "hold numbers whose sums are finite; rescale it",
              paste("the huge values in", column_label(x, huge[1])))
  }
  out
}

# f(x[rows, cols], cols) for ranges of columns, in order, so that a dense x is not copied
# whole. Once for all of them where rows is NULL.
of_rows <- function(x, rows, f) {
  if (is.null(rows)) return(list(f(x, seq_len(ncol(x)))))
  if (is_sparse(x)) return(list(f(x[rows, , drop = FALSE], seq_len(ncol(x)))))
  lapply(column_blocks(x), function(cols) f(x[rows, cols, drop = FALSE], cols))
}

# Sums of squares of (x - mu) unit, of each column.
column_squares <- function(x, mu, unit, rows = NULL) {
  unlist(of_rows(x, rows, function(part, cols) {
    core_squares(part, mu[cols], unit[cols])
  }))
}

column_label <- function(x, j) {
  name <- colnames(x)[j]
  if (is.null(name)) paste("column", j) else paste("column", dQuote(name, FALSE))
}

# `newdata` as the fit's features, in the fit's order, transformed: list of the
# matrix on the user's scale (`raw`) and on the model's (`x`), and whether any
# cell is missing.
conform <- function(object, newdata, arg = "newdata") {
  if (!is.null(object$terms) && is.data.frame(newdata)) {
    newdata <- formula_matrix(object$terms, newdata, arg)
  } else if (is.data.frame(newdata)) {
    # columns that the fit does not use may be of any kind
    newdata <- select_features(newdata, object$features, object$p, arg)
  }
  raw <- as_data_matrix(newdata, arg)
  raw <- select_features(raw, object$features, object$p, arg)
  summary <- summarise_columns(raw, arg)
  x <- transform_forward(object$transform, raw, arg = arg)
  list(raw = raw, x = x, missing = any(summary$count < nrow(raw)))
}

select_features <- function(x, features, p, arg) {
  names <- colnames(x)
  if (is.null(features) || is.null(names)) {
    if (ncol(x) != p) {
      abort_arg(arg, sprintf("have the %d columns that the model was fitted to", p),
                ncol(x))
    }
    return(x)
  }
  if (identical(names, features)) return(x)
  if (anyDuplicated(features) || any(features == "") ||
      anyDuplicated(names[names %in% features])) {
    abort_arg(arg, "have the columns that the model was fitted to, in their order, as their names are not distinct",
              "others")
  }
  absent <- setdiff(features, names)
  if (length(absent)) {
    shown <- paste(dQuote(utils::head(absent, 5), FALSE), collapse = ", ")
    abort("`", arg, "` must have the columns that the model was fitted to; ",
          shown, if (length(absent) > 5) sprintf(" and %d more", length(absent) - 5),
          if (length(absent) > 1) " are" else " is", " missing.")
  }
  x[, match(features, names), drop = FALSE]
}

# Data matrix of a one-sided formula, NA kept.
formula_frame <- function(formula, data, arg) {
  if (length(formula) != 2) {
    abort_arg(arg, "be a one-sided formula such as `~ .` or `~ a + b`",
              "one with a left-hand side")
  }
  frame <- stats::model.frame(formula, data = data, na.action = stats::na.pass)
  if (!is.null(attr(attr(frame, "terms"), "offset"))) {
    abort_arg(arg, "be a formula without offset(), which has no meaning here")
  }
  columns <- term_columns(frame, arg)
  # model.frame() makes names of row numbers
  if (!is.data.frame(data) || .row_names_info(data) <= 0) {
    attr(columns, "row.names") <- .set_row_names(nrow(frame))
  }
  list(terms = attr(frame, "terms"), data = columns)
}

# The columns of a model frame that the formula keeps: `~ . - a` has a in its
# frame, but not among its terms.
term_columns <- function(frame, arg) {
  labels <- attr(attr(frame, "terms"), "term.labels")
  quoted <- !labels %in% names(frame)            # `a b`, in a frame as "a b"
  labels[quoted] <- sub("^`(.*)`$", "\\1", labels[quoted])
  absent <- setdiff(labels, names(frame))
  if (length(absent) || !length(labels)) {
    abort_arg(arg, "be a sum of variables or of functions of one",
              if (length(absent)) dQuote(absent[1], FALSE) else "an empty formula")
  }
  as.data.frame(frame)[labels]
}

formula_matrix <- function(terms, data, arg) {
  absent <- setdiff(attr(terms, "columns"), names(data))
  if (length(absent)) {
    abort("`", arg, "` must have the columns that the model was fitted to; ",
          paste(dQuote(absent, FALSE), collapse = ", "),
          if (length(absent) > 1) " are" else " is", " missing.")
  }
  frame <- stats::model.frame(terms, data, na.action = stats::na.pass)
  as_data_matrix(term_columns(frame, arg), arg)
}
