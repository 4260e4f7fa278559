/* missing against one row at a time: the Gaussian of its observed cells, with
 * inverses by Gauss-Jordan, and parameter-expanded EM in loops over cells. */
#include <setjmp.h>

#include "arrays.h"
#include "cells.h"
#include "missing.h"
#include "packed.h"
#include "polls.h"
#include "reference.h"
#include "status.h"

/* ---- sets of cells ----------------------------------------------------- */

/* Whole numbers with two factors and noise; nothing missing yet. */
static set new_set(size_t n, size_t p)
{
  set s = {.n = n, .p = p, .cell = doubles(n * p), .mu = doubles(p),
           .unit = doubles(p)};
  double *w = normals(2 * p, 4.0);
  for (size_t i = 0; i < n; i++) {
    double z = test_normal(), y = test_normal();
    for (size_t j = 0; j < p; j++)
      s.cell[i + j * n] = floor(w[j] * z + w[j + p] * y + 2.0 * test_normal());
  }
  for (size_t j = 0; j < p; j++) {
    s.mu[j] = 0.5 * test_normal();
    s.unit[j] = 0.25 * exp(0.5 * test_normal());
  }
  free(w);
  store(&s, DATA_DOUBLE);
  return s;
}

enum holes { NONE, ANYWHERE, SHARED, ROWS };

/* Cells missing nowhere; anywhere; in one of four sets of columns for each
 * row; or anywhere and whole rows as well. Column 0 keeps row 0. */
static void dig(set *s, enum holes how)
{
  for (size_t i = 0; i < s->n; i++) {
    size_t shared = test_below(4), whole = test_below(5) == 0;
    for (size_t j = 0; j < s->p; j++) {
      int gone = how == SHARED ? shared > 0 && (j + shared) % 3 == 0
                               : test_uniform() < 0.3;
      if (how == ROWS && whole) gone = 1;
      if (how != NONE && gone && i != j % s->n) s->cell[i + j * s->n] = NAN;
    }
  }
  store(s, DATA_DOUBLE);
}

typedef struct { int *pattern, *order; elbo_patterns rows; } patterns;

static patterns patterns_of(const elbo_data *d)
{
  patterns s = {ints(d->n), ints(d->n), {0}};
  unsigned long long *work = malloc(3 * d->n * sizeof *work);
  size_t count = missing_patterns(d, s.pattern, s.order, work);
  s.rows = (elbo_patterns) {count, s.pattern, s.order};
  free(work);
  return s;
}

static void drop_patterns(patterns *s)
{
  free(s->pattern);
  free(s->order);
}

/* ---- plain reference code ---------------------------------------------- */

/* Posterior of one row's z by conditioning the joint Gaussian of its observed
 * cells and z: mean (k), cov (k x k); returns log p(x_o) in data units. */
static double naive_row(const set *s, size_t i, size_t k, const double *w,
                        double sigma2, double *mean, double *cov)
{
  size_t p = s->p, m = 0, *seen = malloc(p * sizeof *seen);
  for (size_t j = 0; j < p; j++)
    if (!isnan(s->cell[i + j * s->n])) seen[m++] = j;
  double *c = doubles(m * m), *inverse = doubles(m * m), *r = doubles(m);
  double loglik = 0.0;
  for (size_t b = 0; b < m; b++) {
    size_t j = seen[b];
    r[b] = (s->cell[i + j * s->n] - s->mu[j]) * s->unit[j];
    loglik += log(s->unit[j]) - 0.5 * log(6.283185307179586);
    for (size_t a = 0; a < m; a++) {
      c[a + b * m] = a == b ? sigma2 : 0.0;
      for (size_t t = 0; t < k; t++) c[a + b * m] += w[seen[a] + t * p] * w[j + t * p];
    }
  }
  loglik -= 0.5 * invert(m, c, inverse);
  for (size_t a = 0; a < m; a++)
    for (size_t b = 0; b < m; b++) loglik -= 0.5 * r[a] * inverse[a + b * m] * r[b];
  for (size_t t = 0; t < k; t++) {                    /* W'C^-1, a row at a time */
    double *gain = doubles(m);
    mean[t] = 0.0;
    for (size_t b = 0; b < m; b++) {
      gain[b] = 0.0;
      for (size_t a = 0; a < m; a++)
        gain[b] += w[seen[a] + t * p] * inverse[a + b * m];
      mean[t] += gain[b] * r[b];
    }
    for (size_t u = 0; u < k; u++) {
      cov[t + u * k] = t == u;
      for (size_t b = 0; b < m; b++) cov[t + u * k] -= gain[b] * w[seen[b] + u * p];
    }
    free(gain);
  }
  free(seen);
  free(c);
  free(inverse);
  free(r);
  return loglik;
}

typedef struct { double *w, *mu, sigma2; } model;

/* One parameter-expanded EM map; returns the log-likelihood of the model that
 * comes in. Features are regressed on (1, z) over the rows that have them (on z
 * alone where mu is fixed); then the mean nu and covariance R of z over all
 * rows go into mu + W nu and W chol(R). */
static double naive_map(const set *s, const missing_model *from, model *to)
{
  size_t n = s->n, p = s->p, k = from->k, k1 = k + 1, skip = from->fix_mu != 0;
  double *z = doubles(n * k), *zz = doubles(n * k1 * k1), *mean = doubles(k);
  double *cov = doubles(k * k), *a = doubles(k1 * k1), *b = doubles(k1);
  double *inverse = doubles(k1 * k1), *shift = doubles(p);
  double loglik = 0.0, squares = 0.0, cells = 0.0;
  for (size_t i = 0; i < n; i++) {                 /* E (1, z)(1, z)' */
    double *e = zz + i * k1 * k1;
    loglik += naive_row(s, i, k, from->w, from->sigma2, mean, cov);
    e[0] = 1.0;
    for (size_t t = 0; t < k; t++) {
      z[i + t * n] = e[t + 1] = e[(t + 1) * k1] = mean[t];
      for (size_t u = 0; u < k; u++)
        e[u + 1 + (t + 1) * k1] = mean[t] * mean[u] + cov[u + t * k];
    }
  }
  for (size_t j = 0; j < p; j++) {
    for (size_t e = 0; e < k1 * k1; e++) a[e] = 0.0;
    for (size_t t = 0; t < k1; t++) b[t] = 0.0;
    double xx = 0.0;
    for (size_t i = 0; i < n; i++) {
      double v = (s->cell[i + j * n] - s->mu[j]) * s->unit[j];
      if (isnan(v)) continue;
      cells++;
      xx += v * v;
      for (size_t e = 0; e < k1 * k1; e++) a[e] += zz[i * k1 * k1 + e];
      for (size_t t = 0; t < k1; t++) b[t] += v * (t ? z[i + (t - 1) * n] : 1.0);
    }
    double *sub = doubles((k1 - skip) * (k1 - skip)), *beta = doubles(k1);
    for (size_t t = skip; t < k1; t++)
      for (size_t u = skip; u < k1; u++)
        sub[u - skip + (t - skip) * (k1 - skip)] = a[u + t * k1];
    invert(k1 - skip, sub, inverse);
    beta[0] = 0.0;
    for (size_t t = skip; t < k1; t++) {
      beta[t] = 0.0;
      for (size_t u = skip; u < k1; u++)
        beta[t] += inverse[t - skip + (u - skip) * (k1 - skip)] * b[u];
    }
    squares += xx;
    for (size_t t = 0; t < k1; t++) {
      squares -= 2.0 * beta[t] * b[t];
      for (size_t u = 0; u < k1; u++) squares += beta[t] * a[t + u * k1] * beta[u];
    }
    shift[j] = beta[0];
    for (size_t t = 0; t < k; t++) to->w[j + t * p] = beta[t + 1];
    free(sub);
    free(beta);
  }
  to->sigma2 = from->fix_sigma2 ? from->sigma2 : squares / cells;

  for (size_t t = 0; t < k; t++) mean[t] = 0.0;
  for (size_t i = 0; i < n && !skip; i++)
    for (size_t t = 0; t < k; t++) mean[t] += z[i + t * n] / (double) n;
  for (size_t t = 0; t < k; t++)
    for (size_t u = 0; u < k; u++) {
      cov[u + t * k] = -mean[u] * mean[t];
      for (size_t i = 0; i < n; i++)
        cov[u + t * k] += zz[i * k1 * k1 + u + 1 + (t + 1) * k1] / (double) n;
    }
  cholesky(k, cov);                                 /* R = L L' */
  for (size_t j = 0; j < p; j++) {
    for (size_t t = 0; t < k; t++) shift[j] += to->w[j + t * p] * mean[t];
    to->mu[j] = s->mu[j] + shift[j] / s->unit[j];
    for (size_t t = 0; t < k; t++) {                /* W L, in place */
      double sum = 0.0;
      for (size_t u = t; u < k; u++) sum += to->w[j + u * p] * cov[u + t * k];
      to->w[j + t * p] = sum;
    }
  }
  free(z);
  free(zz);
  free(mean);
  free(cov);
  free(a);
  free(b);
  free(inverse);
  free(shift);
  return loglik;
}

/* ---- patterns ---------------------------------------------------------- */

static void check_patterns(const set *s)
{
  size_t n = s->n, count = 0, bad = 0;
  int *first = ints(n);                /* first row of each pattern so far */
  patterns found = patterns_of(&s->d);
  for (size_t i = 0; i < n; i++) {
    size_t u = 0;
    for (; u < count; u++) {
      int same = 1;
      for (size_t j = 0; j < s->p && same; j++)
        same = isnan(s->cell[i + j * n]) == isnan(s->cell[(size_t) first[u] + j * n]);
      if (same) break;
    }
    if (u == count) first[count++] = (int) i;
    bad += found.pattern[i] != (int) u;
  }
  CHECK(found.rows.count == count && bad == 0);
  for (size_t r = 0; r < n; r++) {     /* by pattern, and by row within it */
    int row = found.order[r], next = r + 1 < n ? found.order[r + 1] : -1;
    bad += row < 0 || row >= (int) n;
    if (r + 1 == n || bad) continue;
    bad += next < 0 || next >= (int) n || found.pattern[next] < found.pattern[row] ||
      (found.pattern[next] == found.pattern[row] && next <= row);
  }
  CHECK(bad == 0);
  free(first);
  drop_patterns(&found);
}

static void patterns_match_a_comparison_of_rows(void)
{
  static const size_t shapes[][2] = {{1, 1}, {2, 3}, {40, 1}, {60, 3}, {300, 7},
                                     {50, 150}, {800, 4}};
  for (int shape = 0; shape < 7; shape++)
    for (int how = NONE; how <= ROWS; how++) {
      set s = new_set(shapes[shape][0], shapes[shape][1]);
      dig(&s, (enum holes) how);
      for (int kind = 0; kind < 3; kind++) {
        store(&s, kinds[kind]);
        check_patterns(&s);
      }
      drop(&s);
    }
}

/* ---- posterior --------------------------------------------------------- */

/* One kind of output left out changes nothing about the others. */
static void check_outputs(const set *s, const patterns *rows,
                          const missing_model *from, const double *mean,
                          const double *cov, const double *ll)
{
  size_t n = s->n, nk = n * from->k, count = rows->rows.count * packed_size(from->k);
  for (int out = 0; out < 7; out++) {
    double *m = doubles(nk), *c = doubles(count), *l = doubles(n);
    double *work = doubles(missing_work(&s->d, from->k));
    CHECK(missing_posterior(&s->d, &rows->rows, from, out & 1 ? m : NULL,
                            out & 2 ? c : NULL, out & 4 ? l : NULL, work) == ELBO_OK);
    CHECK(!(out & 1) || memcmp(m, mean, nk * sizeof *m) == 0);
    CHECK(!(out & 2) || memcmp(c, cov, count * sizeof *c) == 0);
    CHECK(!(out & 4) || memcmp(l, ll, n * sizeof *l) == 0);
    free(m);
    free(c);
    free(l);
    free(work);
  }
}

/* Means, covariances and likelihoods of all rows. */
static void check_posterior(const set *s, size_t k, double sigma2)
{
  size_t n = s->n, q = packed_size(k), bad = 0;
  double *w = normals(s->p * k, 1.0), *m = doubles(k), *c = doubles(k * k);
  double *expected = doubles(n * k), *lls = doubles(n), apart = 0.0;
  patterns found = patterns_of(&s->d);
  missing_model from = {k, w, sigma2, 0, 0};
  size_t count = found.rows.count;
  double *mean = doubles(n * k), *cov = doubles(count * q), *ll = doubles(n);
  double *work = doubles(missing_work(&s->d, k));
  CHECK(missing_posterior(&s->d, &found.rows, &from, mean, cov, ll, work) == ELBO_OK);
  for (size_t i = 0; i < n; i++) {
    lls[i] = naive_row(s, i, k, w, sigma2, m, c);
    for (size_t t = 0; t < k; t++) {
      expected[i + t * n] = m[t];
      for (size_t u = t; u < k; u++) {
        double *at = cov + (size_t) found.pattern[i] + packed_index(k, u, t) * count;
        double d = fabs(*at - c[u + t * k]);
        bad += !(d < INFINITY);
        apart = fmax(apart, d);
      }
    }
  }
  CHECK(bad == 0);
  CHECK_NEAR(apart, 0.0, 1e-10);
  CHECK_NEAR(gap(n * k, mean, expected), 0.0, 1e-10);
  CHECK_NEAR(gap(n, ll, lls), 0.0, 1e-10);
  check_outputs(s, &found, &from, mean, cov, ll);
  free(w);
  free(m);
  free(c);
  free(expected);
  free(lls);
  free(mean);
  free(cov);
  free(ll);
  free(work);
  drop_patterns(&found);
}

static void posteriors_match_one_row_at_a_time(void)
{
  static const size_t shapes[][3] = {{1, 2, 1}, {9, 3, 2}, {40, 8, 3}, {70, 6, 5},
                                     {33, 12, 1}, {25, 20, 11}};
  for (int shape = 0; shape < 6; shape++)
    for (int how = NONE; how <= ROWS; how++) {
      set s = new_set(shapes[shape][0], shapes[shape][1]);
      dig(&s, (enum holes) how);
      for (int kind = 0; kind < 3; kind++) {
        store(&s, kinds[kind]);
        check_posterior(&s, shapes[shape][2], 0.7);
      }
      drop(&s);
    }
}

/* Beyond 40 dimensions LAPACK takes over. */
static void posteriors_of_many_dimensions(void)
{
  for (size_t k = 40; k <= 43; k++) {
    set s = new_set(20, 45);
    dig(&s, k % 2 ? SHARED : ROWS);
    check_posterior(&s, k, 1.3);
    drop(&s);
  }
}

static void posteriors_in_several_blocks(void)
{
  for (int how = NONE; how <= ROWS; how++) {
    set s = new_set(4500, 4);
    dig(&s, (enum holes) how);
    check_posterior(&s, 2, 0.5);
    drop(&s);
  }
  set wide = new_set(250, 1500);           /* few cells: a cheap reference */
  for (size_t i = 250 * 12; i < 250 * 1500; i++)
    if (test_uniform() < 0.99) wide.cell[i] = NAN;
  store(&wide, DATA_SPARSE);
  check_posterior(&wide, 3, 0.5);
  drop(&wide);
}

static void a_row_without_cells_has_the_prior(void)
{
  const size_t n = 12, p = 4, k = 3;
  set s = new_set(n, p);
  for (size_t j = 0; j < p; j++) s.cell[5 + j * n] = s.cell[11 + j * n] = NAN;
  store(&s, DATA_DOUBLE);
  patterns found = patterns_of(&s.d);
  double *w = normals(p * k, 1.0), *mean = doubles(n * k), *ll = doubles(n);
  double *cov = doubles(found.rows.count * packed_size(k));
  double *work = doubles(missing_work(&s.d, k));
  missing_model from = {k, w, 0.3, 0, 0};
  CHECK(missing_posterior(&s.d, &found.rows, &from, mean, cov, ll, work) == ELBO_OK);
  CHECK(found.rows.count == 2 && ll[5] == 0.0 && ll[11] == 0.0 && ll[0] != 0.0);
  for (size_t t = 0; t < k; t++) {
    CHECK(mean[5 + t * n] == 0.0 && mean[11 + t * n] == 0.0);
    for (size_t u = t; u < k; u++)
      CHECK(cov[1 + packed_index(k, u, t) * 2] == (u == t));
  }
  free(w);
  free(mean);
  free(ll);
  free(cov);
  free(work);
  drop_patterns(&found);
  drop(&s);
}

/* ---- EM ---------------------------------------------------------------- */

static int map(const set *s, const patterns *rows, const missing_model *from,
               model *to, double *loglik)
{
  double *work = doubles(missing_work(&s->d, from->k));
  int status = missing_em_step(&s->d, &rows->rows, from, to->w, to->mu,
                               &to->sigma2, loglik, work);
  free(work);
  return status;
}

static model new_model(size_t p, size_t k)
{
  return (model) {doubles(p * k), doubles(p), NAN};
}

static void drop_model(model *m)
{
  free(m->w);
  free(m->mu);
}

static void check_map(const set *s, size_t k, int fix_mu, int fix_sigma2,
                      double tol)
{
  size_t p = s->p;
  double *w = normals(p * k, 0.5), loglik = NAN;
  missing_model from = {k, w, 0.4 + test_uniform(), fix_mu, fix_sigma2};
  model to = new_model(p, k), expected = new_model(p, k);
  patterns found = patterns_of(&s->d);
  double before = naive_map(s, &from, &expected);
  CHECK(map(s, &found, &from, &to, &loglik) == ELBO_OK);
  CHECK_NEAR(loglik, before, 1e-10);
  CHECK_NEAR(gap(p * k, to.w, expected.w), 0.0, tol);
  CHECK_NEAR(gap(p, to.mu, expected.mu), 0.0, tol);
  CHECK_NEAR(to.sigma2 / expected.sigma2, 1.0, tol);
  if (fix_sigma2) CHECK(to.sigma2 == from.sigma2);
  if (fix_mu) CHECK(memcmp(to.mu, s->mu, p * sizeof *to.mu) == 0);
  free(w);
  drop_model(&to);
  drop_model(&expected);
  drop_patterns(&found);
}

static void maps_match_loops_over_cells(void)
{
  static const size_t shapes[][3] = {{30, 3, 1}, {40, 8, 3}, {70, 6, 5},
                                     {90, 12, 2}, {60, 20, 8}};
  for (int shape = 0; shape < 5; shape++)
    for (int how = NONE; how <= ROWS; how++) {
      set s = new_set(shapes[shape][0], shapes[shape][1]);
      dig(&s, (enum holes) how);
      for (int kind = 0; kind < 3; kind++)
        for (int fix = 0; fix < 4; fix++) {
          store(&s, kinds[kind]);
          check_map(&s, shapes[shape][2], fix & 1, fix & 2, 1e-9);
        }
      drop(&s);
    }
}

static void a_map_of_many_dimensions(void)
{
  set s = new_set(150, 45);
  dig(&s, SHARED);
  check_map(&s, 42, 0, 0, 1e-8);
  drop(&s);
}

static void maps_in_several_blocks(void)
{
  for (int how = NONE; how <= ROWS; how++) {
    set s = new_set(4500, 4);
    dig(&s, (enum holes) how);
    check_map(&s, 2, how % 2, 0, 1e-9);
    drop(&s);
  }
}

/* 100 maps: the likelihood never falls, whatever is fixed and missing. */
static void maps_never_lose_likelihood(void)
{
  const size_t n = 60, p = 7;
  for (size_t k = 1; k <= 4; k++)
    for (int how = NONE; how <= ROWS; how++)
      for (int fix = 0; fix < 4; fix++) {
        set s = new_set(n, p);
        dig(&s, (enum holes) how);
        patterns found = patterns_of(&s.d);
        double *w = normals(p * k, 0.5), last = -INFINITY, loglik, sigma2 = 1.0;
        model to = new_model(p, k);
        for (int step = 0; step < 100; step++) {
          missing_model from = {k, w, sigma2, fix & 1, fix & 2};
          CHECK(map(&s, &found, &from, &to, &loglik) == ELBO_OK);
          CHECK(loglik >= last - 1e-10 * fabs(last));
          last = loglik;
          memcpy(w, to.w, p * k * sizeof *w);
          memcpy(s.mu, to.mu, p * sizeof *s.mu);
          sigma2 = to.sigma2;
        }
        free(w);
        drop_model(&to);
        drop_patterns(&found);
        drop(&s);
      }
}

/* With nothing missing, the first eigenvector of X'X/n has the answer. */
static void complete_data_reach_the_closed_form(void)
{
  const size_t n = 80, p = 6;
  set s = new_set(n, p);
  double *w = normals(p, 0.5), *x = doubles(n * p), *c = doubles(p * p);
  double *values = doubles(p), *u = doubles(p * p), sigma2 = 1.0, loglik = NAN;
  patterns found = patterns_of(&s.d);
  model to = new_model(p, 1);
  for (int step = 0; step < 400; step++) {
    missing_model from = {1, w, sigma2, 0, 0};
    CHECK(map(&s, &found, &from, &to, &loglik) == ELBO_OK);
    memcpy(w, to.w, p * sizeof *w);
    memcpy(s.mu, to.mu, p * sizeof *s.mu);
    sigma2 = to.sigma2;
  }
  for (size_t j = 0; j < p; j++) {
    double mean = 0.0;
    for (size_t i = 0; i < n; i++) mean += s.cell[i + j * n] / (double) n;
    CHECK_NEAR(s.mu[j], mean, 1e-9);
    for (size_t i = 0; i < n; i++)
      x[i + j * n] = (s.cell[i + j * n] - mean) * s.unit[j];
  }
  double trace = covariance(n, p, x, c);
  jacobi(p, c, values, u);
  CHECK_NEAR(sigma2, (trace - values[0]) / (double) (p - 1), 1e-8);
  double sign = w[0] * u[0] > 0.0 ? 1.0 : -1.0;
  for (size_t j = 0; j < p; j++)
    CHECK_NEAR(w[j], sign * u[j] * sqrt(values[0] - sigma2), 1e-6);
  free(w);
  free(x);
  free(c);
  free(values);
  free(u);
  drop_model(&to);
  drop_patterns(&found);
  drop(&s);
}

/* A column that nobody observed cannot be regressed, nor can no rows. */
static void a_map_without_cells_is_refused(void)
{
  set s = new_set(20, 4);
  double *w = normals(4 * 2, 1.0), loglik;
  missing_model from = {2, w, 1.0, 0, 0};
  model to = new_model(4, 2);
  for (size_t i = 0; i < 20; i++) s.cell[i + 20] = NAN;
  store(&s, DATA_DOUBLE);
  patterns found = patterns_of(&s.d);
  CHECK(map(&s, &found, &from, &to, &loglik) == ELBO_NOT_POSITIVE);
  w[0] = NAN;
  CHECK(map(&s, &found, &from, &to, &loglik) == ELBO_NOT_POSITIVE);
  free(w);
  drop_model(&to);
  drop_patterns(&found);
  drop(&s);
}

/* ---- poll -------------------------------------------------------------- */

static void poll_may_leave_by_a_long_jump(void)
{
  const size_t n = 4500, p = 4, k = 2;
  set s = new_set(n, p);
  dig(&s, ANYWHERE);
  double *w = normals(p * k, 0.5), loglik;
  double *work = doubles(missing_work(&s.d, k));
  int *pattern = ints(n), *order = ints(n);
  unsigned long long *words = malloc(3 * n * sizeof *words);
  missing_model from = {k, w, 1.0, 0, 0};
  model to = new_model(p, k);
  patterns found = patterns_of(&s.d);
  CHECK(map(&s, &found, &from, &to, &loglik) == ELBO_OK);
  double *first = copy_of(p * k, to.w);
  s.d.poll = leave;
  for (volatile int stop = 0; stop < 3; stop++) {
    polls_left = stop;
    if (setjmp(away) == 0) {
      missing_em_step(&s.d, &found.rows, &from, to.w, to.mu, &to.sigma2, &loglik, work);
      CHECK(!"left by a long jump");
    }
  }
  polls_left = 0;
  if (setjmp(away) == 0) {
    missing_patterns(&s.d, pattern, order, words);
    CHECK(!"left by a long jump");
  }
  s.d.poll = NULL;
  CHECK(missing_em_step(&s.d, &found.rows, &from, to.w, to.mu, &to.sigma2,
                        &loglik, work) == ELBO_OK);
  CHECK(memcmp(to.w, first, p * k * sizeof *first) == 0);
  free(w);
  free(first);
  free(work);
  free(pattern);
  free(order);
  free(words);
  drop_model(&to);
  drop_patterns(&found);
  drop(&s);
}

TEST_MAIN(products_are_our_own, patterns_match_a_comparison_of_rows,
          posteriors_match_one_row_at_a_time, posteriors_of_many_dimensions,
          posteriors_in_several_blocks, a_row_without_cells_has_the_prior,
          maps_match_loops_over_cells, a_map_of_many_dimensions,
          maps_in_several_blocks, maps_never_lose_likelihood,
          complete_data_reach_the_closed_form, a_map_without_cells_is_refused,
          poll_may_leave_by_a_long_jump)
