"""Counters for the user, and the report of a run: what every plan cost, where its time went."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from lazyt.ir.node import LOCAL, Node
from lazyt.runtime import drain as runtime
from lazyt.runtime import plan as plans
from lazyt.runtime.stats import COUNTERS

from .dumping import view_of
from .origins import place_of

LABELS = {
    "traced": "operations traced (of drained programs)",
    "nodes": "  wanted, and computed",
    "dead": "  not wanted by anybody",
    "pending": "operations pending now",
    "drains": "drains",
    "evaluated": "  first sightings, evaluated operation by operation",
    "hits": "  plan hits",
    "misses": "  plan misses (compiled)",
    "passes": "passes run",
    "kernels": "kernels run",
    "compiler_calls": "compiler calls",
    "programs": "programs known",
    "plans": "plans held",
    "bytes_held": "bytes held (workspaces, code and keys of plans)",
}


class Stats(dict):
    """Counters by name; prints as a table. `by_op` is a dict of kernels run, a primitive."""

    def __str__(self) -> str:
        lines = [f"{LABELS[name]:<52}{self[name]:>14,}" for name in LABELS]
        by_op = sorted(self["by_op"].items(), key=lambda item: (-item[1], item[0]))
        if by_op:
            lines.append("kernels run, by primitive")
            lines += [f"  {name:<50}{count:>14,}" for name, count in by_op]
        return "\n".join(lines)

    __repr__ = __str__


def stats() -> Stats:
    """The counters now; see `lazyt.stats`."""
    with runtime.LOCK:
        found = Stats(COUNTERS.snapshot())
        programs = runtime.CACHE.programs
        found["pending"] = len(LOCAL.trace)
        found["programs"] = len(programs)
        found["plans"] = sum(1 for p in programs.values() if p.plan is not None)
        found["bytes_held"] = runtime.plan_bytes()
    return found


def reset_stats() -> None:
    """Sets the counters to zero; plans are kept."""
    with runtime.LOCK:
        COUNTERS.reset()


# --- the report of a run --------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Timed:
    """A plan that measures itself: seconds in all, and for each line of its code."""

    plan: plans.Plan
    runs: int = 0
    seconds: float = 0.0
    spent: dict[int, float] = dataclasses.field(default_factory=dict)


def timed(plan: plans.Plan) -> Timed:
    """Replaces the plan's function by one that reads the clock after every call it makes; on a
    device when that has finished what was launched."""
    record = Timed(plan, spent=dict.fromkeys(plan.code.values, 0.0))
    written: list[str] = []
    for number, line in enumerate(plan.code.source.splitlines(), 1):
        written.append(line)
        if number in plan.code.values:
            indent = line[: len(line) - len(line.lstrip())]
            written.append(f"{indent}now = clock(); spent[{number}] += now - then; then = now")
    written.insert(1, "    then = clock()")
    run = plans.load(dataclasses.replace(plan.code, source="\n".join(written) + "\n"))
    run.__globals__.update(clock=_clock(plan), spent=record.spent)

    def measured(*arguments: Any) -> Any:
        begin = perf_counter()
        try:
            return run(*arguments)
        finally:
            record.runs += 1
            record.seconds += perf_counter() - begin

    plan.run = measured
    return record


def _clock(plan: plans.Plan) -> Callable[[], float]:
    """The seconds, once the plan's devices are idle."""
    names = sorted(plan.code.graph.devices() - {"cpu"})
    if not names:
        return perf_counter
    from lazyt.runtime.cuda.calls import number
    from lazyt.runtime.cuda.driver import device

    devices = [device(number(name)) for name in names]

    def clock() -> float:
        for d in devices:
            d.wait()
        return perf_counter()

    return clock


class Recorder:
    """Notes every drained program and times every plan made while it is open."""

    def __init__(self) -> None:
        self.plans: list[Timed] = []
        self.sightings: dict[tuple, int] = {}
        self.seconds = 0.0

    def _seen(
        self,
        key: tuple,
        wanted: list[Node],
        keep: tuple[int, ...],
        index: dict[int, int],
        numbers: tuple,
    ) -> None:
        self.sightings[key] = self.sightings.get(key, 0) + 1

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        compiled: Callable[[plans.Plan], None] = lambda plan: self.plans.append(timed(plan))
        plans.ON_COMPILE.append(compiled)
        runtime.OBSERVERS.append(self._seen)
        begin = perf_counter()
        try:
            yield self
        finally:
            self.seconds = perf_counter() - begin
            plans.ON_COMPILE.remove(compiled)
            runtime.OBSERVERS.remove(self._seen)

    def report(self, lines: int = 8, refusals: int = 8) -> str:
        """The report as text: all plans, the costliest first, each with its costliest calls."""
        inside = sum(t.seconds for t in self.plans)
        once = sum(1 for n in self.sightings.values() if n == 1)
        parts = [
            f"{self.seconds:.3f} s in all, {inside:.3f} s of them in {len(self.plans)} plans",
            f"{len(self.sightings)} programs drained {sum(self.sightings.values())} times; "
            f"{once} of them came once and were evaluated without a plan",
            "",
            str(stats()),
        ]
        for record in sorted(self.plans, key=lambda t: -t.seconds):
            parts += ["", *plan_report(record, lines, refusals)]
        return "\n".join(parts)


def plan_report(record: Timed, lines: int, refusals: int) -> list[str]:
    """The report of one plan, a list of lines. Its first run compiled it, the others are hits."""
    plan = record.plan
    view = view_of(plan)
    runs = record.runs
    each = f", {record.seconds / runs * 1e6:.1f} µs a run" if runs else ""
    found = [
        f"plan {plan.number}, {view.summary()}",
        f"  ran {runs} times ({max(runs - 1, 0)} hits), {record.seconds:.4f} s{each}",
    ]
    total = sum(record.spent.values()) or 1.0
    costly = sorted(record.spent, key=lambda n: (-record.spent[n], n))[:lines]
    source = plan.code.source.splitlines()
    for n in costly:
        value = plan.code.values[n]
        if value.op.view or not record.spent[n]:
            continue
        place = place_of(value.origin)
        share = 100 * record.spent[n] / total
        found.append(
            f"  {share:5.1f} %  {source[n - 1].strip()}" + (f"  # {place}" if place else "")
        )
    groups = view.groups
    for group in groups.fused:
        found.append(f"  {group}")
    for refused in groups.refusals[:refusals]:
        found.append(f"  not fused: {refused}")
    if len(groups.refusals) > refusals:
        found.append(f"  not fused: {len(groups.refusals) - refusals} more")
    return found
