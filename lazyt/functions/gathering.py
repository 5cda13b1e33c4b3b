"""Functions that read at indices: gather, index_select, take, take_along_dim.

    gather(x, 1, i)[r, c] = x[r, i[r, c]]         an index for every element of the result
    index_select(x, 1, i)[r, c] = x[r, i[c]]      one vector of indices for a dimension
    take(x, i)[k] = x.flatten()[i[k]]             indices into the elements in order

What is out of range is an error at once where the indices are known, else when they are computed.
"""

from __future__ import annotations

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_device import common_device
from lazyt.ir.ops_elementwise import add, lt, where
from lazyt.ir.ops_index import gather as gather_op
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_shape import copy, expand, reshape
from lazyt.ir.types import broadcast_shapes

from ..dispatch import EXACT, deliver, known, scalar_name, tagged
from ..registry import public
from ..state import node_of
from ..tensor import Tensor, wrap_dim
from .indices import (
    BOUNDS,
    OUT_OF_SELF,
    check_apart,
    check_known,
    check_numbers,
    index_of,
    index_vector,
    long_index,
    strict,
    tensor,
    within,
)


def gather(
    input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None
) -> Tensor:
    """input[i, index[i, j]] for dim 1, and so on: as many elements as `index` has."""
    node = node_of(tensor(input, "gather"))
    check_apart(out, input)
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


OUT_OF_SELECT = "index_select(): self and result must have the same scalar type"


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The positions of a dimension that a vector of indices names, in its order."""
    node = node_of(tensor(input, "index_select"))
    check_apart(out, input)
    shape = node.type.shape
    axis = wrap_dim(dim, len(shape))
    message = "index_select(): Expected dtype int32 or int64 for index"
    at = index_vector(index, "index_select", message)
    common_device(node, at)
    extent = shape[axis] if shape else 1
    if axis:
        text = "INDICES element is out of DATA bounds, id={bad} axis_dim={extent}"
        check_known(at, 0, extent, axis, RuntimeError, text)
    else:
        check_known(at, 0, extent, axis, IndexError, OUT_OF_SELF)
    if not shape:
        return deliver(copy(node), out, exact=OUT_OF_SELECT)
    picked = index_op(node, strict(at, extent, axis), arg=((axis,),))
    return deliver(tagged(picked, "IndexSelect", node), out, exact=OUT_OF_SELECT)


OUT_OF_TAKE = (
    "take(): self and out expected to have the same dtype, but got self.dtype = {want} and "
    "out.dtype = {have}"
)


def take(input: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Elements by their number in row-major order, in the shape of `index`."""
    node = node_of(input)
    check_apart(out, input)
    at = long_index(index, "take")
    common_device(node, at)
    total = node.type.numel
    check_numbers(at, total)
    flat = reshape(node, (total,))
    return deliver(tagged(index_op(flat, at, arg=((0,),)), "Take", node), out, exact=OUT_OF_TAKE)


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


for _function in (gather, index_select, take, take_along_dim):
    public(_function)
