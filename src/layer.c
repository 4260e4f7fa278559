/* Dense layers; see layer.h for the contract. */
#include "layer.h"

size_t layer_size(const layer *l)
{
  return l->out * (l->in + (size_t) l->biased);
}

void layer_forward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                   const real *x, real *y, size_t ldy, int add, real *slope)
{
  size_t in = l->in + (size_t) l->biased;
  real_gemm(plan, 'N', 'N', l->out, batch, in, 1, theta + l->offset, l->out, x, l->in + 1,
            add ? 1 : 0, y, ldy);
  if (l->activation != ACTIVATION_IDENTITY)
    each_activate(plan, l->activation, l->out, batch, y, ldy, slope);
  for (size_t i = 0; ldy > l->out && i < batch; i++) y[l->out + i * ldy] = 1;
}

void layer_backward(const layer *l, gemm_plan plan, const real *theta, size_t batch,
                    const real *x, const real *slope, real *dy, real *gradient,
                    size_t wanted, int add, real *dx)
{
  size_t in = l->in + (size_t) l->biased;
  if (l->activation != ACTIVATION_IDENTITY) each_multiply(plan, l->out * batch, slope, dy);
  real_gemm(plan, 'N', 'T', l->out, in, batch, 1, dy, l->out, x, l->in + 1, 0,
            gradient + l->offset, l->out);
  if (wanted > 0)
    real_gemm(plan, 'T', 'N', wanted, batch, l->out, 1, theta + l->offset, l->out, dy,
              l->out, add ? 1 : 0, dx, wanted);
}
