"""Python's operators on tensors: `x + y`, `2 / x`, `x += y`, `x < y`, `-x`.

What an operator computes stands in `arithmetic.py`; which operators there are, and which of them
have a short way for plain operands (`fast.fast_binary`), is the table here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.node import Node
from lazyt.ir.opdef import Op

from ..dispatch import number_of, operand, renamed, without_history
from ..layout import like_operands
from ..registry import FUNCTIONS
from ..state import node_of
from ..tensor import Tensor, attach, from_numpy
from .arithmetic import (
    COMPUTE,
    Compute,
    compute_add,
    compute_div,
    compute_floor_div,
    compute_mul,
    compute_pow,
    compute_remainder,
    compute_sub,
    inplace_binary,
)
from .fast import fast_binary
from .pointwise import invert, to_float


def compute_reverse_sub(a: Any, b: Any) -> Node:
    """number - tensor."""
    return renamed(compute_sub(a, b), "RsubBackward1")


def _operator(compute: Compute, reverse: bool = False) -> Callable:
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor):
            number = number_of(other)
            if number is None:
                return NotImplemented
            a, b = node_of(self), number
        else:
            a, b = node_of(self), node_of(other)
        return like_operands(compute(b, a) if reverse else compute(a, b), self, other)

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
            if not isinstance(other, np.ndarray) or otherwise:
                return otherwise  # PyTorch compares arrays by == only
            if dtypes.from_numpy(other.dtype) is None:
                return otherwise
            other = from_numpy(other)
        return like_operands(compute(node_of(self), operand(other, "eq")), self, other)

    return without_history(method)


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
    return compute_mul(ops.reciprocal(to_float(b)), a if a.__class__ is complex else float(a))


for _name, (_compute, _fast, _floats) in OPERATORS.items():
    _method, _reverse = _operator(_compute), _operator(_compute, reverse=True)
    if _fast:
        _plain_case = {"floats_only": _floats, "rounds": _name in ("add", "sub")}
        _method = fast_binary(f"__{_name}__", _fast, _method, **_plain_case)
        if _name in ("add", "mul"):
            _reverse = fast_binary(f"__r{_name}__", _fast, _reverse, reverse=True, **_plain_case)
    setattr(Tensor, f"__{_name}__", _method)
    setattr(Tensor, f"__r{_name}__", _reverse)
    setattr(Tensor, f"__i{_name}__", _inplace_operator(_compute, _name))
attach(
    __rtruediv__=_operator(compute_reverse_div, reverse=True),
    __rsub__=_operator(compute_reverse_sub, reverse=True),
)
for _name in ("lt", "le", "gt", "ge"):
    _method, _fast = _operator(COMPUTE[_name]), getattr(ops, _name)
    _method = fast_binary(f"__{_name}__", _fast, _method, boolean=True, rounds=True)
    setattr(Tensor, f"__{_name}__", _method)
attach(
    __eq__=_equality(COMPUTE["eq"], False),
    __ne__=_equality(COMPUTE["ne"], True),
    __neg__=FUNCTIONS["neg"],
    __pos__=FUNCTIONS["positive"],
    __abs__=FUNCTIONS["abs"],
    __invert__=invert,
)
