/* A deep Gaussian VAE: chains of dense layers with two heads, the ELBO's terms and
 * gradient over a batch, and what the model says of observations.
 *
 *   q(z | x) = N(m(x), D(x)),  D = exp(log d) diagonal: a head, or one vector for all;
 *                              log d counts as no further from 0 than EACH_LOG_D
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
 * or the number). With `linear` the head of m is followed by V (k x (p + c)) and that of g
 * by W (p x (k + c)): m(x) = head + V x, g(z) = head + W z, but where there are no hidden
 * layers, as the head itself is then linear.
 */
#ifndef ELBO_VAE_H
#define ELBO_VAE_H

#include <stddef.h>

#include "layer.h"

enum vae_noise { VAE_NOISE_SHARED, VAE_NOISE_FEATURE, VAE_NOISE_NETWORK };

enum { VAE_MOST_LAYERS = 32 };

typedef struct {
  size_t count;               /* of hidden layers */
  size_t width[VAE_MOST_LAYERS];
  enum activation activation[VAE_MOST_LAYERS];
} vae_chain;

typedef struct {
  size_t p, k, c;             /* features, latent dimensions, columns of the condition */
  vae_chain encoder, decoder;
  int shared_d;               /* one log d for all observations */
  enum vae_noise noise;
  int fixed_noise;            /* the gradient by its parameters is 0 */
  int linear;                 /* straight from x to m and from z to g, besides */
} vae_shape;

typedef struct {
  vae_shape shape;
  layer encoder[VAE_MOST_LAYERS], mean, v, log_d;
  layer decoder[VAE_MOST_LAYERS], output, w, log_s2;   /* v, w: out is 0 where there is none */
  size_t log_d_offset, log_s2_offset;   /* where they are parameters themselves */
  size_t size;                          /* of theta */
  size_t widest;                        /* of all layers and of p */
} vae_net;

/* The layers of a shape and where their parameters are. */
vae_net vae_lay_out(const vae_shape *shape);

/* theta *= factor for the weights of the layers, not for biases and variances. */
void vae_decay(const vae_net *net, real factor, real *theta);

/* x is p x n, NaN where a cell is missing, for which the encoder sees fill (p), or NULL
 * where none is; condition c x n, or NULL. Where `pixels` is not NULL x holds pixels, which
 * become numbers on the real line with noise of (key, epoch): see each_dequantise(). */
typedef struct {
  size_t n;
  const real *x, *fill, *condition;
  const each_pixels *pixels;
} vae_data;

typedef struct {
  real beta, free_bits;
  const real *floor;          /* log s2 counts as this where it is less: one number where
                                 the noise is shared, otherwise one a feature */
  const real *square;         /* one a feature then: what its s2 counts in the mean s2 */
  size_t samples;             /* of z for each observation, 1 or more */
  gemm_plan plan;
} vae_settings;

/* The observations rows[0 .. n-1] of the data, or where rows is NULL the n from `first`;
 * noise k x (n samples), standard normal, the samples of an observation n columns
 * apart; the noise of pixels is that of (key, epoch). */
typedef struct {
  const vae_data *data;
  const int *rows;
  size_t first, n;
  const real *noise;
  rng_key key;
  uint32_t epoch;
} vae_batch;

/* Means over the batch; over its observed cells (times samples), of which there are
 * `cells`, s2 and the share of those that are at their floor or raised to it; and the mean
 * log-Jacobian of pixels, 0 where x is none. */
typedef struct {
  double reconstruction, kl, objective, s2, floored, cells, jacobian;
} vae_terms;

/* Work space for batches of n observations: vae_work() reals and vae_sums() doubles. */
size_t vae_work(const vae_net *net, size_t n, size_t samples);
size_t vae_sums(size_t n, size_t samples);

/* How many log s2 are parameters: none where the decoder gives them. */
size_t vae_noises(const vae_shape *shape);

/* Terms at theta, the mean KL of each dimension (kl_j: k) and, where gradient is not
 * NULL, the gradient of the objective and misfit (or NULL): of each s2 that is a parameter
 * and not below its floor, the mean over its observed cells of the squared error over s2,
 * 1 where there are none. It is 1 where s2 maximises the ELBO. */
vae_terms vae_gradient(const vae_net *net, const real *theta, const vae_batch *batch,
                       const vae_settings *set, double *kl_j, real *gradient,
                       double *misfit, real *work, double *sums);

/* ---- what the model says of observations ------------------------------- */

/* m and d (k x n) of a batch. */
void vae_encode(const vae_net *net, const real *theta, const vae_batch *batch,
                const vae_settings *set, double *mean, double *d, real *work,
                double *sums);

/* g and, where s2 is not NULL, s2 (p x n) for z (k x n) and condition (c x n, or NULL);
 * set->samples is 1. */
void vae_decode(const vae_net *net, const real *theta, size_t n, const double *z,
                const real *condition, const vae_settings *set, double *g, double *s2,
                real *work, double *sums);

/* Of each observation of a batch: the reconstruction term, mean over the samples; its
 * KL; the importance-weighted bound log mean_s p(x, z_s) / q(z_s | x) (Burda et al.
 * 2016); its expected squared error, observed cells only, of each feature summed over
 * the batch (error: p, added to; or NULL); the log-Jacobian of its pixels. Each n
 * numbers. */
typedef struct { double *reconstruction, *kl, *weighted, *error, *jacobian; } vae_observed;
vae_terms vae_observe(const vae_net *net, const real *theta, const vae_batch *batch,
                      const vae_settings *set, const vae_observed *to, double *kl_j,
                      real *work, double *sums);

#endif
