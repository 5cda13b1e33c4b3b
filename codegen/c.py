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

    map        nothing is reduced: the innermost axis is the vector loop
    rows       the innermost axis is reduced: a vector loop along the row
    all        everything is reduced: as rows, with the loop itself shared out
    columns    the innermost axis is kept: blocks of columns are the vector loop, rows run outside
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from .cstyle import C_TYPES, REDUCTIONS, REFUSALS, expression, number
from .loops import Apply, Kernel, Load, Number, Operand, Param, Reduce, Stage, Statement, Store

COLUMNS = 256  # columns in a block: their accumulators stay in the first-level cache
CHUNK = 2048  # elements of a row that single-precision lanes add up before they go into a double
PARTIALS = 32  # partial results that a share may leave (runtime/driver.c)
WIDE = {"float32": "double", "float64": "double", "int64": "int64_t", "int32": "int64_t"}


@dataclass(frozen=True)
class Axis:
    """One loop: its extent, and the stride of every parameter along it, in elements."""

    extent: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class CKernel:
    """text: the C function, called `name`. arrays, numbers: how many of each `p` holds. table:
    extents and strides for `n`. extent: of the outermost row axis, which may be shared out. work:
    points of the whole nest. partials: numbers of 8 bytes that a share leaves; 0 without an end."""

    name: str
    text: str
    arrays: int
    numbers: int
    table: tuple[int, ...]
    extent: int
    work: int
    partials: int


def render(kernel: Kernel) -> CKernel:
    """The C text of a kernel."""
    return _Writer(kernel).write()


def coalesced(kernel: Kernel, axes: tuple[int, ...]) -> list[Axis]:
    """The loops over some of a kernel's axes: extents of 1 dropped, what lies together merged."""
    found: list[Axis] = []
    for i in axes:
        if kernel.shape[i] == 1:
            continue
        axis = Axis(kernel.shape[i], tuple(p.strides[i] for p in kernel.params))
        if found:
            outer = found[-1]
            inner = tuple(k * axis.extent for k in axis.strides)
            if outer.strides == inner:
                found[-1] = Axis(outer.extent * axis.extent, axis.strides)
                continue
        found.append(axis)
    return found


class _Writer:
    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.rows = coalesced(kernel, kernel.kept)
        self.loops = coalesced(kernel, kernel.axes)
        if kernel.axes and not self.loops:
            self.loops = [Axis(1, (0,) * len(kernel.params))]
        last = max((i for i in range(len(kernel.shape)) if kernel.shape[i] != 1), default=-1)
        self.columns = bool(kernel.axes) and last in kernel.kept
        if not self.rows:
            self.rows = [Axis(1, (0,) * len(kernel.params))]
        self.table: list[int] = []
        self.entries: dict[tuple, str] = {}
        self.lines: list[str] = []
        self.depth = 1
        self.dtype: dict[str, str] = {}
        self.row_values: set[str] = set()
        for stage in kernel.stages:
            for s in stage.statements:
                if isinstance(s, Store):
                    continue
                self.dtype[s.name] = s.param.dtype if isinstance(s, Load) else s.dtype
                if isinstance(s, Reduce) or (kernel.axes and not stage.loop and not stage.end):
                    self.row_values.add(s.name)
        self.totals = kernel.totals
        self.finishing = [stage for stage in kernel.stages if stage.end]
        self.running = [stage for stage in kernel.stages if not stage.end]
        along = [stage for stage in kernel.stages if stage.loop]
        self.whole = False
        if self.rows[0].extent == 1 and len(along) == 1 and not (self.columns or self.totals):
            reductions = [s for s in along[0].statements if isinstance(s, Reduce)]
            self.whole = 0 < len(reductions) <= PARTIALS
        if self.whole:
            self.totals = reductions
            self.finishing = [stage for stage in kernel.stages if not stage.loop]
            self.running = kernel.stages[: kernel.stages.index(along[0]) + 1]
        self.row_values -= {s.name for s in self.totals}
        self.at_end = False

    # --- text -------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def extent(self, axis: Axis) -> str:
        """The extent of a loop, as an entry of the table."""
        return self._entry((id(axis),), axis.extent)

    def stride(self, axis: Axis, param: int) -> str:
        """The stride of a parameter along a loop, as an entry of the table."""
        return self._entry((id(axis), param), axis.strides[param])

    def _entry(self, key: tuple, value: int) -> str:
        if key not in self.entries:
            self.entries[key] = f"n[{len(self.table)}]"
            self.table.append(value)
        return self.entries[key]

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
                value = f"{s.name}n ? NAN : {s.name}w" if REDUCTIONS[s.op].nan else f"{s.name}w"
            self.line(f"(({self.slot(s)} *)t)[{i}] = {value};")
        self.line("return bad;" if self.refuses(k.statements()) else "return 0;")
        body = "\n".join(self.lines)
        end = self.end()
        name = "k" + hashlib.sha256((body + end).encode()).hexdigest()[:16]
        head = f"int {name}(char *const *p, const int64_t *n, int64_t lo, int64_t hi, void *t)"
        work = 1
        for extent in k.shape:
            work *= extent
        extent = (self.loops if self.whole else self.rows)[0].extent
        text = f"{head}\n{{\n{body}\n}}\n"
        if end:
            head = (
                f"void {name}_end(char *const *p, const int64_t *n, const void *t, int64_t shares)"
            )
            text += f"{head}\n{{\n{end}\n}}\n"
        table, arrays, numbers = tuple(self.table), len(k.arrays), len(k.numbers)
        return CKernel(name, text, arrays, numbers, table, extent, work, len(self.totals))

    def arguments(self, stages: list[Stage]) -> None:
        """Names for what `p` holds, as far as some stages use it."""
        used = [s for stage in stages for s in stage.statements]
        params = {s.param for s in used if isinstance(s, (Load, Store))}
        operands = {o for s in used if isinstance(s, Apply) for o in s.operands}
        operands |= {s.operand for s in used if isinstance(s, (Reduce, Store))}
        arrays = self.kernel.arrays
        for i, p in enumerate(arrays):
            const = "" if p.out else "const "
            kind = C_TYPES[p.dtype]
            if p in params:
                self.line(f"{const}{kind} *{p.name} = ({const}{kind} *)p[{i}];")
        for p in self.kernel.params[len(arrays) :]:
            if p in params:
                self.line(f"const int64_t {p.name} = 0;")
        for j, s in enumerate(self.kernel.numbers):
            if s in operands:
                self.line(f"const double {s} = *(const double *)p[{len(arrays) + j}];")

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
            self.statements(stage.statements, None, "")
        return "\n".join(self.lines)

    def gather(self, s: Reduce, into: str, value: str) -> str:
        """Takes one value into a result; a nan stays."""
        rule = REDUCTIONS[s.op]
        if not rule.nan:
            return rule.step.format(into, value) + ";"
        sign = ">" if rule.clause == "max" else "<"
        return f"{into} = {value} {sign} {into} || {value} != {value} ? {value} : {into};"

    # --- shapes of a nest -------------------------------------------------------------------------

    def map(self) -> None:
        *outer, inner = self.rows
        names = self.outer_loops(outer, "i", shared=True)
        first = "lo" if not outer else "0"
        last = "hi" if not outer else self.extent(inner)
        self.advance(outer, names, "q")
        self.line("#pragma omp simd" + self.guard(self.kernel.statements()))
        self.line(f"for (int64_t j = {first}; j < {last}; j++) {{")
        self.depth += 1
        suffix = "q" if outer else ""
        for stage in self.kernel.stages:
            self.statements(stage.statements, inner, suffix)
        self.close(1 + len(outer))

    def over_rows(self) -> None:
        names = self.outer_loops(self.rows, "i", shared=True)
        self.advance(self.rows, names, "r")
        for stage in self.kernel.stages:
            if stage.loop:
                self.row_loop(stage)
            elif not stage.end:
                self.statements(stage.statements, None, "r")
        self.close(len(self.rows))

    def over_all(self) -> None:
        """One loop over everything, which is shared out; what follows it belongs to the end."""
        *before, along = self.running
        for stage in before:
            self.statements(stage.statements, None, "")
        self.row_loop(along)

    def row_loop(self, stage: Stage) -> None:
        """A stage along a row: partial results of the vector lanes, gathered in wider ones."""
        reductions = [s for s in stage.statements if isinstance(s, Reduce)]
        for r in reductions:
            self.line(f"{self.wide(r)} {r.name}w = {self.start(r)};")
            if REDUCTIONS[r.op].nan:
                self.line(f"int {r.name}n = 0;")
        *outer, inner = self.loops
        base = "" if self.whole else "r"
        names = self.outer_loops(outer, "a", shared=self.whole)
        self.advance(outer, names, "q", base, stage)
        suffix = "q" if outer else base
        chunked = any(s.op == "sum" and s.dtype == "float32" for s in reductions)
        first, last = ("lo", "hi") if self.whole and not outer else ("0", self.extent(inner))
        if chunked:
            self.line(f"for (int64_t c = {first}; c < {last}; c += {CHUNK}) {{")
            self.depth += 1
            self.line(f"const int64_t e = c + {CHUNK} < {last} ? c + {CHUNK} : {last};")
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
                if REDUCTIONS[s.op].nan:
                    self.line(f"{s.name}n |= {value} != {value};")
            else:
                self.statements([s], inner, suffix)
        self.close(1)
        for r in reductions:
            self.line(REDUCTIONS[r.op].step.format(f"{r.name}w", f"{r.name}p") + ";")
        self.close(int(chunked) + len(outer))
        if self.whole:
            return
        for r in reductions:
            kind = C_TYPES[r.dtype]
            value = f"({kind}){r.name}w"
            if REDUCTIONS[r.op].nan:
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
            self.line(f"{C_TYPES[self.dtype[name]]} {name}[{COLUMNS}];")
        for stage in self.kernel.stages:
            if stage.loop:
                self.column_loop(stage, inner, suffix)
            if stage.loop or stage.end:
                continue
            if not any(isinstance(s, Reduce) for s in stage.statements):
                self.line("#pragma omp simd" + self.guard(stage.statements))
            self.line("for (int64_t j = 0; j < m; j++) {")
            self.depth += 1
            self.statements(stage.statements, inner, suffix, block=True)
            self.close(1)
        self.close(1 + len(outer))

    def column_loop(self, stage: Stage, inner: Axis, base: str) -> None:
        """A stage over all rows for a block of columns."""
        reductions = [s for s in stage.statements if isinstance(s, Reduce)]
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
                self.statements([s], inner, "q", block=True)
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
        used = {s.param for t in stages for s in t.statements if isinstance(s, (Load, Store))}
        for i, p in enumerate(self.kernel.params):
            if p not in used:
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

    def close(self, count: int) -> None:
        for _ in range(count):
            self.depth -= 1
            self.line("}")

    def statements(
        self, statements: list[Statement], inner: Axis | None, suffix: str, block: bool = False
    ) -> None:
        """Loads, operations and stores at one point: (suffix) pointers, index j along `inner`.

        block: j counts within a block of columns, and row values are arrays.
        """
        for s in statements:
            if isinstance(s, Load):
                place = self.element(s.param, inner, suffix, block)
                self.define(s.name, s.param.dtype, place, block)
            elif isinstance(s, Store):
                place = self.element(s.param, inner, suffix, block)
                self.line(f"{place} = {self.operand(s.operand, s.param.dtype)};")
            elif isinstance(s, Reduce):
                self.line(self.gather(s, f"{s.name}t", self.operand(s.operand, s.dtype)))
            elif isinstance(s, Apply):
                operands = [
                    self.operand(o, "bool" if s.op == "where" and k == 0 else s.source)
                    for k, o in enumerate(s.operands)
                ]
                if s.op in REFUSALS:
                    self.line(f"bad |= {REFUSALS[s.op].format(*operands)};")
                    text = operands[0]
                else:
                    text = expression(s.op, operands, s.dtype, s.source)
                self.define(s.name, s.dtype, text, block)

    def define(self, name: str, dtype: str, text: str, block: bool) -> None:
        if block and name in self.row_values:
            self.line(f"{name}[j] = {text};")
        else:
            kind = "int" if dtype == "bool" else C_TYPES[dtype]
            self.line(f"const {kind} {name} = {text};")

    def element(self, param: Param, inner: Axis | None, suffix: str, block: bool) -> str:
        at = self.kernel.params.index(param)
        index = "(b + j)" if block else "j"
        if param.counted:
            return self.counted(param, inner, at, suffix, index)
        if inner is None or inner.strides[at] == 0:
            return f"*{param.name}{suffix}"
        if inner.strides[at] == 1:
            return f"{param.name}{suffix}[{index.strip('()')}]"
        return f"{param.name}{suffix}[{index} * {self.stride(inner, at)}]"

    def counted(self, param: Param, inner: Axis | None, at: int, suffix: str, index: str) -> str:
        """An element that is its own offset."""
        start = f"{param.name}{suffix}"
        if inner is None or inner.strides[at] == 0:
            return start
        step = "" if inner.strides[at] == 1 else f" * {self.stride(inner, at)}"
        return f"({start} + {index}{step})"

    def operand(self, o: Operand, dtype: str) -> str:
        if isinstance(o, str):
            block = self.columns and not self.at_end and o in self.row_values
            return f"{o}[j]" if block else o
        if isinstance(o, Number):
            return f"(({C_TYPES[dtype]}){o})"
        return number(o, dtype)

    def refuses(self, statements: Iterable[Statement]) -> bool:
        """Whether some statement may find an operand out of its range."""
        return any(isinstance(s, Apply) and s.op in REFUSALS for s in statements)

    def guard(self, statements: Iterable[Statement]) -> str:
        """The clause of a vector loop that gathers refusals."""
        return " reduction(|:bad)" if self.refuses(statements) else ""

    def clause(self, s: Reduce) -> str:
        rule = REDUCTIONS[s.op]
        nan = f" reduction(|:{s.name}n)" if rule.nan else ""
        return f" reduction({rule.clause}:{s.name}p){nan}"

    def start(self, s: Reduce) -> str:
        return REDUCTIONS[s.op].start

    def slot(self, s: Reduce) -> str:
        """The type that a share's result over its rows has: 8 bytes."""
        return "double" if s.dtype in ("float32", "float64") else "int64_t"

    def wide(self, s: Reduce) -> str:
        """The type that partial results are gathered in."""
        return WIDE.get(s.dtype, C_TYPES[s.dtype]) if s.op in ("sum", "prod") else C_TYPES[s.dtype]
