"""torch.memory_format and torch.layout: names of the ways a tensor may lie in memory.

    torch.channels_last                  # torch.channels_last
    t.layout is torch.strided            # True: the only layout there is

They are strings that print without quotes; what lies otherwise than row-major is a matter of
strides here, so that a format is looked at in few places (`layout.py`).
"""

from __future__ import annotations

from lazyt.ir.public_type import PublicType


class _Name(str):
    """A constant that prints as its name."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class MemoryFormat(_Name, metaclass=PublicType):
    """In which order the dimensions of a copy lie."""

    __slots__ = ()
    _public_name = "torch.memory_format"


class Layout(_Name, metaclass=PublicType):
    """Whether memory holds every element."""

    __slots__ = ()
    _public_name = "torch.layout"


STRIDED = Layout("torch.strided")
CONTIGUOUS = MemoryFormat("torch.contiguous_format")
PRESERVE = MemoryFormat("torch.preserve_format")
CHANNELS_LAST = MemoryFormat("torch.channels_last")
CHANNELS_LAST_3D = MemoryFormat("torch.channels_last_3d")
