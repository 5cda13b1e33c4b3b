"""Functions on tensors, as tables: a row is a function, drawn in each of its forms.

Fn("lerp({y}, 0.25)", grows=1)
# x3 = x1.lerp(x2, 0.25)        torch.lerp(x1, x2, 0.25, out=x3)
# x3 = torch.lerp(x1, x2, 0.25) x1.lerp_(x2, 0.25)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .base import MAX_TOP, Statement
from .model import BOOL, CATEGORY, F32, I64, INEXACT, Var, broadcast, promote
from .writes import Writes


@dataclass(frozen=True)
class Fn:
    """A function: how it is called, and what is known of the values it gives."""

    call: str  # {x} is the tensor whose method it is, {y} a partner that broadcasts, {c} a number
    top: int | None = None  # its values are below 2**top; None: as large as the operands'
    times: int = 1  # how many operands' sizes multiply in its values
    grows: int = 0  # powers of two by which its values may be larger than that
    exact: bool = False  # whether exact operands give the very same values everywhere
    kinked: bool = False  # whether the last bit of an operand can decide: exact operands only
    domain: str = "{x}"  # the tensor it is called on
    forms: str = "method function inplace out"
    where: str = "float"  # the dtypes of the tensor: float, number (not bool), whole, bool, any

    @property
    def name(self) -> str:
        return self.call.partition("(")[0]

    @property
    def arguments(self) -> str:
        return self.call.partition("(")[2][:-1]


def takes(where: str, v: Var) -> bool:
    """Whether a function for such dtypes takes the tensor."""
    kinds = {"float": v.is_float, "number": v.dtype != BOOL, "whole": not v.is_float}
    return kinds.get(where, where == "any" or v.dtype == where)


NO_INPLACE = "method function out"  # PyTorch has no derivative of the in-place form
NO_OUT = "method function inplace"
ONLY_NEW = "method function"
POSITIVE, UNIT, ABOVE_ONE = "({x} * {x} + 0.5)", "({x}.tanh() * 0.75)", "({x} * {x} + 1)"

ELEMENTWISE = [
    Fn("reciprocal()", top=1, domain=ABOVE_ONE),
    Fn("rsqrt()", top=1, domain=POSITIVE),
    Fn("sqrt()", domain=POSITIVE, grows=1),
    Fn("log()", top=5, domain=POSITIVE),
    Fn("log2()", top=5, domain=POSITIVE),
    Fn("log10()", top=5, domain=POSITIVE),
    Fn("log1p()", top=5, domain=POSITIVE),
    Fn("expm1()", top=2, domain=UNIT),
    Fn("exp2()", top=2, domain=UNIT),
    Fn("erf()", top=1),
    Fn("erfc()", top=1),
    Fn("erfinv()", top=2, domain=UNIT),
    Fn("asin()", top=1, domain=UNIT),
    Fn("acos()", top=2, domain=UNIT),
    Fn("atan()", top=1),
    Fn("sinh()", top=2, domain=UNIT),
    Fn("cosh()", top=2, domain=UNIT),
    Fn("asinh()", top=5, forms=NO_INPLACE),
    Fn("acosh()", top=5, domain="({x} * {x} + 1.5)", forms=NO_INPLACE),
    Fn("atanh()", top=2, domain=UNIT, forms=NO_INPLACE),
    Fn("square()", times=2),
    Fn("abs()", exact=True, kinked=True, where="number"),
    Fn("sign()", top=1, exact=True, kinked=True, where="number"),
    Fn("floor()", exact=True, kinked=True),
    Fn("ceil()", exact=True, kinked=True),
    Fn("round()", exact=True, kinked=True),
    Fn("trunc()", exact=True, kinked=True),
    Fn("frac()", exact=True, kinked=True),
    Fn("relu()", exact=True, kinked=True, forms=NO_OUT),
    Fn("clamp(-1, 1.5)", exact=True, kinked=True),
    Fn("clamp(max=0.5)", exact=True, kinked=True),
    Fn("clip(-1, 2)", exact=True, kinked=True, where="number"),
    Fn("clamp_min(0)", exact=True, kinked=True, forms=NO_OUT, where="number"),
    Fn("clamp_max({c})", top=3, exact=True, kinked=True, forms=NO_OUT, where="float"),
    Fn("nan_to_num()", exact=True),
    Fn("nan_to_num(0.5, 2.0)", exact=True),
    Fn("deg2rad()"),
    Fn("rad2deg()", grows=6),
    Fn("positive()", exact=True, forms=ONLY_NEW),
    Fn("pow(2)", times=2, exact=True, where="number"),
    Fn("pow(0.5)", domain=POSITIVE, grows=1),
    Fn("pow(-1)", domain=ABOVE_ONE, top=1),
    Fn("remainder(2)", top=2, exact=True, kinked=True, where="number"),
    Fn("remainder(-1.5)", top=2, exact=True, kinked=True),
    Fn("fmod(2)", top=2, exact=True, kinked=True, where="number"),
    Fn("floor_divide(2)", exact=True, kinked=True, where="number"),
    Fn("div(2, rounding_mode='floor')", exact=True, kinked=True, where="number"),
    Fn("div(3, rounding_mode='trunc')", exact=True, kinked=True, where="number"),
    Fn("true_divide(4)"),
    Fn("bitwise_not()", where="whole", exact=True),
    Fn("bitwise_and(5)", where=I64, top=4, exact=True),
    Fn("bitwise_or(2)", where=I64, grows=3, exact=True),
    Fn("bitwise_xor(3)", where=I64, grows=3, exact=True),
]
PAIRS = [
    Fn("atan2({y})", top=2, domain=ABOVE_ONE),
    Fn("logaddexp({y})", grows=2, forms=ONLY_NEW),
    Fn("lerp({y}, 0.25)", grows=1),
    Fn("addcmul({y}, {y})", times=2, grows=1),
    Fn("addcmul({y}, {y}, value=0.5)", times=2, grows=1),
    Fn("addcdiv({y}, {y} * {y} + 1)", grows=2),
    Fn("addcdiv({y}, {y} * {y} + 1, value=-2)", grows=3),
    Fn("sub({y}, alpha=2)", grows=2, exact=True, where="number"),
    Fn("rsub({y})", grows=1, exact=True, where="number", forms="function"),
    Fn("div({y} * {y} + 1)"),
    Fn("multiply({y})", times=2, exact=True, where="number"),
    Fn("maximum({y})", exact=True, kinked=True, forms="method function out", where="any"),
    Fn("minimum({y})", exact=True, kinked=True, forms="method function out", where="any"),
    Fn("fmax({y})", exact=True, kinked=True, forms="method function"),
    Fn("fmin({y})", exact=True, kinked=True, forms="method function"),
    Fn("max({y})", exact=True, kinked=True, forms="method function"),
    Fn("clamp(min={y})", exact=True, kinked=True, forms=ONLY_NEW),
    Fn("fmod({y} * {y} + 1)", exact=True, kinked=True),
    Fn("remainder({y} * {y} + 1)", exact=True, kinked=True, where="number", grows=3),
    Fn("floor_divide({y} * {y} + 1)", exact=True, kinked=True, where="number"),
    Fn("div({y} * {y} + 1, rounding_mode='trunc')", exact=True, kinked=True, where="number"),
]
COMPARISONS = [
    *[Fn(f"{name}({{y}})", exact=True, kinked=True) for name in ("eq", "ne", "gt", "ge")],
    *[Fn(f"{name}({{c}})", exact=True, kinked=True) for name in ("lt", "le", "greater", "eq")],
    *[Fn(f"logical_{name}({{y}})", exact=True, kinked=True) for name in ("and", "or", "xor")],
    Fn("logical_not()", exact=True, kinked=True),
    *[Fn(f"{name}()", exact=True) for name in ("isnan", "isfinite", "isinf")],
    Fn("isclose({y})", exact=True, kinked=True, where="float", forms=ONLY_NEW),
    Fn("signbit()", exact=True, kinked=True, domain="({x} + 0.125)", where="float"),
]


class Functions(Writes):
    """Adds the functions that work element by element."""

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("functions", 12, self.new_elementwise),
            ("functions", 6, self.new_comparison),
            ("functions", 6, self.elementwise_in_place),
            ("functions", 3, self.elementwise_out),
        ]

    def called(self, fn: Fn, v: Var) -> tuple[tuple[str, str], Var | None] | None:
        """The tensor a function is called on and its arguments, as text; and the partner."""
        w = self.partner(v) if "{y}" in fn.call else None
        if "{y}" in fn.call and (w is None or w.dtype != v.dtype):
            return None
        if fn.kinked and not (v.exact and (w is None or w.exact)):
            return None
        where = {"x": v.text, "y": w.text if w else "", "c": self.number(v.dtype)}
        return (fn.domain.format(**where), fn.arguments.format(**where)), w

    def bounds(self, fn: Fn, *parents: Var) -> tuple[int, int]:
        """The size and fineness of what a function gives."""
        top = fn.times * max(p.store.top for p in parents) + fn.grows if fn.top is None else fn.top
        exact = fn.exact and fn.domain in ("{x}",)
        frac = max(2 * p.store.frac for p in parents) if exact else INEXACT
        return top, min(frac, INEXACT)

    def called_on(self, fn: Fn, form: str, text: str, arguments: str) -> str:
        """A call as a method or as a function of torch."""
        if form == "method":
            return f"{text}.{fn.name}({arguments})"
        return f"torch.{fn.name}({', '.join(filter(None, [text, arguments]))})"

    def new_from(self, fn: Fn, dtype: str | None = None) -> None:
        """`name = function(tensor)`."""
        v = self.operand(lambda v: takes(fn.where, v))
        called = takes(fn.where, v) and self.called(fn, v)
        if not called or self.fixed:
            return
        (text, arguments), w = called
        parents = (v, w) if w else (v,)
        shape = broadcast(*(p.shape for p in parents))
        top, frac = self.bounds(fn, *parents)
        if shape is None or len(shape) > 4 or top > MAX_TOP:
            return
        form = self.pick([f for f in fn.forms.split() if f in ("method", "function")])
        made = self.called_on(fn, form, text, arguments)
        dtype = dtype or (promote(v, w) if w else v.dtype)
        frac = frac if CATEGORY[dtype] == 2 else 0
        self.bind(self.result(made, shape, dtype, top, frac, parents, parents, True))

    def new_elementwise(self) -> None:
        self.new_from(self.pick(ELEMENTWISE + PAIRS))

    def new_comparison(self) -> None:
        fn = self.pick(COMPARISONS)
        self.new_from(fn if fn.where == "float" else replace(fn, where="any"), BOOL)

    def elementwise_in_place(self) -> None:
        fn = self.pick([f for f in ELEMENTWISE + PAIRS if "inplace" in f.forms])
        v = self.target()
        if not takes(fn.where, v) or v.loose:
            return
        called = self.called(fn, v)
        if not called:
            return
        (_, arguments), w = called
        shared = w is not None and w.store is v.store and w.text != v.text
        if shared or (w is not None and broadcast(v.shape, w.shape) != v.shape):
            return
        parents = (v, w) if w else (v,)
        top, frac = self.bounds(fn, *parents)
        if top > MAX_TOP or (fn.domain != "{x}" and not v.exact):
            return
        if fn.domain != "{x}":  # outside of its domain it gives infinities and NaN
            self.emit(f"{v.text}.copy_({fn.domain.format(x=v.text)})")
            self.written(v, 2 * v.store.top + 1, INEXACT, (v,))
        self.emit(f"{v.text}.{fn.name}_({arguments})")
        self.written(v, max(top, v.store.top), frac if v.is_float else 0, parents, True)

    def elementwise_out(self) -> None:
        """`out=`: a tensor of the result's shape, without gradients."""
        fn = self.pick([f for f in ELEMENTWISE + PAIRS if "out" in f.forms])
        v = self.some(
            lambda v: takes(fn.where, v) and not (v.needs or v.overlaps or v.crosses or v.loose)
        )
        w = v and self.some(
            lambda w: w.dtype == v.dtype and w.shape == v.shape and not w.needs and not w.loose
        )
        if not (v and w) or (w is not v and w.store is v.store):
            return
        called = self.called(fn, w)
        if not called:
            return
        (text, arguments), u = called
        if u is not None and (u.needs or broadcast(u.shape, w.shape) != v.shape):
            return
        if u is not None and u.store is v.store and u.text != v.text:
            return
        top, frac = self.bounds(fn, *((w, u) if u else (w,)))
        if top > MAX_TOP or (v.dtype == F32) != (w.dtype == F32):
            return
        self.emit(f"torch.{fn.name}({', '.join(filter(None, [text, arguments]))}, out={v.text})")
        self.written(v, top, frac if v.is_float else 0)
