/* Optimisers in double against the algorithms of climber.h; and what follows from
 * these. */
#include "climber.h"

static climber new_climber(size_t count)
{
  real *theta = normal_reals(count, 1.0);
  climber c = start_at(count, theta);
  free(theta);
  return c;
}

static double climb(const optimiser *o, int kernel, int threads, const real *gradient,
                    climber *c)
{
  double *work = doubles(optimiser_work(c->count));
  gemm_plan plan = {(enum gemm_kernel) kernel, threads, NULL};
  optimiser_state at = state_of(c, o->kind);
  double norm = optimiser_climb(o, plan, c->count, gradient, &at, work);
  CHECK(at.theta == c->theta && at.m == c->m && at.steps == c->steps + 1.0);
  c->steps = at.steps;
  free(work);
  return norm;
}

/* ---- against the algorithms -------------------------------------------- */

/* Gradients of all sizes, with zeros, and rates that change on the way; some are longer
 * than the clip and some not. */
static void check_climbs(int kernel, const optimiser *how, size_t count, int steps)
{
  climber c = new_climber(count), plain = copy_climber(&c);
  real *gradient = reals(count);
  size_t bad = 0;
  for (int step = 1; step <= steps; step++) {
    optimiser o = *how;
    o.rate = how->rate / (1.0 + 0.05 * step);
    double size = exp(test_normal());
    for (size_t i = 0; i < count; i++)
      gradient[i] = test_below(5) == 0 ? 0.0 :
        size * test_normal() * pow(10.0, (double) (i % 9) - 6.0);
    real *kept = copy_reals(count, gradient);
    double norm = climb(&o, kernel, 1 + step % 3, gradient, &c);
    double plainly = naive_norm(count, gradient);
    naive_climb(&o, gradient, &plain);
    bad += !(fabs(norm - plainly) <= 1e-12 * plainly);
    bad += !same_reals(count, gradient, kept);
    for (size_t i = 0; i < count; i++) {
      bad += !near(c.theta[i], plain.theta[i], 1e-9);
      bad += !(fabs(c.m[i] - plain.m[i]) <= 1e-9 * fabs(plain.m[i]) + 1e-18);
      bad += !(fabs(c.v[i] - plain.v[i]) <= 1e-9 * plain.v[i]);
    }
    free(kept);
  }
  if (bad) printf("kernel %d, kind %d, clip %g, %zu parameters\n", kernel, (int) how->kind,
                  how->clip, count);
  CHECK(bad == 0);
  drop_climber(&c);
  drop_climber(&plain);
  free(gradient);
}

static void steps_are_those_of_the_algorithms(void)
{
  static const optimiser kinds[] = {
    {.kind = OPTIMISER_ADAM, .rate = 0.1, .clip = INFINITY},
    {.kind = OPTIMISER_ADAM, .rate = 0.1, .momentum = 0.5, .clip = 30.0, .warm = 40.0},
    {.kind = OPTIMISER_SGD, .rate = 0.01, .clip = INFINITY},
    {.kind = OPTIMISER_SGD, .rate = 0.01, .momentum = 0.9, .clip = 30.0, .warm = 7.5},
    {.kind = OPTIMISER_SGD, .rate = 0.01, .momentum = 0.99, .clip = 1e-3}};
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int k = 0; k < 5; k++) {
      check_climbs(kernel, &kinds[k], 1, 100);
      check_climbs(kernel, &kinds[k], 37, 200);
      check_climbs(kernel, &kinds[k], 20011, 4);   /* several stretches, and threads */
    }
}

/* ---- what follows from them -------------------------------------------- */

/* With the bias corrected, the first step is the sign of the gradient times the rate,
 * whatever its length, clipped or not. */
static void the_first_step_of_adam_is_the_rate(void)
{
  static const double gradients[] = {1.0, -1.0, 1e-3, -1e-3, 1e5, -1e5, 3.7};
  for (double rate = 1e-4; rate < 2.0; rate *= 10.0)
    for (int i = 0; i < 14; i++) {
      real g = gradients[i % 7], theta = 0, m = 0, v = 0;
      climber c = {1, &theta, &m, &v, 0.0};
      optimiser o = {.kind = OPTIMISER_ADAM, .rate = rate, .clip = i < 7 ? INFINITY : 0.01};
      CHECK_NEAR(climb(&o, GEMM_PORTABLE, 1, &g, &c), fabs(g), 1e-15);
      CHECK_NEAR(theta / rate, g > 0.0 ? 1.0 : -1.0, 1e-12 + 1.1e-8 / fmin(fabs(g), 0.01));
    }
}

/* The norm is of all parameters together, as it was; the direction stays. */
static void a_long_gradient_is_shortened(void)
{
  real g[] = {3, 0, -4}, theta[] = {0, 0, 0}, m[] = {0, 0, 0};
  climber c = {3, theta, m, NULL, 0.0};
  optimiser o = {.kind = OPTIMISER_SGD, .rate = 1.0, .clip = 1.0};
  CHECK_NEAR(climb(&o, gemm_best(), 1, g, &c), 5.0, 1e-15);
  CHECK_NEAR(theta[0], 0.6, 1e-15);
  CHECK(theta[1] == 0);
  CHECK_NEAR(theta[2], -0.8, 1e-15);
  o.clip = 5.0;                                  /* as long as allowed */
  CHECK_NEAR(climb(&o, gemm_best(), 1, g, &c), 5.0, 1e-15);
  CHECK_NEAR(theta[0], 3.6, 1e-15);
  CHECK(g[0] == 3 && g[1] == 0 && g[2] == -4);
}

/* The velocity of a constant gradient is g (1 - mu^t) / (1 - mu). */
static void momentum_gathers_speed(void)
{
  real g = 2, theta = 0, m = 0;
  climber c = {1, &theta, &m, NULL, 0.0};
  optimiser o = {.kind = OPTIMISER_SGD, .rate = 0.01, .momentum = 0.9, .clip = INFINITY};
  double sum = 0.0;
  for (int t = 1; t <= 100; t++) {
    double speed = 2.0 * (1.0 - pow(0.9, t)) / 0.1;
    climb(&o, GEMM_PORTABLE, 1, &g, &c);
    sum += 0.01 * speed;
    CHECK_NEAR(m, speed, 1e-12);
    CHECK_NEAR(theta, sum, 1e-12);
  }
}

/* Where the gradient is always 1 a step has the length of the rate (Adam's moments, with
 * their bias corrected, are 1 then): step t of the first 8 has t / 8 of it, and all later
 * ones have all. */
static void the_rate_rises_over_the_first_steps(void)
{
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int kind = 0; kind < 2; kind++) {
      real g = 1, theta = 0, m = 0, v = 0;
      climber c = {1, &theta, &m, &v, 0.0};
      optimiser o = {.kind = (enum optimiser_kind) kind, .rate = 0.25, .clip = INFINITY,
                     .warm = 8.0};
      for (int t = 1; t <= 12; t++) {
        double before = theta;
        climb(&o, kernel, 1, &g, &c);
        CHECK_NEAR(theta - before, t < 8 ? 0.25 * t / 8.0 : 0.25, 1e-8);
      }
    }
}

/* The first steps are those of the state, not of a call: one that has taken as many goes
 * on at the full rate, as where there are no first steps. */
static void steps_that_were_taken_count(void)
{
  static const double warms[] = {0.0, 0.5, 1.0, 50.0};
  for (int kind = 0; kind < 2; kind++) {
    climber c = new_climber(30);
    real *g = normal_reals(30, 1.0);
    c.steps = 49.0;
    climber kept = copy_climber(&c);
    optimiser plain = {.kind = (enum optimiser_kind) kind, .rate = 0.1, .momentum = 0.9,
                       .clip = INFINITY}, slow = plain;
    climb(&plain, gemm_best(), 1, g, &c);
    for (int i = 0; i < 4; i++) {
      climber again = copy_climber(&kept);
      optimiser o = plain;
      o.warm = warms[i];
      climb(&o, gemm_best(), 1, g, &again);
      CHECK(same_climber(&c, &again));
      drop_climber(&again);
    }
    slow.warm = 100.0;
    climb(&slow, gemm_best(), 1, g, &kept);
    for (int i = 0; i < 30; i++) CHECK(kept.theta[i] != c.theta[i]);
    drop_climber(&c);
    drop_climber(&kept);
    free(g);
  }
}

static void no_gradient_is_no_step_at_first(void)
{
  for (int kind = 0; kind < 2; kind++) {
    climber c = new_climber(100), kept = copy_climber(&c);
    real *g = reals(100);
    for (int i = 0; i < 100; i++) g[i] = 0;
    optimiser o = {.kind = (enum optimiser_kind) kind, .rate = 0.5, .momentum = 0.9,
                   .clip = 1.0};
    CHECK(climb(&o, gemm_best(), 2, g, &c) == 0.0);
    CHECK(same_reals(100, c.theta, kept.theta));
    drop_climber(&c);
    drop_climber(&kept);
    free(g);
  }
}

/* A norm that is no number, or infinite, is returned as it is: the caller stops. */
static void what_is_not_finite_is_told(void)
{
  static const double odd[] = {NAN, INFINITY, -INFINITY};
  for (int kind = 0; kind < 2; kind++)
    for (int i = 0; i < 3; i++) {
      climber c = new_climber(20);
      real *g = normal_reals(20, 1.0);
      g[i] = odd[i];
      optimiser o = {.kind = (enum optimiser_kind) kind, .rate = 0.1, .momentum = 0.9,
                     .clip = i % 2 ? 1.0 : INFINITY};
      CHECK(!isfinite(climb(&o, gemm_best(), 1, g, &c)));
      drop_climber(&c);
      free(g);
    }
}

/* Theta, m, v and the number of steps are all there is to go on from; the number of
 * threads does not matter. */
static void a_copied_state_goes_on_as_the_first(void)
{
  enum { COUNT = 17001, STEPS = 7 };
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int kind = 0; kind < 2; kind++) {
      climber a = new_climber(COUNT), b = copy_climber(&a);
      optimiser o = {.kind = (enum optimiser_kind) kind, .rate = 0.1, .momentum = 0.8,
                     .clip = 100.0, .warm = 5.0};
      for (int s = 0; s < STEPS; s++) {
        real *g = normal_reals(COUNT, 1.0);
        if (s == 3) {
          climber again = copy_climber(&b);
          drop_climber(&b);
          b = again;
        }
        CHECK(climb(&o, kernel, 1, g, &a) == climb(&o, kernel, 2 + s % 2, g, &b));
        free(g);
      }
      CHECK(same_climber(&a, &b));
      drop_climber(&a);
      drop_climber(&b);
    }
}

/* The maximum of -sum of a_i (theta_i - i)^2 / 2, a_i from 0.1 to 10. */
static void a_hill_is_climbed(void)
{
  static const optimiser kinds[] = {
    {.kind = OPTIMISER_ADAM, .rate = 0.05, .clip = INFINITY, .warm = 100.0},
    {.kind = OPTIMISER_SGD, .rate = 0.05, .momentum = 0.5, .clip = INFINITY},
    {.kind = OPTIMISER_SGD, .rate = 0.01, .momentum = 0.9, .clip = 50.0, .warm = 100.0},
    {.kind = OPTIMISER_ADAM, .rate = 0.05, .clip = 1.0}};
  enum { COUNT = 5 };
  for (int k = 0; k < 4; k++) {
    climber c = new_climber(COUNT);
    for (int step = 0; step < 6000; step++) {
      real g[COUNT];
      for (int i = 0; i < COUNT; i++)
        g[i] = -pow(10.0, 0.5 * i - 1.0) * (c.theta[i] - (double) i);
      optimiser o = kinds[k];
      if (o.kind == OPTIMISER_ADAM) o.rate *= pow(0.998, step);
      climb(&o, GEMM_PORTABLE, 1, g, &c);
    }
    for (int i = 0; i < COUNT; i++) CHECK_NEAR(c.theta[i], (double) i, 1e-4);
    drop_climber(&c);
  }
}

TEST_MAIN(steps_are_those_of_the_algorithms, the_first_step_of_adam_is_the_rate,
          a_long_gradient_is_shortened, momentum_gathers_speed,
          the_rate_rises_over_the_first_steps, steps_that_were_taken_count,
          no_gradient_is_no_step_at_first, what_is_not_finite_is_told,
          a_copied_state_goes_on_as_the_first, a_hill_is_climbed)
