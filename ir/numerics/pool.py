"""Max and average pooling over any number of spatial dimensions, with their transposes.

A window is walked one kernel offset at a time: the elements all windows have at that offset are one
strided slice of the padded input, so a 2x2 pool is four slices and three maxima. Arrays are
``(*lead, *S)``, most often ``(N, C, *S)``; parameters are tuples with one entry a spatial
dimension. The semantics (output extents, ``ceil_mode``, ties, nan, divisors) are PyTorch's, see the
pages of MaxPool2d and AvgPool2d.

A max pool remembers its *winners*: for every window the place of its largest element within the
window's footprint, row by row. Footprints are whole multiples of the stride, so that an input
element's place in each of the windows over it follows from its position alone::

    kernel 3, stride 2      footprint 4: windows at 0..3, 2..5, 4..7
    x[5]                    place 5 - 4 = 1 of the third window, 5 - 2 = 3 of the second, where 3 is
                            beyond the kernel: no winner is 3
"""

from __future__ import annotations

from math import prod

import numpy as np

from .conv import Extents, padded, window_slices


def pool_output_size(
    spatial: Extents,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    ceil_mode: bool = False,
) -> Extents:
    """Spatial extents of a pooled array.

    With ``ceil_mode`` a last, partial window counts too, unless it would start in the padding on
    the right.
    """
    extents = []
    for s, k, t, p, d in zip(spatial, kernel, stride, padding, dilation, strict=True):
        span = s + 2 * p - d * (k - 1) - 1
        extent = (span + (t - 1 if ceil_mode else 0)) // t + 1
        if ceil_mode and (extent - 1) * t >= s + p:
            extent -= 1
        extents.append(extent)
    return tuple(extents)


def footprint(kernel: Extents, stride: Extents, dilation: Extents) -> Extents:
    """Extents of a window, rounded up to multiples of the stride."""
    return tuple(
        -(-((k - 1) * d + 1) // t) * t for k, t, d in zip(kernel, stride, dilation, strict=True)
    )


def lowest(dtype: np.dtype) -> float:
    """What loses against every element of a dtype."""
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _padded_for(
    x: np.ndarray,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    out_spatial: Extents,
    fill: float,
) -> np.ndarray:
    """``x`` with ``fill`` wherever a window reaches past it (further than ``padding`` only with
    ``ceil_mode``)."""
    after = tuple(
        max(0, (o - 1) * t + d * (k - 1) + 1 - p - s)
        for s, k, t, p, d, o in zip(
            x.shape[-len(kernel) :], kernel, stride, padding, dilation, out_spatial, strict=True
        )
    )
    if not any(padding) and not any(after):
        return x  # slices do not need contiguous memory
    return padded(x, padding, after, fill)


def max_pool_values(
    x: np.ndarray,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    ceil_mode: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The values of ``max_pool`` alone, for callers that need no indices."""
    out_spatial = pool_output_size(
        x.shape[-len(kernel) :], kernel, stride, padding, dilation, ceil_mode
    )
    plane = _padded_for(x, kernel, stride, padding, dilation, out_spatial, lowest(x.dtype))
    best = np.empty((*x.shape[: -len(kernel)], *out_spatial), x.dtype) if out is None else out
    for number, (_, where) in enumerate(window_slices(kernel, out_spatial, stride, dilation)):
        seen = plane[where]
        if number == 0:
            np.copyto(best, seen)
        else:
            np.maximum(best, seen, out=best)
    return best


def max_pool(
    x: np.ndarray,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    ceil_mode: bool = False,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of every window, and its place in the window's footprint (int32).

    The first of several equal maxima counts; a nan wins over everything, the last one of a window
    over earlier ones. ``out`` is for the values.
    """
    spatial = x.shape[-len(kernel) :]
    out_spatial = pool_output_size(spatial, kernel, stride, padding, dilation, ceil_mode)
    plane = _padded_for(x, kernel, stride, padding, dilation, out_spatial, lowest(x.dtype))
    best = np.empty((*x.shape[: -len(kernel)], *out_spatial), x.dtype) if out is None else out
    slices = [where for _, where in window_slices(kernel, out_spatial, stride, dilation)]
    # The winner's number only grows along the walk, so it is a maximum too, which NumPy computes
    # many at a time in small integers; a masked copy would go element by element.
    numbers = np.uint8 if len(slices) <= 256 else np.uint32
    winner = np.zeros(best.shape, numbers)
    scratch = np.empty(best.shape, numbers)
    better = np.empty(best.shape, np.bool_)
    for number, where in enumerate(slices):
        seen = plane[where]
        if number == 0:
            np.copyto(best, seen)
            continue
        np.greater(seen, best, out=better)
        np.multiply(better, numbers(number), out=scratch, casting="unsafe")
        np.maximum(winner, scratch, out=winner)
        np.maximum(best, seen, out=best)
    if best.dtype.kind == "f":
        undefined = np.isnan(best)
        if undefined.any():
            for number, where in enumerate(slices):
                seen = plane[where]
                winner[np.isnan(seen)] = number
    places = _places(kernel, stride, dilation).take(winner)
    if any(padding):
        # A window of nothing but the lowest value is won by its first offset, which may lie in the
        # padding: the first offset inside is meant.
        empty = np.nonzero(best == lowest(x.dtype))
        if len(empty[0]):
            inside = _first_inside(kernel, stride, padding, dilation, out_spatial)
            places[empty] = inside[empty[-len(kernel) :]]
    return best, places


def _steps(extents: Extents) -> Extents:
    """The strides of a row-major array."""
    return tuple(prod(extents[axis + 1 :]) for axis in range(len(extents)))


def _places(kernel: Extents, stride: Extents, dilation: Extents) -> np.ndarray:
    """The place in the footprint of every kernel offset, row by row."""
    steps = _steps(footprint(kernel, stride, dilation))
    offsets = [
        np.arange(k, dtype=np.int32) * np.int32(d * s)
        for k, d, s in zip(kernel, dilation, steps, strict=True)
    ]
    return _outer_sum(offsets).ravel()


def _outer_sum(vectors: list[np.ndarray]) -> np.ndarray:
    """``result[i, j, ...] = vectors[0][i] + vectors[1][j] + ...``."""
    total = vectors[0]
    for vector in vectors[1:]:
        total = total[..., None] + vector
    return total


def _first_inside(
    kernel: Extents, stride: Extents, padding: Extents, dilation: Extents, out_spatial: Extents
) -> np.ndarray:
    """The place of the first element of each window that is not padding."""
    firsts = []
    steps = _steps(footprint(kernel, stride, dilation))
    for o, t, p, d, step in zip(out_spatial, stride, padding, dilation, steps, strict=True):
        before = np.maximum(p - np.arange(o, dtype=np.int32) * t, 0)
        firsts.append(-(-before // d) * d * np.int32(step))
    return _outer_sum(firsts)


def max_pool_positions(
    winners: np.ndarray,
    spatial: Extents,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
) -> np.ndarray:
    """The flat positions (int64) in the input's planes of what the windows' winners are."""
    steps = _steps(spatial)
    within = _outer_sum(
        [
            np.arange(extent) * step
            for extent, step in zip(footprint(kernel, stride, dilation), steps, strict=True)
        ]
    )
    out_spatial = winners.shape[winners.ndim - len(spatial) :]
    starts = _outer_sum(
        [
            (np.arange(o) * t - p) * step
            for o, t, p, step in zip(out_spatial, stride, padding, steps, strict=True)
        ]
    )
    positions = within.ravel().take(winners)
    positions += starts
    return positions


def _in_memory(
    winners: np.ndarray,
    spatial: Extents,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
) -> np.ndarray:
    """Where the winners are in the planes' common memory, flat."""
    positions = max_pool_positions(winners, spatial, kernel, stride, padding, dilation)
    planes, plane = prod(winners.shape[: winners.ndim - len(spatial)]), prod(spatial)
    flat = positions.reshape(planes, -1)
    flat += np.arange(0, planes * plane, max(plane, 1))[:, None]
    return flat.reshape(-1)


def max_pool_grad(
    g: np.ndarray,
    winners: np.ndarray,
    spatial: Extents,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The vjp of ``max_pool``: ``g`` added where the winners are, ``(*lead, *spatial)``."""
    shape = (*g.shape[: g.ndim - len(spatial)], *spatial)
    if out is not None and out.flags.c_contiguous:
        out.fill(0)
        result = out
    else:
        result = np.zeros(shape, g.dtype)
    if g.size:
        where = _in_memory(winners, spatial, kernel, stride, padding, dilation)
        if footprint(kernel, stride, dilation) == tuple(stride):  # no two windows share an element
            result.reshape(-1)[where] = g.reshape(-1)
        else:
            np.add.at(result.reshape(-1), where, g.reshape(-1))
    if out is not None and out is not result:
        np.copyto(out, result)
        return out
    return result


def max_pool_gather(
    x: np.ndarray,
    winners: np.ndarray,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The elements of ``x`` that are the winners, the transpose of ``max_pool_grad``."""
    if not winners.size:
        return np.empty(winners.shape, x.dtype) if out is None else out
    spatial = x.shape[x.ndim - len(kernel) :]
    where = _in_memory(winners, spatial, kernel, stride, padding, dilation)
    return np.take(x.reshape(-1), where.reshape(winners.shape), out=out)


def window_counts(
    spatial: Extents,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    out_spatial: Extents,
    count_include_pad: bool,
) -> list[np.ndarray]:
    """How many elements each window has along each dimension."""
    counts = []
    for s, k, t, p, o in zip(spatial, kernel, stride, padding, out_spatial, strict=True):
        start = np.arange(o) * t - p
        end = np.minimum(start + k, s + p)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, s)
        counts.append(end - start)
    return counts


def _divisors(
    spatial: Extents,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    out_spatial: Extents,
    count_include_pad: bool,
    divisor_override: int | None,
    dtype: np.dtype,
) -> np.ndarray:
    """What each window's sum is divided by: a product of one count a dimension."""
    if divisor_override is not None:
        return np.array(divisor_override, dtype)
    counts = window_counts(spatial, kernel, stride, padding, out_spatial, count_include_pad)
    if all((c == c[0]).all() for c in counts if c.size):
        return np.array(prod(int(c[0]) for c in counts if c.size), dtype)
    total = counts[0]
    for count in counts[1:]:
        total = total[..., None] * count
    return total.astype(dtype)


def _along(axis: int, where: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (where,)


def avg_pool(
    x: np.ndarray,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The mean of every window; sums run dimension by dimension (``kh + kw`` slices, not
    ``kh * kw``)."""
    ones = (1,) * len(kernel)
    spatial = x.shape[-len(kernel) :]
    out_spatial = pool_output_size(spatial, kernel, stride, padding, ones, ceil_mode)
    total = _padded_for(x, kernel, stride, padding, ones, out_spatial, 0)
    for axis, (k, t, o) in enumerate(
        zip(kernel, stride, out_spatial, strict=True), start=x.ndim - len(kernel)
    ):
        taps = [total[_along(axis, slice(i, i + (o - 1) * t + 1, t))] for i in range(k)]
        total = taps[0] + taps[1] if k > 1 else taps[0]
        for tap in taps[2:]:
            total += tap
    divisors = _divisors(
        spatial, kernel, stride, padding, out_spatial, count_include_pad, divisor_override, x.dtype
    )
    return np.divide(total, divisors, out=out)


def avg_pool_grad(
    g: np.ndarray,
    input_spatial: Extents,
    kernel: Extents,
    stride: Extents,
    padding: Extents,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The vjp of ``avg_pool``: each window's share of ``g`` added to its elements."""
    lead = g.ndim - len(kernel)
    out_spatial = g.shape[lead:]
    share = g / _divisors(
        input_spatial,
        kernel,
        stride,
        padding,
        out_spatial,
        count_include_pad,
        divisor_override,
        g.dtype,
    )
    for axis in range(g.ndim - 1, lead - 1, -1):
        k, t, p, s, o = (
            values[axis - lead] for values in (kernel, stride, padding, input_spatial, out_spatial)
        )
        reach = max(s + 2 * p, (o - 1) * t + k)
        spread = np.zeros((*share.shape[:axis], reach, *share.shape[axis + 1 :]), g.dtype)
        for i in range(k):
            spread[_along(axis, slice(i, i + (o - 1) * t + 1, t))] += share
        share = spread[_along(axis, slice(p, p + s))]
    if out is None:
        return np.ascontiguousarray(share)
    np.copyto(out, share)
    return out
