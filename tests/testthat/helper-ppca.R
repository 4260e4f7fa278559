# References for pPCA, written from the definitions and sharing nothing with the
# code under test: p x p covariances, one row at a time.

# log N(x_i; mean, cov) for each row. Missing cells are integrated out by leaving
# out their rows and columns; a row without an observed cell has density 1. Rows
# are taken together where the same cells are missing.
log_density <- function(x, mean, cov) {
  x <- unname(as.matrix(x))
  out <- numeric(nrow(x))
  for (rows in split(seq_len(nrow(x)), apply(is.na(x), 1, paste, collapse = ""))) {
    seen <- which(!is.na(x[rows[1], ]))
    if (!length(seen)) next
    d <- t(x[rows, seen, drop = FALSE]) - mean[seen]
    c_seen <- cov[seen, seen, drop = FALSE]
    logdet <- as.numeric(determinant(c_seen)$modulus)
    out[rows] <- -(length(seen) * log(2 * pi) + logdet + colSums(d * solve(c_seen, d))) / 2
  }
  out
}

# Mean and covariance of x under a fit, on the scale of the (transformed) data:
# scale (W W' + sigma2 I) scale.
marginal <- function(fit) {
  theta <- coef(fit)
  sd <- if (is.null(theta$scale)) rep(1, length(theta$mean)) else theta$scale
  w <- unname(theta$loadings)
  cov <- w %*% t(w) + theta$sigma2 * diag(nrow(w))
  list(mean = unname(theta$mean), cov = unname(cov * outer(sd, sd)))
}

fit_density <- function(fit, x) {
  theta <- marginal(fit)
  log_density(x, theta$mean, theta$cov)
}

# Mean and covariance of the missing cells of one row given its observed ones.
conditional <- function(row, mean, cov) {
  seen <- which(!is.na(row))
  gone <- which(is.na(row))
  if (!length(seen)) return(list(mean = mean, cov = cov))
  b <- cov[gone, seen, drop = FALSE] %*% solve(cov[seen, seen])
  list(mean = mean[gone] + drop(b %*% (row[seen] - mean[seen])),
       cov = cov[gone, gone] - b %*% cov[seen, gone])
}

# Mean and covariance of z given one row's observed cells, from the joint normal
# of (z, x_seen): cov(z, x) = W_seen', no use of M or Woodbury.
latent_conditional <- function(row, mean, w, sigma2) {
  k <- ncol(w)
  seen <- which(!is.na(row))
  if (!length(seen)) return(list(mean = rep(0, k), cov = diag(k)))
  w <- w[seen, , drop = FALSE]
  gain <- t(w) %*% solve(w %*% t(w) + sigma2 * diag(length(seen)))
  list(mean = drop(gain %*% (row[seen] - mean[seen])), cov = diag(k) - gain %*% w)
}

# Tipping and Bishop (1999), eq. 7 and 8, by eigen() on S = X'X/n: parameters,
# eigenvalues and the maximum of the log-likelihood, from its definition.
reference_ppca <- function(x, k, mean = colMeans(x), sigma2 = NULL) {
  x <- as.matrix(x)
  s <- crossprod(sweep(x, 2, mean)) / nrow(x)
  e <- eigen(s, symmetric = TRUE)
  p <- ncol(x)
  if (is.null(sigma2)) sigma2 <- mean(e$values[(k + 1):p])
  size <- sqrt(pmax(e$values[seq_len(k)] - sigma2, 0))
  w <- e$vectors[, seq_len(k), drop = FALSE] %*% diag(size, k)
  cov <- w %*% t(w) + sigma2 * diag(p)
  list(values = e$values, sigma2 = sigma2, w = w, cov = cov,
       loglik = -nrow(x) / 2 * (p * log(2 * pi) + sum(diag(solve(cov, s))) +
                                  as.numeric(determinant(cov)$modulus)))
}

# n draws from the model with loadings of about unit size.
model_data <- function(n, p, k, sigma2 = 0.25, seed = 1, mean = seq_len(p)) {
  set.seed(seed)
  w <- matrix(rnorm(p * k), p, k)
  x <- matrix(rnorm(n * k), n) %*% t(w) + sqrt(sigma2) * matrix(rnorm(n * p), n) +
    rep(mean, each = n)
  structure(x, w = w, theta = list(w = w, mean = mean, sigma2 = sigma2,
                                   cov = w %*% t(w) + sigma2 * diag(p)))
}

plain <- function(x) {
  attributes(x) <- list(dim = dim(x))
  x
}

# x with about that share of its cells missing, none of them in the first row, so
# that every column keeps one.
with_holes <- function(x, share = 0.2, seed = 1) {
  set.seed(seed)
  holes <- matrix(runif(length(x)) < share, nrow(x))
  holes[1, ] <- FALSE
  x[holes] <- NA
  x
}

# W W' is what the likelihood knows of the loadings.
expect_same_model <- function(object, expected, tolerance = 1e-8) {
  testthat::expect_equal(marginal(object), marginal(expected), tolerance = tolerance)
  testthat::expect_equal(object$loglik, expected$loglik, tolerance = tolerance)
}

# No column's sign is free, columns are orthogonal and in decreasing order.
expect_canonical <- function(w) {
  w <- unname(w)
  gram <- crossprod(w)
  testthat::expect_lt(max(abs(gram[upper.tri(gram)]), 0), 1e-8 * max(gram))
  testthat::expect_false(is.unsorted(rev(diag(gram))))
  largest <- apply(w, 2, function(column) column[which.max(abs(column))])
  testthat::expect_true(all(largest >= 0))
}

# Errors and warnings that a test counts as such, not by chance.
expect_no_warning_of <- function(expr) {
  testthat::expect_warning(value <- expr, NA)
  value
}

rscript <- function(lines, wait = TRUE, ...) {
  file <- tempfile(fileext = ".R")
  writeLines(c(sprintf(".libPaths(%s)", paste(deparse(.libPaths()), collapse = "")),
               lines), file)
  system2(file.path(R.home("bin"), "Rscript"), c("--vanilla", shQuote(file)),
          wait = wait, stdout = if (wait) TRUE else FALSE,
          stderr = if (wait) TRUE else FALSE, ...)
}

# Waits for a file that another process makes; whether it is there. Long, as the machine
# may be busy.
await <- function(path, seconds = 60) {
  deadline <- proc.time()[["elapsed"]] + seconds
  while (!file.exists(path) && proc.time()[["elapsed"]] < deadline) Sys.sleep(0.02)
  file.exists(path)
}

# What of a fit is a function of data, settings and seed.
untimed <- function(fit) {
  fit$seconds <- NULL
  fit
}
