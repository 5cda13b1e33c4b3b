"""Events as programs read them: lists, averages by name, and the table.

    prof.key_averages().table(sort_by="cpu_time_total", row_limit=10)

Times are microseconds. `cpu` stands for where the caller waits: what runs on a device is waited for
while a profiler is open, so it is counted there, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .recording import Interval

_COLUMNS = (
    "Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls",
)  # fmt: skip
_SORTS = {
    "cpu_time": "cpu_time",
    "cpu_time_total": "cpu_time_total",
    "self_cpu_time_total": "self_cpu_time_total",
    "count": "count",
}
# What runs on a device is counted where it is waited for; memory is not.
_SORTS |= {f"{kind}_time": "cpu_time" for kind in ("cuda", "device", "xpu")}
_SORTS |= {f"{kind}_time_total": "cpu_time_total" for kind in ("cuda", "device", "xpu")}
_SORTS |= {f"self_{kind}_time_total": "self_cpu_time_total" for kind in ("cuda", "device", "xpu")}
_SORTS |= dict.fromkeys(
    (f"{own}{kind}_memory_usage" for own in ("", "self_") for kind in ("cpu", "cuda", "device")),
    "cpu_time_total",
)


class FunctionEvent:
    """One thing that ran, or all of one name together (`count` of them)."""

    def __init__(self, key: str, intervals: Iterable[Interval]):
        found = list(intervals)
        self.key = self.name = key
        self.count = len(found)
        self.cpu_time_total = sum(i.end - i.start for i in found) / 1e3
        self.self_cpu_time_total = sum(i.self_time for i in found) / 1e3
        self.input_shapes = [list(i.shapes) for i in found[:1]]
        self.thread = found[0].thread if found else 0
        self.time_range = (found[0].start / 1e3, found[-1].end / 1e3) if found else (0.0, 0.0)
        self.kind = found[0].kind if found else ""

    @property
    def cpu_time(self) -> float:
        """Microseconds of one on the average."""
        return self.cpu_time_total / self.count if self.count else 0.0

    cuda_time = device_time = cuda_time_total = device_time_total = 0.0
    self_cuda_time_total = self_device_time_total = 0.0
    cpu_memory_usage = cuda_memory_usage = device_memory_usage = 0
    flops = 0

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={_time(self.self_cpu_time_total)} "
            f"cpu_time={_time(self.cpu_time)}>"
        )


FunctionEventAvg = FunctionEvent


class EventList(list):
    """Events, and what can be asked of all of them."""

    @property
    def self_cpu_time_total(self) -> float:
        return sum(e.self_cpu_time_total for e in self)

    def key_averages(self, *args: Any, **kwargs: Any) -> EventList:
        return self

    def total_average(self) -> FunctionEvent:
        """All events as one."""
        total = FunctionEvent("Total", ())
        total.count = sum(e.count for e in self)
        total.cpu_time_total = sum(e.cpu_time_total for e in self)
        total.self_cpu_time_total = self.self_cpu_time_total
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """The events as text, the largest by `sort_by` first (by total time where not said).

        Errors: ValueError for a `sort_by` that no column has.
        """
        if sort_by is not None and sort_by not in _SORTS:
            raise ValueError(f"Invalid sort_by {sort_by!r}; it is one of {sorted(_SORTS)}")
        column = _SORTS[sort_by or "cpu_time_total"]
        events = sorted(self, key=lambda e: (-getattr(e, column), e.key))
        if row_limit is not None and row_limit >= 0:
            events = events[:row_limit]
        total = self.self_cpu_time_total
        share = lambda t: f"{100 * t / total:.2f}%" if total else "NaN"
        rows = [
            (
                _cut(e.key, max_name_column_width),
                share(e.self_cpu_time_total),
                _time(e.self_cpu_time_total),
                share(e.cpu_time_total),
                _time(e.cpu_time_total),
                _time(e.cpu_time),
                str(e.count),
            )
            for e in events
        ]
        widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows)]
        rule = "  ".join("-" * w for w in widths)
        lines = [rule, _row(_COLUMNS, widths), rule, *(_row(r, widths) for r in rows), rule]
        if header:
            lines.insert(0, header)
        return "\n".join([*lines, f"Self CPU time total: {_time(total)}", ""])

    __str__ = table


def _row(cells: Iterable[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths)
    return "  ".join([f"{first[0]:>{first[1]}}", *(f"{c:>{w}}" for c, w in rest)])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width or width < 4 else text[: width - 3] + "..."


def _time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.3f}ms"
    return f"{microseconds:.3f}us"


def averages(intervals: Iterable[Interval]) -> EventList:
    """The events of each name together."""
    groups: dict[str, list[Interval]] = {}
    for interval in intervals:
        groups.setdefault(interval.name, []).append(interval)
    return EventList(FunctionEvent(name, found) for name, found in groups.items())
