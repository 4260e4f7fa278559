/* Threads; see threads.h for the contract. */
#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
# define _POSIX_C_SOURCE 200809L
#endif
#include <stdlib.h>

#include "threads.h"

#if !defined(__STDC_NO_ATOMICS__) && (!defined(_WIN32) || defined(__MINGW32__))
# define HAVE_THREADS
# include <pthread.h>
# include <sched.h>
# include <stdatomic.h>
# include <stdint.h>
# include <unistd.h>
# ifndef _WIN32
#  include <signal.h>
# endif
#endif

/* A variable's whole number, `otherwise` where it has none. */
static int environment(const char *name, int otherwise)
{
  const char *text = getenv(name);
  long value = text ? strtol(text, NULL, 10) : 0;
  return value >= 1 && value <= THREADS_MOST ? (int) value : otherwise;
}

#ifndef HAVE_THREADS

int threads_allowed(int wanted)
{
  (void) wanted;
  (void) environment;
  return 1;
}

void threads_run(int threads, size_t parts, threads_task task, void *context)
{
  (void) threads;
  for (size_t i = 0; i < parts; i++) task(context, i);
}

void threads_load(void) {}

void threads_unload(void) {}

#else

/* One loop at a time. `ticket` counts loops; a worker takes part in a loop by adding
 * itself to `inside` while the loop is open, and takes parts by `next` until there are
 * none left. The caller closes the loop and waits for those inside. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t worker[THREADS_MOST];
  int count;                           /* of workers */
  int sleeping, stop;                  /* under the lock */
  long owner;                          /* process that the workers belong to */
  atomic_ulong ticket;
  atomic_int inside, places;           /* workers in the loop; still welcome in it */
  atomic_size_t next;
  size_t parts;
  threads_task task;
  void *context;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static long this_process(void)
{
  return (long) getpid();
}

static int processors(void)
{
#ifdef _SC_NPROCESSORS_ONLN
  long count = sysconf(_SC_NPROCESSORS_ONLN);
#else
  long count = environment("NUMBER_OF_PROCESSORS", 2);       /* as Windows says */
#endif
  return count < 1 ? 1 : count > THREADS_MOST ? THREADS_MOST : (int) count;
}

int threads_allowed(int wanted)
{
  int most = environment("OMP_THREAD_LIMIT", THREADS_MOST);
  int asked = environment("OMP_NUM_THREADS", most);
  if (pool.owner != 0 && pool.owner != this_process()) return 1;
  if (wanted < 1) wanted = processors() < 2 ? 1 : 2;
  if (asked < most) most = asked;
  return wanted < most ? wanted : most;
}

/* A moment's rest for a waiting processor. */
static void rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

static void take_parts(void)
{
  for (;;) {
    size_t part = atomic_fetch_add(&pool.next, 1);
    if (part >= pool.parts) return;
    pool.task(pool.context, part);
  }
}

/* Waits for another loop than number `seen`, which becomes that one's; 0 to stop. */
static int wait_for_loop(unsigned long *seen)
{
  unsigned long now = *seen;
  for (int i = 0; i < 4000 && now == *seen; i++) {
    rest();
    now = atomic_load(&pool.ticket);
  }
  int go = 1;
  if (now == *seen) {
    pthread_mutex_lock(&pool.lock);
    pool.sleeping++;
    while ((now = atomic_load(&pool.ticket)) == *seen && !pool.stop)
      pthread_cond_wait(&pool.wake, &pool.lock);
    pool.sleeping--;
    go = !pool.stop;
    pthread_mutex_unlock(&pool.lock);
  }
  *seen = now;
  return go;
}

static void *work(void *first)
{
  unsigned long seen = (unsigned long) (uintptr_t) first;
  while (wait_for_loop(&seen)) {
    atomic_fetch_add(&pool.inside, 1);
    if (atomic_fetch_sub(&pool.places, 1) > 0) take_parts();
    atomic_fetch_sub(&pool.inside, 1);
  }
  return NULL;
}

/* Workers up to `count`, as far as the system gives them; they receive no signals. */
static void start_workers(int count)
{
#ifndef _WIN32
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  while (pool.count < count) {
    void *seen = (void *) (uintptr_t) atomic_load(&pool.ticket);
    if (pthread_create(&pool.worker[pool.count], NULL, work, seen) != 0) break;
    pool.count++;
  }
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
}

void threads_run(int threads, size_t parts, threads_task task, void *context)
{
  if (pool.owner == 0) pool.owner = this_process();
  if (threads > THREADS_MOST) threads = THREADS_MOST;
  if (threads <= 1 || parts <= 1 || pool.owner != this_process()) {
    for (size_t i = 0; i < parts; i++) task(context, i);
    return;
  }
  if (pool.count < threads - 1) start_workers(threads - 1);
  pool.task = task;
  pool.context = context;
  pool.parts = parts;
  atomic_store(&pool.next, 0);
  atomic_store(&pool.places, threads - 1);
  pthread_mutex_lock(&pool.lock);
  atomic_fetch_add(&pool.ticket, 1);
  if (pool.sleeping > 0) pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.lock);
  take_parts();
  atomic_store(&pool.places, 0);
  for (int i = 0; atomic_load(&pool.inside) > 0; i++) {
    if (i < 4000) rest();
    else sched_yield();        /* the thread waited for may need this processor */
  }
}

void threads_load(void)
{
  pool.owner = this_process();
}

void threads_unload(void)
{
  if (pool.owner != this_process()) return;
  pthread_mutex_lock(&pool.lock);
  pool.stop = 1;
  pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.lock);
  while (pool.count > 0) pthread_join(pool.worker[--pool.count], NULL);
  pool.stop = 0;
}

#endif
