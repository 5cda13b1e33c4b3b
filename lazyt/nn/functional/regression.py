"""Losses of numbers and of probabilities: errors, binary cross entropy, divergences."""

from __future__ import annotations

from typing import Any

from lazyt.dispatch import known, promoted, scalar_name, tagged, wrap
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import FLOATING
from lazyt.ir.node import Node
from lazyt.ir.numerics.nn import check_probabilities
from lazyt.ir.ops_nn import binary_cross_entropy as bce_op
from lazyt.ir.ops_nn import log_sigmoid
from lazyt.ir.ops_shape import expand
from lazyt.ir.types import broadcast_shapes
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .common import (
    check_floating,
    in_compute_dtype,
    not_differentiable,
    numbered,
    reduction_of,
)
from .losses import check_reduction, reduced, total


def _both(input: Any, target: Any, reduction: str) -> tuple[Node, Node]:
    """Both operands in one dtype and shape, with PyTorch's warning where shapes differ."""
    for x in (input, target):
        if not isinstance(x, Tensor):
            raise AttributeError(f"'{type(x).__name__}' object has no attribute 'size'")
    x, t = node_of(input), node_of(target)
    if x.type.shape != t.type.shape:
        warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
        )
        shape = broadcast_shapes(x.type.shape, t.type.shape)
        x, t = expand(x, shape), expand(t, shape)
    check_reduction(reduction)
    (x, t), _ = promoted(x, t)
    return x, t


def _weighted(loss: Node, weight: Tensor, reduction: str) -> Node:
    """Element losses times weights; the mean is weighted too."""
    w = node_of(weight)
    if w.type.shape != loss.type.shape:
        raise ValueError("Weights and input must have the same size.")
    loss = ops.mul(loss, ops.cast(w, loss.type.dtype))
    if reduction == "mean":
        return ops.div(total(loss), total(ops.cast(w, loss.type.dtype)))
    return reduced(loss, reduction)


def _finished(
    formula: Any, x: Node, t: Node, weight: Tensor | None, reduction: str, name: str
) -> Tensor:
    """The reduced loss, computed in float32 for half types, with its grad_fn's name."""

    def whole(a: Node, b: Node) -> Node:
        loss = formula(a, b)
        return reduced(loss, reduction) if weight is None else _weighted(loss, weight, reduction)

    result = in_compute_dtype(whole, x, t)
    return wrap(result if weight is not None else tagged(result, name, x, t, keeps=(x, t)))


def _square(x: Node, t: Node) -> Node:
    difference = ops.sub(x, t)
    return ops.mul(difference, difference)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared error (input - target)^2."""
    reduction = reduction_of(size_average, reduce, reduction)
    x, t = _both(input, target, reduction)
    check_floating(x, "mse_cpu")
    return _finished(_square, x, t, weight, reduction, "MseLoss")


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute error |input - target|."""
    reduction = reduction_of(size_average, reduce, reduction)
    x, t = _both(input, target, reduction)
    loss = (wrap(x) - wrap(t)).abs()
    if weight is not None:
        return wrap(_weighted(node_of(loss), weight, reduction))
    return loss if reduction == "none" else getattr(loss, reduction)()


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """With d = |input - target|: d^2 / (2 beta) below beta, d - beta / 2 beyond."""
    reduction = reduction_of(size_average, reduce, reduction)
    x, t = _both(input, target, reduction)
    b = float(beta)
    if b == 0.0:
        return l1_loss(input, target, reduction=reduction)
    if b < 0.0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    check_floating(x, "smooth_l1_cpu")

    def formula(x: Node, t: Node) -> Node:
        d = ops.abs_(ops.sub(x, t))
        near = ops.mul(ops.mul(d, d), 0.5 / b)
        return ops.where(ops.lt(d, b), near, ops.sub(d, 0.5 * b))

    return _finished(formula, x, t, None, reduction, "SmoothL1Loss")


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """With d = |input - target|: d^2 / 2 up to delta, delta (d - delta / 2) beyond."""
    x, t = _both(input, target, reduction)
    bound = float(delta)
    if bound <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    check_floating(x, "huber_cpu")

    def formula(x: Node, t: Node) -> Node:
        d = ops.abs_(ops.sub(x, t))
        near = ops.mul(ops.mul(d, d), 0.5)
        return ops.where(ops.le(d, bound), near, ops.mul(ops.sub(d, 0.5 * bound), bound))

    return _finished(formula, x, t, weight, reduction, "HuberLoss")


# --- probabilities --------------------------------------------------------------------------------


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log(p) + (1 - t) log(1 - p)) of probabilities p, with logarithms of at least -100.

    Errors: ValueError for shapes that differ; RuntimeError for p or t outside [0, 1], where they
    are not known yet when the loss is computed.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_reduction(reduction)
    x, t = node_of(input), node_of(target)
    if x.type.shape != t.type.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    if t.type.dtype is not x.type.dtype:
        raise RuntimeError(
            f"Found dtype {scalar_name(t.type.dtype)} but expected {scalar_name(x.type.dtype)}"
        )
    check_floating(x, "binary_cross_entropy")
    for node, name in ((x, "input"), (t, "target")):
        if (value := known(node)) is not None:  # else when it is computed
            check_probabilities(value, name)
    w = None
    if weight is not None:
        not_differentiable("binary_cross_entropy", weight=node_of(weight))
        w = expand(node_of(weight), broadcast_shapes(node_of(weight).type.shape, x.type.shape))

    def formula(x: Node, t: Node) -> Node:
        loss = bce_op(x, t)
        if w is not None:
            loss = ops.mul(loss, ops.cast(w, loss.type.dtype))
        return reduced(loss, reduction)

    y = in_compute_dtype(formula, x, t)
    return wrap(tagged(y, "BinaryCrossEntropy", x, t))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """The binary cross entropy of sigmoid(input), without overflow.

    pos_weight: what a positive target weighs, broadcast. Errors: ValueError for shapes that differ.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    check_reduction(reduction)
    x, t = node_of(input), node_of(target)
    check_floating(x, "log_sigmoid_cpu")
    if t.type.dtype.category != FLOATING:
        raise RuntimeError(
            "result type Float can't be cast to the desired output type "
            f"{scalar_name(t.type.dtype)}"
        )
    positive = None if pos_weight is None else node_of(pos_weight)
    w = None if weight is None else node_of(weight)
    not_differentiable("binary_cross_entropy_with_logits", weight=w, pos_weight=positive)

    def formula(x: Node, t: Node) -> Node:
        soft = log_sigmoid(x)
        if positive is not None:
            more = ops.sub(ops.cast(positive, x.type.dtype), 1.0)
            soft = ops.mul(soft, ops.add(ops.mul(more, t), 1.0))
        loss = ops.sub(ops.mul(x, ops.sub(1.0, t)), soft)
        if w is not None:
            loss = ops.mul(loss, ops.cast(w, loss.type.dtype))
        return reduced(loss, reduction)

    (x2, t2), _ = promoted(x, t)
    y = in_compute_dtype(formula, x2, t2)
    return wrap(tagged(y, "BinaryCrossEntropyWithLogits", x, t))


KL_MEAN = (
    "reduction: 'mean' divides the total loss by both the batch size and the support "
    "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
    "definition.'mean' will be changed to behave the same as 'batchmean' in the next major release."
)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence t (log t - input); batchmean divides its sum by N."""
    if size_average is not None or reduce is not None:
        reduction = reduction_of(size_average, reduce, reduction)
    elif reduction == "mean":
        warn(KL_MEAN)
    if any(n.type.dtype.category != FLOATING for n in (node_of(input), node_of(target))):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    batch = reduction == "batchmean"
    if batch:
        reduction = "sum"
    check_reduction(reduction)
    (x, t), _ = promoted(node_of(input), node_of(target))
    if log_target:
        loss = ops.mul(ops.exp(t), ops.sub(t, x))
    else:
        empty = ops.eq(t, 0.0)
        entropy = ops.where(empty, 0.0, ops.mul(t, ops.log(ops.where(empty, 1.0, t))))
        loss = ops.sub(entropy, ops.mul(t, x))
    if reduction == "none":
        return wrap(loss)
    result = total(loss)
    if reduction == "mean":
        mean = ops.div(result, float(loss.type.numel))
        return wrap(numbered(mean, "MeanBackward0", loss, saves=False))
    if batch and input.dim():
        result = ops.div(result, float(input.size(0)))
    return wrap(result)
