"""MT19937 with PyTorch's seeding, state layout and raw draws, on top of NumPy's bit generator.

The generator is that of M. Matsumoto and T. Nishimura, "Mersenne Twister: a 623-dimensionally
equidistributed uniform pseudo-random number generator" (1998), seeded by one 32-bit number, the low
half of the user's seed. Everything that `Generator` draws is made of three raw draws:

    r   one 32-bit draw; r1 and r2 are two in a row
    k   r mod 2^24, so that k 2^-24 is a float32 uniform of [0, 1)
    d   ((r1 << 32) + r2) mod 2^53, so that d 2^-53 is a float64 uniform of [0, 1)

With seed 0 the first draw is 2357136044, so k = 8325804 and the first float32 uniform is 0.4963.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.random import MT19937

Array = NDArray[Any]

DEFAULT_SEED = 67280421310721  # of a `torch.Generator()` that nobody seeded
STATE_BYTES = 5056
_WORDS = 624
_INT64_MIN = -(2**63)

# Draws per step where several passes over them are made: they stay in the L2 cache.
CHUNK = 1 << 15
# Up to this many draws NumPy's unbuffered call is the faster one.
_FEW_DRAWS = 100

# Fields of PyTorch's CPU generator state, little-endian: seed; draws left before the next twist;
# seeded; position; the 624 words, each in 64 bits; the float64 normal kept for the next call;
# whether there is one; the same for a float32 normal, which no CPU kernel of PyTorch uses.
_STATE = np.dtype(
    {
        "names": [
            "seed",
            "left",
            "seeded",
            "next",
            "words",
            "normal",
            "has_normal",
            "float_normal",
        ],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", _WORDS), "<f8", "<i4", ("u1", 8)],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048],
        "itemsize": STATE_BYTES,
    }
)


def check(condition: bool, message: str) -> None:
    """RuntimeError with `message` unless `condition`, as PyTorch checks arguments."""
    if not condition:
        raise RuntimeError(message)


def seed_number(seed: Any) -> int:
    """A seed of [-2^63, 2^64) as a number of 64 bits; RuntimeError or ValueError, in PyTorch's
    words, for what is none."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
    number = int(seed)
    if not _INT64_MIN <= number < 2**64:
        raise ValueError("Overflow when unpacking long long")
    return number % 2**64


class Mersenne:
    """A seeded stream of raw draws.

    Args:
        seed: as for `manual_seed`; PyTorch's default seed if left out.
    """

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._lock = threading.RLock()
        self._bits: MT19937 | None = None
        self.manual_seed(seed)

    # State

    def manual_seed(self, seed: int) -> Self:
        """Restart the stream from a seed in [-2^63, 2^64); a negative one counts from 2^64 down."""
        number = seed_number(seed)
        with self._lock:
            self._seed = number
            self._stale = True  # the words of this seed are not yet in the bit generator
            self._untouched_at: int | None = 0
            self._normal: float | None = None
            self._float_normal = np.zeros(8, np.uint8)
        return self

    def seed(self) -> int:
        """Restart the stream from 53 random bits of the operating system; returns the seed."""
        number = int.from_bytes(os.urandom(8), "little") >> 11
        self.manual_seed(number)
        return number

    def initial_seed(self) -> int:
        """The seed the stream was started from, in [0, 2^64)."""
        return self._seed

    def get_state(self) -> NDArray[np.uint8]:
        """The state as PyTorch lays it out: uint8, shape (5056,)."""
        record = np.zeros(1, _STATE)
        with self._lock:
            inner = self._engine().state["state"]
            position = inner["pos"] if self._untouched_at is None else self._untouched_at
            left = _WORDS + 1 - inner["pos"]
            record["seed"], record["left"], record["seeded"] = self._seed, left, 1
            record["next"], record["words"] = position, inner["key"]
            if self._normal is not None:
                record["normal"], record["has_normal"] = self._normal, 1
            record["float_normal"] = self._float_normal
        return record.view(np.uint8)

    def set_state(self, state: Array) -> Self:
        """Continue from a state that `get_state`, here or in PyTorch, returned."""
        if not isinstance(state, np.ndarray):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        check(
            state.size == STATE_BYTES,
            f"Expected a CPUGeneratorImplState of size {STATE_BYTES} but found the input RNG state "
            f"size to be {state.size}",
        )
        record = np.frombuffer(state.tobytes(), _STATE)[0]
        left, position = int(record["left"]), int(record["next"])
        # With one draw left the next draw twists first, and where reading had stopped is moot.
        fits = position <= _WORDS if left == 1 else left + position == _WORDS + 1
        check(bool(record["seeded"]) and 1 <= left <= _WORDS and fits, "Invalid mt19937 state")
        with self._lock:
            self._load(record["words"].astype(np.uint32), _WORDS + 1 - left)
            self._seed = int(record["seed"])
            self._untouched_at = position if left == 1 else None
            self._normal = float(record["normal"]) if record["has_normal"] else None
            self._float_normal = record["float_normal"].copy()
        return self

    def clone(self) -> Self:
        """An independent generator in the same state."""
        return type(self)().set_state(self.get_state())

    def __getstate__(self) -> NDArray[np.uint8]:
        return self.get_state()

    def __setstate__(self, state: NDArray[np.uint8]) -> None:
        self.__init__()  # type: ignore[misc]
        self.set_state(state)

    def _load(self, words: NDArray[np.uint32], position: int) -> None:
        if self._bits is None:
            # Imported here because it takes 10 ms, which a program that draws nothing is spared.
            from numpy import random

            self._bits = random.MT19937(0)
            self._numpy = random.Generator(self._bits)
        self._bits.state = {
            "bit_generator": "MT19937",
            "state": {"key": words, "pos": position},
        }
        self._stale = False

    def _engine(self) -> MT19937:
        if self._stale or self._bits is None:
            # NumPy's legacy seeding by one integer is Matsumoto's init_genrand, as PyTorch's is.
            from numpy.random import RandomState

            state = RandomState(self._seed & 0xFFFFFFFF).get_state(legacy=False)
            self._load(state["state"]["key"], _WORDS)
        assert self._bits is not None
        return self._bits

    # Raw draws

    def random32(self, count: int) -> NDArray[np.uint32]:
        """`count` 32-bit draws."""
        with self._lock:
            engine = self._engine()
            if count:
                self._untouched_at = None
            if count <= _FEW_DRAWS:
                return engine.random_raw(count).astype(np.uint32)
            return self._numpy.integers(0, 1 << 32, size=count, dtype=np.uint32)

    def random64(self, count: int) -> NDArray[np.uint64]:
        """`count` 64-bit draws, each of two of 32 bits, the first of them the upper half."""
        pairs = self.random32(2 * count).astype(np.uint64).reshape(count, 2)
        return (pairs[:, 0] << np.uint64(32)) | pairs[:, 1]

    def _uniform24(self, count: int) -> NDArray[np.int32]:
        """`count` values of k."""
        draws = self.random32(count)
        draws &= np.uint32(0xFFFFFF)
        return draws.view(np.int32)

    def _uniform64(self, count: int) -> NDArray[np.float64]:
        """`count` values of d 2^-53."""
        result = np.empty(count, np.float64)
        with self._lock:
            for start in range(0, count, CHUNK):
                part = result[start : start + CHUNK]
                draws = self.random64(len(part))
                draws &= np.uint64((1 << 53) - 1)
                np.multiply(draws.view(np.int64), 2.0**-53, out=part)
        return result
