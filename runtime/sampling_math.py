"""Floating-point building blocks of the random number engine.

PyTorch's CPU kernels compute with fused multiply-adds and, for blocks of float32 normals, with the
polynomials of the Cephes library. NumPy has neither a fused multiply-add nor those polynomials, and
its own `log`, `sin` and `cos` differ from them in the last bit for one value in seven, so the
same numbers only come out when the same roundings are made. Here they are made in float64: the
product of two float32 numbers is exact there, so one rounding of `a * b + c` to float32 is what a
fused multiply-add returns.

    uniforms (u1, u2) = (0.5, 0.25)
    radius = sqrt(-2 ln 0.5) = 1.1774, angle = 2 pi 0.25    ->  normals (0.0, 1.1774)

Sources: G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates" (1958);
S. L. Moshier, Cephes Mathematical Library (`logf`, `sinf`, `cosf`); T. J. Dekker, "A floating-point
technique for extending the available precision" (1971).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

TWO_PI = 2.0 * math.pi

# Below this many a loop over the swaps is faster.
_FEW_SWAPS = 300

# Eight pairs make one block of sixteen normals; this many blocks at a time stay in the L2 cache.
_BLOCKS_AT_A_TIME = 1024

_SQRT_HALF = float(np.float32(0.707106781186547524))
_LOG_POLYNOMIAL = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_LN2_LOW, _LN2_HIGH = -2.12194440e-4, 0.693359375
_SIN_POLYNOMIAL = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS_POLYNOMIAL = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_FOUR_OVER_PI = np.float32(1.27323954473516)
# pi / 4 in three parts, so that a multiple of it is subtracted without losing bits.
_MINUS_QUARTER_PI = (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)


def _single(value: float) -> float:
    """The float32 number nearest to `value`, as a Python float."""
    return float(np.float32(value))


def _rounded(wide: F64) -> F64:
    """`wide` rounded to float32 precision, kept in float64."""
    return wide.astype(np.float32).astype(np.float64)


def _fma(a: F64, b: F64 | float, c: F64 | float) -> F64:
    """Fused multiply-add of float32 numbers held in float64."""
    wide = a * b
    wide += c
    return _rounded(wide)


def _horner(x: F64, coefficients: tuple[float, ...]) -> F64:
    """A polynomial in `x`, highest coefficient first, one fused multiply-add a step."""
    value = _fma(x, _single(coefficients[0]), _single(coefficients[1]))
    for coefficient in coefficients[2:]:
        value = _fma(value, x, _single(coefficient))
    return value


def log_float32(x: F32) -> F32:
    """Natural logarithm of positive normal float32 numbers, rounded as Cephes' `logf` with FMA."""
    bits = x.view(np.int32)
    exponent = ((bits >> 23) - 126).astype(np.float64)
    mantissa = ((bits & 0x007FFFFF) | 0x3F000000).view(np.float32).astype(np.float64)
    low = mantissa < _SQRT_HALF
    exponent -= low
    mantissa *= 1.0 + low
    mantissa -= 1.0
    square = _rounded(mantissa * mantissa)
    value = _rounded(_horner(mantissa, _LOG_POLYNOMIAL) * mantissa)
    value = _fma(value, square, _rounded(exponent * _single(_LN2_LOW)))
    value = _fma(square, -0.5, value)
    value = _rounded(mantissa + value)
    exponent *= _single(_LN2_HIGH)
    exponent += value
    return exponent.astype(np.float32)


def sin_cos_float32(x: F32) -> tuple[F32, F32]:
    """Sine and cosine of float32 angles in [0, 8192), rounded as Cephes' with FMA."""
    octant = (x * _FOUR_OVER_PI).astype(np.int32)
    octant += 1
    octant &= ~1
    turns = octant.astype(np.float64)
    angle = x.astype(np.float64)
    for part in _MINUS_QUARTER_PI:
        angle = _fma(turns, _single(part), angle)
    square = _rounded(angle * angle)
    cosine = _rounded(_horner(square, _COS_POLYNOMIAL) * square)
    cosine = _rounded(_fma(cosine, square, _rounded(square * -0.5)) + 1.0)
    sine = _rounded(_horner(square, _SIN_POLYNOMIAL) * square)
    sine = _fma(sine, angle, angle)
    swapped = (octant & 2) != 0
    sines = np.where(swapped, cosine, sine).astype(np.float32)
    cosines = np.where(swapped, sine, cosine).astype(np.float32)
    np.negative(sines, out=sines, where=(octant & 4) != 0)
    np.negative(cosines, out=cosines, where=((octant + 2) & 4) != 0)
    return sines, cosines


def box_muller_float32(values: F32, mean: float, std: float) -> None:
    """Turn uniforms of [0, 1) into normals, in place, as PyTorch's vector kernel does.

    Args:
        values: contiguous float32 array whose length is a multiple of 16; in every block of 16 the
            first eight give the radii, the other eight the angles.
        mean: mean of the normals.
        std: standard deviation of the normals.
    """
    blocks = values.reshape(-1, 16)
    for start in range(0, len(blocks), _BLOCKS_AT_A_TIME):
        block = blocks[start : start + _BLOCKS_AT_A_TIME]
        radius = log_float32(np.float32(1.0) - block[:, :8])
        radius *= np.float32(-2.0)
        np.sqrt(radius, out=radius)
        sines, cosines = sin_cos_float32(np.float32(TWO_PI) * block[:, 8:])
        cosines *= radius
        sines *= radius
        block[:, :8] = scale_float32(cosines, mean, std)
        block[:, 8:] = scale_float32(sines, mean, std)


def scale_float32(x: F32, mean: float, std: float) -> F32:
    """`x * std + mean` in float32, fused."""
    scale, shift = np.float32(std), np.float32(mean)
    if scale == 1.0:
        return x + shift
    return (x.astype(np.float64) * np.float64(scale) + np.float64(shift)).astype(np.float32)


def box_muller_float64(values: F64, mean: float, std: float) -> None:
    """The float64 form of `box_muller_float32`; the functions are the C library's."""
    blocks = values.reshape(-1, 16)
    radius = np.sqrt(-2.0 * libm(math.log, 1.0 - blocks[:, :8]))
    angle = TWO_PI * blocks[:, 8:]
    blocks[:, :8] = scale_float64(radius * libm(math.cos, angle), mean, std)
    blocks[:, 8:] = scale_float64(radius * libm(math.sin, angle), mean, std)


def scale_float64(x: F64, mean: float, std: float) -> F64:
    """`x * std + mean` in float64, fused: the rounding errors of product and sum are added back."""
    if std == 1.0:
        return x + mean
    product = x * std
    if mean == 0.0 or not (math.isfinite(mean) and math.isfinite(std)):
        return product + mean
    x_high, x_low = _split(x)
    std_high, std_low = _split(np.asarray(std))
    product_error = (x_high * std_high - product) + x_high * std_low + x_low * std_high
    product_error += x_low * std_low
    total = product + mean
    shift = total - product
    sum_error = (product - (total - shift)) + (mean - shift)
    return total + (sum_error + product_error)


def _split(x: F64) -> tuple[F64, F64]:
    """Dekker's split of a float64 number into two of at most 26 bits."""
    scaled = x * 134217729.0
    high = scaled - (scaled - x)
    return high, x - high


def libm(function: Callable[[float], float], x: F64) -> F64:
    """Apply a function of `math` to every element.

    NumPy's vector functions differ from the C library's in the last bit for about one float64 in
    five hundred; where the result itself is float64 that would be seen.
    """
    flat = np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size)
    return flat.reshape(x.shape)


def round_bfloat16(x: F32) -> F32:
    """The nearest bfloat16 numbers (ties to even), as float32.

    bfloat16 is the upper half of a float32; NumPy has no such type: its values travel in float32.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    rounded &= np.uint32(0xFFFF0000)
    result = rounded.view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), result).reshape(x.shape)


def shuffled(count: int, draws: NDArray[np.uint32]) -> NDArray[np.int64]:
    """0..count-1 after swaps of i with i + draws[i] mod (count - i), for count - 1 draws.

    The swaps are a chain, each on what the ones before left. Value by value it unwinds: let
    `target[i]` be the place that swap i exchanges with place i. What the swap finds there was put
    there by the last earlier swap k with the same target, which put what place k held; or is still
    the first, `target[i]` itself. What place i itself holds by then came in the same way, from the
    swap that last had i as its target. So each place points to an earlier one, or to itself, and
    following the pointers (doubling, so log n times) tells what every place held.

        draws 1, 1 (count = 3): target 1, 2, 2;  place 1 holds what place 0 held;  result 1, 2, 0
    """
    place = np.arange(count, dtype=np.int64)
    target = place.copy()
    steps = draws % np.arange(count, 1, -1, dtype=np.uint32)
    target[: len(draws)] += steps.astype(np.int64)
    if count < _FEW_SWAPS:
        values = place.tolist()
        for i, j in enumerate(target.tolist()):
            values[i], values[j] = values[j], values[i]
        return np.array(values, np.int64)
    # Swaps sorted by target, then by order: one integer sort of both packed together.
    order_bits = count.bit_length()
    packed = (target << order_bits) | place
    packed.sort()
    swap = packed & ((1 << order_bits) - 1)
    packed >>= order_bits
    same = np.flatnonzero(packed[1:] == packed[:-1])
    earlier = np.full(count, -1)
    earlier[swap[same + 1]] = swap[same]
    source = place.copy()
    moved = np.flatnonzero(target != place)
    source[target[moved]] = moved  # of equal targets NumPy keeps the last
    while True:
        further = source[source]
        if np.array_equal(further, source):
            break
        source = further
    return np.where(earlier >= 0, source[earlier], target)
