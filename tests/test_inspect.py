"""Inspection: explain, stats, dump and the report of a run."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import golden_programs
import numpy as np
import pytest

import lazyt
import lazyt.ir.ops_linalg  # the cost table parses a product and a convolution
from lazyt.ir.cost import cost
from lazyt.ir.node import LOCAL
from lazyt.ir.parser import parse
from lazyt.ir.printer import text
from lazyt.runtime import drain

dumping = importlib.import_module("lazyt.inspect.dumping")


@pytest.fixture(autouse=True)
def _nothing_pending() -> None:
    drain.drain()
    drain.clear_plans()


@pytest.fixture
def dumped(tmp_path: Path) -> Any:
    """A folder that plans are dumped into."""
    lazyt.dump(tmp_path)
    yield tmp_path
    lazyt.dump(None)


# --- the text form of every stage -----------------------------------------------------------------


@pytest.mark.parametrize("name", golden_programs.PROGRAMS)
def test_every_stage_parses_back(name: str) -> None:
    for program in golden_programs.explained(name).programs:
        assert [stage.before for stage in program.ir[1:]] == [s.after for s in program.ir[:-1]]
        assert program.ir[0].before == program.ir.traced
        assert program.ir[-1].after == program.ir.final
        for stage in program.ir:
            assert text(parse(stage.before)) == stage.before
            assert text(parse(stage.after)) == stage.after


# --- a pending tensor -----------------------------------------------------------------------------


def pending_pair() -> tuple[Any, Any]:
    x = lazyt.arange(6.0).reshape(2, 3)
    drain.drain()
    return x, (x * 2 + 1).exp()


def test_a_pending_tensor_is_explained_and_left_alone() -> None:
    x, y = pending_pair()
    other = x - 1
    trace, counters = list(map(id, LOCAL.trace)), lazyt.stats()
    found = lazyt.explain(y)
    assert str(found)
    assert list(map(id, LOCAL.trace)) == trace
    assert lazyt.stats() == counters
    assert [n.value for n in LOCAL.trace] == [None] * len(trace)
    assert [(n.uses, n.pos) for n in LOCAL.trace] == [(0, -1)] * len(trace)
    assert [k.operations for k in found.pieces] == [("mul",), ("add",), ("exp",)]
    assert "sub" not in found.ir.traced
    assert "1 more operations" in found.note
    assert other.tolist() == [[-1, 0, 1], [2, 3, 4]]
    assert y.tolist()[0][0] == pytest.approx(2.718281828)


def test_what_is_held_elsewhere_is_kept() -> None:
    x, _ = pending_pair()
    middle = x * 2
    y = middle + 1
    assert len(lazyt.explain(y).programs[0].traced.outputs) == 2
    del middle
    assert len(lazyt.explain(y).programs[0].traced.outputs) == 1


def test_what_backward_will_read_is_kept() -> None:
    x = lazyt.arange(3.0)
    drain.drain()
    y = x.requires_grad_().exp().sin()  # sin needs the result of exp
    kept = lazyt.explain(y).programs[0].traced.outputs
    assert [v.op.name for v in kept] == ["exp", "sin"]
    y.sum().backward()
    assert x.grad is not None


def test_a_view_that_must_be_derived_anew_is_left_as_it_was() -> None:
    x = lazyt.zeros(2, 3)
    row = x[1]
    x.add_(1)
    trace = list(map(id, LOCAL.trace))
    found = lazyt.explain(row)
    assert "full" in found.ir.traced
    assert list(map(id, LOCAL.trace)) == trace
    assert row.tolist() == [1, 1, 1]


def test_the_random_stream_is_left_alone() -> None:
    lazyt.manual_seed(3)
    want = [lazyt.rand(2).tolist(), lazyt.rand(2).tolist()]
    lazyt.manual_seed(3)
    first = lazyt.rand(2) * 1
    lazyt.explain(first)
    assert [first.tolist(), lazyt.rand(2).tolist()] == want


def test_a_tensor_with_its_value_says_so() -> None:
    _, y = pending_pair()
    y.tolist()
    found = lazyt.explain(y)
    assert found.programs == [] and found.kernels == [] and found.ir == []
    assert "already there" in str(found)
    assert "nothing is pending" in str(lazyt.explain(lazyt.from_numpy(np.ones(2))))


def test_a_tensor_pending_in_another_thread() -> None:
    x, _ = pending_pair()
    made: list[Any] = []
    gate, done = threading.Event(), threading.Event()

    def work() -> None:
        made.append(x * 3)
        gate.set()
        done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    gate.wait(10)
    found = lazyt.explain(made[0])
    done.set()
    thread.join()
    assert [k.operations for k in found.pieces] == [("mul",)]
    assert made[0][0, 1].item() == 3.0


# --- a call ---------------------------------------------------------------------------------------


def step(w: Any, x: Any) -> float:
    y = (x * w).tanh()
    loss = (y * y).sum()
    loss.backward()
    with lazyt.no_grad():
        w -= 0.1 * w.grad
        w.grad = None
    return loss.item()


def test_a_training_step() -> None:
    w, x = lazyt.ones(4).requires_grad_(), lazyt.arange(4.0)
    first = lazyt.explain(step, w, x)
    assert "operation by operation" in first.programs[0].how
    step(w, x)
    step(w, x)
    before = lazyt.stats()["hits"]
    found = lazyt.explain(step, w, x)
    assert lazyt.stats()["hits"] == before + 1
    assert found.result == pytest.approx(sum(v * v for v in (x * w).tanh().tolist()), rel=0.2)
    assert len(found.programs) == 1 and found.programs[0].how == "ran once, as a compiled plan"
    program = drain.CACHE.programs
    assert found.programs[0].source in {p.plan.code.source for p in program.values() if p.plan}
    assert "donated" in found.plan and "scalars" in found.plan
    places = [place for k in found.pieces for place in k.places]
    line = step.__code__.co_firstlineno
    name = Path(__file__).name
    assert f"{name}:{line + 2} (loss)" in places and f"{name}:{line + 5} (w)" in places
    assert any(f"{__file__}:{line + 2}" in k.lines for k in found.pieces)


def test_what_a_call_leaves_pending_is_shown_too() -> None:
    x, _ = pending_pair()

    def two() -> dict[str, Any]:
        read = (x + 1).sum().item()
        return {"left": x * read, "also": [x - 1]}

    found = lazyt.explain(two)
    assert [p.name for p in found.programs] == ["add-sum", "mul-sub"]
    assert "left pending" in found.programs[1].how
    assert "######## program 2" in str(found)
    assert found.result["also"][0][0, 0].item() == -1
    assert not LOCAL.trace


def test_what_reads_several_results_that_are_in_memory_is_explained() -> None:
    """A backward after its forward was read: the first of the saved results is an input's."""
    x = lazyt.arange(12.0).view(3, 4).requires_grad_()
    y = lazyt.nn.functional.layer_norm(x, (4,))
    y.tolist()
    kernels = lazyt.explain(lambda: lazyt.autograd.grad(y, x, y)).pieces
    assert kernels and "standardize" not in str(kernels[0])


def test_repeated_programs_are_shown_once() -> None:
    x, _ = pending_pair()

    def loop() -> None:
        for _ in range(5):
            (x + 1).sum().item()

    found = lazyt.explain(loop)
    assert len(found.programs) == 1
    assert found.programs[0].runs == 5 and "5 times" in found.programs[0].how


def test_a_call_that_fails_raises_and_stops_watching() -> None:
    with pytest.raises(RuntimeError, match="must match the size"):
        lazyt.explain(lambda: lazyt.ones(2) + lazyt.ones(3))
    assert drain.OBSERVERS == []


def test_explain_refuses_what_is_neither() -> None:
    with pytest.raises(TypeError, match="expected a tensor"):
        lazyt.explain(3)
    with pytest.raises(TypeError, match="no further arguments"):
        lazyt.explain(lazyt.ones(2), 1)


def test_groups_and_refusals() -> None:
    x = lazyt.arange(6.0).reshape(2, 3)
    drain.drain()
    y = ((x * 2 + 1).sum(0) + 1) * 3
    found = lazyt.explain(y)
    assert [g.operations for g in found.groups.fused] == [("mul", "add"), ("add", "mul")]
    assert any("sum is a kernel of its own" in r.reason for r in found.groups.refusals)
    assert "refusals: 2" in str(found.groups)


def test_a_blocked_group_is_one_kernel() -> None:
    found = golden_programs.explained("blocked")
    blocked = found.pieces[0]
    assert blocked.operations == ("add", "mul", "tanh")
    assert blocked.source.startswith("x4 = w0\nfor i in range(0, 500, 109):\n    r = slice")
    assert blocked.shapes == ((500, 300), (300,), (500, 300))
    assert blocked.flops == 3 * 500 * 300
    assert blocked.bytes == 4 * (2 * 500 * 300 + 300)


def test_kernels_are_the_same_in_every_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    """They say what is computed together; NumPy takes several calls for one."""
    x = lazyt.ones(3, 4)
    x.tolist()
    step = lambda: lazyt.nn.functional.gelu(x @ x.t()).softmax(-1)
    found, shown = {}, {}
    for tier in ("numpy", "c"):
        monkeypatch.setenv("LAZYT_CPU", tier)
        found[tier] = lazyt.explain(step())
        shown[tier] = str(found[tier])
    assert [k.operations[0] for k in found["numpy"].kernels] == ["matmul", "mul"]
    for name in ("loops", "numpy", "c", "cuda"):
        texts = [[getattr(k, name) for k in e.kernels] for e in found.values()]
        assert texts[0] == texts[1], name
    assert len(found["numpy"].pieces) == 7 and found["c"].pieces == found["c"].kernels
    assert "2 kernels in 7 calls" in shown["numpy"] and "2 kernels, " in shown["c"]
    assert found["numpy"].kernels[1].source == found["numpy"].kernels[1].numpy


def test_every_line_that_computes_belongs_to_one_kernel() -> None:
    for name in golden_programs.PROGRAMS:
        for program in golden_programs.explained(name).programs:
            whole = program.source.splitlines()[1:-1]
            shown = [line for k in program.pieces for line in k.source.splitlines()]
            views = {whole[n - 2][4:] for n, v in program.code.values.items() if v.op.view}
            left = [line[4:] for line in whole if not line.strip().startswith("del ")]
            assert sorted(shown) == sorted(line for line in left if line not in views), name


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "flops", "moved"),
    [
        ("add(%0, %1)", 6, 4 * 18),
        ("add(%0, %0)", 6, 4 * 12),
        ("exp(%0)", 6, 4 * 12),
        ("sum(%0) {axes=(0, 1), keep=False}", 6, 4 * 7),
        ("var(%0) {axes=(1,), keep=False, correction=1}", 24, 4 * 8),
        ("matmul(%0, %2)", 2 * 2 * 3 * 4, 4 * (6 + 12 + 8)),
        ("permute(%0) {order=(1, 0)}", 0, 0),
        ("cast(%0) {dtype_to=float64}", 0, 4 * 6 + 8 * 6),
        ("mul(%0, %4)", 6, 4 * 13),
        ("cat(%0, %1) {axis=0}", 0, 4 * 24),
        ("strided_update(%0, %3, 0) {sizes=(3,), strides=(1,)}", 0, 4 * (6 + 3 + 6)),
        ("strided_add(%0, %3, 0) {sizes=(3,), strides=(1,)}", 3, 4 * (6 + 3 + 6)),
        ("conv(%5, %6) {stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=2}", 0, 0),
    ],
)
def test_cost(line: str, flops: int, moved: int) -> None:
    types = {
        "sum": "float32[]",
        "var": "float32[2]",
        "matmul": "float32[2,4]",
        "permute": "float32[3,2]",
        "cast": "float64[2,3]",
        "cat": "float32[4,3]",
        "conv": "float32[1,4,4,4]",
    }
    name = line.partition("(")[0]
    graph = parse(
        "graph(%0: float32[2,3], %1: float32[2,3], %2: float32[3,4], %3: float32[3], "
        "%7: float32[1], %5: float32[1,4,6,6], %6: float32[4,2,3,3]) {\n"
        "  %4: float32[2,3] = expand(%7) {to=(2, 3)}\n"
        f"  %8: {types.get(name, 'float32[2,3]')} = {line}\n  return %8\n}}\n"
    )
    if name == "conv":
        flops, moved = 2 * (4 * 4 * 4) * (2 * 3 * 3), 4 * (4 * 36 + 4 * 2 * 9 + 64)
    assert cost(graph.body[-1]) == (flops, moved)


def test_an_update_in_place_moves_only_its_window() -> None:
    graph = parse(
        "graph(%0: float32[100,3], %1: float32[3]) {\n"
        "  %2: float32[100,3] = strided_update(%0, %1, 0) {sizes=(3,), strides=(1,)}\n"
        "  return %2\n}\n"
    )
    assert cost(graph.body[0], in_place=True) == (0, 2 * 12)


# --- stats ----------------------------------------------------------------------------------------


def test_stats_count_and_reset() -> None:
    x = lazyt.arange(4.0)
    drain.drain()
    lazyt.reset_stats()
    for _ in range(3):
        (x * 2).sum().item()
    dead = x * 5
    del dead
    (x + 1).tolist()
    found = lazyt.stats()
    assert (found["drains"], found["evaluated"], found["misses"], found["hits"]) == (4, 2, 1, 1)
    assert found["nodes"] == 7 and found["dead"] == 1 and found["traced"] == 8
    assert found["by_op"] == {"add": 1, "mul": 3, "sum": 3} and found["kernels"] == 7
    assert found["passes"] > 0 and found["compiler_calls"] == 0
    assert found["bytes_held"] > 0 and found["plans"] == 1 and found["pending"] == 0
    assert found == lazyt.stats()
    table = str(found)
    assert "plan hits" in table and "kernels run, by primitive" in table
    lazyt.reset_stats()
    assert lazyt.stats()["traced"] == 0 and lazyt.stats()["by_op"] == {}
    assert lazyt.stats()["plans"] == 1


def test_counters_hold_no_plan() -> None:
    import gc
    import weakref

    x = lazyt.arange(4.0)
    for _ in range(3):
        (x * 2).tolist()
    (program,) = [p for p in drain.CACHE.programs.values() if p.plan]
    gone = weakref.ref(program.plan.run)
    del program
    drain.clear_plans()
    gc.collect()
    assert gone() is None
    assert lazyt.stats()["by_op"]["mul"] >= 3


# --- dump -----------------------------------------------------------------------------------------


def run_three_times() -> None:
    x = lazyt.arange(6.0).reshape(2, 3)
    drain.drain()
    for _ in range(3):
        (x.exp() + 1).sum().item()


def tree(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_text()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.startswith(".")
    }


def test_dump_writes_every_stage(dumped: Path) -> None:
    run_three_times()
    files = tree(dumped)
    folders = {name.split("/")[0] for name in files}
    assert folders == {"0001-exp-add-sum"}
    names = sorted(name.split("/")[1] for name in files)
    assert names[0] == "00-traced.ir" and {"groups.txt", "plan.txt", "plan.py"} <= set(names)
    assert sum(name.endswith(".ir") for name in names) >= 8
    for name, content in files.items():
        if name.endswith(".ir"):
            assert text(parse(content)) == content
    code = files["0001-exp-add-sum/plan.py"]
    assert "6 FLOP" in code and Path(__file__).name in code
    compile(code, "plan.py", "exec")


KERNELS = {"loops", "py", "c"}


@pytest.mark.parametrize("tier", ["numpy", "c"])
def test_dumped_kernels_are_files_a_compiler_accepts(
    dumped: Path, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAZYT_CPU", tier)
    run_three_times()
    (folder,) = (p for p in dumped.iterdir() if p.is_dir())
    found = {p.name for p in folder.glob("k0.*")} - {"k0.cu"}
    assert found == {f"k0.{ending}" for ending in KERNELS}
    assert "x" in (folder / "k0.c").read_text().split("reads   ")[1].split(":")[0]
    for p in set(folder.glob("*.py")) - {folder / "plan.py"}:
        subprocess.run([sys.executable, "-W", "error", str(p)], check=True, timeout=120)
    compilers = [[name, "-std=c11", "-fsyntax-only"] for name in ("cc",) if shutil.which(name)]
    for command in compilers:
        files = sorted(map(str, folder.glob("k*.c")))
        done = subprocess.run([*command, "-Werror", *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    if shutil.which("nvcc"):
        for p in folder.glob("k*.cu"):
            subprocess.run(["nvcc", "-arch=sm_90", "-cubin", "-o", os.devnull, str(p)], check=True)


def test_dump_is_idempotent(dumped: Path) -> None:
    run_three_times()
    files = tree(dumped)
    drain.clear_plans()
    run_three_times()  # the same plan, compiled again
    assert tree(dumped) == files
    drain.clear_plans()
    dumping.KNOWN.clear()  # as another process would find it
    run_three_times()
    assert tree(dumped) == files


DUMPING = """
import os
import torch
import sys
def work(n):
    x = torch.arange(float(n))
    for _ in range(3):
        (x * 2 + 1).sum().item()
work(4)
for n in range(5, 5 + int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        work(4); work(n); work(40)
        os._exit(0)
    children = [pid]
    for pid in children:
        os.waitpid(pid, 0)
"""


def test_processes_share_one_dump(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(DUMPING)
    folder = tmp_path / "plans"
    env = {**os.environ, "LAZYT_DUMP": str(folder)}
    command = [sys.executable, "-m", "lazyt", str(script), "3"]
    both = [subprocess.Popen(command, env=env, cwd=tmp_path) for _ in range(2)]
    assert [p.wait(120) for p in both] == [0, 0]
    files = tree(folder)
    traced = [content for name, content in files.items() if name.endswith("00-traced.ir")]
    assert len(traced) == len(set(traced)) == 6  # 4 twice (once with its arange), 5, 6, 7 and 40
    numbers = sorted({name.split("-")[0] for name in files})
    assert numbers == ["0001", "0002", "0003", "0004", "0005", "0006"]
    assert not list(folder.glob(".draft-*"))


def test_a_dump_that_cannot_be_written_warns_once(tmp_path: Path) -> None:
    lazyt.dump(tmp_path / "plans")
    (tmp_path / "plans").rmdir()
    (tmp_path / "plans").write_text("in the way")
    with pytest.warns(UserWarning, match="dumping stops"):
        run_three_times()
    assert dumping.FOLDER == [""]


# --- python -m lazyt.inspect ----------------------------------------------------------------------

SCRIPT = """
import sys
import torch
x = torch.arange(6.0).reshape(2, 3)
for _ in range(int(sys.argv[1])):
    total = (x.exp() + 1).sum()
    total.item()
print("done", x.sum().item())
"""


def test_the_report_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "lazyt.inspect", str(script), "6"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout
    assert output.startswith("done 15.0\n")
    assert "ran 4 times (3 hits)" in output
    assert "plan hits" in output and "exp-add-sum" in output
    assert "script.py:6" in output and "(total)" in output
    assert "not fused" in output and "sum is a kernel of its own" in output


def test_the_report_of_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lazyt.inspect", str(tmp_path / "missing.py")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "cannot open" in done.stderr
