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
#' a random start. In long runs the random start catches up: on 60,000 digits after 85 epochs of
#' 512-256 it had -1030.2 for the test digits and the linear start -1027.3, but after 200 epochs of
#' 1024-512 -1005.0 for the digits trained on, and the linear start -1033.3.
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
#' one, and is then what is kept); it waits until `beta` has its last value or, in a search on rows
#' set aside, twice as long where their ELBO is falling and three standard errors below its best.
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
# would follow them, and dimensions would collapse (20,000 digits, 60 epochs: the ELBO of other
# digits is -1120.7 against -1091.2, with 51 active dimensions against 93).
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

# ---- start and end -------------------------------------------------------

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

# ---- update and resume ---------------------------------------------------

#' Refit a deep VAE, or continue its training
#'
#' With `epochs`, training goes on up to that many epochs in all, bit for bit as if it had
#' never stopped; where `patience` had stopped it, patience begins anew. It goes on with the
#' settings that the fit had, those that the model chose included: a learning rate or weight of
#' the KL that fell to its last value stays there. A fit does not keep callbacks: it goes on
#' without them.
#' Other arguments change the call, as [stats::update()] does, and fit anew with the settings
#' as they were given: a number of epochs that was found on rows set aside is found again.
#' The data, a condition and validation data are those in the fit (`keep_data = TRUE`) or are
#' looked up under the names used in the call.
#'
#' @param object a fitted [vae()] model.
#' @param ... arguments of [vae()] to change, by name; for a fit by a formula a first one
#'   without a name is a change of that, such as `~ . - a`.
#' @param epochs total number of epochs, those already made included.
#' @return A fitted model.
#' @examples
#' x <- mnist1000$x[1:200, ] / 255
#' fit <- vae(x, k = 3, encoder = 32, epochs = 5, batch_size = 50)
#' fit <- update(fit, epochs = 8)
#' fit$iterations
#' @export
update.vae <- function(object, ..., epochs = NULL) {
  changed <- changed_arguments(object, match.call(expand.dots = FALSE)$..., parent.frame())
  check_limits_once(changed, list(epochs = epochs))
  goes_on <- !length(changed) && !is.null(epochs)
  settings <- if (goes_on) object$control else object$given
  if (!is.null(epochs)) settings$epochs <- check_count(epochs, "epochs")
  if (goes_on && is_finished(object, settings$epochs)) return(object)
  control <- structure(settings, class = "train_control")
  shown <- if (!is.null(epochs)) shown_epochs(object, settings, goes_on)
  if (goes_on) {
    if (is_beta_chosen(object)) object$arguments$given$beta <- object$arguments$beta
    if (isTRUE(object$converged)) object$state$idle <- 0L      # patience begins anew
    control$resume <- object
  }
  refit(as_given(object), changed, vae, control, shown, parent.frame())
}

# Rate and weight of the KL go on as they ended: the call that makes the fit has the schedules
# of the epochs that were first asked for.
shown_epochs <- function(object, settings, goes_on) {
  asked <- list(epochs = settings$epochs)
  if (!goes_on) return(shown_settings(object, vae, asked))
  control <- object$call$control
  given <- c(names(object$call), if (is_literal_control(control)) names(match.call(
    train_control, control)) else if (!is.null(control)) names(Filter(length, object$given)))
  if (!"learning_rate" %in% given) {
    asked$learning_rate <- call("schedule_cosine", length(settings$learning_rate),
                                settings$learning_rate[1])
  }
  if (!"patience" %in% given) asked$patience <- settings$patience      # that vae() chose
  c(shown_settings(object, vae, asked), if (is_beta_chosen(object))
    list(beta = beta_call(length(object$arguments$beta) - 1L)))
}

# Whether vae() chose the weights of the KL for the number of epochs.
is_beta_chosen <- function(object) {
  is.null(object$arguments$given$beta) && object$arguments$start == "linear"
}

# vae(resume = ): `call` is the user's, `values` those of its other arguments.
resume_vae <- function(path, call, values, control, direct, env) {
  fit <- read_checkpoint(path, is_whole_vae)
  check_same_model(fit, values)
  settings <- fit$control
  if (!is.null(control)) {
    free <- c("patience", "checkpoint", "every", "threads", "callback", "progress")
    settings[free] <- unclass(control)[free]
  }
  check_same_steps(fit, direct)
  epochs <- if (is.null(direct$epochs)) control$epochs else direct$epochs
  if (!is.null(epochs)) settings$epochs <- check_count(epochs, "epochs")
  formula <- if ("x" %in% names(values)) inherits(values$x, "formula") else
    !is.null(fit$terms)
  if (!is.null(values$data) && !formula) {
    abort_arg("data", "be NULL where `x` is not a formula", describe(values$data))
  }
  given <- names(values)[!vapply(values, is.null, NA)]
  changed <- as.list(call)[intersect(given, c("x", "condition", "validation", "data"))]
  settled <- isTRUE(fit$converged) && identical(settings$patience, fit$control$patience)
  finished <- is_finished(fit, if (settled) 0 else settings$epochs)
  if (finished && length(changed) == 0) return(fit)      # else the data are compared first
  settings <- structure(settings, class = "train_control")
  settings$resume <- fit
  shown <- if (!is.null(epochs)) shown_epochs(fit, settings, TRUE)
  refit(as_given(fit), changed, vae, settings, shown, env)
}

# Whether an object can be a fit whose training goes on.
is_whole_vae <- function(fit) {
  whole <- inherits(fit, "vae") && is.list(fit) && is.list(fit$shape) &&
    is.list(fit$state) && is.raw(fit$theta) && is.list(fit$control) &&
    (is.null(fit$history) || is.data.frame(fit$history))
  size <- if (whole) tryCatch(sum(vae_layout(fit$shape)$size), error = function(e) NULL)
  !is.null(size) && length(fit$theta) == 4 * size && length(fit$state$theta) == 4 * size &&
    length(fit$state$m) == 4 * size
}

# Whether all epochs were made, and the ELBO at the end computed.
is_finished <- function(fit, epochs) {
  fit$iterations >= epochs && !is.null(fit$kl_dimensions)
}

# The fit with its arguments as the user gave them: of some the fit has what they led to.
as_given <- function(fit) {
  chosen <- c("encoder", "decoder", "sigma2_update", "beta", "given")
  fit$arguments <- c(fit$arguments[setdiff(names(fit$arguments), chosen)],
                     fit$arguments$given)
  if (!is.null(fit$kept_condition)) fit$arguments$condition <- fit$kept_condition
  if (!is.null(fit$kept_validation)) fit$arguments$validation <- fit$kept_validation
  if (!is.null(fit$x) && !is.null(fit$terms)) attr(fit$x, "elbo_terms") <- fit$terms
  fit
}

# Arguments that are given along with a checkpoint must be those that it was made with.
check_same_model <- function(fit, given) {
  fixed <- c(names(fit$arguments), "activation")
  if ("validation" %in% names(given) && is.null(given$validation)) given$validation <- 0
  if (!is_number(given$validation)) fixed <- setdiff(fixed, "validation")     # data may change
  for (name in intersect(names(given), fixed)) {
    if (!same_argument(name, given[[name]], fit, given)) {
      abort_arg(name, "be what the checkpoint was made with, or be left out")
    }
  }
}

# So must the batches and the rate.
check_same_steps <- function(fit, given) {
  if (!is.null(given$batch_size)) given$batch_size <- min(given$batch_size, fit$n)
  for (name in c("batch_size", "learning_rate")) {
    if (!is.null(given[[name]]) && !isTRUE(all.equal(given[[name]], fit$control[[name]]))) {
      abort_arg(name, "be what the checkpoint was made with, or be left out")
    }
  }
}

same_argument <- function(name, value, fit, given) {
  made <- fit$arguments[[name]]
  if (name == "beta" && is.null(value)) return(is.null(fit$arguments$given$beta))
  if (name == "activation") {
    if (any(c("encoder", "decoder") %in% names(given))) return(TRUE)    # it is in those
    used <- c(layer_activations(fit$arguments$encoder),
              layer_activations(fit$arguments$decoder))
    return(all(ACTIVATIONS[used + 1L] == check_choice(value, name, ACTIVATIONS)))
  }
  if (name %in% c("encoder", "decoder")) {
    layers <- check_layers(value, name, if (is.null(given$activation)) "relu" else
      given$activation)
    # a width says nothing of the activation
    silent <- is.numeric(value) && is.null(given$activation)
    return(if (silent) identical(layer_units(layers), layer_units(made)) else
      identical(layers, made))
  }
  if (name == "k") value <- check_count(value, "k", 1, 2^24)
  if (is.character(made) && is.character(value) && length(value) == 1) {
    value <- if (isTRUE(startsWith(made, value))) made else value
  }
  if (!is.null(names(made)) && setequal(names(value), names(made))) value <- value[names(made)]
  if (is.numeric(made) && is.numeric(value)) return(isTRUE(all.equal(
    as.double(made), as.double(value), tolerance = 0)))
  identical(value, made)
}
