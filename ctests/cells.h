/* One set of cells, in three kinds of storage. */
#ifndef ELBO_TEST_CELLS_H
#define ELBO_TEST_CELLS_H

#include "arrays.h"
#include "data.h"

static const enum data_kind kinds[] = {DATA_DOUBLE, DATA_INTEGER, DATA_SPARSE};

typedef struct {
  size_t n, p;
  double *cell;                /* n x p, NaN where missing */
  double *mu, *unit;
  double *value;               /* what elbo_data points at */
  int *ivalue, *row, *start;
  elbo_data d;
} set;

/* Zeros are left out of sparse storage, but for one here and there. */
static inline void store(set *s, enum data_kind kind)
{
  size_t n = s->n, p = s->p, stored = 0;
  free(s->value);
  free(s->ivalue);
  free(s->row);
  free(s->start);
  s->value = NULL;
  s->ivalue = s->row = s->start = NULL;
  if (kind == DATA_DOUBLE) {
    s->value = copy_of(n * p, s->cell);
  } else if (kind == DATA_INTEGER) {
    s->ivalue = ints(n * p);
    for (size_t i = 0; i < n * p; i++)
      s->ivalue[i] = isnan(s->cell[i]) ? DATA_MISSING_INT : (int) s->cell[i];
  } else {
    for (size_t i = 0; i < n * p; i++) stored += s->cell[i] != 0.0 || i % 13 == 0;
    s->value = doubles(stored);
    s->row = ints(stored);
    s->start = ints(p + 1);
    stored = 0;
    for (size_t i = 0; i < n * p; i++) {
      if (i % n == 0) s->start[i / n] = (int) stored;
      if (s->cell[i] == 0.0 && i % 13 != 0) continue;
      s->row[stored] = (int) (i % n);
      s->value[stored++] = s->cell[i];
    }
    if (n == 0) memset(s->start, 0, p * sizeof *s->start);
    s->start[p] = (int) stored;
  }
  s->d = (elbo_data) {kind, n, p, s->value, s->ivalue, s->row, s->start, s->mu,
                      s->unit, NULL};
}

static inline void drop(set *s)
{
  free(s->cell);
  free(s->mu);
  free(s->unit);
  free(s->value);
  free(s->ivalue);
  free(s->row);
  free(s->start);
}

#endif
