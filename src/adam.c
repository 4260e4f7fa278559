/* Adam; see adam.h for the contract. */
#include <math.h>

#include "adam.h"

void adam_climb(size_t count, double *theta, const double *gradient,
                double learning_rate, adam_state *state)
{
  state->steps += 1.0;
  double bias1 = 1.0 - pow(ADAM_1, state->steps);
  double root2 = sqrt(1.0 - pow(ADAM_2, state->steps));
  double rate = learning_rate / bias1;
  double *m = state->m, *v = state->v;
  for (size_t i = 0; i < count; i++) {
    double g = gradient[i];
    m[i] = ADAM_1 * m[i] + (1.0 - ADAM_1) * g;
    v[i] = ADAM_2 * v[i] + (1.0 - ADAM_2) * g * g;
    theta[i] += rate * m[i] / (sqrt(v[i]) / root2 + ADAM_EPSILON);
  }
}
