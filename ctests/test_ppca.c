/* ppca against a covariance matrix from loops, its eigenvalues by cyclic
 * Jacobi, and log densities of the rows by a p x p Cholesky factor. */
#include "arrays.h"
#include "data.h"
#include "polls.h"
#include "ppca.h"
#include "reference.h"
#include "status.h"

/* ---- samples ----------------------------------------------------------- */

typedef struct {
  size_t n, p;
  double *x;                  /* centred and scaled, n x p: the reference */
  double *s, *lambda, trace;  /* covariance and its eigenvalues */
  double *value, *mu, *unit;
  int *ivalue, *row, *start;
} sample;

/* Column means of the observed cells; X, its covariance and eigenvalues. */
static void summarise(sample *s)
{
  size_t n = s->n, p = s->p;
  for (size_t j = 0; j < p; j++) {
    double sum = 0.0, count = 0.0;
    for (size_t i = 0; i < n; i++) {
      double v = s->value[i + j * n];
      s->ivalue[i + j * n] = isnan(v) ? DATA_MISSING_INT : (int) v;
      sum += isnan(v) ? 0.0 : v;
      count += !isnan(v);
    }
    s->mu[j] = sum / count;
    for (size_t i = 0; i < n; i++) {
      double v = s->value[i + j * n];
      s->x[i + j * n] = isnan(v) ? 0.0 : (v - s->mu[j]) * s->unit[j];
    }
  }
  s->trace = covariance(n, p, s->x, s->s);
  jacobi(p, s->s, s->lambda, NULL);
}

/* Whole numbers of rank `rank` and noise, or rank + 1 without any; columns
 * off centre and on different scales. */
static sample new_sample(size_t n, size_t p, size_t rank, int noise)
{
  sample s = {n, p, doubles(n * p), doubles(p * p), doubles(p), 0.0,
              doubles(n * p), doubles(p), doubles(p), ints(n * p), ints(n * p),
              ints(p + 1)};
  double *z = doubles(n * rank), *w = doubles(rank * p);
  for (size_t i = 0; i < n * rank; i++) z[i] = floor(3.0 * test_normal());
  for (size_t i = 0; i < rank * p; i++) w[i] = floor(9.0 * test_normal());
  multiply(n, p, rank, z, w, s.value);
  for (size_t j = 0; j < p; j++) {
    s.unit[j] = noise ? exp2(floor(test_normal())) : 0.125;
    for (size_t i = 0; i < n; i++) {
      s.value[i + j * n] += 50.0 + (noise ? floor(8.0 * test_normal()) : 0.0);
      s.row[i + j * n] = (int) i;
    }
  }
  for (size_t j = 0; j <= p; j++) s.start[j] = (int) (j * n);
  summarise(&s);
  free(z);
  free(w);
  return s;
}

static elbo_data data_of(const sample *s, enum data_kind kind)
{
  return (elbo_data) {kind, s->n, s->p, s->value, s->ivalue, s->row, s->start,
                      s->mu, s->unit, count_polls};
}

static void drop(sample *s)
{
  free(s->x);
  free(s->s);
  free(s->lambda);
  free(s->value);
  free(s->mu);
  free(s->unit);
  free(s->ivalue);
  free(s->row);
  free(s->start);
}

/* ---- eigenpairs -------------------------------------------------------- */

/* The entry of each column that is largest in absolute value is positive. */
static size_t negative_columns(size_t p, size_t k, const double *v)
{
  size_t found = 0;
  for (size_t j = 0; j < k; j++) {
    double least = 0.0, most = 0.0;
    for (size_t i = 0; i < p; i++) {
      least = fmin(least, v[i + j * p]);
      most = fmax(most, v[i + j * p]);
    }
    found += -least > most;
  }
  return found;
}

/* Values against Jacobi's; vectors by orthonormality and S u = lambda u, which
 * says all there is to say where eigenvalues repeat; projections X u. */
static void check_pairs(const sample *s, size_t k, size_t known,
                        const double *values, const double *u,
                        const double *projections)
{
  size_t n = s->n, p = s->p;
  double *su = doubles(p * k), *lu = doubles(p * k), *xu = doubles(n * k);
  double top = s->lambda[0] > 0.0 ? s->lambda[0] : 1.0, apart = 0.0;
  for (size_t j = 0; j < known; j++)
    apart = fmax(apart, fabs(values[j] - s->lambda[j]) / top);
  CHECK(all_finite(known, values));
  CHECK_NEAR(apart, 0.0, 1e-12);
  apart = 0.0;
  multiply(p, k, p, s->s, u, su);
  multiply(n, k, p, s->x, u, xu);
  for (size_t j = 0; j < k; j++)
    for (size_t i = 0; i < p; i++) {
      lu[i + j * p] = values[j] * u[i + j * p] / top;
      su[i + j * p] /= top;
    }
  for (size_t i = 0; i < p * k; i++) apart = fmax(apart, fabs(su[i] - lu[i]));
  CHECK_NEAR(apart, 0.0, 1e-9);
  CHECK_NEAR(skew(p, k, u), 0.0, 1e-12);
  CHECK(negative_columns(p, k, u) == 0);
  apart = 0.0;
  for (size_t i = 0; i < n * k; i++)
    apart = fmax(apart, fabs(projections[i] - xu[i]) / sqrt((double) n * top));
  /* or the root of what rounding leaves of an eigenvalue that is zero */
  CHECK_NEAR(apart, 0.0, s->lambda[k - 1] < 1e-9 * top ? 1e-6 : 1e-9);
  CHECK(all_finite(n * k, projections) && all_finite(p * k, u));
  free(su);
  free(lu);
  free(xu);
}

static void check_route(const sample *s, enum data_kind kind, size_t k,
                        enum ppca_route route)
{
  size_t n = s->n, p = s->p, m = n < p ? n : p, work, iwork, products = 99;
  elbo_data d = data_of(s, kind);
  size_t order = route == PPCA_COVARIANCE ? p : n;
  size_t known = route == PPCA_KRYLOV ? k : m;
  double *values = doubles(route == PPCA_KRYLOV ? k : order);
  double *u = doubles(p * k), *xu = doubles(n * k), trace, residual;
  CHECK(ppca_eigen_work(&d, k, route, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  polls = 0;
  CHECK(ppca_eigen(&d, k, route, values, u, xu, &trace, &products, &residual,
                   space, ispace) == ELBO_OK);
  CHECK(polls > 0);
  CHECK_NEAR(trace, s->trace, 1e-13);
  if (route == PPCA_KRYLOV) CHECK(products > 0 && residual <= 1e-10);
  else CHECK(products == 0 && residual == 0.0);
  check_pairs(s, k, known, values, u, xu);
  free(values);
  free(u);
  free(xu);
  free(space);
  free(ispace);
}

static void check_routes(const sample *s, size_t k)
{
  size_t m = s->n < s->p ? s->n : s->p;
  for (int kind = DATA_DOUBLE; kind <= DATA_SPARSE; kind++) {
    check_route(s, (enum data_kind) kind, k, PPCA_COVARIANCE);
    check_route(s, (enum data_kind) kind, k, PPCA_GRAM);
    if (m >= 40 + 3 * k) check_route(s, (enum data_kind) kind, k, PPCA_KRYLOV);
  }
}

static void dense_routes_on_small_data(void)
{
  for (size_t n = 1; n <= 9; n++)
    for (size_t p = 1; p <= 9; p++) {
      sample s = new_sample(n, p, 2, 1);
      for (size_t k = 1; k <= n && k <= p; k++) check_routes(&s, k);
      drop(&s);
    }
}

static void three_routes_agree(void)
{
  static const size_t shapes[][2] = {{90, 60}, {60, 90}, {75, 75}, {130, 58}};
  for (int shape = 0; shape < 4; shape++)
    for (size_t rank = 0; rank <= 12; rank += 4) {
      sample s = new_sample(shapes[shape][0], shapes[shape][1], rank, 1);
      check_routes(&s, 1);
      check_routes(&s, 5);
      drop(&s);
    }
}

static void more_dimensions_than_rank(void)
{
  for (size_t rank = 0; rank <= 3; rank++) {
    sample wide = new_sample(60, 80, rank, 0), tall = new_sample(80, 60, rank, 0);
    check_routes(&wide, 6);
    check_routes(&tall, 6);
    drop(&wide);
    drop(&tall);
  }
}

/* The first guess of EM is made of such data. */
static void missing_cells_count_as_their_mean(void)
{
  static const size_t shapes[][2] = {{70, 50}, {50, 70}};
  for (int shape = 0; shape < 2; shape++) {
    sample s = new_sample(shapes[shape][0], shapes[shape][1], 2, 1);
    for (size_t i = 0; i < s.n * s.p; i++)
      if (i % s.n != 0 && test_uniform() < 0.2) s.value[i] = NAN;
    summarise(&s);
    check_routes(&s, 3);
    drop(&s);
  }
}

/* ---- the maximum of the likelihood ------------------------------------- */

/* Loadings of the sample at k dimensions; returns the mean log-likelihood. */
static double fit(const sample *s, size_t k, double fixed, double *w,
                  double *sigma2, size_t *used)
{
  size_t p = s->p, work, iwork, products;
  elbo_data d = data_of(s, DATA_DOUBLE);
  double *values = doubles(p), *xu = doubles(s->n * k), trace, residual;
  CHECK(ppca_eigen_work(&d, k, PPCA_COVARIANCE, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  CHECK(ppca_eigen(&d, k, PPCA_COVARIANCE, values, w, xu, &trace, &products,
                   &residual, space, ispace) == ELBO_OK);
  *used = ppca_noise(values, k, p, trace, fixed, sigma2);
  double loglik = ppca_loglik(values, *used, p, trace, *sigma2);
  ppca_loadings(values, w, k, p, *used, *sigma2, w);      /* in place */
  free(values);
  free(xu);
  free(space);
  free(ispace);
  return loglik;
}

static void the_likelihood_is_that_of_the_sample(void)
{
  for (size_t p = 2; p <= 20; p += 3)
    for (size_t k = 1; k < p; k += 1 + k / 2) {
      sample s = new_sample(30, p, 3, 1);
      double *w = doubles(p * k), sigma2, rest = 0.0;
      size_t used;
      double loglik = fit(&s, k, -1.0, w, &sigma2, &used);
      for (size_t j = k; j < p; j++) rest += s.lambda[j];
      CHECK(used == k);
      CHECK_NEAR(sigma2, rest / (double) (p - k), 1e-9);  /* trace less values */
      CHECK_NEAR(loglik, naive_loglik(30, p, k, s.x, w, sigma2), 1e-11);
      free(w);
      drop(&s);
    }
}

static void no_other_parameters_are_more_likely(void)
{
  size_t n = 40, p = 8, k = 3, used;
  sample s = new_sample(n, p, 3, 1);
  double *w = doubles(p * k), *near = doubles(p * k), sigma2;
  double loglik = fit(&s, k, -1.0, w, &sigma2, &used);
  for (int trial = 0; trial < 200; trial++) {
    double by = pow(10.0, -1.0 - trial % 4), other = sigma2 * exp(by * test_normal());
    for (size_t i = 0; i < p * k; i++) near[i] = w[i] + by * test_normal();
    CHECK(naive_loglik(n, p, k, s.x, near, other) < loglik);
  }
  free(w);
  free(near);
  drop(&s);
}

/* Eigenvalues at or below a fixed noise variance: their columns are zero. */
static void a_large_fixed_noise_variance_collapses_columns(void)
{
  size_t n = 40, p = 9, k = 5, used;
  sample s = new_sample(n, p, 4, 1);
  double *w = doubles(p * k), sigma2;
  for (size_t keep = 0; keep <= k; keep++) {
    double fixed = keep ? 0.5 * (s.lambda[keep - 1] + s.lambda[keep])
                        : 1.5 * s.lambda[0];
    double loglik = fit(&s, k, fixed, w, &sigma2, &used);
    CHECK(used == keep && sigma2 == fixed);
    for (size_t j = 0; j < k; j++) {
      double size = 0.0;
      for (size_t i = 0; i < p; i++) size += w[i + j * p] * w[i + j * p];
      CHECK_NEAR(size, j < keep ? s.lambda[j] - fixed : 0.0, 1e-10);
    }
    CHECK_NEAR(loglik, naive_loglik(n, p, k, s.x, w, sigma2), 1e-11);
  }
  free(w);
  drop(&s);
}

/* Mean log-likelihood with variance max(values[j], s) along direction j, s
 * along the other p - k. */
static double profile(const double *values, size_t k, size_t p, double trace,
                      double s)
{
  double sum = (double) p * log(6.283185307179586), rest = trace;
  for (size_t j = 0; j < k; j++) {
    double variance = values[j] > s ? values[j] : s;
    sum += log(variance) + values[j] / variance;
    rest -= values[j];
  }
  return -0.5 * (sum + (double) (p - k) * log(s) + rest / s);
}

/* Directions need not be the leading ones: as EM goes along, some may have
 * less variance than what is left over. Against a fine grid. */
static void noise_is_best_for_any_directions(void)
{
  for (int trial = 0; trial < 200; trial++) {
    size_t k = 1 + test_below(6), p = k + 1 + test_below(20);
    double *values = doubles(k), trace = 0.0, sigma2;
    for (size_t j = 0; j < k; j++) values[j] = exp(2.0 * test_normal());
    qsort(values, k, sizeof *values, descending);
    for (size_t j = 0; j < k; j++) trace += values[j];
    trace += (double) (p - k) * exp(test_normal());
    size_t used = ppca_noise(values, k, p, trace, -1.0, &sigma2);
    double best = profile(values, k, p, trace, sigma2);
    for (size_t j = 0; j < k; j++) CHECK((values[j] > sigma2) == (j < used));
    CHECK_NEAR(ppca_loglik(values, used, p, trace, sigma2), best, 1e-13);
    double most = -INFINITY;
    for (int g = -4000; g <= 4000; g++)
      most = fmax(most, profile(values, k, p, trace, sigma2 * exp(g / 500.0)));
    CHECK(most <= best + 1e-12 * fabs(best));
    free(values);
  }
}

static void no_noise_is_left_at_full_rank(void)
{
  double values[] = {3.0, 2.0, 1.0}, sigma2 = NAN;
  CHECK(ppca_noise(values, 3, 5, 6.0 - 1e-15, -1.0, &sigma2) == 3);
  CHECK(sigma2 == 0.0);
  CHECK(ppca_noise(values, 0, 5, 6.0, -1.0, &sigma2) == 0);
  CHECK_NEAR(sigma2, 1.2, 1e-15);
}

/* Eigenvalues that rounding left below zero are not in use. */
static void negative_eigenvalues_have_no_loadings(void)
{
  double values[] = {3.0, 2.0, 0.0, -1e-16, -3e-16}, u[5 * 8], w[5 * 8], sigma2 = NAN;
  for (int i = 0; i < 5 * 8; i++) u[i] = i % 9 == 0;
  size_t used = ppca_noise(values, 5, 8, 5.0 - 1e-15, -1.0, &sigma2);
  CHECK(used == 2 && sigma2 >= 0.0 && sigma2 < 1e-15);
  ppca_loadings(values, u, 5, 8, used, sigma2, w);
  CHECK(all_finite(5 * 8, w));
}

/* ---- canonical form ---------------------------------------------------- */

static void check_canonical(size_t p, size_t k, const double *w)
{
  size_t work, iwork;
  double *r = copy_of(p * k, w), *a = doubles(p * p), *b = doubles(p * p);
  CHECK(ppca_canonical_work(p, k, &work, &iwork) == ELBO_OK);
  double *space = doubles(work), top = 0.0;
  int *ispace = ints(iwork);
  CHECK(ppca_canonical(p, k, r, space, ispace) == ELBO_OK);
  for (size_t j = 0; j < p; j++)                       /* W W' stays */
    for (size_t i = 0; i < p; i++) {
      a[i + j * p] = b[i + j * p] = 0.0;
      for (size_t t = 0; t < k; t++) {
        a[i + j * p] += r[i + t * p] * r[j + t * p];
        b[i + j * p] += w[i + t * p] * w[j + t * p];
      }
    }
  CHECK_NEAR(gap(p * p, a, b), 0.0, 1e-13);
  double *size = doubles(k);
  for (size_t j = 0; j < k; j++) {                     /* W'W is diagonal */
    for (size_t t = 0; t <= j; t++) {
      double dot = 0.0;
      for (size_t i = 0; i < p; i++) dot += r[i + j * p] * r[i + t * p];
      if (j == 0) top = dot;
      if (t < j) CHECK(fabs(dot) <= 1e-13 * top);
      else size[j] = dot;
    }
    CHECK(j == 0 || size[j] <= size[j - 1] + 1e-14 * top);
  }
  CHECK(negative_columns(p, k, r) == 0);
  free(r);
  free(a);
  free(b);
  free(size);
  free(space);
  free(ispace);
}

static void canonical_loadings_are_orthogonal(void)
{
  for (size_t p = 1; p <= 25; p += 1 + p / 3)
    for (size_t k = 1; k <= p; k += 1 + k / 3) {
      double *w = normals(p * k, 1.0);
      check_canonical(p, k, w);
      for (size_t i = 0; i < p; i++) w[i + (k - 1) * p] = w[i];  /* rank k - 1 */
      check_canonical(p, k, w);
      for (size_t i = 0; i < p; i++) w[i + k / 2 * p] = 0.0;
      check_canonical(p, k, w);
      for (size_t i = 0; i < p * k; i++) w[i] = 0.0;
      check_canonical(p, k, w);
      free(w);
    }
}

static void signs_follow_the_largest_entry(void)
{
  double v[] = {1.0, -3.0, 2.0,   0.0, 0.0, -0.5,   0.0, -0.0, 0.0,
                -2.0, 1.0, 1.0,   5.0, -4.0, 4.5};
  double expected[] = {-1.0, 3.0, -2.0,   -0.0, -0.0, 0.5,   0.0, -0.0, 0.0,
                       2.0, -1.0, -1.0,   5.0, -4.0, 4.5};
  CHECK(ppca_fix_signs(3, 5, v) == 3);
  CHECK(memcmp(v, expected, sizeof v) == 0);
  CHECK(ppca_fix_signs(3, 5, v) == 0);
  CHECK(ppca_fix_signs(3, 0, NULL) == 0);
}

TEST_MAIN(products_are_our_own, dense_routes_on_small_data, three_routes_agree,
          more_dimensions_than_rank, missing_cells_count_as_their_mean,
          the_likelihood_is_that_of_the_sample,
          no_other_parameters_are_more_likely,
          a_large_fixed_noise_variance_collapses_columns,
          noise_is_best_for_any_directions, no_noise_is_left_at_full_rank,
          negative_eigenvalues_have_no_loadings,
          canonical_loadings_are_orthogonal, signs_follow_the_largest_entry)
