"""The loop IR: one kernel is a loop nest of a few stages, before it is C or CUDA C.

    kernel over [64, 32], rows over axis 1
        in  p0: float32 strides (32, 1)
        out p1: float32 strides (32, 1)
        for each point of axis 1:
            v0 = p0
            v1 = max v0
        for each row: ...

A kernel has a shape; `axes` are the reduced ones, and a *row* is a point of the others. Stages run
one after another for every row: a loop over the reduced axes, or statements that run once a row.
A reduction among these gathers over the rows, and a last stage runs once they are all finished.
Accesses are affine: a parameter has a stride for every axis, in elements. A parameter may have axes
of its own besides (`reach`), along which other values choose: `v0 = p0[v1]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reach:
    """An axis of a parameter along which indices choose: its extent, its stride in elements, and
    the index of its first element (None: always 0)."""

    extent: int
    stride: int
    start: int | None = None


@dataclass(frozen=True)
class Param:
    """An array a kernel reads or writes. strides: over the kernel's axes, in elements.

    counted: there is no array; an element is its own offset (0, 1, 2, … along an axis). reach: the
    axes along which indices choose. twin: an earlier parameter that moves alike through the same
    array.
    """

    name: str
    dtype: str
    strides: tuple[int, ...]
    out: bool = False
    counted: bool = False
    reach: tuple[Reach, ...] = ()
    twin: str = ""

    def varies(self, axes: tuple[int, ...], shape: tuple[int, ...]) -> bool:
        """Whether the element differs along any of the axes."""
        return any(self.strides[i] and shape[i] != 1 for i in axes)


@dataclass(frozen=True)
class Number:
    """A run-time number, passed by its index, as a float64 or an int64."""

    index: int
    dtype: str = "float64"

    def __str__(self) -> str:
        return f"s{self.index}"


Operand = Any  # the name of a statement's result, a Number, or a plain number


@dataclass(frozen=True)
class Load:
    """name = param[point]"""

    name: str
    param: Param

    def __str__(self) -> str:
        return f"{self.name} = {self.param.name}"


@dataclass(frozen=True)
class Pick:
    """name = param[point, indices]: an index for each axis of the param's reach.

    outside: the value where one is out of range; None: that is refused. wraps: negative ones count
    from the end. offsets: what is added to each index.
    """

    name: str
    param: Param
    indices: tuple[Operand, ...]
    wraps: bool = False
    outside: Operand = None
    offsets: tuple[int, ...] = ()

    def __str__(self) -> str:
        otherwise = "" if self.outside is None else f" or {self.outside}"
        offsets = self.offsets or (0,) * len(self.indices)
        at = ", ".join(f"{i}{n:+d}" if n else str(i) for i, n in zip(self.indices, offsets))
        return f"{self.name} = {self.param.name}[{at}]{otherwise}"


@dataclass(frozen=True)
class Apply:
    """name = op(operands). dtype: the result's; source: that of the operands."""

    name: str
    op: str
    operands: tuple[Operand, ...]
    dtype: str
    source: str

    def __str__(self) -> str:
        return f"{self.name} = {self.op}({', '.join(map(str, self.operands))}) : {self.dtype}"


@dataclass(frozen=True)
class Reduce:
    """name = op over the reduced axes of operand"""

    name: str
    op: str
    operand: Operand
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} = {self.op} of {self.operand} : {self.dtype}"


@dataclass(frozen=True)
class Store:
    """param[point] = operand"""

    param: Param
    operand: Operand

    def __str__(self) -> str:
        return f"{self.param.name} = {self.operand}"


Statement = Load | Pick | Apply | Reduce | Store


@dataclass
class Stage:
    """Statements that run once a row, (`loop`) at every point of the reduced axes, or (`end`) once
    after all rows."""

    loop: bool
    statements: list[Statement] = field(default_factory=list)
    end: bool = False


@dataclass
class Kernel:
    """One loop nest. numbers: how many run-time numbers it takes."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    params: list[Param]
    stages: list[Stage]
    numbers: list[Number]

    @property
    def arrays(self) -> list[Param]:
        """The parameters that are memory, which come first."""
        return [p for p in self.params if not p.counted]

    @property
    def kept(self) -> tuple[int, ...]:
        """The axes of which a point is a row."""
        return tuple(i for i in range(len(self.shape)) if i not in self.axes)

    @property
    def totals(self) -> list[Reduce]:
        """The reductions over the rows."""
        return [
            s
            for stage in self.stages
            if not stage.loop
            for s in stage.statements
            if isinstance(s, Reduce)
        ]

    def overwrites(self, target: Param, operand: Param) -> bool:
        """Whether an output may be written over an operand: it is read at the point that is written
        only, and for the last time before."""
        if operand.out or operand.counted or operand.reach or operand.strides != target.strides:
            return False
        touched = [
            s.param
            for stage in self.stages
            for s in stage.statements
            if isinstance(s, (Load, Pick, Store))
        ]
        return operand not in touched[touched.index(target) + 1 :]

    def statements(self) -> Iterator[Statement]:
        for stage in self.stages:
            yield from stage.statements

    def __str__(self) -> str:
        rows = f", rows over axes {list(self.axes)}" if self.axes else ""
        lines = [f"kernel over {list(self.shape)}{rows}"]
        for p in self.params:
            role = "out" if p.out else "at " if p.counted else "in "
            chosen = f", chosen along {[r.extent for r in p.reach]}" if p.reach else ""
            moves = f"like {p.twin}" if p.twin else f"strides {p.strides}{chosen}"
            lines.append(f"    {role} {p.name}: {p.dtype} {moves}")
        for stage in self.stages:
            if self.axes:
                when = "at the end:" if stage.end else "once a row:"
                lines.append(f"    {'at every point:' if stage.loop else when}")
            lines += [f"        {s}" for s in stage.statements]
        return "\n".join(lines)
