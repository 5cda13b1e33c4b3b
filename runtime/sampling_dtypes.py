"""How the random number engine names, describes and rounds to an element type.

A dtype is a string ("float32", "bfloat16"), a NumPy dtype, or an entry of `lazyt.ir.dtypes`.
bfloat16, which NumPy lacks, comes as a float32 array of values that bfloat16 can hold; saying
"bfloat16" matters, since the stream is read differently for it:

    cast(np.array([1.00390625, 3.0]), resolve("bfloat16"))  ->  float32 [1.0, 3.0]
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazyt.ir.dtypes import BY_NAME, DType, bfloat16, from_numpy
from lazyt.runtime.sampling_math import round_bfloat16

Array = NDArray[Any]
Size = int | tuple[int, ...]
DTypeLike = DType | str | type | np.dtype

# Bits of the significand and largest finite value of each floating-point type.
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}
# How PyTorch's messages call a type: its scalar type and its C++ type.
_NAMES = {
    "bool": ("Bool", "bool"),
    "uint8": ("Byte", "unsigned char"),
    "int8": ("Char", "signed char"),
    "int16": ("Short", "short int"),
    "int32": ("Int", "int"),
    "int64": ("Long", "long int"),
    "float16": ("Half", "c10::Half"),
    "bfloat16": ("BFloat16", "c10::BFloat16"),
    "float32": ("Float", "float"),
    "float64": ("Double", "double"),
}
SCALAR_TYPE = {name: scalar for name, (scalar, _) in _NAMES.items()}
SCALAR_TYPE |= {"complex64": "ComplexFloat", "complex128": "ComplexDouble"}
C_TYPE = {name: c for name, (_, c) in _NAMES.items()}


def resolve(dtype: DTypeLike) -> DType:
    """The dtype named by `dtype`; TypeError where PyTorch has no such type."""
    if isinstance(dtype, DType):
        return dtype
    found = BY_NAME.get(dtype) if isinstance(dtype, str) else None
    found = found or from_numpy(np.dtype(dtype))
    if found is None:
        raise TypeError(f"no random numbers of dtype {dtype!r}")
    return found


def floating(dtype: DTypeLike, kernel: str) -> DType:
    """Like `resolve`, for distributions that have only floating-point values."""
    kind = resolve(dtype)
    if not kind.is_floating_point:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{SCALAR_TYPE[kind.name]}'")
    return kind


def cast(values: Array, kind: DType) -> Array:
    """`values` (float64, float32 or int64) as `kind`; half types are rounded from float32."""
    if kind is bfloat16:
        return round_bfloat16(values.astype(np.float32))
    if kind.name == "float16" and values.dtype != np.float32:
        values = values.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(kind.numpy, copy=False)


def number_of(size: Size) -> int:
    """How many elements an array of `size` has."""
    return size if isinstance(size, int) else prod(size)
