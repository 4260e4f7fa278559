/* Probabilistic PCA in closed form; see ppca.h for the contract. */
#include <math.h>
#include <string.h>

#include "krylov.h"
#include "linalg.h"
#include "ppca.h"
#include "status.h"

static size_t min_size(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* ---- dense routes ------------------------------------------------------ */

/* XX'/n (n x n, lower triangle) from blocks of centred columns. */
static void gram(const elbo_data *d, double *g, double *block)
{
  size_t cols = data_block_cols(d);
  for (size_t j = 0; j < d->p; j += cols) {
    size_t m = min_size(cols, d->p - j);
    data_cols(d, j, m, block);
    la_syrk('N', d->n, m, 1.0 / (double) d->n, block, d->n, j > 0, g, d->n);
  }
}

static double diagonal_sum(size_t n, const double *a)
{
  double sum = 0.0;
  for (size_t i = 0; i < n; i++) sum += a[i + i * n];
  return sum;
}

/* Principal directions u = X'v, normalised, and projections X u = v sqrt(n
 * lambda), from the eigenpairs of the Gram matrix. Work: directions_work(). */
static int directions(const elbo_data *d, size_t k, const double *values,
                       const double *v, double *u, double *projections,
                       double *work)
{
  data_cross(d, v, k, u, work);
  int status = krylov_orthonormalise(d->p, 0, k, u, work);
  for (size_t j = 0; j < k; j++) {
    double size = values[j] > 0.0 ? sqrt((double) d->n * values[j]) : 0.0;
    for (size_t i = 0; i < d->n; i++)
      projections[i + j * d->n] = v[i + j * d->n] * size;
  }
  return status;
}

static size_t directions_work(const elbo_data *d, size_t k)
{
  size_t cross = data_cross_work(d, k), own = krylov_orthonormalise_work(0, k);
  return cross > own ? cross : own;
}

static size_t dense_block(const elbo_data *d, enum ppca_route route)
{
  return route == PPCA_COVARIANCE ? data_block_rows(d) * d->p
                                  : data_block_cols(d) * d->n;
}

static int dense_route(const elbo_data *d, size_t k, enum ppca_route route,
                       double *values, double *vectors, double *projections,
                       double *trace, double *work, int *iwork)
{
  size_t m = route == PPCA_COVARIANCE ? d->p : d->n, lwork, liwork;
  double *s = work, *v = s + m * m, *rest = v + m * m;
  int status = la_eigen_work(m, &lwork, &liwork);
  if (status != ELBO_OK) return status;
  if (route == PPCA_COVARIANCE) data_covariance(d, s, rest); else gram(d, s, rest);
  *trace = diagonal_sum(m, s);
  if (d->poll) d->poll();
  status = la_eigen(m, s, k, values, v, rest, lwork, iwork, liwork);
  if (status != ELBO_OK) return status;
  if (route == PPCA_GRAM)
    return directions(d, k, values, v, vectors, projections, rest);
  memcpy(vectors, v, m * k * sizeof *v);
  data_times(d, vectors, k, projections, rest);
  return ELBO_OK;
}

/* ---- Krylov route ------------------------------------------------------ */

/* Products with the covariance or Gram matrix, m x m: straight from the data,
 * unless so many are needed that forming the matrix first is cheaper. */
typedef struct {
  const elbo_data *d;
  size_t m;
  double *matrix;             /* m x m, or NULL: never form it */
  int formed;
  double *work;
} product;

static void form_matrix(void *context)
{
  product *c = context;
  if (c->formed || !c->matrix) return;
  if (c->d->p <= c->d->n) data_covariance(c->d, c->matrix, c->work);
  else gram(c->d, c->matrix, c->work);
  la_mirror(c->m, c->matrix, c->m);
  c->formed = 1;
}

static void times(void *context, const double *q, size_t b, double *z)
{
  product *c = context;
  if (c->d->poll) c->d->poll();
  if (c->formed) {            /* as q'S: BLAS packs the large matrix less */
    la_gemm('T', 'N', b, c->m, c->m, 1.0, q, c->m, c->matrix, c->m, 0.0,
            c->work, b);
    for (size_t t = 0; t < b; t++)
      for (size_t i = 0; i < c->m; i++) z[i + t * c->m] = c->work[t + i * b];
  } else if (c->d->p <= c->d->n) data_cov_times(c->d, q, b, z, c->work);
  else data_gram_times(c->d, q, b, z, c->work);
}

/* A dense matrix of this order takes no more room than dense data do. */
static size_t product_matrix(const elbo_data *d)
{
  size_t m = min_size(d->n, d->p);
  return d->kind == DATA_SPARSE ? 0 : m * m;
}

static size_t product_work(const elbo_data *d, size_t b)
{
  int tall = d->p <= d->n;
  size_t own = tall ? data_cov_times_work(d, b) : data_gram_times_work(d, b);
  size_t block = dense_block(d, tall ? PPCA_COVARIANCE : PPCA_GRAM);
  size_t turned = b * min_size(d->n, d->p);
  if (block > own) own = block;
  return turned > own ? turned : own;
}

static int krylov_route(const elbo_data *d, size_t k, double *values,
                        double *vectors, double *projections, double *trace,
                        size_t *products, double *residual, double *work,
                        int *iwork)
{
  int tall = d->p <= d->n;
  size_t m = tall ? d->p : d->n, own, iown, dense = product_matrix(d);
  krylov_settings set = krylov_defaults(m, k);
  int status = krylov_work(m, &set, &own, &iown);
  if (status != ELBO_OK) return status;
  double *squares = work, *v = squares + d->p, *matrix = v + m * k,
    *rest = matrix + dense;
  product c = {d, m, dense ? matrix : NULL, 0, rest + own};
  krylov_operator op = {m, times, form_matrix, &c};

  data_squares(d, squares);
  *trace = 0.0;
  for (size_t j = 0; j < d->p; j++) *trace += squares[j] / (double) d->n;
  status = krylov_top(&op, &set, values, tall ? vectors : v, products,
                      residual, rest, iwork);
  if (status == ELBO_LAPACK) return status;
  if (!tall) {
    int turned = directions(d, k, values, v, vectors, projections, rest);
    return turned == ELBO_OK ? status : turned;
  }
  data_times(d, vectors, k, projections, rest);
  return status;
}

/* ---- entry points ------------------------------------------------------ */

int ppca_eigen_work(const elbo_data *d, size_t k, enum ppca_route route,
                    size_t *work, size_t *iwork)
{
  int status;
  size_t more = directions_work(d, k), times_work = data_times_work(d, k);
  if (times_work > more) more = times_work;
  if (route == PPCA_KRYLOV) {
    size_t m = min_size(d->n, d->p);
    krylov_settings set = krylov_defaults(m, k);
    status = krylov_work(m, &set, work, iwork);
    *work += product_work(d, set.block);
    *work = (*work > more ? *work : more) + d->p + m * k + product_matrix(d);
    return status;
  }
  size_t m = route == PPCA_COVARIANCE ? d->p : d->n;
  size_t block = dense_block(d, route);
  status = la_eigen_work(m, work, iwork);
  if (block > *work) *work = block;
  if (more > *work) *work = more;
  *work += 2 * m * m;
  return status;
}

/* Signs of the projections follow those of the vectors. */
static void fix_signs(const elbo_data *d, size_t k, double *vectors,
                      double *projections)
{
  for (size_t j = 0; j < k; j++) {
    double *column = projections + j * d->n;
    if (ppca_fix_signs(d->p, 1, vectors + j * d->p))
      for (size_t i = 0; i < d->n; i++) column[i] = -column[i];
  }
}

int ppca_eigen(const elbo_data *d, size_t k, enum ppca_route route,
               double *values, double *vectors, double *projections,
               double *trace, size_t *products, double *residual,
               double *work, int *iwork)
{
  int status;
  *products = 0;
  *residual = 0.0;
  if (route == PPCA_KRYLOV)
    status = krylov_route(d, k, values, vectors, projections, trace, products,
                          residual, work, iwork);
  else
    status = dense_route(d, k, route, values, vectors, projections, trace,
                         work, iwork);
  if (status != ELBO_LAPACK) fix_signs(d, k, vectors, projections);
  return status;
}

size_t ppca_noise(const double *values, size_t k, size_t p, double trace,
                  double fixed, double *sigma2)
{
  size_t used = 0;
  if (fixed >= 0.0) {
    *sigma2 = fixed;
    while (used < k && values[used] > fixed) used++;
    return used;
  }
  double rest = trace;
  for (size_t j = 0; j < k; j++) rest -= values[j];
  for (used = k; ; used--) {               /* Ritz values may lie below */
    *sigma2 = rest > 0.0 ? rest / (double) (p - used) : 0.0;
    if (used == 0 || values[used - 1] > *sigma2) return used;
    rest += values[used - 1];
  }
}

double ppca_loglik(const double *values, size_t used, size_t p, double trace,
                   double sigma2)
{
  const double log_2pi = 1.8378770664093454836;
  double logdet = (double) (p - used) * log(sigma2), rest = trace;
  for (size_t j = 0; j < used; j++) {
    logdet += log(values[j]);
    rest -= values[j];
  }
  return -0.5 * ((double) p * log_2pi + logdet + (double) used +
                 rest / sigma2);
}

void ppca_loadings(const double *values, const double *vectors, size_t k,
                   size_t p, size_t used, double sigma2, double *w)
{
  for (size_t j = 0; j < k; j++) {
    double scale = j < used ? sqrt(values[j] - sigma2) : 0.0;
    for (size_t i = 0; i < p; i++) w[i + j * p] = vectors[i + j * p] * scale;
  }
}

size_t ppca_fix_signs(size_t p, size_t k, double *vectors)
{
  size_t flipped = 0;
  for (size_t j = 0; j < k; j++) {
    double *v = vectors + j * p, largest = 0.0;
    for (size_t i = 0; i < p; i++)
      if (fabs(v[i]) > fabs(largest)) largest = v[i];
    if (largest >= 0.0) continue;
    flipped++;
    for (size_t i = 0; i < p; i++) v[i] = -v[i];
  }
  return flipped;
}

int ppca_canonical_work(size_t p, size_t k, size_t *work, size_t *iwork)
{
  int status = la_eigen_work(k, work, iwork);
  *work += 2 * k * k + k + p * k;
  return status;
}

int ppca_canonical(size_t p, size_t k, double *w, double *work, int *iwork)
{
  size_t lwork, liwork;
  double *g = work, *r = g + k * k, *values = r + k * k, *copy = values + k;
  int status = la_eigen_work(k, &lwork, &liwork);
  if (status != ELBO_OK) return status;
  la_syrk('T', k, p, 1.0, w, p, 0.0, g, k);
  status = la_eigen(k, g, k, values, r, copy + p * k, lwork, iwork, liwork);
  if (status != ELBO_OK) return status;
  memcpy(copy, w, p * k * sizeof *w);
  la_gemm('N', 'N', p, k, k, 1.0, copy, p, r, k, 0.0, w, p);
  ppca_fix_signs(p, k, w);
  return ELBO_OK;
}
