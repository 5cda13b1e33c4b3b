"""Which GPUs there are, and the current one of each thread.

    torch.cuda.set_device(1)
    torch.zeros(3, device="cuda")     # on cuda:1

`opened` is the way of all of torch.cuda to the runtime: it raises where there is no device.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lazyt.device import Device

if TYPE_CHECKING:
    from lazyt.runtime.cuda import driver


def is_available() -> bool:
    """Whether tensors can live on a GPU."""
    return device_count() > 0


def device_count() -> int:
    """The number of GPUs; 0 where a driver, PyCUDA or a compiler is missing."""
    from lazyt.runtime.cuda.driver import device_count

    return device_count()


def init() -> None:
    """Opens the current device, which its first use does too. Errors: AssertionError."""
    opened(None)


def is_initialized() -> bool:
    """Whether a device is in use."""
    from lazyt.runtime.cuda.driver import in_use

    return in_use()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 can be computed with: everywhere, and without emulation from sm_80 on."""
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


class _Current(threading.local):
    index = 0


_CURRENT = _Current()


def check() -> None:
    """AssertionError where there is no device: PyTorch's words, then what is missing and what to
    install."""
    from lazyt.runtime.cuda.driver import missing

    reason = missing()
    if reason:
        raise AssertionError(f"Torch not compiled with CUDA enabled\nCUDA cannot be used: {reason}")


def index_of(device: Any) -> int:
    """The number of a device given as a number, a name or a torch.device; None: the current one.

    Errors: ValueError for a device of another type.
    """
    if device is None:
        return _CURRENT.index
    if isinstance(device, int):
        return device
    found = Device(device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return _CURRENT.index if found.index is None else found.index


def opened(device: Any) -> driver.Device:
    """The runtime's device. Errors: AssertionError without one; RuntimeError for a number that
    there is not, and in a forked child of a process that used CUDA."""
    from lazyt.runtime.cuda import driver

    check()
    return driver.device(index_of(device))


def current_device() -> int:
    """The number of the current GPU, a setting of each thread. Errors: AssertionError."""
    check()
    return _CURRENT.index


def set_device(device: Any) -> None:
    """Chooses the current GPU of this thread; a negative number chooses none.

    Errors: AssertionError without one, RuntimeError for a number that there is not.
    """
    index = index_of(device)
    if index >= 0:
        opened(index)
        _CURRENT.index = index


class device:  # PyTorch's name
    """Chooses the current GPU in a `with` block; None and negative numbers choose none."""

    def __init__(self, device: Any):
        self.idx = -1 if device is None else index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = _CURRENT.index
        set_device(self.idx)

    def __exit__(self, *_: Any) -> None:
        _CURRENT.index = self.prev_idx


@dataclass(frozen=True)
class Properties:
    """What a GPU is like. total_memory in bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


def get_device_properties(device: Any = None) -> Properties:
    """What a GPU is like. Errors: AssertionError without one."""
    found = opened(device)
    return Properties(found.name, *found.capability, found.total_memory, found.multiprocessors)


def get_device_name(device: Any = None) -> str:
    """The name of a GPU. Errors: AssertionError without one."""
    return opened(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU: (9, 0). Errors: AssertionError without one."""
    return opened(device).capability


def get_arch_list() -> list[str]:
    """What kernels are compiled for: the architecture of each GPU."""
    found = [opened(i).capability for i in range(device_count())]
    return [f"sm_{major}{minor}" for major, minor in sorted(set(found))]


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether kernels of one GPU may read another one's memory: not here, it is copied."""
    opened(device), opened(peer_device)
    return False


def synchronize(device: Any = None) -> None:
    """Starts everything traced so far and waits for the GPU.

    Errors: AssertionError without one; IndexError where an operand was out of its range.
    """
    from lazyt.runtime.drain import drain

    found = opened(device)
    drain()
    found.synchronize()
