"""Padding layers: `F.pad` with the widths and the mode as settings."""

from __future__ import annotations

from typing import Any, ClassVar

from lazyt.nn import functional as F
from lazyt.nn.module import Module
from lazyt.tensor import Tensor

from .utils import _ntuple


class _PadNd(Module):
    """rank: how many dimensions, from the last one on, are padded on both sides."""

    rank: ClassVar[int]
    padding: tuple[int, ...]

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    """A frame of one number."""

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__()
        self.value = value
        self.padding = _ntuple(2 * self.rank)(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """(C, L) or (N, C, L) between copies of a number."""

    rank = 1


class ConstantPad2d(_ConstantPadNd):
    """(C, H, W) or (N, C, H, W) framed with a number."""

    rank = 2


class ConstantPad3d(_ConstantPadNd):
    """(C, D, H, W) or (N, C, D, H, W) framed with a number."""

    rank = 3


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadNd, ConstantPad1d):
    """(C, L) or (N, C, L) between zeros."""


class ZeroPad2d(_ZeroPadNd, ConstantPad2d):
    """(C, H, W) or (N, C, H, W) framed with zeros."""


class ZeroPad3d(_ZeroPadNd, ConstantPad3d):
    """(C, D, H, W) or (N, C, D, H, W) framed with zeros."""


class _ContinuedPadNd(_PadNd):
    """A frame of what the tensor continues with."""

    mode: ClassVar[str]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self.rank)(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)


class _ReflectionPadNd(_ContinuedPadNd):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """(C, L) or (N, C, L) mirrored at both ends."""

    rank = 1


class ReflectionPad2d(_ReflectionPadNd):
    """(C, H, W) or (N, C, H, W) mirrored at all edges."""

    rank = 2


class ReflectionPad3d(_ReflectionPadNd):
    """(C, D, H, W) or (N, C, D, H, W) mirrored at all faces."""

    rank = 3


class _ReplicationPadNd(_ContinuedPadNd):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """(C, L) or (N, C, L) with its ends repeated."""

    rank = 1


class ReplicationPad2d(_ReplicationPadNd):
    """(C, H, W) or (N, C, H, W) with its edges repeated."""

    rank = 2


class ReplicationPad3d(_ReplicationPadNd):
    """(C, D, H, W) or (N, C, D, H, W) with its faces repeated."""

    rank = 3


class _CircularPadNd(_ContinuedPadNd):
    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        least = self.rank + 1
        if input.dim() not in (least, least + 1):
            raise ValueError(f"expected {least}D or {least + 1}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """(C, L) or (N, C, L) continued from the other end."""

    rank = 1


class CircularPad2d(_CircularPadNd):
    """(C, H, W) or (N, C, H, W) continued from the opposite edges."""

    rank = 2


class CircularPad3d(_CircularPadNd):
    """(C, D, H, W) or (N, C, D, H, W) continued from the opposite faces."""

    rank = 3
