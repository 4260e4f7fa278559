/* Probabilistic PCA in closed form (Tipping and Bishop 1999, section 3.2).
 *
 * With S = X'X/n for the centred, scaled data X (n x p), lambda_j its
 * eigenvalues in decreasing order and u_j its eigenvectors, the maximum of the
 * likelihood at k latent dimensions is
 *   sigma2 = mean of lambda_{k+1}, ..., lambda_p
 *   W      = U_k (Lambda_k - sigma2 I)^(1/2)
 * Eigenvectors come in decreasing order of lambda, each with the entry that is
 * largest in absolute value positive.
 */
#ifndef ELBO_PPCA_H
#define ELBO_PPCA_H

#include <stddef.h>

#include "data.h"

/* Which matrix is decomposed: S itself (p x p), the Gram matrix XX'/n (n x n),
 * or neither, by Krylov iteration on the smaller of the two. */
enum ppca_route { PPCA_COVARIANCE, PPCA_GRAM, PPCA_KRYLOV };

/* values: min(n, p) eigenvalues (dense routes) or k (Krylov); vectors p x k;
 * projections n x k: X times the vectors; trace: of S. products, residual: what
 * the Krylov route spent and reached. */
int ppca_eigen(const elbo_data *d, size_t k, enum ppca_route route,
               double *values, double *vectors, double *projections,
               double *trace, size_t *products, double *residual,
               double *work, int *iwork);
int ppca_eigen_work(const elbo_data *d, size_t k, enum ppca_route route,
                    size_t *work, size_t *iwork);

/* The noise variance that maximises the likelihood over all W whose columns
 * lie along k orthonormal directions in which the data have the variances
 * values[0] >= ... >= values[k-1], of a total variance `trace` in p
 * dimensions; a `fixed` >= 0 is kept. Returns how many of the directions are
 * in use: those with values[j] > sigma2. */
size_t ppca_noise(const double *values, size_t k, size_t p, double trace,
                  double fixed, double *sigma2);

/* Mean log-likelihood per observation at that maximum (natural units). */
double ppca_loglik(const double *values, size_t used, size_t p, double trace,
                   double sigma2);

/* W (p x k) = U_k (Lambda_k - sigma2 I)^(1/2), zero beyond the used columns;
 * w may be `vectors` itself. */
void ppca_loadings(const double *values, const double *vectors, size_t k,
                   size_t p, size_t used, double sigma2, double *w);

/* Turns W to W R so that W'W is diagonal and decreasing, and fixes the signs:
 * likelihood and covariance stay. Work: ppca_canonical_work(). */
int ppca_canonical(size_t p, size_t k, double *w, double *work, int *iwork);
int ppca_canonical_work(size_t p, size_t k, size_t *work, size_t *iwork);

/* Makes the entry of each column that is largest in absolute value positive;
 * returns how many columns changed their sign. */
size_t ppca_fix_signs(size_t p, size_t k, double *vectors);

#endif
