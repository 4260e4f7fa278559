#!/bin/sh
# Makes a machine able to run the project, starting from git, make and a package
# manager. Asks nothing, installs only what is missing, and is over in less than
# a second when nothing is.
#
#   tools/setup.sh run        R, a C compiler, an optimised BLAS, cli: for `make demo`
#   tools/setup.sh test       also what the tests, the manual pages and R CMD check need
#   tools/setup.sh valgrind   as run, and valgrind
#   tools/setup.sh bench      as run, and what the timings compare with: pcaMethods,
#                             PyTorch, the reference BLAS
set -eu
cd "$(dirname "$0")/.."
level=${1:-run}
case $level in
  run) programs='' ;;
  test) programs='pandoc qpdf tidy' ;;
  valgrind) programs='valgrind' ;;
  bench) programs='' ;;
  *) echo 'Usage: tools/setup.sh run|test|valgrind|bench' >&2; exit 2 ;;
esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---- What is here ----

# Compiles against R's headers and links with its LAPACK, BLAS and Fortran
# runtime, as the package does.
toolchain_works() {
  have make || return 1
  printf '#include <R_ext/Lapack.h>\nint elbo_trial(void) { return 0; }\n' >"$scratch/trial.c"
  # shellcheck disable=SC2046
  $(R CMD config CC) $(R CMD config CPICFLAGS) $(R CMD config --cppflags) "$scratch/trial.c" \
    $(R CMD config SHLIB_LDFLAGS) $(R CMD config LAPACK_LIBS) $(R CMD config BLAS_LIBS) \
    $(R CMD config FLIBS) -o "$scratch/trial.so" >/dev/null 2>&1
}

# Sets blas, r_version and r_missing (the R packages wanted and not found).
ask_r() {
  state=$(Rscript tools/packages.R state "$level" 2>/dev/null) || die 'R is there but does not start.'
  blas=$(printf '%s\n' "$state" | sed -n 's/^@blas //p')
  r_version=$(printf '%s\n' "$state" | sed -n 's/^@version //p')
  r_missing=$(printf '%s\n' "$state" | sed -n 's/^@missing //p')
}

blas_is_optimised() {
  case $blas in
    *[Oo]pen[Bb][Ll][Aa][Ss]* | *flexiblas* | *mkl* | *blis* | *atlas* | *armpl* | *Accelerate* | *vecLib*) ;;
    *) return 1 ;;
  esac
}

has_torch() {
  for python in python3 /usr/bin/python3; do
    have $python && $python -c 'import torch' >/dev/null 2>&1 && return 0
  done
  return 1
}

has_reference_blas() {
  for file in /usr/lib/blas/libblas.so.3 /usr/lib/*/blas/libblas.so.3; do
    [ -e "$file" ] && return 0
  done
  return 1
}

# Sets missing to the groups of package_names() that are lacking.
look() {
  missing=''
  if have Rscript; then
    ask_r
    toolchain_works || missing="$missing toolchain"
    blas_is_optimised || missing="$missing blas"
  else
    missing=' R toolchain blas'
  fi
  for program in $programs; do
    have "$program" || missing="$missing $program"
  done
  if [ "$level" = bench ]; then
    has_torch || missing="$missing torch"
    has_reference_blas || missing="$missing reference"
  fi
}

# ---- How to get the rest ----

manager=''
for candidate in apt-get dnf pacman zypper apk brew; do
  if have "$candidate"; then manager=$candidate; break; fi
done

# What the package manager calls each group.
package_names() {
  case $manager:$1 in
    apt-get:R) echo r-base-core ;;
    apt-get:toolchain) echo build-essential gfortran libblas-dev liblapack-dev ;;
    apt-get:blas) echo libopenblas0-pthread ;;
    apt-get:torch) echo python3-torch ;;
    apt-get:reference) echo libblas3 liblapack3 ;;
    dnf:R) echo R-core R-core-devel ;;
    dnf:toolchain) echo R-core-devel gcc gcc-c++ gcc-gfortran make libxml2-devel libasan libubsan ;;
    dnf:blas) echo flexiblas-openblas-openmp ;;
    dnf:torch) echo python3-torch ;;
    pacman:R) echo r ;;
    pacman:toolchain) echo base-devel gcc-fortran libxml2 ;;
    pacman:blas) echo blas-openblas ;;
    pacman:torch) echo python-pytorch ;;
    pacman:pandoc) echo pandoc-cli ;;
    zypper:R) echo R-base ;;
    zypper:toolchain) echo R-base-devel gcc gcc-c++ gcc-fortran make libxml2-devel ;;
    zypper:blas) echo libopenblas_pthreads0 ;;
    apk:R) echo R ;;
    apk:toolchain) echo R-dev build-base gfortran libxml2-dev ;;
    apk:blas) echo openblas ;;
    apk:tidy) echo tidyhtml ;;
    brew:R) echo r ;;
    brew:toolchain) echo gcc ;;
    brew:blas) echo openblas ;;
    brew:tidy) echo tidy-html5 ;;
    *:reference) ;;
    *:torch) ;;
    *) echo "$1" ;;
  esac
}

is_installed() {
  case $manager in
    apt-get) dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed ;;
    dnf | zypper) rpm -q "$1" >/dev/null 2>&1 ;;
    pacman) pacman -Q "$1" >/dev/null 2>&1 ;;
    apk) apk info -e "$1" >/dev/null 2>&1 ;;
    brew) brew list "$1" >/dev/null 2>&1 ;;
    *) return 1 ;;
  esac
}

may_be_root() {
  [ "$(id -u)" -eq 0 ] || [ "$manager" = brew ] && return 0
  have sudo || return 1
  [ -t 0 ] || sudo -n true 2>/dev/null # without a terminal nobody can type a password
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

refreshed=no
refresh() {
  [ $refreshed = no ] || return 0
  refreshed=yes
  if [ "$manager" = apt-get ]; then
    as_root apt-get update -qq || say 'the package lists could not be refreshed; going on with the old ones.'
  fi
}

install() {
  refresh
  case $manager in
    apt-get) as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
      -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" ;;
    dnf) as_root dnf install -y "$@" ;;
    pacman) as_root pacman -Sy --noconfirm --needed "$@" ;;
    zypper) as_root zypper --non-interactive install "$@" ;;
    apk) as_root apk add "$@" ;;
    brew) brew install "$@" ;;
  esac
}

# Debian's R has most of CRAN ready built; an R from elsewhere does not see them.
r_is_debians() {
  [ "$manager" = apt-get ] && is_installed r-base-core && [ "$(R RHOME)" = /usr/lib/R ]
}

prebuilt_r_packages() {
  for package in $r_missing; do
    for name in "r-cran-$package" "r-bioc-$package"; do
      name=$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]')
      if apt-cache show "$name" >/dev/null 2>&1; then echo "$name"; fi
    done
  done
}

# ---- Do it ----

look
wanted=''
for group in $missing; do
  for name in $(package_names "$group"); do
    is_installed "$name" || wanted="$wanted $name"
  done
done
if [ -n "$wanted" ]; then
  if [ -z "$manager" ]; then
    say "missing:$missing. None of apt-get, dnf, pacman, zypper, apk, brew is here to install it."
  elif ! may_be_root; then
    say "missing:$missing. As root, install:$wanted"
  else
    say "installing:$wanted"
    # One at a time where all at once fails: a name that one release lacks
    # must not stop the others.
    # shellcheck disable=SC2086
    install $wanted || for name in $wanted; do install "$name" || say "could not install $name."; done
  fi
  look
fi
have Rscript || die 'R is not here, and nothing works without it.'
case $missing in *toolchain*) die 'R cannot compile and link C code here (compiler, make, LAPACK or Fortran runtime missing).' ;; esac

if [ -n "$r_missing" ] && r_is_debians && may_be_root; then
  refresh
  prebuilt=$(prebuilt_r_packages)
  # shellcheck disable=SC2086
  if [ -n "$prebuilt" ]; then
    say "installing:" $prebuilt
    install $prebuilt || say 'could not install all of them.'
    ask_r
  fi
fi
if [ -n "$r_missing" ]; then
  say "installing from CRAN: $r_missing"
  # shellcheck disable=SC2086
  Rscript tools/packages.R install $r_missing || say 'could not install all of them.'
  ask_r
fi

# ---- What there is now ----

if blas_is_optimised; then
  say "R $r_version with the BLAS $blas"
else
  say "R $r_version with the BLAS ${blas:-it was built with}, which is not known to be an optimised one: results are the same, large matrices slower."
fi
for program in $programs; do
  have "$program" || say "$program is not here; what needs it will fail or be skipped."
done
case $missing in *torch*) say 'PyTorch is not here; bench/vae.R leaves it out.' ;; esac
case " $r_missing " in
  *' testthat '*) die 'the R tests need testthat (3.0.0 or newer), which could not be installed.' ;;
  '  ') ;;
  *) say "R packages not here: $r_missing. What needs them will fail or be skipped." ;;
esac
