"""The body of a CUDA C function that runs a loop nest: axes mapped to blocks and threads.

    x.sum(1)    for (int row = blockIdx.x * blockDim.y + threadIdx.y; row < rows; …) {
                    const float *x0_row = x0 + row * x0_row_stride;
                    double v0_part = 0;
                    for (int i = threadIdx.x; i < n; i += blockDim.x) …
                    const float v0 = (float)reduce_row(v0_part, Sum(), shared_double);

Shapes of a nest; all loops stride by the grid or the block, so that any launch is right:

    point      one element: one thread
    map        nothing is reduced: threads along the innermost axis, blocks (x) along it and
               (y) over the other axes
    tiles      a map of which some arrays lie along another axis: squares of 32 by 32 elements,
               which are turned in shared memory, so that every access is along the memory
    rows       the innermost axis is reduced: a row of threads, a warp or a block, takes a row
    all        everything is reduced: as a row that all blocks share; a second launch finishes
    columns    the innermost axis is kept: threads along it, threadIdx.y over the rows
    slices     as columns, where few columns have many rows: blocks (y) share the rows, and a
               second launch finishes

In every stage of a row or column a thread takes the same elements: it may read again what it wrote.
Sums are gathered in double, thread by thread and then in the order of lanes and warps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lazyt.ir.dtypes import BY_NAME

from .cstyle import C_TYPES
from .cuda_writer import (
    CudaWriter,
    Formal,
    Function,
    PartCount,
    Parts,
    Point,
    Shared,
    live,
)
from .loops import Kernel, Load, Param, Stage, Statement, Store
from .nest_writer import reductions_of

SHORT_ROW = 512  # up to this many elements a warp takes a row
LONG_ROW = 4096  # beyond it a block of 512 threads
MOST_PACKS = 8  # arrays whose packs a thread holds at once
PACK_BYTES = 16
TILE = 32  # elements of a tile along either axis
MOST_TILES = 4  # arrays loaded by tiles
FEW_BLOCKS = 128  # of columns: then their rows are shared out, too
ROWS_A_SLICE = 128


class CudaNest(CudaWriter):
    """The functions of one kernel: `main`, and where blocks leave partial results `finish`."""

    def __init__(self, kernel: Kernel):
        super().__init__(kernel)
        self.single = self.rows[0].extent == 1  # a single row
        self.shape = self._shape()
        if self.shape in ("map", "tiles"):
            self.inner = self.rows[-1]
        self._label_axes()
        self.width = self._pack_width()

    def _shape(self) -> str:
        if not self.kernel.axes:
            return "point" if self.single else "tiles" if self._finds_tiles() else "map"
        if self.columns:
            return "slices" if self._shares_rows() else "columns"
        return "all" if self.whole else "rows"

    def _finds_tiles(self) -> bool:
        """Whether arrays lie along another axis than the innermost, and which one."""
        inner = self.rows[-1]
        self.tiled = [
            p
            for k, p in enumerate(self.kernel.params)
            if not (p.out or p.counted or p.reach) and inner.strides[k] not in (0, 1)
        ]
        for axis in self.rows[:-1]:
            along = [axis.strides[self.kernel.params.index(p)] for p in self.tiled]
            if set(along) == {1} and min(axis.extent, inner.extent) * 2 >= TILE:
                self.across = axis
        if self.across is None or len(self.tiled) > MOST_TILES:
            self.across, self.tiled = None, []
        return self.across is not None

    def _shares_rows(self) -> bool:
        """Whether rows are reduced once, and too many for the blocks that columns alone make."""
        along = [stage for stage in self.running if stage.loop]
        once = len(along) == 1 and not any(isinstance(s, Store) for s in along[0].statements)
        few = self.rows[-1].extent <= FEW_BLOCKS * TILE and len(self.rows) == 1
        rows = math.prod(axis.extent for axis in self.loops)
        if not once or not few or self.totals or rows < 2 * ROWS_A_SLICE:
            return False
        self.totals = reductions_of(along[0])
        self.finishing = [stage for stage in self.kernel.stages if not stage.loop]
        self.running = self.kernel.stages[: self.kernel.stages.index(along[0]) + 1]
        return True

    def _label_axes(self) -> None:
        """The names of extents and strides."""
        *outer, inner = self.rows
        if self.shape in ("columns", "slices"):
            self.label(outer, "groups", "group_stride")
            self.label([inner], "columns", "column_stride")
            self.label(self.loops, "rows", "row_stride")
        elif self.across is not None:
            self.label([a for a in outer if a is not self.across], "groups", "group_stride")
            self.label([self.across], "rows", "row_stride")
            self.label([inner], "n", "stride")
        else:
            self.label(outer if self.shape == "map" else self.rows, "rows", "row_stride")
            self.label([inner] if self.shape == "map" else self.loops, "n", "stride")

    def _pack_width(self) -> int:
        """How many neighbouring elements a thread takes at once; 1 where arrays do not allow it."""
        if self.shape not in ("map", "rows", "all"):
            return 1
        packed = self.packed(s for stage in self.looping() for s in stage.statements)
        strides = {self._along(p) for p in self._accessed() if not p.counted}
        if any(p.reach and self._along(p) for p in self._accessed()):
            return 1
        if not packed or len(packed) > MOST_PACKS or not strides <= {0, 1}:
            return 1
        widest = max(BY_NAME[p.dtype].itemsize for p in packed)
        return min(PACK_BYTES // widest, 8)

    # --- functions --------------------------------------------------------------------------------

    def main(self) -> Function:
        """The function that runs the nest."""
        self.begin()
        getattr(self, f"_{self.shape}")()
        packs, ranged = [], ""
        if self.width > 1:
            packs = self.conditions()
            ranged = self.extent(self.inner) if self.shape == "map" else ""
        parts = [
            Formal(f"{self.wide(s)} *", f"{s.name}_parts", Parts(i))
            for i, s in enumerate(self.totals)
        ]
        formals = [*self.given(self._before()), *parts, *self.entry_formals]
        names = {"map": "points", "point": "points", "all": "parts", "slices": "parts"}
        name = names.get(self.shape, self.shape)
        shared = list(self.shared.values())
        return Function(f"_{name}", self.lines, formals, shared, self.width, packs, ranged)

    def finish(self) -> Function:
        """The function that makes results of the partial results of all blocks or slices."""
        self.begin()
        parts = [
            Formal(f"const {self.wide(s)} *", f"{s.name}_parts", Parts(i))
            for i, s in enumerate(self.totals)
        ]
        count = "slices" if self.shape == "slices" else "blocks"
        getattr(self, f"_finish_{count}")()
        formals = [*self.given(self._after()), *parts, Formal("int", count, PartCount())]
        shared = list(self.shared.values())
        return Function("_total", self.lines, [*formals, *self.entry_formals], shared)

    def _before(self) -> list[Statement]:
        """The statements of the main function."""
        found = [s for stage in self.running for s in stage.statements]
        return live(found) if self.shape in ("all", "slices") else found

    def _after(self) -> list[Statement]:
        """The statements that follow the totals."""
        return live([s for stage in self.finishing for s in stage.statements])

    # --- maps -------------------------------------------------------------------------------------

    def _point(self) -> None:
        for stage in self.running:
            self.statements(stage.statements, Point(self.origin()))

    def _map(self) -> None:
        outer, inner = self.rows[:-1], self.inner
        rows: list[str] = []
        if outer:
            begin = f"{self.cast}blockIdx.y * blockDim.y + threadIdx.y"
            rows = self.loop(outer, "row", begin, "gridDim.y * blockDim.y")
        base = self.advance(self.origin(), outer, rows, "row", self.running)
        begin, last = f"{self.cast}blockIdx.x * blockDim.x + threadIdx.x", self.extent(inner)
        step = "gridDim.x * blockDim.x"
        if self.width > 1:
            begin, last, step = f"first + ({begin}) * width", "last", f"{step} * width"
        self.open_for(f"{self.index} i = {begin}", f"i < {last}", f"i += {step}")
        for stage in self.running:
            self.elements(stage, Point(base, ((inner, "i"),)))
        self.close(1 + bool(outer))

    def _tiles(self) -> None:
        assert self.across is not None
        outer = [axis for axis in self.rows[:-1] if axis is not self.across]
        rows, n = self.extent(self.across), self.extent(self.inner)
        indices: list[str] = []
        if outer:
            extents = [*map(self.extent, outer), f"({rows} + {TILE - 1}) / {TILE}"]
            made = f"tile({{{', '.join(extents)}}}, blockIdx.y, gridDim.y)"
            kind = f"Odometer<{self.index}, {len(extents)}>"
            self.open_for(f"{kind} {made}", "tile.inside()", "tile.advance()")
            indices = [f"tile[{d}]" for d in range(len(outer))]
            self.line(f"const {self.index} row0 = tile[{len(outer)}] * {TILE};")
        else:
            begin, step = f"{self.cast}blockIdx.y * {TILE}", f"gridDim.y * {TILE}"
            self.open_for(f"{self.index} row0 = {begin}", f"row0 < {rows}", f"row0 += {step}")
        base = self.advance(self.origin(), outer, indices, "group", self.running)
        begin, step = f"{self.cast}blockIdx.x * {TILE}", f"gridDim.x * {TILE}"
        self.open_for(f"{self.index} i0 = {begin}", f"i0 < {n}", f"i0 += {step}")
        at = Point(base, ((self.across, "row"), (self.inner, "i")))
        self._tile_loop("row0 + threadIdx.x", "i0 + k")
        for p in self.tiled:
            tile = Shared(C_TYPES[p.dtype], f"{p.name}_tile", (TILE, TILE + 1))
            self.shared[tile.name] = tile  # one column more: no two rows in the same banks
            self.line(f"{tile.name}[k][threadIdx.x] = {self.element(p, at)};")
        self.close(2)
        self.line("__syncthreads();")
        self._tile_loop("row0 + k", "i0 + threadIdx.x")
        for stage in self.running:
            self.statements(stage.statements, Point(at.base, at.indices, tiled=True))
        self.close(2)
        self.line("__syncthreads();")
        self.close(2)

    def _tile_loop(self, row: str, i: str) -> None:
        """Threads of a block at the elements of a tile."""
        assert self.across is not None
        self.open_for("int k = threadIdx.y", f"k < {TILE}", "k += blockDim.y")
        self.line(f"const {self.index} row = {row}, i = {i};")
        self.line(f"if (row < {self.extent(self.across)} && i < {self.extent(self.inner)}) {{")
        self.depth += 1

    # --- rows -------------------------------------------------------------------------------------

    def _rows(self) -> None:
        self.open_totals()
        rows: list[str] = []
        if not self.single:
            begin = f"{self.cast}blockIdx.x * blockDim.y + threadIdx.y"
            rows = self.loop(self.rows, "row", begin, "gridDim.x * blockDim.y")
        base = self.advance(self.origin(), self.rows, rows, "row", self.running)
        self._stages(base, "threadIdx.x == 0", "synchronize_row();", self._row_loop)
        if not self.single:
            self.close()
        self._close_totals("blockIdx.x")

    def _row_loop(self, stage: Stage, base: dict[Param, str]) -> None:
        self._along_row(stage, base, "threadIdx.x", "blockDim.x")
        for s in reductions_of(stage):
            self.reduced(s, "reduce_row", f"{s.name}_part")

    def _along_row(self, stage: Stage, base: dict[Param, str], begin: str, step: str) -> None:
        """A loop over the reduced axes, with partial results of this thread."""
        self.open_parts(stage)
        packed = self.width > 1
        if packed and len(self.loops) == 1:
            begin = f"{begin} * width" if begin == "threadIdx.x" else f"({begin}) * width"
            step = f"{step} * width"
        indices = self.loop(self.loops, "i", begin, step, packed=packed)
        if packed and len(self.loops) > 1:
            indices[-1] += " * width"
        self.elements(stage, Point(base, tuple(zip(self.loops, indices))))
        self.close()

    def _all(self) -> None:
        along, base = self.running[-1], self.origin()
        self.statements([s for s in self._before() if s not in along.statements], Point(base))
        begin = f"{self.cast}blockIdx.x * blockDim.x + threadIdx.x"
        self._along_row(along, base, begin, "gridDim.x * blockDim.x")
        for s in self.totals:
            total = self.combined(s, "reduce_block", f"{s.name}_part")
            self.line(f"const {self.wide(s)} {s.name}_total = {total};")
        self._store_parts("threadIdx.x == 0", "blockIdx.x")

    def _finish_blocks(self) -> None:
        self.open_totals()
        self.open_for("int block = threadIdx.x", "block < blocks", "block += blockDim.x")
        for s in self.totals:
            self.line(self.gather(s, f"{s.name}_total", f"{s.name}_parts[block]"))
        self.close()
        for s in self.totals:
            self.reduced(s, "reduce_block", f"{s.name}_total")
        self.line("if (threadIdx.x == 0) {")
        self.depth += 1
        self.statements(self._after(), Point(self.origin()))
        self.close()

    # --- columns ----------------------------------------------------------------------------------

    def _columns(self) -> None:
        *outer, inner = self.rows
        self.open_totals()
        groups = self.loop(outer, "group", "blockIdx.y", "gridDim.y") if outer else []
        self._open_columns()
        axes, indices = [*outer, inner], [*groups, "column"]
        base = self.advance(self.origin(), axes, indices, "column", self.running)
        self._stages(base, "inside && threadIdx.y == 0", "__syncthreads();", self._column_loop)
        self.close(1 + bool(outer))
        self._close_totals("blockIdx.y * gridDim.x + blockIdx.x" if outer else "blockIdx.x")

    def _open_columns(self) -> None:
        """A loop over blocks of columns. All threads meet at barriers: those beyond the last column
        look at it, and write nothing."""
        last = self.extent(self.rows[-1])
        begin, step = f"{self.cast}blockIdx.x * blockDim.x", "gridDim.x * blockDim.x"
        self.open_for(f"{self.index} base = {begin}", f"base < {last}", f"base += {step}")
        self.line(f"const bool inside = base + threadIdx.x < {last};")
        self.line(f"const {self.index} column = inside ? base + threadIdx.x : {last} - 1;")

    def _column_loop(self, stage: Stage, base: dict[Param, str]) -> None:
        self._along_column(stage, base, "threadIdx.y", "blockDim.y")
        for s in reductions_of(stage):
            self.reduced(s, "reduce_column", f"{s.name}_part")

    def _along_column(self, stage: Stage, base: dict[Param, str], begin: str, step: str) -> None:
        self.open_parts(stage)
        rows = self.loop(self.loops, "row", begin, step, "inside && ")
        self.elements(stage, Point(base, tuple(zip(self.loops, rows))))
        self.close()

    def _slices(self) -> None:
        along, inner = self.running[-1], self.rows[-1]
        self._open_columns()
        base = self.advance(
            self.origin(), [inner], ["column"], "column", [Stage(True, self._before())]
        )
        self.statements([s for s in self._before() if s not in along.statements], Point(base))
        begin = f"{self.cast}blockIdx.y * blockDim.y + threadIdx.y"
        self._along_column(along, base, begin, "gridDim.y * blockDim.y")
        for s in self.totals:
            total = self.combined(s, "reduce_column", f"{s.name}_part")
            self.line(f"const {self.wide(s)} {s.name}_total = {total};")
        place = f"blockIdx.y * {self.extent(inner)} + column"
        self._store_parts("inside && threadIdx.y == 0", place)
        self.close()

    def _finish_slices(self) -> None:
        inner, after = self.rows[-1], self._after()
        self._open_columns()
        base = self.advance(self.origin(), [inner], ["column"], "column", [Stage(False, after)])
        self.open_totals()
        step = "slice += blockDim.y"
        self.open_for("int slice = threadIdx.y", "inside && slice < slices", step)
        for s in self.totals:
            part = f"{s.name}_parts[slice * {self.extent(inner)} + column]"
            self.line(self.gather(s, f"{s.name}_total", part))
        self.close()
        for s in self.totals:
            self.reduced(s, "reduce_column", f"{s.name}_total")
        self.line("if (inside && threadIdx.y == 0) {")
        self.depth += 1
        self.statements(after, Point(base))
        self.close(2)

    # --- what rows and columns have in common -----------------------------------------------------

    def _stages(self, base: dict[Param, str], leader: str, barrier: str, loop: Callable) -> None:
        """The stages of a row or column in turn; what is left after the last loop is for one thread
        of it."""
        last = max(i for i, stage in enumerate(self.running) if stage.loop)
        for stage in self.running[: last + 1]:
            if stage.loop:
                loop(stage, base)
            else:
                self.statements(stage.statements, Point(base))
        final = [s for stage in self.running[last + 1 :] for s in stage.statements]
        if not final:
            return
        if self._overtakes(final, self.running[: last + 1]):
            self.line(barrier)
        self.line(f"if ({leader}) {{")
        self.depth += 1
        self.statements(final, Point(base))
        self.close()

    def _overtakes(self, final: list[Statement], stages: list[Stage]) -> bool:
        """Whether the one thread may write over what others have yet to load."""
        if self.shape == "columns":  # its reductions meet at barriers; a shuffle orders no memory
            met = [i for i, stage in enumerate(stages) if reductions_of(stage)]
            stages = stages[max(met, default=-1) + 1 :]
        loaded = {s.param for t in stages for s in t.statements if isinstance(s, Load)}
        stored = [s.param for s in final if isinstance(s, Store)]
        return any(self.kernel.overwrites(y, x) for y in stored for x in loaded)

    def _close_totals(self, block: str) -> None:
        for s in self.totals:
            total = self.combined(s, "reduce_block", f"{s.name}_total")
            self.line(f"{s.name}_total = {total};")
        if self.totals:
            self._store_parts("threadIdx.x == 0 && threadIdx.y == 0", block)

    def _store_parts(self, leader: str, place: str) -> None:
        """One thread leaves partial results for the second launch."""
        self.line(f"if ({leader}) {{")
        self.depth += 1
        for s in self.totals:
            self.line(f"{s.name}_parts[{place}] = {s.name}_total;")
        self.close()
