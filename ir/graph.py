"""The graph that passes work on: a straight-line program of values.

A drained trace becomes a `Graph`: its inputs (realised tensors), its scalars (numbers that may
change from run to run), a body in execution order and the values to keep. Passes take a graph and
return a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .types import with_device


class Scalar:
    """A number given at run time; `kind` is float, int or bool."""

    __slots__ = ("index", "kind")

    def __init__(self, index: int, kind: type):
        self.index = index
        self.kind = kind

    def __repr__(self) -> str:
        return f"${self.index}"


class Value:
    """A value of a graph: an input (`op` None, `index` its number) or an applied primitive."""

    __slots__ = ("op", "src", "arg", "type", "index", "origin")

    def __init__(self, op, src: tuple, arg: tuple, type: Any, origin=None, index: int = -1):
        self.op = op
        self.src = src
        self.arg = arg
        self.type = type
        self.origin = origin
        self.index = index

    def operands(self) -> list[Value]:
        return [s for s in self.src if s.__class__ is Value]

    def __repr__(self) -> str:
        return f"<value {self.op.name if self.op else 'input'} {self.type!r}>"


class Graph:
    """inputs, scalars, body (operands before users) and outputs."""

    def __init__(
        self,
        inputs: list[Value],
        scalars: list[Scalar],
        body: list[Value],
        outputs: list[Value],
    ):
        self.inputs = inputs
        self.scalars = scalars
        self.body = body
        self.outputs = outputs

    def numbered(self) -> dict[Value, int]:
        """Names of the values: inputs first, then the body in order."""
        return {v: i for i, v in enumerate([*self.inputs, *self.body])}

    def devices(self) -> set[str]:
        """Where its values are."""
        found: set[str] = set()
        for v in (*self.inputs, *self.body):
            found.update(t.device for t in (v.type if v.type.__class__ is tuple else (v.type,)))
        return found

    def users(self) -> dict[Value, list[Value]]:
        found: dict[Value, list[Value]] = {v: [] for v in [*self.inputs, *self.body]}
        for v in self.body:
            for s in v.operands():
                found[s].append(v)
        return found


def rewrite(
    graph: Graph, rule: Callable[[Value], Value], born: dict[Value, Value] | None = None
) -> Graph:
    """Rebuilds the body in order; `rule` may return an existing value or a new one in place of
    each.

    born: filled with the value of `graph` that each value of the result stands for.

    A rule sees operands already rewritten. New values it made on the way must be among the operands
    of what it returns: they are put before it.
    """
    new: dict[Value, Value] = {}
    body: list[Value] = []
    placed: set[Value] = set(graph.inputs)

    def place(v: Value) -> None:
        if v in placed:
            return
        for s in v.operands():
            place(s)
        placed.add(v)
        body.append(v)

    for v in graph.body:
        if any(s.__class__ is Value and new.get(s, s) is not s for s in v.src):
            src = tuple(new.get(s, s) if s.__class__ is Value else s for s in v.src)
            renewed = Value(v.op, src, v.arg, v.type, v.origin)
        else:
            renewed = v
        result = rule(renewed)
        place(result)
        new[v] = result
        if born is not None:
            born.setdefault(result, v)
    return Graph(graph.inputs, graph.scalars, body, [new.get(v, v) for v in graph.outputs])


def placed(graph: Graph, device: str) -> tuple[Graph, dict[Value, Value]]:
    """A copy of a graph with everything on one device, and by value of it the one it stands for."""
    new: dict[Value, Value] = {}
    for v in [*graph.inputs, *graph.body]:
        src = tuple(new.get(s, s) if s.__class__ is Value else s for s in v.src)
        new[v] = Value(v.op, src, v.arg, with_device(v.type, device), v.origin, v.index)
    inputs, body = [new[v] for v in graph.inputs], [new[v] for v in graph.body]
    made = Graph(inputs, graph.scalars, body, [new[v] for v in graph.outputs])
    return made, {copy: v for v, copy in new.items()}


def reachable(outputs: Iterable[Value]) -> set[Value]:
    """Every value that one of `outputs` is computed from."""
    seen: set[Value] = set()
    stack = list(outputs)
    while stack:
        v = stack.pop()
        if v not in seen:
            seen.add(v)
            stack.extend(v.operands())
    return seen
