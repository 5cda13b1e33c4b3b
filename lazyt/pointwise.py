"""Elementwise functions: each is defined once and attached as function, method and in-place method.

A table says for every name its primitive and how integers come in; what is more than one primitive
(`addcmul`, `lerp`, `gelu`-like compositions) is an ordinary function below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.autodiff import Tag
from lazyt.ir.dtypes import FLOATING, INTEGRAL, DType
from lazyt.ir.node import Node
from lazyt.ir.numerics import round_bfloat16
from lazyt.ir.opdef import Op
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import expand, reshape
from lazyt.ir.types import broadcast_shapes

from .dispatch import (
    SETTINGS,
    as_tensor_operand,
    check_writable,
    deliver,
    number_of,
    operand,
    overwritten,
    promoted,
    result_dtype,
    scalar_name,
    tagged,
    update,
    wrap,
)
from .state import check_overlap, node_of, shape_of
from .tensor import Tensor, fast_binary

FUNCTIONS: dict[str, Callable] = {}


def public(function: Callable, *names: str, inplace: Callable | None = None) -> Callable:
    """Makes a function public under its names, as function and method (and in-place method)."""
    for name in names or (function.__name__,):
        FUNCTIONS[name] = function
        setattr(Tensor, name, function)
        if inplace is not None:
            FUNCTIONS[name + "_"] = inplace
            setattr(Tensor, name + "_", inplace)
    return function


# --- one operand ----------------------------------------------------------------------------------

KEEP, FLOAT = "keep", "float"


def to_float(node: Node) -> Node:
    """Integers and bools in the default dtype; floats as they are."""
    if node.type.dtype.category == FLOATING:
        return node
    return cast(node, SETTINGS.default_dtype)


def compute_unary(op: Op, rule: str, input: Any, name: str) -> Node:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    node = node_of(input)
    if rule is FLOAT:
        node = to_float(node)
    return op(node)


def unary(name: str, op: Op, rule: str = FLOAT, *aliases: str) -> None:
    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        return deliver(compute_unary(op, rule, input, name), out, name)

    def inplace(self: Tensor) -> Tensor:
        check_writable(self)
        return update(self, compute_unary(op, rule, self, name + "_"))

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
    "rsqrt": ops.rsqrt,
    "reciprocal": ops.reciprocal,
    "sin": ops.sin,
    "cos": ops.cos,
    "tan": ops.tan,
    "sinh": ops.sinh,
    "cosh": ops.cosh,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "erf": ops.erf_,
    "erfinv": ops.erfinv_,
}.items():
    unary(_name, _op)
unary("asin", ops.asin, FLOAT, "arcsin")
unary("acos", ops.acos, FLOAT, "arccos")
unary("atan", ops.atan, FLOAT, "arctan")
unary("asinh", ops.asinh, FLOAT, "arcsinh")
unary("acosh", ops.acosh, FLOAT, "arccosh")
unary("atanh", ops.atanh, FLOAT, "arctanh")


def _whole_numbers_stay(op: Op) -> Callable:
    """Rounding functions leave integers alone."""

    def apply(node: Node) -> Node:
        return op(node) if node.type.dtype.category == FLOATING else ops.cast_(
            node, arg=(node.type.dtype,)
        )

    return apply


for _name, _op, _aliases in (
    ("floor", ops.floor, ()),
    ("ceil", ops.ceil, ()),
    ("trunc", ops.trunc, ("fix",)),
):
    unary(_name, _whole_numbers_stay(_op), KEEP, *_aliases)  # type: ignore[arg-type]


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
unary("neg", _not_bool(ops.neg, NEGATE_BOOL), KEEP, "negative")  # type: ignore[arg-type]


def _keep_bool(op: Op) -> Callable:
    return lambda node: (
        ops.cast_(node, arg=(node.type.dtype,)) if node.type.dtype is dtypes.bool_ else op(node)
    )


unary("abs", _keep_bool(ops.abs_), KEEP, "absolute")  # type: ignore[arg-type]
unary("sign", _keep_bool(ops.sign), KEEP, "sgn")  # type: ignore[arg-type]
unary("relu", _keep_bool(ops.relu), KEEP)  # type: ignore[arg-type]


def _float_test(op: Op, otherwise: bool) -> Callable:
    def apply(node: Node) -> Node:
        if node.type.dtype.category == FLOATING:
            return op(node)
        return ops.full(node.type.shape, otherwise, dtypes.bool_)

    return apply


def predicate(name: str, op: Callable) -> None:
    def function(input: Tensor) -> Tensor:
        return wrap(compute_unary(op, KEEP, input, name))  # type: ignore[arg-type]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of every element, as a bool tensor."
    public(function, name)


predicate("isnan", _float_test(ops.isnan, False))
predicate("isinf", _float_test(ops.isinf, False))
predicate("isfinite", _float_test(ops.isfinite, True))
predicate("isneginf", lambda n: ops.eq(n, -math.inf))
predicate("isposinf", lambda n: ops.eq(n, math.inf))


def _signbit(node: Node) -> Node:
    if node.type.dtype.category == FLOATING:
        return ops.signbit(node)
    if node.type.dtype is dtypes.bool_:
        return ops.full(node.type.shape, False, dtypes.bool_)
    return ops.lt(node, 0)


predicate("signbit", _signbit)


def _bitwise_not(node: Node) -> Node:
    if node.type.dtype.category == FLOATING:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return ops.bitwise_not(node)


unary("bitwise_not", _bitwise_not, KEEP)  # type: ignore[arg-type]
unary("logical_not", ops.logical_not, KEEP)
unary("square", lambda n: tagged(ops.mul(n, n), "Pow", n), KEEP)  # type: ignore[arg-type]
unary("frac", lambda n: ops.sub(n, ops.trunc(n)), KEEP)  # type: ignore[arg-type]
unary("deg2rad", lambda n: ops.mul(n, math.pi / 180))  # type: ignore[arg-type]
unary("rad2deg", lambda n: ops.mul(n, 180 / math.pi))  # type: ignore[arg-type]
unary("erfc", lambda n: ops.sub(1.0, ops.erf_(n)))  # type: ignore[arg-type]


def positive(input: Tensor) -> Tensor:
    """`+input`: the tensor itself."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


public(positive, "positive")


def round(input: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:  # noqa: A001
    """Rounds half to even, at `decimals` digits after the point."""
    return deliver(_round(node_of(input), decimals), out)


def round_(self: Tensor, *, decimals: int = 0) -> Tensor:
    """`round`, in place."""
    check_writable(self)
    return update(self, _round(node_of(self), decimals))


def _round(node: Node, decimals: int) -> Node:
    if node.type.dtype.category != FLOATING:
        return ops.cast_(node, arg=(node.type.dtype,))
    if not decimals:
        return ops.round_(node)
    scale = 10.0 ** abs_int(decimals)
    if decimals > 0:
        return ops.div(ops.round_(ops.mul(node, scale)), scale)
    return ops.mul(ops.round_(ops.div(node, scale)), scale)


def abs_int(n: int) -> int:
    return n if n >= 0 else -n


public(round, "round", inplace=round_)


# --- two operands ---------------------------------------------------------------------------------


def both(input: Any, other: Any, name: str) -> tuple[Any, Any]:
    """Two operands as nodes or numbers; two numbers become a constant and a number."""
    a, b = operand(input, name, 0), operand(other, name, 1)
    if a.__class__ is not Node and b.__class__ is not Node:
        from .dispatch import number_dtype

        a = as_tensor_operand(a, number_dtype(a))
    return a, b


def compute_add(a: Any, b: Any) -> Node:
    (x, y), _ = promoted(a, b)
    return ops.add(x, y)


SUBTRACT_BOOL = (
    "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
    "`logical_xor()` operator instead."
)
SUBTRACT_ONE_BOOL = (
    "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert "
    "a mask, use the `~` or `logical_not()` operator instead."
)


def compute_sub(a: Any, b: Any) -> Node:
    bools = [x.type.dtype is dtypes.bool_ if x.__class__ is Node else x.__class__ is bool for x in (a, b)]
    if all(bools):
        raise RuntimeError(SUBTRACT_BOOL)
    if any(bools) and any(
        x.__class__ is Node and x.type.dtype is dtypes.bool_ for x in (a, b)
    ):
        raise RuntimeError(SUBTRACT_ONE_BOOL)
    (x, y), _ = promoted(a, b)
    return ops.sub(x, y)


def compute_mul(a: Any, b: Any) -> Node:
    (x, y), _ = promoted(a, b)
    return ops.mul(x, y)


def compute_div(a: Any, b: Any) -> Node:
    dtype = result_dtype(a, b)
    if dtype.category != FLOATING:
        dtype = SETTINGS.default_dtype
    (x, y), _ = promoted(a, b, dtype=dtype)
    return ops.div(x, y)


def _known_zero(y: Any) -> bool:
    """Whether an integer divisor holds a zero, as far as its value is known by now."""
    if y.__class__ is not Node:
        return y == 0
    return y.value is not None and not y.value.all()


def _dividing(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        (x, y), dtype = promoted(a, b)
        if dtype is dtypes.bool_:
            x, y = (cast(v, dtypes.uint8) if v.__class__ is Node else int(v) for v in (x, y))
        if dtype.category != FLOATING and _known_zero(y):
            raise RuntimeError("ZeroDivisionError")
        return op(x, y)

    return compute


compute_floor_div = _dividing(ops.floor_div)
compute_trunc_div = _dividing(ops.trunc_div)
compute_remainder = _dividing(ops.remainder)
compute_fmod = _dividing(ops.fmod)


def compute_pow(a: Any, b: Any) -> Node:
    (x, y), dtype = promoted(a, b)
    if dtype is dtypes.bool_:
        raise RuntimeError("\"pow\" not implemented for 'Bool'")
    if dtype.category == INTEGRAL and y.__class__ is not Node and y < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    return ops.pow_(x, y)


def _plain(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        (x, y), _ = promoted(a, b)
        return op(x, y)

    return compute


def _of_floats(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        dtype = result_dtype(a, b)
        if dtype.category != FLOATING:
            dtype = SETTINGS.default_dtype
        (x, y), _ = promoted(a, b, dtype=dtype)
        return op(x, y)

    return compute


def _as_bfloat16(number: float) -> float:
    return float(round_bfloat16(np.asarray(number, np.float32)))


def _comparing(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        dtype = result_dtype(a, b)
        number = b if b.__class__ is not Node else a
        if number.__class__ is int and dtype.category == INTEGRAL:
            # An integer outside the tensor's range still compares as itself.
            low, high = dtype.limits  # type: ignore[misc]
            if not low <= number <= high:
                dtype = dtypes.int64 if -(2**63) <= number < 2**63 else dtypes.float64
        (x, y), _ = promoted(a, b, dtype=dtype)
        if dtype is dtypes.bfloat16:  # carried in float32: what is compared must be rounded
            x, y = (v if v.__class__ is Node else _as_bfloat16(v) for v in (x, y))
        return op(x, y)

    return compute


def _bits(op: Op, name: str) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        (x, y), dtype = promoted(a, b)
        if dtype.category == FLOATING:
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{scalar_name(dtype)}'")
        return op(x, y)

    return compute


def _logical(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        x, y = (
            v if v.__class__ is not Node else cast_bool(v)
            for v in (a, b)
        )
        return op(x, bool(y) if y.__class__ is not Node else y)

    return compute


def cast_bool(node: Node) -> Node:
    """Nonzero elements as a bool tensor."""
    return cast(node, dtypes.bool_)


def _shifting(op: Op, name: str) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        (x, y), dtype = promoted(a, b)
        if dtype.category != INTEGRAL:
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{scalar_name(dtype)}'")
        return op(x, y)

    return compute


Compute = Callable[[Any, Any], Node]


def binary(name: str, compute: Compute, *aliases: str, has_out: bool = True) -> None:
    def function(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        return deliver(compute(*both(input, other, name)), out, name)

    def inplace(self: Tensor, other: Any) -> Tensor:
        return inplace_binary(self, other, compute, name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of every pair of elements, after broadcasting and promotion."
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    public(function, name, *aliases, inplace=inplace)


def inplace_binary(self: Tensor, other: Any, compute: Compute, name: str) -> Tensor:
    check_writable(self)
    if isinstance(other, Tensor):
        check_overlap(self, other)
    return update(self, compute(node_of(self), operand(other, name + "_", 1)))


COMPUTE: dict[str, Compute] = {
    "true_divide": compute_div,
    "floor_divide": compute_floor_div,
    "remainder": compute_remainder,
    "fmod": compute_fmod,
    "pow": compute_pow,
    "maximum": _plain(ops.maximum),
    "minimum": _plain(ops.minimum),
    "fmax": _plain(ops.fmax),
    "fmin": _plain(ops.fmin),
    "atan2": _of_floats(ops.atan2),
    "eq": _comparing(ops.eq),
    "ne": _comparing(ops.ne),
    "lt": _comparing(ops.lt),
    "le": _comparing(ops.le),
    "gt": _comparing(ops.gt),
    "ge": _comparing(ops.ge),
    "logical_and": _logical(ops.logical_and),
    "logical_or": _logical(ops.logical_or),
    "logical_xor": _logical(ops.logical_xor),
    "bitwise_and": _bits(ops.bitwise_and, "bitwise_and"),
    "bitwise_or": _bits(ops.bitwise_or, "bitwise_or"),
    "bitwise_xor": _bits(ops.bitwise_xor, "bitwise_xor"),
    "bitwise_left_shift": _shifting(ops.shift_left, "lshift"),
    "bitwise_right_shift": _shifting(ops.shift_right, "rshift"),
}
ALIASES = {
    "ne": ("not_equal",),
    "lt": ("less",),
    "le": ("less_equal",),
    "gt": ("greater",),
    "ge": ("greater_equal",),
    "atan2": ("arctan2",),
}
for _name, _compute in COMPUTE.items():
    binary(_name, _compute, *ALIASES.get(_name, ()))


def _alpha(name: str, b: Any, alpha: Any, dtype: DType) -> Any:
    """`alpha * other`, with PyTorch's checks."""
    if alpha == 1:
        return b
    if isinstance(alpha, Tensor):
        alpha = alpha.item()
    if isinstance(alpha, bool) and dtype is not dtypes.bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and dtype.category != FLOATING:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if b.__class__ is Node:
        return unsaved(ops.mul(cast(b, dtype), alpha_number(alpha, dtype)))
    return b * alpha


def alpha_number(alpha: Any, dtype: DType) -> Any:
    from .dispatch import coerce

    return coerce(number_of(alpha), dtype)


def unsaved(node: Node) -> Node:
    """An inner step of a composition whose backward saves nothing in PyTorch."""
    if node.grad and node.tag is None:
        node.tag = Tag(saves=False)
    return node


def _with_alpha(name: str, compute: Compute, grad_name: str) -> None:
    def combine(a: Any, b: Any, alpha: Any) -> Node:
        if alpha == 1 and alpha.__class__ is int:
            return compute(a, b)
        scaled = _alpha(name, b, alpha, result_dtype(a, b))
        node = compute(a, scaled)
        inputs = [x for x in (a, b) if x.__class__ is Node]
        return tagged(node, grad_name, *inputs)

    def function(input: Any, other: Any, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
        return deliver(combine(*both(input, other, name), alpha), out, name)

    def inplace(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return inplace_binary(self, other, lambda a, b: combine(a, b, alpha), name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of input and alpha * other."
    inplace.__name__ = inplace.__qualname__ = name + "_"
    public(function, name, {"sub": "subtract"}.get(name, name), inplace=inplace)


_with_alpha("add", compute_add, "Add")
_with_alpha("sub", compute_sub, "Sub")
binary("mul", compute_mul, "multiply")


def div(
    input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """True division, or with `rounding_mode` "floor" or "trunc"."""
    return deliver(_rounding(rounding_mode)(*both(input, other, "div")), out)


def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """`div`, in place."""
    return inplace_binary(self, other, _rounding(rounding_mode), "div")


def _rounding(mode: str | None) -> Compute:
    if mode is None:
        return compute_div
    if mode == "floor":
        return compute_floor_div
    if mode == "trunc":
        return compute_trunc_div
    raise RuntimeError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'"
    )


public(div, "div", "divide", inplace=div_)


def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    return FUNCTIONS["sub"](other, input, alpha=alpha)


public(rsub, "rsub")


# --- Python's operators ---------------------------------------------------------------------------


def _operator(compute: Compute, reverse: bool = False) -> Callable:
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor):
            number = number_of(other)
            if number is None:
                return NotImplemented
            b = number
        else:
            b = node_of(other)
        a = node_of(self)
        return wrap(compute(b, a) if reverse else compute(a, b))

    return method


def _inplace_operator(compute: Compute, name: str) -> Callable:
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor) and number_of(other) is None:
            return NotImplemented
        return inplace_binary(self, other, compute, name)

    return method


def _equality(compute: Compute, otherwise: bool) -> Callable:
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor) and number_of(other) is None:
            return otherwise
        return wrap(compute(node_of(self), operand(other, "eq")))

    return method


OPERATORS: dict[str, tuple[Compute, Op | None, bool]] = {
    "add": (compute_add, ops.add, False),
    "sub": (compute_sub, ops.sub, True),
    "mul": (compute_mul, ops.mul, False),
    "truediv": (compute_div, ops.div, True),
    "floordiv": (compute_floor_div, None, False),
    "mod": (compute_remainder, None, False),
    "pow": (compute_pow, None, False),
    "and": (COMPUTE["bitwise_and"], None, False),
    "or": (COMPUTE["bitwise_or"], None, False),
    "xor": (COMPUTE["bitwise_xor"], None, False),
    "lshift": (COMPUTE["bitwise_left_shift"], None, False),
    "rshift": (COMPUTE["bitwise_right_shift"], None, False),
}


def compute_reverse_div(a: Any, b: Any) -> Node:
    """number / tensor, which PyTorch computes as reciprocal times number."""
    if a.__class__ is Node:
        return compute_div(a, b)
    return compute_mul(ops.reciprocal(to_float(b)), float(a))


for _name, (_compute, _fast, _floats) in OPERATORS.items():
    _slow = _operator(_compute)
    setattr(
        Tensor,
        f"__{_name}__",
        fast_binary(_fast, _slow, floats_only=_floats, boolean=False) if _fast else _slow,
    )
    setattr(Tensor, f"__r{_name}__", _operator(_compute, reverse=True))
    setattr(Tensor, f"__i{_name}__", _inplace_operator(_compute, _name))
Tensor.__rtruediv__ = _operator(compute_reverse_div, reverse=True)  # type: ignore[attr-defined]
for _name in ("lt", "le", "gt", "ge"):
    setattr(
        Tensor,
        f"__{_name}__",
        fast_binary(
            getattr(ops, _name),
            _operator(COMPUTE[_name]),
            floats_only=False,
            boolean=True,
        ),
    )
Tensor.__eq__ = _equality(COMPUTE["eq"], False)  # type: ignore[method-assign,assignment]
Tensor.__ne__ = _equality(COMPUTE["ne"], True)  # type: ignore[method-assign,assignment]
Tensor.__neg__ = FUNCTIONS["neg"]  # type: ignore[attr-defined]
Tensor.__pos__ = FUNCTIONS["positive"]  # type: ignore[attr-defined]
Tensor.__abs__ = FUNCTIONS["abs"]  # type: ignore[attr-defined]
Tensor.__invert__ = FUNCTIONS["bitwise_not"]  # type: ignore[attr-defined]

# --- three operands and compositions --------------------------------------------------------------


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None):
    """input where condition holds, else other; with the condition alone, `nonzero(as_tuple=True)`."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    cond = node_of(condition)
    if cond.type.dtype is not dtypes.bool_:
        if cond.type.dtype is not dtypes.uint8:
            raise RuntimeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{scalar_name(cond.type.dtype)}"
            )
        cond = cast_bool(cond)
    a, b = operand(input, "where", 0), operand(other, "where", 1)
    (x, y), dtype = promoted(a, b)
    if x.__class__ is not Node and y.__class__ is not Node:
        y = as_tensor_operand(y, dtype)
    return deliver(ops.where(cond, x, y), out)


public(where, "where")
Tensor.where = lambda self, condition, other: where(condition, self, other)  # type: ignore[attr-defined]


def _bound(x: Any) -> Any:
    if x is None:
        return None
    return operand(x, "clamp", 1)


def compute_clamp(input: Node, min: Any, max: Any) -> Node:
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    low, high = _bound(min), _bound(max)
    dtype = result_dtype(*[x for x in (input, low, high) if x is not None])
    node = cast(input, dtype)
    if low is not None:
        (_, bound), _ = promoted(node, low, dtype=dtype)
        node = ops.clamp_min(node, bound)
    if high is not None:
        (_, bound), _ = promoted(node, high, dtype=dtype)
        node = ops.clamp_max(node, bound)
    return tagged(node, "Clamp", input)


def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Elements limited to [min, max]; nan stays nan."""
    return deliver(compute_clamp(node_of(input), min, max), out)


def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """`clamp`, in place."""
    check_writable(self)
    return update(self, compute_clamp(node_of(self), min, max))


public(clamp, "clamp", "clip", inplace=clamp_)


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """`clamp` from below."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """`clamp` from above."""
    return clamp(input, max=max)


public(clamp_min, "clamp_min", inplace=lambda self, min: clamp_(self, min=min))
public(clamp_max, "clamp_max", inplace=lambda self, max: clamp_(self, max=max))


def _scaled(value: Any, node: Node) -> Node:
    number = number_of(value)
    if number == 1:
        return node
    (x, y), _ = promoted(node, number)
    return ops.mul(x, y)


def compute_addcmul(a: Node, b: Node, c: Node, value: Any, op: Compute) -> Node:
    return compute_add(a, _scaled(value, op(b, c)))


def addcmul(
    input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1, out: Tensor | None = None
) -> Tensor:
    """input + value * tensor1 * tensor2."""
    a, b, c = node_of(input), node_of(tensor1), node_of(tensor2)
    return deliver(tagged(compute_addcmul(a, b, c, value, compute_mul), "Addcmul", a, b, c), out)


def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """`addcmul`, in place."""
    check_writable(self)
    nodes = node_of(self), node_of(tensor1), node_of(tensor2)
    return update(self, compute_addcmul(*nodes, value, compute_mul))


public(addcmul, "addcmul", inplace=addcmul_)


def addcdiv(
    input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1, out: Tensor | None = None
) -> Tensor:
    """input + value * tensor1 / tensor2."""
    a, b, c = node_of(input), node_of(tensor1), node_of(tensor2)
    return deliver(tagged(compute_addcmul(a, b, c, value, compute_div), "Addcdiv", a, b, c), out)


def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """`addcdiv`, in place."""
    check_writable(self)
    nodes = node_of(self), node_of(tensor1), node_of(tensor2)
    return update(self, compute_addcmul(*nodes, value, compute_div))


public(addcdiv, "addcdiv", inplace=addcdiv_)


def c_name(dtype: DType) -> str:
    """The dtype as PyTorch's messages about expected dtypes spell it."""
    return {"float32": "float", "float64": "double", "float16": "c10::Half"}.get(
        dtype.name, dtype.name
    )


def compute_lerp(a: Node, b: Node, weight: Any) -> Node:
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            f"expected dtype {c_name(a.type.dtype)} for `end` but got dtype {c_name(b.type.dtype)}"
        )
    w = operand(weight, "lerp", 1)
    scaled = ops.mul(ops.sub(b, a), w if w.__class__ is Node else float(w))
    return ops.add(a, scaled if w.__class__ is Node else unsaved(scaled))


def lerp(input: Tensor, end: Tensor, weight: Any, *, out: Tensor | None = None) -> Tensor:
    """input + weight * (end - input)."""
    a, b = node_of(input), node_of(end)
    return deliver(tagged(compute_lerp(a, b, weight), "Lerp", a, b), out)


def lerp_(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`lerp`, in place."""
    check_writable(self)
    return update(self, compute_lerp(node_of(self), node_of(end), weight))


public(lerp, "lerp", inplace=lerp_)


def nan_to_num(
    input: Tensor,
    nan: float | None = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """nan and the infinities replaced by numbers; None stands for 0 and the dtype's limits."""
    node = node_of(input)
    dtype = node.type.dtype
    if dtype.category == FLOATING:
        from .info import finfo

        limit = finfo(dtype)
        high = limit.max if posinf is None else float(posinf)
        low = limit.min if neginf is None else float(neginf)
        result = ops.where(ops.isnan(node), float(nan or 0.0), node)
        result = ops.where(ops.eq(node, math.inf), high, result)
        node = ops.where(ops.eq(node, -math.inf), low, result)
    return deliver(node if node is not node_of(input) else ops.cast_(node, arg=(dtype,)), out)


public(nan_to_num, "nan_to_num")


def fill_(self: Tensor, value: Any) -> Tensor:
    """Every element becomes `value` (a number or a 0-d tensor)."""
    check_writable(self, allow_overlap=True)
    shape, dtype = shape_of(self), self.dtype
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.dim()} dimensions."
            )
        node = expand(reshape(cast(node_of(value), dtype), (1,) * len(shape)), shape)
        return update(self, node)
    number = number_of(value)
    if number is None:
        raise TypeError(
            f"fill_(): argument 'value' (position 1) must be Tensor or Number, not "
            f"{type(value).__name__}"
        )
    return update(self, overwritten(self, ops.full(shape, number, dtype), "FillBackward2"))


def zero_(self: Tensor) -> Tensor:
    """Every element becomes 0."""
    check_writable(self, allow_overlap=True)
    zeros = ops.full(shape_of(self), 0, self.dtype)
    return update(self, overwritten(self, zeros, "ZeroBackward0"))


Tensor.fill_ = fill_  # type: ignore[attr-defined]
Tensor.zero_ = zero_  # type: ignore[attr-defined]


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where `mask` holds, else the input."""
    return wrap(_masked(node_of(input), mask, value, "masked_fill"))


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`masked_fill`, in place."""
    check_writable(self)
    return update(self, _masked(node_of(self), mask, value, "masked_fill_"))


def _masked(node: Node, mask: Tensor, value: Any, name: str) -> Node:
    m = node_of(mask)
    if m.type.dtype is not dtypes.bool_:
        raise RuntimeError(
            "masked_fill_ only supports boolean masks, but got mask with dtype "
            f"{scalar_name(m.type.dtype).lower()}"
        )
    filler = operand(value, name, 1)
    if filler.__class__ is Node and filler.type.shape:
        raise RuntimeError(
            f"{name.rstrip('_')} only supports a 0-dimensional value tensor, but got tensor with "
            f"{len(filler.type.shape)} dimension(s)."
        )
    dtype = node.type.dtype
    if filler.__class__ is Node:
        filler = cast(filler, dtype)
    else:
        if filler.__class__ is float and dtype.category != FLOATING:
            raise RuntimeError(
                f"value cannot be converted to type {dtype.name}_t without overflow"
            )
        (_, filler), _ = promoted(node, filler, dtype=dtype)
    broadcast_shapes(m.type.shape, node.type.shape)
    return tagged(ops.where(m, filler, node), "MaskedFill", node)


public(masked_fill, "masked_fill", inplace=masked_fill_)


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol * |other|, or equal."""
    a, b = node_of(input), node_of(other)
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(f"{scalar_name(a.type.dtype)} did not match {scalar_name(b.type.dtype)}")
    close = ops.eq(a, b)
    if equal_nan and a.type.dtype.category == FLOATING:
        close = ops.logical_or(close, ops.logical_and(ops.isnan(a), ops.isnan(b)))
    if rtol == 0 and atol == 0:
        return wrap(close)
    x, y = (cast(v, dtypes.float64) if v.type.dtype.category != FLOATING else v for v in (a, b))
    allowed = ops.add(ops.abs_(ops.mul(y, float(rtol))), float(atol))
    gap = ops.abs_(ops.sub(x, y))
    near = ops.logical_and(ops.isfinite(gap), ops.le(gap, allowed))
    return wrap(ops.logical_or(close, near))


public(isclose, "isclose")


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether `isclose` holds everywhere."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


public(allclose, "allclose")


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape and equal elements."""
    a, b = node_of(input), node_of(other)
    if a.type.shape != b.type.shape:
        return False
    return bool(wrap(COMPUTE["eq"](a, b)).all()) if a.type.numel else True


public(equal, "equal")


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)), without overflow."""
    (a, b), _ = promoted(node_of(input), node_of(other))
    top = ops.maximum(a, b)
    gap = ops.neg(ops.abs_(ops.sub(a, b)))
    result = ops.where(ops.isinf(top), top, ops.add(top, ops.log1p(ops.exp(gap))))
    return wrap(tagged(result, "Logaddexp", a, b))


public(logaddexp, "logaddexp")
