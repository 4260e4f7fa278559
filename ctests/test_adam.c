/* adam against algorithm 1 of Kingma and Ba (2015), one parameter at a time. */
#include "adam.h"
#include "arrays.h"

typedef struct { double theta, m, v, power1, power2; } scalar;

/* The seven lines of the algorithm, with the gradient's sign turned: up. */
static void naive_step(scalar *s, double gradient, double rate)
{
  s->m = 0.9 * s->m + 0.1 * gradient;
  s->v = 0.999 * s->v + 0.001 * (gradient * gradient);
  s->power1 *= 0.9;
  s->power2 *= 0.999;
  double m_hat = s->m / (1.0 - s->power1), v_hat = s->v / (1.0 - s->power2);
  s->theta += rate * m_hat / (sqrt(v_hat) + 1e-8);
}

typedef struct { double *theta, *m, *v; adam_state state; } climber;

static climber new_climber(size_t count)
{
  climber c = {doubles(count), doubles(count), doubles(count), {0}};
  for (size_t i = 0; i < count; i++) {
    c.theta[i] = test_normal();
    c.m[i] = c.v[i] = 0.0;
  }
  c.state = (adam_state) {c.m, c.v, 0.0};
  return c;
}

static void drop(climber *c)
{
  free(c->theta);
  free(c->m);
  free(c->v);
}

/* ---- against the algorithm --------------------------------------------- */

/* Gradients of all sizes, with zeros, and rates that change on the way. */
static void steps_are_those_of_the_algorithm(void)
{
  enum { COUNT = 30 };
  climber c = new_climber(COUNT);
  scalar one[COUNT];
  for (size_t i = 0; i < COUNT; i++) one[i] = (scalar) {c.theta[i], 0.0, 0.0, 1.0, 1.0};
  for (int step = 1; step <= 400; step++) {
    double gradient[COUNT], kept[COUNT], rate = 0.1 / (1.0 + 0.01 * step);
    for (size_t i = 0; i < COUNT; i++) {
      gradient[i] = test_below(5) ? test_normal() * pow(10.0, (double) i / 2.0 - 7.0) : 0.0;
      naive_step(&one[i], gradient[i], rate);
    }
    memcpy(kept, gradient, sizeof kept);
    adam_climb(COUNT, c.theta, gradient, rate, &c.state);
    CHECK(memcmp(kept, gradient, sizeof kept) == 0);
    CHECK(c.state.steps == step && c.state.m == c.m && c.state.v == c.v);
    for (size_t i = 0; i < COUNT; i++) {
      CHECK_NEAR(c.theta[i], one[i].theta, 1e-11);
      CHECK_NEAR(c.m[i] * pow(10.0, 7.0 - (double) i / 2.0),
                 one[i].m * pow(10.0, 7.0 - (double) i / 2.0), 1e-12);
      CHECK(fabs(c.v[i] - one[i].v) <= 1e-12 * one[i].v);
    }
  }
  drop(&c);
}

/* With the bias corrected, m / sqrt(v) of one gradient is its sign. */
static void the_first_step_is_the_learning_rate(void)
{
  static const double gradients[] = {1.0, -1.0, 1e-3, -1e-3, 1e5, -1e5, 1e100, -1e100, 3.7};
  for (double rate = 1e-4; rate < 2.0; rate *= 10.0)
    for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++) {
      double g = gradients[i], theta = 0.0, m = 0.0, v = 0.0;
      adam_state state = {&m, &v, 0.0};
      adam_climb(1, &theta, &g, rate, &state);
      CHECK_NEAR(theta / rate, g > 0.0 ? 1.0 : -1.0, 1e-12 + 1.1e-8 / fabs(g));
    }
}

static void a_constant_gradient_moves_at_the_learning_rate(void)
{
  double g = -2.5, theta = 1.0, m = 0.0, v = 0.0;
  adam_state state = {&m, &v, 0.0};
  for (int step = 1; step <= 5000; step++) {
    adam_climb(1, &theta, &g, 1e-3, &state);
    CHECK_NEAR(theta, 1.0 - 1e-3 * step, 1e-7);
  }
}

static void no_gradient_no_step(void)
{
  double theta[] = {0.3, -7.0, 1e300, 0.0}, kept[4], g[] = {0.0, 0.0, 0.0, -0.0};
  double m[4] = {0}, v[4] = {0};
  adam_state state = {m, v, 0.0};
  memcpy(kept, theta, sizeof kept);
  for (int step = 0; step < 5; step++) adam_climb(4, theta, g, 0.5, &state);
  CHECK(gap(4, theta, kept) == 0.0 && state.steps == 5.0);
  adam_climb(0, theta, g, 0.5, &state);          /* no parameters at all */
  CHECK(gap(4, theta, kept) == 0.0 && state.steps == 6.0);
}

/* A gradient whose square is out of range leaves a number. */
static void extreme_gradients_leave_numbers(void)
{
  double g[] = {1e200, -1e308, 1e-200, -5e-324}, theta[] = {1.0, 1.0, 1.0, 1.0};
  double m[4] = {0}, v[4] = {0};
  adam_state state = {m, v, 0.0};
  for (int step = 0; step < 20; step++) adam_climb(4, theta, g, 0.1, &state);
  CHECK(all_finite(4, theta));
}

/* ---- as a state -------------------------------------------------------- */

/* Theta, m, v and the number of steps are all there is to go on from. */
static void a_copied_state_goes_on_as_the_first(void)
{
  enum { COUNT = 9, STEPS = 40 };
  double gradient[STEPS][COUNT];
  climber a = new_climber(COUNT), b = new_climber(COUNT);
  for (int s = 0; s < STEPS; s++)
    for (int i = 0; i < COUNT; i++) gradient[s][i] = test_normal();
  for (int s = 0; s < 17; s++) adam_climb(COUNT, a.theta, gradient[s], 0.02, &a.state);
  memcpy(b.theta, a.theta, sizeof *a.theta * COUNT);
  memcpy(b.m, a.m, sizeof *a.m * COUNT);
  memcpy(b.v, a.v, sizeof *a.v * COUNT);
  b.state.steps = a.state.steps;
  for (int s = 17; s < STEPS; s++) adam_climb(COUNT, a.theta, gradient[s], 0.02, &a.state);
  for (int s = 17; s < STEPS; s++) adam_climb(COUNT, b.theta, gradient[s], 0.02, &b.state);
  CHECK(gap(COUNT, b.theta, a.theta) == 0.0);
  CHECK(b.state.steps == STEPS);
  drop(&a);
  drop(&b);
}

/* The maximum of -sum of a_i (theta_i - i)^2, a_i from 1e-3 to 1e3. */
static void it_climbs_to_a_maximum(void)
{
  enum { COUNT = 7 };
  climber c = new_climber(COUNT);
  for (int step = 0; step < 6000; step++) {
    double g[COUNT];
    for (int i = 0; i < COUNT; i++) g[i] = -2.0 * pow(10.0, i - 3) * (c.theta[i] - i);
    adam_climb(COUNT, c.theta, g, 0.05 * pow(0.998, step), &c.state);
  }
  for (int i = 0; i < COUNT; i++) CHECK_NEAR(c.theta[i], (double) i, 1e-3);
  drop(&c);
}

TEST_MAIN(steps_are_those_of_the_algorithm, the_first_step_is_the_learning_rate,
          a_constant_gradient_moves_at_the_learning_rate, no_gradient_no_step,
          extreme_gradients_leave_numbers, a_copied_state_goes_on_as_the_first,
          it_climbs_to_a_maximum)
