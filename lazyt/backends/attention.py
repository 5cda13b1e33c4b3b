"""Which implementations of attention may be used, as programs for PyTorch choose.

    with torch.nn.attention.sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        F.scaled_dot_product_attention(q, k, v)

There is one way to compute it here (nn.functional.attention): the choice is kept and given back,
and has no effect.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from typing import Any

from lazyt.warned import warn

__all__ = ["SDPBackend", "sdp_kernel", "sdpa_kernel"]


class SDPBackend(enum.IntEnum):
    """Implementations that PyTorch has."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    __str__ = enum.Enum.__str__
    __format__ = enum.Enum.__format__


# The implementations with switches in torch.backends.cuda, by the names of these.
_SWITCHES = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "mem_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
_enabled = set(SDPBackend) - {SDPBackend.ERROR}


def _switch(name: str) -> tuple[Callable[[], bool], Callable[[bool], None]]:
    """Asking for and setting the switch of an implementation."""
    backend = _SWITCHES[name]

    def asked() -> bool:
        return backend in _enabled

    def enable(enabled: bool) -> None:
        if not isinstance(enabled, bool):
            kind = type(enabled).__name__
            raise RuntimeError(f"set_sdp_use_{name} expects a bool, but got {kind}")
        (_enabled.add if enabled else _enabled.discard)(backend)

    asked.__name__ = asked.__qualname__ = f"{name}_sdp_enabled"
    asked.__doc__ = f"Whether {backend.name} may be used."
    enable.__name__ = enable.__qualname__ = f"enable_{name}_sdp"
    enable.__doc__ = f"Sets whether {backend.name} may be used."
    return asked, enable


flash_sdp_enabled, enable_flash_sdp = _switch("flash")
mem_efficient_sdp_enabled, enable_mem_efficient_sdp = _switch("mem_efficient")
math_sdp_enabled, enable_math_sdp = _switch("math")
cudnn_sdp_enabled, enable_cudnn_sdp = _switch("cudnn")


@contextlib.contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[dict]:
    """While open, these implementations may be used: one SDPBackend, or a list of them.

    Errors: AssertionError for anything else.
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    before = set(_enabled)
    try:
        _set(set(backends) if isinstance(backends, list) else {backends})
        yield {}
    finally:
        _set(before)


def _set(backends: set[SDPBackend]) -> None:
    _enabled.clear()
    _enabled.update(backends)


def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> contextlib.AbstractContextManager[dict]:
    """The older word for `sdpa_kernel`, with PyTorch's warning."""
    warn(
        "`torch.backends.cuda.sdp_kernel()` is deprecated. In the future, this context manager "
        "will be removed. Please see `torch.nn.attention.sdpa_kernel()` for the new context "
        "manager, with updated signature.",
        FutureWarning,
    )
    chosen = {
        "flash": enable_flash,
        "mem_efficient": enable_mem_efficient,
        "math": enable_math,
        "cudnn": enable_cudnn,
    }
    return sdpa_kernel([_SWITCHES[name] for name, wanted in chosen.items() if wanted])
