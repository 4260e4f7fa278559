/* The linear VAE; see linear_vae.h for the model and the contract. */
#include <math.h>
#include <string.h>

#include "linalg.h"
#include "linear_vae.h"
#include "status.h"

static const double LOG_2PI = 1.8378770664093454836;

typedef struct { double *w, *vt, *log_d, *log_sigma2; } parts;

static parts split(size_t p, size_t k, double *theta)
{
  double *vt = theta + p * k, *log_d = vt + p * k;
  return (parts) {theta, vt, log_d, log_d + k};
}

static size_t theta_size(size_t p, size_t k)
{
  return 2 * p * k + k + 1;
}

/* c (k x k) = a'b for p x k matrices. */
static void cross(size_t p, size_t k, const double *a, const double *b,
                  double *c)
{
  la_gemm('T', 'N', k, k, p, 1.0, a, p, b, p, 0.0, c, k);
}

/* sum_ij a_ij b_ij, which is tr(A'B) */
static double dot(size_t n, const double *a, const double *b)
{
  double sum = 0.0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* ---- terms ------------------------------------------------------------- */

void lvae_cov_times(const lvae_cov *cov, const double *q, size_t b, double *z,
                    double *work)
{
  size_t p = cov->p;
  if (cov->s) la_gemm('N', 'N', p, b, p, 1.0, cov->s, p, q, p, 0.0, z, p);
  else data_cov_times(cov->data, q, b, z, work);
}

size_t lvae_cov_work(const lvae_cov *cov, size_t b)
{
  return cov->s ? 0 : data_cov_times_work(cov->data, b);
}

static double reconstruction(size_t p, double error, double sigma2)
{
  return -0.5 * (error / sigma2 + (double) p * (LOG_2PI + log(sigma2)));
}

lvae_terms lvae_elbo(size_t p, size_t k, const lvae_moments *m, double *kl_j)
{
  lvae_terms terms = {m->trace + dot(k * k, m->ww, m->vsv), 0.0, 0.0};
  for (size_t j = 0; j < k; j++) {
    size_t jj = j + j * k;
    double kl = 0.5 * (m->d[j] - log(m->d[j]) + m->vsv[jj] - 1.0);
    terms.error += m->ww[jj] * m->d[j] - 2.0 * m->wsv[jj];
    terms.kl += kl;
    if (kl_j) kl_j[j] = kl;
  }
  terms.reconstruction = reconstruction(p, terms.error, m->sigma2);
  return terms;
}

int lvae_loglik(size_t p, size_t k, const double *ww, const double *wsw,
                double sigma2, double trace, double *loglik, double *work)
{
  double *m = work, *a = m + k * k;
  memcpy(m, ww, k * k * sizeof *m);
  memcpy(a, wsw, k * k * sizeof *a);
  for (size_t j = 0; j < k; j++) m[j + j * k] += sigma2;
  int status = la_cholesky(k, m, k);
  if (status != ELBO_OK) return status;
  la_cholesky_solve(k, k, m, k, a, k);                    /* M^-1 W'SW */
  double logdet = ((double) p - (double) k) * log(sigma2), rest = trace;
  for (size_t j = 0; j < k; j++) {
    logdet += 2.0 * log(m[j + j * k]);
    rest -= a[j + j * k];
  }
  *loglik = -0.5 * ((double) p * LOG_2PI + logdet + rest / sigma2);
  return ELBO_OK;
}

/* ---- gradient ---------------------------------------------------------- */

/* dObjective / d log D_j = D_j (beta (1 / D_j - 1) - (W'W)_jj / sigma2) / 2 */
static double log_d_gradient(double d, double ww, double sigma2, double beta)
{
  return 0.5 * (beta * (1.0 - d) - d * ww / sigma2);
}

size_t lvae_gradient_work(const lvae_cov *cov, size_t k)
{
  return 2 * cov->p * k + 4 * k * k + k + lvae_cov_work(cov, 2 * k);
}

lvae_terms lvae_gradient(const lvae_cov *cov, size_t k, const double *theta,
                         double trace, double beta, int fix_sigma2,
                         double *gradient, double *work)
{
  size_t p = cov->p, pk = p * k, kk = k * k;
  parts at = split(p, k, (double *) theta), to = split(p, k, gradient);
  double sigma2 = exp(*at.log_sigma2);
  double *sw = work, *svt = sw + pk, *ww = svt + pk, *wsv = ww + kk;
  double *vsv = wsv + kk, *mix = vsv + kk, *d = mix + kk;
  lvae_cov_times(cov, at.w, 2 * k, sw, d + k);            /* S [W V'] */
  cross(p, k, at.w, at.w, ww);
  cross(p, k, at.w, svt, wsv);
  cross(p, k, at.vt, svt, vsv);
  for (size_t j = 0; j < k; j++) d[j] = exp(at.log_d[j]);
  lvae_moments moments = {ww, wsv, vsv, d, sigma2, trace};
  lvae_terms terms = lvae_elbo(p, k, &moments, NULL);

  /* dW = [S V' - W (V S V' + D)] / sigma2 */
  memcpy(mix, vsv, kk * sizeof *mix);
  for (size_t j = 0; j < k; j++) mix[j + j * k] += d[j];
  memcpy(to.w, svt, pk * sizeof *to.w);
  la_gemm('N', 'N', p, k, k, -1.0 / sigma2, at.w, p, mix, k, 1.0 / sigma2,
          to.w, p);
  /* dV' = S W / sigma2 - S V' (beta I + W'W / sigma2) */
  for (size_t i = 0; i < kk; i++) mix[i] = ww[i] / sigma2;
  for (size_t j = 0; j < k; j++) mix[j + j * k] += beta;
  memcpy(to.vt, sw, pk * sizeof *to.vt);
  la_gemm('N', 'N', p, k, k, -1.0, svt, p, mix, k, 1.0 / sigma2, to.vt, p);
  for (size_t j = 0; j < k; j++)
    to.log_d[j] = log_d_gradient(d[j], ww[j + j * k], sigma2, beta);
  *to.log_sigma2 = fix_sigma2 ? 0.0
                              : 0.5 * (terms.error / sigma2 - (double) p);
  return terms;
}

/* ---- coordinate ascent ------------------------------------------------- */

/* cov: of q, k x k, and its log-determinant. */
typedef struct {
  double *vt, *svt, *ww, *minv, *wsv, *vsv, *cov, *mix, *rest;
  double logdet;
} ascent_work;

static ascent_work lay_out(size_t p, size_t k, double *work)
{
  size_t kk = k * k;
  ascent_work a = {.vt = work, .svt = work + p * k};
  a.ww = a.svt + p * k;
  a.minv = a.ww + kk;
  a.wsv = a.minv + kk;
  a.vsv = a.wsv + kk;
  a.cov = a.vsv + kk;
  a.mix = a.cov + kk;
  a.rest = a.mix + kk;
  return a;
}

size_t lvae_ascend_work(const lvae_cov *cov, size_t k)
{
  return 2 * cov->p * k + 6 * k * k + lvae_cov_work(cov, k);
}

/* M^-1 and the moments of V = M^-1 W', and the covariance of q: full s M^-1, or its
 * best diagonal s diag(M)^-1. One product with S, S V': from S W and M^-1 the moments
 * of V would lose their digits where W'W is nearly singular beside s. */
static int encode(const lvae_cov *cov, size_t k, const double *w, double s,
                  int full, ascent_work *a)
{
  size_t p = cov->p, kk = k * k;
  double logdet;
  cross(p, k, w, w, a->ww);
  memcpy(a->minv, a->ww, kk * sizeof *a->minv);
  for (size_t j = 0; j < k; j++) a->minv[j + j * k] += s;
  int status = la_spd_inverse(k, a->minv, &logdet);
  if (status != ELBO_OK) return status;
  la_mirror(k, a->minv, k);
  la_gemm('N', 'N', p, k, k, 1.0, w, p, a->minv, k, 0.0, a->vt, p);
  lvae_cov_times(cov, a->vt, k, a->svt, a->rest);
  cross(p, k, w, a->svt, a->wsv);
  cross(p, k, a->vt, a->svt, a->vsv);
  if (full) {
    for (size_t i = 0; i < kk; i++) a->cov[i] = s * a->minv[i];
    a->logdet = (double) k * log(s) - logdet;
    return ELBO_OK;
  }
  memset(a->cov, 0, kk * sizeof *a->cov);
  a->logdet = 0.0;
  for (size_t j = 0; j < k; j++) {
    double d = s / (a->ww[j + j * k] + s);
    a->cov[j + j * k] = d;
    a->logdet += log(d);
  }
  return ELBO_OK;
}

/* The terms of the ELBO for a q with that covariance. */
static lvae_terms encoded_terms(size_t p, size_t k, double sigma2, double trace,
                                const ascent_work *a)
{
  size_t kk = k * k;
  lvae_terms terms = {trace + dot(kk, a->ww, a->vsv) + dot(kk, a->ww, a->cov),
                      0.0, -a->logdet};
  for (size_t jj = 0; jj < kk; jj += k + 1) {
    terms.error -= 2.0 * a->wsv[jj];
    terms.kl += a->cov[jj] + a->vsv[jj] - 1.0;
  }
  terms.kl *= 0.5;
  terms.reconstruction = reconstruction(p, terms.error, sigma2);
  return terms;
}

/* W+ = S V' (V S V' + C)^-1 and sigma2+, C the covariance of q. As
 * W+ (V S V' + C) = S V', the expected error is E(W+, V, C) = tr S - tr(W+'S V'). */
static int decode(size_t p, size_t k, double trace, ascent_work *a,
                  double *w_next, double *sigma2_next)
{
  double logdet;
  for (size_t i = 0; i < k * k; i++) a->mix[i] = a->vsv[i] + a->cov[i];
  int status = la_spd_inverse(k, a->mix, &logdet);
  if (status != ELBO_OK) return status;
  la_mirror(k, a->mix, k);
  la_gemm('N', 'N', p, k, k, 1.0, a->svt, p, a->mix, k, 0.0, w_next, p);
  *sigma2_next = (trace - dot(p * k, a->svt, w_next)) / (double) p;
  return ELBO_OK;
}

int lvae_ascend(const lvae_cov *cov, size_t k, const double *w, double sigma2,
                double trace, double beta, int rotate, int fix_sigma2,
                double *w_next, double *sigma2_next, lvae_terms *terms,
                double *work)
{
  ascent_work a = lay_out(cov->p, k, work);
  int status = encode(cov, k, w, beta * sigma2, rotate, &a);
  if (status != ELBO_OK) return status;
  *terms = encoded_terms(cov->p, k, sigma2, trace, &a);
  status = decode(cov->p, k, trace, &a, w_next, sigma2_next);
  if (status != ELBO_OK) return status;
  if (fix_sigma2) *sigma2_next = sigma2;
  return *sigma2_next > 0.0 ? ELBO_OK : ELBO_NOT_POSITIVE;
}

int lvae_profile(const lvae_cov *cov, size_t k, const double *w, double sigma2,
                 double trace, double beta, int fix_sigma2, double *vt,
                 double *d, lvae_terms *terms, double *gradient, double *work)
{
  size_t p = cov->p;
  ascent_work a = lay_out(p, k, work);
  int status = encode(cov, k, w, beta * sigma2, 0, &a);
  if (status != ELBO_OK) return status;
  *terms = encoded_terms(p, k, sigma2, trace, &a);
  memcpy(vt, a.vt, p * k * sizeof *vt);
  for (size_t j = 0; j < k; j++) d[j] = a.cov[j + j * k];
  /* [S V' - W (V S V' + D)] / sigma2 */
  for (size_t i = 0; i < k * k; i++) a.mix[i] = a.vsv[i] + a.cov[i];
  memcpy(gradient, a.svt, p * k * sizeof *gradient);
  la_gemm('N', 'N', p, k, k, -1.0 / sigma2, w, p, a.mix, k, 1.0 / sigma2, gradient, p);
  gradient[p * k] = fix_sigma2 ? 0.0
                               : 0.5 * (terms->error / sigma2 - (double) p);
  return ELBO_OK;
}

/* ---- the optimum ------------------------------------------------------- */

double lvae_noise(const double *values, size_t k, size_t p, double trace,
                  double beta)
{
  double rest = trace, noise;
  size_t q = 0;
  for (; q < k; q++) {
    /* the concave function at sigma2 = values[q] / beta: not below 0 left of
     * its root */
    double at = rest - ((double) p / beta - (double) q) * values[q];
    if (at >= 0.0) break;
    rest -= values[q];
  }
  noise = rest / ((double) p - beta * (double) q);
  return noise > 0.0 ? noise : 0.0;
}

/* ---- training on rows -------------------------------------------------- */

/* Rows that are worked on together. */
static size_t block_rows(const elbo_data *data)
{
  size_t rows = data_block_rows(data);
  return rows < 512 ? rows : 512;
}

typedef struct {
  double *read, *residual;    /* m x p */
  const double *x;            /* the block's rows: `read`, or those of a batch that */
  size_t ld;                  /* was gathered; their leading dimension */
  double *mean, *z, *noise;   /* m x k: V x, the sample, its noise */
  double *slope;              /* m x k: residual W, then the gradient of z */
} block_work;

static block_work lay_out_block(const elbo_data *data, size_t k, double *work)
{
  size_t m = block_rows(data), mp = m * data->p, mk = m * k;
  block_work b = {.read = work, .residual = work + mp};
  b.mean = b.residual + mp;
  b.z = b.mean + mk;
  b.noise = b.z + mk;
  b.slope = b.noise + mk;
  return b;
}

/* Beside the blocks: two numbers a dimension. */
size_t lvae_rows_work(const elbo_data *data, size_t k)
{
  size_t m = block_rows(data);
  return m * (2 * data->p + 4 * k) + 2 * k;
}

/* b->z = means plus noise of sample s, or the means alone where there are no
 * samples; b->residual = W z - x. rows: their numbers, or NULL for first, ... */
static void sample_residual(size_t m, size_t p, size_t k, const double *w,
                            const double *sd, const int *rows, size_t first,
                            uint32_t epoch, size_t s, size_t samples,
                            rng_key key, block_work *b)
{
  memcpy(b->z, b->mean, m * k * sizeof *b->z);
  if (samples > 0) {
    for (size_t i = 0; i < m; i++)
      rng_normals(key, epoch, (uint32_t) (rows ? (size_t) rows[i] : first + i),
                  (uint32_t) s, k, b->noise + i, m);
    for (size_t j = 0; j < k; j++)
      for (size_t i = j * m; i < (j + 1) * m; i++)
        b->z[i] += sd[j] * b->noise[i];
  }
  for (size_t j = 0; j < p; j++)
    memcpy(b->residual + j * m, b->x + j * b->ld, m * sizeof *b->residual);
  la_gemm('N', 'T', m, p, k, 1.0, b->z, m, w, p, -1.0, b->residual, m);
}

/* Adds one block's part to the sums over the batch: of the squared error and
 * |V x|^2 to terms; of residual'z to to->w; of x'(residual W + beta sigma2 V x)
 * to to->vt; and of (residual W) * noise to to->log_d. */
static void add_block(size_t p, size_t k, parts at, const double *sd,
                      double sigma2, const int *rows, size_t first, size_t m,
                      uint32_t epoch, const lvae_settings *set, parts to,
                      lvae_terms *terms, block_work *b)
{
  size_t draws = set->samples > 0 ? set->samples : 1;
  double share = 1.0 / (double) draws;
  la_gemm('N', 'N', m, k, p, 1.0, b->x, b->ld, at.vt, p, 0.0, b->mean, m);
  for (size_t s = 0; s < draws; s++) {
    sample_residual(m, p, k, at.w, sd, rows, first, epoch, s, set->samples,
                    set->key, b);
    terms->error += share * dot(m * p, b->residual, b->residual);
    la_gemm('T', 'N', p, k, m, share, b->residual, m, b->z, m, 1.0, to.w, p);
    if (set->samples == 0) {
      la_gemm('N', 'N', m, k, p, 1.0, b->residual, m, at.w, p, 0.0, b->slope, m);
      continue;
    }
    /* z is no longer needed: the slope of this sample */
    la_gemm('N', 'N', m, k, p, share, b->residual, m, at.w, p, 0.0, b->z, m);
    for (size_t j = 0; j < k; j++)
      to.log_d[j] += dot(m, b->z + j * m, b->noise + j * m);
    if (s == 0) memcpy(b->slope, b->z, m * k * sizeof *b->slope);
    else for (size_t i = 0; i < m * k; i++) b->slope[i] += b->z[i];
  }
  terms->kl += dot(m * k, b->mean, b->mean);
  for (size_t i = 0; i < m * k; i++)
    b->slope[i] += set->beta * sigma2 * b->mean[i];
  la_gemm('T', 'N', p, k, m, 1.0, b->x, b->ld, b->slope, m, 1.0, to.vt, p);
}

/* lvae_rows_gradient(); `ready`: the rows themselves, gathered, or NULL to read
 * them here. */
static lvae_terms batch_gradient(const elbo_data *data, size_t k,
                                 const double *theta, const int *rows,
                                 size_t count, const double *ready, size_t ld,
                                 uint32_t epoch, const lvae_settings *set,
                                 double *gradient, double *work)
{
  size_t p = data->p, block = block_rows(data), size = theta_size(p, k);
  parts at = split(p, k, (double *) theta), to = split(p, k, gradient);
  double *sd = work, *ww = sd + k, sigma2 = exp(*at.log_sigma2);
  double n = (double) count, down = -1.0 / (n * sigma2);
  block_work b = lay_out_block(data, k, ww + k);
  lvae_terms terms = {0.0, 0.0, 0.0};
  memset(gradient, 0, size * sizeof *gradient);
  for (size_t j = 0; j < k; j++) {
    sd[j] = exp(0.5 * at.log_d[j]);
    ww[j] = dot(p, at.w + j * p, at.w + j * p);
  }
  for (size_t i = 0; i < count; i += block) {
    size_t m = count - i < block ? count - i : block;
    const int *these = rows ? rows + i : NULL;
    if (ready) {
      b.x = ready + i;
      b.ld = ld;
    } else {
      data_rows(data, i, m, these, b.read, NULL, m);
      b.x = b.read;
      b.ld = m;
    }
    add_block(p, k, at, sd, sigma2, these, i, m, epoch, set, to, &terms, &b);
  }
  terms.error /= n;
  terms.kl *= 0.5 / n;
  for (size_t i = 0; i < 2 * p * k; i++) gradient[i] *= down;
  for (size_t j = 0; j < k; j++) {
    double d = sd[j] * sd[j];
    terms.kl += 0.5 * (d - at.log_d[j] - 1.0);
    if (set->samples == 0) {
      terms.error += d * ww[j];
      for (size_t i = j * p; i < (j + 1) * p; i++)
        to.w[i] -= at.w[i] * d / sigma2;
      to.log_d[j] = log_d_gradient(d, ww[j], sigma2, set->beta);
    } else {
      to.log_d[j] = 0.5 * (sd[j] * down * to.log_d[j] + set->beta * (1.0 - d));
    }
  }
  terms.reconstruction = reconstruction(p, terms.error, sigma2);
  *to.log_sigma2 = set->fix_sigma2 ? 0.0
                                   : 0.5 * (terms.error / sigma2 - (double) p);
  return terms;
}

lvae_terms lvae_rows_gradient(const elbo_data *data, size_t k,
                              const double *theta, const int *rows,
                              size_t count, uint32_t epoch,
                              const lvae_settings *set, double *gradient,
                              double *work)
{
  return batch_gradient(data, k, theta, rows, count, NULL, 0, epoch, set,
                        gradient, work);
}

/* Whole batches that are gathered together, in 64 MB if more than one: rows in a
 * random order are few of each column, and to walk down the columns for many of
 * them at once costs little more than for one batch. */
static size_t gathered_rows(const elbo_data *data, size_t batch)
{
  size_t rows = ((size_t) 1 << 23) / data->p;
  if (batch >= data->n) return 0;
  rows = rows > batch ? rows / batch * batch : batch;
  return rows < data->n ? rows : data->n;
}

size_t lvae_epoch_work(const elbo_data *data, size_t k, size_t batch)
{
  return lvae_rows_work(data, k) + theta_size(data->p, k) +
    gathered_rows(data, batch) * data->p;
}

size_t lvae_epoch_iwork(const elbo_data *data)
{
  return 4 * data->n;
}

/* The rows order[first .. first + count - 1] into x (count x p). place: n, the
 * inverse of the order; from, to: count each. */
static void gather(const elbo_data *data, const int *place, size_t first,
                   size_t count, double *x, int *from, int *to)
{
  size_t found = 0;
  for (size_t i = 0; i < data->n; i++) {
    size_t at = (size_t) place[i];
    if (at < first || at - first >= count) continue;
    from[found] = (int) i;
    to[found++] = (int) (at - first);
  }
  data_gather(data, from, to, count, x, count);
}

lvae_terms lvae_epoch(const elbo_data *data, size_t k, uint32_t epoch,
                      const lvae_settings *set, double *theta, adam_state *adam,
                      double *work, int *iwork)
{
  size_t n = data->n, size = theta_size(data->p, k), batch = set->batch;
  size_t ready = gathered_rows(data, batch), first = 0, held = 0;
  double *gradient = work, *x = work + size, *rest = x + ready * data->p;
  int *order = iwork, *place = order + n, *from = place + n, *to = from + n;
  lvae_terms mean = {0.0, 0.0, 0.0};
  if (ready > 0) {
    rng_permutation(set->key, epoch, n, order);
    for (size_t i = 0; i < n; i++) place[order[i]] = (int) i;
  }
  for (size_t i = 0; i < n; i += batch) {
    size_t count = n - i < batch ? n - i : batch;
    double share = (double) count / (double) n;
    if (ready > 0 && i == first + held) {
      first = i;
      held = n - i < ready ? n - i : ready;
      gather(data, place, first, held, x, from, to);
    }
    lvae_terms terms = batch_gradient(data, k, theta, ready ? order + i : NULL,
                                      count, ready ? x + (i - first) : NULL,
                                      held, epoch, set, gradient, rest);
    adam_climb(size, theta, gradient, set->learning_rate, adam);
    mean.error += share * terms.error;
    mean.reconstruction += share * terms.reconstruction;
    mean.kl += share * terms.kl;
  }
  return mean;
}

/* ---- observations ------------------------------------------------------ */

/* to[i] += weight * sum of the squares of row i of a (m x c). */
static void add_row_squares(size_t m, size_t c, const double *a, double weight,
                            double *to)
{
  for (size_t j = 0; j < c; j++)
    for (size_t i = 0; i < m; i++)
      to[i] += weight * a[i + j * m] * a[i + j * m];
}

void lvae_observe(const elbo_data *data, size_t k, const double *w,
                  const double *vt, const double *d, size_t samples,
                  rng_key key, double *error, double *kl, double *mean,
                  double *work)
{
  size_t p = data->p, n = data->n, block = block_rows(data);
  size_t draws = samples > 0 ? samples : 1;
  double *sd = work, spread = 0.0, base = 0.0;
  block_work b = lay_out_block(data, k, work + 2 * k);
  for (size_t j = 0; j < k; j++) {
    sd[j] = sqrt(d[j]);
    spread += d[j] * dot(p, w + j * p, w + j * p);
    base += 0.5 * (d[j] - log(d[j]) - 1.0);
  }
  for (size_t i = 0; i < n; i += block) {
    size_t m = n - i < block ? n - i : block;
    data_rows(data, i, m, NULL, b.read, NULL, m);
    b.x = b.read;
    b.ld = m;
    la_gemm('N', 'N', m, k, p, 1.0, b.x, m, vt, p, 0.0, b.mean, m);
    for (size_t r = 0; r < m; r++) {
      error[i + r] = samples > 0 ? 0.0 : spread;
      kl[i + r] = base;
    }
    for (size_t s = 0; s < draws; s++) {
      sample_residual(m, p, k, w, sd, NULL, i, 0, s, samples, key, &b);
      add_row_squares(m, p, b.residual, 1.0 / (double) draws, error + i);
    }
    add_row_squares(m, k, b.mean, 0.5, kl + i);
    for (size_t j = 0; j < k; j++)
      memcpy(mean + i + j * n, b.mean + j * m, m * sizeof *mean);
  }
}
