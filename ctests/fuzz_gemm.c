/* Products of random sizes, leading dimensions, transposes, factors and plans, in
 * arrays and space of exactly their size: nothing beyond them may be read or written,
 * nothing between the columns either; and ordinary numbers must give what plain loops do. */
#include "random_data.h"
#include "gemm.h"

typedef struct {
  enum gemm_kernel kernel;
  int threads;
  int single, lower;          /* float; gemm_*() or syrk_*() */
  char ta, tb;
  size_t m, n, k, lda, ldb, ldc, na, nb, nc;
  double alpha, beta;
} task;

static double rounded(const task *t, double x)
{
  if (!t->single) return x;
  return fabs(x) <= 3e38 ? (float) x : x < 0.0 ? -INFINITY : x > 0.0 ? INFINITY : NAN;
}

/* ---- tasks ------------------------------------------------------------- */

/* Small sizes, sometimes none, and one of the three now and then large. */
static void draw_sizes(task *t)
{
  size_t *const sizes[] = {&t->m, &t->n, &t->k};
  for (int i = 0; i < 3; i++)
    *sizes[i] = test_below(test_below(4) ? 40 : 150) + (test_below(30) != 0);
  if (test_below(20)) return;
  size_t large = test_below(3);
  for (size_t i = 0; i < 3; i++)
    *sizes[i] = i == large ? test_below(large == 2 ? 1500 : 5000) : test_below(40);
  if (t->lower && t->m > 700) t->m = 700;
}

static double draw_factor(void)
{
  static const double usual[] = {0.0, 1.0, -1.0, 0.5};
  return test_below(3) ? usual[test_below(4)] : test_normal();
}

static size_t draw_span(size_t rows, size_t cols, size_t *ld)
{
  *ld = (rows ? rows : 1) + (test_below(2) ? test_below(20) : 0);
  return span(rows, cols, *ld);
}

static task draw_task(void)
{
  task t = {.single = (int) test_below(2), .lower = test_below(3) == 0,
            .ta = "NT"[test_below(2)], .tb = "NT"[test_below(2)]};
  t.kernel = (enum gemm_kernel) test_below((size_t) gemm_best() + 1);
  t.threads = 1 + (int) test_below(test_below(2) ? 3 : 20);
  draw_sizes(&t);
  t.alpha = rounded(&t, draw_factor());
  t.beta = rounded(&t, draw_factor());
  if (t.lower) {
    t.n = t.m;
    t.tb = t.ta == 'N' ? 'T' : 'N';
  }
  t.na = t.ta == 'N' ? draw_span(t.m, t.k, &t.lda) : draw_span(t.k, t.m, &t.lda);
  t.nb = t.tb == 'N' ? draw_span(t.k, t.n, &t.ldb) : draw_span(t.n, t.k, &t.ldb);
  t.nc = draw_span(t.m, t.n, &t.ldc);
  if (t.lower) {
    t.nb = t.na;
    t.ldb = t.lda;
  }
  return t;
}

/* Numbers of op(X), the marker between the columns. */
static double *draw_matrix(const task *t, size_t size, size_t rows, size_t ld, int wild)
{
  double *x = doubles(size);
  for (size_t i = 0; i < size; i++)
    x[i] = i % ld < rows ? rounded(t, draw(wild)) : marker;
  return x;
}

/* ---- results ----------------------------------------------------------- */

static void call_double(const task *t, gemm_plan plan, const double *a, const double *b,
                        double *c)
{
  if (t->lower)
    syrk_double(plan, t->ta, t->n, t->k, t->alpha, a, t->lda, t->beta, c, t->ldc);
  else
    gemm_double(plan, t->ta, t->tb, t->m, t->n, t->k, t->alpha, a, t->lda, b, t->ldb,
                t->beta, c, t->ldc);
}

static void call_float(const task *t, gemm_plan plan, const double *a, const double *b,
                       double *c)
{
  float *fa = floats(t->na, a), *fb = floats(t->nb, b), *fc = floats(t->nc, c);
  float alpha = (float) t->alpha, beta = (float) t->beta;
  if (t->lower)
    syrk_float(plan, t->ta, t->n, t->k, alpha, fa, t->lda, beta, fc, t->ldc);
  else
    gemm_float(plan, t->ta, t->tb, t->m, t->n, t->k, alpha, fa, t->lda, fb, t->ldb, beta,
               fc, t->ldc);
  for (size_t i = 0; i < t->nc; i++) c[i] = fc[i];
  free(fa);
  free(fb);
  free(fc);
}

/* alpha a'b + beta c for one element, and the bound of its rounding errors */
static double element(const task *t, const double *a, const double *b, double c,
                      size_t i, size_t j, double *bound)
{
  double sum = t->beta == 0.0 ? 0.0 : t->beta * c, size = fabs(sum);
  for (size_t l = 0; l < t->k; l++) {
    double x = t->ta == 'N' ? a[i + l * t->lda] : a[l + i * t->lda];
    double y = t->tb == 'N' ? b[l + j * t->ldb] : b[j + l * t->ldb];
    sum += t->alpha * x * y;
    size += fabs(t->alpha * x * y);
  }
  *bound = 2.0 * (double) (t->k + 3) * (t->single ? 0x1p-23 : 0x1p-52) * size + 1e-30;
  return sum;
}

static size_t wrong_elements(const task *t, const double *a, const double *b,
                             const double *before, const double *after)
{
  size_t bad = 0;
  for (size_t j = 0; j < t->n; j++)
    for (size_t i = t->lower ? j : 0; i < t->m; i++) {
      size_t at = i + j * t->ldc;
      double bound, value = element(t, a, b, before[at], i, j, &bound);
      bad += !(fabs(after[at] - value) <= bound);
    }
  return bad;
}

static size_t touched(const task *t, const double *before, const double *after)
{
  size_t bad = 0;
  for (size_t at = 0; at < t->nc; at++)
    if (at % t->ldc >= t->m || (t->lower && at % t->ldc < at / t->ldc))
      bad += after[at] != before[at] && !(isnan(after[at]) && isnan(before[at]));
  return bad;
}

static void try_product(int wild)
{
  task t = draw_task();
  double *a = draw_matrix(&t, t.na, t.ta == 'N' ? t.m : t.k, t.lda, wild);
  double *b = t.lower ? a : draw_matrix(&t, t.nb, t.tb == 'N' ? t.k : t.n, t.ldb, wild);
  double *c = draw_matrix(&t, t.nc, t.m, t.ldc, wild), *before = copy_of(t.nc, c);
  (t.single ? call_float : call_double)(&t, plan_for(t.kernel, t.threads), a, b, c);
  size_t bad = touched(&t, before, c) + spilled();
  if (wild == 0) bad += wrong_elements(&t, a, b, before, c);
  if (bad)
    printf("%s %s, kernel %d, %d threads, %c%c, %zu x %zu x %zu, ld %zu, %zu, %zu, %g, %g:\n",
           t.single ? "float" : "double", t.lower ? "syrk" : "gemm", (int) t.kernel,
           t.threads, t.ta, t.tb, t.m, t.n, t.k, t.lda, t.ldb, t.ldc, t.alpha, t.beta);
  CHECK(bad == 0);
  if (!t.lower) free(b);
  free(a);
  free(c);
  free(before);
}

static void any_product(void)
{
  for (long i = test_iterations(4000); i > 0; i--) try_product(test_below(3) ? 0 : 3);
}

TEST_MAIN(any_product)
