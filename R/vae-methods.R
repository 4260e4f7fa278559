# Methods of deep VAEs.

# ---- data that a method asks for ----------------------------------------

# The rows that a method is about, with their condition, as the C code takes them: those
# given, or else those that the model was trained on, or with `whole` also those that were
# set aside, in the order of the data.
vae_rows <- function(object, newdata, condition = NULL, env = parent.frame(2),
                     arg = "newdata", whole = FALSE) {
  found <- is.null(newdata)
  asked <- condition
  if (found) {
    given <- training_rows(object, condition, env, arg, whole)
    newdata <- given$x
    condition <- given$condition
  }
  data <- conform(object, newdata, arg)
  if (nrow(data$x) < 1) abort_arg(arg, "have at least 1 row", 0)
  code <- condition_code(object, condition, nrow(data$x))
  floats <- vae_floats(data$x, code, NULL, object$shift, object$unit,
                       unname(object$mean), arg)
  if (found) {
    part <- function(rows) {
      vae_floats(data$x, code, rows, object$shift, object$unit, unname(object$mean), arg)
    }
    held <- if (whole) object$held_out
    trained <- if (length(held)) part(seq_len(nrow(data$x))[-held]) else floats
    check_found(object, object$fingerprint, trained, is.null(asked), arg)
    if (length(held)) {
      check_found(object, object$fingerprint$validation, part(held), is.null(asked), arg)
    }
  }
  c(data, list(floats = floats, frame = is.data.frame(newdata)))
}

# Data and condition that were found by their names are those of the fit, whose `marks` are
# given. (A transform adds new noise to them.)
check_found <- function(object, marks, floats, condition, arg) {
  changed <- function(what, floats) !identical(fingerprint(floats), marks[[what]])
  if (is.null(object$x) && is.null(object$transform) && changed("x", floats$x)) {
    abort_changed(object, arg)
  }
  if (is.null(object$kept_condition) && condition && changed("condition", floats$condition)) {
    abort_arg("condition", "be given: the one found by its name is not that of the fit")
  }
}

# Without the rows that were held out. The condition is found as the data are.
training_rows <- function(object, condition, env, arg = "newdata", whole = FALSE) {
  held <- object$held_out
  given <- object
  given$n <- object$n + length(held)
  x <- data_of(given, NULL, arg, env)
  if (is.null(condition)) condition <- condition_of(object, env)
  if (!length(held) || whole) return(list(x = x, condition = condition))
  # a condition may be given for all rows, or for just those that the model was trained on
  if (!is.null(condition) && NROW(condition) != object$n) {
    if (NROW(condition) != given$n) {
      abort_arg("condition", sprintf("have a value for each of the %d rows, or of the %d in all",
                                     object$n, given$n), NROW(condition))
    }
    condition <- some(condition, -held)
  }
  list(x = x[-held, , drop = FALSE], condition = condition)
}

condition_of <- function(object, env) {
  if (is.null(object$condition)) return(NULL)
  if (!is.null(object$kept_condition)) return(object$kept_condition)
  tryCatch(eval(object$call$condition, env), error = function(e) NULL)
}

method_settings <- function(object, samples = 1L, key = c(0L, 0L)) {
  noise <- noise_scale(object$sigma2_min / object$u^2, object$u)
  settings <- vae_settings(object$arguments, object$control, noise, key, samples = samples,
                           batch = evaluation_batch(samples))
  settings$beta <- object$beta
  settings
}

encode_rows <- function(object, rows) {
  out <- core_vae_encode(object$shape, rows$floats, object$theta, method_settings(object))
  names <- list(rownames(rows$raw), latent_names(object))
  list(mean = structure(t(out$mean), dimnames = names),
       variance = structure(t(out$variance), dimnames = names))
}

# Means (n x p, on the scale of the transformed data) of p(x | z) and, if wanted, noise
# variances, for z n x k.
decode_latent <- function(object, z, code, variance = FALSE) {
  out <- core_vae_decode(object$shape, t(z), as_floats(t(code)), object$theta, variance,
                         method_settings(object))
  mean <- t(out$mean) / rep(object$unit, each = nrow(z)) + rep(object$shift, each = nrow(z))
  list(mean = mean,
       variance = if (variance) t(out$variance) / rep(object$unit^2, each = nrow(z)))
}

condition_code <- function(object, condition, n) {
  if (is.null(object$condition) && !is.null(condition)) {
    abort_arg("condition", "be left out: the model has none")
  }
  encode_condition(condition, n, object$condition)$code
}

# ---- predictions ---------------------------------------------------------

#' Latent positions and reconstructions from a deep VAE
#'
#' @param object a fitted [vae()] model.
#' @param newdata a matrix, data frame or sparse matrix with the features of the fit; may
#'   hold `NA`. By default all rows that the model was given, those set aside for
#'   validation included; they must be in the fit (`keep_data = TRUE`) or still be found
#'   under the name used in the call.
#' @param type `"latent"` for the means of q(z | x), n x k; `"reconstruction"` for the
#'   decoder's mean at these, n x p, on the scale of the data.
#' @param condition for a model with a condition, that of the rows of `newdata`; without
#'   `newdata` found as the data are.
#' @param ... unused.
#' @return A matrix with one row per row of `newdata`. `residuals()`: data less
#'   reconstruction, `NA` where a cell is missing.
#' @examples
#' x <- mnist1000$x[1:200, ] / 255
#' fit <- vae(x, k = 3, encoder = 32, control = train_control(epochs = 5, batch_size = 50))
#' head(predict(fit, x))
#' dim(predict(fit, x, type = "reconstruction"))
#' @export
predict.vae <- function(object, newdata = NULL, type = c("latent", "reconstruction"),
                        condition = NULL, ...) {
  check_dots_empty(...)
  type <- check_choice(type, "type", c("latent", "reconstruction"))
  rows <- vae_rows(object, newdata, condition, whole = TRUE)
  if (type == "latent") encode_rows(object, rows)$mean else reconstruct_rows(object, rows)
}

reconstruct_rows <- function(object, rows) {
  z <- encode_rows(object, rows)$mean
  code <- matrix(from_floats(rows$floats$condition), nrow(z), byrow = TRUE)
  to_user(object, decode_latent(object, z, code)$mean, rownames(z))
}

#' @rdname predict.vae
#' @export
fitted.vae <- function(object, ...) {
  check_dots_empty(...)
  reconstruct_rows(object, vae_rows(object, NULL, whole = TRUE))
}

#' @rdname predict.vae
#' @export
residuals.vae <- function(object, newdata = NULL, condition = NULL, ...) {
  check_dots_empty(...)
  rows <- vae_rows(object, newdata, condition, whole = TRUE)
  as.matrix(rows$raw) - reconstruct_rows(object, rows)
}

#' @export
nobs.vae <- function(object, ...) object$n

#' @rdname posterior
#' @param condition for a [vae()] with a condition, that of the rows of `newdata`.
#' @export
posterior.vae <- function(object, newdata = NULL, condition = NULL, draws = 0, ...) {
  check_dots_empty(...)
  draws <- check_count(draws, "draws", 0)
  post <- structure(encode_rows(object, vae_rows(object, newdata, condition, whole = TRUE)),
                    class = "latent_posterior")
  with_draws(post, draws)
}

# ---- the ELBO ------------------------------------------------------------

# Terms of each row on the scale of the (transformed) data. The noise is drawn from R's
# generator.
observe_vae <- function(object, rows, samples = 1L) {
  out <- NULL
  for (size in sample_blocks(samples)) {
    key <- sample.int(.Machine$integer.max, 2L)
    block <- core_vae_evaluate(object$shape, rows$floats, object$theta,
                               method_settings(object, size, key))
    out <- pool_samples(out, block, size / samples)
  }
  units <- row_units(rows$x, object$unit)
  out$reconstruction <- out$reconstruction + units
  out$weighted <- out$weighted + units
  out
}

# The core has the samples of a row in memory at once: it gets up to `most` of them.
sample_blocks <- function(samples, most = 1024L) {
  c(rep(most, samples %/% most), if (samples %% most > 0) samples %% most)
}

# Means over samples, of which `block` is a `share`, or the log of a mean.
pool_samples <- function(out, block, share) {
  for (name in c("reconstruction", "error")) {
    block[[name]] <- share * block[[name]] + if (is.null(out)) 0 else out[[name]]
  }
  block$weighted <- block$weighted + log(share)
  if (!is.null(out)) {
    top <- pmax(block$weighted, out$weighted)
    top[!is.finite(top)] <- 0
    block$weighted <- top + log(exp(block$weighted - top) + exp(out$weighted - top))
  }
  block
}

#' Log-likelihood of a deep VAE
#'
#' Estimated by importance sampling from q(z | x): for each row the log of the mean of
#' p(x, z_s) / q(z_s | x) over the samples (Burda et al. 2016), summed over rows. In nats, on
#' the scale of the data that were passed; missing cells are integrated out.
#'
#' @details
#' The mean is without bias, but its log is low on average, by about half its squared
#' standard error: -`se`^2 / 2 is what the sum lacks, as far as the standard error is to be
#' trusted. Neither is where q(z | x) misses a part of the posterior: then both are too small,
#' and more samples give more. For a bound for sure take [elbo()]. Time grows with
#' rows x `samples`; on large data a few hundred samples do for a comparison.
#'
#' @param object a fitted [vae()] model.
#' @param newdata data with the features of the fit, in rows; by default the rows that the
#'   model was trained on, found as for [predict()][predict.vae].
#' @param samples samples of z for each row, 2 or more, drawn from R's generator.
#' @param by `"total"` for the sum over observations, `"observation"` for a vector with the
#'   log density of each row.
#' @param condition for a model with a condition, that of the rows of `newdata`.
#' @param ... unused.
#' @return An object of class `logLik` with attributes `df` (parameters, as trained), `nobs`
#'   (rows) and `se`, the standard error that sampling gives it (by the delta method, from
#'   means of up to 20 batches of samples); or a vector with its `se`, one for each row.
#' @references Burda, Y., Grosse, R. and Salakhutdinov, R. (2016). Importance weighted
#'   autoencoders. *International Conference on Learning Representations*.
#'   \doi{10.48550/arXiv.1509.00519}
#' @seealso [elbo()]; [logLik()][logLik.ppca] of linear models, which is exact.
#' @examples
#' fit <- vae(iris[1:4], k = 2, encoder = 8, activation = "tanh",
#'            control = train_control(epochs = 20, batch_size = 30, learning_rate = 0.01))
#' set.seed(1)
#' found <- logLik(fit, iris, samples = 100)
#' found
#' attr(found, "se")
#' @export
logLik.vae <- function(object, newdata = NULL, samples = 1000, by = c("total", "observation"),
                       condition = NULL, ...) {
  check_dots_empty(...)
  samples <- check_count(samples, "samples", 2)
  by <- check_choice(by, "by", c("total", "observation"))
  rows <- vae_rows(object, newdata, condition)
  found <- sampled_density(object, rows, samples)
  each <- found$value + transform_log_jacobian(object$transform, rows$x)
  if (by == "observation") {
    return(structure(each, names = rownames(rows$raw), se = found$se))
  }
  structure(as_loglik(sum(each), object, length(each)), se = sqrt(sum(found$se^2)))
}

# log p(x) of each row, the log of a mean over samples, and its standard error: with w_b the
# means of batches of n_b samples, var(mean w) = sum_b n_b (w_b - mean w)^2 / (n (B - 1)).
sampled_density <- function(object, rows, samples, batches = 20L) {
  sizes <- diff(floor(seq(0, samples, length.out = min(batches, samples) + 1)))
  log_mean <- vapply(sizes, function(size) observe_vae(object, rows, size)$weighted,
                     numeric(rows$floats$n))
  log_mean <- matrix(log_mean, ncol = length(sizes))
  share <- rep(sizes / samples, each = nrow(log_mean))
  value <- log_sum_exp(log_mean + log(share))
  excess <- exp(log_mean - value) - 1
  list(value = value, se = sqrt(rowSums(share * excess^2) / (length(sizes) - 1)))
}

# ---- generation ----------------------------------------------------------

#' Generate data from a deep VAE
#'
#' @param object a fitted [vae()] model.
#' @param nsim number of observations to generate.
#' @param seed `NULL` to draw from R's generator as it is, or a number for [set.seed()];
#'   the generator is then put back as it was.
#' @param type `"ancestral"` draws z from the prior and then x from p(x | z), noise
#'   included: a draw from the model. `"mean"` gives the mean of p(x | z), without the
#'   noise: what is usually shown as generated images, though the model has not drawn it
#'   (Beaulac 2019). For a fit with a `transform` it is the mean of the transformed x,
#'   brought back to the scale of the data.
#' @param condition for a model with a condition: one value for all, or one for each
#'   observation.
#' @param ... unused.
#' @return An `nsim` x p matrix on the scale of the data, with the state of the generator
#'   as attribute `"seed"`, as [stats::simulate()] asks.
#' @references Beaulac, C. (2019), see [vae()].
#' @examples
#' x <- mnist1000$x[1:200, ] / 255
#' digit <- factor(mnist1000$y[1:200])
#' fit <- vae(x, k = 3, encoder = 32, condition = digit,
#'            control = train_control(epochs = 5, batch_size = 50))
#' sevens <- simulate(fit, 5, seed = 1, type = "mean", condition = "7")
#' plot_images(sevens, c(28, 28))
#' @export
simulate.vae <- function(object, nsim = 1, seed = NULL, type = c("ancestral", "mean"),
                         condition = NULL, ...) {
  check_dots_empty(...)
  nsim <- check_count(nsim, "nsim", 0)
  type <- check_choice(type, "type", c("ancestral", "mean"))
  code <- condition_code(object, repeat_condition(condition, nsim), nsim)
  state <- seed_state(seed)
  on.exit(state$restore())
  z <- matrix(stats::rnorm(nsim * object$k), nsim, object$k)
  y <- deep_given(object, z, code, noise = type == "ancestral")
  structure(to_user(object, y), seed = state$seed)
}

# ---- weights -------------------------------------------------------------

#' Weights of a deep VAE
#'
#' All parameters as R matrices, for data on the scale of the (transformed) `x`: the
#' units in which the networks work are folded into the first layer of the encoder and the
#' output of the decoder. For a row x, with the columns of the condition appended,
#' h_0 = c(x, condition), h_i = f_i(`encoder[[i]]$weights` h_(i-1) + `encoder[[i]]$bias`)
#' with f_i the layer's `activation`; the mean of q(z | x) is `mean$weights` h + `mean$bias`
#' and its variance the exponential of `log_variance`, which counts as -40 where it is less
#' and as 40 where it is more. Likewise from c(z, condition) with
#' `decoder`, `output` and, for `noise = "network"`, `log_sigma2`.
#'
#' A fit with `start = "linear"` has maps beside the hidden layers: `mean$linear` c(x,
#' condition) is added to the mean of q(z | x), and `output$linear` c(z, condition) to that of
#' p(x | z). Where there are no hidden layers, `weights` are that map.
#'
#' @param object a fitted [vae()] model.
#' @param ... unused.
#' @return A list: `encoder` and `decoder`, lists of layers, each with `weights` (outputs x
#'   inputs), `bias` and `activation`; `mean` and `output`, a list of `weights`, `bias` and,
#'   where there is such a map, `linear` (outputs x inputs) each; `log_variance`, a list of
#'   `weights` and `bias`, or with `latent_variance = "shared"` a vector; `sigma2`, the noise
#'   variance (one, or with `noise = "feature"` or with `scale` one for each feature), or with
#'   `noise = "network"` `log_sigma2`, a list of `weights` and `bias` that give the log of the
#'   noise variance before it is raised to `sigma2_min` (with `scale`, to `sigma2_min` times
#'   its square). All are in the units of the data.
#' @examples
#' fit <- vae(iris[1:4], k = 2, encoder = 8, activation = "tanh", epochs = 5)
#' w <- coef(fit)
#' x <- as.matrix(iris[1:4])
#' h <- tanh(x %*% t(w$encoder[[1]]$weights) + rep(w$encoder[[1]]$bias, each = 150))
#' z <- h %*% t(w$mean$weights) + x %*% t(w$mean$linear) + rep(w$mean$bias, each = 150)
#' all.equal(z, predict(fit, x), check.attributes = FALSE, tolerance = 1e-5)
#' @export
coef.vae <- function(object, ...) {
  check_dots_empty(...)
  theta <- from_floats(object$theta)
  parts <- lapply(seq_len(nrow(object$layout)), function(i) {
    named_tensor(object, object$layout[i, ], theta)
  })
  names(parts) <- object$layout$name
  is_part <- function(prefix) grepl(paste0("^", prefix, "[0-9]+$"), names(parts))
  out <- list(encoder = unname(parts[is_part("encoder")]), mean = parts$mean,
              log_variance = parts$log_variance,
              decoder = unname(parts[is_part("decoder")]), output = parts$output)
  out$mean <- with_map(out$mean, parts$mean_linear)
  out$output <- with_map(out$output, parts$output_linear)
  if (object$noise == "network") {
    out$log_sigma2 <- parts$log_sigma2
  } else {
    out$sigma2 <- if (is.null(object$scale)) object$sigma2 else object$sigma2 * object$scale^2
  }
  out
}

# A head with the map beside it, whose constant in data units goes to the head's bias.
with_map <- function(head, map) {
  if (is.null(map)) return(head)
  list(weights = head$weights, linear = map$weights, bias = head$bias + map$bias)
}

# Row l of the layout as list(weights, bias, activation), or a vector.
named_tensor <- function(object, l, theta) {
  rows <- tensor_rows(object, l)
  if (l$into == 0) {
    return(structure(theta[l$offset + seq_len(l$out)], names = rows))
  }
  columns <- tensor_columns(object, l)
  weights <- matrix(theta[l$offset + seq_len(l$out * l$into)], l$out, l$into,
                    dimnames = list(rows, columns))
  bias <- if (l$biased) theta[l$offset + l$out * l$into + seq_len(l$out)] else numeric(l$out)
  layer <- in_data_units(object, l, weights, structure(bias, names = rows))
  if (grepl("^(en|de)coder", l$name)) layer$activation <- l$activation
  layer
}

tensor_rows <- function(object, l) {
  switch(l$name, mean = , mean_linear = , log_variance = latent_names(object),
         output = , output_linear = object$features, log_sigma2 = if (l$out > 1) object$features)
}

is_first <- function(object, l, side) {
  widths <- object$shape[[side]]
  if (l$name %in% c("mean_linear", "output_linear")) {
    return((l$name == "mean_linear") == (side == "encoder"))
  }
  if (length(widths)) l$name == paste0(side, 1) else
    l$name %in% switch(side, encoder = c("mean", "log_variance"),
                       decoder = c("output", "log_sigma2"))
}

tensor_columns <- function(object, l) {
  condition <- object$condition
  given <- if (!is.null(condition$names)) condition$names else
    if (object$shape$c > 0) paste0("condition", seq_len(object$shape$c))
  if (is_first(object, l, "encoder")) {
    features <- object$features
    if (is.null(features) && is.null(given)) return(NULL)
    if (is.null(features)) features <- paste0("x", seq_len(object$p))
    return(c(features, given))
  }
  if (is_first(object, l, "decoder")) c(latent_names(object), given)
}

# (x - shift) unit goes in, and (y - shift) unit comes out.
in_data_units <- function(object, l, weights, bias) {
  seen <- seq_len(object$p)
  if (is_first(object, l, "encoder")) {
    weights[, seen] <- weights[, seen, drop = FALSE] * rep(object$unit, each = l$out)
    bias <- bias - drop(weights[, seen, drop = FALSE] %*% object$shift)
  }
  if (l$name == "output_linear") weights <- weights / object$unit
  if (l$name == "output") {
    weights <- weights / object$unit
    bias <- bias / object$unit + object$shift
  }
  if (l$name == "log_sigma2") bias <- bias - 2 * log(object$unit)
  list(weights = weights, bias = bias)
}

# ---- printing ------------------------------------------------------------

# Training that ends early may do so before `beta` has its last value.
describe_beta <- function(x) {
  end <- last(x$arguments$beta)
  now <- format(x$beta, digits = 3)
  paste0(now, if (now != format(end, digits = 3)) paste(", on its way to", format(end)))
}

#' @export
print.vae <- function(x, ...) {
  cat("Deep Gaussian VAE: ", x$n, " observations, ", x$p, " features, k = ", x$k, "\n",
      sep = "")
  cat("Encoder: ", describe_chain(x, "encoder"), "; decoder: ", describe_chain(x, "decoder"),
      "; ", format(x$df, big.mark = ","), " parameters\n", sep = "")
  if (!is.null(x$condition)) cat("Condition: ", describe_condition(x), "\n", sep = "")
  missing <- x$n * x$p - x$observed
  if (missing > 0) {
    cat(sprintf("Missing cells: %.0f (%.1f %%)\n", missing, 100 * missing / (x$n * x$p)))
  }
  cat("Trained by ", describe_epochs(x), "\n", sep = "")
  if (!is.null(x$search)) cat(describe_search(x$search), "\n", sep = "")
  if (!is.null(x$transform)) cat("Transform: ", format(x$transform), "\n", sep = "")
  cat("Noise variance sigma2: ", describe_noise(x), "\n", sep = "")
  if (format(x$beta, digits = 3) != "1") cat("Weight of the KL, beta: ", describe_beta(x), "\n", sep = "")
  print_elbo(x)
  validation <- validation_at_end(x)
  if (length(validation) && (is.nan(validation) || !is.na(validation))) {
    cat("ELBO of the validation data: ", format(validation, digits = 7), "\n", sep = "")
  }
  print_validation_noise(x)
  if (!is.null(x$kl_dimensions)) print_idle(x)
  print_yardstick(x)
  invisible(x)
}

# The ELBO that the weights of the fit have of the validation data; NA where there are none.
validation_at_end <- function(x) {
  if (isTRUE(x$tuned)) return(NA_real_)                  # that was at another sigma2
  # that of the start is not in the history
  if (isTRUE(x$best_epoch == 0) && !is.null(x$state$best)) return(x$state$best$score)
  found <- x$history$validation[match(x$best_epoch, x$history$epoch)]
  if (length(found)) found else NA_real_
}

# Where the noise variance of the rows trained on is too small for others.
print_validation_noise <- function(x) {
  ratio <- mean(x$validation_sigma2 / x$sigma2, na.rm = TRUE)
  if (x$fixed || !is.finite(ratio) || ratio < 1.1) return()
  cat(strwrap(sprintf(paste("The noise variance that suits the validation data best is %.3g times",
                            "as large: with `v` these data, tune_sigma2(fit, v)$fit has it."),
                      ratio), 80, exdent = 2), sep = "\n")
}

# The linear model with the same k, and whether the fit is as good as it can be.
print_yardstick <- function(x) {
  loglik <- x$linear$loglik
  if (!is.null(loglik) && !is.na(loglik)) {
    cat(sprintf("Linear model%s (pPCA): %s nats per observation%s\n",
                if (x$linear$k < x$k) sprintf(" with k = %d, the most it can have",
                                              x$linear$k) else " with the same k",
                format(loglik, digits = 7),
                if (length(x$linear$validation) && !is.na(x$linear$validation))
                  sprintf(", of the validation data %s", format(x$linear$validation, digits = 7))
                else ""))
  }
  advice <- training_advice(x)
  if (length(advice)) cat(strwrap(advice, 80, exdent = 2), sep = "\n")
}

describe_chain <- function(x, side) {
  layers <- x$arguments[[side]]
  if (!length(layers)) return("linear")
  paste(vapply(layers, format, ""), collapse = ", ")
}

describe_condition <- function(x) {
  levels <- x$condition$levels
  columns <- x$condition$columns
  if (is.null(levels)) return(sprintf("%d number%s", columns, if (columns > 1) "s" else ""))
  paste0("a factor of ", length(levels), " levels (",
         paste(utils::head(levels, 5), collapse = ", "), if (length(levels) > 5) ", ...", ")")
}

describe_epochs <- function(x) {
  how <- paste0(c(adam = "Adam", sgd = "SGD")[[x$optimizer]], ", ", describe_steps(x))
  if (x$best_epoch != x$iterations) {
    how <- sprintf("%s; weights of epoch %d, the best", how, x$best_epoch)
  }
  paste0(how, if (isTRUE(x$converged)) ", stopped early")
}

describe_search <- function(search) {
  sprintf("The epochs were chosen on %d rows, set aside in %d epochs before%s", search$rows,
          search$epochs,
          if (search$best_epoch == 0) ": the linear solution, where training starts, was best" else
            "")
}

describe_noise <- function(x) {
  value <- switch(x$noise,
    shared = format(x$sigma2, digits = 4),
    feature = paste(format_range(x$sigma2, 4), "over the features"),
    network = sprintf("%s on average, from the decoder", format(x$sigma2, digits = 4)))
  paste0(value, noise_origin(x),
         if (isTRUE(x$floored > 0)) {
           sprintf(" (at least %s, which binds in %.3g %% of the cells)",
                   format_range(x$sigma2_min, 3), 100 * x$floored)
         })
}

#' Summary of a deep VAE
#'
#' @param object a fitted [vae()] model.
#' @param ... unused.
#' @return An object of class `summary.vae`: a list with the `fit` without its weights,
#'   `layers`, a data frame of the layers with their sizes and numbers of parameters, and
#'   `dimensions`, a data frame with the KL of each latent dimension.
#' @examples
#' summary(vae(iris[1:4], k = 2, encoder = 8,
#'             control = train_control(epochs = 5, batch_size = 30)))
#' @export
summary.vae <- function(object, ...) {
  layers <- object$layout[c("name", "into", "out", "activation", "size")]
  names(layers) <- c("layer", "inputs", "outputs", "activation", "parameters")
  fit <- object
  fit[c("theta", "state", "x", "kept_condition", "kept_validation")] <- NULL
  kl <- object$kl_dimensions
  structure(list(fit = fit, layers = layers,
                 dimensions = if (!is.null(kl)) data.frame(kl = unname(kl),
                                                           row.names = names(kl))),
            class = "summary.vae")
}

#' @export
print.summary.vae <- function(x, ...) {
  cat("Call: ", paste(deparse(x$fit$call), collapse = "\n  "), "\n", sep = "")
  print.vae(x$fit)
  cat("\n")
  print(x$layers, row.names = FALSE)
  if (is.null(x$dimensions)) return(invisible(x))   # in a callback
  cat("\nKL, mean over observations:\n")
  kl <- sort(stats::setNames(x$dimensions$kl, row.names(x$dimensions)), decreasing = TRUE)
  print(signif(utils::head(kl, 10), 3))
  if (length(kl) > 10) cat("... and", length(kl) - 10, "more dimensions\n")
  invisible(x)
}

# log sum exp of each row of a matrix of finite numbers.
log_sum_exp <- function(l) {
  top <- l[cbind(seq_len(nrow(l)), max.col(l, "first"))]
  top + log(rowSums(exp(l - top)))
}

# The same for a deep VAE.
deep_given <- function(object, z, code, noise = FALSE) {
  x <- decode_latent(object, z, code, noise)
  if (noise) x$mean + sqrt(x$variance) * stats::rnorm(length(x$mean)) else x$mean
}
