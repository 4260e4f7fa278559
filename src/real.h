/* The number type of the training engine: float in the package; double where the C
 * tests build the same sources with ELBO_REAL_DOUBLE, so that gradients can be checked
 * by differences. */
#ifndef ELBO_REAL_H
#define ELBO_REAL_H

#include "gemm.h"

#ifdef ELBO_REAL_DOUBLE
typedef double real;
# define real_gemm gemm_double
#else
typedef float real;
# define real_gemm gemm_float
#endif

#endif
