#!/bin/sh
# Builds the source package and checks it as CRAN would, without the PDF manual
# (which needs LaTeX). Fails on an error, a warning, or a note that is not about
# the machine or the network.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p build
cd build || exit 1
rm -rf elbo_*.tar.gz elbo.Rcheck

# Questions to CRAN's servers would make the result depend on the network.
export _R_CHECK_CRAN_INCOMING_REMOTE_="${_R_CHECK_CRAN_INCOMING_REMOTE_:-false}"
export OMP_THREAD_LIMIT="${OMP_THREAD_LIMIT:-2}"

R CMD build .. || exit 1
R CMD check --as-cran --no-manual elbo_*.tar.gz || exit 1
if grep -qE '^Status:.*(ERROR|WARNING)' elbo.Rcheck/00check.log; then exit 1; fi

# Lines of the notes, but for those that are allowed.
awk '
  /^\* / { note = /\.\.\. (\[[^]]*\] )?NOTE$/; heading = $0; next }
  /^Status: / { note = 0 }
  !note || /^ *$/ { next }
  /^Maintainer: / || /^New submission/ { next }
  /^ *unable to verify current time/ { next }
  /^Skipping checking (HTML validation|math rendering)/ { next }
  { if (heading != last) print heading; last = heading; print }
' elbo.Rcheck/00check.log >notes.txt
if [ -s notes.txt ]; then
  echo
  echo 'Notes that are not allowed:'
  cat notes.txt
  exit 1
fi
