"""Reading subscripts: `x[key]`, a view for basic keys, a copy with index tensors and masks.

A view is one node: a slice (`x[1:]`), a slice shown in another shape (`x[0, 1:]`) or a reshape
(`x[None]`). Subscripts are traced more often than anything else, so the commonest keys, an
integer or a slice, do not go through the general reading of keys.
"""

from __future__ import annotations

from typing import Any

from lazyt.ir.node import FLUSH, LOCAL, NUMBERS, Node, caller
from lazyt.ir.ops_index import index as index_op
from lazyt.ir.ops_shape import alias, part_, slice_
from lazyt.ir.types import TensorType, contiguous_strides

from ..dispatch import tagged, wrap
from ..handles import name_view
from ..layout import Place, iteration_order, laid_out
from ..state import geometry, is_row_major, node_of, root_of, sync, view_meta
from ..tensor import Tensor, attach
from .keys import INDEX_OF_SCALAR, Window, index_nodes, read_key, read_slice

_new = object.__new__


def getitem(self: Tensor, key: Any) -> Tensor:
    """x[key]: a view for integers, slices, None and Ellipsis; a copy with index tensors or masks.

    Errors: IndexError where the key does not fit, TypeError and ValueError for what is no key.
    """
    kind = key.__class__
    if kind is int:
        meta = self._meta
        if meta is None or meta.strides is None:
            current = self._seen is self._storage.node
            source: Node = self._node if current else sync(self)  # type: ignore[assignment]
            type = source.type
            row = _ROWS.get(type) or _row(type)
            start = key + row[0] if key < 0 else key
            if 0 <= start < row[0]:
                step = (part_, row[1], (start, *row[2]))
                return show(self, source, step, row[3], start * row[4], row[5], "Select")
    elif kind is slice:
        offset, shape, strides = geometry(self)
        if shape:
            start, size, every = read_slice(key, shape[0])
            rest = shape[1:]
            source = node_of(self)
            arg = ((size, *rest), (every, *(1,) * len(rest)))
            taken = (slice_, arg, (start, *(0,) * len(rest)))
            type = source.type.with_shape(arg[0])
            moved = (strides[0] * every, *strides[1:])
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
    picked = index_op(source, *indices, arg=(axes,))
    order = _picked_order(window, axes, indices, picked.type.shape)
    return wrap(picked) if order is None else laid_out(picked, order)


def _picked_order(
    window: Window, axes: tuple[int, ...], indices: tuple[Node, ...], shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """How the elements that indices pick from a window lie in memory (`iteration_order`).

    The window takes part with a stride of 0 along the indices' dimensions, and they with a stride
    of 0 along the window's: as in PyTorch's make_info and restride_src.
    """
    if is_row_major(window.shape, window.strides):
        return None
    kept = [k for i, k in enumerate(window.strides) if i not in axes]
    front = axes[0] if axes == tuple(range(axes[0], axes[0] + len(axes))) else 0
    lead = len(shape) - len(kept)
    places: list[Place] = [(shape, (*kept[:front], *(0,) * lead, *kept[front:]))]
    for n in indices:
        padding = lead - len(n.type.shape)
        own = (1,) * (front + padding) + n.type.shape + (1,) * (len(kept) - front)
        places.append((own, contiguous_strides(own)))
    return iteration_order(shape, places)


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
    t: Tensor,
    source: Node,
    step: tuple,
    type: TensorType,
    offset: int,
    strides: tuple,
    name: str,
    multi: tuple[int, str] | None = None,
) -> Tensor:
    """`make_view` for one step whose type is known, with the node made inline."""
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
        n.grad = next(NUMBERS)
        if op.grad_name != name + "Backward0":
            tagged(n, name, source, saves=False)
    trace = local.trace
    trace.append(n)
    if len(trace) > local.limit:
        FLUSH[0](n)
    made = view_meta(t, (step,), offset, n.type.shape, strides)
    if multi is not None or made.multi is not None or made.untracked:
        name_view(made, n, name, multi)
    view = _new(Tensor)
    view._storage = storage
    view._meta = made
    view._node = n
    view._seen = storage.node if storage.export is None else None
    if made.untracked and root_of(t).requires_grad:
        view._seen = None  # how it reads depends on the grad mode of the moment
    return view


def delitem(self: Tensor, key: Any) -> None:
    """Tensors have no deletion of elements: TypeError."""
    raise TypeError("Tensor does not support deleting items")


attach(__getitem__=getitem, __delitem__=delitem)
