/* Registration of the .Call entry points; what is done on loading and unloading. */
#include <R_ext/Rdynload.h>

#include "r_glue.h"
#include "threads.h"

/* By way of a type that compilers let stand for any function's. */
#define ENTRY(name, args) {#name, (DL_FUNC) (void (*)(void)) &name, args}

static const R_CallMethodDef entries[] = {
  ENTRY(C_data_summary, 1),
  ENTRY(C_data_squares, 3),
  ENTRY(C_data_times, 4),
  ENTRY(C_ppca_eigen, 5),
  ENTRY(C_ppca_solve, 4),
  ENTRY(C_ppca_profile, 5),
  ENTRY(C_ppca_canonical, 1),
  ENTRY(C_em_step, 7),
  ENTRY(C_em_ritz, 5),
  ENTRY(C_missing_patterns, 1),
  ENTRY(C_missing_posterior, 8),
  ENTRY(C_missing_em, 8),
  ENTRY(C_data_covariance, 3),
  ENTRY(C_lvae_cov_times, 5),
  ENTRY(C_lvae_terms, 8),
  ENTRY(C_lvae_ascend, 10),
  ENTRY(C_lvae_profile, 9),
  ENTRY(C_lvae_noise, 4),
  ENTRY(C_lvae_gradient, 9),
  ENTRY(C_adam_climb, 3),
  ENTRY(C_lvae_epoch, 12),
  ENTRY(C_lvae_observe, 8),
  ENTRY(C_vae_layout, 1),
  ENTRY(C_vae_data, 4),
  ENTRY(C_as_float, 1),
  ENTRY(C_as_double, 1),
  ENTRY(C_fingerprint, 1),
  ENTRY(C_vae_epoch, 5),
  ENTRY(C_vae_evaluate, 5),
  ENTRY(C_vae_encode, 4),
  ENTRY(C_vae_decode, 6),
  ENTRY(C_unload, 0),
  {NULL, NULL, 0}
};

void R_init_elbo(DllInfo *dll);          /* R finds it by its name */

void R_init_elbo(DllInfo *dll)
{
  threads_load();
  R_registerRoutines(dll, NULL, entries, NULL, NULL);
  R_useDynamicSymbols(dll, FALSE);
  R_forceSymbols(dll, TRUE);
}
