# update(): the call of a fit, changed and evaluated anew with the fit's data.

# The arguments that update() is to change, not evaluated. A formula may come first and
# without a name, as in stats::update().
changed_arguments <- function(object, dots, env) {
  dots <- as.list(dots)
  given <- if (is.null(names(dots))) rep("", length(dots)) else names(dots)
  unnamed <- which(given == "")
  if (!length(unnamed)) return(dots)
  formula <- if (identical(unnamed, 1L) && !"x" %in% given) eval(dots[[1]], env)
  if (!inherits(formula, "formula") || is.null(object$terms)) {
    abort("Arguments that `update()` is to change must have names, such as `k = 3`",
          if (!is.null(object$terms)) "; only a formula, the first, needs none", ".")
  }
  dots[[1]] <- stats::update.formula(stats::formula(object$terms), formula)
  environment(dots[[1]]) <- environment(formula)
  names(dots) <- replace(given, 1, "x")
  dots
}

# Limits of the iteration are given beside `control` or in it.
check_limits_once <- function(changed, limits) {
  given <- names(limits)[!vapply(limits, is.null, NA)]
  if ("control" %in% names(changed) && length(given)) {
    abort_arg(given[1], "be set in `control` where that is given too")
  }
}

# The call of train_control() that a fit shows when the settings in `asked` were changed:
# the user's where there is one, otherwise one that makes the fit's settings.
shown_control <- function(object, fitter, asked) {
  call <- object$call$control
  if (is.null(call)) call <- formals(fitter)$control
  if (is_literal_control(call)) {
    call <- match.call(train_control, call)
  } else {
    usual <- unclass(train_control())
    given <- if (is.null(object$given)) object$control else object$given
    given <- given[intersect(names(given), names(usual))]
    differs <- !mapply(identical, given, usual[names(given)])
    call <- as.call(c(quote(train_control), given[differs]))
  }
  call[names(asked)] <- asked
  call
}

# Whether `call` is one of train_control() that says all: what dots held is not known.
is_literal_control <- function(call) {
  makers <- list(quote(train_control), quote(elbo::train_control))
  is.call(call) && any(vapply(makers, identical, NA, call[[1]])) &&
    !any(grepl("^[.][.]([.]|[0-9]+)$", all.names(call)))
}

# Settings that a model takes beside `control`.
DIRECT <- c("epochs", "batch_size", "learning_rate")

# What the call of a fit shows for the settings in `asked` that were changed: arguments of
# their own where the call has them so or gives no `control`, else the call of
# train_control().
shown_settings <- function(object, fitter, asked) {
  if (!length(asked)) return(NULL)
  given <- names(object$call)
  own <- names(asked) %in% intersect(DIRECT, if ("control" %in% given) given else DIRECT)
  c(asked[own], if (!all(own)) list(control = shown_control(object, fitter, asked[!own])))
}

# The value of an argument of the fit's call, once more.
found_again <- function(expression, arg, env) {
  tryCatch(eval(expression, env), error = function(e) {
    abort_arg(arg, paste0("be given: `", paste(deparse(expression, nlines = 1), collapse = ""),
                          "`, which the fit was made with, is not found any more"))
  })
}

# The formula of a fit's call, or where its name means something else by now the one that
# its terms are.
formula_again <- function(object, call, env) {
  found <- tryCatch(eval(call$x, env), error = function(e) NULL)
  if (inherits(found, "formula")) return(found)
  terms <- object$terms
  constants <- setdiff(all.vars(terms), attr(terms, "columns"))
  if (length(constants)) abort_arg("x", "be given: the formula of the fit is not found any more")
  stats::formula(terms)
}

# The call of `object` with the arguments in `changed`, evaluated in `env`, and
# `control`, for which the call of the result shows what shown_settings() says.
# Arguments that stay are passed by value: the call may have been made where its
# names meant something. They get names, so that no call grows large.
refit <- function(object, changed, fitter, control, shown, env) {
  call <- object$call
  env <- new.env(parent = env)
  keep <- object$arguments[setdiff(names(object$arguments), names(changed))]
  visible <- call
  for (name in names(changed)) visible[name] <- call[name] <- changed[name]
  for (name in names(shown)) visible[[name]] <- shown[[name]]
  other <- is.null(shown) && "control" %in% names(changed)
  keep$control <- if (other) eval(changed$control, env) else control
  # settings that the call gives beside `control` are in it by now
  if (!other) call[setdiff(DIRECT, names(changed))] <- NULL
  kept <- !is.null(object$x) && !any(c("x", "data") %in% names(changed))
  if (!is.null(object$terms) && !kept && !"x" %in% names(changed)) {
    call$x <- formula_again(object, call, env)
  }
  if (kept) {
    keep$x <- object$x
    call$data <- NULL
  } else if ("x" %in% names(changed)) {
    if (!inherits(eval(call$x, env), "formula")) call$data <- visible$data <- NULL
  } else if (!"data" %in% names(changed)) {
    tryCatch(eval(data_source(object, call), env),
             error = function(e) abort_changed(object, "x"))
  }
  again <- setdiff(intersect(c("validation", "condition"), names(call)),
                   c(names(keep), names(changed)))
  keep[again] <- lapply(again, function(name) found_again(call[[name]], name, env))
  # what is saved with the fit while it is trained
  if (inherits(keep$control, "train_control") && !is.null(keep$control$checkpoint)) {
    keep$control$shown <- visible
  }
  for (name in names(keep)) {
    assign(paste0(".elbo_", name), keep[[name]], envir = env)
    call[[name]] <- as.name(paste0(".elbo_", name))
  }
  call[[1]] <- fitter
  fit <- eval(call, env)
  fit$call <- visible
  if (kept) fit$terms <- object$terms
  fit
}

# update() of a model trained by train_control(): goes on where only the limits of
# the iteration change.
update_training <- function(object, changed, fitter, epochs, maxit, tol, env) {
  check_limits_once(changed, list(epochs = epochs, maxit = maxit, tol = tol))
  goes_on <- object$optimizer %in% c("em", "lbfgs", "adam") && !length(changed)
  asked <- list(
    epochs = if (!is.null(epochs)) check_count(epochs, "epochs"),
    maxit = if (!is.null(maxit)) check_count(maxit, "maxit"),
    tol = if (!is.null(tol)) check_number(tol, "tol", min = 0, open = TRUE)
  )
  asked <- asked[!vapply(asked, is.null, logical(1))]
  limit <- if (object$optimizer == "adam") "epochs" else "maxit"
  settings <- object$control
  settings[names(asked)] <- asked
  control <- do.call(train_control, settings)
  if (goes_on && length(asked) && object$iterations >= control[[limit]]) return(object)
  shown <- shown_settings(object, fitter, asked)
  if (goes_on && length(asked)) control$resume <- object
  refit(object, changed, fitter, control, shown, env)
}
