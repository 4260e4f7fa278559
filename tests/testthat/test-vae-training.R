# Training of deep VAEs: it can be stopped at any moment and goes on as if it had not
# been. Expected: the fit that was made in one go, bit for bit; for validation and early
# stopping, what helper-vae.R computes from the weights.

n <- 60
p <- 5
x <- plain(model_data(n, p, 2)) %*% diag(c(1, 4, 0.2, 1, 10)) + rep(c(0, 50, 0, -3, 7), each = n)
colnames(x) <- letters[1:p]
holes <- with_holes(x)
species <- factor(rep(c("b", "c", "a"), length.out = n))
pixels <- mnist1000$x[1:60, 400:405]
others <- plain(model_data(20, p, 2, seed = 5)) %*% diag(c(1, 4, 0.2, 1, 10)) +
  rep(c(0, 50, 0, -3, 7), each = 20)
colnames(others) <- letters[1:p]

settings <- function(epochs, ...) {
  train_control(epochs = epochs, batch_size = 16, learning_rate = 0.02, progress = FALSE, ...)
}

# What a fit may have that its state depends on: arguments of vae() and of its control.
# From a random start patience lasts for more than a few epochs.
cases <- list(
  plain = list(list(x, 2, encoder = 6)),
  share = list(list(x, 2, encoder = 6, start = "random", validation = 0.3)),
  patience = list(list(x, 2, encoder = 6, start = "random", validation = 0.3),
                  list(patience = 3)),
  patient_without = list(list(x, 2, encoder = 6, start = "random", sigma2 = 20),
                         list(patience = 2)),
  random = list(list(x, 2, encoder = 6, start = "random", sigma2_update = "optimal")),
  gradient = list(list(x, 2, encoder = 6, sigma2_update = "gradient")),
  matrix = list(list(x, 2, encoder = 6, validation = others)),
  pixels = list(list(pixels, 2, encoder = 6, transform = logit_pixels())),
  pixels_share = list(list(pixels, 2, encoder = 6, transform = logit_pixels(),
                           validation = 0.2)),
  pixels_matrix = list(list(pixels[1:50, ], 2, encoder = 6, transform = logit_pixels(),
                            validation = pixels[51:60, ])),
  holes = list(list(holes, 2, encoder = 6, scale = TRUE, validation = 0.2)),
  condition = list(list(x, 2, encoder = 6, condition = species, validation = 0.2)),
  condition_list = list(list(x, 2, encoder = 6, condition = species, validation = list(
    x = others, condition = rep(c("a", "b"), 10)))),
  sgd = list(list(x, 2, encoder = 6, optimizer = "sgd"), list(momentum = 0.8, clip = 1)),
  schedules = list(list(x, 2, encoder = 6, beta = schedule_warmup(6), free_bits = 0.1),
                   list(weight_decay = 0.1, samples = 2,
                        learning_rate = schedule_cosine(8, 0.02))),
  noise = list(list(x, 2, encoder = dense(6, "tanh"), noise = "network", sigma2_min = 1e-3)),
  feature = list(list(x, 2, encoder = integer(0), noise = "feature", sigma2 = 1:5,
                      latent_variance = "shared")),
  fixed = list(list(x, 2, encoder = 6, sigma2 = 3, learn_sigma2 = FALSE, keep_data = TRUE)),
  full = list(list(x, 2, encoder = 6), list(batch_size = NULL)),
  formula = list(list(~ a + b + log(b), 2, encoder = 6, data = as.data.frame(x),
                      validation = 0.2, keep_data = TRUE))
)

# Training that goes on to other epochs is that of fewer with a weight that stays.
cases <- lapply(cases, function(case) {
  if (is.null(case[[1]]$beta)) case[[1]]$beta <- 1
  case
})

control_of <- function(case, epochs, ...) {
  given <- list(epochs = epochs, batch_size = 16, learning_rate = 0.02, progress = FALSE)
  more <- if (length(case) > 1) case[[2]]
  given[names(more)] <- more
  do.call(train_control, c(given, list(...)))
}

run <- function(case, epochs, ...) {
  set.seed(1)
  without_warmup(do.call(vae, c(case[[1]], list(control = control_of(case, epochs, ...)))))
}

# `code`, without the warning that a run was shorter than its KL warm-up.
without_warmup <- function(code) {
  withCallingHandlers(code, warning = function(w) {
    if (grepl("was never reached", conditionMessage(w))) invokeRestart("muffleWarning")
  })
}

at_once <- lapply(cases, run, epochs = 8)

# the same again -----------------------------------------------------------------

test_that("the seed governs a fit, and nothing else does", {
  for (name in names(cases)) expect_same_fit(run(cases[[name]], 8), at_once[[name]])
  set.seed(2)
  other <- vae(x, 2, beta = 1, encoder = 6, control = settings(8))
  expect_false(identical(other$theta, at_once$plain$theta))
  # what a callback draws does not matter
  drawing <- function(epoch, metrics, fit) rnorm(epoch)
  expect_same_fit(run(cases$share, 8, callback = drawing), at_once$share)
})

# Runs `code` with those options.
with_options <- function(options, code) {
  old <- options(options)
  on.exit(options(old))
  code
}

test_that("threads change no bit, for each kernel", {
  digits <- mnist1000$x[1:300, 210:449] / 255
  train <- function(threads, start = "linear") {
    set.seed(1)
    vae(digits, 6, encoder = c(48, 24), start = start, control = train_control(
      epochs = 3, batch_size = 64, learning_rate = 0.01, threads = threads))
  }
  evaluate <- function(fit, threads) {
    set.seed(1)
    with_options(list(elbo.threads = threads), {
      elbo(fit, digits, samples = 5, by = "observation", weighted = TRUE)
    })
  }
  # from a random start: from zero Adam steps by the rate whatever the size of a gradient is
  usual <- train(1, "random")
  for (kernel in list(NULL, "avx2", "portable")) with_options(list(elbo.kernel = kernel), {
    one <- train(1)
    for (threads in 2:3) {
      expect_same_fit(train(threads), one)
      expect_identical(evaluate(one, threads), evaluate(one, 1))
    }
    # kernels round differently, a little
    expect_equal(coef(train(1, "random")), coef(usual), tolerance = 1e-4)
  })
})

test_that("threads of a control are for that fit alone", {
  old <- options(elbo.threads = 2)
  vae(x, 2, beta = 1, encoder = 6, control = settings(1, threads = 1))
  expect_identical(getOption("elbo.threads"), 2)
  expect_error(vae(x, 2, encoder = 6, control = settings(1, threads = 1), noise = "other"))
  expect_identical(getOption("elbo.threads"), 2)
  options(old)
})

test_that("the terms of a row do not depend on the rows beside it", {
  many <- x[rep(1:n, 20), ]                  # more than are evaluated at a time
  fit <- at_once$plain
  of <- function(rows, samples) {
    set.seed(3)
    elbo(fit, many[rows, , drop = FALSE], samples = samples, by = "observation",
         weighted = TRUE)
  }
  for (samples in c(1, 7)) {
    whole <- of(seq_len(nrow(many)), samples)
    for (count in c(1, 2, 17, 513, 1000)) {
      expect_identical(of(seq_len(count), samples), whole[seq_len(count), ])
    }
  }
  expect_identical(predict(fit, many)[700:800, ], predict(fit, many[700:800, ]))
  expect_identical(predict(fit, many, "reconstruction")[700:800, ],
                   predict(fit, many[700:800, ], "reconstruction"))
})

test_that("more samples begin with those that fewer have", {
  fit <- at_once$plain
  many <- rep(1:n, 20)                       # each of them has noise of its own
  terms <- reference_terms(coef(fit), x)
  sum_of <- function(samples) {
    if (samples == 0) return(0)
    set.seed(3)
    samples * elbo(fit, x[many, ], samples = samples, by = "observation")$reconstruction
  }
  # what each sample adds: draws of one distribution that are independent of each other
  draws <- vapply(1:4, function(s) {
    (sum_of(s) - sum_of(s - 1) - terms$reconstruction[many]) / sqrt(terms$variance[many])
  }, numeric(length(many)))
  expect_lt(max(abs(cor(draws) - diag(4))), 0.15)
  expect_lt(max(abs(log(apply(draws, 2, var)))), log(2))
})

# update() -----------------------------------------------------------------------

test_that("update() goes on as if training had never stopped", {
  for (name in names(cases)) {
    case <- cases[[name]]
    half <- run(case, 3)
    set.seed(99)
    expect_same_fit(update(half, epochs = 8), at_once[[name]])
    more <- without_warmup(update(half, epochs = 5))
    expect_same_fit(update(more, epochs = 8), at_once[[name]])
  }
})

test_that("update() draws nothing from R's generator", {
  half <- run(cases$pixels_share, 3)
  set.seed(99)
  before <- .Random.seed
  update(half, epochs = 5)
  expect_identical(.Random.seed, before)
})

test_that("update() of a fit that has its epochs is that fit", {
  fit <- at_once$plain
  expect_identical(update(fit, epochs = 8), fit)
  expect_identical(update(fit, epochs = 3), fit)
})

test_that("where patience has ended a fit, update() begins it anew", {
  fit <- run(cases$patience, 200)
  expect_true(fit$converged)
  expect_lt(fit$iterations, 200)
  expect_same_fit(run(cases$patience, 300), fit)
  expect_identical(update(fit, epochs = fit$iterations), fit)
  more <- update(fit, epochs = 300)
  expect_gte(more$iterations, fit$iterations + 3L)
  # the steps are those that training makes without patience
  free <- run(cases$share, more$iterations)
  expect_identical(more$state[c("theta", "m", "v", "steps")],
                   free$state[c("theta", "m", "v", "steps")])
  expect_identical(more$history[names(free$history) != "seconds"],
                   free$history[names(free$history) != "seconds"])
  expect_identical(more$best_epoch, which.max(more$history$validation))
})

test_that("other arguments of update() fit anew", {
  set.seed(1)
  fit <- vae(x, 2, beta = 1, encoder = 6, control = settings(3))
  set.seed(1)
  expected <- vae(x, 3, encoder = 6, beta = 1, control = settings(3))
  set.seed(1)
  expect_same_fit(update(fit, k = 3), expected)
  set.seed(1)
  expected <- vae(x, 2, beta = 1, encoder = 4, noise = "feature", control = settings(5))
  set.seed(1)
  found <- update(fit, encoder = 4, decoder = 4, noise = "feature", epochs = 5)
  expect_same_fit(found, expected)
  expect_identical(found$call$k, 2)
  expect_identical(found$call$noise, "feature")
  y <- x[1:40, ]
  set.seed(1)
  expected <- vae(y, 2, encoder = 6, beta = 1, control = settings(3))
  set.seed(1)
  expect_same_fit(update(fit, x = y), expected)
  expect_error(update(fit, k = 0), "`k` must be", class = "elbo_error")
})

test_that("a fit that was made in a function can go on", {
  # what the arguments were called there means nothing here
  path <- tempfile(fileext = ".rds")
  within <- function(y, share) {
    set.seed(1)
    vae(y, 2, encoder = 6, beta = 1, start = "random", validation = share, keep_data = TRUE,
        control = settings(3, checkpoint = path))
  }
  half <- within(x, 0.3)
  expect_identical(update(half, epochs = 8)$theta, at_once$share$theta)
  expect_identical(update(half, epochs = 8)$history$validation,
                   at_once$share$history$validation)
  path <- tempfile(fileext = ".rds")
  half <- within(x, 0.3)
  expect_identical(vae(x, resume = path, control = settings(8))$theta, at_once$share$theta)
})

test_that("update() refuses other data", {
  y <- x
  set.seed(1)
  fit <- vae(y, 2, encoder = 6, beta = 1, control = settings(3))
  y[1] <- y[1] + 1
  expect_error(update(fit, epochs = 5), "`x` must be the data that the model was fitted to",
               class = "elbo_error")
  y <- x[1:50, ]
  expect_error(update(fit, epochs = 5), "60 x 5|must be given", class = "elbo_error")
  rm(y)
  expect_error(update(fit, epochs = 5))
})

# checkpoints --------------------------------------------------------------------

# A checkpoint as a killed process leaves it after `epochs` of `of` epochs.
left_behind <- function(case, epochs, of, every = 1) {
  path <- tempfile(fileext = ".rds")
  saved <- tempfile(fileext = ".rds")
  run(case, of, checkpoint = path, every = every, callback = function(epoch, metrics, fit) {
    if (epoch == epochs) file.copy(path, saved)
  })
  saved
}

# vae(resume =) with the data of the case.
resumed <- function(case, path, ...) {
  given <- case[[1]]
  arguments <- c(list(given[[1]]), given[intersect(names(given), c("condition", "validation",
                                                                   "data"))])
  do.call(vae, c(arguments, list(resume = path, ...)))
}

test_that("vae(resume =) goes on as if training had never stopped", {
  for (name in names(cases)) {
    case <- cases[[name]]
    path <- left_behind(case, 4, 8, every = 2)
    found <- resumed(case, path, control = control_of(case, 8))
    expect_same_fit(found, at_once[[name]])
  }
})

test_that("vae(resume =) takes from the control what says how long and what is told", {
  path <- left_behind(cases$plain, 4, 8)
  seen <- integer()
  control <- train_control(epochs = 8, batch_size = 3, learning_rate = 5, samples = 9,
                           momentum = 0.1, clip = 0.1, weight_decay = 0.1,
                           callback = function(epoch, metrics, fit) seen <<- c(seen, epoch))
  expect_same_fit(vae(x, resume = path, control = control), at_once$plain)
  expect_identical(seen, 5:8)
  fit <- vae(x, resume = path, control = train_control(epochs = 200, patience = 1))
  expect_true(fit$converged)
})

test_that("without a control, a checkpoint goes on with its own", {
  # 60 epochs, more than the default of vae()
  path <- tempfile(fileext = ".rds")
  saved <- tempfile(fileext = ".rds")
  copy <- function(epoch, metrics, fit) if (epoch == 4) file.copy(path, saved)
  set.seed(1)
  expected <- vae(x, 2, beta = 1, encoder = 6, validation = 0.3,
                  control = settings(60, patience = 30, checkpoint = path, every = 4,
                                     callback = copy))
  unlink(path)
  found <- vae(x, resume = saved)
  expect_same_fit(found, expected)
  # checkpoints are written on, under the name that they had
  expect_same_fit(vae(x, resume = path), expected)
})

test_that("a checkpoint of a finished fit is that fit", {
  for (name in c("plain", "patience", "pixels", "fixed", "condition")) {
    case <- cases[[name]]
    path <- tempfile(fileext = ".rds")
    fit <- run(case, 8, checkpoint = path, every = 3)
    expect_same_fit(resumed(case, path, control = control_of(case, 8)), fit)
    expect_same_fit(resumed(case, path), fit)
    expect_same_fit(resumed(case, path, control = control_of(case, 4)), fit)
  }
  # stopped early: it does not start again
  path <- tempfile(fileext = ".rds")
  fit <- run(cases$patience, 200, checkpoint = path)
  expect_true(fit$converged)
  expect_same_fit(resumed(cases$patience, path), fit)
  expect_same_fit(resumed(cases$patience, path, control = control_of(cases$patience, 300)), fit)
})

test_that("a checkpoint that has its epochs but was not finished is finished", {
  # killed between the last epoch and the end
  for (name in c("plain", "patience")) {
    path <- left_behind(cases[[name]], 8, 8)
    expect_same_fit(resumed(cases[[name]], path, control = control_of(cases[[name]], 8)),
                    at_once[[name]])
  }
})

test_that("a fit that was saved by saveRDS() goes on by update(), not as a checkpoint", {
  path <- tempfile(fileext = ".rds")
  fit <- run(cases$plain, 3)
  refused <- function(said) {
    expect_error(vae(x, resume = path), said, fixed = TRUE, class = "elbo_error")
  }
  saveRDS(fit, path)
  refused("by saveRDS() is continued by `update(readRDS(file), epochs = )`")
  expect_same_fit(update(readRDS(path), epochs = 8), at_once$plain)
  # damaged, or not compressed by gzip
  bytes <- readBin(path, "raw", 1e6)
  for (i in 1:2) for (bit in 0:7) {
    writeBin(replace(bytes, i, xor(bytes[i], as.raw(2^bit))), path)
    refused("`resume` must name a checkpoint that is whole")
  }
  for (compress in list(FALSE, "xz", "bzip2")) {
    saveRDS(fit, path, compress = compress)
    refused("`resume` must name a checkpoint that is whole")
  }
})

test_that("data are looked up where they are not given", {
  path <- tempfile(fileext = ".rds")
  labels <- species
  set.seed(1)
  expected <- vae(x, 2, beta = 1, encoder = 6, condition = labels, validation = 0.2,
                  control = settings(6, checkpoint = path))
  path <- tempfile(fileext = ".rds")
  set.seed(1)
  vae(x, 2, beta = 1, encoder = 6, condition = labels, validation = 0.2,
      control = settings(3, checkpoint = path))
  expect_same_fit(vae(resume = path, control = settings(6)), expected)
  frame <- as.data.frame(x)
  set.seed(1)
  expected <- vae(~., 2, beta = 1, encoder = 6, data = frame,
                  control = settings(6, checkpoint = path))
  set.seed(1)
  vae(~., 2, beta = 1, encoder = 6, data = frame, control = settings(3, checkpoint = path))
  expect_same_fit(vae(resume = path, control = settings(6)), expected)
  expect_same_fit(vae(data = frame, resume = path, control = settings(6)), expected)
})

test_that("validation data may come with the checkpoint", {
  path <- tempfile(fileext = ".rds")
  run(cases$plain, 3, checkpoint = path)
  fit <- vae(x, validation = others, resume = path, control = settings(8))
  expect_identical(fit$theta, at_once$plain$theta)
  expect_identical(fit$history$validation[1:3], rep(NA_real_, 3))
  expect_true(all(is.finite(fit$history$validation[4:8])))
})

test_that("arguments given beside a checkpoint have to agree with it", {
  path <- tempfile(fileext = ".rds")
  set.seed(1)
  fit <- vae(x, 2, encoder = c(6, 4), activation = "tanh", noise = "feature", sigma2 = 1:5,
             center = c(0, 50, 0, -3, 7), beta = c(0.5, 1), sigma2_min = 1e-3,
             control = settings(3, checkpoint = path))
  expect_same_fit(
    vae(x, 2L, encoder = list(dense(6, "tanh"), dense(4, "tanh")), decoder = c(4, 6),
        activation = "tanh", latent_variance = "network", noise = "feature", sigma2 = 1:5,
        learn_sigma2 = TRUE, sigma2_min = 0.001, beta = c(0.5, 1), free_bits = 0,
        center = c(0, 50, 0, -3, 7), scale = FALSE, transform = NULL, optimizer = "adam",
        keep_data = FALSE, resume = path, control = settings(3)), fit)
  # a width says nothing of the activation
  expect_same_fit(vae(x, encoder = c(6, 4), resume = path, control = settings(3)), fit)
  other <- list(k = 3, encoder = 5, decoder = 5, activation = "relu",
                latent_variance = "shared", sigma2 = 2, learn_sigma2 = FALSE,
                noise = "shared", sigma2_min = 1, beta = 2, free_bits = 1, center = TRUE,
                scale = TRUE, transform = logit_pixels(), optimizer = "sgd", keep_data = TRUE)
  for (name in names(other)) {
    expect_error(do.call(vae, c(list(x, resume = path, control = settings(5)), other[name])),
                 sprintf("`%s` must be what the checkpoint was made with", name), fixed = TRUE,
                 class = "elbo_error", label = name)
  }
  expect_error(vae(x, k = "two", resume = path), "`k` must be", class = "elbo_error")
  # the same arguments once more, of which the activation is for one layer alone
  mixed <- function(...) {
    vae(x, 2, encoder = list(dense(6, "tanh"), 4), decoder = integer(0), activation = "elu", ...)
  }
  fit <- mixed(control = settings(3, checkpoint = path))
  expect_same_fit(mixed(resume = path, control = settings(3)), fit)
})

test_that("a checkpoint of other data is refused", {
  path <- tempfile(fileext = ".rds")
  run(cases$condition, 3, checkpoint = path)
  refused <- function(said, x, condition = species) {
    expect_error(vae(x, condition = condition, resume = path, control = settings(5)), said,
                 class = "elbo_error")
  }
  same <- "`x` must be the data that the model was fitted to, not others of the same size"
  refused(same, x[n:1, ])
  refused(same, replace(x, 7, x[7] + 0.01))
  refused(same, replace(x, 7, NA))
  refused("`x` must be the 60 x 5 data", x[1:50, ], species[1:50])
  refused("`x` must be the 60 x 5 data", x[, 1:4])
  refused("`condition`", x, rev(species))
  refused("`condition`", x, rnorm(n))
  refused("`condition`", x, factor(rep(c("b", "d", "a"), length.out = n)))
  # nor where there is nothing left to train
  done <- function(...) vae(..., resume = path, control = settings(3))
  expect_error(done(x + 1, condition = species), same, class = "elbo_error")
  expect_error(done(x[1:50, ], condition = species[1:50]), "`x` must be the 60 x 5 data",
               class = "elbo_error")
  expect_error(done(condition = rev(species)), "`condition`", class = "elbo_error")
  expect_error(done(x, condition = species, data = iris), "`data` must be NULL where",
               class = "elbo_error")
  expect_same_fit(done(x, condition = species), done())
})

# A file that ends as a checkpoint does, of any object.
sealed <- function(object) {
  path <- tempfile(fileext = ".rds")
  bytes <- serialize(object, NULL, xdr = FALSE)
  writeBin(c(bytes, .Call(C_fingerprint, bytes), CHECKPOINT), path)
  path
}

expect_refused <- function(path, said = "`resume` must name a checkpoint that is whole",
                           label = NULL) {
  expect_error(vae(x, resume = path), said, fixed = TRUE, class = "elbo_error", label = label)
}

test_that("a file that is no checkpoint is refused", {
  path <- tempfile(fileext = ".rds")
  expect_refused(path, "`resume` must name a file that exists")
  expect_refused(tempdir(), "`resume` must name a file that exists")
  for (value in list(1, NA, character(), c("a", "b"), TRUE)) {
    expect_refused(value, "`resume` must be a single character string")
  }
  fit <- run(cases$plain, 3)
  save(fit, file = path)
  expect_refused(path, "`resume` must name a checkpoint, not the compressed file")
  for (other in list(iris, NULL, 1, ppca(x, 2), "fit", list(format = "elbo checkpoint 1"),
                     list(format = "elbo checkpoint 1", fingerprint = raw(8), fit = raw(100)),
                     structure(list(), class = "vae"), structure(1, class = "vae"),
                     unclass(fit), quote(stop()), function() stop("run"))) {
    expect_refused(sealed(other))
  }
  damage <- list(theta = fit$theta[-1], theta = NULL, shape = NULL, state = NULL,
                 history = 1, control = NULL, shape = replace(fit$shape, "p", 6L),
                 state = replace(fit$state, "m", list(raw(3))))
  for (i in seq_along(damage)) {
    bad <- fit
    bad[names(damage)[i]] <- damage[i]
    expect_refused(sealed(bad))
  }
  # of another version
  of_next <- readBin(sealed(fit), "raw", 1e6)
  writeBin(replace(of_next, length(of_next), charToRaw("2")), path)
  expect_refused(path)
  writeLines("not a checkpoint", path)
  expect_refused(path)
  file.create(path)
  expect_refused(path)
})

test_that("a sealed checkpoint goes on as if training had never stopped", {
  for (case in cases) {
    whole <- sealed(read_checkpoint(left_behind(case, 3, 8), is_whole_vae))
    expect_same_fit(resumed(case, whole, control = control_of(case, 8)), run(case, 8))
  }
})

# What comes of a file with one bit changed, or cut short, in another process: reading a
# damaged file may end it.
damaged_outcomes <- function(whole) {
  result <- tempfile(fileext = ".rds")
  data <- tempfile(fileext = ".rds")
  saveRDS(x, data)
  said <- suppressWarnings(rscript(sprintf("
    library(elbo)
    x <- readRDS('%s')
    bytes <- readBin('%s', 'raw', 1e6)
    size <- length(bytes)
    path <- tempfile()
    control <- train_control(epochs = 3)
    expected <- vae(x, resume = '%s', control = control)
    outcome <- function(bytes) {
      writeBin(bytes, path)
      tryCatch({
        fit <- vae(x, resume = path, control = control)
        if (identical(fit, expected)) 'same' else 'another fit'
      }, elbo_error = function(e) {
        if (grepl('`resume` must name a checkpoint that is whole', conditionMessage(e)))
          'refused' else conditionMessage(e)
      }, error = conditionMessage, warning = conditionMessage)
    }
    set.seed(1)
    # the file's own structure is at its ends
    ends <- c(1:160, size - 0:60)
    flips <- rbind(cbind(rep(ends, each = 8), 0:7),
                   cbind(sample.int(size, 500, TRUE), sample(0:7, 500, TRUE)))
    flipped <- apply(flips[sample.int(nrow(flips)), ], 1, function(at) {
      bytes[at[1]] <- xor(bytes[at[1]], as.raw(2^at[2]))
      outcome(bytes)
    })
    cut <- vapply(c(0:200, sample.int(size - 1, 100), size - 1:20), function(length) {
      outcome(bytes[seq_len(length)])
    }, '')
    saveRDS(list(flipped = flipped, cut = cut, more = outcome(c(bytes, as.raw(1:100)))),
            '%s')", data, whole, whole, result), timeout = 600))
  if (!file.exists(result)) fail(paste(c("the process ended by itself:", said), collapse = "\n"))
  if (file.exists(result)) readRDS(result)
}

test_that("a checkpoint that was cut short or changed is refused, whatever bit it was", {
  whole <- tempfile(fileext = ".rds")
  run(cases$plain, 3, checkpoint = whole)
  found <- damaged_outcomes(whole)
  expect_identical(unique(found$flipped), "refused")
  expect_identical(unique(found$cut), "refused")
  expect_identical(found$more, "refused")
})

test_that("checkpoints are written when they are due, and at the end", {
  path <- tempfile(fileext = ".rds")
  there <- logical()
  set.seed(1)
  fit <- vae(x, 2, beta = 1, encoder = 6, control = settings(
    7, checkpoint = path, every = 3,
    callback = function(epoch, metrics, fit) {
      there <<- c(there, file.exists(path))
      NULL
    }))
  expect_identical(there, c(FALSE, FALSE, TRUE, TRUE, TRUE, TRUE, TRUE))
  expect_identical(vae(x, resume = path)$iterations, 7L)
  # nothing else is left in the directory
  expect_identical(list.files(dirname(path), sub("[.]rds$", "", basename(path))),
                   basename(path))
  # the names of relative paths are those of the start
  old <- setwd(tempdir())
  on.exit(setwd(old))
  dir.create("elsewhere", showWarnings = FALSE)
  set.seed(1)
  vae(x, 2, beta = 1, encoder = 6, control = settings(
    3, checkpoint = "relative.rds", every = 1,
    callback = function(epoch, metrics, fit) setwd(file.path(tempdir(), "elsewhere"))))
  expect_true(file.exists(file.path(tempdir(), "relative.rds")))
  expect_false(file.exists(file.path(tempdir(), "elsewhere", "relative.rds")))
})

test_that("training goes on where a checkpoint cannot be written, and says so", {
  # the directory goes
  dir <- tempfile()
  dir.create(dir)
  path <- file.path(dir, "fit.rds")
  go <- function(epoch, metrics, fit) if (epoch == 3) unlink(dir, recursive = TRUE)
  out <- warned(run(cases$plain, 8, checkpoint = path, every = 2, callback = go))
  expect_same_fit(out$value, at_once$plain)
  expect_gte(length(out$said), 1)
  expect_match(out$said, "was not written", all = TRUE)
  expect_match(out$said, "fit.rds", all = TRUE, fixed = TRUE)
  # or a directory comes in the place of the file
  path <- tempfile(fileext = ".rds")
  come <- function(epoch, metrics, fit) if (epoch == 1) dir.create(path)
  out <- warned(run(cases$plain, 8, checkpoint = path, every = 2, callback = come))
  expect_same_fit(out$value, at_once$plain)
  expect_match(out$said, "was not written", all = TRUE)
  expect_identical(list.files(dirname(path), paste0(basename(path), "-")), character())
  expect_error(train_control(checkpoint = file.path(tempfile(), "fit.rds")),
               "`checkpoint` must name a file in a directory that exists", class = "elbo_error")
  expect_error(train_control(checkpoint = tempdir()), "`checkpoint` must name a file",
               class = "elbo_error")
})

test_that("a fit outlives the directory of its checkpoints", {
  dir <- tempfile()
  dir.create(dir)
  fit <- run(cases$plain, 3, checkpoint = file.path(dir, "fit.rds"))
  unlink(dir, recursive = TRUE)
  found <- warned(update(fit, epochs = 8))
  expect_same_fit(found$value, at_once$plain)
})

# processes ----------------------------------------------------------------------

test_that("a fresh process goes on bit for bit", {
  paths <- lapply(cases, left_behind, epochs = 4, of = 8, every = 4)
  halves <- lapply(cases, run, epochs = 3)
  file <- tempfile(fileext = ".rds")
  saveRDS(list(cases = cases, paths = paths, halves = halves, resumed = resumed,
               control_of = control_of, plain_fit = at_once$plain, x = x), file)
  said <- rscript(c(kernel_options(), sprintf("
    library(elbo)
    list2env(readRDS('%s'), globalenv())
    environment(resumed) <- environment(control_of) <- globalenv()
    RNGkind('Wichmann-Hill')
    found <- lapply(names(cases), function(name) {
      list(resumed = resumed(cases[[name]], paths[[name]],
                             control = control_of(cases[[name]], 8)),
           updated = update(halves[[name]], epochs = 8))
    })
    names(found) <- names(cases)
    saveRDS(list(fits = found, predicted = predict(plain_fit, x),
                 reconstructed = predict(plain_fit, x, 'reconstruction')), '%s')",
    file, file)))
  found <- readRDS(file)
  if (is.null(found$fits)) fail(paste(said, collapse = "\n"))
  for (name in names(found$fits)) {
    expect_same_fit(found$fits[[name]]$resumed, at_once[[name]])
    expect_same_fit(found$fits[[name]]$updated, at_once[[name]])
  }
  expect_identical(found$predicted, predict(at_once$plain, x))
  expect_identical(found$reconstructed, predict(at_once$plain, x, "reconstruction"))
})

# Starts a session that trains for ever with those lines of R; the number of its process
# once `ready` exists.
training_process <- function(lines, ready) {
  pid <- tempfile()
  rscript(c(kernel_options(), sprintf("writeLines(as.character(Sys.getpid()), '%s')", pid), lines),
          wait = FALSE)
  expect_true(await(ready))
  as.integer(readLines(pid))
}

test_that("a process that is killed leaves a checkpoint that is whole", {
  skip_on_os("windows")
  data <- tempfile(fileext = ".rds")
  path <- tempfile(fileext = ".rds")
  saveRDS(mnist1000$x[1:40, ] / 255, data)
  big <- readRDS(data)
  control <- paste("train_control(epochs = 1e6, batch_size = 20, learning_rate = 1e-3, every = 1,",
                   "progress = FALSE")
  for (wait in c(0, 0.11, 0.23)) {
    unlink(path)
    pid <- training_process(sprintf("
      library(elbo)
      big <- readRDS('%s')
      set.seed(1)
      vae(big, 4, beta = 1, encoder = 64, control = %s, checkpoint = '%s'))",
    data, control, path), path)
    Sys.sleep(wait)
    expect_true(tools::pskill(pid, tools::SIGKILL))
    fit <- vae(big, resume = path, control = train_control(epochs = 1))
    done <- fit$iterations
    expect_gte(done, 1L)
    found <- vae(big, resume = path, control = train_control(epochs = done + 2))
    set.seed(1)
    expected <- vae(big, 4, beta = 1, encoder = 64, control = train_control(
      epochs = done + 2, batch_size = 20, learning_rate = 1e-3))
    expect_same_fit(found, expected)
  }
})

test_that("Ctrl-C in another process returns the fit so far", {
  skip_on_os("windows")
  data <- tempfile(fileext = ".rds")
  result <- tempfile(fileext = ".rds")
  ready <- tempfile()
  saveRDS(x, data)
  pid <- training_process(sprintf("
    library(elbo)
    x <- readRDS('%s')
    said <- character()
    set.seed(1)
    fit <- withCallingHandlers(
      vae(x, 2, beta = 1, encoder = 6, control = train_control(
        epochs = 1e6, batch_size = 16, learning_rate = 0.02, progress = FALSE,
        callback = function(epoch, metrics, fit) if (epoch == 5) file.create('%s'))),
      warning = function(w) {
        said <<- c(said, conditionMessage(w))
        invokeRestart('muffleWarning')
      })
    more <- update(fit, epochs = fit$iterations + 3)
    saveRDS(list(fit = fit, more = more, said = said), '%s-')
    file.rename('%s-', '%s')", data, ready, result, result, result), ready)
  Sys.sleep(0.2)
  expect_true(tools::pskill(pid, tools::SIGINT))
  if (!await(result)) tools::pskill(pid, tools::SIGKILL)
  found <- readRDS(result)
  done <- found$fit$iterations
  expect_gte(done, 5L)
  expect_match(found$said, sprintf("Interrupted after %d epochs", done), fixed = TRUE)
  expect_same_fit(found$fit, run(cases$plain, done))
  expect_same_fit(found$more, run(cases$plain, done + 3))
})

test_that("an interrupt returns the fit after the last whole epoch", {
  for (name in c("plain", "share", "patience", "pixels")) for (at in c(1, 3)) {
    case <- cases[[name]]
    out <- warned(run(case, 8, callback = interrupting(at)))
    expect_identical(out$said, sprintf(paste(
      "Interrupted after %d epoch%s; this is the fit so far, and",
      "`update(fit, epochs = )` continues it."), at, if (at > 1) "s" else ""))
    expect_same_fit(out$value, run(case, at))
    expect_identical(out$value$converged, NA)
    expect_same_fit(update(out$value, epochs = 8), at_once[[name]])
  }
})

test_that("a fit goes on bit for bit, for each kernel and with 1 and 2 threads", {
  digits <- mnist1000$x[1:150, 210:309] / 255      # enough for products to be shared
  control <- function(threads, ...) {
    train_control(epochs = 5, batch_size = 64, learning_rate = 0.01, threads = threads, ...)
  }
  train <- function(...) {
    set.seed(1)
    vae(digits, 4, encoder = 48, control = control(...))
  }
  for (kernel in list(NULL, "avx2", "portable")) with_options(list(elbo.kernel = kernel), {
    expected <- train(1)
    for (threads in 1:2) {
      expect_same_fit(train(threads), expected)
      path <- tempfile(fileext = ".rds")
      saved <- tempfile(fileext = ".rds")
      copy <- function(epoch, metrics, fit) if (epoch == 2) file.copy(path, saved)
      out <- warned(train(threads, checkpoint = path, every = 2,
                          callback = list(copy, interrupting(3))))
      expect_match(out$said, "Interrupted after 3 epochs", fixed = TRUE)
      expect_identical(read_checkpoint(saved, is_whole_vae)$iterations, 2L)
      expect_same_fit(vae(digits, resume = saved, control = control(threads)), expected)
      expect_same_fit(update(out$value, epochs = 5), expected)
    }
  })
})

test_that("an interrupt before the first epoch loses nothing", {
  path <- tempfile(fileext = ".rds")
  out <- warned(with_function("next_epoch", function(...) stop(structure(
    class = c("interrupt", "condition"), list(message = "", call = NULL))),
    run(cases$plain, 8, checkpoint = path)))
  fit <- out$value
  expect_match(out$said, "Interrupted after 0 epochs", fixed = TRUE)
  expect_identical(fit$iterations, 0L)
  expect_output(print(fit), "0 epochs", fixed = TRUE)
  expect_output(print(summary(fit)))
  expect_true(is.finite(fit$elbo))
  expect_same_fit(update(fit, epochs = 8), at_once$plain)
  expect_same_fit(vae(x, resume = path, control = settings(8)), at_once$plain)
})

test_that("an interrupt of the ELBO at the end leaves the fit", {
  pressed <- structure(class = c("interrupt", "condition"), list(message = "", call = NULL))
  for (name in c("plain", "patience", "pixels")) for (at in c(3, 8)) {
    case <- cases[[name]]
    whole <- run(case, at)
    path <- tempfile(fileext = ".rds")
    # held-out rows are evaluated in the epochs, and may be
    evaluate <- get("evaluate_vae", asNamespace("elbo"))
    out <- warned(with_function("evaluate_vae", function(problem, theta, data, ...) {
      if (identical(data, problem$data)) stop(pressed)
      evaluate(problem, theta, data, ...)
    }, run(case, 8, callback = if (at < 8) interrupting(at), checkpoint = path)))
    fit <- out$value
    expect_identical(out$said, sprintf(paste(
      "Interrupted after %d epochs; this is the fit so far, with the ELBO that the steps of",
      "its epoch met, and `update(fit, epochs = )` continues it."), at))
    expect_identical(fit$theta, whole$theta)
    expect_identical(fit$state, whole$state)
    row <- fit$history[fit$best_epoch, ]
    expect_equal(c(fit$elbo, fit$reconstruction, fit$kl), c(row$elbo, row$reconstruction, row$kl),
                 tolerance = 1e-12)
    expect_output(print(fit), "ELBO")
    expect_output(print(summary(fit)), "ELBO")
    expect_same_fit(update(fit, epochs = at), whole)
    expect_same_fit(vae(resume = path, control = settings(at, patience = case[2][[1]]$patience)),
                    whole)
  }
})

test_that("Ctrl-C is only heard where the fit so far is safe", {
  skip_on_os("windows")
  path <- tempfile(fileext = ".rds")
  where_heard <- function() for (i in 1:300000) sum(i)
  finish <- get("finish_vae", asNamespace("elbo"))
  before <- options(elbo.threads = 2)
  on.exit(options(before))
  # Heard inside of with_function(): its on.exit() would be cut short by an interrupt.
  heard <- with_function("finish_vae", function(...) {
    tools::pskill(Sys.getpid(), tools::SIGINT)
    where_heard()
    finish(...)
  }, tryCatch({
    run(cases$plain, 2, checkpoint = path, threads = 1)
    where_heard()
    FALSE
  }, interrupt = function(condition) TRUE))
  expect_identical(get("finish_vae", asNamespace("elbo")), finish)
  expect_identical(getOption("elbo.threads"), 2)
  expect_true(heard)                            # but after all was done
  expect_same_fit(vae(resume = path), run(cases$plain, 2))
})

# validation ---------------------------------------------------------------------

test_that("a share of the rows is set aside", {
  for (share in c(0.01, 0.3, 0.5)) {
    set.seed(1)
    fit <- vae(x, 2, beta = 1, encoder = 6, validation = share, control = settings(2))
    count <- ceiling(share * n)
    expect_length(fit$held_out, count)
    expect_identical(fit$held_out, sort(unique(fit$held_out)))
    expect_identical(fit$n, as.integer(n - count))
    expect_identical(nobs(fit), fit$n)
    expect_equal(fit$mean, colMeans(x[-fit$held_out, ]), tolerance = 1e-12)
  }
  set.seed(1)
  expect_identical(vae(x, 2, encoder = 6, validation = 0.3, control = settings(2))$held_out,
                   at_once$share$held_out)
  expect_identical(at_once$plain$held_out, integer(0))
  expect_null(at_once$plain$history$validation)
})

test_that("the history has the ELBO of the validation data", {
  expect_estimate <- function(fit, rows, condition = NULL) {
    # one sample for each row, at the weights of the last epoch
    terms <- reference_terms(coef(fit), rows, condition)
    expected <- mean(terms$reconstruction - terms$kl)
    error <- sqrt(mean(terms$variance) / nrow(rows))
    expect_lt(abs(utils::tail(fit$history$validation, 1) - expected), 4 * error)
    expect_lt(error, 0.5 * abs(expected))
  }
  fit <- at_once$share
  expect_estimate(fit, x[fit$held_out, ])
  expect_estimate(at_once$matrix, others)
  expect_estimate(at_once$condition, x[at_once$condition$held_out, ],
                  species[at_once$condition$held_out])
  expect_estimate(at_once$condition_list, others, factor(rep(c("a", "b"), 10), c("a", "b", "c")))
  # the same data in other forms
  for (same in list(as.data.frame(others), list(x = others), cbind(others, more = 1)[, c(6, 5:1)],
                    list(x = as.data.frame(others)))) {
    set.seed(1)
    again <- vae(x, 2, beta = 1, encoder = 6, validation = same, control = settings(8))
    expect_same_fit(again, at_once$matrix)
  }
  # validation changes nothing in training
  expect_identical(at_once$matrix$theta, at_once$plain$theta)
})

test_that("validation data are taken as the model's own are", {
  # a formula makes its features of them
  frame <- as.data.frame(x)
  rows <- as.data.frame(others)
  rows$b <- abs(rows$b)
  train <- function(...) {
    set.seed(1)
    vae(..., k = 2, encoder = 6, control = settings(2))
  }
  by_hand <- function(frame) cbind(a = frame$a, `log(b)` = log(frame$b))
  expect_identical(train(~ a + log(b), data = frame, validation = rows)$history$validation,
                   train(by_hand(frame), validation = by_hand(rows))$history$validation)
  # missing cells of theirs are the mean of the training data to the encoder
  gaps <- with_holes(others)
  fit <- train(x, validation = gaps)
  terms <- reference_terms(coef(fit), gaps, means = colMeans(x))
  expect_lt(abs(fit$history$validation[2] - mean(terms$elbo)),
            4 * sqrt(mean(terms$variance) / 20))
  # and where the training data have some
  fit <- train(holes, validation = others)
  expect_true(all(is.finite(fit$history$validation)))
})

test_that("validation data that do not fit are refused", {
  refused <- function(validation, said, ...) {
    expect_error(vae(x, 2, encoder = 6, validation = validation, control = settings(2), ...),
                 said, class = "elbo_error")
  }
  refused(others[, 1:4], "`validation` must have the columns")
  refused(unname(others)[, 1:4], "`validation` must have the 5 columns")
  refused(others[0, ], "`validation` must have at least 1 row")
  refused(replace(others, 3, Inf), "`validation` must")
  refused(list(others), "`validation` must be a share, a matrix or a list")
  refused(list(x = others, y = 1), "`validation` must be a share, a matrix or a list")
  refused(1, "`validation` must be a share of the rows from 0 to below 1")
  refused(-0.1, "`validation` must be a share of the rows")
  refused("half", "`validation`")
  refused(others, "condition", condition = species)
  refused(list(x = others, condition = rep("d", 20)), "validation[$]condition",
          condition = species)
  refused(list(x = others, condition = species), "validation[$]condition", condition = species)
  # a model without a condition has no use for one
  refused(list(x = others, condition = species[1:20]), "condition")
})

# early stopping -----------------------------------------------------------------

test_that("patience ends training, and the best weights are restored", {
  for (name in c("patience", "patient_without")) {
    patience <- cases[[name]][[2]]$patience
    thetas <- list()
    fit <- run(cases[[name]], 300, callback = function(epoch, metrics, fit) {
      thetas[[epoch]] <<- fit$theta
      TRUE
    })
    score <- if (name == "patience") fit$history$validation else fit$history$elbo
    expect_true(fit$converged)
    expect_identical(which.max(score), fit$best_epoch)
    expect_identical(fit$iterations, fit$best_epoch + as.integer(patience))
    expect_identical(nrow(fit$history), fit$iterations)
    expect_identical(fit$theta, thetas[[fit$best_epoch]])
    expect_identical(fit$state$theta, thetas[[fit$iterations]])
    batches <- if (name == "patience") 3L else 4L             # of 16 of 42 or of 60 rows
    expect_output(print(fit), sprintf(
      "%d epochs of batches of 16, %d steps; weights of epoch %d, the best, stopped early",
      fit$iterations, batches * fit$iterations, fit$best_epoch), fixed = TRUE)
    # no epoch before had gone that long without a better one
    best <- cummax(score)
    since <- seq_along(score) - vapply(seq_along(score), function(i) which.max(score[1:i]), 1L)
    expect_true(all(since[-length(since)] < patience))
  }
  # on the validation rows those weights have the ELBO of the history
  fit <- run(cases$patience, 300)
  held <- x[fit$held_out, ]
  terms <- reference_terms(coef(fit), held)
  expect_lt(abs(max(fit$history$validation) - mean(terms$elbo)),
            4.5 * sqrt(mean(terms$variance) / nrow(held)))
  expect_output(print(fit), paste("ELBO of the validation data:",
                                  format(max(fit$history$validation), digits = 7)),
                fixed = TRUE)
})

test_that("the best weights are restored where training ended otherwise, too", {
  # a rate that spoils what was reached
  rate <- c(rep(0.02, 5), rep(5, 3))
  set.seed(1)
  fit <- vae(x, 2, beta = 1, encoder = 6, start = "random", validation = 0.3,
             control = train_control(epochs = 8, batch_size = 16, learning_rate = rate,
                                     patience = 20))
  expect_identical(fit$converged, NA)
  expect_identical(fit$iterations, 8L)
  expect_lt(fit$best_epoch, 8L)
  expect_identical(which.max(fit$history$validation), fit$best_epoch)
  before <- run(cases$share, fit$best_epoch)
  expect_identical(fit$theta, before$theta)
  expect_identical(fit$elbo, before$elbo)
  # without patience the last weights are the fit
  set.seed(1)
  last <- vae(x, 2, beta = 1, encoder = 6, start = "random", validation = 0.3,
              control = train_control(epochs = 8, batch_size = 16, learning_rate = rate))
  expect_identical(last$best_epoch, 8L)
  expect_identical(last$theta, fit$state$theta)
})

test_that("patience may come or go where training goes on", {
  path <- tempfile(fileext = ".rds")
  run(cases$patience, 4, checkpoint = path)
  # without it the fit has the last weights, not what was best once
  fit <- vae(x, validation = 0.3, resume = path, control = settings(8))
  expect_identical(fit$best_epoch, 8L)
  expect_identical(fit$theta, at_once$share$theta)
  expect_identical(fit$elbo, at_once$share$elbo)
  # with it, from then on
  run(cases$share, 4, checkpoint = path)
  fit <- vae(x, validation = 0.3, resume = path, control = settings(300, patience = 3))
  expect_true(fit$converged)
  expect_identical(fit$iterations, fit$best_epoch + 3L)
  expect_identical(fit$best_epoch, 4L + which.max(fit$history$validation[-(1:4)]))
})

# callbacks ----------------------------------------------------------------------

test_that("callbacks see each epoch, its metrics and a fit to use", {
  seen <- list()
  fit <- run(cases$share, 4, callback = function(epoch, metrics, fit) {
    set.seed(1)
    seen[[length(seen) + 1]] <<- list(
      epoch = epoch, metrics = metrics, mean = predict(fit, x), elbo = elbo(fit, x),
      coef = coef(fit), iterations = fit$iterations, rows = nrow(fit$history),
      shown = utils::capture.output(print(fit)), summary = utils::capture.output(summary(fit)),
      percent = posterior_collapse(fit, x)$percent, tuned = tune_sigma2(fit, x)$sigma2,
      drawn = simulate(fit, 2, seed = 1))
  })
  expect_identical(vapply(seen, `[[`, 1L, "epoch"), 1:4)
  for (i in 1:4) {
    expect_identical(seen[[i]]$metrics, as.list(fit$history[i, ]))
    expect_identical(seen[[i]]$iterations, i)
    expect_identical(seen[[i]]$rows, i)
    # the same as a fit that stopped there
    stopped <- run(cases$share, i)
    expect_identical(seen[[i]]$mean, predict(stopped, x))
    set.seed(1)
    expect_identical(seen[[i]]$elbo, elbo(stopped, x))
    expect_identical(seen[[i]]$coef, coef(stopped))
  }
})

test_that("FALSE from a callback stops training, and nothing else does", {
  stopping <- function(at) function(epoch, metrics, fit) epoch < at
  fit <- run(cases$plain, 8, callback = stopping(3))
  expect_same_fit(fit, run(cases$plain, 3))
  expect_identical(fit$converged, NA)
  expect_same_fit(update(fit, epochs = 8), at_once$plain)
  for (value in list(NULL, NA, 0, "FALSE", c(FALSE, FALSE), TRUE, list(FALSE))) {
    expect_same_fit(run(cases$plain, 8, callback = function(epoch, metrics, fit) value),
                    at_once$plain)
  }
})

test_that("all callbacks of a list are called, whatever one of them says", {
  seen <- character()
  say <- function(what, value) function(epoch, metrics, fit) {
    seen <<- c(seen, paste(what, epoch))
    value
  }
  fit <- run(cases$plain, 8, callback = list(say("a", TRUE), stop_at_2 = function(e, m, f) e < 2,
                                             say("b", NULL)))
  expect_identical(seen, c("a 1", "b 1", "a 2", "b 2"))
  expect_identical(fit$iterations, 2L)
  expect_same_fit(run(cases$plain, 8, callback = list()), at_once$plain)
  # an error in one ends training, but does not take the epochs away
  broken <- warned(run(cases$plain, 8, callback = function(e, m, f) if (e == 3) stop("mine")))
  expect_identical(broken$said, paste(
    "The callback failed after 3 epochs (mine); this is the fit so far, and",
    "`update(fit, epochs = )` continues it."))
  expect_same_fit(update(broken$value, epochs = 8), at_once$plain)
  expect_error(train_control(callback = function(epoch) 1), "`callback` must be NULL, a function",
               class = "elbo_error")
  expect_error(train_control(callback = 1), "`callback` must be NULL, a function",
               class = "elbo_error")
  expect_error(train_control(callback = list(mean, 1)), "`callback` must be NULL, a function",
               class = "elbo_error")
})

# divergence ---------------------------------------------------------------------

test_that("divergence ends training with the last finite fit, and says where and why", {
  for (optimizer in c("adam", "sgd")) {
    for (rate in list(1e6, c(0.01, 0.01, 1e6))) {
      path <- tempfile(fileext = ".rds")
      train <- function(epochs, checkpoint = NULL) {
        set.seed(1)
        vae(x, 2, beta = 1, encoder = 6, optimizer = optimizer, control = train_control(
          epochs = epochs, batch_size = 16, learning_rate = rate, checkpoint = checkpoint))
      }
      out <- warned(train(10, path))
      fit <- out$value
      done <- fit$iterations
      expect_length(out$said, 1)
      expect_match(out$said, sprintf("Training diverged in epoch %d, step [1-4] of it", done + 1))
      expect_match(out$said, "learning rate of 1e+06", fixed = TRUE)
      expect_match(out$said, sprintf("This is the fit after %d epoch%s.", done,
                                     if (done == 1) "" else "s"), fixed = TRUE)
      expect_lt(done, 10)
      expect_true(is.finite(fit$elbo))
      expect_true(all(is.finite(from_floats(fit$theta))))
      expect_identical(if (is.null(fit$history)) 0L else nrow(fit$history), done)
      expect_true(all(is.finite(unlist(fit$history))))
      expect_identical(fit$converged, NA)
      if (done > 0) expect_same_fit(fit, train(done))
      expect_output(print(fit), sprintf("%d epoch", done))
      expect_output(print(summary(fit)), sprintf("%d epoch", done))
      # its checkpoint can be read; to go on is to diverge again
      again <- warned(vae(x, resume = path, control = settings(10)))
      expect_same_fit(again$value, fit)
      expect_identical(again$said, out$said)
    }
  }
})

test_that("an epoch that ends where the ELBO is not finite is not kept", {
  # the steps of the epoch were finite, but not what they led to
  for (rate in 10^seq(1, 8, by = 0.5)) {
    set.seed(1)
    fit <- warned(vae(x, 2, beta = 1, encoder = 6, control = train_control(
      epochs = 3, batch_size = NULL, learning_rate = rate)))$value
    expect_true(is.finite(fit$elbo))
    expect_identical(if (is.null(fit$history)) 0L else nrow(fit$history), fit$iterations)
    expect_true(all(is.finite(predict(fit, x))))
  }
})

test_that("a start that is not finite is an error", {
  expect_error(vae(x, 2, beta = 1, encoder = 6, sigma2 = 1e-320, learn_sigma2 = FALSE,
                   control = settings(2)),
               "The ELBO is not finite where training starts", class = "elbo_error")
})

# continuing with other data or settings -------------------------------------------

test_that("data that are the same but for their place and units are other data", {
  y <- x
  set.seed(1)
  fit <- vae(y, 2, encoder = 6, beta = 1, sigma2 = 1, learn_sigma2 = FALSE, control = settings(3))
  path <- left_behind(cases$plain, 3, 6)
  # powers of two: the networks would see the same numbers
  for (other in list(2 * x, x / 4, x + 128, 2 * x + 64)) {
    y <- other
    expect_error(update(fit, epochs = 5), "`x` must be the data that the model was fitted to",
                 class = "elbo_error")
    expect_error(predict(fit), "not (or no longer) the data it was fitted to", fixed = TRUE,
                 class = "elbo_error")
    expect_error(vae(other, resume = path, control = settings(6)),
                 "`x` must be the data that the model was fitted to", class = "elbo_error")
  }
  y <- x
  expect_identical(predict(fit), predict(fit, x))
})

test_that("a changed condition is not taken for that of the fit", {
  label <- species
  set.seed(1)
  fit <- vae(x, 2, beta = 1, encoder = 6, condition = label, control = settings(3))
  expect_identical(predict(fit), predict(fit, x, condition = species))
  label <- rev(species)
  expect_error(predict(fit), "`condition` must be given", class = "elbo_error")
  expect_identical(predict(fit, condition = species), predict(fit, x, condition = species))
})

test_that("update() with other layers is what its call says", {
  same <- function(changed, ...) {
    set.seed(1)
    expected <- vae(x, 2, ..., control = settings(2))
    expect_same_fit(changed, expected)
    expect_identical(changed$arguments$given, expected$arguments$given)
  }
  begin <- function(...) {
    fit <- vae(x, 2, ..., control = settings(2))
    set.seed(1)
    fit
  }
  same(update(begin(encoder = 6), encoder = c(6, 5)), encoder = c(6, 5))
  same(update(begin(encoder = c(8, 4)), encoder = 6), encoder = 6)
  same(update(begin(encoder = 6, decoder = 3), encoder = 4), encoder = 4, decoder = 3)
  same(update(begin(encoder = 6), activation = "tanh"), encoder = 6, activation = "tanh")
  same(update(begin(encoder = list(dense(6, "elu"), 4)), activation = "tanh"),
       encoder = list(dense(6, "elu"), 4), activation = "tanh")
  same(update(begin(encoder = 6, activation = "silu"), k = 2), encoder = 6, activation = "silu")
  expect_error(update(begin(encoder = 6), activation = "foo"), "`activation` must be one of",
               class = "elbo_error")
  expect_error(vae(x, 2, encoder = integer(0), activation = "foo"),
               "`activation` must be one of", class = "elbo_error")
})

test_that("with other validation data patience compares like with like", {
  early <- left_behind(list(list(x[1:40, ], 2, encoder = 6, start = "random", sigma2 = 20),
                            list(patience = 9)), 10, 12)
  fit <- vae(x[1:40, ], resume = early, validation = x[41:60, ],
             control = settings(14, patience = 3))
  expect_gt(fit$iterations, 10)
  scores <- fit$history$validation
  # the best epoch before, scored on the validation data, or a better one since
  stored <- read_checkpoint(early, is_whole_vae)
  stored$theta <- stored$state$best$theta
  then <- elbo(stored, x[41:60, ], samples = 300)[["elbo"]]
  since <- max(scores, na.rm = TRUE)
  expect_true(fit$best_epoch %in% c(stored$state$best$epoch, which.max(scores)))
  expect_equal(fit$state$best$score, max(then, since), tolerance = 0.1)
  curves <- deep_data(fit, "history", list(), environment())$curves
  expect_identical(curves$iteration[curves$series == "ELBO"], fit$history$epoch)
  expect_identical(curves$iteration[curves$series == "validation"],
                   fit$history$epoch[is.finite(scores)])
  # another condition of the same rows is other validation data
  given <- function(label) list(x = others, condition = label)
  labelled <- left_behind(list(list(x, 2, encoder = 6, condition = species,
                                    validation = given(rep(c("a", "b"), 10))),
                               list(patience = 30)), 6, 8)
  before <- read_checkpoint(labelled, is_whole_vae)$state$best
  again <- function(label) {
    vae(x, condition = species, validation = given(label), resume = labelled,
        control = settings(6, patience = 31))$state$best
  }
  expect_identical(again(rep(c("a", "b"), 10)), before)
  other <- again(rep(c("b", "c"), 10))
  expect_identical(other$epoch, before$epoch)
  expect_false(other$score == before$score)
  # without them the score is that of training again
  back <- vae(x[1:40, ], resume = early, control = settings(14, patience = 30))
  expect_identical(back$state$best$score, max(back$history$elbo))
  expect_output(print(fit), "ELBO of the validation data: -?[0-9]")
})

test_that("update() of a formula fit has its terms for the validation data", {
  frame <- as.data.frame(x)
  set.seed(1)
  fit <- vae(~ a + log(b), 2, beta = 1, encoder = 6, data = frame, validation = frame[1:10, ],
             keep_data = TRUE, control = settings(3))
  set.seed(1)
  longer <- vae(~ a + log(b), 2, beta = 1, encoder = 6, data = frame, validation = frame[1:10, ],
                keep_data = TRUE, control = settings(5))
  expect_same_fit(update(fit, epochs = 5), longer)
  set.seed(1)
  anew <- vae(~ a + log(b), 1, beta = 1, encoder = 6, data = frame, validation = frame[1:10, ],
              keep_data = TRUE, control = settings(3))
  set.seed(1)
  expect_same_fit(update(fit, k = 1), anew)
  expect_null(attr(update(fit, epochs = 5)$x, "elbo_terms"))
})

test_that("a matrix may take the place of a formula", {
  frame <- as.data.frame(x)
  path <- tempfile()
  set.seed(1)
  fit <- vae(~ ., 2, beta = 1, encoder = 6, data = frame, control = settings(3, checkpoint = path))
  set.seed(1)
  longer <- vae(x, 2, beta = 1, encoder = 6, control = settings(5))
  expect_same_fit(vae(x, resume = path, control = settings(5)), longer)
  anew <- update(fit, x = x)
  expect_identical(anew$call$x, quote(x))
  expect_null(anew$call$data)
  expect_identical(update(ppca(~ ., 2, data = frame), x = x)$loglik, ppca(x, 2)$loglik)
  expect_s3_class(update(linear_vae(~ ., 2, data = frame), x = x), "linear_vae")
})

test_that("data that are gone are asked for", {
  lost <- x
  fit <- vae(lost, 2, beta = 1, encoder = 6, control = settings(2))
  exact <- ppca(lost, 2)
  rm(lost)
  for (again in list(function() update(fit, epochs = 4), function() update(fit, k = 1),
                     function() update(exact, k = 1))) {
    expect_error(again(), "`x` must be given: the fit holds no data", class = "elbo_error")
  }
})

test_that("checkpoints of a fit with `keep_data` have the data", {
  path <- left_behind(list(list(x, 2, beta = 1, encoder = 6, condition = species,
                                keep_data = TRUE)), 4, 6)
  expect_identical(read_checkpoint(path, is_whole_vae)$x, x)
  set.seed(1)
  whole <- vae(x, 2, beta = 1, encoder = 6, condition = species, keep_data = TRUE,
               control = settings(6))
  expect_same_fit(vae(resume = path, control = settings(6)), whole)
})

test_that("beta is that of the epoch whose weights the fit has", {
  train <- function(epochs, ...) {
    set.seed(1)
    vae(x, 2, encoder = 6, beta = schedule_warmup(40), validation = 0.3,
        control = settings(epochs, ...))
  }
  for (epochs in c(1, 30)) {
    fit <- without_warmup(train(epochs, patience = 4))
    expect_identical(fit$best_epoch, as.integer(epochs))
    expect_identical(fit$beta, schedule_warmup(40)[epochs])
  }
  fit <- train(90, patience = 4)
  expect_gte(fit$best_epoch, 40L)
  expect_identical(fit$beta, 1)
})

test_that("a sigma2 that is too small is named as the cause", {
  for (sigma2 in c(1e-20, 1e-24)) {
    out <- warned(vae(x, 2, beta = 1, encoder = 6, sigma2 = sigma2, learn_sigma2 = FALSE,
                      control = train_control(5, 16, learning_rate = 1e-6)))
    # whatever the rate
    expect_match(out$said, "`sigma2`, which is too small for the scale of the data")
    expect_false(any(grepl("learning", out$said)))
  }
})

test_that("advice on divergence is of what the model has", {
  for (learned in c(TRUE, FALSE)) {
    said <- warned(vae(x, 2, beta = 1, encoder = 6, learn_sigma2 = learned,
                       control = train_control(3, 16, learning_rate = 1e30)))$said
    expect_identical(any(grepl("sigma2_min", said)), learned)
  }
})

# what update() is told ----------------------------------------------------------

test_that("the call of a fit that went on makes that fit", {
  again <- function(fit) {
    set.seed(1)
    eval(fit$call)
  }
  own <- train_control(epochs = 2, batch_size = 20, learning_rate = 0.02)
  of <- function(...) train_control(2, 20, ...)
  calls <- list(
    quote(vae(x, 2, encoder = 4, control = own)),
    quote(vae(x, 2, encoder = 4, control = of(learning_rate = 0.02))),
    quote(vae(x, 2, encoder = 4, control = train_control(2, 20))),
    quote(vae(x, 2, encoder = 4, control = elbo::train_control(2, learning_rate = 0.02,
                                                               batch = 20))),
    quote(vae(x, 2, encoder = 4, epochs = 2)),
    quote(vae(x, 2, encoder = 4, epochs = 2, batch_size = 20,
              control = train_control(learning_rate = 0.02))),
    quote(vae(x, 2, encoder = 4, control = train_control(2, 20, c(0.02, 0.01)))))
  of_dots <- function(...) vae(x, 2, encoder = 4, control = train_control(...))
  set.seed(1)
  fit <- update(of_dots(epochs = 2, learning_rate = 0.05), epochs = 4)
  expect_identical(fit$call$control, quote(train_control(epochs = 4L, learning_rate = 0.05)))
  expect_same_fit(again(fit), fit)
  shown <- lapply(calls, function(call) {
    set.seed(1)
    fit <- update(eval(call), epochs = 5)
    expect_same_fit(again(fit), fit)
    fit <- update(fit, epochs = 6)
    expect_same_fit(again(fit), fit)
    if (is.null(fit$call$control)) as.list(fit$call)[-(1:4)] else fit$call$control
  })
  for (i in 1:2) expect_identical(shown[[i]], quote(train_control(epochs = 6L, batch_size = 20L,
                                                                  learning_rate = 0.02)))
  # where no rate was given it goes on as it ended
  expect_identical(shown[[3]], quote(train_control(epochs = 6L, batch_size = 20,
                                                   learning_rate = schedule_cosine(2L, 0.001))))
  expect_identical(shown[[4]], quote(elbo::train_control(epochs = 6L, batch_size = 20,
                                                         learning_rate = 0.02)))
  # epochs are an argument of their own where they were, or where there is no control
  expect_identical(shown[[5]], list(epochs = 6L, learning_rate = quote(schedule_cosine(2L, 0.001)),
                                    beta = quote(c(schedule_cosine(1L, 3, 1), 1))))
  expect_identical(shown[[6]], quote(train_control(learning_rate = 0.02)))
  expect_identical(shown[[7]], quote(train_control(epochs = 6L, batch_size = 20,
                                                   learning_rate = c(0.02, 0.01))))
  # epochs that were given would leave out the patience that vae() chose
  fit <- vae(x, 2, encoder = 4, validation = others, batch_size = 10, learning_rate = 0.1)
  more <- update(fit, epochs = fit$iterations + 1)
  expect_identical(more$call$control, quote(train_control(patience = 50L)))
  set.seed(1)
  fit <- update(linear_vae(x, 2, optimizer = "adam", control = own), epochs = 4)
  expect_identical(eval(fit$call$control)$learning_rate, 0.02)
  expect_equal(again(fit)$elbo, fit$elbo)
})

test_that("a fit with `keep_data` goes on without any other object", {
  few <- train_control(epochs = 2, batch_size = 20, learning_rate = 1e-3)
  path <- tempfile(fileext = ".rds")
  made <- local({
    given <- x
    held <- list(x = others, condition = rep(c("a", "b"), 10))
    kinds <- species
    control <- train_control(epochs = 2, batch_size = 20, learning_rate = 1e-3,
                             checkpoint = path)
    start <- function(...) {
      set.seed(1)
      vae(given, 2, beta = 1, encoder = 4, condition = kinds, validation = held, ...)
    }
    list(short = start(keep_data = TRUE, control = control),
         long = start(keep_data = TRUE, control = train_control(epochs = 5, batch_size = 20,
                                                                learning_rate = 1e-3)),
         without = start(control = few))
  })
  for (found in list(update(made$short, epochs = 5),
                     vae(resume = path, control = train_control(epochs = 5)))) {
    expect_same_fit(found, made$long)
    expect_identical(found$history$validation, made$long$history$validation)
  }
  expect_identical(update(made$short, k = 1)$k, 1L)
  expect_null(summary(made$short)$fit$kept_validation)
  # without them it says what is missing
  expect_error(update(made$without, epochs = 5, x = x), "`validation` must be given: `held`",
               class = "elbo_error")
  expect_error(update(made$without, epochs = 5, x = x, validation = NULL),
               "`condition` must be given: `kinds`", class = "elbo_error")
})

test_that("condition and validation data are whatever expressions of the call say", {
  flowers <- list(x = x, kinds = species, held = others)
  few <- train_control(epochs = 2, batch_size = 20, learning_rate = 1e-3)
  more <- train_control(epochs = 4, batch_size = 20, learning_rate = 1e-3)
  pass <- function(...) vae(x, 2, encoder = 4, beta = 1, ..., control = few)
  through <- function(...) update(pass(...), epochs = 4)
  path <- tempfile(fileext = ".rds")
  calls <- list(
    quote(vae(x, 2, encoder = 4, beta = 1, condition = flowers$kinds)),
    quote(vae(x, 2, encoder = 4, beta = 1, condition = with(flowers, kinds))),
    quote(vae(x, 2, encoder = 4, beta = 1,
              condition = sapply(1:60, function(i) i / 60))),
    quote(vae(x, 2, encoder = 4, beta = 1, condition = base::seq_len(60) / 60)),
    quote(vae(x, 2, encoder = 4, beta = 1, validation = flowers$held)),
    quote(vae(x, 2, encoder = 4, beta = 1,
              validation = subset(as.data.frame(others), a < 100))))
  for (call in calls) {
    start <- function(control) {
      call$control <- control
      set.seed(1)
      eval(call)
    }
    expected <- start(more)
    expect_same_fit(update(start(few), epochs = 4), expected)
    start(train_control(epochs = 2, batch_size = 20, learning_rate = 1e-3, checkpoint = path))
    expect_same_fit(vae(resume = path, control = train_control(epochs = 4)), expected)
    # what went on is a checkpoint as good as any
    expect_same_fit(vae(resume = path, control = train_control(epochs = 4, checkpoint = path)),
                    expected)
    found <- read_checkpoint(path, is_whole_vae)
    found$call$control <- call$control <- NULL
    expect_identical(found$call, match.call(vae, call))
    expect_same_fit(update(read_checkpoint(path, is_whole_vae), epochs = 4), expected)
    # and what was made anew with other settings
    other <- update(start(few), control = train_control(epochs = 1, batch_size = 20,
                                                        checkpoint = path))
    expect_identical(read_checkpoint(path, is_whole_vae)$call, other$call)
    expect_same_fit(vae(resume = path, control = train_control(epochs = 2)),
                    update(other, epochs = 2))
    expect_identical(update(start(few), k = 1)$k, 1L)
  }
  set.seed(1)
  found <- through(condition = flowers$kinds,
                   validation = list(x = others, condition = rep("a", 20)))
  expect_identical(found$iterations, 4L)
})

test_that("a checkpoint is found by the call that made it, names of `center` and all", {
  path <- tempfile(fileext = ".rds")
  means <- rev(colMeans(x))
  made <- function(...) {
    set.seed(1)
    vae(x, 2, encoder = 4, beta = 1, center = means, scale = rev(means)^0 * 2, ...)
  }
  made(control = train_control(epochs = 1, learning_rate = 1e-3, checkpoint = path))
  expect_same_fit(made(resume = path, control = train_control(epochs = 3)),
                  made(control = train_control(epochs = 3, learning_rate = 1e-3)))
  set.seed(1)
  vae(x, 2, encoder = 4, validation = 0.2, control = train_control(epochs = 1, checkpoint = path))
  for (none in list(0, NULL)) {
    expect_error(vae(resume = path, validation = none, control = train_control(epochs = 2)),
                 "`validation` must be what the checkpoint was made with", class = "elbo_error")
  }
})

test_that("a callback's fit has the data that the fit is to keep", {
  seen <- list()
  local({
    own <- x
    vae(own, 2, beta = 1, encoder = 3, keep_data = TRUE, control = train_control(
      epochs = 2, callback = function(epoch, metrics, fit) seen[[epoch]] <<- predict(fit)))
  })
  expect_identical(lapply(seen, dim), list(c(60L, 2L), c(60L, 2L)))
})

test_that("a share of the rows is not one more by rounding", {
  rows <- matrix(stats::rnorm(200), 100)
  size <- function(share) {
    length(vae(rows, 1, encoder = 2, validation = share,
               control = train_control(epochs = 1))$held_out)
  }
  shares <- c(0.07, 0.14, 0.28, 0.55, 0.56, 0.071)
  expect_identical(vapply(shares, size, 1L), c(7L, 14L, 28L, 55L, 56L, 8L))
  expect_length(vae(rows, 1, encoder = 2, validation = NULL,
                    control = train_control(epochs = 1))$held_out, 0)
  expect_error(vae(rows, 1, validation = TRUE), "`validation` must be a share", class = "elbo_error")
})

test_that("a validation ELBO that is not finite is no improvement, and is told", {
  case <- list(list(x, 2, encoder = 6, beta = 1, validation = others), list(patience = 4))
  # of the start, and of each epoch
  scored <- function(values) {
    at <- 0
    warned(with_function("validation_rows", function(...) {
      at <<- at + 1
      rep(values[at], 2)
    }, run(case, 6)))
  }
  out <- scored(c(NaN, NaN, -Inf, -9, -8, NaN, -7))
  expect_identical(out$value$best_epoch, 6L)
  expect_match(out$said, "not finite in 3 of 6 epochs", fixed = TRUE)
  out <- scored(c(NaN, NaN, -8, -9, -10, -11, -12))
  expect_identical(out$value$best_epoch, 2L)
  expect_identical(out$value$iterations, 6L)
  expect_true(out$value$converged)
  # never finite: the last weights, after as many epochs as patience has
  out <- scored(rep(NaN, 7))
  expect_identical(c(out$value$iterations, out$value$best_epoch), c(4L, 4L))
  expect_match(out$said, "not finite in 4 of 4 epochs", fixed = TRUE)
  expect_output(print(out$value), "ELBO of the validation data: NaN", fixed = TRUE)
  # nothing is better than the start: the first epoch, and as many as patience has
  out <- scored(c(-5, -5.5, NaN, -6, -7, -8, -9))
  expect_identical(c(out$value$iterations, out$value$best_epoch), c(5L, 0L))
  set.seed(1)
  still <- vae(x, 2, encoder = 6, epochs = 1, learning_rate = 1e-300,
               sigma2_update = "gradient")
  expect_equal(coef(out$value), coef(still))
  # later epochs are told of alone
  fit <- warned(run(case, 3))$value
  expect_length(warned(update(fit, epochs = 4))$said, 0)
})

test_that("a condition of large numbers is warned of, and named where training cannot start", {
  set.seed(1)
  expect_warning(vae(x, 2, encoder = 4, condition = rep(2011:2020, 6),
                     control = train_control(epochs = 1)), "as large as 2020")
  expect_error(suppressWarnings(vae(x, 2, encoder = 4, start = "random",
                                    condition = rep(c(-9e17, 9e17), 30),
                                    noise = "feature", sigma2 = 1e-6,
                                    control = train_control(epochs = 1))),
               "rescale `condition` or `x`", class = "elbo_error")
  expect_error(vae(x, 2, condition = factor(rep(NA, 60))), "`condition` must have levels",
               class = "elbo_error")
  expect_error(vae(x, 2, beta = 1e39), "`beta` must be NULL or a number from 0 to 1e30",
               class = "elbo_error")
  expect_error(vae(x, 2, free_bits = 1e39), "`free_bits` must be", class = "elbo_error")
})
