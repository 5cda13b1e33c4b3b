"""Constants: tensors of one number, and ranges.

`full` takes its number as an operand, so that a number that changes from run to run is a run-time
scalar like any other. Their structural arguments are those of a type: the shape, the dtype and, for
what is not on the CPU, the device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .dtypes import DType, bfloat16, bool_, float16, float32, int32, int64
from .node import Node, leaf
from .numerics.cast import arange
from .opdef import REGISTRY, Op, provide
from .types import TensorType

provide(arange=arange)

full_: Op = Op(
    "full",
    "np.full({shape}, {0}, dtype={dtype})",
    kind="constant",
    fields=("extents", "of", "device"),
    optional=1,
    infer=lambda src, arg: TensorType.of(*arg),
    samples=lambda: [
        ((2.5,), ((2, 3), float32)),
        ((-0.0,), ((), bfloat16)),
        ((True,), ((0, 2), bool_)),
        ((7,), ((3,), int64)),
    ],
)
arange_: Op = Op(
    "arange",
    "arange({0}, {1}, {shape}, {dtype})",
    kind="constant",
    fields=("extents", "of", "device"),
    optional=1,
    infer=lambda src, arg: TensorType.of(*arg),
    runtime=True,
    samples=lambda: [
        ((1, 2), ((5,), int64)),
        ((0.5, -0.25), ((4,), float32)),
        ((0, 1), ((0,), int32)),
        ((0.1, 0.3), ((3,), float16)),
    ],
)
# 0, 1, 2, … of every element, row by row: an `arange` whose numbers nothing can change, which is
# what loops need to count instead of reading.
positions_: Op = Op(
    "positions",
    "np.arange({extents}, dtype={dtype})",
    kind="constant",
    fields=("extents", "of", "device"),
    optional=1,
    infer=lambda src, arg: TensorType.of((arg[0],), *arg[1:]),
    samples=lambda: [((), (5, int64)), ((), (0, int32))],
)
# A number that is a run-time scalar from the start, where several operations share it.
number_: Op = Op(
    "number",
    "{0}",
    kind="constant",
    fields=("of", "device"),
    optional=1,
    infer=lambda src, arg: TensorType.of((), *arg),
    runtime=True,
    samples=lambda: [((7,), (int64,)), ((-1,), (int32,))],
)


def typed(*arg: Any) -> tuple:
    """The structural argument of a constant: what its type is made of, the device, its last,
    only where that is not the CPU."""
    return arg[:-1] if arg[-1] == "cpu" else arg


def positions(shape: tuple[int, ...], device: str = "cpu") -> Node:
    """The number of every element, row by row, int64."""
    from .ops_shape import reshape

    return reshape(positions_(arg=typed(math.prod(shape), int64, device)), shape)


def number(value: int, dtype: DType, device: str = "cpu") -> Node:
    """A tensor of no dimensions that holds a run-time number."""
    return number_(value, arg=typed(dtype, device))


def full(shape: tuple[int, ...], number: Any, dtype: DType, device: str = "cpu") -> Node:
    """A constant tensor of one number, which may be a tensor of no dimensions itself."""
    if number.__class__ is complex:
        number = complex_number(number, dtype, device)
    if number.__class__ is Node:
        from .ops_shape import copy, expand

        return copy(expand(number, shape))
    if dtype.is_floating_point or dtype.is_complex:
        number = float(number)
    elif dtype is bool_:
        number = bool(number)
    else:
        number = int(number)
    return full_(number, arg=typed(shape, dtype, device))


def complex_number(number: complex, dtype: DType, device: str = "cpu") -> Node:
    """A tensor of no dimensions that holds a complex number: data, for numbers among the operands
    of a node are real."""
    value = np.asarray(number, dtype.numpy)
    return leaf(REGISTRY["data"], value, TensorType.of((), dtype, device))


def zeros_like(x: Node) -> Node:
    """Zeros in the shape and dtype of `x`."""
    return full(x.type.shape, 0, x.type.dtype, x.type.device)


def full_like(x: Node, number: Any) -> Node:
    """A constant tensor of one number in the shape and dtype of `x`."""
    return full(x.type.shape, number, x.type.dtype, x.type.device)
