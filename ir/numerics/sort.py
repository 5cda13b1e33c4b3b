"""Order: sort, selection by rank, mode, unique elements. Nan counts as larger than everything.

Everything rests on stable sorts, so that equal keys keep their order and results are the same on
every run. Where `topk`, `kthvalue` and `mode` choose among equal elements of a row that is not too
long, they choose the one PyTorch does (see `selection`), else the first. A stable *descending* sort
is the mirrored ascending sort of the mirrored array: mirroring the result of an ascending sort
alone would reverse equal keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from .selection import SMALL, Row, quick_select, sorted_order, topk_order

# Rows longer than this name the first of equal elements.
_LONGEST_SETTLED = 4096
# From this length on, and for at most an eighth of the elements, selection beats sorting.
_LONG = 1024


def argsort(x: np.ndarray, axis: int, descending: bool = False) -> np.ndarray:
    """Positions (int64) that sort ``x`` along ``axis``, stable in both directions."""
    if x.ndim == 0:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(order, axis)


def sort(x: np.ndarray, axis: int, descending: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Sorted values and their former positions (int64), stable; nan last, or first descending."""
    order = argsort(x, axis, descending)
    if x.ndim == 0:
        return x.copy(), order
    return np.take_along_axis(x, order, axis), order


def _select(row: np.ndarray, count: int, largest: bool) -> np.ndarray:
    """Positions of the ``count`` extreme elements of a long row, sorted, first ones of equals."""
    pivot = np.partition(row, len(row) - count if largest else count - 1)[
        len(row) - count if largest else count - 1
    ]
    if pivot != pivot:
        at_pivot = np.isnan(row)
        beyond = np.zeros(len(row), np.bool_) if largest else ~at_pivot
    else:
        at_pivot = row == pivot
        # "not <=" rather than ">": nan is beyond every number.
        beyond = ~(row <= pivot) if largest else row < pivot
    (chosen,) = np.nonzero(beyond)
    (equals,) = np.nonzero(at_pivot)
    chosen = np.sort(np.concatenate([chosen, equals[: count - len(chosen)]]))
    return chosen[argsort(row[chosen], 0, largest)]


def _settle(
    x: np.ndarray,
    axis: int,
    order: np.ndarray,
    tied: Callable[[np.ndarray], Any],
    choose: Callable[[Row], list[int]],
    start: int = 0,
) -> None:
    """Puts PyTorch's choice, from `start` on, into the sorted `order` of rows where equals compete.

    tied: from (rows, extent - 1), whether neighbours in order are equal, which rows those are.
    """
    extent = x.shape[axis]
    if not 1 < extent <= _LONGEST_SETTLED or not x.size:
        return
    lines = np.moveaxis(order, axis, -1)
    keys = np.take_along_axis(np.moveaxis(x, axis, -1), lines, -1)
    equal = keys[..., 1:] == keys[..., :-1]
    if x.dtype.kind == "f":
        equal |= np.isnan(keys[..., 1:]) & np.isnan(keys[..., :-1])
    if not equal.any():
        return
    for place in map(tuple, np.argwhere(tied(equal))):
        line = lines[place]
        ranks = np.empty(extent, np.int64)
        ranks[line] = np.concatenate([[0], np.cumsum(~equal[place])])
        chosen = choose(list(zip(ranks.tolist(), range(extent))))
        line[start : start + len(chosen)] = chosen


def topk(
    x: np.ndarray, count: int, axis: int, largest: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` largest (or smallest) elements along ``axis``, sorted, and their positions."""
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    extent = x.shape[axis]
    rows = x.size // max(extent, 1)
    if 0 < 8 * count <= extent and extent >= _LONG and rows <= extent:
        moved = np.moveaxis(x, axis, -1)
        lines = moved.reshape(rows, extent)
        found = np.stack([_select(line, count, largest) for line in lines])
        order = np.moveaxis(found.reshape(*moved.shape[:-1], count), -1, axis)
        order = np.ascontiguousarray(order)
    else:
        order = argsort(x, axis, largest)
        if count:
            tied = lambda equal: equal[..., :count].any(-1)
            _settle(x, axis, order, tied, lambda row: topk_order(row, count))
        order = np.ascontiguousarray(np.take(order, np.arange(count), axis))
    return np.take_along_axis(x, order, axis), order


def _pick(
    x: np.ndarray, axis: int, order: np.ndarray, rank: np.ndarray, keepdims: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Elements at ``rank`` (extent 1 along ``axis``) of the sorted order, with positions."""
    index = np.take_along_axis(order, rank, axis)
    values = np.take_along_axis(x, index, axis)
    if keepdims:
        return values, index
    return np.squeeze(values, axis), np.squeeze(index, axis)


def _constant_rank(x: np.ndarray, axis: int, rank: int) -> np.ndarray:
    return np.full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), rank)


def kthvalue(
    x: np.ndarray, k: int, axis: int, keepdims: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k``-th smallest element along ``axis`` (``k`` counts from 1) and a position of it."""
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    order = argsort(x, axis)

    def choose(row: Row) -> list[int]:
        quick_select(row, k - 1)
        return [row[k - 1][1]]

    tied = lambda equal: equal[..., max(k - 2, 0) : k].any(-1)
    _settle(x, axis, order, tied, choose, k - 1)
    return _pick(x, axis, order, _constant_rank(x, axis, k - 1), keepdims)


def median(
    x: np.ndarray, axis: int, keepdims: bool = False, ignore_nan: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The lower median along ``axis`` and a position of it.

    A row with nan has median nan, at its first nan; with ``ignore_nan`` the median of the others.
    """
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    order = argsort(x, axis)
    rank = _constant_rank(x, axis, (x.shape[axis] - 1) // 2)
    if x.dtype.kind == "f":
        numbers = np.sum(~np.isnan(x), axis=axis, keepdims=True)
        if ignore_nan:
            rank = np.maximum(numbers - 1, 0) // 2
        else:
            rank = np.where(numbers < x.shape[axis], numbers, rank)
    return _pick(x, axis, order, rank, keepdims)


def mode(x: np.ndarray, axis: int, keepdims: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent element along ``axis``, the smallest of several, and its last position."""
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    values, order = sort(x, axis)
    extent = x.shape[axis]
    along = np.arange(extent).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    starts = np.ones(x.shape, np.bool_)
    after = (slice(None),) * axis + (slice(1, None),)
    before = (slice(None),) * axis + (slice(None, -1),)
    np.not_equal(values[after], values[before], out=starts[after])
    run = along - np.maximum.accumulate(starts * along, axis=axis)
    if extent > SMALL and extent <= _LONGEST_SETTLED and not np.isnan(values).any():
        _settle(x, axis, order, lambda equal: equal.any(-1), sorted_order)
    return _pick(x, axis, order, np.argmax(run, axis=axis, keepdims=True), keepdims)


def _runs(
    starts: np.ndarray, order: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From the marks where runs of equal elements start: first places, inverse and counts."""
    (first,) = np.nonzero(starts)
    number = np.cumsum(starts) - 1
    if order is None:
        inverse = number
    else:
        inverse = np.empty(len(starts), np.int64)
        inverse[order] = number
    counts = np.diff(first, append=len(starts))
    return first, inverse.astype(np.int64, copy=False), counts.astype(np.int64, copy=False)


def _changes(rows: np.ndarray) -> np.ndarray:
    """Where ``rows (n, ...)`` differ from the row before; the first one always does."""
    starts = np.ones(len(rows), np.bool_)
    differ = rows[1:] != rows[:-1]
    starts[1:] = np.logical_or.reduce(differ, axis=tuple(range(1, differ.ndim)))
    return starts


def unique(x: np.ndarray, axis: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted unique elements (or slices along ``axis``, in lexicographic order), where each element
    went (int64, the shape of ``x``, or one number a slice) and how often each occurs.

    Every nan is its own element.
    """
    if axis is None:
        flat = x.reshape(-1)
        order = np.argsort(flat, kind="stable")
        values = flat[order]
        first, inverse, counts = _runs(_changes(values), order)
        return values[first], inverse.reshape(x.shape), counts
    moved = np.moveaxis(x, axis, 0)
    rows = moved.reshape(len(moved), -1) if moved.size else np.zeros((len(moved), 1), x.dtype)
    order = np.lexsort(rows.T[::-1])
    first, inverse, counts = _runs(_changes(rows[order]), order)
    return np.ascontiguousarray(np.moveaxis(moved[order[first]], 0, axis)), inverse, counts


def unique_consecutive(
    x: np.ndarray, axis: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One element of every run of equal neighbours (or slices along ``axis``), where each element
    went and how long each run is."""
    moved = x.reshape(-1) if axis is None else np.moveaxis(x, axis, 0)
    first, inverse, counts = _runs(_changes(moved), None)
    values = moved[first]
    if axis is None:
        return values, inverse.reshape(x.shape), counts
    return np.ascontiguousarray(np.moveaxis(values, 0, axis)), inverse, counts


def median_value(x: np.ndarray, ignore_nan: bool = False) -> np.ndarray:
    """The lower median of all elements; nan if there is one (or, ignoring them, nothing else)."""
    flat = x.reshape(-1)
    if not flat.size:
        return np.full((), np.nan, x.dtype) if x.dtype.kind == "f" else np.zeros((), x.dtype)
    if x.dtype.kind == "f":
        missing = np.isnan(flat)
        if missing.any():
            if not ignore_nan or missing.all():
                return np.full((), np.nan, x.dtype)
            flat = flat[~missing]
    rank = (len(flat) - 1) // 2
    return np.asarray(np.partition(flat, rank)[rank])


def searchsorted(
    rows: np.ndarray, values: np.ndarray, right: bool, narrow: bool = False
) -> np.ndarray:
    """Where each of ``values`` goes in the ascending ``rows``: before equal elements, or after them
    with ``right``. Rows are one vector, or have the leading axes of ``values``."""
    side: Literal["left", "right"] = "right" if right else "left"
    kind = np.int32 if narrow else np.int64
    if rows.ndim == 1:
        return np.asarray(np.searchsorted(rows, values, side)).astype(kind)
    out = np.empty(values.shape, kind)
    for at in np.ndindex(*rows.shape[:-1]):
        out[at] = np.searchsorted(rows[at], values[at], side)
    return out


def histogram(x: np.ndarray, bins: int, low: float, high: float) -> np.ndarray:
    """Counts of ``x`` in ``bins`` equal parts of [low, high], in the dtype of ``x``.

    Two equal bounds stand for the range of the data. Elements outside (and nan) do not count.
    """
    flat = x.reshape(-1)
    if low == high:
        low, high = (float(flat.min()), float(flat.max())) if flat.size else (low, high)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise RuntimeError(f"range of [{low:g}, {high:g}] is not finite")
    if low == high:
        low, high = low - 1, high + 1
    wide = flat.astype(np.float64)
    inside = wide[(wide >= low) & (wide <= high)]
    place = ((inside - low) / (high - low) * bins).astype(np.int64)
    place[place == bins] -= 1
    return np.bincount(place, minlength=bins).astype(x.dtype)
