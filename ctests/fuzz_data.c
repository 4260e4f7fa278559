/* Random data of every kind, shape and content through each reader, summary and
 * product. Arrays end where their contract says; statuses and counts must stay
 * in range, and ordinary numbers must give finite ones. */
#include "random_data.h"

/* ---- entry points ------------------------------------------------------ */

static void try_readers(const elbo_data *d, int wild)
{
  size_t n = d->n, p = d->p, first = test_below(n + 1);
  size_t count = test_below(n - first + 1), ld = count + test_below(3);
  int listed = n > 0 && test_below(2), *rows = NULL;
  if (listed) {
    count = test_below(2 * n + 1);
    ld = count + test_below(3);
    rows = any_rows(count, n);
  }
  size_t size = span(count, p, ld), bad = 0;
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

TEST_MAIN(products_are_our_own, any_data)
