# R's random numbers: where the generator stands, and the same draws for several computations.

# The convention of stats::simulate().
seed_state <- function(seed) {
  if (!exists(".Random.seed", envir = globalenv(), inherits = FALSE)) stats::runif(1)
  before <- get(".Random.seed", envir = globalenv())
  if (is.null(seed)) return(list(seed = before, restore = function() NULL))
  seed <- check_number(seed, "seed", -.Machine$integer.max, .Machine$integer.max)
  set.seed(seed)
  list(seed = structure(seed, kind = as.list(RNGkind())),
       restore = function() assign(".Random.seed", before, envir = globalenv()))
}

# lapply() in which each call of f finds R's generator in the same state: what is drawn
# for one is drawn for all. It is left as the last call that drew from it leaves it.
same_draws <- function(x, f) {
  begin <- end <- seed_state(NULL)$seed
  on.exit(assign(".Random.seed", end, envir = globalenv()))
  lapply(x, function(one) {
    assign(".Random.seed", begin, envir = globalenv())
    out <- f(one)
    now <- get(".Random.seed", envir = globalenv())
    if (!identical(now, begin)) end <<- now
    out
  })
}
