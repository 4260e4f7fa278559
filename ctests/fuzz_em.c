/* Random data and loadings through plain and accelerated EM maps. */
#include "test.h"

#include "data.h"
#include "em.h"
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

static void try_steps(const elbo_data *d, size_t k, int wild)
{
  size_t p = d->p;
  double *w = draws(p * k, wild), *w_new = doubles(p * k), *ss = doubles(p);
  double *work = doubles(em_step_work(d, k)), trace = 0.0, loglik, next;
  double sigma2 = fabs(draw(wild)) + 1e-3, fixed = test_below(2) ? -1.0 : sigma2;
  data_squares(d, ss);
  for (size_t j = 0; j < p; j++) trace += ss[j] / (double) d->n;
  for (int map = 0; map < 4; map++) {
    int status = em_step(d, k, w, sigma2, trace, fixed, w_new, &next, &loglik, work);
    CHECK(status == ELBO_OK || status == ELBO_NOT_POSITIVE);
    if (status != ELBO_OK) break;
    CHECK(next > 0.0 || isnan(next));
    CHECK(wild > 0 || (all_finite(p * k, w_new) && isfinite(loglik)));
    memcpy(w, w_new, p * k * sizeof *w);
    sigma2 = next;
  }
  free(w);
  free(w_new);
  free(ss);
  free(work);
}

static em_subspace new_subspace(size_t p, size_t k)
{
  return (em_subspace) {k, 0, doubles(p * k), doubles(p * k), doubles(p * k),
                        doubles(p * k), doubles(k)};
}

static void drop_subspace(em_subspace *e)
{
  free(e->u);
  free(e->su);
  free(e->step);
  free(e->sstep);
  free(e->values);
}

static void try_ritz(const elbo_data *d, size_t k, int wild)
{
  size_t p = d->p, work, iwork;
  double *w = draws(p * k, wild);
  em_subspace e[2] = {new_subspace(p, k), new_subspace(p, k)};
  CHECK(em_ritz_work(d, k, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  int status = em_ritz_start(d, w, &e[0], space, ispace);
  CHECK(status == ELBO_OK || (wild > 0 && status == ELBO_LAPACK));
  for (int map = 0; map < 6 && status == ELBO_OK; map++) {
    const em_subspace *to = &e[!(map % 2)];
    status = em_ritz_step(d, &e[map % 2], &e[!(map % 2)], space, ispace);
    CHECK(status == ELBO_OK || (wild > 0 && status == ELBO_LAPACK));
    CHECK(status != ELBO_OK || to->c <= k);
    CHECK(wild > 0 || (all_finite(k, to->values) && all_finite(p * k, to->u) &&
                       all_finite(p * to->c, to->step)));
  }
  free(w);
  drop_subspace(&e[0]);
  drop_subspace(&e[1]);
  free(space);
  free(ispace);
}

static void any_data(void)
{
  for (long i = test_iterations(1000); i > 0; i--) {
    int wild = (int) test_below(4);
    size_t n = draw_size(1), p = n > 1000 ? 2 + test_below(5) : 2 + test_below(40);
    size_t k = 1 + test_below(p - 1);
    input s = new_input(n, p, test_below(2) ? 0.0 : test_uniform(), wild);
    try_steps(&s.d, k, wild);
    try_ritz(&s.d, k, wild);
    drop(&s);
  }
}

TEST_MAIN(any_data)
