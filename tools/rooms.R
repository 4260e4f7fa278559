# Usage: Rscript tools/rooms.R
# Proves from the sources in R/ what ARCHITECTURE.md says of them: core.R alone names C symbols;
# no two files call each other, directly or by way of others; the trunk calls no model; and the
# files of one family of models call no other family's, nor those over all, which call them.
# Fails with what breaks a rule.
files <- list.files("R", "[.]R$", full.names = TRUE)
names(files) <- basename(files)
code <- lapply(files, parse, keep.source = FALSE)

trunk <- c("core.R", "checks.R", "input.R", "formula.R", "newdata.R", "transform.R", "units.R",
           "eigen.R", "gaussian.R", "em.R", "iterate.R", "schedules.R", "control.R",
           "checkpoint.R", "refit.R", "results.R", "words.R", "random.R", "progress.R")
families <- list(
  ppca = c("ppca.R", "ppca-methods.R", "rank.R"),
  linear_vae = c("linear-vae.R", "linear-vae-methods.R"),
  linear_ae = "linear-ae.R",
  vae = c("vae.R", "vae-methods.R", "vae-training.R", "vae-start.R", "vae-fit.R", "vae-data.R",
          "vae-advice.R", "layers.R"))

# ---- who calls whom ------------------------------------------------------

assigned <- function(e) {
  if (is.call(e) && as.character(e[[1]])[1] %in% c("<-", "=") && is.name(e[[2]])) {
    as.character(e[[2]])
  }
}

# Names that an expression uses of what is defined outside it: not those of elements, arguments
# or local variables.
free_names <- function(e, local = character()) {
  if (is.name(e)) return(setdiff(as.character(e), local))
  if (is.pairlist(e)) return(unlist(lapply(e, free_names, local)))
  if (!is.call(e)) return(character())
  if (is.name(e[[1]])) {
    head <- as.character(e[[1]])
    if (head %in% c("::", "quote")) return(character())
    if (head %in% c("$", "@")) return(free_names(e[[2]], local))
    if (head == "function") {
      local <- c(local, names(e[[2]]), locals_of(e[[3]]))
      return(c(unlist(lapply(e[[2]], free_names, local)), free_names(e[[3]], local)))
    }
  }
  # a call looks for a function, also where a local variable has its name
  head <- if (is.name(e[[1]])) as.character(e[[1]]) else free_names(e[[1]], local)
  parts <- as.list(e)[-1]
  parts <- parts[!vapply(parts, function(p) identical(p, quote(expr = )), NA)]
  c(head, unlist(lapply(parts, free_names, local)))
}

locals_of <- function(e) {
  if (!is.call(e) || identical(e[[1]], quote(`function`))) return(character())
  here <- if (is.name(e[[1]])) switch(as.character(e[[1]]), `<-` = , `<<-` = , `=` = assigned(e),
                                      `for` = as.character(e[[2]]))
  c(here, unlist(lapply(as.list(e)[-1], function(p) {
    if (identical(p, quote(expr = ))) character() else locals_of(p)
  })))
}

defines <- lapply(code, function(exprs) unlist(lapply(exprs, assigned)))
uses <- lapply(code, function(exprs) unique(unlist(lapply(exprs, free_names))))
calls <- function(from, to) setdiff(intersect(uses[[from]], defines[[to]]), defines[[from]])
arrow <- outer(names(files), names(files), Vectorize(function(from, to) {
  from != to && length(calls(from, to)) > 0
}))
dimnames(arrow) <- list(names(files), names(files))

# ---- rules ---------------------------------------------------------------

broken <- character()
breaks <- function(...) broken <<- c(broken, sprintf(...))

for (file in setdiff(names(files), "core.R")) {
  symbols <- grep("^(C_|[.]Call$|[.]External)", unlist(lapply(code[[file]], all.names)), value = TRUE)
  if (length(symbols)) breaks("%s names %s, which is for core.R alone.", file, symbols[1])
}

reach <- arrow
repeat {
  further <- reach | (reach %*% reach > 0)
  if (identical(further, reach)) break
  reach <- further
}
circle <- reach & t(reach)
for (file in names(files)[diag(reach)]) {
  for (to in names(files)[arrow[file, ] & circle[file, ]]) {
    breaks("circle: %s calls %s (%s).", file, to, paste(calls(file, to), collapse = ", "))
  }
}

room_of <- stats::setNames(rep("over all", length(files)), names(files))
room_of[unlist(families)] <- rep(names(families), lengths(families))
room_of[trunk] <- "trunk"
for (from in names(files)[room_of != "over all"]) {
  for (to in names(files)[!room_of %in% c("trunk", room_of[[from]]) & arrow[from, ]]) {
    breaks("%s (%s) calls %s (%s): %s.", from, room_of[[from]], to, room_of[[to]],
           paste(calls(from, to), collapse = ", "))
  }
}

if (length(broken)) {
  writeLines(unique(broken))
  quit(status = 1)
}
cat(length(files), "files: no circles, all calls downwards, C symbols in core.R alone.\n")
