/* Plain linear algebra for references: loops by definition, nothing of the core. */
#ifndef ELBO_REFERENCE_H
#define ELBO_REFERENCE_H

#include "arrays.h"

/* c (m x n) = a' b, for a t x m and b t x n */
static inline void cross(size_t m, size_t n, size_t t, const double *a,
                  const double *b, double *c)
{
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < m; i++) {
      double sum = 0.0;
      for (size_t l = 0; l < t; l++) sum += a[l + i * t] * b[l + j * t];
      c[i + j * m] = sum;
    }
}

/* Inverse of positive definite a (k x k) by Gauss-Jordan without pivoting. */
static inline void invert(size_t k, const double *a, double *inverse)
{
  double *m = doubles(k * k);
  memcpy(m, a, k * k * sizeof *m);
  for (size_t i = 0; i < k * k; i++) inverse[i] = i % (k + 1) == 0;
  for (size_t c = 0; c < k; c++) {
    double d = m[c + c * k];
    for (size_t j = 0; j < k; j++) {
      m[c + j * k] /= d;
      inverse[c + j * k] /= d;
    }
    for (size_t i = 0; i < k; i++) {
      double by = m[i + c * k];
      for (size_t j = 0; i != c && j < k; j++) {
        m[i + j * k] -= by * m[c + j * k];
        inverse[i + j * k] -= by * inverse[c + j * k];
      }
    }
  }
  free(m);
}

/* Eigenvalues, decreasing, and vectors of symmetric a (n x n), by Jacobi. */
static inline void jacobi(size_t n, const double *a, double *values, double *vectors)
{
  double *m = doubles(n * n);
  memcpy(m, a, n * n * sizeof *m);
  for (size_t i = 0; i < n * n; i++) vectors[i] = i % (n + 1) == 0;
  for (int sweep = 0; sweep < 12; sweep++)
    for (size_t p = 0; p < n; p++)
      for (size_t q = p + 1; q < n; q++) {
        if (m[p + q * n] == 0.0) continue;
        double apart = m[q + q * n] - m[p + p * n];       /* |theta| <= pi/4 */
        double theta = 0.5 * atan(2.0 * m[p + q * n] / apart);
        double c = cos(theta), s = sin(theta);
        for (int what = 0; what < 3; what++)
          for (size_t i = 0; i < n; i++) {
            double *of = what == 2 ? vectors : m;
            double *x = of + (what == 1 ? p + i * n : i + p * n);
            double *y = of + (what == 1 ? q + i * n : i + q * n);
            double u = *x, v = *y;
            *x = c * u - s * v;
            *y = s * u + c * v;
          }
      }
  for (size_t i = 0; i < n; i++) values[i] = m[i + i * n];
  for (size_t i = 0; i < n; i++)
    for (size_t j = i + 1; j < n; j++)
      if (values[j] > values[i]) {
        double t = values[i];
        values[i] = values[j];
        values[j] = t;
        for (size_t r = 0; r < n; r++) {
          t = vectors[r + i * n];
          vectors[r + i * n] = vectors[r + j * n];
          vectors[r + j * n] = t;
        }
      }
  free(m);
}

#endif
