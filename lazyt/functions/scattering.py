"""Functions that write at indices: scatter, index_add, index_copy, index_fill, index_put, put.

    scatter(x, 1, i, y):      result[r, i[r, c]] = y[r, c]    an index for every element of y
    index_copy(x, 1, i, y):   result[r, i[c]] = y[r, c]       one vector of indices for a dimension
    put(x, i, y):             result.flatten()[i[k]] = y[k]   indices into the elements in order

Each is a function, a method and an in-place method. Indices are checked as in `gathering`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_device import common_device, transfer
from lazyt.ir.ops_elementwise import cast, full, where
from lazyt.ir.ops_elementwise import mul as mul_op
from lazyt.ir.ops_index import index_put as index_put_op
from lazyt.ir.ops_index import scatter as scatter_op
from lazyt.ir.ops_index import scatter_add as scatter_add_op
from lazyt.ir.ops_index import scatter_reduce as scatter_reduce_op
from lazyt.ir.ops_shape import copy, reshape, slice_

from ..dispatch import (
    EXACT,
    check_writable,
    coerce,
    deliver,
    number_of,
    renamed,
    scalar_name,
    tagged,
    update,
)
from ..layout import like_operands
from ..registry import FUNCTIONS, public
from ..state import node_of
from ..tensor import Tensor, wrap_dim
from .assignment import check_sources, masked_put, put_at
from .indices import (
    BOUNDS,
    OUT_OF_SELF,
    check_known,
    check_numbers,
    index_of,
    index_vector,
    long_index,
    strict,
    tensor,
    within,
)
from .keys import index_nodes

Compute = Callable[..., Node]


def both_forms(name: str, compute: Compute, out: bool = False, cloned: bool = False) -> Callable:
    """Makes `compute(self, ...) -> Node` public as function, method and in-place method.

    cloned: the result is laid out like a clone of the input.
    """

    def function(input: Tensor, *args: Any, **options: Any) -> Tensor:
        target = options.pop("out", None) if out else None
        made = compute(tensor(input, name), *args, **options)
        return like_operands(made, input) if cloned else deliver(made, target, exact=EXACT)

    def inplace(self: Tensor, *args: Any, **options: Any) -> Tensor:
        check_writable(self)
        sources = [x for x in (*args, *options.values()) if isinstance(x, Tensor)]
        check_sources(self, None, sources)
        return update(self, compute(self, *args, **options))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = compute.__doc__
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    return public(function, name, inplace=inplace)


# --- an index for every element -------------------------------------------------------------------


def cropped(node: Node, shape: tuple[int, ...]) -> Node:
    """The front part of a node, in `shape`."""
    if node.type.shape == shape:
        return node
    return slice_(node, *(0,) * len(shape), arg=(shape, (1,) * len(shape)))


def _scattered(
    self: Tensor, dim: int, index: Tensor, src: Any, name: str
) -> tuple[Node, Node, Node, int]:
    """The operands of a scatter after PyTorch's checks; `src` has the shape of the index."""
    node = node_of(self)
    shape, dtype = node.type.shape, node.type.dtype
    axis = wrap_dim(dim, len(shape))
    at = index_of(index, name, f"{name}(): Expected dtype int32/int64 for index")
    extents = at.type.shape
    value = node_of(src) if isinstance(src, Tensor) else None
    if value is not None and value.type.dtype is not dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    if at.type.numel and len(extents) != len(shape) and shape:
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if value is not None and at.type.numel and len(value.type.shape) != len(extents):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    too_long = any(d != axis and n > m for d, (n, m) in enumerate(zip(extents, shape)))
    over = value is not None and any(n > m for n, m in zip(extents, value.type.shape))
    if at.type.numel and (too_long or over):
        more = f" and to be no larger size than src {list(value.type.shape)}" if value else ""
        raise RuntimeError(
            f"Expected index {list(extents)} to be no larger than self {list(shape)} apart from "
            f"dimension {axis}{more}"
        )
    within(at, shape, axis)
    if value is None:
        number = number_of(src)
        if number is None:
            raise TypeError(
                f"{name}(): argument 'src' (position 4) must be Tensor or Number, not "
                f"{type(src).__name__}"
            )
        value = full(extents, coerce(number, dtype), dtype, node.type.device)
    elif at.type.numel:
        value = cropped(value, extents)
    return node, at, value, axis


def compute_scatter(
    self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Node:
    """`self` with src[i, j] (or a number) at [i, index[i, j]] for dim 1, and so on.

    reduce: "add" or "multiply" combine with what is there.
    """
    source = value if src is None else src
    node, at, given, axis = _scattered(self, dim, index, source, "scatter")
    if not at.type.numel:
        return copy(node)
    if reduce == "add":
        return tagged(scatter_add_op(node, at, given, arg=(axis,)), "Scatter", node, given)
    if reduce == "multiply":
        return scatter_reduce_op(node, at, given, arg=(axis, "prod", True))
    if reduce is not None:
        raise RuntimeError("reduce argument must be either add or multiply.")
    result = scatter_op(node, at, given, arg=(axis,))
    return result if isinstance(source, Tensor) else renamed(result, "ScatterBackward1")


def compute_scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Node:
    """`self` with every src[i, j] added at [i, index[i, j]] for dim 1, and so on."""
    node, at, given, axis = _scattered(self, dim, index, tensor(src, "scatter_add"), "scatter")
    if not at.type.numel:
        return copy(node)
    return scatter_add_op(node, at, given, arg=(axis,))


def compute_scatter_reduce(
    self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Node:
    """`self` combined with what `src` sends to each place: "sum", "prod", "mean", "amax" or "amin".

    Without include_self what stood in a place that receives something does not count.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    node, at, given, axis = _scattered(self, dim, index, tensor(src, "scatter_reduce"), "scatter")
    if not at.type.numel:
        return copy(node)
    return scatter_reduce_op(node, at, given, arg=(axis, reduce, bool(include_self)))


# --- one vector of indices ------------------------------------------------------------------------


def _rows(
    self: Tensor, dim: int, index: Tensor, source: Tensor, name: str
) -> tuple[Node, Node, Node, int]:
    node, value = node_of(self), node_of(tensor(source, name, "source", 4))
    shape = node.type.shape
    axis = wrap_dim(dim, len(shape))
    at = index_vector(index, name + "_", f"{name}_(): Expected dtype int32/int64 for index")
    common_device(node, at, value)
    if value.type.dtype is not node.type.dtype:
        own, other = scalar_name(node.type.dtype), scalar_name(value.type.dtype)
        if name == "index_copy":
            raise RuntimeError(
                "index_copy_(): self and source expected to have the same dtype, but got (self) "
                f"{own} and (source) {other}"
            )
        raise RuntimeError(
            f"{name}_(): self ({own}) and source ({other}) must have the same scalar type"
        )
    count, extents = at.type.numel, value.type.shape
    along = extents[axis] if axis < len(extents) else 1
    if count != along:
        if name == "index_add":
            raise RuntimeError(
                f"index_add_(): Number of indices ({count}) should be equal to source.size(dim): "
                f"({along}), for dim: {axis}"
            )
        raise IndexError(
            f"index_copy_(): Number of indices ({count}) should be equal to source.size(dim) "
            f"({along})"
        )
    rest = shape[:axis] + (count,) + shape[axis + 1 :]
    if shape and extents != rest:
        if name == "index_add":
            raise RuntimeError(
                "source tensor shape must match self tensor shape, excluding the specified "
                f"dimension. Got self.shape = {list(shape)} source.shape = {list(extents)}"
            )
        kept = " ".join(str(n) for n in shape[:axis] + shape[axis + 1 :])
        given = " ".join(str(n) for n in extents[:axis] + extents[axis + 1 :])
        if kept != given:
            raise RuntimeError(
                "index_copy_(): Source/destination tensor must have same slice shapes. Destination "
                f"slice shape: {kept} at dimension {axis} and source slice shape: {given} at "
                "dimension 0."
            )
        value = reshape(value, rest)
    return node, strict(at, shape[axis] if shape else 1, axis), value, axis


def compute_index_add(
    self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1
) -> Node:
    """`self` with slice i of `source` (times alpha) added to slice index[i] of a dimension."""
    node, at, value, axis = _rows(self, dim, index, source, "index_add")
    if len(node.type.shape) > 1:
        within(at, node.type.shape, axis)
    else:
        check_known(at, 0, node.type.numel, axis, IndexError, OUT_OF_SELF)
    scaled = value if alpha == 1 else mul_op(value, coerce(alpha, value.type.dtype))
    kept = (value,) if value.grad else ()
    return tagged(_put_rows(node, at, scaled, axis, True), "IndexAdd", node, value, keeps=kept)


def compute_index_copy(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Node:
    """`self` with slice index[i] of a dimension replaced by slice i of `source`."""
    node, at, value, axis = _rows(self, dim, index, source, "index_copy")
    extent = node.type.shape[axis] if node.type.shape else 1
    check_known(at, 0, extent, axis, IndexError, "index_copy_(): " + BOUNDS)
    kept = (value,) if value.grad else ()
    return tagged(_put_rows(node, at, value, axis, False), "IndexCopy", node, value, keeps=kept)


def _put_rows(node: Node, at: Node, value: Node, axis: int, accumulate: bool) -> Node:
    if node.type.shape:
        return index_put_op(node, value, at, arg=((axis,), accumulate))
    flat = index_put_op(reshape(node, (1,)), reshape(value, (1,)), at, arg=((0,), accumulate))
    return copy(reshape(flat, ()))


def compute_index_fill(self: Tensor, dim: int, index: Tensor, value: Any) -> Node:
    """`self` with a number in the positions of a dimension that `index` names."""
    node = node_of(self)
    axis = wrap_dim(dim, len(node.type.shape))
    if tensor(index, "index_fill", "index", 3).dtype is not dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    at = index_vector(index, "index_fill_", "")
    common_device(node, at)
    extent = node.type.shape[axis] if node.type.shape else 1
    check_known(at, -extent, extent, axis, IndexError, BOUNDS)
    dtype = node.type.dtype
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.dim()} dimension(s)."
            )
        filler = transfer(cast(node_of(value), dtype), node.type.device)
    else:
        filler = full((), coerce(number_of(value), dtype), dtype, node.type.device)
    result = tagged(_filled(node, at, filler, axis), "IndexFill", node, filler)
    if isinstance(value, Tensor) and result.grad:
        result.tag.name = "IndexFillBackward1"
    return result


def _filled(node: Node, at: Node, filler: Node, axis: int) -> Node:
    """A number in some positions of an axis; its gradient counts a position once that is named
    several times."""
    if not filler.grad:
        return _put_rows(node, at, filler, axis, False)
    type = node.type
    nowhere = full(type.shape, False, dtypes.bool_, type.device)
    here = full((), True, dtypes.bool_, type.device)
    return where(_put_rows(nowhere, at, here, axis, False), filler, node)


# --- index tensors and masks; indices into the elements in order ----------------------------------


def compute_index_put(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Node:
    """`self` with `values` at index tensors or masks of its leading dimensions.

    With `accumulate` the values are added, also where an index stands several times.
    """
    if not isinstance(values, Tensor):
        raise TypeError(
            "index_put(): argument 'values' (position 2) must be Tensor, not "
            f"{type(values).__name__}"
        )
    advanced, axis = [], 0
    for i, item in enumerate(indices):
        if not isinstance(item, Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(item).__name__}"
            )
        mask = item.dtype is dtypes.bool_ or item.dtype is dtypes.uint8
        advanced.append((axis, item))
        axis += item.dim() if mask else 1
    if axis > self.dim():
        raise IndexError(f"too many indices for tensor of dimension {self.dim()} (got {axis})")
    if not accumulate:
        node = masked_put(self, advanced, values)
        if node is not None:
            return node
    axes, nodes = index_nodes(node_of(self).type.shape, advanced)
    return put_at(node_of(self), axes, nodes, values, bool(accumulate))


def compute_put(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Node:
    """`self` with the elements of `source` at their numbers in row-major order."""
    node, value = node_of(self), node_of(tensor(source, "put_", "source", 3))
    at = long_index(index, "put_")
    common_device(node, at, value)
    if value.type.dtype is not node.type.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{scalar_name(node.type.dtype)} and source.dtype = {scalar_name(value.type.dtype)}"
        )
    if value.type.numel != at.type.numel:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {value.type.numel}, index.numel() = {at.type.numel}"
        )
    total, count = node.type.numel, at.type.numel
    check_numbers(at, total)
    flat = index_put_op(
        reshape(node, (total,)),
        reshape(value, (count,)),
        reshape(at, (count,)),
        arg=((0,), bool(accumulate)),
    )
    result = flat if len(node.type.shape) == 1 else copy(reshape(flat, node.type.shape))
    return tagged(result, "Put", node, value)


both_forms("scatter", compute_scatter, out=True)
both_forms("scatter_add", compute_scatter_add, out=True)
both_forms("scatter_reduce", compute_scatter_reduce, out=True)
both_forms("index_add", compute_index_add, out=True)
both_forms("index_copy", compute_index_copy, out=True)
both_forms("index_fill", compute_index_fill, cloned=True)
both_forms("index_put", compute_index_put, cloned=True)
both_forms("put", compute_put)
for _name in ("scatter_reduce_", "scatter_", "scatter_add_", "index_add_", "index_copy_", "put_"):
    FUNCTIONS.pop(_name)  # methods only
