"""Sliding blocks of images as columns, and columns added up to images again.

    unfold([[[[1., 2., 3.]]]], (1, 2))      columns 1 2 and 2 3
    fold(those, (1, 3), (1, 2))             1 4 3: what two blocks share is added

Along each axis both are `ir.ops_resample`, one's tables being the other's exchanged.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lazyt.dispatch import data_node, tagged, wrap
from lazyt.ir.dtypes import DType, int64
from lazyt.ir.node import Node
from lazyt.ir.ops_resample import resample
from lazyt.ir.ops_shape import copy, narrow, pad_, permute, reshape
from lazyt.tensor import Tensor

from .common import check_floating, in_compute_dtype, tensor_node
from .taps import transposed


def _pairs(values: dict[str, Any]) -> list[tuple[int, int]]:
    """Each setting as height and width; RuntimeError in PyTorch's words for other counts."""
    pairs = []
    for name, value in values.items():
        given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * 2
        if len(given) != 2:
            raise RuntimeError(f"It is expected {name} equals to 2, but got size {len(given)}")
        pairs.append(given)
    return pairs


def _check_windows(kernel: tuple, dilation: tuple, padding: tuple, stride: tuple) -> None:
    checks = (
        ("kernel size", "kernel", kernel, 1),
        ("dilation", "dilation", dilation, 1),
        ("padding", "pad", padding, 0),
        ("stride", "stride", stride, 1),
    )
    for words, name, (height, width), least in checks:
        if min(height, width) < least:
            bound = "greater than zero" if least else "non-negative"
            raise RuntimeError(
                f"{words} should be {bound}, but got {name}_height: {height} {name}_width: {width}"
            )


def _counts(size: tuple, kernel: tuple, dilation: tuple, padding: tuple, stride: tuple) -> tuple:
    """How many blocks stand along each axis."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride)
    )


@functools.lru_cache(maxsize=256)
def _blocks(extent: int, kernel: int, dilation: int, stride: int, dtype: DType) -> tuple:
    """The tables that take all blocks of an axis: (kernel * blocks) of `extent`."""
    starts = np.arange((extent - dilation * (kernel - 1) - 1) // stride + 1) * stride
    places = (np.arange(kernel)[:, None] * dilation + starts).reshape(1, -1)
    weights = np.ones(places.shape, dtype.numpy)
    return places, weights, *transposed(places, weights, extent)


def _tables(like: Node, extent: int, kernel: int, dilation: int, stride: int) -> list[Node]:
    dtype, device = like.type.dtype, like.type.device
    arrays = _blocks(extent, kernel, dilation, stride, dtype)
    return [
        data_node(a.copy(), int64 if i % 2 == 0 else dtype, device) for i, a in enumerate(arrays)
    ]


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The blocks of (N, C, H, W) or (C, H, W) as columns: (N, C KH KW, blocks).

    Errors: RuntimeError in PyTorch's words where no block fits.
    """
    x = tensor_node(input, "im2col")
    settings = {
        "kernel_size": kernel_size,
        "dilation": dilation,
        "padding": padding,
        "stride": stride,
    }
    kernel, apart, around, steps = _pairs(settings)
    _check_windows(kernel, apart, around, steps)
    shape = x.type.shape
    if len(shape) == 2:
        raise IndexError("Dimension out of range (expected to be in range of [-2, 1], but got 2)")
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(shape)}"
        )
    counts = _counts(shape[-2:], kernel, apart, around, steps)
    if min(counts) < 1:
        raise RuntimeError(
            f"Given input with spatial size {shape[-2:]}, kernel_size={kernel}, dilation={apart}, "
            f"padding={around}, calculated shape of the array of sliding blocks as {counts}, but "
            "its components must be at least one."
        )
    check_floating(x, "im2col_out_cpu")

    def formula(x: Node) -> Node:
        lead = (*((0, 0),) * (len(shape) - 2), *((p, p) for p in around))
        y = pad_(x, 0.0, arg=(lead,)) if any(around) else x
        for i in (0, 1):
            axis = len(shape) - 2 + i
            tables = _tables(y, y.type.shape[axis], kernel[i], apart[i], steps[i])
            y = resample(y, *tables, arg=(axis,))
        n = len(shape) - 2
        y = reshape(y, (*shape[:-2], kernel[0], counts[0], kernel[1], counts[1]))
        y = permute(y, (*range(n), n, n + 2, n + 1, n + 3))
        rows = shape[-3] * kernel[0] * kernel[1]
        return copy(reshape(y, (*shape[:-3], rows, counts[0] * counts[1])))

    return wrap(tagged(in_compute_dtype(formula, x), "Im2Col", x, saves=False))


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Columns (N, C KH KW, blocks), or unbatched, added up to (N, C, *output_size).

    Errors: RuntimeError in PyTorch's words where columns are not those of the blocks.
    """
    x = tensor_node(input, "col2im")
    settings = {
        "output_size": output_size,
        "kernel_size": kernel_size,
        "dilation": dilation,
        "padding": padding,
        "stride": stride,
    }
    size, kernel, apart, around, steps = _pairs(settings)
    _check_windows(kernel, apart, around, steps)
    shape = x.type.shape
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    rows, columns = shape[-2:]
    channels, rest = divmod(rows, kernel[0] * kernel[1])
    if rest:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={rows} and kernel_size={kernel}."
        )
    counts = _counts(size, kernel, apart, around, steps)
    if counts[0] * counts[1] != columns:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={apart}, padding={around}, "
            f"stride={steps}, expected size of input's dimension 2 to match the calculated number "
            f"of sliding blocks {counts[0]} * {counts[1]} = {counts[0] * counts[1]}, but got "
            f"input.size(2)={columns}."
        )
    check_floating(x, "col2im_out_cpu")

    def formula(x: Node) -> Node:
        n = len(shape) - 1
        y = reshape(x, (*shape[:-2], channels, *kernel, *counts))
        y = permute(y, (*range(n), n, n + 2, n + 1, n + 3))
        y = copy(reshape(y, (*shape[:-2], channels, kernel[0] * counts[0], kernel[1] * counts[1])))
        for i in (0, 1):
            there = _tables(y, size[i] + 2 * around[i], kernel[i], apart[i], steps[i])
            y = resample(y, *there[2:], *there[:2], arg=(n + i,))
        for i in (0, 1):
            if around[i]:
                y = narrow(y, n + i, around[i], size[i])
        return copy(y) if any(around) else y

    return wrap(tagged(in_compute_dtype(formula, x), "Col2Im", x, saves=False))
