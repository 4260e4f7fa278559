/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw
 * 2011, "Parallel random numbers: as easy as 1, 2, 3"). A number is a function
 * of a key and a counter alone, so that the noise of one observation in one
 * epoch does not depend on the order or the number of draws before it.
 */
#ifndef ELBO_RNG_H
#define ELBO_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t key[2]; } rng_key;

void rng_philox(rng_key key, const uint32_t counter[4], uint32_t out[4]);

/* The last word of a counter is a sample of the latent variables, or one of these. */
#define RNG_PIXELS 0xFFFFFFFEu
#define RNG_ORDER 0xFFFFFFFFu

/* out[0], out[stride], ...: `count` standard normal numbers that belong to
 * (epoch, observation, sample). */
void rng_normals(rng_key key, uint32_t epoch, uint32_t observation,
                 uint32_t sample, size_t count, double *out, size_t stride);

/* A random order of 0 .. n-1 that belongs to the epoch. */
void rng_permutation(rng_key key, uint32_t epoch, size_t n, int *order);

#endif
