"""Elementwise functions of two operands, and Python's operators on tensors.

`compute_*` work on nodes and numbers: promotion, PyTorch's checks, the primitive. The table at the
end ties them to the operators; `tensor.fast_binary` takes the plain cases of those.
"""

from __future__ import annotations

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

from .dispatch import (
    SETTINGS,
    as_tensor_operand,
    check_writable,
    deliver,
    number_of,
    operand,
    promoted,
    result_dtype,
    scalar_name,
    tagged,
    update,
    wrap,
)
from .pointwise import to_float
from .registry import FUNCTIONS, public
from .state import check_overlap, node_of
from .tensor import Tensor, attach, fast_binary


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
    "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
    "invert a mask, use the `~` or `logical_not()` operator instead."
)


def compute_sub(a: Any, b: Any) -> Node:
    bools = [
        x.type.dtype is dtypes.bool_ if x.__class__ is Node else x.__class__ is bool for x in (a, b)
    ]
    if all(bools):
        raise RuntimeError(SUBTRACT_BOOL)
    if any(bools) and any(x.__class__ is Node and x.type.dtype is dtypes.bool_ for x in (a, b)):
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
        x, y = (v if v.__class__ is not Node else cast_bool(v) for v in (a, b))
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
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
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
attach(__rtruediv__=_operator(compute_reverse_div, reverse=True))
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
attach(
    __eq__=_equality(COMPUTE["eq"], False),
    __ne__=_equality(COMPUTE["ne"], True),
    __neg__=FUNCTIONS["neg"],
    __pos__=FUNCTIONS["positive"],
    __abs__=FUNCTIONS["abs"],
    __invert__=FUNCTIONS["bitwise_not"],
)
