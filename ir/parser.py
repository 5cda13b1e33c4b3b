"""Reads the text form of a graph back: `text(parse(text(g))) == text(g)`."""

from __future__ import annotations

import ast
import re
from typing import Any

from .dtypes import BY_NAME
from .graph import Graph, Scalar, Value
from .opdef import REGISTRY
from .types import TensorType

_HEADER = re.compile(r"^graph\((.*)\) \{$")
_LINE = re.compile(r"^%(\d+): (.+?) = (\w+)\((.*?)\)(?: \{(.*)\})?$")
_TYPE = re.compile(r"(\w+)\[([\d,]*)\](?:@(\w+:\d+))?")
_KINDS: dict[str, type] = {"float": float, "int": int, "bool": bool}


class ParseError(ValueError):
    """Text that is no graph; the message names the line."""


def parse(source: str) -> Graph:
    """The graph that `source` describes. ParseError where the text is malformed."""
    lines = [line.strip() for line in source.strip().splitlines() if line.strip()]
    header = _HEADER.match(lines[0]) if lines else None
    if header is None or lines[-1] != "}":
        raise ParseError("a graph starts with 'graph(...) {' and ends with '}'")
    values: dict[int, Value] = {}
    inputs: list[Value] = []
    scalars: list[Scalar] = []
    for param in _split(header.group(1)):
        name, _, kind = param.partition(": ")
        if name.startswith("$"):
            scalars.append(Scalar(int(name[1:]), _KINDS[kind]))
        else:
            value = Value(None, (), (), _type(kind), index=len(inputs))
            inputs.append(value)
            values[int(name[1:])] = value
    body: list[Value] = []
    for number, line in enumerate(lines[1:-2], 2):
        match = _LINE.match(line)
        if match is None:
            raise ParseError(f"line {number}: cannot read {line!r}")
        name, type_, op_name, operands, arguments = match.groups()
        op = REGISTRY.get(op_name)
        if op is None:
            raise ParseError(f"line {number}: no primitive is called {op_name!r}")
        try:
            src = tuple(_operand(s, values, scalars) for s in _split(operands))
        except KeyError as missing:
            raise ParseError(f"line {number}: %{missing.args[0]} is not defined yet") from None
        arg = tuple(_argument(a.partition("=")[2]) for a in _split(arguments or ""))
        value = Value(op, src, arg, _type(type_))
        body.append(value)
        values[int(name)] = value
    returned = lines[-2].removeprefix("return").strip()
    outputs = [values[int(name.strip()[1:])] for name in returned.split(",") if name.strip()]
    return Graph(inputs, scalars, body, outputs)


def _split(text: str) -> list[str]:
    """Splits at commas outside brackets and quotes."""
    parts, depth, start, quoted = [], 0, 0, ""
    for i, c in enumerate(text):
        if quoted:
            quoted = "" if c == quoted else quoted
        elif c in "'\"":
            quoted = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def _type(text: str) -> Any:
    found = []
    for name, extents, device in _TYPE.findall(text):
        shape = tuple(int(d) for d in extents.split(",") if d)
        found.append(TensorType.of(shape, BY_NAME[name], device or "cpu"))
    return tuple(found) if text.startswith("(") else found[0]


def _operand(text: str, values: dict[int, Value], scalars: list[Scalar]) -> Any:
    if text.startswith("%"):
        return values[int(text[1:])]
    if text.startswith("$"):
        return scalars[int(text[1:])]
    return _argument(text)


def _argument(text: str) -> Any:
    if text in BY_NAME:
        return BY_NAME[text]
    if text in ("inf", "-inf", "nan"):
        return float(text)
    try:
        return ast.literal_eval(text)
    except ValueError:
        if text.startswith("("):
            inner = _split(text[1:-1])
            return tuple(_argument(part) for part in inner)
        raise
