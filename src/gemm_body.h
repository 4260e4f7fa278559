/* The products for one type: included by gemm.c with REAL, NAME() and, where there are
 * vectors, their intrinsics V256() and V512(). */

/* C tile (mr x nr) = [C, if load] + sum over l of a_l b_l', with a and b packed in
 * panels of k columns of mr and nr. */
typedef void (*NAME(tile))(size_t k, const REAL *a, const REAL *b, REAL *c,
                           size_t ldc, int load);

typedef struct {
  size_t mr, nr;
  NAME(tile) tile;
} NAME(kernel);

/* ---- tiles ------------------------------------------------------------- */

static void NAME(tile_portable)(size_t k, const REAL *a, const REAL *b, REAL *c,
                                size_t ldc, int load)
{
  REAL sum[4][8];
  for (size_t j = 0; j < 4; j++)
    for (size_t i = 0; i < 8; i++) sum[j][i] = load ? c[i + j * ldc] : 0;
  for (size_t l = 0; l < k; l++, a += 8, b += 4)
    for (size_t j = 0; j < 4; j++)
      for (size_t i = 0; i < 8; i++) sum[j][i] += a[i] * b[j];
  for (size_t j = 0; j < 4; j++)
    for (size_t i = 0; i < 8; i++) c[i + j * ldc] = sum[j][i];
}

#ifdef GEMM_X86
#define TILE NAME(tile_avx2)
#define TARGET "avx2,fma"
#define NR 6
#define VECTOR V256(type)
#define V_LOAD V256(loadu)
#define V_STORE V256(storeu)
#define V_SPREAD V256(set1)
#define V_FMA V256(fmadd)
#define V_ZERO V256(setzero)
#include "gemm_tile.h"

#define TILE NAME(tile_avx512)
#define TARGET "avx512f"
#define NR 12
#define VECTOR V512(type)
#define V_LOAD V512(loadu)
#define V_STORE V512(storeu)
#define V_SPREAD V512(set1)
#define V_FMA V512(fmadd)
#define V_ZERO V512(setzero)
#include "gemm_tile.h"
#endif

static NAME(kernel) NAME(choose)(enum gemm_kernel which)
{
#ifdef GEMM_X86
  if (which == GEMM_AVX512)
    return (NAME(kernel)) {128 / sizeof(REAL), 12, NAME(tile_avx512)};
  if (which == GEMM_AVX2)
    return (NAME(kernel)) {64 / sizeof(REAL), 6, NAME(tile_avx2)};
#endif
  (void) which;
  return (NAME(kernel)) {8, 4, NAME(tile_portable)};
}

/* ---- packing ----------------------------------------------------------- */

/* scale * x (width), by fours: compilers make vectors of those, and not of any width.
 * What follows x is the next panel's, whose lines of the cache are fetched ahead. */
static inline void NAME(pack_line)(size_t width, REAL scale, const REAL *restrict x,
                                   REAL *restrict out)
{
  size_t j = 0;
  fetch((uintptr_t) x + width * sizeof(REAL));
  fetch((uintptr_t) x + (2 * width - 1) * sizeof(REAL));
  for (; j + 4 <= width; j += 4)
    for (size_t t = 0; t < 4; t++) out[j + t] = scale * x[j + t];
  for (; j < width; j++) out[j] = scale * x[j];
}

/* 16 columns of a full panel, so that cache lines are read once; two lines at a time:
 * all widths are even. */
static inline void NAME(pack_square)(size_t width, REAL scale, const REAL *restrict x,
                                     size_t line, size_t step, REAL *restrict out)
{
  for (size_t j = 0; j < width; j += 2) {
    const REAL *even = x + j * line, *odd = even + line;
    REAL *to = out + j;
    for (size_t t = 0; t < 16; t++, to += width) {
      to[0] = scale * even[t * step];
      to[1] = scale * odd[t * step];
    }
  }
}

/* `count` lines, each of k numbers: line i starts at x + i * line and goes on by
 * `step`. Out: panels of `width` lines, k columns of them each; the last is filled up
 * with zeros. */
static void NAME(pack)(size_t width, size_t count, size_t k, REAL scale,
                       const REAL *x, size_t line, size_t step, REAL *out)
{
  for (size_t i = 0; i < count; i += width, out += width * k) {
    size_t w = count - i < width ? count - i : width, l = 0;
    const REAL *from = x + i * line;
    if (w == width && line == 1)
      for (; l < k; l++) NAME(pack_line)(width, scale, from + l * step, out + l * width);
    else if (w == width)
      for (; l + 16 <= k; l += 16)
        NAME(pack_square)(width, scale, from + l * step, line, step, out + l * width);
    for (; l < k; l++) {
      for (size_t j = 0; j < w; j++)
        out[l * width + j] = scale * from[j * line + l * step];
      for (size_t j = w; j < width; j++) out[l * width + j] = 0;
    }
  }
}

/* ---- one thread's part ------------------------------------------------- */

enum { NAME(KC) = KC_BYTES / sizeof(REAL), NAME(MC) = MC_BYTES / sizeof(REAL) };

typedef struct {
  size_t m, n, k;
  REAL alpha, beta;
  const REAL *a;
  size_t a_line, a_step;      /* from row to row of op(A), from column to column */
  const REAL *b;
  size_t b_line, b_step;      /* from column to column of op(B), from row to row */
  REAL *c;
  size_t ldc;
  int lower;                  /* only where row >= column */
} NAME(job);

static size_t NAME(least)(size_t a, size_t b)
{
  return a < b ? a : b;
}

static size_t NAME(round_up)(size_t n, size_t to)
{
  return (n + to - 1) / to * to;
}

/* Row of column `col` at which the part of C that counts begins. */
static size_t NAME(top)(const NAME(job) *j, size_t col)
{
  return j->lower ? NAME(least)(col, j->m) : 0;
}

static void NAME(scale)(const NAME(job) *j)
{
  for (size_t col = 0; col < j->n; col++)
    for (size_t i = NAME(top)(j, col); i < j->m; i++) {
      REAL *c = j->c + i + col * j->ldc;
      *c = j->beta == 0 ? 0 : j->beta * *c;
    }
}

/* Numbers of the largest packed block of op(A): that of op(B) follows it closely, as
 * two blocks that start at the same place of a page compete for the same cache lines. */
static size_t NAME(room)(const NAME(job) *j, const NAME(kernel) *t)
{
  size_t mc = NAME(round_up)(NAME(least)(j->m, NAME(MC)), t->mr);
  return NAME(round_up)(mc * NAME(least)(j->k, NAME(KC)), ALIGNED / sizeof(REAL));
}

/* A tile at the edge of C, or across the diagonal: by way of `edge`. */
static void NAME(edge_tile)(const NAME(job) *j, const NAME(kernel) *t, size_t row,
                            size_t col, size_t k, const REAL *a, const REAL *b,
                            int load)
{
  REAL edge[32 * 12] = {0};
  size_t rows = NAME(least)(t->mr, j->m - row), cols = NAME(least)(t->nr, j->n - col);
  REAL *c = j->c + row + col * j->ldc;
  for (size_t y = 0; load && y < cols; y++)
    for (size_t x = 0; x < rows; x++) edge[x + y * t->mr] = c[x + y * j->ldc];
  t->tile(k, a, b, edge, t->mr, load);
  for (size_t y = 0; y < cols; y++) {
    size_t top = NAME(top)(j, col + y);
    for (size_t x = top > row ? top - row : 0; x < rows; x++)
      c[x + y * j->ldc] = edge[x + y * t->mr];
  }
}

/* All tiles of mc rows from `row` and nc columns from `col`, over k. */
static void NAME(tiles)(const NAME(job) *j, const NAME(kernel) *t, size_t row,
                        size_t mc, size_t col, size_t nc, size_t k,
                        const REAL *a, const REAL *b, int load)
{
  for (size_t y = 0; y < nc; y += t->nr)
    for (size_t x = 0; x < mc; x += t->mr) {
      size_t i = row + x, at = col + y;
      if (NAME(top)(j, at) >= i + t->mr) continue;
      if (mc - x >= t->mr && nc - y >= t->nr && NAME(top)(j, at + t->nr - 1) <= i)
        t->tile(k, a + x * k, b + y * k, j->c + i + at * j->ldc, j->ldc, load);
      else NAME(edge_tile)(j, t, i, at, k, a + x * k, b + y * k, load);
    }
}

static void NAME(run)(const NAME(job) *j, const NAME(kernel) *t, REAL *space)
{
  REAL *a = space, *b = space + NAME(room)(j, t);
  if (j->beta != 0 && j->beta != 1) NAME(scale)(j);
  for (size_t col = 0; col < j->n; col += NC) {
    size_t nc = NAME(least)(NC, j->n - col);
    for (size_t l = 0; l < j->k; l += NAME(KC)) {
      size_t kc = NAME(least)(NAME(KC), j->k - l);
      NAME(pack)(t->nr, nc, kc, 1, j->b + col * j->b_line + l * j->b_step,
                 j->b_line, j->b_step, b);
      for (size_t row = NAME(top)(j, col) / t->mr * t->mr; row < j->m;
           row += NAME(MC)) {
        size_t mc = NAME(least)(NAME(MC), j->m - row);
        NAME(pack)(t->mr, mc, kc, j->alpha, j->a + row * j->a_line + l * j->a_step,
                   j->a_line, j->a_step, a);
        NAME(tiles)(j, t, row, mc, col, nc, kc, a, b, j->beta != 0 || l > 0);
      }
    }
  }
}

/* ---- shares of the threads --------------------------------------------- */

/* Where thread `id` begins in so many lines of C, which are shared in whole units; of a
 * triangle's columns, about the same area. */
static size_t NAME(border)(size_t lines, size_t unit, int lower, int id, int threads)
{
  double upto = (double) id / threads;
  if (lower) upto = 1.0 - sqrt(1.0 - upto);
  size_t at = NAME(round_up)((size_t) (upto * (double) lines), unit);
  return id == threads || at > lines ? lines : at;
}

/* What the first thread, which has the most, takes for that many rows and columns: a
 * packed number costs as much as some 16 products. */
static double NAME(cost)(size_t rows, size_t cols, const NAME(kernel) *t)
{
  double m = (double) NAME(round_up)(rows, t->mr), n = (double) NAME(round_up)(cols, t->nr);
  return m * n + 16.0 * (m + n);
}

/* The rows or columns of C of thread `id`, whichever is sooner done by all. Returns 0
 * where there are none. */
static int NAME(share)(const NAME(job) *all, const NAME(kernel) *t, int id,
                       int threads, NAME(job) *part)
{
  size_t first_rows = NAME(border)(all->m, t->mr, 0, 1, threads);
  size_t first_cols = NAME(border)(all->n, t->nr, 0, 1, threads);
  int rows = !all->lower &&
    NAME(cost)(first_rows, all->n, t) <= NAME(cost)(all->m, first_cols, t);
  size_t lines = rows ? all->m : all->n, unit = rows ? t->mr : t->nr;
  size_t begin = NAME(border)(lines, unit, all->lower, id, threads);
  size_t end = NAME(border)(lines, unit, all->lower, id + 1, threads);
  *part = *all;
  if (rows) {
    part->m = end - begin;
    part->a += begin * all->a_line;
    part->c += begin;
  } else {
    size_t skip = all->lower ? begin : 0;         /* rows above the triangle */
    part->n = end - begin;
    part->b += begin * all->b_line;
    part->m -= skip;
    part->a += skip * all->a_line;
    part->c += skip + begin * all->ldc;
  }
  return end > begin;
}

typedef struct {
  const NAME(job) *job;
  NAME(kernel) kernel;
  int threads;
  char *space;
} NAME(shares);

static void NAME(run_share)(void *context, size_t id)
{
  const NAME(shares) *s = context;
  NAME(job) part;
  if (NAME(share)(s->job, &s->kernel, (int) id, s->threads, &part))
    NAME(run)(&part, &s->kernel, (REAL *) (s->space + id * THREAD_SPACE));
}

static void NAME(compute)(gemm_plan plan, const NAME(job) *job)
{
  if (job->m == 0 || job->n == 0) return;
  if (job->k == 0 || job->alpha == 0) {
    if (job->beta != 1) NAME(scale)(job);
    return;
  }
  int few = (double) job->m * (double) job->n * (double) job->k < 5e4;
  NAME(shares) s = {job, NAME(choose)(plan.kernel), few ? 1 : plan.threads,
                    aligned(plan.space)};
  threads_run(s.threads, (size_t) s.threads, NAME(run_share), &s);
}

/* ---- the products ------------------------------------------------------ */

void NAME(gemm)(gemm_plan plan, char trans_a, char trans_b, size_t m, size_t n,
                size_t k, REAL alpha, const REAL *a, size_t lda, const REAL *b,
                size_t ldb, REAL beta, REAL *c, size_t ldc)
{
  int ta = trans_a != 'N', tb = trans_b != 'N';
  NAME(job) job = {.m = m, .n = n, .k = k, .alpha = alpha, .beta = beta,
                   .a = a, .a_line = ta ? lda : 1, .a_step = ta ? 1 : lda,
                   .b = b, .b_line = tb ? 1 : ldb, .b_step = tb ? ldb : 1,
                   .c = c, .ldc = ldc, .lower = 0};
  NAME(compute)(plan, &job);
}

void NAME(syrk)(gemm_plan plan, char trans, size_t n, size_t k, REAL alpha,
                const REAL *a, size_t lda, REAL beta, REAL *c, size_t ldc)
{
  int t = trans != 'N';
  size_t line = t ? lda : 1, step = t ? 1 : lda;
  NAME(job) job = {.m = n, .n = n, .k = k, .alpha = alpha, .beta = beta,
                   .a = a, .a_line = line, .a_step = step,
                   .b = a, .b_line = line, .b_step = step,
                   .c = c, .ldc = ldc, .lower = 1};
  NAME(compute)(plan, &job);
}
