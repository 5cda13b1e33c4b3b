"""What the user calls the values of a program: variables that hold them, statements that make them.

    h = torch.relu(x @ w)           # the product has no name, the relu is "h"
    return torch.softmax(h, -1)     # no variable: what is called, "softmax"

A value of the optimized graph is known by the origin it shares with the traced one: the tuple
itself, which passes hand on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from lazyt.codegen.dress_words import RESULTS
from lazyt.ir.graph import Graph, Value

from .holders import Names
from .origins import callee_of, variable_of

# Calls that do many things at once: none of them is the call's result.
STATEMENTS = frozenset(("step", "backward", "grad", "print", "item", "tolist", "numpy"))


@dataclass
class UserNames:
    """Names for the values of one program and of what is derived from it.

    traced: the program. held: what variables hold. Names of a derived graph are asked for with
    `in_graph`.
    """

    traced: Graph
    held: Names

    def __post_init__(self) -> None:
        self.statements = _statements(self.traced, self.held.tracked)
        self.operations = {}
        for v in self.traced.body:
            made_by = v.src[0] if v.op.name == "get" and v.arg == (0,) else v
            if made_by.op is not None:
                self.operations[id(v.origin)] = made_by.op.name
        self.inputs = {v.index: self.held.inputs.get(v.index) or "" for v in self.traced.inputs}
        for i, v in enumerate(self.traced.outputs):
            if i in self.held.written and i in self.held.outputs:
                over = _overwritten(v)
                if over is not None and not self.inputs[over.index]:
                    self.inputs[over.index] = self.held.outputs[i]
        for v in self.traced.inputs:
            self.inputs[v.index] = self.inputs[v.index] or _plain(variable_of(v.origin))

    def in_program(self, graph: Graph) -> dict[Value, str]:
        """Names of the values of the program's graph, whatever passes made of it."""
        return self.in_graph(graph, self.inputs, self.held.outputs)

    def in_graph(
        self, graph: Graph, inputs: Mapping[int, str], outputs: Mapping[int, str]
    ) -> dict[Value, str]:
        """Names of the values of a graph derived from the program's. inputs, outputs: by number."""
        found = self.made(graph.body)
        found |= {v: inputs.get(v.index, "") for v in graph.inputs}
        found |= {v: outputs[i] for i, v in enumerate(graph.outputs) if outputs.get(i)}
        return {v: name for v, name in found.items() if name}

    def made(self, body: list[Value]) -> dict[Value, str]:
        """Names of the values that are a statement's result, or that of an operation taken apart:
        of those with one origin, the last."""
        last = {id(v.origin): v for v in body if not v.op.view}
        found = {}
        for key, v in last.items():
            name = self.statements.get(key, "")
            if not name and self.operations.get(key, v.op.name) != v.op.name:
                name = RESULTS.get(self.operations[key], self.operations[key])
            if name and name != "get":
                found[v] = name
        return found


def _overwritten(v: Value) -> Value | None:
    """The input that a value was written over in place: what its operations change, from operand to
    first operand, is the tensor they write to."""
    type = v.type
    while v.op is not None:
        operands = v.operands()
        if not operands:
            return None
        v = operands[-1 if v.op.name == "replaced" else 0]
    return v if v.type is type else None


def _statements(traced: Graph, tracked: frozenset[int]) -> dict[int, str]:
    """By identity of an origin: the variable that the traced value goes into, or what was called.

    Operations of one call follow each other, and the last is its result: of those with a history,
    where there are any, for the others are its backward. What comes later from the same place is
    that too, or another round of a loop: no name then; nor where nobody reads the result but its
    own backward, for the result itself may not have been wanted.
    """
    found: dict[int, str] = {}
    users, kept = traced.users(), set(traced.outputs)
    seen: set[tuple] = set()
    body = [(p, v) for p, v in enumerate(traced.body) if v.origin and v.origin[0] is not None]
    for origin, run in groupby(body, key=lambda pair: (pair[1].origin[0], pair[1].origin[1])):
        pairs = list(run)
        values = [v for p, v in pairs if p in tracked] or [v for _, v in pairs]
        if origin in seen:
            continue
        result = next((v for v in reversed(values) if not v.op.view), values[-1])
        seen.add(origin)
        if result not in kept and all(u.origin and u.origin[:2] == origin for u in users[result]):
            continue
        called = callee_of(origin)
        if called in (*STATEMENTS, result.op.name) or result.op.name == "transfer":
            called = ""
        name = _plain(variable_of(origin)) or called
        if name:
            found[id(result.origin)] = name
    return found


def _plain(variable: str) -> str:
    """A variable without its owner: `self.hidden` is "hidden"."""
    return variable.rsplit(".", 1)[-1]
