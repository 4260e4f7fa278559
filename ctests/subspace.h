/* States of accelerated EM. */
#ifndef ELBO_TEST_SUBSPACE_H
#define ELBO_TEST_SUBSPACE_H

#include "arrays.h"
#include "em.h"

static inline em_subspace new_subspace(size_t p, size_t k)
{
  return (em_subspace) {k, 0, doubles(p * k), doubles(p * k), doubles(p * k),
                        doubles(p * k), doubles(k)};
}

static inline void drop_subspace(em_subspace *e)
{
  free(e->u);
  free(e->su);
  free(e->step);
  free(e->sstep);
  free(e->values);
}

#endif
