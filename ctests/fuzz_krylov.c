/* Random operators, not all of them symmetric or finite, under any settings that
 * the contract allows; and bases of random, extreme and dependent columns. */
#include "random_data.h"
#include "krylov.h"
#include "linalg.h"
#include "reference.h"
#include "status.h"

/* ---- leading pairs ----------------------------------------------------- */

typedef struct { size_t p, calls; double *a; int poison; } matrix;

static void times(void *context, const double *q, size_t b, double *z)
{
  matrix *m = context;
  m->calls++;
  la_gemm('N', 'N', m->p, b, m->p, 1.0, m->a, m->p, q, m->p, 0.0, z, m->p);
  if (m->poison && m->calls == 3) z[test_below(m->p * b)] = NAN;
}

static void slow(void *context) { (void) context; }

/* Low rank, full rank, diagonal or any other; B B' or not even symmetric. */
static void draw_matrix(matrix *m, int wild)
{
  size_t p = m->p, rank = test_below(3) ? test_below(p + 1) : test_below(4);
  double *b = draws(p * rank, wild);
  if (test_below(8) == 0) {
    for (size_t i = 0; i < p * p; i++) m->a[i] = draw(wild);
  } else if (test_below(4) == 0 || rank == 0) {
    for (size_t i = 0; i < p * p; i++) m->a[i] = 0.0;
    for (size_t i = 0; i < rank; i++) m->a[i * (p + 1)] = fabs(b[i]);
  } else {
    la_syrk('N', p, rank, 1.0, b, p, 0.0, m->a, p);
    la_mirror(p, m->a, p);
  }
  free(b);
}

static void try_top(int wild)
{
  size_t p = 4 + test_below(60), b = 1 + test_below(p / 4), work, iwork;
  size_t k = 1 + test_below(p - 3 * b), least = k + 2 * b, products = 0;
  krylov_settings set = {k, b, least + test_below(p - b - least + 1),
                         1 + test_below(600), pow(10.0, -1.0 - (double) test_below(14))};
  matrix m = {p, 0, doubles(p * p), wild == 3 && test_below(4) == 0};
  krylov_operator op = {.p = p, .times = times, .context = &m};
  double *values = doubles(k), *vectors = doubles(p * k), residual = -1.0;
  draw_matrix(&m, wild);
  if (test_below(2)) op.slow = slow;
  CHECK(krylov_work(p, &set, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  int status = krylov_top(&op, &set, values, vectors, &products, &residual, space, ispace);
  CHECK(status >= ELBO_OK && status <= ELBO_LAPACK);
  CHECK(products <= set.products + set.dim + b);
  if (wild == 0) {
    CHECK(status != ELBO_LAPACK && residual >= 0.0);
    CHECK(all_finite(k, values) && all_finite(p * k, vectors));
  }
  free(m.a);
  free(values);
  free(vectors);
  free(space);
  free(ispace);
}

/* ---- bases ------------------------------------------------------------- */

static void try_orthonormalise(int wild)
{
  size_t p = 1 + test_below(40), m = test_below(p + 1), b = test_below(p - m + 1);
  double *basis = draws(p * (m + b), 0), *x = basis + p * m;
  double *work = doubles(krylov_orthonormalise_work(0, m));
  CHECK(krylov_orthonormalise(p, 0, m, basis, work) == ELBO_OK);
  free(work);
  for (size_t j = 0; j < b; j++) {
    size_t what = test_below(8), other = test_below(m + j + 1);
    for (size_t i = 0; i < p; i++) {
      x[i + j * p] = draw(wild);
      if (what == 0) x[i + j * p] = 0.0;
      if (what < 4 && other < m + j) x[i + j * p] = basis[i + other * p];
      if (what == 3) x[i + j * p] += 1e-12 * test_normal();
    }
  }
  work = doubles(krylov_orthonormalise_work(m, b));
  int status = krylov_orthonormalise(p, m, b, basis, work);
  CHECK(status == ELBO_OK || (wild == 3 && status == ELBO_LAPACK));
  if (wild < 3) CHECK(skew(p, m + b, basis) < 1e-12);
  free(basis);
  free(work);
}

static void any_operator(void)
{
  for (long i = test_iterations(1500); i > 0; i--) {
    try_top((int) test_below(4));
    try_orthonormalise((int) test_below(4));
  }
}

TEST_MAIN(products_are_our_own, any_operator)
