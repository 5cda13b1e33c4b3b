"""Elementwise functions of two operands: add, mul, pow, maximum, eq and their like.

`compute_*` work on nodes and numbers: promotion, PyTorch's checks, the primitive. `COMPUTE` names
them; functions, methods and in-place methods are made of it here, Python's operators in
`operators.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import FLOATING, INTEGRAL, DType
from lazyt.ir.node import Node
from lazyt.ir.numerics import round_bfloat16
from lazyt.ir.opdef import Op
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.tags import Tag

from ..dispatch import (
    SETTINGS,
    NoDerivative,
    as_tensor_operand,
    check_writable,
    coerce,
    converted,
    fit_dtype,
    fit_shape,
    known,
    number_dtype,
    number_of,
    operand,
    overwritten,
    promoted,
    renamed,
    result_dtype,
    tagged,
    type_name,
    unsupported,
    update,
    without_history,
)
from ..layout import given
from ..registry import FUNCTIONS, also_called, public
from ..state import check_overlap, node_of
from ..tensor import Tensor
from .old_forms import old_form

OF_NUMBERS = {"add", "sub", "mul", "div", "true_divide", "floor_divide"}
NUMBER_FIRST = OF_NUMBERS | {"pow", "remainder", "bitwise_left_shift", "bitwise_right_shift"}
NUMBER_FIRST |= {"bitwise_and", "bitwise_or", "bitwise_xor"}


def both(input: Any, other: Any, name: str) -> tuple[Any, Any]:
    """Two operands as nodes or numbers; two numbers become a constant and a number.

    Errors: TypeError where PyTorch has no form of the function for a number in that place.
    """
    a, b = operand(input, name, 0), operand(other, name, 1)
    if a.__class__ is not Node:
        if name not in (NUMBER_FIRST if b.__class__ is Node else OF_NUMBERS):
            raise TypeError(
                f"{name}() received an invalid combination of arguments - got "
                f"({type(input).__name__}, {type(other).__name__}), but expected one of:\n"
                " * (Tensor input, Tensor other, *, Tensor out = None)\n"
                " * (Tensor input, Number other, *, Tensor out = None)\n"
            )
        if b.__class__ is not Node:
            a = as_tensor_operand(a, number_dtype(a))
    return a, b


def in_half(number: float, dtype: DType) -> float:
    """A number rounded to a half type, which is otherwise computed with in float32."""
    with np.errstate(over="ignore"):
        wide = np.asarray(number, np.float32)
        return float(round_bfloat16(wide) if dtype is dtypes.bfloat16 else wide.astype(np.float16))


def rounded(a: Any, b: Any) -> tuple[tuple, DType]:
    """`promoted`, where a number is rounded to a half type before it is computed with.

    PyTorch's CPU kernels of sums, remainders, powers and comparisons do that; those of products and
    quotients take a second operand of no dimension, number or tensor, as it is.
    """
    (x, y), dtype = promoted(a, b)
    if dtype.is_half:
        x, y = (v if v.__class__ is Node else in_half(v, dtype) for v in (x, y))
    return (x, y), dtype


def unrounded(a: Any, b: Any, dtype: DType) -> tuple[Any, Any, DType | None]:
    """The operands of a product or quotient, and the half type of its result if it is to be
    computed in float32 because `b` is a tensor of no dimension and of another type."""
    scalar = b.__class__ is Node and not b.type.shape and b.type.dtype is not dtype
    if dtype.is_half and scalar and a.__class__ is Node and a.type.dtype is dtype:
        return cast(a, dtypes.float32), cast(b, dtypes.float32), dtype
    (x, y), _ = promoted(a, b, dtype=dtype)
    return x, y, None


_WIDE = (dtypes.float32, dtypes.float64)


def _fits(a: Any, b: Any) -> bool:
    """Whether operands are computed with as they are: of one dtype, or a wide one and a float."""
    if a.__class__ is not Node:
        return False
    if b.__class__ is Node:
        return a.type.dtype is b.type.dtype
    return b.__class__ is float and a.type.dtype in _WIDE


def compute_add(a: Any, b: Any) -> Node:
    if _fits(a, b):
        return ops.add(a, b)
    (x, y), _ = rounded(a, b)
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
    if _fits(a, b) and a.type.dtype is not dtypes.bool_:
        return ops.sub(a, b)
    bools = [
        x.type.dtype is dtypes.bool_ if x.__class__ is Node else x.__class__ is bool for x in (a, b)
    ]
    if any(bools):
        raise RuntimeError(SUBTRACT_BOOL if all(bools) else SUBTRACT_ONE_BOOL)
    (x, y), _ = rounded(a, b)
    return ops.sub(x, y)


def compute_mul(a: Any, b: Any) -> Node:
    if _fits(a, b):
        return ops.mul(a, b)
    x, y, half = unrounded(a, b, result_dtype(a, b))
    return ops.mul(x, y) if half is None else tagged(cast(ops.mul(x, y), half), "Mul", a, b)


def compute_div(a: Any, b: Any) -> Node:
    if _fits(a, b) and a.type.dtype in _WIDE:
        return ops.div(a, b)
    dtype = result_dtype(a, b)
    if dtype.category < FLOATING:
        dtype = SETTINGS.default_dtype
    x, y, half = unrounded(a, b, dtype)
    return ops.div(x, y) if half is None else tagged(cast(ops.div(x, y), half), "Div", a, b)


def _known_zero(y: Any) -> bool:
    """Whether an integer divisor holds a zero, as far as its value is known by now."""
    if y.__class__ is not Node:
        return y == 0
    value = known(y)
    return value is not None and not value.all()


_OF_TENSORS = {"remainder": "RemainderBackward1", "fmod": "FmodBackward1"}


def _dividing(op: Op, name: str) -> Callable[[Any, Any], Node]:
    operands = promoted if name.startswith("div") else rounded

    def compute(a: Any, b: Any) -> Node:
        (x, y), dtype = operands(a, b)
        if dtype is dtypes.bool_:
            raise unsupported(f"{name}_cpu", dtype)
        if dtype.category < FLOATING and _known_zero(y):
            raise RuntimeError("ZeroDivisionError")
        node = op(x, y)
        if y.__class__ is Node and name in _OF_TENSORS:
            return renamed(node, _OF_TENSORS[name])
        return node

    return compute


_floor_div = _dividing(ops.floor_div, "div_floor")
_exact_trunc_div = _dividing(ops.trunc_div, "div_trunc")


def _trunc_div(a: Any, b: Any) -> Node:
    """The quotient towards zero; of half types it is rounded to them before."""
    if b.__class__ is Node and b.type.numel != 1 and result_dtype(a, b).is_half:
        (x, y), _ = promoted(a, b)
        return ops.trunc(ops.div(x, y))
    return _exact_trunc_div(a, b)


compute_remainder = _dividing(ops.remainder, "remainder")
compute_fmod = _dividing(ops.fmod, "fmod")


def compute_floor_div(a: Any, b: Any) -> Node:
    """`//`, which PyTorch does not differentiate, other than `div` with a rounding mode."""
    node = renamed(_floor_div(a, b), "NotImplemented")
    if node.grad:
        node.tag.call = NoDerivative("derivative for aten::floor_divide is not implemented")
    return node


def compute_pow(a: Any, b: Any) -> Node:
    dtype = result_dtype(a, b)
    if b.__class__ is not Node and dtype.category < FLOATING:
        if dtype.category == INTEGRAL:
            if b < 0:
                raise RuntimeError("Integers to negative integer powers are not allowed.")
            b = converted(b, dtype)
        else:
            return ops.cast_(a, arg=(dtype,)) if b else ops.full_like(a, True)
    if dtype is dtypes.bool_:
        raise unsupported("pow", dtype)
    (x, y), dtype = rounded(a, b)
    node = ops.pow_(x, y)
    if x.__class__ is not Node:
        return renamed(node, "PowBackward2")
    return renamed(node, "PowBackward1") if y.__class__ is Node else node


def _plain(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        (x, y), _ = promoted(a, b)
        return op(x, y)

    return compute


def _of_floats(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        dtype = result_dtype(a, b)
        if dtype.category < FLOATING:
            dtype = SETTINGS.default_dtype
        (x, y), _ = promoted(a, b, dtype=dtype)
        return op(x, y)

    return compute


def _comparing(op: Op) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        (x, y), _ = rounded(a, b)
        return op(x, y)

    return compute


def _bits(op: Op, name: str) -> Callable[[Any, Any], Node]:
    def compute(a: Any, b: Any) -> Node:
        (x, y), dtype = promoted(a, b)
        if dtype.category == FLOATING:
            raise unsupported(f"{name}_cpu", dtype)
        return op(x, y)

    return compute


def _neighbour(a: Any, b: Any) -> Node:
    (x, y), dtype = promoted(a, b)
    if dtype not in (dtypes.float32, dtypes.float64):
        raise unsupported("nextafter_cpu", dtype)
    return ops.nextafter(x, y)


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
            raise unsupported(f"{name}_cpu", dtype)
        return op(x, y)

    return compute


Compute = Callable[[Any, Any], Node]


def _check_out(out: Tensor | None, *inputs: Any) -> None:
    """Raises where `out` partly overlaps an operand."""
    if isinstance(out, Tensor):
        for operand_ in inputs:
            if isinstance(operand_, Tensor):
                check_overlap(out, operand_)


def binary(name: str, compute: Compute, *aliases: str) -> None:
    def function(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        _check_out(out, input, other)
        return given(compute(*both(input, other, name)), out, name, input, other)

    def changed(self: Tensor, other: Any) -> Tensor:
        return inplace_binary(self, other, compute, name)

    inplace: Callable[[Tensor, Any], Tensor] = changed
    if name in COMPARISONS:
        inplace = _compared_in_place(name, compute)
    elif name.startswith("logical"):
        inplace = without_history(inplace)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of every pair of elements, after broadcasting and promotion."
    if name in WITHOUT_HISTORY:
        function = without_history(function)
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    public(function, name, *aliases, inplace=inplace)


def _compared_in_place(name: str, compute: Compute) -> Callable[[Tensor, Any], Tensor]:
    """A comparison in place. What was there stays in the graph, and receives zeros."""

    def inplace(self: Tensor, other: Any) -> Tensor:
        kind = int(isinstance(other, Tensor))

        def compared(a: Any, b: Any) -> Node:
            result = cast(without_history(compute)(a, b), a.type.dtype)
            fit_shape(a.type.shape, result.type.shape)
            return overwritten(self, result, f"{name.title()}Backward{kind}")

        return inplace_binary(self, other, compared, name)

    return inplace


def tensors_only(name: str) -> None:
    """Lets a public function of two operands, and its methods, refuse numbers."""

    def checked(function: Callable, position: int, name: str) -> Callable:
        @functools.wraps(function)
        def wrapped(input: Tensor, other: Tensor, **options: Any) -> Tensor:
            for argument, place, x in (("input", 1, input), ("other", position, other)):
                if not isinstance(x, Tensor):
                    raise TypeError(
                        f"{name}(): argument '{argument}' (position {place}) must be Tensor, "
                        f"not {type_name(x)}"
                    )
            return function(input, other, **options)

        return wrapped

    function = FUNCTIONS[name]
    public(checked(function, 2, name), name)
    setattr(Tensor, name, checked(function, 1, name))
    if name + "_" in FUNCTIONS:
        setattr(Tensor, name + "_", checked(FUNCTIONS[name + "_"], 1, name + "_"))


def inplace_binary(self: Tensor, other: Any, compute: Compute, name: str) -> Tensor:
    if self._meta is not None:
        check_writable(self)
    if isinstance(other, Tensor) and self._storage is other._storage:
        check_overlap(self, other)
    a = node_of(self)
    b = other if other.__class__ is float else operand(other, name + "_", 1)
    try:
        result = compute(a, b)
        rule = result.tag.call if result.tag is not None else None
        if isinstance(rule, NoDerivative):
            rule.text = rule.text.replace(" is not", "_ is not")
        return update(self, result)
    except NotImplementedError:
        # PyTorch looks at shapes and types first.
        fit_shape(a.type.shape, b.type.shape if b.__class__ is Node else ())
        fit_dtype(result_dtype(a, b), a.type.dtype)
        raise


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
    "nextafter": _neighbour,
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
COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
WITHOUT_HISTORY = COMPARISONS | {"logical_and", "logical_or", "logical_xor"}
TENSORS_ONLY: tuple[str, ...] = (
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "atan2",
    "arctan2",
    "nextafter",
)
TENSORS_ONLY += ("logical_and", "logical_or", "logical_xor")
for _name, _compute in COMPUTE.items():
    binary(_name, _compute, *ALIASES.get(_name, ()))
for _name in TENSORS_ONLY:
    tensors_only(_name)
for _name in ("pow", "pow_"):
    public(also_called(FUNCTIONS[_name], exponent="other"), _name)


def _alpha(b: Any, alpha: Any, dtype: DType) -> Any:
    """`alpha * other`, with PyTorch's checks."""
    if alpha.__class__ is float and alpha != 1 and _fits(b, alpha) and b.type.dtype is dtype:
        return unsaved(ops.mul(b, alpha))
    if alpha.__class__ is not float:
        if isinstance(alpha, Tensor):
            alpha = alpha.item()
        if isinstance(alpha, bool) and dtype is not dtypes.bool_:
            raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if alpha == 1:
        return b
    if isinstance(alpha, float) and dtype.category < FLOATING:
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    if b.__class__ is Node:
        return unsaved(ops.mul(cast(b, dtype), alpha_number(alpha, dtype)))
    return b * alpha


def alpha_number(alpha: Any, dtype: DType) -> Any:
    number = coerce(number_of(alpha), dtype)
    return in_half(number, dtype) if dtype.is_half else number


def unsaved(node: Node) -> Node:
    """An inner step of a composition whose backward saves nothing in PyTorch."""
    if node.grad and node.tag is None:
        node.tag = Tag(saves=False)
    return node


def _with_alpha(name: str, compute: Compute, grad_name: str) -> None:
    def combine(a: Any, b: Any, alpha: Any) -> Node:
        if alpha == 1 and alpha.__class__ is int:
            return compute(a, b)
        scaled = _alpha(b, alpha, result_dtype(a, b))
        node = compute(a, scaled)
        if not node.grad:
            return node
        return tagged(node, grad_name, *[x for x in (a, b) if x.__class__ is Node])

    def function(
        input: Any, other: Any, *old: Any, alpha: Any = 1, out: Tensor | None = None
    ) -> Tensor:
        if old:
            return old_form(function, input, other, *old, out=out)
        _check_out(out, input, other)
        return given(combine(*both(input, other, name), alpha), out, name, input, other)

    def inplace(self: Tensor, other: Any, *old: Any, alpha: Any = 1) -> Tensor:
        if old:
            return old_form(inplace, self, other, *old)
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
    node = _rounding(rounding_mode)(*both(input, other, "div"))
    return given(node, out, "div", input, other)


def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """`div`, in place."""
    return inplace_binary(self, other, _rounding(rounding_mode), "div")


def _rounding(mode: str | None) -> Compute:
    if mode is None:
        return compute_div
    if mode in ("floor", "trunc"):
        divide = _floor_div if mode == "floor" else _trunc_div

        def rounded_quotient(a: Any, b: Any) -> Node:
            node = renamed(divide(a, b), "DivBackward2")
            if b.__class__ is Node and b.grad and a.__class__ is Node and node.tag is not None:
                node.tag.keeps = (a,)
            return node

        return rounded_quotient
    raise RuntimeError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{mode}'"
    )


public(div, "div", "divide", inplace=div_)


def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"rsub() received an invalid combination of arguments - got ({type_name(input)}, "
            f"{type_name(other)}), but expected one of:\n * (Tensor input, Tensor other, *, Number "
            "alpha = 1)\n * (Tensor input, Number other, Number alpha = 1)"
        )
    made = FUNCTIONS["sub"](other, input, alpha=alpha)
    if made._node is not None:
        renamed(made._node, "RsubBackward0" if isinstance(other, Tensor) else "RsubBackward1")
    return made


public(rsub, "rsub")
