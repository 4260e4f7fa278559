# Progress bars come from cli, where it is installed; without it, and outside
# interactive sessions, long fits are silent.

progress_start <- function(show, total, label) {
  if (!show || !requireNamespace("cli", quietly = TRUE)) return(NULL)
  cli::cli_progress_bar(label, total = total, .auto_close = FALSE)
}

progress_update <- function(bar, done) {
  if (!is.null(bar)) cli::cli_progress_update(id = bar, set = done)
}

progress_end <- function(bar) {
  if (!is.null(bar)) cli::cli_progress_done(id = bar)
}

# ---- how long a fit took -------------------------------------------------

clock <- function() proc.time()[["elapsed"]]

# Since `began`, and what the fit that this one goes on from took.
seconds_since <- function(began, before = NULL) {
  clock() - began + if (is.null(before$seconds)) 0 else before$seconds
}

# Of a whole fit; a deep VAE has them in its history, epoch by epoch.
fit_seconds <- function(object) {
  seconds <- if (inherits(object, "vae")) {
    sum(object$history$seconds, object$search$history$seconds)
  } else object$seconds
  if (is.null(seconds)) NA_real_ else seconds
}
