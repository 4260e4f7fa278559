#!/bin/sh
# Runs tests/torture.R under valgrind and fails on an error, or memory definitely
# lost, with elbo.so among its frames. What R and the BLAS do by themselves is
# not ours to mend, so valgrind's own exit status will not do; its XML names the
# library of every frame.
set -u
cd "$(dirname "$0")/.." || exit 1
command -v valgrind >/dev/null || { echo 'valgrind is not installed.'; exit 1; }
xml=build/valgrind.xml

# One thread: valgrind runs them one at a time anyway.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
tool="valgrind --leak-check=full --show-leak-kinds=definite --num-callers=30"
tool="$tool --keep-debuginfo=yes --xml=yes --xml-file=$xml"
R --vanilla --no-echo -d "$tool" -f tests/torture.R
status=$?
[ $status -eq 0 ] || echo "tests/torture.R failed under valgrind (status $status)."

awk '
  function text(s) { sub(/^ *<[a-z]+>/, "", s); sub(/<\/[a-z]+> *$/, "", s); return s }
  /<error>/ { ours = 0; what = ""; frames = "" }
  /<what>|<text>/ && what == "" { what = text($0) }
  /<frame>/ { object = fn = file = line = "" }
  /<obj>/ { object = text($0); if (object ~ /\/elbo\.so$/) ours = 1 }
  /<fn>/ { fn = text($0) }
  /<file>/ { file = text($0) }
  /<line>/ { line = text($0) }
  /<\/frame>/ {
    where = file != "" ? file ":" line : object
    frames = frames "    " (fn != "" ? fn : "?") " (" where ")\n"
  }
  /<\/error>/ && ours { found++; printf "%s\n%s", what, frames }
  /<\/valgrindoutput>/ { complete = 1 }
  END {
    if (!complete) { print "valgrind did not finish its report."; exit 1 }
    printf "valgrind: %d error(s) in or through elbo.so\n", found
    exit found > 0
  }' $xml && [ $status -eq 0 ]
