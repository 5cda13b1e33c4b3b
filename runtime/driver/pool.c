/* Threads that share the rows of a nest.
 *
 * A job is cut into more pieces than there are threads, and whoever is free takes the next: the
 * caller too, so that it waits for a thread only while that has a piece in hand, never for one that
 * is still waking up. The caller takes from the front, the others from the back: so most of what a
 * piece reads and writes is still in the cache of the processor that had it in the job before.
 * What a piece leaves in `t` depends on the cut alone, not on who ran it. */

#define _GNU_SOURCE /* which processors a thread may run on */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

/* Returns 0, or why it did not finish. */
typedef int (*kernel)(char *const *, const int64_t *, int64_t, int64_t, void *);

enum { OUT_OF_RANGE = 1, OUT_OF_MEMORY = 2 };

enum { MOST_PIECES = 256, MOST_PARTIALS = 32, SPINS = 5000, ALIGNED = 16 };
enum { SOON_NS = 200000 };    /* a thread that had nothing to do is awake for about that long */
enum { BUSY_NS = 100000000 }; /* other programs that took a processor may do so for that long */

static struct {
    pthread_mutex_t user; /* held by the thread whose job it is */
    pthread_mutex_t lock;
    pthread_cond_t begin;
    pthread_t threads[MOST_PIECES];
    int started, sleeping;
#ifdef __linux__
    cpu_set_t allowed; /* to the caller */
#endif
    /* High half: which job; below: the first piece that nobody took, and the one after the last.
     * Whoever takes one off knows that the job's fields stay as they are until he has counted it in
     * `done`. */
    uint64_t ticket;
    int64_t done;
    kernel call;
    char *const *p;
    const int64_t *n;
    int64_t extent, pieces, partials;
    double *t; /* `partials` numbers a piece */
    int refused;
    int64_t called, busy; /* when; until when small jobs are not shared: in nanoseconds */
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

static void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Where piece k of an extent begins; on whole vectors where pieces are large. */
static int64_t cut(int64_t extent, int64_t pieces, int64_t k)
{
    int64_t at = extent / pieces * k + extent % pieces * k / pieces;
    return k < pieces && extent >= 64 * pieces ? at / ALIGNED * ALIGNED : at;
}

static int run_piece(kernel call, char *const *p, const int64_t *n, int64_t extent, int64_t pieces,
                     int64_t k, double *t, int64_t partials)
{
    int64_t lo = cut(extent, pieces, k), hi = cut(extent, pieces, k + 1);
    return call(p, n, lo, hi, t + k * partials);
}

static int64_t first_left(uint64_t ticket) { return (int64_t)(ticket >> 16 & 0xffff); }
static int64_t past_left(uint64_t ticket) { return (int64_t)(ticket & 0xffff); }
static int is_taken(uint64_t ticket) { return first_left(ticket) == past_left(ticket); }

/* Takes one piece of the running job, if there is one left, and runs it. */
static int take(int in_front)
{
    uint64_t seen = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
    while (!is_taken(seen)) {
        uint64_t then = in_front ? seen + (1 << 16) : seen - 1;
        if (!__atomic_compare_exchange_n(&pool.ticket, &seen, then, 1, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            continue;
        int64_t k = in_front ? first_left(seen) : past_left(then);
        int refused =
            run_piece(pool.call, pool.p, pool.n, pool.extent, pool.pieces, k, pool.t, pool.partials);
        __atomic_fetch_or(&pool.refused, refused, __ATOMIC_RELAXED);
        __atomic_add_fetch(&pool.done, 1, __ATOMIC_RELEASE);
        return 1;
    }
    return 0;
}

/* A scheduler may let a woken thread start on the processor of who woke it, where it waits for the
 * caller to be preempted, which is after the job. So threads are kept off that one until they run. */
static void keep_off(void)
{
#ifdef __linux__
    cpu_set_t others;
    int here = sched_getcpu();
    CPU_ZERO(&pool.allowed);
    if (here < 0 || sched_getaffinity(0, sizeof pool.allowed, &pool.allowed) != 0)
        return;
    others = pool.allowed;
    CPU_CLR(here, &others);
    for (int i = 0; i < pool.started && CPU_COUNT(&others) > 0; i++)
        pthread_setaffinity_np(pool.threads[i], sizeof others, &others);
#endif
}

/* Called by a thread that was woken; holds the lock. */
static void go_anywhere(void)
{
#ifdef __linux__
    if (CPU_COUNT(&pool.allowed) > 0)
        pthread_setaffinity_np(pthread_self(), sizeof pool.allowed, &pool.allowed);
#endif
}

static void *work(void *nothing)
{
    (void)nothing;
    for (;;) {
        for (int i = 0; i < SPINS; i++) {
            if (take(0))
                i = 0;
            pause_a_little();
        }
        pthread_mutex_lock(&pool.lock);
        __atomic_add_fetch(&pool.sleeping, 1, __ATOMIC_SEQ_CST);
        while (is_taken(__atomic_load_n(&pool.ticket, __ATOMIC_SEQ_CST))) {
            pthread_cond_wait(&pool.begin, &pool.lock);
            go_anywhere();
        }
        __atomic_sub_fetch(&pool.sleeping, 1, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&pool.lock);
    }
    return 0;
}

/* After a fork only the calling thread is left: the pool starts anew. */
static void pool_forked(void)
{
    pthread_mutex_init(&pool.user, 0);
    pthread_mutex_init(&pool.lock, 0);
    pthread_cond_init(&pool.begin, 0);
    pool.started = pool.sleeping = 0;
    pool.ticket = 0;
}

static void start(int64_t threads)
{
    while (pool.started < threads - 1 && pool.started < MOST_PIECES) {
        if (pthread_create(pool.threads + pool.started, 0, work, 0) != 0)
            return;
        pthread_detach(pool.threads[pool.started]);
        pool.started++;
    }
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

static int alone(kernel call, char *const *p, const int64_t *n, int64_t extent, int64_t pieces,
                 double *t, int64_t partials)
{
    int refused = 0;
    for (int64_t k = 0; k < pieces; k++)
        refused |= run_piece(call, p, n, extent, pieces, k, t, partials);
    return refused;
}

/* Publishes a job, wakes who sleeps if `waking`, and returns when all of it is done. */
static int together(kernel call, char *const *p, const int64_t *n, int64_t extent, int64_t pieces,
                    int waking, double *t, int64_t partials)
{
    pool.call = call, pool.p = p, pool.n = n, pool.extent = extent, pool.pieces = pieces;
    pool.refused = 0, pool.t = t, pool.partials = partials, pool.done = 0;
    uint64_t job = (__atomic_load_n(&pool.ticket, __ATOMIC_RELAXED) >> 32) + 1;
    __atomic_store_n(&pool.ticket, job << 32 | (uint64_t)pieces, __ATOMIC_SEQ_CST);
    if (waking && __atomic_load_n(&pool.sleeping, __ATOMIC_SEQ_CST) > 0) {
        pthread_mutex_lock(&pool.lock);
        keep_off();
        pthread_cond_broadcast(&pool.begin);
        pthread_mutex_unlock(&pool.lock);
    }
    while (take(1))
        ;
    int waited = 0;
    for (; __atomic_load_n(&pool.done, __ATOMIC_ACQUIRE) < pieces; waited++) {
        if (waited < SPINS)
            pause_a_little();
        else
            sched_yield();
    }
    if (waited >= SPINS)
        pool.busy = now() + BUSY_NS;
    return pool.refused;
}

/* Runs all pieces on up to `threads` threads; why one of them did not finish.
 *
 * A small job, of some microseconds, is shared with threads that are awake. It wakes them only where
 * another one is likely to follow soon, and is not shared for a while after a thread that had a
 * piece in hand was kept waiting for a processor: that takes a thousand times as long. */
static int in_pieces(kernel call, char *const *p, const int64_t *n, int64_t extent, int64_t pieces,
                     int64_t threads, int small, double *t, int64_t partials)
{
    if (threads < 2 || pieces < 2 || pthread_mutex_trylock(&pool.user) != 0)
        return alone(call, p, n, extent, pieces, t, partials);
    int64_t before = pool.called;
    pool.called = now();
    int refused;
    if (small && pool.called < pool.busy) {
        refused = alone(call, p, n, extent, pieces, t, partials);
    } else {
        start(threads);
        int waking = !small || pool.called - before < SOON_NS;
        refused = together(call, p, n, extent, pieces, waking, t, partials);
    }
    pthread_mutex_unlock(&pool.user);
    return refused;
}
