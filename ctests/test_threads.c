/* Loops shared by threads: every part once, whatever the counts of parts and threads, in
 * thousands of loops, awake or asleep, after a fork, and after the threads were stopped.
 * The parts write to plain memory: the thread sanitiser sees one that runs twice, or that
 * is not done when the loop is. An alarm ends a program that waits for ever. */
#ifndef _WIN32
# define _POSIX_C_SOURCE 200809L
# include <dirent.h>
# include <pthread.h>
# include <signal.h>
# include <sys/wait.h>
# include <time.h>
# include <unistd.h>
#endif
#include <stdatomic.h>

#include "arrays.h"
#include "threads.h"

static void nap(long microseconds)
{
#ifndef _WIN32
  struct timespec t = {0, microseconds * 1000};
  nanosleep(&t, NULL);
#else
  (void) microseconds;
#endif
}

static void set_variable(const char *name, const char *value)
{
#ifndef _WIN32
  if (value) setenv(name, value, 1);
  else unsetenv(name);
#else
  (void) name;
  (void) value;
#endif
}

/* All of this takes seconds; a lost wake-up would be for ever. */
static void not_for_ever(void)
{
#ifndef _WIN32
  alarm(300);
#endif
  CHECK(1);
}

/* ---- before any other: a fork of a process that never had threads -------- */

typedef struct { size_t parts; unsigned *runs; } tally;

static void count_part(void *context, size_t part)
{
  tally *t = context;
  if (part < t->parts) t->runs[part]++;
}

/* Parts of one loop that did not run exactly once. */
static size_t wrong_parts(int threads, size_t parts)
{
  tally t = {parts, calloc(parts + 1, sizeof *t.runs)};
  size_t bad = 0;
  threads_run(threads, parts, count_part, &t);
  for (size_t i = 0; i < parts; i++) bad += t.runs[i] != 1;
  bad += t.runs[parts] != 0;
  free(t.runs);
  return bad;
}

#ifndef _WIN32
/* Whether `check` holds in a child, within a minute. */
static int holds_in_child(int (*check)(void))
{
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(check() ? 0 : 1);
  }
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child) return 0;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int a_loop_works(void)
{
  int ok = 1;
  for (int i = 0; i < 100; i++) ok = ok && wrong_parts(2 + i % 3, (size_t) i) == 0;
  return ok;
}

static int has_threads_of_its_own(void)
{
  int ok = threads_allowed(2) == 2 && a_loop_works();
  threads_unload();
  return ok && a_loop_works();
}
#endif

static void a_child_of_a_process_without_threads_has_its_own(void)
{
  set_variable("OMP_NUM_THREADS", NULL);
  set_variable("OMP_THREAD_LIMIT", NULL);
#ifndef _WIN32
  CHECK(holds_in_child(has_threads_of_its_own));
#endif
}

/* ---- parts ------------------------------------------------------------- */

static void each_part_runs_once(void)
{
  static const int counts[] = {-1, 0, 1, 2, 3, 4, 7, THREADS_MOST, THREADS_MOST + 1, 1000};
  static const size_t parts[] = {0, 1, 2, 3, 4, 5, 63, 64, 65, 1000};
  for (int t = 0; t < 10; t++)
    for (int p = 0; p < 10; p++) CHECK(wrong_parts(counts[t], parts[p]) == 0);
  CHECK(wrong_parts(3, 100000) == 0);
}

/* Loops of all sizes in a row. Each is done, and seen, before the next begins. */
static void many_loops_in_a_row(void)
{
  size_t bad = 0;
  for (int i = 0; i < 20000; i++) bad += wrong_parts(1 + i % 3, (size_t) (i % 7));
  CHECK(bad == 0);
}

/* The threads have gone to sleep in between. */
static void loops_with_pauses(void)
{
  size_t bad = 0;
  for (int i = 0; i < 100; i++) {
    nap(i % 2 ? 3000 : 300);
    bad += wrong_parts(2 + i % 2, 9);
  }
  CHECK(bad == 0);
}

/* Parts of very different length, each a chain of sums that the next loop goes on with. */
typedef struct { double sum[16]; size_t length; } sums_of_loop;

static void add_up(void *context, size_t part)
{
  sums_of_loop *s = context;
  size_t steps = part == 3 ? s->length * 50 : s->length;
  for (size_t i = 0; i < steps; i++) s->sum[part] += 1.0;
}

static void loops_build_on_each_other(void)
{
  sums_of_loop s = {.length = 1};
  double expected = 0.0;
  for (size_t i = 0; i < 2000; i++) {
    s.length = i % 40;
    expected += (double) s.length;
    threads_run(2 + (int) (i % 2), 16, add_up, &s);
  }
  for (int i = 0; i < 16; i++) CHECK(s.sum[i] == (i == 3 ? 50.0 : 1.0) * expected);
}

/* ---- threads ----------------------------------------------------------- */

static atomic_int inside, most_inside;

static void enter_and_leave(void *context, size_t part)
{
  (void) part;
  int now = atomic_fetch_add(&inside, 1) + 1, most = atomic_load(&most_inside);
  while (now > most && !atomic_compare_exchange_weak(&most_inside, &most, now)) {}
  if (context) nap(50);
  atomic_fetch_sub(&inside, 1);
}

/* After a loop with many, there are more threads than a loop with few may have. */
static void no_more_threads_than_asked_for(void)
{
  wrong_parts(9, 1000);
  for (int threads = 1; threads <= 4; threads++) {
    atomic_store(&most_inside, 0);
    for (int i = 0; i < 40; i++)
      threads_run(threads, 20, enter_and_leave, i % 2 ? &inside : NULL);
    CHECK(atomic_load(&most_inside) <= threads);
    CHECK(atomic_load(&most_inside) >= 1);
  }
}

/* Each part waits a while for the other: together they are there only if there are two
 * threads. A busy machine gets several chances. */
static atomic_int arrived, met;

static void meet(void *context, size_t part)
{
  (void) context;
  (void) part;
  atomic_fetch_add(&arrived, 1);
  for (int i = 0; i < 2000 && atomic_load(&arrived) < 2; i++) nap(500);
  if (atomic_load(&arrived) == 2) atomic_fetch_add(&met, 1);
}

static void parts_run_side_by_side(void)
{
#ifndef _WIN32
  int tries = 0;
  do {
    atomic_store(&arrived, 0);
    atomic_store(&met, 0);
    threads_run(2, 2, meet, NULL);
  } while (atomic_load(&met) < 2 && ++tries < 5);
  CHECK(atomic_load(&met) == 2);
#endif
}

/* One thread is the caller: no other takes part. */
#ifndef _WIN32
static void same_thread(void *context, size_t part)
{
  pthread_t *caller = context;
  (void) part;
  CHECK(pthread_equal(*caller, pthread_self()));
}

static atomic_int handled_elsewhere, handled;
static pthread_t main_thread;

static void handle(int signal_number)
{
  (void) signal_number;
  atomic_fetch_add(&handled, 1);
  if (!pthread_equal(main_thread, pthread_self())) atomic_fetch_add(&handled_elsewhere, 1);
}
#endif

static void one_thread_is_the_caller(void)
{
#ifndef _WIN32
  pthread_t caller = pthread_self();
  threads_run(1, 10, same_thread, &caller);
  threads_run(3, 1, same_thread, &caller);
#endif
}

/* Signals go to the thread that calls, as R's handlers expect: while it blocks one, nobody
 * handles it. Its own mask stays as it was. */
static void workers_get_no_signals(void)
{
#ifndef _WIN32
  struct sigaction act, before;
  sigset_t one, mask;
  memset(&act, 0, sizeof act);
  act.sa_handler = handle;
  main_thread = pthread_self();
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  CHECK(sigaction(SIGUSR1, &act, &before) == 0);
  threads_unload();
  CHECK(wrong_parts(4, 100) == 0);                 /* new workers */
  CHECK(pthread_sigmask(SIG_BLOCK, &one, &mask) == 0 && !sigismember(&mask, SIGUSR1));
  for (int i = 0; i < 20; i++) {
    kill(getpid(), SIGUSR1);
    nap(i % 2 ? 500 : 5000);                       /* workers awake, and asleep */
    CHECK(wrong_parts(4, 100) == 0);
  }
  CHECK(atomic_load(&handled) == 0);
  CHECK(pthread_sigmask(SIG_SETMASK, &mask, NULL) == 0);
  for (int i = 0; i < 1000 && atomic_load(&handled) == 0; i++) nap(1000);
  CHECK(atomic_load(&handled) > 0 && atomic_load(&handled_elsewhere) == 0);
  CHECK(sigaction(SIGUSR1, &before, NULL) == 0);
#endif
}

/* ---- how many ---------------------------------------------------------- */

static int processors_online(void)
{
#ifdef _SC_NPROCESSORS_ONLN
  return (int) sysconf(_SC_NPROCESSORS_ONLN);
#else
  return 2;
#endif
}

static void as_many_as_the_environment_allows(void)
{
#ifndef _WIN32
  const int usual = processors_online() < 2 ? 1 : 2;
  static const struct { const char *number, *limit; int most; } sets[] = {
    {NULL, NULL, THREADS_MOST}, {"1", NULL, 1}, {"3", NULL, 3}, {"5,2", NULL, 5},
    {NULL, "2", 2}, {NULL, "1", 1}, {"4", "2", 2}, {"1", "4", 1}, {"", "", THREADS_MOST},
    {"many", "few", THREADS_MOST}, {"0", "-2", THREADS_MOST}, {" 3", NULL, 3},
    {"1000000", "99999999999999999999", THREADS_MOST}, {"1000000", "3", 3}};
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    int most = sets[i].most;
    set_variable("OMP_NUM_THREADS", sets[i].number);
    set_variable("OMP_THREAD_LIMIT", sets[i].limit);
    for (int wanted = 1; wanted <= THREADS_MOST; wanted++)
      CHECK(threads_allowed(wanted) == (wanted < most ? wanted : most));
    CHECK(threads_allowed(1000) == most);
    CHECK(threads_allowed(0) == (usual < most ? usual : most));
    CHECK(threads_allowed(-1) == threads_allowed(0));
  }
  set_variable("OMP_NUM_THREADS", NULL);
  set_variable("OMP_THREAD_LIMIT", NULL);
#endif
}

/* ---- processes --------------------------------------------------------- */

#ifndef _WIN32
static int works_alone(void)
{
  pthread_t caller = pthread_self();
  int ok = threads_allowed(4) == 1 && a_loop_works();
  threads_run(4, 50, same_thread, &caller);
  threads_run(40, 50, same_thread, &caller);       /* more than the parent had */
  threads_unload();                                /* not its threads: nothing to stop */
  return ok && a_loop_works() && test_count.failed == 0;
}
#endif

/* Its parent has threads, awake or asleep, and goes on to use them. */
static void a_child_works_alone(void)
{
#ifndef _WIN32
  threads_load();
  for (int i = 0; i < 6; i++) {
    CHECK(wrong_parts(4, 100) == 0);
    if (i % 2) nap(5000);
    CHECK(holds_in_child(works_alone));
    CHECK(wrong_parts(4, 100) == 0 && threads_allowed(2) == 2);
  }
#endif
}

/* ---- from start to end ------------------------------------------------- */

static void threads_stop_and_start_again(void)
{
  threads_unload();
  threads_unload();                                /* there are none any more */
  for (int i = 0; i < 200; i++) {
    CHECK(wrong_parts(1 + i % 5, 50) == 0);
    if (i % 3 == 0) nap(500);
    threads_unload();
    if (i % 7 == 0) threads_load();
  }
  wrong_parts(2, 50);
  nap(50000);                                      /* the new ones are asleep by now */
  parts_run_side_by_side();
}

/* Threads of this process, 0 where the system does not tell. */
static int threads_alive(void)
{
  int count = 0;
#ifdef __linux__
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return 0;
  for (struct dirent *task = readdir(tasks); task; task = readdir(tasks))
    count += task->d_name[0] != '.';
  closedir(tasks);
#endif
  return count;
}

/* Code that is unloaded must not run on, but what had threads before may (a BLAS, which
 * may end its own at a fork). The system may take a moment to forget a thread. */
static void no_thread_is_left(void)
{
  threads_unload();
  nap(100000);
  int alone = threads_alive();
  for (int i = 0; i < 20; i++) {
    CHECK(wrong_parts(6, 50) == 0);
    if (i % 2) nap(3000);
    threads_unload();
    for (int t = 0; t < 100 && threads_alive() > alone; t++) nap(10000);
    CHECK(threads_alive() == alone);
  }
}

TEST_MAIN(not_for_ever, a_child_of_a_process_without_threads_has_its_own,
          each_part_runs_once, many_loops_in_a_row, loops_with_pauses, loops_build_on_each_other,
          no_more_threads_than_asked_for, parts_run_side_by_side, one_thread_is_the_caller,
          workers_get_no_signals, as_many_as_the_environment_allows, a_child_works_alone,
          threads_stop_and_start_again, no_thread_is_left)
