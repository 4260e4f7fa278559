# Calls every .Call entry with every kind of data, for `make torture` and
# `make valgrind`; R CMD check runs it plainly. Under gctorture an object that C code
# did not protect is reused at the next allocation, and memory that it wrote beyond
# its own shows under valgrind: here, results are compared with those of a calm run.
#
# Collecting garbage at every allocation costs some 10 ms each, so R code outside the
# calls runs without it: gctorture2() gives back the step that the caller has set.

library(elbo)
torture <- gctorture2(0)

# data: small, of every kind ---------------------------------------------------

set.seed(1)
n <- 12L
p <- 5L
k <- 2L
dense <- matrix(rpois(n * p, 2) + 0.5 * rbinom(n * p, 1, 0.3), n, p)
counts <- matrix(rpois(n * p, 2), n, p)
some <- matrix(rpois(n * p, 0.7) * rexp(n * p), n, p)
holes <- cbind(c(2, 3, 3, 7, 7, 7, 7, 7), c(1, 2, 5, 1:5))

has_matrix <- requireNamespace("Matrix", quietly = TRUE)
as_sparse <- function(x) {
  methods::as(methods::as(methods::as(x, "CsparseMatrix"), "dMatrix"), "generalMatrix")
}

complete <- list(double = dense, integer = counts, wide = t(dense))
missing <- list(double = replace(dense, holes, NA), integer = replace(counts, holes, NA),
                wide = replace(t(dense), holes[1:3, 2:1], NA))
if (has_matrix) {
  complete$sparse <- as_sparse(some)
  missing$sparse <- as_sparse(replace(some, holes, NA))
}

# What an entry needs beside x.
companion <- function(x) {
  values <- as.matrix(x)
  p <- ncol(values)
  w <- matrix(sin(seq_len(p * k)), p, k)
  list(x = x, mu = unname(colMeans(values, na.rm = TRUE)), unit = rep(0.5, p), w = w,
       trace = sum(apply(values, 2, var, na.rm = TRUE)) / 4)
}

# the calls --------------------------------------------------------------------

# Entries are reached by name through the namespace: C_x of src/init.c.
entry <- function(name) get(name, envir = asNamespace("elbo"))
call_entry <- function(name, arguments) do.call(.Call, c(list(entry(name)), arguments))

calls <- list()
add <- function(name, ...) {
  calls[[length(calls) + 1]] <<- list(name = name, arguments = list(...))
}

for (x in c(complete, missing)) add("C_data_summary", x)
for (x in c(complete, missing)) add("C_missing_patterns", x)
for (x in c(complete, missing)) with(companion(x), add("C_data_squares", x, mu, unit))
for (x in complete) with(companion(x), {
  add("C_data_times", x, mu, unit, w)
  add("C_ppca_eigen", x, mu, unit, k, 0L)
  add("C_ppca_eigen", x, mu, unit, k, 1L)
  add("C_em_step", x, mu, unit, w, 0.3, trace, -1)
  add("C_em_step", x, mu, unit, w, 0.3, trace, 0.3)
  add("C_em_ritz", x, mu, unit, w, NULL)
  first <- call_entry("C_em_ritz", list(x, mu, unit, w, NULL))
  add("C_em_ritz", x, mu, unit, w, first)
  second <- call_entry("C_em_ritz", list(x, mu, unit, w, first))
  add("C_em_ritz", x, mu, unit, w, second)
})
for (x in c(complete[c("double", "wide")], missing)) with(companion(x), {
  rows <- call_entry("C_missing_patterns", list(x))
  add("C_missing_posterior", x, mu, unit, rows, w, 0.3, TRUE, TRUE)
  add("C_missing_posterior", x, mu, unit, rows, w, 0.3, FALSE, FALSE)
  add("C_missing_em", x, mu, unit, rows, w, 0.3, FALSE, FALSE)
  add("C_missing_em", x, mu, unit, rows, w, 0.3, TRUE, TRUE)
})

# Lanczos needs 40 + 3 k rows and columns.
tall <- matrix(rnorm(50 * 44), 50)
lanczos <- list(tall, t(tall))
if (has_matrix) lanczos <- c(lanczos, as_sparse(round(tall)))
for (x in lanczos) with(companion(x), add("C_ppca_eigen", x, mu, unit, 1L, 2L))

w <- companion(dense)$w
u <- qr.Q(qr(w))
add("C_ppca_solve", c(3, 1.5), u, 6, -1)
add("C_ppca_solve", c(3, 1.5), u, 6, 2)
add("C_ppca_profile", c(3, 1.5, 1, 0.3, 0.2), 1:4, p, 6, -1)
add("C_ppca_profile", c(3, 1.5, 1, 0.3, 0.2), 0:4, p, 6, 0.5)
add("C_ppca_canonical", w)

# The linear VAE: products with S are with S itself, or where it is NULL with the data.
for (x in complete) with(companion(x), {
  add("C_data_covariance", x, mu, unit)
  s <- call_entry("C_data_covariance", list(x, mu, unit))
  p <- length(mu)
  vt <- matrix(cos(seq_len(p * k)) / p, p, k)
  theta <- c(w, vt, log(c(0.5, 0.8)), log(0.3))
  for (s in list(s, NULL)) {
    add("C_lvae_cov_times", s, x, mu, unit, w)
    for (fix in c(TRUE, FALSE)) {
      add("C_lvae_ascend", s, x, mu, unit, w, 0.3, trace, 0.7, fix, fix)
      add("C_lvae_ascend", s, x, mu, unit, w, 0.3, trace, 0.7, !fix, fix)
      add("C_lvae_profile", s, x, mu, unit, w, 0.3, trace, 0.7, fix)
      add("C_lvae_gradient", s, x, mu, unit, k, theta, trace, 0.7, fix)
    }
  }
  add("C_lvae_observe", x, mu, unit, w, vt, c(0.5, 0.8), 0L, c(0L, 0L))
  add("C_lvae_observe", x, mu, unit, w, vt, c(0.5, 0.8), 3L, 7:8)
  none <- numeric(length(theta))
  state <- list(theta = theta, m = none, v = none, steps = 0)
  # batches of one row, of a part, of all and of more than there are; samples or none
  for (batch in c(1L, 5L, nrow(x), nrow(x) + 1L)) for (samples in c(0L, 1L, 2L)) {
    add("C_lvae_epoch", x, mu, unit, k, state, 3L, 0.7, samples == 1L, 0.01, batch, samples, 7:8)
  }
})
square <- function(seed) crossprod(matrix(sin(seq_len(3 * k) + seed), 3))
add("C_lvae_terms", p, square(1), square(2), square(3), square(4), c(0.5, 0.8), 0.3, 6)
add("C_lvae_noise", c(3, 1.5), p, 6, 0.7)
add("C_lvae_noise", double(), p, 6, 0.7)
add("C_adam_climb", list(theta = c(1, 2, 3), m = c(0, 0, 1), v = c(0, 0, 1), steps = 4),
    c(0.1, 0.2, -3), 0.01)
# the state may hold more than is needed
add("C_adam_climb", list(key = 1:2, steps = 4, v = 0, m = 0, theta = 1, row = "a"), 2, 0.01)

# Deep VAEs: floats are in raw vectors. Numbers as R has them, without the package.
floats <- function(values) writeBin(as.double(values), raw(), size = 4)
# A net of every part: both chains or none, every noise, with a condition or without, with
# linear maps beside the chains or without.
net <- function(p, c = 0L, noise = 0L, shared = FALSE, hidden = TRUE, fixed = FALSE) {
  list(p = p, k = k, c = c, encoder = if (hidden) 3:4 else integer(),
       encoder_activation = if (hidden) c(1L, 7L) else integer(),
       decoder = if (hidden) 3L else integer(), decoder_activation = if (hidden) 4L else integer(),
       shared_d = shared, noise = noise, fixed_noise = fixed, linear = noise > 0L)
}
# Where the noise is by feature or network there are floors and squares of each.
training <- function(shape, samples = 1L, batch = 5L, optimiser = 0L, follow = 0) {
  noises <- if (shape$noise == 0L) 1 else shape$p
  list(beta = 0.7, free_bits = 0.01, floor = rep(-9, noises), square = rep(0.5, noises),
       samples = samples, batch = batch, key = 7:8, threads = 0L, optimiser = optimiser,
       learning_rate = 0.01, momentum = 0.9, clip = Inf, warm = 4, weight_decay = 0.1,
       follow = follow, noise_rate = if (follow > 0) 1 else 0.3)
}
for (x in c(complete, missing)) with(companion(x), {
  p <- length(mu)
  n <- nrow(x)
  add("C_vae_data", x, mu, unit, NULL)
  add("C_vae_data", x, mu, unit, c(0L, n - 1L))
  cells <- call_entry("C_vae_data", list(x, mu, unit, NULL))
  holes_in <- anyNA(as.matrix(x))
  for (kind in 1:5) {
    shape <- switch(kind, net(p), net(p, 2L, 1L, shared = TRUE), net(p, 0L, 2L),
                    net(p, 1L, 2L, hidden = FALSE, fixed = TRUE),
                    net(p, hidden = FALSE, shared = TRUE, fixed = TRUE))
    add("C_vae_layout", shape)
    tensors <- call_entry("C_vae_layout", list(shape))
    size <- sum(tensors[2, ] * ifelse(tensors[3, ] > 0, tensors[3, ] + tensors[4, ], 1))
    theta <- floats(sin(seq_len(size)))
    data <- list(n = n, x = cells, fill = if (holes_in) floats(numeric(p)),
                 condition = floats(cos(seq_len(shape$c * n))),
                 pixels = if (kind > 3) list(alpha = 1e-6, levels = 256L,
                                             mu = floats(sin(1:p)), unit = floats(rep(0.2, p))))
    adam <- list(theta = theta, m = raw(4 * size), v = raw(4 * size), steps = 0)
    sgd <- list(theta = theta, m = raw(4 * size), v = raw(), steps = 3)
    # batches of one row, of a part, of all and of more than there are
    for (batch in c(1L, 5L, n, n + 1L)) {
      add("C_vae_epoch", shape, data, adam, 3L, training(shape, 1L + kind %% 2L, batch))
      add("C_vae_evaluate", shape, data, theta, 3L, training(shape, 1L + kind %% 2L, batch))
    }
    add("C_vae_epoch", shape, data, sgd, 1L, training(shape, optimiser = 1L, follow = 0.3))
    add("C_vae_encode", shape, data, theta, training(shape))
    for (variance in c(FALSE, TRUE)) for (count in 0:3) {
      add("C_vae_decode", shape, matrix(0.5, k, count), floats(rep(0.1, shape$c * count)), theta,
          variance, training(shape))
    }
  }
})
add("C_as_float", c(1, -0.1, NA, Inf, 1e300))
add("C_as_float", double())
add("C_as_double", floats(c(1, -0.1, NA, Inf)))
add("C_as_double", raw())
for (count in c(0, 1, 7, 8, 9, 100)) add("C_fingerprint", as.raw(seq_len(count) %% 256))
with(companion(dense), add("C_vae_data", dense[0, ], mu, unit, NULL))

# The calls after it start threads and take space again.
add("C_unload")
add("C_vae_data", dense, colMeans(dense), rep(0.5, p), NULL)

# no rows
add("C_data_summary", dense[0, ])
with(companion(dense), {
  none <- dense[0, ]
  add("C_data_covariance", none, mu, unit)
  add("C_lvae_cov_times", NULL, none, mu, unit, w)
  add("C_lvae_observe", none, mu, unit, w, w, c(0.5, 0.8), 1L, c(0L, 0L))
  theta <- numeric(2 * length(w) + k + 1)
  add("C_lvae_epoch", none, mu, unit, k, list(theta = theta, m = theta, v = theta, steps = 0),
      0L, 1, TRUE, 0.01, 5L, 1L, 7:8)
  add("C_data_times", none, mu, unit, w)
  rows <- call_entry("C_missing_patterns", list(none))
  add("C_missing_posterior", none, mu, unit, rows, w, 0.3, TRUE, TRUE)
})

registered <- vapply(getDLLRegisteredRoutines("elbo")$.Call, `[[`, "", "name")
stopifnot(setequal(registered, vapply(calls, `[[`, "", "name")))

# Columns of an EM subspace beyond its count `c` hold nothing.
known <- function(value) {
  if (!"sstep" %in% names(value)) return(value)
  unused <- setdiff(seq_len(ncol(value$step)), seq_len(value$c))
  value$step[, unused] <- value$sstep[, unused] <- 0
  value
}

for (call in calls) {
  address <- entry(call$name)
  expected <- do.call(.Call, c(list(address), call$arguments))
  command <- as.call(c(list(.Call, address), call$arguments))
  gctorture2(torture)
  found <- eval(command)
  gctorture2(0)
  if (!identical(known(found), known(expected))) {
    stop(call$name, " gave another result under torture")
  }
}

# arguments that are wrong -----------------------------------------------------

# R code never passes these; if it did, the glue must raise an error and not read or
# write memory that is not its own. NULL stands for a companion that is not needed
# where an entry allows that, and some of these are right by chance: what counts is
# that control comes back. Error messages are the glue's own.
wrong <- list(NULL, "a", TRUE, NA, NaN, -1L, 0L, .Machine$integer.max, NA_integer_, 1, -1,
              integer(), double(), list(), list(1, 2), mean, quote(a), 1:3, c(1, 2, 3),
              matrix(0, 2, 2), matrix(0L, 0, 0), matrix("a", 2, 2), matrix(list(), 0, 0),
              array(0, c(2, 2, 2)), structure(list(), names = character()),
              list(pattern = 0:11, order = 0:11, count = 12L),
              list(pattern = rep(99L, 12), order = 0:11, count = 1L),
              list(pattern = rep(0L, 12), order = 12:1, count = 1L),
              # states of Adam
              list(theta = 1, m = 1, v = 1, steps = 1),
              list(theta = 1:3, m = 1:3, v = 1:3, steps = 1),
              list(theta = c(1, 2, 3), m = c(1, 2, 3), v = c(1, 2, 3), steps = 1L),
              list(theta = c(1, 2, 3), m = c(1, 2, 3), v = c(1, 2), steps = 1),
              list(theta = c(1, 2, 3), m = NULL, v = c(1, 2, 3), steps = 1),
              list(theta = c(1, 2, 3), m = c(1, 2, 3), v = c(1, 2, 3), steps = double()),
              list(theta = c(1, 2, 3), m = c(1, 2, 3), v = c(1, 2, 3)), matrix(0, 5, 5),
              matrix(NaN, 5, 2), numeric(23))
if (has_matrix) {
  s <- complete$sparse
  wrong <- c(wrong, lapply(list(
    list("i", s@i + 5L), list("i", rev(s@i)), list("i", -1L - s@i), list("p", rev(s@p)),
    list("p", s@p * 2L), list("p", s@p[-1]), list("x", s@x[-1]), list("x", integer(3)),
    list("Dim", c(-1L, 5L)), list("Dim", c(12L, 50L)), list("Dim", 12L), list("i", s@i[-1])
  ), function(change) {
    attr(s, change[[1]]) <- change[[2]]
    s
  }))
}

# Any number of samples is right, and the largest of them would take hours.
endless <- function(name, i, value) {
  samples <- c(C_lvae_epoch = 11, C_lvae_observe = 7)
  identical(value, .Machine$integer.max) && identical(samples[[name]], as.double(i))
}

# What came of a call with argument i replaced: refused, in the glue's own words, or not.
tried <- function(call, i, value) {
  arguments <- call$arguments
  arguments[i] <- list(value)
  command <- as.call(c(list(.Call, entry(call$name)), lapply(arguments, function(a) {
    if (is.language(a)) as.call(list(quote(quote), a)) else a
  })))
  message <- tryCatch({
    eval(command)
    NULL
  }, error = conditionMessage)
  if (is.null(message)) return(FALSE)
  if (!grepl("^internal error: |^the model is too large|LAPACK", message)) {
    stop(call$name, ", argument ", i, ": unexpected error: ", message)
  }
  TRUE
}

refused <- 0
# one of each entry, and of those that work from S also one that has none
first_of <- calls[!duplicated(vapply(calls, function(call) {
  paste(call$name, length(call$arguments) > 0 && is.null(call$arguments[[1]]))
}, ""))]
for (call in first_of) for (i in seq_along(call$arguments)) for (value in wrong) {
  if (call$name %in% c("C_lvae_epoch", "C_lvae_observe") && endless(call$name, i, value)) next
  refused <- refused + tried(call, i, value)
}
# Nets, data, states and settings of deep VAEs are lists: each of their elements, too.
inner <- 0
for (call in first_of[grepl("^C_vae", vapply(first_of, `[[`, "", "name"))]) {
  for (i in which(vapply(call$arguments, is.list, NA))) {
    for (element in names(call$arguments[[i]])) {
      given <- call$arguments[[i]]
      inner <- inner + tried(call, i, given[names(given) != element])
      # floats that are too few, too many, or none at all
      lengths <- if (is.raw(given[[element]])) list(raw(), raw(3), raw(4), raw(4000))
      for (value in c(wrong, lengths)) {
        if (element == "samples" && identical(value, .Machine$integer.max)) next
        inner <- inner + tried(call, i, replace(given, element, list(value)))
      }
    }
  }
}
stopifnot(inner > 2500)
# An argument left out or in excess is R's to refuse.
stopifnot(refused > 2500, inherits(try(.Call(entry("C_ppca_canonical")), silent = TRUE),
                                  "try-error"))

# models, whole ----------------------------------------------------------------

# From the call to the object, without torture: for valgrind.
for (x in complete) {
  fit <- ppca(x, k)
  stopifnot(is.finite(fit$loglik), is.finite(ppca(x, k, method = "em")$loglik))
  predict(fit, x)
}
for (x in complete) {
  for (optimizer in c("exact", "em", "lbfgs", "adam")) {
    fit <- suppressWarnings(linear_vae(x, k, optimizer = optimizer, control = train_control(
      epochs = 3, maxit = 20)))
    stopifnot(is.finite(fit$elbo), identical(dim(predict(fit, x)), c(nrow(x), k)))
    elbo(fit, x, samples = 2)
    posterior_collapse(fit, x)
    alignment(rescale_latent(fit, 2), fit)
    suppressWarnings(stability(fit))
  }
  fit <- linear_vae(x, k, elbo = "stochastic",
                    control = train_control(epochs = 2, batch_size = 5, samples = 2))
  stopifnot(is.finite(tune_sigma2(fit, x)$elbo))
  landscape(linear_vae(x, k, optimizer = "exact"), 1:2, points = 5)
  for (optimizer in c("exact", "lbfgs", "adam")) {
    fit <- suppressWarnings(linear_ae(x, k, optimizer = optimizer, control = train_control(
      epochs = 3, maxit = 20)))
    stopifnot(is.finite(fit$loss), identical(dim(predict(fit, x)), c(nrow(x), k)))
  }
}
for (x in missing) {
  fit <- suppressWarnings(ppca(x, 1, sigma2 = 0.5, control = em_control(maxit = 20)))
  stopifnot(is.finite(fit$loglik), !anyNA(as.matrix(impute(fit, x))))
  impute(fit, x, draws = 1)
  posterior(fit, x)
}
for (x in c(complete, missing)) {
  file <- tempfile(fileext = ".rds")
  for (noise in c("shared", "feature", "network")) {
    by_label <- noise == "feature"
    label <- if (by_label) rep(c("a", "b"), length.out = nrow(x))
    fit <- suppressWarnings(vae(
      x, k, encoder = if (noise == "network") integer(0) else 4, noise = noise,
      latent_variance = if (by_label) "shared" else "network", condition = label,
      optimizer = if (by_label) "sgd" else "adam", validation = if (by_label) 0 else x,
      control = train_control(epochs = 3, batch_size = 5, learning_rate = 1e-4, samples = 2,
                              patience = 2, checkpoint = file, every = 1)))
    latent <- predict(fit, x, condition = label)
    stopifnot(is.finite(fit$elbo), identical(dim(latent), c(nrow(x), k)))
    elbo(fit, x, samples = 3, weighted = TRUE, condition = label)
    posterior_collapse(fit, x, condition = label)
    residuals(fit, x, condition = label)
    if (noise != "network") tune_sigma2(fit, x, condition = label)
    simulate(fit, 3, condition = if (by_label) "a")
    coef(fit)
    suppressWarnings(update(fit, epochs = 5))
    suppressWarnings(vae(x, condition = label, validation = if (by_label) 0 else x, resume = file,
                         control = train_control(epochs = 5)))
  }
}
invisible(select_rank(dense))
invisible(gctorture2(torture))
