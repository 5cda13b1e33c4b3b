"""Writing subscripts: `x[key] = value`.

    x[0] = v                  a window of x's storage is replaced
    x[[0, 2]] = v             index_put into x, or into the window that the rest of the key leaves
    x[mask] = 0               where(mask, 0, x): nothing has to be read
    x[mask] = v               v's elements in order: reads the mask

A number or a tensor of fewer elements broadcasts; a window converts to its dtype, index tensors
want x's own. Whatever is wrong is found before anything changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import LOCAL, Node, caller, leaf
from lazyt.ir.ops_constant import complex_number
from lazyt.ir.ops_device import index_on
from lazyt.ir.ops_elementwise import cast, full
from lazyt.ir.ops_elementwise import where as where_op
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_index import index_put as index_put_op
from lazyt.ir.ops_reduce import any_
from lazyt.ir.ops_shape import alias, expand, inverse, permute, replaced, reshape, stop
from lazyt.ir.types import TensorType
from lazyt.runtime.drain import LOCK

from ..dispatch import (
    copied_over,
    data_node,
    number_of,
    overwritten,
    scalar_name,
    tagged,
    wrap,
)
from ..handles import name_view
from ..state import (
    check_overlap,
    check_writable,
    geometry,
    node_of,
    rewrite,
    root_of,
    shape_of,
    span,
    view_meta,
    write,
)
from ..tensor import Tensor, attach
from .conversion import TYPE_NAMES
from .keys import Window, check_mask, index_nodes, read_key
from .numeric import in_dtype
from .views import expand as expand_view
from .views import make_view
from .views import reshape as reshape_view

_new = object.__new__


def setitem(self: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, where value is a number or a tensor that broadcasts.

    Errors: those of reading; TypeError for a value that is neither, RuntimeError for shapes and
    dtypes that do not fit. Nothing is changed then.
    """
    local = LOCAL
    before = local.origin
    local.origin = caller(2)  # looked up once for all the nodes of a write
    try:
        with LOCK:  # what is beside the window may be another thread's
            _assign(self, key, value)
    finally:
        local.origin = before


def _assign(self: Tensor, key: Any, value: Any) -> None:
    if not isinstance(value, Tensor):
        value = fill_number(value, self.dtype)
    if key.__class__ is bool:  # alone, PyTorch takes it for a new dimension, of extent 1 or 0
        if not key:
            return
        key = None
    window = read_key(self, key)
    if window.advanced:
        _put(self, window, value)
        return
    meta = self._meta
    target = _place(self, window) if window.viewed else self
    check_writable(target, allow_overlap=meta is None or meta.strides is None)
    shape, dtype = window.shape, self.dtype
    if not isinstance(value, Tensor):
        node = full(shape, value, dtype, self._storage.node.type.device)
        write(target, overwritten(target, node, "FillBackward3"))
        return
    if value._node is None and _is_same_window(target, value):
        # The second half of `x[1:3] += y`: what it would write is there already.
        rewrite(target)
        return
    node = node_of(value)
    extents = node.type.shape
    if extents != shape:
        kept = strip(extents)
        if kept != extents:
            node = reshape(node, kept)
        if kept == shape:
            check_overlap(target, value)
        elif kept or extents and value._storage is self._storage:
            shown = value if kept == extents else wrap(node)
            if kept != extents and value._storage is self._storage:
                shown = reshape_view(value, kept)
            check_overlap(target, expand_view(shown, *shape))  # raises if it cannot be expanded
    else:
        check_overlap(target, value)
    node = in_dtype(node, dtype)
    if node.type.shape != shape:
        node = expand(node, shape)
    if value._storage is self._storage:
        node = in_sequence(node, target, value)
    made = copied_over(target, node)
    # The copy, not the operation that made the value, is what overwrites.
    write(target, alias(node) if made is node and node.grad else made)


def _is_same_window(target: Tensor, value: Tensor) -> bool:
    """Whether both are the same elements of one tensor, seen through the same base."""
    if value._storage is not target._storage or geometry(value) != geometry(target):
        return False
    return root_of(value) is root_of(target)


def in_sequence(node: Node, target: Tensor, source: Tensor) -> Node:
    """What a copy between overlapping windows of one memory leaves, element after element.

    An element that an earlier step has overwritten is read as that step left it:
    `x[:] = x.t()[:, :1]` reads its first row and writes it everywhere. PyTorch's gradient knows
    nothing of that: it is that of a copy.
    """
    offset, shape, strides = geometry(target)
    start, extents, steps = geometry(source)
    first, second = span(offset, shape, strides), span(start, extents, steps)
    if first is None or second is None or (offset, shape, strides) == (start, extents, steps):
        return node
    if first[0] > second[1] or second[0] > first[1]:
        return node
    lead = len(shape) - len(extents)
    along = [
        steps[i - lead] if i >= lead and extents[i - lead] != 1 else 0 for i in range(len(shape))
    ]
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
    moved = permute(stop(node), order)
    flat = index_op(
        reshape(moved, (len(count),)), data_node(count, dtypes.int64, node.type.device), arg=((0,),)
    )
    made = permute(reshape(flat, moved.type.shape), inverse(order))
    return replaced(node, made) if node.grad else made


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
    """A number to be written into a tensor of `dtype`; TypeError or RuntimeError if it is none."""
    number = value if value.__class__ in (int, float, bool) else None
    if isinstance(value, (complex, np.complexfloating)) and dtype.category == dtypes.COMPLEX:
        return complex(value)
    if number is None and isinstance(value, (int, float, np.integer)):
        number = number_of(value)
    if number is None:
        if isinstance(value, complex):
            raise RuntimeError(
                f"value cannot be converted to type {C_NAMES[dtype.name]} without overflow"
            )
        kind = type(value)
        module = "numpy." if kind.__module__ == "numpy" else ""
        raise TypeError(
            f"can't assign a {module}{kind.__name__} to a torch.{TYPE_NAMES[dtype.name]}"
        )
    if number.__class__ is int and not -(2**63) <= number < 2**63:
        raise ValueError("Overflow when unpacking long long")
    if not fits(number, dtype):
        raise RuntimeError(
            f"value cannot be converted to type {C_NAMES[dtype.name]} without overflow"
        )
    if dtype.category == dtypes.INTEGRAL:
        return dtypes.wrap(int(number), dtype)
    return float(number) if dtype.category >= dtypes.FLOATING else bool(number)


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
    "complex64": "c10::complex<float>",
    "complex128": "c10::complex<double>",
}


def fits(number: Any, dtype: DType) -> bool:
    """Whether PyTorch converts a number to `dtype`: unless it overflows (bytes begin at -255)."""
    if dtype.category == dtypes.INTEGRAL:
        low, high = dtype.limits  # type: ignore[misc]
        if dtype is dtypes.uint8 and number.__class__ is int:
            low = -high
        return low <= number <= high
    if dtype is dtypes.float32 and number.__class__ is float:
        return not 3.4028234663852886e38 < abs(number) < float("inf")
    return True


# Nodes without a value that say a type.
_SHAPES: dict[TensorType, Node] = {}


def _place(t: Tensor, window: Window) -> Tensor:
    """A handle on the window that is only good for writing: it has a type, but no value."""
    made = view_meta(t, (), window.offset, window.shape, window.strides)
    if t._meta is not None and t._meta.multi is not None or made.untracked:
        made.multi = t._meta.multi if t._meta is not None else None
        name_view(made, node_of(t), window.name)
    view = _new(Tensor)
    view._storage = t._storage
    view._meta = made
    type = node_of(t).type.with_shape(window.shape)
    view._node = _SHAPES.get(type) or _SHAPES.setdefault(type, leaf(alias, None, type))
    view._seen = t._storage.node
    made.begun = node_of(t).grad != 0
    return view


def _put(self: Tensor, window: Window, value: Any) -> None:
    """The writes with index tensors and masks."""
    target = self
    if not window.is_all(self):
        step = (window.step(self),)
        target = make_view(self, step, window.offset, window.strides, window.name)
    fill = not isinstance(value, Tensor) or not value.dim()
    check_writable(target, allow_overlap=fill)
    shared = fill and any(n > 1 and k == 0 for n, k in zip(window.shape, window.strides))
    node = None if shared else masked_put(target, window.advanced, value)
    if node is None:
        axes, indices = index_nodes(window.shape, window.advanced)
        check_sources(target, value, [item for _, item in window.advanced])
        if shared:
            node = _fill_shared(target, axes, indices, value)
        else:
            node = put_at(node_of(target), axes, indices, value, False)
    write(target, node)


def _fill_shared(target: Tensor, axes: tuple, indices: tuple, value: Any) -> Node:
    """`put_at` of a number into an expanded tensor, whose elements share memory: what is written
    through one of them is written for all."""
    base = node_of(target)
    shape, strides = base.type.shape, geometry(target)[2]
    untouched = full(shape, False, dtypes.bool_, base.type.device)
    hit = index_put_op(
        untouched, full((), True, dtypes.bool_, base.type.device), *indices, arg=(axes, False)
    )
    shared = tuple(i for i, (n, k) in enumerate(zip(shape, strides)) if n > 1 and k == 0)
    hit = expand(any_(hit, arg=(shared, True)), shape)
    filler = _operand(value, base)
    filler = cast(filler, base.type.dtype) if isinstance(value, Tensor) else filler
    return tagged(where_op(hit, filler, base), "IndexPut", base)


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
    filler = _operand(value, base)
    if isinstance(value, Tensor):
        if filler.type.numel == 1:
            filler = cast(reshape(filler, ()), dtype)
        else:
            kept = strip(filler.type.shape)
            if not stretches(kept, after) or filler.type.dtype is not dtype:
                return None
            check_sources(target, value, [item])
            filler = reshape(filler, kept)
    check_mask(mask, shape, axis)
    mask = index_on(mask, base.type.device)
    if mask.type.dtype is dtypes.uint8:
        if filler.__class__ is not Node or not filler.type.shape:
            raise RuntimeError(
                "masked_fill_ only supports boolean masks, but got mask with dtype unsigned char"
            )
        mask = cast(mask, dtypes.bool_)
    mask = reshape(mask, mask.type.shape + (1,) * len(after))
    return tagged(where_op(mask, filler, base), "IndexPut", base)


def _operand(value: Any, base: Node) -> Any:
    """What is written as an operand: a complex number is a tensor."""
    if isinstance(value, Tensor):
        return node_of(value)
    if value.__class__ is complex:
        return complex_number(value, base.type.dtype, base.type.device)
    return value


def stretches(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether `shape` broadcasts to `target`."""
    lead = len(target) - len(shape)
    return lead >= 0 and all(n == m or n == 1 for n, m in zip(shape, target[lead:]))


def put_at(base: Node, axes: tuple, indices: tuple, value: Any, accumulate: bool) -> Node:
    """`base` with `value` (a number or a tensor) at the indices; RuntimeError if it cannot be."""
    dtype = base.type.dtype
    if not isinstance(value, Tensor):
        node = full((), value, dtype, base.type.device)
    else:
        node = node_of(value)
        result = index_op.infer((base, *indices), (axes,)).shape  # type: ignore[misc]
        extents = node.type.shape
        kept = extents if len(extents) <= len(result) else strip(extents)
        if not stretches(kept, result):
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(strip(extents) or extents)} cannot "
                f"be broadcast to indexing result of shape {list(result)}"
            )
        if node.type.dtype is not dtype:
            raise RuntimeError(
                "Index put requires the source and destination dtypes match, got "
                f"{scalar_name(dtype)} for the destination and {scalar_name(node.type.dtype)} for "
                "the source."
            )
        node = reshape(node, kept)
    return index_put_op(base, node, *indices, arg=(axes, accumulate))


def check_sources(target: Tensor, value: Any, indices: list) -> None:
    """RuntimeError where the value or an index of a write lies in the memory that is written."""
    for source in (value, *indices):
        if isinstance(source, Tensor):
            if source is value and source is target and shape_of(source)[:1] == (1,):
                source = source.detach()  # PyTorch compares a view without the leading extents of 1
            check_overlap(target, source, apart=True)


attach(__setitem__=setitem)
