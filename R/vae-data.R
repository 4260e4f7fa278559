# Data of a deep VAE in core units: floats, conditions, rows set aside, fingerprints.

# prepare_data() with u the power of two at or below the root mean square deviation, of all
# features or, where each has a noise variance of its own, of each: networks see numbers
# of the order of 1.
network_units <- function(data, rows, noise) {
  squares <- column_squares(data$x, data$mu, data$unit, rows)
  mean_square <- sum(squares) / sum(data$count)
  if (noise != "shared") {
    mean_square <- ifelse(squares > 0, squares / data$count, mean_square)
  }
  if (all(mean_square == 0)) return(data)
  factor <- 2^floor(log2(mean_square) / 2)
  data$u <- data$u * factor
  data$unit <- data$unit / factor
  data
}

# Of rows as vae_floats() makes them.
fingerprints <- function(floats) {
  lapply(floats[c("x", "condition")], fingerprint)
}

# Rows (all, where NULL) as the C code takes them: floats in core units, p x n.
vae_floats <- function(x, code, rows, mu, unit, means, arg = "x") {
  if (is_sparse(x) && !is.null(rows)) return(
    vae_floats(x[rows, , drop = FALSE], some(code, rows), NULL, mu, unit, means, arg))
  floats <- core_floats(list(x = x, mu = mu, unit = unit), rows)
  if (is.null(floats)) {
    abort_arg(arg, "hold numbers that can be squared in single precision",
              "a cell 1e18 times as far from the mean as the data trained on")
  }
  n <- if (is.null(rows)) nrow(x) else length(rows)
  missing <- any(summarise_columns(x, rows = rows)$count < n)
  list(n = n, x = floats, fill = if (missing) as_floats((means - mu) * unit),
       condition = as_floats(t(some(code, rows))))
}

# Rows to train on. Pixels that a transform spreads by noise stay pixels: the core gives
# them new noise in each epoch.
training_floats <- function(raw, x, code, rows, data, means, transform) {
  pixels <- fresh_noise(transform, raw)
  if (is.null(pixels)) return(vae_floats(x, code, rows, data$mu, data$unit, means))
  floats <- vae_floats(raw, code, rows, numeric(data$p), rep(1, data$p), means)
  if (!is.null(floats$fill)) floats$fill <- as_floats((means - data$mu) * data$unit)
  floats$pixels <- c(pixels, list(mu = as_floats(data$mu), unit = as_floats(data$unit)))
  floats
}

# Which rows are set aside: a share of them at random, or those of the fit that goes on.
hold_out <- function(validation, n, before) {
  if (!is.null(before)) return(list(rows = before, share = length(before) > 0))
  if (!is_number(validation)) return(list(rows = integer(0), share = FALSE))
  if (validation < 0 || validation >= 1) {
    abort_arg("validation", "be a share of the rows from 0 to below 1, or data",
              describe(validation))
  }
  size <- ceiling(validation * n * (1 - 1e-12))
  if (size > n - 2) abort_arg("validation", "leave 2 rows or more to train on", validation)
  list(rows = if (size > 0) sort(sample.int(n, size)) else integer(0), share = size > 0)
}

# list(data, units, jacobian) of the validation rows, or NULL. `noise`: see
# transform_again().
validation_data <- function(validation, held, x, given, problem, noise = NULL) {
  noise_seed <- rows <- NULL
  if (is_number(validation) && !held$share) return(NULL)
  if (held$share) {
    rows <- held$rows
    code <- given$code
  } else {
    if (is.list(validation) && !is.data.frame(validation)) {
      if (!all(names(validation) %in% c("x", "condition")) || is.null(validation$x)) {
        abort_arg("validation", "be a share, a matrix or a list of `x` and `condition`",
                  describe(validation))
      }
      condition <- validation$condition
      validation <- validation$x
    } else condition <- NULL
    if (!is_data(validation)) {
      abort_arg("validation", paste("be a share of the rows, a matrix, a data frame, a sparse",
                                    "Matrix, or a list of `x` and `condition`"),
                describe(validation))
    }
    new <- conform(problem[c("features", "p", "terms")], validation, "validation")
    if (nrow(new$x) < 1) abort_arg("validation", "have at least 1 row", 0)
    shown <- transform_again(problem$asked$transform, new$x, "validation", noise)
    x <- shown$x
    noise_seed <- shown$noise_seed
    if (is.null(problem$condition) && !is.null(condition)) {
      abort_arg("validation$condition", "be left out: the model has none")
    }
    code <- encode_condition(condition, nrow(x), problem$condition,
                             "validation$condition")$code
  }
  list(data = vae_floats(x, code, rows, problem$mu, problem$unit, problem$means,
                         "validation"),
       linear = function(linear) {
         linear_validation(linear, some(x, rows), problem$mu,
                           some(transform_log_jacobian(problem$asked$transform, x), rows))
       },
       count = summarise_columns(x, rows = rows)$count,
       noise_seed = noise_seed, units = some(row_units(x, problem$unit), rows),
       jacobian = some(transform_log_jacobian(problem$asked$transform, x), rows))
}

# What the units add to the log density of each row: log unit of its observed cells.
row_units <- function(x, unit) {
  log_unit <- log(unit)
  if (all(summarise_columns(x)$count == nrow(x))) return(rep(sum(log_unit), nrow(x)))
  if (is_sparse(x)) {
    gone <- which(is.na(x@x))
    column <- rep(seq_len(ncol(x)), diff(x@p))[gone]
    lost <- tapply(log_unit[column], factor(x@i[gone] + 1L, seq_len(nrow(x))), sum)
    lost[is.na(lost)] <- 0
    return(sum(log_unit) - as.vector(lost))
  }
  total <- numeric(nrow(x))
  for (cols in column_blocks(x)) {
    total <- total + drop((!is.na(x[, cols, drop = FALSE])) %*% log_unit[cols])
  }
  total
}

# A fit goes on with the data that it was made of.
check_same_data <- function(problem, resume) {
  if (is.null(resume)) return()
  if (problem$n != resume$n || problem$p != resume$p) {
    abort_arg("x", sprintf("be the %d x %d data that the model was fitted to",
                           resume$n + length(resume$held_out), resume$p),
              sprintf("%d x %d ones", problem$n + length(problem$held_out), problem$p))
  }
  # the fingerprint is that of (x - mu) unit
  same <- function(a, b) isTRUE(all.equal(unname(a), unname(b), tolerance = 1e-10))
  same_units <- same(problem$mu, resume$shift) && same(problem$unit, resume$unit) &&
    same(problem$means, resume$mean)
  for (arg in c("x", "condition")) {
    if (!identical(problem$fingerprint[[arg]], resume$fingerprint[[arg]]) ||
        arg == "x" && !same_units) {
      abort_arg(arg, "be the data that the model was fitted to", "others of the same size")
    }
  }
}

# A condition as numbers (n x c), with what is needed to do the same to another: `spec`,
# given where the condition has to be of that kind.
encode_condition <- function(condition, n, spec = NULL, arg = "condition") {
  if (is.null(condition) && is.null(spec)) return(list(code = matrix(0, n, 0)))
  if (is.null(condition)) {
    abort_arg(arg, "be given: the model has one", "NULL")
  }
  if (is.character(condition)) {
    condition <- if (is.null(spec$levels)) factor(condition) else
      given_levels(condition, spec, arg)
  }
  code <- if (is.factor(condition)) factor_code(condition, spec, arg) else
    number_code(condition, arg)
  if (nrow(code) != n) {
    abort_arg(arg, sprintf("have a value for each of the %d rows", n), nrow(code))
  }
  if (!ncol(code)) {
    if (is.factor(condition)) abort_arg(arg, "have levels", "a factor without any")
    abort_arg(arg, "have at least 1 column", 0)
  }
  if (anyNA(code) || any(abs(code) > 1e18)) {
    abort_arg(arg, "have finite numbers of the order of 1 and no missing values")
  }
  found <- list(levels = if (is.factor(condition)) levels(condition),
                names = colnames(code), columns = ncol(code))
  if (is.null(spec)) return(list(code = code, spec = found))
  if (is.null(spec$levels) != is.null(found$levels) || spec$columns != found$columns) {
    abort_arg(arg, paste("be", if (is.null(spec$levels))
      sprintf("numbers with %d columns", spec$columns) else "a factor",
      "as the model was fitted with"), describe(condition))
  }
  list(code = named_columns(code, spec, arg), spec = spec)
}

# The condition is not scaled as x is.
warn_of_large <- function(given) {
  largest <- max(abs(given$code), 0)
  if (largest > 100) {
    warning("`condition` holds numbers as large as ", format(largest, digits = 3), ". Networks ",
            "learn from numbers of the order of 1: scale it, or give a factor.", call. = FALSE)
  }
}

# One value for all n.
repeat_condition <- function(condition, n) {
  one <- (is.atomic(condition) || is.data.frame(condition)) && NROW(condition) == 1
  if (one) some(condition, rep(1, n)) else condition
}

# Columns by their names, where they have any.
named_columns <- function(code, spec, arg) {
  names <- colnames(code)
  if (is.null(names) || is.null(spec$names) || identical(names, spec$names)) return(code)
  if (anyDuplicated(names) || !setequal(names, spec$names)) {
    abort_arg(arg, paste("have the columns", paste(dQuote(spec$names, FALSE), collapse = ", ")),
              paste(dQuote(names, FALSE), collapse = ", "))
  }
  code[, spec$names, drop = FALSE]
}

given_levels <- function(condition, spec, arg) {
  unknown <- setdiff(condition, spec$levels)
  if (length(unknown)) {
    abort_arg(arg, paste("have the values", paste(dQuote(spec$levels, FALSE),
                                                  collapse = ", ")),
              if (is.na(unknown[1])) "NA" else dQuote(unknown[1], FALSE))
  }
  factor(condition, spec$levels)
}

# One column of zeros and ones for each level.
factor_code <- function(condition, spec, arg) {
  if (!is.null(spec$levels)) {
    condition <- given_levels(as.character(condition), spec, arg)
  }
  code <- matrix(0, length(condition), nlevels(condition),
                 dimnames = list(NULL, levels(condition)))
  code[cbind(seq_along(condition), as.integer(condition))] <- 1
  code[is.na(condition), ] <- NA
  code
}

number_code <- function(condition, arg) {
  if (is.data.frame(condition)) condition <- as_data_matrix(condition, arg)
  ok <- (is.numeric(condition) || is.logical(condition)) && !is.object(condition)
  if (!ok) {
    abort_arg(arg, "be a factor, characters, or a numeric vector, matrix or data frame",
              describe(condition))
  }
  if (is.null(dim(condition))) condition <- matrix(condition)
  storage.mode(condition) <- "double"
  condition
}
