/* Arrays of the training engine's number type, double in most of these programs and
 * float behind as_float.h, of exactly their size. */
#ifndef ELBO_TEST_REALS_H
#define ELBO_TEST_REALS_H

#include "arrays.h"
#include "real.h"

/* Numbers between the columns of a matrix, which nobody may change. */
static const real between = (real) 12345.0;

static inline real *reals(size_t n)
{
  real *x = malloc(n * sizeof *x);
  if (!x && n) abort();
  for (size_t i = 0; i < n; i++) x[i] = (real) NAN;
  return x;
}

static inline real *normal_reals(size_t n, double sd)
{
  real *x = reals(n);
  for (size_t i = 0; i < n; i++) x[i] = (real) (sd * test_normal());
  return x;
}

static inline real *copy_reals(size_t n, const real *x)
{
  real *y = reals(n);
  if (n) memcpy(y, x, n * sizeof *y);
  return y;
}

static inline double *as_doubles(size_t n, const real *x)
{
  double *y = doubles(n);
  for (size_t i = 0; i < n; i++) y[i] = (double) x[i];
  return y;
}

/* Bit for bit, NaN and the sign of zero included. */
static inline int same_reals(size_t n, const real *x, const real *y)
{
  return n == 0 || memcmp(x, y, n * sizeof *x) == 0;
}

static inline int same_doubles(size_t n, const double *x, const double *y)
{
  return n == 0 || memcmp(x, y, n * sizeof *x) == 0;
}

static inline int finite_reals(size_t n, const real *x)
{
  for (size_t i = 0; i < n; i++)
    if (!isfinite((double) x[i])) return 0;
  return 1;
}

/* |x - y| <= tol max(1, |y|); NaN is near NaN alone. */
static inline int near(double x, double y, double tol)
{
  if (isnan(y)) return isnan(x);
  return x == y || (isfinite(y) && fabs(x - y) <= tol * fmax(1.0, fabs(y)));
}

#endif
