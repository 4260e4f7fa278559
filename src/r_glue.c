/* Checks and conversions that all entry points share. R's own code has
 * validated what the user gave; these checks protect memory. */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "linalg.h"
#include "r_glue.h"
#include "threads.h"

static void check_dim(SEXP dim, elbo_data *d)
{
  if (TYPEOF(dim) != INTSXP || XLENGTH(dim) != 2 || INTEGER(dim)[0] < 0 ||
      INTEGER(dim)[1] < 0)
    Rf_error("internal error: `x` has no valid dimensions");
  d->n = (size_t) INTEGER(dim)[0];
  d->p = (size_t) INTEGER(dim)[1];
}

/* Offsets must not decrease, rows must increase within a column. */
static void check_sparse(const elbo_data *d, size_t stored)
{
  int bad = d->start[0] != 0 || (size_t) d->start[d->p] != stored;
  for (size_t j = 0; j < d->p && !bad; j++) {
    int from = d->start[j], to = d->start[j + 1];
    if (from > to || (size_t) to > stored) { bad = 1; break; }
    for (int s = from; s < to; s++)
      bad |= d->row[s] < 0 || (size_t) d->row[s] >= d->n ||
        (s > from && d->row[s] <= d->row[s - 1]);
  }
  if (bad) Rf_error("internal error: `x` is not a valid dgCMatrix");
}

static void sparse_data(SEXP x, elbo_data *d)
{
  SEXP value = R_do_slot(x, Rf_install("x")), row = R_do_slot(x, Rf_install("i")),
    start = R_do_slot(x, Rf_install("p"));
  check_dim(R_do_slot(x, Rf_install("Dim")), d);
  if (TYPEOF(value) != REALSXP || TYPEOF(row) != INTSXP ||
      TYPEOF(start) != INTSXP || XLENGTH(row) != XLENGTH(value) ||
      (size_t) XLENGTH(start) != d->p + 1)
    Rf_error("internal error: `x` is not a valid dgCMatrix");
  d->kind = DATA_SPARSE;
  d->value = REAL(value);
  d->row = INTEGER(row);
  d->start = INTEGER(start);
  check_sparse(d, (size_t) XLENGTH(value));
}

elbo_data glue_raw_data(SEXP x)
{
  glue_use();
  elbo_data d = {.poll = glue_interrupt};
  if (Rf_isS4(x) && Rf_inherits(x, "dgCMatrix")) {
    sparse_data(x, &d);
  } else {
    check_dim(Rf_getAttrib(x, R_DimSymbol), &d);
    if (TYPEOF(x) == REALSXP) {
      d.kind = DATA_DOUBLE;
      d.value = REAL(x);
    } else if (TYPEOF(x) == INTSXP) {
      d.kind = DATA_INTEGER;
      d.ivalue = INTEGER(x);
    } else Rf_error("internal error: `x` is not a numeric matrix");
    if ((double) XLENGTH(x) != (double) d.n * (double) d.p)
      Rf_error("internal error: `x` has not the size of its dimensions");
  }
  return d;
}

/* ---- products ---------------------------------------------------------- */

/* Where the products pack their blocks, for up to so many threads. Each block begins with
 * the address of a smaller one, which may still be in use; there are few of them. */
static struct {
  void **block;
  int threads;
  gemm_plan linalg;           /* what linalg has; without space, R's BLAS */
} space;

static void use_linalg(gemm_plan plan)
{
  space.linalg = plan;
  la_use(plan.space != NULL, plan);
}

/* An event loop may run R code here, which may call the package. */
void glue_interrupt(void)
{
  gemm_plan plan = space.linalg;
  R_CheckUserInterrupt();
  use_linalg(plan);
}

static void *space_for(int threads)
{
  if (threads > space.threads) {
    int most = threads > 2 * space.threads ? threads : 2 * space.threads;
    size_t size = gemm_space(most);
    void **block = size < SIZE_MAX - sizeof *block ? malloc(size + sizeof *block) : NULL;
    if (!block)
      Rf_error("there is no memory for the work space of %d thread%s (%.0f MB); "
               "`options(elbo.threads = 1)` needs %.0f MB", threads,
               threads > 1 ? "s" : "", (double) size / 1e6,
               (double) gemm_space(1) / 1e6);
    *block = space.block;
    space.block = block;
    space.threads = most;
  }
  return space.block + 1;
}

/* Ends the threads and gives the space back. (R does not find a R_unload_elbo() where
 * symbols are not looked up dynamically.) */
SEXP C_unload(void)
{
  threads_unload();
  use_linalg((gemm_plan) {GEMM_PORTABLE, 1, NULL});
  while (space.block) {
    void **smaller = *space.block;
    free(space.block);
    space.block = smaller;
  }
  space.threads = 0;
  return R_NilValue;
}

/* The string that an option holds, or "". */
static const char *option_string(const char *name)
{
  SEXP value = Rf_GetOption1(Rf_install(name));
  return TYPEOF(value) == STRSXP && XLENGTH(value) == 1 ? CHAR(STRING_ELT(value, 0)) : "";
}

static int option_threads(void)
{
  SEXP value = Rf_GetOption1(Rf_install("elbo.threads"));
  double asked = Rf_isNumeric(value) && XLENGTH(value) == 1 ? Rf_asReal(value) : 0;
  return asked >= 1.0 && asked <= 4096.0 ? (int) asked : 0;
}

gemm_plan glue_plan(int threads)
{
  const char *name = option_string("elbo.kernel");
  gemm_plan plan = {.kernel = gemm_best()};
  if (strcmp(name, "portable") == 0) plan.kernel = GEMM_PORTABLE;
  else if (strcmp(name, "avx2") == 0 && plan.kernel > GEMM_AVX2) plan.kernel = GEMM_AVX2;
  plan.threads = threads_allowed(threads > 0 ? threads : option_threads());
  plan.space = space_for(plan.threads);
  return plan;
}

void glue_use(void)
{
  int own = strcmp(option_string("elbo.blas"), "R") != 0;
  use_linalg(own ? glue_plan(0) : (gemm_plan) {GEMM_PORTABLE, 1, NULL});
}

/* ---- arguments --------------------------------------------------------- */

elbo_data glue_data(SEXP x, SEXP mu, SEXP unit)
{
  elbo_data d = glue_raw_data(x);
  d.mu = glue_matrix(mu, d.p, 1, "mu");
  d.unit = glue_matrix(unit, d.p, 1, "unit");
  return d;
}

const double *glue_matrix(SEXP x, size_t n, size_t p, const char *what)
{
  size_t length = (size_t) Rf_xlength(x);
  int differs = p > 0 ? (double) length != (double) n * (double) p : n > 0 && length % n;
  if (TYPEOF(x) != REALSXP || differs)
    Rf_error("internal error: `%s` has the wrong type or size", what);
  return REAL(x);
}

double glue_number(SEXP x, const char *what)
{
  return *glue_matrix(x, 1, 1, what);
}

size_t glue_count(SEXP x, size_t least, size_t most, const char *what)
{
  if (TYPEOF(x) != INTSXP || XLENGTH(x) != 1 || INTEGER(x)[0] < 0 ||
      (size_t) INTEGER(x)[0] < least || (size_t) INTEGER(x)[0] > most)
    Rf_error("internal error: `%s` is out of range", what);
  return (size_t) INTEGER(x)[0];
}

const int *glue_rows(SEXP rows, size_t n)
{
  if (TYPEOF(rows) != INTSXP) Rf_error("internal error: `rows` are not integers");
  for (R_xlen_t i = 0; i < XLENGTH(rows); i++)
    if (INTEGER(rows)[i] < 0 || (size_t) INTEGER(rows)[i] >= n)
      Rf_error("internal error: `rows` are out of range");
  return INTEGER(rows);
}

int glue_flag(SEXP x, const char *what)
{
  if (TYPEOF(x) != LGLSXP || XLENGTH(x) != 1)
    Rf_error("internal error: `%s` is not a flag", what);
  return LOGICAL(x)[0] != 0;
}

rng_key glue_key(SEXP key)
{
  if (TYPEOF(key) != INTSXP || XLENGTH(key) != 2)
    Rf_error("internal error: `key` is not two integers");
  return (rng_key) {{(uint32_t) INTEGER(key)[0], (uint32_t) INTEGER(key)[1]}};
}

SEXP glue_optional(SEXP list, const char *name, SEXP absent)
{
  SEXP names = Rf_getAttrib(list, R_NamesSymbol);
  if (TYPEOF(list) == VECSXP && TYPEOF(names) == STRSXP && XLENGTH(names) == XLENGTH(list))
    for (R_xlen_t i = 0; i < XLENGTH(list); i++)
      if (strcmp(CHAR(STRING_ELT(names, i)), name) == 0)
        return VECTOR_ELT(list, i);
  return absent;
}

SEXP glue_element(SEXP list, const char *name)
{
  SEXP element = glue_optional(list, name, NULL);
  if (!element) Rf_error("internal error: element `%s` is absent", name);
  return element;
}

double *glue_doubles(size_t count)
{
  return (double *) R_alloc(count ? count : 1, sizeof(double));
}

int *glue_ints(size_t count)
{
  return (int *) R_alloc(count ? count : 1, sizeof(int));
}

void glue_check_sizes(size_t n, size_t p, size_t k, size_t m)
{
  double dn = (double) n, dp = (double) p, dk = (double) k, dm = (double) m;
  double cells = 64.0 * ((dn + dp) * (3.0 * dk + 4096.0) + dm * dm +
                         (dp + 4096.0) * (dk + 1.0) * (dk + 1.0));
  if (cells > 1.8e16 || cells / 8.0 > (double) SIZE_MAX || 3.0 * dk > INT_MAX ||
      dk * (dk + 3.0) > INT_MAX)
    Rf_error("the model is too large: %.0f x %.0f data with k = %.0f", dn, dp,
             dk);
}

SEXP glue_list(const char **names, int count)
{
  SEXP list = PROTECT(Rf_allocVector(VECSXP, count));
  SEXP tags = PROTECT(Rf_allocVector(STRSXP, count));
  for (int i = 0; i < count; i++)
    SET_STRING_ELT(tags, i, Rf_mkChar(names[i]));
  Rf_setAttrib(list, R_NamesSymbol, tags);
  UNPROTECT(2);
  return list;
}
