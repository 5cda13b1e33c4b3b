/* The three scans of a drain (runtime/scans.py) once more, and what is given up (donation.py).
 *
 * They do to the nodes what those functions do, and are there because a small program's drain costs
 * more than what it computes. Where the slots of a node lie is found out by `runtime/traces.py`. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void object;

static struct {
    object *(*new_list)(int64_t);
    int (*append)(object *, object *);
    object *(*item)(object *, int64_t);
    int64_t (*size)(object *);
    int (*set_slice)(object *, int64_t, int64_t, object *);
    int (*reverse)(object *);
    object *(*as_tuple)(object *);
    object *(*new_tuple)(int64_t);
    int (*set_item)(object *, int64_t, object *);
    int64_t (*tuple_size)(object *);
    object *(*integer)(int64_t);
    int64_t (*as_integer)(object *);
    double (*as_double)(object *);
    object *(*attribute)(object *, object *);
    int (*is_true)(object *);
    object *(*call)(object *, ...);
    void (*hold)(object *), (*drop)(object *);
    object *(*identity)(void *);
    int (*contains)(object *, object *); /* a set */
    object *none, *yes, *float_type, *array_type, *tuple_type, *node_type;
    object *zero, *minus_zero, *strided; /* texts in a key */
    object *empty;                       /* the empty tuple */
    object *view, *contiguous;           /* names of attributes */
    object *replaced;                    /* an operation of which the first operand is history */
    object *no_position;                 /* -1 */
    object *no_uses;                     /* 0 */
    object *refused;                     /* False */
    int64_t tuple_items, type_offset, array_flags;
    int64_t op, src, arg, type, value, grad, tag, uses, pos; /* slots of a node */
} traced;

enum { ROW_MAJOR_FLAG = 1, LEAVES_IN_LINE = 16, MOST_VIEWS = 8 /* VIEWS of scans.py */ };

void lazyt_trace_init(void *const *given)
{
    for (size_t i = 0; i < sizeof traced / sizeof(void *); i++)
        ((void **)&traced)[i] = given[i];
}

static object **slot(object *node, int64_t offset) { return (object **)((char *)node + offset); }
static object *type_of(object *x) { return *slot(x, traced.type_offset); }
static int is_node(object *x) { return type_of(x) == traced.node_type; }
static object **items(object *tuple) { return slot(tuple, traced.tuple_items); }
static uint32_t holders(object *x) { return *(uint32_t *)x; }

static void put(object *node, int64_t offset, object *made)
{
    object *old = *slot(node, offset);
    *slot(node, offset) = made;
    if (old)
        traced.drop(old);
}

static void put_held(object *node, int64_t offset, object *shared)
{
    traced.hold(shared);
    put(node, offset, shared);
}

static int append_new(object *list, object *made)
{
    int failed = !made || traced.append(list, made);
    if (made)
        traced.drop(made);
    return failed;
}

static int count_uses(object *src)
{
    int64_t size = traced.tuple_size(src);
    for (int64_t i = 0; i < size; i++) {
        object *s = items(src)[i];
        if (!is_node(s))
            continue;
        object *more = traced.integer(traced.as_integer(*slot(s, traced.uses)) + 1);
        if (!more)
            return 1;
        put(s, traced.uses, more);
    }
    return 0;
}

static int called(object *function, object *node, object *outside)
{
    object *done = traced.call(function, node, outside, (object *)0);
    if (done)
        traced.drop(done);
    return !done;
}

/* The tuple of a list's numbers counted from the other end of `size` things. */
static object *mirrored(object *held, int64_t size)
{
    int64_t count = traced.size(held);
    object *kept = traced.new_tuple(count);
    for (int64_t i = 0; kept && i < count; i++) {
        int64_t at = size - 1 - traced.as_integer(traced.item(held, count - 1 - i));
        traced.set_item(kept, i, traced.integer(at));
    }
    return kept;
}

/* live(batch, history, tagged): empties a list of nodes from its end; the list of the wanted ones, in
 * their order, and the positions in it of those that are held from outside.
 *
 * history(node, outside): counts the uses of a node with unfreed history. tagged(node, outside):
 * counts those of its tag. */
static object *live(object *self, object *const *given, int64_t arguments)
{
    object *batch = given[0], *wanted = traced.new_list(0), *held = traced.new_list(0);
    object *both = traced.new_tuple(2);
    int failed = !wanted || !held || !both || arguments != 3;
    (void)self;
    for (int64_t i = failed ? 0 : traced.size(batch); i > 0 && !failed; i--) {
        object *n = traced.item(batch, i - 1);
        int64_t count = (int64_t)holders(n) - 1;
        int dropped = count == 0 || *slot(n, traced.value) != traced.none;
        if (!dropped) {
            int outside = count > traced.as_integer(*slot(n, traced.uses));
            if (outside)
                failed |= append_new(held, traced.integer(traced.size(wanted)));
            failed |= traced.append(wanted, n);
            failed |= traced.set_slice(batch, i - 1, i, 0);
            if (failed)
                break;
            if (traced.as_integer(*slot(n, traced.grad)) > 0)
                failed |= called(given[1], n, outside ? traced.yes : traced.none);
            else
                failed |= count_uses(*slot(n, traced.src));
            if (!failed && *slot(n, traced.tag) != traced.none)
                failed |= called(given[2], n, traced.none);
        } else {
            failed |= traced.set_slice(batch, i - 1, i, 0);
        }
    }
    object *kept = failed || traced.reverse(wanted) ? 0 : mirrored(held, traced.size(wanted));
    object *all[] = {held, wanted, both};
    for (int k = 0; k < (kept ? 1 : 3); k++)
        if (all[k])
            traced.drop(all[k]);
    if (!kept)
        return 0;
    traced.set_item(both, 0, wanted);
    traced.set_item(both, 1, kept);
    return both;
}

/* The positions of arrays by identity: in line while there are few, then by a table. */
typedef struct {
    object *few[LEAVES_IN_LINE];
    object **found; /* the arrays, in order */
    int64_t count, room;
    int64_t *table; /* positions + 1; none while they are in line */
    uint64_t mask;
} leaves;

static uint64_t spread(object *x) { return ((uint64_t)(intptr_t)x >> 4) * 0x9e3779b97f4a7c15u >> 20; }

static int64_t *entry(leaves *l, object *x)
{
    uint64_t at = spread(x) & l->mask;
    while (l->table[at] && l->found[l->table[at] - 1] != x)
        at = (at + 1) & l->mask;
    return l->table + at;
}

static int grow(leaves *l)
{
    int64_t room = 4 * l->room;
    object **found = realloc(l->found == l->few ? 0 : l->found, sizeof *found * (size_t)room);
    int64_t *table = calloc((size_t)(4 * room), sizeof *table);
    if (found && l->found == l->few)
        memcpy(found, l->few, sizeof l->few);
    if (found)
        l->found = found;
    if (!found || !table) {
        free(table);
        return 1;
    }
    free(l->table);
    l->table = table, l->mask = (uint64_t)(4 * room - 1), l->room = room;
    for (int64_t i = 0; i < l->count; i++)
        *entry(l, l->found[i]) = i + 1;
    return 0;
}

/* Where an array is, or -1 - where it is from now on; INT64_MIN without memory. */
static int64_t position(leaves *l, object *x)
{
    for (int64_t i = 0; !l->table && i < l->count; i++)
        if (l->found[i] == x)
            return i;
    if (l->table && *entry(l, x))
        return *entry(l, x) - 1;
    if (l->count == l->room && grow(l))
        return INT64_MIN;
    l->found[l->count++] = x;
    if (l->table)
        *entry(l, x) = l->count;
    return -l->count;
}

/* Whether what a node holds is row-major, or several arrays; -1 on an error. */
static int row_major(object *value)
{
    object *kind = type_of(value), *told;
    if (kind == traced.array_type)
        return *(int *)((char *)value + traced.array_flags) & ROW_MAJOR_FLAG;
    if (kind == traced.tuple_type)
        return 1;
    if (!(told = traced.attribute(value, traced.contiguous)))
        return -1;
    int found = traced.is_true(told);
    traced.drop(told);
    return found;
}

/* scan(wanted): the key of a wanted trace, its numbers and its arrays; or the operand that is
 * pending elsewhere. */
static object *scan(object *self, object *const *given, int64_t arguments)
{
    object *wanted = given[0], *key = traced.new_list(0), *numbers = traced.new_list(0);
    object *arrays = traced.new_list(0), *result = 0, *pending = 0;
    leaves l;
    int failed = !key || !numbers || !arrays || arguments != 1;
    int64_t count = failed ? 0 : traced.size(wanted);
    (void)self;
    l.found = l.few, l.table = 0, l.count = 0, l.room = LEAVES_IN_LINE;
    for (int64_t at = 0; at < count && !failed && !pending; at++) {
        object *n = traced.item(wanted, at), *src = *slot(n, traced.src);
        failed |= traced.append(key, *slot(n, traced.op));
        failed |= traced.append(key, *slot(n, traced.arg));
        int64_t size = traced.tuple_size(src);
        for (int64_t i = 0; i < size && !failed; i++) {
            object *s = items(src)[i];
            if (!is_node(s)) {
                object *kind = type_of(s);
                failed |= traced.append(key, kind);
                if (kind == traced.float_type) {
                    double number = traced.as_double(s);
                    if (number == 0)
                        failed |= traced.append(
                            key, __builtin_signbit(number) ? traced.minus_zero : traced.zero);
                }
                failed |= traced.append(numbers, s);
                continue;
            }
            object *value = *slot(s, traced.value);
            if (value == traced.none) {
                if (traced.as_integer(*slot(s, traced.pos)) >= 0) {
                    failed |= traced.append(key, *slot(s, traced.pos));
                } else if (*slot(n, traced.op) == traced.replaced && i == 0) {
                    failed |= traced.append(key, traced.none); /* only its history is meant */
                } else {
                    pending = s;
                    break;
                }
                continue;
            }
            int64_t k = position(&l, value);
            if (k == INT64_MIN) {
                failed = 1;
            } else if (k >= 0) {
                failed |= append_new(key, traced.integer(~k));
            } else {
                failed |= append_new(key, traced.integer(k));
                failed |= traced.append(arrays, value);
                failed |= traced.append(key, *slot(s, traced.type));
                int lies = row_major(value);
                failed |= lies < 0 || (!lies && traced.append(key, traced.strided));
            }
        }
        if (!failed && !pending)
            put(n, traced.pos, traced.integer(at));
    }
    if (l.found != l.few)
        free(l.found);
    free(l.table);
    if (pending) {
        traced.hold(pending);
        result = pending;
    } else if (!failed && (result = traced.new_tuple(3))) {
        traced.set_item(result, 0, traced.as_tuple(key));
        traced.set_item(result, 1, traced.as_tuple(numbers));
        traced.set_item(result, 2, arrays);
        arrays = 0;
    }
    if (key)
        traced.drop(key);
    if (numbers)
        traced.drop(numbers);
    if (arrays)
        traced.drop(arrays);
    return result;
}

/* Whether an operation is a view; -1 on an error. Operations that were asked about stay alive, and
 * are remembered. */
static int is_view(object *op)
{
    static struct {
        object *op;
        int view;
    } known[128], *k;
    k = known + ((uintptr_t)op / 64) % (sizeof known / sizeof *known);
    if (k->op == op)
        return k->view;
    object *told = traced.attribute(op, traced.view), *before = k->op;
    if (!told)
        return -1;
    traced.hold(op);
    k->op = op, k->view = told == traced.yes;
    traced.drop(told);
    if (before)
        traced.drop(before);
    return k->view;
}

/* Whether a view keeps its operand (`shows` of scans.py); -1 on an error. */
static int shows(object *n)
{
    for (int i = 0; i < MOST_VIEWS; i++) {
        object *src = *slot(n, traced.src), *s = traced.tuple_size(src) ? items(src)[0] : 0;
        if (!s || !is_node(s) || *slot(s, traced.grad) != traced.no_uses)
            return 0;
        int view = is_view(*slot(s, traced.op));
        if (view <= 0 || !traced.tuple_size(*slot(s, traced.src)))
            return view < 0 ? -1 : 1;
        n = s;
    }
    return 0;
}

/* settle(wanted, ok): resets what the drain wrote; realised nodes without live history drop their
 * operands, but views those that they show. */
static object *settle(object *self, object *const *given, int64_t arguments)
{
    object *wanted = given[0];
    int64_t count = arguments == 2 ? traced.size(wanted) : 0;
    (void)self;
    for (int64_t at = 0; at < count; at++) {
        object *n = traced.item(wanted, at);
        put_held(n, traced.uses, traced.no_uses);
        put_held(n, traced.pos, traced.no_position);
        if (traced.as_integer(*slot(n, traced.grad)) > 0)
            continue;
        if (given[1] != traced.yes && *slot(n, traced.value) == traced.none)
            continue;
        int kept = is_view(*slot(n, traced.op));
        if (kept == 1)
            kept = shows(n);
        if (kept < 0)
            return 0;
        if (!kept)
            put_held(n, traced.src, traced.empty);
    }
    traced.hold(traced.none);
    return traced.none;
}

enum { BASE = -2, WRITEABLE = 0x400, MOST_PLACES = 32, UNKNOWN = 2 }; /* BASE: words before an array's flags */

/* Whether a later backward reads a node: `read` are identities of nodes. */
static int is_read(object *node, object *read)
{
    object *id = traced.identity(node);
    int found = !id || traced.contains(read, id) != 0;
    if (id)
        traced.drop(id);
    return found;
}

/* Whether nobody but this run holds the k-th array, through the operands at `places` (pairs of a
 * node's position and an operand's); UNKNOWN where Python has to say. */
static int given_up(object *wanted, object *leaves, int64_t k, object *places, object *read)
{
    object *array = traced.item(leaves, k), *found[MOST_PLACES];
    int64_t count = traced.tuple_size(places), distinct = 0, times[MOST_PLACES];
    if (count > MOST_PLACES || type_of(array) != traced.array_type)
        return UNKNOWN;
    for (int64_t i = 0; i < count; i++) {
        object *const *pair = items(items(places)[i]);
        object *n = traced.item(wanted, traced.as_integer(pair[0]));
        object *s = items(*slot(n, traced.src))[traced.as_integer(pair[1])];
        int64_t at = 0;
        if (read != traced.none && is_read(s, read))
            return 0;
        while (at < distinct && found[at] != s)
            at++;
        if (at == distinct)
            found[distinct] = s, times[distinct++] = 0;
        times[at]++;
    }
    int flags = *(int *)((char *)array + traced.array_flags);
    int whole = !*slot(array, traced.array_flags + BASE * (int64_t)sizeof(object *));
    if (!whole || !(flags & WRITEABLE) || !(flags & ROW_MAJOR_FLAG))
        return 0;
    if (holders(array) != distinct + 1) /* the list of arrays holds it, too */
        return 0;
    for (int64_t i = 0; i < distinct; i++)
        if (holders(found[i]) != times[i])
            return 0;
    return 1;
}

/* flags(wanted, arrays, donors, read, gives_up): for every donor (k, places) whether the plan may
 * write over it. */
static object *flags(object *self, object *const *given, int64_t arguments)
{
    object *all = traced.new_list(0);
    int64_t count = all && arguments == 5 ? traced.size(given[2]) : 0;
    (void)self;
    for (int64_t i = 0; i < count; i++) {
        object *k = items(traced.item(given[2], i))[0], *places = items(traced.item(given[2], i))[1];
        int told = given_up(given[0], given[1], traced.as_integer(k), places, given[3]);
        object *flag = told == 1 ? traced.yes : traced.refused;
        if (told == UNKNOWN)
            flag = traced.call(given[4], given[0], given[1], k, places, given[3], (object *)0);
        else
            traced.hold(flag);
        if (append_new(all, flag)) {
            traced.drop(all);
            return 0;
        }
    }
    return all;
}

typedef struct {
    const char *name;
    object *(*call)(object *, object *const *, int64_t);
    int flags;
    const char *doc;
} method;

method lazyt_flags = {"flags", flags, 0x80, 0};
method lazyt_live = {"live", live, 0x80, 0};
method lazyt_scan = {"scan", scan, 0x80, 0};
method lazyt_settle = {"settle", settle, 0x80, 0};
