"""Where the elements of a value lie: through views to the memory they show.

    y = x.permute(1, 0)[:, 1:]      place(y) == Place(x, strides (1, 4)), offset not counted

A place is a root (what has memory of its own) and a stride a dimension, in elements. Offsets are
left out: they may be run-time numbers, and whoever reads a view is handed its first element.
"""

from __future__ import annotations

from typing import NamedTuple

from .graph import Value
from .types import contiguous_strides, viewed_strides


class Place(NamedTuple):
    """root: the value whose memory is shown. strides: of the view's dimensions, in elements.

    whole: whether every element of the root is shown in some order, from its first on.
    """

    root: Value
    strides: tuple[int, ...]
    whole: bool = True


def place(value: Value) -> Place:
    """The place of a value, whose root is row-major. A reshape that needs a copy is a root."""
    chain: list[Value] = []
    while value.op is not None and value.op.view and value.op.name != "get":
        chain.append(value)
        value = shown_by(value)
    root, shape, whole = value, value.type.shape, True
    strides = contiguous_strides(shape)
    for v in reversed(chain):
        name, target = v.op.name, v.type.shape
        if name == "permute":
            strides = tuple(strides[i] for i in v.arg[0])
        elif name == "expand":
            lead = len(target) - len(shape)
            strides = (0,) * lead + tuple(
                0 if n == 1 != m else k for n, m, k in zip(shape, target[lead:], strides)
            )
            whole = whole and target == shape
        elif name == "as_strided":
            strides, whole = v.arg[1], False
        elif name in ("slice", "part"):
            whole = whole and v.arg[0] == shape and min(v.arg[1], default=1) > 0
            strides = tuple(k * step for k, step in zip(strides, v.arg[1]))
            if name == "part":
                strides = viewed_strides(v.arg[0], strides, target) or _copied(target)
        elif name == "reshape":
            found = viewed_strides(shape, strides, target)
            if found is None:  # NumPy copies here
                root, whole = v, True
            strides = _copied(target) if found is None else found
        shape = target
    return Place(root, strides, whole)


def counted(value: Value) -> bool:
    """Whether a value counts along axes: `positions`, or an `arange` from 0 by 1, whose element is
    its offset."""
    while value.op is not None and value.op.name in ("reshape", "expand", "permute"):
        value = shown_by(value)
    name = value.op.name if value.op is not None else ""
    return name == "positions" or (name == "arange" and value.src == (0, 1))


def constant_of(s: Value) -> Value | None:
    """The `full` or `number` that a value shows, or None."""
    while s.op is not None and s.op.view and s.op.name != "get":
        s = shown_by(s)
    return s if s.op is not None and s.op.name in ("full", "number") else None


def shown_by(view: Value) -> Value:
    """What a view looks at."""
    return view.src[1] if view.op.name == "replaced" else view.src[0]


def _copied(shape: tuple[int, ...]) -> tuple[int, ...]:
    return contiguous_strides(shape)
