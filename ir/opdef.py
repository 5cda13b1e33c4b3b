"""What a primitive is, and the registry of all of them.

A primitive is one `Op`, defined in one place with everything that is known about it: its result
type, its derivative, its NumPy text, sample inputs for the tests. The NumPy text is a template and
is the only NumPy form there is: the reference evaluator compiles it to a function once, and the
NumPy code generator writes it into plans.

    exp = elementwise("exp", "np.exp({0}, out={out})", vjp=(lambda g, y, x: g * y,))

In a template `{0}`, `{1}`, … are the operands, `{rest}` the list of those that are not numbered, a
name from `fields` the structural argument of that name, `{shape}` and `{dtype}` the result's;
`, out={out}` is left out where no buffer is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .dtypes import DType
from .node import Node, emit
from .types import TensorType

REGISTRY: dict[str, Op] = {}
NAMESPACE: dict[str, Any] = {"np": np}
# How operands come to one device (ops_device.py); empty while there is only the CPU.
PLACING: list[Callable[[Op, tuple], tuple]] = []
# What refuses operands that a primitive is not for (complexes.py); empty while all are real.
REFUSING: list[Callable[[Op, tuple], None]] = []


class Op:
    """One primitive.

    kind: "elementwise", "view", "reduce", "update", "transfer" or "opaque"; what passes and code
        generators may assume about it.
    vjp: one rule an operand, `rule(g, y, *src) -> Node | None`, where y is the node itself; None
        where no gradient flows. A single function instead of a tuple serves every operand of a
        variadic op and is called as `rule(i, g, y, *src)`.
    fields: names of the structural arguments, in the order of `Node.arg`. optional: how many of
        the last may be missing.
    runtime: numbers among the operands are run-time integers from the start (slice offsets).
    raising: "always" or "integers" where computing it may fail on some values.
    saves: what the rules read of operands (their numbers, -1 for the result), where that is not the
        same for all extents and modes; else it is found out (`autodiff.saved`).
    also_saves: which operands of a node (-1 for the result) PyTorch saves although the rules here
        do not read them: overwriting them is an error all the same.
    saves_numbers: PyTorch's backward of it counts a plain number as saved (mul, div): "always", or
        True where that is for the gradient of the other operand only.
    runs_again: PyTorch's backward of it saves nothing, though the rules here read operands.
    samples: for elementwise primitives the domain of their operands ("positive", "integer", ...;
        None for all numbers), else a function that gives [(operands, arg)], where an operand is a
        shape, a number, or a list (or array) of the values it has.
    """

    def __init__(
        self,
        name: str,
        numpy: str,
        *,
        kind: str,
        vjp: tuple | Callable | None = None,
        infer: Callable | None = None,
        fields: tuple[str, ...] = (),
        optional: int = 0,
        grad_name: str | None = None,
        runtime: bool = False,
        saves_numbers: bool | str = False,
        results: int = 1,
        raising: str = "",
        saves: tuple[int, ...] | None = None,
        also_saves: Callable[[Node], tuple[int, ...]] = lambda node: (),
        runs_again: bool = False,
        samples: Callable | str | None = None,
    ):
        self.name = name
        self.numpy = numpy
        self.kind = kind
        self.vjp = vjp
        self.infer = infer
        self.fields = fields
        self.optional = optional
        self.grad_name = (grad_name or "".join(p.title() for p in name.split("_"))) + "Backward0"
        self.runtime = runtime
        self.saves_numbers = saves_numbers
        self.results = results
        self.raising = raising
        self.saves = saves
        self.also_saves = also_saves
        self.runs_again = runs_again
        self.samples = samples
        self.differentiable = vjp is not None
        self.view = kind == "view"
        self.elementwise = kind == "elementwise"
        self.has_out = "{out}" in numpy
        self.numbered = max(map(int, re.findall(r"\{(\d+)\}", numpy)), default=-1) + 1
        self.function = _Compiled(self)
        self.saved: dict = {}
        assert name not in REGISTRY, name
        REGISTRY[name] = self

    def __call__(self, *src: Any, arg: tuple = ()) -> Node:
        """Applies the primitive: infers and checks, then emits the node."""
        for place in PLACING:
            src = place(self, src)
        for refuse in REFUSING:
            refuse(self, src)
        return emit(self, src, arg, self.infer(src, arg))  # type: ignore[misc]

    def raises(self, type: Any) -> bool:
        """Whether computing a result of this type may raise (an index or divisor out of range)."""
        if not self.raising or self.raising == "always":
            return bool(self.raising)
        return not type.dtype.is_floating_point

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self):
        return (REGISTRY.__getitem__, (self.name,))

    def text(self, operands: list[str], arg: tuple, type: Any, out: str | None = None) -> str:
        """The NumPy expression for operands that are texts themselves."""
        template = self.numpy if out is not None else self.numpy.replace(", out={out}", "")
        names = dict(zip(self.fields, map(literal, arg)))
        names["out"] = out or ""
        names["rest"] = "[" + ", ".join(operands[self.numbered :]) + "]"
        if isinstance(type, TensorType):
            names["shape"] = literal(type.shape)
            names["dtype"] = f"np.{type.dtype.numpy.name}"
        return _FIELD.sub(lambda m: _pick(m.group(1), operands, names), template)


_FIELD = re.compile(r"\{(\w+)\}")


def _pick(name: str, operands: list[str], names: dict[str, str]) -> str:
    return operands[int(name)] if name.isdigit() else names[name]


def literal(value: Any) -> str:
    """Python text for a structural argument or a number; dtypes become NumPy's."""
    if isinstance(value, float):
        if value != value:
            return "np.nan"
        if value in (float("inf"), float("-inf")):
            return "np.inf" if value > 0 else "-np.inf"
        return repr(value)
    if isinstance(value, tuple):
        inner = ", ".join(literal(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if value.__class__ is DType:
        return repr(value.name)
    return repr(value)


class _Compiled:
    """`op.function(type, arg, *operands)`: the template as a function, compiled at first call."""

    __slots__ = ("op", "call")

    def __init__(self, op: Op):
        self.op = op
        self.call: Callable | None = None

    def __call__(self, type, arg, *operands):
        call = self.call
        if call is None:
            call = self.call = self.compile()
        return call(type, arg, *operands)

    def compile(self) -> Callable:
        op = self.op
        template = op.numpy.replace(", out={out}", "")
        names = [f"x{i}" for i in range(op.numbered)]
        variadic = "{rest}" in template
        fields = {f: f"arg[{i}]" for i, f in enumerate(op.fields)}
        fields |= {"rest": "rest", "shape": "type.shape", "dtype": "type.dtype.numpy"}
        body = _FIELD.sub(lambda m: _pick(m.group(1), names, fields), template)
        params = ", ".join(
            ["type", "arg", *names, "*rest"] if variadic else ["type", "arg", *names]
        )
        source = f"lambda {params}: {body}"
        return eval(compile(source, f"<numpy form of {op.name}>", "eval"), NAMESPACE)


def provide(**functions: Any) -> None:
    """Makes helper functions callable from NumPy templates under their keyword names."""
    NAMESPACE.update(functions)
