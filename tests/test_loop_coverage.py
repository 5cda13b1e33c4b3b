"""Loop nests of every dtype and kind of access compute what the evaluator does, in C and CUDA C."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from access_programs import programs
from kernel_tools import prelude
from loop_coverage import differing_programs, walk
from loop_programs import calls, grouped, quiet

import lazyt as torch
from lazyt.runtime import drain, native
from lazyt.runtime.cuda.host import build

TESTS = Path(__file__).parent
ARITHMETIC = """
add sub mul neg abs sign maximum minimum relu eq lt logical_and where floor_div trunc_div remainder
fmod bitwise_and bitwise_or bitwise_not shift_left shift_right signbit isnan copy pow sum amax amin
any all
"""
GROUPS = {
    "conversions": ["conversions"],
    "arithmetic": ARITHMETIC.split(),
    "positions": ["argmax", "argmin", "max_with_index", "min_with_index"],
    "rearrangements": ["flip", "tile", "repeat_each", "tril", "triu", "log_sigmoid", "pad"],
    "gathers": ["gather", "index", "row_pick", "affine_pick"],
    "maximum pools": [f"max_pool{of}" for of in ("", "_values", "_positions", "_grad", "_gather")],
    "average pools": ["avg_pool", "avg_pool_grad"],
}

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C compiler here")
needs_cpp = pytest.mark.skipif(build.cpp_compiler() is None, reason="no C++ compiler here")


@pytest.fixture
def c_tier(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Every program runs in the C tier, from its first run on."""
    monkeypatch.setenv("LAZYT_CPU", "c")
    if "LAZYT_CACHE" not in os.environ:
        monkeypatch.setenv("LAZYT_CACHE", str(tmp_path_factory.getbasetemp() / "coverage"))
    monkeypatch.setattr(drain, "PLAN_FIRST", [True])
    monkeypatch.setattr(native, "GIVEN_UP", [])
    drain.CACHE.clear()
    yield
    drain.CACHE.clear()


@needs_compiler
@pytest.mark.parametrize("group", GROUPS)
def test_c_computes_what_the_evaluator_does(group: str, c_tier: None) -> None:
    wrong, outside = walk(GROUPS[group], "cpu")
    assert wrong == []
    assert outside == set()


@needs_cpp
@pytest.mark.parametrize("group", GROUPS)
def test_cuda_c_computes_what_the_evaluator_does(group: str, tmp_path: Path) -> None:
    env = {"LAZYT_CACHE": str(tmp_path)} | os.environ | {"LAZYT_CUDA_HOST": "ctypes"}
    call = [sys.executable, str(TESTS / "loop_coverage.py"), "cuda", *GROUPS[group]]
    done = subprocess.run(call, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip("\n").endswith("not in loops: ")


@needs_compiler
def test_programs_in_c_are_those_of_numpy(c_tier: None) -> None:
    assert differing_programs("cpu") == []


@needs_cpp
def test_programs_on_a_device_are_those_of_numpy(tmp_path: Path) -> None:
    env = {"LAZYT_CACHE": str(tmp_path)} | os.environ
    env |= {"LAZYT_CUDA_HOST": "ctypes", "LAZYT_PLANS": "first"}
    call = [sys.executable, str(TESTS / "loop_coverage.py"), "cuda", "programs"]
    done = subprocess.run(call, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_compiler
@pytest.mark.parametrize("bad", [3, -4])
def test_an_index_out_of_range_raises_in_torchs_words(bad: int, c_tier: None) -> None:
    x = torch.ones(3, 2) * 2
    unknown = lambda: torch.tensor([0, bad - 1]) + torch.tensor([0, 1])
    text = f"index {bad} is out of bounds for dimension 0 with size 3"
    with pytest.raises(IndexError, match=text):
        (x[unknown()] * 2).tolist()
    with pytest.raises(IndexError, match=text):
        (x.gather(0, unknown()[:, None]) * 2).tolist()


@needs_compiler
def test_a_division_by_zero_raises(c_tier: None) -> None:
    x, zero = torch.arange(5, dtype=torch.int16) + 0, torch.zeros(5, dtype=torch.int16) + 0
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        (x // zero).tolist()
    assert (x % (zero - 3)).tolist() == [0, -2, -1, 0, -2]


@needs_compiler
def test_every_half_is_stored_and_loaded_as_it_is(c_tier: None) -> None:
    halves = np.arange(2**16, dtype=np.uint32).astype(np.uint16).view(np.float16)
    halves = halves[~np.isnan(halves)]
    wide = torch.from_numpy(halves).float() * 1.0
    np.testing.assert_array_equal(wide.numpy(), halves.astype(np.float32))
    again = (wide + 0.0).half()
    np.testing.assert_array_equal(again.numpy(), halves)


def test_what_reads_other_places_is_fused_with_what_follows() -> None:
    table, at = torch.randn(40, 30), torch.randint(0, 40, (7,))
    table.tolist(), at.tolist()
    programs = {
        "rows of a table": lambda: (table[at] * 2 + 1).sum(1),
        "pieces": lambda: torch.cat([table, table[:, :3]], 1).relu(),
        "a frame": lambda: torch.nn.functional.pad(table, (1, 1, 1, 1)).sum(0),
        "turned": lambda: table.flip(0) * 2 + table.flip(1),
        "scores from memory": lambda: torch.nn.functional.nll_loss(table[:7], at % 30),
    }
    for name, f in programs.items():
        found = [calls(grouped(view)) for view in torch.explain(quiet(f)).programs]
        assert sum(map(len, found)) == 1, name


def test_a_table_that_is_computed_is_finished_first() -> None:
    table, at = torch.randn(40, 30), torch.randint(0, 40, (40,))
    table.tolist(), at.tolist()
    (view,) = torch.explain(quiet(lambda: (table * 2)[at])).programs
    grouping = grouped(view)
    assert len(calls(grouping)) == 2
    assert [r.reason for r in grouping.refusals] == ["index reads mul where its indices say"]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc here")
def test_nvcc_compiles_them_without_spills(tmp_path: Path) -> None:
    texts: dict[str, str] = {}
    for name, f in programs().items():
        if name == "norms":  # whose backward needs what `quiet` turns off
            continue
        for view in torch.explain(quiet(lambda f=f: f("cpu"))).programs:
            texts |= {c[0].cuda.name: c[0].cuda.text for c in calls(grouped(view))}
    source = tmp_path / "kernels.cu"
    source.write_text(prelude(("cuda.h", "semantics.h", "storage.cuh")) + "\n".join(texts.values()))
    call = ["nvcc", "-arch=sm_90", "-fmad=false", "-std=c++17", "-Xptxas", "-v", "-cubin"]
    call += [str(source), "-o", str(tmp_path / "kernels.cubin")]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert len(spills) >= len(texts) and set(spills) == {("0", "0")}
