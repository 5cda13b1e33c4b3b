"""Gather and scatter: indices that are values.

Indices are int64 and already wrapped into [0, extent) by the NumPy form, which also checks them:
`bound` is "wrap" (indexing: negative counts from the end) or "strict" (gather, embedding: negative
is an error). An index out of range raises IndexError when it is computed.
"""

from __future__ import annotations

import numpy as np

from .node import Node
from .numerics import scatter as forms
from .opdef import Op, provide
from .ops_elementwise import (
    cast,
    clamp_min,
    div,
    eq,
    full,
    logical_and,
    mul,
    where,
    zeros_like,
)
from .types import TensorType, broadcast_shapes


def _gather_type(src: tuple, arg: tuple) -> TensorType:
    return src[0].type.with_shape(src[1].type.shape)


gather: Op = Op(
    "gather",
    "gather({0}, {1}, {axis})",
    kind="opaque",
    raising="always",
    fields=("axis",),
    infer=_gather_type,
    vjp=(lambda g, y, x, index: scatter_add(zeros_like(x), index, g, arg=y.arg), None),
    also_saves=lambda n: (0,),
    samples=lambda: [
        (((3, 4), [[0, 3], [1, 1]]), (1,)),
        (((3, 4), [[2, 0, 2, 1], [2, 2, 0, 0]]), (0,)),
    ],
)
scatter_add: Op = Op(
    "scatter_add",
    "scatter_add({0}, {1}, {2}, {axis})",
    kind="opaque",
    raising="always",
    fields=("axis",),
    infer=lambda src, arg: src[0].type,
    vjp=(
        lambda g, y, x, index, value: g,
        None,
        lambda g, y, x, index, value: gather(g, index, arg=y.arg),
    ),
    samples=lambda: [
        (((3, 4), [[0, 3], [1, 1]], (2, 2)), (1,)),
        (((3, 4), [[2, 0, 2, 1]], (1, 4)), (0,)),
    ],
)
scatter: Op = Op(
    "scatter",
    "scatter({0}, {1}, {2}, {axis})",
    kind="opaque",
    raising="always",
    fields=("axis",),
    infer=lambda src, arg: src[0].type,
    vjp=(
        lambda g, y, x, index, value: scatter(g, index, zeros_like(value), arg=y.arg),
        None,
        lambda g, y, x, index, value: gather(g, index, arg=y.arg),
    ),
    samples=lambda: [
        (((3, 4), [[0, 3], [1, 2]], (2, 2)), (1,)),
        (((3, 4), [[2, 0, 2, 1]], (1, 4)), (0,)),
    ],
)


# Indices as they are, for operations that wrap negative ones where these are to be refused: for an
# axis of {1} elements.
index_checked: Op = Op(
    "index_checked",
    "index_checked({0}, {1}, {axis})",
    kind="opaque",
    raising="always",
    fields=("axis",),
    infer=lambda src, arg: src[0].type,
    samples=lambda: [(([1, 3, 2], 4), (0,))],
)


def _untouched(g: Node, at: Node, axis: int, include_self: bool) -> Node:
    """The cotangent of what stood there before: none where a place receives something anew."""
    if include_self:
        return g
    nothing = full(at.type.shape, 0, g.type.dtype, g.type.device)
    return scatter(g, at, nothing, arg=(axis,))


def _shares(g: Node, y: Node, x: Node, at: Node, value: Node) -> tuple[Node, Node, Node]:
    """For extremes: `g` divided among the equal ones that made each result, and which those are."""
    axis = y.arg[0]
    own = cast(eq(x, y), g.type.dtype)
    sent = cast(eq(value, gather(y, at, arg=(axis,))), g.type.dtype)
    count = scatter_add(own, at, sent, arg=(axis,))
    return div(g, count), own, sent


def _counted(g: Node, y: Node, at: Node) -> Node:
    """For the mean: `g` divided by how many elements made each result."""
    axis, _, include_self = y.arg
    ones = full(at.type.shape, 1, g.type.dtype, g.type.device)
    own = full(g.type.shape, int(include_self), g.type.dtype, g.type.device)
    count = scatter_add(own, at, ones, arg=(axis,))
    return div(g, clamp_min(count, 1.0))


def _reduce_base(g: Node, y: Node, x: Node, at: Node, value: Node) -> Node:
    axis, how, include_self = y.arg
    if how == "sum":
        base = g
    elif how == "mean":
        base = _counted(g, y, at)
    elif how == "prod":
        whole = where(eq(x, 0.0), 1.0, x)
        others = scatter_reduce(whole, at, value, arg=y.arg)
        base = div(mul(g, others), whole)
    else:
        # What stood there takes its share also where it does not count, as in PyTorch.
        share, own, _ = _shares(g, y, x, at, value)
        base = mul(share, own)
    return _untouched(base, at, axis, include_self)


def _reduce_value(g: Node, y: Node, x: Node, at: Node, value: Node) -> Node:
    axis, how, _ = y.arg
    if how == "sum":
        return gather(g, at, arg=(axis,))
    if how == "mean":
        return gather(_counted(g, y, at), at, arg=(axis,))
    if how == "prod":
        # Where one zero came alone, its cotangent is the product of all the others.
        zero = cast(eq(value, 0.0), g.type.dtype)
        zeros = gather(scatter_add(zeros_like(x), at, zero, arg=(axis,)), at, arg=(axis,))
        alone = logical_and(eq(value, 0.0), eq(zeros, 1.0))
        others = scatter_reduce(x, at, where(alone, 1.0, value), arg=y.arg)
        whole = where(eq(value, 0.0), 1.0, value)
        rest = where(eq(value, 0.0), 0.0, div(gather(mul(g, y), at, arg=(axis,)), whole))
        return where(alone, gather(mul(g, others), at, arg=(axis,)), rest)
    share, _, sent = _shares(g, y, x, at, value)
    return mul(gather(share, at, arg=(axis,)), sent)


scatter_reduce: Op = Op(
    "scatter_reduce",
    "scatter_reduce({0}, {1}, {2}, {axis}, {how}, {include_self})",
    kind="opaque",
    raising="always",
    fields=("axis", "how", "include_self"),
    infer=lambda src, arg: src[0].type,
    vjp=(_reduce_base, None, _reduce_value),
    samples=lambda: [
        (((3, 4), [[0, 3], [1, 1]], (2, 2)), (1, how, self_too))
        for how, self_too in (
            ("sum", True),
            ("prod", False),
            ("mean", True),
            ("amax", False),
            ("amin", True),
        )
    ],
    also_saves=lambda n: (0, 2, -1),
)


def _index_type(src: tuple, arg: tuple) -> TensorType:
    x = src[0].type
    (axes,) = arg[:1]
    lead: tuple[int, ...] = ()
    for i in src[1:]:
        lead = broadcast_shapes(lead, i.type.shape)
    first = axes[0]
    if axes != tuple(range(first, first + len(axes))):
        rest = tuple(d for a, d in enumerate(x.shape) if a not in axes)
        return x.with_shape(lead + rest)
    return x.with_shape(x.shape[:first] + lead + x.shape[first + len(axes) :])


def _index_vjp(g: Node, y: Node, x: Node, *indices: Node) -> Node:
    return index_put(zeros_like(x), g, *indices, arg=(y.arg[0], True))


# x[..., i, j, ...]: integer indices at `axes`, everything else whole. As in NumPy the indexed axes
# stay in place when they are adjacent and go to the front when they are not.
index: Op = Op(
    "index",
    "index({0}, {rest}, {axes})",
    kind="opaque",
    raising="always",
    fields=("axes",),
    infer=_index_type,
    vjp=(_index_vjp,),
    samples=lambda: [
        (((3, 4), [0, -1, 0]), ((0,),)),
        (((3, 4), [[0, 2]], [[1], [-1]]), ((0, 1),)),
        (((2, 3, 4), [0, 1], [1, 3]), ((0, 2),)),
    ],
)


def _put_base(g: Node, y: Node, x: Node, value: Node, *indices: Node) -> Node:
    if y.arg[1]:
        return g
    return index_put(g, zeros_like(value), *indices, arg=y.arg)


def _put_value(g: Node, y: Node, x: Node, value: Node, *indices: Node) -> Node:
    return index(g, *indices, arg=(y.arg[0],))


# The value may broadcast against the indexed shape: the differentiator sums its cotangent down.
index_put: Op = Op(
    "index_put",
    "index_put({0}, {1}, {rest}, {axes}, {accumulate}, out={out})",
    kind="update",
    raising="always",
    fields=("axes", "accumulate"),
    infer=lambda src, arg: src[0].type,
    vjp=(_put_base, _put_value),
    samples=lambda: [
        (((3, 4), (2, 4), [0, -1]), ((0,), False)),
        (((3, 4), (2, 2), [[0, 2]], [[1], [-1]]), ((0, 1), True)),
        (((3, 4), (1, 4), [1, 1, 2]), ((0,), True)),
        (((2, 3, 4), (2, 3), [0, 1], [1, 3]), ((0, 2), True)),
    ],
)


# --- the NumPy forms ------------------------------------------------------------------------------


def gather_(x: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """x[i, at[i, j]] for axis 1, and so on; IndexError where an index is out of range."""
    check_strict(at, x.shape[axis] if x.ndim else 1, axis)
    if x.ndim == 0:
        return np.broadcast_to(x, at.shape).copy()
    window = tuple([slice(0, n) if a != axis else slice(None) for a, n in enumerate(at.shape)])
    return np.take_along_axis(x[window], at, axis)


def check_strict(at: np.ndarray, extent: int, axis: int) -> None:
    """Raises where an index is negative or past the end."""
    if at.size and (int(at.min()) < 0 or int(at.max()) >= extent):
        bad = at[(at < 0) | (at >= extent)].flat[0]
        raise IndexError(
            f"index {int(bad)} is out of bounds for dimension {axis} with size {extent}"
        )


def index_checked_(at: np.ndarray, extent: int, axis: int) -> np.ndarray:
    """A copy of `at`; IndexError where an index is negative or past the end."""
    check_strict(at, extent, axis)
    return at.copy()


def wrapped(at: np.ndarray, extent: int, axis: int) -> np.ndarray:
    """Negative indices counted from the end; IndexError in PyTorch's words beyond either end."""
    if not at.size:
        return at
    low, high = int(at.min()), int(at.max())
    if low < -extent or high >= extent:
        bad = int(at[(at < -extent) | (at >= extent)].flat[0])
        raise IndexError(f"index {bad} is out of bounds for dimension {axis} with size {extent}")
    return np.where(at < 0, at + extent, at) if low < 0 else at


def _key(shape: tuple, indices: list, axes: tuple) -> tuple:
    key: list = [slice(None)] * len(shape)
    for number, (axis, at) in enumerate(zip(axes, indices)):
        key[axis] = wrapped(at, shape[axis], number)
    return tuple(key)


def index_(x: np.ndarray, indices: list, axes: tuple) -> np.ndarray:
    """x[..., i, j, ...] with index arrays at `axes`; IndexError where one is out of range."""
    if len(axes) == 1 and indices[0].ndim == 1:
        return x.take(wrapped(indices[0], x.shape[axes[0]], 0), axes[0])
    return x[_key(x.shape, indices, axes)]


def index_put_(
    x: np.ndarray,
    value: np.ndarray,
    indices: list,
    axes: tuple,
    accumulate: bool,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A copy of `x` (in `out`, which may be `x`) with `value` at the index arrays."""
    key = _key(x.shape, indices, axes)
    if accumulate:
        return forms.index_put_accumulate(x, key, value, out)
    if out is None:
        out = np.array(x, order="C", copy=True)
    elif out is not x:
        np.copyto(out, x)
    out[key] = value
    return out


def scatter_add_(x: np.ndarray, at: np.ndarray, value: np.ndarray, axis: int) -> np.ndarray:
    """A copy of `x` with value[i, j] added at [i, at[i, j]] for axis 1, and so on."""
    check_strict(at, x.shape[axis] if x.ndim else 1, axis)
    window = tuple([slice(0, n) for n in at.shape])
    return forms.scatter_add(x, axis, at, value[window] if at.ndim else value)


def scatter_(x: np.ndarray, at: np.ndarray, value: np.ndarray, axis: int) -> np.ndarray:
    """A copy of `x` with value[i, j] at [i, at[i, j]] for axis 1, and so on."""
    check_strict(at, x.shape[axis] if x.ndim else 1, axis)
    out = np.array(x, order="C", copy=True)
    if out.ndim == 0:
        out[...] = np.reshape(value, -1)[0] if at.size else out
        return out
    key = list(np.ogrid[tuple([slice(0, n) for n in at.shape])])
    key[axis] = at
    out[tuple(key)] = value[tuple([slice(0, n) for n in at.shape])]
    return out


def scatter_reduce_(
    x: np.ndarray, at: np.ndarray, value: np.ndarray, axis: int, how: str, include_self: bool
) -> np.ndarray:
    """A copy of `x` combined (`how`) with what `value` sends to each place."""
    check_strict(at, x.shape[axis] if x.ndim else 1, axis)
    window = tuple([slice(0, n) for n in at.shape])
    return forms.scatter_reduce(x, axis, at, value[window], how, include_self)


provide(
    gather=gather_,
    index_checked=index_checked_,
    index=index_,
    index_put=index_put_,
    scatter_add=scatter_add_,
    scatter=scatter_,
    scatter_reduce=scatter_reduce_,
)
