# Every argument of every function that a user can call, against values that it must
# refuse: by an error that names the argument, without a warning, a crash or a
# result. A function or an argument without an entry here fails the last tests.

x <- plain(model_data(20, 5, 2))
colnames(x) <- letters[1:5]
frame <- as.data.frame(x)
fit <- ppca(x, 2, keep_data = TRUE)
ranks <- select_rank(x)
vae <- linear_vae(x, 2, optimizer = "exact", keep_data = TRUE)
set.seed(1)
adam <- linear_vae(x, 2, optimizer = "adam", keep_data = TRUE,
                   control = train_control(epochs = 3))
ae <- linear_ae(x, 2, optimizer = "exact", keep_data = TRUE)
few <- train_control(epochs = 2, batch_size = 10)
deep <- elbo::vae(x, 2, encoder = 3, keep_data = TRUE, control = few)
collapse <- posterior_collapse(vae)
compared <- compare_models(one = fit, newdata = x)
steady <- stability(vae)
hill <- landscape(vae, 4:5, points = 5)

# values -----------------------------------------------------------------------

# What no argument takes, whatever it is for.
nothing <- list(
  `NA` = NA, `list()` = list(), `list(1)` = list(1), factor = factor("a"), `function` = mean,
  primitive = sum, complex = 1i, symbol = quote(a), call = quote(a + b),
  environment = globalenv(), Date = as.Date("2020-01-01"), raw = raw(1),
  expression = expression(a), `character(0)` = character(), two_strings = c("a", "b"),
  empty = "", `NA_character_` = NA_character_
)

without <- function(values, ...) values[!names(values) %in% c(...)]

no_flag <- c(nothing, list(
  `NULL` = NULL, zero = 0, one = 1, string = "TRUE", two = c(TRUE, FALSE),
  `logical(0)` = logical(), `NA_real_` = NA_real_, frame = frame
))

no_number <- c(nothing, list(
  `TRUE` = TRUE, string = "1", `NaN` = NaN, `Inf` = Inf, `-Inf` = -Inf,
  `NA_real_` = NA_real_, `NA_integer_` = NA_integer_, two = c(1, 2),
  `numeric(0)` = numeric(), matrix = diag(2), frame = frame
))

no_count <- c(no_number, list(negative = -1, fraction = 1.5, huge = 1e300,
                              beyond = 2^31, tiny = 1e-300))

no_choice <- c(nothing, list(`NULL` = NULL, `TRUE` = TRUE, number = 1, other = "other",
                             `Inf` = Inf, frame = frame))

no_vector_or_flag <- c(nothing, list(
  `NULL` = NULL, scalar = 1, short = 1:4, long = 1:6, hole = c(1, NA, 3, 4, 5),
  infinite = c(1, Inf, 3, 4, 5), nan = c(1, NaN, 3, 4, 5), strings = letters[1:5],
  two_flags = c(TRUE, FALSE), five_flags = rep(TRUE, 5), list5 = as.list(1:5),
  factor5 = factor(1:5), frame = frame
))

no_scale <- c(no_vector_or_flag, list(zero = c(1, 0, 3, 4, 5), negative = c(1, -1, 3, 4, 5)))

no_transform <- c(nothing, list(`TRUE` = TRUE, number = 1, name = "logit_pixels",
                                maker = logit_pixels, frame = frame, `Inf` = Inf))

no_control <- c(nothing, list(`NULL` = NULL, `TRUE` = TRUE, number = 1, string = "em",
                              maker = em_control, frame = frame, fit = fit,
                              by_hand = list(tol = 1, maxit = 3)))

no_matrix <- c(nothing, list(
  `TRUE` = TRUE, number = 1, vector = 1:10, `numeric(0)` = numeric(), string = "a",
  strings = matrix(letters[1:20], 4), flags = matrix(TRUE, 4, 5), complex = matrix(1i, 4, 5),
  bytes = matrix(raw(20), 4), cells = matrix(list(1, 2, 3, 4), 2), cube = array(0, c(4, 5, 3)),
  infinite = replace(x, 7, Inf), minus_infinite = replace(x, 7, -Inf),
  infinite_frame = as.data.frame(replace(x, 7, Inf)),
  no_columns = x[, 0], empty_frame = data.frame(), fit = fit,
  nested = data.frame(a = 1:4, b = I(list(1, 2, 3, 4)))
))

# As training data, further:
no_data <- c(no_matrix, list(
  `NULL` = NULL, no_rows = x[0, ], one_row = x[1, , drop = FALSE],
  one_column = x[, 1, drop = FALSE], unseen_column = replace(x, 21:40, NA),
  all_missing = x + NA, strings_frame = cbind(frame, s = "a"),
  factor_frame = cbind(frame, s = factor("a")), two_sided = a ~ b,
  no_rows_frame = frame[0, ], one_column_frame = frame["a"]
))

# As new data, further: wrong columns.
no_newdata <- c(no_matrix, list(
  short = unname(x)[, 1:4], long = unname(cbind(x, 1)), others = x[, 1:4],
  short_frame = frame[1:4], strings_frame = transform(frame, a = "a"),
  factor_frame = transform(frame, a = factor("a")), formula = ~a
))

no_k <- c(no_count, list(`NULL` = NULL, zero = 0, p = 5, beyond_p = 6))

# col2rgb() takes NA for transparent and numbers for colours of the palette.
no_colour <- c(without(nothing, "NA", "NA_character_", "character(0)", "factor"), list(
  unknown = "no colour", negative = -1, frame = frame, cube = array("red", c(1, 1, 1)),
  `list(1, 2)` = list(1, 2)
))

no_dims <- c(nothing, list(
  `TRUE` = TRUE, string = "1", zero = 0, beyond = 3, fraction = 1.5, negative = -1,
  `Inf` = Inf, `NaN` = NaN, twice = c(1, 1), hole = c(1, NA), three = 1:3,
  `numeric(0)` = numeric(), matrix = diag(2), frame = frame
))

no_train_control <- c(nothing, list(
  `NULL` = NULL, `TRUE` = TRUE, number = 1, string = "em", maker = train_control,
  frame = frame, fit = vae, em = em_control(), by_hand = list(tol = 1, maxit = 3)
))

# Latent positions in two dimensions.
no_latent <- c(without(no_matrix, "infinite", "minus_infinite", "infinite_frame"), list(
  `NULL` = NULL, three = 1:3, wide = x, hole = c(1, NA), infinite = c(1, Inf),
  strings_frame = data.frame(a = 1, b = "a"), hole_frame = data.frame(a = 1, b = NA_real_)
))

# A model that encodes cannot do so where a cell is missing.
no_complete <- c(no_newdata, list(
  hole = replace(x, 7, NA), hole_frame = as.data.frame(replace(x, 7, NA)), all_missing = x + NA
))

no_weight <- c(without(no_number, "two"), list(
  `NULL` = NULL, zero = 0, negative = -1, zero_later = c(1, 0), hole = c(1, NA),
  infinite = c(1, Inf), strings = c("1", "2"), flags = c(TRUE, FALSE)
))

no_directions <- c(nothing, list(
  `NULL` = NULL, `TRUE` = TRUE, string = "1", zero = 0, beyond = c(1, 6), fraction = c(1.5, 2),
  negative = -1, `Inf` = Inf, `NaN` = NaN, twice = c(2, 2), hole = c(1, NA),
  strings = c("1", "2"), flags = c(TRUE, FALSE), frame = frame
))

no_start <- c(nothing, list(
  `TRUE` = TRUE, number = 1, matrix = x, string = "PCA", frame = frame, control = em_control(),
  encoder_alone = list(V = t(x[1:5, 1:2])), other_k = ppca(x, 3), other_p = ppca(x[, 1:4], 2),
  other = list(loadings = unname(x[1:5, 1:2]), W = 1)
))

no_size <- c(nothing, list(
  `TRUE` = TRUE, string = "1", one = 5, zero = c(0, 5), product = c(2, 3), three = c(5, 1, 1),
  fraction = c(2.5, 2), negative = c(-1, -5), hole = c(5, NA), infinite = c(5, Inf),
  strings = c("1", "5"), flags = c(TRUE, FALSE), huge = c(1e300, 1), frame = frame
))

# One row or more for encoder and decoder; `list()` and `list(1)` are layers.
no_layers <- c(without(nothing, "list()", "list(1)"), list(
  `TRUE` = TRUE, string = "64", zero = 0, negative = -1, fraction = 1.5, `NaN` = NaN, `Inf` = Inf,
  hole = c(2, NA), later = c(2, 0), huge = 1e300, wide = 2^25, many = rep(2, 33),
  strings = list("a"), pair = list(c(1, 2)), nested = list(list(dense(2))), frame = frame,
  maker = dense
))

no_condition <- c(nothing, list(short = 1:19, long = 1:21, hole = c(1:19, NA),
                                infinite = c(1:19, Inf), wide = matrix(0, 19, 2),
                                frame = frame[-1, ], missing_level = factor(c(rep("a", 19), NA)),
                                text_frame = data.frame(a = rep("a", 20)), fit = fit))

# A model that has no condition takes none.
any_condition <- c(without(nothing, "NULL"), list(labels = rep("a", 20), numbers = 1:20))

# NULL leaves the choice to the model.
no_epochs <- c(no_count, list(zero = 0))
no_batch_size <- c(without(no_count, "Inf"), list(zero = 0))
no_learning_rate <- c(without(no_number, "two"), list(
  zero = 0, negative = -1, negative_later = c(1, -1), hole = c(1, NA),
  infinite = c(1, Inf), strings = c("1", "2"), flags = c(TRUE, FALSE)
))

no_end <- c(without(nothing, "NULL"), list(
  `TRUE` = TRUE, `NULL` = NULL, string = "1", short = 1:3, long = 1:6, hole = c(1, NA),
  infinite = c(1, Inf), rows = x[1:2, ], narrow = x[1, 1:4, drop = FALSE], frame = frame,
  strings = letters[1:5], flags = c(TRUE, FALSE), infinite_row = c(1, 2, Inf, 4, 5)
))

# the table --------------------------------------------------------------------

# Arguments of plot() that matter for one type only.
plot_arguments <- list(
  type = c(no_choice, list(history_of_closed_form = "history")), dims = no_dims,
  dim = no_size, n = c(no_count, list(zero = 0)), log = no_flag[names(no_flag) != "NULL"],
  col = c(no_colour, list(short = c("red", "blue"), short_factor = factor(1:3)))
)
plot_with <- list(dims = list(type = "scores"), dim = list(type = "loadings"),
                  n = list(type = "scree"), log = list(type = "scree"),
                  col = list(type = "scores"))

vae_plot_arguments <- c(plot_arguments[c("dims", "dim", "n", "log", "col")],
                        list(type = c(no_choice, list(history_of_closed_form = "history"))))
ae_plot_arguments <- c(plot_arguments[c("dims", "dim")],
                       list(type = c(no_choice, list(history_of_closed_form = "history",
                                                     scores = "scores"))))
scree_arguments <- list(n = c(no_count, list(zero = 0, many = 6)),
                        log = no_flag[names(no_flag) != "NULL"])
no_levels <- c(no_count, list(`NULL` = NULL, zero = 0))
no_angle <- c(no_number, list(`NULL` = NULL))

deep_plot_arguments <- list(
  type = no_choice, newdata = no_newdata, condition = any_condition,
  dims = no_dims, dim = no_size, n = c(no_count, list(zero = 0, many = 21)),
  # "a" and "b" are features
  features = c(without(nothing, "two_strings"), list(
    `TRUE` = TRUE, zero = 0, beyond = 6, fraction = 1.5, negative = -1, twice = c(1, 1),
    unknown = "f", frame = frame
  )),
  col = c(no_colour, list(short = c("red", "blue"), short_factor = factor(1:3))),
  limits = c(nothing, list(`TRUE` = TRUE, one = 1, equal = c(1, 1), falling = c(2, 1),
                           hole = c(1, NA), infinite = c(0, Inf), three = 1:3, frame = frame)),
  from = without(no_end, "NULL"),
  reach = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
  sampling = without(no_choice, "NULL"),
  seed = c(no_number, list(huge = 1e300, beyond = 2^31))
)
deep_plot_with <- list(
  newdata = list(type = "latent"), condition = list(type = "latent"),
  dims = list(type = "latent"), dim = list(type = "samples"), n = list(type = "reconstructions"),
  features = list(type = "reconstructions"), col = list(type = "latent"),
  limits = list(type = "samples", dim = c(1, 5)), from = list(type = "traversal"),
  reach = list(type = "traversal"), sampling = list(type = "samples"),
  seed = list(type = "samples")
)

# with: arguments that work. also: what else is given with a bad argument. bad: for each
# argument, what it must refuse. call: the function to call, if not the one named.
# package: where its generic comes from. dots = FALSE: others may go elsewhere.
table <- list(
  ppca = list(with = list(x = x, k = 2), bad = list(x = no_data, k = no_k)),
  ppca.default = list(
    call = "ppca", with = list(x = x, k = 2),
    bad = list(
      x = no_data, k = no_k,
      method = c(no_choice, list(three = c("mle", "em", "auto"))),
      center = no_vector_or_flag, scale = no_scale,
      sigma2 = c(no_number, list(zero = 0, negative = -1)),
      transform = no_transform, control = no_control, keep_data = no_flag
    )
  ),
  ppca.formula = list(
    call = "ppca", with = list(x = ~., k = 2, data = frame),
    bad = list(
      x = list(two_sided = a ~ b), k = no_k,
      data = c(nothing, list(`NULL` = NULL, `TRUE` = TRUE, number = 1, matrix = x))
    )
  ),
  linear_vae = list(with = list(x = x, k = 2), bad = list(x = c(no_data, no_complete["hole"]),
                                                          k = no_k)),
  linear_vae.default = list(
    call = "linear_vae", with = list(x = x, k = 2),
    bad = list(
      x = c(no_data, no_complete[c("hole", "hole_frame")]), k = no_k, elbo = no_choice,
      optimizer = no_choice, sigma2 = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
      learn_sigma2 = no_flag, beta = no_weight, start = no_start,
      center = no_vector_or_flag, scale = no_scale, transform = no_transform,
      epochs = no_epochs, batch_size = no_batch_size, learning_rate = no_learning_rate,
      control = no_train_control, keep_data = no_flag
    )
  ),
  linear_vae.formula = list(
    call = "linear_vae", with = list(x = ~., k = 2, data = frame),
    bad = list(
      x = list(two_sided = a ~ b), k = no_k,
      data = c(nothing, list(`NULL` = NULL, `TRUE` = TRUE, number = 1, matrix = x))
    )
  ),
  linear_ae = list(
    with = list(x = x, k = 2, optimizer = "exact"),
    bad = list(
      x = c(no_data, no_complete[c("hole", "hole_frame")]), k = no_k, penalty = no_choice,
      lambda = c(no_number, list(zero = 0, negative = -1)),
      optimizer = c(no_choice, list(with_penalty = "two-stage")),
      start = c(without(no_start, "other_k", "other_p", "other"),
                list(decoder_alone = list(loadings = unname(x[1:5, 1:2])))),
      center = no_vector_or_flag, control = no_train_control, keep_data = no_flag
    ),
    also = list(lambda = list(penalty = "uniform"))
  ),
  train_control = list(
    with = list(),
    bad = list(
      epochs = no_epochs, batch_size = no_batch_size, learning_rate = no_learning_rate,
      samples = c(no_count, list(`NULL` = NULL, zero = 0)),
      tol = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
      maxit = c(no_count, list(`NULL` = NULL, zero = 0)),
      accelerate = no_choice, rotate = no_flag, progress = no_flag,
      momentum = c(no_number, list(`NULL` = NULL, one = 1, negative = -0.1)),
      clip = c(without(no_number, "Inf"), list(`NULL` = NULL, zero = 0, negative = -1)),
      weight_decay = c(no_number, list(`NULL` = NULL, negative = -1)),
      sigma2_rate = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
      patience = c(no_count, list(zero = 0)),
      checkpoint = c(nothing, list(`TRUE` = TRUE, number = 1, directory = tempdir(), frame = frame,
                                   nowhere = file.path(tempfile(), "fit.rds"))),
      every = c(no_count, list(`NULL` = NULL, zero = 0)),
      callback = c(without(nothing, "list()", "function", "primitive"), list(
        `TRUE` = TRUE, number = 1, string = "mean", frame = frame, some = list(mean, 1))),
      threads = c(no_count, list(zero = 0, many = 65))
    )
  ),
  vae = list(
    with = list(x = x, k = 2, encoder = 3, control = few),
    bad = list(
      x = c(without(no_data, "one_column", "one_column_frame"), list(constant = x * 0 + 1)),
      k = c(no_count, list(`NULL` = NULL, zero = 0)),
      encoder = no_layers, decoder = no_layers, activation = no_choice,
      start = c(no_choice, list(fit = fit)),
      latent_variance = no_choice, noise = no_choice, optimizer = no_choice,
      sigma2 = c(no_number, list(zero = 0, negative = -1)), learn_sigma2 = no_flag,
      sigma2_update = no_choice,
      sigma2_min = c(no_number, list(zero = 0, negative = -1, each = rep(1, 5))),
      beta = without(no_weight, "zero", "zero_later", "NULL"),
      free_bits = c(no_number, list(`NULL` = NULL, negative = -1)),
      condition = no_condition, center = no_vector_or_flag, scale = no_scale,
      transform = no_transform,
      validation = c(no_newdata, list(
        negative = -0.1, one = 1, more = 1.5, all = 0.99, no_rows = x[0, ],
        other = list(x = x, y = 1), without_x = list(condition = 1:20)
      )),
      epochs = no_epochs, batch_size = no_batch_size, learning_rate = no_learning_rate,
      control = no_train_control,
      data = c(nothing, list(`TRUE` = TRUE, number = 1, frame = frame)),
      resume = c(nothing, list(`TRUE` = TRUE, number = 1, absent = tempfile(),
                               directory = tempdir(), frame = frame,
                               other = system.file("DESCRIPTION", package = "elbo"))),
      keep_data = no_flag
    )
  ),
  dense = list(
    with = list(units = 3),
    bad = list(units = c(no_count, list(`NULL` = NULL, zero = 0, wide = 2^25)),
               activation = no_choice)
  ),
  schedule_cosine = list(
    with = list(epochs = 3, from = 1),
    bad = list(epochs = c(no_count, list(`NULL` = NULL, zero = 0)),
               from = c(no_number, list(`NULL` = NULL, negative = -1)),
               to = c(no_number, list(`NULL` = NULL, negative = -1)))
  ),
  schedule_step = list(
    with = list(epochs = 3, from = 1),
    bad = list(epochs = c(no_count, list(`NULL` = NULL, zero = 0)),
               from = c(no_number, list(`NULL` = NULL, negative = -1)),
               factor = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
               every = c(no_count, list(`NULL` = NULL, zero = 0)))
  ),
  schedule_warmup = list(
    with = list(epochs = 3),
    bad = list(epochs = c(no_count, list(`NULL` = NULL, zero = 0)),
               from = c(no_number, list(`NULL` = NULL, negative = -1)),
               to = c(no_number, list(`NULL` = NULL, negative = -1)))
  ),
  schedule_cyclic = list(
    with = list(epochs = 8),
    bad = list(epochs = c(no_count, list(`NULL` = NULL, zero = 0)),
               cycles = c(no_count, list(`NULL` = NULL, zero = 0, many = 9)),
               ramp = c(no_number, list(`NULL` = NULL, zero = 0, more = 1.1, negative = -1)),
               from = c(no_number, list(`NULL` = NULL, negative = -1)),
               to = c(no_number, list(`NULL` = NULL, negative = -1)))
  ),
  interpolate_latent = list(
    with = list(object = deep, from = x[1, ], to = x[2, ]),
    bad = list(object = c(without(no_matrix, "function"), list(`NULL` = NULL, linear = vae)),
               from = no_end, to = no_end,
               steps = c(no_count, list(`NULL` = NULL, zero = 0, one = 1)),
               condition = any_condition)
  ),
  predict.vae = list(
    call = "predict", with = list(object = deep),
    bad = list(newdata = no_newdata, type = no_choice, condition = any_condition)
  ),
  posterior.vae = list(call = "posterior", with = list(object = deep),
                       bad = list(newdata = no_newdata, condition = any_condition,
                                  draws = c(no_count, list(`NULL` = NULL)))),
  logLik.vae = list(
    call = "logLik", with = list(object = deep),
    bad = list(newdata = no_newdata,
               samples = c(no_count, list(`NULL` = NULL, zero = 0, one = 1)),
               by = no_choice, condition = any_condition)
  ),
  impute.vae = list(
    call = "impute", with = list(object = deep),
    bad = list(newdata = no_newdata, draws = c(no_count, list(`NULL` = NULL)),
               samples = c(no_count, list(`NULL` = NULL, zero = 0, few = 19)),
               condition = any_condition)
  ),
  decode.vae = list(call = "decode", with = list(object = deep, z = c(0, 0)),
                    bad = list(z = no_latent, type = no_choice, condition = any_condition)),
  elbo.vae = list(
    call = "elbo", with = list(object = deep),
    bad = list(newdata = no_newdata, samples = c(no_count, list(`NULL` = NULL, zero = 0)),
               by = no_choice, weighted = no_flag, condition = any_condition)
  ),
  posterior_collapse.vae = list(
    call = "posterior_collapse", with = list(object = deep),
    bad = list(newdata = no_newdata,
               eps = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
               delta = c(no_number, list(`NULL` = NULL, one = 1, more = 2, negative = -1)),
               condition = any_condition, samples = c(no_count, list(`NULL` = NULL, zero = 0)),
               encoder_epochs = c(no_count, list(`NULL` = NULL)))
  ),
  tune_sigma2.vae = list(
    call = "tune_sigma2", with = list(object = deep),
    bad = list(newdata = no_newdata, condition = any_condition,
               samples = c(no_count, list(`NULL` = NULL, zero = 0)))
  ),
  simulate.vae = list(
    call = "simulate", with = list(object = deep),
    bad = list(
      nsim = c(no_count, list(`NULL` = NULL)),
      seed = c(no_number, list(huge = 1e300, beyond = 2^31)), type = no_choice,
      condition = any_condition
    )
  ),
  fitted.vae = list(call = "fitted", with = list(object = deep), bad = list()),
  residuals.vae = list(call = "residuals", with = list(object = deep),
                       bad = list(newdata = no_newdata, condition = any_condition)),
  coef.vae = list(call = "coef", with = list(object = deep), bad = list()),
  nobs.vae = list(call = "nobs", with = list(object = deep), bad = list(), dots = FALSE),
  summary.vae = list(call = "summary", with = list(object = deep), bad = list(), dots = FALSE),
  update.vae = list(
    call = "update", with = list(object = deep),
    # what is changed in a call is evaluated: a symbol or a call is no value there
    bad = list(
      epochs = c(no_count, list(zero = 0)),
      k = c(without(no_count, "symbol", "call"), list(zero = 0)),
      control = without(no_train_control, "symbol", "call"),
      beta = without(no_weight, "symbol", "call", "zero", "zero_later", "NULL"),
      encoder = without(no_layers, "symbol", "call")
    )
  ),
  plot.vae = list(with = list(x = deep), bad = deep_plot_arguments, also = deep_plot_with,
                  dots = FALSE),
  autoplot.vae = list(with = list(object = deep), bad = deep_plot_arguments,
                      also = deep_plot_with, package = "ggplot2"),
  tidy.vae = list(with = list(x = deep), bad = list(matrix = no_choice)),
  glance.vae = list(with = list(x = deep), bad = list()),
  augment.vae = list(
    with = list(x = deep),
    bad = list(data = no_newdata, samples = c(no_count, list(`NULL` = NULL, zero = 0)),
               condition = any_condition)
  ),
  elbo = list(with = list(object = vae), bad = list(newdata = no_complete)),
  elbo.linear_vae = list(
    call = "elbo", with = list(object = vae),
    bad = list(newdata = no_complete, samples = c(no_count, list(`NULL` = NULL)),
               by = no_choice)
  ),
  elbo.ppca = list(call = "elbo", with = list(object = fit),
                   bad = list(newdata = no_newdata, by = no_choice)),
  tune_sigma2 = list(with = list(object = vae), bad = list(newdata = no_complete)),
  tune_sigma2.ppca = list(call = "tune_sigma2", with = list(object = fit),
                          bad = list(newdata = no_newdata)),
  posterior_collapse = list(
    with = list(object = vae),
    bad = list(newdata = no_complete,
               eps = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
               delta = c(no_number, list(`NULL` = NULL, one = 1, more = 2, negative = -1)))
  ),
  posterior_collapse.ppca = list(
    call = "posterior_collapse", with = list(object = fit),
    bad = list(newdata = no_newdata,
               eps = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
               delta = c(no_number, list(`NULL` = NULL, one = 1, more = 2, negative = -1)))
  ),
  stability = list(with = list(object = vae),
                   bad = list(sigma2 = c(no_number, list(zero = 0, negative = -1)))),
  stability.ppca = list(call = "stability", with = list(object = fit),
                        bad = list(sigma2 = c(no_number, list(zero = 0, negative = -1)))),
  landscape = list(
    with = list(object = vae, pair = 4:5),
    bad = list(pair = c(no_directions, list(one = 1, three = 1:3, none = integer())),
               keep = c(no_directions, list(paired = 5, among = 3:4)),
               sigma2 = c(no_number, list(zero = 0, negative = -1)))
  ),
  landscape.ppca = list(
    call = "landscape", with = list(object = fit, pair = 4:5),
    bad = list(
      pair = c(no_directions, list(one = 1, three = 1:3, none = integer())),
      keep = c(no_directions, list(paired = 5)),
      sigma2 = c(no_number, list(zero = 0, negative = -1)),
      reach = c(no_number, list(zero = 0, negative = -1)),
      points = c(no_count, list(`NULL` = NULL, zero = 0, two = 2))
    )
  ),
  alignment = list(
    with = list(object = vae, reference = fit),
    bad = list(
      object = c(without(no_matrix, "fit"), list(`NULL` = NULL, hole = replace(x, 7, NA),
                 other = diag(4), frame = frame, no_rows = x[0, ])),
      reference = c(without(no_matrix, "fit"), list(
        `NULL` = NULL, hole = replace(x, 7, NA), other = diag(4), frame = frame,
        zero = matrix(0, 5, 2), no_rows = x[0, ]
      ))
    )
  ),
  rescale_latent = list(with = list(object = vae, a = 2), bad = list(a = c(
    without(no_number, "two"), list(`NULL` = NULL, zero = 0, negative = -1, three = 1:3,
                                    hole = c(1, NA), part = c(1, 0), strings = c("1", "2"),
                                    flags = c(TRUE, FALSE))
  ))),
  rescale_latent.linear_vae = list(
    call = "rescale_latent", with = list(object = vae, a = c(1, 2)),
    bad = list(a = list(`NULL` = NULL, zero = 0, three = 1:3, part = c(1, 0), frame = frame))
  ),
  as_linear_vae = list(with = list(object = fit), bad = list(object = list(
    missing = ppca(replace(x, 7, NA), 2)
  ))),
  as_linear_vae.ppca = list(call = "as_linear_vae", with = list(object = fit), bad = list()),
  as_linear_vae.linear_vae = list(call = "as_linear_vae", with = list(object = vae),
                                  bad = list()),
  posterior.linear_vae = list(call = "posterior", with = list(object = vae),
                              bad = list(newdata = no_complete,
                                         draws = c(no_count, list(`NULL` = NULL)))),
  predict.linear_vae = list(call = "predict", with = list(object = vae),
                            bad = list(newdata = no_complete, type = no_choice)),
  coef.linear_vae = list(call = "coef", with = list(object = vae), bad = list(), dots = FALSE),
  summary.linear_vae = list(call = "summary", with = list(object = vae), bad = list(),
                            dots = FALSE),
  update.linear_vae = list(
    call = "update", with = list(object = adam),
    # what is changed in a call is evaluated: a symbol or a call is no value there
    bad = list(
      epochs = c(no_count, list(zero = 0)),
      maxit = c(without(no_count, "symbol", "call"), list(zero = 0)),
      tol = c(without(no_number, "symbol", "call"), list(zero = 0, negative = -1)),
      k = no_k, control = no_train_control,
      beta = without(no_weight, "NULL", "symbol", "call")
    )
  ),
  predict.linear_ae = list(call = "predict", with = list(object = ae),
                           bad = list(newdata = no_complete, type = no_choice)),
  fitted.linear_ae = list(call = "fitted", with = list(object = ae), bad = list()),
  residuals.linear_ae = list(call = "residuals", with = list(object = ae),
                             bad = list(newdata = no_complete)),
  coef.linear_ae = list(call = "coef", with = list(object = ae), bad = list(), dots = FALSE),
  nobs.linear_ae = list(call = "nobs", with = list(object = ae), bad = list(), dots = FALSE),
  update.linear_ae = list(
    call = "update", with = list(object = ae),
    bad = list(
      epochs = c(without(no_count, "symbol", "call"), list(zero = 0)),
      maxit = c(without(no_count, "symbol", "call"), list(zero = 0)),
      tol = c(without(no_number, "symbol", "call"), list(zero = 0, negative = -1)),
      k = no_k, control = no_train_control,
      lambda = without(no_weight, "NULL", "symbol", "call")
    )
  ),
  em_control = list(
    with = list(),
    bad = list(
      tol = c(no_number, list(`NULL` = NULL, zero = 0, negative = -1)),
      maxit = c(no_count, list(`NULL` = NULL, zero = 0)),
      accelerate = no_flag,
      start = c(nothing, list(`TRUE` = TRUE, number = 1, x = x, control = em_control())),
      progress = no_flag
    )
  ),
  select_rank = list(
    with = list(x = x),
    bad = list(
      x = c(no_data, list(formula = ~.)),
      k = c(without(no_number, "two"),
            list(zero = 0, p = 5, fraction = 1.5, one_fraction = c(1, 2.5), twice = c(1, 1),
                 hole = c(1, NA), infinite = c(1, Inf), negative = -1:2, huge = 1e300,
                 strings = c("1", "2"))),
      criterion = no_choice,
      center = no_vector_or_flag, scale = no_scale, transform = no_transform,
      folds = c(no_count, list(`NULL` = NULL, one = 1, zero = 0, many = 101)),
      control = no_control
    )
  ),
  posterior = list(with = list(object = fit), bad = list(newdata = no_newdata)),
  posterior.ppca = list(call = "posterior", with = list(object = fit),
                        bad = list(newdata = no_newdata,
                                   draws = c(no_count, list(`NULL` = NULL)))),
  decode = list(with = list(object = fit, z = c(0, 0)),
                bad = list(z = no_latent, type = no_choice)),
  decode.ppca = list(call = "decode", with = list(object = fit, z = c(0, 0)),
                     bad = list(z = no_latent, type = no_choice)),
  impute = list(with = list(object = fit),
                bad = list(newdata = no_newdata, draws = c(no_count, list(`NULL` = NULL)))),
  impute.ppca = list(call = "impute", with = list(object = fit),
                     bad = list(newdata = no_newdata,
                                draws = c(no_count, list(`NULL` = NULL)))),
  predict.ppca = list(
    call = "predict", with = list(object = fit),
    bad = list(newdata = no_newdata, type = no_choice)
  ),
  fitted.ppca = list(call = "fitted", with = list(object = fit), bad = list()),
  residuals.ppca = list(call = "residuals", with = list(object = fit),
                        bad = list(newdata = no_newdata)),
  simulate.ppca = list(
    call = "simulate", with = list(object = fit),
    bad = list(
      nsim = c(no_count, list(`NULL` = NULL)),
      seed = c(no_number, list(huge = 1e300, beyond = 2^31)),
      type = no_choice
    )
  ),
  logLik.ppca = list(
    call = "logLik", with = list(object = fit),
    bad = list(newdata = no_newdata, by = no_choice)
  ),
  update.ppca = list(
    call = "update", with = list(object = fit),
    # what is changed in a call is evaluated: a symbol or a call is no value there
    bad = list(
      maxit = c(without(no_count, "symbol", "call"), list(zero = 0)),
      tol = c(without(no_number, "symbol", "call"), list(zero = 0, negative = -1)),
      k = no_k, control = no_control
    )
  ),
  coef.ppca = list(call = "coef", with = list(object = fit), bad = list(), dots = FALSE),
  nobs.ppca = list(call = "nobs", with = list(object = fit), bad = list(), dots = FALSE),
  summary.ppca = list(call = "summary", with = list(object = fit), bad = list(), dots = FALSE),
  plot.ppca = list(
    with = list(x = fit), bad = plot_arguments, also = plot_with, dots = FALSE
  ),
  autoplot.ppca = list(with = list(object = fit), bad = plot_arguments, also = plot_with,
                       package = "ggplot2"),
  plot.linear_vae = list(with = list(x = vae), bad = vae_plot_arguments, also = plot_with,
                         dots = FALSE),
  autoplot.linear_vae = list(with = list(object = vae), bad = vae_plot_arguments,
                             also = plot_with, package = "ggplot2"),
  plot.linear_ae = list(with = list(x = ae), bad = ae_plot_arguments, dots = FALSE,
                        also = list(dims = list(type = "loadings"))),
  autoplot.linear_ae = list(with = list(object = ae), bad = ae_plot_arguments,
                            also = list(dims = list(type = "loadings")), package = "ggplot2"),
  plot.posterior_collapse = list(with = list(x = collapse), bad = list(), dots = FALSE),
  autoplot.posterior_collapse = list(with = list(object = collapse), bad = list(),
                                     package = "ggplot2"),
  plot.stability = list(with = list(x = steady), bad = scree_arguments, dots = FALSE),
  autoplot.stability = list(with = list(object = steady), bad = scree_arguments,
                            package = "ggplot2"),
  plot.landscape = list(
    with = list(x = hill), dots = FALSE,
    bad = list(type = no_choice, nlevels = no_levels, theta = no_angle, phi = no_angle),
    also = list(theta = list(type = "persp"), phi = list(type = "persp"))
  ),
  autoplot.landscape = list(with = list(object = hill), bad = list(nlevels = no_levels),
                            package = "ggplot2"),
  plot.rank_selection = list(with = list(x = ranks), bad = list(), dots = FALSE),
  autoplot.rank_selection = list(with = list(object = ranks), bad = list(),
                                 package = "ggplot2"),
  plot_images = list(
    with = list(x = x, dim = c(1, 5)), dots = FALSE,
    bad = list(
      # a vector is one image, and infinite values are drawn like other large ones
      x = c(without(no_matrix, "number", "vector", "numeric(0)", "no_columns", "infinite",
                    "minus_infinite", "infinite_frame"), list(`NULL` = NULL)),
      dim = c(no_size, list(`NULL` = NULL)),
      labels = c(without(nothing, "NA", "factor"), list(short = letters[1:19], frame = frame)),
      ncol = c(no_count, list(zero = 0, many = 21)),
      limits = c(nothing, list(`TRUE` = TRUE, one = 1, equal = c(1, 1), falling = c(2, 1),
                               hole = c(1, NA), infinite = c(0, Inf), three = 1:3,
                               flags = c(FALSE, TRUE), frame = frame)),
      col = c(no_colour, list(`NULL` = NULL, `character(0)` = character())),
      missing = c(no_colour, list(`NULL` = NULL, two = c("red", "blue"),
                                  `character(0)` = character()))
    )
  ),
  tidy.ppca = list(with = list(x = fit), bad = list(matrix = no_choice)),
  tidy.linear_vae = list(with = list(x = vae), bad = list(matrix = no_choice)),
  tidy.linear_ae = list(with = list(x = ae), bad = list(matrix = no_choice)),
  tidy.posterior_collapse = list(with = list(x = collapse), bad = list()),
  tidy.model_comparison = list(with = list(x = compared), bad = list()),
  plot.model_comparison = list(with = list(x = compared), bad = list(type = no_choice),
                               dots = FALSE),
  autoplot.model_comparison = list(with = list(object = compared), bad = list(type = no_choice),
                                   package = "ggplot2"),
  compare_models = list(
    with = list(one = fit, newdata = x), dots = FALSE,
    bad = list(newdata = no_newdata, samples = c(no_count, list(`NULL` = NULL, zero = 0)),
               weighted = no_flag, condition = any_condition)
  ),
  tidy.stability = list(with = list(x = steady), bad = list()),
  glance.linear_vae = list(with = list(x = vae), bad = list()),
  glance.linear_ae = list(with = list(x = ae), bad = list()),
  augment.linear_vae = list(with = list(x = vae), bad = list(data = no_complete)),
  tidy.rank_selection = list(with = list(x = ranks), bad = list()),
  glance.ppca = list(with = list(x = fit), bad = list()),
  augment.ppca = list(with = list(x = fit), bad = list(data = no_newdata)),
  read_idx = list(
    with = list(path = system.file("extdata", "digits-labels-idx1-ubyte.gz", package = "elbo")),
    bad = list(path = c(nothing, list(
      `NULL` = NULL, `TRUE` = TRUE, number = 1, absent = tempfile(),
      directory = tempdir(), frame = frame
    )))
  ),
  logit_pixels = list(
    with = list(),
    bad = list(
      alpha = c(no_number, list(`NULL` = NULL, zero = 0, half = 0.5, one = 1, negative = -1)),
      levels = c(no_count, list(`NULL` = NULL, one = 1, zero = 0))
    )
  )
)

needed <- vapply(table, function(entry) c(entry$package, "stats")[1], "")
usable <- names(table)[vapply(needed, requireNamespace, NA, quietly = TRUE)]

# the tests --------------------------------------------------------------------

callee <- function(name) {
  entry <- table[[name]]
  get(if (is.null(entry$call)) name else entry$call, envir = asNamespace("elbo"))
}

# What came of a call: its warnings, and its error or "a result".
outcome <- function(f, arguments) {
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  warned <- character()
  value <- tryCatch(
    withCallingHandlers({
      do.call(f, arguments, quote = TRUE)
      "a result"
    }, warning = function(w) {
      warned <<- c(warned, conditionMessage(w))
      invokeRestart("muffleWarning")
    }),
    error = conditionMessage
  )
  list(said = value, warned = warned)
}

expect_refused <- function(name, arg, value, label) {
  arguments <- c(table[[name]]$with, table[[name]]$also[[arg]])
  arguments[arg] <- list(value)
  got <- outcome(callee(name), arguments)
  named <- grepl(paste0("[`\"'\u2018]", arg, "[`\"'\u2019]"), got$said)
  expect(named && !length(got$warned), sprintf(
    "%s(%s = <%s>): %s%s", name, arg, label, got$said,
    if (length(got$warned)) paste0(" [warned: ", got$warned[1], "]") else ""
  ))
}

test_that("the calls without a bad argument work", {
  for (name in usable) {
    got <- outcome(callee(name), table[[name]]$with)
    expect_identical(got, list(said = "a result", warned = character()), label = name)
  }
})

for (name in usable) {
  for (arg in names(table[[name]]$bad)) {
    test_that(sprintf("%s() refuses a bad `%s`", name, arg), {
      values <- table[[name]]$bad[[arg]]
      for (label in names(values)) expect_refused(name, arg, values[[label]], label)
    })
  }
}

test_that("misspelt and surplus arguments are refused, not ignored", {
  for (name in usable) {
    if (isFALSE(table[[name]]$dots)) next
    got <- outcome(callee(name), c(table[[name]]$with, list(nonsense = 1)))
    expect_match(got$said, "nonsense", label = name)
  }
})

test_that("what other packages call an argument is answered with its name here", {
  fitters <- list(vae = elbo::vae, linear_vae = linear_vae, ppca = ppca)
  meant <- list(lr = "learning_rate", latent_dim = "k", ncomp = "k")
  for (name in names(fitters)) for (given in names(meant)) {
    call <- c(list(x, 2), structure(list(0.1), names = given))
    said <- tryCatch(do.call(fitters[[name]], call), elbo_error = conditionMessage)
    known <- meant[[given]] %in% c("k", names(formals(get(name, asNamespace("elbo")))),
                                   if (name == "linear_vae") "learning_rate")
    expected <- paste0("Unused argument in `...`: ", given, ".",
                       if (known) sprintf(" Did you mean `%s`?", meant[[given]]))
    expect_identical(said, expected, label = paste(name, given))
  }
  # in the place of the argument
  for (fitter in fitters) {
    expect_error(fitter(x, latent_dim = 2), "latent_dim. Did you mean `k`?", fixed = TRUE,
                 class = "elbo_error")
  }
  expect_error(elbo::vae(~., latent_dim = 2, data = frame), "Did you mean `k`?", fixed = TRUE,
               class = "elbo_error")
})

test_that("arguments without a default have to be given", {
  expect_error(ppca(), "argument \"x\" is missing", fixed = TRUE)
  expect_error(ppca(x), "argument \"k\" is missing", fixed = TRUE)
  expect_error(ppca(~., data = frame), "argument \"k\" is missing", fixed = TRUE)
  expect_error(select_rank(), "argument \"x\" is missing", fixed = TRUE)
  expect_error(read_idx(), "argument \"path\" is missing", fixed = TRUE)
  expect_error(linear_vae(), "argument \"x\" is missing", fixed = TRUE)
  expect_error(linear_vae(x), "argument \"k\" is missing", fixed = TRUE)
  expect_error(linear_vae(~., data = frame), "argument \"k\" is missing", fixed = TRUE)
  expect_error(linear_ae(), "argument \"x\" is missing", fixed = TRUE)
  expect_error(linear_ae(x), "argument \"k\" is missing", fixed = TRUE)
  expect_error(alignment(), "argument \"object\" is missing", fixed = TRUE)
  expect_error(alignment(x), "argument \"reference\" is missing", fixed = TRUE)
  expect_error(landscape(fit), "argument \"pair\" is missing", fixed = TRUE)
  expect_error(rescale_latent(vae), "argument \"a\" is missing", fixed = TRUE)
  expect_error(elbo::vae(), "argument \"x\" is missing", fixed = TRUE)
  expect_error(elbo::vae(x), "argument \"k\" is missing", fixed = TRUE)
  expect_error(interpolate_latent(deep), "argument \"from\" is missing", fixed = TRUE)
  expect_error(interpolate_latent(deep, x[1, ]), "argument \"to\" is missing", fixed = TRUE)
  expect_error(dense(), "argument \"units\" is missing", fixed = TRUE)
  expect_error(schedule_cosine(3), "argument \"from\" is missing", fixed = TRUE)
  for (generic in list(posterior, decode, impute, elbo, tune_sigma2, posterior_collapse,
                       stability, landscape, rescale_latent, as_linear_vae)) {
    expect_error(generic())
    for (object in list(NULL, 1, "a", x, mean, unclass(fit), ae)) {
      expect_error(generic(object), "no applicable method")
    }
  }
})

test_that("a start's parts are named where they do not fit", {
  w <- matrix(0.1, 5, 2)
  refused <- function(part, ..., fitter = linear_vae) {
    expect_error(fitter(x, 2, start = list(...)), paste0("`start$", part, "` must be"),
                 fixed = TRUE, class = "elbo_error")
  }
  for (bad in list(w[, 1], t(w), replace(w, 3, NA), replace(w, 3, Inf), "w", matrix("a", 5, 2),
                   as.data.frame(w), 1, list(1))) {
    refused("loadings", loadings = bad)
    refused("loadings", loadings = bad, V = t(w), fitter = linear_ae)
    refused("V", loadings = w, V = if (identical(bad, t(w))) w else bad)
    refused("V", loadings = w, V = if (identical(bad, t(w))) w else bad, fitter = linear_ae)
  }
  for (bad in list(0, c(1, 0), c(1, -1), c(1, NA), c(1, Inf), 1:3, c("1", "2"), list(1, 2))) {
    refused("D", loadings = w, D = bad)
  }
  # The noise variance of a start stands for the argument.
  for (bad in list(0, -1, NA, "1", c(1, 2))) {
    expect_error(linear_vae(x, 2, start = list(loadings = w, sigma2 = bad)), "`sigma2` must be",
                 class = "elbo_error")
  }
})

test_that("choices that do not go together are refused", {
  for (optimizer in c("em", "lbfgs", "exact")) {
    expect_error(linear_vae(x, 2, elbo = "stochastic", optimizer = optimizer),
                 "`optimizer` must be \"adam\" for the stochastic ELBO", class = "elbo_error")
  }
  for (optimizer in c("lbfgs", "exact")) {
    expect_error(linear_vae(x, 2, optimizer = optimizer, beta = c(1, 2)),
                 "`beta` must be one number for optimizer", class = "elbo_error")
  }
  # the optimum of a network's noise has no closed form
  expect_error(elbo::vae(x, 2, noise = "network", sigma2_update = "optimal"),
               "`sigma2_update` must be \"gradient\" for noise = \"network\"", fixed = TRUE,
               class = "elbo_error")
  # one number, or as many as features where each has noise of its own
  for (noise in c("feature", "network")) for (arg in c("sigma2", "sigma2_min")) {
    for (bad in list(c(1, 2), rep(1, 6), c(1, 1, 1, 1, 0), c(1, 1, NA, 1, 1))) {
      expect_error(do.call(elbo::vae, c(list(x, 2, noise = noise),
                                        structure(list(bad), names = arg))),
                   sprintf("`%s` must be NULL, a positive number or 5 of them", arg),
                   fixed = TRUE, class = "elbo_error")
    }
  }
  skip_if_not_installed("Matrix")
  sparse <- methods::as(Matrix::Matrix(round(abs(x)), sparse = TRUE), "generalMatrix")
  for (fitter in list(linear_vae, elbo::vae)) {
    expect_error(fitter(sparse, 2, transform = logit_pixels()), "`transform` must be NULL",
                 class = "elbo_error")
  }
})

test_that("a start that does not fit the data is refused", {
  for (start in list(ppca(x, 3), ppca(x[, 1:4], 2))) {
    expect_error(ppca(x, 2, method = "em", control = em_control(start = start)),
                 "`start` must have 5 features and 2 latent dimensions", fixed = TRUE)
  }
})

# completeness -----------------------------------------------------------------

# Functions of the package that a user can call: the exports that are its own, and the
# methods that it registers, but for those that print or format, and those of transforms
# and comparisons, which functions of the package call.
callable <- function() {
  exports <- getNamespaceExports("elbo")
  own <- vapply(exports, function(name) {
    f <- get(name, envir = asNamespace("elbo"))
    is.function(f) && identical(environment(f), asNamespace("elbo"))
  }, NA)
  methods <- getNamespaceInfo("elbo", "S3methods")
  shown <- methods[, 1] %in% c("print", "format") | 
    grepl("^(transform|compared)_", methods[, 1])
  sort(unique(c(exports[own], paste(methods[!shown, 1], methods[!shown, 2], sep = "."))))
}

test_that("every function that a user can call has an entry", {
  expect_identical(setdiff(callable(), names(table)), character())
  expect_identical(setdiff(names(table), callable()), character())
})

# What a method is chosen by is right by then.
dispatched <- function(name) {
  if (grepl("^(tidy|glance|augment|plot)[.]", name)) "x" else "object"
}

test_that("every argument has values that it must refuse", {
  for (name in names(table)) {
    arguments <- names(formals(get(name, envir = asNamespace("elbo"))))
    expect_identical(setdiff(arguments, c(names(table[[name]]$bad), "...", dispatched(name))),
                     character(), label = name)
  }
})
