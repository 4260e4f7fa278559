/* A loop shared by threads of our own.
 *
 * The threads are started when they are first needed and sleep between loops, after a
 * short wait for the next one. The caller takes part, and never waits for a thread that
 * has not begun: on a machine that is busy otherwise a loop takes as long as one thread
 * does. (OpenMP's threads all have to arrive at the end of each loop, which on a busy
 * machine costs a time slice of the system.) Threads belong to the process that started
 * them: a process forked from it works with one.
 */
#ifndef ELBO_THREADS_H
#define ELBO_THREADS_H

#include <stddef.h>

enum { THREADS_MOST = 64 };

/* As many threads as `wanted`, 0 for two or the number of processors if that is less,
 * but not more than the environment variables OMP_NUM_THREADS and OMP_THREAD_LIMIT
 * allow, and one where this process has none. */
int threads_allowed(int wanted);

/* task(context, part) for part = 0 .. parts - 1, each once, by up to `threads` threads
 * at a time in no particular order; back when all are done. Not to be called from within
 * a task. */
typedef void (*threads_task)(void *context, size_t part);
void threads_run(int threads, size_t parts, threads_task task, void *context);

/* To be called once by the process that loads the code, and before it unloads it. */
void threads_load(void);
void threads_unload(void);

#endif
