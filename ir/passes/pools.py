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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from ..dtypes import DType, float32, int32, int64
from ..graph import Value
from ..numerics.pool import footprint, lowest, window_counts
from ..types import TensorType
from .build import Build

WRITTEN_OUT = 16  # windows up to this many elements: a nest has room for some hundred operations
FAR_APART = 8  # large windows that begin at least so far apart are reduced along the memory

Extents = tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """The windows of a pool: one entry a spatial dimension. out: how many there are."""

    spatial: Extents
    out: Extents
    kernel: Extents
    stride: Extents
    padding: Extents
    dilation: Extents

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def large(self) -> bool:
        return prod(self.kernel) > WRITTEN_OUT

    @property
    def footprint(self) -> Extents:
        """Extents of a window, in whole strides."""
        return footprint(self.kernel, self.stride, self.dilation)

    @property
    def pitch(self) -> Extents:
        """What a step along each dimension adds to a place in the footprint."""
        return _pitch(self.footprint)

    @property
    def over(self) -> Extents:
        """How many windows may lie over an element, along each dimension."""
        return tuple(f // t for f, t in zip(self.footprint, self.stride))

    def offsets(self) -> Iterator[Extents]:
        """How far the elements of a window are from its first one, row by row."""
        return product(*(range(0, k * d, d) for k, d in zip(self.kernel, self.dilation)))

    def place(self, offset: Extents) -> int:
        """The place of an offset in the footprint."""
        return sum(n * step for n, step in zip(offset, self.pitch))


def _pitch(extents: Extents) -> Extents:
    return tuple(prod(extents[i + 1 :]) for i in range(len(extents)))


# --- reading --------------------------------------------------------------------------------------


def _source(b: Build, x: Value) -> Value:
    """What is read in place of `x`: memory, of 16-bit elements if they were only widened."""
    widened = x.op is not None and x.op.name == "cast" and x.src[0].type.dtype.is_half
    return b.in_memory(x.src[0] if widened and x.type.dtype is float32 else x)


@dataclass(frozen=True)
class Along:
    """How an axis is read: from `start`, by `step`, `extent` times."""

    start: int
    step: int
    extent: int


def _read(b: Build, x: Value, ways: list[Along], fill: float, dtype: DType) -> Value:
    """`x` read along its last axes; `fill` where it has no element."""
    lead = x.type.shape[: len(x.type.shape) - len(ways)]
    starts, steps, extents = [0] * len(lead), [1] * len(lead), list(lead)
    shape = list(lead)
    places = [(0, ((axis, 1),)) for axis in range(len(lead))]
    for axis, way in enumerate(ways, len(lead)):
        inside = way.start >= 0 and way.start + (way.extent - 1) * way.step < x.type.shape[axis]
        starts.append(way.start if inside else 0)
        steps.append(way.step if inside else 1)
        extents.append(way.extent if inside else x.type.shape[axis])
        places.append((0, ((axis, 1),)) if inside else (way.start, ((axis, way.step),)))
        shape.append(way.extent)
    if tuple(extents) != x.type.shape:
        arg = (tuple(extents), tuple(steps))
        x = b.op("slice", x, *starts, arg=arg, shape=tuple(extents))
    if extents != shape or any(start for start, _ in places):
        x = b.op("affine_pick", x, fill, arg=(tuple(shape), tuple(places)), shape=tuple(shape))
    return b.cast(x, dtype)


def _element(b: Build, x: Value, w: Windows, offset: Extents, fill: float, dtype: DType) -> Value:
    """The element at an offset, of every window."""
    ways = [
        Along(at - p, t, o) for at, p, t, o in zip(offset, w.padding, w.stride, w.out, strict=True)
    ]
    return _read(b, x, ways, fill, dtype)


def _whole_windows(
    b: Build, x: Value, w: Windows, fill: float, dtype: DType
) -> tuple[Value, Extents]:
    """All elements of all windows, and which axes run through a window: the last ones where that is
    along the memory, else the first."""
    rank, lead = w.rank, x.type.shape[: len(x.type.shape) - w.rank]
    last = w.stride[-1] >= FAR_APART or w.out[-1] == 1
    shape = (*lead, *w.out, *w.kernel) if last else (*w.kernel, *lead, *w.out)
    window = len(lead) + rank if last else 0
    before = 0 if last else rank
    axes = tuple(range(window, window + rank))
    moves = [
        (-p, ((before + len(lead) + i, t), (window + i, d)))
        for i, (p, t, d) in enumerate(zip(w.padding, w.stride, w.dilation))
    ]
    whole = [(0, ((before + i, 1),)) for i in range(len(lead))]
    ends = [(o - 1) * t + (k - 1) * d - p for o, t, k, d, p in _each(w)]
    if not any(w.padding) and all(end < n for end, n in zip(ends, w.spatial)):
        x = b.op("copy", x) if x.op is not None and x.op.view else x
        strides = [0] * len(shape)
        for (_, dims), step in zip([*whole, *moves], _pitch(x.type.shape)):
            for d, n in dims:
                strides[d] += n * step
        found = b.op("as_strided", x, 0, arg=(shape, tuple(strides)), shape=shape)
    else:
        arg = (shape, tuple([*whole, *moves]))
        found = b.op("affine_pick", x, fill, arg=arg, shape=shape)
    return b.cast(found, dtype), axes


def _each(w: Windows) -> Iterator[tuple[int, int, int, int, int]]:
    return zip(w.out, w.stride, w.kernel, w.dilation, w.padding, strict=True)


def _count(b: Build, like: Value, shape: Extents, axis: int, dtype: DType = int32) -> Value:
    """0, 1, 2, … along an axis, for every element of a shape."""
    return b.cast(b.spread(b.along(like, shape, axis), shape), dtype)


def _summed(b: Build, x: Value, axes: tuple[int, ...], shape: Extents) -> Value:
    """Sums over axes that are left out; of integers, in int64."""
    dtype = x.type.dtype
    total = b.reduce("sum", x if dtype.is_floating_point else b.cast(x, int64), axes)
    return b.cast(b.shaped(total, shape), dtype)


def _scaled(b: Build, x: Value, factor: int) -> Value:
    return x if factor == 1 else b.op("mul", x, factor)


# --- maximum --------------------------------------------------------------------------------------


def _windows(v: Value, x: Value) -> Windows:
    kernel, stride, padding, dilation = v.arg[:4]
    rank = len(kernel)
    of = v.type[0] if v.type.__class__ is tuple else v.type
    return Windows(
        x.type.shape[-rank:], of.shape[-rank:], kernel, stride, padding, dilation
    )


def _pooled(b: Build, v: Value) -> Value:
    """A result of `max_pool`: the values, or the winners."""
    pool, which = v.src[0], v.arg[0]
    x = pool.src[0]
    if not v.type.numel or not x.type.numel:
        return v
    w = _windows(pool, x)
    made = _large_maximum if w.large else _small_maximum
    return made(b, _source(b, x), w, pool.type[0], which)


def _max_pool_values(b: Build, v: Value) -> Value:
    x = v.src[0]
    if not v.type.numel or not x.type.numel:
        return v
    w = _windows(v, x)
    if w.large:
        return _large_maximum(b, _source(b, x), w, v.type, 0)
    x, fill = _source(b, x), lowest(v.type.dtype.numpy)
    best: Value | None = None
    for offset in w.offsets():
        seen = _element(b, x, w, offset, fill, v.type.dtype)
        best = seen if best is None else b.op("maximum", best, seen)
    assert best is not None
    return b.op("copy", best) if best.op.view else best


def _small_maximum(b: Build, x: Value, w: Windows, type: TensorType, which: int) -> Value:
    """The values or winners, element by element of a window."""
    fill, places = lowest(type.dtype.numpy), type.with_dtype(int32)
    offsets = list(w.offsets())
    best = _element(b, x, w, offsets[0], fill, type.dtype)
    winner: Value | int = _first_inside(b, x, w, places)
    for offset in offsets[1:]:
        seen = _element(b, x, w, offset, fill, type.dtype)
        better = b.told("gt", seen, best)
        if type.dtype.is_floating_point:
            better = b.told("logical_or", better, b.told("isnan", seen))
        best = b.where(better, seen, best, type)
        winner = b.where(better, w.place(offset), winner, places)
    if which == 0:
        return b.op("copy", best) if best.op.view else best
    return b.constant(winner, places) if winner.__class__ is int else winner


def _first_inside(b: Build, x: Value, w: Windows, type: TensorType) -> Value | int:
    """The place of the first element of a window that is not padding."""
    found: Value | int = 0
    lead = len(type.shape) - w.rank
    for i, (p, t, d, step) in enumerate(zip(w.padding, w.stride, w.dilation, w.pitch)):
        if not p:
            continue
        before = b.op("sub", p, _scaled(b, _count(b, x, type.shape, lead + i), t))
        before = b.op("clamp_min", before, 0)
        if d > 1:
            before = b.op("mul", b.op("floor_div", b.op("add", before, d - 1), d), d)
        before = _scaled(b, before, step)
        found = before if found.__class__ is int else b.op("add", found, before)
    return found


def _large_maximum(b: Build, x: Value, w: Windows, type: TensorType, which: int) -> Value:
    """The values or winners, by reductions over the window."""
    seen, axes = _whole_windows(b, x, w, lowest(type.dtype.numpy), type.dtype)
    top = b.reduce("amax", seen, axes)
    if which == 0:
        return b.shaped(top, type.shape)
    shape, places = seen.type.shape, seen.type.with_dtype(int32)
    place: Value | None = None
    for axis, d, step in zip(axes, w.dilation, w.pitch):
        along = _scaled(b, _count(b, x, shape, axis), d * step)
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
        start = _scaled(b, _count(b, winners, shape, lead + i, int64), t)
        found.append(b.op("add", offset, b.op("sub", start, p) if p else start))
    return found


def _max_pool_positions(b: Build, v: Value) -> Value:
    winners, (spatial, kernel, stride, padding, dilation) = v.src[0], v.arg
    if not v.type.numel:
        return v
    w = Windows(spatial, v.type.shape[-len(kernel) :], kernel, stride, padding, dilation)
    found: Value | None = None
    for at, step in zip(_coordinates(b, winners, w), _pitch(spatial)):
        at = _scaled(b, at, step)
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


@dataclass(frozen=True)
class Rows:
    """Where a gradient is computed: for every dimension an axis of whole strides, from where the
    padding begins, and one along a stride."""

    lead: Extents
    w: Windows

    @property
    def strides(self) -> Extents:
        """How many strides cover the padding and the input."""
        w = self.w
        return tuple(-(-(n + p) // t) for n, p, t in zip(w.spatial, w.padding, w.stride))

    @property
    def shape(self) -> Extents:
        return self.lead + tuple(n for pair in zip(self.strides, self.w.stride) for n in pair)

    def windows(self, b: Build, x: Value) -> Value:
        """One value a window, for every element along a stride."""
        apart = self.lead + tuple(n for o in self.w.out for n in (o, 1))
        wide = self.lead + tuple(n for pair in zip(self.w.out, self.w.stride) for n in pair)
        return b.spread(b.shaped(x, apart), wide)

    def earlier(self, b: Build, x: Value, steps: Extents, fill: float) -> Value:
        """The value of the window so many strides before each element's last one."""
        extents, inner = self.strides, self.w.stride
        ways = [
            way
            for back, n, t in zip(steps, extents, inner)
            for way in (Along(-back, 1, n), Along(0, 1, t))
        ]
        return _read(b, self.windows(b, x), ways, fill, x.type.dtype)

    def all_earlier(self, b: Build, x: Value, fill: float) -> Value:
        """The values of all windows that may lie over each element, along axes of their own in
        front."""
        rank, lead = self.w.rank, len(self.lead)
        places = [(0, ((rank + i, 1),)) for i in range(lead)]
        for i in range(rank):
            axis = rank + lead + 2 * i
            places += [(0, ((axis, 1), (i, -1))), (0, ((axis + 1, 1),))]
        shape = self.w.over + self.shape
        x = self.windows(b, x)
        return b.op("affine_pick", x, fill, arg=(shape, tuple(places)), shape=shape)

    def within(self, b: Build, like: Value, shape: Extents, i: int) -> Value:
        """How far an element is along its stride of dimension `i`, for a shape that ends as
        these rows."""
        return _count(b, like, shape, len(shape) - 2 * self.w.rank + 2 * i + 1)

    def cut(self, b: Build, found: Value) -> Value:
        """What lies in the input of a result over these rows."""
        w, lead = self.w, self.lead
        covered = tuple(n * t for n, t in zip(self.strides, w.stride))
        found = b.shaped(found, lead + covered)
        if covered == w.spatial:
            return found
        starts = (*(0,) * len(lead), *w.padding)
        arg = (lead + w.spatial, (1,) * len(starts))
        return b.op("copy", b.op("slice", found, *starts, arg=arg, shape=lead + w.spatial))


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
        terms = [_scaled(b, rows.within(b, g, shape, i), step)] if t > 1 else []
        if large and w.over[i] > 1:
            terms.append(_scaled(b, _count(b, g, shape, i), t * step))
        for term in terms:
            place = term if place.__class__ is int else b.op("add", place, term)
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
            at = further if place.__class__ is int else b.op("add", place, further)
        share = b.where(
            b.told("eq", won, at), rows.earlier(b, g, steps, 0.0), 0.0, g.type.with_shape(shape)
        )
        found = share if found is None else b.op("add", found, share)
    assert found is not None
    return rows.cut(b, found)


# --- average --------------------------------------------------------------------------------------


def _divided(
    b: Build, total: Value, w: Windows, include_pad: bool, divisor: int | None
) -> Value:
    """Sums of windows divided by how many elements each has."""
    number, found = 1, None
    shape = total.type.shape
    counts = window_counts(w.spatial, w.kernel, w.stride, w.padding, w.out, include_pad)
    for i, (count, n, t, k, p) in enumerate(
        zip(counts, w.spatial, w.stride, w.kernel, w.padding)
    ):
        if divisor is not None or (count == count[0]).all():
            number *= int(count[0])
            continue
        first = _scaled(b, _count(b, total, shape, len(shape) - w.rank + i), t)
        if include_pad:  # the window begins at `first`, the padding behind ends at n + 2 p
            own = b.op("clamp_max", b.op("sub", n + 2 * p, first), k)
        else:
            first = b.op("sub", first, p)
            end = b.op("clamp_max", b.op("add", first, k), n)
            own = b.op("sub", end, b.op("clamp_min", first, 0))
        found = own if found is None else b.op("mul", found, own)
    if divisor is not None:
        return b.op("div", total, float(divisor))
    if found is None:
        return b.op("div", total, float(number))
    return b.op("div", total, b.cast(_scaled(b, found, number), total.type.dtype))


def _average_windows(v: Value, spatial: Extents, out: Extents, arg: tuple) -> Windows:
    kernel, stride, padding = arg[:3]
    return Windows(spatial, out, kernel, stride, padding, (1,) * len(kernel))


def _avg_pool(b: Build, v: Value) -> Value:
    x, (*_, include_pad, divisor) = v.src[0], v.arg
    if not v.type.numel or not x.type.numel:
        return v
    rank = len(v.arg[0])
    w = _average_windows(v, x.type.shape[-rank:], v.type.shape[-rank:], v.arg)
    x, dtype = _source(b, x), v.type.dtype
    total: Value | None = None
    if w.large:
        seen, axes = _whole_windows(b, x, w, 0.0, dtype)
        total = _summed(b, seen, axes, v.type.shape)
    else:
        for offset in w.offsets():
            seen = _element(b, x, w, offset, 0.0, dtype)
            total = seen if total is None else b.op("add", total, seen)
    assert total is not None
    return _divided(b, total, w, include_pad, divisor)


def _avg_pool_grad(b: Build, v: Value) -> Value:
    g, (spatial, *arg) = v.src[0], v.arg
    if not v.type.numel or not g.type.numel:
        return v
    rank = len(spatial)
    w = _average_windows(v, spatial, g.type.shape[-rank:], tuple(arg))
    rows = Rows(v.type.shape[:-rank], w)
    share = b.in_memory(_divided(b, g, w, *arg[-2:]))
    large = prod(w.over) > WRITTEN_OUT
    if large:
        shape = w.over + rows.shape
        found = rows.all_earlier(b, share, 0.0)
        for i, (k, t, m) in enumerate(zip(w.kernel, w.stride, w.over)):
            if m * t > k:
                at = b.op(
                    "add", rows.within(b, g, shape, i), _scaled(b, _count(b, g, shape, i), t)
                )
                found = b.where(b.told("lt", at, k), found, 0.0, found.type)
        return rows.cut(b, _summed(b, found, tuple(range(rank)), rows.shape))
    total: Value | None = None
    for steps in product(*map(range, w.over)):
        part = rows.earlier(b, share, steps, 0.0)
        for i, (back, k, t) in enumerate(zip(steps, w.kernel, w.stride)):
            if (back + 1) * t > k:
                inside = b.told("lt", rows.within(b, g, rows.shape, i), k - back * t)
                part = b.where(inside, part, 0.0, part.type)
        total = part if total is None else b.op("add", total, part)
    assert total is not None
    return rows.cut(b, b.op("copy", total) if total.op.view else total)


POOLS: dict[str, Callable[[Build, Value], Value]] = {
    "max_pool_values": _max_pool_values,
    "max_pool_positions": _max_pool_positions,
    "max_pool_grad": _max_pool_grad,
    "max_pool_gather": _max_pool_gather,
    "avg_pool": _avg_pool,
    "avg_pool_grad": _avg_pool_grad,
}
POOL_PIECES = {"max_pool": _pooled}
