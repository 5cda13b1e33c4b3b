"""Max and average pooling, fixed and adaptive, over one to three spatial dimensions.

Inputs are (N, C, *S) or, unbatched, (C, *S): the primitives pool the last dimensions and take any
others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyt.dispatch import data_node, scalar_name, tagged, unsupported, wrap
from lazyt.ir.dtypes import FLOATING, bool_, float32, float64, int64
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.numerics.pool import pool_output_size
from lazyt.ir.ops_elementwise import cast, div
from lazyt.ir.ops_linalg import matmul
from lazyt.ir.ops_pool import avg_pool as avg_pool_op
from lazyt.ir.ops_pool import max_pool as max_pool_op
from lazyt.ir.ops_pool import max_pool_positions, max_pool_values
from lazyt.ir.ops_reduce import get, sum_
from lazyt.ir.ops_shape import copy, permute
from lazyt.registry import FUNCTIONS
from lazyt.tensor import Tensor

from .common import (
    HALVES,
    check_floating,
    check_has_batch,
    in_compute_dtype,
    numbered,
    owned,
    tensor_node,
)

_COUNT = {1: "one int", 2: "two ints", 3: "three ints"}


def _numbers(value: Any, rank: int, name: str, what: str) -> tuple[int, ...]:
    if isinstance(value, (tuple, list)):
        if len(value) not in (1, rank):
            if what == "stride":
                raise RuntimeError(
                    f"{name}: stride must either be omitted, a single int, or a tuple of "
                    f"{_COUNT[rank]}"
                )
            if what == "kernel_size":
                raise RuntimeError(
                    f"{name}: kernel_size must either be a single int, or a tuple of {_COUNT[rank]}"
                )
            raise RuntimeError(
                f"{name}: {what} must either be a single int, or a tuple of {_COUNT[rank]}"
            )
        given = tuple(int(v) for v in value)
        return given * rank if len(given) == 1 else given
    return (int(value),) * rank


def _steps(stride: Any, kernel: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The stride, which is the window's size where none is given."""
    if stride is None or stride in ((), []):
        return kernel
    return _numbers(stride, len(kernel), name, "stride")


def _check_input(x: Node, rank: int, name: str) -> None:
    shape = x.type.shape
    if rank == 1:
        if name.startswith("max"):
            if len(shape) not in (2, 3) or 0 in shape[-2:]:
                raise RuntimeError(
                    f"{name}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size "
                    f"for input, but got:{list(shape)}"
                )
        elif len(shape) not in (2, 3):
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {len(shape)}-dimensional tensor for argument "
                f"#1 'self' (while checking arguments for {name})"
            )
        return
    if len(shape) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"non-empty {rank + 1}D or {rank + 2}D (batch mode) tensor expected for input"
        )
    if 0 in shape[-rank - 1 :]:
        raise RuntimeError(
            f"Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with optional 0 dim batch "
            f"size for input, but got:{list(shape)}"
        )


def _check_windows(
    x: Node, name: str, kernel: tuple, stride: tuple, padding: tuple, dilation: tuple, ceil: bool
) -> None:
    """PyTorch's refusals of impossible windows, before anything is emitted."""
    rank = len(kernel)
    one = name == "max_pool1d"
    if min(stride) <= 0 or min(kernel) <= 0:
        if one:
            what = "stride" if min(stride) <= 0 and min(kernel) > 0 else "kernel_size"
            bad = stride[0] if what == "stride" else kernel[0]
            raise RuntimeError(f"{name}() {what} must be greater than zero, but got {bad}")
        if min(kernel) > 0 or 0 in kernel and 0 in stride:
            raise RuntimeError("stride should not be zero")
        raise RuntimeError("kernel size should be greater than zero, but got " + str(kernel))
    if min(dilation) <= 0:
        if one:
            raise RuntimeError(
                f"{name}() dilation must be greater than zero, but got {dilation[0]}"
            )
        words = " ".join(f"dilation{a}: {d}" for a, d in zip("THW"[-rank:], dilation))
        raise RuntimeError(f"dilation should be greater than zero, but got {words}")
    for k, p, d in zip(kernel, padding, dilation):
        if p < 0:
            if one:
                raise RuntimeError(f"{name}() padding must be non-negative, but got {p}")
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > ((k - 1) * d + 1) // 2:
            if one:
                raise RuntimeError(
                    f"{name}() padding should be at most half of kernel size, but got padding={p} "
                    f"and kernel_size={k}"
                )
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    shape = x.type.shape
    sizes = pool_output_size(shape[-rank:], kernel, stride, padding, dilation, ceil)
    if min(sizes) < 1:
        if one:
            raise RuntimeError(f"{name}() Invalid computed output size: {sizes[0]}")
        plane = (shape[-rank - 1], *shape[-rank:])
        got = (shape[-rank - 1], *(max(s, 0) for s in sizes))
        if name == "avg_pool3d":
            raise RuntimeError(
                "input image ("
                + " ".join(f"{a}: {n}" for a, n in zip("THW", shape[-3:]))
                + ") smaller than kernel size ("
                + " ".join(f"k{a}: {n}" for a, n in zip("THW", kernel))
                + ")"
            )
        if name == "avg_pool1d":
            plane, got = (shape[-2], 1, shape[-1]), (shape[-2], 1, max(sizes[0], 0))
        raise RuntimeError(
            f"Given input size: ({'x'.join(map(str, plane))}). Calculated output size: "
            f"({'x'.join(map(str, got))}). Output size is too small"
        )


# --- max ------------------------------------------------------------------------------------------

_MAX_NAMES = {
    1: "SqueezeBackward1",
    2: "MaxPool2DWithIndicesBackward0",
    3: "MaxPool3DWithIndicesBackward0",
}


def _max_pool(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    name = f"max_pool{rank}d"
    x = tensor_node(input, name)
    kernel = _numbers(kernel_size, rank, name, "kernel_size")
    steps = (
        kernel if stride is None or stride in ((), []) else _numbers(stride, rank, name, "stride")
    )
    around = _numbers(padding, rank, name, "padding")
    apart = _numbers(dilation, rank, name, "dilation")
    _check_input(x, rank, name)
    if rank == 1 and not return_indices:
        check_floating(x, "max_pool1d_impl")
    if x.type.dtype is bool_:
        raise unsupported(f"max_pool{max(rank, 2)}d", bool_)
    _check_windows(x, name, kernel, steps, around, apart, bool(ceil_mode))
    arg = (kernel, steps, around, apart, bool(ceil_mode))
    if not return_indices and not (x.grad and LOCAL.grad):
        return wrap(max_pool_values(x, arg=arg))
    both = max_pool_op(x, arg=arg)
    if both.grad:
        numbered(both, _MAX_NAMES[rank], x)
    values = wrap(get(both, 0))
    if not return_indices:
        return values
    return values, wrap(max_pool_positions(get(both, 1), arg=(x.type.shape[-rank:], *arg[:4])))


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of the last dimension, and its position if asked."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of the last two dimensions; indices count in a plane."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of the last three dimensions; indices count in a volume."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> Any:
    """`max_pool1d` with the positions."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> Any:
    """`max_pool2d` with the positions."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> Any:
    """`max_pool3d` with the positions."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


# --- average --------------------------------------------------------------------------------------


def _avg_pool(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    name = f"avg_pool{rank}d"
    x = tensor_node(input, name)
    kernel = _numbers(kernel_size, rank, name, "kernel_size")
    steps = (
        kernel if stride is None or stride in ((), []) else _numbers(stride, rank, name, "stride")
    )
    around = _numbers(padding, rank, name, "padding")
    if divisor_override is not None and divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    if rank == 2 and len(x.type.shape) < rank + 1:
        span = len(x.type.shape)
        raise IndexError(
            f"Dimension out of range (expected to be in range of [-{span}, {span - 1}], but got "
            f"-{rank + 1})"
        )
    _check_input(x, rank, name)
    _check_windows(x, name, kernel, steps, around, (1,) * rank, bool(ceil_mode))
    arg = (kernel, steps, around, bool(ceil_mode), bool(count_include_pad), divisor_override)
    if x.type.dtype is int64:  # sums over counts, without a rest
        return wrap(cast(avg_pool_op(cast(x, float64), arg=arg), int64))
    if rank == 3:
        check_floating(x, "avg_pool3d_out_frame", HALVES)
    check_floating(x, "avg_pool2d")
    y = in_compute_dtype(lambda n: avg_pool_op(n, arg=arg), x)
    names = {1: "SqueezeBackward1", 2: "AvgPool2DBackward0", 3: "AvgPool3DBackward0"}
    return wrap(numbered(y, names[rank], x, keeps=(x,)))


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window of the last dimension."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of the last two dimensions."""
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of the last three dimensions."""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


# --- adaptive -------------------------------------------------------------------------------------


def adaptive_windows(extent: int, count: int) -> list[tuple[int, int]]:
    """`count` windows that cover `extent`, the i-th from floor(i extent / count) on."""
    return [(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]


def _averaging(extent: int, count: int, x: Node) -> Node:
    """The matrix (extent, count) whose columns average the adaptive windows."""
    dtype = float64 if x.type.dtype is float64 else float32
    matrix = np.zeros((extent, count), dtype.numpy)
    for i, (start, stop) in enumerate(adaptive_windows(extent, count)):
        matrix[start:stop, i] = 1.0 / (stop - start)
    return data_node(matrix, dtype, x.type.device)


def _output_size(size: Any, rank: int, name: str, spatial: tuple) -> tuple[int, ...]:
    if not isinstance(size, (tuple, list)):
        sizes: tuple = (size,) * rank
    else:
        sizes = tuple(size) * (rank if len(size) == 1 else 1)
    if len(sizes) != rank:
        raise RuntimeError(f"{name}: output_size must be {rank}")
    out = tuple(s if n is None else int(n) for n, s in zip(sizes, spatial))
    if min(out) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, out))}}}"
        )
    return out


def _adaptive_average(x: Node, out: tuple[int, ...]) -> Node:
    rank, shape = len(out), x.type.shape
    spatial = shape[-rank:]
    if out == (1,) * rank:
        axes = tuple(range(len(shape) - rank, len(shape)))
        count = 1
        for extent in spatial:
            count *= extent
        return div(sum_(x, arg=(axes, True)), float(count))
    if 0 not in out and all(s % n == 0 for s, n in zip(spatial, out)):
        kernel = tuple(s // n for s, n in zip(spatial, out))
        return avg_pool_op(x, arg=(kernel, kernel, (0,) * rank, False, True, None))
    total = len(shape)
    for axis, (extent, count) in enumerate(zip(spatial, out), total - rank):
        if extent == count:
            continue
        order = (*(i for i in range(total) if i != axis), axis)
        moved = matmul(permute(x, order), _averaging(extent, count, x))
        back = (*range(axis), total - 1, *range(axis, total - 1))
        x = permute(moved, back)
    return x


def _adaptive_avg_pool(rank: int, input: Tensor, output_size: Any) -> Tensor:
    name = f"adaptive_avg_pool{rank}d"
    x = tensor_node(input, name)
    shape = x.type.shape
    if rank == 1 and len(shape) not in (2, 3):
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {len(shape)}-dimensional tensor for argument #1 "
            f"'self' (while checking arguments for {name})"
        )
    check_has_batch(shape, rank, output_size)
    out = _output_size(output_size, rank, name, shape[-rank:])
    ones = out == (1,) * rank
    if rank > 1 and not ones:
        if len(shape) not in (rank + 1, rank + 2):
            raise RuntimeError(
                f"{name}(): Expected {rank + 1}D or {rank + 2}D tensor, but got {list(shape)}"
            )
        for axis in range(len(shape) - rank, len(shape)):
            if shape[axis] == 0:
                raise RuntimeError(
                    f"{name}(): Expected input to have non-zero size for non-batch dimensions, but "
                    f"input has sizes {list(shape)} with dimension {axis} being empty"
                )
    if ones and x.type.dtype.category < FLOATING:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {scalar_name(x.type.dtype)}"
        )
    check_floating(x, name)
    y = owned(in_compute_dtype(lambda n: _adaptive_average(n, out), x))
    if y is x:
        y = copy(x)
    if rank == 1:
        return wrap(numbered(y, "SqueezeBackward1", x, keeps=(x,)))
    if ones:
        return wrap(numbered(y, "MeanBackward1", x, saves=False))
    return wrap(tagged(y, f"AdaptiveAvgPool{rank}D", x, keeps=(x,)))


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of `output_size` windows that cover the last dimension."""
    return _adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that cover the last two dimensions; None keeps an extent."""
    return _adaptive_avg_pool(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that cover the last three dimensions; None keeps an extent."""
    return _adaptive_avg_pool(3, input, output_size)


for _function in (
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool3d,
    avg_pool1d,
    adaptive_avg_pool1d,
):
    FUNCTIONS[_function.__name__] = _function
