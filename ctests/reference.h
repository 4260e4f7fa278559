/* Plain references: linear algebra and derivatives in loops by definition, nothing of the
 * core. */
#ifndef ELBO_REFERENCE_H
#define ELBO_REFERENCE_H

#include "arrays.h"

/* ---- products ---------------------------------------------------------- */

/* c (m x n) = a b, for a m x t and b t x n */
static inline void multiply(size_t m, size_t n, size_t t, const double *a,
                            const double *b, double *c)
{
  for (size_t i = 0; i < m * n; i++) c[i] = 0.0;
  for (size_t j = 0; j < n; j++)
    for (size_t l = 0; l < t; l++)
      for (size_t i = 0; i < m; i++) c[i + j * m] += a[i + l * m] * b[l + j * t];
}

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

/* s (p x p) = x'x / n, for x n x p; returns its trace. */
static inline double covariance(size_t n, size_t p, const double *x, double *s)
{
  double trace = 0.0;
  cross(p, p, n, x, x, s);
  for (size_t i = 0; i < p * p; i++) s[i] /= (double) n;
  for (size_t j = 0; j < p; j++) trace += s[j + j * p];
  return trace;
}

/* Largest entry of |v'v - I| for v (p x m); infinite for a NaN. */
static inline double skew(size_t p, size_t m, const double *v)
{
  double *dots = doubles(m * m), worst = 0.0;
  cross(m, m, p, v, v, dots);
  for (size_t i = 0; i < m * m; i++) {
    double off = fabs(dots[i] - (i % (m + 1) == 0));
    if (!(off <= worst)) worst = off == off ? off : INFINITY;
  }
  free(dots);
  return worst;
}

/* ---- decompositions ---------------------------------------------------- */

/* a = L L' for positive definite a (n x n); what is above L is left. */
static inline void cholesky(size_t n, double *a)
{
  for (size_t j = 0; j < n; j++)
    for (size_t i = j; i < n; i++) {
      for (size_t t = 0; t < j; t++) a[i + j * n] -= a[i + t * n] * a[j + t * n];
      a[i + j * n] = i == j ? sqrt(a[j + j * n]) : a[i + j * n] / a[j + j * n];
    }
}

/* Inverse of a (k x k) by Gauss-Jordan with partial pivoting; returns log |det a|. */
static inline double invert(size_t k, const double *a, double *inverse)
{
  double *m = copy_of(k * k, a), logdet = 0.0;
  for (size_t i = 0; i < k * k; i++) inverse[i] = i % (k + 1) == 0;
  for (size_t c = 0; c < k; c++) {
    size_t pivot = c;
    for (size_t i = c; i < k; i++)
      if (fabs(m[i + c * k]) > fabs(m[pivot + c * k])) pivot = i;
    double d = m[pivot + c * k];
    logdet += log(fabs(d));
    for (size_t j = 0; j < k; j++) {
      double t = m[pivot + j * k], u = inverse[pivot + j * k];
      m[pivot + j * k] = m[c + j * k];
      m[c + j * k] = t / d;
      inverse[pivot + j * k] = inverse[c + j * k];
      inverse[c + j * k] = u / d;
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
  return logdet;
}

/* A plane rotation: x becomes c x - s y and y becomes s x + c y, for n numbers of each,
 * `step` apart. */
static inline void turn(size_t n, double *x, double *y, size_t step, double c, double s)
{
  for (size_t i = 0; i < n * step; i += step) {
    double u = x[i], v = y[i];
    x[i] = c * u - s * v;
    y[i] = s * u + c * v;
  }
}

/* Eigenvalues, decreasing, and unless NULL vectors of symmetric a (n x n), by cyclic
 * Jacobi. */
static inline void jacobi(size_t n, const double *a, double *values, double *vectors)
{
  double *m = copy_of(n * n, a);
  for (size_t i = 0; vectors && i < n * n; i++) vectors[i] = i % (n + 1) == 0;
  for (int sweep = 0; sweep < 30; sweep++)
    for (size_t p = 0; p < n; p++)
      for (size_t q = p + 1; q < n; q++) {
        if (m[p + q * n] == 0.0) continue;
        double apart = m[q + q * n] - m[p + p * n];       /* |theta| <= pi/4 */
        double theta = 0.5 * atan(2.0 * m[p + q * n] / apart);
        double c = cos(theta), s = sin(theta);
        turn(n, m + p * n, m + q * n, 1, c, s);
        turn(n, m + p, m + q, n, c, s);
        if (vectors) turn(n, vectors + p * n, vectors + q * n, 1, c, s);
      }
  for (size_t i = 0; i < n; i++) values[i] = m[i + i * n];
  for (size_t i = 0; i < n; i++)
    for (size_t j = i + 1; j < n; j++)
      if (values[j] > values[i]) {
        double t = values[i];
        values[i] = values[j];
        values[j] = t;
        for (size_t r = 0; vectors && r < n; r++) {
          t = vectors[r + i * n];
          vectors[r + i * n] = vectors[r + j * n];
          vectors[r + j * n] = t;
        }
      }
  free(m);
}

/* ---- densities, derivatives -------------------------------------------- */

/* Mean log density of the rows of x (n x p) under N(0, W W' + sigma2 I), w p x k. */
static inline double naive_loglik(size_t n, size_t p, size_t k, const double *x,
                                  const double *w, double sigma2)
{
  double *c = doubles(p * p), *y = doubles(p), sum = 0.0;
  for (size_t j = 0; j < p; j++)
    for (size_t i = 0; i < p; i++) {
      c[i + j * p] = i == j ? sigma2 : 0.0;
      for (size_t t = 0; t < k; t++) c[i + j * p] += w[i + t * p] * w[j + t * p];
    }
  cholesky(p, c);
  for (size_t r = 0; r < n; r++)
    for (size_t i = 0; i < p; i++) {             /* y = L^-1 x_r */
      y[i] = x[r + i * n];
      for (size_t t = 0; t < i; t++) y[i] -= c[i + t * p] * y[t];
      y[i] /= c[i + i * p];
      sum -= 0.5 * (log(6.283185307179586) + y[i] * y[i]) + log(c[i + i * p]);
    }
  free(c);
  free(y);
  return sum / (double) n;
}

/* The derivative at 0, with an error of order h^4, from values at these steps times h. */
static const double difference_steps[4] = {-2.0, -1.0, 1.0, 2.0};

static inline double difference_of(const double f[4], double h)
{
  return (f[0] - 8.0 * f[1] + 8.0 * f[2] - f[3]) / (12.0 * h);
}

#endif
