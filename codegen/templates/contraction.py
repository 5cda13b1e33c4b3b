"""A contraction: a matrix product, or what can be read as one, before it is CUDA C.

    result[batch, row, column] =
        epilogue(sum over k of left[batch, row, k] * right[batch, k, column])

Matrix products and the three convolutions are brought to this form (matmul.py, convolution.py) by
saying along which axes columns and reduced positions are counted, and the strides along them:

    g = conv(x, w)    rows: output channels; columns: (sample, output position)
                      reduced: (input channel, tap); batch: groups
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

BATCH_AXES, INNER_AXES = 3, 4


@dataclass(frozen=True)
class Strides:
    """In elements: over the batch axes, the rows, and the axes that columns are counted along.

    A left operand has its strides along the reduced axes in `along`: one for each, or a single one
    for positions that have the same distance everywhere. A right one has that in `row`, or is seen
    through a window.
    """

    batch: tuple[int, ...]
    row: int
    along: tuple[int, ...]
    start: int = 0

    def reach(self, batch: Sequence[int], rows: int, along: Sequence[int]) -> int:
        """The largest offset from the first element that extents lead to, in absolute value."""
        extents = [*batch, rows, *along]
        strides = [*self.batch, self.row, *self.along]
        steps = ((max(e, 1) - 1) * abs(s) for e, s in zip(extents, strides, strict=True))
        return abs(self.start) + sum(steps)


@dataclass(frozen=True)
class Window:
    """How the right operand of a convolution is found: strides along the reduced axes, and
    coordinates in an image, one dimension for each axis but the first.

    A column's position j and a reduced position k along axis d + 1 meet at the coordinate
    start[d] + j * column_step[d] + k * reduced_step[d]; outside of bound[d] is zero.
    """

    reduced: tuple[int, ...]
    bound: tuple[int, ...]
    start: tuple[int, ...]
    column_step: tuple[int, ...]
    reduced_step: tuple[int, ...]


@dataclass(frozen=True)
class Contraction:
    """batch, rows, columns, reduced: extents; columns and positions are counted along several axes.

    places: of the epilogue's params, in the order that `render` gives them.
    tensor_cores: float32 operands are then rounded to tf32.
    """

    batch: tuple[int, ...]
    rows: int
    columns: tuple[int, ...]
    reduced: tuple[int, ...]
    left: Strides
    right: Strides
    places: tuple[Strides, ...]
    dtype: str
    tensor_cores: bool = False
    window: Window | None = None

    @property
    def width(self) -> int:
        return prod(self.columns)

    @property
    def depth(self) -> int:
        return prod(self.reduced)

    @property
    def work(self) -> int:
        """Multiplications, or points of a result without any."""
        return prod(self.batch) * self.rows * self.width * max(1, self.depth)


def merge_axes(
    extents: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Axes as few as possible: extents of 1 dropped, neighbours merged that lie together in all.

    strides: for each array, over the axes. Returns the extents and the strides that are left.
    """
    kept: list[tuple[int, tuple[int, ...]]] = []
    for i, extent in enumerate(extents):
        if extent == 1:
            continue
        steps = tuple(s[i] for s in strides)
        if kept and kept[-1][1] == tuple(extent * step for step in steps):
            kept[-1] = (kept[-1][0] * extent, steps)
        else:
            kept.append((extent, steps))
    merged = [tuple(steps[a] for _, steps in kept) for a in range(len(strides))]
    return tuple(extent for extent, _ in kept), merged


def few_batch_axes(c: Contraction) -> list[Contraction]:
    """The contraction with its batch axes merged; one for each place along those that are too many,
    the outermost."""
    every = [c.left, c.right, *c.places]
    extents, strides = merge_axes(c.batch, [s.batch for s in every])
    outer = max(0, len(extents) - BATCH_AXES)
    parts = []
    for place in product(*map(range, extents[:outer])):
        moved = [
            replace(
                s,
                batch=steps[outer:],
                start=s.start + sum(i * step for i, step in zip(place, steps)),
            )
            for s, steps in zip(every, strides)
        ]
        parts.append(
            replace(
                c, batch=extents[outer:], left=moved[0], right=moved[1], places=tuple(moved[2:])
            )
        )
    return parts
