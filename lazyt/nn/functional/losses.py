"""Losses of class scores: cross_entropy, nll_loss; and what all losses share.

Formulas follow https://docs.pytorch.org/docs/2.13/nn.functional.html#loss-functions. Values of
targets are never read here: a target that is no class is an error where it is known, else when it
is computed.
"""

from __future__ import annotations

from lazyt.dispatch import known, scalar_name, tagged, wrap
from lazyt.functions.softmax import compute_softmax
from lazyt.ir.dtypes import int64, uint8
from lazyt.ir.node import Node
from lazyt.ir.numerics.nn import check_classes
from lazyt.ir.ops_elementwise import add, cast, div, eq, mul, neg, where
from lazyt.ir.ops_nn import class_count, nll
from lazyt.ir.ops_reduce import sum_
from lazyt.ir.ops_shape import expand, reshape
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .common import check_floating, not_differentiable, numbered, reduction_of, tensor_node


def check_reduction(reduction: str) -> None:
    """ValueError in PyTorch's words for anything but none, mean and sum."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def all_axes(node: Node) -> tuple[int, ...]:
    """Every axis of a node."""
    return tuple(range(len(node.type.shape)))


def total(node: Node) -> Node:
    """The sum of all elements."""
    return sum_(node, arg=(all_axes(node), False))


def reduced(node: Node, reduction: str) -> Node:
    """The elements, their sum or their mean."""
    if reduction == "none":
        return node
    summed = total(node)
    if reduction == "sum":
        return summed
    return div(summed, float(node.type.numel))


# --- class numbers --------------------------------------------------------------------------------


def _check_batch(x: Node, t: Node) -> None:
    """PyTorch's refusals of targets that do not fit the scores, first those of Python."""
    shape, ts = x.type.shape, t.type.shape
    if not shape:
        raise ValueError(f"Expected 1 or more dimensions (got {len(shape)})")
    if len(shape) == 1:
        if len(ts) == 1 and ts[0] != 1:
            raise ValueError(
                f"For 1D input, 1D target must have size 1, but got target size: {ts[0]}"
            )
    else:
        targets = ts[0] if ts else 0
        if targets != shape[0]:
            raise ValueError(
                f"Expected input batch_size ({shape[0]}) to match target batch_size ({targets})."
            )
        if not ts:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    if len(shape) <= 2:
        if len(ts) > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    elif len(shape) == 4:
        if len(ts) != 3:
            raise RuntimeError(
                "only batches of spatial targets supported (3D tensors) but got targets of "
                f"dimension: {len(ts)}"
            )
        if ts[1:] != shape[2:]:
            raise RuntimeError(f"size mismatch (got input: {list(shape)} , target: {list(ts)}")
    elif ts != (shape[0], *shape[2:]):
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {list(ts)}")


def _target(x: Node, t: Node, ignore: int) -> Node:
    """The target as int64, checked as far as it is known."""
    dtype = t.type.dtype
    if dtype is not int64 and dtype is not uint8:
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {scalar_name(dtype)}"
        )
    classes = known(t)
    if classes is not None:
        check_classes(classes, x.type.shape[1 if len(x.type.shape) > 1 else 0], ignore)
    t = cast(t, int64)
    if len(x.type.shape) == 1 and t.type.shape == (1,):
        t = reshape(t, ())
    return t


def _class_weight(x: Node, weight: Tensor) -> Node:
    w = node_of(weight)
    classes = x.type.shape[1 if len(x.type.shape) > 1 else 0]
    if w.type.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(w.type.shape)}"
        )
    if w.type.dtype is not x.type.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(x.type.dtype)} but found "
            f"{scalar_name(w.type.dtype)}"
        )
    return w


def _over_classes(w: Node, x: Node) -> Node:
    """One number a class, spread over the shape of the scores."""
    rank = len(x.type.shape)
    own = (w.type.shape[0],) if rank == 1 else (1, w.type.shape[0]) + (1,) * (rank - 2)
    return expand(reshape(w, own), x.type.shape)


def _nll(x: Node, t: Node, w: Node | None, ignore: int, reduction: str) -> Node:
    """The negative log likelihood of log-probabilities (N, C, *S) under targets (N, *S)."""
    kernel = "nll_loss_forward" if len(x.type.shape) <= 2 else "nll_loss2d_forward"
    not_differentiable(kernel, weight=w)
    picked = nll(x, t, arg=(ignore,))
    share = None
    if w is not None:
        # -w[t], and 0 for targets that are ignored.
        share = nll(_over_classes(w, x), t, arg=(ignore,))
        picked = neg(mul(picked, share))
    if reduction == "mean":
        # Not the number of targets: ignored ones do not count, and weights count as themselves.
        if share is None:
            count = class_count(t, arg=(ignore, x.type.dtype))
        else:
            count = neg(total(share))
        picked = div(total(picked) if t.type.shape else picked, count)
    elif reduction == "sum" and t.type.shape:
        picked = total(picked)
    if picked.grad:
        name = "NllLoss" if len(x.type.shape) <= 2 else "NllLoss2D"
        if reduction == "none" and len(x.type.shape) not in (1, 2, 4):
            name = "View"
        tagged(picked, name, x, keeps=(x,))
    return picked


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log likelihood: -weight[t] input[n, t] for the target t of every n.

    input: log-probabilities (C,), (N, C) or (N, C, *S). target: class numbers (), (N,) or (N, *S).
    mean: weighted. Errors: IndexError for a target that is no class and not ignore_index.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    x, t = tensor_node(input, "nll_loss_nd"), tensor_node(target, "nll_loss_nd", "target", 2)
    check_reduction(reduction)
    _check_batch(x, t)
    own = _target(x, t, ignore_index)
    kernel = "nll_loss2d_forward" if len(x.type.shape) > 2 else "nll_loss"
    check_floating(x, f"{kernel}_out_frame")
    w = None if weight is None else _class_weight(x, weight)
    return wrap(_nll(x, own, w, ignore_index, reduction))


# --- cross entropy --------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy of scores (C,), (N, C) or (N, C, *S) relative to targets.

    target: class numbers (), (N,) or (N, *S); or probabilities in the shape of the scores.
    label_smoothing: how much of every target is spread evenly over the classes.
    Errors: as `nll_loss`; RuntimeError for a smoothing above 1.
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of(size_average, reduce, reduction)
    x = tensor_node(input, "cross_entropy_loss")
    t = tensor_node(target, "cross_entropy_loss", "target", 2)
    check_reduction(reduction)
    if label_smoothing > 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    axis = 1 if len(x.type.shape) > 1 else 0
    if t.type.shape == x.type.shape:
        if not t.type.dtype.is_floating_point:
            raise RuntimeError(
                "Expected floating point type for target with class probabilities, got "
                f"{scalar_name(t.type.dtype)}"
            )
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        w = None if weight is None else _class_weight(x, weight)
        return wrap(_of_probabilities(x, t, w, axis, reduction, label_smoothing))
    scores = compute_softmax(x, axis, None, True)
    _check_batch(x, t)
    own = _target(x, t, ignore_index)
    w = None if weight is None else _class_weight(x, weight)
    loss = _nll(scores, own, w, ignore_index, reduction)
    if label_smoothing > 0.0:
        loss = _smoothed(loss, scores, own, w, axis, ignore_index, reduction, label_smoothing)
    return wrap(loss)


def _of_probabilities(
    x: Node, t: Node, w: Node | None, axis: int, reduction: str, smoothing: float
) -> Node:
    classes = x.type.shape[axis]
    scores = compute_softmax(x, axis, None, True)
    t = cast(t, x.type.dtype)
    if smoothing > 0.0:
        t = add(mul(t, 1.0 - smoothing), smoothing / classes)
    product = mul(scores, t)
    if w is not None:
        product = mul(product, _over_classes(w, x))
    if reduction == "none":
        return numbered(
            neg(sum_(product, arg=((axis,), False))), "NegBackward0", product, saves=False
        )
    summed = neg(total(product))
    if reduction == "sum":
        return summed
    count = x.type.numel // classes if classes else 0
    return numbered(div(summed, float(count)), "DivBackward1", summed, saves=False)


def _smoothed(
    loss: Node,
    scores: Node,
    t: Node,
    w: Node | None,
    axis: int,
    ignore: int,
    reduction: str,
    smoothing: float,
) -> Node:
    """(1 - s) loss + s / C times the loss under targets that are even over the classes."""
    weighted = scores if w is None else mul(scores, _over_classes(w, scores))
    even = neg(sum_(weighted, arg=((axis,), False)))
    even = where(eq(t, ignore), 0.0, even)
    if reduction != "none":
        even = total(even) if t.type.shape else even
    if reduction == "mean":
        if w is None:
            count = class_count(t, arg=(ignore, scores.type.dtype))
        else:
            count = neg(total(nll(_over_classes(w, scores), t, arg=(ignore,))))
        even = div(even, count)
    part = mul(even, smoothing / scores.type.shape[axis])
    return tagged(add(mul(loss, 1.0 - smoothing), part), "Add", loss, part)
