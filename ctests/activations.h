/* The activations by their definitions, with libm. */
#ifndef ELBO_TEST_ACTIVATIONS_H
#define ELBO_TEST_ACTIVATIONS_H

#include <math.h>

#include "each.h"
#include "reference.h"

static inline double activation_value(int which, double v)
{
  switch (which) {
  case ACTIVATION_RELU: return fmax(v, 0.0);
  case ACTIVATION_LEAKY_RELU: return v > 0.0 ? v : 0.01 * v;
  case ACTIVATION_ELU: return v > 0.0 ? v : expm1(v);
  case ACTIVATION_TANH: return tanh(v);
  case ACTIVATION_SIGMOID: return 0.5 * (1.0 + tanh(0.5 * v));
  case ACTIVATION_SOFTPLUS: return v > 0.0 ? v + log1p(exp(-v)) : log1p(exp(v));
  case ACTIVATION_GELU: return 0.5 * v * (1.0 + erf(v / sqrt(2.0)));
  case ACTIVATION_SILU: return 0.5 * v * (1.0 + tanh(0.5 * v));
  default: return v;
  }
}

/* Those whose derivative, or that of it, jumps at 0. */
static inline int activation_has_corner(int which)
{
  return which == ACTIVATION_RELU || which == ACTIVATION_LEAKY_RELU ||
    which == ACTIVATION_ELU;
}

static inline double activation_slope(int which, double v)
{
  const double h = 1e-3;
  double f[4];
  for (int i = 0; i < 4; i++) f[i] = activation_value(which, v + difference_steps[i] * h);
  return difference_of(f, h);
}

#endif
