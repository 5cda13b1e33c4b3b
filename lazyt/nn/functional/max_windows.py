"""Maxima over windows that are not all alike: adaptive ones, and those of fractional pooling.

    adaptive_max_pool1d([[0., 5., 1., 2., 4.]], 2)      windows 0 5 1 and 1 2 4: [[5., 4.]]

Adaptive windows that happen to be alike are pooled as any others. Else all elements of all windows
are looked up beside each other, a window that is shorter ends with its last element again, and the
largest is selected.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import lazyt
from lazyt.dispatch import data_node, tagged, wrap
from lazyt.ir.dtypes import int64
from lazyt.ir.node import Node
from lazyt.ir.ops_index import gather, index
from lazyt.ir.ops_pool import max_pool, max_pool_positions
from lazyt.ir.ops_reduce import get, max_with_index
from lazyt.ir.ops_shape import expand, permute, reshape
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .common import check_floating, extents, numbered, tensor_node
from .pooling import adaptive_windows

# --- adaptive -------------------------------------------------------------------------------------


def _output_size(size: Any, rank: int, spatial: tuple[int, ...]) -> tuple[int, ...]:
    name = f"adaptive_max_pool{rank}d"
    if size is None:
        if rank == 1:
            raise TypeError(
                f"{name}(): argument 'output_size' (position 2) must be tuple of ints, not NoneType"
            )
        raise TypeError("object of type 'NoneType' has no len()")
    given = tuple(size) if isinstance(size, (tuple, list)) else (size,) * rank
    if len(given) == 1:
        given *= rank
    if len(given) != rank:
        if rank == 1:
            raise RuntimeError(
                f"{name}() argument 'output_size' should contain one int (got {len(given)})"
            )
        raise RuntimeError(f"{name}(): internal error: output_size.size() must be {rank}")
    return tuple(s if n is None else int(n) for n, s in zip(given, spatial))


def _check_adaptive(x: Node, rank: int, out: tuple[int, ...]) -> None:
    name, shape = f"adaptive_max_pool{rank}d", x.type.shape
    if len(shape) not in (rank + 1, rank + 2):
        if rank == 1:
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {len(shape)}-dimensional tensor for argument "
                f"#1 'self' (while checking arguments for {name})"
            )
        raise RuntimeError(
            f"{name}(): Expected {rank + 1}D or {rank + 2}D tensor, but got: {list(shape)}"
        )
    for axis in range(len(shape) - rank - 1, len(shape)):
        if shape[axis] == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but "
                f"input has sizes {list(shape)} with dimension {axis} being empty"
            )
    if min(out) < 0:
        made = list(shape[:-rank]) + [1] * (rank == 1) + list(out)
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(out)}: {made}")
    check_floating(x, "adaptive_max_pool3d_cpu" if rank == 3 else "adaptive_max_pool2d")


def _window_places(extent: int, count: int) -> np.ndarray:
    """The places of every window (count, widest), the last one repeated in shorter windows."""
    windows = adaptive_windows(extent, count)
    widest = max((stop - start for start, stop in windows), default=1)
    places = [[min(start + k, stop - 1) for k in range(widest)] for start, stop in windows]
    return np.array(places, np.int64).reshape(count, widest)


def _largest(x: Node, out: tuple[int, ...]) -> tuple[Node, Node]:
    """The selection of the largest elements of all windows, and their places in a plane."""
    rank, shape = len(out), x.type.shape
    lead, spatial = shape[: len(shape) - rank], shape[len(shape) - rank :]
    if 0 not in out and all(s % n == 0 for s, n in zip(spatial, out)):
        kernel = tuple(s // n for s, n in zip(spatial, out))
        windows = (kernel, kernel, (0,) * rank, (1,) * rank)
        both = max_pool(x, arg=(*windows, False))
        return both, max_pool_positions(get(both, 1), arg=(spatial, *windows))
    places = [_window_places(s, n) for s, n in zip(spatial, out)]
    grids = []
    flat = np.zeros((1,) * 2 * rank, np.int64)
    for i, at in enumerate(places):
        own = (1,) * 2 * i + at.shape + (1,) * 2 * (rank - i - 1)
        grids.append(data_node(at.reshape(own), int64, x.type.device))
        flat = flat * spatial[i] + at.reshape(own)
    n = len(lead)
    axes = tuple(range(n, n + rank))
    taken = index(x, *grids, arg=(axes,))
    order = (*range(n), *range(n, n + 2 * rank, 2), *range(n + 1, n + 2 * rank, 2))
    window = math.prod(at.shape[1] for at in places)
    apart = reshape(permute(taken, order), (*lead, *out, window))
    both = max_with_index(apart, arg=((n + rank,), False))
    own_order = (*range(0, 2 * rank, 2), *range(1, 2 * rank, 2))
    table = np.ascontiguousarray(flat.transpose(own_order)).reshape(*out, window)
    spread = expand(data_node(table, int64, x.type.device), (*lead, *out, window))
    at_largest = gather(spread, reshape(get(both, 1), (*lead, *out, 1)), arg=(n + rank,))
    return both, reshape(at_largest, (*lead, *out))


def _adaptive(rank: int, input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    x = tensor_node(input, f"adaptive_max_pool{rank}d")
    out = _output_size(output_size, rank, x.type.shape[-rank:])
    _check_adaptive(x, rank, out)
    both, places = _largest(x, out)
    if both.grad:
        numbered(both, "SqueezeBackward1" if rank == 1 else f"AdaptiveMaxPool{rank}DBackward0", x)
    return wrap(get(both, 0)), wrap(places)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of `output_size` windows that cover the last dimension, and their places if asked."""
    both = _adaptive(1, input, output_size)
    return both if return_indices else both[0]


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of windows that cover the last two dimensions; None keeps an extent."""
    both = _adaptive(2, input, output_size)
    return both if return_indices else both[0]


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of windows that cover the last three dimensions; None keeps an extent."""
    both = _adaptive(3, input, output_size)
    return both if return_indices else both[0]


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with the places."""
    return _adaptive(1, input, output_size)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with the places."""
    return _adaptive(2, input, output_size)


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with the places."""
    return _adaptive(3, input, output_size)


FUNCTIONS["adaptive_max_pool1d"] = lambda input, output_size: _adaptive(1, input, output_size)

# --- fractional -----------------------------------------------------------------------------------

_AXES = {2: ("height", "width"), 3: ("time", "height", "width")}
_WHERE = {2: "fractional_max_pool2d()", 3: "fractional_max_pool3d_out()"}


def _fractional(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    samples: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Windows at random distances: Graham 2014, with the intervals of PyTorch's kernels."""
    name = f"fractional_max_pool{rank}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if output_size is None:
        if rank == 2 and len(output_ratio) > 2:
            raise ValueError(
                f"{name} requires output_ratio to either be a single Int or tuple of Ints."
            )
        ratio = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * rank
        output_size = [int(input.size(i - rank) * ratio[i]) for i in range(rank)]
    kernel, out = extents(kernel_size, rank), extents(output_size, rank)
    if samples is None:
        batch = 1 if input.dim() == rank + 1 else input.size(0)
        shape = (batch, input.size(-rank - 1), rank)
        samples = lazyt.rand(shape, dtype=input.dtype, device=input.device)
    spatial = tuple(input.shape)[-rank:]
    for axis, extent, k, n in zip(_AXES[rank], spatial, kernel, out):
        if n + k - 1 > extent:
            raise RuntimeError(
                f"{_WHERE[rank]}: pool {axis} {k} too large relative to input {axis} {extent}"
            )
    lead = tuple(input.shape)[:-rank]
    places = lazyt.zeros(
        (1,) * (len(samples.shape) - 1 + 2 * rank), dtype=int64, device=input.device
    )
    for i in range(rank):
        # In a plane the first random number belongs to the width, in a volume to the time.
        sample = samples[..., rank - 1 - i if rank == 2 else i]
        starts = _intervals(sample, spatial[i], out[i], kernel[i])
        window = starts.unsqueeze(-1) + lazyt.arange(kernel[i], device=input.device)
        own = [*sample.shape] + [1] * (2 * rank)
        own[sample.dim() + i], own[sample.dim() + rank + i] = out[i], kernel[i]
        places = places * spatial[i] + window.reshape(own)
    flat = input.reshape(*lead, 1, math.prod(spatial))
    size = (*lead, math.prod(out), math.prod(kernel))
    at = places.reshape(size)
    taken = flat.expand(*size[:-1], flat.shape[-1]).gather(-1, at)
    values, which = taken.max(-1)
    chosen = at.gather(-1, which.unsqueeze(-1)).squeeze(-1)
    x = node_of(input)
    result = node_of(values.reshape(*lead, *out))
    return wrap(tagged(result, f"FractionalMaxPool{rank}D", x)), chosen.reshape(*lead, *out)


def _intervals(sample: Tensor, extent: int, count: int, kernel: int) -> Tensor:
    """Where the windows start: (*, count) for samples (*)."""
    last = lazyt.full((*sample.shape, 1), extent - kernel, dtype=int64, device=sample.device)
    if count == 1:
        return last
    step = (extent - kernel) / (count - 1)
    steps = lazyt.arange(count - 1, dtype=sample.dtype, device=sample.device)
    own = sample.unsqueeze(-1)
    starts = ((steps + own) * step).to(int64) - (own * step).to(int64)
    return lazyt.cat([starts, last], -1)


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` with the places."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` with the places."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Maxima of windows at random distances over two dimensions, and their places if asked.

    output_size or output_ratio: how many windows, or how many to an element.
    """
    both = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return both if return_indices else both[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Maxima of windows at random distances over three dimensions, and their places if asked."""
    both = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return both if return_indices else both[0]
