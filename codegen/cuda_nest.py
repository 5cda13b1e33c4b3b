"""The body of a CUDA C function that runs a loop nest: axes mapped to blocks and threads.

    x.sum(1)    for (int row = blockIdx.x * blockDim.y + threadIdx.y; row < rows; …) {
                    const float *x0_row = x0 + row * x0_row_stride;
                    double v0_part = 0;
                    for (int i = threadIdx.x; i < n; i += blockDim.x) …
                    const float v0 = (float)reduce_row(v0_part, Sum(), shared_double);

Five shapes of a nest; all loops stride by the grid or the block, so that any launch is right:

    point      one element: one thread
    map        nothing is reduced: threads along the innermost axis, blocks (x) along it and
               (y) over the other axes
    rows       the innermost axis is reduced: a row of threads, a warp or a block, takes a row
    all        everything is reduced: as a row that all blocks share; a second launch finishes
    columns    the innermost axis is kept: threads along it, threadIdx.y over the rows

In every stage of a row or column a thread takes the same elements: it may read again what it wrote.
Sums are gathered in double, thread by thread and then in the order of lanes and warps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from lazyt.ir.dtypes import BY_NAME

from .cstyle import C_TYPES, SMALL, expression
from .launches import Argument, Array, Fixed, Refused, Scalar
from .loops import Apply, Kernel, Load, Param, Reduce, Stage, Statement, Store
from .nest_writer import Axis, NestWriter, reductions_of, refuses, used

THREADS = 256  # in a block: 255 registers are left for each
SHORT_ROW = 512  # up to this many elements a warp takes a row
MOST_PACKS = 8  # arrays whose packs a thread holds at once
PACK_BYTES = 16
LINE = 100  # columns
INT_LIMIT = 2**31 - 2**25  # an index of 32 bits may run this far and one step of the grid further

COMBINE = {"sum": "Sum", "prod": "Product", "any": "Any", "all": "All"}
COMBINE |= {"amax": "Maximum", "amax_whole": "Maximum", "amin": "Minimum", "amin_whole": "Minimum"}
WRAPPING = ("add", "sub", "mul", "neg", "abs")  # functions of prelude/cuda.h
INTEGERS = {"int32": "i32", "int64": "i64"}


@dataclass(frozen=True)
class Parts:
    """The address of the partial results of total `index`."""

    index: int


@dataclass(frozen=True)
class PartCount:
    """How many partial results there are: one a block."""


@dataclass(frozen=True)
class Formal:
    """A parameter of a function, and what is passed for it."""

    type: str
    name: str
    argument: Argument | Parts | PartCount


@dataclass
class Function:
    """What a function of a kernel does, in lines.

    shared: arrays (type, name, extent). width: elements of a pack; if more than 1 the body is a
    template over `width`, to be taken where the conditions `packs` hold. ranged: the body takes the
    elements from `first` to `last` only.
    """

    suffix: str
    body: list[str]
    formals: list[Formal]
    shared: list[tuple[str, str, int]] = field(default_factory=list)
    width: int = 1
    packs: list[str] = field(default_factory=list)
    ranged: bool = False


@dataclass(frozen=True)
class Point:
    """Where statements run: addresses of arrays (values of counted parameters), indices along the
    loops that are not in them yet, and whether elements are in packs."""

    base: dict[Param, str]
    indices: tuple[tuple[Axis, str], ...] = ()
    packed: bool = False


class CudaNest(NestWriter):
    """The functions of one kernel: `main`, and where blocks leave partial results `finish`."""

    truth = "bool"

    def __init__(self, kernel: Kernel):
        super().__init__(kernel)
        self.index = "int64_t" if _is_wide(kernel) else "int"
        self.start_cast = "(int64_t)" if self.index == "int64_t" else ""
        self.single = self.rows[0].extent == 1  # a single row
        self.shape = self._shape()
        self.labels: dict[int, tuple[str, str]] = {}
        self._label_axes()
        self.inner = self.rows[-1] if self.shape == "map" else (self.loops or self.rows)[-1]
        self.width = self._pack_width()
        self.shared: dict[str, tuple[str, str, int]] = {}
        self.entry_formals: list[Formal] = []

    def _shape(self) -> str:
        if not self.kernel.axes:
            return "point" if self.single else "map"
        return "all" if self.whole else "columns" if self.columns else "rows"

    def _label_axes(self) -> None:
        """The names of extents and strides."""
        if self.shape == "columns":
            self._label(self.rows[:-1], "groups", "group_stride")
            self._label(self.rows[-1:], "columns", "column_stride")
            self._label(self.loops, "rows", "row_stride")
        else:
            inner = self.rows[-1:] if self.shape == "map" else self.loops
            outer = self.rows[:-1] if self.shape == "map" else self.rows
            self._label(outer, "rows", "row_stride")
            self._label(inner, "n", "stride")

    def _label(self, axes: list[Axis], extent: str, stride: str) -> None:
        for d, axis in enumerate(axes):
            number = str(d) if len(axes) > 1 else ""
            self.labels[id(axis)] = extent + number, stride + number

    def entry(self, key: tuple) -> str:
        if len(key) == 3:  # of an axis along which indices choose
            return f"{key[0]}_reach{key[1]}_{key[2]}"
        extent, stride = self.labels[key[0]]
        return extent if len(key) == 1 else f"{self.kernel.params[key[1]].name}_{stride}"

    def _entry(self, key: tuple, value: int) -> str:
        known = key in self.entries
        name = super()._entry(key, value)
        if not known:
            kind = "q" if self.index == "int64_t" else "i"
            self.entry_formals.append(Formal(self.index, name, Fixed(value, kind)))
        return name

    def _pack_width(self) -> int:
        """How many neighbouring elements a thread takes at once; 1 where arrays do not allow it."""
        if self.shape not in ("map", "rows", "all"):
            return 1
        packed = self._packed(s for stage in self._looping() for s in stage.statements)
        strides = {self._along(p) for p in self._accessed() if not p.counted}
        if any(p.reach and self._along(p) for p in self._accessed()):
            return 1
        if not packed or len(packed) > MOST_PACKS or not strides <= {0, 1}:
            return 1
        widest = max(BY_NAME[p.dtype].itemsize for p in packed)
        return min(PACK_BYTES // widest, 8)

    def _looping(self) -> list[Stage]:
        """The stages that run along the innermost loop."""
        return [stage for stage in self.running if stage.loop or not self.kernel.axes]

    def _accessed(self) -> list[Param]:
        found = used(s for stage in self._looping() for s in stage.statements)
        return [p for p in self.kernel.params if p in found]

    def _along(self, param: Param) -> int:
        """The stride of a parameter along the innermost loop."""
        return self.inner.strides[self.kernel.params.index(param)]

    def _packed(self, statements: Iterable[Statement]) -> list[Param]:
        """The arrays whose elements lie together along the innermost loop."""
        found = used(statements)
        arrays = [p for p in self.kernel.arrays if p in found and not p.reach]
        return [p for p in arrays if self._along(p) == 1]

    # --- functions --------------------------------------------------------------------------------

    def main(self) -> Function:
        """The function that runs the nest."""
        self.lines, self.shared = [], {}
        getattr(self, f"_{self.shape}")()
        packs, ranged = [], False
        if self.width > 1:
            packs, ranged = self._conditions(), self.shape == "map"
            self.extent(self.inner)
        name = {"map": "points", "point": "points", "all": "parts"}.get(self.shape, self.shape)
        parts = [
            Formal(f"{self.wide(s)} *", f"{s.name}_parts", Parts(i))
            for i, s in enumerate(self.totals)
        ]
        formals = [*self._formals(self._running()), *parts, *self.entry_formals]
        shared = list(self.shared.values())
        return Function(f"_{name}", self.lines, formals, shared, self.width, packs, ranged)

    def finish(self) -> Function:
        """The function that one block runs on the partial results of all blocks."""
        self.lines, self.shared = [], {}
        parts = []
        for i, s in enumerate(self.totals):
            kind = self.wide(s)
            parts.append(Formal(f"const {kind} *", f"{s.name}_parts", Parts(i)))
            self.line(f"{kind} {s.name}_total = {self.start(s)};")
        self.line("for (int block = threadIdx.x; block < blocks; block += blockDim.x) {")
        self.depth += 1
        for s in self.totals:
            self.line(self.gather(s, f"{s.name}_total", f"{s.name}_parts[block]"))
        self.close()
        for s in self.totals:
            self._reduced(s, "reduce_block", f"{s.name}_total")
        self.line("if (threadIdx.x == 0) {")
        self.depth += 1
        self.statements(_live(self._finishing()), Point(self._origin()))
        self.close()
        given = self._formals(_live(self._finishing()))
        formals = [*given, *parts, Formal("int", "blocks", PartCount())]
        return Function("_total", self.lines, formals, list(self.shared.values()))

    def _running(self) -> list[Statement]:
        """The statements of the main function."""
        found = [s for stage in self.running for s in stage.statements]
        return _live(found) if self.whole else found

    def _finishing(self) -> list[Statement]:
        """The statements that follow the totals."""
        return [s for stage in self.finishing for s in stage.statements]

    def _formals(self, statements: list[Statement]) -> list[Formal]:
        """Arrays, run-time numbers and the flag of refusals, as far as statements use them."""
        found = used(statements)
        formals = []
        for i, p in enumerate(self.kernel.arrays):
            if p in found:
                const = "" if p.out else "const "
                formals.append(Formal(f"{const}{C_TYPES[p.dtype]} *", p.name, Array(i)))
        for j, s in enumerate(self.kernel.numbers):
            if s in found:
                formals.append(Formal("double ", str(s), Scalar(j)))
        if self.refuses(statements):
            formals.append(Formal("int *", "refused", Refused()))
        return formals

    def _conditions(self) -> list[str]:
        """What must hold for packs: every one begins at a multiple of its size."""
        outer = [axis for axis in (*self.rows, *self.loops) if axis is not self.inner]
        found = [] if self.shape == "map" else [f"{self.extent(self.inner)} % {self.width} == 0"]
        packed = self._packed(s for stage in self._looping() for s in stage.statements)
        for p in packed:
            k = self.kernel.params.index(p)
            strides = [self.stride(axis, k) for axis in outer if axis.strides[k]]
            found.append(f"aligned<{self.width}>({', '.join([p.name, *strides])})")
        return found

    # --- shapes of a nest -------------------------------------------------------------------------

    def _point(self) -> None:
        for stage in self.running:
            self.statements(stage.statements, Point(self._origin()))

    def _map(self) -> None:
        outer, inner = self.rows[:-1], self.inner
        opened, rows = 0, []
        if outer:
            begin = f"{self.start_cast}blockIdx.y * blockDim.y + threadIdx.y"
            rows = self._loop(outer, "row", begin, "gridDim.y * blockDim.y")
            opened = 1
        base = self._advance(self._origin(), outer, rows, "row", self.running)
        begin, last = f"{self.start_cast}blockIdx.x * blockDim.x + threadIdx.x", self.extent(inner)
        step = "gridDim.x * blockDim.x"
        if self.width > 1:
            begin, last, step = f"first + ({begin}) * width", "last", f"{step} * width"
        self._for(f"{self.index} i = {begin}", f"i < {last}", f"i += {step}")
        for stage in self.running:
            self._elements(stage, Point(base, ((inner, "i"),)))
        self.close(1 + opened)

    def _rows(self) -> None:
        self._open_totals()
        rows = []
        if not self.single:
            begin = f"{self.start_cast}blockIdx.x * blockDim.y + threadIdx.y"
            rows = self._loop(self.rows, "row", begin, "gridDim.x * blockDim.y")
        base = self._advance(self._origin(), self.rows, rows, "row", self.running)
        self._stages(base, "threadIdx.x == 0", "synchronize_row();", self._row_loop)
        if not self.single:
            self.close()
        self._close_totals("blockIdx.x")

    def _all(self) -> None:
        along, base = self.running[-1], self._origin()
        self.statements([s for s in self._running() if s not in along.statements], Point(base))
        begin = f"{self.start_cast}blockIdx.x * blockDim.x + threadIdx.x"
        self._along_row(along, base, begin, "gridDim.x * blockDim.x")
        for s in self.totals:
            self.line(f"const {self.wide(s)} {s.name}_total = {self._reduce_block(s, 'part')};")
        self._store_parts("blockIdx.x")

    def _columns(self) -> None:
        *outer, inner = self.rows
        self._open_totals()
        groups = []
        if outer:
            groups = self._loop(outer, "group", "blockIdx.y", "gridDim.y")
        last = self.extent(inner)
        begin, step = f"{self.start_cast}blockIdx.x * blockDim.x", "gridDim.x * blockDim.x"
        self._for(f"{self.index} base = {begin}", f"base < {last}", f"base += {step}")
        # All threads meet at barriers: those beyond the last column look at it, and write nothing.
        self.line(f"const bool inside = base + threadIdx.x < {last};")
        self.line(f"const {self.index} column = inside ? base + threadIdx.x : {last} - 1;")
        axes, indices = [*outer, inner], [*groups, "column"]
        base = self._advance(self._origin(), axes, indices, "column", self.running)
        self._stages(base, "inside && threadIdx.y == 0", "__syncthreads();", self._column_loop)
        self.close(1 + bool(outer))
        self._close_totals("blockIdx.y * gridDim.x + blockIdx.x" if outer else "blockIdx.x")

    def _stages(self, base: dict[Param, str], leader: str, barrier: str, loop) -> None:
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

    def _row_loop(self, stage: Stage, base: dict[Param, str]) -> None:
        self._along_row(stage, base, "threadIdx.x", "blockDim.x")
        for s in reductions_of(stage):
            self._reduced(s, "reduce_row", f"{s.name}_part")

    def _along_row(self, stage: Stage, base: dict[Param, str], begin: str, step: str) -> None:
        """A loop over the reduced axes, with partial results of this thread."""
        self._open_parts(stage)
        *outer, inner = self.loops
        if self.width > 1 and not outer:
            begin = f"{begin} * width" if begin == "threadIdx.x" else f"({begin}) * width"
            step = f"{step} * width"
        indices = self._loop(self.loops, "i", begin, step, packed=self.width > 1)
        if self.width > 1 and outer:
            indices[-1] += " * width"
        self._elements(stage, Point(base, tuple(zip(self.loops, indices))))
        self.close()

    def _column_loop(self, stage: Stage, base: dict[Param, str]) -> None:
        self._open_parts(stage)
        rows = self._loop(self.loops, "row", "threadIdx.y", "blockDim.y", "inside && ")
        self._elements(stage, Point(base, tuple(zip(self.loops, rows))))
        self.close()
        for s in reductions_of(stage):
            self._reduced(s, "reduce_column", f"{s.name}_part")

    # --- pieces -----------------------------------------------------------------------------------

    def _loop(
        self,
        axes: list[Axis],
        index: str,
        begin: str,
        step: str,
        condition: str = "",
        packed: bool = False,
    ) -> list[str]:
        """Opens one loop over the points of some axes; returns the index along each.

        packed: of several axes, the innermost counts packs."""
        extents = [self.extent(axis) for axis in axes]
        if len(axes) == 1:
            begins = f"{self.index} {index} = {begin}"
            self._for(begins, f"{condition}{index} < {extents[0]}", f"{index} += {step}")
            return [index]
        if packed:
            extents[-1] += " / width"
        made = f"{index}({{{', '.join(extents)}}}, {begin}, {step})"
        begins = f"Odometer<{self.index}, {len(axes)}> {made}"
        self._for(begins, f"{condition}{index}.inside()", f"{index}.advance()")
        return [f"{index}[{d}]" for d in range(len(axes))]

    def _for(self, begin: str, condition: str, step: str) -> None:
        """Opens a loop, on several lines where one is too short."""
        text = f"for ({begin}; {condition}; {step}) {{"
        if 4 * self.depth + len(text) > LINE:
            text = text.replace("; ", ";\n" + "    " * self.depth + "     ")
        self.line(text)
        self.depth += 1

    def _origin(self) -> dict[Param, str]:
        return {p: "" if p.counted else p.name for p in self.kernel.params}

    def _advance(
        self,
        base: dict[Param, str],
        axes: list[Axis],
        indices: list[str],
        suffix: str,
        stages: list[Stage],
    ) -> dict[Param, str]:
        """Addresses (values, of counted parameters) at the indices of the loops around."""
        found = used(s for stage in stages for s in stage.statements)
        moved = dict(base)
        for k, p in enumerate(self.kernel.params):
            terms = [self._step(axis, k, i) for axis, i in zip(axes, indices) if axis.strides[k]]
            if p not in found or not terms:
                continue
            kind = self.index if p.counted else C_TYPES[p.dtype] + " *"
            const = "const " if p.counted or not p.out else ""
            start = [base[p]] if base[p] else []
            moved[p] = f"{p.name}_{suffix}"
            space = "" if kind.endswith("*") else " "
            self.line(f"{const}{kind}{space}{moved[p]} = {' + '.join(start + terms)};")
        return moved

    def _step(self, axis: Axis, param: int, index: str) -> str:
        """How far a parameter is at an index: the innermost stride of 1 is part of the text."""
        innermost = axis is self.inner or (self.shape == "columns" and axis is self.rows[-1])
        if innermost and axis.strides[param] == 1:
            return index
        return f"{index} * {self.stride(axis, param)}"

    def _offset(self, param: Param, at: Point) -> str:
        k = self.kernel.params.index(param)
        terms = [self._step(axis, k, i) for axis, i in at.indices if axis.strides[k]]
        return " + ".join(terms)

    def element(self, param: Param, at: Point, further: str = "") -> str:
        offset = self._offset(param, at)
        if further:
            offset = f"{offset} + {further}" if offset else further
        if param.counted:
            within = " + k" if at.packed and self._along(param) == 1 else ""
            if at.packed and self._along(param) not in (0, 1):
                k = self.kernel.params.index(param)
                within = f" + k * {self.stride(self.inner, k)}"
            start = f"{at.base[param]} + " if at.base[param] and offset else at.base[param]
            return f"{start}{offset}{within}" or "0"
        if at.packed and self._along(param) == 1 and not param.reach:
            return f"{param.name}_pack[k]"
        return f"{at.base[param]}[{offset}]" if offset else f"*{at.base[param]}"

    def _elements(self, stage: Stage, at: Point) -> None:
        """The statements of a stage at the point of the loops, or at a pack of them."""
        if self.width == 1:
            self._at_point(stage.statements, at)
            return
        loads = [s for s in stage.statements if isinstance(s, Load) and not s.param.counted]
        packed = {s.param for s in loads if self._along(s.param) == 1}
        spread = [s for s in loads if self._along(s.param) != 1]
        stored = [s.param for s in stage.statements if isinstance(s, Store)]
        for s in loads:
            if s in spread:
                self.statements([s], at)
                continue
            p = s.param
            const = "" if p in stored else "const "
            kind = f"Pack<{C_TYPES[p.dtype]}, width>"
            address = f"{at.base[p]} + {self._offset(p, at)}"
            self.line(f"{const}{kind} {p.name}_pack = load<width>({address});")
        for p in stored:
            if p not in packed:
                self.line(f"Pack<{C_TYPES[p.dtype]}, width> {p.name}_pack;")
        self.line("#pragma unroll")
        self.line("for (int k = 0; k < width; k++) {")
        self.depth += 1
        within = Point(at.base, at.indices, packed=True)
        self._at_point([s for s in stage.statements if s not in spread], within)
        self.close()
        for p in stored:
            self.line(f"store({at.base[p]} + {self._offset(p, at)}, {p.name}_pack);")

    def _at_point(self, statements: list[Statement], at: Point) -> None:
        for s in statements:
            if isinstance(s, Reduce):
                self.line(self.gather(s, f"{s.name}_part", self.operand(s.operand, s.dtype)))
            else:
                self.statements([s], at)

    # --- reductions -------------------------------------------------------------------------------

    def wide(self, s: Reduce) -> str:
        if s.op in ("any", "all") or s.dtype in ("bool", *SMALL):
            return "int"
        kind = super().wide(s)
        return f"u{kind}" if s.op in ("sum", "prod") and kind in ("int32_t", "int64_t") else kind

    def gathered(self, s: Reduce) -> str:
        return f"{s.name}_total"

    def _open_parts(self, stage: Stage) -> None:
        for s in reductions_of(stage):
            self.line(f"{self.wide(s)} {s.name}_part = {self.start(s)};")

    def _open_totals(self) -> None:
        for s in self.totals:
            self.line(f"{self.wide(s)} {s.name}_total = {self.start(s)};")

    def _close_totals(self, block: str) -> None:
        for s in self.totals:
            self.line(f"{s.name}_total = {self._reduce_block(s, 'total')};")
        if self.totals:
            self._store_parts(block)

    def _store_parts(self, block: str) -> None:
        self.line("if (threadIdx.x == 0 && threadIdx.y == 0) {")
        self.depth += 1
        for s in self.totals:
            self.line(f"{s.name}_parts[{block}] = {s.name}_total;")
        self.close()

    def _reduce_block(self, s: Reduce, kind: str) -> str:
        return f"reduce_block({s.name}_{kind}, {COMBINE[s.op]}(), {self._shared(s, 32)})"

    def _reduced(self, s: Reduce, function: str, part: str) -> None:
        """The result of a reduction, known to all threads that took part."""
        extent = THREADS if function == "reduce_column" else 32
        text = f"{function}({part}, {COMBINE[s.op]}(), {self._shared(s, extent)})"
        kind = self.register(s.dtype)
        cast = "" if kind in (self.wide(s), "bool") else f"({kind})"
        self.line(f"const {kind} {s.name} = {cast}{text};")

    def _shared(self, s: Reduce, extent: int) -> str:
        """The shared memory that a reduction uses, by its type."""
        kind = self.wide(s)
        name = f"shared_{kind.removesuffix('_t')}"
        extent = max(extent, self.shared.get(kind, ("", "", 0))[2])
        self.shared[kind] = kind, name, extent
        return name

    # --- statements -------------------------------------------------------------------------------

    def expression(self, s: Apply, operands: list[str]) -> str:
        if s.source in INTEGERS and s.op in WRAPPING:
            return f"lz_{s.op}_{INTEGERS[s.source]}({', '.join(operands)})"
        return expression(s.op, operands, s.dtype, s.source)

    def define(self, name: str, dtype: str, text: str, at: Point) -> None:
        super().define(name, dtype, _bare(text), at)

    def refuse(self, condition: str) -> None:
        self.line(f"if ({_bare(condition)}) atomicOr(refused, 1);")


def _live(statements: list[Statement]) -> list[Statement]:
    """Those of some statements that store, reduce or refuse something, and what they need."""
    found: list[Statement] = []
    needed: set = set()
    for s in reversed(statements):
        if isinstance(s, (Store, Reduce)) or refuses(s) or s.name in needed:
            found.append(s)
            needed |= used([s])
    return found[::-1]


def _is_wide(kernel: Kernel) -> bool:
    """Whether indices need 64 bits."""
    spans = [
        sum(abs(k) * (n - 1) for k, n in zip(p.strides, kernel.shape))
        + sum(abs(r.stride) * r.extent for r in p.reach)
        for p in kernel.params
    ]
    return max([math.prod(kernel.shape), *spans]) >= INT_LIMIT


def _bare(text: str) -> str:
    """An expression without the parentheses around all of it."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and i < len(text) - 1:
            return text
    return text[1:-1] if text.startswith("(") else text
