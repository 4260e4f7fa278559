/* Parameters and what an optimiser of the training engine remembers; and the optimisers,
 * plainly and in double: algorithm 1 of Kingma and Ba (2015) and gradient ascent with
 * momentum, at a rate that may rise over the first steps. */
#ifndef ELBO_TEST_CLIMBER_H
#define ELBO_TEST_CLIMBER_H

#include "optimiser.h"
#include "reals.h"

typedef struct {
  size_t count;
  real *theta, *m, *v;
  double steps;
} climber;

static inline climber start_at(size_t count, const real *theta)
{
  climber c = {count, copy_reals(count, theta), reals(count), reals(count), 0.0};
  for (size_t i = 0; i < count; i++) c.m[i] = c.v[i] = 0;
  return c;
}

static inline climber copy_climber(const climber *c)
{
  return (climber) {c->count, copy_reals(c->count, c->theta), copy_reals(c->count, c->m),
                    copy_reals(c->count, c->v), c->steps};
}

static inline void drop_climber(climber *c)
{
  free(c->theta);
  free(c->m);
  free(c->v);
}

static inline int same_climber(const climber *a, const climber *b)
{
  return a->steps == b->steps && same_reals(a->count, a->theta, b->theta) &&
    same_reals(a->count, a->m, b->m) && same_reals(a->count, a->v, b->v);
}

/* SGD gets no v: it must not need one. */
static inline optimiser_state state_of(const climber *c, enum optimiser_kind kind)
{
  real *v = kind == OPTIMISER_SGD ? NULL : c->v;
  return (optimiser_state) {c->theta, c->m, v, c->steps};
}

/* ---- the algorithms ---------------------------------------------------- */

static inline double naive_norm(size_t count, const real *g)
{
  double sum = 0.0;
  for (size_t i = 0; i < count; i++) sum += (double) g[i] * (double) g[i];
  return sqrt(sum);
}

/* Adam's moments have their bias corrected, from the powers of the decay rates. */
static inline void naive_climb(const optimiser *o, const real *gradient, climber *c)
{
  double norm = naive_norm(c->count, gradient), power1 = 1.0, power2 = 1.0;
  double shorter = norm > o->clip ? o->clip / norm : 1.0, rate = o->rate;
  c->steps++;
  if (c->steps < o->warm) rate *= c->steps / o->warm;
  for (double i = 0.0; i < c->steps; i++) {
    power1 *= 0.9;
    power2 *= 0.999;
  }
  for (size_t i = 0; i < c->count; i++) {
    double g = shorter * (double) gradient[i], m = (double) c->m[i], step;
    if (o->kind == OPTIMISER_ADAM) {
      double v = 0.999 * (double) c->v[i] + (1.0 - 0.999) * g * g;
      m = 0.9 * m + (1.0 - 0.9) * g;
      step = (m / (1.0 - power1)) / (sqrt(v / (1.0 - power2)) + 1e-8);
      c->v[i] = (real) v;
    } else step = m = o->momentum * m + g;
    c->m[i] = (real) m;
    c->theta[i] += (real) (rate * step);
  }
}

#endif
