"""Pools written out for loops: windows of every kind, values, winners and gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pool_cases import differing
from test_loop_coverage import c_tier, needs_compiler, needs_cpp  # noqa: F401 (a fixture)

TESTS = Path(__file__).parent


@needs_compiler
def test_c_pools_as_the_evaluator_does(c_tier: None) -> None:  # noqa: F811
    assert differing("cpu", range(10)) == []


@needs_cpp
def test_cuda_c_pools_as_the_evaluator_does(tmp_path: Path) -> None:
    env = {"LAZYT_CACHE": str(tmp_path)} | os.environ
    env |= {"LAZYT_CUDA_HOST": "ctypes", "LAZYT_PLANS": "first"}
    call = [sys.executable, str(TESTS / "pool_cases.py")]
    done = subprocess.run(call, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
