/* Layers in double against definitions written out and central differences. */
#include "arrays.h"
#include "layer.h"
#include "status.h"

enum { KINDS = ACTIVATION_SILU + 1 };

/* Activations by their definitions, naively. */
static double value_of(int kind, double v)
{
  switch (kind) {
  case ACTIVATION_RELU: return fmax(v, 0.0);
  case ACTIVATION_LEAKY_RELU: return v > 0.0 ? v : 0.01 * v;
  case ACTIVATION_ELU: return v > 0.0 ? v : exp(v) - 1.0;
  case ACTIVATION_TANH: return (exp(v) - exp(-v)) / (exp(v) + exp(-v));
  case ACTIVATION_SIGMOID: return 1.0 / (1.0 + exp(-v));
  case ACTIVATION_SOFTPLUS: return log(1.0 + exp(v));
  case ACTIVATION_GELU: return 0.5 * v * (1.0 + erf(v / sqrt(2.0)));
  case ACTIVATION_SILU: return v / (1.0 + exp(-v));
  default: return v;
  }
}

static const gemm_plan plan = {GEMM_PORTABLE, 1};

typedef struct {
  layer l;
  size_t batch, ldx;
  double *theta, *x, *weight;   /* weight: of each y in the loss */
} problem;

static double *normals(size_t n)
{
  double *a = doubles(n);
  for (size_t i = 0; i < n; i++) a[i] = test_normal();
  return a;
}

static problem new_problem(int kind, size_t in, size_t out, size_t batch)
{
  layer l = {in, out, (enum activation) kind, 3};
  problem q = {l, batch, in + 2, normals(layer_size(&l) + 3), normals((in + 2) * batch),
               normals(out * batch)};
  return q;
}

static void drop(problem *q)
{
  free(q->theta);
  free(q->x);
  free(q->weight);
}

static double loss(const problem *q)
{
  double *y = doubles(q->l.out * q->batch), sum = 0.0;
  CHECK(layer_forward(&q->l, plan, q->theta, q->batch, q->x, q->ldx, y, NULL) == ELBO_OK);
  for (size_t i = 0; i < q->l.out * q->batch; i++) sum += q->weight[i] * y[i];
  free(y);
  return sum;
}

/* Fourth order: the error is of order h^4. */
static double difference(const problem *q, double *at)
{
  const double h = 1e-3, v = *at;
  double f[4], step[4] = {-2.0, -1.0, 1.0, 2.0};
  for (int i = 0; i < 4; i++) {
    *at = v + step[i] * h;
    f[i] = loss(q);
  }
  *at = v;
  return (f[0] - 8.0 * f[1] + 8.0 * f[2] - f[3]) / (12.0 * h);
}

static void activations_match_their_definitions(void)
{
  for (int kind = 0; kind < KINDS; kind++)
    for (double v = -6.0; v < 6.0; v += 0.25) {
      layer l = {1, 1, (enum activation) kind, 0};
      double theta[2] = {1.0, 0.0}, y, slope;
      CHECK(layer_forward(&l, plan, theta, 1, &v, 1, &y, &slope) == ELBO_OK);
      CHECK_NEAR(y, value_of(kind, v), 1e-14);
      if (v == 0.0) continue;                      /* a corner of some */
      double d = (value_of(kind, v + 1e-4) - value_of(kind, v - 1e-4)) / 2e-4;
      CHECK_NEAR(slope, d, 1e-7);
    }
}

static void activations_far_out_are_finite(void)
{
  static const double far[] = {-1e300, -800.0, -40.0, 40.0, 800.0, 1e300};
  for (int kind = 0; kind < KINDS; kind++)
    for (int i = 0; i < 6; i++) {
      layer l = {1, 1, (enum activation) kind, 0};
      double theta[2] = {1.0, 0.0}, y, slope;
      layer_forward(&l, plan, theta, 1, &far[i], 1, &y, &slope);
      CHECK(isfinite(y) && isfinite(slope));
    }
}

static void forward_is_the_definition(void)
{
  for (int kind = 0; kind < KINDS; kind++) {
    problem q = new_problem(kind, 4, 3, 5);
    double *y = doubles(15);
    layer_forward(&q.l, plan, q.theta, 5, q.x, q.ldx, y, NULL);
    for (size_t i = 0; i < 5; i++)
      for (size_t j = 0; j < 3; j++) {
        double v = q.theta[3 + 12 + j];
        for (size_t f = 0; f < 4; f++) v += q.theta[3 + j + 3 * f] * q.x[f + i * q.ldx];
        CHECK_NEAR(y[j + 3 * i], value_of(kind, v), 1e-13);
      }
    free(y);
    drop(&q);
  }
}

static void check_gradients(int kind, size_t in, size_t out, size_t batch)
{
  problem q = new_problem(kind, in, out, batch);
  size_t size = layer_size(&q.l);
  double *y = doubles(out * batch), *slope = doubles(out * batch);
  double *dy = doubles(out * batch), *gradient = doubles(size + 3), *dx = doubles(in * batch);
  for (size_t i = 0; i < size + 3; i++) gradient[i] = 7.0;
  memcpy(dy, q.weight, out * batch * sizeof *dy);
  CHECK(layer_forward(&q.l, plan, q.theta, batch, q.x, q.ldx, y, slope) == ELBO_OK);
  CHECK(layer_backward(&q.l, plan, q.theta, batch, q.x, q.ldx, slope, dy, gradient, dx) ==
        ELBO_OK);
  for (size_t i = 0; i < 3; i++) CHECK(gradient[i] == 7.0);
  for (size_t i = 0; i < size; i++)
    CHECK_NEAR(gradient[3 + i], difference(&q, q.theta + 3 + i), 1e-7);
  for (size_t i = 0; i < batch; i++)
    for (size_t f = 0; f < in; f++)
      CHECK_NEAR(dx[f + i * in], difference(&q, q.x + f + i * q.ldx), 1e-7);
  free(y);
  free(slope);
  free(dy);
  free(gradient);
  free(dx);
  drop(&q);
}

static void backward_is_the_derivative(void)
{
  static const size_t shapes[][3] = {{1, 1, 1}, {4, 3, 5}, {2, 7, 1}, {6, 1, 3}};
  for (int kind = 0; kind < KINDS; kind++)
    for (int s = 0; s < 4; s++)
      check_gradients(kind, shapes[s][0], shapes[s][1], shapes[s][2]);
}

TEST_MAIN(activations_match_their_definitions, activations_far_out_are_finite,
          forward_is_the_definition, backward_is_the_derivative)
