#include <float.h>
#include <math.h>
#include <string.h>

#define USE_FC_LEN_T
#include <R_ext/BLAS.h>
#include <R_ext/Lapack.h>
#ifndef FCONE
# define FCONE
#endif

#include "linalg.h"
#include "status.h"

static struct {
  int own;
  gemm_plan plan;
} use;

void la_use(int own, gemm_plan plan)
{
  use.own = own;
  use.plan = plan;
}

void la_gemm(char trans_a, char trans_b, size_t m, size_t n, size_t k,
             double alpha, const double *a, size_t lda, const double *b,
             size_t ldb, double beta, double *c, size_t ldc)
{
  if (m == 0 || n == 0) return;
  if (use.own) {
    gemm_double(use.plan, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  int im = (int) m, in = (int) n, ik = (int) k;
  int ia = (int) lda, ib = (int) ldb, ic = (int) ldc;
  F77_CALL(dgemm)(&trans_a, &trans_b, &im, &in, &ik, &alpha, a, &ia, b, &ib,
                  &beta, c, &ic FCONE FCONE);
}

void la_syrk(char trans, size_t n, size_t k, double alpha, const double *a,
             size_t lda, double beta, double *c, size_t ldc)
{
  if (n == 0) return;
  if (use.own) {
    syrk_double(use.plan, trans, n, k, alpha, a, lda, beta, c, ldc);
    return;
  }
  int in = (int) n, ik = (int) k, ia = (int) lda, ic = (int) ldc;
  F77_CALL(dsyrk)("L", &trans, &in, &ik, &alpha, a, &ia, &beta, c, &ic
                  FCONE FCONE);
}

void la_mirror(size_t n, double *a, size_t lda)
{
  /* by tiles, so that neither triangle is walked against the cache */
  const size_t tile = 32;
  for (size_t jj = 0; jj < n; jj += tile)
    for (size_t ii = jj; ii < n; ii += tile)
      for (size_t j = jj; j < jj + tile && j < n; j++)
        for (size_t i = ii > j ? ii : j + 1; i < ii + tile && i < n; i++)
          a[j + i * lda] = a[i + j * lda];
}

/* LAPACK gives ascending order, or that of the blocks of a matrix that falls apart; the
 * callers want the largest first. */
static void largest_first(size_t count, double *values, size_t n, double *vectors)
{
  for (size_t to = 0; to + 1 < count; to++) {
    size_t from = to;
    for (size_t j = to + 1; j < count; j++)
      if (values[j] > values[from]) from = j;
    if (from == to) continue;
    double t = values[to];
    values[to] = values[from];
    values[from] = t;
    for (size_t i = 0; vectors && i < n; i++) {
      t = vectors[i + to * n];
      vectors[i + to * n] = vectors[i + from * n];
      vectors[i + from * n] = t;
    }
  }
}

static int call_dsyevr(size_t n, double *a, double *values, double *vectors,
                       double *work, int lwork, int *iwork, int liwork)
{
  const char *job = vectors ? "V" : "N";
  int in = (int) n, found = 0, info = 0, none = 0;
  double unused = 0.0, tol = 0.0;
  /* the first 2n integers of iwork hold the supports of the vectors */
  int *support = iwork, *own = lwork < 0 ? iwork : iwork + 2 * n;
  F77_CALL(dsyevr)(job, "A", "L", &in, a, &in, &unused, &unused, &none, &none,
                   &tol, &found, values, vectors ? vectors : &unused,
                   vectors ? &in : &(int){1}, support, work, &lwork, own,
                   &liwork, &info FCONE FCONE FCONE);
  return info == 0 && (lwork < 0 || found == in) ? ELBO_OK : ELBO_LAPACK;
}

int la_eigen_work(size_t n, size_t *lwork, size_t *liwork)
{
  double want = 0.0, dummy = 0.0;
  int iwant[2] = {0, 0};
  *lwork = *liwork = 0;
  if (n == 0) return ELBO_OK;
  int status = call_dsyevr(n, &dummy, &dummy, &dummy, &want, -1, iwant, -1);
  *lwork = ((size_t) want > 26 * n ? (size_t) want : 26 * n) + 4 * n;   /* eigen_few() */
  *liwork = 12 * n;             /* 10 n for dsyevr, 2 n for the supports */
  return status;
}

/* Eigen-decomposition by QL from what dsytrd leaves: slow, but never at a loss. */
static int eigen_ql(size_t n, const double *a, const double *d, double *e,
                    const double *tau, double *values, double *vectors, double *rest,
                    int left)
{
  int in = (int) n, info = 0;
  memcpy(vectors, a, n * n * sizeof *a);
  memcpy(values, d, n * sizeof *d);
  F77_CALL(dorgtr)("L", &in, vectors, &in, tau, rest, &left, &info FCONE);
  if (info == 0)
    F77_CALL(dsteqr)("V", &in, values, e, vectors, &in, rest, &info FCONE);
  if (info != 0) return ELBO_LAPACK;
  largest_first(n, values, n, vectors);
  return ELBO_OK;
}

/* All values but few vectors: to tridiagonal form, and back with those alone. dsyevr
 * takes all of them back, which is the larger part of its time. */
static int eigen_few(size_t n, double *a, size_t count, double *values,
                     double *vectors, double *work, size_t lwork, int *iwork)
{
  double *d = work, *e = d + n, *tau = e + n, *top = tau + n, *rest = top + n;
  int *block = iwork, *split = block + n, *failed = split + n, *irest = failed + n;
  int in = (int) n, first = (int) (n - count) + 1, left = (int) (lwork - 4 * n);
  int found = 0, blocks = 0, info = 0;
  double unused = 0.0, tol = 2.0 * DBL_MIN;
  F77_CALL(dsytrd)("L", &in, a, &in, d, e, tau, rest, &left, &info FCONE);
  if (info != 0) return ELBO_LAPACK;
  memcpy(values, d, n * sizeof *d);
  memcpy(rest, e, (n - 1) * sizeof *e);
  F77_CALL(dsterf)(&in, values, rest, &info);
  if (info != 0) return ELBO_LAPACK;
  F77_CALL(dstebz)("I", "B", &in, &unused, &unused, &first, &in, &tol, d, e, &found,
                   &blocks, top, block, split, rest, irest, &info FCONE FCONE);
  /* bisection may miss some of many values that are equal but for rounding */
  if (info != 0 || found != (int) count)
    return eigen_ql(n, a, d, e, tau, values, vectors, rest, left);
  F77_CALL(dstein)(&in, d, e, &found, top, block, split, vectors, &in, rest, irest,
                   failed, &info);
  if (info != 0) return eigen_ql(n, a, d, e, tau, values, vectors, rest, left);
  F77_CALL(dormtr)("L", "L", "N", &in, &found, a, &in, tau, vectors, &in, rest, &left,
                   &info FCONE FCONE FCONE);
  largest_first(n, values, n, NULL);
  largest_first(count, top, n, vectors);
  return info == 0 ? ELBO_OK : ELBO_LAPACK;
}

/* NAN where one is not finite: LAPACK may run on then, or stop the program. */
static double largest_of_lower(size_t n, const double *a)
{
  double zero = 0.0, largest = 0.0;
  for (size_t j = 0; j < n; j++)
    for (size_t i = j; i < n; i++) {
      zero += 0.0 * a[i + j * n];
      largest = fmax(largest, fabs(a[i + j * n]));
    }
  return zero == 0.0 ? largest : NAN;
}

int la_eigen(size_t n, double *a, size_t count, double *values, double *vectors,
             double *work, size_t lwork, int *iwork, size_t liwork)
{
  if (n == 0) return ELBO_OK;
  double largest = largest_of_lower(n, a);
  if (isnan(largest)) return ELBO_LAPACK;
  /* dsyevr scales what is too small or large to be squared */
  if (count > 0 && count <= n / 4 && largest > 1e-100 && largest < 1e100)
    return eigen_few(n, a, count, values, vectors, work, lwork, iwork);
  int status = call_dsyevr(n, a, values, count > 0 ? vectors : NULL, work, (int) lwork,
                           iwork, (int) (liwork - 2 * n));
  if (status == ELBO_OK) largest_first(n, values, n, count > 0 ? vectors : NULL);
  return status;
}

int la_cholesky(size_t n, double *a, size_t lda)
{
  int in = (int) n, ia = (int) lda, info = 0;
  if (n == 0) return ELBO_OK;
  F77_CALL(dpotrf)("L", &in, a, &ia, &info FCONE);
  if (info != 0) return ELBO_NOT_POSITIVE;
  double zero = 0.0;          /* not every LAPACK sees a NaN; the factor keeps it */
  for (size_t j = 0; j < n; j++)
    for (size_t i = j; i < n; i++) zero += 0.0 * a[i + j * lda];
  return zero == 0.0 ? ELBO_OK : ELBO_NOT_POSITIVE;
}

void la_cholesky_solve(size_t n, size_t m, const double *l, size_t ldl,
                       double *x, size_t ldx)
{
  int in = (int) n, im = (int) m, il = (int) ldl, ix = (int) ldx, info = 0;
  if (n == 0 || m == 0) return;
  F77_CALL(dpotrs)("L", &in, &im, l, &il, x, &ix, &info FCONE);
}

int la_spd_inverse(size_t n, double *a, double *logdet)
{
  int in = (int) n, info = 0, status = la_cholesky(n, a, n);
  *logdet = 0.0;
  if (status != ELBO_OK || n == 0) return status;
  for (size_t j = 0; j < n; j++) *logdet += 2.0 * log(a[j + j * n]);
  F77_CALL(dpotri)("L", &in, a, &in, &info FCONE);
  return info == 0 ? ELBO_OK : ELBO_NOT_POSITIVE;
}

enum { QR_BLOCK = 32 };

size_t la_qr_work(size_t n)
{
  return n * (1 + QR_BLOCK);
}

int la_qr(size_t m, size_t n, double *a, double *diagonal, double *work)
{
  int im = (int) m, in = (int) n, lwork = (int) (n * QR_BLOCK), info = 0;
  double *tau = work, *rest = work + n;
  if (n == 0) return ELBO_OK;
  F77_CALL(dgeqrf)(&im, &in, a, &im, tau, rest, &lwork, &info);
  if (info != 0) return ELBO_LAPACK;
  for (size_t j = 0; j < n; j++) diagonal[j] = a[j + j * m];
  F77_CALL(dorgqr)(&im, &in, &in, a, &im, tau, rest, &lwork, &info);
  for (size_t j = 0; j < n; j++) {
    if (diagonal[j] >= 0.0) continue;
    diagonal[j] = -diagonal[j];
    for (size_t i = 0; i < m; i++) a[i + j * m] = -a[i + j * m];
  }
  return info == 0 ? ELBO_OK : ELBO_LAPACK;
}

double la_norm(size_t n, const double *x)
{
  int in = (int) n, one = 1;
  return F77_CALL(dnrm2)(&in, x, &one);
}
