"""Draining a trace: what is wanted, where it is cut, errors in the middle, threads, forks.

What a drain costs (plans, kernels, memory) is in `test_facts.py`.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from c_tier import needs_compiler

import lazyt as torch
from lazyt.ir import node as nodes
from lazyt.ir.node import FLUSH_NODES, LOCAL, TRACERS, Node
from lazyt.runtime import drain as runtime
from lazyt.runtime import scans
from lazyt.runtime.cache import CACHE
from lazyt.runtime.stats import COUNTERS


@pytest.fixture(autouse=True)
def _empty_trace() -> None:
    runtime.drain()
    runtime.clear_plans()


def in_thread(run: Any, *args: Any) -> Any:
    """The result of `run` in a thread of its own; what it raises is raised here."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append((run(*args), None))
        except Exception as error:
            found.append((None, error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    result, error = found[0]
    if error is not None:
        raise error
    return result


# --- liveness and order ---------------------------------------------------------------------------


def test_reference_counts_pass_their_self_test() -> None:
    if sys.version_info < (3, 14) and getattr(sys, "_is_gil_enabled", lambda: True)():
        assert scans.counts_are_exact()
    assert scans.counts_are_exact() == scans.EXACT_COUNTS


def test_where_counts_cannot_be_trusted_every_node_is_computed(monkeypatch) -> None:
    monkeypatch.setattr(scans, "EXACT_COUNTS", False)
    w = torch.zeros(3, requires_grad=True)
    for i in range(4):
        before = COUNTERS.snapshot()["by_op"].get("exp", 0)
        wasted = w.exp()
        del wasted
        loss = ((w - 1) ** 2).sum()
        loss.backward()
        with torch.no_grad():
            w -= 0.25 * w.grad
        w.grad = None
        assert w[0].item() == pytest.approx(1 - 0.5 ** (i + 1))
        assert COUNTERS.snapshot()["by_op"]["exp"] > before


def test_a_drain_leaves_nothing_pending() -> None:
    x = torch.randn(3)
    held = [x.exp(), x.sin() * 2, (x + 1).sum()]
    assert LOCAL.trace
    held[1].tolist()
    assert LOCAL.trace == []
    assert all(t._node.value is not None for t in held)
    assert all(t._node.src == () and t._node.uses == 0 and t._node.pos == -1 for t in held)


def test_realised_values_do_not_hold_what_they_were_computed_from() -> None:
    x = torch.randn(3)
    y = x.exp()
    reference = weakref.ref(y._node)
    z = y * 2
    z.tolist()
    del y
    gc.collect()
    assert reference() is None


def test_history_survives_a_drain_and_backward_still_works() -> None:
    for read in (False, True):
        x = torch.tensor([0.5, 1.5], requires_grad=True)
        y = (x.exp() * x.sin()).sum()
        if read:
            y.item()
        y.backward()
        v = x.detach().numpy()
        expected = np.exp(v) * (np.sin(v) + np.cos(v))
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)


def test_value_that_history_needs_is_kept_when_its_tensor_is_gone() -> None:
    for _ in range(3):
        x = torch.tensor([0.5, 1.5], requires_grad=True)
        middle = x.exp()
        total = middle.sum()
        del middle
        before = COUNTERS.snapshot()["by_op"].get("exp", 0)
        total.item()
        total.backward()
        x.grad.tolist()
        assert COUNTERS.snapshot()["by_op"]["exp"] == before + 1


def test_nested_drain_from_a_hook() -> None:
    x = torch.ones(3, requires_grad=True)
    seen = []
    y = x * 2
    y.register_hook(lambda g: seen.append((g.sum().item(), (x + 1).sum().item())))
    z = (y * y).sum()
    z.backward()
    assert seen == [(12.0, 6.0)]
    assert x.grad.tolist() == [8, 8, 8]


def test_observers_see_every_program_before_it_runs() -> None:
    seen = []

    def watch(key, wanted, kept, index, numbers) -> None:
        seen.append(([n.op.name for n in wanted], [wanted[i].op.name for i in kept], numbers))
        assert all(n.value is None for n in wanted)

    x = torch.randn(3)
    x.tolist()
    runtime.OBSERVERS.append(watch)
    try:
        (x * 2 + 1).sum().item()
    finally:
        runtime.OBSERVERS.remove(watch)
    assert seen == [(["mul", "add", "sum"], ["sum"], (2.0, 1.0))]


# --- long traces ----------------------------------------------------------------------------------


def test_trace_is_cut_where_its_first_line_comes_round_again() -> None:
    w = torch.zeros(2)
    w.tolist()  # else the trace would start at a line that never comes round
    lengths = []
    for _ in range(2 * FLUSH_NODES):
        w = w * 0.5
        w = w + 1
        w = w - 0.25
        lengths.append(len(LOCAL.trace))
    assert max(lengths) <= FLUSH_NODES + 6
    assert sum(b < a for a, b in zip(lengths, lengths[1:])) >= 2
    # Every piece starts at the same line: the pieces share one program.
    assert len(CACHE.programs) <= 2
    assert w.tolist() == [1.5, 1.5]


def test_trace_without_repetition_is_cut_at_twice_the_bound(monkeypatch) -> None:
    monkeypatch.setattr(LOCAL, "limit", 50)
    source = "\n".join(f"x = x + {i % 3}" for i in range(400))
    scope: dict[str, Any] = {"x": torch.zeros(2)}
    length = 0
    for line in source.splitlines():
        exec(line, scope)
        length = max(length, len(LOCAL.trace))
    assert 50 < length <= 102
    assert scope["x"].tolist() == [399.0, 399.0]


def test_the_operation_that_meets_the_cut_is_whole() -> None:
    x = torch.ones(2)
    values = []
    for i in range(FLUSH_NODES + 300):
        y = x * 2.0
        if i % 500 == 0:
            values.append(y)
    assert [v.tolist() for v in values] == [[2.0, 2.0]] * len(values)
    assert y.tolist() == [2.0, 2.0]


# --- errors in the middle -------------------------------------------------------------------------


def broken(n: int) -> tuple[Any, Any, Any, Any]:
    """Values before, at, after and beside an operation that fails when it is computed."""
    table = torch.arange(6.0).reshape(3, 2)
    at = (torch.ones(2) * n).long()
    good = table * 2
    bad = torch.gather(table, 0, at.reshape(1, 2))  # this line fails for n > 2
    return good, bad, bad + 1, table.sum()


def failing_line() -> int:
    code = broken.__code__
    return code.co_firstlineno + 5


@pytest.mark.parametrize("first", ["good", "bad", "after", "beside"])
@pytest.mark.parametrize("warm", [0, 3])
def test_error_leaves_the_other_values_computed(first: str, warm: int) -> None:
    for _ in range(warm):
        for t in broken(1):
            t.tolist()
    good, bad, after, beside = broken(5)
    order = {"good": good, "bad": bad, "after": after, "beside": beside}
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        order[first].tolist()
    assert good.tolist() == [[0, 2], [4, 6], [8, 10]]
    assert beside.item() == 15
    for failed in (bad, after, bad):
        with pytest.raises((IndexError, RuntimeError)) as error:
            failed.tolist()
        assert f"{__file__}:{failing_line()}, in broken" in str(error.value)
    assert LOCAL.trace == []
    assert [t.tolist() for t in broken(2)][0] == good.tolist()


def test_error_in_an_update_leaves_the_buffer_as_it_was() -> None:
    w = torch.zeros(6, 2)
    table = torch.ones(3, 2)
    for _ in range(4):
        w.add_(1)
        torch.gather(table, 0, torch.zeros(1, 2).long()).tolist()
    old = w + 0
    w.add_(1)
    bad = torch.gather(table, 0, torch.full((1, 2), 9.0).long())
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        bad.tolist()
    assert old.tolist() == [[4.0, 4.0]] * 6
    assert w.tolist() == [[5.0, 5.0]] * 6


def test_integer_division_by_zero_names_the_line_in_every_tier() -> None:
    for _ in range(4):
        x, zero = torch.arange(3), torch.zeros(3).long()
        bad = x // zero
        with pytest.raises(RuntimeError, match="ZeroDivisionError") as error:
            bad.tolist()
        assert __file__ in str(error.value)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            (torch.full((3,), 4) // torch.full((3,), 0)).tolist()


# --- threads --------------------------------------------------------------------------------------


def test_value_pending_in_another_thread() -> None:
    x = in_thread(lambda: (torch.ones(3) * 2).exp())
    assert x._node.value is None
    np.testing.assert_allclose((x + 1).numpy(), np.exp(2.0) + 1, rtol=1e-6)


def test_traces_of_ended_threads_are_computed_and_forgotten() -> None:
    pending = [in_thread(lambda k=k: torch.ones(2) * k) for k in range(5)]
    gone = weakref.ref(in_thread(lambda: torch.ones(2) * 7)._node)
    assert [p.tolist() for p in pending] == [[k, k] for k in range(5)]
    assert gone() is None
    assert all(thread.is_alive() for thread, _ in TRACERS)


def test_two_threads_that_need_each_other() -> None:
    """A chain that goes to and fro between a waiting thread's trace and this one's."""
    steps = 6
    turn = [threading.Event() for _ in range(steps + 1)]
    values: list[Any] = [torch.ones(3) * 3]

    def other() -> None:
        for i in range(0, steps, 2):
            assert turn[i].wait(30)
            values.append(values[-1] * 2 + 1)
            turn[i + 1].set()
        assert turn[steps].wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    for i in range(0, steps, 2):
        turn[i].set()
        assert turn[i + 1].wait(30)
        values.append(values[-1] * 2 + 1)
    try:
        assert thread.is_alive()
        found = [v.tolist() for v in reversed(values)][::-1]
    finally:
        turn[steps].set()
        thread.join(30)
    expected = [3.0]
    for _ in range(steps):
        expected.append(expected[-1] * 2 + 1)
    assert found == [[e] * 3 for e in expected]


def test_operand_that_a_waiting_thread_derived_from_this_trace() -> None:
    for _ in range(3):  # new, compiled, hit
        mine = torch.ones(3) * 2
        made: list[Any] = []
        ready, leave = threading.Event(), threading.Event()

        def other(a: Any = mine, made: list = made, ready: Any = ready, leave: Any = leave) -> None:
            made.append(a + 1)
            ready.set()
            leave.wait(30)

        thread = threading.Thread(target=other)
        thread.start()
        assert ready.wait(30)
        both = mine * made[0]
        try:
            assert both.tolist() == [6, 6, 6]
            assert mine.tolist() == [2, 2, 2] and made[0].tolist() == [3, 3, 3]
        finally:
            leave.set()
            thread.join(30)


def test_another_threads_failing_operand_fails_only_what_uses_it() -> None:
    made: list[Any] = []
    ready, leave = threading.Event(), threading.Event()

    def other() -> None:
        made.append(torch.arange(3) // torch.zeros(3).long())
        ready.set()
        leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(30)
    try:
        good = torch.ones(2) * 3
        bad = made[0] + 1
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            (good + 1).tolist()  # the drain computes what is held, and says what failed
        assert good.tolist() == [3, 3]
        assert (good * 2).tolist() == [6, 6]
        for _ in range(2):
            with pytest.raises(RuntimeError, match="ZeroDivisionError"):
                bad.tolist()
    finally:
        leave.set()
        thread.join(30)


def test_history_that_has_lost_its_value_is_no_operand() -> None:
    for _ in range(3):
        x = torch.rand(4, 2, requires_grad=True)
        with torch.no_grad():
            base = x[:3:2]
        _, second = base.chunk(2)
        del base
        other = torch.arange(4.0)
        assert second.grad_fn is None or second.requires_grad
        other.tolist()
        assert second.tolist() == x[2:3].tolist()


def train(seed: int, steps: int = 60) -> list[float]:
    generator = torch.Generator()
    generator.manual_seed(seed)
    x = torch.randn(8, 4, generator=generator)
    y = torch.randn(8, 2, generator=generator)
    w = torch.zeros(4, 2, requires_grad=True)
    losses = []
    for step in range(steps):
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
            w.grad = None
        if step % 7 == 0:
            losses.append(loss.item())
    return losses + w.flatten().tolist()


def test_many_threads_training_at_once() -> None:
    expected = [train(seed) for seed in range(6)]
    found: list[Any] = [None] * 6
    threads = [
        threading.Thread(target=lambda k=k: found.__setitem__(k, train(k))) for k in range(6)
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
    finally:
        sys.setswitchinterval(before)
    assert found == expected


def test_grad_mode_and_trace_are_a_threads_own() -> None:
    torch.ones(2).exp_()

    def inside() -> tuple[bool, int]:
        with torch.no_grad():
            return torch.is_grad_enabled(), len(LOCAL.trace)

    assert in_thread(inside) == (False, 0)
    assert torch.is_grad_enabled()


def test_tensor_shared_by_threads_is_computed_once() -> None:
    x = torch.randn(5)
    shared = x.exp()
    found: list[Any] = []
    before = COUNTERS.snapshot()["by_op"].get("exp", 0)
    threads = [threading.Thread(target=lambda: found.append(shared.tolist())) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert len(found) == 5 and all(f == found[0] for f in found)
    assert shared.tolist() == found[0]
    assert COUNTERS.snapshot()["by_op"]["exp"] == before + 1


# --- fork -----------------------------------------------------------------------------------------


FORK = """
import os, threading, warnings
warnings.simplefilter("ignore")
import lazyt as torch
from lazyt.ir.node import LOCAL
from lazyt.runtime import drain as runtime
from lazyt.runtime.stats import COUNTERS

x = torch.ones(3)
costly = x.exp()
wanted = x * 2
pid = os.fork()
if pid == 0:
    try:
        assert LOCAL.trace == []
        assert wanted.tolist() == [2, 2, 2]                 # computed alone
        assert "exp" not in COUNTERS.snapshot()["by_op"]
        assert (wanted + 1).tolist() == [3, 3, 3]
        for _ in range(4):
            w = torch.zeros(2, requires_grad=True)
            ((w - 1) ** 2).sum().backward()
            assert w.grad.tolist() == [-2, -2]
        assert abs(costly.sum().item() - 8.1548) < 1e-3
        t = threading.Thread(target=lambda: (x + 1).tolist())
        t.start(); t.join(20)
        assert not t.is_alive()
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert len(LOCAL.trace) > 0
assert costly.sum().item() > 8

# A lock that another thread holds at the moment of the fork.
entered, leave = threading.Event(), threading.Event()
def hold():
    with runtime.LOCK:
        entered.set()
        leave.wait(0.3)
t = threading.Thread(target=hold)
t.start(); entered.wait()
pid = os.fork()
if pid == 0:
    ok = (x + 5).tolist() == [6, 6, 6]
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
t.join()
print("whole")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_child_drops_what_is_pending_and_computes_what_it_reads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORK)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "whole\n", done.stderr


# --- the cache ------------------------------------------------------------------------------------


def test_clearing_plans_forgets_programs_and_bytes() -> None:
    x = torch.randn(3)
    for _ in range(3):
        (x * 2).sum().item()
    assert runtime.plan_bytes() > 0
    runtime.clear_plans()
    assert runtime.plan_bytes() == 0 and not CACHE.programs
    assert (x * 0 + 1).tolist() == [1, 1, 1]


def test_types_are_part_of_the_key() -> None:
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        x = torch.tensor([0.1, 0.2], dtype=dtype)
        for _ in range(3):
            y = x * 3
            assert y.dtype is dtype
            assert y.tolist() == pytest.approx([0.3, 0.6], rel=1e-2)


def test_one_array_under_two_types_is_two_inputs() -> None:
    half = torch.tensor([0.1, 0.2], dtype=torch.bfloat16)
    single = half.float()
    single.tolist()
    for _ in range(3):
        a, b = half * 3, half * 7
        assert (a.dtype, b.dtype) == (torch.bfloat16, torch.bfloat16)
        c, d = half * 3, single * 7
        assert (c.dtype, d.dtype) == (torch.bfloat16, torch.float32)
        assert b.tolist() != d.tolist()
        assert a.tolist() == c.tolist()


def test_same_operand_twice_and_two_equal_operands_are_different_programs() -> None:
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    for _ in range(3):
        assert (x * x).tolist() == [1, 4]
        assert (x * y).tolist() == [3, 8]
        assert (y * y).tolist() == [9, 16]


def test_nothing_is_flushed_before_the_runtime_is_there() -> None:
    made = object.__new__(Node)
    assert nodes.no_flush(made) is None


def test_what_a_later_backward_reads_is_not_donated() -> None:
    """The old value of `y` is held by the history of the new one alone, and is read by it."""
    for _ in range(3):
        x = torch.tensor([0.25, -2.0], requires_grad=True)
        y = x.data * -2.0
        y.tolist()
        y *= x
        torch.ones(2).tolist()
        y.backward(torch.ones(2))
        assert x.grad.tolist() == [-0.5, 4.0]


def test_equal_parts_of_several_results_are_memory_of_their_own() -> None:
    """What one operation gives twice is computed once, but nobody writes to another's result."""
    x, norm = torch.arange(12.0).view(1, 2, 6), torch.nn.InstanceNorm1d(2)
    for _ in range(4):  # the plan that knows that they are equal runs from the second time on
        first, second = norm(x), norm(x)
        first.numpy()[...] = 0
        assert second.abs().sum() > 10


# --- interrupts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("in_c", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize("scan", ["history", "tagged", "scan", "settle"])
def test_what_an_interrupt_cut_short_is_computed_later(
    scan: str, in_c: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Ctrl-C arrives anywhere; the values, and the programs after it, are as without it."""
    if in_c:
        request.getfixturevalue("c_tier")
        (torch.ones(3) * 2 + 1).tolist()  # the scans are in C from here on

    class Foreign:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            raise RuntimeError("asked while nodes are looked for")

    foreign = [Foreign()]

    def step(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        loss = (x @ w).tanh().pow(2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
            w.grad = None
        return loss

    def trained(interrupted: int) -> list[float]:
        w = torch.full((3, 2), 0.5, requires_grad=True)
        losses = [step(w, torch.full((4, 3), float(k))) for k in range(1, 4)]
        if interrupted:
            left = [interrupted]

            def interrupt(call: Any) -> Any:
                def cut(*given: Any) -> Any:
                    left[0] -= 1
                    if left[0] == 0:
                        raise KeyboardInterrupt
                    return call(*given)

                return cut

            with monkeypatch.context() as patch:
                if scan in ("scan", "settle"):
                    patched = runtime.SCANS[0]._replace(
                        **{scan: interrupt(getattr(runtime.SCANS[0], scan))}
                    )
                    patch.setattr(runtime, "SCANS", [patched])
                else:
                    call = interrupt(getattr(runtime.Marks, scan))
                    patch.setattr(
                        runtime.Marks, scan, staticmethod(call) if scan == "tagged" else call
                    )
                try:
                    losses[0].item()
                except KeyboardInterrupt:
                    pass
                else:
                    assert left[0] > 0
        return [*(loss.item() for loss in losses), *w.tolist()[0]]

    expected = trained(0)
    for k in (1, 2, 5, 9):
        assert trained(k) == pytest.approx(expected, rel=1e-6)
    foreign.clear()
