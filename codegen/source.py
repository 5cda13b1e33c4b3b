"""The source of a plan: its memory, and the writer for the tiers that run it.

a device is used       device_calls.py     launches, and NumPy calls for what is on the CPU
loops, convolutions    segments.py         calls of segments, and NumPy calls between them
else                   numpy_calls.py      NumPy calls
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from lazyt.ir.graph import Graph, Value
from lazyt.ir.passes.fuse import Group, Grouping
from lazyt.ir.places import place
from lazyt.ir.types import TensorType

from .convolutions import ROLES as CONVOLUTIONS
from .device_calls import DeviceWriter
from .lower import Lowered, lower, overwritable
from .memory import plan_memory
from .numpy_calls import NumpyCode, Writer, blocked
from .segments import SegmentWriter
from .templates import MatrixUnits


def generate(
    grouping: Grouping,
    donatable: frozenset[int] = frozenset(),
    shared: frozenset[int] = frozenset(),
    strided: frozenset[int] = frozenset(),
    products: bool = False,
    units: Mapping[str, MatrixUnits] | None = None,
) -> NumpyCode:
    """NumPy code for a grouped graph, and segments of the C tier where the groups are loop nests.

    donatable: inputs that the caller may give up. shared: positions of the outputs that are views
    and may show memory of others; every other output gets memory of its own. strided: inputs that
    are not row-major. products: whether there are segments
    that may call BLAS. units: what the matrix units of
    devices compute.
    """
    assert grouping.graph is not None
    scattered = _scattered(grouping.graph, strided)
    lowered = {id(g): lower(g, scattered) for g in grouping.groups if g.kind == "loops"}
    grouping = _alike_together(grouping, lowered)
    graph = grouping.graph
    assert graph is not None
    inner: dict[Value, TensorType] = {}
    block_of: dict[Value, tuple[Group, int]] = {}
    ends: dict[Value, int] = {}
    position = {v: i for i, v in enumerate(graph.body)}
    nests: dict[Value, list[Value]] = {}
    nest_of: dict[Value, tuple[Group, Lowered]] = {}
    at_once = _at_once(grouping, lowered)
    for group in grouping.groups:
        if group.kind == "loops":
            nest = lowered[id(group)]
            others = [g for g in at_once.get(group.batch, ()) if g is not group]
            read = {place(s).root for g in others for s in lowered[id(g)].values}
            for v in group.values:
                nest_of[v] = (group, nest)
                if v.op.view:
                    continue
                ends[v] = max(position[g.values[-1]] for g in (group, *others))
                over = overwritable(nest, v) if v in group.outputs else []
                nests[v] = [s for s in over if place(s).root not in read]
                if group.lead is not None:  # in registers, and its operands are still read
                    taken = {group.lead, *(place(s).root for s in group.lead.operands())}
                    nests[v] = [s for s in nests[v] if place(s).root not in taken]
                if v not in group.outputs:
                    inner[v] = v.type
            continue
        rows = blocked(group)
        if rows:
            outputs = set(group.outputs)
            for v in group.values:
                block_of[v] = (group, rows)
                ends[v] = position[group.values[-1]]
                if v not in outputs:
                    inner[v] = v.type.with_shape((rows, *group.shape[1:]))
    memory = plan_memory(graph, donatable, inner, ends, nests)
    known = graph, memory, block_of, shared, scattered, nest_of
    if graph.devices() - {"cpu"}:
        return DeviceWriter(*known, units=units or {}).write()
    convolves = products and any(v.op.name in CONVOLUTIONS for v in graph.body)
    if not nest_of and not convolves:
        return Writer(*known).write()
    return SegmentWriter(*known, products=products).write()


def _alike_together(grouping: Grouping, lowered: dict[int, Lowered]) -> Grouping:
    """The nests of each batch in an order in which those of one text follow each other: what is
    computed of one element loops over nothing, so a scalar's text is not that of its neighbours.
    """
    graph = grouping.graph
    assert graph is not None
    position = {v: i for i, v in enumerate(graph.body)}
    body, groups = list(graph.body), []
    for number, run in itertools.groupby(grouping.groups, key=lambda g: g.batch):
        together = list(run)
        if number >= 0:
            start = position[together[0].values[0]]
            alike: dict[str, list[Group]] = {}
            for g in together:
                alike.setdefault(lowered[id(g)].text, []).append(g)
            together = [g for same in alike.values() for g in same]
            values = [v for g in together for v in g.values]
            body[start : start + len(values)] = values
        groups += together
    arranged = Graph(graph.inputs, graph.scalars, body, graph.outputs)
    return Grouping(groups, grouping.refusals, arranged)


def _at_once(grouping: Grouping, lowered: dict[int, Lowered]) -> dict[int, list[Group]]:
    """The nests of each batch that a device runs at the same time."""
    found: dict[int, list[Group]] = {}
    for g in grouping.groups:
        if g.batch >= 0 and g.kind == "loops" and lowered[id(g)].device != "cpu":
            found.setdefault(g.batch, []).append(g)
    return found


def _scattered(graph: Graph, strided: frozenset[int]) -> set[Value]:
    """Values that may lie in another order than row-major, which NumPy would hand on to results."""
    found = {v for v in graph.inputs if v.index in strided}
    for v in graph.body:
        passed_on = v.op.view or not v.op.has_out
        if v.op.name in ("permute", "as_strided", "expand") or (
            passed_on and not found.isdisjoint(v.operands())
        ):
            found.add(v)
    return found
