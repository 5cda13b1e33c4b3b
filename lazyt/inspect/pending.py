"""What a drain would compute for one tensor, found without draining.

A look must change nothing: a handle whose view has to be derived anew gets its nodes in a list
that is thrown away, and what is held from outside is read off the reference counts without
touching a node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from sys import getrefcount
from typing import Any

from lazyt.ir.autodiff import needed_values
from lazyt.ir.graph import Graph
from lazyt.ir.node import LOCAL, Node
from lazyt.runtime.donation import donatable
from lazyt.runtime.plan import build_graph

from ..state import node_of

# The trace, our list, the loop variable and the argument of getrefcount.
OWN_REFERENCES = 4


@dataclass
class Pending:
    """A pending program: the operations in order, what is kept of them, and its inputs.

    others: how many more operations stand in the trace.
    """

    wanted: list[Node]
    keep: tuple[int, ...]
    index: dict[int, int] = field(default_factory=dict)
    leaves: list[Any] = field(default_factory=list)
    others: int = 0

    def graph(self) -> Graph:
        """The program as a graph, numbers as literals."""
        return build_graph(self.wanted, self.keep, self.index, set())[0]

    def donatable(self) -> frozenset[int]:
        """Inputs whose memory the program could take over."""
        leaves = self.leaves  # `_donatable` counts on its caller's reference to every array
        found = donatable(self.wanted)
        del leaves
        return found


@contextmanager
def looking(t: Any) -> Iterator[tuple[Node, list[Node]]]:
    """The node of a tensor's value, and nodes made only to look at it; all is put back."""
    local = LOCAL
    handles = []
    handle = t
    while handle is not None:
        handles.append((handle, handle._node, handle._seen))
        handle = handle._meta.base if handle._meta is not None else None
    before = local.trace, local.limit, local.urgent
    extra: list[Node] = []
    local.trace, local.limit = extra, 1 << 60
    try:
        node = node_of(t)
        local.trace, local.limit, local.urgent = before
        yield node, extra
    finally:
        local.trace, local.limit, local.urgent = before
        for handle, own, seen in handles:
            handle._node, handle._seen = own, seen


def program_of(root: Node, extra: list[Node]) -> Pending:
    """What has to be computed for `root`, from this thread's trace and the nodes of `extra`."""
    trace = LOCAL.trace
    uses, place = _uses_and_places(trace, extra)
    wanted = _cone(root)
    if all(id(n) in place for n in wanted):
        wanted.sort(key=lambda n: place[id(n)])
    keep = _held(wanted, uses, place)
    keep.update(i for i, n in enumerate(wanted) if n is root)
    keep |= _read_by_backward(wanted, keep)
    found = Pending(wanted, tuple(sorted(keep)))
    for n in wanted:
        for s in n.src:
            if s.__class__ is Node and s.value is not None and id(s.value) not in found.index:
                found.index[id(s.value)] = len(found.leaves)
                found.leaves.append(s.value)
    found.others = len(trace) - sum(place.get(id(n), len(trace)) < len(trace) for n in wanted)
    return found


def _uses_and_places(trace: list[Node], extra: list[Node]) -> tuple[dict, dict]:
    """By identity: how often the nodes of both lists hold a node, and its place in them."""
    uses: dict[int, int] = {}
    place: dict[int, int] = {}
    for part in (trace, extra):
        for n in part:
            place[id(n)] = len(place)
            for s in n.src:
                if s.__class__ is Node:
                    uses[id(s)] = uses.get(id(s), 0) + 1
            if n.tag is not None:
                for s in n.tag.inputs:
                    uses[id(s)] = uses.get(id(s), 0) + 1
    return uses, place


def _held(wanted: list[Node], uses: dict[int, int], place: dict[int, int]) -> set[int]:
    """Positions of the nodes that something outside the trace holds."""
    held = set()
    for i in range(len(wanted)):
        n = wanted[i]
        if id(n) in place and getrefcount(n) - OWN_REFERENCES > uses.get(id(n), 0):
            held.add(i)
    return held


def _cone(root: Node) -> list[Node]:
    """Everything without a value that `root` is computed from, operands first."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[Any] = [root]
    while stack:
        n = stack.pop()
        if n.__class__ is tuple:
            order.append(n[0])
        elif n.value is None and id(n) not in seen:
            seen.add(id(n))
            stack.append((n,))
            stack.extend(s for s in reversed(n.src) if s.__class__ is Node)
    return order


def _read_by_backward(wanted: list[Node], keep: set[int]) -> set[int]:
    """Positions whose values unfreed history will read, as the drain keeps them."""
    live = {id(wanted[i]) for i in keep}
    read: set[int] = set()
    for n in reversed(wanted):
        if n.grad > 0 and id(n) in live:
            read.update(map(id, needed_values(n)))
            live.update(id(s) for s in n.src if s.__class__ is Node and s.grad)
    return {i for i, n in enumerate(wanted) if id(n) in read}
