"""What becomes of a sum before it is stored: statements of the loop IR, as CUDA C.

    v0 = bias                       const float v0 = x2[block.place(s.of[0], row, at)];
    v1 = add(acc, v0) : float32     const float v1 = (acc + v0);
    y = v1                          y3[block.place(s.of[1], row, at)] = v1;

`acc` is the sum, in float32 or float64. Elements of 16 bits are loaded into and rounded from
float32. Names are given anew, so that equal epilogues are equal texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..cstyle import C_TYPES, cuda_expression, number
from ..loops import Apply, Load, Number, Operand, Param, Statement, Store

STORED = C_TYPES | {"float16": "__half", "bfloat16": "__nv_bfloat16"}
HALVES = ("float16", "bfloat16")
COMPUTED = {name: "float" if name in HALVES else kind for name, kind in C_TYPES.items()}
# What an expression may need that is not built into the compiler, and where it is.
NAMES = re.compile(r"\b(lz_\w+|u?int\d+_t|INFINITY|NAN|INT64_MIN)\b")
EXPRESSIONS = ("cuda.h", "semantics.h", "random.h")


def widened(dtype: str) -> str:
    """The dtype that values of a dtype are computed with."""
    return "float32" if dtype in HALVES else dtype


@dataclass(frozen=True)
class Epilogue:
    """params: the arrays, inputs first, then outputs. numbers: run-time numbers. counted: params
    without memory. lines: of the body. names: what the statements' names are called there."""

    params: tuple[Param, ...]
    counted: tuple[Param, ...]
    numbers: tuple[Number, ...]
    lines: tuple[str, ...]
    names: Mapping[str, str]

    @property
    def places(self) -> tuple[Param, ...]:
        """The params in the order of their strides: arrays, then those without memory."""
        return self.params + self.counted

    @property
    def preludes(self) -> tuple[str, ...]:
        """The files that the text needs before it."""
        text = "\n".join((*self.declarations(0), *self.lines))
        return EXPRESSIONS if NAMES.search(text) else ()

    def declarations(self, first: int) -> list[str]:
        """The parameters of a kernel whose array `first` is the first one of these."""
        arrays = [
            f"{'' if p.out else 'const '}{STORED[p.dtype]} *{_array(p, first + i)}"
            for i, p in enumerate(self.params)
        ]
        return arrays + [f"const {C_TYPES[n.dtype]} {n}" for n in self.numbers]


def _array(param: Param, index: int) -> str:
    return f"{'y' if param.out else 'x'}{index}"


def render(statements: tuple[Statement, ...], first: int) -> Epilogue:
    """The text of an epilogue whose arrays are numbered from `first`.

    Raises ValueError for statements that are no part of one: reductions, and names not defined.
    """
    used = dict.fromkeys(s.param for s in statements if isinstance(s, (Load, Store)))
    memory = [p for p in used if not p.counted]
    params = tuple(sorted(memory, key=lambda p: p.out))
    counted = tuple(p for p in used if p.counted)
    operands = [o for s in statements if isinstance(s, Apply) for o in s.operands]
    operands += [s.operand for s in statements if isinstance(s, Store)]
    numbers = tuple(sorted({o for o in operands if isinstance(o, Number)}, key=lambda n: n.index))
    names = {"acc": "acc"}
    lines = []

    def operand(o: Operand, dtype: str) -> str:
        if isinstance(o, str):
            if o not in names:
                raise ValueError(f"an epilogue uses '{o}' before it is defined")
            return names[o]
        if isinstance(o, Number):
            return f"(({COMPUTED[dtype]}){o})"
        return number(o, widened(dtype))

    def element(p: Param) -> str:
        at = f"block.place(s.of[{(params + counted).index(p)}], row, at)"
        return f"(int64_t){at}" if p.counted else f"{_array(p, first + params.index(p))}[{at}]"

    def define(name: str, dtype: str, text: str) -> str:
        names[name] = f"v{len(names) - 1}"
        kind = "int" if dtype == "bool" else COMPUTED[dtype]
        return f"const {kind} {names[name]} = {text};"

    for s in statements:
        if isinstance(s, Load):
            text = element(s.param)
            if s.param.dtype in HALVES:
                text = f"lz::Storage<{STORED[s.param.dtype]}>::widen({text})"
            lines.append(define(s.name, s.param.dtype, text))
        elif isinstance(s, Apply):
            lines.append(define(s.name, s.dtype, _applied(s, operand)))
        elif isinstance(s, Store):
            text = operand(s.operand, s.param.dtype)
            if s.param.dtype in HALVES:
                text = f"lz::Storage<{STORED[s.param.dtype]}>::narrow({text})"
            lines.append(f"{element(s.param)} = {text};")
        else:
            raise ValueError(f"no statement of an epilogue: {s}")
    return Epilogue(params, counted, numbers, tuple(lines), names)


def _applied(s: Apply, operand: Callable[[Operand, str], str]) -> str:
    operands = [
        operand(o, "bool" if s.op == "where" and i == 0 else s.source)
        for i, o in enumerate(s.operands)
    ]
    if s.op == "cast" and s.dtype in HALVES:
        half = f"lz::Storage<{STORED[s.dtype]}>"
        return f"{half}::widen({half}::narrow({operands[0]}))"
    return cuda_expression(s.op, operands, widened(s.dtype), widened(s.source))
