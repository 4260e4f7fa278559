# `newdata` and the data of a fit: with the features of the fit, in its order, transformed.

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

# The data that a method was given, or else those that the model was fitted to:
# kept in the fit, or found again through its call.
data_of <- function(object, newdata, arg = "newdata", env = parent.frame(2)) {
  if (!is.null(newdata)) return(newdata)
  if (!is.null(object$x)) return(object$x)
  found <- tryCatch(eval(data_source(object), env), error = function(e) NULL)
  if (is.null(found) || !is_data(found) || nrow(found) != object$n) {
    abort_changed(object, arg)
  }
  found
}

# What the call of a fit says its data are.
data_source <- function(object, call = object$call) {
  if (is.null(object$terms)) call$x else call$data
}

abort_changed <- function(object, arg) {
  abort("`", arg, "` must be given: the fit holds no data, and `",
        paste(deparse(data_source(object), nlines = 1), collapse = ""),
        "` is not (or no longer) the data it was fitted to. ",
        "A fit with `keep_data = TRUE` remembers them.")
}

check_complete <- function(data, arg = "newdata") {
  if (data$missing) {
    abort_arg(arg, "have no missing cells: the encoder needs every feature. impute() fills them in")
  }
  data
}
