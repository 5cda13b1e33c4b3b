"""Choosing: between two arrays by a mask, without a branch for every element; elements by place.

`np.where` asks the mask element by element, which is slow for masks without a pattern (a processor
cannot guess them). Sign-extended to the width of an element, a mask is all ones or all zeros, and
the choice is arithmetic on bits: ``a & m``, or ``b ^ ((a ^ b) & m)``. Every bit of the chosen
element stays (nan and -0.0 too).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Below this many elements one call of `np.where` costs less than several of anything.
_FEW = 4096
_INTEGERS: dict[int, np.dtype] = {4: np.dtype(np.int32), 8: np.dtype(np.int64)}


def _is_zero(x: Any) -> bool:
    """Whether x is the number +0.0, whose bits are all zero."""
    return x.__class__ in (int, float) and x == 0 and math.copysign(1.0, x) > 0


def _whole(x: Any, like: np.ndarray) -> bool:
    """Whether x is an array that lies element by element beside the mask `like`."""
    return x.__class__ is np.ndarray and x.shape == like.shape and x.flags.c_contiguous


def select(c: np.ndarray, a: Any, b: Any, out: np.ndarray | None = None) -> np.ndarray:
    """``a`` where ``c`` (bool) holds, else ``b``; operands broadcast, one may be a number."""
    chosen = a if a.__class__ is np.ndarray else b
    if c.size >= _FEW and c.flags.c_contiguous and chosen.dtype.kind == "f":
        integers = _INTEGERS.get(chosen.dtype.itemsize)
        if integers is not None and _whole(chosen, c):
            target = out if out is not None and out.flags.c_contiguous else None
            if _is_zero(b):
                return _kept(np.negative(c.view(np.int8)), a, integers, out, target)
            if _is_zero(a):
                return _kept(c.view(np.int8) - np.int8(1), b, integers, out, target)
            if _whole(a, c) and _whole(b, c):
                return _blended(c, a, b, integers, out, target)
    result = np.where(c, a, b)
    if out is None:
        return result
    np.copyto(out, result)
    return out


def _kept(mask: np.ndarray, x: np.ndarray, integers: np.dtype, out: Any, target: Any) -> np.ndarray:
    """The elements of `x` where the mask is -1, and 0 where it is 0."""
    result = np.empty(x.shape, x.dtype) if target is None else target
    np.bitwise_and(x.view(integers), mask.astype(integers), out=result.view(integers))
    return _finish(out, result)


def _blended(
    c: np.ndarray, a: np.ndarray, b: np.ndarray, integers: np.dtype, out: Any, target: Any
) -> np.ndarray:
    mask = np.negative(c.view(np.int8)).astype(integers)
    difference = np.bitwise_xor(a.view(integers), b.view(integers))
    np.bitwise_and(difference, mask, out=difference)
    result = np.empty(b.shape, b.dtype) if target is None else target
    np.bitwise_xor(b.view(integers), difference, out=result.view(integers))
    return _finish(out, result)


def _finish(out: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    if out is None or out is result:
        return result
    np.copyto(out, result)
    return out


def affine_pick(x: np.ndarray, outside: Any, extents: tuple, places: tuple) -> np.ndarray:
    """The elements of ``x`` at places that are affine in those of the result.

    extents: of the result. places: for every axis of ``x`` the place of the first element, and
    pairs of a dimension of the result and the step along it. Where there is no such element the
    result is ``outside``.

        affine_pick([a, b, c], 0, (2, 2), ((-1, ((0, 2), (1, 1))),))     [[0, a], [b, c]]
    """
    inside: Any = np.True_
    where = []
    for (start, moves), extent in zip(places, x.shape, strict=True):
        at = np.array(start)
        for dim, step in moves:
            shape = [1] * len(extents)
            shape[dim] = extents[dim]
            at = at + (np.arange(extents[dim]) * step).reshape(shape)
        inside = inside & (at >= 0) & (at < extent)
        where.append(np.clip(at, 0, extent - 1))
    found = np.where(inside, x[tuple(where)], np.asarray(outside, x.dtype))
    return np.ascontiguousarray(np.broadcast_to(found, extents))
