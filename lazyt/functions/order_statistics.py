"""Order statistics: median, k-th value, mode, quantiles."""

from __future__ import annotations

from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_order as order
from lazyt.ir import ops_reduce as red
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_index import gather
from lazyt.ir.ops_shape import copy, expand, inverse, permute, reshape
from lazyt.ir.types import TensorType

from ..dispatch import deliver, number_of, tagged, unsupported
from ..state import array_of, node_of
from ..tensor import Tensor
from .dims import (
    check_nonempty,
    deliver_pair,
    input_node,
    numbered,
    one_dim,
    publish,
    selected,
)
from .indices import check_apart


def _median(name: str, ignore_nan: bool, along: Any) -> Any:
    title = name.title()

    def function(
        input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None
    ) -> Any:
        node = input_node(input, name)
        rank = len(node.type.shape)
        if node.type.dtype is dtypes.bool_:
            raise NotImplementedError("\"median_cpu\" not implemented for 'Bool'")
        if dim is None:
            result = order.median_value(node, arg=(tuple(range(rank)), False, ignore_nan))
            return deliver(tagged(result, title, node), out, name)
        axis = one_dim(dim, rank, name)
        check_nonempty(node, axis, (axis,), name)
        return deliver_pair(name, selected(along, node, axis, keepdim, f"{title}Backward1"), out)

    function.__name__ = function.__qualname__ = name
    without = " without counting nan" if ignore_nan else ""
    function.__doc__ = (
        f"The lower median{without}: of all elements (ties share the gradient), or along `dim` "
        "with its position."
    )
    return function


def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent element along `dim`, the smallest of several, and its last position."""
    node = input_node(input, "mode")
    axis = one_dim(dim, len(node.type.shape), "mode")
    check_nonempty(node, axis, (axis,), "mode")
    return deliver_pair("mode", selected(order.mode, node, axis, keepdim, "ModeBackward0"), out)


def kthvalue(
    input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None
) -> Any:
    """The k-th smallest element along `dim` (k counts from 1), and a position of it."""
    node = input_node(input, "kthvalue")
    for t in out or ():
        check_apart(t, input)
    shape = node.type.shape
    if node.type.dtype is dtypes.bool_:
        raise unsupported("kthvalue_cpu", node.type.dtype)
    axis = one_dim(dim, len(shape), "kthvalue")
    check_nonempty(node, axis, (axis,), "kthvalue")
    if not 1 <= k <= (shape[axis] if shape else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
    pair = selected(order.kthvalue, node, axis, keepdim, "KthvalueBackward0", k)
    return deliver_pair("kthvalue", pair, out)


# --- quantiles ------------------------------------------------------------------------------------

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _fractions(q: Any, type: TensorType, name: str) -> tuple[Node, bool]:
    """The probabilities as a vector, and whether there was only one."""
    if not isinstance(q, Tensor):
        number = number_of(q)
        if number is None:
            raise TypeError(
                f"{name}(): argument 'q' (position 2) must be Tensor, not {q.__class__.__name__}"
            )
        if not 0 <= number <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {number:g}")
        return ops.full((1,), float(number), type.dtype, type.device), True
    node = node_of(q)
    if len(node.type.shape) > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if node.type.dtype is not type.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    values = array_of(q)
    if not ((values >= 0) & (values <= 1)).all():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    return reshape(node, (node.type.numel,)), not node.type.shape


def compute_quantile(x: Node, q: Node, axis: int, interpolation: str, ignore_nan: bool) -> Node:
    """Quantiles along `axis`, which has one position a probability in the result."""
    rank = len(x.type.shape)
    extent = x.type.shape[axis]
    last = rank - 1
    to_last = (*(i for i in range(rank) if i != axis), axis)
    moved = permute(x, to_last)
    lead = moved.type.shape[:-1]
    values = red.get(order.sort(moved, arg=(last, False)), 0)
    count = q.type.shape[0]
    missing = ops.isnan(moved)
    if ignore_nan:
        numbers = cast(ops.logical_not(missing), x.type.dtype)
        top = ops.sub(red.sum_(numbers, arg=((last,), True)), 1.0)
        ranks = ops.clamp_min(ops.mul(q, top), 0.0)
    else:
        ranks = expand(ops.mul(q, float(extent - 1)), (*lead, count))
        spoiled = expand(red.any_(missing, arg=((last,), True)), ranks.type.shape)
        ranks = ops.where(spoiled, float(extent - 1), ranks)
    if interpolation == "lower":
        ranks = ops.floor(ranks)
    elif interpolation == "higher":
        ranks = ops.ceil(ranks)
    elif interpolation == "nearest":
        ranks = ops.round_(ranks)
    low = ops.floor(ranks)
    below = gather(values, cast(low, dtypes.int64), arg=(last,))
    if interpolation in ("linear", "midpoint"):
        above = gather(values, cast(ops.ceil(ranks), dtypes.int64), arg=(last,))
        weight = ops.sub(ranks, low)
        if interpolation == "midpoint":
            weight = ops.full_like(weight, 0.5)
        below = ops.add(below, ops.mul(weight, ops.sub(above, below)))
    return permute(below, inverse(to_last))


def _quantile(name: str, ignore_nan: bool) -> Any:
    def function(
        input: Tensor,
        q: Any,
        dim: int | None = None,
        keepdim: bool = False,
        *,
        interpolation: str = "linear",
        out: Tensor | None = None,
    ) -> Tensor:
        node = input_node(input, name)
        if not node.type.numel:
            raise RuntimeError(f"{name}() input tensor must be non-empty")
        dtype = node.type.dtype
        if dtype not in (dtypes.float32, dtypes.float64):
            raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
        if interpolation not in _INTERPOLATIONS:
            raise RuntimeError(
                f"{name}() interpolation must be one of linear, lower, higher, midpoint or "
                f"nearest, but got {interpolation}"
            )
        fractions, single = _fractions(q, node.type, name)
        shape = node.type.shape
        axis = 0 if dim is None else one_dim(dim, len(shape), name)
        x = reshape(node, (node.type.numel,)) if dim is None or not shape else node
        if not shape:
            axis = 0
        found = compute_quantile(x, fractions, axis, interpolation, ignore_nan)
        # The probabilities become the first dimension, the reduced one goes or stays as 1.
        rank = len(found.type.shape)
        found = permute(found, (axis, *(i for i in range(rank) if i != axis)))
        if dim is None:
            kept: tuple[int, ...] = (1,) * len(shape) if keepdim else ()
        else:
            kept = tuple(
                n
                for i, n in enumerate((*shape[:axis], 1, *shape[axis + 1 :]))
                if keepdim or i != axis
            )
            if not shape:
                kept = ()
        result = copy(reshape(found, kept if single else (found.type.shape[0], *kept)))
        text = "quantile() out tensor must be same dtype as the input tensor"
        quantiles = numbered(result, "SqueezeBackward4", node, saves=False)
        return deliver(quantiles, out, name, text)

    function.__name__ = function.__qualname__ = name
    without = " of the elements that are not nan" if ignore_nan else ""
    function.__doc__ = (
        f"The quantiles{without} for one probability or a vector of them, along `dim` or of all."
    )
    return function


publish(_median("median", False, order.median))
publish(_median("nanmedian", True, order.nanmedian))
publish(mode)
publish(kthvalue)
publish(_quantile("quantile", False))
publish(_quantile("nanquantile", True))
