"""Gather, scatter and accumulation at indices that may repeat.

Every accumulation is reduced to ``ufunc.at`` on flat memory with flat positions, which NumPy runs
as one C loop in order (a few nanoseconds an element): the result is what a sequential loop in the
array's own dtype gives, on every run. For example, with axis 0 of a ``(2, 3)`` array::

    index = [[1, 0, 1]]     flat positions = [[1*3 + 0, 0*3 + 1, 1*3 + 2]]

Indices are integers within bounds (negative ones count from the end where a function says so);
masks have been turned into integers by the caller.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

Index = np.ndarray | slice


def _base(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """A contiguous array holding ``x`` that may be written: ``out`` (which may be ``x``) or new."""
    if out is None or not out.flags.c_contiguous:
        return np.array(x, order="C")
    if out is not x:
        np.copyto(out, x)
    return out


def _finish(out: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    if out is None or out is result:
        return result
    np.copyto(out, result)
    return out


def _positions(shape: tuple[int, ...], axis: int, index: np.ndarray) -> np.ndarray:
    """Flat positions in an array of ``shape`` of element ``index`` along ``axis``, elsewhere the
    index's own coordinates."""
    total = index.astype(np.intp, copy=False)
    steps = [prod(shape[d + 1 :]) for d in range(len(shape))]
    total = total * steps[axis]
    for d, extent in enumerate(index.shape):
        if d != axis and extent > 1:
            along = np.arange(0, extent * steps[d], steps[d]) if steps[d] else 0
            total += np.reshape(along, (-1,) + (1,) * (index.ndim - d - 1))
    return total


def gather(
    x: np.ndarray, axis: int, index: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """``out[i, j] = x[index[i, j], j]`` for axis 0, and so on; ``index`` may be smaller than ``x``
    in the other dimensions."""
    if x.ndim == 0:
        return np.take(x.reshape(1), index, out=out)
    if index.size == 0:
        return np.empty(index.shape, x.dtype) if out is None else out
    return np.take(np.ravel(x), _positions(x.shape, axis, index), out=out)


def _sources(index: np.ndarray, src: np.ndarray) -> np.ndarray:
    """The part of ``src`` that ``index`` covers, flat (``src`` may be larger)."""
    if src.shape != index.shape:
        src = src[tuple(map(slice, index.shape))]
    return src.reshape(-1)


def scatter(
    x: np.ndarray,
    axis: int,
    index: np.ndarray,
    src: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x`` with ``src[i, j]`` at ``[index[i, j], j]``; of several writes the last one stays."""
    result = _base(x, out)
    if index.size:
        result.reshape(-1)[_positions(x.shape or (1,), axis, index).reshape(-1)] = _sources(
            index, src
        )
    return _finish(out, result)


def scatter_add(
    x: np.ndarray,
    axis: int,
    index: np.ndarray,
    src: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x`` with every ``src[i, j]`` added at ``[index[i, j], j]``; ``out`` may be ``x``."""
    result = _base(x, out)
    if index.size:
        where = _positions(x.shape or (1,), axis, index).reshape(-1)
        np.add.at(result.reshape(-1), where, _sources(index, src))
    return _finish(out, result)


_REDUCTIONS: dict[str, np.ufunc] = {
    "sum": np.add,
    "mean": np.add,
    "prod": np.multiply,
    "amax": np.maximum,
    "amin": np.minimum,
}


def _identity(reduce: str, dtype: np.dtype) -> float | int | bool:
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if dtype.kind == "f":
        return -np.inf if reduce == "amax" else np.inf
    if dtype.kind == "b":
        return reduce == "amin"
    limits = np.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


def scatter_reduce(
    x: np.ndarray,
    axis: int,
    index: np.ndarray,
    src: np.ndarray,
    reduce: str,
    include_self: bool = True,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x`` combined with what ``src`` sends to each position, as PyTorch's ``scatter_reduce``.

    ``reduce`` is sum, prod, mean, amax or amin (nan wins the last two). With
    ``include_self=False`` positions that receive something forget what ``x`` held there. The mean
    of integers rounds down.
    """
    result = _base(x, out)
    if index.size:
        flat = result.reshape(-1)
        where = _positions(x.shape or (1,), axis, index).reshape(-1)
        if not include_self:
            flat[where] = _identity(reduce, x.dtype)
        _REDUCTIONS[reduce].at(flat, where, _sources(index, src))
        if reduce == "mean":
            count = np.bincount(where, minlength=flat.size)
            if include_self:
                count += 1
            np.maximum(count, 1, out=count)
            divide = np.divide if x.dtype.kind == "f" else np.floor_divide
            divide(flat, count.astype(x.dtype), out=flat)
    return _finish(out, result)


def segment_reduce(
    values: np.ndarray,
    at: np.ndarray,
    base: list[np.ndarray],
    shape: tuple[int, ...],
    how: str,
    include_self: bool,
) -> np.ndarray:
    """``base`` (zeros without one) with ``values (outer, N, inner)`` reduced into the rows that
    ``at`` names, ``(N,)`` for all or one for each value; others are dropped.

    ``shape`` and that of ``base`` have the elements of ``(outer, rows, inner)``. ``how`` is that of
    ``scatter_reduce``, or "last" for the last value.
    """
    outer, count, inner = values.shape
    rows = prod(shape) // max(outer * inner, 1)
    result = np.array(base[0], order="C") if base else np.zeros(shape, values.dtype)
    result = result.reshape(shape)
    at = np.broadcast_to(at.reshape(1, count, 1) if at.ndim == 1 else at, values.shape)
    there = (at >= 0) & (at < rows)
    blocks, _, columns = np.ogrid[:outer, :count, :inner]
    where = ((blocks * rows + at) * inner + columns)[there]
    flat, sent = result.reshape(-1), values[there]
    if how == "last":
        flat[where] = sent
        return result
    made = scatter_reduce(flat, 0, where, sent, how, include_self)
    return made.reshape(result.shape)


def count_each(numbers: np.ndarray, bins: int) -> np.ndarray:
    """How often each of 0, 1, …, ``bins`` - 1 is among ``numbers``."""
    there = numbers[(numbers >= 0) & (numbers < bins)]
    return np.bincount(there.reshape(-1), minlength=bins).astype(numbers.dtype, copy=False)


def index_positions(shape: tuple[int, ...], indices: tuple[Index, ...]) -> np.ndarray:
    """Flat positions of ``x[indices]`` for an ``x`` of ``shape``, laid out as that result is.

    ``indices`` holds integer arrays (negative ones count from the end), which broadcast together,
    and slices, one for each of the leading dimensions. The layout is NumPy's and PyTorch's:
    adjacent arrays stay in place, separated ones move their dimensions to the front.
    """
    return np.arange(prod(shape)).reshape(shape)[indices]


def _leading_arrays(indices: tuple[Index, ...]) -> int | None:
    """How many arrays stand in front, if whole-dimension slices are all that follows them."""
    count = 0
    while count < len(indices) and not isinstance(indices[count], slice):
        count += 1
    rest_is_whole = all(
        isinstance(i, slice) and i == slice(None, None, None) for i in indices[count:]
    )
    return count if count and rest_is_whole else None


def accumulate_at(target: np.ndarray, indices: tuple[Index, ...], values: np.ndarray) -> None:
    """Add ``values`` (which broadcast to ``target[indices]``) in place, repeated positions too.

    ``indices`` is as for ``index_positions``.
    """
    leading = _leading_arrays(indices)
    if not target.flags.c_contiguous:
        key: Any = indices
        np.add.at(target, key, values)
    elif leading is not None:
        rows = _row_numbers(target.shape[:leading], indices[:leading])
        values = np.broadcast_to(values, rows.shape + target.shape[leading:])
        flat = target.reshape(prod(target.shape[:leading]), prod(target.shape[leading:]))
        _add_rows(flat, rows, values)
    else:
        where = index_positions(target.shape, indices)
        values = np.broadcast_to(values, where.shape)
        np.add.at(target.reshape(-1), where.reshape(-1), values.reshape(-1))


def index_put_accumulate(
    x: np.ndarray,
    indices: tuple[Index, ...],
    values: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x`` with ``values`` added as by ``accumulate_at``; ``out`` may be ``x``."""
    result = _base(x, out)
    accumulate_at(result, indices, values)
    return _finish(out, result)


def index_accumulate(
    shape: tuple[int, ...],
    indices: tuple[Index, ...],
    values: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Zeros of ``shape`` with ``values`` added at ``indices``: the vjp of ``x[indices]``."""
    if out is None:
        out = np.zeros(shape, values.dtype)
    else:
        out.fill(0)
    accumulate_at(out, indices, values)
    return out


def _row_numbers(extents: tuple[int, ...], arrays: tuple[Index, ...]) -> np.ndarray:
    """One non-negative row number for the arrays that index the leading dimensions together."""
    total: np.ndarray | None = None
    for extent, index in zip(extents, arrays, strict=True):
        index = np.asarray(index, np.intp)
        if index.size and index.min() < 0:
            index = np.where(index < 0, index + extent, index)
        total = index if total is None else total * extent + index
    assert total is not None
    return total


# Rows at least this long are added one ufunc call a row, shorter ones element by element.
_LONG_ROW = 256


def _add_rows(target: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """``target[rows[i]] += values[i]`` in order, for ``target (R, D)``."""
    width = target.shape[1]
    rows = rows.reshape(-1)
    if not rows.size or not width:
        return
    if width == 1:
        np.add.at(target.reshape(-1), rows, values.reshape(-1))
    elif width >= _LONG_ROW:
        for row, value in zip(rows.tolist(), values.reshape(-1, width), strict=True):
            line = target[row]
            np.add(line, value, out=line)
    else:
        where = (rows * width)[:, None] + np.arange(width)
        np.add.at(target.reshape(-1), where.reshape(-1), values.reshape(-1))


def row_accumulate(
    rows: int, index: np.ndarray, values: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """Zeros ``(rows, *D)`` with ``values (*index.shape, *D)`` added to the rows that ``index``
    names: the gradient of an embedding's weight."""
    return index_accumulate((rows, *values.shape[index.ndim :]), (index,), values, out)


def index_add(
    x: np.ndarray,
    axis: int,
    index: np.ndarray,
    src: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x`` with slice ``i`` of ``src`` along ``axis`` added to slice ``index[i]``; ``index`` has
    one dimension."""
    if axis == 0 or x.ndim == 0:
        base = x.reshape(1) if x.ndim == 0 else x
        source = src.reshape(1) if x.ndim == 0 else src
        target = None if out is None else out.reshape(base.shape)
        result = index_put_accumulate(base, (index,), source, target)
        return result.reshape(x.shape) if out is None else out
    return index_put_accumulate(x, (*(slice(None),) * axis, index), src, out)


def bincount(x: np.ndarray, weights: np.ndarray | None = None, minlength: int = 0) -> np.ndarray:
    """Counts of the non-negative integers in ``x (n,)``, or sums of their weights.

    As in PyTorch float32 weights give float32 sums (added in order), all others float64.
    """
    if weights is None:
        return np.bincount(x, minlength=minlength).astype(np.int64, copy=False)
    if weights.dtype != np.float32:
        return np.bincount(x, weights, minlength).astype(np.float64, copy=False)
    extent = max(minlength, int(x.max()) + 1 if x.size else 0)
    return row_accumulate(extent, x, weights)
