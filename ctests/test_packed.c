/* packed against one matrix at a time: Gauss-Jordan, and the definition of the
 * layout. */
#include "arrays.h"
#include "packed.h"
#include "reference.h"
#include "status.h"

/* I + B'B for random B (3 x k), as posterior precisions are */
static void precision(size_t k, double *a)
{
  double *b = normals(3 * k, 2.0);
  cross(k, k, 3, b, b, a);
  for (size_t i = 0; i < k; i++) a[i + i * k] += 1.0;
  free(b);
}

/* Members of order k side by side, ld - count rows of marker behind them; the
 * array ends with the last member's last entry. */
static double *packed(size_t k, size_t count, const double *full, size_t ld)
{
  size_t length = span(count, packed_size(k), ld);
  double *a = doubles(length);
  for (size_t i = 0; i < length; i++) a[i] = marker;
  for (size_t m = 0; m < count; m++)
    for (size_t j = 0; j < k; j++)
      for (size_t i = j; i < k; i++)
        a[m + packed_index(k, i, j) * ld] = full[i + j * k + m * k * k];
  return a;
}

static void entries_lie_by_columns(void)
{
  CHECK(packed_size(0) == 0);
  for (size_t k = 1; k <= 60; k++) {
    size_t place = 0, bad = 0;
    for (size_t j = 0; j < k; j++)
      for (size_t i = j; i < k; i++) bad += packed_index(k, i, j) != place++;
    CHECK(bad == 0 && packed_size(k) == place);
  }
}

enum { MOST = 20 };

/* The first 1, ..., 20 of 20 matrices, each count with its own remainder of
 * lanes. */
static void inverses_match_gauss_jordan(void)
{
  for (size_t k = 1; k <= 45; k++) {
    size_t kk = k * k;
    double *full = doubles(kk * MOST), *inverse = doubles(kk * MOST), logdets[MOST];
    for (size_t m = 0; m < MOST; m++) {
      precision(k, full + m * kk);
      logdets[m] = invert(k, full + m * kk, inverse + m * kk);
    }
    for (size_t count = 1; count <= MOST; count++) {
      size_t ld = count + k % 3, bad = 0;
      double *a = packed(k, count, full, ld), *logdet = doubles(count);
      double *expected = packed(k, count, inverse, ld), worst = 0.0;
      double *work = doubles(packed_inverse_work(k));
      CHECK(packed_inverse(k, count, a, ld, logdet, work) == ELBO_OK);
      for (size_t i = 0; i < span(count, packed_size(k), ld); i++) {
        double d = fabs(a[i] - expected[i]);
        bad += i % ld >= count ? a[i] != marker : !(d < INFINITY);
        worst = fmax(worst, d);
      }
      CHECK(bad == 0);
      CHECK_NEAR(worst, 0.0, 1e-12);                /* entries are below 1 */
      for (size_t m = 0; m < count; m++) CHECK_NEAR(logdet[m], logdets[m], 1e-12);
      free(a);
      free(logdet);
      free(expected);
      free(work);
    }
    free(full);
    free(inverse);
  }
}

/* One bad member among `count`, bad in each of four ways at each pivot. */
static void what_is_not_positive_is_refused(void)
{
  static const double diagonal[] = {0.0, -3.0, NAN, -INFINITY};
  for (size_t k = 1; k <= 45; k += 1 + k / 4)
    for (size_t count = 1; count <= MOST; count += 4)
      for (int way = 0; way < 4; way++) {
        double *full = doubles(k * k * count), *logdet = doubles(count);
        double *work = doubles(packed_inverse_work(k));
        size_t member = test_below(count), at = test_below(k);
        for (size_t m = 0; m < count; m++) precision(k, full + m * k * k);
        full[at * (k + 1) + member * k * k] = diagonal[way];
        double *a = packed(k, count, full, count);
        CHECK(packed_inverse(k, count, a, count, logdet, work) == ELBO_NOT_POSITIVE);
        free(full);
        free(logdet);
        free(work);
        free(a);
      }
}

static void no_members_is_no_work(void)
{
  CHECK(packed_inverse(3, 0, NULL, 0, NULL, NULL) == ELBO_OK);
  CHECK(packed_inverse(45, 0, NULL, 0, NULL, NULL) == ELBO_OK);
}

static void unpacking_fills_both_triangles(void)
{
  for (size_t k = 1; k <= 45; k += 1 + k / 4) {
    size_t count = 5, ld = 7;
    double *full = doubles(k * k * count), *out = doubles(k * k);
    for (size_t m = 0; m < count; m++) precision(k, full + m * k * k);
    double *a = packed(k, count, full, ld);
    for (size_t m = 0; m < count; m++) {
      packed_unpack(k, a, ld, m, out);
      CHECK(memcmp(out, full + m * k * k, k * k * sizeof *out) == 0);
    }
    free(full);
    free(out);
    free(a);
  }
}

static void outer_products_of_rows(void)
{
  for (size_t n = 0; n <= 20; n += 1 + n / 3)
    for (size_t k = 1; k <= 12; k++) {
      size_t ldw = n + 2, ld = n + 1, length = ld * (packed_size(k) - 1) + n, bad = 0;
      double *w = doubles(ldw * k), *products = doubles(length);
      for (size_t i = 0; i < ldw * k; i++) w[i] = i % ldw < n ? test_normal() : NAN;
      for (size_t i = 0; i < length; i++) products[i] = marker;
      packed_outer(n, k, w, ldw, products, ld);
      for (size_t j = 0; j < k; j++)
        for (size_t i = j; i < k; i++)
          for (size_t r = 0; r < n; r++)
            bad += products[r + packed_index(k, i, j) * ld] !=
              w[r + i * ldw] * w[r + j * ldw];
      for (size_t i = 0; i < length; i++) bad += i % ld >= n && products[i] != marker;
      CHECK(bad == 0);
      free(w);
      free(products);
    }
}

TEST_MAIN(entries_lie_by_columns, inverses_match_gauss_jordan,
          what_is_not_positive_is_refused, no_members_is_no_work,
          unpacking_fills_both_triangles, outer_products_of_rows)
