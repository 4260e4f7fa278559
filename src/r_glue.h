/* What the glue shares: R objects in, checked; core structs out. */
#ifndef ELBO_R_GLUE_H
#define ELBO_R_GLUE_H

#define R_NO_REMAP
#include <R.h>
#include <Rinternals.h>

#include "data.h"
#include "gemm.h"
#include "rng.h"

/* The data matrix: double or integer with dim, or a dgCMatrix; mu and unit: one
 * value a column. Anything malformed is an R error. Interrupts are taken between
 * blocks. The raw form leaves mu and unit out, for what reads stored cells. */
elbo_data glue_data(SEXP x, SEXP mu, SEXP unit);
elbo_data glue_raw_data(SEXP x);

/* linalg's products as the options elbo.blas, elbo.threads and elbo.kernel ask;
 * whatever takes data or S begins with it. */
void glue_use(void);

/* A plan for products by the option elbo.kernel, with so many threads or, where they
 * are 0 or less, as many as the option elbo.threads says. All plans share one space,
 * which linalg has too, and are good until C_unload(). An R error where there is no
 * memory. */
gemm_plan glue_plan(int threads);

/* A double matrix of n x p (p = 0: of any number of columns). */
const double *glue_matrix(SEXP x, size_t n, size_t p, const char *what);
double glue_number(SEXP x, const char *what);
size_t glue_count(SEXP x, size_t least, size_t most, const char *what);

/* Numbers of rows, each below n. */
const int *glue_rows(SEXP rows, size_t n);
int glue_flag(SEXP x, const char *what);
rng_key glue_key(SEXP key);

/* An element of a list by its name; it may be absent from glue_optional(). */
SEXP glue_element(SEXP list, const char *name);
SEXP glue_optional(SEXP list, const char *name, SEXP absent);

/* Takes an interrupt of the user's, if there is one: for the `poll` of the core. */
void glue_interrupt(void);

/* Work space until the .Call returns, also by an error or an interrupt. */
double *glue_doubles(size_t count);
int *glue_ints(size_t count);

/* Stops where no double arithmetic on sizes can be trusted any more: the work
 * for data of n x p and k dimensions, with a dense matrix of order m, is below
 * 2^57 bytes for anything that passes. */
void glue_check_sizes(size_t n, size_t p, size_t k, size_t m);

/* A protected-by-caller named list of `count` elements, to be filled. */
SEXP glue_list(const char **names, int count);

/* .Call entry points */
SEXP C_unload(void);
SEXP C_data_summary(SEXP x);
SEXP C_data_squares(SEXP x, SEXP mu, SEXP unit);
SEXP C_data_times(SEXP x, SEXP mu, SEXP unit, SEXP q);
SEXP C_ppca_eigen(SEXP x, SEXP mu, SEXP unit, SEXP k, SEXP route);
SEXP C_ppca_solve(SEXP values, SEXP vectors, SEXP trace, SEXP fixed);
SEXP C_ppca_profile(SEXP values, SEXP ranks, SEXP p, SEXP trace, SEXP fixed);
SEXP C_ppca_canonical(SEXP w);
SEXP C_em_step(SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP sigma2, SEXP trace,
               SEXP fixed);
SEXP C_em_ritz(SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP state);
SEXP C_missing_patterns(SEXP x);
SEXP C_missing_posterior(SEXP x, SEXP mu, SEXP unit, SEXP patterns, SEXP w,
                         SEXP sigma2, SEXP want_cov, SEXP want_loglik);
SEXP C_missing_em(SEXP x, SEXP mu, SEXP unit, SEXP patterns, SEXP w,
                  SEXP sigma2, SEXP fix_mu, SEXP fix_sigma2);
SEXP C_data_covariance(SEXP x, SEXP mu, SEXP unit);
SEXP C_lvae_cov_times(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP q);
SEXP C_lvae_terms(SEXP p, SEXP ww, SEXP wsw, SEXP wsv, SEXP vsv, SEXP d,
                  SEXP sigma2, SEXP trace);
SEXP C_lvae_ascend(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP sigma2,
                   SEXP trace, SEXP beta, SEXP rotate, SEXP fix_sigma2);
SEXP C_lvae_profile(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP sigma2,
                    SEXP trace, SEXP beta, SEXP fix_sigma2);
SEXP C_lvae_noise(SEXP values, SEXP p, SEXP trace, SEXP beta);
SEXP C_lvae_gradient(SEXP s, SEXP x, SEXP mu, SEXP unit, SEXP k, SEXP theta,
                     SEXP trace, SEXP beta, SEXP fix_sigma2);
SEXP C_adam_climb(SEXP state, SEXP gradient, SEXP learning_rate);
SEXP C_lvae_epoch(SEXP x, SEXP mu, SEXP unit, SEXP k, SEXP state, SEXP epoch,
                  SEXP beta, SEXP fix_sigma2, SEXP learning_rate, SEXP batch,
                  SEXP samples, SEXP key);
SEXP C_lvae_observe(SEXP x, SEXP mu, SEXP unit, SEXP w, SEXP vt, SEXP d,
                    SEXP samples, SEXP key);
SEXP C_vae_layout(SEXP shape);
SEXP C_vae_data(SEXP x, SEXP mu, SEXP unit, SEXP rows);
SEXP C_as_float(SEXP x);
SEXP C_as_double(SEXP x);
SEXP C_fingerprint(SEXP x);
SEXP C_vae_epoch(SEXP shape, SEXP data, SEXP state, SEXP epoch, SEXP settings);
SEXP C_vae_evaluate(SEXP shape, SEXP data, SEXP theta, SEXP epoch, SEXP settings);
SEXP C_vae_encode(SEXP shape, SEXP data, SEXP theta, SEXP settings);
SEXP C_vae_decode(SEXP shape, SEXP z, SEXP condition, SEXP theta, SEXP variance,
                  SEXP settings);

#endif
