# References for deep VAEs, written in plain R from the definitions in ?vae and ?coef.vae
# and from coef() alone: no C code, no floats, no units.

# Definitions: He et al. 2015, Clevert et al. 2016, Hendrycks and Gimpel 2016, ?dense.
activation_functions <- list(
  identity = function(a) a,
  relu = function(a) (a > 0) * a,
  leaky_relu = function(a) ifelse(a > 0, a, 0.01 * a),
  elu = function(a) ifelse(a > 0, a, exp(pmin(a, 0)) - 1),
  tanh = function(a) (exp(2 * a) - 1) / (exp(2 * a) + 1),
  sigmoid = function(a) 1 / (1 + exp(-a)),
  softplus = function(a) log(1 + exp(a)),
  gelu = function(a) a * pnorm(a),
  silu = function(a) a / (1 + exp(-a))
)

affine <- function(h, layer) {
  unname(h %*% t(layer$weights) + rep(layer$bias, each = nrow(h)))
}

# A head, and the map beside it from the input of its chain, where there is one.
head_of <- function(h, input, layer) {
  out <- affine(h, layer)
  if (is.null(layer$linear)) out else out + unname(input %*% t(layer$linear))
}

run_layers <- function(h, layers) {
  for (layer in layers) h <- activation_functions[[layer$activation]](affine(h, layer))
  h
}

# A condition as numbers: a column of zeros and ones for each level, in their order.
reference_condition <- function(condition, levels = NULL) {
  if (is.null(condition)) return(NULL)
  if (is.character(condition)) condition <- factor(condition)
  if (!is.factor(condition)) return(unname(as.matrix(condition)))
  levels <- if (is.null(levels)) levels(condition) else levels
  outer(as.character(condition), levels, "==") * 1
}

# Means and variances (n x k) of q(z | x), from the weights w = coef(fit). Missing cells
# get `means`.
reference_encode <- function(w, x, condition = NULL, means = NULL) {
  x <- unname(as.matrix(x))
  if (anyNA(x)) x[is.na(x)] <- means[col(x)[is.na(x)]]
  input <- cbind(x, reference_condition(condition))
  h <- run_layers(input, w$encoder)
  log_variance <- if (is.list(w$log_variance)) affine(h, w$log_variance) else
    matrix(w$log_variance, nrow(x), length(w$log_variance), byrow = TRUE)
  list(mean = head_of(h, input, w$mean), variance = exp(log_variance))
}

# Means and variances (n x p) of p(x | z). `floor`: the least variance that a decoder
# gives, a number or one a feature.
reference_decode <- function(w, z, condition = NULL, floor = 0) {
  input <- cbind(unname(z), reference_condition(condition))
  h <- run_layers(input, w$decoder)
  mean <- head_of(h, input, w$output)
  n <- nrow(mean)
  p <- ncol(mean)
  if (is.list(w$log_sigma2)) {
    variance <- pmax(exp(affine(h, w$log_sigma2)), rep(rep_len(floor, p), each = n))
  } else {
    variance <- matrix(rep_len(w$sigma2, p), n, p, byrow = TRUE)
  }
  list(mean = mean, variance = variance)
}

# log N(x; g(z), sigma2(z)) of each row, over its observed cells.
reference_density <- function(w, x, z, condition = NULL, floor = 0) {
  to <- reference_decode(w, z, condition, floor)
  unname(rowSums(dnorm(unname(as.matrix(x)), to$mean, sqrt(to$variance), log = TRUE),
                 na.rm = TRUE))
}

# KL(N(m, d) || N(0, 1)) of each row and dimension, by definition E_q log q - log p.
reference_kl <- function(q) (q$variance + q$mean^2 - 1 - log(q$variance)) / 2

# Nodes and weights for expectations under N(0, 1): Golub and Welsch 1969, the
# eigenvalues of the Jacobi matrix of the Hermite polynomials.
gauss_hermite <- function(count) {
  jacobi <- matrix(0, count, count)
  i <- seq_len(count - 1)
  jacobi[cbind(i, i + 1)] <- jacobi[cbind(i + 1, i)] <- sqrt(i)
  e <- eigen(jacobi, symmetric = TRUE)
  list(nodes = e$values, weights = e$vectors[1, ]^2)
}

# All combinations of the nodes for k dimensions: points (m x k), weights (m).
quadrature <- function(k, count = 40) {
  rule <- gauss_hermite(count)
  list(points = unname(as.matrix(expand.grid(rep(list(rule$nodes), k)))),
       weights = apply(expand.grid(rep(list(rule$weights), k)), 1, prod))
}

# Of each row: E log p(x | z) over q, its variance over z (what one sample's estimate
# has), and the KL; and of log w = log p(x, z) - log q(z | x) the variance.
reference_terms <- function(w, x, condition = NULL, means = NULL, floor = 0, count = 40) {
  q <- reference_encode(w, x, condition, means)
  rule <- quadrature(ncol(q$mean), count)
  code <- reference_condition(condition)
  terms <- vapply(seq_len(nrow(q$mean)), function(i) {
    m <- nrow(rule$points)
    z <- rule$points * rep(sqrt(q$variance[i, ]), each = m) + rep(q$mean[i, ], each = m)
    row <- unname(as.matrix(x))[rep(i, m), , drop = FALSE]
    given <- if (!is.null(code)) code[rep(i, m), , drop = FALSE]
    density <- reference_density(w, row, z, given, floor)
    log_weight <- density + rowSums(dnorm(z, log = TRUE)) -
      rowSums(dnorm(rule$points, log = TRUE)) + sum(log(q$variance[i, ])) / 2
    moments <- function(v) {
      mean <- sum(rule$weights * v)
      c(mean, sum(rule$weights * (v - mean)^2))
    }
    c(moments(density), moments(log_weight))
  }, numeric(4))
  list(reconstruction = terms[1, ], variance = terms[2, ], elbo = terms[3, ],
       weight_variance = terms[4, ], kl = rowSums(reference_kl(q)))
}

# E log N(x; W z + b, sigma2) over z ~ N(m, D) of each row in closed form: for a linear
# decoder; `sigma2` one number or one for each feature, x complete.
linear_reconstruction <- function(x, q, w) {
  x <- unname(as.matrix(x))
  sigma2 <- rep_len(w$sigma2, ncol(x))
  loadings <- unname(w$output$weights)
  error <- (x - affine(q$mean, w$output))^2 + q$variance %*% t(loadings^2)
  rowSums(-0.5 * (error / rep(sigma2, each = nrow(x)) +
                    rep(log(2 * pi * sigma2), each = nrow(x))))
}

# Estimates from `samples` samples of each row are their expectation within the error
# that samples have: each within 5.5 standard errors (rows are few hundreds at most), and
# all together neither biased nor too exact.
expect_sampled <- function(found, expected, variance, samples) {
  z <- (found - expected) / sqrt(variance / samples)
  testthat::expect_lt(max(abs(z)), 5.5)
  testthat::expect_lt(abs(mean(z)) * sqrt(length(z)), 4)
  testthat::expect_gt(mean(z^2), 0.3)
  testthat::expect_lt(mean(z^2), 3)
}

# fits ---------------------------------------------------------------------------

# A fit in a moment whose weights have all moved from where they started.
quick_vae <- function(x, k, ..., beta = 1, epochs = 4, batch_size = 10,
                      learning_rate = 0.02, seed = 1, control = list()) {
  set.seed(seed)
  settings <- list(epochs = epochs, batch_size = batch_size, learning_rate = learning_rate,
                   progress = FALSE)
  settings[names(control)] <- control
  vae(x, k, ..., beta = beta, control = do.call(train_control, settings))
}

# What of a fit is a function of data, settings and seed.
essence <- function(fit) {
  fit <- unclass(fit)
  fit$history$seconds <- fit$search$history$seconds <- NULL
  fit$stopped <- NULL                    # by what, not where
  fit$call <- fit$control <- fit$given <- fit$terms <- fit$arguments$given <- NULL
  fit
}

expect_same_fit <- function(object, expected) {
  object <- essence(object)
  expected <- essence(expected)
  same <- vapply(union(names(object), names(expected)), function(part) {
    identical(object[[part]], expected[[part]])
  }, NA)
  testthat::expect(all(same), paste("the fits differ in", paste(names(same)[!same],
                                                                collapse = ", ")))
}

# Single-precision numbers in a raw vector, as R itself writes and reads them.
raw_floats <- function(values) writeBin(as.double(values), raw(), size = 4)
from_floats <- function(bytes) readBin(bytes, "numeric", length(bytes) / 4, size = 4)

# `fit`, of which sigma2 is one number, with other weights: matrices and vectors for its
# tensors, in their order, the last the log of sigma2; weights are outputs x inputs.
with_weights <- function(fit, ...) {
  tensors <- list(...)
  fit$theta <- raw_floats(unlist(lapply(tensors, as.vector)))
  stopifnot(length(fit$theta) == length(fit$state$theta))
  fit$sigma2 <- exp(tensors[[length(tensors)]])
  fit
}

# Warnings of `code`, and its value.
warned <- function(code) {
  said <- character()
  value <- withCallingHandlers(code, warning = function(w) {
    said <<- c(said, conditionMessage(w))
    invokeRestart("muffleWarning")
  })
  list(value = value, said = said)
}

# The interrupt that Ctrl-C makes, from a callback in that epoch.
interrupting <- function(at) {
  function(epoch, metrics, fit) {
    if (epoch == at) {
      stop(structure(class = c("interrupt", "condition"), list(message = "", call = NULL)))
    }
  }
}

# A line of R for another process, so that it computes as this one does.
kernel_options <- function() {
  sprintf("options(elbo.kernel = %s, elbo.blas = %s)", deparse(getOption("elbo.kernel")),
          deparse(getOption("elbo.blas")))
}
