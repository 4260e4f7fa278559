/* Random data and loadings through plain and accelerated EM maps. */
#include "random_data.h"
#include "em.h"
#include "status.h"
#include "subspace.h"

/* ---- entry points ------------------------------------------------------ */

static void try_steps(const elbo_data *d, size_t k, int wild)
{
  size_t p = d->p;
  double *w = draws(p * k, wild), *w_new = doubles(p * k), loglik, next;
  double *work = doubles(em_step_work(d, k)), trace = trace_of(d);
  double sigma2 = fabs(draw(wild)) + 1e-3, fixed = test_below(2) ? -1.0 : sigma2;
  for (int map = 0; map < 4; map++) {
    int status = em_step(d, k, w, sigma2, trace, fixed, w_new, &next, &loglik, work);
    CHECK(status == ELBO_OK || status == ELBO_NOT_POSITIVE);
    if (status != ELBO_OK) break;
    CHECK(next > 0.0 || isnan(next));
    CHECK(wild > 0 || (all_finite(p * k, w_new) && isfinite(loglik)));
    memcpy(w, w_new, p * k * sizeof *w);
    sigma2 = next;
  }
  free(w);
  free(w_new);
  free(work);
}

static void try_ritz(const elbo_data *d, size_t k, int wild)
{
  size_t p = d->p, work, iwork;
  double *w = draws(p * k, wild);
  em_subspace e[2] = {new_subspace(p, k), new_subspace(p, k)};
  CHECK(em_ritz_work(d, k, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  int status = em_ritz_start(d, w, &e[0], space, ispace);
  CHECK(status == ELBO_OK || (wild > 0 && status == ELBO_LAPACK));
  for (int map = 0; map < 6 && status == ELBO_OK; map++) {
    const em_subspace *to = &e[!(map % 2)];
    status = em_ritz_step(d, &e[map % 2], &e[!(map % 2)], space, ispace);
    CHECK(status == ELBO_OK || (wild > 0 && status == ELBO_LAPACK));
    CHECK(status != ELBO_OK || to->c <= k);
    CHECK(wild > 0 || (all_finite(k, to->values) && all_finite(p * k, to->u) &&
                       all_finite(p * to->c, to->step)));
  }
  free(w);
  drop_subspace(&e[0]);
  drop_subspace(&e[1]);
  free(space);
  free(ispace);
}

static void any_data(void)
{
  for (long i = test_iterations(1000); i > 0; i--) {
    int wild = (int) test_below(4);
    size_t n = draw_size(1), p = n > 1000 ? 2 + test_below(5) : 2 + test_below(40);
    size_t k = 1 + test_below(p - 1);
    input s = new_input(n, p, test_below(2) ? 0.0 : test_uniform(), wild);
    try_steps(&s.d, k, wild);
    try_ritz(&s.d, k, wild);
    drop(&s);
  }
}

TEST_MAIN(products_are_our_own, any_data)
