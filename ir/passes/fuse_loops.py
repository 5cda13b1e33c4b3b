"""Grouping into loop nests: elementwise operations and reductions over one iteration space.

A nest has a shape and, once a reduction is in it, the axes that are reduced. Its members are *full*
(a value for every point of the shape) or *row* (one for every row: a point of the axes that are
left). A row may be read back by full members, which then run in a later stage over the same row:

    x - x.amax(1, keepdim=True).expand(...)      stage 1: the maximum of a row; stage 2: subtract

so softmax is one nest of three stages. What reduces the rows to one number, and what is computed
from that, are *total* members: they are finished after all rows (the mean of a loss).

Nests are convex, and every edge that is not fused is recorded with its reason. Views inside are
index arithmetic (ir/places.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..gathers import aligned, gathered
from ..graph import Graph, Scalar, Value
from ..ops_reduce import reduced
from ..places import Place, constant_of, counted, place
from ..types import TensorType, contiguous_strides
from .fuse import Group, Grouping, Refusal, _ancestors, escapes

LEVELS = ("full", "row", "total")
MAX_OPERATIONS = 96
MAX_ROOTS = 40
MAX_TOTALS = 16


@dataclass(frozen=True)
class Space:
    """An iteration space: the shape, the axes of it that are reduced, whether the rows are then
    reduced to one number, and the device that runs it."""

    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()
    total: bool = False
    device: str = "cpu"

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that a row member may have: reduced axes kept as extents of 1, or dropped."""
        if not self.axes:
            return ()
        return reduced(self.shape, self.axes, True), reduced(self.shape, self.axes, False)

    def is_row(self, shape: tuple[int, ...]) -> bool:
        """Whether a value of that shape is a row member."""
        return shape != self.shape and shape in self.rows()

    def level(self, v: Value) -> str:
        """How often a member is computed: at every point ("full"), once a "row", or in "total"."""
        if self.total and v.type.numel == 1:
            return "total"
        return "row" if v.op.kind == "reduce" or self.is_row(v.type.shape) else "full"


def loops(v: Value, can: Callable[[Value], bool]) -> bool:
    """Whether a value can be computed in a loop nest, by a tier that says of which it can."""
    if v.op.view or not all(map(_carried, (v, *v.operands()))):
        return False
    if v.op.kind == "reduce" and not v.arg[0]:
        return False
    gather = gathered(v)
    if gather is not None and (_is_constant(gather.table) or not gather.chosen):
        return False  # a constant has no memory
    return can(v)


def _carried(v: Value) -> bool:
    """Whether loops can hold a value: one array, not empty."""
    return v.type.__class__ is TensorType and v.type.numel > 0


def space_of(v: Value) -> Space:
    """The iteration space of one operation."""
    if v.op.kind == "reduce":
        return Space(v.src[0].type.shape, tuple(v.arg[0]), device=v.type.device)
    return Space(v.type.shape, device=v.type.device)


def joined(a: Space, b: Space) -> Space | str:
    """The space of two nests together, or why there is none."""
    if a.device != b.device:
        return f"one runs on {a.device}, the other on {b.device}"
    if a.shape == b.shape:
        if a.axes and b.axes and a.axes != b.axes:
            return f"one reduces the axes {list(a.axes)}, the other {list(b.axes)}"
        return Space(a.shape, a.axes or b.axes, a.total or b.total, a.device)
    for rows, other in ((a, b), (b, a)):
        if rows.is_row(other.shape) and not other.axes:
            return rows
        if rows.total and math.prod(other.shape) == 1:
            return rows
        whole = len(other.axes) == len(other.shape) and math.prod(other.shape) > 1
        if whole and rows.is_row(other.shape):
            return Space(rows.shape, rows.axes, True, rows.device)
    return f"different iteration spaces: {list(a.shape)} and {list(b.shape)}"


def over(found: Place, shape: tuple[int, ...], target: tuple[int, ...], space: Space) -> tuple:
    """The strides over the axes of a space of an operand of `shape`, read by an operation of the
    shape `target` (the space's own, or that of a row)."""
    lead = len(target) - len(shape)
    strides = (0,) * lead + tuple(
        0 if n == 1 != m else k for n, m, k in zip(shape, target[lead:], found.strides)
    )
    if target == space.shape or not space.axes:
        return strides
    if space.total and math.prod(target) == 1:
        return (0,) * len(space.shape)
    if len(target) == len(space.shape):
        return tuple(0 if i in space.axes else k for i, k in enumerate(strides))
    rest = iter(strides)
    return tuple(0 if i in space.axes else next(rest) for i in range(len(space.shape)))


def own_strides(v: Value, space: Space) -> tuple:
    """The strides over a space of a member's own row-major memory."""
    shape = v.type.shape
    return over(Place(v, contiguous_strides(shape)), shape, shape, space)


def reads_own_point(reader: Value, s: Value, found: Place, space: Space) -> bool:
    """Whether `reader` reads of a member of its nest, at every point, the value of that point."""
    target = reader.src[0].type.shape if reader.op.kind == "reduce" else reader.type.shape
    found, shape = aligned(reader, s, found)
    seen = over(found, shape, target, space)
    made = own_strides(found.root, space)
    return all(n == 1 or a == b for n, a, b in zip(space.shape, seen, made))


@dataclass(eq=False)
class _Nest:
    """roots: what is read from outside. mask, above: bitsets of its members, and of what they are
    computed from; kept for nests of several members."""

    space: Space
    members: set[int]
    roots: set[Value]
    mask: int = 0
    above: int = 0


def fuse_loops(graph: Graph, can: Callable[[Value], bool]) -> Grouping:
    """Groups the body of an optimized, decomposed graph into loop nests.

    can: whether the tier computes an operation in loops. Everything else is a group of its own.
    """
    return _Fuser(graph, can).run()


class _Fuser:
    def __init__(self, graph: Graph, can: Callable[[Value], bool]):
        self.graph = graph
        self.body = graph.body
        self.position = {v: i for i, v in enumerate(self.body)}
        self.above = _ancestors(self.body, self.position)
        self.places = {v: place(v) for v in [*graph.inputs, *self.body] if _placed(v)}
        self.looped = {v for v in self.body if loops(v, can)}
        self.nest_of: dict[int, _Nest] = {}
        self.refusals: list[Refusal] = []
        self.large: list[_Nest] = []  # those of several members
        self.direct = [self._operands(v) for v in self.body]
        # Views that only show what their root holds run with it.
        self.shown: dict[int, set[int]] = {}
        for i, v in enumerate(self.body):
            if v.op.view and v.op.name != "get" and v in self.places:
                root = self.places[v].root
                if root in self.position and root is not v:
                    self.shown.setdefault(self.position[root], set()).add(i)

    def _operands(self, v: Value) -> int:
        bits = 0
        for s in v.operands():
            if s in self.position:
                bits |= 1 << self.position[s]
        return bits

    def run(self) -> Grouping:
        for i, v in enumerate(self.body):
            if v in self.looped:
                self.nest_of[i] = _Nest(space_of(v), {i}, self._roots(v))
                self._join_producers(i, v)
        # Nests that have learnt which axes are reduced take in what has one value a row.
        self.refusals.clear()
        for i, v in enumerate(self.body):
            if v in self.looped:
                self._join_producers(i, v)
        self._join_siblings()
        return self._assemble()

    def _roots(self, v: Value) -> set[Value]:
        return {self.places[s].root for s in v.operands() if not _is_constant(s)}

    def _join_producers(self, i: int, v: Value) -> None:
        for s in dict.fromkeys(v.operands()):
            root = self.places[s].root
            p = self.position.get(root)
            if p is None or _is_constant(s):
                continue
            if root not in self.looped:
                what = f"{root.op.name} is a kernel of its own and must be finished first"
                self.refusals.append(Refusal(root, v, what))
                continue
            a, b = self.nest_of[p], self.nest_of[i]
            if a is not b:
                reason = self._merge(a, b)
                if reason is not None:
                    self.refusals.append(Refusal(root, v, reason))

    def _join_siblings(self) -> None:
        """Nests over one space share a loop where they read the same memory, or reduce alike."""
        readers: dict[Any, list[_Nest]] = {}
        for nest in dict.fromkeys(self.nest_of.values()):
            for key in (*nest.roots, *([nest.space] if nest.space.axes else [])):
                readers.setdefault(key, []).append(nest)
        for nests in readers.values():
            for k, first in enumerate(nests):
                for other in nests[k + 1 :]:
                    a, b = self._now(first), self._now(other)
                    if a is not b and a.space.shape == b.space.shape:
                        self._merge(a, b)

    def _now(self, nest: _Nest) -> _Nest:
        return self.nest_of[next(iter(nest.members))]

    def _merge(self, a: _Nest, b: _Nest) -> str | None:
        """Makes one nest of two, or says why not."""
        space = joined(a.space, b.space)
        if isinstance(space, str):
            return space
        members, roots = a.members | b.members, a.roots | b.roots
        if len(members) > MAX_OPERATIONS or len(roots) > MAX_ROOTS:
            return "the nest has become too large"
        values = [self.body[i] for i in members] if space.total else []
        if sum(v.op.kind == "reduce" and v.type.numel == 1 for v in values) > MAX_TOTALS:
            return "the nest has become too large"
        reason = self._blocked(members) or self._misread(members, space)
        if reason is not None:
            return reason
        merged = _Nest(space, members, roots - {self.body[i] for i in members})
        for i in members:
            self.nest_of[i] = merged
        merged.mask = self._mask(members)
        merged.above = self._above(merged.mask)
        self.large.append(merged)
        return None

    def _blocked(self, members: set[int]) -> str | None:
        """Why something outside would have to run after some members and before others, or None."""
        inside = self._mask(members)
        entry = 0
        for i in members:
            entry |= self.direct[i]
        before = self._above(entry & ~inside)
        nests = {id(n): n for n in self.large if self.nest_of[min(n.members)] is n}
        self.large = list(nests.values())
        while not before & inside:
            found = [n for n in nests.values() if before & n.mask]
            if not found:
                return None
            for n in found:
                before |= n.mask | n.above
                del nests[id(n)]
        last = (before & ~inside).bit_length() - 1
        return f"{self.body[last].op.name} would have to run between them"

    def _mask(self, members: Iterable[int]) -> int:
        """A bitset of members and the views that only show them."""
        found = 0
        for i in members:
            found |= 1 << i
            for w in self.shown.get(i, ()):
                found |= 1 << w
        return found

    def _above(self, bits: int) -> int:
        """What some values are computed from, and they themselves."""
        found = bits
        while bits:
            i = bits.bit_length() - 1
            found |= self.above[i]
            bits &= ~(1 << i | self.above[i])
        return found

    def _misread(self, members: set[int], space: Space) -> str | None:
        """Why a member would read what another point computes, or None."""
        for i in members:
            v = self.body[i]
            for s in v.operands():
                found = self.places[s]
                p = self.position.get(found.root)
                if p not in members or _is_constant(s):
                    continue
                gather = gathered(v)
                if gather is not None and s is gather.table:
                    return f"{v.op.name} reads {found.root.op.name} where its indices say"
                read, level = space.level(found.root), space.level(v)
                if read == "total" and level != "total":
                    return f"{v.op.name} needs all rows of {found.root.op.name}"
                if not reads_own_point(v, s, found, space):
                    return f"{v.op.name} reads other elements of {found.root.op.name}"
                expected = {"row": "full", "total": "row"}.get(level)
                if v.op.kind == "reduce" and read != expected:
                    return f"{v.op.name} would reduce the results of a reduction"
                if v.op.kind != "reduce" and LEVELS.index(read) < LEVELS.index(level):
                    return f"{v.op.name} has one value a {level}, {found.root.op.name} more"
        return None

    def _assemble(self) -> Grouping:
        import networkx as nx

        body, position = self.body, self.position
        owner: dict[int, int] = {i: i for i in range(len(body))}
        members: dict[int, set[int]] = {i: {i} for i in range(len(body))}
        for nest in dict.fromkeys(self.nest_of.values()):
            first = min(nest.members)
            inside = set(nest.members)
            for i in nest.members:
                inside |= self.shown.get(i, set())
            for i in inside:
                owner[i] = first
                members.pop(i, None)
            members[first] = inside
        quotient = nx.DiGraph()
        quotient.add_nodes_from(members)
        quotient.add_edges_from(
            (owner[position[s]], owner[i])
            for i, v in enumerate(body)
            for s in v.operands()
            if s in position and owner[position[s]] != owner[i]
        )
        batches = self._batches(quotient, members)
        joined = nx.quotient_graph(quotient, list(batches.values()), relabel=False)
        last = lambda batch: max(max(members[g]) for g in batch)
        order = nx.lexicographical_topological_sort(joined, key=last)
        return self._grouping([sorted(batch) for batch in order], members)

    def _batches(self, quotient: Any, members: dict[int, set[int]]) -> dict[Any, set[int]]:
        """Nests that do the same, as far from the end of the graph of nests as each other, so that
        none needs another: an optimizer's, of every parameter."""
        import networkx as nx

        found: dict[Any, set[int]] = {}
        for depth, level in enumerate(nx.topological_generations(quotient.reverse(copy=False))):
            for g in level:
                v = self.body[min(members[g])]
                key = (depth, self._signature(members[g])) if v in self.looped else g
                found.setdefault(key, set()).add(g)
        return found

    def _signature(self, members: set[int]) -> tuple:
        """What a nest does, whatever the arrays and their extents."""
        inside = {self.body[i]: k for k, i in enumerate(sorted(members))}
        outside: dict[Value, int] = {}
        told: list[Any] = []
        for v in inside:
            told.append((v.op.name, v.type.dtype.name, v.op.name == "cast" and v.arg))
            for s in v.src:
                if s.__class__ is not Value:
                    told.append(("s" if s.__class__ is Scalar else s, s.__class__))
                    continue
                constant = constant_of(s)
                if constant is not None:
                    s = constant.src[0]
                    told.append(("s" if s.__class__ is Scalar else s, s.__class__))
                elif s in inside:
                    told.append(("m", inside[s]))
                else:
                    told.append(("x", outside.setdefault(s, len(outside)), s.type.dtype.name))
        return tuple(told)

    def _grouping(self, order: list[list[int]], members: dict[int, set[int]]) -> Grouping:
        users = self.graph.users()
        kept = set(self.graph.outputs)
        found = Grouping(refusals=self.refusals)
        arranged: list[Value] = []
        for number, g in ((n, g) for n, batch in enumerate(order) for g in batch):
            values = [self.body[i] for i in sorted(members[g])]
            arranged += values
            inside = set(values)
            outputs = [v for v in values if not v.op.view and escapes(v, inside, users, kept)]
            if values[0].op.view:
                continue
            kind, shape = values[0].op.kind, values[0].type.shape if _typed(values[0]) else ()
            axes: tuple[int, ...] = ()
            total = False
            if values[0] in self.looped:
                nest = self.nest_of[self.position[values[0]]]
                kind, shape, axes = "loops", nest.space.shape, nest.space.axes
                total = nest.space.total
            batch = number if len(order[number]) > 1 else -1
            found.groups.append(Group(values, outputs, shape, kind, axes, batch, total))
        found.graph = Graph(self.graph.inputs, self.graph.scalars, arranged, self.graph.outputs)
        return found


def _typed(v: Value) -> bool:
    return v.type.__class__ is TensorType


def _placed(v: Value) -> bool:
    return _typed(v) and (v.op is None or v.op.name != "get" or _typed(v))


def _is_constant(s: Value) -> bool:
    """Whether an operand needs no memory: a constant tensor, or a count along an axis."""
    return constant_of(s) is not None or counted(s)
