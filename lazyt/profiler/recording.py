"""What a profiler records: regions the user names, programs that are drained, and their calls.

    drain of plan 3          a program that ran: everything that was pending
      matmul                 one of its calls: an operation, or a kernel of several
      softmax

The times are those of computing, which happens when a value is read, not of tracing. So a region
(`record_function`) computes at its end what is pending, and what was called in it is its own.
A plan that runs as one native call is one event; `LAZYT_CPU=numpy` shows its operations.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from lazyt.ir.node import Node
from lazyt.runtime import drain as runtime
from lazyt.runtime import plan as plans
from lazyt.runtime.stats import COUNTERS

_SEGMENT, _KERNEL = re.compile(r"= p\d+\("), re.compile(r"\bk\d+\(")


@dataclasses.dataclass(eq=False)
class Interval:
    """Something that ran: a name, when (nanoseconds), in which thread; its operands' shapes."""

    name: str
    start: int
    end: int
    thread: int
    kind: str
    shapes: tuple = ()
    children: int = 0  # nanoseconds of what ran inside

    @property
    def self_time(self) -> int:
        return self.end - self.start - self.children


class Recording:
    """Collects intervals between `start` and `stop`; several may be open at once."""

    def __init__(self) -> None:
        self.intervals: list[Interval] = []
        self._replaced: list[tuple[plans.Plan, Callable]] = []
        self._drain_began = 0
        self._last = 0
        self._evaluated = False

    # --- from the runtime -------------------------------------------------------------------------

    def start(self) -> None:
        """From here on programs are timed; what is pending is computed before."""
        runtime.drain()
        with runtime.LOCK:
            for program in runtime.CACHE.programs.values():
                if program.plan is not None:
                    self._instrument(program.plan)
            plans.ON_COMPILE.append(self._compiled)
            runtime.OBSERVERS.append(self._seen)
            COUNTERS.listeners.append(self)

    def stop(self) -> None:
        """Computes what is pending and gives plans their own functions back."""
        runtime.drain()
        with runtime.LOCK:
            self._close_evaluation()
            COUNTERS.listeners.remove(self)
            runtime.OBSERVERS.remove(self._seen)
            plans.ON_COMPILE.remove(self._compiled)
            for plan, run in self._replaced:
                plan.run = run
            self._replaced.clear()

    def add(self, name: str, start: int, end: int, kind: str, shapes: tuple = ()) -> None:
        self.intervals.append(Interval(name, start, end, threading.get_ident(), kind, shapes))

    def _seen(self, key: Any, wanted: list[Node], *rest: Any) -> None:
        """A program is about to run."""
        self._close_evaluation()
        self._drain_began = self._last = perf_counter_ns()

    def called(self, op: Any) -> None:
        """The evaluator has applied a primitive."""
        now = perf_counter_ns()
        self._evaluated = True
        if not op.view:
            self.add(op.name, self._last, now, "operation")
        self._last = now

    def _close_evaluation(self) -> None:
        if self._evaluated:
            self.add("program, seen for the first time", self._drain_began, self._last, "drain")
            self._evaluated = False

    def _compiled(self, plan: plans.Plan) -> None:
        """A plan was made for the program that is about to run."""
        self.add("compilation of a plan", self._drain_began, perf_counter_ns(), "compiler")
        self._instrument(plan)

    def _instrument(self, plan: plans.Plan) -> None:
        """Replaces the plan's function by one that reads the clock after every call it makes."""
        marks: list[tuple[int, int]] = []
        written = []
        lines = plan.code.source.splitlines()
        values: dict[int, Any] = dict(plan.code.values)
        for number, line in enumerate(lines, 1):
            written.append(line)
            if line.lstrip().startswith("#"):
                values.pop(number, None)
            elif _SEGMENT.search(line):
                values[number] = None
            if number in values:
                indent = line[: len(line) - len(line.lstrip())]
                written.append(f"{indent}mark(({number}, clock()))")
        before = plan.run
        code = dataclasses.replace(plan.code, source="\n".join(written) + "\n")
        run = plans.load(code)
        run.__globals__.update(mark=marks.append, clock=_clock(plan))

        def measured(*arguments: Any) -> Any:
            begin = perf_counter_ns()
            marks.clear()
            try:
                return run(*arguments)
            finally:
                then = begin
                for number, now in marks:
                    value = values[number]
                    if value is None:
                        self.add("native segment", then, now, "operation")
                    elif not value.op.view:
                        shapes = tuple(getattr(s, "type", s) for s in value.src)
                        self.add(_name(lines[number - 1], value), then, now, "operation", shapes)
                    then = now
                self.add(f"plan {plan.number}", begin, perf_counter_ns(), "drain")

        plan.run = measured
        self._replaced.append((plan, before))

    # --- afterwards -------------------------------------------------------------------------------

    def finished(self) -> list[Interval]:
        """The intervals in the order of their beginnings, with the time of what ran inside each."""
        ordered = sorted(self.intervals, key=lambda i: (i.thread, i.start, -i.end))
        open_: list[Interval] = []
        for interval in ordered:
            interval.children = 0
            while open_ and (
                open_[-1].thread != interval.thread or open_[-1].end <= interval.start
            ):
                open_.pop()
            if open_:
                open_[-1].children += interval.end - interval.start
            open_.append(interval)
        return ordered


def _name(line: str, value: Any) -> str:
    """What a line of a plan calls: its primitive, or a kernel of several."""
    return "loops" if _KERNEL.search(line) else str(value.op.name)


def _clock(plan: plans.Plan) -> Callable[[], int]:
    """The nanoseconds, once the plan's devices are idle."""
    names = sorted(plan.code.graph.devices() - {"cpu"})
    if not names:
        return perf_counter_ns
    from lazyt.runtime.cuda.calls import number
    from lazyt.runtime.cuda.driver import device

    devices = [device(number(name)) for name in names]

    def clock() -> int:
        for d in devices:
            d.wait()
        return perf_counter_ns()

    return clock


OPEN: list[Recording] = []
