/* Adam (Kingma and Ba 2015, algorithm 1), climbing: theta moves along the
 * gradient of what is to be maximised. */
#ifndef ELBO_ADAM_H
#define ELBO_ADAM_H

#include <stddef.h>

/* beta_1, beta_2 and epsilon as recommended there, for the training engine too. */
#define ADAM_1 0.9
#define ADAM_2 0.999
#define ADAM_EPSILON 1e-8

/* Moments m and v of the `count` parameters after `steps` updates. */
typedef struct {
  double *m, *v;
  double steps;
} adam_state;

/* One update of theta from the gradient; both are `count` numbers. */
void adam_climb(size_t count, double *theta, const double *gradient,
                double learning_rate, adam_state *state);

#endif
