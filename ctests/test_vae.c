/* The deep VAE in double: its terms against a forward pass written out loop by loop, its
 * gradient against central differences of the objective, tensor by tensor. */
#include "arrays.h"
#include "status.h"
#include "vae.h"

static const gemm_plan plan = {GEMM_PORTABLE, 1};

typedef struct {
  vae_net net;
  vae_batch batch;
  vae_settings set;
  double *theta, *x, *seen, *condition, *noise;
} problem;

static double *normals(size_t n, double sd)
{
  double *a = doubles(n);
  for (size_t i = 0; i < n; i++) a[i] = sd * test_normal();
  return a;
}

static problem new_problem(const vae_shape *s, size_t n, size_t samples, int missing)
{
  problem q = {.net = vae_lay_out(s)};
  q.theta = normals(q.net.size, 0.5);
  q.x = normals(s->p * n, 1.0);
  q.noise = normals(s->k * n * samples, 1.0);
  q.condition = s->c ? normals(s->c * n, 1.0) : NULL;
  if (missing) {
    q.seen = doubles(s->p * n);
    for (size_t i = 0; i < s->p * n; i++) q.seen[i] = i % 3 != 1;
  }
  q.batch = (vae_batch) {n, q.x, q.seen, q.condition, q.noise};
  q.set = (vae_settings) {1.0, 0.0, -30.0, samples, plan};
  return q;
}

static void drop(problem *q)
{
  free(q->theta);
  free(q->x);
  free(q->seen);
  free(q->condition);
  free(q->noise);
}

static vae_terms terms_of(const problem *q, double *kl_j, double *gradient)
{
  double *work = doubles(vae_work(&q->net, q->batch.n, q->set.samples));
  vae_terms t;
  CHECK(vae_gradient(&q->net, q->theta, &q->batch, &q->set, &t, kl_j, gradient, work) ==
        ELBO_OK);
  free(work);
  return t;
}

/* ---- the reference ----------------------------------------------------- */

/* y = act(W x + b), one column; returns out. */
static size_t naive_layer(const layer *l, const double *theta, const double *x, double *y)
{
  const double *w = theta + l->offset, *b = w + l->out * l->in;
  for (size_t j = 0; j < l->out; j++) {
    double v = b[j];
    for (size_t f = 0; f < l->in; f++) v += w[j + f * l->out] * x[f];
    y[j] = l->activation == ACTIVATION_TANH ? tanh(v)
      : l->activation == ACTIVATION_SOFTPLUS ? log(1.0 + exp(v)) : v;
  }
  return l->out;
}

enum { MOST = 64 };

static void naive_chain(size_t count, const layer *layers, const double *theta, double *x)
{
  double y[MOST];
  for (size_t i = 0; i < count; i++) {
    size_t out = naive_layer(&layers[i], theta, x, y);
    memcpy(x, y, out * sizeof *y);
  }
}

static vae_terms naive_terms(const problem *q, double *kl_j)
{
  const vae_shape *s = &q->net.shape;
  size_t n = q->batch.n;
  vae_terms t = {0.0, 0.0, 0.0, 0.0};
  for (size_t j = 0; j < s->k; j++) kl_j[j] = 0.0;
  for (size_t i = 0; i < n; i++) {
    double h[MOST], m[MOST], log_d[MOST];
    memcpy(h, q->x + i * s->p, s->p * sizeof *h);
    for (size_t j = 0; j < s->c; j++) h[s->p + j] = q->condition[j + i * s->c];
    naive_chain(s->encoder, q->net.encoder, q->theta, h);
    naive_layer(&q->net.mean, q->theta, h, m);
    if (s->shared_d) memcpy(log_d, q->theta + q->net.log_d_offset, s->k * sizeof *h);
    else naive_layer(&q->net.log_d, q->theta, h, log_d);
    for (size_t j = 0; j < s->k; j++)
      kl_j[j] += 0.5 * (exp(log_d[j]) + m[j] * m[j] - 1.0 - log_d[j]) / (double) n;
    for (size_t d = 0; d < q->set.samples; d++) {
      double z[MOST], g[MOST], log_s2[MOST];
      for (size_t j = 0; j < s->k; j++)
        z[j] = m[j] + exp(log_d[j] / 2.0) * q->noise[j + (i + d * n) * s->k];
      for (size_t j = 0; j < s->c; j++) z[s->k + j] = q->condition[j + i * s->c];
      naive_chain(s->decoder, q->net.decoder, q->theta, z);
      naive_layer(&q->net.output, q->theta, z, g);
      if (s->noise == VAE_NOISE_NETWORK) naive_layer(&q->net.log_s2, q->theta, z, log_s2);
      for (size_t f = 0; f < s->p; f++) {
        double v = s->noise == VAE_NOISE_NETWORK ? log_s2[f]
          : q->theta[q->net.log_s2_offset + (s->noise == VAE_NOISE_FEATURE ? f : 0)];
        if (q->seen && q->seen[f + i * s->p] == 0.0) continue;
        if (v < q->set.floor) v = q->set.floor;
        double e = q->x[f + i * s->p] - g[f];
        t.reconstruction += (-0.5 * log(2.0 * 3.14159265358979323846 * exp(v)) -
                             e * e / (2.0 * exp(v))) / (double) (n * q->set.samples);
      }
    }
  }
  t.objective = t.reconstruction;
  for (size_t j = 0; j < s->k; j++) {
    t.kl += kl_j[j];
    t.objective -= q->set.beta * fmax(kl_j[j], q->set.free_bits);
  }
  return t;
}

/* ---- checks ------------------------------------------------------------ */

static void check_terms(const problem *q)
{
  double kl_j[MOST], by_hand[MOST];
  vae_terms t = terms_of(q, kl_j, NULL), r = naive_terms(q, by_hand);
  CHECK_NEAR(t.reconstruction, r.reconstruction, 1e-12);
  CHECK_NEAR(t.kl, r.kl, 1e-12);
  CHECK_NEAR(t.objective, r.objective, 1e-12);
  for (size_t j = 0; j < q->net.shape.k; j++) CHECK_NEAR(kl_j[j], by_hand[j], 1e-12);
}

/* Prints the worst of each tensor where it is off. */
static void check_tensor(problem *q, const double *gradient, const char *name, size_t from,
                         size_t count)
{
  double kl_j[MOST], worst = 0.0;
  for (size_t i = from; i < from + count; i++) {
    const double step[4] = {-2.0, -1.0, 1.0, 2.0}, h = 1e-3, v = q->theta[i];
    double f[4];
    for (int s = 0; s < 4; s++) {
      q->theta[i] = v + step[s] * h;
      f[s] = naive_terms(q, kl_j).objective;
    }
    q->theta[i] = v;
    double d = (f[0] - 8.0 * f[1] + 8.0 * f[2] - f[3]) / (12.0 * h);
    worst = fmax(worst, fabs(d - gradient[i]) / fmax(1.0, fabs(d)));
  }
  if (!(worst < 1e-6)) printf("gradient of %s: relative error %.2g\n", name, worst);
  CHECK(worst < 1e-6);
}

static void check_layer(problem *q, const double *gradient, const char *name,
                        const layer *l)
{
  char label[64];
  snprintf(label, sizeof label, "%s weights", name);
  check_tensor(q, gradient, label, l->offset, l->in * l->out);
  snprintf(label, sizeof label, "%s biases", name);
  check_tensor(q, gradient, label, l->offset + l->in * l->out, l->out);
}

static void check_gradient(problem *q)
{
  const vae_shape *s = &q->net.shape;
  double kl_j[MOST], *gradient = doubles(q->net.size);
  for (size_t i = 0; i < q->net.size; i++) gradient[i] = NAN;
  terms_of(q, kl_j, gradient);
  CHECK(all_finite(q->net.size, gradient));
  for (size_t i = 0; i < s->encoder; i++)
    check_layer(q, gradient, "encoder", &q->net.encoder[i]);
  check_layer(q, gradient, "mean head", &q->net.mean);
  if (s->shared_d) check_tensor(q, gradient, "log d", q->net.log_d_offset, s->k);
  else check_layer(q, gradient, "log d head", &q->net.log_d);
  for (size_t i = 0; i < s->decoder; i++)
    check_layer(q, gradient, "decoder", &q->net.decoder[i]);
  check_layer(q, gradient, "output", &q->net.output);
  if (s->noise == VAE_NOISE_NETWORK) check_layer(q, gradient, "log s2 head", &q->net.log_s2);
  else check_tensor(q, gradient, "log s2", q->net.log_s2_offset,
                    s->noise == VAE_NOISE_SHARED ? 1 : s->p);
  free(gradient);
}

/* Every noise, head, depth, condition, number of samples, with and without holes. */
static void terms_and_gradients_of_all_kinds(void)
{
  for (int kind = 0; kind < 96; kind++) {
    vae_shape s = {.p = 5, .k = 3, .c = kind / 6 % 2 ? 2 : 0, .encoder = (size_t) kind % 3,
                   .decoder = (size_t) (kind / 2) % 3, .encoder_width = {4, 6},
                   .decoder_width = {6, 4},
                   .activation = kind % 2 ? ACTIVATION_TANH : ACTIVATION_SOFTPLUS,
                   .shared_d = kind / 12 % 2, .noise = (enum vae_noise) (kind / 24 % 3)};
    problem q = new_problem(&s, 4, 1 + (size_t) kind % 2, kind / 48);
    q.set.beta = kind % 4 ? 1.0 : 0.3;
    check_terms(&q);
    check_gradient(&q);
    drop(&q);
  }
}

/* Half of the dimensions below their free bits: these have no gradient from the KL. */
static void free_bits_are_free(void)
{
  vae_shape s = {.p = 5, .k = 4, .encoder = 1, .decoder = 1, .encoder_width = {6},
                 .decoder_width = {6}, .activation = ACTIVATION_TANH};
  problem q = new_problem(&s, 6, 1, 0);
  double kl_j[MOST];
  terms_of(&q, kl_j, NULL);
  double low = kl_j[0], high = kl_j[0];
  for (int j = 1; j < 4; j++) {
    low = fmin(low, kl_j[j]);
    high = fmax(high, kl_j[j]);
  }
  q.set.free_bits = 0.5 * (low + high);
  check_terms(&q);
  check_gradient(&q);
  drop(&q);
}

/* A floor above log s2 binds: the share is reported, and its gradient is 0. */
static void the_floor_holds(void)
{
  for (int noise = 0; noise < 3; noise++) {
    vae_shape s = {.p = 4, .k = 2, .encoder = 1, .decoder = 1, .encoder_width = {5},
                   .decoder_width = {5}, .activation = ACTIVATION_TANH,
                   .noise = (enum vae_noise) noise};
    problem q = new_problem(&s, 5, 1, 0);
    double kl_j[MOST];
    q.set.floor = 0.05;
    check_terms(&q);
    check_gradient(&q);
    q.set.floor = 20.0;
    CHECK(terms_of(&q, kl_j, NULL).floored == 1.0);
    q.set.floor = -90.0;
    CHECK(terms_of(&q, kl_j, NULL).floored == 0.0);
    drop(&q);
  }
}

/* By hand: one feature, one dimension, no hidden layer, no noise drawn. */
static void a_tiny_net_by_hand(void)
{
  vae_shape s = {.p = 1, .k = 1, .shared_d = 1, .noise = VAE_NOISE_SHARED};
  problem q = new_problem(&s, 1, 1, 0);
  /* m = 0.5 x + 0.1, log d = log 0.25, g = 2 z - 0.3, log s2 = log 4 */
  double theta[] = {0.5, 0.1, log(0.25), 2.0, -0.3, log(4.0)}, kl;
  CHECK(q.net.size == 6);
  memcpy(q.theta, theta, sizeof theta);
  q.x[0] = 1.0;
  q.noise[0] = -1.0;                               /* z = 0.6 - 0.5 = 0.1, g = -0.1 */
  vae_terms t = terms_of(&q, &kl, NULL);
  CHECK_NEAR(t.kl, 0.5 * (0.25 + 0.36 - 1.0 - log(0.25)), 1e-14);
  CHECK_NEAR(t.reconstruction, -0.5 * (1.21 / 4.0 + log(2.0 * 3.14159265358979323846 * 4.0)),
             1e-14);
  drop(&q);
}

TEST_MAIN(terms_and_gradients_of_all_kinds, free_bits_are_free, the_floor_holds,
          a_tiny_net_by_hand)
