"""torch.accelerator: the device a script would prefer to the CPU.

device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
"""

from __future__ import annotations

from typing import Any

from lazyt import cuda
from lazyt.device import Device

__all__ = [
    "current_accelerator",
    "current_device_index",
    "device_count",
    "is_available",
    "set_device_index",
    "synchronize",
]


def is_available() -> bool:
    """Whether there is a device other than the CPU."""
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> Device | None:
    """That device, without a number, or None."""
    return Device("cuda") if cuda.is_available() else None


def device_count() -> int:
    """The number of such devices."""
    return cuda.device_count()


def _check() -> None:
    if not cuda.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def current_device_index() -> int:
    """The number of the current one. Errors: RuntimeError where there is none."""
    _check()
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Chooses the current one. Errors: RuntimeError where there is none."""
    _check()
    cuda.set_device(device)


def synchronize(device: Any = None) -> None:
    """Waits for a device. Errors: RuntimeError where there is none."""
    _check()
    cuda.synchronize(device)
