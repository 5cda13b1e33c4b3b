"""Indices as the functions that read or write at them take them: their checks and conversions.

    check_known(index, 0, 3, 0, IndexError, "{bad} is out of range")    # at once, where it is known
    strict(index, 3, axis=0)                                            # else when it is computed

Unlike subscripts, most of these functions do not count negative indices from the end.
"""

from __future__ import annotations

from typing import Any

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast, cast_
from lazyt.ir.ops_index import index_checked
from lazyt.ir.ops_shape import reshape, reshape_

from ..dispatch import known, scalar_name
from ..state import check_overlap, check_own_overlap, node_of
from ..tensor import Tensor

OUT_OF_SELF = "index out of range in self"
BOUNDS = "index {bad} is out of bounds for dimension {axis} with size {extent}"


def tensor(x: Any, name: str, argument: str = "input", position: int = 1) -> Tensor:
    """`x` if it is a Tensor; TypeError in PyTorch's words if not."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
            f"{type(x).__name__}"
        )
    return x


def check_apart(out: Any, *sources: Tensor) -> None:
    """RuntimeError where an `out` shares memory with itself or with what is read."""
    if isinstance(out, Tensor):
        check_own_overlap(out)
        for t in sources:
            check_overlap(out, t, apart=True)


def index_of(index: Tensor, name: str, message: str) -> Node:
    """The index as int64; RuntimeError with `message` for dtypes other than int64 and int32."""
    node = node_of(tensor(index, name, "index", 3))
    if node.type.dtype is not dtypes.int64 and node.type.dtype is not dtypes.int32:
        raise RuntimeError(message)
    return cast(node, dtypes.int64)


_SAME_INDICES = (cast_, reshape_)  # what may stand between an index and the user's tensor


def _known_index(node: Node) -> Any:
    """The array of an index, in some shape and dtype, where it can be looked at now."""
    while node.value is None and node.op in _SAME_INDICES:
        node = node.src[0]
    return known(node)


def strict(node: Node, extent: int, axis: int) -> Node:
    """An index for an operation that would count negative ones from the end: where it is not known
    yet, it is checked when it is computed."""
    return node if _known_index(node) is not None else index_checked(node, extent, arg=(axis,))


def check_known(node: Node, low: int, extent: int, axis: int, error: type, text: str) -> None:
    """Raises where a known index is not in [low, extent)."""
    value = _known_index(node)
    if value is None or not value.size:
        return
    outside = (value < low) | (value >= extent)
    if outside.any():
        bad = int(value[outside].flat[0])
        raise error(text.format(bad=bad, axis=axis, extent=extent))


def within(node: Node, shape: tuple[int, ...], axis: int) -> None:
    """RuntimeError where a known index is outside of the axis."""
    check_known(node, 0, shape[axis] if shape else 1, axis, RuntimeError, BOUNDS)


def index_vector(index: Tensor, name: str, message: str) -> Node:
    """An index of one dimension, or of none as one of one element; IndexError for other ranks."""
    at = index_of(index, name, message)
    if len(at.type.shape) > 1:
        shown = ""
        if name == "index_add_":
            kind, extents = scalar_name(index.dtype), list(at.type.shape)
            shown = f", but got dim: {len(extents)} with type: {kind} and size: {extents}"
        raise IndexError(f"{name}(): Index is supposed to be a vector{shown}")
    return at if at.type.shape else reshape(at, (1,))


def long_index(index: Tensor, name: str) -> Node:
    """An index of int64; RuntimeError for other dtypes."""
    at = node_of(tensor(index, name, "index", 2))
    if at.type.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}(): Expected a long tensor for index, but got {scalar_name(at.type.dtype)}"
        )
    return at


def check_numbers(at: Node, total: int) -> None:
    """IndexError where a known number of an element, from either end, is not one of `total`."""
    text = f"out of range: tried to access index {{bad}} on a tensor of {total} elements."
    check_known(at, -total, total, 0, IndexError, text)
