# Eigenvalues and eigenvectors of the covariance S of data, by the route that is soonest done.

# Dense decompositions cost the cube of the smaller dimension; iteration wins
# once that is large and k far below it.
choose_route <- function(n, p, k) {
  m <- min(n, p)
  if (m > 1000 && k <= m / 10) "krylov" else dense_route(n, p)
}

dense_route <- function(n, p) if (p <= n) "covariance" else "gram"

# core_eigen(), with the `route` taken. Where the iteration does not converge, as it may not
# where eigenvalues crowd, a dense decomposition takes its place.
data_eigen <- function(data, k, route = choose_route(data$n, data$p, k)) {
  eigen <- attempt(core_eigen(data, k, route), "elbo_core_not_converged")
  if (is.null(eigen)) {
    route <- dense_route(data$n, data$p)
    eigen <- core_eigen(data, k, route)
  }
  c(eigen, route = route)
}

# Eigenvalues alone, k or more of them: all where the route is dense, for which one vector is
# enough. list(values, trace, route).
data_values <- function(data, k) {
  route <- choose_route(data$n, data$p, k)
  data_eigen(data, if (route == "krylov") k else 1, route)
}

# Eigenvalues of S where it is there, data$s: all of them where one dense decomposition gives
# them.
covariance_values <- function(data, k) {
  if (!is.null(data$s) && data$p <= 1000) {
    return(pmax(eigen(data$s, symmetric = TRUE, only.values = TRUE)$values, 0))
  }
  pmax(data_eigen(data, min(k, data$n))$values, 0)
}

# More dimensions than rows are allowed where sigma2 is fixed: they are zero.
pad_eigen <- function(eigen, p, k) {
  more <- k - ncol(eigen$vectors)
  if (more > 0) {
    eigen$vectors <- cbind(eigen$vectors, matrix(0, p, more))
  }
  eigen$values <- pmax(c(eigen$values, rep(0, max(0, k - length(eigen$values)))), 0)
  eigen
}

# An eigenvalue that rounding alone could have made counts as zero.
check_rank <- function(eigen, data, k) {
  values <- eigen$values
  zero <- max(data$n, data$p) * .Machine$double.eps * max(values, 0)
  rank <- sum(values > zero)
  rest <- eigen$trace - sum(values[seq_len(min(k, length(values)))])
  if (rank <= k && rest <= data$p * zero) {
    abort_arg(
      "k",
      sprintf("be below %d, the rank of `x`%s", rank,
              if (data$centred) " after centring" else ""),
      paste0(k, ": with as many dimensions no noise is left")
    )
  }
}

stop_rank <- function(data, k) {
  route <- if (data$p <= data$n) "covariance" else "gram"
  eigen <- core_eigen(data, min(k, data$n, data$p), route)
  check_rank(eigen, data, k)
  abort_arg("k", "be smaller: no noise is left", k)
}
