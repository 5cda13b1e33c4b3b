"""Conversions between element types, with PyTorch's results on x86, and integer ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from .elementwise import cast_float16, cast_float_to_int, round_bfloat16


def cast_array(x: np.ndarray, to: Any, out: np.ndarray | None = None) -> np.ndarray:
    """`x` in the dtype `to`, or called `to`; "bfloat16" gives float32 values rounded to bfloat16.

    A float outside an integer type's range converts as PyTorch does on x86; NaN gives the lowest
    int64.
    """
    if to.__class__ is not str:
        to = to.name  # the evaluator passes the dtype itself, generated code its name
    if to == "bfloat16":
        return round_bfloat16(np.asarray(x, np.float32), out=out)
    target = np.dtype(to)
    if x.dtype.kind == "f":
        if target.kind in "iu":
            return cast_float_to_int(x, target, out=out)
        if target == np.float16:
            return cast_float16(x, out=out)
    if out is None:
        return x.astype(target)
    np.copyto(out, x, casting="unsafe")
    return out


def arange(start, step, shape: tuple[int, ...], dtype) -> np.ndarray:
    """start + i * step for i below the extent, computed in float64 or int64 and rounded once."""
    if np.dtype(dtype).kind in "iu":
        return (np.arange(shape[0], dtype=np.int64) * int(step) + int(start)).astype(dtype)
    return (np.arange(shape[0], dtype=np.float64) * step + start).astype(dtype)
