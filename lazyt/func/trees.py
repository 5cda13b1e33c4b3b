"""Nested containers of tensors, as functions take and return them.

    flatten({"a": x, "b": (y, z)})  ->  [x, y, z], dict of a leaf and a tuple of two leaves

Tuples, lists, dictionaries (their kinds included) and named tuples are containers; anything else is
a leaf. A `Spec` says how leaves are put together and prints as PyTorch's does.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

_MAPPINGS = (dict, OrderedDict, defaultdict)
_SEQUENCES = (tuple, list, deque)


class Spec:
    """The structure of a container: its type, what its type needs besides, and its children."""

    __slots__ = ("kind", "context", "children", "leaves")

    kind: Any
    context: Any
    children: list[Spec]
    leaves: int

    def __init__(self, kind: Any, context: Any, children: list[Spec]):
        self.kind = kind
        self.context = context
        self.children = children
        self.leaves = sum(c.leaves for c in children) if kind is not None else 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spec):
            return NotImplemented
        return (self.kind, self.context, self.children) == (
            other.kind,
            other.context,
            other.children,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._text(0)

    def _text(self, indent: int) -> str:
        if self.kind is None:
            return "*"
        inner = indent + 2
        children = f",\n{' ' * inner}".join(c._text(inner) for c in self.children)
        return f"TreeSpec({self.kind.__name__}, {self.context}, [{children}])"

    def pattern(self) -> str:
        """The structure with a star for each leaf: "(*, {'a': *})"."""
        return repr(unflatten([_STAR] * self.leaves, self)) if self.kind is not None else "*"


class _Star:
    def __repr__(self) -> str:
        return "*"


_STAR = _Star()
LEAF = Spec(None, None, [])


def _parts(tree: Any) -> tuple[Any, Any, list] | None:
    """The type, the context and the children of a container; None for a leaf."""
    kind = type(tree)
    if kind in _MAPPINGS:
        keys: Any = list(tree)
        context = [tree.default_factory, keys] if kind is defaultdict else keys
        return kind, context, [tree[k] for k in keys]
    if kind in _SEQUENCES:
        return kind, tree.maxlen if kind is deque else None, list(tree)
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return kind, None, list(tree)
    return None


def flatten(tree: Any) -> tuple[list, Spec]:
    """The leaves of nested containers, in order, and how they are put together."""
    parts = _parts(tree)
    if parts is None:
        return [tree], LEAF
    kind, context, children = parts
    leaves: list = []
    specs = []
    for child in children:
        found, spec = flatten(child)
        leaves += found
        specs.append(spec)
    return leaves, Spec(kind, context, specs)


def unflatten(leaves: Any, spec: Spec) -> Any:
    """The containers of a spec around other leaves."""
    return _put_together(iter(leaves), spec)


def _put_together(leaves: Any, spec: Spec) -> Any:
    kind = spec.kind
    if kind is None:
        return next(leaves)
    children = [_put_together(leaves, c) for c in spec.children]
    if kind is defaultdict:
        factory, keys = spec.context
        return defaultdict(factory, zip(keys, children))
    if kind in _MAPPINGS:
        return kind(zip(spec.context, children))
    if kind is deque:
        return deque(children, spec.context)
    if kind in _SEQUENCES:
        return kind(children)
    return kind._make(children) if hasattr(kind, "_make") else kind(children)


def tree_map(function: Callable, tree: Any) -> Any:
    """`function` of every leaf, in the same containers."""
    leaves, spec = flatten(tree)
    return unflatten([function(x) for x in leaves], spec)


def broadcast(prefix: Any, spec: Spec) -> list | None:
    """A leaf for each leaf of `spec`, where a leaf of `prefix` may stand for a whole container.

    None where `prefix` has another structure.
    """
    parts = _parts(prefix)
    if parts is None:
        return [prefix] * spec.leaves
    kind, context, children = parts
    if kind is not spec.kind or context != spec.context or len(children) != len(spec.children):
        return None
    found: list = []
    for child, below in zip(children, spec.children):
        part = broadcast(child, below)
        if part is None:
            return None
        found += part
    return found
