"""What a device must hold in memory although loops would not compute it: copies become operations.

    reshape(permute(x))       reshape(copy(permute(x))): on the CPU, NumPy copies unasked
    full, an output           copy(full): a kernel that only stores

A constant that loops read is part of their text, and a reshape that shows its operand's memory is
index arithmetic; neither is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from ..graph import Graph, Value, rewrite
from ..opdef import REGISTRY
from ..places import counted, place
from ..types import TensorType


def needs_memory(v: Value, users: Mapping, kept: Set[Value], looped: Set[Value]) -> bool:
    """Whether anything but loops reads a value, or a view of it."""
    return v in kept or any(
        needs_memory(u, users, kept, looped) if u.op.view else u not in looped
        for u in users.get(v, ())
    )


def materialize(graph: Graph, looped: Set[Value]) -> Graph:
    """The graph with such copies on devices.

    looped: the values that loops compute.
    """
    users = graph.users()
    kept = set(graph.outputs)
    born: dict[Value, Value] = {}

    def copied(v: Value) -> Value:
        return Value(REGISTRY["copy"], (v,), (), v.type, v.origin)

    def rule(v: Value) -> Value:
        if v.type.__class__ is not TensorType or v.type.device == "cpu" or not v.type.numel:
            return v
        if v.op.name == "reshape" and place(v).root is v:
            return Value(v.op, (copied(v.src[0]),), v.arg, v.type, v.origin)
        constant = v.op.name in ("full", "number") or counted(v)
        return copied(v) if constant and needs_memory(born.get(v, v), users, kept, looped) else v

    return rewrite(graph, rule, born)
