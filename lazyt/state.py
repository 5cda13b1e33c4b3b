"""Reading and writing through handles: which node a tensor is, and what a write does. See docs/state.md.

A tensor is a handle on a `Storage`, which holds the node of its current value. Writing through any
handle puts a new node there; every handle re-derives its own node at its next read (`node_of`). The
graph stays pure, and the memory planner turns an update into a write where nobody reads the old value.

    x = zeros(2, 3); v = x[0]         # one storage; v is a handle with the recipe "slice, reshape"
    v.add_(1)                         # storage.node = strided_update(old, add(v, 1)); version 1
    x + 1                             # x reads the new node
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from lazyt.ir.autodiff import Tag, overwritten_text, source_of
from lazyt.ir.node import LIVE, LOCAL, Node, Overwritten, emit, leaf
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import alias, copy, narrow, replaced, stop, strided_update_
from lazyt.runtime import drain as runtime

from .exports import adopt as adopt
from .exports import data as data
from .exports import export as export
from .exports import is_exported, land, snapshot, window
from .exports import memory_of as memory_of
from .storage import Meta as Meta
from .storage import Storage as Storage
from .storage import Versions as Versions
from .storage import counter_of, full_recipe, geometry, root_of, shape_of, span
from .storage import view_meta as view_meta

if TYPE_CHECKING:
    import numpy as np

    from .tensor import Tensor

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
INFERENCE_WRITE = (
    "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get "
    "a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more "
    "details."
)
MULTI_VIEW_WRITE = (
    "This view is the output of a "
    "function that returns multiple views. Such functions do not allow the output views to be modified "
    "inplace. You should replace the inplace operation by an out-of-place one."
)
NO_GRAD_VIEW = "A view was created in no_grad mode and "
NO_GRAD_VIEW_WRITE = (
    "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code "
    "by moving both the view and the inplace either both inside the no_grad block (if you don't want "
    "the inplace to be tracked) or both outside (if you want the inplace to be tracked)."
)


# --- what a backward must know of a value it saved ------------------------------------------------


class Written(Overwritten):
    """A counted write: whose version it raised, from which one, and the operation that wrote."""

    __slots__ = ("counter", "version")

    def __init__(self, counter: Storage | Versions, version: int, by: Node | None = None):
        self.counter = counter
        self.version = version
        self.by = id(by)

    def versions(self) -> tuple[int, int]:
        return self.version, self.counter.version


class Placed(Overwritten):
    """The result of an operation that was written into a part of a storage: lost with the next write."""

    __slots__ = ("storage", "version")

    def __init__(self, counter: Storage | Versions):
        self.by = 0
        self.storage = weakref.ref(counter)  # the storage's history leads to the operation
        self.version = counter.version

    def holds(self) -> bool:
        counter = self.storage()
        return counter is None or counter.version == self.version

    def versions(self) -> tuple[int, int]:
        counter = self.storage()
        return self.version, self.version if counter is None else counter.version


class Reading(Tag):
    """On a node that reads memory which others change without marking the node.

    That is exported memory, and what a `.data` alias shows: a backward reads it as it is then, and
    raises where this handle's own counter says that it was written to.
    """

    __slots__ = ("shown", "counter", "version")
    follows = True

    def __init__(self, t: Tensor):
        super().__init__()
        self.shown = t.detach()
        self.counter = counter_of(t)
        self.version = self.counter.version

    def now(self, node: Node) -> Node:
        if self.counter.version != self.version:
            raise RuntimeError(overwritten_text(node, Written(self.counter, self.version)))
        storage = self.shown._storage
        if storage.export is None and node.src and node.src[0] is storage.node:
            return node
        return node_of(self.shown)


class DeadEnd(Reading):
    """On the node of a view made under no_grad of something that requires a gradient.

    PyTorch says that it requires one too, but what is computed from it leads nowhere.
    """

    __slots__ = ()

    def __init__(self, t: Tensor):
        super().__init__(t)
        self.name = "AccumulateGrad"
        self.leaf = lambda: None


class Leaf(Tag):
    """On a leaf's node: which tensor collects the gradient, and at which version it was read."""

    __slots__ = ("counter", "version")
    follows = True

    def __init__(self, tensor: Tensor):
        super().__init__("AccumulateGrad")
        self.leaf = weakref.ref(tensor)
        self.counter = counter_of(tensor)
        self.version = self.counter.version

    def now(self, node: Node) -> Node:
        tensor = self.leaf()
        if tensor is None:
            return node
        if counter_of(tensor) is self.counter and self.counter.version != self.version:
            raise RuntimeError(overwritten_text(node, Written(self.counter, self.version)))
        now = node_of(tensor)
        return node if now.value is node.value and now.value is not None else now


# --- reading --------------------------------------------------------------------------------------


def node_of(t: Tensor) -> Node:
    """The node of a tensor's current value."""
    return t._node if t._seen is t._storage.node else sync(t)  # type: ignore[return-value]


def sync(t: Tensor) -> Node:
    """Derives a handle's node anew: after a write, for a leaf, for exported memory.

    Errors: RuntimeError in grad mode for a view whose history PyTorch does not derive again.
    """
    storage = t._storage
    meta = t._meta
    exported = storage.export is not None and is_exported(storage)
    current = storage.node
    if not exported:
        if t._seen is current:
            return t._node  # type: ignore[return-value]
        if meta is None:
            t._node = t._seen = current
            return current
    local = LOCAL
    mode = local.grad
    local.grad = True
    try:
        node = _derived(t, meta, exported, mode)
    finally:
        local.grad = mode
    if meta is not None and meta.base is not None and node.grad:
        if not mode and not has_history(t):
            return node  # read for its values only: the history is derived when it is asked for
        meta.begun = True
    if exported:
        # The memory is read again next time; what stays is where the value comes from.
        t._node, t._seen = (source_of(node) if node.grad else None), None
    else:
        t._node = node
        t._seen = None if meta is not None and reads_by_mode(t, meta) else current
    return node


def values_of(t: Tensor) -> Node:
    """`node_of` for a reader of values only: it has no history to ask for, and raises for none."""
    if t._seen is t._storage.node:
        return t._node  # type: ignore[return-value]
    local = LOCAL
    mode = local.grad
    local.grad = False
    try:
        return sync(t)
    finally:
        local.grad = mode


def array_of(t: Tensor) -> np.ndarray:
    """The current value of a tensor, for reading only; drains what it needs."""
    storage = t._storage
    if storage.export is not None and is_exported(storage):
        return window(t)
    return runtime.value_of(values_of(t))


def _derived(t: Tensor, meta: Meta | None, exported: bool, mode: bool) -> Node:
    """The node of a handle: its value now and its history, which a write elsewhere may have changed."""
    storage = t._storage
    fresh = None
    if exported:
        fresh = snapshot(t)
        fresh.tag = Reading(t)
    if meta is None:
        node: Node | None = storage.node
    elif meta.leaf:
        return leaf_alias(t, fresh or _value(t))
    elif meta.base is not None and _barred(t, meta):
        if mode:
            raise RuntimeError(_view_text(t, meta, "its base or another view of its base has been"))
        return fresh or _value(t)
    elif in_place(meta, storage):
        node = _regenerated(t, meta) if _outdated(t, meta) else None
    elif meta.base is None and not meta.stopped:
        node = replay(storage.node, meta.recipe)
    else:
        node = None
    if node is None:
        # An alias, or a view nobody wrote to by its counter: the history stays what it was.
        history = own_history(t)
        node = fresh or _value(t)
        if history is not None:
            node = replaced(source_of(history), node)
    elif fresh is not None:
        node = replaced(source_of(node), fresh) if node.grad else fresh
    if mode and meta is not None and meta.untracked and not node.grad and root_of(t).requires_grad:
        node = _ending(node)
        node.tag = DeadEnd(t)
    return node


def own_history(t: Tensor) -> Node | None:
    """The node that a handle's gradient goes to, as it was last derived; None where there is none."""
    node = t._node
    if node is None or not node.grad or (node.tag is not None and node.tag.leaf is not None):
        return None
    return node


def has_history(t: Tensor) -> bool:
    """Whether a view has got a history so far; a write to its base gives it one when it is next used."""
    return t._meta is not None and (t._meta.begun or own_history(t) is not None)


def in_place(meta: Meta, storage: Storage) -> bool:
    """Whether a view's base still shows what it showed when the view was made."""
    base = meta.base
    return base is not None and base._storage is storage and full_recipe(base) == meta.origin


def _outdated(t: Tensor, meta: Meta) -> bool:
    return t._node is None or meta.version != counter_of(t).version


def reads_by_mode(t: Tensor, meta: Meta) -> bool:
    """Whether how a view reads depends on the grad mode of the moment."""
    if not meta.untracked and (meta.multi is None or meta.version == counter_of(t).version):
        return False
    return root_of(t).requires_grad


def _barred(t: Tensor, meta: Meta) -> bool:
    """Whether a view has a history that a write made invalid and that is not derived anew."""
    if not meta.untracked and meta.multi is None:
        return False
    return meta.version != counter_of(t).version and root_of(t).requires_grad


def _regenerated(t: Tensor, meta: Meta) -> Node:
    """A view's node, derived anew from its base's."""
    base = node_of(meta.base)  # type: ignore[arg-type]
    node = replay(base, meta.recipe) if meta.recipe else alias(base)
    if node.grad:
        meta.version = counter_of(t).version
        if node.tag is None:
            # PyTorch derives a view anew by as_strided, whatever made it.
            node.tag = Tag("AsStridedBackward0", (base,), saves=False)
    return node


def _value(t: Tensor) -> Node:
    """What a handle shows, without history."""
    local = LOCAL
    node = t._storage.node
    steps = full_recipe(t)
    mode = local.grad
    local.grad = False
    try:
        if steps:
            node = replay(node, steps)
        elif node.grad:
            node = stop(node)
        if t._meta is not None and t._meta.counter is not None:
            node = emit(alias, (node,), (), node.type)
            node.tag = Reading(t)
    finally:
        local.grad = mode
    return node


def replay(node: Node, recipe: tuple) -> Node:
    """The steps of a recipe applied to a node."""
    for op, arg, numbers in recipe:
        node = op(node, *numbers, arg=arg)
    return node


def _ending(node: Node) -> Node:
    """A node of the same value that a backward reaches and does not go beyond."""
    if node.value is None:
        made = emit(alias, (node,), (), node.type)
    else:
        made = leaf(alias, node.value, node.type)
    made.grad = LIVE
    return made


def leaf_alias(t: Tensor, node: Node) -> Node:
    """The node that gradients of the leaf `t` end at."""
    made = _ending(node)
    made.tag = Leaf(t)
    meta = t._own_meta()
    if meta.hooks is None:
        meta.hooks = {}  # shared with the tag: hooks registered later are seen by what is traced now
    made.tag.hooks = meta.hooks
    return made


# --- may it be written? ---------------------------------------------------------------------------


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
    base = meta.base
    if base is not None and base.requires_grad:
        check_view(t, meta)
        if base._meta is not None and base._meta.leaf:
            raise RuntimeError(VIEW_OF_LEAF_WRITE)
        if not has_history(t):
            raise RuntimeError(LEAF_WRITE)  # PyTorch does not look for the history it would have by now
    if meta.leaf:
        raise RuntimeError(LEAF_WRITE)


def check_view(t: Tensor, meta: Meta) -> None:
    """Raises for a view that must not take part in a tracked write."""
    if meta.base is not None and (meta.untracked or meta.multi is not None):
        raise RuntimeError(_view_text(t, meta, "is being"))


def _view_text(t: Tensor, meta: Meta, what: str) -> str:
    """PyTorch's words for a view whose history a write would have to change, or has outdated."""
    if meta.multi is None:
        return f"{NO_GRAD_VIEW}{what} modified inplace with grad mode enabled. {NO_GRAD_VIEW_WRITE}"
    begun = own_history(t) is not None or what == "is being" and meta.base.requires_grad  # type: ignore[union-attr]
    if meta.untracked or not begun:
        start = f"{NO_GRAD_VIEW}{what} modified inplace with grad mode enabled. "
    else:
        number, name = meta.multi
        start = f"Output {number} of {name} is a view and {what} modified inplace. "
    return start + MULTI_VIEW_WRITE


# --- writing --------------------------------------------------------------------------------------


def write(t: Tensor, value: Node) -> None:
    """Puts `value` (of t's shape and dtype) in the place of t's elements.

    The caller has called `check_writable` before it computed anything.
    """
    storage = t._storage
    old = storage.node
    meta = t._meta
    tracked = LOCAL.grad
    if tracked and value.grad and meta is not None:
        check_view(t, meta)
    operation = value
    if value.type.dtype is not old.type.dtype:
        value = cast(value, old.type.dtype)
    owner = family(t)._meta if meta is not None else None
    if owner is not None and owner.stopped:
        stored = _write_alias(t, value)
    else:
        stored = _updated(t, old, value)
        if not tracked:
            stored = _keeping_history(old, stored)
        elif owner is not None and owner.retains and stored.grad:
            _move_retained(old, stored)
        storage.node = stored
        if meta is None:
            t._node = t._seen = stored
        else:
            _forget(t, tracked and stored.grad != 0)
    _count(t, old, stored, operation)
    if tracked and operation.grad and meta is not None and meta.strides is not None:
        # What the operation saved of its result now lies in the storage.
        operation.after = operation.after or Placed(counter_of(t))
    if storage.export is not None:
        storage.export.replaces = None
        if is_exported(storage):
            land(storage, stored)
            t._seen = None


def family(t: Tensor) -> Tensor:
    """The handle whose history a write through `t` changes: a view's base, or `t` itself."""
    meta = t._meta
    if meta is None or meta.base is None or meta.base._storage is not t._storage:
        return t  # a base that went to other memory leaves its old views to themselves
    return meta.base


def _updated(t: Tensor, onto: Node, value: Node) -> Node:
    """A value of the whole storage: `onto`, with `value` at t's place."""
    meta = t._meta
    if meta is None or meta.strides is None:
        if not value.op.view and value.value is None:
            return value
        new = copy(value)
        if value.grad and value.tag is not None:
            new.tag = Tag(value.tag.name, value.tag.inputs, saves=False)
        return new
    shape, strides = shape_of(t), meta.strides
    if 0 in strides:
        # Only fills get here: every repetition of an element receives the same number.
        shape = tuple(min(n, 1) if k == 0 else n for n, k in zip(shape, strides))
        for axis, n in enumerate(shape):
            value = narrow(value, axis, 0, n)
    return strided_update_(onto, value, meta.offset, arg=(shape, strides))


def _forget(t: Tensor, begun: bool) -> None:
    """Lets a view or alias derive its node anew; begun: PyTorch derives its history at once."""
    meta = t._meta
    if meta is not None and meta.base is not None:
        meta.begun = begun or has_history(t)
    t._node = t._seen = None


def _move_retained(old: Node, new: Node) -> None:
    """`retain_grad` asks for the gradient of what the tensor is now."""
    before = source_of(old).tag
    if before is not None and before.retain is not None:
        if new.tag is None:
            new.tag = Tag()
        new.tag.retain, before.retain = before.retain, None


def _keeping_history(old: Node, new: Node) -> Node:
    """The value of `new` with the history of `old`, for a write that is not to be recorded there."""
    if new.grad:
        new = stop(new)
    if old.grad:
        mode, LOCAL.grad = LOCAL.grad, True
        new = replaced(source_of(old), new)
        LOCAL.grad = mode
    return new


def _write_alias(t: Tensor, value: Node) -> Node:
    """A write through an alias or a view of one: the storage keeps its history, the alias has its own.

    Returns the storage's new node.
    """
    storage, root = t._storage, family(t)
    old, place = storage.node, root._own_meta()
    history = own_history(root)
    if not LOCAL.grad or not (value.grad or history is not None):
        storage.node = _keeping_history(old, _updated(t, old, value))
        _forget(t, False)
        if t is root and history is not None:
            t._node = history
        return storage.node
    if t is root:
        new = _updated(t, stop(old), value)
        own = value
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
    return storage.node


def touch(t: Tensor) -> None:
    """Counts a write that leaves the values as they are: a handle begins to show another view."""
    storage = t._storage
    old = storage.node
    if storage.export is None:
        storage.node = _keeping_history(old, copy(old))
        _count(t, old, storage.node, storage.node)
    else:
        counter_of(t).version += 1


def _count(t: Tensor, old: Node, stored: Node, operation: Node) -> None:
    """Marks what was overwritten, for a backward that saved it, and raises the version."""
    storage, counter = t._storage, counter_of(t)
    written = Written(counter, counter.version, operation)
    # A `.data` write is not counted by the others: they read the new value.
    old.after = written if counter is storage else stored
    if storage.export is not None or counter is not storage:
        for read in operation.src:
            if read.__class__ is Node and read.tag.__class__ is Reading and read.after is None:
                read.after = written  # the operation itself keeps what it overwrote
    counter.version += 1


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
        raise RuntimeError(PARTIAL_OVERLAP)


def _dense(offset: int, shape: tuple, strides: tuple) -> bool:
    """Whether the window fills its span without gaps (PyTorch checks only such)."""
    expected = 1
    for k, n in sorted((k, n) for n, k in zip(shape, strides) if n != 1):
        if k != expected:
            return False
        expected *= n
    return True
