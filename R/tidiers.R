# Methods for tidy(), glance() and augment() of the generics package, which is
# only suggested: the methods are registered once it is loaded. All results are
# plain data frames.

#' Results as data frames
#'
#' Methods for the generics of the generics package (which broom and tidymodels
#' re-export): `tidy()` gives the parts of a model in long form, `glance()` one
#' row about the whole model, `augment()` the data with what the model says
#' about each row.
#'
#' @param x a fitted [ppca()] model or the result of [select_rank()].
#' @param matrix `"loadings"`, `"scores"` (posterior means of the observations)
#'   or `"values"` (eigenvalues).
#' @param data the data to add columns to: a data frame or matrix with the
#'   features of the fit, in which other columns are kept. With `NULL`, a data
#'   frame of the scores that are in the fit.
#' @param ... unused.
#' @return A data frame.
#'   * `tidy()` of a model, `"loadings"`: `feature` (name, or column number if
#'     there are no names), `component` (1 to k), `value`. `"scores"`:
#'     `observation` (row name or number), `component`, `value`. `"values"`, for
#'     all known eigenvalues: `component`, `eigenvalue`, `share` of the total
#'     variance and `cumulative` share.
#'   * `tidy()` of a choice of rank: its `table`, and whether the row is
#'     `chosen`.
#'   * `glance()`: `n`, `p`, `k`, `sigma2`, `logLik`, `AIC`, `BIC`, `df`,
#'     `nobs`, `method`, `converged`, `iterations`.
#'   * `augment()`: `data` with the posterior means `.z1` to `.zk` and, unless
#'     `data` is `NULL`, the log density `.loglik` of the observed cells of each
#'     row, in nats.
#' @examples
#' if (requireNamespace("generics", quietly = TRUE)) {
#'   fit <- ppca(iris[1:4], k = 2)
#'   print(generics::tidy(fit))
#'   print(generics::tidy(fit, "values"))
#'   print(generics::glance(fit))
#'   print(head(generics::augment(fit, iris)))
#'   print(generics::tidy(select_rank(iris[1:4])))
#' }
#' @name tidiers
NULL

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.ppca <- function(x, matrix = c("loadings", "scores", "values"), ...) {
  check_dots_empty(...)
  matrix <- check_choice(matrix, "matrix", c("loadings", "scores", "values"))
  switch(matrix,
    loadings = long_form(x$loadings, "feature"),
    scores = long_form(x$scores, "observation"),
    values = {
      share <- x$values / x$trace
      data.frame(component = seq_along(x$values), eigenvalue = x$values,
                 share = share, cumulative = cumsum(share))
    }
  )
}

# A row for each cell of m, by columns; `row` names the column that says which.
long_form <- function(m, row) {
  label <- if (is.null(rownames(m))) seq_len(nrow(m)) else rownames(m)
  out <- data.frame(rep(label, ncol(m)), rep(seq_len(ncol(m)), each = nrow(m)),
                    as.vector(m))
  names(out) <- c(row, "component", "value")
  out
}

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.rank_selection <- function(x, ...) {
  check_dots_empty(...)
  cbind(x$table, chosen = x$table$k == x$k)
}

#' @rdname tidiers
#' @exportS3Method generics::glance
glance.ppca <- function(x, ...) {
  check_dots_empty(...)
  data.frame(n = x$n, p = x$p, k = x$k, sigma2 = x$sigma2, logLik = x$loglik,
             AIC = stats::AIC(x), BIC = stats::BIC(x), df = x$df,
             nobs = stats::nobs(x), method = x$method, converged = x$converged,
             iterations = x$iterations)
}

#' @rdname tidiers
#' @exportS3Method generics::augment
augment.ppca <- function(x, data = NULL, ...) {
  check_dots_empty(...)
  names <- paste0(".z", seq_len(x$k))
  if (is.null(data)) {
    out <- as.data.frame(x$scores)
    names(out) <- names
    return(out)
  }
  model_data <- conform(x, data, "data")
  # One pass, so that means and densities are of the same dequantised pixels.
  pass <- posterior_pass(x, model_data$x, loglik = TRUE)
  out <- if (is.data.frame(data)) data else as.data.frame(as.matrix(data))
  out[names] <- as.data.frame(pass$mean)
  out$.loglik <- pass$loglik + transform_log_jacobian(x$transform, model_data$x)
  out
}
