/* Elementwise loops; see each.h for the contract. The loops themselves are in
 * each_body.h, compiled here for each instruction set. */
#if defined(__GNUC__) && !defined(__clang__)
# pragma GCC optimize("no-trapping-math")    /* or no loop with a choice is a vector's */
#endif
#include <math.h>
#include <string.h>

#include "adam.h"
#include "each.h"
#include "float_math.h"
#include "threads.h"

/* GCC for Windows may keep wide vectors on a stack that is not aligned for them (GCC bug
 * 54412). The tiles of gemm.c need no stack. */
#if defined(__x86_64__) && defined(__GNUC__) && (!defined(_WIN32) || defined(__clang__))
# define EACH_X86
#endif
#define PRAGMA(x) _Pragma(#x)
#ifdef _OPENMP
# define SIMD PRAGMA(omp simd)
# define SIMD_SUM(a) PRAGMA(omp simd reduction(+:a))
# define SIMD_SUM3(a, b, c) PRAGMA(omp simd reduction(+:a, b, c))
#else
# define SIMD
# define SIMD_SUM(a)
# define SIMD_SUM3(a, b, c)
#endif

static const real LEAK = (real) 0.01, LOG_D_MOST = EACH_LOG_D,
  NORMAL_DENSITY = (real) 0.39894228040143267794;
static const double LOG_2PI = 1.8378770664093454836;

enum { STRIP = 64 };          /* blocks of four random words at a time */

/* ---- functions of a real ----------------------------------------------- */

#ifdef ELBO_REAL_DOUBLE
static double real_exp(double x) { return exp(x); }
static double real_log(double x) { return log(x); }
static double real_tanh(double x) { return tanh(x); }
static double real_root(double x) { return sqrt(x); }

static double real_logistic(double x)
{
  double e = exp(-fabs(x));
  return x >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

static double real_softplus(double x)
{
  return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x)));
}

static double real_normal_below(double x, double e)
{
  (void) e;
  return 0.5 * erfc(-x * 0.70710678118654752440);
}
#else
# define real_exp float_exp
# define real_log float_log
# define real_tanh float_tanh
# define real_root float_root
# define real_logistic float_logistic
# define real_softplus float_softplus
# define real_normal_below float_normal_below
#endif

/* ---- instruction sets -------------------------------------------------- */

typedef struct {
  void (*activate[ACTIVATIONS])(size_t, real *, real *);
  void (*multiply)(size_t, const real *, real *);
  void (*fill)(size_t, const real *, const real *, real *, real *);
  void (*sample)(size_t, const real *, real *, const real *, real *, real *);
  double (*compare_one)(size_t, const real *, const real *, real, real *);
  double (*count)(size_t, const real *);
  double (*compare_each)(size_t, const real *, const real *, real, const real *,
                         const real *, const real *, real *, real *, double *, double *);
  void (*latent_slopes)(size_t, size_t, size_t, const real *, const real *, const real *,
                        const real *, real *, real *);
  double (*dequantise)(rng_key, uint32_t, uint32_t, const each_pixels *, size_t,
                       const real *, real *);
  void (*normals)(rng_key, uint32_t, uint32_t, uint32_t, size_t, real *);
  void (*adam)(size_t, const each_rates *, const real *, real *, real *, real *);
  void (*sgd)(size_t, const each_rates *, const real *, real *, real *);
  double (*squares)(size_t, const real *);
} each_loops;

#define NAME(x) x##_portable
#define TARGET
#include "each_body.h"
#undef NAME
#undef TARGET

#ifdef EACH_X86
# define NAME(x) x##_avx2
# define TARGET __attribute__((target("avx2,fma")))
# include "each_body.h"
# undef NAME
# undef TARGET
# define NAME(x) x##_avx512
# define TARGET __attribute__((target("avx512f")))
# include "each_body.h"
# undef NAME
# undef TARGET
#endif

static const each_loops *choose(gemm_plan plan)
{
#ifdef EACH_X86
  if (plan.kernel == GEMM_AVX512) return &loops_avx512;
  if (plan.kernel == GEMM_AVX2) return &loops_avx2;
#endif
  (void) plan;
  return &loops_portable;
}

/* ---- shared by threads ------------------------------------------------- */

/* The arguments of a function of each.h, by their names there. */
typedef struct {
  const each_loops *loops;
  size_t lines, parts;        /* columns or stretches, which the parts share */
  enum activation which;
  size_t rows, count, ld, first, samples;
  const real *x, *a, *fill, *mean, *noise, *dz, *weight, *gradient;
  real *y, *to, *slope, *seen, *sd, *theta, *m, *v;
  const int *order;
  rng_key key;
  uint32_t epoch, sample;
  const each_pixels *pixels;
  const each_noise *s2;
  const each_rates *rates;
  double *density, *raised, *variance, *sums;
} job;

/* Runs the task for all lines, in a few parts for each thread; `work` is the count of
 * numbers: below some there is not enough to share. */
static void share(gemm_plan plan, job *j, size_t lines, size_t work, threads_task task)
{
  int threads = work < 16384 ? 1 : plan.threads;
  j->loops = choose(plan);
  j->lines = lines;
  j->parts = threads > 1 ? 2 * (size_t) threads : 1;
  threads_run(threads, j->parts, task, j);
}

static size_t begin(const job *j, size_t part)
{
  return j->lines * part / j->parts;
}

static size_t end(const job *j, size_t part)
{
  return begin(j, part + 1);
}

static size_t stretches(size_t count)
{
  return (count + EACH_STRETCH - 1) / EACH_STRETCH;
}

static size_t stretch(const job *j, size_t s)
{
  size_t left = j->count - s * EACH_STRETCH;
  return left < EACH_STRETCH ? left : EACH_STRETCH;
}

static size_t observation(const job *j, size_t i)
{
  return j->order ? (size_t) j->order[i] : j->first + i;
}

static void activate(void *context, size_t part)
{
  const job *j = context;
  for (size_t i = begin(j, part); i < end(j, part); i++)
    j->loops->activate[j->which](j->rows, j->y + i * j->ld,
                                 j->slope ? j->slope + i * j->rows : NULL);
}

void each_activate(gemm_plan plan, enum activation which, size_t rows, size_t cols,
                   real *y, size_t ld, real *slope)
{
  job j = {.which = which, .rows = rows, .y = y, .ld = ld, .slope = slope};
  share(plan, &j, cols, rows * cols, activate);
}

static void multiply(void *context, size_t part)
{
  const job *j = context;
  for (size_t s = begin(j, part); s < end(j, part); s++)
    j->loops->multiply(stretch(j, s), j->a + s * EACH_STRETCH, j->y + s * EACH_STRETCH);
}

void each_multiply(gemm_plan plan, size_t count, const real *a, real *y)
{
  job j = {.count = count, .a = a, .y = y};
  share(plan, &j, stretches(count), count, multiply);
}

static void gather(void *context, size_t part)
{
  const job *j = context;
  for (size_t i = begin(j, part); i < end(j, part); i++) {
    const real *from = j->x + observation(j, i) * j->rows;
    real *to = j->to + i * j->ld;
    if (j->seen) j->loops->fill(j->rows, from, j->fill, to, j->seen + i * j->rows);
    else memcpy(to, from, j->rows * sizeof *to);
  }
}

void each_gather(gemm_plan plan, size_t p, size_t count, const real *x, const int *rows,
                 size_t first, const real *fill, real *to, size_t ld, real *seen)
{
  job j = {.rows = p, .x = x, .order = rows, .first = first, .fill = fill, .to = to,
           .ld = ld, .seen = seen};
  share(plan, &j, count, p * count, gather);
}

static void dequantise(void *context, size_t part)
{
  const job *j = context;
  for (size_t i = begin(j, part); i < end(j, part); i++) {
    size_t row = observation(j, i);
    real *to = j->to + i * j->ld;
    j->sums[i] = j->loops->dequantise(j->key, j->epoch, (uint32_t) row, j->pixels,
                                      j->rows, j->x + row * j->rows, to);
    if (j->seen) j->loops->fill(j->rows, to, j->fill, to, j->seen + i * j->rows);
  }
}

void each_dequantise(gemm_plan plan, rng_key key, uint32_t epoch,
                     const each_pixels *pixels, size_t p, size_t count, const real *x,
                     const int *rows, size_t first, const real *fill, real *to, size_t ld,
                     real *seen, double *jacobian)
{
  job j = {.key = key, .epoch = epoch, .pixels = pixels, .rows = p, .x = x, .order = rows,
           .first = first, .fill = fill, .to = to, .ld = ld, .seen = seen,
           .sums = jacobian};
  share(plan, &j, count, 8 * p * count, dequantise);
}

static void normals(void *context, size_t part)
{
  const job *j = context;
  for (size_t i = begin(j, part); i < end(j, part); i++)
    j->loops->normals(j->key, j->epoch, (uint32_t) observation(j, i), j->sample, j->rows,
                      j->to + i * j->rows);
}

void each_normals(gemm_plan plan, rng_key key, uint32_t epoch, const int *rows,
                  size_t first, uint32_t sample, size_t k, size_t count, real *out)
{
  job j = {.key = key, .epoch = epoch, .order = rows, .first = first, .sample = sample,
           .rows = k, .to = out};
  share(plan, &j, count, 8 * k * count, normals);
}

static void sample(void *context, size_t part)
{
  const job *j = context;
  for (size_t i = begin(j, part); i < end(j, part); i++) {
    size_t at = i * j->rows;
    j->loops->sample(j->rows, j->mean + at, j->v + at, j->noise + at, j->sd + at,
                     j->to + i * j->ld);
  }
}

void each_sample(gemm_plan plan, size_t k, size_t count, const real *mean, real *log_d,
                 const real *noise, real *sd, real *z, size_t ld)
{
  job j = {.rows = k, .mean = mean, .v = log_d, .noise = noise, .sd = sd, .to = z,
           .ld = ld};
  share(plan, &j, count, 4 * k * count, sample);
}

/* Terms are summed as floats over a stretch of features, and from there in double. */
enum { COMPARE_STRETCH = 512 };

static size_t compare_stretch(const job *j, size_t f)
{
  return j->rows - f < COMPARE_STRETCH ? j->rows - f : COMPARE_STRETCH;
}

/* Whole numbers below 2^24 are floats: this sum needs no stretches. */
static double cells_of(const job *j, const real *seen)
{
  return seen ? j->loops->count(j->rows, seen) : (double) j->rows;
}

/* Draw i, with one s2 for all: slope has one number a draw. */
static void compare_one(const job *j, size_t i, const real *x, const real *seen)
{
  const each_noise *s2 = j->s2;
  int low = s2->log_s2[0] < s2->floor[0];
  double log_s2 = (double) (low ? s2->floor[0] : s2->log_s2[0]), precision = exp(-log_s2);
  double share = (double) s2->share, cells = cells_of(j, seen), square = 0.0;
  real weight = (real) (share * precision), *g = j->y + i * j->rows;
  for (size_t f = 0; f < j->rows; f += COMPARE_STRETCH)
    square += j->loops->compare_one(compare_stretch(j, f), x + f, seen ? seen + f : NULL,
                                    weight, g + f);
  square *= precision;
  j->density[i] = -0.5 * (square + cells * (LOG_2PI + log_s2));
  j->raised[i] = s2->log_s2[0] <= s2->floor[0] ? cells : 0.0;
  j->variance[i] = cells * exp(log_s2);
  j->slope[i] = low && square < cells ? 0 : (real) (0.5 * share * (square - cells));
}

/* Draw i, with an s2 for each feature. */
static void compare_each(const job *j, size_t i, const real *x, const real *seen)
{
  const real *log_s2 = j->s2->log_s2 + (j->s2->kind == 2 ? i * j->rows : 0);
  real *g = j->y + i * j->rows, *slope = j->slope + i * j->rows;
  double sum = cells_of(j, seen) * LOG_2PI, raised = 0.0, variance = 0.0;
  for (size_t f = 0; f < j->rows; f += COMPARE_STRETCH) {
    double low, spread;
    sum += j->loops->compare_each(compare_stretch(j, f), x + f, seen ? seen + f : NULL,
                                  j->s2->share, j->s2->floor + f, j->s2->square + f,
                                  log_s2 + f, g + f, slope + f, &low, &spread);
    raised += low;
    variance += spread;
  }
  j->density[i] = -0.5 * sum;
  j->raised[i] = raised;
  j->variance[i] = variance;
}

static void compare(void *context, size_t part)
{
  const job *j = context;
  for (size_t i = begin(j, part); i < end(j, part); i++) {
    size_t from = i % j->count;
    const real *x = j->x + from * j->ld, *seen = j->a ? j->a + from * j->rows : NULL;
    if (j->s2->kind == 0) compare_one(j, i, x, seen);
    else compare_each(j, i, x, seen);
  }
}

void each_compare(gemm_plan plan, size_t p, size_t count, size_t draws, const real *x,
                  size_t ldx, const real *seen, each_noise noise, real *g, real *slope,
                  double *density, double *raised, double *variance)
{
  job j = {.rows = p, .count = count, .x = x, .ld = ldx, .a = seen, .s2 = &noise, .y = g,
           .slope = slope, .density = density, .raised = raised, .variance = variance};
  share(plan, &j, draws, p * draws, compare);
}

static void latent_slopes(void *context, size_t part)
{
  const job *j = context;
  for (size_t i = begin(j, part); i < end(j, part); i++) {
    size_t at = i * j->rows;
    j->loops->latent_slopes(j->rows, j->samples, j->rows * j->count, j->dz + at,
                            j->noise + at, j->sd + at, j->weight, j->m + at, j->v + at);
  }
}

void each_latent_slopes(gemm_plan plan, size_t k, size_t count, size_t samples,
                        const real *dz, const real *noise, const real *sd,
                        const real *weight, real *mean, real *log_d)
{
  job j = {.rows = k, .count = count, .samples = samples, .dz = dz, .noise = noise,
           .sd = (real *) sd, .weight = weight, .m = mean, .v = log_d};
  share(plan, &j, count, 4 * k * count * samples, latent_slopes);
}

static void adam(void *context, size_t part)
{
  const job *j = context;
  for (size_t s = begin(j, part); s < end(j, part); s++) {
    size_t at = s * EACH_STRETCH;
    j->loops->adam(stretch(j, s), j->rates, j->gradient + at, j->theta + at, j->m + at,
                   j->v + at);
  }
}

void each_adam(gemm_plan plan, size_t count, each_rates r, const real *gradient,
               real *theta, real *m, real *v)
{
  job j = {.count = count, .rates = &r, .gradient = gradient, .theta = theta, .m = m,
           .v = v};
  share(plan, &j, stretches(count), count, adam);
}

static void sgd(void *context, size_t part)
{
  const job *j = context;
  for (size_t s = begin(j, part); s < end(j, part); s++) {
    size_t at = s * EACH_STRETCH;
    j->loops->sgd(stretch(j, s), j->rates, j->gradient + at, j->theta + at, j->m + at);
  }
}

void each_sgd(gemm_plan plan, size_t count, each_rates r, const real *gradient,
              real *theta, real *m)
{
  job j = {.count = count, .rates = &r, .gradient = gradient, .theta = theta, .m = m};
  share(plan, &j, stretches(count), count, sgd);
}

static void squares(void *context, size_t part)
{
  const job *j = context;
  for (size_t s = begin(j, part); s < end(j, part); s++)
    j->sums[s] = j->loops->squares(stretch(j, s), j->a + s * EACH_STRETCH);
}

void each_squares(gemm_plan plan, size_t count, const real *a, double *sums)
{
  job j = {.count = count, .a = a, .sums = sums};
  share(plan, &j, stretches(count), count, squares);
}
