"""Extremes and truth values over some or all dimensions: max, argmax, amax, aminmax, all, any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_reduce as red
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import copy, reshape

from ..dispatch import c_name, deliver, scalar_name, tagged, without_history
from ..registry import FUNCTIONS
from ..tensor import Tensor
from .dims import (
    Axes,
    at_least_vector,
    axes_of,
    check_keepdim,
    check_nonempty,
    deliver_pair,
    input_node,
    numbered,
    one_dim,
    overloaded_dim,
    publish,
    selected,
)


def _extreme(name: str, whole: Any, along: Any, between: str) -> Callable:
    """max or min, in their three forms."""
    title = name.title()

    def function(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        other: Tensor | None = None,
        out: Any = None,
    ) -> Any:
        if isinstance(dim, Tensor) and other is None:
            other = dim
        if other is not None:
            return FUNCTIONS[between](input, other, out=out)
        node = input_node(input, name)
        rank = len(node.type.shape)
        if dim is None:
            axes = tuple(range(rank))
            check_nonempty(node, None, axes, name)
            result = whole(node, arg=(axes, False))
            return deliver(numbered(result, f"{title}Backward1", node), out, name)
        axis = overloaded_dim(dim, rank, name)
        check_keepdim(keepdim, name)
        check_nonempty(node, axis, (axis,), name)
        pair = selected(along, node, axis, keepdim, f"{title}Backward0")
        return deliver_pair(name, pair, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The {name}imum of all elements (ties share the gradient); with `dim`, values and indices "
        f"along it; with another tensor, `{between}`."
    )
    return function


def _extreme_over(name: str, op: Any) -> Callable:
    """amax or amin."""

    def function(
        input: Tensor, dim: Any = (), keepdim: bool = False, *, out: Tensor | None = None
    ) -> Tensor:
        node = input_node(input, name)
        axes = axes_of(dim, len(node.type.shape), name)
        check_nonempty(node, dim, axes, name)
        if out is not None and out.dtype is not node.type.dtype:
            raise RuntimeError(
                "Expected the dtype for input and out to match, but got "
                f"{scalar_name(node.type.dtype)} for input's dtype and {scalar_name(out.dtype)} "
                "for out's dtype."
            )
        return deliver(tagged(op(node, arg=(axes, keepdim)), name.title(), node), out, name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {name[1:]}imum over `dim`; ties share the gradient evenly."
    return function


def _index_of_extreme(name: str, op: Any) -> Callable:
    """argmax or argmin."""

    def function(
        input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Tensor | None = None
    ) -> Tensor:
        node = input_node(input, name)
        shape = node.type.shape
        if node.type.dtype is dtypes.bool_:
            raise RuntimeError(f"{name}(): does not support bool input")
        if out is not None and out.dtype is not dtypes.int64:
            raise RuntimeError(
                f"Expected out tensor to have dtype long int, but got {c_name(out.dtype)} instead"
            )
        if dim is None:
            check_nonempty(node, None, (), name, IndexError)
            result = op(reshape(node, (node.type.numel,)), arg=((0,), False))
            if keepdim and shape:
                result = copy(reshape(result, (1,) * len(shape)))
            return deliver(result, out, name)
        axis = one_dim(dim, len(shape), name)
        check_nonempty(node, axis, (axis,), name)
        result = op(at_least_vector(node), arg=((axis,), keepdim and bool(shape)))
        return deliver(result, out, name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Where the first {name[3:]}imum is: along `dim`, or counted row-major."
    return without_history(function)


def aminmax(
    input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None
) -> Any:
    """Minimum and maximum, over one dimension or everything."""
    node = input_node(input, "aminmax")
    rank = len(node.type.shape)
    if dim is None:
        if not node.type.numel:
            raise RuntimeError(
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
                "identity."
            )
        axes: Axes = tuple(range(rank))
    else:
        axis = one_dim(dim, rank, "aminmax", "")
        axes = (axis,) if rank else ()
        if rank and node.type.shape[axis] == 0:
            raise IndexError(f"aminmax: Expected reduction dim {axis} to have non-zero size.")
    low = tagged(red.amin(node, arg=(axes, keepdim)), "Aminmax", node)
    high = tagged(red.amax(node, arg=(axes, keepdim)), "Aminmax", node)
    return deliver_pair("aminmax", (low, high), out)


# --- truth ----------------------------------------------------------------------------------------


def _truth(name: str, op: Any) -> Callable:
    """all or any."""

    def function(
        input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Tensor | None = None
    ) -> Tensor:
        node = input_node(input, name)
        axes = axes_of(dim, len(node.type.shape), name)
        result = op(cast(node, dtypes.bool_), arg=(axes, keepdim))
        if out is not None:
            if out.dtype is not dtypes.bool_ and out.dtype is not dtypes.uint8:
                raise RuntimeError(
                    f"{name} only supports bool tensor for result, got: {scalar_name(out.dtype)}"
                )
            result = cast(result, out.dtype)
        elif node.type.dtype is dtypes.uint8:
            result = cast(result, dtypes.uint8)
        return deliver(result, out, name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Whether {name} of the elements are not zero: bool (uint8 for uint8)."
    return without_history(function)


publish(aminmax)
for _function in (
    _extreme("max", red.amax_whole, red.max_with_index, "maximum"),
    _extreme("min", red.amin_whole, red.min_with_index, "minimum"),
    _extreme_over("amax", red.amax),
    _extreme_over("amin", red.amin),
    _index_of_extreme("argmax", red.argmax),
    _index_of_extreme("argmin", red.argmin),
    _truth("all", red.all_),
    _truth("any", red.any_),
):
    publish(_function)
