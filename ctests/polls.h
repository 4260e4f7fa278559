/* Polls that are counted, and one that leaves by a long jump. */
#ifndef ELBO_TEST_POLLS_H
#define ELBO_TEST_POLLS_H

#include <setjmp.h>

static int polls, polls_left;          /* so far; before the jump */
static jmp_buf away;

static inline void count_polls(void) { polls++; }

static inline void leave(void)
{
  if (polls_left-- <= 0) longjmp(away, 1);
}

#endif
