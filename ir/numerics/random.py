"""Random numbers by counting: Philox 4x32-10 on arrays.

J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(SC 2011): ten rounds of a keyed bijection turn a counter of four 32-bit words into four random
ones, so that every number of a stream can be computed by itself.

    philox_words([0, 0, 0, 0], key (0, 0))  ->  6627e8d5 e169c58d bc57ac4c 9b00dbd8
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_MASK = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85  # what a round adds to the key: the golden ratio, sqrt(3) - 1
ROUNDS = 10
CHUNK = 1 << 14  # counters at a time: a few arrays of them stay in the L2 cache


def philox_words(
    counter: tuple[Words, Words, Words, Words], key: tuple[int, int]
) -> tuple[Words, Words, Words, Words]:
    """The four random words of counters, 32 bits in each element. key: two 32-bit numbers."""
    a, b, c, d = counter
    for i in range(ROUNDS):
        first, second = (np.uint64((k + i * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL))
        left, right = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (
            (right >> _32) ^ b ^ first,
            right & _MASK,
            (left >> _32) ^ d ^ second,
            left & _MASK,
        )
    return a, b, c, d


def philox(
    block: NDArray[np.int64] | int,
    word: NDArray[np.int64] | int,
    seed_low: NDArray[np.int64] | int,
    seed_high: NDArray[np.int64] | int,
    offset_low: NDArray[np.int64] | int,
    offset_high: NDArray[np.int64] | int,
    out: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Word `word` (mod 4) of every block of the stream of a seed, at an offset: in [0, 2^32).

    The layout is cuRAND's: the key is the seed, the counter the offset (in blocks of four words)
    and, in its upper half, the subsequence, here `block`. Halves are one number of 32 bits each.
    """
    blocks, which = np.broadcast_arrays(np.asarray(block, np.int64), np.asarray(word, np.int64))
    result = np.empty(blocks.shape, np.int64)
    flat, blocks, which = result.reshape(-1), blocks.reshape(-1), which.reshape(-1)
    low, high = np.uint64(int(offset_low)), np.uint64(int(offset_high))
    for start in range(0, flat.size, CHUNK):
        part = slice(start, start + CHUNK)
        wide = blocks[part].astype(np.uint64)
        counter = np.full_like(wide, low), np.full_like(wide, high), wide & _MASK, wide >> _32
        words = philox_words(counter, (int(seed_low), int(seed_high)))
        flat[part] = np.choose(which[part] & 3, words).astype(np.int64)
    if out is None:
        return result
    out[...] = result
    return out


def unsigned_remainder(
    x: NDArray[np.int64], low: int, high: int, out: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """x mod (high 2^32 + low), where x stands for an unsigned number of 64 bits."""
    divisor = np.uint64(int(high) << 32 | int(low))
    result = (np.asarray(x).view(np.uint64) % divisor).view(np.int64)
    if out is None:
        return np.asarray(result)
    out[...] = result
    return out
