/* EM for probabilistic PCA on complete data (Tipping and Bishop 1999,
 * appendix B), in units where the data have covariance S = X'X/n of the given
 * trace. One EM map costs one product S W: O(npk), and S is never formed.
 *
 *   M      = W'W + sigma2 I
 *   W+     = S W (sigma2 I + M^-1 W'S W)^-1
 *   sigma2+ = [tr S - tr(S W M^-1 W+')] / p
 *
 * The columns of W+ span those of S W, so that plain EM is a power iteration.
 * The accelerated step keeps that product and maximises the likelihood exactly
 * over every W whose columns lie in the span of [U, S U, P]: the current
 * directions, the EM step, and the previous step (the subspace of LOBPCG,
 * Knyazev 2001). It contains the EM update of the directions, so that the
 * likelihood never falls.
 */
#ifndef ELBO_EM_H
#define ELBO_EM_H

#include <stddef.h>

#include "data.h"

/* One plain EM map from (w, sigma2) to (w_new, sigma2_new). loglik is that of
 * (w, sigma2), mean per observation; fixed >= 0 keeps sigma2. */
int em_step(const elbo_data *d, size_t k, const double *w, double sigma2,
            double trace, double fixed, double *w_new, double *sigma2_new,
            double *loglik, double *work);
size_t em_step_work(const elbo_data *d, size_t k);

/* State of the accelerated iteration: u (p x k) orthonormal with u'Su =
 * diag(values), su = S u; step (p x c) orthonormal and orthogonal to u, the
 * part of the last move outside the previous u, and sstep = S step. */
typedef struct {
  size_t k, c;
  double *u, *su, *step, *sstep, *values;
} em_subspace;

/* From loadings w to the first state: one product, no step. */
int em_ritz_start(const elbo_data *d, const double *w, em_subspace *to,
                  double *work, int *iwork);

/* One accelerated map. `to` needs room for k columns in each of its fields. */
int em_ritz_step(const elbo_data *d, const em_subspace *from, em_subspace *to,
                 double *work, int *iwork);
int em_ritz_work(const elbo_data *d, size_t k, size_t *work, size_t *iwork);

#endif
