"""A contraction: a matrix product, or what can be read as one, to CUDA C and its launches.

    result[batch, row, column] =
        epilogue(sum over k of left[batch, row, k] * right[batch, k, column])

Matrix products and the three convolutions are brought to this form (matmul.py, convolution.py) by
saying along which axes columns and reduced positions are counted, and the strides along them. The
text is an instance of the templates in codegen/prelude/contraction.cuh; extents and strides are
numbers of its launches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from ..launches import Argument, Array, CudaKernel, Fixed, Launch, Scalar, Scratch, Table
from ..loops import Statement
from .epilogue import HALVES, STORED, Epilogue, render
from .tiles import TENSOR_TILES, TILES, choose, shares

BATCH_AXES, INNER_AXES = 3, 4
VECTOR_THREADS, SUM_THREADS = 256, 256
LONG_ROW = 4096  # of this many reduced positions a block takes a row, of fewer a warp
INT_LIMIT = 2**31
SUMS = {"float64": "double"}


@dataclass(frozen=True)
class Strides:
    """In elements: over the batch axes, the rows, and the axes that columns are counted along.

    A left operand has strides along the reduced axes in `along`; a right one along them in `row`.
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

    @property
    def width(self) -> int:
        return prod(self.columns)

    @property
    def depth(self) -> int:
        return prod(self.reduced)


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
    plans = [_Plan(part, epilogue) for part in parts if prod(part.batch) * part.rows * part.width]
    texts = {plan.text(label): plan for plan in plans}
    assert len(texts) <= 1, "contractions of one kernel have one text"
    if not texts:
        return CudaKernel(label, "", ())
    ((name, text),) = texts
    launches = tuple(launch for plan in plans for launch in plan.launches(name, operands))
    return CudaKernel(name, text, launches, max(p.scratch for p in plans), plans[0].preludes)


@dataclass(frozen=True)
class _Way:
    """How a block computes: the type in C++, the extents of its part of the result, its threads.

    granule: a share of the reduced axis is a multiple of this.
    """

    type: str
    rows: int
    columns: int
    threads: int
    bounds: str
    granule: int
    shares: int
    preludes: tuple[str, ...]
    vector: bool = False


def _vector_way(c: Contraction) -> _Way:
    """For a matrix and a vector: threads along whichever axis neighbours lie in memory."""
    operand = STORED[c.dtype]
    if c.rows > 1 and abs(c.left.row) < abs(c.left.along[0]):
        kind, rows = f"lz::AlongRows<{operand}>", 32
    else:
        lanes = 32 if c.depth < LONG_ROW else VECTOR_THREADS
        kind, rows = f"lz::AlongReduced<{operand}, {lanes}>", VECTOR_THREADS // lanes
    pieces = shares(-(-c.rows // rows) * prod(c.batch), c.depth)
    preludes = ("contraction.cuh", "matrix_vector.cuh")
    bounds = str(VECTOR_THREADS)
    return _Way(kind, rows, 1, VECTOR_THREADS, bounds, 64, pieces, preludes, vector=True)


def _tiled_way(c: Contraction) -> _Way:
    tiles, family = TILES[c.dtype], "RegisterTile"
    preludes: tuple[str, ...] = ("contraction.cuh",)
    if c.tensor_cores:
        tiles, family = TENSOR_TILES[c.dtype], "TensorTile"
        preludes += ("tensor_cores.cuh",)
    tile, pieces = choose(tiles, c.rows, c.width, c.depth, prod(c.batch))
    # Whether neighbours along the reduced axis lie side by side.
    left = abs(c.left.along[0]) < abs(c.left.row)
    right = abs(c.right.row) < abs(c.right.along[0])
    numbers = (tile.rows, tile.columns, tile.depth, *tile.part, *map(int, (left, right)))
    kind = f"lz::{family}<{STORED[c.dtype]}, {', '.join(map(str, numbers))}>"
    bounds = f"{tile.threads}, {tile.resident}"
    return _Way(kind, tile.rows, tile.columns, tile.threads, bounds, tile.depth, pieces, preludes)


class _Plan:
    """How one contraction is computed: by which way, in how many shares, with which indices."""

    def __init__(self, c: Contraction, epilogue: Epilogue):
        self.c = c
        self.epilogue = epilogue
        self.sum = SUMS.get(c.dtype, "float")
        self.operand = STORED[c.dtype]
        self.way = _vector_way(c) if c.columns == (1,) else _tiled_way(c)
        granules = -(-max(c.depth, 1) // (self.way.shares * self.way.granule))
        self.share = granules * self.way.granule
        self.shares = max(1, -(-c.depth // self.share))
        self.down, self.across = -(-c.rows // self.way.rows), -(-c.width // self.way.columns)
        self.blocks = self.shares * prod(c.batch) * self.down * self.across
        self.points = prod(c.batch) * c.rows * c.width
        partial = self.shares * self.points * (8 if self.sum == "double" else 4)
        self.scratch = partial if self.shares > 1 else 0
        self.index = "int" if self.reach() < INT_LIMIT else "long long"
        self.preludes = self.way.preludes
        if {c.dtype, *(p.dtype for p in epilogue.params)} & set(HALVES):
            self.preludes += ("halves.cuh",)
        self.preludes += epilogue.preludes

    def reach(self) -> int:
        """The largest number that an index may have to hold, tiles that stick out included."""
        c = self.c
        rows, width = self.down * self.way.rows, self.across * self.way.columns
        depth = c.depth + 2 * self.way.granule
        columns = (-(-width // max(1, prod(c.columns[1:]))), *c.columns[1:])
        reduced = (-(-depth // max(1, prod(c.reduced[1:]))), *c.reduced[1:])
        return max(
            c.left.reach(c.batch, rows, reduced),
            c.right.reach(c.batch, depth, columns),
            *(p.reach(c.batch, rows, columns) for p in c.places),
            self.blocks,
            self.shares * self.points + SUM_THREADS,
            rows * width,
        )

    # --- text -------------------------------------------------------------------------------------

    def text(self, label: str) -> tuple[str, str]:
        """The kernel's name and text."""
        finish = self.epilogue.lines
        axes = len(self.c.columns)
        if self.shares > 1:
            finish = ("partial[block.partial(c.result, row, at.index)] = acc;",)
        head = [f"const {self.operand} *__restrict__ a", f"const {self.operand} *__restrict__ b"]
        tail = ["const lz::Contraction c"]
        last = [f"const lz::Arrays<{len(self.c.places)}> s"]
        ending = self.epilogue.declarations(2)
        if self.shares > 1:
            first = [*head, f"{self.sum} *partial", *tail]
        else:
            first = [*head, *ending, *tail, *last]
        point = f"{self.index} row, const lz::Column<{self.index}, {axes}> &at, {self.sum} acc"
        body = self.product(axes, point, finish)
        text = _function("NAME", self.way.bounds, first, body)
        if self.shares > 1:
            second = [f"const {self.sum} *partial", *ending, *tail, *last]
            gather = [
                f"lz::add_shares<{axes}, {self.index}>(",
                f"    c, partial, [&](const lz::Block<{self.index}> &block, {point}) {{",
                *(f"        {line}" for line in self.epilogue.lines),
                "    });",
            ]
            text += "\n" + _function("NAME_sum", str(SUM_THREADS), second, gather)
        name = f"{label}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        return name, text.replace("NAME", name)

    def product(self, axes: int, point: str, finish: tuple[str, ...]) -> list[str]:
        """The body that computes a block's sums and hands each to `finish`."""
        way = "Way" if self.way.vector else "Tile"
        lines = [
            f"using {way} = {self.way.type};",
            f"__shared__ __align__(32) unsigned char memory[{way}::BYTES];",
            f"const auto block = lz::Block<{self.index}>::here<{axes}>(c, {way}::M, {way}::N);",
        ]
        handler = [f"[&]({point}) {{", *(f"    {line}" for line in finish), "});"]
        if self.way.vector:
            lines.append("lz::multiply_vector<Way>(a, b, c, block, memory,")
        else:
            lines += [
                "auto left = lz::strided_left<Tile>(a, c, block);",
                "auto right = lz::strided_right<Tile>(b, c, block);",
                "Tile tile;",
                "lz::accumulate(tile, left, right, block, memory);",
                f"lz::finish_tile<{axes}>(tile, c, block, memory,",
            ]
        return [*lines, *(f"    {line}" for line in handler)]

    # --- launches ---------------------------------------------------------------------------------

    def launches(self, name: str, arrays: tuple[int, int]) -> list[Launch]:
        c, count = self.c, len(self.epilogue.params)
        reduced = [c.depth, self.share, self.shares, 0, 0, *_padded(c.reduced, INNER_AXES, 1)]
        contraction = Table(
            (
                _axes(Strides(c.batch, c.rows, c.columns), empty=1),
                tuple(Fixed(n, "q") for n in reduced),
                _axes(c.left),
                _axes(c.right),
            )
        )
        places = Table(tuple(map(_axes, c.places)))
        ending: list[Argument] = [Array(2 + i) for i in range(count)]
        ending += [Scalar(n.index) for n in self.epilogue.numbers]
        operands: list[Argument] = [Array(i) for i in arrays]
        grid, block = (self.blocks, 1, 1), (self.way.threads, 1, 1)
        if self.shares == 1:
            arguments = (*operands, *ending, contraction, places)
            return [Launch(name, grid, block, arguments)]
        partial = Scratch()
        sums = (-(-self.points // SUM_THREADS), 1, 1)
        last = (partial, *ending, contraction, places)
        return [
            Launch(name, grid, block, (*operands, partial, contraction)),
            Launch(f"{name}_sum", sums, (SUM_THREADS, 1, 1), last),
        ]


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
