"""Convolution over any number of spatial dimensions, and its two gradients.

Every product is a matrix product (BLAS) over *columns*: for one sample, the matrix whose row
``(c, k)`` holds the input element that kernel offset ``k`` of channel ``c`` meets at every output
position (Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for
document processing"). For a 1-D input ``[a, b, c, d]`` and a kernel of two taps::

    columns = [[a, b, c],      output = [[w0, w1]] @ columns
               [b, c, d]]

The three functions are bilinear and each other's derivatives: with ``y = conv(x, w)`` and a
cotangent ``g`` of ``y``, ``conv_input_grad(g, w)`` is that of ``x`` (and is transposed
convolution), ``conv_weight_grad(g, x)`` that of ``w``. Arrays are ``x (N, C, *S)``,
``w (O, C / groups, *K)``, ``g (N, O, *out)``; parameters are tuples, one entry a spatial dimension.
Integers work too (NumPy multiplies integer matrices without BLAS); float16 is upcast by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

Extents = tuple[int, ...]
Key = tuple[Any, ...]  # an index expression

# Columns are built for as many samples at once as fit this many elements, so that the matrix
# product finds them in the cache and no batch needs nine times its own memory.
_COLUMN_ELEMENTS = 1 << 18
# The same where BLAS uses its threads: every product waits for the slowest of them, which on a busy
# machine costs milliseconds, so there are few and large ones.
_MERGED_ELEMENTS = 1 << 21
# A sample whose columns are larger than this is computed in bands of output rows.
_LARGEST_COLUMNS = 1 << 24
# Below this many output positions a product per sample reads its weights too often.
_FEW_POSITIONS = 64
# From this many multiplications a sample on BLAS uses its threads anyway, so one wide product
# beats many. Below it, products of single samples avoid waking threads for a few microseconds.
_THREADED_PRODUCT = 1 << 21


def conv_output_size(
    spatial: Extents, kernel: Extents, stride: Extents, padding: Extents, dilation: Extents
) -> Extents:
    """Spatial extents of ``conv``'s result; entries below 1 mean that the kernel does not fit."""
    return tuple(
        (s + 2 * p - d * (k - 1) - 1) // t + 1
        for s, k, t, p, d in zip(spatial, kernel, stride, padding, dilation, strict=True)
    )


def padded(x: np.ndarray, before: Extents, after: Extents, fill: float = 0) -> np.ndarray:
    """``x (*lead, *S)`` with ``fill`` around its spatial dimensions, C-contiguous.

    Without padding this is ``x`` itself, copied only if it is not contiguous.
    """
    if not any(before) and not any(after):
        return np.ascontiguousarray(x)
    lead = x.ndim - len(before)
    spatial = x.shape[lead:]
    around = tuple(b + s + a for b, s, a in zip(before, spatial, after, strict=True))
    shape = x.shape[:lead] + around
    result = np.zeros(shape, x.dtype) if fill == 0 else np.full(shape, fill, x.dtype)
    inner: Key = (..., *(slice(b, b + s) for b, s in zip(before, spatial, strict=True)))
    result[inner] = x
    return result


def window_slices(
    kernel: Extents, out_spatial: Extents, stride: Extents, dilation: Extents
) -> Iterator[tuple[Extents, Key]]:
    """For each kernel offset, row-major, the elements of a padded plane that windows have there."""
    for offset in product(*map(range, kernel)):
        slices = [
            slice(k * d, k * d + (o - 1) * t + 1, t)
            for k, o, t, d in zip(offset, out_spatial, stride, dilation, strict=True)
        ]
        yield offset, (..., *slices)


def _result(out: np.ndarray | None, shape: Extents, dtype: np.dtype) -> np.ndarray:
    """A contiguous array to compute into: ``out`` where it serves."""
    if out is not None and out.flags.c_contiguous:
        return out
    return np.empty(shape, dtype)


def _finish(out: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    if out is None or out is result:
        return result
    np.copyto(out, result)
    return out


def _merges(kernel: Extents, positions: int, multiplications: int) -> bool:
    """Whether several samples share one matrix product (see the constants above)."""
    if positions < _FEW_POSITIONS:
        return True
    # A 1x1 kernel's columns are the input as it lies; merging would copy them.
    return multiplications >= _THREADED_PRODUCT and prod(kernel) > 1


def _blocks(samples: int, elements: int, merged: bool) -> Iterator[slice]:
    """Runs of samples whose columns (``elements`` a sample) fit the cache."""
    budget = _MERGED_ELEMENTS if merged else _COLUMN_ELEMENTS
    block = max(1, budget // max(1, elements))
    for start in range(0, samples, block):
        yield slice(start, min(start + block, samples))


def _bands(
    columns: int, out_rows: int, kernel: int, stride: int, dilation: int
) -> list[tuple[slice, slice]]:
    """Runs of output rows (of the first spatial dimension), each with the input rows it needs, such
    that a sample's ``columns`` elements are built in parts of bounded size."""
    count = min(out_rows, -(-columns // _LARGEST_COLUMNS))
    height = -(-out_rows // max(1, count))
    bands = []
    for start in range(0, out_rows, max(1, height)):
        stop = min(start + height, out_rows)
        needed = slice(start * stride, (stop - 1) * stride + dilation * (kernel - 1) + 1)
        bands.append((slice(start, stop), needed))
    return bands


class _Columns:
    """Columns of a padded input, block of samples by block, in one reused buffer.

    ``merged`` chooses the layout: ``(G, C/G * K, n * L)`` for one product over the block's
    ``n`` samples, else ``(n, G, C/G * K, L)`` for a product a sample.
    """

    def __init__(
        self,
        x: np.ndarray,
        kernel: Extents,
        out_spatial: Extents,
        stride: Extents,
        dilation: Extents,
        groups: int,
        merged: bool,
    ) -> None:
        samples, channels = x.shape[:2]
        rows, positions = channels // groups * prod(kernel), prod(out_spatial)
        steps = x.strides[2:]
        self.merged = merged
        self.shape = (groups, rows, positions)
        self.blocks = list(_blocks(samples, groups * rows * positions, merged))
        # A 1x1 kernel meets the input as it lies: nothing to copy.
        self.direct = prod(kernel) == 1 and out_spatial == x.shape[2:] and not merged
        if self.direct:
            self.windows = x.reshape(samples, groups, rows, positions)
            self.blocks = [slice(0, samples)]
            return
        self.windows = np.ndarray(
            (samples, channels, *kernel, *out_spatial),
            x.dtype,
            x,
            0,
            (
                *x.strides[:2],
                *(s * d for s, d in zip(steps, dilation, strict=True)),
                *(s * t for s, t in zip(steps, stride, strict=True)),
            ),
        )
        if merged:
            self.windows = np.moveaxis(self.windows, 0, 1 + len(kernel))
        widest = max(b.stop - b.start for b in self.blocks)
        self.buffer = np.empty(widest * groups * rows * positions, x.dtype)

    def __call__(self, block: slice) -> np.ndarray:
        if self.direct:
            return self.windows
        groups, rows, positions = self.shape
        samples = block.stop - block.start
        axis = (self.windows.ndim - 2) // 2 + 1 if self.merged else 0
        windows = self.windows[(slice(None),) * axis + (block,)]
        columns = self.buffer[: samples * groups * rows * positions]
        np.copyto(columns.reshape(windows.shape), windows)
        if self.merged:
            return columns.reshape(groups, rows, samples * positions)
        return columns.reshape(samples, groups, rows, positions)


def _merge_samples(g: np.ndarray) -> np.ndarray:
    """``(n, G, R, L)`` to ``(G, R, n * L)``."""
    samples, groups, rows, positions = g.shape
    return g.transpose(1, 2, 0, 3).reshape(groups, rows, samples * positions)


def conv(
    x: np.ndarray,
    w: np.ndarray,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    groups: int = 1,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Cross-correlation of ``x (N, C, *S)`` with ``w (O, C / groups, *K)``: ``(N, O, *out)``.

    ``out_spatial = (S + 2 padding - dilation (K - 1) - 1) // stride + 1`` (PyTorch, Conv2d).
    """
    samples, maps, kernel = x.shape[0], w.shape[0], w.shape[2:]
    out_spatial = conv_output_size(x.shape[2:], kernel, stride, padding, dilation)
    result = _result(out, (samples, maps, *out_spatial), x.dtype)
    if result.size == 0:
        return _finish(out, result)
    if x.size == 0 or w.size == 0:
        result.fill(0)
        return _finish(out, result)
    plane = padded(x, padding, padding)
    if prod(kernel) == 1 and max(stride) > 1:  # a strided 1x1 kernel sees every stride-th element
        seen: Key = (..., *(slice(None, None, t) for t in stride))
        plane = np.ascontiguousarray(plane[seen])
        stride = (1,) * len(stride)
    positions, rows = prod(out_spatial), w.shape[1] * prod(kernel)
    bands = _bands(groups * rows * positions, out_spatial[0], kernel[0], stride[0], dilation[0])
    if len(bands) > 1:
        flush = (0,) * len(kernel)
        for band, needed in bands:
            result[:, :, band] = conv(plane[:, :, needed], w, stride, flush, dilation, groups)
        return _finish(out, result)
    merged = _merges(kernel, positions, maps * rows * positions)
    columns = _Columns(plane, kernel, out_spatial, stride, dilation, groups, merged)
    weights = np.ascontiguousarray(w).reshape(groups, maps // groups, rows)
    flat = result.reshape(samples, groups, maps // groups, positions)
    for block in columns.blocks:
        if merged:
            y = weights @ columns(block)
            y = y.reshape(groups, maps // groups, block.stop - block.start, positions)
            flat[block] = y.transpose(2, 0, 1, 3)
        else:
            np.matmul(weights, columns(block), out=flat[block])
    return _finish(out, result)


class _Runs:
    """Windows of stride 1 as one contiguous run of a flattened plane per kernel offset.

    An output of extents ``out_spatial`` is kept with the row lengths of the input, so that
    ``y[i, j]`` and the ``x[i + a, j + b]`` it meets are a fixed distance apart in memory. A run
    is long where rows are short; its elements past the end of a row mean nothing and are cropped::

        input rows of 4, output rows of 3:   y y y . | y y y      length 7, extent 8
    """

    def __init__(self, spatial: Extents, out_spatial: Extents) -> None:
        self.out_spatial = out_spatial
        self.pitched = (out_spatial[0], *spatial[1:])
        self.extent = prod(self.pitched)
        self.steps = tuple(prod(spatial[axis + 1 :]) for axis in range(len(spatial)))
        last = (o - 1 for o in out_spatial)
        self.length = 1 + sum(o * s for o, s in zip(last, self.steps, strict=True))

    def starts(self, kernel: Extents, dilation: Extents) -> list[int]:
        """Where each kernel offset's run begins, row-major."""
        steps = tuple(s * d for s, d in zip(self.steps, dilation, strict=True))
        return [
            sum(k * s for k, s in zip(offset, steps, strict=True))
            for offset in product(*map(range, kernel))
        ]

    def crop(self, pitched: np.ndarray) -> np.ndarray:
        """The view ``(..., *out_spatial)`` of an array ``(..., extent)``."""
        view = pitched.reshape(*pitched.shape[:-1], *self.pitched)
        inside: Key = (..., *map(slice, self.out_spatial))
        return view[inside]


def conv_input_grad(
    g: np.ndarray,
    w: np.ndarray,
    input_spatial: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    groups: int = 1,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The vjp of ``conv`` in ``x``: ``g (N, O, *out)`` to ``(N, C, *input_spatial)``.

    This is transposed convolution; ``input_spatial`` says which of the ``stride`` possible
    extents is meant (rows that no window reached get zeros).
    """
    samples, maps, kernel = g.shape[0], w.shape[0], w.shape[2:]
    channels = w.shape[1] * groups
    shape = (samples, channels, *input_spatial)
    if 0 in shape or g.size == 0 or w.size == 0:
        return _finish(out, np.zeros(shape, g.dtype))
    reach = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    margin = tuple(r - p for r, p in zip(reach, padding, strict=True))
    # With stride 1 the transpose is a convolution with mirrored kernels. Copying columns is cheaper
    # than adding them, so that is faster until g has clearly more channels than x.
    if max(stride) == 1 and min(margin) >= 0 and 2 * maps <= 3 * channels:
        mirror = w.reshape(groups, maps // groups, w.shape[1], *kernel).swapaxes(1, 2)
        mirror = mirror[(slice(None),) * 3 + (slice(None, None, -1),) * len(kernel)]
        mirror = mirror.reshape(channels, maps // groups, *kernel)
        return conv(g, mirror, stride, margin, dilation, groups, out)
    full = tuple(s + 2 * p for s, p in zip(input_spatial, padding, strict=True))
    plane = np.zeros((samples, channels, *full), g.dtype)
    _add_columns(plane, np.ascontiguousarray(g), w, stride, dilation, groups)
    inner: Key = (..., *(slice(p, p + s) for p, s in zip(padding, input_spatial, strict=True)))
    result = plane[inner]
    if out is None:
        return np.ascontiguousarray(result)
    np.copyto(out, result)
    return out


def _add_columns(
    plane: np.ndarray,
    g: np.ndarray,
    w: np.ndarray,
    stride: Extents,
    dilation: Extents,
    groups: int,
) -> None:
    """Add ``wᵀ g``, the cotangent of the columns, where each column element came from."""
    samples, maps, out_spatial = g.shape[0], g.shape[1], g.shape[2:]
    kernel, channels = w.shape[2:], plane.shape[1]
    positions, rows = prod(out_spatial), w.shape[1] * prod(kernel)
    bands = _bands(groups * rows * positions, out_spatial[0], kernel[0], stride[0], dilation[0])
    if len(bands) > 1:
        for band, reached in bands:
            part = np.ascontiguousarray(g[:, :, band])
            _add_columns(plane[:, :, reached], part, w, stride, dilation, groups)
        return
    merged = _merges(kernel, positions, maps * rows * positions)
    weights = np.ascontiguousarray(
        w.reshape(groups, maps // groups, rows).swapaxes(1, 2)
    )  # (G, C/G * K, O/G)
    cotangent = g.reshape(samples, groups, maps // groups, positions)
    runs = _Runs(plane.shape[2:], out_spatial)
    # A run multiplies its gaps too: they must be few, and zero times the weights must be zero.
    if (
        max(stride) == 1
        and not merged
        and plane.flags.c_contiguous
        and 4 * runs.extent <= 5 * positions
        and np.isfinite(weights).all()
    ):
        pitched = np.zeros((*cotangent.shape[:3], runs.extent), g.dtype)
        np.copyto(runs.crop(pitched), g.reshape(*cotangent.shape[:3], *out_spatial))
        target = plane.reshape(samples, groups, channels // groups, -1)
        starts = runs.starts(kernel, dilation)
        for block in _blocks(samples, groups * rows * runs.length, merged):
            columns = weights @ pitched[block, ..., : runs.length]
            columns = columns.reshape(-1, groups, channels // groups, len(starts), runs.length)
            for tap, start in enumerate(starts):
                target[block, ..., start : start + runs.length] += columns[..., tap, :]
        return
    for block in _blocks(samples, groups * rows * positions, merged):
        count = block.stop - block.start
        if merged:
            columns = weights @ _merge_samples(cotangent[block])
            columns = columns.reshape(channels, *kernel, count, *out_spatial)
            columns = np.moveaxis(columns, 1 + len(kernel), 0)
        else:
            columns = weights @ cotangent[block]
            columns = columns.reshape(count, channels, *kernel, *out_spatial)
        target = plane[block]
        for offset, where in window_slices(kernel, out_spatial, stride, dilation):
            element: Key = (slice(None), slice(None), *offset)
            target[where] += columns[element]


def conv_weight_grad(
    g: np.ndarray,
    x: np.ndarray,
    kernel_spatial: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    groups: int = 1,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The vjp of ``conv`` in ``w``: ``g (N, O, *out)`` and ``x`` to ``(O, C / groups, *K)``."""
    samples, maps, out_spatial = g.shape[0], g.shape[1], g.shape[2:]
    shape = (maps, x.shape[1] // groups, *kernel_spatial)
    result = _result(out, shape, x.dtype)
    if x.size == 0 or g.size == 0 or result.size == 0:
        result.fill(0)
        return _finish(out, result)
    positions, rows = prod(out_spatial), shape[1] * prod(kernel_spatial)
    plane = padded(x, padding, padding)
    bands = _bands(
        shape[1] * groups * prod(kernel_spatial) * positions,
        out_spatial[0],
        kernel_spatial[0],
        stride[0],
        dilation[0],
    )
    if len(bands) > 1:
        flush = (0,) * len(kernel_spatial)
        result.fill(0)
        for band, needed in bands:
            result += conv_weight_grad(
                g[:, :, band], plane[:, :, needed], kernel_spatial, stride, flush, dilation, groups
            )
        return _finish(out, result)
    merged = _merges(kernel_spatial, positions, maps * rows * positions)
    columns = _Columns(plane, kernel_spatial, out_spatial, stride, dilation, groups, merged)
    cotangent = np.ascontiguousarray(g).reshape(samples, groups, maps // groups, positions)
    total = result.reshape(groups, maps // groups, rows)
    for number, block in enumerate(columns.blocks):
        if merged:
            part = _merge_samples(cotangent[block]) @ columns(block).swapaxes(1, 2)
        else:
            part = np.matmul(cotangent[block], columns(block).swapaxes(2, 3))
            part = part[0] if len(part) == 1 else np.add.reduce(part, axis=0)
        if number == 0:
            total[...] = part
        else:
            total += part
    return _finish(out, result)
