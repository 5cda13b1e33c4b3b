"""The C tier computes what the evaluator computes; its compiler is called once a kernel."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from c_tier import needs_compiler
from grammar import generate
from graph_tools import compile_trace, evaluated, run_plan, tracing
from harness import implementation
from outcomes import check, runner
from random_graphs import build
from random_programs import report

import lazyt as torch
from lazyt.runtime import disk_cache, drain, native, programs
from lazyt.runtime.stats import COUNTERS

TESTS = Path(__file__).parent


def agree(found: object, expected: np.ndarray, what: str) -> None:
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6, err_msg=what)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=what)


@needs_compiler
@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_agree_with_the_evaluator(seed: int, c_tier: None) -> None:
    with tracing() as trace, np.errstate(all="ignore"):
        made = build(np.random.default_rng(seed), 30)
        results = made[-3:]
    values = evaluated(trace, {})
    compiled = compile_trace(trace, results)
    for donate in (False, True):
        found, _ = run_plan(compiled, donate)
        for a, r in zip(found, results):
            agree(a, values[r], compiled.source)


@needs_compiler
@pytest.mark.parametrize("batch", range(3))
def test_random_programs_do_what_torch_does(
    batch: int, c_tier: None, oracle: types.ModuleType
) -> None:
    expected, actual = runner("torch"), runner(implementation())
    for seed in range(batch * 20, batch * 20 + 20):
        program = generate(random.Random(seed))
        if check(program, expected, actual) is not None:
            pytest.fail(f"# seed {seed}\n{report(program, expected, actual)}")


@needs_compiler
@pytest.mark.parametrize("woken_from", [0, 1 << 40])
def test_nests_are_shared_by_threads(
    woken_from: int, c_tier: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that wake the threads, and those that take who is awake."""
    monkeypatch.setenv("LAZYT_THREADS", "3")
    monkeypatch.setattr(programs, "SHARED_FROM", 0)
    monkeypatch.setattr(programs, "WOKEN_FROM", woken_from)
    x = torch.rand(1301, 257)
    for f in (
        lambda: x * 2 + 1,
        lambda: torch.softmax(x, -1),
        lambda: torch.softmax(x, 0),
        lambda: x.sum(0),
        lambda: x.amax(1),
        lambda: x.sum(),
    ):
        several = [f().numpy().copy() for _ in range(5)]
        with monkeypatch.context() as plain:
            plain.setenv("LAZYT_CPU", "numpy")
            drain.CACHE.clear()
            for found in several:
                agree(found, f().numpy(), "shared")
        drain.CACHE.clear()


@needs_compiler
def test_a_nan_is_an_extreme(c_tier: None) -> None:
    x = torch.tensor([[1.0, float("nan"), 3.0], [1.0, 2.0, -float("inf")]])
    assert str(x.amax(1).tolist()) == "[nan, 2.0]"
    assert str(x.amin(0).tolist()) == "[1.0, nan, -inf]"


def test_gradients_go_through_functions_of_hooks(c_tier: None) -> None:
    """A full backward hook puts an operation of several results around a module."""
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    seen: list = []
    net[0].register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs[0]))
    net(torch.ones(2, 2, requires_grad=True)).sum().backward()
    assert seen[0].tolist() == net[1].weight.tolist() * 2


@needs_compiler
def test_a_step_in_place_reuses_its_memory(c_tier: None) -> None:
    x = torch.ones(1000)
    addresses = set()
    for _ in range(5):
        x.mul_(1.5).add_(1.0)
        addresses.add(x.data_ptr())
    assert len(addresses) <= 2
    assert x[0].item() == 1.5**5 + sum(1.5**k for k in range(5))


@needs_compiler
def test_known_kernels_call_no_compiler(c_tier: None) -> None:
    def step(rows: int, scale: float) -> float:
        return ((torch.ones(rows, 5) * scale).exp() - 1.0).sum().item()

    step(4, 1.5)
    before = COUNTERS.compiler_calls
    step(7, 1.5)
    drain.CACHE.clear()
    step(3, 1.5)
    assert COUNTERS.compiler_calls == before


@needs_compiler
def test_another_process_finds_them_on_disk(folder: Path) -> None:
    program = (
        "import lazyt as torch\nfrom lazyt.runtime.stats import COUNTERS\n"
        "for _ in range(3):\n    y = (torch.ones(5) * 3).tanh().sum().item()\n"
        "print(COUNTERS.compiler_calls)\n"
    )
    env = os.environ | {"LAZYT_CPU": "c", "LAZYT_CACHE": str(folder / "shared")}
    run = lambda: (
        subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
        ).stdout
    )
    assert int(run()) > 0
    assert int(run()) == 0


def with_compiler(command: str, folder: Path) -> str:
    """What a program prints where CC is `command`."""
    program = (
        "import warnings; warnings.simplefilter('always')\nimport lazyt as torch\n"
        "for _ in range(3):\n    print((torch.ones(3) * 2).sum().item())\n"
    )
    env = os.environ | {"LAZYT_CPU": "c", "LAZYT_CACHE": str(folder), "CC": command}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", ["/no/such/compiler", "false", "'unbalanced"])
def test_a_compiler_that_fails_is_one_warning(command: str, tmp_path: Path) -> None:
    said = with_compiler(command, tmp_path)
    assert said.count("6.0") == 3
    assert said.count("NumPy code runs instead") == 1


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "other bytes": lambda content: content[:9000] + bytes(2000) + content[11000:],
}


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGE)
def test_broken_cache_entries_are_made_again(damage: str, tmp_path: Path) -> None:
    """Those of kernels, of the driver and of what traces: a loader would end the process, or run
    what it finds."""
    first = with_compiler("", tmp_path)
    entries = sorted(tmp_path.glob("c/*.so"))
    assert len(entries) > 2
    for file in entries:
        content = file.read_bytes()
        file.unlink()  # other names of it, and processes that loaded it, have the same memory
        file.write_bytes(DAMAGE[damage](content))
    assert with_compiler("", tmp_path) == first == "6.0\n" * 3
    assert all(disk_cache.intact(file) for file in entries)


@needs_compiler
def test_an_entry_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Another process may have the one that was there loaded, and may have made its own."""
    whole, own = tmp_path / "whole.so", tmp_path / "own.so"
    whole.write_bytes(b"new")
    own.write_bytes(b"old")
    loaded = own.open("rb")
    for _ in range(2):
        disk_cache.link(whole, own)
    assert loaded.read() == b"old" and own.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == [own, whole]


@needs_compiler
def test_a_target_out_of_range_raises(c_tier: None) -> None:
    """The kernel refuses; the evaluator says what and where."""
    scores, target = torch.randn(6, 5), torch.tensor([0, 4, 2, 5, 1, 3])
    loss = torch.nn.functional.cross_entropy(scores, target + 0)  # what is known is checked at once
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        loss.item()
    loss = torch.nn.functional.cross_entropy(scores, target - 1)
    with pytest.raises(IndexError, match="Target -1 is out of bounds"):
        loss.item()


@needs_compiler
@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("shape", [(6, 5), (5,), (3, 5, 2, 4)])
def test_cross_entropy_agrees_with_the_evaluator(
    shape: tuple[int, ...], ignored: int, c_tier: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.random.default_rng(0)
    scores = numbers.standard_normal(shape).astype(np.float32)
    own = shape[:1] + shape[2:] if len(shape) > 1 else ()
    target = numbers.integers(0, 5, own)

    def step() -> tuple[np.ndarray, np.ndarray]:
        x = torch.from_numpy(scores.copy()).requires_grad_()
        loss = torch.nn.functional.cross_entropy(x, torch.tensor(target), ignore_index=ignored)
        loss.backward()
        return loss.detach().numpy(), x.grad.numpy()

    found = step()
    monkeypatch.setenv("LAZYT_CPU", "numpy")
    drain.CACHE.clear()
    for a, b, what in zip(found, step(), ("loss", "gradient")):
        agree(a, b, what)


@needs_compiler
@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "any", "all", "mean", "std"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_reduction_of_everything_is_shared_out(name: str, broken: bool, c_tier: None) -> None:
    numbers = np.random.default_rng(1).uniform(0.999, 1.001, (3, 200, 301)).astype(np.float32)
    if broken:
        numbers[2, 7, 5] = np.nan
    expected = getattr(torch.from_numpy(numbers).double(), name)().numpy()
    x = torch.from_numpy(numbers)
    found = getattr(x.permute(2, 0, 1) * 1.0, name)().numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-4)


@needs_compiler
def test_what_numpy_orders_otherwise_is_read_row_major(c_tier: None) -> None:
    """np.concatenate puts an axis of stride 0 last in memory."""
    x = torch.tensor([[[True, True, True]], [[True, False, False]]]).expand(2, 3, 3)
    joined = torch.cat([x, x], 1)  # is kept, so that NumPy makes the array
    found = joined.logical_not()
    assert found.tolist() == [[[False] * 3] * 6, [[False, True, True]] * 6]
    assert joined.sum().item() == 24


@needs_compiler
def test_dumped_kernels_compile_as_they_are(c_tier: None, tmp_path: Path) -> None:
    torch.dump(tmp_path)
    try:
        torch.softmax(torch.randn(40, 30), -1).sum(0).tolist()
    finally:
        torch.dump(None)
    sources = sorted(tmp_path.rglob("*.c"))
    assert len(sources) == 2 and len(list(tmp_path.rglob("*.loops"))) == 2
    command = native.compiler()
    assert command is not None
    for source in sources:
        flags = [*native.flags(), "-Wall", "-Werror", "-Wno-unused-function"]
        made = tmp_path / "made.so"
        done = subprocess.run([*command, *flags, str(source), "-o", str(made), "-lm"])
        assert done.returncode == 0


@needs_compiler
def test_memory_that_a_nest_reads_in_another_order_is_not_written_over(c_tier: None) -> None:
    x = torch.arange(9.0).view(3, 3).clone()
    x.tolist()
    turned = x.t() + 0.25
    x += torch.tensor([1.0, 2.0, 3.0]) > 5
    assert turned.tolist() == [[0.25, 3.25, 6.25], [1.25, 4.25, 7.25], [2.25, 5.25, 8.25]]


@needs_compiler
def test_a_value_that_only_others_compute_again_is_gone(c_tier: None) -> None:
    """Its own nest was left without results."""
    zeros = torch.ones(()) > 2
    zeros.zero_()
    found = torch.minimum(zeros.reshape(-1).clone(), torch.from_numpy(np.array([0.0, -1.0])))
    assert found.tolist() == [0.0, -1.0]


@needs_compiler
@pytest.mark.parametrize("late", [False, True])
def test_lent_memory_is_given_back(late: bool, c_tier: None) -> None:
    """An output lends its memory to `e`, which is needed again after the output is there."""
    numbers = np.random.default_rng(2).standard_normal((4, 6)).astype(np.float32)
    e = torch.from_numpy(numbers).exp()
    y = e / e.sum(-1, keepdim=True)
    z = e * (y * y).sum(-1, keepdim=True)
    if not late:
        z = z.sum(-1)
    powers = np.exp(numbers)
    shares = powers / powers.sum(-1, keepdims=True)
    expected = powers * (shares * shares).sum(-1, keepdims=True)
    del e
    agree(y.numpy(), shares, "y")
    agree(z.numpy(), expected if late else expected.sum(-1), "z")


@needs_compiler
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_full_disk_is_one_warning(
    everywhere: bool, c_tier: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kernels lie elsewhere for as long as the process lives; without any place, NumPy goes on."""
    write = native.write_whole

    def full(path: Path, content: bytes) -> None:
        if everywhere or tmp_path in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    programs.driver()
    for known in (disk_cache._warn_once, disk_cache.passing_folder):
        known.cache_clear()
    monkeypatch.setenv("LAZYT_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "_LOADED", {})
    monkeypatch.setattr(native, "write_whole", full)
    with pytest.warns(RuntimeWarning, match="No space left on device") as caught:
        for _ in range(2):
            assert (torch.ones(5) * 3).add(torch.ones(5)).sum().item() == 20
        assert torch.ones(7).exp().sum().item() == pytest.approx(7 * np.e)
    assert len(caught) == 1
    assert bool(native.GIVEN_UP) is everywhere


@needs_compiler
@pytest.mark.parametrize("answers", [False, True])
def test_a_compiler_that_hangs_is_one_warning(
    answers: bool, c_tier: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "cc"
    version = "exit" if answers else "true"
    script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {version}\nexec sleep 60\n')
    script.chmod(0o755)
    programs.driver()
    monkeypatch.setenv("LAZYT_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "_LOADED", {})
    monkeypatch.setattr(native, "TIMEOUT_S" if answers else "ANSWER_S", 0.5)
    monkeypatch.setattr(native, "compiler", lambda: (str(script),))
    native.identity.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="did not finish") as caught:
            assert (torch.ones(7) * 3).add(torch.ones(7)).sum().item() == 28
    finally:
        native.identity.cache_clear()
    assert len(caught) == 1


@needs_compiler
def test_a_value_is_read_at_points_and_at_rows(c_tier: None) -> None:
    """One nest reads a matrix along other axes for its points than for its rows."""
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    blocks = torch.tensor([[[1.0] * 3, [2.0] * 3], [[3.0] * 3, [4.0] * 3]])
    blocks.tolist()
    products = blocks * x
    sums = products.sum(1) + x * 2
    assert products.tolist() == [[[0, 1, 2], [6, 8, 10]], [[0, 3, 6], [12, 16, 20]]]
    assert sums.tolist() == [[6, 11, 16], [18, 27, 36]]


@needs_compiler
def test_whole_numbers_that_change_are_exact(c_tier: None) -> None:
    """A run-time number of an int64 tensor may need more than the 53 bits of a double."""
    x = torch.arange(3)
    for n in (1, 2, 2**53 + 1, 2**62 + 1):
        assert (x + n).tolist() == [n, n + 1, n + 2]
        assert (x * 2 + n > n).tolist() == [False, True, True]
    for scale in (0.5, 0.25):
        assert (x * scale).tolist() == [0.0, scale, 2 * scale]


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((32, 32), (1, 0)),
        ((33, 65), (1, 0)),
        ((97, 200), (1, 0)),
        ((40, 3, 70), (2, 1, 0)),
        ((7, 33, 70), (0, 2, 1)),
        ((33, 34, 35), (1, 2, 0)),
        ((700, 900), (1, 0)),  # shared by threads
    ],
)
def test_what_lies_across_is_read_in_tiles(
    shape: tuple[int, ...], order: tuple[int, ...], c_tier: None
) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    y = np.random.default_rng(1).normal(size=tuple(shape[a] for a in order)).astype(np.float32)
    a, b = torch.tensor(x), torch.tensor(y)
    for _ in range(3):
        found = b + a.permute(order)
        np.testing.assert_array_equal(found.numpy(), y + x.transpose(order))
    (kernel,) = torch.explain(lambda: b + a.permute(order)).kernels
    assert "tile_end" in kernel.c
    (plain,) = torch.explain(lambda: b * 2 + b).kernels
    assert "tile_end" not in plain.c
