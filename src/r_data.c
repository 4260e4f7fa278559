/* .Call entries that read the data alone. */
#include "r_glue.h"

SEXP C_data_summary(SEXP x)
{
  static const char *names[] = {"count", "mean", "low", "high", "infinite"};
  elbo_data d = glue_raw_data(x);
  SEXP out = PROTECT(glue_list(names, 5));
  for (int i = 0; i < 4; i++)
    SET_VECTOR_ELT(out, i, Rf_allocVector(REALSXP, (R_xlen_t) d.p));
  size_t infinite = data_summary(&d, REAL(VECTOR_ELT(out, 0)),
                                 REAL(VECTOR_ELT(out, 1)),
                                 REAL(VECTOR_ELT(out, 2)),
                                 REAL(VECTOR_ELT(out, 3)));
  SET_VECTOR_ELT(out, 4, Rf_ScalarInteger((int) infinite));
  UNPROTECT(1);
  return out;
}

SEXP C_data_squares(SEXP x, SEXP mu, SEXP unit)
{
  elbo_data d = glue_data(x, mu, unit);
  SEXP out = PROTECT(Rf_allocVector(REALSXP, (R_xlen_t) d.p));
  data_squares(&d, REAL(out));
  UNPROTECT(1);
  return out;
}

/* (x - mu) unit times q, for complete data: n x ncol(q). */
SEXP C_data_times(SEXP x, SEXP mu, SEXP unit, SEXP q)
{
  elbo_data d = glue_data(x, mu, unit);
  const double *pq = glue_matrix(q, d.p, 0, "q");
  size_t b = d.p ? (size_t) XLENGTH(q) / d.p : 0;
  glue_check_sizes(d.n, d.p, b, 0);
  SEXP out = PROTECT(Rf_allocMatrix(REALSXP, (int) d.n, (int) b));
  data_times(&d, pq, b, REAL(out), glue_doubles(data_times_work(&d, b)));
  UNPROTECT(1);
  return out;
}
