"""What follows a product rides on it: a nest that reads each element of a product once, and nothing
else does, becomes the end of the product's own kernel.

    y = relu(x @ w + b)      one kernel: the sum, the bias and the comparison stay in registers

For tiers whose products are generated code (devices). The nest must be elementwise over the
product's shape; a reduction needs the product's elements in another order than they are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..gathers import gathered
from ..graph import Graph, Value
from ..places import constant_of, place
from .fuse import Group, Grouping, Refusal, escapes
from .fuse_loops import Space, reads_own_point


def fuse_epilogues(grouping: Grouping, has_kernel: Callable[[Value], bool]) -> Grouping:
    """The grouping with nests joined to the products that they end.

    has_kernel: whether a value is computed by a kernel that takes what follows it. The product is
    then `lead` of the nest's group, and stands before its values.
    """
    graph = grouping.graph
    assert graph is not None
    users, kept = graph.users(), set(graph.outputs)
    found = Grouping()
    led: dict[Value, Group] = {}
    asked: set[tuple[Value, Value]] = set()  # edges that are decided here
    for g in grouping.groups:
        if g.kind != "loops":
            continue
        readers: dict[Value, Value] = {}
        for v in g.values:
            for s in v.operands():
                readers.setdefault(place(s).root, v)
        for lead, reader in readers.items():
            if lead in led or lead in g.values or lead.op is None or not has_kernel(lead):
                continue
            asked.update((lead, v) for v in g.values)
            reason = _refuses(lead, g, users, kept)
            if reason is None:
                led[lead] = g
                break
            found.refusals.append(Refusal(lead, reader, reason))
    before = [r for r in grouping.refusals if (r.producer, r.consumer) not in asked]
    found.refusals[:0] = before
    lead_of = {id(g): lead for lead, g in led.items()}
    for g in grouping.groups:
        own = lead_of.get(id(g))
        if own is not None:
            found.groups.append(replace(g, values=[own, *g.values], lead=own))
        elif not any(v in led for v in g.values):
            found.groups.append(g)
    first = {g.values[0]: lead for lead, g in led.items()}
    body: list[Value] = []
    for v in graph.body:
        if v not in led:
            body += [first[v], v] if v in first else [v]
    found.graph = Graph(graph.inputs, graph.scalars, body, graph.outputs)
    return found


def _refuses(lead: Value, g: Group, users: dict, kept: set[Value]) -> str | None:
    """Why a nest cannot be the end of a product's kernel, or None."""
    if g.batch >= 0:
        return "the nest runs at once with others that do the same"
    if g.axes or g.total:
        return "a reduction needs the whole product first"
    if lead.type.shape != g.shape:
        return f"the product has the shape {list(lead.type.shape)}, the nest {list(g.shape)}"
    if escapes(lead, set(g.values), users, kept):
        return "others read the product too"
    space = Space(g.shape, device=lead.type.device)
    for v in g.values:
        if gathered(v) is not None:
            return f"{v.op.name} reads by index"
        for s in v.operands():
            found = place(s)
            reads = found.root is lead and constant_of(s) is None and not v.op.view
            if reads and not reads_own_point(v, s, found, space):
                return f"{v.op.name} reads other elements of the product"
    return None
