/* Elementary functions of a float without branches or calls, so that loops over them
 * become vector instructions. Errors are within 4e-7, relative for exp, log, root, sin
 * and cos of small angles and a softplus of more than 1, absolute for the others. NaN
 * stays NaN, but for log.
 *
 * The polynomials are those of the Cephes library (Moshier 1992); that of erfc is
 * 7.1.26 of Abramowitz and Stegun (1964).
 */
#ifndef ELBO_FLOAT_MATH_H
#define ELBO_FLOAT_MATH_H

#include <stdint.h>
#include <string.h>

#ifdef __GNUC__
# define FLOAT_INLINE static inline __attribute__((always_inline))
#else
# define FLOAT_INLINE static inline
#endif

FLOAT_INLINE uint32_t float_bits(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

FLOAT_INLINE float float_of_bits(uint32_t bits)
{
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* exp(x) = 2^n exp(r), |r| <= log(2) / 2. 2^n in two factors, as n may be one more
 * than an exponent holds. */
FLOAT_INLINE float float_exp(float x)
{
  const float magic = 12582912.0f;        /* 1.5 2^23: its last bits count units */
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  float shifted = x * 1.44269504f + magic, n = shifted - magic;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  uint32_t whole = float_bits(shifted) - float_bits(magic) + 256u, half = whole >> 1;
  return y * float_of_bits((half - 1u) << 23) * float_of_bits((whole - half - 1u) << 23);
}

/* log(x) for a normal x > 0: x = 2^e m with m from 1/sqrt(2) to sqrt(2). */
FLOAT_INLINE float float_log(float x)
{
  uint32_t bits = float_bits(x) - 0x3F3504F3u;
  float e = (float) ((int32_t) (bits >> 23 ^ 0x100u) - 0x100);
  float m = float_of_bits((bits & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f, z = m * m;
  float y = 7.0376836292e-2f;
  y = y * m - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  y = y * m * z - 2.12194440e-4f * e - 0.5f * z;
  return m + y + 0.693359375f * e;
}

/* Square root of a normal x > 0, or of 0, by three steps of Newton's for 1 / sqrt(x). */
FLOAT_INLINE float float_root(float x)
{
  float y = float_of_bits(0x5F3759DFu - (float_bits(x) >> 1)), half = 0.5f * x;
  y = y * (1.5f - half * y * y);
  y = y * (1.5f - half * y * y);
  y = y * (1.5f - half * y * y);
  return x * y;
}

FLOAT_INLINE float float_abs(float x)
{
  return float_of_bits(float_bits(x) & 0x7FFFFFFFu);
}

/* 1 / (1 + exp(-x)) */
FLOAT_INLINE float float_logistic(float x)
{
  return 1.0f / (1.0f + float_exp(-x));
}

FLOAT_INLINE float float_tanh(float x)
{
  float z = x * x, a = float_abs(x);
  float y = -5.70498872745e-3f;
  y = y * z + 2.06390887954e-2f;
  y = y * z - 5.37397155531e-2f;
  y = y * z + 1.33314422036e-1f;
  y = y * z - 3.33332819422e-1f;
  float near = y * z * x + x;
  float far = 1.0f - 2.0f / (float_exp(2.0f * a) + 1.0f);
  return a < 0.625f ? near : x < 0.0f ? -far : far;
}

/* log(1 + exp(x)) */
FLOAT_INLINE float float_softplus(float x)
{
  return (x < 0.0f ? 0.0f : x) + float_log(1.0f + float_exp(-float_abs(x)));
}

/* The normal distribution function, given e = exp(-x^2 / 2). */
FLOAT_INLINE float float_normal_below(float x, float e)
{
  float t = 1.0f / (1.0f + 0.231641888f * float_abs(x));    /* 0.3275911 / sqrt(2) */
  float y = 1.061405429f;
  y = y * t - 1.453152027f;
  y = y * t + 1.421413741f;
  y = y * t - 0.284496736f;
  y = y * t + 0.254829592f;
  float tail = 0.5f * y * t * e;
  return x < 0.0f ? tail : 1.0f - tail;
}

/* cos and sin of 2 pi u for u from 0 to 1: of an angle within pi / 4 of a multiple of
 * pi / 2. */
typedef struct { float cos, sin; } float_pair;

FLOAT_INLINE float_pair float_turn(float u)
{
  const float magic = 12582912.0f;
  float shifted = 4.0f * u + magic, quarters = shifted - magic;
  float r = (u - 0.25f * quarters) * 6.28318531f, z = r * r;
  float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
  float c = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z +
             4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
  uint32_t q = float_bits(shifted) & 3u;
  float even = q & 1u ? s : c, odd = q & 1u ? c : s;
  float_pair out = {(q + 1u) & 2u ? -even : even, q & 2u ? -odd : odd};
  return out;
}

#endif
