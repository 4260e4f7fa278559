/* Readers of the data matrix; see data.h for the contract. */
#include <math.h>
#include <string.h>

#include "data.h"

static void poll(const elbo_data *d)
{
  if (d->poll) d->poll();
}

/* ---- blocks of rows ---------------------------------------------------- */

static void double_column(const double *x, const int *rows, size_t count,
                          double mu, double unit, double *out, double *mask)
{
  if (!rows && !mask) {                           /* the usual case, kept lean */
    for (size_t i = 0; i < count; i++) {
      double v = (x[i] - mu) * unit;
      out[i] = v == v ? v : 0.0;
    }
    return;
  }
  for (size_t i = 0; i < count; i++) {
    double v = x[rows ? (size_t) rows[i] : i];
    int seen = v == v;
    out[i] = seen ? (v - mu) * unit : 0.0;
    if (mask) mask[i] = seen;
  }
}

static void integer_column(const int *x, const int *rows, size_t count,
                           double mu, double unit, double *out, double *mask)
{
  for (size_t i = 0; i < count; i++) {
    int v = x[rows ? (size_t) rows[i] : i];
    int seen = v != DATA_MISSING_INT;
    out[i] = seen ? (v - mu) * unit : 0.0;
    if (mask) mask[i] = seen;
  }
}

/* First stored value of column j in row `from` or below it. */
static size_t sparse_seek(const elbo_data *d, size_t j, size_t from)
{
  size_t low = (size_t) d->start[j], high = (size_t) d->start[j + 1];
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if ((size_t) d->row[mid] < from) low = mid + 1; else high = mid;
  }
  return low;
}

static void sparse_cell(double v, double mu, double unit, double *out,
                        double *mask)
{
  int seen = v == v;
  *out = seen ? (v - mu) * unit : 0.0;
  if (mask) *mask = seen;
}

static void sparse_column(const elbo_data *d, size_t j, size_t first,
                          size_t count, const int *rows, double *out,
                          double *mask)
{
  double mu = d->mu[j], unit = d->unit[j];
  size_t end = (size_t) d->start[j + 1];
  for (size_t i = 0; i < count; i++) {
    out[i] = -mu * unit;
    if (mask) mask[i] = 1.0;
  }
  if (!rows) {
    for (size_t s = sparse_seek(d, j, first);
         s < end && (size_t) d->row[s] < first + count; s++) {
      size_t i = (size_t) d->row[s] - first;
      sparse_cell(d->value[s], mu, unit, out + i, mask ? mask + i : NULL);
    }
    return;
  }
  for (size_t i = 0; i < count; i++) {
    size_t s = sparse_seek(d, j, (size_t) rows[i]);
    if (s < end && d->row[s] == rows[i])
      sparse_cell(d->value[s], mu, unit, out + i, mask ? mask + i : NULL);
  }
}

void data_rows(const elbo_data *d, size_t first, size_t count, const int *rows,
               double *out, double *mask, size_t ld)
{
  poll(d);
  size_t from = rows ? 0 : first;
  for (size_t j = 0; j < d->p; j++) {
    double *o = out + j * ld, *m = mask ? mask + j * ld : NULL;
    switch (d->kind) {
    case DATA_DOUBLE:
      double_column(d->value + j * d->n + from, rows, count, d->mu[j],
                    d->unit[j], o, m);
      break;
    case DATA_INTEGER:
      integer_column(d->ivalue + j * d->n + from, rows, count, d->mu[j],
                     d->unit[j], o, m);
      break;
    case DATA_SPARSE:
      sparse_column(d, j, first, count, rows, o, m);
    }
  }
}

/* Stored cells and `from` are both in increasing order of rows. */
static void gather_sparse(const elbo_data *d, size_t j, const int *from,
                          const int *to, size_t count, double *out)
{
  size_t s = (size_t) d->start[j], end = (size_t) d->start[j + 1];
  double mu = d->mu[j], unit = d->unit[j];
  for (size_t t = 0; t < count; t++) {
    double *cell = out + to[t];
    while (s < end && d->row[s] < from[t]) s++;
    if (s < end && d->row[s] == from[t])
      sparse_cell(d->value[s], mu, unit, cell, NULL);
    else *cell = -mu * unit;
  }
}

void data_gather(const elbo_data *d, const int *from, const int *to,
                 size_t count, double *out, size_t ld)
{
  for (size_t j = 0; j < d->p; j++, out += ld) {
    double mu = d->mu[j], unit = d->unit[j];
    if (j % 64 == 0) poll(d);
    if (d->kind == DATA_DOUBLE) {
      const double *x = d->value + j * d->n;
      for (size_t t = 0; t < count; t++) {
        double v = (x[from[t]] - mu) * unit;
        out[to[t]] = v == v ? v : 0.0;
      }
    } else if (d->kind == DATA_INTEGER) {
      const int *x = d->ivalue + j * d->n;
      for (size_t t = 0; t < count; t++) {
        int v = x[from[t]];
        out[to[t]] = v != DATA_MISSING_INT ? (v - mu) * unit : 0.0;
      }
    } else gather_sparse(d, j, from, to, count, out);
  }
}

size_t data_floats_work(const elbo_data *d)
{
  return 2 * data_block_rows(d) * d->p;
}

/* Transposed in tiles, so that the cache lines of neither side are lost between uses. */
static double transpose_block(size_t m, size_t p, const double *x, const double *seen,
                              float *out)
{
  enum { TILE = 16 };
  double largest = 0.0;
  for (size_t i0 = 0; i0 < m; i0 += TILE)
    for (size_t j0 = 0; j0 < p; j0 += TILE)
      for (size_t i = i0; i < m && i < i0 + TILE; i++)
        for (size_t j = j0; j < p && j < j0 + TILE; j++) {
          double value = x[i + j * m], size = fabs(value);
          largest = size > largest ? size : largest;
          out[j + i * p] = seen[i + j * m] == 0.0 ? NAN : (float) value;
        }
  return largest;
}

double data_floats(const elbo_data *d, const int *rows, size_t count, float *out,
                   double *work)
{
  size_t block = data_block_rows(d);
  double largest = 0.0;
  double *x = work, *seen = work + block * d->p;
  for (size_t i = 0; i < count; i += block) {
    size_t m = count - i < block ? count - i : block;
    data_rows(d, i, m, rows ? rows + i : NULL, x, seen, m);
    double here = transpose_block(m, d->p, x, seen, out + i * d->p);
    largest = here > largest ? here : largest;
  }
  return largest;
}

void data_cols(const elbo_data *d, size_t first, size_t count, double *out)
{
  poll(d);
  for (size_t c = 0; c < count; c++) {
    size_t j = first + c;
    double *o = out + c * d->n;
    if (d->kind == DATA_DOUBLE)
      double_column(d->value + j * d->n, NULL, d->n, d->mu[j], d->unit[j], o,
                    NULL);
    else if (d->kind == DATA_INTEGER)
      integer_column(d->ivalue + j * d->n, NULL, d->n, d->mu[j], d->unit[j], o,
                     NULL);
    else
      sparse_column(d, j, 0, d->n, NULL, o, NULL);
  }
}

/* Lines of `length` doubles for a block of 4 MB, within [1, most]. */
static size_t block_lines(size_t length, size_t most)
{
  size_t lines = ((size_t) 1 << 19) / (length ? length : 1);
  lines = lines < 16 ? 16 : lines > 4096 ? 4096 : lines / 8 * 8;
  return lines < most ? lines : (most ? most : 1);
}

size_t data_block_rows(const elbo_data *d)
{
  return block_lines(d->p, d->n);
}

size_t data_block_cols(const elbo_data *d)
{
  return block_lines(d->n, d->p);
}

/* ---- column summaries -------------------------------------------------- */

typedef struct { double sum, low, high; size_t count; } summary;

/* Adds `count` cells; four lanes, as one chain of additions would wait for
 * itself. Comparisons with NaN are false, so missing cells drop out. */
static void add_doubles(summary *s, const double *x, size_t count)
{
  double sum[4] = {0}, low[4], high[4];
  size_t seen[4] = {0}, i = 0;
  for (int l = 0; l < 4; l++) { low[l] = s->low; high[l] = s->high; }
  for (; i + 4 <= count; i += 4)
    for (size_t l = 0; l < 4; l++) {
      double v = x[i + l];
      sum[l] += v == v ? v : 0.0;
      seen[l] += v == v;
      low[l] = v < low[l] ? v : low[l];
      high[l] = v > high[l] ? v : high[l];
    }
  for (; i < count; i++) {
    double v = x[i];
    sum[0] += v == v ? v : 0.0;
    seen[0] += v == v;
    low[0] = v < low[0] ? v : low[0];
    high[0] = v > high[0] ? v : high[0];
  }
  s->sum += (sum[0] + sum[1]) + (sum[2] + sum[3]);
  for (int l = 0; l < 4; l++) {
    s->count += seen[l];
    if (low[l] < s->low) s->low = low[l];
    if (high[l] > s->high) s->high = high[l];
  }
}

static void add_integers(summary *s, const int *x, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (x[i] == DATA_MISSING_INT) continue;
    s->count++;
    s->sum += x[i];
    if (x[i] < s->low) s->low = x[i];
    if (x[i] > s->high) s->high = x[i];
  }
}

/* Runs over one column's stored cells in pieces, so that rounding grows with
 * the number of pieces and not of cells. */
static void summarise(const elbo_data *d, size_t j, summary *s)
{
  const size_t piece = 2048;
  size_t from = 0, to = d->n, base = j * d->n;
  if (d->kind == DATA_SPARSE) {
    base = 0;
    from = (size_t) d->start[j];
    to = (size_t) d->start[j + 1];
    if (to - from < d->n) {                       /* the cells not stored */
      s->low = s->high = 0.0;
      s->count = d->n - (to - from);
    }
  }
  for (size_t i = from; i < to; i += piece) {
    size_t count = to - i < piece ? to - i : piece;
    if (d->kind == DATA_INTEGER) add_integers(s, d->ivalue + base + i, count);
    else add_doubles(s, d->value + base + i, count);
  }
}

size_t data_summary(const elbo_data *d, double *count, double *mean,
                    double *low, double *high)
{
  size_t infinite = 0;
  for (size_t j = 0; j < d->p; j++) {
    summary s = {0.0, INFINITY, -INFINITY, 0};
    if (j % 64 == 0) poll(d);
    summarise(d, j, &s);
    count[j] = (double) s.count;
    low[j] = s.low;
    high[j] = s.high;
    if (s.count && (isinf(s.low) || isinf(s.high)) && !infinite)
      infinite = j + 1;
    /* a constant column must come out as exactly that */
    double m = s.count ? s.sum / (double) s.count : NAN;
    mean[j] = isinf(m) ? m : m < s.low ? s.low : m > s.high ? s.high : m;
  }
  return infinite;
}

static double square(double x)
{
  return x * x;
}

static double squares_double(const double *x, size_t count, double mu,
                             double unit)
{
  double sum[4] = {0};
  size_t i = 0;
  for (; i + 4 <= count; i += 4)
    for (size_t l = 0; l < 4; l++) {
      double v = (x[i + l] - mu) * unit;
      sum[l] += v == v ? v * v : 0.0;
    }
  for (; i < count; i++) {
    double v = (x[i] - mu) * unit;
    sum[0] += v == v ? v * v : 0.0;
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static double squares_integer(const int *x, size_t count, double mu,
                              double unit)
{
  double sum = 0.0;
  for (size_t i = 0; i < count; i++)
    if (x[i] != DATA_MISSING_INT) sum += square((x[i] - mu) * unit);
  return sum;
}

void data_squares(const elbo_data *d, double *ss)
{
  const size_t piece = 2048;
  for (size_t j = 0; j < d->p; j++) {
    double mu = d->mu[j], unit = d->unit[j];
    size_t from = 0, to = d->n, base = j * d->n;
    if (j % 64 == 0) poll(d);
    ss[j] = 0.0;
    if (d->kind == DATA_SPARSE) {
      base = 0;
      from = (size_t) d->start[j];
      to = (size_t) d->start[j + 1];
      if (to - from < d->n)
        ss[j] = (double) (d->n - (to - from)) * square(mu * unit);
    }
    for (size_t i = from; i < to; i += piece) {
      size_t count = to - i < piece ? to - i : piece;
      ss[j] += d->kind == DATA_INTEGER
        ? squares_integer(d->ivalue + base + i, count, mu, unit)
        : squares_double(d->value + base + i, count, mu, unit);
    }
  }
}
