"""Values on any device: where they are, how the host reads them, and one primitive by way of it."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

import numpy as np

from lazyt.ir import evaluate
from lazyt.ir.opdef import PLACING, Op
from lazyt.ir.ops_shape import strided


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


def copied(value: Any) -> Any:
    """A row-major copy of a value, on its device."""
    if value.__class__ is np.ndarray:
        return np.array(value, order="C", copy=True)
    from .cuda.array import copy_into, empty, type_of

    made = empty(type_of(value))
    copy_into(made, value)
    return made


def window(whole: Any, offset: int, shape: tuple, strides: tuple) -> Any:
    """What lies `offset` elements behind the first one of a row-major value, in other strides (in
    elements), as a view of its memory."""
    if whole.__class__ is np.ndarray:
        return strided(whole, offset, shape, strides)
    return whole.window(offset, shape, strides)


def overwrite(target: Any, value: Any) -> None:
    """Copies a value into the memory that `target` shows, on the same device.

    Where `target` repeats elements, those that are the same memory receive the same number.
    """
    if target.__class__ is np.ndarray:
        np.copyto(target, value)
        return
    from .cuda.array import copy_into

    once = (*[slice(0, 1) if k == 0 else slice(None) for k in target.strides], ...)
    copy_into(*[x.view(lambda a: a[once]) for x in (target, value)])


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
