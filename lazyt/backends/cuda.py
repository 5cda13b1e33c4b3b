"""torch.backends.cuda: how matrix products are computed on GPUs."""

from __future__ import annotations

from typing import Any

from lazyt.backends.attention import (
    cudnn_sdp_enabled,
    enable_cudnn_sdp,
    enable_flash_sdp,
    enable_math_sdp,
    enable_mem_efficient_sdp,
    flash_sdp_enabled,
    math_sdp_enabled,
    mem_efficient_sdp_enabled,
    sdp_kernel,
)
from lazyt.runtime.precision import PRECISION, set_precision

__all__ = [
    "cudnn_sdp_enabled",
    "enable_cudnn_sdp",
    "enable_flash_sdp",
    "enable_math_sdp",
    "enable_mem_efficient_sdp",
    "flash_sdp_enabled",
    "is_built",
    "math_sdp_enabled",
    "matmul",
    "mem_efficient_sdp_enabled",
    "sdp_kernel",
]


def is_built() -> bool:
    """Whether there is code for GPUs; `torch.cuda.is_available` says whether it can be used."""
    return True


def switch(value: Any, name: str) -> bool:
    """A setting that is on or off. Errors: RuntimeError in PyTorch's words for what is no bool."""
    if not isinstance(value, bool):
        raise RuntimeError(f"{name} expects a bool, but got {type(value).__name__}")
    return value


class _Matmul:
    """allow_tf32: whether products of float32 may be rounded to tf32, off at first; another word
    for `torch.set_float32_matmul_precision`.

    allow_fp16_reduced_precision_reduction, allow_bf16_reduced_precision_reduction: whether sums may
    be rounded between, which they are not, allowed or not.
    """

    __slots__ = (
        "allow_fp16_reduced_precision_reduction",
        "allow_bf16_reduced_precision_reduction",
    )

    def __init__(self) -> None:
        self.allow_fp16_reduced_precision_reduction = True
        self.allow_bf16_reduced_precision_reduction = True

    @property
    def allow_tf32(self) -> bool:
        return PRECISION[0].matmul != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        allowed = switch(value, "set_allow_tf32_cublas")
        set_precision(matmul="high" if allowed else "highest")


matmul = _Matmul()
