"""Operations whose kernels take nothing of what follows: sorts, searches, segments, scans.

    whole(v)        the kernel of a value's primitive, or None

Its arrays are the operands, row-major, and the results.
"""

from __future__ import annotations

from collections.abc import Callable

from lazyt.ir.graph import Value

from .scans import SCANS
from .segments import SEGMENTS
from .sorting import ORDERS
from .steps import Assembled

WHOLE: dict[str, Callable[[Value], Assembled | None]] = ORDERS | SCANS | SEGMENTS


def whole(v: Value) -> Assembled | None:
    """The kernel that computes a value from row-major operands; None where there is none."""
    make = WHOLE.get(v.op.name) if v.op is not None else None
    if make is None or any(s.__class__ is not Value for s in v.src):
        return None
    return make(v)
