/* linalg against triple loops, cyclic Jacobi and Gauss-Jordan. Matrices are
 * allocated to their last element, and hold NaN wherever nothing should be
 * read, a marker wherever nothing should be written. */
#include "arrays.h"
#include "linalg.h"
#include "reference.h"
#include "status.h"

/* ---- plain reference code ---------------------------------------------- */

/* rows x cols of standard normals, `fill` in what lies between columns */
static double *gapped(size_t rows, size_t cols, size_t ld, double fill)
{
  double *x = doubles(span(rows, cols, ld));
  for (size_t i = 0; i < span(rows, cols, ld); i++)
    x[i] = i % ld < rows ? test_normal() : fill;
  return x;
}

static double element(char trans, const double *a, size_t ld, size_t i,
                      size_t j)
{
  return trans == 'N' ? a[i + j * ld] : a[j + i * ld];
}

/* B'B + shift I, n x n, for random B (m x n) */
static double *gram(size_t n, size_t m, double shift)
{
  double *b = normals(m * n, 1.0), *a = doubles(n * n);
  cross(n, n, m, b, b, a);
  for (size_t i = 0; i < n; i++) a[i + i * n] += shift;
  free(b);
  return a;
}

/* ---- products ---------------------------------------------------------- */

static void check_gemm(char ta, char tb, size_t m, size_t n, size_t k,
                       double alpha, double beta, size_t pad)
{
  size_t ra = ta == 'N' ? m : k, ca = ta == 'N' ? k : m;
  size_t rb = tb == 'N' ? k : n, cb = tb == 'N' ? n : k;
  size_t lda = (ra ? ra : 1) + pad, ldb = (rb ? rb : 1) + pad;
  size_t ldc = (m ? m : 1) + pad, size = span(m, n, ldc);
  double *a = gapped(ra, ca, lda, NAN), *b = gapped(rb, cb, ldb, NAN);
  double *c = gapped(m, n, ldc, marker), *expected = copy_of(size, c);
  for (size_t i = 0; i < size && beta == 0.0; i++)
    if (i % ldc < m) c[i] = NAN;                 /* must not be read then */
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < m; i++) {
      double sum = 0.0, *e = expected + i + j * ldc;
      for (size_t t = 0; t < k; t++)
        sum += element(ta, a, lda, i, t) * element(tb, b, ldb, t, j);
      *e = alpha * sum + (beta == 0.0 ? 0.0 : beta * *e);
    }
  la_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  CHECK_NEAR(gap(size, c, expected), 0.0, 1e-13);
  free(a);
  free(b);
  free(c);
  free(expected);
}

static void gemm_matches_triple_loops(void)
{
  static const size_t sizes[] = {0, 1, 2, 3, 7, 20};
  static const double factors[] = {1.0, 0.0, -0.5};
  static const char trans[] = "NT";
  for (int im = 0; im < 6; im++)
    for (int in = 0; in < 6; in++)
      for (int ik = 0; ik < 6; ik++)
        for (int t = 0; t < 4; t++) {
          double alpha = im + in == 3 ? 0.0 : factors[(im + ik) % 2 * 2];
          check_gemm(trans[t & 1], trans[t >> 1], sizes[im], sizes[in],
                     sizes[ik], alpha, factors[(im + in + ik) % 3],
                     (size_t) t);
        }
}

static void check_syrk(char trans, size_t n, size_t k, double alpha,
                       double beta, size_t pad)
{
  size_t rows = trans == 'N' ? n : k, cols = trans == 'N' ? k : n;
  size_t lda = (rows ? rows : 1) + pad, ldc = (n ? n : 1) + pad;
  size_t size = span(n, n, ldc);
  double *a = gapped(rows, cols, lda, NAN), *c = gapped(n, n, ldc, marker);
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < j; i++) c[i + j * ldc] = marker;
  double *expected = copy_of(size, c);
  for (size_t j = 0; j < n; j++)
    for (size_t i = j; i < n; i++) {
      double sum = 0.0, *e = expected + i + j * ldc;
      for (size_t t = 0; t < k; t++)
        sum += element(trans, a, lda, i, t) * element(trans, a, lda, j, t);
      *e = alpha * sum + (beta == 0.0 ? 0.0 : beta * *e);
      if (beta == 0.0) c[i + j * ldc] = NAN;
    }
  la_syrk(trans, n, k, alpha, a, lda, beta, c, ldc);
  CHECK_NEAR(gap(size, c, expected), 0.0, 1e-13);
  free(a);
  free(c);
  free(expected);
}

static void syrk_fills_the_lower_triangle(void)
{
  static const double factors[] = {0.0, 1.0, -0.5};
  for (size_t n = 0; n <= 20; n++)
    for (size_t k = 0; k <= 20; k += 1 + k / 2)
      for (size_t pad = 0; pad < 4; pad += 3) {
        check_syrk('N', n, k, 1.0, factors[(n + k) % 3], pad);
        check_syrk('T', n, k, 0.25, factors[(n + k + pad) % 3], pad);
      }
}

static void mirror_copies_to_the_upper_triangle(void)
{
  for (size_t n = 0; n <= 70; n++) {
    size_t ld = n + 1 + n % 3, size = span(n, n, ld);
    double *a = gapped(n, n, ld, marker), *expected = copy_of(size, a);
    for (size_t j = 0; j < n; j++)
      for (size_t i = 0; i < j; i++) expected[i + j * ld] = a[j + i * ld];
    la_mirror(n, a, ld);
    CHECK(gap(size, a, expected) == 0.0);
    free(a);
    free(expected);
  }
}

/* ---- decompositions ---------------------------------------------------- */

/* Values against `expected`, and of the first `count` vectors the residuals
 * |A v - lambda v|, orthonormality and that they are the only ones asked for. */
static void check_some(size_t n, const double *a, size_t count, const double *expected)
{
  size_t lwork, liwork, bad = 0;
  double *lower = copy_of(n * n, a), *values = doubles(n), *v = doubles(n * n);
  double scale = 0.0, residual = 0.0;
  CHECK(la_eigen_work(n, &lwork, &liwork) == ELBO_OK);
  double *work = doubles(lwork);
  int *iwork = ints(liwork);
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < j; i++) lower[i + j * n] = NAN;
  for (size_t i = 0; i < lwork; i++) work[i] = NAN;
  CHECK(la_eigen(n, lower, count, values, count ? v : NULL, work, lwork, iwork,
                 liwork) == ELBO_OK);
  CHECK_NEAR(gap(n, values, expected), 0.0, 1e-13);
  for (size_t j = 0; j < n; j++) {
    if (fabs(expected[j]) > scale) scale = fabs(expected[j]);
    bad += j > 0 && !(values[j] <= values[j - 1]);
  }
  for (size_t j = 0; j < count; j++)
    for (size_t i = 0; i < n; i++) {
      double r = -values[j] * v[i + j * n];
      for (size_t t = 0; t < n; t++) r += a[i + t * n] * v[t + j * n];
      bad += !isfinite(r);
      residual = fmax(residual, fabs(r) / (scale > 0.0 ? scale : 1.0));
    }
  CHECK(bad == 0);
  CHECK_NEAR(residual, 0.0, 1e-13);
  /* rounding over the gap of close values, of which LAPACK makes less than 1e4 */
  CHECK_NEAR(skew(n, count, v), 0.0, 1e-12);
  free(lower);
  free(values);
  free(v);
  free(work);
  free(iwork);
}

/* All, none and some of the vectors; `known` may be NULL. */
static void check_eigen(size_t n, const double *a, const double *known)
{
  size_t counts[] = {0, 1, n / 4, n / 4 + 1, n};
  double *expected = doubles(n);
  if (known) memcpy(expected, known, n * sizeof *known);
  else jacobi(n, a, expected, NULL);
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
    check_some(n, a, counts[c], expected);
  free(expected);
}

static void eigen_matches_jacobi(void)
{
  /* LAPACK works by blocks where there are more than 32 columns */
  for (size_t n = 1; n <= 120; n += n < 20 ? 1 : 33) {
    double *a = gram(n, n, 0.0);                     /* definite */
    check_eigen(n, a, NULL);
    for (size_t i = 0; i < n; i++) a[i + i * n] -= (double) n;
    check_eigen(n, a, NULL);                         /* indefinite */
    free(a);
    a = gram(n, n / 3, 0.0);                         /* of low rank */
    check_eigen(n, a, NULL);
    free(a);
  }
}

static void eigen_copes_with_extreme_scales(void)
{
  static const double scales[] = {1e-150, 1e150, 1e-300, 1e300};
  for (size_t n = 1; n <= 9; n += 4)
    for (int s = 0; s < 4; s++) {
      double *a = gram(n, n, 0.0), *values = doubles(n);
      jacobi(n, a, values, NULL);
      for (size_t i = 0; i < n * n; i++) a[i] *= scales[s];
      for (size_t i = 0; i < n; i++) values[i] *= scales[s];
      check_eigen(n, a, values);
      free(a);
      free(values);
    }
}

static void eigen_knows_equal_eigenvalues(void)
{
  for (size_t n = 1; n <= 20; n++) {
    double *a = doubles(n * n), *values = doubles(n);
    for (size_t i = 0; i < n * n; i++) a[i] = 0.0;
    for (size_t i = 0; i < n; i++) values[i] = 0.0;
    check_eigen(n, a, values);                       /* zero */
    for (size_t i = 0; i < n; i++) a[i + i * n] = values[i] = 3.0;
    check_eigen(n, a, values);                       /* 3 I */
    for (size_t i = 0; i < n * n; i++) a[i] = 1.0;
    for (size_t i = 0; i < n; i++) values[i] = i ? 0.0 : (double) n;
    check_eigen(n, a, values);                       /* 1 1' */
    free(a);
    free(values);
  }
}

/* A matrix that falls apart into blocks, with the same eigenvalues in several of them:
 * copies of one block, in an order that mixes their rows. */
static void eigen_of_blocks(void)
{
  for (size_t size = 1; size <= 7; size++)
    for (size_t copies = 2; copies <= 8; copies++) {
      size_t n = size * copies;
      double *one = gram(size, size, 0.0), *of_one = doubles(size);
      double *a = doubles(n * n), *values = doubles(n);
      jacobi(size, one, of_one, NULL);
      for (size_t i = 0; i < n * n; i++) a[i] = 0.0;
      for (size_t c = 0; c < copies; c++)
        for (size_t j = 0; j < size; j++) {
          values[j * copies + c] = of_one[j];
          for (size_t i = 0; i < size; i++)
            a[i * copies + c + (j * copies + c) * n] = one[i + j * size];
        }
      check_eigen(n, a, values);
      free(one);
      free(of_one);
      free(a);
      free(values);
    }
}

/* All values equal but for rounding, as of whitened data: LAPACK's bisection for a few
 * of them may miss some. */
static void eigen_of_almost_the_identity(void)
{
  for (int repeat = 0; repeat < 60; repeat++) {
    size_t n = 20 + test_below(60);
    double *a = doubles(n * n), *values = doubles(n);
    for (size_t j = 0; j < n; j++) {
      values[j] = 1.0;
      for (size_t i = 0; i <= j; i++)
        a[i + j * n] = a[j + i * n] = (i == j) + 2e-16 * (double) (repeat % 4) * test_normal();
    }
    check_eigen(n, a, values);
    free(a);
    free(values);
  }
}

/* Vectors of leading values that hardly differ. */
static void eigen_of_clusters(void)
{
  for (size_t n = 8; n <= 64; n *= 2) {
    double *b = gram(n, n, 0.0), *a = doubles(n * n), *values = doubles(n);
    jacobi(n, b, values, NULL);
    for (size_t i = 0; i < n; i++) values[i] = 1.0 + 1e-12 * values[i];
    for (size_t i = 0; i < n * n; i++) a[i] = 1e-12 * b[i] + (i % (n + 1) == 0);
    check_eigen(n, a, values);
    free(a);
    free(b);
    free(values);
  }
}

/* LAPACK itself may run on, or stop the program. */
static void eigen_refuses_what_is_not_finite(void)
{
  static const double bad[] = {NAN, INFINITY, -INFINITY};
  for (size_t n = 1; n <= 12; n++)
    for (int way = 0; way < 3; way++)
      for (size_t count = 0; count <= n; count += n / 4 + 1) {
        size_t lwork, liwork, j = test_below(n), i = j + test_below(n - j);
        double *a = gram(n, n, 0.0), *values = doubles(n), *v = doubles(n * n);
        CHECK(la_eigen_work(n, &lwork, &liwork) == ELBO_OK);
        double *work = doubles(lwork);
        int *iwork = ints(liwork);
        a[i + j * n] = bad[way];
        CHECK(la_eigen(n, a, count, values, count ? v : NULL, work, lwork, iwork,
                       liwork) == ELBO_LAPACK);
        free(a);
        free(values);
        free(v);
        free(work);
        free(iwork);
      }
}

static void eigen_of_order_zero_is_empty(void)
{
  size_t lwork = 1, liwork = 1;
  CHECK(la_eigen_work(0, &lwork, &liwork) == ELBO_OK);
  CHECK(lwork == 0 && liwork == 0);
  CHECK(la_eigen(0, NULL, 0, NULL, NULL, NULL, 0, NULL, 0) == ELBO_OK);
}

static void cholesky_matches_the_definition(void)
{
  for (size_t n = 0; n <= 20; n++) {
    size_t ld = n + 1 + n % 3, size = span(n, n, ld);
    double *a = gram(n, n + 2, 0.1), *l = doubles(size);
    double *product = doubles(n * n), *expected = copy_of(n * n, a);
    size_t bad = 0;
    for (size_t i = 0; i < size; i++) l[i] = marker;
    for (size_t j = 0; j < n; j++)
      for (size_t i = j; i < n; i++) l[i + j * ld] = a[i + j * n];
    CHECK(la_cholesky(n, l, ld) == ELBO_OK);
    for (size_t j = 0; j < n; j++)
      for (size_t i = 0; i < n; i++) {
        size_t least = i < j ? i : j;
        product[i + j * n] = 0.0;
        for (size_t t = 0; t <= least; t++)
          product[i + j * n] += l[i + t * ld] * l[j + t * ld];
        bad += i < j && l[i + j * ld] != marker;
        bad += i == j && !(l[i + j * ld] > 0.0);
      }
    for (size_t i = 0; i < size; i++) bad += i % ld >= n && l[i] != marker;
    CHECK(bad == 0);
    CHECK_NEAR(gap(n * n, product, expected), 0.0, 1e-14);
    free(a);
    free(l);
    free(product);
    free(expected);
  }
}

/* Every way of not being positive definite, at every place. */
static void cholesky_refuses_what_is_not_positive(void)
{
  static const double diagonal[] = {0.0, -1.0, -INFINITY, NAN};
  for (size_t n = 1; n <= 12; n++)
    for (size_t at = 0; at < n; at++)
      for (int kind = 0; kind < 4; kind++) {
        double *a = gram(n, n + 2, 0.1), *b, logdet;
        a[at + at * n] = diagonal[kind];
        b = copy_of(n * n, a);
        CHECK(la_cholesky(n, a, n) == ELBO_NOT_POSITIVE);
        CHECK(la_spd_inverse(n, b, &logdet) == ELBO_NOT_POSITIVE);
        free(a);
        free(b);
      }
}

static void cholesky_solve_matches_the_inverse(void)
{
  for (size_t n = 0; n <= 20; n++)
    for (size_t m = 0; m <= 6; m += 1 + m) {
      size_t ldl = n + 1 + n % 2, ldx = n + 1 + m % 3, size = span(n, m, ldx);
      double *a = gram(n, n + 2, 1.0), *inverse = doubles(n * n);
      double *l = doubles(span(n, n, ldl)), *x = gapped(n, m, ldx, marker);
      double *expected = copy_of(size, x);
      invert(n, a, inverse);
      for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++) l[i + j * ldl] = a[i + j * n];
      for (size_t j = 0; j < m; j++)
        for (size_t i = 0; i < n; i++) {
          expected[i + j * ldx] = 0.0;
          for (size_t t = 0; t < n; t++)
            expected[i + j * ldx] += inverse[i + t * n] * x[t + j * ldx];
        }
      CHECK(la_cholesky(n, l, ldl) == ELBO_OK);
      la_cholesky_solve(n, m, l, ldl, x, ldx);
      CHECK_NEAR(gap(size, x, expected), 0.0, 1e-11);
      free(a);
      free(inverse);
      free(l);
      free(x);
      free(expected);
    }
}

/* A = Q R with Q'Q = I and R upper triangular, its diagonal as reported. */
static void check_qr(size_t m, size_t n, const double *a)
{
  double *q = copy_of(m * n, a), *r = doubles(n * n), *back = doubles(m * n);
  double *diagonal = doubles(n), *work = doubles(la_qr_work(n));
  double scale = 1.0, below = 0.0;
  size_t bad = 0;
  CHECK(la_qr(m, n, q, diagonal, work) == ELBO_OK);
  for (size_t i = 0; i < m * n; i++) scale = fmax(scale, fabs(a[i]));
  cross(n, n, m, q, a, r);
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < n; i++) {
      double e = r[i + j * n];
      if (i > j) below = fmax(below, fabs(e) / scale);
      bad += i == j && !(fabs(e - diagonal[j]) <= 1e-13 * scale);
      bad += !isfinite(e) || !(diagonal[j] >= 0.0);
    }
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < m; i++) {
      back[i + j * m] = 0.0;
      for (size_t t = 0; t <= j; t++)
        back[i + j * m] += q[i + t * m] * r[t + j * n];
    }
  CHECK(bad == 0);
  CHECK_NEAR(skew(m, n, q), 0.0, 1e-13);
  CHECK_NEAR(below, 0.0, 1e-13);
  CHECK_NEAR(gap(m * n, back, a), 0.0, 1e-13);
  free(q);
  free(r);
  free(back);
  free(diagonal);
  free(work);
}

static void qr_gives_orthonormal_columns(void)
{
  for (size_t n = 0; n <= 40; n += 1 + n / 4)
    for (size_t m = n; m <= n + 40; m += 1 + m / 2) {
      double *a = normals(m * n, 1.0);
      check_qr(m, n, a);
      for (size_t i = 0; n > 2 && i < m; i++) {      /* dependent columns */
        a[i + (n - 1) * m] = a[i];
        a[i + n / 2 * m] = 0.0;
      }
      check_qr(m, n, a);
      free(a);
    }
}

static void spd_inverse_matches_gauss_jordan(void)
{
  for (size_t n = 0; n <= 20; n++) {
    double *a = gram(n, n + 2, 0.5), *inverse = doubles(n * n), logdet = NAN;
    double expected = invert(n, a, inverse);
    size_t bad = 0;
    for (size_t j = 0; j < n; j++)
      for (size_t i = 0; i < j; i++) a[i + j * n] = marker;
    CHECK(la_spd_inverse(n, a, &logdet) == ELBO_OK);
    CHECK_NEAR(logdet, expected, 1e-12);
    for (size_t j = 0; j < n; j++)              /* the triangle left alone */
      for (size_t i = 0; i < j; i++) {
        bad += a[i + j * n] != marker;
        a[i + j * n] = inverse[i + j * n] = 0.0;
      }
    CHECK(bad == 0);
    CHECK_NEAR(gap(n * n, a, inverse), 0.0, 1e-11);
    free(a);
    free(inverse);
  }
}

/* Valgrind computes with 64 bits where OpenBLAS's norm counts on 80. */
static int has_long_doubles(void)
{
  volatile long double huge = 1e300L, square = huge * huge;
  const double back = (double) (square / huge / huge);
  return back == 1.0;
}

static void norm_neither_over_nor_underflows(void)
{
  static const double scales[] = {1.0, 1e-200, 1e200, 1e-310, 1e300};
  const int count = has_long_doubles() ? 5 : 1;
  for (size_t n = 0; n <= 20; n++)
    for (int s = 0; s < count; s++) {
      double *x = normals(n, 1.0), sum = 0.0;
      for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
      for (size_t i = 0; i < n; i++) x[i] *= scales[s];
      double expected = sqrt(sum) * scales[s];
      /* below the normal range a relative accuracy cannot be had */
      CHECK(fabs(la_norm(n, x) - expected) <= 1e-13 * expected + 1e-322);
      free(x);
    }
  CHECK(isnan(la_norm(3, (double[]) {1.0, NAN, 2.0})));
  CHECK(isinf(la_norm(3, (double[]) {1.0, -INFINITY, 2.0})));
}

/* The BLAS until somebody asks for our own, which would need space. */
TEST_MAIN(gemm_matches_triple_loops, syrk_fills_the_lower_triangle, products_are_our_own,
          gemm_matches_triple_loops, syrk_fills_the_lower_triangle,
          mirror_copies_to_the_upper_triangle, eigen_matches_jacobi,
          eigen_copes_with_extreme_scales, eigen_knows_equal_eigenvalues,
          eigen_of_blocks, eigen_of_almost_the_identity, eigen_of_clusters,
          eigen_refuses_what_is_not_finite, eigen_of_order_zero_is_empty,
          cholesky_matches_the_definition,
          cholesky_refuses_what_is_not_positive,
          cholesky_solve_matches_the_inverse,
          qr_gives_orthonormal_columns, spd_inverse_matches_gauss_jordan,
          norm_neither_over_nor_underflows)
