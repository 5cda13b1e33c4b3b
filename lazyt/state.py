"""Storage, views, writes and exported memory: the state behind a tensor. See docs/state.md.

A tensor is a handle on a `Storage`, which holds the node of its current value. Writing through any
handle puts a new node there; every handle re-derives its own node at its next read (`node_of`). The
graph stays pure, and the memory planner turns an update into a write where nobody reads the old value.

    x = zeros(2, 3); v = x[0]         # one storage; v is a handle with the recipe "slice, reshape"
    v.add_(1)                         # storage.node = strided_update(old, add(v, 1)); version 1
    x + 1                             # x reads the new node
"""

from __future__ import annotations

import weakref
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from lazyt.ir.autodiff import Tag
from lazyt.ir.node import LIVE, LOCAL, Node, Overwritten, emit, leaf
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import (
    alias,
    copy,
    replaced,
    stop,
    strided,
    strided_update_,
)
from lazyt.ir.opdef import Op
from lazyt.runtime import drain as runtime

if TYPE_CHECKING:
    from .tensor import Tensor

data = Op("data", "None", kind="constant", infer=None)

SNAPSHOT_BYTES = 64 << 10

LEAF_WRITE = "a leaf Variable that requires grad is being used in an in-place operation."
VIEW_OF_LEAF_WRITE = (
    "a view of a leaf Variable that requires grad is being used in an in-place operation."
)
SELF_OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory "
    "location. Please clone() the tensor before performing the operation."
)
PARTIAL_OVERLAP = (
    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
    "single memory location. Please clone() the tensor before performing the operation."
)
NO_GRAD_VIEW_WRITE = (
    "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given "
    "that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by "
    "moving both the view and the inplace either both inside the no_grad block (if you don't want the "
    "inplace to be tracked) or both outside (if you want the inplace to be tracked)."
)
INFERENCE_WRITE = (
    "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get "
    "a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more "
    "details."
)
OUTPUT_VIEW = "Output {} of {} is a view and is being modified inplace. "
UNTRACKED_VIEW = (
    "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
)
MULTI_VIEW_WRITE = (
    "This view is the output of a "
    "function that returns multiple views. Such functions do not allow the output views to be modified "
    "inplace. You should replace the inplace operation by an out-of-place one."
)


class Storage:
    """The memory that handles share: its current node, a version, and who outside may see it."""

    __slots__ = ("node", "version", "export", "address", "__weakref__")

    node: Node
    version: int
    export: Export | None

    def __init__(self, node: Node):
        self.node = node
        self.version = 0
        self.export = None
        self.address = None


class Meta:
    """What only some handles have.

    base, recipe: a view's root handle and the steps (op, arg, numbers) that lead from its value; without
        a base the recipe starts at the storage (detached views, in-place transposes).
    origin: the steps from the storage to the base as it was when the view was made.
    offset, shape, strides: where the view lies in the storage, in elements; strides None for all of it.
    leaf: requires_grad was asked of this handle. stopped: an alias that carries no history (detach);
    silent: its writes are not counted as versions (`.data`).
    untracked: a view made under no_grad; multi: its number among the views of one call, and the call.
    """

    __slots__ = (
        "base",
        "origin",
        "recipe",
        "offset",
        "shape",
        "strides",
        "leaf",
        "stopped",
        "silent",
        "untracked",
        "multi",
        "grad",
        "hooks",
        "after_accumulate",
        "retains",
        "inference",
    )

    def __init__(self) -> None:
        self.base: Tensor | None = None
        self.origin: tuple = ()
        self.recipe: tuple = ()
        self.offset = 0
        self.shape: tuple[int, ...] = ()
        self.strides: tuple[int, ...] | None = None
        self.leaf = False
        self.stopped = False
        self.silent = False
        self.untracked = False
        self.multi: tuple[int, str] | None = None
        self.grad: Tensor | None = None
        self.hooks: dict | None = None
        self.after_accumulate: dict | None = None
        self.retains = False
        self.inference = False

    def child(self) -> Meta:
        """The meta of an alias: same place, none of the autograd record."""
        other = Meta()
        other.base, other.origin, other.recipe = self.base, self.origin, self.recipe
        other.offset, other.shape, other.strides = self.offset, self.shape, self.strides
        return other


class Leaf(Tag):
    """The record of a leaf's node: which tensor collects the gradient, and at which version it was read."""

    __slots__ = ("version", "storage")

    def __init__(self, tensor: Tensor):
        super().__init__("AccumulateGrad")
        self.leaf = weakref.ref(tensor)
        self.storage = tensor._storage
        self.version = tensor._storage.version

    def now(self, node: Node) -> Node:
        tensor = self.leaf()
        if tensor is None:
            return node
        storage = tensor._storage
        if storage is self.storage and storage.version != self.version:
            from lazyt.ir.autodiff import _overwritten_text

            mark = Written(storage, self.version)
            raise RuntimeError(_overwritten_text(node, mark))
        now = node_of(tensor)
        return node if now.value is node.value and now.value is not None else now


class Written(Overwritten):
    """A tracked write: which storage, the version that was overwritten, and by which node."""

    __slots__ = ("storage", "version")

    def __init__(self, storage: Storage, version: int, by: Node | None = None):
        self.storage = storage
        self.version = version
        self.by = id(by)

    def versions(self) -> tuple[int, int]:
        return self.version, self.storage.version


# --- reading --------------------------------------------------------------------------------------


def node_of(t: Tensor) -> Node:
    """The node of a tensor's current value; TypeError for anything that is no tensor."""
    try:
        return t._node if t._seen is t._storage.node else sync(t)
    except AttributeError:
        if not hasattr(t, "_storage"):
            raise TypeError(
                f"expected Tensor as an argument, but got {type(t).__name__}"
            ) from None
        raise


def sync(t: Tensor) -> Node:
    """Derives a handle's node anew after a write, for a leaf, a view or exported memory."""
    storage = t._storage
    meta = t._meta
    exported = storage.export is not None and is_exported(storage)
    current = storage.node
    if t._seen is current and not exported:
        return t._node
    local = LOCAL
    before = local.grad
    local.grad = True
    try:
        if exported:
            node = _snapshot(t)
        elif meta is None:
            node = current
        else:
            if meta.base is not None and _in_place(meta, storage):
                node = _view_node(t, meta)
            else:
                node = replay(current, meta.origin + meta.recipe)
                if node.grad and meta.stopped:
                    node = stop(node)
        if meta is not None and (meta.leaf or _reads_as_leaf(t, meta, node, before)):
            node = leaf_alias(t, node)
    finally:
        local.grad = before
    if not exported:
        t._node = node
        t._seen = current
        if meta is not None and meta.untracked and root_of(t).requires_grad:
            t._seen = None  # how it reads depends on the grad mode of the moment
    return node


def _view_node(t: Tensor, meta: Meta) -> Node:
    """A view's node, derived anew from its base's."""
    base = node_of(meta.base)  # type: ignore[arg-type]
    LOCAL.grad = not meta.untracked
    node = replay(base, meta.recipe) if meta.recipe else alias(base)
    LOCAL.grad = True
    if node.grad:
        if node.tag is None:
            # PyTorch derives a view anew by as_strided, whatever made it.
            node.tag = Tag("AsStridedBackward0", (base,), saves=False)
    elif t._node is not None and t._node.grad and not meta.untracked and not meta.leaf:
        return replaced(t._node, node)  # its base was frozen since: what was traced stays
    return node


def _reads_as_leaf(t: Tensor, meta: Meta, node: Node, grad_mode: bool) -> bool:
    """PyTorch takes a view made under no_grad of something that requires a gradient for a leaf."""
    return meta.untracked and grad_mode and not node.grad and root_of(t).requires_grad


def _in_place(meta: Meta, storage: Storage) -> bool:
    """Whether a view's base still shows what it showed when the view was made."""
    base = meta.base
    return base is not None and base._storage is storage and full_recipe(base) == meta.origin


def full_recipe(t: Tensor) -> tuple:
    """The steps from the storage's value to this handle's."""
    meta = t._meta
    return () if meta is None else meta.origin + meta.recipe


def view_meta(
    t: Tensor, steps: tuple, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Meta:
    """The meta of a view of `t` that `steps` lead to."""
    meta = t._meta
    made = Meta()
    if meta is None:
        made.base, made.recipe = t, steps
    else:
        if meta.base is None or meta.leaf:
            made.base, made.origin, made.recipe = t, full_recipe(t), steps
        else:
            made.base, made.origin, made.recipe = meta.base, meta.origin, meta.recipe + steps
            made.untracked = meta.untracked
        made.stopped, made.silent = meta.stopped and not meta.leaf, meta.silent
    made.offset, made.shape, made.strides = offset, shape, strides
    if not LOCAL.grad and not LOCAL.inference:
        made.untracked = True
    return made


def root_of(t: Tensor) -> Tensor:
    """The tensor that a chain of views started from."""
    while t._meta is not None and t._meta.base is not None:
        t = t._meta.base
    return t


def replay(node: Node, recipe: tuple) -> Node:
    for op, arg, numbers in recipe:
        node = op(node, *numbers, arg=arg)
    return node


def leaf_alias(t: Tensor, node: Node) -> Node:
    """The node that gradients of the leaf `t` end at."""
    if node.value is None:
        made = emit(alias, (node,), (), node.type)
    else:
        made = leaf(alias, node.value, node.type)
    made.grad = LIVE
    made.tag = Leaf(t)
    meta = t._meta
    if meta.hooks is None:
        meta.hooks = {}  # shared with the tag: hooks registered later are seen by what is traced now
    made.tag.hooks = meta.hooks
    return made


def memory_of(storage: Storage) -> np.ndarray:
    """The array whose address `data_ptr` reports: the same one for as long as nobody else holds it."""
    if storage.export is not None:
        return storage.export.array
    value = runtime.value_of(storage.node)
    kept = storage.address
    if kept is not None and kept is not value and kept.shape == value.shape:
        # The storage's slot, `kept` and getrefcount's argument: the old memory is ours alone.
        if getrefcount(kept) == 3:
            np.copyto(kept, value)
            storage.node.value = value = kept
    if value.base is not None or not value.flags.c_contiguous:
        storage.node.value = value = np.array(value, order="C", copy=True)
    storage.address = value
    return value


def array_of(t: Tensor) -> np.ndarray:
    """The current value of a tensor, for reading only; drains what it needs."""
    storage = t._storage
    if storage.export is not None and is_exported(storage):
        return _memory(t)
    return runtime.value_of(node_of(t))


# --- writing --------------------------------------------------------------------------------------


def check_writable(t: Tensor, allow_overlap: bool = False) -> None:
    """Raises PyTorch's error where `t` must not be written in place now."""
    meta = t._meta
    if meta is None:
        return
    if meta.inference and not LOCAL.inference:
        raise RuntimeError(INFERENCE_WRITE)
    if meta.strides is not None and not allow_overlap and 0 in meta.strides:
        # PyTorch refuses repeated elements, not windows that overlap otherwise (unfold).
        if any(k == 0 and n > 1 for n, k in zip(shape_of(t), meta.strides)):
            raise RuntimeError(SELF_OVERLAP)
    if not LOCAL.grad:
        return
    if meta.leaf:
        raise RuntimeError(LEAF_WRITE)
    base = meta.base
    if base is None:
        return
    if base._meta is not None and base._meta.leaf:
        if meta.untracked:
            raise RuntimeError(NO_GRAD_VIEW_WRITE)
        raise RuntimeError(VIEW_OF_LEAF_WRITE)
    if node_of(base).grad:
        check_view(meta)


def check_view(meta: Meta) -> None:
    """Raises for a view that must not take part in a tracked write."""
    if meta.base is None:
        return
    if meta.multi is not None:
        tracked = node_of(meta.base).grad and not meta.untracked
        start = OUTPUT_VIEW.format(*meta.multi) if tracked else UNTRACKED_VIEW
        raise RuntimeError(start + MULTI_VIEW_WRITE)
    if meta.untracked:
        raise RuntimeError(NO_GRAD_VIEW_WRITE)


def shape_of(t: Tensor) -> tuple[int, ...]:
    node = t._node
    if node is not None:
        return node.type.shape
    meta = t._meta
    if meta is not None and meta.strides is not None:
        return meta.shape
    return t._storage.node.type.shape


def write(t: Tensor, value: Node) -> None:
    """Puts `value` (of t's shape and dtype) in the place of t's elements.

    The caller has called `check_writable` before it computed anything.
    """
    storage = t._storage
    old = storage.node
    meta = t._meta
    local = LOCAL
    before = local.grad
    result = value
    if before and value.grad and meta is not None:
        check_view(meta)
    root = t if meta is None or meta.base is None else meta.base
    if root._storage is not storage:
        root = t  # the base went to other memory; its old views stay
    record = root._meta
    aliasing = record is not None and record.stopped
    whole = record is None or record.strides is None
    if value.type.dtype is not old.type.dtype:
        value = cast(value, old.type.dtype)
    if meta is None or meta.strides is None:
        new = value
        if value.op.view or value.value is not None:
            new = copy(value)
            if value.grad and value.tag is not None:
                new.tag = Tag(value.tag.name, value.tag.inputs, saves=False)
    else:
        shape, strides = shape_of(t), meta.strides
        if 0 in strides:
            # Only fills get here: every repetition of an element receives the same number.
            shape = tuple(1 if k == 0 else n for n, k in zip(shape, strides))
            value = _first(value, strides)
        onto = node_of(root) if aliasing and whole else old
        new = strided_update_(onto, value, meta.offset, arg=(shape, strides))
    stored = new
    if aliasing or not before:
        # The storage keeps its own history; an alias that was given one keeps it for itself.
        local.grad = True
        if new.grad:
            stored = stop(new)
        if old.grad:
            stored = replaced(old, stored)
        local.grad = before
    if record is not None and record.silent:
        old.after = stored
    else:
        old.after = Written(storage, storage.version, result)
        storage.version += 1
    storage.node = stored
    if storage.export is not None:
        storage.export.replaces = None
    t._node = t._seen = None  # type: ignore[assignment]
    if meta is None:
        t._node = t._seen = stored
    elif aliasing and t is root and value.grad:
        t._node, t._seen = value, stored
    elif aliasing and whole and new.grad:
        root._node, root._seen = new, stored
    if storage.export is not None and is_exported(storage):
        _land(t, storage, stored)


def _first(value: Node, strides: tuple[int, ...]) -> Node:
    from lazyt.ir.ops_shape import narrow

    for axis, k in enumerate(strides):
        if k == 0:
            value = narrow(value, axis, 0, 1)
    return value


# --- exported memory ------------------------------------------------------------------------------


class Lease:
    """Stands between an array we give away (or took in) and its memory.

    NumPy keeps it as the base of every array made through it, so it lives exactly as long as somebody
    can see the memory.
    """

    __slots__ = ("array", "__weakref__")

    def __init__(self, array: np.ndarray):
        self.array = array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__


class Export:
    """Who outside sees a storage's memory: leases given out, or the owner it came from.

    array: the memory itself, as the storage's value. strides: its strides in elements where it is not
    row-major. replaces: the storage's node before the export, until the first write after it.
    """

    __slots__ = ("array", "leases", "foreign", "strides", "replaces")

    def __init__(self, array: np.ndarray, foreign: Lease | None = None):
        self.array = array
        self.leases: list[weakref.ref] = []
        self.foreign = foreign
        self.replaces: Node | None = None
        self.strides: tuple[int, ...] | None = None
        if array.size and not array.flags.c_contiguous:
            self.strides = tuple(s // array.itemsize for s in array.strides)

    def alive(self) -> bool:
        self.leases = [ref for ref in self.leases if ref() is not None]
        return bool(self.leases) or (self.foreign is not None and _held_outside(self.foreign))


def _held_outside(lease: Lease) -> bool:
    """Whether anybody but `lease` can reach the memory of its array, by the chain of bases."""
    array: Any = lease.array
    # The lease's attribute, `array` and getrefcount's argument.
    if getrefcount(array) > 3:
        return True
    while True:
        below = array.base
        if below is None:
            return False
        if below.__class__ is not np.ndarray:
            return True
        # The attribute `base`, `below` and getrefcount's argument.
        if getrefcount(below) > 3:
            return True
        array = below
        del below


def is_exported(storage: Storage) -> bool:
    exported = storage.export
    if exported is None:
        return False
    if exported.strides is None and not exported.alive():
        storage.export = None
        if exported.replaces is not None and exported.replaces.value is exported.array:
            storage.node = exported.replaces  # nothing was written: handles need not derive anew
        return False
    return True  # memory that is not row-major stays foreign: reads and writes go through its strides


def adopt(array: np.ndarray, type) -> Storage:
    """A storage over somebody's array, without a copy."""
    lease = Lease(array)
    value = np.asarray(lease)
    storage = Storage(leaf(data, value, type))
    storage.export = Export(value, lease)
    return storage


def export(t: Tensor) -> np.ndarray:
    """An array over the tensor's own memory; writes are seen both ways."""
    storage = t._storage
    if storage.export is None or not is_exported(storage):
        node = storage.node
        value = runtime.value_of(node)
        if value.base is not None or not value.flags.writeable or not value.flags.c_contiguous:
            value = np.array(value, order="C", copy=True)
        fresh = leaf(data, value, node.type)
        storage.node = _with_history(node, fresh)
        storage.export = Export(value)
        storage.export.replaces = node
    lease = Lease(storage.export.array)  # type: ignore[union-attr]
    storage.export.leases.append(weakref.ref(lease))  # type: ignore[union-attr]
    whole = np.asarray(lease)
    del lease
    return _window(t, whole)


def _with_history(old: Node, fresh: Node) -> Node:
    """`fresh`, with the history of `old` where it has one."""
    if not old.grad:
        return fresh
    node = leaf(replaced, fresh.value, fresh.type)
    node.src = (old, fresh)
    node.grad = LIVE
    return node


def _window(t: Tensor, whole: np.ndarray) -> np.ndarray:
    meta = t._meta
    if meta is None or meta.strides is None:
        return whole
    if t._storage.export.strides is not None:  # type: ignore[union-attr]
        return _replayed(t, whole)
    flat = whole if whole.flags.c_contiguous else np.ascontiguousarray(whole)
    return strided(flat, meta.offset, shape_of(t), meta.strides)


def _replayed(t: Tensor, whole: np.ndarray) -> np.ndarray:
    """The view's window on memory that is not row-major: the recipe applied to the array."""
    meta = t._meta
    if meta is None:
        return whole
    start = whole
    for op, arg, numbers in full_recipe(t):
        type = op.infer((_typed(start, t), *numbers), arg)
        start = op.function(type, arg, start, *numbers)
    return start


def _typed(array: np.ndarray, t: Tensor) -> Node:
    return leaf(data, array, t._storage.node.type.with_shape(array.shape))


def _memory(t: Tensor) -> np.ndarray:
    """The handle's window on exported memory as it is now."""
    return _window(t, t._storage.export.array)  # type: ignore[union-attr]


def _snapshot(t: Tensor) -> Node:
    """A node with what exported memory holds now, and the history that the storage has."""
    storage = t._storage
    window = _memory(t)
    type = storage.node.type.with_shape(window.shape)
    if window.nbytes <= SNAPSHOT_BYTES:
        fresh = leaf(data, np.array(window, order="C", copy=True), type)
    else:
        fresh = leaf(data, window, type)
        LOCAL.urgent = True
        LOCAL.limit = 0
    meta = t._meta
    before = storage.export.replaces  # type: ignore[union-attr]
    if before is not None and t._seen is before and t._node is not None:
        # Nothing was written since this handle last derived its node: the history is that node's.
        leaf_now = meta is not None and meta.leaf
        return replaced(t._node, fresh) if t._node.grad and not leaf_now else fresh
    if meta is not None:
        if meta.stopped or meta.untracked:
            return fresh
        if meta.base is not None:
            base = node_of(meta.base)
            return replaced(replay(base, meta.recipe), fresh) if base.grad else fresh
    if not storage.node.grad:
        return fresh
    recipe = meta.recipe if meta is not None else ()
    return replaced(replay(storage.node, recipe), fresh)


def _land(t: Tensor, storage: Storage, new: Node) -> None:
    """Writes the new value into exported memory, at once."""
    array = storage.export.array  # type: ignore[union-attr]
    value = runtime.value_of(new)
    if value is not array:
        np.copyto(array, value)
        new.value = array
    t._node = t._seen = None  # type: ignore[assignment]


def check_overlap(target: Tensor, source: Tensor) -> None:
    """PyTorch's refusal of an in-place operation between partly overlapping windows of one storage."""
    if target is source or target._storage is not source._storage:
        return
    a, b = geometry(target), geometry(source)
    if a == b:
        return
    first, second = span(*a), span(*b)
    if first is None or second is None:
        return
    if first[0] > second[1] or second[0] > first[1]:
        return
    if _dense(*a) and _dense(*b):
        raise RuntimeError(PARTIAL_OVERLAP)


def geometry(t: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Offset, shape and strides of a handle in its storage."""
    meta = t._meta
    if meta is None or meta.strides is None:
        type = t._storage.node.type
        return 0, type.shape, type.strides
    return meta.offset, meta.shape, meta.strides


def span(offset: int, shape: tuple, strides: tuple) -> tuple[int, int] | None:
    if 0 in shape:
        return None
    return offset, offset + sum((n - 1) * k for n, k in zip(shape, strides))


def _dense(offset: int, shape: tuple, strides: tuple) -> bool:
    """Whether the window fills its span without gaps (PyTorch checks only such)."""
    expected = 1
    for k, n in sorted((k, n) for n, k in zip(shape, strides) if n != 1):
        if k != expected:
            return False
        expected *= n
    return True
