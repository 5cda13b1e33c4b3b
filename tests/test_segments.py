"""Plans of the C tier: what runs in one call, matrix products by BLAS, memory of large results."""

from __future__ import annotations

import os
import pickle
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_tier import needs_compiler
from loop_programs import lenet_step, optimizer

import lazyt as torch
import lazyt.nn as nn
import lazyt.nn.functional as F
from lazyt.codegen.segments import MatrixProduct, batch
from lazyt.runtime import blas, native, programs
from lazyt.runtime.plan import Plan

pytestmark = needs_compiler
needs_blas = pytest.mark.skipif(blas.blas() is None, reason="NumPy has no OpenBLAS here")
LARGE = 1 << 16  # floats: the memory of such a result is kept


def calls(plan: Plan) -> tuple[int, int]:
    """How many foreign calls a plan makes, and how many NumPy calls."""
    lines = [line for line in plan.code.source.splitlines() if not line.lstrip().startswith("#")]
    foreign = sum(bool(re.search(r"\bp\d+\(", line)) for line in lines)
    counts = dict(plan.kernels_by_op)
    counts.pop("loops", None)
    products = len(re.findall(r"^    # .* = (matmul|conv\w*)\(", plan.code.source, re.MULTILINE))
    return foreign, sum(counts.values()) - products


# --- one call -------------------------------------------------------------------------------------


def test_softmax_is_one_call(plans: list[Plan]) -> None:
    y = torch.softmax(torch.rand(8, 9), -1)
    y.tolist()
    assert calls(plans[-1]) == (1, 0)


@needs_blas
def test_a_step_of_an_mlp_is_one_call(plans: list[Plan]) -> None:
    net = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 10))
    made = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.rand(8, 16), torch.arange(8)
    y.tolist()
    losses = []
    for _ in range(4):
        made.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert calls(plans[-1]) == (1, 0)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_step_of_an_optimizer_is_one_call(kind: Callable, plans: list[Plan]) -> None:
    step = optimizer(lambda p: kind(p, lr=0.1))
    for _ in range(3):
        step()
    assert calls(plans[-1]) == (1, 0)


@pytest.mark.parametrize(
    "made",
    [
        lambda x: F.layer_norm(x, (6,)),
        lambda x: F.max_pool2d(x, 2),
        lambda x: x.max(dim=1).values,
    ],
)
def test_a_loss_is_read_before_its_backward(made: Callable, plans: list[Plan]) -> None:
    """What the backward will read of an operation of several results is kept by the same call."""
    values = (np.arange(4 * 3 * 36).reshape(4, 3, 6, 6) * np.float32(0.3)) % 5
    found = []
    for early in (False, True):
        for _ in range(3):
            x = torch.from_numpy(values.copy()).requires_grad_()
            loss = (made(x) ** 3).sum()
            if early:
                loss.item()
                forward = plans[-1:]
            loss.backward()
            found.append((x.grad.numpy(), loss.item()))
    assert calls(forward[0])[0] == 1
    for gradient, value in found[1:]:
        np.testing.assert_allclose(gradient, found[0][0], rtol=1e-4, atol=1e-5)
        assert value == pytest.approx(found[0][1], rel=1e-6)


@needs_blas
def test_a_step_of_lenet_is_one_call(plans: list[Plan]) -> None:
    """Products, convolutions, pooling, the optimizer: one instruction after the other."""
    step = lenet_step()
    for _ in range(2):
        step().item()
    assert plans[-1].kernels_by_op["matmul"] == 9
    assert calls(plans[-1]) == (1, 0)


def test_batches_of_a_data_set_are_index_arithmetic(plans: list[Plan]) -> None:
    """Where a batch begins is a number of the call: one plan, no line of Python for the slice."""
    data = torch.arange(120.0).view(12, 10)
    data.tolist()
    made = len(plans)
    for k in range(4):
        found = (data[3 * k : 3 * k + 3, 2:8].t() * 2).sum(1).tolist()
        assert (
            found == (np.arange(120.0).reshape(12, 10)[3 * k : 3 * k + 3, 2:8] * 2).sum(0).tolist()
        )
    assert len(plans) == made + 1
    assert "window" not in plans[-1].code.source


def test_a_reshape_that_copies_is_between_two_calls(plans: list[Plan]) -> None:
    x = torch.arange(12.0).view(3, 4)
    y = (x * 2).t().reshape(12) + torch.arange(12.0)
    assert (
        y.tolist() == ((np.arange(12.0).reshape(3, 4) * 2).T.reshape(12) + np.arange(12)).tolist()
    )


def test_a_view_of_a_copy_begins_where_it_did(plans: list[Plan]) -> None:
    """NumPy copies for the diagonal of what lies permuted; what follows moves within that copy."""
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0], [0.0, 1.0]])
    x.transpose_(0, -1)
    y = x.diagonal(1).select(0, -1).reshape(-1) + torch.tensor([10.0, 20.0, 30.0])
    assert y.tolist() == [11.0, 21.0, 31.0]


def test_views_of_results_are_shown_after_the_call(plans: list[Plan]) -> None:
    x = torch.tensor(np.arange(12.0, dtype=np.float32).reshape(3, 4)) * 2
    y, z = x.t(), x[1]
    w = z + 1
    assert (y.tolist(), z.tolist(), w.tolist()) == (
        (np.arange(12.0).reshape(3, 4) * 2).T.tolist(),
        [8.0, 10.0, 12.0, 14.0],
        [9.0, 11.0, 13.0, 15.0],
    )
    assert calls(plans[-1]) == (1, 0)


def test_nests_are_called_by_themselves(plans: list[Plan]) -> None:
    """What a plan of several devices does: a nest is a call with its arrays and numbers."""
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    (x * 2).sum(1).tolist()
    ((lowered,),) = plans[-1].code.nests
    (call,) = programs.callers([batch([lowered.c, lowered.c])], [])
    a, b = np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)
    sums, others = np.empty(2, np.float32), np.empty(2, np.float32)
    assert call(a, sums, b, others) is None
    assert (sums.tolist(), others.tolist()) == ([6.0, 6.0], [12.0, 12.0])
    with pytest.raises(ValueError, match="wrong number of arguments"):
        call(a)


# --- matrix products ------------------------------------------------------------------------------

LAYOUTS: list[tuple[tuple[int, ...], tuple[int, ...], str]] = [
    ((3, 5), (5, 4), "plain"),
    ((3, 1), (1, 4), "plain"),
    ((1, 5), (5, 4), "plain"),
    ((3, 5), (5, 1), "plain"),
    ((1, 5), (5, 1), "plain"),
    ((5,), (5, 4), "plain"),
    ((3, 5), (5,), "plain"),
    ((5,), (5,), "plain"),
    ((1,), (1,), "plain"),
    ((2, 3, 5), (5, 4), "plain"),
    ((2, 3, 5), (5,), "plain"),
    ((5,), (2, 5, 4), "plain"),
    ((2, 3, 5), (2, 5, 4), "plain"),
    ((3, 5), (2, 5, 4), "plain"),
    ((2, 1, 3, 5), (3, 5, 4), "plain"),
    ((2, 3, 3, 5), (1, 3, 5, 4), "plain"),
    ((2, 3, 1, 5), (5, 4), "plain"),
    ((2, 3, 1, 5), (2, 3, 5, 1), "plain"),
    ((64, 65), (65, 66), "plain"),
    ((5, 3), (5, 4), "turn left"),
    ((3, 5), (4, 5), "turn right"),
    ((5, 3), (4, 5), "turn both"),
    ((2, 5, 3), (2, 5, 4), "turn left"),
    ((2, 3, 5), (2, 4, 5), "turn right"),
    ((2, 5, 3), (4, 5), "turn both"),
    ((2, 5, 1), (4, 5), "turn both"),
    ((5, 1), (5, 4), "turn left"),
    ((6, 10), (10, 8), "every second row"),
    ((6, 10), (10, 8), "middle columns"),
    ((6, 10), (10, 8), "every second column"),
    ((3, 5), (5, 4), "expanded left"),
    ((10,), (10, 8), "every second element"),
]  # fmt: skip


def laid_out(a: Any, b: Any, how: str) -> tuple[Any, Any]:
    """Both operands as views that lie in another way."""
    if how.startswith("turn"):
        turned = lambda x: x.swapaxes(-1, -2)
        return (
            turned(a) if how != "turn right" else a,
            turned(b) if how != "turn left" else b,
        )
    if how == "every second row":
        return a[::2], b
    if how == "middle columns":
        return a[:, 1:9], b[1:9, 2:7]
    if how == "every second column":
        return a[:, ::2], b[::2]
    if how == "every second element":
        return a[::2], b[::2]
    if how == "expanded left":
        return a[:1] if isinstance(a, np.ndarray) else a[:1].expand(3, 5), b
    return a, b


@needs_blas
@pytest.mark.parametrize("shapes", LAYOUTS, ids=lambda s: f"{s[0]}-{s[1]}-{s[2]}".replace(" ", ""))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_agree_with_numpy(shapes: tuple, dtype: type, plans: list[Plan]) -> None:
    numbers = np.random.default_rng(3)
    a, b = (numbers.standard_normal(shape).astype(dtype) for shape in shapes[:2])
    left, right = laid_out(a, b, shapes[2])
    if shapes[2] == "expanded left":
        left = np.repeat(left, 3, 0)
    expected = np.matmul(left, right)
    x, y = torch.from_numpy(a.copy()) + 0, torch.from_numpy(b.copy()) + 0
    x, y = laid_out(x, y, shapes[2])
    found = (torch.matmul(x, y) + 0).numpy()
    assert found.shape == expected.shape and found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)
    if shapes[2] == "every second column":  # of which BLAS has no notion
        assert calls(plans[-1]) == (2, 1)
    elif shapes[2] != "expanded left":
        assert calls(plans[-1]) == (1, 0)


@needs_blas
def test_random_products_agree_with_numpy(plans: list[Plan]) -> None:
    choose = random.Random(5)
    numbers = np.random.default_rng(5)
    for _ in range(60):
        m, k, n = (choose.choice((1, 2, 3, 8, 17)) for _ in range(3))
        lead = [choose.choice((1, 2, 3)) for _ in range(choose.randrange(3))]
        made, views = [], []
        for extents in ((m, k), (k, n)):
            batch = lead[choose.randrange(2) :]
            shape = (*(d if choose.random() < 0.7 else 1 for d in batch), *extents)
            turned = choose.random() < 0.5
            lying = (*shape[:-2], shape[-1], shape[-2]) if turned else shape
            array = numbers.standard_normal(lying).astype(np.float32)
            made.append(array.swapaxes(-1, -2) if turned else array)
            x = torch.from_numpy(array.copy()) * 1.0
            views.append(x.transpose(-1, -2) if turned else x)
        found = (torch.matmul(*views) * 1.0).numpy()
        np.testing.assert_allclose(found, np.matmul(*made), rtol=2e-5, atol=1e-5)


@needs_blas
def test_products_of_integers_and_without_elements_are_numpy_calls(plans: list[Plan]) -> None:
    a, b = torch.arange(6).view(2, 3), torch.arange(6).view(3, 2)
    assert torch.matmul(a + 1, b + 1).add(1).tolist() == [[23, 29], [50, 65]]
    empty = torch.matmul(torch.ones(2, 0) + 1, torch.ones(0, 3) + 1) + 1
    assert empty.tolist() == [[1.0] * 3] * 2


def test_without_blas_products_are_numpy_calls(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "blas", lambda: None)
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    found = ((x + 1) @ (x + 1).t() * 2).tolist()
    assert found == [[28.0, 64.0], [64.0, 154.0]]
    assert calls(plans[-1]) == (2, 1)


def form_of(a: tuple[int, ...], b: tuple[int, ...], plans: list[Plan]) -> Any:
    x, y = torch.from_numpy(np.ones(a, np.float32)), torch.from_numpy(np.ones(b, np.float32))
    torch.matmul(x + 1, y + 1).add(1).tolist()
    (found,) = (
        made for made in plans[-1].code.segments[0].instructions if isinstance(made, MatrixProduct)
    )
    return found.form


@needs_blas
def test_a_stack_times_a_matrix_is_one_tall_product(plans: list[Plan]) -> None:
    tall = form_of((8, 32, 64), (64, 10), plans)
    assert (tall.rows, tall.inner, tall.columns, tall.batch) == (256, 64, 10, ())
    stacks = form_of((8, 32, 64), (8, 64, 10), plans)
    assert stacks.batch == ((8, 32 * 64, 64 * 10, 32 * 10),)
    joined = form_of((2, 4, 32, 64), (2, 4, 64, 10), plans)
    assert joined.batch == stacks.batch
    vector = form_of((1, 64), (64, 10), plans)
    assert (vector.vector, vector.rows, vector.columns) == (True, 10, 1)


LIBRARY = """
void {0}cblas_sgemm{1}(void) {{}} void {0}cblas_dgemm{1}(void) {{}}
void {0}cblas_sgemv{1}(void) {{}} void {0}cblas_dgemv{1}(void) {{}}
const char *openblas_get_config(void) {{ return "OpenBLAS 0.3 {2} Haswell"; }}
"""


@pytest.mark.parametrize(
    ("prefix", "suffix", "config", "wide"),
    [
        ("scipy_", "64_", "", True),
        ("", "64_", "", True),
        ("scipy_", "", "", False),
        ("", "", "USE64BITINT", True),
        ("", "", "NO_AFFINITY", False),
    ],
)
def test_openblas_is_known_by_its_names(
    prefix: str, suffix: str, config: str, wide: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    made = tmp_path / "libopenblas.so"
    native.compile_shared(LIBRARY.format(prefix, suffix, config), made)
    monkeypatch.setattr(blas, "_loaded", lambda: [str(tmp_path / "libnothing.so"), str(made)])
    found = blas.blas.__wrapped__()
    assert found is not None and found.wide is wide
    assert sorted(found.addresses) == sorted(blas.FUNCTIONS)
    monkeypatch.setattr(blas, "_loaded", list)
    assert blas.blas.__wrapped__() is None


# --- memory of large results ----------------------------------------------------------------------


NUMBERS = torch.tensor(np.arange(2 * LARGE, dtype=np.float32))


def large(scale: float, numel: int = LARGE) -> Any:
    """A new tensor of 0, scale, 2 scale, …"""
    return NUMBERS[:numel] * scale


def test_memory_of_a_dropped_result_comes_back(plans: list[Plan]) -> None:
    addresses = set()
    for k in range(6):
        y = large(k + 0.5)
        assert y[2].item() == 2 * k + 1
        addresses.add(y.data_ptr())
        del y
    assert len(addresses) == 1


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "tensor": lambda y: y,
    "numpy": lambda y: y.numpy(),
    "view": lambda y: y[5:],
    "view of numpy": lambda y: y.numpy()[5:].reshape(-1, 1),
    "memoryview": lambda y: memoryview(y.numpy()),
}


@pytest.mark.parametrize("how", [*HOLDERS, "thread"])
def test_a_held_result_is_never_written_again(how: str, plans: list[Plan]) -> None:
    y = large(1.5)
    y[0].item()
    held: Any = None
    if how == "thread":
        box, done = [y], threading.Event()
        waiting = threading.Thread(target=lambda kept: (done.wait(), kept), args=box)
        waiting.start()
        box.clear()
    else:
        held = HOLDERS[how](y)
    first = y.data_ptr()
    expected = np.arange(LARGE, dtype=np.float32) * 1.5
    del y
    for k in range(3):
        z = large(k + 2.5)
        assert z[2].item() == 2 * k + 5
        assert z.data_ptr() != first
        del z
    if how == "thread":
        done.set()
        waiting.join()
    else:
        found = np.asarray(held).ravel()
        start = LARGE - len(found)
        np.testing.assert_array_equal(found, expected[start:])


def test_a_pickled_copy_is_its_own(plans: list[Plan]) -> None:
    y = large(1.5)
    copy = pickle.loads(pickle.dumps(y))
    first = y.data_ptr()
    assert copy.data_ptr() != first
    del y
    z = large(4.5)
    assert z[2].item() == 9
    assert copy[2].item() == 3


def test_results_are_donated_as_before(plans: list[Plan]) -> None:
    """Kept memory adds no holder: a step in place goes on in its own array."""
    x = large(1.0)
    x[0].item()
    addresses = set()
    for _ in range(5):
        x.mul_(1.5).add_(1.0)
        x[0].item()
        addresses.add(x.data_ptr())
    assert len(addresses) == 1


def test_kept_memory_is_bounded(plans: list[Plan]) -> None:
    library = programs.driver()
    try:
        assert library.lazyt_keep(0) == 0
        y = large(1.5)
        y[0].item()
        del y
        assert library.lazyt_keep(3 * 4 * LARGE) == 0
        for k in range(6):
            y = large(2.0, LARGE + LARGE // 6 * k)
            y[0].item()
            del y
        kept = library.lazyt_keep(3 * 4 * LARGE)
        assert 4 * LARGE <= kept <= 3 * 4 * LARGE
    finally:
        library.lazyt_keep(0)
        library.lazyt_keep(programs.KEPT_BYTES)


def test_numpy_resizes_and_copies_such_memory(plans: list[Plan]) -> None:
    y = large(1.5)
    y[0].item()
    run, inputs = plans[-1].run, [NUMBERS.numpy().copy(), *([0] * 2)][: 1 + len(plans[-1].scalars)]
    (array, *_) = run(*inputs)
    expected = array.copy()
    array.resize(LARGE + 1000, refcheck=False)
    np.testing.assert_array_equal(array[:LARGE], expected)
    assert not array[LARGE:].any()


# --- faults, threads, forks -----------------------------------------------------------------------


def test_a_refusal_names_the_line_and_changes_nothing(plans: list[Plan]) -> None:
    scores, target = torch.ones(6, 5), torch.tensor([0, 4, 2, 4, 1, 3])
    weights = torch.ones(5)
    weights[0].item()

    def step(shift: int) -> Any:
        loss = F.cross_entropy(scores * weights, target + shift)
        weights.mul_(2.0)
        return loss

    step(0).item()
    assert weights.tolist() == [2.0] * 5
    loss = step(1)
    with pytest.raises(IndexError, match=r"(?s)Target 5 is out of bounds.*test_segments") as caught:
        loss.item()
    assert "in step" in str(caught.value)
    assert weights.tolist() == [4.0] * 5


def test_threads_of_python_run_programs_at_once(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAZYT_THREADS", "2")
    wrong = []

    def work(number: int) -> None:
        x = torch.full((600, 1000), float(number))
        for _ in range(20):
            y = (x * 2 + 1).sum(1)
            if y.tolist() != [1000.0 * (2 * number + 1)] * 600:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_program_may_run_while_another_has_the_threads(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions of a plan called at once, without the lock of the drain."""
    monkeypatch.setenv("LAZYT_THREADS", "2")
    x = torch.tensor(np.ones((800, 1000), np.float32))
    (x.exp() * 2).sum(1).tolist()
    run, arrays = plans[-1].run, [np.full((800, 1000), k, np.float32) for k in range(4)]
    found: dict[int, list] = {}

    def work(k: int) -> None:
        found[k] = [run(arrays[k])[0].copy() for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, results in found.items():
        for result in results:
            np.testing.assert_allclose(result, np.full(800, 2000 * np.exp(float(k))), rtol=1e-5)


def test_the_result_of_a_number_of_threads_is_always_the_same(
    plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAZYT_THREADS", "3")
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(300_001).astype(np.float32))
    assert len({(x * 1.5).sum().item() for _ in range(30)}) == 1


def test_a_plan_that_is_asked_for_while_it_runs_leaves_its_workspace_alone(
    plans: list[Plan],
) -> None:
    """As by a finalizer that the collector calls between two segments."""
    x = torch.tensor([[3.0, 1.0], [2.0, 4.0]])

    def step(scale: float) -> list:
        y = x * scale
        y = torch.sort(y, -1).values + y
        return y.tolist()

    expected = [step(1.0), step(2.0)]
    step(3.0)
    scope = plans[-1].run.__globals__
    inner, inside = scope["p1"], []

    def p1(*arguments: Any) -> Any:
        scope["p1"] = inner
        inside.append(step(1.0))
        return inner(*arguments)

    scope["p1"] = p1
    assert step(2.0) == expected[1]
    assert inside == expected[:1]


FORKED = """
import os, sys
import lazyt as torch
x = torch.arange(1 << 18, dtype=torch.float32)
step = lambda k: (x * k + 1).sum().item()
step(1.0), step(2.0)
expected = step(3.0)
pid = os.fork()
if pid == 0:
    os._exit(0 if step(3.0) == expected and step(4.0) > expected else 1)
_, status = os.waitpid(pid, 0)
assert step(3.0) == expected
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_threads_of_its_own(c_tier: None) -> None:
    env = os.environ | {"LAZYT_THREADS": "2", "LAZYT_PLANS": "first"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["0"], done.stderr


WOKEN = """
import os, time
import lazyt as torch
threads = lambda: [int(name) for name in os.listdir("/proc/self/task")]
before = len(threads())  # BLAS has its own
x = torch.rand(1 << 21)
for _ in range(10):
    (x * 2 + 1).exp().sum().item()
    time.sleep(0.01)  # the pool's threads fall asleep
allowed = os.sched_getaffinity(0)
free = lambda: all(os.sched_getaffinity(t) == allowed for t in threads())
until = time.monotonic() + 20
while not free() and time.monotonic() < until:
    time.sleep(0.01)
print(len(threads()) - before, free())
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="asks Linux")
def test_threads_that_were_woken_may_run_anywhere(c_tier: None) -> None:
    """They are kept off their caller's processor until they run, and no longer."""
    env = os.environ | {"LAZYT_THREADS": "3", "LAZYT_PLANS": "first"}
    done = subprocess.run(
        [sys.executable, "-c", WOKEN], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["2", "True"], done.stderr


def test_results_of_a_custom_function_are_what_its_forward_returned(c_tier: None) -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    for _ in range(3):  # evaluated, compiled, run again
        w = torch.ones(3, requires_grad=True)
        y = Twice.apply(w * 3)
        z = (w * 5).sin()
        loss = (y * z.exp() * z).sum()
        loss.backward()
        assert loss.item() == pytest.approx(18 * np.sin(5) * np.exp(np.sin(5)), rel=1e-5)
        s, c = np.sin(5), np.cos(5)
        expected = 6 * np.exp(s) * s + 6 * 5 * c * np.exp(s) * (1 + s)
        assert w.grad.tolist() == pytest.approx([expected] * 3, rel=1e-4)


def test_variance_of_rows_far_from_zero(c_tier: None) -> None:
    """The mean is rounded to float32, the variance does not suffer from it; nor is it below 0."""
    near = np.random.default_rng(0).normal(size=(10, 100))
    x = (near + 1e5).astype(np.float32)
    expected = x.astype(np.float64).var(1, ddof=1)
    for _ in range(3):
        t = torch.from_numpy(x)
        assert t.var(1).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
        assert torch.full((10, 100), 123456.7).std(1).tolist() == [0.0] * 10
        assert (t * 1e30).var(1).tolist() == [float("inf")] * 10
