#' Linear variational autoencoder
#'
#' Fits the linear VAE of Lucas et al. (2019, eq. 9),
#' p(x | z) = N(W z + mu, sigma2 I), q(z | x) = N(V (x - mu), D), z of `k`
#' dimensions with prior N(0, I) and D diagonal and shared by all observations,
#' by maximising the evidence lower bound (ELBO). Its generative model is that of
#' [ppca()]; the ELBO makes its latent dimensions the principal components
#' themselves, and everything about its optima, and about posterior collapse, can
#' be computed. The result is therefore also a `ppca` object:
#' [logLik()][logLik.ppca] is its exact marginal log-likelihood.
#'
#' @details
#' With S the covariance matrix (divisor n) the ELBO per observation is
#' reconstruction - KL, where
#' KL = 1/2 (tr D - log|D| + tr(V S V') - k) and
#' reconstruction = -1/(2 sigma2) (tr S - 2 tr(W V S) + tr(W'W V S V') +
#' tr(W'W D)) - p/2 log(2 pi sigma2). What is maximised is
#' reconstruction - `beta` KL.
#'
#' **The analytic ELBO** (`elbo = "analytic"`) depends on the data through S
#' alone. It takes one pass over `x`, after which the cost of a step does not
#' depend on n. Where n < p, or p > 5000, S is not formed: each step then works
#' from `x` at the cost of a pass (4 n p k operations).
#' **The stochastic ELBO** draws z for each observation and step
#' (`samples` in [train_control()]), as VAEs are usually trained.
#'
#' **Optimisers.**
#' * `"em"`: coordinate ascent by the stationary equations, with
#'   s = beta sigma2: V = (W'W + s I)^-1 W', D = s (diag(W'W) + s)^-1,
#'   W = S V' (V S V' + D)^-1, and sigma2 the expected squared error over p.
#'   Before each round W is rotated so that W'W is diagonal: the likelihood stays,
#'   and the ELBO rises (the finite form of the proof of Theorem 1). Accelerated,
#'   and the objective never falls.
#' * `"lbfgs"`: R's L-BFGS-B on the objective as a function of W and log sigma2,
#'   with V and D at their best for these.
#' * `"adam"`: gradient ascent on W, V, log D and log sigma2 at once, full batch or
#'   in mini-batches, as in the paper. The one for the stochastic ELBO.
#' * `"exact"`: the global maximum from the eigenvalues lambda and eigenvectors U
#'   of S, for any `beta`: W = U (Lambda - s I)^(1/2), V = Lambda^-1 W',
#'   D = s Lambda^-1 where lambda_j > s. The other dimensions are collapsed: W
#'   and V are 0 and D is 1. With q dimensions in use a learned sigma2 is
#'   (tr S - lambda_1 - ... - lambda_q) / (p - beta q).
#'
#' At the global maximum with `beta = 1` the ELBO is the log-likelihood (Lemma 1)
#' and the columns of W are the scaled principal components (Corollary 1).
#' Columns are in order of decreasing length, their largest entry positive, where
#' the optimiser is `"exact"` or `"em"` with rotation, and as they were found
#' otherwise.
#'
#' Data must be complete: V needs all features. [impute()] fills cells by the
#' generative model, and [ppca()] fits data with missing cells.
#'
#' @inheritParams ppca
#' @param k number of latent dimensions, from 1 to p - 1, and below the rank of
#'   the centred data where `sigma2` is learned.
#' @param elbo `"analytic"`: the ELBO in closed form; `"stochastic"`: estimated
#'   from samples of z, with `optimizer = "adam"`.
#' @param optimizer see Details. With `elbo = "stochastic"`, `"adam"` unless
#'   given.
#' @param sigma2 noise variance to start from; that of `start`, if that is given
#'   and `sigma2` is not.
#'   A noise variance that is learned starts at no more than the variance per feature,
#'   tr S / p, except with `"adam"`.
#' @param learn_sigma2 `FALSE` to keep `sigma2`.
#' @param beta weight of the KL term: a positive number, or a schedule, one
#'   number for each step (round of `"em"`, epoch of `"adam"`), the last of which
#'   is kept from then on: KL annealing.
#' @param start `NULL` or `"random"` for random values from R's generator;
#'   `"pca"` for the principal components, each as long as its standard
#'   deviation; a fitted [ppca()] or `linear_vae()` model; or a list with
#'   `loadings` (p x k) and, if wanted, `V` (k x p), `D` (k) and `sigma2`. V and
#'   D that are not given start at their best for the loadings. For the
#'   optimisers but `"adam"` V and D follow from W.
#' @param epochs,batch_size,learning_rate for `"adam"`: number of epochs, rows a step (`Inf`
#'   for all) and learning rate, a number or one for each epoch; they count for more than
#'   those of `control`. Where they are `NULL` there, too, 1,000 epochs of all rows at 0.001.
#' @param control other settings, from [train_control()].
#'
#' @return An object of class `linear_vae`, which inherits from `ppca`: plain
#'   data with
#'   \item{loadings}{W, p x k.}
#'   \item{V, D}{the encoder, k x p, and the variances of q, length k.}
#'   \item{mean, sigma2}{mu, length p, and the noise variance.}
#'   \item{elbo, reconstruction, kl}{per observation, in nats, exact whatever it
#'     was trained with; on the scale of the data.
#'     elbo = reconstruction - kl + log_jacobian.}
#'   \item{log_jacobian}{of the `transform`, per observation; 0 without.}
#'   \item{kl_dimensions}{KL of each latent dimension, mean over observations.}
#'   \item{loglik}{total log-likelihood of the marginal N(mu, WW' + sigma2 I).}
#'   \item{beta}{weight of the KL at the end.}
#'   \item{values, trace}{known eigenvalues of S, and tr S.}
#'   \item{scores}{means of q for the rows of x, n x k.}
#'   \item{history}{data frame, a row for each step: `iteration`, `objective`
#'     (reconstruction - beta kl), `elbo`, `reconstruction`, `kl`, `sigma2`,
#'     `beta`. For `"adam"` the terms are those that the steps of the epoch met,
#'     so estimates where these are.}
#'   \item{converged, iterations}{whether and after how many rounds (`"em"`),
#'     evaluations (`"lbfgs"`) or epochs (`"adam"`, for which `converged` is
#'     `NA`).}
#'   \item{seconds}{how long it took, on the clock.}
#'   \item{n, p, k, df, optimizer, objective, moments, state, ...}{sizes, settings,
#'     and what is needed to go on.}
#' @seealso [elbo()], [posterior_collapse()], [stability()], [tune_sigma2()],
#'   [alignment()], [as_linear_vae()], [plot()][plot.linear_vae],
#'   [update()][update.linear_vae].
#' @references Lucas, J., Tucker, G., Grosse, R. and Norouzi, M. (2019). Don't
#'   blame the ELBO! A linear VAE perspective on posterior collapse. *Advances in
#'   Neural Information Processing Systems* 32.
#'   \doi{10.48550/arXiv.1911.02469}
#' @examples
#' x <- mnist1000$x / 255
#' fit <- linear_vae(x, k = 10)
#' fit
#' # Lemma 1: the ELBO reaches the likelihood of probabilistic PCA
#' c(elbo = fit$elbo, loglik = as.numeric(logLik(ppca(x, k = 10))) / 1000)
#'
#' # too much noise, and the last dimensions collapse
#' noisy <- linear_vae(x, k = 10, sigma2 = 2, learn_sigma2 = FALSE,
#'                     optimizer = "exact")
#' round(noisy$kl_dimensions, 3)
#' @export
linear_vae <- function(x, k, ...) UseMethod("linear_vae")

#' @rdname linear_vae
#' @export
linear_vae.default <- function(x, k, elbo = c("analytic", "stochastic"),
                               optimizer = c("em", "adam", "lbfgs", "exact"),
                               sigma2 = 1, learn_sigma2 = TRUE, beta = 1,
                               start = NULL, center = TRUE, scale = FALSE,
                               transform = NULL, epochs = NULL, batch_size = NULL,
                               learning_rate = NULL, control = train_control(),
                               keep_data = FALSE, ...) {
  check_dots_empty(...)
  call <- generic_call(match.call(), "linear_vae")
  direct <- list(epochs = epochs, batch_size = batch_size, learning_rate = learning_rate)
  control <- with_direct(check_train_control(control), direct)
  elbo <- check_choice(elbo, "elbo", c("analytic", "stochastic"))
  if (missing(optimizer) && elbo == "stochastic") optimizer <- "adam"
  if (missing(sigma2) && is.list(start) && !is.null(start$sigma2)) sigma2 <- start$sigma2
  raw <- as_data_matrix(x)
  check_shape(raw)
  asked <- list(
    k = check_rank_argument(k, ncol(raw)), elbo = elbo,
    optimizer = check_choice(optimizer, "optimizer", c("em", "adam", "lbfgs", "exact")),
    sigma2 = check_number(sigma2, "sigma2", 0, open = TRUE),
    learn_sigma2 = check_flag(learn_sigma2, "learn_sigma2"),
    beta = check_schedule(beta, "beta", "a positive number", "step"),
    center = check_vector_or_flag(center, "center", raw),
    scale = check_vector_or_flag(scale, "scale", raw, positive = TRUE),
    transform = check_dense_transform(transform, raw),
    keep_data = check_flag(keep_data, "keep_data")
  )
  check_optimizer(asked, names(Filter(length, direct)))
  fit_linear_vae(raw, asked, start, linear_defaults(control), call)
}

#' @rdname linear_vae
#' @export
linear_vae.formula <- function(x, k, data = NULL, ...) {
  fit_formula(x, k, data, linear_vae.default, generic_call(match.call(), "linear_vae"),
              ...)
}

is_start_model <- function(start) inherits(start, "ppca")

# `of_steps`: arguments that were given and count only where gradients are followed.
check_optimizer <- function(asked, of_steps) {
  if (length(of_steps) && asked$optimizer != "adam") {
    abort_arg(of_steps[1], sprintf(paste("be left out for optimizer = \"%s\", which",
                                         "`maxit` and `tol` of `control` govern"),
                                   asked$optimizer), "given")
  }
  if (asked$elbo == "stochastic" && asked$optimizer != "adam") {
    abort_arg("optimizer", "be \"adam\" for the stochastic ELBO",
              dQuote(asked$optimizer, FALSE))
  }
  if (length(asked$beta) > 1 && asked$optimizer %in% c("lbfgs", "exact")) {
    abort_arg("beta", sprintf("be one number for optimizer = \"%s\"", asked$optimizer),
              "a schedule")
  }
}

fit_linear_vae <- function(raw, asked, start, control, call) {
  began <- clock()
  before <- use_threads(control)
  on.exit(options(before))
  resume <- control$resume
  check_vae_start(start, ncol(raw), asked$k)
  check_resume(resume, raw)
  data <- covariance_data(raw, asked, form = asked$optimizer != "exact",
                          noise = resume$noise_seed)
  if (asked$learn_sigma2 && asked$k >= min(data$n - data$centred, data$p)) {
    stop_rank(data, asked$k)
  }
  at <- if (!is.null(resume)) core_theta(resume, data$u)
  if (is.null(at) && asked$optimizer != "exact") at <- start_theta(start, data, asked)
  solution <- switch(asked$optimizer,
    exact = solve_vae_exact(data, asked),
    em = solve_vae_em(data, asked, control, at, given = !is.null(start)),
    lbfgs = solve_vae_lbfgs(data, asked, control, at),
    adam = solve_vae_adam(data, asked, control, at)
  )
  fit <- new_linear_vae(solution, data, asked, control, call)
  fit$history <- whole_history(resume, fit$history)
  fit$seconds <- seconds_since(began, resume)
  if (asked$keep_data) fit$x <- raw
  if (fit$beta != last(asked$beta)) {
    warn_of_schedule(asked$beta, fit$iterations, if (asked$optimizer == "adam") "epochs" else
      "maxit")
  }
  fit
}

# ---- starting values -----------------------------------------------------

check_vae_start <- function(start, p, k) {
  if (is.null(start) || identical(start, "random") || identical(start, "pca")) return()
  if (is_start_model(start)) return(check_start(start, p, k))
  if (!is.list(start) || is.object(start) || is.null(start$loadings)) {
    abort_arg("start", "be NULL, \"random\", \"pca\", a fitted model or a list with `loadings`",
              describe(start))
  }
  unknown <- setdiff(names(start), c("loadings", "V", "D", "sigma2"))
  if (length(unknown)) {
    abort_arg("start", "hold `loadings`, `V`, `D` and `sigma2` only",
              dQuote(unknown[1], FALSE))
  }
  check_start_matrix(start$loadings, "start$loadings", p, k)
  if (!is.null(start$V)) check_start_matrix(start$V, "start$V", k, p)
  ok <- is.null(start$D) || (is.numeric(start$D) && length(start$D) == k &&
                               all(is.finite(start$D)) && all(start$D > 0))
  if (!ok) {
    abort_arg("start$D", sprintf("be %d positive numbers", k), describe(start$D))
  }
}

# list(w, vt, d, sigma2) in core units.
start_theta <- function(start, data, asked) {
  p <- data$p
  k <- asked$k
  sigma2 <- asked$sigma2 / data$u^2
  # More noise than there is variance would shrink W to the saddle point at 0, from
  # where the way up is long.
  if (asked$learn_sigma2 && asked$optimizer != "adam") {
    sigma2 <- min(sigma2, data$trace / p)
  }
  s <- scheduled(asked$beta, 1) * sigma2
  if (is.null(start) || identical(start, "random")) {
    draw <- function(sd) matrix(stats::rnorm(p * k, sd = sd), p, k)
    return(list(w = draw(sqrt(data$trace / (2 * p * k))),
                vt = draw(sqrt(1 / data$trace)), d = rep(1, k), sigma2 = sigma2))
  }
  if (identical(start, "pca")) {
    eigen <- pad_eigen(data_eigen(data, min(k, data$n)), p, k)
    w <- eigen$vectors * rep(sqrt(eigen$values[seq_len(k)]), each = p)
    return(c(list(w = w, sigma2 = sigma2), best_encoder(w, s)))
  }
  w <- unname(start$loadings) / data$u
  storage.mode(w) <- "double"
  best <- best_encoder(w, s)
  list(w = w, sigma2 = sigma2,
       vt = if (is.null(start$V)) best$vt else t(unname(start$V)) * data$u,
       d = if (is.null(start$D)) best$d else as.double(unname(start$D)))
}

# The parameters of a fit in core units.
core_theta <- function(fit, u) {
  list(w = unname(fit$loadings) / u, vt = t(unname(fit$V)) * u, d = unname(fit$D),
       sigma2 = fit$sigma2 / u^2)
}

# ---- exact ---------------------------------------------------------------

solve_vae_exact <- function(data, asked) {
  k <- asked$k
  eigen <- data_eigen(data, min(k, data$n))
  if (asked$learn_sigma2) check_rank(eigen, data, k)
  eigen <- pad_eigen(eigen, data$p, k)
  lambda <- eigen$values[seq_len(k)]
  sigma2 <- if (asked$learn_sigma2) {
    core_lvae_noise(lambda, data$p, eigen$trace, asked$beta)
  } else {
    asked$sigma2 / data$u^2
  }
  s <- asked$beta * sigma2
  best <- solve_ppca(eigen, k, s * data$u^2, data$u)
  used <- seq_len(k) <= best$used
  gain <- ifelse(used, lambda - s, 0)               # W'W
  scale <- ifelse(used, lambda, 1)
  list(w = best$w, vt = best$w / rep(scale, each = data$p), d = ifelse(used, s / scale, 1),
       sigma2 = sigma2, beta = asked$beta, values = eigen$values,
       scores = scores_along(eigen, list(w = best$w, sigma2 = s, used = best$used)),
       moments = list(ww = diag(gain, k), wsw = diag(gain * lambda, k),
                      wsv = diag(gain, k), vsv = diag(gain / scale, k)),
       converged = TRUE, iterations = 0L)
}

# ---- coordinate ascent ---------------------------------------------------

solve_vae_em <- function(data, asked, control, at, given) {
  beta <- asked$beta
  done <- done_before(control)
  map <- ascent_map(data, asked, control, scheduled(beta, done + 1))
  first <- evaluate_state(map, list(w = at$w, mu = numeric(0), sigma2 = at$sigma2))
  if (is.null(first)) if (given) stop_start("ELBO") else stop_rank(data, asked$k)
  run <- iterate(
    first, ascent_step(data, asked, control, done), control,
    settled = function(old, new, done) {
      done >= length(beta) &&
        abs(new$loglik - old$loglik) < control$tol * max(1, abs(new$loglik))
    },
    record = function(state) {
      vae_row(state$extra$terms, state$sigma2, state$extra$beta)
    },
    words = list(name = "Coordinate ascent", unit = "round", argument = "maxit"),
    done = done
  )
  end <- run$state
  check_vae_noise(end$sigma2, data, asked)
  w <- if (control$rotate) core_canonical(end$w) else end$w
  c(list(w = w, sigma2 = end$sigma2, beta = end$extra$beta),
    best_encoder(w, end$extra$beta * end$sigma2),
    run[c("converged", "iterations", "history")])
}

# One round as a map of list(w, sigma2); the objective that it starts from is called
# loglik, as evaluate_state() and the accelerations want it.
ascent_map <- function(data, asked, control, beta) {
  function(at) {
    to <- attempt(core_lvae_ascend(data, at$w, at$sigma2, beta, control$rotate,
                                   !asked$learn_sigma2))
    objective <- to$terms$reconstruction - beta * to$terms$kl
    if (!isTRUE(is.finite(objective))) return(NULL)
    list(w = to$w, mu = at$mu, sigma2 = to$sigma2, loglik = objective,
         extra = list(terms = to$terms, beta = beta))
  }
}

# Steps of the accelerated map; where the schedule of beta changes the objective,
# a plain step, and a new start of the acceleration.
ascent_step <- function(data, asked, control, done) {
  beta <- scheduled(asked$beta, done + 1)
  accelerate <- function(map) {
    switch(control$accelerate, anderson = anderson_step(map, data$unit),
           squarem = squarem_step(map, data$unit), none = successor_step(map))
  }
  inner <- accelerate(ascent_map(data, asked, control, beta))
  function(state, left, done) {
    now <- scheduled(asked$beta, done + 1)
    if (now == beta) {
      new <- inner(state, left)
    } else {
      beta <<- now
      map <- ascent_map(data, asked, control, now)
      inner <<- accelerate(map)
      new <- evaluate_state(map, state$successor)
    }
    if (!is.null(new)) check_vae_noise(new$sigma2, data, asked)
    new
  }
}

# The noise variance may fall to what rounding leaves, where k reaches the rank.
check_vae_noise <- function(sigma2, data, asked) {
  if (asked$learn_sigma2 && !(sigma2 > 1e-13 * data$trace / data$p)) {
    stop_rank(data, asked$k)
  }
}

vae_row <- function(terms, sigma2, beta) {
  c(objective = terms$reconstruction - beta * terms$kl,
    elbo = terms$reconstruction - terms$kl, reconstruction = terms$reconstruction,
    kl = terms$kl, sigma2 = sigma2, beta = beta)
}

# ---- L-BFGS --------------------------------------------------------------

# Over (W, log sigma2), with V and D at their best.
solve_vae_lbfgs <- function(data, asked, control, at) {
  size <- length(at$w)
  beta <- asked$beta
  evaluate <- function(theta) {
    sigma2 <- exp(theta[size + 1])
    to <- attempt(core_lvae_profile(data, matrix(theta[seq_len(size)], data$p), sigma2, beta,
                                    !asked$learn_sigma2))
    objective <- to$terms$reconstruction - beta * to$terms$kl
    if (!isTRUE(is.finite(objective))) return(NULL)
    c(to[c("vt", "d", "gradient")],
      list(objective = objective, row = vae_row(to$terms, sigma2, beta)))
  }
  run <- climb_lbfgs(c(at$w, log(at$sigma2)), evaluate, control, done_before(control))
  sigma2 <- exp(run$best$theta[size + 1])
  check_vae_noise(sigma2, data, asked)
  c(list(w = matrix(run$best$theta[seq_len(size)], data$p), sigma2 = sigma2, beta = beta),
    run$best[c("vt", "d")], run[c("converged", "iterations", "history")])
}

# ---- Adam ----------------------------------------------------------------

solve_vae_adam <- function(data, asked, control, at) {
  state <- start_adam(data, asked, control, at)
  step <- adam_step(data, asked, control, state$key)
  done <- done_before(control)
  settings <- list(maxit = control$epochs, progress = control$progress)
  first <- step(state, Inf, done)
  if (is.null(first)) stop_start("ELBO")
  words <- list(name = "Adam", unit = "epoch", argument = "epochs", open_ended = TRUE,
                advice = "Choose a smaller `learning_rate`.")
  run <- iterate(
    first, step, settings,
    settled = function(old, new, done) FALSE,
    record = function(state) vae_row(state$terms, state$sigma2, state$beta),
    words = words, done = done
  )
  end <- run$state
  if (!finite_elbo(end$theta, data, asked$k)) {
    if (run$outcome != "failed") tell_outcome("failed", run$iterations, words)
    end[c("theta", "m", "v", "steps")] <- end$before[c("theta", "m", "v", "steps")]
    run$iterations <- run$iterations - 1L
    run$history <- run$history[run$history$iteration <= run$iterations, ]
  }
  theta <- split_theta(end$theta, data$p, asked$k)
  list(w = theta$w, vt = theta$vt, d = exp(theta$log_d), sigma2 = exp(theta$log_sigma2),
       beta = end$beta, converged = NA, iterations = run$iterations,
       history = run$history,
       state = c(end[c("m", "v", "steps", "key")], theta[c("log_d", "log_sigma2")]))
}

start_adam <- function(data, asked, control, at) {
  before <- control$resume$state
  log_d <- if (is.null(before)) log(at$d) else before$log_d
  log_sigma2 <- if (is.null(before)) log(at$sigma2) else before$log_sigma2
  theta <- c(at$w, at$vt, log_d, log_sigma2)
  if (!is.null(before)) {
    return(c(list(theta = theta), before[c("m", "v", "steps", "key")]))
  }
  none <- numeric(length(theta))
  by_rows <- asked$elbo == "stochastic" || !is.null(control$batch_size)
  list(theta = theta, m = none, v = none, steps = 0,
       key = if (by_rows) sample.int(.Machine$integer.max, 2L) else c(0L, 0L))
}

# An epoch as a function of the state: from S, where the ELBO and its gradient are
# those of all rows, or by batches of rows.
adam_step <- function(data, asked, control, key) {
  k <- asked$k
  fix <- !asked$learn_sigma2
  batch <- if (is.null(control$batch_size)) data$n else min(control$batch_size, data$n)
  from_s <- asked$elbo == "analytic" && batch == data$n
  samples <- if (asked$elbo == "analytic") 0L else control$samples
  function(state, left, done) {
    beta <- scheduled(asked$beta, done + 1)
    rate <- scheduled(control$learning_rate, done + 1)
    new <- if (from_s) {
      at <- core_lvae_gradient(data, k, state$theta, beta, fix)
      c(core_adam(state, at$gradient, rate), at["terms"])
    } else {
      core_lvae_epoch(data, k, state, done, beta, fix,
                      list(rate = rate, batch = batch, samples = samples, key = key))
    }
    sigma2 <- exp(new$theta[length(new$theta)])
    if (!is.finite(sum(new$theta)) || !is.finite(new$terms$reconstruction - new$terms$kl) ||
        !is.finite(sigma2) || sigma2 == 0) {
      return(NULL)
    }
    c(new, list(sigma2 = sigma2, beta = beta, key = key, maps = 1L,
                before = state[c("theta", "m", "v", "steps")]))
  }
}

# A theta of finite numbers may yet have squares that are not.
finite_elbo <- function(theta, data, k) {
  at <- split_theta(theta, data$p, k)
  moments <- vae_moments(data, at$w, at$vt)
  out <- attempt(core_lvae_terms(data$p, moments, exp(at$log_d), exp(at$log_sigma2), data$trace))
  isTRUE(is.finite(out$loglik + out$terms$reconstruction - out$terms$kl))
}

split_theta <- function(theta, p, k) {
  pk <- p * k
  list(w = matrix(theta[seq_len(pk)], p), vt = matrix(theta[pk + seq_len(pk)], p),
       log_d = theta[2 * pk + seq_len(k)], log_sigma2 = theta[2 * pk + k + 1])
}

# ---- the object ----------------------------------------------------------

# From core units to the user's: lengths times u, variances times u^2.
new_linear_vae <- function(solution, data, asked, control, call) {
  u <- data$u
  k <- asked$k
  moments <- solution$moments
  if (is.null(moments)) moments <- vae_moments(data, solution$w, solution$vt)
  terms <- vae_terms(data$p, moments, solution$d, solution$sigma2, data$trace)
  if (!is.finite(terms$reconstruction - terms$kl)) {
    abort_arg("sigma2", "be larger: the ELBO is beyond the range of numbers",
              describe(asked$sigma2))
  }
  units <- log_units(data) / data$n
  jacobian <- data$jacobian / data$n
  latent <- paste0("z", seq_len(k))
  features <- colnames(data$x)
  scores <- solution$scores
  if (is.null(scores)) {
    scores <- core_times(data, solution$vt)
  }
  values <- if (is.null(solution$values)) covariance_values(data, k) else solution$values
  history <- solution$history
  if (is.null(history)) {
    history <- data.frame(iteration = 0L,
                          t(vae_row(terms, solution$sigma2, solution$beta)))
  }
  history$reconstruction <- history$reconstruction + units
  history[c("objective", "elbo")] <- history[c("objective", "elbo")] + units + jacobian
  history$sigma2 <- history$sigma2 * u^2
  structure(
    list(
      call = call,
      loadings = structure(solution$w * u, dimnames = list(features, latent)),
      V = structure(t(solution$vt) / u, dimnames = list(latent, features)),
      D = structure(solution$d, names = latent),
      mean = structure(data$mu, names = features),
      sigma2 = if (asked$learn_sigma2) solution$sigma2 * u^2 else asked$sigma2,
      beta = solution$beta,
      elbo = terms$reconstruction - terms$kl + units + jacobian,
      reconstruction = terms$reconstruction + units,
      kl = terms$kl,
      kl_dimensions = structure(terms$kl_dimensions, names = latent),
      log_jacobian = jacobian,
      loglik = data$n * (terms$loglik + units + jacobian),
      values = values * u^2,
      trace = data$trace * u^2,
      scores = structure(scores, dimnames = list(rownames(data$x), latent)),
      history = history,
      converged = solution$converged,
      iterations = solution$iterations,
      n = data$n, p = data$p, k = k,
      df = free_parameters(data, k, asked$learn_sigma2),
      observed = sum(data$count),
      optimizer = asked$optimizer,
      objective = asked$elbo,
      moments = c(moments, list(unit = u)),
      center = data$centred,
      scale = if (data$scaled) structure(data$sd, names = features),
      transform = asked$transform,
      features = features,
      arguments = asked,
      control = unclass(control)[setdiff(names(control), "resume")],
      state = solution$state,
      noise_seed = data$noise_seed,
      fixed = !asked$learn_sigma2
    ),
    class = c("linear_vae", "ppca")
  )
}

#' A pPCA fit as a linear VAE
#'
#' Gives a pPCA model the encoder that is best for its W and sigma2:
#' V = M^-1 W' and D = sigma2 (diag(W'W) + sigma2)^-1, M = W'W + sigma2 I. As the
#' columns of a pPCA fit's W are orthogonal this encoder is the exact posterior,
#' and the ELBO is the log-likelihood: the proof of Lemma 1 of Lucas et al.
#' (2019).
#'
#' @param object a fitted [ppca()] model of complete data.
#' @param ... unused.
#' @return A [linear_vae()] object.
#' @references Lucas et al. (2019), Lemma 1; see [linear_vae()].
#' @examples
#' fit <- ppca(iris[1:4], k = 2)
#' vae <- as_linear_vae(fit)
#' c(elbo = vae$elbo, loglik = fit$loglik / 150)
#' @export
as_linear_vae <- function(object, ...) UseMethod("as_linear_vae")

#' @rdname as_linear_vae
#' @export
as_linear_vae.linear_vae <- function(object, ...) {
  check_dots_empty(...)
  object
}

#' @rdname as_linear_vae
#' @export
as_linear_vae.ppca <- function(object, ...) {
  check_dots_empty(...)
  if (!is_complete(object)) {
    abort_arg("object", "be a fit to data without missing cells",
              "one to data with missing cells: the encoder needs every feature")
  }
  k <- object$k
  u <- core_unit(object)
  w <- unname(object$loadings) / u
  sigma2 <- object$sigma2 / u^2
  encoder <- best_encoder(w, sigma2)
  ww <- crossprod(w)
  m <- ww + diag(sigma2, k)
  vsv <- unname(crossprod(object$scores)) / object$n
  moments <- list(ww = ww, wsw = m %*% vsv %*% m, wsv = m %*% vsv, vsv = vsv, unit = u)
  terms <- vae_terms(object$p, moments, encoder$d, sigma2, object$trace / u^2)
  gain <- object$loglik / object$n - terms$loglik
  latent <- colnames(object$loadings)
  row <- vae_row(terms, object$sigma2, 1)
  row[c("objective", "elbo")] <- row[c("objective", "elbo")] + gain
  row["reconstruction"] <- row["reconstruction"] + gain - object$log_jacobian
  fields <- list(
    V = structure(t(encoder$vt) / u, dimnames = list(latent, object$features)),
    D = structure(encoder$d, names = latent), beta = 1,
    elbo = row[["elbo"]], reconstruction = row[["reconstruction"]], kl = terms$kl,
    kl_dimensions = structure(terms$kl_dimensions, names = latent),
    history = data.frame(iteration = 0L, t(row)), optimizer = "ppca",
    objective = "analytic", moments = moments
  )
  object[names(fields)] <- fields
  source <- as.list(object$call)[c("x", if (!is.null(object$terms)) "data")]
  object$call <- as.call(c(quote(linear_vae), source, k = k, optimizer = "exact"))
  object$control <- unclass(train_control())
  object$arguments <- list(
    k = k, elbo = "analytic", optimizer = "exact", sigma2 = object$sigma2,
    learn_sigma2 = !object$fixed, beta = 1, center = object$arguments$center,
    scale = object$arguments$scale, transform = object$transform,
    keep_data = object$arguments$keep_data
  )
  structure(object, class = c("linear_vae", "ppca"))
}
