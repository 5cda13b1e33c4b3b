"""Contractions to CUDA C and its launches.

    build("matmul", [contraction], statements)

The text is an instance of the templates in codegen/prelude (contraction.cuh tells how they work);
extents and strides are numbers of its launches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod

from ..launches import Argument, Array, CudaKernel, Fixed, Launch, Scalar, Scratch, Table
from ..loops import Statement
from .contraction import BATCH_AXES, INNER_AXES, Contraction, Strides, Window, few_batch_axes
from .epilogue import HALVES, STORED, Epilogue, render
from .ways import Way, tiled_way, vector_way

SUM_THREADS = 256
INT_LIMIT = 2**31
LARGEST = 128  # extent of a tile in any direction
SUMS = {"float64": "double"}


def build(
    label: str,
    parts: list[Contraction],
    statements: tuple[Statement, ...],
    operands: tuple[int, int] = (0, 1),
) -> CudaKernel:
    """The kernel of contractions that differ in extents, strides and starts only.

    label: what the function's name begins with. statements: the epilogue, whose arrays follow the
    operands'. operands: which arrays are left and right. Nothing is launched where the result has
    no elements.
    """
    epilogue = render(statements, first=2)
    parts = [part for c in parts for part in few_batch_axes(c)]
    parts = [c for c in parts if prod(c.batch) * c.rows * c.width]
    if not parts:
        return CudaKernel(label, "", ())
    largest = max(parts, key=lambda c: c.work)
    index = "int" if max(map(_reach, parts)) < INT_LIMIT else "long long"
    way = vector_way(largest) if largest.columns == (1,) else tiled_way(largest, index)
    plans = [_Plan(c, way) for c in parts]
    name, text = _Text(largest, way, epilogue, index).named(label)
    launches = tuple(step for plan in plans for step in plan.launches(name, operands, epilogue))
    preludes = way.preludes + epilogue.preludes
    if {largest.dtype, *(p.dtype for p in epilogue.params)} & set(HALVES):
        preludes += ("halves.cuh",)
    return CudaKernel(name, text, launches, max(plan.scratch for plan in plans), preludes)


class _Text:
    """The text of contractions that are computed in one way."""

    def __init__(self, c: Contraction, way: Way, epilogue: Epilogue, index: str):
        self.way = way
        self.epilogue = epilogue
        self.index = index
        self.axes = len(c.columns)
        self.places = len(c.places)
        self.window = c.window is not None
        self.sum = SUMS.get(c.dtype, "float")
        self.operand = STORED[c.dtype]
        self.point = f"{index} row, const lz::Column<{index}, {self.axes}> &at, {self.sum} acc"

    def named(self, label: str) -> tuple[str, str]:
        """The kernel's name and text."""
        finish = self.epilogue.lines
        ending = self.epilogue.declarations(2)
        form = ["const lz::Contraction c", *(["const lz::Window w"] if self.window else [])]
        places = [f"const lz::Arrays<{self.places}> s"]
        operands = [f"const {self.operand} *__restrict__ {x}" for x in "ab"]
        if self.way.shares == 1:
            text = self.function("NAME", [*operands, *ending, *form, *places], finish)
        else:
            store = ("partial[block.partial(c.result, row, at.index)] = acc;",)
            text = self.function("NAME", [*operands, f"{self.sum} *partial", *form], store)
            partial = f"const {self.sum} *partial"
            gather = [
                f"lz::add_shares<{self.axes}, {self.index}>(c, partial,",
                f"    [&](const lz::Block<{self.index}> &block, {self.point}) {{",
                *(f"        {line}" for line in finish),
                "    });",
            ]
            parameters = [partial, *ending, "const lz::Contraction c", *places]
            text += "\n" + _function("NAME_sum", str(SUM_THREADS), parameters, gather)
        name = f"{label}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        return name, text.replace("NAME", name)

    def function(self, name: str, parameters: list[str], finish: tuple[str, ...]) -> str:
        """The function that computes sums and hands each to `finish`."""
        way, axes = "Way" if self.way.vector else "Tile", self.axes
        lines = [
            f"using {way} = {self.way.type};",
            f"__shared__ __align__(32) unsigned char memory[{way}::BYTES];",
            f"const auto block = lz::Block<{self.index}>::here<{axes}>(c, {way}::M, {way}::N);",
        ]
        if self.way.vector:
            lines.append("lz::multiply_vector<Way>(a, b, c, block, memory,")
        else:
            left, right = self.way.gathered
            lines += (
                self.gathered("Left", "a, c")
                if left
                else ["auto left = lz::strided_left<Tile>(a, c, block);"]
            )
            lines += (
                self.gathered("Right", "b, c, w")
                if right
                else ["auto right = lz::strided_right<Tile>(b, c, block);"]
            )
            lines += [
                "Tile tile;",
                "lz::accumulate(tile, left, right, block, memory);",
                f"lz::finish_tile<{axes}>(tile, c, block, memory,",
            ]
        handler = [f"[&]({self.point}) {{", *(f"    {line}" for line in finish), "});"]
        return _function(name, self.way.bounds, parameters, lines + [f"    {x}" for x in handler])

    def gathered(self, side: str, arguments: str) -> list[str]:
        """An operand that is found by tables."""
        name = side.lower()
        return [
            f"using {side} = lz::Gathered{side}<Tile, {self.axes}, {self.index}>;",
            f"__shared__ __align__(16) unsigned char {name}_places[{side}::BYTES];",
            f"{side} {name}({arguments}, block, {name}_places);",
        ]


class _Plan:
    """The launches of one contraction that is computed in a way."""

    def __init__(self, c: Contraction, way: Way):
        self.c = c
        self.way = way
        granules = -(-max(c.depth, 1) // (way.shares * way.granule))
        self.share = granules * way.granule
        self.shares = max(1, -(-c.depth // self.share))
        self.down, self.across = -(-c.rows // way.rows), -(-c.width // way.columns)
        self.blocks = self.shares * prod(c.batch) * self.down * self.across
        self.points = prod(c.batch) * c.rows * c.width
        partial = self.shares * self.points * (8 if c.dtype == "float64" else 4)
        self.scratch = partial if way.shares > 1 else 0

    def launches(self, name: str, operands: tuple[int, int], epilogue: Epilogue) -> list[Launch]:
        c = self.c
        along = (max(1, extent) for extent in c.reduced)
        reduced = [c.depth, self.share, self.shares, 0, 0, *_padded(tuple(along), INNER_AXES, 1)]
        contraction = Table(
            (
                _axes(Strides(c.batch, c.rows, c.columns), empty=1),
                tuple(Fixed(n, "q") for n in reduced),
                _axes(c.left),
                _axes(c.right),
            )
        )
        places = Table(tuple(map(_axes, c.places)))
        ending: list[Argument] = [Array(2 + i) for i in range(len(epilogue.params))]
        ending += [Scalar(n.index, "d" if n.dtype == "float64" else "q") for n in epilogue.numbers]
        inputs: list[Argument] = [Array(i) for i in operands]
        form: list[Argument] = [contraction, *([_window(c.window)] if c.window else [])]
        grid, block = (self.blocks, 1, 1), (self.way.threads, 1, 1)
        if self.way.shares == 1:
            arguments = (*inputs, *ending, *form, places)
            return [Launch(name, grid, block, arguments)]
        partial = Scratch()
        sums = (-(-self.points // SUM_THREADS), 1, 1)
        last = (partial, *ending, contraction, places)
        return [
            Launch(name, grid, block, (*inputs, partial, *form)),
            Launch(f"{name}_sum", sums, (SUM_THREADS, 1, 1), last),
        ]


def _reach(c: Contraction) -> int:
    """The largest number that an index may have to hold, tiles that stick out included.

    Partial sums are few: there are shares only where there are few points.
    """
    rows, columns = c.rows + LARGEST, _stretched(c.columns, c.width + LARGEST)
    depth, reduced = c.depth + LARGEST, _stretched(c.reduced, c.depth + LARGEST)
    seen = c.window.reduced if c.window else (0,) * len(reduced)
    return max(
        c.left.reach(c.batch, rows, reduced if len(c.left.along) > 1 else (depth,)),
        c.right.reach(c.batch, depth, columns) + Strides((), 0, seen).reach((), 1, reduced),
        *(p.reach(c.batch, rows, columns) for p in c.places),
        prod(c.batch) * rows * (c.width + LARGEST),
    )


def _stretched(extents: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Extents with the first so large that there are at least `total` points."""
    inner = tuple(max(1, extent) for extent in extents[1:])
    return (-(-total // prod(inner)), *inner)


def _window(w: Window) -> Table:
    """The fields of lz::Window."""
    dimensions = (w.bound, w.start, w.column_step, w.reduced_step)
    strides = [Strides((), 0, w.reduced), *(Strides((), 0, (0, *d)) for d in dimensions)]
    return Table(tuple(map(_axes, strides)))


def _padded(values: Sequence[int], count: int, empty: int) -> tuple[int, ...]:
    return (*values, *(empty,) * (count - len(values)))


def _axes(s: Strides, empty: int = 0) -> tuple[Fixed, ...]:
    """The fields of lz::Axes."""
    batch = (empty,) * (BATCH_AXES - len(s.batch)) + s.batch
    numbers = (s.start, *batch, s.row, *_padded(s.along, INNER_AXES, empty))
    return tuple(Fixed(n, "q") for n in numbers)


def _function(name: str, bounds: str, parameters: list[str], body: list[str]) -> str:
    head = f'extern "C" __global__ void __launch_bounds__({bounds}) {name}('
    lines = [head, *(f"    {p}," for p in parameters[:-1]), f"    {parameters[-1]})", "{"]
    return "\n".join([*lines, *(f"    {line}" for line in body), "}"]) + "\n"
