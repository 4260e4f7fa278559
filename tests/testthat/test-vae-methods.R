# Methods of deep VAEs. Expected values come from the definitions in helper-vae.R, by
# coef(), or from posterior(), which test-vae.R holds against them.

n <- 60
p <- 5
x <- plain(model_data(n, p, 2)) %*% diag(c(1, 4, 0.2, 1, 10)) + rep(c(0, 50, 0, -3, 7), each = n)
dimnames(x) <- list(paste0("row", 1:n), letters[1:p])
holes <- with_holes(x)
species <- factor(rep(c("b", "c", "a"), length.out = n))
pixels <- mnist1000$x[1:60, 400:405]
set.seed(1)
given <- matrix(rnorm(2 * n), n)
frame <- as.data.frame(x)

settings <- function(epochs = 6) {
  train_control(epochs = epochs, batch_size = 10, learning_rate = 0.02, progress = FALSE)
}
set.seed(1)
fit <- vae(x, 2, encoder = 6, activation = "tanh", control = settings())
by_label <- vae(x, 2, encoder = 6, condition = species, control = settings())
by_numbers <- vae(x, 2, encoder = 6, condition = given, control = settings())
by_feature <- vae(x, 2, encoder = 6, noise = "feature", scale = TRUE, control = settings())
by_network <- vae(x, 2, encoder = 6, noise = "network", control = settings())
of_pixels <- vae(pixels, 2, encoder = 6, transform = logit_pixels(), control = settings())
of_holes <- vae(holes, 2, encoder = 6, control = settings())
held <- vae(x, 2, encoder = 6, validation = 0.25, control = settings())
held_label <- vae(x, 2, encoder = 6, condition = species, validation = 0.25,
                  control = settings())
of_formula <- vae(~ a + b + log(b), 2, encoder = 6, data = frame, control = settings())

# Numbers alone.
bare <- function(x) matrix(as.vector(x), nrow(x))

# data ---------------------------------------------------------------------------

test_that("every kind of data gives the same", {
  expected <- predict(fit, x)
  expect_identical(predict(fit, frame), expected)
  expect_identical(predict(fit, unname(x)),
                   structure(expected, dimnames = list(NULL, c("z1", "z2"))))
  expect_identical(predict(fit, x[, 5:1]), expected)
  expect_identical(predict(fit, cbind(other = "text", frame[5:1])), expected)
  expect_identical(predict(fit, cbind(x, more = 1)), expected)
  y <- round(x)
  expect_identical(predict(fit, structure(as.integer(y), dim = dim(y), dimnames = dimnames(y))),
                   predict(fit, y))
  expect_identical(predict(of_formula, frame), predict(of_formula))
  expect_identical(predict(of_formula, frame[c(5, 2, 1)]), predict(of_formula))
  skip_if_not_installed("Matrix")
  expect_equal(predict(fit, sparse_of(y)), predict(fit, y), tolerance = 1e-6)
  z <- y
  z[3, 2] <- NA
  expect_equal(residuals(fit, sparse_of(z)), residuals(fit, z), tolerance = 1e-6)
  set.seed(1)
  one <- elbo(fit, sparse_of(z), by = "observation")
  set.seed(1)
  expect_equal(unname(as.matrix(one)), unname(as.matrix(elbo(fit, z, by = "observation"))),
               tolerance = 1e-6)
})

test_that("data of the fit are found by the call", {
  collapse <- function(...) posterior_collapse(..., samples = 2)
  for (method in list(predict, posterior, residuals, collapse, tune_sigma2)) {
    set.seed(1)
    found <- method(fit)
    set.seed(1)
    expect_equal(found, method(fit, x))
  }
  # where no samples are asked for the terms are those that the fit shows
  shown <- posterior_collapse(fit)
  expect_identical(c(shown$elbo, -shown$distortion, shown$rate),
                   c(fit$elbo, fit$reconstruction, fit$kl))
  expect_identical(fitted(fit), predict(fit, x, "reconstruction"))
  elsewhere <- function() {
    y <- x
    set.seed(1)
    vae(y, 2, encoder = 6, activation = "tanh", control = settings())
  }
  lost <- elsewhere()
  expect_identical(lost$theta, fit$theta)
  for (method in list(predict, fitted, posterior, residuals, posterior_collapse, tune_sigma2)) {
    expect_error(method(lost), "`newdata` must be given: the fit holds no data", fixed = TRUE,
                 class = "elbo_error")
  }
  expect_error(elbo(lost, by = "observation"), "`newdata` must be given", class = "elbo_error")
  expect_identical(elbo(lost), elbo(fit))
  # other data under the same name
  y <- x[1:30, ]
  expect_error(predict(lost), "is not (or no longer) the data", fixed = TRUE,
               class = "elbo_error")
  kept <- (function() {
    y <- x
    set.seed(1)
    vae(y, 2, encoder = 6, activation = "tanh", keep_data = TRUE, control = settings())
  })()
  rm(y)
  expect_identical(predict(kept), predict(fit, x))
  expect_identical(kept$x, x)
  expect_null(fit$x)
})

test_that("predictions are for all rows, those that were held out included", {
  out <- held$held_out
  expect_length(out, 15)
  expect_identical(predict(held), predict(held, x))
  expect_identical(fitted(held), predict(held, x, "reconstruction"))
  expect_identical(residuals(held), residuals(held, x))
  expect_identical(posterior(held), posterior(held, x))
  expect_identical(rownames(predict(held)), rownames(x))
  # and so is their condition
  expect_identical(predict(held_label), predict(held_label, x, condition = species))
  expect_identical(posterior(held_label), posterior(held_label, x, condition = species))
  numbers <- vae(frame, 2, encoder = 6, condition = given, validation = 0.25, keep_data = TRUE,
                 control = settings(2))
  expect_identical(predict(numbers), predict(numbers, x, condition = given))
  skip_if_not_installed("Matrix")
  sparse <- sparse_of(round(x))
  of_sparse <- vae(sparse, 2, encoder = 6, validation = 0.25, control = settings(2))
  expect_equal(predict(of_sparse), predict(of_sparse, sparse))
})

test_that("what is said of the fit is of the rows that it was trained on", {
  out <- held$held_out
  expect_identical(nobs(held), 45L)
  for (ask in list(function(...) elbo(held, ..., by = "observation"),
                   function(...) elbo(held, ..., samples = 3),
                   function(...) posterior_collapse(held, ..., samples = 3),
                   function(...) logLik(held, ..., samples = 5))) {
    set.seed(1)
    found <- ask()
    set.seed(1)
    expect_equal(found, ask(newdata = x[-out, ]))
  }
  out <- held_label$held_out
  set.seed(1)
  rows <- elbo(held_label, by = "observation")
  set.seed(1)
  expect_identical(rows, elbo(held_label, x[-out, ], by = "observation",
                              condition = species[-out]))
  # data under the name of the call that have changed in a row are not those of the fit,
  # be it one that was held out or not
  shown <- x
  kinds <- species
  fit <- vae(shown, 2, encoder = 6, condition = kinds, validation = 0.25, control = settings(2))
  expect_identical(predict(fit), predict(fit, x, condition = species))
  for (row in c(fit$held_out[1], setdiff(1:60, fit$held_out)[1])) {
    shown[row, 2] <- 0
    expect_error(predict(fit), "is not (or no longer) the data", fixed = TRUE,
                 class = "elbo_error")
    shown <- x
    kinds[row] <- setdiff(levels(kinds), kinds[row])[1]
    expect_error(predict(fit), "`condition` must be given", class = "elbo_error")
    kinds <- species
  }
})

test_that("data that do not fit are refused", {
  refused <- function(code, said) expect_error(code, said, class = "elbo_error")
  refused(predict(fit, x[, 1:4]), "`newdata` must have the columns that the model was fitted to")
  refused(predict(fit, unname(x)[, 1:4]), "must have the 5 columns")
  refused(predict(fit, x[0, ]), "`newdata` must have at least 1 row")
  refused(predict(fit, replace(x, 3, Inf)), "`newdata` must hold finite numbers or NA")
  refused(predict(fit, "x"), "`newdata` must be a numeric matrix")
  refused(predict(of_formula, frame["a"]), "\"b\" is missing")
  refused(predict(of_pixels, pixels + 300), "`newdata` must hold")
})

test_that("a condition is that of the rows", {
  expected <- predict(by_label, x, condition = species)
  expect_identical(predict(by_label), expected)
  expect_identical(predict(by_label, x, condition = as.character(species)), expected)
  # whatever the order of the levels, or if some are not there
  expect_identical(predict(by_label, x, condition = factor(species, c("c", "b", "a"))), expected)
  expect_identical(predict(by_label, x[species == "b", ], condition = rep("b", 20)),
                   expected[species == "b", ])
  expect_identical(predict(by_label, x[species == "b", ],
                           condition = factor(species[species == "b"])),
                   expected[species == "b", ])
  expect_false(identical(predict(by_label, x, condition = rev(species)), expected))
  expect_identical(predict(by_numbers, x, condition = as.data.frame(given)),
                   predict(by_numbers))
  refused <- function(code, said) expect_error(code, said, class = "elbo_error", fixed = TRUE)
  refused(predict(by_label, x), "`condition` must be given: the model has one")
  refused(predict(by_label, x, condition = species[1:59]),
          "`condition` must have a value for each of the 60 rows, not 59.")
  refused(predict(by_label, x, condition = rep("d", n)),
          "`condition` must have the values \"a\", \"b\", \"c\", not \"d\".")
  refused(predict(by_label, x, condition = replace(species, 2, NA)), "`condition` must have")
  refused(predict(by_label, x, condition = given), "`condition` must be a factor")
  refused(predict(by_numbers, x, condition = species), "`condition` must be numbers")
  refused(predict(by_numbers, x, condition = given[, 1]), "`condition` must be numbers with 2")
  refused(predict(by_numbers, x, condition = replace(given, 2, NA)), "no missing values")
  for (method in list(posterior, residuals, posterior_collapse, tune_sigma2, elbo)) {
    refused(method(by_label, x), "`condition` must be given")
    set.seed(1)
    found <- method(by_label, x, condition = species)
    set.seed(1)
    other <- method(by_label, x, condition = rev(species))
    expect_false(identical(found, other))
  }
  # a condition without data is that of the rows that the model was trained on
  for (ask in list(function(...) elbo(by_label, ...),
                   function(...) elbo(by_label, samples = 2, ...),
                   function(...) posterior(by_label, ...))) {
    set.seed(1)
    found <- ask(condition = rev(species))
    set.seed(1)
    expect_equal(found, ask(newdata = x, condition = rev(species)))
  }
  refused(simulate(by_label, 3), "`condition` must be given")
  refused(interpolate_latent(by_label, x[1, ], x[2, ]), "`condition` must be given")
})

test_that("columns of a condition are taken by their names, or refused", {
  named <- data.frame(u = given[, 1], v = given[, 2])
  model <- vae(x, 2, encoder = 6, condition = named, control = settings(2))
  expected <- predict(model, x, condition = named)
  for (other in list(named[2:1], as.matrix(named)[, 2:1])) {
    found <- tryCatch(predict(model, x, condition = other), elbo_error = conditionMessage)
    if (is.character(found)) expect_match(found, "`condition`", fixed = TRUE) else
      expect_identical(found, expected)
  }
})

test_that("a condition that was kept is found", {
  kept <- (function() {
    y <- x
    labels <- species
    vae(y, 2, encoder = 6, condition = labels, validation = 0.25, keep_data = TRUE,
        control = settings(2))
  })()
  expect_identical(predict(kept), predict(kept, x, condition = species))
  expect_identical(update(kept, epochs = 3)$iterations, 3L)
  expect_error(update(kept, epochs = 3, control = settings()), "`epochs` must be set in `control`",
               class = "elbo_error")
})

test_that("a model without a condition has no use for one", {
  for (method in list(predict, posterior, residuals, posterior_collapse, tune_sigma2, elbo)) {
    expect_error(method(fit, x, condition = species), "`condition`", class = "elbo_error")
  }
  expect_error(simulate(fit, 3, condition = "a"), "`condition`", class = "elbo_error")
  expect_error(interpolate_latent(fit, x[1, ], x[2, ], condition = "a"), "`condition`",
               class = "elbo_error")
})

# predictions --------------------------------------------------------------------

test_that("predictions have the names and shapes of their data", {
  q <- posterior(fit, x)
  expect_s3_class(q, "latent_posterior")
  for (part in q[c("mean", "variance")]) {
    expect_identical(dimnames(part), list(rownames(x), c("z1", "z2")))
  }
  expect_true(all(q$variance > 0))
  back <- predict(fit, x, "reconstruction")
  expect_identical(dimnames(back), dimnames(x))
  expect_equal(residuals(fit, x), x - back, tolerance = 1e-12)
  expect_identical(is.na(residuals(of_holes, holes)), is.na(holes))
  expect_false(anyNA(predict(of_holes, holes, "reconstruction")))
  expect_identical(dim(predict(fit, x[1, , drop = FALSE])), c(1L, 2L))
  expect_identical(nobs(fit), 60L)
  # a transform is undone
  back <- predict(of_pixels, pixels, "reconstruction")
  expect_true(all(back >= 0 & back <= 256))
  expect_output(print(q))
})

test_that("training fits the data better than their mean does", {
  digits <- mnist1000$x[1:500, ] / 255
  set.seed(1)
  deep <- vae(digits, 8, encoder = 64, control = train_control(
    epochs = 30, batch_size = 50, learning_rate = 3e-3))
  new <- mnist1000$x[501:600, ] / 255
  left <- mean((new - predict(deep, new, "reconstruction"))^2)
  expect_lt(left, 0.65 * mean(sweep(new, 2, colMeans(digits))^2))
  expect_gt(tail(deep$history$elbo, 1), deep$history$elbo[1])
})

# elbo() -------------------------------------------------------------------------

test_that("elbo() draws from R's generator", {
  set.seed(1)
  first <- elbo(fit, x)
  second <- elbo(fit, x)
  set.seed(1)
  expect_identical(elbo(fit, x), first)
  expect_false(identical(first, second))
  expect_identical(first[["kl"]], second[["kl"]])
  # without data: what the fit knows
  expect_identical(elbo(fit), elbo(fit))
  set.seed(1)
  expect_identical(elbo(fit, samples = 2), {
    set.seed(1)
    elbo(fit, x, samples = 2)
  })
})

test_that("elbo() gives a row for each observation", {
  set.seed(1)
  rows <- elbo(fit, x, by = "observation")
  expect_s3_class(rows, "data.frame")
  expect_named(rows, c("elbo", "reconstruction", "kl", "log_jacobian"))
  expect_identical(row.names(rows), rownames(x))
  set.seed(1)
  expect_equal(elbo(fit, x), colMeans(rows), tolerance = 1e-12)
  set.seed(1)
  with_bound <- elbo(fit, x, samples = 4, by = "observation", weighted = TRUE)
  expect_named(with_bound, c("elbo", "reconstruction", "kl", "log_jacobian", "weighted"))
  # Jensen: on each row's own samples, log-mean-exp is not below the mean, and the KL's
  # estimate from them is that mean's; so on average over rows
  expect_gt(mean(with_bound$weighted), mean(with_bound$elbo))
  twice <- rbind(x, x)
  expect_identical(anyDuplicated(row.names(elbo(fit, twice, by = "observation"))), 0L)
})

test_that("tune_sigma2() needs an observed cell", {
  expect_error(tune_sigma2(fit, replace(x, TRUE, NA)), "`newdata` must have an observed cell",
               class = "elbo_error")
})

test_that("samples that come in blocks are pooled as if they had come together", {
  expect_identical(sample_blocks(1), 1)
  expect_identical(sample_blocks(1024), 1024L)
  expect_equal(sample_blocks(2500), c(1024, 1024, 452))
  set.seed(1)
  each <- matrix(rnorm(60, sd = 3), 3)        # terms of 3 rows and 20 samples
  log_mean <- function(a) log(rowMeans(exp(a)))
  block <- function(a) {
    list(reconstruction = rowMeans(a), error = sum(a^2) / ncol(a), kl = 1:3,
         weighted = log_mean(a - 1000) + c(0, 0, 1000))
  }
  whole <- block(each)
  pooled <- pool_samples(NULL, block(each[, 1:8]), 8 / 20)
  pooled <- pool_samples(pooled, block(each[, 9:16]), 8 / 20)
  pooled <- pool_samples(pooled, block(each[, 17:20]), 4 / 20)
  expect_equal(pooled, whole)
  nothing <- modifyList(block(each), list(weighted = rep(-Inf, 3)))
  expect_identical(pool_samples(nothing, nothing, 0.5)$weighted, rep(-Inf, 3))
  # with as many samples the estimate is within a few of its standard errors
  few <- replicate(10, elbo(fit, x, samples = 100)[["elbo"]])
  expect_lt(abs(elbo(fit, x, samples = 2500)[["elbo"]] - mean(few)), 5 * sd(few) / sqrt(10))
})

test_that("weighted bounds rise with samples", {
  # of a fit whose posterior is not so near to the exact one that nothing is left to rise to
  fit <- quick_vae(x, 2, encoder = 6, activation = "tanh", start = "random", epochs = 6)
  set.seed(1)
  bounds <- vapply(c(1, 5, 25, 125), function(samples) {
    elbo(fit, x[rep(1:n, 10), ], samples = samples, weighted = TRUE)[["weighted"]]
  }, 0)
  expect_true(all(diff(bounds) > 0))
  set.seed(2)
  expect_gt(bounds[2], elbo(fit, x, samples = 200)[["elbo"]])
})

test_that("samples of any number are means of draws", {
  set.seed(1)
  exact <- reference_terms(coef(fit), x)
  rows <- elbo(fit, x, samples = 3000, by = "observation")   # more than fit one batch
  expect_sampled(rows$reconstruction, exact$reconstruction, exact$variance, 3000)
})

# posterior_collapse() -----------------------------------------------------------

test_that("collapse is by its definition", {
  for (model in list(fit, by_feature, by_network)) {
    q <- lapply(posterior(model, x), unname)
    kl <- reference_kl(q)
    for (eps in c(0.01, 0.3)) for (delta in c(0, 0.01, 0.3)) {
      set.seed(1)
      found <- posterior_collapse(model, x, eps = eps, delta = delta)
      d <- found$dimensions
      expect_equal(d$share, colMeans(kl < eps))
      expect_identical(d$collapsed, colMeans(kl < eps) >= 1 - delta)
      expect_equal(d$mean_kl, colMeans(kl), tolerance = 1e-10)
      expect_equal(d$active_variance, apply(q$mean, 2, var) * (n - 1) / n, tolerance = 1e-10)
      expect_equal(found$percent, 100 * mean(d$collapsed))
      expect_identical(found$active_units, sum(d$active_variance > 0.01))
      expect_equal(found$rate, sum(colMeans(kl)), tolerance = 1e-5)
    }
    set.seed(1)
    expect_equal(found$distortion, -elbo(model, x)[["reconstruction"]])
    expect_output(print(found), "Posterior collapse of 2 latent dimensions, 60 observations")
  }
})

test_that("what the linear theory says is of the covariance of the data", {
  values <- eigen(cov(x) * (n - 1) / n)$values
  d <- posterior_collapse(fit, x)$dimensions
  expect_equal(sort(d$eigenvalue, decreasing = TRUE), values[1:2], tolerance = 1e-8)
  expect_identical(order(-d$mean_kl), order(-d$eigenvalue))
  expect_equal(d$predicted_kl, pmax(0, 0.5 * log(d$eigenvalue / fit$sigma2)))
  expect_identical(d$predicted, d$eigenvalue <= fit$sigma2)
  expect_output(print(posterior_collapse(fit, x)), "Predicted by the linear theory")
  # where the model scales features, so does the theory
  scaled <- vae(x, 2, encoder = 6, scale = TRUE, control = settings())
  s <- scale(x, scale = scaled$scale)
  d <- posterior_collapse(scaled, x)$dimensions
  expect_equal(sort(d$eigenvalue, decreasing = TRUE), eigen(crossprod(s) / n)$values[1:2],
               tolerance = 1e-8)
  # it says nothing of other noise, or of data with holes
  expect_true(all(is.na(posterior_collapse(by_network, x)$dimensions$eigenvalue)))
  expect_true(all(is.na(posterior_collapse(of_holes, holes)$dimensions$predicted)))
  # more dimensions than eigenvalues: the rest are 0
  wide <- vae(x, 8, encoder = 6, control = settings(2))
  d <- posterior_collapse(wide, x)$dimensions
  expect_equal(sort(d$eigenvalue, decreasing = TRUE), c(values, 0, 0, 0), tolerance = 1e-6)
})

# tune_sigma2() --------------------------------------------------------------------------------

# The fit with another noise variance.
with_noise <- function(fit, sigma2) {
  layout <- fit$layout[fit$layout$name == "log_sigma2", ]
  theta <- from_floats(fit$theta)
  theta[layout$offset + seq_len(layout$size)] <- log(sigma2 / fit$u^2)
  fit$theta <- raw_floats(theta)
  fit$sigma2[] <- sigma2
  fit
}

test_that("the tuned noise variance maximises the ELBO, and that is the ELBO there", {
  for (model in list(fit, of_pixels, by_feature, of_holes)) {
    data <- if (identical(model, of_pixels)) pixels + 0.5 else
      if (identical(model, of_holes)) holes else x
    set.seed(1)
    tuned <- tune_sigma2(model, data)
    expect_s3_class(tuned, "tuned_sigma2")
    # with the same samples of z
    at <- function(sigma2) {
      set.seed(1)
      elbo(with_noise(model, sigma2), data)[["elbo"]]
    }
    expect_equal(tuned$current_elbo, at(model$sigma2), tolerance = 1e-5)
    expect_identical(tuned$current_sigma2, model$sigma2)
    expect_equal(tuned$elbo, at(tuned$sigma2), tolerance = 1e-5)
    expect_gt(tuned$elbo, tuned$current_elbo)
    for (factor in c(0.8, 0.9, 1.1, 1.25)) expect_lt(at(tuned$sigma2 * factor), tuned$elbo)
    if (model$noise == "shared") {
      best <- optimize(function(s) at(exp(s)), log(tuned$sigma2) + c(-1, 1), maximum = TRUE,
                       tol = 1e-4)
      expect_equal(exp(best$maximum), tuned$sigma2, tolerance = 0.01)
    } else {
      expect_named(tuned$sigma2, letters[1:5])
      for (j in 1:5) for (factor in c(0.8, 1.25)) {
        expect_lt(at(replace(tuned$sigma2, j, tuned$sigma2[j] * factor)), tuned$elbo)
      }
    }
  }
})

test_that("the tuned fit is the model with that noise variance", {
  for (model in list(fit, of_pixels, by_feature, of_holes)) {
    data <- if (identical(model, of_pixels)) pixels + 0.5 else
      if (identical(model, of_holes)) holes else x
    set.seed(1)
    tuned <- tune_sigma2(model, data)
    to <- tuned$fit
    expect_identical(to$sigma2, tuned$sigma2)
    expect_equal(from_floats(to$theta), from_floats(with_noise(model, tuned$sigma2)$theta))
    # the weights have it, and nothing else has changed
    scale2 <- if (is.null(model$scale)) 1 else model$scale^2
    expect_equal(coef(to)$sigma2, tuned$sigma2 * scale2, tolerance = 1e-6, ignore_attr = TRUE)
    expect_identical(coef(to)[c("encoder", "decoder", "output")],
                     coef(model)[c("encoder", "decoder", "output")])
    set.seed(1)
    terms <- elbo(to, data)
    expect_equal(terms[["elbo"]], tuned$elbo, tolerance = 1e-5)
    # these are the rows that it was trained on (of pixels, the same with other noise)
    if (!identical(model, of_pixels)) {
      expect_equal(unlist(to[names(terms)]), terms, tolerance = 1e-5)
      expect_equal(to$kl_dimensions, model$kl_dimensions, tolerance = 1e-6)
    }
    expect_equal(sum(to$kl_dimensions), to$kl, tolerance = 1e-6)
    expect_equal(to$elbo, to$reconstruction - to$kl + to$log_jacobian)
    expect_identical(to$history, model$history)
    expect_output(print(to), "(tuned)", fixed = TRUE)
  }
})

test_that("a sigma2 that was fixed too large gets better, and training goes on from there", {
  fixed <- quick_vae(x, 2, encoder = 6, sigma2 = 50, learn_sigma2 = FALSE, keep_data = TRUE,
                     epochs = 30)
  set.seed(1)
  tuned <- tune_sigma2(fixed, samples = 50)
  expect_lt(tuned$sigma2, 25)
  expect_gt(elbo(tuned$fit, x, samples = 50)[["elbo"]], elbo(fixed, x, samples = 50)[["elbo"]] + 1)
  # by Monte Carlo: the ELBO of the fit is the one that was promised
  spread <- sd(elbo(tuned$fit, x, samples = 50, by = "observation")$elbo) / sqrt(nrow(x))
  expect_lt(abs(elbo(tuned$fit, x, samples = 50)[["elbo"]] - tuned$elbo), spread)
  expect_identical(tuned$fit$df, fixed$df + 1L)
  longer <- update(tuned$fit, epochs = 32)
  expect_identical(longer$sigma2, tuned$sigma2)
  expect_equal(coef(longer)$sigma2, tuned$sigma2, tolerance = 1e-6)
  expect_identical(longer$history[1:30, ], fixed$history)
  learned <- quick_vae(x, 2, encoder = 6, sigma2 = 50, keep_data = TRUE, epochs = 1)
  to <- tune_sigma2(learned)$fit
  # one Adam step moves log sigma2 by about the learning rate: it started at the tuned one
  steps <- ceiling(nrow(x) / 10)
  expect_lt(abs(log(update(to, epochs = 2)$sigma2 / to$sigma2)), 0.02 * steps * 1.5)
  expect_gt(abs(log(update(learned, epochs = 2)$sigma2 / to$sigma2)), 0.02 * steps * 1.5)
})

test_that("with other data the tuned fit tells of those that it was trained on", {
  set.seed(3)
  tuned <- tune_sigma2(fit, x[1:5, ])
  all <- elbo(with_noise(fit, tuned$sigma2), x, samples = 300)
  expect_equal(tuned$fit$elbo, all[["elbo"]], tolerance = 0.05)
  expect_equal(tuned$fit$kl, all[["kl"]], tolerance = 1e-5)
  lost <- fit
  lost$call$x <- quote(no_such_data)
  lost$x <- NULL
  expect_true(is.na(tune_sigma2(lost, x)$fit$elbo))
  expect_output(print(tune_sigma2(lost, x)$fit), "ELBO: NA", fixed = TRUE)
})

test_that("no noise variance is tuned to less than sigma2_min", {
  # the model never reached it; the data of a single point would have it lower
  model <- fit
  model$sigma2_min <- 4 * tune_sigma2(fit, x)$sigma2
  tuned <- tune_sigma2(model, x)
  expect_identical(tuned$sigma2, model$sigma2_min)
  expect_identical(tuned$fit$floored, 1)
  expect_output(print(tuned$fit), "binds in 100 %", fixed = TRUE)
})

test_that("the tuned noise variance is the expected squared error", {
  # of a linear decoder, in closed form
  linear <- vae(x, 2, encoder = 6, decoder = integer(0), control = settings())
  w <- coef(linear)
  q <- reference_encode(w, x)
  squares <- (x - affine(q$mean, w$output))^2 + q$variance %*% t(w$output$weights^2)
  set.seed(1)
  many <- x[rep(1:n, 60), ]
  expect_equal(tune_sigma2(linear, many)$sigma2, mean(squares), tolerance = 0.02)
  each <- vae(x, 2, encoder = 6, decoder = integer(0), noise = "feature", control = settings())
  w <- coef(each)
  q <- reference_encode(w, x)
  squares <- (x - affine(q$mean, w$output))^2 + q$variance %*% t(w$output$weights^2)
  expect_equal(tune_sigma2(each, many)$sigma2, colMeans(squares), tolerance = 0.05)
})

test_that("a noise variance from the decoder cannot be tuned", {
  expect_error(tune_sigma2(by_network, x), "`object` must have a noise variance of its own",
               class = "elbo_error")
})

# simulate() ---------------------------------------------------------------------

test_that("simulate() keeps to the convention of its seed", {
  set.seed(1)
  before <- .Random.seed
  a <- simulate(fit, 3, seed = 7)
  expect_identical(.Random.seed, before)
  expect_identical(simulate(fit, 3, seed = 7), a)
  expect_identical(attr(a, "seed"), structure(7, kind = as.list(RNGkind())))
  b <- simulate(fit, 3)
  expect_identical(attr(b, "seed"), before)
  expect_false(identical(.Random.seed, before))
  set.seed(1)
  expect_identical(simulate(fit, 3), b)
  assign(".Random.seed", attr(b, "seed"), globalenv())
  expect_identical(simulate(fit, 3), b)
  expect_identical(dim(a), c(3L, 5L))
  expect_identical(dimnames(a), list(NULL, letters[1:5]))
  expect_identical(dim(simulate(fit)), c(1L, 5L))
  none <- simulate(fit, 0)
  expect_identical(dim(none), c(0L, 5L))
  expect_identical(dim(simulate(fit, 0, type = "mean")), c(0L, 5L))
})

test_that("means are the decoder's, of z from the prior", {
  set.seed(3)
  z <- matrix(rnorm(20 * 2), 20)
  for (model in list(fit, by_feature, by_network)) {
    expected <- reference_decode(coef(model), z)
    found <- simulate(model, 20, seed = 3, type = "mean")
    expect_equal(bare(found), expected$mean, tolerance = 1e-5)
  }
})

test_that("ancestral draws have the noise that means lack", {
  draws <- 20000
  for (model in list(fit, by_feature, by_network)) {
    drawn <- simulate(model, draws, seed = 4)
    mean <- simulate(model, draws, seed = 4, type = "mean")
    noise <- unname(drawn - mean)
    set.seed(4)
    z <- matrix(rnorm(draws * 2), draws)
    variance <- reference_decode(coef(model), z)$variance
    standard <- noise / sqrt(variance)
    # normal, independent of each other and of z
    expect_lt(max(abs(colMeans(standard))), 5 / sqrt(draws))
    expect_lt(max(abs(colMeans(standard^2) - 1)), 5 * sqrt(2 / draws))
    expect_lt(max(abs(cor(cbind(standard, z))[upper.tri(diag(7))])), 5 / sqrt(draws))
    expect_gt(ks.test(standard[1:2000, 1], "pnorm")$p.value, 1e-3)
  }
})

test_that("pixels are drawn on the scale of pixels", {
  drawn <- simulate(of_pixels, 50, seed = 1)
  expect_true(all(drawn >= 0 & drawn <= 256))
  expect_gt(max(drawn), 2)
})

test_that("generation is by label or by numbers", {
  z_of <- function(count) {
    set.seed(5)
    matrix(rnorm(count * 2), count)
  }
  labels <- c("a", "c", "c", "b")
  code <- outer(labels, c("a", "b", "c"), "==") * 1
  expected <- reference_decode(coef(by_label), z_of(4), code)$mean
  for (condition in list(labels, factor(labels), factor(labels, c("c", "b", "a")))) {
    found <- simulate(by_label, 4, seed = 5, type = "mean", condition = condition)
    expect_equal(bare(found), expected, tolerance = 1e-5)
  }
  one <- simulate(by_label, 4, seed = 5, type = "mean", condition = "b")
  expect_identical(one, simulate(by_label, 4, seed = 5, type = "mean", condition = rep("b", 4)))
  expect_identical(one, simulate(by_label, 4, seed = 5, type = "mean", condition = factor("b")))
  row <- matrix(c(0.5, -1), 1)
  found <- simulate(by_numbers, 3, seed = 5, type = "mean", condition = row)
  expect_equal(bare(found),
               reference_decode(coef(by_numbers), z_of(3), row[c(1, 1, 1), ])$mean,
               tolerance = 1e-5)
  expect_identical(simulate(by_numbers, 3, seed = 5, type = "mean",
                            condition = as.data.frame(row)), found)
  expect_error(simulate(by_label, 4, condition = labels[1:3]),
               "`condition` must have a value for each of the 4 rows, not 3.", fixed = TRUE,
               class = "elbo_error")
  expect_error(simulate(by_label, 4, condition = "d"), "`condition` must have the values",
               class = "elbo_error")
})

# interpolate_latent() -----------------------------------------------------------

test_that("a walk is a straight line whose ends are the rows' reconstructions", {
  walk <- interpolate_latent(fit, x[3, ], x[8, ], steps = 5)
  expect_identical(dim(walk), c(5L, 5L))
  expect_identical(colnames(walk), letters[1:5])
  z <- attr(walk, "latent")
  expect_identical(dim(z), c(5L, 2L))
  expect_equal(unname(z[c(1, 5), ]), unname(predict(fit, x[c(3, 8), ])), tolerance = 1e-12)
  expect_equal(bare(diff(z)), bare(z[rep(5, 4), ] - z[rep(1, 4), ]) / 4)
  expect_equal(unname(walk[c(1, 5), ]),
               unname(predict(fit, x[c(3, 8), ], "reconstruction")), tolerance = 1e-6)
  expect_equal(bare(walk),
               reference_decode(coef(fit), unname(z))$mean, tolerance = 1e-5)
  # rows as matrices, data frames, or with their columns in another order
  for (ends in list(list(x[3, , drop = FALSE], x[8, , drop = FALSE]),
                    list(frame[3, ], frame[8, ]), list(x[3, 5:1], x[8, ]),
                    list(unname(x[3, ]), x[8, ]))) {
    expect_identical(interpolate_latent(fit, ends[[1]], ends[[2]], steps = 5), walk)
  }
  expect_identical(nrow(interpolate_latent(fit, x[3, ], x[8, ])), 10L)
})

test_that("ends may be latent positions", {
  walk <- interpolate_latent(fit, c(-1, 2), c(3, 0), steps = 3)
  z <- rbind(c(-1, 2), c(1, 1), c(3, 0))
  expect_equal(unname(attr(walk, "latent")), z)
  expect_equal(bare(walk), reference_decode(coef(fit), z)$mean,
               tolerance = 1e-5)
  mixed <- interpolate_latent(fit, x[3, ], c(3, 0), steps = 2)
  expect_equal(unname(attr(mixed, "latent")),
               unname(rbind(predict(fit, x[3, , drop = FALSE]), c(3, 0))))
  # with as many features as dimensions a vector is data
  square <- vae(x, 5, encoder = 6, control = settings(2))
  walk <- interpolate_latent(square, x[1, ], x[2, ], steps = 2)
  expect_equal(unname(attr(walk, "latent")), unname(predict(square, x[1:2, ])))
  # if it does not have the names of the dimensions
  z <- predict(square, x[1:2, ])
  walk <- interpolate_latent(square, z[1, ], z[2, ], steps = 2)
  expect_equal(attr(walk, "latent"), z, ignore_attr = "dimnames")
})

test_that("a walk may be under a condition, or from one to another", {
  walk <- interpolate_latent(by_label, x[3, ], x[8, ], steps = 4, condition = "a")
  z <- predict(by_label, x[c(3, 8), ], condition = c("a", "a"))
  expect_equal(unname(attr(walk, "latent")[c(1, 4), ]), unname(z), tolerance = 1e-12)
  code <- matrix(c(1, 0, 0), 4, 3, byrow = TRUE)
  expect_equal(bare(walk),
               reference_decode(coef(by_label), unname(attr(walk, "latent")), code)$mean,
               tolerance = 1e-5)
  labels <- c("a", "a", "b", "c")
  walk <- interpolate_latent(by_label, x[3, ], x[8, ], steps = 4, condition = labels)
  z <- predict(by_label, x[c(3, 8), ], condition = c("a", "c"))
  expect_equal(unname(attr(walk, "latent")[c(1, 4), ]), unname(z), tolerance = 1e-12)
})

test_that("ends that do not fit are refused", {
  refused <- function(from, said, to = x[2, ]) {
    expect_error(interpolate_latent(fit, from, to), said, class = "elbo_error")
  }
  refused(1:3, "`from` must be one row of data, 5 numbers, or a latent position, 2 of them")
  refused(c(1, NA), "`from` must hold finite numbers")
  refused(x[1:2, ], "`from` must be one row of data, 5 numbers, or a latent position")
  refused("a", "`from` must be")
  refused(replace(x[1, ], 2, Inf), "`from` must hold finite numbers or NA")
  expect_error(interpolate_latent(fit, x[1, ], 1:3), "`to` must be one row of data",
               class = "elbo_error")
  expect_error(interpolate_latent(fit, x[1, ], x[2, ], steps = 1), "`steps` must be",
               class = "elbo_error")
  expect_error(interpolate_latent(ppca(x, 2), x[1, ], x[2, ]),
               "`object` must be a fitted vae() model", fixed = TRUE, class = "elbo_error")
  # missing cells are no obstacle
  expect_identical(dim(interpolate_latent(fit, replace(x[1, ], 2, NA), x[2, ])), c(10L, 5L))
})

# printing -----------------------------------------------------------------------

test_that("a fit prints in a screenful", {
  said <- capture.output(expect_invisible(print(fit)))
  expect_lte(length(said), 14)
  expect_identical(said[1], "Deep Gaussian VAE: 60 observations, 5 features, k = 2")
  # encoder 6 (5+1), heads 2 x 2 (6+1), decoder 6 (2+1), output 5 (6+1), sigma2, and maps
  # of 2 x 5 and 5 x 2
  expect_identical(said[2], "Encoder: 6 tanh; decoder: 6 tanh; 138 parameters")
  expect_identical(said[3], "Trained by Adam, 6 epochs of batches of 10, 36 steps")
  expect_identical(said[4], paste("Noise variance sigma2:", format(fit$sigma2, digits = 4)))
  expect_identical(said[5], sprintf(
    "ELBO: %s nats per observation = %s reconstruction - %s KL", format(fit$elbo, digits = 7),
    format(fit$reconstruction, digits = 7), format(fit$kl, digits = 4)))
  expect_output(print(of_holes), sprintf("Missing cells: %d (%.1f %%)", sum(is.na(holes)),
                                         100 * mean(is.na(holes))), fixed = TRUE)
  expect_output(print(by_label), "Condition: a factor of 3 levels (a, b, c)", fixed = TRUE)
  expect_output(print(by_numbers), "Condition: 2 numbers", fixed = TRUE)
  expect_output(print(of_pixels), "Transform: logit_pixels", fixed = TRUE)
  expect_output(print(of_pixels), "log-Jacobian", fixed = TRUE)
  expect_output(print(by_network), "on average, from the decoder", fixed = TRUE)
  expect_output(print(by_feature), sprintf("%s to %s over the features",
    format(min(by_feature$sigma2), digits = 4), format(max(by_feature$sigma2), digits = 4)),
    fixed = TRUE)
  expect_output(print(held), "ELBO of the validation data: ", fixed = TRUE)
  shown <- vae(x, 2, encoder = integer(0), optimizer = "sgd", beta = 0.5, sigma2 = 2,
               learn_sigma2 = FALSE, control = train_control(epochs = 1, learning_rate = 1e-6))
  # heads 2 x 2 (5+1), output 5 (2+1); sigma2 is not trained
  expect_output(print(shown), "Encoder: linear; decoder: linear; 39 parameters", fixed = TRUE)
  expect_output(print(shown), "Trained by SGD, 1 epoch of the full batch, 1 step\n", fixed = TRUE)
  expect_output(print(shown), "Noise variance sigma2: 2 (fixed)", fixed = TRUE)
  expect_output(print(shown), "Weight of the KL, beta: 0.5", fixed = TRUE)
})

test_that("a summary has the layers and the dimensions", {
  s <- summary(fit)
  expect_s3_class(s, "summary.vae")
  expect_identical(s$layers$layer, c("encoder1", "mean", "mean_linear", "log_variance",
                                     "decoder1", "output", "output_linear", "log_sigma2"))
  expect_equal(s$layers$parameters, c(36, 14, 10, 14, 18, 35, 10, 1))
  expect_equal(s$layers$inputs, c(5, 6, 5, 6, 2, 6, 2, 0))
  expect_equal(s$layers$outputs, c(6, 2, 2, 2, 6, 5, 5, 1))
  expect_identical(s$layers$activation[c(1, 5)], c("tanh", "tanh"))
  expect_identical(s$dimensions$kl, unname(fit$kl_dimensions))
  expect_identical(row.names(s$dimensions), c("z1", "z2"))
  expect_null(s$fit$theta)
  expect_null(s$fit$state)
  expect_lt(as.numeric(object.size(s)), 60e3)
  said <- capture.output(expect_invisible(print(s)))
  expect_match(said[1], "Call: vae(x = x", fixed = TRUE)
  expect_true(any(grepl("KL, mean over observations", said)))
  expect_true(all(capture.output(print(fit)) %in% said))
  many <- summary(vae(x, 12, encoder = 6, control = settings(1)))
  expect_output(print(many), "... and 2 more dimensions", fixed = TRUE)
})

# as plain data ------------------------------------------------------------------

test_that("a fit is plain data", {
  plain_data <- function(x) {
    if (is.environment(x) || is.function(x) || typeof(x) == "externalptr") return(FALSE)
    if (is.list(x)) all(vapply(x, plain_data, NA)) else TRUE
  }
  for (model in list(fit, held, of_pixels, by_label)) {
    parts <- unclass(model)
    parts$call <- NULL
    expect_true(plain_data(parts))
    file <- tempfile()
    saveRDS(model, file)
    data <- if (identical(model, of_pixels)) pixels + 0.5 else x
    labels <- if (identical(model, by_label)) species
    expect_identical(predict(readRDS(file), data, condition = labels),
                     predict(model, data, condition = labels))
  }
  # the terms of a formula take no environment along, in which the data would be
  big <- rnorm(1e6)
  expect_lt(length(serialize(of_formula, NULL)), 100e3)
})

test_that("a fresh process computes the same", {
  file <- tempfile(fileext = ".rds")
  models <- list(fit = fit, by_feature = by_feature, by_network = by_network,
                 of_formula = of_formula)
  saveRDS(list(models = models, x = x, frame = frame), file)
  said <- rscript(c(kernel_options(), sprintf("
    library(elbo)
    list2env(readRDS('%s'), globalenv())
    found <- lapply(models, function(model) {
      set.seed(1)
      list(latent = predict(model, frame), back = predict(model, frame, 'reconstruction'),
           posterior = posterior(model, frame), drawn = simulate(model, 4, seed = 2),
           elbo = elbo(model, frame, samples = 5, by = 'observation', weighted = TRUE),
           collapse = posterior_collapse(model, frame)$dimensions, coef = coef(model),
           shown = capture.output(print(model)))
    })
    saveRDS(found, '%s')", file, file)))
  found <- readRDS(file)
  if (!is.null(found$models)) fail(paste(said, collapse = "\n"))
  for (name in names(models)) {
    model <- models[[name]]
    set.seed(1)
    expect_identical(found[[name]], list(
      latent = predict(model, frame), back = predict(model, frame, "reconstruction"),
      posterior = posterior(model, frame), drawn = simulate(model, 4, seed = 2),
      elbo = elbo(model, frame, samples = 5, by = "observation", weighted = TRUE),
      collapse = posterior_collapse(model, frame)$dimensions, coef = coef(model),
      shown = capture.output(print(model))))
  }
})

test_that("unused arguments are refused", {
  for (method in list(predict, posterior, elbo, posterior_collapse, tune_sigma2, simulate,
                      residuals)) {
    expect_error(method(fit, nonsense = 1), "nonsense", class = "elbo_error")
  }
  expect_error(fitted(fit, nonsense = 1), "nonsense", class = "elbo_error")
  expect_error(coef(fit, nonsense = 1), "nonsense", class = "elbo_error")
})

# rows far from the data ------------------------------------------------------------

test_that("a row far from all others has finite terms, and a variance within its limits", {
  set.seed(1)
  flowers <- as.matrix(iris[1:4])
  fit <- vae(flowers, 2, encoder = c(64, 32), control = train_control(epochs = 60,
                                                                      batch_size = 30))
  far <- rbind(flowers[1:3, ], 9999, -9999, 1e6)
  w <- coef(fit)
  h <- far
  for (l in w$encoder) h <- pmax(h %*% t(l$weights) + rep(l$bias, each = nrow(h)), 0)
  log_d <- h %*% t(w$log_variance$weights) + rep(w$log_variance$bias, each = nrow(h))
  expect_gt(max(abs(log_d)), 100)                 # or this tests nothing
  expected <- exp(pmin(pmax(log_d, -40), 40))
  found <- posterior(fit, far)
  expect_equal(unname(found$variance), unname(expected), tolerance = 1e-3)
  terms <- elbo(fit, far, by = "observation", weighted = TRUE, samples = 3)
  expect_true(all(is.finite(as.matrix(terms))))
  expect_equal(terms$kl, rowSums(0.5 * (expected + unname(found$mean)^2 - 1 - log(expected))),
               tolerance = 1e-3)
  expect_true(is.finite(tune_sigma2(fit, far)$elbo))
  expect_true(all(is.finite(as.matrix(posterior_collapse(fit, far)$dimensions))))
})

test_that("a condition is of all rows, or where the rows trained on are meant of these", {
  set.seed(1)
  kinds <- iris$Species
  fit <- vae(iris[1:4], 2, encoder = 4, condition = kinds, validation = 0.2,
             control = train_control(epochs = 2, batch_size = 30))
  expected <- predict(fit)
  expect_identical(nrow(expected), 150L)
  expect_identical(predict(fit, condition = kinds), expected)
  expect_identical(fitted(fit), predict(fit, type = "reconstruction", condition = kinds))
  expect_error(predict(fit, condition = kinds[-fit$held_out]), "each of the 150 rows, not 120",
               class = "elbo_error")
  rows <- function(...) {
    set.seed(1)
    elbo(fit, by = "observation", ...)
  }
  expect_identical(nrow(rows()), 120L)
  expect_identical(rows(condition = kinds), rows())
  expect_identical(rows(condition = kinds[-fit$held_out]), rows())
  expect_error(rows(condition = kinds[1:97]),
               "each of the 120 rows, or of the 150 in all, not 97", class = "elbo_error")
})

test_that("the ends of a walk are taken by their names, and rows of predict() are ends", {
  set.seed(1)
  for (k in c(2, 4)) {
    fit <- vae(iris[1:4], k, encoder = 4, control = train_control(epochs = 1))
    z <- predict(fit, iris[1:2, 1:4])
    expected <- interpolate_latent(fit, z[1, ], z[2, ], 3)
    expect_equal(attr(expected, "latent")[c(1, 3), ], z, ignore_attr = TRUE)
    expect_identical(interpolate_latent(fit, rev(z[1, ]), z[2, ], 3), expected)
    expect_identical(interpolate_latent(fit, z[1, , drop = FALSE], z[2, k:1, drop = FALSE], 3),
                     expected)
  }
})

test_that("more samples make rate and distortion, and the tuned variance, less noisy", {
  set.seed(1)
  flowers <- as.matrix(iris[1:4])
  fit <- vae(flowers, 2, encoder = 6, control = train_control(epochs = 40, batch_size = 30))
  noise_of <- function(f, samples) sd(replicate(20, f(samples)))
  distortion <- function(samples) posterior_collapse(fit, flowers, samples = samples)$distortion
  tuned <- function(samples) tune_sigma2(fit, flowers, samples = samples)$sigma2
  for (f in list(distortion, tuned)) expect_lt(noise_of(f, 50), 0.4 * noise_of(f, 1))
  # what was tuned is the expected squared error of a cell
  z <- posterior(fit, flowers)
  set.seed(2)
  decoder <- coef(fit)
  errors <- replicate(2000, {
    drawn <- z$mean + sqrt(z$variance) * rnorm(300)
    mean((flowers - reference_decode(decoder, drawn)$mean)^2)
  })
  expect_equal(tuned(1000), mean(errors), tolerance = 0.01)
})

# ---- the likelihood ------------------------------------------------------------

test_that("logLik() of a linear VAE is that of its normal marginal", {
  # N(b, W W' + sigma2 I) from coef(), cells missing or not
  y <- plain(model_data(80, 5, 2, sigma2 = 0.5)) %*% diag(c(1, 3, 1, 1, 0.5))
  gaps <- with_holes(y, 0.1)
  for (settings in list(list(), list(noise = "feature"), list(scale = TRUE))) {
    fit <- do.call(quick_vae, c(list(y, 2, encoder = integer(0), latent_variance = "shared",
                                     epochs = 200, batch_size = 20), settings))
    w <- coef(fit)
    loadings <- unname(w$output$weights)
    cov <- loadings %*% t(loadings) + diag(rep_len(unname(w$sigma2), 5))
    # The encoder knows no gaps: a q three times as wide covers what they leave open.
    l <- fit$layout[fit$layout$name == "log_variance", ]
    at <- 4 * l$offset + seq_len(4 * l$size)
    fit$theta[at] <- raw_floats(from_floats(fit$theta[at]) + log(3))
    for (data in list(y, gaps)) {
      exact <- log_density(data, unname(w$output$bias), cov)
      set.seed(1)
      found <- logLik(fit, data, samples = 4000)
      each <- logLik(fit, data, samples = 4000, by = "observation")
      se <- attr(each, "se")
      expect_lt(max(abs(each - exact) / pmax(se, 1e-5)), 6)
      expect_lt(abs(as.numeric(found) - sum(exact)), 4 * attr(found, "se") + 1e-3)
      expect_lt(attr(found, "se"), 1)
    }
  }
  expect_s3_class(found, "logLik")
  expect_identical(attr(found, "nobs"), 80L)
  expect_identical(attr(found, "df"), fit$df)
  expect_equal(AIC(found), -2 * as.numeric(found) + 2 * fit$df)
})

test_that("logLik()'s standard error and bias are what repeated estimates show", {
  fit <- quick_vae(x, 2, encoder = 4, epochs = 30)
  set.seed(1)
  many <- replicate(200, {
    found <- logLik(fit, x, samples = 60)
    c(found, attr(found, "se"))
  })
  expect_equal(sqrt(mean(many[2, ]^2)), sd(many[1, ]), tolerance = 0.25)
  set.seed(2)
  best <- as.numeric(logLik(fit, x, samples = 50000))
  low <- best - mean(many[1, ])
  expect_gt(low, 0)
  expect_equal(low, mean(many[2, ]^2) / 2, tolerance = 0.4)
  # one sample is the ELBO, on average; any number lies above it
  expect_gt(best, nrow(x) * elbo(fit, x, samples = 500)[["elbo"]])
})

test_that("logLik() of the data of the fit, with a transform and a condition", {
  pixels <- matrix(rbinom(200, 255, 0.3), 40)
  label <- factor(rep(c("a", "b"), 20))
  set.seed(1)
  fit <- vae(pixels + 0.5, 2, encoder = 3, condition = label, transform = logit_pixels(0.01),
             control = train_control(epochs = 3, batch_size = 20), keep_data = TRUE)
  set.seed(4)
  found <- logLik(fit, samples = 100)
  set.seed(4)
  each <- logLik(fit, pixels + 0.5, samples = 100, by = "observation", condition = label)
  expect_equal(sum(each), as.numeric(found))
  expect_equal(sqrt(sum(attr(each, "se")^2)), attr(found, "se"))
  # the same bound as elbo(weighted = TRUE), which is tested by itself
  many <- replicate(50, mean(logLik(fit, samples = 50)) / 40)
  weighted <- replicate(50, elbo(fit, samples = 50, weighted = TRUE)[["weighted"]])
  expect_lt(abs(mean(many) - mean(weighted)) / sqrt((var(many) + var(weighted)) / 50), 4)
})
