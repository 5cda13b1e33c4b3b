"""The engine of devices: what `draws.py` asks runtime/generator.py for on the CPU, as graphs.

    draw(Stream(generator), "rand", TensorType.of((64, 48), float32, "cuda:0"))

The methods have the names and parameters of that engine; arrays among them are nodes here, on the
device of the draw. Most are distributions of `device_draws`; what PyTorch makes of several draws,
or of a draw and a search, stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lazyt.ir.dtypes import DType, float32, float64, int64
from lazyt.ir.node import Node
from lazyt.ir.ops_constant import full
from lazyt.ir.ops_elementwise import add, cast, div, ge, logical_and, lt, mul
from lazyt.ir.ops_order import searchsorted, topk
from lazyt.ir.ops_reduce import all_, any_, argmax, get
from lazyt.ir.ops_scan import cumsum
from lazyt.ir.ops_shape import narrow
from lazyt.ir.types import TensorType, broadcast_shapes
from lazyt.runtime.drain import value_of
from lazyt.runtime.draw_arguments import (
    NO_PROBABILITY,
    NOT_PROBABILITIES,
    check_full_range,
    check_multinomial,
    check_permutation,
    integer_range,
    whole_range,
)
from lazyt.runtime.mersenne import check
from lazyt.runtime.sampling_dtypes import floating

from . import device_draws as distributions
from .device_draws import Stream

_INT64_MIN = -(1 << 63)


def draw(stream: Stream, distribution: str, type: TensorType, **parameters: Any) -> Node:
    """A node of random numbers.

    distribution: a method of the engine. type: of the result; where the parameters say its shape,
    that of no dimensions. Errors: RuntimeError and NotImplementedError, before anything is drawn.
    """
    node = METHODS[distribution](stream, type, **parameters)
    drawn = node.type
    return node if drawn.numel else full(drawn.shape, 0, drawn.dtype, drawn.device)


def _normal(stream: Stream, type: TensorType, contiguous: bool = True, **parameters: float) -> Node:
    """Normal numbers; here they do not depend on how the memory lies that they fill."""
    return distributions.normal(stream, type, **parameters)


def _normal_like(stream: Stream, type: TensorType, mean: Node | float, std: Node | float) -> Node:
    """Normal numbers of an own mean or deviation each, which broadcast; reads the deviations."""
    floating(type.dtype, "normal_kernel_cuda")
    for x in (mean, std):
        if isinstance(x, Node):
            type = type.with_shape(broadcast_shapes(type.shape, x.type.shape))
    if isinstance(std, Node):
        check(_holds(ge(std, 0.0)), "normal expects all elements of std >= 0.0")
        std = _as(std, type.dtype)
        values = mul(distributions.normal(stream, type), std)
    else:
        values = distributions.normal(stream, type, 0.0, std)
    return add(values, _as(mean, type.dtype) if isinstance(mean, Node) else float(mean))


def _random(
    stream: Stream, type: TensorType, low: int | None = None, high: int | None = None
) -> Node:
    """Integers as `Tensor.random_` draws them."""
    kind = type.dtype
    if low is None:
        return distributions.integers(stream, type, 0, whole_range(kind))
    if high is None and low == _INT64_MIN:
        check_full_range(kind, "cuda")
        return distributions.integers(stream, type, low, 1 << 63)
    low, last = integer_range(kind, low, high)
    return distributions.integers(stream, type, low, last + 1)


def _permutation(stream: Stream, type: TensorType, n: int) -> Node:
    """A permutation of 0..n-1."""
    check_permutation(n, type.dtype)
    return distributions.permutation(stream, type.with_shape((n,)))


def _multinomial(
    stream: Stream, type: TensorType, p: Node, n: int, replacement: bool = False
) -> Node:
    """Indices drawn with probabilities proportional to rows of `p`, int64; reads the probabilities.

    One draw, or several without replacement, are the largest of p / q, with an exponential q each
    (P. S. Efraimidis and P. G. Spirakis, 2006); draws with replacement search the sums of `p` up to
    each category for a uniform number each.
    """
    shape, kind = p.type.shape, p.type.dtype
    check_multinomial(shape, kind, n, replacement)
    if not p.type.numel:
        return full((*shape[:-1], n), 0, int64, type.device)
    last = len(shape) - 1
    check(_holds(logical_and(ge(p, 0.0), lt(p, math.inf))), NOT_PROBABILITIES)
    check(_holds(any_(p, arg=((last,), False))), NO_PROBABILITY)
    if replacement and n > 1:
        sums = cumsum(_as(p, float64), arg=(last,))
        sums = div(sums, narrow(sums, last, shape[last] - 1, 1))
        wanted = distributions.uniform(stream, sums.type.with_shape((*shape[:-1], n)))
        # The first category whose sum is above the number: never one of probability 0.
        return searchsorted(sums, wanted, arg=(True, False))
    wide = _as(p, float64 if kind is float64 else float32)
    score = div(wide, distributions.exponential(stream, wide.type))
    if n == 1:
        return argmax(score, arg=((last,), True))
    return get(topk(score, arg=(last, n, True)), 1)


def _holds(condition: Node) -> bool:
    """Whether a condition holds everywhere, which is computed now."""
    axes = tuple(range(len(condition.type.shape)))
    return bool(value_of(all_(condition, arg=(axes, False)) if axes else condition))


def _as(x: Node, dtype: DType) -> Node:
    return x if x.type.dtype is dtype else cast(x, dtype)


METHODS: dict[str, Callable[..., Node]] = {
    "rand": distributions.uniform,
    "uniform": distributions.uniform,
    "randn": distributions.normal,
    "normal": _normal,
    "normal_like": _normal_like,
    "log_normal": distributions.log_normal,
    "exponential": distributions.exponential,
    "cauchy": distributions.cauchy,
    "randint": _random,
    "random": _random,
    "bernoulli": distributions.bernoulli,
    "geometric": distributions.geometric,
    "randperm": _permutation,
    "multinomial": _multinomial,
}
