"""torch.profiler: events of what ran, in regions and steps. No test asserts a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lazyt as torch
from lazyt.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    tensorboard_trace_handler,
)
from lazyt.runtime import drain as runtime
from lazyt.runtime import plan as plans
from lazyt.runtime.stats import COUNTERS

X = torch.linspace(0, 1, 64).reshape(8, 8)


def step() -> float:
    return ((X @ X).relu() * 2).softmax(1).sum().item()


def counts(prof: Any) -> dict[str, int]:
    return {e.key: e.count for e in prof.key_averages()}


def test_operations_are_counted_when_they_run() -> None:
    torch.reset_stats()
    with profile(activities=[ProfilerActivity.CPU]) as prof:
        pending = X.exp()
        for _ in range(3):
            step()
    found = counts(prof)
    assert found["matmul"] == 3 if "native segment" not in found else found["matmul"] == 1
    assert found["exp"] == 1, "what is pending at the end is computed"
    del pending


def test_regions_hold_what_is_computed_in_them() -> None:
    step()
    with profile() as prof:
        with record_function("outer"):
            step()
            with record_function("inner"):
                y = X.sin()
        with record_function("elsewhere"):
            pass
    del y
    names = [e.name for e in prof.events()]
    at = {n: next(e for e in prof.events() if e.name == n) for n in ("outer", "inner", "sin")}
    assert names.count("outer") == names.count("inner") == names.count("elsewhere") == 1
    for inside, outside in (("inner", "outer"), ("sin", "inner")):
        assert at[outside].time_range[0] <= at[inside].time_range[0]
        assert at[inside].time_range[1] <= at[outside].time_range[1]
    total = prof.key_averages().total_average()
    whole = (
        at["outer"].cpu_time_total
        + next(e for e in prof.events() if e.name == "elsewhere").cpu_time_total
    )
    assert abs(total.self_cpu_time_total - whole) < 1e-3, "nothing is counted twice"


def test_a_decorator_is_a_region() -> None:
    @record_function("named")
    def function() -> int:
        return 3

    with profile() as prof:
        assert function() == 3
    assert counts(prof)["named"] == 1


def test_the_table() -> None:
    with torch.autograd.profiler.profile() as prof:
        step()
    text = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=2)
    lines = text.splitlines()
    assert lines[1].split("  ")[-1] == "# of Calls"
    assert len(lines) == 7  # head, two rows, three rules, the total
    assert lines[-1].startswith("Self CPU time total: ")
    assert prof.table() == str(prof) == prof.key_averages().table()
    assert prof.self_cpu_time_total > 0
    assert all(
        e.count >= 1 and e.cpu_time_total >= e.self_cpu_time_total for e in prof.key_averages()
    )
    with pytest.raises(ValueError, match="Invalid sort_by"):
        prof.key_averages().table(sort_by="colour")


def test_a_schedule() -> None:
    actions = schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    word = {a: a.name for a in ProfilerAction}
    assert [word[actions(i)] for i in range(10)] == [
        "NONE", "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE",
        "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE",
    ]  # fmt: skip
    with pytest.raises(AssertionError):
        schedule(wait=0, warmup=0, active=0)


def test_steps_are_handed_over() -> None:
    seen = []

    def ready(prof: Any) -> None:
        seen.append((prof.step_num, sorted(n for n in counts(prof) if n.startswith("Profiler"))))

    wanted = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=wanted, on_trace_ready=ready) as prof:
        for _ in range(9):
            step()
            prof.step()
    assert seen == [
        (3, ["ProfilerStep#2", "ProfilerStep#3"]),
        (7, ["ProfilerStep#6", "ProfilerStep#7"]),
    ]


def test_traces_are_written(tmp_path: Path) -> None:
    handler = tensorboard_trace_handler(str(tmp_path), worker_name="me")
    with profile(on_trace_ready=handler) as prof, record_function("step"):
        step()
    (path,) = tmp_path.glob("me.*.pt.trace.json")
    events = json.loads(path.read_text())["traceEvents"]
    assert "step" in {e["name"] for e in events}
    assert all(e["ph"] == "X" and e["dur"] >= 0 for e in events)
    assert len(events) == len(prof.events())


def test_a_profiler_leaves_nothing_behind() -> None:
    step()
    step()
    before = [p.plan.run for p in runtime.CACHE.programs.values() if p.plan is not None]
    listening = len(plans.ON_COMPILE), len(runtime.OBSERVERS), len(COUNTERS.listeners)
    with pytest.raises(ZeroDivisionError), profile():
        step()
        raise ZeroDivisionError
    now = [p.plan.run for p in runtime.CACHE.programs.values() if p.plan is not None]
    assert now == before
    assert listening == (len(plans.ON_COMPILE), len(runtime.OBSERVERS), len(COUNTERS.listeners))


def test_nvtx_is_accepted() -> None:
    with torch.autograd.profiler.emit_nvtx(record_shapes=True):
        assert step() == step()
