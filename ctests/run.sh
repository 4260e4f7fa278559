#!/bin/sh
# Usage: ctests/run.sh [plain|sanitize|threads]
# Builds and runs the tests of the C core. The core is src/*.c without the glue
# (init.c, r_*.c); each ctests/test_*.c is a program linked with all of it. Where the
# compiler has OpenMP its vector loops are used, as R uses them.
# `sanitize` builds them with the address and undefined-behaviour sanitisers, and
# runs the fuzzers ctests/fuzz_*.c as well.
# `threads` builds those that use several threads with the thread sanitiser.
# The counts go to build/c-tests.count (c-sanitize.count, c-threads.count) as "passed
# failed skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
mode=${1:-plain}
out=build/ctests/$mode
count_file=build/c-tests.count
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-2}"
passed=0
failed=0
skipped=0

finish() {
  echo "$passed $failed $skipped" >"$count_file"
  echo "C tests ($mode): $passed passed, $failed failed$([ $skipped -eq 0 ] || echo ", $skipped skipped")"
  [ "$failed" -eq 0 ]
  exit
}

give_up() {
  echo "$1"
  failed=$((failed + 1))
  finish
}

skip() {
  echo "Skipped: $1"
  skipped=$((skipped + 1))
  finish
}

case $mode in plain | sanitize | threads) ;; *) echo 'Usage: ctests/run.sh [plain|sanitize|threads]' >&2; exit 2 ;; esac
[ "$mode" = plain ] || count_file=build/c-$mode.count
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
libs="$(R CMD config LAPACK_LIBS) $(R CMD config BLAS_LIBS) -Wl,-rpath,$r_home/lib -lm -lpthread"
# The core needs no R, but the BLAS that comes with R itself calls R's error handler.
links || libs="$libs -L$r_home/lib -lR"

# Does the thread sanitiser of $compiler report a race?
sees_races() {
  cat >"$out/race.c" <<'C'
#include <pthread.h>
static int x;
static void *add(void *to) { for (int i = 0; i < 1000; i++) ++*(int *) to; return 0; }
int main(void) {
  pthread_t other;
  if (pthread_create(&other, 0, add, &x)) return 1;
  add(&x);
  return pthread_join(other, 0);
}
C
  # shellcheck disable=SC2086
  $compiler $sanitizers "$out/race.c" -o "$out/race" -lpthread >"$out/race.log" 2>&1 || return 1
  $run "$out/race" >"$out/race.log" 2>&1
  [ $? -eq 66 ] && grep -q 'data race' "$out/race.log"
}

run=''
if [ "$mode" = threads ]; then
  sanitizers="-O1 -g -fno-omit-frame-pointer -fsanitize=thread"
  # What libraries do by themselves is not ours to mend: R's BLAS has threads too.
  export TSAN_OPTIONS="ignore_noninstrumented_modules=1:halt_on_error=1:exitcode=66${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
  export OPENBLAS_NUM_THREADS=1
  # Some kernels spread addresses wider than the sanitiser can follow.
  sees_races || { run="setarch $(uname -m) -R" ; sees_races ; } || { run='' ; compiler=clang ; sees_races ; } ||
    skip 'no compiler here has a thread sanitiser that works.'
  flags="$flags $sanitizers"
  programs="ctests/test_threads.c ctests/test_gemm.c ctests/test_each.c ctests/test_vae.c ctests/test_vae_train.c"
elif [ "$mode" = sanitize ]; then
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
# Calls of libm, in double, are no vectors; clang says so of each loop.
case $($compiler --version) in *clang*) flags="$flags -Wno-pass-failed" ;; esac
# shellcheck disable=SC2086
if links $flags -fopenmp; then flags="$flags -fopenmp"; fi

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
  $run "$out/$name" >"$out/$name.log" 2>&1
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
