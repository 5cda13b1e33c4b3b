"""torch.accelerator: the device a script would prefer to the CPU: a GPU where there is one.

device = torch.accelerator.current_accelerator() or torch.device("cpu")
"""

from __future__ import annotations

from lazyt import cuda
from lazyt.device import Device

__all__ = ["current_accelerator", "device_count", "is_available"]


def is_available() -> bool:
    """Whether there is a device other than the CPU."""
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> Device | None:
    """That type of device, or None."""
    return Device("cuda") if cuda.is_available() else None


def device_count() -> int:
    """The number of such devices."""
    return cuda.device_count()
