"""CUDA devices: which there are, or what is missing, behind one small interface.

    device(0).name            "NVIDIA H100"
    missing()                 "no NVIDIA driver was found …: install …", where nothing can be used

Two drivers implement the interface: PyCUDA (pycuda_driver.py) and, for the host-executed device
where PyCUDA is not installed, ctypes (ctypes_driver.py). Which one is chosen, and what
is missing for it, stands in available.py.

Nothing happens before the first question; from then on CUDA is in use, and a forked child is
refused it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .available import Unavailable, chosen_driver

FORKED = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must "
    "use the 'spawn' start method"
)


REASONS = 1024  # operations that refuse operands and are told apart


class Pool(Protocol):
    """Memory that is kept for the next allocation when it is freed, as PyCUDA's pools keep it."""

    managed_bytes: int

    def allocate(self, nbytes: int) -> Any:
        """A block: `int(block)` is its address; it returns to the pool when the object dies."""

    def free_held(self) -> None:
        """Gives the blocks that nobody uses back to the driver."""


class Stream(Protocol):
    """A queue of the device; None stands for the default one, which waits for all others."""

    handle: int

    def synchronize(self) -> Any: ...
    def is_done(self) -> bool: ...
    def wait_for_event(self, event: Any) -> Any: ...


class Event(Protocol):
    """A place in a queue."""

    def record(self, stream: Any = None) -> Any: ...
    def synchronize(self) -> Any: ...
    def query(self) -> bool: ...
    def time_till(self, end: Any) -> float: ...


Function = Callable[[tuple, tuple, bytes, int, Any], Any]
"""A kernel: called with grid, block, packed arguments, bytes of shared memory, stream."""


class Device(ABC):
    """One device, with its primary context. Every method makes it current in the calling thread
    first, so it may be any thread."""

    name: str
    capability: tuple[int, int]
    total_memory: int
    multiprocessors: int
    host: bool  # executed by the host's processor
    pool: Pool  # of device memory
    refusal: np.ndarray  # ints that kernels set where an operand is out of its range: REASONS
    refusal_address: int

    def __init__(self, index: int):
        self.index = index
        self._reasons: dict[str, int] = {"": 0}  # what each of those ints says
        self.queues: list[Stream] = []  # besides the default one; they are never destroyed

    def activate(self) -> None:
        """Makes the device current in this thread. Errors: RuntimeError in a forked child."""
        if _THREAD.device is not self:
            _refuse_fork()
            self._make_current(_THREAD.device)
            _THREAD.device = self

    def synchronize(self) -> None:
        """Waits for everything. Errors: IndexError for an operand out of its range."""
        self.wait()
        self.check_refusal()

    def refusal_of(self, reason: str) -> int:
        """The address of an int that a kernel sets where it refuses an operand.

        reason: where the operation stands in the user's program; "" where nobody knows.
        """
        with _LOCK:
            full = len(self._reasons) == REASONS
            number = self._reasons.setdefault(reason, 0 if full else len(self._reasons))
        return self.refusal_address + number * self.refusal.itemsize

    def check_refusal(self) -> None:
        """Raises, once, what a kernel that has run by now found; call it after waiting."""
        flags = self.refusal[: len(self._reasons)]
        if flags.any():
            reasons = [r for r, number in self._reasons.items() if r and flags[number]]
            flags[:] = 0
            raise IndexError(
                f"an index is out of range (found on the device cuda:{self.index} by an operation "
                f"that was started before this point{''.join(': ' + r for r in reasons)})"
            )

    @abstractmethod
    def _make_current(self, before: Device | None) -> None:
        """before: the device that was current in this thread."""

    @abstractmethod
    def wait(self) -> None:
        """Waits for everything that was started on the device."""

    @abstractmethod
    def free_memory(self) -> int:
        """Bytes that the driver has left."""

    @abstractmethod
    def pinned(self, nbytes: int) -> np.ndarray:
        """Page-locked memory of the host from a pool, as bytes; it returns there when it dies,
        which must be while the device is current."""

    @abstractmethod
    def free_pinned(self) -> None:
        """Gives unused page-locked memory back."""

    @abstractmethod
    def write(self, address: int, source: np.ndarray) -> None:
        """Copies a contiguous array to the device; `source` may change afterwards."""

    @abstractmethod
    def write_later(self, address: int, source: np.ndarray, stream: Any) -> None:
        """Copies page-locked memory in the order of a stream; `source` must live until then."""

    @abstractmethod
    def read(self, target: np.ndarray, address: int) -> None:
        """Waits for everything and copies to a contiguous array."""

    @abstractmethod
    def copy(self, to: int, source: int, nbytes: int, stream: Any) -> None:
        """Copies within the device; the two places do not overlap."""

    @abstractmethod
    def copy_from(self, to: int, other: Any, source: int, nbytes: int) -> bool:
        """Copies from another device, after everything that both were asked before; False where
        the driver cannot."""

    @abstractmethod
    def load(self, image: bytes) -> Any:
        """A module from what a compiler made. Errors: those of the driver."""

    @abstractmethod
    def function(self, module: Any, name: str, shared_bytes: int) -> Function:
        """A kernel of a module that may be launched with so much dynamic shared memory."""

    @abstractmethod
    def stream(self) -> Stream:
        """A new queue, which waits for the default stream, as that waits for it."""

    @abstractmethod
    def event(self, timing: bool) -> Event:
        """A new event."""


class Driver(Protocol):
    """What calls the driver library. `error` and `memory_error`: what it raises."""

    error: type[Exception]
    memory_error: type[Exception]
    count: int

    def open(self, index: int) -> Device: ...


def immortal(thing: Any) -> Any:
    """Keeps an object, and what it holds, until the process is gone.

    PyCUDA ends the process, or warns, if what belongs to a context dies without it, as when the
    interpreter ends or in another thread. The driver frees all that a process had.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


class _Thread(threading.local):
    device: Device | None = None


_THREAD = _Thread()
_LOCK = threading.RLock()
_DEVICES: dict[int, Device] = immortal({})
_found: Driver | Unavailable | None = None
_forked = False


def forget_current() -> None:
    """No device is current in this thread any more."""
    _THREAD.device = None


def driver() -> Driver:
    """The driver in use. Errors: Unavailable, with the text of `missing()`."""
    global _found
    if _found is None:
        with _LOCK:
            if _found is None:
                _refuse_fork()
                try:
                    _found = chosen_driver()
                except Unavailable as reason:
                    _found = reason
    if isinstance(_found, Unavailable):
        raise _found
    return _found


def missing() -> str | None:
    """What lacks for a device to be used, and what to install for it; None if nothing does."""
    try:
        driver()
    except RuntimeError as reason:  # Unavailable, or a forked child
        return str(reason)
    return None


def device_count() -> int:
    """How many devices there are; 0 where something is missing."""
    return 0 if missing() else driver().count


def in_use() -> bool:
    """Whether a device was opened in this process."""
    return bool(_DEVICES)


def device(index: int) -> Device:
    """A device, by its number.

    Errors: Unavailable with the text of `missing()`; RuntimeError for a number that there is not,
    and in a forked child.
    """
    found = _DEVICES.get(index)
    if found is not None:
        return found
    _refuse_fork()
    with _LOCK:
        if index not in _DEVICES:
            count = driver().count
            if not 0 <= index < count:
                raise RuntimeError(
                    f"CUDA error: invalid device ordinal {index}: there are {count} devices"
                )
            _DEVICES[index] = driver().open(index)
    return _DEVICES[index]


def devices() -> list[Device]:
    """The devices opened so far."""
    return list(_DEVICES.values())


# ------------------------------------------------------------------------------------------- fork


def _refuse_fork() -> None:
    if _forked:
        raise RuntimeError(FORKED)


def _mark_fork() -> None:
    """In a forked child: the parent's contexts are not there."""
    global _forked, _LOCK
    _LOCK = threading.RLock()  # another thread may have held it
    if _found is not None and not isinstance(_found, Unavailable):
        _forked = True
        forget_current()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_fork)
