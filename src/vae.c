/* Deep Gaussian VAEs; see vae.h for the model and the contract. */
#include <math.h>
#include <string.h>

#include "vae.h"

/* ---- layers ------------------------------------------------------------ */

static size_t most(size_t a, size_t b)
{
  return a > b ? a : b;
}

/* A layer with the next parameters of the net. */
static layer next_layer(vae_net *net, size_t in, size_t out, int biased,
                        enum activation a)
{
  layer l = {in, out, biased, a, net->size};
  net->size += layer_size(&l);
  net->widest = most(net->widest, most(in, out));
  return l;
}

static layer next_head(vae_net *net, size_t in, size_t out)
{
  return next_layer(net, in, out, 1, ACTIVATION_IDENTITY);
}

static layer next_map(vae_net *net, size_t in, size_t out)
{
  return next_layer(net, in, out, 0, ACTIVATION_IDENTITY);
}

static size_t next_vector(vae_net *net, size_t size)
{
  size_t offset = net->size;
  net->size += size;
  return offset;
}

/* Hidden layers one after the other; returns the width of the last. */
static size_t next_chain(vae_net *net, size_t in, const vae_chain *c, layer *to)
{
  for (size_t i = 0; i < c->count; i++) {
    to[i] = next_layer(net, in, c->width[i], 1, c->activation[i]);
    in = c->width[i];
  }
  return in;
}

size_t vae_noises(const vae_shape *s)
{
  return s->noise == VAE_NOISE_NETWORK ? 0 : s->noise == VAE_NOISE_SHARED ? 1 : s->p;
}

vae_net vae_lay_out(const vae_shape *s)
{
  vae_net net = {.shape = *s};
  size_t in = next_chain(&net, s->p + s->c, &s->encoder, net.encoder);
  net.mean = next_head(&net, in, s->k);
  if (s->linear && s->encoder.count) net.v = next_map(&net, s->p + s->c, s->k);
  if (s->shared_d) net.log_d_offset = next_vector(&net, s->k);
  else net.log_d = next_head(&net, in, s->k);
  in = next_chain(&net, s->k + s->c, &s->decoder, net.decoder);
  net.output = next_head(&net, in, s->p);
  if (s->linear && s->decoder.count) net.w = next_map(&net, s->k + s->c, s->p);
  if (s->noise == VAE_NOISE_NETWORK) net.log_s2 = next_head(&net, in, s->p);
  else net.log_s2_offset = next_vector(&net, vae_noises(s));
  return net;
}

static void decay(const layer *l, real factor, real *theta)
{
  real *weights = theta + l->offset;
  for (size_t i = 0; i < l->out * l->in; i++) weights[i] *= factor;
}

void vae_decay(const vae_net *net, real factor, real *theta)
{
  const vae_shape *s = &net->shape;
  for (size_t i = 0; i < s->encoder.count; i++) decay(&net->encoder[i], factor, theta);
  for (size_t i = 0; i < s->decoder.count; i++) decay(&net->decoder[i], factor, theta);
  decay(&net->mean, factor, theta);
  decay(&net->output, factor, theta);
  decay(&net->v, factor, theta);
  decay(&net->w, factor, theta);
  if (!s->shared_d) decay(&net->log_d, factor, theta);
  if (s->noise == VAE_NOISE_NETWORK && !s->fixed_noise) decay(&net->log_s2, factor, theta);
}

/* ---- chains of hidden layers ------------------------------------------- */

/* The activations of one chain over n columns: its input (with the row of ones), and
 * each layer's output (likewise) and slope. */
typedef struct {
  size_t count, n, inputs;
  const layer *layers;
  real *input, *y[VAE_MOST_LAYERS], *slope[VAE_MOST_LAYERS];
} chain;

static real *take(real **space, size_t count)
{
  real *block = *space;
  *space += count;
  return block;
}

static chain new_chain(size_t count, const layer *layers, size_t inputs, size_t n,
                       real **space)
{
  chain c = {.count = count, .n = n, .inputs = inputs, .layers = layers};
  c.input = take(space, (inputs + 1) * n);
  for (size_t i = 0; i < count; i++) {
    c.y[i] = take(space, (layers[i].out + 1) * n);
    c.slope[i] = take(space, layers[i].out * n);
  }
  return c;
}

static size_t chain_work(const vae_chain *c, size_t inputs)
{
  size_t width = inputs + 1;
  for (size_t i = 0; i < c->count; i++) width += 2 * c->width[i] + 1;
  return width;
}

static real *last(const chain *c)
{
  return c->count ? c->y[c->count - 1] : c->input;
}

/* Below the first `from` rows of the input: the condition of each column, and 1. */
static void finish_input(const chain *c, size_t from, const real *condition,
                         const int *rows, size_t first, size_t distinct)
{
  size_t width = c->inputs - from;
  for (size_t i = 0; i < c->n; i++) {
    real *to = c->input + i * (c->inputs + 1) + from;
    size_t row = rows ? (size_t) rows[i % distinct] : first + i % distinct;
    if (width > 0) memcpy(to, condition + row * width, width * sizeof *to);
    to[width] = 1;
  }
}

static void run_chain(const chain *c, gemm_plan plan, const real *theta, int slopes)
{
  const real *x = c->input;
  for (size_t i = 0; i < c->count; i++) {
    const layer *l = &c->layers[i];
    layer_forward(l, plan, theta, c->n, x, c->y[i], l->out + 1, 0,
                  slopes ? c->slope[i] : NULL);
    x = c->y[i];
  }
}

/* From dy, the derivative by the chain's last output, its layers' gradients; returns
 * the derivative by its first `wanted` inputs, in `dy` or `other`. */
static real *run_back(const chain *c, gemm_plan plan, const real *theta, size_t wanted,
                      real *dy, real *other, real *gradient)
{
  for (size_t i = c->count; i-- > 0;) {
    const layer *l = &c->layers[i];
    layer_backward(l, plan, theta, c->n, i ? c->y[i - 1] : c->input, c->slope[i], dy,
                   gradient, i ? l->in : wanted, 0, other);
    real *dx = other;
    other = dy;
    dy = dx;
  }
  return dy;
}

static void head(const layer *l, const chain *c, gemm_plan plan, const real *theta,
                 real *y)
{
  layer_forward(l, plan, theta, c->n, last(c), y, l->out, 0, NULL);
}

/* Adds a map of the chain's input, where the net has it. */
static void add_map(const layer *l, const chain *c, gemm_plan plan, const real *theta,
                    real *y)
{
  if (l->out) layer_forward(l, plan, theta, c->n, c->input, y, l->out, 1, NULL);
}

/* ---- forwards ---------------------------------------------------------- */

typedef struct {
  const vae_net *net;
  const vae_batch *batch;
  const vae_settings *set;
  const real *theta;
  size_t n, draws;            /* observations, observations times samples */
  chain encoder, decoder;
  real *seen;                 /* p x n, or NULL */
  real *mean, *log_d, *sd;    /* k x n each */
  real *weight;               /* k: of each KL in the gradient */
  real *output, *log_s2;      /* p x draws each */
  real *a, *b;                /* widest x draws each, for derivatives */
  real *dz;                   /* k x draws, or in `a` or `b` */
  double *density, *raised, *variance;    /* draws each */
  double *jacobian;           /* n */
} state;

static int has_missing(const vae_batch *batch)
{
  return batch->data->fill != NULL;
}

static state new_state(const vae_net *net, const real *theta, const vae_batch *batch,
                       const vae_settings *set, real *work, double *sums)
{
  const vae_shape *s = &net->shape;
  size_t n = batch->n, draws = n * set->samples;
  state v = {.net = net, .batch = batch, .set = set, .theta = theta, .n = n,
             .draws = draws};
  v.encoder = new_chain(s->encoder.count, net->encoder, s->p + s->c, n, &work);
  v.decoder = new_chain(s->decoder.count, net->decoder, s->k + s->c, draws, &work);
  v.mean = take(&work, s->k * n);
  v.log_d = take(&work, s->k * n);
  v.sd = take(&work, s->k * n);
  v.weight = take(&work, s->k);
  v.output = take(&work, s->p * draws);
  v.log_s2 = take(&work, s->p * draws);
  v.a = take(&work, net->widest * draws);
  v.b = take(&work, net->widest * draws);
  real *seen = take(&work, s->p * n);
  v.seen = has_missing(batch) ? seen : NULL;
  v.density = sums;
  v.raised = sums + draws;
  v.variance = sums + 2 * draws;
  v.jacobian = sums + 3 * draws;
  return v;
}

size_t vae_work(const vae_net *net, size_t n, size_t samples)
{
  const vae_shape *s = &net->shape;
  return s->k + n * (chain_work(&s->encoder, s->p + s->c) + 3 * s->k + s->p) +
    n * samples * (chain_work(&s->decoder, s->k + s->c) + 2 * s->p + 2 * net->widest);
}

size_t vae_sums(size_t n, size_t samples)
{
  return 3 * n * samples + n;
}

/* The batch's observations, as the encoder's input. */
static void read_batch(state *v)
{
  const vae_shape *s = &v->net->shape;
  const vae_batch *b = v->batch;
  const vae_data *from = b->data;
  size_t ld = s->p + s->c + 1;
  if (from->pixels) {
    each_dequantise(v->set->plan, b->key, b->epoch, from->pixels, s->p, v->n, from->x,
                    b->rows, b->first, from->fill, v->encoder.input, ld, v->seen,
                    v->jacobian);
    return;
  }
  each_gather(v->set->plan, s->p, v->n, from->x, b->rows, b->first, from->fill,
              v->encoder.input, ld, v->seen);
  memset(v->jacobian, 0, v->n * sizeof *v->jacobian);
}

/* m and log d of the batch. */
static void encode(state *v, int slopes)
{
  const vae_shape *s = &v->net->shape;
  const vae_batch *b = v->batch;
  gemm_plan plan = v->set->plan;
  read_batch(v);
  finish_input(&v->encoder, s->p, b->data->condition, b->rows, b->first, v->n);
  run_chain(&v->encoder, plan, v->theta, slopes);
  head(&v->net->mean, &v->encoder, plan, v->theta, v->mean);
  add_map(&v->net->v, &v->encoder, plan, v->theta, v->mean);
  if (!s->shared_d) head(&v->net->log_d, &v->encoder, plan, v->theta, v->log_d);
  else
    for (size_t i = 0; i < v->n; i++)
      memcpy(v->log_d + i * s->k, v->theta + v->net->log_d_offset, s->k * sizeof(real));
}

/* z of each sample, as the decoder's input. */
static void sample(state *v)
{
  const vae_shape *s = &v->net->shape;
  const vae_batch *b = v->batch;
  size_t ld = s->k + s->c + 1;
  for (size_t i = 0; i < v->draws; i += v->n)
    each_sample(v->set->plan, s->k, v->n, v->mean, v->log_d, b->noise + i * s->k, v->sd,
                v->decoder.input + i * ld, ld);
  finish_input(&v->decoder, s->k, b->data->condition, b->rows, b->first, v->n);
}

/* g of each sample, and log s2 where the decoder gives it. */
static void decode(state *v, int slopes)
{
  gemm_plan plan = v->set->plan;
  run_chain(&v->decoder, plan, v->theta, slopes);
  head(&v->net->output, &v->decoder, plan, v->theta, v->output);
  add_map(&v->net->w, &v->decoder, plan, v->theta, v->output);
  if (v->net->shape.noise == VAE_NOISE_NETWORK)
    head(&v->net->log_s2, &v->decoder, plan, v->theta, v->log_s2);
}

/* The reconstruction term; output and log_s2 become the derivatives by themselves. */
static void compare(state *v, vae_terms *terms)
{
  const vae_shape *s = &v->net->shape;
  size_t p = s->p;
  each_noise noise = {
    (int) s->noise,
    s->noise == VAE_NOISE_NETWORK ? v->log_s2 : v->theta + v->net->log_s2_offset,
    v->set->floor, v->set->square, (real) (1.0 / (double) v->draws)};
  each_compare(v->set->plan, p, v->n, v->draws, v->encoder.input, p + s->c + 1, v->seen,
               noise, v->output, v->log_s2, v->density, v->raised,
               v->variance);
  double sum = 0.0, raised = 0.0, variance = 0.0, cells = 0.0;
  for (size_t i = 0; i < v->draws; i++) {
    sum += v->density[i];
    raised += v->raised[i];
    variance += v->variance[i];
  }
  for (size_t i = 0; v->seen && i < p * v->n; i++) cells += (double) v->seen[i];
  if (!v->seen) cells = (double) p * (double) v->n;
  terms->reconstruction = sum / (double) v->draws;
  terms->cells = cells * (double) v->set->samples;
  terms->s2 = cells > 0.0 ? variance / terms->cells : 0.0;
  terms->floored = cells > 0.0 ? raised / terms->cells : 0.0;
  terms->jacobian = 0.0;
  for (size_t i = 0; i < v->n; i++) terms->jacobian += v->jacobian[i] / (double) v->n;
}

/* KL of dimension j of observation i. */
static double divergence(const state *v, size_t j, size_t i)
{
  size_t at = j + i * v->net->shape.k;
  double m = (double) v->mean[at], sd = (double) v->sd[at];
  double excess = sd * sd - 1.0 - (double) v->log_d[at];      /* of d, 0 at 1 */
  return 0.5 * (m * m + (excess < 0.0 ? 0.0 : excess));       /* but for rounding */
}

/* Mean KL of each dimension, and its weight in the gradient: none below the free
 * bits. */
static void divergences(state *v, vae_terms *terms, double *kl_j)
{
  size_t k = v->net->shape.k;
  double counted = 0.0, bits = (double) v->set->free_bits, beta = (double) v->set->beta;
  memset(kl_j, 0, k * sizeof *kl_j);
  for (size_t i = 0; i < v->n; i++)
    for (size_t j = 0; j < k; j++) kl_j[j] += divergence(v, j, i);
  terms->kl = 0.0;
  for (size_t j = 0; j < k; j++) {
    kl_j[j] /= (double) v->n;
    terms->kl += kl_j[j];
    counted += kl_j[j] > bits ? kl_j[j] : bits;
    v->weight[j] = kl_j[j] > bits ? (real) (beta / (double) v->n) : 0;
  }
  terms->objective = terms->reconstruction - beta * counted;
}

/* ---- backwards --------------------------------------------------------- */

/* to[j] = sum over the columns of a (rows x cols). */
static void sum_columns(size_t rows, size_t cols, const real *a, real *to)
{
  memset(to, 0, rows * sizeof *to);
  for (size_t i = 0; i < cols; i++)
    for (size_t j = 0; j < rows; j++) to[j] += a[j + i * rows];
}

/* The derivative by log s2 is share / 2 sum (e^2 / s2 - 1) over its observed cells, so
 * that the mean of e^2 / s2 is 1 + 2 derivative / (share cells). */
static void misfits(const state *v, const real *by_noise, double *misfit)
{
  const vae_shape *s = &v->net->shape;
  size_t noises = vae_noises(s);
  for (size_t f = 0; f < s->p; f++) {
    double cells = v->seen ? 0.0 : (double) v->n;
    for (size_t i = 0; v->seen && i < v->n; i++) cells += (double) v->seen[f + i * s->p];
    if (f < noises) misfit[f] = cells;
    else misfit[0] += cells;
  }
  for (size_t f = 0; f < noises; f++) {
    double excess = misfit[f] > 0.0 ? 2.0 * (double) by_noise[f] * (double) v->n / misfit[f]
      : 0.0;
    misfit[f] = excess < -1.0 ? 0.0 : 1.0 + excess;     /* but for rounding */
  }
}

/* A head's gradient, and what it gives (or adds) to the derivative by the first
 * `wanted` outputs of its chain. */
static void head_back(const layer *l, const chain *c, const state *v, real *dy,
                      real *gradient, size_t wanted, int add, real *to)
{
  layer_backward(l, v->set->plan, v->theta, c->n, last(c), NULL, dy, gradient, wanted,
                 add, to);
}

/* Likewise of a map of the chain's input, where the net has it. */
static void map_back(const layer *l, const chain *c, const state *v, real *dy,
                     real *gradient, size_t wanted, real *to)
{
  if (l->out)
    layer_backward(l, v->set->plan, v->theta, c->n, c->input, NULL, dy, gradient, wanted,
                   1, to);
}

/* The decoder's gradient, and dz. */
static void decode_back(state *v, real *gradient, double *misfit)
{
  const vae_net *net = v->net;
  const vae_shape *s = &net->shape;
  size_t wanted = s->decoder.count ? net->output.in : s->k;
  head_back(&net->output, &v->decoder, v, v->output, gradient, wanted, 0, v->a);
  if (s->noise == VAE_NOISE_NETWORK) {
    head_back(&net->log_s2, &v->decoder, v, v->log_s2, gradient, wanted, 1, v->a);
    if (s->fixed_noise)
      memset(gradient + net->log_s2.offset, 0, layer_size(&net->log_s2) * sizeof(real));
  } else {
    real *by_noise = gradient + net->log_s2_offset;
    sum_columns(vae_noises(s), v->draws, v->log_s2, by_noise);
    if (misfit) misfits(v, by_noise, misfit);
    if (s->fixed_noise) memset(by_noise, 0, vae_noises(s) * sizeof(real));
  }
  v->dz = run_back(&v->decoder, v->set->plan, v->theta, s->k, v->a, v->b, gradient);
  map_back(&net->w, &v->decoder, v, v->output, gradient, s->k, v->dz);
}

/* From the derivatives by m and log d, in their place. */
static void encode_back(state *v, real *gradient)
{
  const vae_net *net = v->net;
  const vae_shape *s = &net->shape;
  size_t wanted = s->encoder.count ? net->mean.in : 0;
  head_back(&net->mean, &v->encoder, v, v->mean, gradient, wanted, 0, v->a);
  map_back(&net->v, &v->encoder, v, v->mean, gradient, 0, NULL);
  if (s->shared_d)
    sum_columns(s->k, v->n, v->log_d, gradient + net->log_d_offset);
  else
    head_back(&net->log_d, &v->encoder, v, v->log_d, gradient, wanted, 1, v->a);
  run_back(&v->encoder, v->set->plan, v->theta, 0, v->a, v->b, gradient);
}

vae_terms vae_gradient(const vae_net *net, const real *theta, const vae_batch *batch,
                       const vae_settings *set, double *kl_j, real *gradient,
                       double *misfit, real *work, double *sums)
{
  state v = new_state(net, theta, batch, set, work, sums);
  vae_terms terms;
  encode(&v, gradient != NULL);
  sample(&v);
  decode(&v, gradient != NULL);
  compare(&v, &terms);
  divergences(&v, &terms, kl_j);
  if (!gradient) return terms;
  decode_back(&v, gradient, misfit);
  each_latent_slopes(set->plan, net->shape.k, v.n, set->samples, v.dz, batch->noise, v.sd,
                     v.weight, v.mean, v.log_d);
  encode_back(&v, gradient);
  return terms;
}

/* ---- observations ------------------------------------------------------ */

void vae_encode(const vae_net *net, const real *theta, const vae_batch *batch,
                const vae_settings *set, double *mean, double *d, real *work,
                double *sums)
{
  state v = new_state(net, theta, batch, set, work, sums);
  encode(&v, 0);
  for (size_t i = 0; i < net->shape.k * v.n; i++) {
    mean[i] = (double) v.mean[i];
    double limit = EACH_LOG_D, log_d = (double) v.log_d[i];
    d[i] = exp(log_d > limit ? limit : log_d < -limit ? -limit : log_d);
  }
}

void vae_decode(const vae_net *net, const real *theta, size_t n, const double *z,
                const real *condition, const vae_settings *set, double *g, double *s2,
                real *work, double *sums)
{
  const vae_shape *s = &net->shape;
  vae_data data = {.n = n, .condition = condition};
  vae_batch batch = {.data = &data, .n = n};
  state v = new_state(net, theta, &batch, set, work, sums);
  size_t ld = s->k + s->c + 1;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < s->k; j++) v.decoder.input[j + i * ld] = (real) z[j + i * s->k];
  finish_input(&v.decoder, s->k, condition, NULL, 0, n);
  decode(&v, 0);
  const real *own = theta + net->log_s2_offset;
  for (size_t i = 0; i < s->p * n; i++) {
    real log_s2 = s->noise == VAE_NOISE_NETWORK ? v.log_s2[i] :
      own[s->noise == VAE_NOISE_SHARED ? 0 : i % s->p];
    g[i] = (double) v.output[i];
    real floor = set->floor[s->noise == VAE_NOISE_SHARED ? 0 : i % s->p];
    if (s2) s2[i] = exp((double) (log_s2 < floor ? floor : log_s2));
  }
}

/* log p(x | z_s) + log p(z_s) - log q(z_s | x) of sample s of observation i. */
static double log_weight(const state *v, size_t i, size_t s)
{
  size_t k = v->net->shape.k, ld = k + v->net->shape.c + 1, draw = i + s * v->n;
  const real *z = v->decoder.input + draw * ld, *e = v->batch->noise + draw * k;
  double sum = v->density[draw];
  for (size_t j = 0; j < k; j++)
    sum += 0.5 * ((double) e[j] * (double) e[j] + (double) v->log_d[j + i * k] -
                  (double) z[j] * (double) z[j]);
  return sum;
}

/* log mean exp over the samples. */
static double weighted_bound(const state *v, size_t i)
{
  double top = log_weight(v, i, 0), sum = 1.0;
  for (size_t s = 1; s < v->set->samples; s++) {
    double w = log_weight(v, i, s);
    double step = w == top ? 0.0 : w > top ? top - w : w - top;   /* both may be -Inf */
    sum = w > top ? sum * exp(step) + 1.0 : sum + exp(step);
    top = w > top ? w : top;
  }
  return top + log(sum / (double) v->set->samples);
}

/* error[f] += squared errors of the feature, means over the samples; output still holds
 * g. */
static void add_errors(const state *v, double *error)
{
  size_t p = v->net->shape.p, ld = p + v->net->shape.c + 1;
  double share = 1.0 / (double) v->set->samples;
  for (size_t i = 0; i < v->draws; i++)
    for (size_t f = 0; f < p; f++) {
      size_t from = i % v->n;
      double e = (double) v->encoder.input[f + from * ld] - (double) v->output[f + i * p];
      if (!v->seen || v->seen[f + from * p] != 0) error[f] += share * e * e;
    }
}

vae_terms vae_observe(const vae_net *net, const real *theta, const vae_batch *batch,
                      const vae_settings *set, const vae_observed *to, double *kl_j,
                      real *work, double *sums)
{
  state v = new_state(net, theta, batch, set, work, sums);
  vae_terms terms;
  encode(&v, 0);
  sample(&v);
  decode(&v, 0);
  if (to->error) add_errors(&v, to->error);
  compare(&v, &terms);
  divergences(&v, &terms, kl_j);
  for (size_t i = 0; i < v.n; i++) {
    double sum = 0.0, kl = 0.0;
    for (size_t s = 0; s < set->samples; s++) sum += v.density[i + s * v.n];
    for (size_t j = 0; j < net->shape.k; j++) kl += divergence(&v, j, i);
    to->reconstruction[i] = sum / (double) set->samples;
    to->kl[i] = kl;
    to->weighted[i] = weighted_bound(&v, i);
    to->jacobian[i] = v.jacobian[i];
  }
  return terms;
}
