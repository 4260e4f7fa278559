/* Matrix products; see gemm.h for the contract. The code is in gemm_body.h, compiled
 * here for float and for double. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef _OPENMP
# include <omp.h>
# ifndef _WIN32
#  include <unistd.h>
# endif
#endif
#if defined(__x86_64__) && defined(__GNUC__)
# define GEMM_X86
# include <immintrin.h>
#endif

#include "gemm.h"

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

/* ---- threads ----------------------------------------------------------- */

/* The process that loaded the code, 0 until it says so: the one state kept here. */
static long loaded_by = 0;

static long this_process(void)
{
#if defined(_OPENMP) && !defined(_WIN32)
  return (long) getpid();
#else
  return 1;
#endif
}

void gemm_load(void)
{
  loaded_by = this_process();
}

int gemm_threads(int wanted)
{
#ifdef _OPENMP
  int most = omp_get_thread_limit();
  if (wanted < 1) wanted = omp_get_num_procs() < 2 ? 1 : 2;
  if (getenv("OMP_NUM_THREADS") && omp_get_max_threads() < most)
    most = omp_get_max_threads();
  return wanted < most ? wanted : most < 1 ? 1 : most;
#else
  (void) wanted;
  return 1;
#endif
}

static int gemm_allowed(int threads)
{
  if (threads <= 1) return 1;
  return loaded_by == 0 || loaded_by == this_process() ? threads : 1;
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
