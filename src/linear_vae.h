/* The linear VAE of Lucas et al. (2019, eq. 9), for centred x:
 *
 *   p(z) = N(0, I),  p(x | z) = N(W z, sigma2 I),  q(z | x) = N(V x, D),
 *
 * D diagonal and shared by all observations. With S = X'X/n the ELBO per
 * observation (appendix C.1 there) is  reconstruction - KL,
 *
 *   KL             = 1/2 sum_j (D_j - log D_j + (V S V')_jj - 1)
 *   reconstruction = -E / (2 sigma2) - p/2 log(2 pi sigma2),
 *   E = E|x - W z|^2 = tr S - 2 tr(W'SV') + tr(W'W V S V') + sum_j (W'W)_jj D_j,
 *
 * and what is maximised is the objective  reconstruction - beta KL. It depends
 * on the data through S alone.
 *
 * Parameters are one vector theta of 2pk + k + 1 numbers: W (p x k), V' (p x k),
 * log D (k), log sigma2.
 */
#ifndef ELBO_LINEAR_VAE_H
#define ELBO_LINEAR_VAE_H

#include <stddef.h>

#include "adam.h"
#include "data.h"
#include "rng.h"

/* Where products with S come from: S itself (p x p, both triangles), or where
 * it is NULL the data, each product then being a pass over them. */
typedef struct {
  const double *s;
  const elbo_data *data;
  size_t p;
} lvae_cov;

/* z (p x b) = S q. Work: lvae_cov_work() doubles. */
void lvae_cov_times(const lvae_cov *cov, const double *q, size_t b, double *z,
                    double *work);
size_t lvae_cov_work(const lvae_cov *cov, size_t b);

/* The ELBO's k x k ingredients and its terms. */
typedef struct {
  const double *ww;           /* W'W */
  const double *wsv;          /* W'SV' */
  const double *vsv;          /* V S V' */
  const double *d;            /* k */
  double sigma2, trace;       /* trace: of S */
} lvae_moments;

typedef struct { double error, reconstruction, kl; } lvae_terms;

/* kl_j: the KL of each dimension (k), or NULL. */
lvae_terms lvae_elbo(size_t p, size_t k, const lvae_moments *m, double *kl_j);

/* Mean log-likelihood of N(0, W W' + sigma2 I) from W'W and W'SW, by
 * M = W'W + sigma2 I. Work: 2 k^2 doubles. */
int lvae_loglik(size_t p, size_t k, const double *ww, const double *wsw,
                double sigma2, double trace, double *loglik, double *work);

/* Gradient of the objective with respect to theta (same layout); that of log
 * sigma2 is 0 where it is fixed. Work: lvae_gradient_work() doubles. */
lvae_terms lvae_gradient(const lvae_cov *cov, size_t k, const double *theta,
                         double trace, double beta, int fix_sigma2,
                         double *gradient, double *work);
size_t lvae_gradient_work(const lvae_cov *cov, size_t k);

/* The objective maximised over V and D at (w, sigma2), with V' and D there, and
 * its gradient with respect to W and log sigma2 (p k + 1 numbers): by the envelope
 * theorem that of the objective at these V and D. Costs one product with S.
 * Work: lvae_ascend_work(). */
int lvae_profile(const lvae_cov *cov, size_t k, const double *w, double sigma2,
                 double trace, double beta, int fix_sigma2, double *vt,
                 double *d, lvae_terms *terms, double *gradient, double *work);

/* One round of coordinate ascent by the stationary equations, with s = beta sigma2
 * and M = W'W + s I:
 *
 *   W  <- W R, W'W diagonal       (if rotate; the finite form of Theorem 1's proof)
 *   V   = M^-1 W',   D = s diag(M)^-1
 *   W+  = S V' (V S V' + D)^-1
 *   sigma2+ = E(W+, V, D) / p     (unless fixed)
 *
 * The terms are those of (W, V, D, sigma2), before the last two lines. The rotation
 * is not carried out: in the rotated frame D = s M^-1, so that a q with the full
 * covariance s M^-1 gives the same terms, and a W+ that is turned back by R'.
 * Work: lvae_ascend_work() doubles. */
int lvae_ascend(const lvae_cov *cov, size_t k, const double *w, double sigma2,
                double trace, double beta, int rotate, int fix_sigma2,
                double *w_next, double *sigma2_next, lvae_terms *terms,
                double *work);
size_t lvae_ascend_work(const lvae_cov *cov, size_t k);

/* The noise variance that maximises the objective over all W, V and D, given
 * the k leading eigenvalues of S and its trace: the root of the concave
 * tr S - sum_j max(0, values[j] - beta sigma2) - p sigma2. With q values above
 * beta sigma2 it is (tr S - their sum) / (p - beta q). 0 where no noise is
 * left. */
double lvae_noise(const double *values, size_t k, size_t p, double trace,
                  double beta);

/* ---- training on rows -------------------------------------------------- */

/* samples = 0: the expectation over q in closed form; otherwise the mean of
 * that many reparameterised samples, z = V x + D^(1/2) noise. */
typedef struct {
  double beta, learning_rate;
  size_t batch, samples;
  int fix_sigma2;
  rng_key key;
} lvae_settings;

/* Gradient of the mean objective of the rows rows[0 .. count-1], or of the first
 * `count` where rows is NULL. Work: lvae_rows_work() doubles. */
lvae_terms lvae_rows_gradient(const elbo_data *data, size_t k,
                              const double *theta, const int *rows,
                              size_t count, uint32_t epoch,
                              const lvae_settings *set, double *gradient,
                              double *work);
size_t lvae_rows_work(const elbo_data *data, size_t k);

/* One epoch of Adam over all rows, in batches and in an order that belongs to
 * the epoch. The terms are means over the epoch's rows, each under the theta that
 * its batch met. Work: lvae_epoch_work() doubles, lvae_epoch_iwork() ints. */
lvae_terms lvae_epoch(const elbo_data *data, size_t k, uint32_t epoch,
                      const lvae_settings *set, double *theta, adam_state *adam,
                      double *work, int *iwork);
size_t lvae_epoch_work(const elbo_data *data, size_t k, size_t batch);
size_t lvae_epoch_iwork(const elbo_data *data);

/* For each row E|x - W z|^2 (of `samples` samples, or in closed form), its KL, and
 * the mean V x of q (n x k). W and V' are p x k. Work: lvae_rows_work(). */
void lvae_observe(const elbo_data *data, size_t k, const double *w,
                  const double *vt, const double *d, size_t samples,
                  rng_key key, double *error, double *kl, double *mean,
                  double *work);

#endif
