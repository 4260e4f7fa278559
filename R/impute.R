# Filling in missing cells.

#' Fill in missing cells
#'
#' Replaces each missing cell by its mean given the observed cells of its row,
#' or draws all missing cells of a row jointly from their conditional
#' distribution (draws for multiple imputation, given the fitted parameters).
#' For [ppca()] and [linear_vae()] that distribution is known exactly; for a [vae()]
#' it is sampled.
#'
#' @details
#' For a [vae()] the missing cells of a row have the distribution
#' p(x_mis | x_obs) = E p(x_mis | z) over p(z | x_obs). `samples` positions z_s get the weights
#' p(x_obs | z_s) p(z_s) / q(z_s) (Mattei and Frellsen 2019). Here q is a mixture: half of the
#' samples come from q(z | x) with the mean of a feature in place of a missing cell, as in
#' training; a quarter from q(z | x) with what the decoder makes of them, after 5 rounds of
#' encoding and decoding; and a quarter from the prior, which keeps the weights bounded. The
#' mean is the self-normalised average of the decoder's means, whose bias is of the order of
#' 1 / `samples`; draws resample z by these weights and add the decoder's noise (sampling
#' importance resampling). The effective sample size of a row is (sum w)^2 / sum w^2.
#'
#' Where it is below 10, or below `draws` if that is more, the encoder is too far from the
#' posterior, and the row is sampled by Metropolis within Gibbs instead, from one of the
#' resampled positions on. A step has three parts. As in Mattei and Frellsen (2018), z' from
#' q(z | x), x with the missing cells as they are now, is accepted with the Metropolis-Hastings
#' probability for p(z | x). Then a random walk, whose length is tuned until 30 % are accepted,
#' does the same for p(z | x_obs): it moves where the encoder is of no use. Then x_mis is drawn
#' from p(x_mis | z). Of `samples` steps (20 for each draw, if that is more) the first half is
#' dropped; the mean is that of the decoder's means, and the draws are states at equal
#' distances. (Without the acceptance, as in pseudo-Gibbs sampling, the result would be the
#' encoder's, not the model's.) The effective sample size is then that of log p(x_obs, z) along
#' the chain, from its autocorrelations (Geyer 1992). A warning tells in how many rows it is
#' still low.
#'
#' @param object a fitted model.
#' @param newdata data with missing cells, as in [predict.ppca()]; by default
#'   the data that the model was fitted to.
#' @param draws 0 for the conditional mean; m for m random completions.
#' @param samples for a [vae()], the number of importance samples for each row, 20 or more.
#'   The time is that of decoding so many for each; have many times more than `draws`.
#' @param condition for a [vae()] with a condition, that of the rows of `newdata`.
#' @param ... unused.
#' @return `newdata` (its features, in the order of the fit) with the missing
#'   cells filled in and all others untouched: a matrix, or a data frame if
#'   `newdata` is one. With `draws` a list of that many, as `mitools::imputationList()` takes
#'   it. With a `transform` the mean is taken on the transformed scale and mapped back.
#'
#'   For a [vae()] the result has two attributes, vectors with a number for each row: `"ess"`,
#'   the effective sample size of the samples that were used (`NA` where no cell is missing),
#'   and `"acceptance"`, the share of proposals accepted where Metropolis within Gibbs took over
#'   (`NA` elsewhere).
#' @references Geyer, C. J. (1992). Practical Markov chain Monte Carlo. *Statistical Science*
#'   7, 473-483. \doi{10.1214/ss/1177011137}
#'
#'   Mattei, P.-A. and Frellsen, J. (2018). Leveraging the exact likelihood of deep
#'   latent variable models. *Advances in Neural Information Processing Systems* 31.
#'   \doi{10.48550/arXiv.1802.04826}
#'
#'   Mattei, P.-A. and Frellsen, J. (2019). MIWAE: deep generative modelling and imputation of
#'   incomplete data sets. *International Conference on Machine Learning*, PMLR 97.
#'   \doi{10.48550/arXiv.1812.02633}
#' @examples
#' x <- as.matrix(iris[1:4])
#' x[cbind(1:20, rep(1:4, 5))] <- NA
#' fit <- ppca(x, k = 2)
#' head(impute(fit, x))
#' set.seed(1)
#' several <- impute(fit, x, draws = 5)
#' sapply(several, function(one) one[1, 1])
#'
#' deep <- vae(x, k = 2, encoder = 8, activation = "tanh",
#'             control = train_control(epochs = 20, batch_size = 30, learning_rate = 0.01))
#' filled <- impute(deep, x, samples = 200)
#' head(filled)
#' summary(attr(filled, "ess"))
#' @export
impute <- function(object, newdata = NULL, draws = 0, ...) UseMethod("impute")

#' @rdname impute
#' @export
impute.ppca <- function(object, newdata = NULL, draws = 0, ...) {
  check_dots_empty(...)
  draws <- check_count(draws, "draws", 0)
  given <- data_of(object, newdata)
  data <- conform(object, given)
  post <- posterior_pass(object, data$x, cov = draws > 0)
  complete <- function(z, noise) {
    out <- fill_cells(object, data$raw, z, noise)
    if (is.data.frame(given)) as.data.frame(out) else out
  }
  if (draws == 0) return(complete(post$mean, 0))
  roots <- covariance_roots(unpack_covariances(post$cov, object$k, NULL))
  rows <- split(seq_along(post$pattern), post$pattern)
  lapply(seq_len(draws), function(draw) {
    complete(draw_latent(post$mean, roots, rows), sqrt(object$sigma2))
  })
}

# The missing cells of x at mu + W z plus noise of that standard deviation.
fill_cells <- function(object, x, z, noise) {
  if (is_sparse(x)) return(fill_sparse(object, x, z, noise))
  w <- data_loadings(object)
  sd <- if (is.null(object$scale)) rep(1, object$p) else object$scale
  for (j in seq_len(ncol(x))) {
    rows <- which(is.na(x[, j]))
    if (!length(rows)) next
    y <- object$mean[[j]] + z[rows, , drop = FALSE] %*% w[j, ]
    if (noise > 0) y <- y + noise * sd[[j]] * stats::rnorm(length(rows))
    x[rows, j] <- transform_inverse(object$transform, y)
  }
  x
}

fill_sparse <- function(object, x, z, noise) {
  cells <- which(is.na(x@x))
  row <- x@i[cells] + 1L
  column <- rep(seq_len(ncol(x)), diff(x@p))[cells]
  w <- data_loadings(object)
  sd <- if (is.null(object$scale)) rep(1, object$p) else object$scale
  y <- object$mean[column] +
    rowSums(z[row, , drop = FALSE] * w[column, , drop = FALSE])
  if (noise > 0) y <- y + noise * sd[column] * stats::rnorm(length(cells))
  x@x[cells] <- unname(y)
  x
}

# ---- deep VAEs -----------------------------------------------------------

#' @rdname impute
#' @export
impute.vae <- function(object, newdata = NULL, draws = 0, samples = 1000, condition = NULL,
                       ...) {
  check_dots_empty(...)
  draws <- check_count(draws, "draws", 0)
  samples <- check_count(samples, "samples", 20)
  rows <- vae_rows(object, newdata, condition, whole = TRUE)
  cells <- missing_cells(rows$raw)
  found <- impute_cells(object, rows$floats, cells, draws, samples)
  column <- cells$column
  complete <- function(values) {
    y <- values / object$unit[column] + object$shift[column]
    y <- drop(transform_inverse(object$transform, matrix(y, ncol = 1)))
    out <- rows$raw
    if (is_sparse(out)) out@x[cells$place] <- y else out[cells$place] <- y
    if (rows$frame) as.data.frame(out) else out
  }
  out <- if (draws == 0) complete(found$values[, 1]) else
    lapply(seq_len(draws), function(draw) complete(found$values[, draw]))
  for (name in c("ess", "acceptance")) {
    attr(out, name) <- structure(found[[name]], names = rownames(rows$raw))
  }
  out
}

# The missing cells of x, row by row: where they are in x, or in x@x.
missing_cells <- function(x) {
  if (is_sparse(x)) {
    place <- which(is.na(x@x))
    row <- x@i[place] + 1L
    column <- rep(seq_len(ncol(x)), diff(x@p))[place]
  } else {
    place <- which(is.na(x))
    row <- (place - 1) %% nrow(x) + 1
    column <- (place - 1) %/% nrow(x) + 1
  }
  by_row <- order(row, column)
  list(place = place[by_row], row = row[by_row], column = column[by_row])
}

# An effective sample size below this is low, as is one below the number of draws.
LOW_ESS <- 10

# Cells that the decoder gives at a time.
BLOCK_CELLS <- 2^21

# Values of the missing cells in core units (cells x max(1, draws)), and for each row `ess`
# and `acceptance`.
impute_cells <- function(object, floats, cells, draws, samples) {
  rows <- unique(cells$row)
  ends <- c(0, which(c(diff(cells$row) > 0, length(rows) > 0)))
  values <- matrix(0, length(cells$row), max(1, draws))
  ess <- acceptance <- rep(NA_real_, floats$n)
  start <- scale <- matrix(0, object$k, length(rows))
  for (block in index_blocks(length(rows), max(object$p, object$k) * samples)) {
    part <- importance_samples(object, some_floats(floats, rows[block]), samples, draws)
    values[(ends[block[1]] + 1):ends[block[length(block)] + 1], ] <- part$values
    ess[rows[block]] <- part$ess
    start[, block] <- part$start
    scale[, block] <- part$scale
  }
  enough <- max(LOW_ESS, draws)
  low <- which(ess[rows] < enough)
  steps <- max(samples, 20L * draws)
  for (block in index_blocks(length(low), max(object$p, object$k, steps))) {
    block <- low[block]
    part <- metropolis_within_gibbs(object, some_floats(floats, rows[block]),
                                    start[, block, drop = FALSE],
                                    scale[, block, drop = FALSE], steps, draws)
    values[cells$row %in% rows[block], ] <- part$values
    ess[rows[block]] <- part$ess
    acceptance[rows[block]] <- part$acceptance
  }
  tell_imputation(sum(ess[rows] < enough), length(rows), enough)
  list(values = values, ess = ess, acceptance = acceptance)
}

tell_imputation <- function(bad, rows, enough) {
  if (!bad) return()
  warning(sprintf(paste("In %d of %d rows with missing cells the effective sample size is below",
                        "%d (attribute \"ess\"): what is filled in there is uncertain. Increase",
                        "`samples`."), bad, rows, enough), call. = FALSE)
}

# 1 to n as ranges, each with about BLOCK_CELLS cells where one has `each`.
index_blocks <- function(n, each) {
  size <- max(1, BLOCK_CELLS %/% each)
  lapply(seq_len(ceiling(n / size)), function(b) ((b - 1) * size + 1):min(b * size, n))
}

# Those of the rows of `floats`, see vae_floats().
some_floats <- function(floats, rows) {
  some_bytes <- function(bytes) {
    each <- length(bytes) / floats$n
    bytes[rep((rows - 1) * each, each = each) + seq_len(each)]
  }
  list(n = length(rows), x = some_bytes(floats$x), fill = floats$fill,
       condition = some_bytes(floats$condition))
}

# p x n in core units, NaN where a cell is missing.
float_cells <- function(object, floats) matrix(from_floats(floats$x), object$p)

# q(z | x) of the rows of `floats`: mean and variance, k x n.
encode_floats <- function(object, floats) {
  core_vae_encode(object$shape, floats, object$theta, method_settings(object))
}

# p(x | z) in core units for z (k x m): mean (p x m), and the noise variance, p x m where it
# depends on z and otherwise one for each of the p features. `condition`: floats, c x m.
decode_floats <- function(object, z, condition) {
  decode <- function(z, variance) {
    core_vae_decode(object$shape, z, condition, object$theta, variance,
                    method_settings(object))
  }
  if (object$noise == "network") return(decode(z, TRUE))
  to <- decode(z, FALSE)
  each <- length(condition) / max(1, ncol(z))
  condition <- condition[seq_len(each)]
  to$variance <- drop(decode(z[, 1, drop = FALSE], TRUE)$variance)
  to
}

# log p(x_obs | z), but for -1/2 log(2 pi) a cell: of each column of x (p x n) in turn, for
# n s columns of `to`.
core_density <- function(x, to) {
  error <- (as.vector(x) - to$mean)^2
  -0.5 * colSums(error / to$variance + log(to$variance), na.rm = TRUE)
}

# A draw of the cells `at` (places in p x n) of x.
draw_cells <- function(to, at) {
  variance <- if (is.matrix(to$variance)) to$variance[at] else
    to$variance[(at - 1) %% nrow(to$mean) + 1]
  to$mean[at] + sqrt(variance) * stats::rnorm(length(at))
}

# Self-normalised importance sampling and resampling. Returns the values of the missing
# cells (row by row; their means, or a column for each of `draws`), the effective sample
# size of each row, and to go on by Metropolis within Gibbs (k x n): `start`, a z resampled
# for each row, and `scale`, standard deviations.
importance_samples <- function(object, floats, samples, draws) {
  x <- float_cells(object, floats)
  n <- ncol(x)
  gone <- which(is.na(x))
  row <- (gone - 1) %/% nrow(x) + 1
  q <- proposals(object, floats, x, gone)
  source <- rep(1:3, c(samples - 2 * (samples %/% 4), rep(samples %/% 4, 2)))
  parts <- lapply(index_blocks(samples, length(x)), function(s) {
    weighted_samples(object, x, q, floats$condition, source[s], tabulate(source) / samples,
                     gone, row)
  })
  log_weight <- do.call(cbind, lapply(parts, `[[`, "log_weight"))
  total <- log_sum_exp(log_weight)
  weight <- exp(log_weight - total)
  z <- do.call(cbind, lapply(parts, `[[`, "z"))
  picked <- vapply(seq_len(n), function(i) {
    i + n * (sample.int(samples, max(1L, draws), TRUE, weight[i, ]) - 1)
  }, numeric(max(1, draws)))
  picked <- matrix(picked, ncol = n)
  values <- if (draws == 0) {
    share <- function(part) exp(part$total - total)[row]
    Reduce(`+`, lapply(parts, function(part) share(part) * part$mean))
  } else vapply(seq_len(draws), function(draw) {
    draw_cells(decode_floats(object, z[, picked[draw, ], drop = FALSE], floats$condition), gone)
  }, numeric(length(gone)))
  list(values = values, ess = 1 / rowSums(weight^2), start = z[, picked[1, ]],
       scale = sqrt(pmax(q$variance[, 1], q$variance[, 2])))
}

# What importance samples come from, as columns of `mean` and `variance` (k n x 3): q(z | x)
# with the means of features in the cells `gone` of x, or with what the decoder makes of
# them; and the prior. The prior three times where no cell is observed.
proposals <- function(object, floats, x, gone, rounds = 5) {
  unseen <- colSums(!is.na(x)) == 0
  q <- first <- encode_floats(object, floats)
  filled <- floats
  filled["fill"] <- list(NULL)
  for (round in seq_len(rounds)) {
    x[gone] <- decode_floats(object, q$mean, floats$condition)$mean[gone]
    filled$x <- as_floats(x)
    q <- encode_floats(object, filled)
  }
  or_prior <- function(part, prior) {
    part[, unseen] <- prior
    as.vector(part)
  }
  list(mean = cbind(or_prior(first$mean, 0), or_prior(q$mean, 0), 0),
       variance = cbind(or_prior(first$variance, 1), or_prior(q$variance, 1), 1))
}

# Samples for each row of x, those of the columns of q that `source` says, of which there are
# shares `mixture` in all: z (k x n count, rows first), their log weights (n x count), the log
# of their sum, and the weighted means of the cells `gone`.
weighted_samples <- function(object, x, q, condition, source, mixture, gone, row) {
  n <- ncol(x)
  z <- q$mean[, source] + sqrt(q$variance[, source]) *
    stats::rnorm(nrow(q$mean) * length(source))
  dim(z) <- c(object$k, n * length(source))
  to <- decode_floats(object, z, rep(condition, length(source)))
  log_q <- vapply(1:3, function(i) log(mixture[i]) + log_normal(z, q$mean[, i], q$variance[, i]),
                  numeric(ncol(z)))
  log_weight <- core_density(x, to) - 0.5 * colSums(z^2) - log_sum_exp(log_q)
  log_weight[!is.finite(log_weight)] <- -1e300        # where a float was exceeded
  log_weight <- matrix(log_weight, n)
  total <- log_sum_exp(log_weight)
  weight <- exp(log_weight - total)
  mean <- matrix(to$mean, length(x))[gone, , drop = FALSE]
  list(z = z, log_weight = log_weight, total = total,
       mean = rowSums(mean * weight[row, , drop = FALSE]))
}

# log N(z; mean, variance) but for -k/2 log(2 pi), of the columns of z (k x n s), with means
# and variances of n (k n numbers).
log_normal <- function(z, mean, variance) {
  -0.5 * (colSums((z - as.vector(mean))^2 / as.vector(variance)) +
            colSums(matrix(log(variance), nrow(z))))
}

# Chains for all rows at once, from z (k x n) on; `scale` (k x n): of the random walk. Returns
# values as importance_samples() does, the effective sample size of each row and the share of
# proposals that were accepted.
metropolis_within_gibbs <- function(object, floats, z, scale, steps, draws) {
  x <- seen <- float_cells(object, floats)
  n <- ncol(x)
  gone <- which(is.na(x))
  floats["fill"] <- list(NULL)
  to <- decode_floats(object, z, floats$condition)
  x[gone] <- draw_cells(to, gone)
  burn <- steps %/% 2
  kept <- burn + floor(seq_len(draws) * (steps - burn) / max(1, draws))
  values <- matrix(0, length(gone), max(1, draws))
  trace <- matrix(0, n, steps - burn)
  accepted <- numeric(n)
  size <- rep(2.4 / sqrt(nrow(z)), n)                 # Gelman, Roberts and Gilks 1996
  propose <- function(mean, sd, log_density) {
    new <- mean + sd * stats::rnorm(length(z))
    there <- decode_floats(object, new, floats$condition)
    move <- log(stats::runif(n)) < log_density(new, there) - log_density(z, to)
    move <- which(move)                               # not where a density is NaN
    z[, move] <<- new[, move]
    to$mean[, move] <<- there$mean[, move]
    if (is.matrix(to$variance)) to$variance[, move] <<- there$variance[, move]
    accepted[move] <<- accepted[move] + 1
    replace(numeric(n), move, 1)
  }
  joint <- function(x) function(z, to) core_density(x, to) - 0.5 * colSums(z^2)
  for (step in seq_len(steps)) {
    floats$x <- as_floats(x)
    q <- encode_floats(object, floats)
    propose(q$mean, sqrt(q$variance), function(z, to) {
      joint(x)(z, to) - log_normal(z, q$mean, q$variance)
    })
    moved <- propose(z, rep(size, each = nrow(z)) * scale, joint(seen))
    if (step <= burn) size <- size * exp(2 * (moved - 0.3) / sqrt(step))
    x[gone] <- draw_cells(to, gone)
    if (step > burn) {
      trace[, step - burn] <- joint(seen)(z, to)
      if (draws == 0) values <- values + to$mean[gone] / (steps - burn)
    }
    if (step %in% kept) values[, match(step, kept)] <- x[gone]
  }
  list(values = values, ess = chain_ess(trace), acceptance = accepted / (2 * steps))
}

# Effective sample size of each row of `trace`: its length over the sum of autocorrelations,
# up to the first pair of lags whose sum is not positive (Geyer 1992, section 3.3).
chain_ess <- function(trace) {
  length <- ncol(trace)
  deviations <- t(trace - rowMeans(trace))
  padded <- rbind(deviations, matrix(0, stats::nextn(2 * length) - length, nrow(trace)))
  covariance <- Re(stats::mvfft(Mod(stats::mvfft(padded))^2, inverse = TRUE))
  first <- seq(1, length - 1, by = 2)
  pairs <- covariance[first, , drop = FALSE] + covariance[first + 1, , drop = FALSE]
  for (i in seq_along(first)[-1]) pairs[i, pairs[i - 1, ] <= 0] <- 0
  ess <- length * covariance[1, ] / (2 * colSums(pmax(pairs, 0)) - covariance[1, ])
  ess[!is.finite(ess)] <- 1                           # it never moved
  pmax(1, pmin(ess, length))
}
