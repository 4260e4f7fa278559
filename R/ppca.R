#' Probabilistic principal component analysis
#'
#' Fits x = W z + mu + noise, with z ~ N(0, I) of `k` dimensions and noise
#' ~ N(0, sigma2 I), by maximum likelihood (Tipping and Bishop 1999). Unlike
#' [stats::prcomp()] this is a probability model: it has a likelihood, so that
#' AIC, BIC and held-out data can choose `k`; it fits and fills in data with
#' missing cells exactly; and it generates data.
#'
#' @details
#' **Closed form** (`method = "mle"`, the default for complete data). With
#' eigenvalues lambda and eigenvectors U of the covariance matrix S (divisor n),
#' sigma2 is the mean of the p - k smallest eigenvalues and
#' W = U_k (Lambda_k - sigma2 I)^(1/2). The decomposition takes the cheapest
#' exact route: S itself where p <= n, the n x n Gram matrix where p > n, and,
#' where both n and p are large and `k` is at most a tenth of the smaller one,
#' block Lanczos iteration to a relative residual of 1e-10. On every route
#' sigma2 comes from the trace of S, so that the likelihood is exact.
#'
#' **EM** (`method = "em"`, and always with missing cells). Each row uses its
#' observed cells alone, with its own posterior covariance; nothing is filled
#' in. Missing cells are taken to be missing at random. See [em_control()].
#'
#' The loadings W are identified up to a rotation only. Here W'W is diagonal,
#' columns are in order of decreasing variance, and the entry of each column
#' that is largest in absolute value is positive.
#'
#' `NA` and `NaN` mark missing cells; `Inf` is an error. A row without any
#' observed cell is kept, with the prior as its posterior; a column without any
#' is an error.
#'
#' With `scale` or `transform`, likelihoods are still densities of the data as
#' passed: the log-Jacobian is included.
#'
#' @param x the data, n observations in rows by p features in columns: a
#'   numeric or integer matrix, a data frame with numeric columns, a sparse
#'   matrix from the Matrix package (never filled in whole), or a one-sided
#'   formula such as `~ .` or `~ a + log(b)` with `data`.
#' @param k number of latent dimensions, from 1 to p - 1, and below the rank of
#'   the centred data unless `sigma2` is given.
#' @param ... further arguments for methods; none for these.
#' @param method `"mle"` for the closed form, `"em"`, or `"auto"`: the closed
#'   form if the data are complete.
#' @param center `TRUE` to estimate the mean, `FALSE` for none, or a vector of
#'   p known means. Numbers that have names, here and in `scale`, are taken by these.
#' @param scale `FALSE`, `TRUE` to divide each feature by its standard
#'   deviation (divisor n, so that S is the correlation matrix), or a vector of
#'   p positive numbers. `TRUE` adds p to the degrees of freedom.
#' @param sigma2 `NULL` to estimate the noise variance, or a positive number
#'   that is kept. Directions with an eigenvalue below a fixed `sigma2` collapse:
#'   their column of W is zero.
#' @param transform `NULL` or an invertible transform such as [logit_pixels()]
#'   that is applied to `x` first.
#' @param control settings of EM from [em_control()].
#' @param keep_data keep `x` in the fit, so that [residuals()][stats::residuals],
#'   [impute()] and [update()][stats::update] need not find it again. By default
#'   a fit holds no data.
#' @param data a data frame in which to look up the variables of a formula.
#'
#' @return An object of class `ppca`, plain data that can be saved with
#'   [saveRDS()]: a list with
#'   \item{loadings}{W, p x k.}
#'   \item{mean}{mu, length p (on the scale of the transformed data).}
#'   \item{sigma2}{noise variance.}
#'   \item{values}{known eigenvalues of S, decreasing: all min(n, p) on the
#'     dense routes, `k` on the iterative one; with missing cells the `k`
#'     leading eigenvalues of the fitted covariance.}
#'   \item{trace}{total variance tr S; with missing cells of the fitted
#'     covariance.}
#'   \item{scores}{posterior means E(z | x) of the rows, n x k.}
#'   \item{loglik}{total log-likelihood in nats.}
#'   \item{log_jacobian}{what the `transform` adds to it, per observation; 0
#'     without.}
#'   \item{history}{data frame with one row per iteration: `iteration` (EM maps
#'     made so far), `loglik` (total, never decreasing), `sigma2`.}
#'   \item{converged, iterations}{whether and after how many EM maps.}
#'   \item{seconds}{how long it took, on the clock.}
#'   \item{n, p, k, df, observed}{sizes, free parameters, observed cells.}
#'   \item{method, route}{how it was fitted.}
#'   \item{center, scale, transform, features, arguments, call}{what is needed
#'     to treat new data alike and to fit again.}
#' @seealso [select_rank()] to choose `k`, [posterior()], [impute()],
#'   [predict()][predict.ppca], [plot()][plot.ppca].
#' @references Tipping, M. E. and Bishop, C. M. (1999). Probabilistic principal
#'   component analysis. *Journal of the Royal Statistical Society B* 61,
#'   611--622. \doi{10.1111/1467-9868.00196}
#' @examples
#' fit <- ppca(mnist1000$x / 255, k = 50)
#' fit
#' logLik(fit)
#'
#' # missing cells
#' x <- as.matrix(iris[1:4])
#' x[sample(length(x), 60)] <- NA
#' fit <- ppca(x, k = 2)
#' head(impute(fit, x))
#' @export
ppca <- function(x, k, ...) UseMethod("ppca")

#' @rdname ppca
#' @export
ppca.default <- function(x, k, method = c("auto", "mle", "em"), center = TRUE,
                         scale = FALSE, sigma2 = NULL, transform = NULL,
                         control = em_control(), keep_data = FALSE, ...) {
  check_dots_empty(...)
  call <- generic_call(match.call(), "ppca")
  fit_ppca(x, k, method, center, scale, sigma2, transform, control, keep_data,
           call)
}

#' @rdname ppca
#' @export
ppca.formula <- function(x, k, data = NULL, ...) {
  fit_formula(x, k, data, ppca.default, generic_call(match.call(), "ppca"), ...)
}

# The work behind every method of ppca(). `asked` is kept for update().
fit_ppca <- function(x, k, method, center, scale, sigma2, transform, control,
                     keep_data, call) {
  began <- clock()
  raw <- as_data_matrix(x)
  check_shape(raw)
  asked <- list(
    k = check_rank_argument(k, ncol(raw)),
    method = check_choice(method, "method", c("auto", "mle", "em")),
    center = check_vector_or_flag(center, "center", raw),
    scale = check_vector_or_flag(scale, "scale", raw, positive = TRUE),
    sigma2 = if (!is.null(sigma2)) check_number(sigma2, "sigma2", 0, open = TRUE),
    transform = check_dense_transform(transform, raw),
    keep_data = check_flag(keep_data, "keep_data")
  )
  control <- check_control(control)
  check_start(control$start, ncol(raw), asked$k)

  x <- transform_forward(transform, raw, arg = "x")
  data <- prepare_data(x, asked$center, asked$scale)
  solution <- solve_by_method(data, asked$k, asked$method, asked$sigma2, control)
  if (!is.finite(solution$loglik)) {
    abort_arg("sigma2", "be larger: the likelihood is beyond the range of numbers",
              describe(sigma2))
  }
  jacobian <- sum(transform_log_jacobian(transform, x))
  fit <- new_ppca(solution, data, asked, control, jacobian, call)
  if (!is.null(control$start)) {
    fit$history <- rbind(control$start$history, fit$history)
  }
  fit$seconds <- seconds_since(began, control$start)
  if (keep_data) fit$x <- raw
  fit
}

solve_by_method <- function(data, k, method, sigma2, control) {
  if (method == "mle" && data$missing) {
    abort_arg("method", "be \"auto\" or \"em\" where cells are missing", "\"mle\"")
  }
  if (data$missing) {
    solve_em_missing(data, k, sigma2, control)
  } else if (method == "em") {
    solve_em_complete(data, k, sigma2, control)
  } else {
    solve_closed_form(data, k, sigma2)
  }
}

# ---- closed form --------------------------------------------------------

solve_closed_form <- function(data, k, sigma2) {
  eigen <- data_eigen(data, min(k, data$n))
  if (is.null(sigma2)) check_rank(eigen, data, k)
  eigen <- pad_eigen(eigen, data$p, k)
  solution <- solve_ppca(eigen, k, sigma2, data$u)
  solution$values <- eigen$values
  solution$trace <- eigen$trace
  solution$scores <- scores_along(eigen, solution)
  solution$loglik <- data$n * solution$loglik
  solution$history <- data.frame(iteration = 0L, loglik = solution$loglik,
                                 sigma2 = solution$sigma2)
  c(solution, list(route = eigen$route, converged = TRUE, iterations = 0L))
}

# ---- the object ---------------------------------------------------------

# From core units to the user's: lengths times u, variances times u^2.
new_ppca <- function(solution, data, asked, control, jacobian, call) {
  u <- data$u
  k <- asked$k
  fixed <- !is.null(asked$sigma2)
  gain <- log_units(data) + jacobian
  latent <- paste0("z", seq_len(k))
  features <- colnames(data$x)
  mean <- if (is.null(solution$mu)) data$mu else solution$mu
  structure(
    list(
      call = call,
      loadings = structure(solution$w * u, dimnames = list(features, latent)),
      mean = structure(mean, names = features),
      sigma2 = if (fixed) asked$sigma2 else solution$sigma2 * u^2,
      values = solution$values * u^2,
      trace = solution$trace * u^2,
      scores = training_scores(solution, data, latent),
      loglik = solution$loglik + gain,
      log_jacobian = jacobian / data$n,
      history = data.frame(iteration = solution$history$iteration,
                           loglik = solution$history$loglik + gain,
                           sigma2 = solution$history$sigma2 * u^2),
      converged = solution$converged,
      iterations = solution$iterations,
      n = data$n, p = data$p, k = k,
      df = free_parameters(data, k, !fixed),
      observed = sum(data$count),
      method = if (solution$route == "em") "em" else "mle",
      route = solution$route,
      center = data$centred,
      scale = if (data$scaled) structure(data$sd, names = features),
      transform = asked$transform,
      features = features,
      arguments = asked,
      control = control[c("tol", "maxit", "accelerate", "progress")],
      fixed = fixed
    ),
    class = "ppca"
  )
}

training_scores <- function(solution, data, latent) {
  scores <- if (!is.null(solution$scores)) {
    solution$scores
  } else {
    latent_means(data, solution$w, solution$sigma2)
  }
  dimnames(scores) <- list(rownames(data$x), latent)
  scores
}
