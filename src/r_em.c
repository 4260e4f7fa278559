/* .Call entries for EM: each is one map, from parameters to parameters. */
#include "em.h"
#include "missing.h"
#include "packed.h"
#include "r_glue.h"
#include "status.h"

static size_t columns_of(SEXP w, size_t p)
{
  size_t k = p ? (size_t) Rf_xlength(w) / p : 0;
  if (k == 0 || k >= p) Rf_error("internal error: `w` has a wrong size");
  return k;
}

SEXP C_em_step(SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP sigma2, SEXP trace,
               SEXP fixed)
{
  static const char *names[] = {"w", "sigma2", "loglik", "status"};
  elbo_data d = glue_data(x, mu, unit);
  const double *pw = glue_matrix(w, d.p, 0, "w");
  size_t k = columns_of(w, d.p);
  double sigma2_new = NA_REAL, loglik = NA_REAL;
  glue_check_sizes(d.n, d.p, k, 0);
  SEXP out = PROTECT(glue_list(names, 4));
  SET_VECTOR_ELT(out, 0, Rf_allocMatrix(REALSXP, (int) d.p, (int) k));
  int status = em_step(&d, k, pw, glue_number(sigma2, "sigma2"),
                       glue_number(trace, "trace"), glue_number(fixed, "fixed"),
                       REAL(VECTOR_ELT(out, 0)), &sigma2_new, &loglik,
                       glue_doubles(em_step_work(&d, k)));
  SET_VECTOR_ELT(out, 1, Rf_ScalarReal(sigma2_new));
  SET_VECTOR_ELT(out, 2, Rf_ScalarReal(loglik));
  SET_VECTOR_ELT(out, 3, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

/* An accelerated map: from loadings where state is NULL, else from state. */
SEXP C_em_ritz(SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP state)
{
  static const char *names[] =
    {"u", "su", "step", "sstep", "values", "c", "status"};
  elbo_data d = glue_data(x, mu, unit);
  int first = state == R_NilValue;
  SEXP basis = first ? w : glue_element(state, "u");
  const double *start = glue_matrix(basis, d.p, 0, "w");
  size_t p = d.p, k = columns_of(basis, p), work, iwork;
  glue_check_sizes(d.n, p, k, 3 * k);
  SEXP out = PROTECT(glue_list(names, 7));
  for (int i = 0; i < 4; i++)
    SET_VECTOR_ELT(out, i, Rf_allocMatrix(REALSXP, (int) p, (int) k));
  SET_VECTOR_ELT(out, 4, Rf_allocVector(REALSXP, (R_xlen_t) k));
  em_subspace to = {k, 0, REAL(VECTOR_ELT(out, 0)), REAL(VECTOR_ELT(out, 1)),
                    REAL(VECTOR_ELT(out, 2)), REAL(VECTOR_ELT(out, 3)),
                    REAL(VECTOR_ELT(out, 4))};
  int status = em_ritz_work(&d, k, &work, &iwork);
  double *space = glue_doubles(work);
  int *ispace = glue_ints(iwork);
  if (status == ELBO_OK && first) {
    status = em_ritz_start(&d, start, &to, space, ispace);
  } else if (status == ELBO_OK) {
    em_subspace from = {
      k, glue_count(glue_element(state, "c"), 0, k, "c"), (double *) start,
      (double *) glue_matrix(glue_element(state, "su"), p, k, "su"),
      (double *) glue_matrix(glue_element(state, "step"), p, k, "step"),
      (double *) glue_matrix(glue_element(state, "sstep"), p, k, "sstep"),
      (double *) glue_matrix(glue_element(state, "values"), k, 1, "values")};
    status = em_ritz_step(&d, &from, &to, space, ispace);
  }
  SET_VECTOR_ELT(out, 5, Rf_ScalarInteger((int) to.c));
  SET_VECTOR_ELT(out, 6, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

/* ---- missing cells ----------------------------------------------------- */

SEXP C_missing_patterns(SEXP x)
{
  static const char *names[] = {"pattern", "order", "count"};
  elbo_data d = glue_raw_data(x);
  SEXP out = PROTECT(glue_list(names, 3));
  SET_VECTOR_ELT(out, 0, Rf_allocVector(INTSXP, (R_xlen_t) d.n));
  SET_VECTOR_ELT(out, 1, Rf_allocVector(INTSXP, (R_xlen_t) d.n));
  unsigned long long *work = (unsigned long long *)
    R_alloc(3 * d.n + 1, sizeof(unsigned long long));
  size_t count = missing_patterns(&d, INTEGER(VECTOR_ELT(out, 0)),
                                  INTEGER(VECTOR_ELT(out, 1)), work);
  SET_VECTOR_ELT(out, 2, Rf_ScalarInteger((int) count));
  UNPROTECT(1);
  return out;
}

/* Rows are read and patterns written by these numbers: check them all. */
static elbo_patterns glue_patterns(SEXP patterns, size_t n)
{
  SEXP pattern = glue_element(patterns, "pattern"),
    order = glue_element(patterns, "order");
  size_t count = glue_count(glue_element(patterns, "count"), 0, n, "count");
  if (TYPEOF(pattern) != INTSXP || TYPEOF(order) != INTSXP ||
      (size_t) XLENGTH(pattern) != n || (size_t) XLENGTH(order) != n)
    Rf_error("internal error: `patterns` has a wrong size");
  for (size_t i = 0; i < n; i++) {
    int u = INTEGER(pattern)[i], row = INTEGER(order)[i];
    if (u < 0 || (size_t) u >= count || row < 0 || (size_t) row >= n)
      Rf_error("internal error: `patterns` is out of range");
  }
  return (elbo_patterns) {count, INTEGER(pattern), INTEGER(order)};
}

SEXP C_missing_posterior(SEXP x, SEXP mu, SEXP unit, SEXP patterns, SEXP w,
                         SEXP sigma2, SEXP want_cov, SEXP want_loglik)
{
  static const char *names[] = {"mean", "cov", "loglik", "status"};
  elbo_data d = glue_data(x, mu, unit);
  elbo_patterns rows = glue_patterns(patterns, d.n);
  const double *pw = glue_matrix(w, d.p, 0, "w");
  missing_model model = {columns_of(w, d.p), pw, glue_number(sigma2, "sigma2"),
                         0, 0};
  double *cov = NULL, *loglik = NULL;
  glue_check_sizes(d.n, d.p, model.k, 0);
  SEXP out = PROTECT(glue_list(names, 4));
  SET_VECTOR_ELT(out, 0, Rf_allocMatrix(REALSXP, (int) d.n, (int) model.k));
  if (glue_flag(want_cov, "want_cov")) {
    SET_VECTOR_ELT(out, 1, Rf_allocMatrix(REALSXP, (int) rows.count,
                                          (int) packed_size(model.k)));
    cov = REAL(VECTOR_ELT(out, 1));
  }
  if (glue_flag(want_loglik, "want_loglik")) {
    SET_VECTOR_ELT(out, 2, Rf_allocVector(REALSXP, (R_xlen_t) d.n));
    loglik = REAL(VECTOR_ELT(out, 2));
  }
  int status = missing_posterior(&d, &rows, &model, REAL(VECTOR_ELT(out, 0)),
                                 cov, loglik,
                                 glue_doubles(missing_work(&d, model.k)));
  SET_VECTOR_ELT(out, 3, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

SEXP C_missing_em(SEXP x, SEXP mu, SEXP unit, SEXP patterns, SEXP w,
                  SEXP sigma2, SEXP fix_mu, SEXP fix_sigma2)
{
  static const char *names[] = {"w", "mu", "sigma2", "loglik", "status"};
  elbo_data d = glue_data(x, mu, unit);
  elbo_patterns rows = glue_patterns(patterns, d.n);
  const double *pw = glue_matrix(w, d.p, 0, "w");
  missing_model model = {columns_of(w, d.p), pw, glue_number(sigma2, "sigma2"),
                         glue_flag(fix_mu, "fix_mu"),
                         glue_flag(fix_sigma2, "fix_sigma2")};
  double sigma2_new = NA_REAL, loglik = NA_REAL;
  glue_check_sizes(d.n, d.p, model.k, 0);
  SEXP out = PROTECT(glue_list(names, 5));
  SET_VECTOR_ELT(out, 0, Rf_allocMatrix(REALSXP, (int) d.p, (int) model.k));
  SET_VECTOR_ELT(out, 1, Rf_allocVector(REALSXP, (R_xlen_t) d.p));
  int status = missing_em_step(&d, &rows, &model, REAL(VECTOR_ELT(out, 0)),
                               REAL(VECTOR_ELT(out, 1)), &sigma2_new, &loglik,
                               glue_doubles(missing_work(&d, model.k)));
  SET_VECTOR_ELT(out, 2, Rf_ScalarReal(sigma2_new));
  SET_VECTOR_ELT(out, 3, Rf_ScalarReal(loglik));
  SET_VECTOR_ELT(out, 4, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}
