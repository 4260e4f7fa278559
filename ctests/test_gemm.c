/* Matrix products against chains of multiply-adds in the order of gemm.h, bit for
 * bit. Data are held in doubles, those of the float products rounded to float, and
 * handed over in arrays of exactly their size, with NaN where nothing should be read
 * and a marker where nothing should be written. */
#include <limits.h>
#ifndef _WIN32
# include <sys/wait.h>
# include <unistd.h>
#endif

#include "arrays.h"
#include "gemm.h"
#include "linalg.h"
#include "threads.h"

/* The sanitisers slow the products down: one in a few small sizes then. */
enum { EVERY = TEST_EVERY(5, 11) };

static const char *const transposes[] = {"NN", "NT", "TN", "TT"};
static const double alphas[] = {1.0, -1.0, 0.5, 0.0}, betas[] = {0.0, 1.0, -1.0, 0.3};

typedef struct {
  enum gemm_kernel kernel;
  int threads, single;
  const char *trans;
  size_t m, n, k, pad;        /* leading dimensions exceed the rows by 0 or more */
  double alpha, beta;
} product;

typedef struct {
  size_t lda, ldb, ldc, na, nb, nc;
  double *a, *b, *c;
} operands;

/* Runs `check` for both types and each kernel of this processor. */
static void with_each_kernel(void (*check)(int single, enum gemm_kernel kernel))
{
  for (int single = 0; single < 2; single++)
    for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
      check(single, (enum gemm_kernel) kernel);
}

/* ---- operands ---------------------------------------------------------- */

static double rounded(int single, double x)
{
  return single ? (float) x : x;
}

/* Sooner drawn than a normal number, and millions are. */
static double any_number(int single)
{
  return rounded(single, 4.0 * test_uniform() - 2.0);
}

static double any_integer(int single)
{
  (void) single;
  return (double) test_below(17) - 8.0;
}

static double *matrix(size_t rows, size_t cols, size_t ld, int single,
                      double (*draw)(int), double gap_of, size_t *size)
{
  *size = span(rows, cols, ld);
  double *x = doubles(*size);
  for (size_t i = 0; i < *size; i++) x[i] = i % ld < rows ? draw(single) : gap_of;
  return x;
}

static operands draw_operands(const product *p, double (*draw)(int))
{
  int ta = p->trans[0] == 'T', tb = p->trans[1] == 'T';
  size_t ra = ta ? p->k : p->m, rb = tb ? p->n : p->k;
  operands o = {.lda = (ra ? ra : 1) + p->pad, .ldb = (rb ? rb : 1) + 2 * p->pad,
                .ldc = (p->m ? p->m : 1) + 3 * p->pad};
  o.a = matrix(ra, ta ? p->m : p->k, o.lda, p->single, draw, NAN, &o.na);
  o.b = matrix(rb, tb ? p->k : p->n, o.ldb, p->single, draw, NAN, &o.nb);
  o.c = matrix(p->m, p->n, o.ldc, p->single, draw, marker, &o.nc);
  if (p->beta == 0.0)                          /* C must not be read then */
    for (size_t i = 0; i < o.nc; i++)
      if (i % o.ldc < p->m) o.c[i] = NAN;
  return o;
}

static void free_operands(operands *o)
{
  free(o->a);
  free(o->b);
  free(o->c);
}

/* Numbers that differ; a zero's sign counts, a NaN's does not. */
static size_t differences(size_t n, const double *x, const double *y)
{
  size_t count = 0;
  for (size_t i = 0; i < n; i++)
    count += isnan(x[i]) ? !isnan(y[i]) : x[i] != y[i] || signbit(x[i]) != signbit(y[i]);
  return count;
}

/* ---- the products under test ------------------------------------------- */

/* c = alpha op(A) op(B) + beta c. Nothing may be written around the space. */
static void multiply(const product *p, const operands *o, double *c)
{
  char ta = p->trans[0], tb = p->trans[1];
  gemm_plan plan = plan_for(p->kernel, p->threads);
  if (p->single) {
    float *a = floats(o->na, o->a), *b = floats(o->nb, o->b), *out = floats(o->nc, c);
    gemm_float(plan, ta, tb, p->m, p->n, p->k, (float) p->alpha, a, o->lda, b, o->ldb,
               (float) p->beta, out, o->ldc);
    for (size_t i = 0; i < o->nc; i++) c[i] = out[i];
    free(a);
    free(b);
    free(out);
  } else {
    gemm_double(plan, ta, tb, p->m, p->n, p->k, p->alpha, o->a, o->lda, o->b, o->ldb,
                p->beta, c, o->ldc);
  }
  CHECK(spilled() == 0);
}

/* Lower triangle of c (m x m) = alpha op(A) op(A)' + beta c; likewise. */
static void multiply_own(const product *p, const operands *o, double *c)
{
  gemm_plan plan = plan_for(p->kernel, p->threads);
  if (p->single) {
    float *a = floats(o->na, o->a), *out = floats(o->nc, c);
    syrk_float(plan, p->trans[0], p->m, p->k, (float) p->alpha, a, o->lda,
               (float) p->beta, out, o->ldc);
    for (size_t i = 0; i < o->nc; i++) c[i] = out[i];
    free(a);
    free(out);
  } else {
    syrk_double(plan, p->trans[0], p->m, p->k, p->alpha, o->a, o->lda, p->beta, c,
                o->ldc);
  }
  CHECK(spilled() == 0);
}

/* ---- reference --------------------------------------------------------- */

/* c + x_1 y_1 + x_2 y_2 + ..., from first to last. As the portable tile does it, which
 * a compiler may contract if the processor has an instruction for it: */
static double chain_portable(int single, size_t k, const double *x, const double *y,
                             double c)
{
  if (!single) {
    for (size_t l = 0; l < k; l++) c += x[l] * y[l];
    return c;
  }
  float sum = (float) c;
  for (size_t l = 0; l < k; l++) {
    float u = (float) x[l], v = (float) y[l];
    sum += u * v;
  }
  return sum;
}

/* As those with vectors do it, each product and sum rounded once; called only where
 * the processor has them. */
#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("fma")))
#endif
static double chain_fused(int single, size_t k, const double *x, const double *y, double c)
{
  if (!single) {
    for (size_t l = 0; l < k; l++) c = fma(x[l], y[l], c);
    return c;
  }
  float sum = (float) c;
  for (size_t l = 0; l < k; l++) sum = fmaf((float) x[l], (float) y[l], sum);
  return sum;
}

/* scale * (lines x k, line after line): rows of op(A) or columns of op(B) */
static double *lines_of(const double *x, size_t lines, size_t k, size_t line, size_t step,
                        double scale, int single)
{
  double *out = doubles(lines * k);
  for (size_t i = 0; i < lines; i++)
    for (size_t l = 0; l < k; l++)
      out[l + i * k] = rounded(single, scale * x[i * line + l * step]);
  return out;
}

/* All of C, the gaps included; `exact` for data of which each sum is exact. */
static double *expected(const product *p, const operands *o, int exact)
{
  int ta = p->trans[0] == 'T', tb = p->trans[1] == 'T', single = p->single && !exact;
  int fused = p->kernel != GEMM_PORTABLE && !exact;
  double alpha = rounded(single, p->alpha), beta = rounded(single, p->beta);
  double *x = lines_of(o->a, p->m, p->k, ta ? o->lda : 1, ta ? 1 : o->lda, alpha, single);
  double *y = lines_of(o->b, p->n, p->k, tb ? 1 : o->ldb, tb ? o->ldb : 1, 1.0, single);
  double *c = copy_of(o->nc, o->c);
  size_t k = alpha == 0.0 ? 0 : p->k;
  for (size_t j = 0; j < p->n; j++)
    for (size_t i = 0; i < p->m; i++) {
      double *e = c + i + j * o->ldc;
      double start = beta == 0.0 ? 0.0 : rounded(single, beta * *e);
      *e = (fused ? chain_fused : chain_portable)(single, k, x + i * p->k, y + j * p->k,
                                                  start);
    }
  free(x);
  free(y);
  return c;
}

static void check_product(const product *p, int integers)
{
  operands o = draw_operands(p, integers ? any_integer : any_number);
  double *e = expected(p, &o, integers);
  multiply(p, &o, o.c);
  size_t bad = differences(o.nc, o.c, e);
  if (bad)
    printf("%s, kernel %d, %d threads, %s, %zu x %zu x %zu + %zu, %g, %g:\n",
           p->single ? "float" : "double", (int) p->kernel, p->threads, p->trans,
           p->m, p->n, p->k, p->pad, p->alpha, p->beta);
  CHECK(bad == 0);
  free(e);
  free_operands(&o);
}

/* ---- small sizes ------------------------------------------------------- */

/* Past two tiles of any kernel, down and across. */
enum { MOST = 67 };

/* Number i of the products of small sizes, of which the caller sets some, with all else.
 * As many threads for a while: other counts need other space. */
static product any_product(int single, enum gemm_kernel kernel, size_t i)
{
  static const size_t pads[] = {0, 0, 1, 5};
  product p = {.kernel = kernel, .single = single};
  p.threads = 1 + (int) (i / 50 % 3);
  p.trans = transposes[test_below(4)];
  p.m = 1 + test_below(MOST);
  p.n = 1 + test_below(MOST);
  p.k = 1 + test_below(MOST);
  p.pad = pads[test_below(4)];
  p.alpha = alphas[test_below(4)];
  p.beta = betas[test_below(4)];
  return p;
}

/* Each tile at each of its edges: every pair of m and n, once with a C that is read and
 * once with one that is not, the transposes by turns. */
static void check_pairs(int single, enum gemm_kernel kernel)
{
  test_seed(12);
  for (size_t i = 0; i < 2 * MOST * MOST; i += EVERY) {
    product p = any_product(single, kernel, i);
    p.trans = transposes[i / 2 % 4];
    p.m = 1 + i / 2 / MOST;
    p.n = 1 + i / 2 % MOST;
    p.alpha = alphas[test_below(3)];                      /* or no tile is computed */
    p.beta = betas[i % 2 ? 1 + test_below(3) : 0];
    check_product(&p, 0);
  }
}

static void every_edge_of_a_tile_is_right(void) { with_each_kernel(check_pairs); }

/* Every k with each of the transposes. */
static void check_depths(int single, enum gemm_kernel kernel)
{
  test_seed(1);
  for (size_t i = 0; i < MOST * 4 * 4; i++) {
    int integers = i / (MOST * 4) == 3;        /* in one of four rounds */
    product p = any_product(single, kernel, i);
    p.trans = transposes[i / MOST % 4];
    p.k = 1 + i % MOST;
    if (integers && p.beta == 0.3) p.beta = -2.0;         /* 0.3 is not exact */
    check_product(&p, integers);
  }
}

static void small_products_are_summed_in_order(void) { with_each_kernel(check_depths); }

/* Each tile at each of its edges, with every pair of factors. */
static void check_factors(int single, enum gemm_kernel kernel)
{
  static const size_t sizes[] = {1, 8, 31, 32, 33};
  test_seed(2);
  for (int i = 0; i < 16; i++)
    for (int s = 0; s < 5; s++)
      for (int t = 0; t < 4; t++) {
        product p = {kernel, 1, single, transposes[t], sizes[s],
                     sizes[(s + t) % 5] % 25, 20, (size_t) t, alphas[i % 4], betas[i / 4]};
        check_product(&p, 0);
      }
}

static void every_pair_of_factors_is_obeyed(void) { with_each_kernel(check_factors); }

/* ---- large sizes ------------------------------------------------------- */

/* Blocks are of KC = 192 or 384 (double or float), MC = 128 or 256, NC = 1536. */
static void check_blocks(int single, enum gemm_kernel kernel)
{
  static const size_t sizes[][3] = {
    {6, 5, 191}, {6, 5, 192}, {6, 5, 193}, {6, 5, 383}, {33, 13, 384}, {6, 5, 385},
    {20, 20, 1200}, {127, 3, 4}, {128, 13, 4}, {129, 3, 4}, {255, 3, 4}, {256, 13, 4},
    {257, 3, 4}, {300, 20, 400}, {550, 7, 30}, {3, 1535, 4}, {3, 1536, 4}, {3, 1537, 4},
    {35, 1550, 5}, {2, 3100, 2}, {3, 1540, 390}
  };
  test_seed(3);
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    product p = {kernel, 1 + (int) (s % 2), single, transposes[(s + s / 4) % 4],
                 sizes[s][0], sizes[s][1], sizes[s][2], s % 3, s % 2 ? 1.0 : -0.7,
                 s % 5 == 0 ? 0.3 : s % 5 < 3 ? 0.0 : 1.0};
    check_product(&p, 0);
    p.trans = transposes[(s + s / 4 + 2) % 4];
    p.alpha = -0.5;
    p.beta = s % 2 ? 0.0 : -1.0;
    check_product(&p, 1);
  }
}

static void blocks_join(void) { with_each_kernel(check_blocks); }

/* Both threads fill their blocks to the last number. Elements here and there are
 * compared with products of one row and one column. */
static void check_full_blocks(int single, enum gemm_kernel kernel)
{
  test_seed(11);
  product p = {kernel, 2, single, "TN", 1600, 1536, single ? 384 : 192, 0, 0.9, 0.3};
  operands o = draw_operands(&p, any_number);
  double *c = copy_of(o.nc, o.c);
  multiply(&p, &o, c);
  product one = p;
  one.m = one.n = 1;
  size_t bad = 0;
  for (size_t i = 0; i < 200; i++) {
    size_t row = i % 2 ? test_below(p.m) : p.m - 1 - i % 50;
    size_t col = i % 3 ? test_below(p.n) : p.n - 1 - i % 40;
    operands line = {o.lda, o.ldb, 1, p.k, p.k, 1, o.a + row * o.lda, o.b + col * o.ldb,
                     o.c + row + col * o.ldc};
    double *e = expected(&one, &line, 0);
    bad += differences(1, c + row + col * o.ldc, e);
    free(e);
  }
  CHECK(bad == 0);
  free(c);
  free_operands(&o);
}

static void full_blocks_stay_in_their_space(void) { with_each_kernel(check_full_blocks); }

/* ---- the same bits ----------------------------------------------------- */

static void check_threads(int single, enum gemm_kernel kernel)
{
  /* all of them large enough to be shared; some with more threads than tiles */
  static const size_t sizes[][3] = {
    {67, 43, 29}, {300, 20, 50}, {20, 300, 50}, {3000, 1, 20}, {1, 3000, 20}, {64, 64, 64},
    {13, 12, 1000}, {1, 1, 50000}, {100, 97, 7}, {97, 100, 7}, {33, 65, 400}
  };
  static const int threads[] = {2, 3, 7};
  test_seed(4);
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
    for (int t = 0; t < 4; t++) {
      product p = {kernel, 1, single, transposes[t], sizes[s][0], sizes[s][1],
                   sizes[s][2], s % 2, 0.9, t == 0 ? 0.0 : 0.3};
      operands o = draw_operands(&p, any_number);
      double *one = copy_of(o.nc, o.c);
      multiply(&p, &o, one);
      for (int i = 0; i < 3; i++) {
        double *more = copy_of(o.nc, o.c);
        p.threads = threads[i];
        multiply(&p, &o, more);
        CHECK(differences(o.nc, more, one) == 0);
        free(more);
      }
      free(one);
      free_operands(&o);
    }
}

static void threads_change_no_bit(void) { with_each_kernel(check_threads); }

/* One product, and two over the first and the last part of k. */
static void check_split(int single, enum gemm_kernel kernel)
{
  test_seed(5);
  for (int i = 0; i < 40; i++) {
    product p = {kernel, 1, single, transposes[i % 4], 1 + test_below(70),
                 1 + test_below(30), 2 + test_below(i < 20 ? 40 : 900), test_below(3), 0.9,
                 i % 3 * 0.5};
    operands o = draw_operands(&p, any_number);
    double *whole = copy_of(o.nc, o.c), *parts = copy_of(o.nc, o.c);
    multiply(&p, &o, whole);
    size_t first = 1 + test_below(p.k - 1);
    product head = p, tail = p;
    operands rest = o;
    head.k = first;
    tail.k = p.k - first;
    tail.beta = 1.0;
    size_t skip_a = first * (p.trans[0] == 'T' ? 1 : o.lda);
    size_t skip_b = first * (p.trans[1] == 'T' ? o.ldb : 1);
    rest.a += skip_a;
    rest.na -= skip_a;
    rest.b += skip_b;
    rest.nb -= skip_b;
    multiply(&head, &o, parts);
    multiply(&tail, &rest, parts);
    CHECK(differences(o.nc, parts, whole) == 0);
    free(whole);
    free(parts);
    free_operands(&o);
  }
}

static void a_split_of_k_changes_no_bit(void) { with_each_kernel(check_split); }

/* |error| <= (k + 2) eps (|alpha| |A| |B| + |beta C|), whatever the order; twice that,
 * as valgrind computes the reference in 64 bits too. */
static void check_errors(int single, enum gemm_kernel kernel)
{
  const double eps = single ? 0x1p-23 : 0x1p-52;
  test_seed(6);
  for (int i = 0; i < 12; i++) {
    product p = {kernel, 1 + i % 3, single, "TN", 1 + test_below(60), 1 + test_below(60),
                 1 + test_below(i < 6 ? 60 : 600), 2, rounded(single, -0.7),
                 rounded(single, 0.3)};
    operands o = draw_operands(&p, any_number);
    double *c = copy_of(o.nc, o.c);
    multiply(&p, &o, c);
    size_t bad = 0;
    for (size_t col = 0; col < p.n; col++)
      for (size_t row = 0; row < p.m; row++) {
        long double sum = (long double) p.beta * o.c[row + col * o.ldc], size = fabsl(sum);
        for (size_t l = 0; l < p.k; l++) {
          long double term = (long double) p.alpha * o.a[l + row * o.lda] *
            o.b[l + col * o.ldb];
          sum += term;
          size += fabsl(term);
        }
        double error = (double) fabsl(c[row + col * o.ldc] - sum);
        bad += !(error <= 2.0 * (double) (p.k + 2) * eps * (double) size);
      }
    CHECK(bad == 0);
    free(c);
    free_operands(&o);
  }
}

static void errors_are_those_of_rounding(void) { with_each_kernel(check_errors); }

/* ---- triangles --------------------------------------------------------- */

/* The triangle of a product with itself has the bits of the product. */
static void check_triangle(const product *p)
{
  product square = *p;
  square.threads = 1;
  square.n = p->m;
  square.trans = p->trans[0] == 'N' ? "NT" : "TN";
  operands o = draw_operands(&square, any_number);
  free(o.b);
  o.b = copy_of(o.na, o.a);
  o.nb = o.na;
  o.ldb = o.lda;
  double *e = expected(&square, &o, 0), *full = copy_of(o.nc, o.c);
  multiply(&square, &o, full);
  for (size_t j = 0; j < p->m; j++)
    for (size_t i = 0; i < j; i++) {
      size_t at = i + j * o.ldc;
      o.c[at] = e[at] = full[at] = marker;
    }
  multiply_own(p, &o, o.c);
  size_t bad = differences(o.nc, o.c, e) + differences(o.nc, o.c, full);
  if (bad)
    printf("%s, kernel %d, %d threads, %c, %zu x %zu + %zu, %g, %g:\n",
           p->single ? "float" : "double", (int) p->kernel, p->threads,
           p->trans[0], p->m, p->k, p->pad, p->alpha, p->beta);
  CHECK(bad == 0);
  free(e);
  free(full);
  free_operands(&o);
}

static void check_triangles(int single, enum gemm_kernel kernel)
{
  static const int threads[] = {1, 2, 3, 7};
  static const size_t large[][2] = {{129, 195}, {260, 17}, {300, 400}, {515, 3}};
  test_seed(7);
  for (size_t i = 0; i < 67 * 8; i++) {
    product p = {kernel, threads[test_below(4)], single, i % 2 ? "NT" : "TN",
                 1 + i / 2 % 67, 0, 1 + test_below(67), test_below(3),
                 alphas[test_below(4)], betas[test_below(4)]};
    check_triangle(&p);
  }
  for (size_t s = 0; s < 4; s++)
    for (int t = 0; t < 4; t++) {
      product p = {kernel, threads[t], single, (s + (size_t) t) % 2 ? "NT" : "TN",
                   large[s][0], 0, large[s][1], s % 2, 0.9, t % 2 ? 0.3 : 0.0};
      check_triangle(&p);
    }
}

static void triangles_are_those_of_products(void) { with_each_kernel(check_triangles); }

/* More columns than NC: one of integers, so large that it has no reference. */
static void a_large_triangle_is_exact(void)
{
  const size_t n = 3100;
  float *a = malloc(n * sizeof *a), *c = malloc(n * n * sizeof *c);
  if (!a || !c) abort();
  for (size_t i = 0; i < n; i++) a[i] = (float) (i % 97);
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++) {
    size_t bad = 0;
    for (size_t i = 0; i < n * n; i++) c[i] = (float) marker;
    gemm_plan plan = plan_for((enum gemm_kernel) kernel, 1 + kernel);
    syrk_float(plan, 'N', n, 1, 1.0f, a, n, 0.0f, c, n);
    CHECK(spilled() == 0);
    for (size_t j = 0; j < n; j++)
      for (size_t i = 0; i < n; i++)
        bad += c[i + j * n] != (i < j ? (float) marker : a[i] * a[j]);
    CHECK(bad == 0);
  }
  free(a);
  free(c);
}

/* ---- extremes ---------------------------------------------------------- */

/* A NaN or an infinity is seen in its row or column, and nowhere else, not by way of
 * the zeros that fill up a panel either. */
static void check_poison(int single, enum gemm_kernel kernel)
{
  test_seed(8);
  for (int i = 0; i < 60; i++) {
    product p = {kernel, 1 + i % 2, single, transposes[i % 4], 1 + test_below(50),
                 1 + test_below(50), 1 + test_below(40), i % 3 == 0, 1.0, i % 2 ? 0.5 : 0.0};
    operands o = draw_operands(&p, any_number);
    size_t row = test_below(p.m), col = test_below(p.n), l = test_below(p.k), bad = 0;
    size_t at_a = p.trans[0] == 'T' ? l + row * o.lda : row + l * o.lda;
    size_t at_b = p.trans[1] == 'T' ? col + l * o.ldb : l + col * o.ldb;
    o.a[at_a] = i % 3 ? NAN : INFINITY;
    o.b[at_b] = i % 5 ? NAN : -INFINITY;
    multiply(&p, &o, o.c);
    for (size_t y = 0; y < p.n; y++)
      for (size_t x = 0; x < p.m; x++)
        bad += (x != row && y != col) != isfinite(o.c[x + y * o.ldc]);
    CHECK(bad == 0);
    free_operands(&o);
  }
}

static void what_is_not_finite_stays_in_its_lines(void) { with_each_kernel(check_poison); }

/* An order of zero writes nothing; an inner one of zero leaves beta C. */
static void check_empty(int single, enum gemm_kernel kernel)
{
  static const size_t sizes[][3] = {{0, 0, 0}, {0, 3, 4}, {5, 0, 4}, {5, 3, 0},
                                    {1, 0, 0}, {0, 1, 0}, {40, 30, 0}, {0, 0, 9}};
  test_seed(9);
  for (int s = 0; s < 8; s++)
    for (int t = 0; t < 4; t++)
      for (int b = 0; b < 4; b++) {
        product p = {kernel, 1 + t, single, transposes[t], sizes[s][0], sizes[s][1],
                     sizes[s][2], (size_t) b, 1.0, betas[b]};
        check_product(&p, 0);
        check_triangle(&p);
      }
}

static void nothing_is_a_size(void) { with_each_kernel(check_empty); }

/* ---- plans ------------------------------------------------------------- */

static void space_grows_with_the_threads(void)
{
  CHECK(gemm_space(0) == gemm_space(1) && gemm_space(-7) == gemm_space(1));
  CHECK(gemm_space(1) < 3000000);
  for (int threads = 1; threads < 100; threads++)
    CHECK(gemm_space(threads + 1) - gemm_space(threads) == gemm_space(2) - gemm_space(1));
  CHECK(gemm_space(INT_MAX) == SIZE_MAX || gemm_space(INT_MAX) / INT_MAX > 2000000);
}

static void threads_are_as_few_as_wanted(void)
{
  int usual = threads_allowed(0);
  CHECK(usual == 1 || usual == 2);
  CHECK(threads_allowed(-3) == usual);
  CHECK(threads_allowed(1) == 1);
  for (int wanted = 1; wanted < 10; wanted++) {
    CHECK(threads_allowed(wanted) >= 1 && threads_allowed(wanted) <= wanted);
    CHECK(threads_allowed(wanted + 1) >= threads_allowed(wanted));
  }
}

static void the_process_that_loads_computes(void)
{
  threads_load();
  with_each_kernel(check_split);
  product p = {gemm_best(), 2, 0, "NT", 100, 90, 80, 0, 1.0, 0.0};
  check_product(&p, 0);
  check_triangle(&p);
}

/* A process forked from the one that loaded the code, which has had threads, multiplies
 * with one and comes to an end. Call after threads_load(). */
static void a_forked_process_works_alone(void)
{
#ifndef _WIN32
  product p = {gemm_best(), 3, 0, "NT", 100, 90, 80, 0, 1.0, 0.0};
  operands o = draw_operands(&p, any_number);
  double *here = copy_of(o.nc, o.c), *there = copy_of(o.nc, o.c);
  multiply(&p, &o, here);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    multiply(&p, &o, there);
    _exit(threads_allowed(2) == 1 && differences(o.nc, here, there) == 0 ? 0 : 1);
  }
  int status = -1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  free(here);
  free(there);
  free_operands(&o);
#endif
}

/* linalg's products, by whom la_use() says; for beta = 0, nothing reads C. */
static double *by_linalg(const product *p, const operands *o, int own,
                         enum gemm_kernel kernel, int triangle)
{
  double *c = copy_of(o->nc, o->c);
  la_use(own, plan_for(kernel, p->threads));
  if (triangle)
    la_syrk(p->trans[0], p->m, p->k, p->alpha, o->a, o->lda, p->beta, c, o->ldc);
  else la_gemm(p->trans[0], p->trans[1], p->m, p->n, p->k, p->alpha, o->a, o->lda, o->b,
               o->ldb, p->beta, c, o->ldc);
  CHECK(spilled() == 0);
  return c;
}

/* Our own kernels and R's BLAS agree; the kernel matters to the first (by the last bits,
 * `*fused` counts them) and not to the second. */
static void check_linalg(const product *p, size_t *fused)
{
  for (int triangle = 0; triangle < 2; triangle++) {
    product q = *p;
    if (triangle) q.n = q.m;
    operands o = draw_operands(&q, any_number);
    for (size_t i = 0; triangle && i < o.nc; i++)      /* the strict upper one is left */
      if (i % o.ldc < i / o.ldc) o.c[i] = marker;
    double *ours = by_linalg(&q, &o, 1, q.kernel, triangle);
    double *portable = by_linalg(&q, &o, 1, GEMM_PORTABLE, triangle);
    double *blas = by_linalg(&q, &o, 0, q.kernel, triangle);
    double *other = by_linalg(&q, &o, 0, GEMM_PORTABLE, triangle);
    CHECK_NEAR(gap(o.nc, ours, blas), 0.0, 1e-13);
    CHECK_NEAR(gap(o.nc, portable, blas), 0.0, 1e-13);
    CHECK(differences(o.nc, blas, other) == 0);
    fused[triangle] += differences(o.nc, ours, portable);
    free(ours);
    free(portable);
    free(blas);
    free(other);
    free_operands(&o);
  }
}

static void our_own_agree_with_blas(void)
{
  size_t fused[2] = {0, 0};
  test_seed(10);
  for (int kernel = GEMM_PORTABLE; kernel <= (int) gemm_best(); kernel++)
    for (int i = 0; i < 64; i++) {
      product p = {(enum gemm_kernel) kernel, 1 + i % 3, 0, transposes[i % 4],
                   test_below(80), test_below(80), test_below(i % 3 ? 80 : 400),
                   test_below(3), alphas[i / 4 % 4], betas[i / 16]};
      check_linalg(&p, fused);
    }
  for (int triangle = 0; triangle < 2; triangle++)
    CHECK((fused[triangle] > 0) == (gemm_best() > GEMM_PORTABLE));
  la_use(0, (gemm_plan) {GEMM_PORTABLE, 1, NULL});
}

TEST_MAIN(every_edge_of_a_tile_is_right, small_products_are_summed_in_order,
          every_pair_of_factors_is_obeyed, blocks_join,
          full_blocks_stay_in_their_space, threads_change_no_bit, a_split_of_k_changes_no_bit,
          errors_are_those_of_rounding, triangles_are_those_of_products,
          a_large_triangle_is_exact, what_is_not_finite_stays_in_its_lines,
          nothing_is_a_size, space_grows_with_the_threads, threads_are_as_few_as_wanted,
          the_process_that_loads_computes,
          a_forked_process_works_alone, our_own_agree_with_blas)
