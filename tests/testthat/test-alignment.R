# Alignment and rescaling. References: cases worked by hand, projections p x p, and the
# definition of the model (helper-ppca.R).

e <- diag(4)
x <- plain(model_data(40, 6, 3, seed = 6))
dimnames(x) <- list(paste0("r", 1:40), letters[1:6])

same_alignment <- function(a, b) expect_equal(unclass(a), unclass(b), tolerance = 1e-10)

random_matrix <- function(p, k, seed) {
  set.seed(seed)
  matrix(rnorm(p * k), p)
}

random_turn <- function(k, seed) qr.Q(qr(random_matrix(k, k, seed)))

# The projection on the span, by the Moore-Penrose inverse.
projection <- function(w) {
  w <- w[, colSums(w^2) > 0, drop = FALSE]
  if (!ncol(w)) return(matrix(0, nrow(w), nrow(w)))
  s <- svd(w)
  live <- s$d > 1e-9 * s$d[1]
  tcrossprod(s$u[, live, drop = FALSE])
}

# By hand ------------------------------------------------------------------------

test_that("two axes against axes, by hand", {
  # Columns e_1 and (e_2 + e_3) / sqrt 2, twice as long, against e_1, e_2: cosines 1 and
  # 1 / sqrt 2, angles 0 and 45 degrees.
  a <- cbind(3 * e[, 1], 2 * (e[, 2] + e[, 3]))
  found <- alignment(a, e[, 1:2])
  expect_s3_class(found, "alignment")
  expect_named(found, c("cosines", "best", "axis", "subspace", "angles"))
  expect_equal(found$cosines, matrix(c(1, 0, 0, sqrt(0.5)), 2))
  expect_equal(found$best, 1:2)
  expect_equal(found$axis, 1 - (1 + 0.5) / 2)
  expect_equal(found$subspace, 1 - (1 + 0.5) / 2)
  expect_equal(found$angles, c(0, pi / 4))
})

test_that("the same plane by other axes: a turn by t costs sin^2 t", {
  for (t in c(0.1, pi / 8, pi / 4)) {
    turn <- rbind(c(cos(t), -sin(t)), c(sin(t), cos(t)))
    found <- alignment(e[, 1:2] %*% turn, e[, 1:2])
    expect_equal(found$axis, sin(t)^2)
    expect_equal(found$subspace, 0)
    expect_equal(found$angles, c(0, 0))
    expect_equal(found$cosines, abs(t(turn)))
  }
})

test_that("planes that share nothing are at the greatest distance", {
  found <- alignment(e[, 1:2], e[, 3:4])
  expect_identical(found$axis, 1)
  expect_identical(found$subspace, 1)
  expect_equal(found$angles, c(pi / 2, pi / 2))
})

test_that("the largest cosine of each reference direction counts, for the axes", {
  # e_1 and e_1 + e_2 against e_1, e_2: the largest are 1 and 1 / sqrt 2. Both are
  # nearest to e_1 (the second by a tie).
  found <- alignment(cbind(e[, 1], e[, 1] + e[, 2]), e[, 1:2])
  expect_equal(found$axis, 1 - (1 + 0.5) / 2)
  expect_equal(found$best, c(1, 1))
  expect_equal(found$subspace, 0)
  # e_1 twice spans no more than e_1.
  twice <- alignment(cbind(e[, 1], -2 * e[, 1]), e[, 1:2])
  expect_equal(twice$axis, 0.5)
  expect_equal(twice$subspace, 0.5)
  expect_equal(twice$angles, 0)
})

test_that("zero columns belong to no span, and are nearest to nothing", {
  a <- cbind(0, e[, 2], 0)
  found <- alignment(a, e[, 1:2])
  expect_equal(found$best, c(0, 2, 0))
  expect_equal(found$cosines, rbind(c(0, 0), c(0, 1), c(0, 0)))
  expect_equal(found$axis, 0.5)
  expect_equal(found$subspace, 0.5)
  expect_equal(found$angles, 0)
  # In the reference they are left out.
  other <- alignment(e[, 2:3], a)
  expect_equal(other$axis, 0)
  expect_equal(other$subspace, 0)
  expect_equal(dim(other$cosines), c(2L, 3L))
  # A collapsed model matches nothing.
  none <- alignment(matrix(0, 4, 2), e[, 1:2])
  expect_identical(c(none$axis, none$subspace), c(1, 1))
  expect_equal(none$best, c(0, 0))
  expect_identical(none$angles, numeric(0))
})

test_that("more columns than reference directions, or fewer", {
  # All of e_1, e_2 in the span of three columns: distance 0; the other way round, two
  # thirds are found.
  three <- cbind(e[, 1] + e[, 2], e[, 1] - e[, 2], e[, 4])
  found <- alignment(three, e[, 1:2])
  expect_equal(dim(found$cosines), c(3L, 2L))
  expect_equal(found$subspace, 0)
  expect_equal(found$axis, 0.5)
  expect_equal(found$angles, c(0, 0))
  back <- alignment(e[, 1:2], three)
  expect_equal(back$subspace, 1 / 3)
  expect_equal(back$axis, 1 - (0.5 + 0.5 + 0) / 3)
  expect_equal(back$angles, c(0, 0))
  one <- alignment(cbind(e[, 1]), cbind(e[, 1] + e[, 3]))
  expect_equal(unlist(one[c("axis", "subspace", "angles")]),
               c(axis = 0.5, subspace = 0.5, angles = pi / 4))
})

# Against projections --------------------------------------------------------------

test_that("distances and angles are those of the projections", {
  for (seed in 1:8) {
    size <- list(c(7, 3, 3), c(9, 2, 5), c(9, 5, 2), c(3, 3, 2), c(6, 1, 1), c(5, 4, 4),
                 c(12, 4, 6), c(4, 3, 3))[[seed]]
    a <- random_matrix(size[1], size[2], seed)
    b <- random_matrix(size[1], size[3], 100 + seed)
    found <- alignment(a, b)
    pa <- projection(a)
    pb <- projection(b)
    r <- size[3]
    expect_equal(found$subspace, 1 - sum(diag(pa %*% pb)) / r)
    # Squared cosines of the principal angles are the largest eigenvalues of Pa Pb Pa.
    squared <- eigen(pa %*% pb %*% pa, symmetric = TRUE)$values[seq_len(min(size[2:3]))]
    expect_equal(cos(found$angles), sqrt(pmin(pmax(squared, 0), 1)), tolerance = 1e-7)
    expect_false(is.unsorted(found$angles))
    cosines <- outer(seq_len(size[2]), seq_len(r), Vectorize(function(i, j) {
      abs(sum(a[, i] * b[, j])) / sqrt(sum(a[, i]^2) * sum(b[, j]^2))
    }))
    expect_equal(found$cosines, cosines)
    expect_equal(found$axis, 1 - mean(apply(cosines, 2, max)^2))
    expect_equal(found$best, apply(cosines, 1, which.max))
  }
})

test_that("small angles keep their digits", {
  # arccos of a cosine near 1 knows angles below 1e-8 as 0; e_2 tilted by t.
  for (t in c(1e-3, 1e-7, 1e-10, 1e-13)) {
    found <- alignment(cbind(e[, 1], cos(t) * e[, 2] + sin(t) * e[, 3]), e[, 1:2])
    expect_equal(found$angles[2] / t, 1, tolerance = 1e-3)
    expect_equal(found$subspace / (sin(t)^2 / 2), 1, tolerance = 1e-3)
  }
})

# Invariances ------------------------------------------------------------------------

test_that("signs, order and lengths of columns do not matter", {
  a <- random_matrix(6, 3, 1)
  b <- random_matrix(6, 3, 2)
  found <- alignment(a, b)
  same_alignment(alignment(a %*% diag(c(-1, 20, 1e-6)), b %*% diag(c(1, -3, 1e5))), found)
  shuffled <- alignment(a[, c(2, 3, 1)], b[, c(3, 1, 2)])
  expect_equal(shuffled$cosines, found$cosines[c(2, 3, 1), c(3, 1, 2)])
  expect_equal(unlist(shuffled[c("axis", "subspace", "angles")]),
               unlist(found[c("axis", "subspace", "angles")]))
  own <- alignment(a[, 3:1] %*% diag(c(1, -2, 5)), a)
  expect_equal(own$axis, 0)
  expect_equal(own$subspace, 0)
  expect_equal(own$best, 3:1)
})

test_that("a rotation of the latent space leaves the span, not the axes", {
  w <- qr.Q(qr(random_matrix(6, 3, 1))) %*% diag(c(3, 2, 1))
  for (seed in 1:5) {
    found <- alignment(w %*% random_turn(3, seed), w)
    expect_lt(found$subspace, 1e-14)
    expect_lt(max(found$angles), 1e-7)
    expect_gt(found$axis, 1e-3)
  }
})

test_that("a rotation of the feature space leaves everything", {
  a <- random_matrix(6, 3, 1)
  b <- random_matrix(6, 2, 2)
  turn <- random_turn(6, 3)
  same_alignment(alignment(turn %*% a, turn %*% b), alignment(a, b))
})

# Models -----------------------------------------------------------------------------

test_that("fits stand for their loadings", {
  pca <- ppca(x, 3)
  vae <- linear_vae(x, 3, optimizer = "exact")
  set.seed(1)
  ae <- linear_ae(x, 3, control = train_control(tol = 1e-14))
  for (fit in list(pca, vae, ae)) {
    expect_identical(alignment(fit, pca), alignment(fit$loadings, pca$loadings))
  }
  expect_equal(dimnames(alignment(vae, pca)$cosines),
               list(c("z1", "z2", "z3"), c("z1", "z2", "z3")))
  # Corollary 1 of Lucas et al. (2019): the linear VAE has the directions; Kunin et al.
  # (2019): a uniform penalty leaves their span alone.
  expect_lt(alignment(vae, pca)$axis, 1e-12)
  expect_lt(alignment(ae, pca)$subspace, 1e-7)
  expect_gt(alignment(ae, pca)$axis, 1e-2)
})

test_that("a collapsed dimension is no direction", {
  pca <- ppca(x, 3)
  lambda <- pca$values
  vae <- linear_vae(x, 3, optimizer = "exact", sigma2 = mean(lambda[2:3]), learn_sigma2 = FALSE)
  found <- alignment(vae, pca)
  expect_equal(unname(found$best), c(1, 2, 0))
  expect_equal(found$axis, 1 / 3)
  expect_equal(found$subspace, 1 / 3)
})

test_that("what has no features in common, or no direction at all, is refused", {
  expect_error(alignment(e[, 1:2], diag(5)), "`reference` must have 4 features, as `object` has",
               fixed = TRUE, class = "elbo_error")
  expect_error(alignment(e[, 1:2], matrix(0, 4, 2)),
               "`reference` must have a column that is not zero", class = "elbo_error")
  expect_error(alignment(e[, 1:2], "pca"),
               "`reference` must be a fitted model or a matrix of directions", class = "elbo_error")
  expect_error(alignment(replace(e, 3, NA), e), "`object` must be a fitted model",
               class = "elbo_error")
  expect_error(alignment(matrix(0, 4, 0), e), "`object`", class = "elbo_error")
})

test_that("it prints in a few lines, and invisibly", {
  said <- capture.output(expect_invisible(print(alignment(
    cbind(e[, 1], e[, 2] + e[, 3]), e[, 1:2]))))
  expect_match(said, "Alignment of 2 columns with 2 reference directions", fixed = TRUE,
               all = FALSE)
  expect_match(said, "Axis distance: +0.25", all = FALSE)
  expect_match(said, "Subspace distance: 0.25", fixed = TRUE, all = FALSE)
  expect_match(said, "Largest principal angle: 45 degrees", fixed = TRUE, all = FALSE)
  expect_output(print(alignment(matrix(0, 4, 1), e)), "Subspace distance: 1")
})

# Rescaling the latent space -----------------------------------------------------------

# A linear VAE with parameters of its own, some way from any optimum.
half <- local({
  set.seed(2)
  linear_vae(x, 3, optimizer = "adam", sigma2 = 0.5, keep_data = TRUE,
             control = train_control(epochs = 40, learning_rate = 0.02))
})

# All that a fit says about its data follows from its parameters.
expect_consistent <- function(fit, data) {
  terms <- elbo(fit, data)
  expect_equal(elbo(fit), terms)
  expect_equal(fit$elbo, terms[["elbo"]])
  expect_equal(fit$reconstruction, terms[["reconstruction"]])
  expect_equal(fit$kl, terms[["kl"]])
  z <- t(fit$V %*% (t(as.matrix(data)) - fit$mean))
  if (!is.null(fit$scale)) {
    z <- t(fit$V %*% ((t(as.matrix(data)) - fit$mean) / fit$scale))
  }
  expect_equal(fit$scores, z, ignore_attr = TRUE)
  expect_equal(predict(fit, data), z, ignore_attr = TRUE)
  expect_equal(predict(fit), predict(fit, data))
  kl <- (fit$D - log(fit$D) - 1 + colMeans(z^2)) / 2
  expect_equal(fit$kl_dimensions, kl)
  expect_equal(fit$loglik, sum(fit_density(fit, data)))
  expect_equal(sum(logLik(fit, data, by = "observation")), fit$loglik)
  # The k x k matrices that the rest is computed from.
  gap <- posterior_collapse(fit)$gap
  expect_equal(gap$total, fit$loglik / fit$n - terms[["elbo"]])
  expect_equal(posterior_collapse(fit)$dimensions$mean_kl, unname(kl))
  expect_equal(summary(fit)$dimensions$length2, unname(colSums(fit$loadings^2)))
  expect_equal(summary(fit)$dimensions$active_variance, unname(colMeans(z^2)))
  expect_equal(as.numeric(tune_sigma2(fit)$sigma2), tune_sigma2(fit, data)$sigma2)
}

test_that("W A, A^-1 V and A^-1 D A^-1 are the parameters", {
  a <- c(2, 0.5, 30)
  fit <- rescale_latent(half, a)
  expect_equal(fit$loadings, half$loadings %*% diag(a), ignore_attr = TRUE)
  expect_equal(fit$V, diag(1 / a) %*% half$V, ignore_attr = TRUE)
  expect_equal(fit$D, half$D / a^2)
  expect_identical(dimnames(fit$loadings), dimnames(half$loadings))
  expect_identical(dimnames(fit$V), dimnames(half$V))
  expect_identical(fit[c("mean", "sigma2", "values", "n", "p", "k")],
                   half[c("mean", "sigma2", "values", "n", "p", "k")])
  expect_s3_class(fit, c("linear_vae", "ppca"), exact = TRUE)
})

test_that("reconstructions and their term of the ELBO stay, the KL does not", {
  for (a in list(2, 0.1, c(3, 1, 0.2))) {
    fit <- rescale_latent(half, a)
    expect_equal(fitted(fit), fitted(half))
    expect_equal(predict(fit, x, type = "reconstruction"), fitted(half))
    expect_equal(residuals(fit), residuals(half))
    expect_identical(fit$reconstruction, half$reconstruction)
    expect_equal(elbo(fit, x)[["reconstruction"]], half$reconstruction)
    expect_gt(abs(fit$kl - half$kl), 1e-3)
    expect_equal(tune_sigma2(fit)$sigma2, tune_sigma2(half)$sigma2)
  }
})

test_that("every field is that of the rescaled model", {
  expect_consistent(half, x)
  for (a in list(1, 2, c(3, 1, 0.2), c(1e-3, 1, 1e3))) {
    expect_consistent(rescale_latent(half, a), x)
  }
})

test_that("so are the k x k matrices that the rest is computed from", {
  s <- unname(crossprod(sweep(x, 2, colMeans(x)))) / 40
  for (fit in list(half, rescale_latent(half, c(3, 1, 0.2)))) {
    w <- unname(fit$loadings)
    v <- unname(fit$V)
    u <- fit$moments$unit                                  # the lengths' unit
    expect_equal(lapply(fit$moments[c("ww", "wsw", "wsv", "vsv")], unname),
                 list(ww = t(w) %*% w / u^2, wsw = t(w) %*% s %*% w / u^4,
                      wsv = t(w) %*% s %*% t(v) / u^2, vsv = v %*% s %*% t(v)))
  }
})

test_that("also with a scale, in other units, and under a transform", {
  data <- x %*% diag(10^c(-1, 2, 0, 1, -2, 1))
  colnames(data) <- letters[1:6]
  fit <- linear_vae(data, 2, scale = TRUE, optimizer = "exact", keep_data = TRUE)
  expect_consistent(fit, data)
  expect_consistent(rescale_latent(fit, c(3, 0.5)), data)
  set.seed(3)
  pixels <- matrix(rbinom(200, 255, 0.4), 40)
  fit <- linear_vae(pixels, 2, transform = logit_pixels(), optimizer = "exact")
  other <- rescale_latent(fit, c(3, 0.5))
  expect_equal(other$elbo, other$reconstruction - other$kl + other$log_jacobian)
  expect_identical(other$log_jacobian, fit$log_jacobian)
  # The new marginal's density of the same images.
  set.seed(9)
  before <- logLik(fit, pixels, by = "observation")
  set.seed(9)
  after <- logLik(other, pixels, by = "observation")
  set.seed(9)
  y <- elbo:::transform_forward(logit_pixels(), pixels)
  expect_equal(unname(after - before), fit_density(other, y) - fit_density(fit, y))
})

test_that("1 changes nothing, and a change is undone by its inverse", {
  fields <- c("loadings", "V", "D", "scores", "elbo", "kl", "kl_dimensions", "loglik",
              "moments")
  expect_equal(rescale_latent(half, 1)[fields], half[fields])
  a <- c(3, 1, 0.2)
  expect_equal(rescale_latent(rescale_latent(half, a), 1 / a)[fields], half[fields])
  expect_equal(rescale_latent(rescale_latent(half, 2), 3)[fields],
               rescale_latent(half, 6)[fields])
  expect_equal(rescale_latent(half, 2)[fields], rescale_latent(half, c(2, 2, 2))[fields])
})

test_that("at the optimum no rescaling raises the ELBO: the KL pins the scale", {
  fit <- linear_vae(x, 3, optimizer = "exact")
  for (a in c(0.5, 0.9, 0.999, 1.001, 1.1, 2)) {
    expect_lt(rescale_latent(fit, a)$elbo, fit$elbo)
    expect_lt(rescale_latent(fit, c(1, a, 1))$elbo, fit$elbo)
    # By hand, for one dimension: 1/2 (D / a^2 - D + 2 log a + (v - a^2 v) / a^2), where
    # v = 1 - D is the variance of E z: 1/2 (1 / a^2 - 1 + 2 log a).
    expect_equal(fit$elbo - rescale_latent(fit, c(1, a, 1))$elbo,
                 (1 / a^2 - 1 + 2 * log(a)) / 2, tolerance = 1e-6)
  }
})

test_that("a rescaled model can be trained on, saved and used", {
  fit <- rescale_latent(half, c(3, 1, 0.2))
  more <- update(fit, epochs = 60)
  expect_identical(more$iterations, 60L)
  expect_consistent(more, x)
  file <- tempfile()
  saveRDS(fit, file)
  expect_identical(readRDS(file), fit)
  expect_output(print(fit), "Linear VAE: 40 observations")
  set.seed(1)
  expect_identical(dim(simulate(fit, 3)), c(3L, 6L))
})

test_that("only positive numbers, one or k of them, are taken", {
  for (a in list(0, -1, c(1, 2), c(1, 0, 1), NA, Inf, "2", NULL, TRUE)) {
    expect_error(rescale_latent(half, a), "`a` must be one positive number or 3",
                 class = "elbo_error")
  }
  expect_error(rescale_latent(ppca(x, 2), 2), "no applicable method")
})
