#!/bin/sh
# Usage: ctests/run.sh [plain|sanitize]
# Builds and runs the tests of the C core. The core is src/*.c without the glue
# (init.c, r_*.c); each ctests/test_*.c is a program linked with all of it.
# `sanitize` builds them with the address and undefined-behaviour sanitisers, and
# runs the fuzzers ctests/fuzz_*.c as well. The counts go to build/c-tests.count
# (build/c-sanitize.count) as "passed failed skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
mode=${1:-plain}
out=build/ctests/$mode
count_file=build/c-tests.count
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-2}"
passed=0
failed=0

finish() {
  echo "$passed $failed 0" >"$count_file"
  echo "C tests ($mode): $passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit
}

give_up() {
  echo "$1"
  failed=$((failed + 1))
  finish
}

rm -rf "$out"
mkdir -p "$out" || exit 1
printf 'int main(void) { return 0; }\n' >"$out/trivial.c"

# links FLAGS: can COMPILER make a program with FLAGS, and does it run?
links() { $compiler "$@" "$out/trivial.c" -o "$out/trivial" $libs >/dev/null 2>&1 && "$out/trivial"; }

compiler=$(R CMD config CC) || give_up 'R, which says where its BLAS is, is not there: run tools/setup.sh.'
r_home=$(R RHOME)
flags="-std=c11 -g -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes"
flags="$flags -Wpointer-arith -Wvla -Wfloat-conversion -Werror"
# The training engine in double, so that its gradients can be checked by differences.
flags="$flags -DELBO_REAL_DOUBLE"
# R's headers (BLAS and LAPACK prototypes) are not ours to warn about.
flags="$flags $(R CMD config --cppflags | sed 's/-I/-isystem /g') -Isrc -Ictests"
libs="$(R CMD config LAPACK_LIBS) $(R CMD config BLAS_LIBS) -Wl,-rpath,$r_home/lib -lm"
# The core needs no R, but the BLAS that comes with R itself calls R's error handler.
links || libs="$libs -L$r_home/lib -lR"

if [ "$mode" = sanitize ]; then
  count_file=build/c-sanitize.count
  sanitizers="-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer"
  flags="$flags -O1 $sanitizers"
  for compiler in "$compiler" gcc clang none; do
    # shellcheck disable=SC2086
    links $sanitizers && break
  done
  [ "$compiler" != none ] || give_up 'Neither gcc nor clang can link with its sanitisers here.'
  export ASAN_OPTIONS="halt_on_error=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
  export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
  programs="ctests/test_*.c ctests/fuzz_*.c"
else
  flags="$flags -O2"
  programs="ctests/test_*.c"
fi

for source in src/*.c; do
  case $source in 'src/*.c' | src/init.c | src/r_*.c) continue ;; esac
  # shellcheck disable=SC2086
  $compiler $flags -c "$source" -o "$out/$(basename "$source" .c).o" ||
    give_up "$source does not compile."
done
core=$(find "$out" -name '*.o')

for source in $programs; do
  [ -e "$source" ] || continue
  name=$(basename "$source" .c)
  # shellcheck disable=SC2086
  if ! $compiler $flags "$source" $core -o "$out/$name" $libs; then
    echo "$name: does not compile or link"
    failed=$((failed + 1))
    continue
  fi
  "$out/$name" >"$out/$name.log" 2>&1
  status=$?
  cat "$out/$name.log"
  counts=$(sed -n "s/^$name: \([0-9]*\) passed, \([0-9]*\) failed\$/\1 \2/p" "$out/$name.log" | tail -n 1)
  # A program that reported no failure and yet ended badly crashed, or leaked.
  case $counts in
    '') counts='0 1' ; echo "$name: ended early with status $status" ;;
    *' 0') [ $status -eq 0 ] || { counts="${counts% 0} 1" ; echo "$name: ended with status $status" ; } ;;
  esac
  passed=$((passed + ${counts% *}))
  failed=$((failed + ${counts#* }))
done
finish
