# Threads, kernels and BLAS: options(elbo.threads, elbo.kernel, elbo.blas). The number
# of threads changes no bit of a fit; another kernel or BLAS rounds differently.

# Large enough that products are shared among the threads (m n k >= 5e4).
x <- mnist1000$x[1:300, 210:449] / 255

# Of deep VAEs the weights, as doubles; what is left out is not a function of the seed.
deep_of <- function(x, ...) {
  fit <- vae(x, 4, ..., validation = 0.1, control = train_control(
    epochs = 3, batch_size = 64, learning_rate = 0.01, samples = 2, progress = FALSE))
  list(coef = coef(fit), history = fit$history[names(fit$history) != "seconds"],
       elbo = elbo(fit, x, samples = 3, by = "observation", weighted = TRUE),
       z = predict(fit, x), back = predict(fit, x, "reconstruction"),
       moments = lapply(fit$state[c("m", "v")], function(bytes) {
         readBin(bytes, "numeric", length(bytes) / 4, size = 4)
       }))
}

parts <- c("loadings", "scores", "sigma2", "loglik", "values", "V", "D", "elbo", "state",
           "history", "kl_dimensions")

# Every way that products are used, from the same seed.
fits_of <- function(x) {
  train <- function(...) train_control(..., progress = FALSE)
  set.seed(1)
  fits <- suppressWarnings(list(
    exact = ppca(x, 6),
    em = ppca(x, 6, method = "em", control = em_control(maxit = 6, progress = FALSE)),
    vae = linear_vae(x, 6, control = train(maxit = 8)),
    # more columns than rows: the products are with x itself, not with its covariance
    wide = linear_vae(x[1:90, ], 6, control = train(maxit = 8)),
    adam = linear_vae(x, 6, elbo = "stochastic",
                      control = train(epochs = 3, batch_size = 64, learning_rate = 0.01))))
  fits <- lapply(fits, function(fit) unclass(fit)[intersect(parts, names(fit))])
  holes <- replace(x[1:90, ], seq(7, 9000, by = 11), NA)
  c(fits, list(products = products_of(x),
               deep = deep_of(x, encoder = c(48, 24), activation = "gelu"),
               deep_holes = deep_of(holes, encoder = 40, noise = "network")))
}

products_of <- function(x) {
  asked <- list(center = TRUE, scale = FALSE, transform = NULL)
  elbo:::core_covariance_times(elbo:::covariance_data(x, asked), t(x[1:20, ]))
}

# Runs `code` with those options.
under <- function(..., code) {
  old <- options(...)
  on.exit(options(old))
  code
}

# The same but for rounding: states after a few steps, so that it has not grown. Deep VAEs
# start from LAPACK's solution, which they round to floats.
expect_near <- function(found, expected) {
  expect_named(found, names(expected))
  for (name in names(expected)) {
    expect_equal(found[[name]], expected[[name]],
                 tolerance = if (startsWith(name, "deep")) 1e-3 else 1e-8)
  }
}

defaults <- list(elbo.threads = NULL, elbo.kernel = NULL, elbo.blas = NULL)
plain_fits <- under(defaults, code = fits_of(x))

test_that("the number of threads changes no bit", {
  for (threads in list(1, 2, 2L, 3)) {
    found <- under(elbo.threads = threads, code = fits_of(x))
    for (name in names(found)) expect_identical(found[[name]], plain_fits[[name]])
  }
})

test_that("options that make no sense are those that are not set", {
  for (value in list(NA, -1, "two", 1:2, NULL)) {
    found <- under(elbo.threads = value, code = ppca(x, 6))
    expect_identical(found$loadings, plain_fits$exact$loadings)
  }
  for (value in list("best", NA, 1, c("avx2", "portable"))) {
    found <- under(elbo.kernel = value, elbo.blas = value, code = ppca(x, 6))
    expect_identical(found$loadings, plain_fits$exact$loadings)
  }
})

test_that("kernels and R's BLAS agree within rounding, for any number of threads", {
  choices <- list(list(elbo.kernel = "portable"), list(elbo.kernel = "avx2"),
                  list(elbo.blas = "R"))
  for (choice in choices) {
    found <- under(choice, code = fits_of(x))
    expect_near(found, plain_fits)
    if (is.null(choice$elbo.blas)) {
      one <- under(c(choice, elbo.threads = 1), code = fits_of(x))
      expect_identical(one, found)
    }
  }
})

test_that("what is asked for computes", {
  # By their last bits the portable kernel and those that fuse multiply and add differ.
  cpu <- if (file.exists("/proc/cpuinfo")) readLines("/proc/cpuinfo") else ""
  flags <- grep("^flags", cpu, value = TRUE)
  skip_if_not(R.version$arch == "x86_64" && any(grepl(" fma .* avx2 ", flags)))
  usual <- products_of(x)
  portable <- under(elbo.kernel = "portable", code = products_of(x))
  expect_false(identical(portable, usual))
  # R's BLAS knows nothing of our kernels.
  expect_identical(under(elbo.blas = "R", elbo.kernel = "portable", code = products_of(x)),
                   under(elbo.blas = "R", code = products_of(x)))
})

# Processes ----------------------------------------------------------------

# A job's value, NULL if it takes longer than `seconds`: it is ended then.
collected <- function(job, seconds = 120) {
  value <- parallel::mccollect(job, wait = FALSE, timeout = seconds)
  if (is.null(value)) tools::pskill(job$pid, tools::SIGKILL)
  suppressWarnings(parallel::mccollect(job, wait = FALSE, timeout = 5)) # it has ended
  value[[1]]
}

# The value of `code` in a forked process.
forked <- function(code, ...) collected(parallel::mcparallel(code, silent = TRUE), ...)

test_that("a process forked after threads were used computes the same", {
  skip_on_os("windows")
  expect_identical(under(elbo.threads = 2, code = fits_of(x)), plain_fits)
  for (threads in 1:2) {
    found <- under(elbo.threads = threads, code = forked(fits_of(x)))
    expect_identical(found, plain_fits)
  }
  # and so does its parent, afterwards
  expect_identical(under(elbo.threads = 2, code = fits_of(x)), plain_fits)
})

test_that("so do two of them at a time, and one that a fork has forked", {
  skip_on_os("windows")
  jobs <- lapply(1:2, function(i) parallel::mcparallel(fits_of(x), silent = TRUE))
  for (job in jobs) expect_identical(collected(job), plain_fits)
  expect_identical(forked(forked(fits_of(x), seconds = 60)), plain_fits)
})

# A new session with those environment variables: its fits, and how many threads it
# had before and after them. R's own BLAS has one thread in all of them, as LAPACK's
# results may depend on it.
session <- function(env, threads) {
  file <- tempfile(fileext = ".rds")
  saveRDS(list(x = x, fits_of = fits_of, products_of = products_of, deep_of = deep_of,
               parts = parts), file)
  said <- rscript(sprintf("
    library(elbo)
    options(elbo.threads = %s)
    list2env(readRDS('%s'), globalenv())
    environment(fits_of) <- environment(deep_of) <- globalenv()
    threads <- function() length(dir('/proc/self/task'))
    before <- threads()
    fits <- fits_of(x)
    saveRDS(list(fits = fits, more = threads() - before), '%s')", deparse(threads), file, file),
    env = c(env, "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1", "BLIS_NUM_THREADS=1"))
  found <- readRDS(file)
  if (is.null(found$fits)) fail(paste(said, collapse = "\n"))
  found
}

test_that("OpenMP's variables limit the threads, and change no bit", {
  free <- session(c("OMP_NUM_THREADS=2", "OMP_THREAD_LIMIT=8"), 2)
  sessions <- list(session("OMP_NUM_THREADS=1", 2),
                   session(c("OMP_NUM_THREADS=8", "OMP_THREAD_LIMIT=1"), NULL),
                   session("OMP_NUM_THREADS=2", 1))
  for (one in sessions) {
    expect_identical(one$fits, free$fits)
    expect_identical(one$more, 0L)
  }
  expect_near(free$fits, plain_fits)
  skip_on_os(c("windows", "mac", "solaris")) # where no /proc counts the threads
  expect_identical(free$more, 1L)
})

# The value of `code` (lines of R, with fits_of() and its data) in a new session that has
# not loaded elbo, nor R's BLAS with threads of its own.
fresh <- function(code) {
  file <- tempfile(fileext = ".rds")
  saveRDS(list(x = x, fits_of = fits_of, products_of = products_of, deep_of = deep_of,
               parts = parts), file)
  said <- rscript(sprintf("
    list2env(readRDS('%s'), globalenv())
    environment(fits_of) <- environment(deep_of) <- globalenv()
    value <- {%s}
    saveRDS(list(value = value), '%s')", file, code, file),
    env = c("OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1", "BLIS_NUM_THREADS=1"),
    timeout = 300)
  found <- readRDS(file)
  if (!"value" %in% names(found)) fail(paste(said, collapse = "\n"))
  found$value
}

test_that("elbo first loaded in a forked process works there, and does not hang", {
  skip_on_os("windows")
  for (threads in c("NULL", "1", "2")) {
    found <- fresh(sprintf("
      job <- parallel::mcparallel({
        library(elbo)
        options(elbo.threads = %s)
        fits_of(x)
      }, silent = TRUE)
      found <- parallel::mccollect(job, wait = FALSE, timeout = 120)
      if (is.null(found)) tools::pskill(job$pid, tools::SIGKILL)
      found[[1]]", threads))
    expect_type(found, "list")
    expect_near(found, plain_fits)
  }
})

test_that("the package can be unloaded after threads were used, and loaded again", {
  found <- suppressWarnings(fresh("
    library(elbo)
    options(elbo.threads = 2)
    threads <- function() length(dir('/proc/self/task'))
    before <- threads()
    first <- fits_of(x)
    unloadNamespace('elbo')
    loaded <- 'elbo' %in% names(getLoadedDLLs())
    # a thread that is left has no code to run any more
    left <- threads() - before
    if (left > 0) stop('threads are left')
    library(elbo)
    list(first = first, loaded = loaded, second = fits_of(x))"))
  expect_false(found$loaded)
  expect_identical(found$second, found$first)
})

test_that("a fork while a VAE trains leaves both processes able to", {
  skip_on_os("windows")
  value <- NULL
  forking <- function(epoch, metrics, fit) {
    if (epoch == 2) value <<- forked(predict(fit, x))
    TRUE
  }
  train <- function(...) {
    set.seed(1)
    vae(x, 4, encoder = 48, control = train_control(epochs = 3, batch_size = 64,
                                                    progress = FALSE, threads = 2, ...))
  }
  fit <- train(callback = forking)
  expect_identical(fit$theta, train()$theta)
  set.seed(1)
  two <- vae(x, 4, encoder = 48,
             control = train_control(epochs = 2, batch_size = 64,
                                     learning_rate = schedule_cosine(3, 0.001)))
  expect_identical(value, predict(two, x))
})
