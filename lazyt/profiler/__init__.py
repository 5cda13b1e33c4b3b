"""torch.profiler: what a program computes, and how long it takes.

    with profile(activities=[ProfilerActivity.CPU]) as prof:
        with record_function("step"):
            step()
    print(prof.key_averages().table(sort_by="cpu_time_total", row_limit=10))

`recording` says what an event is here; `lazyt.explain` and `python -m lazyt.inspect` tell more.
Names and defaults follow https://docs.pytorch.org/docs/2.13/profiler.html.
"""

from __future__ import annotations

import enum
import functools
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from time import perf_counter_ns
from typing import Any

from lazyt.missing import getattr_of
from lazyt.runtime import drain as runtime

from .events import EventList, FunctionEvent, averages
from .recording import OPEN, Interval, Recording

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """Where something runs."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a profiler does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """The activities that can be profiled."""
    from lazyt.cuda import is_available

    activities = {ProfilerActivity.CPU}
    return activities | {ProfilerActivity.CUDA} if is_available() else activities


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """What to do in every step: skip, wait, warm up, record; `repeat` times (0: for ever)."""
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError("Step must be non-negative")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        cycle = wait + warmup + active
        if repeat and step // cycle >= repeat:
            return ProfilerAction.NONE
        at = step % cycle
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if at == cycle - 1 else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[Any], None]:
    """A handler that writes each trace to a file of its own in a folder."""

    def handle(prof: Any) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handle


class record_function:
    """A region with a name: a context manager, or a decorator.

    While a profiler is open, what was traced in the region is computed at its end, so that it
    counts there.
    """

    def __init__(self, name: str, args: str | None = None):
        self.name = name
        self._start = 0

    def __enter__(self) -> record_function:
        if OPEN:
            runtime.drain()
        self._start = perf_counter_ns()
        return self

    def __exit__(self, *error: Any) -> None:
        if OPEN:
            runtime.drain()
        for recording in OPEN:
            recording.add(self.name, self._start, perf_counter_ns(), "region")

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return wrapped


class _Results:
    """What a profiler tells once it is closed."""

    _intervals: list[Interval]

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """The events of each name together. The groupings are accepted: names are what counts."""
        return averages(self._intervals)

    def events(self) -> EventList:
        """Every event by itself, in the order of their beginnings."""
        return EventList(FunctionEvent(i.name, [i]) for i in self._intervals)

    def export_chrome_trace(self, path: str) -> None:
        """Writes the events as a trace that chrome://tracing and Perfetto show."""
        events = [
            {
                "name": i.name,
                "cat": i.kind,
                "ph": "X",
                "ts": i.start / 1e3,
                "dur": (i.end - i.start) / 1e3,
                "pid": os.getpid(),
                "tid": i.thread,
            }
            for i in self._intervals
        ]
        text = json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
        if str(path).endswith(".gz"):
            import gzip

            with gzip.open(path, "wt") as packed:
                packed.write(text)
        else:
            with open(path, "w") as file:
                file.write(text)


class profile(_Results):
    """Records what is computed between its beginning and its end, or in the steps of a schedule.

    activities, record_shapes, profile_memory, with_stack, with_flops, with_modules: accepted;
    everything that runs is recorded, with its time. on_trace_ready: called with the profiler after
    each active span.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Any = None,
        post_processing_timeout_s: float | None = None,
    ):
        self.activities = set(activities) if activities is not None else supported_activities()
        self._schedule = schedule
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self._intervals: list[Interval] = []
        self._recording: Recording | None = None
        self._step_began = 0

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def _action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self._schedule is None else self._schedule(self.step_num)

    def start(self) -> None:
        """Opens the profiler."""
        self._follow(self._action())

    def stop(self) -> None:
        """Closes the profiler, and hands a span that is being recorded over."""
        if self._recording is not None:
            self._save()

    def step(self) -> None:
        """The next step of the schedule begins."""
        action = self._action()
        if self._recording is not None and self._schedule is not None:
            runtime.drain()
            name = f"ProfilerStep#{self.step_num}"
            self._recording.add(name, self._step_began, perf_counter_ns(), "region")
        if action is ProfilerAction.RECORD_AND_SAVE:
            self._save()
        self.step_num += 1
        self._follow(self._action())

    def _follow(self, action: ProfilerAction) -> None:
        records = action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if records and self._recording is None:
            self._recording = Recording()
            self._recording.start()
            OPEN.append(self._recording)
        elif not records and self._recording is not None:
            self._close()
        self._step_began = perf_counter_ns()

    def _close(self) -> None:
        recording, self._recording = self._recording, None
        assert recording is not None
        OPEN.remove(recording)
        recording.stop()
        self._intervals = recording.finished()

    def _save(self) -> None:
        if self._recording is not None:
            self._close()
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def add_metadata(self, key: str, value: str) -> None:
        """Accepted: traces carry no metadata."""

    def add_metadata_json(self, key: str, value: str) -> None:
        """Accepted: traces carry no metadata."""


__getattr__ = getattr_of(__name__)
