"""Sums, means and moments over some or all dimensions.

Every function takes `dim` as None (all), an int or a tuple, and drops those dimensions unless
`keepdim`.
"""

from __future__ import annotations

import math
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_reduce as red
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.opdef import Op
from lazyt.ir.ops_complex import imag, real
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_scan import prod as product
from lazyt.warned import warn

from ..dispatch import as_dtype, deliver, scalar_name, tagged, unsupported, without_history, wrap
from ..registry import FUNCTIONS
from ..tensor import Tensor
from .dims import (
    Axes,
    axes_of,
    check_keepdim,
    count_of,
    input_node,
    numbered,
    numpy_words,
    overloaded_dim,
    publish,
)
from .numeric import in_dtype
from .pointwise import to_float

# --- sums -----------------------------------------------------------------------------------------


def accumulated(node: Node, dtype: DType | None, out: Tensor | None = None) -> Node:
    """The operand of a sum or product in the result's dtype: int64 for bools and integers."""
    if dtype is not None:
        return in_dtype(node, as_dtype(dtype, "sum") or node.type.dtype)
    if out is not None:
        return cast(node, out.dtype)
    have = node.type.dtype
    return cast(node, have if have.category >= FLOATING else dtypes.int64)


def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The sum over `dim`; integers and bools add up in int64 unless `dtype` is given."""
    node = input_node(input, "sum")
    x = accumulated(node, dtype, out)
    if x.type.dtype is dtypes.bool_:
        axes = axes_of(dim, len(x.type.shape), "sum")
        return deliver(red.any_(x, arg=(axes, keepdim)), out)
    if dim is None:
        result = red.sum_(x, arg=(tuple(range(len(x.type.shape))), keepdim))
        if x is not node:
            tagged(result, "Sum", node, saves=False)
        return deliver(result, out)
    check_keepdim(keepdim, "sum")
    axes = axes_of(dim, len(x.type.shape), "sum")
    result = red.sum_(x, arg=(axes, keepdim))
    return deliver(numbered(result, "SumBackward1", node, saves=False), out)


def compute_mean(x: Node, axes: Axes, keepdim: bool) -> Node:
    """Sum divided by count; half types go through float32 and are rounded once."""
    dtype = x.type.dtype
    total = red.sum_(cast(x, dtype.compute), arg=(axes, keepdim))
    return cast(ops.div(total, float(count_of(x, axes))), dtype)


def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The mean over `dim`. RuntimeError for integers and bools without a float `dtype`."""
    node = input_node(input, "mean")
    kind = as_dtype(dtype, "mean") or node.type.dtype
    if kind.category < FLOATING:
        which = "Optional" if dtype is not None else "Input"
        raise RuntimeError(
            f"mean(): could not infer output dtype. {which} dtype must be either a floating point "
            f"or complex dtype. Got: {scalar_name(kind)}"
        )
    axes = axes_of(dim, len(node.type.shape), "mean")
    check_keepdim(keepdim, "mean")
    result = compute_mean(in_dtype(node, kind), axes, keepdim)
    name = "MeanBackward0" if dim is None else "MeanBackward1"
    return deliver(numbered(result, name, node, saves=False), out)


NANSUM_COMPLEX = "nansum on CPU does not support complex inputs"


def without_nan(node: Node) -> Node:
    """nan replaced by 0. RuntimeError for complex numbers."""
    if node.type.dtype.is_complex:
        raise RuntimeError(NANSUM_COMPLEX)
    if node.type.dtype.category != FLOATING:
        return node
    return ops.where(ops.isnan(node), 0.0, node)


def _check_nansum(dtype: DType, out: Tensor | None) -> None:
    if out is not None and dtype.category == FLOATING and out.dtype.category < FLOATING:
        raise unsupported("nansum_cpu", out.dtype)


def nansum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`sum` with nan counting as 0."""
    node = input_node(input, "nansum")
    _check_nansum(node.type.dtype, out)
    axes = axes_of(dim, len(node.type.shape), "nansum")
    x = without_nan(accumulated(node, dtype, out))
    return deliver(tagged(red.sum_(x, arg=(axes, keepdim)), "Nansum", node, keeps=(node,)), out)


def nanmean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The mean of the elements that are not nan."""
    node = input_node(input, "nanmean")
    if node.type.dtype.category < FLOATING:
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{scalar_name(node.type.dtype)}"
        )
    _check_nansum(node.type.dtype, out)
    axes = axes_of(dim, len(node.type.shape), "nanmean")
    x = cast(node, as_dtype(dtype, "nanmean") or node.type.dtype)
    total = tagged(red.sum_(without_nan(x), arg=(axes, keepdim)), "Nansum", node)
    numbers = cast(ops.logical_not(ops.isnan(x)), dtypes.int64)
    count = red.sum_(numbers, arg=(axes, keepdim))
    return deliver(ops.div(total, cast(count, x.type.dtype)), out)


def prod(
    input: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The product over one dimension or all; integers and bools multiply in int64."""
    check_keepdim(keepdim, "prod")
    node = input_node(input, "prod")
    x = accumulated(node, dtype, out)
    if dim is None:
        result = product(x, arg=(tuple(range(len(x.type.shape))), keepdim))
        return deliver(tagged(result, "Prod", node), out)
    axis = overloaded_dim(dim, len(x.type.shape), "prod")
    result = product(x, arg=((axis,) if x.type.shape else (), keepdim))
    return deliver(numbered(result, "ProdBackward1", node), out)


@without_history
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero."""
    node = input_node(input, "count_nonzero")
    axes = axes_of(dim, len(node.type.shape), "count_nonzero")
    ones = cast(cast(node, dtypes.bool_), dtypes.int64)
    return wrap(red.sum_(ones, arg=(axes, False)))


# --- variance -------------------------------------------------------------------------------------


NO_FREEDOM = (
    "{}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction "
    "factor (input numel divided by output numel)."
)


def _moments(
    input: Any, dim: Any, unbiased: Any, keepdim: Any, correction: Any, name: str
) -> tuple[Node, Axes, bool, Any]:
    """The arguments of var and std, in both their forms: operand, axes, keepdim, correction."""
    node = input_node(input, name)
    if dim.__class__ is bool:
        dim, unbiased = None, dim
    if node.type.dtype.category < FLOATING:
        what = f"{name} only support" if "_" in name else "std and var only support"
        raise RuntimeError(f"{what} floating point and complex dtypes")
    axes = axes_of(dim, len(node.type.shape), name)
    if correction is None:
        correction = int(unbiased)
    shape = node.type.shape
    outside = math.prod(shape[a] for a in range(len(shape)) if a not in axes)
    if (math.prod(shape) // outside if outside else 0) <= correction:
        warn(NO_FREEDOM.format(name))
    return node, axes, keepdim, correction


def _variance(node: Node, arg: tuple, op: Op | None = None) -> Node:
    """The variance; of complex numbers that of the real parts and that of the imaginary ones."""
    if op is None:
        op = red.var_whole if len(arg[0]) == len(node.type.shape) else red.var
    if node.type.dtype.is_complex:
        return ops.add(op(real(node), arg=arg), op(imag(node), arg=arg))
    return op(node, arg=arg)


def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The variance over `dim`, divided by the count less `correction` (1 where unbiased)."""
    node, *arg = _moments(input, dim, unbiased, keepdim, correction, "var")
    return deliver(tagged(_variance(node, tuple(arg)), "Var", node), out)


def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The square root of `var`."""
    node, *arg = _moments(input, dim, unbiased, keepdim, correction, "std")
    if node.type.dtype.is_complex:
        return deliver(ops.sqrt(_variance(node, tuple(arg))), out)
    op = red.std_whole if len(arg[0]) == len(node.type.shape) else red.std
    return deliver(tagged(op(node, arg=tuple(arg)), "Std", node), out)


def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`var` and `mean` over the same dimensions."""
    node, *arg = _moments(input, dim, unbiased, keepdim, correction, "var_mean")
    spread = tagged(_variance(node, tuple(arg), red.var), "VarMean", node)
    return wrap(spread), wrap(tagged(compute_mean(node, *arg[:2]), "VarMean", node, keeps=(node,)))


def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`std` and `mean` over the same dimensions."""
    node, *arg = _moments(input, dim, unbiased, keepdim, correction, "std_mean")
    if node.type.dtype.is_complex:
        return wrap(ops.sqrt(_variance(node, tuple(arg)))), wrap(compute_mean(node, *arg[:2]))
    spread = tagged(red.std(node, arg=tuple(arg)), "StdMean", node)
    return wrap(spread), wrap(tagged(compute_mean(node, *arg[:2]), "StdMean", node))


# --- sums of exponentials -------------------------------------------------------------------------


def logsumexp(
    input: Tensor, dim: Any, keepdim: bool = False, *, out: Tensor | None = None
) -> Tensor:
    """log(sum(exp(input))) over `dim`, without overflow."""
    node = input_node(input, "logsumexp")
    axes = axes_of(dim, len(node.type.shape), "logsumexp")
    result = red.logsumexp(to_float(node), arg=(axes, keepdim))
    return deliver(tagged(result, "Logsumexp", node), out)


for _function in (sum, mean, nansum, nanmean, prod, count_nonzero, var, std, logsumexp):
    publish(_function)
FUNCTIONS["var_mean"] = numpy_words(var_mean)
FUNCTIONS["std_mean"] = numpy_words(std_mean)
