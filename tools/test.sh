#!/bin/sh
# Usage: tools/test.sh LIBRARY
# Installs, runs the R and the C tests, and ends with one line that counts both.
# Whatever does not get as far as counting (a build that fails, a process that
# crashes) counts as one failure.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p build
rm -f build/r-tests.count build/c-tests.count build/tests.summary

# Tests are small; more threads than this cost more than they save.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-2}"

# counts FILE STATUS: completes FILE, which holds "passed failed skipped".
counts() {
  [ -s "$1" ] || echo '0 1 0' >"$1"
  if [ "$2" -ne 0 ]; then
    awk '{ if ($2 == 0) $2 = 1; print }' "$1" >"$1.new" && mv "$1.new" "$1"
  fi
}

if sh tools/install.sh "$1"; then
  Rscript tools/test.R build/r-tests.count
  counts build/r-tests.count $?
else
  echo 'The package does not install, so its R tests did not run.'
  counts build/r-tests.count 1
fi

echo
sh ctests/run.sh plain
counts build/c-tests.count $?

echo
cat build/r-tests.count build/c-tests.count | awk '
  { passed += $1; failed += $2; skipped += $3 }
  END {
    printf "%d passed, %d failed", passed, failed
    if (skipped) printf ", %d skipped", skipped
    print ""
  }' >build/tests.summary
cat build/tests.summary
grep -q ', 0 failed' build/tests.summary
