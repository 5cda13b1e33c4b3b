"""Elementwise primitives that are more than one ufunc call, with PyTorch's corner cases.

Division, remainders, powers and shifts of integers and floats; logistic functions; casts. Every
function takes ``out=``, an array of the result's shape and dtype, which may be an operand, and
returns an array (never a NumPy scalar). Operands are arrays of one dtype that broadcast; of two,
one may be a Python number, which takes the dtype of the other.

NumPy warns about overflow, invalid operands and division by zero here as anywhere: the caller runs
a whole plan under ``np.errstate(all="ignore")``, which costs a microsecond once and not per call.
"""

from __future__ import annotations

import numpy as np


def _target(out: np.ndarray | None, dtype: np.dtype, *operands: np.ndarray) -> np.ndarray:
    """Where to compute: ``out``, unless a later step still reads an operand that shares it."""
    for operand in operands:
        if out is not None and np.may_share_memory(out, operand):
            out = None
    if out is not None:
        return out
    return np.empty(np.broadcast_shapes(*(x.shape for x in operands)), dtype)


def _finish(out: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    if out is None or out is result:
        return result
    np.copyto(out, result)
    return out


def _new(out: np.ndarray | None, x: np.ndarray) -> np.ndarray:
    """``out`` or an array like ``x``, for functions that read ``x`` in their first step only."""
    return np.empty(x.shape, x.dtype) if out is None else out


Operand = np.ndarray | float | int


def _arrays(a: Operand, b: Operand) -> tuple[np.ndarray, np.ndarray]:
    """Both operands as arrays of one dtype."""
    if not isinstance(a, np.ndarray):
        a = np.asarray(a, getattr(b, "dtype", None))
    if not isinstance(b, np.ndarray):
        b = np.asarray(b, a.dtype)
    return a, b


def _check_divisor(b: np.ndarray) -> None:
    if not b.all():
        raise RuntimeError("ZeroDivisionError")


# Division


def floor_divide(a: Operand, b: Operand, out: np.ndarray | None = None) -> np.ndarray:
    """``a // b`` rounded towards minus infinity.

    Floats: the quotient of ``a - fmod(a, b)``, so that 1.0 // 0.1 is 9 (0.1 is above a tenth);
    the same algorithm as CPython's float division. Integers: the smallest integer divided by -1 is
    itself; a zero divisor raises RuntimeError("ZeroDivisionError").
    """
    a, b = _arrays(a, b)
    if a.dtype.kind != "f":
        _check_divisor(b)
    return np.asarray(np.floor_divide(a, b, out=out))


def trunc_divide(a: Operand, b: Operand, out: np.ndarray | None = None) -> np.ndarray:
    """``a / b`` rounded towards zero; integer zero divisors raise as in ``floor_divide``."""
    a, b = _arrays(a, b)
    if a.dtype.kind == "f":
        quotient = np.divide(a, b, out=out)
        return np.asarray(np.trunc(quotient, out=out))
    _check_divisor(b)
    result = _target(out, a.dtype, a, b)
    np.floor_divide(a, b, out=result)
    if a.dtype.kind == "i":
        inexact = np.fmod(a, b) != 0
        inexact &= (a < 0) != (b < 0)
        np.add(result, inexact, out=result, casting="unsafe")
    return _finish(out, result)


def remainder(a: Operand, b: Operand, out: np.ndarray | None = None) -> np.ndarray:
    """``a - floor(a / b) * b``, with the sign of ``b``.

    A float remainder of zero keeps the sign of ``a``, as in PyTorch (NumPy and Python give it that
    of ``b``). Integer zero divisors raise as in ``floor_divide``.
    """
    a, b = _arrays(a, b)
    if a.dtype.kind != "f":
        _check_divisor(b)
        return np.asarray(np.remainder(a, b, out=out))
    result = _target(out, a.dtype, a, b)
    np.fmod(a, b, out=result)
    opposite = (b < 0) != (result < 0)
    opposite &= result != 0
    np.add(result, b, out=result, where=opposite)
    return _finish(out, result)


def fmod(a: Operand, b: Operand, out: np.ndarray | None = None) -> np.ndarray:
    """``a - trunc(a / b) * b``, with the sign of ``a``; exact for floats. Integer zero divisors
    raise as in ``floor_divide``."""
    a, b = _arrays(a, b)
    if a.dtype.kind != "f":
        _check_divisor(b)
    return np.asarray(np.fmod(a, b, out=out))


# Powers


def power(a: Operand, b: Operand, out: np.ndarray | None = None) -> np.ndarray:
    """``a ** b``; floats as in C's ``pow`` (C11, F.10.4.4), integers modulo their width.

    A float array to a power that is a number is ``power_scalar``. An integer to a negative power is
    what truncation leaves of the reciprocal: 1 and -1 to plus or minus 1, everything else (zero
    too) to 0.
    """
    if not isinstance(b, np.ndarray) and isinstance(a, np.ndarray) and a.dtype.kind in "fc":
        return power_scalar(a, b, out)
    a, b = _arrays(a, b)
    if a.dtype.kind != "i" or not (b < 0).any():
        return np.asarray(np.power(a, b, out=out))
    result = _target(out, a.dtype, a, b)
    np.power(a, np.maximum(b, 0), out=result)
    reciprocal = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))
    np.copyto(result, reciprocal, where=b < 0, casting="unsafe")
    return _finish(out, result)


def power_scalar(x: np.ndarray, exponent: float, out: np.ndarray | None = None) -> np.ndarray:
    """``x ** exponent`` for a number, floats: PyTorch's shortcuts, and its results where these
    differ from ``pow`` (exponent 0.5 is ``sqrt``: ``-0.0`` stays, ``-inf`` gives nan).

    Integers take non-negative integer exponents.
    """
    if x.dtype.kind not in "fc":
        return power(x, np.asarray(exponent, x.dtype), out)
    if exponent == 2:
        return np.asarray(np.multiply(x, x, out=out))
    if exponent == 0.5:
        return np.asarray(np.sqrt(x, out=out))
    if exponent == 1:
        return np.asarray(np.positive(x, out=out))
    if exponent == -1:
        return np.asarray(np.reciprocal(x, out=out))
    if exponent == 3:
        result = _target(out, x.dtype, x)
        np.multiply(x, x, out=result)
        return _finish(out, np.multiply(result, x, out=result))
    result = _new(out, x)
    if exponent == -2:
        np.multiply(x, x, out=result)
        return np.reciprocal(result, out=result)
    if exponent == -0.5:
        np.sqrt(x, out=result)
        return np.reciprocal(result, out=result)
    return np.power(x, x.dtype.type(exponent), out=result)


# Bits


def shift_left(a: Operand, b: Operand, out: np.ndarray | None = None) -> np.ndarray:
    """``a << b``; 0 for counts that are negative or no less than the width."""
    a, b = _arrays(a, b)
    return np.asarray(np.left_shift(a, b, out=out))


def shift_right(a: Operand, b: Operand, out: np.ndarray | None = None) -> np.ndarray:
    """``a >> b`` (arithmetic); only the sign is left (0 or -1) for counts that are negative or no
    less than the width."""
    a, b = _arrays(a, b)
    return np.asarray(np.right_shift(a, b, out=out))


# Signs and rounding


def sign(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """-1, 0 or 1; 0 for nan (NumPy says nan)."""
    if x.dtype.kind != "f":
        return np.asarray(np.sign(x, out=out))
    return np.asarray(np.subtract(np.greater(x, 0), np.less(x, 0), dtype=x.dtype, out=out))


def nan_to_num(
    x: np.ndarray,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x`` with nan and infinities replaced (by default with 0 and the largest finite values)."""
    result = _new(out, x)
    if x.dtype.kind != "f":
        np.copyto(result, x)
        return result
    limits = np.finfo(x.dtype)
    kind = x.dtype.type
    high = limits.max if posinf is None else kind(posinf)
    low = limits.min if neginf is None else kind(neginf)
    replacements = ((np.isnan(x), kind(nan)), (x == np.inf, high), (x == -np.inf, low))
    np.copyto(result, x)
    for where, value in replacements:
        np.copyto(result, value, where=where)
    return result


# Logistic functions


def sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``1 / (1 + exp(-x))``; an overflow of exp gives the right limit, 0."""
    result = np.negative(x, out=_new(out, x))
    np.exp(result, out=result)
    np.add(result, 1, out=result)
    return np.reciprocal(result, out=result)


def silu(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``x / (1 + exp(-x))``."""
    result = _target(out, x.dtype, x)
    np.negative(x, out=result)
    np.exp(result, out=result)
    np.add(result, 1, out=result)
    return _finish(out, np.divide(x, result, out=result))


def softplus(
    x: np.ndarray, beta: float = 1.0, threshold: float = 20.0, out: np.ndarray | None = None
) -> np.ndarray:
    """``log(1 + exp(beta x)) / beta``, and ``x`` itself where ``beta x > threshold``."""
    result = _target(out, x.dtype, x)
    np.multiply(x, x.dtype.type(beta), out=result)
    linear = result > threshold
    np.exp(result, out=result)
    np.log1p(result, out=result)
    np.divide(result, x.dtype.type(beta), out=result)
    np.copyto(result, x, where=linear)
    return _finish(out, result)


def log_sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``log(1 / (1 + exp(-x))) = min(x, 0) - log1p(exp(-|x|))``, without overflow."""
    result = _target(out, x.dtype, x)
    np.abs(x, out=result)
    np.negative(result, out=result)
    np.exp(result, out=result)
    np.log1p(result, out=result)
    return _finish(out, np.subtract(np.minimum(x, 0), result, out=result))


# Casts


def cast_float_to_int(x: np.ndarray, dtype: np.dtype, out: np.ndarray | None = None) -> np.ndarray:
    """Floats truncated to ``dtype``, with x86's results for nan and what is out of range.

    The conversion instructions yield the smallest int32 or int64 for both. PyTorch converts to
    int8 and int16 through int32, to uint8 through int64, keeping the low bits; so does this. To
    bool: whether the value is not zero.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray(np.not_equal(x, 0, out=out))
    if dtype.itemsize < 4:
        x = x.astype(np.int64 if dtype.kind == "u" else np.int32)
    if out is None:
        return x.astype(dtype)
    np.copyto(out, x, casting="unsafe")
    return out


def cast_float16(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Numbers rounded to float16, doubles and integers by way of float32 as in PyTorch."""
    if x.dtype not in (np.float32, np.float16):
        x = x.astype(np.float32)
    if out is None:
        return x.astype(np.float16)
    np.copyto(out, x, casting="unsafe")
    return out


def round_bfloat16(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """float32 rounded to the nearest bfloat16, ties to even, carried in float32.

    bfloat16 is the upper half of float32. Adding just under half of its last place, one more where
    that place is odd, carries into it exactly when rounding up is due; the lower half is cut off.
    Values that round past the largest finite one become infinite; nan becomes PyTorch's nan.
    """
    undefined = np.isnan(x)
    result = np.empty(x.shape, np.float32) if out is None else out
    bits = np.asarray(x).view(np.uint32)
    carry = np.asarray(bits >> np.uint32(16))
    carry &= np.uint32(1)
    carry += np.uint32(0x7FFF)
    rounded = np.add(bits, carry, out=carry)
    np.bitwise_and(rounded, np.uint32(0xFFFF0000), out=result.view(np.uint32))
    if undefined.any():
        np.copyto(result, np.float32(np.nan), where=undefined)
    return result


def bfloat16_bits(x: np.ndarray) -> np.ndarray:
    """The 16 bits of every bfloat16, as uint16, of an array that carries them in float32."""
    return (np.ascontiguousarray(x).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def bfloat16_of_bits(bits: np.ndarray) -> np.ndarray:
    """The float32 carrier of bfloat16s that are given as uint16."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
