"""Text of CUDA C: parameters, loops, elements and packs of them, reductions.

    Load(x0) at i of a row        x0_row[i]                         one element
                                  load<width>(x0_row + i)           a pack: 16 bytes at once
                                  x0_row[i[0] * x0_stride0 + i[1]]  over two axes: an odometer

What loops there are for which shape of a nest stands in cuda_nest.py; the functions that the text
calls stand in prelude/cuda.h.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from .cstyle import C_TYPES, SMALL, cuda_expression
from .launches import Argument, Array, Fixed, Refused, Scalar
from .loops import Apply, Kernel, Load, Param, Reduce, Stage, Statement, Store
from .nest_writer import Axis, NestWriter, reductions_of, refuses, used

THREADS = 256  # in a block
LINE = 100  # columns
INT_LIMIT = 2**31 - 2**25  # an index of 32 bits may run this far and one step of the grid further

COMBINE = {"sum": "Sum", "prod": "Product", "any": "Any", "all": "All"}
COMBINE |= {"amax": "Maximum", "amax_whole": "Maximum", "amin": "Minimum", "amin_whole": "Minimum"}


@dataclass(frozen=True)
class Parts:
    """The address of the partial results of total `index`."""

    index: int


@dataclass(frozen=True)
class PartCount:
    """How many partial results a total has: one a block, or a slice of the rows."""


@dataclass(frozen=True)
class Formal:
    """A parameter of a function, and what is passed for it."""

    type: str
    name: str
    argument: Argument | Parts | PartCount


@dataclass(frozen=True)
class Shared:
    """An array in shared memory, of one or two axes."""

    type: str
    name: str
    extents: tuple[int, ...]


@dataclass
class Function:
    """What a function of a kernel does, in lines.

    shared: arrays (type, name, extents). width: elements of a pack; if more than 1 the body is a
    template over `width`, to be taken where the conditions `packs` hold. ranged: an extent, if the
    body takes elements from `first` to `last` only instead of all up to it.
    """

    suffix: str
    body: list[str]
    formals: list[Formal]
    shared: list[Shared] = field(default_factory=list)
    width: int = 1
    packs: list[str] = field(default_factory=list)
    ranged: str = ""


@dataclass(frozen=True)
class Point:
    """Where statements run: addresses of arrays (values of counted parameters), indices along the
    loops that are not in them yet, and whether elements are in packs, or in tiles."""

    base: dict[Param, str]
    indices: tuple[tuple[Axis, str], ...] = ()
    packed: bool = False
    tiled: bool = False


class CudaWriter(NestWriter):
    """shape: of the nest. inner: the axis of the innermost loop. tiled: arrays that are loaded by
    tiles, along the axis `across`. width: of packs."""

    truth = "bool"

    def __init__(self, kernel: Kernel):
        super().__init__(kernel)
        self.index = "int64_t" if _is_wide(kernel) else "int"
        self.cast = "(int64_t)" if self.index == "int64_t" else ""
        self.shape = ""
        self.inner = (self.loops or self.rows)[-1]
        self.across: Axis | None = None
        self.tiled: list[Param] = []
        self.width = 1
        self.labels: dict[int, tuple[str, str]] = {}
        self.begin()

    def begin(self) -> None:
        """Starts a function."""
        self.lines, self.table = [], []
        self.entries: dict[tuple, str] = {}
        self.shared: dict[str, Shared] = {}
        self.entry_formals: list[Formal] = []

    # --- parameters -------------------------------------------------------------------------------

    def label(self, axes: list[Axis], extent: str, stride: str) -> None:
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

    def given(self, statements: list[Statement]) -> list[Formal]:
        """Arrays, run-time numbers and the flag of refusals, as far as statements use them."""
        found = used(statements)
        formals = []
        for i, p in enumerate(self.kernel.arrays):
            if p in found:
                const = "" if p.out else "const "
                formals.append(Formal(f"{const}{C_TYPES[p.dtype]} *", p.name, Array(i)))
        for j, s in enumerate(self.kernel.numbers):
            if s in found:
                scalar = Scalar(j, "d" if s.dtype == "float64" else "q")
                formals.append(Formal(f"{C_TYPES[s.dtype]} ", str(s), scalar))
        if self.refuses(statements):
            formals.append(Formal("int *", "refused", Refused()))
        return formals

    def looping(self) -> list[Stage]:
        """The stages that run along the innermost loop."""
        return [stage for stage in self.running if stage.loop or not self.kernel.axes]

    def _accessed(self) -> list[Param]:
        found = used(s for stage in self.looping() for s in stage.statements)
        return [p for p in self.kernel.params if p in found]

    def _along(self, param: Param) -> int:
        """The stride of a parameter along the innermost loop."""
        return self.inner.strides[self.kernel.params.index(param)]

    def packed(self, statements: Iterable[Statement]) -> list[Param]:
        """The arrays whose elements lie together along the innermost loop."""
        found = used(statements)
        arrays = [p for p in self.kernel.arrays if p in found and not p.reach]
        return [p for p in arrays if self._along(p) == 1]

    def conditions(self) -> list[str]:
        """What must hold for packs: every one begins at a multiple of its size."""
        outer = [axis for axis in (*self.rows, *self.loops) if axis is not self.inner]
        found = [] if self.shape == "map" else [f"{self.extent(self.inner)} % {self.width} == 0"]
        packed = self.packed(s for stage in self.looping() for s in stage.statements)
        for p in packed:
            k = self.kernel.params.index(p)
            strides = [self.stride(axis, k) for axis in outer if axis.strides[k]]
            found.append(f"aligned<{self.width}>({', '.join([p.name, *strides])})")
        return found

    # --- pieces -----------------------------------------------------------------------------------

    def loop(
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
            self.open_for(begins, f"{condition}{index} < {extents[0]}", f"{index} += {step}")
            return [index]
        if packed:
            extents[-1] += " / width"
        made = f"{index}({{{', '.join(extents)}}}, {begin}, {step})"
        begins = f"Odometer<{self.index}, {len(axes)}> {made}"
        self.open_for(begins, f"{condition}{index}.inside()", f"{index}.advance()")
        return [f"{index}[{d}]" for d in range(len(axes))]

    def open_for(self, begin: str, condition: str, step: str) -> None:
        """Opens a loop, on several lines where one is too short."""
        text = f"for ({begin}; {condition}; {step}) {{"
        if 4 * self.depth + len(text) > LINE:
            text = text.replace("; ", ";\n" + "    " * self.depth + "     ")
        self.line(text)
        self.depth += 1

    def origin(self) -> dict[Param, str]:
        return {p: "" if p.counted else p.name for p in self.kernel.params}

    def advance(
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
        inner = self.rows[-1] if self.columns else self.inner
        across = axis is self.across and self.kernel.params[param] in self.tiled
        if axis.strides[param] == 1 and (axis is inner or across):
            return index
        return f"{index} * {self.stride(axis, param)}"

    def _offset(self, param: Param, at: Point) -> str:
        k = self.kernel.params.index(param)
        terms = [self._step(axis, k, i) for axis, i in at.indices if axis.strides[k]]
        return " + ".join(terms)

    def element(self, param: Param, at: Point, further: str = "") -> str:
        if param in self.tiled and at.tiled:
            return f"{param.name}_tile[threadIdx.x][k]"
        offset = self._offset(param, at)
        if further:
            offset = f"{offset} + {further}" if offset else further
        if param.counted:
            within = " + k" if at.packed and self._along(param) == 1 else ""
            if at.packed and self._along(param) not in (0, 1):
                k = self.kernel.params.index(param)
                within = f" + k * {self.stride(self.inner, k)}"
            if within == " + k" and not at.base[param] and offset == at.indices[-1][1]:
                # The index is a multiple of the width: a compiler sees what elements of a pack
                # have in common, such as a block of random words.
                within = " | k"
            start = f"{at.base[param]} + " if at.base[param] and offset else at.base[param]
            return f"{start}{offset}{within}" or "0"
        if at.packed and self._along(param) == 1 and not param.reach:
            return f"{param.name}_pack[k]"
        return f"{at.base[param]}[{offset}]" if offset else f"*{at.base[param]}"

    def elements(self, stage: Stage, at: Point) -> None:
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

    def open_parts(self, stage: Stage) -> None:
        for s in reductions_of(stage):
            self.line(f"{self.wide(s)} {s.name}_part = {self.start(s)};")

    def open_totals(self) -> None:
        for s in self.totals:
            self.line(f"{self.wide(s)} {s.name}_total = {self.start(s)};")

    def combined(self, s: Reduce, function: str, part: str) -> str:
        """The result of a reduction by several threads, in the type of partial results."""
        extent = THREADS if function == "reduce_column" else 32
        return f"{function}({part}, {COMBINE[s.op]}(), {self._shared(s, extent)})"

    def reduced(self, s: Reduce, function: str, part: str) -> None:
        """The result of a reduction, known to all threads that took part."""
        text = self.combined(s, function, part)
        kind = self.register(s.dtype)
        cast = "" if kind in (self.wide(s), "bool") else f"({kind})"
        self.line(f"const {kind} {s.name} = {cast}{text};")

    def _shared(self, s: Reduce, extent: int) -> str:
        """The shared memory that a reduction uses, by its type."""
        kind = self.wide(s)
        name = f"shared_{kind.removesuffix('_t')}"
        if name in self.shared:
            extent = max(extent, *self.shared[name].extents)
        self.shared[name] = Shared(kind, name, (extent,))
        return name

    # --- statements -------------------------------------------------------------------------------

    def expression(self, s: Apply, operands: list[str]) -> str:
        return cuda_expression(s.op, operands, s.dtype, s.source)

    def define(self, name: str, dtype: str, text: str, at: Point) -> None:
        super().define(name, dtype, _bare(text), at)

    def refuse(self, condition: str) -> None:
        self.line(f"if ({_bare(condition)}) atomicOr(refused, 1);")


def live(statements: list[Statement]) -> list[Statement]:
    """Those of some statements that store, reduce or refuse something, and what they need."""
    found: list[Statement] = []
    needed: set = set()
    for s in reversed(statements):
        acts = isinstance(s, (Store, Reduce)) or refuses(s)
        if acts or (not isinstance(s, Store) and s.name in needed):
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
