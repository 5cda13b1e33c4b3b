"""Conversions to a dtype that drop what it has no room for: of arrays from outside, of nodes.

A complex number that becomes a real one loses its imaginary part, with PyTorch's warning.
"""

from __future__ import annotations

import numpy as np

from lazyt.ir.dtypes import COMPLEX, DType, bool_
from lazyt.ir.node import Node
from lazyt.ir.numerics.cast import cast_array
from lazyt.ir.ops_complex import real
from lazyt.ir.ops_elementwise import cast
from lazyt.warned import warn


def cast_data(array: np.ndarray, dtype: DType) -> np.ndarray:
    """A new row-major array with the values of `array` in `dtype`."""
    array = np.asarray(array)
    if array.dtype.kind == "c" and dtype.category < COMPLEX and dtype is not bool_:
        _warn()
        array = array.real
    with np.errstate(all="ignore"):
        made = cast_array(array, dtype.name)
    return np.array(made, order="C", copy=True)


def real_part(node: Node, dtype: DType) -> Node:
    """What of a node is to be converted to a dtype: of complex numbers the real part, where that is
    not complex; whether they are 0 is seen of the whole."""
    if not node.type.dtype.is_complex or dtype.is_complex or dtype is bool_:
        return node
    _warn()
    return real(node)


def in_dtype(node: Node, dtype: DType) -> Node:
    """A node in another dtype, complex numbers without their imaginary part in a real one."""
    return cast(real_part(node, dtype), dtype)


_WARNED: list[bool] = []


def _warn() -> None:
    """Once, as in PyTorch."""
    if not _WARNED:
        _WARNED.append(True)
        warn(
            "Casting complex values to real discards the imaginary part",
        )
