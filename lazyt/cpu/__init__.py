"""torch.cpu: what asks for a device module in general finds on the CPU."""

from __future__ import annotations

from lazyt.cpu import amp

__all__ = ["amp", "device_count", "is_available", "synchronize"]


def is_available() -> bool:
    """Whether there is a CPU."""
    return True


def device_count() -> int:
    """How many CPUs there are, as devices: one."""
    return 1


def synchronize(device: object = None) -> None:
    """Does nothing: reading a value waits for it."""
