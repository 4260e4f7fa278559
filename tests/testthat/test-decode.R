# Expected values come from coef() in plain R, by the definitions in ?decode and ?posterior,
# and from the references of helper-ppca.R and helper-vae.R.

x <- plain(model_data(60, 5, 2)) %*% diag(c(1, 10, 1, 0.1, 1))
dimnames(x) <- list(paste0("row", 1:60), letters[1:5])
few <- train_control(epochs = 3, batch_size = 20)
places <- matrix(c(0, 1, -2, 0.5, 0, 3), 3, 2, dimnames = list(c("u", "v", "w"), NULL))

linear_fits <- list(ppca(x, 2), ppca(x, 2, scale = TRUE),
                    linear_vae(x, 2, optimizer = "exact"),
                    ppca(x, 2, sigma2 = 0.3, center = FALSE))

# Each of `draws` (times x p) has those means and that covariance: means within 4.5 standard
# errors sd / sqrt(times), covariances within 4.5 of sqrt((c_ii c_jj + c_ij^2) / times).
expect_moments <- function(draws, mean, cov) {
  times <- nrow(draws)
  v <- diag(as.matrix(cov))
  expect_lt(max(abs(colMeans(draws) - mean) / sqrt(v / times)), 4.5)
  expect_lt(max(abs(stats::cov(draws) - cov) / sqrt((outer(v, v) + cov^2) / times)), 4.5)
}

test_that("decode() of linear models is N(mu + W z, sigma2) on the scale of the data", {
  for (fit in linear_fits) {
    theta <- coef(fit)
    sd <- if (is.null(theta$scale)) rep(1, 5) else unname(theta$scale)
    mean <- places %*% t(theta$loadings * sd) + rep(theta$mean, each = 3)
    found <- decode(fit, places)
    expect_equal(found, mean, ignore_attr = "dimnames")
    expect_identical(dimnames(found), list(c("u", "v", "w"), letters[1:5]))
    variance <- decode(fit, places, "variance")
    expect_equal(unname(variance), matrix(theta$sigma2 * sd^2, 3, 5, byrow = TRUE))
    expect_identical(dimnames(variance), dimnames(found))
    set.seed(1)
    drawn <- decode(fit, places[rep(2, 8000), ], "draws")
    expect_moments(unname(drawn), mean[2, ], diag(theta$sigma2 * sd^2))
  }
  expect_equal(decode(linear_fits[[1]], linear_fits[[1]]$scores),
               fitted(linear_fits[[1]]))
})

test_that("decode() of a deep VAE is N(g(z), sigma2), with its condition", {
  label <- factor(rep(c("a", "b", "c"), 20))
  for (noise in c("shared", "feature", "network")) {
    for (scale in c(FALSE, TRUE)) {
      fit <- quick_vae(x, 2, encoder = 4, noise = noise, scale = scale, condition = label)
      w <- coef(fit)
      to <- reference_decode(w, places, label[c(2, 2, 3)],
                             floor = fit$sigma2_min * if (scale) fit$scale^2 else 1)
      given <- c("b", "b", "c")
      expect_equal(unname(decode(fit, places, condition = given)), unname(to$mean),
                   tolerance = 1e-5)
      expect_equal(unname(decode(fit, places, "variance", condition = given)),
                   unname(to$variance), tolerance = 1e-4)
      set.seed(1)
      drawn <- decode(fit, places[rep(3, 8000), ], "draws", condition = "c")
      expect_moments(unname(drawn), to$mean[3, ], diag(to$variance[3, ]))
      expect_identical(dimnames(decode(fit, places, condition = "a")),
                       list(c("u", "v", "w"), letters[1:5]))
    }
  }
  expect_error(decode(fit, places), "`condition` must be given", class = "elbo_error")
})

test_that("a transform is undone", {
  pixels <- matrix(rbinom(200, 255, 0.3), 40)
  set.seed(1)
  fit <- ppca(pixels, 2, transform = logit_pixels(0.01))
  y <- places %*% t(fit$loadings) + rep(fit$mean, each = 3)
  # the inverse of a = alpha + (1 - 2 alpha) v / levels, y = log(a / (1 - a)), in the range
  back <- function(y) pmin(pmax(256 * (plogis(y) - 0.01) / 0.98, 0), 256)
  expect_equal(unname(decode(fit, places)), unname(back(y)))
  set.seed(2)
  noise <- rnorm(15)
  set.seed(2)
  expect_equal(unname(decode(fit, places, "draws")),
               unname(back(y + sqrt(fit$sigma2) * noise)))
  expect_equal(unname(decode(fit, places, "variance")), matrix(fit$sigma2, 3, 5))
  deep <- vae(pixels, 2, encoder = 3, transform = logit_pixels(0.01), control = few)
  expect_equal(unname(decode(deep, places)),
               unname(back(reference_decode(coef(deep), places)$mean)), tolerance = 1e-4)
})

test_that("simulate() is decode() of draws from the prior", {
  deep <- quick_vae(x, 2, encoder = 4, noise = "network")
  for (fit in c(linear_fits, list(deep))) {
    set.seed(5)
    z <- matrix(rnorm(14), 7)
    expected <- decode(fit, z, "draws")
    expect_equal(simulate(fit, 7, seed = 5), expected, ignore_attr = "seed")
    expect_equal(simulate(fit, 7, seed = 5, type = "mean"), decode(fit, z),
                 ignore_attr = "seed")
  }
})

test_that("latent positions come as a matrix, a data frame or a vector", {
  one <- ppca(x, 1)
  deep_one <- quick_vae(x, 1, encoder = 3)
  for (fit in list(linear_fits[[1]], quick_vae(x, 2, encoder = 3))) {
    all <- unname(decode(fit, places))
    expect_equal(unname(decode(fit, places[2, ])), all[2, , drop = FALSE])
    expect_equal(unname(decode(fit, c(z2 = 0.5, z1 = 0))), unname(decode(fit, c(0, 0.5))))
    expect_equal(unname(decode(fit, as.data.frame(places))), all)
    expect_equal(unname(decode(fit, data.frame(z2 = places[, 2], z1 = places[, 1]))), all)
    expect_equal(unname(decode(fit, cbind(PC1 = places[, 1], PC2 = places[, 2]))), all)
    whole <- cbind(0L, 1:3)
    expect_equal(decode(fit, whole), decode(fit, whole + 0))
    expect_identical(dim(decode(fit, places[0, ])), c(0L, 5L))
    expect_identical(dim(decode(fit, places[0, ], "draws")), c(0L, 5L))
    expect_identical(dim(decode(fit, places[0, ], "variance")), c(0L, 5L))
  }
  for (fit in list(one, deep_one)) {
    expect_identical(decode(fit, c(p = 0, q = 1, r = 2)),
                     decode(fit, cbind(c(p = 0, q = 1, r = 2))))
    expect_identical(dim(decode(fit, 1)), c(1L, 5L))
  }
})

# ---- draws of the posterior ----------------------------------------------------

test_that("posterior(draws = m) samples the exact posterior of pPCA, cells missing or not", {
  rows <- rbind(x[1, ], replace(x[2, ], c(1, 3), NA), NA)
  for (fit in linear_fits[c(1, 2, 4)]) {
    theta <- coef(fit)
    sd <- if (is.null(theta$scale)) 1 else unname(theta$scale)
    scaled <- t(t(rows) / sd)
    set.seed(1)
    post <- posterior(fit, rows, draws = 8000)
    expect_identical(dim(post$draws), c(3L, 2L, 8000L))
    for (i in 1:3) {
      direct <- latent_conditional(scaled[i, ], unname(theta$mean) / sd,
                                   unname(theta$loadings), theta$sigma2)
      expect_moments(t(post$draws[i, , ]), direct$mean, direct$cov)
    }
  }
})

test_that("posterior(draws = m) of VAEs samples q(z | x)", {
  linear <- linear_fits[[3]]
  deep <- quick_vae(x, 2, encoder = 4)
  for (fit in list(linear, deep)) {
    set.seed(1)
    post <- posterior(fit, x[1:2, ], draws = 8000)
    q <- if (inherits(fit, "vae")) reference_encode(coef(fit), x[1:2, ]) else
      list(mean = t(t(x[1:2, ]) - fit$mean) %*% t(fit$V),
           variance = matrix(fit$D, 2, 2, byrow = TRUE))
    for (i in 1:2) {
      expect_moments(t(unname(post$draws[i, , ])), unname(q$mean[i, ]), diag(q$variance[i, ]))
    }
  }
})

test_that("draws of the posterior have names, follow the seed, and leave the rest alone", {
  one <- ppca(x, 1)
  deep <- quick_vae(x, 2, encoder = 4)
  for (fit in list(one, linear_fits[[1]], linear_fits[[3]], deep)) {
    plain <- posterior(fit, x[1:3, ])
    expect_null(plain$draws)
    set.seed(3)
    post <- posterior(fit, x[1:3, ], draws = 2)
    expect_identical(dimnames(post$draws),
                     list(rownames(x)[1:3], paste0("z", seq_len(fit$k)), NULL))
    set.seed(3)
    expect_identical(posterior(fit, x[1:3, ], draws = 2), post)
    post$draws <- NULL
    expect_identical(post, plain)
    expect_identical(dim(posterior(fit, x[1, , drop = FALSE], draws = 1)$draws),
                     c(1L, fit$k, 1L))
    expect_output(print(posterior(fit, x, draws = 4)), "4 draws")
  }
  expect_identical(dim(posterior(linear_fits[[1]], x[0, ], draws = 2)$draws), c(0L, 2L, 2L))
})
