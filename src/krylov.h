/* Leading eigenpairs of a symmetric positive semi-definite operator S (p x p),
 * known only through its products S q: block Lanczos with full
 * reorthogonalisation and thick restarts (Wu and Simon 2000; Stewart 2001).
 *
 * The basis V has up to `dim` orthonormal columns, H = V' S V. A product with
 * the newest block extends V and H. Once V is full, the Ritz pairs of H are
 * examined and the leading ones kept, together with the block that was to be
 * multiplied next.
 */
#ifndef ELBO_KRYLOV_H
#define ELBO_KRYLOV_H

#include <stddef.h>

typedef struct {
  size_t p;           /* order of the operator */
  void (*times)(void *context, const double *q, size_t b, double *z);
  void (*slow)(void *context);    /* or NULL: told that many products are to
                                     come, so that preparing for them pays */
  void *context;
} krylov_operator;

typedef struct {
  size_t k;           /* eigenpairs wanted */
  size_t block;       /* columns a product */
  size_t dim;         /* columns of the basis:
                         k + 2 block <= dim <= p - block */
  size_t products;    /* give up after so many columns have been multiplied */
  double tol;         /* |S u - theta u| <= tol theta, for every wanted pair */
} krylov_settings;

/* Sensible settings for k of p: fills block and dim. */
krylov_settings krylov_defaults(size_t p, size_t k);

/* values[k] in decreasing order, vectors p x k orthonormal. *products is the
 * number of columns multiplied, *residual the largest relative residual. */
int krylov_top(const krylov_operator *op, const krylov_settings *set,
               double *values, double *vectors, size_t *products,
               double *residual, double *work, int *iwork);
int krylov_work(size_t p, const krylov_settings *set, size_t *work,
                size_t *iwork);

/* Makes the b columns behind the m orthonormal columns of basis (p x m) an
 * orthonormal basis of what they add to the span, in place; m + b <= p. A
 * column that adds nothing becomes an arbitrary direction outside it. */
int krylov_orthonormalise(size_t p, size_t m, size_t b, double *basis,
                          double *work);
size_t krylov_orthonormalise_work(size_t m, size_t b);

#endif
