"""Values on any device: where they are, how the host reads them, and one primitive by way of it."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

import numpy as np

from lazyt.ir import evaluate
from lazyt.ir.opdef import PLACING, Op


def device_of(type: Any) -> str:
    """The device of a value's type, or of the first of several results."""
    return type[0].device if type.__class__ is tuple else type.device


def on_host(value: Any) -> Any:
    """A value as the host computes with it: a copy where it is on a device."""
    if value.__class__ is np.ndarray or not PLACING:
        return value
    if value.__class__ is tuple:
        return tuple(map(on_host, value))
    from .cuda.array import DeviceArray, download

    return download(value) if isinstance(value, DeviceArray) else value


def row_major(value: Any) -> bool:
    """Whether a value lies row-major; several results count as such."""
    if value.__class__ is np.ndarray:
        return value.flags.c_contiguous
    return value.__class__ is tuple or value.contiguous


def owned(value: Any) -> bool:
    """Whether a value is all of its memory, row-major, and may be written."""
    if value.__class__ is np.ndarray:
        return value.base is None and value.flags.writeable and value.flags.c_contiguous
    if value.__class__ is tuple or not value.whole or value.memory.shared:
        return False
    # Views hold the memory too: the attribute and getrefcount's argument are two.
    return getrefcount(value.memory) == 2


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device has no memory left."""
    if not PLACING:
        return False
    from .cuda.memory import OutOfMemoryError

    return isinstance(error, OutOfMemoryError)


def apply(op: Op, type: Any, arg: tuple, operands: list) -> Any:
    """The value of one primitive on operands of any device, computed by NumPy."""
    if not PLACING:
        return evaluate.apply(op, type, arg, operands)
    result = evaluate.apply(op, type, arg, [on_host(x) for x in operands])
    return _placed(result, type)


def _placed(result: Any, type: Any) -> Any:
    if type.__class__ is tuple:
        return tuple(map(_placed, result, type))
    if type.device == "cpu":
        return result
    from .cuda.array import upload

    return upload(result, type)
