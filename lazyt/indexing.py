"""Subscripts: `x[key]` and `x[key] = value` in all of PyTorch's forms.

A key is read from left to right, one dimension after another. Integers, slices, None and Ellipsis make a
window, which is a view; tensors, masks and sequences then index the window and make a copy:

    x[0, 1:]         window: start (0, 1), extents (1, n - 1), shown as (n - 1,)
    x[:, [0, 2]]     window: all of x; index tensor [0, 2] at its dimension 1
    x[mask] = 0      where(mask, 0, x): nothing has to be read
    x[mask]          its shape depends on values: reads the mask

Errors are PyTorch's. An index that is out of range is an error at once where its value is known, else
when it is computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import FLUSH, LOCAL, Node, caller, leaf
from lazyt.ir.ops_elementwise import cast, full
from lazyt.ir.ops_elementwise import where as where_op
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_index import index_put as index_put_op
from lazyt.ir.ops_index import wrapped
from lazyt.ir.ops_shape import (
    alias,
    expand,
    inverse,
    part_,
    permute,
    reshape,
    reshape_,
    slice_,
)
from lazyt.ir.types import TensorType, broadcast_shapes

from .creation import array_from
from .dispatch import (
    copied_over,
    data_node,
    number_of,
    overwritten,
    scalar_name,
    tagged,
    wrap,
)
from .state import (
    PARTIAL_OVERLAP,
    Meta,
    array_of,
    check_overlap,
    check_writable,
    geometry,
    node_of,
    shape_of,
    span,
    sync,
    write,
)
from .tensor import Tensor, from_numpy
from .views import expand as expand_view
from .views import make_view

_new = object.__new__
INVALID = (
    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
    "(got {})"
)
NOT_AN_INDEX = "tensors used as indices must be long, int, byte or bool tensors"
INDEX_OF_SCALAR = (
    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
    "convert a 0-dim tensor to a number"
)
SEQUENCE_AS_TUPLE = (
    "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in "
    "pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as "
    "tensor index, x[torch.tensor(seq)], which will result either in an error or a different result"
)
BYTE_MASK = "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead."


# --- reading a key --------------------------------------------------------------------------------


class Window:
    """The basic part of a key: a strided window of a tensor, and how it is shown.

    starts, sizes, steps: the slice of the tensor's own dimensions, or starts None for all of it.
    shape, offset, strides: the shape it is shown in, and its place in the storage.
    name: PyTorch's name of the last view taken. advanced: (dimension of the window, index tensor or
    Python bool) of what has still to be applied.
    """

    __slots__ = ("starts", "sizes", "steps", "shape", "offset", "strides", "name", "advanced")

    def is_all(self, t: Tensor) -> bool:
        """Whether the window is the whole tensor as it is."""
        return self.starts is None and self.shape == shape_of(t)

    def step(self, t: Tensor) -> tuple:
        """The one step (primitive, its argument, its numbers) from the tensor's value to the window's."""
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
    named = 0
    for item in items:
        kind = item.__class__
        if kind is slice or kind is int:
            named += 1
        elif item is not None and item is not Ellipsis and kind is not bool:
            named += _dimensions(item)
    if named > rank:
        if not rank and len(items) == 1 and items[0].__class__ is int and key.__class__ is not Tensor:
            raise IndexError(INDEX_OF_SCALAR)
        if not rank and len(items) == 1 and items[0].__class__ is slice:
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        raise IndexError(f"too many indices for tensor of dimension {rank}")
    starts, sizes, steps = [0] * rank, list(shape), [1] * rank
    shown: list[int] = []
    moved: list[int] = []
    advanced: list[tuple[int, Any]] = []
    name, dim, cut = "Alias", 0, False
    for item in items:
        kind = item.__class__
        if kind is int:
            extent = shape[dim]
            if not -extent <= item < extent:
                raise IndexError(
                    f"index {item} is out of bounds for dimension {dim} with size {extent}"
                )
            start = item + extent if item < 0 else item
            starts[dim], sizes[dim] = start, 1
            offset += start * strides[dim]
            cut = cut or extent != 1
            name = "Select"
            dim += 1
        elif kind is slice:
            start, size, step = read_slice(item, shape[dim])
            if (start, size, step) != (0, shape[dim], 1):
                starts[dim], sizes[dim], steps[dim] = start, size, step
                offset += start * strides[dim]
                cut, name = True, "Slice"
            elif len(items) == 1:
                name = "Slice"
            shown.append(size)
            moved.append(strides[dim] * step)
            dim += 1
        elif item is None or kind is bool:
            moved.append(shape[dim] * strides[dim] if dim < rank else 1)
            if kind is bool:
                advanced.append((len(shown), item))
            shown.append(1)
            name = "Unsqueeze"
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
    window.advanced = advanced
    return window


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
    """A key as a list of int, slice, None, Ellipsis, bool and index tensors of one dimension or more."""
    kind = key.__class__
    if kind is slice:
        return [key]
    if kind is not tuple and not isinstance(key, tuple):
        if not _stands_for_tuple(key):
            return [_item(key)]
        warnings.warn(SEQUENCE_AS_TUPLE, UserWarning, stacklevel=4)
    return [_item(item) for item in key]


def _stands_for_tuple(key: Any) -> bool:
    """Whether a short sequence is taken for a tuple, as old NumPy did: it holds more than numbers."""
    if not isinstance(key, Sequence) or isinstance(key, (str, bytes, range)) or len(key) >= 32:
        return False
    return any(
        x is None or x is Ellipsis or isinstance(x, (Tensor, slice, Sequence, np.ndarray)) for x in key
    )


def _item(item: Any) -> Any:
    kind = item.__class__
    if kind is int or kind is slice or item is None or item is Ellipsis or kind is bool:
        if kind is int and not -(2**63) <= item < 2**63:
            raise ValueError("Overflow when unpacking long long")
        return item
    if not isinstance(item, Tensor):
        if isinstance(item, np.ndarray) or isinstance(item, Sequence):
            item = _index_tensor(item)
        elif hasattr(item, "__index__") and not isinstance(item, np.bool_):
            return int(item.__index__())
        else:
            module = "numpy." if kind.__module__ == "numpy" else ""
            raise IndexError(INVALID.format(module + kind.__name__))
    type = node_of(item).type
    dtype = type.dtype
    if dtype is dtypes.bool_ or dtype is dtypes.uint8:
        return item if type.shape else bool(item.item())
    if not type.shape and dtype.category == dtypes.INTEGRAL:
        return int(item.item())
    if dtype is not dtypes.int64 and dtype is not dtypes.int32:
        raise IndexError(NOT_AN_INDEX)
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


def index_nodes(shape: tuple[int, ...], advanced: list[tuple[int, Any]]) -> tuple[tuple, tuple]:
    """The indexed dimensions of a tensor of `shape`, and an int64 node for each.

    Masks become the positions of their true elements, which reads them. Raises IndexError where a mask
    does not fit, indices do not broadcast together, or a known value is out of range.
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
            _check_mask(node, shape, axis)
            for i, found in enumerate(np.nonzero(array_of(item))):
                axes.append(axis + i)
                nodes.append(data_node(found, dtypes.int64))
            continue
        extent = shape[axis]
        if not extent and node.type.numel:
            raise IndexError("index is out of bounds for dimension with size 0")
        node = cast(node, dtypes.int64)
        if node.value is not None:
            wrapped(node.value, extent, axis)
        axes.append(axis)
        nodes.append(node)
    lead: tuple[int, ...] = ()
    try:
        for node in nodes:
            lead = broadcast_shapes(lead, node.type.shape)
    except RuntimeError:
        shapes = ", ".join(str(list(n.type.shape)) for n in nodes)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    return tuple(axes), tuple(nodes)


def _check_mask(mask: Node, shape: tuple[int, ...], axis: int) -> None:
    """IndexError unless the mask has the extents of the dimensions it stands for; warns about bytes."""
    if mask.type.dtype is dtypes.uint8:
        warnings.warn(BYTE_MASK, UserWarning, stacklevel=5)
    for i, extent in enumerate(mask.type.shape):
        if extent != shape[axis + i]:
            raise IndexError(
                f"The shape of the mask {list(mask.type.shape)} at index {i} does not match the shape "
                f"of the indexed tensor {list(shape)} at index {axis + i}"
            )


# --- reading --------------------------------------------------------------------------------------


def getitem(self: Tensor, key: Any) -> Tensor:
    """x[key]: a view for integers, slices, None and Ellipsis; a copy with index tensors or masks.

    Errors: IndexError where the key does not fit, TypeError and ValueError for what is no key.
    """
    kind = key.__class__
    if kind is int:
        meta = self._meta
        if meta is None or meta.strides is None:
            source = self._node if self._seen is self._storage.node else sync(self)
            type = source.type
            row = _ROWS.get(type) or _row(type)
            start = key + row[0] if key < 0 else key
            if 0 <= start < row[0]:
                step = (part_, row[1], (start, *row[2]))
                return show(self, source, step, row[3], start * row[4], row[5], "Select")
    elif kind is slice:
        offset, shape, strides = geometry(self)
        if shape:
            start, size, step = read_slice(key, shape[0])
            rest = shape[1:]
            source = node_of(self)
            arg = ((size, *rest), (step, *(1,) * len(rest)))
            taken = (slice_, arg, (start, *(0,) * len(rest)))
            type = source.type.with_shape(arg[0])
            moved = (strides[0] * step, *strides[1:])
            return show(self, source, taken, type, offset + start * strides[0], moved, "Slice")
    window = read_key(self, key)
    source = node_of(self)
    step = window.step(self)
    type = source.type.with_shape(window.shape)
    if not window.advanced:
        return show(self, source, step, type, window.offset, window.strides, window.name)
    axes, indices = index_nodes(window.shape, window.advanced)
    op, arg, numbers = step
    if op is not alias:
        source = op(source, *numbers, arg=arg)
    return wrap(index_op(source, *indices, arg=(axes,)))


# What an integer as a key reads of a tensor of a type: the extent it counts in, the argument of the
# slice, the starts of the other dimensions, the type and the strides of the result.
_ROWS: dict[TensorType, tuple] = {}


def _row(type: TensorType) -> tuple:
    shape = type.shape
    if not shape:
        raise IndexError(INDEX_OF_SCALAR)
    rest = shape[1:]
    arg = ((1, *rest), (1,) * len(shape), rest)
    strides = type.strides
    made = (shape[0], arg, (0,) * len(rest), type.with_shape(rest), strides[0], strides[1:])
    _ROWS[type] = made
    return made


def show(
    t: Tensor, source: Node, step: tuple, type: TensorType, offset: int, strides: tuple, name: str
) -> Tensor:
    """`make_view` for one step whose type is known: subscripts are traced more often than anything."""
    op = step[0]
    storage = t._storage
    local = LOCAL
    n = _new(Node)
    n.op = op
    n.src = (source, *step[2])
    n.arg = step[1]
    n.type = type
    n.value = None
    n.after = None
    n.tag = None
    n.uses = 0
    n.pos = -1
    n.grad = 0
    n.code, n.line = caller(3)
    if source.grad and local.grad:
        n.grad = 1
        if op.grad_name != name + "Backward0":
            tagged(n, name, source, saves=False)
    trace = local.trace
    trace.append(n)
    if len(trace) > local.limit:
        FLUSH[0](n)
    meta = t._meta
    made = Meta()
    if meta is None:
        made.base, made.recipe = t, (step,)
    else:
        if meta.base is None:
            made.base, made.origin, made.recipe = t, meta.recipe, (step,)
        else:
            made.base, made.origin = meta.base, meta.origin
            made.recipe = (*meta.recipe, step)
            made.untracked = meta.untracked
        made.stopped, made.silent = meta.stopped, meta.silent
    made.offset, made.strides = offset, strides
    if not local.grad and not local.inference:
        made.untracked = True
    view = _new(Tensor)
    view._storage = storage
    view._meta = made
    view._node = n
    view._seen = storage.node if storage.export is None else None
    return view


# --- writing --------------------------------------------------------------------------------------


def setitem(self: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, where value is a number or a tensor that broadcasts.

    Errors: those of reading; TypeError for a value that is neither, RuntimeError for shapes and dtypes
    that do not fit. Nothing is changed then.
    """
    if not isinstance(value, Tensor):
        value = fill_number(value, self.dtype)
    window = read_key(self, key)
    if window.advanced:
        _put(self, window, value)
        return
    target = self if window.is_all(self) else _place(self, window)
    check_writable(target)
    shape, dtype = window.shape, self.dtype
    if not isinstance(value, Tensor):
        node = full(shape, value, dtype)
        write(target, overwritten(target, node, "FillBackward3"))
        return
    node = node_of(value)
    extents = node.type.shape
    if extents != shape:
        kept = strip(extents)
        if kept != extents:
            node = reshape(node, kept)
        if kept == shape:
            check_overlap(target, value)
        elif kept:
            expand_view(value if kept == extents else wrap(node), *shape)  # raises if it cannot be
    else:
        check_overlap(target, value)
    node = cast(node, dtype)
    if node.type.shape != shape:
        node = expand(node, shape)
    if value._storage is self._storage:
        node = in_sequence(node, target, value)
    write(target, copied_over(target, node))


def in_sequence(node: Node, target: Tensor, source: Tensor) -> Node:
    """What a copy between overlapping windows of one memory leaves, element after element, as PyTorch's.

    An element that an earlier step has overwritten is read as that step left it:
    `x[:] = x.t()[:, :1]` reads its first row and writes it everywhere.
    """
    offset, shape, strides = geometry(target)
    start, extents, steps = geometry(source)
    first, second = span(offset, shape, strides), span(start, extents, steps)
    if first is None or second is None or (offset, shape, strides) == (start, extents, steps):
        return node
    if first[0] > second[1] or second[0] > first[1]:
        return node
    lead = len(shape) - len(extents)
    along = [steps[i - lead] if i >= lead and extents[i - lead] != 1 else 0 for i in range(len(shape))]
    order = tuple(sorted(range(len(shape)), key=lambda i: -strides[i]))
    written = _cells(offset, shape, strides, order) - first[0]
    read = _cells(start, shape, along, order) - first[0]
    step_of = np.full(first[1] - first[0] + 1, -1)
    count = np.arange(len(written))
    step_of[written] = count
    inside = (read >= 0) & (read < len(step_of))
    before = np.where(inside, step_of[np.where(inside, read, 0)], -1)
    changed = np.flatnonzero((before >= 0) & (before < count))
    if not changed.size:
        return node
    for i in changed.tolist():
        count[i] = count[before[i]]
    moved = permute(node, order)
    flat = index_op(
        reshape(moved, (len(count),)), data_node(count, dtypes.int64), arg=((0,),)
    )
    return permute(reshape(flat, moved.type.shape), inverse(order))


def _cells(offset: int, shape: tuple, strides: Any, order: tuple) -> np.ndarray:
    """The memory cells of a window, with its dimensions in another order."""
    cells = np.array([offset])
    for axis in order:
        cells = cells[:, None] + np.arange(shape[axis]) * strides[axis]
        cells = cells.reshape(-1)
    return cells


def strip(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its leading extents of 1."""
    first = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    return shape[first:]


def fill_number(value: Any, dtype: DType) -> Any:
    """A number to be written into a tensor of `dtype`; TypeError or RuntimeError where it cannot be."""
    number = value if value.__class__ in (int, float, bool) else None
    if number is None and isinstance(value, (int, float, np.integer)):
        number = number_of(value)
    if number is None:
        if isinstance(value, complex):
            raise RuntimeError(
                f"value cannot be converted to type {C_NAMES[dtype.name]} without overflow"
            )
        from .creation import _TYPE_NAMES

        kind = type(value)
        module = "numpy." if kind.__module__ == "numpy" else ""
        raise TypeError(
            f"can't assign a {module}{kind.__name__} to a torch.{_TYPE_NAMES[dtype.name]}"
        )
    if number.__class__ is int and not -(2**63) <= number < 2**63:
        raise ValueError("Overflow when unpacking long long")
    if not fits(number, dtype):
        raise RuntimeError(f"value cannot be converted to type {C_NAMES[dtype.name]} without overflow")
    if dtype.category == dtypes.INTEGRAL:
        return dtypes.wrap(int(number), dtype)
    return float(number) if dtype.category == dtypes.FLOATING else bool(number)


C_NAMES = {
    "float64": "double",
    "float32": "float",
    "float16": "at::Half",
    "bfloat16": "at::BFloat16",
    "int64": "int64_t",
    "int32": "int",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "bool",
}


def fits(number: Any, dtype: DType) -> bool:
    """Whether PyTorch converts a number to `dtype`: nothing that overflows, but bytes from -255 on."""
    if dtype.category == dtypes.INTEGRAL:
        low, high = dtype.limits  # type: ignore[misc]
        if dtype is dtypes.uint8 and number.__class__ is int:
            low = -high
        return low <= number <= high
    if dtype is dtypes.float32 and number.__class__ is float:
        return not 3.4028234663852886e38 < abs(number) < float("inf")
    return True


def _place(t: Tensor, window: Window) -> Tensor:
    """A handle on the window that is only good for writing: it has a type, but no value."""
    meta = t._meta
    made = Meta()
    if meta is not None:
        made.untracked, made.multi = meta.untracked, meta.multi
        made.stopped, made.silent = meta.stopped, meta.silent
    made.base = t if meta is None or meta.base is None else meta.base
    made.offset, made.strides = window.offset, window.strides
    view = _new(Tensor)
    view._storage = t._storage
    view._meta = made
    view._node = leaf(alias, None, node_of(t).type.with_shape(window.shape))
    view._seen = t._storage.node
    return view


def _put(self: Tensor, window: Window, value: Any) -> None:
    """The writes with index tensors and masks."""
    target = self
    if not window.is_all(self):
        step = (window.step(self),)
        target = make_view(self, step, window.offset, window.strides, window.name)
    check_writable(target)
    node = masked_put(target, window.advanced, value)
    if node is None:
        axes, indices = index_nodes(window.shape, window.advanced)
        check_sources(target, value, [item for _, item in window.advanced])
        node = put_at(node_of(target), axes, indices, value, False)
    write(target, node)


def masked_put(target: Tensor, advanced: list[tuple[int, Any]], value: Any) -> Node | None:
    """A write under one mask whose value does not depend on how many elements the mask selects.

    None where it does.
    """
    if len(advanced) != 1 or not isinstance(advanced[0][1], Tensor):
        return None
    axis, item = advanced[0]
    mask, base = node_of(item), node_of(target)
    shape, dtype = base.type.shape, base.type.dtype
    if mask.type.dtype is not dtypes.bool_ and mask.type.dtype is not dtypes.uint8:
        return None
    after = shape[axis + len(mask.type.shape) :]
    filler = value
    if isinstance(value, Tensor):
        filler = node_of(value)
        if filler.type.numel == 1:
            filler = cast(reshape(filler, ()), dtype)
        else:
            kept = strip(filler.type.shape)
            if not stretches(kept, after) or filler.type.dtype is not dtype:
                return None
            check_sources(target, value, [item])
            filler = reshape(filler, kept)
    _check_mask(mask, shape, axis)
    if mask.type.dtype is dtypes.uint8:
        if filler.__class__ is not Node or not filler.type.shape:
            raise RuntimeError(
                "masked_fill_ only supports boolean masks, but got mask with dtype unsigned char"
            )
        mask = cast(mask, dtypes.bool_)
    mask = reshape(mask, mask.type.shape + (1,) * len(after))
    return tagged(where_op(mask, filler, base), "IndexPut", base)


def stretches(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether `shape` broadcasts to `target`."""
    lead = len(target) - len(shape)
    return lead >= 0 and all(n == m or n == 1 for n, m in zip(shape, target[lead:]))


def put_at(base: Node, axes: tuple, indices: tuple, value: Any, accumulate: bool) -> Node:
    """`base` with `value` (a number or a tensor) at the indices; RuntimeError where it does not fit."""
    dtype = base.type.dtype
    if not isinstance(value, Tensor):
        node = full((), value, dtype)
    else:
        node = node_of(value)
        if node.type.dtype is not dtype:
            raise RuntimeError(
                "Index put requires the source and destination dtypes match, got "
                f"{scalar_name(dtype)} for the destination and {scalar_name(node.type.dtype)} for the "
                "source."
            )
        result = index_op.infer((base, *indices), (axes,)).shape  # type: ignore[misc]
        extents = node.type.shape
        kept = extents if len(extents) <= len(result) else strip(extents)
        if not stretches(kept, result):
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(strip(extents) or extents)} cannot be "
                f"broadcast to indexing result of shape {list(result)}"
            )
        node = reshape(node, kept)
    return index_put_op(base, node, *indices, arg=(axes, accumulate))


def check_sources(target: Tensor, value: Any, indices: list) -> None:
    """RuntimeError where the value or an index of a write lies in the memory that is written."""
    for source in (value, *indices):
        if isinstance(source, Tensor) and source._storage is target._storage:
            first, second = span(*geometry(target)), span(*geometry(source))
            if first is None or second is None:
                continue
            if first[0] <= second[1] and second[0] <= first[1] and node_of(source).type.numel > 1:
                raise RuntimeError(PARTIAL_OVERLAP)


def delitem(self: Tensor, key: Any) -> None:
    """Tensors have no deletion of elements: TypeError."""
    raise TypeError("Tensor does not support deleting items")


Tensor.__getitem__ = getitem  # type: ignore[attr-defined]
Tensor.__setitem__ = setitem  # type: ignore[attr-defined]
Tensor.__delitem__ = delitem  # type: ignore[attr-defined]
