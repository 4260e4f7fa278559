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
#' @param x a fitted [ppca()], [linear_vae()], [linear_ae()] or [vae()] model, or the
#'   result of [select_rank()], [posterior_collapse()], [stability()] or
#'   [compare_models()].
#' @param matrix `"loadings"`, `"scores"` (posterior means of the observations, or
#'   their latent positions) or `"values"` (eigenvalues); where there is one,
#'   `"encoder"` (V); for a linear VAE `"dimensions"`. For a deep VAE `"dimensions"`,
#'   `"history"` or `"layers"`.
#' @param data the data to add columns to: a data frame or matrix with the
#'   features of the fit, in which other columns are kept. With `NULL`, a data
#'   frame of the scores that are in the fit; for a deep VAE, which holds none, of all the
#'   new columns for the rows that it was trained on, found as for
#'   [predict()][predict.vae].
#' @param samples for a deep VAE: number of samples of z for each row, with which the
#'   reconstruction term is estimated.
#' @param condition for a deep VAE with a condition: that of the rows of `data`.
#' @param ... unused.
#' @return A data frame.
#'   * `tidy()` of a model, `"loadings"`: `feature` (name, or column number if
#'     there are no names), `component` (1 to k), `value`. `"scores"`:
#'     `observation` (row name or number), `component`, `value`. `"values"`, for
#'     all known eigenvalues: `component`, `eigenvalue`, `share` of the total
#'     variance and `cumulative` share. `"encoder"`: as the loadings.
#'     `"dimensions"`, for each latent dimension: `component`, `kl` (mean over the
#'     observations, in nats), `posterior_variance` (D), `active_variance` (of the
#'     posterior mean over the observations), `length2` (squared length of its
#'     column of W), and `eigenvalue` and `predicted_kl` as in
#'     [posterior_collapse()]; for a deep VAE `component` and `kl`. `"history"`: that of
#'     the fit, a row for each epoch, see [vae()]. `"layers"`, from encoder to decoder:
#'     `layer`, `inputs`, `outputs` (0 inputs for a vector), `activation`, `parameters`.
#'   * `tidy()` of a choice of rank: its `table`, and whether the row is
#'     `chosen`. Of posterior collapse: its `dimensions`, with `component`. Of
#'     stability: its columns. Of a comparison of models: its `table`.
#'   * `glance()`: one row, whose columns are the same for all families, so that rows of
#'     several models can be bound together; `NA` where a model has no such thing.
#'     `family`: the class of the model. `n`, `p`, `k`, `sigma2` (the mean, where there
#'     are several). `logLik`: total, exact. `elbo` = `reconstruction` - `kl` +
#'     `log_jacobian`, per observation; for pPCA the log-likelihood, of which the two
#'     terms are known where no cell is missing. `loss`, `error`: of a linear autoencoder,
#'     per observation. `validation`: of a deep VAE, the ELBO of the validation data at the
#'     weights of the fit. `AIC`, `BIC`, `df` (free parameters; for a deep VAE weights),
#'     `nobs`. `beta`, `penalty`, `method` (`method` or `optimizer` of the call).
#'     `converged` (`NA` for `"adam"`; for a deep VAE `TRUE` where `patience` ended
#'     training, otherwise `NA`), `iterations` (or epochs), `best_epoch`, and `seconds`,
#'     how long the fit took.
#'   * `augment()`: `data` with the posterior means `.z1` to `.zk` and, unless
#'     `data` is `NULL`, the log density `.loglik` of the observed cells of each
#'     row, in nats; for a linear or deep VAE the `.elbo`, `.reconstruction` and `.kl` of
#'     each row instead, see [elbo()]. A deep VAE's `.reconstruction` is an estimate, from
#'     R's random numbers.
#' @examples
#' if (requireNamespace("generics", quietly = TRUE)) {
#'   fit <- ppca(iris[1:4], k = 2)
#'   print(generics::tidy(fit))
#'   print(generics::tidy(fit, "values"))
#'   print(generics::glance(fit))
#'   print(head(generics::augment(fit, iris)))
#'   print(generics::tidy(select_rank(iris[1:4])))
#'
#'   vae <- linear_vae(iris[1:4], k = 2)
#'   print(generics::tidy(vae, "dimensions"))
#'   print(generics::glance(vae))
#'   print(head(generics::augment(vae, iris)))
#'   print(generics::tidy(posterior_collapse(vae)))
#'
#'   set.seed(1)
#'   deep <- vae(iris[1:4], k = 2, encoder = 8, activation = "tanh",
#'               control = train_control(epochs = 5, batch_size = 30))
#'   print(generics::tidy(deep))
#'   print(generics::tidy(deep, "history"))
#'   print(generics::glance(deep))
#'   print(head(generics::augment(deep, iris, samples = 10)))
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
    values = tidy_values(x)
  )
}

tidy_values <- function(x) {
  share <- x$values / x$trace
  data.frame(component = seq_along(x$values), eigenvalue = x$values,
             share = share, cumulative = cumsum(share))
}

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.linear_vae <- function(x, matrix = c("loadings", "scores", "values", "dimensions",
                                          "encoder"), ...) {
  check_dots_empty(...)
  matrix <- check_choice(matrix, "matrix", c("loadings", "scores", "values", "dimensions",
                                             "encoder"))
  switch(matrix,
    encoder = long_form(t(x$V), "feature"),
    dimensions = tidy_dimensions(x),
    tidy.ppca(x, matrix)
  )
}

tidy_dimensions <- function(x) {
  measured <- summary(x)$dimensions
  theory <- predict_collapse(x, measured$kl, x$beta)
  data.frame(component = seq_len(x$k),
             measured[c("kl", "posterior_variance", "active_variance", "length2")],
             theory[c("eigenvalue", "predicted_kl")], row.names = NULL)
}

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.linear_ae <- function(x, matrix = c("loadings", "scores", "values", "encoder"), ...) {
  check_dots_empty(...)
  matrix <- check_choice(matrix, "matrix", c("loadings", "scores", "values", "encoder"))
  if (matrix == "encoder") long_form(t(x$V), "feature") else tidy.ppca(x, matrix)
}

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.vae <- function(x, matrix = c("dimensions", "history", "layers"), ...) {
  check_dots_empty(...)
  matrix <- check_choice(matrix, "matrix", c("dimensions", "history", "layers"))
  switch(matrix,
    dimensions = data.frame(component = seq_along(x$kl_dimensions),
                            kl = unname(x$kl_dimensions)),
    history = if (is.null(x$history)) data.frame(epoch = integer(0)) else x$history,
    layers = data.frame(summary(x)$layers, row.names = NULL)
  )
}

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.posterior_collapse <- function(x, ...) {
  check_dots_empty(...)
  data.frame(component = seq_len(nrow(x$dimensions)), x$dimensions, row.names = NULL)
}

#' @rdname tidiers
#' @exportS3Method generics::tidy
tidy.stability <- function(x, ...) {
  check_dots_empty(...)
  data.frame(as.list(x))
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

# The columns of glance(), of which each family knows some.
GLANCE <- list(
  family = NA_character_, n = NA_integer_, p = NA_integer_, k = NA_integer_,
  sigma2 = NA_real_, logLik = NA_real_, elbo = NA_real_, reconstruction = NA_real_,
  kl = NA_real_, log_jacobian = NA_real_, loss = NA_real_, error = NA_real_,
  validation = NA_real_, AIC = NA_real_, BIC = NA_real_, df = NA_real_,
  nobs = NA_integer_, beta = NA_real_, penalty = NA_character_, method = NA_character_,
  converged = NA, iterations = NA_integer_, best_epoch = NA_integer_, seconds = NA_real_
)

# One row: what all fits have, and what else `...` says.
glance_row <- function(x, ...) {
  known <- c(list(family = class(x)[1], nobs = stats::nobs(x), seconds = fit_seconds(x)),
             x[c("n", "p", "k", "converged", "iterations")], list(...))
  row <- GLANCE
  row[names(known)] <- known
  data.frame(row)
}

#' @rdname tidiers
#' @exportS3Method generics::glance
glance.ppca <- function(x, ...) {
  check_dots_empty(...)
  terms <- if (is_complete(x)) elbo(x)
  glance_row(x, sigma2 = x$sigma2, logLik = x$loglik, elbo = x$loglik / x$n,
             reconstruction = if (is.null(terms)) NA_real_ else terms[["reconstruction"]],
             kl = if (is.null(terms)) NA_real_ else terms[["kl"]],
             log_jacobian = x$log_jacobian, AIC = stats::AIC(x), BIC = stats::BIC(x),
             df = x$df, method = x$method)
}

#' @rdname tidiers
#' @exportS3Method generics::glance
glance.linear_vae <- function(x, ...) {
  check_dots_empty(...)
  glance_row(x, sigma2 = x$sigma2, logLik = x$loglik, elbo = x$elbo,
             reconstruction = x$reconstruction, kl = x$kl, log_jacobian = x$log_jacobian,
             AIC = stats::AIC(x), BIC = stats::BIC(x), df = x$df, beta = x$beta,
             method = x$optimizer)
}

#' @rdname tidiers
#' @exportS3Method generics::glance
glance.linear_ae <- function(x, ...) {
  check_dots_empty(...)
  glance_row(x, loss = x$loss, error = x$error, penalty = x$penalty, method = x$optimizer)
}

#' @rdname tidiers
#' @exportS3Method generics::glance
glance.vae <- function(x, ...) {
  check_dots_empty(...)
  glance_row(x, sigma2 = mean(x$sigma2), elbo = x$elbo, reconstruction = x$reconstruction,
             kl = x$kl, log_jacobian = x$log_jacobian,
             validation = validation_at_end(x), df = x$df,
             beta = x$beta, method = x$optimizer, best_epoch = x$best_epoch)
}

#' @rdname tidiers
#' @exportS3Method generics::augment
augment.ppca <- function(x, data = NULL, ...) {
  check_dots_empty(...)
  if (is.null(data)) return(latent_columns(x$scores))
  model_data <- conform(x, data, "data")
  # One pass, so that means and densities are of the same dequantised pixels.
  pass <- posterior_pass(x, model_data$x, loglik = TRUE)
  jacobian <- transform_log_jacobian(x$transform, model_data$x)
  add_columns(data, pass$mean, data.frame(.loglik = pass$loglik + jacobian))
}

#' @rdname tidiers
#' @exportS3Method generics::augment
augment.linear_vae <- function(x, data = NULL, ...) {
  check_dots_empty(...)
  if (is.null(data)) return(latent_columns(x$scores))
  model_data <- check_complete(conform(x, data, "data"), "data")
  seen <- observe_rows(x, model_data)
  terms <- elbo_table(x, model_data, gaussian_log_density(x, seen$error), seen$kl,
                      by = "observation")
  add_columns(data, seen$mean, data.frame(.elbo = terms$elbo,
                                          .reconstruction = terms$reconstruction,
                                          .kl = terms$kl))
}

#' @rdname tidiers
#' @exportS3Method generics::augment
augment.vae <- function(x, data = NULL, samples = 1, condition = NULL, ...) {
  check_dots_empty(...)
  samples <- check_count(samples, "samples")
  rows <- vae_rows(x, data, condition, parent.frame(), "data")
  z <- encode_rows(x, rows)$mean
  seen <- observe_vae(x, rows, samples)
  terms <- elbo_table(x, rows, seen$reconstruction, seen$kl, "observation")
  more <- data.frame(.elbo = terms$elbo, .reconstruction = terms$reconstruction,
                     .kl = terms$kl)
  if (is.null(data)) return(cbind(latent_columns(z), more))
  add_columns(data, z, more)
}

latent_columns <- function(z) {
  out <- as.data.frame(z)
  names(out) <- paste0(".z", seq_along(out))
  out
}

add_columns <- function(data, z, more) {
  out <- if (is.data.frame(data)) data else as.data.frame(as.matrix(data))
  columns <- c(latent_columns(z), more)
  out[names(columns)] <- columns
  out
}
