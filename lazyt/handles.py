"""Which node a handle is: its value now, its history, both derived after writes (docs/state.md).

x = zeros(2, 3); v = x[0]         # one storage; v is a handle with the recipe "slice, reshape"
v.add_(1)                         # a write puts a new node into the storage
x + 1                             # x reads the new node, which node_of(x) finds
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from lazyt.ir.autodiff import source_of
from lazyt.ir.node import LIVE, LOCAL, Node, Overwritten, emit, leaf
from lazyt.ir.ops_shape import alias, as_strided_, replaced, stop, strided_update_
from lazyt.ir.overwritten import overwritten_text
from lazyt.ir.tags import Tag
from lazyt.runtime import drain as runtime
from lazyt.runtime.placed import copied, on_host

from .exports import data, is_exported, snapshot, window
from .storage import (
    Meta,
    Placed,
    Storage,
    Versions,
    counter_of,
    full_recipe,
    geometry,
    root_of,
)

if TYPE_CHECKING:
    from .tensor import Tensor

MULTI_VIEW_WRITE = (
    "This view is the output of a function that returns multiple views. Such functions do not "
    "allow the output views to be modified inplace. You should replace the inplace operation by an "
    "out-of-place one."
)
FUNCTION_VIEW_WRITE = (
    "This view was created inside a custom Function (or because an input was returned as-is) and "
    "the autograd logic to handle view+inplace would override the custom backward associated with "
    "the custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix "
    "this by cloning the output of the custom Function."
)
NO_GRAD_VIEW = "A view was created in no_grad mode and "
NO_GRAD_VIEW_WRITE = (
    "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your "
    "code by moving both the view and the inplace either both inside the no_grad block (if you "
    "don't want the inplace to be tracked) or both outside (if you want the inplace to be tracked)."
)


class OfSeveral(str):
    """In `Meta.multi`: the name of what made several views of one that was made under no_grad."""


class OfFunction(str):
    """In `Meta.multi`: the name of the autograd.Function that gave a view of its input back."""


# --- what a backward must know of a value it saved ------------------------------------------------


class Written(Overwritten):
    """A counted write: whose version it raised, from which one, and the operation that wrote."""

    __slots__ = ("counter", "version")

    def __init__(self, counter: Storage | Versions, version: int, by: frozenset[int] = frozenset()):
        self.counter = counter
        self.version = version
        self.by = by

    def versions(self) -> tuple[int, int]:
        return self.version, self.counter.version


class Detached(Overwritten):
    """On the node of a tensor that was detached in place: what others saved of it is lost."""

    __slots__ = ()
    text = (
        "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_().This "
        "is not supported, please use out-of-place `.detach()` instead"
    )

    def __init__(self, node: Node):
        self.by = frozenset((id(node),))  # an operation keeps what it made itself


class Shown(Placed):
    """On a node whose value a storage shows: a backward that saved it reads what is there then."""

    __slots__ = ("memory", "steps")

    def __init__(self, storage: Storage, steps: tuple, counter: Storage | Versions):
        super().__init__(counter)
        self.memory = weakref.ref(storage)
        self.steps = steps

    def value(self, node: Node) -> Node:
        storage = self.memory()
        if storage is None:
            return node
        if storage.export is not None and is_exported(storage):
            now = copied(storage.export.array)
            return replay(leaf(data, now, storage.node.type), self.steps)
        counter = self.storage()
        return _valued(storage, self.steps, storage if counter is None else counter)


class Memory:
    """Where a leaf lies: shared with its tags, which outlive it."""

    __slots__ = ("storage", "place", "counter", "given")

    def __init__(self, t: Tensor):
        self.move(t)

    def move(self, t: Tensor) -> None:
        self.storage = t._storage
        self.given = is_alias(t)  # what history the storage has is not the leaf's
        self.place = full_recipe(t)
        self.counter = counter_of(t)


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

    def now(self, node: Node, reader: Node | None = None, shown: Node | None = None) -> Node:
        if self.counter.version != self.version:
            raise RuntimeError(overwritten_text(shown or node, Written(self.counter, self.version)))
        storage = self.shown._storage
        if storage.export is None and node.src and node.src[0] is storage.node:
            return node
        return node_of(self.shown)


class DeadEnd(Reading):
    """On the node of a view made under no_grad of something that requires a gradient.

    PyTorch says that it requires one too, but what is computed from it leads nowhere.
    """

    __slots__ = ()
    ends = True

    def __init__(self, t: Tensor):
        super().__init__(t)
        self.name = "AccumulateGrad"
        self.leaf = lambda: None


class Leaf(Tag):
    """On a leaf's node: which tensor collects the gradient, and at which version it was read."""

    __slots__ = ("memory", "counter", "version")
    follows = True

    def __init__(self, tensor: Tensor):
        super().__init__("AccumulateGrad")
        self.leaf = weakref.ref(tensor)
        meta = tensor._own_meta()
        if meta.memory is None:
            meta.memory = Memory(tensor)
        self.memory = meta.memory
        self.counter = self.memory.counter
        self.version = self.counter.version

    def now(self, node: Node, reader: Node | None = None, shown: Node | None = None) -> Node:
        tensor, counter = self.leaf(), self.memory.counter
        if counter.version != self.version:
            raise RuntimeError(overwritten_text(shown or node, Written(counter, self.version)))
        if shown is not None and counter is not self.counter:
            return node  # the tensor shows other memory by now; a view of it does not
        if tensor is None:  # what was saved is as good as the tensor itself
            return _valued(self.memory.storage, self.memory.place, counter)
        now = node_of(tensor)
        return node if now.value is node.value and now.value is not None else now

    def in_interior(self) -> bool:
        """Whether the leaf has become the result of a tracked write."""
        tensor = self.leaf()
        if tensor is None:
            return not self.memory.given and self.memory.storage.node.grad != 0
        leaf = tensor._meta is not None and tensor._meta.leaf
        return not leaf and tensor.requires_grad and not tensor.is_leaf


# --- reading --------------------------------------------------------------------------------------


def node_of(t: Tensor) -> Node:
    """The node of a tensor's current value; TypeError for what is no tensor."""
    try:
        return t._node if t._seen is t._storage.node else sync(t)  # type: ignore[return-value]
    except AttributeError:
        if hasattr(t, "_storage"):
            raise
        raise TypeError(f"expected Tensor as an argument, but got {type(t).__name__}") from None


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
        if meta.leaf and not current.grad and shows_all(meta):
            t._node, t._seen = leaf_alias(t, current), current
            return t._node
    if meta is not None and meta.base is not None and not meta.begun:
        meta.begun = own_history(t) is not None
    local = LOCAL
    mode = local.grad
    local.grad = True
    try:
        node = _derived(t, meta, exported, mode)
    finally:
        local.grad = mode
    if meta is not None and meta.base is not None and node.grad and not _ends(node):
        if not mode and not has_history(t):
            return node  # read for its values only: the history is derived when it is asked for
        meta.begun = True
        meta.version = counter_of(t).version
    elif meta is not None and meta.recipe and node.grad:
        meta.version = counter_of(t).version
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


def of_an_example(node: Node) -> bool:
    """Whether a node is one of many examples, in the function of a vmap: it has no value."""
    return any(level.depends(node) for level in LOCAL.levels)


def array_of(t: Tensor) -> np.ndarray:
    """The current value of a tensor, for reading only; drains what it needs."""
    storage = t._storage
    if storage.export is not None and is_exported(storage):
        return on_host(window(t))
    node = values_of(t)
    for level in LOCAL.levels:
        level.check_read(node)
    return runtime.value_of(node)


def shows_all(meta: Meta) -> bool:
    """Whether a handle is no view and shows all of its storage, whose version is its own."""
    if meta.base is not None or meta.recipe or meta.strides is not None:
        return False
    return meta.counter is None and not meta.untracked and meta.multi is None


def _derived(t: Tensor, meta: Meta | None, exported: bool, mode: bool) -> Node:
    """The node of a handle: its value now, with the history that writes elsewhere have left it."""
    storage = t._storage
    fresh = _read_memory(t) if exported else None
    if meta is None:
        node: Node | None = storage.node
    elif meta.leaf:
        return leaf_alias(t, fresh or _value(t))
    elif meta.base is not None and _barred(t, meta):
        if mode:
            raise RuntimeError(view_text(t, meta, "its base or another view of its base has been"))
        return fresh or _value(t)
    elif in_place(meta, storage):
        node = _regenerated(t, meta) if meta.version != counter_of(t).version else None
    elif meta.base is None and not meta.stopped and _own_stands(t):
        node = None  # permuted in place or laid out so: no write has changed the history since
    elif meta.base is not None and meta.version == counter_of(t).version:
        node = None  # its base shows another view by now, but nobody wrote to it
    elif meta.base is not None and is_alias(meta.base) and meta.base._storage is storage:
        node = _from_moved(t, meta)
    elif not is_alias(family(t)) and (meta.base is None or meta.base._storage is storage):
        node = replay(storage.node, full_recipe(t))
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


def _read_memory(t: Tensor) -> Node:
    fresh = snapshot(t)
    fresh.tag = Reading(t)
    return fresh


def own_history(t: Tensor) -> Node | None:
    """The node that a handle's gradient goes to, as last derived; None where there is none."""
    node = t._node
    return None if node is None or not node.grad or _ends(node) else node


def _ends(node: Node) -> bool:
    """Whether a backward does not go beyond the node: a leaf's, or one that leads nowhere."""
    return node.tag is not None and node.tag.leaf is not None


def has_history(t: Tensor) -> bool:
    """Whether a view has a history so far; a write to its base gives it one at its next use."""
    return t._meta is not None and (t._meta.begun or own_history(t) is not None)


def in_place(meta: Meta, storage: Storage) -> bool:
    """Whether a view's base still shows what it showed when the view was made."""
    base = meta.base
    return base is not None and base._storage is storage and full_recipe(base) == meta.origin


def reads_by_mode(t: Tensor, meta: Meta) -> bool:
    """Whether how a view reads depends on the grad mode of the moment."""
    if not meta.untracked and (meta.multi is None or meta.version == counter_of(t).version):
        return False
    return _looks_for_history(t)


def _barred(t: Tensor, meta: Meta) -> bool:
    """Whether a view has a history that a write made invalid and that is not derived anew."""
    if not meta.untracked and meta.multi is None:
        return False
    return meta.version != counter_of(t).version and _looks_for_history(t)


def _looks_for_history(t: Tensor) -> bool:
    """Whether PyTorch asks for a view's grad_fn: it had one, or its base requires a gradient."""
    return has_history(t) or root_of(t).requires_grad


def _regenerated(t: Tensor, meta: Meta) -> Node:
    """A view's node, derived anew from its base's."""
    base = node_of(meta.base)  # type: ignore[arg-type]
    node = replay(base, meta.recipe) if meta.recipe else alias(base)
    if not node.grad and has_history(t):
        node = _ending(node)  # its base requires no gradient (any more): it leads nowhere
    if node.grad and node.tag is None:
        # PyTorch derives a view anew by as_strided, whatever made it.
        node.tag = Tag("AsStridedBackward0", (base,), saves=False)
    return node


def _own_stands(t: Tensor) -> bool:
    """Whether a root's own history still begins with its storage's."""
    node = own_history(t)
    if node is None:
        return False
    node, end = source_of(node), source_of(t._storage.node)
    while node is not end and node.op.view and node.src:
        node = node.src[0]
    return node is end


def _from_moved(t: Tensor, meta: Meta) -> Node | None:
    """A view's node, derived from a base whose history is its own and which shows another view of
    the storage by now: carried into the whole and back."""
    base, storage = meta.base, t._storage
    node = node_of(base)  # type: ignore[arg-type]
    if not node.grad:
        return None
    offset, shape, strides = geometry(base)  # type: ignore[arg-type]
    whole = strided_update_(stop(storage.node), node, offset, arg=(shape, strides))
    offset, shape, strides = geometry(t)
    return as_strided_(whole, offset, arg=(shape, strides))


def _value(t: Tensor) -> Node:
    """What a handle shows, without history."""
    node = _valued(t._storage, full_recipe(t), counter_of(t))
    if t._meta is not None and t._meta.counter is not None:
        mode, LOCAL.grad = LOCAL.grad, False
        node = emit(alias, (node,), (), node.type)
        LOCAL.grad = mode
        node.tag = Reading(t)
    return node


def _valued(storage: Storage, steps: tuple, counter: Storage | Versions) -> Node:
    """What the steps show of a storage, without history."""
    mode, LOCAL.grad = LOCAL.grad, False
    node = storage.node
    try:
        if steps:
            node = replay(node, steps)
        elif node.grad:
            node = stop(node)
        if node is not storage.node:
            node.after = Shown(storage, steps, counter)
    finally:
        LOCAL.grad = mode
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
        meta.hooks = (
            OrderedDict()
        )  # shared with the tag: what is traced now sees hooks registered later
    made.tag.hooks = meta.hooks
    return made


def family(t: Tensor) -> Tensor:
    """The handle whose history a write through `t` changes: a view's base, or `t` itself."""
    meta = t._meta
    if meta is None or meta.base is None or meta.base._storage is not t._storage:
        return t  # a base that went to other memory leaves its old views to themselves
    return meta.base


def is_alias(t: Tensor) -> bool:
    """Whether the history of a root handle is its own, not the storage's."""
    meta = t._meta
    if meta is None:
        return False
    return meta.stopped or meta.base is not None and meta.base._storage is not t._storage


def name_view(made: Meta, node: Node, name: str, multi: tuple[int, str] | None = None) -> None:
    """What an error will call a view that no tracked write may go through.

    multi: its number among the views of one call, and the name of that.
    """
    if made.untracked and LOCAL.grad and multi is not None:
        made.multi = (multi[0], OfSeveral(multi[1]))
    elif made.untracked and LOCAL.grad and _of_several(made):
        made.multi = (0, OfSeveral(name))
    elif made.untracked:
        made.multi = (0, name) if node.grad else None
    elif multi is not None:
        made.multi = multi
    elif made.multi is not None:
        made.multi = (0, type(made.multi[1])(name))


def _of_several(meta: Meta) -> bool:
    return meta.multi is not None and meta.multi[1].__class__ is OfSeveral


def view_text(t: Tensor, meta: Meta, what: str) -> str:
    """PyTorch's words for a view whose history a write would have to change, or has outdated."""
    if meta.multi is None or (meta.untracked and not _of_several(meta)):
        made = NO_GRAD_VIEW
        if meta.multi is not None:  # in grad mode, of one made under no_grad
            made = f"Output 0 of {meta.multi[1]} is a view of a view which was created in no_grad "
            made += "mode and "
        return f"{made}{what} modified inplace with grad mode enabled. {NO_GRAD_VIEW_WRITE}"
    number, name = meta.multi
    output = f"Output {number} of {name} is a view and {what} modified inplace. "
    if name.__class__ is OfFunction:
        return output + FUNCTION_VIEW_WRITE
    if not has_history(t):
        output = f"{NO_GRAD_VIEW}{what} modified inplace with grad mode enabled. "
    return output + MULTI_VIEW_WRITE
