"""softmax and log_softmax, as functions and methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.ir.dtypes import DType
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast, exp, sub
from lazyt.ir.ops_elementwise import log as log_
from lazyt.ir.ops_reduce import amax, sum_
from lazyt.ir.ops_scan import log_softmax as log_softmax_op
from lazyt.ir.ops_scan import softmax as softmax_op
from lazyt.ir.ops_shape import copy, replaced, reshape, stop

from ..dispatch import EXACT, as_dtype, deliver, scalar_name, tagged, type_name
from ..registry import public
from ..state import node_of
from ..tensor import Tensor, wrap_dim


def compute_softmax(node: Node, dim: int, dtype: DType | None, log: bool) -> Node:
    """(log_)softmax along `dim`; NotImplementedError for dtypes that are not floating-point."""
    x = cast(node, as_dtype(dtype, "softmax") or node.type.dtype)
    shape = x.type.shape
    if isinstance(dim, (bool, float)) or not hasattr(dim, "__index__"):
        raise TypeError(f"softmax(): argument 'dim' (position 1) must be int, not {type_name(dim)}")
    axis = wrap_dim(dim, len(shape))
    kind = x.type.dtype
    if not kind.is_floating_point and (x.type.numel or not shape):
        name = "log_softmax" if log else "softmax"
        if axis == max(len(shape) - 1, 0):
            name += "_lastdim"
        raise NotImplementedError(
            f"\"{name}_kernel_impl\" not implemented for '{scalar_name(kind)}'"
        )
    if not shape:  # along an axis of one
        alone = (log_softmax_op if log else softmax_op)(reshape(x, (1,)), arg=(0,))
        return tagged(copy(reshape(alone, ())), "LogSoftmax" if log else "Softmax", x)
    if log and kind.is_half and axis == len(shape) - 1 and 0 not in shape:
        return _rounded_log_softmax(x)
    return (log_softmax_op if log else softmax_op)(x, arg=(axis,))


def _rounded_log_softmax(x: Node) -> Node:
    """log_softmax of a half type along the last dimension.

    PyTorch's kernel rounds the sum of exponentials, and its logarithm, to the half type.
    """
    kind, axes = x.type.dtype, (len(x.type.shape) - 1,)
    history = log_softmax_op(x, arg=axes)
    wide = cast(stop(x) if x.grad else x, kind.compute)
    shifted = sub(wide, amax(wide, arg=(axes, True)))
    total = cast(sum_(exp(shifted), arg=(axes, True)), kind)
    result = cast(sub(shifted, cast(log_(total), kind.compute)), kind)
    return replaced(history, result) if history.grad else result


def _function(name: str, log: bool) -> Callable:
    def function(
        input: Tensor, dim: int, dtype: DType | None = None, *, out: Tensor | None = None
    ) -> Any:
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{name}(): argument 'input' (position 1) must be Tensor, not {type_name(input)}"
            )
        return deliver(compute_softmax(node_of(input), dim, dtype, log), out, exact=EXACT)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` along `dim`; with `dtype`, of the input converted first."
    return function


softmax = public(_function("softmax", False), "softmax")
log_softmax = public(_function("log_softmax", True), "log_softmax")
