"""Scaled dot-product attention (Vaswani et al. 2017): softmax(q k^T * scale + mask) v.

    q, k, v = torch.randn(3, 2, 8, 5, 16)           # (batch, heads, steps, features) each
    scaled_dot_product_attention(q, k, v, is_causal=True)       # (batch, heads, steps, features)

It is written out in primitives: the compiler makes the scale, the mask and the softmax of the
scores one kernel between two products.
"""

from __future__ import annotations

import math
from typing import Any

from lazyt.dispatch import c_name, is_tensor, scalar_name, tagged, type_name, wrap
from lazyt.functions.matrix_products import compute_matmul
from lazyt.functions.ranges import arange
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import bool_, float32
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_linalg import transposed
from lazyt.ir.ops_reduce import amax
from lazyt.ir.ops_scan import softmax
from lazyt.ir.ops_shape import reshape
from lazyt.ir.overwritten import kept_apart
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .dropout import dropout

MINUS_INFINITY = -math.inf


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Means of `value` (…, S, Ev), weighted by how `query` (…, L, E) fits `key` (…, S, E):
    (…, L, Ev).

    attn_mask: broadcasts to (…, L, S). Of bool: False where a key does not count; of the query's
    dtype or float32: added to the scores. is_causal: only keys up to the query's own place count.
    A row in which no key counts gives zeros. dropout_p: of the weights, applied always. scale:
    1 / sqrt(E) where it is left out. enable_gqa: each head of key and value serves as many heads
    of the query, side by side.

    Errors: RuntimeError for dtypes and shapes that do not fit.
    """
    q, k, v = _operands(query, key, value)
    mask = None if attn_mask is None else _checked_mask(node_of(attn_mask), q)
    fused = len(q.type.shape) == 4 and not dropout_p
    if mask is not None and is_causal and not fused:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
            "is_causal=True"
        )
    if dropout_p and not 0.0 <= dropout_p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p:g}")
    dtype, operands = q.type.dtype, (q, k, v)
    if enable_gqa:
        k, v = _repeated(k, q), _repeated(v, q)
    q, k, v = (cast(n, dtype.compute) for n in (q, k, v))
    factor = 1.0 / math.sqrt(q.type.shape[-1] or 1) if scale is None else float(scale)
    # PyTorch saves scaled copies of the first two.
    scores = ops.mul(compute_matmul(kept_apart(q), transposed(kept_apart(k))), factor)
    weights = _softmax(scores, mask, is_causal)
    if dropout_p:
        weights = node_of(dropout(wrap(weights), dropout_p, True))
    result = cast(compute_matmul(weights, v), dtype)
    if fused and q.type.device == "cpu":
        tagged(result, "ScaledDotProductFlashAttentionForCpu", *operands)
    return wrap(result)


def _operands(*tensors: Any) -> tuple[Node, ...]:
    """The nodes of query, key and value, of one dtype and two dimensions at least."""
    for i, (t, name) in enumerate(zip(tensors, ("query", "key", "value")), 1):
        if not is_tensor(t):
            raise TypeError(
                f"scaled_dot_product_attention(): argument '{name}' (position {i}) must be Tensor, "
                f"not {type_name(t)}"
            )
    nodes = tuple(map(node_of, tensors))
    kinds = [c_name(n.type.dtype) for n in nodes]
    if len(set(kinds)) > 1:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{kinds[0]} key.dtype: {kinds[1]} and value.dtype: {kinds[2]} instead."
        )
    ranks = [len(n.type.shape) for n in nodes]
    if min(ranks) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{ranks[0]} key.dim: {ranks[1]} and value.dim: {ranks[2]} instead."
        )
    if not nodes[0].type.dtype.is_floating_point:
        kind = scalar_name(nodes[0].type.dtype)
        raise RuntimeError(f"expected scalar type Float but found {kind}")
    return nodes


def _checked_mask(mask: Node, query: Node) -> Node:
    dtype = mask.type.dtype
    if dtype not in (bool_, float32, query.type.dtype):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            f"attn_mask.dtype: {c_name(mask.type.dtype)} and  query.dtype: "
            f"{c_name(query.type.dtype)} instead."
        )
    return mask


def _repeated(x: Node, query: Node) -> Node:
    """Heads of key or value, each as often as the query has heads for it."""
    from lazyt.ir.ops_rearrange import repeat_each_

    heads, have = query.type.shape[-3], x.type.shape[-3]
    if heads == have:
        return x
    if not have or heads % have:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in ")
    return repeat_each_(x, arg=(heads // have, len(x.type.shape) - 3))


def _softmax(scores: Node, mask: Node | None, causal: bool) -> Node:
    """Weights of the scores, in rows without a key that counts 0."""
    shape = scores.type.shape
    if not shape[-1]:
        return scores
    if causal:
        reached = _up_to_own_place(shape[-2:], scores)
        if mask is None:
            scores = ops.where(reached, scores, MINUS_INFINITY)
        elif mask.type.dtype is bool_:
            mask = ops.logical_and(mask, reached)
        else:
            mask = ops.where(reached, mask, MINUS_INFINITY)
    if mask is None:
        return softmax(scores, arg=(len(shape) - 1,))
    if mask.type.dtype is bool_:
        scores = ops.where(mask, scores, MINUS_INFINITY)
        nothing = ops.logical_not(_any(mask))
    else:
        mask = cast(mask, scores.type.dtype)
        scores = ops.add(scores, mask)
        nothing = ops.eq(_largest(mask), MINUS_INFINITY)
    # Not a nan where nothing counts, which would be one in gradients too.
    safe = softmax(ops.where(nothing, 0.0, scores), arg=(len(shape) - 1,))
    return ops.where(nothing, 0.0, safe)


def _largest(mask: Node) -> Node:
    """The largest element of each row, which stands for the row."""
    if not mask.type.shape:
        return mask
    return amax(mask, arg=((len(mask.type.shape) - 1,), True))


def _any(mask: Node) -> Node:
    """Whether anything is true in each row, which stands for the row."""
    return ops.gt(_largest(cast(mask, float32)), 0.0)


def _up_to_own_place(shape: tuple[int, ...], like: Node) -> Node:
    """bool (L, S): the keys at places up to that of the query."""
    rows, columns = (node_of(arange(n, device=like.type.device)) for n in shape)
    return ops.ge(reshape(rows, (shape[0], 1)), reshape(columns, (1, shape[1])))
