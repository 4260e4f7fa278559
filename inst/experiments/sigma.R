# Section 3.6 of Beaulac (2019), "Variational autoencoders: theory, implementation and
# unanswered questions": supervised VAEs of MNIST (labels are given to encoder and
# decoder), pixels from 0 to 1, k = 2.
# "noise": sigma learned (shared, of each feature, from the decoder) against sigma = 1:
#   what p(x | z) draws and what its mean looks like, and mu +- sigma and +- 2 sigma;
# "beta": a small, a medium and a large weight of the KL, sigma = 1: where q(z | x) lies,
#   and what is decoded over the latent space.
#   Rscript sigma.R [ids] [settings]            see runner.R

source(system.file("experiments", "mnist.R", package = "elbo"), local = TRUE)

sigma_recipe <- list(n = 60000, k = 2, widths = "512-256", activation = "relu", epochs = 60,
                     batch_size = 100, rate_from = 1e-3, rate_to = 1e-5, start = "random",
                     least = 1e-4, small = 0.001, medium = 1, large = 20)

sigma_jobs <- function(recipe) {
  usual <- recipe[setdiff(names(recipe), c("small", "medium", "large"))]
  job <- function(id, noise, learned, beta = 1) {
    c(list(id = id, seed = 1, noise = noise, learn_sigma2 = learned, sigma2 = 1, beta = beta,
           sigma2_update = if (learned) "default" else "none"), usual)
  }
  list(job("noise-fixed", "shared", FALSE), job("noise-shared", "shared", TRUE),
       job("noise-feature", "feature", TRUE), job("noise-network", "network", TRUE),
       job("beta-small", "shared", FALSE, recipe$small),
       job("beta-medium", "shared", FALSE, recipe$medium),
       job("beta-large", "shared", FALSE, recipe$large))
}

sigma_run <- function(job, files) {
  x <- mnist_images(job$n) / 255
  digit <- mnist_labels(job$n)
  given <- list(x, job, files, condition = digit, encoder = widths_of(job$widths),
                activation = job$activation, start = job$start, noise = job$noise,
                learn_sigma2 = job$learn_sigma2, beta = job$beta)
  # where sigma2 is learned it starts where the package lets it start; a least sigma of 0.01,
  # two and a half grey levels, as pixels that hardly vary would have none
  given[[if (job$learn_sigma2) "sigma2_min" else "sigma2"]] <-
    if (job$learn_sigma2) job$least else job$sigma2
  made <- with_notes(do.call(train_job, given))
  fit <- made$value
  saveRDS(fit, files$fit, compress = FALSE)
  set.seed(job$seed + 1000)
  row <- measure(fit, x, condition = digit)$row
  list(sigma = cbind(row, sigma_measures(fit, x, digit), notes = made$notes))
}

# Of draws from the model and of its means at the same z: pixels outside [0, 1], and how
# rough the images are, the mean absolute difference of pixels side by side. Of the latent
# space: spread of the means of q and of q itself (the prior has 1), and the variance of a
# pixel of the decoded mean over z ~ p(z), for the digit nine.
sigma_measures <- function(fit, x, digit) {
  set.seed(1)
  z <- matrix(stats::rnorm(2000 * fit$k), 2000)
  some <- rep_len(levels(digit), 2000)
  out <- decoded(fit, z, some)
  draws <- out$mean + out$sd * stats::rnorm(length(out$mean))
  nine <- decoded(fit, z[1:500, , drop = FALSE], 9)$mean
  q <- posterior(fit, x, condition = digit)
  data.frame(
    sd_low = min(out$sd), sd_median = stats::median(out$sd), sd_high = max(out$sd),
    draws_outside = 100 * mean(draws < 0 | draws > 1),
    means_outside = 100 * mean(out$mean < 0 | out$mean > 1),
    rough_data = roughness(x), rough_means = roughness(out$mean), rough_draws = roughness(draws),
    latent_spread = sqrt(mean(apply(q$mean, 2, stats::var))),
    latent_sd = sqrt(mean(q$variance)), decoded_variance = mean(apply(nine, 2, stats::var))
  )
}

# Columns are pixels, 28 in a row of an image.
roughness <- function(x) {
  left <- which(seq_len(784) %% 28 != 0)
  mean(abs(x[, left + 1] - x[, left]))
}

# Mean and standard deviation of p(x | z): rows of z, and a digit for each.
decoded <- function(fit, z, digit) {
  digit <- factor(digit, 0:9)
  list(mean = decode(fit, z, condition = digit),
       sd = sqrt(decode(fit, z, "variance", condition = digit)))
}

# The statements of section 3.6 that numbers can say.
sigma_claims <- function(table) {
  of <- function(id, what) if (id %in% table$id) table[[what]][table$id == id] else NA
  over <- function(what) vapply(c("beta-small", "beta-medium", "beta-large"), of, 0, what)
  kinds <- paste0("noise-", c("shared", "feature", "network"))
  learned <- function(what) vapply(kinds, of, 0, what)
  data.frame(
    statement = c("a learned sigma has a higher ELBO than sigma = 1",
                  "sigma of each pixel has a higher ELBO than one for all",
                  "draws from p(x | z) leave the range of pixels, more than means do",
                  "draws are rougher than means",
                  "KL falls as beta rises",
                  "with a small beta q(z | x) is far narrower than the prior",
                  "with a large beta p(x | z) is almost the same for all z"),
    holds = c(min(learned("elbo")) > of("noise-fixed", "elbo"),
              min(learned("elbo")[2:3]) > of("noise-shared", "elbo"),
              all(learned("draws_outside") > learned("means_outside")),
              all(learned("rough_draws") > learned("rough_means")),
              all(diff(over("kl")) < 0),
              of("beta-small", "latent_sd") < 0.2,
              of("beta-large", "decoded_variance") < 0.1 * of("beta-medium", "decoded_variance"))
  )
}

# ---- pictures ------------------------------------------------------------

# The fits of the stored rows that are still in the scratch folder.
sigma_fits <- function(jobs) {
  fits <- lapply(jobs, function(job) {
    path <- job_files("sigma", job)$fit
    if (file.exists(path)) readRDS(path)
  })
  names(fits) <- vapply(jobs, function(job) job$id, "")
  fits[lengths(fits) > 0]
}

noise_titles <- c("noise-fixed" = "sigma = 1, fixed", "noise-shared" = "sigma learned, one",
                  "noise-feature" = "sigma of each pixel",
                  "noise-network" = "sigma from the decoder")

# Digits 0 to 9 at the same ten z: for each fit a row of means and one of draws.
draw_noise <- function(fits) {
  fits <- fits[intersect(names(noise_titles), names(fits))]
  set.seed(1)
  z <- matrix(stats::rnorm(10 * fits[[1]]$k), 10)
  old <- par(mfrow = c(length(fits), 1), oma = c(0, 0, 0, 0))
  on.exit(par(old))
  for (id in names(fits)) {
    out <- decoded(fits[[id]], z, 0:9)
    draws <- out$mean + out$sd * stats::rnorm(length(out$mean))
    plot_images(rbind(out$mean, draws), c(28, 28), ncol = 10, limits = c(0, 1),
                main = paste0(noise_titles[[id]], ": means of p(x | z) above, draws below"),
                cex.main = 0.9)
  }
}

# mu - 2 sigma, mu - sigma, mu, mu + sigma, mu + 2 sigma, a row for each of four z.
draw_bands <- function(fits) {
  fits <- fits[intersect(names(noise_titles), names(fits))]
  set.seed(2)
  z <- matrix(stats::rnorm(4 * fits[[1]]$k), 4)
  old <- par(mfrow = c(1, length(fits)))
  on.exit(par(old))
  for (id in names(fits)) {
    out <- decoded(fits[[id]], z, c(4, 4, 7, 9))
    images <- do.call(rbind, lapply(1:4, function(i) {
      out$mean[rep(i, 5), ] + outer(-2:2, out$sd[i, ])
    }))
    plot_images(images, c(28, 28), ncol = 5, limits = c(0, 1), main = noise_titles[[id]],
                labels = rep(c("-2 sd", "-1 sd", "mean", "+1 sd", "+2 sd"), 4), cex.main = 0.9)
  }
}

# For each fit: means of q(z | x) of some images coloured by their digit, with circles
# that hold 50 and 95 per cent of the prior; and the decoded digit over a grid of z.
draw_latent <- function(fits, titles, digit = 9, n = 2000) {
  fits <- fits[intersect(names(titles), names(fits))]
  x <- mnist_images(min(n, 1000)) / 255
  label <- mnist_labels(nrow(x))
  colours <- grDevices::palette.colors(10, "Tableau 10")
  old <- par(mfcol = c(2, length(fits)))
  on.exit(par(old))
  circle <- seq(0, 2 * pi, length.out = 100)
  for (id in names(fits)) {
    z <- posterior(fits[[id]], x, condition = label)$mean
    reach <- max(3, stats::quantile(abs(z), 0.995))
    frame(c(-reach, reach), c(-reach, reach), xlab = "z1", ylab = "z2", asp = 1,
          main = titles[[id]])
    points(z, col = colours[as.integer(label)], pch = 16, cex = 0.4)
    for (share in c(0.5, 0.95)) {
      radius <- sqrt(stats::qchisq(share, 2))
      lines(radius * cos(circle), radius * sin(circle), lwd = 1.5)
    }
    legend("topright", legend = 0:9, col = colours, pch = 16, cex = 0.7, pt.cex = 1.2,
           bg = "white", ncol = 2)
    at <- stats::qnorm(seq(0.05, 0.95, length.out = 8))
    grid <- as.matrix(expand.grid(at, rev(at)))
    plot_images(decoded(fits[[id]], grid, digit)$mean, c(28, 28), ncol = 8,
                limits = c(0, 1), main = sprintf("Digit %s over quantiles of p(z)", digit),
                cex.main = 0.9)
  }
}

draw_sigma <- function(fits) {
  betas <- c("beta-small", "beta-medium", "beta-large")
  there <- function(ids) any(ids %in% names(fits))
  if (there(names(noise_titles))) {
    save_picture(function() draw_noise(fits), "sigma-draws", width = 7,
                 height = 1.7 * sum(names(noise_titles) %in% names(fits)))
    save_picture(function() draw_bands(fits), "sigma-bands",
                 width = 3 * sum(names(noise_titles) %in% names(fits)), height = 3.2)
    save_picture(function() draw_latent(fits, noise_titles, digit = 4), "sigma-latent",
                 width = 3.6 * sum(names(noise_titles) %in% names(fits)), height = 7)
  }
  if (there(betas)) {
    titles <- vapply(intersect(betas, names(fits)), function(id) {
      paste("beta =", format(fits[[id]]$beta))
    }, "")
    save_picture(function() draw_latent(fits, titles, digit = 9), "sigma-beta",
                 width = 3.6 * length(titles), height = 7)
  }
}

if (sys.nframe() == 0L) {
  run_experiment("sigma", sigma_recipe, sigma_jobs, sigma_run)
  draw_sigma(sigma_fits(sigma_jobs(read_words(given_words(), sigma_recipe)$recipe)))
}
