/* Symmetric k x k matrices by the thousand, one for each pattern of missing
 * cells or for each feature, kept side by side: entry (i, j), i >= j, of all of
 * them is column packed_index(k, i, j) of a matrix with one row a member.
 * Sums over members and over cells are then plain matrix products.
 */
#ifndef ELBO_PACKED_H
#define ELBO_PACKED_H

#include <stddef.h>

/* k (k + 1) / 2, and the place of (i, j), i >= j: columns of the lower
 * triangle, one after another. */
size_t packed_size(size_t k);
size_t packed_index(size_t k, size_t i, size_t j);

/* Inverts `count` positive definite matrices in place; a is count x
 * packed_size(k) with leading dimension ld. logdet[count] receives their
 * log-determinants. Work: packed_inverse_work(). */
int packed_inverse(size_t k, size_t count, double *a, size_t ld,
                   double *logdet, double *work);
size_t packed_inverse_work(size_t k);

/* full (k x k, both triangles) = member i of a. */
void packed_unpack(size_t k, const double *a, size_t ld, size_t i,
                   double *full);

/* products (n x packed_size(k)): entry (a, b) of member i is w[i, a] w[i, b]. */
void packed_outer(size_t n, size_t k, const double *w, size_t ldw,
                  double *products, size_t ld);

#endif
