"""Order and counting: sorts, medians, positions in sorted sequences, histograms."""

from __future__ import annotations

from .dtypes import int32, int64
from .node import Node
from .numerics import sort as ordering
from .opdef import Op, provide
from .ops_elementwise import cast, div, eq, isnan, logical_and, logical_or, mul
from .ops_reduce import (
    get,
    picks,
    reduction,
    restore,
    selected_vjp,
    selection,
    sum_,
    valued_pair,
    widened,
)
from .ops_shape import expand
from .types import TensorType

provide(
    sort=ordering.sort,
    topk=ordering.topk,
    kthvalue=ordering.kthvalue,
    median=ordering.median,
    mode=ordering.mode,
    median_value=ordering.median_value,
    nanmedian=lambda x, axis, keep: ordering.median(x, axis, keep, True),
    searchsorted=ordering.searchsorted,
    histogram=ordering.histogram,
)


def sorted_pair(src: tuple, arg: tuple) -> tuple[TensorType, TensorType]:
    """The operand's type, and that of a position for each of its elements."""
    return (src[0].type, src[0].type.with_dtype(int64))


def sorted_vjp(g: Node, y: Node, x: Node) -> Node:
    """Each cotangent goes to the position that its value came from."""
    return picks(g, get(y, 1), y.arg[0], x)


sort: Op = Op(
    "sort",
    "sort({0}, {axis}, {descending})",
    kind="opaque",
    fields=("axis", "descending"),
    infer=sorted_pair,
    vjp=(sorted_vjp,),
    results=2,
    samples=lambda: [(((3, 4),), (1, True))],
)


def _topk_pair(src: tuple, arg: tuple) -> tuple[TensorType, TensorType]:
    axis, k = arg[0], arg[1]
    shape = src[0].type.shape
    one = src[0].type.with_shape(shape[:axis] + (k,) + shape[axis + 1 :])
    return (one, one.with_dtype(int64))


topk: Op = Op(
    "topk",
    "topk({0}, {k}, {axis}, {largest})",
    kind="opaque",
    fields=("axis", "k", "largest"),
    infer=_topk_pair,
    vjp=(sorted_vjp,),
    results=2,
    samples=lambda: [(((3, 5),), (1, 2, True))],
)

# --- the element at one place of the order --------------------------------------------------------

median: Op = selection("median", "median({0}, {axes}[0], {keep})", "Median")
mode: Op = selection("mode", "mode({0}, {axes}[0], {keep})", "Mode")
kthvalue: Op = Op(
    "kthvalue",
    "kthvalue({0}, {k}, {axes}[0], {keep})",
    kind="opaque",
    fields=("axes", "keep", "k"),
    infer=valued_pair,
    vjp=(selected_vjp,),
    results=2,
    samples=lambda: [(((3, 4),), ((1,), False, 2))],
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

# --- places in an order ---------------------------------------------------------------------------


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
