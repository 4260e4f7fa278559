# Brings README.md up to date: draws its figure by tools/demo.R, and puts the
# output of that script and of the README's own example where they belong. The
# prose is written by hand; the numbers are measured here.
library(elbo)
readme <- readLines("README.md", encoding = "UTF-8")

# Replaces the lines between "<!-- name: begin -->" and "<!-- name: end -->".
fill <- function(text, name, lines) {
  from <- match(sprintf("<!-- %s: begin -->", name), text)
  to <- match(sprintf("<!-- %s: end -->", name), text)
  stopifnot(!is.na(from), !is.na(to), from < to)
  c(text[seq_len(from)], lines, text[to:length(text)])
}

between <- function(text, name) {
  from <- match(sprintf("<!-- %s: begin -->", name), text)
  text[(from + 1):(match(sprintf("<!-- %s: end -->", name), text) - 1)]
}

# Runs R code and puts what each expression prints below it, behind "#>".
run <- function(code, env) {
  code <- code[!grepl("^#>", code)]
  expressions <- parse(text = code, keep.source = TRUE)
  grDevices::pdf(NULL)                           # plots are drawn, and not kept
  on.exit(grDevices::dev.off())
  last <- 0
  out <- character()
  for (i in seq_along(expressions)) {
    printed <- utils::capture.output({
      value <- withVisible(eval(expressions[[i]], env))
      if (value$visible) print(value$value)
    })
    end <- attr(expressions, "srcref")[[i]][3]
    out <- c(out, code[(last + 1):end], if (length(printed)) paste("#>", printed))
    last <- end
  }
  sub(" +$", "", out)
}

# Which machine and how long are not of the README.
demo <- system2(file.path(R.home("bin"), "Rscript"),
                c("tools/demo.R", "man/figures/README-digits.png"), stdout = TRUE)
stopifnot(is.null(attr(demo, "status")))
demo <- grep("^(elbo [0-9]|Time:|Figure:)", demo, value = TRUE, invert = TRUE)
demo <- demo[cumsum(nzchar(demo)) > 0]
while (!nzchar(demo[length(demo)])) demo <- demo[-length(demo)]

example <- between(readme, "example")
code <- example[!grepl("^```", example)]
world <- new.env(parent = globalenv())           # the second example goes on from the first
readme <- fill(readme, "example", c("```r", run(code, world), "```"))
collapse <- between(readme, "collapse")
readme <- fill(readme, "collapse", c("```r", run(collapse[!grepl("^```", collapse)], world), "```"))
grDevices::png("man/figures/README-collapse.png", width = 1500, height = 560, res = 150)
old <- graphics::par(mfrow = c(1, 2))
plot(world$fit)
plot(posterior_collapse(world$fit))
graphics::par(old)
invisible(grDevices::dev.off())
deep <- between(readme, "vae")
readme <- fill(readme, "vae", c("```r", run(deep[!grepl("^```", deep)], world), "```"))
grDevices::png("man/figures/README-vae.png", width = 1000, height = 310, res = 100)
plot_images(world$new, c(28, 28), ncol = 10, limits = c(0, 1))
invisible(grDevices::dev.off())
readme <- fill(readme, "demo", c("```text", sub(" +$", "", demo), "```"))
# The tables that the scripts in bench/ wrote when they were last run.
timings <- function(names = c("ppca", "linear_vae", "engine", "vae")) {
  d <- do.call(rbind, lapply(file.path("bench/results", paste0(names, ".csv")), utils::read.csv))
  growth <- d[d$case == "growth" & grepl("~ n", d$what), ]
  d <- d[d$case != "growth", ]
  unit <- c(s = " s", ms = " ms", MB = " MB", x = " times", times = " times",
            "GFlop/s" = " GFlop/s")[d$unit]
  value <- paste0(trimws(formatC(d$value, digits = 3, format = "fg")),
                  ifelse(is.na(unit), "", unit))
  case <- ifelse(c(FALSE, d$case[-1] == d$case[-nrow(d)]), "", d$case)
  c("| data | what | measured |", "|---|---|---|",
    sprintf("| %s | %s | %s |", case, ifelse(grepl("/|<=", d$what), d$what,
                                             gsub("([a-zA-Z_:]+\\(.*\\))", "`\\1`", d$what)), value),
    "", paste0("Machine: ", d$machine[1], "."), "",
    sprintf("Over the number of rows n, %s grows as n to the power %.2f and %s as n to the power %.2f:",
            "the closed form", growth$value[1], "EM with missing cells", growth$value[2]), "",
    "![Seconds over n, p and k, on logarithmic axes.](bench/results/ppca-scaling.png)")
}
# Five rows of the stored Table 1, means over seeds.
table1 <- function() {
  path <- file.path("inst/extdata/results", "table1.csv")
  d <- utils::read.csv(path)
  rows <- c("learned 1", "learned 10", "fixed 1", "fixed 10", "defaults default")
  of <- factor(paste(d$kind, d$sigma2), rows)
  measures <- c("elbo", "collapsed", "kl", "final_sigma2")
  paper <- c("paper_elbo", "paper_collapsed", "paper_kl", "paper_final_sigma2")
  cell <- function(value, digits) {
    out <- sprintf("%.*f", digits, value)
    ifelse(is.na(value), "", out)
  }
  lines <- vapply(levels(of)[table(of) > 0], function(row) {
    at <- d[which(of == row), ]
    digits <- c(1L, 1L, 1L, 3L)
    value <- cell(colMeans(at[measures]), digits)
    beside <- cell(colMeans(at[paper]), digits)
    both <- paste0(value, ifelse(nzchar(beside), paste0(" (", beside, ")"), ""))
    if (startsWith(row, "fixed")) both[4] <- "fixed"
    name <- sub("learned", "learned from", sub("defaults default", "defaults", row))
    paste0("| ", paste(c(name, both, nrow(at)), collapse = " | "), " |")
  }, "")
  c("| sigma2 | ELBO | collapsed, % | KL | sigma2 at the end | seeds |",
    "|---|---|---|---|---|---|", unname(lines))
}
if (file.exists("inst/extdata/results/table1.csv")) readme <- fill(readme, "table1", table1())
if (file.exists("bench/results/ppca.csv")) readme <- fill(readme, "bench", timings())

writeLines(enc2utf8(readme), "README.md", useBytes = TRUE)
