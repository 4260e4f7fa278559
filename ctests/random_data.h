/* What the fuzzers feed the core: numbers from ordinary to absurd, and data of any
 * kind, shape and content. */
#ifndef ELBO_TEST_RANDOM_DATA_H
#define ELBO_TEST_RANDOM_DATA_H

#include "arrays.h"
#include "data.h"

/* What a cell may hold: how far from ordinary numbers, 0 to 3. */
static inline double draw(int wild)
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

static inline double *draws(size_t n, int wild)
{
  double *x = doubles(n);
  for (size_t i = 0; i < n; i++) x[i] = draw(wild);
  return x;
}

typedef struct {
  double *value, *mu, *unit;
  int *ivalue, *row, *start;
  elbo_data d;
} input;

static inline void fill_sparse(input *s, size_t n, size_t p, double missing, int wild)
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

static inline input new_input(size_t n, size_t p, double missing, int wild)
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

static inline void drop(input *s)
{
  free(s->value);
  free(s->mu);
  free(s->unit);
  free(s->ivalue);
  free(s->row);
  free(s->start);
}

/* The trace of X'X/n. */
static inline double trace_of(const elbo_data *d)
{
  double *ss = doubles(d->p), trace = 0.0;
  data_squares(d, ss);
  for (size_t j = 0; j < d->p; j++) trace += ss[j] / (double) d->n;
  free(ss);
  return trace;
}

/* Sizes are small, but now and then large enough for several blocks. */
static inline size_t draw_size(size_t least)
{
  size_t what = test_below(100);
  return least + (what < 2 ? test_below(9000) : what < 60 ? test_below(9) : test_below(60));
}

#endif
