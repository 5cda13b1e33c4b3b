"""Where each value of a graph lives: live ranges, reuse, donation.

Values that share memory (a view and what it looks at) form a group, named by its root. A group
whose last use is past frees its buffer. A result gets, in this order,

    in place   the buffer of an operand that dies here, where the primitive reads element i only to
               write element i; that operand may be an input the caller donates,
    a slot     of the plan's workspace: kept between runs, so no run pays for fresh pages,
    its own    memory, allocated by NumPy or from a device's pool: everything that is kept after the
               run, and everything on a device.

    x1 = exp(x0); x2 = x1 * 2; keep x2   ->   x1: slot 0, x2: its own; the slot is free again
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lazyt.ir.graph import Graph, Value
from lazyt.ir.places import shown_by
from lazyt.ir.types import TensorType

OWN, SLOT, PLACE, DONATED, BLOCK = "own", "slot", "in place", "donated", "block"
DEVICE_UPDATES = ("strided_update",)  # updates that devices do themselves


@dataclass
class Assignment:
    """How one value gets its memory; `of` is the slot number, or the operand it overwrites.

    A value inside a blocked group (kind "block") exists only a block of rows at a time.
    """

    kind: str
    of: int | Value | None = None


@dataclass
class MemoryPlan:
    assignments: dict[Value, Assignment] = field(default_factory=dict)
    slots: list[TensorType] = field(default_factory=list)
    blocks: list[TensorType] = field(default_factory=list)
    donated: list[int] = field(default_factory=list)
    dies_after: dict[Value, list[Value]] = field(default_factory=dict)


def memory_of(v: Value) -> list[Value]:
    """The values whose memory a value shows: itself, or those that a tuple of views gathers."""
    return v.operands() if v.op is not None and v.op.view and v.type.__class__ is tuple else [v]


def group_roots(graph: Graph) -> dict[Value, Value]:
    """For every view, the value whose memory it shows."""
    roots: dict[Value, Value] = {}
    for v in graph.body:
        if v.op.view:
            shown = shown_by(v)
            roots[v] = roots.get(shown, shown)
    return roots


def last_uses(
    graph: Graph,
    roots: dict[Value, Value],
    ends: dict[Value, int],
    nested: frozenset[Value] = frozenset(),
) -> tuple[dict[Value, int], set[tuple[Value, int]]]:
    """The position in the body after which nothing reads a group of values that share memory.

    A blocked group reads its operands block by block until its end, and a view of one may show rows
    of any block: then nothing of the group may overwrite the root. Also returned: the pairs of such
    a root and the end of the group. A loop nest (`nested`: its members) reads all its operands
    until its end.
    """
    last: dict[Value, int] = {}
    shown: set[tuple[Value, int]] = set()
    for i, v in enumerate(graph.body):
        last[roots.get(v, v)] = i
        end = ends.get(v)
        for s in v.operands():
            root = roots.get(s, s)
            if v in nested:
                last[root] = max(ends[v], last.get(root, i))
            elif end is not None and root is not s:
                shown.add((root, end))
                last[root] = max(end, last[root])
            else:
                last[root] = max(i, last.get(root, i))
    return last, shown


def overwrites_in_place(v: Value) -> bool:
    """Whether NumPy's form of `v` may write its result over an operand."""
    return v.op.has_out and (
        (v.op.elementwise and v.op.numpy.startswith("np.")) or v.op.kind == "update"
    )


def plan_memory(
    graph: Graph,
    donatable: frozenset[int] = frozenset(),
    inner: dict[Value, TensorType] | None = None,
    ends: dict[Value, int] | None = None,
    nests: dict[Value, list[Value]] | None = None,
) -> MemoryPlan:
    """Assigns memory to every value of `graph`.

    donatable: numbers of the inputs whose buffers the caller gives up if the run may have them.
    inner: values that only their own blocked group reads, with the type of one block of them.
    ends: for the members of blocked groups and loop nests, where in the body their group ends.
    nests: the members of loop nests, and which operands of its nest each may be written over. Those
    in `inner` exist in registers only.
    """
    inner = inner or {}
    ends = ends or {}
    nests = nests or {}
    roots = group_roots(graph)
    last, shown = last_uses(graph, roots, ends, frozenset(nests))
    dying: dict[int, list[Value]] = {}
    for root, end in last.items():
        dying.setdefault(end, []).append(root)
    escaping = {roots.get(s, s) for v in graph.outputs for s in memory_of(v)}
    plan = MemoryPlan()
    free: dict[Any, list[int]] = {}
    slot_of: dict[Value, int] = {}
    last_raise = max(
        (ends.get(v, i) for i, v in enumerate(graph.body) if v.op.raises(v.type)), default=-1
    )
    owner: dict[Value, Value] = {}  # a root that took over another root's buffer

    for i, v in enumerate(graph.body):
        if v in nests and v in inner:
            pass
        elif v in inner:
            slot = _block_slot(v, i, inner, last, slot_of, free, plan)
            plan.assignments[v] = Assignment(BLOCK, slot)
        elif v not in roots:
            if v in nests:
                known = roots, last, escaping, slot_of, donatable, last_raise, owner
                place = _over_operand(v, ends[v], nests[v], *known)
            else:
                place = _in_place(
                    v, i, roots, last, escaping, slot_of, donatable, last_raise, inner, ends, shown
                )
            if place is not None:
                target = roots.get(place, place)
                if target.op is None:
                    plan.assignments[v] = Assignment(DONATED, place)
                    plan.donated.append(target.index)
                else:
                    plan.assignments[v] = Assignment(PLACE, place)
                    owner[target] = v
                    if target in slot_of:
                        slot_of[v] = slot_of.pop(target)
            elif (
                v in escaping
                or v.type.__class__ is tuple
                or v.type.device != "cpu"  # its memory comes from a pool, which costs nothing
                or not (v.op.has_out or v in nests)
            ):
                plan.assignments[v] = Assignment(OWN)
            else:
                slots = free.setdefault(v.type, [])
                if slots:
                    slot = slots.pop()
                else:
                    slot = len(plan.slots)
                    plan.slots.append(v.type)
                slot_of[v] = slot
                plan.assignments[v] = Assignment(SLOT, slot)
        dead = []
        for s in dying.get(i, ()):
            if s not in escaping:
                if s in inner:
                    if s in slot_of:
                        slot = slot_of.pop(s)
                        free.setdefault((inner[s], BLOCK), []).append(slot)
                elif s in slot_of:
                    slot = slot_of.pop(s)
                    free.setdefault(plan.slots[slot], []).append(slot)
                elif s.op is not None and s not in owner:
                    dead.append(s)
        if dead:
            plan.dies_after[v] = dead
    return plan


def _block_slot(v, i, inner, last, slot_of, free, plan) -> int | None:
    """A block-sized buffer for an inner value; None where NumPy's form takes no buffer."""
    if not v.op.has_out:
        return None
    if overwrites_in_place(v):
        for s in v.operands():
            if s in slot_of and inner.get(s) is inner[v] and last[s] == i:
                slot_of[v] = slot_of.pop(s)
                return slot_of[v]
    slots = free.setdefault((inner[v], BLOCK), [])
    if slots:
        slot = slots.pop()
    else:
        slot = len(plan.blocks)
        plan.blocks.append(inner[v])
    slot_of[v] = slot
    return slot


def _in_place(v, i, roots, last, escaping, slot_of, donatable, last_raise, inner, ends, shown):
    """The operand of `v` that it may overwrite, if any."""
    if not overwrites_in_place(v) or v.type.__class__ is tuple:
        return None
    if v.type.device != "cpu" and v.op.name not in DEVICE_UPDATES:
        return None  # NumPy computes it, in memory of its own
    operands = v.operands()
    candidates = operands[:1] if v.op.kind == "update" else operands
    for s in candidates:
        root = roots.get(s, s)
        if root is not s and not (root.type is s.type and _identity(s)):
            continue
        if s.type is not v.type or last.get(root) != i or root in escaping:
            continue
        if any(roots.get(o, o) is root and o is not s for o in operands):
            continue
        if v in ends and (root, ends[v]) in shown:
            continue
        if v.op.kind == "update" and sum(o is s for o in operands) > 1:
            continue
        if root.op is None:
            # What raises after a donation would leave a buffer half written.
            if root.index in donatable and i > last_raise:
                return s
            continue
        if root in inner or (root in slot_of and v in escaping):
            continue
        return s
    return None


def _over_operand(
    v, end, candidates, roots, last, escaping, slot_of, donatable, last_raise, owner
) -> Value | None:
    """The operand of its nest that an output `v` is written over, if any."""
    for s in candidates:
        root = roots.get(s, s)
        if root is not s and not (root.type is s.type and _identity(s)):
            continue
        if last.get(root) != end or root in escaping or root in owner:
            continue
        if root.op is None:
            if root.index in donatable and end > last_raise:
                owner[root] = v
                return s
            continue
        if root in slot_of and v in escaping:
            continue
        return s
    return None


def _identity(s: Value) -> bool:
    return s.op is not None and s.op.name in ("alias", "stop")
