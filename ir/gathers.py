"""Operations that read a table where other operands say: x[:, i], gather, rows of an embedding.

    index(x, i), x of (3, 4), i of (5,) along axis 1: a result of (3, 5)
        along   (0, None)        its first dimension runs along axis 0 of x, the second along none
        chosen  axis 1 by i, which runs along dimension 1 of the result

    pad(x, 0), x of (3,) with 2 more in front: a result of (5,)
        chosen  axis 0 by the position along dimension 0 of the result, counted from 2
        outside 0, where there is no such element

    affine_pick(x, 0), the middle of x windows of 3 elements, 2 apart: a result of (windows, 3)
        chosen  axis 0 by twice the position along dimension 0 and once that along dimension 1

For loops such an operation is a load whose place is computed. Everything else about it (the range
of indices, whose error it is) stands in ops_index.py and ops_nn.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .graph import Value
from .places import Place
from .types import TensorType


@dataclass(frozen=True)
class Chosen:
    """An axis of the table, what chooses along it, and the dimensions of the result that this
    operand has (those of an extent of 1 among them broadcast).

    index: None for the position that is counted along the dimensions, by `steps`. start: the index
    of the first element, where that depends on extents. offset: what is added to the index.
    """

    axis: int
    index: Value | None
    dims: tuple[int, ...]
    start: int | None = None
    steps: tuple[int, ...] = (1,)
    offset: int = 0


class Gathered(NamedTuple):
    """along: for each dimension of the result the axis of the table it runs along, or None.

    wraps: whether negative indices count from the end. outside: the operand that takes the place
    of elements that are not there; None where that is an error.
    """

    table: Value
    along: tuple[int | None, ...]
    chosen: tuple[Chosen, ...]
    wraps: bool = False
    outside: Any = None

    def others(self) -> list[Value]:
        """The operands besides the table, each of which is read at its own point."""
        found = [c.index for c in self.chosen if c.index is not None]
        return found + [self.outside] * (self.outside.__class__ is Value)


def gathered(v: Value) -> Gathered | None:
    """How an operation reads its table; None where it has none that loops know."""
    rule = RULES.get(v.op.name) if v.op is not None else None
    if rule is None or not all(s.type.__class__ is TensorType for s in v.operands()):
        return None
    return rule(v)


def aligned(v: Value, s: Value, found: Place) -> tuple[Place, tuple[int, ...]]:
    """The place and the shape of an operand as the dimensions of the result of `v` see it: the
    indices of a gather have others before and behind them."""
    gather = gathered(v)
    dims = next((c.dims for c in gather.chosen if c.index is s), None) if gather else None
    if dims is None:
        return found, s.type.shape
    rank = len(v.type.shape)
    shape, strides = [1] * rank, [0] * rank
    for d, extent, stride in zip(dims, s.type.shape, found.strides, strict=True):
        shape[d], strides[d] = extent, stride
    return found._replace(strides=tuple(strides)), tuple(shape)


def _gather(v: Value) -> Gathered | None:
    table, index = v.src
    rank = len(table.type.shape)
    if not rank:
        return None
    dims = tuple(range(rank))
    along = tuple(None if d == v.arg[0] else d for d in dims)
    return Gathered(table, along, (Chosen(v.arg[0], index, dims),))


def _row_pick(v: Value) -> Gathered:
    table, index = v.src
    lead = len(index.type.shape)
    rest = tuple(range(1, len(table.type.shape)))
    return Gathered(table, (None,) * lead + rest, (Chosen(0, index, tuple(range(lead))),))


def _index(v: Value) -> Gathered:
    table, *indices = v.src
    axes = v.arg[0]
    lead = max(len(i.type.shape) for i in indices)
    together = axes == tuple(range(axes[0], axes[0] + len(axes)))
    first = axes[0] if together else 0
    rest = [a for a in range(len(table.type.shape)) if a not in axes]
    along = (*rest[:first], *(None,) * lead, *rest[first:])
    chosen = [
        Chosen(axis, i, tuple(range(first + lead - len(i.type.shape), first + lead)))
        for axis, i in zip(axes, indices, strict=True)
    ]
    return Gathered(table, along, tuple(chosen), wraps=True)


def _pad(v: Value) -> Gathered:
    table, outside = v.src
    widths = v.arg[0]
    along = tuple(d if w == (0, 0) else None for d, w in enumerate(widths))
    chosen = [Chosen(d, None, (d,), w[0]) for d, w in enumerate(widths) if w != (0, 0)]
    return Gathered(table, along, tuple(chosen), outside=outside)


def _affine_pick(v: Value) -> Gathered:
    table, outside = v.src
    along: list[int | None] = [None] * len(v.type.shape)
    chosen = []
    for axis, (start, moves) in enumerate(v.arg[1]):
        dims, steps = tuple(d for d, _ in moves), tuple(step for _, step in moves)
        whole = start == 0 and steps == (1,) and v.type.shape[dims[0]] <= table.type.shape[axis]
        if whole and along[dims[0]] is None:
            along[dims[0]] = axis
        else:
            chosen.append(Chosen(axis, None, dims, None, steps, start))
    return Gathered(table, tuple(along), tuple(chosen), outside=outside)


RULES: dict[str, Callable[[Value], Gathered | None]] = {
    "gather": _gather,
    "row_pick": _row_pick,
    "index": _index,
    "pad": _pad,
    "affine_pick": _affine_pick,
}
