"""Maxima put back where they were found, and pools of powers.

values, places = max_pool1d([[1., 3., 2., 0.]], 2, return_indices=True)
max_unpool1d(values, places, 2)                          [[0., 3., 2., 0.]]
lp_pool1d([[3., 4.]], 2, 2)                              [[5.]]
"""

from __future__ import annotations

import math
from typing import Any

import lazyt
from lazyt.dispatch import known, scalar_name, tagged, wrap
from lazyt.ir.dtypes import int64
from lazyt.ir.node import Node
from lazyt.ir.ops_constant import full
from lazyt.ir.ops_index import scatter
from lazyt.ir.ops_shape import copy, reshape
from lazyt.tensor import Tensor

from .activations import relu
from .common import check_floating, extents, numbered, tensor_node
from .pooling import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d


def _unpooled_size(
    input: Tensor, kernel: tuple, stride: tuple, padding: tuple, output_size: Any
) -> list[int]:
    """The extents asked for, or those that a pool without a rest had."""
    rank = len(kernel)
    spatial = tuple(input.shape)[-rank:]
    plain = [(n - 1) * s + k - 2 * p for n, k, s, p in zip(spatial, kernel, stride, padding)]
    if output_size is None:
        return plain
    if len(output_size) == rank + 2:
        output_size = output_size[2:]
    if len(output_size) != rank:
        raise ValueError(
            f"output_size should be a sequence containing {rank} or {rank + 2} elements, but it "
            f"has a length of '{len(output_size)}'"
        )
    for d, (n, s) in enumerate(zip(plain, stride)):
        if not n - s < output_size[d] < n + s:
            raise ValueError(
                f'invalid output_size "{output_size}" (dim {d} must be between {n - s} and {n + s})'
            )
    return list(output_size)


def _check_unpool(x: Node, at: Node, rank: int, out: tuple[int, ...]) -> None:
    """PyTorch's refusals; one dimension is unpooled as a plane one wide."""
    shape, own = x.type.shape, at.type.shape
    if rank == 1:
        shape, own, rank = (*shape, 1), (*own, 1), 2
    if at.type.dtype is not int64:
        got = f" but got: {scalar_name(at.type.dtype)}" if rank == 2 else ""
        raise RuntimeError(f"elements in indices should be type int64{got}")
    if len(shape) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Input to max_unpooling{rank}d should be a {rank + 1}d or {rank + 2}d Tensor, but got "
            f"a tensor with {len(shape)} dimensions."
        )
    if shape != own:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(shape)}) but "
            f"got indices tensor with shape: {list(own)}"
        )
    for axis in range(1 if len(shape) == rank + 2 else 0, len(shape)):
        if shape[axis] == 0:
            raise RuntimeError(
                f"max_unpooling{rank}d_forward_out_cpu(): Expected input to have non-zero size for "
                f"non-batch dimensions, but got {list(shape)} with dimension {axis} being empty."
            )
    check_floating(x, f"max_unpool{rank}d")
    places = known(at)
    if places is None:
        return
    for place in (int(places.min(initial=0)), int(places.max(initial=0))):
        if not 0 <= place < max(math.prod(out), 1):
            sizes = (*out, 1) if len(out) == 1 else out
            raise RuntimeError(
                f"Found an invalid max index: {place} (output volumes are of size "
                f"{'x'.join(map(str, sizes))})"
            )


def _unpool(
    rank: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    x = tensor_node(input, f"max_unpool{rank}d")
    at = tensor_node(indices, f"max_unpool{rank}d", "indices", 2)
    kernel = extents(kernel_size, rank)
    steps = kernel if stride is None else extents(stride, rank)
    out = tuple(_unpooled_size(input, kernel, steps, extents(padding, rank), output_size))
    _check_unpool(x, at, rank, out)
    lead = x.type.shape[: len(x.type.shape) - rank]
    axis = len(lead)
    zeros = full((*lead, math.prod(out)), 0.0, x.type.dtype, x.type.device)
    flat = (*lead, math.prod(x.type.shape[axis:]))
    y = scatter(zeros, reshape(at, flat), reshape(x, flat), arg=(axis,))
    y = copy(reshape(y, (*lead, *out)))
    if rank == 1:
        return wrap(numbered(y, "SqueezeBackward1", x))
    return wrap(tagged(y, f"MaxUnpool{rank}D", x))


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """The partial inverse of `max_pool1d`: zeros, but each maximum at its place."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """The partial inverse of `max_pool2d`; indices count in a plane."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """The partial inverse of `max_pool3d`; indices count in a volume."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


# --- powers ---------------------------------------------------------------------------------------

_POOLS = {1: (avg_pool1d, max_pool1d), 2: (avg_pool2d, max_pool2d), 3: (avg_pool3d, max_pool3d)}


def _lp_pool(
    rank: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    average, largest = _POOLS[rank]
    if norm_type == math.inf:
        return largest(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    if norm_type == -math.inf:
        return -largest(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    mean = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    count = math.prod(extents(kernel_size, rank))
    return (lazyt.sign(mean) * relu(lazyt.abs(mean))).mul(count).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The norm_type-th root of the sum of powers of every window of the last dimension."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The norm_type-th root of the sum of powers of every window of the last two dimensions."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """The norm_type-th root of the sum of powers of every window of the last three dimensions."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)
