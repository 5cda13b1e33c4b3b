"""Layers of maxima over windows that are not all alike, of maxima put back, and of powers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from lazyt.nn.module import Module
from lazyt.tensor import Tensor

from .called import Called
from .utils import _ntuple


class _AdaptiveMaxPoolNd(Module):
    _function: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maxima of `output_size` windows that cover the last dimension."""

    _function = Called("adaptive_max_pool1d")


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maxima of windows that cover the last two dimensions; None keeps an extent."""

    _function = Called("adaptive_max_pool2d")


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maxima of windows that cover the last three dimensions; None keeps an extent."""

    _function = Called("adaptive_max_pool3d")


class _FractionalMaxPoolNd(Module):
    rank: ClassVar[int]
    _function: ClassVar[Callable[..., Any]]
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        each, name = _ntuple(self.rank), type(self).__name__
        self.kernel_size = each(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else each(output_size)
        self.output_ratio = None if output_ratio is None else each(output_ratio)
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        return type(self)._function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maxima of windows at random distances over (N, C, H, W)."""

    rank = 2
    _function = Called("fractional_max_pool2d")


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maxima of windows at random distances over (N, C, D, H, W)."""

    rank = 3
    _function = Called("fractional_max_pool3d")


class _MaxUnpoolNd(Module):
    rank: ClassVar[int]
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        each = _ntuple(self.rank)
        self.kernel_size = each(kernel_size)
        self.stride = each(stride if stride is not None else kernel_size)
        self.padding = each(padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return type(self)._function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Zeros, but each maximum that MaxPool1d found at its place."""

    rank = 1
    _function = Called("max_unpool1d")


class MaxUnpool2d(_MaxUnpoolNd):
    """Zeros, but each maximum that MaxPool2d found at its place."""

    rank = 2
    _function = Called("max_unpool2d")


class MaxUnpool3d(_MaxUnpoolNd):
    """Zeros, but each maximum that MaxPool3d found at its place."""

    rank = 3
    _function = Called("max_unpool3d")


class _LPPoolNd(Module):
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """The norm_type-th root of the sum of powers of every window of (N, C, L)."""

    _function = Called("lp_pool1d")


class LPPool2d(_LPPoolNd):
    """The norm_type-th root of the sum of powers of every window of (N, C, H, W)."""

    _function = Called("lp_pool2d")


class LPPool3d(_LPPoolNd):
    """The norm_type-th root of the sum of powers of every window of (N, C, D, H, W)."""

    _function = Called("lp_pool3d")
