# Checkpoints of training: a fit in a file that a process killed at any moment leaves whole.

# A checkpoint is an RDS file (not compressed) of the fit, followed by its fingerprint and
# this mark, which readRDS() does not look at: R's reader may crash on bytes that were
# changed, and so it gets none that were. The number is raised when what a fit has to hold
# to go on is changed: a checkpoint of another one is refused.
CHECKPOINT <- charToRaw("elbo checkpoint 1")

# First to a file of another name in the same directory, then renamed, which replaces the
# old one at once. Training goes on where that fails.
write_checkpoint <- function(fit, control) {
  path <- control$checkpoint
  if (is.null(path)) return(invisible())
  failed <- tryCatch(replace_file(path, fit), error = function(e) conditionMessage(e),
                     warning = function(w) conditionMessage(w))
  if (!is.null(failed)) {
    warning("The checkpoint ", dQuote(path, FALSE), " was not written (", failed,
            "); the one before it, if any, is still there.", call. = FALSE)
  }
  invisible()
}

replace_file <- function(path, fit) {
  part <- tempfile(paste0(basename(path), "-"), dirname(path))
  on.exit(unlink(part))
  bytes <- serialize(fit, NULL, xdr = FALSE)
  con <- file(part, "wb")
  tryCatch({
    writeBin(bytes, con)
    writeBin(c(fingerprint(bytes), CHECKPOINT), con)
  }, finally = close(con))
  if (file.size(part) != length(bytes) + 8 + length(CHECKPOINT)) stop("the disk is full")
  if (!file.rename(part, path)) stop("it could not be renamed")
  NULL
}

# The fit in a checkpoint file, one for which `is_whole` is TRUE: bytes that write_checkpoint()
# wrote are a fit, but others that end in the mark may not be.
read_checkpoint <- function(path, is_whole) {
  check_string(path, "resume")
  if (!file.exists(path) || dir.exists(path)) {
    abort_arg("resume", "name a file that exists", dQuote(path, FALSE))
  }
  damaged <- function(...) {
    abort_arg("resume", "name a checkpoint that is whole",
              paste(dQuote(path, FALSE), "which is damaged, or of another kind or version"))
  }
  all <- tryCatch(readBin(path, "raw", file.size(path)), error = damaged, warning = damaged)
  if (identical(utils::head(all, 2), as.raw(c(0x1f, 0x8b)))) {
    abort_arg("resume", "name a checkpoint",
              paste0("the compressed file ", dQuote(path, FALSE), ": a fit that was saved by ",
                     "saveRDS() is continued by `update(readRDS(file), epochs = )`"))
  }
  size <- length(all) - 8 - length(CHECKPOINT)
  if (size < 1) damaged()
  bytes <- all[seq_len(size)]
  end <- c(fingerprint(bytes), CHECKPOINT)
  if (!identical(utils::tail(all, length(end)), end)) damaged()
  fit <- tryCatch(unserialize(bytes), error = damaged)
  if (is_whole(fit)) fit else damaged()
}
