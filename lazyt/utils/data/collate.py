"""Making one batch of a list of samples.

`default_collate([(x0, 3), (x1, 4)])` is `[stack([x0, x1]), tensor([3, 4])]`: tensors are stacked,
numbers become a tensor, and containers keep their form, with batches inside.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

import lazyt
from lazyt.tensor import Tensor

__all__ = ["default_collate", "default_convert"]

# The kinds of arrays that hold no numbers: byte strings, strings, objects.
_NO_NUMBERS = "SaUO"


def _cannot(what: object) -> TypeError:
    return TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {what}"
    )


def rebuilt_mapping(like: Any, values: dict[Any, Any]) -> Any:
    """`values` as a mapping of the kind of `like`, a plain dict if it cannot be made."""
    try:
        if isinstance(like, MutableMapping):
            clone = copy.copy(like)  # keeps what a subclass holds besides its items
            clone.update(values)
            return clone
        return type(like)(values)
    except TypeError:
        return values


def rebuilt_sequence(like: Any, values: list[Any]) -> Any:
    """`values` as a sequence of the kind of `like`, a plain list if it cannot be made."""
    try:
        if isinstance(like, MutableSequence):
            clone = copy.copy(like)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(like)(values)
    except TypeError:
        return values


def _collate_arrays(batch: Sequence[Any]) -> Any:
    if batch[0].dtype.kind in _NO_NUMBERS:
        raise _cannot(batch[0].dtype)
    return default_collate([lazyt.as_tensor(array) for array in batch])


# What becomes of samples by the type of the first; the order matters, bool is an int.
_RULES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Tensor, lambda batch: lazyt.stack(batch, 0)),
    (np.ndarray, _collate_arrays),
    ((np.bool_, np.number, np.object_), lambda batch: lazyt.as_tensor(np.array(batch))),
    (float, lambda batch: lazyt.tensor(batch, dtype=lazyt.float64)),
    (int, lambda batch: lazyt.tensor(batch)),
    ((str, bytes), lambda batch: batch),
)


def default_collate(batch: Any) -> Any:
    """One batch of a list of samples of one form: each tensor of the result has the samples along
    a new first dimension.

    Raises:
        TypeError: a sample is or holds something else than tensors, arrays, numbers, strings.
        RuntimeError: tensors of different shapes, or sequences of different lengths.
    """
    first = batch[0]
    for kind, rule in _RULES:
        if isinstance(first, kind):
            return rule(batch)
    if isinstance(first, Mapping):
        values = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return rebuilt_mapping(first, values)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*map(default_collate, zip(*batch, strict=False)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else rebuilt_sequence(first, columns)
    raise _cannot(type(first))


def default_convert(data: Any) -> Any:
    """A single sample with NumPy arrays and scalars made tensors, for loaders that do not make
    batches."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, np.ndarray):
        return data if data.dtype.kind in _NO_NUMBERS else lazyt.as_tensor(data)
    if isinstance(data, np.generic) and not isinstance(data, np.str_):
        return lazyt.as_tensor(data)
    if isinstance(data, Mapping):
        return rebuilt_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return rebuilt_sequence(data, [default_convert(value) for value in data])
    return data
