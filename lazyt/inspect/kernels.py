"""The pieces of generated code of a program: NumPy calls, groups run in blocks, loop nests.

k = lazyt.explain(step).kernels[0]   a loop nest, a product, ...; `pieces` has NumPy's calls, too
k.source, k.device                   what runs, in the tier that runs it
k.loops, k.numpy, k.c, k.cuda        the same computation for every tier, dressed for reading
k.flops, k.bytes, k.lines            what it costs, and the user's lines
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lazyt.codegen.device_calls import launched
from lazyt.codegen.dress import LINE, quantity
from lazyt.codegen.grouping import by_host, has_own_kernel, no_kernel
from lazyt.codegen.lower import Lowered, lower
from lazyt.codegen.numpy_calls import NumpyCode, blocked
from lazyt.codegen.templates.own import own_kernel
from lazyt.ir.cost import Cost, bytes_read, cost, nbytes
from lazyt.ir.graph import Value
from lazyt.ir.passes.fuse import Group
from lazyt.ir.places import place
from lazyt.ir.printer import type_text

from .origins import line_of, place_of
from .texts import Texts, result_shape

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
    store into. nests: how many loop nests that do the same to other arrays run in its call. call,
    line: what the program's code calls it where that is a kernel ("k0", "g0"), and in which line.
    device: where its results are; hosted: why NumPy computes them on the host, if it does for
    another device.

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
    call: str = ""
    line: int = 0
    device: str = "cpu"
    hosted: str = ""

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
        types = f"{', '.join(self.operands)} -> {', '.join(self.result)}"
        if "transfer" not in self.operations:
            types = types.replace(f"@{self.device}", "")
        return f"{self.call} {self.name}: {types}".lstrip()

    def by_numpy(self) -> Kernel:
        """The kernel as NumPy computes it, which has no name to call it by."""
        return replace(self, source=self.numpy, call="", line=0)

    @property
    def head(self) -> str:
        """What it is, and what it costs."""
        facts = f"{quantity(self.flops, 'FLOP')}, {quantity(self.bytes, 'B')}"
        if self.nests > 1:
            facts += f", in one call with {self.nests - 1} more that do the same"
        if self.hosted or self.device != "cpu":
            facts += f", {self.hosted or 'on ' + self.device}"
        if self.places:
            facts += ", from " + ", ".join(self.places)
        head = repr(self)
        if len(head) > LINE:
            head = head.replace(": ", "\n  ", 1).replace(" -> ", "\n  -> ", 1)
        return f"{head}\n  {facts}"

    def __str__(self) -> str:
        shown = self.source
        if self.call:  # the same with the words of the user
            shown = self.c if self.device == "cpu" else self.cuda
        body = "\n".join(f"    {line}".rstrip() for line in shown.splitlines())
        return f"{self.head}\n{body}"


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
            if group.lead is not None:
                found.append(self._own(group.lead, group))
                continue
            if group.kind == "loops":
                together = batches.pop(line_of_value[group.outputs[0]], None)
                if together is not None:
                    found.append(self._nests(*together))
                continue
            if group.values[0] not in line_of_value:
                continue  # a constant that only nests read
            if has_own_kernel(group.values[0]):
                found.append(self._own(group.values[0]))
                continue
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
        made = self._kernel(label, self._lines(values), values, outer, outputs, spent, texts)
        if by_host(values[0]):
            made.hosted = no_kernel(values[0])
        return made

    def _own(self, lead: Value, group: Group | None = None) -> Kernel:
        """An operation on a device that has a kernel of its own, with the nest it leads."""
        code = self.view.code
        group = group or Group([lead], [lead], result_shape(lead), lead.op.kind)
        nest = (group, lower(group)) if group.lead is not None else None
        own = own_kernel(lead, [place(s).strides for s in lead.operands()], nest)
        line = code.line_of[lead]
        call = _called(code, line)
        assert own is not None, lead
        own = replace(own, kernel=code.templates[int(call[1:])][0])
        texts = Texts(group.values, group.outputs, self.view.user_names, self.given, nest, own=own)
        values = [v for v in group.values if not v.op.view]
        outer = _read_from_outside(group)
        moved = sum(map(bytes_read, outer)) + sum(nbytes(v.type) for v in group.outputs)
        spent = Cost(sum(cost(v).flops for v in values), moved)
        label = "_".join(v.op.name for v in values)
        source = own.kernel.text.rstrip()
        made = self._kernel(label, source, values, outer, group.outputs, spent, texts)
        made.call, made.line = call, line
        return made

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

    def _batches(self) -> dict[int, tuple[list[Group], list[Lowered]]]:
        """By the line of their call: the loop nests of one kernel, and how they are lowered."""
        code = self.view.code
        groups: dict[int, list[Group]] = {}
        for group in self.view.grouping.groups:
            if group.kind == "loops" and group.lead is None:
                groups.setdefault(code.line_of[group.outputs[0]], []).append(group)
        return {line: (groups[line], nests) for line, nests in zip(sorted(groups), code.nests)}

    def _nests(self, groups: list[Group], together: list[Lowered]) -> Kernel:
        """A kernel of one loop nest, or of several: its text is C or CUDA C, not the line that
        calls it. Operations, operands and results are those of the first nest."""
        first, lowered = groups[0], together[0]
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
        source = (lowered.c if lowered.device == "cpu" else launched(together)).text.rstrip()
        made = self._kernel(label, source, members, outer, first.outputs, spent, texts)
        made.operations = tuple(v.op.name for v in values)
        made.nests = len(groups)
        made.line = self.view.code.line_of[first.outputs[0]]
        made.call = _called(self.view.code, made.line)
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
            device=_device(outputs[-1]),
        )


def _called(code: NumpyCode, line: int) -> str:
    """What a line of the program's code calls its kernel: "k0", "g0"."""
    found = re.search(r"\b[kg]\d+(?=\()", code.source.splitlines()[line - 1])
    assert found is not None, code.source
    return found.group()


def _device(v: Value) -> str:
    return (v.type[0] if v.type.__class__ is tuple else v.type).device


def _read_from_outside(group: Group) -> list[Value]:
    """What the members of a group read that the group does not compute."""
    inside = set(group.values)
    members = [v for v in group.values if not v.op.view]
    return list(dict.fromkeys(s for v in members for s in v.operands() if s not in inside))
