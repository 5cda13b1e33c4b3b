"""Pooling: primitives that walk windows over the last dimensions, and their derivatives.

    values, winners = max_pool(x)       a winner is a place in its window (numerics/pool.py)
    max_pool_grad(g, winners)           g where the winners are: what x gets
    max_pool_gather(x, winners)         the winners' elements: the transpose of that
    max_pool_positions(winners)         flat positions in a plane, for who asks for indices

Whatever reads a plane at winners needs to know the windows only, so a pool and all its derivatives
hand on places of 32 bits and no positions. Average pooling and its gradient are each other's
transposes.
"""

from __future__ import annotations

from .dtypes import int32, int64
from .node import Node
from .numerics import pool as forms
from .opdef import Op, provide
from .ops_reduce import get
from .types import TensorType

provide(
    max_pool=forms.max_pool,
    max_pool_values=forms.max_pool_values,
    max_pool_positions=forms.max_pool_positions,
    max_pool_grad=forms.max_pool_grad,
    max_pool_gather=forms.max_pool_gather,
    avg_pool=forms.avg_pool,
    avg_pool_grad=forms.avg_pool_grad,
)

_WINDOWS = ("kernel", "stride", "padding", "dilation")
_CASE = ((2, 3), (1, 2), (0, 1), (2, 1))

# --- maximum --------------------------------------------------------------------------------------


def _pool_type(src: tuple, arg: tuple) -> TensorType:
    x = src[0].type
    kernel, stride, padding, dilation, ceil = arg
    rank = len(kernel)
    spatial = forms.pool_output_size(x.shape[-rank:], kernel, stride, padding, dilation, ceil)
    return x.with_shape(x.shape[:-rank] + tuple(spatial))


def _max_pool_types(src: tuple, arg: tuple) -> tuple[TensorType, TensorType]:
    one = _pool_type(src, arg)
    return (one, one.with_dtype(int32))


def _planes(src: tuple, arg: tuple) -> TensorType:
    """The type of what pools to the first operand, whose spatial extents are the first argument."""
    pooled = src[0].type
    return pooled.with_shape(pooled.shape[: -len(arg[0])] + tuple(arg[0]))


def _spatial(x: Node, kernel: tuple) -> tuple[int, ...]:
    return x.type.shape[-len(kernel) :]


max_pool: Op = Op(
    "max_pool",
    "max_pool({0}, {kernel}, {stride}, {padding}, {dilation}, {ceil})",
    kind="opaque",
    fields=(*_WINDOWS, "ceil"),
    infer=_max_pool_types,
    vjp=(
        lambda g, y, x: max_pool_grad(
            g, get(y, 1), arg=(_spatial(x, y.arg[0]), *y.arg[: len(_WINDOWS)])
        ),
    ),
    also_saves=lambda n: (0,),
    results=2,
    grad_name="MaxPool2DWithIndices",
    samples=lambda: [
        (((2, 3, 6, 7),), (*_CASE, False)),
        (((2, 2, 7, 6),), ((2, 2), (2, 2), (0, 0), (1, 1), False)),
        (((1, 7, 6),), ((3, 2), (2, 1), (1, 1), (1, 1), True)),
        (((2, 9, 8),), ((5, 5), (1, 2), (2, 0), (1, 1), False)),
    ],
)
# Where no gradient will be asked for, nobody needs to know which element won.
max_pool_values: Op = Op(
    "max_pool_values",
    "max_pool_values({0}, {kernel}, {stride}, {padding}, {dilation}, {ceil})",
    kind="opaque",
    fields=(*_WINDOWS, "ceil"),
    infer=_pool_type,
    samples=lambda: [
        (((2, 3, 6, 7),), (*_CASE, False)),
        (((2, 9, 8),), ((5, 5), (1, 2), (2, 0), (1, 1), False)),
        (((2, 3, 20),), ((20,), (20,), (0,), (1,), False)),
    ],
)
max_pool_positions: Op = Op(
    "max_pool_positions",
    "max_pool_positions({0}, {spatial}, {kernel}, {stride}, {padding}, {dilation})",
    kind="opaque",
    fields=("spatial", *_WINDOWS),
    infer=lambda src, arg: src[0].type.with_dtype(int64),
    samples=lambda: [(([[[0, 1, 3], [2, 3, 0]]],), ((3, 7), (2, 2), (1, 2), (0, 0), (1, 1)))],
)
max_pool_grad: Op = Op(
    "max_pool_grad",
    "max_pool_grad({0}, {1}, {spatial}, {kernel}, {stride}, {padding}, {dilation})",
    kind="opaque",
    fields=("spatial", *_WINDOWS),
    infer=_planes,
    vjp=(lambda g, y, x, winners: max_pool_gather(g, winners, arg=y.arg[1:]), None),
    grad_name="MaxPool2DWithIndicesBackward",
    samples=lambda: [
        (
            ((1, 2, 1, 3), [[[[0, 1, 3]], [[2, 3, 0]]]]),
            ((2, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
        ),
        (
            ((1, 2, 1, 3), [[[[0, 1, 3]], [[2, 3, 0]]]]),
            ((3, 7), (2, 2), (2, 2), (0, 0), (1, 1)),
        ),
        # The first element is padding; places 3 and 7 of a footprint of 4 are beyond the kernel.
        (((2, 3), [[1, 2, 0], [2, 0, 1]]), ((6,), (3,), (2,), (1,), (1,))),
        (((2, 4), [[3, 4, 0, 1], [2, 4, 4, 1]]), ((8,), (5,), (1,), (0,), (1,))),
        (
            ((1, 3, 3), [[[0, 7, 24], [6, 0, 24], [0, 20, 9]]]),
            ((7, 7), (5, 5), (1, 1), (0, 0), (1, 1)),
        ),
    ],
)
max_pool_gather: Op = Op(
    "max_pool_gather",
    "max_pool_gather({0}, {1}, {kernel}, {stride}, {padding}, {dilation})",
    kind="opaque",
    fields=_WINDOWS,
    infer=lambda src, arg: src[1].type.with_dtype(src[0].type.dtype),
    vjp=(
        lambda g, y, x, winners: max_pool_grad(g, winners, arg=(_spatial(x, y.arg[0]), *y.arg)),
        None,
    ),
    grad_name="MaxPool2DWithIndicesBackwardBackward",
    samples=lambda: [
        (
            ((1, 2, 2, 4), [[[[0, 1, 3]], [[2, 3, 0]]]]),
            ((2, 2), (1, 1), (0, 0), (1, 1)),
        )
    ],
)

# --- average --------------------------------------------------------------------------------------

_AVERAGE = ("kernel", "stride", "padding", "ceil", "include_pad", "divisor")


def _avg_type(src: tuple, arg: tuple) -> TensorType:
    kernel, stride, padding, ceil = arg[:4]
    return _pool_type(src, (kernel, stride, padding, (1,) * len(kernel), ceil))


avg_pool: Op = Op(
    "avg_pool",
    "avg_pool({0}, {kernel}, {stride}, {padding}, {ceil}, {include_pad}, {divisor})",
    kind="opaque",
    fields=_AVERAGE,
    infer=_avg_type,
    vjp=(lambda g, y, x: avg_pool_grad(g, arg=(_spatial(x, y.arg[0]), *y.arg)),),
    grad_name="AvgPool2D",
    samples=lambda: [
        (((2, 3, 6, 7),), ((2, 3), (2, 2), (1, 1), True, False, None)),
        (((2, 6, 5),), ((3, 2), (2, 2), (1, 0), True, True, None)),
        (((2, 9, 8),), ((5, 5), (1, 2), (2, 0), False, False, None)),
        (((2, 3, 20),), ((20,), (20,), (0,), False, True, None)),
    ],
)
avg_pool_grad: Op = Op(
    "avg_pool_grad",
    "avg_pool_grad({0}, {spatial}, {kernel}, {stride}, {padding}, {ceil}, {include_pad}, "
    "{divisor})",
    kind="opaque",
    fields=("spatial", *_AVERAGE),
    infer=_planes,
    vjp=(lambda g, y, x: avg_pool(g, arg=y.arg[1:]),),
    grad_name="AvgPool2DBackward",
    samples=lambda: [
        (((2, 3, 4, 4),), ((6, 7), (2, 3), (2, 2), (1, 1), True, False, None)),
        (((2, 3, 2),), ((5,), (3,), (2,), (0,), False, True, 4)),
        (((2, 2, 2),), ((4, 5), (2, 2), (2, 2), (0, 0), False, True, None)),
        (((2, 9, 2),), ((9, 8), (5, 5), (1, 2), (2, 0), False, True, None)),
        (((2, 6),), ((20,), (15,), (1,), (0,), False, True, None)),
    ],
)
