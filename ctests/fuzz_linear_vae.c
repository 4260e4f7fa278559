/* Random data and parameters through every entry of the linear VAE, of Adam and of
 * the random numbers. Statuses must stay in range, and ordinary numbers must give
 * finite ones. */
#include "random_data.h"
#include "linalg.h"
#include "linear_vae.h"
#include "status.h"

typedef struct {
  const elbo_data *d;
  lvae_cov cov;
  size_t k;
  double trace, beta, sigma2;
  int wild;
} task;

static int finite_terms(lvae_terms t)
{
  return isfinite(t.error) && isfinite(t.reconstruction) && isfinite(t.kl);
}

static size_t size_of(const task *t)
{
  return 2 * t->d->p * t->k + t->k + 1;
}

static double positive(int wild)
{
  double x = fabs(draw(wild));
  return wild == 3 && test_below(9) == 0 ? draw(3) : x + 1e-3;
}

/* A covariance matrix of q: the diagonal. */
static double *draw_d(const task *t)
{
  double *d = doubles(t->k);
  for (size_t j = 0; j < t->k; j++) d[j] = positive(t->wild);
  return d;
}

/* Log variances of ordinary size where the rest is ordinary. */
static double *draw_theta(const task *t)
{
  size_t size = size_of(t);
  double *theta = draws(size, t->wild);
  for (size_t i = size - t->k - 1; i < size && t->wild == 0; i++) theta[i] = test_normal();
  return theta;
}

/* ---- from S ------------------------------------------------------------ */

static void try_products(const task *t)
{
  size_t p = t->d->p, b = 1 + test_below(4);
  double *q = draws(p * b, t->wild), *z = doubles(p * b);
  double *work = doubles(lvae_cov_work(&t->cov, b));
  lvae_cov_times(&t->cov, q, b, z, work);
  CHECK(t->wild > 0 || all_finite(p * b, z));
  free(q);
  free(z);
  free(work);
}

/* The k x k ingredients of anything, and those of actual loadings. */
static void try_terms(const task *t)
{
  size_t p = t->d->p, k = t->k, kk = k * k;
  double *ww = draws(kk, t->wild), *wsw = draws(kk, t->wild), *wsv = draws(kk, t->wild);
  double *vsv = draws(kk, t->wild), *d = draw_d(t), *kl = doubles(k);
  double *work = doubles(2 * kk), *w = draws(p * k, t->wild), loglik = NAN;
  lvae_moments m = {ww, wsv, vsv, d, t->sigma2, t->trace};
  lvae_terms terms = lvae_elbo(p, k, &m, test_below(2) ? kl : NULL);
  CHECK(t->wild > 0 || finite_terms(terms));
  int status = lvae_loglik(p, k, ww, wsw, t->sigma2, t->trace, &loglik, work);
  CHECK(status == ELBO_OK || status == ELBO_NOT_POSITIVE);
  la_gemm('T', 'N', k, k, p, 1.0, w, p, w, p, 0.0, ww, k);
  status = lvae_loglik(p, k, ww, wsw, t->sigma2, t->trace, &loglik, work);
  CHECK(status == ELBO_OK || (t->wild > 0 && status == ELBO_NOT_POSITIVE));
  CHECK(t->wild > 0 || isfinite(loglik));
  free(ww);
  free(wsw);
  free(wsv);
  free(vsv);
  free(d);
  free(kl);
  free(work);
  free(w);
}

static void try_gradient(const task *t)
{
  size_t size = size_of(t);
  double *theta = draw_theta(t), *gradient = doubles(size);
  double *work = doubles(lvae_gradient_work(&t->cov, t->k));
  lvae_terms terms = lvae_gradient(&t->cov, t->k, theta, t->trace, t->beta,
                                   (int) test_below(2), gradient, work);
  CHECK(t->wild > 0 || (finite_terms(terms) && all_finite(size, gradient)));
  free(theta);
  free(gradient);
  free(work);
}

static void try_profile(const task *t)
{
  size_t p = t->d->p, k = t->k;
  double *w = draws(p * k, t->wild), *vt = doubles(p * k), *d = doubles(k);
  double *gradient = doubles(p * k + 1), *work = doubles(lvae_ascend_work(&t->cov, k));
  lvae_terms terms = {NAN, NAN, NAN};
  int status = lvae_profile(&t->cov, k, w, t->sigma2, t->trace, t->beta,
                            (int) test_below(2), vt, d, &terms, gradient, work);
  CHECK(status == ELBO_OK || (t->wild > 0 && status == ELBO_NOT_POSITIVE));
  CHECK(t->wild > 0 || (finite_terms(terms) && all_finite(p * k, vt) &&
                        all_finite(k, d) && all_finite(p * k + 1, gradient)));
  free(w);
  free(vt);
  free(d);
  free(gradient);
  free(work);
}

/* A few rounds: noise may run out where k reaches the rank of the data. */
static void try_rounds(const task *t)
{
  size_t pk = t->d->p * t->k;
  int rotate = (int) test_below(2), fix = (int) test_below(2);
  double *w = draws(pk, t->wild), *next = doubles(pk), sigma2 = t->sigma2;
  double *work = doubles(lvae_ascend_work(&t->cov, t->k)), last = -INFINITY;
  for (int round = 0; round < 4; round++) {
    /* noise far below the data: rounding has the word */
    int fair = t->wild == 0 && t->beta * sigma2 > 1e-8 * t->trace;
    lvae_terms terms = {NAN, NAN, NAN};
    double sigma2_next = NAN;
    int status = lvae_ascend(&t->cov, t->k, w, sigma2, t->trace, t->beta, rotate, fix,
                             next, &sigma2_next, &terms, work);
    CHECK(status == ELBO_OK || status == ELBO_NOT_POSITIVE);
    CHECK(status == ELBO_OK || !fair || !fix);
    if (status != ELBO_OK) break;
    double value = terms.reconstruction - t->beta * terms.kl;
    CHECK(sigma2_next > 0.0);
    CHECK(t->wild > 0 || (finite_terms(terms) && all_finite(pk, next)));
    CHECK(t->wild > 0 || isfinite(sigma2_next));
    CHECK(!fair || value >= last - 1e-7 * fabs(last));
    last = fair ? value : -INFINITY;
    memcpy(w, next, pk * sizeof *w);
    sigma2 = sigma2_next;
  }
  free(w);
  free(next);
  free(work);
}

static void try_noise(int wild)
{
  size_t k = test_below(12), p = k + test_below(4) + (k == 0);
  double *values = draws(k, wild), trace = 0.0, beta = positive(wild);
  for (size_t j = 0; j < k; j++) trace += values[j] = fabs(values[j]);
  if (wild < 3) qsort(values, k, sizeof *values, descending);
  if (test_below(2)) trace += positive(wild);
  double noise = lvae_noise(values, k, p, trace, beta);
  CHECK(noise >= 0.0);
  CHECK(wild > 0 || noise <= trace / (double) p * (1.0 + 1e-12));
  free(values);
}

/* ---- over rows --------------------------------------------------------- */

static lvae_settings draw_settings(const task *t)
{
  size_t n = t->d->n, batch = n > 500 ? n / (1 + test_below(4)) : 1 + test_below(n + 3);
  return (lvae_settings) {t->beta, positive(t->wild) / 100.0, batch, test_below(3),
                          (int) test_below(2),
                          {{(uint32_t) test_bits(), (uint32_t) test_bits()}}};
}

static void try_rows(const task *t)
{
  size_t size = size_of(t), n = t->d->n, count = 1 + test_below(n);
  lvae_settings set = draw_settings(t);
  double *theta = draw_theta(t), *gradient = doubles(size);
  double *work = doubles(lvae_rows_work(t->d, t->k));
  int *rows = NULL;
  if (test_below(2)) {
    count = 1 + test_below(2 * n);
    rows = any_rows(count, n);
  }
  lvae_terms terms = lvae_rows_gradient(t->d, t->k, theta, rows, count,
                                        (uint32_t) test_bits(), &set, gradient, work);
  CHECK(t->wild > 0 || (finite_terms(terms) && all_finite(size, gradient)));
  CHECK(!set.fix_sigma2 || gradient[size - 1] == 0.0);
  free(theta);
  free(gradient);
  free(work);
  free(rows);
}

static void try_epochs(const task *t)
{
  size_t size = size_of(t), n = t->d->n;
  lvae_settings set = draw_settings(t);
  double *theta = draw_theta(t), *m = doubles(size), *v = doubles(size);
  double *work = doubles(lvae_epoch_work(t->d, t->k, set.batch));
  int *order = ints(lvae_epoch_iwork(t->d));
  adam_state adam = {m, v, 0.0};
  for (size_t i = 0; i < size; i++) m[i] = v[i] = 0.0;
  for (uint32_t epoch = 0; epoch < 2; epoch++) {
    lvae_terms terms = lvae_epoch(t->d, t->k, epoch, &set, theta, &adam, work, order);
    CHECK(t->wild > 0 || (finite_terms(terms) && all_finite(size, theta)));
  }
  CHECK(adam.steps == 2.0 * (double) ((n + set.batch - 1) / set.batch));
  free(theta);
  free(m);
  free(v);
  free(work);
  free(order);
}

static void try_observe(const task *t)
{
  size_t n = t->d->n, p = t->d->p, k = t->k, bad = 0;
  double *w = draws(p * k, t->wild), *vt = draws(p * k, t->wild), *d = draw_d(t);
  double *error = doubles(n), *kl = doubles(n), *mean = doubles(n * k);
  double *work = doubles(lvae_rows_work(t->d, k));
  rng_key key = {{(uint32_t) test_bits(), (uint32_t) test_bits()}};
  lvae_observe(t->d, k, w, vt, d, test_below(3), key, error, kl, mean, work);
  for (size_t i = 0; i < n && t->wild == 0; i++)
    bad += !(error[i] >= 0.0 && kl[i] >= -1e-12 && isfinite(error[i]) && isfinite(kl[i]));
  CHECK(bad == 0);
  CHECK(t->wild > 0 || all_finite(n * k, mean));
  free(w);
  free(vt);
  free(d);
  free(error);
  free(kl);
  free(mean);
  free(work);
}

/* ---- random numbers, and Adam alone ------------------------------------ */

static void try_random_numbers(void)
{
  rng_key key = {{(uint32_t) test_bits(), (uint32_t) test_bits()}};
  size_t count = test_below(40), stride = 1 + test_below(5), n = draw_size(0), bad = 0;
  size_t size = span(1, count, stride);
  double *z = doubles(size);
  int *order = ints(n);
  rng_normals(key, (uint32_t) test_bits(), (uint32_t) test_bits(), (uint32_t) test_bits(),
              count, z, stride);
  for (size_t i = 0; i < size; i++)
    bad += i % stride ? !isnan(z[i]) : !(fabs(z[i]) < 9.0);
  rng_permutation(key, (uint32_t) test_bits(), n, order);
  for (size_t i = 0; i < n; i++) bad += order[i] < 0 || (size_t) order[i] >= n;
  CHECK(bad == 0);
  free(z);
  free(order);
}

static void try_adam(int wild)
{
  size_t count = test_below(20);
  double *theta = draws(count, wild), *gradient = draws(count, wild);
  double *m = draws(count, wild), *v = draws(count, wild), rate = positive(wild);
  for (size_t i = 0; i < count; i++) v[i] = fabs(v[i]);
  adam_state state = {m, v, floor(fabs(draw(wild)))};
  adam_climb(count, theta, gradient, rate, &state);
  CHECK(wild > 0 || (all_finite(count, theta) && all_finite(count, m)));
  free(theta);
  free(gradient);
  free(m);
  free(v);
}

/* ---- all of it --------------------------------------------------------- */

/* Once with the data as the source of S, once with S itself. */
static void try_data(const elbo_data *d, size_t k, int wild)
{
  size_t p = d->p;
  double *s = doubles(p * p), *work = doubles(data_covariance_work(d));
  task t = {d, {NULL, d, p}, k, trace_of(d), positive(wild), positive(wild), wild};
  data_covariance(d, s, work);
  la_mirror(p, s, p);
  CHECK(wild > 0 || all_finite(p * p, s));
  for (int source = 0; source < 2; source++) {
    try_products(&t);
    try_gradient(&t);
    try_profile(&t);
    try_rounds(&t);
    t.cov = (lvae_cov) {s, NULL, p};
  }
  try_terms(&t);
  try_rows(&t);
  try_epochs(&t);
  try_observe(&t);
  free(s);
  free(work);
}

static void any_data(void)
{
  for (long i = test_iterations(800); i > 0; i--) {
    int wild = (int) test_below(4);
    size_t n = draw_size(1), p = n > 1000 ? 1 + test_below(5) : 1 + test_below(40);
    size_t k = 1 + test_below(test_below(3) ? (p + 3) / 4 : p);
    input s = new_input(n, p, test_below(2) ? 0.0 : test_uniform(), wild);
    try_data(&s.d, k, wild);
    try_noise(wild);
    try_random_numbers();
    try_adam(wild);
    drop(&s);
  }
}

TEST_MAIN(products_are_our_own, any_data)
