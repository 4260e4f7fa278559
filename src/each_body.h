/* The loops for one instruction set: included by each.c with NAME() and TARGET, an
 * attribute. All are over contiguous numbers and by one thread. */

/* ---- activations ------------------------------------------------------- */

/* y[i] = value at v = y[i], slope[i] = derivative, both expressions in v. */
#define ACTIVATION(name, before, value, derivative)                             \
  TARGET static void NAME(name)(size_t n, real *y, real *slope)                  \
  {                                                                              \
    if (slope) {                                                                 \
      SIMD                                                                       \
      for (size_t i = 0; i < n; i++) {                                           \
        real v = y[i];                                                           \
        before                                                                   \
        y[i] = value;                                                            \
        slope[i] = derivative;                                                   \
      }                                                                          \
    } else {                                                                     \
      SIMD                                                                       \
      for (size_t i = 0; i < n; i++) {                                           \
        real v = y[i];                                                           \
        before                                                                   \
        y[i] = value;                                                            \
      }                                                                          \
    }                                                                            \
  }

ACTIVATION(identity, , v, 1)
ACTIVATION(relu, real a = v > 0 ? 1 : 0;, a * v, a)
ACTIVATION(leaky_relu, real a = v > 0 ? 1 : LEAK;, a * v, a)
ACTIVATION(elu, real e = real_exp(v > 0 ? 0 : v);, v > 0 ? v : e - 1, e)
ACTIVATION(hyperbolic_tangent, real t = real_tanh(v);, t, 1 - t * t)
ACTIVATION(sigmoid, real s = real_logistic(v);, s, s * real_logistic(-v))
ACTIVATION(softplus, , real_softplus(v), real_logistic(v))
ACTIVATION(gelu, real e = real_exp(-v * v / 2); real b = real_normal_below(v, e);, v * b,
           b + v * e * NORMAL_DENSITY)
ACTIVATION(silu, real s = real_logistic(v);, v * s, s * (1 + v * real_logistic(-v)))
#undef ACTIVATION

TARGET static void NAME(multiply)(size_t n, const real *a, real *y)
{
  SIMD
  for (size_t i = 0; i < n; i++) y[i] *= a[i];
}

/* ---- a batch ----------------------------------------------------------- */

TARGET static void NAME(fill)(size_t p, const real *x, const real *fill, real *to,
                              real *seen)
{
  SIMD
  for (size_t j = 0; j < p; j++) {
    int is = x[j] == x[j];
    seen[j] = is ? 1 : 0;
    to[j] = is ? x[j] : fill[j];
  }
}

TARGET static void NAME(sample)(size_t k, const real *mean, real *log_d,
                                const real *noise, real *sd, real *z)
{
  SIMD
  for (size_t j = 0; j < k; j++) {
    real v = log_d[j] < -LOG_D_MOST ? -LOG_D_MOST : log_d[j];
    log_d[j] = v > LOG_D_MOST ? LOG_D_MOST : v;
    sd[j] = real_exp(log_d[j] / 2);
    z[j] = mean[j] + sd[j] * noise[j];
  }
}

/* Without and with `seen`, for one s2; returns the sum of the squared errors. */
TARGET static double NAME(compare_one)(size_t p, const real *x, const real *seen,
                                       real weight, real *g)
{
  real sum = 0;
  if (seen) {
    SIMD_SUM(sum)
    for (size_t j = 0; j < p; j++) {
      real error = seen[j] * (x[j] - g[j]);
      sum += error * error;
      g[j] = weight * error;
    }
  } else {
    SIMD_SUM(sum)
    for (size_t j = 0; j < p; j++) {
      real error = x[j] - g[j];
      sum += error * error;
      g[j] = weight * error;
    }
  }
  return (double) sum;
}

TARGET static double NAME(count)(size_t p, const real *seen)
{
  real sum = 0;
  SIMD_SUM(sum)
  for (size_t j = 0; j < p; j++) sum += seen[j];
  return (double) sum;
}

/* With s2 of each feature: returns -2 times the log density, but for log 2 pi. */
#define COMPARE(observed)                                                         \
  SIMD_SUM3(sum, low, spread)                                                     \
  for (size_t j = 0; j < p; j++) {                                                \
    real is = observed, given = log_s2[j];                                        \
    real below = is * (given < floor[j] ? 1 : 0);                                 \
    real log_v = given < floor[j] ? floor[j] : given;                             \
    real precision = real_exp(-log_v), error = is * (x[j] - g[j]);                \
    real square = error * error * precision;                                      \
    sum += square + is * log_v;                                                   \
    low += is * (given <= floor[j] ? 1 : 0);                                      \
    spread += is * square_unit[j] * real_exp(log_v);                              \
    g[j] = share * error * precision;                                             \
    real rise = is * share * (square - 1) / 2;                                    \
    slope[j] = rise * (below > 0 ? rise > 0 ? 1 : 0 : 1);                         \
  }

TARGET static double NAME(compare_each)(size_t p, const real *x, const real *seen,
                                        real share, const real *floor,
                                        const real *square_unit, const real *log_s2,
                                        real *g, real *slope, double *raised,
                                        double *variance)
{
  real sum = 0, low = 0, spread = 0;
  if (seen) {
    COMPARE(seen[j])
  } else {
    COMPARE(1)
  }
  *raised = (double) low;
  *variance = (double) spread;
  return (double) sum;
}
#undef COMPARE

/* A derivative by log_d: at a limit of that, only a way back. */
#define WITHIN(v, rise)                                                           \
  ((rise) * ((v) >= LOG_D_MOST ? (rise) < 0 ? 1 : 0 :                             \
             (v) <= -LOG_D_MOST ? (rise) > 0 ? 1 : 0 : 1))
TARGET static void NAME(latent_slopes)(size_t k, size_t samples, size_t apart,
                                       const real *dz, const real *noise,
                                       const real *sd, const real *weight, real *mean,
                                       real *log_d)
{
  if (samples == 1) {
    SIMD
    for (size_t j = 0; j < k; j++) {
      real rise = (dz[j] * sd[j] * noise[j] - weight[j] * (sd[j] * sd[j] - 1)) / 2;
      log_d[j] = WITHIN(log_d[j], rise);
      mean[j] = dz[j] - weight[j] * mean[j];
    }
    return;
  }
  for (size_t j = 0; j < k; j++) {
    real by_mean = 0, by_sd = 0;
    for (size_t s = 0; s < samples; s++) {
      by_mean += dz[j + s * apart];
      by_sd += dz[j + s * apart] * noise[j + s * apart];
    }
    real rise = (by_sd * sd[j] - weight[j] * (sd[j] * sd[j] - 1)) / 2;
    log_d[j] = WITHIN(log_d[j], rise);
    mean[j] = by_mean - weight[j] * mean[j];
  }
}
#undef WITHIN

/* ---- noise ------------------------------------------------------------- */

/* Philox's ten rounds for the blocks first .. first + n - 1 of (epoch, observation,
 * sample). */
TARGET static void NAME(philox)(rng_key key, uint32_t epoch, uint32_t observation,
                                uint32_t sample, size_t first, size_t n,
                                uint32_t words[4][STRIP])
{
  for (size_t j = 0; j < n; j++) {
    words[0][j] = (uint32_t) (first + j);
    words[1][j] = observation;
    words[2][j] = epoch;
    words[3][j] = sample;
  }
  uint32_t k0 = key.key[0], k1 = key.key[1];
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    SIMD
    for (size_t j = 0; j < n; j++) {
      uint64_t a = (uint64_t) 0xD2511F53u * words[0][j];
      uint64_t b = (uint64_t) 0xCD9E8D57u * words[2][j];
      words[0][j] = (uint32_t) (b >> 32) ^ words[1][j] ^ k0;
      words[1][j] = (uint32_t) b;
      words[2][j] = (uint32_t) (a >> 32) ^ words[3][j] ^ k1;
      words[3][j] = (uint32_t) a;
    }
  }
}

/* How many of `n` numbers from `at` on are among the first `count`. */
static size_t NAME(within)(size_t n, size_t at, size_t count)
{
  size_t left = at < count ? count - at : 0;
  return left < n ? left : n;
}

/* Two pairs of Box and Muller from block j of `blocks`: number j + part * blocks for part
 * 0 to 3, of which there are `count`. */
TARGET static void NAME(normals)(rng_key key, uint32_t epoch, uint32_t observation,
                                 uint32_t sample, size_t count, real *out)
{
  uint32_t words[4][STRIP];
  real strip[4][STRIP];
  size_t blocks = (count + 3) / 4;
  for (size_t first = 0; first < blocks; first += STRIP) {
    size_t n = NAME(within)(STRIP, first, blocks);
    NAME(philox)(key, epoch, observation, sample, first, n, words);
    for (int pair = 0; pair < 2; pair++) {
      SIMD
      for (size_t j = 0; j < n; j++) {
        float u = (float) (int32_t) ((words[2 * pair][j] >> 8) + 1u) * 0x1p-24f;
        float turn = (float) (int32_t) (words[2 * pair + 1][j] >> 8) * 0x1p-24f;
        float radius = float_root(-2.0f * float_log(u));
        float_pair at = float_turn(turn);
        strip[2 * pair][j] = radius * at.cos;
        strip[2 * pair + 1][j] = radius * at.sin;
      }
    }
    for (size_t part = 0; part < 4; part++) {
      size_t at = first + part * blocks, some = NAME(within)(n, at, count);
      if (some) memcpy(out + at, strip[part], some * sizeof *out);
    }
  }
}

/* The pixels of one observation, NaN as NaN, with word `part` of block j for pixel
 * j + part * blocks; returns the log-Jacobian. */
TARGET static double NAME(dequantise)(rng_key key, uint32_t epoch, uint32_t observation,
                                      const each_pixels *pixels, size_t p, const real *x,
                                      real *to)
{
  uint32_t words[4][STRIP];
  double steep = (1.0 - 2.0 * pixels->alpha) / pixels->levels, jacobian = 0.0;
  real alpha = (real) pixels->alpha, levels = (real) pixels->levels, slope = (real) steep;
  real log_slope = (real) log(steep);
  size_t blocks = (p + 3) / 4;
  for (size_t first = 0; first < blocks; first += STRIP) {
    size_t n = NAME(within)(STRIP, first, blocks);
    NAME(philox)(key, epoch, observation, RNG_PIXELS, first, n, words);
    for (size_t part = 0; part < 4; part++) {
      size_t at = first + part * blocks, some = NAME(within)(n, at, p);
      const real *v = x + at, *mu = pixels->mu + at, *unit = pixels->unit + at;
      real *y = to + at, sum = 0;
      SIMD_SUM(sum)
      for (size_t j = 0; j < some; j++) {
        real u = (real) (int32_t) (words[part][j] >> 8 | 1u) * (real) 0x1p-24;
        real low = real_log(alpha + slope * (v[j] + u));
        real high = real_log(alpha + slope * (levels - v[j] - u));
        int is = v[j] == v[j];
        sum += is ? log_slope - low - high : 0;
        y[j] = is ? (low - high - mu[j]) * unit[j] : v[j];
      }
      jacobian += (double) sum;
    }
  }
  return jacobian;
}

/* ---- parameters -------------------------------------------------------- */

TARGET static void NAME(adam)(size_t n, const each_rates *r, const real *gradient,
                              real *theta, real *m, real *v)
{
  real scale = r->scale, rate = r->rate, root = r->inverse_root;
  SIMD
  for (size_t i = 0; i < n; i++) {
    real g = scale * gradient[i];
    m[i] += (real) (1.0 - ADAM_1) * (g - m[i]);
    v[i] += (real) (1.0 - ADAM_2) * (g * g - v[i]);
    theta[i] += rate * m[i] / (real_root(v[i]) * root + (real) ADAM_EPSILON);
  }
}

TARGET static void NAME(sgd)(size_t n, const each_rates *r, const real *gradient,
                             real *theta, real *m)
{
  real scale = r->scale, rate = r->rate, momentum = r->momentum;
  SIMD
  for (size_t i = 0; i < n; i++) {
    m[i] = momentum * m[i] + scale * gradient[i];
    theta[i] += rate * m[i];
  }
}

/* In double: the square of a float may not be one. */
TARGET static double NAME(squares)(size_t n, const real *a)
{
  double sum = 0;
  SIMD_SUM(sum)
  for (size_t i = 0; i < n; i++) sum += (double) a[i] * (double) a[i];
  return sum;
}

static const each_loops NAME(loops) = {
  .activate = {
    [ACTIVATION_IDENTITY] = NAME(identity), [ACTIVATION_RELU] = NAME(relu),
    [ACTIVATION_LEAKY_RELU] = NAME(leaky_relu), [ACTIVATION_ELU] = NAME(elu),
    [ACTIVATION_TANH] = NAME(hyperbolic_tangent), [ACTIVATION_SIGMOID] = NAME(sigmoid),
    [ACTIVATION_SOFTPLUS] = NAME(softplus), [ACTIVATION_GELU] = NAME(gelu),
    [ACTIVATION_SILU] = NAME(silu)
  },
  .multiply = NAME(multiply), .fill = NAME(fill), .sample = NAME(sample),
  .compare_one = NAME(compare_one), .count = NAME(count),
  .compare_each = NAME(compare_each), .latent_slopes = NAME(latent_slopes),
  .dequantise = NAME(dequantise), .normals = NAME(normals), .adam = NAME(adam),
  .sgd = NAME(sgd), .squares = NAME(squares)
};
