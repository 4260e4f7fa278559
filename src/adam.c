/* Adam; see adam.h for the contract. */
#include <math.h>

#include "adam.h"

void adam_climb(size_t count, double *theta, const double *gradient,
                double learning_rate, adam_state *state)
{
  const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  state->steps += 1.0;
  double bias1 = 1.0 - pow(beta1, state->steps);
  double root2 = sqrt(1.0 - pow(beta2, state->steps));
  double rate = learning_rate / bias1;
  double *m = state->m, *v = state->v;
  for (size_t i = 0; i < count; i++) {
    double g = gradient[i];
    m[i] = beta1 * m[i] + (1.0 - beta1) * g;
    v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
    theta[i] += rate * m[i] / (sqrt(v[i]) / root2 + epsilon);
  }
}
