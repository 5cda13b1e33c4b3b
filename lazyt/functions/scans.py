"""Scans: running sums, products and extremes along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_reduce as red
from lazyt.ir import ops_scan as scan
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.opdef import Op
from lazyt.ir.ops_shape import copy, reshape

from ..dispatch import EXACT, deliver, fit_exactly, scalar_name, tagged, unsupported, update
from ..registry import FUNCTIONS
from ..state import check_writable
from ..tensor import Tensor
from .dims import (
    at_least_vector,
    deliver_pair,
    input_node,
    numbered,
    numpy_words,
    one_dim,
)
from .reductions import accumulated

IN_PLACE = (
    "Bad in-place call: input tensor dtype {have_c} and output tensor dtype {want_c} should match"
)


def _scanned(op: Op, x: Node, dim: Any, name: str) -> Node:
    axis = one_dim(dim, len(x.type.shape), name)
    if x.type.shape:
        return op(x, arg=(axis,))
    return copy(reshape(op(at_least_vector(x), arg=(0,)), ()))


def _running_total(name: str, op: Op) -> None:
    """cumsum or cumprod, and its in-place form; integers and bools run in int64."""

    def compute(input: Any, dim: Any, dtype: DType | None, out: Tensor | None) -> Node:
        node = input_node(input, name)
        x = accumulated(node, dtype, out)
        if x.type.dtype is dtypes.bool_:
            raise unsupported(f"{name}_out_cpu", x.type.dtype)
        return tagged(_scanned(op, x, dim, name), name.title(), node)

    def function(
        input: Tensor, dim: int, *, dtype: DType | None = None, out: Tensor | None = None
    ) -> Tensor:
        return deliver(compute(input, dim, dtype, out), out, name, EXACT)

    def inplace(self: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
        check_writable(self)
        if dtype is not None:
            fit_exactly(dtype, self.dtype, IN_PLACE)
        return update(self, compute(self, dim, self.dtype, None))

    function.__name__ = function.__qualname__ = name
    what = {"cumsum": "sums", "cumprod": "products"}[name]
    function.__doc__ = f"The running {what} along `dim`."
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    _publish(function, inplace)


def _publish(function: Callable, inplace: Callable | None = None) -> None:
    called = numpy_words(function)
    FUNCTIONS[function.__name__] = called
    setattr(Tensor, function.__name__, called)
    if inplace is not None:
        setattr(Tensor, inplace.__name__, numpy_words(inplace))


def logcumsumexp(input: Tensor, dim: int, *, out: Tensor | None = None) -> Tensor:
    """The logarithms of running sums of exponentials along `dim`, without overflow."""
    node = input_node(input, "logcumsumexp")
    if node.type.dtype.category != FLOATING:
        raise NotImplementedError(
            f"\"logcumsumexp_out_cpu\" not implemented for '{scalar_name(node.type.dtype)}'"
        )
    result = _scanned(scan.logcumsumexp, node, dim, "logcumsumexp")
    text = "expected scalar_type {want} but found {have}"
    return deliver(tagged(result, "Logcumsumexp", node), out, exact=text)


def _running_extreme(name: str, op: Op) -> None:
    """cummax or cummin."""

    def function(input: Tensor, dim: int, *, out: Any = None) -> Any:
        node = input_node(input, name)
        axis = one_dim(dim, len(node.type.shape), name)
        pair = op(at_least_vector(node), arg=(axis,))
        values, indices = (red.get(pair, i) for i in range(2))
        if not node.type.shape:
            values, indices = reshape(values, ()), reshape(indices, ())
        values = numbered(copy(values), f"{name.title()}Backward0", node, saves=False)
        return deliver_pair(name, (values, copy(indices)), out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The running {name[3:]}imum along `dim`, and where it was last reached."
    _publish(function)


_running_total("cumsum", scan.cumsum)
_running_total("cumprod", scan.cumprod)
_publish(logcumsumexp)
_running_extreme("cummax", scan.cummax)
_running_extreme("cummin", scan.cummin)
