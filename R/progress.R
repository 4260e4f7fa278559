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
