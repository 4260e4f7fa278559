/* .Call entries for the closed form of pPCA. */
#include "ppca.h"
#include "r_glue.h"

SEXP C_ppca_eigen(SEXP x, SEXP mu, SEXP unit, SEXP k_, SEXP route_)
{
  static const char *names[] =
    {"values", "vectors", "projections", "trace", "products", "residual",
     "status"};
  elbo_data d = glue_data(x, mu, unit);
  enum ppca_route route = (enum ppca_route) glue_count(route_, 0, 2, "route");
  size_t m = d.n < d.p ? d.n : d.p, work, iwork, products = 0;
  size_t k = glue_count(k_, 1, m, "k");
  double trace = NA_REAL, residual = NA_REAL;
  size_t order = route == PPCA_COVARIANCE ? d.p : route == PPCA_GRAM ? d.n : 0;
  glue_check_sizes(d.n, d.p, k, order);
  if (route == PPCA_KRYLOV && m < 40 + 3 * k)
    Rf_error("internal error: `k` is too large for the Krylov route");

  int status = ppca_eigen_work(&d, k, route, &work, &iwork);
  SEXP out = PROTECT(glue_list(names, 7));
  SET_VECTOR_ELT(out, 0, Rf_allocVector(REALSXP,
                                        (R_xlen_t) (order ? order : k)));
  SET_VECTOR_ELT(out, 1, Rf_allocMatrix(REALSXP, (int) d.p, (int) k));
  SET_VECTOR_ELT(out, 2, Rf_allocMatrix(REALSXP, (int) d.n, (int) k));
  if (status == 0)
    status = ppca_eigen(&d, k, route, REAL(VECTOR_ELT(out, 0)),
                        REAL(VECTOR_ELT(out, 1)), REAL(VECTOR_ELT(out, 2)),
                        &trace, &products, &residual, glue_doubles(work),
                        glue_ints(iwork));
  SET_VECTOR_ELT(out, 3, Rf_ScalarReal(trace));
  SET_VECTOR_ELT(out, 4, Rf_ScalarReal((double) products));
  SET_VECTOR_ELT(out, 5, Rf_ScalarReal(residual));
  SET_VECTOR_ELT(out, 6, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

/* Loadings and noise variance from k eigenpairs; fixed < 0: estimate sigma2. */
SEXP C_ppca_solve(SEXP values, SEXP vectors, SEXP trace, SEXP fixed)
{
  static const char *names[] = {"w", "sigma2", "used", "loglik"};
  size_t k = (size_t) Rf_xlength(values);
  const double *lambda = glue_matrix(values, k, 1, "values");
  const double *u = glue_matrix(vectors, k, 0, "vectors");
  size_t p = k ? (size_t) XLENGTH(vectors) / k : 0;
  double total = glue_number(trace, "trace"), sigma2;
  if (k == 0 || k >= p) Rf_error("internal error: `values` has a wrong length");

  size_t used = ppca_noise(lambda, k, p, total, glue_number(fixed, "fixed"),
                           &sigma2);
  SEXP out = PROTECT(glue_list(names, 4));
  SET_VECTOR_ELT(out, 0, Rf_allocMatrix(REALSXP, (int) p, (int) k));
  ppca_loadings(lambda, u, k, p, used, sigma2, REAL(VECTOR_ELT(out, 0)));
  SET_VECTOR_ELT(out, 1, Rf_ScalarReal(sigma2));
  SET_VECTOR_ELT(out, 2, Rf_ScalarInteger((int) used));
  SET_VECTOR_ELT(out, 3,
                 Rf_ScalarReal(ppca_loglik(lambda, used, p, total, sigma2)));
  UNPROTECT(1);
  return out;
}

/* Noise variance and mean log-likelihood for each number of dimensions. */
SEXP C_ppca_profile(SEXP values, SEXP ranks, SEXP p_, SEXP trace, SEXP fixed)
{
  static const char *names[] = {"sigma2", "loglik"};
  size_t m = (size_t) Rf_xlength(values), p = glue_count(p_, 1, 2147483647, "p");
  const double *lambda = glue_matrix(values, m, 1, "values");
  double total = glue_number(trace, "trace"), keep = glue_number(fixed, "fixed");
  if (TYPEOF(ranks) != INTSXP) Rf_error("internal error: `ranks` is no integer");
  R_xlen_t count = XLENGTH(ranks);
  SEXP out = PROTECT(glue_list(names, 2));
  SET_VECTOR_ELT(out, 0, Rf_allocVector(REALSXP, count));
  SET_VECTOR_ELT(out, 1, Rf_allocVector(REALSXP, count));
  for (R_xlen_t i = 0; i < count; i++) {
    int k = INTEGER(ranks)[i];
    if (k < 0 || (size_t) k > m || (size_t) k >= p)
      Rf_error("internal error: `ranks` is out of range");
    double *sigma2 = REAL(VECTOR_ELT(out, 0)) + i;
    size_t used = ppca_noise(lambda, (size_t) k, p, total, keep, sigma2);
    REAL(VECTOR_ELT(out, 1))[i] = ppca_loglik(lambda, used, p, total, *sigma2);
  }
  UNPROTECT(1);
  return out;
}

SEXP C_ppca_canonical(SEXP w)
{
  SEXP dim = Rf_getAttrib(w, R_DimSymbol);
  if (TYPEOF(w) != REALSXP || TYPEOF(dim) != INTSXP || XLENGTH(dim) != 2 ||
      (double) XLENGTH(w) != (double) INTEGER(dim)[0] * (double) INTEGER(dim)[1])
    Rf_error("internal error: `w` is no matrix");
  size_t p = (size_t) INTEGER(dim)[0], k = (size_t) INTEGER(dim)[1];
  size_t work, iwork;
  glue_check_sizes(1, p, k, k);
  int status = ppca_canonical_work(p, k, &work, &iwork);
  SEXP out = PROTECT(Rf_duplicate(w));
  if (status == 0)
    status = ppca_canonical(p, k, REAL(out), glue_doubles(work),
                            glue_ints(iwork));
  if (status != 0) Rf_error("LAPACK failed to decompose W'W");
  UNPROTECT(1);
  return out;
}
