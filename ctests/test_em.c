/* em against EM written row by row with explicit inverses, log densities by a
 * p x p Cholesky factor, and the closed form from a Jacobi decomposition. */
#include "arrays.h"
#include "data.h"
#include "em.h"
#include "ppca.h"
#include "reference.h"
#include "status.h"
#include "subspace.h"

/* ---- plain reference code ---------------------------------------------- */

/* One EM map, from the expectations of each row's z and zz'. */
static double naive_step(size_t n, size_t p, size_t k, const double *x,
                         const double *w, double sigma2, double *w_new)
{
  double *m = doubles(k * k), *inverse = doubles(k * k), *z = doubles(n * k);
  double *xz = doubles(p * k), *zz = doubles(k * k), sum = 0.0;
  cross(k, k, p, w, w, m);
  for (size_t i = 0; i < k; i++) m[i + i * k] += sigma2;
  invert(k, m, inverse);
  for (size_t i = 0; i < n; i++)                 /* E z = M^-1 W'x */
    for (size_t a = 0; a < k; a++) {
      z[i + a * n] = 0.0;
      for (size_t b = 0; b < k; b++)
        for (size_t j = 0; j < p; j++)
          z[i + a * n] += inverse[a + b * k] * w[j + b * p] * x[i + j * n];
    }
  cross(k, k, n, z, z, zz);                      /* sum of E zz' */
  for (size_t a = 0; a < k * k; a++) zz[a] += (double) n * sigma2 * inverse[a];
  cross(p, k, n, x, z, xz);
  invert(k, zz, inverse);
  multiply(p, k, k, xz, inverse, w_new);
  for (size_t i = 0; i < n * p; i++) sum += x[i] * x[i];
  for (size_t i = 0; i < p * k; i++) sum -= 2.0 * w_new[i] * xz[i];
  cross(k, k, p, w_new, w_new, m);
  for (size_t a = 0; a < k * k; a++) sum += zz[a] * m[a];
  free(m);
  free(inverse);
  free(z);
  free(xz);
  free(zz);
  return sum / (double) (n * p);
}

/* ---- samples ----------------------------------------------------------- */

typedef struct {
  size_t n, p;
  double *x;                        /* centred and scaled, n x p: reference */
  double *lambda, *vectors, trace;  /* of its covariance, by Jacobi */
  double *value, *mu, *unit;
  int *ivalue, *row, *start;
} sample;

/* Whole numbers: `rank` factors and, where noise > 0, noise of that size. */
static sample new_sample(size_t n, size_t p, size_t rank, double noise)
{
  sample s = {n, p, doubles(n * p), doubles(p), doubles(p * p), 0.0,
              doubles(n * p), doubles(p), doubles(p), ints(n * p), ints(n * p),
              ints(p + 1)};
  double *z = doubles(n * rank), *w = doubles(rank * p), *c = doubles(p * p);
  for (size_t i = 0; i < n * rank; i++) z[i] = floor(5.0 * test_normal());
  for (size_t i = 0; i < rank * p; i++) w[i] = floor(9.0 * test_normal());
  for (size_t j = 0; j < p; j++) {
    s.start[j] = (int) (j * n);
    s.mu[j] = 0.0;
    s.unit[j] = 0.125;
    for (size_t i = 0; i < n; i++) {
      double v = 20.0 + floor(noise * test_normal());
      for (size_t t = 0; t < rank; t++) v += z[i + t * n] * w[t + j * rank];
      s.value[i + j * n] = v;
      s.ivalue[i + j * n] = (int) v;
      s.row[i + j * n] = (int) i;
      s.mu[j] += v;
    }
    s.mu[j] /= (double) n;
    for (size_t i = 0; i < n; i++)
      s.x[i + j * n] = (s.value[i + j * n] - s.mu[j]) * s.unit[j];
  }
  s.start[p] = (int) (n * p);
  s.trace = covariance(n, p, s.x, c);
  jacobi(p, c, s.lambda, s.vectors);
  free(z);
  free(w);
  free(c);
  return s;
}

static elbo_data data_of(const sample *s, enum data_kind kind)
{
  return (elbo_data) {kind, s->n, s->p, s->value, s->ivalue, s->row, s->start,
                      s->mu, s->unit, NULL};
}

static void drop(sample *s)
{
  free(s->x);
  free(s->lambda);
  free(s->vectors);
  free(s->value);
  free(s->mu);
  free(s->unit);
  free(s->ivalue);
  free(s->row);
  free(s->start);
}

/* The maximum of the likelihood at k dimensions, W turned by R. */
static double closed_form(const sample *s, size_t k, double *w, double *sigma2)
{
  size_t p = s->p;
  *sigma2 = 0.0;
  for (size_t j = k; j < p; j++) *sigma2 += s->lambda[j] / (double) (p - k);
  for (size_t j = 0; j < k; j++)
    for (size_t i = 0; i < p; i++)
      w[i + j * p] = s->vectors[i + j * p] * sqrt(s->lambda[j] - *sigma2);
  for (size_t j = 0; j + 1 < k; j++) turn(p, w + j * p, w + (j + 1) * p, 1, 0.6, 0.8);
  return naive_loglik(s->n, p, k, s->x, w, *sigma2);
}

/* ---- plain EM ---------------------------------------------------------- */

static int step(const elbo_data *d, size_t k, const double *w, double sigma2,
                double trace, double fixed, double *w_new, double *sigma2_new,
                double *loglik)
{
  double *work = doubles(em_step_work(d, k));
  int status = em_step(d, k, w, sigma2, trace, fixed, w_new, sigma2_new,
                       loglik, work);
  free(work);
  return status;
}

static void check_step(size_t n, size_t p, size_t k)
{
  sample s = new_sample(n, p, 2, 9.0);
  double *w = normals(p * k, 1.0), *w_new = doubles(p * k), *expected = doubles(p * k);
  double sigma2 = 0.3 + test_uniform(), sigma2_new, loglik, kept;
  double noise = naive_step(n, p, k, s.x, w, sigma2, expected);
  for (int kind = DATA_DOUBLE; kind <= DATA_SPARSE; kind++) {
    elbo_data d = data_of(&s, (enum data_kind) kind);
    CHECK(step(&d, k, w, sigma2, s.trace, -1.0, w_new, &sigma2_new, &loglik) == ELBO_OK);
    CHECK_NEAR(gap(p * k, w_new, expected), 0.0, 1e-10);
    CHECK_NEAR(sigma2_new / noise, 1.0, 1e-10);
    CHECK_NEAR(loglik, naive_loglik(n, p, k, s.x, w, sigma2), 1e-11);
    CHECK(step(&d, k, w, sigma2, s.trace, sigma2, w_new, &kept, &loglik) == ELBO_OK);
    CHECK(kept == sigma2);
    CHECK_NEAR(gap(p * k, w_new, expected), 0.0, 1e-10);
  }
  free(w);
  free(w_new);
  free(expected);
  drop(&s);
}

static void a_map_is_that_of_rows_one_by_one(void)
{
  for (size_t p = 2; p <= 14; p += 3)
    for (size_t k = 1; k < p; k += 1 + k / 2) {
      check_step(20, p, k);
      check_step(p, p, k);
      check_step(3, p, k);
    }
}

static void the_closed_form_is_a_fixed_point(void)
{
  for (size_t p = 2; p <= 12; p += 2)
    for (size_t k = 1; k < p; k += 1 + k / 2) {
      sample s = new_sample(40, p, 3, 9.0);
      elbo_data d = data_of(&s, DATA_DOUBLE);
      double *w = doubles(p * k), *w_new = doubles(p * k);
      double sigma2, sigma2_new, loglik, best = closed_form(&s, k, w, &sigma2);
      CHECK(step(&d, k, w, sigma2, s.trace, -1.0, w_new, &sigma2_new, &loglik) == ELBO_OK);
      CHECK_NEAR(gap(p * k, w_new, w), 0.0, 1e-11);
      CHECK_NEAR(sigma2_new / sigma2, 1.0, 1e-10);
      CHECK_NEAR(loglik, best, 1e-11);
      free(w);
      free(w_new);
      drop(&s);
    }
}

/* 50 maps from random loadings; a fixed noise variance may be far too large
 * or too small. */
static void plain_maps_never_lose_likelihood(void)
{
  static const double noises[] = {-1.0, 0.05, 50.0};
  for (size_t n = 8; n <= 48; n += 40)
    for (int noise = 0; noise < 3; noise++)
      for (size_t k = 1; k <= 4; k++) {
        const size_t p = 11;
        sample s = new_sample(n, p, 3, 9.0);
        elbo_data d = data_of(&s, DATA_DOUBLE);
        double *w = normals(p * k, 1.0), *w_new = doubles(p * k), fixed = noises[noise];
        double sigma2 = fixed > 0.0 ? fixed : 1.0, next, loglik, last = -INFINITY;
        for (int map = 0; map < 50; map++) {
          CHECK(step(&d, k, w, sigma2, s.trace, fixed, w_new, &next, &loglik) == ELBO_OK);
          CHECK(loglik >= last - 1e-12 * fabs(last));
          if (map % 10 == 0)
            CHECK_NEAR(loglik, naive_loglik(n, p, k, s.x, w, sigma2), 1e-10);
          last = loglik;
          memcpy(w, w_new, p * k * sizeof *w);
          sigma2 = next;
        }
        free(w);
        free(w_new);
        drop(&s);
      }
}

/* Data of rank k: the noise falls towards zero, and the map says so. */
static void a_map_without_noise_left_is_refused(void)
{
  const size_t n = 30, p = 6, k = 2;
  sample s = new_sample(n, p, k, 0.0);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  double *w = normals(p * k, 1.0), *w_new = doubles(p * k), sigma2 = 1.0, loglik;
  int status = ELBO_OK;
  for (int map = 0; map < 2000 && status == ELBO_OK; map++) {
    double next = NAN;
    status = step(&d, k, w, sigma2, s.trace, -1.0, w_new, &next, &loglik);
    CHECK(status == ELBO_OK || status == ELBO_NOT_POSITIVE);
    CHECK(status != ELBO_OK || next > 0.0);
    memcpy(w, w_new, p * k * sizeof *w);
    sigma2 = next;
  }
  CHECK(status == ELBO_NOT_POSITIVE || sigma2 < 1e-13 * s.trace);
  free(w);
  free(w_new);
  drop(&s);
}

/* ---- accelerated EM ---------------------------------------------------- */

/* y (p x b) = S q */
static void naive_product(const sample *s, const double *q, size_t b, double *y)
{
  double *xq = doubles(s->n * b);
  multiply(s->n, b, s->p, s->x, q, xq);
  cross(s->p, b, s->n, s->x, xq, y);
  for (size_t i = 0; i < s->p * b; i++) y[i] /= (double) s->n;
  free(xq);
}

/* What em.h says of a state: [u, step] orthonormal, u'Su = diag(values), and
 * the products with S. */
static void check_state(const sample *s, const em_subspace *e)
{
  size_t p = s->p, k = e->k, m = k + e->c;
  double *z = doubles(p * m), *sz = doubles(p * m), *expected = doubles(p * m);
  double *h = doubles(k * k), *diagonal = doubles(k * k), apart = 0.0;
  CHECK(e->c <= k && m <= p);
  memcpy(z, e->u, p * k * sizeof *z);
  memcpy(z + p * k, e->step, p * e->c * sizeof *z);
  memcpy(sz, e->su, p * k * sizeof *z);
  memcpy(sz + p * k, e->sstep, p * e->c * sizeof *z);
  CHECK_NEAR(skew(p, m, z), 0.0, 1e-11);
  naive_product(s, z, m, expected);
  for (size_t i = 0; i < p * m; i++) {      /* absolute, in units of the top */
    expected[i] /= s->lambda[0];
    double d = fabs(sz[i] / s->lambda[0] - expected[i]);
    apart = d <= apart ? apart : d == d ? d : INFINITY;
  }
  CHECK_NEAR(apart, 0.0, 1e-11);
  cross(k, k, p, e->u, expected, h);
  for (size_t i = 0; i < k * k; i++)
    diagonal[i] = i % (k + 1) ? 0.0 : e->values[i / (k + 1)] / s->lambda[0];
  CHECK_NEAR(gap(k * k, h, diagonal), 0.0, 1e-10);
  size_t rising = 0;
  for (size_t j = 1; j < k; j++) rising += !(e->values[j] <= e->values[j - 1]);
  CHECK(rising == 0);
  free(z);
  free(sz);
  free(expected);
  free(h);
  free(diagonal);
}

static double ritz_loglik(const sample *s, const em_subspace *e, double fixed)
{
  double sigma2;
  size_t used = ppca_noise(e->values, e->k, s->p, s->trace, fixed, &sigma2);
  return ppca_loglik(e->values, used, s->p, s->trace, sigma2);
}

/* Runs until nothing is gained, at most `maps` maps; the end must be the
 * maximum of the likelihood (`best`, from the true eigenvalues). */
static void check_ritz(const sample *s, enum data_kind kind, size_t k,
                       const double *w, double fixed, int maps)
{
  size_t p = s->p, work, iwork;
  elbo_data d = data_of(s, kind);
  em_subspace e[2] = {new_subspace(p, k), new_subspace(p, k)}, best;
  CHECK(em_ritz_work(&d, k, &work, &iwork) == ELBO_OK);
  int *ispace = ints(iwork), at = 0, quiet = 0;
  double *space = doubles(work), loglik, last;
  CHECK(em_ritz_start(&d, w, &e[0], space, ispace) == ELBO_OK);
  CHECK(e[0].c == 0);
  check_state(s, &e[0]);
  last = ritz_loglik(s, &e[0], fixed);
  for (int map = 0; map < maps && quiet < 3; map++, at = !at) {
    for (size_t i = 0; i < work; i++) space[i] = NAN;
    CHECK(em_ritz_step(&d, &e[at], &e[!at], space, ispace) == ELBO_OK);
    if (map < 8 || map % 20 == 0) check_state(s, &e[!at]);
    loglik = ritz_loglik(s, &e[!at], fixed);
    CHECK(loglik >= last - 1e-12 * fabs(last));
    quiet = loglik - last < 1e-13 * fabs(last) ? quiet + 1 : 0;
    last = loglik;
  }
  check_state(s, &e[at]);
  CHECK(quiet == 3);
  best = new_subspace(p, k);
  memcpy(best.values, s->lambda, k * sizeof *s->lambda);
  CHECK_NEAR(last, ritz_loglik(s, &best, fixed), 1e-10);
  drop_subspace(&best);
  drop_subspace(&e[0]);
  drop_subspace(&e[1]);
  free(space);
  free(ispace);
}

static void check_ritz_from_random(size_t n, size_t p, size_t k, size_t rank,
                                   double noise, double fixed)
{
  sample s = new_sample(n, p, rank, noise);
  double *w = normals(p * k, 1.0);
  for (int kind = DATA_DOUBLE; kind <= DATA_SPARSE; kind++)
    check_ritz(&s, (enum data_kind) kind, k, w, fixed, 400);
  free(w);
  drop(&s);
}

static void accelerated_maps_reach_the_closed_form(void)
{
  for (size_t k = 1; k <= 7; k += 2) {
    check_ritz_from_random(60, 30, k, 4, 20.0, -1.0);
    check_ritz_from_random(60, 30, k, 0, 20.0, -1.0);     /* no gap anywhere */
    check_ritz_from_random(60, 30, k, 4, 20.0, 4.0);
  }
}

static void accelerated_maps_where_3k_exceeds_p(void)
{
  for (size_t p = 2; p <= 12; p++)
    for (size_t k = (p + 2) / 3; k < p; k++)
      check_ritz_from_random(40, p, k, 2, 20.0, -1.0);
}

static void accelerated_maps_with_fewer_rows_than_columns(void)
{
  check_ritz_from_random(8, 30, 1, 3, 20.0, -1.0);
  check_ritz_from_random(8, 30, 3, 3, 20.0, -1.0);
  check_ritz_from_random(8, 30, 6, 3, 20.0, -1.0);        /* the rank is 7 */
  check_ritz_from_random(12, 14, 10, 3, 20.0, -1.0);
}

/* k at and beyond the rank, where the noise must be given. */
static void accelerated_maps_near_the_rank(void)
{
  for (size_t k = 2; k <= 6; k++) check_ritz_from_random(30, 12, k, 4, 0.0, 0.5);
  check_ritz_from_random(30, 12, 3, 4, 0.0, -1.0);
  check_ritz_from_random(5, 12, 7, 3, 20.0, 0.5);
}

/* Loadings that are zero, or all alike, still begin somewhere. */
static void accelerated_maps_from_degenerate_loadings(void)
{
  const size_t n = 50, p = 20, k = 4;
  sample s = new_sample(n, p, 5, 20.0);
  double *w = doubles(p * k);
  for (size_t i = 0; i < p * k; i++) w[i] = 0.0;
  check_ritz(&s, DATA_DOUBLE, k, w, -1.0, 400);
  for (size_t i = 0; i < p * k; i++) w[i] = 1.0 + (double) (i % p);
  check_ritz(&s, DATA_DOUBLE, k, w, -1.0, 400);
  for (size_t i = 0; i < p * k; i++) w[i] *= i / p % 2 ? 1e-150 : 1e150;
  check_ritz(&s, DATA_DOUBLE, k, w, -1.0, 400);
  free(w);
  drop(&s);
}

/* Maps go on after convergence without wearing down the state. */
static void a_state_lasts(void)
{
  const size_t n = 60, p = 25, k = 4;
  size_t work, iwork;
  sample s = new_sample(n, p, 4, 20.0);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  em_subspace e[2] = {new_subspace(p, k), new_subspace(p, k)};
  CHECK(em_ritz_work(&d, k, &work, &iwork) == ELBO_OK);
  double *space = doubles(work), *w = normals(p * k, 1.0);
  int *ispace = ints(iwork);
  CHECK(em_ritz_start(&d, w, &e[0], space, ispace) == ELBO_OK);
  for (int map = 0; map < 2000; map++)
    CHECK(em_ritz_step(&d, &e[map % 2], &e[!(map % 2)], space, ispace) == ELBO_OK);
  check_state(&s, &e[0]);
  drop_subspace(&e[0]);
  drop_subspace(&e[1]);
  free(space);
  free(ispace);
  free(w);
  drop(&s);
}

TEST_MAIN(products_are_our_own,
          a_map_is_that_of_rows_one_by_one, the_closed_form_is_a_fixed_point,
          plain_maps_never_lose_likelihood, a_map_without_noise_left_is_refused,
          accelerated_maps_reach_the_closed_form,
          accelerated_maps_where_3k_exceeds_p,
          accelerated_maps_with_fewer_rows_than_columns,
          accelerated_maps_near_the_rank,
          accelerated_maps_from_degenerate_loadings, a_state_lasts)
