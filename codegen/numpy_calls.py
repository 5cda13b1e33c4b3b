"""NumPy source for a graph: one call a line, in order, with the memory plan written out.

    def run(x0, s0, d0):
        o3 = x0 if d0 else np.empty_like(x0)
        x2 = np.multiply(x1, s0, out=w0)
        x3 = np.subtract(x0, x2, out=o3)
        return (x3,)

`x` are values, `s` run-time numbers, `w` slots of the workspace and `d` says whether the caller donates an
input. The canonical text holds no user names, lines or addresses; `dressed` adds them as comments.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from lazyt.ir.graph import Graph, Scalar, Value
from lazyt.ir.opdef import literal
from lazyt.ir.types import TensorType

from .memory import DONATED, OWN, PLACE, SLOT, MemoryPlan, plan_memory


@dataclass
class NumpyCode:
    """source: the canonical text. values: the value each line of it computes. memory: what is where."""

    source: str
    values: dict[int, Value]
    memory: MemoryPlan
    graph: Graph

    def dressed(self, describe: Callable[[Value], str]) -> str:
        """The same text with a comment a line: `describe(value)`."""
        lines = self.source.splitlines()
        width = min(max(map(len, lines)), 88)
        for number, value in self.values.items():
            line = lines[number - 1]
            lines[number - 1] = f"{line:<{width}}  # {describe(value)}"
        return "\n".join(lines) + "\n"


def generate(graph: Graph, donatable: frozenset[int] = frozenset()) -> NumpyCode:
    """NumPy code for an optimized graph. `donatable`: inputs that the caller may give up."""
    memory = plan_memory(graph, donatable)
    number = graph.numbered()
    lines: list[str] = []
    values: dict[int, Value] = {}

    def operand(s) -> str:
        if s.__class__ is Value:
            return f"x{number[s]}"
        if s.__class__ is Scalar:
            return f"s{s.index}"
        return literal(s)

    params = [f"x{number[v]}" for v in graph.inputs] + [f"s{s.index}" for s in graph.scalars]
    params += [f"d{k}" for k in sorted(memory.donated)]
    lines.append(f"def run({', '.join(params)}):")
    for v in graph.body:
        assigned = memory.assignments.get(v)
        out: str | None = None
        if assigned is not None:
            if assigned.kind == SLOT:
                out = f"w{assigned.of}"
            elif assigned.kind == PLACE:
                out = operand(assigned.of)
            elif assigned.kind == DONATED:
                taken = operand(assigned.of)
                root = assigned.of
                while root.op is not None:  # type: ignore[union-attr]
                    root = root.src[0]  # type: ignore[union-attr]
                out = f"o{number[v]}"
                lines.append(f"    {out} = {taken} if d{root.index} else np.empty_like({taken})")
        text = v.op.text([operand(s) for s in v.src], v.arg, v.type, out)
        if assigned is not None and assigned.kind == OWN and v.type.__class__ is TensorType:
            if not v.type.shape:
                text = f"np.asarray({text}, np.{v.type.dtype.numpy.name})"
        lines.append(f"    x{number[v]} = {text}")
        values[len(lines)] = v
        dead = [f"x{number[s]}" for s in memory.dies_after.get(v, ())]
        if dead:
            lines.append(f"    del {', '.join(dead)}")
    results = ", ".join(f"x{number[v]}" for v in graph.outputs)
    lines.append(f"    return ({results}{',' if len(graph.outputs) == 1 else ''})")
    return NumpyCode("\n".join(lines) + "\n", values, memory, graph)


def where_from(origin) -> str:
    """`file:line` of a value's origin, for comments and messages."""
    if origin is None or origin[0] is None:
        return ""
    code, offset = origin
    line = code.co_firstlineno
    for start, stop, number in code.co_lines():
        if start <= offset < stop and number is not None:
            line = number
            break
    return f"{os.path.basename(code.co_filename)}:{line}"
