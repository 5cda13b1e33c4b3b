"""Dropout layers: active in training, nothing in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from lazyt.nn import functional as F
from lazyt.nn.module import Module
from lazyt.tensor import Tensor

from .called import Called


class _DropoutNd(Module):
    _function: ClassVar[Callable[..., Tensor]]
    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Elements are 0 with probability p, the others divided by 1 - p."""

    _function = Called("dropout")


class Dropout1d(_DropoutNd):
    """Whole channels of (N, C, L) are 0 with probability p."""

    _function = Called("dropout1d")


class Dropout2d(_DropoutNd):
    """Whole channels of (N, C, H, W) are 0 with probability p."""

    _function = Called("dropout2d")


class Dropout3d(_DropoutNd):
    """Whole channels of (N, C, D, H, W) are 0 with probability p."""

    _function = Called("dropout3d")


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean 0 and variance 1 under SELU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """AlphaDropout of whole channels."""

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
