/* EM for probabilistic PCA on complete data; see em.h for the contract. */
#include <math.h>
#include <string.h>

#include "em.h"
#include "krylov.h"
#include "linalg.h"
#include "status.h"

/* ---- plain EM ---------------------------------------------------------- */

size_t em_step_work(const elbo_data *d, size_t k)
{
  return d->p * k + 4 * k * k + data_cov_times_work(d, k);
}

/* Mean log-likelihood from the factor of M and M^-1 W'SW. */
static double step_loglik(size_t p, size_t k, const double *factor,
                          const double *minv_a, double sigma2, double trace)
{
  const double log_2pi = 1.8378770664093454836;
  double logdet = (double) (p - k) * log(sigma2), rest = trace;
  for (size_t j = 0; j < k; j++) {
    logdet += 2.0 * log(factor[j + j * k]);
    rest -= minv_a[j + j * k];
  }
  return -0.5 * ((double) p * log_2pi + logdet + rest / sigma2);
}

int em_step(const elbo_data *d, size_t k, const double *w, double sigma2,
            double trace, double fixed, double *w_new, double *sigma2_new,
            double *loglik, double *work)
{
  size_t p = d->p, kk = k * k;
  double *t = work, *m = t + p * k, *l = m + kk, *a = l + kk, *b = a + kk;
  int status;
  data_cov_times(d, w, k, t, b + kk);                       /* T = S W */

  la_gemm('T', 'N', k, k, p, 1.0, w, p, w, p, 0.0, m, k);
  for (size_t j = 0; j < k; j++) m[j + j * k] += sigma2;    /* M = L L' */
  memcpy(l, m, kk * sizeof *l);
  if ((status = la_cholesky(k, l, k)) != ELBO_OK) return status;
  la_gemm('T', 'N', k, k, p, 1.0, w, p, t, p, 0.0, a, k);   /* A = W'SW */
  memcpy(b, a, kk * sizeof *b);
  la_cholesky_solve(k, k, l, k, b, k);                      /* M^-1 A */
  *loglik = step_loglik(p, k, l, b, sigma2, trace);

  /* W+ = T (sigma2 I + M^-1 A)^-1 = T (sigma2 M + A)^-1 M */
  for (size_t i = 0; i < kk; i++) a[i] += sigma2 * m[i];
  if ((status = la_cholesky(k, a, k)) != ELBO_OK) return status;
  la_cholesky_solve(k, k, a, k, m, k);
  la_gemm('N', 'N', p, k, k, 1.0, t, p, m, k, 0.0, w_new, p);

  if (fixed >= 0.0) {
    *sigma2_new = fixed;
    return ELBO_OK;
  }
  la_gemm('T', 'N', k, k, p, 1.0, t, p, w_new, p, 0.0, b, k);
  la_cholesky_solve(k, k, l, k, b, k);                      /* M^-1 T'W+ */
  *sigma2_new = trace;
  for (size_t j = 0; j < k; j++) *sigma2_new -= b[j + j * k];
  *sigma2_new /= (double) p;
  return *sigma2_new > 0.0 ? ELBO_OK : ELBO_NOT_POSITIVE;
}

/* ---- accelerated EM ---------------------------------------------------- */

typedef struct {
  double *z, *sz;             /* p x 3k: [u, step, residual], S times it */
  double *h, *c, *values;     /* 3k x 3k, 3k x 3k, 3k */
  double *move;               /* 3k x 2k: coefficients of u and of the step */
  double *coef;               /* for orthonormalising */
  double *rest;               /* the larger of eigen's and the product's */
  size_t leigen, lieigen;
} ritz_work;

static int lay_out(const elbo_data *d, size_t k, double *work, ritz_work *r,
                   size_t *size, size_t *isize)
{
  size_t p = d->p, m = 3 * k, product = data_cov_times_work(d, k);
  size_t coef = krylov_orthonormalise_work(2 * k, k);
  int status = la_eigen_work(m, &r->leigen, &r->lieigen);
  *size = 2 * p * m + 2 * m * m + m + 2 * m * k + coef +
    (r->leigen > product ? r->leigen : product);
  *isize = r->lieigen;
  if (!work) return status;
  r->z = work;
  r->sz = r->z + p * m;
  r->h = r->sz + p * m;
  r->c = r->h + m * m;
  r->values = r->c + m * m;
  r->move = r->values + m;
  r->coef = r->move + 2 * m * k;
  r->rest = r->coef + coef;
  return status;
}

int em_ritz_work(const elbo_data *d, size_t k, size_t *work, size_t *iwork)
{
  ritz_work r;
  return lay_out(d, k, NULL, &r, work, iwork);
}

/* Eigen-decomposition of H = Z'SZ for the m columns in z and sz. */
static int rayleigh_ritz(size_t p, size_t m, ritz_work *r, int *iwork)
{
  la_gemm('T', 'N', m, m, p, 1.0, r->z, p, r->sz, p, 0.0, r->h, m);
  for (size_t j = 0; j < m; j++)
    for (size_t i = j; i < m; i++)
      r->h[i + j * m] = 0.5 * (r->h[i + j * m] + r->h[j + i * m]);
  return la_eigen(m, r->h, m, r->values, r->c, r->rest, r->leigen, iwork,
                  r->lieigen);
}

int em_ritz_start(const elbo_data *d, const double *w, em_subspace *to,
                  double *work, int *iwork)
{
  size_t p = d->p, k = to->k, size, isize;
  ritz_work r;
  int status = lay_out(d, k, work, &r, &size, &isize);
  if (status != ELBO_OK) return status;
  memcpy(r.z, w, p * k * sizeof *w);
  status = krylov_orthonormalise(p, 0, k, r.z, r.coef);
  if (status != ELBO_OK) return status;
  data_cov_times(d, r.z, k, r.sz, r.rest);
  if ((status = rayleigh_ritz(p, k, &r, iwork)) != ELBO_OK) return status;
  la_gemm('N', 'N', p, k, k, 1.0, r.z, p, r.c, k, 0.0, to->u, p);
  la_gemm('N', 'N', p, k, k, 1.0, r.sz, p, r.c, k, 0.0, to->su, p);
  memcpy(to->values, r.values, k * sizeof *r.values);
  to->c = 0;
  return ELBO_OK;
}

/* z = [u, step, residual of u], orthonormal, *m columns, and sz = S z: the
 * residual's part is this map's product. */
static int extend(const elbo_data *d, const em_subspace *from, ritz_work *r,
                  size_t *m)
{
  size_t p = d->p, k = from->k, pk = p * k;
  size_t fresh = k < p - k ? k : p - k;
  size_t c = from->c < p - k - fresh ? from->c : p - k - fresh;
  double *residual = r->z + p * (k + c);
  memcpy(r->z, from->u, pk * sizeof *r->z);
  memcpy(r->sz, from->su, pk * sizeof *r->z);
  if (c > 0) {
    memcpy(r->z + pk, from->step, p * c * sizeof *r->z);
    memcpy(r->sz + pk, from->sstep, p * c * sizeof *r->z);
  }
  for (size_t j = 0; j < fresh; j++)
    for (size_t i = 0; i < p; i++)
      residual[i + j * p] =
        from->su[i + j * p] - from->values[j] * from->u[i + j * p];
  int status = krylov_orthonormalise(p, k + c, fresh, r->z, r->coef);
  *m = k + c + fresh;
  if (status == ELBO_OK)
    data_cov_times(d, residual, fresh, r->sz + p * (k + c), r->rest);
  return status;
}

int em_ritz_step(const elbo_data *d, const em_subspace *from, em_subspace *to,
                 double *work, int *iwork)
{
  size_t p = d->p, k = from->k, m, size, isize;
  ritz_work r;
  int status = lay_out(d, k, work, &r, &size, &isize);
  if (status != ELBO_OK) return status;
  if ((status = extend(d, from, &r, &m)) != ELBO_OK) return status;
  if ((status = rayleigh_ritz(p, m, &r, iwork)) != ELBO_OK) return status;

  /* the new u in these coordinates, and behind it what lies outside the old */
  memcpy(r.move, r.c, m * k * sizeof *r.c);
  memcpy(r.move + m * k, r.c, m * k * sizeof *r.c);
  for (size_t j = 0; j < k; j++) memset(r.move + m * (k + j), 0, k * sizeof *r.c);
  to->c = m - k < k ? m - k : k;
  status = krylov_orthonormalise(m, k, to->c, r.move, r.coef);
  if (status != ELBO_OK) return status;

  la_gemm('N', 'N', p, k, m, 1.0, r.z, p, r.move, m, 0.0, to->u, p);
  la_gemm('N', 'N', p, k, m, 1.0, r.sz, p, r.move, m, 0.0, to->su, p);
  la_gemm('N', 'N', p, to->c, m, 1.0, r.z, p, r.move + m * k, m, 0.0,
          to->step, p);
  la_gemm('N', 'N', p, to->c, m, 1.0, r.sz, p, r.move + m * k, m, 0.0,
          to->sstep, p);
  memcpy(to->values, r.values, k * sizeof *r.values);
  return ELBO_OK;
}
