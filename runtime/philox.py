"""The generator of CUDA devices: a seed and a place in a stream that is computed, not drawn.

    generator = PhiloxGenerator(7)
    generator.take()       # (7, 0, 0, 0): halves of the seed and of the offset of this draw
    generator.take()       # (7, 0, 1, 0): the next one

A draw of any size takes one block of four words from each of as many subsequences as it needs, and
so moves the offset by 4, as a thread of PyTorch's kernels does that draws four numbers: no two
draws of a seed share a counter. State and its layout are those of `torch.cuda`'s generators.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .mersenne import DEFAULT_SEED, check, seed_number

STATE_BYTES = 16
WORDS = 4  # of a block: what a draw moves the offset by


class PhiloxGenerator:
    """A seeded stream of draws by counting.

    Args:
        seed: as for `manual_seed`; PyTorch's default seed if left out.
    """

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._lock = threading.Lock()
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Self:
        """Restart the stream from a seed in [-2^63, 2^64); a negative one counts from 2^64 down."""
        number = seed_number(seed)
        with self._lock:
            self._seed, self._offset = number, 0
        return self

    def seed(self) -> int:
        """Restart the stream from 53 random bits of the operating system; returns the seed."""
        number = int.from_bytes(os.urandom(8), "little") >> 11
        self.manual_seed(number)
        return number

    def initial_seed(self) -> int:
        """The seed the stream was started from, in [0, 2^64)."""
        return self._seed

    def get_offset(self) -> int:
        """Words that every subsequence has given: a multiple of 4."""
        return self._offset

    def set_offset(self, offset: int) -> Self:
        """Continue from an offset; RuntimeError where it is no multiple of 4."""
        check(offset % WORDS == 0, "offset must be a multiple of 4")
        with self._lock:
            self._offset = offset % 2**64
        return self

    def get_state(self) -> NDArray[np.uint8]:
        """The state as PyTorch lays it out: uint8, shape (16,), seed and offset."""
        with self._lock:
            return np.array([self._seed, self._offset], "<u8").view(np.uint8)

    def set_state(self, state: NDArray[Any]) -> Self:
        """Continue from a state that `get_state`, here or in PyTorch, returned; of 8 bytes, a seed
        alone, from its beginning."""
        if not isinstance(state, np.ndarray):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        check(state.size in (8, STATE_BYTES), "RNG state is wrong size")
        numbers = [int(n) for n in np.frombuffer(state.tobytes(), "<u8")]
        seed, offset = numbers[0], numbers[1] if len(numbers) > 1 else 0
        check(offset % WORDS == 0, "offset must be a multiple of 4")
        with self._lock:
            self._seed, self._offset = seed, offset
        return self

    def clone(self) -> Self:
        """An independent generator in the same state."""
        return type(self)().set_state(self.get_state())

    def __getstate__(self) -> NDArray[np.uint8]:
        return self.get_state()

    def __setstate__(self, state: NDArray[np.uint8]) -> None:
        self.__init__()  # type: ignore[misc]
        self.set_state(state)

    def take(self) -> tuple[int, int, int, int]:
        """What a draw is computed from: the low and high 32 bits of the seed and of the offset in
        blocks. The next call's is another."""
        with self._lock:
            seed, block = self._seed, self._offset // WORDS
            self._offset = (self._offset + WORDS) % 2**64
        return (*_halves(seed), *_halves(block))


def _halves(number: int) -> tuple[int, int]:
    return number & 0xFFFFFFFF, number >> 32
