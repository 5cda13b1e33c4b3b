"""Scattered stores, adds and counts as reductions by segment, which devices compute.

    x[i] = v                    segment_reduce(v, checked(i), x; last)
    scatter_add(x, 1, i, v)     segment_reduce(v, checked(i), x; sum)
    histogram(x)                cast(count_each(the bin of each element))

An index is checked, and wrapped where negative ones count from the end, by operations of loops; a
value whose index is no row is dropped. So the reduction itself reads and writes within its arrays
whatever the indices are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

from ..dtypes import float64, int32, int64
from ..graph import Value
from ..opdef import REGISTRY
from ..ops_index import index_checked
from ..ops_segments import count_each, segment_reduce
from ..places import constant_of
from ..types import broadcast_shapes, contiguous_strides
from .build import Build

NARROW = 2**31  # segment numbers below it are sorted as int32


def _reduced(
    b: Build,
    values: Value,
    at: Value,
    base: Value | None,
    shape: tuple[int, ...],
    how: str,
    include_self: bool = True,
) -> Value:
    """A reduction by segment, in a shape; a base of zeros need not be in memory."""
    src: tuple[Value, ...] = (values, at)
    if base is not None and not (how in ("sum", "last") and _is_zero(base)):
        src += (base,)
    type = values.type.with_shape(shape)
    return Value(segment_reduce, src, (shape, how, include_self), type, b.of.origin)


def _numbers(b: Build, at: Value, rows: int, shape: tuple[int, ...]) -> Value:
    """Segment numbers in a shape, as narrow as they may be: keys that are quicker to sort."""
    return b.shaped(b.cast(at, int32) if rows < NARROW else at, shape)


def _is_zero(v: Value) -> bool:
    constant = constant_of(v)
    number = None if constant is None else constant.src[0]
    return number.__class__ in (int, float, bool) and number == 0 and not _negative(number)


def _negative(number: float) -> bool:
    return math.copysign(1.0, number) < 0


def _checked(b: Build, at: Value, extent: int) -> Value:
    """Indices that are refused where they are not in [0, extent)."""
    return Value(index_checked, (at, extent), (0,), at.type, b.of.origin)


def _wrapped(b: Build, at: Value, extent: int) -> Value:
    """The same, negative ones counted from the end before."""
    behind = b.told("lt", at, 0)
    return _checked(b, b.where(behind, b.op("add", at, extent), at, at.type), extent)


def _scatter(b: Build, v: Value) -> Value:
    """scatter, scatter_add and scatter_reduce."""
    x, at, values = v.src
    axis, how, include_self = (*v.arg, *SCATTERS[v.op.name])
    if not v.type.numel:
        return v
    if not at.type.numel:
        return b.op("copy", x)
    if not x.type.shape:
        x, at = b.shaped(x, (1,)), b.shaped(at, (at.type.numel,))
        values = b.shaped(values, (values.type.numel,))
    shape, sizes = x.type.shape, at.type.shape
    if values.type.shape != sizes:
        starts = (0,) * len(sizes)
        steps = (1,) * len(sizes)
        values = b.op("slice", values, *starts, arg=(sizes, steps), shape=sizes)
    # Indices may cover less than x along the other axes: only that part of it changes.
    part = (*sizes[:axis], shape[axis], *sizes[axis + 1 :])
    steps = contiguous_strides(shape)
    base = x if part == shape else b.op("as_strided", x, 0, arg=(part, steps), shape=part)
    outer, inner = math.prod(part[:axis]), math.prod(part[axis + 1 :])
    lines = (outer, sizes[axis], inner)
    numbers = lines if outer * inner > 1 else sizes[axis : axis + 1]
    made = _reduced(
        b,
        b.shaped(values, lines),
        _numbers(b, _checked(b, at, shape[axis]), shape[axis], numbers),
        base,
        part,
        how,
        include_self,
    )
    if part != shape:
        made = Value(REGISTRY["strided_update"], (x, made, 0), (part, steps), x.type, v.origin)
    return b.shaped(made, v.type.shape)


def _index_put(b: Build, v: Value) -> Value:
    x, values, *indices = v.src
    axes, accumulate = v.arg
    shape = x.type.shape
    if not v.type.numel:
        return v
    lead = reduce(broadcast_shapes, [i.type.shape for i in indices])
    count = math.prod(lead)
    if not count:
        return b.op("copy", x)
    # One number for all indices of a place: that of its row among those of the indexed axes.
    at = None
    for i, axis in zip(indices, axes):
        own = b.spread(_wrapped(b, i, shape[axis]), lead)
        at = own if at is None else b.op("add", b.op("mul", at, shape[axis]), own)
    assert at is not None
    first, rank = axes[0], len(shape)
    rest = tuple(d for d in range(rank) if d not in axes)
    together = axes == tuple(range(first, first + len(axes)))
    before = rest[:first] if together else ()
    order = (*before, *axes, *rest[len(before) :])
    outer = math.prod(shape[d] for d in before)
    inner = math.prod(shape[d] for d in rest[len(before) :])
    given = (*(shape[d] for d in before), *lead, *(shape[d] for d in rest[len(before) :]))
    base = x if together else b.op("permute", x, arg=(order,), shape=_at(shape, order))
    made = _reduced(
        b,
        b.shaped(b.spread(values, given), (outer, count, inner)),
        _numbers(b, at, math.prod(shape[axis] for axis in axes), (count,)),
        base,
        base.type.shape,
        "sum" if accumulate else "last",
    )
    if together:
        return made
    back = tuple(sorted(range(rank), key=order.__getitem__))
    return b.op("copy", b.op("permute", made, arg=(back,), shape=shape))


def _at(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[d] for d in order)


def _row_put(b: Build, v: Value) -> Value:
    g, index = v.src
    rows, skipped = v.arg
    if not v.type.numel:
        return v
    count = index.type.numel
    if not count:
        return b.constant(0, v.type)
    at = _checked(b, index, rows)
    if skipped is not None:
        at = b.where(b.told("eq", at, skipped), -1, at, at.type)
    inner = math.prod(v.type.shape[1:])
    values = b.shaped(g, (1, count, inner))
    return _reduced(b, values, _numbers(b, at, rows, (count,)), None, v.type.shape, "sum")


def overlapping_add(b: Build, v: Value) -> Value:
    """`strided_add` on a window whose cells meet: every element is sent to its place."""
    base, values, offset = v.src
    sizes, strides = v.arg
    count = math.prod(sizes)
    at = b.along(v, (1,) * len(sizes), 0) if sizes else b.along(v, (1,), 0)
    for axis, stride in enumerate(strides):
        if sizes[axis] > 1 and stride:
            moved = b.op("mul", b.along(v, sizes, axis), stride)
            shape = broadcast_shapes(at.type.shape, moved.type.shape)
            at = b.op("add", at, moved, shape=shape)
    at = b.op("add", at, offset)
    values = b.shaped(b.spread(values, sizes), (1, count, 1))
    at = _numbers(b, b.spread(at, sizes), v.type.numel, (count,))
    return _reduced(b, values, at, base, v.type.shape, "sum")


def _histogram(b: Build, v: Value) -> Value:
    """Counts, of elements placed in float64 as NumPy's form places them."""
    (x,), (bins, low, high) = v.src, v.arg
    if not bins:
        return v
    if not x.type.numel:
        return b.constant(0, v.type)
    wide = b.cast(b.shaped(x, (x.type.numel,)), float64)
    first: Value | float = low
    last: Value | float = high
    refused = None
    if low == high:  # the range of the data
        ends = [b.reduce(extreme, wide, (0,)) for extreme in ("amin", "amax")]
        finite = b.told("logical_and", *(b.told("isfinite", end) for end in ends))
        strange = b.where(finite, 0, 1, finite.type.with_dtype(int64))
        refused = _checked(b, strange, 1)
        same = b.told("eq", *ends)
        first = b.where(same, b.op("sub", ends[0], 1.0), ends[0], ends[0].type)
        last = b.where(same, b.op("add", ends[1], 1.0), ends[1], ends[1].type)
        width: Value | float = b.op("sub", last, first)
    else:
        width = high - low
    share = b.op("div", b.op("sub", wide, first), width)
    place = b.op("minimum", b.cast(b.op("mul", share, float(bins)), int64), bins - 1)
    inside = b.told("logical_and", b.told("ge", wide, first), b.told("le", wide, last))
    place = b.where(inside, place, -1, place.type)
    if refused is not None:
        place = b.op("add", place, refused)
    type = place.type.with_shape((bins,))
    return b.cast(Value(count_each, (place,), (bins,), type, v.origin), v.type.dtype)


# How each takes what comes to a place, and whether what stood there counts.
SCATTERS: dict[str, tuple] = {
    "scatter": ("last", True),
    "scatter_add": ("sum", True),
    "scatter_reduce": (),  # its own arguments say
}
SEGMENTS: dict[str, Callable[[Build, Value], Value]] = {
    **dict.fromkeys(SCATTERS, _scatter),
    "index_put": _index_put,
    "row_put": _row_put,
    "histogram": _histogram,
}
