"""A memory pool in size classes, for a driver that brings none.

    pool = SizeClassPool(allocate, free)
    block = pool.allocate(1000)      # 1024 bytes from the driver
    del block                        # kept
    pool.allocate(900)               # the same 1024 bytes

The interface is that of PyCUDA's DeviceMemoryPool. A class is a power of two or one of three steps
between two of them, so that at most a quarter of a block is not used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

SMALLEST = 256
STEPS = 4  # classes between two powers of two


class Block:
    """Memory of a pool; returns there when the object dies."""

    __slots__ = ("_pool", "_address", "_size")

    def __init__(self, pool: SizeClassPool, address: int, size: int):
        self._pool, self._address, self._size = pool, address, size

    def __int__(self) -> int:
        return self._address

    def __del__(self) -> None:
        self._pool._held[self._size].append(self._address)


class SizeClassPool:
    """allocate(nbytes) gives an address or raises; free(address) takes it back."""

    def __init__(self, allocate: Callable[[int], int], free: Callable[[int], None]):
        self._allocate, self._free = allocate, free
        self._held: defaultdict[int, list[int]] = defaultdict(list)
        self.managed_bytes = 0  # of the driver's, in use or held

    def allocate(self, nbytes: int) -> Block:
        """A block of at least `nbytes`, from what is held or from the driver."""
        size = size_class(nbytes)
        try:
            address = self._held[size].pop()
        except IndexError:
            address = self._allocate(size)
            self.managed_bytes += size
        return Block(self, address, size)

    def free_held(self) -> None:
        """Gives what is held back to the driver."""
        for size, held in list(self._held.items()):
            while held:
                self._free(held.pop())
                self.managed_bytes -= size


def size_class(nbytes: int) -> int:
    """The size of the block that an allocation gets."""
    if nbytes <= SMALLEST:
        return SMALLEST
    step = 1 << max((nbytes - 1).bit_length() - 1, 0)
    step //= STEPS
    return -(-nbytes // step) * step
