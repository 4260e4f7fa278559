/* Training of the deep VAE in double: an epoch against loops written out, once with the
 * engine's own gradient, bit for bit, and once with everything from elsewhere (noise from
 * Philox's words, gradient by differences, textbook optimisers); what must not matter
 * (threads, batches of an evaluation, what ran before); what is not finite; and a model
 * whose likelihood is known. */
#include <setjmp.h>

#include "noise_reference.h"
#include "polls.h"
#include "status.h"
#include "vae_reference.h"

static const rng_key key = {{11, 2025}};

/* By the plan of `set`, in space of exactly its size. */
static int run_epoch(const problem *q, const vae_training *set, uint32_t epoch,
                     climber *at, vae_progress *progress)
{
  gemm_plan plan = plan_for(set->model.plan.kernel, set->model.plan.threads);
  return engine_epoch(q, set, plan, epoch, at, progress);
}

static vae_training training_of(const problem *q, size_t batch)
{
  vae_training set = {.model = q->set, .noise_rate = 1.0, .batch = batch, .key = key};
  set.model.plan = (gemm_plan) {gemm_best(), 1, NULL};
  set.climb = (optimiser) {.kind = OPTIMISER_ADAM, .rate = 0.01, .momentum = 0.9,
                           .clip = INFINITY};
  return set;
}

/* ---- an epoch, written out --------------------------------------------- */

/* Each s2 that is a parameter goes its way, and its gradient is then 0. */
static void plain_follow(const problem *q, const vae_training *set, const double *misfit,
                         real *gradient, real *theta)
{
  for (size_t f = 0; f < vae_noises(&q->net.shape); f++) {
    size_t at = q->net.log_s2_offset + f;
    theta[at] = fmax(theta[at] + log1p(set->follow * (misfit[f] - 1.0)),
                     set->model.floor[f]);
    gradient[at] = 0;
  }
}

/* Draws the noise, takes the gradient, decays, climbs, for each batch of the order. */
static vae_progress plain_epoch(const problem *q, const vae_training *set, uint32_t epoch,
                                climber *at)
{
  size_t n = q->data.n, k = q->net.shape.k, samples = set->model.samples;
  vae_progress p = {.step = 0};
  int *order = ints(n);
  rng_permutation(set->key, epoch, n, order);
  for (size_t f = 0; set->follow > 0.0 && f < vae_noises(&q->net.shape); f++) {
    real *log_s2 = at->theta + q->net.log_s2_offset + f;
    *log_s2 = fmax(*log_s2, set->model.floor[f]);
  }
  vae_training with = *set;
  with.model.plan = plan_for(set->model.plan.kernel, 1);
  for (size_t first = 0; first < n; first += set->batch) {
    size_t m = n - first < set->batch ? n - first : set->batch;
    real *noise = reals(k * m * samples), *gradient = reals(q->net.size);
    real *work = reals(vae_work(&q->net, m, samples));
    double *sums = doubles(vae_sums(m, samples)), *kl_j = doubles(k);
    double *squares = doubles(optimiser_work(q->net.size));
    double *misfit = doubles(vae_noises(&q->net.shape));
    for (size_t s = 0; s < samples; s++)
      for (size_t i = 0; i < m; i++)               /* one observation at a time */
        each_normals(with.model.plan, set->key, epoch, NULL, (size_t) order[first + i],
                     (uint32_t) s, k, 1, noise + (i + s * m) * k);
    vae_batch batch = {&q->data, order + first, 0, m, noise, set->key, epoch};
    vae_terms t = vae_gradient(&q->net, at->theta, &batch, &with.model, kl_j, gradient,
                               misfit, work, sums);
    if (set->follow > 0.0) plain_follow(q, set, misfit, gradient, at->theta);
    if (set->decay > 0.0)
      vae_decay(&q->net, 1.0 - set->decay * set->climb.rate *
                fmin(1.0, set->climb.warm > 0.0 ? (at->steps + 1.0) / set->climb.warm : 1.0),
                at->theta);
    optimiser_state state = {at->theta, at->m, at->v, at->steps};
    real *log_s2 = at->theta + q->net.log_s2_offset;
    for (size_t f = 0; f < vae_noises(&q->net.shape); f++) misfit[f] = log_s2[f];
    double norm = optimiser_climb(&set->climb, with.model.plan, q->net.size, gradient,
                                  &state, squares);
    for (size_t f = 0; f < vae_noises(&q->net.shape); f++)
      log_s2[f] = misfit[f] + set->noise_rate * (log_s2[f] - misfit[f]);
    double share_of = (double) m / (double) n;
    at->steps = state.steps;
    p.step++;
    p.gradient_norm += norm;
    p.terms.objective += share_of * t.objective;
    p.terms.reconstruction += share_of * t.reconstruction;
    p.terms.kl += share_of * t.kl;
    p.terms.jacobian += share_of * t.jacobian;
    p.terms.cells += t.cells;
    p.terms.s2 += t.cells * t.s2;
    p.terms.floored += t.cells * t.floored;
    free(noise);
    free(gradient);
    free(work);
    free(sums);
    free(kl_j);
    free(squares);
    free(misfit);
  }
  p.gradient_norm /= (double) p.step;
  if (p.terms.cells > 0.0) {
    p.terms.s2 /= p.terms.cells;
    p.terms.floored /= p.terms.cells;
  }
  free(order);
  return p;
}

static void check_progress(const vae_progress *a, const vae_progress *b, double tol)
{
  CHECK_NEAR(a->terms.objective, b->terms.objective, tol);
  CHECK_NEAR(a->terms.reconstruction, b->terms.reconstruction, tol);
  CHECK_NEAR(a->terms.kl, b->terms.kl, tol);
  CHECK_NEAR(a->terms.s2, b->terms.s2, tol);
  CHECK_NEAR(a->terms.floored, b->terms.floored, tol);
  CHECK_NEAR(a->terms.jacobian, b->terms.jacobian, tol);
  CHECK_NEAR(a->gradient_norm, b->gradient_norm, tol);
}

static vae_shape usual_shape(int kind)
{
  return (vae_shape) {
    .p = 5, .k = 2, .c = kind % 4 == 1 ? 2 : 0, .noise = (enum vae_noise) (kind % 3),
    .shared_d = kind % 2, .fixed_noise = kind % 8 == 7, .linear = kind / 2 % 2,
    .encoder = {1, {6}, {ACTIVATION_TANH}},
    .decoder = {2, {4, 3}, {ACTIVATION_ELU, ACTIVATION_RELU}}};
}

/* Both optimisers, with and without decay, clipping, first steps, and s2 that go their own
 * way or at a rate of their own; batches of 1, that leave a rest, that do not, and all at
 * once or more than there are. */
static void an_epoch_is_its_batches(void)
{
  static const size_t batches[] = {1, 3, 5, 20, 1000};
  test_seed(1);
  for (int kind = 0; kind < 40; kind++) {
    vae_shape s = usual_shape(kind);
    problem q = new_problem(&s, &(recipe) {15, 1 + (size_t) kind % 3, kind / 3 % 2, 0,
                                           1.2, 0.05, kind % 5 ? -20.0 : 0.0});
    if (kind % 7 > 4) make_pixels(&q, 0.01, 256.0);
    vae_training set = training_of(&q, batches[kind % 5]);
    set.model.plan.kernel = (enum gemm_kernel) (kind % ((int) gemm_best() + 1));
    set.climb.kind = (enum optimiser_kind) (kind / 2 % 2);
    set.climb.clip = kind / 4 % 2 ? 0.7 : INFINITY;
    set.climb.warm = kind % 6 == 4 ? 10.0 : 0.0;
    set.follow = kind % 7 % 3 == 1 ? 0.2 : 0.0;
    set.noise_rate = kind / 3 % 3 == 1 ? 0.3 : 1.0;
    set.decay = kind / 8 % 2 ? 0.4 : 0.0;
    climber a = start_at(q.net.size, q.theta), b = copy_climber(&a);
    vae_progress p, r;
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
      CHECK(run_epoch(&q, &set, epoch, &a, &p) == ELBO_OK);
      r = plain_epoch(&q, &set, epoch, &b);
      CHECK(same_climber(&a, &b));
      CHECK(p.step == r.step && p.step == (20 + set.batch - 1) / set.batch);
      check_progress(&p, &r, 1e-13);
    }
    drop_climber(&a);
    drop_climber(&b);
    drop_problem(&q);
  }
}

/* Of m rows, from `rows` or the first, with noise from Philox's words. */
static reference foreign_reference(const problem *q, const vae_training *set,
                                   uint32_t epoch, const int *rows, size_t m)
{
  size_t k = q->net.shape.k, samples = set->model.samples;
  double *noise = doubles(k * m * samples);
  for (size_t i = 0; i < k * m * samples; i++) {
    size_t column = i / k, row = rows ? (size_t) rows[column % m] : column % m;
    noise[i] = expected_normal(set->key, epoch, (uint32_t) row, (uint32_t) (column / m),
                               k, i % k);
  }
  shown_data shown = show_data(q, set->key, epoch);
  return (reference) {
    .shape = &q->net.shape, .theta = q->theta, .x = shown.x, .jacobian = shown.jacobian,
    .fill = q->fill,
    .condition = q->condition, .noise = noise, .rows = rows, .n = m,
    .samples = samples, .beta = set->model.beta, .free_bits = set->model.free_bits,
    .floor = by_feature(&q->net.shape, set->model.floor, 1),
    .square = by_feature(&q->net.shape, set->model.square, 0)};
}

static void drop_foreign(reference *r)
{
  free((double *) r->x);
  free((double *) r->jacobian);
  free((double *) r->noise);
  free((double *) r->floor);
  free((double *) r->square);
}

/* s2 += rate (mean squared error - s2), where the cells are s2 misfit. */
static void foreign_follow(const problem *q, const vae_training *set, const double *misfit,
                           double *gradient, real *theta)
{
  const vae_shape *s = &q->net.shape;
  size_t count = s->noise == VAE_NOISE_SHARED ? 1 : s->noise == VAE_NOISE_FEATURE ? s->p : 0;
  for (size_t f = 0; f < count; f++) {
    size_t at = q->net.log_s2_offset + f;
    double s2 = exp(theta[at]), mse = s2 * misfit[f];
    theta[at] = log(s2 + set->follow * (mse - s2));
    gradient[at] = 0.0;
  }
}

/* Nothing from the engine: two epochs of 7 observations in batches of 3, 3 and 1. */
static void foreign_epoch(const problem *q, const vae_training *set, uint32_t epoch,
                          climber *at)
{
  size_t n = q->data.n, size = q->net.size;
  int order[64];
  rng_permutation(set->key, epoch, n, order);
  for (size_t first = 0; first < n; first += set->batch) {
    size_t m = n - first < set->batch ? n - first : set->batch;
    double *gradient = doubles(size);
    reference r = foreign_reference(q, set, epoch, order + first, m);
    r.theta = at->theta;
    reference_result to = {.sides = 0};
    run_reference(&r, &to);
    for (size_t i = 0; i < size; i++) {
      double blur;
      gradient[i] = reference_slope(&r, at->theta, i, to.sides, &blur);
    }
    if (set->follow > 0.0) foreign_follow(q, set, to.misfit, gradient, at->theta);
    naive_climb(&set->climb, gradient, at);
    drop_foreign(&r);
    free(gradient);
  }
}

static void an_epoch_is_what_it_should_be(void)
{
  test_seed(2);
  for (int kind = 0; kind < 18; kind++) {
    vae_shape s = {.p = 3, .k = 2, .c = (size_t) kind % 2, .linear = kind / 2 % 2,
                   .noise = (enum vae_noise) (kind % 3),
                   .fixed_noise = kind > 13 && kind % 3 < 2,
                   .encoder = {1, {2}, {ACTIVATION_TANH}},
                   .decoder = {1, {3}, {ACTIVATION_SILU}}};
    problem q = new_problem(&s, &(recipe) {2, 1 + (size_t) kind % 2, kind / 3 % 3 == 1, 0,
                                           0.8, 0.0, -20.0});
    if (kind % 9 > 4) make_pixels(&q, 1e-6, 256.0);
    vae_training set = training_of(&q, 3);
    set.climb = (optimiser) {.kind = kind % 2 ? OPTIMISER_SGD : OPTIMISER_ADAM,
                             .rate = 0.02, .momentum = 0.5,
                             .clip = kind / 2 % 2 ? 1.0 : INFINITY,
                             .warm = kind % 4 == 1 ? 4.0 : 0.0};
    set.follow = kind > 8 ? 0.3 : 0.0;
    climber a = start_at(q.net.size, q.theta), b = copy_climber(&a);
    for (uint32_t epoch = 5; epoch <= 6; epoch++) {
      vae_progress p;
      CHECK(run_epoch(&q, &set, epoch, &a, &p) == ELBO_OK);
      foreign_epoch(&q, &set, epoch, &b);
    }
    CHECK(a.steps == 6.0 && b.steps == 6.0);
    CHECK_NEAR(gap(q.net.size, a.theta, b.theta), 0.0, 1e-6);
    drop_climber(&a);
    drop_climber(&b);
    drop_problem(&q);
  }
}

/* Parameters in the range stay, bit for bit; those around it make their first step as if
 * none were frozen, as their gradient is that at the same parameters. */
static void frozen_parameters_stay(void)
{
  test_seed(12);
  for (int kind = 0; kind < 4; kind++) {
    vae_shape s = usual_shape(kind);
    problem q = new_problem(&s, &(recipe) {20, 2, kind / 2, 0, 1.0, 0.0, -20.0});
    vae_training set = training_of(&q, q.data.n), part = set;
    set.climb.kind = part.climb.kind = (enum optimiser_kind) (kind % 2);
    part.frozen_from = q.net.size / 3;
    part.frozen_to = q.net.size - (kind < 2 ? 0 : 2);
    climber a = start_at(q.net.size, q.theta), b = copy_climber(&a);
    vae_progress p;
    CHECK(run_epoch(&q, &set, 1, &a, &p) == ELBO_OK && p.step == 1);
    double norm = p.gradient_norm;
    CHECK(run_epoch(&q, &part, 1, &b, &p) == ELBO_OK && p.gradient_norm < norm);
    size_t from = part.frozen_from, to = part.frozen_to;
    CHECK(same_reals(to - from, b.theta + from, q.theta + from));
    CHECK(!same_reals(to - from, a.theta + from, q.theta + from));
    CHECK(same_reals(from, a.theta, b.theta) && !same_reals(from, a.theta, q.theta));
    CHECK(same_reals(q.net.size - to, a.theta + to, b.theta + to));
    drop_climber(&a);
    drop_climber(&b);
    drop_problem(&q);
  }
}

/* ---- what does not matter ---------------------------------------------- */

/* Copies go on as the first; other epochs, keys and states come out differently. */
static void the_state_is_all_there_is(void)
{
  test_seed(3);
  for (int kind = 0; kind < 8; kind++) {
    vae_shape s = usual_shape(kind);
    problem q = new_problem(&s, &(recipe) {30, 2, kind / 4, 0, 1.0, 0.0, -20.0});
    vae_training set = training_of(&q, 8);
    set.climb.kind = (enum optimiser_kind) (kind % 2);
    set.climb.warm = kind / 2 % 2 ? 7.0 : 0.0;     /* of 5 steps an epoch */
    set.follow = kind % 3 ? 0.25 : 0.0;
    climber a = start_at(q.net.size, q.theta), begin_at = copy_climber(&a);
    vae_progress p;
    run_epoch(&q, &set, 1, &a, &p);
    climber b = copy_climber(&a);
    run_epoch(&q, &set, 2, &a, &p);
    climber other = start_at(q.net.size, q.theta);
    run_epoch(&q, &set, 9, &other, &p);            /* something else in between */
    run_epoch(&q, &set, 2, &b, &p);
    CHECK(same_climber(&a, &b));
    climber c = copy_climber(&begin_at);
    run_epoch(&q, &set, 1, &c, &p);
    CHECK(!same_reals(q.net.size, c.theta, other.theta));
    drop_climber(&other);
    other = copy_climber(&begin_at);
    set.key.key[1]++;
    run_epoch(&q, &set, 1, &other, &p);
    CHECK(!same_reals(q.net.size, c.theta, other.theta));
    drop_climber(&a);
    drop_climber(&b);
    drop_climber(&c);
    drop_climber(&other);
    drop_climber(&begin_at);
    drop_problem(&q);
  }
}

/* Large enough for everything to be shared. */
static void threads_change_no_bit(void)
{
  test_seed(4);
  static const enum vae_noise noises[] = {VAE_NOISE_SHARED, VAE_NOISE_NETWORK,
                                          VAE_NOISE_FEATURE};
  for (int kind = 0; kind < 3; kind++) {
    vae_shape s = {.p = 66, .k = 10, .noise = noises[kind], .linear = kind < 2,
                   .encoder = {2, {80, 130}, {ACTIVATION_RELU, ACTIVATION_SOFTPLUS}},
                   .decoder = {1, {90}, {ACTIVATION_TANH}}};
    problem q = new_problem(&s, &(recipe) {565, 1, kind > 0, 0, 1.0, 0.0, -20.0});
    if (kind == 2) make_pixels(&q, 1e-6, 256.0);
    climber first = {0};
    for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++) {
      vae_training set = training_of(&q, 256);
      vae_progress p, r;
      climber one = start_at(q.net.size, q.theta);
      set.follow = kind == 0 ? 0.0 : 0.5;
      set.climb.warm = kind == 1 ? 0.0 : 4.0;
      set.model.plan.kernel = (enum gemm_kernel) kernel;
      run_epoch(&q, &set, 1, &one, &p);
      for (int threads = 2; threads <= 3; threads++) {
        climber a = start_at(q.net.size, q.theta);
        set.model.plan.threads = threads;
        run_epoch(&q, &set, 1, &a, &r);
        CHECK(same_climber(&a, &one) && memcmp(&p, &r, sizeof p) == 0);
        drop_climber(&a);
      }
      if (kernel == GEMM_PORTABLE) first = one;
      else {                           /* a step may turn on the sign of a tiny gradient */
        double off = 0.0;
        for (size_t i = 0; i < q.net.size; i++)
          off += fabs(one.theta[i] - first.theta[i]) / (double) q.net.size;
        CHECK(off < 1e-4);
        drop_climber(&one);
      }
    }
    drop_climber(&first);
    drop_problem(&q);
  }
}

/* ---- the noise variance in closed form --------------------------------- */

/* With rate 1 and all observations in one batch, s2 of each feature (or the one) is the
 * mean squared error at the weights before the step, of which the reference knows s2
 * misfit; or the floor where that is more. Neither optimiser has a gradient by it, though
 * its state may say so. `fixed_noise` tells that there is none anyway. */
static void check_followed(int kind, double floor)
{
  vae_shape s = usual_shape(kind);
  s.noise = kind / 2 % 2 ? VAE_NOISE_FEATURE : VAE_NOISE_SHARED;
  s.fixed_noise = kind % 3 == 0;
  problem q = new_problem(&s, &(recipe) {11, 1 + (size_t) kind % 3, kind / 4 % 2, 0, 0.6,
                                         0.0, floor});
  if (kind % 5 == 4) make_pixels(&q, 0.01, 256.0);
  size_t at = q.net.log_s2_offset, count = vae_noises(&s), raised = 0;
  if (kind > 11) make_uneven(&q);
  for (size_t f = 0; f < count; f++)
    q.theta[at + f] = fmax(q.theta[at + f], q.floor[f]);
  vae_training set = training_of(&q, 100);
  set.follow = 1.0;
  set.climb.kind = (enum optimiser_kind) (kind / 8 % 2);
  set.climb.warm = 3.0;
  set.decay = 0.5;
  int order[16];
  rng_permutation(key, 4, 16, order);
  reference r = foreign_reference(&q, &set, 4, order, 16);
  reference_result to = {.sides = 0};
  climber end = start_at(q.net.size, q.theta);
  vae_progress p;
  run_reference(&r, &to);
  CHECK(run_epoch(&q, &set, 4, &end, &p) == ELBO_OK);
  for (size_t f = 0; f < count; f++) {
    double mse = exp(q.theta[at + f]) * to.misfit[f], least = q.floor[f];
    CHECK_NEAR(end.theta[at + f], fmax(log(mse), least), 1e-6);
    CHECK(end.m[at + f] == 0 && end.v[at + f] == 0);
    raised += log(mse) < least;
    if (log(mse) < least) CHECK(end.theta[at + f] == least);
  }
  CHECK(raised == (floor > 0.0 ? count : 0));
  drop_foreign(&r);
  drop_climber(&end);
  drop_problem(&q);
}

static void s2_becomes_the_mean_squared_error(void)
{
  test_seed(11);
  for (int kind = 0; kind < 24; kind++) check_followed(kind, -6.0);
  for (int kind = 0; kind < 24; kind++) check_followed(kind, 8.0);
}

/* One feature that is decoded as 0, with cells of 2 and a share of 1/4 a step, three steps:
 * s2 = 1, 1 + 3/4, 7/4 + 9/16 = 37/16, 37/16 + 27/64 = 175/64. A second one, without an
 * observed cell, keeps its s2 of 5. */
static void s2_goes_a_share_of_the_way(void)
{
  vae_shape s = {.p = 2, .k = 1, .shared_d = 1, .noise = VAE_NOISE_FEATURE};
  for (int kind = 0; kind < 2; kind++) {
    problem q = new_problem(&s, &(recipe) {1, 1, 1, 0, 1.0, 0.0, -20.0});
    for (size_t i = 0; i < 6; i++) {
      q.x[2 * i] = 2;
      q.x[2 * i + 1] = (real) NAN;
    }
    for (size_t i = 0; i < q.net.size; i++) q.theta[i] = 0;
    q.theta[q.net.log_s2_offset + 1] = log(5.0);
    vae_training set = training_of(&q, 2);
    set.climb.kind = (enum optimiser_kind) kind;
    set.climb.rate = 0.0;
    set.follow = 0.25;
    climber at = start_at(q.net.size, q.theta);
    vae_progress p;
    CHECK(run_epoch(&q, &set, 1, &at, &p) == ELBO_OK);
    CHECK_NEAR(exp(at.theta[q.net.log_s2_offset]), 175.0 / 64.0, 1e-14);
    CHECK(at.theta[q.net.log_s2_offset + 1] == q.theta[q.net.log_s2_offset + 1]);
    CHECK_NEAR(p.terms.s2, ((1.0 + 7.0 / 4.0 + 37.0 / 16.0) / 3.0), 1e-14);
    drop_climber(&at);
    drop_problem(&q);
  }
}

/* A log s2 below the floor counts as the floor: with cells of 2, decoded as 0, all of the
 * way leads from there to 4, and with cells of 1/2 back to the floor of 1. */
static void s2_below_the_floor_counts_as_the_floor(void)
{
  for (int noise = 0; noise < 2; noise++)
    for (int large = 0; large < 2; large++) {
      vae_shape s = {.p = 3, .k = 1, .shared_d = 1,
                     .noise = noise ? VAE_NOISE_FEATURE : VAE_NOISE_SHARED};
      problem q = new_problem(&s, &(recipe) {1, 1, 0, 0, 1.0, 0.0, 0.0});
      for (size_t i = 0; i < 18; i++) q.x[i] = large ? 2 : 0.5;
      for (size_t i = 0; i < q.net.size; i++) q.theta[i] = 0;
      for (size_t f = 0; f < vae_noises(&s); f++) q.theta[q.net.log_s2_offset + f] = -3;
      vae_training set = training_of(&q, 10);
      set.follow = 1.0;
      climber at = start_at(q.net.size, q.theta);
      vae_progress p;
      CHECK(run_epoch(&q, &set, 1, &at, &p) == ELBO_OK);
      for (size_t f = 0; f < vae_noises(&s); f++)
        CHECK_NEAR(at.theta[q.net.log_s2_offset + f], large ? log(4.0) : 0.0, 1e-14);
      drop_climber(&at);
      drop_problem(&q);
    }
}

/* Noise by the decoder has no s2 to follow: nothing changes. */
static void noise_by_the_decoder_is_learned_by_its_gradient(void)
{
  test_seed(12);
  vae_shape s = usual_shape(2);
  problem q = new_problem(&s, &(recipe) {15, 1, 0, 0, 1.0, 0.0, -20.0});
  vae_training set = training_of(&q, 6);
  climber a = start_at(q.net.size, q.theta), b = copy_climber(&a);
  vae_progress p;
  CHECK(s.noise == VAE_NOISE_NETWORK && run_epoch(&q, &set, 1, &a, &p) == ELBO_OK);
  set.follow = 0.5;
  CHECK(run_epoch(&q, &set, 1, &b, &p) == ELBO_OK);
  CHECK(same_climber(&a, &b));
  drop_climber(&a);
  drop_climber(&b);
  drop_problem(&q);
}

/* ---- evaluation -------------------------------------------------------- */

typedef struct {
  double *reconstruction, *kl, *weighted, *error, *kl_j, *mean, *d, *jacobian;
  vae_terms terms;
} answers;

static answers new_answers(const problem *q)
{
  size_t n = q->data.n, p = q->net.shape.p, k = q->net.shape.k;
  answers a = {doubles(n), doubles(n), doubles(n), doubles(p), doubles(k), doubles(k * n),
               doubles(k * n), doubles(n), {.kl = 0.0}};
  for (size_t f = 0; f < p; f++) a.error[f] = 3.0;
  return a;
}

static answers ask(const problem *q, const vae_training *set)
{
  answers a = new_answers(q);
  real *work = reals(vae_epoch_work(&q->net, set->batch, set->model.samples));
  double *sums = doubles(vae_epoch_sums(&q->net, set->batch, set->model.samples));
  vae_training with = *set;
  with.model.plan = plan_for(set->model.plan.kernel, set->model.plan.threads);
  vae_observed to = {a.reconstruction, a.kl, a.weighted, a.error, a.jacobian};
  a.terms = vae_evaluate(&q->net, q->theta, &q->data, 4, &with, &to, a.kl_j, work, sums);
  vae_posterior(&q->net, q->theta, &q->data, 4, &with, a.mean, a.d, work, sums);
  CHECK(spilled() == 0);
  free(work);
  free(sums);
  return a;
}

static void drop_answers(answers *a)
{
  double *const all[] = {a->reconstruction, a->kl, a->weighted, a->error, a->kl_j,
                         a->mean, a->d, a->jacobian};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void check_answers(const problem *q, const answers *a, const answers *b, int bits)
{
  size_t n = q->data.n, k = q->net.shape.k, p = q->net.shape.p;
  if (bits) {
    CHECK(same_doubles(n, a->reconstruction, b->reconstruction));
    CHECK(same_doubles(n, a->kl, b->kl) && same_doubles(n, a->weighted, b->weighted));
    CHECK(same_doubles(k * n, a->mean, b->mean) && same_doubles(k * n, a->d, b->d));
    CHECK(same_doubles(n, a->jacobian, b->jacobian));
  }
  CHECK_NEAR(gap(n, a->jacobian, b->jacobian), 0.0, 1e-12);
  CHECK_NEAR(a->terms.jacobian, b->terms.jacobian, 1e-12);
  CHECK_NEAR(gap(n, a->reconstruction, b->reconstruction), 0.0, 1e-6);
  CHECK_NEAR(gap(n, a->weighted, b->weighted), 0.0, 1e-6);
  CHECK_NEAR(gap(p, a->error, b->error), 0.0, bits ? 1e-13 : 1e-6);
  CHECK_NEAR(gap(k, a->kl_j, b->kl_j), 0.0, 1e-12);
  CHECK_NEAR(a->terms.reconstruction, b->terms.reconstruction, bits ? 1e-12 : 1e-6);
  CHECK_NEAR(a->terms.kl, b->terms.kl, 1e-12);
}

/* The reference on all observations at once, noise from Philox's words. */
static answers ask_reference(const problem *q, const vae_training *set)
{
  answers a = new_answers(q);
  reference r = foreign_reference(q, set, 4, NULL, q->data.n);
  reference_result to = {.reconstruction = a.reconstruction, .kl = a.kl,
                         .weighted = a.weighted, .error = a.error, .m = a.mean, .d = a.d,
                         .jacobian = a.jacobian};
  run_reference(&r, &to);
  memcpy(a.kl_j, to.kl_j, q->net.shape.k * sizeof *a.kl_j);
  a.terms = to.terms;
  drop_foreign(&r);
  return a;
}

static void an_evaluation_does_not_depend_on_batches(void)
{
  static const size_t batches[] = {7, 16, 29, 500};
  test_seed(5);
  for (int kind = 0; kind < 24; kind++) {
    vae_shape s = usual_shape(kind);
    problem q = new_problem(&s, &(recipe) {24, 1 + (size_t) kind % 3, kind / 2 % 2, 0,
                                           1.0, 0.0, kind % 4 ? -20.0 : 0.1});
    if (kind % 5 > 2) make_pixels(&q, 1e-6, 256.0);
    if (kind % 3) make_uneven(&q);
    vae_training set = training_of(&q, 1);
    set.model.plan.kernel = (enum gemm_kernel) (kind % ((int) gemm_best() + 1));
    answers one = ask(&q, &set), plain = ask_reference(&q, &set);
    check_answers(&q, &one, &plain, 0);
    CHECK_NEAR(gap(s.k * 29, one.mean, plain.mean), 0.0, 1e-13);
    CHECK_NEAR(gap(s.k * 29, one.d, plain.d), 0.0, 1e-13);
    for (int i = 0; i < 4; i++) {
      set.batch = batches[i];
      set.model.plan.threads = 1 + i % 3;
      answers a = ask(&q, &set);
      check_answers(&q, &a, &one, 1);
      drop_answers(&a);
    }
    drop_answers(&one);
    drop_answers(&plain);
    drop_problem(&q);
  }
}

/* The terms too: s2 and the share below the floor are of all observed cells, of which a
 * batch may have more or less; the objective counts the mean KL of all, or the free
 * bits. */
static void check_all_terms(vae_terms a, vae_terms b)
{
  CHECK_NEAR(a.s2, b.s2, 1e-12);
  CHECK_NEAR(a.floored, b.floored, 1e-12);
  CHECK_NEAR(a.objective, b.objective, 1e-12);
}

static void the_terms_do_not_depend_on_batches(void)
{
  test_seed(9);
  for (int missing = 0; missing < 2; missing++)
    for (int bits = 0; bits < 2; bits++) {
      vae_shape s = usual_shape(2);              /* noise by the decoder */
      problem q = new_problem(&s, &(recipe) {24, 2, missing, 0, 1.0, 0.3 * bits, 0.1});
      vae_training set = training_of(&q, 29);
      answers all = ask(&q, &set);
      set.batch = 4;
      answers some = ask(&q, &set);
      check_all_terms(some.terms, all.terms);
      drop_answers(&all);
      drop_answers(&some);
      drop_problem(&q);
    }
}

static void check_generated(const problem *q, vae_training *set)
{
  const vae_shape *s = &q->net.shape;
  size_t n = q->data.n, p = s->p;
  double *z = normals(s->k * n, 1.0), *g[3], *s2[3];
  for (int i = 0; i < 3; i++) {
    set->batch = i == 0 ? 1 : i == 1 ? 6 : 100;
    real *work = reals(vae_epoch_work(&q->net, set->batch, 1));
    double *sums = doubles(vae_epoch_sums(&q->net, set->batch, 1));
    set->model.plan = plan_for(gemm_best(), 1 + i);
    g[i] = doubles(p * n);
    s2[i] = i == 2 ? NULL : doubles(p * n);
    vae_generate(&q->net, q->theta, n, z, q->condition, set, g[i], s2[i], work, sums);
    vae_generate(&q->net, q->theta, 0, z, q->condition, set, NULL, NULL, work, sums);
    free(work);
    free(sums);
  }
  CHECK(all_finite(p * n, g[0]) && same_doubles(p * n, g[0], g[1]));
  CHECK(same_doubles(p * n, g[0], g[2]) && same_doubles(p * n, s2[0], s2[1]));
  CHECK(wrong_decoded(q, z, g[0], s2[0], 1e-12) == 0);
  free(z);
  for (int i = 0; i < 3; i++) free(g[i]);
  free(s2[0]);
  free(s2[1]);
}

static void generation_does_not_depend_on_batches(void)
{
  test_seed(6);
  for (int kind = 0; kind < 24; kind++) {
    vae_shape s = usual_shape(kind);
    problem q = new_problem(&s, &(recipe) {14, 1, 0, 0, 1.0, 0.0, kind % 4 ? -20.0 : 0.1});
    make_uneven(&q);
    vae_training set = training_of(&q, 1);
    check_generated(&q, &set);
    drop_problem(&q);
  }
}

/* ---- what is not finite ------------------------------------------------ */

/* An infinite cell of one observation: the step of its batch is told. What is in the other
 * steps is in the progress. */
static void the_step_that_is_not_finite_is_told(void)
{
  static const double odd[] = {INFINITY, -INFINITY, 1e200};
  test_seed(7);
  for (size_t row = 0; row < 20; row++) {
    vae_shape s = {.p = 4, .k = 2, .noise = (enum vae_noise) (row % 3)};
    problem q = new_problem(&s, &(recipe) {15, 1, 0, 0, 1.0, 0.0, -20.0});
    vae_training set = training_of(&q, 3);
    climber at = start_at(q.net.size, q.theta);
    vae_progress p;
    int order[20];
    size_t place = 0;
    rng_permutation(key, 7, 20, order);
    while ((size_t) order[place] != row) place++;
    q.x[row * 4 + row % 4] = odd[row % 3];
    CHECK(run_epoch(&q, &set, 7, &at, &p) == ELBO_NOT_FINITE);
    CHECK(p.step == place / 3 + 1);
    CHECK(isfinite(p.terms.objective) && isfinite(p.gradient_norm));
    CHECK((p.step == 1) == (p.terms.objective == 0.0));
    drop_climber(&at);
    drop_problem(&q);
  }
}

static void parameters_that_are_not_finite_are_told(void)
{
  static const double odd[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300};
  test_seed(8);
  vae_shape s = usual_shape(0);
  size_t size = vae_lay_out(&s).size;
  for (size_t i = 0; i < size; i++)
    for (int j = 0; j < 5; j++) {
      problem q = new_problem(&s, &(recipe) {5, 1, 0, 0, 1.0, 0.0, -20.0});
      vae_training set = training_of(&q, 10);
      q.theta[i] = odd[j];
      climber at = start_at(size, q.theta);
      vae_progress p;
      int status = run_epoch(&q, &set, 0, &at, &p);
      CHECK(status == ELBO_OK || (status == ELBO_NOT_FINITE && p.step == 1));
      CHECK(j > 0 || status == ELBO_NOT_FINITE);
      CHECK(status != ELBO_OK || isfinite(p.terms.objective));
      drop_climber(&at);
      drop_problem(&q);
    }
}

/* An objective that is finite with a gradient that is not: m = 0 x, g = 1e10 z and an
 * error of 1e150 give the encoder's weight a derivative of 1e150 1e10 1e150. */
static void a_gradient_that_is_not_finite_is_told(void)
{
  vae_shape s = {.p = 1, .k = 1, .shared_d = 1, .noise = VAE_NOISE_SHARED};
  problem q = new_problem(&s, &(recipe) {5, 1, 0, 0, 1.0, 0.0, -20.0});
  const double theta[] = {0.0, 0.0, 0.0, 1e10, 0.0, 0.0};
  for (int i = 0; i < 10; i++) q.x[i] = 1e150;
  for (int kind = 0; kind < 4; kind++) {
    vae_training set = training_of(&q, 4);
    climber at = start_at(q.net.size, theta);
    vae_progress p;
    set.climb.kind = (enum optimiser_kind) (kind % 2);
    set.climb.clip = kind / 2 ? 1.0 : INFINITY;
    CHECK(run_epoch(&q, &set, 1, &at, &p) == ELBO_NOT_FINITE);
    CHECK(p.step == 1 && p.terms.objective == 0.0);
    drop_climber(&at);
  }
  double kl_j;
  vae_terms t = engine_gradient(&q, plan_for(gemm_best(), 1), &kl_j, NULL);
  CHECK(isfinite(t.objective));
  drop_problem(&q);
}

/* ---- polls ------------------------------------------------------------- */

static void each_batch_is_polled(void)
{
  vae_shape s = usual_shape(1);
  problem q = new_problem(&s, &(recipe) {15, 1, 0, 0, 1.0, 0.0, -20.0});
  for (size_t batch = 1; batch < 25; batch += 4) {
    vae_training set = training_of(&q, batch);
    long steps = (long) ((20 + batch - 1) / batch);
    climber at = start_at(q.net.size, q.theta);
    vae_progress p;
    set.poll = count_polls;
    polls = 0;
    run_epoch(&q, &set, 1, &at, &p);
    CHECK(polls == steps);
    answers a = ask(&q, &set);
    CHECK(polls == 3 * steps);
    check_generated(&q, &set);                     /* in batches of 1, 6 and all */
    CHECK(polls == 3 * steps + 20 + 4 + 1);
    drop_answers(&a);
    drop_climber(&at);
  }
  drop_problem(&q);
}

/* An epoch that ends at its third poll. */
static void leave_epoch(const problem *q, vae_training set, climber *at, real *work,
                        double *sums, int *order)
{
  optimiser_state state = state_of(at, set.climb.kind);
  vae_progress p;
  set.poll = leave;
  polls_left = 2;
  if (setjmp(away) == 0) {
    vae_epoch(&q->net, &q->data, 1, &set, &state, &p, work, sums, order);
    CHECK(0);
  }
}

/* A poll may leave; the same space serves the next epoch. */
static void a_poll_may_jump_away(void)
{
  vae_shape s = usual_shape(2);
  problem q = new_problem(&s, &(recipe) {15, 1, 0, 0, 1.0, 0.0, -20.0});
  vae_training set = training_of(&q, 4);
  climber a = start_at(q.net.size, q.theta), b = copy_climber(&a), c = copy_climber(&a);
  real *work = reals(vae_epoch_work(&q.net, 4, 1));
  double *sums = doubles(vae_epoch_sums(&q.net, 4, 1));
  int order[20];
  vae_progress p;
  run_epoch(&q, &set, 1, &a, &p);
  set.model.plan = plan_for(gemm_best(), 2);
  leave_epoch(&q, set, &c, work, sums, order);
  optimiser_state state = state_of(&b, set.climb.kind);
  CHECK(vae_epoch(&q.net, &q.data, 1, &set, &state, &p, work, sums, order) == ELBO_OK);
  CHECK(same_reals(q.net.size, a.theta, b.theta));
  free(work);
  free(sums);
  drop_climber(&a);
  drop_climber(&b);
  drop_climber(&c);
  drop_problem(&q);
}

/* ---- learning ---------------------------------------------------------- */

/* x = w z + e, with z and e standard normal but for the sd of e, of `n` observations; their
 * mean log likelihood under the model: C = w w' + s2 I has the determinant
 * s2^p (1 + |w|^2 / s2) and the inverse (I - w w' / (s2 + |w|^2)) / s2. */
static double factor_data(size_t n, size_t p, const double *w, double s2, real *x)
{
  double length = 0.0, sum = 0.0;
  for (size_t f = 0; f < p; f++) length += w[f] * w[f];
  for (size_t i = 0; i < n; i++) {
    double z = test_normal(), square = 0.0, along = 0.0;
    for (size_t f = 0; f < p; f++) {
      double cell = w[f] * z + sqrt(s2) * test_normal();
      x[f + i * p] = (real) cell;
      square += cell * cell;
      along += cell * w[f];
    }
    sum += -0.5 * ((square - along * along / (s2 + length)) / s2 + (double) p * log(s2) +
                   log1p(length / s2) + (double) p * log_two_pi);
  }
  return sum / (double) n;
}

static double mean_bound(const problem *q, vae_training *set, double *weighted)
{
  vae_training with = *set;
  with.model.samples = 20;
  with.batch = q->data.n;
  answers a = ask(q, &with);
  double elbo = a.terms.reconstruction - a.terms.kl;
  *weighted = 0.0;
  for (size_t i = 0; i < q->data.n; i++) *weighted += a.weighted[i] / (double) q->data.n;
  drop_answers(&a);
  return elbo;
}

/* A linear model learns what generated the data: it comes within sampling error (as many
 * halves as it has parameters, over n) of the likelihood of the truth, or beyond, and so
 * does one with a hidden layer in the encoder, and one with s2 in closed form. */
static void a_model_learns_its_data(void)
{
  enum { N = 500, P = 4 };
  static const double w[P] = {1.5, -1.0, 0.5, 0.0};
  for (int kind = 0; kind < 5; kind++) {
    vae_shape s = {.p = P, .k = 1, .shared_d = kind == 0, .linear = kind > 2,
                   .fixed_noise = kind > 2,
                   .encoder = {kind > 0, {8}, {ACTIVATION_TANH}}};
    test_seed(10);
    problem q = new_problem(&s, &(recipe) {N - 5, 1, 0, 0, 1.0, 0.0, -20.0});
    double truth = factor_data(N, P, w, 0.25, q.x), bound, start, end_at;
    vae_training set = training_of(&q, 50);
    set.climb = kind < 2 ?
      (optimiser) {.kind = OPTIMISER_ADAM, .rate = 0.02, .clip = 100.0} :
      (optimiser) {.kind = OPTIMISER_SGD, .rate = 0.01, .momentum = 0.5, .clip = 5.0};
    climber at = start_at(q.net.size, q.theta);
    if (kind > 2) set.follow = 0.1;
    if (kind > 2) set.climb.warm = 100.0;
    start = mean_bound(&q, &set, &bound);
    for (uint32_t epoch = 1; epoch <= 150; epoch++) {
      vae_progress p;
      if (epoch > 100) set.climb.rate *= 0.95;
      CHECK(run_epoch(&q, &set, epoch, &at, &p) == ELBO_OK);
    }
    memcpy(q.theta, at.theta, q.net.size * sizeof *q.theta);
    end_at = mean_bound(&q, &set, &bound);
    CHECK(end_at > start + 1.0);
    CHECK(end_at > truth - 0.05 && end_at < truth + 0.05);
    CHECK(bound > end_at - 0.02 && bound < truth + 0.05);
    CHECK(fabs(exp(at.theta[q.net.log_s2_offset]) - 0.25) < 0.05);
    drop_climber(&at);
    drop_problem(&q);
  }
}

/* ---- fingerprints ------------------------------------------------------ */

/* All bits count, and the length. */
static void fingerprints_tell_bytes_apart(void)
{
  enum { MOST = 40 };
  unsigned char data[MOST];
  uint64_t seen[MOST * 8 + 1];
  size_t same = 0;
  for (size_t bytes = 0; bytes <= MOST; bytes++) {
    unsigned char *exact = malloc(bytes ? bytes : 1);
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) exact[i] = (unsigned char) test_below(256);
    seen[count++] = vae_fingerprint(bytes, exact);
    CHECK(seen[0] == vae_fingerprint(bytes, exact));
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
      exact[bit / 8] ^= (unsigned char) (1u << bit % 8);
      seen[count++] = vae_fingerprint(bytes, exact);
      exact[bit / 8] ^= (unsigned char) (1u << bit % 8);
    }
    for (size_t i = 0; i < count; i++)
      for (size_t j = 0; j < i; j++) same += seen[i] == seen[j];
    free(exact);
  }
  memset(data, 0, sizeof data);
  for (size_t bytes = 0; bytes <= MOST; bytes++) seen[bytes] = vae_fingerprint(bytes, data);
  for (size_t i = 0; i <= MOST; i++)
    for (size_t j = 0; j < i; j++) same += seen[i] == seen[j];
  CHECK(same == 0);
}

/* Pairs of flipped bits, in particular of signs; and numbers that change places. */
static void fingerprints_tell_numbers_apart(void)
{
  enum { NUMBERS = 64 };
  float x[NUMBERS];
  size_t same = 0;
  for (int i = 0; i < NUMBERS; i++) x[i] = (float) test_normal();
  const unsigned char *bytes = (const unsigned char *) x;
  uint64_t plain = vae_fingerprint(sizeof x, bytes);
  for (int i = 0; i < NUMBERS; i++)
    for (int j = 0; j < i; j++) {
      float a = x[i], b = x[j];
      x[i] = -a;
      x[j] = -b;
      same += vae_fingerprint(sizeof x, bytes) == plain;
      x[i] = b;
      x[j] = a;
      same += vae_fingerprint(sizeof x, bytes) == plain;
      x[i] = a;
      x[j] = b;
    }
  for (int first = 0; first < 64; first++)           /* two bits of neighbouring words */
    for (int second = 0; second < 64; second++) {
      unsigned char *at = (unsigned char *) (x + 8);
      at[first / 8] ^= (unsigned char) (1u << first % 8);
      at[8 + second / 8] ^= (unsigned char) (1u << second % 8);
      same += vae_fingerprint(sizeof x, bytes) == plain;
      at[first / 8] ^= (unsigned char) (1u << first % 8);
      at[8 + second / 8] ^= (unsigned char) (1u << second % 8);
    }
  CHECK(same == 0);
  CHECK(vae_fingerprint(sizeof x, bytes) == plain);
}

TEST_MAIN(an_epoch_is_its_batches, an_epoch_is_what_it_should_be, frozen_parameters_stay,
          the_state_is_all_there_is,
          threads_change_no_bit, s2_becomes_the_mean_squared_error,
          s2_goes_a_share_of_the_way, s2_below_the_floor_counts_as_the_floor,
          noise_by_the_decoder_is_learned_by_its_gradient,
          an_evaluation_does_not_depend_on_batches,
          the_terms_do_not_depend_on_batches, generation_does_not_depend_on_batches,
          the_step_that_is_not_finite_is_told, parameters_that_are_not_finite_are_told,
          a_gradient_that_is_not_finite_is_told, each_batch_is_polled, a_poll_may_jump_away,
          a_model_learns_its_data, fingerprints_tell_bytes_apart,
          fingerprints_tell_numbers_apart)
