# One-sided formulas as data: model frames, their terms, and fits by a formula.

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

# Fits the columns that a formula makes; the fit remembers how.
fit_formula <- function(x, k, data, fitter, call, ...) {
  frame <- formula_data(x, data)
  fit <- fitter(frame$data, k, ...)
  fit$call <- call
  fit$terms <- strip_terms(frame$terms, names(data))
  fit
}

# The terms and columns of a formula given as `x`.
formula_data <- function(formula, data) {
  if (!is.null(data) && !is.data.frame(data)) {
    abort_arg("data", "be a data frame or NULL", describe(data))
  }
  if (is.null(data) && "." %in% all.vars(formula)) {
    abort_arg("data", "be a data frame where the formula has a `.`", "NULL")
  }
  formula_frame(formula, if (is.null(data)) environment(formula) else data, "x")
}

# The call as the user wrote it: the generic's name, not the method's.
generic_call <- function(matched, name) {
  matched[[1]] <- as.name(name)
  matched
}

# The terms that are used, and without their environment, which would take along
# whatever lived beside the formula.
# `columns`: the variables that new data must bring; others are constants.
strip_terms <- function(terms, columns) {
  out <- stats::terms(stats::reformulate(attr(terms, "term.labels"), env = globalenv()))
  used <- all.vars(out)
  attr(out, "columns") <- if (is.null(columns)) used else intersect(used, columns)
  out
}
