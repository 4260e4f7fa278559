/* What test_each.c checks of each.h in double and test_float_math.c in float: each
 * function with each kernel of this machine against its definition in plain loops and
 * libm; arrays of exactly their size, with a marker between columns that must stay; the
 * same bits with 1, 2 and 3 threads.
 *
 * Sizes go from 1 to 67, past four registers of any kernel, and a few are large enough
 * to be shared by threads. */
#ifndef ELBO_TEST_EACH_CHECKS_H
#define ELBO_TEST_EACH_CHECKS_H

#include "activations.h"
#include "each.h"
#include "noise_reference.h"
#include "reals.h"

/* Of one operation or function, and of a sum. */
static const double close_to = sizeof(real) == 4 ? 1e-6 : 1e-12;
static const double close_sum = sizeof(real) == 4 ? 1e-5 : 1e-12;

enum { MOST_ROWS = 67 };

typedef struct { size_t rows, cols; } extent;

/* Work of 16384 numbers or more is shared. */
static const extent large_extents[] = {{129, 200}, {1, 20000}, {20000, 1}, {300, 61}};
enum { LARGE = sizeof large_extents / sizeof *large_extents };

/* The small sizes one after the other, then the large ones. */
enum { EXTENTS = MOST_ROWS + LARGE };

static extent extent_of(size_t i)
{
  if (i >= MOST_ROWS) return large_extents[i - MOST_ROWS];
  return (extent) {i + 1, 1 + i % 4};
}

/* Nothing here may use a plan's space. */
static gemm_plan plan_of(int kernel, int threads)
{
  return (gemm_plan) {(enum gemm_kernel) kernel, threads, NULL};
}

static void with_each_kernel(void (*check)(int kernel))
{
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++) check(kernel);
}

static real *gapped(size_t rows, size_t cols, size_t ld, double sd)
{
  real *x = normal_reals(span(rows, cols, ld), sd);
  for (size_t i = 0; i < span(rows, cols, ld); i++)
    if (i % ld >= rows) x[i] = between;
  return x;
}

static size_t gaps_changed(size_t rows, size_t cols, size_t ld, const real *x)
{
  size_t bad = 0;
  for (size_t i = 0; i < span(rows, cols, ld); i++)
    bad += i % ld >= rows && x[i] != between;
  return bad;
}

static void report(size_t bad, const char *what, int kernel, size_t rows, size_t cols)
{
  if (bad) printf("%s, kernel %d, %zu x %zu:\n", what, kernel, rows, cols);
  CHECK(bad == 0);
}

/* ---- activations ------------------------------------------------------- */

static size_t wrong_activations(int which, extent e, size_t ld, const real *v,
                                const real *y, const real *slope)
{
  size_t bad = gaps_changed(e.rows, e.cols, ld, y);
  for (size_t i = 0; i < e.cols; i++)
    for (size_t j = 0; j < e.rows; j++) {
      double at = (double) v[j + i * ld];
      bad += !near((double) y[j + i * ld], activation_value(which, at), close_to);
      if (!slope || (fabs(at) < 3e-3 && activation_has_corner(which))) continue;
      bad += !near((double) slope[j + i * e.rows], activation_slope(which, at),
                   fmax(close_to, 1e-9));
    }
  return bad;
}

static void check_activation(int kernel, int which, extent e, size_t ld, int slopes)
{
  real *v = gapped(e.rows, e.cols, ld, 4.0), *first = NULL, *first_slope = NULL;
  size_t size = span(e.rows, e.cols, ld), bad = 0;
  v[0] = (real) (which % 2 ? 30.0 : -30.0);
  for (int threads = 1; threads <= 3; threads++) {
    real *y = copy_reals(size, v), *slope = slopes ? reals(e.rows * e.cols) : NULL;
    each_activate(plan_of(kernel, threads), (enum activation) which, e.rows, e.cols, y, ld,
                  slope);
    if (threads == 1) {
      bad += wrong_activations(which, e, ld, v, y, slope);
      first = y;
      first_slope = slope;
      continue;
    }
    bad += !same_reals(size, y, first);
    if (slopes) bad += !same_reals(e.rows * e.cols, slope, first_slope);
    free(y);
    free(slope);
  }
  report(bad, "each_activate", kernel, e.rows, e.cols);
  free(v);
  free(first);
  free(first_slope);
}

static void check_activations(int kernel)
{
  for (int which = 0; which < ACTIVATIONS; which++)
    for (size_t i = 0; i < EXTENTS; i++)
      for (int slopes = 0; slopes < 2; slopes++) {
        if (i >= MOST_ROWS && slopes != (int) i % 2) continue;
        check_activation(kernel, which, extent_of(i), extent_of(i).rows + i % 3, slopes);
      }
}

static void activations_are_their_definitions(void)
{
  with_each_kernel(check_activations);
}

/* Zero, where some have a corner: the slope is that from the left, but the elu's is 1 from
 * either side. Far out values and slopes are their limits. NaN stays NaN. */
static void check_special_arguments(int kernel)
{
  static const double at_zero[ACTIVATIONS] = {1.0, 0.0, 0.01, 1.0, 1.0, 0.25, 0.5, 0.5, 0.5};
  static const double below[ACTIVATIONS] = {1.0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  static const double above[ACTIVATIONS] = {1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0};
  static const double far[] = {200.0, 1e10, 1e30};
  for (int which = 0; which < ACTIVATIONS; which++) {
    real y[8] = {0, (real) -0.0, (real) NAN}, slope[8];
    size_t bad = 0;
    for (int i = 0; i < 3; i++) y[3 + i] = (real) far[i];
    y[6] = (real) -far[0];
    y[7] = (real) -far[2];
    real v[8];
    memcpy(v, y, sizeof v);
    each_activate(plan_of(kernel, 1), (enum activation) which, 8, 1, y, 8, slope);
    for (int i = 0; i < 2; i++) {
      bad += !near((double) y[i], activation_value(which, 0.0), close_to);
      bad += !near((double) slope[i], at_zero[which], close_to);
    }
    bad += !isnan((double) y[2]);
    for (int i = 3; i < 8; i++) {
      double limit = i < 6 ? above[which] : below[which];
      double value = activation_value(which, (double) v[i]);
      bad += !near((double) y[i], value, close_to);
      bad += !near((double) slope[i], limit, close_to);
    }
    if (bad) printf("activation %d at special arguments, kernel %d\n", which, kernel);
    CHECK(bad == 0);
  }
}

static void activations_have_their_limits(void)
{
  with_each_kernel(check_special_arguments);
}

/* ---- products, gathering ----------------------------------------------- */

static void check_multiply(int kernel)
{
  static const size_t large[] = {8191, 8192, 8193, 16384, 16385, 40000};
  for (size_t i = 0; i < MOST_ROWS + 6; i++) {
    size_t count = i < MOST_ROWS ? i + 1 : large[i - MOST_ROWS], bad = 0;
    real *a = normal_reals(count, 1.0), *y = normal_reals(count, 1.0);
    for (int threads = 1; threads <= 3; threads++) {
      real *z = copy_reals(count, y);
      each_multiply(plan_of(kernel, threads), count, a, z);
      for (size_t j = 0; j < count; j++) bad += z[j] != a[j] * y[j];
      free(z);
    }
    report(bad, "each_multiply", kernel, count, 1);
    free(a);
    free(y);
  }
}

static void products_are_exact(void)
{
  with_each_kernel(check_multiply);
}

/* Four ways: rows in a list or from `first` on, with or without missing cells. */
static void check_gathered(int kernel, extent e, size_t ld, int listed, int holes)
{
  size_t n = e.cols + 5, first = 3, bad = 0;
  real *x = normal_reals(e.rows * n, 1.0), *fill = normal_reals(e.rows, 1.0);
  int *rows = any_rows(e.cols, n);
  for (size_t i = 0; holes && i < e.rows * n; i++)
    if (test_below(3) == 0) x[i] = (real) NAN;
  for (int threads = 1; threads <= 3; threads++) {
    real *to = gapped(e.rows, e.cols, ld, 1.0);
    real *seen = holes ? reals(e.rows * e.cols) : NULL;
    each_gather(plan_of(kernel, threads), e.rows, e.cols, x, listed ? rows : NULL, first,
                holes ? fill : NULL, to, ld, seen);
    bad += gaps_changed(e.rows, e.cols, ld, to);
    for (size_t i = 0; i < e.cols; i++)
      for (size_t j = 0; j < e.rows; j++) {
        real cell = x[j + e.rows * (listed ? (size_t) rows[i] : first + i)];
        int is = !isnan((double) cell);
        bad += to[j + i * ld] != (is ? cell : fill[j]);
        if (holes) bad += seen[j + i * e.rows] != (real) is;
      }
    free(to);
    free(seen);
  }
  report(bad, "each_gather", kernel, e.rows, e.cols);
  free(x);
  free(fill);
  free(rows);
}

static void check_gather_kernel(int kernel)
{
  for (size_t i = 0; i < EXTENTS; i++)
    for (int way = 0; way < 4; way++)
      check_gathered(kernel, extent_of(i), extent_of(i).rows + (i + 1) % 3, way % 2,
                     way / 2);
}

static void columns_are_gathered_and_filled(void)
{
  with_each_kernel(check_gather_kernel);
}

/* ---- pixels ------------------------------------------------------------ */

static const rng_key noise_key = {{20240607, 99}};
static const double close_logit = sizeof(real) == 4 ? 5e-6 : 1e-12;

/* x (p x n) of pixels, with missing cells where there is `fill`. */
typedef struct {
  size_t p, n;
  each_pixels pixels;
  real *x, *fill, *mu, *unit;
} picture;

static picture new_picture(size_t p, size_t n, double alpha, double levels, int holes)
{
  picture q = {.p = p, .n = n, .x = reals(p * n), .mu = normal_reals(p, 1.0),
               .unit = normal_reals(p, 1.0)};
  if (holes) q.fill = normal_reals(p, 1.0);
  for (size_t i = 0; i < p * n; i++) {
    q.x[i] = (real) (test_below(3) ? test_below((size_t) levels) :
                     test_below(2) ? 0 : (size_t) levels - 1);
    if (holes && test_below(3) == 0) q.x[i] = (real) NAN;
  }
  q.pixels = (each_pixels) {alpha, levels, q.mu, q.unit};
  return q;
}

static void drop_picture(picture *q)
{
  free(q->x);
  free(q->fill);
  free(q->mu);
  free(q->unit);
}

/* Of observation `row` of a picture. */
static size_t wrong_pixels(const picture *q, uint32_t epoch, size_t row, const real *to,
                           const real *seen, double jacobian)
{
  size_t bad = 0;
  double sum = 0.0;
  for (size_t j = 0; j < q->p; j++) {
    double v = (double) q->x[j + row * q->p];
    double u = expected_uniform(noise_key, epoch, (uint32_t) row, q->p, j);
    logit_cell c = logit_of(v + u, q->pixels.alpha, q->pixels.levels);
    double y = (c.y - (double) q->mu[j]) * (double) q->unit[j];
    if (isnan(v)) bad += to[j] != q->fill[j];
    else {
      bad += !(fabs((double) to[j] - y) <= close_logit * (1.0 + fabs((double) q->unit[j])));
      sum += c.log_slope;
    }
    if (seen) bad += seen[j] != (real) !isnan(v);
  }
  return bad + !near(jacobian, sum, close_sum);
}

static void check_dequantised(int kernel, extent e, size_t ld, int listed, int holes,
                              double alpha, double levels)
{
  size_t p = e.rows, count = e.cols, first = 3, bad = 0;
  picture q = new_picture(p, count + 5, alpha, levels, holes);
  int *rows = any_rows(count, q.n);
  real *one = NULL;
  double *one_sum = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    real *to = gapped(p, count, ld, 1.0), *seen = holes ? reals(p * count) : NULL;
    double *jacobian = doubles(count);
    each_dequantise(plan_of(kernel, threads), noise_key, 5, &q.pixels, p, count, q.x,
                    listed ? rows : NULL, first, q.fill, to, ld, seen, jacobian);
    bad += gaps_changed(p, count, ld, to);
    for (size_t i = 0; i < count; i++)
      bad += wrong_pixels(&q, 5, listed ? (size_t) rows[i] : first + i, to + i * ld,
                          seen ? seen + i * p : NULL, jacobian[i]);
    if (threads == 1) {
      one = copy_reals(span(p, count, ld), to);
      one_sum = copy_of(count, jacobian);
    } else
      for (size_t i = 0; i < count; i++)
        bad += !same_reals(p, to + i * ld, one + i * ld) || jacobian[i] != one_sum[i];
    free(to);
    free(seen);
    free(jacobian);
  }
  report(bad, "each_dequantise", kernel, p, count);
  free(one);
  free(one_sum);
  free(rows);
  drop_picture(&q);
}

static void check_dequantise_kernel(int kernel)
{
  static const double alphas[] = {1e-6, 0.05, 0.499}, levels[] = {256.0, 2.0, 65536.0};
  for (size_t i = 0; i < EXTENTS; i++)
    for (int way = 0; way < 4; way++)
      check_dequantised(kernel, extent_of(i), extent_of(i).rows + (i + 1) % 3, way % 2,
                        way / 2, alphas[i % 3], levels[i / 3 % 3]);
}

static void pixels_are_spread_and_put_on_the_line(void)
{
  with_each_kernel(check_dequantise_kernel);
}

/* Without mean and unit, each pixel `v`. */
static void spread(int kernel, rng_key key, uint32_t epoch, size_t first, double alpha,
                   double levels, double v, size_t p, size_t n, real *to)
{
  real *mu = reals(p), *unit = reals(p), *x = reals(p * (first + n));
  double *jacobian = doubles(n);
  for (size_t j = 0; j < p; j++) {
    mu[j] = 0;
    unit[j] = 1;
  }
  for (size_t i = 0; i < p * (first + n); i++) x[i] = (real) v;
  each_pixels pixels = {alpha, levels, mu, unit};
  each_dequantise(plan_of(kernel, 2), key, epoch, &pixels, p, n, x, NULL, first, NULL, to, p,
                  NULL, jacobian);
  free(mu);
  free(unit);
  free(x);
  free(jacobian);
}

/* The ends: nothing is infinite however small alpha, and the least and the greatest level
 * spread as wide as they ought to. With u = 2^-24 m, m of 1, 3, .., 2^24 - 1, the logit of
 * level 0 is never below log of 2^-24 / levels, but among 10^6 it comes near 10^-6 /
 * levels; likewise at the other end, where 1 - a would have been rounded away. */
static void check_ends(int kernel)
{
  enum { P = 1000, N = 1000, ALL = P * N };
  real *y = reals(ALL);
  for (int end = 0; end < 2; end++) {
    double least = INFINITY, most = -INFINITY;
    spread(kernel, noise_key, 1, 0, 1e-300, 256.0, end ? 255.0 : 0.0, P, N, y);
    for (size_t i = 0; i < ALL; i++) {
      double distance = end ? (double) -y[i] : (double) y[i];
      least = fmin(least, distance);
      most = fmax(most, distance);
    }
    CHECK(least >= log(0x1p-24 / 256.0) - 1e-5 && least < log(1e-5 / 256.0));
    CHECK(most <= log(1.0 / 255.0) + 1e-5 && most > log(1.0 / 255.0) - 1e-4);
  }
  free(y);
}

static void the_ends_are_finite_and_wide(void)
{
  with_each_kernel(check_ends);
}

/* In another order, one by one, or in the midst of others: the same bits. */
static void check_pixel_order(int kernel)
{
  enum { P = 37, N = 120 };
  gemm_plan plan = plan_of(kernel, 2);
  picture q = new_picture(P, N, 1e-6, 256.0, 1);
  real *all = reals(P * N), *turned = reals(P * N), *alone = reals(P), *seen = reals(P * N);
  double jacobian[N], other[N], single;
  int rows[N];
  size_t bad = 0;
  for (int i = 0; i < N; i++) rows[i] = (i * 7 + 3) % N;
  each_dequantise(plan, noise_key, 9, &q.pixels, P, N, q.x, NULL, 0, q.fill, all, P, seen,
                  jacobian);
  each_dequantise(plan, noise_key, 9, &q.pixels, P, N, q.x, rows, 0, q.fill, turned, P, seen,
                  other);
  for (size_t i = 0; i < N; i++) {
    const real *own = all + (size_t) rows[i] * P;
    each_dequantise(plan, noise_key, 9, &q.pixels, P, 1, q.x, NULL, (size_t) rows[i], q.fill,
                    alone, P, seen, &single);
    bad += !same_reals(P, turned + i * P, own) + !same_reals(P, alone, own);
    bad += (other[i] != jacobian[rows[i]]) + (single != jacobian[rows[i]]);
  }
  report(bad, "order of each_dequantise", kernel, P, N);
  free(all);
  free(turned);
  free(alone);
  free(seen);
  drop_picture(&q);
}

static void pixels_do_not_depend_on_the_batch(void)
{
  with_each_kernel(check_pixel_order);
}

/* u from the logit of pixel 0 of two levels: a = 1/4 + u/4. */
static double *uniforms(int kernel, rng_key key, uint32_t epoch, size_t first, size_t p,
                        size_t n)
{
  real *y = reals(p * n);
  double *u = doubles(p * n);
  spread(kernel, key, epoch, first, 0.25, 2.0, 0.0, p, n, y);
  for (size_t i = 0; i < p * n; i++) u[i] = 4.0 / (1.0 + exp(-(double) y[i])) - 1.0;
  free(y);
  return u;
}

/* Their correlation is 0, and pairs fill 16 x 16 bins evenly, within five standard
 * errors. */
static void check_unrelated(size_t n, const double *a, const double *b)
{
  double sum = 0.0, square = 0.0, expected = (double) n / 256.0, bins[256] = {0};
  for (size_t i = 0; i < n; i++) {
    sum += 12.0 * (a[i] - 0.5) * (b[i] - 0.5);
    int x = (int) (16.0 * a[i]), y = (int) (16.0 * b[i]);
    bins[(x > 15 ? 15 : x) + 16 * (y > 15 ? 15 : y)]++;
  }
  for (int i = 0; i < 256; i++) square += pow(bins[i] - expected, 2.0) / expected;
  CHECK_NEAR(sum / (double) n, 0.0, 5.0 / sqrt((double) n));
  CHECK(fabs(square - 255.0) < 5.0 * sqrt(2.0 * 255.0));
}

static void check_uniforms(int kernel)
{
  enum { P = 100, N = 10000, ALL = P * N, BLOCKS = 25 };
  double *u = uniforms(kernel, noise_key, 1, 0, P, N), bins[100] = {0}, m[3] = {0};
  double square = 0.0, root = sqrt((double) ALL);
  rng_key others[2] = {{{20240608, 99}}, {{20240607, 98}}};
  for (size_t i = 0; i < ALL; i++) {
    int bin = (int) (100.0 * u[i]);
    bins[bin > 99 ? 99 : bin]++;
    m[1] += u[i] / ALL;
    m[2] += (u[i] - 0.5) * (u[i] - 0.5) / ALL;
    if (!(u[i] > -1e-5 && u[i] < 1.0 + 1e-5)) square = INFINITY;
  }
  for (int i = 0; i < 100; i++) square += pow(bins[i] - ALL / 100.0, 2.0) / (ALL / 100.0);
  CHECK(fabs(square - 99.0) < 5.0 * sqrt(2.0 * 99.0));
  CHECK_NEAR(m[1], 0.5, 5.0 / sqrt(12.0) / root);
  CHECK_NEAR(m[2] - 1.0 / 12.0, 0.0, 5.0 * sqrt(1.0 / 80.0 - 1.0 / 144.0) / root);
  check_unrelated(ALL - 1, u, u + 1);            /* the next feature, */
  check_unrelated(ALL - P, u, u + P);            /* the next observation, */
  check_unrelated(ALL - BLOCKS, u, u + BLOCKS);  /* the next word of the same block */
  for (int i = 0; i < 4; i++) {
    double *v = uniforms(kernel, i < 2 ? others[i] : noise_key, i == 2 ? 2 : 1,
                         i == 3 ? N : 0, P, N);
    check_unrelated(ALL, u, v);
    free(v);
  }
  free(u);
}

static void noise_of_pixels_is_uniform(void)
{
  with_each_kernel(check_uniforms);
}

/* ---- normal numbers ---------------------------------------------------- */

static void check_numbers(int kernel, size_t k, size_t count, int listed)
{
  size_t first = 7, bad = 0;
  uint32_t epoch = 3, number = (uint32_t) (k % 3);
  int *rows = any_rows(count, 1u << 31);
  real *one = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    real *z = reals(k * count);
    each_normals(plan_of(kernel, threads), noise_key, epoch, listed ? rows : NULL, first,
                 number, k, count, z);
    if (threads == 1) one = z;
    else {
      bad += !same_reals(k * count, z, one);
      free(z);
    }
  }
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < k; j++) {
      uint32_t row = (uint32_t) (listed ? (size_t) rows[i] : first + i);
      bad += !near((double) one[j + i * k],
                   expected_normal(noise_key, epoch, row, number, k, j), 1e-5);
    }
  report(bad, "each_normals", kernel, k, count);
  free(one);
  free(rows);
}

static void check_normals_kernel(int kernel)
{
  static const extent large[] = {{64, 40}, {255, 9}, {256, 3}, {257, 3}, {1023, 5},
                                 {3, 1000}};
  for (size_t k = 1; k <= MOST_ROWS; k++) check_numbers(kernel, k, 1 + k % 3, (int) k % 2);
  for (size_t i = 0; i < 6; i++)
    for (int listed = 0; listed < 2; listed++)
      check_numbers(kernel, large[i].rows, large[i].cols, listed);
}

static void normals_are_those_of_their_counters(void)
{
  with_each_kernel(check_normals_kernel);
}

/* The words of Random123's known answer for key 0 and counter 0 (Salmon et al.), in pairs
 * of upper 24 bits: 6627e8, e169c5 and bc57ac, 9b00db. */
static void check_known_words(int kernel)
{
  const double two_pi = 6.283185307179586, unit = 1.0 / 16777216.0;
  double one = sqrt(-2.0 * log(0x6627e9 * unit)), two = sqrt(-2.0 * log(0xbc57ad * unit));
  double a = two_pi * 0xe169c5 * unit, b = two_pi * 0x9b00db * unit;
  real z[4];
  each_normals(plan_of(kernel, 1), (rng_key) {{0, 0}}, 0, NULL, 0, 0, 4, 1, z);
  CHECK_NEAR((double) z[0], one * cos(a), 1e-5);
  CHECK_NEAR((double) z[1], one * sin(a), 1e-5);
  CHECK_NEAR((double) z[2], two * cos(b), 1e-5);
  CHECK_NEAR((double) z[3], two * sin(b), 1e-5);
}

static void normals_of_known_words(void)
{
  with_each_kernel(check_known_words);
}

/* In another order, one by one, or in the midst of others: the same bits. */
static void check_order(int kernel)
{
  enum { K = 21, N = 200 };
  gemm_plan plan = plan_of(kernel, 2);
  real *all = reals(K * N), *turned = reals(K * N), *alone = reals(K);
  int rows[N];
  size_t bad = 0;
  each_normals(plan, noise_key, 9, NULL, 0, 1, K, N, all);
  for (int i = 0; i < N; i++) rows[i] = (i * 7 + 3) % N;
  each_normals(plan, noise_key, 9, rows, 0, 1, K, N, turned);
  for (size_t i = 0; i < N; i++) {
    const real *own = all + (size_t) rows[i] * K;
    each_normals(plan, noise_key, 9, NULL, (size_t) rows[i], 1, K, 1, alone);
    bad += !same_reals(K, turned + i * K, own) + !same_reals(K, alone, own);
  }
  report(bad, "order of each_normals", kernel, K, N);
  free(all);
  free(turned);
  free(alone);
}

static void normals_do_not_depend_on_the_batch(void)
{
  with_each_kernel(check_order);
}

/* Any other key, epoch, observation or sample gives other numbers. */
static void check_addresses(int kernel)
{
  enum { K = 8, N = 6 };
  real z[7 * K * N];
  rng_key other[2] = {{{20240608, 99}}, {{20240607, 98}}};
  gemm_plan plan = plan_of(kernel, 1);
  size_t same = 0;
  each_normals(plan, noise_key, 1, NULL, 0, 0, K, N, z);
  each_normals(plan, noise_key, 2, NULL, 0, 0, K, N, z + 1 * K * N);
  each_normals(plan, noise_key, 1, NULL, N, 0, K, N, z + 2 * K * N);
  each_normals(plan, noise_key, 1, NULL, 0, 1, K, N, z + 3 * K * N);
  each_normals(plan, other[0], 1, NULL, 0, 0, K, N, z + 4 * K * N);
  each_normals(plan, other[1], 1, NULL, 0, 0, K, N, z + 5 * K * N);
  each_normals(plan, noise_key, 0, NULL, 1000000, 0, K, N, z + 6 * K * N);
  for (int a = 0; a < 7 * K * N; a++)
    for (int b = 0; b < a; b++) same += z[a] == z[b];
  report(same, "addresses of each_normals", kernel, K, N);
}

static void normals_of_other_addresses_are_others(void)
{
  with_each_kernel(check_addresses);
}

/* A million: moments, tails, and neighbours that are unrelated. */
static void check_distribution(int kernel)
{
  enum { K = 10, N = 100000, ALL = K * N };
  real *z = reals(ALL);
  double pairs = 0.0;
  each_normals(plan_of(kernel, 2), noise_key, 1, NULL, 0, 0, K, N, z);
  double *all = as_doubles(ALL, z);
  check_moments(ALL, all);
  check_tails(ALL, all);
  for (size_t i = 1; i < ALL; i++) pairs += all[i] * all[i - 1];
  CHECK_NEAR(pairs / ALL, 0.0, 5.0 / sqrt((double) ALL));
  free(z);
  free(all);
}

static void normals_are_normal(void)
{
  with_each_kernel(check_distribution);
}

/* ---- latent variables -------------------------------------------------- */

static void check_sampled(int kernel, extent e, size_t ld)
{
  size_t k = e.rows, count = e.cols, size = k * count, bad = 0;
  real *mean = normal_reals(size, 1.0), *log_d = normal_reals(size, 1.5);
  real *noise = normal_reals(size, 1.0), *one[2] = {NULL, NULL};
  for (int threads = 1; threads <= 3; threads++) {
    real *sd = reals(size), *z = gapped(k, count, ld, 1.0);
    each_sample(plan_of(kernel, threads), k, count, mean, log_d, noise, sd, z, ld);
    bad += gaps_changed(k, count, ld, z);
    for (size_t i = 0; i < size; i++) {
      double root = exp(0.5 * (double) log_d[i]);
      bad += !near((double) sd[i], root, close_to);
      bad += !near((double) z[i % k + i / k * ld],
                   (double) mean[i] + root * (double) noise[i], close_to);
    }
    if (threads == 1) {
      one[0] = sd;
      one[1] = z;
      continue;
    }
    bad += !same_reals(size, sd, one[0]) + !same_reals(span(k, count, ld), z, one[1]);
    free(sd);
    free(z);
  }
  report(bad, "each_sample", kernel, k, count);
  free(mean);
  free(log_d);
  free(noise);
  free(one[0]);
  free(one[1]);
}

static void check_sample_kernel(int kernel)
{
  for (size_t i = 0; i < EXTENTS; i++)
    check_sampled(kernel, extent_of(i), extent_of(i).rows + i % 4);
}

static void latents_are_sampled(void)
{
  with_each_kernel(check_sample_kernel);
}

/* sum over samples of dz (m + sd e) - weight KL for one dimension of one observation,
 * where sd = exp(log d / 2) */
static double latent_objective(size_t samples, size_t apart, const real *dz,
                               const real *noise, double weight, double m, double log_d)
{
  double sum = -weight * 0.5 * (exp(log_d) + m * m - 1.0 - log_d);
  for (size_t s = 0; s < samples; s++)
    sum += (double) dz[s * apart] * (m + exp(0.5 * log_d) * (double) noise[s * apart]);
  return sum;
}

static void check_latent_slopes(int kernel, extent e, size_t samples)
{
  size_t k = e.rows, count = e.cols, size = k * count, bad = 0;
  real *dz = normal_reals(size * samples, 1.0), *noise = normal_reals(size * samples, 1.0);
  real *weight = normal_reals(k, 1.0), *mean = normal_reals(size, 1.0);
  real *log_d = normal_reals(size, 1.0), *sd = reals(size), *one[2] = {NULL, NULL};
  for (size_t i = 0; i < size; i++) sd[i] = (real) exp(0.5 * (double) log_d[i]);
  weight[0] = 0;
  for (int threads = 1; threads <= 3; threads++) {
    real *a = copy_reals(size, mean), *b = copy_reals(size, log_d);
    each_latent_slopes(plan_of(kernel, threads), k, count, samples, dz, noise, sd, weight,
                       a, b);
    if (threads == 1) {
      one[0] = a;
      one[1] = b;
      continue;
    }
    bad += !same_reals(size, a, one[0]) + !same_reals(size, b, one[1]);
    free(a);
    free(b);
  }
  for (size_t i = 0; i < size; i++) {
    const double h = 1e-3;
    double f[2][4], w = (double) weight[i % k], m = (double) mean[i], l = (double) log_d[i];
    for (int s = 0; s < 4; s++) {
      double t = difference_steps[s] * h;
      f[0][s] = latent_objective(samples, size, dz + i, noise + i, w, m + t, l);
      f[1][s] = latent_objective(samples, size, dz + i, noise + i, w, m, l + t);
    }
    for (int d = 0; d < 2; d++)
      bad += !near((double) one[d][i], difference_of(f[d], h), fmax(close_sum, 1e-9));
  }
  report(bad, "each_latent_slopes", kernel, k, count);
  free(dz);
  free(noise);
  free(weight);
  free(mean);
  free(log_d);
  free(sd);
  free(one[0]);
  free(one[1]);
}

/* Beyond its limits log d becomes them, and there its derivative only leads back. The
 * derivative is 1/2 dz sd noise where KL has no weight: 1/2 up or down. */
static void check_limits(int kernel)
{
  static const double given[] = {40.5, 1e30, INFINITY, 40.0, 39.0, 0.0, -39.0, -40.0, -40.5,
                                 -1e30, -INFINITY};
  enum { K = sizeof given / sizeof *given };
  real mean[2 * K], log_d[2 * K], noise[4 * K], dz[4 * K], sd[2 * K], z[2 * K], weight[K];
  for (size_t samples = 1; samples <= 2; samples++) {
    for (size_t i = 0; i < 4 * K; i++) {
      noise[i] = 1;
      dz[i] = i / K % 2 ? -1 : 1;
    }
    for (size_t i = 0; i < 2 * K; i++) {
      mean[i] = 1;
      log_d[i] = (real) given[i % K];
      weight[i % K] = 0;
    }
    each_sample(plan_of(kernel, 1), K, 2, mean, log_d, noise, sd, z, K);
    for (size_t i = 0; i < 2 * K; i++) {
      double limited = fmax(-40.0, fmin(40.0, given[i % K]));
      CHECK((double) log_d[i] == limited);
      CHECK_NEAR((double) sd[i], exp(0.5 * limited), close_to);
      CHECK_NEAR((double) z[i], 1.0 + exp(0.5 * limited), close_to);
      sd[i] = 1;
    }
    each_latent_slopes(plan_of(kernel, 1), K, 2, samples, dz, noise, sd, weight, mean, log_d);
    for (size_t i = 0; i < 2 * K; i++) {
      double rise = 0.5 * (double) samples * (i < K ? 1.0 : -1.0), v = given[i % K];
      CHECK((double) log_d[i] == (v >= 40.0 ? fmin(rise, 0.0) : v <= -40.0 ?
                                  fmax(rise, 0.0) : rise));
    }
  }
}

static void log_d_has_limits(void)
{
  with_each_kernel(check_limits);
}

static void check_latent_slopes_kernel(int kernel)
{
  for (size_t i = 0; i < EXTENTS; i++)
    for (size_t samples = 1; samples <= 3; samples++)
      if (i < MOST_ROWS || samples != 2)
        check_latent_slopes(kernel, extent_of(i), samples);
}

static void slopes_of_latents_are_differences(void)
{
  with_each_kernel(check_latent_slopes_kernel);
}

/* ---- densities --------------------------------------------------------- */

typedef struct {
  size_t p, count, draws, ldx;
  int kind;
  double floor, share;
  real *x, *seen, *log_s2, *g, *floors, *squares;
} comparison;

/* Of floors and squares: one for kind 0, otherwise one a feature. */
static size_t floor_numbers(const comparison *c)
{
  return c->kind == 0 ? 1 : c->p;
}

static double floor_of(const comparison *c, size_t f)
{
  return (double) c->floors[c->kind == 0 ? 0 : f];
}

static size_t noise_numbers(const comparison *c)
{
  return c->kind == 0 ? 1 : c->kind == 1 ? c->p : c->p * c->draws;
}

static size_t slope_numbers(const comparison *c)
{
  return c->kind == 0 ? c->draws : c->p * c->draws;
}

static double log_s2_of(const comparison *c, size_t f, size_t draw_number)
{
  return (double) c->log_s2[c->kind == 0 ? 0 : c->kind == 1 ? f : f + draw_number * c->p];
}

/* Of a cell, its log s2 raised to the floor and moved by t. */
static double log_density(const comparison *c, size_t f, size_t i, double t)
{
  size_t from = i % c->count;
  if (c->seen && c->seen[f + from * c->p] == 0) return 0.0;
  double v = fmax(log_s2_of(c, f, i), floor_of(c, f)) + t;
  double e = (double) c->x[f + from * c->ldx] - (double) c->g[f + i * c->p];
  return -0.5 * (e * e / exp(v) + v + log(6.283185307179586));
}

/* The derivative of share times the density of cells f0 .. f1 - 1 by log s2: below the
 * floor only where it is a way up. */
static double density_slope(const comparison *c, size_t f0, size_t f1, size_t i)
{
  const double h = 1e-3;
  double f[4] = {0.0, 0.0, 0.0, 0.0};
  for (int s = 0; s < 4; s++)
    for (size_t j = f0; j < f1; j++)
      f[s] += c->share * log_density(c, j, i, difference_steps[s] * h);
  double d = difference_of(f, h);
  return log_s2_of(c, f0, i) < floor_of(c, f0) ? fmax(d, 0.0) : d;
}

typedef struct { real *g, *slope; double *density, *raised, *variance; } compared;

static compared run_comparison(const comparison *c, gemm_plan plan, int alias)
{
  compared r = {copy_reals(c->p * c->draws, c->g), reals(slope_numbers(c)),
                doubles(c->draws), doubles(c->draws), doubles(c->draws)};
  real *log_s2 = copy_reals(noise_numbers(c), c->log_s2);
  if (alias) memcpy(r.slope, log_s2, slope_numbers(c) * sizeof *r.slope);
  each_noise noise = {.kind = c->kind, .log_s2 = alias ? r.slope : log_s2,
                      .floor = c->floors, .square = c->squares, .share = (real) c->share};
  each_compare(plan, c->p, c->count, c->draws, c->x, c->ldx, c->seen, noise, r.g, r.slope,
               r.density, r.raised, r.variance);
  CHECK(alias || same_reals(noise_numbers(c), log_s2, c->log_s2));
  free(log_s2);
  return r;
}

static void drop_compared(compared *r)
{
  free(r->g);
  free(r->slope);
  free(r->density);
  free(r->raised);
  free(r->variance);
}

static int same_compared(const comparison *c, const compared *a, const compared *b)
{
  return same_reals(c->p * c->draws, a->g, b->g) &&
    same_reals(slope_numbers(c), a->slope, b->slope) &&
    same_doubles(c->draws, a->density, b->density) &&
    same_doubles(c->draws, a->raised, b->raised) &&
    same_doubles(c->draws, a->variance, b->variance);
}

static size_t wrong_draw(const comparison *c, const compared *r, size_t i)
{
  size_t from = i % c->count, bad = 0;
  double density = 0.0, scale = 1.0, raised = 0.0, variance = 0.0;
  double tol = c->p < 1000 ? close_sum : 10.0 * close_sum;
  for (size_t f = 0; f < c->p; f++) {
    int is = !c->seen || c->seen[f + from * c->p] != 0;
    double v = log_s2_of(c, f, i), floor = floor_of(c, f), s2 = exp(fmax(v, floor));
    double cell = log_density(c, f, i, 0.0);
    double e = (double) c->x[f + from * c->ldx] - (double) c->g[f + i * c->p];
    density += cell;
    scale += fabs(cell);
    if (is && v <= floor) raised++;
    if (is) variance += c->kind == 0 ? s2 : s2 * (double) c->squares[f];
    bad += !near((double) r->g[f + i * c->p], is ? c->share * e / s2 : 0.0, close_to * 4.0);
    if (c->kind > 0)
      bad += !near((double) r->slope[f + i * c->p], density_slope(c, f, f + 1, i),
                   fmax(4.0 * close_to, 1e-9));
  }
  bad += !(fabs(r->density[i] - density) <= tol * scale);
  bad += r->raised[i] != raised;
  bad += !near(r->variance[i], variance, tol);
  if (c->kind == 0)
    bad += !(fabs((double) r->slope[i] - density_slope(c, 0, c->p, i)) <=
             fmax(tol, 1e-9) * c->share * scale);
  return bad;
}

static comparison new_comparison(extent e, size_t draws, int kind, int holes, double floor)
{
  comparison c = {.p = e.rows, .count = e.cols, .draws = e.cols * draws, .ldx = e.rows + 2,
                  .kind = kind, .floor = floor, .share = 0.37};
  c.x = gapped(c.p, c.count, c.ldx, 1.5);
  c.g = normal_reals(c.p * c.draws, 1.5);
  c.log_s2 = normal_reals(noise_numbers(&c), 1.0);
  c.floors = normal_reals(floor_numbers(&c), 0.5);
  c.squares = reals(floor_numbers(&c));
  for (size_t f = 0; f < floor_numbers(&c); f++) {
    c.floors[f] += (real) floor;
    c.squares[f] = (real) (0.1 + test_uniform());
  }
  if (holes) {
    c.seen = reals(c.p * c.count);
    for (size_t i = 0; i < c.p * c.count; i++) c.seen[i] = test_below(3) != 0;
  }
  return c;
}

static void check_comparison(int kernel, comparison *c)
{
  compared one = run_comparison(c, plan_of(kernel, 1), 0);
  size_t bad = 0;
  for (size_t i = 0; i < c->draws; i++) bad += wrong_draw(c, &one, i);
  for (int threads = 2; threads <= 3; threads++) {
    compared r = run_comparison(c, plan_of(kernel, threads), 0);
    bad += !same_compared(c, &r, &one);
    drop_compared(&r);
  }
  if (c->kind == 2) {                          /* the slope in the place of log s2 */
    compared r = run_comparison(c, plan_of(kernel, 2), 1);
    bad += !same_compared(c, &r, &one);
    drop_compared(&r);
  }
  if (bad) printf("kind %d, floor %g, %s missing cells: ", c->kind, c->floor,
                  c->seen ? "with" : "without");
  report(bad, "each_compare", kernel, c->p, c->draws);
  drop_compared(&one);
  free(c->x);
  free(c->g);
  free(c->log_s2);
  free(c->floors);
  free(c->squares);
  free(c->seen);
}

/* Floors, of each feature another, below all log s2, among them and above all; none. */
static void check_compare_kernel(int kernel)
{
  static const double floors[] = {-30.0, 0.1, 5.0, -INFINITY};
  for (size_t i = 0; i < EXTENTS; i++)
    for (int way = 0; way < 24; way++) {
      if (i >= MOST_ROWS && way / 6 != 1) continue;
      comparison c = new_comparison(extent_of(i), 1 + (i + way) % 3, way % 3, way / 3 % 2,
                                    floors[way / 6]);
      check_comparison(kernel, &c);
    }
}

static void densities_and_their_slopes(void)
{
  with_each_kernel(check_compare_kernel);
}

/* A row of very many features, all alike: a sum of so many equal floats would go wrong in
 * one direction. A cell is -1/2 (x^2 / s2 + log s2 + log 2 pi). */
static void check_many_features(int kernel)
{
  enum { P = 100000 };
  const double log_s2 = -0.75, x = 0.3;
  real *cells = reals(P), *noises = reals(P), *seen = reals(P), *floors = reals(P);
  real *squares = reals(P);
  for (size_t f = 0; f < P; f++) {
    cells[f] = (real) x;
    noises[f] = (real) log_s2;
    floors[f] = -30;
    squares[f] = 1;
    seen[f] = f % 4 > 0;
  }
  for (int kind = 0; kind < 3; kind++)
    for (int holes = 0; holes < 2; holes++) {
      real *g = reals(P), *slope = reals(P);
      for (size_t f = 0; f < P; f++) g[f] = 0;
      double density, raised, variance, n = holes ? 0.75 * P : P;
      each_noise noise = {.kind = kind, .log_s2 = noises, .floor = floors,
                          .square = squares, .share = 1};
      each_compare(plan_of(kernel, 1), P, 1, 1, cells, P, holes ? seen : NULL, noise, g,
                   slope, &density, &raised, &variance);
      double square = x * x / exp(log_s2);
      double cell = -0.5 * (square + log_s2 + log(6.283185307179586));
      CHECK(fabs(density - n * cell) <= 2e-6 * n);
      CHECK_NEAR(variance, n * exp(log_s2), 2e-6);
      if (kind == 0) CHECK(fabs((double) slope[0] - 0.5 * n * (square - 1.0)) <= 2e-6 * n);
      free(g);
      free(slope);
    }
  free(cells);
  free(noises);
  free(floors);
  free(squares);
  free(seen);
}

static void densities_of_many_features(void)
{
  with_each_kernel(check_many_features);
}

/* One cell with s2 below the floor of log s2 = 0. An error of 2 says that s2 = 4 would be
 * better: the derivative at the floor, 1/2 (4 - 1), leads out. An error of 1/2 would make
 * s2 less: no derivative. At the floor itself it is that of the density. */
static void check_floor(int kernel)
{
  static const double errors[] = {2.0, 0.5, 0.5}, log_s2[] = {-3.0, -3.0, 0.0};
  static const double slopes[] = {1.5, 0.0, -0.375};
  for (int kind = 0; kind < 3; kind++)
    for (int i = 0; i < 3; i++) {
      real x = (real) errors[i], g = 0, slope = -1, v = (real) log_s2[i], floor = 0;
      real unit = 1;
      double density, raised, variance;
      each_noise noise = {.kind = kind, .log_s2 = &v, .floor = &floor, .square = &unit,
                          .share = 1};
      each_compare(plan_of(kernel, 1), 1, 1, 1, &x, 1, NULL, noise, &g, &slope, &density,
                   &raised, &variance);
      CHECK_NEAR((double) slope, slopes[i], close_to);
      CHECK_NEAR((double) g, errors[i], close_to);
      CHECK_NEAR(density, -0.5 * (errors[i] * errors[i] + log(6.283185307179586)),
                 close_to);
      CHECK(raised == 1);
      CHECK_NEAR(variance, 1.0, close_to);
    }
}

static void the_floor_lets_log_s2_rise_alone(void)
{
  with_each_kernel(check_floor);
}

/* Three features with s2 = 1/4, 1 and 4, of which the second is missing; floors of 1, 4
 * and 1 raise the first alone of those that are observed; squares of 1/2, 8 and 2:
 * variance 1/2 1 + 2 4. One s2 of 1/4 with a floor of 1 has no square: 1 + 1. */
static void check_units(int kernel)
{
  const double quarter = -1.3862943611198906;
  const real log_s2[] = {(real) quarter, 0, (real) -quarter};
  const real floors[] = {0, (real) -quarter, 0}, squares[] = {(real) 0.5, 8, 2};
  const real seen[] = {1, 0, 1}, x[] = {1, 1, 1};
  for (int kind = 0; kind < 3; kind++) {
    real g[] = {0, 0, 0}, slope[3];
    double density, raised, variance;
    each_noise noise = {.kind = kind, .log_s2 = log_s2, .floor = floors, .square = squares,
                        .share = 1};
    each_compare(plan_of(kernel, 1), 3, 1, 1, x, 3, seen, noise, g, slope, &density, &raised,
                 &variance);
    CHECK(raised == (kind == 0 ? 2.0 : 1.0));
    CHECK_NEAR(variance, kind == 0 ? 2.0 : 8.5, close_to);
    CHECK_NEAR((double) g[2], kind == 0 ? 1.0 : 0.25, close_to);
  }
}

static void features_have_floors_and_units(void)
{
  with_each_kernel(check_units);
}

/* ---- parameters -------------------------------------------------------- */

static const size_t parameter_counts[] = {8191, 8192, 8193, 16383, 16384, 24577, 50000};
enum { COUNTS = MOST_ROWS + sizeof parameter_counts / sizeof *parameter_counts };

static size_t parameter_count(size_t i)
{
  return i < MOST_ROWS ? i + 1 : parameter_counts[i - MOST_ROWS];
}

typedef struct { real *gradient, *theta, *m, *v; } parameters;

static parameters new_parameters(size_t count)
{
  parameters a = {normal_reals(count, 1.0), normal_reals(count, 1.0),
                  normal_reals(count, 1.0), normal_reals(count, 1.0)};
  for (size_t i = 0; i < count; i++) a.v[i] = a.v[i] * a.v[i];
  return a;
}

static parameters copy_parameters(size_t count, const parameters *a)
{
  return (parameters) {copy_reals(count, a->gradient), copy_reals(count, a->theta),
                       copy_reals(count, a->m), copy_reals(count, a->v)};
}

static void drop_parameters(parameters *a)
{
  free(a->gradient);
  free(a->theta);
  free(a->m);
  free(a->v);
}

/* In float 0.999 is off by 1e-8, and 1 less it by 1e-5 of itself. */
static size_t wrong_steps(size_t count, each_rates r, int is_adam, const parameters *from,
                          const parameters *to)
{
  const double tol = sizeof(real) == 4 ? 3e-5 : 1e-12;
  size_t bad = !same_reals(count, from->gradient, to->gradient);
  for (size_t i = 0; i < count; i++) {
    double g = (double) r.scale * (double) from->gradient[i], m = (double) from->m[i];
    double v = (double) from->v[i], theta = (double) from->theta[i];
    m = is_adam ? 0.9 * m + 0.1 * g : (double) r.momentum * m + g;
    if (is_adam) v = 0.999 * v + 0.001 * g * g;
    theta += (double) r.rate * m /
      (is_adam ? sqrt(v) * (double) r.inverse_root + 1e-8 : 1.0);
    bad += !near((double) to->theta[i], theta, tol) + !near((double) to->m[i], m, close_to);
    bad += is_adam ? !near((double) to->v[i], v, tol) : to->v[i] != from->v[i];
  }
  return bad;
}

static void check_steps(int kernel, size_t count, int is_adam)
{
  parameters from = new_parameters(count), one = {NULL, NULL, NULL, NULL};
  each_rates r = {(real) 0.8, (real) 0.05, (real) 1.7, (real) 0.6};
  size_t bad = 0;
  for (int threads = 1; threads <= 3; threads++) {
    parameters a = copy_parameters(count, &from);
    gemm_plan plan = plan_of(kernel, threads);
    if (is_adam) each_adam(plan, count, r, a.gradient, a.theta, a.m, a.v);
    else each_sgd(plan, count, r, a.gradient, a.theta, a.m);
    if (threads == 1) {
      one = a;
      bad += wrong_steps(count, r, is_adam, &from, &a);
      continue;
    }
    bad += !same_reals(count, a.theta, one.theta) + !same_reals(count, a.m, one.m) +
      !same_reals(count, a.v, one.v);
    drop_parameters(&a);
  }
  report(bad, is_adam ? "each_adam" : "each_sgd", kernel, count, 1);
  drop_parameters(&from);
  drop_parameters(&one);
}

static void check_steps_kernel(int kernel)
{
  for (size_t i = 0; i < COUNTS; i++)
    for (int is_adam = 0; is_adam < 2; is_adam++)
      check_steps(kernel, parameter_count(i), is_adam);
}

static void steps_are_their_formulas(void)
{
  with_each_kernel(check_steps_kernel);
}

/* A parameter that never had a gradient stays where it is. */
static void check_no_gradient(int kernel)
{
  real gradient[20] = {0}, theta[20], m[20] = {0}, v[20] = {0}, kept[20];
  for (int i = 0; i < 20; i++) theta[i] = (real) test_normal();
  memcpy(kept, theta, sizeof kept);
  each_rates r = {1, (real) 0.1, (real) 31.6, 0};
  each_adam(plan_of(kernel, 1), 20, r, gradient, theta, m, v);
  each_sgd(plan_of(kernel, 1), 20, r, gradient, theta, m);
  CHECK(same_reals(20, theta, kept));
}

static void no_gradient_is_no_step(void)
{
  with_each_kernel(check_no_gradient);
}

static void check_squares(int kernel)
{
  for (size_t i = 0; i < COUNTS; i++) {
    size_t count = parameter_count(i), parts = (count + EACH_STRETCH - 1) / EACH_STRETCH;
    real *a = normal_reals(count, 1.0);
    double *one = doubles(parts);
    size_t bad = 0;
    each_squares(plan_of(kernel, 1), count, a, one);
    for (size_t s = 0; s < parts; s++) {
      double sum = 0.0;
      for (size_t j = s * EACH_STRETCH; j < count && j < (s + 1) * EACH_STRETCH; j++)
        sum += (double) a[j] * (double) a[j];
      bad += !near(one[s], sum, close_sum);
    }
    for (int threads = 2; threads <= 3; threads++) {
      double *sums = doubles(parts);
      each_squares(plan_of(kernel, threads), count, a, sums);
      bad += !same_doubles(parts, sums, one);
      free(sums);
    }
    report(bad, "each_squares", kernel, count, 1);
    free(a);
    free(one);
  }
}

static void squares_are_summed_in_stretches(void)
{
  with_each_kernel(check_squares);
}

/* Sizes of nothing touch nothing. */
static void check_nothing(int kernel)
{
  gemm_plan plan = plan_of(kernel, 2);
  real none[1] = {between};
  each_noise noise = {.log_s2 = none, .floor = none, .square = none, .share = 1};
  each_rates r = {1, 1, 1, 1};
  each_activate(plan, ACTIVATION_TANH, 3, 0, none, 3, none);
  each_activate(plan, ACTIVATION_TANH, 0, 3, none, 1, none);
  each_multiply(plan, 0, none, none);
  each_gather(plan, 2, 0, none, NULL, 0, none, none, 2, none);
  each_pixels pixels = {0.25, 2.0, none, none};
  each_dequantise(plan, noise_key, 0, &pixels, 2, 0, none, NULL, 0, none, none, 2, none,
                  NULL);
  each_normals(plan, noise_key, 0, NULL, 0, 0, 3, 0, none);
  each_sample(plan, 2, 0, none, none, none, none, none, 3);
  each_compare(plan, 2, 0, 0, none, 2, none, noise, none, none, NULL, NULL, NULL);
  each_latent_slopes(plan, 2, 0, 1, none, none, none, none, none, none);
  each_adam(plan, 0, r, none, none, none, none);
  each_sgd(plan, 0, r, none, none, none);
  each_squares(plan, 0, none, NULL);
  CHECK(none[0] == between);
}

static void nothing_is_a_count(void)
{
  with_each_kernel(check_nothing);
}

#define EACH_CHECKS                                                               \
  activations_are_their_definitions, activations_have_their_limits, products_are_exact, \
  columns_are_gathered_and_filled, pixels_are_spread_and_put_on_the_line,          \
  the_ends_are_finite_and_wide, pixels_do_not_depend_on_the_batch,                 \
  noise_of_pixels_is_uniform, normals_of_known_words,                              \
  normals_are_those_of_their_counters,                                             \
  normals_do_not_depend_on_the_batch, normals_of_other_addresses_are_others,       \
  normals_are_normal, latents_are_sampled, slopes_of_latents_are_differences,      \
  log_d_has_limits, densities_and_their_slopes, densities_of_many_features,        \
  the_floor_lets_log_s2_rise_alone, features_have_floors_and_units,                \
  steps_are_their_formulas, no_gradient_is_no_step, squares_are_summed_in_stretches, \
  nothing_is_a_count

#endif
