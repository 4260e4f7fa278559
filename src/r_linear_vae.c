/* .Call entries for the linear VAE. */
#include "linalg.h"
#include "linear_vae.h"
#include "r_glue.h"
#include "status.h"

/* S as a matrix, or where it is NULL, the data it belongs to (then in *d). */
static lvae_cov glue_cov(SEXP s, SEXP x, SEXP mu, SEXP unit, elbo_data *d)
{
  if (s == R_NilValue) {
    *d = glue_data(x, mu, unit);
    return (lvae_cov) {NULL, d, d->p};
  }
  size_t p = (size_t) Rf_xlength(mu);
  glue_use();
  return (lvae_cov) {glue_matrix(s, p, p, "s"), NULL, p};
}

static void check_cov_sizes(const lvae_cov *cov, size_t k)
{
  glue_check_sizes(cov->data ? cov->data->n : 1, cov->p, 2 * k, 0);
}

/* The number of columns of `a`, which has p rows. */
static size_t columns(SEXP a, size_t p, const char *what)
{
  glue_matrix(a, p, 0, what);
  size_t k = p ? (size_t) XLENGTH(a) / p : 0;
  if (k == 0) Rf_error("internal error: `%s` has no columns", what);
  return k;
}

static SEXP glue_terms(lvae_terms terms)
{
  static const char *names[] = {"error", "reconstruction", "kl"};
  SEXP out = PROTECT(glue_list(names, 3));
  SET_VECTOR_ELT(out, 0, Rf_ScalarReal(terms.error));
  SET_VECTOR_ELT(out, 1, Rf_ScalarReal(terms.reconstruction));
  SET_VECTOR_ELT(out, 2, Rf_ScalarReal(terms.kl));
  UNPROTECT(1);
  return out;
}

SEXP C_data_covariance(SEXP x, SEXP mu, SEXP unit)
{
  elbo_data d = glue_data(x, mu, unit);
  glue_check_sizes(d.n, d.p, 1, d.p);
  SEXP s = PROTECT(Rf_allocMatrix(REALSXP, (int) d.p, (int) d.p));
  data_covariance(&d, REAL(s), glue_doubles(data_covariance_work(&d)));
  la_mirror(d.p, REAL(s), d.p);
  UNPROTECT(1);
  return s;
}

/* S q, p x b */
SEXP C_lvae_cov_times(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP q)
{
  elbo_data d;
  lvae_cov cov = glue_cov(s, x, mu, unit, &d);
  size_t b = columns(q, cov.p, "q");
  check_cov_sizes(&cov, b);
  SEXP out = PROTECT(Rf_allocMatrix(REALSXP, (int) cov.p, (int) b));
  lvae_cov_times(&cov, REAL(q), b, REAL(out), glue_doubles(lvae_cov_work(&cov, b)));
  UNPROTECT(1);
  return out;
}

/* Terms of the ELBO, the KL by dimension, and the log-likelihood, from the k x k
 * moments. */
SEXP C_lvae_terms(SEXP p_, SEXP ww, SEXP wsw, SEXP wsv, SEXP vsv, SEXP d,
                  SEXP sigma2_, SEXP trace_)
{
  static const char *names[] = {"terms", "kl", "loglik", "status"};
  size_t p = glue_count(p_, 1, 2147483647, "p"), k = (size_t) Rf_xlength(d);
  if (k == 0) Rf_error("internal error: `d` is empty");
  glue_check_sizes(1, p, k, 0);
  double sigma2 = glue_number(sigma2_, "sigma2");
  double trace = glue_number(trace_, "trace"), loglik = NA_REAL;
  lvae_moments m = {glue_matrix(ww, k, k, "ww"), glue_matrix(wsv, k, k, "wsv"),
                    glue_matrix(vsv, k, k, "vsv"), glue_matrix(d, k, 1, "d"),
                    sigma2, trace};
  SEXP out = PROTECT(glue_list(names, 4));
  SET_VECTOR_ELT(out, 1, Rf_allocVector(REALSXP, (R_xlen_t) k));
  SET_VECTOR_ELT(out, 0, glue_terms(lvae_elbo(p, k, &m, REAL(VECTOR_ELT(out, 1)))));
  int status = lvae_loglik(p, k, m.ww, glue_matrix(wsw, k, k, "wsw"), sigma2,
                           trace, &loglik, glue_doubles(2 * k * k));
  SET_VECTOR_ELT(out, 2, Rf_ScalarReal(loglik));
  SET_VECTOR_ELT(out, 3, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

SEXP C_lvae_ascend(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP sigma2,
                   SEXP trace, SEXP beta, SEXP rotate, SEXP fix_sigma2)
{
  static const char *names[] = {"w", "sigma2", "terms", "status"};
  elbo_data data;
  lvae_cov cov = glue_cov(s, x, mu, unit, &data);
  size_t k = columns(w, cov.p, "w");
  double next = NA_REAL;
  lvae_terms terms = {NA_REAL, NA_REAL, NA_REAL};
  check_cov_sizes(&cov, k);
  SEXP out = PROTECT(glue_list(names, 4));
  SET_VECTOR_ELT(out, 0, Rf_allocMatrix(REALSXP, (int) cov.p, (int) k));
  int status = lvae_ascend(&cov, k, REAL(w), glue_number(sigma2, "sigma2"),
                           glue_number(trace, "trace"), glue_number(beta, "beta"),
                           glue_flag(rotate, "rotate"),
                           glue_flag(fix_sigma2, "fix_sigma2"),
                           REAL(VECTOR_ELT(out, 0)), &next, &terms,
                           glue_doubles(lvae_ascend_work(&cov, k)));
  SET_VECTOR_ELT(out, 1, Rf_ScalarReal(next));
  SET_VECTOR_ELT(out, 2, glue_terms(terms));
  SET_VECTOR_ELT(out, 3, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

/* The objective over V and D at (w, sigma2), and its gradient. */
SEXP C_lvae_profile(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP sigma2,
                    SEXP trace, SEXP beta, SEXP fix_sigma2)
{
  static const char *names[] = {"vt", "d", "gradient", "terms", "status"};
  elbo_data data;
  lvae_cov cov = glue_cov(s, x, mu, unit, &data);
  size_t k = columns(w, cov.p, "w");
  lvae_terms terms = {NA_REAL, NA_REAL, NA_REAL};
  check_cov_sizes(&cov, k);
  SEXP out = PROTECT(glue_list(names, 5));
  SET_VECTOR_ELT(out, 0, Rf_allocMatrix(REALSXP, (int) cov.p, (int) k));
  SET_VECTOR_ELT(out, 1, Rf_allocVector(REALSXP, (R_xlen_t) k));
  SET_VECTOR_ELT(out, 2, Rf_allocVector(REALSXP, (R_xlen_t) (cov.p * k + 1)));
  int status = lvae_profile(&cov, k, REAL(w), glue_number(sigma2, "sigma2"),
                            glue_number(trace, "trace"),
                            glue_number(beta, "beta"),
                            glue_flag(fix_sigma2, "fix_sigma2"),
                            REAL(VECTOR_ELT(out, 0)), REAL(VECTOR_ELT(out, 1)),
                            &terms, REAL(VECTOR_ELT(out, 2)),
                            glue_doubles(lvae_ascend_work(&cov, k)));
  SET_VECTOR_ELT(out, 3, glue_terms(terms));
  SET_VECTOR_ELT(out, 4, Rf_ScalarInteger(status));
  UNPROTECT(1);
  return out;
}

SEXP C_lvae_noise(SEXP values, SEXP p, SEXP trace, SEXP beta)
{
  size_t k = (size_t) Rf_xlength(values);
  return Rf_ScalarReal(lvae_noise(glue_matrix(values, k, 1, "values"), k,
                                  glue_count(p, 1, 2147483647, "p"),
                                  glue_number(trace, "trace"),
                                  glue_number(beta, "beta")));
}

/* ---- gradients and Adam ------------------------------------------------ */

SEXP C_lvae_gradient(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP k_, SEXP theta,
                     SEXP trace, SEXP beta, SEXP fix_sigma2)
{
  static const char *names[] = {"gradient", "terms"};
  elbo_data d;
  lvae_cov cov = glue_cov(s, x, mu, unit, &d);
  size_t k = glue_count(k_, 1, cov.p, "k");
  check_cov_sizes(&cov, k);
  const double *at = glue_matrix(theta, 2 * cov.p * k + k + 1, 1, "theta");
  SEXP out = PROTECT(glue_list(names, 2));
  SET_VECTOR_ELT(out, 0, Rf_allocVector(REALSXP, XLENGTH(theta)));
  SET_VECTOR_ELT(out, 1, glue_terms(lvae_gradient(
    &cov, k, at, glue_number(trace, "trace"), glue_number(beta, "beta"),
    glue_flag(fix_sigma2, "fix_sigma2"), REAL(VECTOR_ELT(out, 0)),
    glue_doubles(lvae_gradient_work(&cov, k)))));
  UNPROTECT(1);
  return out;
}

/* A copy of list(theta, m, v, steps), to be trained in place. */
static SEXP copy_state(SEXP state, size_t size, const char **names, int count,
                       adam_state *adam)
{
  SEXP out = PROTECT(glue_list(names, count));
  for (int i = 0; i < 3; i++) {
    SEXP from = glue_element(state, names[i]);
    glue_matrix(from, size, 1, names[i]);
    SET_VECTOR_ELT(out, i, Rf_duplicate(from));
  }
  adam->m = REAL(VECTOR_ELT(out, 1));
  adam->v = REAL(VECTOR_ELT(out, 2));
  adam->steps = glue_number(glue_element(state, "steps"), "steps");
  UNPROTECT(1);
  return out;
}

/* One step of Adam along a gradient. */
SEXP C_adam_climb(SEXP state, SEXP gradient, SEXP learning_rate)
{
  static const char *names[] = {"theta", "m", "v", "steps"};
  size_t size = (size_t) Rf_xlength(gradient);
  const double *g = glue_matrix(gradient, size, 1, "gradient");
  adam_state adam;
  SEXP out = PROTECT(copy_state(state, size, names, 4, &adam));
  adam_climb(size, REAL(VECTOR_ELT(out, 0)), g,
             glue_number(learning_rate, "learning_rate"), &adam);
  SET_VECTOR_ELT(out, 3, Rf_ScalarReal(adam.steps));
  UNPROTECT(1);
  return out;
}

/* One epoch of Adam over batches of rows. */
SEXP C_lvae_epoch(SEXP x, SEXP mu, SEXP unit, SEXP k_, SEXP state, SEXP epoch,
                  SEXP beta, SEXP fix_sigma2, SEXP learning_rate, SEXP batch,
                  SEXP samples, SEXP key)
{
  static const char *names[] = {"theta", "m", "v", "steps", "terms"};
  elbo_data d = glue_data(x, mu, unit);
  size_t k = glue_count(k_, 1, d.p, "k"), most = 2147483647;
  adam_state adam;
  glue_check_sizes(d.n, d.p, 2 * k, 0);
  lvae_settings set = {glue_number(beta, "beta"),
                       glue_number(learning_rate, "learning_rate"),
                       glue_count(batch, 1, most, "batch"),
                       glue_count(samples, 0, most, "samples"),
                       glue_flag(fix_sigma2, "fix_sigma2"), glue_key(key)};
  uint32_t number = (uint32_t) glue_count(epoch, 0, most, "epoch");
  SEXP out = PROTECT(copy_state(state, 2 * d.p * k + k + 1, names, 5, &adam));
  lvae_terms terms = lvae_epoch(&d, k, number, &set, REAL(VECTOR_ELT(out, 0)),
                                &adam,
                                glue_doubles(lvae_epoch_work(&d, k, set.batch)),
                                glue_ints(lvae_epoch_iwork(&d)));
  SET_VECTOR_ELT(out, 3, Rf_ScalarReal(adam.steps));
  SET_VECTOR_ELT(out, 4, glue_terms(terms));
  UNPROTECT(1);
  return out;
}

/* Expected squared error, KL and posterior mean of each row. */
SEXP C_lvae_observe(SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP vt, SEXP d,
                    SEXP samples, SEXP key)
{
  static const char *names[] = {"error", "kl", "mean"};
  elbo_data data = glue_data(x, mu, unit);
  size_t k = columns(w, data.p, "w");
  glue_check_sizes(data.n, data.p, 2 * k, 0);
  SEXP out = PROTECT(glue_list(names, 3));
  SET_VECTOR_ELT(out, 0, Rf_allocVector(REALSXP, (R_xlen_t) data.n));
  SET_VECTOR_ELT(out, 1, Rf_allocVector(REALSXP, (R_xlen_t) data.n));
  SET_VECTOR_ELT(out, 2, Rf_allocMatrix(REALSXP, (int) data.n, (int) k));
  lvae_observe(&data, k, REAL(w), glue_matrix(vt, data.p, k, "vt"),
               glue_matrix(d, k, 1, "d"),
               glue_count(samples, 0, 2147483647, "samples"), glue_key(key),
               REAL(VECTOR_ELT(out, 0)), REAL(VECTOR_ELT(out, 1)),
               REAL(VECTOR_ELT(out, 2)), glue_doubles(lvae_rows_work(&data, k)));
  UNPROTECT(1);
  return out;
}
