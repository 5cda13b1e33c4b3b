"""Losses that ask for a margin: between pairs, triplets, and the scores of classes.

    hinge_embedding_loss([0.2, 3.0], [1, -1])       (0.2 + max(0, 1 - 3.0)) / 2 = 0.1
    margin_ranking_loss([1.0], [2.0], [1])          max(0, -(1.0 - 2.0)) = 1.0

Formulas follow https://docs.pytorch.org/docs/2.13/nn.functional.html#loss-functions.
"""

from __future__ import annotations

from collections.abc import Callable

import lazyt
from lazyt.dispatch import fit_dtype, known, scalar_name, tagged, wrap
from lazyt.ir.dtypes import int64
from lazyt.ir.node import Node
from lazyt.ir.ops_constant import arange_, typed
from lazyt.ir.ops_elementwise import (
    add,
    cast,
    div,
    eq,
    ge,
    gt,
    logical_and,
    logical_not,
    mul,
    sub,
    where,
)
from lazyt.ir.ops_index import gather
from lazyt.ir.ops_reduce import sum_
from lazyt.ir.ops_scan import cumsum
from lazyt.ir.ops_shape import reshape
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .activations import logsigmoid
from .common import (
    HALVES,
    check_floating,
    in_compute_dtype,
    not_differentiable,
    reduction_of,
    tensor_node,
)
from .distances import pairwise_distance
from .losses import check_reduction, reduced


def asked_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that a loss was asked for. ValueError where there is no such."""
    reduction = reduction_of(size_average, reduce, reduction)
    check_reduction(reduction)
    return reduction


def reduce_losses(loss: Tensor, reduction: str) -> Tensor:
    """A tensor of losses as it is, its sum or its mean."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


# --- pairs and triplets ---------------------------------------------------------------------------


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where the target is 1, max(0, margin - input) where it is -1."""
    reduction = asked_reduction(size_average, reduce, reduction)
    tensor_node(input, "hinge_embedding_loss")
    tensor_node(target, "hinge_embedding_loss", "target", 2)
    zeros = lazyt.zeros_like(input)
    apart = lazyt.where(target != 1, (margin - input).clamp_min(0), zeros)
    near = lazyt.where(target != -1, input, zeros)
    return reduce_losses(apart + near, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target (input1 - input2) + margin). RuntimeError for operands of several ranks."""
    reduction = asked_reduction(size_average, reduce, reduction)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    loss = (-target * (input1 - input2) + margin).clamp_min(0)
    return reduce_losses(loss, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1.

    (N, D), (N, D) and targets (N,), or (D,), (D,) and (). RuntimeError for other ranks.
    """
    reduction = asked_reduction(size_average, reduce, reduction)
    rank = target.dim()
    if rank > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if input1.dim() != rank + 1:
        raise RuntimeError(
            f"{rank}D target tensor expects {rank + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    dot = (input1 * input2).sum(rank)
    square1 = (input1 * input1).sum(rank) + 1e-12
    square2 = (input2 * input2).sum(rank) + 1e-12
    cosine = dot / (square1 * square2).sqrt_()
    zeros = lazyt.zeros_like(cosine)
    near = lazyt.where(target == 1, 1 - cosine, zeros)
    apart = lazyt.where(target == -1, (cosine - margin).clamp_min(0), zeros)
    return reduce_losses(near + apart, reduction)


def _check_triplet(anchor: Tensor, positive: Tensor, negative: Tensor) -> None:
    ranks = anchor.dim(), positive.dim(), negative.dim()
    if len(set(ranks)) > 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {ranks[0]}D, positive {ranks[1]}D, and negative "
            f"{ranks[2]}D inputs"
        )


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin), in p-norms (Balntas et al. 2016).

    swap: the negative's distance is that to the nearer of anchor and positive. Errors: ValueError
    for a margin that is not positive, RuntimeError for operands of several ranks.
    """
    reduction = asked_reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return _triplet_loss(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own."""
    check_reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet_loss(anchor, positive, negative, distance, margin, swap, reduction)


def _triplet_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = lazyt.minimum(far, distance(positive, negative))
    return reduce_losses(lazyt.clamp_min(margin + near - far, 0), reduction)


# --- signs and labels -----------------------------------------------------------------------------


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target input)) of targets 1 and -1."""
    reduction = asked_reduction(size_average, reduce, reduction)
    x = tensor_node(input, "soft_margin_loss")
    t = tensor_node(target, "soft_margin_loss", "target", 2)
    not_differentiable("soft_margin_loss", target=t)
    loss = node_of(lazyt.log1p(lazyt.exp(-target * input)))
    fit_dtype(loss.type.dtype, x.type.dtype)
    result = reduced(cast(loss, x.type.dtype), reduction)
    return wrap(tagged(result, "SoftMarginLoss", x, t, keeps=(x, t)))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The binary cross entropy of scores (*, C) relative to targets of 0 and 1, mean over C."""
    reduction = reduction_of(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    axis = input.dim() - 1
    loss = loss.sum(dim=axis) / input.size(axis)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    return reduce_losses(loss, reduction)


# --- classes --------------------------------------------------------------------------------------


def _check_scores(x: Node) -> None:
    shape = x.type.shape
    if len(shape) > 2 or 0 in shape[-1:]:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(shape)}"
        )


def _check_long(t: Node) -> None:
    if t.type.dtype is not int64:
        raise RuntimeError(f"expected scalar type Long but found {scalar_name(t.type.dtype)}")


def _check_range(t: Node, low: int, classes: int, words: str) -> None:
    values = known(t)
    if values is not None and values.size and not (low <= values.min() <= values.max() < classes):
        raise RuntimeError(words)


def _class_numbers(classes: int, device: str) -> Node:
    return arange_(0, 1, arg=typed((classes,), int64, device))


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of max(0, margin - input[t] + input[i])^p for the others than target t.

    input: (C,) or (N, C); target: class numbers () or (N,); weight: (C,), applied before the power
    is averaged. Errors: ValueError for p but 1 and 2, RuntimeError for shapes that do not fit and a
    target that is no class.
    """
    reduction = asked_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    x = tensor_node(input, "multi_margin_loss")
    t = tensor_node(target, "multi_margin_loss", "target", 2)
    _check_scores(x)
    shape = x.type.shape
    rows, classes = (1, *shape)[-2:] if shape else (1, 1)
    if len(t.type.shape) > 1 or t.type.numel != rows:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input "
            f"samples (batch size). Expected target size [{rows}], but got {list(t.type.shape)}. "
            f"Input has shape {list(shape)}."
        )
    w = None if weight is None else node_of(weight)
    if w is not None and w.type.numel != classes:
        raise RuntimeError(
            f"inconsistent weight size, expected {classes} but got {list(w.type.shape)}"
        )
    check_floating(x, "multi_margin_loss_cpu_kernel", HALVES)
    _check_long(t)
    _check_range(t, 0, classes, "target out of range")
    not_differentiable("multi_margin_loss", weight=w)
    own = reshape(t, (rows, 1))

    def formula(scores: Node) -> Node:
        scores = reshape(scores, (rows, classes))
        gap = add(sub(float(margin), gather(scores, own, arg=(1,))), scores)
        others = logical_not(eq(own, _class_numbers(classes, x.type.device)))
        gap = where(logical_and(others, gt(gap, 0.0)), gap, 0.0)
        loss = gap if p == 1 else mul(gap, gap)
        if w is not None:
            spread = cast(reshape(w, (1, classes)), scores.type.dtype)
            loss = mul(loss, gather(_rows_of(spread, rows), own, arg=(1,)))
        return _averaged(loss, classes, t.type.shape if len(shape) == 2 else (), reduction)

    return wrap(tagged(in_compute_dtype(formula, x), "MultiMarginLoss", x))


def _rows_of(row: Node, count: int) -> Node:
    return node_of(wrap(row).expand(count, row.type.shape[-1]))


def _averaged(loss: Node, classes: int, shape: tuple[int, ...], reduction: str) -> Node:
    """Losses (rows, classes) averaged over classes, in the shape of the targets, then reduced."""
    each = div(sum_(loss, arg=((1,), False)), float(classes))
    return reshape(each, shape) if reduction == "none" else reduced(each, reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum of max(0, 1 - input[t] + input[i]) over targets t and all i that are none, over C.

    input: (C,) or (N, C). target: class numbers in the same shape, up to the first that is -1.
    Errors: RuntimeError for shapes that do not fit and for a target that is no class.
    """
    reduction = asked_reduction(size_average, reduce, reduction)
    x = tensor_node(input, "multilabel_margin_loss")
    t = tensor_node(target, "multilabel_margin_loss", "target", 2)
    _check_scores(x)
    shape = x.type.shape
    if t.type.shape != shape and (len(shape) > 1 or t.type.numel != x.type.numel):
        raise RuntimeError(
            f"inconsistent target size: {list(t.type.shape)} for input of size: {list(shape)}"
        )
    check_floating(x, "multilabel_margin_loss_forward_out_frame", HALVES)
    _check_long(t)
    rows, classes = (1, *shape)[-2:] if shape else (1, 1)
    _check_range(t, -1, classes, "argument #2 'target' is out of range")
    t = reshape(t, (rows, classes))
    counts = eq(cumsum(cast(logical_not(ge(t, 0)), int64), arg=(1,)), 0)
    own = where(counts, t, 0)
    hit = eq(reshape(own, (rows, classes, 1)), _class_numbers(classes, x.type.device))
    among = logical_and(hit, reshape(counts, (rows, classes, 1)))
    none = eq(sum_(cast(among, int64), arg=((1,), True)), 0)
    compared = logical_and(reshape(counts, (rows, classes, 1)), none)

    def formula(scores: Node) -> Node:
        scores = reshape(scores, (rows, classes))
        wanted = reshape(gather(scores, own, arg=(1,)), (rows, classes, 1))
        gap = add(sub(1.0, wanted), reshape(scores, (rows, 1, classes)))
        loss = where(logical_and(compared, gt(gap, 0.0)), gap, 0.0)
        each = sum_(loss, arg=((1,), False))
        return _averaged(each, classes, shape[:-1], reduction)

    return wrap(tagged(in_compute_dtype(formula, x), "MultilabelMarginLoss", x))
