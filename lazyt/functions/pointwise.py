"""Elementwise functions of one operand, from a table: name, primitive, and how integers come in.

Each becomes a function, a method and an in-place method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import FLOATING
from lazyt.ir.node import Node
from lazyt.ir.opdef import Op
from lazyt.ir.ops_complex import modulus
from lazyt.ir.ops_elementwise import cast

from ..dispatch import (
    FOUND,
    SETTINGS,
    check_writable,
    fit_exactly,
    renamed,
    tagged,
    type_name,
    unsupported,
    update,
    without_history,
)
from ..layout import given, like_operands
from ..registry import public
from ..state import check_overlap, node_of
from ..tensor import Tensor

# What a function makes of integers: it works on them, KEPT even with `out=`, or on floats.
KEEP, KEPT, FLOAT = "keep", "kept", "float"


def to_float(node: Node) -> Node:
    """Integers and bools in the default dtype; floats as they are."""
    if node.type.dtype.category >= FLOATING:
        return node
    return cast(node, SETTINGS.default_dtype)


def compute_unary(op: Callable[[Node], Node], rule: str, input: Any, name: str) -> Node:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type_name(input)}"
        )
    node = node_of(input)
    if rule is FLOAT:
        node = to_float(node)
    return op(node)


def unary(name: str, op: Callable[[Node], Node], rule: str = FLOAT, *aliases: str) -> None:
    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        if rule is KEPT and out is not None and not (name == "abs" and input.dtype.is_complex):
            fit_exactly(input.dtype, out.dtype, FOUND)
        if isinstance(out, Tensor) and isinstance(input, Tensor):
            check_overlap(out, input)
        return given(compute_unary(op, rule, input, name), out, name, input)

    def inplace(self: Tensor) -> Tensor:
        check_writable(self)
        if self.dtype.is_complex and name == "abs":
            raise RuntimeError("In-place abs is not supported for complex tensors.")
        return update(self, compute_unary(op, rule, self, name + "_"))

    if name == "logical_not":
        inplace = without_history(inplace)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of every element" + (
        "; integers give the default float dtype." if rule is FLOAT else ", in the input's dtype."
    )
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    public(function, name, *aliases, inplace=inplace)


for _name, _op in {
    "exp": ops.exp,
    "exp2": ops.exp2,
    "expm1": ops.expm1,
    "log": ops.log,
    "log2": ops.log2,
    "log10": ops.log10,
    "log1p": ops.log1p,
    "sqrt": ops.sqrt,
    "reciprocal": ops.reciprocal,
    "sin": ops.sin,
    "cos": ops.cos,
    "tan": ops.tan,
    "sinh": ops.sinh,
    "cosh": ops.cosh,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "erf": ops.erf_,
    "erfc": ops.erfc_,
    "erfinv": ops.erfinv_,
}.items():
    unary(_name, _op)


def _rsqrt(node: Node) -> Node:
    if node.type.dtype.is_half:  # PyTorch rounds the root
        return tagged(ops.reciprocal(ops.sqrt(node)), "Rsqrt", node)
    return ops.rsqrt(node)


unary("rsqrt", _rsqrt)
unary("asin", ops.asin, FLOAT, "arcsin")
unary("acos", ops.acos, FLOAT, "arccos")
unary("atan", ops.atan, FLOAT, "arctan")
unary("asinh", ops.asinh, FLOAT, "arcsinh")
unary("acosh", ops.acosh, FLOAT, "arccosh")
unary("atanh", ops.atanh, FLOAT, "arctanh")


def _whole_numbers_stay(op: Op, name: str) -> Callable:
    """Rounding functions leave integers alone."""

    def apply(node: Node) -> Node:
        if node.type.dtype is dtypes.bool_:
            raise unsupported(f"{name}_vml_cpu", node.type.dtype)
        return (
            op(node)
            if node.type.dtype.category >= FLOATING
            else ops.cast_(node, arg=(node.type.dtype,))
        )

    return apply


for _name, _op, _aliases in (
    ("floor", ops.floor, ()),
    ("ceil", ops.ceil, ()),
    ("trunc", ops.trunc, ("fix",)),
):
    unary(_name, _whole_numbers_stay(_op, _name), KEPT, *_aliases)


def _not_bool(op: Op, message: str) -> Callable:
    def apply(node: Node) -> Node:
        if node.type.dtype is dtypes.bool_:
            raise RuntimeError(message)
        return op(node)

    return apply


NEGATE_BOOL = (
    "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a "
    "mask, use the `~` or `logical_not()` operator instead."
)
unary("neg", _not_bool(ops.neg, NEGATE_BOOL), KEPT, "negative")


def keep_bool(op: Op) -> Callable:
    return lambda node: (
        ops.cast_(node, arg=(node.type.dtype,)) if node.type.dtype is dtypes.bool_ else op(node)
    )


def _abs(node: Node) -> Node:
    if node.type.dtype is dtypes.bool_:
        raise unsupported("abs_cpu", node.type.dtype)
    if node.type.dtype.is_complex:
        return modulus(node)
    return ops.abs_(node)


unary("abs", _abs, KEPT, "absolute")
unary("sign", keep_bool(ops.sign), KEPT)
unary("relu", _not_bool(ops.relu, "Boolean inputs not supported for relu"), KEEP)


def _float_test(op: Callable[[Node], Node], otherwise: bool) -> Callable:
    def apply(node: Node) -> Node:
        if node.type.dtype.category >= FLOATING:
            return op(node)
        return ops.full(node.type.shape, otherwise, dtypes.bool_, node.type.device)

    return apply


def predicate(name: str, op: Callable) -> None:
    def function(input: Tensor) -> Tensor:
        return like_operands(compute_unary(op, KEEP, input, name), input)

    if name in ("isneginf", "isposinf", "signbit"):
        function = _with_out(name, op)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of every element, as a bool tensor."
    public(without_history(function), name)


def _with_out(name: str, op: Callable) -> Callable:
    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        if out is not None and out.dtype is not dtypes.bool_:
            raise RuntimeError(f"{name} does not support non-boolean outputs.")
        return given(compute_unary(op, KEEP, input, name), out, name, input)

    return function


predicate("isnan", _float_test(ops.isnan, False))
predicate("isinf", _float_test(ops.isinf, False))
predicate("isfinite", _float_test(ops.isfinite, True))


def _infinite(name: str, infinity: float) -> None:
    def apply(node: Node) -> Node:
        if node.type.dtype.is_complex:
            raise RuntimeError(f"{name} does not support complex inputs.")
        return _float_test(lambda x: ops.eq(x, infinity), False)(node)

    predicate(name, apply)


_infinite("isneginf", -math.inf)
_infinite("isposinf", math.inf)


def _signbit(node: Node) -> Node:
    if node.type.dtype.category >= FLOATING:
        return ops.signbit(node)
    if node.type.dtype is dtypes.bool_:
        return ops.full(node.type.shape, False, dtypes.bool_, node.type.device)
    return ops.lt(node, 0)


predicate("signbit", _signbit)


def _bitwise_not(node: Node) -> Node:
    if node.type.dtype.category == FLOATING:
        raise unsupported("bitwise_not_cpu", node.type.dtype)
    return ops.bitwise_not(node)


def invert(self: Tensor) -> Tensor:
    """`~self`."""
    if self.dtype.category >= FLOATING:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return like_operands(ops.bitwise_not(node_of(self)), self)


def _logical_not(node: Node) -> Node:
    return ops.logical_not(cast(node, dtypes.bool_) if node.type.dtype.is_complex else node)


def _square(node: Node) -> Node:
    if node.type.dtype is dtypes.bool_:
        node = cast(node, dtypes.int64)
    return ops.pow_(node, 2.0 if node.type.dtype.category >= FLOATING else 2)


def _frac(node: Node) -> Node:
    if node.type.dtype.category != FLOATING:
        raise unsupported("frac_cpu", node.type.dtype)
    return tagged(ops.sub(node, ops.trunc(node)), "Frac", node, saves=False)


unary("bitwise_not", _bitwise_not, KEPT)
unary("logical_not", _logical_not, KEEP)
unary("square", _square, KEEP)
unary("frac", _frac, KEPT)


def _scaled(name: str, factor: float) -> None:
    def apply(node: Node) -> Node:
        if node.type.dtype.is_complex:
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return ops.mul(node, factor)

    unary(name, apply)


_scaled("deg2rad", math.pi / 180)
_scaled("rad2deg", 180 / math.pi)


def positive(input: Tensor) -> Tensor:
    """`+input`: the tensor itself."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


public(positive, "positive")


def round(input: Tensor, *, decimals: int | None = None, out: Tensor | None = None) -> Tensor:
    """Rounds half to even, at `decimals` digits after the point."""
    node = node_of(input)
    if out is not None:
        fit_exactly(input.dtype, out.dtype, FOUND)
    result = _round(node, decimals)
    if decimals is not None:
        renamed(result, "RoundBackward1")
    return given(result, out, "round", input)


def round_(self: Tensor, *, decimals: int | None = None) -> Tensor:
    """`round`, in place."""
    check_writable(self)
    return update(self, _round(node_of(self), decimals))


def _round(node: Node, decimals: int | None) -> Node:
    if node.type.dtype.category < FLOATING:
        if decimals is not None or node.type.dtype is dtypes.bool_:
            raise unsupported("round_cpu" if decimals else "round_vml_cpu", node.type.dtype)
        return ops.cast_(node, arg=(node.type.dtype,))
    if not decimals:
        return ops.round_(node)
    if node.type.dtype.is_half:
        wide = _round(cast(node, dtypes.float32), decimals)
        return tagged(cast(wide, node.type.dtype), "Round", node, saves=False)
    scale = 10.0 ** abs_int(decimals)
    if decimals > 0:
        return ops.div(ops.round_(ops.mul(node, scale)), scale)
    return ops.mul(ops.round_(ops.div(node, scale)), scale)


def abs_int(n: int) -> int:
    return n if n >= 0 else -n


public(round, "round", inplace=round_)
