"""Device memory: allocation from pools, what is in use, and what happens when there is none left.

    x = allocate(4000, device(0))     # x.address
    memory_allocated(device(0))       # 4096: sizes are rounded up, as PyTorch rounds them
    del x                             # the pool keeps it

An object that dies only notes so; its block goes back to the pool with the next allocation. So a
finalizer never calls the driver: it may run in any thread, in a forked child, or when the
interpreter ends.

A pool's block may be given out again while the device still works on it: everything on the default
stream is done in order. Once there are other streams, a freed block waits until events recorded on
all of them have passed.
"""

from __future__ import annotations

import gc
import threading
from collections import deque
from typing import Any

from .driver import Device, driver, immortal

GRANULE = 512  # bytes


class OutOfMemoryError(RuntimeError):
    """A device has too little memory left, also after the pools were emptied."""


class Memory:
    """Bytes of a device; they are freed when the object dies.

    owner: what holds them: a pool's block, or an object that lends its memory. shared: whether
    others than tensors may see them.
    """

    __slots__ = ("address", "nbytes", "shared", "_owner", "_charge", "_accounts", "__weakref__")

    def __init__(self, address: int, nbytes: int, owner: Any, charge: int, accounts: Accounts):
        self.address, self.nbytes = address, nbytes
        self.shared = False
        self._owner, self._charge, self._accounts = owner, charge, accounts

    def __del__(self) -> None:
        self._accounts.freed.append((self._owner, self._charge))


class Accounts:
    """The memory of one device."""

    def __init__(self, device: Device):
        self.device, self._exhausted = device, driver().memory_error
        self.freed: deque[tuple[Any, int]] = deque()
        self._waiting: deque[tuple[list[Any], Any]] = deque()  # events, and what waits for them
        self._lock = threading.RLock()
        self.allocated = self.peak = self.peak_reserved = 0

    @property
    def reserved(self) -> int:
        return int(self.device.pool.managed_bytes)

    def allocate(self, nbytes: int) -> Memory:
        if nbytes == 0:
            return Memory(0, 0, None, 0, self)
        size = -(-nbytes // GRANULE) * GRANULE
        with self._lock:
            if self.freed or self._waiting:
                self.collect()
            self.device.activate()
            try:
                block = self.device.pool.allocate(size)
            except self._exhausted:
                gc.collect()
                self.empty()
                try:
                    block = self.device.pool.allocate(size)
                except self._exhausted:
                    raise OutOfMemoryError(self._complaint(nbytes)) from None
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
            self.peak_reserved = max(self.peak_reserved, self.reserved)
        return Memory(int(block), nbytes, block, size, self)

    def collect(self) -> None:
        """Gives back to the pool what was freed and no stream works on any more."""
        with self._lock:
            self.device.activate()  # a block that dies wants its context
            owners = []
            while self.freed:
                owner, charge = self.freed.popleft()
                self.allocated -= charge
                owners.append(owner)
            if owners and self.device.queues:
                self.hold(owners, (None, *self.device.queues))
            while self._waiting and all(event.query() for event in self._waiting[0][0]):
                self._waiting.popleft()

    def hold(self, something: Any, streams: Any) -> None:
        """Keeps an object until the streams have done what they were asked so far."""
        events = []
        for stream in streams:
            event = self.device.event(timing=False)
            event.record(stream)
            events.append(event)
        with self._lock:
            self._waiting.append((events, something))

    def empty(self) -> None:
        """Gives all memory that nothing uses back to the driver."""
        with self._lock:
            self.collect()
            if self._waiting:
                self.device.wait()
                self._waiting.clear()
            self.device.pool.free_held()
            self.device.free_pinned()

    def _complaint(self, nbytes: int) -> str:
        free, total = self.device.free_memory(), self.device.total_memory
        unused = max(self.reserved - self.allocated, 0)
        return (
            f"CUDA out of memory. Tried to allocate {shown(nbytes)}. GPU {self.device.index} has a "
            f"total capacity of {shown(total)} of which {shown(free)} is free. Of the memory in "
            f"use, {shown(self.allocated)} is allocated by tensors, and {shown(unused)} is "
            "reserved but unallocated."
        )


def shown(nbytes: int) -> str:
    """A size as PyTorch writes it: "20.00 GiB"."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if nbytes >= 1 << power:
            return f"{nbytes / (1 << power):.2f} {unit}"
    return f"{nbytes} bytes"


_ACCOUNTS: dict[int, Accounts] = immortal({})


def accounts(device: Device) -> Accounts:
    """The memory of a device."""
    found = _ACCOUNTS.get(device.index)
    return found or _ACCOUNTS.setdefault(device.index, Accounts(device))


def allocate(nbytes: int, device: Device) -> Memory:
    """Memory of a device, not initialised. Errors: OutOfMemoryError."""
    return accounts(device).allocate(nbytes)


def lent(address: int, nbytes: int, owner: Any, device: Device) -> Memory:
    """Memory that belongs to somebody else, who is kept alive as long as it is used."""
    memory = Memory(address, nbytes, owner, 0, accounts(device))
    memory.shared = True
    return memory


def memory_allocated(device: Device) -> int:
    """Bytes that are in use."""
    found = accounts(device)
    found.collect()
    return found.allocated


def max_memory_allocated(device: Device) -> int:
    """The most bytes that were in use at a time."""
    return accounts(device).peak


def memory_reserved(device: Device) -> int:
    """Bytes that the pool has of the driver, in use or not."""
    return accounts(device).reserved


def max_memory_reserved(device: Device) -> int:
    """The most bytes that the pool had."""
    return accounts(device).peak_reserved


def reset_peak(device: Device) -> None:
    """Measures both maxima from here on."""
    found = accounts(device)
    found.collect()
    found.peak, found.peak_reserved = found.allocated, found.reserved


def empty_cache(device: Device) -> None:
    """Gives what the pools hold and nobody uses back to the driver."""
    accounts(device).empty()
