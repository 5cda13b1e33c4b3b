/* Memory for large results, in place of NumPy's own (NEP 49: a handler of array data).
 *
 * Fresh pages cost more than most kernels. So what an array leaves when nobody holds it any more is
 * kept, up to a bound, and given out again. An array made this way owns its data as any other does:
 * memory comes back only when NumPy frees the array, so it can never be shared. */

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEAD = 64, MOST_KEPT = 64, HUGE_PAGE = 2 << 20 };

typedef struct {
    size_t size; /* bytes that follow the head */
} block;

static struct {
    pthread_mutex_t lock;
    block *kept[MOST_KEPT]; /* in the order they came back */
    int count;
    size_t bytes, most;
} blocks = {PTHREAD_MUTEX_INITIALIZER};

static block *block_of(void *data) { return (block *)((char *)data - HEAD); }

static block *take_kept(int at)
{
    block *b = blocks.kept[at];
    blocks.bytes -= b->size;
    memmove(blocks.kept + at, blocks.kept + at + 1, sizeof b * (size_t)(--blocks.count - at));
    return b;
}

static void *blocks_malloc(void *context, size_t size)
{
    block *found = 0;
    (void)context;
    pthread_mutex_lock(&blocks.lock);
    for (int i = blocks.count - 1; i >= 0 && !found; i--)
        if (blocks.kept[i]->size >= size && blocks.kept[i]->size - size <= size / 8)
            found = take_kept(i);
    pthread_mutex_unlock(&blocks.lock);
    if (!found) {
        void *made;
        int huge = size >= 2 * (size_t)HUGE_PAGE;
        if (posix_memalign(&made, huge ? HUGE_PAGE : HEAD, size + HEAD) != 0)
            return 0;
#ifdef MADV_HUGEPAGE
        if (huge)
            madvise(made, size + HEAD, MADV_HUGEPAGE);
#endif
        found = made;
        found->size = size;
    }
    return (char *)found + HEAD;
}

static void *blocks_calloc(void *context, size_t count, size_t size)
{
    void *made;
    if (__builtin_mul_overflow(count, size, &size) || !(made = blocks_malloc(context, size)))
        return 0;
    return memset(made, 0, size);
}

static void blocks_free(void *context, void *data, size_t size)
{
    (void)context, (void)size;
    if (!data)
        return;
    block *b = block_of(data);
    pthread_mutex_lock(&blocks.lock);
    if (b->size <= blocks.most) {
        while (blocks.count == MOST_KEPT || blocks.bytes + b->size > blocks.most)
            free(take_kept(0));
        blocks.kept[blocks.count++] = b;
        blocks.bytes += b->size;
        b = 0;
    }
    pthread_mutex_unlock(&blocks.lock);
    free(b);
}

static void *blocks_realloc(void *context, void *data, size_t size)
{
    void *made = blocks_malloc(context, size);
    if (made && data) {
        size_t old = block_of(data)->size;
        memcpy(made, data, old < size ? old : size);
        blocks_free(context, data, old);
    }
    return made;
}

/* NumPy's PyDataMem_Handler. */
static struct {
    char name[127];
    uint8_t version;
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *, size_t);
} handler = {"lazyt", 1, 0, blocks_malloc, blocks_calloc, blocks_realloc, blocks_free};

void *lazyt_handler(void) { return &handler; }

/* Keeps at most that many bytes from now on; returns how many are kept. */
int64_t lazyt_keep(int64_t most)
{
    pthread_mutex_lock(&blocks.lock);
    blocks.most = (size_t)most;
    while (blocks.bytes > blocks.most)
        free(take_kept(0));
    size_t bytes = blocks.bytes;
    pthread_mutex_unlock(&blocks.lock);
    return (int64_t)bytes;
}
