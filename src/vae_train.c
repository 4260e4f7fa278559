/* Training of deep VAEs; see vae_train.h for the contract. */
#include <math.h>
#include <string.h>

#include "each.h"
#include "status.h"
#include "vae_train.h"

/* Noise and gradient first, then what the model needs. */
size_t vae_epoch_work(const vae_net *net, size_t batch, size_t samples)
{
  return net->shape.k * batch * samples + net->size + vae_work(net, batch, samples);
}

size_t vae_epoch_sums(const vae_net *net, size_t batch, size_t samples)
{
  return vae_sums(batch, samples) + net->shape.k + vae_noises(&net->shape) +
    optimiser_work(net->size);
}

/* Noise of the batch's observations, the samples of one n columns apart. */
static void draw(const vae_net *net, const vae_training *set, uint32_t epoch,
                 const vae_batch *batch, real *noise)
{
  size_t k = net->shape.k;
  for (size_t s = 0; s < set->model.samples; s++)
    each_normals(set->model.plan, set->key, epoch, batch->rows, batch->first, (uint32_t) s,
                 k, batch->n, noise + s * k * batch->n);
}

/* Adds the terms of a batch, a share of all observations; what are means over cells
 * count by these. */
static void add_terms(vae_terms *to, vae_terms from, double share)
{
  double cells = to->cells + from.cells, part = cells > 0.0 ? from.cells / cells : 0.0;
  to->reconstruction += share * from.reconstruction;
  to->kl += share * from.kl;
  to->objective += share * from.objective;
  to->jacobian += share * from.jacobian;
  to->s2 += part * (from.s2 - to->s2);
  to->floored += part * (from.floored - to->floored);
  to->cells = cells;
}

/* Below its floor s2 has no misfit: it begins there. */
static void raise_noise(const vae_net *net, const real *floor, real *theta)
{
  real *log_s2 = theta + net->log_s2_offset;
  for (size_t f = 0; f < vae_noises(&net->shape); f++)
    if (log_s2[f] < floor[f]) log_s2[f] = floor[f];
}

/* s2 += rate (mean squared error - s2), but at least the floor; its gradient is then 0, or
 * NaN where it was not finite, so that the epoch ends. */
static void follow_noise(const vae_net *net, const vae_training *set, const double *misfit,
                         real *gradient, real *theta)
{
  for (size_t f = 0; f < vae_noises(&net->shape); f++) {
    theta[net->log_s2_offset + f] += (real) log1p(set->follow * (misfit[f] - 1.0));
    gradient[net->log_s2_offset + f] *= 0;
  }
  raise_noise(net, set->model.floor, theta);
}

/* A step of the optimiser, with log s2 going only `noise_rate` of its way; returns the norm
 * of the gradient. */
static double climb(const vae_net *net, const vae_training *set, const real *gradient,
                    optimiser_state *state, double *before, double *work)
{
  real *log_s2 = state->theta + net->log_s2_offset;
  size_t noises = set->follow > 0.0 || set->noise_rate == 1.0 ? 0 : vae_noises(&net->shape);
  for (size_t f = 0; f < noises; f++) before[f] = (double) log_s2[f];
  double norm = optimiser_climb(&set->climb, set->model.plan, net->size, gradient, state,
                                work);
  for (size_t f = 0; f < noises; f++)
    log_s2[f] = (real) (before[f] + set->noise_rate * ((double) log_s2[f] - before[f]));
  return norm;
}

int vae_epoch(const vae_net *net, const vae_data *data, uint32_t epoch,
              const vae_training *set, optimiser_state *state, vae_progress *progress,
              real *work, double *sums, int *order)
{
  size_t n = data->n, most = set->batch < n ? set->batch : n, steps = (n + most - 1) / most;
  real *noise = work, *gradient = noise + net->shape.k * most * set->model.samples;
  real *rest = gradient + net->size;
  double *kl_j = sums, *misfit = kl_j + net->shape.k;
  double *squares = misfit + vae_noises(&net->shape);
  double *more = squares + optimiser_work(net->size);
  *progress = (vae_progress) {.step = 0};
  if (set->follow > 0.0) raise_noise(net, set->model.floor, state->theta);
  rng_permutation(set->key, epoch, n, order);
  for (size_t i = 0; i < n; i += most) {
    vae_batch batch = {data, order + i, 0, n - i < most ? n - i : most, noise, set->key,
                       epoch};
    if (set->poll) set->poll();
    draw(net, set, epoch, &batch, noise);
    vae_terms terms = vae_gradient(net, state->theta, &batch, &set->model, kl_j, gradient,
                                   set->follow > 0.0 ? misfit : NULL, rest, more);
    if (set->follow > 0.0) follow_noise(net, set, misfit, gradient, state->theta);
    memset(gradient + set->frozen_from, 0,
           (set->frozen_to - set->frozen_from) * sizeof *gradient);
    if (set->decay > 0.0)
      vae_decay(net, (real) (1.0 - optimiser_rate(&set->climb, state->steps) * set->decay),
                state->theta);
    double norm = climb(net, set, gradient, state, misfit, squares);
    progress->step++;
    if (!isfinite(terms.objective) || !isfinite(norm)) return ELBO_NOT_FINITE;
    add_terms(&progress->terms, terms, (double) batch.n / (double) n);
    progress->gradient_norm += norm / (double) steps;
  }
  return ELBO_OK;
}

vae_terms vae_evaluate(const vae_net *net, const real *theta, const vae_data *data,
                       uint32_t epoch, const vae_training *set, const vae_observed *to,
                       double *kl_j, real *work, double *sums)
{
  size_t n = data->n, k = net->shape.k, most = set->batch < n ? set->batch : n;
  real *noise = work, *rest = noise + k * most * set->model.samples;
  double *part = sums, *more = part + k;
  vae_terms mean = {.cells = 0.0};
  memset(kl_j, 0, k * sizeof *kl_j);
  for (size_t i = 0; i < n; i += most) {
    vae_batch batch = {data, NULL, i, n - i < most ? n - i : most, noise, set->key, epoch};
    double share = (double) batch.n / (double) n;
    if (set->poll) set->poll();
    draw(net, set, epoch, &batch, noise);
    vae_observed here = {to->reconstruction + i, to->kl + i, to->weighted + i, to->error,
                         to->jacobian + i};
    add_terms(&mean, vae_observe(net, theta, &batch, &set->model, &here, part, rest, more),
              share);
    for (size_t j = 0; j < k; j++) kl_j[j] += share * part[j];
  }
  mean.objective = mean.reconstruction;        /* free bits are of the mean of all */
  for (size_t j = 0; j < k; j++) {
    double bits = (double) set->model.free_bits;
    mean.objective -= (double) set->model.beta * (kl_j[j] > bits ? kl_j[j] : bits);
  }
  return mean;
}

void vae_posterior(const vae_net *net, const real *theta, const vae_data *data,
                   uint32_t epoch, const vae_training *set, double *mean, double *d,
                   real *work, double *sums)
{
  size_t n = data->n, k = net->shape.k, most = set->batch < n ? set->batch : n;
  for (size_t i = 0; i < n; i += most) {
    vae_batch batch = {data, NULL, i, n - i < most ? n - i : most, NULL, set->key, epoch};
    if (set->poll) set->poll();
    vae_encode(net, theta, &batch, &set->model, mean + i * k, d + i * k, work, sums);
  }
}

void vae_generate(const vae_net *net, const real *theta, size_t n, const double *z,
                  const real *condition, const vae_training *set, double *g, double *s2,
                  real *work, double *sums)
{
  const vae_shape *s = &net->shape;
  size_t most = set->batch < n ? set->batch : n;
  for (size_t i = 0; i < n; i += most) {
    size_t m = n - i < most ? n - i : most;
    if (set->poll) set->poll();
    vae_decode(net, theta, m, z + i * s->k, condition ? condition + i * s->c : NULL,
               &set->model, g + i * s->p, s2 ? s2 + i * s->p : NULL, work, sums);
  }
}

/* Eight bytes at a time, mixed as in FNV-1a, the upper bits into the lower ones too. */
uint64_t vae_fingerprint(size_t bytes, const unsigned char *data)
{
  const uint64_t prime = 0x100000001B3u;
  uint64_t hash = 0xCBF29CE484222325u ^ (uint64_t) bytes;
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t word = 0;
    memcpy(&word, data + i, bytes - i < 8 ? bytes - i : 8);
    hash = (hash ^ word) * prime;
    hash ^= hash >> 29;
  }
  return hash;
}
