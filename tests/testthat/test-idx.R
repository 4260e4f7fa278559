# IDX files are written here byte by byte, by hand, with writeBin().

# `values`: what follows the header, as raw. `sizes`: bytes given as numbers are
# big-endian 4-byte sizes.
idx_bytes <- function(type, sizes, values) {
  size_bytes <- vapply(sizes, function(s) (s %/% 256^(3:0)) %% 256, numeric(4))
  c(as.raw(c(0, 0, type, length(sizes))), as.raw(size_bytes), values)
}

temp_file <- function(bytes, ext = ".idx", open = file) {
  path <- tempfile(fileext = ext)
  con <- open(path, "wb")
  on.exit(close(con))
  writeBin(bytes, con)
  path
}

idx_file <- function(type, sizes, values) temp_file(idx_bytes(type, sizes, values))

big_endian <- function(values, size) {
  con <- rawConnection(raw(), "wb")
  on.exit(close(con))
  writeBin(values, con, size = size, endian = "big")
  rawConnectionValue(con)
}

# The value of an expression that must neither warn nor leave a connection open.
quietly <- function(expr) {
  before <- nrow(showConnections(all = TRUE))
  expect_warning(value <- expr, NA)
  expect_identical(nrow(showConnections(all = TRUE)), before)
  value
}

expect_idx_error <- function(path, message) {
  quietly(expect_error(read_idx(path), message, fixed = TRUE, class = "elbo_error"))
}

# Names the file in the form that the errors use.
named <- function(path, ...) paste0("`path` (\"", path, "\") ", ...)

extdata <- function(name) {
  installed <- system.file("extdata", name, package = "elbo")
  if (nzchar(installed)) installed else file.path("..", "..", "inst", "extdata", name)
}

digits1000 <- function() {
  if (requireNamespace("elbo", quietly = TRUE)) return(elbo::mnist1000)
  env <- new.env()
  load(file.path("..", "..", "data", "mnist1000.rda"), envir = env)
  env$mnist1000
}

# The bytes of a gzip file of three labels, made by R's gzfile().
gzip_of_labels <- function() {
  path <- temp_file(idx_bytes(8, 3, as.raw(7:9)), ".gz", gzfile)
  readBin(path, "raw", 1000)
}

# What is read -----------------------------------------------------------------

test_that("one dimension gives an integer vector", {
  path <- idx_file(8, 4, as.raw(c(0, 7, 128, 255)))
  expect_identical(quietly(read_idx(path)), c(0L, 7L, 128L, 255L))
})

test_that("images give a row each, pixels in row-major order", {
  # Two images of 2 x 3: 1 2 3 / 4 5 6 and 11 12 13 / 14 15 16.
  path <- idx_file(8, c(2, 2, 3), as.raw(c(1:6, 11:16)))
  expect_identical(quietly(read_idx(path)), rbind(1:6, 11:16))
})

test_that("two and four dimensions give a matrix too", {
  expect_identical(read_idx(idx_file(8, c(3, 2), as.raw(1:6))),
                   rbind(1:2, 3:4, 5:6))
  expect_identical(read_idx(idx_file(8, c(2, 1, 2, 2), as.raw(1:8))),
                   rbind(1:4, 5:8))
})

test_that("every type of value is read, big-endian and signed where it is", {
  int8 <- idx_file(9, 3, as.raw(c(0x80, 0xff, 0x7f)))
  expect_identical(read_idx(int8), c(-128L, -1L, 127L))
  int16 <- idx_file(0x0b, 3, as.raw(c(0x80, 0x00, 0x01, 0x02, 0xff, 0xfe)))
  expect_identical(read_idx(int16), c(-32768L, 258L, -2L))
  int32 <- idx_file(0x0c, 2, as.raw(c(0, 1, 0, 2, 0xff, 0xff, 0xff, 0xfd)))
  expect_identical(read_idx(int32), c(65538L, -3L))
  float <- idx_file(0x0d, c(1, 2), big_endian(c(1.5, -0.25), 4))
  expect_identical(read_idx(float), cbind(1.5, -0.25))
  double <- idx_file(0x0e, c(2, 1), big_endian(c(pi, NaN), 8))
  expect_identical(read_idx(double), rbind(pi, NaN, deparse.level = 0))
})

test_that("a 32-bit integer that R cannot hold is NA, without a warning", {
  path <- idx_file(0x0c, 2, as.raw(c(0x80, 0, 0, 0, 0, 0, 0, 1)))
  expect_identical(quietly(read_idx(path)), c(NA, 1L))
})

test_that("no items and one item keep the shape", {
  expect_identical(quietly(read_idx(idx_file(8, 0, raw()))), integer())
  expect_identical(quietly(read_idx(idx_file(8, c(0, 28, 28), raw()))),
                   matrix(0L, 0, 784))
  expect_identical(quietly(read_idx(idx_file(8, c(2, 0), raw()))), matrix(0L, 2, 0))
  expect_identical(quietly(read_idx(idx_file(0x0e, c(0, 3), raw()))), matrix(0, 0, 3))
  expect_identical(read_idx(idx_file(8, 1, as.raw(5))), 5L)
  expect_identical(read_idx(idx_file(8, c(1, 2, 2), as.raw(1:4))), rbind(1:4))
})

test_that("items that fill several blocks are all in their places", {
  # 2^20 cells a block: 300,001 rows of 8 fill two blocks and part of a third.
  n <- 300001
  bytes <- as.raw((seq_len(8 * n) * 7) %% 251)
  x <- read_idx(idx_file(8, c(n, 2, 4), bytes))
  expect_identical(x, matrix(as.integer(bytes), n, 8, byrow = TRUE))
})

test_that("gzip is known by the content of the file, not by its name", {
  bytes <- idx_bytes(8, c(2, 2), as.raw(1:4))
  for (ext in c(".gz", ".idx", "")) {
    expect_identical(quietly(read_idx(temp_file(bytes, ext))), rbind(1:2, 3:4))
    expect_identical(quietly(read_idx(temp_file(bytes, ext, gzfile))), rbind(1:2, 3:4))
  }
})

test_that("gzip members one after the other are one file", {
  first <- readBin(temp_file(idx_bytes(8, 4, as.raw(1:2)), open = gzfile), "raw", 1000)
  second <- readBin(temp_file(as.raw(3:4), open = gzfile), "raw", 1000)
  expect_identical(quietly(read_idx(temp_file(c(first, second)))), 1:4)
})

test_that("a path may start with a tilde or hold spaces", {
  path <- file.path(tempfile("a directory "), "some labels")
  dir.create(dirname(path))
  file.copy(idx_file(8, 2, as.raw(1:2)), path)
  expect_identical(read_idx(path), 1:2)
})

# Errors -----------------------------------------------------------------------

test_that("a path that is not one string is refused", {
  for (path in list(1, NULL, NA_character_, "", c("a", "b"), character())) {
    expect_idx_error(path, "`path` must be a single character string, not ")
  }
})

test_that("a missing file is refused", {
  path <- tempfile()
  expect_idx_error(path, paste0("`path` must name a file that exists, not \"", path, "\"."))
})

test_that("a directory is refused", {
  expect_idx_error(tempdir(), paste0("`path` must name a file, not the directory \"",
                                     tempdir(), "\"."))
})

test_that("a file that may not be read is refused", {
  path <- idx_file(8, 1, as.raw(1))
  Sys.chmod(path, "000")
  skip_if(file.access(path, 4) == 0, "This user may read any file")
  expect_idx_error(path, named(path, "must be a file that can be opened for reading."))
})

test_that("a file of another format is refused", {
  path <- temp_file(charToRaw("x,y\n1,2\n"))
  expect_idx_error(path, named(path, "must be an IDX file, whose first two bytes are ",
                               "00 00, not 78 2c."))
  path <- temp_file(charToRaw("x,y\n1,2\n"), ".gz", gzfile)
  expect_idx_error(path, "must be an IDX file")
})

test_that("an unknown type code is refused", {
  path <- idx_file(0x0a, 1, as.raw(1))
  expect_idx_error(path, named(path, "must have a type code (its third byte) among ",
                               "08, 09, 0b, 0c, 0d, 0e, not 0a."))
})

test_that("no dimensions are refused", {
  path <- temp_file(as.raw(c(0, 0, 8, 0, 1)))
  expect_idx_error(path, named(path, "must have 1 dimension or more, not 0."))
})

test_that("a header that ends early is refused", {
  path <- temp_file(raw())
  expect_idx_error(path, named(path, "must have a header of 4 bytes or more, but ",
                               "holds only 0."))
  path <- temp_file(as.raw(c(0, 0, 8)))
  expect_idx_error(path, "but holds only 3.")
  path <- temp_file(idx_bytes(8, c(10, 28, 28), raw())[1:11])
  expect_idx_error(path, named(path, "must have a header of 16 bytes (3 dimensions), ",
                               "but ends after 11."))
  path <- temp_file(idx_bytes(8, 10, raw())[1:4])
  expect_idx_error(path, "must have a header of 8 bytes (1 dimension), but ends after 4.")
})

test_that("data that end early are refused, with both lengths", {
  path <- idx_file(8, c(10, 28, 28), raw(7839))
  expect_idx_error(path, named(path, "must hold 7840 bytes of data after its header ",
                               "(size 10 x 28 x 28, 1 to a value), but holds only 7839."))
  path <- idx_file(0x0e, 2, raw(15))
  expect_idx_error(path, "must hold 16 bytes of data after its header (size 2, 8 to a")
  path <- idx_file(8, 100000, raw())
  expect_idx_error(path, "must hold 100000 bytes of data after its header (size 100000, 1")
})

test_that("bytes after the data are refused", {
  path <- idx_file(8, c(2, 2), raw(5))
  expect_idx_error(path, named(path, "must hold 4 bytes of data after its header ",
                               "(size 2 x 2, 1 to a value), but goes on after them."))
  path <- idx_file(8, 0, raw(1))
  expect_idx_error(path, "must hold 0 bytes of data")
  path <- temp_file(idx_bytes(8, 3, raw(4)), open = gzfile)
  expect_idx_error(path, "goes on after them")
})

test_that("sizes beyond an R matrix are refused from the header alone", {
  top <- 2^32 - 1
  path <- idx_file(8, c(top, 28, 28), raw(10))
  expect_idx_error(path, named(path, "must fit an R matrix of at most 2147483647 rows ",
                               "and columns, but its header gives the size ",
                               "4294967295 x 28 x 28."))
  expect_idx_error(idx_file(8, c(1, 65536, 65536), raw(10)), "must fit an R matrix")
  expect_idx_error(idx_file(8, c(2^31 - 1, 2^31 - 1), raw(10)), "must fit an R matrix")
  expect_idx_error(idx_file(8, rep(top, 255), raw(10)), "must fit an R matrix")
  # The product of the sizes overflows to Inf, and Inf * 0 is NaN.
  expect_idx_error(idx_file(8, c(top, 0, rep(top, 200)), raw(10)), "must fit an R matrix")
  expect_idx_error(idx_file(8, c(0, rep(top, 200)), raw(10)), "must fit an R matrix")
})

test_that("a header that claims more than the file holds takes no memory", {
  claims <- list(2^32 - 1, c(2^31 - 1, 1000), c(100000, 1000, 100))
  for (sizes in claims) for (open in c(file, gzfile)) {
    path <- temp_file(idx_bytes(0x0e, sizes, raw(100)), open = open)
    used <- gc(reset = TRUE)["Vcells", 6]
    expect_idx_error(path, "but holds only 100.")
    expect_lt(gc()["Vcells", 6] - used, 100)
  }
})

test_that("a gzip file cut short is refused, wherever the cut is", {
  gz <- gzip_of_labels()
  for (kept in seq(2, length(gz) - 1)) {
    path <- temp_file(gz[seq_len(kept)])
    value <- quietly(tryCatch(read_idx(path), elbo_error = function(e) "refused"))
    # Where only the mark of the end and the trailer are missing, zlib reports
    # neither: the values are then all there.
    cut_after_values <- kept == length(gz) - 9
    expect_identical(value, if (cut_after_values) 7:9 else "refused")
  }
})

test_that("a gzip file whose checksum or stream is wrong is refused", {
  gz <- gzip_of_labels()
  message <- "must be intact, but it is compressed and cannot be unpacked."
  checksum <- gz
  checksum[length(gz) - 7] <- xor(gz[length(gz) - 7], as.raw(1))
  path <- temp_file(checksum)
  expect_idx_error(path, named(path, message))
  block_type <- gz
  block_type[11] <- as.raw(7)
  expect_idx_error(temp_file(block_type), message)
  method <- gz
  method[3] <- as.raw(9)
  expect_idx_error(temp_file(method), message)
})

test_that("a checksum is verified for data of many pieces too", {
  # 4 MB is one piece; random bytes do not compress.
  set.seed(1)
  values <- as.raw(sample(0:255, 2^23, replace = TRUE))
  path <- temp_file(idx_bytes(8, c(2^13, 2^10), values), open = gzfile)
  expect_identical(as.raw(t(quietly(read_idx(path)))), values)
  gz <- readBin(path, "raw", 1e8)
  middle <- length(gz) %/% 2
  gz[middle] <- xor(gz[middle], as.raw(0x10))
  quietly(expect_error(read_idx(temp_file(gz)), "`path`", class = "elbo_error"))
})

test_that("no flipped bit of a gzip file gives wrong values", {
  gz <- gzip_of_labels()
  for (bit in seq_len(8 * length(gz)) - 1) {
    damaged <- gz
    at <- bit %/% 8 + 1
    damaged[at] <- xor(gz[at], as.raw(2^(bit %% 8)))
    path <- temp_file(damaged)
    value <- tryCatch(read_idx(path), elbo_error = function(e) "refused")
    # Harmless: the time, the system and the length modulo 2^32 in the header and
    # trailer are not checked.
    expect_true(identical(value, 7:9) || identical(value, "refused"))
    unlink(path)
  }
})

# The package's own digits -----------------------------------------------------

test_that("the example files are the first ten digits of MNIST", {
  x <- quietly(read_idx(extdata("digits-images-idx3-ubyte.gz")))
  y <- quietly(read_idx(extdata("digits-labels-idx1-ubyte.gz")))
  expect_identical(y, c(5L, 0L, 4L, 1L, 9L, 2L, 1L, 3L, 1L, 4L))
  expect_identical(x, digits1000()$x[1:10, ])
})

test_that("mnist1000 has the shape, the range and the labels of the originals", {
  digits <- digits1000()
  expect_identical(names(digits), c("x", "y"))
  expect_identical(dim(digits$x), c(1000L, 784L))
  expect_type(digits$x, "integer")
  expect_type(digits$y, "integer")
  expect_identical(range(digits$x), c(0L, 255L))
  # Counted from the bytes of train-labels-idx1-ubyte with readBin() alone.
  expect_identical(tabulate(digits$y + 1L, 10),
                   c(97L, 116L, 99L, 93L, 105L, 92L, 94L, 117L, 87L, 100L))
  # The corners of an image are background; its middle is where the ink is.
  corners <- c(1, 28, 757, 784)
  expect_identical(sum(digits$x[, corners]), 0L)
  expect_gt(mean(digits$x[, 13 * 28 + 14]), 80)
})

test_that("mnist1000 is the start of the full training set", {
  skip_without_mnist()
  con <- gzfile(mnist_file("train-images-idx3-ubyte"), "rb")
  bytes <- readBin(con, "raw", 16 + 784000)
  close(con)
  expect_identical(as.raw(t(digits1000()$x)), bytes[-(1:16)])
  con <- gzfile(mnist_file("train-labels-idx1-ubyte"), "rb")
  bytes <- readBin(con, "raw", 8 + 1000)
  close(con)
  expect_identical(as.raw(digits1000()$y), bytes[-(1:8)])
})

test_that("all of MNIST's training images are read as published", {
  skip_without_mnist()
  x <- quietly(read_idx(mnist_file("train-images-idx3-ubyte")))
  expect_identical(dim(x), c(60000L, 784L))
  expect_type(x, "integer")
  path <- temp_file(idx_bytes(8, c(60000, 28, 28), as.raw(t(x))))
  on.exit(unlink(path))
  expect_identical(unname(tools::md5sum(path)), "6bbc9ace898e44ae57da46a324031adb")
})
