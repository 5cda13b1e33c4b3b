"""Which elements make an element of a resized axis, and how much of each they give.

Two elements become four, linearly, and the ends are repeated:

    taps("linear", 2, 4, None, False, False)
    places   0 0 0 1      weights   1 .75 .25 1
             1 1 1 1                0 .25 .75 0

Positions, kernels and rounding are those of PyTorch's CPU kernels (ATen/native/UpSample.h); cubic
kernels are Keys 1981 with a = -0.75, with antialias a = -0.5, and lanczos has three lobes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType

Table = tuple[np.ndarray, np.ndarray]


def _near(x: np.ndarray, a: float) -> np.ndarray:
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _far(x: np.ndarray, a: float) -> np.ndarray:
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    return np.where(x < 1, _near(x, -0.5), np.where(x < 2, _far(x, -0.5), 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


# With antialias: a kernel, and how far it reaches to either side.
_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "linear": (_triangle, 1.0),
    "cubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def _step(extent: int, count: int, scale: float | None, corners: bool, real: type) -> float:
    """How far apart the centres of neighbouring results are, in elements."""
    if corners:
        return real(extent - 1) / real(count - 1) if count > 1 else real(0)
    if scale is not None and scale > 0:
        return real(1.0 / scale)
    return real(extent) / real(count)


def _nearest(extent: int, count: int, step: float, exact: bool) -> Table:
    at = np.arange(count, dtype=type(step))
    if not exact and count in (extent, 2 * extent):
        places = np.arange(count) // (count // extent)
    else:
        places = np.floor((at + type(step)(0.5)) * step if exact else at * step)
    places = np.minimum(places.astype(np.int64), extent - 1)
    return places[None], np.ones((1, count))


def _centres(count: int, step: float, corners: bool) -> np.ndarray:
    real = type(step)
    at = np.arange(count, dtype=real)
    return at * step if corners else (at + real(0.5)) * step - real(0.5)


def _linear(extent: int, count: int, step: float, corners: bool) -> Table:
    if extent == count:
        at = np.maximum(_centres(count, type(step)(1), True), 0)
    else:
        at = np.maximum(_centres(count, step, corners), 0)
    first = np.minimum(at.astype(np.int64), extent - 1)
    part = np.clip(at - first, 0, 1)
    return np.stack([first, np.minimum(first + 1, extent - 1)]), np.stack([1 - part, part])


def _bicubic(extent: int, count: int, step: float, corners: bool) -> Table:
    at = _centres(count, step, corners)
    first = np.minimum(np.floor(at).astype(np.int64), extent - 1)
    t = np.clip(at - first, 0, 1)
    weights = [_far(t + 1, -0.75), _near(t, -0.75), _near(1 - t, -0.75), _far(2 - t, -0.75)]
    places = [np.clip(first + k, 0, extent - 1) for k in (-1, 0, 1, 2)]
    return np.stack(places), np.stack(weights)


def _smoothed(extent: int, count: int, step: float, mode: str) -> Table:
    kernel, reach = _KERNELS[mode]
    support = reach * step if step >= 1 else reach
    shrink = 1 / step if step >= 1 else 1.0
    centres = step * (np.arange(count) + 0.5)
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    sizes = np.minimum((centres + support + 0.5).astype(np.int64), extent) - first
    taps = np.arange(max(int(sizes.max()), 1))[:, None]
    weights = kernel((taps + first - centres + 0.5) * shrink)
    weights = np.where(taps < sizes, weights, 0.0)
    places = np.minimum(first + taps, extent - 1)
    return places, weights / weights.sum(0)


def transposed(places: np.ndarray, weights: np.ndarray, extent: int) -> Table:
    """For every element the results it is part of, and with which weights; filled up with zeros."""
    count = places.shape[1]
    results = np.broadcast_to(np.arange(count), places.shape)
    has = weights != 0
    elements, results, parts = places[has], results[has], weights[has]
    order = np.argsort(elements, kind="stable")
    elements, results, parts = elements[order], results[order], parts[order]
    number = np.bincount(elements, minlength=extent)
    rank = np.arange(len(elements)) - np.repeat(np.cumsum(number) - number, number)
    most = max(int(number.max(initial=0)), 1)
    # What fills up is an element's first result again: nothing of another one's reaches it.
    at = np.zeros((most, extent), np.int64)
    at[:, elements[::-1]] = results[::-1]
    share = np.zeros((most, extent), weights.dtype)
    at[rank, elements], share[rank, elements] = results, parts
    return at, share


@functools.lru_cache(maxsize=256)
def taps(
    mode: str,
    extent: int,
    count: int,
    scale: float | None,
    corners: bool,
    antialias: bool,
    dtype: DType = dtypes.float32,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The tables of `ir.ops_resample` that make `count` elements of `extent`: there and back.

    mode: nearest, nearest-exact, linear, cubic or lanczos. scale: where it was given, else the
    extents say how far apart results are. dtype: of the weights.
    """
    step = _step(extent, count, scale, corners, dtype.numpy.type)
    if mode.startswith("nearest"):
        places, weights = _nearest(extent, count, step, mode.endswith("exact"))
    elif antialias:
        places, weights = _smoothed(extent, count, float(step), mode)
    else:
        table = _linear if mode == "linear" else _bicubic
        places, weights = table(extent, count, step, corners)
    weights = weights.astype(dtype.numpy)
    return places, weights, *transposed(places, weights, extent)


def output_extent(extent: int, scale: float) -> int:
    """How many elements an axis has after it was scaled."""
    return math.trunc(extent * scale)
