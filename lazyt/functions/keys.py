"""The keys of subscripts: what `x[key]` asks for, before anything is read or written.

A key is read from left to right, one dimension after another. Integers, slices, None and Ellipsis
make a window, which is a view; tensors, masks and sequences then index the window:

    x[0, 1:]         start (0, 1), extents (1, n - 1), shown as (n - 1,)
    x[:, [0, 2]]     all of x; index tensor [0, 2] at dimension 1 of the window
    x[None, mask]    all of x, shown with a dimension of extent 1 in front; mask from dimension 1 on

Errors are PyTorch's. An index that is out of range is an error at once where its value is known,
else when it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_index import wrapped
from lazyt.ir.ops_shape import alias, part_, reshape_, slice_
from lazyt.ir.overwritten import current
from lazyt.ir.tags import Tag
from lazyt.ir.types import broadcast_shapes
from lazyt.runtime import drain as runtime
from lazyt.warned import warn

from ..dispatch import data_node, known, wrap
from ..state import array_of, geometry, node_of, of_an_example, shape_of
from ..tensor import Tensor, from_numpy
from .outside import array_from

_new = object.__new__
INVALID = (
    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
    "indices (got {})"
)
NOT_AN_INDEX = "tensors used as indices must be long, int, byte or bool tensors"
INDEX_OF_SCALAR = (
    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
    "to convert a 0-dim tensor to a number"
)
SEQUENCE_AS_TUPLE = (
    "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in "
    "pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as "
    "tensor index, x[torch.tensor(seq)], which will result either in an error or a different result"
)
BYTE_MASK = (
    "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead."
)


# --- reading a key --------------------------------------------------------------------------------


class Window:
    """The basic part of a key: a strided window of a tensor, and how it is shown.

    starts, sizes, steps: the slice of the tensor's own dimensions, or starts None for all of it.
    shape, offset, strides: the shape it is shown in, and its place in the storage.
    name: PyTorch's name of the last view taken; viewed: whether it takes one.
    advanced: (dimension of the window, index tensor or Python bool) of what is still to be applied.
    """

    __slots__ = (
        "starts",
        "sizes",
        "steps",
        "shape",
        "offset",
        "strides",
        "name",
        "viewed",
        "advanced",
    )

    starts: tuple[int, ...] | None
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]
    name: str
    viewed: bool
    advanced: list[tuple[int, Any]]

    def is_all(self, t: Tensor) -> bool:
        """Whether the window is the whole tensor as it is."""
        if self.starts is not None or self.shape != shape_of(t):
            return False
        return self.strides == geometry(t)[2]

    def step(self, t: Tensor) -> tuple:
        """The step (primitive, argument, numbers) from the tensor's value to the window's."""
        if self.starts is None:
            if self.shape == shape_of(t):
                return alias, (), ()
            return reshape_, (self.shape,), ()
        if self.shape == self.sizes:
            return slice_, (self.sizes, self.steps), self.starts
        return part_, (self.sizes, self.steps, self.shape), self.starts


def read_key(t: Tensor, key: Any) -> Window:
    """Applies what is basic in a key; raises what PyTorch raises for keys that do not fit."""
    offset, shape, strides = geometry(t)
    rank = len(shape)
    items = _items(key)
    named = _named(items, rank, key)
    starts, sizes, steps = [0] * rank, list(shape), [1] * rank
    shown: list[int] = []
    moved: list[int] = []
    advanced: list[tuple[int, Any]] = []
    name, dim, cut, viewed = "Alias", 0, False, False
    for position, item in enumerate(items):
        kind = item.__class__
        if kind is int:
            extent = shape[dim]
            if not -extent <= item < extent:
                # PyTorch counts the parts of the key here, not the dimensions.
                raise IndexError(
                    f"index {item} is out of bounds for dimension {position} with size {extent}"
                )
            start = item + extent if item < 0 else item
            starts[dim], sizes[dim] = start, 1
            offset += start * strides[dim]
            cut, viewed = cut or extent != 1, True
            name = "Select"
            dim += 1
        elif kind is slice:
            start, size, step = read_slice(item, shape[dim])
            if (start, size, step) != (0, shape[dim], 1):
                starts[dim], sizes[dim], steps[dim] = start, size, step
                offset += start * strides[dim]
                cut, name = True, "Slice"
            else:
                if len(items) == 1 or item.start:
                    name = "Slice"
                # PyTorch takes no view for a slice of all, as it is written.
                viewed = viewed or bool(item.start) or (item.stop or 0) < 0
            shown.append(size)
            moved.append(strides[dim] * step)
            dim += 1
        elif item is None or kind is bool:
            moved.append(shape[dim] * strides[dim] if dim < rank else 1)
            if kind is bool:
                advanced.append((len(shown), item))
            shown.append(1)
            name, viewed = "Unsqueeze", True
        elif item is Ellipsis:
            end = dim + max(rank - named, 0)
            named = rank  # a second Ellipsis stands for nothing
            shown += shape[dim:end]
            moved += strides[dim:end]
            dim = end
        else:
            end = dim + _dimensions(item)
            advanced.append((len(shown), item))
            shown += shape[dim:end]
            moved += strides[dim:end]
            dim = end
    window = _new(Window)
    window.starts = tuple(starts) if cut else None
    window.sizes, window.steps = tuple(sizes), tuple(steps)
    window.shape = tuple(shown) + shape[dim:]
    window.offset = offset
    window.strides = tuple(moved) + strides[dim:]
    window.name = name
    window.viewed = viewed or cut
    window.advanced = advanced
    return window


def _named(items: list, rank: int, key: Any) -> int:
    """How many dimensions a key speaks of; IndexError where there are not as many."""
    named = 0
    for item in items:
        kind = item.__class__
        if kind is slice or kind is int:
            named += 1
        elif item is not None and item is not Ellipsis and kind is not bool:
            named += _dimensions(item)
    if named <= rank:
        return named
    only = items[0].__class__ if not rank and len(items) == 1 else None
    if only is int and key.__class__ is not Tensor:
        raise IndexError(INDEX_OF_SCALAR)
    if only is slice:
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    raise IndexError(f"too many indices for tensor of dimension {rank}")


def read_slice(item: slice, extent: int) -> tuple[int, int, int]:
    """Start, size and step of a slice of `extent` elements; ValueError for a step below 1."""
    start, stop, step = item.indices(extent)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    return start, max(0, -(-(stop - start) // step)), step


def _dimensions(item: Any) -> int:
    """How many dimensions of the tensor an item of a key speaks of."""
    if isinstance(item, Tensor):
        node = node_of(item)
        if node.type.dtype is dtypes.bool_ or node.type.dtype is dtypes.uint8:
            return len(node.type.shape)
    return 1


def _items(key: Any) -> list:
    """A key as a list of int, slice, None, Ellipsis, bool and index tensors that are no numbers."""
    kind = key.__class__
    if kind is slice:
        return [key]
    if kind is not tuple and not isinstance(key, tuple):
        if not _stands_for_tuple(key):
            return [_item(key)]
        warn(SEQUENCE_AS_TUPLE, UserWarning)
    return [_item(item) for item in key]


def _stands_for_tuple(key: Any) -> bool:
    """Whether a sequence is taken for a tuple, as old NumPy did: short, and not only numbers."""
    if not isinstance(key, Sequence) or isinstance(key, (str, bytes, range)) or len(key) >= 32:
        return False
    return any(
        x is None or x is Ellipsis or isinstance(x, (Tensor, slice, Sequence, np.ndarray))
        for x in key
    )


def _item(item: Any) -> Any:
    kind = item.__class__
    if kind is int or kind is slice or item is None or item is Ellipsis or kind is bool:
        if kind is int and not -(2**63) <= item < 2**63:
            raise ValueError("Overflow when unpacking long long")
        return item
    if not isinstance(item, Tensor):
        if isinstance(item, (np.ndarray, Sequence)):
            item = _index_tensor(item)
        elif hasattr(item, "__index__") and not isinstance(item, np.bool_):
            return int(item.__index__())
        else:
            module = "numpy." if kind.__module__ == "numpy" else ""
            raise IndexError(INVALID.format(module + kind.__name__))
    node = node_of(item)
    type, dtype = node.type, node.type.dtype
    if dtype is dtypes.bool_ or dtype is dtypes.uint8:
        return item if type.shape else bool(item.item())
    if not type.shape and dtype.category == dtypes.INTEGRAL and not of_an_example(node):
        return int(item.item())
    return item


def _index_tensor(data: Any) -> Tensor:
    """A sequence or array in a key: a mask if it holds bools or bytes, else int64."""
    if isinstance(data, np.ndarray) and dtypes.from_numpy(data.dtype) is None:
        from_numpy(data)  # raises
    array, dtype = array_from(data, None)
    if dtype is not dtypes.bool_ and dtype is not dtypes.uint8 and dtype is not dtypes.int64:
        array, dtype = array.astype(np.int64), dtypes.int64
    return wrap(data_node(array, dtype))


# --- the index tensors ----------------------------------------------------------------------------


class OfMask(Tag):
    """On the positions of a mask's true elements: a backward that saved them has saved the mask."""

    __slots__ = ("mask", "axis")
    follows = True

    def __init__(self, mask: Node, axis: int):
        super().__init__()
        self.mask = mask
        self.axis = axis

    def now(self, node: Node, reader: Node | None = None, shown: Node | None = None) -> Node:
        mask = current(self.mask, reader)
        if mask is self.mask:
            return node
        found = np.nonzero(runtime.value_of(mask))[self.axis]
        if node.type.numel not in (1, len(found)):
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(node.type.shape)} cannot be "
                f"broadcast to indexing result of shape {[len(found)]}"
            )
        return data_node(found, dtypes.int64, node.type.device)


def index_nodes(shape: tuple[int, ...], advanced: list[tuple[int, Any]]) -> tuple[tuple, tuple]:
    """The indexed dimensions of a tensor of `shape`, and an int64 node for each.

    Masks become the positions of their true elements, which reads them. Raises IndexError where a
    mask does not fit, indices do not broadcast together, or a known value is out of range.
    """
    axes: list[int] = []
    nodes: list[Node] = []
    for axis, item in advanced:
        if item.__class__ is bool:
            axes.append(axis)
            nodes.append(data_node(np.zeros(1 if item else 0, np.int64), dtypes.int64))
            continue
        node = node_of(item)
        if node.type.dtype is dtypes.bool_ or node.type.dtype is dtypes.uint8:
            check_mask(node, shape, axis)
            for i, found in enumerate(np.nonzero(array_of(item))):
                axes.append(axis + i)
                nodes.append(data_node(found, dtypes.int64, node.type.device))
                nodes[-1].tag = OfMask(node, i)
            continue
        if node.type.dtype is not dtypes.int64 and node.type.dtype is not dtypes.int32:
            raise IndexError(NOT_AN_INDEX)
        axes.append(axis)
        nodes.append(cast(node, dtypes.int64))
    lead: tuple[int, ...] = ()
    try:
        for node in nodes:
            lead = broadcast_shapes(lead, node.type.shape)
    except RuntimeError:
        shapes = ", ".join(str(list(n.type.shape)) for n in nodes)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    if 0 not in lead and any(not shape[axis] for axis in axes):
        raise IndexError("index is out of bounds for dimension with size 0")
    if 0 in lead or not all(n for d, n in enumerate(shape) if d not in axes):
        # Nothing is read: the indices may be anything.
        masks = [n.tag for n in nodes]
        nodes = [data_node(np.zeros(lead, np.int64), dtypes.int64) for _ in nodes]
        for node, mask in zip(nodes, masks):
            node.tag = mask
    for number, (axis, node) in enumerate(zip(axes, nodes, strict=True)):
        value = known(node)
        if value is not None:
            wrapped(value, shape[axis], number)  # PyTorch counts the index tensors here
    return tuple(axes), tuple(nodes)


def check_mask(mask: Node, shape: tuple[int, ...], axis: int) -> None:
    """IndexError unless the mask has the extents of its dimensions; warns about bytes."""
    if mask.type.dtype is dtypes.uint8:
        warn(BYTE_MASK, UserWarning)
    for i, extent in enumerate(mask.type.shape):
        if extent != shape[axis + i]:
            raise IndexError(
                f"The shape of the mask {list(mask.type.shape)} at index {i} does not match the "
                f"shape of the indexed tensor {list(shape)} at index {axis + i}"
            )
