/* Nets, data and settings of all kinds, sensible to absurd, for every entry point of the
 * training engine, in float as the package has it: work space, results and arguments are
 * arrays of exactly the promised size. An epoch ends with a finite objective or says that
 * it is not; sensible problems have finite answers, near the reference where that is
 * cheap; two threads give the bits of one. */
#include "as_float.h"

#include "random_data.h"
#include "status.h"
#include "vae_reference.h"

/* How far from ordinary numbers each part of a problem is, 0 to 3 as in draw(). */
typedef struct { int theta, x, settings; } wildness;

static real draw_real(int wild)
{
  double x = draw(wild);
  if (wild > 0 && test_below(8) == 0) x *= 1e30;
  return (real) (fabs(x) <= 3e38 || !isfinite(x) ? x : x > 0.0 ? 3e38 : -3e38);
}

static vae_chain draw_chain(void)
{
  vae_chain c = {.count = test_below(5)};
  for (size_t i = 0; i < c.count; i++) {
    c.width[i] = 1 + test_below(9);
    c.activation[i] = (enum activation) test_below(ACTIVATIONS);
  }
  return c;
}

static vae_shape draw_shape(void)
{
  vae_shape s = {.p = 1 + test_below(9), .k = 1 + test_below(9),
                 .c = test_below(2) ? test_below(4) : 0, .encoder = draw_chain(),
                 .decoder = draw_chain(), .shared_d = (int) test_below(2),
                 .noise = (enum vae_noise) test_below(3),
                 .fixed_noise = test_below(4) == 0, .linear = (int) test_below(2)};
  if (test_below(50) == 0) s.p = 300 + test_below(300);      /* several strips, or shared */
  if (test_below(50) == 0) s.k = 250 + test_below(50);
  return s;
}

/* As R lets them through, and beyond; floors are in draw_problem(). */
static vae_training draw_training(int wild)
{
  static const real betas[] = {0, 1, (real) 0.5, (real) 1e30};
  static const real bits[] = {0, (real) 0.3, 100};
  static const double clips[] = {INFINITY, 1.0, 1e-30, 1e30};
  static const double rates[] = {1e-3, 0.0, 0.1, 1e30}, warms[] = {0.0, 4.5, 100.0, 1e30};
  static const double follows[] = {0.0, 0.05, 0.5, 1.0};
  static const double noise_rates[] = {1.0, 0.1, 1e-30, 1e30};
  size_t choice = wild ? 4 : 2;
  vae_training set = {
    .decay = test_below(2) ? 0.0 : test_uniform(), .follow = follows[test_below(choice)],
    .noise_rate = noise_rates[test_below(choice)], .batch = 1 + test_below(12),
    .key = {{(uint32_t) test_bits(), (uint32_t) test_bits()}}};
  set.model = (vae_settings) {
    .beta = betas[test_below(choice)], .free_bits = bits[test_below(3)],
    .samples = 1 + test_below(3),
    .plan = {(enum gemm_kernel) test_below((size_t) gemm_best() + 1), 1, NULL}};
  set.climb = (optimiser) {
    .kind = (enum optimiser_kind) test_below(2), .rate = rates[test_below(choice)],
    .momentum = test_below(2) ? 0.9 : 0.0, .clip = clips[test_below(choice)],
    .warm = warms[test_below(4)]};
  return set;
}

/* Pixels in place of the data, and with wild ones what is no pixel, too. */
static void spread_pixels(problem *q, int wild)
{
  static const double alphas[] = {1e-6, 0.05, 0.4999, 1e-300}, levels[] = {256.0, 2.0, 0x1p24};
  size_t cells = q->net.shape.p * q->all;
  make_pixels(q, alphas[test_below(4)], levels[test_below(3)]);
  for (size_t i = 0; wild && i < cells; i++)
    if (test_below(4) == 0) q->x[i] = draw_real(wild);
  q->batch.key = (rng_key) {{(uint32_t) test_bits(), (uint32_t) test_bits()}};
  q->batch.epoch = (uint32_t) test_bits();
}

/* The floors are the problem's. */
static problem draw_problem(const vae_shape *s, vae_training *set, wildness wild)
{
  static const double floors[] = {-30.0, -INFINITY, 0.1, 80.0};
  double floor = floors[test_below(wild.settings ? 4 : 2)];
  size_t n = 1 + test_below(20);
  problem q = new_problem(s, &(recipe) {n, set->model.samples, (int) test_below(2),
                                       (int) test_below(2), 1.0, 0.0, floor});
  if (test_below(2)) make_uneven(&q);
  set->model.floor = q.floor;
  set->model.square = q.square;
  q.set = set->model;
  real tame = (real) fmin(0.5, 2.0 / sqrt((double) (s->p > s->k ? s->p : s->k)));
  for (size_t i = 0; i < q.net.size; i++)
    q.theta[i] = wild.theta == 0 ? q.theta[i] * tame : draw_real(wild.theta);
  for (size_t i = 0; wild.x && i < s->p * q.all; i++)
    if (!isnan((double) q.x[i])) q.x[i] = draw_real(wild.x);
  if (test_below(3) == 0) spread_pixels(&q, wild.x);
  for (size_t i = 0; wild.x && i < s->c * q.all; i++) q.condition[i] = draw_real(wild.x);
  return q;
}

/* ---- entry points ------------------------------------------------------ */

/* With space of exactly its size that lasts as long as the program. */
static gemm_plan exact_plan(int kernel, int threads)
{
  static void *space[4];
  if (!space[threads]) space[threads] = malloc(gemm_space(threads));
  if (!space[threads]) abort();
  return (gemm_plan) {(enum gemm_kernel) kernel, threads, space[threads]};
}

typedef struct { climber at; vae_progress progress; int status; } trained;

static trained run_epoch(const problem *q, const vae_training *set, int threads,
                         uint32_t epoch)
{
  trained t = {.at = start_at(q->net.size, q->theta)};
  gemm_plan plan = exact_plan((int) set->model.plan.kernel, threads);
  t.status = engine_epoch(q, set, plan, epoch, &t.at, &t.progress);
  return t;
}

/* Where each s2 follows its optimum none is below the floor, or a NaN. */
static int above_floors(const problem *q, const vae_training *set, const climber *at)
{
  int ok = 1;
  for (size_t f = 0; set->follow > 0.0 && f < vae_noises(&q->net.shape); f++)
    ok = ok && at->theta[q->net.log_s2_offset + f] >= q->floor[f];
  return ok;
}

/* Whether the epoch is as its contract says. */
static int check_epoch(const problem *q, const vae_training *set, int tame)
{
  uint32_t epoch = (uint32_t) test_bits();
  size_t n = q->data.n, steps = (n + set->batch - 1) / set->batch;
  trained one = run_epoch(q, set, 1, epoch), two = run_epoch(q, set, 2, epoch);
  const vae_progress *p = &one.progress;
  int ok = one.status == two.status && p->step == two.progress.step &&
    one.at.steps == (double) p->step;
  if (one.status == ELBO_OK) {
    ok = ok && p->step == steps && isfinite(p->terms.objective) &&
      isfinite(p->gradient_norm);
    ok = ok && p->terms.floored >= 0.0 && p->terms.floored <= 1.0 + 1e-12;
    ok = ok && same_climber(&one.at, &two.at) && above_floors(q, set, &one.at);
  } else ok = ok && one.status == ELBO_NOT_FINITE && p->step >= 1 && p->step <= steps;
  if (tame) ok = ok && one.status == ELBO_OK && finite_reals(q->net.size, one.at.theta);
  drop_climber(&one.at);
  drop_climber(&two.at);
  return ok;
}

/* Any NaN is like any other. */
static int same_terms(const vae_terms *a, const vae_terms *b)
{
  const double x[] = {a->reconstruction, a->kl, a->objective, a->s2, a->floored, a->jacobian};
  const double y[] = {b->reconstruction, b->kl, b->objective, b->s2, b->floored, b->jacobian};
  int ok = 1;
  for (int i = 0; i < 6; i++) ok = ok && (x[i] == y[i] || (isnan(x[i]) && isnan(y[i])));
  return ok;
}

static int check_gradient(problem *q, int kernel, int tame)
{
  const vae_shape *s = &q->net.shape;
  double *kl_j = doubles(s->k), *misfit = doubles(vae_noises(s));
  real *one = reals(q->net.size), *two = reals(q->net.size);
  vae_terms t = engine_terms(q, exact_plan(kernel, 1), kl_j, one, misfit);
  vae_terms u = engine_gradient(q, exact_plan(kernel, 3), kl_j, two), bare;
  int ok = same_terms(&t, &u) && same_reals(q->net.size, one, two);
  bare = engine_gradient(q, exact_plan(kernel, 2), kl_j, NULL);
  ok = ok && same_terms(&t, &bare);
  if (tame) {
    ok = ok && finite_reals(q->net.size, one) && all_finite(s->k, kl_j) &&
      all_finite(vae_noises(s), misfit);
    if (s->p + s->c < WIDEST && s->k + s->c < WIDEST) {
      reference r = reference_of(q);
      reference_result to = {.sides = 0};
      run_reference(&r, &to);
      ok = ok && near(t.objective, to.terms.objective, 1e-3) &&
        near(t.kl, to.terms.kl, 1e-3) && near(t.s2, to.terms.s2, 1e-3) &&
        near(t.jacobian, to.terms.jacobian, 1e-5);
      for (size_t f = 0; f < vae_noises(s); f++)
        ok = ok && (to.low[f] || near(misfit[f], to.misfit[f], 1e-3));
      drop_reference(&r);
    }
  }
  free(kl_j);
  free(misfit);
  free(one);
  free(two);
  return ok;
}

/* Of a batch; all of the data; and of draws of z. */
static int check_answers(problem *q, const vae_training *set, int tame)
{
  const vae_shape *s = &q->net.shape;
  size_t n = q->data.n, m = q->batch.n, samples = set->model.samples, most = n > m ? n : m;
  double *reconstruction = doubles(most), *kl = doubles(most), *weighted = doubles(most);
  double *error = doubles(s->p), *kl_j = doubles(s->k), *mean = doubles(s->k * most);
  double *d = doubles(s->k * most), *jacobian = doubles(most);
  real *work = reals(vae_epoch_work(&q->net, set->batch, samples));
  double *sums = doubles(vae_epoch_sums(&q->net, set->batch, samples));
  vae_training with = *set;
  vae_observed to = {reconstruction, kl, weighted, test_below(2) ? error : NULL,
                     jacobian};
  with.model.plan = exact_plan((int) set->model.plan.kernel, 2);
  for (size_t f = 0; f < s->p; f++) error[f] = 0.0;
  vae_terms t = vae_evaluate(&q->net, q->theta, &q->data, 3, &with, &to, kl_j, work, sums);
  vae_posterior(&q->net, q->theta, &q->data, 3, &with, mean, d, work, sums);
  int ok = 1;
  if (tame) {
    ok = ok && isfinite(t.objective) && all_finite(n, reconstruction) &&
      all_finite(n, kl) &&
      all_finite(n, weighted) && all_finite(n, jacobian) && all_finite(s->p, error) &&
      all_finite(s->k * n, mean);
    for (size_t i = 0; i < s->k * n; i++) ok = ok && d[i] > 0.0;
  }
  free(work);
  free(sums);
  work = reals(vae_work(&q->net, m, samples));
  sums = doubles(vae_sums(m, samples));
  with.model.plan = exact_plan((int) set->model.plan.kernel, 3);
  q->batch.data = &q->data;
  t = vae_observe(&q->net, q->theta, &q->batch, &with.model, &to, kl_j, work, sums);
  vae_encode(&q->net, q->theta, &q->batch, &with.model, mean, d, work, sums);
  ok = ok && (!tame || (isfinite(t.objective) && all_finite(m, weighted)));
  double *const all[] = {reconstruction, kl, weighted, error, kl_j, mean, d, sums,
                         jacobian};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  free(work);
  return ok;
}

static int check_generated(const problem *q, const vae_training *set, int tame)
{
  const vae_shape *s = &q->net.shape;
  size_t n = q->condition ? test_below(q->all + 1) : test_below(30), cells = s->p * n;
  double *z = draws(s->k * n, tame ? 0 : 3), *g = doubles(cells);
  double *s2 = test_below(2) ? doubles(cells) : NULL;
  real *work = reals(vae_epoch_work(&q->net, set->batch, 1));
  double *sums = doubles(vae_epoch_sums(&q->net, set->batch, 1));
  vae_training with = *set;
  with.model.samples = 1;
  with.model.plan = exact_plan((int) set->model.plan.kernel, 2);
  vae_generate(&q->net, q->theta, n, z, q->condition, &with, g, s2, work, sums);
  int ok = (!tame || all_finite(cells, g));
  for (size_t i = 0; tame && s2 && i < cells; i++) {
    size_t f = s->noise == VAE_NOISE_SHARED ? 0 : i % s->p;
    ok = ok && s2[i] >= exp((double) set->model.floor[f]) && isfinite(s2[i]);
  }
  free(z);
  free(g);
  free(s2);
  free(work);
  free(sums);
  return ok;
}

/* ---- cases ------------------------------------------------------------- */

static void try_problem(void)
{
  wildness wild = {0, 0, 0};
  if (test_below(2)) {
    wild.theta = (int) test_below(4);
    wild.x = (int) test_below(4);
    wild.settings = (int) test_below(2);
  }
  int tame = wild.theta + wild.x + wild.settings == 0;
  vae_shape s = draw_shape();
  vae_training set = draw_training(wild.settings);
  problem q = draw_problem(&s, &set, wild);
  int kernel = (int) set.model.plan.kernel, bad = 0;
  bad += !check_epoch(&q, &set, tame) * 1;
  bad += !check_gradient(&q, kernel, tame) * 2;
  bad += !check_answers(&q, &set, tame) * 4;
  bad += !check_generated(&q, &set, tame) * 8;
  if (bad && test_count.failed < TEST_SHOWN) {
    printf("checks %d, wild %d %d %d, kernel %d, optimiser %d, rate %g, clip %g, warm %g, "
           "follow %g, noise rate %g, batch %zu: ",
           bad, wild.theta, wild.x, wild.settings, kernel, (int) set.climb.kind,
           set.climb.rate, set.climb.clip, set.climb.warm, set.follow, set.noise_rate,
           set.batch);
    describe(&q);
  }
  CHECK(bad == 0);
  drop_problem(&q);
}

static void any_problem(void)
{
  for (long i = test_iterations(6000); i > 0; i--) try_problem();
}

TEST_MAIN(any_problem)
