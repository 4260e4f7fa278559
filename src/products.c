/* Products with the data matrix; see data.h for the contract.
 *
 * A dense matrix goes through BLAS a block of centred rows at a time. A sparse
 * one is never filled in: with U = diag(unit) and X the stored values,
 * (X - 1 mu') U q = X (U q) - 1 (mu' U q), and the same for its transpose. That
 * cancels where mu is far larger than the spread; so a column that is stored in
 * full, where this can be, has mu taken off cell by cell. The sparse loops hold
 * q and y transposed, so that the b values which belong to a stored cell lie
 * side by side.
 */
#include <string.h>

#include "data.h"
#include "linalg.h"

/* ---- sparse ------------------------------------------------------------ */

/* The part of mu[j] that is not taken off the stored cells themselves. */
static double common_mean(const elbo_data *d, size_t j)
{
  int full = (size_t) (d->start[j + 1] - d->start[j]) == d->n;
  return full ? 0.0 : d->mu[j];
}

/* A missing cell counts as the mean, and so as 0 once centred. */
static double stored(const elbo_data *d, int s, size_t j, double common)
{
  double v = d->value[s];
  return v == v ? v - (d->mu[j] - common) : common;
}

/* qt (b x p) = (U q)', shift (b) = mu' U q */
static void sparse_scale(const elbo_data *d, const double *q, size_t b,
                         double *qt, double *shift)
{
  memset(shift, 0, b * sizeof *shift);
  for (size_t j = 0; j < d->p; j++) {
    double common = common_mean(d, j);
    for (size_t t = 0; t < b; t++) {
      double v = q[j + t * d->p] * d->unit[j];
      qt[t + j * b] = v;
      shift[t] += common * v;
    }
  }
}

/* yt (b x n) = ((X - 1 mu') U q)' */
static void sparse_times(const elbo_data *d, const double *q, size_t b,
                         double *yt, double *qt, double *shift)
{
  sparse_scale(d, q, b, qt, shift);
  for (size_t i = 0; i < d->n; i++)
    for (size_t t = 0; t < b; t++) yt[t + i * b] = -shift[t];
  for (size_t j = 0; j < d->p; j++) {
    const double *qj = qt + j * b;
    double common = common_mean(d, j);
    if (j % 256 == 0 && d->poll) d->poll();
    for (int s = d->start[j]; s < d->start[j + 1]; s++) {
      double v = stored(d, s, j, common), *y = yt + (size_t) d->row[s] * b;
      for (size_t t = 0; t < b; t++) y[t] += v * qj[t];
    }
  }
}

/* z (p x b) = scale U (X' - mu 1') y, for yt = y' */
static void sparse_cross(const elbo_data *d, const double *yt, size_t b,
                         double scale, double *z, double *total, double *cell)
{
  memset(total, 0, b * sizeof *total);
  for (size_t i = 0; i < d->n; i++)
    for (size_t t = 0; t < b; t++) total[t] += yt[t + i * b];
  for (size_t j = 0; j < d->p; j++) {
    double common = common_mean(d, j);
    if (j % 256 == 0 && d->poll) d->poll();
    for (size_t t = 0; t < b; t++) cell[t] = -common * total[t];
    for (int s = d->start[j]; s < d->start[j + 1]; s++) {
      double v = stored(d, s, j, common);
      const double *y = yt + (size_t) d->row[s] * b;
      for (size_t t = 0; t < b; t++) cell[t] += v * y[t];
    }
    for (size_t t = 0; t < b; t++)
      z[j + t * d->p] = cell[t] * d->unit[j] * scale;
  }
}

/* to (c x r) = from', from r x c */
static void transpose(size_t r, size_t c, const double *from, double *to)
{
  for (size_t j = 0; j < c; j++)
    for (size_t i = 0; i < r; i++) to[j + i * c] = from[i + j * r];
}

/* ---- both kinds -------------------------------------------------------- */

size_t data_times_work(const elbo_data *d, size_t b)
{
  if (d->kind == DATA_SPARSE) return b * (d->n + d->p + 1);
  return data_block_rows(d) * d->p;
}

void data_times(const elbo_data *d, const double *q, size_t b, double *y,
                double *work)
{
  if (d->kind == DATA_SPARSE) {
    double *yt = work, *qt = yt + b * d->n;
    sparse_times(d, q, b, yt, qt, qt + b * d->p);
    transpose(b, d->n, yt, y);
    return;
  }
  size_t block = data_block_rows(d);
  for (size_t i = 0; i < d->n; i += block) {
    size_t m = d->n - i < block ? d->n - i : block;
    data_rows(d, i, m, NULL, work, NULL, m);
    la_gemm('N', 'N', m, b, d->p, 1.0, work, m, q, d->p, 0.0, y + i, d->n);
  }
}

size_t data_covariance_work(const elbo_data *d)
{
  return data_block_rows(d) * d->p;
}

void data_covariance(const elbo_data *d, double *s, double *work)
{
  size_t block = data_block_rows(d);
  if (d->n == 0) memset(s, 0, d->p * d->p * sizeof *s);
  for (size_t i = 0; i < d->n; i += block) {
    size_t m = d->n - i < block ? d->n - i : block;
    data_rows(d, i, m, NULL, work, NULL, m);
    la_syrk('T', d->p, m, 1.0 / (double) d->n, work, m, i > 0, s, d->p);
  }
}

size_t data_cov_times_work(const elbo_data *d, size_t b)
{
  if (d->kind == DATA_SPARSE) return b * (d->n + d->p + 2);
  return data_block_rows(d) * (d->p + b);
}

void data_cov_times(const elbo_data *d, const double *q, size_t b, double *z,
                    double *work)
{
  if (d->kind == DATA_SPARSE) {
    double *yt = work, *qt = yt + b * d->n, *one = qt + b * d->p;
    sparse_times(d, q, b, yt, qt, one);
    sparse_cross(d, yt, b, 1.0 / (double) d->n, z, one, one + b);
    return;
  }
  size_t block = data_block_rows(d);
  double *x = work, *y = x + block * d->p;
  memset(z, 0, d->p * b * sizeof *z);
  for (size_t i = 0; i < d->n; i += block) {
    size_t m = d->n - i < block ? d->n - i : block;
    data_rows(d, i, m, NULL, x, NULL, m);
    la_gemm('N', 'N', m, b, d->p, 1.0, x, m, q, d->p, 0.0, y, m);
    la_gemm('T', 'N', d->p, b, m, 1.0 / (double) d->n, x, m, y, m, 1.0, z,
            d->p);
  }
}

size_t data_cross_work(const elbo_data *d, size_t b)
{
  if (d->kind == DATA_SPARSE) return b * (d->n + 2);
  return data_block_cols(d) * d->n;
}

void data_cross(const elbo_data *d, const double *q, size_t b, double *y,
                double *work)
{
  if (d->kind == DATA_SPARSE) {
    double *qt = work, *total = qt + b * d->n;
    transpose(d->n, b, q, qt);
    sparse_cross(d, qt, b, 1.0, y, total, total + b);
    return;
  }
  size_t block = data_block_cols(d);
  for (size_t j = 0; j < d->p; j += block) {
    size_t m = d->p - j < block ? d->p - j : block;
    data_cols(d, j, m, work);
    la_gemm('T', 'N', m, b, d->n, 1.0, work, d->n, q, d->n, 0.0, y + j, d->p);
  }
}

size_t data_gram_times_work(const elbo_data *d, size_t b)
{
  if (d->kind == DATA_SPARSE) return b * (2 * d->n + 2 * d->p + 2);
  return data_block_cols(d) * (d->n + b);
}

void data_gram_times(const elbo_data *d, const double *q, size_t b, double *z,
                     double *work)
{
  double scale = 1.0 / (double) d->n;
  if (d->kind == DATA_SPARSE) {
    double *qt = work, *u = qt + b * d->n, *rest = u + b * d->p;
    transpose(d->n, b, q, qt);
    sparse_cross(d, qt, b, scale, u, rest, rest + b);
    sparse_times(d, u, b, qt, rest, rest + b * d->p);
    transpose(b, d->n, qt, z);
    return;
  }
  size_t block = data_block_cols(d);
  double *x = work, *y = x + block * d->n;
  memset(z, 0, d->n * b * sizeof *z);
  for (size_t j = 0; j < d->p; j += block) {
    size_t m = d->p - j < block ? d->p - j : block;
    data_cols(d, j, m, x);
    la_gemm('T', 'N', m, b, d->n, 1.0, x, d->n, q, d->n, 0.0, y, m);
    la_gemm('N', 'N', d->n, b, m, scale, x, d->n, y, m, 1.0, z, d->n);
  }
}
