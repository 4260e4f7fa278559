/* Many small symmetric matrices side by side; see packed.h. */
#include <math.h>

#include "linalg.h"
#include "packed.h"
#include "status.h"

/* So many matrices are inverted in step: the loops over them are independent,
 * which hides the latency of the square roots and divisions. */
enum { LANES = 8, LARGE = 40 };

size_t packed_size(size_t k)
{
  return k * (k + 1) / 2;
}

size_t packed_index(size_t k, size_t i, size_t j)
{
  return j * k - j * (j + 1) / 2 + i;
}

/* c -= a b, lane by lane */
static void subtract_product(double *c, const double *a, const double *b)
{
  for (int l = 0; l < LANES; l++) c[l] -= a[l] * b[l];
}

static void multiply(double *c, const double *a)
{
  for (int l = 0; l < LANES; l++) c[l] *= a[l];
}

#define AT(i, j) (a + packed_index(k, (i), (j)) * LANES)

/* L in place of a, with 1 / L_jj on the diagonal. */
static int factor_lanes(size_t k, double *a, double *logdet)
{
  for (int l = 0; l < LANES; l++) logdet[l] = 0.0;
  for (size_t j = 0; j < k; j++) {
    for (size_t t = 0; t < j; t++)
      for (size_t i = j; i < k; i++)
        subtract_product(AT(i, j), AT(i, t), AT(j, t));
    double *d = AT(j, j);
    for (int l = 0; l < LANES; l++) {
      if (!(d[l] > 0.0)) return ELBO_NOT_POSITIVE;
      logdet[l] += log(d[l]);
      d[l] = 1.0 / sqrt(d[l]);
    }
    for (size_t i = j + 1; i < k; i++) multiply(AT(i, j), d);
  }
  return ELBO_OK;
}

/* L^-1 in place of L, column by column: column j reads only columns behind it,
 * which still hold L. */
static void invert_factor_lanes(size_t k, double *a)
{
  for (size_t j = 0; j < k; j++)
    for (size_t i = j + 1; i < k; i++) {
      double sum[LANES] = {0};
      for (size_t t = j; t < i; t++)      /* AT(t, j) is L^-1 already */
        subtract_product(sum, AT(i, t), AT(t, j));
      multiply(sum, AT(i, i));
      for (int l = 0; l < LANES; l++) AT(i, j)[l] = sum[l];
    }
}

/* L^-T L^-1 in place of L^-1: row i is final once all its entries are done,
 * and no later row reads it. */
static void square_factor_lanes(size_t k, double *a)
{
  for (size_t i = 0; i < k; i++)
    for (size_t j = 0; j <= i; j++) {
      double sum[LANES] = {0};
      for (size_t t = i; t < k; t++)
        subtract_product(sum, AT(t, i), AT(t, j));
      for (int l = 0; l < LANES; l++) AT(i, j)[l] = -sum[l];
    }
}

#undef AT

static int inverse_lanes(size_t k, size_t first, size_t count, double *a,
                         size_t ld, double *logdet, double *lane)
{
  size_t size = packed_size(k), last = count - 1;
  double det[LANES];
  for (size_t e = 0; e < size; e++)      /* spare lanes repeat the last one */
    for (size_t l = 0; l < LANES; l++)
      lane[e * LANES + l] = a[first + (l < count ? l : last) + e * ld];
  int status = factor_lanes(k, lane, det);
  if (status != ELBO_OK) return status;
  invert_factor_lanes(k, lane);
  square_factor_lanes(k, lane);
  for (size_t e = 0; e < size; e++)
    for (size_t l = 0; l < count; l++)
      a[first + l + e * ld] = lane[e * LANES + l];
  for (size_t l = 0; l < count; l++) logdet[first + l] = det[l];
  return ELBO_OK;
}

static int inverse_lapack(size_t k, size_t i, double *a, size_t ld,
                          double *logdet, double *full)
{
  packed_unpack(k, a, ld, i, full);
  int status = la_spd_inverse(k, full, logdet + i);
  for (size_t c = 0, e = 0; c < k; c++)
    for (size_t r = c; r < k; r++, e++) a[i + e * ld] = full[r + c * k];
  return status;
}

size_t packed_inverse_work(size_t k)
{
  return k <= LARGE ? packed_size(k) * LANES : k * k;
}

int packed_inverse(size_t k, size_t count, double *a, size_t ld,
                   double *logdet, double *work)
{
  int status = ELBO_OK;
  size_t step = k <= LARGE ? LANES : 1;
  for (size_t i = 0; i < count && status == ELBO_OK; i += step)
    status = k <= LARGE
      ? inverse_lanes(k, i, count - i < LANES ? count - i : LANES, a, ld,
                      logdet, work)
      : inverse_lapack(k, i, a, ld, logdet, work);
  return status;
}

void packed_unpack(size_t k, const double *a, size_t ld, size_t i,
                   double *full)
{
  for (size_t c = 0, e = 0; c < k; c++)
    for (size_t r = c; r < k; r++, e++)
      full[r + c * k] = full[c + r * k] = a[i + e * ld];
}

void packed_outer(size_t n, size_t k, const double *w, size_t ldw,
                  double *products, size_t ld)
{
  for (size_t c = 0, e = 0; c < k; c++)
    for (size_t r = c; r < k; r++, e++) {
      const double *wr = w + r * ldw, *wc = w + c * ldw;
      double *to = products + e * ld;
      for (size_t i = 0; i < n; i++) to[i] = wr[i] * wc[i];
    }
}
