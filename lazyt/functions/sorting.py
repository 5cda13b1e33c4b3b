"""Sorting, searching and counting.

Sorts are stable in both directions; nan counts as larger than every number. What has a shape that
depends on values (unique, bincount) is computed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index as as_int
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir import ops_order as order
from lazyt.ir import ops_reduce as red
from lazyt.ir.dtypes import FLOATING
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.numerics import sort as ordering
from lazyt.ir.ops_device import common_device
from lazyt.ir.ops_elementwise import cast, full
from lazyt.ir.ops_index import gather
from lazyt.ir.ops_shape import copy, reshape

from ..dispatch import (
    EXACT,
    NoDerivative,
    c_name,
    deliver,
    from_array,
    leading_to,
    number_of,
    promoted,
    scalar_name,
    unsupported,
    wrap,
)
from ..registry import FUNCTIONS
from ..state import array_of, node_of
from ..tensor import Tensor, wrap_dim
from .dims import (
    at_least_vector,
    deliver_pair,
    input_node,
    numbered,
    numpy_words,
    one_dim,
)

# --- sort and topk --------------------------------------------------------------------------------


def _sorted_pair(node: Node, pair: Node, grad_name: str) -> tuple[Node, Node]:
    """Values and indices of a sort of `node` (lifted where it is 0-d), owning their memory."""
    values, indices = red.get(pair, 0), red.get(pair, 1)
    if not node.type.shape:
        values, indices = reshape(values, ()), reshape(indices, ())
    return numbered(copy(values), grad_name, node, saves=False), copy(indices)


def sort(
    input: Tensor,
    dim: int = -1,
    descending: bool = False,
    *,
    stable: bool | None = None,
    out: Any = None,
) -> Any:
    """The elements along `dim` in order, and where they were; always stable."""
    node = input_node(input, "sort")
    axis = one_dim(dim, len(node.type.shape), "sort")
    pair = order.sort(at_least_vector(node), arg=(axis, bool(descending)))
    grad_name = "SortBackward0" if stable is None else "SortBackward1"
    return deliver_pair("sort", _sorted_pair(node, pair, grad_name), out, input)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Where the elements in order along `dim` are."""
    return sort(input, dim, descending)[1]


def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`sort` along the first dimension, without the indices."""
    node = input_node(input, "msort")
    pair = order.sort(at_least_vector(node), arg=(0, False))
    return deliver(_sorted_pair(node, pair, "SortBackward0")[0], out, "msort", EXACT)


def topk(
    input: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    out: Any = None,
) -> Any:
    """The `k` largest (or smallest) elements along `dim`, in order, and where they are."""
    node = input_node(input, "topk")
    shape = node.type.shape
    axis = one_dim(dim, len(shape), "topk")
    k = as_int(k)
    if not 0 <= k <= (shape[axis] if shape else 1):
        raise RuntimeError("selected index k out of range")
    if node.type.dtype is dtypes.bool_:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    pair = order.topk(at_least_vector(node), arg=(axis, k, bool(largest)))
    if not shape and not k:
        values, indices = (copy(red.get(pair, i)) for i in range(2))
        return deliver_pair("topk", (values, indices), out)
    return deliver_pair("topk", _sorted_pair(node, pair, "TopkBackward0"), out)


# --- unique ---------------------------------------------------------------------------------------


def _axis(dim: Any, rank: int) -> int | None:
    return None if dim is None else wrap_dim(as_int(dim), rank)


def _unique_results(
    results: tuple[np.ndarray, ...],
    source: Node,
    name: str,
    return_inverse: bool,
    return_counts: bool,
) -> Any:
    """name: of PyTorch's function, which has no derivative."""
    values, inverse, counts = results
    type = source.type
    out = [from_array(np.ascontiguousarray(values), type.dtype, type.device)]
    if source.grad and LOCAL.grad:
        words = "".join(word.title() for word in name.split("_"))
        total = red.sum_(source, arg=(tuple(range(len(type.shape))), False))
        node = leading_to(node_of(out[0]), f"{words}Backward0", total)
        node.tag.call = NoDerivative(
            f"the derivative for '{name}' is not implemented.", NotImplementedError
        )
        out[0] = wrap(node)
    for wanted, numbers in ((return_inverse, inverse), (return_counts, counts)):
        if wanted:
            whole = np.array(numbers, np.int64, order="C")
            out.append(from_array(whole, dtypes.int64, type.device))
    return out[0] if len(out) == 1 else tuple(out)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements (or slices along `dim`) in order; with them, where each element went
    and how often each occurs. Computed at once, as the result's shape depends on the values."""
    node = input_node(input, "unique")
    axis = _axis(dim, len(node.type.shape))
    if node.type.dtype.is_complex:
        raise unsupported("unique", node.type.dtype)
    results = ordering.unique(array_of(input), axis)
    name = "_unique2" if axis is None else "unique_dim"
    return _unique_results(results, node, name, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """One element (or slice along `dim`) of every run of equal neighbours. Computed at once."""
    node = input_node(input, "unique_consecutive")
    axis = _axis(dim, len(node.type.shape))
    if node.type.dtype.is_complex:
        raise unsupported("unique", node.type.dtype)
    results = ordering.unique_consecutive(array_of(input), axis)
    return _unique_results(results, node, "unique_consecutive", return_inverse, return_counts)


# --- counting -------------------------------------------------------------------------------------


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number 0, 1, 2, ... occurs, or the sums of their weights. Computed at once.

    Errors: RuntimeError for negative numbers, matrices and weights of another size.
    """
    node = input_node(input, "bincount")
    if node.type.dtype.category >= FLOATING or node.type.dtype is dtypes.bool_:
        raise NotImplementedError(
            f"\"bincount_cpu\" not implemented for '{scalar_name(node.type.dtype)}'"
        )
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None:
        common_device(node, node_of(weights))
    numbers = array_of(input)
    if numbers.ndim == 1 and not numbers.size:
        return wrap(full((minlength,), 0, dtypes.int64, node.type.device))
    if numbers.ndim != 1 or int(numbers.min()) < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        counts = np.bincount(numbers, minlength=minlength)
        return from_array(counts.astype(np.int64, copy=False), dtypes.int64, node.type.device)
    if node_of(weights).type.shape != node.type.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    sums = np.bincount(numbers, array_of(weights), minlength)
    dtype = weights.dtype if weights.dtype is dtypes.float32 else dtypes.float64
    return from_array(sums.astype(dtype.numpy, copy=False), dtype, node.type.device)


def histc(
    input: Tensor,
    bins: int = 100,
    min: float = 0,
    max: float = 0,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Counts of the elements in equal parts of [min, max]; of their range where both are equal."""
    node = input_node(input, "histc")
    if node.type.dtype.category != FLOATING:
        raise NotImplementedError(
            f"\"histogram_cpu\" not implemented for '{scalar_name(node.type.dtype)}'"
        )
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    low, high = float(number_of(min)), float(number_of(max))
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    if out is not None and out.dtype is not node.type.dtype:
        raise RuntimeError(
            "torch.histogram: input tensor and hist tensor should have the same dtype, but got "
            f"input {c_name(node.type.dtype)} and hist {c_name(out.dtype)}"
        )
    return deliver(order.histogram(node, arg=(bins, low, high)), out)


# --- searching ------------------------------------------------------------------------------------


def _after(right: bool, side: str | None, name: str) -> bool:
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.{name}(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            f"torch.{name}(): side and right can't be set to opposites, got side of left while "
            "right was True"
        )
    return right or side == "right"


_OUT_OF_SEARCH = (
    "torch.searchsorted(): output tensor's dtype is wrong, it can only be Int(int32) or "
    "Long(int64) depending on whether out_int32 flag is True, but we got output tensor's dtype "
    "{have} and out_int32 flag is {flag}"
)


def _positions(rows: Node, values: Any, right: bool, out_int32: bool, out: Tensor | None) -> Tensor:
    number = number_of(values)
    if number is None:
        (rows, node), _ = promoted(rows, node_of(values))
    else:
        # A number is placed in float64, as numbers between two integers have a place too.
        exact = dtypes.int64 if number.__class__ is int else dtypes.float64
        rows = cast(rows, dtypes.promote(rows.type.dtype, exact))
        node = full((), number, rows.type.dtype, rows.type.device)
    if rows.type.dtype is dtypes.bool_ and rows.type.numel and node.type.numel:
        raise unsupported("searchsorted_out_cpu", rows.type.dtype)
    text = _OUT_OF_SEARCH.format(have="{have}", flag=bool(out_int32))
    places = order.searchsorted(rows, node, arg=(right, bool(out_int32)))
    return deliver(places, out, exact=text)


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Where each element of `input` goes in the sorted last dimension of `sorted_sequence`."""
    rows = input_node(sorted_sequence, "searchsorted")
    shape = rows.type.shape
    after = _after(right, side, "searchsorted")
    if isinstance(input, Tensor):
        wanted = node_of(input).type.shape
        if len(shape) != 1 and (shape[:-1] != wanted[:-1] or not wanted):
            raise RuntimeError(
                "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
                "dimensions of boundaries tensor and input value tensor must match, but we got "
                f"boundaries tensor {list(shape)} and input value tensor {list(wanted)}"
            )
    elif len(shape) != 1:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor "
            f"dimension is 1, but we got boundaries tensor dim({len(shape)}) and input value's "
            "dim(0) numel(1)"
        )
    if sorter is not None:
        rows = gather(rows, node_of(sorter), arg=(len(shape) - 1,))
    return _positions(rows, input, after, out_int32, out)


def bucketize(
    input: Any,
    boundaries: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """The bucket of each element between ascending boundaries."""
    rows = input_node(boundaries, "bucketize")
    if len(rows.type.shape) != 1:
        raise RuntimeError(
            f"boundaries tensor must be 1 dimension, but got dim({len(rows.type.shape)})"
        )
    return _positions(rows, input, bool(right), out_int32, out)


_METHODS: tuple[Callable, ...] = (
    numpy_words(sort),
    numpy_words(argsort),
    numpy_words(topk),
    msort,
    unique,
    unique_consecutive,
    bincount,
    histc,
)
for _function in _METHODS:
    FUNCTIONS[_function.__name__] = _function
    setattr(Tensor, _function.__name__, _function)
FUNCTIONS["searchsorted"] = searchsorted
FUNCTIONS["bucketize"] = bucketize
