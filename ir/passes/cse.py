"""Common subexpressions: two applications of one primitive to the same operands are one value.

Numbers are compared by type and bits (1, 1.0 and True differ, 0.0 and -0.0 too). `copy` is left
alone: its results are separate memory on purpose.
"""

from __future__ import annotations

import struct

from ..graph import Graph, Value, rewrite


def eliminate_common_subexpressions(graph: Graph) -> Graph:
    """One value for all that apply the same primitive to the same operands."""
    seen: dict[tuple, Value] = {}

    def rule(v: Value) -> Value:
        if v.op.kind == "copy":
            return v
        key = (v.op, v.arg, v.type, *[operand_key(s) for s in v.src])
        return seen.setdefault(key, v)

    return rewrite(graph, rule)


def operand_key(s) -> object:
    """What an operand is compared by: identity for values, type and bits for numbers."""
    if s.__class__ is float:
        return ("float", struct.pack("<d", s))
    if s.__class__ is int or s.__class__ is bool:
        return (s.__class__.__name__, s)
    return s
