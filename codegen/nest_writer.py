"""What the writers of C and of CUDA C have in common.

    stage of the loop IR       x0v = x0;  v0 = exp(x0v);  y0 = v0
    text in either language    const float x0v = x0[j];
                               const float v0 = lz_exp_f32(x0v);
                               y0[j] = v0;

Shared are the loops that are left once a kernel's axes are coalesced, the shape of the nest, the
table of extents and strides, the text of every statement, and how reductions start and gather. A
language adds how loops run, how an element is addressed and what becomes of a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .cstyle import (
    C_TYPES,
    HALVES,
    REDUCTIONS,
    SMALL,
    SUFFIX,
    computed,
    expression,
    number,
    refusal,
)
from .loops import (
    Apply,
    Kernel,
    Load,
    Number,
    Operand,
    Param,
    Pick,
    Reduce,
    Stage,
    Statement,
    Store,
)

PARTIALS = 32  # partial results that a share may leave (runtime/driver/pool.c: MOST_PARTIALS)
WIDE = {"float32": "double", "float64": "double", "int64": "int64_t", "int32": "int64_t"}


@dataclass(frozen=True)
class Axis:
    """One loop: its extent, and the stride of every parameter along it, in elements."""

    extent: int
    strides: tuple[int, ...]


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


class NestWriter:
    """Writes the loops of one kernel.

    rows, loops: over the kept and the reduced axes, one at least where there are such. columns:
    whether the innermost axis is kept. whole: everything is reduced, in one loop that can be shared
    out. totals: the reductions that are finished by a second function, from `finishing`; `running`
    are the stages before. first: for every parameter the number of the one it moves like.
    """

    truth = "int"  # the type of a truth value in a register
    index = "int64_t"  # the type of a place along an axis

    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        number = {p.name: i for i, p in enumerate(kernel.params)}
        self.first = [number[p.twin or p.name] for p in kernel.params]
        single = Axis(1, (0,) * len(kernel.params))
        self.rows = coalesced(kernel, kernel.kept) or [single]
        self.loops = coalesced(kernel, kernel.axes)
        if kernel.axes and not self.loops:
            self.loops = [single]
        last = max((i for i in range(len(kernel.shape)) if kernel.shape[i] != 1), default=-1)
        self.columns = bool(kernel.axes) and last in kernel.kept
        self.table: list[int] = []
        self.entries: dict[tuple, str] = {}
        self.lines: list[str] = []
        self.depth = 1
        self.totals = kernel.totals
        self.finishing = [stage for stage in kernel.stages if stage.end]
        self.running = [stage for stage in kernel.stages if not stage.end]
        along = [stage for stage in kernel.stages if stage.loop]
        self.whole = False
        if self.rows[0].extent == 1 and len(along) == 1 and not (self.columns or self.totals):
            reductions = reductions_of(along[0])
            self.whole = 0 < len(reductions) <= PARTIALS
        if self.whole:
            self.totals = reductions
            self.finishing = [stage for stage in kernel.stages if not stage.loop]
            self.running = kernel.stages[: kernel.stages.index(along[0]) + 1]

    # --- text -------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def close(self, count: int = 1) -> None:
        """Ends the innermost blocks."""
        for _ in range(count):
            self.depth -= 1
            self.line("}")

    def extent(self, axis: Axis) -> str:
        """The extent of a loop, as an entry of the table."""
        return self._entry((id(axis),), axis.extent)

    def stride(self, axis: Axis, param: int) -> str:
        """The stride of a parameter along a loop, as an entry of the table."""
        return self._entry((id(axis), self.first[param]), axis.strides[param])

    def _entry(self, key: tuple, value: int) -> str:
        if key not in self.entries:
            self.entries[key] = self.entry(key)
            self.table.append(value)
        return self.entries[key]

    def entry(self, key: tuple) -> str:
        """What the next entry of the table is called: (axis,) its extent, (axis, param) a stride;
        axes by their id. (param's name, k, "extent", "stride" or "start"): of axis k of
        its reach."""
        raise NotImplementedError

    # --- statements -------------------------------------------------------------------------------

    def statements(self, statements: Iterable[Statement], at: Any) -> None:
        """Loads, operations, stores and totals at one point, `at`, whatever that is."""
        for s in statements:
            if isinstance(s, Load):
                self.define(s.name, s.param.dtype, self.loaded(s.param, at), at)
            elif isinstance(s, Pick):
                self.pick(s, at)
            elif isinstance(s, Store):
                value = self.operand(s.operand, s.param.dtype)
                if s.param.dtype in HALVES:
                    value = f"lz_narrow_{HALVES[s.param.dtype]}({value})"
                self.line(f"{self.element(s.param, at)} = {value};")
            elif isinstance(s, Reduce):
                self.line(self.gather(s, self.gathered(s), self.operand(s.operand, s.dtype)))
            elif isinstance(s, Apply):
                operands = [
                    self.operand(o, "bool" if s.op == "where" and k == 0 else s.source)
                    for k, o in enumerate(s.operands)
                ]
                refused = refusal(s.op, operands, s.source)
                if refused is not None:
                    self.refuse(refused)
                self.define(s.name, s.dtype, self.expression(s, operands), at)

    def pick(self, s: Pick, at: Any) -> None:
        """A load from where indices say; from the first element where one is refused."""
        if s.outside is not None:
            self.pick_inside(s, at)
            return
        places, steps = [], []
        how = "wrapped" if s.wraps else "place"
        for k, (o, reach) in enumerate(zip(s.indices, s.param.reach, strict=True)):
            extent = self._entry((s.param.name, k, "extent"), reach.extent)
            stride = self._entry((s.param.name, k, "stride"), reach.stride)
            places.append(f"{s.name}i{k}")
            text = f"({self.index})lz_{how}({self.operand(o, 'int64')}, {extent})"
            self.line(f"const {self.index} {places[k]} = {text};")
            steps.append(f"({places[k]} < 0 ? 0 : {places[k]}) * {stride}")
        self.refuse("(" + " || ".join(f"{place} < 0" for place in places) + ")")
        self.define(s.name, s.param.dtype, self.loaded(s.param, at, " + ".join(steps)), at)

    def pick_inside(self, s: Pick, at: Any) -> None:
        """A load of what is inside of the reach, and another value elsewhere."""
        inside, steps = [], []
        for k in range(len(s.indices)):
            place = self.place(s, k)
            inside.append(self.is_inside(s, k))
            steps.append(self.step(s, k, place))
        element = self.loaded(s.param, at, " + ".join(steps))
        outside = self.operand(s.outside, s.param.dtype)
        text = f"({' && '.join(inside)} ? {element} : {outside})"
        self.define(s.name, s.param.dtype, text, at)

    def place(self, s: Pick, k: int) -> str:
        """The place along axis `k` of the reach, by its name."""
        text = self.operand(s.indices[k], "int64") + self.shift(s, k)
        self.line(f"const {self.index} {s.name}i{k} = {text};")
        return f"{s.name}i{k}"

    def shift(self, s: Pick, k: int) -> str:
        """What is added to an index, as the end of a text."""
        n, start = s.offsets[k] if s.offsets else 0, s.param.reach[k].start
        text = f" {'-' if n < 0 else '+'} {abs(n)}" if n else ""
        return text if start is None else f"{text} - {self._reach(s, k, 'start', start)}"

    def is_inside(self, s: Pick, k: int) -> str:
        """Whether the place along axis `k` is inside of the reach."""
        extent = self._reach(s, k, "extent", s.param.reach[k].extent)
        return f"{s.name}i{k} >= 0 && {s.name}i{k} < {extent}"

    def step(self, s: Pick, k: int, place: str) -> str:
        """The elements from the beginning of the reach to a place along axis `k`."""
        stride = s.param.reach[k].stride
        return place if stride == 1 else f"{place} * {self._reach(s, k, 'stride', stride)}"

    def _reach(self, s: Pick, k: int, what: str, value: int) -> str:
        return self._entry((s.param.twin or s.param.name, k, what), value)

    def loaded(self, param: Param, at: Any, further: str = "") -> str:
        """The value of an element, as it is computed with."""
        text = self.element(param, at, further)
        return f"lz_widen_{HALVES[param.dtype]}({text})" if param.dtype in HALVES else text

    def expression(self, s: Apply, operands: list[str]) -> str:
        return expression(s.op, operands, s.dtype, s.source)

    def define(self, name: str, dtype: str, text: str, at: Any) -> None:
        """A named value."""
        self.line(f"const {self.register(dtype)} {name} = {text};")

    def register(self, dtype: str) -> str:
        """The type of a value of a dtype that is not in memory."""
        return self.truth if dtype == "bool" else C_TYPES[computed(dtype)]

    def element(self, param: Param, at: Any, further: str = "") -> str:
        """The element of a parameter at a point, and some elements further."""
        raise NotImplementedError

    def refuse(self, condition: str) -> None:
        """What happens where an operand is out of its range."""
        raise NotImplementedError

    def gathered(self, s: Reduce) -> str:
        """The variable that a total is gathered in."""
        raise NotImplementedError

    def operand(self, o: Operand, dtype: str) -> str:
        """An operand of an operation on values of `dtype`."""
        if isinstance(o, str):
            return o
        if isinstance(o, Number):
            # Narrow integers get their type from the result, comparisons want the number itself.
            kind = "int64" if dtype in SMALL else computed(dtype)
            return f"(({C_TYPES[kind]}){o})"
        return number(o, dtype)

    def refuses(self, statements: Iterable[Statement]) -> bool:
        """Whether some statement may find an operand out of its range."""
        return any(refuses(s) for s in statements)

    # --- reductions -------------------------------------------------------------------------------

    def start(self, s: Reduce) -> str:
        start = REDUCTIONS[s.op].start
        return start if isinstance(start, str) else start[s.dtype]

    def keeps_nan(self, s: Reduce) -> bool:
        """Whether a nan among the elements is the result."""
        return REDUCTIONS[s.op].nan and s.dtype in SUFFIX

    def gather(self, s: Reduce, into: str, value: str) -> str:
        """Takes one value into a result; a nan stays."""
        rule = REDUCTIONS[s.op]
        if not self.keeps_nan(s):
            return rule.step.format(into, value) + ";"
        sign = ">" if rule.clause == "max" else "<"
        return f"{into} = {value} {sign} {into} || {value} != {value} ? {value} : {into};"

    def wide(self, s: Reduce) -> str:
        """The type that partial results are gathered in."""
        return WIDE.get(s.dtype, C_TYPES[s.dtype]) if s.op in ("sum", "prod") else C_TYPES[s.dtype]


def refuses(s: Statement) -> bool:
    """Whether a statement may find an operand out of its range."""
    if not isinstance(s, Apply):
        return isinstance(s, Pick) and s.outside is None
    return refusal(s.op, [""] * len(s.operands), s.source) is not None


def reductions_of(stage: Stage) -> list[Reduce]:
    """The reductions of a stage."""
    return [s for s in stage.statements if isinstance(s, Reduce)]


def used(statements: Iterable[Statement]) -> set[Param | str | Number]:
    """The parameters that statements load and store, and the operands they read."""
    found: set = set()
    for s in statements:
        if isinstance(s, (Load, Pick, Store)):
            found.add(s.param)
        if isinstance(s, Pick):
            found |= {*s.indices, s.outside}
        if isinstance(s, Apply):
            found |= set(s.operands)
        elif isinstance(s, (Reduce, Store)):
            found.add(s.operand)
    return found
