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

column_label <- function(x, j) {
  name <- colnames(x)[j]
  if (is.null(name)) paste("column", j) else paste("column", dQuote(name, FALSE))
}

# The columns of x in order, as ranges of about `cells` cells each.
column_blocks <- function(x, cells = 2^20) {
  width <- max(1, cells %/% max(1, nrow(x)))
  starts <- seq(1, by = width, length.out = ceiling(ncol(x) / width))
  lapply(starts, function(start) start:min(start + width - 1, ncol(x)))
}

check_shape <- function(x) {
  if (nrow(x) < 2) abort_arg("x", "have at least 2 rows", nrow(x))
  if (ncol(x) < 2) abort_arg("x", "have at least 2 columns", ncol(x))
}

check_rank_argument <- function(k, p) check_count(k, "k", 1, p - 1)

# One number for each column of `raw`, in their order if it has their names.
check_vector_or_flag <- function(x, arg, raw, positive = FALSE) {
  if (is.logical(x) && length(x) == 1 && !is.na(x)) return(x)
  p <- ncol(raw)
  ok <- is.numeric(x) && !is.object(x) && length(x) == p && all(is.finite(x)) &&
    (!positive || all(x > 0))
  if (!ok) {
    abort_arg(arg, sprintf("be TRUE, FALSE or a vector of %d %sfinite numbers", p,
                           if (positive) "positive " else ""), describe(x))
  }
  columns <- colnames(raw)
  if (is.null(names(x)) || is.null(columns) || identical(names(x), columns)) return(x)
  if (anyDuplicated(columns) || !setequal(names(x), columns)) {
    unknown <- setdiff(names(x), columns)
    abort_arg(arg, "have the names of the columns, or none",
              if (length(unknown)) dQuote(unknown[1], FALSE))
  }
  x[columns]
}

is_data <- function(x) is.data.frame(x) || is.matrix(x) || is_s4_matrix(x)

# Those of a vector, or of the rows of a matrix or data frame; all where `rows` is NULL.
some <- function(x, rows) {
  if (is.null(rows)) x else if (length(dim(x)) == 2) x[rows, , drop = FALSE] else x[rows]
}

is_complete <- function(object) object$observed == object$n * object$p
