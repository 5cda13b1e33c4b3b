"""Checks that a graph is well formed; tests run it after every pass."""

from __future__ import annotations

from .graph import Graph, Scalar, Value


class InvalidGraph(AssertionError):
    """A graph that breaks a rule; the message names the value and the rule."""


def verify(graph: Graph) -> None:
    """Raises InvalidGraph unless operands come first, counts fit and types are as inferred."""
    from .printer import value_text

    defined: set[Value] = set(graph.inputs)
    scalars = set(map(id, graph.scalars))
    number = graph.numbered()
    for v in graph.body:
        for s in v.src:
            if s.__class__ is Value and s not in defined:
                raise InvalidGraph(f"an operand is used before it is defined: {v!r}")
            if s.__class__ is Scalar and id(s) not in scalars:
                raise InvalidGraph(f"an unknown scalar in {value_text(v, number)}")
        if v in defined:
            raise InvalidGraph(f"defined twice: {value_text(v, number)}")
        if not 0 <= len(v.op.fields) - len(v.arg) <= v.op.optional:
            raise InvalidGraph(f"arguments do not match the fields: {value_text(v, number)}")
        inferred = v.op.infer(_as_nodes(v), v.arg) if v.op.infer is not None else v.type
        if inferred is not v.type and inferred != v.type:
            raise InvalidGraph(f"inferred {inferred!r}, not {v.type!r}: {value_text(v, number)}")
        defined.add(v)
    for v in graph.outputs:
        if v not in defined:
            raise InvalidGraph(f"an output is not defined: {v!r}")


def _as_nodes(v: Value) -> tuple:
    """Operands as the inference rules see them: things of class Node with a type."""
    from .autodiff import _placeholder
    from .node import Node

    def stand_in(s):
        if s.__class__ is not Value:
            return s
        n = object.__new__(Node)
        n.type = s.type
        n.code = n.line = None
        return _placeholder(n)

    return tuple(stand_in(s) for s in v.src)
