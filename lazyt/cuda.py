"""torch.cuda, as far as a script that also runs without a GPU asks it: there is none here.

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "memory_allocated",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """Whether tensors can live on a GPU."""
    return False


def is_initialized() -> bool:
    """Whether a GPU is in use."""
    return False


def device_count() -> int:
    """The number of GPUs."""
    return 0


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current GPU; without one nothing happens."""


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs; without one nothing happens."""


def empty_cache() -> None:
    """Gives unused memory of the GPU back; without one nothing happens."""


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory in use."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """The largest number of bytes of GPU memory that were in use."""
    return 0


def _absent() -> NoReturn:
    raise AssertionError("Torch not compiled with CUDA enabled")


def init() -> None:
    """Makes GPUs ready for use; AssertionError without one."""
    _absent()


def current_device() -> int:
    """The number of the current GPU; AssertionError without one."""
    _absent()


def set_device(device: Any) -> None:
    """Chooses the current GPU; AssertionError without one."""
    _absent()


def get_device_name(device: Any = None) -> str:
    """The name of a GPU; AssertionError without one."""
    _absent()


def get_device_properties(device: Any = None) -> Any:
    """What a GPU is like; AssertionError without one."""
    _absent()


def synchronize(device: Any = None) -> None:
    """Waits for the GPU; AssertionError without one."""
    _absent()
