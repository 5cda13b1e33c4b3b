/* Runs a kernel on NumPy arrays: takes the addresses out of Python objects and shares the rows of
 * the outermost axis out to threads. Compiled once; it knows no plan.
 *
 * Called with the interpreter's lock held. Python's own functions are handed in at `lazyt_init`, so
 * that neither Python's nor NumPy's headers are needed. */

#include <pthread.h>
#include <stdint.h>

typedef int (*kernel)(char *const *, const int64_t *, int64_t, int64_t, void *);
typedef void (*finish)(char *const *, const int64_t *, const void *, int64_t);

enum { MOST_PARAMETERS = 256, MOST_THREADS = 64, MOST_PARTIALS = 32 };

static void *(*item_of)(void *tuple, int64_t index); /* PyTuple_GetItem */
static double (*double_of)(void *number);            /* PyFloat_AsDouble */
static int64_t data_offset;                          /* of an array's data pointer */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    int started, running;
    int64_t round;
    kernel call;
    char *const *p;
    const int64_t *n;
    int64_t extent, shares, partials;
    double *t; /* `partials` numbers a share */
    int refused;
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};

void lazyt_init(void *tuple_item, void *as_double, int64_t offset)
{
    item_of = (void *(*)(void *, int64_t))tuple_item;
    double_of = (double (*)(void *))as_double;
    data_offset = offset;
}

static void share(int64_t k)
{
    int64_t lo = pool.extent * k / pool.shares, hi = pool.extent * (k + 1) / pool.shares;
    if (lo < hi && pool.call(pool.p, pool.n, lo, hi, pool.t + k * pool.partials))
        __atomic_store_n(&pool.refused, 1, __ATOMIC_RELAXED);
}

static void *work(void *number)
{
    int64_t k = (int64_t)(intptr_t)number, seen = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.round == seen)
            pthread_cond_wait(&pool.begin, &pool.lock);
        seen = pool.round;
        if (k >= pool.shares)
            continue;
        pthread_mutex_unlock(&pool.lock);
        share(k);
        pthread_mutex_lock(&pool.lock);
        if (--pool.running == 0)
            pthread_cond_signal(&pool.end);
    }
    return 0;
}

/* After a fork only the calling thread is left: the pool starts anew. */
void lazyt_forked(void)
{
    pthread_mutex_init(&pool.lock, 0);
    pthread_cond_init(&pool.begin, 0);
    pthread_cond_init(&pool.end, 0);
    pool.started = pool.running = 0;
    pool.round = 0;
}

/* Returns how many shares there were. */
static int64_t in_shares(kernel call, char *const *p, const int64_t *n, int64_t extent,
                         int64_t shares, double *t, int64_t partials)
{
    pthread_mutex_lock(&pool.lock);
    while (pool.started < shares - 1) {
        pthread_t made;
        intptr_t k = pool.started + 1;
        if (pthread_create(&made, 0, work, (void *)k) != 0)
            break;
        pthread_detach(made);
        pool.started++;
    }
    if (pool.started < shares - 1)
        shares = pool.started + 1;
    pool.call = call, pool.p = p, pool.n = n, pool.extent = extent, pool.shares = shares;
    pool.refused = 0, pool.t = t, pool.partials = partials;
    pool.running = (int)shares - 1;
    pool.round++;
    pthread_cond_broadcast(&pool.begin);
    pthread_mutex_unlock(&pool.lock);
    share(0);
    pthread_mutex_lock(&pool.lock);
    while (pool.running > 0)
        pthread_cond_wait(&pool.end, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    return shares;
}

/* Runs one kernel on `count` nests in turn; `end`, if there is one, finishes from the `partials`
 * numbers that every share left. table: a row of `width` a nest: the extent of its
 * outermost axis, how many threads share that, then the kernel's own extents and strides.
 * arguments: a tuple of `arrays` NumPy arrays, then of `numbers` Python floats, nest after nest.
 * The result is 0, or not where a kernel refused an operand or had too many. */
int lazyt_run(kernel call, finish end, int64_t partials, const int64_t *table, int64_t count, int64_t width, int64_t arrays,
              int64_t numbers, void *arguments)
{
    char *p[MOST_PARAMETERS];
    double values[MOST_PARAMETERS], t[MOST_THREADS * MOST_PARTIALS];
    int64_t next = 0;
    int refused = 0;
    if (arrays + numbers > MOST_PARAMETERS || partials > MOST_PARTIALS)
        return 1;
    for (; count > 0; count--, table += width) {
        int64_t extent = table[0], shares = table[1];
        for (int64_t i = 0; i < arrays; i++)
            p[i] = *(char **)((char *)item_of(arguments, next++) + data_offset);
        for (int64_t i = 0; i < numbers; i++) {
            values[i] = double_of(item_of(arguments, next++));
            p[arrays + i] = (char *)&values[i];
        }
        if (shares > MOST_THREADS)
            shares = MOST_THREADS;
        if (shares > extent)
            shares = extent;
        if (shares <= 1) {
            shares = 1;
            refused |= call(p, table + 2, 0, extent, t);
        } else {
            shares = in_shares(call, p, table + 2, extent, shares, t, partials);
            refused |= pool.refused;
        }
        if (end)
            end(p, table + 2, t, shares);
    }
    return refused;
}
