/* Rates of our matrix products beside those of a BLAS, for bench/engine.R.
 *   gemm_rates THREADS BATCH LIBRARY     LIBRARY: a shared BLAS with sgemm and dgemm
 * Prints a line for each product of a batch: type, transposes, sizes, how often a step
 * makes it, GFlop/s of both. */
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

/* Layers of a VAE of 784 pixels, hidden layers of 512 and 256 and 200 latent dimensions:
 * outputs, inputs, and how many there are of each. Its products for a batch are the layer
 * (NN, with a column for the biases), the gradient by its weights (NT) and that by its
 * inputs (TN, not for the first). */
static const int layers[][3] = {{512, 784, 1}, {256, 512, 1}, {200, 256, 2},
                                {256, 200, 1}, {512, 256, 1}, {784, 512, 1}};

/* Until the threads of the last product, which wait for more work awake, are asleep: they
 * would take time from the next. */
static void calm(void)
{
  struct timespec t = {0, 200000000};
  nanosleep(&t, NULL);
}

/* The best run in 0.15 s, ours and then the BLAS's: threads that were asleep wake up where
 * the caller runs, and it takes some milliseconds until they have processors of their own. */
#define MEASURE(type, product, blas)                                                   \
  static void measure_##type(gemm_plan plan, blas other, char ta, char tb, int m,      \
                             int n, int k, int times, type *a, type *b, type *c)       \
  {                                                                                    \
    int lda = ta == 'N' ? m : k, ldb = tb == 'N' ? k : n;                              \
    type one = 1, zero = 0;                                                            \
    double best[2] = {1e9, 1e9}, work = 2e-9 * m * n * k;                              \
    for (int whose = 0; whose < 2; whose++) {                                          \
      calm();                                                                          \
      for (double begun = now(); now() - begun < 0.15;) {                              \
        double start = now(), took;                                                    \
        if (whose) other(&ta, &tb, &m, &n, &k, &one, a, &lda, b, &ldb, &zero, c, &m);  \
        else product(plan, ta, tb, (size_t) m, (size_t) n, (size_t) k, 1, a,           \
                     (size_t) lda, b, (size_t) ldb, 0, c, (size_t) m);                 \
        took = now() - start;                                                          \
        if (took < best[whose]) best[whose] = took;                                    \
      }                                                                                \
    }                                                                                  \
    printf(#type ",%c%c,%d,%d,%d,%d,%.2f,%.2f\n", ta, tb, m, n, k, times,              \
           work / best[0], work / best[1]);                                            \
  }

MEASURE(float, gemm_float, sgemm_t)
MEASURE(double, gemm_double, dgemm_t)

int main(int argc, char **argv)
{
  if (argc != 4) return 1;
  int batch = atoi(argv[2]);
  void *library = dlopen(argv[3], RTLD_NOW | RTLD_GLOBAL);
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
  printf("type,trans,m,n,k,times,ours,blas\n");
  for (size_t l = 0; l < sizeof layers / sizeof *layers; l++)
    for (int t = 0; t < 3; t++) {
      int o = layers[l][0], in = layers[l][1], times = layers[l][2];
      char ta = "NNT"[t], tb = "NTN"[t];
      int m = t == 2 ? in : o, n = t == 1 ? in + 1 : batch;
      int k = t == 0 ? in + 1 : t == 1 ? batch : o;
      if (l == 0 && t == 2) continue;
      measure_float(plan, sgemm, ta, tb, m, n, k, times, f[0], f[1], f[2]);
      measure_double(plan, dgemm, ta, tb, m, n, k, times, d[0], d[1], d[2]);
    }
  return 0;
}
