"""Primitives of networks: class scores, embedding rows, standardizing, the logarithm of sigmoid.

Picking and putting are each other's derivatives, as the convolutions are, so any order of
differentiation stays within them. `standardize` serves batch, layer, group and instance
normalization alike: they differ in the axes.
"""

from __future__ import annotations

import numpy as np

from .dtypes import float32
from .node import LOCAL, Node
from .numerics import nn as forms
from .opdef import Op, provide
from .ops_elementwise import (
    add,
    clamp_min,
    div,
    elementwise,
    eq,
    log,
    log1p,
    mul,
    neg,
    rsqrt,
    sigmoid,
    sub,
    where,
)
from .ops_reduce import get, reduced, sum_, var
from .ops_shape import reshape
from .types import TensorType

provide(
    nll=forms.nll,
    nll_grad=forms.nll_grad,
    class_count=forms.class_count,
    class_checked=forms.class_checked,
    row_pick=forms.row_pick,
    row_put=forms.row_put,
    standardize=forms.standardize,
    log_sigmoid=forms.log_sigmoid,
    binary_cross_entropy=forms.binary_cross_entropy,
)

# --- class scores ---------------------------------------------------------------------------------

nll: Op = Op(
    "nll",
    "nll({0}, {1}, {ignore})",
    kind="opaque",
    raising="always",
    fields=("ignore",),
    infer=lambda src, arg: src[0].type.with_shape(src[1].type.shape),
    vjp=(
        lambda g, y, x, target: nll_grad(
            g, target, arg=(x.type.shape[1 if len(x.type.shape) > 1 else 0], *y.arg)
        ),
        None,
    ),
    grad_name="NllLoss",
    samples=lambda: [
        (((3, 4), [1, 3, 2]), (2,)),
        (((2, 3, 2), [[0, 2], [1, 1]]), (-100,)),
        (((4,), np.array(2)), (-100,)),
    ],
)


def _scores(src: tuple, arg: tuple) -> TensorType:
    shape = src[1].type.shape
    return src[0].type.with_shape(shape[:1] + (arg[0],) + shape[1:])


nll_grad: Op = Op(
    "nll_grad",
    "nll_grad({0}, {1}, {classes}, {ignore})",
    kind="opaque",
    raising="always",
    fields=("classes", "ignore"),
    infer=_scores,
    vjp=(lambda g, y, x, target: nll(g, target, arg=y.arg[1:]), None),
    grad_name="NllLossBackward",
    samples=lambda: [
        (((3,), [1, 3, 2]), (4, 2)),
        (((2, 2), [[0, 2], [1, 1]]), (3, -100)),
    ],
)
class_count: Op = Op(
    "class_count",
    "class_count({0}, {ignore}, {dtype})",
    kind="opaque",
    fields=("ignore", "of"),
    infer=lambda src, arg: TensorType.of((), arg[1], src[0].type.device),
    samples=lambda: [(([1, 3, 2],), (2, float32))],
)
# What `nll` asks of its targets, where it is written out for loops (ir/passes/decompose.py).
class_checked: Op = Op(
    "class_checked",
    "class_checked({0}, {1}, {2})",
    kind="opaque",
    raising="always",
    infer=lambda src, arg: src[0].type,
    samples=lambda: [(([1, 3, 2], 4, 2), ())],
)

# --- rows of a table ------------------------------------------------------------------------------


def _unskipped(g: Node, index: Node, rows: Node) -> Node:
    """The rows of `g` that `index` names, with zeros for the row that gradients skip."""
    picked = row_pick(g, index, arg=(None,))
    skipped = rows.arg[1]
    if skipped is None:
        return picked
    at = index.type.shape
    hit = reshape(eq(index, skipped), at + (1,) * (len(picked.type.shape) - len(at)))
    return where(hit, 0.0, picked)


row_pick: Op = Op(
    "row_pick",
    "row_pick({0}, {1})",
    kind="opaque",
    raising="always",
    fields=("skipped",),
    infer=lambda src, arg: src[0].type.with_shape(src[1].type.shape + src[0].type.shape[1:]),
    vjp=(
        lambda g, y, table, index: row_put(g, index, arg=(table.type.shape[0], *y.arg)),
        None,
    ),
    grad_name="Embedding",
    samples=lambda: [
        (((4, 3), [1, 0, 1]), (None,)),
        (((4, 3), [[1, 0], [3, 3]]), (2,)),
        (((4,), np.array(2)), (None,)),
    ],
)
row_put: Op = Op(
    "row_put",
    "row_put({0}, {1}, {rows}, {skipped})",
    kind="opaque",
    raising="always",
    fields=("rows", "skipped"),
    infer=lambda src, arg: src[0].type.with_shape(
        (arg[0],) + src[0].type.shape[len(src[1].type.shape) :]
    ),
    vjp=(lambda g, y, x, index: _unskipped(g, index, y), None),
    grad_name="EmbeddingDenseBackward",
    samples=lambda: [
        (((3, 2), [1, 0, 1]), (4, None)),
        (((2, 2, 3), [[1, 0], [3, 3]]), (4, 3)),
    ],
)

# --- standardizing --------------------------------------------------------------------------------


def _standardized(src: tuple, arg: tuple) -> tuple[TensorType, ...]:
    x = src[0].type
    one = x.with_shape(reduced(x.shape, arg[0], True))
    return (x, one, one)


def _standardize_vjp(g: Node, y: Node, x: Node) -> Node:
    """inv (g - mean(g) - y mean(g y)), with inv = 1 / sqrt(var + eps) and means over the axes."""
    axes, eps = y.arg
    count = 1
    for axis in axes:
        count *= x.type.shape[axis]
    value = get(y, 0)
    # To be differentiated again, the variance must know what it was computed from.
    variance = var(x, arg=(axes, True, 0)) if LOCAL.grad else get(y, 2)
    inv = rsqrt(add(variance, eps))
    over = (axes, True)
    along = div(sum_(mul(g, value), arg=over), float(count))
    rest = sub(sub(g, div(sum_(g, arg=over), float(count))), mul(value, along))
    return mul(rest, inv)


standardize: Op = Op(
    "standardize",
    "standardize({0}, {axes}, {eps})",
    kind="opaque",
    fields=("axes", "eps"),
    infer=_standardized,
    vjp=(_standardize_vjp,),
    results=3,
    grad_name="NativeBatchNorm",
    samples=lambda: [(((3, 4),), ((1,), 1e-5)), (((3, 2, 4),), ((0, 2), 1e-3))],
)

# --- elementwise ----------------------------------------------------------------------------------

log_sigmoid: Op = elementwise(
    "log_sigmoid",
    "log_sigmoid({0}, out={out})",
    vjp=(lambda g, y, x: mul(g, sigmoid(neg(x))),),
)


def _bce_input(g: Node, y: Node, x: Node, t: Node) -> Node:
    spread = clamp_min(mul(sub(1.0, x), x), 1e-12)
    return mul(g, div(sub(x, t), spread))


def _bce_target(g: Node, y: Node, x: Node, t: Node) -> Node:
    return mul(g, sub(log1p(neg(x)), log(x)))


# Both logarithms are kept above -100: a certain but wrong probability costs 100 and no more.
binary_cross_entropy: Op = elementwise(
    "binary_cross_entropy",
    "binary_cross_entropy({0}, {1}, out={out})",
    vjp=(_bce_input, _bce_target),
    raising="always",
    samples=lambda: [
        (([[0.2, 0.7, 0.5]] * 2, [[0.1, 0.9, 0.5]] * 2), ()),
        (([0.2, 0.7, 0.5], [[0.1], [0.9]]), ()),
    ],
)
