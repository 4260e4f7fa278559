/* rng against the published answers, a second writing of Philox, and what chance
 * should give. The seeds are fixed: a check passes always or never. Bounds lie at
 * about five standard deviations. */
#include "arrays.h"
#include "noise_reference.h"
#include "rng.h"

static const rng_key key = {{2024, 11}};

/* ---- Philox ------------------------------------------------------------ */

static void check_philox(rng_key k, const uint32_t counter[4], const uint32_t expected[4])
{
  uint32_t out[4] = {0}, kept[4];
  memcpy(kept, counter, sizeof kept);
  rng_philox(k, counter, out);
  for (int i = 0; i < 4; i++) CHECK(out[i] == expected[i] && kept[i] == counter[i]);
}

/* philox4x32-10 of kat_vectors in Random123 (Salmon et al.). */
static void the_published_answers(void)
{
  static const struct { uint32_t counter[4]; rng_key k; uint32_t out[4]; } known[] = {
    {{0, 0, 0, 0}, {{0, 0}},
     {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {{0xffffffff, 0xffffffff}},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {{0xa4093822, 0x299f31d0}},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (int i = 0; i < 3; i++) check_philox(known[i].k, known[i].counter, known[i].out);
}

/* High half of a b, by halves of 16 bits. */
static uint32_t high(uint32_t a, uint32_t b)
{
  uint32_t a0 = a & 0xffff, a1 = a >> 16, b0 = b & 0xffff, b1 = b >> 16;
  uint32_t low = a0 * b0, one = a1 * b0, two = a0 * b1;
  uint32_t carry = (low >> 16) + (one & 0xffff) + (two & 0xffff);
  return a1 * b1 + (one >> 16) + (two >> 16) + (carry >> 16);
}

/* Rounds as the paper's figure draws them: multiply, swap, add the key. */
static void naive_philox(rng_key k, const uint32_t counter[4], uint32_t x[4])
{
  memcpy(x, counter, 4 * sizeof *x);
  for (uint32_t round = 0; round < 10; round++) {
    uint32_t left = x[0], right = x[2];
    uint32_t next[4] = {high(right, 0xCD9E8D57u) ^ x[1] ^ (k.key[0] + round * 0x9E3779B9u),
                        right * 0xCD9E8D57u,
                        high(left, 0xD2511F53u) ^ x[3] ^ (k.key[1] + round * 0xBB67AE85u),
                        left * 0xD2511F53u};
    memcpy(x, next, sizeof next);
  }
}

static void random_counters_and_keys(void)
{
  for (int i = 0; i < 500; i++) {
    uint32_t counter[4], expected[4];
    rng_key k = {{(uint32_t) test_bits(), (uint32_t) test_bits()}};
    for (int j = 0; j < 4; j++) counter[j] = (uint32_t) test_bits();
    naive_philox(k, counter, expected);
    check_philox(k, counter, expected);
  }
}

/* ---- normal numbers: addresses ----------------------------------------- */

/* The j-th number is the same whatever the count and the stride; nothing is
 * written between and behind. */
static void a_number_depends_on_neither_count_nor_stride(void)
{
  double all[40];
  rng_normals(key, 3, 7, 1, 40, all, 1);
  for (size_t count = 0; count <= 40; count++)
    for (size_t stride = 1; stride <= 6; stride += 1 + stride / 3) {
      size_t size = span(1, count, stride), bad = 0;
      double *out = doubles(size);
      rng_normals(key, 3, 7, 1, count, out, stride);
      for (size_t i = 0; i < size; i++)
        bad += i % stride ? !isnan(out[i]) : out[i] != all[i / stride];
      CHECK(bad == 0);
      free(out);
    }
}

static void a_number_does_not_depend_on_what_was_drawn_before(void)
{
  double first[3][11], again[11];
  for (uint32_t i = 0; i < 3; i++) rng_normals(key, 5, i, 2, 11, first[i], 1);
  for (uint32_t i = 3; i-- > 0;) {
    rng_normals(key, 5, i, 2, 11, again, 1);
    CHECK(gap(11, again, first[i]) == 0.0);
  }
}

/* All addresses that differ in one coordinate, or have two exchanged. */
static void every_coordinate_of_the_address_matters(void)
{
  static const uint32_t address[][5] = {   /* key, epoch, observation, sample */
    {2, 3, 5, 7, 11}, {1, 3, 5, 7, 11}, {2, 4, 5, 7, 11}, {2, 3, 6, 7, 11},
    {2, 3, 5, 8, 11}, {2, 3, 5, 7, 12}, {3, 2, 5, 7, 11}, {2, 3, 7, 5, 11},
    {2, 3, 5, 11, 7}, {2, 3, 11, 7, 5}, {0, 0, 0, 0, 0}, {0, 0, 1, 0, 0},
    {0, 0, 0, 1, 0}, {0, 0, 0, 0, 1}, {0x80000002, 3, 5, 7, 11},
    {2, 0x80000003, 5, 7, 11}, {2, 3, 0x80000005, 7, 11}, {2, 3, 5, 0x80000007, 11},
    {2, 3, 5, 7, 0x8000000b}};
  enum { ADDRESSES = sizeof address / sizeof *address, COUNT = 12 };
  double z[ADDRESSES * COUNT];
  size_t same = 0;
  for (int a = 0; a < ADDRESSES; a++) {
    const uint32_t *at = address[a];
    rng_normals((rng_key) {{at[0], at[1]}}, at[2], at[3], at[4], COUNT, z + a * COUNT, 1);
  }
  for (int i = 0; i < ADDRESSES * COUNT; i++)
    for (int j = 0; j < i; j++) same += z[i] == z[j];
  CHECK(same == 0);
}

/* ---- normal numbers: distribution -------------------------------------- */

enum { OBSERVATIONS = 200000, COUNT = 5, NUMBERS = OBSERVATIONS * COUNT };

static double *many_normals(rng_key k, uint32_t epoch, uint32_t first, uint32_t sample)
{
  double *z = doubles(NUMBERS);
  for (uint32_t i = 0; i < OBSERVATIONS; i++)
    rng_normals(k, epoch, first + i, sample, COUNT, z + i, OBSERVATIONS);
  return z;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

/* Kolmogorov and Smirnov: D sqrt(n) is above 2.2 once in 8000 times. */
static void check_distance(size_t n, const double *z)
{
  double *sorted = copy_of(n, z), worst = 0.0;
  qsort(sorted, n, sizeof *sorted, ascending);
  for (size_t i = 0; i < n; i++) {
    double f = 0.5 * erfc(-sorted[i] / sqrt(2.0));
    worst = fmax(worst, fmax(f - (double) i / (double) n, (double) (i + 1) / (double) n - f));
  }
  CHECK(worst * sqrt((double) n) < 2.2);
  free(sorted);
}

static void the_numbers_are_standard_normal(void)
{
  double *z = many_normals(key, 0, 0, 0);
  CHECK(all_finite(NUMBERS, z));
  check_moments(NUMBERS, z);
  check_tails(NUMBERS, z);
  check_distance(NUMBERS, z);
  for (size_t j = 0; j < COUNT; j++) {           /* and so is each coordinate */
    check_moments(OBSERVATIONS, z + j * OBSERVATIONS);
    check_distance(OBSERVATIONS, z + j * OBSERVATIONS);
  }
  free(z);
}

/* Neither the numbers nor their squares, cubes or signs go together. */
static void check_unrelated(size_t n, const double *x, const double *y)
{
  double plain = 0.0, square = 0.0, mixed = 0.0, sign = 0.0, root = sqrt((double) n);
  for (size_t i = 0; i < n; i++) {
    plain += x[i] * y[i];
    square += (x[i] * x[i] - 1.0) * (y[i] * y[i] - 1.0) / 2.0;
    mixed += x[i] * (y[i] * y[i] - 1.0) / sqrt(2.0);
    sign += (x[i] > 0.0) == (y[i] > 0.0) ? 1.0 : -1.0;
  }
  CHECK(fabs(plain) < 5.0 * root);
  CHECK(fabs(square) < 5.0 * root);
  CHECK(fabs(mixed) < 5.0 * root);
  CHECK(fabs(sign) < 5.0 * root);
}

static void numbers_of_different_addresses_are_unrelated(void)
{
  rng_key other[] = {{{2025, 11}}, {{2024, 12}}, {{11, 2024}}};
  double *z = many_normals(key, 0, 0, 0), *y;
  for (size_t j = 0; j < COUNT; j++)             /* a pair shares its radius */
    for (size_t i = 0; i < j; i++)
      check_unrelated(OBSERVATIONS, z + i * OBSERVATIONS, z + j * OBSERVATIONS);
  check_unrelated(NUMBERS - 1, z, z + 1);        /* the next observation */
  for (int k = 0; k < 3; k++) {
    y = many_normals(other[k], 0, 0, 0);
    check_unrelated(NUMBERS, z, y);
    free(y);
  }
  y = many_normals(key, 1, 0, 0);
  check_unrelated(NUMBERS, z, y);
  free(y);
  y = many_normals(key, 0, 0, 1);
  check_unrelated(NUMBERS, z, y);
  free(y);
  y = many_normals(key, 0, 4294967295u - OBSERVATIONS, 0);
  check_unrelated(NUMBERS, z, y);
  check_moments(NUMBERS, y);
  free(y);
  free(z);
}

/* ---- orders ------------------------------------------------------------ */

static void check_permutation(rng_key k, uint32_t epoch, size_t n)
{
  int *order = ints(n), *again = ints(n);
  unsigned char *seen = calloc(n + 1, 1);
  size_t bad = 0;
  rng_permutation(k, epoch, n, order);
  for (size_t i = 0; i < n; i++) {
    int in = order[i] >= 0 && (size_t) order[i] < n;
    bad += !in || seen[in ? order[i] : (int) n]++;
  }
  CHECK(bad == 0);
  rng_permutation(k, epoch, n, again);
  CHECK(n == 0 || memcmp(order, again, n * sizeof *order) == 0);
  free(order);
  free(again);
  free(seen);
}

static void an_order_holds_each_row_once(void)
{
  for (size_t n = 0; n < 100; n++) check_permutation(key, (uint32_t) n, n);
  for (size_t n = 100; n < 200000; n = 3 * n + 1)
    check_permutation((rng_key) {{(uint32_t) n, 0}}, 4294967295u, n);
}

static void check_chi_square(size_t cells, const double *seen, double expected)
{
  double sum = 0.0, df = (double) cells - 1.0;
  for (size_t i = 0; i < cells; i++)
    sum += (seen[i] - expected) * (seen[i] - expected) / expected;
  CHECK(sum < df + 5.0 * sqrt(2.0 * df) + 5.0);
  CHECK(sum > df - 5.0 * sqrt(2.0 * df));
}

/* The number of an order of 0 .. n-1, by counting inversions. */
static size_t rank_of(size_t n, const int *order)
{
  size_t rank = 0;
  for (size_t i = 0; i < n; i++) {
    size_t smaller = 0;
    for (size_t j = i + 1; j < n; j++) smaller += order[j] < order[i];
    rank = rank * (n - i) + smaller;
  }
  return rank;
}

/* All n! orders are as frequent; so are all pairs of those of two epochs. */
static void all_orders_are_as_likely(void)
{
  size_t factorial = 1;
  for (size_t n = 2; n <= 5; n++) {
    double seen[120] = {0}, pairs[36] = {0}, draws = 0.0;
    size_t last = 0;
    factorial *= n;
    for (uint32_t epoch = 0; epoch < 30000; epoch++, draws++) {
      int order[5];
      rng_permutation(key, epoch, n, order);
      size_t rank = rank_of(n, order);
      seen[rank]++;
      if (n == 3 && epoch % 2) pairs[6 * last + rank]++;
      last = rank;
    }
    check_chi_square(factorial, seen, draws / (double) factorial);
    if (n == 3) check_chi_square(36, pairs, draws / 72.0);
  }
}

/* Each row is as likely at each place; one stays where it is, on average. */
static void every_row_is_as_likely_everywhere(void)
{
  enum { N = 20, DRAWS = 10000 };
  double seen[N * N] = {0}, stay = 0.0;
  for (uint32_t draw = 0; draw < DRAWS; draw++) {
    int order[N];
    rng_permutation((rng_key) {{draw, 9}}, 0, N, order);
    for (int i = 0; i < N; i++) {
      seen[i * N + order[i]]++;
      stay += order[i] == i;
    }
  }
  check_chi_square(N * N, seen, (double) DRAWS / N);
  CHECK(fabs(stay / DRAWS - 1.0) < 5.0 / sqrt((double) DRAWS));
}

static void orders_differ_by_epoch_and_key(void)
{
  enum { N = 1000 };
  static int order[4][N];
  rng_permutation(key, 0, N, order[0]);
  rng_permutation(key, 1, N, order[1]);
  rng_permutation((rng_key) {{2025, 11}}, 0, N, order[2]);
  rng_permutation((rng_key) {{2024, 12}}, 0, N, order[3]);
  for (int a = 0; a < 4; a++)
    for (int b = 0; b < a; b++) {
      int same = 0;
      for (int i = 0; i < N; i++) same += order[a][i] == order[b][i];
      CHECK(same < 10);                          /* 1 is expected */
    }
}

TEST_MAIN(the_published_answers, random_counters_and_keys,
          a_number_depends_on_neither_count_nor_stride,
          a_number_does_not_depend_on_what_was_drawn_before,
          every_coordinate_of_the_address_matters, the_numbers_are_standard_normal,
          numbers_of_different_addresses_are_unrelated, an_order_holds_each_row_once,
          all_orders_are_as_likely, every_row_is_as_likely_everywhere,
          orders_differ_by_epoch_and_key)
