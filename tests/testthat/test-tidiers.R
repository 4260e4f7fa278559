skip_if_not_installed("generics")

flowers <- as.matrix(iris[1:4])
n <- 150
fit <- ppca(flowers, 2)

# Log density of one row under N(mu, W W' + sigma2 I), over its observed cells.
log_density <- function(row, fit) {
  seen <- which(!is.na(row))
  if (!length(seen)) return(0)
  w <- fit$loadings[seen, , drop = FALSE]
  covariance <- tcrossprod(w) + diag(fit$sigma2, length(seen))
  gap <- row[seen] - fit$mean[seen]
  -0.5 * (length(seen) * log(2 * pi) + as.numeric(determinant(covariance)$modulus) +
            sum(gap * solve(covariance, gap)))
}

# Posterior mean of one row, from the joint normal distribution of x and z.
posterior_mean <- function(row, fit) {
  seen <- which(!is.na(row))
  if (!length(seen)) return(rep(0, fit$k))
  w <- fit$loadings[seen, , drop = FALSE]
  covariance <- tcrossprod(w) + diag(fit$sigma2, length(seen))
  as.vector(crossprod(w, solve(covariance, row[seen] - fit$mean[seen])))
}

test_that("tidy() gives the loadings in long form", {
  tidied <- generics::tidy(fit)
  expect_identical(class(tidied), "data.frame")
  expect_named(tidied, c("feature", "component", "value"))
  expect_identical(tidied$feature, rep(colnames(flowers), 2))
  expect_identical(tidied$component, rep(1:2, each = 4))
  pc <- prcomp(flowers)
  lambda <- pc$sdev^2 * (n - 1) / n
  expected <- pc$rotation[, 1:2] %*% diag(sqrt(lambda[1:2] - mean(lambda[3:4])))
  # the package's signs: the largest entry of a column is positive
  expected <- apply(expected, 2, function(w) w * sign(w[which.max(abs(w))]))
  expect_equal(tidied$value, as.vector(expected))
  expect_identical(generics::tidy(ppca(unname(flowers), 2))$feature, rep(1:4, 2))
})

test_that("tidy() gives the scores in long form", {
  tidied <- generics::tidy(fit, "scores")
  expect_named(tidied, c("observation", "component", "value"))
  expect_identical(tidied$observation, rep(1:n, 2))
  expect_equal(tidied$value, as.vector(t(apply(flowers, 1, posterior_mean, fit = fit))))
  cars <- generics::tidy(ppca(mtcars, 1), matrix = "scores")
  expect_identical(cars$observation, rownames(mtcars))
})

test_that("tidy() gives the eigenvalues and their shares", {
  tidied <- generics::tidy(fit, "values")
  lambda <- eigen(cov(flowers) * (n - 1) / n)$values
  expect_identical(tidied$component, 1:4)
  expect_equal(tidied$eigenvalue, lambda)
  expect_equal(tidied$share, lambda / sum(lambda))
  expect_equal(tidied$cumulative, cumsum(lambda) / sum(lambda))
  known <- generics::tidy(ppca(flowers, 2, method = "em"), "values")
  expect_equal(known$share, tidied$share[1:2], tolerance = 1e-6)
})

# of every family, in this order
glance_columns <- c("family", "n", "p", "k", "sigma2", "logLik", "elbo", "reconstruction",
                    "kl", "log_jacobian", "loss", "error", "validation", "AIC", "BIC", "df",
                    "nobs", "beta", "penalty", "method", "converged", "iterations",
                    "best_epoch", "seconds")

test_that("glance() is one row about the model", {
  glanced <- generics::glance(fit)
  expect_identical(class(glanced), "data.frame")
  expect_named(glanced, glance_columns)
  expect_identical(nrow(glanced), 1L)
  loglik <- sum(apply(flowers, 1, log_density, fit = fit))
  df <- 4 + (4 * 2 - 1) + 1                      # mean, loadings, noise variance
  expect_equal(glanced$logLik, loglik)
  expect_equal(glanced$df, df)
  expect_equal(glanced$AIC, -2 * loglik + 2 * df)
  expect_equal(glanced$BIC, -2 * loglik + log(n) * df)
  expect_identical(glanced$nobs, 150L)
  expect_identical(glanced$method, "mle")
  expect_identical(glanced$family, "ppca")
  # Lemma 1 of Lucas et al. (2019): with the exact posterior ELBO = log-likelihood
  z <- t(apply(flowers, 1, posterior_mean, fit = fit))
  d <- fit$sigma2 / (colSums(fit$loadings^2) + fit$sigma2)
  kl <- 0.5 * (sum(d - log(d) - 1) + mean(rowSums(z^2)))
  expect_equal(glanced$elbo, loglik / n)
  expect_equal(glanced$kl, kl)
  expect_equal(glanced$reconstruction, loglik / n + kl)
  expect_identical(glanced$log_jacobian, 0)
  expect_true(all(is.na(glanced[c("loss", "error", "validation", "beta", "penalty",
                                  "best_epoch")])))
  em <- generics::glance(ppca(replace(flowers, 1:5, NA), 2))
  expect_identical(em$method, "em")
  expect_gt(em$iterations, 0)
  expect_equal(em$elbo, em$logLik / 150)
  expect_true(is.na(em$kl))
  # rows of several models stack
  both <- rbind(glanced, em)
  expect_identical(nrow(both), 2L)
})

test_that("augment() adds posterior means and log densities to the data", {
  augmented <- generics::augment(fit, iris)
  expect_identical(class(augmented), "data.frame")
  expect_identical(augmented[names(iris)], iris)
  expect_named(augmented, c(names(iris), ".z1", ".z2", ".loglik"))
  expect_equal(augmented$.loglik, unname(apply(flowers, 1, log_density, fit = fit)))
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]),
               t(apply(flowers, 1, posterior_mean, fit = fit)), ignore_attr = TRUE)
})

test_that("augment() copes with missing cells, other columns orders and matrices", {
  holes <- flowers[1:30, ]
  holes[cbind(1:30, rep_len(1:4, 30))] <- NA
  holes[30, ] <- NA
  augmented <- generics::augment(fit, as.data.frame(holes[, 4:1]))
  expect_named(augmented, c(colnames(flowers)[4:1], ".z1", ".z2", ".loglik"))
  expect_equal(augmented$.loglik, unname(apply(holes, 1, log_density, fit = fit)))
  expect_equal(unname(as.matrix(augmented[c(".z1", ".z2")])),
               unname(t(apply(holes, 1, posterior_mean, fit = fit))))
  expect_equal(generics::augment(fit, holes)[".loglik"], augmented[".loglik"])
  expect_identical(dim(generics::augment(ppca(unname(flowers), 1), unname(flowers))), c(150L, 6L))
})

test_that("augment() without data gives the scores of the fit", {
  augmented <- generics::augment(fit)
  expect_named(augmented, c(".z1", ".z2"))
  expect_equal(as.matrix(augmented), fit$scores, ignore_attr = TRUE)
})

test_that("augment() keeps sparse data and formulas in order", {
  formula <- ppca(~ log(Sepal.Length) + Petal.Length + Petal.Width, 1, data = iris)
  augmented <- generics::augment(formula, iris)
  expect_identical(augmented[names(iris)], iris)
  expect_equal(sum(augmented$.loglik), formula$loglik)
  skip_if_not_installed("Matrix")
  sparse <- Matrix::Matrix(flowers, sparse = TRUE)
  expect_equal(generics::augment(fit, sparse), generics::augment(fit, flowers))
})

test_that("means and densities of augment() are of the same dequantised pixels", {
  x <- mnist1000$x[1:100, 401:420]
  fit <- ppca(x, 2, transform = logit_pixels())
  set.seed(7)
  augmented <- generics::augment(fit, x)
  set.seed(7)
  expect_equal(sum(augmented$.loglik), as.numeric(logLik(fit, x)))
  set.seed(7)
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]), predict(fit, x), ignore_attr = TRUE)
})

test_that("tidy() of a choice of rank marks the chosen row", {
  ranks <- select_rank(flowers)
  tidied <- generics::tidy(ranks)
  expect_identical(class(tidied), "data.frame")
  expect_identical(tidied[names(ranks$table)], ranks$table)
  expect_identical(tidied$k[tidied$chosen], ranks$k)
})

# ---- linear VAEs ---------------------------------------------------------

x_centred <- sweep(flowers, 2, colMeans(flowers))
lambda <- eigen(cov(flowers) * (n - 1) / n)$values
# an encoder that is not the best one, so that no two numbers agree by chance
set.seed(1)
vae <- linear_vae(flowers, 2, optimizer = "adam", beta = 1.5, sigma2 = 0.2,
                  control = train_control(epochs = 5, learning_rate = 0.05))

# ELBO and its terms for each row, by the definitions: E over q of log N(x; Wz + mu, s2)
# by the expected squared error |x - mu - W m|^2 + tr(W D W').
vae_terms_by_row <- function(fit, x) {
  x <- sweep(x, 2, fit$mean)
  m <- x %*% t(fit$V)
  error <- rowSums((x - m %*% t(fit$loadings))^2) +
    sum(diag(fit$loadings %*% diag(fit$D, fit$k) %*% t(fit$loadings)))
  kl <- 0.5 * (rowSums(m^2) + sum(fit$D - log(fit$D) - 1))
  reconstruction <- -0.5 * (error / fit$sigma2 + ncol(x) * log(2 * pi * fit$sigma2))
  list(m = m, kl = kl, reconstruction = reconstruction, elbo = reconstruction - kl)
}

test_that("tidy() of a linear VAE gives decoder, encoder and scores in long form", {
  loadings <- generics::tidy(vae)
  expect_named(loadings, c("feature", "component", "value"))
  expect_identical(loadings$value, as.vector(vae$loadings))
  encoder <- generics::tidy(vae, "encoder")
  expect_identical(class(encoder), "data.frame")
  expect_identical(encoder[1:2], loadings[1:2])
  for (row in c(1, 6, 7)) {
    j <- encoder$component[row]
    expect_identical(encoder$value[row], vae$V[[j, encoder$feature[row]]])
  }
  scores <- generics::tidy(vae, "scores")
  expect_equal(scores$value, as.vector(x_centred %*% t(vae$V)))
  expect_identical(scores$component, rep(1:2, each = n))
  expect_equal(generics::tidy(vae, "values")$eigenvalue, lambda)
})

test_that("tidy() of a linear VAE's dimensions is what they are by definition", {
  tidied <- generics::tidy(vae, "dimensions")
  expect_identical(class(tidied), "data.frame")
  expect_named(tidied, c("component", "kl", "posterior_variance", "active_variance",
                         "length2", "eigenvalue", "predicted_kl"))
  z <- x_centred %*% t(vae$V)
  kl <- 0.5 * (vae$D - log(vae$D) + colMeans(z^2) - 1)
  expect_identical(tidied$component, 1:2)
  expect_equal(tidied$kl, unname(kl))
  expect_equal(tidied$posterior_variance, unname(vae$D))
  expect_equal(tidied$active_variance, unname(colMeans(z^2)))
  expect_equal(tidied$length2, unname(colSums(vae$loadings^2)))
  expect_equal(tidied$eigenvalue, lambda[rank(-kl)], ignore_attr = TRUE)
  expect_equal(tidied$predicted_kl,
               0.5 * log(pmax(tidied$eigenvalue / (1.5 * vae$sigma2), 1)))
})

test_that("glance() of a linear VAE is one row about it", {
  glanced <- generics::glance(vae)
  expect_identical(class(glanced), "data.frame")
  expect_named(glanced, glance_columns)
  expect_identical(nrow(glanced), 1L)
  terms <- vae_terms_by_row(vae, flowers)
  for (term in c("elbo", "reconstruction", "kl")) {
    expect_equal(glanced[[term]], mean(terms[[term]]))
  }
  loglik <- sum(apply(flowers, 1, log_density, fit = vae))
  expect_equal(glanced$logLik, loglik)
  expect_equal(glanced$df, 4 + (4 * 2 - 1) + 1)
  expect_equal(glanced$AIC, -2 * loglik + 2 * 12)
  expect_equal(glanced$BIC, -2 * loglik + log(n) * 12)
  expect_identical(glanced[c("family", "nobs", "beta", "method", "converged", "iterations")],
                   data.frame(family = "linear_vae", nobs = 150L, beta = 1.5,
                              method = "adam", converged = NA, iterations = 5L))
  both <- rbind(glanced, generics::glance(linear_vae(flowers, 1)),
                generics::glance(linear_vae(flowers, 1, optimizer = "exact")),
                generics::glance(as_linear_vae(fit)))
  expect_identical(both$method, c("adam", "em", "exact", "ppca"))
})

test_that("augment() of a linear VAE adds posterior means and the ELBO's terms", {
  augmented <- generics::augment(vae, iris)
  expect_identical(class(augmented), "data.frame")
  expect_named(augmented, c(names(iris), ".z1", ".z2", ".elbo", ".reconstruction", ".kl"))
  expect_identical(augmented[names(iris)], iris)
  terms <- vae_terms_by_row(vae, flowers)
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]), terms$m, ignore_attr = TRUE)
  for (term in c("elbo", "reconstruction", "kl")) {
    expect_equal(augmented[[paste0(".", term)]], unname(terms[[term]]))
  }
  turned <- generics::augment(vae, flowers[3:1, 4:1])
  expect_equal(turned$.elbo, augmented$.elbo[3:1])
  expect_equal(as.matrix(generics::augment(vae)), vae$scores, ignore_attr = TRUE)
  expect_named(generics::augment(vae), c(".z1", ".z2"))
})

test_that("augment() of a linear VAE keeps scales, formulas and sparse data in order", {
  scaled <- linear_vae(~ log(Sepal.Length) + Petal.Length, 1, data = iris, scale = TRUE)
  augmented <- generics::augment(scaled, iris)
  expect_identical(augmented[names(iris)], iris)
  expect_equal(mean(augmented$.elbo), scaled$elbo)
  expect_equal(mean(augmented$.kl), scaled$kl)
  skip_if_not_installed("Matrix")
  sparse <- Matrix::Matrix(flowers, sparse = TRUE)
  expect_equal(generics::augment(vae, sparse), generics::augment(vae, flowers))
})

test_that("all columns of augment() are of the same dequantised pixels", {
  x <- mnist1000$x[1:100, 401:420]
  fit <- linear_vae(x, 2, transform = logit_pixels(), optimizer = "exact")
  set.seed(7)
  augmented <- generics::augment(fit, x)
  after <- .Random.seed
  set.seed(7)
  terms <- elbo(fit, x, by = "observation")
  expect_identical(.Random.seed, after)                # as many draws: one pass
  expect_identical(augmented$.elbo, terms$elbo)
  expect_identical(augmented$.reconstruction, terms$reconstruction)
  expect_identical(augmented$.kl, terms$kl)
  expect_equal(augmented$.kl, 0.5 * (rowSums(augmented[c(".z1", ".z2")]^2) +
                                       sum(fit$D - log(fit$D) - 1)), ignore_attr = TRUE)
  set.seed(7)
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]), predict(fit, x), ignore_attr = TRUE)
})

test_that("tidy() of posterior collapse and of stability is their table", {
  collapse <- posterior_collapse(vae)
  tidied <- generics::tidy(collapse)
  expect_identical(class(tidied), "data.frame")
  expect_identical(tidied$component, 1:2)
  expect_identical(tidied[-1], data.frame(collapse$dimensions, row.names = NULL))
  expect_identical(generics::tidy(posterior_collapse(fit))$predicted, c(FALSE, FALSE))
  stable <- generics::tidy(stability(fit))
  expect_identical(class(stable), "data.frame")
  expect_named(attributes(stable), c("names", "class", "row.names"), ignore.order = TRUE)
  expect_named(stable, c("direction", "eigenvalue", "in_use", "curvature", "stable"))
  expect_equal(stable$eigenvalue, lambda)
  expect_identical(stable$in_use, c(TRUE, TRUE, FALSE, FALSE))
})

test_that("tidy() and glance() know linear autoencoders", {
  set.seed(1)
  ae <- linear_ae(flowers, 2, "ordered")
  expect_identical(generics::tidy(ae)$value, as.vector(ae$loadings))
  expect_identical(generics::tidy(ae, "encoder")$value, as.vector(t(ae$V)))
  expect_identical(generics::tidy(ae, "encoder")$feature, rep(colnames(flowers), 2))
  z <- x_centred %*% t(ae$V)
  expect_equal(generics::tidy(ae, "scores")$value, as.vector(z))
  expect_equal(generics::tidy(ae, "values")$share, lambda / sum(lambda))
  glanced <- generics::glance(ae)
  expect_named(glanced, glance_columns)
  expect_true(all(is.na(glanced[c("sigma2", "logLik", "elbo", "AIC", "BIC", "df")])))
  error <- mean(rowSums((x_centred - z %*% t(ae$loadings))^2))
  expect_equal(glanced$error, error)
  weights <- colSums(ae$loadings^2) + rowSums(ae$V^2)
  expect_equal(glanced$loss, error + sum(ae$lambda * weights))
  expect_identical(glanced$penalty, "ordered")
  expect_identical(glanced$nobs, 150L)
})

# ---- deep VAEs -----------------------------------------------------------

set.seed(2)
few_epochs <- train_control(epochs = 4, batch_size = 50, learning_rate = 0.01)
deep <- vae(flowers, 2, encoder = 6, activation = "tanh", beta = 2, control = few_epochs)
supervised <- vae(flowers, 2, encoder = 6, activation = "tanh", condition = iris$Species,
                  noise = "feature", control = few_epochs)

test_that("tidy() of a deep VAE gives dimensions, history and layers", {
  tidied <- generics::tidy(deep)
  expect_identical(class(tidied), "data.frame")
  q <- posterior(deep, flowers)
  kl <- colMeans(0.5 * (q$variance - log(q$variance) + q$mean^2 - 1))
  expect_identical(tidied$component, 1:2)
  expect_equal(tidied$kl, unname(kl), tolerance = 1e-6)
  expect_equal(sum(tidied$kl), deep$kl, tolerance = 1e-6)
  expect_identical(generics::tidy(deep, "history"), deep$history)
  layers <- generics::tidy(deep, "layers")
  expect_named(layers, c("layer", "inputs", "outputs", "activation", "parameters"))
  weights <- coef(deep)
  expect_identical(layers$layer, c("encoder1", "mean", "mean_linear", "log_variance",
                                   "decoder1", "output", "output_linear", "log_sigma2"))
  expect_equal(c(layers$outputs[1], layers$inputs[1]), dim(weights$encoder[[1]]$weights))
  # with maps of 2 x 4 and 4 x 2
  expect_equal(layers$parameters, c(30, 14, 8, 14, 18, 28, 8, 1))
  expect_identical(sum(layers$parameters), deep$df)
})

test_that("glance() of a deep VAE is one row about it", {
  glanced <- generics::glance(deep)
  expect_identical(class(glanced), "data.frame")
  expect_named(glanced, glance_columns)
  expect_true(all(is.na(glanced[c("logLik", "AIC", "BIC", "loss", "error", "penalty")])))
  expect_identical(glanced$seconds, sum(deep$history$seconds))
  expect_equal(glanced$elbo, glanced$reconstruction - glanced$kl)
  expect_identical(glanced[c("n", "p", "k", "validation", "nobs", "beta", "method",
                             "converged", "iterations", "best_epoch")],
                   data.frame(n = 150L, p = 4L, k = 2L, validation = NA_real_, nobs = 150L,
                              beta = 2, method = "adam", converged = NA, iterations = 4L,
                              best_epoch = 4L))
  feature <- generics::glance(supervised)
  expect_equal(feature$sigma2, mean(coef(supervised)$sigma2))
  # weights of the best epoch and the ELBO that the validation data had then
  set.seed(1)
  held <- vae(flowers, 2, encoder = 6, validation = 0.3, start = "random",
              control = train_control(epochs = 60, batch_size = 10, patience = 2,
                                      learning_rate = 0.05))
  glanced <- generics::glance(held)
  expect_identical(glanced$nobs, 105L)
  expect_identical(glanced$validation, max(held$history$validation))
  expect_identical(glanced$best_epoch, which.max(held$history$validation))
  # at the start, which a rate that ruins all leaves the best, it is about pPCA's
  set.seed(1)
  spoilt <- vae(flowers, 2, encoder = 6, validation = 0.3, epochs = 3,
                control = train_control(patience = 3, learning_rate = 5))
  glanced <- generics::glance(spoilt)
  expect_identical(glanced$best_epoch, 0L)
  expect_equal(glanced$validation, spoilt$linear$validation, tolerance = 0.05)
  pixels <- vae(mnist1000$x[1:50, ], 2, encoder = 4, transform = logit_pixels(),
                control = train_control(epochs = 1, batch_size = 50))
  all <- rbind(glanced, feature, generics::glance(pixels))
  expect_equal(all$elbo, all$reconstruction - all$kl + all$log_jacobian)
  expect_gt(all$log_jacobian[3], 0)
})

test_that("rows of glance() of all families stack, with the kind that each column has", {
  set.seed(1)
  fits <- list(fit, vae, linear_ae(flowers, 2), deep)
  all <- do.call(rbind, lapply(fits, generics::glance))
  expect_identical(all$family, c("ppca", "linear_vae", "linear_ae", "vae"))
  kinds <- function(row) vapply(row, typeof, "")
  for (one in fits) expect_identical(kinds(generics::glance(one)), kinds(all))
  expect_true(all(all$seconds >= 0))
})

test_that("seconds are those on the clock, of all sessions of a fit", {
  began <- proc.time()[["elapsed"]]
  quick <- suppressWarnings(ppca(replace(flowers, 1:5, NA), 2, keep_data = TRUE,
                                 control = em_control(maxit = 2)))
  expect_lte(quick$seconds, proc.time()[["elapsed"]] - began)
  quick$seconds <- 1000
  expect_gte(suppressWarnings(update(quick, maxit = 4))$seconds, 1000)
  set.seed(1)
  for (model in list(linear_vae(flowers, 2, keep_data = TRUE),
                     linear_ae(flowers, 2, keep_data = TRUE))) {
    model$seconds <- 1000
    longer <- update(model, tol = 1e-12)
    expect_gte(longer$seconds, 1000)
    expect_lt(longer$seconds, 1100)
    # one that begins anew
    expect_lt(update(model, k = 1)$seconds, 100)
  }
})

test_that("augment() of a deep VAE adds positions and the ELBO's terms", {
  set.seed(7)
  augmented <- generics::augment(deep, iris)
  after <- .Random.seed
  set.seed(7)
  terms <- elbo(deep, flowers, by = "observation")
  expect_identical(.Random.seed, after)
  expect_identical(class(augmented), "data.frame")
  expect_named(augmented, c(names(iris), ".z1", ".z2", ".elbo", ".reconstruction", ".kl"))
  expect_identical(augmented[names(iris)], iris)
  expect_identical(augmented$.elbo, terms$elbo)
  expect_identical(augmented$.reconstruction, terms$reconstruction)
  q <- posterior(deep, flowers)
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]), q$mean, ignore_attr = TRUE)
  expect_equal(augmented$.kl, unname(rowSums(0.5 * (q$variance - log(q$variance) + q$mean^2 - 1))),
               tolerance = 1e-5)
  # without data the new columns of the rows trained on
  set.seed(7)
  expect_identical(generics::augment(deep), augmented[-(1:5)])
  # more samples, less noise around the expectation
  spread <- function(samples) {
    sd(replicate(20, generics::augment(deep, flowers[1, , drop = FALSE], samples)$.elbo))
  }
  set.seed(1)
  expect_lt(spread(200), 0.5 * spread(1))
})

test_that("augment() of a deep VAE takes a condition, missing cells and other kinds of data", {
  set.seed(7)
  augmented <- generics::augment(supervised, iris, condition = iris$Species)
  set.seed(7)
  terms <- elbo(supervised, flowers, by = "observation", condition = iris$Species)
  expect_identical(augmented$.elbo, terms$elbo)
  expect_equal(as.matrix(augmented[c(".z1", ".z2")]),
               posterior(supervised, flowers, iris$Species)$mean, ignore_attr = TRUE)
  set.seed(7)
  expect_identical(generics::augment(supervised), augmented[-(1:5)])
  holes <- replace(flowers, c(3, 200), NA)
  augmented <- generics::augment(deep, holes)
  expect_identical(augmented$Sepal.Length, unname(holes[, 1]))
  expect_false(anyNA(augmented[-(1:4)]))
  formula <- vae(~ log(Sepal.Length) + Petal.Length, 1, encoder = 6, data = iris,
                 control = few_epochs)
  expect_identical(generics::augment(formula, iris)[names(iris)], iris)
  held <- vae(flowers, 1, encoder = 6, validation = 0.2, control = few_epochs)
  expect_identical(nrow(generics::augment(held)), 120L)
  expect_identical(nrow(generics::augment(held, flowers)), 150L)
  skip_if_not_installed("Matrix")
  sparse <- Matrix::Matrix(flowers, sparse = TRUE)
  set.seed(7)
  first <- generics::augment(deep, sparse)
  set.seed(7)
  expect_equal(first, generics::augment(deep, flowers))
})

test_that("augment() of a deep VAE finds its data where it is called", {
  local_fit <- function() {
    mine <- flowers[1:60, ]
    fit <- vae(mine, 1, encoder = 6, control = few_epochs)
    expect_identical(nrow(generics::augment(fit)), 60L)
    fit
  }
  expect_error(generics::augment(local_fit()), "`data` must be given: the fit holds no data",
               fixed = TRUE, class = "elbo_error")
})

test_that("bad arguments are named", {
  refused <- function(code, message) {
    expect_error(code, message, fixed = TRUE, class = "elbo_error")
  }
  refused(generics::tidy(fit, "rotation"), "`matrix` must be one of \"loadings\"")
  refused(generics::tidy(fit, conf.int = TRUE), "Unused argument in `...`: conf.int")
  refused(generics::glance(fit, 1), "Unused argument")
  refused(generics::augment(fit, iris[1:3]),
          "`data` must have the columns that the model was fitted to; \"Petal.Width\" is missing")
  refused(generics::augment(fit, "iris"), "`data` must be a numeric matrix")
  refused(generics::augment(fit, iris, newdata = iris), "Unused argument in `...`: newdata")
  refused(generics::tidy(select_rank(flowers), 1), "Unused argument")
  refused(generics::tidy(vae, "rotation"), "`matrix` must be one of \"loadings\"")
  refused(generics::tidy(posterior_collapse(vae), 1), "Unused argument")
  refused(generics::tidy(stability(fit), 1), "Unused argument")
  refused(generics::glance(vae, 1), "Unused argument")
  refused(generics::augment(vae, iris[1:3]), "`data` must have the columns")
  refused(generics::augment(vae, replace(flowers, 1, NA)),
          "`data` must have no missing cells: the encoder needs every feature")
  refused(generics::tidy(deep, "weights"), "`matrix` must be one of \"dimensions\"")
  refused(generics::tidy(deep, conf.int = TRUE), "Unused argument in `...`: conf.int")
  refused(generics::glance(deep, 1), "Unused argument")
  refused(generics::augment(deep, iris[1:3]), "`data` must have the columns")
  refused(generics::augment(deep, iris[0, ]), "`data` must have at least 1 row, not 0")
  refused(generics::augment(deep, iris, samples = 0), "`samples` must be a whole number, 1 or more")
  refused(generics::augment(deep, iris, newdata = iris), "Unused argument in `...`: newdata")
  refused(generics::augment(supervised, iris), "`condition` must be given: the model has one")
  refused(generics::augment(supervised, iris, condition = "rose"), "`condition` must have")
  refused(generics::augment(deep, iris, condition = iris$Species),
          "`condition` must be left out: the model has none")
})

test_that("the history of a fit without an epoch is a data frame without a row", {
  skip_if_not_installed("generics")
  fit <- suppressWarnings(vae(iris[1:4], 2, encoder = 3,
                              control = train_control(epochs = 2, learning_rate = 1e10,
                                                      batch_size = 30)))
  expect_identical(fit$iterations, 0L)
  found <- generics::tidy(fit, "history")
  expect_s3_class(found, "data.frame")
  expect_identical(nrow(found), 0L)
})
