/* data against loops over cells. Each set of cells is read in three kinds of
 * storage, which must agree; work arrays have exactly the size that the
 * *_work() functions ask for, and start as NaN. */
#include <float.h>
#include <setjmp.h>

#include "arrays.h"
#include "cells.h"
#include "polls.h"
#include "reference.h"

/* ---- sets of cells ----------------------------------------------------- */

/* Whole numbers, many of them 0, a share of them missing. */
static set new_set(size_t n, size_t p, double missing)
{
  set s = {.n = n, .p = p, .cell = doubles(n * p), .mu = doubles(p),
           .unit = doubles(p)};
  for (size_t i = 0; i < n * p; i++) {
    s.cell[i] = test_uniform() < 0.5 ? 0.0 : floor(4.0 * test_normal());
    if (test_uniform() < missing) s.cell[i] = NAN;
  }
  for (size_t j = 0; j < p; j++) {
    s.mu[j] = test_normal();
    s.unit[j] = exp(test_normal());
  }
  return s;
}

static double scaled(const set *s, size_t i, size_t j)
{
  double v = s->cell[i + j * s->n];
  return isnan(v) ? 0.0 : (v - s->mu[j]) * s->unit[j];
}

/* Columns first, first + 1, ... of X */
static double *columns_of(const set *s, size_t first, size_t count)
{
  double *x = doubles(s->n * count);
  for (size_t j = 0; j < count; j++)
    for (size_t i = 0; i < s->n; i++) x[i + j * s->n] = scaled(s, i, first + j);
  return x;
}

/* ---- readers ----------------------------------------------------------- */

/* One block of rows, with and without a mask, and as a list of rows. */
static void check_rows(const set *s, size_t first, size_t count,
                       const int *rows)
{
  size_t p = s->p, ld = count + 3;
  size_t size = span(count, p, ld);
  double *out = doubles(size), *mask = doubles(size), *bare = doubles(size);
  double *x = doubles(size), *seen = doubles(size);
  for (size_t e = 0; e < size; e++)
    out[e] = mask[e] = bare[e] = x[e] = seen[e] = marker;
  for (size_t j = 0; j < p; j++)
    for (size_t r = 0; r < count; r++) {
      size_t i = rows ? (size_t) rows[r] : first + r;
      x[r + j * ld] = scaled(s, i, j);
      seen[r + j * ld] = !isnan(s->cell[i + j * s->n]);
    }
  data_rows(&s->d, first, count, rows, out, mask, ld);
  data_rows(&s->d, first, count, rows, bare, NULL, ld);
  CHECK(gap(size, out, x) == 0.0);
  CHECK(gap(size, bare, x) == 0.0);
  CHECK(gap(size, mask, seen) == 0.0);
  free(out);
  free(mask);
  free(bare);
  free(x);
  free(seen);
}

/* Every third row, increasing, put in the opposite order. */
static void check_gather(const set *s)
{
  size_t count = (s->n + 2) / 3, ld = count + 2;
  size_t size = span(count, s->p, ld);
  int *from = ints(count), *to = ints(count);
  double *out = doubles(size), *x = doubles(size);
  for (size_t e = 0; e < size; e++) out[e] = x[e] = marker;
  for (size_t t = 0; t < count; t++) {
    from[t] = (int) (3 * t);
    to[t] = (int) (count - 1 - t);
    for (size_t j = 0; j < s->p; j++)
      x[count - 1 - t + j * ld] = scaled(s, 3 * t, j);
  }
  data_gather(&s->d, from, to, count, out, ld);
  CHECK(gap(size, out, x) == 0.0);
  free(from);
  free(to);
  free(out);
  free(x);
}

static void check_cols(const set *s, size_t first, size_t count)
{
  double *out = doubles(s->n * count), *x = columns_of(s, first, count);
  data_cols(&s->d, first, count, out);
  CHECK(gap(s->n * count, out, x) == 0.0);
  free(out);
  free(x);
}

static void blocks_are_centred_scaled_and_masked(void)
{
  static const size_t shapes[][2] = {{1, 1}, {2, 5}, {17, 4}, {30, 1}, {5, 40}};
  for (int shape = 0; shape < 5; shape++)
    for (int holes = 0; holes < 2; holes++) {
      size_t n = shapes[shape][0], p = shapes[shape][1];
      set s = new_set(n, p, 0.3 * holes);
      for (int kind = 0; kind < 3; kind++) {
        store(&s, kinds[kind]);
        for (size_t first = 0; first < n; first += 1 + n / 3)
          for (size_t count = 0; first + count <= n; count += 1 + n / 4)
            check_rows(&s, first, count, NULL);
        int *rows = any_rows(n + 3, n);
        check_rows(&s, 99, n + 3, rows);
        check_rows(&s, 0, n, NULL);
        check_gather(&s);
        check_cols(&s, 0, p);
        check_cols(&s, p / 2, p - p / 2);
        check_cols(&s, p - 1, 0);
        free(rows);
      }
      drop(&s);
    }
}

static void block_sizes_stay_within_the_data(void)
{
  for (size_t n = 0; n < 9000; n = 2 * n + 1)
    for (size_t p = 0; p < 100000; p = 3 * p + 1) {
      elbo_data d = {.n = n, .p = p};
      size_t rows = data_block_rows(&d), cols = data_block_cols(&d);
      CHECK(rows >= 1 && rows <= (n ? n : 1) && cols >= 1 && cols <= (p ? p : 1));
      CHECK(rows <= 16 || rows * p <= (size_t) 1 << 19);
      CHECK(cols <= 16 || cols * n <= (size_t) 1 << 19);
    }
}

/* ---- summaries --------------------------------------------------------- */

static void check_summaries(const set *s)
{
  size_t n = s->n, p = s->p, bad = 0;
  double *count = doubles(p), *mean = doubles(p), *low = doubles(p);
  double *high = doubles(p), *ss = doubles(p);
  double *average = doubles(p), *squares = doubles(p);
  CHECK(data_summary(&s->d, count, mean, low, high) == 0);
  data_squares(&s->d, ss);
  for (size_t j = 0; j < p; j++) {
    double seen = 0.0, least = INFINITY, most = -INFINITY;
    double sum = 0.0, sq = 0.0;
    for (size_t i = 0; i < n; i++) {
      double v = s->cell[i + j * n];
      if (isnan(v)) continue;
      seen++;
      sum += v;
      least = fmin(least, v);
      most = fmax(most, v);
      sq += scaled(s, i, j) * scaled(s, i, j);
    }
    squares[j] = sq;
    average[j] = seen > 0.0 ? sum / seen : 0.0;
    bad += count[j] != seen;
    if (seen > 0.0) bad += low[j] != least || high[j] != most;
    else bad += !isnan(mean[j]);
    if (!(seen > 0.0)) mean[j] = 0.0;
  }
  CHECK(bad == 0);
  CHECK_NEAR(gap(p, mean, average), 0.0, 1e-14);
  CHECK_NEAR(gap(p, ss, squares), 0.0, 1e-12);
  free(count);
  free(mean);
  free(low);
  free(high);
  free(ss);
  free(average);
  free(squares);
}

/* ---- products ---------------------------------------------------------- */

/* All four products for b columns. */
static void check_products(const set *s, size_t b)
{
  size_t n = s->n, p = s->p;
  double *x = columns_of(s, 0, p), *q = normals(p * b, 1.0), *r = normals(n * b, 1.0);
  double *xq = doubles(n * b), *sq = doubles(p * b), *out, *work;
  double *xr = doubles(p * b), *gr = doubles(n * b);
  multiply(n, b, p, x, q, xq);
  cross(p, b, n, x, r, xr);
  cross(p, b, n, x, xq, sq);
  multiply(n, b, p, x, xr, gr);
  for (size_t e = 0; e < p * b; e++) sq[e] /= (double) n;
  for (size_t e = 0; e < n * b; e++) gr[e] /= (double) n;
  out = doubles(n * b);
  work = doubles(data_times_work(&s->d, b));
  data_times(&s->d, q, b, out, work);
  CHECK_NEAR(gap(n * b, out, xq), 0.0, 1e-12);
  free(work);
  work = doubles(data_gram_times_work(&s->d, b));
  data_gram_times(&s->d, r, b, out, work);
  CHECK_NEAR(gap(n * b, out, gr), 0.0, 1e-12);
  free(work);
  free(out);
  out = doubles(p * b);
  work = doubles(data_cov_times_work(&s->d, b));
  data_cov_times(&s->d, q, b, out, work);
  CHECK_NEAR(gap(p * b, out, sq), 0.0, 1e-12);
  free(work);
  work = doubles(data_cross_work(&s->d, b));
  data_cross(&s->d, r, b, out, work);
  CHECK_NEAR(gap(p * b, out, xr), 0.0, 1e-12);
  free(work);
  free(out);
  free(x);
  free(q);
  free(r);
  free(xq);
  free(sq);
  free(xr);
  free(gr);
}

/* Of S, what lies above the diagonal is left alone. */
static void check_covariance(const set *s)
{
  size_t n = s->n, p = s->p, touched = 0;
  double *x = columns_of(s, 0, p), *out = doubles(p * p), *expected = doubles(p * p);
  double *work = doubles(data_covariance_work(&s->d));
  covariance(n, p, x, expected);
  data_covariance(&s->d, out, work);
  for (size_t e = 0; e < p * p; e++) {
    if (e % p >= e / p) continue;
    touched += !isnan(out[e]);
    out[e] = expected[e];
  }
  CHECK(touched == 0);
  CHECK_NEAR(gap(p * p, out, expected), 0.0, 1e-12);
  free(x);
  free(out);
  free(expected);
  free(work);
}

static void check_everything(size_t n, size_t p, double missing, size_t b)
{
  set s = new_set(n, p, missing);
  for (int kind = 0; kind < 3; kind++) {
    store(&s, kinds[kind]);
    check_summaries(&s);
    check_products(&s, b);
    check_products(&s, 0);
    if (p < 100) check_covariance(&s);
  }
  drop(&s);
}

static void small_data_match_loops(void)
{
  for (size_t n = 1; n <= 40; n += 1 + n / 3)
    for (size_t p = 1; p <= 40; p += 1 + p / 3) {
      check_everything(n, p, 0.0, 1 + n % 4);
      check_everything(n, p, 0.25, 1 + p % 4);
    }
  check_everything(9, 7, 1.0, 2);                        /* nothing observed */
}

/* Shapes at which rows or columns come in three blocks or more. */
static void large_data_come_in_blocks(void)
{
  static const size_t shapes[][2] = {{10007, 3}, {3, 10007}, {53, 17000},
                                     {17000, 53}};
  for (int shape = 0; shape < 4; shape++) {
    size_t n = shapes[shape][0], p = shapes[shape][1];
    elbo_data d = {.n = n, .p = p};
    CHECK(n > 2 * data_block_rows(&d) || p > 2 * data_block_cols(&d));
    check_everything(n, p, 0.1, 2);
  }
}

/* X'X/n less the means' products would leave nothing of these. */
static void a_covariance_far_from_zero_keeps_its_digits(void)
{
  set s = new_set(9000, 7, 0.1);
  for (size_t e = 0; e < s.n * s.p; e++) s.cell[e] += 2e9 - 1000.0;
  for (size_t j = 0; j < s.p; j++) s.mu[j] += 2e9 - 1000.0;
  for (int kind = 0; kind < 3; kind++) {
    store(&s, kinds[kind]);
    CHECK(s.n > 2 * data_block_rows(&s.d));
    check_covariance(&s);
  }
  drop(&s);
}

static void a_covariance_without_rows_is_zero(void)
{
  set s = new_set(0, 4, 0.0);
  for (int kind = 0; kind < 3; kind++) {
    store(&s, kinds[kind]);
    double *out = doubles(16), *work = doubles(data_covariance_work(&s.d));
    data_covariance(&s.d, out, work);
    for (size_t e = 0; e < 16; e++) CHECK(e % 4 < e / 4 || out[e] == 0.0);
    free(out);
    free(work);
  }
  drop(&s);
}

/* A mean off by a bit would leave a variance to what has none. */
static void a_constant_column_has_exactly_its_mean(void)
{
  static const double constants[] = {0.1, -1.0 / 3.0, 1e150, -1e-150, 5e-324,
                                     123456789.123};
  for (size_t n = 1; n < 12000; n = 3 * n + 1)
    for (int c = 0; c < 6; c++) {
      double *x = doubles(n), unit = 1.0, count, mean, low, high, ss;
      for (size_t i = 0; i < n; i++) x[i] = constants[c];
      elbo_data d = {.kind = DATA_DOUBLE, .n = n, .p = 1, .value = x,
                     .mu = &mean, .unit = &unit};
      CHECK(data_summary(&d, &count, &mean, &low, &high) == 0);
      CHECK(mean == constants[c] && low == mean && high == mean);
      data_squares(&d, &ss);
      CHECK(ss == 0.0);
      free(x);
    }
}

static void the_mean_of_large_integers_is_exact(void)
{
  size_t n = 5000;
  int *x = ints(n), most = 2147483647;
  double count, mean, low, high;
  for (size_t i = 0; i < n; i++)
    x[i] = i % 5 == 0 ? DATA_MISSING_INT : i % 2 ? most : -most;
  x[0] = most;
  elbo_data d = {.kind = DATA_INTEGER, .n = n, .p = 1, .ivalue = x};
  CHECK(data_summary(&d, &count, &mean, &low, &high) == 0);
  CHECK(count == 4001.0 && low == -most && high == most);
  CHECK_NEAR(mean, most / 4001.0, 1e-15);
  free(x);
}

/* Finite cells whose sum is not finite have a mean that the sum cannot give:
 * either the right one, or none, but not a wrong one. */
static void an_overflowing_sum_gives_no_wrong_mean(void)
{
  double x[] = {1.5e308, 1.5e308, 1.5e308, 1.5e308, 0.0, 0.0, 0.0, 0.0};
  double count, mean, low, high;
  elbo_data d = {.kind = DATA_DOUBLE, .n = 8, .p = 1, .value = x};
  CHECK(data_summary(&d, &count, &mean, &low, &high) == 0);
  CHECK(!isfinite(mean) || fabs(mean / 0.75e308 - 1.0) < 1e-14);
}

static void the_first_infinite_column_is_named(void)
{
  for (size_t at = 0; at < 5; at++)
    for (int sign = -1; sign <= 1; sign += 2)
      for (int kind = 0; kind < 3; kind += 2) {
        set s = new_set(7, 5, 0.2);
        double out[4][5];
        for (size_t j = at; j < 5; j += 2)
          s.cell[test_below(7) + j * 7] = sign * INFINITY;
        store(&s, kinds[kind]);
        CHECK(data_summary(&s.d, out[0], out[1], out[2], out[3]) == at + 1);
        drop(&s);
      }
}

/* ---- scales ------------------------------------------------------------ */

/* Cells times `scale` with units divided by it: everything as before. */
static void check_scale(const set *s, double scale)
{
  set t = new_set(s->n, s->p, 0.0);
  size_t n = s->n, p = s->p, b = 2;
  for (size_t e = 0; e < n * p; e++) t.cell[e] = s->cell[e] * scale;
  for (size_t j = 0; j < p; j++) {
    t.mu[j] = s->mu[j] * scale;
    t.unit[j] = s->unit[j] / scale;
  }
  for (int kind = 0; kind < 3; kind += 2) {
    store(&t, kinds[kind]);
    double *x = columns_of(s, 0, p), *q = normals(p * b, 1.0), *y = doubles(n * b);
    double *xq = doubles(n * b), *ss = doubles(p), *expected = doubles(p);
    double *work = doubles(data_times_work(&t.d, b));
    multiply(n, b, p, x, q, xq);
    for (size_t j = 0; j < p; j++) cross(1, 1, n, x + j * n, x + j * n, expected + j);
    check_rows(&t, 0, n, NULL);
    data_squares(&t.d, ss);
    CHECK_NEAR(gap(p, ss, expected), 0.0, 1e-12);
    data_times(&t.d, q, b, y, work);
    CHECK_NEAR(gap(n * b, y, xq), 0.0, 1e-12);
    check_covariance(&t);
    free(x);
    free(q);
    free(y);
    free(xq);
    free(ss);
    free(expected);
    free(work);
  }
  drop(&t);
}

static void units_take_up_extreme_scales(void)
{
  set s = new_set(21, 6, 0.0);
  check_scale(&s, 1.0);
  check_scale(&s, 1e150);
  check_scale(&s, 1e-150);
  check_scale(&s, 1e300);
  check_scale(&s, 1e-300);
  drop(&s);
}

/* ---- sparse ------------------------------------------------------------ */

/* One column empty, one full, one full of stored zeros, one all missing. */
static void sparse_columns_may_be_empty_or_full(void)
{
  size_t n = 26, p = 5;
  set s = new_set(n, p, 0.0);
  for (size_t i = 0; i < n; i++) {
    s.cell[i] = 0.0;
    s.cell[i + n] = 1.0 + (double) i;
    s.cell[i + 2 * n] = NAN;
    s.cell[i + 4 * n] = 0.0;
  }
  store(&s, DATA_SPARSE);
  check_rows(&s, 0, n, NULL);
  check_rows(&s, 3, 5, NULL);
  check_cols(&s, 0, p);
  check_summaries(&s);
  check_products(&s, 3);
  check_covariance(&s);
  drop(&s);

  double mu[] = {0.5, -2.0}, unit[] = {1.0, 3.0}, zeros[] = {0.0, 0.0, 0.0};
  int row[] = {0, 1, 2}, start[] = {0, 0, 3};      /* no cell, and all zero */
  double cell[] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  set t = {.n = 3, .p = 2, .cell = cell, .mu = mu, .unit = unit};
  t.d = (elbo_data) {DATA_SPARSE, 3, 2, zeros, NULL, row, start, mu, unit, NULL};
  check_rows(&t, 0, 3, NULL);
  check_summaries(&t);
  check_products(&t, 2);
  check_covariance(&t);
}

/* Units are made for the spread of the data: (0 - mu) unit may be out of range
 * where no cell is 0. */
static void a_full_sparse_column_has_no_zeros(void)
{
  double value[] = {1e300, 1e300, 1.0, 2.0}, mu[] = {1e300, 1.5};
  double unit[] = {1e10, 1e10}, ss[2];
  int row[] = {0, 1, 0, 1}, start[] = {0, 2, 4};
  elbo_data d = {DATA_SPARSE, 2, 2, value, NULL, row, start, mu, unit, NULL};
  data_squares(&d, ss);
  CHECK(ss[0] == 0.0);
  CHECK_NEAR(ss[1], 0.5e20, 1e-14);
}

/* ---- poll -------------------------------------------------------------- */

typedef struct { double *q, *r, *big, *work, *column[5]; } room;

static void run(const elbo_data *d, int what, const room *a)
{
  switch (what) {
  case 0: data_summary(d, a->column[0], a->column[1], a->column[2],
                       a->column[3]); break;
  case 1: data_squares(d, a->column[4]); break;
  case 2: data_times(d, a->q, 2, a->big, a->work); break;
  case 3: data_cov_times(d, a->q, 2, a->big, a->work); break;
  case 4: data_cross(d, a->r, 2, a->big, a->work); break;
  case 5: data_gram_times(d, a->r, 2, a->big, a->work); break;
  default: data_covariance(d, a->big, a->work);
  }
}

static size_t work_of(const elbo_data *d, int what)
{
  switch (what) {
  case 2: return data_times_work(d, 2);
  case 3: return data_cov_times_work(d, 2);
  case 4: return data_cross_work(d, 2);
  case 5: return data_gram_times_work(d, 2);
  case 6: return data_covariance_work(d);
  default: return 0;
  }
}

/* Each routine polls; left in the middle by a long jump, it gives the same
 * result as ever the next time, and has left its input alone. */
static void check_poll(set *s, int what)
{
  size_t n = s->n, p = s->p, most = n > p ? n : p;
  room a = {normals(p * 2, 1.0), normals(n * 2, 1.0), doubles(most * 2),
            doubles(work_of(&s->d, what)),
            {doubles(p), doubles(p), doubles(p), doubles(p), doubles(p)}};
  for (size_t e = 0; e < most * 2; e++) a.big[e] = 0.0;
  polls = 0;
  s->d.poll = count_polls;
  run(&s->d, what, &a);
  double *first = copy_of(most * 2, a.big);
  CHECK(polls > 0);
  s->d.poll = leave;
  for (volatile int stop = 0; stop < 3 && stop < polls; stop++) {
    polls_left = stop;
    if (setjmp(away) == 0) {
      run(&s->d, what, &a);
      CHECK(!"left by a long jump");
    }
  }
  s->d.poll = NULL;
  run(&s->d, what, &a);
  CHECK(gap(most * 2, a.big, first) == 0.0);
  free(a.q);
  free(a.r);
  free(a.big);
  free(a.work);
  for (int c = 0; c < 5; c++) free(a.column[c]);
  free(first);
}

static void poll_may_leave_by_a_long_jump(void)
{
  static const size_t shapes[][2] = {{9000, 3}, {3, 9000}};
  for (int shape = 0; shape < 2; shape++) {
    set s = new_set(shapes[shape][0], shapes[shape][1], 0.1);
    for (int kind = 0; kind < 3; kind++) {
      store(&s, kinds[kind]);
      for (int what = 0; what < 6; what++) check_poll(&s, what);
      if (s.p * s.p < 2 * s.n) check_poll(&s, 6);
    }
    drop(&s);
  }
}

/* ---- floats ------------------------------------------------------------ */

/* An observation in each column, rounded once; one poll for each block of rows. */
static void check_floats(set *s)
{
  size_t n = s->n, p = s->p, block = data_block_rows(&s->d), bad = 0;
  float *out = malloc(n * p * sizeof *out + (n * p == 0));
  double *work = doubles(data_floats_work(&s->d));
  for (size_t e = 0; e < n * p; e++) out[e] = (float) marker;
  polls = 0;
  s->d.poll = count_polls;
  double largest = 0.0, found = data_floats(&s->d, NULL, n, out, work);
  s->d.poll = NULL;
  CHECK((size_t) polls == (n + block - 1) / block);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < p; j++) {
      double cell = s->cell[i + j * n];
      float value = out[j + i * p];
      if (isnan(cell)) bad += !isnan(value);
      else bad += value != (float) ((cell - s->mu[j]) * s->unit[j]);
      if (!isnan(cell)) largest = fmax(largest, fabs((cell - s->mu[j]) * s->unit[j]));
    }
  CHECK(bad == 0);
  CHECK(found == largest);
  /* every third row, backwards */
  size_t some = n / 3, wrong = 0;
  int *rows = malloc((some + 1) * sizeof *rows);
  float *part = malloc(some * p * sizeof *part + 1);
  for (size_t i = 0; i < some; i++) rows[i] = (int) (n - 1 - 3 * i);
  data_floats(&s->d, rows, some, part, work);
  for (size_t i = 0; i < some; i++)
    wrong += memcmp(part + i * p, out + (size_t) rows[i] * p, p * sizeof *part) != 0;
  CHECK(wrong == 0);
  free(rows);
  free(part);
  free(out);
  free(work);
}

/* Smaller than a tile of the transpose, not whole ones of it, and more than two blocks;
 * all observed, some and none. */
static void floats_are_transposed_and_rounded(void)
{
  static const size_t shapes[][2] = {{0, 3}, {1, 1}, {1, 40}, {40, 1}, {15, 17}, {16, 32},
                                     {33, 50}, {10007, 3}, {53, 40000}};
  for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++)
    for (int holes = 0; holes < 3; holes++) {
      if (holes == 2 && shape > 6) continue;
      set s = new_set(shapes[shape][0], shapes[shape][1], 0.5 * holes);
      for (int kind = 0; kind < 3; kind++) {
        store(&s, kinds[kind]);
        CHECK(shape < 7 || s.n > 2 * data_block_rows(&s.d));
        check_floats(&s);
      }
      drop(&s);
    }
}

/* Infinite cells, and those beyond the range of a float. */
static void floats_of_extreme_numbers(void)
{
  static const double cells[] = {INFINITY, -INFINITY, 1e300, -1e39, 1e-300, -0.0, NAN, 3.0};
  set s = new_set(8, 1, 0.0);
  memcpy(s.cell, cells, sizeof cells);
  s.mu[0] = 0.0;
  s.unit[0] = 1.0;
  for (int kind = 0; kind < 3; kind += 2) {
    float out[8];
    double *work;
    store(&s, kinds[kind]);
    work = doubles(data_floats_work(&s.d));
    CHECK(data_floats(&s.d, NULL, s.n, out, work) > FLT_MAX);
    CHECK(out[0] == INFINITY && out[1] == -INFINITY && out[2] == INFINITY &&
          out[3] == -INFINITY);
    CHECK(out[4] == 0.0f && out[5] == 0.0f && isnan(out[6]) && out[7] == 3.0f);
    free(work);
  }
  drop(&s);
}

TEST_MAIN(products_are_our_own, blocks_are_centred_scaled_and_masked,
          block_sizes_stay_within_the_data, small_data_match_loops,
          large_data_come_in_blocks, a_covariance_far_from_zero_keeps_its_digits,
          a_covariance_without_rows_is_zero, a_constant_column_has_exactly_its_mean,
          the_mean_of_large_integers_is_exact,
          an_overflowing_sum_gives_no_wrong_mean,
          the_first_infinite_column_is_named, units_take_up_extreme_scales,
          sparse_columns_may_be_empty_or_full,
          a_full_sparse_column_has_no_zeros, poll_may_leave_by_a_long_jump,
          floats_are_transposed_and_rounded, floats_of_extreme_numbers)
