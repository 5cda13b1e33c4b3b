"""Conversions of plain arrays into the carrier of a dtype, for data that comes from outside."""

from __future__ import annotations

import numpy as np

from lazyt.ir.dtypes import DType
from lazyt.ir.numerics.cast import cast_array


def cast_data(array: np.ndarray, dtype: DType) -> np.ndarray:
    """A new row-major array with the values of `array` in `dtype`."""
    with np.errstate(all="ignore"):
        made = cast_array(np.asarray(array), dtype.name)
    return np.array(made, order="C", copy=True)
