/* Adam (Kingma and Ba 2015, algorithm 1) and stochastic gradient ascent with momentum,
 * for the training engine: theta climbs along the gradient of what is to be maximised. */
#ifndef ELBO_OPTIMISER_H
#define ELBO_OPTIMISER_H

#include <stddef.h>

#include "real.h"

enum optimiser_kind { OPTIMISER_ADAM, OPTIMISER_SGD };

typedef struct {
  enum optimiser_kind kind;
  double rate, momentum;      /* momentum is SGD's */
  double clip;                /* the gradient is shortened to this norm if it is longer */
  double warm;                /* the rate rises in proportion over so many first steps */
} optimiser;

/* After `steps` updates; m and v are Adam's moments, m SGD's velocity (v is not used). */
typedef struct {
  real *theta, *m, *v;
  double steps;
} optimiser_state;

/* The learning rate of the next update after so many. */
double optimiser_rate(const optimiser *o, double steps);

/* One update; returns the norm of the gradient before it was clipped. Work:
 * optimiser_work() doubles. */
double optimiser_climb(const optimiser *o, gemm_plan plan, size_t count,
                       const real *gradient, optimiser_state *state, double *work);
size_t optimiser_work(size_t count);

#endif
