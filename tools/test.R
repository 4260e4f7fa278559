# Usage: Rscript tools/test.R COUNT_FILE
# Runs tests/testthat on the installed package and writes "passed failed skipped"
# to COUNT_FILE. Expectations are counted; an error or a warning that no test
# expected is a failure.
count_file <- commandArgs(TRUE)[1]
write_counts <- function(passed, failed, skipped) {
  writeLines(paste(passed, failed, skipped), count_file)
}

files <- list.files("tests/testthat", pattern = "^test.*\\.[rR]$")
if (length(files) == 0L) {
  cat("No R tests.\n")
  write_counts(0, 0, 0)
  quit(status = 0L)
}

Sys.setenv(
  NOT_CRAN = "true", # run the long tests too
  TESTTHAT_MAX_FAILS = "Inf" # a failure must not hide those after it
)
results <- testthat::test_dir(
  "tests/testthat",
  package = "elbo",
  load_package = "installed",
  reporter = testthat::ProgressReporter$new(show_praise = FALSE, update_interval = Inf),
  stop_on_failure = FALSE
)

kind <- unlist(lapply(results, function(test) {
  vapply(test$results, function(e) class(e)[1L], "")
}))
failed <- sum(kind %in% paste0("expectation_", c("failure", "error", "warning")))
write_counts(
  passed = sum(kind == "expectation_success"),
  failed = failed,
  skipped = sum(kind == "expectation_skip")
)
quit(status = as.integer(failed > 0L))
