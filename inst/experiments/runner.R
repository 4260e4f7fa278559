# Experiments that take hours, row by row. An experiment is a name, a recipe (a list of
# settings), a function of the recipe that gives its jobs, and a function that runs one
# job. A job is a list: `id`, `seed`, and all settings that decide what comes out. Its
# results are rows of one or more CSV files, in which each row holds the job's settings,
# so that
# - a job whose row is there, with the same settings, is not run again;
# - rows made with other settings stay beside it, see stored();
# - two processes may run the same script: each job is taken by one of them;
# - a job that was stopped goes on from its last checkpoint.
# The words on the command line are ids (or how they begin) and settings, as in
#   Rscript table1.R learned-1 fixed epochs=20 threads=1
# and `list` to see the jobs without running any. Those in ELBO_SETTINGS come before them.

library(elbo)

# Where results are kept: ELBO_RESULTS, or the package's own folder in a checkout.
results_dir <- function() {
  given <- Sys.getenv("ELBO_RESULTS")
  if (nzchar(given)) given else
    if (dir.exists("inst/extdata")) "inst/extdata/results" else "results"
}

# Where checkpoints, fits, locks and pictures are kept.
scratch_dir <- function() Sys.getenv("ELBO_SCRATCH", file.path("build", "experiments"))

say <- function(...) {
  cat(format(Sys.time(), "%H:%M:%S "), sprintf(...), "\n", sep = "")
  utils::flush.console()
}

# ---- running jobs --------------------------------------------------------

# `run` gets a job and the names of its files, and returns a list of data frames, each
# for the CSV file of that name. Returns what became of each job.
run_experiment <- function(name, recipe, jobs, run, words = given_words()) {
  asked <- read_words(words, recipe)
  all <- jobs(asked$recipe)
  names(all) <- vapply(all, function(job) job$id, "")
  all <- all[chosen(names(all), asked$ids)]
  if (asked$list) return(list_jobs(name, all))
  before <- if (!is.null(asked$threads)) options(elbo.threads = asked$threads)
  on.exit(options(before))
  invisible(vapply(all, function(job) run_job(name, job, run), ""))
}

given_words <- function() {
  c(strsplit(trimws(Sys.getenv("ELBO_SETTINGS")), "[[:space:]]+")[[1]], commandArgs(TRUE))
}

# The recipe with the settings among the words, each of the type that it has there.
read_words <- function(words, recipe) {
  is_setting <- grepl("=", words, fixed = TRUE)
  asked <- list(ids = setdiff(words[!is_setting], "list"), list = "list" %in% words)
  for (word in words[is_setting]) {
    name <- sub("=.*", "", word)
    value <- sub("[^=]*=", "", word)
    if (name == "threads") {
      asked$threads <- as.integer(value)
    } else if (!name %in% names(recipe)) {
      stop("There is no setting `", name, "`. There are: ",
           paste(c(names(recipe), "threads"), collapse = ", "), ".")
    } else if (is.numeric(recipe[[name]])) {
      recipe[[name]] <- suppressWarnings(as.numeric(value))
      if (is.na(recipe[[name]])) stop("`", name, "` must be a number, not ", value, ".")
    } else {
      recipe[[name]] <- value
    }
  }
  asked$recipe <- recipe
  asked
}

# Ids that are given, or whose first parts are: "learned-1" also stands for
# "learned-1-seed2", but not for "learned-10".
chosen <- function(ids, given) {
  if (!length(given)) return(rep(TRUE, length(ids)))
  fits <- vapply(given, function(word) ids == word | startsWith(ids, paste0(word, "-")),
                 logical(length(ids)))
  fits <- matrix(fits, length(ids))
  if (any(colSums(fits) == 0)) {
    stop("There is no job ", given[colSums(fits) == 0][1], ". There are: ",
         paste(ids, collapse = ", "), ".")
  }
  rowSums(fits) > 0
}

run_job <- function(name, job, run) {
  label <- paste(name, job$id)
  if (is_stored(name, job)) {
    say("%s: stored already, with these settings", label)
    return("stored")
  }
  files <- job_files(name, job)
  if (!take_lock(files$lock)) {
    say("%s: another process runs it", label)
    return("taken")
  }
  on.exit(release_lock(files$lock))
  if (is_stored(name, job)) return("stored")          # meanwhile, by that process
  say("%s: started", label)
  out <- run(job, files)
  # The rows of the experiment's own file come last: with them the job counts as done.
  for (table in c(setdiff(names(out), name), name)) store_rows(table, job, out[[table]])
  unlink(files$checkpoint)
  say("%s: done", label)
  "run"
}

list_jobs <- function(name, all) {
  state <- vapply(all, function(job) {
    files <- job_files(name, job)
    owner <- lock_owner(files$lock)
    if (is_stored(name, job)) "stored" else
      if (!is.na(owner) && is_running(owner)) paste("running, process", owner) else
        if (file.exists(files$checkpoint)) "stopped at a checkpoint" else "to do"
  }, "")
  print(data.frame(id = names(all), state = unname(state)), row.names = FALSE)
  invisible(state)
}

# The files of a job in the scratch folder.
job_files <- function(name, job) {
  dir <- file.path(scratch_dir(), name)
  dir.create(dir, recursive = TRUE, showWarnings = FALSE)
  stem <- file.path(dir, paste0(job$id, "-", settings_key(job)))
  list(checkpoint = paste0(stem, ".checkpoint"), fit = paste0(stem, ".rds"),
       records = paste0(stem, ".csv"), lock = paste0(stem, ".lock"))
}

# Eight digits that tell the settings of a job from others.
settings_key <- function(job) {
  text <- tempfile()
  on.exit(unlink(text))
  con <- file(text, "wb")                              # the same ends of lines everywhere
  writeLines(paste(names(job), vapply(job, as_text, ""), sep = "="), con)
  close(con)
  paste0("s", substr(tools::md5sum(text), 1, 8))       # never read as a number
}

# ---- locks ---------------------------------------------------------------

# A lock is a folder that holds the number of the process that has it. It gets its
# name with its content in it, and a folder cannot be renamed to one that is not empty:
# so one process gets it, and none ever sees it without a number.
take_lock <- function(path) {
  repeat {
    if (create_lock(path)) return(TRUE)
    owner <- lock_owner(path)
    if (is.na(owner)) next                            # it has just been released
    if (is_running(owner)) return(FALSE)
    if (!remove_stale(path, owner)) return(FALSE)
  }
}

create_lock <- function(path) {
  mine <- tempfile(paste0(basename(path), "-"), dirname(path))
  dir.create(mine)
  on.exit(unlink(mine, recursive = TRUE))
  writeLines(as.character(Sys.getpid()), file.path(mine, "pid"))
  suppressWarnings(file.rename(mine, path))
}

lock_owner <- function(path) {
  suppressWarnings(tryCatch(as.integer(readLines(file.path(path, "pid"))[1]),
                            error = function(e) NA_integer_))
}

# Signal 0 asks whether the process is there. (On Windows it would end it.)
is_running <- function(pid) {
  pid == Sys.getpid() || .Platform$OS.type == "windows" || tools::pskill(pid, 0)
}

# Of several processes that find the lock of a dead one, one may remove it, and only
# while it is still that one's.
remove_stale <- function(path, owner) {
  claim <- paste0(path, "-of-", owner)
  if (!dir.create(claim, showWarnings = FALSE)) return(FALSE)
  on.exit(unlink(claim, recursive = TRUE))
  if (identical(lock_owner(path), owner)) unlink(path, recursive = TRUE)
  TRUE
}

release_lock <- function(path) unlink(path, recursive = TRUE)

# ---- stored rows ---------------------------------------------------------

result_file <- function(name) file.path(results_dir(), paste0(name, ".csv"))

# What says how a row came about and does not decide what is in it.
provenance <- function() {
  list(threads = getOption("elbo.threads", 2), kernel = getOption("elbo.kernel", "best"),
       version = format(utils::packageVersion("elbo")), date = format(Sys.Date()))
}

as_text <- function(x) if (is.numeric(x)) format(x, digits = 8, trim = TRUE) else as.character(x)

# All rows as they are written, or NULL.
stored_text <- function(name) {
  path <- result_file(name)
  if (!file.exists(path)) return(NULL)
  utils::read.csv(path, colClasses = "character", na.strings = character(),
                  check.names = FALSE)
}

is_stored <- function(name, job) settings_key(job) %in% stored_text(name)$settings

# Adds `rows`, with the settings of the job, in the place of those that the job had.
# The file is replaced at once, by one process at a time.
store_rows <- function(name, job, rows) {
  stopifnot(!anyDuplicated(c(names(job), names(rows), names(provenance()), "settings")))
  path <- result_file(name)
  dir.create(dirname(path), recursive = TRUE, showWarnings = FALSE)
  text <- function(values) {
    as.data.frame(lapply(values, function(x) vapply(x, as_text, "", USE.NAMES = FALSE)),
                  check.names = FALSE)
  }
  new <- cbind(text(job), text(rows), text(provenance()), settings = settings_key(job))
  lock <- file.path(scratch_dir(), paste0(name, ".csv.lock"))
  while (!take_lock(lock)) Sys.sleep(0.05)
  on.exit(release_lock(lock))
  old <- stored_text(name)
  if (!is.null(old)) old <- old[!old$settings %in% new$settings, , drop = FALSE]
  write_rows(bind_rows(old, new), path)
}

# Rows of two data frames; a column that one of them lacks is NA there.
bind_rows <- function(a, b) {
  if (is.null(a)) return(b)
  for (name in setdiff(names(b), names(a))) a[[name]] <- rep("NA", nrow(a))
  for (name in setdiff(names(a), names(b))) b[[name]] <- rep("NA", nrow(b))
  rbind(a, b[names(a)])
}

write_rows <- function(table, path) {
  part <- tempfile(paste0(basename(path), "-"), dirname(path))
  quoted <- which(vapply(table, function(x) any(grepl("[\",\n]", x)), NA))
  utils::write.table(table, part, sep = ",", row.names = FALSE, qmethod = "double",
                     quote = if (length(quoted)) quoted else FALSE)
  file.rename(part, path)
}

# The stored rows of a table, or NULL where there are none. Where a job of the same id was
# run with several settings, those with the most images and epochs count, and of these the
# last.
stored <- function(name) {
  path <- result_file(name)
  if (!file.exists(path)) return(NULL)
  table <- utils::read.csv(path, check.names = FALSE)
  if (!nrow(table)) return(NULL)
  size <- as_number(table$n) * as_number(table$epochs)
  best <- tapply(seq_len(nrow(table)), as.character(table$id), function(rows) {
    table$settings[max(rows[size[rows] == max(size[rows])])]
  })
  table <- table[as.character(table$settings) == best[as.character(table$id)], , drop = FALSE]
  row.names(table) <- NULL
  table
}

# Settings as numbers; 1 for those that are words, as "default".
as_number <- function(x) {
  x <- suppressWarnings(as.numeric(as.character(x)))
  ifelse(is.na(x), 1, x)
}
