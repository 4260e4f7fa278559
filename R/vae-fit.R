# The object that a deep VAE is, made from a state of training; and the settings that the core
# takes.

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

# Samples of z for each of n rows with which a fit is evaluated at the end: with few rows
# one would leave an error that shows.
final_samples <- function(n) as.integer(max(1, min(100, 10000 %/% n)))

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

with_kept_data <- function(fit, problem) {
  fit[names(problem$kept)] <- problem$kept
  fit
}

# The terms that the steps of an epoch met, where the ELBO of its weights is not known.
terms_of_epoch <- function(problem, history, epoch) {
  row <- as.list(history)[c("elbo", "reconstruction", "kl", "sigma2")]
  row <- lapply(row, function(x) if (is.null(x)) NA_real_ else x[match(epoch, history$epoch)])
  list(reconstruction = row$reconstruction, kl = row$kl,
       s2 = row$sigma2 / max(problem$u)^2, floored = NA,
       jacobian = row$elbo - row$reconstruction + row$kl)
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
