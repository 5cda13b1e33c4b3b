"""The three scans of a drain, which read every node of a trace.

    live      backwards: what is wanted, and what of it is held from outside
    scan      forwards: the key of the program, its numbers, its input arrays
    settle    afterwards: what the drain wrote into nodes is reset

`SCANS[0]` are those in use: these, or the same in C where the C tier is on (traces.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from sys import getrefcount
from typing import Any, NamedTuple

import numpy as np

from lazyt.ir.autodiff import needed_values
from lazyt.ir.node import Node
from lazyt.ir.ops_shape import replaced

from .donation import flags

VIEWS = 8


def counts_are_exact() -> bool:
    """Whether a reference count says how many hold an object, as liveness needs it to."""
    if getattr(sys, "_is_gil_enabled", lambda: True)() is False:
        return False

    def probe() -> tuple[int, int]:
        held = [object()]
        n = held.pop()
        alone = getrefcount(n)
        other = n
        return alone, getrefcount(other)

    return probe() == (2, 3)


EXACT_COUNTS = counts_are_exact()


class Marks:
    """What liveness learns of histories on the way. Identities, not nodes: a set of nodes would
    itself count as a holder.

    read: values that a later backward reads. live: nodes with unfreed history above them.
    """

    read: set[int] | None = None
    live: set[int] | None = None

    def history(self, n: Node, outside: Any) -> None:
        """Counts the uses of the operands of a node with unfreed history."""
        live = self.live
        if outside or (live is not None and id(n) in live):
            if live is None:
                live = self.live = set()
                self.read = set()
            self.read.update(map(id, needed_values(n)))  # type: ignore[union-attr]
            for s in n.src:
                if s.__class__ is Node:
                    s.uses += 1
                    if s.grad:
                        live.add(id(s))
        else:
            for s in n.src:
                if s.__class__ is Node:
                    s.uses += 1

    @staticmethod
    def tagged(n: Node, outside: Any) -> None:
        """Counts the uses of what the tag of a node holds."""
        if n.tag.inputs:
            for s in n.tag.inputs:
                s.uses += 1


def live(
    batch: list[Node], history: Callable, tagged: Callable
) -> tuple[list[Node], tuple[int, ...]]:
    """Empties a trace from its end: what is wanted of it, in its order, and the positions there of
    what is held from outside."""
    wanted: list[Node] = []
    held: list[int] = []
    exact = EXACT_COUNTS
    count = getrefcount
    pop = batch.pop
    while batch:
        n = pop()
        refs = count(n) - 2
        if refs == 0 and exact:
            continue
        if n.value is not None:
            continue
        outside = refs > n.uses or not exact
        if outside:
            held.append(len(wanted))
        wanted.append(n)
        if n.grad > 0:
            history(n, outside)
        else:
            for s in n.src:
                if s.__class__ is Node:
                    s.uses += 1
        if n.tag is not None:
            tagged(n, None)
        s = None  # the loop variable must not count as a holder of the next node
    wanted.reverse()
    last = len(wanted) - 1
    return wanted, tuple(last - i for i in reversed(held))


def scan(wanted: list[Node]) -> Any:
    """The key of a wanted trace, its numbers and its input arrays.

    Where an operand is pending elsewhere, that node instead.
    """
    key: list[Any] = []
    add = key.append
    numbers: list[Any] = []
    leaves: list[Any] = []
    index: dict[int, int] = {}
    position = 0
    for n in wanted:
        add(n.op)
        add(n.arg)
        for s in n.src:
            if s.__class__ is Node:
                value = s.value
                if value is None:
                    p = s.pos
                    if p < 0:
                        if n.op is not replaced or s is not n.src[0]:
                            return s
                        add(None)  # only its history is meant
                    else:
                        add(p)
                    continue
                k = index.get(id(value))
                if k is None:
                    index[id(value)] = k = len(leaves)
                    leaves.append(value)
                    add(~k)
                    add(s.type)
                    if value.__class__ is np.ndarray:
                        if not value.flags.c_contiguous:
                            add("strided")
                    elif value.__class__ is not tuple and not value.contiguous:
                        add("strided")
                else:
                    add(~k)
            else:
                kind = s.__class__
                add(kind)
                if kind is float and s == 0.0:
                    add(str(s))
                numbers.append(s)
        n.pos = position
        position += 1
    return tuple(key), tuple(numbers), leaves


def settle(wanted: list[Node], ok: bool) -> None:
    """Resets what the drain wrote; realised nodes without live history drop their operands."""
    for n in wanted:
        n.uses = 0
        n.pos = -1
        if n.grad <= 0 and (ok or n.value is not None) and not (n.op.view and shows(n)):
            n.src = ()


def shows(n: Node) -> bool:
    """Whether a view keeps its operand: a backward that saved it asks whether that was overwritten.

    Views of views of views … are cut, so that a loop of them stays flat.
    """
    for _ in range(VIEWS):
        s = n.src[0] if n.src else None
        if s.__class__ is not Node or s.grad:
            return False
        if not s.op.view or not s.src:
            return True
        n = s
    return False


class Scans(NamedTuple):
    """The three scans of a drain: `live`, `scan` and `settle`, or what does the same; and
    `donation.flags`, which reads some of the nodes again."""

    live: Callable[[list[Node], Callable, Callable], tuple[list[Node], tuple[int, ...]]]
    scan: Callable[[list[Node]], Any]
    settle: Callable[[list[Node], bool], None]
    flags: Callable[[list[Node], list, list, set | None], list[bool]]


IN_PYTHON = Scans(live, scan, settle, flags)
SCANS = [IN_PYTHON]
# Called once, when the C tier has compiled its first kernels.
WITH_COMPILER: list[Callable[[], None]] = []
