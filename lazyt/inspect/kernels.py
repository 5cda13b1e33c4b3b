"""The pieces of generated code of a program: NumPy calls, groups run in blocks, loop nests.

k = lazyt.explain(step).kernels[0]
k.source                             what runs, in the tier that runs
k.loops, k.numpy, k.c, k.cuda        the same computation for every tier, dressed for reading
k.flops, k.bytes, k.lines            what it costs, and the user's lines
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lazyt.codegen.dress import quantity
from lazyt.codegen.lower import Lowered
from lazyt.codegen.numpy_calls import blocked
from lazyt.ir.cost import Cost, bytes_read, cost, nbytes
from lazyt.ir.graph import Value
from lazyt.ir.passes.fuse import Group
from lazyt.ir.printer import type_text

from .origins import line_of, place_of
from .texts import Texts

if TYPE_CHECKING:
    from .program import ProgramView


@dataclass(repr=False)
class Kernel:
    """One piece of generated code that computes something: a NumPy call, a group run in blocks, or
    a loop nest.

    name: the operation and the number of its (last) value. source: the code that runs, canonical.
    operations: the primitives in it. operands, result: types as the IR writes them; shapes: of the
    operands, then of the result(s). flops, bytes: as `lazyt.ir.cost` counts them. lines: the
    user's, as `file:line`; places: the same in short, with the variables that those statements
    store into. nests: how many loop nests that do the same to other arrays run in its call.

    loops, numpy, c, cuda: what it computes as loop IR, as a NumPy function, in C and in CUDA C,
    whatever tier runs; "" where there is none, and `absent` says why.
    """

    name: str
    source: str
    operations: tuple[str, ...]
    operands: tuple[str, ...]
    result: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    flops: int
    bytes: int
    lines: tuple[str, ...]
    places: tuple[str, ...]
    texts: Texts
    nests: int = 1

    @property
    def loops(self) -> str:
        return self.texts.loops

    @property
    def numpy(self) -> str:
        return self.texts.numpy

    @property
    def c(self) -> str:
        return self.texts.c

    @property
    def cuda(self) -> str:
        return self.texts.cuda

    @property
    def absent(self) -> dict[str, str]:
        """By the name of a text that is not there the reason."""
        return self.texts.absent

    def __repr__(self) -> str:
        return f"{self.name}: {', '.join(self.operands)} -> {', '.join(self.result)}"

    def __str__(self) -> str:
        facts = f"{quantity(self.flops, 'FLOP')}, {quantity(self.bytes, 'B')}"
        if self.nests > 1:
            facts += f", in one call with {self.nests - 1} more that do the same"
        if self.places:
            facts += ", from " + ", ".join(self.places)
        body = "\n".join("    " + line for line in self.source.splitlines())
        return f"{self!r}\n  {facts}\n{body}"


def kernels_of(view: ProgramView) -> list[Kernel]:
    """The kernels of a program, in order."""
    return _Kernels(view).all()


@dataclass
class _Kernels:
    view: ProgramView
    users: dict[Value, list[Value]] = field(init=False)
    kept: set[Value] = field(init=False)
    given: dict[Value, str] = field(init=False)

    def __post_init__(self) -> None:
        graph = self.view.graph
        self.users, self.kept = graph.users(), set(graph.outputs)
        self.given = self.view.user_names.in_program(graph)

    def all(self) -> list[Kernel]:
        found = []
        line_of_value = self.view.code.line_of
        batches = self._batches()
        for group in self.view.grouping.groups:
            if group.kind == "loops":
                together = batches.pop(line_of_value[group.outputs[0]], None)
                if together is not None:
                    found.append(self._nests(*together))
                continue
            if group.values[0] not in line_of_value:
                continue  # a constant that only nests read
            parts = [group.values] if blocked(group) else [[v] for v in group.values]
            found += [self._calls(part) for part in parts]
        return found

    def _calls(self, values: list[Value]) -> Kernel:
        """A call of NumPy, or a group run in blocks."""
        inside = set(values)
        outer = list(dict.fromkeys(s for v in values for s in v.operands() if s not in inside))
        outputs = [
            v for v in values if v in self.kept or any(u not in inside for u in self.users[v])
        ]
        outputs = outputs or values[-1:]
        spent = Cost(0, 0)
        for v in values:
            spent += self.view.cost_of(v)
        if len(values) > 1:
            moved = sum(map(bytes_read, outer)) + sum(nbytes(v.type) for v in outputs)
            spent = Cost(spent.flops, moved)
        operations = tuple(v.op.name for v in values)
        label = operations[0] if len(values) == 1 else "fused_" + "_".join(operations)
        texts = Texts(values, outputs, self.view.user_names, self.given)
        return self._kernel(label, self._lines(values), values, outer, outputs, spent, texts)

    def _lines(self, values: list[Value]) -> str:
        """The lines of the program's code that compute some values."""
        code, number = self.view.code, self.view.number
        lines = code.source.splitlines()
        first = min(code.line_of[v] for v in values) - 1
        last = max(code.line_of[v] for v in values)
        names = {f"{letter}{number[v]}" for v in values for letter in "xo"}
        in_loop = lines[first].startswith("        ")
        # Above the calls stand the head of their loop and the lines that choose their buffers.
        while first > 1 and (
            in_loop
            and not lines[first].startswith("    for ")
            or lines[first - 1].strip().split(" = ")[0] in names
        ):
            first -= 1
        return "\n".join(line[4:] for line in lines[first:last])

    def _batches(self) -> dict[int, tuple[list[Group], Lowered]]:
        """By the line of their call: the loop nests of one kernel, and the first one lowered."""
        code = self.view.code
        groups: dict[int, list[Group]] = {}
        for group in self.view.grouping.groups:
            if group.kind == "loops":
                groups.setdefault(code.line_of[group.outputs[0]], []).append(group)
        return {line: (groups[line], nests[0]) for line, nests in zip(sorted(groups), code.nests)}

    def _nests(self, groups: list[Group], lowered: Lowered) -> Kernel:
        """A kernel of one loop nest, or of several in turn: its text is C, not the line that calls
        it. Operations, operands and results are those of the first nest."""
        first = groups[0]
        values = [v for v in first.values if not v.op.view]
        members = [v for group in groups for v in group.values if not v.op.view]
        moved = sum(nbytes(v.type) for group in groups for v in group.outputs)
        moved += sum(bytes_read(v) for group in groups for v in _read_from_outside(group))
        spent = Cost(sum(cost(v).flops for v in members), moved)
        texts = Texts(
            first.values,
            first.outputs,
            self.view.user_names,
            self.given,
            (first, lowered),
            len(groups),
        )
        label = "_".join(v.op.name for v in values)
        outer = _read_from_outside(first)
        source = lowered.c.text.rstrip()
        made = self._kernel(label, source, members, outer, first.outputs, spent, texts)
        made.operations = tuple(v.op.name for v in values)
        made.nests = len(groups)
        return made

    def _kernel(
        self,
        label: str,
        source: str,
        values: list[Value],
        outer: list[Value],
        outputs: list[Value],
        spent: Cost,
        texts: Texts,
    ) -> Kernel:
        types = [v.type for v in (*outer, *outputs)]
        return Kernel(
            f"{label[:60]}_{self.view.number[values[-1]]}",
            source,
            tuple(v.op.name for v in values),
            tuple(type_text(v.type) for v in outer),
            tuple(type_text(v.type) for v in outputs),
            tuple(
                t.shape for some in types for t in (some if some.__class__ is tuple else (some,))
            ),
            spent.flops,
            spent.bytes,
            tuple(filter(None, dict.fromkeys(line_of(v.origin) for v in values))),
            tuple(filter(None, dict.fromkeys(place_of(v.origin) for v in values))),
            texts,
        )


def _read_from_outside(group: Group) -> list[Value]:
    """What the members of a group read that the group does not compute."""
    inside = set(group.values)
    members = [v for v in group.values if not v.op.view]
    return list(dict.fromkeys(s for v in members for s in v.operands() if s not in inside))
