"""What autocast each thread has turned on, by device type."""

from __future__ import annotations

import threading

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType

__all__ = ["DTYPES", "STATE"]

# The device types that have lists, and the dtype each begins with.
DTYPES: dict[str, DType] = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}


class _State(threading.local):
    """What a thread has turned on."""

    def __init__(self) -> None:
        self.dtypes = dict(DTYPES)
        self.on: tuple[str, ...] = ()  # device types
        self.cache = True
        self.nesting = 0


STATE = _State()
