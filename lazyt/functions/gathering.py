"""Functions that read and write at indices: gather, scatter, index_*, take, put.

    gather(x, 1, i)[r, c] = x[r, i[r, c]]         an index for every element of the result
    index_select(x, 1, i)[r, c] = x[r, i[c]]      one vector of indices for a dimension
    take(x, i)[k] = x.flatten()[i[k]]             indices into the elements in order

Unlike subscripts, most do not count negative indices from the end. What is out of range is an error
at once where the indices are known, else when they are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_device import common_device, transfer
from lazyt.ir.ops_elementwise import add, cast, cast_, full, lt, where
from lazyt.ir.ops_elementwise import mul as mul_op
from lazyt.ir.ops_index import gather as gather_op
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_index import index_checked
from lazyt.ir.ops_index import index_put as index_put_op
from lazyt.ir.ops_index import scatter as scatter_op
from lazyt.ir.ops_index import scatter_add as scatter_add_op
from lazyt.ir.ops_index import scatter_reduce as scatter_reduce_op
from lazyt.ir.ops_shape import copy, expand, reshape, reshape_, slice_
from lazyt.ir.types import broadcast_shapes

from ..dispatch import (
    EXACT,
    check_writable,
    coerce,
    deliver,
    known,
    number_of,
    scalar_name,
    tagged,
    update,
)
from ..registry import FUNCTIONS, public
from ..state import node_of
from ..tensor import Tensor, wrap_dim
from .assignment import check_sources, masked_put, put_at
from .keys import index_nodes

Compute = Callable[..., Node]


def both_forms(name: str, compute: Compute, out: bool = False) -> Callable:
    """Makes `compute(self, ...) -> Node` public as function, method and in-place method."""

    def function(input: Tensor, *args: Any, **options: Any) -> Tensor:
        target = options.pop("out", None) if out else None
        return deliver(compute(tensor(input, name), *args, **options), target, exact=EXACT)

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


def tensor(x: Any, name: str, argument: str = "input", position: int = 1) -> Tensor:
    """`x` if it is a Tensor; TypeError in PyTorch's words if not."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
            f"{type(x).__name__}"
        )
    return x


# --- checks ---------------------------------------------------------------------------------------


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


def _strict(node: Node, extent: int, axis: int) -> Node:
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


OUT_OF_SELF = "index out of range in self"
BOUNDS = "index {bad} is out of bounds for dimension {axis} with size {extent}"


def within(node: Node, shape: tuple[int, ...], axis: int) -> None:
    """RuntimeError where a known index is outside of the axis."""
    check_known(node, 0, shape[axis] if shape else 1, axis, RuntimeError, BOUNDS)


def cropped(node: Node, shape: tuple[int, ...]) -> Node:
    """The front part of a node, in `shape`."""
    if node.type.shape == shape:
        return node
    return slice_(node, *(0,) * len(shape), arg=(shape, (1,) * len(shape)))


# --- gather and scatter ---------------------------------------------------------------------------


def gather(
    input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None
) -> Tensor:
    """input[i, index[i, j]] for dim 1, and so on: as many elements as `index` has."""
    node = node_of(tensor(input, "gather"))
    shape = node.type.shape
    axis = wrap_dim(dim, len(shape))
    if isinstance(index, Tensor) and not index.numel():  # of any dtype
        index = index.to(dtypes.int64)
    at = index_of(index, "gather", "gather(): Expected dtype int32/int64 for index")
    ranks = len(at.type.shape) != len(shape) and (shape or at.type.shape not in ((), (1,)))
    if ranks and not at.type.numel:
        flat = reshape(node, (node.type.numel,))
        picked = gather_op(flat, reshape(at, (0,)), arg=(0,))
        nothing = tagged(copy(reshape(picked, at.type.shape)), "Gather", node)
        return deliver(nothing, out, exact=EXACT)
    if ranks:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (n, m) in enumerate(zip(at.type.shape, shape)):
        if d != axis and n > m:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(at.type.shape)} to be "
                f"no larger than self {list(shape)} apart from dimension {axis}"
            )
    within(at, shape, axis)
    return deliver(gather_op(node, at, arg=(axis,)), out, exact=EXACT)


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
    return scatter_op(node, at, given, arg=(axis,))


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


def _vector(index: Tensor, name: str, message: str) -> Node:
    at = index_of(index, name, message)
    if len(at.type.shape) > 1:
        shown = ""
        if name == "index_add_":
            kind, extents = scalar_name(index.dtype), list(at.type.shape)
            shown = f", but got dim: {len(extents)} with type: {kind} and size: {extents}"
        raise IndexError(f"{name}(): Index is supposed to be a vector{shown}")
    return at if at.type.shape else reshape(at, (1,))


OUT_OF_SELECT = "index_select(): self and result must have the same scalar type"


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The positions of a dimension that a vector of indices names, in its order."""
    node = node_of(tensor(input, "index_select"))
    shape = node.type.shape
    axis = wrap_dim(dim, len(shape))
    message = "index_select(): Expected dtype int32 or int64 for index"
    at = _vector(index, "index_select", message)
    common_device(node, at)
    extent = shape[axis] if shape else 1
    if axis:
        text = "INDICES element is out of DATA bounds, id={bad} axis_dim={extent}"
        check_known(at, 0, extent, axis, RuntimeError, text)
    else:
        check_known(at, 0, extent, axis, IndexError, OUT_OF_SELF)
    if not shape:
        return deliver(copy(node), out, exact=OUT_OF_SELECT)
    picked = index_op(node, _strict(at, extent, axis), arg=((axis,),))
    return deliver(tagged(picked, "IndexSelect", node), out, exact=OUT_OF_SELECT)


def _rows(
    self: Tensor, dim: int, index: Tensor, source: Tensor, name: str
) -> tuple[Node, Node, Node, int]:
    node, value = node_of(self), node_of(tensor(source, name, "source", 4))
    shape = node.type.shape
    axis = wrap_dim(dim, len(shape))
    at = _vector(index, name + "_", f"{name}_(): Expected dtype int32/int64 for index")
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
    return node, _strict(at, shape[axis] if shape else 1, axis), value, axis


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
    at = _vector(index, "index_fill_", "")
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
    result = tagged(_put_rows(node, at, filler, axis, False), "IndexFill", node, filler)
    if isinstance(value, Tensor) and result.grad:
        result.tag.name = "IndexFillBackward1"
    return result


# --- index_put, take, put -------------------------------------------------------------------------


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


OUT_OF_TAKE = (
    "take(): self and out expected to have the same dtype, but got self.dtype = {want} and "
    "out.dtype = {have}"
)


def take(input: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Elements by their number in row-major order, in the shape of `index`."""
    node = node_of(input)
    at = _long(index, "take")
    common_device(node, at)
    total = node.type.numel
    _check_numbers(at, total)
    flat = reshape(node, (total,))
    return deliver(tagged(index_op(flat, at, arg=((0,),)), "Take", node), out, exact=OUT_OF_TAKE)


def _long(index: Tensor, name: str) -> Node:
    at = node_of(tensor(index, name, "index", 2))
    if at.type.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}(): Expected a long tensor for index, but got {scalar_name(at.type.dtype)}"
        )
    return at


def _check_numbers(at: Node, total: int) -> None:
    text = f"out of range: tried to access index {{bad}} on a tensor of {total} elements."
    check_known(at, -total, total, 0, IndexError, text)


def _counted(at: Node, extent: int) -> Node:
    """Indices from the end, below 0, as those from the start."""
    value = known(at)
    if value is not None and (value >= 0).all():
        return at
    return where(lt(at, 0), add(at, extent), at)


def take_along_dim(
    input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """`gather`, where the other dimensions broadcast; without `dim`, of all elements in order."""
    node, at = node_of(input), node_of(indices)
    if at.type.dtype is not dtypes.int64:
        raise RuntimeError(
            "torch.take_along_dim(): dtype of indices should be Long but got "
            f"{scalar_name(at.type.dtype)}"
        )
    if dim is None:
        flat = reshape(node, (node.type.numel,))
        at = reshape(at, (at.type.numel,))
        within(at, flat.type.shape, 0)
        return deliver(gather_op(flat, at, arg=(0,)), out, exact=EXACT)
    shape, extents = node.type.shape, at.type.shape
    if len(shape) != len(extents):
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {len(shape)} dimensions for input, and {len(extents)} dimensions for indices"
        )
    axis = wrap_dim(dim, len(shape))
    others = broadcast_shapes(
        shape[:axis] + (1,) + shape[axis + 1 :], extents[:axis] + (1,) + extents[axis + 1 :]
    )
    node = expand(node, others[:axis] + (shape[axis],) + others[axis + 1 :])
    at = expand(at, others[:axis] + (extents[axis],) + others[axis + 1 :])
    extent = node.type.shape[axis]
    check_known(at, -extent, extent, axis, RuntimeError, BOUNDS)
    return deliver(gather_op(node, _counted(at, extent), arg=(axis,)), out, exact=EXACT)


def compute_put(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Node:
    """`self` with the elements of `source` at their numbers in row-major order."""
    node, value = node_of(self), node_of(tensor(source, "put_", "source", 3))
    at = _long(index, "put_")
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
    _check_numbers(at, total)
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
both_forms("index_fill", compute_index_fill)
both_forms("index_put", compute_index_put)
both_forms("put", compute_put)
for _name in ("scatter_reduce_", "scatter_", "scatter_add_", "index_add_", "index_copy_", "put_"):
    FUNCTIONS.pop(_name)  # methods only
for _function in (gather, index_select, take, take_along_dim):
    public(_function)
