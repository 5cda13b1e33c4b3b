"""Reductions: sums, moments, extremes and truth values over some or all dimensions.

Every function takes `dim` as None (all), an int or a tuple, drops those dimensions unless `keepdim`,
and accepts NumPy's words `axis` and `keepdims` for both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import index as as_int
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_reduce as red
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import copy, reshape

from . import return_types
from .dispatch import deliver, scalar_name, tagged, wrap
from .pointwise import FUNCTIONS, to_float
from .state import node_of
from .tensor import Tensor, wrap_dim

Axes = tuple[int, ...]

# --- what the reductions share --------------------------------------------------------------------


def numpy_words(function: Callable) -> Callable:
    """Lets `axis` and `keepdims` stand for `dim` and `keepdim`."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if options:
            if "axis" in options:
                options["dim"] = options.pop("axis")
            if "keepdims" in options:
                options["keepdim"] = options.pop("keepdims")
        return function(*args, **options)

    return call


def publish(function: Callable, *names: str) -> Callable:
    """Makes a reduction public as a function and a method, with NumPy's words."""
    called = numpy_words(function)
    for name in names or (function.__name__,):
        FUNCTIONS[name] = called
        setattr(Tensor, name, called)
    return called


def input_node(input: Any, name: str) -> Node:
    """The node of the tensor a function reduces; TypeError for anything else."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    return node_of(input)


def numbered(node: Node, grad_name: str, *inputs: Node, saves: bool = True) -> Node:
    """`tagged`, with the whole name of the grad_fn ("SumBackward1")."""
    tagged(node, "", *inputs, saves=saves)
    if node.grad:
        node.tag.name = grad_name
    return node


def one_dim(dim: Any, rank: int, name: str, place: str = " (position 1)") -> int:
    """A wrapped dimension; TypeError for what is no integer."""
    if dim.__class__ is not int:
        if isinstance(dim, (tuple, list, str, float)) or dim is None:
            raise TypeError(
                f"{name}(): argument 'dim'{place} must be int, not {type(dim).__name__}"
            )
        dim = as_int(dim)
    return wrap_dim(dim, rank)


def overloaded_dim(dim: Any, rank: int, name: str) -> int:
    """`one_dim` of a function with several forms, whose TypeError names none of them."""
    if isinstance(dim, (tuple, list, str, float)):
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({type(dim).__name__}), "
            "but expected one of:"
        )
    return one_dim(dim, rank, name)


def axes_of(dim: Any, rank: int, name: str) -> Axes:
    """The reduced axes, ascending; all of them for None and for an empty tuple.

    Errors: IndexError for a dimension out of range, RuntimeError for one named twice.
    """
    if dim is None:
        return tuple(range(rank))
    if dim.__class__ is int:
        axis = wrap_dim(dim, rank)
        return (axis,) if rank else ()
    if not isinstance(dim, (tuple, list)):
        if isinstance(dim, (str, float)):
            raise TypeError(
                f"{name}() received an invalid combination of arguments - got "
                f"({type(dim).__name__}), but expected one of:"
            )
        return axes_of(as_int(dim), rank, name)
    if not len(dim):
        return tuple(range(rank))
    seen: set[int] = set()
    for d in dim:
        axis = wrap_dim(as_int(d), rank)
        if axis in seen:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
        seen.add(axis)
    return tuple(sorted(seen)) if rank else ()


def check_keepdim(keepdim: Any, name: str) -> None:
    if keepdim.__class__ is not bool:
        raise TypeError(
            f"{name}(): argument 'keepdim' (position 2) must be bool, not {type(keepdim).__name__}"
        )


def count_of(node: Node, axes: Axes) -> int:
    """How many elements every result is made of."""
    count = 1
    for axis in axes:
        count *= node.type.shape[axis]
    return count


def check_nonempty(node: Node, dim: Any, axes: Axes, name: str, whole: type = RuntimeError) -> None:
    """PyTorch's errors where a reduction without an identity meets no elements."""
    shape = node.type.shape
    if node.type.numel:
        return
    if dim is None or dim == () or dim == []:
        hint = (
            " Specify the reduction dim with the 'dim' argument." if whole is RuntimeError else ""
        )
        raise whole(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0.{hint}"
        )
    for axis in axes:
        if shape[axis] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def at_least_vector(node: Node) -> Node:
    """A 0-d node as a vector of one; others as they are."""
    return node if node.type.shape else reshape(node, (1,))


def owned(node: Node) -> Node:
    """A node that may be a storage's: what comes out of a view operation is copied."""
    return copy(node) if node.op.view else node


# --- sums -----------------------------------------------------------------------------------------


def accumulated(node: Node, dtype: DType | None, out: Tensor | None = None) -> Node:
    """The operand of a sum or product in the result's dtype: int64 for bools and integers."""
    if dtype is None:
        if out is not None:
            dtype = out.dtype
        else:
            have = node.type.dtype
            dtype = have if have.category == FLOATING else dtypes.int64
    return cast(node, dtype)


def sum(  # noqa: A001
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
    kind = dtype or node.type.dtype
    if kind.category != FLOATING:
        which = "Optional" if dtype is not None else "Input"
        raise RuntimeError(
            f"mean(): could not infer output dtype. {which} dtype must be either a floating point or "
            f"complex dtype. Got: {scalar_name(kind)}"
        )
    axes = axes_of(dim, len(node.type.shape), "mean")
    check_keepdim(keepdim, "mean")
    result = compute_mean(cast(node, kind), axes, keepdim)
    name = "MeanBackward0" if dim is None else "MeanBackward1"
    return deliver(numbered(result, name, node, saves=False), out)


def without_nan(node: Node) -> Node:
    """nan replaced by 0."""
    if node.type.dtype.category != FLOATING:
        return node
    return ops.where(ops.isnan(node), 0.0, node)


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
    axes = axes_of(dim, len(node.type.shape), "nansum")
    x = without_nan(accumulated(node, dtype, out))
    return deliver(tagged(red.sum_(x, arg=(axes, keepdim)), "Nansum", node), out)


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
    if node.type.dtype.category != FLOATING:
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{scalar_name(node.type.dtype)}"
        )
    axes = axes_of(dim, len(node.type.shape), "nanmean")
    x = cast(node, dtype or node.type.dtype)
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
    node = input_node(input, "prod")
    x = accumulated(node, dtype, out)
    if dim is None:
        result = red.prod(x, arg=(tuple(range(len(x.type.shape))), keepdim))
        return deliver(tagged(result, "Prod", node), out)
    axis = overloaded_dim(dim, len(x.type.shape), "prod")
    result = red.prod(x, arg=((axis,) if x.type.shape else (), keepdim))
    return deliver(numbered(result, "ProdBackward1", node), out)


def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero."""
    node = input_node(input, "count_nonzero")
    axes = axes_of(dim, len(node.type.shape), "count_nonzero")
    ones = cast(cast(node, dtypes.bool_), dtypes.int64)
    return wrap(red.sum_(ones, arg=(axes, False)))


# --- variance -------------------------------------------------------------------------------------


def _moments(
    input: Any, dim: Any, unbiased: Any, keepdim: Any, correction: Any, name: str
) -> tuple[Node, Axes, bool, Any]:
    """The arguments of var and std, in both their forms: operand, axes, keepdim, correction."""
    node = input_node(input, name)
    if dim.__class__ is bool:
        dim, unbiased = None, dim
    if node.type.dtype.category != FLOATING:
        what = f"{name} only support" if "_" in name else "std and var only support"
        raise RuntimeError(f"{what} floating point and complex dtypes")
    axes = axes_of(dim, len(node.type.shape), name)
    if correction is None:
        correction = int(unbiased)
    return node, axes, keepdim, correction


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
    op = red.var_whole if len(arg[0]) == len(node.type.shape) else red.var
    return deliver(tagged(op(node, arg=tuple(arg)), "Var", node), out)


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
    spread = tagged(red.var(node, arg=tuple(arg)), "VarMean", node)
    return wrap(spread), wrap(tagged(compute_mean(node, *arg[:2]), "VarMean", node))


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
    spread = tagged(red.std(node, arg=tuple(arg)), "StdMean", node)
    return wrap(spread), wrap(tagged(compute_mean(node, *arg[:2]), "StdMean", node))


# --- extremes -------------------------------------------------------------------------------------


def selected(op: Any, node: Node, axis: int, keepdim: bool, grad_name: str, *more: Any) -> tuple:
    """Values and indices of a selection along one axis, as nodes that own their memory."""
    flat = not node.type.shape
    pair = op(at_least_vector(node), arg=((axis,), keepdim and not flat, *more))
    values = copy(red.get(pair, 0))
    return numbered(values, grad_name, node, saves=False), copy(red.get(pair, 1))


def deliver_pair(name: str, nodes: tuple[Node, Node], out: Any) -> Any:
    """The named result of two nodes, written into the tensors of `out` where they are given."""
    if out is None:
        return getattr(return_types, name)((wrap(nodes[0]), wrap(nodes[1])))
    for node, target in zip(nodes, out):
        if node.type.dtype is not target.dtype:
            raise RuntimeError(
                f"Expected out tensor to have dtype {c_name(node.type.dtype)}, but got "
                f"{c_name(target.dtype)} instead"
            )
    pair = deliver(nodes[0], out[0]), deliver(nodes[1], out[1])
    return getattr(return_types, name + "_out")(pair)


_C_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "c10::Half",
    "bfloat16": "c10::BFloat16",
    "int64": "long int",
    "int32": "int",
    "int16": "short int",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
}


def c_name(dtype: DType) -> str:
    """The C++ type of a dtype, as some of PyTorch's errors print it."""
    return _C_NAMES[dtype.name]


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
            return deliver(numbered(result, f"{title}Backward1", node), out)
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
        return deliver(tagged(op(node, arg=(axes, keepdim)), name.title(), node), out)

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
        if dim is None:
            check_nonempty(node, None, (), name, IndexError)
            result = op(reshape(node, (node.type.numel,)), arg=((0,), False))
            if keepdim and shape:
                result = copy(reshape(result, (1,) * len(shape)))
            return deliver(result, out)
        axis = one_dim(dim, len(shape), name)
        check_nonempty(node, axis, (axis,), name)
        result = op(at_least_vector(node), arg=((axis,), keepdim and bool(shape)))
        return deliver(result, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Where the first {name[3:]}imum is: along `dim`, or counted row-major."
    return function


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
        if node.type.dtype is dtypes.uint8:
            result = cast(result, dtypes.uint8)
        return deliver(result, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Whether {name} of the elements are not zero: bool (uint8 for uint8)."
    return function


# --- sums of exponentials -------------------------------------------------------------------------


def logsumexp(
    input: Tensor, dim: Any, keepdim: bool = False, *, out: Tensor | None = None
) -> Tensor:
    """log(sum(exp(input))) over `dim`, without overflow."""
    node = input_node(input, "logsumexp")
    axes = axes_of(dim, len(node.type.shape), "logsumexp")
    result = red.logsumexp(to_float(node), arg=(axes, keepdim))
    return deliver(tagged(result, "Logsumexp", node), out)


for _function in (sum, mean, nansum, nanmean, prod, count_nonzero, var, std, aminmax, logsumexp):
    publish(_function)
for _function in (
    _extreme("max", red.amax, red.max_with_index, "maximum"),
    _extreme("min", red.amin, red.min_with_index, "minimum"),
    _extreme_over("amax", red.amax),
    _extreme_over("amin", red.amin),
    _index_of_extreme("argmax", red.argmax),
    _index_of_extreme("argmin", red.argmin),
    _truth("all", red.all_),
    _truth("any", red.any_),
):
    publish(_function)
FUNCTIONS["var_mean"] = numpy_words(var_mean)
FUNCTIONS["std_mean"] = numpy_words(std_mean)
