/* Arrays of exactly the size asked for, so that the sanitisers and valgrind see a
 * step over their end; what fills and compares them; and space for products. */
#ifndef ELBO_TEST_ARRAYS_H
#define ELBO_TEST_ARRAYS_H

#include "linalg.h"
#include "test.h"

/* Where nobody should write. */
static const double marker = 12345.0;

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

static inline double *copy_of(size_t n, const double *x)
{
  double *y = doubles(n);
  for (size_t i = 0; i < n; i++) y[i] = x[i];
  return y;
}

static inline float *floats(size_t n, const double *x)
{
  float *y = malloc(n * sizeof *y);
  if (!y && n) abort();
  for (size_t i = 0; i < n; i++) y[i] = (float) x[i];
  return y;
}

static inline double *normals(size_t n, double sd)
{
  double *x = doubles(n);
  for (size_t i = 0; i < n; i++) x[i] = sd * test_normal();
  return x;
}

/* `count` of the rows 0 .. n-1 in any order, with repetitions. */
static inline int *any_rows(size_t count, size_t n)
{
  int *rows = ints(count);
  for (size_t i = 0; i < count; i++) rows[i] = (int) test_below(n);
  return rows;
}

/* Numbers from the first to the last of a matrix. */
static inline size_t span(size_t rows, size_t cols, size_t ld)
{
  return rows && cols ? ld * (cols - 1) + rows : 0;
}

/* For qsort(). */
static inline int descending(const void *x, const void *y)
{
  double a = *(const double *) x, b = *(const double *) y;
  return (a < b) - (a > b);
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

/* ---- products ---------------------------------------------------------- */

/* The space of the last plan, between bytes that nobody may change. */
enum { GUARD = 256, GUARDED_BY = 0xA7 };

static struct {
  unsigned char *block;
  size_t size, start;         /* of the block; of the space in it */
  int threads;
  size_t calls;
} test_space;

/* A plan whose space has exactly the size that it needs, at an address that is one
 * byte further on from call to call. It is good until the next call. */
static inline gemm_plan plan_for(enum gemm_kernel kernel, int threads)
{
  size_t needed = gemm_space(threads);
  if (!test_space.block || test_space.threads != threads) {
    free(test_space.block);
    test_space.threads = threads;
    test_space.size = needed + 64 + 2 * GUARD;
    test_space.block = malloc(test_space.size);
    if (!test_space.block) abort();
  }
  test_space.start = GUARD + test_space.calls++ % 64;
  size_t end = test_space.start + needed;
  memset(test_space.block, GUARDED_BY, test_space.start);
  memset(test_space.block + end, GUARDED_BY, test_space.size - end);
  return (gemm_plan) {kernel, threads, test_space.block + test_space.start};
}

/* Bytes around the space of the last plan that have been changed. */
static inline size_t spilled(void)
{
  size_t end = test_space.start + gemm_space(test_space.threads), bad = 0;
  for (size_t i = 0; i < test_space.size; i++) {
    if (i == test_space.start) i = end;
    bad += test_space.block[i] != GUARDED_BY;
  }
  return bad;
}

/* The first of a program's tests where the core multiplies matrices: from there on by
 * our own kernels, of which the sanitisers see each step, in space of exactly its size
 * that lasts as long as the program. */
static inline void products_are_our_own(void)
{
  gemm_plan plan = {gemm_best(), 1, malloc(gemm_space(1))};
  if (!plan.space) abort();
  la_use(1, plan);
}

#endif
