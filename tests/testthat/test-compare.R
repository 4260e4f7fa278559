# compare_models(). Expected values come from the definitions in plain R (log_density() and
# reference_elbo() of the helpers), from elbo() and logLik() of each model, which their own
# tests hold against these, and from standard deviations by hand.

set.seed(1)
train <- plain(model_data(60, 5, 2))
test <- plain(model_data(40, 5, 2, seed = 5))
colnames(train) <- colnames(test) <- letters[1:5]
one <- ppca(train, 1)
two <- ppca(train, 2, scale = TRUE)
noisy <- random_vae(train, 2)
deep <- quick_vae(train, 2, encoder = 6)
deep$call$x <- quote(train)
labelled <- quick_vae(train, 2, encoder = 6, condition = factor(rep(c("u", "v"), 30)))

row_of <- function(compared, model) compared$table[compared$table$model == model, ]

# values ---------------------------------------------------------------------

test_that("the values are log-likelihoods and ELBOs of each row", {
  set.seed(3)
  compared <- compare_models(one, two, noisy, deep, newdata = test, samples = 7)
  expect_s3_class(compared, "model_comparison")
  values <- compared$values
  expect_identical(colnames(values), c("one", "two", "noisy", "deep"))
  # by the definitions
  expect_equal(values[, "one"], fit_density(one, test), ignore_attr = TRUE)
  expect_equal(values[, "two"], fit_density(two, test), ignore_attr = TRUE)
  ref <- reference_elbo(test, coef(noisy))
  expect_equal(values[, "noisy"], ref$elbo, ignore_attr = TRUE)
  # by the method, which draws the same
  set.seed(3)
  terms <- elbo(deep, test, samples = 7, by = "observation")
  expect_equal(values[, "deep"], terms$elbo, ignore_attr = TRUE)
  # means of those, and what kind they are
  for (model in colnames(values)) {
    row <- row_of(compared, model)
    expect_equal(row$value, mean(values[, model]))
    expect_equal(row$se, sd(values[, model]) / sqrt(40))
  }
  expect_identical(row_of(compared, "one")$kind, "exact")
  expect_identical(row_of(compared, "noisy")$kind, "bound")
  expect_identical(row_of(compared, "deep")$kind, "bound")
  # beside the bound of a linear VAE, what it is a bound of
  expect_equal(row_of(compared, "noisy")$loglik, mean(fit_density(noisy, test)))
  expect_equal(row_of(compared, "noisy")$elbo, mean(ref$elbo))
  expect_lt(row_of(compared, "noisy")$elbo, row_of(compared, "noisy")$loglik)
  expect_identical(row_of(compared, "one")$loglik, row_of(compared, "one")$elbo)
  expect_true(is.na(row_of(compared, "deep")$loglik))
})

test_that("differences are paired by row, from the best", {
  compared <- compare_models(one, two, noisy, newdata = test)
  t <- compared$table
  expect_false(is.unsorted(-t$value))
  best <- t$model[1]
  expect_identical(t[1, c("difference", "difference_se")],
                   data.frame(difference = 0, difference_se = 0))
  for (i in 2:3) {
    apart <- compared$values[, t$model[i]] - compared$values[, best]
    expect_equal(t$difference[i], mean(apart))
    expect_equal(t$difference_se[i], sd(apart) / sqrt(40))
    # a t test of the pairs has the same standard error
    expect_equal(t$difference_se[i],
                 t.test(compared$values[, t$model[i]], compared$values[, best],
                        paired = TRUE)$stderr)
  }
})

test_that("sizes, parameters and seconds are those of the fits", {
  compared <- compare_models(one, noisy, deep, newdata = test)
  for (name in c("one", "noisy", "deep")) {
    fit <- get(name)
    row <- row_of(compared, name)
    expect_identical(row$family, class(fit)[1])
    expect_identical(row$k, fit$k)
    expect_equal(row$parameters, fit$df)
  }
  expect_identical(row_of(compared, "one")$seconds, one$seconds)
  expect_identical(row_of(compared, "deep")$seconds, sum(deep$history$seconds))
  expect_identical(compared[c("n", "p", "samples", "own", "noise")],
                   list(n = 40L, p = 5L, samples = 1L, own = FALSE, noise = FALSE))
})

test_that("the tightest values that are known are had with weighted = TRUE", {
  set.seed(3)
  compared <- compare_models(noisy, deep, newdata = test, samples = 50, weighted = TRUE)
  expect_equal(compared$values[, "noisy"], fit_density(noisy, test), ignore_attr = TRUE)
  expect_identical(row_of(compared, "noisy")$kind, "exact")
  set.seed(3)
  terms <- elbo(deep, test, samples = 50, weighted = TRUE)
  expect_equal(row_of(compared, "deep")$value, terms[["weighted"]])
  expect_equal(row_of(compared, "deep")$elbo, terms[["elbo"]])
  expect_identical(row_of(compared, "deep")$kind, "bound")
})

test_that("a linear VAE at its optimum is pPCA, and a collapsed one is not", {
  # Lemma 1 of Lucas et al. (2019)
  best <- linear_vae(train, 1, optimizer = "exact")
  compared <- compare_models(one, best, newdata = test)
  expect_equal(compared$values[, "one"], compared$values[, "best"], tolerance = 1e-8)
  expect_lt(max(abs(compared$table$difference)), 1e-8)
  expect_true(all(compared$table$difference_se < 1e-8))
})

# transforms and kinds of data ------------------------------------------------------------

test_that("models with transforms see the same noise, on the scale of the pixels", {
  pixels <- mnist1000$x[1:100, 401:412]
  new <- mnist1000$x[101:160, 401:412]
  narrow <- ppca(pixels, 2, transform = logit_pixels(0.01))
  wide <- linear_vae(pixels, 2, transform = logit_pixels(1e-4), optimizer = "exact")
  again <- ppca(pixels, 2, transform = logit_pixels(0.01))
  again$loadings <- narrow$loadings
  again[c("mean", "sigma2")] <- narrow[c("mean", "sigma2")]
  nets <- quick_vae(pixels, 2, encoder = 5, transform = logit_pixels(0.01))
  set.seed(8)
  compared <- compare_models(narrow, wide, again, nets, newdata = new)
  expect_true(compared$noise)
  expect_identical(compared$values[, "narrow"], compared$values[, "again"])
  # by hand: the noise, the transform, its Jacobian and the density of the model
  set.seed(8)
  v <- new + matrix(runif(length(new)), nrow(new))
  by_hand <- function(fit, alpha) {
    a <- alpha + (1 - 2 * alpha) * v / 256
    slope <- (1 - 2 * alpha) / 256 / (a * (1 - a))
    theta <- marginal(fit)
    log_density(log(a / (1 - a)), theta$mean, theta$cov) + rowSums(log(slope))
  }
  expect_equal(compared$values[, "narrow"], by_hand(narrow, 0.01), ignore_attr = TRUE)
  set.seed(8)
  compared <- compare_models(wide, newdata = new, weighted = TRUE)
  expect_equal(compared$values[, "wide"], by_hand(wide, 1e-4), ignore_attr = TRUE)
  # alone or beside others, and as by elbo()
  set.seed(8)
  beside <- compare_models(narrow, nets, newdata = new)$values[, "nets"]
  set.seed(8)
  expect_equal(beside, elbo(nets, new, by = "observation")$elbo, ignore_attr = TRUE)
  # another seed, other noise
  expect_false(isTRUE(all.equal(compare_models(narrow, newdata = new)$values,
                                compare_models(narrow, newdata = new)$values)))
  # whole numbers as they are beside such with noise: the user is told
  plain_pixels <- ppca(pixels, 2, sigma2 = 100)
  expect_output(print(compare_models(narrow, plain_pixels, newdata = new)),
                "The data are whole numbers")
  said <- capture.output(print(compare_models(narrow, plain_pixels, newdata = v)))
  expect_false(any(grepl("whole numbers", said)))
})

test_that("features are matched by name, whatever order a model has them in", {
  turned <- ppca(train[, 5:1], 1)
  compared <- compare_models(one, turned, newdata = as.data.frame(test)[c(3, 1, 2, 5, 4)])
  expect_equal(compared$values[, "one"], fit_density(one, test), ignore_attr = TRUE)
  expect_equal(compared$values[, "turned"], compared$values[, "one"], tolerance = 1e-8)
  expect_equal(compare_models(turned, one, newdata = test)$values[, "one"],
               compared$values[, "one"])
  unnamed <- ppca(unname(train), 1)
  expect_equal(compare_models(one, unnamed, newdata = test)$values[, "unnamed"],
               compared$values[, "one"], ignore_attr = TRUE)
  formula <- ppca(~ a + b + c + d + e, 1, data = as.data.frame(train))
  expect_equal(compare_models(formula, one, newdata = as.data.frame(test))$values[, "formula"],
               compared$values[, "one"], ignore_attr = TRUE)
})

test_that("of missing cells the others count; sparse data are taken", {
  holes <- with_holes(test)
  compared <- compare_models(one, deep, newdata = holes)
  expect_equal(compared$values[, "one"], fit_density(one, holes), ignore_attr = TRUE)
  expect_false(anyNA(compared$values))
  expect_error(compare_models(one, noisy, newdata = holes), "must have no missing cells",
               class = "elbo_error")
  skip_if_not_installed("Matrix")
  sparse <- Matrix::Matrix(round(test), sparse = TRUE)
  set.seed(1)
  expected <- compare_models(one, noisy, deep, newdata = round(test))$values
  set.seed(1)
  expect_equal(compare_models(one, noisy, deep, newdata = sparse)$values, expected,
               tolerance = 1e-5, ignore_attr = TRUE)
})

test_that("a condition goes to the models that have one", {
  label <- factor(rep(c("v", "u"), 20))
  set.seed(4)
  compared <- compare_models(one, labelled, newdata = test, condition = label)
  set.seed(4)
  expect_equal(compared$values[, "labelled"],
               elbo(labelled, test, by = "observation", condition = label)$elbo,
               ignore_attr = TRUE)
  expect_error(compare_models(one, labelled, newdata = test), "`condition` must be given",
               class = "elbo_error")
  expect_error(compare_models(one, newdata = test, condition = label),
               "`condition` must be left out: no model has one", class = "elbo_error")
  held <- quick_vae(train, 2, encoder = 6, condition = rep(0:1, 30), keep_data = TRUE)
  expect_identical(compare_models(one, held)$n, 60L)
})

# the data of the fits -----------------------------------------------------------------------

test_that("without newdata they are those that the models were fitted to", {
  compared <- compare_models(one, two, noisy_again = linear_vae(train, 2, optimizer = "exact"))
  expect_true(compared$own)
  expect_equal(row_of(compared, "one")$value, one$loglik / 60)
  expect_equal(row_of(compared, "two")$value, two$loglik / 60)
  set.seed(1)
  expect_equal(compare_models(deep)$table$value,
               {set.seed(1); elbo(deep, train)[["elbo"]]})
  kept <- local({
    elsewhere <- train
    ppca(elsewhere, 1, keep_data = TRUE)
  })
  expect_equal(compare_models(kept, two)$values[, "kept"], fit_density(one, train),
               ignore_attr = TRUE, tolerance = 1e-8)
  within <- function(fit) compare_models(fit)$n
  expect_identical(within(one), 60L)
})

test_that("models of other data need newdata", {
  fewer <- ppca(train[1:50, ], 1)
  expect_error(compare_models(one, fewer),
               "`newdata` must be given where the models were fitted to different numbers of rows, not NULL: they were 60 and 50",
               fixed = TRUE, class = "elbo_error")
  expect_identical(compare_models(one, fewer, newdata = test)$n, 40L)
  other <- ppca(train + 1, 1)
  expect_error(compare_models(one, other), "not NULL: the data of other are not those of one",
               fixed = TRUE, class = "elbo_error")
  held <- quick_vae(train, 1, encoder = 4, validation = 0.5)
  expect_error(compare_models(one, held), "60 and 30", fixed = TRUE, class = "elbo_error")
  lost <- local({
    gone <- train
    ppca(gone, 1)
  })
  expect_error(compare_models(one, lost), "`newdata` must be given", class = "elbo_error")
  changed <- deep
  assign("elbo_test_data", train + 1, envir = globalenv())
  on.exit(rm("elbo_test_data", envir = globalenv()))
  changed$call$x <- quote(elbo_test_data)
  expect_error(compare_models(changed), "no longer", class = "elbo_error")
})

# what is refused ------------------------------------------------------------------------------

test_that("wrong calls are told what would be right", {
  refused <- function(code, message) {
    expect_error(code, message, fixed = TRUE, class = "elbo_error")
  }
  refused(compare_models(newdata = test), "`...` must hold one fitted model or more, not none")
  refused(compare_models(one, one, newdata = test),
          "must hold models with distinct names: give them as arguments with names, not two called \"one\"")
  refused(compare_models(a = one, a = two, newdata = test), "two called \"a\"")
  refused(compare_models(one, 3, newdata = test),
          "must hold fitted ppca(), linear_vae() or vae() models, not 3")
  refused(compare_models(list(one, two), newdata = test), "do.call(compare_models, fits)")
  refused(compare_models(linear_ae(train, 1, optimizer = "exact"), newdata = test),
          "a linear autoencoder has no likelihood")
  refused(compare_models(one, narrow = ppca(train[, 1:4], 1), newdata = test),
          "must hold models of the same features, or they are not on one scale, not one (5 of them) and narrow (4 of them)")
  renamed <- train
  colnames(renamed)[2] <- "log(b)"
  refused(compare_models(one, logged = ppca(renamed, 1), newdata = test),
          "not one (\"b\") and logged (\"log(b)\")")
  refused(compare_models(one, newdata = test[, 1:4]), "\"e\" is missing")
  refused(compare_models(one, newdata = test[0, ]), "`newdata` must have at least 1 row")
  refused(compare_models(one, newdata = test, samples = 0), "`samples` must be a whole number")
  refused(compare_models(one, newdata = test, weighted = NA), "`weighted` must be TRUE or FALSE")
})

test_that("models have the names that the user sees", {
  compared <- compare_models(one, `two of them` = two, ppca(train, 3), newdata = test)
  expect_setequal(compared$table$model, c("one", "two of them", "ppca(train, 3)"))
  compared <- do.call(compare_models, list(first = one, second = two, newdata = test))
  expect_setequal(compared$table$model, c("first", "second"))
  compared <- do.call(compare_models, list(one, two, newdata = test))
  expect_setequal(compared$table$model, c("model 1", "model 2"))
})

# reading and drawing ------------------------------------------------------------------------

test_that("the print has a line for each model, the best first, and says what bounds are", {
  set.seed(1)
  compared <- compare_models(one, two, noisy, deep, newdata = test)
  said <- capture.output(value <- print(compared))
  expect_identical(value, compared)
  expect_lt(length(said), 25)
  expect_identical(said[1], "4 models on 40 observations of 5 features")
  at <- vapply(compared$table$model, function(m) grep(paste0("^", m, " "), said), 0L)
  expect_false(is.unsorted(at))
  t <- compared$table
  # values are rounded to far less than their standard errors
  shown <- as.numeric(sub("^[^(]* (-?[0-9.]+) [(].*", "\\1", said[at]))
  expect_true(all(abs(shown - t$value) <= 0.05 * t$se))
  expect_match(said[at[["deep"]]], "bound", fixed = TRUE)
  expect_match(paste(said, collapse = " "), "A bound is below the log-likelihood of its model")
  exact <- capture.output(print(compare_models(one, two)))
  expect_false(any(grepl("bound", exact)))
  expect_match(exact[1], "2 models on 60 observations that they were fitted to, of 5 features")
  # many models, of one row, which has no standard error
  many <- lapply(1:30, function(i) one)
  names(many) <- paste("a model with a name that is long,", 1:30)
  many <- do.call(compare_models, c(many, list(newdata = test[1, , drop = FALSE])))
  said <- capture.output(print(many))
  expect_lt(length(said), 25)
  expect_true(any(grepl("... and 20 more models", said, fixed = TRUE)))
  expect_true(all(is.na(many$table$se)))
})

test_that("it can be drawn, all kinds of it", {
  set.seed(1)
  compared <- compare_models(one, two, noisy, deep, newdata = test)
  for (type in c("value", "difference")) expect_draws(plot(compared, type), compared)
  expect_draws(plot(compared, xlim = c(-20, 0), xlab = "nats", main = "Models"), compared)
  single <- compare_models(one, newdata = test[1, , drop = FALSE])
  expect_draws(plot(single), single)
  expect_refused(plot(compared, "bars"), "`type` must be one of")
  data <- elbo:::comparison_data(compared, "value")$table
  expect_equal(data$high - data$low, 4 * compared$table$se)
  expect_identical(tail(levels(data$model), 1), compared$table$model[1])    # at the top
  expect_equal(elbo:::comparison_data(compared, "difference")$table$value,
               compared$table$difference)
  skip_if_not_installed("ggplot2")
  for (type in c("value", "difference")) {
    drawn <- ggplot2::autoplot(compared, type)
    expect_s3_class(drawn, "ggplot")
    draw(print(drawn))
  }
  expect_error(ggplot2::autoplot(compared, colour = 1), "Unused", class = "elbo_error")
})

test_that("tidy() gives the table, and a comparison can be saved", {
  compared <- compare_models(one, two, newdata = test)
  file <- tempfile()
  saveRDS(compared, file)
  expect_identical(readRDS(file), compared)
  skip_if_not_installed("generics")
  expect_identical(generics::tidy(compared), compared$table)
})
