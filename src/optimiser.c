/* Optimisers of the training engine; see optimiser.h for the contract. */
#include <math.h>

#include "adam.h"
#include "each.h"
#include "optimiser.h"

size_t optimiser_work(size_t count)
{
  return (count + EACH_STRETCH - 1) / EACH_STRETCH;
}

double optimiser_rate(const optimiser *o, double steps)
{
  return steps + 1.0 < o->warm ? o->rate * (steps + 1.0) / o->warm : o->rate;
}

double optimiser_climb(const optimiser *o, gemm_plan plan, size_t count,
                       const real *gradient, optimiser_state *state, double *work)
{
  double norm = 0.0;
  each_squares(plan, count, gradient, work);
  for (size_t i = 0; i < optimiser_work(count); i++) norm += work[i];
  norm = sqrt(norm);
  double rate = optimiser_rate(o, state->steps);
  state->steps += 1.0;
  each_rates r = {.scale = (real) (norm > o->clip ? o->clip / norm : 1.0),
                  .rate = (real) rate, .momentum = (real) o->momentum};
  if (o->kind == OPTIMISER_SGD) {
    each_sgd(plan, count, r, gradient, state->theta, state->m);
    return norm;
  }
  r.rate = (real) (rate / (1.0 - pow(ADAM_1, state->steps)));
  r.inverse_root = (real) (1.0 / sqrt(1.0 - pow(ADAM_2, state->steps)));
  each_adam(plan, count, r, gradient, state->theta, state->m, state->v);
  return norm;
}
