/* Runs the program of a segment: loop nests and matrix products on NumPy arrays, by one call.
 *
 * A program is 64-bit words, written by runtime/programs.py:
 *
 *     counts      arguments, results, derived places, instructions, work
 *     arguments   a kind each
 *     results     type number, argument that says whether the next may be taken (or -1), argument
 *                 that is taken, size class, rank, extents ...
 *     derived     the place it starts from (or -1), bytes to add, terms, (argument, bytes) ...
 *     nests       0, function, end (or 0), partials, extent, pieces, threads, small or not, places,
 *                 words of the table, the places ..., the table ...
 *     products    1, the words of `product`
 *     convolution 2, double or not, the fields of `convolution`
 *
 * A place is an address: first the arguments have one each, then the results, then the derived.
 * Python's and NumPy's functions are handed in at `lazyt_init`, so that no headers are needed. */

#include <stdint.h>
#include <stdlib.h>

enum { NEST, PRODUCT, CONVOLUTION };

typedef void (*finish)(char *const *, const int64_t *, const void *, int64_t);

enum { MOST_PARAMETERS = 256 };
enum { ARRAY, NUMBER, OFFSET, FLAG };
enum { SMALL, LARGE };
enum { WORK_WITHOUT_LOCK = 1 << 20 }; /* a segment this large lets other Python threads run */

static struct {
    double (*as_double)(void *);
    int64_t (*as_integer)(void *);
    void *(*raised)(void);
    void (*raise)(void *, const char *);
    void *value_error, *memory_error;
    void (*hold)(void *), (*drop)(void *);
    void *(*new_tuple)(int64_t);
    int (*set_item)(void *, int64_t, void *);
    void *(*release_lock)(void);
    void (*take_lock)(void *);
    void *yes, *none;
    void *array_type;
    void *(*new_array)(void *, int, const int64_t *, int, const int64_t *, void *, int, int, void *);
    void *(*set_handler)(void *);
    void *handler;
    int64_t data_offset; /* of an array's data pointer */
} python;

void lazyt_init(void *const *given)
{
    for (size_t i = 0; i < sizeof python / sizeof(void *); i++)
        ((void **)&python)[i] = given[i];
}

void lazyt_forked(void)
{
    pool_forked();
    blas_forked();
}

static char *data_of(void *array) { return *(char **)((char *)array + python.data_offset); }

static const int64_t *convolve(const int64_t *w, const place *places, int *refused)
{
    const convolution *c = (const convolution *)(w + 1);
    *refused |= w[0] ? convolve_double(c, places) : convolve_float(c, places);
    return w + 1 + sizeof *c / sizeof *w;
}

static const int64_t *nest(const int64_t *w, const place *places, int *refused)
{
    kernel call = (kernel)w[0];
    finish end = (finish)w[1];
    int64_t partials = w[2], extent = w[3], pieces = w[4], threads = w[5];
    int small = w[6] != 0;
    int64_t count = w[7], width = w[8];
    const int64_t *which = w + 9, *table = which + count;
    char *p[MOST_PARAMETERS];
    double t[MOST_PIECES * MOST_PARTIALS];
    for (int64_t i = 0; i < count; i++)
        p[i] = places[which[i]].at;
    if (pieces == 1)
        *refused |= call(p, table, 0, extent, t);
    else
        *refused |= in_pieces(call, p, table, extent, pieces, threads, small, t, partials);
    if (end)
        end(p, table, t, pieces);
    return table + width;
}

static int run(const int64_t *w, int64_t count, const place *places)
{
    int refused = 0;
    for (; count > 0 && !refused; count--)
        switch (*w) {
        case NEST: w = nest(w + 1, places, &refused); break;
        case PRODUCT: w = product(w + 1, places); break;
        case CONVOLUTION: w = convolve(w + 1, places, &refused); break;
        }
    return refused;
}

/* Takes addresses and numbers out of the arguments; 0 where one is no number. */
static int bind(const int64_t *kinds, void *const *given, int64_t count, place *places)
{
    for (int64_t i = 0; i < count; i++) {
        switch (kinds[i]) {
        case ARRAY: places[i].at = data_of(given[i]); break;
        case NUMBER:
            places[i].number = python.as_double(given[i]);
            places[i].at = (char *)&places[i].number;
            if (places[i].number == -1 && python.raised())
                return 0;
            break;
        case OFFSET:
            places[i].offset = python.as_integer(given[i]);
            places[i].at = (char *)&places[i].offset;
            if (places[i].offset == -1 && python.raised())
                return 0;
            break;
        }
    }
    return 1;
}

/* The results of a size class: what the caller gives up, or new arrays. */
static int make(const int64_t *w, int64_t count, void *const *given, void **made, int64_t size)
{
    void *before = 0;
    int whole = 1;
    for (int64_t i = 0; i < count && whole; w += 5 + w[4], i++) {
        if (w[3] != size)
            continue;
        if (w[1] >= 0 && given[w[1]] == python.yes) {
            made[i] = given[w[2]];
            python.hold(made[i]);
            continue;
        }
        if (size == LARGE && !before && !(before = python.set_handler(python.handler)))
            return 0;
        made[i] = python.new_array(python.array_type, (int)w[4], w + 5, (int)w[0], 0, 0, 0, 0, 0);
        whole = made[i] != 0;
    }
    if (before) {
        void *ours = python.set_handler(before);
        python.drop(before);
        if (ours)
            python.drop(ours);
    }
    return whole;
}

/* One object for the results: itself, or a tuple of several. Takes them over. */
static void *packed(void **made, int64_t count)
{
    if (count == 1)
        return made[0];
    if (count == 0) {
        python.hold(python.none);
        return python.none;
    }
    void *all = python.new_tuple(count);
    for (int64_t i = 0; i < count; i++) {
        if (all)
            python.set_item(all, i, made[i]);
        else
            python.drop(made[i]);
    }
    return all;
}

/* A Python function (METH_FASTCALL) whose `self` is the array of the program's words. */
static void *segment(void *self, void *const *given, int64_t arguments)
{
    const int64_t *w = (const int64_t *)data_of(self);
    int64_t results = w[1], derived = w[2], count = w[3], work = w[4], total = w[0] + results + derived;
    if (arguments != w[0]) {
        python.raise(python.value_error, "wrong number of arguments");
        return 0;
    }
    const int64_t *kinds = w + 5, *at = kinds + arguments, *next = at;
    place *places = malloc(sizeof *places * (size_t)(total + 1));
    void **made = calloc((size_t)results + 1, sizeof *made), *all = 0;
    int refused = 0;
    if (!places || !made || !bind(kinds, given, arguments, places) ||
        !make(at, results, given, made, SMALL) || !make(at, results, given, made, LARGE)) {
        for (int64_t i = 0; made && i < results; i++)
            if (made[i])
                python.drop(made[i]);
        goto done;
    }
    for (int64_t i = 0; i < results; next += 5 + next[4], i++)
        places[arguments + i].at = data_of(made[i]);
    for (int64_t i = arguments + results; i < total; next += 3 + 2 * next[2], i++) {
        char *base = next[0] < 0 ? 0 : places[next[0]].at;
        base += next[1];
        for (int64_t k = 0; k < next[2]; k++)
            base += places[next[3 + 2 * k]].offset * next[4 + 2 * k];
        places[i].at = base;
    }
    /* Before anything is computed: from here on no Python code runs, and none meets it half done. */
    if (!(all = packed(made, results)))
        goto done;
    if (work >= WORK_WITHOUT_LOCK) {
        void *thread = python.release_lock();
        refused = run(next, count, places);
        python.take_lock(thread);
    } else {
        refused = run(next, count, places);
    }
    if (refused) {
        python.drop(all);
        all = 0;
        if (refused & OUT_OF_MEMORY)
            python.raise(python.memory_error, "no memory for the columns of a convolution");
        else
            python.raise(python.value_error, "an operand is out of its range");
    }
done:
    free(places);
    free(made);
    return all;
}

enum { FASTCALL = 0x80 };

/* Python's PyMethodDef. */
struct {
    const char *name;
    void *(*call)(void *, void *const *, int64_t);
    int flags;
    const char *doc;
} lazyt_segment = {"segment", segment, FASTCALL, 0};
