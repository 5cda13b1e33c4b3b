"""The elements of one tensor in another arrangement: repeated, rolled, turned, on diagonals.

All of these are copies, as in PyTorch; what can be a view stands in `views`.
"""

from __future__ import annotations

from operator import index as as_int
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_device import common_device
from lazyt.ir.ops_elementwise import full
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_rearrange import repeat_each_, roll_, tile_, tril_, triu_
from lazyt.ir.ops_shape import copy, flip_, permute, reshape, strided_update_
from lazyt.ir.types import contiguous_strides

from ..dispatch import EXACT, check_writable, data_node, deliver, from_array, tagged, update, wrap
from ..layout import laid_out, like_operands, memory_order
from ..registry import public
from ..state import array_of, node_of, shape_of
from ..tensor import Tensor, attach, wrap_dim
from .joining import cat
from .parts import as_strided, diagonal, slice_view
from .views import ints

# --- repetition -----------------------------------------------------------------------------------


def _tiled(node: Node, reps: tuple[int, ...]) -> Tensor:
    shape = (1,) * (len(reps) - len(node.type.shape)) + node.type.shape
    extents = [n * r for n, r in zip(shape, reps)]
    for extent in extents:
        if extent < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {extent}: {extents}"
            )
    return wrap(tile_(node, arg=(reps,)))


def repeat(self: Tensor, *repeats: Any, **named: Any) -> Tensor:
    """The tensor as a tile, repeated along every dimension; more numbers make new ones in front."""
    reps = ints(repeats, "repeat", "repeats", named)
    node = node_of(self)
    if len(reps) < len(node.type.shape):
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    return _tiled(node, reps)


def tile(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """`repeat`, where missing numbers in front count as 1."""
    reps = ints(dims, "tile", "dims", named)
    node = node_of(input)
    return _tiled(node, (1,) * (len(node.type.shape) - len(reps)) + reps)


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Every element (of a dimension, or of all) repeated in its place.

    With one tensor of counts alone: the index of each, so often.
    A tensor of repeats is read, since the shape depends on it.
    """
    if repeats is None:
        counts = _counts(input)
        places = np.repeat(np.arange(len(counts)), counts)
        return from_array(places, dtypes.int64, input._storage.node.type.device)
    node = node_of(input)
    if dim is None:
        node = reshape(node, (node.type.numel,))
        axis = 0
    else:
        axis = wrap_dim(dim, len(node.type.shape))
    if not node.type.shape:
        node = reshape(node, (1,))
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        common_device(node, node_of(repeats))
        counts = _counts(repeats)
        extent = node.type.shape[axis]
        if len(counts) != extent:
            raise RuntimeError(
                "repeats must have the same size as input along dim, but got repeats.size(0) = "
                f"{len(counts)} and input.size({axis}) = {extent}"
            )
        which = np.repeat(np.arange(extent), counts)
        at = data_node(which, dtypes.int64, node.type.device)
        return wrap(tagged(index_op(node, at, arg=((axis,),)), "IndexSelect", node_of(input)))
    times = int(repeats)
    if times < 0:
        raise RuntimeError("Repeats must be non-negative")
    result = repeat_each_(node, arg=(times, axis))
    return wrap(tagged(result, "View", node_of(input), saves=False))


def _counts(repeats: Tensor) -> np.ndarray:
    if repeats.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("repeats has to be Long or Int tensor")
    if repeats.dim() > 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    counts = array_of(repeats).reshape(-1)
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeats can not be negative")
    return counts


# --- rolls and turns ------------------------------------------------------------------------------


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(map(as_int, value if isinstance(value, (tuple, list)) else (value,)))


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along dimensions (or through all), those at the end back to the front."""
    node = node_of(input)
    shape = node.type.shape
    by = _numbers(shifts)
    if not by:
        raise RuntimeError("`shifts` required")
    if dims is None or dims == () or dims == []:
        if len(by) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(by)}, dims:0")
        flat = roll_(reshape(node, (node.type.numel,)), arg=(by, (0,)))
        result = copy(reshape(flat, shape)) if len(shape) != 1 else flat
        return wrap(tagged(result, "Roll", node, saves=False))
    along = _numbers(dims)
    if len(by) != len(along):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}"
        )
    if not shape:
        raise IndexError(f"Dimension specified as {along[0]} but tensor has no dimensions")
    axes = tuple(wrap_dim(d, len(shape)) for d in along)
    return wrap(roll_(node, arg=(by, axes)))


def _flipped(node: Node, axes: tuple[int, ...]) -> Node:
    if len(set(axes)) != len(axes):
        twice = next(a for i, a in enumerate(axes) if a in axes[:i])
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return flip_(node, arg=(axes,)) if node.type.shape else copy(node)


def flip(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """The order of the elements of the given dimensions reversed (a copy)."""
    rank = input.dim()
    axes = tuple(wrap_dim(d, rank) for d in ints(dims, "flip", "dims", named))
    return like_operands(_flipped(node_of(input), axes), input)


def fliplr(input: Tensor) -> Tensor:
    """`flip` of dimension 1."""
    if input.dim() < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """`flip` of dimension 0."""
    if input.dim() < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """A plane turned by k quarters, from its first dimension towards its second."""
    rank = input.dim()
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if rank < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {rank}")
    a, b = (wrap_dim(d, rank) for d in dims)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    turns = k % 4
    node = node_of(input)
    dims = list(range(rank))
    if turns % 2 == 0:
        result = flip_(node, arg=((a, b),)) if turns else node
    else:
        # The memory of what is flipped, in which the dimensions then change places.
        dims[a], dims[b] = b, a
        result = permute(flip_(node, arg=((b,) if turns == 1 else (a,),)), tuple(dims))
    # A copy of all is row-major; else the memory is that of what was flipped.
    order = tuple(dims[d] for d in (turns and memory_order(input)) or range(rank))
    result = tagged(copy(result), "Rot90", node, saves=False)
    return wrap(result) if order == tuple(range(rank)) else laid_out(result, order)


# --- triangles and diagonals ----------------------------------------------------------------------


def _triangle(name: str, op: Any, side: str) -> None:
    def compute(input: Tensor, diagonal: int) -> Node:
        if input.dim() < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return op(node_of(input), arg=(int(diagonal),))

    def function(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
        return deliver(compute(input, diagonal), out, exact=EXACT)

    def inplace(self: Tensor, diagonal: int = 0) -> Tensor:
        check_writable(self)
        return update(self, compute(self, diagonal))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Matrices with zeros {side} a diagonal (0 the main one)."
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    public(function, name, inplace=inplace)


_triangle("tril", tril_, "above")
_triangle("triu", triu_, "below")


def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """A matrix with a vector on its diagonal, or the diagonal of a matrix (a copy)."""
    rank = input.dim()
    if rank == 1:
        return deliver(_embedded(node_of(input), diagonal, 0, 1), out, exact=EXACT)
    if rank != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {rank}D")
    taken = node_of(_diagonal(input, diagonal))
    result = tagged(copy(taken), "Diagonal", node_of(input), saves=False)
    if result.grad:
        result.tag.name = "DiagonalBackward0_copy"
    return deliver(result, out, exact=EXACT)


_diagonal = diagonal


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dimension on the diagonal of two new dimensions, zeros elsewhere."""
    rank = input.dim() + 1
    a, b = wrap_dim(dim1, rank), wrap_dim(dim2, rank)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return wrap(_embedded(node_of(input), offset, a, b))


def _embedded(node: Node, offset: int, a: int, b: int) -> Node:
    *rest, size = node.type.shape
    extent = size + abs(offset)
    shape = list(rest)
    for axis in sorted((a, b)):
        shape.insert(axis, extent)
    own = contiguous_strides(tuple(shape))
    strides = tuple(s for i, s in enumerate(own) if i not in (a, b)) + (own[a] + own[b],)
    start = offset * own[b] if offset >= 0 else -offset * own[a]
    zeros = full(tuple(shape), 0, node.type.dtype, node.type.device)
    if not node.type.numel:
        start = 0
    made = strided_update_(zeros, node, start, arg=(node.type.shape, strides))
    return tagged(made, "DiagEmbed", node, saves=False)


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of a tensor on its diagonal."""
    node = node_of(input)
    return wrap(_embedded(reshape(node, (node.type.numel,)), offset, 0, 1))


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """A number on the main diagonal, in place; with `wrap` a tall matrix begins it again below."""
    shape = shape_of(self)
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    check_writable(self)
    strides = self.stride()
    step, size, start = sum(strides), min(shape), self.storage_offset()
    as_strided(self, (size,), (step,), start).fill_(fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        more = -(-self.numel() // step) - size
        below = start + strides[0] * (shape[1] + 1)
        as_strided(self, (more,), (step,), below).fill_(fill_value)
    return self


# --- differences ----------------------------------------------------------------------------------


def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours along a dimension, n times; of bools, whether they differ."""
    if not input.dim():
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    axis = wrap_dim(dim, input.dim())
    parts = [t for t in (prepend, input, append) if t is not None] if n else [input]
    result = cat(parts, axis) if len(parts) > 1 else input
    for _ in range(n):
        extent = shape_of(result)[axis]
        size = max(extent - 1, 0)
        later = slice_view(result, axis, min(1, extent), size, 1, "Slice")
        earlier = slice_view(result, axis, 0, size, 1, "Slice")
        xor = result.dtype is dtypes.bool_
        result = later ^ earlier if xor else later - earlier
    if result is input:
        result = input.clone()
    text = "" if n else "expected scalar_type {want} but found {have}"
    return result if out is None else deliver(node_of(result), out, exact=text)


attach(repeat=repeat, fill_diagonal_=fill_diagonal_)
for _function in (
    tile, repeat_interleave, roll, flip, fliplr, flipud, rot90, diag, diag_embed, diagflat, diff,
):  # fmt: skip
    public(_function)
