#' Deep Gaussian variational autoencoder
#'
#' Fits p(z) = N(0, I), p(x | z) = N(g(z), sigma2) and q(z | x) = N(m(x), D(x)), D
#' diagonal, with neural networks g, m and D, by maximising the evidence lower bound
#' (ELBO) with the reparameterisation trick (Kingma and Welling 2014). Training runs in
#' the package's own C code, in single precision.
#'
#' @details
#' The ELBO per observation is reconstruction - KL, in nats, on the scale of the data:
#' reconstruction = E log N(x; g(z), sigma2), estimated from samples of z, and
#' KL = 1/2 sum_j (D_j + m_j^2 - 1 - log D_j), exactly. What is maximised is
#' reconstruction - `beta` KL, where the mean KL of a latent dimension over the batch
#' counts as `free_bits` if it is less (Kingma et al. 2016). With `encoder` and `decoder`
#' `integer(0)` and `latent_variance = "shared"` the model is that of [linear_vae()].
#'
#' **Start.** With `start = "linear"` the mean of q(z | x) is V (x - mu) + m(x) and that
#' of p(x | z) is W z + mu + g(z), V and W linear maps beside the hidden layers. V, W, mu, D
#' and sigma2 start at the solution of [ppca()] with the same k, and m and g at zero, so
#' that training begins at pPCA's likelihood. With missing cells mu and W are those of EM,
#' and V is best for complete rows. Where `sigma2` is given W is best for `beta` `sigma2`.
#' Dimensions beyond those that pPCA can have, and the condition, start without a say. On
#' large data with missing cells or many dimensions pPCA is fitted to some of the rows.
#' With a noise variance for each feature the start is this pPCA, or where it is likelier that of
#' the features in units of their own.
#'
#' With `"random"` there are no such maps; `sigma2` starts at pPCA's, and the variance of
#' q(z | x) at exp(-4). From a variance of 1, that of the prior, z says so little of x at first
#' that the decoder learns to do without most dimensions, for good: on 60,000 digits, with
#' `sigma2` learned from 10, 18 of 200 were left after 10 epochs, at an ELBO of -1342; from
#' exp(-4) it was -1145 after 8, with all 200.
#'
#' pPCA codes each direction by itself, at a KL that networks can do without but give up slowly.
#' Where `beta` is left alone it therefore falls from 3 to 1, along half a cosine over the first
#' half of the epochs: on 20,000 digits (`logit_pixels(1e-6)`, k = 200, 60 epochs) the ELBO of
#' other digits ended at -1051.6 so, at -1061.0 with `beta = 1` throughout, and at -1091.2 from
#' a random start.
#'
#' **Noise.** `sigma2` is one number (`noise = "shared"`), one for each feature
#' (`"feature"`), or a function of z given by the decoder (`"network"`). Where it is
#' learned, `sigma2_update = "optimal"` moves it at each step towards the mean squared
#' error of the batch, its optimum in closed form (Rybkin, Daniilidis and Levine 2021), by
#' 1 / s of the way, s the steps of an epoch but from 10 to 100; it stays as it is where `beta` has yet to rise
#' to its last value. `"gradient"` has the optimiser move its log, as Lucas et al. (2019) do, by not
#' much more than the learning rate at a step, so that it may lag behind. The likelihood has
#' no upper bound: it grows for ever as the noise of a feature that is reconstructed exactly
#' goes to zero (Beaulac 2019). `sigma2` therefore counts as `sigma2_min` where it is less; a
#' warning tells if that was so at the end.
#'
#' **How long.** Where neither `epochs` nor validation data are given, a tenth of the rows
#' (at least 10, or a quarter where that is less, at most 1,000; of less than 10 rows none) are
#' set aside; the model is trained while their ELBO rises,
#' and then anew on all rows, for the fewest epochs after which it was within a standard
#' error of its best (Breiman, Friedman, Olshen and Stone 1984) and that of the rows trained
#' on not below pPCA's, if it ever was: none, if that was so at the start. Where the ELBO of all
#' rows is below pPCA's then, they are trained on up to the epochs of the search, and if that
#' does not help the start is returned.
#' With 20,000 rows or more it is not trained anew: the rows stay aside. With validation
#' data and without `epochs` training stops when their ELBO no longer rises, and the best
#' weights are kept. A run is 150 epochs or, where that is more, 2,000 steps, but no more
#' than 50,000 steps, in batches of 100; the learning rate rises over the first 100 steps
#' and falls along half a cosine from 0.001. Patience is 10 epochs or, where that is more,
#' 300 steps, without a better ELBO than that of the epochs before (the start may have a better
#' one, and is then what is kept); it waits until `beta` has its last value.
#'
#' **Yardstick.** A VAE contains the linear model, so that its ELBO ought not to be below
#' pPCA's log-likelihood, which `print()` shows beside it. Where it is, or was still rising
#' at the end, a sentence says what to do.
#'
#' **Units.** Networks see (x - mean) / u, u the power of two at or below the root mean
#' square of the deviations: of all features or, with noise of its own for each, of each. So
#' initial weights and learning rates suit data in any units; `coef()` gives the weights for
#' data in their own units.
#'
#' **Pixels.** With [logit_pixels()] whole numbers get new noise in each epoch, a function
#' of seed, epoch and row. The ELBO of the fit is of draws that were not trained on.
#' Validation data have one draw.
#'
#' **Missing cells.** The reconstruction term sums over the observed cells of a row; the
#' encoder sees the mean of the feature in the place of a missing one. q(z | x) is then
#' an approximation that the encoder has to learn; [ppca()] is exact.
#'
#' **Reproducibility.** A fit is a function of data, settings and seed: [set.seed()]
#' governs it, the number of threads does not matter, and a fit that was continued
#' ([update()][update.vae], `resume`) is the same, bit for bit, as one that never stopped and
#' had the same schedules; those that `vae()` chooses are for the epochs first asked for.
#' Processors with other vector instructions may round otherwise, see the option
#' `elbo.kernel` in [elbo-package]; so may R's BLAS with another number of threads, from which
#' the linear model comes. An interrupt returns the fit after the last whole epoch, with a
#' warning; one while the ELBO is computed at the end, or a second one, a fit whose ELBO
#' is that of the steps of its last epoch.
#'
#' @inheritParams linear_vae
#' @param x numeric matrix, data frame of numbers or sparse matrix of n rows and p columns,
#'   two or more each, which may hold `NA`; or a one-sided formula for `data`.
#' @param k number of latent dimensions, 1 or more.
#' @param encoder,decoder widths of the hidden layers, from input to output, or a list of
#'   [dense()] layers; `integer(0)` for none, a linear model.
#' @param activation of the layers that are given by their widths, see [dense()].
#' @param start `"linear"` for pPCA's solution, `"random"` for random weights; see Details.
#' @param latent_variance `"network"`: the encoder has a second output, log D(x).
#'   `"shared"`: one D for all observations, as in the linear VAE.
#' @param sigma2 noise variance (with `scale`, that of the scaled features): a number, or
#'   with `noise = "feature"` or `"network"` one for each feature. The value to start from,
#'   where it is learned; then `NULL` is that of pPCA with the same k (the variance of the
#'   features, where it has none), and otherwise 1.
#' @param learn_sigma2 `FALSE` to keep `sigma2`.
#' @param sigma2_update how `sigma2` is learned, see Details: `"optimal"`, or `"gradient"`,
#'   the default with `start = "random"` and the only one with `noise = "network"`.
#' @param noise see Details.
#' @param sigma2_min the least noise variance, where it is learned: a number, or with
#'   `noise = "feature"` or `"network"` one for each feature; `NULL` is a millionth of the
#'   mean variance of the features, or of the variance of each; with `start = "linear"` no more
#'   than a hundredth of pPCA's noise variance.
#' @param beta weight of the KL: a number, 0 or more, or a schedule with one number for
#'   each epoch, the last of which is kept from then on; see [schedule_warmup()] and
#'   [schedule_cyclic()]. `NULL` is 1, with the linear start after a fall from 3, see Details.
#' @param free_bits nats that a latent dimension may have at no cost.
#' @param condition `NULL`, or what encoder and decoder are given beside x and z, so that
#'   the model is p(x | condition): a factor (or characters) with a value for each row, or
#'   a numeric vector, matrix or data frame with n rows. Without missing values. Numbers are
#'   taken as they are: bring them to the order of 1 first.
#' @param center `TRUE` to subtract the mean of each feature from what the encoder sees
#'   and to let the decoder's output start at it; `FALSE` for neither; or p numbers to use
#'   instead.
#' @param optimizer `"adam"` (Kingma and Ba 2015), or `"sgd"`, stochastic gradient ascent
#'   with momentum.
#' @param validation share of the rows (0 to below 1) that is set aside at random, or a
#'   matrix with further rows; for a model with a condition a list of `x` and
#'   `condition`. Their ELBO is computed after each epoch. 0 for none; so is `NULL`, the
#'   default, but where `epochs` are not given either rows are set aside to find these.
#' @param epochs,batch_size,learning_rate number of epochs, rows a step (`Inf` for all) and
#'   learning rate, a number or one for each epoch; they count for more than those of
#'   `control`. `NULL` leaves the choice to the model, see Details.
#' @param control other settings, from [train_control()].
#' @param data for a formula, the data frame.
#' @param resume `NULL`, or the name of a checkpoint file (`checkpoint` in
#'   [train_control()]): training goes on from there, as if it had never stopped. All
#'   other arguments but `x`, `condition`, `validation` and `epochs` then come from the
#'   checkpoint; those that are given have to agree with it, but for `control`, of which
#'   `epochs`, `patience`, `checkpoint`, `every`, `threads`, `callback` and `progress` are
#'   taken. Where `x` is not given it is looked up under the name used in the first call.
#' @param keep_data `TRUE` to keep `x`, `condition` and validation data in the fit and in its
#'   checkpoints.
#'
#' @return An object of class `vae`: plain data with
#'   \item{elbo, reconstruction, kl}{per observation, in nats, on the scale of the data,
#'     at the weights of the fit, from samples of z: 10,000 over the observations, at least
#'     one and at most 100 for each.
#'     elbo = reconstruction - kl + log_jacobian.}
#'   \item{log_jacobian}{of the `transform`, per observation; 0 without.}
#'   \item{kl_dimensions}{KL of each latent dimension, mean over observations.}
#'   \item{held_out}{numbers of the rows set aside by `validation` as a share.}
#'   \item{sigma2}{noise variance (with `scale`, that of the scaled features): one number,
#'     or one for each feature; with `noise = "network"` its mean over the cells of the
#'     data.}
#'   \item{sigma2_min, floored}{the least noise variance (one for each feature where these
#'     have noise of their own), and the share of cells where it binds.}
#'   \item{validation_sigma2}{the noise variance that suits the validation data best, one or
#'     one for each feature; `NULL` without them and with `noise = "network"`.
#'     [tune_sigma2()] gives the fit with it.}
#'   \item{linear}{what is known of pPCA, `NULL` where it has no solution: a list of `k`,
#'     `rows` (that it was fitted to), `loglik` (per observation; `NA` where these were not
#'     all), `sigma2`, `values` (eigenvalues) and with validation data `validation`, their
#'     mean log-likelihood.}
#'   \item{search}{where the number of epochs was found on rows set aside: a list of `rows`
#'     (how many), `epochs` (made then), `best_epoch` (those chosen) and `history`.}
#'   \item{mean}{mean of each feature.}
#'   \item{history}{data frame, a row for each epoch: `epoch`, `objective`, `elbo`,
#'     `reconstruction`, `kl`, `sigma2`, `beta`, `learning_rate`, `gradient_norm` (mean
#'     over steps), `seconds`, and with validation data `validation`, their ELBO. The
#'     terms are those that the steps of the epoch met.}
#'   \item{iterations, best_epoch, converged}{epochs made; the epoch whose weights these
#'     are, 0 for the start; `TRUE` where `patience` ended training, otherwise `NA`.}
#'   \item{stopped}{what ended training: `"limit"` (all epochs were made), `"converged"`
#'     (patience), `"stopped"` or `"callback"` (a callback returned `FALSE`, or failed),
#'     `"interrupted"`, or `"failed"` (it diverged).}
#'   \item{n, p, k}{rows trained on, features, latent dimensions.}
#'   \item{theta, state, shape, layout, ...}{the weights and the state of training as
#'     single-precision numbers in raw vectors, and what is needed to use them;
#'     [coef()][coef.vae] gives the weights as matrices.}
#' @seealso [elbo()], [posterior_collapse()], [predict()][predict.vae],
#'   [simulate()][simulate.vae], [interpolate_latent()], [plot()][plot.vae],
#'   [update()][update.vae], [linear_vae()].
#' @references Beaulac, C. (2019). *Variational autoencoders: theory, implementation and
#'   unanswered questions*. University of Toronto.
#'
#'   Breiman, L., Friedman, J. H., Olshen, R. A. and Stone, C. J. (1984). *Classification
#'   and Regression Trees*. Wadsworth.
#'
#'   Kingma, D. P. and Welling, M. (2014). Auto-encoding variational Bayes.
#'   *International Conference on Learning Representations*.
#'   \doi{10.48550/arXiv.1312.6114}
#'
#'   Kingma, D. P., Salimans, T., Jozefowicz, R., Chen, X., Sutskever, I. and Welling, M.
#'   (2016). Improved variational inference with inverse autoregressive flow. *Advances in
#'   Neural Information Processing Systems* 29. \doi{10.48550/arXiv.1606.04934}
#'
#'   Lucas, J., Tucker, G., Grosse, R. and Norouzi, M. (2019). Don't blame the ELBO! A
#'   linear VAE perspective on posterior collapse. *Advances in Neural Information
#'   Processing Systems* 32. \doi{10.48550/arXiv.1911.02469}
#'
#'   Rybkin, O., Daniilidis, K. and Levine, S. (2021). Simple and effective VAE training
#'   with calibrated decoders. *International Conference on Machine Learning*.
#'   \doi{10.48550/arXiv.2006.13202}
#' @examples
#' x <- mnist1000$x[1:300, ] / 255
#' set.seed(1)
#' fit <- vae(x, k = 5, encoder = 64, epochs = 10, batch_size = 50)
#' fit
#' posterior_collapse(fit, x)
#' plot_images(simulate(fit, 5, type = "mean"), c(28, 28), limits = c(0, 1))
#' @export
vae <- function(x, k, encoder = c(512, 256), decoder = rev(encoder), activation = "relu",
                start = c("linear", "random"), latent_variance = c("network", "shared"),
                sigma2 = NULL, learn_sigma2 = TRUE,
                sigma2_update = c("optimal", "gradient"),
                noise = c("shared", "feature", "network"), sigma2_min = NULL, beta = NULL,
                free_bits = 0, condition = NULL, center = TRUE, scale = FALSE,
                transform = NULL, optimizer = c("adam", "sgd"), validation = NULL,
                epochs = NULL, batch_size = NULL, learning_rate = NULL,
                control = train_control(), data = NULL, resume = NULL,
                keep_data = FALSE, ...) {
  check_dots_empty(...)
  call <- match.call()
  if (!is.null(resume) && missing(control)) control <- NULL else check_train_control(control)
  direct <- list(epochs = epochs, batch_size = batch_size, learning_rate = learning_rate)
  if (!is.null(resume)) {
    given <- setdiff(names(call)[-1], c("resume", "control", names(direct)))
    values <- mget(given, environment())
    return(resume_vae(resume, call, values, control, direct, parent.frame()))
  }
  control <- with_direct(control, direct)
  if (!is.null(control$shown)) call <- control$shown             # from update()
  terms <- attr(x, "elbo_terms")
  if (inherits(x, "formula")) {
    frame <- formula_data(x, data)
    x <- frame$data
    terms <- strip_terms(frame$terms, names(data))
  } else if (!is.null(data)) {
    abort_arg("data", "be NULL where `x` is not a formula", describe(data))
  } else if (!is.null(terms)) attr(x, "elbo_terms") <- NULL
  raw <- as_data_matrix(x)
  check_shape(raw)
  check_choice(activation, "activation", ACTIVATIONS)
  given <- c(list(encoder = encoder, activation = activation),
             if (!missing(decoder)) list(decoder = decoder),
             if (!missing(sigma2_update)) list(sigma2_update = sigma2_update),
             if (!is.null(beta)) list(beta = beta))
  encoder <- check_layers(encoder, "encoder", activation)
  asked <- list(
    k = check_count(k, "k", 1, 2^24),
    encoder = encoder,
    decoder = if (missing(decoder)) rev(encoder) else
      check_layers(decoder, "decoder", activation),
    latent_variance = check_choice(latent_variance, "latent_variance",
                                   c("network", "shared")),
    start = check_choice(start, "start", c("linear", "random")),
    sigma2 = NULL, learn_sigma2 = check_flag(learn_sigma2, "learn_sigma2"),
    sigma2_update = NULL,
    noise = check_choice(noise, "noise", c("shared", "feature", "network")),
    sigma2_min = NULL,
    beta = NULL,
    free_bits = check_number(free_bits, "free_bits", 0, 1e30),
    center = check_vector_or_flag(center, "center", raw),
    scale = check_vector_or_flag(scale, "scale", raw, positive = TRUE),
    transform = check_dense_transform(transform, raw),
    optimizer = check_choice(optimizer, "optimizer", c("adam", "sgd")),
    keep_data = check_flag(keep_data, "keep_data")
  )
  asked["sigma2"] <- list(check_vae_sigma2(sigma2, "sigma2", asked, ncol(raw)))
  asked["sigma2_min"] <- list(check_vae_sigma2(sigma2_min, "sigma2_min", asked, ncol(raw)))
  asked$sigma2_update <- check_sigma2_update(sigma2_update, missing(sigma2_update), asked)
  if (!is.null(beta)) {
    asked$beta <- check_schedule(beta, "beta", "NULL or a number from 0 to 1e30", zero = TRUE,
                                 most = 1e30)
  }
  asked$given <- given
  if (is_number(validation)) asked$validation <- validation
  fit <- if (is.null(validation) && is.null(control$epochs)) fit_until_good else fit_vae
  fit(raw, asked, condition, validation, control, call, terms)
}

# Where neither epochs nor validation data are given, how long to train is found on rows
# that are set aside. Where these are many among the rows, the model is then trained
# anew on all rows, for the fewest epochs after which the ELBO of the rows set aside was
# within a standard error of its best (Breiman, Friedman, Olshen and Stone 1984) and that of
# the others not below the linear model's.
fit_until_good <- function(raw, asked, condition, validation, control, call, terms) {
  n <- nrow(raw)
  aside <- rows_aside(n)
  if (aside == 0) return(fit_vae(raw, asked, condition, NULL, control, call, terms))
  control$asked <- control
  seed <- seed_state(NULL)$seed
  anew <- aside > 0.05 * n
  first <- control
  if (anew) {
    first[c("checkpoint", "callback")] <- list(NULL)
    first$search <- TRUE
  }
  found <- tryCatch(with_warnings_held(
    fit_vae(raw, asked, condition, aside / n, first, call, terms)),
    # of a column that has cells in the rows set aside alone
    elbo_empty_column = function(e) NULL)
  if (is.null(found)) return(fit_vae(raw, asked, condition, NULL, control, call, terms))
  fit <- found$value
  if (!anew || !fit$stopped %in% c("limit", "converged")) {
    for (one in found$warnings) warning(one)
    fit$state$scores <- NULL
    return(fit)
  }
  assign(".Random.seed", seed, envir = globalenv())       # as without the search
  asked$beta <- fit$arguments$beta
  control$epochs <- if (fit$iterations <= warmup_epochs(asked$beta)) fit$iterations else
    fewest_epochs(fit$state$scores, epochs_to_end_with(fit))
  control$learning_rate <- fit$control$learning_rate
  control["patience"] <- list(NULL)
  search <- list(rows = aside, epochs = fit$iterations, best_epoch = control$epochs,
                 history = fit$history)
  not_below_linear(search, function(search, resume) {
    control$search <- search
    control$epochs <- search$best_epoch
    control$resume <- resume
    fit_vae(raw, asked, condition, NULL, control, call, terms)
  })
}

# Of all rows the ELBO after the epochs that were found may be below the linear model's. They
# are trained on then, for a quarter more epochs at a time, up to those of the search; and if
# it is still below there, beyond what sampling does, the linear start is returned.
not_below_linear <- function(search, train) {
  fit <- train(search, NULL)
  loglik <- fit$linear$loglik
  if (is.null(loglik) || is.na(loglik) || !reaches_linear(fit)) return(fit)
  is_short <- function(by) {
    fit$stopped == "limit" && fit$iterations > 0 && isTRUE(fit$elbo < loglik - by)
  }
  while (is_short(0) && fit$iterations < search$epochs) {
    search$best_epoch <- min(search$epochs, ceiling(1.25 * fit$iterations))
    fit <- train(search, fit)
  }
  if (is_short(elbo_error(fit)) && starts_at_linear(fit)) {
    search$best_epoch <- 0
    fit <- train(search, NULL)
  }
  fit
}

# Whether what is maximised is the ELBO, over sigma2 as well, from the start on.
reaches_linear <- function(fit) {
  asked <- fit$arguments
  !fit$fixed && is.null(asked$sigma2) && is.null(asked$sigma2_min) && asked$free_bits == 0 &&
    last(asked$beta) == 1 && warmup_epochs(asked$beta) == 0
}

# Whether training began at the linear model's likelihood: with missing cells it did not, as
# the encoder sees the mean in their place.
starts_at_linear <- function(fit) {
  fit$arguments$start == "linear" && fit$observed == fit$n * fit$p && is.null(fit$arguments$sigma2)
}

# The value of `code`, and its warnings, which may be those of a fit that is made anew.
with_warnings_held <- function(code) {
  held <- list()
  value <- withCallingHandlers(code, warning = function(w) {
    held <<- c(held, list(w))
    invokeRestart("muffleWarning")
  })
  list(value = value, warnings = held)
}

# A tenth of the rows, at least 10 (or a quarter) and at most 1,000; none of less than 10.
rows_aside <- function(n) {
  if (n < 10) 0 else min(1000, max(ceiling(n / 10), min(10, n %/% 4)))
}

# Of each epoch (from 0) whether it is one to end with: the KL has all of its weight, and the
# ELBO of the rows trained on (a mean over 11 epochs, as that of one is noisy) is at the linear
# model's likelihood, if it ever is.
epochs_to_end_with <- function(fit) {
  epoch <- seq(0, fit$iterations)
  warm <- warmup_epochs(fit$arguments$beta)
  whole <- epoch > warm | warm == 0
  loglik <- fit$linear$loglik
  if (is.null(loglik) || is.na(loglik)) return(whole)
  elbo <- fit$history$elbo
  near <- vapply(epoch[-1], function(i) mean(elbo[abs(epoch[-1] - i) <= 5]), 0)
  good <- whole & c(starts_at_linear(fit), near >= loglik)
  if (any(good)) good else whole
}

# The first epoch (from 0) whose ELBO of the rows is no more than a standard error of the
# difference below the best, of those that are `good`. `scores`: a vector of rows for each
# epoch.
fewest_epochs <- function(scores, good) {
  scores <- do.call(cbind, scores)
  mean <- colMeans(scores)
  mean[!is.finite(mean) | !good] <- -Inf
  less <- scores[, which.max(mean)] - scores
  error <- sqrt(apply(less, 2, stats::var) / nrow(scores))
  which(mean == max(mean) | mean > -Inf & colMeans(less) <= error)[1] - 1L
}

# By default in closed form from the linear solution, and by gradient from a random start:
# there the errors of the first steps are those of a network that knows nothing, sigma2
# would follow them, and most dimensions would collapse at once (60,000 digits, 40 epochs:
# 88 % against 42 %).
check_sigma2_update <- function(update, default, asked) {
  update <- check_choice(update, "sigma2_update", c("optimal", "gradient"))
  if (default && asked$start == "random") return("gradient")
  if (asked$noise != "network") return(update)
  if (update == "optimal" && !default) {
    abort_arg("sigma2_update", paste("be \"gradient\" for noise = \"network\", whose optimum has",
                                     "no closed form"), dQuote(update, FALSE))
  }
  "gradient"
}

# Weights of the KL. pPCA codes each direction by itself, at a KL that a network can do
# without but gives up slowly: a KL that weighs more at first takes it away.
default_beta <- function(start, epochs) {
  if (start == "linear") eval(beta_call(epochs %/% 2L)) else 1
}

# `falling`: epochs in which the weight falls.
beta_call <- function(falling) {
  if (falling > 0) bquote(c(schedule_cosine(.(falling), .(LINEAR_BETA), 1), 1)) else 1
}

LINEAR_BETA <- 3

check_vae_sigma2 <- function(sigma2, arg, asked, p) {
  if (is.null(sigma2)) return(NULL)
  lengths <- if (asked$noise == "shared") 1 else c(1, p)
  ok <- is.numeric(sigma2) && !is.object(sigma2) && length(sigma2) %in% lengths &&
    all(is.finite(sigma2)) && all(sigma2 > 0)
  if (!ok) {
    abort_arg(arg, if (asked$noise == "shared") "be NULL or a positive number" else
      sprintf("be NULL, a positive number or %d of them", p), describe(sigma2))
  }
  as.double(sigma2)
}

# ---- the problem in core units ------------------------------------------

fit_vae <- function(raw, asked, condition, validation, control, call, terms) {
  before <- use_threads(control)
  on.exit(options(before))
  resume <- control$resume
  # of a fit that goes on to the epochs that a search chose
  chosen <- resume$search
  if (!is.null(chosen) && chosen$best_epoch == control$epochs) control$search <- chosen
  if (is.null(validation)) validation <- 0
  problem <- vae_problem(raw, asked, condition, validation, control, resume, terms)
  problem$call <- call
  problem$given <- if (is.null(control$asked)) control else control$asked
  control <- problem$control
  if (asked$keep_data) {
    problem$kept <- list(x = raw, kept_condition = condition,
                         kept_validation = if (!is_number(validation)) validation)
  }
  state <- if (is.null(resume)) start_vae(problem) else resumed_state(problem, resume)
  # train_vae() allows interrupts where it can keep what there is
  suspendInterrupts({
    run <- train_vae(problem, state, control, resume)
    fit <- with_kept_data(finish_vae(problem, run), problem)
    write_checkpoint(fit, control)
    options(before)     # an interrupt that has waited may cut on.exit() short
  })
  fit
}

with_kept_data <- function(fit, problem) {
  fit[names(problem$kept)] <- problem$kept
  fit
}

# What training needs: the data as floats, the shape of the model, and the settings.
vae_problem <- function(raw, asked, condition, validation, control, resume, terms) {
  p <- ncol(raw)
  given <- encode_condition(condition, nrow(raw), resume$condition)
  if (is.null(resume)) warn_of_large(given)
  held <- hold_out(validation, nrow(raw), resume$held_out)
  shown <- transform_again(asked$transform, raw, "x", resume$noise_seed)
  x <- shown$x
  rows <- if (length(held$rows)) seq_len(nrow(x))[-held$rows]
  data <- prepare_data(x, asked$center, asked$scale,
                       if (is.null(rows)) "`x`" else "`x` without the `validation` share",
                       rows)
  # prepare_data() knows the means of the features only where it subtracts them
  means <- if (data$centred) data$mu else summarise_columns(x, rows = rows)$mean
  data <- network_units(data, rows, asked$noise)
  variance <- column_squares(x, means, data$unit, rows) / data$count
  spread <- sum(data$count * variance) / sum(data$count)
  if (spread == 0) abort_arg("x", "vary", "the same in all rows")
  floor <- if (!is.null(resume)) resume$sigma2_min / data$u^2 else
    least_noise(asked, data, variance, spread)
  jacobian <- mean(some(transform_log_jacobian(asked$transform, x), rows))
  shape <- vae_shape(p, asked$k, ncol(given$code), asked)
  problem <- list(
    asked = asked, terms = terms, shape = shape, layout = vae_layout(shape),
    condition = given$spec, held_out = held$rows, noise_seed = shown$noise_seed,
    n = data$n, p = p, features = colnames(raw), means = means, mu = data$mu,
    sd = data$sd, scaled = data$scaled, u = data$u, unit = data$unit, floor = floor,
    spread = spread, count = data$count, units = log_units(data) / data$n,
    jacobian = jacobian,
    data = training_floats(raw, x, given$code, rows, data, means, asked$transform)
  )
  if (problem$layout$size[nrow(problem$layout)] + max(problem$layout$offset) > 2^31) {
    abort_arg("encoder", "make a model of less than 2^31 parameters")
  }
  problem$fingerprint <- fingerprints(problem$data)
  check_same_data(problem, resume)
  problem$validation <- validation_data(validation, held, x, given, problem,
                                        resume$validation_seed)
  problem$control <- training_defaults(control, data$n, !is.null(problem$validation))
  if (!is.null(resume)) asked$beta <- resume$arguments$beta
  if (is.null(asked$beta)) asked$beta <- default_beta(asked$start, problem$control$epochs)
  problem$asked <- asked
  problem$fingerprint$validation <-
    if (!is.null(problem$validation)) fingerprints(problem$validation$data)
  data$x <- some(x, rows)
  problem$linear <- if (!is.null(resume)) resume$linear else linear_model(data, asked, jacobian)
  if (!is.null(problem$linear$solution) && lowers_floor(asked)) {
    problem$floor <- pmin(floor, 0.01 * problem$linear$solution$sigma2)
  }
  if (!is.null(problem$linear) && is.null(resume) && !is.null(problem$validation)) {
    problem$linear$validation <- problem$validation$linear(problem$linear)
    problem$validation$linear <- NULL
  }
  problem
}

# prepare_data() with u the power of two at or below the root mean square deviation, of all
# features or, where each has a noise variance of its own, of each: networks see numbers
# of the order of 1.
network_units <- function(data, rows, noise) {
  squares <- column_squares(data$x, data$mu, data$unit, rows)
  mean_square <- sum(squares) / sum(data$count)
  if (noise != "shared") {
    mean_square <- ifelse(squares > 0, squares / data$count, mean_square)
  }
  if (all(mean_square == 0)) return(data)
  factor <- 2^floor(log2(mean_square) / 2)
  data$u <- data$u * factor
  data$unit <- data$unit / factor
  data
}

# The least noise variance in core units: one number, or one a feature, by default a
# millionth of its variance, or of the mean variance where it has none.
least_noise <- function(asked, data, variance, spread) {
  count <- if (asked$noise == "shared") 1 else data$p
  if (!asked$learn_sigma2) return(numeric(count))
  if (!is.null(asked$sigma2_min)) return(rep_len(asked$sigma2_min, count) / data$u^2)
  if (asked$noise == "shared") return(1e-6 * spread)
  mean <- sum(data$count * variance * data$u^2) / sum(data$count) / data$u^2
  1e-6 * ifelse(variance > 0, variance, mean)
}

# Where the model starts as the linear one the default is well below its noise variance.
lowers_floor <- function(asked) {
  asked$learn_sigma2 && is.null(asked$sigma2) && is.null(asked$sigma2_min) &&
    asked$start == "linear"
}

# Of rows as vae_floats() makes them.
fingerprints <- function(floats) {
  lapply(floats[c("x", "condition")], fingerprint)
}

# Those of a vector, or of the rows of a matrix or data frame; all where `rows` is NULL.
some <- function(x, rows) {
  if (is.null(rows)) x else if (length(dim(x)) == 2) x[rows, , drop = FALSE] else x[rows]
}

# Rows (all, where NULL) as the C code takes them: floats in core units, p x n.
vae_floats <- function(x, code, rows, mu, unit, means, arg = "x") {
  if (is_sparse(x) && !is.null(rows)) return(
    vae_floats(x[rows, , drop = FALSE], some(code, rows), NULL, mu, unit, means, arg))
  floats <- core_floats(list(x = x, mu = mu, unit = unit), rows)
  if (is.null(floats)) {
    abort_arg(arg, "hold numbers that can be squared in single precision",
              "a cell 1e18 times as far from the mean as the data trained on")
  }
  n <- if (is.null(rows)) nrow(x) else length(rows)
  missing <- any(summarise_columns(x, rows = rows)$count < n)
  list(n = n, x = floats, fill = if (missing) as_floats((means - mu) * unit),
       condition = as_floats(t(some(code, rows))))
}

# Rows to train on. Pixels that a transform spreads by noise stay pixels: the core gives
# them new noise in each epoch.
training_floats <- function(raw, x, code, rows, data, means, transform) {
  pixels <- fresh_noise(transform, raw)
  if (is.null(pixels)) return(vae_floats(x, code, rows, data$mu, data$unit, means))
  floats <- vae_floats(raw, code, rows, numeric(data$p), rep(1, data$p), means)
  if (!is.null(floats$fill)) floats$fill <- as_floats((means - data$mu) * data$unit)
  floats$pixels <- c(pixels, list(mu = as_floats(data$mu), unit = as_floats(data$unit)))
  floats
}

# Which rows are set aside: a share of them at random, or those of the fit that goes on.
hold_out <- function(validation, n, before) {
  if (!is.null(before)) return(list(rows = before, share = length(before) > 0))
  if (!is_number(validation)) return(list(rows = integer(0), share = FALSE))
  if (validation < 0 || validation >= 1) {
    abort_arg("validation", "be a share of the rows from 0 to below 1, or data",
              describe(validation))
  }
  size <- ceiling(validation * n * (1 - 1e-12))
  if (size > n - 2) abort_arg("validation", "leave 2 rows or more to train on", validation)
  list(rows = if (size > 0) sort(sample.int(n, size)) else integer(0), share = size > 0)
}

# list(data, units, jacobian) of the validation rows, or NULL. `noise`: see
# transform_again().
validation_data <- function(validation, held, x, given, problem, noise = NULL) {
  noise_seed <- rows <- NULL
  if (is_number(validation) && !held$share) return(NULL)
  if (held$share) {
    rows <- held$rows
    code <- given$code
  } else {
    if (is.list(validation) && !is.data.frame(validation)) {
      if (!all(names(validation) %in% c("x", "condition")) || is.null(validation$x)) {
        abort_arg("validation", "be a share, a matrix or a list of `x` and `condition`",
                  describe(validation))
      }
      condition <- validation$condition
      validation <- validation$x
    } else condition <- NULL
    if (!is_data(validation)) {
      abort_arg("validation", paste("be a share of the rows, a matrix, a data frame, a sparse",
                                    "Matrix, or a list of `x` and `condition`"),
                describe(validation))
    }
    new <- conform(problem[c("features", "p", "terms")], validation, "validation")
    if (nrow(new$x) < 1) abort_arg("validation", "have at least 1 row", 0)
    shown <- transform_again(problem$asked$transform, new$x, "validation", noise)
    x <- shown$x
    noise_seed <- shown$noise_seed
    if (is.null(problem$condition) && !is.null(condition)) {
      abort_arg("validation$condition", "be left out: the model has none")
    }
    code <- encode_condition(condition, nrow(x), problem$condition,
                             "validation$condition")$code
  }
  list(data = vae_floats(x, code, rows, problem$mu, problem$unit, problem$means,
                         "validation"),
       linear = function(linear) {
         linear_validation(linear, some(x, rows), problem$mu,
                           some(transform_log_jacobian(problem$asked$transform, x), rows))
       },
       count = summarise_columns(x, rows = rows)$count,
       noise_seed = noise_seed, units = some(row_units(x, problem$unit), rows),
       jacobian = some(transform_log_jacobian(problem$asked$transform, x), rows))
}

# What the units add to the log density of each row: log unit of its observed cells.
row_units <- function(x, unit) {
  log_unit <- log(unit)
  if (all(summarise_columns(x)$count == nrow(x))) return(rep(sum(log_unit), nrow(x)))
  if (is_sparse(x)) {
    gone <- which(is.na(x@x))
    column <- rep(seq_len(ncol(x)), diff(x@p))[gone]
    lost <- tapply(log_unit[column], factor(x@i[gone] + 1L, seq_len(nrow(x))), sum)
    lost[is.na(lost)] <- 0
    return(sum(log_unit) - as.vector(lost))
  }
  total <- numeric(nrow(x))
  for (cols in column_blocks(x)) {
    total <- total + drop((!is.na(x[, cols, drop = FALSE])) %*% log_unit[cols])
  }
  total
}

# A fit goes on with the data that it was made of.
check_same_data <- function(problem, resume) {
  if (is.null(resume)) return()
  if (problem$n != resume$n || problem$p != resume$p) {
    abort_arg("x", sprintf("be the %d x %d data that the model was fitted to",
                           resume$n + length(resume$held_out), resume$p),
              sprintf("%d x %d ones", problem$n + length(problem$held_out), problem$p))
  }
  # the fingerprint is that of (x - mu) unit
  same <- function(a, b) isTRUE(all.equal(unname(a), unname(b), tolerance = 1e-10))
  same_units <- same(problem$mu, resume$shift) && same(problem$unit, resume$unit) &&
    same(problem$means, resume$mean)
  for (arg in c("x", "condition")) {
    if (!identical(problem$fingerprint[[arg]], resume$fingerprint[[arg]]) ||
        arg == "x" && !same_units) {
      abort_arg(arg, "be the data that the model was fitted to", "others of the same size")
    }
  }
}

# ---- conditions ----------------------------------------------------------

# A condition as numbers (n x c), with what is needed to do the same to another: `spec`,
# given where the condition has to be of that kind.
encode_condition <- function(condition, n, spec = NULL, arg = "condition") {
  if (is.null(condition) && is.null(spec)) return(list(code = matrix(0, n, 0)))
  if (is.null(condition)) {
    abort_arg(arg, "be given: the model has one", "NULL")
  }
  if (is.character(condition)) {
    condition <- if (is.null(spec$levels)) factor(condition) else
      given_levels(condition, spec, arg)
  }
  code <- if (is.factor(condition)) factor_code(condition, spec, arg) else
    number_code(condition, arg)
  if (nrow(code) != n) {
    abort_arg(arg, sprintf("have a value for each of the %d rows", n), nrow(code))
  }
  if (!ncol(code)) {
    if (is.factor(condition)) abort_arg(arg, "have levels", "a factor without any")
    abort_arg(arg, "have at least 1 column", 0)
  }
  if (anyNA(code) || any(abs(code) > 1e18)) {
    abort_arg(arg, "have finite numbers of the order of 1 and no missing values")
  }
  found <- list(levels = if (is.factor(condition)) levels(condition),
                names = colnames(code), columns = ncol(code))
  if (is.null(spec)) return(list(code = code, spec = found))
  if (is.null(spec$levels) != is.null(found$levels) || spec$columns != found$columns) {
    abort_arg(arg, paste("be", if (is.null(spec$levels))
      sprintf("numbers with %d columns", spec$columns) else "a factor",
      "as the model was fitted with"), describe(condition))
  }
  list(code = named_columns(code, spec, arg), spec = spec)
}

# The condition is not scaled as x is.
warn_of_large <- function(given) {
  largest <- max(abs(given$code), 0)
  if (largest > 100) {
    warning("`condition` holds numbers as large as ", format(largest, digits = 3), ". Networks ",
            "learn from numbers of the order of 1: scale it, or give a factor.", call. = FALSE)
  }
}

# One value for all n.
repeat_condition <- function(condition, n) {
  one <- (is.atomic(condition) || is.data.frame(condition)) && NROW(condition) == 1
  if (one) some(condition, rep(1, n)) else condition
}

# Columns by their names, where they have any.
named_columns <- function(code, spec, arg) {
  names <- colnames(code)
  if (is.null(names) || is.null(spec$names) || identical(names, spec$names)) return(code)
  if (anyDuplicated(names) || !setequal(names, spec$names)) {
    abort_arg(arg, paste("have the columns", paste(dQuote(spec$names, FALSE), collapse = ", ")),
              paste(dQuote(names, FALSE), collapse = ", "))
  }
  code[, spec$names, drop = FALSE]
}

given_levels <- function(condition, spec, arg) {
  unknown <- setdiff(condition, spec$levels)
  if (length(unknown)) {
    abort_arg(arg, paste("have the values", paste(dQuote(spec$levels, FALSE),
                                                  collapse = ", ")),
              if (is.na(unknown[1])) "NA" else dQuote(unknown[1], FALSE))
  }
  factor(condition, spec$levels)
}

# One column of zeros and ones for each level.
factor_code <- function(condition, spec, arg) {
  if (!is.null(spec$levels)) {
    condition <- given_levels(as.character(condition), spec, arg)
  }
  code <- matrix(0, length(condition), nlevels(condition),
                 dimnames = list(NULL, levels(condition)))
  code[cbind(seq_along(condition), as.integer(condition))] <- 1
  code[is.na(condition), ] <- NA
  code
}

number_code <- function(condition, arg) {
  if (is.data.frame(condition)) condition <- as_data_matrix(condition, arg)
  ok <- (is.numeric(condition) || is.logical(condition)) && !is.object(condition)
  if (!ok) {
    abort_arg(arg, "be a factor, characters, or a numeric vector, matrix or data frame",
              describe(condition))
  }
  if (is.null(dim(condition))) condition <- matrix(condition)
  storage.mode(condition) <- "double"
  condition
}

# ---- start and end -------------------------------------------------------

start_vae <- function(problem) {
  asked <- problem$asked
  linear <- problem$linear$solution
  sigma2 <- if (!is.null(asked$sigma2)) asked$sigma2 / problem$u^2 else
    if (!asked$learn_sigma2) 1 / problem$u^2 else
      if (is.null(linear)) problem$spread else linear$sigma2
  sigma2 <- pmax(sigma2, problem$floor)
  theta <- vae_initial(problem$layout, log(sigma2), if (asked$start == "linear") linear)
  theta <- as_floats(theta)
  none <- raw(length(theta))
  list(theta = theta, m = none, v = if (asked$optimizer == "adam") none else raw(0),
       steps = 0, epoch = 0L, key = sample.int(.Machine$integer.max, 2L), best = NULL,
       peak = NULL, idle = 0L)
}

# Steps over which the learning rate rises to its value: Adam's first steps have the size
# of the rate whatever the gradient, and would undo a good start.
WARM_STEPS <- 100

# The settings of src/r_vae.c.
vae_settings <- function(asked, control, noise, key, epoch = 1L, samples = control$samples,
                         batch = control$batch_size) {
  list(beta = scheduled(asked$beta, epoch), free_bits = asked$free_bits,
       floor = log(noise$floor), square = noise$square, samples = as.integer(samples),
       batch = as.integer(batch), key = key, threads = 0L,
       optimiser = match(asked$optimizer, c("adam", "sgd")) - 1L,
       learning_rate = scheduled(control$learning_rate, epoch),
       momentum = control$momentum, clip = control$clip,
       weight_decay = control$weight_decay, follow = 0, noise_rate = control$sigma2_rate,
       warm = WARM_STEPS)
}

# Of the noise variances, one number or one a feature: the least, in core units, and the
# square of the units relative to the largest unit, in which their mean is taken.
noise_scale <- function(floor, u) list(floor = floor, square = (u / max(u))^2)

# Batches in which data are evaluated, and samples with them.
evaluation_batch <- function(samples) max(1L, 512L %/% samples)

# Terms of the ELBO of data (core floats), one row each, as the model with weights theta
# has them.
evaluate_vae <- function(problem, theta, data, key, samples = 1L) {
  settings <- vae_settings(problem$asked, problem$control,
                           noise_scale(problem$floor, problem$u), key, samples = samples,
                           batch = evaluation_batch(samples))
  core_vae_evaluate(problem$shape, data, theta, settings)
}

# The noise variance of weights theta, one number or one a feature.
noise_of <- function(problem, theta, mean_s2) {
  if (problem$asked$noise == "network") return(mean_s2 * max(problem$u)^2)
  log_s2 <- from_floats(theta[noise_bytes(problem$layout)])
  pmax(exp(log_s2), problem$floor) * problem$u^2
}

# Where the log of the noise variance is in the weights as raw floats.
noise_bytes <- function(layout) {
  l <- layout[layout$name == "log_sigma2", ]
  4 * l$offset + seq_len(4 * l$size)
}

# Weights theta (raw floats) with another noise variance, likewise in core units.
set_noise <- function(object, theta, s2) {
  theta[noise_bytes(object$layout)] <- as_floats(log(unname(s2)))
  theta
}

# The fit as it is after an epoch, with the terms that the epoch met.
new_vae <- function(problem, run) {
  state <- run$state
  asked <- problem$asked
  theta <- if (is.null(run$theta)) state$theta else run$theta
  latent <- paste0("z", seq_len(asked$k))
  terms <- run$terms
  sigma2 <- noise_of(problem, theta, terms$s2)
  if (!asked$learn_sigma2 && asked$noise != "network") {
    sigma2 <- rep_len(if (is.null(asked$sigma2)) 1 else asked$sigma2, length(sigma2))
  }
  structure(
    list(
      call = problem$call,
      elbo = terms$reconstruction - terms$kl + terms$jacobian,
      reconstruction = terms$reconstruction, kl = terms$kl,
      log_jacobian = terms$jacobian,
      kl_dimensions = if (!is.null(terms$kl_dimensions))
        structure(terms$kl_dimensions, names = latent),
      sigma2 = if (length(sigma2) > 1) structure(sigma2, names = problem$features) else
        sigma2,
      sigma2_min = problem$floor * problem$u^2, linear = problem$linear[SHOWN_OF_LINEAR],
      floored = terms$floored,
      beta = if (run$best_epoch == 0) last(asked$beta) else scheduled(asked$beta, run$best_epoch),
      mean = structure(problem$means, names = problem$features),
      history = run$history, iterations = state$epoch, best_epoch = run$best_epoch,
      converged = run$converged, stopped = run$outcome,
      search = if (is.list(problem$control$search)) problem$control$search,
      n = problem$n, p = problem$p, k = asked$k, observed = sum(problem$count),
      df = df_vae(problem), noise = asked$noise, fixed = !asked$learn_sigma2,
      optimizer = asked$optimizer, shape = problem$shape, layout = problem$layout,
      theta = theta, state = state,
      shift = problem$mu, unit = problem$unit, u = problem$u,
      scale = if (problem$scaled) structure(problem$sd, names = problem$features),
      transform = asked$transform, features = problem$features, terms = problem$terms,
      condition = problem$condition, held_out = problem$held_out,
      arguments = asked,
      control = kept_settings(problem$control), given = kept_settings(problem$given),
      noise_seed = problem$noise_seed,
      validation_seed = problem$validation$noise_seed, fingerprint = problem$fingerprint
    ),
    class = "vae"
  )
}

# Settings that a fit keeps.
kept_settings <- function(control) {
  unclass(control)[setdiff(names(control), c("resume", "callback", "shown", "search", "asked"))]
}

# The noise variance that suits the validation rows best: their mean squared error. NULL
# where there are none or where it is the decoder's.
validation_noise <- function(problem, fit) {
  held <- problem$validation
  if (is.null(held) || fit$noise == "network" || !sum(held$count)) return(NULL)
  out <- evaluate_vae(problem, fit$theta, held$data, fit$state$key,
                      validation_samples(held$data$n))
  error <- out$error * problem$u^2
  if (fit$noise == "shared") return(sum(error) / sum(held$count))
  structure(ifelse(held$count > 0, error / held$count, NA), names = problem$features)
}

# The log-Jacobian per observation: of the noise that the terms met, where it is new.
jacobian_of <- function(problem, terms) {
  if (is.null(problem$data$pixels)) problem$jacobian else terms$jacobian
}

# Parameters that were trained, and scales that were estimated.
df_vae <- function(problem) {
  layout <- problem$layout
  sum(layout$size) + isTRUE(problem$asked$scale) * problem$p -
    (!problem$asked$learn_sigma2) * layout$size[layout$name == "log_sigma2"]
}

# The fit with the terms that its weights have on all rows.
finish_vae <- function(problem, run) {
  out <- run$evaluated
  run$terms <- if (is.null(out)) terms_of_epoch(problem, run$history, run$best_epoch) else
    list(reconstruction = out$terms$reconstruction + problem$units,
         kl = out$terms$kl, s2 = out$terms$s2,
         floored = out$terms$floored,
         kl_dimensions = out$kl_dimensions, jacobian = jacobian_of(problem, out$terms))
  fit <- new_vae(problem, run)
  fit$validation_sigma2 <- validation_noise(problem, fit)
  if (isTRUE(fit$floored > 0) && problem$asked$learn_sigma2) {
    warning(sprintf("The noise variance is at its least value, sigma2_min = %s, in %.3g %% of ",
                    format_range(fit$sigma2_min, 3), 100 * fit$floored),
            "the cells. With a smaller `sigma2_min` the ELBO is higher, without bound where ",
            "features hardly vary: these may be left out. Where features differ in scale use ",
            "`scale = TRUE` or `noise = \"feature\"`. Compare models only at the same ",
            "`sigma2_min`.", call. = FALSE)
  }
  warn_of_warmup(fit)
  fit
}

# With another weight of the KL to the end the fit is not the model that was asked for.
warn_of_warmup <- function(fit) {
  beta <- fit$arguments$given$beta
  warm <- if (is.null(beta)) 0L else changing_epochs(beta)
  if (warm == 0 || fit$stopped != "limit" || fit$iterations > warm) return()
  warn_of_schedule(beta, fit$iterations)
}

# After `made` epochs or rounds, as many as the argument `limit` allowed.
warn_of_schedule <- function(beta, made, limit = "epochs") {
  warm <- changing_epochs(beta)
  warning(sprintf(paste("The final weight of the KL, `beta` = %s, was never reached: the run ended",
                        "after %d of the %d %s before it. Give `%s` of %d or more, or a shorter",
                        "schedule."),
                  format(last(beta)), made, warm, c(epochs = "epochs", maxit = "rounds")[[limit]],
                  limit, warm + 1L), call. = FALSE)
}
