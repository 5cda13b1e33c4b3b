"""Writing through handles, and the door to what a tensor is made of (docs/state.md).

A tensor is a handle on a `Storage` (storage.py), which holds the node of its current value. Writing
through any handle puts a new node there; every handle derives its own node anew at its next read
(`node_of`, handles.py). The graph stays pure, and the memory planner turns an update into a write
where nobody reads the old value.

    x = zeros(2, 3); v = x[0]
    v.add_(1)                         # storage.node = strided_update(old, add(v, 1)); version 1
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from lazyt.ir.autodiff import source_of
from lazyt.ir.node import LOCAL, Node, emit, leaf
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_elementwise import cast, cast_
from lazyt.ir.ops_shape import (
    as_strided_,
    copy,
    narrow,
    permute,
    replaced,
    reshape,
    stop,
    strided_update_,
)
from lazyt.ir.tags import Tag
from lazyt.ir.types import TensorType, contiguous_strides
from lazyt.runtime import drain as runtime

from .exports import address_of as address_of
from .exports import adopt as adopt
from .exports import adopt_lent as adopt_lent
from .exports import data as data
from .exports import device_export as device_export
from .exports import export as export
from .exports import is_exported, land, land_at, with_history
from .exports import memory_of as memory_of
from .handles import Reading, Shown, Written, family, has_history, replay, shows_all, view_text
from .handles import array_of as array_of
from .handles import is_alias as is_alias
from .handles import node_of as node_of
from .handles import of_an_example as of_an_example
from .handles import own_history as own_history
from .handles import sync as sync
from .handles import values_of as values_of
from .storage import Meta as Meta
from .storage import Storage as Storage
from .storage import Versions as Versions
from .storage import counter_of as counter_of
from .storage import full_recipe as full_recipe
from .storage import geometry as geometry
from .storage import is_row_major as is_row_major
from .storage import root_of as root_of
from .storage import shape_of as shape_of
from .storage import span as span
from .storage import view_meta as view_meta

if TYPE_CHECKING:
    from .tensor import Tensor

LEAF_WRITE = "a leaf Variable that requires grad is being used in an in-place operation."
VIEW_OF_LEAF_WRITE = (
    "a view of a leaf Variable that requires grad is being used in an in-place operation."
)
SELF_OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a single "
    "memory location. Please clone() the tensor before performing the operation."
)
PARTIAL_OVERLAP = (
    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
    "single memory location. Please clone() the tensor before performing the operation."
)
INFERENCE_WRITE = (
    "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone "
    "to get a normal tensor before doing inplace update.See "
    "https://github.com/pytorch/rfcs/pull/17 for more details."
)
COMPOSED = 32  # no in-place operation is composed of more primitives


# --- may it be written? ---------------------------------------------------------------------------


COPIED_WRITE = (
    "writing to the parts or the conjugate of a complex tensor is missing: they are copies here, "
    "and clone() gives one to write to"
)


def check_writable(t: Tensor, allow_overlap: bool = False) -> None:
    """Raises PyTorch's error where `t` must not be written in place now."""
    meta = t._meta
    if meta is None:
        return
    if not LOCAL.inference and (meta.inference or meta.base is not None and t.is_inference()):
        raise RuntimeError(INFERENCE_WRITE)
    if meta.copied:
        raise NotImplementedError(COPIED_WRITE)
    if LOCAL.grad:
        _check_history(t, meta)
    if not allow_overlap:
        check_own_overlap(t)


def check_own_overlap(t: Tensor) -> None:
    """RuntimeError where `t` shows elements several times."""
    meta = t._meta
    if meta is not None and meta.strides is not None and 0 in meta.strides:
        # PyTorch refuses repeated elements, not windows that overlap otherwise (unfold).
        shape = shape_of(t)
        if 0 not in shape and any(k == 0 and n > 1 for n, k in zip(shape, meta.strides)):
            raise RuntimeError(SELF_OVERLAP)


def _check_history(t: Tensor, meta: Meta) -> None:
    """Raises where the history of a tensor or of its base must not change."""
    base = meta.base
    if base is not None and (base.requires_grad or has_history(t)):
        check_view(t, meta)
        if base.is_leaf:
            raise RuntimeError(VIEW_OF_LEAF_WRITE)
        if not has_history(t):
            # PyTorch does not look for the history that it would have by now.
            raise RuntimeError(LEAF_WRITE)
    if meta.leaf:
        if base is not None:
            check_view(t, meta)
        raise RuntimeError(LEAF_WRITE if base is None or not base.is_leaf else VIEW_OF_LEAF_WRITE)


def check_view(t: Tensor, meta: Meta) -> None:
    """Raises for a view that must not take part in a tracked write."""
    if meta.base is not None and (meta.untracked or meta.multi is not None):
        raise RuntimeError(view_text(t, meta, "is being"))


# --- writing --------------------------------------------------------------------------------------


def write(t: Tensor, value: Node) -> None:
    """Puts `value` (of t's shape and dtype) in the place of t's elements.

    The caller has called `check_writable` before it computed anything.
    """
    storage = t._storage
    old = storage.node
    meta = t._meta
    tracked = LOCAL.grad
    for level in LOCAL.levels:
        level.check_write(old, value)
    if tracked and value.grad and meta is not None:
        check_view(t, meta)
    operation = value
    if value.type.dtype is not old.type.dtype:
        value = cast(value, old.type.dtype)
    if storage.export is None and (meta is None or _is_plain(meta, tracked)):
        _write_all(t, value, operation)
        return
    with runtime.LOCK:  # another thread may be writing to another part of the memory
        _write_part(t, value, operation)


def store(t: Tensor, array: np.ndarray) -> None:
    """Puts values that are there in the place of t's elements: nothing computes them.

    array: in t's shape and dtype, on the host as t is, and nobody else's from here on.
    """
    storage, old = t._storage, t._storage.node
    value = leaf(data, array, old.type)
    if t._meta is not None or storage.export is not None or old.grad:
        write(t, value)
        return
    storage.node = t._node = t._seen = value
    _count(t, old, value, value)


def write_uncounted(t: Tensor, value: Node) -> None:
    """`write` of values without history by one of PyTorch's kernels that count no version: a
    backward that saved the old value reads the new one."""
    storage, old = t._storage, t._storage.node
    if t._meta is not None or storage.export is not None or old.grad or value.type is not old.type:
        write(t.data, value)
        return
    for level in LOCAL.levels:
        level.check_write(old, value)
    storage.node = t._node = t._seen = old.after = _owned(value)


def _write_part(t: Tensor, value: Node, operation: Node) -> None:
    """A write through a view or an alias, or into memory that others see."""
    storage, tracked = t._storage, LOCAL.grad
    old = storage.node
    root = family(t)
    retained = None
    if tracked and root._meta is not None and root._meta.retains:
        retained = source_of(node_of(root)).tag
    landed = _lands(t, root, value)
    if landed:
        storage.node = land_at(t, value)
        _forget(t, False)
    elif is_alias(root):
        _write_alias(t, value)
    else:
        _write_own(t, root, value, operation)
    _count(t, old, storage.node, operation)
    _mark_shown(t, root, operation)
    if storage.export is not None:
        storage.export.replaces = None
        if is_exported(storage) and not landed:
            land(storage, storage.node)
            t._seen = None
    if retained is not None:
        _move_retained(retained, source_of(node_of(root)))


def _is_plain(meta: Meta, tracked: bool) -> bool:
    """Whether a handle is the root of its storage, or a leaf alias (a parameter) whose write leaves
    no history behind, and shows all of it."""
    if meta.retains or meta.stopped and (tracked or not meta.leaf):
        return False
    return shows_all(meta)


def _write_all(t: Tensor, value: Node, operation: Node) -> None:
    """A write through such a handle: what is left of `write` then."""
    storage, meta, tracked = t._storage, t._meta, LOCAL.grad
    old = storage.node
    stored = _owned(value)
    if not tracked and (old.grad or stored.grad):
        stored = _keeping_history(old, stored)
    storage.node = stored
    if meta is None:
        t._node = t._seen = stored
    else:
        _forget(t, tracked and stored.grad != 0)
    _count(t, old, stored, operation)


def _write_own(t: Tensor, root: Tensor, value: Node, operation: Node) -> None:
    """A write through a storage's own family; `operation` made the value, in its own dtype."""
    storage, meta, tracked = t._storage, t._meta, LOCAL.grad
    old = storage.node
    order = None
    if t is root and meta is not None and (value.grad or not old.grad):
        order = _order_of_all(meta, old)
    if order is None:
        stored = _updated(t, _through(root, old), value)
    else:
        stored = copy(reshape(permute(value, order), old.type.shape))
    if not tracked:
        stored = _keeping_history(old, stored)
    storage.node = stored
    if meta is None:
        t._node = t._seen = stored
        return
    _forget(t, tracked and stored.grad != 0)
    if order is not None and tracked and stored.grad:
        t._node = replay(stored, full_recipe(t))
        t._node.tag, t._seen = named_as(operation), stored


def _mark_shown(t: Tensor, root: Tensor, operation: Node) -> None:
    """Lets a backward read what now lies in the storage: an alias, and what an operation that wrote
    into a part of it saved of its result."""
    storage, meta = t._storage, t._meta
    if root._node is not None and root._node.after is None and is_alias(root):
        root._node.after = Shown(storage, full_recipe(root), counter_of(t))
    if LOCAL.grad and operation.grad and meta is not None and meta.strides is not None:
        operation.after = operation.after or Shown(storage, full_recipe(t), counter_of(t))


def _through(root: Tensor, old: Node) -> Node:
    """A storage's value, with a history that leads through its root's own node where that differs
    (a result laid out otherwise) and has hooks."""
    own, place = root._node, root._meta
    if place is None or place.base is not None or place.strides is None:
        return old
    if own is None or own.tag is None or not own.tag.hooks or not LOCAL.grad:
        return old
    return strided_update_(stop(old), own, place.offset, arg=(place.shape, place.strides))


def _lands(t: Tensor, root: Tensor, value: Node) -> bool:
    """Whether a write goes into memory that others see and leaves no history behind."""
    storage = t._storage
    if storage.export is None or not is_exported(storage) or storage.node.grad:
        return False
    return not (LOCAL.grad and value.grad) and not (is_alias(root) and own_history(root))


def _updated(t: Tensor, onto: Node, value: Node) -> Node:
    """A value of the whole storage: `onto`, with `value` at t's place."""
    meta = t._meta
    if meta is None or meta.strides is None:
        return _owned(value)
    shape, strides = shape_of(t), meta.strides
    if 0 in strides:
        # Only fills get here: every repetition of an element receives the same number.
        shape = tuple(min(n, 1) if k == 0 else n for n, k in zip(shape, strides))
        for axis, n in enumerate(shape):
            value = narrow(value, axis, 0, n)
    new = strided_update_(onto, value, meta.offset, arg=(shape, strides))
    if new.grad:
        new.tag = Tag("CopySlices", (onto, value), saves="once")
    return new


def shows_part(t: Tensor) -> bool:
    """Whether the history that a write through `t` changes is that of more than `t` shows."""
    meta = t._meta
    if meta is None or meta.strides is None:
        return False
    if meta.base is None and meta.stopped:
        return False
    return _order_of_all(meta, t._storage.node) is None


def _order_of_all(meta: Meta, stored: Node) -> tuple[int, ...] | None:
    """The dimensions of a root in memory order where it shows every element of its storage once,
    laid out or reshaped in place; else None."""
    shape, strides = meta.shape, meta.strides
    if meta.base is not None or strides is None or prod(shape) != stored.type.numel:
        return None
    order = tuple(sorted(range(len(shape)), key=lambda i: (shape[i] != 1, -strides[i])))
    dense = is_row_major(tuple(shape[i] for i in order), tuple(strides[i] for i in order))
    return order if dense else None


def named_as(node: Node) -> Tag:
    """A tag that stands for a node: its `grad_fn`'s name and operands."""
    tag = node.tag
    inputs = tag.inputs if tag is not None and tag.inputs else node.src
    name = tag.name if tag is not None and tag.name is not None else node.op.grad_name
    return Tag(name, tuple(s for s in inputs if s.__class__ is Node and s.grad), saves=False)


def _owned(value: Node) -> Node:
    """`value` as a node with memory of its own."""
    if not value.op.view and value.value is None:
        return value
    new = copy(value)
    if value.grad and value.tag is not None:
        new.tag = Tag(value.tag.name, value.tag.inputs, saves=False)
    return new


def _forget(t: Tensor, begun: bool) -> None:
    """Lets a view or alias derive its node anew; begun: PyTorch derives its history at once."""
    meta = t._meta
    t._seen = None
    if meta is not None and meta.base is not None:
        meta.begun = begun or has_history(t)
    elif meta is not None and not begun and own_history(t) is not None:
        return  # a root whose history is not the storage's keeps it
    t._node = None


def _move_retained(before: Tag, now: Node) -> None:
    """`retain_grad` asks for the gradient of what the tensor is now."""
    if before.retain is not None and now.grad:
        if now.tag is None:
            now.tag = Tag()
        now.tag.retain, before.retain = before.retain, None


def _keeping_history(old: Node, new: Node) -> Node:
    """The value of `new` with the history of `old`, for a write that is not recorded there."""
    if new.grad:
        new = stop(new)
    if old.grad:
        mode, LOCAL.grad = LOCAL.grad, True
        new = replaced(source_of(old), new)
        LOCAL.grad = mode
    return new


def _write_alias(t: Tensor, value: Node) -> None:
    """A write through an alias or a view of one: the storage keeps its history, the alias has
    one."""
    storage, root = t._storage, family(t)
    old, place = storage.node, root._own_meta()
    history = own_history(root)
    if not LOCAL.grad or not (value.grad or history is not None):
        storage.node = _keeping_history(old, _updated(t, old, value))
        _forget(t, False)
        return
    if t is root:
        new = _updated(t, stop(old), value)
        own = _owned(value)
        if not value.grad:
            # A fill: the history stays in the graph and receives zeros.
            type = value.type
            own = strided_update_(node_of(root), value, 0, arg=(type.shape, type.strides))
    elif place.strides is None:
        new = own = _updated(t, node_of(root), value)
    else:
        # The root shows a window of the storage: its history is carried into the whole and back.
        whole = strided_update_(
            stop(old), node_of(root), place.offset, arg=(place.shape, place.strides)
        )
        new = _updated(t, whole, value)
        own = replay(new, full_recipe(root))
    storage.node = _keeping_history(old, new)
    _forget(t, own.grad != 0)
    root._node = own
    root._seen = storage.node if storage.export is None else None


def resize(t: Tensor, shape: tuple[int, ...]) -> None:
    """Lets `t` show its memory in another shape, row-major from where it begins.

    Memory that is too small is replaced by a larger one, of zeros behind what was there; other
    handles keep the old.
    """
    offset = geometry(t)[0]
    type = t._storage.node.type
    numel = prod(shape)
    if offset + numel > type.numel:
        grown = np.zeros(offset + numel, type.dtype.numpy)
        grown[: type.numel] = memory_of(t._storage).ravel()
        longer = leaf(data, grown, TensorType.of(grown.shape, type.dtype))
        t._storage = Storage(transfer(longer, type.device))
    strides = contiguous_strides(shape)
    meta = t._own_meta()
    meta.base, meta.origin, meta.multi, meta.untracked = None, (), None, False
    meta.recipe = ((as_strided_, (shape, strides), (offset,)),)
    meta.offset, meta.shape, meta.strides = offset, shape, strides
    t._node = t._seen = None


def touch(t: Tensor) -> None:
    """Counts a write that leaves the values as they are: a handle begins to show another view."""
    storage = t._storage
    old = storage.node
    if storage.export is None:
        storage.node = _keeping_history(old, copy(old))
    else:
        storage.export.replaces = None
        storage.node = with_history(old, leaf(data, old.value, old.type))
    _count(t, old, storage.node, storage.node)


def rewrite(t: Tensor) -> None:
    """Counts a write of what the last one has written already: the second half of `x[i] += y`."""
    storage = t._storage
    old = storage.node
    if old.value is not None or storage.export is not None or is_alias(family(t)):
        touch(t)
        return
    # The same operation once more: the first one, which nobody reads now, is not executed.
    # Its operands in a tuple of their own: a drain of another thread counts who holds them.
    storage.node = emit(old.op, (*old.src,), old.arg, old.type)
    storage.node.grad, storage.node.tag = old.grad, old.tag
    _count(t, old, storage.node, storage.node)


def _count(t: Tensor, old: Node, stored: Node, operation: Node) -> None:
    """Marks what was overwritten, for a backward that saved it, and raises the version."""
    storage, counter = t._storage, counter_of(t)
    made = _nodes_of(operation, old)
    written = Written(counter, counter.version, frozenset([id(n) for n in made]))
    # A `.data` write is not counted by the others: they read the new value.
    old.after = written if counter is storage else stored
    for n in made:
        read = _read_of(n, counter)
        if read is not None and not isinstance(read.after, Written):
            read.after = written  # the operation itself keeps what it overwrote
    counter.version += 1


def _read_of(operation: Node, counter: Storage | Versions) -> Node | None:
    """The node by which an operation read, as its first operand, memory that an alias shows or that
    others see, whose writes `counter` counts; None where it read a storage's own node."""
    read: Any = operation.src[0] if operation.src else None
    while read.__class__ is Node:
        if isinstance(read.tag, Reading):
            return read if read.tag.counter is counter else None
        if read.after.__class__ is Shown:
            return read if read.after.storage() is counter else None
        if not read.src or not (read.op.view or read.op is cast_):
            return None
        read = read.src[read.op is replaced]
    return None


def _nodes_of(operation: Node, old: Node) -> list[Node]:
    """The nodes that one in-place operation is composed of, from its result to what it changed."""
    made = [operation]
    while operation.grad and len(made) < COMPOSED:
        below: Any = made[-1].src[0] if made[-1].src else None
        if below.__class__ is not Node or below is old or not below.grad:
            break
        if (below.code, below.line) != (operation.code, operation.line):
            break
        made.append(below)
    return made


def check_overlap(target: Tensor, source: Tensor, apart: bool = False) -> None:
    """PyTorch's refusal of an in-place operation between partly overlapping windows of one storage.

    apart: the operation cannot even read the very elements it writes.
    """
    if target._storage is not source._storage or target is source and not apart:
        return
    if target is source:
        raise RuntimeError(PARTIAL_OVERLAP)
    a, b = geometry(target), geometry(source)
    if a == b and not apart:
        return
    first, second = span(*a), span(*b)
    if first is None or second is None:
        return
    if first[0] > second[1] or second[0] > first[1]:
        return
    if _dense(*a) and _dense(*b):
        node_of(source)  # a view that has lost its history says that first
        raise RuntimeError(PARTIAL_OVERLAP)


def _dense(offset: int, shape: tuple, strides: tuple) -> bool:
    """Whether the window fills its span without gaps (PyTorch checks only such)."""
    expected = 1
    for k, n in sorted((k, n) for n, k in zip(shape, strides) if n != 1):
        if k != expected:
            return False
        expected *= n
    return True
