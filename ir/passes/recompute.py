"""Values that loop nests compute again, where reading them would move more memory.

    hit = eq(target, classes)      bool[4096,1000] from int64[4096,1]: 4 MB from 32 kB

A nest that hands such a value to another stores all of it; the other computes it from the small
operands for nothing. So every nest that reads it gets a copy of the operation.
"""

from __future__ import annotations

from ..cost import nbytes
from ..graph import Graph, Value
from ..places import counted, place
from .fuse import Group, Grouping


def recompute(grouping: Grouping) -> Graph | None:
    """The graph of some loop nests with such values copied; None where there are none."""
    graph = grouping.graph
    assert graph is not None
    nest_of = {v: g for g in grouping.groups if g.kind == "loops" for v in g.values}
    users, kept = graph.users(), set(graph.outputs)
    copied = {
        v
        for g in grouping.groups
        if g.kind == "loops" and g.batch < 0
        for v in g.outputs
        if v not in kept and _small(v) and all(u in nest_of and not u.op.view for u in users[v])
    }
    return _with_copies(graph, copied, nest_of) if copied else None


def _small(v: Value) -> bool:
    """Whether an elementwise value is more than twice as large as all that it is computed from."""
    if not v.op.elementwise or v.op.raises(v.type):
        return False
    roots = {place(s).root for s in v.operands() if not counted(s)}
    return 2 * sum(nbytes(r.type) for r in roots) <= nbytes(v.type)


def _with_copies(graph: Graph, copied: set[Value], nest_of: dict[Value, Group]) -> Graph:
    new: dict[Value, Value] = {}
    copies: dict[tuple[Value, int], Value] = {}
    body: list[Value] = []

    def own(s: Value, reader: Value) -> Value:
        """What a reader sees of an operand: a copy of its nest's own, where there are copies."""
        if s not in copied or nest_of[reader] is nest_of[s]:
            return new.get(s, s)
        key = s, id(nest_of[reader])
        if key not in copies:
            copies[key] = made(s, reader)
            body.append(copies[key])
        return copies[key]

    def made(v: Value, reader: Value) -> Value:
        src = tuple(own(s, reader) if s.__class__ is Value else s for s in v.src)
        return Value(v.op, src, v.arg, v.type, v.origin)

    for v in graph.body:
        new[v] = made(v, v)
        body.append(new[v])
    return Graph(graph.inputs, graph.scalars, body, [new.get(v, v) for v in graph.outputs])
