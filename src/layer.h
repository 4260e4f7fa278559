/* A dense layer, y = activation(W x + b), forwards and backwards over a batch.
 *
 * Activations are column-major with an observation in each column. Parameters of all
 * layers live in one vector theta, where a layer has its weights W (out x in) and then
 * its biases b (out); gradients have the same layout.
 */
#ifndef ELBO_LAYER_H
#define ELBO_LAYER_H

#include <stddef.h>

#include "real.h"

enum activation {
  ACTIVATION_IDENTITY, ACTIVATION_RELU, ACTIVATION_LEAKY_RELU, ACTIVATION_ELU,
  ACTIVATION_TANH, ACTIVATION_SIGMOID, ACTIVATION_SOFTPLUS, ACTIVATION_GELU,
  ACTIVATION_SILU
};

typedef struct {
  size_t in, out;
  enum activation activation;
  size_t offset;              /* of its parameters in theta */
} layer;

/* Number of parameters: out (in + 1). */
size_t layer_size(const layer *l);

/* y (out x batch) from x (in x batch, leading dimension ldx). Where slope (out x batch)
 * is not NULL it gets the derivative of the activation at each W x + b. Returns a
 * status. */
int layer_forward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                  const real *x, size_t ldx, real *y, real *slope);

/* From dy (out x batch), the derivative of the loss with respect to y, which becomes
 * that with respect to W x + b: the layer's part of the gradient, which is written,
 * and dx (in x batch), or NULL where it is not wanted. */
int layer_backward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                   const real *x, size_t ldx, const real *slope, real *dy,
                   real *gradient, real *dx);

#endif
