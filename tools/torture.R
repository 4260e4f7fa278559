# Runs tests/torture.R with garbage collected at every TORTURE_STEP-th
# allocation, so that an object that C code forgot to protect is reused at once.
# The script is parsed and the package loaded beforehand, and R's own compiler is
# off: each would spend minutes on code that is not ours.
invisible(compiler::enableJIT(0))
library(elbo)
step <- as.integer(Sys.getenv("TORTURE_STEP", "1"))
script <- parse("tests/torture.R", keep.source = FALSE)

started <- proc.time()[["elapsed"]]
invisible(gctorture2(step))
for (expression in script) eval(expression, globalenv())
invisible(gctorture2(0))
cat(sprintf(
  "tests/torture.R passed with garbage collected at every allocation, step %d: %.0f s\n",
  step, proc.time()[["elapsed"]] - started
))
