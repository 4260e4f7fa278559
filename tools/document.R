# Writes NAMESPACE and man/ from the comments in R/. The code is sourced rather
# than loaded, so that this needs no compiler and works while NAMESPACE is
# missing or out of date; data sets, documented by name, are loaded beside it.

# roxygen2 leaves such a file alone with no more than a warning.
if (file.exists("NAMESPACE") && !any(grepl("roxygen2", readLines("NAMESPACE", n = 1L)))) {
  stop("NAMESPACE was written by hand: delete it, then make it anew.", call. = FALSE)
}

roxygen2::roxygenise(".", load_code = function(path) {
  env <- roxygen2::load_source(path)
  for (file in list.files(file.path(path, "data"), "\\.(rda|RData)$", full.names = TRUE)) {
    load(file, envir = env)
  }
  env
})
