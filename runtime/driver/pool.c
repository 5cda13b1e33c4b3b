/* Threads that share the rows of a nest.
 *
 * A job is cut into more pieces than there are threads, and whoever is free takes the next: the
 * caller too, so that it waits for a thread only while that has a piece in hand, never for one that
 * is still waking up. What a piece leaves in `t` depends on the cut alone, not on who ran it. */

#include <pthread.h>
#include <sched.h>
#include <stdint.h>

/* Returns 0, or why it did not finish. */
typedef int (*kernel)(char *const *, const int64_t *, int64_t, int64_t, void *);

enum { OUT_OF_RANGE = 1, OUT_OF_MEMORY = 2 };

enum { MOST_PIECES = 256, MOST_PARTIALS = 32, SPINS = 5000, ALIGNED = 16 };

static struct {
    pthread_mutex_t user; /* held by the thread whose job it is */
    pthread_mutex_t lock;
    pthread_cond_t begin;
    int started, sleeping;
    /* High half: which job; low half: pieces of it that nobody took. Whoever takes one off knows
     * that the job's fields stay as they are until he has counted it in `done`. */
    uint64_t ticket;
    int64_t done;
    kernel call;
    char *const *p;
    const int64_t *n;
    int64_t extent, pieces, partials;
    double *t; /* `partials` numbers a piece */
    int refused;
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

/* Takes one piece of the running job, if there is one left, and runs it. */
static int take(void)
{
    uint64_t seen = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
    while ((uint32_t)seen != 0) {
        if (!__atomic_compare_exchange_n(&pool.ticket, &seen, seen - 1, 1, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            continue;
        int64_t k = pool.pieces - (int64_t)(uint32_t)seen;
        int refused =
            run_piece(pool.call, pool.p, pool.n, pool.extent, pool.pieces, k, pool.t, pool.partials);
        __atomic_fetch_or(&pool.refused, refused, __ATOMIC_RELAXED);
        __atomic_add_fetch(&pool.done, 1, __ATOMIC_RELEASE);
        return 1;
    }
    return 0;
}

static void *work(void *nothing)
{
    (void)nothing;
    for (;;) {
        for (int i = 0; i < SPINS; i++) {
            if (take())
                i = 0;
            pause_a_little();
        }
        pthread_mutex_lock(&pool.lock);
        __atomic_add_fetch(&pool.sleeping, 1, __ATOMIC_SEQ_CST);
        while ((uint32_t)__atomic_load_n(&pool.ticket, __ATOMIC_SEQ_CST) == 0)
            pthread_cond_wait(&pool.begin, &pool.lock);
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
    while (pool.started < threads - 1) {
        pthread_t made;
        if (pthread_create(&made, 0, work, 0) != 0)
            return;
        pthread_detach(made);
        pool.started++;
    }
}

/* Runs all pieces on up to `threads` threads; why one of them did not finish. */
static int in_pieces(kernel call, char *const *p, const int64_t *n, int64_t extent, int64_t pieces,
                     int64_t threads, double *t, int64_t partials)
{
    int refused = 0;
    if (threads < 2 || pieces < 2 || pthread_mutex_trylock(&pool.user) != 0) {
        for (int64_t k = 0; k < pieces; k++)
            refused |= run_piece(call, p, n, extent, pieces, k, t, partials);
        return refused;
    }
    start(threads);
    pool.call = call, pool.p = p, pool.n = n, pool.extent = extent, pool.pieces = pieces;
    pool.refused = 0, pool.t = t, pool.partials = partials, pool.done = 0;
    uint64_t job = (__atomic_load_n(&pool.ticket, __ATOMIC_RELAXED) >> 32) + 1;
    __atomic_store_n(&pool.ticket, job << 32 | (uint64_t)pieces, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool.sleeping, __ATOMIC_SEQ_CST) > 0) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.begin);
        pthread_mutex_unlock(&pool.lock);
    }
    while (take())
        ;
    for (int i = 0; __atomic_load_n(&pool.done, __ATOMIC_ACQUIRE) < pieces; i++) {
        if (i < SPINS)
            pause_a_little();
        else
            sched_yield();
    }
    refused = pool.refused;
    pthread_mutex_unlock(&pool.user);
    return refused;
}
