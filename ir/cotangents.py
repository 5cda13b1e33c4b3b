"""Cotangents that arrive in parts: put together once, when the last part is there.

A loop that is written out reads windows of one value and multiplies by one weight, step after step:

    y1 = x[0:2] @ w; y2 = x[2:4] @ w        the vjp of a slice is a `Partial`, that of the right
                                            operand of a product an `Outer`
    cotangent of x     cat(g1 @ w.T, g2 @ w.T)              not two writes into zeros
    cotangent of w     cat(x[0:2], x[2:4]).T @ cat(g1, g2)  not two products and their sum

Where windows leave something out or meet, they are added into one buffer, and products are summed
where copying their operands would cost more.
"""

from __future__ import annotations

from typing import Any

from .node import Node
from .ops_elementwise import add
from .ops_linalg import Outer
from .ops_shape import Partial, cat_, reshape, scatter_partial
from .types import TensorType

PARTS = (Partial, Outer)


class Collected:
    """The cotangents of one value so far: the sum of whole ones, windows and products."""

    __slots__ = ("whole", "windows", "products")

    def __init__(self, whole: Node | None):
        self.whole = whole
        self.windows: list[Partial] = []
        self.products: list[Outer] = []

    def take(self, part: Any) -> None:
        """Adds a part, or a whole cotangent."""
        if part.__class__ is Partial:
            self.windows.append(part)
        elif part.__class__ is Outer:
            self.products.append(part)
        else:
            self.whole = part if self.whole is None else add(self.whole, part)

    def total(self, type: TensorType) -> Node:
        """The cotangent of a value of a type."""
        total = self.whole
        for product in _products(self.products, type.shape):
            total = product if total is None else add(total, product)
        if total is None:
            total = _covered(self.windows, type)
            if total is not None:
                return total
        for window in self.windows:
            total = scatter_partial(total, window, type)
        assert total is not None
        return total


# --- products -------------------------------------------------------------------------------------


def _products(parts: list[Outer], shape: tuple[int, ...]) -> list[Node]:
    """The products, as one where that is cheaper than to add them."""
    if len(parts) > 1:
        rows, columns = shape
        copied = sum(p.left.type.shape[0] for p in parts) * (rows + columns)
        if copied <= (len(parts) - 1) * rows * columns:
            # In the order of the program, as windows are.
            left = cat_(*[p.left for p in reversed(parts)], arg=(0,))
            right = cat_(*[p.g for p in reversed(parts)], arg=(0,))
            return [Outer(left, right).product()]
    return [p.product() for p in parts]


# --- windows --------------------------------------------------------------------------------------


def _covered(windows: list[Partial], type: TensorType) -> Node | None:
    """The cotangent where the windows lie one after another along an axis and leave nothing out."""
    if len(windows) < 2:
        return None
    axis = _axis(windows[0], type.shape)
    if axis is None:
        return None
    if any(w.offset.__class__ is not int for w in windows):
        return None
    step, end = type.strides[axis], 0
    ordered = sorted(windows, key=lambda w: w.offset)
    for w in ordered:
        own = type.shape[:axis] + w.sizes[axis : axis + 1] + type.shape[axis + 1 :]
        if w.sizes != own or w.strides != type.strides or w.offset != end * step:
            return None
        end += w.sizes[axis]
    if end != type.shape[axis]:
        return None
    return cat_(*[reshape(w.g, w.sizes) for w in ordered], arg=(axis,))


def _axis(window: Partial, shape: tuple[int, ...]) -> int | None:
    """The one axis along which a window is less than the whole."""
    if len(window.sizes) != len(shape):
        return None
    axes = [i for i, (a, b) in enumerate(zip(window.sizes, shape)) if a != b]
    return axes[0] if len(axes) == 1 else None
