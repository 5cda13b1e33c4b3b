"""Order and counting: medians, positions in sorted sequences, histograms."""

from __future__ import annotations

from typing import Any

from .dtypes import int32, int64
from .node import Node
from .numerics import sort as ordering
from .opdef import Op, provide
from .ops_elementwise import cast, div, eq, isnan, logical_and, logical_or, mul
from .ops_reduce import reduction, restore, selection, sum_, widened
from .ops_shape import expand
from .types import TensorType

provide(
    median_value=ordering.median_value,
    nanmedian=lambda x, axis, keep: ordering.median(x, axis, keep, True),
    searchsorted=ordering.searchsorted,
    histogram=ordering.histogram,
)


def _shared_vjp(g: Node, y: Node, x: Node) -> Node:
    """The cotangent in equal shares to every element that equals the result; nan equals nan."""
    value = widened(y, y, x)
    hit = logical_or(eq(x, value), logical_and(isnan(x), isnan(value)))
    share = cast(hit, g.type.dtype)
    count = sum_(share, arg=(y.arg[0], True))
    return mul(share, expand(div(restore(g, y, x), count), x.type.shape))


# The median of everything, without a position: ties share its gradient.
median_value: Op = reduction(
    "median_value",
    "median_value({0}, {ignore_nan})",
    fields=("axes", "keep", "ignore_nan"),
    vjp=(_shared_vjp,),
    grad_name="Median",
    samples=lambda: [(((3, 4),), ((0, 1), False, False))],
)
nanmedian: Op = selection("nanmedian", "nanmedian({0}, {axes}[0], {keep})", "Nanmedian")


def _position_type(src: tuple, arg: tuple) -> TensorType:
    return src[1].type.with_dtype(int32 if arg[1] else int64)


# Operands: ascending rows and the values to place in them; both 1-d rows serve values of any shape.
searchsorted: Op = Op(
    "searchsorted",
    "searchsorted({0}, {1}, {right}, {narrow})",
    kind="opaque",
    fields=("right", "narrow"),
    infer=_position_type,
    samples=lambda: [
        (([0.5, 1.0, 2.5], (2, 3)), (False, False)),
        (([[0.5, 1.0], [-1.0, 0.0]], (2, 3)), (True, True)),
    ],
)


def _histogram_type(src: tuple, arg: tuple) -> TensorType:
    return src[0].type.with_shape((arg[0],))


histogram: Op = Op(
    "histogram",
    "histogram({0}, {bins}, {low}, {high})",
    kind="opaque",
    raising="always",
    fields=("bins", "low", "high"),
    infer=_histogram_type,
    samples=lambda: [(((7,),), (4, -2.0, 2.0)), (((0,),), (2, 0.0, 1.0))],
)

__all__: list[Any] = ["histogram", "median_value", "nanmedian", "searchsorted"]
