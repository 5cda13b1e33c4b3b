"""Gather and scatter: indices that are values.

Indices are int64 and already wrapped into [0, extent) by the NumPy form, which also checks them:
`bound` is "wrap" (indexing: negative counts from the end) or "strict" (gather, embedding: negative is
an error). An index out of range raises IndexError when it is computed.
"""

from __future__ import annotations

import numpy as np

from .numerics import scatter as forms
from .opdef import Op, provide
from .ops_elementwise import zeros_like
from .types import TensorType, broadcast_shapes


def _gather_type(src: tuple, arg: tuple) -> TensorType:
    return src[0].type.with_shape(src[1].type.shape)


gather = Op(
    "gather",
    "gather({0}, {1}, {axis})",
    kind="opaque",
    raising="always",
    fields=("axis",),
    infer=_gather_type,
    vjp=(lambda g, y, x, index: scatter_add(zeros_like(x), index, g, arg=y.arg), None),
)
scatter_add = Op(
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
)
scatter = Op(
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
)
scatter_reduce = Op(
    "scatter_reduce",
    "scatter_reduce({0}, {1}, {2}, {axis}, {how}, {include_self})",
    kind="opaque",
    raising="always",
    fields=("axis", "how", "include_self"),
    infer=lambda src, arg: src[0].type,
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


def _index_vjp(g, y, x, *indices):
    return index_put(zeros_like(x), g, *indices, arg=(y.arg[0], True))


# x[..., i, j, ...]: integer indices at `axes`, everything else whole. As in NumPy the indexed axes
# stay in place when they are adjacent and go to the front when they are not.
index = Op(
    "index",
    "index({0}, {rest}, {axes})",
    kind="opaque",
    raising="always",
    fields=("axes",),
    infer=_index_type,
    vjp=(_index_vjp,),
)


def _put_base(g, y, x, value, *indices):
    if y.arg[1]:
        return g
    return index_put(g, zeros_like(value), *indices, arg=y.arg)


def _put_value(g, y, x, value, *indices):
    return index(g, *indices, arg=(y.arg[0],))


# The value may broadcast against the indexed shape: the differentiator sums its cotangent down.
index_put = Op(
    "index_put",
    "index_put({0}, {1}, {rest}, {axes}, {accumulate}, out={out})",
    kind="update",
    raising="always",
    fields=("axes", "accumulate"),
    infer=lambda src, arg: src[0].type,
    vjp=(_put_base, _put_value),
)


# --- the NumPy forms ------------------------------------------------------------------------------


def gather_(x: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
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


def wrapped(at: np.ndarray, extent: int, axis: int) -> np.ndarray:
    """Negative indices counted from the end; IndexError in PyTorch's words beyond either end."""
    if not at.size:
        return at
    low, high = int(at.min()), int(at.max())
    if low < -extent or high >= extent:
        bad = high if high >= extent else low
        raise IndexError(
            f"index {bad} is out of bounds for dimension {axis} with size {extent}"
        )
    return np.where(at < 0, at + extent, at) if low < 0 else at


def _key(shape: tuple, indices: list, axes: tuple) -> tuple:
    key: list = [slice(None)] * len(shape)
    for axis, at in zip(axes, indices):
        key[axis] = wrapped(at, shape[axis], axis)
    return tuple(key)


def index_(x: np.ndarray, indices: list, axes: tuple) -> np.ndarray:
    if len(axes) == 1 and indices[0].ndim == 1:
        return x.take(wrapped(indices[0], x.shape[axes[0]], axes[0]), axes[0])
    return x[_key(x.shape, indices, axes)]


def index_put_(x, value, indices, axes, accumulate, out=None):
    key = _key(x.shape, indices, axes)
    if accumulate:
        return forms.index_put_accumulate(x, key, value, out)
    if out is None:
        out = np.array(x, order="C", copy=True)
    elif out is not x:
        np.copyto(out, x)
    out[key] = value
    return out


def scatter_add_(x, at, value, axis):
    check_strict(at, x.shape[axis] if x.ndim else 1, axis)
    window = tuple([slice(0, n) for n in at.shape])
    return forms.scatter_add(x, axis, at, value[window] if at.ndim else value)


def scatter_(x, at, value, axis):
    check_strict(at, x.shape[axis] if x.ndim else 1, axis)
    out = np.array(x, order="C", copy=True)
    if out.ndim == 0:
        out[...] = np.reshape(value, -1)[0] if at.size else out
        return out
    key = list(np.ogrid[tuple([slice(0, n) for n in at.shape])])
    key[axis] = at
    out[tuple(key)] = value[tuple([slice(0, n) for n in at.shape])]
    return out


def scatter_reduce_(x, at, value, axis, how, include_self):
    check_strict(at, x.shape[axis] if x.ndim else 1, axis)
    window = tuple([slice(0, n) for n in at.shape])
    return forms.scatter_reduce(x, axis, at, value[window], how, include_self)


provide(
    gather=gather_,
    index=index_,
    index_put=index_put_,
    scatter_add=scatter_add_,
    scatter=scatter_,
    scatter_reduce=scatter_reduce_,
)

