/* Matrix products of our own, for float, which R has no BLAS for, and for double,
 * where R's BLAS often is the slow reference one: packed, blocked for the caches, in
 * register tiles of AVX-512, of AVX2 with FMA, or of portable C, whichever the
 * processor has.
 *
 * Matrices are column-major. Each element of C is summed in one order, over the inner
 * dimension from first to last, whatever the number of threads and the blocking: the
 * same bits.
 */
#ifndef ELBO_GEMM_H
#define ELBO_GEMM_H

#include <stddef.h>

enum gemm_kernel { GEMM_PORTABLE, GEMM_AVX2, GEMM_AVX512 };

/* The best kernel of this build that this processor can run. */
enum gemm_kernel gemm_best(void);

/* A kernel, none better than gemm_best(); the number of threads, 1 or more; and
 * gemm_space(threads) bytes at any address, where the products pack their blocks. One
 * product at a time may use them; what they hold does not matter. */
typedef struct {
  enum gemm_kernel kernel;
  int threads;
  void *space;
} gemm_plan;

/* The same for every kernel, type and size. */
size_t gemm_space(int threads);

/* C (m x n) = alpha op(A) op(B) + beta C with op(A) m x k and op(B) k x n;
 * trans_a, trans_b 'N' or 'T'. With beta = 0 what C holds does not matter. With
 * alpha = 0 A and B are not read. */
void gemm_float(gemm_plan plan, char trans_a, char trans_b, size_t m, size_t n,
                size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc);
void gemm_double(gemm_plan plan, char trans_a, char trans_b, size_t m, size_t n,
                 size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c,
                 size_t ldc);

/* Lower triangle of C (n x n) = alpha op(A) op(A)' + beta C with op(A) n x k: trans
 * 'N' for A n x k, 'T' for A k x n. The strict upper triangle is left alone. */
void syrk_float(gemm_plan plan, char trans, size_t n, size_t k, float alpha,
                const float *a, size_t lda, float beta, float *c, size_t ldc);
void syrk_double(gemm_plan plan, char trans, size_t n, size_t k, double alpha,
                 const double *a, size_t lda, double beta, double *c,
                 size_t ldc);

#endif
