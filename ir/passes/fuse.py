"""Grouping into kernels: which operations run together, and why others do not.

A group is a set of elementwise operations over one iteration space (one shape) that is convex: no
path leaves it and comes back. A backend runs a group as one loop: the C family in registers, NumPy
in blocks of rows that stay in the cache. Every edge that is not fused is recorded with its reason.

    a = x * 2; b = a + y; c = b.sum(0); d = b - c     groups {a, b}, {d}: c needs all of b first
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..graph import Graph, Value
from ..places import shown_by

MAX_GROUP = 64


@dataclass(eq=False)
class Group:
    """values: the members in order. outputs: those that something outside reads.

    shape: the iteration space. kind: the primitive's kind for a group of one, "fused", or "loops"
    for a loop nest (fuse_loops.py). axes: those that the nest reduces. batch: nests of one number
    do the same to other arrays and need nothing of each other. total: the nest's rows are reduced
    to one number in turn. lead: the product whose kernel ends with the nest (fuse_epilogues.py),
    the first of the values.
    """

    values: list[Value]
    outputs: list[Value]
    shape: tuple[int, ...]
    kind: str
    axes: tuple[int, ...] = ()
    batch: int = -1
    total: bool = False
    lead: Value | None = None


@dataclass(frozen=True)
class Refusal:
    """An edge that was not fused; or, both ends being one, an operation that its device cannot
    compute."""

    producer: Value
    consumer: Value
    reason: str


@dataclass
class Grouping:
    """The groups in execution order, the refused edges, and the graph with members side by side."""

    groups: list[Group] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    graph: Graph | None = None

    def fused(self) -> list[Group]:
        """Only the groups of more than one operation."""
        return [g for g in self.groups if len(g.values) > 1]


def fuse(graph: Graph) -> Grouping:
    """Groups the body of an optimized graph and puts the members of each group side by side."""
    body = graph.body
    position = {v: i for i, v in enumerate(body)}
    above = _ancestors(body, position)
    group_of = list(range(len(body)))
    members: dict[int, list[int]] = {i: [i] for i in range(len(body))}
    refusals: list[Refusal] = []
    for i, v in enumerate(body):
        for s in dict.fromkeys(v.operands()):
            if s.op is None or s.op.view or v.op.view:
                continue
            reason = _refuses(s, v)
            if reason is None:
                a, b = group_of[position[s]], group_of[i]
                if a == b:
                    continue
                reason = _blocked(members[a], members[b], above, body)
                if reason is None:
                    for k in members.pop(b):
                        group_of[k] = a
                        members[a].append(k)
                    continue
            if s.op.kind not in ("constant",):
                refusals.append(Refusal(s, v, reason))
    return _assemble(graph, position, group_of, members, refusals)


def _refuses(s: Value, v: Value) -> str | None:
    """Why an edge can never be fused, or None."""
    if not v.op.elementwise:
        return f"{v.op.name} is a kernel of its own and reads the finished value"
    if not s.op.elementwise:
        return f"{s.op.name} is a kernel of its own and must be finished first"
    if s.type.shape != v.type.shape:
        return f"different iteration spaces: {list(s.type.shape)} and {list(v.type.shape)}"
    return None


def _ancestors(body: list[Value], position: dict[Value, int]) -> list[int]:
    """For every value a bitset of what it is computed from: A -> B -> C gives 0, 1, 3."""
    above: list[int] = []
    for v in body:
        bits = 0
        for s in v.operands():
            if s.op is not None:
                i = position[s]
                bits |= above[i] | 1 << i
        above.append(bits)
    return above


def _blocked(a: list[int], b: list[int], above: list[int], body: list[Value]) -> str | None:
    """Why two groups must not become one, or None."""
    if len(a) + len(b) > MAX_GROUP:
        return f"the group has reached {MAX_GROUP} operations"
    inside = 0
    for i in (*a, *b):
        inside |= 1 << i
    first, last = min(*a, *b), max(*a, *b)
    reaching = 0
    for i in (*a, *b):
        reaching |= above[i]
    # Something outside that lies after a member and before another would have to run in the middle.
    between = reaching & ~inside
    for w in range(first + 1, last):
        if between >> w & 1 and above[w] & inside:
            return f"a path between them runs through {body[w].op.name}, which is outside"
    return None


def _quotient(body, position, group_of, members):
    """The graph of groups: an edge where a member of one reads a member of another."""
    import networkx as nx

    quotient = nx.DiGraph()
    quotient.add_nodes_from(members)
    quotient.add_edges_from(
        {
            (group_of[position[s]], group_of[i])
            for i, v in enumerate(body)
            for s in v.operands()
            if s.op is not None and group_of[position[s]] != group_of[i]
        }
    )
    return quotient


def _break_cycles(quotient, body, position, group_of, members, refusals) -> None:
    """Dissolves the smallest group of every cycle: convex groups may still need each other first.

    {a, a'} and {b, b'} with a -> b and b' -> a' are convex each where b' does not depend on b.
    """
    import networkx as nx

    for cycle in nx.strongly_connected_components(quotient):
        if len(cycle) == 1:
            continue
        chosen = min((len(members[g]), g) for g in cycle if len(members[g]) > 1)[1]
        inside = set(members.pop(chosen))
        for i in sorted(inside):
            group_of[i] = i
            members[i] = [i]
            for s in dict.fromkeys(body[i].operands()):
                if s.op is not None and position[s] in inside:
                    refusals.append(
                        Refusal(s, body[i], "each of two groups would need the other first")
                    )


def _assemble(graph, position, group_of, members, refusals) -> Grouping:
    import networkx as nx

    body = graph.body
    quotient = _quotient(body, position, group_of, members)
    while not nx.is_directed_acyclic_graph(quotient):
        _break_cycles(quotient, body, position, group_of, members, refusals)
        quotient = _quotient(body, position, group_of, members)
    order = list(nx.lexicographical_topological_sort(quotient, key=lambda g: max(members[g])))
    users = graph.users()
    kept = set(graph.outputs)
    found = Grouping(refusals=refusals)
    arranged: list[Value] = []
    for g in order:
        values = [body[i] for i in sorted(members[g])]
        arranged += values
        if values[0].op.view:
            continue
        inside = set(values)
        outputs = [v for v in values if v in kept or any(u not in inside for u in users[v])]
        kind = "fused" if len(values) > 1 else values[0].op.kind
        shape = values[0].type.shape if values[0].type.__class__ is not tuple else ()
        found.groups.append(Group(values, outputs, shape, kind))
    found.graph = Graph(graph.inputs, graph.scalars, arranged, graph.outputs)
    return found


def escapes(v: Value, inside: set[Value], users: dict, kept: set[Value]) -> bool:
    """Whether anything outside reads a member, be it through a view."""
    if v in kept:
        return True
    return any(
        u not in inside or (u.op.view and shown_by(u) is v and escapes(u, inside, users, kept))
        for u in users[v]
    )
