/* The noise of the training engine from Philox's words, in double, and pixels with it; and
 * whether numbers are standard normal, within five standard errors. */
#ifndef ELBO_TEST_NOISE_REFERENCE_H
#define ELBO_TEST_NOISE_REFERENCE_H

#include <math.h>

#include "rng.h"
#include "test.h"

/* Number j of the `count` of (epoch, observation, sample): of Philox's block j mod blocks
 * the words 0 and 1, or 2 and 3, by Box and Muller from their upper 24 bits. */
static inline double expected_normal(rng_key key, uint32_t epoch, uint32_t observation,
                                     uint32_t sample_number, size_t count, size_t j)
{
  size_t blocks = (count + 3) / 4, part = j / blocks;
  uint32_t counter[4] = {(uint32_t) (j % blocks), observation, epoch, sample_number}, w[4];
  rng_philox(key, counter, w);
  const uint32_t *pair = w + part / 2 * 2;
  double u = ((double) (pair[0] / 256u) + 1.0) / 16777216.0;
  double angle = 6.283185307179586 * (double) (pair[1] / 256u) / 16777216.0;
  return sqrt(-2.0 * log(u)) * (part % 2 ? sin(angle) : cos(angle));
}

/* Of pixel j of the p of (epoch, observation): of block j mod blocks a word, of which the
 * upper 23 bits tell one of 2^23 intervals, in its middle. */
static inline double expected_uniform(rng_key key, uint32_t epoch, uint32_t observation,
                                      size_t p, size_t j)
{
  size_t blocks = (p + 3) / 4;
  uint32_t counter[4] = {(uint32_t) (j % blocks), observation, epoch, 4294967294u}, w[4];
  rng_philox(key, counter, w);
  return ((double) (w[j / blocks] / 512u) + 0.5) / 8388608.0;
}

/* y = logit(a) of a = alpha + (1 - 2 alpha) x / levels, and log dy/dx, where dy/dx is da/dx
 * (1 / a + 1 / (1 - a)). */
typedef struct { double y, log_slope; } logit_cell;
static inline logit_cell logit_of(double x, double alpha, double levels)
{
  double wide = 1.0 - 2.0 * alpha, a = alpha + wide * x / levels;
  double rest = alpha + wide * (levels - x) / levels;
  return (logit_cell) {log(a / rest), log(wide / levels * (1.0 / a + 1.0 / rest))};
}

static inline void check_moments(size_t n, const double *z)
{
  double m[5] = {0}, root = sqrt((double) n);
  for (size_t i = 0; i < n; i++) {
    double v = 1.0;
    for (int r = 1; r <= 4; r++) m[r] += (v *= z[i]) / (double) n;
  }
  CHECK_NEAR(m[1], 0.0, 5.0 / root);
  CHECK_NEAR(m[2] - 1.0, 0.0, 5.0 * sqrt(2.0) / root);
  CHECK_NEAR(m[3], 0.0, 5.0 * sqrt(15.0) / root);
  CHECK_NEAR(m[4] - 3.0, 0.0, 5.0 * sqrt(96.0) / root);
}

static inline void check_tails(size_t n, const double *z)
{
  for (double t = -4.0; t <= 4.0; t += 0.5) {
    double share = 0.5 * erfc(t / sqrt(2.0)), beyond = 0.0;
    for (size_t i = 0; i < n; i++) beyond += z[i] > t;
    double mean = (double) n * share, sd = sqrt(mean * (1.0 - share));
    CHECK(fabs(beyond - mean) <= 5.0 * sd + 1.0);
  }
}

#endif
