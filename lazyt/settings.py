"""The settings a user can change, and small questions about types: all of them functions."""

from __future__ import annotations

import os
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.runtime.precision import PRECISION, set_precision
from lazyt.warned import warn

from .device import DEFAULT, Device, resolve
from .dispatch import SETTINGS, as_dtype, is_tensor, operand, result_dtype
from .dispatch import can_cast as _can_cast
from .tensor import Tensor

__all__ = [
    "_assert",
    "are_deterministic_algorithms_enabled",
    "can_cast",
    "get_default_device",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "get_num_threads",
    "is_complex",
    "is_floating_point",
    "is_tensor",
    "promote_types",
    "result_type",
    "set_default_device",
    "set_default_dtype",
    "set_float32_matmul_precision",
    "set_num_threads",
    "use_deterministic_algorithms",
]

_STATE: dict[str, Any] = {"deterministic": False, "threads": os.cpu_count() or 1}


def set_default_dtype(d: DType) -> None:
    """The float dtype that Python floats stand for."""
    if not isinstance(d, DType):
        raise TypeError(
            "invalid dtype object: only floating-point types are supported as the default type"
        )
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    SETTINGS.default_dtype = d


def get_default_dtype() -> DType:
    """The float dtype that Python floats stand for."""
    return SETTINGS.default_dtype


def set_default_device(device: Any) -> None:
    """The device of this thread's new tensors; None for the CPU.

    Whether it is there is found out when a tensor is made.
    """
    DEFAULT.device = None if device is None else Device(device)


def get_default_device() -> Device:
    """The device of new tensors; AssertionError or RuntimeError for one that is not there."""
    device = DEFAULT.device
    if device is None or device.index is not None:
        return device or Device("cpu")
    return Device(resolve(device))


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a float one."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one."""
    return input.is_complex()


def _assert(condition: Any, message: str) -> None:
    """An `assert` that reads the condition; AssertionError with the message."""
    assert condition, message


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype an operation on both would give."""
    return result_dtype(operand(tensor1, "result_type", 0), operand(tensor2, "result_type", 1))


def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest dtype that both fit into, by PyTorch's lattice."""
    first, second = as_dtype(type1, "promote_types"), as_dtype(type2, "promote_types")
    return dtypes.promote(first, second)


def can_cast(from_: DType, to: DType) -> bool:
    """Whether a value of one dtype may be converted to another in place."""
    return _can_cast(as_dtype(from_, "can_cast"), as_dtype(to, "can_cast"))


def set_num_threads(n: int) -> None:
    """How many threads generated code may use. NumPy's BLAS keeps its own setting."""
    if n < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    _STATE["threads"] = int(n)


def get_num_threads() -> int:
    """How many threads generated code may use."""
    return _STATE["threads"]


def set_float32_matmul_precision(precision: str) -> None:
    """How devices compute matrix products of float32: "highest" in float32, "high" and "medium" by
    matrix units where there are some, which round to tf32 (ten bits).

    A warning for another name, which changes nothing. Errors: RuntimeError for no str.
    """
    if not isinstance(precision, str):
        raise RuntimeError(
            f"set_float32_matmul_precision expects a str, but got {type(precision).__name__}"
        )
    if precision in ("highest", "high", "medium"):
        set_precision(matmul=precision)
        return
    warn(
        f"{precision} is not one of 'highest', 'high', or 'medium'; the current"
        "setFloat32MatmulPrecision call has no effect.",
    )


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was last told: "highest" at first."""
    return PRECISION[0].matmul


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remembered; every kernel of the CPU tiers is deterministic anyway."""
    _STATE["deterministic"] = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was last told."""
    return _STATE["deterministic"]
