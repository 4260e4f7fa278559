/* Random data of every kind, shape and content through each reader, summary and
 * product. Arrays end where their contract says; statuses and counts must stay
 * in range, and ordinary numbers must give finite ones. */
#include "test.h"

#include "data.h"

static double *doubles(size_t n)
{
  double *x = malloc(n * sizeof *x);
  if (!x && n) abort();
  return x;
}

static int *ints(size_t n)
{
  int *x = malloc(n * sizeof *x);
  if (!x && n) abort();
  return x;
}

static int all_finite(size_t n, const double *x)
{
  for (size_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return 0;
  return 1;
}

/* What a cell may hold: how far from ordinary numbers, 0 to 3. */
static double draw(int wild)
{
  static const double odd[] = {
    0.0, -0.0, 1.0, -1.0, 5e-324, -2e-310, 2.2250738585072014e-308, 1e-150,
    -1e-150, 1e150, -1e150, 1e300, -1.7976931348623157e308, 4503599627370497.0};
  static const double worse[] = {INFINITY, -INFINITY, NAN};
  size_t what = test_below(16);
  if (wild > 0 && what < 2) return exp(40.0 * test_normal());
  if (wild > 1 && what < 4) return odd[test_below(sizeof odd / sizeof *odd)];
  if (wild > 2 && what < 5) return worse[test_below(3)];
  return what < 9 ? test_normal() : floor(3.0 * test_normal());
}

static double *draws(size_t n, int wild)
{
  double *x = doubles(n);
  for (size_t i = 0; i < n; i++) x[i] = draw(wild);
  return x;
}

/* ---- data of any kind, shape and content ------------------------------- */

typedef struct {
  double *value, *mu, *unit;
  int *ivalue, *row, *start;
  elbo_data d;
} input;

static void fill_sparse(input *s, size_t n, size_t p, double missing, int wild)
{
  double share = test_below(3) == 0 ? (double) test_below(2) : test_uniform();
  size_t stored = 0;
  unsigned char *keep = malloc(n * p);
  for (size_t i = 0; i < n * p; i++) stored += keep[i] = test_uniform() <= share;
  s->value = doubles(stored);
  s->row = ints(stored);
  s->start = ints(p + 1);
  stored = 0;
  s->start[0] = 0;
  for (size_t j = 0; j < p; j++) {
    for (size_t i = 0; i < n; i++) {
      if (!keep[i + j * n]) continue;
      s->row[stored] = (int) i;
      s->value[stored++] = test_uniform() < missing ? NAN : draw(wild);
    }
    s->start[j + 1] = (int) stored;
  }
  free(keep);
}

static input new_input(size_t n, size_t p, double missing, int wild)
{
  input s = {.mu = draws(p, wild), .unit = draws(p, wild)};
  enum data_kind kind = (enum data_kind) test_below(3);
  for (size_t j = 0; j < p; j++)
    if (wild < 3) s.unit[j] = fabs(s.unit[j]) + 1e-3;
  if (kind == DATA_SPARSE) {
    fill_sparse(&s, n, p, missing, wild);
  } else if (kind == DATA_DOUBLE) {
    s.value = draws(n * p, wild);
    for (size_t i = 0; i < n * p; i++)
      if (test_uniform() < missing) s.value[i] = NAN;
  } else {
    s.ivalue = ints(n * p);
    for (size_t i = 0; i < n * p; i++)
      s.ivalue[i] = test_uniform() < missing ? DATA_MISSING_INT
        : wild > 0 && test_below(4) == 0 ? (int) test_below(2147483648u)
        : (int) test_below(9) - 4;
  }
  s.d = (elbo_data) {kind, n, p, s.value, s.ivalue, s.row, s.start, s.mu, s.unit,
                     NULL};
  return s;
}

static void drop(input *s)
{
  free(s->value);
  free(s->mu);
  free(s->unit);
  free(s->ivalue);
  free(s->row);
  free(s->start);
}

/* Sizes are small, but now and then large enough for several blocks. */
static size_t draw_size(size_t least)
{
  size_t what = test_below(100);
  return least + (what < 2 ? test_below(9000) : what < 60 ? test_below(9) : test_below(60));
}

/* ---- entry points ------------------------------------------------------ */

static void try_readers(const elbo_data *d, int wild)
{
  size_t n = d->n, p = d->p, first = test_below(n + 1);
  size_t count = test_below(n - first + 1), ld = count + test_below(3);
  int listed = n > 0 && test_below(2), *rows = NULL;
  if (listed) {
    count = test_below(2 * n + 1);
    ld = count + test_below(3);
    rows = ints(count);
    for (size_t i = 0; i < count; i++) rows[i] = (int) test_below(n);
  }
  size_t size = p && count ? ld * (p - 1) + count : 0, bad = 0;
  double *out = doubles(size), *mask = doubles(size);
  data_rows(d, first, count, rows, out, test_below(2) ? mask : NULL, ld);
  data_rows(d, first, count, rows, out, mask, ld);
  for (size_t i = 0; i < size; i++) {
    if (i % ld >= count) continue;
    bad += mask[i] != 0.0 && mask[i] != 1.0;
    bad += mask[i] == 0.0 && out[i] != 0.0;
    bad += wild == 0 && !isfinite(out[i]);
  }
  CHECK(bad == 0);
  free(out);
  free(mask);
  free(rows);
  first = test_below(p + 1);
  count = test_below(p - first + 1);
  out = doubles(n * count);
  data_cols(d, first, count, out);
  CHECK(wild > 0 || all_finite(n * count, out));
  free(out);
}

static void try_summaries(const elbo_data *d, int wild)
{
  size_t p = d->p, bad = 0;
  double *count = doubles(p), *mean = doubles(p), *low = doubles(p);
  double *high = doubles(p), *ss = doubles(p);
  size_t infinite = data_summary(d, count, mean, low, high);
  data_squares(d, ss);
  CHECK(infinite <= p && (wild == 3 || infinite == 0));
  for (size_t j = 0; j < p; j++) {
    bad += !(count[j] >= 0.0 && count[j] <= (double) d->n);
    bad += isfinite(mean[j]) && !(mean[j] >= low[j] && mean[j] <= high[j]);
    bad += wild == 0 && count[j] > 0.0 && !isfinite(mean[j]);
    bad += wild < 3 && !(ss[j] >= 0.0);
  }
  CHECK(bad == 0);
  free(count);
  free(mean);
  free(low);
  free(high);
  free(ss);
}

static void try_products(const elbo_data *d, int wild)
{
  size_t n = d->n, p = d->p, b = test_below(5);
  double *q = draws(p * b, wild), *r = draws(n * b, wild);
  double *tall = doubles(n * b), *wide = doubles(p * b), *work;
  work = doubles(data_times_work(d, b));
  data_times(d, q, b, tall, work);
  CHECK(wild > 0 || all_finite(n * b, tall));
  free(work);
  work = doubles(data_cov_times_work(d, b));
  data_cov_times(d, q, b, wide, work);
  CHECK(wild > 0 || all_finite(p * b, wide));
  free(work);
  work = doubles(data_cross_work(d, b));
  data_cross(d, r, b, wide, work);
  CHECK(wild > 0 || all_finite(p * b, wide));
  free(work);
  work = doubles(data_gram_times_work(d, b));
  data_gram_times(d, r, b, tall, work);
  CHECK(wild > 0 || all_finite(n * b, tall));
  free(work);
  free(q);
  free(r);
  free(tall);
  free(wide);
}

static void any_data(void)
{
  for (long i = test_iterations(3000); i > 0; i--) {
    int wild = (int) test_below(4);
    size_t n = draw_size(0), p = n > 1000 ? test_below(5) : draw_size(0);
    double missing = test_below(2) ? 0.0 : test_uniform();
    input s = new_input(n, p, missing, wild);
    try_readers(&s.d, wild);
    try_summaries(&s.d, wild);
    if (n > 0 && p > 0) try_products(&s.d, wild);
    drop(&s);
  }
}

TEST_MAIN(any_data)
