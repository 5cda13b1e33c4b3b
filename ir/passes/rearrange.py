"""Positions and rearrangements as what loops are made of: views, counts along axes, selections.

    argmax(x)       amin(where(x == amax(x), 0 1 2 …, largest int64)): the first of equal ones
    flip(x)         copy(x[::-1])
    tril(x)         where(column - row <= 0, x, 0)
    tile(x)         reshape(copy(expand(reshape(x))))
    resample(x, …)  sum(x[places] * weights)
    cat(x, y)       pad(x, pad(y, 0)): an element of x, outside of it one of y; of many pieces, on
                    a device, zeros in which each is written

A nan is an extreme: the first one is what argmax names, which no element equals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import float32, int64
from ..graph import Value
from .build import Build

LARGEST = 2**63 - 1
MOST_PIECES = 8  # every element looks into each until it is found


def _position(b: Build, x: Value, axis: int, extreme: str) -> Value:
    """The first position of the extreme along an axis, which stays with an extent of 1."""
    shape = x.type.shape
    top = b.spread(b.reduce(extreme, x, (axis,)), shape)
    hit = b.told("eq", x, top)
    if x.type.dtype.is_floating_point:
        hit = b.told("logical_or", hit, b.told("isnan", x))
    at = b.where(hit, b.along(x, shape, axis), LARGEST, x.type.with_dtype(int64))
    return b.reduce("amin", at, (axis,))


def _arg_extreme(b: Build, v: Value) -> Value:
    x, axes = v.src[0], v.arg[0]
    if len(axes) != 1 or not x.type.shape or not x.type.numel:
        return v
    x = b.cast(x, float32) if x.type.dtype.is_half else x
    extreme = "amax" if v.op.name == "argmax" else "amin"
    return b.shaped(_position(b, x, axes[0], extreme), v.type.shape)


def selected(b: Build, v: Value) -> Value:
    """A result of `max_with_index` or `min_with_index`: an extreme, or its first position."""
    x, axes, which = v.src[0].src[0], v.src[0].arg[0], v.arg[0]
    if not x.type.shape or not x.type.numel:
        return v
    extreme = "amax" if v.src[0].op.name == "max_with_index" else "amin"
    if which == 0:
        if x.type.dtype.is_half:
            return v
        return b.shaped(b.reduce(extreme, x, axes), v.type.shape)
    x = b.cast(x, float32) if x.type.dtype.is_half else x
    return b.shaped(_position(b, x, axes[0], extreme), v.type.shape)


def _copied(b: Build, x: Value, shape: tuple[int, ...]) -> Value:
    """What a view shows, in memory of its own and another shape."""
    return b.shaped(b.op("copy", x), shape)


def _flip(b: Build, v: Value) -> Value:
    x, axes = v.src[0], v.arg[0]
    shape = x.type.shape
    if not x.type.numel:
        return v
    starts = tuple(n - 1 if i in axes else 0 for i, n in enumerate(shape))
    steps = tuple(-1 if i in axes else 1 for i in range(len(shape)))
    return b.op("copy", b.op("slice", x, *starts, arg=(shape, steps)))


def _tile(b: Build, v: Value) -> Value:
    x, (times,) = v.src[0], v.arg
    shape = (1,) * (len(times) - len(x.type.shape)) + x.type.shape
    if not v.type.numel or len(times) != len(shape):
        return v
    apart = tuple(k for n in shape for k in (1, n))
    spread = tuple(k for n, t in zip(shape, times) for k in (t, n))
    return _copied(b, b.spread(b.shaped(x, apart), spread), v.type.shape)


def _repeat_each(b: Build, v: Value) -> Value:
    x, (times, axis) = v.src[0], v.arg
    shape = x.type.shape
    if not v.type.numel or not shape:
        return v
    head, tail = shape[: axis + 1], shape[axis + 1 :]
    apart = b.shaped(x, (*head, 1, *tail))
    return _copied(b, b.spread(apart, (*head, times, *tail)), v.type.shape)


def _triangle(b: Build, v: Value) -> Value:
    x, (diagonal,) = v.src[0], v.arg
    shape = x.type.shape
    if len(shape) < 2 or not x.type.numel:
        return v
    rank = len(shape)
    rows, columns = (b.along(x, shape[-2:], axis) for axis in (0, 1))
    away = b.op("sub", columns, rows, shape=shape[-2:])
    inside = b.told("le" if v.op.name == "tril" else "ge", away, diagonal)
    inside = b.shaped(inside, (1,) * (rank - 2) + shape[-2:])
    return b.where(inside, x, _nothing(x), v.type)


def _framed(b: Build, x: Value, outside: Any, axis: int, before: int, extent: int) -> Value:
    """`x` with `before` elements before it and `extent` in all along an axis, taken from
    `outside`."""
    shape = list(x.type.shape)
    widths = [(0, 0)] * len(shape)
    widths[axis] = (before, extent - before - shape[axis])
    shape[axis] = extent
    return b.op("pad", x, outside, arg=(tuple(widths),), shape=tuple(shape))


def _nothing(x: Value) -> float | int:
    return 0.0 if x.type.dtype.is_floating_point else 0


def _cat(b: Build, v: Value) -> Value:
    pieces = [x for x in v.src if x.type.numel]
    same = all(x.type.dtype is v.type.dtype for x in pieces)
    if not 1 < len(pieces) <= MOST_PIECES or not same or len(pieces) < len(v.src):
        return v
    return joined(b, pieces, v.arg[0])


def joined(b: Build, pieces: Sequence[Value], axis: int) -> Value:
    """A few values of one dtype, one behind the other along an axis."""
    extent = end = sum(x.type.shape[axis] for x in pieces)
    if len(pieces) == 1:
        return pieces[0]
    found: Any = _nothing(pieces[0])
    for x in reversed(pieces):
        end -= x.type.shape[axis]
        found = _framed(b, b.in_memory(x), found, axis, end, extent)
    return found


def _roll(b: Build, v: Value) -> Value:
    x, (shifts, axes) = v.src[0], v.arg
    if not x.type.numel or not axes or len(axes) != len(shifts):
        return v
    for shift, axis in zip(shifts, axes):
        extent = x.type.shape[axis]
        shift %= extent
        if shift:
            x = b.in_memory(x)
            behind = _framed(b, x, _nothing(x), axis, shift - extent, extent)
            x = _framed(b, x, behind, axis, shift, extent)
    return b.op("copy", x) if x is v.src[0] else x


def _resample(b: Build, v: Value) -> Value:
    """All taps gathered beside each other, weighted, and summed."""
    x, places, weights = v.src[:3]
    (axis,) = v.arg
    if not v.type.numel or not x.type.numel:
        return v
    head, tail = x.type.shape[:axis], x.type.shape[axis + 1 :]
    shape = (*head, *places.type.shape, *tail)
    taken = b.op("index", b.in_memory(x), places, arg=((axis,),), shape=shape)
    weights = b.shaped(weights, (1,) * len(head) + places.type.shape + (1,) * len(tail))
    weighted = b.op("mul", taken, b.spread(weights, shape))
    return b.op("sum", weighted, arg=((axis,), False), shape=v.type.shape)


REARRANGED: dict[str, Callable[[Build, Value], Value]] = {
    "argmax": _arg_extreme,
    "argmin": _arg_extreme,
    "flip": _flip,
    "tile": _tile,
    "repeat_each": _repeat_each,
    "tril": _triangle,
    "triu": _triangle,
    "cat": _cat,
    "roll": _roll,
    "resample": _resample,
}
