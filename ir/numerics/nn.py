"""NumPy forms of what networks need beyond array arithmetic: picked classes, rows, standardizing.

Class scores are ``(C,)`` or ``(N, C, *S)`` with targets ``()`` or ``(N, *S)``: one class number for
each vector of scores. A target equal to ``ignore`` counts for nothing; any other that is no class
is an error.
"""

from __future__ import annotations

import numpy as np

from .reduce import Axes
from .reduce import sum as sum_over
from .scatter import accumulate_at

__all__ = [
    "binary_cross_entropy",
    "class_count",
    "log_sigmoid",
    "nll",
    "nll_grad",
    "row_pick",
    "row_put",
    "standardize",
]


def check_classes(target: np.ndarray, classes: int, ignore: int) -> bool:
    """Whether some target may be ``ignore``; IndexError for one that is no class otherwise."""
    if not target.size:
        return False
    # One reduction for both ends: as unsigned numbers, those below zero are the largest.
    if target.dtype == np.int64 and np.maximum.reduce(target.view(np.uint64), None) < classes:
        return 0 <= ignore < classes
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= classes:
        wrong = ((target < 0) | (target >= classes)) & (target != ignore)
        if wrong.any():
            raise IndexError(f"Target {int(target[wrong].flat[0])} is out of bounds.")
    return low <= ignore <= high


def _places(target: np.ndarray, rank: int) -> tuple:
    """The index of each target's own score in ``(C,)`` or ``(N, C, *S)``."""
    if rank == 1:
        return (target,)
    if rank == 2:
        return (np.arange(len(target)), target)
    samples, *places = np.ogrid[tuple(map(slice, target.shape))]
    return (samples, target, *places)


def nll(x: np.ndarray, target: np.ndarray, ignore: int) -> np.ndarray:
    """``-x[n, target[n]]`` for every ``n``; 0 where the target is ``ignore``."""
    classes = x.shape[1 if x.ndim > 1 else 0]
    if not check_classes(target, classes, ignore):
        return np.negative(x[_places(target, x.ndim)])
    if not classes:
        return np.zeros(target.shape, x.dtype)
    skipped = target == ignore
    own = x[_places(np.where(skipped, 0, target), x.ndim)]
    return np.where(skipped, x.dtype.type(0), np.negative(own))


def nll_grad(g: np.ndarray, target: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    """Zeros like the scores with ``-g[n]`` at ``[n, target[n]]``: the vjp of ``nll``."""
    shape = (classes,) if target.ndim == 0 else (len(target), classes, *target.shape[1:])
    result = np.zeros(shape, g.dtype)
    g = np.negative(g)
    if check_classes(target, classes, ignore):
        skipped = target == ignore
        g = np.where(skipped, g.dtype.type(0), g)
        target = np.where(skipped, 0, target)
    if result.size:
        result[_places(target, result.ndim)] = g
    return result


def class_count(target: np.ndarray, ignore: int, dtype: np.dtype) -> np.ndarray:
    """How many targets are not ``ignore``, as a number of ``dtype``."""
    return np.asarray(np.count_nonzero(target != ignore), dtype)


def class_checked(target: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    """A copy of ``target``; IndexError where a target is no class and not ``ignore``."""
    check_classes(target, classes, ignore)
    return np.array(target)


def check_rows(index: np.ndarray, rows: int) -> None:
    """IndexError in PyTorch's words where a row number is negative or past the end."""
    if index.size and (int(index.min()) < 0 or int(index.max()) >= rows):
        raise IndexError("index out of range in self")


def row_pick(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The rows of ``table (R, *D)`` that ``index`` names: ``(*index.shape, *D)``."""
    check_rows(index, len(table))
    return table.take(index, 0)


def row_put(g: np.ndarray, index: np.ndarray, rows: int, skipped: int | None) -> np.ndarray:
    """Zeros ``(rows, *D)`` with ``g`` added to the named rows, ``skipped`` left out."""
    check_rows(index, rows)
    result = np.zeros((rows, *g.shape[index.ndim :]), g.dtype)
    accumulate_at(result, (index,), g)
    if skipped is not None:
        result[skipped] = 0
    return result


def standardize(x: np.ndarray, axes: Axes, eps: float) -> tuple[np.ndarray, ...]:
    """``(x - mean) / sqrt(var + eps)`` with the biased mean and variance over ``axes``, and both.

    Two passes: the variance is that of the centred values, less the square of what rounding left
    of their mean (Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance").
    """
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    scale = x.dtype.type(1.0 / count if count else np.nan)
    mean = sum_over(x, axes, True) * scale
    y = x - mean
    left = sum_over(y, axes, True) * scale
    letters = list(range(x.ndim))
    kept = [i for i in letters if i not in axes]
    variance = np.einsum(y, letters, y, letters, kept).reshape(mean.shape) * scale
    variance -= left * left
    np.maximum(variance, 0, out=variance)
    inv = 1 / np.sqrt(variance + x.dtype.type(eps))
    # What is left is rounding, seldom large enough beside the deviation to be worth another pass.
    if left.size and float(np.abs(left * inv).max()) > 1e-7:
        y -= left
        mean += left
    y *= inv
    return y, mean, variance


def log_sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``log(1 / (1 + exp(-x)))`` without overflow: ``min(x, 0) - log1p(exp(-|x|))``."""
    tail = np.log1p(np.exp(-np.abs(x)))
    return np.subtract(np.minimum(x, 0), tail, out=out)


def check_probabilities(x: np.ndarray, name: str) -> None:
    """RuntimeError in PyTorch's words for a number outside [0, 1], and for nan."""
    if x.size and not bool(((x >= 0) & (x <= 1)).all()):
        raise RuntimeError(f"all elements of {name} should be between 0 and 1")


def binary_cross_entropy(
    x: np.ndarray, target: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """``-(t log(x) + (1 - t) log(1 - x))`` with logarithms of at least -100; both in [0, 1]."""
    check_probabilities(x, "input")
    check_probabilities(target, "target")
    yes = np.maximum(np.log(x), -100)
    no = np.maximum(np.log1p(-x), -100)
    return np.subtract((target - 1) * no, target * yes, out=out)
