/* linear_vae against the model written row by row: each row's own expected error
 * and KL, explicit inverses, log densities by a p x p Cholesky factor, gradients by
 * differences, optima by bisection and a Jacobi decomposition. */
#include "arrays.h"
#include "linear_vae.h"
#include "reference.h"
#include "status.h"

/* ---- samples ----------------------------------------------------------- */

typedef struct {
  size_t n, p;
  double *x;                        /* centred and scaled, n x p: reference */
  double *s, trace;                 /* X'X/n, where p is small */
  double *value, *stored, *mu, *unit;
  int *ivalue, *row, *start;
} sample;

enum { SMALL = 64 };                /* so many features have their S */

/* Whole numbers, a third of them 0: `rank` factors and noise of that size. */
static double new_cell(const double *z, const double *w, size_t rank, double noise)
{
  double v = floor(noise * test_normal());
  if (test_below(3) == 0) return 0.0;
  for (size_t t = 0; t < rank; t++) v += floor(4.0 * z[t] * w[t]);
  return v + 2.0;
}

static void centre(sample *s)
{
  size_t n = s->n, p = s->p;
  s->trace = 0.0;
  for (size_t j = 0; j < p; j++) {
    s->mu[j] = 0.0;
    s->unit[j] = 0.25 / (1.0 + (double) (j % 3));
    for (size_t i = 0; i < n; i++) s->mu[j] += s->value[i + j * n] / (double) n;
    if (n == 1) s->mu[j] += 1.0;    /* or nothing would be left */
    for (size_t i = 0; i < n; i++) {
      double v = (s->value[i + j * n] - s->mu[j]) * s->unit[j];
      s->x[i + j * n] = v;
      s->trace += v * v / (double) n;
    }
  }
  if (s->s) covariance(n, p, s->x, s->s);
}

static void fill_sparse(sample *s)
{
  size_t n = s->n, stored = 0;
  for (size_t i = 0; i < n * s->p; i++) {
    if (i % n == 0) s->start[i / n] = (int) stored;
    if (s->value[i] == 0.0 && i % 7 != 0) continue;
    s->row[stored] = (int) (i % n);
    s->stored[stored++] = s->value[i];
  }
  s->start[s->p] = (int) stored;
}

static sample new_sample(size_t n, size_t p, size_t rank, double noise)
{
  sample s = {n, p, doubles(n * p), p <= SMALL ? doubles(p * p) : NULL, 0.0,
              doubles(n * p), doubles(n * p), doubles(p), doubles(p), ints(n * p),
              ints(n * p), ints(p + 1)};
  double *z = normals(n * rank, 1.0), *w = normals(rank * p, 1.0);
  for (size_t i = 0; i < n * p; i++) {
    s.value[i] = new_cell(z + i % n * rank, w + i / n * rank, rank, noise);
    s.ivalue[i] = (int) s.value[i];
  }
  centre(&s);
  fill_sparse(&s);
  free(z);
  free(w);
  return s;
}

static elbo_data data_of(const sample *s, enum data_kind kind)
{
  return (elbo_data) {kind, s->n, s->p, kind == DATA_SPARSE ? s->stored : s->value,
                      s->ivalue, s->row, s->start, s->mu, s->unit, NULL};
}

/* The four sources of S: itself, and the three kinds of data. */
enum { SOURCES = 4 };

static lvae_cov cov_of(const sample *s, int source, elbo_data *d)
{
  if (source == 0) return (lvae_cov) {s->s, NULL, s->p};
  *d = data_of(s, (enum data_kind) (source - 1));
  return (lvae_cov) {NULL, d, s->p};
}

static void drop(sample *s)
{
  free(s->x);
  free(s->s);
  free(s->value);
  free(s->stored);
  free(s->mu);
  free(s->unit);
  free(s->ivalue);
  free(s->row);
  free(s->start);
}

/* ---- the model, row by row --------------------------------------------- */

typedef struct { size_t p, k; double *w, *vt, *d, sigma2; } model;

static model new_model(size_t p, size_t k)
{
  return (model) {p, k, doubles(p * k), doubles(p * k), doubles(k), NAN};
}

static model random_model(size_t p, size_t k)
{
  model m = {p, k, normals(p * k, 0.7), normals(p * k, 0.4), doubles(k), 0.0};
  for (size_t j = 0; j < k; j++) m.d[j] = exp(0.7 * test_normal());
  m.sigma2 = exp(0.5 * test_normal());
  return m;
}

static void drop_model(model *m)
{
  free(m->w);
  free(m->vt);
  free(m->d);
}

static size_t size_of(size_t p, size_t k) { return 2 * p * k + k + 1; }

static double *theta_of(const model *m)
{
  size_t pk = m->p * m->k;
  double *theta = doubles(size_of(m->p, m->k));
  memcpy(theta, m->w, pk * sizeof *theta);
  memcpy(theta + pk, m->vt, pk * sizeof *theta);
  for (size_t j = 0; j < m->k; j++) theta[2 * pk + j] = log(m->d[j]);
  theta[2 * pk + m->k] = log(m->sigma2);
  return theta;
}

static void take_theta(model *m, const double *theta)
{
  size_t pk = m->p * m->k;
  memcpy(m->w, theta, pk * sizeof *theta);
  memcpy(m->vt, theta + pk, pk * sizeof *theta);
  for (size_t j = 0; j < m->k; j++) m->d[j] = exp(theta[2 * pk + j]);
  m->sigma2 = exp(theta[2 * pk + m->k]);
}

typedef struct { size_t samples; rng_key key; uint32_t epoch; } noise_of;

static const noise_of no_noise = {0, {{0, 0}}, 0};

/* |x - W z|^2 for row i */
static double square_error(const sample *s, size_t i, const model *m, const double *z)
{
  double sum = 0.0;
  for (size_t l = 0; l < s->p; l++) {
    double r = s->x[i + l * s->n];
    for (size_t j = 0; j < m->k; j++) r -= m->w[l + j * s->p] * z[j];
    sum += r * r;
  }
  return sum;
}

/* E|x - W z|^2 over q(z | x) = N(mean, D): in closed form, or over samples. */
static double expected_error(const sample *s, size_t i, const model *m,
                             const noise_of *noise, const double *mean)
{
  size_t k = m->k;
  double z[SMALL], sum = 0.0;
  if (noise->samples == 0) {
    sum = square_error(s, i, m, mean);
    for (size_t l = 0; l < s->p * k; l++) sum += m->w[l] * m->w[l] * m->d[l / s->p];
    return sum;
  }
  for (size_t t = 0; t < noise->samples; t++) {
    rng_normals(noise->key, noise->epoch, (uint32_t) i, (uint32_t) t, k, z, 1);
    for (size_t j = 0; j < k; j++) z[j] = mean[j] + sqrt(m->d[j]) * z[j];
    sum += square_error(s, i, m, z);
  }
  return sum / (double) noise->samples;
}

/* Row i: its expected error, its KL by dimension, its mean. */
static double naive_row(const sample *s, size_t i, const model *m,
                        const noise_of *noise, double *kl, double *mean)
{
  for (size_t j = 0; j < m->k; j++) {
    double d = m->d[j];
    mean[j] = 0.0;
    for (size_t l = 0; l < s->p; l++) mean[j] += m->vt[l + j * s->p] * s->x[i + l * s->n];
    kl[j] = 0.5 * (d + mean[j] * mean[j] - 1.0 - log(d));
  }
  return expected_error(s, i, m, noise, mean);
}

/* Means over the rows listed, or the first `count`; kl_j the KL by dimension. */
static lvae_terms naive_terms(const sample *s, const int *rows, size_t count,
                              const model *m, const noise_of *noise, double *kl_j)
{
  lvae_terms sum = {0.0, 0.0, 0.0};
  double kl[SMALL], mean[SMALL], n = (double) count;
  for (size_t j = 0; kl_j && j < m->k; j++) kl_j[j] = 0.0;
  for (size_t r = 0; r < count; r++) {
    double error = naive_row(s, rows ? (size_t) rows[r] : r, m, noise, kl, mean);
    sum.error += error / n;
    sum.reconstruction -= (0.5 * error / m->sigma2 +
      0.5 * (double) s->p * log(6.283185307179586 * m->sigma2)) / n;
    for (size_t j = 0; j < m->k; j++) {
      sum.kl += kl[j] / n;
      if (kl_j) kl_j[j] += kl[j] / n;
    }
  }
  return sum;
}

static lvae_terms all_rows(const sample *s, const model *m)
{
  return naive_terms(s, NULL, s->n, m, &no_noise, NULL);
}

static double objective_of(lvae_terms t, double beta)
{
  return t.reconstruction - beta * t.kl;
}

static void check_terms(lvae_terms t, lvae_terms expected, double tol)
{
  CHECK_NEAR(t.error, expected.error, tol);
  CHECK_NEAR(t.reconstruction, expected.reconstruction, tol);
  CHECK_NEAR(t.kl, expected.kl, tol);
}

static double loglik_of(const sample *s, const model *m)
{
  return naive_loglik(s->n, s->p, m->k, s->x, m->w, m->sigma2);
}

/* V = (W'W + s I)^-1 W' and D = s / (diag(W'W) + s) */
static void naive_encoder(model *m, double s)
{
  size_t p = m->p, k = m->k;
  double *a = doubles(k * k), *inverse = doubles(k * k);
  cross(k, k, p, m->w, m->w, a);
  for (size_t j = 0; j < k; j++) {
    a[j + j * k] += s;
    m->d[j] = s / a[j + j * k];
  }
  invert(k, a, inverse);
  multiply(p, k, k, m->w, inverse, m->vt);
  free(a);
  free(inverse);
}

/* w = S V' (V S V' + D)^-1 */
static void naive_decoder(const sample *s, const model *m, double *w)
{
  size_t p = m->p, k = m->k;
  double *sv = doubles(p * k), *a = doubles(k * k), *inverse = doubles(k * k);
  multiply(p, k, p, s->s, m->vt, sv);
  cross(k, k, p, m->vt, sv, a);
  for (size_t j = 0; j < k; j++) a[j + j * k] += m->d[j];
  invert(k, a, inverse);
  multiply(p, k, k, sv, inverse, w);
  free(sv);
  free(a);
  free(inverse);
}

/* ---- gradients by differences ------------------------------------------ */

typedef struct {
  const sample *s;
  size_t k;
  const int *rows;
  size_t count;
  double beta;
  noise_of noise;
} problem;

typedef double (*objective)(const problem *, const double *theta);

/* Of W, V', log D, log sigma2 */
static double full_objective(const problem *q, const double *theta)
{
  model m = new_model(q->s->p, q->k);
  take_theta(&m, theta);
  lvae_terms t = naive_terms(q->s, q->rows, q->count, &m, &q->noise, NULL);
  drop_model(&m);
  return objective_of(t, q->beta);
}

/* Of W, log sigma2, with V and D at their best */
static double best_objective(const problem *q, const double *theta)
{
  model m = new_model(q->s->p, q->k);
  memcpy(m.w, theta, m.p * m.k * sizeof *theta);
  m.sigma2 = exp(theta[m.p * m.k]);
  naive_encoder(&m, q->beta * m.sigma2);
  lvae_terms t = naive_terms(q->s, q->rows, q->count, &m, &q->noise, NULL);
  drop_model(&m);
  return objective_of(t, q->beta);
}

static double along(const problem *q, objective f, size_t size, const double *theta,
                    const double *direction, double h)
{
  double *to = doubles(size);
  for (size_t i = 0; i < size; i++) to[i] = theta[i] + h * direction[i];
  double value = f(q, to);
  free(to);
  return value;
}

/* Central differences of fourth order: exact in W and V', up to rounding. */
static double slope(const problem *q, objective f, size_t size, const double *theta,
                    const double *direction, double h)
{
  double at[4];
  for (int i = 0; i < 4; i++)
    at[i] = along(q, f, size, theta, direction, difference_steps[i] * h);
  return difference_of(at, h);
}

/* The first `loadings` numbers (W, or W and V'), then log D if there, and log
 * sigma2: each part to its own scale. */
static void check_slopes(const problem *q, objective f, size_t loadings, size_t size,
                         const double *theta, const double *gradient, int fixed)
{
  double *expected = doubles(size), *unit = doubles(size);
  size_t part[] = {0, q->s->p * q->k, loadings, size - 1};
  for (size_t i = 0; i < size; i++) {
    for (size_t j = 0; j < size; j++) unit[j] = i == j;
    expected[i] = slope(q, f, size, theta, unit, 5e-4);
  }
  for (int i = 0; i < 3; i++)
    CHECK_NEAR(gap(part[i + 1] - part[i], gradient + part[i], expected + part[i]), 0.0, 1e-7);
  if (fixed) CHECK(gradient[size - 1] == 0.0);
  else CHECK_NEAR(gradient[size - 1], expected[size - 1], 1e-7);
  free(expected);
  free(unit);
}

/* ---- terms ------------------------------------------------------------- */

static void check_elbo(size_t n, size_t p, size_t k)
{
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  double *sw = doubles(p * k), *sv = doubles(p * k), *ww = doubles(k * k);
  double *wsv = doubles(k * k), *vsv = doubles(k * k), *wsw = doubles(k * k);
  double *kl = doubles(k), *expected = doubles(k), *work = doubles(2 * k * k), loglik;
  multiply(p, k, p, s.s, m.w, sw);
  multiply(p, k, p, s.s, m.vt, sv);
  cross(k, k, p, m.w, m.w, ww);
  cross(k, k, p, m.w, sv, wsv);
  cross(k, k, p, m.vt, sv, vsv);
  cross(k, k, p, m.w, sw, wsw);
  lvae_moments moments = {ww, wsv, vsv, m.d, m.sigma2, s.trace};
  lvae_terms terms = naive_terms(&s, NULL, n, &m, &no_noise, expected);
  check_terms(lvae_elbo(p, k, &moments, kl), terms, 1e-11);
  check_terms(lvae_elbo(p, k, &moments, NULL), terms, 1e-11);
  for (size_t j = 0; j < k; j++) CHECK_NEAR(kl[j], expected[j], 1e-12);
  CHECK(lvae_loglik(p, k, ww, wsw, m.sigma2, s.trace, &loglik, work) == ELBO_OK);
  CHECK_NEAR(loglik, loglik_of(&s, &m), 1e-11);
  CHECK(objective_of(terms, 1.0) <= loglik + 1e-10 * fabs(loglik));
  free(sw);
  free(sv);
  free(ww);
  free(wsv);
  free(vsv);
  free(wsw);
  free(kl);
  free(expected);
  free(work);
  drop_model(&m);
  drop(&s);
}

static void the_elbo_and_the_likelihood_are_means_over_rows(void)
{
  for (size_t p = 1; p <= 13; p += 3)
    for (size_t k = 1; k <= p; k += 1 + k / 2) {
      check_elbo(20, p, k);
      check_elbo(3, p, k);
      check_elbo(1, p, k);
    }
}

/* Lemma 1's other half: with V and D the exact posterior there is no gap. */
static void the_elbo_touches_the_likelihood(void)
{
  for (size_t k = 1; k <= 6; k++) {
    sample s = new_sample(15, 6, 2, 3.0);
    model m = random_model(6, k);
    for (size_t i = 0; i < 6 * k; i++) m.w[i] = i % 7 == 0 ? 1.0 + (double) i : 0.0;
    naive_encoder(&m, m.sigma2);                 /* W'W is diagonal */
    CHECK_NEAR(objective_of(all_rows(&s, &m), 1.0), loglik_of(&s, &m), 1e-12);
    drop_model(&m);
    drop(&s);
  }
}

static void a_singular_covariance_has_no_likelihood(void)
{
  double zeros[4] = {0}, ww[] = {2.0, 2.0, 2.0, 2.0}, work[8], loglik;
  CHECK(lvae_loglik(3, 2, zeros, zeros, 0.0, 1.0, &loglik, work) == ELBO_NOT_POSITIVE);
  CHECK(lvae_loglik(3, 2, ww, ww, -1.0, 1.0, &loglik, work) == ELBO_NOT_POSITIVE);
  CHECK(lvae_loglik(3, 2, ww, ww, NAN, 1.0, &loglik, work) == ELBO_NOT_POSITIVE);
  ww[1] = ww[0] = NAN;
  CHECK(lvae_loglik(3, 2, ww, zeros, 1.0, 1.0, &loglik, work) == ELBO_NOT_POSITIVE);
}

static void products_with_s_agree(void)
{
  for (size_t p = 1; p <= 17; p += 4) {
    sample s = new_sample(1 + 3 * p, p, 2, 3.0);
    for (size_t b = 1; b <= 5; b++) {
      double *q = normals(p * b, 1.0), *z = doubles(p * b), *expected = doubles(p * b);
      multiply(p, b, p, s.s, q, expected);
      for (int source = 0; source < SOURCES; source++) {
        elbo_data d;
        lvae_cov cov = cov_of(&s, source, &d);
        double *work = doubles(lvae_cov_work(&cov, b));
        for (size_t i = 0; i < p * b; i++) z[i] = NAN;
        lvae_cov_times(&cov, q, b, z, work);
        CHECK_NEAR(gap(p * b, z, expected), 0.0, 1e-11);
        free(work);
      }
      free(q);
      free(z);
      free(expected);
    }
    drop(&s);
  }
}

/* ---- gradients from S -------------------------------------------------- */

static lvae_terms gradient_of(const lvae_cov *cov, const model *m, double trace,
                              double beta, int fix, double *gradient)
{
  double *theta = theta_of(m), *work = doubles(lvae_gradient_work(cov, m->k));
  lvae_terms t = lvae_gradient(cov, m->k, theta, trace, beta, fix, gradient, work);
  free(theta);
  free(work);
  return t;
}

static void check_gradient(size_t n, size_t p, size_t k, double beta)
{
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  size_t size = size_of(p, k);
  double *theta = theta_of(&m), *gradient = doubles(size);
  problem q = {&s, k, NULL, n, beta, no_noise};
  for (int source = 0; source < SOURCES; source++)
    for (int fix = 0; fix < 2; fix++) {
      elbo_data d;
      lvae_cov cov = cov_of(&s, source, &d);
      for (size_t i = 0; i < size; i++) gradient[i] = NAN;
      lvae_terms t = gradient_of(&cov, &m, s.trace, beta, fix, gradient);
      check_terms(t, all_rows(&s, &m), 1e-10);
      check_slopes(&q, full_objective, 2 * p * k, size, theta, gradient, fix);
    }
  free(theta);
  free(gradient);
  drop_model(&m);
  drop(&s);
}

static void gradients_match_differences(void)
{
  static const double betas[] = {1.0, 0.2, 7.0};
  for (size_t p = 1; p <= 9; p += 2)
    for (size_t k = 1; k <= p; k += 1 + k / 2) {
      check_gradient(12, p, k, betas[p % 3]);
      check_gradient(2, p, k, betas[k % 3]);
    }
  check_gradient(1100, 4, 2, 0.5);
}

/* ---- gradients over rows ----------------------------------------------- */

static lvae_settings settings(double beta, int fix, size_t batch, const noise_of *noise)
{
  return (lvae_settings) {beta, 0.01, batch, noise->samples, fix, noise->key};
}

static lvae_terms rows_gradient(const elbo_data *d, const model *m, const int *rows,
                                size_t count, double beta, int fix,
                                const noise_of *noise, double *gradient)
{
  double *theta = theta_of(m), *work = doubles(lvae_rows_work(d, m->k));
  lvae_settings set = settings(beta, fix, 1, noise);
  for (size_t i = 0; i < size_of(m->p, m->k); i++) gradient[i] = NAN;
  lvae_terms t = lvae_rows_gradient(d, m->k, theta, rows, count, noise->epoch, &set,
                                    gradient, work);
  free(theta);
  free(work);
  return t;
}

/* `list`: 0 for the first rows, 1 for some in any order, 2 with repetitions. */
static int *new_rows(size_t n, size_t count, int list)
{
  if (list == 0) return NULL;
  if (list == 2) return any_rows(count, n);
  int *rows = ints(n);
  for (size_t i = 0; i < n; i++) rows[i] = (int) i;
  for (size_t i = n; i > 1; i--) {
    size_t j = test_below(i);
    int t = rows[i - 1];
    rows[i - 1] = rows[j];
    rows[j] = t;
  }
  return rows;
}

static void check_rows_gradient(size_t n, size_t p, size_t k, size_t count, int list,
                                double beta, size_t samples)
{
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  size_t size = size_of(p, k);
  int *rows = new_rows(n, count, list);
  double *theta = theta_of(&m), *gradient = doubles(size);
  problem q = {&s, k, rows, count, beta, {samples, {{5, (uint32_t) n}}, 3}};
  for (int kind = DATA_DOUBLE; kind <= DATA_SPARSE; kind++) {
    elbo_data d = data_of(&s, (enum data_kind) kind);
    int fix = (kind + (int) k) % 2;
    lvae_terms t = rows_gradient(&d, &m, rows, count, beta, fix, &q.noise, gradient);
    check_terms(t, naive_terms(&s, rows, count, &m, &q.noise, NULL), 1e-10);
    check_slopes(&q, full_objective, 2 * p * k, size, theta, gradient, fix);
  }
  free(theta);
  free(gradient);
  free(rows);
  drop_model(&m);
  drop(&s);
}

static void row_gradients_match_differences(void)
{
  static const double betas[] = {1.0, 0.2, 7.0};
  for (size_t samples = 0; samples <= 3; samples += 1 + samples / 2)
    for (size_t p = 1; p <= 7; p += 2)
      for (size_t k = 1; k <= p; k += 1 + k / 2)
        for (int list = 0; list < 3; list++)
          check_rows_gradient(10, p, k, 1 + (p + k) % 10, list, betas[(p + k) % 3], samples);
}

/* Rows in three blocks, and lists that end inside one. */
static void row_gradients_over_several_blocks(void)
{
  for (size_t samples = 0; samples <= 2; samples++) {
    check_rows_gradient(1100, 3, 2, 1100, 0, 0.7, samples);
    check_rows_gradient(1100, 3, 2, 700, 0, 1.0, samples);
    check_rows_gradient(1100, 2, 1, 1030, 1, 3.0, samples);
    check_rows_gradient(600, 2, 2, 1500, 2, 1.0, samples);
  }
  check_rows_gradient(1024, 2, 1, 1024, 0, 1.0, 1);        /* blocks without a rest */
  check_rows_gradient(1025, 2, 1, 1025, 1, 1.0, 1);
}

/* So many features that the blocks are smaller: along two directions only. */
static void row_gradients_of_wide_data(void)
{
  const size_t n = 300, p = 2500, k = 2, size = size_of(p, k);
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  for (size_t i = 0; i < p * k; i++) m.vt[i] *= 0.05;
  double *theta = theta_of(&m), *gradient = doubles(size);
  CHECK(data_block_rows(&(elbo_data) {.n = n, .p = p}) < n);
  for (size_t samples = 0; samples <= 1; samples++)
    for (int list = 0; list < 2; list++) {
      elbo_data d = data_of(&s, list ? DATA_SPARSE : DATA_DOUBLE);
      int *rows = new_rows(n, 250, list);
      problem q = {&s, k, rows, 250, 2.0, {samples, {{9, 9}}, 0}};
      lvae_terms t = rows_gradient(&d, &m, rows, 250, 2.0, 0, &q.noise, gradient);
      check_terms(t, naive_terms(&s, rows, 250, &m, &q.noise, NULL), 1e-10);
      for (int which = 0; which < 2; which++) {
        double *direction = which ? normals(size, 0.1) : doubles(size), sum = 0.0;
        double norm = 0.0;
        for (size_t i = 0; i < size; i++) norm += gradient[i] * gradient[i];
        for (size_t i = 0; i < size; i++) {
          if (!which) direction[i] = gradient[i] / sqrt(norm);
          sum += gradient[i] * direction[i];
        }
        CHECK_NEAR(slope(&q, full_objective, size, theta, direction, 5e-4) / sum, 1.0, 1e-7);
        free(direction);
      }
      free(rows);
    }
  free(theta);
  free(gradient);
  drop_model(&m);
  drop(&s);
}

/* The noise belongs to the row: neither the order of the rows nor how they are
 * parted into batches changes their sum. */
static void a_rows_noise_follows_it_into_any_batch(void)
{
  const size_t n = 900, p = 5, k = 3, size = size_of(p, k), cut = 333;
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  elbo_data d = data_of(&s, DATA_INTEGER);
  double *whole = doubles(size), *part[2] = {doubles(size), doubles(size)};
  int *rows = new_rows(n, n, 1);
  for (size_t samples = 0; samples <= 2; samples++) {
    noise_of noise = {samples, {{1, 2}}, 8};
    lvae_terms t[3] = {rows_gradient(&d, &m, NULL, n, 0.6, 0, &noise, whole),
                       rows_gradient(&d, &m, rows, cut, 0.6, 0, &noise, part[0]),
                       rows_gradient(&d, &m, rows + cut, n - cut, 0.6, 0, &noise, part[1])};
    double a = (double) cut / (double) n, b = 1.0 - a;
    for (size_t i = 0; i < size; i++) part[0][i] = a * part[0][i] + b * part[1][i];
    CHECK_NEAR(gap(size, part[0], whole), 0.0, 1e-12);
    CHECK_NEAR(a * t[1].error + b * t[2].error, t[0].error, 1e-12);
    CHECK_NEAR(a * t[1].kl + b * t[2].kl, t[0].kl, 1e-12);
  }
  free(whole);
  free(part[0]);
  free(part[1]);
  free(rows);
  drop_model(&m);
  drop(&s);
}

/* Without samples, over all rows: what S gives. With many: near it. */
static void the_samples_average_to_the_expectation(void)
{
  const size_t n = 8, p = 4, k = 2, size = size_of(p, k);
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  lvae_cov cov = cov_of(&s, 0, NULL);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  double *exact = doubles(size), *gradient = doubles(size);
  lvae_terms t = gradient_of(&cov, &m, s.trace, 1.5, 0, exact);
  check_terms(rows_gradient(&d, &m, NULL, n, 1.5, 0, &no_noise, gradient), t, 1e-11);
  CHECK_NEAR(gap(size, gradient, exact), 0.0, 1e-11);
  noise_of noise = {40000, {{3, 1}}, 0};
  check_terms(rows_gradient(&d, &m, NULL, n, 1.5, 0, &noise, gradient), t, 1e-2);
  CHECK_NEAR(gap(size, gradient, exact), 0.0, 1e-2);
  noise.samples = 1;
  rows_gradient(&d, &m, NULL, n, 1.5, 0, &noise, gradient);
  CHECK(gap(size, gradient, exact) > 1e-3);
  free(exact);
  free(gradient);
  drop_model(&m);
  drop(&s);
}

/* Another epoch, key or sample: another draw. */
static void noise_changes_with_epoch_and_key(void)
{
  sample s = new_sample(6, 4, 2, 3.0);
  model m = random_model(4, 2);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  double *gradient = doubles(size_of(4, 2)), error[5];
  noise_of noise[] = {{1, {{1, 1}}, 0}, {1, {{1, 1}}, 1}, {1, {{2, 1}}, 0},
                      {1, {{1, 2}}, 0}, {2, {{1, 1}}, 0}};
  for (int i = 0; i < 5; i++) {
    error[i] = rows_gradient(&d, &m, NULL, 6, 1.0, 0, &noise[i], gradient).error;
    for (int j = 0; j < i; j++) CHECK(fabs(error[i] - error[j]) > 1e-6);
  }
  CHECK(rows_gradient(&d, &m, NULL, 6, 1.0, 0, &noise[0], gradient).error == error[0]);
  free(gradient);
  drop_model(&m);
  drop(&s);
}

/* ---- profile ----------------------------------------------------------- */

static int profile_of(const lvae_cov *cov, model *m, double trace, double beta,
                      int fix, lvae_terms *terms, double *gradient)
{
  double *space = doubles(lvae_ascend_work(cov, m->k));
  int status = lvae_profile(cov, m->k, m->w, m->sigma2, trace, beta, fix, m->vt, m->d,
                            terms, gradient, space);
  free(space);
  return status;
}

static void check_profile(size_t n, size_t p, size_t k, double beta)
{
  sample s = new_sample(n, p, 2, 3.0);
  model best = random_model(p, k), m = new_model(p, k);
  size_t pk = p * k, full = size_of(p, k);
  double *theta = doubles(pk + 1), *gradient = doubles(pk + 1), *all = doubles(full);
  problem q = {&s, k, NULL, n, beta, no_noise};
  naive_encoder(&best, beta * best.sigma2);
  memcpy(m.w, best.w, pk * sizeof *m.w);
  memcpy(theta, best.w, pk * sizeof *theta);
  m.sigma2 = best.sigma2;
  theta[pk] = log(m.sigma2);
  for (int source = 0; source < SOURCES; source++) {
    elbo_data d;
    lvae_cov cov = cov_of(&s, source, &d);
    lvae_terms terms;
    int fix = (source + (int) p) % 2;
    CHECK(profile_of(&cov, &m, s.trace, beta, fix, &terms, gradient) == ELBO_OK);
    CHECK_NEAR(gap(pk, m.vt, best.vt), 0.0, 1e-10);
    CHECK_NEAR(gap(k, m.d, best.d), 0.0, 1e-12);
    check_terms(terms, all_rows(&s, &best), 1e-10);
    check_slopes(&q, best_objective, pk, pk + 1, theta, gradient, fix);
    gradient_of(&cov, &m, s.trace, beta, fix, all);          /* the envelope */
    CHECK_NEAR(gap(pk, all, gradient), 0.0, 1e-9);
    CHECK_NEAR(all[full - 1], gradient[pk], 1e-9);
    for (size_t i = pk; i < full - 1; i++) CHECK_NEAR(all[i], 0.0, 1e-9);
  }
  free(theta);
  free(gradient);
  free(all);
  drop_model(&best);
  drop_model(&m);
  drop(&s);
}

static void profiles_match_definitions_and_differences(void)
{
  static const double betas[] = {1.0, 0.2, 7.0};
  for (size_t p = 1; p <= 9; p += 2)
    for (size_t k = 1; k <= p; k += 1 + k / 2) {
      check_profile(14, p, k, betas[p % 3]);
      check_profile(2, p, k, betas[k % 3]);
    }
  check_profile(1100, 3, 2, 0.5);
}

/* ---- coordinate ascent ------------------------------------------------- */

typedef struct { double *w, sigma2; lvae_terms terms; } next_round;

static next_round new_round(size_t pk)
{
  return (next_round) {doubles(pk), NAN, {NAN, NAN, NAN}};
}

static int ascend(const lvae_cov *cov, size_t k, const double *w, double sigma2,
                  double trace, double beta, int rotate, int fix, next_round *to)
{
  double *work = doubles(lvae_ascend_work(cov, k));
  int status = lvae_ascend(cov, k, w, sigma2, trace, beta, rotate, fix, to->w,
                           &to->sigma2, &to->terms, work);
  free(work);
  return status;
}

/* One round by the letter: W turned so that W'W is diagonal, V and D, their terms,
 * W+ and its expected error, and W+ turned back. */
static next_round naive_round(const sample *s, size_t k, const double *w, double sigma2,
                              double beta, int rotate)
{
  size_t p = s->p, pk = p * k;
  model m = new_model(p, k);
  double *gram = doubles(k * k), *r = doubles(k * k), *rt = doubles(k * k);
  double *values = doubles(k), *w_next = doubles(pk);
  next_round to = new_round(pk);
  cross(k, k, p, w, w, gram);
  jacobi(k, gram, values, r);
  for (size_t i = 0; i < k * k && !rotate; i++) r[i] = i % (k + 1) == 0;
  for (size_t i = 0; i < k * k; i++) rt[i] = r[i / k + i % k * k];
  multiply(p, k, k, w, r, m.w);
  m.sigma2 = sigma2;
  naive_encoder(&m, beta * sigma2);
  to.terms = all_rows(s, &m);
  naive_decoder(s, &m, w_next);
  memcpy(m.w, w_next, pk * sizeof *w);
  to.sigma2 = all_rows(s, &m).error / (double) p;
  multiply(p, k, k, w_next, rt, to.w);
  free(gram);
  free(r);
  free(rt);
  free(values);
  free(w_next);
  drop_model(&m);
  return to;
}

static void check_round(size_t n, size_t p, size_t k, double beta, int fix)
{
  sample s = new_sample(n, p, 2, 3.0);
  double *w = normals(p * k, 1.0), *kept = copy_of(p * k, w);
  double sigma2 = exp(0.5 * test_normal());
  for (int rotate = 0; rotate < 2; rotate++) {
    next_round expected = naive_round(&s, k, w, sigma2, beta, rotate);
    for (int source = 0; source < SOURCES; source++) {
      elbo_data d;
      lvae_cov cov = cov_of(&s, source, &d);
      next_round to = new_round(p * k);
      CHECK(ascend(&cov, k, w, sigma2, s.trace, beta, rotate, fix, &to) == ELBO_OK);
      CHECK(gap(p * k, w, kept) == 0.0);
      CHECK_NEAR(gap(p * k, to.w, expected.w), 0.0, 1e-9);
      check_terms(to.terms, expected.terms, 1e-9);
      if (fix) CHECK(to.sigma2 == sigma2);
      else CHECK(fabs(to.sigma2 - expected.sigma2) <= 1e-11 * s.trace);
      free(to.w);
    }
    free(expected.w);
  }
  free(w);
  free(kept);
  drop(&s);
}

static void a_round_is_what_the_stationary_equations_say(void)
{
  static const double betas[] = {1.0, 0.2, 7.0};
  for (size_t p = 1; p <= 13; p += 3)
    for (size_t k = 1; k <= p; k += 1 + k / 2)
      for (int fix = 0; fix < 2; fix++) {
        check_round(25, p, k, betas[p % 3], fix);
        check_round(3, p, k, betas[k % 3], fix);
        check_round(1, p, k, betas[(p + k) % 3], fix);
      }
  check_round(1100, 4, 2, 0.5, 0);
}

/* W turned first gives W+ turned, if a rotation is asked for, and else another. */
static void the_frame_of_a_rotated_round_is_the_callers(void)
{
  const size_t p = 7, k = 3;
  sample s = new_sample(30, p, 3, 3.0);
  lvae_cov cov = cov_of(&s, 0, NULL);
  double *w = normals(p * k, 1.0), *turned = doubles(p * k), *expected = doubles(p * k);
  double q[] = {0.6, 0.8, 0.0, -0.8, 0.6, 0.0, 0.0, 0.0, 1.0}, value[2];
  multiply(p, k, k, w, q, turned);
  for (int rotate = 0; rotate < 2; rotate++) {
    next_round a = new_round(p * k), b = new_round(p * k);
    CHECK(ascend(&cov, k, w, 0.8, s.trace, 1.3, rotate, 0, &a) == ELBO_OK);
    CHECK(ascend(&cov, k, turned, 0.8, s.trace, 1.3, rotate, 0, &b) == ELBO_OK);
    multiply(p, k, k, a.w, q, expected);
    value[rotate] = objective_of(a.terms, 1.3);
    CHECK((gap(p * k, b.w, expected) < 1e-11) == rotate);
    CHECK((fabs(b.sigma2 - a.sigma2) < 1e-12) == rotate);
    CHECK((fabs(b.terms.kl - a.terms.kl) < 1e-11) == rotate);
    free(a.w);
    free(b.w);
  }
  CHECK(value[1] > value[0]);                    /* as Theorem 1's proof has it */
  free(w);
  free(turned);
  free(expected);
  drop(&s);
}

/* An encoder with the full posterior covariance has no gap: with beta = 1 the terms
 * of a rotated round make the likelihood itself. */
static void a_rotated_round_has_the_likelihood(void)
{
  for (size_t k = 1; k <= 6; k++) {
    sample s = new_sample(15, 6, 2, 3.0);
    model m = random_model(6, k);
    lvae_cov cov = cov_of(&s, 0, NULL);
    next_round to = new_round(6 * k);
    CHECK(ascend(&cov, k, m.w, m.sigma2, s.trace, 1.0, 1, 0, &to) == ELBO_OK);
    CHECK_NEAR(objective_of(to.terms, 1.0), loglik_of(&s, &m), 1e-11);
    free(to.w);
    drop_model(&m);
    drop(&s);
  }
}

/* W'W is singular and s small against it, as with k above the rank of the data:
 * M^-1 (W'SW) M^-1 would multiply the rounding of W'SW by s^-2. */
static void loadings_of_low_rank_keep_their_digits(void)
{
  const size_t n = 3, p = 8, k = 4;
  sample s = new_sample(n, p, 2, 3.0);
  lvae_cov cov = cov_of(&s, 0, NULL);
  for (double sigma2 = 0.1; sigma2 > 5e-6; sigma2 /= 10.0)
    for (int rotate = 0; rotate < 2; rotate++) {
      double *w = normals(p * k, 1.0);
      for (int round = 0; round < 4; round++) {
        next_round expected = naive_round(&s, k, w, sigma2, 1.0, rotate);
        next_round to = new_round(p * k);
        CHECK(ascend(&cov, k, w, sigma2, s.trace, 1.0, rotate, 0, &to) == ELBO_OK);
        CHECK_NEAR(gap(p * k, to.w, expected.w), 0.0, 1e-14 * s.trace / sigma2);
        CHECK_NEAR(to.sigma2 / expected.sigma2, 1.0, 1e-5);
        memcpy(w, expected.w, p * k * sizeof *w);
        free(expected.w);
        free(to.w);
      }
      free(w);
    }
  drop(&s);
}

static void check_monotone(const sample *s, size_t k, double sigma2, double beta,
                           int fix, int rotate)
{
  size_t p = s->p;
  lvae_cov cov = cov_of(s, 0, NULL);
  next_round to = new_round(p * k);
  double *w = normals(p * k, 1.0), last = -INFINITY;
  for (int round = 0; round < 60; round++) {
    CHECK(ascend(&cov, k, w, sigma2, s->trace, beta, rotate, fix, &to) == ELBO_OK);
    double value = objective_of(to.terms, beta);
    CHECK(value >= last - 1e-12 * fabs(last));
    last = value;
    memcpy(w, to.w, p * k * sizeof *w);
    sigma2 = to.sigma2;
  }
  free(w);
  free(to.w);
}

/* With a noise variance that is learned, or far too small, or far too large. */
static void rounds_never_lose(void)
{
  static const double betas[] = {1.0, 0.3, 5.0};
  for (size_t n = 12; n <= 50; n += 38)
    for (int b = 0; b < 3; b++)
      for (size_t k = 1; k <= 5; k += 2) {
        sample s = new_sample(n, 9, 3, 3.0);
        for (int rotate = 0; rotate < 2; rotate++) {
          check_monotone(&s, k, 1.0, betas[b], 0, rotate);
          check_monotone(&s, k, 0.02, betas[b], 1, rotate);
          check_monotone(&s, k, 9.0, betas[b], 1, rotate);
        }
        drop(&s);
      }
}

/* ---- the optimum ------------------------------------------------------- */

/* tr S - sum of max(0, values - beta sigma2) - p sigma2 */
static double residual_noise(const double *values, size_t k, size_t p, double trace,
                             double beta, double sigma2)
{
  double f = trace - (double) p * sigma2;
  for (size_t j = 0; j < k; j++)
    if (values[j] > beta * sigma2) f -= values[j] - beta * sigma2;
  return f;
}

/* Its last root: a concave function that is not below 0 at 0 and below 0 in the
 * end is so from there on. `slack`: what counts as 0. */
static double bisect_noise(const double *values, size_t k, size_t p, double trace,
                           double beta, double slack)
{
  double low = 0.0, high = 2.0 * trace / (double) p;
  for (int step = 0; step < 200; step++) {
    double middle = 0.5 * (low + high);
    if (residual_noise(values, k, p, trace, beta, middle) >= -slack) low = middle;
    else high = middle;
  }
  return low;
}

typedef struct { double *lambda, *u; } spectrum;

static spectrum new_spectrum(const sample *s)
{
  spectrum e = {doubles(s->p), doubles(s->p * s->p)};
  jacobi(s->p, s->s, e.lambda, e.u);
  return e;
}

static void drop_spectrum(spectrum *e)
{
  free(e->lambda);
  free(e->u);
}

/* W = U (Lambda - s)^(1/2), V = Lambda^-1 W', D = s Lambda^-1 where lambda > s;
 * the rest collapsed. */
static model closed_form(const spectrum *e, size_t p, size_t k, double beta, double sigma2)
{
  model m = new_model(p, k);
  double s = beta * sigma2;
  m.sigma2 = sigma2;
  for (size_t j = 0; j < k; j++) {
    int used = e->lambda[j] > s;
    m.d[j] = used ? s / e->lambda[j] : 1.0;
    for (size_t i = j * p; i < (j + 1) * p; i++) {
      m.w[i] = used ? e->u[i] * sqrt(e->lambda[j] - s) : 0.0;
      m.vt[i] = used ? m.w[i] / e->lambda[j] : 0.0;
    }
  }
  return m;
}

static double optimal_noise(const sample *s, const spectrum *e, size_t k, double beta)
{
  return bisect_noise(e->lambda, k, s->p, s->trace, beta, 0.0);
}

/* A round from the closed form, or from it turned, stays there; the gradients are 0
 * there; and with beta = 1 the ELBO is the likelihood (Lemma 1). */
static void check_fixed_point(const sample *s, size_t k, double beta, double fixed)
{
  size_t p = s->p, pk = p * k, size = size_of(p, k);
  spectrum e = new_spectrum(s);
  double sigma2 = fixed > 0.0 ? fixed : optimal_noise(s, &e, k, beta);
  model m = closed_form(&e, p, k, beta, sigma2), again = new_model(p, k);
  double *gradient = doubles(size), *turned = copy_of(pk, m.w);
  lvae_terms terms = all_rows(s, &m), t;
  lvae_cov cov = cov_of(s, 0, NULL);
  if (k > 1) turn(p, turned, turned + p, 1, 0.6, 0.8);
  for (int rotate = 0; rotate < 3; rotate++) {
    const double *w = rotate == 2 ? turned : m.w;
    next_round to = new_round(pk);
    CHECK(ascend(&cov, k, w, sigma2, s->trace, beta, rotate > 0, fixed > 0.0, &to) == ELBO_OK);
    CHECK_NEAR(gap(pk, to.w, w), 0.0, 1e-9);
    CHECK_NEAR(to.sigma2 / sigma2, 1.0, 1e-9);
    CHECK_NEAR(objective_of(to.terms, beta), objective_of(terms, beta), 1e-11);
    free(to.w);
  }
  check_terms(gradient_of(&cov, &m, s->trace, beta, fixed > 0.0, gradient), terms, 1e-10);
  for (size_t i = 0; i < size; i++) CHECK_NEAR(gradient[i], 0.0, 1e-8);
  memcpy(again.w, m.w, pk * sizeof *m.w);
  again.sigma2 = sigma2;
  CHECK(profile_of(&cov, &again, s->trace, beta, fixed > 0.0, &t, gradient) == ELBO_OK);
  check_terms(t, terms, 1e-10);
  CHECK_NEAR(gap(pk, again.vt, m.vt), 0.0, 1e-9);
  CHECK_NEAR(gap(k, again.d, m.d), 0.0, 1e-9);
  for (size_t i = 0; i <= pk; i++) CHECK_NEAR(gradient[i], 0.0, 1e-8);
  if (beta == 1.0) CHECK_NEAR(objective_of(terms, 1.0), loglik_of(s, &m), 1e-11);
  free(gradient);
  free(turned);
  drop_model(&m);
  drop_model(&again);
  drop_spectrum(&e);
}

static void the_closed_form_is_a_fixed_point(void)
{
  static const double betas[] = {1.0, 0.3, 2.5, 40.0};
  for (size_t p = 2; p <= 10; p += 2)
    for (size_t k = 1; k < p; k += 1 + k / 2)
      for (int b = 0; b < 4; b++) {
        sample s = new_sample(40, p, 2, 3.0);
        check_fixed_point(&s, k, betas[b], -1.0);
        check_fixed_point(&s, k, betas[b], 0.05);
        check_fixed_point(&s, k, betas[b], 0.6);
        drop(&s);
      }
}

/* From random loadings, whatever they are, to the global maximum; and nothing on
 * the way is above it. Without rotations the loadings turn slowly. */
static void check_climb(const sample *s, size_t k, double beta, double fixed, int rotate)
{
  size_t p = s->p;
  spectrum e = new_spectrum(s);
  double best_sigma2 = fixed > 0.0 ? fixed : optimal_noise(s, &e, k, beta);
  model m = closed_form(&e, p, k, beta, best_sigma2);
  double best = objective_of(all_rows(s, &m), beta), value = -INFINITY;
  double *w = normals(p * k, 1.0), sigma2 = fixed > 0.0 ? fixed : 1.0;
  lvae_cov cov = cov_of(s, 0, NULL);
  next_round to = new_round(p * k);
  for (int round = 0; round < 3000; round++) {
    CHECK(ascend(&cov, k, w, sigma2, s->trace, beta, rotate, fixed > 0.0, &to) == ELBO_OK);
    value = objective_of(to.terms, beta);
    if (round % 100 == 0) CHECK(value <= best + 1e-10 * fabs(best));
    memcpy(w, to.w, p * k * sizeof *w);
    sigma2 = to.sigma2;
  }
  CHECK_NEAR(value, best, rotate ? 1e-9 : 1e-4);
  CHECK_NEAR(sigma2 / best_sigma2, 1.0, rotate ? 1e-5 : 1e-2);
  free(w);
  free(to.w);
  drop_model(&m);
  drop_spectrum(&e);
}

static void rounds_reach_the_global_maximum(void)
{
  static const double betas[] = {1.0, 0.3, 3.0, 60.0};
  for (int b = 0; b < 4; b++)
    for (size_t k = 1; k <= 4; k++) {
      sample s = new_sample(50, 7, 3, 3.0);
      for (int rotate = 0; rotate < 2; rotate++) {
        check_climb(&s, k, betas[b], -1.0, rotate);
        check_climb(&s, k, betas[b], 0.4, rotate);
      }
      drop(&s);
    }
}

/* ---- inputs without an answer ------------------------------------------ */

static void rounds_without_an_answer_say_so(void)
{
  const size_t p = 4, k = 2;
  sample s = new_sample(20, p, 2, 3.0);
  double *zero = normals(p * p, 0.0), *w = normals(p * k, 1.0), *odd = doubles(p * p);
  double gradient[9];
  lvae_terms terms;
  lvae_cov cov = cov_of(&s, 0, NULL), none = {zero, NULL, p}, nan = {odd, NULL, p};
  for (int rotate = 0; rotate < 2; rotate++) {
    next_round to = new_round(p * k);
    CHECK(ascend(&cov, k, w, 1.0, s.trace, 1.0, rotate, 0, &to) == ELBO_OK);
    /* no noise and no loadings: W'W + s I is singular */
    CHECK(ascend(&cov, k, zero, 0.0, s.trace, 1.0, rotate, 0, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&cov, k, zero, 0.0, s.trace, 1.0, rotate, 1, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&cov, k, w, -1e3, s.trace, 1.0, rotate, 1, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&cov, k, w, NAN, s.trace, 1.0, rotate, 1, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&cov, k, w, 1.0, s.trace, NAN, rotate, 0, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&cov, k, odd, 1.0, s.trace, 1.0, rotate, 0, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&nan, k, w, 1.0, s.trace, 1.0, rotate, 0, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&cov, k, w, 1.0, NAN, 1.0, rotate, 0, &to) == ELBO_NOT_POSITIVE);
    /* no data: no noise is left, unless it is given */
    CHECK(ascend(&none, k, w, 1.0, 0.0, 1.0, rotate, 0, &to) == ELBO_NOT_POSITIVE);
    CHECK(ascend(&none, k, w, 1.0, 0.0, 1.0, rotate, 1, &to) == ELBO_OK);
    CHECK(gap(p * k, to.w, zero) == 0.0 && to.sigma2 == 1.0);
    /* no loadings: a saddle, where they stay */
    CHECK(ascend(&cov, k, zero, 1.0, s.trace, 1.0, rotate, 0, &to) == ELBO_OK);
    CHECK(gap(p * k, to.w, zero) == 0.0 && to.terms.kl == 0.0);
    CHECK_NEAR(to.sigma2, s.trace / (double) p, 1e-14);
    free(to.w);
  }
  model m = {p, k, zero, w, doubles(k), 0.0};
  CHECK(profile_of(&cov, &m, s.trace, 1.0, 0, &terms, gradient) == ELBO_NOT_POSITIVE);
  m.sigma2 = NAN;
  CHECK(profile_of(&cov, &m, s.trace, 1.0, 0, &terms, gradient) == ELBO_NOT_POSITIVE);
  m.w = odd;
  m.sigma2 = 1.0;
  CHECK(profile_of(&cov, &m, s.trace, 1.0, 0, &terms, gradient) == ELBO_NOT_POSITIVE);
  free(m.d);
  free(zero);
  free(w);
  free(odd);
  drop(&s);
}

/* As many dimensions as the data have: the noise falls, and a round says when none
 * is left. */
static void rounds_may_run_out_of_noise(void)
{
  const size_t n = 3, p = 6, k = 3;
  sample s = new_sample(n, p, 2, 3.0);
  lvae_cov cov = cov_of(&s, 0, NULL);
  double *w = normals(p * k, 1.0), sigma2 = 1.0;
  for (int rotate = 0; rotate < 2; rotate++) {
    next_round to = new_round(p * k);
    int status = ELBO_OK;
    for (int round = 0; round < 3000 && status == ELBO_OK; round++) {
      status = ascend(&cov, k, w, sigma2, s.trace, 1.0, rotate, 0, &to);
      CHECK(status == ELBO_OK || status == ELBO_NOT_POSITIVE);
      if (status != ELBO_OK) break;
      CHECK(to.sigma2 > 0.0);
      memcpy(w, to.w, p * k * sizeof *w);
      sigma2 = to.sigma2;
    }
    CHECK(status == ELBO_NOT_POSITIVE || sigma2 < 1e-12 * s.trace);
    free(to.w);
    free(w);
    w = normals(p * k, 1.0);
    sigma2 = 1.0;
  }
  free(w);
  drop(&s);
}

/* ---- noise ------------------------------------------------------------- */

static const double noise_betas[] = {0.125, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 32.0};
enum { NOISE_BETAS = sizeof noise_betas / sizeof *noise_betas };

static void check_noise(const double *values, size_t k, size_t p, double trace)
{
  for (int b = 0; b < NOISE_BETAS; b++) {
    double beta = noise_betas[b], noise = lvae_noise(values, k, p, trace, beta);
    double root = bisect_noise(values, k, p, trace, beta, 1e-13 * trace);
    CHECK(noise >= 0.0);
    CHECK(fabs(noise - root) <= 1e-10 * trace);
    CHECK(fabs(residual_noise(values, k, p, trace, beta, noise)) <= 1e-12 * trace);
  }
}

/* Decreasing; `ties`: whole numbers of few values, in eighths. */
static double *new_values(size_t k, int ties)
{
  double *values = doubles(k);
  for (size_t j = 0; j < k; j++)
    values[j] = ties ? (double) (1 + test_below(4)) / 8.0 : exp(2.0 * test_normal());
  qsort(values, k, sizeof *values, descending);
  return values;
}

/* The p - k other eigenvalues: none, all equal to the last, or below it. */
static void noises_match_bisection(void)
{
  for (size_t p = 1; p <= 12; p++)
    for (size_t k = 1; k <= p; k++)
      for (int round = 0; round < 6; round++) {
        int ties = round % 2;
        double *values = new_values(k, ties), known = 0.0;
        double most = (double) (p - k) * values[k - 1];
        for (size_t j = 0; j < k; j++) known += values[j];
        if (k < p || ties) {
          check_noise(values, k, p, known + most);
          check_noise(values, k, p, known + most * test_uniform());
          check_noise(values, k, p, known + most * 1e-8);
        }
        if (ties) check_noise(values, k, p, known);        /* nothing is left over */
        free(values);
      }
}

static void check_known_noise(const double *values, size_t k, size_t p, double trace,
                              double beta, double expected)
{
  CHECK_NEAR(lvae_noise(values, k, p, trace, beta), expected, 1e-15);
}

static void noises_known_by_hand(void)
{
  static const double tied[] = {2.0, 2.0, 2.0}, apart[] = {8.0, 4.0, 1.0};
  static const double zeros[] = {0.0, 0.0}, mixed[] = {3.0, 0.0, 0.0};
  check_known_noise(apart, 3, 6, 16.0, 1.0, 1.0);          /* 3 left, on 3 */
  check_known_noise(apart, 2, 6, 16.0, 1.0, 1.0);          /* 4 left, on 4 */
  check_known_noise(apart, 2, 6, 16.0, 2.0, 2.0);          /* on 6 - 2 x 2 */
  check_known_noise(apart, 3, 6, 16.0, 0.5, 3.0 / 4.5);
  check_known_noise(apart, 3, 6, 16.0, 100.0, 16.0 / 6.0); /* all collapsed */
  check_known_noise(apart, 3, 6, 16.0, 3.0, 16.0 / 6.0);   /* 8 = beta sigma2 */
  check_known_noise(apart, 3, 3, 13.0, 0.5, 0.0);          /* none left */
  check_known_noise(apart, 3, 9, 13.0, 1.0, 0.0);
  check_known_noise(apart, 3, 3, 13.0, 8.0, 13.0 / 3.0);   /* beta k > p */
  check_known_noise(apart, 3, 4, 13.0, 2.0, 2.5);          /* no residue, beta k > p */
  check_known_noise(tied, 3, 5, 10.0, 1.0, 2.0);           /* S = 2 I */
  check_known_noise(tied, 3, 5, 10.0, 1.5, 2.0);
  check_known_noise(tied, 3, 3, 6.0, 4.0, 2.0);
  check_known_noise(tied, 3, 8, 8.0, 2.0, 1.0);            /* tied at beta sigma2 */
  check_known_noise(zeros, 2, 3, 0.0, 1.0, 0.0);
  check_known_noise(zeros, 2, 3, 0.0, 4.0, 0.0);
  check_known_noise(mixed, 3, 4, 3.0, 1.0, 0.0);
  check_known_noise(mixed, 3, 4, 3.0, 16.0, 0.75);
  check_known_noise(mixed, 3, 4, 4.0, 1e-310, 0.25);       /* p / beta overflows */
  check_known_noise(mixed, 3, 4, 4.0, 1e300, 1.0);
}

/* Rounding may leave the trace just below the sum of the values. */
static void a_residue_of_rounding_is_no_noise(void)
{
  static const double values[] = {0.1, 0.1, 0.1};
  for (int b = 0; b < NOISE_BETAS; b++)
    for (size_t p = 3; p <= 9; p += 3)
      for (double off = -4e-16; off <= 4e-16; off += 1e-16) {
        double noise = lvae_noise(values, 3, p, 0.3 + off, noise_betas[b]);
        double root = bisect_noise(values, 3, p, 0.3, noise_betas[b], 1e-15);
        CHECK(noise >= 0.0 && isfinite(noise));
        /* where beta k = p every noise up to the root is as good */
        if (noise_betas[b] * 3.0 != (double) p) CHECK(fabs(noise - root) < 1e-13);
        else CHECK(noise <= root + 1e-13);
      }
}

/* The best objective at a noise variance, by the terms of the rows. */
static double objective_at(const sample *s, const spectrum *e, size_t k, double beta,
                           double sigma2)
{
  model m = closed_form(e, s->p, k, beta, sigma2);
  double value = objective_of(all_rows(s, &m), beta);
  drop_model(&m);
  return value;
}

static void no_other_noise_is_better(void)
{
  for (size_t p = 2; p <= 8; p += 2)
    for (size_t k = 1; k <= p; k += 1 + k / 2)
      for (int b = 0; b < NOISE_BETAS; b++) {
        double beta = noise_betas[b];
        if (k == p && beta <= 1.0) continue;     /* without a bound, or a maximum */
        sample s = new_sample(30, p, 2, 3.0);
        spectrum e = new_spectrum(&s);
        double noise = lvae_noise(e.lambda, k, p, s.trace, beta);
        double best = objective_at(&s, &e, k, beta, noise), next;
        CHECK(noise > 0.0);
        for (double by = 0.01; by < 120.0; by *= 1.3) {
          next = objective_at(&s, &e, k, beta, noise * by);
          CHECK(next <= best + 1e-12 * fabs(best));
        }
        next = fmax(objective_at(&s, &e, k, beta, noise * 0.999),
                    objective_at(&s, &e, k, beta, noise * 1.001));
        CHECK(next < best);
        drop_spectrum(&e);
        drop(&s);
      }
}

/* ---- observations ------------------------------------------------------ */

static void check_observe(size_t n, size_t p, size_t k, size_t samples)
{
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  noise_of noise = {samples, {{77, (uint32_t) k}}, 0};
  double *expected = doubles(n), *expected_kl = doubles(n), *expected_mean = doubles(n * k);
  double *error = doubles(n), *kl = doubles(n), *mean = doubles(n * k), by[SMALL], at[SMALL];
  for (size_t i = 0; i < n; i++) {
    expected[i] = naive_row(&s, i, &m, &noise, by, at);
    expected_kl[i] = 0.0;
    for (size_t j = 0; j < k; j++) {
      expected_kl[i] += by[j];
      expected_mean[i + j * n] = at[j];
    }
  }
  for (int kind = DATA_DOUBLE; kind <= DATA_SPARSE; kind++) {
    elbo_data d = data_of(&s, (enum data_kind) kind);
    double *work = doubles(lvae_rows_work(&d, k));
    for (size_t i = 0; i < n; i++) error[i] = kl[i] = NAN;
    for (size_t i = 0; i < n * k; i++) mean[i] = NAN;
    lvae_observe(&d, k, m.w, m.vt, m.d, samples, noise.key, error, kl, mean, work);
    for (size_t i = 0; i < n; i++) {
      CHECK_NEAR(error[i], expected[i], 1e-11);
      CHECK_NEAR(kl[i], expected_kl[i], 1e-11);
    }
    CHECK_NEAR(gap(n * k, mean, expected_mean), 0.0, 1e-11);
    free(work);
  }
  free(expected);
  free(expected_kl);
  free(expected_mean);
  free(error);
  free(kl);
  free(mean);
  drop_model(&m);
  drop(&s);
}

static void observations_match_rows_one_by_one(void)
{
  for (size_t samples = 0; samples <= 3; samples++) {
    for (size_t p = 1; p <= 9; p += 4)
      for (size_t k = 1; k <= p; k += 1 + k / 2) {
        check_observe(1, p, k, samples);
        check_observe(17, p, k, samples);
      }
    check_observe(1100, 3, 2, samples);
    check_observe(512, 2, 1, samples);
    check_observe(513, 2, 1, samples);
  }
}

/* The blocks of wide data are smaller; the means are those of the gradient. */
static void observations_agree_with_the_gradient(void)
{
  static const size_t shapes[][3] = {{300, 2500, 2}, {700, 6, 4}};
  for (int shape = 0; shape < 2; shape++)
    for (size_t samples = 0; samples <= 2; samples += 2) {
      size_t n = shapes[shape][0], p = shapes[shape][1], k = shapes[shape][2];
      sample s = new_sample(n, p, 2, 3.0);
      model m = random_model(p, k);
      elbo_data d = data_of(&s, DATA_SPARSE);
      noise_of noise = {samples, {{4, 4}}, 0};
      double *gradient = doubles(size_of(p, k)), *work = doubles(lvae_rows_work(&d, k));
      double *error = doubles(n), *kl = doubles(n), *mean = doubles(n * k);
      double error_mean = 0.0, kl_mean = 0.0;
      lvae_observe(&d, k, m.w, m.vt, m.d, samples, noise.key, error, kl, mean, work);
      lvae_terms t = rows_gradient(&d, &m, NULL, n, 1.0, 0, &noise, gradient);
      for (size_t i = 0; i < n; i++) {
        error_mean += error[i] / (double) n;
        kl_mean += kl[i] / (double) n;
      }
      CHECK_NEAR(error_mean / t.error, 1.0, 1e-12);
      CHECK_NEAR(kl_mean / t.kl, 1.0, 1e-12);
      free(gradient);
      free(work);
      free(error);
      free(kl);
      free(mean);
      drop_model(&m);
      drop(&s);
    }
}

static void observed_samples_average_to_the_expectation(void)
{
  const size_t n = 4, p = 5, k = 2;
  sample s = new_sample(n, p, 2, 3.0);
  model m = random_model(p, k);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  double error[2][4], kl[2][4], mean[2][8], *work = doubles(lvae_rows_work(&d, k));
  for (size_t i = 0; i < 2; i++)
    lvae_observe(&d, k, m.w, m.vt, m.d, i * 40000, (rng_key) {{8, 1}}, error[i], kl[i],
                 mean[i], work);
  CHECK_NEAR(gap(n, error[1], error[0]), 0.0, 0.02);
  CHECK(gap(n, error[1], error[0]) > 0.0);
  CHECK(gap(n, kl[1], kl[0]) == 0.0 && gap(n * k, mean[1], mean[0]) == 0.0);
  free(work);
  drop_model(&m);
  drop(&s);
}

/* ---- epochs ------------------------------------------------------------ */

typedef struct { double *theta, *m, *v; adam_state adam; } learner;

static learner new_learner(const model *from)
{
  size_t size = size_of(from->p, from->k);
  learner a = {theta_of(from), normals(size, 0.0), normals(size, 0.0), {0}};
  a.adam = (adam_state) {a.m, a.v, 0.0};
  return a;
}

static void drop_learner(learner *a)
{
  free(a->theta);
  free(a->m);
  free(a->v);
}

static lvae_terms run_epoch(const elbo_data *d, size_t k, uint32_t epoch,
                            const lvae_settings *set, learner *a)
{
  double *work = doubles(lvae_epoch_work(d, k, set->batch));
  int *order = ints(lvae_epoch_iwork(d));
  lvae_terms t = lvae_epoch(d, k, epoch, set, a->theta, &a->adam, work, order);
  free(work);
  free(order);
  return t;
}

/* The same, a batch at a time; one batch of all rows takes them as they come. */
static lvae_terms step_by_step(const elbo_data *d, size_t k, uint32_t epoch,
                               const lvae_settings *set, learner *a)
{
  size_t size = size_of(d->p, k), n = d->n;
  double *gradient = doubles(size), *work = doubles(lvae_rows_work(d, k));
  int *order = ints(n);
  lvae_terms sum = {0.0, 0.0, 0.0};
  rng_permutation(set->key, epoch, n, order);
  for (size_t done = 0; done < n;) {
    size_t count = set->batch < n - done ? set->batch : n - done;
    const int *rows = set->batch >= n ? NULL : order + done;
    lvae_terms t = lvae_rows_gradient(d, k, a->theta, rows, count, epoch, set, gradient,
                                      work);
    adam_climb(size, a->theta, gradient, set->learning_rate, &a->adam);
    sum.error += t.error * (double) count;
    sum.reconstruction += t.reconstruction * (double) count;
    sum.kl += t.kl * (double) count;
    done += count;
  }
  free(gradient);
  free(work);
  free(order);
  return (lvae_terms) {sum.error / (double) n, sum.reconstruction / (double) n,
                       sum.kl / (double) n};
}

static void check_epochs(const sample *s, enum data_kind kind, size_t k, size_t batch,
                         size_t samples, int fix)
{
  elbo_data d = data_of(s, kind);
  model from = random_model(s->p, k);
  learner a = new_learner(&from), b = new_learner(&from), again = new_learner(&from);
  noise_of noise = {samples, {{31, 41}}, 0};
  lvae_settings set = settings(0.8, fix, batch, &noise);
  size_t size = size_of(s->p, k), steps = (s->n + batch - 1) / batch;
  for (uint32_t epoch = 5; epoch < 8; epoch++) {
    lvae_terms t = run_epoch(&d, k, epoch, &set, &a);
    check_terms(t, step_by_step(&d, k, epoch, &set, &b), 1e-12);
    lvae_terms same = run_epoch(&d, k, epoch, &set, &again);
    CHECK(memcmp(&t, &same, sizeof t) == 0);
  }
  CHECK(gap(size, a.theta, b.theta) == 0.0 && gap(size, a.theta, again.theta) == 0.0);
  CHECK(gap(size, a.m, b.m) == 0.0 && gap(size, a.v, b.v) == 0.0);
  CHECK(gap(size, a.m, again.m) == 0.0 && gap(size, a.v, again.v) == 0.0);
  CHECK(a.adam.steps == 3.0 * (double) steps && again.adam.steps == a.adam.steps);
  CHECK((a.theta[size - 1] == log(from.sigma2)) == fix);
  drop_model(&from);
  drop_learner(&a);
  drop_learner(&b);
  drop_learner(&again);
}

/* Batches of one row, with a rest and without, of all rows and of more. */
static void an_epoch_is_its_batches(void)
{
  static const size_t batches[] = {1, 4, 7, 12, 23, 24, 25, 1000};
  sample s = new_sample(24, 5, 2, 3.0), one = new_sample(1, 3, 1, 3.0);
  for (int b = 0; b < 8; b++)
    for (size_t samples = 0; samples <= 2; samples++)
      for (int kind = DATA_DOUBLE; kind <= DATA_SPARSE; kind++) {
        check_epochs(&s, (enum data_kind) kind, 1 + (size_t) kind, batches[b], samples, b % 2);
        check_epochs(&one, (enum data_kind) kind, 2, batches[b], samples, b % 2);
      }
  drop(&s);
  drop(&one);
  s = new_sample(1300, 3, 2, 3.0);
  for (size_t batch = 100; batch < 2000; batch += 500)
    check_epochs(&s, DATA_INTEGER, 2, batch, batch / 100 % 3, 0);
  drop(&s);
  s = new_sample(9000, 1000, 1, 3.0);             /* more than are gathered at once */
  check_epochs(&s, DATA_DOUBLE, 1, 700, 1, 0);
  drop(&s);
}

/* The terms are each batch's own: with no learning, those of all rows. */
static void the_terms_of_an_epoch_are_means_over_rows(void)
{
  const size_t n = 50, p = 4, k = 2;
  sample s = new_sample(n, p, 2, 3.0);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  model from = random_model(p, k);
  for (size_t batch = 1; batch < 70; batch += 13)
    for (size_t samples = 0; samples <= 2; samples++) {
      learner a = new_learner(&from);
      noise_of noise = {samples, {{6, 28}}, 12};
      lvae_settings set = settings(0.8, 0, batch, &noise);
      set.learning_rate = 0.0;
      lvae_terms t = run_epoch(&d, k, 12, &set, &a);
      check_terms(t, naive_terms(&s, NULL, n, &from, &noise, NULL), 1e-11);
      drop_learner(&a);
    }
  drop_model(&from);
  drop(&s);
}

/* The order of the rows belongs to the epoch and to the key. */
static void epochs_differ(void)
{
  sample s = new_sample(24, 5, 2, 3.0);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  model from = random_model(5, 2);
  learner a[3];
  for (uint32_t i = 0; i < 3; i++) {
    noise_of noise = {0, {{1 + i / 2, 1}}, 0};
    lvae_settings set = settings(1.0, 0, 6, &noise);
    a[i] = new_learner(&from);
    run_epoch(&d, 2, i % 2, &set, &a[i]);
    for (uint32_t j = 0; j < i; j++)
      CHECK(gap(size_of(5, 2), a[i].theta, a[j].theta) > 1e-6);
  }
  for (int i = 0; i < 3; i++) drop_learner(&a[i]);
  drop_model(&from);
  drop(&s);
}

/* Adam by batches, with and without samples, comes near the maximum. */
static void epochs_climb(void)
{
  const size_t p = 5, k = 2;
  sample s = new_sample(60, p, 2, 3.0);
  spectrum e = new_spectrum(&s);
  elbo_data d = data_of(&s, DATA_DOUBLE);
  model best = closed_form(&e, p, k, 1.0, optimal_noise(&s, &e, k, 1.0));
  double most = objective_of(all_rows(&s, &best), 1.0);
  for (size_t samples = 0; samples <= 1; samples++) {
    model m = random_model(p, k);
    learner a = new_learner(&m);
    noise_of noise = {samples, {{1, 1}}, 0};
    lvae_settings set = settings(1.0, 0, 20, &noise);
    for (uint32_t epoch = 0; epoch < 1500; epoch++) {
      set.learning_rate = 0.02 * pow(0.997, epoch);
      run_epoch(&d, k, epoch, &set, &a);
    }
    take_theta(&m, a.theta);
    double reached = objective_of(all_rows(&s, &m), 1.0);
    CHECK(reached <= most + 1e-10);
    CHECK(reached > most - 0.02);
    drop_learner(&a);
    drop_model(&m);
  }
  drop_model(&best);
  drop_spectrum(&e);
  drop(&s);
}

TEST_MAIN(products_are_our_own,
          the_elbo_and_the_likelihood_are_means_over_rows, the_elbo_touches_the_likelihood,
          a_singular_covariance_has_no_likelihood, products_with_s_agree,
          gradients_match_differences, row_gradients_match_differences,
          row_gradients_over_several_blocks, row_gradients_of_wide_data,
          a_rows_noise_follows_it_into_any_batch, the_samples_average_to_the_expectation,
          noise_changes_with_epoch_and_key, profiles_match_definitions_and_differences,
          a_round_is_what_the_stationary_equations_say,
          the_frame_of_a_rotated_round_is_the_callers, a_rotated_round_has_the_likelihood,
          loadings_of_low_rank_keep_their_digits, rounds_never_lose,
          the_closed_form_is_a_fixed_point, rounds_reach_the_global_maximum,
          rounds_without_an_answer_say_so, rounds_may_run_out_of_noise,
          noises_match_bisection, noises_known_by_hand, a_residue_of_rounding_is_no_noise,
          no_other_noise_is_better, observations_match_rows_one_by_one,
          observations_agree_with_the_gradient, observed_samples_average_to_the_expectation,
          an_epoch_is_its_batches, the_terms_of_an_epoch_are_means_over_rows, epochs_differ,
          epochs_climb)
