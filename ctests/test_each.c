/* The loops of the training engine, built in double, against plain ones with libm; see
 * each_checks.h. test_float_math.c does the same in float. */
#include "each_checks.h"

TEST_MAIN(EACH_CHECKS)
