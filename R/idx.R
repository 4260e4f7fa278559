# Reading IDX files, the format of MNIST, and the digits that come with the
# package.
#
# Layout of an IDX file: two zero bytes, one byte for the type, one byte for the
# number of dimensions, one unsigned 4-byte size a dimension, then the values,
# the last dimension running fastest. Everything is big-endian.
# Reference: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of
# handwritten digits", section "File formats".

#' Read an IDX file
#'
#' Reads a file in the IDX format, in which MNIST and its relatives
#' (Fashion-MNIST, EMNIST, KMNIST) are published: images, labels, or any other
#' array of numbers. The file may be plain or compressed with gzip; its content
#' decides, not its name.
#'
#' @param path One character string, the path of the file.
#'
#' @return For a file of one dimension (labels), a vector. For a file of two or
#'   more dimensions (images), a matrix with one row for each item, that is, for
#'   each index of the first dimension; the other dimensions are laid out along
#'   the columns in the order of the file, the last one running fastest. MNIST's
#'   n images of 28 x 28 pixels give an n x 784 matrix, whose column j holds the
#'   pixel in row `(j - 1) %/% 28 + 1` and column `(j - 1) %% 28 + 1`.
#'
#'   Files of bytes and of 16-bit and 32-bit integers give integers; files of
#'   floating-point numbers give doubles. The 32-bit integer -2147483648 is `NA`
#'   in R, and is read as such.
#'
#' @section Errors:
#' An error that names the file says so where the file does not exist, is a
#' directory or cannot be opened; is not an IDX file; has a type of value that
#' the format does not know; ends too early or goes on too long; is larger than
#' an R matrix can be; or is compressed and damaged. Memory is taken for what the
#' file holds, not for what its header claims.
#'
#' @source The format is described under "File formats" in Y. LeCun, C. Cortes
#'   and C. J. C. Burges, *The MNIST database of handwritten digits*,
#'   <http://yann.lecun.com/exdb/mnist/>.
#'
#' @seealso [mnist1000], the first 1,000 digits, ready to use.
#'
#' @examples
#' images <- system.file("extdata", "digits-images-idx3-ubyte.gz", package = "elbo")
#' labels <- system.file("extdata", "digits-labels-idx1-ubyte.gz", package = "elbo")
#' x <- read_idx(images)
#' dim(x)
#' read_idx(labels)
#' # The first digit: columns of the matrix below are rows of the image.
#' image(matrix(x[1, ], 28)[, 28:1], col = grey(255:0 / 255), asp = 1)
#' @export
read_idx <- function(path) {
  check_idx_path(path)
  con <- gzfile(path)
  on.exit(close(con))
  open_idx(con, path)
  header <- read_idx_header(con, path)
  bytes <- read_idx_values(con, path, header)
  if (length(header$sizes) == 1) {
    decode_idx(bytes, header$type)
  } else {
    idx_matrix(bytes, header)
  }
}

# What readBin() needs to know for each of the format's type codes.
idx_types <- list(
  "08" = list(what = "integer", size = 1L, signed = FALSE),
  "09" = list(what = "integer", size = 1L, signed = TRUE),
  "0b" = list(what = "integer", size = 2L, signed = TRUE),
  "0c" = list(what = "integer", size = 4L, signed = TRUE),
  "0d" = list(what = "double", size = 4L, signed = TRUE),
  "0e" = list(what = "double", size = 8L, signed = TRUE)
)

abort_idx <- function(path, ...) {
  abort("`path` (", dQuote(path, FALSE), ") ", ..., ".")
}

check_idx_path <- function(path) {
  check_string(path, "path")
  if (!file.exists(path)) {
    abort_arg("path", "name a file that exists", dQuote(path, FALSE))
  }
  if (dir.exists(path)) {
    abort_arg("path", "name a file", paste("the directory", dQuote(path, FALSE)))
  }
}

# gzfile() knows a compressed file by its first bytes and passes any other file
# through as it is. A failure comes as a warning and an error: one is enough. The
# connection exists before it is opened, so that it can be closed whatever happens.
open_idx <- function(con, path) {
  failed <- function(cond) {
    abort_idx(path, "must be a file that can be opened for reading")
  }
  tryCatch(open(con, "rb"), warning = failed, error = failed)
}

# Up to n bytes; fewer where the file ends. A damaged gzip stream comes as a
# warning, an error, or a warning now and an error at the next call, depending
# on where the damage is: any of them ends the reading.
read_idx_bytes <- function(con, n, path) {
  damaged <- function(cond) {
    abort_idx(path, "must be intact, but it is compressed and cannot be unpacked")
  }
  tryCatch(readBin(con, "raw", n), warning = damaged, error = damaged)
}

# The type (an element of idx_types) and the sizes, as doubles: an unsigned
# 4-byte size need not fit an R integer.
read_idx_header <- function(con, path) {
  magic <- read_idx_bytes(con, 4L, path)
  if (length(magic) < 4) {
    abort_idx(path, "must have a header of 4 bytes or more, but holds only ",
              length(magic))
  }
  if (any(magic[1:2] != 0)) {
    abort_idx(path, "must be an IDX file, whose first two bytes are 00 00, not ",
              paste(magic[1:2], collapse = " "))
  }
  type <- idx_types[[format(magic[3])]]
  if (is.null(type)) {
    abort_idx(path, "must have a type code (its third byte) among ",
              paste(names(idx_types), collapse = ", "), ", not ", magic[3])
  }
  header <- list(type = type, sizes = read_idx_sizes(con, as.integer(magic[4]), path))
  check_idx_sizes(header, path)
  header
}

read_idx_sizes <- function(con, ndim, path) {
  if (ndim == 0) abort_idx(path, "must have 1 dimension or more, not 0")
  bytes <- read_idx_bytes(con, 4L * ndim, path)
  if (length(bytes) < 4L * ndim) {
    abort_idx(path, "must have a header of ", 4L + 4L * ndim, " bytes (", ndim,
              if (ndim == 1) " dimension" else " dimensions",
              "), but ends after ", 4L + length(bytes))
  }
  colSums(matrix(as.integer(bytes), nrow = 4) * 256^(3:0))
}

# Values in one item: a row of the matrix. A zero anywhere means none, even
# where the product of the other sizes overflows.
idx_item_length <- function(sizes) {
  if (any(sizes[-1] == 0)) 0 else prod(sizes[-1])
}

# Refuses what an R matrix cannot be. 2^52 bytes is R's limit on a vector, and up
# to there the arithmetic on sizes is exact.
check_idx_sizes <- function(header, path) {
  sizes <- header$sizes
  per_item <- idx_item_length(sizes)
  too_large <- sizes[1] * per_item * header$type$size > 2^52 ||
    (length(sizes) > 1 && max(sizes[1], per_item) > .Machine$integer.max)
  if (too_large) {
    abort_idx(path, "must fit an R matrix of at most ", .Machine$integer.max,
              " rows and columns, but its header gives the size ", format_sizes(sizes))
  }
}

format_sizes <- function(sizes) {
  paste(format(sizes, scientific = FALSE, trim = TRUE), collapse = " x ")
}

# The bytes of all values. Read piece by piece until the file ends, so that a
# header that claims too much costs no memory; one byte more than expected is
# asked for, which shows trailing bytes and makes gzip verify its checksum.
read_idx_values <- function(con, path, header) {
  expected <- header$sizes[1] * idx_item_length(header$sizes) * header$type$size
  pieces <- list(raw())
  found <- 0
  repeat {
    piece <- read_idx_bytes(con, min(expected + 1 - found, 2^22), path)
    if (length(piece) == 0) break
    pieces[[length(pieces) + 1]] <- piece
    found <- found + length(piece)
    if (found > expected) abort_idx_length(path, header, expected, "goes on after them")
  }
  if (found < expected) {
    abort_idx_length(path, header, expected,
                     paste("holds only", format(found, scientific = FALSE)))
  }
  unlist(pieces)
}

abort_idx_length <- function(path, header, expected, but) {
  abort_idx(path, "must hold ", format(expected, scientific = FALSE),
            " bytes of data after its header (size ", format_sizes(header$sizes),
            ", ", header$type$size, " to a value), but ", but)
}

decode_idx <- function(bytes, type) {
  readBin(bytes, type$what, n = length(bytes) / type$size, size = type$size,
          signed = type$signed, endian = "big")
}

# n x d matrix from n * d values in row-major order, by blocks of rows: beside
# the bytes and the result, only one block is in memory.
idx_matrix <- function(bytes, header) {
  n <- header$sizes[1]
  d <- idx_item_length(header$sizes)
  row_bytes <- d * header$type$size
  block <- max(1, 2^20 %/% max(1, d))
  out <- matrix(vector(header$type$what, 1), n, d)
  for (done in seq(0, by = block, length.out = ceiling(n / block))) {
    m <- min(block, n - done)
    values <- decode_idx(bytes[done * row_bytes + seq_len(m * row_bytes)], header$type)
    out[done + seq_len(m), ] <- matrix(values, m, d, byrow = TRUE)
  }
  out
}

#' The first 1,000 MNIST digits
#'
#' The first 1,000 of the 60,000 training images of the MNIST database of
#' handwritten digits, in their published order, with their labels: real data on
#' which everything in the package runs at once. Pixels are grey levels, 0 for
#' the background and 255 for the darkest ink.
#'
#' Models of continuous data need pixels on a continuous scale: divide `x` by
#' 255, or pass `x` as it is with `transform = logit_pixels()`.
#'
#' @format A list of two elements:
#' \describe{
#'   \item{x}{integer matrix, 1000 x 784, of grey levels from 0 to 255, one row
#'     for each image of 28 x 28 pixels; column j holds the pixel in row
#'     `(j - 1) %/% 28 + 1` and column `(j - 1) %% 28 + 1`, counted from the top
#'     left corner.}
#'   \item{y}{integer vector of length 1000, the digits 0 to 9.}
#' }
#'
#' @source Y. LeCun, C. Cortes and C. J. C. Burges, *The MNIST database of
#'   handwritten digits*, <http://yann.lecun.com/exdb/mnist/>: the files
#'   `train-images-idx3-ubyte.gz` and `train-labels-idx1-ubyte.gz`, read by
#'   [read_idx()].
#'
#' @examples
#' str(mnist1000)
#' table(mnist1000$y)
#' image(matrix(mnist1000$x[1, ], 28)[, 28:1], col = grey(255:0 / 255), asp = 1)
"mnist1000"
