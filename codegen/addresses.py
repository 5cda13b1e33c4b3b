"""Where in memory an operand begins: index arithmetic in place of views.

    y = x[k:, 2].t()      start_of(y) == Start(x, 2, {k: columns of x}), strides as in ir/places.py

A chain of views only moves the first element and changes the strides. The strides are known when a
plan is made (`place`); the first element is the root's, moved by a constant and by run-time
numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lazyt.ir.graph import Value
from lazyt.ir.places import place, shown_by
from lazyt.ir.types import contiguous_strides


class Start(NamedTuple):
    """root: the value whose memory is shown. offset: elements from its first on. terms: what is
    added at run time, as pairs of a Scalar and the elements that it counts."""

    root: Value
    offset: int
    terms: tuple[tuple[Any, int], ...]


def start_of(value: Value) -> Start:
    """Where a value's first element lies. A view that NumPy answers with a copy is a root."""
    root = place(value).root
    offset = 0
    terms: list[tuple[Any, int]] = []
    v = value
    while v is not root:
        shown = shown_by(v)
        if v.op.name == "as_strided" and not row_major(shown):
            return Start(v, offset, tuple(terms))  # NumPy shows a copy
        if v.op.name in ("slice", "part", "as_strided"):
            strides = (1,) if v.op.name == "as_strided" else place(shown).strides
            for number, stride in zip(v.src[1:], strides):
                if number.__class__ is int:
                    offset += number * stride
                else:
                    terms.append((number, stride))
        v = shown
    return Start(root, offset, tuple(terms))


def row_major(value: Value) -> bool:
    """Whether a value's elements lie one after another, as those of a new array."""
    shape, strides = value.type.shape, place(value).strides
    wanted = contiguous_strides(shape)
    return all(n == 1 or a == b for n, a, b in zip(shape, strides, wanted))
