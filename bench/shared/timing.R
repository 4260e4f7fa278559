# What the benchmarks share: where MNIST is, timing, and the table of results. They are
# run from the directory of the project, `Rscript bench/NAME.R [directory of MNIST]`.

args <- commandArgs(trailingOnly = TRUE)
mnist <- c(args, Sys.getenv("ELBO_MNIST"), "../shared/data/mnist")
mnist <- Find(function(d) nzchar(d) && dir.exists(d), mnist)
out <- "bench/results"
dir.create(out, recursive = TRUE, showWarnings = FALSE)

seconds <- function(expr, times = 3) {
  expr <- substitute(expr)
  env <- parent.frame()
  min(vapply(seq_len(times), function(i) {
    gc(FALSE)
    system.time(eval(expr, env), gcFirst = FALSE)[["elapsed"]]
  }, 0))
}

# Largest growth of R's heap while expr runs, in MB.
megabytes <- function(expr) {
  before <- sum(gc(reset = TRUE)[, 2])
  force(expr)
  sum(gc()[, 6]) - before
}

machine <- function() {
  model <- tryCatch({
    lines <- readLines("/proc/cpuinfo")
    sub(".*: ", "", grep("model name", lines, value = TRUE)[1])
  }, error = function(e) Sys.info()[["machine"]])
  sprintf("%s, %d cores, R %s, BLAS %s", model, parallel::detectCores(),
          getRversion(), basename(La_library()))
}

rows <- list()
report <- function(case, what, value, target = NA, unit = "s") {
  cat(sprintf("  %-44s %9.3g %s%s\n", what, value, unit,
              if (is.na(target)) "" else sprintf("  (target %s)", target)))
  rows[[length(rows) + 1]] <<- data.frame(case, what, value, unit,
                                          target = as.character(target))
}

save_report <- function(name) {
  table <- do.call(rbind, rows)
  table$machine <- machine()
  write.csv(table, file.path(out, paste0(name, ".csv")), row.names = FALSE)
}

cat("Machine:", machine(), "\n")
