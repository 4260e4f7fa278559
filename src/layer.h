/* A dense layer, y = activation(W x + b), or a linear map, W x, forwards and backwards
 * over a batch.
 *
 * Activations are column-major with an observation in each column. A layer's input has
 * a row of ones below its own rows, so that W x + b is one product, [W b] [x; 1], and so
 * is the gradient by W and b. Parameters of all layers live in one vector theta, where a
 * layer has its weights W (out x in) and then its biases b (out), if any; gradients have
 * the same layout.
 */
#ifndef ELBO_LAYER_H
#define ELBO_LAYER_H

#include <stddef.h>

#include "each.h"

typedef struct {
  size_t in, out;
  int biased;                 /* 1, or 0 for a map without biases */
  enum activation activation;
  size_t offset;              /* of its parameters in theta */
} layer;

/* Number of parameters: out (in + biased). */
size_t layer_size(const layer *l);

/* y (out x batch, leading dimension ldy) from x (in + 1 x batch, the last row ones, which a
 * map does not read), or with `add`, for the identity alone, that added to y. Where ldy is
 * more than out, the row below y becomes one of ones. Where slope (out x batch) is not NULL
 * it gets the derivative of the activation at each W x + b; not for the identity, whose
 * slope is 1. */
void layer_forward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                   const real *x, real *y, size_t ldy, int add, real *slope);

/* From dy (out x batch), the derivative of the loss with respect to y, which becomes
 * that with respect to W x + b: the layer's part of the gradient, which is written, and
 * dx (wanted x batch), the derivative by the first `wanted` inputs, to which it is added
 * where `add`. */
void layer_backward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                    const real *x, const real *slope, real *dy, real *gradient,
                    size_t wanted, int add, real *dx);

#endif
