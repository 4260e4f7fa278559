/* krylov against matrices whose spectrum is known because they are made from
 * it: A = Q diag(values) Q' with Q a product of plane rotations. */
#include "arrays.h"
#include "krylov.h"
#include "reference.h"
#include "status.h"

/* ---- matrices with a known spectrum ------------------------------------ */

typedef struct {
  size_t p, calls, warnings;
  double *a, *values;         /* p x p, and its eigenvalues, decreasing */
} matrix;

static void times(void *context, const double *q, size_t b, double *z)
{
  matrix *m = context;
  m->calls += b;
  multiply(m->p, b, m->p, m->a, q, z);
}

static void slow(void *context)
{
  matrix *m = context;
  m->warnings++;
}

/* A = G A G' for a rotation in the plane of axes r and s */
static void rotate(matrix *m, size_t r, size_t s, double angle)
{
  size_t p = m->p;
  turn(p, m->a + r * p, m->a + s * p, 1, cos(angle), sin(angle));
  turn(p, m->a + r, m->a + s, p, cos(angle), sin(angle));
}

/* Takes `values`, p of them and decreasing. */
static matrix new_matrix(size_t p, double *values, int rotations)
{
  matrix m = {p, 0, 0, doubles(p * p), values};
  for (size_t i = 0; i < p * p; i++) m.a[i] = 0.0;
  for (size_t i = 0; i < p; i++) m.a[i + i * p] = values[i];
  for (int t = 0; t < rotations; t++)
    for (size_t r = 0; r < p; r++) {
      size_t s = test_below(p);
      if (s != r) rotate(&m, r, s, 6.3 * test_uniform());
    }
  for (size_t j = 0; j < p; j++)               /* rounding left it uneven */
    for (size_t i = 0; i < j; i++) m.a[i + j * p] = m.a[j + i * p];
  return m;
}

static void drop(matrix *m)
{
  free(m->a);
  free(m->values);
}

/* ---- leading pairs ----------------------------------------------------- */

typedef struct { int status; size_t products; double residual; } outcome;

/* Solves; true residuals and angles are checked whatever the status. */
static outcome solve(matrix *m, const krylov_settings *set, double *values,
                     double *vectors)
{
  size_t p = m->p, k = set->k, work, iwork;
  krylov_operator op = {.p = p, .times = times, .slow = slow, .context = m};
  outcome out;
  CHECK(krylov_work(p, set, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  m->calls = 0;
  out.status = krylov_top(&op, set, values, vectors, &out.products,
                          &out.residual, space, ispace);
  CHECK(out.products == m->calls);
  CHECK_NEAR(skew(p, k, vectors), 0.0, 1e-12);
  free(space);
  free(ispace);
  return out;
}

static double true_residual(matrix *m, size_t k, const double *values,
                            const double *vectors)
{
  size_t p = m->p;
  double *z = doubles(p * k), worst = 0.0;
  times(m, vectors, k, z);
  for (size_t j = 0; j < k; j++) {
    double sum = 0.0;
    for (size_t i = 0; i < p; i++) {
      double r = z[i + j * p] - values[j] * vectors[i + j * p];
      sum += r * r;
    }
    worst = fmax(worst, sqrt(sum));
  }
  free(z);
  return worst;
}

static void check_top(matrix *m, const krylov_settings *set, double tol)
{
  size_t k = set->k;
  double *values = doubles(k), *vectors = doubles(m->p * k), top = m->values[0];
  outcome out = solve(m, set, values, vectors);
  CHECK(out.status == ELBO_OK);
  CHECK(out.residual <= set->tol);
  CHECK_NEAR(gap(k, values, m->values), 0.0, tol);
  CHECK(true_residual(m, k, values, vectors) <= 1e-10 * top);
  for (size_t j = 1; j < k; j++) CHECK(values[j] <= values[j - 1]);
  free(values);
  free(vectors);
}

static double *spectrum(size_t p, double (*of)(size_t, size_t))
{
  double *values = doubles(p);
  for (size_t j = 0; j < p; j++) values[j] = of(j, p);
  return values;
}

static double even(size_t j, size_t p) { return (double) (p - j); }
static double geometric(size_t j, size_t p) { (void) p; return pow(0.9, (double) j); }
static double steep(size_t j, size_t p) { (void) p; return pow(10.0, -(double) j); }
static double flat(size_t j, size_t p) { (void) j; (void) p; return 3.0; }
static double none(size_t j, size_t p) { (void) j; (void) p; return 0.0; }
static double one(size_t j, size_t p) { (void) p; return j ? 0.0 : 7.0; }
static double rank_five(size_t j, size_t p) { (void) p; return j < 5 ? 9.0 - (double) j : 0.0; }
static double clustered(size_t j, size_t p) { (void) p; return j < 6 ? 5.0 - 1e-7 * (double) j : 4.0 * pow(0.95, (double) j); }
static double pairs(size_t j, size_t p) { return (double) (p - j / 2 * 2); }
static double threefold(size_t j, size_t p) { (void) p; return pow(0.8, (double) (j / 3)); }
static double spiked(size_t j, size_t p) { (void) p; return j < 3 ? 100.0 : 1.0 + 1e-3 / (double) (j + 1); }
static double noisy(size_t j, size_t p) { return (j < 4 ? 5.0 : 0.0) + 1.0 + (double) (p - j) / (double) p; }

static void leading_pairs_of_known_spectra(void)
{
  static double (*const all[])(size_t, size_t) = {
    even, geometric, steep, flat, none, one, rank_five, clustered, pairs,
    threefold, spiked, noisy};
  static const size_t ranks[] = {1, 3, 8, 20};
  for (size_t a = 0; a < sizeof all / sizeof all[0]; a++)
    for (int r = 0; r < 4; r++)
      for (int rotations = 0; rotations < 4; rotations += 3) {
        size_t k = ranks[r], p = 60 + 4 * k;
        krylov_settings set = krylov_defaults(p, k);
        matrix m = new_matrix(p, spectrum(p, all[a]), rotations);
        CHECK(set.k == k && set.block > 0 && set.tol <= 1e-10);
        CHECK(set.dim >= k + 2 * set.block && set.dim <= p);
        check_top(&m, &set, 1e-11);
        drop(&m);
      }
}

static void defaults_keep_the_contract(void)
{
  for (size_t k = 1; k <= 400; k += 1 + k / 9)
    for (size_t p = 40 + 3 * k; p < 30000; p += 1 + p / 7) {
      krylov_settings s = krylov_defaults(p, k);
      CHECK(s.block >= 1 && s.dim >= k + 2 * s.block && s.dim <= p);
      CHECK(s.products >= s.dim);
    }
}

/* k-th and next eigenvalue closer than any iteration can tell apart: the
 * values are right all the same. */
static void a_tiny_gap_behind_the_last_pair(void)
{
  static const double gaps[] = {1e-3, 1e-6, 1e-9, 1e-12, 0.0};
  for (int g = 0; g < 5; g++) {
    size_t k = 5, p = 120;
    double *values = spectrum(p, geometric);
    for (size_t j = k; j < p; j++) values[j] *= (1.0 - gaps[g]) / 0.9;
    krylov_settings set = krylov_defaults(p, k);
    matrix m = new_matrix(p, values, 2);
    check_top(&m, &set, 1e-11);
    drop(&m);
  }
}

/* Copies of the largest eigenvalue before a slow decay, as many as a block can
 * see at once, and any number of them before nothing at all. */
/* Also more often than a block is wide, and with a decay behind the copies that
 * lets the pairs settle before all copies are seen. */
static void an_eigenvalue_may_repeat(void)
{
  static const size_t ks[] = {12, 20, 48};
  static const double decays[] = {0.0, 0.9, 0.97};
  for (size_t copies = 2; copies <= 64; copies *= 2)
    for (int i = 0; i < 3; i++)
      for (int tail = 0; tail < 3; tail++) {
        const size_t p = 400;
        krylov_settings set = krylov_defaults(p, ks[i]);
        double *values = doubles(p);
        for (size_t j = 0; j < p; j++)
          values[j] = j < copies ? 1.0
            : tail ? 0.9 * pow(decays[tail], (double) (j - copies)) : 0.0;
        matrix m = new_matrix(p, values, 1);
        check_top(&m, &set, 1e-11);
        drop(&m);
      }
}

static void scales_do_not_matter(void)
{
  static const double scales[] = {1e-100, 1e-20, 1e20, 1e100};
  for (int s = 0; s < 4; s++) {
    size_t k = 4, p = 80;
    double *values = spectrum(p, geometric);
    for (size_t j = 0; j < p; j++) values[j] *= scales[s];
    krylov_settings set = krylov_defaults(p, k);
    matrix m = new_matrix(p, values, 2);
    check_top(&m, &set, 1e-11);
    drop(&m);
  }
}

/* Every block and every basis from the smallest the contract allows to all
 * of the space. */
static void any_settings_within_the_contract(void)
{
  for (size_t p = 8; p <= 40; p += 16)
    for (size_t k = 1; k + 2 <= p; k += 1 + k / 2)
      for (size_t b = 1; k + 3 * b <= p; b += 1 + b / 2)
        for (size_t dim = k + 2 * b; dim + b <= p; dim += 1 + (p - b - dim) / 2) {
          krylov_settings set = {k, b, dim, 20000, 1e-10};
          matrix m = new_matrix(p, spectrum(p, geometric), 2);
          check_top(&m, &set, 1e-11);
          drop(&m);
        }
}

static void a_spent_budget_gives_what_there_is(void)
{
  size_t k = 6, p = 400;
  krylov_settings set = krylov_defaults(p, k);
  double *values = spectrum(p, noisy), *ritz = doubles(k);
  double *vectors = doubles(p * k), last = INFINITY;
  matrix m = new_matrix(p, values, 2);
  for (size_t budget = 1; budget <= 4 * set.dim; budget *= 4) {
    set.products = budget;
    set.tol = 1e-14;
    outcome out = solve(&m, &set, ritz, vectors);
    CHECK(out.status == ELBO_NOT_CONVERGED);
    CHECK(out.products >= budget && out.products <= budget + set.dim);
    CHECK(out.residual > set.tol && out.residual <= last);
    last = out.residual;
    /* what it says of itself is true: values are Rayleigh quotients from
     * below, and residuals are as reported */
    for (size_t j = 0; j < k; j++)
      CHECK(ritz[j] > 0.0 && ritz[j] <= m.values[j] * (1.0 + 1e-12));
    double worst = true_residual(&m, k, ritz, vectors);
    CHECK(worst <= out.residual * ritz[0] * (1.0 + 1e-6) + 1e-12);
  }
  free(ritz);
  free(vectors);
  drop(&m);
}

static void the_same_input_gives_the_same_pairs(void)
{
  size_t k = 5, p = 90;
  krylov_settings set = krylov_defaults(p, k);
  matrix m = new_matrix(p, spectrum(p, clustered), 2);
  double *values[2], *vectors[2];
  for (int i = 0; i < 2; i++) {
    values[i] = doubles(k);
    vectors[i] = doubles(p * k);
    solve(&m, &set, values[i], vectors[i]);
  }
  CHECK(memcmp(values[0], values[1], k * sizeof **values) == 0);
  CHECK(memcmp(vectors[0], vectors[1], p * k * sizeof **vectors) == 0);
  for (int i = 0; i < 2; i++) {
    free(values[i]);
    free(vectors[i]);
  }
  drop(&m);
}

/* ---- orthonormal bases ------------------------------------------------- */

/* What the span of the m columns of q leaves of x, relative to |x|. */
static double outside(size_t p, size_t m, const double *q, const double *x)
{
  double *rest = doubles(p), size = 0.0, left = 0.0, most = 0.0;
  for (size_t i = 0; i < p; i++) most = fmax(most, fabs(x[i]));
  if (most == 0.0) most = 1.0;
  for (size_t i = 0; i < p; i++) rest[i] = x[i] / most;
  for (size_t i = 0; i < p; i++) size += rest[i] * rest[i];
  for (size_t j = 0; j < m; j++) {
    double dot = 0.0;
    for (size_t i = 0; i < p; i++) dot += q[i + j * p] * rest[i];
    for (size_t i = 0; i < p; i++) rest[i] -= dot * q[i + j * p];
  }
  for (size_t i = 0; i < p; i++) left += rest[i] * rest[i];
  free(rest);
  return size > 0.0 ? sqrt(left / size) : 0.0;
}

/* p x (m + b): m orthonormal columns, by Gram and Schmidt, and b random ones */
static double *basis_of(size_t p, size_t m, size_t b)
{
  double *basis = normals(p * (m + b), 1.0);
  for (size_t j = 0; j < m; j++)
    for (int pass = 0; pass < 2; pass++) {
      double size = 0.0, *x = basis + j * p;
      for (size_t t = 0; t < j; t++) {
        double dot = 0.0;
        for (size_t i = 0; i < p; i++) dot += x[i] * basis[i + t * p];
        for (size_t i = 0; i < p; i++) x[i] -= dot * basis[i + t * p];
      }
      for (size_t i = 0; i < p; i++) size += x[i] * x[i];
      for (size_t i = 0; i < p; i++) x[i] /= sqrt(size);
    }
  return basis;
}

/* The m columns are left alone, all m + b are orthonormal afterwards, and
 * their span holds every column that there was. */
static void check_basis(size_t p, size_t m, size_t b, double *basis)
{
  double *before = copy_of(p * (m + b), basis);
  double *work = doubles(krylov_orthonormalise_work(m, b)), worst = 0.0;
  CHECK(krylov_orthonormalise(p, m, b, basis, work) == ELBO_OK);
  CHECK_NEAR(skew(p, m + b, basis), 0.0, 1e-13);
  CHECK(memcmp(basis, before, p * m * sizeof *before) == 0);
  for (size_t j = m; j < m + b; j++)
    worst = fmax(worst, outside(p, m + b, basis, before + j * p));
  CHECK_NEAR(worst, 0.0, 1e-12);
  free(before);
  free(work);
}

static void independent_columns_keep_their_span(void)
{
  for (size_t p = 1; p <= 40; p += 1 + p / 2)
    for (size_t m = 0; m <= p; m += 1 + m / 2)
      for (size_t b = 0; m + b <= p; b += 1 + b / 3) {
        double *basis = basis_of(p, m, b);
        check_basis(p, m, b, basis);
        free(basis);
      }
}

/* Leading columns span the same, whatever comes behind: directions stay in
 * their order. */
static void columns_keep_their_order(void)
{
  const size_t p = 30, m = 4, b = 6;
  double *basis = basis_of(p, m, b), *before = copy_of(p * (m + b), basis);
  double *work = doubles(krylov_orthonormalise_work(m, b));
  CHECK(krylov_orthonormalise(p, m, b, basis, work) == ELBO_OK);
  for (size_t j = m; j < m + b; j++) {
    double dot = 0.0;
    for (size_t i = 0; i < p; i++) dot += basis[i + j * p] * before[i + j * p];
    CHECK(outside(p, j + 1, basis, before + j * p) < 1e-13 && dot > 0.0);
  }
  free(basis);
  free(before);
  free(work);
}

static void sizes_of_columns_do_not_matter(void)
{
  static const double scales[] = {1e-150, 1e-20, 1e150, 1e20, 1e-8};
  double *basis = basis_of(25, 4, 5);
  for (size_t j = 0; j < 5; j++)
    for (size_t i = 0; i < 25; i++) basis[i + (4 + j) * 25] *= scales[j];
  check_basis(25, 4, 5, basis);
  free(basis);
}

/* One over the size of such a column is not finite. */
static void columns_may_be_denormal(void)
{
  for (size_t at = 0; at < 6; at++)
    for (int many = 0; many < 2; many++) {
      const size_t p = 6, m = 2, b = 3;
      double *basis = basis_of(p, m, b);
      double *work = doubles(krylov_orthonormalise_work(m, b));
      for (size_t i = 0; i < p; i++)
        basis[i + (m + 1) * p] = many || i == at ? 5e-324 * (double) (i + 1) : 0.0;
      CHECK(krylov_orthonormalise(p, m, b, basis, work) == ELBO_OK);
      CHECK_NEAR(skew(p, m + b, basis), 0.0, 1e-13);
      free(basis);
      free(work);
    }
}

/* Columns behind the basis: zero, twice the same, inside the basis, a sum of
 * others, in turn and all together, in spaces with and without room. */
static void dependent_columns_become_new_directions(void)
{
  const size_t m = 5, b = 7;
  for (size_t p = m + b; p <= 60; p *= 2)
    for (int which = 1; which < 16; which++)
      for (int trial = 0; trial < 10; trial++) {
        double *basis = basis_of(p, m, b), *x = basis + m * p;
        for (size_t i = 0; i < p; i++) {
          if (which & 1) x[i + 2 * p] = 0.0;
          if (which & 2) x[i + 3 * p] = -4.0 * x[i + 1 * p];
          if (which & 4) x[i] = basis[i] - 3.0 * basis[i + 4 * p];
          if (which & 8) x[i + 5 * p] = x[i + 4 * p] + 1e3 * x[i + 1 * p];
        }
        check_basis(p, m, b, basis);
        free(basis);
      }
}

static void columns_may_all_be_dependent(void)
{
  for (size_t p = 7; p <= 28; p *= 2) {
    double *basis = basis_of(p, 3, 4);
    for (size_t i = 0; i < 4 * p; i++) basis[i + 3 * p] = 0.0;
    check_basis(p, 3, 4, basis);
    memcpy(basis + 3 * p, basis, 3 * p * sizeof *basis);
    memcpy(basis + 6 * p, basis, p * sizeof *basis);
    check_basis(p, 3, 4, basis);
    free(basis);
  }
}

/* Unit vectors: zeros that are exact, in the basis and in what is asked. */
static void axes_may_be_dependent(void)
{
  for (size_t p = 8; p <= 16; p += 4)
    for (size_t trial = 0; trial < 50; trial++) {
      size_t m = 4, b = 4;
      double *basis = doubles(p * (m + b));
      for (size_t i = 0; i < p * (m + b); i++) basis[i] = 0.0;
      for (size_t j = 0; j < m; j++) basis[j + j * p] = 1.0;
      for (size_t j = m; j < m + b; j++) basis[test_below(p) + j * p] = 1.0;
      check_basis(p, m, b, basis);
      free(basis);
    }
}

/* A column within 1e-9 of the others still has a direction of its own. */
static void nearly_dependent_columns_keep_their_span(void)
{
  for (double by = 1e-3; by > 1e-10; by *= 1e-3) {
    const size_t p = 40, m = 6, b = 4;
    double *basis = basis_of(p, m, b), *x = basis + m * p;
    for (size_t i = 0; i < p; i++) {
      x[i + p] = x[i] + by * x[i + p];
      x[i + 2 * p] = basis[i + p] + by * x[i + 2 * p];
    }
    check_basis(p, m, b, basis);
    free(basis);
  }
}

TEST_MAIN(products_are_our_own,
          leading_pairs_of_known_spectra, defaults_keep_the_contract,
          a_tiny_gap_behind_the_last_pair,
          an_eigenvalue_may_repeat, scales_do_not_matter,
          any_settings_within_the_contract, a_spent_budget_gives_what_there_is,
          the_same_input_gives_the_same_pairs,
          independent_columns_keep_their_span, columns_keep_their_order,
          sizes_of_columns_do_not_matter, columns_may_be_denormal,
          dependent_columns_become_new_directions,
          columns_may_all_be_dependent, axes_may_be_dependent,
          nearly_dependent_columns_keep_their_span)
