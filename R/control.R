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
