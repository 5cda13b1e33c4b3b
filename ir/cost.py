"""What a value costs: floating-point operations and bytes, from its type alone.

    %2: float32[64,10] = matmul(%0: float32[64,100], %1: float32[100,10])
    cost(%2) == Cost(flops=2 * 64 * 10 * 100, bytes=4 * (6400 + 1000 + 640))

An elementwise operation counts one for each element of its result, whatever it computes: `exp`
counts as `add` does, although a processor spends some ten times longer on it. Conversions,
constants, copies and everything else that only moves data count none. A product of matrices
counts a multiplication and an addition for each term, as is usual.

Bytes are what must be read and written at least once: each operand (of a broadcast view only what
is behind it) and the result, in the types NumPy carries them in. Views are free.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .graph import Value
from .types import TensorType


class Cost(NamedTuple):
    """flops: arithmetic operations. bytes: memory read and written."""

    flops: int
    bytes: int

    def __add__(self, other: tuple) -> Cost:
        return Cost(self.flops + other[0], self.bytes + other[1])


def cost(value: Value, in_place: bool = False) -> Cost:
    """FLOPs and bytes of computing one value.

    in_place: whether an update writes over its base, so that only its window is moved.
    """
    op = value.op
    if op is None or op.view:
        return Cost(0, 0)
    rule = FLOPS.get(op.name) or KINDS.get(op.kind)
    flops = int(rule(value)) if rule is not None else 0
    if in_place and op.kind == "update":
        window = value.src[1]
        moved = 2 * nbytes(window.type) if window.__class__ is Value else 0
        return Cost(flops, moved)
    operands = dict.fromkeys(value.operands())
    return Cost(flops, sum(bytes_read(s) for s in operands) + nbytes(value.type))


def nbytes(type: Any) -> int:
    """Bytes of the arrays that carry a type (bfloat16 is carried in float32)."""
    if type.__class__ is tuple:
        return sum(map(nbytes, type))
    return type.numel * type.dtype.numpy.itemsize


def bytes_read(value: Value) -> int:
    """Bytes behind an operand: a broadcast or repeated view reads what it shows only once."""
    least = nbytes(value.type)
    while value.op is not None and value.op.view and value.op.name != "get":
        value = value.src[1] if value.op.name == "replaced" else value.src[0]
        least = min(least, nbytes(value.type))
    return least


# --- how many operations --------------------------------------------------------------------------


def _numel(type: Any) -> int:
    return type[0].numel if type.__class__ is tuple else type.numel


def _result(v: Value) -> int:
    return _numel(v.type)


def _operand(v: Value, k: int = 0) -> int:
    s = v.src[k]
    return _numel(s.type) if s.__class__ is Value else 1


def _per_result(times: int) -> Callable[[Value], int]:
    return lambda v: times * _result(v)


def _per_operand(times: int, k: int = 0) -> Callable[[Value], int]:
    return lambda v: times * _operand(v, k)


def _matmul(v: Value) -> int:
    return 2 * v.type.numel * v.src[0].type.shape[-1]


def _taps(weight: TensorType) -> int:
    """Products that one output element adds up: input channels of its group times kernel."""
    return math.prod(weight.shape[1:])


def _conv_weight(v: Value) -> int:
    return 2 * v.src[0].type.numel * _taps(v.type)


def _window(kernel: tuple) -> int:
    return math.prod(kernel)


def _sorting(v: Value) -> int:
    extent = max(v.src[0].type.shape, default=1)
    return _operand(v) * max(1, math.ceil(math.log2(max(extent, 2))))


def _none(v: Value) -> int:
    return 0


# What stands in neither table only moves data.
KINDS: dict[str, Callable[[Value], int]] = {
    "elementwise": _per_result(1),
    "reduce": _per_operand(1),
}
FLOPS: dict[str, Callable[[Value], int]] = {
    "cast": _none,
    "where": _none,
    # Two passes: the mean (add), then the squared distances (subtract, multiply, add).
    "var": _per_operand(4),
    "norm2": _per_operand(2),
    # Maximum, subtract, exp, add.
    "logsumexp": _per_operand(4),
    "softmax": _per_result(5),
    "log_softmax": _per_result(5),
    # Per element: two passes for mean and variance (4), then subtract and multiply.
    "standardize": _per_operand(6),
    "class_count": _per_operand(1),
    "row_put": _per_operand(1),
    "max_with_index": _per_operand(1),
    "min_with_index": _per_operand(1),
    "cumsum": _per_result(1),
    "cumprod": _per_result(1),
    # Maximum, exp, add.
    "logcumsumexp": _per_result(3),
    "cummax": _per_result(1),
    "cummin": _per_result(1),
    "sort": _sorting,
    "topk": _sorting,
    "kthvalue": _sorting,
    "median": _sorting,
    "mode": _sorting,
    "matmul": _matmul,
    "inverse": lambda v: 2 * _result(v) * v.type.shape[-1],
    "conv": lambda v: 2 * _result(v) * _taps(v.src[1].type),
    "conv_input": lambda v: 2 * _operand(v) * _taps(v.src[1].type),
    "conv_weight": _conv_weight,
    "max_pool": lambda v: _result(v) * _window(v.arg[0]),
    "max_pool_values": lambda v: _result(v) * _window(v.arg[0]),
    "max_pool_grad": _per_operand(1),
    "avg_pool": lambda v: _result(v) * (_window(v.arg[0]) + 1),
    "avg_pool_grad": lambda v: _operand(v) * (_window(v.arg[1]) + 1),
    "strided_add": _per_operand(1, 1),
    "scatter_add": _per_operand(1, 2),
    "scatter_reduce": _per_operand(1, 2),
    "index_put": lambda v: _operand(v, 1) if v.arg[1] else 0,
}
