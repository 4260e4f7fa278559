/* The deep VAE in double: its terms against the reference of vae_reference.h and, for tiny
 * nets, numbers derived by hand; its gradient, tensor by tensor, against central
 * differences of the reference's objective, for every combination of heads, noises,
 * depths and options; what it says of observations against the reference too. */
#include "vae_reference.h"

/* The sanitisers slow the reference down: one in a few nets then, of all kinds. */
enum { EVERY = TEST_EVERY(5, 23) };

static const double tight = 1e-12, by_differences = 1e-6;

static size_t far_apart(size_t n, const double *x, const double *y)
{
  size_t bad = 0;
  for (size_t i = 0; i < n; i++) bad += !near(x[i], y[i], 1e-11);
  return bad;
}

/* ---- shapes ------------------------------------------------------------ */

static vae_chain random_chain(size_t count)
{
  vae_chain c = {.count = count};
  for (size_t i = 0; i < count; i++) {
    c.width[i] = 1 + test_below(4);
    c.activation[i] = (enum activation) test_below(ACTIVATIONS);
  }
  return c;
}

static vae_shape random_shape(size_t encoder, size_t decoder)
{
  return (vae_shape) {.p = 2 + test_below(3), .k = 1 + test_below(3),
                      .encoder = random_chain(encoder), .decoder = random_chain(decoder)};
}

/* The map, or where there is none a layer of nothing; returns its tensors. */
static int check_map(const layer *l, const tensor *t, int is, size_t in, size_t out)
{
  CHECK(l->out == (is ? out : 0) && !l->biased);
  if (is) CHECK(l->offset == t->offset && l->in == in && t->count == in * out);
  return is;
}

/* Parameters where vae.h says, one tensor after the other. */
static void check_layout(const vae_net *net)
{
  const vae_shape *s = &net->shape;
  tensor_list list = tensors_of(s);
  const tensor *t = list.all;
  size_t widest = s->p;
  for (size_t i = 0; i < s->encoder.count; i++, t += 2) {
    const layer *l = &net->encoder[i];
    CHECK(l->offset == t->offset && l->out == s->encoder.width[i]);
    CHECK(l->in * l->out == t->count && l->activation == s->encoder.activation[i]);
    widest = l->out > widest ? l->out : widest;
  }
  CHECK(net->mean.offset == t->offset && net->mean.out == s->k);
  t += 2;
  t += check_map(&net->v, t, s->linear && s->encoder.count, s->p + s->c, s->k);
  CHECK((s->shared_d ? net->log_d_offset : net->log_d.offset) == t->offset);
  t += s->shared_d ? 1 : 2;
  for (size_t i = 0; i < s->decoder.count; i++, t += 2) {
    const layer *l = &net->decoder[i];
    CHECK(l->offset == t->offset && l->out == s->decoder.width[i]);
    CHECK(l->in * l->out == t->count && l->activation == s->decoder.activation[i]);
    widest = l->out > widest ? l->out : widest;
  }
  CHECK(net->output.offset == t->offset && net->output.out == s->p);
  t += 2;
  t += check_map(&net->w, t, s->linear && s->decoder.count, s->k + s->c, s->p);
  size_t noise_at = s->noise == VAE_NOISE_NETWORK ? net->log_s2.offset : net->log_s2_offset;
  CHECK(noise_at == t->offset);
  CHECK(net->size == list.size && net->widest >= widest);
}

/* ---- gradients --------------------------------------------------------- */

/* Between the least and the largest mean KL of the dimensions, so that some are free; of a
 * single one, half. */
static double some_free_bits(problem *q)
{
  double kl_j[WIDEST], low = q->net.shape.k > 1 ? INFINITY : 0.0, high = 0.0;
  engine_gradient(q, plan_for(GEMM_PORTABLE, 1), kl_j, NULL);
  for (size_t j = 0; j < q->net.shape.k; j++) {
    low = fmin(low, kl_j[j]);
    high = fmax(high, kl_j[j]);
  }
  return 0.5 * (low + high);
}

/* Every depth from 0 to 3 on both sides, every noise and head; with and without condition,
 * missing cells and several samples. The others take turns: no, some or only free bits;
 * beta; log s2 all, in part or not above the floor; noise that is not trained; rows; linear
 * maps beside the hidden layers; floors and units of each feature. */
static void gradients_of_every_kind(void)
{
  static const double betas[] = {1.0, 0.3, 4.0, 0.0, 1.0};
  static const double floors[] = {-30.0, 0.1, -INFINITY};
  test_seed(1);
  for (int kind = 0; kind < 1536; kind += EVERY) {
    vae_shape s = random_shape((size_t) kind % 4, (size_t) kind / 4 % 4);
    s.noise = (enum vae_noise) (kind / 16 % 3);
    s.shared_d = kind / 48 % 2;
    s.c = kind / 96 % 2 ? 1 + test_below(2) : 0;
    s.fixed_noise = kind % 7 == 3;
    recipe how = {3, kind / 384 % 2 ? 3 : 1, kind / 192 % 2, kind % 2, betas[kind % 5], 0.0,
                  floors[kind / 16 % 9 / 3]};
    if (kind % 11 == 0) how.floor = 3.0;
    s.linear = (int) test_below(2);
    problem q = new_problem(&s, &how);
    if (test_below(2)) make_uneven(&q);
    if (kind % 5 == 2) make_pixels(&q, kind % 2 ? 1e-6 : 0.05, 256.0);
    check_layout(&q.net);
    if (kind % 3) q.set.free_bits = kind % 3 == 1 ? some_free_bits(&q) : 50.0;
    check_problem(&q, tight, by_differences);
    drop_problem(&q);
  }
}

/* Every activation in every layer of both chains, with every noise. */
static void gradients_of_every_activation(void)
{
  test_seed(2);
  for (int kind = 0; kind < 3 * ACTIVATIONS; kind += EVERY < 5 ? EVERY : 5) {
    vae_shape s = random_shape(2, 2);
    s.noise = (enum vae_noise) (kind % 3);
    for (int i = 0; i < 2; i++)
      s.encoder.activation[i] = s.decoder.activation[i] = (enum activation) (kind / 3);
    recipe how = plain_recipe;
    how.n = 6;
    problem q = new_problem(&s, &how);
    check_problem(&q, tight, by_differences);
    drop_problem(&q);
  }
  print_gradients();
}

/* A batch's gradient and terms are the means of those of its halves. */
static void a_batch_is_the_mean_of_its_parts(void)
{
  test_seed(3);
  for (int kind = 0; kind < 12; kind++) {
    vae_shape s = random_shape(2, 1);
    s.noise = (enum vae_noise) (kind % 3);
    s.c = kind % 2;
    recipe how = {6, 1, kind / 6, 0, 1.3, 0.0, -30.0};
    problem q = new_problem(&s, &how);
    double kl_j[3][WIDEST];
    vae_terms t[3];
    real *g[3];
    for (int part = 0; part < 3; part++) {       /* all; the first 2; the other 4 */
      problem some = q;
      g[part] = reals(q.net.size);
      some.batch.n = part == 0 ? 6 : part == 1 ? 2 : 4;
      some.batch.first = part == 2 ? 4 : 2;
      some.batch.noise = q.noise + (part == 2 ? 2 * s.k : 0);
      t[part] = engine_gradient(&some, plan_for(gemm_best(), 1), kl_j[part], g[part]);
    }
    CHECK_NEAR(t[0].objective, (2.0 * t[1].objective + 4.0 * t[2].objective) / 6.0, tight);
    CHECK_NEAR(t[0].reconstruction, (t[1].reconstruction + 2.0 * t[2].reconstruction) / 3.0,
               tight);
    for (size_t j = 0; j < s.k; j++)
      CHECK_NEAR(kl_j[0][j], (kl_j[1][j] + 2.0 * kl_j[2][j]) / 3.0, tight);
    for (size_t i = 0; i < q.net.size; i++)
      CHECK_NEAR(g[0][i], (g[1][i] + 2.0 * g[2][i]) / 3.0, 1e-11);
    for (int part = 0; part < 3; part++) free(g[part]);
    drop_problem(&q);
  }
}

/* ---- by hand ----------------------------------------------------------- */

/* One feature, one dimension, no hidden layer. With x = 1 and a noise of -1:
 *   m = 0.5 x + 0.1 = 0.6, d = 1/4, z = 0.6 - 0.5 = 0.1, g = 2 z - 0.3 = -0.1, s2 = 4
 *   reconstruction = -1/2 (1.1^2 / 4 + log 4 + log 2 pi)
 *   KL = 1/2 (1/4 + 0.36 - 1 + log 4)
 * and backwards, by
 *   g: 1.1 / 4 = 0.275;  z: 2 0.275 = 0.55;  m: 0.55 - 0.6 = -0.05
 *   log d: 0.55 sd e / 2 - (d - 1) / 2 = -0.1375 + 0.375 = 0.2375
 *   log s2: 1/2 (1.21 / 4 - 1) = -0.34875 */
static void a_linear_net_by_hand(void)
{
  vae_shape s = {.p = 1, .k = 1, .shared_d = 1, .noise = VAE_NOISE_SHARED};
  recipe how = plain_recipe;
  how.n = 1;
  problem q = new_problem(&s, &how);
  const double theta[] = {0.5, 0.1, log(0.25), 2.0, -0.3, log(4.0)};
  const double expected[] = {-0.05, -0.05, 0.2375, 0.0275, 0.275, -0.34875};
  double kl;
  real gradient[6];
  CHECK(q.net.size == 6);
  memcpy(q.theta, theta, sizeof theta);
  q.x[2] = 1.0;                                  /* the batch begins at row 2 */
  q.noise[0] = -1.0;
  vae_terms t = engine_gradient(&q, plan_for(gemm_best(), 1), &kl, gradient);
  CHECK_NEAR(t.reconstruction, -0.5 * (0.3025 + log(4.0) + log_two_pi), 1e-14);
  CHECK_NEAR(t.kl, 0.5 * (log(4.0) - 0.39), 1e-14);
  CHECK_NEAR(kl, t.kl, 1e-15);
  CHECK_NEAR(t.objective, t.reconstruction - t.kl, 1e-14);
  CHECK_NEAR(t.s2, 4.0, 1e-14);
  CHECK(t.floored == 0.0);
  for (int i = 0; i < 6; i++) CHECK_NEAR(gradient[i], expected[i], 1e-14);
  drop_problem(&q);
}

/* Two features, of which the second is missing, one dimension, a condition of 2, an encoder
 * with two rectified units, noise by the decoder, two samples, beta = 2.
 *   input (1, 3 filled in, 2); units 1 + 0.5 2 = 2 and 1 - 3 -> 0; m = 0.25 2 = 0.5, d = 1
 *   noise 1/2 and -1/2: z = 1 and 0
 *   g_1 = z + 2 / 4 - 1/2 = z, s2_1 = 2^z: errors 0 and 1, s2 = 2 and 1
 *   reconstruction = mean of -1/2 (log 2 + log 2 pi) and -1/2 (1 + log 2 pi)
 *   KL = 1/2 (1 + 1/4 - 1) = 1/8; s2 = 3/2
 * Backwards, samples with a share of 1/2:
 *   g_1: 0 and 1/2;  log s2_1: 1/4 (0 - 1) = -1/4 and 1/4 (1 - 1) = 0
 *   z: -1/4 log 2 and 1/2;  m: 1/2 - 1/4 log 2 - beta m = -1/2 - 1/4 log 2
 *   log d: (-1/4 log 2 1/2 - 1/2 1/2) / 2 = -1/16 log 2 - 1/8
 *   first unit: a quarter of m's; the second has none */
typedef struct {
  vae_net net;
  real x[2], fill[2], condition[1], noise[2], floor[2], square[2], theta[28];
} tiny;

/* Weights column by column, then biases: of encoder1 (2 x 3), mean (1 x 2), log d, output
 * (2 x 2) and log s2 (2 x 2), inputs z and condition. */
static tiny tiny_net(void)
{
  vae_shape s = {.p = 2, .k = 1, .c = 1, .shared_d = 1, .noise = VAE_NOISE_NETWORK,
                 .encoder = {1, {2}, {ACTIVATION_RELU}}};
  tiny t = {.net = vae_lay_out(&s), .x = {1, (real) NAN}, .fill = {9, 3}, .condition = {2},
            .noise = {0.5, -0.5}, .floor = {-30, -30}, .square = {1, 1}};
  const double theta[] = {1.0, 0.0, 0.0, -1.0, 0.5, 0.0, 0.0, 1.0,   0.25, 7.0, 0.0,   0.0,
                          1.0, 5.0, 0.25, -2.0, -0.5, 1.0,   log(2.0), 0.3, 0.0, 0.7,
                          0.0, -4.0};
  CHECK(t.net.size == sizeof theta / sizeof *theta);
  memcpy(t.theta, theta, sizeof theta);
  return t;
}

static void a_deep_net_by_hand(void)
{
  tiny n = tiny_net();
  const double log_2 = log(2.0), m = -0.5 - 0.25 * log_2, u = 0.25 * m;
  const double expected[] = {u, 0.0, 3.0 * u, 0.0, 2.0 * u, 0.0, u, 0.0,   2.0 * m, 0.0, m,
                             -0.0625 * log_2 - 0.125,
                             0.0, 0.0, 1.0, 0.0, 0.5, 0.0,   -0.25, 0.0, -0.5, 0.0,
                             -0.25, 0.0};
  double kl;
  real gradient[24], *work = reals(vae_work(&n.net, 1, 2));
  double *sums = doubles(vae_sums(1, 2));
  vae_data data = {.n = 1, .x = n.x, .fill = n.fill, .condition = n.condition};
  vae_batch batch = {.data = &data, .n = 1, .noise = n.noise};
  vae_settings set = {.beta = 2.0, .floor = n.floor, .square = n.square, .samples = 2,
                      .plan = plan_for(gemm_best(), 1)};
  vae_terms t = vae_gradient(&n.net, n.theta, &batch, &set, &kl, gradient, NULL, work, sums);
  CHECK_NEAR(t.reconstruction, -0.25 * log_2 - 0.25 - 0.5 * log_two_pi, 1e-14);
  CHECK_NEAR(t.kl, 0.125, 1e-15);
  CHECK_NEAR(t.objective, t.reconstruction - 0.25, 1e-14);
  CHECK_NEAR(t.s2, 1.5, 1e-14);
  for (int i = 0; i < 24; i++) CHECK_NEAR(gradient[i], expected[i], 1e-14);
  free(work);
  free(sums);
}

/* The same net, of its observation: the log weights of the samples are
 *   -1/2 (log 2 + log 2 pi) + 1/2 (1/4 - 1)  and  -1/2 (1 + log 2 pi) + 1/2 (1/4 - 0),
 * both -1/2 log 2 pi - 3/8 but for a factor of 1 / sqrt 2 to the first. */
static void an_observation_by_hand(void)
{
  tiny n = tiny_net();
  double kl_j, reconstruction, kl, weighted, error[2] = {10.0, 20.0}, mean, d, g[2], s2[2];
  double jacobian = NAN;
  double z = 1.0, *sums = doubles(vae_sums(1, 2));
  real *work = reals(vae_work(&n.net, 1, 2));
  vae_data data = {.n = 1, .x = n.x, .fill = n.fill, .condition = n.condition};
  vae_batch batch = {.data = &data, .n = 1, .noise = n.noise};
  vae_settings set = {.beta = 2.0, .floor = n.floor, .square = n.square, .samples = 2,
                      .plan = plan_for(gemm_best(), 1)};
  vae_observed to = {&reconstruction, &kl, &weighted, error, &jacobian};
  vae_observe(&n.net, n.theta, &batch, &set, &to, &kl_j, work, sums);
  CHECK_NEAR(reconstruction, -0.25 * log(2.0) - 0.25 - 0.5 * log_two_pi, 1e-14);
  CHECK_NEAR(kl, 0.125, 1e-15);
  CHECK_NEAR(weighted, -0.5 * log_two_pi - 0.375 + log(0.5 * (1.0 + sqrt(0.5))), 1e-14);
  CHECK_NEAR(error[0], 10.5, 1e-14);
  CHECK(error[1] == 20.0 && jacobian == 0.0);
  vae_encode(&n.net, n.theta, &batch, &set, &mean, &d, work, sums);
  CHECK_NEAR(mean, 0.5, 1e-15);
  CHECK_NEAR(d, 1.0, 1e-15);
  set.samples = 1;                     /* z = 1, condition 2: g = 1 and 5 - 4 + 1 = 2 */
  n.floor[0] = -1.0;                   /* log s2 = log 2 and 0.3 + 1.4 - 4 < 0 */
  n.floor[1] = 0.0;
  vae_decode(&n.net, n.theta, 1, &z, n.condition, &set, g, s2, work, sums);
  CHECK_NEAR(g[0], 1.0, 1e-15);
  CHECK_NEAR(g[1], 2.0, 1e-15);
  CHECK_NEAR(s2[0], 2.0, 1e-15);
  CHECK(s2[1] == 1.0);
  free(work);
  free(sums);
}

/* One observation and two dimensions with m = (1, 0) and d = 1: KL (1/2, 0). With 0.1 free
 * bits the objective counts 1/2 + 0.1; the second dimension's m has no gradient of KL. */
static void free_bits_by_hand(void)
{
  vae_shape s = {.p = 1, .k = 2, .shared_d = 1, .noise = VAE_NOISE_SHARED,
                 .fixed_noise = 1};
  problem q = new_problem(&s, &(recipe) {1, 1, 0, 0, 3.0, 0.1, -30.0});
  const double theta[] = {0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  double kl_j[2];
  real gradient[10];
  CHECK(q.net.size == 10);
  memcpy(q.theta, theta, sizeof theta);
  vae_terms t = engine_gradient(&q, plan_for(gemm_best(), 1), kl_j, gradient);
  CHECK_NEAR(kl_j[0], 0.5, 1e-15);
  CHECK(kl_j[1] == 0.0);
  CHECK_NEAR(t.kl, 0.5, 1e-15);
  CHECK_NEAR(t.objective - t.reconstruction, -3.0 * 0.6, 1e-14);
  CHECK_NEAR(gradient[2], -3.0, 1e-14);
  CHECK(gradient[3] == 0.0 && gradient[9] == 0.0);
  drop_problem(&q);
}

static size_t biases_of(const layer *l)
{
  return l->offset + l->in * l->out;
}

/* Where a net has what a linear one has: the maps are its weights. */
typedef struct { size_t net, linear, count; } pair;
enum { PAIRS = 6 };

static void pair_up(const vae_net *n, const vae_net *l, pair *to)
{
  const vae_shape *s = &n->shape;
  int own = s->noise == VAE_NOISE_NETWORK;
  const pair all[PAIRS] = {
    {n->v.offset, l->mean.offset, layer_size(&n->v)},
    {biases_of(&n->mean), biases_of(&l->mean), s->k},
    {s->shared_d ? n->log_d_offset : biases_of(&n->log_d),
     s->shared_d ? l->log_d_offset : biases_of(&l->log_d), s->k},
    {n->w.offset, l->output.offset, layer_size(&n->w)},
    {biases_of(&n->output), biases_of(&l->output), s->p},
    {own ? biases_of(&n->log_s2) : n->log_s2_offset,
     own ? biases_of(&l->log_s2) : l->log_s2_offset, own ? s->p : vae_noises(s)}};
  memcpy(to, all, sizeof all);
}

static void no_weights(const layer *l, real *theta)
{
  for (size_t i = l->offset; i < biases_of(l); i++) theta[i] = 0;
}

/* A net whose heads have weights of 0 beside its maps is a linear net, and so are its
 * gradients by the maps, the biases, d and s2. */
static void maps_alone_are_a_linear_net(void)
{
  test_seed(7);
  for (int kind = 0; kind < 24; kind++) {
    vae_shape s = {.p = 4, .k = 3, .c = kind / 12 ? 2 : 0, .linear = 1,
                   .shared_d = kind / 6 % 2, .noise = (enum vae_noise) (kind % 3),
                   .encoder = {1, {5}, {ACTIVATION_TANH}},
                   .decoder = {2, {3, 6}, {ACTIVATION_RELU, ACTIVATION_GELU}}};
    recipe how = {5, 2, kind / 3 % 2, 0, 0.7, 0.0, -0.5};
    problem q = new_problem(&s, &how), b = q;
    pair same[PAIRS];
    s.encoder.count = s.decoder.count = 0;
    b.net = vae_lay_out(&s);
    b.theta = reals(b.net.size);
    pair_up(&q.net, &b.net, same);
    no_weights(&q.net.mean, q.theta);
    no_weights(&q.net.output, q.theta);
    no_weights(&q.net.log_d, q.theta);           /* layers of nothing where there is none */
    no_weights(&q.net.log_s2, q.theta);
    for (size_t i = 0; i < b.net.size; i++) b.theta[i] = 0;
    for (int i = 0; i < PAIRS; i++)
      memcpy(b.theta + same[i].linear, q.theta + same[i].net, same[i].count * sizeof(real));
    double kl_j[2][3];
    real *g = reals(q.net.size), *h = reals(b.net.size);
    vae_terms t = engine_gradient(&q, plan_for(gemm_best(), 1), kl_j[0], g);
    vae_terms u = engine_gradient(&b, plan_for(gemm_best(), 1), kl_j[1], h);
    CHECK_NEAR(t.objective, u.objective, tight);
    CHECK_NEAR(t.s2, u.s2, tight);
    for (int i = 0; i < PAIRS; i++)
      CHECK(far_apart(same[i].count, g + same[i].net, h + same[i].linear) == 0);
    free(g);
    free(h);
    free(b.theta);
    drop_problem(&q);
  }
}

/* ---- misfit ------------------------------------------------------------ */

/* Two features and 3 observations, decoded as g = (1, 0) whatever z is (no weights), in two
 * samples each: squared errors of the first 4, 1 and missing; of the second 0, 9 and 3^2 / 4.
 *   one s2 = 2: (5 + 11.25) / 5 / 2;  of each feature, s2 = 4 and 0.5: 2.5 / 4, 3.75 / 0.5
 * Where nothing of the first is observed: 11.25 / 3 / 2, 1 and 3.75 / 0.5, and where nothing
 * at all is, 1. */
static void misfits_by_hand(void)
{
  static const double expected[3][2][2] = {
    {{1.625, NAN}, {0.625, 7.5}}, {{1.875, NAN}, {1.0, 7.5}}, {{1.0, NAN}, {1.0, 1.0}}};
  for (int noise = 0; noise < 2; noise++)
    for (int lost = 0; lost < 3; lost++)
      for (int fixed = 0; fixed < 2; fixed++) {
        vae_shape s = {.p = 2, .k = 1, .shared_d = 1, .fixed_noise = fixed,
                       .noise = noise ? VAE_NOISE_FEATURE : VAE_NOISE_SHARED};
        problem q = new_problem(&s, &(recipe) {3, 2, 1, 0, 1.0, 0.0, -30.0});
        const real cells[] = {3, 0, 2, -3, (real) NAN, 1.5};
        double kl_j, *misfit = doubles(vae_noises(&s));
        real *gradient = reals(q.net.size), *log_s2 = q.theta + q.net.log_s2_offset;
        memcpy(q.x + 2 * 2, cells, sizeof cells);        /* the batch begins at row 2 */
        for (size_t i = 0; i < 3; i++)
          for (size_t f = 0; f < 2; f++)
            if (lost > (int) f) q.x[4 + 2 * i + f] = (real) NAN;
        for (size_t i = 0; i < 2; i++) q.theta[q.net.output.offset + i] = 0;
        q.theta[q.net.output.offset + 2] = 1;
        q.theta[q.net.output.offset + 3] = 0;
        log_s2[0] = log(noise ? 4.0 : 2.0);
        if (noise) log_s2[1] = log(0.5);
        engine_terms(&q, plan_for(gemm_best(), 1), &kl_j, gradient, misfit);
        for (int f = 0; f <= noise; f++) {
          CHECK_NEAR(misfit[f], expected[lost][noise][f], 1e-14);
          if (fixed) CHECK(gradient[q.net.log_s2_offset + (size_t) f] == 0);
        }
        free(misfit);
        free(gradient);
        drop_problem(&q);
      }
}

/* With s2 times its misfit the misfit is 1 and the ELBO's derivative by log s2 is 0, where
 * the feature has any observed cell. */
static void a_misfit_of_one_is_the_optimum(void)
{
  test_seed(8);
  for (int kind = 0; kind < 24; kind++) {
    vae_shape s = random_shape(1 + (size_t) kind % 2, (size_t) kind / 2 % 3);
    s.noise = kind / 6 % 2 ? VAE_NOISE_FEATURE : VAE_NOISE_SHARED;
    s.linear = kind % 2;
    problem q = new_problem(&s, &(recipe) {6, 1 + (size_t) kind % 3, kind / 12, 0, 0.4, 0.0,
                                           -30.0});
    double kl_j[WIDEST], *misfit = doubles(vae_noises(&s));
    real *gradient = reals(q.net.size), *log_s2 = q.theta + q.net.log_s2_offset;
    vae_terms before = engine_terms(&q, plan_for(gemm_best(), 1), kl_j, gradient, misfit);
    for (size_t f = 0; f < vae_noises(&s); f++) log_s2[f] += log(misfit[f]);
    vae_terms after = engine_terms(&q, plan_for(gemm_best(), 1), kl_j, gradient, misfit);
    CHECK(after.objective > before.objective);
    for (size_t f = 0; f < vae_noises(&s); f++) {
      CHECK_NEAR(misfit[f], 1.0, 1e-12);
      CHECK_NEAR(gradient[q.net.log_s2_offset + f], 0.0, 1e-12);
    }
    free(misfit);
    free(gradient);
    drop_problem(&q);
  }
}

/* ---- what the model says ----------------------------------------------- */

typedef struct {
  double *m, *d, *g, *log_s2, *reconstruction, *kl, *weighted, *error, *jacobian;
} answers;

static answers new_answers(const vae_shape *s, size_t n, size_t samples)
{
  answers a = {doubles(s->k * n), doubles(s->k * n), doubles(s->p * n * samples),
               doubles(s->p * n * samples), doubles(n), doubles(n), doubles(n),
               doubles(s->p), doubles(n)};
  for (size_t f = 0; f < s->p; f++) a.error[f] = (double) f;
  return a;
}

static void drop_answers(answers *a)
{
  double *const all[] = {a->m, a->d, a->g, a->log_s2, a->reconstruction, a->kl, a->weighted,
                         a->error, a->jacobian};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void check_observed(problem *q, int kernel, const reference_result *to,
                           const answers *r)
{
  const vae_shape *s = &q->net.shape;
  size_t n = q->batch.n, samples = q->set.samples, bad = 0;
  answers a = new_answers(s, n, samples);
  double kl_j[WIDEST], *sums = doubles(vae_sums(n, samples));
  real *work = reals(vae_work(&q->net, n, samples));
  q->set.plan = plan_for((enum gemm_kernel) kernel, 2);
  q->batch.data = &q->data;
  vae_observed by = {a.reconstruction, a.kl, a.weighted, a.error, a.jacobian};
  vae_terms t = vae_observe(&q->net, q->theta, &q->batch, &q->set, &by, kl_j, work, sums);
  bad += !near(t.objective, to->terms.objective, tight) + !near(t.s2, to->terms.s2, tight) +
    !near(t.reconstruction, to->terms.reconstruction, tight) +
      !near(t.kl, to->terms.kl, tight) + !near(t.floored, to->terms.floored, tight);
  bad += far_apart(s->k, kl_j, to->kl_j);
  bad += far_apart(n, a.reconstruction, r->reconstruction);
  bad += far_apart(n, a.kl, r->kl) + far_apart(n, a.weighted, r->weighted);
  bad += far_apart(s->p, a.error, r->error) + far_apart(n, a.jacobian, r->jacobian);
  bad += !near(t.jacobian, to->terms.jacobian, tight);
  by.error = NULL;
  vae_terms again = vae_observe(&q->net, q->theta, &q->batch, &q->set, &by, kl_j, work,
                                sums);
  bad += again.objective != t.objective || far_apart(n, a.weighted, r->weighted);
  vae_encode(&q->net, q->theta, &q->batch, &q->set, a.m, a.d, work, sums);
  bad += far_apart(s->k * n, a.m, r->m) + far_apart(s->k * n, a.d, r->d) + spilled();
  if (bad) describe(q);
  CHECK(bad == 0);
  drop_answers(&a);
  free(sums);
  free(work);
}

/* z of one row each, with the batch's conditions. */
static void check_decoded(problem *q, int kernel)
{
  const vae_shape *s = &q->net.shape;
  size_t n = q->all, bad = 0;
  double *z = normals(s->k * n, 1.0), *g = doubles(s->p * n), *s2 = doubles(s->p * n);
  double *again = doubles(s->p * n), *sums = doubles(vae_sums(n, 1));
  real *work = reals(vae_work(&q->net, n, 1));
  q->set.samples = 1;
  q->set.plan = plan_for((enum gemm_kernel) kernel, 2);
  vae_decode(&q->net, q->theta, n, z, q->condition, &q->set, g, s2, work, sums);
  vae_decode(&q->net, q->theta, n, z, q->condition, &q->set, again, NULL, work, sums);
  bad += !same_doubles(s->p * n, g, again) + spilled();
  bad += wrong_decoded(q, z, g, s2, 1e-11);
  if (bad) describe(q);
  CHECK(bad == 0);
  free(z);
  free(g);
  free(s2);
  free(again);
  free(sums);
  free(work);
}

static void observations_are_described(void)
{
  test_seed(4);
  for (int kind = 0; kind < 192; kind++) {
    vae_shape s = random_shape((size_t) kind % 3, (size_t) (kind / 3) % 3);
    s.noise = (enum vae_noise) (kind / 9 % 3);
    s.shared_d = kind % 2;
    s.c = kind / 4 % 2 ? 2 : 0;
    recipe how = {1 + test_below(9), 1 + test_below(5), kind / 2 % 2, kind / 8 % 2, 0.7,
                  0.2, kind % 5 ? -30.0 : 0.1};
    s.linear = kind / 5 % 2;
    problem q = new_problem(&s, &how);
    if (kind % 7 > 4) make_pixels(&q, 1e-6, kind % 3 ? 256.0 : 2.0);
    if (kind % 4 == 1) make_uneven(&q);
    answers a = new_answers(&s, how.n, how.samples);
    reference r = reference_of(&q);
    reference_result to = {.m = a.m, .d = a.d, .reconstruction = a.reconstruction,
                           .kl = a.kl, .weighted = a.weighted, .error = a.error,
                           .jacobian = a.jacobian};
    run_reference(&r, &to);
    int kernel = kind % ((int) gemm_best() + 1);
    check_observed(&q, kernel, &to, &a);
    check_decoded(&q, kernel);
    drop_answers(&a);
    drop_reference(&r);
    drop_problem(&q);
  }
}

/* Where the posterior is exact, q(z | x) = p(z | x), every sample's weight is p(x): with
 * g = w z + b and prior N(0, 1), d = s2 / (w^2 + s2), m = w (x - b) / (w^2 + s2). Weights
 * of very different sizes do no harm. */
static void exact_posteriors_give_the_likelihood(void)
{
  for (double w = 0.1; w < 50.0; w *= 3.0)
    for (double s2 = 1e-4; s2 < 1e5; s2 *= 30.0) {
      vae_shape s = {.p = 1, .k = 1, .shared_d = 1, .noise = VAE_NOISE_SHARED};
      problem q = new_problem(&s, &(recipe) {5, 4, 0, 0, 1.0, 0.0, -30.0});
      double b = 0.3, v = w * w + s2, kl_j, reconstruction[5], kl[5], weighted[5], jacobian[5];
      double theta[] = {w / v, -b * w / v, log(s2 / v), w, b, log(s2)};
      double *sums = doubles(vae_sums(5, 4));
      real *work = reals(vae_work(&q.net, 5, 4));
      memcpy(q.theta, theta, sizeof theta);
      q.batch.data = &q.data;
      vae_observed to = {reconstruction, kl, weighted, NULL, jacobian};
      q.set.plan = plan_for(gemm_best(), 1);
      vae_observe(&q.net, q.theta, &q.batch, &q.set, &to, &kl_j, work, sums);
      for (int i = 0; i < 5; i++) {
        double x = q.x[2 + i] - b;
        CHECK_NEAR(weighted[i], -0.5 * (x * x / v + log(v) + log_two_pi), 1e-7);
      }
      free(sums);
      free(work);
      drop_problem(&q);
    }
}

/* A cell that is missing has no say but through fill; one with no observed cell at all
 * has a reconstruction of 0. */
static void missing_cells_do_not_count(void)
{
  vae_shape s = {.p = 3, .k = 2, .noise = VAE_NOISE_FEATURE,
                 .encoder = {1, {4}, {ACTIVATION_TANH}}};
  problem q = new_problem(&s, &(recipe) {2, 1, 1, 0, 1.0, 0.0, -30.0});
  double kl_j[2], reconstruction[2], kl[2], weighted[2], jacobian[2];
  double *sums = doubles(vae_sums(2, 1));
  real *work = reals(vae_work(&q.net, 2, 1)), *gradient = reals(q.net.size);
  for (size_t i = 0; i < 3 * q.all; i++) q.x[i] = NAN;
  vae_observed to = {reconstruction, kl, weighted, NULL, jacobian};
  q.batch.data = &q.data;
  q.set.plan = plan_for(gemm_best(), 1);
  vae_terms t = vae_observe(&q.net, q.theta, &q.batch, &q.set, &to, kl_j, work, sums);
  CHECK(reconstruction[0] == 0.0 && reconstruction[1] == 0.0 && t.s2 == 0.0);
  CHECK(kl[0] == kl[1] && t.floored == 0.0);
  CHECK_NEAR(t.objective, -kl[0], 1e-14);
  engine_gradient(&q, plan_for(gemm_best(), 1), kl_j, gradient);
  for (size_t i = q.net.output.offset; i < q.net.size; i++) CHECK(gradient[i] == 0.0);
  free(sums);
  free(work);
  free(gradient);
  drop_problem(&q);
}

/* ---- decay ------------------------------------------------------------- */

static void weights_decay_and_nothing_else(void)
{
  test_seed(5);
  for (int kind = 0; kind < 48; kind++) {
    vae_shape s = random_shape((size_t) kind % 4, (size_t) (kind / 2) % 4);
    s.noise = (enum vae_noise) (kind % 3);
    s.shared_d = kind / 6 % 2;
    s.fixed_noise = kind / 12 % 2;
    s.c = kind / 24 * 2;
    s.linear = kind / 3 % 2;
    vae_net net = vae_lay_out(&s);
    tensor_list list = tensors_of(&s);
    real *theta = normal_reals(net.size, 1.0), *kept = copy_reals(net.size, theta);
    vae_decay(&net, 0.75, theta);
    for (size_t i = 0; i < list.count; i++) {
      const tensor *t = &list.all[i];
      double factor = t->weights && !(t->noise && s.fixed_noise) ? 0.75 : 1.0;
      size_t bad = 0;
      for (size_t j = t->offset; j < t->offset + t->count; j++)
        bad += theta[j] != factor * kept[j];
      if (bad) printf("decay of %s\n", t->name);
      CHECK(bad == 0);
    }
    free(theta);
    free(kept);
  }
}

/* ---- threads and kernels ----------------------------------------------- */

/* Large enough for everything to be shared. */
static void threads_change_no_bit(void)
{
  test_seed(6);
  for (int noise = 0; noise < 3; noise++) {
    vae_shape s = {.p = 70, .k = 12, .c = noise == 1 ? 3 : 0, .linear = noise != 2,
                   .noise = (enum vae_noise) noise, .shared_d = noise == 1,
                   .encoder = {2, {75, 40}, {ACTIVATION_GELU, ACTIVATION_TANH}},
                   .decoder = {2, {33, 70}, {ACTIVATION_SOFTPLUS, ACTIVATION_RELU}}};
    problem q = new_problem(&s, &(recipe) {310, 1 + (size_t) noise, noise < 2, 1, 1.0,
                                           0.0, -1.0});
    real *first = NULL;
    for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++) {
      real *one = reals(q.net.size);
      double kl_j[2][12];
      vae_terms t = engine_gradient(&q, plan_for((enum gemm_kernel) kernel, 1), kl_j[0],
                                    one);
      for (int threads = 2; threads <= 3; threads++) {
        real *more = reals(q.net.size);
        gemm_plan plan = plan_for((enum gemm_kernel) kernel, threads);
        vae_terms u = engine_gradient(&q, plan, kl_j[1], more);
        CHECK(memcmp(&t, &u, sizeof t) == 0);
        CHECK(same_doubles(12, kl_j[0], kl_j[1]));
        CHECK(same_reals(q.net.size, one, more));
        free(more);
      }
      CHECK(finite_reals(q.net.size, one));
      if (!first) first = one;
      else {
        CHECK_NEAR(gap(q.net.size, one, first), 0.0, 1e-11);
        free(one);
      }
    }
    free(first);
    drop_problem(&q);
  }
}

TEST_MAIN(gradients_of_every_kind, gradients_of_every_activation,
          a_batch_is_the_mean_of_its_parts, a_linear_net_by_hand, a_deep_net_by_hand,
          an_observation_by_hand, free_bits_by_hand, maps_alone_are_a_linear_net,
          misfits_by_hand, a_misfit_of_one_is_the_optimum, observations_are_described,
          exact_posteriors_give_the_likelihood, missing_cells_do_not_count,
          weights_decay_and_nothing_else, threads_change_no_bit)
