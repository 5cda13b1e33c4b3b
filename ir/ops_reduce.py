"""Reductions, scans, sorts and the softmax family.

`axes` is always a sorted tuple of non-negative axes; `keep` says whether they stay with extent 1.
Sums accumulate pairwise or in wider arithmetic (numerics.reduce), variance runs in two passes.
"""

from __future__ import annotations

import math
from typing import Any

from .dtypes import bool_, int64
from .node import Node
from .numerics import reduce as forms
from .numerics import softmax as soft
from .numerics import sort as ordering
from .opdef import Op, provide
from .ops_elementwise import (
    abs_,
    add,
    cast,
    eq,
    exp,
    full,
    gt,
    log,
    lt,
    mul,
    pow_,
    sign,
    sub,
    where,
    zeros_like,
)
from .ops_shape import expand, flip_, narrow, reshape
from .types import TensorType

provide(
    sum_=forms.sum,
    prod=forms.prod,
    var=forms.var,
    std=forms.std,
    norm_p=forms.norm_p,
    logcumsumexp=forms.logcumsumexp,
    amax=forms.amax,
    amin=forms.amin,
    argmax=forms.argmax,
    argmin=forms.argmin,
    max_with_index=forms.max_with_index,
    min_with_index=forms.min_with_index,
    cumsum=forms.cumsum,
    cumprod=forms.cumprod,
    cummax=forms.cummax,
    cummin=forms.cummin,
    sort=ordering.sort,
    topk=ordering.topk,
    kthvalue=ordering.kthvalue,
    median=ordering.median,
    mode=ordering.mode,
    softmax=soft.softmax,
    log_softmax=soft.log_softmax,
    logsumexp=soft.logsumexp,
    norm2=soft.norm2,
)


def reduced(shape: tuple[int, ...], axes: tuple[int, ...], keep: bool) -> tuple[int, ...]:
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


_REDUCE_SAMPLES = lambda: [  # noqa: E731
    (((3, 4),), ((0,), False)),
    (((2, 3, 4),), ((1, 2), True)),
    (((0, 3),), ((1,), False)),
    (((),), ((), False)),
]
_ONE_AXIS_SAMPLES = lambda: [(((3, 4),), ((0,), False)), (((2, 3, 4),), ((2,), True))]  # noqa: E731


def reduction(name: str, numpy: str, *, vjp=None, infer=_infer, **more: Any) -> Op:
    more.setdefault("samples", _REDUCE_SAMPLES)
    more.setdefault("fields", ("axes", "keep"))
    return Op(name, numpy, kind="reduce", vjp=vjp, infer=infer, **more)


sum_: Op = reduction(
    "sum",
    "sum_({0}, {axes}, {keep}, out={out})",
    vjp=(lambda g, y, x: widened(g, y, x),),
)


def _prod_vjp(g, y, x):
    # Never divides: the product of the others is the product of both exclusive scans.
    axes = y.arg[0]
    shape = x.type.shape
    for axis in axes[::-1]:
        if shape[axis] == 0:
            return zeros_like(x)
    order = tuple(i for i in range(len(shape)) if i not in axes) + axes
    from .ops_shape import inverse, permute

    moved = permute(x, order)
    lead = tuple(shape[i] for i in order[: len(shape) - len(axes)])
    flat = reshape(moved, lead + (_count(shape, axes),))
    others = mul(exclusive_prod(flat, False), exclusive_prod(flat, True))
    others = permute(reshape(others, moved.type.shape), inverse(order))
    return mul(widened(g, y, x), others)


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    count = 1
    for axis in axes:
        count *= shape[axis]
    return count


def exclusive_prod(x: Node, backwards: bool) -> Node:
    """Products of everything before (or after) each element along the last axis."""
    from .ops_shape import cat_, flip_

    last = len(x.type.shape) - 1
    if backwards:
        x = flip_(x, arg=((last,),))
    one = full(x.type.shape[:-1] + (1,), 1, x.type.dtype)
    scanned = cumprod(cat_(one, narrow(x, last, 0, x.type.shape[-1] - 1), arg=(last,)), arg=(last,))
    return flip_(scanned, arg=((last,),)) if backwards else scanned


prod: Op = reduction(
    "prod", "prod({0}, {axes}, {keep})", vjp=(_prod_vjp,), also_saves=lambda n: (-1,)
)


def _extreme_vjp(g, y, x):
    # amax and amin share the cotangent evenly among ties, as PyTorch does.
    hit = eq(x, widened(y, y, x))
    share = cast(hit, g.type.dtype)
    count = sum_(share, arg=(y.arg[0], True))
    return mul(share, expand(_div(restore(g, y, x), count), x.type.shape))


def _div(a: Node, b: Node) -> Node:
    from .ops_elementwise import div

    return div(a, b)


amax: Op = reduction("amax", "amax({0}, {axes}, {keep}, out={out})", vjp=(_extreme_vjp,))
amin: Op = reduction("amin", "amin({0}, {axes}, {keep}, out={out})", vjp=(_extreme_vjp,))
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


def _var_vjp(g, y, x):
    axes, keep, correction = y.arg
    count = _count(x.type.shape, axes)
    mean = expand(_div(sum_(x, arg=(axes, True)), float(count)), x.type.shape)
    spread = widened(g, y, x)
    if count <= correction:
        # Nothing to divide by: as in PyTorch nan at the mean itself and infinite elsewhere.
        infinite = full(x.type.shape, math.inf, x.type.dtype)
        return mul(spread, where(eq(x, mean), math.nan, infinite))
    return mul(mul(spread, 2.0 / (count - correction)), sub(x, mean))


def _std_vjp(g, y, x):
    halved = where(eq(y, 0.0), 0.0, _div(g, mul(y, 2.0)))
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


def _norm_vjp(g, y, x):
    full_y = widened(y, y, x)
    scaled = mul(x, expand(_div(restore(g, y, x), restore(y, y, x)), x.type.shape))
    return where(eq(full_y, 0.0), 0.0, scaled)


norm2: Op = reduction(
    "norm2",
    "norm2({0}, {axes}, {keep})",
    vjp=(_norm_vjp,),
    grad_name="LinalgVectorNorm",
)


def _norm_p_vjp(g, y, x):
    p = y.arg[2]
    size = abs_(x)
    if p < 1:
        scale = mul(g, pow_(y, 1.0 - p))
        slope = where(eq(x, 0.0), 0.0, mul(sign(x), pow_(size, p - 1.0)))
    else:
        scale = where(eq(y, 0.0), 0.0, _div(g, pow_(y, p - 1.0)))
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


def _pair(src: tuple, arg: tuple) -> tuple[TensorType, TensorType]:
    one = _infer(src, arg)
    return (one, one.with_dtype(int64))


def picks(g: Node, index: Node, axis: int, x: Node) -> Node:
    """Zeros like `x` with `g` at the positions `index` of `axis`."""
    from .ops_index import scatter_add

    return scatter_add(zeros_like(x), index, g, arg=(axis,))


def _selected_vjp(g, y, x):
    # `g` is the pair of cotangents; only the values carry one.
    axes, keep = y.arg[0], y.arg[1]
    axis = axes[0]
    index = get(y, 1)
    if not keep:
        kept = reduced(x.type.shape, axes, True)
        g, index = reshape(g, kept), reshape(index, kept)
    return picks(g, index, axis, x)


def selection(name: str, numpy: str, grad_name: str, **more: Any) -> Op:
    return Op(
        name,
        numpy,
        kind="opaque",
        fields=("axes", "keep"),
        infer=_pair,
        vjp=(_selected_vjp,),
        results=2,
        grad_name=grad_name,
        samples=lambda: [(((3, 4),), ((1,), False))],
        **more,
    )


max_with_index: Op = selection("max_with_index", "max_with_index({0}, {axes}[0], {keep})", "Max")
min_with_index: Op = selection("min_with_index", "min_with_index({0}, {axes}[0], {keep})", "Min")
median: Op = selection("median", "median({0}, {axes}[0], {keep})", "Median")
mode: Op = selection("mode", "mode({0}, {axes}[0], {keep})", "Mode")
kthvalue: Op = Op(
    "kthvalue",
    "kthvalue({0}, {k}, {axes}[0], {keep})",
    kind="opaque",
    fields=("axes", "keep", "k"),
    infer=_pair,
    vjp=(_selected_vjp,),
    results=2,
    samples=lambda: [(((3, 4),), ((1,), False, 2))],
)


def _sorted_pair(src: tuple, arg: tuple) -> tuple[TensorType, TensorType]:
    return (src[0].type, src[0].type.with_dtype(int64))


def _sorted_vjp(g, y, x):
    return picks(g, get(y, 1), y.arg[0], x)


sort: Op = Op(
    "sort",
    "sort({0}, {axis}, {descending})",
    kind="opaque",
    fields=("axis", "descending"),
    infer=_sorted_pair,
    vjp=(_sorted_vjp,),
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
    vjp=(_sorted_vjp,),
    results=2,
    samples=lambda: [(((3, 5),), (1, 2, True))],
)

# --- scans ----------------------------------------------------------------------------------------


_ALONG_SAMPLES = lambda: [(((3, 4),), (1,)), (((2, 3, 2),), (1,)), (((0, 3),), (1,))]  # noqa: E731


def _along(src: tuple, arg: tuple) -> TensorType:
    return src[0].type


def reverse_cumsum(g: Node, axis: int) -> Node:
    from .ops_shape import flip_

    return flip_(cumsum(flip_(g, arg=((axis,),)), arg=(axis,)), arg=((axis,),))


cumsum: Op = Op(
    "cumsum",
    "cumsum({0}, {axis}, out={out})",
    kind="opaque",
    fields=("axis",),
    infer=_along,
    vjp=(lambda g, y, x: reverse_cumsum(g, y.arg[0]),),
    samples=_ALONG_SAMPLES,
)


def _cumprod_vjp(g, y, x):
    """Quadratic in the extent but exact at zeros: d y_j / d x_i = prod of x_k, k <= j, k != i."""
    from .ops_shape import cat_, permute

    axis = y.arg[0]
    rank = len(x.type.shape)
    order = tuple(i for i in range(rank) if i != axis) + (axis,)
    back = tuple(sorted(range(rank), key=order.__getitem__))
    gm, xm = permute(g, order), permute(x, order)
    extent = xm.type.shape[-1]
    lead = xm.type.shape[:-1]
    columns = []
    before = full(lead + (1,), 1, x.type.dtype)
    for i in range(extent):
        # Products with x_i left out, for every j >= i.
        rest = narrow(xm, rank - 1, i + 1, extent - i - 1)
        chain = cumprod(cat_(before, rest, arg=(rank - 1,)), arg=(rank - 1,))
        window = narrow(gm, rank - 1, i, extent - i)
        columns.append(sum_(mul(window, chain), arg=((rank - 1,), True)))
        before = mul(before, narrow(xm, rank - 1, i, 1))
    if not columns:
        return zeros_like(x)
    return permute(cat_(*columns, arg=(rank - 1,)), back)


cumprod: Op = Op(
    "cumprod",
    "cumprod({0}, {axis}, out={out})",
    kind="opaque",
    fields=("axis",),
    infer=_along,
    vjp=(_cumprod_vjp,),
    samples=_ALONG_SAMPLES,
)


def _logcumsumexp_vjp(g, y, x):
    """exp(x_i) * sum of g_j exp(-y_j) over j >= i, the two signs of g each in logarithms."""
    axes = (y.arg[0],)
    size = log(where(eq(g, 0.0), 1.0, abs_(g)))
    parts = []
    for signed in (gt(g, 0.0), lt(g, 0.0)):
        weights = where(signed, sub(size, y), -math.inf)
        summed = flip_(logcumsumexp(flip_(weights, arg=(axes,)), arg=y.arg), arg=(axes,))
        parts.append(exp(add(summed, x)))
    return sub(*parts)


logcumsumexp: Op = Op(
    "logcumsumexp",
    "logcumsumexp({0}, {axis})",
    kind="opaque",
    fields=("axis",),
    infer=_along,
    vjp=(_logcumsumexp_vjp,),
    samples=_ALONG_SAMPLES,
)
cummax: Op = Op(
    "cummax",
    "cummax({0}, {axis})",
    kind="opaque",
    fields=("axis",),
    infer=_sorted_pair,
    vjp=(_sorted_vjp,),
    results=2,
    samples=_ALONG_SAMPLES,
)
cummin: Op = Op(
    "cummin",
    "cummin({0}, {axis})",
    kind="opaque",
    fields=("axis",),
    infer=_sorted_pair,
    vjp=(_sorted_vjp,),
    results=2,
    samples=_ALONG_SAMPLES,
)

# --- the softmax family ---------------------------------------------------------------------------


def _softmax_vjp(g, y, x):
    axis = y.arg[0]
    weighted = mul(g, y)
    return sub(weighted, mul(y, sum_(weighted, arg=((axis,), True))))


def _log_softmax_vjp(g, y, x):
    return sub(g, mul(exp(y), sum_(g, arg=((y.arg[0],), True))))


softmax: Op = Op(
    "softmax",
    "softmax({0}, {axis}, out={out})",
    kind="opaque",
    fields=("axis",),
    infer=_along,
    vjp=(_softmax_vjp,),
    samples=_ALONG_SAMPLES,
)
log_softmax: Op = Op(
    "log_softmax",
    "log_softmax({0}, {axis}, out={out})",
    kind="opaque",
    fields=("axis",),
    infer=_along,
    vjp=(_log_softmax_vjp,),
    samples=_ALONG_SAMPLES,
)
logsumexp: Op = reduction(
    "logsumexp",
    "logsumexp({0}, {axes}, {keep})",
    vjp=(lambda g, y, x: mul(widened(g, y, x), exp(sub(x, widened(_finite(y), y, x)))),),
)


def _finite(y: Node) -> Node:
    # A row of -inf has weight 0 everywhere, not nan.
    return where(eq(y, float("-inf")), 0.0, y)
