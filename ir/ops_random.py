"""Random bits that are computed, not drawn: two primitives from which devices make their draws.

    words = philox(block, word, seed_low, seed_high, offset_low, offset_high)

An element depends on its index only, so a draw fuses into the loop that uses it, and is computed
again in the backward for less than storing it would cost. Distributions are compositions
(lazyt/functions/device_draws.py). Seeds and offsets are tensors of one number each, halves of 32
bits (numbers reach loops as doubles); `number`s, so that the next draw is the same program.
"""

from __future__ import annotations

import numpy as np

from .dtypes import int64
from .node import Node
from .numerics.random import philox as philox_array
from .numerics.random import unsigned_remainder as unsigned_remainder_array
from .opdef import Op, provide
from .ops_elementwise import common, elementwise
from .types import TensorType

provide(philox=philox_array, unsigned_remainder=unsigned_remainder_array)


def _int64(src: tuple, arg: tuple) -> TensorType:
    shape, first = common(src)
    for s in src:
        if s.__class__ is Node and s.type.dtype is not int64:
            raise TypeError(f"random bits are int64, not {s.type.dtype.name}")
    return first.type.with_shape(shape)


# Word (mod 4) of a block, an int64 of [0, 2^32).
philox: Op = elementwise(
    "philox",
    "philox({0}, {1}, {2}, {3}, {4}, {5}, out={out})",
    infer=_int64,
    samples=lambda: [
        (([[0, 1, 2], [3, 1 << 40, -1]], [0, 1, 2], 1, 2, 3, 4), ()),
        (([5, 5, 5, 5], [0, 1, 2, 3], 0xFFFFFFFF, 0, 0, 0xFFFFFFFF), ()),
        ((np.array(7), [[0], [6]], np.array(1), np.array(2), 0, 0), ()),
    ],
)
# The remainder of 64 bits taken as an unsigned number; the divisor, not 0, as two halves.
unsigned_remainder: Op = elementwise(
    "unsigned_remainder",
    "unsigned_remainder({0}, {1}, {2}, out={out})",
    infer=_int64,
    samples=lambda: [
        (([[0, 1, -1], [1 << 62, -(1 << 63), 12345]], 10, 0), ()),
        (([5, -7], 0, 1 << 31), ()),
        (([5, -7], 0xFFFFFFFF, 0xFFFFFFFF), ()),
    ],
)
