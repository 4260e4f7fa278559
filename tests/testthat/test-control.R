test_that("defaults are as documented", {
  control <- em_control()
  expect_s3_class(control, "em_control")
  expect_named(control, c("tol", "maxit", "accelerate", "start", "progress"))
  expect_identical(unclass(control)[1:3], list(tol = 1e-8, maxit = 1000L, accelerate = TRUE))
  expect_null(control$start)
  expect_identical(control$progress, interactive())
})

test_that("values are taken as they are, in one type", {
  control <- em_control(tol = 1L, maxit = 5, accelerate = FALSE, progress = TRUE)
  expect_identical(control$tol, 1)
  expect_identical(control$maxit, 5L)
  expect_false(control$accelerate)
  expect_true(control$progress)
  fit <- ppca(as.matrix(iris[1:4]), 2)
  expect_identical(em_control(start = fit)$start, fit)
})

test_that("a setting out of range names itself", {
  expect_error(em_control(tol = 0), "`tol` must be a finite number above 0, not 0.",
               fixed = TRUE, class = "elbo_error")
  expect_error(em_control(maxit = 0), "`maxit` must be a whole number, 1 or more, not 0.",
               fixed = TRUE, class = "elbo_error")
  expect_error(em_control(start = 1), "`start` must be NULL or a fitted `ppca()` model",
               fixed = TRUE, class = "elbo_error")
})

test_that("a control is made by em_control(), not by hand", {
  expect_error(ppca(iris[1:4], 2, control = list(tol = 1)),
               "`control` must come from `em_control()`, not a list.", fixed = TRUE,
               class = "elbo_error")
})

test_that("tol is in nats per observation: units do not matter, n does not", {
  x <- with_holes(model_data(60, 5, 2))
  count <- function(x) ppca(x, 2, method = "em", control = em_control(tol = 1e-5))$iterations
  twice <- plain(rbind(x, x))
  expect_identical(count(twice), count(x))
})

test_that("it prints in a line, and invisibly", {
  expect_output(print(em_control(tol = 1e-4, maxit = 7)),
                "EM settings: accelerated, tol 1e-04 nats, at most 7 maps", fixed = TRUE)
  expect_output(print(em_control(accelerate = FALSE)), "plain")
  capture.output(expect_invisible(print(em_control())))
})

# train_control() ----------------------------------------------------------------

test_that("defaults of training are as documented", {
  control <- train_control()
  expect_s3_class(control, "train_control", exact = TRUE)
  expect_named(control, setdiff(names(formals(train_control)), "..."))
  expect_error(train_control(lr = 3), "Did you mean `learning_rate`")
  expect_identical(
    unclass(control)[1:8],
    list(epochs = NULL, batch_size = NULL, learning_rate = NULL, samples = 1L, tol = 1e-9,
         maxit = 2000L, accelerate = "anderson", rotate = TRUE)
  )
  expect_identical(
    unclass(control)[9:17],
    list(momentum = 0.9, clip = Inf, weight_decay = 0, sigma2_rate = 1, patience = NULL,
         checkpoint = NULL, every = 10L, callback = NULL, threads = NULL)
  )
  expect_identical(control$progress, interactive())
})

test_that("settings of training are taken as they are, in one type", {
  control <- train_control(epochs = 5, batch_size = 32, learning_rate = 1L, samples = 3,
                           tol = 1L, maxit = 7, accelerate = "none", rotate = FALSE,
                           momentum = 0L, clip = 2L, weight_decay = 1L, sigma2_rate = 1L,
                           patience = 4, checkpoint = file.path(tempdir(), "fit.rds"), every = 2,
                           callback = mean, threads = 2, progress = TRUE)
  expect_identical(
    unclass(control),
    list(epochs = 5L, batch_size = 32L, learning_rate = 1, samples = 3L, tol = 1, maxit = 7L,
         accelerate = "none", rotate = FALSE, momentum = 0, clip = 2, weight_decay = 1,
         sigma2_rate = 1, patience = 4L, checkpoint = file.path(normalizePath(tempdir()), "fit.rds"),
         every = 2L, callback = list(mean), threads = 2L, progress = TRUE)
  )
  expect_identical(train_control(callback = list(mean, sum))$callback, list(mean, sum))
  expect_identical(train_control(learning_rate = c(1L, 2L))$learning_rate, c(1, 2))
  expect_identical(train_control(accelerate = "sq")$accelerate, "squarem")
  expect_identical(train_control(accelerate = c("anderson", "squarem", "none"))$accelerate,
                   "anderson")
  expect_identical(train_control(batch_size = Inf)$batch_size, Inf)
  # The elements are there, and NULL, so that they can be taken on by update().
  expect_true(all(c("epochs", "batch_size", "learning_rate", "patience", "checkpoint", "callback", "threads") %in%
                    names(train_control())))
  expect_identical(do.call(train_control, unclass(control)), control)
})

test_that("a setting of training out of range names itself", {
  refused <- function(..., said) {
    expect_error(train_control(...), said, fixed = TRUE, class = "elbo_error")
  }
  refused(epochs = 0, said = "`epochs` must be a whole number, 1 or more, not 0.")
  refused(batch_size = 0, said = "`batch_size` must be a whole number, 1 or more, not 0.")
  refused(batch_size = 1.5, said = "`batch_size` must be a whole number, 1 or more, not 1.5.")
  refused(learning_rate = 0,
          said = "`learning_rate` must be a positive number, or one for each epoch, not 0.")
  refused(learning_rate = c(0.1, -0.1), said = paste("`learning_rate` must be a positive number,",
    "or one for each epoch, not a numeric vector of length 2."))
  refused(samples = 0, said = "`samples` must be a whole number, 1 or more, not 0.")
  refused(tol = 0, said = "`tol` must be a finite number above 0, not 0.")
  refused(maxit = 0, said = "`maxit` must be a whole number, 1 or more, not 0.")
  refused(accelerate = TRUE,
          said = "`accelerate` must be one of \"anderson\", \"squarem\", \"none\", not TRUE.")
  refused(rotate = NA, said = "`rotate` must be TRUE or FALSE, not NA.")
  refused(progress = 1, said = "`progress` must be TRUE or FALSE, not 1.")
  refused(momentum = 1, said = "`momentum` must be a number from 0 to below 1, not 1.")
  refused(weight_decay = 3, learning_rate = c(0.5, 0.1), said = paste(
    "`weight_decay` must be at most 1 / `learning_rate`, 2, where weights become 0 at each step,",
    "not 3."))
  refused(clip = 0, said = "`clip` must be a finite number above 0, not 0.")
  refused(weight_decay = -1,
          said = "`weight_decay` must be a finite number of at least 0, not -1.")
  refused(sigma2_rate = 0, said = "`sigma2_rate` must be a finite number above 0, not 0.")
  refused(patience = 0, said = "`patience` must be a whole number, 1 or more, not 0.")
  refused(every = 0, said = "`every` must be a whole number, 1 or more, not 0.")
  refused(threads = 0, said = "`threads` must be a whole number between 1 and 64, not 0.")
  refused(threads = 65, said = "`threads` must be a whole number between 1 and 64, not 65.")
  refused(callback = "f", said = paste("`callback` must be NULL, a function of",
                                       "(epoch, metrics, fit) or a list of such, not \"f\"."))
  refused(checkpoint = tempdir(), said = "`checkpoint` must name a file in a directory")
  refused(checkpoint = file.path(tempfile(), "fit.rds"),
          said = "`checkpoint` must name a file in a directory that exists")
})

test_that("a checkpoint's name does not depend on the directory that one is in later", {
  old <- setwd(tempdir())
  on.exit(setwd(old))
  here <- normalizePath(getwd())
  unlink("relative-name.rds")
  path <- train_control(checkpoint = "relative-name.rds")$checkpoint
  expect_identical(file.path(normalizePath(dirname(path)), basename(path)),
                   file.path(here, "relative-name.rds"))
  setwd(old)
  expect_identical(normalizePath(dirname(path)), here)
})

test_that("settings of training are made by train_control(), not by hand or by em_control()", {
  for (control in list(list(tol = 1), em_control(), NULL)) {
    for (fitter in list(linear_vae, linear_ae, vae)) {
      expect_error(fitter(iris[1:4], 2, control = control),
                   "`control` must come from `train_control()`", fixed = TRUE,
                   class = "elbo_error")
    }
  }
  expect_error(ppca(iris[1:4], 2, control = train_control()),
               "`control` must come from `em_control()`", fixed = TRUE, class = "elbo_error")
})

test_that("units do not matter to tol and learning_rate", {
  # Powers of two: bit for bit.
  x <- plain(model_data(40, 5, 2))
  run <- function(data, optimizer) {
    set.seed(1)
    linear_vae(data, 2, optimizer = optimizer, sigma2 = mean(apply(data, 2, var)),
               control = train_control(epochs = 30, learning_rate = 0.01))
  }
  for (optimizer in c("em", "adam")) {
    one <- run(x, optimizer)
    other <- run(x * 2^20, optimizer)
    expect_identical(other$iterations, one$iterations)
    expect_identical(other$loadings, one$loadings * 2^20)
    expect_identical(other$D, one$D)
  }
})

test_that("training settings print in three lines, and invisibly", {
  said <- capture.output(expect_invisible(print(train_control(tol = 1e-4, maxit = 7))))
  expect_identical(said, c(
    "Training settings",
    "  em, lbfgs: tol 1e-04, at most 7 iterations; em accelerated by anderson",
    "  adam, sgd: epochs by the model, batch size by the model, learning rate by the model, 1 sample"
  ))
  said <- capture.output(print(train_control(accelerate = "none", rotate = FALSE, epochs = 3,
                                             batch_size = 50, samples = 2)))
  expect_match(said[2], "em not accelerated, not rotated", fixed = TRUE)
  expect_match(said[3], "epochs 3, batch size 50, learning rate by the model, 2 samples",
               fixed = TRUE)
  expect_output(print(train_control(learning_rate = c(0.1, 0.05, 0.01))),
                "learning rate 0.1 to 0.01,", fixed = TRUE)
  expect_output(print(train_control(learning_rate = 0.001)), "learning rate 0.001,", fixed = TRUE)
  expect_output(print(train_control(batch_size = Inf)), "batch size all rows,", fixed = TRUE)
})
