/* Training of a deep VAE, epoch by epoch, and its evaluation on data of any size.
 *
 * An epoch is a function of state, data and settings: the order of the observations and
 * the noise of each, of its pixels too, are those of (key, epoch), so that the state after
 * an epoch does not depend on the number of threads or on what ran before.
 */
#ifndef ELBO_VAE_TRAIN_H
#define ELBO_VAE_TRAIN_H

#include "optimiser.h"
#include "rng.h"
#include "vae.h"

typedef struct {
  vae_settings model;
  optimiser climb;
  double decay;               /* of weights, per unit of learning rate; 0: none */
  double follow;              /* up to 1: share of the way that each s2 moves at a step to
                                 the mean squared error of the batch, its optimum in closed
                                 form (Rybkin, Daniilidis and Levine 2021), `fixed_noise` or
                                 not; 0: by its gradient, as ever where a decoder gives it */
  double noise_rate;          /* where s2 goes by its gradient: its learning rate relative to
                                 that of all else */
  size_t frozen_from, frozen_to;   /* the gradient by these parameters, from the first to
                                 before the last, counts as 0: none where both are 0 */
  size_t batch;               /* observations a step */
  rng_key key;
  void (*poll)(void);         /* called before each batch, or NULL; may jump away */
} vae_training;

/* Means over the steps of an epoch. */
typedef struct {
  vae_terms terms;
  double gradient_norm;
  size_t step;                /* where it ended early, the step (from 1) that was not
                                 finite */
} vae_progress;

/* One pass over the data in a random order; changes `state`. Returns ELBO_OK, or
 * ELBO_NOT_FINITE as soon as the objective or the gradient is not finite. Work:
 * vae_epoch_work() reals, vae_epoch_sums() doubles, data->n ints. */
int vae_epoch(const vae_net *net, const vae_data *data, uint32_t epoch,
              const vae_training *set, optimiser_state *state, vae_progress *progress,
              real *work, double *sums, int *order);
size_t vae_epoch_work(const vae_net *net, size_t batch, size_t samples);
size_t vae_epoch_sums(const vae_net *net, size_t batch, size_t samples);

/* Terms of all observations with the noise of (key, epoch); `to` has room for data->n.
 * Work as for an epoch, with set->batch. */
vae_terms vae_evaluate(const vae_net *net, const real *theta, const vae_data *data,
                       uint32_t epoch, const vae_training *set, const vae_observed *to,
                       double *kl_j, real *work, double *sums);

/* m and d (k x n) of all observations; the epoch matters for pixels. */
void vae_posterior(const vae_net *net, const real *theta, const vae_data *data,
                   uint32_t epoch, const vae_training *set, double *mean, double *d,
                   real *work, double *sums);

/* g (p x n) and, where s2 is not NULL, s2 (p x n) for z (k x n) and condition (c x n, or
 * NULL). */
void vae_generate(const vae_net *net, const real *theta, size_t n, const double *z,
                  const real *condition, const vae_training *set, double *g, double *s2,
                  real *work, double *sums);

/* A number that tells two data sets, or two sequences of bytes, apart. */
uint64_t vae_fingerprint(size_t bytes, const unsigned char *data);

#endif
