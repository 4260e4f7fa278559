# The C program that times matrix products, and R with its reference BLAS.

config <- function(what) system2(file.path(R.home("bin"), "R"), c("CMD", "config", what), stdout = TRUE)

rates_program <- local({
  program <- NULL
  function() {
    if (is.null(program)) {
      file <- tempfile("gemm_rates")
      status <- system(paste(config("CC"), "-O2 -Isrc bench/shared/gemm_rates.c src/gemm.c",
                             "src/threads.c -o", file, "-lm -ldl -lpthread"))
      stopifnot(status == 0)
      program <<- file
    }
    program
  }
})

# The BLAS to compare with: OpenBLAS, R's own or another one here; else R's own.
other_blas <- local({
  own <- extSoftVersion()[["BLAS"]]
  folders <- c("/usr/lib/*/openblas-pthread", "/usr/lib/*", "/usr/lib64", "/usr/lib")
  c(grep("openblas", own, value = TRUE), Sys.glob(file.path(folders, "libopenblas*.so*")), own)[1]
})

# Rates of our products and of those of that BLAS, GFlop/s, for the shapes of a batch.
rates <- function(batch, threads) {
  Sys.setenv(OPENBLAS_NUM_THREADS = threads)
  on.exit(Sys.unsetenv("OPENBLAS_NUM_THREADS"))
  utils::read.csv(text = system2(rates_program(), c(threads, batch, other_blas),
                                 stdout = TRUE))
}

# Seconds of the float products of one step of the VAE.
product_seconds <- function(batch, threads) {
  table <- rates(batch, threads)
  table <- table[table$type == "float", ]
  sum(table$times * 2e-9 * table$m * table$n * table$k / table$ours)
}

# Libraries to preload so that R runs with the reference BLAS and LAPACK; none where they
# are not installed.
reference_libraries <- function() {
  found <- vapply(c("blas/libblas.so.3", "lapack/liblapack.so.3"), function(name) {
    c(Sys.glob(file.path(c("/usr/lib", "/usr/lib/*", "/usr/lib64"), name)), "")[1]
  }, "")
  if (all(nzchar(found))) unname(found) else character(0)
}

# The value that `code` (a string) prints last in another R, with the libraries preloaded
# and further variables (NAME=value) in its environment.
in_other_r <- function(code, libraries = character(0), variables = character(0)) {
  script <- tempfile(fileext = ".R")
  writeLines(c(sprintf(".libPaths(%s)", paste(deparse(.libPaths()), collapse = "")), code), script)
  env <- if (length(libraries)) paste0("LD_PRELOAD=", shQuote(paste(libraries, collapse = " ")))
  as.numeric(utils::tail(system2(file.path(R.home("bin"), "Rscript"), script, stdout = TRUE,
                                 env = c(as.character(env), variables)), 1))
}
