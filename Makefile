# For GNU make. Everything made here goes into build/, which git and R CMD
# build ignore; only `make install` touches a library of the user's.

# `make test SETUP=true` leaves the machine as it is.
SETUP = sh tools/setup.sh
LIB = $(CURDIR)/build/lib
WITH_LIB = R_LIBS="$(LIB)$${R_LIBS:+:$$R_LIBS}"

.DEFAULT_GOAL = help
.PHONY: help setup demo test ctest sanitize threads compilers torture valgrind rooms document build check bench experiments readme install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## install what the tests and checks need (R, compiler, BLAS, R packages)
	@$(SETUP) test

demo: ## set up, install into build/lib, and show the package at work
	@$(SETUP) run
	@sh tools/install.sh "$(LIB)"
	@$(WITH_LIB) Rscript tools/demo.R

test: ## run the R and C tests; the last line counts them
	@$(SETUP) test
	@$(WITH_LIB) sh tools/test.sh "$(LIB)"

ctest: ## run the tests of the C core alone, without R
	@sh ctests/run.sh plain

sanitize: ## run C tests and fuzzers under the address and undefined-behaviour sanitisers
	@sh ctests/run.sh sanitize

threads: ## run the C tests of what uses several threads under the thread sanitiser
	@sh ctests/run.sh threads

compilers: ## compile with gcc and clang without a warning; run the C tests of portable builds
	@sh ctests/run.sh compilers

torture: ## run tests/torture.R with garbage collected at every allocation
	@sh tools/install.sh "$(LIB)"
	@$(WITH_LIB) Rscript tools/torture.R

valgrind: ## run tests/torture.R under valgrind
	@$(SETUP) valgrind
	@sh tools/install.sh "$(LIB)"
	@$(WITH_LIB) sh tools/valgrind.sh

rooms: ## prove from the sources who may call whom in R/
	@Rscript tools/rooms.R

document: ## write NAMESPACE and man/ from the comments in R/
	@Rscript tools/document.R

build: ## make the source package, build/elbo_<version>.tar.gz
	@mkdir -p build && cd build && rm -f elbo_*.tar.gz && R CMD build ..

check: ## R CMD check --as-cran; fails on errors, warnings and unexpected notes
	@$(SETUP) test
	@sh tools/check.sh

bench: ## run every script in bench/
	@$(SETUP) bench
	@sh tools/install.sh "$(LIB)"
	@$(WITH_LIB) sh -c 'for f in bench/*.R; do [ -e "$$f" ] || continue; echo "== $$f"; Rscript "$$f" || exit 1; done'

# Goes on where it was stopped. (Its scripts may run twice side by side.) Some rows, or other
# settings: make experiments EXPERIMENTS=table1 SETTINGS="learned-1 epochs=20 threads=1".
EXPERIMENTS = table1 fig56 fig4 annealing-mnist sigma
SETTINGS =
experiments: ## run section 6 of the paper on all of MNIST, into inst/extdata/results (many hours)
	@$(SETUP) run
	@sh tools/install.sh "$(LIB)"
	@$(WITH_LIB) ELBO_SETTINGS="$(SETTINGS)" sh -c 'for name in $(EXPERIMENTS); do \
		echo "== $$name"; Rscript inst/experiments/$$name.R || exit 1; done'

readme: ## bring the README's output up to date
	@$(SETUP) run
	@sh tools/install.sh "$(LIB)"
	@$(WITH_LIB) Rscript tools/readme.R

install: ## install the package into R's own library
	R CMD INSTALL --preclean --clean .

clean: ## remove everything made here
	rm -rf build src/*.o src/*.so
