/* Counter-based random numbers; see rng.h for the contract. */
#include <math.h>

#include "rng.h"

void rng_philox(rng_key key, const uint32_t counter[4], uint32_t out[4])
{
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key.key[0], k1 = key.key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t) 0xD2511F53u * c0, b = (uint64_t) 0xCD9E8D57u * c2;
    c0 = (uint32_t) (b >> 32) ^ c1 ^ k0;
    c2 = (uint32_t) (a >> 32) ^ c3 ^ k1;
    c1 = (uint32_t) b;
    c3 = (uint32_t) a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/* 53 of the 64 bits, as a multiple of 2^-53 in [0, 1). */
static double uniform(uint32_t high, uint32_t low)
{
  uint64_t bits = (uint64_t) high << 32 | low;
  return (double) (bits >> 11) * 0x1p-53;
}

/* Box and Muller: two normals from one counter. */
void rng_normals(rng_key key, uint32_t epoch, uint32_t observation,
                 uint32_t sample, size_t count, double *out, size_t stride)
{
  const double two_pi = 6.28318530717958647693;
  for (size_t j = 0; j < count; j += 2) {
    uint32_t counter[4] = {(uint32_t) (j / 2), observation, epoch, sample}, u[4];
    rng_philox(key, counter, u);
    double radius = sqrt(-2.0 * log(1.0 - uniform(u[0], u[1])));
    double angle = two_pi * uniform(u[2], u[3]);
    out[j * stride] = radius * cos(angle);
    if (j + 1 < count) out[(j + 1) * stride] = radius * sin(angle);
  }
}

/* Fisher and Yates. */
void rng_permutation(rng_key key, uint32_t epoch, size_t n, int *order)
{
  for (size_t i = 0; i < n; i++) order[i] = (int) i;
  for (size_t i = n; i > 1; i--) {
    uint32_t counter[4] = {(uint32_t) i, 0, epoch, RNG_ORDER}, u[4];
    rng_philox(key, counter, u);
    size_t j = (size_t) (uniform(u[0], u[1]) * (double) i);
    int last = order[i - 1];
    order[i - 1] = order[j];
    order[j] = last;
  }
}
