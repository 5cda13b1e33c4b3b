/* Applying a primitive: `Op.__call__` of ir/opdef.py, with `emit` and `caller` of ir/node.py.
 *
 * Nearly everything that is traced goes through here. Besides making the node in fewer steps it
 * remembers the types of results: what a primitive infers follows from the types of its operands
 * and its structural argument alone. Where the slots of a node lie, runtime/traces.py has told
 * already; runtime/applying.py tells the rest. */

static struct {
    object *(*new_integer)(int64_t);
    object *(*entry)(object *, object *); /* of a dictionary; borrowed */
    object *(*frame)(void);               /* borrowed */
    object *(*outer)(object *);
    object *(*code)(object *);
    int (*last_instruction)(object *);
    int64_t (*hash)(object *);
    int (*compare)(object *, object *, int);
    object *(*call_all)(object *, object *const *, size_t, object *);
    void (*forget_error)(void);
    object *(*next)(object *);
    object *(*make)(object *type, object *arguments, object *keywords);
    object *in_python; /* what does the rest: Op.__call__ as ir/opdef.py defines it */
    object *local, *internal, *is_internal, *placing, *refusing, *flush, *same;
    object *no, *numbers;
    object *of_thread, *trace, *limit, *grad_mode, *origin; /* names */
    object *arg, *infer, *differentiable, *file;
    int64_t after, code_slot, line;
} applied;

void lazyt_apply_init(void *const *given)
{
    for (size_t i = 0; i < sizeof applied / sizeof(void *); i++)
        ((void **)&applied)[i] = given[i];
}

static object *held(object *x)
{
    traced.hold(x);
    return x;
}

/* --- the type of the result --------------------------------------------------------------------- */

enum { REMEMBERED = 1024, MOST_REMEMBERED = 4, EQUAL = 2 };

typedef struct {
    object *op, *arg, *result, *of[MOST_REMEMBERED];
} inferred;

static inferred remembered[REMEMBERED];

/* Where the inference for operands that are all nodes, and few, is remembered; else 0. */
static inferred *place_of(object *op, object *const *src, int64_t count, object *arg)
{
    if (count > MOST_REMEMBERED)
        return 0;
    uint64_t at = (uintptr_t)op >> 4;
    for (int64_t i = 0; i < count; i++) {
        if (!is_node(src[i]))
            return 0;
        at = at * 31 + ((uintptr_t)*slot(src[i], traced.type) >> 4);
    }
    if (arg != traced.empty) {
        int64_t hash = applied.hash(arg);
        if (hash == -1) {
            applied.forget_error();
            return 0;
        }
        at = at * 31 + (uint64_t)hash;
    }
    return remembered + (at * 0x9e3779b97f4a7c15u >> 32) % REMEMBERED;
}

static int is_of(const inferred *r, object *op, object *const *src, int64_t count, object *arg)
{
    if (r->op != op || (count < MOST_REMEMBERED && r->of[count]))
        return 0;
    for (int64_t i = 0; i < count; i++)
        if (r->of[i] != *slot(src[i], traced.type))
            return 0;
    int equal = r->arg == arg ? 1 : applied.compare(r->arg, arg, EQUAL);
    if (equal < 0)
        applied.forget_error();
    return equal == 1;
}

static void remember(inferred *r, object *op, object *const *src, int64_t count, object *arg,
                     object *result)
{
    inferred before = *r;
    inferred now = {held(op), held(arg), held(result), {0}};
    for (int64_t i = 0; i < count; i++)
        now.of[i] = held(*slot(src[i], traced.type));
    *r = now;
    object **words = (object **)&before;
    for (size_t i = 0; i < sizeof before / sizeof *words; i++)
        if (words[i])
            traced.drop(words[i]);
}

/* What `_same` of ir/ops_elementwise.py says first: the one type of all operands that are nodes. */
static object *one_type(object *const *src, int64_t count)
{
    object *type = count && is_node(src[0]) ? *slot(src[0], traced.type) : 0;
    for (int64_t i = 1; i < count && type; i++)
        if (is_node(src[i]) && *slot(src[i], traced.type) != type)
            return 0;
    return type;
}

static object *type_for(object *op, object *operands, object *arg)
{
    object *const *src = items(operands);
    int64_t count = traced.tuple_size(operands);
    inferred *r = place_of(op, src, count, arg);
    if (r && is_of(r, op, src, count, arg))
        return held(r->result);
    object *infer = traced.attribute(op, applied.infer);
    if (!infer)
        return 0;
    object *type = infer == applied.same ? one_type(src, count) : 0;
    type = type ? held(type) : traced.call(infer, operands, arg, (object *)0);
    traced.drop(infer);
    if (type && r)
        remember(r, op, src, count, arg, type);
    return type;
}

/* --- the user's line ---------------------------------------------------------------------------- */

/* Whether a file is one of the library's own; -1 on an error. */
static int is_own(object *file)
{
    object *known = applied.entry(applied.internal, file);
    if (known)
        return known != applied.no;
    object *told = traced.call(applied.is_internal, file, (object *)0);
    int own = told ? traced.is_true(told) : -1;
    if (told)
        traced.drop(told);
    return own;
}

/* The same of a function; those that are stay the library's own, and are remembered. */
static int is_own_code(object *code)
{
    static object *known[256];
    object **place = known + ((uintptr_t)code / 64) % (sizeof known / sizeof *known);
    if (*place == code)
        return 1;
    object *file = traced.attribute(code, applied.file), *before = *place;
    int own = file ? is_own(file) : -1;
    if (file)
        traced.drop(file);
    if (own != 1)
        return own;
    *place = held(code);
    if (before)
        traced.drop(before);
    return 1;
}

/* The first frame outside of the library, as `caller` finds it, from `depth` frames above. */
static int find_line(int64_t depth, object **code, object **line)
{
    object *frame = applied.frame();
    if (!frame)
        return 0;
    traced.hold(frame);
    for (;; depth--) {
        object *here = applied.code(frame);
        int own = depth > 0 ? 1 : is_own_code(here);
        object *outer = own == 1 ? applied.outer(frame) : 0;
        if (!outer) {
            *code = here;
            *line = own < 0 ? 0 : applied.new_integer(applied.last_instruction(frame));
            traced.drop(frame);
            return 1;
        }
        traced.drop(here);
        traced.drop(frame);
        frame = outer;
    }
}

/* --- the node ----------------------------------------------------------------------------------- */

static int leads_back(object *op, object *src, object *mine)
{
    int64_t count = traced.tuple_size(src);
    for (int64_t i = 0; i < count; i++) {
        object *s = items(src)[i];
        if (!is_node(s) || *slot(s, traced.grad) == traced.no_uses)
            continue;
        object *mode = applied.entry(mine, applied.grad_mode);
        if (!mode || !traced.is_true(mode))
            return 0;
        object *told = traced.attribute(op, applied.differentiable);
        int found = told ? traced.is_true(told) : 0;
        if (told)
            traced.drop(told);
        return found;
    }
    return 0;
}

static int flushed(object *node)
{
    object *done = traced.call(traced.item(applied.flush, 0), node, (object *)0);
    if (done)
        traced.drop(done);
    return done != 0;
}

/* A node in the trace of the thread, whose dictionary is `mine`. */
static object *emitted(object *op, object *src, object *arg, object *type, object *mine)
{
    object *trace = applied.entry(mine, applied.trace), *limit = applied.entry(mine, applied.limit);
    object *origin = applied.entry(mine, applied.origin), *code = 0, *line = 0;
    if (origin != traced.none)
        code = held(items(origin)[0]), line = held(items(origin)[1]);
    else
        find_line(0, &code, &line);
    object *n = code && line ? applied.make(traced.node_type, traced.empty, 0) : 0;
    if (!n) {
        if (code)
            traced.drop(code);
        if (line)
            traced.drop(line);
        return 0;
    }
    *slot(n, traced.op) = held(op);
    *slot(n, traced.src) = held(src);
    *slot(n, traced.arg) = held(arg);
    *slot(n, traced.type) = held(type);
    *slot(n, traced.value) = held(traced.none);
    *slot(n, applied.after) = held(traced.none);
    *slot(n, traced.tag) = held(traced.none);
    *slot(n, traced.uses) = held(traced.no_uses);
    *slot(n, traced.pos) = held(traced.no_position);
    *slot(n, traced.grad) = leads_back(op, src, mine) ? applied.next(applied.numbers) : held(traced.no_uses);
    *slot(n, applied.code_slot) = code;
    *slot(n, applied.line) = line;
    traced.hold(trace);
    int failed = traced.append(trace, n);
    if (!failed && traced.size(trace) > traced.as_integer(limit))
        failed = !flushed(n);
    traced.drop(trace);
    if (failed) {
        traced.drop(n);
        return 0;
    }
    return n;
}

static object *in_python(object *op, object *const *given, int64_t count, int64_t named,
                         object *names)
{
    object **row = malloc(sizeof *row * (size_t)(count + named + 1)), *made = 0;
    if (!row)
        return 0;
    row[0] = op;
    for (int64_t i = 0; i < count + named; i++)
        row[i + 1] = given[i];
    made = applied.call_all(applied.in_python, row, (size_t)count + 1, names);
    free(row);
    return made;
}

/* op(*operands, arg=()), as a method that takes arguments in a row and names of the last ones. */
static object *apply(object *op, object *const *given, int64_t count, object *names)
{
    int64_t named = names ? traced.tuple_size(names) : 0;
    object *arg = named ? given[count] : traced.empty;
    object *mine = 0, *src = 0, *type = 0, *made = 0;
    if (named > 1 || (named && items(names)[0] != applied.arg) || traced.size(applied.placing) ||
        traced.size(applied.refusing))
        return in_python(op, given, count, named, names);
    if (!(src = traced.new_tuple(count)))
        return 0;
    for (int64_t i = 0; i < count; i++)
        traced.set_item(src, i, held(given[i]));
    if ((type = type_for(op, src, arg)) && (mine = traced.attribute(applied.local, applied.of_thread)))
        made = emitted(op, src, arg, type, mine);
    object *all[] = {src, type, mine};
    for (int i = 0; i < 3; i++)
        if (all[i])
            traced.drop(all[i]);
    return made;
}

/* caller(depth): the user's line as (code object, instruction offset). */
static object *caller(object *self, object *const *given, int64_t count)
{
    object *mine = traced.attribute(applied.local, applied.of_thread), *code = 0, *line = 0;
    object *origin = mine ? applied.entry(mine, applied.origin) : 0, *both = 0;
    (void)self;
    if (origin && origin != traced.none)
        both = held(origin);
    else if (origin)
        find_line(count ? traced.as_integer(given[0]) - 1 : 1, &code, &line);
    if (mine)
        traced.drop(mine);
    if (code && line && (both = traced.new_tuple(2))) {
        traced.set_item(both, 0, code);
        traced.set_item(both, 1, line);
        return both;
    }
    if (code)
        traced.drop(code);
    if (line)
        traced.drop(line);
    return both;
}

struct {
    const char *name;
    object *(*call)(object *, object *const *, int64_t, object *);
    int flags;
    const char *doc;
} lazyt_apply = {"__call__", apply, 0x82, 0};

method lazyt_caller = {"caller", caller, 0x80, 0};
