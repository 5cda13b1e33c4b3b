"""Which inputs a plan may write over: those that nobody but its run holds, by CPython's counts.

`donatable` judges when a plan is compiled, `flags` at every run of it.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from lazyt.ir.node import Node

from .placed import owned


def flags(wanted: list[Node], leaves: list, donors: list, read: set | None) -> list[bool]:
    """For every donor of a plan whether it is given up, as things are now."""
    return [gives_up(wanted, leaves, k, refs, read) for k, refs in donors]


def gives_up(wanted: list[Node], leaves: list, k: int, refs: tuple, read: set | None) -> bool:
    """Whether nobody but this run holds input `k`: its array, or the nodes that carry it; and no
    later backward reads it."""
    array = leaves[k]
    holders: dict[Node, int] = {}
    for p, i in refs:
        s = wanted[p].src[i]
        if read is not None and id(s) in read:
            return False
        holders[s] = holders.get(s, 0) + 1
    s = None
    # `array`, `leaves` and the argument of getrefcount are ours; each holder has the array once.
    if getrefcount(array) - 3 != len(holders):
        return False
    return owned(array) and _only(holders)


def _only(holders: dict[Node, int]) -> bool:
    """Whether every node is held exactly as often as counted, and by nobody else."""
    for holder in holders:  # noqa: SIM110 (a generator's frame would hold them too)
        # The dict's key, the loop variable and getrefcount's argument.
        if getrefcount(holder) - 3 != holders[holder]:
            return False
    return True


def donatable(wanted: list[Node]) -> frozenset[int]:
    """Inputs that nobody outside this trace holds, judged on the run that is being compiled."""
    order: dict[int, int] = {}
    holders: dict[int, dict[Node, int]] = {}
    arrays: list[Any] = []
    for n in wanted:
        for s in n.src:
            if s.__class__ is Node and s.value is not None:
                array = s.value
                k = order.get(id(array))
                if k is None:
                    k = order[id(array)] = len(order)
                    arrays.append(array)
                    holders[k] = {}
                holders[k][s] = holders[k].get(s, 0) + 1
    n = s = array = None  # type: ignore[assignment]
    found = []
    for k in range(len(arrays)):
        if not owned(arrays[k]):
            continue
        # Holders, `arrays`, the caller's `leaves` and getrefcount's argument.
        if getrefcount(arrays[k]) - 3 != len(holders[k]):
            continue
        if _only(holders[k]):
            found.append(k)
    return frozenset(found)
