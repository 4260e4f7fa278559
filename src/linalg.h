/* Dense linear algebra: the one place that names BLAS and LAPACK.
 *
 * All matrices are column-major doubles. Sizes are size_t here and int in
 * BLAS: callers make sure that each single dimension fits an int (the glue
 * refuses data for which it does not); products of dimensions may exceed it.
 */
#ifndef ELBO_LINALG_H
#define ELBO_LINALG_H

#include <stddef.h>

#include "gemm.h"

/* Who computes la_gemm() and la_syrk(): our own kernels by that plan, whose space is
 * theirs until the next call, or with own = 0, R's BLAS. Until it is called, R's BLAS. */
void la_use(int own, gemm_plan plan);

/* C = alpha op(A) op(B) + beta C, with op(A) m x k, op(B) k x n, C m x n;
 * trans_a, trans_b are 'N' or 'T'. */
void la_gemm(char trans_a, char trans_b, size_t m, size_t n, size_t k,
             double alpha, const double *a, size_t lda, const double *b,
             size_t ldb, double beta, double *c, size_t ldc);

/* Lower triangle of C (n x n) = alpha op(A) op(A)' + beta C, with op(A) n x k:
 * trans 'N' for A n x k, 'T' for A k x n. */
void la_syrk(char trans, size_t n, size_t k, double alpha, const double *a,
             size_t lda, double beta, double *c, size_t ldc);

/* Copies the lower triangle of a (n x n) to the upper. */
void la_mirror(size_t n, double *a, size_t lda);

/* Eigen-decomposition of the symmetric n x n matrix a (lower triangle read, a
 * destroyed): values[n] in decreasing order and the vectors of the first `count` of them,
 * the first columns of vectors (n x n, or NULL for none; the others are work space).
 * ELBO_LAPACK where a is not finite. */
int la_eigen(size_t n, double *a, size_t count, double *values, double *vectors,
             double *work, size_t lwork, int *iwork, size_t liwork);
int la_eigen_work(size_t n, size_t *lwork, size_t *liwork);

/* Lower Cholesky factor in place; the strict upper triangle is left alone. */
int la_cholesky(size_t n, double *a, size_t lda);

/* x (n x m) <- (L L')^-1 x, for the factor L from la_cholesky(). */
void la_cholesky_solve(size_t n, size_t m, const double *l, size_t ldl,
                       double *x, size_t ldx);

/* Inverse of the symmetric positive definite n x n matrix a, lower triangle in
 * and out; *logdet is the log-determinant of a. */
int la_spd_inverse(size_t n, double *a, double *logdet);

/* Householder QR of a (m x n, m >= n): a becomes Q with orthonormal columns,
 * diagonal[n] that of R, not negative. Work: la_qr_work() doubles. */
int la_qr(size_t m, size_t n, double *a, double *diagonal, double *work);
size_t la_qr_work(size_t n);

double la_norm(size_t n, const double *x);

#endif
