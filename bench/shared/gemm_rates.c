/* Rates of our matrix products beside those of a BLAS, for bench/engine.R.
 *   gemm_rates THREADS BATCH LIBRARY     LIBRARY: a shared BLAS, of float and double
 * Prints a line for each product of a batch: type, transposes, sizes, how often a step
 * makes it, GFlop/s of both. Then lines of the symmetric products x x' and x'x of blocks
 * of that many rows or columns, which a step does not make. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gemm.h"
#include "threads.h"

#define TYPES(type, gemm_t, syrk_t)                                                     \
  typedef void (*gemm_t)(const char *, const char *, const int *, const int *,         \
                         const int *, const type *, const type *, const int *,         \
                         const type *, const int *, const type *, type *, const int *); \
  typedef void (*syrk_t)(const char *, const char *, const int *, const int *,         \
                         const type *, const type *, const int *, const type *, type *, \
                         const int *);

TYPES(float, sgemm_t, ssyrk_t)
TYPES(double, dgemm_t, dsyrk_t)

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

/* Seconds of the best run in 0.15 s: threads that were asleep wake up where the caller
 * runs, and it takes some milliseconds until they have processors of their own. */
#define BEST(best, call)                                                               \
  do {                                                                                 \
    calm();                                                                            \
    best = 1e9;                                                                        \
    for (double begun = now(); now() - begun < 0.15;) {                                \
      double start = now(), took;                                                      \
      call;                                                                            \
      took = now() - start;                                                            \
      if (took < best) best = took;                                                    \
    }                                                                                  \
  } while (0)

#define MEASURE(type, gemm_t, syrk_t)                                                  \
  static void gemm_rates_##type(gemm_plan plan, gemm_t other, char ta, char tb, int m, \
                                int n, int k, int times, type *a, type *b, type *c)    \
  {                                                                                    \
    int lda = ta == 'N' ? m : k, ldb = tb == 'N' ? k : n;                              \
    type one = 1, zero = 0;                                                            \
    double ours, theirs, work = 2e-9 * m * n * k;                                      \
    BEST(ours, gemm_##type(plan, ta, tb, (size_t) m, (size_t) n, (size_t) k, 1, a,     \
                           (size_t) lda, b, (size_t) ldb, 0, c, (size_t) m));          \
    BEST(theirs, other(&ta, &tb, &m, &n, &k, &one, a, &lda, b, &ldb, &zero, c, &m));   \
    printf(#type ",%c%c,%d,%d,%d,%d,%.2f,%.2f\n", ta, tb, m, n, k, times, work / ours, \
           work / theirs);                                                             \
  }                                                                                    \
                                                                                       \
  static void syrk_rates_##type(gemm_plan plan, syrk_t other, char trans, int n, int k, \
                                type *a, type *c)                                      \
  {                                                                                    \
    int lda = trans == 'N' ? n : k;                                                    \
    type one = 1, zero = 0;                                                            \
    double ours, theirs, work = 1e-9 * n * (n + 1) * k;                                \
    BEST(ours, syrk_##type(plan, trans, (size_t) n, (size_t) k, 1, a, (size_t) lda, 0, \
                           c, (size_t) n));                                            \
    BEST(theirs, other("L", &trans, &n, &k, &one, a, &lda, &zero, c, &n));             \
    printf("symmetric " #type ",%c,%d,%d,%d,0,%.2f,%.2f\n", trans, n, n, k, work / ours, \
           work / theirs);                                                             \
  }

MEASURE(float, sgemm_t, ssyrk_t)
MEASURE(double, dgemm_t, dsyrk_t)

/* The widths of the layers. */
static const int widths[] = {200, 256, 512, 784};

int main(int argc, char **argv)
{
  if (argc != 4) return 1;
  int batch = atoi(argv[2]);
  void *library = dlopen(argv[3], RTLD_NOW | RTLD_GLOBAL);
  if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
  sgemm_t sgemm;
  dgemm_t dgemm;
  ssyrk_t ssyrk;
  dsyrk_t dsyrk;
  *(void **) &sgemm = dlsym(library, "sgemm_");
  *(void **) &dgemm = dlsym(library, "dgemm_");
  *(void **) &ssyrk = dlsym(library, "ssyrk_");
  *(void **) &dsyrk = dlsym(library, "dsyrk_");
  if (!sgemm || !dgemm || !ssyrk || !dsyrk) return 1;
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
      gemm_rates_float(plan, sgemm, ta, tb, m, n, k, times, f[0], f[1], f[2]);
      gemm_rates_double(plan, dgemm, ta, tb, m, n, k, times, d[0], d[1], d[2]);
    }
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
    for (int t = 0; t < 2; t++) {
      syrk_rates_float(plan, ssyrk, "NT"[t], widths[w], batch, f[0], f[2]);
      syrk_rates_double(plan, dsyrk, "NT"[t], widths[w], batch, d[0], d[2]);
    }
  return 0;
}
