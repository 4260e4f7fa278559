#' Choose the number of latent dimensions
#'
#' Compares pPCA models of several ranks by an information criterion, by the
#' evidence, or by how well they predict cells that they have not seen.
#'
#' @details
#' `"bic"` and `"aic"` come from the exact likelihood. `"laplace"` is Minka's
#' (2000) approximation to the log evidence, for complete data (with the
#' contribution of nearly tied eigenvalues bounded, which he leaves infinite). `"heldout"` is
#' cross-validation over cells: the cells are split at random into `folds`
#' parts; for each part, a model is fitted by EM to the other cells and scored
#' by the mean log density of the left-out cells given the cells of the same row
#' that it has seen. It costs an EM fit per rank and fold.
#'
#' On complete data all ranks come from one eigen-decomposition.
#'
#' @param x the data, as in [ppca()].
#' @param k candidates: a vector of whole numbers from 1 to p - 1. By default
#'   all ranks up to 1 below the rank of the data, or to 10 for `"heldout"` and
#'   for data with missing cells, where each rank is an EM fit.
#' @param criterion which criterion chooses.
#' @param center,scale,transform as in [ppca()].
#' @param folds number of parts for `"heldout"`.
#' @param control settings of EM from [em_control()]; by default a tolerance
#'   that settles the criteria to about 0.01.
#' @return An object of class `rank_selection`: a list with `table`, a data
#'   frame with a row per candidate (`k`, `df`, `sigma2`, `loglik`, `aic`,
#'   `bic`, `laplace` where it applies, and `heldout`, in nats per cell, with
#'   its standard error over folds, where asked for), the `criterion`, and the
#'   chosen `k`.
#' @references Minka, T. P. (2000). Automatic choice of dimensionality for PCA.
#'   *Advances in Neural Information Processing Systems* 13.
#' @examples
#' set.seed(1)
#' z <- matrix(rnorm(200 * 3), 200)
#' x <- z %*% matrix(rnorm(30), 3) + 0.5 * matrix(rnorm(2000), 200)
#' ranks <- select_rank(x)
#' ranks
#' plot(ranks)
#' @export
select_rank <- function(x, k = NULL,
                        criterion = c("bic", "aic", "laplace", "heldout"),
                        center = TRUE, scale = FALSE, transform = NULL,
                        folds = 5, control = em_control(tol = 1e-5)) {
  criterion <- check_choice(criterion, "criterion",
                            c("bic", "aic", "laplace", "heldout"))
  raw <- as_data_matrix(x)
  check_shape(raw)
  folds <- check_count(folds, "folds", 2, 100)
  transform <- check_dense_transform(transform, raw)
  control <- check_control(control)
  center <- check_vector_or_flag(center, "center", raw)
  scale <- check_vector_or_flag(scale, "scale", raw, positive = TRUE)
  if (!is.null(k)) k <- check_candidates(k, ncol(raw))
  y <- transform_forward(transform, raw, arg = "x")
  data <- prepare_data(y, center, scale)
  if (data$missing && criterion == "laplace") {
    abort_arg("criterion", "be \"bic\", \"aic\" or \"heldout\" where cells are missing",
              "\"laplace\"")
  }
  if (criterion == "heldout" && is_sparse(raw)) {
    abort_arg("criterion", "be \"bic\", \"aic\" or \"laplace\" for a sparse matrix",
              "\"heldout\"")
  }
  few <- data$missing || criterion == "heldout"
  jacobian <- sum(transform_log_jacobian(transform, y))
  table <- if (data$missing) {
    ranks_by_em(y, default_ranks(k, data, few), center, scale, control, jacobian,
                open = is.null(k))
  } else {
    ranks_by_eigen(data, k, few, jacobian)
  }
  if (criterion == "heldout") {
    scores <- heldout_scores(y, table$k, center, scale, folds, control, transform,
                             open = is.null(k))
    table <- cbind(table[seq_len(nrow(scores)), ], scores)
  }
  new_rank_selection(table, criterion, data)
}

check_candidates <- function(k, p) {
  ok <- is.numeric(k) && !is.object(k) && length(k) > 0 && all(is.finite(k)) &&
    all(k == round(k)) && all(k >= 1) && all(k < p) && !anyDuplicated(k)
  if (!ok) {
    abort_arg("k", sprintf("hold distinct whole numbers between 1 and %d", p - 1),
              describe(k))
  }
  sort(as.integer(k))
}

default_ranks <- function(k, data, few, rank = min(data$n - data$centred, data$p)) {
  if (!is.null(k)) return(k)
  last <- max(1, min(rank - 1, data$p - 1, if (few) 10))
  seq_len(last)
}

# All ranks from one decomposition.
ranks_by_eigen <- function(data, k, few, jacobian) {
  top <- if (is.null(k)) min(data$n, data$p) else min(max(k), data$n)
  eigen <- data_values(data, top)
  route <- eigen$route
  values <- pmax(eigen$values, 0)
  zero <- max(data$n, data$p) * .Machine$double.eps * values[1]
  rank <- sum(values > zero)
  if (route != "krylov" && rank < 2) {
    abort_arg("x", "have a rank of at least 2", rank)
  }
  if (!is.null(k) && route != "krylov" && max(k) >= rank) {
    abort_arg("k", sprintf("be below %d, the rank of `x`", rank), max(k))
  }
  k <- default_ranks(k, data, few, rank)
  profile <- core_ppca_profile(values, k, data$p, eigen$trace)
  df <- vapply(k, function(one) free_parameters(data, one, TRUE), numeric(1))
  loglik <- data$n * profile$loglik + log_units(data) + jacobian
  table <- criteria_table(k, df, profile$sigma2 * data$u^2, loglik, data$n)
  if (route != "krylov") {
    table$laplace <- laplace_evidence(values, k, data$n, data$p, eigen$trace) +
      log_units(data) + jacobian
  }
  table
}

ranks_by_em <- function(y, k, center, scale, control, jacobian, open) {
  fits <- fit_ranks(y, k, center, scale, control, open)
  k <- k[seq_along(fits)]
  get <- function(what) vapply(fits, function(fit) as.double(fit[[what]]), 0)
  criteria_table(k, get("df"), get("sigma2"), get("loglik") + jacobian, nrow(y))
}

# EM fits for every k; those that did not converge are named in one warning. With
# an open list of candidates, it ends before the first that leaves no noise.
fit_ranks <- function(y, k, center, scale, control, open) {
  late <- integer()
  fit_one <- function(one) {
    withCallingHandlers(
      ppca.default(y, one, method = "em", center = center, scale = scale,
                   control = control),
      elbo_not_converged = function(condition) {
        late <<- c(late, one)
        invokeRestart("muffleWarning")
      }
    )
  }
  fits <- list()
  for (one in k) {
    fit <- tryCatch(fit_one(one), elbo_no_noise = identity)
    if (inherits(fit, "error")) {
      if (!open || !length(fits)) stop(fit)
      break
    }
    fits[[length(fits) + 1]] <- fit
  }
  if (length(late)) {
    warning("EM has not converged for k = ", paste(late, collapse = ", "),
            "; raise `maxit` in `control = em_control()`.", call. = FALSE)
  }
  fits
}

criteria_table <- function(k, df, sigma2, loglik, n) {
  data.frame(k = k, df = df, sigma2 = sigma2, loglik = loglik,
             aic = -2 * loglik + 2 * df, bic = -2 * loglik + log(n) * df)
}

# Minka (2000), eq. 11-15, with N = n observations in d = p dimensions:
#   log p(D | k) ~ log p(U) - N/2 sum_{j<=k} log lambda_j - N (d-k)/2 log v
#                  + (m + k)/2 log 2 pi - 1/2 log |A_Z| - k/2 log N,
#   log p(U) = -k log 2 + sum_{j<=k} [lgamma((d-j+1)/2) - (d-j+1)/2 log pi],
#   |A_Z| = prod_{i<=k} prod_{j>i} N (1/l_j - 1/l_i) (lambda_i - lambda_j),
# where l is lambda with all beyond k at their mean v, and m = d k - k (k+1)/2.
# The constant of the likelihood, which Minka leaves out, is put back so that
# the evidence is on the scale of the other columns.
laplace_evidence <- function(values, k, n, p, trace) {
  lambda <- c(values, rep(0, max(0, p - length(values))))[seq_len(p)]
  vapply(k, function(one) {
    used <- seq_len(one)
    v <- (trace - sum(lambda[used])) / (p - one)
    log_prior <- -one * log(2) +
      sum(lgamma((p - used + 1) / 2) - (p - used + 1) / 2 * log(pi))
    m <- p * one - one * (one + 1) / 2
    log_prior - n / 2 * sum(log(lambda[used])) - n * (p - one) / 2 * log(v) +
      (m + one) / 2 * log(2 * pi) - log_hessian(lambda, one, v, n) / 2 -
      one / 2 * log(n) - n * p / 2 * (log(2 * pi) + 1)
  }, numeric(1))
}

# log |A_Z|. Each entry a of A_Z belongs to the angle by which two directions
# turn, and the approximation replaces the integral over that angle by
# (2 pi / a)^(1/2). Where eigenvalues are tied a is 0, but the integral cannot
# exceed the range of the angle, pi: so a counts as 2 / pi at least.
log_hessian <- function(lambda, k, v, n) {
  p <- length(lambda)
  smoothed <- c(lambda[seq_len(k)], rep(v, p - k))
  sum(vapply(seq_len(k), function(i) {
    j <- (i + 1):p
    a <- n * (lambda[i] - lambda[j]) * (1 / smoothed[j] - 1 / smoothed[i])
    sum(log(pmax(a, 2 / pi)))
  }, numeric(1)))
}

# ---- held-out cells ------------------------------------------------------

# Mean log density per left-out cell given the rest of its row: the difference
# of two exact log-likelihoods, with and without those cells.
heldout_scores <- function(y, k, center, scale, folds, control, transform, open) {
  fold <- split_cells(y, folds)
  scores <- lapply(seq_len(folds), function(f) {
    seen <- y
    seen[fold == f] <- NA
    jacobian <- sum(transform_log_jacobian(transform, y)) -
      sum(transform_log_jacobian(transform, seen))
    cells <- sum(fold == f, na.rm = TRUE)
    fits <- fit_ranks(seen, k, center, scale, control, open)
    vapply(fits, function(fit) {
      gain <- posterior_pass(fit, y, loglik = TRUE)$loglik -
        posterior_pass(fit, seen, loglik = TRUE)$loglik
      (sum(gain) + jacobian) / cells
    }, numeric(1))
  })
  ranks <- seq_len(min(lengths(scores)))       # those that every fold could fit
  scores <- matrix(unlist(lapply(scores, `[`, ranks)), length(ranks))
  data.frame(heldout = rowMeans(scores),
             heldout_se = apply(scores, 1, stats::sd) / sqrt(folds))
}

# A fold for each observed cell, NA for missing ones. Every column keeps a seen
# cell in every fold, or it could not be fitted.
split_cells <- function(y, folds) {
  fold <- matrix(NA_integer_, nrow(y), ncol(y))
  for (j in seq_len(ncol(y))) {
    rows <- which(!is.na(y[, j]))
    if (length(rows) < 2) next
    parts <- min(folds, length(rows))
    labels <- sample(rep_len(sample.int(folds, parts), length(rows)))
    fold[rows, j] <- labels
  }
  fold
}

# ---- the object ----------------------------------------------------------

new_rank_selection <- function(table, criterion, data) {
  score <- table[[criterion]]
  if (is.null(score)) {
    abort_arg("k", "be closer to the size of `x` for the Laplace evidence",
              "so few that not all eigenvalues are computed")
  }
  best <- if (criterion %in% c("aic", "bic")) which.min(score) else which.max(score)
  structure(list(table = table, criterion = criterion, k = table$k[best],
                 n = data$n, p = data$p),
            class = "rank_selection")
}

#' @export
print.rank_selection <- function(x, ...) {
  cat(sprintf("Rank of pPCA for %d observations of %d features: k = %d by %s\n",
              x$n, x$p, x$k, criterion_label(x$criterion)))
  near <- order(abs(x$table$k - x$k))[seq_len(min(11, nrow(x$table)))]
  shown <- x$table[sort(near), ]
  shown <- cbind(shown, " " = ifelse(shown$k == x$k, "<-", ""))
  print(shown, digits = 6, row.names = FALSE)
  if (nrow(x$table) > length(near)) {
    cat(sprintf("(%d of %d candidates; all are in $table)\n", length(near),
                nrow(x$table)))
  }
  if (nrow(x$table) > 1 && x$k == max(x$table$k)) {
    cat("The largest candidate is chosen: the optimum may lie beyond it, or the\n",
        "noise variance may be falling to that of (nearly) constant features.\n",
        sep = "")
  }
  invisible(x)
}

criterion_label <- function(criterion) {
  switch(criterion, bic = "BIC", aic = "AIC", laplace = "Laplace evidence",
         heldout = "held-out likelihood")
}
