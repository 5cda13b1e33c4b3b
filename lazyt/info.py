"""torch.finfo and torch.iinfo."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType

from .dispatch import SETTINGS, as_dtype


class finfo:
    """Limits of a floating point dtype."""

    def __init__(self, dtype: DType | None = None):
        dtype = as_dtype(dtype, "finfo") or SETTINGS.default_dtype
        dtype = dtype.to_real()
        if not dtype.is_floating_point:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                "'torch.finfo'"
            )
        self.dtype = dtype.name
        self.bits = dtype.itemsize * 8
        if dtype is dtypes.bfloat16:
            self.max, self.eps = 3.3895313892515355e38, 0.0078125
            self.tiny, self.resolution = 1.1754943508222875e-38, 0.01
            self.smallest_normal = self.tiny
        else:
            limits = np.finfo(dtype.numpy)
            self.max, self.eps = float(limits.max), float(limits.eps)
            self.tiny, self.resolution = float(limits.tiny), float(f"1e-{limits.precision}")
            self.smallest_normal = self.tiny
        self.min = -self.max

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype."""

    def __init__(self, dtype: Any):
        dtype = as_dtype(dtype, "iinfo")
        if dtype.limits is None:
            if dtype is dtypes.bool_:
                raise TypeError("torch.bool is not supported by torch.iinfo")
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle "
                "'torch.iinfo'"
            )
        self.dtype = dtype.name
        self.bits = dtype.itemsize * 8
        self.min, self.max = dtype.limits

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:  # PyTorch writes the limits as it writes those of a finfo
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
