"""The reference evaluator: one primitive on arrays, with the NumPy form of its definition.

Used where novelty must cost no more than eager code (the first run of a program), by constant
folding and by the tests. Half types are widened to float32, computed there and rounded once. What
is not a view is row-major, as in generated code: the order of additions in a later sum follows the
layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import bfloat16
from .numerics import round_bfloat16
from .opdef import Op
from .types import TensorType

_EXACT = ("view", "copy", "transfer")


def apply(op: Op, type: Any, arg: tuple, operands: list) -> Any:
    """The value of one primitive: an ndarray of `type`, or a tuple of them."""
    if type.__class__ is tuple:
        if type and type[0].dtype.is_half and op.kind not in _EXACT:
            operands = [_widened(x) for x in operands]
        results = op.function(type, arg, *operands)
        return tuple([_carried(r, t) for r, t in zip(results, type)])
    dtype = type.dtype
    if dtype.compute is not dtype and op.kind not in _EXACT:
        result = op.function(type, arg, *[_widened(x) for x in operands])
        return _carried(result, type)
    result = op.function(type, arg, *operands)
    if not type.shape and result.__class__ is not np.ndarray:
        return np.asarray(result, dtype.numpy)
    if op.has_out and not result.flags.c_contiguous:
        return np.ascontiguousarray(result)
    return result


def _widened(x: Any) -> Any:
    if x.__class__ is np.ndarray and x.dtype == np.float16:
        return x.astype(np.float32, order="C")
    return x


def _carried(result: Any, type: TensorType) -> np.ndarray:
    result = np.asarray(result, order="C")
    if type.dtype is bfloat16:
        return round_bfloat16(result.astype(np.float32, copy=False))
    return result.astype(type.dtype.numpy, copy=False)
