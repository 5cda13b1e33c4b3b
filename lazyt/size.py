"""torch.Size: a shape, printed as PyTorch prints it."""

from __future__ import annotations

from typing import Any

from lazyt.ir.public_type import PublicType


class Size(tuple, metaclass=PublicType):
    """A tuple of extents."""

    __slots__ = ()
    _public_name = "torch.Size"

    def numel(self) -> int:
        """The number of elements of that shape."""
        count = 1
        for extent in self:
            count *= extent
        return count

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, key: Any) -> Any:
        found = tuple.__getitem__(self, key)
        return Size(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __mul__(self, count: Any) -> Size:
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __radd__(self, other: Any) -> Size:
        return Size(tuple.__add__(tuple(other), self))

    def __reduce__(self) -> tuple:
        return (Size, (tuple(self),))
