"""What draws accept: PyTorch's refusals in its words, and the ranges of whole numbers.

The engines of all devices ask here, before anything is drawn:

    integer_range(resolve("float16"), 2049, 4098)  ->  (2050, 4096), which float16 holds
"""

from __future__ import annotations

import warnings

import numpy as np

from lazyt.ir.dtypes import BOOL, DType, bfloat16
from lazyt.runtime.mersenne import check
from lazyt.runtime.sampling_dtypes import C_TYPE, DIGITS, LARGEST, SCALAR_TYPE, cast

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

NOT_PROBABILITIES = "probability tensor contains either `inf`, `nan` or element < 0"
NO_PROBABILITY = "invalid multinomial distribution (sum of probabilities <= 0)"


def check_permutation(n: int, kind: DType) -> None:
    """PyTorch's refusals of permutations."""
    check(n >= 0, f"Trying to create tensor with negative dimension {n}: [{n}]")
    if kind.category == BOOL:
        raise NotImplementedError("\"randperm\" not implemented for 'Bool'")
    if kind.limits is not None:
        message = f"value cannot be converted to type {kind.name}_t without overflow"
        check(n - 1 <= kind.limits[1], message)
    elif kind is not bfloat16:
        digits, name = DIGITS[kind.name], SCALAR_TYPE[kind.name]
        most = 2049 if name == "Half" else f"2^{digits}+1"
        check(n <= (1 << digits) + 1, f"n cannot be greater than {most} for {name} type.")


def check_multinomial(shape: tuple[int, ...], kind: DType, n: int, replacement: bool) -> None:
    """PyTorch's refusals of probabilities of a shape and dtype, and of numbers of draws."""
    check(1 <= len(shape) <= 2, "prob_dist must be 1 or 2 dim")
    check(
        kind.is_floating_point,
        f"multinomial only supports floating-point dtypes for input, got: {SCALAR_TYPE[kind.name]}",
    )
    check(n > 0, "cannot sample n_sample <= 0 samples")
    categories = shape[-1]
    check(
        replacement or n <= categories,
        "cannot sample n_sample > prob_dist.size(-1) samples without replacement",
    )
    check(categories <= 1 << 24, "number of categories cannot exceed 2^24")
    check(categories > 0 or len(shape) == 2 and not shape[0], "no categories to draw from")


def whole_range(kind: DType) -> int:
    """How many values `random` without bounds draws of: 0 and what `kind` holds exactly above."""
    if kind.category == BOOL:
        return 2
    return kind.limits[1] + 1 if kind.limits is not None else (1 << DIGITS[kind.name]) + 1


def check_full_range(kind: DType, device: str = "cpu") -> None:
    """PyTorch's refusals where all 64 bits of a draw are to be cast to `kind`.

    device: its type, which the name of the kernel ends with.
    """
    kernel = f"random_full_64_bits_range_kernel_{device}"
    if kind.name == "float16" or kind.category == BOOL:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{SCALAR_TYPE[kind.name]}'")
    supported = kind.name in ("int64", "float32", "float64", "bfloat16")
    check(supported, f"{kernel} handles only int64, double, float and bfloat16")


def integer_range(kind: DType, low: int, high: int | None) -> tuple[int, int]:
    """The first and last value `random` draws, after PyTorch's checks and adjustments.

    Large bounds that a floating-point type would round to the other side are moved inwards.
    """
    if not all(_INT64_MIN <= bound <= _INT64_MAX for bound in (low, high or 0)):
        raise ValueError("Overflow when unpacking long long")
    low, high = int(low), None if high is None else int(high)
    digits = DIGITS.get(kind.name)
    if high is not None:
        check(
            low < high,
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}",
        )
        last = high - 1
        if digits:
            low = _moved_up(low, kind, digits)
            last = _moved_down(high, kind, digits) - 1
            check(
                low <= last,
                "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but "
                f"got from={low} >= to={last + 1}",
            )
    elif digits:
        low, last = _moved_up(low, kind, digits), 1 << digits
        check(
            low < last,
            "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to "
            f"dtype, but got from={low} > to_inc={last}",
        )
    else:
        last = kind.limits[1] if kind.limits else 1
    for name, bound in (("from", low), ("to - 1", last)):
        if digits:
            inside = abs(bound) <= LARGEST[kind.name]
        else:
            least, greatest = kind.limits or (0, 1)
            inside = least <= bound <= greatest
        check(inside, f"{name} is out of bounds for {C_TYPE[kind.name]}")
        if digits and digits < 64 and abs(bound) > 1 << digits:
            warnings.warn(
                f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision "
                f"limitations {C_TYPE[kind.name]} can support discrete uniform distribution only "
                "within this range. This warning will become an error in version 1.7 release, "
                "please fix the code in advance",
                stacklevel=4,
            )
    return low, last


def _moved_up(low: int, kind: DType, digits: int) -> int:
    """`low`, or a value above it if the one after `low` would be rounded to one below it."""
    nearest = _as_stored(low + 1, kind)
    if nearest >= low:
        return low
    return nearest + (1 << (abs(low + 1).bit_length() - digits))


def _moved_down(high: int, kind: DType, digits: int) -> int:
    """`high`, or a value below it if the one before `high` would be rounded to `high` or above."""
    nearest = _as_stored(high - 1, kind)
    if nearest < high:
        return high
    return nearest - (1 << (abs(high - 1).bit_length() - digits))


def _as_stored(number: int, kind: DType) -> int:
    """`number` through `kind` and back to int64, where x86-64 makes -2^63 of what is too big."""
    stored = float(cast(np.array(number, np.int64), kind))
    return int(stored) if _INT64_MIN <= stored < 2.0**63 else _INT64_MIN
