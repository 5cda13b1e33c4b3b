"""torch.accelerator: the device a script would prefer to the CPU; there is none here."""

from __future__ import annotations

from lazyt.device import Device

__all__ = ["current_accelerator", "device_count", "is_available"]


def is_available() -> bool:
    """Whether there is a device other than the CPU."""
    return False


def current_accelerator(check_available: bool = False) -> Device | None:
    """That device, or None."""
    return None


def device_count() -> int:
    """The number of such devices."""
    return 0
