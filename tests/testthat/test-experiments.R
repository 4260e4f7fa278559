# The experiments of inst/experiments on deep VAEs: small versions of each, on the
# package's digits, bear out what the paper says of the large ones; and the runner keeps,
# resumes and shares its jobs.

# A script's functions. Results and scratch files go into a directory that is gone at the
# end of the test.
experiment <- function(name, env = parent.frame()) {
  dir <- tempfile("experiments-")
  dir.create(dir)
  names <- c("ELBO_RESULTS", "ELBO_SCRATCH", "ELBO_OUT", "ELBO_SETTINGS")
  before <- Sys.getenv(names, NA, names = TRUE)
  Sys.setenv(ELBO_RESULTS = file.path(dir, "results"), ELBO_SCRATCH = dir, ELBO_OUT = dir,
             ELBO_SETTINGS = "")
  restore <- function() {
    for (name in names) {
      if (is.na(before[[name]])) Sys.unsetenv(name) else
        do.call(Sys.setenv, as.list(before[name]))
    }
    unlink(dir, recursive = TRUE)
  }
  do.call(on.exit, list(as.call(list(restore)), add = TRUE), envir = env)
  script <- new.env(parent = globalenv())
  sys.source(system.file("experiments", paste0(name, ".R"), package = "elbo"), script)
  script
}

quietly_run <- function(...) {
  utils::capture.output(out <- suppressMessages(list(...)[[1]]))
  out
}

holds <- function(claims, words) {
  row <- grep(words, claims$statement)
  expect_length(row, 1)
  claims$holds[row]
}

# A job that does nothing but say what it is.
job <- function(id, seed = 1, n = 10, epochs = 5) {
  list(id = id, seed = seed, n = n, epochs = epochs)
}

# The runner -------------------------------------------------------------------

test_that("words are ids, settings of the recipe's types, or refused", {
  runner <- experiment("runner")
  recipe <- list(epochs = 200, widths = "1024-512")
  asked <- runner$read_words(c("learned-1", "epochs=2", "widths=8", "threads=1", "list"), recipe)
  expect_identical(asked$recipe, list(epochs = 2, widths = "8"))
  expect_identical(asked$ids, "learned-1")
  expect_identical(asked$threads, 1L)
  expect_true(asked$list)
  expect_error(runner$read_words("epoch=2", recipe), "There is no setting `epoch`")
  expect_error(runner$read_words("epochs=two", recipe), "`epochs` must be a number, not two")
  ids <- c("fixed-1-seed1", "fixed-10-seed1", "learned-1-seed1", "learned-1-seed2")
  expect_identical(runner$chosen(ids, character()), rep(TRUE, 4))
  expect_identical(runner$chosen(ids, "fixed-1"), c(TRUE, FALSE, FALSE, FALSE))
  expect_identical(runner$chosen(ids, c("learned", "fixed-10-seed1")), c(FALSE, TRUE, TRUE, TRUE))
  expect_error(runner$chosen(ids, "fixed-2"), "There is no job fixed-2")
})

test_that("a job that is stored with the same settings is not run again", {
  runner <- experiment("runner")
  ran <- character()
  run <- function(job, files) {
    ran <<- c(ran, job$id)
    list(toy = data.frame(elbo = -job$epochs / 3, notes = "a, \"b\""),
         "toy-curve" = data.frame(eps = c(0.1, 1), percent = c(0, 50)))
  }
  jobs <- function(recipe) list(job("a", epochs = recipe$epochs), job("b", epochs = recipe$epochs))
  go <- function(...) quietly_run(runner$run_experiment("toy", list(epochs = 5), jobs, run, c(...)))
  expect_identical(go("a"), c(a = "run"))
  expect_identical(go(), c(a = "stored", b = "run"))
  expect_identical(ran, c("a", "b"))
  table <- runner$stored("toy")
  expect_identical(table$elbo, rep(signif(-5 / 3, 8), 2))
  expect_identical(table$notes, rep("a, \"b\"", 2))
  expect_identical(unique(table$version), format(utils::packageVersion("elbo")))
  expect_identical(runner$stored("toy-curve")$percent, c(0L, 50L, 0L, 50L))

  # Other settings are another row; the longest run of an id is the one that counts.
  expect_identical(go("a", "epochs=9"), c(a = "run"))
  expect_identical(go("b", "epochs=2"), c(b = "run"))
  expect_identical(runner$stored("toy")[c("id", "epochs")],
                   data.frame(id = c("b", "a"), epochs = c(5L, 9L)))
  expect_identical(nrow(runner$stored_text("toy")), 4L)
  expect_identical(runner$stored("toy-curve")$epochs, c(5L, 5L, 9L, 9L))
})

test_that("a job that fails is not stored, and its lock is released", {
  runner <- experiment("runner")
  go <- function(run) {
    jobs <- function(recipe) list(job("a"))
    quietly_run(runner$run_experiment("toy", list(), jobs, run, character()))
  }
  expect_error(go(function(job, files) stop("no memory")), "no memory")
  expect_null(runner$stored("toy"))
  expect_identical(go(function(job, files) list(toy = data.frame(elbo = 1))), c(a = "run"))
})

test_that("a lock is one process's while it lives", {
  runner <- experiment("runner")
  lock <- file.path(runner$scratch_dir(), "a.lock")
  expect_true(runner$take_lock(lock))
  expect_false(runner$take_lock(lock))                 # this process lives
  runner$release_lock(lock)
  expect_true(runner$take_lock(lock))
  skip_on_os("windows")
  # of a process that has ended
  dead <- as.integer(system2("sh", c("-c", shQuote("echo $$")), stdout = TRUE))
  writeLines(as.character(dead), file.path(lock, "pid"))
  expect_true(runner$take_lock(lock))
  expect_identical(runner$lock_owner(lock), Sys.getpid())
  expect_identical(list.files(runner$scratch_dir()), "a.lock")
})

test_that("of processes side by side each runs jobs of its own, and all rows are kept", {
  skip_on_cran()
  skip_on_os("windows")
  runner <- experiment("runner")
  file <- file.path(runner$scratch_dir(), "toy.R")
  writeLines(c(
    sprintf(".libPaths(%s)", paste(deparse(.libPaths()), collapse = "")),
    "source(system.file('experiments', 'runner.R', package = 'elbo'))",
    "jobs <- function(recipe) lapply(1:8, function(i) {",
    "  list(id = paste0('j', i), seed = 1, n = 1, epochs = 1)",
    "})",
    "run <- function(job, files) {",
    "  Sys.sleep(0.05)",
    "  list(toy = data.frame(process = Sys.getpid()))",
    "}",
    "run_experiment('toy', list(), jobs, run, character())"), file)
  rscript <- file.path(R.home("bin"), "Rscript")
  for (wait in c(FALSE, TRUE)) {
    system2(rscript, shQuote(file), stdout = FALSE, stderr = FALSE, wait = wait)
  }
  deadline <- Sys.time() + 30
  while (NROW(runner$stored("toy")) < 8 && Sys.time() < deadline) Sys.sleep(0.1)
  expect_identical(sort(runner$stored("toy")$id), paste0("j", 1:8))
  expect_identical(nrow(runner$stored_text("toy")), 8L)
})

# The experiments --------------------------------------------------------------

small <- c("n=300", "k=10", "widths=32", "batch_size=25", "rate_from=0.003", "epochs=10")

test_that("a job goes on from its checkpoint and ends as if it had never stopped", {
  script <- experiment("table1")
  go <- function(run, ...) {
    quietly_run(script$run_experiment("table1", script$table1_recipe, script$table1_jobs, run,
                                      c("learned-10-seed1", small, ...)))
  }
  whole <- script$table1_run
  stopped <- function(job, files) {
    script$train_job(script$mnist_images(job$n), job, files, encoder = script$widths_of(job$widths),
                     activation = job$activation, transform = logit_pixels(job$alpha),
                     start = job$start, sigma2 = job$sigma2, learn_sigma2 = TRUE,
                     sigma2_update = job$sigma2_update,
                     callback = function(epoch, metrics, fit) epoch != 6)
    stop("killed")
  }
  expect_error(go(stopped), "killed")
  scratch <- file.path(script$scratch_dir(), "table1")
  expect_length(list.files(scratch, "checkpoint$"), 1)
  # its callbacks are called again
  said <- utils::capture.output(expect_identical(
    script$run_experiment("table1", script$table1_recipe, script$table1_jobs, whole,
                          c("learned-10-seed1", small)), c("learned-10-seed1" = "run")))
  expect_match(said, "epoch 10, ELBO", all = FALSE, fixed = TRUE)
  expect_length(list.files(scratch, "checkpoint$"), 0)
  resumed <- script$stored("table1")

  again <- experiment("table1")
  quietly_run(again$run_experiment("table1", again$table1_recipe, again$table1_jobs,
                                   again$table1_run, c("learned-10-seed1", small)))
  same <- setdiff(names(resumed), "seconds")
  expect_identical(again$stored("table1")[same], resumed[same])
  expect_identical(resumed$epochs_made, 10L)
})

test_that("Table 1, small: collapse falls and KL rises as a fixed sigma2 falls", {
  skip_on_cran()
  script <- experiment("table1")
  # 10,000 is far above the largest eigenvalue of the covariance, about 720
  words <- c("n=300", "k=20", "widths=32", "epochs=80", "batch_size=25", "rate_from=0.01",
             "values=10000,10,0.1", "fixed", "learned-10000-seed1", "learned-10-seed1",
             "learned-0.1-seed1")
  quietly_run(script$run_experiment("table1", script$table1_recipe, script$table1_jobs,
                                    script$table1_run, words))
  table <- script$stored("table1")
  claims <- script$table1_claims(table, values = c(10000, 10, 0.1))
  expect_true(holds(claims, "KL rises"))
  expect_true(holds(claims, "most collapsed"))
  expect_true(all(table$tuned_elbo >= table$elbo))
  expect_true(all(is.na(script$table1_claims(table)$holds)))     # not the paper's values
  curves <- script$stored("table1-collapse")
  for (id in table$id) {
    curve <- curves[curves$id == id, ]
    expect_true(all(diff(curve$percent) >= 0))
    expect_equal(curve$percent[curve$eps == 0.01], table$collapsed[table$id == id])
  }
  # after so few steps no KL is below 0.01 yet: those at the largest sigma2 are below 0.1
  near <- curves[curves$eps == 0.1, ]
  expect_equal(near$percent[match(paste0("fixed-", c("10000", "10", "0.1"), "-seed1"), near$id)],
               c(100, 0, 0))
  draw(experiment("fig56")$draw_fig56(curves))
})

test_that("the measures of a row are those of its stored model, in plain R", {
  script <- experiment("table1")
  quietly_run(script$run_experiment("table1", script$table1_recipe, script$table1_jobs,
                                    script$table1_run, c("fixed-10", small)))
  row <- script$stored("table1")
  fit <- readRDS(list.files(file.path(script$scratch_dir(), "table1"), "rds$", full.names = TRUE))
  # the draws that were measured on, and the logit by its definition
  set.seed(1001)
  pixels <- mnist1000$x[1:300, ]
  a <- 1e-6 + (1 - 2e-6) * (pixels + runif(length(pixels))) / 256
  y <- log(a / (1 - a))
  jacobian <- mean(rowSums(log((1 - 2e-6) / 256) - log(a) - log(1 - a)))
  w <- coef(fit)
  q <- reference_encode(w, y)
  kl <- reference_kl(q)
  expect_equal(row$kl, mean(rowSums(kl)), tolerance = 1e-4)
  expect_equal(row$collapsed, 100 * mean(colMeans(kl < 0.01) >= 0.99))
  expect_identical(row$active_units, sum(apply(q$mean, 2, var) * 299 / 300 > 0.01))
  set.seed(1)
  draws <- replicate(20, {
    z <- q$mean + sqrt(q$variance) * rnorm(length(q$mean))
    mean((y - reference_decode(w, z)$mean)^2)
  })
  # the row has one sample of z for each image
  expect_lt(abs(row$tuned_sigma2 - mean(draws)), 5 * sd(draws) * sqrt(1 + 1 / 20))
  at <- function(s2) {
    -392 * (log(2 * pi * s2) + row$tuned_sigma2 / s2) - row$kl + jacobian
  }
  expect_equal(row$elbo, at(10), tolerance = 1e-5)
  expect_equal(row$tuned_elbo, at(row$tuned_sigma2), tolerance = 1e-5)
})

test_that("Fig. 4, small: pPCA is the roof, and the linear encoder is not outperformed", {
  skip_on_cran()
  script <- experiment("fig4")
  words <- c("n=300", "k=3", "deep=16", "relu=16", "tanh=16", "epochs=300", "batch_size=25",
             "rate_from=0.01", "sigma2=6")
  quietly_run(script$run_experiment("fig4", script$fig4_recipe, script$fig4_jobs, script$fig4_run,
                                    words))
  table <- script$stored("fig4")
  expect_identical(table$id, c("ppca", "linear", "deep-linear", "relu", "tanh"))
  claims <- script$fig4_claims(table, slack = 2)       # after so few steps
  expect_true(holds(claims, "no ELBO exceeds"))
  expect_true(holds(claims, "not outperformed"))
  history <- script$stored("fig4-history")
  expect_identical(unique(history$id), table$id[-1])
  draw(script$draw_fig4(table, history))
})

test_that("annealing, small: dimensions that a warm-up wakes collapse again", {
  skip_on_cran()
  script <- experiment("annealing-mnist")
  words <- c("n=500", "k=20", "widths=32", "batch_size=50", "rate_from=0.01", "rate_to=0.0001",
             "epochs=150", "warmup=30", "values=1000", "followed=100", "warmup-1000")
  quietly_run(script$run_experiment("annealing-mnist", script$annealing_recipe,
                                    script$annealing_jobs, script$annealing_run, words))
  history <- script$stored("annealing-mnist-history")
  expect_lte(max(history$collapsed[1:30]), 10)
  expect_gte(mean(history$collapsed[131:150]), 30)
  claims <- script$annealing_claims(script$stored("annealing-mnist"), history)
  expect_true(holds(claims, "warmup-1000"))
  expect_true(is.na(holds(claims, "Adam")))
  draw(script$draw_annealing(history, "1000"))
})

test_that("(beta, sigma2) takes the steps of (1, beta sigma2), at a rate beta times smaller", {
  script <- experiment("annealing-mnist")
  words <- c(small, "followed=50", "beta=4", "pair")
  quietly_run(script$run_experiment("annealing-mnist", script$annealing_recipe,
                                    script$annealing_jobs, script$annealing_run, words))
  table <- script$stored("annealing-mnist")
  history <- script$stored("annealing-mnist-history")
  claims <- script$annealing_claims(table, history)
  expect_true(holds(claims, "Adam"))
  expect_true(holds(claims, "SGD"))
  for (optimizer in c("adam", "sgd")) {
    of <- function(side) history[history$id == paste("pair", optimizer, side, sep = "-"), ]
    expect_equal(of("beta")$kl, of("sigma2")$kl, tolerance = 1e-3)
    expect_equal(of("beta")$mse, of("sigma2")$mse, tolerance = 1e-3)
    expect_gt(of("beta")$mse[1], 1.05 * of("beta")$mse[10])      # they have moved
  }
  # As likelihoods the two are not the same.
  elbo <- table$elbo[match(c("pair-adam-beta", "pair-adam-sigma2"), table$id)]
  expect_gt(elbo[2], elbo[1] + 100)
  draw(script$draw_pairs(history))
})

test_that("the mean squared error of a history is that of its reconstruction", {
  script <- experiment("mnist")
  # log N(x; g, s2) of 5 features whose squared errors have the mean 0.7
  row <- data.frame(reconstruction = sum(dnorm(sqrt(0.7), 0, sqrt(c(2, 2, 2, 2, 2)), log = TRUE)),
                    sigma2 = 2)
  expect_equal(script$history_mse(row, 5), 0.7)
})

test_that("section 3.6, small: what sigma and beta do", {
  skip_on_cran()
  script <- experiment("sigma")
  words <- c("n=300", "widths=32", "epochs=40", "batch_size=25", "rate_from=0.003")
  quietly_run(script$run_experiment("sigma", script$sigma_recipe, script$sigma_jobs,
                                    script$sigma_run, words))
  table <- script$stored("sigma")
  claims <- script$sigma_claims(table)
  expect_identical(claims$statement[!claims$holds], character())
  recipe <- script$read_words(words, script$sigma_recipe)$recipe
  fits <- script$sigma_fits(script$sigma_jobs(recipe))
  expect_identical(names(fits), table$id)
  script$draw_sigma(fits)
  pictures <- c("sigma-bands.png", "sigma-beta.png", "sigma-draws.png", "sigma-latent.png")
  expect_identical(list.files(script$scratch_dir(), "png$"), pictures)
})

# What is stored -----------------------------------------------------------------

test_that("every stored row says with what it was made", {
  files <- list.files(system.file("extdata", "results", package = "elbo"), "csv$",
                      full.names = TRUE)
  skip_if(!length(files), "No results are stored yet")
  for (file in files) {
    table <- utils::read.csv(file)
    expect_true(all(c("id", "seed", "version", "settings", "n", "k", "epochs", "date", "threads")
                    %in% names(table)), info = basename(file))
    expect_false(anyNA(table[c("id", "seed", "version", "settings", "n", "k")]),
                 info = basename(file))
    # settings are settings of one job
    expect_identical(anyDuplicated(unique(table[c("id", "seed", "n", "settings")])$settings), 0L,
                     info = basename(file))
  }
})

test_that("the stored curves of Fig. 3 begin as training does", {
  table <- utils::read.csv(system.file("extdata", "fig3.csv", package = "elbo"))
  for (elbo in c("analytic", "stochastic")) {
    set.seed(1)
    fit <- linear_vae(mnist1000$x / 255, 200, elbo = elbo, optimizer = "adam", sigma2 = 0.1,
                      control = train_control(epochs = 10, learning_rate = 0.003))
    expect_equal(fit$history$elbo[table$step[1:2]], table[[elbo]][1:2], tolerance = 1e-6)
  }
})
