/* The data matrix x, n observations x p features, as the models see it:
 * dense double, dense integer or compressed sparse columns, never copied
 * whole. Every reader gets (x - mu) * unit, centred and scaled block by
 * block, column j with mu[j] and unit[j].
 *
 * Missing cells are NaN (double) or INT_MIN (integer); a sparse matrix may
 * hold NaN among its stored values. Readers give 0 for a missing cell.
 *
 * `poll` is called once per block, where an interrupt may be taken: it may
 * leave by a long jump, as nothing here holds a resource.
 */
#ifndef ELBO_DATA_H
#define ELBO_DATA_H

#include <stddef.h>

enum data_kind { DATA_DOUBLE, DATA_INTEGER, DATA_SPARSE };

typedef struct {
  enum data_kind kind;
  size_t n, p;
  const double *value;      /* DOUBLE: n x p; SPARSE: the stored values */
  const int *ivalue;        /* INTEGER: n x p */
  const int *row;           /* SPARSE: row of each stored value, 0-based */
  const int *start;         /* SPARSE: p + 1 offsets into value and row */
  const double *mu, *unit;  /* p each */
  void (*poll)(void);       /* or NULL */
} elbo_data;

#define DATA_MISSING_INT (-2147483647 - 1)

/* Rows first .. first + count - 1 (or rows[0 .. count-1] where rows is not
 * NULL; `first` is then ignored) into out, count x p, leading dimension ld.
 * Where mask is not NULL it gets 1 for observed and 0 for missing, same
 * shape and leading dimension. */
void data_rows(const elbo_data *d, size_t first, size_t count, const int *rows,
               double *out, double *mask, size_t ld);

/* Many rows in any order, read from the first to the last: their numbers `from`,
 * increasing, and the rows `to` of out (leading dimension ld) where they go. */
void data_gather(const elbo_data *d, const int *from, const int *to,
                 size_t count, double *out, size_t ld);

/* The `count` rows of `rows`, or the first ones where that is NULL, as floats, p x count
 * (an observation in each column), NaN where a cell is missing. Returns the largest
 * magnitude among them. Work: data_floats_work() doubles. */
double data_floats(const elbo_data *d, const int *rows, size_t count, float *out,
                   double *work);
size_t data_floats_work(const elbo_data *d);

/* Columns first .. first + count - 1 into out, n x count. */
void data_cols(const elbo_data *d, size_t first, size_t count, double *out);

/* Rows a block should have, so that one block of p columns stays in cache;
 * likewise columns of n rows. */
size_t data_block_rows(const elbo_data *d);
size_t data_block_cols(const elbo_data *d);

/* Column summaries over observed cells: count, mean, and the largest and
 * smallest value; a column without any gets count 0 and mean NaN. Returns the
 * number of the first column (from 1) with an infinite value, 0 if none. */
size_t data_summary(const elbo_data *d, double *count, double *mean,
                    double *low, double *high);

/* ss[j] = sum over observed cells of ((x - mu) unit)^2. */
void data_squares(const elbo_data *d, double *ss);

/* y (n x b) = X q, with X the n x p matrix of centred, scaled values and
 * q p x b. Work: data_times_work() doubles. */
void data_times(const elbo_data *d, const double *q, size_t b, double *y,
                double *work);
size_t data_times_work(const elbo_data *d, size_t b);

/* S = X'X/n (p x p, lower triangle) in one pass, from blocks of centred rows.
 * Work: data_covariance_work() doubles. */
void data_covariance(const elbo_data *d, double *s, double *work);
size_t data_covariance_work(const elbo_data *d);

/* z (p x b) = X' X q / n: the covariance times q, in one pass over the data
 * and without the p x p matrix. Work: data_cov_times_work() doubles. */
void data_cov_times(const elbo_data *d, const double *q, size_t b, double *z,
                    double *work);
size_t data_cov_times_work(const elbo_data *d, size_t b);

/* z (n x b) = X X' q / n for q n x b: the Gram matrix times q, likewise.
 * Work: data_gram_times_work() doubles. */
void data_gram_times(const elbo_data *d, const double *q, size_t b, double *z,
                     double *work);
size_t data_gram_times_work(const elbo_data *d, size_t b);

/* y (p x b) = X' q for q n x b. Work: data_cross_work() doubles. */
void data_cross(const elbo_data *d, const double *q, size_t b, double *y,
                double *work);
size_t data_cross_work(const elbo_data *d, size_t b);

#endif
