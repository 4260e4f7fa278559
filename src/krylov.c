/* Block Lanczos with thick restarts; see krylov.h for the contract. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "krylov.h"
#include "linalg.h"
#include "status.h"

/* ---- orthonormal bases ------------------------------------------------- */

/* A fixed stream of directions: a closed-form fit must not depend on a seed. */
static void random_column(size_t p, double *x, size_t stream)
{
  unsigned long long s = 0x9E3779B97F4A7C15ULL * (stream + 1);
  for (size_t i = 0; i < p; i++) {
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    x[i] = (double) (s >> 11) / 9007199254740992.0 - 0.5;
  }
}

static void scale_column(size_t p, double *x, double by)
{
  for (size_t i = 0; i < p; i++) x[i] *= by;
}

size_t krylov_orthonormalise_work(size_t m, size_t b)
{
  size_t coef = m * b, qr = b + la_qr_work(b);
  return coef > qr ? coef : qr;
}

static void unit_columns(size_t p, size_t b, double *x)
{
  for (size_t c = 0; c < b; c++) {
    double size = la_norm(p, x + c * p);
    /* 1 / size is not finite for the smallest numbers: they count as zero */
    scale_column(p, x + c * p, size > 1e-300 ? 1.0 / size : 0.0);
  }
}

/* One pass: unit columns, less their part in the basis, orthonormal. Returns
 * the smallest share of a column that was new; *status as of LAPACK. */
static double orthonormalise_once(size_t p, size_t m, size_t b, double *basis,
                                  int *status, double *work)
{
  double *x = basis + m * p, *r = work, least = 1.0;
  unit_columns(p, b, x);
  if (m > 0) {
    la_gemm('T', 'N', m, b, p, 1.0, basis, p, x, p, 0.0, work, m);
    la_gemm('N', 'N', p, b, m, -1.0, basis, p, work, m, 1.0, x, p);
  }
  /* A column within the span of the basis adds nothing: another direction
   * takes its place. One that depends on its neighbours alone needs no care:
   * QR gives it a direction, and keeps the span of the others. */
  for (size_t c = 0; c < b; c++)
    if (la_norm(p, x + c * p) < 1e-13) {
      random_column(p, x + c * p, m + c);
      least = 0.0;
    }
  *status = la_qr(p, b, x, r, work + b);
  for (size_t c = 0; c < b; c++)
    if (r[c] < least) least = r[c];
  return least;
}

int krylov_orthonormalise(size_t p, size_t m, size_t b, double *basis,
                          double *work)
{
  int status = ELBO_OK;
  double least = 0.0;
  /* QR alone needs one pass; with a basis, twice is enough, unless a column was
   * all but dependent */
  for (int pass = 0; pass < (m > 0 ? 5 : 1) && status == ELBO_OK; pass++) {
    if (pass > 1 && least > 0.5) break;
    least = orthonormalise_once(p, m, b, basis, &status, work);
  }
  return status;
}

/* ---- the Lanczos basis ------------------------------------------------- */

typedef struct {
  size_t p, b, dim, used;     /* used: columns of V that S has multiplied */
  double *v;                  /* p x (dim + b): V and the next block */
  double *h;                  /* dim x dim */
  double *next;               /* b x b: S V = V H + Q_next next E_last' */
  double *ritz;               /* dim x dim: eigenvectors of H */
  double *theta;              /* dim */
  double *copy;               /* dim x dim */
  double *coef;               /* (dim + b) x b, or for orthonormalising */
  double *rows;               /* ROWS x dim, for products in place */
  double *z;                  /* p x b: the last product, orthogonal to V */
  double *eigen;
  size_t leigen, lieigen;
  int *ieigen;
} lanczos;

enum { ROWS = 256 };

static size_t coef_size(size_t dim, size_t b)
{
  size_t products = (dim + b) * b, own = krylov_orthonormalise_work(dim, b);
  return products > own ? products : own;
}

int krylov_work(size_t p, const krylov_settings *set, size_t *work,
                size_t *iwork)
{
  size_t dim = set->dim, b = set->block, leigen;
  int status = la_eigen_work(dim, &leigen, iwork);
  *work = p * (dim + b) + 3 * dim * dim + b * b + dim + coef_size(dim, b) +
    ROWS * dim + p * b + leigen;
  return status;
}

static int lanczos_lay_out(lanczos *l, size_t p, const krylov_settings *set,
                           double *work, int *iwork)
{
  size_t dim = set->dim, b = set->block;
  l->p = p;
  l->b = b;
  l->dim = dim;
  l->used = 0;
  l->v = work;
  l->h = l->v + p * (dim + b);
  l->ritz = l->h + dim * dim;
  l->copy = l->ritz + dim * dim;
  l->next = l->copy + dim * dim;
  l->theta = l->next + b * b;
  l->coef = l->theta + dim;
  l->rows = l->coef + coef_size(dim, b);
  l->z = l->rows + ROWS * dim;
  l->eigen = l->z + p * b;
  l->ieigen = iwork;
  return la_eigen_work(dim, &l->leigen, &l->lieigen);
}

/* Multiplies the block behind the used columns, stores its columns of H, and
 * leaves what is new of the product behind it (lanczos_next() cleans it). */
static void lanczos_extend(lanczos *l, const krylov_operator *op)
{
  size_t p = l->p, b = l->b, m = l->used + b;
  double *q = l->v + l->used * p, *z = l->v + m * p, *h = l->h;
  op->times(op->context, q, b, z);
  la_gemm('T', 'N', m, b, p, 1.0, l->v, p, z, p, 0.0, l->coef, m);
  la_gemm('N', 'N', p, b, m, -1.0, l->v, p, l->coef, m, 1.0, z, p);
  for (size_t t = 0; t < b; t++)
    memcpy(h + (l->used + t) * l->dim, l->coef + t * m, m * sizeof *h);
  for (size_t t = 0; t < b; t++)
    for (size_t i = 0; i < l->used; i++)
      h[l->used + t + i * l->dim] = h[i + (l->used + t) * l->dim];
  l->used = m;
}

/* Orthonormalises the next block; `next` becomes Q' Z. */
static int lanczos_next(lanczos *l)
{
  size_t p = l->p, b = l->b;
  double *q = l->v + l->used * p;
  memcpy(l->z, q, p * b * sizeof *q);
  int status = krylov_orthonormalise(p, l->used, b, l->v, l->coef);
  la_gemm('T', 'N', b, b, p, 1.0, q, p, l->z, p, 0.0, l->next, b);
  return status;
}

static int lanczos_ritz(lanczos *l)
{
  size_t m = l->used;
  for (size_t j = 0; j < m; j++)            /* symmetrise while copying */
    for (size_t i = 0; i < m; i++)
      l->copy[i + j * m] = 0.5 * (l->h[i + j * l->dim] + l->h[j + i * l->dim]);
  return la_eigen(m, l->copy, m, l->theta, l->ritz, l->eigen, l->leigen,
                  l->ieigen, l->lieigen);
}

/* Largest of |S u_j - theta_j u_j| / theta_j over the first k Ritz pairs,
 * with what double precision can tell as the floor of the denominator. */
static double lanczos_residual(const lanczos *l, size_t k)
{
  double worst = 0.0, floor = 1e-6 * l->theta[0];
  for (size_t j = 0; j < k; j++) {
    const double *last = l->ritz + j * l->used + (l->used - l->b);
    double sum = 0.0, by = l->theta[j] > floor ? l->theta[j] : floor;
    for (size_t i = 0; i < l->b; i++) {
      double r = 0.0;
      for (size_t t = 0; t < l->b; t++) r += l->next[i + t * l->b] * last[t];
      sum += r * r;
    }
    double rel = by > 0.0 ? sqrt(sum) / by : 0.0;
    if (rel > worst) worst = rel;
  }
  return worst;
}

/* to (p x keep, may be V itself) = V times the first `keep` Ritz vectors. */
static void lanczos_rotate(lanczos *l, size_t keep, double *to)
{
  size_t p = l->p, m = l->used;
  for (size_t i = 0; i < p; i += ROWS) {
    size_t r = p - i < ROWS ? p - i : ROWS;
    la_gemm('N', 'N', r, keep, m, 1.0, l->v + i, p, l->ritz, m, 0.0, l->rows,
            r);
    for (size_t j = 0; j < keep; j++)
      memcpy(to + i + j * p, l->rows + j * r, r * sizeof *to);
  }
}

/* V = [leading Ritz vectors, next block], H = diag(theta). */
static void lanczos_restart(lanczos *l, size_t keep)
{
  size_t p = l->p, m = l->used;
  lanczos_rotate(l, keep, l->v);
  memmove(l->v + keep * p, l->v + m * p, p * l->b * sizeof *l->v);
  memset(l->h, 0, l->dim * l->dim * sizeof *l->h);
  for (size_t j = 0; j < keep; j++) l->h[j + j * l->dim] = l->theta[j];
  l->used = keep;
}

/* A block that is wider than k settles a clear gap in a few products; a narrow
 * one reads the data too often. */
krylov_settings krylov_defaults(size_t p, size_t k)
{
  krylov_settings s = {k, 0, 0, 0, 1e-10};
  s.block = k + 4 < 8 ? 8 : k + 4 > 32 ? 32 : (k + 7) / 4 * 4;
  if (s.block * 4 > p) s.block = 1;
  size_t extra = k / 2 > 8 * s.block ? k / 2 : 8 * s.block;
  s.dim = k + extra + s.block < p - s.block ? k + extra + s.block
                                            : p - s.block;
  s.products = 40 * s.dim;
  return s;
}

/* Measured: a spectrum without a gap shows a large residual early on. */
static int is_slow(size_t p, size_t products, double residual)
{
  return (residual > 0.1 ? 160 : residual > 1e-3 ? 60 : 20) * products > p;
}

/* The k leading Ritz pairs. */
static void lanczos_pairs(lanczos *l, size_t k, double *values, double *vectors)
{
  memcpy(values, l->theta, k * sizeof *values);
  lanczos_rotate(l, k, vectors);
}

/* Goes on from the k leading Ritz vectors and a random block. */
static int lanczos_test(lanczos *l, size_t k, size_t stream)
{
  lanczos_restart(l, k);
  for (size_t t = 0; t < l->b; t++)
    random_column(l->p, l->v + (k + t) * l->p, stream + t);
  return krylov_orthonormalise(l->p, k, l->b, l->v, l->coef);
}

/* Did a value rise by more than tol of itself, or of what can be told? */
static int has_risen(size_t k, const double *before, const double *after,
                     double tol)
{
  double floor = 1e-6 * after[0];
  for (size_t j = 0; j < k; j++)
    if (after[j] - before[j] > 10.0 * tol * (after[j] > floor ? after[j] : floor))
      return 1;
  return 0;
}

int krylov_top(const krylov_operator *op, const krylov_settings *set,
               double *values, double *vectors, size_t *products,
               double *residual, double *work, int *iwork)
{
  size_t p = op->p, b = set->block, k = set->k;
  int restarted = 0, testing = 0;         /* testing: products of the test */
  double reached = 0.0;
  lanczos l;
  int status = lanczos_lay_out(&l, p, set, work, iwork);
  *products = 0;
  *residual = INFINITY;
  for (size_t t = 0; t < b; t++) random_column(p, l.v + t * p, t);
  if (status == ELBO_OK)
    status = krylov_orthonormalise(p, 0, b, l.v, l.coef);

  while (status == ELBO_OK) {
    lanczos_extend(&l, op);
    if ((status = lanczos_next(&l)) != ELBO_OK) break;
    *products += b;
    int full = l.used + b > l.dim;
    if (testing) testing++;
    /* once there has been a restart, an early end saves little */
    if (!full && testing < 3 && (restarted || l.used < k + b)) continue;
    if ((status = lanczos_ritz(&l)) != ELBO_OK) break;
    *residual = lanczos_residual(&l, k);
    if (testing && !has_risen(k, values, l.theta, set->tol)) {
      *residual = reached;            /* of the pairs that were tested */
      return ELBO_OK;
    }
    testing = 0;
    if (*residual <= set->tol) {
      reached = *residual;
      restarted = testing = 1;
      lanczos_pairs(&l, k, values, vectors);
      if (*products >= set->products) return ELBO_OK;       /* untested */
      status = lanczos_test(&l, k, *products);
      continue;
    }
    if (op->slow && is_slow(p, *products, *residual)) op->slow(op->context);
    if (*products >= set->products) status = ELBO_NOT_CONVERGED;
    else if (full) {
      size_t spare = (l.used - k) / 2;          /* Ritz pairs beyond k help */
      size_t keep = k + spare < l.used - b ? k + spare : l.used - b;
      lanczos_restart(&l, keep);
      restarted = 1;
    }
  }
  if (status == ELBO_NOT_CONVERGED) lanczos_pairs(&l, k, values, vectors);
  return status;
}
