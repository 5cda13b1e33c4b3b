"""What autocast each thread has turned on, by device type."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

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

    def taken(self) -> tuple[dict[str, DType], tuple[str, ...], bool]:
        """What is turned on, for `put_back`."""
        return dict(self.dtypes), self.on, self.cache

    @contextlib.contextmanager
    def put_back(self, taken: tuple[dict[str, DType], tuple[str, ...], bool]) -> Iterator[None]:
        """While open, what was turned on when it was taken is on again."""
        before = self.taken()
        self.dtypes, self.on, self.cache = dict(taken[0]), *taken[1:]
        try:
            yield
        finally:
            self.dtypes, self.on, self.cache = before


STATE = _State()
