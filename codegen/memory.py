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
SAME_MEMORY = ("alias", "stop")  # views of all that there is


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
    planner = _Planner(graph, donatable, inner or {}, ends or {}, nests or {})
    for i, v in enumerate(graph.body):
        planner.assign(i, v)
        planner.release(i, v)
    return planner.plan


class _Planner:
    """The plan of a graph's memory so far, and what is free.

    last: where in the body a root is read last. shown: the pairs of a root and the end of a blocked
    group that reads it through a view. free: slots by what they may hold. slot_of: the slot of a
    value that lives. owner: the value that took over a root's buffer.
    """

    def __init__(
        self,
        graph: Graph,
        donatable: frozenset[int],
        inner: dict[Value, TensorType],
        ends: dict[Value, int],
        nests: dict[Value, list[Value]],
    ):
        self.donatable, self.inner, self.ends, self.nests = donatable, inner, ends, nests
        self.plan = MemoryPlan()
        self.roots = group_roots(graph)
        self.last: dict[Value, int] = {}
        self.shown: set[tuple[Value, int]] = set()
        for i, v in enumerate(graph.body):
            self._reads(i, v)
        self.dying: dict[int, list[Value]] = {}
        for root, end in self.last.items():
            self.dying.setdefault(end, []).append(root)
        self.escaping = {self.root(s) for v in graph.outputs for s in memory_of(v)}
        self.last_raise = max(
            (ends.get(v, i) for i, v in enumerate(graph.body) if v.op.raises(v.type)), default=-1
        )
        self.free: dict[Any, list[int]] = {}
        self.slot_of: dict[Value, int] = {}
        self.owner: dict[Value, Value] = {}

    def root(self, v: Value) -> Value:
        """The value whose memory `v` shows."""
        return self.roots.get(v, v)

    def _reads(self, i: int, v: Value) -> None:
        """Notes until where `v` needs its operands.

        A blocked group reads them block by block until its end, and a view of one may show rows of
        any block: then nothing of the group may overwrite the root. A loop nest reads all its
        operands until its end.
        """
        last, end = self.last, self.ends.get(v)
        last[self.root(v)] = i
        for s in v.operands():
            root, until = self.root(s), i
            if v in self.nests:
                until = self.ends[v]
            elif end is not None and root is not s:
                self.shown.add((root, end))
                until = end
            last[root] = max(until, last.get(root, i))

    # --- assigning --------------------------------------------------------------------------------

    def assign(self, i: int, v: Value) -> None:
        """Gives a value its memory, unless it has none of its own."""
        if v in self.inner:
            if v not in self.nests:
                self.plan.assignments[v] = Assignment(BLOCK, self._block_slot(v, i))
            return
        if v in self.roots:
            return
        taken = self._over_operand(v) if v in self.nests else self._in_place(v, i)
        if taken is not None:
            self.plan.assignments[v] = self._take(v, taken)
        elif self._own(v):
            self.plan.assignments[v] = Assignment(OWN)
        else:
            slot = self._slot(v.type, v.type, self.plan.slots)
            self.slot_of[v] = slot
            self.plan.assignments[v] = Assignment(SLOT, slot)

    def _own(self, v: Value) -> bool:
        """Whether a value has memory that no slot gives."""
        return (
            v in self.escaping
            or v.type.__class__ is tuple
            or v.type.device != "cpu"  # its memory comes from a pool, which costs nothing
            or not (v.op.has_out or v in self.nests)
        )

    def _slot(self, key: Any, type: TensorType, slots: list[TensorType]) -> int:
        """A free slot for what the key says, or a new one."""
        free = self.free.setdefault(key, [])
        if free:
            return free.pop()
        slots.append(type)
        return len(slots) - 1

    def _block_slot(self, v: Value, i: int) -> int | None:
        """A block-sized buffer for an inner value; None where NumPy's form takes no buffer."""
        if not v.op.has_out:
            return None
        type = self.inner[v]
        if overwrites_in_place(v):
            for s in v.operands():
                if s in self.slot_of and self.inner.get(s) is type and self.last[s] == i:
                    self.slot_of[v] = self.slot_of.pop(s)
                    return self.slot_of[v]
        self.slot_of[v] = self._slot((type, BLOCK), type, self.plan.blocks)
        return self.slot_of[v]

    def _take(self, v: Value, operand: Value) -> Assignment:
        """Writes a value over an operand."""
        target = self.root(operand)
        if target.op is None:
            self.plan.donated.append(target.index)
            if v in self.nests:
                self.owner[target] = v
            return Assignment(DONATED, operand)
        self.owner[target] = v
        if target in self.slot_of:
            self.slot_of[v] = self.slot_of.pop(target)
        return Assignment(PLACE, operand)

    def _in_place(self, v: Value, i: int) -> Value | None:
        """The operand that NumPy's form of `v` may overwrite, if any."""
        if not overwrites_in_place(v) or v.type.__class__ is tuple:
            return None
        if v.type.device != "cpu" and v.op.name not in DEVICE_UPDATES:
            return None  # NumPy computes it, in memory of its own
        operands = v.operands()
        for s in operands[:1] if v.op.kind == "update" else operands:
            root = self.root(s)
            if s.type is not v.type or not self._dies(s, i):
                continue
            if any(self.root(o) is root and o is not s for o in operands):
                continue
            if v in self.ends and (root, self.ends[v]) in self.shown:
                continue
            if v.op.kind == "update" and sum(o is s for o in operands) > 1:
                continue
            if root not in self.inner and self._may_take(v, root, i):
                return s
        return None

    def _over_operand(self, v: Value) -> Value | None:
        """The operand of its nest that an output `v` is written over, if any."""
        end = self.ends[v]
        for s in self.nests[v]:
            root = self.root(s)
            if self._dies(s, end) and root not in self.owner and self._may_take(v, root, end):
                return s
        return None

    def _dies(self, s: Value, end: int) -> bool:
        """Whether the operand shows all of some memory that nobody needs after that place."""
        root = self.root(s)
        whole = root is s or (root.type is s.type and s.op is not None and s.op.name in SAME_MEMORY)
        return whole and self.last.get(root) == end and root not in self.escaping

    def _may_take(self, v: Value, root: Value, end: int) -> bool:
        """Whether a value that is there at `end` may have the memory of a root that dies then."""
        if root.op is None:
            # What raises after a donation would leave a buffer half written.
            return root.index in self.donatable and end > self.last_raise
        return not (root in self.slot_of and v in self.escaping)

    # --- releasing --------------------------------------------------------------------------------

    def release(self, i: int, v: Value) -> None:
        """Frees what is read for the last time at a place of the body, where `v` is."""
        dead = []
        for s in self.dying.get(i, ()):
            if s in self.escaping:
                continue
            if s in self.slot_of:
                type = self.inner.get(s)
                slot = self.slot_of.pop(s)
                key = self.plan.slots[slot] if type is None else (type, BLOCK)
                self.free.setdefault(key, []).append(slot)
            elif s not in self.inner and s.op is not None and s not in self.owner:
                dead.append(s)
        if dead:
            self.plan.dies_after[v] = dead
