/* Rates of our matrix products beside those of a BLAS, for bench/engine.R.
 *   gemm_rates THREADS LIBRARY     LIBRARY: a shared BLAS with sgemm and dgemm
 * Prints a line for each product: type, transposes, sizes, GFlop/s of both. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gemm.h"
#include "threads.h"

typedef void (*sgemm_t)(const char *, const char *, const int *, const int *, const int *,
                        const float *, const float *, const int *, const float *,
                        const int *, const float *, float *, const int *);
typedef void (*dgemm_t)(const char *, const char *, const int *, const int *, const int *,
                        const double *, const double *, const int *, const double *,
                        const int *, const double *, double *, const int *);

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* The products of a VAE of 784 pixels, hidden layers of 512 and 256 and 200 latent
 * dimensions: weights times a batch, and the gradients; and those of pPCA. */
static const int sizes[][3] = {
  {512, 100, 784}, {256, 100, 512}, {200, 100, 256}, {784, 100, 512},
  {512, 500, 784}, {256, 500, 512}, {200, 500, 256}, {784, 500, 512},
  {784, 1000, 512}, {512, 1000, 784}, {512, 784, 100}, {512, 784, 500},
  {256, 512, 500}, {200, 256, 500}, {784, 512, 1000}, {784, 784, 668},
  {784, 50, 784}, {668, 50, 784}};
static const char transposes[][2] = {{'N', 'N'}, {'T', 'N'}, {'N', 'T'}};

#define MEASURE(type, product, blas)                                              \
  static void measure_##type(gemm_plan plan, blas other, char ta, char tb, int m, \
                             int n, int k, type *a, type *b, type *c)             \
  {                                                                               \
    int lda = ta == 'N' ? m : k, ldb = tb == 'N' ? k : n;                         \
    type one = 1, zero = 0;                                                       \
    double best[2] = {1e9, 1e9}, work = 2e-9 * m * n * k;                         \
    for (int run = 0; run < 25; run++) {                                          \
      double start = now();                                                       \
      product(plan, ta, tb, (size_t) m, (size_t) n, (size_t) k, 1, a, (size_t) lda, \
              b, (size_t) ldb, 0, c, (size_t) m);                                 \
      double middle = now();                                                      \
      other(&ta, &tb, &m, &n, &k, &one, a, &lda, b, &ldb, &zero, c, &m);          \
      double end = now();                                                         \
      if (middle - start < best[0]) best[0] = middle - start;                     \
      if (end - middle < best[1]) best[1] = end - middle;                         \
    }                                                                             \
    printf(#type ",%c%c,%d,%d,%d,%.2f,%.2f\n", ta, tb, m, n, k, work / best[0],   \
           work / best[1]);                                                       \
  }

MEASURE(float, gemm_float, sgemm_t)
MEASURE(double, gemm_double, dgemm_t)

int main(int argc, char **argv)
{
  if (argc != 3) return 1;
  void *library = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL);
  if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
  sgemm_t sgemm;
  dgemm_t dgemm;
  *(void **) &sgemm = dlsym(library, "sgemm_");
  *(void **) &dgemm = dlsym(library, "dgemm_");
  if (!sgemm || !dgemm) return 1;
  gemm_plan plan = {.kernel = gemm_best(), .threads = threads_allowed(atoi(argv[1]))};
  if (!(plan.space = malloc(gemm_space(plan.threads)))) return 1;
  size_t cells = (size_t) 1 << 20;
  float *f[3];
  double *d[3];
  for (int i = 0; i < 3; i++) {
    f[i] = malloc(cells * sizeof **f);
    d[i] = malloc(cells * sizeof **d);
    if (!f[i] || !d[i]) return 1;
    for (size_t j = 0; j < cells; j++)
      f[i][j] = (float) (d[i][j] = rand() / (double) RAND_MAX - 0.5);
  }
  printf("type,trans,m,n,k,ours,blas\n");
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (size_t t = 0; t < 3; t++) {
      char ta = transposes[t][0], tb = transposes[t][1];
      const int *size = sizes[s];
      measure_float(plan, sgemm, ta, tb, size[0], size[1], size[2], f[0], f[1], f[2]);
      measure_double(plan, dgemm, ta, tb, size[0], size[1], size[2], d[0], d[1], d[2]);
    }
  return 0;
}
