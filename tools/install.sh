#!/bin/sh
# Usage: tools/install.sh LIBRARY
# Installs the checkout into LIBRARY, quietly unless the compiler has something
# to say. Objects are always made afresh: R's make rules do not know which
# object depends on which header.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p build "$1" || exit 1
log=build/install.log

if R CMD INSTALL --preclean --clean --library="$1" . >$log 2>&1; then
  grep -A 4 'warning:' $log || true
else
  cat $log
  exit 1
fi
