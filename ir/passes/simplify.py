"""Algebra that IEEE arithmetic allows, and chains of views and casts made short.

`x * 1` and `x / 1` are x; `x + 0` is not (-0.0 + 0.0 is 0.0) but `x - 0.0` is. A cast back from a
type that holds every value of the first is the value itself; a rounding cast stays.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dtypes import DType
from ..graph import Graph, Value, rewrite
from ..opdef import REGISTRY
from ..types import TensorType


def simplify(graph: Graph) -> Graph:
    """The graph with the rules of `RULES` applied until none fits."""

    def rule(v: Value) -> Value:
        while True:
            found = RULES.get(v.op.name)
            better = found(v) if found is not None else None
            if better is None:
                return v
            if better.op is None or better.op is v.op and better is v:
                return better
            v = better
            if v.op is None:
                return v

    return rewrite(graph, rule)


def _number(s, *numbers: float) -> bool:
    return s.__class__ in (int, float) and any(
        s == n and str(float(s)) == str(float(n)) for n in numbers
    )


def _whole(v: Value, operand) -> bool:
    return operand.__class__ is Value and operand.type is v.type


def _forward(v: Value) -> Value | None:
    return v.src[0]


def _replaced(v: Value) -> Value | None:
    return v.src[1]


def _get(v: Value) -> Value | None:
    """A result of a custom function is the operand that its forward returned."""
    of = v.src[0]
    if of.op is None or not of.op.view:
        return None
    return of.src[of.arg[0] + v.arg[0]]


def _mul(v: Value) -> Value | None:
    a, b = v.src
    if v.type.dtype.is_floating_point:
        if (_number(b, 1.0) or _filled(b, 1.0)) and _whole(v, a):
            return a
        if (_number(a, 1.0) or _filled(a, 1.0)) and _whole(v, b):
            return b
    return _scalarize(v)


def _div(v: Value) -> Value | None:
    a, b = v.src
    if (_number(b, 1.0) or _filled(b, 1.0)) and _whole(v, a) and v.type.dtype.is_floating_point:
        return a
    return _scalarize(v)


def _sub(v: Value) -> Value | None:
    a, b = v.src
    if (_number(b, 0.0) or _filled(b, 0.0)) and _whole(v, a) and v.type.dtype.is_floating_point:
        return a
    return _scalarize(v)


def _filled(s, number: float) -> bool:
    """Whether an operand is a constant tensor of `number`."""
    while s.__class__ is Value and s.op is not None and s.op.name in ("expand", "reshape"):
        s = s.src[0]
    return (
        s.__class__ is Value
        and s.op is not None
        and s.op.name == "full"
        and _number(s.src[0], number)
    )


def _scalarize(v: Value) -> Value | None:
    """A constant operand becomes a plain number where the other gives the whole shape."""
    if len(v.src) != 2:
        return None
    a, b = v.src
    for i, (constant, other) in enumerate(((a, b), (b, a))):
        if constant.__class__ is not Value or other.__class__ is not Value:
            continue
        if other.type.shape != v.type.shape:
            continue
        root = constant
        while root.op is not None and root.op.name in ("expand", "reshape"):
            root = root.src[0]
        if root.op is None or root.op.name != "full":
            continue
        if root.type.dtype.is_half:
            continue  # the constant is rounded, a number operand is not
        src = (root.src[0], other) if i == 0 else (other, root.src[0])
        return Value(v.op, src, v.arg, v.type, v.origin)
    return None


def _neg(v: Value) -> Value | None:
    inner = v.src[0]
    if inner.op is not None and inner.op.name == "neg":
        return inner.src[0]
    return None


def holds(narrow: DType, wide: DType) -> bool:
    """Whether every value of `narrow` is exact in `wide`."""
    if narrow is wide:
        return True
    if narrow.name == "bool":
        return True
    if narrow.is_floating_point:
        if not wide.is_floating_point:
            return False
        return wide.rank > narrow.rank
    if wide.is_floating_point:
        bits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[wide.name]
        return narrow.itemsize * 8 - (1 if narrow.is_signed else 0) <= bits
    low, high = narrow.limits or (0, 1)
    return wide.limits is not None and wide.limits[0] <= low and high <= wide.limits[1]


def _cast(v: Value) -> Value | None:
    inner = v.src[0]
    if inner.type is v.type:
        return inner
    if inner.op is not None and inner.op.name == "cast":
        origin = inner.src[0]
        if holds(origin.type.dtype, inner.type.dtype):
            if origin.type is v.type:
                return origin
            return Value(v.op, (origin,), v.arg, v.type, v.origin)
    return None


def _reshape(v: Value) -> Value | None:
    inner = v.src[0]
    if inner.type.shape == v.type.shape:
        return inner
    if inner.op is None:
        return None
    if inner.op.name == "reshape":
        return Value(v.op, inner.src, v.arg, v.type, v.origin)
    return _of_constant(v, inner)


def _permute(v: Value) -> Value | None:
    inner = v.src[0]
    order = v.arg[0]
    if order == tuple(range(len(order))):
        return inner
    if inner.op is None:
        return None
    if inner.op.name == "permute":
        merged = tuple(inner.arg[0][i] for i in order)
        return Value(v.op, inner.src, (merged,), v.type, v.origin)
    return _of_constant(v, inner)


def _expand(v: Value) -> Value | None:
    inner = v.src[0]
    if inner.type.shape == v.type.shape:
        return inner
    if inner.op is None:
        return None
    if inner.op.name == "expand":
        return Value(v.op, inner.src, v.arg, v.type, v.origin)
    return _of_constant(v, inner)


def _of_constant(v: Value, inner: Value) -> Value | None:
    if inner.op.name == "full" and v.type.__class__ is TensorType:
        return Value(inner.op, inner.src, (v.type.shape, *inner.arg[1:]), v.type, v.origin)
    return None


RULES: dict[str, Callable[[Value], Value | None]] = {
    "alias": _forward,
    "stop": _forward,
    "replaced": _replaced,
    "get": _get,
    "mul": _mul,
    "div": _div,
    "sub": _sub,
    "add": _scalarize,
    "neg": _neg,
    "cast": _cast,
    "reshape": _reshape,
    "permute": _permute,
    "expand": _expand,
}
# Not pow: a power that is a number has exact shortcuts, a power that is a tensor has none.
for _name in ("maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"):
    RULES[_name] = _scalarize
assert all(name in REGISTRY for name in RULES)
