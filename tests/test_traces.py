"""The scans of a drain in C do what those in Python do."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from c_tier import needs_compiler
from grammar import generate
from harness import implementation
from loop_programs import lenet_step, optimizer
from outcomes import runner

import lazyt as torch
from lazyt.runtime import drain, scans, traces

pytestmark = needs_compiler


def seen(run: Callable[[], Any], used: scans.Scans, monkeypatch: pytest.MonkeyPatch) -> list:
    """What drains find in the traces of a program: keys, kept positions, numbers, inputs."""
    found: list[tuple] = []

    def observe(key: tuple, wanted: list, kept: tuple, index: dict, values: tuple) -> None:
        found.append((key, kept, values, tuple(index.values()), [n.op for n in wanted]))

    before, scans.SCANS[0] = scans.SCANS[0], used
    try:
        with monkeypatch.context() as patch:
            patch.setattr(drain, "OBSERVERS", [observe])
            run()
    finally:
        scans.SCANS[0] = before
    return found


def both(run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    in_c = traces.scans()
    assert in_c is not None
    run()  # what only the first run traces
    expected = seen(run, scans.IN_PYTHON, monkeypatch)
    assert expected
    assert repr(seen(run, in_c, monkeypatch)) == repr(expected)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_have_the_same_keys(
    seed: int, c_tier: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, program = runner(implementation()), generate(random.Random(seed))
    both(lambda: run(program), monkeypatch)


def test_training_steps_have_the_same_keys(c_tier: None, monkeypatch: pytest.MonkeyPatch) -> None:
    step, update = lenet_step(), optimizer(lambda p: torch.optim.SGD(p, lr=0.1))
    update()
    both(lambda: (step().item(), update()), monkeypatch)


def test_zeros_and_types_of_numbers_are_told_apart(
    c_tier: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.ones(3)
    x.tolist()

    def run() -> None:
        for number in (0.0, -0.0, 1.0, float("nan")):
            (x * number + x).tolist()
        for number in (0, 1, True):
            (x.to(torch.int64) * number).tolist()
        x.view(3, 1).t().add(1.0).tolist()

    both(run, monkeypatch)
    keys = [entry[0] for entry in seen(run, traces.scans(), monkeypatch)]  # type: ignore[arg-type]
    assert len(set(map(repr, keys))) == 5


def test_many_inputs_are_found_again(c_tier: None, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [torch.full((2,), float(k)) for k in range(100)]
    for x in inputs:
        x.tolist()

    def run() -> None:
        total = sum(x * y for x, y in zip(inputs, reversed(inputs)))
        assert total.tolist() == [float(sum(k * (99 - k) for k in range(100)))] * 2

    both(run, monkeypatch)


def test_dead_nodes_are_dropped(c_tier: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(3)
    x.tolist()

    def run() -> None:
        for _ in range(5):
            (x * 2 + 1).exp()
        y = x + 1
        z = y * 3
        del y
        z.tolist()

    both(run, monkeypatch)
    ((_, kept, _, _, ops),) = seen(run, traces.scans(), monkeypatch)  # type: ignore[arg-type]
    assert kept == (1,) and [op.name for op in ops] == ["add", "mul"]


def test_the_same_inputs_are_given_up(c_tier: None) -> None:
    in_c = traces.scans()
    assert in_c is not None
    found: list[bool] = []

    def flags(*args: Any) -> list[bool]:
        given = in_c.flags(*args)
        assert given == scans.IN_PYTHON.flags(*args)
        found.extend(given)
        return given

    layer = torch.nn.Linear(3, 2)
    update = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    held: dict[str, Any] = {}

    def program(hold: str) -> None:
        w, g = torch.zeros(2, 3), torch.ones(2, 3)
        x = torch.zeros(3, requires_grad=True)
        for _ in range(3):
            if hold == "array":
                held["array"] = w._storage.node.value
            elif hold == "node":
                held["node"] = w._storage.node
            elif hold == "memory":
                held["memory"] = w.numpy()
            w.add_(g).mul_(w)
            w.tolist()
        layer(w).sum().backward(retain_graph=True)
        if hold == "history":
            held["history"] = (x * w).sum()
            w.tolist()
            w.add_(1)
        update.step()
        update.zero_grad()
        assert layer.bias.tolist() and layer.weight.tolist() and w.tolist()

    for hold in ("", "array", "node", "memory", "history"):
        program(hold)
        program(hold)
        scans.SCANS[0] = in_c._replace(flags=flags)
        found.clear()
        program(hold)
        assert True in found and (False in found) == (hold in ("array", "node", "history"))
        held.clear()


def test_an_operand_of_another_thread_is_computed_first(c_tier: None) -> None:
    import threading

    scans.SCANS[0] = traces.scans()  # type: ignore[assignment]
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(torch.ones(3) * 2))
    thread.start()
    thread.join()
    assert (made[0] + 1).tolist() == [3.0] * 3


def test_slots_that_cannot_be_found_leave_python(
    c_tier: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "slots_of", lambda kind, names: None)
    assert traces.scans.__wrapped__() is None
