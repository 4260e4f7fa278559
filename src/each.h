/* Loops over the numbers of a batch or of the parameters, as vector instructions of
 * the kernel that a plan names, and shared by its threads: what the training engine
 * does besides matrix products. Each result is computed in one way whatever the number
 * of threads.
 *
 * Matrices are column-major; `ld` is the distance between columns.
 */
#ifndef ELBO_EACH_H
#define ELBO_EACH_H

#include <stddef.h>

#include "real.h"
#include "rng.h"

enum activation {
  ACTIVATION_IDENTITY, ACTIVATION_RELU, ACTIVATION_LEAKY_RELU, ACTIVATION_ELU,
  ACTIVATION_TANH, ACTIVATION_SIGMOID, ACTIVATION_SOFTPLUS, ACTIVATION_GELU,
  ACTIVATION_SILU
};
enum { ACTIVATIONS = ACTIVATION_SILU + 1 };

/* y (rows x cols) = activation(y); slope (rows x cols, contiguous), or NULL, gets the
 * derivative. */
void each_activate(gemm_plan plan, enum activation which, size_t rows, size_t cols,
                   real *y, size_t ld, real *slope);

/* y[i] *= a[i] */
void each_multiply(gemm_plan plan, size_t count, const real *a, real *y);

/* Column i of to (p x count, ld) = column rows[i] (or first + i where rows is NULL) of
 * x (p x n). A NaN is a missing cell: it becomes fill[j], and seen (p x count) tells 1
 * for observed from 0; both are NULL where no cell is missing. */
void each_gather(gemm_plan plan, size_t p, size_t count, const real *x, const int *rows,
                 size_t first, const real *fill, real *to, size_t ld, real *seen);

/* Gathers pixels, whole numbers v from 0 to levels - 1 (or NaN, as above), each with
 * noise of its own, on the real line:
 *   y = (log a - log(1 - a) - mu_j) unit_j,  a = alpha + (1 - 2 alpha) (v + u) / levels,
 * where u, uniform on (0, 1), belongs to (epoch, observation, feature): an odd multiple
 * of 2^-24, so that neither a nor 1 - a, computed from levels - v - u, is ever 0.
 * jacobian[i]: sum over observed j of log d logit(a) / d(v + u). */
typedef struct {
  double alpha, levels;
  const real *mu, *unit;      /* p each */
} each_pixels;
void each_dequantise(gemm_plan plan, rng_key key, uint32_t epoch,
                     const each_pixels *pixels, size_t p, size_t count, const real *x,
                     const int *rows, size_t first, const real *fill, real *to, size_t ld,
                     real *seen, double *jacobian);

/* Normal numbers, k x count: column i belongs to (epoch, observation rows[i] or
 * first + i, sample). */
void each_normals(gemm_plan plan, rng_key key, uint32_t epoch, const int *rows,
                  size_t first, uint32_t sample, size_t k, size_t count, real *out);

/* sd = exp(log_d / 2) and z = mean + sd noise, for k x count; z has ld. Before, a log_d
 * beyond +-EACH_LOG_D becomes that: its exponential would soon be more than a float
 * holds. */
enum { EACH_LOG_D = 40 };
void each_sample(gemm_plan plan, size_t k, size_t count, const real *mean, real *log_d,
                 const real *noise, real *sd, real *z, size_t ld);

/* Against x (p x count, ldx, and seen) the output g of a decoder for columns
 * of which x has `count` and g `draws`, a multiple:
 *   density[i] = sum over observed f of -1/2 ((x - g)^2 / s2 + log s2 + log 2 pi),
 * with log s2 one number (kind 0), one a feature (1) or one a cell (2), but at least
 * floor (one number for kind 0, otherwise one a feature). g becomes share (x - g) / s2;
 * slope the derivative of share density by log s2, for kind 0 one number a column,
 * otherwise p a column (for kind 2 it may be log_s2 itself); below the floor it is the
 * derivative at the floor if that is a way up, else 0. raised[i]: how many of the log s2
 * of the observed cells were at the floor or below; variance[i]: the sum of their s2, for kinds
 * 1 and 2 each times the square (p) of its feature. */
typedef struct {
  int kind;
  const real *log_s2;
  const real *floor, *square;
  real share;
} each_noise;
void each_compare(gemm_plan plan, size_t p, size_t count, size_t draws, const real *x,
                  size_t ldx, const real *seen, each_noise noise, real *g, real *slope,
                  double *density, double *raised, double *variance);

/* Derivatives by mean and log_d (each k x count), in their place, of sum dz'z less
 * weight_j KL_j, where dz and noise are k x (count samples). By a log_d at a limit it is
 * 0 unless it leads back. */
void each_latent_slopes(gemm_plan plan, size_t k, size_t count, size_t samples,
                        const real *dz, const real *noise, const real *sd,
                        const real *weight, real *mean, real *log_d);

/* Of `count` parameters, a step along the gradient times `scale`:
 *   Adam: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
 *         theta += rate m / (sqrt(v) inverse_root + epsilon)
 *   SGD:  m = momentum m + g, theta += rate m
 * each_squares(): sums of g^2 over stretches of EACH_STRETCH. */
enum { EACH_STRETCH = 8192 };
typedef struct { real scale, rate, inverse_root, momentum; } each_rates;
void each_adam(gemm_plan plan, size_t count, each_rates r, const real *gradient,
               real *theta, real *m, real *v);
void each_sgd(gemm_plan plan, size_t count, each_rates r, const real *gradient,
              real *theta, real *m);
void each_squares(gemm_plan plan, size_t count, const real *a, double *sums);

#endif
