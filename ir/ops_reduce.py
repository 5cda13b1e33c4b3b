"""Reductions, and the nodes of several results.

`axes` is always a sorted tuple of non-negative axes; `keep` says whether they stay with extent 1.
Sums accumulate pairwise or in wider arithmetic (numerics.reduce), variance runs in two passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .dtypes import bool_, int64
from .node import Node
from .numerics import reduce as forms
from .numerics import softmax as soft
from .opdef import Op, provide
from .ops_elementwise import (
    abs_,
    cast,
    div,
    eq,
    exp,
    full_like,
    mul,
    pow_,
    sign,
    sub,
    where,
    zeros_like,
)
from .ops_shape import expand, reshape
from .types import TensorType

provide(
    sum_=forms.sum,
    var=forms.var,
    std=forms.std,
    norm_p=forms.norm_p,
    amax=forms.amax,
    amin=forms.amin,
    argmax=forms.argmax,
    argmin=forms.argmin,
    max_with_index=forms.max_with_index,
    min_with_index=forms.min_with_index,
    logsumexp=soft.logsumexp,
    norm2=soft.norm2,
)


def reduced(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
    """The shape that is left of `shape` when `axes` are reduced."""
    if keep:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def _infer(src: tuple, arg: tuple) -> TensorType:
    return src[0].type.with_shape(reduced(src[0].type.shape, arg[0], arg[1]))


def _infer_index(src: tuple, arg: tuple) -> TensorType:
    return _infer(src, arg).with_dtype(int64)


def _infer_bool(src: tuple, arg: tuple) -> TensorType:
    return _infer(src, arg).with_dtype(bool_)


def restore(g: Node, y: Node, x: Node) -> Node:
    """The reduced `g` with its axes put back as extents of 1."""
    axes, keep = y.arg[0], y.arg[1]
    return g if keep else reshape(g, reduced(x.type.shape, axes, True))


def widened(g: Node, y: Node, x: Node) -> Node:
    """`g` spread over the shape of the operand."""
    return expand(restore(g, y, x), x.type.shape)


_REDUCE_SAMPLES = lambda: [
    (((3, 4),), ((0,), False)),
    (((2, 3, 4),), ((1, 2), True)),
    (((0, 3),), ((1,), False)),
    (((),), ((), False)),
]
_ONE_AXIS_SAMPLES = lambda: [(((3, 4),), ((0,), False)), (((2, 3, 4),), ((2,), True))]


def reduction(
    name: str, numpy: str, *, vjp: Any = None, infer: Callable = _infer, **more: Any
) -> Op:
    """A primitive of kind "reduce": over the axes of its first argument."""
    more.setdefault("samples", _REDUCE_SAMPLES)
    more.setdefault("fields", ("axes", "keep"))
    return Op(name, numpy, kind="reduce", vjp=vjp, infer=infer, **more)


sum_: Op = reduction(
    "sum",
    "sum_({0}, {axes}, {keep}, out={out})",
    vjp=(lambda g, y, x: widened(g, y, x),),
)


def count_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    count = 1
    for axis in axes:
        count *= shape[axis]
    return count


def _extreme_vjp(g: Node, y: Node, x: Node) -> Node:
    # amax and amin share the cotangent evenly among ties, as PyTorch does.
    hit = eq(x, widened(y, y, x))
    share = cast(hit, g.type.dtype)
    count = sum_(share, arg=(y.arg[0], True))
    return mul(share, expand(div(restore(g, y, x), count), x.type.shape))


def _whole_extreme_vjp(g: Node, y: Node, x: Node) -> Node:
    # max() and min() do too, but give 0 to all other elements, whatever the share is.
    hit = eq(x, widened(y, y, x))
    count = sum_(cast(hit, g.type.dtype), arg=(y.arg[0], True))
    return where(hit, expand(div(restore(g, y, x), count), x.type.shape), 0.0)


_WHOLE_SAMPLES = lambda: [(((3, 4),), ((0, 1), False)), (((),), ((), False))]
amax: Op = reduction("amax", "amax({0}, {axes}, {keep}, out={out})", vjp=(_extreme_vjp,))
amin: Op = reduction("amin", "amin({0}, {axes}, {keep}, out={out})", vjp=(_extreme_vjp,))
amax_whole: Op = reduction(
    "amax_whole",
    "amax({0}, {axes}, {keep}, out={out})",
    vjp=(_whole_extreme_vjp,),
    samples=_WHOLE_SAMPLES,
)
amin_whole: Op = reduction(
    "amin_whole",
    "amin({0}, {axes}, {keep}, out={out})",
    vjp=(_whole_extreme_vjp,),
    samples=_WHOLE_SAMPLES,
)
all_: Op = reduction(
    "all", "np.logical_and.reduce({0}, {axes}, keepdims={keep}, out={out})", infer=_infer_bool
)
any_: Op = reduction(
    "any", "np.logical_or.reduce({0}, {axes}, keepdims={keep}, out={out})", infer=_infer_bool
)
argmax: Op = reduction(
    "argmax", "argmax({0}, {axes}[0], {keep})", infer=_infer_index, samples=_ONE_AXIS_SAMPLES
)
argmin: Op = reduction(
    "argmin", "argmin({0}, {axes}[0], {keep})", infer=_infer_index, samples=_ONE_AXIS_SAMPLES
)


def _var_vjp(g: Node, y: Node, x: Node) -> Node:
    axes, keep, correction = y.arg
    count = count_of(x.type.shape, axes)
    mean = expand(div(sum_(x, arg=(axes, True)), float(count)), x.type.shape)
    spread = widened(g, y, x)
    if count <= correction:
        # Nothing to divide by: as in PyTorch nan at the mean itself and infinite elsewhere.
        infinite = full_like(x, math.inf)
        return mul(spread, where(eq(x, mean), math.nan, infinite))
    return mul(mul(spread, 2.0 / (count - correction)), sub(x, mean))


def _std_vjp(g: Node, y: Node, x: Node) -> Node:
    halved = where(eq(y, 0.0), 0.0, div(g, mul(y, 2.0)))
    return _var_vjp(halved, y, x)


def _spread(name: str, numpy: str, vjp: Any, whole: bool = False) -> Op:
    some = [] if whole else [(((3, 4),), ((1,), False, 1))]
    return reduction(
        name,
        numpy,
        fields=("axes", "keep", "correction"),
        vjp=(vjp,),
        samples=lambda: [*some, (((3, 4),), ((0, 1), True, 0)), (((5,),), ((0,), False, 1))],
    )


var: Op = _spread("var", "var({0}, {axes}, {correction}, {keep})", _var_vjp)
std: Op = _spread("std", "std({0}, {axes}, {correction}, {keep})", _std_vjp)
# About the mean as it comes out in the dtype: how PyTorch's var and std of everything round.
var_whole: Op = _spread(
    "var_whole", "var({0}, {axes}, {correction}, {keep}, whole=True)", _var_vjp, whole=True
)
std_whole: Op = _spread(
    "std_whole", "std({0}, {axes}, {correction}, {keep}, whole=True)", _std_vjp, whole=True
)


def _norm_vjp(g: Node, y: Node, x: Node) -> Node:
    full_y = widened(y, y, x)
    scaled = mul(x, expand(div(restore(g, y, x), restore(y, y, x)), x.type.shape))
    return where(eq(full_y, 0.0), 0.0, scaled)


norm2: Op = reduction(
    "norm2",
    "norm2({0}, {axes}, {keep})",
    vjp=(_norm_vjp,),
    grad_name="LinalgVectorNorm",
)


def _norm_p_vjp(g: Node, y: Node, x: Node) -> Node:
    p = y.arg[2]
    size = abs_(x)
    if p < 1:
        scale = mul(g, pow_(y, 1.0 - p))
        slope = where(eq(x, 0.0), 0.0, mul(sign(x), pow_(size, p - 1.0)))
    else:
        scale = where(eq(y, 0.0), 0.0, div(g, pow_(y, p - 1.0)))
        slope = mul(sign(x), pow_(size, p - 1.0)) if p < 2 else mul(x, pow_(size, p - 2.0))
    return mul(slope, widened(scale, y, x))


# The p-norm for a finite p other than 0, 1 and 2, which have simpler forms.
norm_p: Op = reduction(
    "norm_p",
    "norm_p({0}, {axes}, {p}, {keep})",
    fields=("axes", "keep", "p"),
    vjp=(_norm_p_vjp,),
    grad_name="LinalgVectorNorm",
    samples=lambda: [(((3, 4),), ((1,), False, 3.0)), (((3, 4),), ((0, 1), True, 1.5))],
)
logsumexp: Op = reduction(
    "logsumexp",
    "logsumexp({0}, {axes}, {keep})",
    vjp=(lambda g, y, x: mul(widened(g, y, x), exp(sub(x, widened(_finite(y), y, x)))),),
)


def _finite(y: Node) -> Node:
    # A row of -inf has weight 0 everywhere, not nan.
    return where(eq(y, float("-inf")), 0.0, y)


# --- several results ------------------------------------------------------------------------------


def get(y: Node, index: int) -> Node:
    """One result of a node that has several; integer results carry no gradient."""
    piece = get_(y, arg=(index,))
    if not piece.type.dtype.is_floating_point:
        piece.grad = 0
    return piece


get_: Op = Op(
    "get",
    "{0}[{index}]",
    kind="view",
    fields=("index",),
    infer=lambda src, arg: src[0].type[arg[0]],
    vjp=(lambda g, y, x: g,),
    samples=list,  # its operand is a node of several results: their samples include it
)


several: Op = Op(
    "several",
    "tuple({rest})",
    kind="view",
    infer=lambda src, arg: tuple(s.type for s in src),
    vjp=None,
    results=2,
    samples=list,  # passes make it
)


def valued_pair(src: tuple, arg: tuple) -> tuple[TensorType, TensorType]:
    """The types of a reduction's values and of the positions they came from."""
    one = _infer(src, arg)
    return (one, one.with_dtype(int64))


def picks(g: Node, index: Node, axis: int, x: Node) -> Node:
    """Zeros like `x` with `g` at the positions `index` of `axis`."""
    from .ops_index import scatter_add

    return scatter_add(zeros_like(x), index, g, arg=(axis,))


def selected_vjp(g: Node, y: Node, x: Node) -> Node:
    """Each cotangent goes to the position that its value was selected from."""
    # `g` is the pair of cotangents; only the values carry one.
    axes, keep = y.arg[0], y.arg[1]
    axis = axes[0]
    index = get(y, 1)
    if not keep:
        kept = reduced(x.type.shape, axes, True)
        g, index = reshape(g, kept), reshape(index, kept)
    return picks(g, index, axis, x)


def selection(name: str, numpy: str, grad_name: str, **more: Any) -> Op:
    """A reduction of one axis whose results are a value and the position it came from."""
    return Op(
        name,
        numpy,
        kind="opaque",
        fields=("axes", "keep"),
        infer=valued_pair,
        vjp=(selected_vjp,),
        results=2,
        grad_name=grad_name,
        samples=lambda: [(((3, 4),), ((1,), False))],
        **more,
    )


max_with_index: Op = selection("max_with_index", "max_with_index({0}, {axes}[0], {keep})", "Max")
min_with_index: Op = selection("min_with_index", "min_with_index({0}, {axes}[0], {keep})", "Min")
