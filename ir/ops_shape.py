"""Views, copies, concatenation, and the writes that keep the graph pure.

A view shares its operand's memory and costs nothing. `slice` and `as_strided` take their starts as
operands: run-time integers, so that batches cut from a data set are one program. A write never
happens: `strided_update(base, value, offset)` is a new value of the whole base, and the memory
planner turns it into a write when nothing else reads the old one.

Strides are in elements of the row-major layout of the operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import promote
from .node import Node
from .opdef import Op, provide
from .ops_constant import full, zeros_like
from .types import TensorType


class Partial:
    """A cotangent that reaches only a strided window of its operand (the vjp of a slice).

    Many of them for one operand are added into one buffer by `strided_add` instead of being padded
    with zeros and summed.
    """

    __slots__ = ("g", "offset", "sizes", "strides")

    def __init__(self, g: Node, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...]):
        self.g = g
        self.offset = offset
        self.sizes = sizes
        self.strides = strides


def view(name: str, numpy: str, **more: Any) -> Op:
    """A primitive of kind "view": its result shows the memory of its operand."""
    return Op(name, numpy, kind="view", **more)


def _as_is(src: tuple, arg: tuple) -> TensorType:
    return src[0].type


# --- identities with a meaning for autograd -------------------------------------------------------

_ONE_SAMPLE = lambda: [(((2, 3),), ())]

alias: Op = view(
    "alias",
    "{0}",
    infer=_as_is,
    vjp=(lambda g, y, x: g,),
    grad_name="Alias",
    samples=_ONE_SAMPLE,
)
stop: Op = view("stop", "{0}", infer=_as_is, vjp=None, samples=_ONE_SAMPLE)
replaced: Op = view(
    "replaced",
    "{1}",
    infer=lambda src, arg: src[1].type,
    vjp=(lambda g, y, old, value: g, None),
    grad_name="Alias",
    samples=lambda: [(((2, 3), (2, 3)), ())],
)

# --- views ----------------------------------------------------------------------------------------

reshape_: Op = view(
    "reshape",
    "{0}.reshape({shape})",
    fields=("to",),
    infer=lambda src, arg: src[0].type.with_shape(arg[0]),
    vjp=(lambda g, y, x: reshape(g, x.type.shape),),
    grad_name="View",
    samples=lambda: [(((2, 6),), ((3, 4),)), (((1, 1),), ((),)), (((0, 3),), ((2, 0),))],
)
permute_: Op = view(
    "permute",
    "{0}.transpose({order})",
    fields=("order",),
    infer=lambda src, arg: src[0].type.with_shape(tuple(src[0].type.shape[i] for i in arg[0])),
    vjp=(lambda g, y, x: permute(g, inverse(y.arg[0])),),
    samples=lambda: [(((2, 3, 4),), ((2, 0, 1),)), (((),), ((),)), (((0, 2),), ((1, 0),))],
)
expand_: Op = view(
    "expand",
    "np.broadcast_to({0}, {shape})",
    fields=("to",),
    infer=lambda src, arg: src[0].type.with_shape(arg[0]),
    # The differentiator sums a cotangent down to its operand's shape.
    vjp=(lambda g, y, x: g,),
    samples=lambda: [(((3, 1),), ((2, 3, 4),)), (((),), ((2,),)), (((1, 2),), ((0, 2),))],
)


def _window_of(x: Node, starts: tuple, sizes: tuple, steps: tuple, g: Node) -> Partial:
    strides = x.type.strides
    offset = sum(s * k for s, k in zip(starts, strides))
    return Partial(g, offset, sizes, tuple(s * k for s, k in zip(steps, strides)))


def _slice_vjp(g: Node, y: Node, x: Node, *starts: Any) -> Partial:
    sizes, steps = y.arg
    return _window_of(x, starts, sizes, steps, g)


def _part_vjp(g: Node, y: Node, x: Node, *starts: Any) -> Partial:
    sizes, steps, _ = y.arg
    return _window_of(x, starts, sizes, steps, reshape(g, sizes))


slice_: Op = view(
    "slice",
    "window({0}, {rest}, {sizes}, {steps})",
    fields=("sizes", "steps"),
    infer=lambda src, arg: src[0].type.with_shape(arg[0]),
    vjp=(_slice_vjp,),
    runtime=True,
    samples=lambda: [
        (((5, 6), 1, 2), ((2, 2), (2, 3))),
        (((),), ((), ())),
        (((3, 2), 3, 0), ((0, 2), (1, 1))),
    ],
)
# A slice shown in another shape: what a subscript with integers and None among its slices reads.
part_: Op = view(
    "part",
    "window({0}, {rest}, {sizes}, {steps}).reshape({shape})",
    fields=("sizes", "steps", "to"),
    infer=lambda src, arg: src[0].type.with_shape(arg[2]),
    vjp=(_part_vjp,),
    runtime=True,
    grad_name="Select",
    samples=lambda: [(((5, 6), 1, 2), ((1, 2), (1, 3), (2, 1)))],
)


def _strided_vjp(g: Node, y: Node, x: Node, offset: Any) -> Partial:
    sizes, strides = y.arg
    return Partial(g, offset, sizes, strides)


as_strided_: Op = view(
    "as_strided",
    "strided({0}, {1}, {sizes}, {strides})",
    fields=("sizes", "strides"),
    infer=lambda src, arg: src[0].type.with_shape(arg[0]),
    vjp=(_strided_vjp, None),
    runtime=True,
    samples=lambda: [
        (((3, 4), 1), ((3, 2), (4, 2))),
        (((6,), 0), ((4, 3), (1, 1))),
        (((6,), 2), ((), ())),
        (((6,), 2), ((0, 2), (2, 1))),
    ],
)

# --- copies ---------------------------------------------------------------------------------------

copy: Op = Op(
    "copy",
    "copied({0}, out={out})",
    kind="copy",
    infer=_as_is,
    vjp=(lambda g, y, x: g,),
    grad_name="Clone",
    samples=lambda: [(((2, 3),), ())],
)
flip_: Op = Op(
    "flip",
    "np.flip({0}, {axes}).copy()",
    kind="opaque",
    fields=("axes",),
    infer=_as_is,
    vjp=(lambda g, y, x: flip_(g, arg=y.arg),),
    samples=lambda: [(((2, 3),), ((0, 1),)), (((),), ((),)), (((0, 3),), ((1,),))],
)


def _cat_type(src: tuple, arg: tuple) -> TensorType:
    axis = arg[0]
    shape = list(src[0].type.shape)
    dtype = src[0].type.dtype
    shape[axis] = 0
    for s in src:
        shape[axis] += s.type.shape[axis]
        dtype = promote(dtype, s.type.dtype)
    return TensorType.of(tuple(shape), dtype, src[0].type.device)


def _cat_vjp(i: int, g: Node, y: Node, *src: Any) -> Node:
    axis = y.arg[0]
    start = sum(s.type.shape[axis] for s in src[:i])
    return narrow(g, axis, start, src[i].type.shape[axis])


cat_: Op = Op(
    "cat",
    "np.concatenate({rest}, {axis}, out={out})",
    kind="opaque",
    fields=("axis",),
    infer=_cat_type,
    vjp=_cat_vjp,
    samples=lambda: [(((2, 3), (2, 1)), (1,)), (((2, 3), (0, 3), (1, 3)), (0,))],
)


def _pad_vjp(g: Node, y: Node, x: Node, number: Any) -> Node:
    widths, shape = y.arg[0], x.type.shape
    if any(a < 0 or b < 0 for a, b in widths):  # what was cropped away has no cotangent
        return pad_(g, 0.0, arg=(tuple((-a, -b) for a, b in widths),))
    return slice_(g, *(a for a, _ in widths), arg=(shape, (1,) * len(shape)))


pad_: Op = Op(
    "pad",
    "pad({0}, {1}, {widths})",
    kind="opaque",
    fields=("widths",),
    infer=lambda src, arg: src[0].type.with_shape(
        tuple(d + a + b for d, (a, b) in zip(src[0].type.shape, arg[0]))
    ),
    vjp=(_pad_vjp, None),
    grad_name="ConstantPadNd",
    samples=lambda: [
        (((2, 3), 0.5), (((1, 0), (0, 2)),)),
        (((3, 4), 0.0), (((-1, 1), (0, -2)),)),
        (((0, 2), 1.0), (((1, 0), (0, 0)),)),
    ],
)

# --- writes ---------------------------------------------------------------------------------------


def _update_base(g: Node, y: Node, base: Node, value: Node, offset: Any) -> Node:
    return strided_update_(g, zeros_like(value), offset, arg=y.arg)


def _update_value(g: Node, y: Node, base: Node, value: Node, offset: Any) -> Node:
    return as_strided_(g, offset, arg=y.arg)


strided_update_: Op = Op(
    "strided_update",
    "strided_update({0}, {1}, {2}, {sizes}, {strides}, out={out})",
    kind="update",
    fields=("sizes", "strides"),
    infer=_as_is,
    vjp=(_update_base, _update_value, None),
    runtime=True,
    grad_name="CopySlices",
    samples=lambda: [
        (((3, 4), (2, 2), 1), ((2, 2), (4, 2))),
        (((3, 4), (), 5), ((), ())),
        (((3, 4), (0, 2), 0), ((0, 2), (4, 1))),
    ],
)
strided_update_.grad_name = "CopySlices"  # PyTorch's one name without "Backward0"
strided_add_: Op = Op(
    "strided_add",
    "strided_add({0}, {1}, {2}, {sizes}, {strides}, out={out})",
    kind="update",
    fields=("sizes", "strides"),
    infer=_as_is,
    vjp=(lambda g, y, base, value, offset: g, _update_value, None),
    runtime=True,
    samples=lambda: [
        (((3, 4), (2, 2), 1), ((2, 2), (4, 2))),
        (((3, 4), (), 5), ((), ())),
        (((3, 4), (0, 2), 0), ((0, 2), (4, 1))),
    ],
)


# --- building them --------------------------------------------------------------------------------


def reshape(x: Node, shape: tuple[int, ...]) -> Node:
    """`x` in another shape of as many elements; `x` itself where it has it already."""
    return x if shape == x.type.shape else reshape_(x, arg=(shape,))


def permute(x: Node, order: tuple[int, ...]) -> Node:
    """The axes of `x` in another order; `x` itself where the order is theirs."""
    return x if order == tuple(range(len(order))) else permute_(x, arg=(order,))


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order that undoes a permutation."""
    back = [0] * len(order)
    for i, axis in enumerate(order):
        back[axis] = i
    return tuple(back)


def expand(x: Node, shape: tuple[int, ...]) -> Node:
    """`x` repeated along its axes of extent 1 (and new leading ones) up to `shape`."""
    return x if shape == x.type.shape else expand_(x, arg=(shape,))


def narrow(x: Node, axis: int, start: int, length: int) -> Node:
    """The window [start, start + length) of one axis."""
    shape = x.type.shape
    if start == 0 and length == shape[axis]:
        return x
    starts = [0] * len(shape)
    starts[axis] = start
    sizes = shape[:axis] + (length,) + shape[axis + 1 :]
    return slice_(x, *starts, arg=(sizes, (1,) * len(shape)))


def scatter_partial(into: Node | None, part: Partial, type: TensorType) -> Node:
    """Adds a partial cotangent into the full one (zeros where there is none yet)."""
    base = full(type.shape, 0, type.dtype, type.device) if into is None else into
    if into is None and not overlaps(part.sizes, part.strides):
        return strided_update_(base, part.g, part.offset, arg=(part.sizes, part.strides))
    return strided_add_(base, part.g, part.offset, arg=(part.sizes, part.strides))


def overlaps(sizes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether two index tuples may meet in one memory cell (conservative, as PyTorch's check)."""
    span = 0
    for stride, size in sorted((k, n) for n, k in zip(sizes, strides) if n != 1):
        if size == 0:
            return False
        if stride <= span:
            return True
        span += stride * (size - 1)
    return False


# --- the NumPy forms that are more than one call --------------------------------------------------


def window(x: np.ndarray, starts: list[int], sizes: tuple, steps: tuple) -> np.ndarray:
    """x[starts : starts + sizes * steps : steps] on every axis."""
    if not starts:
        return x  # indexed by () it would be no array
    return x[tuple([_span(a, n, k) for a, n, k in zip(starts, sizes, steps)])]


def _span(start: int, extent: int, step: int) -> slice:
    """The slice of `extent` elements; step: may be negative."""
    if not extent:
        return slice(0, 0)
    last = start + (extent - 1) * step
    return slice(start, last + 1 if step > 0 else last - 1 if last else None, step)


def strided(x: np.ndarray, offset: int, sizes: tuple, strides: tuple) -> np.ndarray:
    """The strided window of a row-major array, as a view of its memory."""
    if not x.flags.c_contiguous:
        x = np.ascontiguousarray(x)
    item = x.itemsize
    if 0 in sizes:
        return np.empty(sizes, x.dtype)
    return np.ndarray(sizes, x.dtype, x, offset * item, tuple([k * item for k in strides]))


def strided_update(
    x: np.ndarray,
    value: np.ndarray,
    offset: int,
    sizes: tuple,
    strides: tuple,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A copy of x (in `out`, which may be x itself) with the window replaced by `value`."""
    out = _own(x, out)
    strided(out, offset, sizes, strides)[...] = value
    return out


def strided_add(
    x: np.ndarray,
    value: np.ndarray,
    offset: int,
    sizes: tuple,
    strides: tuple,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Like `strided_update`, but adds; windows whose cells overlap accumulate."""
    out = _own(x, out)
    if overlaps(sizes, strides):
        cells = np.arange(out.size, dtype=np.int64).reshape(out.shape)
        index = strided(cells, offset, sizes, strides).reshape(-1)
        sums = np.bincount(
            index, weights=np.broadcast_to(value, sizes).reshape(-1), minlength=out.size
        )
        out += sums.reshape(out.shape).astype(out.dtype, copy=False)
    else:
        target = strided(out, offset, sizes, strides)
        np.add(target, value, out=target)
    return out


def _own(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    # Windows are cut from row-major memory: a buffer in another order cannot take the result.
    if out is None or not out.flags.c_contiguous:
        return np.array(x, order="C", copy=True)
    if out is not x:
        np.copyto(out, x)
    return out


def copied(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """A row-major copy of `x`."""
    if out is None:
        return np.array(x, order="C", copy=True)
    np.copyto(out, x)
    return out


def pad(x: np.ndarray, number, widths) -> np.ndarray:
    """`x` framed by `number`; negative widths crop."""
    shape = tuple([d + a + b for d, (a, b) in zip(x.shape, widths)])
    out = np.full(shape, number, x.dtype)
    inner, outer = [], []
    for d, (a, b) in zip(x.shape, widths):
        inner.append(slice(max(a, 0), d + a + min(b, 0) if b < 0 else d + a))
        outer.append(slice(max(-a, 0), d + min(b, 0)))
    out[tuple(inner)] = x[tuple(outer)]
    return out


provide(
    window=window,
    strided=strided,
    strided_update=strided_update,
    strided_add=strided_add,
    pad=pad,
    copied=copied,
)
