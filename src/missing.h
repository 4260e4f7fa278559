/* Probabilistic PCA where cells may be missing: exact posterior, likelihood
 * and EM over the observed cells.
 *
 * Row i sees only its observed features o: with A = W / sigma (noise units),
 *   M_o = I + A_o'A_o,  Cov_o = M_o^-1,  E z = Cov_o A_o'(x_o - mu_o) / sigma
 *   log p(x_o) = -1/2 [ |o| log(2 pi sigma2) + log|M_o| + |r|^2 + |E z|^2 ],
 *   r = (x_o - mu_o) / sigma - A_o E z,
 * where the last two terms are the quadratic form without its cancellation.
 * Rows that share a pattern of missing cells share M_o and its factor.
 *
 * M_o for all patterns is one product, O [a_j a_j'], of the 0/1 matrix O of
 * observed cells with the outer products of the rows of A; the normal matrices
 * of the M-step are one product with O'. See packed.h for the layout.
 *
 * The EM map is parameter-expanded (Liu, Rubin and Wu 1998): the M-step also
 * estimates the mean and covariance of z, which are then folded back into mu
 * and W. It is as monotone as EM, and faster.
 */
#ifndef ELBO_MISSING_H
#define ELBO_MISSING_H

#include <stddef.h>

#include "data.h"

/* Rows by pattern: pattern[n], numbered from 0 by first appearance; order[n],
 * the rows sorted by pattern. */
typedef struct {
  size_t count;
  const int *pattern, *order;
} elbo_patterns;

/* Two rows share a pattern when 128 bits of hash agree. work: 3 n of
 * unsigned long long. Returns the number of patterns. */
size_t missing_patterns(const elbo_data *d, int *pattern, int *order,
                        unsigned long long *work);

typedef struct {
  size_t k;
  const double *w;          /* p x k, in the units of the scaled data */
  double sigma2;
  int fix_mu, fix_sigma2;
} missing_model;

/* Posterior of every row under the model with mean d->mu. Any output may be
 * NULL. mean n x k; cov count x packed_size(k), a pattern a row; loglik[n],
 * in the units of the unscaled data. */
int missing_posterior(const elbo_data *d, const elbo_patterns *patterns,
                      const missing_model *model, double *mean, double *cov,
                      double *loglik, double *work);

/* One EM map: w_new, mu_new (in data units), sigma2_new; *loglik is the
 * total for the model that comes in. */
int missing_em_step(const elbo_data *d, const elbo_patterns *patterns,
                    const missing_model *model, double *w_new, double *mu_new,
                    double *sigma2_new, double *loglik, double *work);

/* Doubles of work for either. */
size_t missing_work(const elbo_data *d, size_t k);

#endif
