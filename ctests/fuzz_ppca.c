/* Random data through each route of the closed form, and what follows from the
 * eigenpairs; canonical loadings of anything. */
#include "random_data.h"
#include "ppca.h"
#include "status.h"

/* ---- entry points ------------------------------------------------------ */

/* From eigenpairs to parameters, with and without a fixed noise variance. */
static void try_parameters(const double *values, const double *u, size_t k,
                           size_t p, double trace, int wild)
{
  double *w = doubles(p * k), sigma2 = -1.0;
  double fixed = test_below(2) ? -1.0 : fabs(draw(wild)) + 1e-6;
  size_t used = ppca_noise(values, k, p, trace, fixed, &sigma2);
  double loglik = ppca_loglik(values, used, p, trace, sigma2);
  ppca_loadings(values, u, k, p, used, sigma2, w);
  CHECK(used <= k);
  if (wild == 0) {
    CHECK(sigma2 >= 0.0 && all_finite(p * k, w));
    CHECK(isfinite(loglik) || !(sigma2 > 1e-12 * trace));
  }
  free(w);
}

static void try_route(const elbo_data *d, size_t k, enum ppca_route route,
                      int wild)
{
  size_t n = d->n, p = d->p, work, iwork, products;
  size_t known = route == PPCA_COVARIANCE ? p : route == PPCA_GRAM ? n : k;
  double *values = doubles(known), *u = doubles(p * k), *xu = doubles(n * k);
  double trace = 0.0, residual;
  CHECK(ppca_eigen_work(d, k, route, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  int status = ppca_eigen(d, k, route, values, u, xu, &trace, &products,
                          &residual, space, ispace);
  CHECK(status >= ELBO_OK && status <= ELBO_LAPACK);
  if (wild == 0) {
    CHECK(status == ELBO_OK || (route == PPCA_KRYLOV && status == ELBO_NOT_CONVERGED));
    CHECK(all_finite(known, values) && all_finite(p * k, u) && all_finite(n * k, xu));
  }
  if (status <= ELBO_NOT_CONVERGED && k < p) try_parameters(values, u, k, p, trace, wild);
  free(values);
  free(u);
  free(xu);
  free(space);
  free(ispace);
}

static void try_canonical(int wild)
{
  size_t p = 1 + test_below(30), k = 1 + test_below(p), work, iwork;
  double *w = draws(p * k, wild);
  CHECK(ppca_canonical_work(p, k, &work, &iwork) == ELBO_OK);
  double *space = doubles(work);
  int *ispace = ints(iwork);
  int status = ppca_canonical(p, k, w, space, ispace);
  CHECK(status == ELBO_OK || (wild > 0 && status == ELBO_LAPACK));
  CHECK(wild > 0 || all_finite(p * k, w));
  free(w);
  free(space);
  free(ispace);
}

static void any_data(void)
{
  for (long i = test_iterations(600); i > 0; i--) {
    int wild = (int) test_below(4);
    size_t n = draw_size(1), p = n > 1000 ? 1 + test_below(5) : 1 + test_below(70);
    size_t m = n < p ? n : p, k = 1 + test_below(m < 9 ? m : 9);
    input s = new_input(n, p, test_below(2) ? 0.0 : test_uniform(), wild);
    if (test_below(20) == 0) k = m;
    try_route(&s.d, k, PPCA_COVARIANCE, wild);
    if (n < 200) try_route(&s.d, k, PPCA_GRAM, wild);
    if (m >= 40 + 3 * k) try_route(&s.d, k, PPCA_KRYLOV, wild);
    try_canonical(wild);
    drop(&s);
  }
}

TEST_MAIN(products_are_our_own, any_data)
