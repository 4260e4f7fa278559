/* Deep Gaussian VAEs; see vae.h for the model and the contract. */
#include <math.h>
#include <string.h>

#include "status.h"
#include "vae.h"

static const double LOG_2PI = 1.8378770664093454836;

/* ---- layers ------------------------------------------------------------ */

static size_t most(size_t a, size_t b)
{
  return a > b ? a : b;
}

/* A layer with the next parameters of the net. */
static layer next_layer(vae_net *net, size_t in, size_t out, enum activation a)
{
  layer l = {in, out, a, net->size};
  net->size += layer_size(&l);
  net->widest = most(net->widest, most(in, out));
  return l;
}

static size_t next_vector(vae_net *net, size_t size)
{
  size_t offset = net->size;
  net->size += size;
  return offset;
}

vae_net vae_lay_out(const vae_shape *s)
{
  vae_net net = {.shape = *s};
  size_t in = s->p + s->c;
  for (size_t i = 0; i < s->encoder; i++, in = s->encoder_width[i - 1])
    net.encoder[i] = next_layer(&net, in, s->encoder_width[i], s->activation);
  net.mean = next_layer(&net, in, s->k, ACTIVATION_IDENTITY);
  if (s->shared_d) net.log_d_offset = next_vector(&net, s->k);
  else net.log_d = next_layer(&net, in, s->k, ACTIVATION_IDENTITY);
  in = s->k + s->c;
  for (size_t i = 0; i < s->decoder; i++, in = s->decoder_width[i - 1])
    net.decoder[i] = next_layer(&net, in, s->decoder_width[i], s->activation);
  net.output = next_layer(&net, in, s->p, ACTIVATION_IDENTITY);
  if (s->noise == VAE_NOISE_NETWORK)
    net.log_s2 = next_layer(&net, in, s->p, ACTIVATION_IDENTITY);
  else
    net.log_s2_offset = next_vector(&net, s->noise == VAE_NOISE_SHARED ? 1 : s->p);
  return net;
}

/* ---- chains of hidden layers ------------------------------------------- */

/* The activations of one chain over n columns: its input, and each layer's output and
 * slope. */
typedef struct {
  size_t count, n;
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
  chain c = {.count = count, .n = n, .layers = layers};
  c.input = take(space, inputs * n);
  for (size_t i = 0; i < count; i++) {
    c.y[i] = take(space, layers[i].out * n);
    c.slope[i] = take(space, layers[i].out * n);
  }
  return c;
}

static real *last(const chain *c)
{
  return c->count ? c->y[c->count - 1] : c->input;
}

/* top (a x n) over bottom (b x n): each column of the chain's input. */
static void fill_input(chain *c, size_t a, const real *top, size_t b,
                       const real *bottom, size_t bottom_n)
{
  for (size_t i = 0; i < c->n; i++) {
    memcpy(c->input + i * (a + b), top + i * a, a * sizeof *top);
    if (b) memcpy(c->input + i * (a + b) + a, bottom + i % bottom_n * b, b * sizeof *top);
  }
}

static int run_chain(const chain *c, gemm_plan plan, const real *theta)
{
  const real *x = c->input;
  for (size_t i = 0; i < c->count; i++) {
    int status = layer_forward(&c->layers[i], plan, theta, c->n, x, c->layers[i].in,
                               c->y[i], c->slope[i]);
    if (status != ELBO_OK) return status;
    x = c->y[i];
  }
  return ELBO_OK;
}

/* From dy, the derivative by the chain's last output, its layers' gradients; it ends
 * as dx of the first layer in `dy` or `other`, which is returned; NULL on failure. Where
 * `inward` is 0 the first layer's dx is not wanted. */
static real *run_back(const chain *c, gemm_plan plan, const real *theta, int inward,
                      real *dy, real *other, real *gradient)
{
  for (size_t i = c->count; i-- > 0;) {
    const real *x = i ? c->y[i - 1] : c->input;
    real *dx = i || inward ? other : NULL;
    if (layer_backward(&c->layers[i], plan, theta, c->n, x, c->layers[i].in, c->slope[i],
                       dy, gradient, dx) != ELBO_OK) return NULL;
    other = dy;
    dy = dx ? dx : dy;
  }
  return dy;
}

/* ---- the two halves ---------------------------------------------------- */

typedef struct {
  const vae_net *net;
  const vae_batch *batch;
  const vae_settings *set;
  const real *theta;
  size_t n, draws;            /* observations, observations times samples */
  chain encoder, decoder;
  real *mean, *log_d, *z;     /* k x n, k x n, k x draws */
  real *output, *log_s2;      /* p x draws, p x draws */
  real *a, *b;                /* widest x draws each, for derivatives */
  real *dz;                   /* k x draws */
} state;

static state new_state(const vae_net *net, const real *theta, const vae_batch *batch,
                       const vae_settings *set, real *work)
{
  const vae_shape *s = &net->shape;
  size_t n = batch->n, draws = n * set->samples;
  state v = {.net = net, .batch = batch, .set = set, .theta = theta, .n = n,
             .draws = draws};
  v.encoder = new_chain(s->encoder, net->encoder, s->p + s->c, n, &work);
  v.decoder = new_chain(s->decoder, net->decoder, s->k + s->c, draws, &work);
  v.mean = take(&work, s->k * n);
  v.log_d = take(&work, s->k * n);
  v.z = take(&work, s->k * draws);
  v.dz = take(&work, s->k * draws);
  v.output = take(&work, s->p * draws);
  v.log_s2 = take(&work, s->p * draws);
  v.a = take(&work, net->widest * draws);
  v.b = take(&work, net->widest * draws);
  return v;
}

size_t vae_work(const vae_net *net, size_t n, size_t samples)
{
  const vae_shape *s = &net->shape;
  size_t hidden = 0, shown = 0, draws = n * samples;
  for (size_t i = 0; i < s->encoder; i++) hidden += 2 * s->encoder_width[i];
  for (size_t i = 0; i < s->decoder; i++) shown += 2 * s->decoder_width[i];
  return n * (s->p + s->c + hidden + 2 * s->k) +
    draws * (s->k + s->c + shown + 2 * s->k + 2 * s->p + 2 * net->widest);
}

static int head(const layer *l, const chain *c, gemm_plan plan, const real *theta,
                real *y)
{
  return layer_forward(l, plan, theta, c->n, last(c), l->in, y, NULL);
}

/* m, log d and z of the batch. */
static int encode(state *v)
{
  const vae_shape *s = &v->net->shape;
  gemm_plan plan = v->set->plan;
  fill_input(&v->encoder, s->p, v->batch->x, s->c, v->batch->condition, v->n);
  int status = run_chain(&v->encoder, plan, v->theta);
  if (status == ELBO_OK) status = head(&v->net->mean, &v->encoder, plan, v->theta, v->mean);
  if (s->shared_d)
    for (size_t i = 0; i < v->n; i++)
      memcpy(v->log_d + i * s->k, v->theta + v->net->log_d_offset, s->k * sizeof(real));
  else if (status == ELBO_OK)
    status = head(&v->net->log_d, &v->encoder, plan, v->theta, v->log_d);
  for (size_t i = 0; i < s->k * v->draws; i++) {
    size_t from = i % (s->k * v->n);
    v->z[i] = v->mean[from] +
      (real) exp(0.5 * (double) v->log_d[from]) * v->batch->noise[i];
  }
  return status;
}

/* g and log s2 of each sample. */
static int decode(state *v)
{
  const vae_shape *s = &v->net->shape;
  gemm_plan plan = v->set->plan;
  fill_input(&v->decoder, s->k, v->z, s->c, v->batch->condition, v->n);
  int status = run_chain(&v->decoder, plan, v->theta);
  if (status == ELBO_OK)
    status = head(&v->net->output, &v->decoder, plan, v->theta, v->output);
  if (s->noise == VAE_NOISE_NETWORK && status == ELBO_OK)
    return head(&v->net->log_s2, &v->decoder, plan, v->theta, v->log_s2);
  const real *own = v->theta + v->net->log_s2_offset;
  for (size_t i = 0; i < v->draws; i++)
    for (size_t f = 0; f < s->p; f++)
      v->log_s2[f + i * s->p] = own[s->noise == VAE_NOISE_SHARED ? 0 : f];
  return status;
}

/* The reconstruction term; output and log_s2 become the derivatives by themselves. */
static void compare(state *v, vae_terms *terms)
{
  size_t p = v->net->shape.p, count = p * v->draws, raised = 0;
  double share = 1.0 / (double) v->draws, sum = 0.0, floor = (double) v->set->floor;
  for (size_t i = 0; i < count; i++) {
    size_t cell = i % (p * v->n);
    double log_s2 = (double) v->log_s2[i];
    int low = log_s2 < floor;
    if (v->batch->seen && v->batch->seen[cell] == 0) {
      v->output[i] = v->log_s2[i] = 0;
      continue;
    }
    raised += (size_t) low;
    if (low) log_s2 = floor;
    double error = (double) v->batch->x[cell] - (double) v->output[i];
    double precision = exp(-log_s2), square = error * error * precision;
    sum -= 0.5 * (square + LOG_2PI + log_s2);
    v->output[i] = (real) (share * error * precision);
    v->log_s2[i] = low ? 0 : (real) (share * 0.5 * (square - 1.0));
  }
  terms->reconstruction = share * sum;
  terms->floored = (double) raised / (double) count;
}

/* KL of each dimension, and whether it counts against its free bits. */
static void divergence(const state *v, vae_terms *terms, double *kl_j)
{
  size_t k = v->net->shape.k;
  double counted = 0.0, bits = (double) v->set->free_bits;
  terms->kl = 0.0;
  for (size_t j = 0; j < k; j++) {
    double sum = 0.0;
    for (size_t i = 0; i < v->n; i++) {
      double m = (double) v->mean[j + i * k], log_d = (double) v->log_d[j + i * k];
      sum += 0.5 * (exp(log_d) + m * m - 1.0 - log_d);
    }
    kl_j[j] = sum / (double) v->n;
    terms->kl += kl_j[j];
    counted += kl_j[j] > bits ? kl_j[j] : bits;
  }
  terms->objective = terms->reconstruction - (double) v->set->beta * counted;
}

/* ---- backwards --------------------------------------------------------- */

/* to (out x n) += from */
static void add(size_t count, const real *from, real *to)
{
  for (size_t i = 0; i < count; i++) to[i] += from[i];
}

/* A head's gradient, and what it adds to the derivative by its chain's last output
 * (in `to`; `spare` is overwritten). */
static int head_back(const layer *l, const chain *c, const state *v, real *dy,
                     real *gradient, int first, real *to, real *spare)
{
  int status = layer_backward(l, v->set->plan, v->theta, c->n, last(c), l->in, NULL, dy,
                              gradient, first ? to : spare);
  if (status == ELBO_OK && !first) add(l->in * c->n, spare, to);
  return status;
}

/* The decoder's gradient, and dz. */
static int decode_back(state *v, real *gradient)
{
  const vae_shape *s = &v->net->shape;
  int status = head_back(&v->net->output, &v->decoder, v, v->output, gradient, 1, v->a,
                         v->b);
  if (status != ELBO_OK) return status;
  if (s->noise == VAE_NOISE_NETWORK) {
    status = head_back(&v->net->log_s2, &v->decoder, v, v->log_s2, gradient, 0, v->a,
                       v->b);
    if (status != ELBO_OK) return status;
  } else {
    real *to = gradient + v->net->log_s2_offset;
    memset(to, 0, (s->noise == VAE_NOISE_SHARED ? 1 : s->p) * sizeof *to);
    for (size_t i = 0; i < v->draws; i++)
      for (size_t f = 0; f < s->p; f++)
        to[s->noise == VAE_NOISE_SHARED ? 0 : f] += v->log_s2[f + i * s->p];
  }
  real *dx = run_back(&v->decoder, v->set->plan, v->theta, 1, v->a, v->b, gradient);
  if (!dx) return ELBO_MEMORY;
  for (size_t i = 0; i < v->draws; i++)
    memcpy(v->dz + i * s->k, dx + i * (s->k + s->c), s->k * sizeof *dx);
  return ELBO_OK;
}

/* By m and log d, in the place of v->mean and v->log_d: from dz of all samples and from
 * the KL of the dimensions that are above their free bits. */
static void head_slopes(state *v, const double *kl_j)
{
  size_t k = v->net->shape.k, one = k * v->n;
  for (size_t i = 0; i < one; i++) {
    double dm = 0.0, dlog = 0.0, log_d = (double) v->log_d[i];
    double sd = exp(0.5 * log_d), counts = kl_j[i % k] > (double) v->set->free_bits;
    double weight = counts * (double) v->set->beta / (double) v->n;
    for (size_t s = i; s < k * v->draws; s += one) {
      dm += (double) v->dz[s];
      dlog += (double) v->dz[s] * 0.5 * sd * (double) v->batch->noise[s];
    }
    v->log_d[i] = (real) (dlog - weight * 0.5 * (sd * sd - 1.0));
    v->mean[i] = (real) (dm - weight * (double) v->mean[i]);
  }
}

static int encode_back(state *v, real *gradient)
{
  const vae_shape *s = &v->net->shape;
  int status = head_back(&v->net->mean, &v->encoder, v, v->mean, gradient, 1, v->a, v->b);
  if (status != ELBO_OK) return status;
  if (s->shared_d) {
    real *to = gradient + v->net->log_d_offset;
    memset(to, 0, s->k * sizeof *to);
    for (size_t i = 0; i < s->k * v->n; i++) to[i % s->k] += v->log_d[i];
  } else {
    status = head_back(&v->net->log_d, &v->encoder, v, v->log_d, gradient, 0, v->a, v->b);
    if (status != ELBO_OK) return status;
  }
  return run_back(&v->encoder, v->set->plan, v->theta, 0, v->a, v->b, gradient)
    ? ELBO_OK : ELBO_MEMORY;
}

int vae_gradient(const vae_net *net, const real *theta, const vae_batch *batch,
                 const vae_settings *set, vae_terms *terms, double *kl_j,
                 real *gradient, real *work)
{
  state v = new_state(net, theta, batch, set, work);
  int status = encode(&v);
  if (status == ELBO_OK) status = decode(&v);
  if (status != ELBO_OK) return status;
  compare(&v, terms);
  divergence(&v, terms, kl_j);
  if (!gradient) return ELBO_OK;
  status = decode_back(&v, gradient);
  if (status != ELBO_OK) return status;
  head_slopes(&v, kl_j);
  return encode_back(&v, gradient);
}
