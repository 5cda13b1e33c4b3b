"""How containers are asked for their members: positions in a list, pairs for a dict."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any


def position(index: Any, size: int) -> int:
    """A list index as a number from 0 to size - 1."""
    index = operator.index(index)
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range")
    return index % size


def pairs(container: str, kind: Any, items: Any, owner: str = "") -> Iterator[tuple[str, Any]]:
    """Key and value of a mapping or of an iterable of pairs, as `update` takes them."""
    if not hasattr(type(items), "__iter__"):
        raise TypeError(
            f"{owner or container}.update should be called with an iterable of key/value pairs, "
            "but got " + type(items).__name__
        )
    if isinstance(items, Mapping | kind):
        yield from items.items()
        return
    for i, pair in enumerate(items):
        where = f"{container} update sequence element #{i}"
        if not hasattr(type(pair), "__iter__"):
            raise TypeError(f"{where} should be Iterable; is{type(pair).__name__}")
        if len(pair) != 2:
            raise ValueError(f"{where} has length {len(pair)}; 2 is required")
        yield pair[0], pair[1]
