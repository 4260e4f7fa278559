/* One register tile, 2 vectors by NR columns: included by gemm_body.h for each kind of
 * vector, which TILE, TARGET, NR and the V_ macros describe. */
__attribute__((target(TARGET)))
static void TILE(size_t k, const REAL *a, const REAL *b, REAL *c, size_t ldc,
                 int load)
{
  VECTOR low[NR], high[NR];
  const size_t lanes = sizeof(VECTOR) / sizeof(REAL);
  UNROLL
  for (size_t j = 0; j < NR; j++) {
    low[j] = load ? V_LOAD(c + j * ldc) : V_ZERO();
    high[j] = load ? V_LOAD(c + j * ldc + lanes) : V_ZERO();
  }
  for (size_t l = 0; l < k; l++) {
    VECTOR a0 = V_LOAD(a), a1 = V_LOAD(a + lanes);
    UNROLL
    for (size_t j = 0; j < NR; j++) {
      VECTOR s = V_SPREAD(b[j]);
      low[j] = V_FMA(a0, s, low[j]);
      high[j] = V_FMA(a1, s, high[j]);
    }
    a += 2 * lanes;
    b += NR;
  }
  UNROLL
  for (size_t j = 0; j < NR; j++) {
    V_STORE(c + j * ldc, low[j]);
    V_STORE(c + j * ldc + lanes, high[j]);
  }
}
#undef TILE
#undef TARGET
#undef NR
#undef VECTOR
#undef V_LOAD
#undef V_STORE
#undef V_SPREAD
#undef V_FMA
#undef V_ZERO
