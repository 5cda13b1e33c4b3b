"""Maxima over windows that are not all alike: adaptive ones, and those of fractional pooling.

    adaptive_max_pool1d([[0., 5., 1., 2., 4.]], 2)      windows 0 5 1 and 1 2 4: [[5., 4.]]

Adaptive windows that happen to be alike are pooled as any others. Else all elements of all windows
are looked up beside each other, a window that is shorter ends with its last element again, and the
place of the largest is found; the gradient goes to those places alone.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import lazyt
from lazyt.dispatch import data_node, tagged, wrap
from lazyt.ir.dtypes import int64
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import add
from lazyt.ir.ops_index import gather, index
from lazyt.ir.ops_pool import max_pool, max_pool_positions
from lazyt.ir.ops_reduce import get, max_with_index
from lazyt.ir.ops_shape import copy, reshape, stop
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .common import (
    check_floating,
    check_has_batch,
    extents,
    not_differentiable,
    numbered,
    tensor_node,
)
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


@functools.lru_cache(maxsize=128)
def _window_places(spatial: tuple[int, ...], out: tuple[int, ...]) -> np.ndarray:
    """Where the elements of every window stand in a flattened plane: (windows, widest)."""
    rank, flat = len(out), np.zeros((1,) * 2 * len(out), np.int64)
    for i, (extent, count) in enumerate(zip(spatial, out)):
        windows = adaptive_windows(extent, count)
        widest = max((stop - start for start, stop in windows), default=1)
        own = [[min(start + k, stop - 1) for k in range(widest)] for start, stop in windows]
        shape = [1] * 2 * rank
        shape[i], shape[rank + i] = count, widest
        flat = flat * extent + np.array(own, np.int64).reshape(shape)
    return flat.reshape(math.prod(out), -1)


def _chosen(x: Node, out: tuple[int, ...]) -> Node:
    """The place of the largest element of every window in its flattened plane: (*, windows)."""
    table = _window_places(x.type.shape[-len(out) :], out)
    lead, (windows, widest) = x.type.shape[: -len(out)], table.shape
    planes = reshape(stop(x), (*lead, math.prod(x.type.shape[len(lead) :])))
    places = data_node(table.reshape(-1).copy(), int64, x.type.device)
    taken = reshape(index(planes, places, arg=((len(lead),),)), (*lead, windows, widest))
    which = get(max_with_index(taken, arg=((len(lead) + 1,), False)), 1)
    starts = data_node(np.arange(windows) * widest, int64, x.type.device)
    return index(places, add(which, starts), arg=((0,),))


def _adaptive(rank: int, input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    x = tensor_node(input, f"adaptive_max_pool{rank}d")
    lead, spatial = x.type.shape[:-rank], x.type.shape[-rank:]
    check_has_batch(x.type.shape, rank, output_size)
    out = _output_size(output_size, rank, spatial)
    _check_adaptive(x, rank, out)
    name = "SqueezeBackward1" if rank == 1 else f"AdaptiveMaxPool{rank}DBackward0"
    if 0 not in out and all(s % n == 0 for s, n in zip(spatial, out)):
        kernel = tuple(s // n for s, n in zip(spatial, out))
        windows = (kernel, kernel, (0,) * rank, (1,) * rank)
        both = max_pool(x, arg=(*windows, False))
        if both.grad:
            numbered(both, name, x)
        at = max_pool_positions(get(both, 1), arg=(spatial, *windows))
        return wrap(get(both, 0)), wrap(at)
    places = _chosen(x, out)
    values = _looked_up(x, places, len(lead))
    shape = (*lead, *out)
    return wrap(numbered(copy(reshape(values, shape)), name, x)), wrap(copy(reshape(places, shape)))


def _looked_up(x: Node, places: Node, lead: int) -> Node:
    """The elements at places (*, windows) of the flattened planes of `x`."""
    flat = reshape(x, (*x.type.shape[:lead], math.prod(x.type.shape[lead:])))
    return gather(flat, places, arg=(lead,))


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
    _check_samples(input, samples, rank)
    not_differentiable(name, random_samples=node_of(samples))
    samples = samples[0] if input.dim() == rank + 1 else samples[: input.size(0)]
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
    x, windows, widest = node_of(input), math.prod(out), math.prod(kernel)
    at = places.reshape(*lead, windows * widest)
    taken = input.detach().reshape(*lead, math.prod(spatial)).gather(-1, at)
    which = taken.reshape(*lead, windows, widest).max(-1, keepdim=True)[1]
    chosen = at.reshape(*lead, windows, widest).gather(-1, which).squeeze(-1)
    values = _looked_up(x, node_of(chosen), len(lead))
    result = copy(reshape(values, (*lead, *out)))
    return wrap(tagged(result, f"FractionalMaxPool{rank}D", x)), chosen.reshape(*lead, *out)


def _check_samples(input: Tensor, samples: Tensor, rank: int) -> None:
    if input.dtype != samples.dtype:
        raise RuntimeError("Expect _random_samples to have the same dtype as input")
    if samples.dim() != 3:
        raise RuntimeError(f"Expect _random_samples to have 3 dimensions, got {samples.dim()}")
    batch = 1 if input.dim() == rank + 1 else input.size(0)
    if samples.size(0) < batch:
        raise RuntimeError("Expect _random_samples.size(0) no less then input batch size.")
    if samples.size(1) != input.size(-rank - 1):
        raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
    if samples.size(2) != rank:
        raise RuntimeError(
            f"Expect _random_samples.size(2) equals to {rank}; got {samples.size(2)}."
        )


def _intervals(sample: Tensor, extent: int, count: int, kernel: int) -> Tensor:
    """Where the windows start: (*, count) for samples (*)."""
    last = lazyt.full((*sample.shape, 1), extent - kernel, dtype=int64, device=sample.device)
    if count == 1:
        return last
    steps = lazyt.arange(count - 1, dtype=sample.dtype, device=sample.device)
    step = sample.new_tensor(extent - kernel) / (count - 1)  # rounded as the samples are
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
