/* Random data with missing cells, masks and loadings through patterns, posterior
 * and EM; stacks of matrices, definite or not, through packed_inverse(). */
#include "test.h"

#include "data.h"
#include "missing.h"
#include "packed.h"
#include "status.h"

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

static size_t try_patterns(const elbo_data *d, int *pattern, int *order)
{
  size_t n = d->n, bad = 0;
  unsigned long long *work = malloc(3 * n * sizeof *work);
  unsigned char *seen = calloc(n, 1);
  size_t count = missing_patterns(d, pattern, order, work);
  CHECK(count <= n && (count > 0) == (n > 0));
  for (size_t i = 0; i < n; i++) {
    bad += pattern[i] < 0 || (size_t) pattern[i] >= count;
    bad += order[i] < 0 || (size_t) order[i] >= n || seen[order[i]]++;
  }
  CHECK(bad == 0);
  free(work);
  free(seen);
  return count;
}

static void try_posterior(const elbo_data *d, const elbo_patterns *rows,
                          const missing_model *from, int wild)
{
  size_t n = d->n, k = from->k, q = packed_size(k);
  double *mean = doubles(n * k), *cov = doubles(rows->count * q), *ll = doubles(n);
  double *work = doubles(missing_work(d, k));
  size_t out = test_below(8);
  int status = missing_posterior(d, rows, from, out & 1 ? NULL : mean,
                                 out & 2 ? NULL : cov, out & 4 ? NULL : ll, work);
  CHECK(status == ELBO_OK || (wild > 0 && status == ELBO_NOT_POSITIVE));
  if (wild == 0) {
    CHECK(out & 1 || all_finite(n * k, mean));
    CHECK(out & 2 || all_finite(rows->count * q, cov));
    CHECK(out & 4 || all_finite(n, ll));
  }
  free(mean);
  free(cov);
  free(ll);
  free(work);
}

static void try_maps(input *s, const elbo_patterns *rows, missing_model from,
                     double *w, int wild)
{
  size_t p = s->d.p, k = from.k;
  double *w_new = doubles(p * k), *mu_new = doubles(p), loglik, next;
  double *work = doubles(missing_work(&s->d, k));
  for (int map = 0; map < 3; map++) {
    int status = missing_em_step(&s->d, rows, &from, w_new, mu_new, &next,
                                 &loglik, work);
    CHECK(status == ELBO_OK || status == ELBO_NOT_POSITIVE);
    if (status != ELBO_OK) break;
    CHECK(next > 0.0);
    CHECK(wild > 0 || (isfinite(loglik) && all_finite(p * k, w_new) &&
                       all_finite(p, mu_new)));
    memcpy(w, w_new, p * k * sizeof *w);
    memcpy(s->mu, mu_new, p * sizeof *mu_new);
    from.sigma2 = next;
  }
  free(w_new);
  free(mu_new);
  free(work);
}

static void try_inverse(int wild)
{
  size_t k = 1 + test_below(50), count = test_below(30), ld = count + test_below(3);
  size_t length = count ? ld * (packed_size(k) - 1) + count : 0, bad = 0;
  double *a = draws(length, wild), *logdet = doubles(count);
  double *work = doubles(packed_inverse_work(k));
  int easy = wild == 0 || test_below(2);      /* dominated by the diagonal */
  for (size_t j = 0; j < k && easy; j++)
    for (size_t i = 0; i < count; i++)
      a[i + packed_index(k, j, j) * ld] = 60.0 + 20.0 * (double) k;
  int status = packed_inverse(k, count, a, ld, logdet, work);
  CHECK(status == ELBO_OK || (wild + !easy > 0 && status == ELBO_NOT_POSITIVE));
  for (size_t i = 0; i < length && wild == 0; i++)
    bad += i % ld < count && !isfinite(a[i]);
  CHECK(bad == 0);
  free(a);
  free(logdet);
  free(work);
}

static void any_data(void)
{
  for (long i = test_iterations(800); i > 0; i--) {
    int wild = (int) test_below(4);
    size_t n = draw_size(0), p = n > 1000 ? 2 + test_below(5) : 2 + test_below(30);
    size_t k = test_below(20) ? 1 + test_below(p < 9 ? p - 1 : 8) : 1 + test_below(50);
    input s = new_input(n, p, test_below(3) ? 0.3 : test_uniform(), wild);
    int *pattern = ints(n), *order = ints(n);
    elbo_patterns rows = {try_patterns(&s.d, pattern, order), pattern, order};
    double *w = draws(p * k, wild), sigma2 = fabs(draw(wild)) + 1e-3;
    missing_model from = {k, w, sigma2, (int) test_below(2), (int) test_below(2)};
    try_posterior(&s.d, &rows, &from, wild);
    try_maps(&s, &rows, from, w, wild);
    try_inverse(wild);
    free(pattern);
    free(order);
    free(w);
    drop(&s);
  }
}

TEST_MAIN(any_data)
