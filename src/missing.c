/* Probabilistic PCA with missing cells; see missing.h for the contract. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linalg.h"
#include "missing.h"
#include "packed.h"
#include "status.h"

/* ---- patterns ---------------------------------------------------------- */

typedef unsigned long long word;

typedef struct { word a, b, row; } row_hash;

static word mix(word x)                           /* splitmix64 */
{
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

static int is_missing(const elbo_data *d, size_t cell)
{
  if (d->kind == DATA_INTEGER) return d->ivalue[cell] == DATA_MISSING_INT;
  return d->value[cell] != d->value[cell];
}

static int compare_hash(const void *x, const void *y)
{
  const row_hash *s = x, *t = y;
  if (s->a != t->a) return s->a < t->a ? -1 : 1;
  if (s->b != t->b) return s->b < t->b ? -1 : 1;
  return s->row < t->row ? -1 : s->row > t->row;
}

/* Each missing cell of a row adds its column's two words to the row's hash. */
static void hash_rows(const elbo_data *d, row_hash *h)
{
  for (size_t i = 0; i < d->n; i++) h[i] = (row_hash) {0, 0, i};
  for (size_t j = 0; j < d->p; j++) {
    word a = mix(2 * j), b = mix(2 * j + 1);
    size_t from = d->kind == DATA_SPARSE ? (size_t) d->start[j] : j * d->n;
    size_t to = d->kind == DATA_SPARSE ? (size_t) d->start[j + 1] : from + d->n;
    if (j % 64 == 0 && d->poll) d->poll();
    for (size_t s = from; s < to; s++) {
      if (!is_missing(d, s)) continue;
      size_t i = d->kind == DATA_SPARSE ? (size_t) d->row[s] : s - from;
      h[i].a += a;
      h[i].b ^= b;
    }
  }
}

size_t missing_patterns(const elbo_data *d, int *pattern, int *order,
                        word *work)
{
  size_t n = d->n, count = 0;
  row_hash *h = (row_hash *) work;
  hash_rows(d, h);
  qsort(h, n, sizeof *h, compare_hash);
  /* the first row of each group stands for it */
  for (size_t i = 0, first = 0; i < n; i++) {
    if (h[i].a != h[first].a || h[i].b != h[first].b) first = i;
    order[h[i].row] = (int) h[first].row;
  }
  for (size_t i = 0; i < n; i++) {         /* number by first appearance */
    if ((size_t) order[i] == i) pattern[i] = (int) count++;
    else pattern[i] = pattern[order[i]];
  }
  for (size_t i = 0; i < n; i++) h[i] = (row_hash) {(word) pattern[i], 0, i};
  qsort(h, n, sizeof *h, compare_hash);
  for (size_t i = 0; i < n; i++) order[i] = (int) h[i].row;
  return count;
}

/* ---- a block of rows --------------------------------------------------- */

typedef struct {
  const elbo_data *d;
  const elbo_patterns *patterns;
  const missing_model *model;
  elbo_data scaled;           /* d in noise units: unit / sigma */
  size_t k, p, most;          /* most: rows a block may have */
  size_t packed, packed1;     /* packed_size(k), packed_size(k + 1) */
  /* for the model */
  double *unit, *log_unit;    /* p */
  double *a, *outer;          /* p x k, p x packed */
  /* for the block: m rows, of u patterns, leading dimension `most` */
  size_t m, u;
  size_t *local, *leader;     /* pattern of each row, first row of each
                                 pattern, both within the block */
  double *x, *mask;           /* m x p */
  double *leaders;            /* u x p */
  const double *seen;         /* u x p: mask where each row has its own */
  double *e;                  /* m x (k + 1): 1 and E z */
  double *cov, *logdet;       /* u x packed, u */
  double *recon;              /* m x p */
  double *full;               /* (k + 1)^2, and work for packed_inverse() */
  /* sums over blocks, for the M-step */
  double *pooled;             /* u x packed1: sums of E[(1, z)(1, z)'] */
  double *normal;             /* p x packed1 */
  double *moment;             /* p x (k + 1): sums of x (1, E z)' */
  double *total;              /* packed1: sum of pooled */
  double squares, observed;   /* sum of E r^2 in noise units; cells seen */
} workspace;

static size_t rows_a_block(const elbo_data *d, size_t k)
{
  size_t line = 3 * d->p + 2 * packed_size(k + 1);
  size_t rows = ((size_t) 1 << 20) / line;
  rows = rows < 32 ? 32 : rows > 2048 ? 2048 : rows / 8 * 8;
  return rows < d->n ? rows : (d->n ? d->n : 1);
}

static size_t full_size(size_t k)
{
  size_t want = packed_inverse_work(k);
  return want > (k + 1) * (k + 1) ? want : (k + 1) * (k + 1);
}

size_t missing_work(const elbo_data *d, size_t k)
{
  size_t p = d->p, m = rows_a_block(d, k), k1 = k + 1;
  size_t q = packed_size(k), q1 = packed_size(k1);
  return p * (2 + k + q) + full_size(k) + m * (4 + 4 * p + k1 + q) + /* block */
    m * q1 + p * (q1 + k1) + q1 + 2 * k1;                            /* sums */
}

static double *take(double **work, size_t count)
{
  double *at = *work;
  *work += count;
  return at;
}

static void lay_out(workspace *s, const elbo_data *d,
                    const elbo_patterns *patterns, const missing_model *model,
                    double **work)
{
  size_t k = model->k, p = d->p, m = rows_a_block(d, k);
  double sigma = sqrt(model->sigma2);
  memset(s, 0, sizeof *s);
  s->d = d;
  s->patterns = patterns;
  s->model = model;
  s->k = k;
  s->p = p;
  s->most = m;
  s->packed = packed_size(k);
  s->packed1 = packed_size(k + 1);
  s->unit = take(work, p);
  s->log_unit = take(work, p);
  s->a = take(work, p * k);
  s->outer = take(work, p * s->packed);
  s->local = (size_t *) take(work, m);
  s->leader = (size_t *) take(work, m);
  s->x = take(work, m * p);
  s->mask = take(work, m * p);
  s->leaders = take(work, m * p);
  s->recon = take(work, m * p);
  s->e = take(work, m * (k + 1));
  s->cov = take(work, m * s->packed);
  s->logdet = take(work, m);
  s->full = take(work, full_size(k));

  for (size_t j = 0; j < p; j++) {
    s->unit[j] = d->unit[j] / sigma;
    s->log_unit[j] = log(d->unit[j]);
  }
  for (size_t i = 0; i < p * k; i++) s->a[i] = model->w[i] / sigma;
  packed_outer(p, k, s->a, p, s->outer, p);
  s->scaled = *d;
  s->scaled.unit = s->unit;
}

/* Reads rows first .. of patterns->order, as many as fit, and lists their
 * patterns. */
static void block_read(workspace *s, size_t first)
{
  const int *order = s->patterns->order, *pattern = s->patterns->pattern;
  size_t n = s->d->n, m = n - first < s->most ? n - first : s->most;
  /* an order that is not disturbed by patterns can be read in columns */
  int in_order = (size_t) order[first] + m - 1 == (size_t) order[first + m - 1];
  for (size_t i = 1; in_order && i < m; i++)
    in_order = order[first + i] == order[first + i - 1] + 1;
  data_rows(&s->scaled, (size_t) order[first], m,
            in_order ? NULL : order + first, s->x, s->mask, s->most);
  s->m = m;
  s->u = 0;
  for (size_t i = 0; i < m; i++) {
    const int *row = order + first + i;
    if (i == 0 || pattern[row[0]] != pattern[row[-1]]) s->leader[s->u++] = i;
    s->local[i] = s->u - 1;
  }
  s->seen = s->mask;
  if (s->u == m) return;
  s->seen = s->leaders;
  for (size_t j = 0; j < s->p; j++)
    for (size_t u = 0; u < s->u; u++)
      s->leaders[u + j * s->most] = s->mask[s->leader[u] + j * s->most];
}

/* E z for one run of rows that share a pattern: e = x A Cov. */
static void run_means(workspace *s, size_t from, size_t to, const double *xa,
                      double *e)
{
  size_t k = s->k, ld = s->most, u = s->local[from];
  if (to - from > 3) {
    packed_unpack(k, s->cov, ld, u, s->full);
    la_gemm('N', 'N', to - from, k, k, 1.0, xa + from, ld, s->full, k, 0.0,
            e + from, ld);
    return;
  }
  for (size_t i = from; i < to; i++) {
    for (size_t a = 0; a < k; a++) e[i + a * ld] = 0.0;
    for (size_t b = 0, c = 0; b < k; b++) {
      double v = xa[i + b * ld], sum = s->cov[u + c++ * ld] * v;
      for (size_t a = b + 1; a < k; a++, c++) {
        double cov = s->cov[u + c * ld];
        e[i + a * ld] += cov * v;
        sum += cov * xa[i + a * ld];
      }
      e[i + b * ld] += sum;
    }
  }
}

/* Posterior of the block's rows: cov and logdet by pattern, e = (1, E z). */
static int block_posterior(workspace *s)
{
  size_t k = s->k, p = s->p, ld = s->most;
  la_gemm('N', 'N', s->u, s->packed, p, 1.0, s->seen, ld, s->outer, p, 0.0,
          s->cov, ld);
  for (size_t j = 0; j < k; j++) {
    double *diagonal = s->cov + packed_index(k, j, j) * ld;
    for (size_t u = 0; u < s->u; u++) diagonal[u] += 1.0;
  }
  int status = packed_inverse(k, s->u, s->cov, ld, s->logdet, s->full);
  if (status != ELBO_OK) return status;

  double *xa = s->recon, *e = s->e + ld;           /* recon is free so far */
  la_gemm('N', 'N', s->m, k, p, 1.0, s->x, ld, s->a, p, 0.0, xa, ld);
  for (size_t i = 0; i < s->m; i++) s->e[i] = 1.0;
  for (size_t from = 0, to; from < s->m; from = to) {
    for (to = from + 1; to < s->m && s->local[to] == s->local[from]; to++);
    run_means(s, from, to, xa, e);
  }
  return ELBO_OK;
}

/* recon = A E z; loglik[i] of the block's rows (m), squares += |r|^2,
 * observed += cells. */
static void block_loglik(workspace *s, double *loglik)
{
  const double log_2pi = 1.8378770664093454836;
  double log_sigma2 = log(s->model->sigma2);
  size_t ld = s->most, k = s->k;
  double *e = s->e + ld;
  la_gemm('N', 'T', s->m, s->p, k, 1.0, e, ld, s->a, s->p, 0.0, s->recon, ld);
  for (size_t i = 0; i < s->m; i++) loglik[i] = -0.5 * s->logdet[s->local[i]];
  for (size_t a = 0; a < k; a++)
    for (size_t i = 0; i < s->m; i++)
      loglik[i] -= 0.5 * e[i + a * ld] * e[i + a * ld];
  for (size_t j = 0; j < s->p; j++) {
    const double *x = s->x + j * ld, *g = s->recon + j * ld,
      *o = s->mask + j * ld;
    double each = -0.5 * (log_2pi + log_sigma2) + s->log_unit[j];
    for (size_t i = 0; i < s->m; i++) {
      double r = x[i] - g[i], r2 = o[i] * r * r;
      loglik[i] += o[i] * each - 0.5 * r2;
      s->squares += r2;
      s->observed += o[i];
    }
  }
}

int missing_posterior(const elbo_data *d, const elbo_patterns *patterns,
                      const missing_model *model, double *mean, double *cov,
                      double *loglik, double *work)
{
  workspace s;
  size_t n = d->n, k = model->k;
  lay_out(&s, d, patterns, model, &work);
  double *ll = take(&work, s.most);
  for (size_t first = 0; first < n; first += s.m) {
    block_read(&s, first);
    int status = block_posterior(&s);
    if (status != ELBO_OK) return status;
    if (loglik) block_loglik(&s, ll);
    for (size_t i = 0; i < s.m; i++) {
      size_t row = (size_t) patterns->order[first + i];
      size_t u = (size_t) patterns->pattern[row];
      if (loglik) loglik[row] = ll[i];
      for (size_t a = 0; mean && a < k; a++)
        mean[row + a * n] = s.e[i + (a + 1) * s.most];
      if (cov && s.leader[s.local[i]] == i)
        for (size_t c = 0; c < s.packed; c++)
          cov[u + c * patterns->count] = s.cov[s.local[i] + c * s.most];
    }
  }
  return ELBO_OK;
}

/* ---- EM ---------------------------------------------------------------- */

/* Adds the block to the sums that the M-step needs. */
static void block_accumulate(workspace *s)
{
  size_t k1 = s->k + 1, ld = s->most;
  memset(s->pooled, 0, s->packed1 * ld * sizeof *s->pooled);
  for (size_t b = 0, c = 0; b < k1; b++)
    for (size_t a = b; a < k1; a++, c++) {
      const double *ea = s->e + a * ld, *eb = s->e + b * ld;
      double *to = s->pooled + c * ld;
      for (size_t i = 0; i < s->m; i++) to[s->local[i]] += ea[i] * eb[i];
    }
  for (size_t b = 0; b < s->k; b++)
    for (size_t a = b; a < s->k; a++) {
      double *to = s->pooled + packed_index(k1, a + 1, b + 1) * ld;
      const double *cov = s->cov + packed_index(s->k, a, b) * ld;
      for (size_t u = 0; u < s->u; u++) to[u] += s->pooled[u] * cov[u];
    }
  for (size_t c = 0; c < s->packed1; c++)
    for (size_t u = 0; u < s->u; u++)
      s->total[c] += s->pooled[u + c * ld];
  /* sum over cells of a_j'Cov a_j = sum over rows of k - tr Cov */
  for (size_t u = 0; u < s->u; u++) {
    double trace = (double) s->k;
    for (size_t a = 0; a < s->k; a++)
      trace -= s->cov[u + packed_index(s->k, a, a) * ld];
    s->squares += s->pooled[u] * trace;
  }
  la_gemm('T', 'N', s->p, s->packed1, s->u, 1.0, s->seen, ld, s->pooled, ld,
          1.0, s->normal, s->p);
  la_gemm('T', 'N', s->p, k1, s->m, 1.0, s->x, ld, s->e, ld, 1.0, s->moment,
          s->p);
}

/* Regression of feature j on (1, z): new = N^-1 b, from the old coefficients
 * (0, a_j). Returns the fall of the expected sum of squares, d'N d for the
 * change d. */
static int regress(const workspace *s, size_t j, double *new, double *full,
                   double *fall)
{
  size_t k1 = s->k + 1, skip = (size_t) (s->model->fix_mu != 0);
  *fall = 0.0;
  packed_unpack(k1, s->normal, s->p, j, full);
  for (size_t a = 0; a < k1; a++) new[a] = s->moment[j + a * s->p];
  if (skip) new[0] = 0.0;
  /* N d = b - N old, before the factor overwrites N */
  double *gap = new + k1;
  for (size_t a = 0; a < k1; a++) {
    gap[a] = new[a];
    for (size_t b = 1; b < k1; b++)
      gap[a] -= full[a + b * k1] * s->a[j + (b - 1) * s->p];
  }
  int status = la_cholesky(k1 - skip, full + skip * (k1 + 1), k1);
  if (status != ELBO_OK) return status;
  la_cholesky_solve(k1 - skip, 1, full + skip * (k1 + 1), k1, new + skip, k1);
  for (size_t a = skip; a < k1; a++) {
    double old = a > 0 ? s->a[j + (a - 1) * s->p] : 0.0;
    *fall += (new[a] - old) * gap[a];
  }
  return ELBO_OK;
}

/* Folds the mean nu and covariance R of z into mu and W: mu += W nu,
 * W <- W chol(R). w (p x k) and shift (p) are in noise units. */
static int fold_prior(const workspace *s, double *w, double *shift,
                      double *full, double *copy)
{
  size_t k = s->k, p = s->p, k1 = k + 1;
  double n = (double) s->d->n;
  const double *nu = s->total + 1;               /* n times the mean of E z */
  for (size_t b = 0; b < k; b++)
    for (size_t a = b; a < k; a++) {
      double r = s->total[packed_index(k1, a + 1, b + 1)] / n;
      if (!s->model->fix_mu) r -= nu[a] / n * nu[b] / n;
      full[a + b * k] = r;
      full[b + a * k] = a == b ? r : 0.0;
    }
  int status = la_cholesky(k, full, k);
  if (status != ELBO_OK) return status;
  if (!s->model->fix_mu)
    for (size_t a = 0; a < k; a++)
      for (size_t j = 0; j < p; j++) shift[j] += w[j + a * p] * nu[a] / n;
  memcpy(copy, w, p * k * sizeof *w);
  la_gemm('N', 'N', p, k, k, 1.0, copy, p, full, k, 0.0, w, p);
  return ELBO_OK;
}

/* From the sums to the new parameters. new: 2 (k + 1) doubles. Uses
 * s->outer's place as scratch. */
static int m_step(workspace *s, double *w_new, double *mu_new,
                  double *sigma2_new, double *new)
{
  size_t k = s->k, p = s->p;
  double sigma = sqrt(s->model->sigma2);
  int status = ELBO_OK;
  for (size_t j = 0; j < p && status == ELBO_OK; j++) {
    double fall;
    status = regress(s, j, new, s->full, &fall);
    s->squares -= fall;
    mu_new[j] = new[0];
    for (size_t a = 0; a < k; a++) w_new[j + a * p] = new[a + 1];
  }
  if (status == ELBO_OK) status = fold_prior(s, w_new, mu_new, s->full, s->outer);
  if (status != ELBO_OK) return status;
  for (size_t i = 0; i < p * k; i++) w_new[i] *= sigma;
  for (size_t j = 0; j < p; j++)
    mu_new[j] = s->d->mu[j] + mu_new[j] / s->unit[j];
  *sigma2_new = s->model->sigma2;
  if (!s->model->fix_sigma2) *sigma2_new *= s->squares / s->observed;
  return *sigma2_new > 0.0 ? ELBO_OK : ELBO_NOT_POSITIVE;
}

int missing_em_step(const elbo_data *d, const elbo_patterns *patterns,
                    const missing_model *model, double *w_new, double *mu_new,
                    double *sigma2_new, double *loglik, double *work)
{
  workspace s;
  lay_out(&s, d, patterns, model, &work);
  double *ll = take(&work, s.most);
  s.pooled = take(&work, s.most * s.packed1);
  s.normal = take(&work, s.p * s.packed1);
  s.moment = take(&work, s.p * (s.k + 1));
  s.total = take(&work, s.packed1);
  memset(s.normal, 0, s.p * s.packed1 * sizeof *s.normal);
  memset(s.moment, 0, s.p * (s.k + 1) * sizeof *s.moment);
  memset(s.total, 0, s.packed1 * sizeof *s.total);
  *loglik = 0.0;
  for (size_t first = 0; first < d->n; first += s.m) {
    block_read(&s, first);
    int status = block_posterior(&s);
    if (status != ELBO_OK) return status;
    block_loglik(&s, ll);
    for (size_t i = 0; i < s.m; i++) *loglik += ll[i];
    block_accumulate(&s);
  }
  return m_step(&s, w_new, mu_new, sigma2_new, take(&work, 2 * (s.k + 1)));
}
