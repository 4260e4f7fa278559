# What the experiments on MNIST with deep VAEs share: the data, training that goes on
# from a checkpoint, and the paper's measures.

source(system.file("experiments", "common.R", package = "elbo"), local = TRUE)
source(system.file("experiments", "runner.R", package = "elbo"), local = TRUE)
out_dir <- Sys.getenv("ELBO_OUT", scratch_dir())

# ---- data ----------------------------------------------------------------

# The directory of MNIST's files: ELBO_MNIST, or shared/data/mnist beside the checkout
# (beside any directory above this one).
find_mnist <- function() {
  if (nzchar(mnist_dir)) return(mnist_dir)
  dir <- normalizePath(getwd())
  while (dirname(dir) != dir) {
    dir <- dirname(dir)
    candidate <- file.path(dir, "shared", "data", "mnist")
    if (dir.exists(candidate)) return(candidate)
  }
  NULL
}

read_mnist <- function(name, n) {
  dir <- find_mnist()
  if (is.null(dir)) {
    stop("More than the 1,000 digits of the package need MNIST's files. ELBO_MNIST must name ",
         "their directory; n=1000 runs a small version without them.")
  }
  all <- read_idx(file.path(dir, paste0("train-", name, "-ubyte.gz")))
  if (n > NROW(all)) stop("`n` must be at most ", NROW(all), ", not ", n, ".")
  if (is.matrix(all)) all[seq_len(n), ] else all[seq_len(n)]
}

# The first n training images, pixels from 0 to 255 (n x 784 integers), and their labels.
# The first 1,000 are those of the package.
mnist_images <- function(n) {
  if (n <= 1000) mnist1000$x[seq_len(n), ] else read_mnist("images-idx3", n)
}

mnist_labels <- function(n) {
  factor(if (n <= 1000) mnist1000$y[seq_len(n)] else read_mnist("labels-idx1", n), 0:9)
}

# Pixels with uniform noise, drawn once. logit_pixels() takes them as they are, so that all
# measures are of the same draws.
dequantise <- function(x) x + stats::runif(length(x))

# ---- training ------------------------------------------------------------

# Widths of hidden layers as one word: "1024-512", "none".
widths_of <- function(word) {
  if (word == "none") integer(0) else as.integer(strsplit(as.character(word), "-")[[1]])
}

# The fit of a job: vae(x, ...) with the job's epochs, batches and rates, from its
# checkpoint where there is one. `callback` as in train_control().
train_job <- function(x, job, files, ..., condition = NULL, callback = NULL) {
  control <- train_control(
    sigma2_rate = if (is.null(job$sigma2_rate)) 1 else job$sigma2_rate,
    epochs = job$epochs, batch_size = job$batch_size,
    learning_rate = schedule_cosine(job$epochs, job$rate_from, job$rate_to),
    checkpoint = files$checkpoint, every = 5, progress = FALSE,
    callback = c(list(tell_epoch(job$id)), callback))
  if (file.exists(files$checkpoint)) {                 # a checkpoint has no callbacks
    say("%s: goes on from its checkpoint", job$id)
    return(vae(x, resume = files$checkpoint, condition = condition, control = control))
  }
  set.seed(job$seed)
  vae(x, job$k, ..., condition = condition, control = control)
}

# A callback that writes a line each epoch for the first five, and then each tenth.
tell_epoch <- function(id) {
  force(id)
  function(epoch, metrics, fit) {
    if (epoch > 5 && epoch %% 10 != 0) return(TRUE)
    say("%s: epoch %d, ELBO %.1f, KL %.1f, sigma2 %.4f, %.1f s", id, epoch, metrics$elbo,
        metrics$kl, metrics$sigma2, metrics$seconds)
    TRUE
  }
}

# Warnings of `code` as text, beside its value.
with_notes <- function(code) {
  notes <- character()
  value <- withCallingHandlers(code, warning = function(w) {
    notes <<- c(notes, gsub("[[:space:]]+", " ", conditionMessage(w)))
    invokeRestart("muffleWarning")
  })
  list(value = value, notes = if (length(notes)) paste(unique(notes), collapse = " ") else "")
}

# ---- measures ------------------------------------------------------------

eps_grid <- signif(10^seq(-4, 1, length.out = 41), 4)

# Table 1's measures of a fit, on newdata: ELBO, the ELBO at the best sigma2, collapse at
# (0.01, 0.01); and the per cent collapsed over eps.
measure <- function(fit, newdata, condition = NULL) {
  collapse <- posterior_collapse(fit, newdata, condition = condition)
  # with noise = "network" there is no one sigma2 to tune
  tuned <- if (fit$noise != "network") tune_sigma2(fit, newdata, condition = condition)
  now <- if (is.null(tuned)) elbo(fit, newdata, condition = condition)[["elbo"]] else
    tuned$current_elbo
  row <- data.frame(
    elbo = now, tuned_elbo = if (is.null(tuned)) NA else tuned$elbo,
    tuned_sigma2 = if (is.null(tuned)) NA else mean(tuned$sigma2),
    final_sigma2 = mean(fit$sigma2), collapsed = collapse$percent, kl = collapse$rate,
    active_units = collapse$active_units, epochs_made = fit$iterations,
    seconds = sum(fit$history$seconds)
  )
  threshold <- collapse$dimensions$threshold
  curve <- data.frame(eps = eps_grid,
                      percent = vapply(eps_grid, function(eps) 100 * mean(threshold < eps), 0))
  list(row = row, curve = curve)
}

# The mean squared error a pixel that a row of a history stands for, on the scale of the
# (transformed) data, from reconstruction = -p/2 log(2 pi sigma2) - p mse / (2 sigma2).
history_mse <- function(history, p) {
  s2 <- history$sigma2
  -2 * s2 * history$reconstruction / p - s2 * log(2 * pi * s2)
}

# About `most` epochs of a history, the first and the last among them.
some_epochs <- function(history, most = 60) {
  history[unique(round(seq(1, nrow(history), length.out = min(most, nrow(history))))), ,
          drop = FALSE]
}
