/* What the package computes in float, where the other programs use double: the elementary
 * functions of float_math.h against libm over all exponents; the loops of each.h as in
 * test_each.c; and the whole engine against the reference of vae_reference.h in double.
 *
 * The bounds of the first are those that float_math.h states. */
#include "as_float.h"

#include "each_checks.h"
#include "float_math.h"
#include "status.h"
#include "vae_reference.h"

static const double bound = 4e-7;

/* ---- elementary functions ---------------------------------------------- */

/* Floats from `low` to `high` in bits, some hundred thousand of them, and both ends. */
typedef struct { uint32_t at, last, step; } sweep;

static sweep sweep_bits(uint32_t low, uint32_t high)
{
  return (sweep) {low, high, (high - low) / 300007u | 1u};
}

static int next_of(sweep *s, float *x)
{
  if (s->step == 0) return 0;
  *x = float_of_bits(s->at);
  if (s->at == s->last) s->step = 0;
  else s->at = s->last - s->at > s->step ? s->at + s->step : s->last;
  return 1;
}

static const uint32_t SIGN = 0x80000000u, LEAST_NORMAL = 0x00800000u, LARGEST = 0x7F7FFFFFu,
  INFINITE = 0x7F800000u;

typedef double (*reference_function)(double);
typedef float (*float_function)(float);

static float exp_of(float x) { return float_exp(x); }
static float log_of(float x) { return float_log(x); }
static float root_of(float x) { return float_root(x); }
static float logistic_of(float x) { return float_logistic(x); }
static float tanh_of(float x) { return float_tanh(x); }
static float softplus_of(float x) { return float_softplus(x); }
static float below_of(float x) { return float_normal_below(x, float_exp(-x * x / 2)); }
static float cos_of(float u) { return float_turn(u).cos; }
static float sin_of(float u) { return float_turn(u).sin; }

static const double two_pi = 6.28318530717958647693;

static double logistic(double x)
{
  return x > 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x));
}

static double softplus(double x) { return fmax(x, 0.0) + log1p(exp(-fabs(x))); }
static double normal_below(double x) { return 0.5 * erfc(-x / sqrt(2.0)); }
static double cos_turn(double u) { return cos(two_pi * u); }
static double sin_turn(double u) { return sin(two_pi * u); }

enum scale { RELATIVE, ABSOLUTE, ROUNDED };       /* absolute, but relative above 1 */

static void check_errors(const char *what, float_function f, reference_function g,
                         enum scale by, uint32_t low, uint32_t high)
{
  double worst = 0.0;
  float x = 0.0f, at = 0.0f;
  for (sweep s = sweep_bits(low, high); next_of(&s, &x);) {
    double value = g((double) x), error = fabs((double) f(x) - value);
    if ((double) f(x) == value) continue;
    if (by == RELATIVE || (by == ROUNDED && fabs(value) > 1.0)) error /= fabs(value);
    if (!(error <= worst)) {
      worst = error;
      at = x;
    }
  }
  if (!(worst <= bound)) printf("%s(%.9g): error %.3g\n", what, (double) at, worst);
  CHECK(worst <= bound);
}

/* Normal numbers for all x whose value is one. */
static void exponentials(void)
{
  check_errors("exp", exp_of, exp, RELATIVE, 0, float_bits(88.7228f));
  check_errors("exp", exp_of, exp, RELATIVE, SIGN, float_bits(-87.3365f));
}

/* Beyond, values are denormal and then 0, or infinite; NaN is in not_a_number(). */
static void exponentials_out_of_range(void)
{
  float x = 0.0f;
  size_t bad = 0;
  for (sweep s = sweep_bits(float_bits(-87.3366f), SIGN | INFINITE); next_of(&s, &x);)
    bad += !(fabs((double) float_exp(x) - exp((double) x)) <= 0x1p-149);
  for (sweep s = sweep_bits(float_bits(88.7229f), INFINITE); next_of(&s, &x);)
    bad += float_exp(x) != INFINITY;
  CHECK(bad == 0);
  CHECK(float_exp(0.0f) == 1.0f && float_exp(-0.0f) == 1.0f);
  CHECK(float_exp(-INFINITY) == 0.0f && float_exp(-1e30f) == 0.0f);
  CHECK(float_exp(INFINITY) == INFINITY && float_exp(1e30f) == INFINITY);
}

static void logarithms(void)
{
  check_errors("log", log_of, log, RELATIVE, LEAST_NORMAL, LARGEST);
  check_errors("log", log_of, log, RELATIVE, float_bits(0.9f), float_bits(1.1f));
  CHECK(float_log(1.0f) == 0.0f);
}

static void roots(void)
{
  check_errors("root", root_of, sqrt, RELATIVE, LEAST_NORMAL, LARGEST);
  check_errors("root", root_of, sqrt, RELATIVE, float_bits(0.5f), float_bits(4.0f));
  CHECK(float_root(0.0f) == 0.0f);
}

static void absolute_values(void)
{
  float x = 0.0f;
  size_t bad = 0;
  for (sweep s = sweep_bits(0, INFINITE); next_of(&s, &x);)
    bad += float_abs(x) != x || float_abs(-x) != x || float_bits(float_abs(-x)) >> 31;
  CHECK(bad == 0);
}

static void check_both_signs(const char *what, float_function f, reference_function g,
                             enum scale by)
{
  check_errors(what, f, g, by, 0, INFINITE);
  check_errors(what, f, g, by, SIGN, SIGN | INFINITE);
  check_errors(what, f, g, by, float_bits(0.01f), float_bits(20.0f));
  check_errors(what, f, g, by, float_bits(-0.01f), float_bits(-20.0f));
}

static void sigmoid_functions(void)
{
  check_both_signs("logistic", logistic_of, logistic, ABSOLUTE);
  check_both_signs("tanh", tanh_of, tanh, ABSOLUTE);
  check_both_signs("normal_below", below_of, normal_below, ABSOLUTE);
  check_both_signs("softplus", softplus_of, softplus, ROUNDED);
}

/* Zero, infinities, and values that are exact. */
static void sigmoid_functions_have_their_limits(void)
{
  CHECK(float_logistic(0.0f) == 0.5f && float_logistic(-0.0f) == 0.5f);
  CHECK(float_logistic(INFINITY) == 1.0f && float_logistic(-INFINITY) == 0.0f);
  CHECK(float_tanh(0.0f) == 0.0f && float_tanh(-0.0f) == 0.0f);
  CHECK(float_tanh(INFINITY) == 1.0f && float_tanh(-INFINITY) == -1.0f);
  CHECK(float_softplus(INFINITY) == INFINITY && float_softplus(-INFINITY) == 0.0f);
  CHECK(float_normal_below(INFINITY, 0.0f) == 1.0f);
  CHECK(float_normal_below(-INFINITY, 0.0f) == 0.0f);
}

static void odd_functions_are_odd(void)
{
  float x = 0.0f;
  size_t bad = 0;
  for (sweep s = sweep_bits(0, INFINITE); next_of(&s, &x);)
    bad += float_tanh(-x) != -float_tanh(x);
  CHECK(bad == 0);
}

/* All multiples of 2^-24 that the noise uses, every 17th; small ones; and exact points. */
static void turns(void)
{
  double worst = 0.0, circle = 0.0;
  for (uint32_t i = 0; i <= 1u << 24; i += 17) {
    float u = (float) i * 0x1p-24f;
    float_pair t = float_turn(u);
    double c = cos_turn((double) u), s = sin_turn((double) u);
    double x = (double) t.cos, y = (double) t.sin;
    worst = fmax(worst, fmax(fabs(x - c), fabs(y - s)));
    circle = fmax(circle, fabs(x * x + y * y - 1.0));
  }
  CHECK(worst <= bound);
  CHECK(circle <= 2.0 * bound);
  check_errors("cos", cos_of, cos_turn, RELATIVE, 0, float_bits(0.125f));
  check_errors("sin", sin_of, sin_turn, RELATIVE, LEAST_NORMAL, float_bits(0.125f));
  check_errors("cos", cos_of, cos_turn, ABSOLUTE, 0, float_bits(1.0f));
  check_errors("sin", sin_of, sin_turn, ABSOLUTE, 0, float_bits(1.0f));
  for (int q = 0; q <= 4; q++) {
    static const float cosine[] = {1.0f, 0.0f, -1.0f, 0.0f, 1.0f};
    static const float sine[] = {0.0f, 1.0f, 0.0f, -1.0f, 0.0f};
    float_pair t = float_turn(0.25f * (float) q);
    CHECK(t.cos == cosine[q] && t.sin == sine[q]);
  }
}

static void not_a_number(void)
{
  static const uint32_t patterns[] = {0x7FC00000u, 0xFFC00000u, 0x7FFFFFFFu, 0xFFFFFFFFu};
  for (int i = 0; i < 4; i++) {
    float x = float_of_bits(patterns[i]);
    CHECK(isnan(float_exp(x)));
    CHECK(isnan(float_root(x)));
    CHECK(isnan(float_abs(x)));
    CHECK(isnan(float_logistic(x)));
    CHECK(isnan(float_tanh(x)));
    CHECK(isnan(float_softplus(x)));
    CHECK(isnan(float_normal_below(x, x)));
    CHECK(isnan(float_turn(x).cos) && isnan(float_turn(x).sin));
  }
}

/* ---- the engine -------------------------------------------------------- */

/* Terms and gradients as in test_vae.c, to the precision of float. */
static void the_engine_is_near_its_reference(void)
{
  test_seed(1);
  for (int kind = 0; kind < 108; kind++) {
    vae_shape s = {.p = 3 + test_below(20), .k = 1 + test_below(5),
                   .c = kind % 4 == 3 ? 2 : 0, .shared_d = kind % 2,
                   .noise = (enum vae_noise) (kind % 3), .linear = kind / 6 % 2,
                   .encoder = {(size_t) kind / 3 % 3, {7, 5}, {0}},
                   .decoder = {(size_t) kind / 9 % 3, {4, 9}, {0}}};
    for (int i = 0; i < 2; i++) {
      s.encoder.activation[i] = (enum activation) ((kind + i) % ACTIVATIONS);
      s.decoder.activation[i] = (enum activation) ((kind + 3 + i) % ACTIVATIONS);
    }
    recipe how = {5, 1 + (size_t) kind % 2, kind / 27 % 2, kind % 5 == 0, 0.8,
                  kind % 7 ? 0.0 : 50.0, kind % 6 ? -20.0 : 0.2};
    problem q = new_problem(&s, &how);
    if (kind % 4 == 1) make_uneven(&q);
    check_problem(&q, 2e-5, 1e-4);
    drop_problem(&q);
  }
}

static vae_shape large_shape(int noise)
{
  return (vae_shape) {.p = 70, .k = 12, .shared_d = noise == 1,
                      .noise = (enum vae_noise) noise, .linear = 1,
                      .encoder = {2, {75, 140}, {ACTIVATION_GELU, ACTIVATION_TANH}},
                      .decoder = {2, {33, 70}, {ACTIVATION_SILU, ACTIVATION_RELU}}};
}

static void threads_change_no_bit_of_an_epoch(void)
{
  test_seed(2);
  for (int noise = 0; noise < 3; noise++)
    for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++) {
      vae_shape s = large_shape(noise);
      problem q = new_problem(&s, &(recipe) {395, 1 + (size_t) noise, noise == 1, 0, 1.0,
                                             0.0, -20.0});
      vae_training set = {.model = q.set, .follow = 0.1, .noise_rate = 1.0, .batch = 150,
                          .key = {{1, 2}}};
      set.climb = (optimiser) {.kind = OPTIMISER_ADAM, .rate = 1e-3, .clip = INFINITY,
                               .warm = 2.0};
      for (size_t i = 0; i < q.net.size; i++) q.theta[i] *= (real) 0.2;
      climber at[4];
      vae_progress progress[4];
      for (int threads = 1; threads <= 3; threads++) {
        gemm_plan plan = plan_for((enum gemm_kernel) kernel, threads);
        at[threads] = start_at(q.net.size, q.theta);
        int status = engine_epoch(&q, &set, plan, 1, &at[threads], &progress[threads]);
        CHECK(status == ELBO_OK);
        CHECK(same_climber(&at[threads], &at[1]));
        CHECK(memcmp(&progress[threads], &progress[1], sizeof *progress) == 0);
      }
      CHECK(finite_reals(q.net.size, at[1].theta));
      CHECK(!same_reals(q.net.size, at[1].theta, q.theta));
      for (int threads = 1; threads <= 3; threads++) drop_climber(&at[threads]);
      drop_problem(&q);
    }
}

/* A gradient of finite numbers is shortened though their squares are not floats: that is
 * when it should be. */
static void a_very_long_gradient_is_shortened(void)
{
  real g[] = {(real) 3e25, 0, (real) -4e25}, theta[3] = {0}, m[3] = {0};
  double work[1];
  optimiser o = {.kind = OPTIMISER_SGD, .rate = 1.0, .clip = 1.0};
  optimiser_state at = {theta, m, NULL, 0.0};
  CHECK_NEAR(optimiser_climb(&o, plan_of(GEMM_PORTABLE, 1), 3, g, &at, work), 5e25, 1e-6);
  CHECK_NEAR((double) theta[0], 0.6, 1e-6);
  CHECK_NEAR((double) theta[2], -0.8, 1e-6);
}

/* An s2 whose squared error is no float, though their sum in double is, is told, also where
 * it would follow its optimum: three stretches of 512 features, each with a sum of squares
 * just below the largest float. */
static void an_s2_that_is_not_finite_is_told(void)
{
  vae_shape s = {.p = 1536, .k = 1, .shared_d = 1, .noise = VAE_NOISE_SHARED};
  for (int follows = 0; follows < 2; follows++) {
    problem q = new_problem(&s, &plain_recipe);
    for (size_t i = 0; i < s.p * q.all; i++) q.x[i] = (real) 7e17;
    for (size_t i = 0; i < q.net.size; i++) q.theta[i] = 0;
    q.data.n = 1;
    vae_training set = {.model = q.set, .follow = follows ? 0.5 : 0.0, .noise_rate = 1.0,
                        .batch = 1, .climb = {.rate = 1e-3, .clip = INFINITY}};
    climber at = start_at(q.net.size, q.theta);
    vae_progress p;
    CHECK(engine_epoch(&q, &set, plan_for(gemm_best(), 1), 1, &at, &p) == ELBO_NOT_FINITE);
    CHECK(p.step == 1);
    drop_climber(&at);
    drop_problem(&q);
  }
}

/* Data of three factors, each of four features of its own: the ELBO rises to near the
 * likelihood of the truth, which is a sum over factors; see factor_data() in
 * test_vae_train.c. */
static void an_engine_in_float_learns(void)
{
  enum { N = 1000, P = 12, K = 3 };
  vae_shape s = {.p = P, .k = K, .shared_d = 1, .noise = VAE_NOISE_SHARED};
  test_seed(3);
  problem q = new_problem(&s, &(recipe) {N - 5, 1, 0, 0, 1.0, 0.0, -20.0});
  double truth = 0.0, end_at = 0.0, start = 0.0;
  for (size_t i = 0; i < N; i++)
    for (size_t j = 0; j < K; j++) {
      double z = test_normal(), square = 0.0, along = 0.0;
      for (size_t f = 4 * j; f < 4 * (j + 1); f++) {
        double cell = 2.0 * z + 0.5 * test_normal();
        q.x[f + i * P] = (real) cell;
        square += cell * cell;
        along += 2.0 * cell;
      }
      truth -= 0.5 / N * ((square - along * along / 16.25) / 0.25 + 4.0 * log(0.25) +
                          log(1.0 + 16.0 / 0.25) + 4.0 * log_two_pi);
    }
  vae_training set = {.model = q.set, .noise_rate = 1.0, .batch = 100, .key = {{5, 6}}};
  set.climb = (optimiser) {.kind = OPTIMISER_ADAM, .rate = 0.02, .clip = 1e3};
  climber at = start_at(q.net.size, q.theta);
  for (uint32_t epoch = 1; epoch <= 120; epoch++) {
    vae_progress progress;
    if (epoch > 80) set.climb.rate *= 0.93;
    gemm_plan plan = plan_for(gemm_best(), 2);
    CHECK(engine_epoch(&q, &set, plan, epoch, &at, &progress) == ELBO_OK);
    if (epoch == 1) start = progress.terms.objective;
    end_at = progress.terms.objective;
  }
  CHECK(start < truth - 2.0);
  CHECK(end_at > truth - 0.1 && end_at < truth + 0.1);
  CHECK(at.steps == 1200.0);
  drop_climber(&at);
  drop_problem(&q);
}

TEST_MAIN(exponentials, exponentials_out_of_range, logarithms, roots,
          absolute_values, sigmoid_functions,
          sigmoid_functions_have_their_limits, odd_functions_are_odd, turns, not_a_number,
          EACH_CHECKS, the_engine_is_near_its_reference, threads_change_no_bit_of_an_epoch,
          a_very_long_gradient_is_shortened, an_s2_that_is_not_finite_is_told,
          an_engine_in_float_learns)
