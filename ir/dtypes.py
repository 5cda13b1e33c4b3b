"""Element types and PyTorch's promotion lattice.

A dtype knows how NumPy carries it. `bfloat16`, which NumPy lacks, is carried as float32 arrays
whose values are already rounded; `compute` is the type arithmetic happens in (float32 for both half
types), so `float16 + float16` is: widen, add in float32, round once, as PyTorch does on a CPU.
"""

from __future__ import annotations

import numpy as np

from .public_type import PublicType


class DType(metaclass=PublicType):
    """One element type. Compare with `is`; `rank` orders the types of one category."""

    _public_name = "torch.dtype"
    __slots__ = ("name", "category", "rank", "itemsize", "numpy", "compute", "limits")

    def __init__(self, name: str, category: int, rank: int, itemsize: int, carrier: str):
        self.name = name
        self.category = category
        self.rank = rank
        self.itemsize = itemsize
        self.numpy = np.dtype(carrier)
        self.compute: DType = self
        self.limits: tuple[int, int] | None = None
        if category == 1:
            info = np.iinfo(self.numpy)
            self.limits = (int(info.min), int(info.max))

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def is_complex(self) -> bool:
        return self.category == 3

    @property
    def is_signed(self) -> bool:
        return self.name not in ("bool", "uint8")

    @property
    def is_half(self) -> bool:
        return self.compute is not self

    def to_complex(self) -> DType:
        """The complex type whose parts are of this type.

        RuntimeError for bools and integers, NotImplementedError for float16.
        """
        if self is float16:
            raise NotImplementedError("torch.complex32, complex numbers of float16, is missing")
        if self.category < FLOATING:
            raise RuntimeError(f"Unknown Complex ScalarType for {self.name.title()}")
        return complex128 if self.rank == complex128.rank else complex64

    def to_real(self) -> DType:
        """The type of the parts of a complex type; any other type itself."""
        return _PARTS.get(self, self)

    def __repr__(self) -> str:
        return "torch." + self.name

    def __reduce__(self):
        return (dtype_named, (self.name,))

    def __copy__(self) -> DType:
        return self

    def __deepcopy__(self, memo) -> DType:
        return self


BOOL, INTEGRAL, FLOATING, COMPLEX = 0, 1, 2, 3

bool_ = DType("bool", BOOL, 0, 1, "bool")
uint8 = DType("uint8", INTEGRAL, 1, 1, "uint8")
int8 = DType("int8", INTEGRAL, 1, 1, "int8")
int16 = DType("int16", INTEGRAL, 2, 2, "int16")
int32 = DType("int32", INTEGRAL, 3, 4, "int32")
int64 = DType("int64", INTEGRAL, 4, 8, "int64")
float16 = DType("float16", FLOATING, 1, 2, "float16")
bfloat16 = DType("bfloat16", FLOATING, 1, 2, "float32")
float32 = DType("float32", FLOATING, 2, 4, "float32")
float64 = DType("float64", FLOATING, 3, 8, "float64")
complex64 = DType("complex64", COMPLEX, 2, 8, "complex64")
complex128 = DType("complex128", COMPLEX, 3, 16, "complex128")
float16.compute = bfloat16.compute = float32

ALL: tuple[DType, ...] = (bool_, uint8, int8, int16, int32, int64)
ALL += (float16, bfloat16, float32, float64, complex64, complex128)
_PARTS = {complex64: float32, complex128: float64}
REAL = tuple(d for d in ALL if not d.is_complex)
BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL if d is not bfloat16}


def dtype_named(name: str) -> DType:
    """The dtype called `name` ("float32"); KeyError if there is none."""
    return BY_NAME[name]


def from_numpy(dtype: np.dtype) -> DType | None:
    """The dtype that carries NumPy's `dtype`, or None where PyTorch has no such type."""
    return _BY_NUMPY.get(dtype.newbyteorder("="))


def promote(a: DType, b: DType) -> DType:
    """The common type of two tensors of the same standing (torch.promote_types)."""
    if a is b:
        return a
    if a.category != b.category:
        high, low = (a, b) if a.category > b.category else (b, a)
        if high is complex64 and low is float64:
            return complex128
        return high
    if a.rank != b.rank:
        return a if a.rank > b.rank else b
    return int16 if a.category == INTEGRAL else float32


def wrap(number: int, dtype: DType) -> int:
    """`number` reduced to the range of an integer dtype, as a C conversion would."""
    low, high = dtype.limits  # type: ignore[misc]
    if low <= number <= high:
        return number
    return (number - low) % (high - low + 1) + low


INF = float("inf")
NAN = float("nan")
