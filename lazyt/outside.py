"""Values from outside: the dtype and shape of nested sequences, and arrays made from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType

from .dispatch import SETTINGS
from .numeric import cast_data
from .state import shape_of
from .tensor import Tensor, from_numpy


def infer_dtype(data: Any) -> DType:
    """The dtype of nested sequences of numbers: bool, int64 or the default float dtype."""
    if isinstance(data, Tensor):
        return data.dtype
    if isinstance(data, (np.ndarray, np.generic)):
        found = dtypes.from_numpy(data.dtype)
        if found is None:
            raise TypeError(f"can't convert np.ndarray of type numpy.{data.dtype.name}.")
        return found
    if isinstance(data, bool):
        return dtypes.bool_
    if isinstance(data, int):
        return dtypes.int64
    if isinstance(data, float):
        return SETTINGS.default_dtype
    if isinstance(data, str):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if isinstance(data, Sequence) and len(data) and isinstance(data[0], str):
        raise ValueError(f"too many dimensions '{type(data[0]).__name__}'")
    if isinstance(data, Sequence) or hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        found = None
        for element in data:
            one = infer_dtype(element)
            if one.category == dtypes.FLOATING and not isinstance(
                element, (Tensor, np.ndarray, np.generic)
            ):
                one = one if isinstance(element, float) else one
            found = one if found is None else dtypes.promote(found, one)
        return found or SETTINGS.default_dtype
    if isinstance(data, complex):
        raise TypeError("complex tensors are not supported")
    raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")


def shape_of_data(data: Any) -> tuple[int, ...]:
    """The shape of nested sequences; ValueError where they are ragged."""
    if isinstance(data, Tensor):
        return shape_of(data)
    if isinstance(data, np.ndarray):
        return data.shape
    if isinstance(data, (bool, int, float, complex, np.generic)):
        return ()
    shape: list[int] = []
    level = data
    while not isinstance(level, (bool, int, float, complex, np.generic)):
        if isinstance(level, (Tensor, np.ndarray)):
            return (*shape, *level.shape)
        if isinstance(level, str) or not hasattr(level, "__len__"):
            raise TypeError(f"new(): invalid data type '{type(level).__name__}'")
        shape.append(len(level))
        if not len(level):
            break
        level = level[0]
    check_ragged(data, shape, 0)
    return tuple(shape)


def check_ragged(data: Any, shape: list[int], depth: int) -> None:
    if depth == len(shape):
        if isinstance(data, str):
            raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
        if not isinstance(data, (bool, int, float, np.generic)) and not (
            isinstance(data, (Tensor, np.ndarray)) and data.ndim == 0
        ):
            if hasattr(data, "__len__"):
                raise TypeError("only one element tensors can be converted to Python scalars")
            raise TypeError(f"must be real number, not {type(data).__name__}")
        return
    if not hasattr(data, "__len__") or isinstance(data, str):
        raise TypeError("not a sequence")
    if len(data) != shape[depth]:
        raise ValueError(
            f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})"
        )
    if isinstance(data, (np.ndarray, Tensor)):
        return
    for element in data:
        check_ragged(element, shape, depth + 1)


def array_from(data: Any, dtype: DType | None) -> tuple[np.ndarray, DType]:
    """A fresh row-major array with the values of `data`, in the carrier of its dtype."""
    if isinstance(data, Tensor):
        source = data.detach()
        from .state import array_of

        target = dtype or data.dtype
        return cast_data(array_of(source), target), target
    if dtype is None:
        dtype = infer_dtype(data)
    if isinstance(data, (np.ndarray, np.generic)):
        if dtypes.from_numpy(data.dtype) is None:
            from_numpy(np.asarray(data))
        return cast_data(np.asarray(data), dtype), dtype
    shape = shape_of_data(data)
    plain = _plain(data)
    if dtype.category == dtypes.FLOATING:
        try:
            array = np.array(plain, np.float64)
        except OverflowError:
            array = np.array(plain, object).astype(np.float64)
    elif dtype is dtypes.bool_:
        array = np.array(plain).astype(np.bool_) if shape else np.array(bool(plain))
        if array.size == 0:
            array = array.astype(np.bool_)
    else:
        array = np.array(plain)
        if array.dtype == object or array.dtype.kind == "u" and int(array.max()) > 2**63 - 1:
            raise ValueError("Overflow when unpacking long long")
        if array.dtype.kind not in "iub" and array.size:
            array = np.trunc(array)
        low, high = dtype.limits  # type: ignore[misc]
        if array.size and array.dtype.kind in "iu" and dtype.itemsize < 8:
            smallest, largest = int(array.min()), int(array.max())
            if largest > high or (
                smallest < low and not (dtype is dtypes.uint8 and smallest >= -255)
            ):
                raise RuntimeError(
                    f"value cannot be converted to type {_CONVERTED[dtype.name]} without overflow"
                )
    return cast_data(array.reshape(shape), dtype), dtype


_C_NAMES = {
    "uint8": "uint8_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int",
    "int64": "int64_t",
}


_CONVERTED = {
    "uint8": "uint8",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
}


def _plain(data: Any) -> Any:
    """Nested sequences with tensors among them as plain numbers."""
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, (list, tuple)):
        return (
            [_plain(d) for d in data]
            if any(
                isinstance(d, (Tensor, list, tuple, np.ndarray)) or hasattr(d, "__len__")
                for d in data
            )
            else list(data)
        )
    if isinstance(data, (range,)) or hasattr(data, "__len__") and not isinstance(data, np.ndarray):
        return [_plain(d) for d in data]
    return data
