#' Settings of the EM algorithm
#'
#' Collects and checks what governs the iterations of [ppca()] when it fits by
#' EM.
#'
#' @param tol stop once an iteration adds less than this to the
#'   log-likelihood, in nats per observation. A number above 0. Nats do not
#'   depend on the units of the data, so neither does the rule.
#' @param maxit largest number of EM maps (passes over the data).
#' @param accelerate `TRUE` for the accelerated iteration, `FALSE` for plain
#'   EM, which is slower and is there for comparison. On complete data the
#'   accelerated iteration maximises the likelihood over the span of the
#'   current directions, the EM step and the previous step; with missing cells
#'   it is SQUAREM (Varadhan and Roland 2008) on a parameter-expanded EM map.
#'   Neither ever lowers the likelihood.
#' @param start `NULL`, or a fitted [ppca()] model with the same number of
#'   features and latent dimensions to start from.
#' @param progress show a progress bar (needs the cli package). By default
#'   only in interactive sessions.
#' @param ... unused.
#' @return A list of class `em_control`.
#' @references Varadhan, R. and Roland, C. (2008). Simple and globally
#'   convergent methods for accelerating the convergence of any EM algorithm.
#'   *Scandinavian Journal of Statistics* 35, 335--353.
#'   \doi{10.1111/j.1467-9469.2007.00585.x}
#' @examples
#' fit <- ppca(mnist1000$x / 255, k = 3, method = "em",
#'             control = em_control(tol = 1e-6, maxit = 200))
#' fit$iterations
#' @export
em_control <- function(tol = 1e-8, maxit = 1000, accelerate = TRUE,
                       start = NULL, progress = interactive(), ...) {
  check_dots_empty(...)
  if (!is.null(start) && !inherits(start, "ppca")) {
    abort_arg("start", "be NULL or a fitted `ppca()` model", describe(start))
  }
  structure(
    list(
      tol = check_number(tol, "tol", min = 0, open = TRUE),
      maxit = check_count(maxit, "maxit"),
      accelerate = check_flag(accelerate, "accelerate"),
      start = start,
      progress = check_flag(progress, "progress")
    ),
    class = "em_control"
  )
}

check_control <- function(control) {
  if (!inherits(control, "em_control")) {
    abort_arg("control", "come from `em_control()`", describe(control))
  }
  control
}

#' @export
print.em_control <- function(x, ...) {
  cat("EM settings:", if (x$accelerate) "accelerated," else "plain,",
      "tol", format(x$tol), "nats, at most", x$maxit, "maps\n")
  invisible(x)
}

#' Settings of training
#'
#' Collects and checks what governs the optimisation of [linear_vae()], [linear_ae()] and
#' [vae()]. `tol`, `maxit`, `accelerate` and `rotate` are for the deterministic
#' optimisers; `epochs`, `batch_size`, `learning_rate` and `samples` for gradient steps
#' (`"adam"`, `"sgd"`); and those from `momentum` to `callback`, but for `threads`, for
#' [vae()] alone.
#'
#' @details
#' Data are worked on in units of their own, powers of two: in linear models the largest
#' deviation from the mean is between 1 and 2, in [vae()] the root mean square is.
#' So `tol` and `learning_rate` mean the same whatever the units of the data are.
#'
#' What is `NULL` is chosen by the model. [linear_vae()] and [linear_ae()]: 1,000 epochs of
#' the full batch at a rate of 0.001. [vae()]: batches of 100, and as many epochs as
#' its Details say, at a rate that falls from 0.001 along half a cosine. [linear_vae()] and
#' [vae()] take the three as arguments of their own, too, which count for more.
#'
#' @param epochs number of epochs of gradient steps, each a pass over all rows, or `NULL`.
#'   With the full batch an epoch is one step.
#' @param batch_size rows a step, `Inf` for all of them, or `NULL`. Batches are drawn
#'   without replacement, in a new order each epoch.
#' @param learning_rate size of a step, above 0: a number, or one for each epoch, the
#'   last of which is kept from then on; see [schedule_cosine()] and [schedule_step()]. Or
#'   `NULL`. In [vae()] it rises to its value over the first 100 steps.
#' @param samples reparameterised samples of z for each observation and step,
#'   for the stochastic ELBO.
#' @param tol `"em"` and `"lbfgs"` stop once a step raises the objective by less
#'   than `tol` times its absolute value (or times 1, if that is larger).
#' @param maxit largest number of rounds of coordinate ascent (`"em"`), or of
#'   evaluations by L-BFGS.
#' @param accelerate for `"em"`: `"anderson"` extrapolates from the last ten
#'   rounds (Henderson and Varadhan 2019), `"squarem"` from three (Varadhan and
#'   Roland 2008), `"none"` is coordinate ascent alone. An extrapolation that
#'   would lower the objective is dropped, so that each is monotone.
#' @param rotate for `"em"`: rotate the latent space in each round so that W'W is
#'   diagonal, which leaves the likelihood alone and never lowers the ELBO.
#'   `FALSE` shows how slow coordinate ascent is without it, near the saddle
#'   points of Theorem 1 of Lucas et al. (2019).
#' @param momentum of `"sgd"`, from 0 to below 1.
#' @param clip `Inf`, or the largest norm of a gradient: longer ones are shortened to it.
#' @param weight_decay each step multiplies the weights of the layers (not the biases) by
#'   1 - rate `weight_decay`, with the learning rate of the step (Loshchilov and Hutter
#'   2019); 0 for none.
#' @param sigma2_rate where [vae()] learns `sigma2` by gradient: its learning rate as a
#'   multiple of `learning_rate`. Less than 1 keeps `sigma2` from following the large errors
#'   of the first epochs.
#' @param patience `NULL`, or after how many epochs without a better ELBO than that of the
#'   epochs before to stop: that of the validation data or, where there are none, of
#'   training. Epochs before `beta` has its last value do not count. The best weights, which with
#'   validation data may be those of the start, are then restored, also where training ended
#'   otherwise. With validation data and without
#'   `epochs` `NULL` is 10 epochs or, where that is more, 300 steps.
#' @param checkpoint `NULL`, or the name of a file to which the fit so far is written
#'   every `every` epochs and at the end, for `vae(resume = )`. A process that is killed
#'   at any moment leaves the previous or the new one, whole. While [vae()] looks for the
#'   number of epochs, where it is not given, none is written and no callback is called.
#' @param every epochs from checkpoint to checkpoint.
#' @param callback `NULL`, or a function of (epoch, metrics, fit), or a list of such: it
#'   is called after each epoch with its number, its row of the history as a list, and
#'   the fit so far. If one returns `FALSE`, training stops; so it does, with a warning,
#'   if one fails.
#' @param threads `NULL` for what `options(elbo.threads = )` says, by default two; or a
#'   number of threads. The fit does not depend on it.
#' @param progress show a progress bar (needs the cli package). By default
#'   only in interactive sessions.
#' @param ... unused.
#' @return A list of class `train_control`.
#' @references Henderson, N. C. and Varadhan, R. (2019). Damped Anderson
#'   acceleration with restarts and monotonicity control for accelerating EM and
#'   EM-like algorithms. *Journal of Computational and Graphical Statistics* 28,
#'   834--846. \doi{10.1080/10618600.2019.1594835}
#'
#'   Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization.
#'   *International Conference on Learning Representations*.
#'   \doi{10.48550/arXiv.1711.05101}
#'
#'   Varadhan, R. and Roland, C. (2008). Simple and globally convergent methods
#'   for accelerating the convergence of any EM algorithm. *Scandinavian Journal
#'   of Statistics* 35, 335--353. \doi{10.1111/j.1467-9469.2007.00585.x}
#' @examples
#' x <- mnist1000$x / 255
#' plain <- linear_vae(x, k = 5, control = train_control(accelerate = "none",
#'                                                       maxit = 2000))
#' plain$iterations
#' linear_vae(x, k = 5)$iterations
#' @export
train_control <- function(epochs = NULL, batch_size = NULL, learning_rate = NULL,
                          samples = 1, tol = 1e-9, maxit = 2000,
                          accelerate = c("anderson", "squarem", "none"),
                          rotate = TRUE, momentum = 0.9, clip = Inf, weight_decay = 0,
                          sigma2_rate = 1, patience = NULL, checkpoint = NULL, every = 10,
                          callback = NULL, threads = NULL, progress = interactive(), ...) {
  check_dots_empty(...)
  structure(
    list(
      epochs = if (!is.null(epochs)) check_count(epochs, "epochs"),
      batch_size = check_batch_size(batch_size),
      learning_rate = check_learning_rate(learning_rate),
      samples = check_count(samples, "samples"),
      tol = check_number(tol, "tol", 0, open = TRUE),
      maxit = check_count(maxit, "maxit"),
      accelerate = check_choice(accelerate, "accelerate",
                                c("anderson", "squarem", "none")),
      rotate = check_flag(rotate, "rotate"),
      momentum = check_momentum(momentum),
      clip = if (identical(clip, Inf)) Inf else check_number(clip, "clip", 0, open = TRUE),
      weight_decay = check_decay(weight_decay, learning_rate),
      sigma2_rate = check_number(sigma2_rate, "sigma2_rate", 0, open = TRUE),
      patience = if (!is.null(patience)) check_count(patience, "patience"),
      checkpoint = check_checkpoint_path(checkpoint),
      every = check_count(every, "every"),
      callback = check_callback(callback),
      threads = if (!is.null(threads)) check_count(threads, "threads", 1, 64),
      progress = check_flag(progress, "progress")
    ),
    class = "train_control"
  )
}

# What a linear model takes for settings that are NULL: 1,000 steps over all rows.
linear_defaults <- function(control) {
  if (is.null(control$epochs)) control$epochs <- 1000L
  if (identical(control$batch_size, Inf)) control["batch_size"] <- list(NULL)
  if (is.null(control$learning_rate)) control$learning_rate <- 1e-3
  control
}

# What vae() takes for `n` rows: batches of 100, 150 epochs or, where that is more, as many
# as make 2,000 steps, but no more than 50,000 steps; a rate that falls along half a cosine;
# and where validation data can tell and epochs are not given, the patience of 10 epochs or
# of 300 steps.
training_defaults <- function(control, n, validated) {
  batch <- if (is.null(control$batch_size)) 100 else control$batch_size
  control$batch_size <- as.integer(min(batch, n))
  steps <- ceiling(n / control$batch_size)             # of an epoch
  if (is.null(control$epochs)) {
    control$epochs <- as.integer(ceiling(max(min(150, 5e4 / steps), 2000 / steps)))
    if (validated && is.null(control$patience)) {
      control$patience <- default_patience(steps)
    }
  }
  if (is.null(control$learning_rate)) {
    control$learning_rate <- schedule_cosine(control$epochs, 1e-3)
  }
  control
}

# In epochs of so many steps.
default_patience <- function(steps) as.integer(max(10, ceiling(300 / steps)))

# A number of rows, Inf for all, or NULL.
check_batch_size <- function(x) {
  if (is.null(x) || identical(x, Inf)) return(x)
  check_count(x, "batch_size")
}

check_learning_rate <- function(x) {
  if (is.null(x)) return(NULL)
  check_schedule(x, "learning_rate", "a positive number", zero = length(x) > 1)  # in the end
}

# Arguments that a model takes beside `control`, where they are given.
with_direct <- function(control, direct) {
  check <- list(epochs = function(x) check_count(x, "epochs"), batch_size = check_batch_size,
                learning_rate = check_learning_rate)
  for (name in names(direct)) {
    if (!is.null(direct[[name]])) control[[name]] <- check[[name]](direct[[name]])
  }
  control
}

# `number` says what one has to be: above 0, or with `zero` at least 0.
check_schedule <- function(x, arg, number, unit = "epoch", zero = FALSE, most = Inf) {
  ok <- is.numeric(x) && !is.object(x) && is.null(dim(x)) && length(x) >= 1 &&
    all(is.finite(x)) && all(x > 0 | zero & x == 0) && all(x <= most)
  if (!ok) abort_arg(arg, sprintf("be %s, or one for each %s", number, unit), describe(x))
  as.double(x)
}

check_momentum <- function(x) {
  if (!is_number(x) || x < 0 || x >= 1) {
    abort_arg("momentum", "be a number from 0 to below 1", describe(x))
  }
  as.double(x)
}

check_checkpoint_path <- function(path) {
  if (is.null(path)) return(NULL)
  path <- check_string(path, "checkpoint")
  if (!dir.exists(dirname(path)) || dir.exists(path)) {
    abort_arg("checkpoint", "name a file in a directory that exists", dQuote(path, FALSE))
  }
  file.path(normalizePath(dirname(path)), basename(path))
}

check_decay <- function(x, learning_rate) {
  x <- check_number(x, "weight_decay", 0)
  most <- 1 / max(if (is.null(learning_rate)) 1e-3 else learning_rate)
  if (x > most) {
    abort_arg("weight_decay",
              sprintf("be at most 1 / `learning_rate`, %s, where weights become 0 at each step",
                      format(most)), x)
  }
  x
}

check_callback <- function(x) {
  all <- if (is.function(x)) list(x) else x
  if (!is.null(x) && !(is.list(all) && all(vapply(all, takes_three, logical(1))))) {
    abort_arg("callback", "be NULL, a function of (epoch, metrics, fit) or a list of such",
              describe(x))
  }
  all
}

# A function that three arguments may be given to by position.
takes_three <- function(f) {
  if (!is.function(f)) return(FALSE)
  named <- names(formals(args(f)))
  is.null(args(f)) || "..." %in% named || length(named) >= 3
}

# Sets the number of threads for the products of a fit; returns the options to put back.
use_threads <- function(control) {
  if (!is.null(control$threads)) options(elbo.threads = control$threads)
}

check_train_control <- function(control) {
  if (!inherits(control, "train_control")) {
    abort_arg("control", "come from `train_control()`", describe(control))
  }
  control
}

#' @export
print.train_control <- function(x, ...) {
  cat("Training settings\n")
  cat("  em, lbfgs: tol ", format(x$tol), ", at most ", x$maxit, " iterations; em ",
      switch(x$accelerate, none = "not accelerated",
             paste("accelerated by", x$accelerate)),
      if (!x$rotate) ", not rotated", "\n", sep = "")
  rate <- vapply(x$learning_rate[c(1, length(x$learning_rate))], format, "")
  chosen <- function(value, text) if (length(value)) text else "by the model"
  cat("  adam, sgd: epochs ", chosen(x$epochs, x$epochs), ", batch size ",
      chosen(x$batch_size, if (identical(x$batch_size, Inf)) "all rows" else x$batch_size),
      ", learning rate ",
      chosen(rate, paste(unique(rate), collapse = " to ")), ", ",
      x$samples, if (x$samples == 1) " sample" else " samples", "\n", sep = "")
  more <- c(if (x$clip < Inf) paste("gradients clipped at", format(x$clip)),
            if (x$weight_decay > 0) paste("weight decay", format(x$weight_decay)),
            if (x$sigma2_rate != 1) {
              sprintf("sigma2 at %s of the learning rate", format(x$sigma2_rate))
            },
            if (!is.null(x$patience)) paste("patience", x$patience),
            if (!is.null(x$checkpoint)) {
              sprintf("checkpoint every %d epochs in %s", x$every, dQuote(x$checkpoint, FALSE))
            })
  if (length(more)) cat("  vae: ", paste(more, collapse = ", "), "\n", sep = "")
  invisible(x)
}
