/* A deep Gaussian VAE: chains of dense layers with two heads, and the ELBO's terms and
 * gradient over a batch.
 *
 *   q(z | x) = N(m(x), D(x)),  D = exp(log d) diagonal: a head, or one vector for all
 *   p(x | z) = N(g(z), s2),    s2 one number, one a feature, or a head of the decoder
 *
 * The ELBO of an observation is  sum over observed f of
 * -1/2 [(x_f - g_f)^2 / s2_f + log(2 pi s2_f)]  less  KL = sum_j 1/2 (d_j + m_j^2 - 1 -
 * log d_j); what is maximised is reconstruction - beta KL, where the mean KL of a
 * dimension counts as `free_bits` if it is less (Kingma et al. 2016).
 *
 * Activations are column-major, an observation in each column. Parameters are one
 * vector theta: the encoder's hidden layers, the head of m, that of log d (or the
 * vector), the decoder's hidden layers, the head of g, that of log s2 (or the vector,
 * or the number).
 */
#ifndef ELBO_VAE_H
#define ELBO_VAE_H

#include <stddef.h>

#include "layer.h"

enum vae_noise { VAE_NOISE_SHARED, VAE_NOISE_FEATURE, VAE_NOISE_NETWORK };

enum { VAE_MOST_LAYERS = 32 };

typedef struct {
  size_t p, k, c;             /* features, latent dimensions, columns of the condition */
  size_t encoder, decoder;    /* hidden layers of each */
  size_t encoder_width[VAE_MOST_LAYERS], decoder_width[VAE_MOST_LAYERS];
  enum activation activation;
  int shared_d;               /* one log d for all observations */
  enum vae_noise noise;
} vae_shape;

typedef struct {
  vae_shape shape;
  layer encoder[VAE_MOST_LAYERS], mean, log_d;
  layer decoder[VAE_MOST_LAYERS], output, log_s2;
  size_t log_d_offset, log_s2_offset;   /* where they are parameters themselves */
  size_t size;                          /* of theta */
  size_t widest;                        /* of all layers and of p */
} vae_net;

/* The layers of a shape and where their parameters are. */
vae_net vae_lay_out(const vae_shape *shape);

typedef struct {
  real beta, free_bits;
  real floor;                 /* log s2 counts as this where it is less */
  size_t samples;             /* of z for each observation, 1 or more */
  gemm_plan plan;
} vae_settings;

/* One batch: x is p x n; seen p x n, 1 where a cell is observed and 0 where not (x
 * then holds what the encoder is to see in its place), or NULL; condition c x n, or NULL; noise k x (n samples),
 * standard normal, the samples of an observation n columns apart. */
typedef struct {
  size_t n;
  const real *x, *seen, *condition, *noise;
} vae_batch;

/* Means over the batch; `floored`: share of the log s2 that the floor raised. */
typedef struct { double reconstruction, kl, objective, floored; } vae_terms;

/* Terms at theta and, where gradient is not NULL, the gradient of the objective. kl_j:
 * mean KL of each dimension (k). Returns a status. Work: vae_work() reals. */
int vae_gradient(const vae_net *net, const real *theta, const vae_batch *batch,
                 const vae_settings *set, vae_terms *terms, double *kl_j,
                 real *gradient, real *work);
size_t vae_work(const vae_net *net, size_t n, size_t samples);

#endif
