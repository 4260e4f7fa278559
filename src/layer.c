/* Dense layers; see layer.h for the contract. */
#include <math.h>
#include <string.h>

#include "layer.h"
#include "status.h"

size_t layer_size(const layer *l)
{
  return l->out * (l->in + 1);
}

/* ---- activations ------------------------------------------------------- */

/* Value and derivative at v. */
typedef struct { double value, slope; } point;

static point identity(double v)
{
  return (point) {v, 1.0};
}

static point relu(double v)
{
  return v > 0.0 ? (point) {v, 1.0} : (point) {0.0, 0.0};
}

static point leaky_relu(double v)
{
  return v > 0.0 ? (point) {v, 1.0} : (point) {0.01 * v, 0.01};
}

static point elu(double v)
{
  return v > 0.0 ? (point) {v, 1.0} : (point) {expm1(v), exp(v)};
}

static point hyperbolic_tangent(double v)
{
  double t = tanh(v);
  return (point) {t, 1.0 - t * t};
}

/* 1 / (1 + exp(-v)), which neither overflows nor cancels. */
static double logistic(double v)
{
  double e = exp(-fabs(v));
  return v >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

static point sigmoid(double v)
{
  double s = logistic(v);
  return (point) {s, s * logistic(-v)};
}

static point softplus(double v)
{
  return (point) {(v > 0.0 ? v : 0.0) + log1p(exp(-fabs(v))), logistic(v)};
}

/* v times the normal distribution function. */
static point gelu(double v)
{
  const double root_half = 0.70710678118654752440, density = 0.39894228040143267794;
  double below = 0.5 * erfc(-v * root_half);
  return (point) {v * below, below + v * density * exp(-0.5 * v * v)};
}

static point silu(double v)
{
  double s = logistic(v);
  return (point) {v * s, s * (1.0 + v * logistic(-v))};
}

static point (*const activations[])(double) = {
  [ACTIVATION_IDENTITY] = identity, [ACTIVATION_RELU] = relu,
  [ACTIVATION_LEAKY_RELU] = leaky_relu, [ACTIVATION_ELU] = elu,
  [ACTIVATION_TANH] = hyperbolic_tangent, [ACTIVATION_SIGMOID] = sigmoid,
  [ACTIVATION_SOFTPLUS] = softplus, [ACTIVATION_GELU] = gelu,
  [ACTIVATION_SILU] = silu
};

/* y holds W x + b. The two that need no function call are loops of their own. */
static void activate(enum activation which, size_t count, real *y, real *slope)
{
  if (which == ACTIVATION_IDENTITY) {
    for (size_t i = 0; slope && i < count; i++) slope[i] = 1;
    return;
  }
  if (which == ACTIVATION_RELU) {
    for (size_t i = 0; slope && i < count; i++) slope[i] = y[i] > 0;
    for (size_t i = 0; i < count; i++) y[i] = y[i] > 0 ? y[i] : 0;
    return;
  }
  for (size_t i = 0; i < count; i++) {
    point p = activations[which]((double) y[i]);
    y[i] = (real) p.value;
    if (slope) slope[i] = (real) p.slope;
  }
}

/* ---- forwards and backwards -------------------------------------------- */

int layer_forward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                  const real *x, size_t ldx, real *y, real *slope)
{
  const real *weights = theta + l->offset, *bias = weights + l->out * l->in;
  for (size_t i = 0; i < batch; i++)
    memcpy(y + i * l->out, bias, l->out * sizeof *y);
  if (!real_gemm(plan, 'N', 'N', l->out, batch, l->in, 1, weights, l->out, x, ldx, 1, y,
                 l->out)) return ELBO_MEMORY;
  activate(l->activation, l->out * batch, y, slope);
  return ELBO_OK;
}

int layer_backward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                   const real *x, size_t ldx, const real *slope, real *dy,
                   real *gradient, real *dx)
{
  const real *weights = theta + l->offset;
  real *to = gradient + l->offset, *bias = to + l->out * l->in;
  if (l->activation != ACTIVATION_IDENTITY)
    for (size_t i = 0; i < l->out * batch; i++) dy[i] *= slope[i];
  memset(bias, 0, l->out * sizeof *bias);
  for (size_t i = 0; i < batch; i++)
    for (size_t j = 0; j < l->out; j++) bias[j] += dy[j + i * l->out];
  if (!real_gemm(plan, 'N', 'T', l->out, l->in, batch, 1, dy, l->out, x, ldx, 0, to,
                 l->out)) return ELBO_MEMORY;
  if (dx && !real_gemm(plan, 'T', 'N', l->in, batch, l->out, 1, weights, l->out, dy,
                       l->out, 0, dx, l->in)) return ELBO_MEMORY;
  return ELBO_OK;
}
