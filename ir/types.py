"""The type of a tensor value: shape, dtype and device, interned.

Two equal types are one object, so that tracing compares types with `is` and the plan key holds one
object where it would hold three. `TensorType.of((2, 3), float32)` is the only way to make one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .dtypes import DType, bool_


class TensorType:
    """An interned (shape, dtype, device). `strides`: of a contiguous tensor, in elements."""

    __slots__ = ("shape", "dtype", "device", "numel", "strides", "_boolean")

    shape: tuple[int, ...]
    dtype: DType
    device: str
    numel: int
    strides: tuple[int, ...]
    _boolean: TensorType | None

    @staticmethod
    def of(shape: tuple[int, ...], dtype: DType, device: str = "cpu") -> TensorType:
        key = (shape, dtype, device)
        found = _INTERNED.get(key)
        if found is None:
            found = _INTERNED.setdefault(key, _build(shape, dtype, device))
        return found

    @property
    def boolean(self) -> TensorType:
        """The same shape and device with dtype bool: the type of a comparison."""
        if self._boolean is None:
            self._boolean = TensorType.of(self.shape, bool_, self.device)
        return self._boolean

    def with_dtype(self, dtype: DType) -> TensorType:
        return self if dtype is self.dtype else TensorType.of(self.shape, dtype, self.device)

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return self if shape == self.shape else TensorType.of(shape, self.dtype, self.device)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize

    def __repr__(self) -> str:
        where = "" if self.device == "cpu" else f"@{self.device}"
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]{where}"

    def __reduce__(self):
        return (TensorType.of, (self.shape, self.dtype, self.device))


_INTERNED: dict[tuple, TensorType] = {}


def _build(shape: tuple[int, ...], dtype: DType, device: str) -> TensorType:
    if dtype.is_complex:
        from .complexes import watch

        watch()
    made = object.__new__(TensorType)
    made.shape = shape
    made.dtype = dtype
    made.device = device
    made.strides = contiguous_strides(shape)
    numel = 1
    for extent in shape:
        numel *= extent
    made.numel = numel
    made._boolean = None
    return made


def with_device(type: Any, device: str) -> Any:
    """A type, or a tuple of types, on a device."""
    if type.__class__ is tuple:
        return tuple(with_device(t, device) for t in type)
    return TensorType.of(type.shape, type.dtype, device)


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements; an extent of 0 counts as 1, as in PyTorch."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def viewed_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Strides that show a strided tensor in another shape without moving anything, or None.

    Works through both shapes from the right, matching runs of dimensions that lie together, as
    PyTorch's computeStride does.
    """
    if 0 in shape:
        return strides if shape == target else contiguous_strides(target)
    if not shape:
        return (1,) * len(target)
    out: list[int] = []
    left = list(target)
    base, run, taken = strides[-1], 1, 1
    for d in range(len(shape) - 1, -1, -1):
        run *= shape[d]
        if d and (shape[d - 1] == 1 or strides[d - 1] == run * base):
            continue
        while left and (taken < run or left[-1] == 1):
            out.append(taken * base)
            taken *= left.pop()
        if taken != run:
            return None
        if d:
            base, run, taken = strides[d - 1], 1, 1
    return None if left else tuple(reversed(out))


def broadcast_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of two operands; RuntimeError in PyTorch's words where there is none."""
    return a if a == b else _broadcast(a, b)


@lru_cache(maxsize=4096)
def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if len(a) < len(b):
        longer, shorter = b, a
    else:
        longer, shorter = a, b
    lead = len(longer) - len(shorter)
    out = list(longer)
    for i in range(len(shorter) - 1, -1, -1):
        m, n = longer[lead + i], shorter[i]
        if m == n or n == 1:
            continue
        if m != 1:
            first, second = a[len(a) - len(out) + lead + i], b[len(b) - len(out) + lead + i]
            raise RuntimeError(
                f"The size of tensor a ({first}) must match the size of tensor b ({second}) "
                f"at non-singleton dimension {lead + i}"
            )
        out[lead + i] = n
    return tuple(out)
