"""Weighted sums of a few elements along one axis, the same at every place: what resizing is.

`places` and `weights` (taps, extent of the result) say which elements make a result and how much
of each; `from_places` and `from_weights` say the same of the way back, which results an element is
part of. So the derivative is the operation itself with its tables exchanged, of any order, and
neither direction adds into places that collide.

    resample([2, 4], [[0, 0, 1], [0, 1, 1]], [[.5, .5, .5], [.5, .5, .5]], …)    [2, 3, 4]
"""

from __future__ import annotations

import numpy as np

from .node import Node
from .opdef import Op, provide
from .ops_elementwise import mul
from .ops_index import index
from .ops_reduce import sum_
from .ops_shape import expand, reshape
from .types import TensorType


def _resampled(src: tuple, arg: tuple) -> TensorType:
    x, axis = src[0].type, arg[0]
    return x.with_shape((*x.shape[:axis], src[1].type.shape[1], *x.shape[axis + 1 :]))


def _resample_vjp(
    g: Node, y: Node, x: Node, places: Node, weights: Node, back: Node, back_weights: Node
) -> Node:
    return resample(g, back, back_weights, places, weights, arg=y.arg)


def _weights_vjp(g: Node, y: Node, x: Node, places: Node, *tables: Node) -> Node:
    """What every tap contributed, summed over all that used it."""
    axis = y.arg[0]
    taken = index(x, places, arg=((axis,),))
    shape = taken.type.shape
    spread = expand(reshape(g, (*shape[:axis], 1, *shape[axis + 1 :])), shape)
    others = tuple(a for a in range(len(shape)) if a not in (axis, axis + 1))
    return sum_(mul(taken, spread), arg=(others, False))


# The result's 0 1 2 are 0.5 of 0 and 1, 0.25 of 1 and 0.75 of 2, and 3 alone.
_SAMPLE = (
    [[0, 1, 3], [1, 2, 3]],
    [[0.5, 0.25, 1.0], [0.5, 0.75, 0.0]],
    [[0, 0, 1, 2], [0, 1, 0, 0]],
    [[0.5, 0.5, 0.75, 1.0], [0.0, 0.25, 0.0, 0.0]],
)
resample: Op = Op(
    "resample",
    "resample({0}, {rest}, {axis})",
    kind="opaque",
    fields=("axis",),
    infer=_resampled,
    vjp=(_resample_vjp, None, _weights_vjp, None, None),
    runs_again=True,  # its tables are made anew
    samples=lambda: [(((4,), *_SAMPLE), (0,)), (((2, 4, 3), *_SAMPLE), (1,))],
)


def resample_(x: np.ndarray, tables: list[np.ndarray], axis: int) -> np.ndarray:
    """The sum over k of x[places[k]] * weights[k] along an axis."""
    places, weights = tables[:2]
    along = (1,) * axis + (-1,) + (1,) * (x.ndim - axis - 1)
    total = x.take(places[0], axis)
    if len(places) > 1 or not np.all(weights == 1):  # else elements as they are
        total *= weights[0].reshape(along)
    for at, weight in zip(places[1:], weights[1:]):
        total += x.take(at, axis) * weight.reshape(along)
    return total


provide(resample=resample_)
