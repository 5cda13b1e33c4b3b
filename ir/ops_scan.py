"""Scans, softmax and the product: what is computed along an axis by running through it.

    cumsum([1, 2, 3]) = [1, 3, 6]           reverse_cumsum([1, 2, 3]) = [6, 5, 3]

The derivative of a scan is a scan from the other end; that of a product is made of two scans.
"""

from __future__ import annotations

import math

from .dtypes import int64
from .node import LOCAL, Node
from .numerics import reduce as forms
from .numerics import softmax as soft
from .opdef import Op, provide
from .ops_elementwise import (
    abs_,
    add,
    cast,
    div,
    elementwise,
    eq,
    exp,
    full,
    gt,
    log,
    logical_and,
    logical_not,
    lt,
    mul,
    sub,
    where,
    zeros_like,
)
from .ops_order import sorted_pair, sorted_vjp
from .ops_reduce import any_, count_of, reduction, sum_, widened
from .ops_shape import cat_, expand, flip_, inverse, narrow, permute, reshape
from .types import TensorType

provide(
    prod=forms.prod,
    cumsum=forms.cumsum,
    cumprod=forms.cumprod,
    cummax=forms.cummax,
    cummin=forms.cummin,
    logcumsumexp=forms.logcumsumexp,
    softmax=soft.softmax,
    log_softmax=soft.log_softmax,
)

_ALONG_SAMPLES = lambda: [(((3, 4),), (1,)), (((2, 3, 2),), (1,)), (((0, 3),), (1,))]


def _along(src: tuple, arg: tuple) -> TensorType:
    return src[0].type


def reverse_cumsum(g: Node, axis: int) -> Node:
    """The sums of each element and all behind it along `axis`."""
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


def _cumprod_vjp(g: Node, y: Node, x: Node) -> Node:
    axis = y.arg[0]
    if x.type.shape[axis] < 2:
        return g
    return _cumprod_vjp_again(g, x, axis) if LOCAL.grad else _cumprod_vjp_once(g, y, x, axis)


def _cumprod_vjp_once(g: Node, y: Node, x: Node, axis: int) -> Node:
    """As PyTorch's `cumprod_backward`: before the first zero of a row d y_j / d x_i is y_j / x_i;
    at it, the product of the others up to the second zero; behind it nothing counts."""
    zero = eq(x, 0.0)
    zeros = cumsum(cast(zero, int64), arg=(axis,))
    behind = eq(zeros, 1)  # the first zero, and all up to the second
    first = logical_and(zero, behind)
    before = eq(zeros, 0)
    quotient = div(reverse_cumsum(where(before, mul(y, g), 0.0), axis), x)
    others = cumprod(where(logical_and(behind, logical_not(zero)), x, 1.0), arg=(axis,))
    total = sum_(where(behind, mul(others, g), 0.0), arg=((axis,), True))
    lead = x.type.shape[:axis] + (1,) + x.type.shape[axis + 1 :]
    one = full(lead, 1, x.type.dtype, x.type.device)
    until = cat_(one, narrow(y, axis, 0, x.type.shape[axis] - 1), arg=(axis,))
    at_first = mul(expand(total, x.type.shape), until)
    return where(before, quotient, where(first, at_first, 0.0))


def _cumprod_vjp_again(g: Node, x: Node, axis: int) -> Node:
    """Quadratic in the extent, but its own derivative is right at zeros, too: d y_j / d x_i is the
    product of x_k, k <= j, k != i."""
    rank = len(x.type.shape)
    order = tuple(i for i in range(rank) if i != axis) + (axis,)
    gm, xm = permute(g, order), permute(x, order)
    extent = xm.type.shape[-1]
    columns = []
    before = full(xm.type.shape[:-1] + (1,), 1, x.type.dtype, x.type.device)
    for i in range(extent):
        # Products with x_i left out, for every j >= i.
        rest = narrow(xm, rank - 1, i + 1, extent - i - 1)
        chain = cumprod(cat_(before, rest, arg=(rank - 1,)), arg=(rank - 1,))
        window = narrow(gm, rank - 1, i, extent - i)
        columns.append(sum_(mul(window, chain), arg=((rank - 1,), True)))
        before = mul(before, narrow(xm, rank - 1, i, 1))
    return permute(cat_(*columns, arg=(rank - 1,)), inverse(order))


cumprod: Op = Op(
    "cumprod",
    "cumprod({0}, {axis}, out={out})",
    kind="opaque",
    fields=("axis",),
    infer=_along,
    vjp=(_cumprod_vjp,),
    samples=_ALONG_SAMPLES,
    saves=(0, -1),
)


def exclusive_prod(x: Node, backwards: bool) -> Node:
    """Products of everything before (or after) each element along the last axis."""
    last = len(x.type.shape) - 1
    if backwards:
        x = flip_(x, arg=((last,),))
    one = full(x.type.shape[:-1] + (1,), 1, x.type.dtype, x.type.device)
    scanned = cumprod(cat_(one, narrow(x, last, 0, x.type.shape[-1] - 1), arg=(last,)), arg=(last,))
    return flip_(scanned, arg=((last,),)) if backwards else scanned


def _prod_vjp(g: Node, y: Node, x: Node) -> Node:
    # As PyTorch: y / x where no factor anywhere is 0; else the product of the others, which is the
    # product of both exclusive scans.
    axes = y.arg[0]
    shape = x.type.shape
    if not shape:
        return g
    for axis in axes[::-1]:
        if shape[axis] == 0:
            return zeros_like(x)
    order = tuple(i for i in range(len(shape)) if i not in axes) + axes
    moved = permute(x, order)
    lead = tuple(shape[i] for i in order[: len(shape) - len(axes)])
    flat = reshape(moved, lead + (count_of(shape, axes),))
    others = mul(exclusive_prod(flat, False), exclusive_prod(flat, True))
    others = permute(reshape(others, moved.type.shape), inverse(order))
    zero = eq(x, 0.0)
    quotient = div(widened(y, y, x), where(zero, 1.0, x))
    any_zero = any_(zero, arg=(tuple(range(len(shape))), True))
    return mul(widened(g, y, x), where(expand(any_zero, shape), others, quotient))


prod: Op = reduction("prod", "prod({0}, {axes}, {keep})", vjp=(_prod_vjp,), saves=(0, -1))


def _logcumsumexp_vjp(g: Node, y: Node, x: Node) -> Node:
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
    infer=sorted_pair,
    vjp=(sorted_vjp,),
    results=2,
    samples=_ALONG_SAMPLES,
    also_saves=lambda n: (0,),
)
cummin: Op = Op(
    "cummin",
    "cummin({0}, {axis})",
    kind="opaque",
    fields=("axis",),
    infer=sorted_pair,
    vjp=(sorted_vjp,),
    results=2,
    samples=_ALONG_SAMPLES,
    also_saves=lambda n: (0,),
)

# --- the softmax family ---------------------------------------------------------------------------


def _softmax_vjp(g: Node, y: Node, x: Node) -> Node:
    axis = y.arg[0]
    weighted = mul(g, y)
    return sub(weighted, mul(y, sum_(weighted, arg=((axis,), True))))


def _log_softmax_vjp(g: Node, y: Node, x: Node) -> Node:
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
# What both are made of in loops (ir/passes/decompose.py): `exp` of what is at most 0 (or nan), and
# the quotient of such an exponential and the total that it is part of, which is 1 at least. Where
# that much is known code is shorter (codegen/prelude/math.h); the values are those of exp and div.
exp_nonpositive: Op = elementwise(
    "exp_nonpositive",
    "np.exp({0}, out={out})",
    samples=lambda: [(([[-0.5, 0.0, -3.0], [-90.0, -104.5, -200.0]],), ())],
)
div_by_total: Op = elementwise(
    "div_by_total",
    "np.divide({0}, {1}, out={out})",
    samples=lambda: [(([[0.5, 1.0, 0.0], [1.0, 1e-3, 0.25]], [[1.5], [1.251]]), ())],
)
