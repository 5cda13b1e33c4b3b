"""The softmax family: exponentials relative to the maximum, so that none overflows.

A row of nothing but -inf has no finite maximum; subtracting 0 there instead keeps ``logsumexp`` at
-inf, and leaves ``softmax`` nan as in PyTorch. ``out`` may be the operand.
"""

from __future__ import annotations

import numpy as np

from .reduce import Axes, amax, norm2, sum

__all__ = ["log_softmax", "logsumexp", "norm2", "softmax"]


def _reference(x: np.ndarray, axes: Axes) -> np.ndarray:
    """The finite maximum over ``axes``, kept with extent 1; 0 where it is infinite."""
    top = np.maximum.reduce(x, axis=axes, keepdims=True, initial=-np.inf)
    infinite = np.isinf(top)
    if infinite.any():
        top = np.where(infinite, x.dtype.type(0), top)
    return top


def softmax(x: np.ndarray, axis: int, out: np.ndarray | None = None) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` along ``axis``."""
    if x.ndim == 0:
        x, flat = x.reshape(1), True
        out = None if out is None else out.reshape(1)
    else:
        flat = False
    result = np.empty(x.shape, x.dtype) if out is None else out
    if x.size:
        np.subtract(x, amax(x, (axis,), True), out=result)
        np.exp(result, out=result)
        np.divide(result, sum(result, (axis,), True), out=result)
    return result.reshape(()) if flat else result


def log_softmax(x: np.ndarray, axis: int, out: np.ndarray | None = None) -> np.ndarray:
    """``x - logsumexp(x)`` along ``axis``."""
    if x.ndim == 0:
        x, flat = x.reshape(1), True
        out = None if out is None else out.reshape(1)
    else:
        flat = False
    result = np.empty(x.shape, x.dtype) if out is None else out
    if x.size:
        np.subtract(x, amax(x, (axis,), True), out=result)
        total = sum(np.exp(result), (axis,), True)
        np.subtract(result, np.log(total, out=total), out=result)
    return result.reshape(()) if flat else result


def logsumexp(
    x: np.ndarray, axes: Axes, keepdims: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """``log(sum(exp(x)))`` over ``axes``; -inf where every term is."""
    if x.ndim == 0:
        return np.array(x) if out is None else np.positive(x, out=out)
    top = _reference(x, axes)
    shifted = np.subtract(x, top)
    np.exp(shifted, out=shifted)
    total = sum(shifted, axes, True)
    np.log(total, out=total)
    np.add(total, top, out=total)
    if not keepdims:
        total = np.squeeze(total, axes)
    if out is None:
        return total
    np.copyto(out, total)
    return out
