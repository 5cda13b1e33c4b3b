"""The driver interface on ctypes: the host-executed device where PyCUDA is not installed.

The entry points, their order of arguments and what the methods are called are those that PyCUDA
uses, so that what runs here runs there.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint64, c_void_p
from typing import Any

import numpy as np

from .driver import REASONS, Device, Function
from .pool import SizeClassPool

OUT_OF_MEMORY, NOT_READY, NOT_SUPPORTED = 2, 600, 801
MULTIPROCESSOR_COUNT = 16  # of CUdevice_attribute
MAX_DYNAMIC_SHARED_SIZE_BYTES = 8  # of CUfunction_attribute
DISABLE_TIMING = 2  # of CUevent_flags
DEVICEMAP = 2  # of the flags of cuMemHostAlloc
BUFFER_POINTER, BUFFER_SIZE, END = 1, 2, 0  # of cuLaunchKernel's `extra`


class DriverError(RuntimeError):
    """An entry point did not return CUDA_SUCCESS; `code` is what it returned."""

    code = 0


class DriverMemoryError(DriverError):
    """CUDA_ERROR_OUT_OF_MEMORY."""


def _place(array: np.ndarray) -> c_void_p:
    return c_void_p(array.__array_interface__["data"][0])


class Library:
    """The entry points: `library("cuCtxSynchronize")` calls one and raises what it returns."""

    def __init__(self, library: ctypes.CDLL):
        self._library = library

    def __call__(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise self.error(name, code)

    def code(self, name: str, *arguments: Any) -> int:
        """Calls an entry point and gives what it returns."""
        return getattr(self._library, name)(*arguments)

    def error(self, name: str, code: int) -> DriverError:
        text = c_char_p()
        self._library.cuGetErrorString(code, byref(text))
        kind = DriverMemoryError if code == OUT_OF_MEMORY else DriverError
        made = kind(f"{name} failed: {(text.value or b'').decode(errors='replace')}")
        made.code = code
        return made


class CtypesEvent:
    """An event; named as PyCUDA names it."""

    def __init__(self, call: Library, timing: bool):
        self._call, self._handle = call, c_void_p()
        call("cuEventCreate", byref(self._handle), 0 if timing else DISABLE_TIMING)

    def record(self, stream: CtypesStream | None = None) -> None:
        self._call("cuEventRecord", self._handle, stream and stream.pointer)

    def synchronize(self) -> None:
        self._call("cuEventSynchronize", self._handle)

    def query(self) -> bool:
        code = self._call.code("cuEventQuery", self._handle)
        if code not in (0, NOT_READY):
            raise self._call.error("cuEventQuery", code)
        return code == 0

    def time_till(self, end: CtypesEvent) -> float:
        found = c_float()
        self._call("cuEventElapsedTime", byref(found), self._handle, end._handle)
        return found.value

    def __del__(self) -> None:
        self._call.code("cuEventDestroy_v2", self._handle)


class CtypesStream:
    """A stream, never destroyed; named as PyCUDA names it."""

    def __init__(self, call: Library):
        self._call, self.pointer = call, c_void_p()
        call("cuStreamCreate", byref(self.pointer), 0)
        self.handle = self.pointer.value or 0

    def synchronize(self) -> None:
        self._call("cuStreamSynchronize", self.pointer)

    def is_done(self) -> bool:
        return self._call.code("cuStreamQuery", self.pointer) == 0

    def wait_for_event(self, event: CtypesEvent) -> None:
        self._call("cuStreamWaitEvent", self.pointer, event._handle, 0)


class CtypesDevice(Device):
    """A device of the host-executed driver."""

    host = True

    def __init__(self, index: int, call: Library):
        super().__init__(index)
        self._call = call
        ordinal, context, name = c_int(), c_void_p(), ctypes.create_string_buffer(256)
        call("cuDeviceGet", byref(ordinal), index)
        call("cuDevicePrimaryCtxRetain", byref(context), ordinal)
        self._context = context
        call("cuDeviceGetName", name, len(name), ordinal)
        self.name = name.value.decode()
        major, minor, total, count = c_int(), c_int(), c_size_t(), c_int()
        call("cuDeviceComputeCapability", byref(major), byref(minor), ordinal)
        self.capability = (major.value, minor.value)
        call("cuDeviceTotalMem_v2", byref(total), ordinal)
        self.total_memory = total.value
        call("cuDeviceGetAttribute", byref(count), MULTIPROCESSOR_COUNT, ordinal)
        self.multiprocessors = count.value
        self.activate()
        self.pool = SizeClassPool(self._allocate, self._free)
        self._pinned = SizeClassPool(self._allocate_host, self._free_host)
        place = self._allocate_host(4 * REASONS)
        flags: Any = (c_int * REASONS).from_address(place)
        self.refusal = np.frombuffer(flags, np.int32)
        self.refusal[:] = 0
        mapped = c_uint64()
        call("cuMemHostGetDevicePointer_v2", byref(mapped), c_void_p(place), 0)
        self.refusal_address = mapped.value

    def _make_current(self, before: Device | None) -> None:
        self._call("cuCtxSetCurrent", self._context)

    def _allocate(self, nbytes: int) -> int:
        self.activate()
        place = c_uint64()
        self._call("cuMemAlloc_v2", byref(place), c_size_t(nbytes))
        return place.value

    def _free(self, place: int) -> None:
        self.activate()
        self._call("cuMemFree_v2", c_uint64(place))

    def _allocate_host(self, nbytes: int) -> int:
        self.activate()
        place = c_void_p()
        self._call("cuMemHostAlloc", byref(place), c_size_t(nbytes), DEVICEMAP)
        return place.value or 0

    def _free_host(self, place: int) -> None:
        self.activate()
        self._call("cuMemFreeHost", c_void_p(place))

    def wait(self) -> None:
        self.activate()
        self._call("cuCtxSynchronize")

    def free_memory(self) -> int:
        self.activate()
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def pinned(self, nbytes: int) -> np.ndarray:
        block = self._pinned.allocate(nbytes)
        memory: Any = (ctypes.c_char * nbytes).from_address(int(block))
        memory.block = block  # alive as long as the array
        return np.frombuffer(memory, np.uint8)

    def free_pinned(self) -> None:
        self._pinned.free_held()

    def write(self, address: int, source: np.ndarray) -> None:
        self.activate()
        place = _place(source)
        self._call("cuMemcpyHtoD_v2", c_uint64(address), place, c_size_t(source.nbytes))

    def write_later(self, address: int, source: np.ndarray, stream: Any) -> None:
        self.activate()
        place, queue = _place(source), stream and stream.pointer
        size = c_size_t(source.nbytes)
        self._call("cuMemcpyHtoDAsync_v2", c_uint64(address), place, size, queue)

    def read(self, target: np.ndarray, address: int) -> None:
        self.activate()
        place = _place(target)
        self._call("cuMemcpyDtoH_v2", place, c_uint64(address), c_size_t(target.nbytes))

    def copy(self, to: int, source: int, nbytes: int, stream: Any) -> None:
        self.activate()
        size, queue = c_size_t(nbytes), stream and stream.pointer
        self._call("cuMemcpyDtoDAsync_v2", c_uint64(to), c_uint64(source), size, queue)

    def copy_from(self, to: int, other: CtypesDevice, source: int, nbytes: int) -> bool:
        self.activate()
        places = (c_uint64(to), self._context, c_uint64(source), other._context)
        code = self._call.code("cuMemcpyPeer", *places, c_size_t(nbytes))
        if code not in (0, NOT_SUPPORTED):
            raise self._call.error("cuMemcpyPeer", code)
        return code == 0

    def load(self, image: bytes) -> Any:
        self.activate()
        module = c_void_p()
        self._call("cuModuleLoadData", byref(module), image)
        return module

    def function(self, module: Any, name: str, shared_bytes: int) -> Function:
        self.activate()
        found, call = c_void_p(), self._call
        call("cuModuleGetFunction", byref(found), module, name.encode())
        if shared_bytes:
            call("cuFuncSetAttribute", found, MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes)

        def launch(grid: tuple, block: tuple, packed: bytes, shared: int, stream: Any) -> None:
            buffer, size = c_char_p(packed), c_size_t(len(packed))
            place = ctypes.cast(buffer, c_void_p)
            extra = (c_void_p * 5)(BUFFER_POINTER, place, BUFFER_SIZE, ctypes.addressof(size), END)
            queue = stream and stream.pointer
            call("cuLaunchKernel", found, *grid, *block, shared, queue, None, extra)

        return launch

    def stream(self) -> CtypesStream:
        self.activate()
        return CtypesStream(self._call)

    def event(self, timing: bool) -> CtypesEvent:
        self.activate()
        return CtypesEvent(self._call, timing)


class CtypesDriver:
    """The library of host/driver.c."""

    error: type[Exception] = DriverError
    memory_error: type[Exception] = DriverMemoryError

    def __init__(self, library: ctypes.CDLL):
        self._call = Library(library)
        self._call("cuInit", 0)
        count = c_int()
        self._call("cuDeviceGetCount", byref(count))
        self.count = count.value

    def open(self, index: int) -> Device:
        return CtypesDevice(index, self._call)
