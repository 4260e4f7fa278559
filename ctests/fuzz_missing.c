/* Random data with missing cells, masks and loadings through patterns, posterior
 * and EM; stacks of matrices, definite or not, through packed_inverse(). */
#include "random_data.h"
#include "missing.h"
#include "packed.h"
#include "status.h"

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
  size_t length = span(count, packed_size(k), ld), bad = 0;
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

TEST_MAIN(products_are_our_own, any_data)
