# Rscript tools/packages.R state LEVEL       what R has, one fact a line (see below)
# Rscript tools/packages.R install PKG ...   from CRAN, into a library that can be written
# The packages are those that DESCRIPTION suggests, roxygen2 for `make document`, and
# pcaMethods (Bioconductor: Debian has it built) for `make bench`.
# Lines of output begin with "@", to be told from what a start-up file may print.
args <- commandArgs(TRUE)

state <- function(level) {
  suggested <- trimws(strsplit(read.dcf("DESCRIPTION", "Suggests"), ",")[[1L]])
  name <- c(sub("[ \n(].*", "", suggested), "roxygen2")
  least <- c(sub(".*>= *([0-9.-]+).*|.*", "\\1", suggested), "7.1.0")
  if (level != "test") {
    least <- least[name == "cli"]
    name <- name[name == "cli"]
  }
  if (level == "bench") {
    name <- c(name, "pcaMethods")
    least <- c(least, "1.0")
  }
  there <- mapply(function(name, least) {
    tryCatch(packageVersion(name) >= if (nzchar(least)) least else "0", error = function(e) FALSE)
  }, name, least)
  cat("@missing ", paste(name[!there], collapse = " "), "\n", sep = "")
  cat("@blas ", extSoftVersion()[["BLAS"]], "\n", sep = "")
  cat("@version ", format(getRversion()), "\n", sep = "")
}

install <- function(packages) {
  cran <- getOption("repos")["CRAN"]
  if (is.null(cran) || cran %in% c(NA, "", "@CRAN@")) utils::chooseCRANmirror(ind = 1)
  library <- .libPaths()[1L]
  if (file.access(library, mode = 2L) != 0L) {
    library <- path.expand(strsplit(Sys.getenv("R_LIBS_USER"), .Platform$path.sep)[[1L]][1L])
    dir.create(library, recursive = TRUE, showWarnings = FALSE)
  }
  install.packages(packages, lib = library)
}

if (args[1L] == "state") state(args[2L]) else install(args[-1L])
