/* The deep VAE written out, one observation, one sample and one unit at a time, in double
 * and from vae.h's words alone: the reference of test_vae.c, test_vae_train.c and, for the
 * engine in float, test_float_math.c. And problems for both: nets of any shape with random
 * parameters and data, run in arrays of exactly the sizes that the engine asks for. */
#ifndef ELBO_TEST_VAE_REFERENCE_H
#define ELBO_TEST_VAE_REFERENCE_H

#include "activations.h"
#include "climber.h"
#include "noise_reference.h"
#include "vae_train.h"

/* Nothing in a reference is wider. */
enum { WIDEST = 80 };

static const double log_two_pi = 1.83787706640934548356;

/* ---- where parameters are ---------------------------------------------- */

typedef struct {
  char name[40];
  size_t offset, count;
  int weights, noise;         /* weights of a layer; of the noise variance */
} tensor;

enum { MOST_TENSORS = 4 * VAE_MOST_LAYERS + 8 };

typedef struct { size_t count, size; tensor all[MOST_TENSORS]; } tensor_list;

static inline void add_tensor(tensor_list *to, const char *layer_name, const char *part,
                              size_t count)
{
  tensor *t = &to->all[to->count++];
  snprintf(t->name, sizeof t->name, "%s%s", layer_name, part);
  t->offset = to->size;
  t->count = count;
  t->weights = strcmp(part, ".weights") == 0;
  t->noise = strncmp(t->name, "log_sigma2", 10) == 0;
  to->size += count;
}

static inline size_t add_layer(tensor_list *to, const char *name, size_t in, size_t out)
{
  add_tensor(to, name, ".weights", in * out);
  add_tensor(to, name, ".biases", out);
  return out;
}

/* A map has no biases. */
static inline void add_map_tensor(tensor_list *to, const char *name, size_t in, size_t out)
{
  add_tensor(to, name, ".weights", in * out);
}

static inline size_t add_hidden(tensor_list *to, const char *name, size_t in,
                                const vae_chain *c)
{
  for (size_t i = 0; i < c->count; i++) {
    char label[24];
    snprintf(label, sizeof label, "%s%d", name, (int) i + 1);
    in = add_layer(to, label, in, c->width[i]);
  }
  return in;
}

/* In the order that vae.h gives. */
static inline tensor_list tensors_of(const vae_shape *s)
{
  tensor_list to = {.count = 0};
  size_t in = add_hidden(&to, "encoder", s->p + s->c, &s->encoder);
  add_layer(&to, "mean", in, s->k);
  if (s->linear && s->encoder.count) add_map_tensor(&to, "mean_linear", s->p + s->c, s->k);
  if (s->shared_d) add_tensor(&to, "log_d", "", s->k);
  else add_layer(&to, "log_d", in, s->k);
  in = add_hidden(&to, "decoder", s->k + s->c, &s->decoder);
  add_layer(&to, "output", in, s->p);
  if (s->linear && s->decoder.count) add_map_tensor(&to, "output_linear", s->k + s->c, s->p);
  if (s->noise == VAE_NOISE_NETWORK) add_layer(&to, "log_sigma2", in, s->p);
  else add_tensor(&to, "log_sigma2", "", s->noise == VAE_NOISE_SHARED ? 1 : s->p);
  return to;
}

/* ---- the model, written out -------------------------------------------- */

typedef struct {
  const vae_shape *shape;
  const double *theta;
  const double *x, *fill, *condition, *noise;     /* as in vae_data and vae_batch */
  const double *jacobian;     /* of each observation of the data, or NULL */
  const int *rows;
  size_t first, n, samples;
  double beta, free_bits;
  const double *floor, *square;                   /* p each, or as many equal ones */
  /* Where the gradient is wanted: log s2 (p x draws) at the point of the derivative. It
   * is flat below the floor, but its gradient may lead up; see reconstruct(). */
  const double *held;
} reference;

/* Of a batch, and where they are not NULL of each observation and draw. */
typedef struct {
  vae_terms terms;
  double kl_j[WIDEST];
  double misfit[WIDEST];      /* as many as s2 are parameters */
  int low[WIDEST];            /* whether an s2 of the feature is below the floor */
  double *m, *d;                                  /* k x n */
  double *g, *log_s2;                             /* p x draws */
  double *reconstruction, *kl, *weighted, *jacobian;    /* n */
  double *error;                                  /* p, added to */
  uint64_t sides;             /* differs if any corner was passed on its other side */
} reference_result;

static inline void note_side(reference_result *to, int side)
{
  to->sides = to->sides * 31 + (side ? 7 : 3);
}

/* y = activation(W x + b); returns what follows in theta. */
static inline const double *naive_layer(const double *theta, size_t in, size_t out,
                                        int which, const double *x, double *y,
                                        reference_result *to)
{
  for (size_t j = 0; j < out; j++) {
    double v = theta[in * out + j];
    for (size_t f = 0; f < in; f++) v += theta[j + f * out] * x[f];
    if (activation_has_corner(which)) note_side(to, v > 0.0);
    y[j] = activation_value(which, v);
  }
  return theta + out * (in + 1);
}

/* y += W x; returns what follows in theta. */
static inline const double *naive_map(const double *theta, size_t in, size_t out,
                                      const double *x, double *y)
{
  for (size_t j = 0; j < out; j++)
    for (size_t f = 0; f < in; f++) y[j] += theta[j + f * out] * x[f];
  return theta + out * in;
}

/* Hidden layers: x becomes the last one's output, `in` its width. */
static inline const double *naive_chain(const double *theta, const vae_chain *c, double *x,
                                        size_t *in, reference_result *to)
{
  for (size_t i = 0; i < c->count; i++) {
    double y[WIDEST];
    theta = naive_layer(theta, *in, c->width[i], (int) c->activation[i], x, y, to);
    *in = c->width[i];
    memcpy(x, y, *in * sizeof *y);
  }
  return theta;
}

static inline size_t row_of(const reference *r, size_t i)
{
  return r->rows ? (size_t) r->rows[i] : r->first + i;
}

/* m and log d of observation i of the batch; returns the decoder's parameters. */
static inline const double *naive_encoder(const reference *r, size_t i, double *m,
                                          double *log_d, reference_result *to)
{
  const vae_shape *s = r->shape;
  double h[WIDEST], given[WIDEST];
  size_t in = s->p + s->c, row = row_of(r, i);
  for (size_t f = 0; f < s->p; f++) {
    double cell = r->x[f + row * s->p];
    h[f] = isnan(cell) && r->fill ? r->fill[f] : cell;
  }
  for (size_t f = 0; f < s->c; f++) h[s->p + f] = r->condition[f + row * s->c];
  memcpy(given, h, in * sizeof *h);
  const double *theta = naive_chain(r->theta, &s->encoder, h, &in, to);
  theta = naive_layer(theta, in, s->k, ACTIVATION_IDENTITY, h, m, to);
  if (s->linear && s->encoder.count) theta = naive_map(theta, s->p + s->c, s->k, given, m);
  if (!s->shared_d) return naive_layer(theta, in, s->k, ACTIVATION_IDENTITY, h, log_d, to);
  memcpy(log_d, theta, s->k * sizeof *log_d);
  return theta + s->k;
}

/* g and log s2 for z and the condition of a row. */
static inline void naive_decoder(const vae_shape *s, const double *theta, const double *z,
                                 const double *condition, double *g, double *log_s2,
                                 reference_result *to)
{
  double h[WIDEST], given[WIDEST];
  size_t in = s->k + s->c;
  memcpy(h, z, s->k * sizeof *h);
  for (size_t f = 0; f < s->c; f++) h[s->k + f] = condition[f];
  memcpy(given, h, in * sizeof *h);
  theta = naive_chain(theta, &s->decoder, h, &in, to);
  theta = naive_layer(theta, in, s->p, ACTIVATION_IDENTITY, h, g, to);
  if (s->linear && s->decoder.count) theta = naive_map(theta, s->k + s->c, s->p, given, g);
  if (s->noise == VAE_NOISE_NETWORK)
    naive_layer(theta, in, s->p, ACTIVATION_IDENTITY, h, log_s2, to);
  else
    for (size_t f = 0; f < s->p; f++)
      log_s2[f] = theta[s->noise == VAE_NOISE_FEATURE ? f : 0];
}

/* log p(x | z) of the observed cells of one draw. Where log s2 is below the floor, what
 * each.h says of its derivative comes from a term that is 0 at the point of the
 * derivative: (log s2 - held) max(0, derivative at the floor). The derivative is that of
 * a cell, or of the column where there is one noise variance. */
static inline double reconstruct(const reference *r, size_t i, size_t draw, const double *g,
                                 const double *log_s2, reference_result *to)
{
  const vae_shape *s = r->shape;
  size_t row = row_of(r, i), cells = 0;
  double sum = 0.0, rise = 0.0, rising = 0.0;
  for (size_t f = 0; f < s->p; f++) {
    double cell = r->x[f + row * s->p];
    if (isnan(cell)) continue;
    int low = log_s2[f] < r->floor[f];
    double v = low ? r->floor[f] : log_s2[f], s2 = exp(v), e = cell - g[f];
    sum += -0.5 * (e * e / s2 + v + log_two_pi);
    to->terms.s2 += s2 * r->square[f];
    to->misfit[s->noise == VAE_NOISE_FEATURE ? f : 0] += e * e / s2;
    to->low[s->noise == VAE_NOISE_FEATURE ? f : 0] |= low;
    to->terms.floored += log_s2[f] <= r->floor[f];
    cells++;
    note_side(to, low);
    if (to->error) to->error[f] += e * e / (double) r->samples;
    if (!low) continue;
    double up = 0.5 * (e * e / s2 - 1.0);
    rise += up;
    if (s->noise == VAE_NOISE_SHARED || !r->held) continue;
    note_side(to, up > 0.0);
    rising += fmax(up, 0.0) * (log_s2[f] - r->held[f + draw * s->p]);
  }
  if (s->noise == VAE_NOISE_SHARED && r->held && rise != 0.0) {
    note_side(to, rise > 0.0);
    rising = fmax(rise, 0.0) * (log_s2[0] - r->held[draw * s->p]);
  }
  return sum + rising;
}

/* log of the mean of exp(w), the obvious way. */
static inline double log_mean_exp(size_t n, const double *w)
{
  double top = w[0], sum = 0.0;
  for (size_t i = 1; i < n; i++) top = fmax(top, w[i]);
  for (size_t i = 0; i < n; i++) sum += exp(w[i] - top) / (double) n;
  return top + log(sum);
}

/* Observation i: all its samples. */
static inline void observe_one(const reference *r, size_t i, reference_result *to)
{
  const vae_shape *s = r->shape;
  double m[WIDEST], log_d[WIDEST], mean = 0.0, kl = 0.0, weight[64];
  const double *decoder = naive_encoder(r, i, m, log_d, to);
  for (size_t j = 0; j < s->k; j++) {
    double one = 0.5 * (exp(log_d[j]) + m[j] * m[j] - 1.0 - log_d[j]);
    to->kl_j[j] += one / (double) r->n;
    kl += one;
    if (to->m) to->m[j + i * s->k] = m[j];
    if (to->d) to->d[j + i * s->k] = exp(log_d[j]);
  }
  for (size_t d = 0; d < r->samples; d++) {
    size_t draw = i + d * r->n;
    double z[WIDEST], g[WIDEST], log_s2[WIDEST], prior = 0.0, posterior = 0.0;
    for (size_t j = 0; j < s->k; j++) {
      z[j] = m[j] + exp(0.5 * log_d[j]) * r->noise[j + draw * s->k];
      prior += -0.5 * (z[j] * z[j] + log_two_pi);
      posterior += -0.5 * ((z[j] - m[j]) * (z[j] - m[j]) / exp(log_d[j]) + log_d[j] +
                           log_two_pi);
    }
    naive_decoder(s, decoder, z, s->c ? r->condition + row_of(r, i) * s->c : NULL, g,
                  log_s2, to);
    double density = reconstruct(r, i, draw, g, log_s2, to);
    mean += density / (double) r->samples;
    weight[d] = density + prior - posterior;
    if (to->g) memcpy(to->g + draw * s->p, g, s->p * sizeof *g);
    if (to->log_s2) memcpy(to->log_s2 + draw * s->p, log_s2, s->p * sizeof *g);
  }
  to->terms.reconstruction += mean / (double) r->n;
  if (to->reconstruction) to->reconstruction[i] = mean;
  if (to->kl) to->kl[i] = kl;
  if (to->weighted) to->weighted[i] = log_mean_exp(r->samples, weight);
  double jacobian = r->jacobian ? r->jacobian[row_of(r, i)] : 0.0;
  to->terms.jacobian += jacobian / (double) r->n;
  if (to->jacobian) to->jacobian[i] = jacobian;
}

/* Fills the terms and what else of `to` is not NULL. */
static inline void run_reference(const reference *r, reference_result *to)
{
  size_t cells = 0, each[WIDEST] = {0};
  to->terms = (vae_terms) {.reconstruction = 0.0};
  to->sides = 1;
  memset(to->kl_j, 0, sizeof to->kl_j);
  memset(to->misfit, 0, sizeof to->misfit);
  memset(to->low, 0, sizeof to->low);
  for (size_t i = 0; i < r->n; i++) {
    observe_one(r, i, to);
    for (size_t f = 0; f < r->shape->p; f++)
      each[f] += !isnan(r->x[f + row_of(r, i) * r->shape->p]);
  }
  for (size_t f = 0; f < r->shape->p; f++) cells += each[f];
  for (size_t f = 0; f < r->shape->p; f++) {
    size_t of = r->shape->noise == VAE_NOISE_FEATURE ? each[f] : cells;
    to->misfit[f] = of > 0 ? to->misfit[f] / (double) (of * r->samples) : 1.0;
  }
  vae_terms *t = &to->terms;
  t->objective = t->reconstruction;
  for (size_t j = 0; j < r->shape->k; j++) {
    t->kl += to->kl_j[j];
    t->objective -= r->beta * fmax(to->kl_j[j], r->free_bits);
    note_side(to, to->kl_j[j] > r->free_bits);
  }
  t->cells = (double) (cells * r->samples);
  if (cells > 0) {
    t->s2 /= t->cells;
    t->floored /= t->cells;
  }
}

/* ---- problems ---------------------------------------------------------- */

/* What there is to vary besides the shape. */
typedef struct {
  size_t n, samples;
  int missing, listed;        /* missing cells; rows in a list */
  double beta, free_bits, floor;
} recipe;

static const recipe plain_recipe = {4, 1, 0, 0, 1.0, 0.0, -30.0};

typedef struct {
  vae_net net;
  size_t all;                 /* observations of the data, of which the batch has n */
  vae_data data;
  vae_batch batch;
  vae_settings set;
  real *theta, *x, *fill, *condition, *noise, *floor, *square;
  int *rows;
  each_pixels *pixels;
} problem;

/* Of floors and squares: one number, or one a feature. */
static inline size_t floors_of(const vae_shape *s)
{
  return s->noise == VAE_NOISE_SHARED ? 1 : s->p;
}

static inline problem new_problem(const vae_shape *s, const recipe *how)
{
  problem q = {.net = vae_lay_out(s), .all = how->n + 5};
  q.theta = normal_reals(q.net.size, 0.5);
  q.x = normal_reals(s->p * q.all, 1.0);
  q.noise = normal_reals(s->k * how->n * how->samples, 1.0);
  q.condition = s->c ? normal_reals(s->c * q.all, 1.0) : NULL;
  if (how->missing) {
    q.fill = normal_reals(s->p, 1.0);
    for (size_t i = 0; i < s->p * q.all; i++)
      if (test_below(3) == 0) q.x[i] = (real) NAN;
  }
  if (how->listed) q.rows = any_rows(how->n, q.all);
  q.floor = reals(floors_of(s));
  q.square = reals(floors_of(s));
  for (size_t f = 0; f < floors_of(s); f++) {
    q.floor[f] = (real) how->floor;
    q.square[f] = 1;
  }
  q.data = (vae_data) {.n = q.all, .x = q.x, .fill = q.fill, .condition = q.condition};
  q.batch = (vae_batch) {.rows = q.rows, .first = how->listed ? 0 : 2, .n = how->n,
                         .noise = q.noise, .key = {{3, 5}}, .epoch = 8};
  q.set = (vae_settings) {.beta = (real) how->beta, .free_bits = (real) how->free_bits,
                          .floor = q.floor, .square = q.square, .samples = how->samples,
                          .plan = {GEMM_PORTABLE, 1, NULL}};
  return q;
}

/* Features in units of their own: floors around that of the recipe, and squares that differ
 * (of one s2 the floor alone; its square does not count). */
static inline void make_uneven(problem *q)
{
  for (size_t f = 0; f < floors_of(&q->net.shape); f++) {
    q->floor[f] += (real) (0.5 * test_normal());
    q->square[f] = (real) (0.1 + test_uniform());
  }
}

/* Pixels for the observed cells; as data of the model they are of size 1 or so. */
static inline void make_pixels(problem *q, double alpha, double levels)
{
  size_t p = q->net.shape.p;
  real *mu = normal_reals(p, 1.0), *unit = reals(p);
  for (size_t f = 0; f < p; f++) unit[f] = (real) (0.1 + 0.3 * test_uniform());
  for (size_t i = 0; i < p * q->all; i++)
    if (!isnan((double) q->x[i])) q->x[i] = (real) test_below((size_t) levels);
  q->pixels = malloc(sizeof *q->pixels);
  if (!q->pixels) abort();
  *q->pixels = (each_pixels) {alpha, levels, mu, unit};
  q->data.pixels = q->pixels;
}

/* The data as the model sees them, with the noise of (key, epoch) where they are pixels;
 * jacobian: NULL, or one for each observation. */
typedef struct { double *x, *jacobian; } shown_data;
static inline shown_data show_data(const problem *q, rng_key key_of, uint32_t epoch)
{
  size_t p = q->net.shape.p;
  const each_pixels *as = q->pixels;
  shown_data d = {as_doubles(p * q->all, q->x), NULL};
  if (!as) return d;
  d.jacobian = doubles(q->all);
  for (size_t i = 0; i < q->all; i++) d.jacobian[i] = 0.0;
  for (size_t i = 0; i < p * q->all; i++) {
    size_t f = i % p, row = i / p;
    double u = expected_uniform(key_of, epoch, (uint32_t) row, p, f);
    logit_cell c = logit_of(d.x[i] + u, as->alpha, as->levels);
    if (isnan(d.x[i])) continue;
    d.x[i] = (c.y - (double) as->mu[f]) * (double) as->unit[f];
    d.jacobian[row] += c.log_slope;
  }
  return d;
}

static inline void drop_problem(problem *q)
{
  if (q->pixels) {
    free((real *) q->pixels->mu);
    free((real *) q->pixels->unit);
  }
  free(q->pixels);
  free(q->theta);
  free(q->x);
  free(q->fill);
  free(q->condition);
  free(q->noise);
  free(q->floor);
  free(q->square);
  free(q->rows);
}

/* p numbers, `one` of each where there is one for all and that counts. */
static inline double *by_feature(const vae_shape *s, const real *from, int counts)
{
  double *to = doubles(s->p);
  for (size_t f = 0; f < s->p; f++)
    to[f] = s->noise != VAE_NOISE_SHARED ? (double) from[f] : counts ? (double) from[0] : 1.0;
  return to;
}

/* The same in double for the reference, to be dropped with it. */
static inline reference reference_of(const problem *q)
{
  const vae_shape *s = &q->net.shape;
  shown_data shown = show_data(q, q->batch.key, q->batch.epoch);
  return (reference) {
    .shape = s, .theta = as_doubles(q->net.size, q->theta), .x = shown.x,
    .jacobian = shown.jacobian,
    .fill = q->fill ? as_doubles(s->p, q->fill) : NULL,
    .condition = q->condition ? as_doubles(s->c * q->all, q->condition) : NULL,
    .noise = as_doubles(s->k * q->batch.n * q->set.samples, q->noise), .rows = q->rows,
    .first = q->batch.first, .n = q->batch.n, .samples = q->set.samples,
    .beta = (double) q->set.beta, .free_bits = (double) q->set.free_bits,
    .floor = by_feature(s, q->set.floor, 1), .square = by_feature(s, q->set.square, 0)};
}

static inline void drop_reference(reference *r)
{
  free((double *) r->theta);
  free((double *) r->x);
  free((double *) r->jacobian);
  free((double *) r->fill);
  free((double *) r->condition);
  free((double *) r->noise);
  free((double *) r->floor);
  free((double *) r->square);
}

/* How many numbers are not within `tol` of the reference in g and s2 (p x all), decoded
 * from z (k x all) with the conditions of the data. */
static inline size_t wrong_decoded(const problem *q, const double *z, const double *g,
                                   const double *s2, double tol)
{
  const vae_shape *s = &q->net.shape;
  tensor_list list = tensors_of(s);
  const tensor *first = list.all;                /* of the decoder */
  while (strncmp(first->name, "decoder", 7) && strncmp(first->name, "output", 6)) first++;
  reference r = reference_of(q);
  size_t bad = 0;
  for (size_t i = 0; i < q->all; i++) {
    double one[WIDEST], log_s2[WIDEST];
    reference_result to = {.sides = 0};
    naive_decoder(s, r.theta + first->offset, z + i * s->k,
                  s->c ? r.condition + i * s->c : NULL, one, log_s2, &to);
    for (size_t f = 0; f < s->p; f++) {
      bad += !near(g[f + i * s->p], one[f], tol);
      bad += !near(s2[f + i * s->p], exp(fmax(log_s2[f], r.floor[f])), tol);
    }
  }
  drop_reference(&r);
  return bad;
}

/* The engine's answer; misfit: as many numbers as s2 are parameters, or NULL. */
static inline vae_terms engine_terms(problem *q, gemm_plan plan, double *kl_j,
                                     real *gradient, double *misfit)
{
  real *work = reals(vae_work(&q->net, q->batch.n, q->set.samples));
  double *sums = doubles(vae_sums(q->batch.n, q->set.samples));
  q->set.plan = plan;
  q->batch.data = &q->data;
  vae_terms t = vae_gradient(&q->net, q->theta, &q->batch, &q->set, kl_j, gradient, misfit,
                             work, sums);
  CHECK(spilled() == 0);
  free(work);
  free(sums);
  return t;
}

static inline vae_terms engine_gradient(problem *q, gemm_plan plan, double *kl_j,
                                        real *gradient)
{
  return engine_terms(q, plan, kl_j, gradient, NULL);
}

/* One epoch in space of exactly its size, which holds NaN. */
static inline int engine_epoch(const problem *q, const vae_training *set, gemm_plan plan,
                               uint32_t epoch, climber *at, vae_progress *progress)
{
  real *work = reals(vae_epoch_work(&q->net, set->batch, set->model.samples));
  double *sums = doubles(vae_epoch_sums(&q->net, set->batch, set->model.samples));
  int *order = ints(q->data.n);
  vae_training with = *set;
  with.model.plan = plan;
  optimiser_state state = state_of(at, set->climb.kind);
  int status = vae_epoch(&q->net, &q->data, epoch, &with, &state, progress, work, sums,
                         order);
  at->steps = state.steps;
  CHECK(spilled() == 0);
  free(work);
  free(sums);
  free(order);
  return status;
}

/* ---- gradients by differences ------------------------------------------ */

/* The derivative of the reference's objective by theta[at]; steps that would cross a
 * corner are made shorter. `blur`: what rounding of the objective does to it. */
static inline double reference_slope(const reference *r, double *theta, size_t at,
                                     uint64_t sides, double *blur)
{
  double kept = theta[at], h = 4e-3, f[4];
  for (int tries = 0, ok = 0; !ok && tries < 6; tries++) {
    h /= 4.0;                                    /* from 1e-3 to 1e-6 */
    ok = 1;
    for (int s = 0; ok && s < 4; s++) {
      reference_result to = {.sides = 0};
      theta[at] = kept + difference_steps[s] * h;
      run_reference(r, &to);
      f[s] = to.terms.objective;
      ok = to.sides == sides || tries == 5;
    }
  }
  theta[at] = kept;
  *blur = 2e-15 * fmax(1.0, fabs(f[0])) / h;
  return difference_of(f, h);
}

/* The largest difference of a tensor's gradients, relative to the largest entry, or to a
 * million times the blur where that is more: within 1e-6 means within the blur then. */
static inline double tensor_error(const reference *r, const tensor *t, const real *gradient,
                                  uint64_t sides)
{
  double *error = doubles(t->count), *blur = doubles(t->count), largest = 0.0, worst = 0.0;
  for (size_t i = 0; i < t->count; i++) {
    double d = reference_slope(r, (double *) r->theta, t->offset + i, sides, &blur[i]);
    error[i] = fabs((double) gradient[t->offset + i] - d);
    largest = fmax(largest, fabs(d));
  }
  for (size_t i = 0; i < t->count; i++) {
    double relative = error[i] / fmax(largest, 1e6 * blur[i]);
    if (!(relative <= worst)) worst = isnan(relative) ? INFINITY : relative;
  }
  free(error);
  free(blur);
  return worst;
}

/* The worst of each name so far. */
static struct { char name[40]; double worst; size_t tensors; } gradient_table[64];
static size_t gradient_rows;

static inline void note_gradient(const char *name, double error)
{
  size_t i = 0;
  while (i < gradient_rows && strcmp(gradient_table[i].name, name) != 0) i++;
  if (i == 64) return;
  if (i == gradient_rows) snprintf(gradient_table[gradient_rows++].name, 40, "%s", name);
  gradient_table[i].tensors++;
  if (error > gradient_table[i].worst) gradient_table[i].worst = error;
}

static inline void print_gradients(void)
{
  printf("gradients by differences, largest relative error:\n");
  for (size_t i = 0; i < gradient_rows; i++)
    printf("  %-20s %8.1e in %zu\n", gradient_table[i].name, gradient_table[i].worst,
           gradient_table[i].tensors);
}

static inline void describe(const problem *q)
{
  const vae_shape *s = &q->net.shape;
  printf("p %zu, k %zu, c %zu%s, %s log d, noise %d%s, %zu samples, %s, %s, beta %g, "
         "free bits %g, floor %g; encoder",
         s->p, s->k, s->c, s->linear ? ", linear" : "", s->shared_d ? "shared" : "own",
         (int) s->noise, s->fixed_noise ? " fixed" : "", q->set.samples,
         q->fill ? "missing cells" : "no missing cells", q->rows ? "rows" : "no rows",
         (double) q->set.beta, (double) q->set.free_bits, (double) q->set.floor[0]);
  for (size_t i = 0; i < s->encoder.count; i++)
    printf(" %zu (%d)", s->encoder.width[i], (int) s->encoder.activation[i]);
  printf("; decoder");
  for (size_t i = 0; i < s->decoder.count; i++)
    printf(" %zu (%d)", s->decoder.width[i], (int) s->decoder.activation[i]);
  if (q->pixels)
    printf("; pixels of %g levels, alpha %g", q->pixels->levels, q->pixels->alpha);
  printf("\n");
}

/* The misfit of each s2, and the same gradient without it. */
static inline size_t wrong_misfits(problem *q, const reference_result *to,
                                   const real *gradient, double tol)
{
  size_t count = vae_noises(&q->net.shape), bad = 0;
  double kl_j[WIDEST], *misfit = doubles(count);
  real *again = reals(q->net.size);
  engine_terms(q, plan_for(gemm_best(), 1), kl_j, again, misfit);
  for (size_t f = 0; f < count; f++)
    bad += !to->low[f] && !near(misfit[f], to->misfit[f], tol);
  bad += !same_reals(q->net.size, gradient, again);
  free(misfit);
  free(again);
  return bad;
}

/* Terms and gradient of the engine against the reference, tensor by tensor. */
static inline void check_problem(problem *q, double term_tol, double gradient_tol)
{
  reference r = reference_of(q);
  tensor_list list = tensors_of(&q->net.shape);
  size_t draws = q->batch.n * q->set.samples, bad = 0;
  double kl_j[WIDEST], *held = doubles(q->net.shape.p * draws);
  real *gradient = reals(q->net.size);
  vae_terms t = engine_gradient(q, plan_for(gemm_best(), 1), kl_j, gradient);
  reference_result to = {.log_s2 = held};
  run_reference(&r, &to);
  bad += !near(t.reconstruction, to.terms.reconstruction, term_tol);
  bad += !near(t.kl, to.terms.kl, term_tol);
  bad += !near(t.objective, to.terms.objective, term_tol);
  bad += !near(t.s2, to.terms.s2, term_tol);
  bad += !near(t.floored, to.terms.floored, 1e-12) + (t.cells != to.terms.cells);
  bad += !near(t.jacobian, to.terms.jacobian, term_tol);
  for (size_t j = 0; j < q->net.shape.k; j++) bad += !near(kl_j[j], to.kl_j[j], term_tol);
  bad += wrong_misfits(q, &to, gradient, 10.0 * term_tol);
  if (bad) describe(q);
  CHECK(bad == 0);
  r.held = held;
  to.log_s2 = NULL;
  run_reference(&r, &to);                      /* whose sides now count those rising */
  for (size_t i = 0; i < list.count; i++) {
    const tensor *part = &list.all[i];
    double error = 0.0;
    if (part->noise && q->net.shape.fixed_noise)
      for (size_t j = 0; j < part->count; j++) error += gradient[part->offset + j] != 0;
    else error = tensor_error(&r, part, gradient, to.sides);
    if (!(error <= gradient_tol)) {
      printf("gradient of %s: relative error %.2g; ", part->name, error);
      describe(q);
    }
    CHECK(error <= gradient_tol);
    note_gradient(part->name, error);
  }
  free(held);
  free(gradient);
  drop_reference(&r);
}

#endif
