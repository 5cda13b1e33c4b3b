"""How each primitive is applied to a batch of operands: the table that vmap goes by.

    mul(x, w)      x batched   ->  mul(x, w), the axes of x lined up from the right
    sum(x) (0,)    x batched   ->  sum(x) (1,)
    conv(x, w)     both        ->  one convolution of size * groups groups

A rule is called with the example's node, the operands, which of them are batched (then the batch
is their first axis), and its size; the first axis of its result is the batch. Elementwise ones and
reductions need no entry.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from .dtypes import int64
from .node import Node
from .ops_constant import arange_, full, typed
from .ops_decompositions import solve
from .ops_elementwise import add, cast, eq, mul, ne, where
from .ops_index import index, index_put
from .ops_linalg import conv, conv_weight, matmul, transposed
from .ops_nn import row_pick
from .ops_order import median, nanmedian, searchsorted
from .ops_rearrange import tile_
from .ops_reduce import get, std, sum_, var, var_whole
from .ops_segments import segment_reduce
from .ops_shape import cat_, expand, narrow, pad_, permute, reshape, stop

Flags = tuple[bool, ...]
Rule = Callable[[Node, list, Flags, int], Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Makes a function the rule of primitives."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


# --- operands -------------------------------------------------------------------------------------


def ranked(x: Node, rank: int) -> Node:
    """A batched operand with axes of extent 1 behind the first, for an example of `rank` axes."""
    size, *shape = x.type.shape
    return reshape(x, (size, *(1,) * (rank - len(shape)), *shape))


def spread(x: Node, size: int) -> Node:
    """The same value for every example."""
    shape = x.type.shape
    return expand(reshape(x, (1, *shape)), (size, *shape))


def all_batched(src: list, mapped: Flags, size: int) -> list:
    """The operands, every node of them batched; numbers as they are."""
    return [
        spread(s, size) if s.__class__ is Node and not m else s
        for s, m in zip(src, mapped, strict=True)
    ]


def folded(x: Node) -> Node:
    """The axis of the batch and the first of the example as one."""
    shape = x.type.shape
    return reshape(x, (shape[0] * shape[1], *shape[2:]))


def unfolded(x: Node, size: int) -> Node:
    """What `folded` joined, taken apart."""
    shape = x.type.shape
    return reshape(x, (size, shape[0] // size if size else 0, *shape[1:]))


# --- rules of most primitives ---------------------------------------------------------------------


def one_by_one(n: Node, src: list, mapped: Flags, size: int) -> Any:
    """A primitive without a rule: applied to every example, with PyTorch's warning."""
    warnings.warn(
        "There is a performance drop because we have not yet implemented the batching rule for "
        f"{n.op.name}: it is applied to each of {size} examples.",
        UserWarning,
        stacklevel=2,
    )
    several = n.op.results > 1
    types: Any = n.type if several else (n.type,)
    pieces: list[list[Node]] = [[] for _ in types]
    for b in range(size):
        own = [
            reshape(narrow(s, 0, b, 1), s.type.shape[1:]) if m else s
            for s, m in zip(src, mapped, strict=True)
        ]
        made = n.op(*own, arg=n.arg)
        for k, t in enumerate(types):
            piece = get(made, k) if several else made
            pieces[k].append(reshape(piece, (1, *t.shape)))
    stacked = tuple(
        cat_(*found, arg=(0,)) if found else full((0, *t.shape), 0, t.dtype, t.device)
        for found, t in zip(pieces, types)
    )
    return stacked if several else stacked[0]


def pointwise(n: Node, src: list, mapped: Flags, size: int) -> Node:
    """Elements of one example meet elements of the same example."""
    rank = len(n.type.shape)
    aligned = [ranked(s, rank) if m else s for s, m in zip(src, mapped, strict=True)]
    return n.op(*aligned, arg=n.arg)


def along(n: Node, src: list, mapped: Flags, size: int) -> Any:
    """A primitive that works along the axes that its argument names: they are one further on."""
    src = all_batched(src, mapped, size)
    scalar = not n.src[0].type.shape
    arg = tuple(_shifted(f, v) for f, v in zip(n.op.fields, n.arg))
    if scalar and any(f == "axis" or f == "axes" and v for f, v in zip(n.op.fields, n.arg)):
        # Along the one axis that a number is taken to have.
        made = n.op(*(reshape(s, (*s.type.shape, 1)) for s in src), arg=arg)
        return _shaped(made, n, size)
    return n.op(*src, arg=arg)


def _shifted(field: str, value: Any) -> Any:
    if field == "axis":
        return value + 1
    return tuple(a + 1 for a in value) if field == "axes" else value


def _shaped(made: Node, n: Node, size: int) -> Any:
    """Results in the shape of the example's: a tuple where there are several."""
    if n.op.results == 1:
        return reshape(made, (size, *n.type.shape))
    types: Any = n.type
    return tuple(reshape(get(made, i), (size, *t.shape)) for i, t in enumerate(types))


def as_it_is(n: Node, src: list, mapped: Flags, size: int) -> Node:
    """A primitive that serves any number of leading axes, and all of whose operands have them."""
    return n.op(*all_batched(src, mapped, size), arg=n.arg)


for _name in (
    "flip", "roll", "cat", "repeat_each", "cumsum", "cumprod", "logcumsumexp", "cummax", "cummin",
    "softmax", "log_softmax", "sort", "topk", "kthvalue", "median", "nanmedian", "mode",
    "max_with_index", "min_with_index", "standardize",
):  # fmt: skip
    RULES[_name] = along
for _name in (
    "alias", "stop", "copy", "replaced", "inverse", "transfer", "tril", "triu", "max_pool",
    "max_pool_values", "max_pool_positions", "max_pool_grad", "max_pool_gather", "avg_pool",
    "avg_pool_grad", "det", "sign_of_det", "log_of_det", "pinv", "cholesky", "eigh", "qr", "svd",
    "matrix_exp",
):  # fmt: skip
    RULES[_name] = as_it_is
for _name in ("real", "imag", "conj", "modulus", "of_parts"):
    RULES[_name] = pointwise
RULES["class_checked"] = RULES["index_checked"] = pointwise


@rule("resample")
def _resample(n: Node, src: list, mapped: Flags, size: int) -> Node:
    """The tables are the same for every example, unless somebody made some of his own."""
    if any(mapped[1:]):
        return one_by_one(n, src, mapped, size)
    return n.op(*src, arg=(n.arg[0] + 1,))


@rule("get")
def _get(n: Node, src: list, mapped: Flags, size: int) -> Node:
    (pair,) = src
    return pair[n.arg[0]] if pair.__class__ is tuple else get(pair, n.arg[0])


def _to_front(x: Node, axis: int) -> Node:
    """An axis made the first."""
    rest = [a for a in range(len(x.type.shape)) if a != axis]
    return permute(x, (axis, *rest))


def _examples(size: int, rank: int, like: Node) -> Node:
    """The number of each example, int64, to stand before `rank` more axes."""
    numbers = arange_(0, 1, arg=typed((size,), int64, like.type.device))
    return reshape(numbers, (size, *(1,) * rank))


# --- views and writes -----------------------------------------------------------------------------


@rule("reshape")
def _reshape(n: Node, src: list, mapped: Flags, size: int) -> Node:
    return reshape(src[0], (size, *n.type.shape))


@rule("permute")
def _permute(n: Node, src: list, mapped: Flags, size: int) -> Node:
    return permute(src[0], (0, *(a + 1 for a in n.arg[0])))


@rule("expand")
def _expand(n: Node, src: list, mapped: Flags, size: int) -> Node:
    return expand(ranked(src[0], len(n.type.shape)), (size, *n.type.shape))


@rule("slice", "part")
def _slice(n: Node, src: list, mapped: Flags, size: int) -> Node:
    sizes, steps, *to = n.arg
    shape = [(size, *t) for t in to]
    return n.op(src[0], 0, *src[1:], arg=((size, *sizes), (1, *steps), *shape))


def _pitch(n: Node) -> int:
    """The distance of two examples in memory, in elements."""
    return max(n.src[0].type.numel, 1)


@rule("as_strided")
def _as_strided(n: Node, src: list, mapped: Flags, size: int) -> Node:
    sizes, strides = n.arg
    return n.op(*src, arg=((size, *sizes), (_pitch(n), *strides)))


@rule("strided_update", "strided_add")
def _strided_write(n: Node, src: list, mapped: Flags, size: int) -> Node:
    sizes, strides = n.arg
    base, value, offset = all_batched(src, mapped, size)
    value = ranked(value, len(sizes))
    return n.op(base, value, offset, arg=((size, *sizes), (_pitch(n), *strides)))


@rule("pad")
def _pad(n: Node, src: list, mapped: Flags, size: int) -> Node:
    return pad_(*src, arg=(((0, 0), *n.arg[0]),))


@rule("tile")
def _tile(n: Node, src: list, mapped: Flags, size: int) -> Node:
    (reps,) = n.arg
    return tile_(ranked(src[0], len(reps)), arg=((1, *reps),))


# --- indices --------------------------------------------------------------------------------------


@rule("gather", "scatter_add", "scatter", "scatter_reduce")
def _along_index(n: Node, src: list, mapped: Flags, size: int) -> Node:
    axis, *more = n.arg
    operands = all_batched(src, mapped, size)
    rank = max(len(s.type.shape) for s in n.src if s.__class__ is Node)
    if not rank:
        operands = [reshape(s, (size, 1)) for s in operands]
    made = n.op(*(ranked(s, max(rank, 1)) for s in operands), arg=(axis + 1, *more))
    return reshape(made, (size, *n.type.shape))


def _adjacent(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(axes[0], axes[0] + len(axes)))


def _leading(indices: Any) -> int:
    """How many axes the indices have together, once they are broadcast."""
    return max(len(i.type.shape) for i in indices)


def _own_rows(n: Node, at: int, src: list, mapped: Flags, size: int) -> list[Node]:
    """The indices, with the number of the example before them; `at`: where they begin."""
    lead = _leading(n.src[at:])
    indices = [ranked(s, lead) if m else s for s, m in zip(src[at:], mapped[at:])]
    return [_examples(size, lead, src[0]), *indices]


@rule("index")
def _index(n: Node, src: list, mapped: Flags, size: int) -> Node:
    (axes,) = n.arg
    first, lead = axes[0] if _adjacent(axes) else 0, _leading(n.src[1:])
    if not mapped[0]:
        # The indices' own axes begin with the batch, where they come to lie.
        indices = [ranked(s, lead) if m else s for s, m in zip(src[1:], mapped[1:])]
        return _to_front(index(src[0], *indices, arg=n.arg), first)
    moved = tuple(a + 1 for a in axes)
    if not any(mapped[1:]) and _adjacent(axes):
        return index(*src, arg=(moved,))
    picked = index(src[0], *_own_rows(n, 1, src, mapped, size), arg=((0, *moved),))
    if not first:
        return picked
    # The batch, the indices' axes, then the others: those before the indexed ones go back.
    order = (0, *range(1 + lead, 1 + lead + first), *range(1, 1 + lead))
    return permute(picked, (*order, *range(1 + lead + first, len(picked.type.shape))))


@rule("index_put")
def _index_put(n: Node, src: list, mapped: Flags, size: int) -> Node:
    axes, accumulate = n.arg
    base, value = all_batched(src[:2], mapped[:2], size)
    first, lead = axes[0] if _adjacent(axes) else 0, _leading(n.src[2:])
    rank = lead + len(n.type.shape) - len(axes)
    value = ranked(value, rank)
    if first:  # as `index` gives it: the indices' axes stand before the others
        order = (*range(1 + first, 1 + first + lead), *range(1, 1 + first))
        value = permute(value, (0, *order, *range(1 + first + lead, 1 + rank)))
    rows = _own_rows(n, 2, [base, *src[1:]], mapped, size)
    return index_put(base, value, *rows, arg=((0, *(a + 1 for a in axes)), accumulate))


@rule("row_pick")
def _row_pick(n: Node, src: list, mapped: Flags, size: int) -> Node:
    table, at = src
    if not mapped[0]:
        return row_pick(table, at, arg=n.arg)
    at = at if mapped[1] else spread(at, size)
    rows = len(at.type.shape) - 1
    picked = index(table, _examples(size, rows, table), at, arg=((0, 1),))
    (skipped,) = n.arg
    if skipped is None:
        return picked
    hit = eq(at, skipped)
    hit = reshape(hit, hit.type.shape + (1,) * (len(picked.type.shape) - len(hit.type.shape)))
    return where(hit, stop(picked), picked)


@rule("row_put")
def _row_put(n: Node, src: list, mapped: Flags, size: int) -> Node:
    g, at = all_batched(src, mapped, size)
    count, skipped = n.arg
    if skipped is not None:
        hit = eq(at, skipped)
        hit = reshape(hit, hit.type.shape + (1,) * (len(g.type.shape) - len(hit.type.shape)))
        g = where(hit, 0.0, g)
    rows = _examples(size, len(at.type.shape) - 1, g)
    empty = full((size, *n.type.shape), 0, g.type.dtype, g.type.device)
    return index_put(empty, g, rows, at, arg=((0, 1), True))


@rule("segment_reduce")
def _segment_reduce(n: Node, src: list, mapped: Flags, size: int) -> Node:
    extents, *how = n.arg
    outer, count, inner = n.src[0].type.shape
    at = src[1]
    if mapped[1] and len(n.src[1].type.shape) == 1:
        at = expand(reshape(at, (size, 1, count, 1)), (size, outer, count, inner))
    elif len(n.src[1].type.shape) == 3:
        at = at if mapped[1] else spread(at, size)
    value, _, *before = all_batched(src, mapped, size)
    at = folded(at) if len(at.type.shape) == 4 else at
    return segment_reduce(folded(value), at, *before, arg=((size, *extents), *how))


@rule("count_each")
def _count_each(n: Node, src: list, mapped: Flags, size: int) -> Node:
    (bins,) = n.arg
    x = reshape(src[0], (size, n.src[0].type.numel, 1))
    numbers = arange_(0, 1, arg=typed((bins,), x.type.dtype, x.type.device))
    return sum_(cast(eq(x, numbers), x.type.dtype), arg=((1,), False))


# --- order ----------------------------------------------------------------------------------------


@rule("var_whole", "std_whole")
def _spread_of_everything(n: Node, src: list, mapped: Flags, size: int) -> Node:
    axes, *more = n.arg
    return (var if n.op is var_whole else std)(*src, arg=(tuple(a + 1 for a in axes), *more))


@rule("median_value")
def _median_value(n: Node, src: list, mapped: Flags, size: int) -> Node:
    flat = reshape(src[0], (size, n.src[0].type.numel))
    op = nanmedian if n.arg[2] else median
    return reshape(get(op(flat, arg=((1,), False)), 0), (size, *n.type.shape))


@rule("searchsorted")
def _searchsorted(n: Node, src: list, mapped: Flags, size: int) -> Node:
    if not mapped[0] and len(src[0].type.shape) == 1:
        return searchsorted(*src, arg=n.arg)
    rows, values = all_batched(src, mapped, size)
    if len(rows.type.shape) == 2:
        values = reshape(values, (size, n.src[1].type.numel))
    return reshape(searchsorted(rows, values, arg=n.arg), (size, *n.type.shape))


# --- products -------------------------------------------------------------------------------------


@rule("matmul")
def _matmul(n: Node, src: list, mapped: Flags, size: int) -> Node:
    a, b = src
    m, k = (len(s.type.shape) for s in n.src)
    if m == 1 and not mapped[1] and k == 2:
        return matmul(a, b)  # vectors under each other are a matrix
    if k == 1 and not mapped[0] and m == 2:
        return matmul(b, transposed(a))
    a = _as_stack(a, mapped[0], m, max(m, k, 2), row=True)
    b = _as_stack(b, mapped[1], k, max(m, k, 2), row=False)
    if a.type.shape[-1] == 1 and n.type.dtype.is_floating_point:
        # Columns times rows, for which stacks of matrices are slow; a sum has no negative zero.
        return reshape(add(mul(a, b), 0.0), (size, *n.type.shape))
    return reshape(matmul(a, b), (size, *n.type.shape))


@rule("solve")
def _solve(n: Node, src: list, mapped: Flags, size: int) -> Node:
    a, b = src
    m, k = (len(s.type.shape) for s in n.src)
    a = _as_stack(a, mapped[0], m, max(m, k), row=True)
    b = _as_stack(b, mapped[1], k, max(m, k), row=False)
    return reshape(solve(a, b), (size, *n.type.shape))


def _as_stack(x: Node, mapped: bool, rank: int, to: int, row: bool) -> Node:
    """An operand as a stack of matrices; a vector of an example as a row, or as a column."""
    shape = x.type.shape
    if rank == 1:
        lead = shape[:-1]
        x = reshape(x, (*lead, 1, shape[-1]) if row else (*lead, shape[-1], 1))
    return ranked(x, to) if mapped else x


def _fold_channels(x: Node, axis: int) -> Node:
    """The batch joined to an axis of the example, counted without the batch; it comes first."""
    shape = x.type.shape
    order = (*range(1, axis + 1), 0, *range(axis + 1, len(shape)))
    joined = (*shape[1 : axis + 1], shape[0] * shape[axis + 1], *shape[axis + 2 :])
    return reshape(permute(x, order), joined)


def _split_channels(x: Node, axis: int, size: int) -> Node:
    shape = x.type.shape
    split = (*shape[:axis], size, shape[axis] // size if size else 0, *shape[axis + 1 :])
    return _to_front(reshape(x, split), axis)


@rule("conv", "conv_input")
def _conv(n: Node, src: list, mapped: Flags, size: int) -> Node:
    *geometry, groups = n.arg
    if not mapped[1]:
        return unfolded(n.op(folded(src[0]), src[1], arg=n.arg), size)
    if not mapped[0] and groups == 1 and n.op is conv:
        return _split_channels(conv(src[0], folded(src[1]), arg=n.arg), 1, size)
    x, w = all_batched(src, mapped, size)
    made = n.op(_fold_channels(x, 1), folded(w), arg=(*geometry, groups * size))
    return _split_channels(made, 1, size)


@rule("conv_weight")
def _conv_weight(n: Node, src: list, mapped: Flags, size: int) -> Node:
    *geometry, groups = n.arg
    g, x = (_fold_channels(s, 1) for s in all_batched(src, mapped, size))
    return unfolded(conv_weight(g, x, arg=(*geometry, groups * size)), size)


# --- classes --------------------------------------------------------------------------------------


@rule("nll", "nll_grad")
def _nll(n: Node, src: list, mapped: Flags, size: int) -> Node:
    x, target = all_batched(src, mapped, size)
    if len(target.type.shape) > 1:
        x, target = folded(x), folded(target)
    return reshape(n.op(x, target, arg=n.arg), (size, *n.type.shape))


@rule("class_count")
def _class_count(n: Node, src: list, mapped: Flags, size: int) -> Node:
    ignore, dtype = n.arg
    flat = reshape(src[0], (size, n.src[0].type.numel))
    return sum_(cast(ne(flat, ignore), dtype), arg=((1,), False))
