"""Attention of several heads, with its projections: what MultiheadAttention computes.

All heads stay one tensor (batch, heads, steps, features of a head); the projections of query, key
and value are one product where the three are one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lazyt
from lazyt.functions.padding import pad
from lazyt.ir.dtypes import DType
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .activations import softmax
from .attention import scaled_dot_product_attention
from .dropout import dropout
from .linear import linear

Masks = tuple[Tensor | None, Tensor | None]

# --- masks ----------------------------------------------------------------------------------------


def none_or_dtype(input: Any) -> DType | None:
    """The dtype of a mask, None for no mask. RuntimeError for anything else."""
    if input is None or isinstance(input, Tensor):
        return None if input is None else input.dtype
    raise RuntimeError("input to _none_or_dtype() must be None or torch.Tensor")


def canonical_mask(
    mask: Tensor | None,
    mask_name: str,
    other_type: DType | None,
    other_name: str,
    target_type: DType,
    check_other: bool = True,
) -> Tensor | None:
    """A mask to add to scores: what it is, or -inf where a mask of bool is true.

    Warns where another mask is of another dtype. Errors: AssertionError for masks of integers.
    """
    if mask is None:
        return None
    floating = mask.is_floating_point()
    if mask.dtype != lazyt.bool and not floating:
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for "
            "both instead.",
        )
    if floating:
        return mask
    nothing = lazyt.zeros((), dtype=target_type, device=mask.device)
    return lazyt.where(mask, -math.inf, nothing)


def _check_attn_mask(mask: Tensor, stack: int, tgt_len: int, src_len: int) -> None:
    expected = (tgt_len, src_len) if mask.dim() == 2 else (stack, tgt_len, src_len)
    if mask.dim() not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {mask.dim()} is not supported")
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}."
        )


def _merged_masks(masks: Masks, batch: int, heads: int, src_len: int) -> Tensor | None:
    """Both masks as one of four dimensions that broadcasts to (batch, heads, steps, keys)."""
    attn_mask, padding = masks
    if attn_mask is not None:
        lead = (1, 1) if attn_mask.dim() == 2 else (batch, heads)
        attn_mask = attn_mask.reshape(*lead, *attn_mask.shape[-2:])
    if padding is None:
        return attn_mask
    for axis, expected in enumerate((batch, src_len)):
        if padding.shape[axis] != expected:
            raise AssertionError(
                f"Expected key_padded_mask.shape[{axis}] to be {expected}, but got "
                f"{padding.shape[axis]}"
            )
    padding = padding.reshape(batch, 1, 1, src_len)
    return padding if attn_mask is None else attn_mask + padding


# --- shapes ---------------------------------------------------------------------------------------


def _is_batched(query: Tensor, key: Tensor, value: Tensor, masks: Masks, num_heads: int) -> bool:
    """Whether there is a dimension of the batch; AssertionError where ranks do not fit."""
    rank = query.dim()
    if rank not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor"
        )
    kind = f"{'batched' if rank == 3 else 'unbatched'} ({rank}-D) `query`, expected"
    attn_mask, padding = masks
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"For {kind} `key` and `value` to be {rank}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if padding is not None and padding.dim() != rank - 1:
        raise AssertionError(
            f"For {kind} `key_padding_mask` to be `None` or {rank - 1}-D but found "
            f"{padding.dim()}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(
                f"For {kind} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D "
                "tensor instead"
            )
        expected = (num_heads, query.shape[0], key.shape[0])
        if rank == 2 and attn_mask.dim() == 3 and tuple(attn_mask.shape) != expected:
            raise AssertionError(
                f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}"
            )
    return rank == 3


def _check_projected(key: Tensor, value: Tensor, separate: bool) -> None:
    if separate and key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    if not separate and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


# --- projections ----------------------------------------------------------------------------------


def _split(x: Tensor, parts: int, num_heads: int) -> list[Tensor]:
    """(steps, batch, parts * features) as so many (batch, heads, steps, features of a head)."""
    steps, batch, width = x.shape
    heads = x.reshape(steps, batch, parts, num_heads, width // (parts * num_heads))
    return list(heads.permute(2, 1, 3, 0, 4).unbind(0))


def _packed_projections(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None, num_heads: int
) -> list[Tensor]:
    """Heads of query, key and value by the rows of one weight; in one product where they are one
    tensor."""
    width = query.size(-1)
    if key is value and query is key:
        groups: list[tuple[Tensor, int]] = [(query, 3)]
    elif key is value:
        groups = [(query, 1), (key, 2)]
    else:
        groups = [(query, 1), (key, 1), (value, 1)]
    sizes = [width * parts for _, parts in groups]
    weights = weight.split(sizes) if len(groups) > 1 else (weight,)
    biases: Sequence[Tensor | None] = (None,) * len(groups)
    if bias is not None:
        biases = bias.split(sizes) if len(groups) > 1 else (bias,)
    heads: list[Tensor] = []
    for (x, parts), w, b in zip(groups, weights, biases):
        heads += _split(linear(x, w, b), parts, num_heads)
    return heads


def _separate_projections(
    tensors: tuple[Tensor, ...], weights: tuple[Any, ...], bias: Tensor | None, num_heads: int
) -> list[Tensor]:
    """Heads of query, key and value by a weight each."""
    names = ("query", "key", "value")
    width = tensors[0].size(-1)
    for name, t, w in zip(names, tensors, weights):
        if w is None:
            raise AssertionError(
                f"use_separate_proj_weight is True but {name[0]}_proj_weight is None"
            )
        if tuple(w.shape) != (width, t.size(-1)):
            raise AssertionError(
                f"expecting {name} weights shape of {(width, t.size(-1))}, but got {w.shape}"
            )
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return [_split(linear(t, w, b), 1, num_heads)[0] for t, w, b in zip(tensors, weights, biases)]


def _static(given: Tensor, name: str, batch: int, num_heads: int, width: int) -> Tensor:
    """Heads that the caller projected, (batch * heads, steps, features of a head)."""
    for axis, expected in ((0, batch * num_heads), (2, width)):
        if given.size(axis) != expected:
            raise AssertionError(
                f"expecting {name}.size({axis}) of {expected}, but got {given.size(axis)}"
            )
    return given.reshape(batch, num_heads, given.size(1), width)


def _with_key(heads: Tensor, extra: Tensor) -> Tensor:
    """One key more, behind those of every head: `extra` (1, heads, 1, features of a head)."""
    return lazyt.cat([heads, extra.expand(heads.shape[0], -1, -1, -1)], dim=2)


def _padded(masks: Masks) -> Masks:
    """The masks for one key more, which always counts."""
    first, second = (None if m is None else pad(m, (0, 1)) for m in masks)
    return first, second


# --- all of it ------------------------------------------------------------------------------------


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of query (L, N, E) to key (S, N, Ek) and value (S, N, Ev): (L, N, E), and the
    weights (N, L, S), or (N, heads, L, S) unless `average_attn_weights`, or None.

    The dimension N of the batch may be missing everywhere. key_padding_mask (N, S) and attn_mask
    (L, S) or (N * heads, L, S): of bool, true where a key does not count; else added to scores.
    bias_k and bias_v (1, 1, E) are one more key and its value, `add_zero_attn` adds one of zeros.
    static_k and static_v (N * heads, S, E / heads) take the place of projected ones.

    Errors: AssertionError and RuntimeError for shapes that do not fit.
    """
    masks: Masks = attn_mask, key_padding_mask
    batched = _is_batched(query, key, value, masks, num_heads)
    if not batched:
        one = query is key, key is value
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))
        # What was one tensor is one still: its projections are one product.
        key = query if one[0] else key
        value = key if one[1] else value
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    tgt_len, batch, embed_dim = query.shape
    src_len = key.shape[0]
    other = none_or_dtype(attn_mask)
    key_padding_mask = canonical_mask(
        key_padding_mask, "key_padding_mask", other, "attn_mask", query.dtype
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    is_causal = is_causal and key_padding_mask is None
    if is_causal and not need_weights:
        attn_mask = None
    else:
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
    if embed_dim != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}"
        )
    width = embed_dim // num_heads
    if width * num_heads != embed_dim:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    _check_projected(key, value, use_separate_proj_weight)
    if use_separate_proj_weight:
        own = (q_proj_weight, k_proj_weight, v_proj_weight)
        heads = _separate_projections((query, key, value), own, in_proj_bias, num_heads)
    else:
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        heads = _packed_projections(query, key, value, in_proj_weight, in_proj_bias, num_heads)
    q, k, v = heads
    if attn_mask is not None:
        _check_attn_mask(attn_mask, batch * num_heads, tgt_len, src_len)
    masks = attn_mask, key_padding_mask
    if (bias_k is None) != (bias_v is None):
        present, missing = ("bias_k", "bias_v") if bias_v is None else ("bias_v", "bias_k")
        raise AssertionError(f"{present} is set but {missing} is None")
    if bias_k is not None and bias_v is not None:
        for name, given in (("key", static_k), ("value", static_v)):
            if given is not None:
                raise AssertionError(f"bias cannot be added to static {name}.")
        shape = (1, num_heads, 1, width)
        k, v = _with_key(k, bias_k.reshape(shape)), _with_key(v, bias_v.reshape(shape))
        masks = _padded(masks)
    if static_k is not None:
        k = _static(static_k, "static_k", batch, num_heads, width)
    if static_v is not None:
        v = _static(static_v, "static_v", batch, num_heads, width)
    if add_zero_attn:
        nothing = lazyt.zeros((1, num_heads, 1, width), dtype=k.dtype, device=k.device)
        k, v = _with_key(k, nothing), _with_key(v, nothing)
        masks = _padded(masks)
    mask = _merged_masks(masks, batch, num_heads, k.size(2))
    rate = dropout_p if training else 0.0
    weights = None
    if need_weights:
        output, weights = _weighted(q, k, v, mask, rate)
        if average_attn_weights:
            weights = weights.mean(dim=1)
    else:
        output = scaled_dot_product_attention(q, k, v, mask, rate, is_causal)
    joined = output.permute(2, 0, 1, 3).reshape(tgt_len * batch, embed_dim)
    result = linear(joined, out_proj_weight, out_proj_bias)
    result = result.view(tgt_len, batch, result.size(1))
    if batched:
        return result, weights
    return result.squeeze(1), None if weights is None else weights.squeeze(0)


def _weighted(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, rate: float
) -> tuple[Tensor, Tensor]:
    """The means of the values and the weights of it; a row in which no key counts is nan."""
    scores = (q * math.sqrt(1.0 / q.size(-1))) @ k.transpose(-2, -1)
    weights = softmax(scores if mask is None else mask + scores, dim=-1)
    if rate > 0.0:
        weights = dropout(weights, p=rate)
    return weights @ v, weights
