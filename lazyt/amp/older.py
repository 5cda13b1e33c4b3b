"""autocast and GradScaler by device: the older names, which say what to write instead.

torch.cuda.amp.autocast()  # FutureWarning: use torch.amp.autocast('cuda', args...) instead
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lazyt import amp
from lazyt.amp.state import DTYPES
from lazyt.ir.dtypes import DType
from lazyt.warned import warn

__all__ = ["CPUAutocast", "CPUGradScaler", "CUDAAutocast", "CUDAGradScaler", "custom_of_cuda"]


def _warn(module: str, name: str, instead: str) -> None:
    warn(
        f"`torch.{module}.amp.{name}(args...)` is deprecated. Please use "
        f"`torch.amp.{name}({instead})` instead.",
        FutureWarning,
    )


class CUDAAutocast(amp.autocast):
    """`torch.amp.autocast("cuda", ...)`."""

    _type = "cuda"

    def __init__(
        self, enabled: bool = True, dtype: DType | None = None, cache_enabled: bool = True
    ) -> None:
        _warn(self._type, "autocast", f"'{self._type}', args...")
        super().__init__(self._type, dtype or DTYPES[self._type], enabled, cache_enabled)


class CPUAutocast(CUDAAutocast):
    """`torch.amp.autocast("cpu", ...)`."""

    _type = "cpu"


class CUDAGradScaler(amp.GradScaler):
    """`torch.amp.GradScaler("cuda", ...)`."""

    _type = "cuda"

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        _warn(self._type, "GradScaler", f"'{self._type}', args...")
        super().__init__(
            self._type, init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


class CPUGradScaler(CUDAGradScaler):
    """`torch.amp.GradScaler("cpu", ...)`."""

    _type = "cpu"


def custom_of_cuda(name: str) -> Callable[..., Any]:
    """`torch.amp.custom_fwd` or `custom_bwd` with device_type="cuda"."""
    decorate = getattr(amp, name)

    @functools.wraps(decorate)
    def older(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        _warn("cuda", name, "args..., device_type='cuda'")
        return decorate(function, device_type="cuda", **options)

    return older
