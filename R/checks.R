# Argument checks. Every error that a user can cause is raised here, by
# abort_arg(): which argument, what would be right, what was wrong.

# Stops with a condition of class "elbo_error". `must` completes the sentence
# "`arg` must ..."; `not` describes what was given.
abort_arg <- function(arg, must, not = NULL) {
  abort(
    "`", arg, "` must ", must,
    if (!is.null(not)) paste0(", not ", not), "."
  )
}

# `class`: for callers within the package that handle this error.
abort <- function(..., class = NULL) {
  stop(structure(
    class = c(class, "elbo_error", "error", "condition"),
    list(message = paste0(...), call = NULL)
  ))
}

# One short phrase for any object: "900", "a character vector of length 2".
describe <- function(x) {
  if (is.null(x)) return("NULL")
  if (is.data.frame(x)) return("a data frame")
  if (is.function(x)) return("a function")
  if (is.object(x)) return(paste("an object of class", sQuote(class(x)[1], FALSE)))
  if (is.matrix(x)) {
    return(sprintf("a %s matrix, %d x %d", typeof(x), nrow(x), ncol(x)))
  }
  if (length(dim(x)) > 2) return(sprintf("an array of %d dimensions", length(dim(x))))
  if (!is.atomic(x)) return(paste0("a ", typeof(x)))
  if (length(x) != 1) return(sprintf("a %s vector of length %d", mode(x), length(x)))
  if (is.na(x)) return(if (is.nan(x)) "NaN" else "NA")
  if (is.character(x)) return(dQuote(x, FALSE))
  if (is.numeric(x)) return(format(x, digits = 7))
  as.character(x)
}

is_number <- function(x) {
  is.numeric(x) && length(x) == 1 && !is.object(x) && is.finite(x)
}

check_flag <- function(x, arg) {
  if (!is.logical(x) || length(x) != 1 || is.na(x)) {
    abort_arg(arg, "be TRUE or FALSE", describe(x))
  }
  x
}

# A whole number within [min, max], returned as an integer.
check_count <- function(x, arg, min = 1L, max = .Machine$integer.max) {
  if (!is_number(x) || x != round(x) || x < min || x > max) {
    range <- if (max >= .Machine$integer.max) {
      sprintf("a whole number, %d or more", as.integer(min))
    } else {
      sprintf("a whole number between %d and %d", as.integer(min), as.integer(max))
    }
    abort_arg(arg, paste("be", range), describe(x))
  }
  as.integer(x)
}

# A finite number above `min` (`open = TRUE`) or at least `min`, and likewise
# below `max`.
check_number <- function(x, arg, min = -Inf, max = Inf, open = FALSE) {
  ok <- is_number(x) &&
    (if (open) x > min && x < max else x >= min && x <= max)
  if (!ok) {
    bounds <- c(
      if (min > -Inf) paste(if (open) "above" else "of at least", format(min)),
      if (max < Inf) paste(if (open) "below" else "of at most", format(max))
    )
    must <- paste(c("be a finite number", paste(bounds, collapse = " and ")),
                  collapse = if (length(bounds)) " " else "")
    abort_arg(arg, must, describe(x))
  }
  as.double(x)
}

# One of `choices`, or an unambiguous beginning of one; a vector equal to all of
# them means the first. As in match.arg().
check_choice <- function(x, arg, choices) {
  if (identical(x, choices)) return(choices[1])
  at <- if (is.character(x) && length(x) == 1 && !is.na(x)) pmatch(x, choices) else NA
  if (is.na(at)) {
    abort_arg(arg, paste("be one of", paste(dQuote(choices, FALSE), collapse = ", ")),
              describe(x))
  }
  choices[at]
}

check_string <- function(x, arg) {
  if (!is.character(x) || length(x) != 1 || is.na(x) || !nzchar(x)) {
    abort_arg(arg, "be a single character string", describe(x))
  }
  x
}

# Unused arguments in `...` are mistakes (a misspelt name, or that of another package): say
# which, and which of the caller's arguments may be meant.
check_dots_empty <- function(...) {
  if (...length() > 0) {
    given <- names(list(...))
    given <- if (is.null(given)) rep("", ...length()) else given
    meant <- meant_arguments(given, names(formals(sys.function(sys.parent()))))
    given[given == ""] <- "an unnamed one"
    abort("Unused argument", if (length(given) > 1) "s", " in `...`: ",
          paste(given, collapse = ", "), ".",
          if (length(meant)) paste0(" Did you mean ", paste0("`", meant, "`", collapse = ", "),
                                    "?"))
  }
}

# What other packages call the arguments of this one.
SYNONYMS <- c(lr = "learning_rate", rate = "learning_rate", step_size = "learning_rate",
              latent_dim = "k", latent_dims = "k", latent = "k", n_latent = "k", zdim = "k",
              z_dim = "k", ncomp = "k", n_comp = "k", n_components = "k", ncp = "k",
              npcs = "k", nPcs = "k", rank = "k", rank. = "k", q = "k", ndim = "k",
              hidden = "encoder", hidden_units = "encoder", hidden_layers = "encoder",
              layers = "encoder", units = "encoder", kl_weight = "beta",
              epoch = "epochs", n_epochs = "epochs", nepochs = "epochs", iter = "epochs",
              batch = "batch_size", batchsize = "batch_size", bs = "batch_size",
              scale. = "scale", retx = "keep_data", sigma = "sigma2", noise_variance = "sigma2",
              validation_split = "validation", act = "activation", method = "optimizer",
              newx = "newdata", data = "newdata", n = "nsim")

# Of the arguments that there are, those that are written nearly like `given` or that
# other packages call so.
meant_arguments <- function(given, known) {
  known <- setdiff(known, "...")
  meant <- vapply(given[given != ""], function(name) {
    if (name %in% names(SYNONYMS) && SYNONYMS[[name]] %in% known) return(SYNONYMS[[name]])
    far <- utils::adist(tolower(name), tolower(known))[1, ]
    if (length(far) && min(far) <= min(2, nchar(name) / 3)) known[which.min(far)] else NA_character_
  }, "")
  unique(meant[!is.na(meant)])
}
