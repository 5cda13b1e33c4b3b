"""The loop nests of a graph: the passes that only tiers with generated loops need.

    decompose ─ narrow_products* ─ cse, dce ─ materialize* ─
    fuse_loops ─ recompute ─ fuse_epilogues*

(*: on devices.)

Which operations are loops is for the expression tables to say (cstyle.py), and which products take
what follows them for the templates.
"""

from __future__ import annotations

from lazyt.ir.graph import Graph, Value
from lazyt.ir.passes.cse import eliminate_common_subexpressions
from lazyt.ir.passes.dce import eliminate_dead_code
from lazyt.ir.passes.decompose import decompose
from lazyt.ir.passes.fuse import Grouping
from lazyt.ir.passes.fuse_epilogues import fuse_epilogues
from lazyt.ir.passes.fuse_loops import fuse_loops, loops
from lazyt.ir.passes.materialize import materialize
from lazyt.ir.passes.narrow_products import narrow_products
from lazyt.ir.passes.recompute import recompute
from lazyt.ir.types import TensorType, contiguous_strides

from .cstyle import can
from .templates import TEMPLATES, template


def on_devices(graph: Graph) -> bool:
    """Whether anything in a graph is on a device."""
    return bool(graph.devices() - {"cpu"})


def on_device(v: Value) -> bool:
    """Whether a value, or the first of several results, is on a device."""
    type = v.type[0] if v.type.__class__ is tuple else v.type
    return type.device != "cpu"


def loop_nests(graph: Graph, native: bool = True) -> Grouping:
    """The loop nests of an optimized graph: on devices, and (native) on the CPU in the C tier."""

    def here(v: Value) -> bool:
        return native or on_device(v)

    def may(v: Value) -> bool:
        return here(v) and can(v)

    devices = on_devices(graph)
    graph = decompose(graph, here)
    if devices:
        graph = narrow_products(graph, takes_epilogues)
    graph = eliminate_dead_code(eliminate_common_subexpressions(graph))
    if devices:
        graph = materialize(graph, {v for v in graph.body if loops(v, may)})
    grouping = fuse_loops(graph, may)
    again = recompute(grouping)
    if again is not None:
        grouping = fuse_loops(eliminate_dead_code(again), may)
    return fuse_epilogues(grouping, takes_epilogues) if devices else grouping


def takes_epilogues(v: Value) -> bool:
    """Whether a value is a product on a device whose kernel can end with what follows it."""
    if v.type.__class__ is not TensorType or not on_device(v) or not v.type.numel:
        return False
    if v.op is None or v.op.name not in TEMPLATES:
        return False
    return template(v, [contiguous_strides(s.type.shape) for s in v.operands()]) is not None
