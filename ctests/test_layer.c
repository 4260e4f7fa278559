/* Layers in double, with biases and without: forwards against loops over
 * y = activation(W x + b), in place of what was in y or added to it; backwards against
 * central differences of a loss that those loops compute; arrays of exactly their size
 * with a marker where nothing should be written. */
#include "activations.h"
#include "layer.h"
#include "reals.h"

enum { OFFSET = 3 };          /* parameters of others, on either side in theta */

typedef struct {
  layer l;
  size_t batch, ldy;
  int add;                    /* y is added to `start` (out x batch) */
  real *theta, *x, *weight, *start;   /* weight: of each y in the loss */
} problem;

/* A map, without biases, needs no ones. */
static problem new_problem(int which, int biased, size_t in, size_t out, size_t batch,
                           size_t below)
{
  size_t size = out * (in + (size_t) biased);
  problem q = {.l = {.in = in, .out = out, .biased = biased,
                     .activation = (enum activation) which, .offset = OFFSET},
               .batch = batch, .ldy = out + below,
               .theta = normal_reals(size + 2 * OFFSET, 0.7),
               .x = normal_reals((in + 1) * batch, 1.0),
               .weight = normal_reals(out * batch, 1.0),
               .start = normal_reals(out * batch, 1.0)};
  for (size_t i = 0; i < batch; i++) q.x[in + i * (in + 1)] = biased ? 1 : (real) NAN;
  for (size_t i = 0; i < OFFSET; i++) q.theta[i] = q.theta[OFFSET + size + i] = NAN;
  return q;
}

static void drop(problem *q)
{
  free(q->theta);
  free(q->x);
  free(q->weight);
  free(q->start);
}

static const double *weights(const problem *q)
{
  return q->theta + OFFSET;
}

/* W x + b of unit j for column i; W has `out` rows. */
static double before_activation(const problem *q, size_t j, size_t i)
{
  size_t in = q->l.in, out = q->l.out;
  double v = q->l.biased ? weights(q)[in * out + j] : 0.0;
  for (size_t f = 0; f < in; f++) v += weights(q)[j + f * out] * q->x[f + i * (in + 1)];
  return v;
}

static size_t size_of(size_t rows, size_t cols, size_t ld)
{
  return cols ? ld * (cols - 1) + rows : 0;
}

/* ---- forwards ---------------------------------------------------------- */

/* The row of ones is there if ldy has room for it, and nothing else is written below y. */
static size_t wrong_outputs(const problem *q, const real *y, const real *slope)
{
  size_t bad = 0, out = q->l.out;
  int which = (int) q->l.activation;
  for (size_t i = 0; i < q->batch; i++) {
    for (size_t j = 0; j < out; j++) {
      double v = before_activation(q, j, i), was = q->add ? q->start[j + i * out] : 0.0;
      bad += !near(y[j + i * q->ldy], was + activation_value(which, v), 1e-13);
      if (slope && (fabs(v) > 3e-3 || !activation_has_corner(which)))
        bad += !near(slope[j + i * out], activation_slope(which, v), 1e-9);
    }
    bad += q->ldy > out && y[out + i * q->ldy] != 1;
    for (size_t j = out + 1; j < q->ldy && i + 1 < q->batch; j++)
      bad += y[j + i * q->ldy] != between;
  }
  return bad;
}

static void check_forward(int kernel, problem *q, int slopes)
{
  size_t last_rows = q->ldy > q->l.out ? q->l.out + 1 : q->l.out, bad = 0;
  size_t size = size_of(last_rows, q->batch, q->ldy);
  real *one = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    real *y = reals(size), *slope = slopes ? reals(q->l.out * q->batch) : NULL;
    for (size_t i = 0; i < size; i++) y[i] = i % q->ldy > q->l.out ? between : (real) NAN;
    for (size_t i = 0; q->add && i < q->l.out * q->batch; i++)
      y[i % q->l.out + i / q->l.out * q->ldy] = q->start[i];
    layer_forward(&q->l, plan_for((enum gemm_kernel) kernel, threads), q->theta, q->batch,
                  q->x, y, q->ldy, q->add, slope);
    bad += wrong_outputs(q, y, q->l.activation == ACTIVATION_IDENTITY ? NULL : slope) +
      spilled();
    if (threads == 1) one = y;
    else {
      bad += !same_reals(size, y, one);
      free(y);
    }
    free(slope);
  }
  if (bad) printf("kernel %d, activation %d, %zu to %zu, %zu columns, biased %d, add %d\n",
                  kernel, (int) q->l.activation, q->l.in, q->l.out, q->batch, q->l.biased,
                  q->add);
  CHECK(bad == 0);
  free(one);
}

typedef struct { size_t in, out, batch; } shape;

static const shape shapes[] = {{1, 1, 1}, {0, 3, 2}, {4, 3, 5}, {2, 7, 1}, {6, 1, 3},
                               {17, 19, 18}, {70, 65, 260}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void outputs_are_those_of_loops(void)
{
  test_seed(1);
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int which = 0; which < ACTIVATIONS; which++)
      for (int s = 0; s < SHAPES; s++)
        for (size_t below = 0; below < 3; below++) {
          int biased = (which + s) % 3 > 0;
          problem q = new_problem(which, biased, shapes[s].in, shapes[s].out,
                                  shapes[s].batch, below);
          check_forward(kernel, &q, (which + (int) below) % 2);
          drop(&q);
        }
}

/* With room for a row of ones and without. */
static void outputs_are_added_to_what_is_there(void)
{
  test_seed(4);
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int biased = 0; biased < 2; biased++)
      for (int s = 0; s < SHAPES; s++)
        for (size_t below = 0; below < 3; below++) {
          problem q = new_problem(ACTIVATION_IDENTITY, biased, shapes[s].in, shapes[s].out,
                                  shapes[s].batch, below);
          q.add = 1;
          check_forward(kernel, &q, 0);
          drop(&q);
        }
}

static void a_size_counts_weights_and_biases(void)
{
  for (size_t in = 0; in < 9; in++)
    for (size_t out = 0; out < 9; out++) {
      layer l = {.in = in, .out = out, .biased = 1, .activation = ACTIVATION_TANH,
                 .offset = 5};
      CHECK(layer_size(&l) == out * in + out);
      l.biased = 0;
      CHECK(layer_size(&l) == out * in);
    }
}

/* ---- backwards --------------------------------------------------------- */

static double loss(const problem *q)
{
  double sum = 0.0;
  for (size_t i = 0; i < q->batch; i++)
    for (size_t j = 0; j < q->l.out; j++)
      sum += q->weight[j + i * q->l.out] *
        activation_value((int) q->l.activation, before_activation(q, j, i));
  return sum;
}

/* No activation has its corner within the steps of the differences. */
static int clear_of_corners(const problem *q)
{
  for (size_t i = 0; i < q->l.out * q->batch; i++)
    if (fabs(before_activation(q, i % q->l.out, i / q->l.out)) < 2e-4) return 0;
  return 1;
}

static problem problem_without_corners(int which, int biased, const shape *s)
{
  for (;;) {
    problem q = new_problem(which, biased, s->in, s->out, s->batch, 0);
    if (!activation_has_corner(which) || clear_of_corners(&q)) return q;
    drop(&q);
  }
}

static double difference(const problem *q, real *at)
{
  const double kept = *at, h = activation_has_corner((int) q->l.activation) ? 1e-5 : 1e-3;
  double f[4];
  for (int i = 0; i < 4; i++) {
    *at = kept + difference_steps[i] * h;
    f[i] = loss(q);
  }
  *at = kept;
  return difference_of(f, h);
}

typedef struct { real *dy, *gradient, *dx; } derivatives;

/* What was in dx before counts where it is added to, and only there. */
static derivatives run_backward(const problem *q, gemm_plan plan, size_t wanted, int add)
{
  size_t out = q->l.out, size = layer_size(&q->l);
  derivatives d = {copy_reals(out * q->batch, q->weight), reals(size + 2 * OFFSET),
                   reals(wanted * q->batch)};
  real *y = reals(out * q->batch), *slope = reals(out * q->batch);
  for (size_t i = 0; i < size + 2 * OFFSET; i++)
    if (i < OFFSET || i >= OFFSET + size) d.gradient[i] = between;
  for (size_t i = 0; add && i < wanted * q->batch; i++) d.dx[i] = (real) i;
  int identity = q->l.activation == ACTIVATION_IDENTITY;
  layer_forward(&q->l, plan, q->theta, q->batch, q->x, y, out, 0, identity ? NULL : slope);
  layer_backward(&q->l, plan, q->theta, q->batch, q->x, identity ? NULL : slope, d.dy,
                 d.gradient, wanted, add, wanted ? d.dx : NULL);
  free(y);
  free(slope);
  return d;
}

static void drop_derivatives(derivatives *d)
{
  free(d->dy);
  free(d->gradient);
  free(d->dx);
}

static void check_backward(int kernel, problem *q, size_t wanted, int add)
{
  size_t in = q->l.in, out = q->l.out, size = layer_size(&q->l), bad = 0;
  derivatives d = run_backward(q, plan_for((enum gemm_kernel) kernel, 1), wanted, add);
  for (size_t i = 0; i < OFFSET; i++)
    bad += d.gradient[i] != between || d.gradient[OFFSET + size + i] != between;
  for (size_t i = 0; i < size; i++)
    bad += !near(d.gradient[OFFSET + i], difference(q, q->theta + OFFSET + i), 1e-8);
  for (size_t i = 0; i < q->batch; i++)
    for (size_t f = 0; f < wanted; f++) {
      double before = add ? (double) (f + i * wanted) : 0.0;
      bad += !near(d.dx[f + i * wanted] - before, difference(q, q->x + f + i * (in + 1)),
                   1e-8);
    }
  for (size_t i = 0; i < out * q->batch; i++) {
    double v = before_activation(q, i % out, i / out);
    double slope = activation_slope((int) q->l.activation, v);
    bad += fabs(v) > 3e-3 && !near(d.dy[i], q->weight[i] * slope, 1e-8);
  }
  if (bad) printf("kernel %d, activation %d, %zu to %zu, %zu columns, %zu wanted, biased %d, "
                  "add %d\n", kernel, (int) q->l.activation, in, out, q->batch, wanted,
                  q->l.biased, add);
  CHECK(bad == 0);
  drop_derivatives(&d);
}

static void derivatives_are_differences(void)
{
  test_seed(2);
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int which = 0; which < ACTIVATIONS; which++)
      for (int s = 0; s < SHAPES - 1; s++)
        for (int add = 0; add < 2; add++) {
          int large = s == SHAPES - 2;
          if (large && which % 4 != add) continue;
          int biased = shapes[s].in == 0 || (which + s + add) % 2;
          problem q = problem_without_corners(which, biased, &shapes[s]);
          check_backward(kernel, &q, q.l.in / 2, add);
          if (!large) check_backward(kernel, &q, q.l.in, add);
          if (!large) check_backward(kernel, &q, 0, add);
          drop(&q);
        }
}

/* Large enough to be shared. */
static void threads_change_no_bit(void)
{
  test_seed(3);
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int which = 0; which < ACTIVATIONS; which += 4) {
      problem q = new_problem(which, which != ACTIVATION_IDENTITY, 70, 65, 260, 0);
      derivatives one = run_backward(&q, plan_for((enum gemm_kernel) kernel, 1), 70, 1);
      for (int threads = 2; threads <= 3; threads++) {
        gemm_plan plan = plan_for((enum gemm_kernel) kernel, threads);
        derivatives d = run_backward(&q, plan, 70, 1);
        CHECK(same_reals(layer_size(&q.l), d.gradient + OFFSET, one.gradient + OFFSET));
        CHECK(same_reals(70 * 260, d.dx, one.dx));
        CHECK(same_reals(65 * 260, d.dy, one.dy));
        drop_derivatives(&d);
      }
      drop_derivatives(&one);
      drop(&q);
    }
}

TEST_MAIN(outputs_are_those_of_loops, outputs_are_added_to_what_is_there,
          a_size_counts_weights_and_biases, derivatives_are_differences,
          threads_change_no_bit)
