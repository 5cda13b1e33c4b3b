"""How a graph is grouped for the tiers that run it, and the passes that generated loops need.

    NumPy tier           fuse
    C tier, devices      decompose ─ narrow_products* ─ cse, dce ─ materialize* ─ fuse_loops
                         ─ recompute ─ fuse_epilogues* (*: on devices)

Which operations are loops is for the expression tables to say (cstyle.py), and which have a kernel
of their own that takes what follows them for the templates. What has neither on a device is
computed on the host, and that is written down as a refusal.
"""

from __future__ import annotations

from lazyt.ir.graph import Graph, Value
from lazyt.ir.passes.cse import eliminate_common_subexpressions
from lazyt.ir.passes.dce import eliminate_dead_code
from lazyt.ir.passes.decompose import decompose
from lazyt.ir.passes.fuse import Grouping, Refusal, fuse
from lazyt.ir.passes.fuse_epilogues import fuse_epilogues
from lazyt.ir.passes.fuse_loops import fuse_loops, loops
from lazyt.ir.passes.materialize import materialize, needs_memory
from lazyt.ir.passes.narrow_products import narrow_products
from lazyt.ir.passes.recompute import recompute
from lazyt.ir.types import TensorType, contiguous_strides

from .cstyle import C_TYPES, can
from .memory import DEVICE_UPDATES
from .templates import TEMPLATES, WHOLE, template, whole


def on_devices(graph: Graph) -> bool:
    """Whether anything in a graph is on a device."""
    return bool(graph.devices() - {"cpu"})


def on_device(v: Value) -> bool:
    """Whether a value, or the first of several results, is on a device."""
    type = v.type[0] if v.type.__class__ is tuple else v.type
    return type.device != "cpu"


def grouped(graph: Graph, native: bool) -> Grouping:
    """How an optimized graph is grouped by the tiers that run it: on devices by loop nests, on the
    CPU too in the C tier (native), else as the NumPy tier does."""
    return loop_nests(graph, native) if native or on_devices(graph) else fuse(graph)


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
    if not devices:
        return grouping
    grouping = fuse_epilogues(grouping, takes_epilogues)
    grouping.refusals += [Refusal(v, v, no_kernel(v)) for v in _hosted(grouping)]
    return grouping


def _hosted(grouping: Grouping) -> list[Value]:
    """What is on a device and computed on the host; constants that only loops read are not."""
    graph = grouping.graph
    assert graph is not None
    alone = [g.values[0] for g in grouping.groups if g.kind != "loops"]
    looped = {v for g in grouping.groups if g.kind == "loops" for v in g.values}
    users, kept = graph.users(), set(graph.outputs)
    return [
        v
        for v in alone
        if by_host(v) and (v.op.kind != "constant" or needs_memory(v, users, kept, looped))
    ]


def takes_epilogues(v: Value) -> bool:
    """Whether a value is a product on a device, by a kernel that can end with what follows it."""
    return v.op is not None and v.op.name in TEMPLATES and has_own_kernel(v)


def has_own_kernel(v: Value) -> bool:
    """Whether an operation is on a device, by a kernel of its own."""
    return on_device(v) and has_template(v)


def has_template(v: Value) -> bool:
    """Whether an operation has a kernel of its own, wherever it runs."""
    types = v.type if v.type.__class__ is tuple else (v.type,)
    if v.op is None or not all(t.numel for t in types):
        return False
    if any(t.dtype.name not in C_TYPES for t in (*types, *(s.type for s in v.operands()))):
        return False
    if v.op.name in WHOLE:
        return whole(v) is not None
    if v.op.name not in TEMPLATES:
        return False
    return template(v, [contiguous_strides(s.type.shape) for s in v.operands()]) is not None


# What moves memory, or shows it: no device needs a kernel for it.
MOVING = ("transfer", *DEVICE_UPDATES)


def by_host(v: Value) -> bool:
    """Whether an operation on a device that no loop nest computes is one for NumPy on the host."""
    moves = v.op.view or v.op.name in MOVING
    return on_device(v) and not moves and not has_template(v)


def no_kernel(v: Value) -> str:
    """Why an operation on a device is computed on the host."""
    what = v.op.name
    types = [s.type for s in (v, *v.operands()) if s.type.__class__ is TensorType]
    if not all(t.numel for t in types):
        what += " of no elements"
    elif v.op.elementwise or v.op.kind == "reduce" or what in TEMPLATES or what in WHOLE:
        what += f" of {v.operands()[0].type.dtype.name}"
    return f"{what} has no kernel on devices: NumPy computes it on the host"
