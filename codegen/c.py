"""C11 text of a kernel of the loop IR.

    int NAME(char *const *p, const int64_t *n, int64_t lo, int64_t hi, void *t)
    void NAME_end(char *const *p, const int64_t *n, const void *t, int64_t shares)

`p` holds the arrays and the addresses of run-time numbers, `n` the extents and strides, and
[lo, hi) is the caller's share of the outermost row axis (threads). The result is 1 where an operand
was out of its range: then what was computed is of no use. Where the rows are reduced in turn, every
share leaves its partial results in `t`, and the second function finishes from those of all shares.

The text holds no extents and no user names: kernels that differ in them only are one text, compiled
once. What is compiled in is whether the innermost stride of an array is 1, 0 or something else.

Loops that must run fast are marked `omp simd`: their iterations are independent, or reduce by the
clause. Four shapes of a nest:

    map        nothing is reduced: the innermost axis is the vector loop, or a longer one where it
               is very short
    rows       the innermost axis is reduced: a vector loop along the row
    all        everything is reduced: as rows, with the loop itself shared out
    columns    the innermost axis is kept: blocks of columns are the vector loop, rows run outside
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .cache_loops import AHEAD, CacheLoops
from .cstyle import C_TYPES, DEAR, REDUCTIONS, computed
from .loops import Apply, Kernel, Load, Operand, Param, Pick, Reduce, Stage, Statement, Store
from .nest_writer import Axis, reductions_of, used
from .split_loops import SplitLoops, longest_inside

COLUMNS = 256  # columns in a block: their accumulators stay in the first-level cache
CHUNK = 2048  # elements of a row that single-precision lanes add up before they go into a double


@dataclass(frozen=True)
class CKernel:
    """text: the C function, called `name`. arrays: how many `p` holds. numbers: dtypes. table:
    extents and strides for `n`. extent: of the outermost row axis, which may be shared out. work:
    what the whole nest does, in statements; a hundred of them take a nanosecond or so. partials:
    numbers of 8 bytes that a share leaves; 0 without an end."""

    name: str
    text: str
    arrays: int
    numbers: tuple[str, ...]
    table: tuple[int, ...]
    extent: int
    work: int
    partials: int


def points(kernel: Kernel, stage: Stage) -> int:
    """How often the statements of a stage run."""
    along = range(len(kernel.shape)) if stage.loop or not kernel.axes else kernel.kept
    return 1 if stage.end else math.prod(kernel.shape[i] for i in along)


def effort(stage: Stage) -> int:
    """How much a stage does at a point: a statement counts one, a dear operation eight."""
    return sum(8 if isinstance(s, Apply) and s.op in DEAR else 1 for s in stage.statements)


def render(kernel: Kernel) -> CKernel:
    """The C text of a kernel."""
    return _Writer(kernel).write()


@dataclass(frozen=True)
class Point:
    """Where statements run: pointers of a suffix, at index j along `inner` if there is one.

    block: j counts within a block of columns, and row values are arrays. clear: no pick is outside
    along `inner`.
    """

    inner: Axis | None
    suffix: str
    block: bool = False
    clear: bool = False


class _Writer(SplitLoops, CacheLoops):
    def __init__(self, kernel: Kernel):
        super().__init__(kernel)
        if not kernel.axes:
            self.rows = longest_inside(self.rows)
        self.dtype: dict[str, str] = {}
        self.row_values: set[str] = set()
        for stage in kernel.stages:
            for s in stage.statements:
                if isinstance(s, Store):
                    continue
                self.dtype[s.name] = s.param.dtype if isinstance(s, (Load, Pick)) else s.dtype
                if isinstance(s, Reduce) or (kernel.axes and not stage.loop and not stage.end):
                    self.row_values.add(s.name)
        self.row_values -= {s.name for s in self.totals}
        self.at_end = False

    # --- text -------------------------------------------------------------------------------------

    def entry(self, key: tuple) -> str:
        return f"n[{len(self.table)}]"

    def write(self) -> CKernel:
        k = self.kernel
        self.arguments(self.running)
        for s in [] if self.whole else self.totals:
            self.line(f"{self.slot(s)} {s.name}t = {self.start(s)};")
        if self.refuses(k.statements()):
            self.line("int bad = 0;")
        if not k.axes:
            self.map()
        elif self.whole:
            self.over_all()
        elif self.columns:
            self.over_columns()
        else:
            self.over_rows()
        for i, s in enumerate(self.totals):
            value = f"{s.name}t"
            if self.whole:
                value = f"{s.name}n ? NAN : {s.name}w" if self.keeps_nan(s) else f"{s.name}w"
            self.line(f"(({self.slot(s)} *)t)[{i}] = {value};")
        self.line("return bad;" if self.refuses(k.statements()) else "return 0;")
        body = "\n".join(self.lines)
        end = self.end()
        name = "k" + hashlib.sha256((body + end).encode()).hexdigest()[:16]
        head = f"int {name}(char *const *p, const int64_t *n, int64_t lo, int64_t hi, void *t)"
        work = sum(effort(stage) * points(k, stage) for stage in k.stages)
        extent = (self.loops if self.whole else self.rows)[0].extent
        text = f"{head}\n{{\n{body}\n}}\n"
        if end:
            head = (
                f"void {name}_end(char *const *p, const int64_t *n, const void *t, int64_t shares)"
            )
            text += f"{head}\n{{\n{end}\n}}\n"
        table, arrays, numbers = tuple(self.table), len(k.arrays), tuple(s.dtype for s in k.numbers)
        return CKernel(name, text, arrays, numbers, table, extent, work, len(self.totals))

    def arguments(self, stages: list[Stage]) -> None:
        """Names for what `p` holds, as far as some stages use it."""
        found = used(s for stage in stages for s in stage.statements)
        arrays = self.kernel.arrays
        for i, p in enumerate(arrays):
            const = "" if p.out else "const "
            kind = C_TYPES[p.dtype]
            if p in found:
                self.line(f"{const}{kind} *{p.name} = ({const}{kind} *)p[{i}];")
        for p in self.kernel.params[len(arrays) :]:
            if p in found:
                self.line(f"const int64_t {p.name} = 0;")
        for j, s in enumerate(self.kernel.numbers):
            if s in found:
                kind = C_TYPES[s.dtype]
                self.line(f"const {kind} {s} = *(const {kind} *)p[{len(arrays) + j}];")

    def end(self) -> str:
        """The body of the function that finishes, or nothing."""
        if not self.totals:
            return ""
        self.lines, self.at_end, stages = [], True, self.finishing
        self.arguments(stages)
        for s in self.totals:
            self.line(f"{self.slot(s)} {s.name}t = {self.start(s)};")
        self.line("for (int64_t k = 0; k < shares; k++) {")
        self.depth += 1
        for i, s in enumerate(self.totals):
            kind = self.slot(s)
            self.line(
                f"const {kind} {s.name}k = ((const {kind} *)t)[k * {len(self.totals)} + {i}];"
            )
            self.line(self.gather(s, f"{s.name}t", f"{s.name}k"))
        self.close(1)
        for s in self.totals:
            self.line(f"const {C_TYPES[s.dtype]} {s.name} = ({C_TYPES[s.dtype]}){s.name}t;")
        if self.refuses(s for stage in stages for s in stage.statements):
            self.line("int bad = 0;")
        for stage in stages:
            self.statements(stage.statements, Point(None, ""))
        return "\n".join(self.lines)

    # --- shapes of a nest -------------------------------------------------------------------------

    def map(self) -> None:
        *outer, inner = self.rows
        turned = self.turned(outer, inner)
        if turned is None:
            names = self.outer_loops(outer, "i", shared=True)
        else:
            names = self.tiles(outer, turned, inner)
        first = "lo" if not outer else "0"
        last = "hi" if not outer else self.extent(inner)
        if turned is not None:
            first, last = "g", "h"
        self.advance(outer, names, "q")
        at = Point(inner, "q" if outer else "")
        first, last = self.edges(at, first, last)
        self.row_pointers(at)
        self.map_loop(replace(at, clear=True), first, last)
        self.close(len(outer) + (0 if turned is None else 2))

    def map_loop(self, at: Point, first: str, last: str) -> None:
        """The vector loop of a map; where picks may be outside, a plain one."""
        if at.clear:
            self.line("#pragma omp simd" + self.guard(self.kernel.statements()))
        self.line(f"for (int64_t j = {first}; j < {last}; j++) {{")
        self.depth += 1
        for stage in self.kernel.stages:
            self.statements(stage.statements, at)
        self.close()

    def over_rows(self) -> None:
        names = self.outer_loops(self.rows, "i", shared=True)
        self.advance(self.rows, names, "r")
        for stage in self.kernel.stages:
            if stage.loop:
                self.row_loop(stage)
            elif not stage.end:
                self.statements(stage.statements, Point(None, "r"))
        self.close(len(self.rows))

    def over_all(self) -> None:
        """One loop over everything, which is shared out; what follows it belongs to the end."""
        *before, along = self.running
        for stage in before:
            self.statements(stage.statements, Point(None, ""))
        self.row_loop(along)

    def row_loop(self, stage: Stage) -> None:
        """A stage along a row: partial results of the vector lanes, gathered in wider ones."""
        reductions = reductions_of(stage)
        for r in reductions:
            self.line(f"{self.wide(r)} {r.name}w = {self.start(r)};")
            if self.keeps_nan(r):
                self.line(f"int {r.name}n = 0;")
        *outer, inner = self.loops
        base = "" if self.whole else "r"
        names = self.outer_loops(outer, "a", shared=self.whole)
        self.advance(outer, names, "q", base, stage)
        suffix = "q" if outer else base
        next_row = [] if outer else self.next_row(stage, inner)
        chunked = any(s.op == "sum" and s.dtype == "float32" for s in reductions) or bool(next_row)
        first, last = ("lo", "hi") if self.whole and not outer else ("0", self.extent(inner))
        if chunked:
            length = AHEAD if next_row else CHUNK
            self.line(f"for (int64_t c = {first}; c < {last}; c += {length}) {{")
            self.depth += 1
            self.line(f"const int64_t e = c + {length} < {last} ? c + {length} : {last};")
            self.fetch(next_row)
        for r in reductions:
            self.line(f"{C_TYPES[r.dtype]} {r.name}p = {self.start(r)};")
        clauses = "".join(self.clause(s) for s in reductions)
        self.line(f"#pragma omp simd{clauses}{self.guard(stage.statements)}")
        bounds = ("c", "e") if chunked else (first, last)
        self.line(f"for (int64_t j = {bounds[0]}; j < {bounds[1]}; j++) {{")
        self.depth += 1
        for s in stage.statements:
            if isinstance(s, Reduce):
                value = self.operand(s.operand, s.dtype)
                self.line(REDUCTIONS[s.op].step.format(f"{s.name}p", value) + ";")
                if self.keeps_nan(s):
                    self.line(f"{s.name}n |= {value} != {value};")
            else:
                self.statements([s], Point(inner, suffix))
        self.close(1)
        for r in reductions:
            self.line(REDUCTIONS[r.op].step.format(f"{r.name}w", f"{r.name}p") + ";")
        self.close(int(chunked) + len(outer))
        if self.whole:
            return
        for r in reductions:
            kind = C_TYPES[r.dtype]
            value = f"({kind}){r.name}w"
            if self.keeps_nan(r):
                value = f"{r.name}n ? ({kind})NAN : {value}"
            self.line(f"const {kind} {r.name} = {value};")

    def over_columns(self) -> None:
        *outer, inner = self.rows
        names = self.outer_loops(outer, "i", shared=True)
        self.advance(outer, names, "r")
        suffix = "r" if outer else ""
        first = "lo" if not outer else "0"
        last = "hi" if not outer else self.extent(inner)
        self.line(f"for (int64_t b = {first}; b < {last}; b += {COLUMNS}) {{")
        self.depth += 1
        self.line(f"const int64_t m = {last} - b < {COLUMNS} ? {last} - b : {COLUMNS};")
        for name in sorted(self.row_values, key=lambda v: (len(v), v)):
            self.line(f"{C_TYPES[computed(self.dtype[name])]} {name}[{COLUMNS}];")
        for stage in self.kernel.stages:
            if stage.loop:
                self.column_loop(stage, inner, suffix)
            if stage.loop or stage.end:
                continue
            if not any(isinstance(s, Reduce) for s in stage.statements):
                self.line("#pragma omp simd" + self.guard(stage.statements))
            self.line("for (int64_t j = 0; j < m; j++) {")
            self.depth += 1
            self.statements(stage.statements, Point(inner, suffix, block=True))
            self.close(1)
        self.close(1 + len(outer))

    def column_loop(self, stage: Stage, inner: Axis, base: str) -> None:
        """A stage over all rows for a block of columns."""
        reductions = reductions_of(stage)
        for r in reductions:
            self.line(f"{self.wide(r)} {r.name}w[{COLUMNS}];")
            self.line(f"for (int64_t j = 0; j < m; j++) {r.name}w[j] = {self.start(r)};")
        names = self.outer_loops(self.loops, "a", shared=False)
        self.advance(self.loops, names, "q", base, stage)
        self.line("#pragma omp simd" + self.guard(stage.statements))
        self.line("for (int64_t j = 0; j < m; j++) {")
        self.depth += 1
        for s in stage.statements:
            if isinstance(s, Reduce):
                value, into = self.operand(s.operand, s.dtype), f"{s.name}w[j]"
                self.line(self.gather(s, into, value))
            else:
                self.statements([s], Point(inner, "q", block=True))
        self.close(1 + len(self.loops))
        for r in reductions:
            kind = C_TYPES[r.dtype]
            self.line(f"for (int64_t j = 0; j < m; j++) {r.name}[j] = ({kind}){r.name}w[j];")

    # --- pieces -----------------------------------------------------------------------------------

    def outer_loops(self, axes: list[Axis], letter: str, shared: bool) -> list[str]:
        """Opens a loop an axis; the first is the caller's share. Returns the index names."""
        names = []
        for d, axis in enumerate(axes):
            index = f"{letter}{d}"
            first, last = ("lo", "hi") if shared and d == 0 else ("0", self.extent(axis))
            self.line(f"for (int64_t {index} = {first}; {index} < {last}; {index}++) {{")
            self.depth += 1
            names.append(index)
        return names

    def advance(
        self,
        axes: list[Axis],
        names: list[str],
        suffix: str,
        base: str = "",
        stage: Stage | None = None,
    ) -> None:
        """Pointers to where the loops around have arrived: of a stage's parameters, or all."""
        if not axes:
            return
        stages = self.running if stage is None else [stage]
        found = used(s for t in stages for s in t.statements)
        for i, p in enumerate(self.kernel.params):
            if p not in found:
                continue
            steps = [
                f" + {index} * {self.stride(axis, i)}"
                for axis, index in zip(axes, names)
                if axis.strides[i]
            ]
            kind = f"{'' if p.out else 'const '}{C_TYPES[p.dtype]} *"
            if p.counted:
                kind = "const int64_t "
            self.line(f"{kind}{p.name}{suffix} = {p.name}{base}{''.join(steps)};")

    def define(self, name: str, dtype: str, text: str, at: Point) -> None:
        if at.block and name in self.row_values:
            self.line(f"{name}[j] = {text};")
        else:
            super().define(name, dtype, text, at)

    def element(self, param: Param, at: Point, further: str = "") -> str:
        k = self.kernel.params.index(param)
        inner, suffix = at.inner, at.suffix
        index = "(b + j)" if at.block else "j"
        if param.counted:
            return self.counted(param, at, index)
        more = f" + {further}" if further else ""
        if inner is None or inner.strides[k] == 0:
            return f"{param.name}{suffix}[{further}]" if further else f"*{param.name}{suffix}"
        if inner.strides[k] == 1:
            return f"{param.name}{suffix}[{index.strip('()')}{more}]"
        return f"{param.name}{suffix}[{index} * {self.stride(inner, k)}{more}]"

    def counted(self, param: Param, at: Point, index: str) -> str:
        """An element that is its own offset."""
        k = self.kernel.params.index(param)
        start = f"{param.name}{at.suffix}"
        if at.inner is None or at.inner.strides[k] == 0:
            return start
        step = "" if at.inner.strides[k] == 1 else f" * {self.stride(at.inner, k)}"
        return f"({start} + {index}{step})"

    def operand(self, o: Operand, dtype: str) -> str:
        if isinstance(o, str) and self.columns and not self.at_end and o in self.row_values:
            return f"{o}[j]"
        return super().operand(o, dtype)

    def refuse(self, condition: str) -> None:
        self.line(f"bad |= {condition};")

    def gathered(self, s: Reduce) -> str:
        return f"{s.name}t"

    def guard(self, statements: Iterable[Statement]) -> str:
        """The clause of a vector loop that gathers refusals."""
        return " reduction(|:bad)" if self.refuses(statements) else ""

    def clause(self, s: Reduce) -> str:
        rule = REDUCTIONS[s.op]
        nan = f" reduction(|:{s.name}n)" if self.keeps_nan(s) else ""
        return f" reduction({rule.clause}:{s.name}p){nan}"

    def slot(self, s: Reduce) -> str:
        """The type that a share's result over its rows has: 8 bytes."""
        return "double" if s.dtype in ("float32", "float64") else "int64_t"
