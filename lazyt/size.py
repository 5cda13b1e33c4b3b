"""torch.Size: a shape, printed as PyTorch prints it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import count
from math import prod
from typing import Any

from lazyt.ir.public_type import PublicType


def _extent(place: int, value: Any) -> int:
    if value.__class__ is int:
        return value
    if not hasattr(value, "__index__"):
        raise TypeError(
            f"torch.Size() takes an iterable of 'int' (item {place} is '{type(value).__name__}')"
        )
    return value.__index__()


class Size(tuple, metaclass=PublicType):
    """A tuple of extents."""

    __slots__ = ()
    _public_name = "torch.Size"

    def __new__(cls, extents: Iterable[Any] = ()) -> Size:
        """TypeError for an extent that is no integer."""
        return sized(map(_extent, count(), extents))

    def numel(self) -> int:
        """The number of elements of that shape."""
        return prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, key: Any) -> Any:
        found = tuple.__getitem__(self, key)
        return sized(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __mul__(self, count: Any) -> Size:
        return sized(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __radd__(self, other: Any) -> Size:
        return Size(tuple.__add__(tuple(other), self))

    def __reduce__(self) -> tuple:
        return (Size, (tuple(self),))


# A shape whose extents are known to be integers.
sized = partial(tuple.__new__, Size)
