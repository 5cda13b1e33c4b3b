/* Matrix products by the functions of BLAS, and whose threads compute them. */

#include <pthread.h>
#include <stdint.h>

typedef struct {
    char *at;
    union {
        double number;
        int64_t offset;
    };
} place;

/* A matrix product, or a batch of them, by one function of BLAS. `m` words:
 *
 *     function, kind, a, b, c (places), transposed a, transposed b, rows, columns, inner,
 *     leading a, leading b, leading c, batch axes, (extent, steps of a, b, c in bytes) ...
 *
 * For a vector on the right (kind GEMV) the leading b and c are the strides of the vectors. */
enum { DOUBLE = 1, WIDE = 2, GEMV = 4 };
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112, MOST_AXES = 16 };

#define GEMM(real, integer)                                                                        \
    ((void (*)(int, int, int, integer, integer, integer, real, const void *, integer,              \
               const void *, integer, real, void *, integer))call)                                 \
        (ROW_MAJOR, ta, tb, (integer)m[7], (integer)m[8], (integer)m[9], 1, a, (integer)m[10], b,  \
         (integer)m[11], add, c, (integer)m[12])
#define GEMV_OF(real, integer)                                                                     \
    ((void (*)(int, int, integer, integer, real, const void *, integer, const void *, integer,     \
               real, void *, integer))call)                                                        \
        (ROW_MAJOR, ta, (integer)m[m[5] ? 9 : 7], (integer)m[m[5] ? 7 : 9], 1, a,                  \
         (integer)m[10], b, (integer)m[11], add, c, (integer)m[12])

/* One of them; `add`: to what `c` holds. */
static void one_product(const int64_t *m, const char *a, const char *b, char *c, int add)
{
    void *call = (void *)m[0];
    int ta = m[5] ? TRANSPOSED : PLAIN, tb = m[6] ? TRANSPOSED : PLAIN;
    switch (m[1]) {
    case 0: GEMM(float, int32_t); break;
    case DOUBLE: GEMM(double, int32_t); break;
    case WIDE: GEMM(float, int64_t); break;
    case DOUBLE | WIDE: GEMM(double, int64_t); break;
    case GEMV: GEMV_OF(float, int32_t); break;
    case GEMV | DOUBLE: GEMV_OF(double, int32_t); break;
    case GEMV | WIDE: GEMV_OF(float, int64_t); break;
    case GEMV | DOUBLE | WIDE: GEMV_OF(double, int64_t); break;
    }
}

static const int64_t *product(const int64_t *m, const place *places)
{
    const char *a = places[m[2]].at, *b = places[m[3]].at;
    char *c = places[m[4]].at;
    int64_t axes = m[13], count[MOST_AXES] = {0};
    const int64_t *axis = m + 14;
    for (;;) {
        one_product(m, a, b, c, 0);
        int64_t d = axes - 1;
        for (; d >= 0; d--) {
            const int64_t *x = axis + 4 * d;
            a += x[1], b += x[2], c += x[3];
            if (++count[d] < x[0])
                break;
            a -= x[0] * x[1], b -= x[0] * x[2], c -= x[0] * x[3];
            count[d] = 0;
        }
        if (d < 0)
            return axis + 4 * axes;
    }
}

/* BLAS's threads rest while the pool's threads have products of their own. */
static struct {
    pthread_mutex_t lock;
    int users, threads;
    int (*get)(void);
    void (*set)(int);
} blas = {PTHREAD_MUTEX_INITIALIZER};

void lazyt_blas_threads(int (*get)(void), void (*set)(int)) { blas.get = get, blas.set = set; }

static void blas_rests(void)
{
    if (!blas.set)
        return;
    pthread_mutex_lock(&blas.lock);
    if (blas.users++ == 0) {
        blas.threads = blas.get();
        blas.set(1);
    }
    pthread_mutex_unlock(&blas.lock);
}

static void blas_works(void)
{
    if (!blas.set)
        return;
    pthread_mutex_lock(&blas.lock);
    if (--blas.users == 0)
        blas.set(blas.threads);
    pthread_mutex_unlock(&blas.lock);
}

/* In a forked process nobody else is at work. */
static void blas_forked(void)
{
    pthread_mutex_init(&blas.lock, 0);
    if (blas.users)
        blas.set(blas.threads);
    blas.users = 0;
}
