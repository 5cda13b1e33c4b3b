/* Tracing `a + b` and its like: the method of fast.py once more, for the plainest of its cases.
 *
 * A script of small operations spends its time in making three objects and filling their slots. Here
 * that is done for two tensors of one type, or a float tensor and a number, whose handles are up to
 * date and that are no views; whatever else there is goes to the method in Python. Where the slots
 * lie is found out by fast_in_c.py, which also names the Python functions that are used. */

#include <stddef.h>
#include <stdint.h>

typedef void object;

enum { OPERATIONS = 16, TYPES = 64 };
enum { KNOWN = 1, FLOATING = 2, HALF = 4, COMPLEX = 8 };

static struct {
    object *(*new_tuple)(int64_t);
    int (*set_item)(object *, int64_t, object *);
    int (*append)(object *, object *);
    int64_t (*size)(object *);
    object *(*new_float)(double);
    double (*as_double)(object *);
    object *(*new_integer)(int64_t);
    int64_t (*as_integer)(object *);
    object *(*attribute)(object *, object *);
    object *(*entry)(object *, object *); /* of a dictionary; borrowed */
    int (*contains)(object *, object *);
    int (*is_true)(object *);
    object *(*call)(object *, ...);
    object *(*frame)(void); /* borrowed */
    object *(*code)(object *);
    int (*last_instruction)(object *);
    object *(*raised)(void);
    void (*forget_error)(void);
    void (*hold)(object *), (*drop)(object *);
    object *(*next)(object *);
    object *(*make)(object *type, object *arguments, object *keywords);
    object *tensor, *node, *storage, *float_type, *int_type;
    object *none, *no, *empty, *zero, *minus_one, *numbers;
    object *local, *internal, *subclasses;
    object *of_thread, *trace, *limit, *grad_mode, *inference, *file; /* names */
    object *dtype, *category, *item_bytes, *boolean;
    int64_t type_offset;
    int64_t node_op, node_src, node_arg, node_type, node_value, node_after, node_tag, node_uses;
    int64_t node_pos, node_grad, node_code, node_line;
    int64_t storage_node, storage_version, storage_export, storage_address;
    int64_t tensor_storage, tensor_node, tensor_seen, tensor_meta;
} python;

/* The operations that have a method, with what differs between them. */
static struct {
    object *op, *slow;
    int64_t floats_only, boolean, rounds, reverse;
} operations[OPERATIONS];

void lazyt_fast_init(void *const *given)
{
    for (size_t i = 0; i < sizeof python / sizeof(void *); i++)
        ((void **)&python)[i] = given[i];
}

void lazyt_fast_operation(int64_t k, void *op, void *slow, int64_t floats_only, int64_t boolean,
                          int64_t rounds, int64_t reverse)
{
    operations[k].op = op, operations[k].slow = slow;
    operations[k].floats_only = floats_only, operations[k].boolean = boolean;
    operations[k].rounds = rounds, operations[k].reverse = reverse;
}

static object **slot(object *x, int64_t offset) { return (object **)((char *)x + offset); }
static object *class_of(object *x) { return *slot(x, python.type_offset); }

static object *held(object *x)
{
    python.hold(x);
    return x;
}

static int64_t number(object *x, object *name)
{
    object *found = python.attribute(x, name);
    int64_t value = found ? python.as_integer(found) : -1;
    if (found)
        python.drop(found);
    return value;
}

/* What there is to know of a type. Types are never freed: an address is as good as a name. */
static int kind_of(object *type)
{
    static struct {
        object *type;
        int kind;
    } known[TYPES];
    size_t at = (uintptr_t)type / 64 % TYPES;
    if (known[at].type == type)
        return known[at].kind;
    object *dtype = python.attribute(type, python.dtype);
    if (!dtype)
        return 0;
    int kind = KNOWN | (number(dtype, python.category) == 2 ? FLOATING : 0);
    kind |= number(dtype, python.category) == 3 ? COMPLEX : 0;
    kind |= number(dtype, python.item_bytes) == 2 ? HALF : 0;
    python.drop(dtype);
    known[at].type = type, known[at].kind = kind;
    return kind;
}

/* The node of a tensor that is no view and up to date; 0 where there is more to do. */
static object *node_of(object *tensor)
{
    object *node = *slot(tensor, python.tensor_node), *seen = *slot(tensor, python.tensor_seen);
    object *storage = *slot(tensor, python.tensor_storage);
    if (!node || !storage || seen != *slot(storage, python.storage_node))
        return 0;
    return *slot(tensor, python.tensor_meta) == python.none ? node : 0;
}

/* Whether a line of this code is the library's own. The last code is kept: it is asked again. */
static int is_internal(object *code)
{
    static object *last;
    if (code == last)
        return 0;
    object *file = python.attribute(code, python.file);
    int internal = !file || python.entry(python.internal, file) != python.no;
    if (file)
        python.drop(file);
    if (!internal) {
        object *before = last;
        last = held(code);
        if (before)
            python.drop(before);
    }
    return internal;
}

/* The number that a Python float or int stands for, as a float; 0 where there is none. */
static object *float_of(object *x)
{
    if (class_of(x) == python.float_type)
        return held(x);
    double value = python.as_double(x);
    if (value == -1 && python.raised()) {
        python.forget_error();
        return 0;
    }
    return python.new_float(value);
}

static void fill(object *x, int64_t offset, object *value) { *slot(x, offset) = value; }

/* A node, its storage and its handle. Takes over `src`, `type` and `line`. */
static object *traced(object *op, object *src, object *type, int grad, object *code, object *line,
                      object *trace)
{
    object *n = python.make(python.node, python.empty, 0);
    object *storage = python.make(python.storage, python.empty, 0);
    object *t = python.make(python.tensor, python.empty, 0);
    if (!n || !storage || !t || python.append(trace, n)) {
        object *all[] = {n, storage, t, src, type, line};
        for (int i = 0; i < 6; i++)
            if (all[i])
                python.drop(all[i]);
        return 0;
    }
    fill(n, python.node_op, held(op));
    fill(n, python.node_src, src);
    fill(n, python.node_arg, held(python.empty));
    fill(n, python.node_type, type);
    fill(n, python.node_value, held(python.none));
    fill(n, python.node_after, held(python.none));
    fill(n, python.node_tag, held(python.none));
    fill(n, python.node_uses, held(python.zero));
    fill(n, python.node_pos, held(python.minus_one));
    fill(n, python.node_grad, grad ? python.next(python.numbers) : held(python.zero));
    fill(n, python.node_code, held(code));
    fill(n, python.node_line, line);
    fill(storage, python.storage_node, held(n));
    fill(storage, python.storage_version, held(python.zero));
    fill(storage, python.storage_export, held(python.none));
    fill(storage, python.storage_address, held(python.none));
    fill(t, python.tensor_storage, storage);
    fill(t, python.tensor_node, held(n));
    fill(t, python.tensor_seen, n);
    fill(t, python.tensor_meta, held(python.none));
    return t;
}

/* The plain case; 0 without an error where this is none. */
static object *plain(int64_t k, object *self, object *other)
{
    object *a = node_of(self), *b, *kind = class_of(other);
    if (!a)
        return 0;
    object *type = *slot(a, python.node_type);
    int known = kind_of(type), boolean = operations[k].boolean != 0;
    int differentiated = *slot(a, python.node_grad) != python.zero;
    if (kind == python.float_type || kind == python.int_type) {
        if (!(known & FLOATING) || (operations[k].rounds && known & HALF))
            return 0;
        b = float_of(other);
    } else if (kind == python.tensor || python.contains(python.subclasses, kind) == 1) {
        b = node_of(other);
        if (!b || *slot(b, python.node_type) != type)
            return 0;
        if (known & COMPLEX || (operations[k].floats_only && !(known & FLOATING)))
            return 0;
        differentiated |= *slot(b, python.node_grad) != python.zero;
        python.hold(b);
    } else {
        return 0;
    }
    object *mine = b ? python.attribute(python.local, python.of_thread) : 0, *made = 0;
    object *trace = mine ? python.entry(mine, python.trace) : 0;
    object *limit = mine ? python.entry(mine, python.limit) : 0;
    object *inference = mine ? python.entry(mine, python.inference) : 0;
    object *frame = python.frame(), *code = frame ? python.code(frame) : 0;
    int here = trace && limit && inference == python.no && code && !is_internal(code);
    if (here && python.size(trace) < python.as_integer(limit)) {
        object *mode = differentiated && !boolean ? python.entry(mine, python.grad_mode) : 0;
        int reverse = operations[k].reverse != 0, grad = mode && python.is_true(mode);
        object *src = python.new_tuple(2), *line = python.new_integer(python.last_instruction(frame));
        type = operations[k].boolean ? python.attribute(type, python.boolean) : held(type);
        if (src && line && type) {
            python.set_item(src, reverse, held(a));
            python.set_item(src, !reverse, held(b));
            made = traced(operations[k].op, src, type, grad, code, line, trace);
        }
    }
    if (b)
        python.drop(b);
    if (code)
        python.drop(code);
    if (mine)
        python.drop(mine);
    return made;
}

static object *binary(int64_t k, object *self, object *other)
{
    object *made = plain(k, self, other);
    if (!made && !python.raised())
        made = python.call(operations[k].slow, self, other, (object *)0);
    return made;
}

#define METHOD(k)                                                                                  \
    static object *method_##k(object *self, object *other) { return binary(k, self, other); }
METHOD(0) METHOD(1) METHOD(2) METHOD(3) METHOD(4) METHOD(5) METHOD(6) METHOD(7)
METHOD(8) METHOD(9) METHOD(10) METHOD(11) METHOD(12) METHOD(13) METHOD(14) METHOD(15)

object *(*const lazyt_fast_methods[OPERATIONS])(object *, object *) = {
    method_0, method_1, method_2, method_3, method_4, method_5, method_6, method_7,
    method_8, method_9, method_10, method_11, method_12, method_13, method_14, method_15,
};
