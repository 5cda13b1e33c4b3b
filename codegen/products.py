"""Matrix products as BLAS takes them: layouts, leading extents, batches.

    (8, 32, 64) @ (64, 10)      one product of 256 rows
    (8, 32, 64) @ (8, 64, 10)   a batch of 8, each with its steps in memory
    x @ w.t()                   the transposed layout of w, without a copy

A matrix is a pair of strides. BLAS reads one whose rows or whose columns lie one element apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from lazyt.ir.graph import Value
from lazyt.ir.places import place
from lazyt.ir.types import contiguous_strides

MOST_AXES = 16  # of a batch (runtime/driver/programs.c)


@dataclass(frozen=True)
class Product:
    """c = a @ b for matrices of `rows` x `inner` and `inner` x `columns`, in elements.

    turned: whether a, b is read by columns. leading: the stride of rows (of columns where turned)
    of a, b, c. batch: an axis each, outermost first: its extent and the steps of a, b and c.
    vector: b and c are vectors, whose strides are then their leading ones.
    """

    dtype: str
    rows: int
    columns: int
    inner: int
    turned: tuple[bool, bool]
    leading: tuple[int, int, int]
    batch: tuple[tuple[int, int, int, int], ...]
    vector: bool
    swapped: bool = False

    @property
    def points(self) -> int:
        """Multiplications."""
        count = self.rows * self.columns * self.inner
        for extent, *_ in self.batch:
            count *= extent
        return count


def product(v: Value) -> Product | None:
    """How BLAS computes a `matmul` from where its operands lie, or None where it cannot."""
    a, b = v.src
    dtype = v.type.dtype.name
    if dtype not in ("float32", "float64") or not v.type.numel or not a.type.numel:
        return None
    left, right = _matrix(a, False), _matrix(b, True)
    (rows, inner), (_, columns) = left.extents, right.extents
    lead = v.type.shape[: max(len(left.batch), len(right.batch))]
    steps = zip(
        lead,
        _broadcast(left.batch, len(lead)),
        _broadcast(right.batch, len(lead)),
        contiguous_strides(lead),
    )
    axes = [(n, p, q, k * rows * columns) for n, p, q, k in steps if n != 1]
    axes = _joined(axes)
    row, step = left.strides
    # A stack times one matrix is one product of a taller matrix.
    while axes and axes[-1][2] == 0 and axes[-1][1] == (row if rows > 1 else axes[-1][1]) * rows:
        if rows == 1:
            row = axes[-1][1]
        rows *= axes.pop()[0]
    one, other = _layout(rows, inner, row, step), _layout(inner, columns, *right.strides)
    if one is None or other is None or len(axes) > MOST_AXES:
        return None
    if columns == 1:
        lead_b = max(1, right.strides[0]) if inner > 1 else 1
        if inner > 1 and right.strides[0] <= 0:
            return None
        return Product(
            dtype, rows, 1, inner, (one[0], False), (one[1], lead_b, 1), tuple(axes), True
        )
    if rows == 1:
        # y = x @ B is the product of B, turned, and a vector.
        if inner > 1 and step <= 0:
            return None
        stride = step if inner > 1 else 1
        turned, leading = not other[0], other[1]
        exchanged = tuple((n, q, p, k) for n, p, q, k in axes)
        lead = (leading, stride, 1)
        return Product(dtype, columns, 1, inner, (turned, False), lead, exchanged, True, True)
    return Product(
        dtype,
        rows,
        columns,
        inner,
        (one[0], other[0]),
        (one[1], other[1], columns),
        tuple(axes),
        False,
    )


@dataclass(frozen=True)
class _Matrix:
    """Extents and strides of the last two axes, and of those before: pairs of both."""

    extents: tuple[int, int]
    strides: tuple[int, int]
    batch: tuple[tuple[int, int], ...]


def _matrix(value: Value, right: bool) -> _Matrix:
    """An operand; a vector on the left counts as a row, one on the right as a column."""
    shape, strides = value.type.shape, place(value).strides
    if len(shape) == 1:
        shape, strides = ((*shape, 1), (*strides, 0)) if right else ((1, *shape), (0, *strides))
    batch = tuple(zip(shape[:-2], strides[:-2]))
    return _Matrix(shape[-2:], strides[-2:], batch)  # type: ignore[arg-type]


def _broadcast(batch: tuple[tuple[int, int], ...], rank: int) -> list[int]:
    """The strides of leading axes; 0 where there is only one matrix for the whole axis."""
    return [0] * (rank - len(batch)) + [0 if n == 1 else k for n, k in batch]


def _joined(axes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Axes of a batch that one step leads through, as one."""
    found: list[tuple[int, int, int, int]] = []
    for axis in axes:
        if found and found[-1][1:] == tuple(axis[0] * k for k in axis[1:]):
            found[-1] = (found[-1][0] * axis[0], *axis[1:])
        else:
            found.append(axis)
    return found


def _layout(rows: int, columns: int, row: int, column: int) -> tuple[bool, int] | None:
    """Whether a matrix is read by columns, and its leading extent; None where BLAS cannot."""
    if (columns == 1 or column == 1) and (rows == 1 or row >= columns):
        return False, row if rows > 1 else columns
    if (rows == 1 or row == 1) and (columns == 1 or column >= rows):
        return True, column if columns > 1 else rows
    return None
