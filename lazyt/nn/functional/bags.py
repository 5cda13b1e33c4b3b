"""Bags of rows looked up and reduced: `embedding_bag`.

    embedding_bag([0, 2, 1], [[1.], [2.], [4.]], offsets=[0, 1])     means of rows 0 and of 2, 1
    # [[1.0], [3.0]]

Which bag a place belongs to is a comparison of its position with the offsets, so that nothing is
read: it is computed with the rest.
"""

from __future__ import annotations

import lazyt
from lazyt.dispatch import known, tagged, wrap
from lazyt.functions.views import _legacy_name
from lazyt.ir.dtypes import int32, int64
from lazyt.ir.node import Node
from lazyt.ir.ops_nn import row_pick, row_put
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .common import tensor_node
from .embedding import renormalize, shared_by_frequency

_SWAPPED = (
    "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, "
    "input, ...)` is deprecated, and should now be `embedding_bag(input, weight, ...)`."
)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of the rows of weight (R, D) that each bag of integers names: (B, D).

    input: (B, n), bags of one size; or (L,), with the position where each bag starts in
        offsets (B,), and where the last one ends too if include_last_offset.
    per_sample_weights: what each row is multiplied by, for sums. padding_idx: a row that counts
        for nothing. Gradients are dense, whatever `sparse` says.
    Errors: ValueError, RuntimeError in PyTorch's words.
    """
    if weight.dtype is int64 and input.is_floating_point():
        warn(_SWAPPED)
        weight, input = input, weight
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then "
            f"it must have the same shape as the input ({input.shape})"
        )
    _check_operands(input, weight, offsets)
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if max_norm is not None:
        renormalize(weight, _rows_named(input, weight), float(max_norm), float(norm_type))
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )
    if per_sample_weights is not None and per_sample_weights.dtype != weight.dtype:
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have the same type as tensor for argument "
            f"#1 'per_sample_weights'; but type {_legacy_name(weight)} does not equal "
            f"{_legacy_name(per_sample_weights)} (while checking arguments for embedding_bag)"
        )
    if not weight.dtype.is_floating_point:
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: "
            f"Half, BFloat16, Float, Double; but got {_legacy_name(weight)} instead (while "
            "checking arguments for embedding_bag)"
        )
    index, w = _rows_named(input, weight), node_of(weight)
    rows = w.type.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise RuntimeError(
                f"padding_idx must be within the number of embeddings, -{rows} through "
                f"{rows - 1}, but got {padding_idx}"
            )
        padding_idx %= rows
    if scale_grad_by_freq and w.grad:
        w = shared_by_frequency(w, index)
    picked = wrap(row_pick(w, index, arg=(padding_idx,)))
    counts = None if padding_idx is None else wrap(index) != padding_idx
    if per_sample_weights is not None:
        picked = picked * per_sample_weights.unsqueeze(-1)
    if input.dim() == 2:
        result = _of_one_size(picked, counts, mode)
    else:
        assert offsets is not None
        result = _of_offsets(picked, counts, mode, offsets, include_last_offset)
    inputs = [node_of(t) for t in (weight, per_sample_weights) if t is not None]
    return wrap(tagged(node_of(result), "EmbeddingBag", *inputs))


def _not_integer(t: Tensor) -> RuntimeError:
    return RuntimeError(
        "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
        f"Long, Int; but got {_legacy_name(t)} instead (while checking arguments for embedding_bag)"
    )


def _check_operands(input: Tensor, weight: Tensor, offsets: Tensor | None) -> None:
    if weight.dim() != 2:
        raise ValueError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}"
        )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        return
    if input.dim() != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    if offsets.dtype not in (int64, int32):
        raise _not_integer(offsets)
    starts = known(node_of(offsets))
    if starts is not None and starts.size:
        if starts[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                f"from position 0. However, got {starts[0]}"
            )
        if starts[-1] > input.size(0):
            raise RuntimeError(
                f"offsets[-1] can not be greater than input's length {input.size(0)} but got "
                f"offsets[-1] of {starts[-1]}"
            )


def _rows_named(input: Tensor, weight: Tensor) -> Node:
    """The numbers of the rows as int64, checked as far as they are known."""
    node = tensor_node(input, "embedding_bag", "indices", 2)
    if node.type.dtype not in (int64, int32):
        raise _not_integer(input)
    named, rows = known(node), weight.size(0)
    if named is not None:
        flat = named.reshape(-1)
        wrong = ((flat < 0) | (flat >= rows)).nonzero()[0]
        if wrong.size:
            raise RuntimeError(
                f"Index {wrong[0]} of input takes value {flat[wrong[0]]} which is not in the valid "
                f"range [0, {rows})"
            )
    return node_of(input.to(int64))


def _of_one_size(picked: Tensor, counts: Tensor | None, mode: str) -> Tensor:
    """Bags (B, n, D) reduced to (B, D)."""
    if mode == "max":
        return _largest(picked, counts)
    if counts is None:
        return picked.sum(1) if mode == "sum" or not picked.size(1) else picked.mean(1)
    summed = picked.masked_fill(~counts.unsqueeze(-1), 0).sum(1)
    if mode == "sum":
        return summed
    return summed / counts.sum(1, keepdim=True).clamp_min(1)


def _largest(picked: Tensor, counts: Tensor | None) -> Tensor:
    if not picked.size(1):
        return picked.sum(1)
    if counts is None:
        return picked.max(1)[0]
    lowest = picked.masked_fill(~counts.unsqueeze(-1), -lazyt.inf).max(1)[0]
    return lowest.masked_fill(~counts.any(1, keepdim=True), 0)


def _of_offsets(
    picked: Tensor, counts: Tensor | None, mode: str, offsets: Tensor, include_last: bool
) -> Tensor:
    """Rows (L, D) reduced by bag to (B, D)."""
    starts = offsets[:-1] if include_last else offsets
    bags, length = starts.size(0), picked.size(0)
    if not bags or not length:
        return picked.new_zeros(bags, picked.size(1)) + picked.sum() * 0
    at = lazyt.arange(length, device=picked.device).unsqueeze(-1)
    bag = (at >= starts.to(int64)).sum(1) - 1
    if counts is not None and mode != "max":
        picked = picked.masked_fill(~counts.unsqueeze(-1), 0)
    if mode == "max":
        own = bag.unsqueeze(-1).expand_as(picked)
        held = picked if counts is None else picked.masked_fill(~counts.unsqueeze(-1), -lazyt.inf)
        low = picked.new_full((bags, picked.size(1)), -lazyt.inf)
        top = low.scatter_reduce(0, own, held, "amax", include_self=False)
        return top.masked_fill(top == -lazyt.inf, 0)
    summed = wrap(row_put(node_of(picked), node_of(bag), arg=(bags, None)))
    if mode == "sum":
        return summed
    ones = lazyt.ones(length, dtype=picked.dtype, device=picked.device)
    if counts is not None:
        ones = counts.to(picked.dtype)
    number = wrap(row_put(node_of(ones), node_of(bag), arg=(bags, None)))
    return summed / number.clamp_min(1).unsqueeze(-1)
