"""Rearrangements that need memory of their own: tiles, rolls, triangles.

Each is one NumPy call; the vjp is the same rearrangement the other way round. `flip`, `cat` and
`pad` stand in `ops_shape`. `affine_pick` is what passes write windows out with, and has no vjp.
"""

from __future__ import annotations

from .node import Node
from .numerics.select import affine_pick
from .opdef import Op, provide
from .ops_shape import reshape
from .types import TensorType

provide(affine_pick=affine_pick)


def _as_is(src: tuple, arg: tuple) -> TensorType:
    return src[0].type


def _tile_type(src: tuple, arg: tuple) -> TensorType:
    shape, reps = src[0].type.shape, arg[0]
    shape = (1,) * (len(reps) - len(shape)) + shape
    return src[0].type.with_shape(tuple(n * r for n, r in zip(shape, reps)))


def _tile_vjp(g: Node, y: Node, x: Node) -> Node:
    from .ops_reduce import sum_

    reps = y.arg[0]
    shape = (1,) * (len(reps) - len(x.type.shape)) + x.type.shape
    split = tuple(k for n, r in zip(shape, reps) for k in (r, n))
    total = sum_(reshape(g, split), arg=(tuple(range(0, 2 * len(reps), 2)), False))
    return reshape(total, x.type.shape)


# As many repetitions as the result has dimensions.
tile_: Op = Op(
    "tile",
    "np.tile({0}, {reps})",
    kind="opaque",
    fields=("reps",),
    infer=_tile_type,
    vjp=(_tile_vjp,),
    grad_name="Repeat",
    samples=lambda: [(((2, 3),), ((2, 2),)), (((3,),), ((2, 1),))],
)


def _repeat_type(src: tuple, arg: tuple) -> TensorType:
    times, axis = arg
    shape = src[0].type.shape
    return src[0].type.with_shape(shape[:axis] + (shape[axis] * times,) + shape[axis + 1 :])


def _repeat_vjp(g: Node, y: Node, x: Node) -> Node:
    from .ops_reduce import sum_

    times, axis = y.arg
    shape = x.type.shape
    split = shape[: axis + 1] + (times,) + shape[axis + 1 :]
    return sum_(reshape(g, split), arg=((axis + 1,), False))


repeat_each_: Op = Op(
    "repeat_each",
    "np.repeat({0}, {times}, {axis})",
    kind="opaque",
    fields=("times", "axis"),
    infer=_repeat_type,
    vjp=(_repeat_vjp,),
    grad_name="RepeatInterleave",
    samples=lambda: [(((2, 3),), (2, 1))],
)
roll_: Op = Op(
    "roll",
    "np.roll({0}, {shifts}, {axes})",
    kind="opaque",
    fields=("shifts", "axes"),
    infer=_as_is,
    vjp=(lambda g, y, x: roll_(g, arg=(tuple(-s for s in y.arg[0]), y.arg[1])),),
    samples=lambda: [(((2, 3),), ((1, -1), (0, 1)))],
)
tril_: Op = Op(
    "tril",
    "np.tril({0}, {diagonal})",
    kind="opaque",
    fields=("diagonal",),
    infer=_as_is,
    vjp=(lambda g, y, x: tril_(g, arg=y.arg),),
    samples=lambda: [(((3, 4),), (1,))],
)
triu_: Op = Op(
    "triu",
    "np.triu({0}, {diagonal})",
    kind="opaque",
    fields=("diagonal",),
    infer=_as_is,
    vjp=(lambda g, y, x: triu_(g, arg=y.arg),),
    samples=lambda: [(((3, 4),), (-1,))],
)
# places: for every axis of the operand its place at the first element of the result, and pairs of
# a dimension of the result and the step along it. The number stands where there is no such element.
affine_pick_: Op = Op(
    "affine_pick",
    "affine_pick({0}, {1}, {extents}, {places})",
    kind="opaque",
    fields=("extents", "places"),
    infer=lambda src, arg: src[0].type.with_shape(arg[0]),
    samples=lambda: [
        (((5,), 0.5), ((4,), ((-1, ((0, 2),)),))),
        (((3, 4), 0.0), ((3, 2, 3), ((0, ((0, 1),)), (3, ((1, -1), (2, 1)))))),
        (((2, 3), 0.0), ((2, 2), ((1, ()), (1, ((0, 1),))))),
    ],
)
