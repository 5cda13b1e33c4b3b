"""torch.nn.modules.utils: settings that are a number or one number a dimension.

_pair(3)            (3, 3)
_pair((3, 5))       (3, 5)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def _ntuple(count: int, name: str = "parse") -> Callable[[Any], tuple]:
    """A function that makes a tuple of a number (`count` times) or of an iterable (as it is)."""

    def parse(x: Any) -> tuple:
        return tuple(x) if isinstance(x, Iterable) else (x,) * count

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")
