/* Random data through each route of the closed form, and what follows from the
 * eigenpairs; canonical loadings of anything. */
#include "test.h"

#include "data.h"
#include "ppca.h"
#include "status.h"

static double *doubles(size_t n)
{
  double *x = malloc(n * sizeof *x);
  if (!x && n) abort();
  return x;
}

static int *ints(size_t n)
{
  int *x = malloc(n * sizeof *x);
  if (!x && n) abort();
  return x;
}

static int all_finite(size_t n, const double *x)
{
  for (size_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return 0;
  return 1;
}

/* What a cell may hold: how far from ordinary numbers, 0 to 3. */
static double draw(int wild)
{
  static const double odd[] = {
    0.0, -0.0, 1.0, -1.0, 5e-324, -2e-310, 2.2250738585072014e-308, 1e-150,
    -1e-150, 1e150, -1e150, 1e300, -1.7976931348623157e308, 4503599627370497.0};
  static const double worse[] = {INFINITY, -INFINITY, NAN};
  size_t what = test_below(16);
  if (wild > 0 && what < 2) return exp(40.0 * test_normal());
  if (wild > 1 && what < 4) return odd[test_below(sizeof odd / sizeof *odd)];
  if (wild > 2 && what < 5) return worse[test_below(3)];
  return what < 9 ? test_normal() : floor(3.0 * test_normal());
}

static double *draws(size_t n, int wild)
{
  double *x = doubles(n);
  for (size_t i = 0; i < n; i++) x[i] = draw(wild);
  return x;
}

/* ---- data of any kind, shape and content ------------------------------- */

typedef struct {
  double *value, *mu, *unit;
  int *ivalue, *row, *start;
  elbo_data d;
} input;

static void fill_sparse(input *s, size_t n, size_t p, double missing, int wild)
{
  double share = test_below(3) == 0 ? (double) test_below(2) : test_uniform();
  size_t stored = 0;
  unsigned char *keep = malloc(n * p);
  for (size_t i = 0; i < n * p; i++) stored += keep[i] = test_uniform() <= share;
  s->value = doubles(stored);
  s->row = ints(stored);
  s->start = ints(p + 1);
  stored = 0;
  s->start[0] = 0;
  for (size_t j = 0; j < p; j++) {
    for (size_t i = 0; i < n; i++) {
      if (!keep[i + j * n]) continue;
      s->row[stored] = (int) i;
      s->value[stored++] = test_uniform() < missing ? NAN : draw(wild);
    }
    s->start[j + 1] = (int) stored;
  }
  free(keep);
}

static input new_input(size_t n, size_t p, double missing, int wild)
{
  input s = {.mu = draws(p, wild), .unit = draws(p, wild)};
  enum data_kind kind = (enum data_kind) test_below(3);
  for (size_t j = 0; j < p; j++)
    if (wild < 3) s.unit[j] = fabs(s.unit[j]) + 1e-3;
  if (kind == DATA_SPARSE) {
    fill_sparse(&s, n, p, missing, wild);
  } else if (kind == DATA_DOUBLE) {
    s.value = draws(n * p, wild);
    for (size_t i = 0; i < n * p; i++)
      if (test_uniform() < missing) s.value[i] = NAN;
  } else {
    s.ivalue = ints(n * p);
    for (size_t i = 0; i < n * p; i++)
      s.ivalue[i] = test_uniform() < missing ? DATA_MISSING_INT
        : wild > 0 && test_below(4) == 0 ? (int) test_below(2147483648u)
        : (int) test_below(9) - 4;
  }
  s.d = (elbo_data) {kind, n, p, s.value, s.ivalue, s.row, s.start, s.mu, s.unit,
                     NULL};
  return s;
}

static void drop(input *s)
{
  free(s->value);
  free(s->mu);
  free(s->unit);
  free(s->ivalue);
  free(s->row);
  free(s->start);
}

/* Sizes are small, but now and then large enough for several blocks. */
static size_t draw_size(size_t least)
{
  size_t what = test_below(100);
  return least + (what < 2 ? test_below(9000) : what < 60 ? test_below(9) : test_below(60));
}

/* ---- entry points ------------------------------------------------------ */

/* From eigenpairs to parameters, with and without a fixed noise variance. */
static void try_parameters(const double *values, const double *u, size_t k,
                           size_t p, double trace, int wild)
{
  double *w = doubles(p * k), sigma2 = -1.0;
  double fixed = test_below(2) ? -1.0 : fabs(draw(wild)) + 1e-6;
  size_t used = ppca_noise(values, k, p, trace, fixed, &sigma2);
  double loglik = ppca_loglik(values, used, p, trace, sigma2);
  ppca_loadings(values, u, k, p, used, sigma2, w);
  CHECK(used <= k);
  if (wild == 0) {
    CHECK(sigma2 >= 0.0 && all_finite(p * k, w));
    CHECK(isfinite(loglik) || !(sigma2 > 1e-12 * trace));
  }
  free(w);
}

static void try_route(const elbo_data *d, size_t k, enum ppca_route route,
                      int wild)
{
  size_t n = d->n, p = d->p, work, iwork, products;
  size_t known = route == PPCA_COVARIANCE ? p : route == PPCA_GRAM ? n : k;
  double *values = doubles(known), *u = doubles(p * k), *xu = doubles(n * k);
  double trace = 0.0, residual;
  CHECK(ppca_eigen_work(d, k, route, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  int status = ppca_eigen(d, k, route, values, u, xu, &trace, &products,
                          &residual, space, ispace);
  CHECK(status >= ELBO_OK && status <= ELBO_LAPACK);
  if (wild == 0) {
    CHECK(status == ELBO_OK || (route == PPCA_KRYLOV && status == ELBO_NOT_CONVERGED));
    CHECK(all_finite(known, values) && all_finite(p * k, u) && all_finite(n * k, xu));
  }
  if (status <= ELBO_NOT_CONVERGED && k < p) try_parameters(values, u, k, p, trace, wild);
  free(values);
  free(u);
  free(xu);
  free(space);
  free(ispace);
}

static void try_canonical(int wild)
{
  size_t p = 1 + test_below(30), k = 1 + test_below(p), work, iwork;
  double *w = draws(p * k, wild);
  CHECK(ppca_canonical_work(p, k, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  int status = ppca_canonical(p, k, w, space, ispace);
  CHECK(status == ELBO_OK || (wild > 0 && status == ELBO_LAPACK));
  CHECK(wild > 0 || all_finite(p * k, w));
  free(w);
  free(space);
  free(ispace);
}

static void any_data(void)
{
  for (long i = test_iterations(600); i > 0; i--) {
    int wild = (int) test_below(4);
    size_t n = draw_size(1), p = n > 1000 ? 1 + test_below(5) : 1 + test_below(70);
    size_t m = n < p ? n : p, k = 1 + test_below(m < 9 ? m : 9);
    input s = new_input(n, p, test_below(2) ? 0.0 : test_uniform(), wild);
    if (test_below(20) == 0) k = m;
    try_route(&s.d, k, PPCA_COVARIANCE, wild);
    if (n < 200) try_route(&s.d, k, PPCA_GRAM, wild);
    if (m >= 40 + 3 * k) try_route(&s.d, k, PPCA_KRYLOV, wild);
    try_canonical(wild);
    drop(&s);
  }
}

TEST_MAIN(any_data)
