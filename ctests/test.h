/* A test program is one file:
 *
 *     #include "test.h"
 *     #include "linalg.h"
 *
 *     static void solves_a_known_system(void) { ... CHECK_NEAR(x[0], 2.0, 1e-12); }
 *
 *     TEST_MAIN(solves_a_known_system)
 *
 * It ends with the line "name: N passed, N failed", which run.sh reads, and
 * with status 1 if any check failed. */
#ifndef ELBO_TEST_H
#define ELBO_TEST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  long passed, failed;
} test_count;

/* After this many, failures are counted but no longer shown. */
enum { TEST_SHOWN = 20 };

static inline int test_record(int ok) {
  if (ok) {
    test_count.passed++;
  } else {
    test_count.failed++;
  }
  return !ok && test_count.failed <= TEST_SHOWN;
}

static inline void test_check(int ok, const char *what, const char *file, int line) {
  if (test_record(ok)) {
    printf("%s:%d: %s does not hold\n", file, line, what);
  }
}

/* The tolerance is relative for |b| > 1 and absolute below. NaN is near nothing,
 * an infinity only near itself. */
static inline void test_check_near(double a, double b, double tol, const char *what_a,
                                   const char *what_b, const char *file, int line) {
  const double scale = fabs(b) > 1.0 ? fabs(b) : 1.0;
  const int ok = a == b || (isfinite(b) && fabs(a - b) <= tol * scale);
  if (test_record(ok)) {
    printf("%s:%d: %s is %.17g, but %s is %.17g (off by %.3g, tolerance %.3g)\n", file, line,
           what_a, a, what_b, b, a - b, tol * scale);
  }
}

#define CHECK(cond) test_check(!!(cond), #cond, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tol) test_check_near((a), (b), (tol), #a, #b, __FILE__, __LINE__)

static inline int test_report(const char *file) {
  const char *slash = strrchr(file, '/');
  const char *name = slash ? slash + 1 : file;
  printf("%.*s: %ld passed, %ld failed\n", (int)strcspn(name, "."), name, test_count.passed,
         test_count.failed);
  return test_count.failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Runs the named void functions in order. Output is not buffered, so that a
 * crash loses none of it. */
#define TEST_MAIN(...)                                                     \
  int main(void) {                                                         \
    void (*const tests[])(void) = {__VA_ARGS__};                           \
    setvbuf(stdout, NULL, _IONBF, 0);                                      \
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) tests[i](); \
    return test_report(__FILE__);                                          \
  }

/* How many inputs a fuzzer tries: ELBO_FUZZ_ITERATIONS, or else the fallback. */
static inline long test_iterations(long fallback) {
  const char *set = getenv("ELBO_FUZZ_ITERATIONS");
  const long n = set ? strtol(set, NULL, 10) : 0;
  return n > 0 ? n : fallback;
}

/* The sanitisers slow a program down: a test of very many cases takes one in so many. */
#if defined(__SANITIZE_THREAD__)
#define TEST_EVERY(address, thread) (thread)
#elif defined(__SANITIZE_ADDRESS__)
#define TEST_EVERY(address, thread) (address)
#else
#define TEST_EVERY(address, thread) 1
#endif

/* Test data, the same on every machine up to the accuracy of log, sqrt and cos:
 * splitmix64 (Steele, Lea & Flood 2014) and Box-Muller. */
static uint64_t test_state = 1;

static inline void test_seed(uint64_t seed) { test_state = seed; }

static inline uint64_t test_bits(void) {
  uint64_t z = (test_state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/* Uniform on (0, 1]: 53 bits, never zero, so that its logarithm is finite. */
static inline double test_uniform(void) {
  return ((double)(test_bits() >> 11) + 1.0) * 0x1p-53;
}

/* Uniform on 0, ..., n - 1 (n > 0; the bias is below n / 2^64). */
static inline size_t test_below(size_t n) { return (size_t)(test_bits() % n); }

static inline double test_normal(void) {
  const double two_pi = 6.283185307179586;
  const double radius = sqrt(-2.0 * log(test_uniform()));
  return radius * cos(two_pi * test_uniform());
}

#endif
