# From what the user passes to a matrix, and from newdata to the fit's features.

x <- matrix(c(1.5, 2, 3, 4, 5, 6.5, 7, 8, 10, 10, 11, 15), 4,
            dimnames = list(NULL, c("a", "b", "c")))
fit <- ppca(x, 2)

refused <- function(expr, message) {
  expect_error(expr, message, fixed = TRUE, class = "elbo_error")
}

# As a matrix ------------------------------------------------------------------

test_that("matrices pass as they are, attributes and classes off", {
  as_matrix <- elbo:::as_data_matrix
  expect_identical(as_matrix(x), x)
  expect_identical(as_matrix(matrix(1:4, 2)), matrix(1:4, 2))
  odd <- structure(x, note = "kept nowhere", class = c("own", "matrix"))
  expect_identical(as_matrix(odd), x)
  expect_identical(as_matrix(scale(x, scale = FALSE)),
                   structure(scale(x, scale = FALSE), `scaled:center` = NULL))
  expect_identical(as_matrix(table(c(1, 1, 2), c(1, 2, 2))),
                   matrix(c(1L, 0L, 1L, 1L), 2,
                          dimnames = structure(list(c("1", "2"), c("1", "2")),
                                               names = c("", ""))))
})

test_that("data frames of numbers become matrices, of any number of rows", {
  as_matrix <- elbo:::as_data_matrix
  frame <- as.data.frame(x)
  expect_identical(as_matrix(frame), x)
  expect_identical(as_matrix(data.frame(a = 1:2, b = c(0.5, 1))),
                   cbind(a = 1:2, b = c(0.5, 1)))
  expect_identical(dim(as_matrix(frame[1, ])), c(1L, 3L))
  expect_identical(as_matrix(frame[0, ]), x[0, ])
  expect_type(as_matrix(data.frame(a = integer(), b = integer())), "integer")
  names <- frame
  row.names(names) <- letters[1:4]
  expect_identical(rownames(as_matrix(names)), letters[1:4])
})

test_that("a column that is no number is named", {
  frame <- data.frame(a = 1:3, b = letters[1:3], c = factor(1:3),
                      d = as.Date(1:3, "1970-01-01"))
  refused(ppca(frame, 1),
          "`x` must have numeric columns only; \"b\", \"c\", \"d\" are character, factor, Date")
  refused(ppca(frame[1:2], 1), "\"b\" is character. Leave it out or turn it into numbers.")
  frame <- data.frame(a = 1:3)
  frame$m <- matrix(1:6, 3)
  refused(ppca(frame, 1), "\"m\" is matrix")
  frame$m <- list(1, 2, 3)
  refused(ppca(frame, 1), "\"m\" is list")
  refused(ppca(frame[0], 1), "`x` must have at least one column")
})

test_that("other things are refused with a description", {
  refused(ppca(letters, 1), paste("`x` must be a numeric matrix, a data frame of numbers or a",
                                  "sparse Matrix, not a character vector of length 26."))
  refused(ppca(matrix(letters[1:4], 2), 1), "not a character matrix, 2 x 2.")
  refused(ppca(matrix(TRUE, 3, 3), 1), "not a logical matrix, 3 x 3.")
  refused(ppca(1:10, 1), "not a numeric vector of length 10.")
  refused(ppca(array(0, c(3, 3, 3)), 1), "`x` must be a numeric matrix")
  refused(ppca(x[1, , drop = FALSE], 1), "`x` must have at least 2 rows, not 1.")
  refused(ppca(x[, 1, drop = FALSE], 1), "`x` must have at least 2 columns, not 1.")
  refused(ppca(x[, 0], 1), "`x` must have at least 2 columns, not 0.")
})

test_that("values whose sums or variances no double can hold are refused", {
  refused(ppca(cbind(x, d = c(1, 1, 1e308, 1e308)), 1), "the huge values in column \"d\"")
  for (by in c(1e307, 1e170, 1e-170, 1e-310)) {
    expect_error(ppca(x * by, 1), "`x`", class = "elbo_error")
    expect_error(ppca(replace(x, 5, NA) * by, 1), "`x`", class = "elbo_error")
  }
  # Their squares are what counts.
  for (by in c(1e150, 1e-150)) expect_true(is.finite(ppca(x * by, 1)$sigma2 / by^2))
})

# New data ---------------------------------------------------------------------

test_that("named columns are matched by name", {
  z <- predict(fit, x)
  frame <- as.data.frame(x)
  expect_equal(predict(fit, x[, c("c", "a", "b")]), z)
  expect_equal(predict(fit, frame[c("b", "c", "a")]), z)
  # Columns that the fit does not use may be anything.
  more <- cbind(frame[3:1], extra = letters[1:4])
  expect_equal(predict(fit, more), z)
  expect_equal(predict(fit, cbind(x, d = 0)[, 4:1]), z)
  expect_equal(logLik(fit, more, by = "observation"), logLik(fit, x, by = "observation"))
  expect_equal(plain(residuals(fit, more)), plain(residuals(fit, x)))
  expect_equal(posterior(fit, more)$mean, z)
  skip_if_not_installed("Matrix")
  sparse <- methods::as(Matrix::Matrix(x[, 3:1], sparse = TRUE), "generalMatrix")
  expect_equal(predict(fit, sparse), z)
})

test_that("unnamed columns are matched by position, of the right number", {
  expect_equal(predict(fit, unname(x)), predict(fit, x))
  expect_equal(predict(ppca(unname(x), 2), x), predict(fit, x))
  refused(predict(fit, unname(x)[, 1:2]),
          "`newdata` must have the 3 columns that the model was fitted to, not 2.")
  refused(predict(ppca(unname(x), 2), cbind(x, 1)), "`newdata` must have the 3 columns")
})

test_that("missing columns are named", {
  refused(predict(fit, x[, 1:2]),
          "`newdata` must have the columns that the model was fitted to; \"c\" is missing.")
  refused(predict(fit, as.data.frame(x)["a"]), "\"b\", \"c\" are missing.")
  many <- matrix(rnorm(200), 20, dimnames = list(NULL, letters[1:10]))
  refused(predict(ppca(many, 2), many[, 1:2]),
          "\"c\", \"d\", \"e\", \"f\", \"g\" and 3 more are missing.")
})

test_that("names that do not tell columns apart are not used to match them", {
  # Position is all that is left: the same names in the same order, or an error.
  for (names in list(c("a", "a", "b"), c("a", "", "b"))) {
    twice <- x
    colnames(twice) <- names
    model <- ppca(twice, 2)
    expect_equal(plain(predict(model, twice)), plain(fit$scores))
    expect_equal(plain(predict(model, unname(x))), plain(fit$scores))
    expect_error(predict(model, twice[, c(3, 1, 2)]), "`newdata`", class = "elbo_error")
  }
  # The model's names are distinct, newdata's are not.
  copy <- cbind(x, a = 0)
  expect_error(predict(fit, copy[, c(4, 2, 3, 1)]), "`newdata`", class = "elbo_error")
})

test_that("no rows give no rows, from every method and kind of data", {
  frame <- as.data.frame(x)
  kinds <- list(x[0, ], frame[0, ])
  if (requireNamespace("Matrix", quietly = TRUE)) {
    kinds <- c(kinds, methods::as(Matrix::Matrix(x, sparse = TRUE), "generalMatrix")[0, ])
  }
  for (none in kinds) {
    expect_identical(dim(predict(fit, none)), c(0L, 2L))
    expect_identical(dim(predict(fit, none, type = "reconstruction")), c(0L, 3L))
    expect_identical(dim(residuals(fit, none)), c(0L, 3L))
    expect_identical(dim(impute(fit, none)), c(0L, 3L))
    expect_length(impute(fit, none, draws = 2), 2)
    expect_length(logLik(fit, none, by = "observation"), 0)
    expect_identical(as.numeric(logLik(fit, none)), 0)
    expect_identical(dim(posterior(fit, none)$mean), c(0L, 2L))
    expect_identical(dim(posterior(fit, none)$variance), c(0L, 2L))
  }
  expect_identical(dim(simulate(fit, 0)), c(0L, 3L))
  digits <- ppca(round(x), 1, transform = logit_pixels(0.1), sigma2 = 1)
  expect_identical(dim(predict(digits, x[0, ])), c(0L, 1L))
})

test_that("one row is enough, and means what it means among others", {
  for (i in 1:4) {
    row <- x[i, , drop = FALSE]
    expect_equal(predict(fit, row), predict(fit, x)[i, , drop = FALSE])
    expect_equal(predict(fit, as.data.frame(row)), predict(fit, row))
    expect_equal(logLik(fit, row, by = "observation"), logLik(fit, x, by = "observation")[i])
    expect_equal(as.numeric(logLik(fit, row)), fit_density(fit, row))
    expect_equal(posterior(fit, row)$variance, posterior(fit, x)$variance[i, , drop = FALSE])
  }
  refused(predict(fit, x[1, ]), "`newdata` must be a numeric matrix")
})

test_that("integers, sparse matrices and data frames predict what the doubles do", {
  counts <- matrix(c(1L, 0L, 3L, 7L, 0L, 6L, 2L, 8L, 0L, 1L, 1L, 5L), 4,
                   dimnames = list(NULL, c("a", "b", "c")))
  expected <- predict(fit, counts * 1)
  kinds <- list(counts, as.data.frame(counts))
  if (requireNamespace("Matrix", quietly = TRUE)) {
    sparse <- methods::as(Matrix::Matrix(counts * 1, sparse = TRUE), "generalMatrix")
    kinds <- c(kinds, sparse, methods::as(sparse, "TsparseMatrix"))
  }
  for (data in kinds) {
    expect_equal(predict(fit, data), expected)
    expect_equal(residuals(fit, data), residuals(fit, counts * 1))
    expect_equal(logLik(fit, data, by = "observation"),
                 logLik(fit, counts * 1, by = "observation"))
  }
})

test_that("a formula's fit takes what the formula needs, and no more", {
  frame <- data.frame(a = 1:6, b = c(2, 3, 5, 7, 11, 13), c = c(1, 4, 1, 5, 9, 2),
                      d = letters[1:6])
  model <- ppca(~ a + sqrt(b) + c, 2, data = frame)
  z <- predict(model, frame)
  expect_equal(plain(z), plain(model$scores))
  expect_equal(plain(predict(model, frame[6:1, c("c", "b", "a")])), plain(z[6:1, ]))
  refused(predict(model, frame[c("a", "c")]), "`newdata` must have the columns")
  frame$b[2] <- NA
  expect_false(anyNA(predict(model, frame)))
  # A matrix is taken as it is: its columns are the features.
  built <- cbind(a = 1:6, `sqrt(b)` = sqrt(c(2, 3, 5, 7, 11, 13)),
                 c = c(1, 4, 1, 5, 9, 2))
  expect_equal(plain(predict(model, built)), plain(z))
})

test_that("missing cells survive a formula", {
  frame <- as.data.frame(with_holes(plain(model_data(30, 4, 1))))
  direct <- ppca(frame, 1)
  expect_identical(direct$n, 30L)
  by_formula <- ppca(~ ., 1, data = frame)
  expect_identical(by_formula$n, 30L)
  expect_equal(by_formula$loglik, direct$loglik)
})

test_that("a formula may hold constants, and new data need not", {
  assign("elbo_test_factor", 2, envir = globalenv())
  on.exit(rm("elbo_test_factor", envir = globalenv()))
  fit <- ppca(~ Sepal.Length + I(Petal.Length * elbo_test_factor), 1, data = iris)
  by_hand <- ppca(cbind(iris$Sepal.Length, iris$Petal.Length * 2), 1)
  expect_equal(unname(predict(fit, iris[1:5, ])), unname(by_hand$scores[1:5, , drop = FALSE]))
  refused(predict(fit, iris["Sepal.Length"]), "\"Petal.Length\" is missing.")
})

# Some of the rows ---------------------------------------------------------------

test_that("of some rows, columns are summed in blocks as those of a copy are", {
  skip_if_not_installed("Matrix")
  y <- with_holes(plain(model_data(30, 7, 2)))
  rows <- c(2:9, 15L, 30L)
  mu <- seq(-1, 1, length.out = 7)
  unit <- 2^(-3:3)
  sparse <- Matrix::Matrix(ifelse(abs(plain(model_data(30, 7, 2))) > 1, y, 0), sparse = TRUE)
  by_columns <- function(x, cells) list(1L, 2:4, 5:7)
  with_function("column_blocks", by_columns, for (data in list(y, sparse)) {
    copy <- data[rows, ]
    expect_identical(summarise_columns(data, rows = rows)[c("count", "mean", "low", "high")],
                     .Call(C_data_summary, copy)[c("count", "mean", "low", "high")])
    expect_identical(column_squares(data, mu, unit, rows),
                     .Call(C_data_squares, copy, mu, unit))
    refused(summarise_columns(replace(data, cbind(9, c(6, 3)), Inf), rows = rows), "column 3")
    # row 10 is not one of them
    expect_length(summarise_columns(replace(data, cbind(10, 6), Inf), rows = rows)$mean, 7)
  })
})

test_that("a formula with an offset is refused", {
  expect_error(ppca(~ Sepal.Length + Sepal.Width + offset(Petal.Width), 1, data = iris),
               "without offset()", class = "elbo_error", fixed = TRUE)
})

test_that("objects that were damaged are measured before they are read", {
  short <- as.numeric(1:40)
  damaged <- unserialize(local({
    # dim = (10, 4) in the bytes becomes (2^24 + 10, 4)
    bytes <- serialize(matrix(short, 10), NULL)
    dims <- c(as.raw(c(0, 0, 0, 10)), as.raw(c(0, 0, 0, 4)))
    at <- which(vapply(seq_len(length(bytes) - 7),
                       function(i) identical(bytes[i + 0:7], dims), NA))
    bytes[at] <- as.raw(1)
    bytes
  }))
  expect_identical(dim(damaged), c(16777226L, 4L))
  expect_error(.Call(elbo:::C_data_summary, damaged), "has not the size of its dimensions")
  expect_error(.Call(elbo:::C_ppca_canonical, damaged), "no matrix")
})
