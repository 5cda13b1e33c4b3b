"""Pooling as what loops are made of: strided views, selections, sums over windows.

    max_pool 2, stride 2, of x        maximum(x[0::2], x[1::2]); a winner is 0, or 1 where
                                      x[1::2] is greater
    its gradient, g with winners w    in rows of 2, one a window: where(w == 0 1, g, 0)

A small window is written out: one load for every place in it, at the same point of every window, so
that one loop over the result does all, with what stands around it. A large window is an axis that
is reduced. Gradients are gathered, never scattered: an input element at q * stride + r, counted
from where the padding begins, lies in the windows q, q - 1, …, in each at its own place. So the
gradient's loop runs over (q, r) along every dimension, and what sticks out is cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod

from ..dtypes import int32, int64
from ..graph import Value
from ..numerics.pool import lowest, window_counts
from ..types import TensorType
from .build import Build
from .windows import (
    WRITTEN_OUT,
    Extents,
    Rows,
    Windows,
    counting,
    element,
    pitch_of,
    scaled,
    source,
    whole_windows,
)


def _summed(b: Build, x: Value, axes: tuple[int, ...], shape: Extents) -> Value:
    """Sums over axes that are left out; of integers, in int64."""
    dtype = x.type.dtype
    total = b.reduce("sum", x if dtype.is_floating_point else b.cast(x, int64), axes)
    return b.cast(b.shaped(total, shape), dtype)


# --- maximum --------------------------------------------------------------------------------------


def _windows(v: Value, x: Value) -> Windows:
    kernel, stride, padding, dilation = v.arg[:4]
    rank = len(kernel)
    of = v.type[0] if v.type.__class__ is tuple else v.type
    return Windows(x.type.shape[-rank:], of.shape[-rank:], kernel, stride, padding, dilation)


def _pooled(b: Build, v: Value) -> Value:
    """A result of `max_pool`: the values, or the winners."""
    pool, which = v.src[0], v.arg[0]
    x = pool.src[0]
    if not v.type.numel or not x.type.numel:
        return v
    w = _windows(pool, x)
    made = _large_maximum if w.large else _small_maximum
    return made(b, source(b, x), w, pool.type[0], which)


def _max_pool_values(b: Build, v: Value) -> Value:
    x = v.src[0]
    if not v.type.numel or not x.type.numel:
        return v
    w = _windows(v, x)
    if w.large:
        return _large_maximum(b, source(b, x), w, v.type, 0)
    x, fill = source(b, x), lowest(v.type.dtype.numpy)
    best: Value | None = None
    for offset in w.offsets():
        seen = element(b, x, w, offset, fill, v.type.dtype)
        best = seen if best is None else b.op("maximum", best, seen)
    assert best is not None
    return b.computed(best)


def _small_maximum(b: Build, x: Value, w: Windows, type: TensorType, which: int) -> Value:
    """The values or winners, element by element of a window."""
    fill, places = lowest(type.dtype.numpy), type.with_dtype(int32)
    offsets = list(w.offsets())
    best = element(b, x, w, offsets[0], fill, type.dtype)
    winner: Value | int = _first_inside(b, x, w, places)
    for offset in offsets[1:]:
        seen = element(b, x, w, offset, fill, type.dtype)
        better = b.told("gt", seen, best)
        if type.dtype.is_floating_point:
            better = b.told("logical_or", better, b.told("isnan", seen))
        best = b.where(better, seen, best, type)
        if isinstance(winner, int):
            winner = scaled(b, b.cast(better, int32), w.place(offset))
        else:
            winner = b.where(better, w.place(offset), winner, places)
    if which == 0:
        return b.computed(best)
    return b.in_memory(b.constant(winner, places)) if isinstance(winner, int) else winner


def _first_inside(b: Build, x: Value, w: Windows, type: TensorType) -> Value | int:
    """The place of the first element of a window that is not padding."""
    found: Value | int = 0
    lead = len(type.shape) - w.rank
    for i, (p, t, d, step) in enumerate(zip(w.padding, w.stride, w.dilation, w.pitch)):
        if not p:
            continue
        before = b.op("sub", p, scaled(b, counting(b, x, type.shape, lead + i), t))
        before = b.op("clamp_min", before, 0)
        if d > 1:
            before = b.op("mul", b.op("floor_div", b.op("add", before, d - 1), d), d)
        before = scaled(b, before, step)
        found = before if isinstance(found, int) else b.op("add", found, before)
    return found


def _large_maximum(b: Build, x: Value, w: Windows, type: TensorType, which: int) -> Value:
    """The values or winners, by reductions over the window."""
    seen, axes = whole_windows(b, x, w, lowest(type.dtype.numpy), type.dtype)
    top = b.reduce("amax", seen, axes)
    if which == 0:
        return b.shaped(top, type.shape)
    shape, places = seen.type.shape, seen.type.with_dtype(int32)
    place: Value | None = None
    for axis, d, step in zip(axes, w.dilation, w.pitch):
        along = scaled(b, counting(b, x, shape, axis), d * step)
        place = along if place is None else b.op("add", place, along)
    beyond = prod(w.footprint)
    hit = b.told("eq", seen, b.spread(top, shape))
    winner = b.shaped(b.reduce("amin", b.where(hit, place, beyond, places), axes), type.shape)
    top, one = b.shaped(top, type.shape), type.with_dtype(int32)
    if any(w.padding):
        empty = b.told("eq", top, lowest(type.dtype.numpy))
        winner = b.where(empty, _first_inside(b, x, w, one), winner, one)
    if type.dtype.is_floating_point:
        undefined = b.where(b.told("isnan", seen), place, -1, places)
        last = b.shaped(b.reduce("amax", undefined, axes), type.shape)
        winner = b.where(b.told("isnan", top), last, winner, one)
    return winner


# --- what reads winners ---------------------------------------------------------------------------


def _coordinates(b: Build, winners: Value, w: Windows) -> list[Value]:
    """Where the winners are in their plane, along each dimension, int64."""
    shape = winners.type.shape
    lead, rest = len(shape) - w.rank, b.cast(winners, int64)
    found = []
    for i, (extent, step, t, p) in enumerate(zip(w.footprint, w.pitch, w.stride, w.padding)):
        offset = b.op("floor_div", rest, step) if step > 1 else rest
        if i and extent:
            offset = b.op("remainder", offset, extent)
        start = scaled(b, counting(b, winners, shape, lead + i, int64), t)
        found.append(b.op("add", offset, b.op("sub", start, p) if p else start))
    return found


def _max_pool_positions(b: Build, v: Value) -> Value:
    winners, (spatial, kernel, stride, padding, dilation) = v.src[0], v.arg
    if not v.type.numel:
        return v
    w = Windows(spatial, v.type.shape[-len(kernel) :], kernel, stride, padding, dilation)
    found: Value | None = None
    for at, step in zip(_coordinates(b, winners, w), pitch_of(spatial)):
        at = scaled(b, at, step)
        found = at if found is None else b.op("add", found, at)
    assert found is not None
    return found


def _max_pool_gather(b: Build, v: Value) -> Value:
    (x, winners), shape = v.src, v.type.shape
    if not v.type.numel or not x.type.numel:
        return v
    w = _windows(v, x)
    lead = range(len(shape) - w.rank)
    indices = [b.along(x, shape, axis) for axis in lead] + _coordinates(b, winners, w)
    indices = [b.spread(i, shape) for i in indices]
    axes = tuple(range(len(shape)))
    return b.op("index", b.in_memory(x), *indices, arg=(axes,), shape=shape)


# --- gradients ------------------------------------------------------------------------------------


def _max_pool_grad(b: Build, v: Value) -> Value:
    (g, winners), (spatial, kernel, stride, padding, dilation) = v.src, v.arg
    if not v.type.numel or not g.type.numel:
        return v
    rank = len(kernel)
    out = g.type.shape[-rank:]
    w = Windows(spatial, out, kernel, stride, padding, dilation)
    rows = Rows(v.type.shape[:-rank], w)
    g, winners = b.in_memory(g), b.in_memory(winners)
    large = prod(w.over) > WRITTEN_OUT
    shape = (w.over if large else ()) + rows.shape
    place: Value | int = 0
    for i, (t, step) in enumerate(zip(stride, w.pitch)):
        terms = [scaled(b, rows.within(b, g, shape, i), step)] if t > 1 else []
        if large and w.over[i] > 1:
            terms.append(scaled(b, counting(b, g, shape, i), t * step))
        for term in terms:
            place = term if isinstance(place, int) else b.op("add", place, term)
    if large:
        hit = b.told("eq", b.cast(rows.all_earlier(b, winners, -1), int32), place)
        share = b.where(hit, rows.all_earlier(b, g, 0.0), 0.0, g.type.with_shape(shape))
        return rows.cut(b, _summed(b, share, tuple(range(rank)), rows.shape))
    found: Value | None = None
    for steps in product(*map(range, w.over)):
        further = w.place(tuple(n * t for n, t in zip(steps, stride)))
        won = b.cast(rows.earlier(b, winners, steps, -1), int32)
        at = place
        if further:
            at = further if isinstance(place, int) else b.op("add", place, further)
        share = b.where(
            b.told("eq", won, at), rows.earlier(b, g, steps, 0.0), 0.0, g.type.with_shape(shape)
        )
        found = share if found is None else b.op("add", found, share)
    assert found is not None
    return rows.cut(b, found)


# --- average --------------------------------------------------------------------------------------


def _divisor(
    b: Build, like: Value, w: Windows, include_pad: bool, divisor: int | None
) -> Value | float:
    """What the sum of each window is divided by: a number, or one for every window of `like`."""
    if divisor is not None:
        return float(divisor)
    number, found, shape = 1, None, like.type.shape
    counts = window_counts(w.spatial, w.kernel, w.stride, w.padding, w.out, include_pad)
    for i, (own, n, t, k, p) in enumerate(zip(counts, w.spatial, w.stride, w.kernel, w.padding)):
        if (own == own[0]).all():
            number *= int(own[0])
            continue
        first = scaled(b, counting(b, like, shape, len(shape) - w.rank + i), t)
        if include_pad:  # the window begins at `first`, the padding behind ends at n + 2 p
            many = b.op("clamp_max", b.op("sub", n + 2 * p, first), k)
        else:
            first = b.op("sub", first, p)
            end = b.op("clamp_max", b.op("add", first, k), n)
            many = b.op("sub", end, b.op("clamp_min", first, 0))
        found = many if found is None else b.op("mul", found, many)
    if found is None:
        return float(number)
    return b.cast(scaled(b, found, number), like.type.dtype)


def _average_windows(spatial: Extents, out: Extents, arg: tuple) -> Windows:
    kernel, stride, padding = arg[:3]
    return Windows(spatial, out, kernel, stride, padding, (1,) * len(kernel))


def _avg_pool(b: Build, v: Value) -> Value:
    x, (*_, include_pad, divisor) = v.src[0], v.arg
    if not v.type.numel or not x.type.numel:
        return v
    rank = len(v.arg[0])
    w = _average_windows(x.type.shape[-rank:], v.type.shape[-rank:], v.arg)
    x, dtype = source(b, x), v.type.dtype
    total: Value | None = None
    if w.large:
        seen, axes = whole_windows(b, x, w, 0.0, dtype)
        total = _summed(b, seen, axes, v.type.shape)
    else:
        for offset in w.offsets():
            seen = element(b, x, w, offset, 0.0, dtype)
            total = seen if total is None else b.op("add", total, seen)
    assert total is not None
    return b.op("div", total, _divisor(b, total, w, include_pad, divisor))


def _avg_pool_grad(b: Build, v: Value) -> Value:
    g, (spatial, *arg) = v.src[0], v.arg
    if not v.type.numel or not g.type.numel:
        return v
    rank = len(spatial)
    w = _average_windows(spatial, g.type.shape[-rank:], tuple(arg))
    rows = Rows(v.type.shape[:-rank], w)
    divisor = _divisor(b, g, w, *arg[-2:])
    share = g if isinstance(divisor, float) else b.op("div", g, divisor)
    found = _shares(b, b.in_memory(share), w, rows)
    return rows.cut(b, b.op("div", found, divisor) if isinstance(divisor, float) else found)


def _shares(b: Build, share: Value, w: Windows, rows: Rows) -> Value:
    """The sum over the windows that each element lies in of what they have for it."""
    if prod(w.over) > WRITTEN_OUT:
        shape = w.over + rows.shape
        found = rows.all_earlier(b, share, 0.0)
        for i, (k, t, m) in enumerate(zip(w.kernel, w.stride, w.over)):
            if m * t > k:
                back = scaled(b, counting(b, share, shape, i), t)
                at = b.op("add", rows.within(b, share, shape, i), back)
                found = b.where(b.told("lt", at, k), found, 0.0, found.type)
        return _summed(b, found, tuple(range(w.rank)), rows.shape)
    total: Value | None = None
    for steps in product(*map(range, w.over)):
        part = rows.earlier(b, share, steps, 0.0)
        for i, (before, k, t) in enumerate(zip(steps, w.kernel, w.stride)):
            if (before + 1) * t > k:
                inside = b.told("lt", rows.within(b, share, rows.shape, i), k - before * t)
                part = b.where(inside, part, 0.0, part.type)
        total = part if total is None else b.op("add", total, part)
    assert total is not None
    return b.computed(total)


POOLS: dict[str, Callable[[Build, Value], Value]] = {
    "max_pool_values": _max_pool_values,
    "max_pool_positions": _max_pool_positions,
    "max_pool_grad": _max_pool_grad,
    "max_pool_gather": _max_pool_gather,
    "avg_pool": _avg_pool,
    "avg_pool_grad": _avg_pool_grad,
}
POOL_PIECES: dict[str, Callable[[Build, Value], Value]] = {"max_pool": _pooled}
