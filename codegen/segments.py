"""Plans of the C tier: instructions that follow each other are one segment, run by one call.

    def run(x0, x1, s0):
        # x3 in w0 = matmul(x0, x1)
        # x5 = k0(x3)
        x5 = p0(x0, x1)  # 2 instructions
        x6 = window(x5, [s0], (1,), (1,)).reshape(())
        return (x5, x6)

A segment is data (`Segment`): loop nests and matrix products, where their operands begin, and which
arrays it makes. Views that only instructions read are index arithmetic and no line of Python; one
that Python reads is written just before it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lazyt.ir.graph import Value
from lazyt.ir.passes.fuse import Group
from lazyt.ir.places import place, shown_by
from lazyt.ir.types import TensorType, contiguous_strides

from .addresses import start_of
from .c import CKernel
from .convolutions import ROLES, Convolution, convolution
from .lower import Lowered
from .memory import DONATED, OWN, PLACE, SLOT
from .numpy_calls import Writer
from .products import Product, product

ARRAY, NUMBER, OFFSET, FLAG = "array", "number", "offset", "flag"
NUMBER_OF = {"float64": NUMBER, "int64": OFFSET}  # how a nest's number is passed
ARGUMENT, RESULT, WORKSPACE = "argument", "result", "workspace"


@dataclass(frozen=True)
class Address:
    """Where an operand begins. base: the argument, result or slot of the workspace of number `of`.
    offset: bytes from there. terms: arguments that are whole numbers, and the bytes each counts."""

    base: str
    of: int
    offset: int = 0
    terms: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Result:
    """An array that a segment returns: a new one, or, if the argument `flag` is True, the argument
    `taken`."""

    type: TensorType
    flag: int = -1
    taken: int = -1


@dataclass(frozen=True)
class Nest:
    """A loop nest: its kernel, its arrays, and the arguments that are its numbers."""

    kernel: CKernel
    arrays: tuple[Address, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class MatrixProduct:
    """c = a @ b, by BLAS."""

    form: Product
    a: Address
    b: Address
    c: Address


@dataclass(frozen=True)
class Convolve:
    """A convolution, or one of its gradients, by products over columns."""

    form: Convolution
    image: Address
    weights: Address
    maps: Address


Instruction = Nest | MatrixProduct | Convolve


@dataclass
class Segment:
    """Instructions that run in one call. arguments: the kind of each."""

    arguments: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)


def batch(nests: Sequence[CKernel]) -> Segment:
    """The segment of nests that are called with the arrays and then the numbers of each in turn."""
    made = Segment()
    for k in nests:
        first = len(made.arguments)
        made.arguments += [ARRAY] * k.arrays + [NUMBER_OF[dtype] for dtype in k.numbers]
        arrays = tuple(Address(ARGUMENT, first + i) for i in range(k.arrays))
        numbers = range(first + k.arrays, first + k.arrays + len(k.numbers))
        made.instructions.append(Nest(k, arrays, tuple(numbers)))
    return made


class SegmentWriter(Writer):
    """Writes calls of segments, and NumPy calls between them."""

    def __init__(self, *known: Any, products: bool):
        """known: what every writer is given. products: whether BLAS may be called."""
        super().__init__(*known)
        self.products = products
        self.native = True
        # The value whose name or slot holds the memory of a computed one.
        self.home: dict[Value, Value] = {}
        self.named: set[Value] = set(self.graph.inputs)
        self.spent: list[Value] = []
        self._open()

    def _open(self) -> None:
        self.segment = Segment()
        self.passed: dict[str, int] = {}
        self.returned: dict[Value, int] = {}
        self.computed: set[Value] = set()

    # --- instructions -----------------------------------------------------------------------------

    def nest(self, together: list[tuple[Group, Lowered]]) -> None:
        """Loop nests of one kernel, as instructions of the open segment."""
        number = len(self.nests)
        self.nests.append([lowered for _, lowered in together])
        for group, lowered in together:
            self._ready([v for v in lowered.values if v not in group.outputs])
            targets = {v: self._target(v) for v in group.outputs}
            arrays = [targets[v] if v in targets else self._address(v) for v in lowered.values]
            kinds = [NUMBER_OF[dtype] for dtype in lowered.c.numbers]
            numbers = [self._pass(self.name(s), kind) for s, kind in zip(lowered.numbers, kinds)]
            self._add(Nest(lowered.c, tuple(arrays), tuple(numbers)))
            read = [self.name(v) for v in lowered.values if v not in targets]
            read += map(self.name, lowered.numbers)
            self._told(group.outputs, f"k{number}({', '.join(read)})")
            self.computed.update(group.outputs)
        self.called.update((v, len(self.lines)) for g, _ in together for v in g.values)

    def whole(self, v: Value) -> None:
        """A view (nothing, until somebody reads it), a matrix product, or a NumPy call."""
        if v.op.view and v.type.__class__ is not tuple:
            return
        if v.op.name == "matmul" and self.products and (form := self._product(v)) is not None:
            self._ready(v.operands())
            a, b = map(self._address, reversed(v.src) if form.swapped else v.src)
            self._add(MatrixProduct(form, a, b, self._target(v)))
            self._told([v], f"matmul({', '.join(map(self.name, v.src))})", v)
            self.computed.add(v)
            return
        if self.products and (geometry := convolution(v, self._strides)) is not None:
            self._ready(v.operands())
            found = dict(zip(ROLES[v.op.name], (*map(self._address, v.src), self._target(v))))
            self._add(Convolve(geometry, **found))
            settings = ", ".join(map(str, v.arg))
            text = f"{v.op.name}({', '.join(map(self.name, v.src))}, {settings})"
            self._told([v], text, v)
            self.computed.add(v)
            return
        self.native = False
        assigned = self.memory.assignments.get(v)
        if v.operands() or (assigned is not None and assigned.kind != OWN):
            self.flush()
        for s in v.operands():
            self._show(s)
        if assigned is not None and assigned.kind in (PLACE, DONATED):
            self._show(assigned.of)
        super().whole(v)
        self.named.add(v)

    def _product(self, v: Value) -> Product | None:
        if any(map(self._copied, v.operands())):
            return None
        return product(v)

    def _strides(self, s: Value) -> tuple[int, ...]:
        """Of an operand as `_address` hands it over."""
        return contiguous_strides(s.type.shape) if self._copied(s) else place(s).strides

    def _copied(self, s: Value) -> bool:
        """Whether an operand may lie in any order, and is handed over row-major."""
        return place(s).root in self.scattered

    def _ready(self, operands: list[Value]) -> None:
        """Writes the lines that an instruction's operands need, before it is begun."""
        for s in operands:
            root = start_of(s).root
            if self._copied(s):
                self._show(s)
            elif not self._in_workspace(self._home(root)) and root not in self.computed:
                self._show(self._home(root))

    def _add(self, made: Instruction) -> None:
        self.segment.instructions.append(made)

    def _told(self, outputs: list[Value], text: str, value: Value | None = None) -> None:
        """A comment in the place of an instruction: what is where, and how it is computed."""
        self.line(f"    # {', '.join(map(self._lies, outputs))} = {text}", value)

    def _lies(self, v: Value) -> str:
        assigned = self.memory.assignments[v]
        if assigned.kind == SLOT:
            return f"{self.name(v)} in w{assigned.of}"
        if assigned.kind == PLACE:
            return f"{self.name(v)} in {self.name(assigned.of)}"
        return self.name(v)

    # --- memory -----------------------------------------------------------------------------------

    def _home(self, v: Value) -> Value:
        """The value whose memory a root lies in."""
        return self.home.get(v, v)

    def _target(self, v: Value) -> Address:
        """Where an instruction writes a value."""
        assigned = self.memory.assignments[v]
        if assigned.kind == SLOT:
            return Address(WORKSPACE, assigned.of)  # type: ignore[arg-type]
        if assigned.kind == PLACE:
            taken = start_of(assigned.of).root  # type: ignore[arg-type]
            self.home[v] = self._home(taken)
            return self._address(taken)
        result = Result(v.type)
        if assigned.kind == DONATED:
            root = start_of(assigned.of).root  # type: ignore[arg-type]
            flag = self._pass(f"d{root.index}", FLAG)
            result = Result(v.type, flag, self._pass(self.name(root), ARRAY))
        self.returned[v] = len(self.segment.results)
        self.segment.results.append(result)
        return Address(RESULT, self.returned[v])

    def _address(self, s: Value) -> Address:
        """Where an operand begins."""
        if self._copied(s):
            return Address(ARGUMENT, self._pass(f"np.ascontiguousarray({self.name(s)})", ARRAY))
        start = start_of(s)
        item = s.type.dtype.numpy.itemsize
        terms = tuple((self._pass(self.name(n), OFFSET), k * item) for n, k in start.terms)
        home = self._home(start.root)
        if self._in_workspace(home):
            base, of = WORKSPACE, self.memory.assignments[home].of
        elif home in self.returned:
            base, of = RESULT, self.returned[home]
        else:
            base, of = ARGUMENT, self._pass(self.name(home), ARRAY)
        return Address(base, of, start.offset * item, terms)  # type: ignore[arg-type]

    def _in_workspace(self, v: Value) -> bool:
        assigned = self.memory.assignments.get(v)
        return assigned is not None and assigned.kind == SLOT

    def _pass(self, text: str, kind: str) -> int:
        """The number of an argument of the open segment."""
        key = f"{kind} {text}"
        if key not in self.passed:
            self.passed[key] = len(self.segment.arguments)
            self.segment.arguments.append(kind)
        return self.passed[key]

    # --- lines of Python --------------------------------------------------------------------------

    def _show(self, s: Any) -> None:
        """Writes what is needed so that Python can read a value by its name."""
        if s.__class__ is not Value or s in self.named:
            return
        if s.op.view:
            self._show(shown_by(s))
            super().whole(s)
            self.named.add(s)
            return
        if s in self.computed:
            self.flush()
        if s not in self.named:
            home = self._home(s)
            text = self.name(home)
            if self._in_workspace(home):
                text = f"w{self.memory.assignments[home].of}"
            self.line(f"    {self.name(s)} = {text}")
            self.named.add(s)

    def flush(self) -> None:
        """Writes the call of the open segment, and begins another."""
        segment = self.segment
        if segment.instructions:
            count = len(segment.instructions)
            call = f"p{len(self.segments)}({', '.join(k.split(' ', 1)[1] for k in self.passed)})"
            if self.returned:
                call = f"{', '.join(map(self.name, self.returned))} = {call}"
            self.line(f"    {call}  # {count} instruction{'s' if count > 1 else ''}")
            self.segments.append(segment)
            self.named.update(self.returned)
            self._open()
        spent, self.spent = self.spent, []
        self.forget(spent)

    def forget(self, dead: list[Value]) -> None:
        """Drops names of dead values, once nothing in the open segment needs them."""
        if self.segment.instructions:
            self.spent += dead
            return
        names = dict.fromkeys(v for s in dead for v in (s, self._home(s)))
        gone = [v for v in names if v in self.named and v.op is not None]
        super().forget(gone)
        self.named.difference_update(gone)

    def results(self) -> list[str]:
        self.flush()
        for v in self.graph.outputs:
            self._show(v)
        return super().results()
