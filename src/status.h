/* Status codes that core routines return. The glue passes them on, and checked() in
 * R/core.R, which lists them in this order, turns them into R errors. */
#ifndef ELBO_STATUS_H
#define ELBO_STATUS_H

enum {
  ELBO_OK = 0,
  ELBO_NOT_CONVERGED,   /* an iterative solver spent its budget */
  ELBO_NOT_POSITIVE,    /* a matrix that must be positive definite is not */
  ELBO_LAPACK,          /* LAPACK reported a failure */
  ELBO_NOT_FINITE       /* an objective or its gradient is not a finite number */
};

#endif
