/* Matrix products; see gemm.h for the contract. The code is in gemm_body.h, compiled
 * here for float and for double. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__x86_64__) && defined(__GNUC__)
# define GEMM_X86
# include <immintrin.h>
#endif

#include "gemm.h"
#include "threads.h"

/* Tiles live in registers once their loops are unrolled. */
#ifdef __clang__
# define UNROLL _Pragma("unroll")
#else
# define UNROLL _Pragma("GCC unroll 12")
#endif

enum gemm_kernel gemm_best(void)
{
#ifdef GEMM_X86
  if (__builtin_cpu_supports("avx512f")) return GEMM_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return GEMM_AVX2;
#endif
  return GEMM_PORTABLE;
}

/* ---- space ------------------------------------------------------------- */

/* Blocks of op(A) (MC x KC) and of op(B) (KC x NC) are packed at a time: the first
 * stays in the second-level cache, a panel of the second in the first-level one. They
 * are as many bytes down and across in either type, KC_BYTES and MC_BYTES; the block of
 * op(A) has more bytes in float. NC and the rest are multiples of all sizes of tiles. */
enum {
  KC_BYTES = 1536, MC_BYTES = 1024, NC = 1536, ALIGNED = 64,
  THREAD_SPACE = MC_BYTES / sizeof(float) * KC_BYTES + KC_BYTES * NC
};
_Static_assert(MC_BYTES % 128 == 0 && NC % 12 == 0, "blocks are whole tiles");

size_t gemm_space(int threads)
{
  size_t count = threads > 1 ? (size_t) threads : 1;
  if (count > (SIZE_MAX - ALIGNED) / THREAD_SPACE) return SIZE_MAX;
  return count * THREAD_SPACE + ALIGNED;
}

static char *aligned(void *space)
{
  return (char *) space + (ALIGNED - (uintptr_t) space % ALIGNED) % ALIGNED;
}

/* Brings memory to the cache that may be read soon; nothing need be there. */
static inline void fetch(uintptr_t address)
{
#ifdef __GNUC__
  __builtin_prefetch((const void *) address);
#else
  (void) address;
#endif
}

/* ---- both types -------------------------------------------------------- */

#define REAL float
#define NAME(x) x##_float
#define V256(what) V256_##what
#define V512(what) V512_##what
#define V256_type __m256
#define V256_loadu _mm256_loadu_ps
#define V256_storeu _mm256_storeu_ps
#define V256_set1 _mm256_set1_ps
#define V256_fmadd _mm256_fmadd_ps
#define V256_setzero _mm256_setzero_ps
#define V512_type __m512
#define V512_loadu _mm512_loadu_ps
#define V512_storeu _mm512_storeu_ps
#define V512_set1 _mm512_set1_ps
#define V512_fmadd _mm512_fmadd_ps
#define V512_setzero _mm512_setzero_ps
#include "gemm_body.h"
#undef REAL
#undef NAME
#undef V256_type
#undef V256_loadu
#undef V256_storeu
#undef V256_set1
#undef V256_fmadd
#undef V256_setzero
#undef V512_type
#undef V512_loadu
#undef V512_storeu
#undef V512_set1
#undef V512_fmadd
#undef V512_setzero

#define REAL double
#define NAME(x) x##_double
#define V256_type __m256d
#define V256_loadu _mm256_loadu_pd
#define V256_storeu _mm256_storeu_pd
#define V256_set1 _mm256_set1_pd
#define V256_fmadd _mm256_fmadd_pd
#define V256_setzero _mm256_setzero_pd
#define V512_type __m512d
#define V512_loadu _mm512_loadu_pd
#define V512_storeu _mm512_storeu_pd
#define V512_set1 _mm512_set1_pd
#define V512_fmadd _mm512_fmadd_pd
#define V512_setzero _mm512_setzero_pd
#include "gemm_body.h"
