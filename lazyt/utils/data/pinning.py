"""Batches in page-locked memory, from which copies to a device are quick.

`pin_memory({"x": tensor, "n": 3})` is `{"x": tensor.pin_memory(), "n": 3}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lazyt.utils.data.collate import rebuilt_mapping, rebuilt_sequence

__all__ = ["pin_memory"]


def pin_memory(data: Any) -> Any:
    """`data` with everything in it that has a `pin_memory` method replaced by its result.
    Containers keep their kind."""
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, str | bytes):
        return data
    if isinstance(data, Mapping):
        return rebuilt_mapping(data, {key: pin_memory(value) for key, value in data.items()})
    if isinstance(data, tuple):
        members = map(pin_memory, data)
        return type(data)(*members) if hasattr(data, "_fields") else type(data)(members)
    if isinstance(data, Sequence):
        return rebuilt_sequence(data, [pin_memory(value) for value in data])
    return data
