# The linear autoencoder. References: the loss from its definition, one row at a time;
# optim() on that; prcomp() and lm(); and the minimum worked by hand.

x <- plain(model_data(50, 6, 4, seed = 7))
dimnames(x) <- list(paste0("r", 1:50), letters[1:6])
spectrum <- eigen(crossprod(sweep(x, 2, colMeans(x))) / 50, symmetric = TRUE)
e <- spectrum$values
u <- spectrum$vectors

# Mean over rows of |x - mu - W V (x - mu)|^2, and that plus sum_j lambda_j (|w_j|^2 + |v_j|^2).
ae_error <- function(x, w, v, mu = colMeans(x)) {
  mean(apply(unname(as.matrix(x)), 1, function(row) {
    c <- row - unname(mu)
    sum((c - w %*% (v %*% c))^2)
  }))
}

ae_loss <- function(x, w, v, lambda, mu = colMeans(x)) {
  ae_error(x, w, v, mu) + sum(lambda * (colSums(w^2) + rowSums(v^2)))
}

# With W = V' = U diag(1 - lambda_j / e_j)^(1/2) a direction in use leaves
# (lambda_j / e_j)^2 e_j of error and costs 2 lambda_j (1 - lambda_j / e_j): together
# 2 lambda_j - lambda_j^2 / e_j. One with lambda_j >= e_j leaves e_j.
least_loss <- function(e, lambda) {
  k <- length(lambda)
  sum(e[-seq_len(k)]) + sum(ifelse(lambda < e[1:k], 2 * lambda - lambda^2 / e[1:k], e[1:k]))
}

penalties <- list(uniform = 0.1 * e[3], ordered = c(0.1, 0.5, 0.9) * e[3], none = NULL)
weights <- function(penalty) if (penalty == "none") numeric(3) else rep_len(penalties[[penalty]], 3)
fine <- train_control(tol = 1e-15, maxit = 20000)

fit_ae <- function(penalty, optimizer, data = x, seed = 1, ...) {
  set.seed(seed)
  linear_ae(data, 3, penalty, lambda = penalties[[penalty]], optimizer = optimizer, ...)
}

# What a fit says of itself follows from its parameters and the data.
expect_consistent <- function(fit, data) {
  data <- as.matrix(data)
  w <- unname(fit$loadings)
  v <- unname(fit$V)
  mu <- unname(fit$mean)
  expect_equal(fit$error, ae_error(data, w, v, mu), tolerance = 1e-7)
  expect_equal(fit$loss, ae_loss(data, w, v, fit$lambda, mu), tolerance = 1e-7)
  z <- t(v %*% (t(data) - mu))
  expect_equal(fit$scores, z, ignore_attr = TRUE)
  expect_equal(predict(fit, data), z, ignore_attr = TRUE)
  expect_equal(fitted(fit), t(mu + w %*% t(z)), ignore_attr = TRUE)
  expect_equal(residuals(fit, data), data - fitted(fit), ignore_attr = TRUE)
  expect_equal(mean(rowSums(residuals(fit, data)^2)), fit$error, tolerance = 1e-7)
}

# Loss and gradient ----------------------------------------------------------------

test_that("the gradient is that of the loss, by central differences", {
  # Tall and wide: from the covariance matrix, and from the data.
  for (data in list(x, x[1:4, ], plain(model_data(5, 9, 2)))) {
    core <- elbo:::covariance_data(data, list(center = TRUE, scale = FALSE, transform = NULL))
    p <- ncol(data)
    lambda <- c(0.02, 0.3)
    evaluate <- elbo:::ae_evaluate(core, 2, lambda)
    for (seed in 1:3) {
      set.seed(seed)
      theta <- rnorm(4 * p, sd = 0.5)
      at <- evaluate(theta)
      w <- matrix(theta[1:(2 * p)], p)
      v <- t(matrix(theta[-(1:(2 * p))], p))
      expect_equal(at$row[["loss"]], ae_loss(data / core$u, w, v, lambda))
      expect_equal(at$row[["error"]], ae_error(data / core$u, w, v))
      expect_identical(at$objective, -at$row[["loss"]])
      h <- 1e-4
      # (-f(2h) + 8 f(h) - 8 f(-h) + f(-2h)) / 12h is exact here but for rounding: the
      # loss is a polynomial of degree 4 in each parameter.
      numeric <- vapply(seq_along(theta), function(i) {
        f <- function(t) evaluate(replace(theta, i, theta[i] + t))$objective
        (-f(2 * h) + 8 * f(h) - 8 * f(-h) + f(-2 * h)) / (12 * h)
      }, 0)
      expect_lt(max(abs(at$gradient - numeric)), 1e-7 * max(abs(numeric)))
    }
  }
})

test_that("a loss that is not finite is none", {
  core <- elbo:::covariance_data(x, list(center = TRUE, scale = FALSE, transform = NULL))
  evaluate <- elbo:::ae_evaluate(core, 2, c(0, 0))
  expect_null(evaluate(rep(1e200, 24)))
  expect_null(evaluate(c(NaN, rep(1, 23))))
})

# The minimum ------------------------------------------------------------------------

test_that("the closed form is U diag(1 - lambda / e)^(1/2), and its loss that by hand", {
  for (penalty in names(penalties)) {
    fit <- fit_ae(penalty, "exact")
    size <- sqrt(1 - weights(penalty) / e[1:3])
    expect_equal(abs(unname(fit$loadings)), abs(u[, 1:3] %*% diag(size)))
    expect_equal(unname(fit$V), t(unname(fit$loadings)))
    expect_equal(fit$loss, least_loss(e, weights(penalty)))
    expect_equal(fit$lambda, weights(penalty))
    expect_equal(fit$values, e)
    expect_equal(fit$trace, sum(e))
    expect_consistent(fit, x)
    expect_true(fit$converged)
    expect_identical(fit$iterations, 0L)
  }
})

test_that("a penalty of more than an eigenvalue leaves its direction out", {
  for (lambda in c(mean(e[2:3]), mean(e[1:2]), 2 * e[1])) {
    fit <- linear_ae(x, 3, lambda = lambda, optimizer = "exact")
    expect_equal(unname(colSums(fit$loadings^2)), pmax(1 - lambda / e[1:3], 0))
    expect_equal(fit$loss, least_loss(e, rep(lambda, 3)))
    expect_consistent(fit, x)
    set.seed(1)
    trained <- linear_ae(x, 3, lambda = lambda, control = fine)
    expect_equal(trained$loss, fit$loss, tolerance = 1e-6)
  }
  fit <- linear_ae(x, 3, "ordered", lambda = c(0.5, 0.9, 1.1) * e[3], optimizer = "exact")
  expect_equal(unname(colSums(fit$loadings^2)), c(1 - 0.5 * e[3] / e[1], 1 - 0.9 * e[3] / e[2], 0))
})

test_that("an optimiser that knows only the definition of the loss finds no less", {
  small <- x[1:20, 1:4]
  values <- eigen(cov(small) * 19 / 20)$values
  for (lambda in list(0.1 * values[2], c(0.1, 0.6) * values[2], 1.2 * values[2])) {
    loss <- function(theta) {
      ae_loss(small, matrix(theta[1:8], 4), matrix(theta[9:16], 2), rep_len(lambda, 2))
    }
    found <- min(vapply(1:2, function(seed) {
      set.seed(seed)
      optim(rnorm(16, sd = 0.5), loss, method = "BFGS",
            control = list(reltol = 1e-10, maxit = 200))$value
    }, 0))
    fit <- linear_ae(small, 2, if (length(lambda) == 1) "uniform" else "ordered",
                     lambda = lambda, optimizer = "exact")
    expect_gt(found, fit$loss - 1e-7)
    expect_lt(found, fit$loss + 1e-4)
  }
})

test_that("L-BFGS and Adam reach the closed form, whatever the penalty", {
  for (penalty in names(penalties)) {
    exact <- fit_ae(penalty, "exact")
    for (seed in 1:3) {
      trained <- fit_ae(penalty, "lbfgs", seed = seed, control = fine)
      expect_true(trained$converged)
      expect_equal(trained$loss, exact$loss, tolerance = 1e-8)
      expect_gt(trained$loss, exact$loss * (1 - 1e-12))
      expect_consistent(trained, x)
      # At a minimum with a penalty W and V' are equal (Kunin et al. 2019, theorem 2.1).
      if (penalty != "none") {
        expect_equal(unname(trained$loadings), t(unname(trained$V)), tolerance = 1e-3)
      }
    }
    adam <- fit_ae(penalty, "adam", control = train_control(epochs = 4000, learning_rate = 0.01))
    expect_equal(adam$loss, exact$loss, tolerance = 1e-4)
    expect_identical(adam$converged, NA)
    expect_identical(adam$iterations, 4000L)
    expect_consistent(adam, x)
  }
})

test_that("a uniform penalty recovers the span alone, an ordered one the directions", {
  pca <- ppca(x, 3)
  axis <- vapply(1:4, function(seed) {
    uniform <- fit_ae("uniform", "lbfgs", seed = seed, control = fine)
    none <- fit_ae("none", "lbfgs", seed = seed, control = fine)
    ordered <- fit_ae("ordered", "lbfgs", seed = seed, control = fine)
    expect_lt(alignment(uniform, pca)$subspace, 1e-6)
    expect_lt(alignment(none, pca)$subspace, 1e-6)
    expect_lt(alignment(ordered, pca)$subspace, 1e-6)
    expect_lt(alignment(ordered, pca)$axis, 1e-5)
    # In their order: the smallest penalty has the largest eigenvalue.
    expect_identical(unname(alignment(ordered, pca)$best), 1:3)
    # Uniform: W = U (I - lambda / e)^(1/2) R, and so W W' is known.
    exact <- fit_ae("uniform", "exact")
    expect_equal(tcrossprod(unname(uniform$loadings)), tcrossprod(unname(exact$loadings)),
                 tolerance = 1e-3)
    c(alignment(uniform, pca)$axis, alignment(none, pca)$axis)
  }, numeric(2))
  expect_gt(min(axis), 1e-3)
  expect_gt(diff(range(axis[1, ])), 1e-3)          # other starts, other axes
})

# Two stages -------------------------------------------------------------------------

test_that("PCA followed by regression is the projection on the principal plane", {
  for (k in 1:5) {
    fit <- linear_ae(x, k, "none", optimizer = "two-stage")
    pca <- prcomp(x)
    projected <- pca$x[, 1:k, drop = FALSE] %*% t(pca$rotation[, 1:k, drop = FALSE])
    expect_equal(fitted(fit), sweep(projected, 2, colMeans(x), "+"), ignore_attr = TRUE)
    # Its decoder is lm()'s.
    model <- lm(x ~ fit$scores)
    expect_equal(unname(coef(model)[-1, ]), unname(t(fit$loadings))[seq_len(k), ])
    expect_equal(coef(model)[1, ], fit$mean)
    expect_equal(fitted(model), fitted(fit), ignore_attr = TRUE)
    expect_equal(residuals(model), residuals(fit), ignore_attr = TRUE)
    # The least squared error of any rank-k reconstruction.
    expect_equal(fit$error, sum(e[-seq_len(k)]))
    expect_identical(fit$loss, fit$error)
    expect_consistent(fit, x)
  }
})

test_that("without a mean it is the regression through the origin", {
  fit <- linear_ae(x, 2, "none", optimizer = "two-stage", center = FALSE)
  v <- svd(x)$v[, 1:2]
  expect_equal(unname(fitted(fit)), unname(x %*% v %*% t(v)))
  expect_equal(unname(t(fit$loadings)), unname(coef(lm(x ~ fit$scores - 1))))
  expect_equal(unname(fit$mean), numeric(6))
})

test_that("more dimensions than the rank of x are refused clearly, or served", {
  # 5 rows: rank 4 after centring, so that the 5th score is 0 in all rows.
  wide <- plain(model_data(5, 9, 2))
  for (k in 5:6) {
    said <- tryCatch({
      fit <- linear_ae(wide, k, "none", optimizer = "two-stage")
      expect_equal(fit$error, 0)
      "a fit"
    }, error = function(error) paste(class(error)[1], conditionMessage(error)))
    expect_match(said, "a fit|elbo_error .*`k`")
  }
  expect_equal(linear_ae(wide, 4, "none", optimizer = "two-stage")$error, 0)
})

# The default penalty ------------------------------------------------------------------

test_that("the default penalty is a tenth of the kth eigenvalue, or up to nine tenths", {
  expect_equal(linear_ae(x, 3, optimizer = "exact")$lambda, rep(0.1 * e[3], 3))
  expect_equal(linear_ae(x, 3, "ordered", optimizer = "exact")$lambda,
               c(0.1, 0.5, 0.9) * e[3])
  expect_equal(linear_ae(x, 1, "ordered", optimizer = "exact")$lambda, 0.1 * e[1])
  expect_identical(linear_ae(x, 3, "none", optimizer = "exact")$lambda, numeric(3))
})

test_that("beyond the rank of x there is no default penalty", {
  expect_error(linear_ae(plain(model_data(5, 9, 2)), 6), "`lambda` must be given",
               class = "elbo_error")
  set.seed(1)
  flat <- matrix(rnorm(40), 20) %*% matrix(rnorm(12), 2)
  expect_error(linear_ae(flat, 3), "`lambda` must be given", class = "elbo_error")
})

# Kinds of data --------------------------------------------------------------------------

test_that("units of the data do not matter", {
  set.seed(1)
  one <- linear_ae(x, 3, control = fine)
  set.seed(1)
  other <- linear_ae(1024 * x, 3, control = fine)      # a power of two: bit for bit
  expect_identical(other$loadings, one$loadings)
  expect_identical(other$V, one$V)
  expect_equal(other$loss, 2^20 * one$loss)
  expect_equal(other$lambda, 2^20 * one$lambda)
  expect_equal(other$scores, 1024 * one$scores)
  expect_equal(other$history$loss, 2^20 * one$history$loss)
})

test_that("a data frame, integers and a sparse matrix are the same data", {
  counts <- matrix(rpois(200, 3), 40, dimnames = list(NULL, letters[1:5]))
  runs <- function(data) {
    lapply(c("exact", "lbfgs", "adam", "two-stage"), function(optimizer) {
      set.seed(1)
      linear_ae(data, 2, if (optimizer == "two-stage") "none" else "uniform",
                optimizer = optimizer, control = train_control(epochs = 30))
    })
  }
  expected <- runs(counts * 1)
  compare <- function(found) {
    for (i in 1:4) {
      expect_equal(found[[i]]$loss, expected[[i]]$loss)
      expect_equal(fitted(found[[i]]), fitted(expected[[i]]), tolerance = 1e-6,
                   ignore_attr = TRUE)
    }
  }
  compare(runs(counts))
  compare(runs(as.data.frame(counts)))
  skip_if_not_installed("Matrix")
  sparse <- methods::as(Matrix::Matrix(counts * 1, sparse = TRUE), "generalMatrix")
  found <- runs(sparse)
  compare(found)
  expect_equal(predict(found[[1]], sparse), predict(expected[[1]], counts), ignore_attr = TRUE)
  expect_equal(residuals(found[[1]], sparse), residuals(expected[[1]], counts),
               ignore_attr = TRUE)
})

test_that("more features than rows, and every k up to p - 1", {
  wide <- plain(model_data(8, 12, 3))
  values <- reference_ppca(wide, 1)$values
  for (k in c(1, 4, 7)) for (optimizer in c("exact", "lbfgs")) {
    set.seed(1)
    fit <- linear_ae(wide, k, lambda = 0.2, optimizer = optimizer, control = fine)
    expect_equal(fit$loss, least_loss(values, rep(0.2, k)), tolerance = 1e-7)
    expect_consistent(fit, wide)
  }
  for (k in 1:5) {
    set.seed(1)
    fit <- linear_ae(x, k, lambda = 0.05, control = fine)
    expect_equal(fit$loss, least_loss(e, rep(0.05, k)), tolerance = 1e-7)
    expect_identical(dim(fit$loadings), c(6L, k))
  }
  # k = p - 1 beyond the rows.
  fit <- linear_ae(wide, 11, lambda = 0.2, optimizer = "exact")
  expect_equal(fit$loss, least_loss(values, rep(0.2, 11)))
})

test_that("a centre of one's own is subtracted", {
  fit <- linear_ae(x, 2, lambda = 0.2, optimizer = "exact", center = 1:6)
  expect_equal(unname(fit$mean), 1:6)
  expect_consistent(fit, x)
  values <- eigen(crossprod(sweep(x, 2, 1:6)) / 50)$values
  expect_equal(fit$loss, least_loss(values, c(0.2, 0.2)))
})

test_that("missing cells, text and constant data are refused", {
  expect_error(linear_ae(with_holes(x), 2), "`x` must have no missing cells",
               class = "elbo_error")
  expect_error(linear_ae(matrix(3, 5, 4), 2), "`x` must vary", class = "elbo_error")
  fit <- linear_ae(x, 2, optimizer = "exact")
  expect_error(predict(fit, with_holes(x)), "`newdata` must have no missing cells",
               class = "elbo_error")
  expect_error(residuals(fit, with_holes(x)), "`newdata` must have no missing cells",
               class = "elbo_error")
})

# Arguments ----------------------------------------------------------------------------------

test_that("a penalty that does not fit is refused with what would", {
  expect_error(linear_ae(x, 3, lambda = c(1, 2)), "`lambda` must be a positive number",
               class = "elbo_error")
  for (lambda in list(1, c(3, 2, 1), c(1, 1, 2), c(-1, 1, 2), c(0, 1, 2), 1:4, c(1, NA, 2))) {
    expect_error(linear_ae(x, 3, "ordered", lambda = lambda),
                 "`lambda` must be 3 increasing positive numbers", class = "elbo_error")
  }
  expect_error(linear_ae(x, 3, "none", lambda = 1), "`lambda` must be NULL without a penalty",
               class = "elbo_error")
  expect_error(linear_ae(x, 3, optimizer = "two-stage"),
               "`optimizer` must not be \"two-stage\" where there is a penalty",
               class = "elbo_error")
})

test_that("start = begins there", {
  exact <- fit_ae("ordered", "exact")
  begun <- linear_ae(x, 3, "ordered", lambda = penalties$ordered, start = coef(exact),
                     control = train_control(maxit = 50))
  expect_true(begun$converged)
  expect_equal(begun$loadings, exact$loadings, tolerance = 1e-6)
  expect_lt(begun$iterations, 5)
  # One step of Adam from there moves each parameter by the learning rate at most.
  set.seed(3)
  start <- list(loadings = matrix(rnorm(18), 6), V = matrix(rnorm(18), 3))
  step <- linear_ae(x, 3, optimizer = "adam", start = start,
                    control = train_control(epochs = 1, learning_rate = 1e-3))
  expect_equal(unname(step$history$loss), ae_loss(x, start$loadings, start$V, step$lambda))
  expect_lt(max(abs(step$loadings - start$loadings)), 1.001e-3)
  expect_gt(min(abs(step$loadings - start$loadings)), 0.9e-3)
})

test_that("a start with a loss beyond the range of numbers is refused clearly", {
  start <- list(loadings = matrix(1e200, 6, 2), V = matrix(1e200, 2, 6))
  for (optimizer in c("lbfgs", "adam")) {
    expect_error(linear_ae(x, 2, optimizer = optimizer, start = start), "`start`",
                 class = "elbo_error")
  }
})

# Training ------------------------------------------------------------------------------------

test_that("the seed decides, and nothing else", {
  for (optimizer in c("lbfgs", "adam")) {
    run <- function(seed) {
      fit_ae("uniform", optimizer, seed = seed, control = train_control(epochs = 50))
    }
    expect_identical(untimed(run(1)), untimed(run(1)))
    expect_false(identical(run(1)$loadings, run(2)$loadings))
  }
})

test_that("Adam's steps are those of its definition", {
  # Kingma and Ba (2015), algorithm 1, with gradients by hand: W W' and V as in ?linear_ae.
  set.seed(4)
  start <- list(loadings = matrix(rnorm(12, sd = 0.3), 6), V = matrix(rnorm(12, sd = 0.3), 2))
  lambda <- 0.5
  fit <- linear_ae(x, 2, lambda = lambda, optimizer = "adam", start = start,
                   control = train_control(epochs = 7, learning_rate = 0.02))
  s <- crossprod(sweep(x, 2, colMeans(x))) / 50
  w <- start$loadings
  v <- start$V
  m <- r <- list(0, 0)
  loss <- numeric(7)
  for (t in 1:7) {
    loss[t] <- ae_loss(x, w, v, lambda)
    g <- list(2 * (w %*% v %*% s %*% t(v) - s %*% t(v)) + 2 * lambda * w,
              2 * (t(w) %*% w %*% v %*% s - t(w) %*% s) + 2 * lambda * v)
    for (i in 1:2) {
      m[[i]] <- 0.9 * m[[i]] + 0.1 * g[[i]]
      r[[i]] <- 0.999 * r[[i]] + 0.001 * g[[i]]^2
    }
    step <- lapply(1:2, function(i) {
      0.02 * (m[[i]] / (1 - 0.9^t)) / (sqrt(r[[i]] / (1 - 0.999^t)) + 1e-8)
    })
    w <- w - step[[1]]
    v <- v - step[[2]]
  }
  expect_equal(unname(fit$loadings), unname(w), tolerance = 1e-6)
  expect_equal(unname(fit$V), unname(v), tolerance = 1e-6)
  expect_equal(fit$history$loss, loss)
  expect_identical(fit$history$iteration, 1:7)
  expect_named(fit$history, c("iteration", "loss", "error"))
})

test_that("the loss of L-BFGS's history falls, and ends at the fit", {
  fit <- fit_ae("ordered", "lbfgs", control = fine)
  expect_true(all(diff(fit$history$loss) < 0))
  expect_false(is.unsorted(fit$history$iteration, strictly = TRUE))
  expect_equal(fit$history$loss[nrow(fit$history)], fit$loss)
  expect_lte(max(fit$history$iteration), fit$iterations)
  expect_equal(fit_ae("ordered", "exact")$history,
               data.frame(iteration = 0L, loss = least_loss(e, penalties$ordered),
                          error = fit_ae("ordered", "exact")$error))
})

test_that("training by Adam in parts is training in one, bit for bit", {
  run <- function(epochs) {
    fit_ae("uniform", "adam", keep_data = TRUE,
           control = train_control(epochs = epochs, learning_rate = 0.01))
  }
  whole <- run(60)
  parts <- update(update(run(13), epochs = 40), epochs = 60)
  fields <- c("loadings", "V", "loss", "error", "scores", "history", "iterations", "state")
  expect_identical(parts[fields], whole[fields])
  # A total that has been reached adds nothing.
  expect_identical(update(whole, epochs = 60), whole)
  expect_identical(update(whole, epochs = 20), whole)
})

test_that("so it is where the fit began at values of one's own", {
  set.seed(5)
  start <- list(loadings = matrix(rnorm(18, sd = 0.3), 6), V = matrix(rnorm(18, sd = 0.3), 3))
  run <- function(epochs) {
    linear_ae(x, 3, optimizer = "adam", start = start, keep_data = TRUE,
              control = train_control(epochs = epochs, learning_rate = 0.01))
  }
  expect_identical(update(run(10), epochs = 30)$loadings, run(30)$loadings)
  short <- suppressWarnings(linear_ae(x, 3, start = start, keep_data = TRUE,
                                      control = train_control(maxit = 20)))
  more <- suppressWarnings(update(short, maxit = 25))
  expect_lte(more$loss, short$loss)
})

test_that("limits that are not Adam's do not make it train on", {
  fit <- fit_ae("uniform", "adam", keep_data = TRUE, control = train_control(epochs = 20))
  expect_identical(update(fit, tol = 1e-3)$iterations, 20L)
  expect_identical(update(fit, maxit = 50)$iterations, 20L)
  vae <- linear_vae(x, 2, optimizer = "adam", control = train_control(epochs = 20))
  expect_identical(update(vae, tol = 1e-3)$iterations, 20L)
})

test_that("L-BFGS goes on from where it stopped", {
  expect_warning(
    short <- fit_ae("ordered", "lbfgs", keep_data = TRUE, control = train_control(maxit = 10)),
    "L-BFGS has not converged after 10 evaluations; `update(fit, maxit = )` continues it.",
    fixed = TRUE
  )
  expect_false(short$converged)
  expect_identical(short$iterations, 10L)
  done <- update(short, maxit = 20000, tol = 1e-15)
  expect_true(done$converged)
  expect_gt(done$iterations, 10L)
  expect_equal(done$loss, fit_ae("ordered", "exact")$loss, tolerance = 1e-8)
  expect_identical(done$history[seq_len(nrow(short$history)), ], short$history)
  expect_false(is.unsorted(done$history$iteration, strictly = TRUE))
  expect_identical(update(short, maxit = 10), short)
})

test_that("update() of anything else fits anew, with data kept or found", {
  fit <- fit_ae("uniform", "exact", keep_data = TRUE)
  expect_equal(update(fit, k = 2)$loss, least_loss(e, rep(penalties$uniform, 2)))
  other <- update(fit, lambda = 0.3)
  expect_equal(other$loss, least_loss(e, rep(0.3, 3)))
  expect_equal(update(fit, penalty = "none", lambda = NULL)$error, sum(e[4:6]))
  expect_equal(update(fit, x = x[1:20, ])$n, 20L)
  found <- linear_ae(x, 3, optimizer = "exact")
  expect_equal(update(found, penalty = "ordered")$lambda, c(0.1, 0.5, 0.9) * e[3])
  # The default penalty follows k.
  expect_equal(update(found, k = 2)$lambda, rep(0.1 * e[2], 2))
})

# Evaluates expr while `hook` stands where the progress bar is moved.
with_hook <- function(hook, expr) {
  set <- function(value) {
    space <- asNamespace("elbo")
    unlockBinding("progress_update", space)
    assign("progress_update", value, envir = space)
    lockBinding("progress_update", space)
  }
  before <- elbo:::progress_update
  on.exit(set(before))
  set(hook)
  expr
}

test_that("an interrupt gives the fit so far, with a warning, and training goes on from there", {
  interrupt <- structure(class = c("interrupt", "condition"), list(message = "", call = NULL))
  for (optimizer in c("lbfgs", "adam")) {
    control <- train_control(epochs = 40, learning_rate = 0.01, tol = 1e-12)
    whole <- fit_ae("uniform", optimizer, control = control, keep_data = TRUE)
    expect_warning(
      part <- with_hook(function(bar, done) if (done == 9) stop(interrupt),
                        fit_ae("uniform", optimizer, control = control, keep_data = TRUE)),
      paste0("Interrupted after 9 ", if (optimizer == "adam") "epochs" else "evaluations",
             "; this is the fit so far")
    )
    expect_identical(part$iterations, 9L)
    expect_consistent(part, x)
    expect_identical(part$history, whole$history[whole$history$iteration <= max(
      part$history$iteration), ])
    if (optimizer == "adam") {
      expect_identical(update(part, epochs = 40)$loadings, whole$loadings)
    } else {
      expect_false(part$converged)
      expect_equal(update(part, maxit = 2000)$loss, whole$loss, tolerance = 1e-7)
    }
  }
})

test_that("a step too far ends with the last finite fit and advice, or with advice alone", {
  said <- NULL
  fit <- tryCatch(withCallingHandlers(
    fit_ae("uniform", "adam", control = train_control(epochs = 5, learning_rate = 1e100)),
    warning = function(w) {
      said <<- conditionMessage(w)
      invokeRestart("muffleWarning")
    }
  ), elbo_error = function(error) {
    said <<- conditionMessage(error)
    NULL
  })
  expect_match(said, "smaller `learning_rate`")
  if (!is.null(fit)) expect_consistent(fit, x)
})

test_that("a progress bar is shown where asked for, and is no part of the result", {
  skip_if_not_installed("cli")
  for (optimizer in c("lbfgs", "adam")) {
    run <- function(progress) {
      fit_ae("uniform", optimizer, control = train_control(epochs = 30, progress = progress))
    }
    utils::capture.output(shown <- run(TRUE), type = "message")
    expect_equal(shown$loadings, run(FALSE)$loadings)
  }
  expect_silent(fit_ae("uniform", "lbfgs"))
})

# The object ------------------------------------------------------------------------------------

test_that("the object has what it promises", {
  for (optimizer in c("exact", "lbfgs", "adam")) {
    fit <- fit_ae("uniform", optimizer, control = train_control(epochs = 10))
    expect_s3_class(fit, "linear_ae", exact = TRUE)
    expect_true(all(c("loadings", "V", "mean", "lambda", "loss", "error", "values", "trace",
                      "scores", "history", "converged", "iterations", "n", "p", "k",
                      "call") %in% names(fit)))
    expect_identical(dimnames(fit$loadings), list(letters[1:6], c("z1", "z2", "z3")))
    expect_identical(dimnames(fit$V), list(c("z1", "z2", "z3"), letters[1:6]))
    expect_identical(dimnames(fit$scores), list(paste0("r", 1:50), c("z1", "z2", "z3")))
    expect_identical(c(fit$n, fit$p, fit$k), c(50L, 6L, 3L))
    expect_null(fit$x)
  }
  expect_identical(fit_ae("uniform", "exact", keep_data = TRUE)$x, x)
  expect_identical(linear_ae(x, 2, optimizer = "exact")$call,
                   quote(linear_ae(x = x, k = 2, optimizer = "exact")))
})

test_that("methods give the latent positions, reconstructions and parameters", {
  fit <- fit_ae("ordered", "exact")
  expect_identical(predict(fit), fit$scores)
  expect_identical(predict(fit, type = "latent"), fit$scores)
  expect_equal(predict(fit, type = "reconstruction"), fitted(fit))
  expect_equal(predict(fit, x, type = "reconstruction"), fitted(fit))
  expect_equal(predict(fit, x[3, , drop = FALSE]), fit$scores[3, , drop = FALSE])
  shuffled <- as.data.frame(x)[c("f", "a", "c", "b", "e", "d")]
  expect_equal(predict(fit, cbind(shuffled, text = "a")), fit$scores)
  expect_equal(residuals(fit, x), x - fitted(fit))
  expect_identical(coef(fit), list(loadings = fit$loadings, V = fit$V, mean = fit$mean))
  expect_identical(nobs(fit), 50L)
  expect_error(predict(fit, x[, 1:5]), "\"f\" is missing", class = "elbo_error")
  inner <- function() {
    data <- x
    residuals(linear_ae(data, 3, optimizer = "exact"))
  }
  expect_equal(inner(), residuals(linear_ae(x, 3, optimizer = "exact")))
  away <- local({
    hidden <- x
    linear_ae(hidden, 3, optimizer = "exact")
  })
  expect_error(residuals(away), "`newdata` must be given", class = "elbo_error")
  # Far away, nothing cancels.
  far <- x + 1e8
  expect_equal(predict(fit, far), t(fit$V %*% (t(far) - fit$mean)))
})

test_that("a fit saved and read in a fresh session predicts and trains on", {
  skip_on_cran()
  fit <- fit_ae("uniform", "adam", keep_data = TRUE, control = train_control(epochs = 10))
  file <- tempfile(fileext = ".rds")
  out <- tempfile(fileext = ".rds")
  saveRDS(fit, file)
  expect_identical(readRDS(file), fit)
  said <- rscript(sprintf("
    library(elbo)
    fit <- readRDS(%s)
    saveRDS(list(predict(fit, fit$x), update(fit, epochs = 25)$loadings, residuals(fit)), %s)
  ", deparse(file), deparse(out)))
  if (!file.exists(out)) fail(paste(said, collapse = "\n"))
  expect_identical(readRDS(out), list(predict(fit, x), update(fit, epochs = 25)$loadings,
                                      residuals(fit)))
})

test_that("it prints a few lines, and invisibly", {
  said <- capture.output(expect_invisible(print(fit_ae("ordered", "exact"))))
  expect_match(said, "Linear autoencoder: 50 observations, 6 features, k = 3", fixed = TRUE,
               all = FALSE)
  expect_match(said, "Penalty: ordered, .* to ", all = FALSE)
  expect_match(said, "Fitted by eigen-decomposition", fixed = TRUE, all = FALSE)
  expect_match(said, "Loss .*, squared error .* per observation \\(.* % of the variance kept\\)",
               all = FALSE)
  expect_output(print(fit_ae("uniform", "exact")), "Penalty: uniform, ")
  expect_output(print(linear_ae(x, 2, "none", optimizer = "two-stage")),
                "Penalty: none\nFitted by PCA, then regression", fixed = TRUE)
  kept <- 100 * sum(e[1:2]) / sum(e)
  expect_output(print(linear_ae(x, 2, "none", optimizer = "two-stage")),
                sprintf("(%.1f %% of the variance kept)", kept), fixed = TRUE)
  expect_output(print(fit_ae("uniform", "lbfgs")), "L-BFGS, .* evaluations, converged")
  short <- suppressWarnings(fit_ae("uniform", "lbfgs", control = train_control(maxit = 2)))
  expect_output(print(short), "L-BFGS, 2 evaluations, not converged", fixed = TRUE)
  expect_output(print(fit_ae("uniform", "adam", control = train_control(epochs = 5))),
                "Adam, 5 epochs", fixed = TRUE)
})
