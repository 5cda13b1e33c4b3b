"""Values from outside: the dtype and shape of nested sequences, and arrays made from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.warned import warn_once

from ..dispatch import SETTINGS
from ..tensor import Tensor, from_numpy
from .numeric import cast_data


def infer_dtype(data: Any) -> DType:
    """The dtype of nested sequences of numbers: bool, int64, the default float dtype or its complex
    type."""
    if isinstance(data, Tensor):
        return data.dtype
    if isinstance(data, (np.ndarray, np.generic)):
        found = dtypes.from_numpy(data.dtype)
        if found is None:
            raise unsupported_array(data.dtype)
        return found
    if isinstance(data, bool):
        return dtypes.bool_
    if isinstance(data, int):
        return dtypes.int64
    if isinstance(data, float):
        return SETTINGS.default_dtype
    if isinstance(data, complex):
        return SETTINGS.default_dtype.to_complex()
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if not _is_sequence(data):
        module = type(data).__module__
        prefix = "" if module == "builtins" else module + "."
        raise RuntimeError(f"Could not infer dtype of {prefix}{type(data).__name__}")
    if len(data) and isinstance(data[0], str):
        raise ValueError(f"too many dimensions '{type(data[0]).__name__}'")
    found = None
    for element in data:
        one = infer_dtype(element)
        found = one if found is None else dtypes.promote(found, one)
    return found or SETTINGS.default_dtype


def unsupported_array(dtype: np.dtype) -> TypeError:
    """PyTorch's error for an array of a type that no tensor has."""
    return TypeError(
        f"can't convert np.ndarray of type numpy.{dtype.type.__name__}. The only supported types "
        "are: float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, "
        "uint32, uint16, uint8, and bool."
    )


def _is_sequence(x: Any) -> bool:
    return hasattr(x, "__len__") and hasattr(x, "__getitem__") and not isinstance(x, (dict, bytes))


SLOW = (
    "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting "
    "the list to a single numpy.ndarray with numpy.array() before converting to a tensor."
)
_SCALARS = (bool, int, float, complex, np.generic)


def shape_of_data(data: Any) -> tuple[int, ...]:
    """The shape of nested sequences; tensors in them count as numbers."""
    shape: list[int] = []
    level = data
    while not isinstance(level, (*_SCALARS, Tensor)):
        if isinstance(level, np.ndarray):
            return (*shape, *level.shape)
        if shape and isinstance(level, str):
            raise ValueError(f"too many dimensions '{type(level).__name__}'")
        if isinstance(level, str) or not _is_sequence(level):
            raise TypeError(f"new(): invalid data type '{type(level).__name__}'")
        shape.append(len(level))
        if not len(level):
            break
        level = level[0]
    return tuple(shape)


def check_elements(data: Any, shape: tuple[int, ...], dtype: DType, depth: int = 0) -> None:
    """Raises PyTorch's error where nested sequences are ragged or hold what is no number."""
    kind = type(data).__name__
    if depth == len(shape):
        if isinstance(data, Tensor):
            if data.numel() != 1:
                data.__float__() if data.dtype.category >= dtypes.FLOATING else data.__index__()
        elif (
            not isinstance(data, _SCALARS)
            and not (isinstance(data, np.ndarray) and not data.ndim)
            or isinstance(data, complex)
            and dtype.category != dtypes.COMPLEX
        ):
            raise _no_number(kind, dtype)
        return
    if isinstance(data, Tensor) or not hasattr(data, "__len__"):
        raise TypeError("not a sequence")
    if len(data) != shape[depth]:
        raise ValueError(
            f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})"
        )
    if not isinstance(data, np.ndarray):
        for element in data:
            check_elements(element, shape, dtype, depth + 1)


def _no_number(kind: str, dtype: DType) -> TypeError:
    """The error for an element that is no number of the dtype's category."""
    if dtype.category >= dtypes.FLOATING:
        return TypeError(f"must be real number, not {kind}")
    return TypeError(f"'{kind}' object cannot be interpreted as an integer")


def _check_range(array: np.ndarray, dtype: DType) -> None:
    """RuntimeError where a number is outside an integer dtype; negative ones wrap in uint8."""
    low, high = dtype.limits  # type: ignore[misc]
    fits = (array >= low) & (array <= high)
    if dtype is dtypes.uint8 and array.dtype.kind != "f":
        fits = (array >= -high) & (array <= high)
    if not fits.all():
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")


def array_from(data: Any, dtype: DType | None) -> tuple[np.ndarray, DType]:
    """A fresh row-major array with the values of `data`, in the carrier of its dtype."""
    if isinstance(data, Tensor):
        source = data.detach()
        from ..state import array_of

        target = dtype or data.dtype
        return cast_data(array_of(source), target), target
    if dtype is None:
        dtype = infer_dtype(data)
    if isinstance(data, (np.ndarray, np.generic)):
        if dtypes.from_numpy(data.dtype) is None:
            from_numpy(np.asarray(data))
        return cast_data(np.asarray(data), dtype), dtype
    shape = shape_of_data(data)
    if 0 not in shape:
        check_elements(data, shape, dtype)
    else:
        data = np.empty(shape)
    plain = _plain(data)
    if dtype.category == dtypes.FLOATING:
        try:
            array = np.array(plain, np.float64)
        except OverflowError:
            array = np.array(plain, object).astype(np.float64)
    elif dtype.category == dtypes.COMPLEX:
        array = np.array(plain, np.complex128)
    elif dtype is dtypes.bool_:
        array = np.array(plain).astype(np.bool_) if shape else np.array(bool(plain))
        if array.size == 0:
            array = array.astype(np.bool_)
    else:
        array = np.array(plain)
        if array.dtype == object or array.dtype.kind == "u" and int(array.max()) > 2**63 - 1:
            raise ValueError("Overflow when unpacking long long")
        if array.dtype.kind == "f" or dtype.itemsize < 8:
            _check_range(array, dtype)
        if array.dtype.kind == "f":
            array = np.trunc(array)
    return cast_data(array.reshape(shape), dtype), dtype


def _plain(data: Any) -> Any:
    """Nested sequences with tensors among them as plain numbers."""
    if isinstance(data, Tensor):
        return data._untracked_scalar()
    if isinstance(data, np.ndarray):
        if data.ndim:
            warn_once(SLOW)
        return data
    if hasattr(data, "__len__"):
        return [_plain(d) for d in data]
    return data
