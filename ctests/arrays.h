/* Arrays of exactly the size asked for, so that the sanitisers and valgrind see a
 * step over their end; and comparisons of whole arrays. */
#ifndef ELBO_TEST_ARRAYS_H
#define ELBO_TEST_ARRAYS_H

#include "test.h"

static inline double *doubles(size_t n)
{
  double *x = malloc(n * sizeof *x);
  if (!x && n) abort();
  for (size_t i = 0; i < n; i++) x[i] = NAN;
  return x;
}

static inline int *ints(size_t n)
{
  int *x = malloc(n * sizeof *x);
  if (!x && n) abort();
  return x;
}

static inline int all_finite(size_t n, const double *x)
{
  for (size_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return 0;
  return 1;
}

/* Largest |x - y| relative to the largest |y|; infinite for a NaN. */
static inline double gap(size_t n, const double *x, const double *y)
{
  double worst = 0.0, scale = 0.0;
  for (size_t i = 0; i < n; i++) {
    double d = fabs(x[i] - y[i]);
    if (x[i] != y[i] && !(d <= worst)) worst = d == d ? d : INFINITY;
    if (fabs(y[i]) > scale) scale = fabs(y[i]);
  }
  return scale > 0.0 ? worst / scale : worst;
}

#endif
