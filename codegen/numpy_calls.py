"""NumPy source for a graph: one call a line, in order, with the memory plan written out.

    def run(x0, s0, d0):
        x1 = np.multiply(x0, s0, out=w0)
        o2 = x0 if d0 else np.empty_like(x0)
        x2 = np.subtract(x0, x1, out=o2)
        return (x2,)

`x` are values, `s` run-time numbers, `w` slots of the workspace and `d` says whether the caller
donates an input. A fused group over a large array runs in blocks of rows, so that what it computes
in between stays in the cache (`t` are block-sized buffers). The canonical text holds no user names,
lines or addresses; `dressed` adds them as comments.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lazyt.ir.graph import Graph, Scalar, Value
from lazyt.ir.opdef import literal
from lazyt.ir.passes.fuse import Group
from lazyt.ir.places import place
from lazyt.ir.types import TensorType

from .launches import CudaKernel
from .lower import Lowered
from .memory import BLOCK, DONATED, OWN, PLACE, SLOT, MemoryPlan

if TYPE_CHECKING:
    from .segments import Segment

# A group this large runs in blocks of about this many elements: 32 Ki floats are 128 KiB, an L2's
# share.
BLOCKED_FROM = 1 << 16
BLOCK_ELEMENTS = 1 << 15


@dataclass
class NumpyCode:
    """source: the canonical text. values: what each line of it computes. memory: what is where.

    nests: the kernels k0, k1, … of loop nests: each is one body with the arrays of one nest, or of
    several in a row. fused: the values that no line computes: members of nests, and constants that
    only nests read. line_of: the line that computes a value, members of nests among them. segments:
    what the text calls p0, p1, …, which run the nests of the C tier (segments.py). native: whether
    NumPy computes nothing. templates: the kernels g0, g1, … of single operations on devices,
    which device, and how many arrays and numbers each takes.
    """

    source: str
    values: dict[int, Value]
    memory: MemoryPlan
    graph: Graph
    nests: list[list[Lowered]] = field(default_factory=list)
    fused: frozenset[Value] = frozenset()
    line_of: dict[Value, int] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    native: bool = False
    templates: list[tuple[CudaKernel, str, int, int]] = field(default_factory=list)

    def dressed(self, describe: Callable[[Value], str]) -> str:
        """The same text with a comment a line: `describe(value)`."""
        lines = self.source.splitlines()
        width = min(max(map(len, lines)), 88)
        for number, value in self.values.items():
            line = lines[number - 1]
            lines[number - 1] = f"{line:<{width}}  # {describe(value)}"
        return "\n".join(lines) + "\n"


def blocked(group: Group) -> int:
    """Rows in a block of the group, or 0 where it runs whole."""
    if len(group.values) < 2 or not group.shape:
        return 0
    numel = 1
    for extent in group.shape:
        numel *= extent
    if numel < BLOCKED_FROM or group.shape[0] < 2:
        return 0
    rows = max(1, BLOCK_ELEMENTS // (numel // group.shape[0]))
    return rows if rows < group.shape[0] else 0


def _read(graph: Graph, nest_of: dict[Value, tuple[Group, Lowered]]) -> set[Value]:
    """The values whose arrays somebody reads; views and constants that only nests look at are not
    among them."""
    found = set(graph.outputs)
    for group, lowered in nest_of.values():
        found.update(s for s in lowered.values if place(s).root is not group.lead)
        if group.lead is not None:
            found.update(group.lead.operands())
    for v in reversed(graph.body):
        if v in nest_of and not v.op.view:
            continue
        if v in found or not (v.op.view or v.op.kind == "constant"):
            found.update(v.operands())
    return found


def sliced(v: Value, operands: list[str]) -> str | None:
    """The slicing of a view, as one would write it: quicker than a call that makes the slices.

    None for other values, and for steps backwards, whose end may lie before the first element.
    """
    if v.op.name not in ("slice", "part") or not v.src[1:] or min(v.arg[1]) < 1:
        return None
    x, *starts = operands
    slices = []
    for start, given, extent, step in zip(starts, v.src[1:], *v.arg[:2]):
        reach = max(extent - 1, 0) * step + (extent > 0)
        end = str(given + reach) if given.__class__ is int else f"{start} + {reach}"
        slices.append(f"{start}:{end}" + (f":{step}" if step > 1 else ""))
    text = f"{x}[{', '.join(slices)}]"
    return text if v.op.name == "slice" else f"{text}.reshape({literal(v.type.shape)})"


class Writer:
    """Writes the function line by line."""

    native = False

    def __init__(
        self,
        graph: Graph,
        memory: MemoryPlan,
        block_of: dict,
        shared: frozenset[int],
        scattered: set[Value],
        nest_of: dict[Value, tuple[Group, Lowered]],
    ):
        self.graph = graph
        self.scattered = scattered
        self.nest_of = nest_of
        self.nests: list[list[Lowered]] = []
        self.segments: list[Segment] = []
        self.templates: list[tuple[CudaKernel, str, int, int]] = []
        self.called: dict[Value, int] = {}
        self.read = _read(graph, nest_of)
        self.shared = shared
        self.memory = memory
        self.block_of = block_of
        self.number = graph.numbered()
        self.lines: list[str] = []
        self.values: dict[int, Value] = {}

    def name(self, s) -> str:
        if s.__class__ is Value:
            return f"x{self.number[s]}"
        if s.__class__ is Scalar:
            return f"s{s.index}"
        return literal(s)

    def line(self, text: str, value: Value | None = None) -> None:
        self.lines.append(text)
        if value is not None:
            self.values[len(self.lines)] = value

    def write(self) -> NumpyCode:
        graph, memory = self.graph, self.memory
        params = [self.name(v) for v in graph.inputs] + [f"s{s.index}" for s in graph.scalars]
        params += [f"d{k}" for k in sorted(memory.donated)]
        self.line(f"def run({', '.join(params)}):")
        done: set[int] = set()
        for v in graph.body:
            found = self.block_of.get(v)
            nest = self.nest_of.get(v)
            if nest is not None:
                if id(nest[0]) in done:
                    continue
                together = self.batch(nest)
                done.update(id(group) for group, _ in together)
                self.nest(together)
                members = [m for group, _ in together for m in group.values]
                found = nest[0], 0
            elif found is None:
                if v in self.read or not (v.op.view or v.op.kind == "constant"):
                    self.whole(v)
                members = [v]
            elif id(found[0]) not in done:
                done.add(id(found[0]))
                self.in_blocks(*found)
                members = found[0].values
            else:
                continue
            inside = set(members) if found is not None else set()
            dead = [s for m in members for s in memory.dies_after.get(m, ()) if s not in inside]
            # Constants that only nests read have no name.
            self.forget([s for s in dead if s in self.read or s.op.kind != "constant"])
        results = self.results()
        self.line(f"    return ({', '.join(results)}{',' if len(results) == 1 else ''})")
        source = "\n".join(self.lines) + "\n"
        fused = set(self.nest_of)
        fused.update(v for v in graph.body if v.op.kind == "constant" and v not in self.read)
        line_of = {v: n for n, v in self.values.items()} | self.called
        return NumpyCode(
            source,
            self.values,
            memory,
            graph,
            self.nests,
            frozenset(fused),
            line_of,
            self.segments,
            self.native,
            self.templates,
        )

    def forget(self, dead: list[Value]) -> None:
        """Drops the names of values that nothing reads any more."""
        if dead:
            self.line(f"    del {', '.join(map(self.name, dead))}")

    def results(self) -> list[str]:
        """What is returned: a value that is an input, a view or returned before is copied.

        Several results in one are memory only where they are taken apart: the parts are copied.
        """
        texts = []
        owned: set[Value] = set()
        for i, v in enumerate(self.graph.outputs):
            text = self.name(v)
            part = v.op is not None and v.op.name == "get"
            if i not in self.shared or part:
                shown = self.shows(v) and not part
                if (shown or v in owned) and v.type.__class__ is not tuple:
                    text = f"copied({text})"
                owned.add(v)
            texts.append(text)
        return texts

    def shows(self, v: Value) -> bool:
        """Whether a value shows memory that is not its own: an input's, or that of another."""
        return v.op is None or v.op.view

    def buffer(self, v: Value) -> str | None:
        """The text of the buffer a result goes into; writes the line that chooses a donated one."""
        assigned = self.memory.assignments.get(v)
        if assigned is None or assigned.kind == OWN:
            return None
        if assigned.kind == SLOT:
            return f"w{assigned.of}"
        if assigned.kind == PLACE:
            return self.name(assigned.of)
        assert assigned.kind == DONATED
        taken = self.name(assigned.of)
        root = assigned.of
        while root.op is not None:  # type: ignore[union-attr]
            root = root.src[0]  # type: ignore[union-attr]
        out = f"o{self.number[v]}"
        self.line(f"    {out} = {taken} if d{root.index} else {self.fresh(v, taken)}")  # type: ignore[union-attr]
        return out

    def fresh(self, v: Value, like: str = "") -> str:
        """The text that makes memory for a value; like: a value of its type."""
        if like:
            return f"np.empty_like({like})"
        return f"np.empty({literal(v.type.shape)}, np.{v.type.dtype.numpy.name})"

    def row_major(self, text: str, v: Value) -> str:
        """The text that copies a value which may lie in another order."""
        return f"np.ascontiguousarray({text})"

    def whole(self, v: Value) -> None:
        """One value by one call."""
        out = self.buffer(v)
        if out is None and v.op.has_out and not self.scattered.isdisjoint(v.operands()):
            out = self.fresh(v)
        operands = [self.name(s) for s in v.src]
        text = sliced(v, operands) or v.op.text(operands, v.arg, v.type, out)
        if out is None and not v.op.view and v.type.__class__ is TensorType and not v.type.shape:
            text = f"np.asarray({text}, np.{v.type.dtype.numpy.name})"
        self.line(f"    {self.name(v)} = {text}", v)

    def batch(self, nest: tuple[Group, Lowered]) -> list[tuple[Group, Lowered]]:
        """The nests that run in one call: those that follow each other in a batch and are one text.

        Memory is planned in the order of the graph, so none may overtake another.
        """
        number = nest[0].batch
        if number < 0:
            return [nest]
        batch = {id(g): (g, low) for g, low in self.nest_of.values() if g.batch == number}
        rest = itertools.dropwhile(lambda other: other[0] is not nest[0], batch.values())
        same = nest[1].text
        return list(itertools.takewhile(lambda other: other[1].text == same, rest))

    def nest(self, together: list[tuple[Group, Lowered]]) -> None:
        """Loop nests of one kernel, by one call."""
        arguments = []
        for group, lowered in together:
            for v in group.outputs:
                self.line(f"    {self.name(v)} = {self.buffer(v) or self.fresh(v)}")
            arguments += [self.operand(s, group) for s in lowered.values]
            arguments += map(self.number_of, lowered.numbers)
        number = len(self.nests)
        self.line(f"    k{number}({', '.join(arguments)})", together[0][0].outputs[0])
        self.nests.append([lowered for _, lowered in together])
        self.called.update((v, len(self.lines)) for g, _ in together for v in g.values)
        for group, _ in together:
            for v in group.values:
                if v.op.view and v in self.read:
                    self.whole(v)

    def number_of(self, s: Scalar) -> str:
        """A run-time number of a kernel's call: a float, or an int for integers and booleans."""
        return f"{'float' if s.kind is float else 'int'}({self.name(s)})"

    def operand(self, s: Value, group: Group) -> str:
        """An array of a nest's call."""
        text = self.name(s)
        if s not in group.outputs and place(s).root in self.scattered:
            return self.row_major(text, s)
        return text

    def in_blocks(self, group: Group, rows: int) -> None:
        """A fused group, a block of rows at a time."""
        outputs = set(group.outputs)
        for v in group.values:
            if v in outputs:
                out = self.buffer(v)
                if out is None:
                    out = self.fresh(v)
                self.line(f"    {self.name(v)} = {out}")
        extent = group.shape[0]
        self.line(f"    for i in range(0, {extent}, {rows}):")
        self.line(f"        r = slice(i, i + {rows})")
        whole_blocks = extent % rows == 0
        if not whole_blocks:
            self.line(f"        n = min({rows}, {extent} - i)")
        inside = {v for v in group.values if v not in outputs}
        for v in group.values:
            operands = [self.block_operand(s, group, inside) for s in v.src]
            if v in outputs:
                target = f"{self.name(v)}[r]"
                if v.op.has_out:
                    self.line("        " + v.op.text(operands, v.arg, v.type, target), v)
                else:
                    self.line(f"        {target} = {v.op.text(operands, v.arg, v.type)}", v)
                continue
            assigned = self.memory.assignments[v]
            assert assigned.kind == BLOCK
            buffer = None
            if assigned.of is not None:
                buffer = f"t{assigned.of}" if whole_blocks else f"t{assigned.of}[:n]"
            self.line(f"        {self.name(v)} = {v.op.text(operands, v.arg, v.type, buffer)}", v)

    def block_operand(self, s, group: Group, inside: set) -> str:
        if s.__class__ is not Value or s in inside:
            return self.name(s)
        shape = s.type.shape
        if len(shape) == len(group.shape) and shape[0] == group.shape[0]:
            return f"{self.name(s)}[r]"
        return self.name(s)
