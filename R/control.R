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
                       start = NULL, progress = interactive()) {
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
#' Collects and checks what governs the optimisation of [linear_vae()] and
#' [linear_ae()]. `tol`, `maxit`, `accelerate` and `rotate` are for the
#' deterministic optimisers, `epochs`, `batch_size`, `learning_rate` and
#' `samples` for `"adam"`.
#'
#' @details
#' Data are worked on in units in which the largest deviation from their mean is
#' between 1 and 2, so that `tol` and `learning_rate` mean the same whatever the
#' units of the data are.
#'
#' @param epochs number of epochs of `"adam"`, each a pass over all rows. With
#'   the full batch an epoch is one step.
#' @param batch_size rows a step, or `NULL` for all of them. Batches are drawn
#'   without replacement, in a new order each epoch.
#' @param learning_rate Adam's step size, above 0.
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
#' @param progress show a progress bar (needs the cli package). By default
#'   only in interactive sessions.
#' @return A list of class `train_control`.
#' @references Henderson, N. C. and Varadhan, R. (2019). Damped Anderson
#'   acceleration with restarts and monotonicity control for accelerating EM and
#'   EM-like algorithms. *Journal of Computational and Graphical Statistics* 28,
#'   834--846. \doi{10.1080/10618600.2019.1594835}
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
train_control <- function(epochs = 1000, batch_size = NULL, learning_rate = 1e-3,
                          samples = 1, tol = 1e-9, maxit = 2000,
                          accelerate = c("anderson", "squarem", "none"),
                          rotate = TRUE, progress = interactive()) {
  structure(
    list(
      epochs = check_count(epochs, "epochs"),
      batch_size = if (!is.null(batch_size)) check_count(batch_size, "batch_size"),
      learning_rate = check_number(learning_rate, "learning_rate", 0, open = TRUE),
      samples = check_count(samples, "samples"),
      tol = check_number(tol, "tol", 0, open = TRUE),
      maxit = check_count(maxit, "maxit"),
      accelerate = check_choice(accelerate, "accelerate",
                                c("anderson", "squarem", "none")),
      rotate = check_flag(rotate, "rotate"),
      progress = check_flag(progress, "progress")
    ),
    class = "train_control"
  )
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
  cat("  adam: ", x$epochs, " epochs of ",
      if (is.null(x$batch_size)) "the full batch" else paste("batches of", x$batch_size),
      ", learning rate ", format(x$learning_rate), ", ", x$samples,
      if (x$samples == 1) " sample" else " samples", "\n", sep = "")
  invisible(x)
}
