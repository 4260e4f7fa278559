# Layers of deep VAEs: what the user may ask for, where each has its parameters, and
# what they start from.

# In the order of enum activation in src/each.h.
ACTIVATIONS <- c("identity", "relu", "leaky_relu", "elu", "tanh", "sigmoid", "softplus",
                 "gelu", "silu")

# Slopes near 1 for half of the inputs and near 0 for the others, so that a layer halves
# the variance: what He's initialisation makes up for.
RECTIFIERS <- c("relu", "leaky_relu", "elu", "softplus", "gelu", "silu")

MOST_LAYERS <- 32L

#' A dense layer
#'
#' One layer of the encoder or decoder of a [vae()]: y = activation(W x + b). Chains of
#' layers with one activation can be given to [vae()] as their widths alone.
#'
#' @param units width of the layer, the number of its outputs.
#' @param activation `"relu"`, `"leaky_relu"` (slope 0.01 below zero), `"elu"`,
#'   `"tanh"`, `"sigmoid"`, `"softplus"`, `"gelu"` (x times the normal distribution
#'   function), `"silu"` (x times the logistic function) or `"identity"`.
#' @return An object of class `dense_layer`.
#' @examples
#' encoder <- list(dense(64, "gelu"), dense(32, "tanh"))
#' fit <- vae(iris[1:4], k = 2, encoder = encoder,
#'            control = train_control(epochs = 5, batch_size = 30))
#' fit
#' @export
dense <- function(units, activation = "relu") {
  structure(list(units = check_count(units, "units", 1, 2^24),
                 activation = check_choice(activation, "activation", ACTIVATIONS)),
            class = "dense_layer")
}

#' @export
format.dense_layer <- function(x, ...) sprintf("%d %s", x$units, x$activation)

#' @export
print.dense_layer <- function(x, ...) {
  cat("Dense layer: ", format(x), "\n", sep = "")
  invisible(x)
}

# Widths, or a list of layers (or of widths), as a list of layers.
check_layers <- function(x, arg, activation) {
  wanted <- "be widths of layers, such as c(512, 256), or a list of dense() layers"
  if (inherits(x, "dense_layer")) x <- list(x)
  if (is.object(x) || !(is.list(x) || is.numeric(x) || is.null(x))) {
    abort_arg(arg, wanted, describe(x))
  }
  if (length(x) > MOST_LAYERS) {
    abort_arg(arg, sprintf("have at most %d layers", MOST_LAYERS), length(x))
  }
  lapply(x, function(one) {
    if (inherits(one, "dense_layer")) return(dense(one$units, one$activation))
    if (!is_number(one) || one != round(one) || one < 1 || one > 2^24) {
      abort_arg(arg, wanted, paste("one with", describe(one)))
    }
    dense(one, activation)
  })
}

layer_units <- function(layers) vapply(layers, function(l) l$units, 1L)

layer_activations <- function(layers) {
  match(vapply(layers, function(l) l$activation, ""), ACTIVATIONS) - 1L
}

# The shape of a model as the C code takes it.
vae_shape <- function(p, k, c, asked) {
  list(p = as.integer(p), k = k, c = as.integer(c),
       encoder = layer_units(asked$encoder),
       encoder_activation = layer_activations(asked$encoder),
       decoder = layer_units(asked$decoder),
       decoder_activation = layer_activations(asked$decoder),
       shared_d = asked$latent_variance == "shared",
       noise = match(asked$noise, c("shared", "feature", "network")) - 1L,
       fixed_noise = !asked$learn_sigma2 || asked$sigma2_update == "optimal",
       linear = asked$start == "linear")
}

# Parts of the model, in the order of their numbers in src/r_vae.c.
TENSORS <- c("encoder", "mean", "mean_linear", "log_variance", "decoder", "output",
             "output_linear", "log_sigma2")

# The tensors of theta in their order (src/vae.h): a row for each layer or vector, with
# its name, sizes, whether it has biases, the activation that it feeds, where it begins (from
# 0) and how many numbers it has. A vector has 0 inputs.
vae_layout <- function(shape) {
  tensors <- core_vae_layout(shape)
  name <- TENSORS[tensors[1, ] + 1]
  for (hidden in c("encoder", "decoder")) {
    at <- which(name == hidden)
    name[at] <- paste0(hidden, seq_along(at))
  }
  out <- tensors[2, ]
  into <- tensors[3, ]
  biased <- tensors[4, ] == 1
  data.frame(name = name, out = out, into = into, biased = biased,
             activation = ACTIVATIONS[tensors[5, ] + 1], offset = tensors[6, ],
             size = out * ifelse(into > 0, into + biased, 1))
}

# From a variance of 1, that of the prior, z says so little of x at first that the decoder
# learns to do without most dimensions, for good.
START_LOG_VARIANCE <- -4

# Where theta starts: weights normal with the variance of He et al. (2015), 2 / inputs,
# before rectifiers and of Glorot and Bengio (2010), 2 / (inputs + outputs), elsewhere;
# biases zero; the log variances of z START_LOG_VARIANCE, and the log noise variance as given
# (one number or one a feature), with no weights that would make them depend on x or z.
# `linear`: NULL, or the solution of linear_solution(), at which the model is then to start: the
# maps from input to head are its own, and what hidden layers add to them is zero.
vae_initial <- function(layout, log_sigma2, linear = NULL) {
  if (!is.null(linear)) linear <- linear_heads(layout, linear)
  unlist(lapply(seq_len(nrow(layout)), function(i) {
    l <- layout[i, ]
    weights <- l$into * l$out
    constant <- function(value) c(numeric(weights), rep_len(value, l$out))
    if (l$name == "log_sigma2") return(constant(log_sigma2))
    if (l$name %in% names(linear)) return(linear[[l$name]])
    if (l$name == "log_variance") return(constant(START_LOG_VARIANCE))
    variance <- if (l$activation %in% RECTIFIERS) 2 / l$into else 2 / (l$into + l$out)
    c(stats::rnorm(weights, sd = sqrt(variance)), if (l$biased) numeric(l$out))
  }), use.names = FALSE)
}

# The parameters of the heads, by their names in the layout, with which the model is the
# linear one: m(x) = V (x - mu), D, and g(z) = mu + W z, where x and mu are in core units.
# Dimensions and columns of a condition that the linear model does not have are zero.
linear_heads <- function(layout, linear) {
  of <- function(name) layout[layout$name == name, ]
  k <- of("mean")$out
  p <- of("output")$out
  used <- seq_len(ncol(linear$w))
  root <- sqrt(linear$sigma2)              # one number, or one a feature
  encoder <- best_encoder(linear$w / root, 1)
  v <- matrix(0, k, p)
  v[used, ] <- t(encoder$vt / root)
  w <- matrix(0, p, k)
  w[, used] <- linear$w
  log_d <- numeric(k)
  log_d[used] <- log(encoder$d)
  # a map stands in the head itself where there are no hidden layers
  head <- function(name, map, bias) {
    l <- of(name)
    straight <- of(paste0(name, "_linear"))
    weights <- function(into, map) {
      out <- matrix(0, l$out, into)
      out[, seq_len(ncol(map))] <- map
      out
    }
    if (!nrow(straight)) return(list(c(weights(l$into, map), bias)))
    list(c(numeric(l$out * l$into), bias), c(weights(straight$into, map)))
  }
  parts <- c(head("mean", v, -drop(v %*% linear$mu)), head("output", w, linear$mu),
             list(c(numeric(of("log_variance")$into * k), log_d)))
  names(parts) <- c("mean", if (nrow(of("mean_linear"))) "mean_linear",
                    "output", if (nrow(of("output_linear"))) "output_linear",
                    "log_variance")
  parts
}
