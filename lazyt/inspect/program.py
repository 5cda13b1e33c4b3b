"""One program laid open: every stage of its IR, its groups, its kernels and its memory, as text.

Everything is derived again from the traced graph by the functions that compile plans, so that
what is shown is what runs. The names `%7` in the IR and `x7` in the code are the same value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lazyt.codegen import memory as placing
from lazyt.codegen.dress import quantity
from lazyt.codegen.grouping import by_host, grouped, has_own_kernel
from lazyt.codegen.numpy_calls import NumpyCode, blocked
from lazyt.codegen.source import generate
from lazyt.ir.cost import Cost, cost, nbytes
from lazyt.ir.graph import Graph, Value
from lazyt.ir.passes import fuse as fusion
from lazyt.ir.passes.pipeline import Stage, optimize
from lazyt.ir.printer import text, type_text
from lazyt.runtime.plan import in_loops

from .holders import Names
from .kernels import Kernel, kernels_of
from .naming import UserNames
from .origins import place_of


class Stages(list):
    """The passes as they ran, each with `name`, `before`, `after`; `traced`, `final`: the ends.

    Prints the traced graph, then what each pass made of it where it changed something.
    """

    traced: str
    final: str

    def __str__(self) -> str:
        parts = ["--- traced", self.traced.rstrip()]
        for stage in self:
            if stage.before == stage.after:
                parts.append(f"--- {stage.name}: no change")
            else:
                parts += [f"--- {stage.name}", stage.after.rstrip()]
        return "\n".join(parts)


@dataclass(repr=False)
class FusedGroup:
    """Operations that a backend runs as one loop: `%` names, the iteration space and the outputs.

    rows: how many rows a block has where the NumPy code runs the group in blocks, 0 where it does
    not.
    """

    values: tuple[str, ...]
    operations: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, ...]
    kind: str
    rows: int

    def __repr__(self) -> str:
        inside = ", ".join(f"{name} {op}" for name, op in zip(self.values, self.operations))
        if len(self.values) == 1:
            return f"{inside} ({self.kind})"
        how = f", in blocks of {self.rows} rows" if self.rows else ""
        return f"fused over {list(self.shape)}{how}: {inside}; out: {', '.join(self.outputs)}"


@dataclass(repr=False)
class Refused:
    """Two operations that were not fused, and why; or one that its device cannot compute."""

    producer: str
    consumer: str
    reason: str

    def __repr__(self) -> str:
        if self.producer == self.consumer:
            return f"{self.producer}: {self.reason}"
        return f"{self.producer} -> {self.consumer}: {self.reason}"


class Groups(list):
    """The groups in execution order; `fused`: those of several operations; `refusals`: the rest."""

    refusals: list[Refused]

    def __init__(self, groups: Any = (), refusals: Any = ()):
        super().__init__(groups)
        self.refusals = list(refusals)

    @property
    def fused(self) -> list[FusedGroup]:
        return [g for g in self if len(g.values) > 1]

    def __str__(self) -> str:
        lines = [f"groups: {len(self)}, of which fused: {len(self.fused)}"]
        lines += [f"  {g!r}" for g in self]
        lines.append(f"refusals: {len(self.refusals)}")
        lines += [f"  {r!r}" for r in self.refusals]
        return "\n".join(lines)


@dataclass
class ProgramView:
    """A program from its traced graph on.

    donatable: inputs whose memory it may take over. how: in words, how it came to run; runs: how
    often. names: the user's, of inputs and outputs. tier: "numpy" or "c", in place of the one that
    runs what is on the CPU.
    """

    traced: Graph
    donatable: frozenset[int] = frozenset()
    how: str = ""
    runs: int = 0
    names: Names = Names()
    tier: str = ""
    _stages: list[Stage] = field(default_factory=list)

    @cached_property
    def grouping(self) -> fusion.Grouping:
        optimized, _ = optimize(self.traced, record=self._stages)
        return grouped(optimized, self.runs_loops)

    @property
    def graph(self) -> Graph:
        """The final graph; its numbers name the values of the generated code."""
        graph = self.grouping.graph
        assert graph is not None
        return graph

    @cached_property
    def code(self) -> NumpyCode:
        return generate(self.grouping, self.donatable)

    @cached_property
    def ir(self) -> Stages:
        final = text(self.graph)
        stages = Stages(self._stages)
        before = stages[-1].after if stages else text(self.traced)
        stages.append(Stage("group", before, final))
        stages.traced, stages.final = text(self.traced), final
        return stages

    @cached_property
    def number(self) -> dict[Value, int]:
        return self.graph.numbered()

    @cached_property
    def groups(self) -> Groups:
        number = self.number

        def short(v: Value) -> str:
            return f"%{number[v]} {v.op.name}"

        made = [
            FusedGroup(
                tuple(f"%{number[v]}" for v in g.values),
                tuple(v.op.name for v in g.values),
                tuple(f"%{number[v]}" for v in g.outputs),
                g.shape,
                _kind(g),
                blocked(g) if g.kind != "loops" else 0,
            )
            for g in self.grouping.groups
        ]
        refused = [
            Refused(short(r.producer), short(r.consumer), r.reason) for r in self.grouping.refusals
        ]
        return Groups(made, refused)

    @cached_property
    def runs_loops(self) -> bool:
        """Whether loop nests run what is on the CPU, not NumPy."""
        return self.tier == "c" if self.tier else in_loops()

    @cached_property
    def pieces(self) -> list[Kernel]:
        """The pieces of generated code, in order."""
        return kernels_of(self)

    @cached_property
    def kernels(self) -> list[Kernel]:
        """The kernels that the program is, in every tier: loop nests, products, convolutions. Where
        NumPy runs what is on the CPU, `pieces` are its calls."""
        if self.runs_loops:
            return self.pieces
        looped = ProgramView(self.traced, self.donatable, names=self.names, tier="c")
        return [k if k.device != "cpu" else k.by_numpy() for k in looped.pieces]

    @cached_property
    def user_names(self) -> UserNames:
        """What the user calls values."""
        return UserNames(self.traced, self.names)

    def cost_of(self, v: Value) -> Cost:
        """FLOPs and bytes of one value, knowing where it is written."""
        assigned = self.code.memory.assignments.get(v)
        over = assigned is not None and assigned.kind in (placing.PLACE, placing.DONATED)
        return cost(v, in_place=over)

    @cached_property
    def cost(self) -> Cost:
        """FLOPs and bytes of one run, over all pieces."""
        total = Cost(0, 0)
        for k in self.pieces:
            total += (k.flops, k.bytes)
        return total

    @property
    def source(self) -> str:
        """The generated code, canonical."""
        return self.code.source

    @cached_property
    def dressed(self) -> str:
        """The generated code with types, FLOPs, bytes and the user's line beside each call."""
        return self.code.dressed(self.describe)

    @cached_property
    def _called(self) -> dict[int, Kernel]:
        """The kernels that the code calls by a name, by line."""
        return {k.line: k for k in self.pieces if k.call}

    def describe(self, v: Value) -> str:
        """A comment for the line that computes `v`, or calls the kernel that does."""
        parts = [f"{v.op.name} {type_text(v.type)}"]
        kernel = self._called.get(self.code.line_of[v])
        if kernel is not None:
            parts = [kernel.name, quantity(kernel.flops, "FLOP"), quantity(kernel.bytes, "B")]
        elif not v.op.view:
            spent = self.cost_of(v)
            parts += [quantity(spent.flops, "FLOP"), quantity(spent.bytes, "B")]
        place = place_of(v.origin)
        return ", ".join(parts) + (f"  {place}" if place else "")

    @cached_property
    def name(self) -> str:
        """A short name: the few costliest operations, in order."""
        costly = sorted(
            (v for v in self.graph.body if not v.op.view),
            key=lambda v: (-cost(v).flops, -cost(v).bytes, self.number[v]),
        )
        chosen: list[str] = []
        for v in costly:
            if v.op.name not in chosen and len(chosen) < 3:
                chosen.append(v.op.name)
        firsts = {v.op.name: self.number[v] for v in reversed(self.graph.body)}
        return "-".join(sorted(chosen, key=lambda op: firsts[op])) or "views"

    @cached_property
    def plan(self) -> str:
        """Inputs, scalars, kept values, workspace, donation, live ranges and source, as text."""
        return plan_text(self)

    def summary(self) -> str:
        """One line: what it computes and what that costs."""
        flops, moved = self.cost
        hosted = sum(1 for k in self.pieces if k.hosted)
        calls = "" if self.runs_loops else f" in {_count(len(self.pieces), 'call')}"
        return (
            f"{self.name}: {len(self.traced.body)} operations traced, "
            f"{len(self.graph.body)} after the passes, {_count(len(self.kernels), 'kernel')}"
            f"{f' ({hosted} of them computed on the host)' if hosted else ''}{calls}, "
            f"{quantity(flops, 'FLOP')}, {quantity(moved, 'B')}"
        )

    def __str__(self) -> str:
        pieces = "\n".join(map(str, self.pieces))
        if self.runs_loops:
            kernels = f"== kernels\n{pieces}"
        else:
            heads = "\n".join(k.head for k in self.kernels)
            kernels = f"== kernels\n{heads}\n\n== what runs them\n{pieces}"
        head = self.summary() + (f"\n{self.how}" if self.how else "")
        return (
            f"{head}\n\n== IR\n{self.ir}\n\n== groups\n{self.groups}\n\n"
            f"{kernels}\n\n== plan\n{self.plan}"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _kind(group: fusion.Group) -> str:
    """What a group is, in words where it is one operation on a device."""
    if group.kind in ("loops", "constant"):
        return group.kind
    if by_host(group.values[0]):
        return "by NumPy on the host"
    return "a kernel of its own" if has_own_kernel(group.values[0]) else group.kind


def plan_text(view: ProgramView) -> str:
    """The plan of a program in words; see ProgramView.plan."""
    graph, memory, number = view.graph, view.code.memory, view.number
    lines = ["inputs"]
    for v in graph.inputs:
        given = ", may be overwritten (donated)" if v.index in memory.donated else ""
        place = place_of(v.origin)
        lines.append(
            f"  x{number[v]}: {type_text(v.type)}{given}" + (f"  {place}" if place else "")
        )
    lines.append("scalars (numbers given at run time)")
    lines += [f"  s{s.index}: {s.kind.__name__}" for s in graph.scalars] or ["  none"]
    lines.append("kept values")
    for v in graph.outputs:
        lines.append(f"  x{number[v]}: {type_text(v.type)}  {place_of(v.origin)}".rstrip())
    total = sum(map(nbytes, [*memory.slots, *memory.blocks]))
    lines.append(f"workspace: {quantity(total, 'B')}, held between runs")
    lines += [f"  w{i}: {type_text(t)}" for i, t in enumerate(memory.slots)]
    lines += [f"  t{i}: {type_text(t)}, a block" for i, t in enumerate(memory.blocks)]
    lines.append("live ranges (value, memory, from line to line of the source)")
    lines += live_ranges(view) or ["  none"]
    lines += ["source", *["  " + line for line in view.source.splitlines()]]
    return "\n".join(lines)


def live_ranges(view: ProgramView) -> list[str]:
    """For every value with memory: where it lives, and the first and last line that touch it."""
    graph, memory, number = view.graph, view.code.memory, view.number
    line_of_value = view.code.line_of
    roots: dict[Value, Value] = {}
    last: dict[Value, int] = {}
    for v in graph.body:
        if v not in line_of_value:
            continue
        if v not in memory.assignments:  # it shows the memory of another
            shown = v.src[1] if v.op.name == "replaced" else v.src[0]
            roots[v] = roots.get(shown, shown)
        for s in (v, *v.operands()):
            root = roots.get(s, s)
            last[root] = max(last.get(root, 0), line_of_value[v])
    end = len(view.source.splitlines())
    for v in graph.outputs:
        last[roots.get(v, v)] = end
    described = []
    for v in graph.body:
        assigned = memory.assignments.get(v)
        if assigned is None or v not in line_of_value:
            continue
        where = _where(assigned, number)
        described.append(
            f"  x{number[v]:<4} {v.op.name:<14} {where:<28} {line_of_value[v]} to {last[v]}"
        )
    return described


def _where(assigned: placing.Assignment, number: dict[Value, int]) -> str:
    of = assigned.of
    if assigned.kind == placing.SLOT:
        return f"w{of}"
    if assigned.kind == placing.PLACE:
        return f"in place of x{number[of]}"  # type: ignore[index]
    if assigned.kind == placing.DONATED:
        return f"in place of input x{number[of]}"  # type: ignore[index]
    if assigned.kind == placing.BLOCK:
        return "a block at a time" + (f", t{of}" if of is not None else "")
    return "memory of its own"
