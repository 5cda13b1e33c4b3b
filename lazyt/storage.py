"""Storages and handles: the memory tensors share, and what a handle knows of its place in it.

A `Storage` holds the node of the current value. A plain tensor is a handle without further ado;
views and aliases, leaves and tensors with hooks have a `Meta`. See docs/state.md.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from lazyt.ir.node import LOCAL, Node, Overwritten

if TYPE_CHECKING:
    from .exports import Export
    from .handles import Memory
    from .tensor import Tensor

Strides = tuple[int, ...]


class Storage:
    """The memory that handles share: its current node, a version, and who outside may see it."""

    __slots__ = ("node", "version", "export", "address", "__weakref__")

    node: Node
    version: int
    export: Export | None
    address: np.ndarray | None

    def __init__(self, node: Node):
        self.node = node
        self.version = 0
        self.export = None
        self.address = None


class Versions:
    """A version counter of its own: that of a `.data` alias and its views, or of `x`
    after `x.data = y`."""

    __slots__ = ("version", "__weakref__")

    def __init__(self, version: int = 0):
        self.version = version


class Placed(Overwritten):
    """On the result of an operation that went into a part of a storage: the next write ends it."""

    __slots__ = ("storage", "version")

    def __init__(self, counter: Storage | Versions):
        self.by: frozenset[int] = frozenset()
        self.storage = weakref.ref(counter)  # the storage's history leads to the operation
        self.version = counter.version

    def holds(self) -> bool:
        counter = self.storage()
        return counter is None or counter.version == self.version

    def versions(self) -> tuple[int, int]:
        counter = self.storage()
        return self.version, self.version if counter is None else counter.version


class Meta:
    """What only some handles have.

    base, recipe: a view's root handle and the steps (op, arg, numbers) that lead from its value;
        without a base the recipe starts at the storage (aliases of views, in-place transposes).
    origin: the steps from the storage to the base as it was when the view was made.
    version: the version at which the view's history was derived; begun: whether it ever had one.
    offset, shape, strides: where the view lies in the storage, in elements; strides None for all of
    it.
    counter: counts its writes; None where the storage does.
    leaf: requires_grad was asked of this handle. stopped: an alias, whose history is not the
        storage's but its own (`detach`, `.data`).
    untracked: a view made under no_grad; multi: its number among the views of one call, and the
        call.
    inference: made in inference mode.
    memory: where a leaf lies, for its tags.
    grad, hooks, after_accumulate, retains: the autograd attributes.
    """

    __slots__ = (
        "base",
        "origin",
        "recipe",
        "version",
        "begun",
        "offset",
        "shape",
        "strides",
        "counter",
        "leaf",
        "stopped",
        "untracked",
        "multi",
        "memory",
        "grad",
        "hooks",
        "after_accumulate",
        "retains",
        "inference",
        "copied",
    )

    def __init__(self) -> None:
        self.base: Tensor | None = None
        self.origin: tuple = ()
        self.recipe: tuple = ()
        self.version = 0
        self.begun = False
        self.offset = 0
        self.shape: tuple[int, ...] = ()
        self.strides: Strides | None = None
        self.counter: Storage | Versions | None = None
        self.leaf = False
        self.stopped = False
        self.untracked = False
        self.multi: tuple[int, str] | None = None
        self.memory: Memory | None = None
        self.grad: Tensor | None = None
        self.hooks: dict | None = None
        self.after_accumulate: dict | None = None
        self.retains = False
        self.inference = False
        self.copied = False

    def child(self) -> Meta:
        """The meta of an alias: same place and counter, none of the autograd record."""
        other = Meta()
        # Without a base: the recipe starts at the storage itself.
        other.recipe = self.origin + self.recipe
        other.offset, other.shape, other.strides = self.offset, self.shape, self.strides
        other.counter, other.stopped = self.counter, self.stopped
        other.copied = self.copied
        return other


def view_meta(
    t: Tensor, steps: tuple, offset: int, shape: tuple[int, ...], strides: Strides
) -> Meta:
    """The meta of a view of `t` that `steps` lead to."""
    meta = t._meta
    made = Meta()
    if meta is None:
        made.base, made.recipe = t, steps
        made.version = t._storage.version
    else:
        if meta.base is None:
            made.base, made.origin, made.recipe = t, full_recipe(t), steps
        else:
            made.base, made.origin, made.recipe = meta.base, meta.origin, meta.recipe + steps
            made.untracked, made.multi = meta.untracked, meta.multi
        made.counter, made.copied = meta.counter, meta.copied
        made.version = counter_of(t).version
    made.offset, made.shape, made.strides = offset, shape, strides
    if not LOCAL.grad and not LOCAL.inference:
        made.untracked = True
    return made


def counter_of(t: Tensor) -> Storage | Versions:
    """What counts the writes through this handle and those it shares a version with."""
    meta = t._meta
    return t._storage if meta is None or meta.counter is None else meta.counter


def root_of(t: Tensor) -> Tensor:
    """The tensor that a chain of views started from."""
    while t._meta is not None and t._meta.base is not None:
        t = t._meta.base
    return t


def full_recipe(t: Tensor) -> tuple:
    """The steps from the storage's value to this handle's."""
    meta = t._meta
    return () if meta is None else meta.origin + meta.recipe


def _no_tensor(t: Any) -> TypeError:
    return TypeError(f"expected Tensor as an argument, but got {type(t).__name__}")


def shape_of(t: Tensor) -> tuple[int, ...]:
    """The shape of a handle; TypeError for what is no tensor."""
    try:
        node = t._node
    except AttributeError:
        raise _no_tensor(t) from None
    if node is not None:
        return node.type.shape
    meta = t._meta
    if meta is not None and meta.strides is not None:
        return meta.shape
    return t._storage.node.type.shape


def geometry(t: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Offset, shape and strides of a handle in its storage; TypeError for what is no tensor."""
    try:
        meta = t._meta
    except AttributeError:
        raise _no_tensor(t) from None
    if meta is None or meta.strides is None:
        type = t._storage.node.type
        return 0, type.shape, type.strides
    return meta.offset, meta.shape, meta.strides


def is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a tensor lies row-major without gaps, whatever the strides of extents of 1."""
    expected = 1
    for n, k in zip(reversed(shape), reversed(strides)):
        if n != 1:
            if k != expected:
                return 0 in shape
            expected *= n
    return True


def span(offset: int, shape: tuple, strides: tuple) -> tuple[int, int] | None:
    """The first and last element of the storage that a window shows; None for an empty one."""
    if 0 in shape:
        return None
    return offset, offset + sum((n - 1) * k for n, k in zip(shape, strides))
