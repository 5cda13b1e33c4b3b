"""`lazyt.explain`: what a tensor or a call of a function is compiled to, for reading.

x = torch.rand(3); y = (x * 2 + 1).exp()
print(lazyt.explain(y))              # what would be run; nothing is
report = lazyt.explain(step, batch)  # runs step(batch) once, as a call does
report.kernels[0].source, report.groups.refusals, report.ir.final
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lazyt.ir.graph import Graph
from lazyt.ir.node import Node
from lazyt.runtime import drain as runtime
from lazyt.runtime.donation import donatable
from lazyt.runtime.plan import build_graph

from ..tensor import Tensor
from .holders import Held, held, variables_of
from .kernels import Kernel
from .pending import looking, program_of
from .program import Groups, ProgramView, Stages

REALISED = (
    "nothing is pending: the value is already there. A tensor does not remember the plan that "
    "computed it; to see that, explain the function that makes it: lazyt.explain(fn, *args)."
)


@dataclass
class Explanation:
    """What `lazyt.explain` found. Prints as text.

    programs: one ProgramView a program, in the order they ran (or would run). result: what the
    function returned. The attributes `ir`, `groups`, `kernels`, `pieces` and `plan` are
    those of all programs in a row.
    """

    title: str
    programs: list[ProgramView] = field(default_factory=list)
    note: str = ""
    result: Any = None

    @cached_property
    def ir(self) -> Stages:
        """The stages, each with `name`, `before`, `after`; `.traced` and `.final` are the ends."""
        stages = Stages(stage for p in self.programs for stage in p.ir)
        stages.traced = "\n".join(p.ir.traced for p in self.programs)
        stages.final = "\n".join(p.ir.final for p in self.programs)
        return stages

    @cached_property
    def groups(self) -> Groups:
        """What was fused, and in `.refusals` what was not and why."""
        return Groups(
            (g for p in self.programs for g in p.groups),
            (r for p in self.programs for r in p.groups.refusals),
        )

    @cached_property
    def kernels(self) -> list[Kernel]:
        """The kernels that the programs are, in every tier: each with `name`, `source`, `shapes`,
        `flops`, `bytes` and the user's `lines`, and as `loops`, `numpy`, `c` and `cuda`."""
        return [k for p in self.programs for k in p.kernels]

    @cached_property
    def pieces(self) -> list[Kernel]:
        """The pieces of code that run: these kernels, or NumPy's calls and groups run in blocks."""
        return [k for p in self.programs for k in p.pieces]

    @cached_property
    def plan(self) -> str:
        """Inputs, scalars, kept values, workspace, donation, live ranges and generated source."""
        return "\n\n".join(p.plan for p in self.programs)

    @cached_property
    def dressed(self) -> str:
        """The generated code with types, FLOPs, bytes and the user's lines as comments."""
        return "\n".join(p.dressed for p in self.programs)

    def __str__(self) -> str:
        parts = [self.title]
        if self.note:
            parts.append(self.note)
        many = len(self.programs) > 1
        for i, program in enumerate(self.programs, 1):
            parts.append((f"\n######## program {i}\n" if many else "") + str(program))
        return "\n".join(parts)

    __repr__ = __str__


def explain(x: Any, args: tuple, kwargs: dict) -> Explanation:
    """The explanation of a tensor, or of the call `x(*args, **kwargs)`; see `lazyt.explain`."""
    if isinstance(x, Tensor):
        if args or kwargs:
            raise TypeError("explain(tensor) takes no further arguments")
        return _of_tensor(x)
    if not callable(x):
        raise TypeError(
            f"explain(): expected a tensor, or a function and its arguments, got {type(x).__name__}"
        )
    return _of_call(x, args, kwargs)


def _of_tensor(t: Tensor) -> Explanation:
    with runtime.LOCK, looking(t) as (node, extra):
        title = f"explain: tensor {node.type!r}"
        if node.value is not None:
            return Explanation(title, note=REALISED)
        found = program_of(node, extra)
        names = held(found.wanted, found.index).kept(found.keep)
        view = ProgramView(found.graph(), found.donatable(), names=names)
    note = "pending: this would be run for it; nothing has been."
    if found.others:
        note += f" Of {found.others} more operations in the trace, a read computes what is wanted."
    return Explanation(title, [view], note)


@dataclass
class _Seen:
    """A program that ran while we watched."""

    graph: Graph
    donatable: frozenset[int]
    keep: tuple[int, ...]
    names: Held
    runs: int = 0
    at_end: bool = False


class _Watch:
    """An observer of drains that notes every program of one thread.

    roots: variables of the function that is explained.
    """

    def __init__(self, roots: dict[str, Any]) -> None:
        self.roots = roots
        self.thread = threading.get_ident()
        self.found: dict[tuple, _Seen] = {}
        self.returned = False

    def __call__(
        self,
        key: tuple,
        wanted: list[Node],
        keep: tuple[int, ...],
        index: dict[int, int],
        numbers: tuple,
    ) -> None:
        if threading.get_ident() != self.thread:
            return
        seen = self.found.get(key)
        if seen is None:
            given_up = donatable(wanted)
            graph = build_graph(wanted, keep, index, set())[0]
            names = held(wanted, index, self.roots)
            seen = _Seen(graph, given_up, keep, names, at_end=self.returned)
            self.found[key] = seen
        seen.runs += 1


def _of_call(fn: Callable, args: tuple, kwargs: dict) -> Explanation:
    runtime.drain()
    watch = _Watch(variables_of(fn, args, kwargs))
    runtime.OBSERVERS.append(watch)
    try:
        result = fn(*args, **kwargs)
        watch.returned = True
        runtime.drain()
    finally:
        runtime.OBSERVERS.remove(watch)
    views = [_view(key, seen) for key, seen in watch.found.items()]
    name = getattr(fn, "__qualname__", None) or type(fn).__name__
    note = "" if views else "it computed nothing."
    return Explanation(f"explain: {name}(...)", views, note, result)


def _view(key: tuple, seen: _Seen) -> ProgramView:
    """The program as it ran: its plan where it has one, else what its plan will be."""
    times = f"ran {seen.runs} times" if seen.runs > 1 else "ran once"
    when = ", left pending by the call" if seen.at_end else ""
    program = runtime.CACHE.programs.get(key)
    plan = program.plan if program is not None else None
    if plan is None:
        how = (
            f"{times}{when}; evaluated operation by operation; from its next run on it is this plan"
        )
        names = seen.names.kept(seen.keep)
        return ProgramView(seen.graph, seen.donatable, how, seen.runs, names)
    how = f"{times}{when}, as a compiled plan"
    donated = frozenset(plan.code.memory.donated)
    return ProgramView(plan.traced, donated, how, seen.runs, seen.names.kept(plan.keep))
