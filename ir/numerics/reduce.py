"""Reductions and scans: accurate sums for every layout, variance, arg-reductions, cumulations.

``np.add.reduce`` adds pairwise only along the axis that is contiguous in memory; over any other
axis it adds row after row, and a million float32 terms lose three digits. ``sum`` keeps the rows
but groups them: 16 at a time, then 16 of those partial sums, and so on, so that an element takes
part in ``16 log16 n`` additions at most instead of ``n`` (Higham, "Accuracy and Stability of
Numerical Algorithms", section 4.2: blocked and pairwise summation)::

    sum over axis 0 of (n, 2)    rows of 2 become rows of 4096 (a view), blocks of 16 such rows
                                 are added at memory speed, and the (n / 16, 2) left start over

Axes are tuples of non-negative ints; results drop them unless ``keepdims``.
"""

from __future__ import annotations

from math import prod as product

import numpy as np

Axes = tuple[int, ...]

_BLOCK = 16  # terms added one after the other
_ROW = 4096  # elements a row should have to be added at memory speed
_FEW_COLUMNS = 16  # a great many rows shorter than this are summed column by column


def _kept_shape(shape: tuple[int, ...], axes: Axes, keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if d in axes else extent for d, extent in enumerate(shape))
    return tuple(extent for d, extent in enumerate(shape) if d not in axes)


def _deliver(result: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return result
    np.copyto(out, result, casting="unsafe")
    return out


def sum(
    x: np.ndarray,
    axes: Axes,
    keepdims: bool = False,
    dtype: np.dtype | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The sum over ``axes`` in ``dtype`` (default that of ``x``), to about an ulp of sum(abs(x)).

    Half-precision input is summed by asking for ``dtype=float32`` and rounding afterwards.
    """
    if dtype is not None and x.dtype != dtype and x.dtype.kind == "f":
        x = x.astype(dtype)
    if dtype is None and x.dtype.kind in "iu":
        dtype = x.dtype  # NumPy adds small integers up in large ones
    terms = product(x.shape[d] for d in axes)
    if dtype is None and x.dtype.kind in "iu":
        dtype = x.dtype  # NumPy adds small integers up in large ones
    simple = terms <= 2 * _BLOCK and not (terms < _FEW_COLUMNS and x.size > _ROW * _FEW_COLUMNS)
    if simple or x.dtype.kind != "f" or len(axes) == x.ndim == 1:
        return _reduce(np.add, x, axes, keepdims, dtype, out)
    shape = _kept_shape(x.shape, axes, keepdims)
    if x.size == 0:
        return _deliver(np.zeros(shape, x.dtype), out)
    if not x.flags.c_contiguous:
        # Reduce in the order the elements lie in; only kept axes need to come back in theirs.
        order = sorted(range(x.ndim), key=lambda d: (-abs(x.strides[d]), d))
        kept = [d for d in order if d not in axes]
        moved = np.ascontiguousarray(x.transpose(order))
        total = _sum_contiguous(moved, tuple(d for d in range(x.ndim) if order[d] in axes))
        total = total.transpose(sorted(range(len(kept)), key=kept.__getitem__))
    else:
        total = _sum_contiguous(x, axes)
    if out is None:
        return np.ascontiguousarray(total).reshape(shape)
    return _deliver(total.reshape(shape), out)


def _as_array(result: np.ndarray) -> np.ndarray:
    """NumPy reduces everything to a scalar and permuted arrays to permuted ones; the callers want
    contiguous arrays, of rank 0 too."""
    return np.asarray(result, order="C")


def _reduce(
    ufunc: np.ufunc,
    x: np.ndarray,
    axes: Axes,
    keepdims: bool,
    dtype: np.dtype | None,
    out: np.ndarray | None,
) -> np.ndarray:
    """``ufunc.reduce`` whose result, to the last bit, does not depend on whether there is ``out``.

    NumPy lets the layout of ``out`` decide the order of additions where ``x`` is not contiguous.
    """
    if out is not None and x.flags.c_contiguous:
        return ufunc.reduce(x, axis=axes, dtype=dtype, keepdims=keepdims, out=out)
    return _deliver(_as_array(ufunc.reduce(x, axis=axes, dtype=dtype, keepdims=keepdims)), out)


def _sum_contiguous(x: np.ndarray, axes: Axes) -> np.ndarray:
    """Reduce runs of adjacent axes, the innermost first (it shrinks the array most cheaply)."""
    shape = x.shape
    last = x.ndim
    after = 1
    while last:
        reduced = last - 1 in axes
        first = last - 1
        while first and (first - 1 in axes) == reduced:
            first -= 1
        extent = product(shape[first:last])
        if reduced:
            x = _sum_middle(x.reshape(product(shape[:first]), extent, after))
        else:
            after *= extent
        last = first
    return x.reshape(_kept_shape(shape, axes, False))


def _sum_middle(x: np.ndarray) -> np.ndarray:
    """``(outer, rows, inner)`` summed over ``rows``."""
    outer, rows, inner = x.shape
    if inner > 1:
        return _sum_rows(x)
    if rows < _FEW_COLUMNS and outer > _ROW:
        total = x[:, 0] + x[:, 1] if rows > 1 else x[:, 0]
        for column in range(2, rows):
            total += x[:, column]
        return total
    return np.add.reduce(x.reshape(outer, rows), axis=1)[:, None]


def _sum_rows(x: np.ndarray) -> np.ndarray:
    outer, rows, inner = x.shape
    if rows <= _BLOCK:
        return np.add.reduce(x, axis=1)
    joined = max(1, min(_ROW // inner, rows // _BLOCK))  # rows that make one wide row
    blocks = rows // (_BLOCK * joined)
    taken = blocks * _BLOCK * joined
    parts = np.add.reduce(x[:, :taken].reshape(outer, blocks, _BLOCK, joined * inner), axis=2)
    total = _sum_rows(parts.reshape(outer, blocks * joined, inner))
    if taken < rows:
        total += _sum_rows(x[:, taken:])
    return total


def mean(
    x: np.ndarray,
    axes: Axes,
    keepdims: bool = False,
    dtype: np.dtype | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The sum divided by the number of terms (nan if there are none)."""
    total = sum(x, axes, keepdims, dtype, out)
    terms = product(x.shape[d] for d in axes)
    return np.divide(total, np.array(terms, total.dtype), out=total)


def cascade_sum(x: np.ndarray) -> np.float32:
    """The sum of a float32 vector with the additions in the order PyTorch makes them on a CPU.

    32 partial sums (4 registers of 8 lanes) run over the vector in blocks of blocks, four levels
    deep; then registers, the rest and lanes are added one by one (SumKernel.cpp of PyTorch's ATen).
    """
    lanes = 8 if len(x) >= 8 else 1
    vectors = x[: len(x) // lanes * lanes].reshape(-1, lanes)
    rows = len(vectors) // 4
    registers = _cascade_rows(vectors[: 4 * rows].reshape(rows, 4 * lanes)).reshape(4, lanes)
    total = registers[0]
    for more in (*vectors[4 * rows :], *registers[1:]):
        total = total + more
    result = np.float32(0)
    for term in (*x[vectors.size :], *total):
        result = result + term
    return result


def _cascade_rows(x: np.ndarray) -> np.ndarray:
    """``(rows, n)`` summed over rows: blocks of 2^p rows, blocks of those sums, and so on."""
    step = 1 << max(4, (max(len(x), 1) - 1).bit_length() // 4)
    level, rests = x, []
    for _ in range(3):
        blocks = len(level) // step
        rests.append(np.add.reduce(level[blocks * step :], axis=0))
        level = np.add.reduce(level[: blocks * step].reshape(blocks, step, x.shape[1]), axis=1)
    total = rests[0]
    for rest in (*rests[1:], np.add.reduce(level, axis=0)):
        total = total + rest
    return total


def _moments(
    x: np.ndarray, axes: Axes, correction: float, keepdims: bool, whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Variance and mean in float64: two passes, and squares of any float32 stay finite.

    ``whole`` (all axes of float32) takes deviations from the mean PyTorch finds in float32.
    """
    wide = x.astype(np.float64, copy=False)
    if whole and x.dtype == np.float32 and x.size:
        center = np.full((1,) * x.ndim, cascade_sum(x.ravel("K")) / np.float32(x.size))
    else:
        center = mean(wide, axes, True)
    deviation = np.asarray(wide - center)
    np.multiply(deviation, deviation, out=deviation)
    total = sum(deviation, axes, keepdims)
    terms = product(x.shape[d] for d in axes)
    total = np.divide(total, np.float64(max(0.0, terms - correction)), out=total)
    return total, center.reshape(_kept_shape(x.shape, axes, keepdims))


def var(
    x: np.ndarray,
    axes: Axes,
    correction: float = 1,
    keepdims: bool = False,
    *,
    whole: bool = False,
    dtype: np.dtype | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The variance ``sum((x - mean)^2) / max(0, n - correction)``, computed in float64."""
    result = _moments(x, axes, correction, keepdims, whole)[0]
    if out is not None:
        return _deliver(result, out)
    return result.astype(x.dtype if dtype is None else dtype, copy=False)


def std(
    x: np.ndarray,
    axes: Axes,
    correction: float = 1,
    keepdims: bool = False,
    *,
    whole: bool = False,
    dtype: np.dtype | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The root of the variance, taken before rounding: finite even where the variance is not."""
    result = _moments(x, axes, correction, keepdims, whole)[0]
    result = np.sqrt(result, out=result)
    if out is not None:
        return _deliver(result, out)
    return result.astype(x.dtype if dtype is None else dtype, copy=False)


def var_mean(
    x: np.ndarray, axes: Axes, correction: float = 1, keepdims: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Variance and mean in the dtype of ``x``."""
    variance, center = _moments(x, axes, correction, keepdims)
    return variance.astype(x.dtype, copy=False), center.astype(x.dtype, copy=False)


def norm2(
    x: np.ndarray,
    axes: Axes,
    keepdims: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The Euclidean norm over ``axes``, in float64 within: any float32 has a square there."""
    wide = x.astype(np.float64, copy=False)
    result = sum(np.asarray(wide * wide), axes, keepdims)
    result = np.sqrt(result, out=result)
    return result.astype(x.dtype, copy=False) if out is None else _deliver(result, out)


def norm_p(x: np.ndarray, axes: Axes, p: float, keepdims: bool = False) -> np.ndarray:
    """``sum(abs(x) ** p) ** (1 / p)`` over ``axes``, in float64 within."""
    powers = np.power(np.abs(x.astype(np.float64, copy=False)), p)
    result = np.power(sum(np.asarray(powers), axes, keepdims), 1.0 / p)
    return np.asarray(result).astype(x.dtype, copy=False)


def prod(
    x: np.ndarray,
    axes: Axes,
    keepdims: bool = False,
    dtype: np.dtype | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The product over ``axes``, computed in ``dtype`` (default that of ``x``)."""
    kind = x.dtype if dtype is None else dtype
    return _reduce(np.multiply, x, axes, keepdims, kind, out)


def any(
    x: np.ndarray, axes: Axes, keepdims: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """Whether some element is not zero (nan is not zero); bool."""
    return _reduce(np.logical_or, x, axes, keepdims, None, out)


def all(
    x: np.ndarray, axes: Axes, keepdims: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """Whether no element is zero; bool."""
    return _reduce(np.logical_and, x, axes, keepdims, None, out)


def amax(
    x: np.ndarray, axes: Axes, keepdims: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """The largest element; nan if there is one."""
    return _reduce(np.maximum, x, axes, keepdims, None, out)


def amin(
    x: np.ndarray, axes: Axes, keepdims: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """The smallest element; nan if there is one."""
    return _reduce(np.minimum, x, axes, keepdims, None, out)


def argmax(
    x: np.ndarray, axis: int | None, keepdims: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """Where the first of the largest elements is (int64); a nan counts as largest.

    ``axis=None`` numbers the elements row-major.
    """
    if x.ndim == 0:
        return _deliver(np.zeros((), np.int64), out)
    return _as_array(np.argmax(x, axis=axis, keepdims=keepdims, out=out))


def argmin(
    x: np.ndarray, axis: int | None, keepdims: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """Where the first of the smallest elements is (int64); a nan counts as smallest."""
    if x.ndim == 0:
        return _deliver(np.zeros((), np.int64), out)
    return _as_array(np.argmin(x, axis=axis, keepdims=keepdims, out=out))


def take_one(x: np.ndarray, axis: int, index: np.ndarray, keepdims: bool = False) -> np.ndarray:
    """The element of ``x`` that ``index`` (without ``axis``, or with extent 1 there) names along
    ``axis``."""
    if x.ndim == 0:
        return x.copy()
    if index.ndim < x.ndim:
        index = np.expand_dims(index, axis)
    values = np.take_along_axis(x, index, axis)
    return values if keepdims else np.squeeze(values, axis)


def max_with_index(
    x: np.ndarray, axis: int, keepdims: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The largest elements along ``axis`` and where the first of each is (int64)."""
    index = argmax(x, axis, keepdims)
    return take_one(x, axis, index, keepdims), index


def min_with_index(
    x: np.ndarray, axis: int, keepdims: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The smallest elements along ``axis`` and where the first of each is (int64)."""
    index = argmin(x, axis, keepdims)
    return take_one(x, axis, index, keepdims), index


def _accumulate(
    ufunc: np.ufunc, x: np.ndarray, axis: int, dtype: np.dtype | None, out: np.ndarray | None
) -> np.ndarray:
    kind = np.dtype(x.dtype if dtype is None else dtype)
    if x.ndim == 0:
        return _deliver(x.astype(kind), out)
    # Single precision is accumulated in double and rounded at every position, as PyTorch does.
    wide = np.dtype(np.float64) if kind.kind == "f" else kind
    if wide == kind:
        return ufunc.accumulate(x, axis=axis, dtype=kind, out=out)
    result = ufunc.accumulate(x, axis=axis, dtype=wide)
    return result.astype(kind) if out is None else _deliver(result, out)


def cumsum(
    x: np.ndarray, axis: int, dtype: np.dtype | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Running sums along ``axis`` in ``dtype`` (default that of ``x``), from 0 on."""
    result = _accumulate(np.add, x, axis, dtype, out)
    if x.ndim and result.dtype.kind == "f":
        np.add(result, 0.0, out=result)  # 0 + -0.0 is 0.0
    return result


def cumprod(
    x: np.ndarray, axis: int, dtype: np.dtype | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Running products along ``axis`` in ``dtype`` (default that of ``x``)."""
    return _accumulate(np.multiply, x, axis, dtype, out)


def logcumsumexp(x: np.ndarray, axis: int) -> np.ndarray:
    """``log(cumsum(exp(x)))`` along ``axis``, without overflow."""
    if x.ndim == 0:
        return x.copy()
    return np.logaddexp.accumulate(x, axis=axis, dtype=np.float64).astype(x.dtype, copy=False)


def _running_extreme(ufunc: np.ufunc, x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    extreme = ufunc.accumulate(x, axis=axis)
    reached = np.equal(x, extreme)
    if x.dtype.kind == "f":
        reached |= np.isnan(x)
    along = np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    index = np.maximum.accumulate(np.multiply(reached, along), axis=axis)
    return np.take_along_axis(x, index, axis), index


def cummax(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Running maxima and the last position that reached each (int64); nan stays once met."""
    return _running_extreme(np.maximum, x, axis)


def cummin(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Running minima and the last position that reached each (int64); nan stays once met."""
    return _running_extreme(np.minimum, x, axis)
