"""The driver interface on PyCUDA.

PyCUDA keeps a stack of contexts for each thread and ends the process if one is left on it. So a
thread pushes the context of the device it uses, at most one, and pops it when it ends.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

import numpy as np
import pycuda.driver as cuda
import pycuda.tools

from .driver import REASONS, Device, Function, forget_current

STATIC_SHARED = 48 << 10  # bytes of dynamic shared memory that need no leave


class _Pushed:
    """Pops this thread's context when the thread ends."""

    def __del__(self) -> None:
        cuda.Context.pop()


_THREAD = threading.local()


def _leave() -> None:
    """Pops this thread's context; its next use pushes it again."""
    forget_current()
    _THREAD.__dict__.clear()


atexit.register(_leave)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_leave)  # a child cannot pop what the driver does not know there


class PyCudaDevice(Device):
    """A device of PyCUDA's."""

    def __init__(self, index: int, host: bool):
        super().__init__(index)
        self.host = host
        self._device = cuda.Device(index)
        self._context = self._device.retain_primary_context()
        self.name = self._device.name()
        self.capability = self._device.compute_capability()
        self.total_memory = self._device.total_memory()
        self.multiprocessors = self._device.get_attribute(
            cuda.device_attribute.MULTIPROCESSOR_COUNT
        )
        self.activate()
        self.pool = pycuda.tools.DeviceMemoryPool()
        self._pinned = pycuda.tools.PageLockedMemoryPool()
        mapped = cuda.host_alloc_flags.DEVICEMAP | cuda.host_alloc_flags.PORTABLE
        self.refusal = cuda.pagelocked_zeros(REASONS, np.int32, mem_flags=mapped)
        allocation: Any = self.refusal.base
        self.refusal_address = int(allocation.get_device_pointer())

    def _make_current(self, before: Device | None) -> None:
        _THREAD.__dict__.pop("pushed", None)
        self._context.push()
        _THREAD.pushed = _Pushed()

    def wait(self) -> None:
        self.activate()
        cuda.Context.synchronize()

    def free_memory(self) -> int:
        self.activate()
        return cuda.mem_get_info()[0]

    def pinned(self, nbytes: int) -> np.ndarray:
        self.activate()
        return self._pinned.allocate((nbytes,), np.uint8)

    def free_pinned(self) -> None:
        self.activate()
        self._pinned.free_held()

    def write(self, address: int, source: np.ndarray) -> None:
        self.activate()
        cuda.memcpy_htod(address, source)

    def write_later(self, address: int, source: np.ndarray, stream: Any) -> None:
        self.activate()
        cuda.memcpy_htod_async(address, source, stream)

    def read(self, target: np.ndarray, address: int) -> None:
        self.activate()
        cuda.memcpy_dtoh(target, address)

    def copy(self, to: int, source: int, nbytes: int, stream: Any) -> None:
        self.activate()
        cuda.memcpy_dtod_async(to, source, nbytes, stream)

    def copy_from(self, to: int, other: PyCudaDevice, source: int, nbytes: int) -> bool:
        self.activate()
        try:
            cuda.memcpy_peer(to, source, nbytes, self._context, other._context)
        except cuda.Error:
            return False
        return True

    def load(self, image: bytes) -> Any:
        self.activate()
        return cuda.module_from_buffer(image)

    def function(self, module: Any, name: str, shared_bytes: int) -> Function:
        self.activate()
        found = module.get_function(name)
        if shared_bytes > STATIC_SHARED:
            size = cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            found.set_attribute(size, shared_bytes)
        return found._launch_kernel

    def stream(self) -> Any:
        self.activate()
        return cuda.Stream()

    def event(self, timing: bool) -> Any:
        self.activate()
        return cuda.Event(0 if timing else cuda.event_flags.DISABLE_TIMING)


class PyCudaDriver:
    """PyCUDA, on whatever libcuda is loaded."""

    error: type[Exception] = cuda.Error
    memory_error: type[Exception] = cuda.MemoryError

    def __init__(self, host: bool):
        cuda.init()
        self.host = host
        self.count = cuda.Device.count()

    def open(self, index: int) -> Device:
        return PyCudaDevice(index, self.host)
