"""Several tensors as one: cat, stack and their relatives; grids and products of index sets.

cat([a, b], 0)       one below the other: a primitive, PyTorch's CatBackward0
stack([a, b], 0)     cat of what has got a new dimension
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast, full
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_shape import cat_, reshape, strided_update_
from lazyt.ir.types import broadcast_shapes as broadcast_pair
from lazyt.warned import warn

from ..device import resolve
from ..dispatch import (
    can_cast,
    data_node,
    deliver,
    from_array,
    scalar_name,
    tagged,
    unsupported,
    wrap,
)
from ..registry import FUNCTIONS
from ..size import Size, sized
from ..state import node_of, shape_of
from ..tensor import Tensor, wrap_dim
from .indices import check_apart
from .views import expand, unsqueeze
from .views import reshape as reshape_view

# --- arguments ------------------------------------------------------------------------------------


def tensors_of(tensors: Any, name: str) -> list[Tensor]:
    """A sequence of tensors; TypeError in PyTorch's words for anything else."""
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}"
            )
    return list(tensors)


def dimension(dim: Any, name: str) -> int:
    """`dim` as an int; TypeError for what is none."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"{name}(): argument 'dim' must be int, not {type(dim).__name__}")
    return dim.__index__()


def promoted_nodes(tensors: Sequence[Tensor]) -> list[Node]:
    """The nodes, cast to the common dtype of all."""
    nodes = [node_of(t) for t in tensors]
    dtype = nodes[0].type.dtype
    for n in nodes[1:]:
        if n.type.dtype is not dtype:
            dtype = dtypes.promote(dtype, n.type.dtype)
    return [cast(n, dtype) for n in nodes]


# --- cat and stack --------------------------------------------------------------------------------


def cat(
    tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
) -> Tensor:
    """The tensors one after another along a dimension they already have.

    Shapes agree in the other dimensions; empty tensors of one dimension do not count. The dtype is
    the common one. Errors: ValueError for no tensors, RuntimeError for shapes that do not fit.
    """
    parts = tensors_of(tensors, "cat")
    check_apart(out, *parts)
    dim = dimension(dim if axis is None else axis, "cat")
    if not parts:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    nodes = promoted_nodes(parts)
    for i, n in enumerate(nodes):
        if not n.type.shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    kept = [(i, n) for i, n in enumerate(nodes) if n.type.shape != (0,)] or list(enumerate(nodes))
    first = kept[0][1].type.shape
    where = wrap_dim(dim, len(first))
    for i, n in kept[1:]:
        shape = n.type.shape
        if len(shape) != len(first):
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}"
            )
        for d, (have, want) in enumerate(zip(shape, first)):
            if d != where and have != want:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {where}. Expected size "
                    f"{want} but got size {have} for tensor number {i} in the list."
                )
    check_joined_dtype(nodes[0].type.dtype, out)
    operands = [n for _, n in kept]
    if len(kept) == len(nodes) or not any(n.grad and n.type.shape == (0,) for n in nodes):
        return deliver(cat_(*operands, arg=(where,)), out)
    # Empty ones that require a gradient add no element, but a history.
    nothing = first[:where] + (0,) + first[where + 1 :]
    operands = [reshape(n, nothing) if n.type.shape == (0,) else n for n in nodes]
    joined = cat_(*operands, arg=(where,))
    return deliver(tagged(joined, "Cat", *nodes, saves=False), out)


def check_joined_dtype(dtype: DType, out: Tensor | None) -> None:
    """TypeError where the common dtype cannot be written into `out`."""
    if out is not None and not can_cast(dtype, out.dtype):
        raise TypeError(
            "torch.cat(): input types can't be cast to the desired output type "
            f"{scalar_name(out.dtype)}"
        )


def stack(tensors: Any, dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape along a new dimension. RuntimeError where shapes differ."""
    parts = tensors_of(tensors, "stack")
    dim = dimension(dim, "stack")
    if not parts:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = shape_of(parts[0])
    axis = wrap_dim(dim, len(shape) + 1)
    for i, t in enumerate(parts):
        if shape_of(t) != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(shape_of(t))} at entry {i}"
            )
    nodes = promoted_nodes(parts)
    check_joined_dtype(nodes[0].type.dtype, out)
    target = shape[:axis] + (1,) + shape[axis:]
    joined = cat_(*[reshape(n, target) for n in nodes], arg=(axis,))
    return deliver(tagged(joined, "Stack", *nodes, saves=False), out)


def atleast(rank: int) -> Callable:
    """`atleast_1d`, `atleast_2d` or `atleast_3d`."""

    def one(t: Tensor) -> Tensor:
        shape = shape_of(t)
        if len(shape) >= rank:
            return t
        if not shape:
            return reshape_view(t, (1,) * rank)
        front = unsqueeze(t, 0) if len(shape) == 1 and rank > 1 else t
        return unsqueeze(front, -1) if rank == 3 else front

    def function(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], Tensor):
            return one(tensors[0])
        many = tensors[0] if len(tensors) == 1 else tensors
        return tuple(one(t) for t in many)

    function.__name__ = function.__qualname__ = f"atleast_{rank}d"
    function.__doc__ = f"Views of the tensors with at least {rank} dimensions."
    return function


atleast_1d, atleast_2d, atleast_3d = atleast(1), atleast(2), atleast(3)


def hstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors side by side: along dimension 1, vectors along dimension 0."""
    parts = [atleast_1d(t) for t in tensors_of(tensors, "hstack")]
    if not parts:
        raise RuntimeError("hstack expects a non-empty TensorList")
    return cat(parts, 0 if parts[0].dim() == 1 else 1, out=out)


def vstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors one below the other; vectors count as rows."""
    parts = tensors_of(tensors, "vstack")
    if not parts:
        raise RuntimeError("vstack expects a non-empty TensorList")
    return cat([atleast_2d(t) for t in parts], 0, out=out)


def dstack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors along a third dimension."""
    parts = tensors_of(tensors, "dstack")
    if not parts:
        raise RuntimeError("dstack expects a non-empty TensorList")
    return cat([atleast_3d(t) for t in parts], 2, out=out)


def column_stack(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """Tensors side by side; vectors count as columns."""
    parts = tensors_of(tensors, "column_stack")
    if not parts:
        raise RuntimeError("column_stack expects a non-empty TensorList")
    return hstack([t if t.dim() > 1 else reshape_view(t, (t.numel(), 1)) for t in parts], out=out)


def block_diag(*tensors: Any) -> Tensor:
    """The matrices along the diagonal of a matrix of zeros; vectors count as rows."""
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}"
            )
        if t.dim() > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{i} has {t.dim()} dimensions"
            )
    nodes = promoted_nodes(tensors) if tensors else [full((1, 0), 0, dtypes.float32)]
    shapes = [((1, 1) + n.type.shape)[-2:] for n in nodes]
    height, width = sum(h for h, _ in shapes), sum(w for _, w in shapes)
    result = full((height, width), 0, nodes[0].type.dtype, nodes[0].type.device)
    row = column = 0
    for node, (h, w) in zip(nodes, shapes):
        place = row * width + column
        result = strided_update_(result, reshape(node, (h, w)), place, arg=((h, w), (width, 1)))
        row, column = row + h, column + w
    return wrap(tagged(result, "BlockDiag", *nodes, saves=False))


# --- common shapes and grids ----------------------------------------------------------------------


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of the given shapes broadcast to."""
    result: tuple[int, ...] = ()
    for i, shape in enumerate(shapes):
        extents = (shape,) if isinstance(shape, int) else tuple(shape)
        try:
            result = broadcast_pair(result, extents)
        except RuntimeError:
            position = next(
                -k
                for k, (n, m) in enumerate(zip(result[::-1], extents[::-1]), 1)
                if n != m and m != 1
            )
            raise RuntimeError(
                f"Attempting to broadcast a dimension of length {extents[position]} at {position}! "
                f"Mismatching argument at index {i} had {extents}; but expected shape should be "
                f"broadcastable to {list(result)}"
            ) from None
    return sized(result)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of the tensors in their common shape."""
    parts = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    shape: tuple[int, ...] = ()
    for t in parts:
        shape = broadcast_pair(shape, shape_of(t))
    return tuple(t if shape_of(t) == shape else expand(t, *shape) for t in parts)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Views of vectors as coordinates of their grid.

    Its dimensions are the vectors' in order ("ij"), or with the first two exchanged ("xy").
    """
    parts = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    parts = tensors_of(list(parts), "meshgrid")
    if indexing is None:
        warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing "
            "argument.",
            UserWarning,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    if not parts:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if any(t.dtype is not parts[0].dtype for t in parts):
        raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    for t in parts:
        if t.dim() > 1:
            extents = "".join(f"  {n}" for n in shape_of(t))
            raise RuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got:{extents}"
            )
    swap = indexing == "xy" and len(parts) > 1
    if swap:
        parts[0], parts[1] = parts[1], parts[0]
    shape = tuple(t.numel() for t in parts)
    grids = []
    for i, t in enumerate(parts):
        along = tuple(n if i == k else 1 for k, n in enumerate(shape))
        grids.append(expand(reshape_view(t, along), *shape))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every combination of one element of each vector, as rows."""
    for t in tensors:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(shape_of(t))}")
    if len(tensors) == 1:
        return tensors[0]
    return reshape_view(stack(meshgrid(*tensors, indexing="ij"), -1), (-1, len(tensors)))


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of `r` elements of a vector, in order, as rows."""
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(shape_of(input))}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input.numel()), r))
    places = np.array(rows, np.int64).reshape(len(rows) if r else 0, r)
    node = node_of(input)
    taken = index_op(node, data_node(places, dtypes.int64, node.type.device), arg=((0,),))
    return wrap(tagged(taken, "Stack", node, saves=False))


def tri_indices(name: str, upper: bool) -> Callable:
    """`tril_indices` or `triu_indices`."""

    def function(
        row: int,
        col: int,
        offset: int = 0,
        *,
        dtype: DType = dtypes.int64,
        device: Any = None,
        layout: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        where = resolve(device, name)
        if dtype is not dtypes.int64 and dtype is not dtypes.int32:
            raise unsupported(name, dtype)
        rows, columns = (np.triu_indices if upper else np.tril_indices)(row, offset, col)
        array = np.stack([rows, columns]).astype(dtype.numpy)
        return from_array(array, dtype, where)

    function.__name__ = function.__qualname__ = name
    side = "on and above" if upper else "on and below"
    function.__doc__ = f"Rows and columns of the places {side} a diagonal, shape (2, n)."
    return function


tril_indices, triu_indices = tri_indices("tril_indices", False), tri_indices("triu_indices", True)

FUNCTIONS |= {
    "cat": cat,
    "concat": cat,
    "concatenate": cat,
    "stack": stack,
    "hstack": hstack,
    "vstack": vstack,
    "row_stack": vstack,
    "dstack": dstack,
    "column_stack": column_stack,
    "block_diag": block_diag,
    "atleast_1d": atleast_1d,
    "atleast_2d": atleast_2d,
    "atleast_3d": atleast_3d,
    "broadcast_shapes": broadcast_shapes,
    "broadcast_tensors": broadcast_tensors,
    "meshgrid": meshgrid,
    "cartesian_prod": cartesian_prod,
    "combinations": combinations,
    "tril_indices": tril_indices,
    "triu_indices": triu_indices,
}
