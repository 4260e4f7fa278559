#!/bin/sh
# Usage: ctests/run.sh [plain|sanitize|threads|compilers]
# Builds and runs the tests of the C core. The core is src/*.c without the glue
# (init.c, r_*.c); each ctests/test_*.c is a program linked with all of it. Where the
# compiler has OpenMP its vector loops are used, as R uses them.
# `sanitize` builds them with the address and undefined-behaviour sanitisers, and
# runs the fuzzers ctests/fuzz_*.c as well.
# `threads` builds those that use several threads with the thread sanitiser.
# `compilers` compiles all of src, the glue too, with gcc and with clang, where a warning
# is an error; and runs the tests in builds by each that know no x86, OpenMP or threads.
# The counts go to build/c-tests.count (c-sanitize.count, c-threads.count,
# c-compilers.count) as "passed failed skipped".
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

leave_out() {
  echo "Skipped: $1"
  skipped=$((skipped + 1))
}

skip() {
  leave_out "$1"
  finish
}

case $mode in
  plain | sanitize | threads | compilers) ;;
  *) echo 'Usage: ctests/run.sh [plain|sanitize|threads|compilers]' >&2; exit 2 ;;
esac
[ "$mode" = plain ] || count_file=build/c-$mode.count
rm -rf "$out"
mkdir -p "$out" || exit 1
printf 'int main(void) { return 0; }\n' >"$out/trivial.c"

# links FLAGS: can COMPILER make a program with FLAGS, and does it run?
links() { $compiler "$@" "$out/trivial.c" -o "$out/trivial" $libs >/dev/null 2>&1 && "$out/trivial"; }

compiler=$(R CMD config CC) || give_up 'R, which says where its BLAS is, is not there: run tools/setup.sh.'
r_home=$(R RHOME)
warnings="-std=c11 -g -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes"
warnings="$warnings -Wpointer-arith -Wvla -Wfloat-conversion -Werror"
# R's headers (BLAS and LAPACK prototypes) are not ours to warn about.
warnings="$warnings $(R CMD config --cppflags | sed 's/-I/-isystem /g') -Isrc -Ictests"
# The training engine in double, so that its gradients can be checked by differences.
flags="$warnings -DELBO_REAL_DOUBLE"
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

# Calls of libm, in double, are no vectors; clang says so of each loop.
calls_are_no_vectors() {
  calls=''
  case $($compiler --version) in *clang*) calls=-Wno-pass-failed ;; esac
}

# The sources of the core.
core_sources() {
  for source in src/*.c; do
    case $source in 'src/*.c' | src/init.c | src/r_*.c) ;; *) echo "$source" ;; esac
  done
}

# build_core DIRECTORY: the objects of the core, in DIRECTORY.
build_core() {
  mkdir -p "$1" || exit 1
  for source in $(core_sources); do
    # shellcheck disable=SC2086
    $compiler $flags -c "$source" -o "$1/$(basename "$source" .c).o" ||
      give_up "$source does not compile."
  done
  core=$(find "$1" -name '*.o')
}

# run_programs DIRECTORY: builds $programs there, with $core, and counts what they say.
run=''
run_programs() {
  for source in $programs; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    # shellcheck disable=SC2086
    if ! $compiler $flags "$source" $core -o "$1/$name" $libs; then
      echo "$name: does not compile or link"
      failed=$((failed + 1))
      continue
    fi
    $run "$1/$name" >"$1/$name.log" 2>&1
    status=$?
    cat "$1/$name.log"
    counts=$(sed -n "s/^$name: \([0-9]*\) passed, \([0-9]*\) failed\$/\1 \2/p" "$1/$name.log" | tail -n 1)
    # A program that reported no failure and yet ended badly crashed, or leaked.
    case $counts in
      '') counts='0 1' ; echo "$name: ended early with status $status" ;;
      *' 0') [ $status -eq 0 ] || { counts="${counts% 0} 1" ; echo "$name: ended with status $status" ; } ;;
    esac
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
  done
}

# compiles SOURCE FLAGS: does $compiler compile it without a warning? Counted.
compiles() {
  # shellcheck disable=SC2086
  if $compiler $warnings -O2 "$@" -c -o "$out/object.o"; then
    passed=$((passed + 1))
  else
    echo "$compiler: a warning or an error for $*"
    failed=$((failed + 1))
  fi
}

# All sources as R compiles them, and those of the core in double.
compile_all() {
  vectors=''
  if $compiler -fopenmp -c "$out/trivial.c" -o "$out/object.o" >/dev/null 2>&1; then vectors=-fopenmp; fi
  for source in src/*.c; do
    # shellcheck disable=SC2086
    compiles "$source" $vectors
  done
  for source in $(core_sources); do
    # shellcheck disable=SC2086
    compiles "$source" $vectors -DELBO_REAL_DOUBLE $calls
  done
}

# The tests of a core that knows neither the processor nor OpenMP nor threads. The
# system's headers have to know the processor: they come first.
run_portable() {
  {
    echo '#define _POSIX_C_SOURCE 200809L'
    # shellcheck disable=SC2046
    cat $(core_sources) src/*.h ctests/*.[ch] | sed -n 's/^ *# *include \(<[^>]*>\).*/\1/p' |
      grep -v -e immintrin.h -e '<R\.h>' -e '<Rinternals.h>' | sort -u |
      while read -r header; do printf '#if __has_include(%s)\n# include %s\n#endif\n' "$header" "$header"; done
    printf '#undef %s\n' __x86_64__ __i386__
  } >"$out/any_processor.h"
  cat >"$out/portable.c" <<'C'
#include "gemm.h"
#include "threads.h"
int main(void) { return gemm_best() != GEMM_PORTABLE || threads_allowed(2) != 1; }
C
  any="$warnings -O2 -DELBO_REAL_DOUBLE $calls -include $out/any_processor.h"
  directory=$out/$compiler
  flags="$any -D__STDC_NO_ATOMICS__=1"
  build_core "$directory"
  # shellcheck disable=SC2086
  if ! $compiler $flags "$out/portable.c" $core -o "$directory/portable" $libs || ! "$directory/portable"; then
    give_up "The portable build by $compiler is none."
  fi
  programs=$(find ctests -name 'test_*.c' ! -name test_threads.c | sort)
  run_programs "$directory"
  echo 'test_threads supposes threads: it has them, in a core that knows no processor.'
  flags=$any
  # shellcheck disable=SC2086
  $compiler $flags -c src/threads.c -o "$directory/threads.o" || give_up 'src/threads.c does not compile.'
  programs=ctests/test_threads.c
  run_programs "$directory"
}

if [ "$mode" = compilers ]; then
  for compiler in gcc clang; do
    if ! command -v "$compiler" >/dev/null; then
      leave_out "there is no $compiler here."
      continue
    fi
    calls_are_no_vectors
    echo "== $compiler"
    compile_all
    run_portable
  done
  finish
fi

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
calls_are_no_vectors
flags="$flags $calls"
# shellcheck disable=SC2086
if links $flags -fopenmp; then flags="$flags -fopenmp"; fi
build_core "$out"
run_programs "$out"
finish
