"""The text form of a graph. `parser.parse` reads it back.

graph(%0: float32[2,3], $0: float) {
  %1: float32[2,3] = mul(%0, $0)
  %2: float32[2] = sum(%1) {axes=(1,), keep=False}
  return %2
}
"""

from __future__ import annotations

from typing import Any

from .dtypes import DType
from .graph import Graph, Scalar, Value


def type_text(t: Any) -> str:
    """A type, or a tuple of types, as text."""
    if t.__class__ is tuple:
        return "(" + ", ".join(map(type_text, t)) + ")"
    return repr(t)


def operand_text(s: Any, number: dict[Value, int]) -> str:
    """An operand: the value's number, or the plain number itself."""
    if s.__class__ is Value:
        return f"%{number[s]}"
    if s.__class__ is Scalar:
        return repr(s)
    return repr(s)


def argument_text(value: Any) -> str:
    """A structural argument as text that the parser reads back."""
    if value.__class__ is DType:
        return value.name
    if value.__class__ is tuple:
        inner = ", ".join(map(argument_text, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def value_text(v: Value, number: dict[Value, int]) -> str:
    """One line of a graph: number, type, primitive, operands, arguments."""
    operands = ", ".join(operand_text(s, number) for s in v.src)
    line = f"%{number[v]}: {type_text(v.type)} = {v.op.name}({operands})"
    if v.arg:
        pairs = zip(v.op.fields, v.arg)
        line += " {" + ", ".join(f"{name}={argument_text(a)}" for name, a in pairs) + "}"
    return line


def text(graph: Graph) -> str:
    """A whole graph as text that the parser reads back."""
    number = graph.numbered()
    params = [f"%{number[v]}: {type_text(v.type)}" for v in graph.inputs]
    params += [f"{s!r}: {s.kind.__name__}" for s in graph.scalars]
    lines = [f"graph({', '.join(params)}) {{"]
    lines += ["  " + value_text(v, number) for v in graph.body]
    lines.append("  return " + ", ".join(f"%{number[v]}" for v in graph.outputs))
    return "\n".join(lines) + "\n}\n"
