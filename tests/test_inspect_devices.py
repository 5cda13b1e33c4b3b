"""Looking at programs on a device: what is shown is what runs there.

The checks stand in device_looking.py; each runs in a process of its own, which has the
host-executed device.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lazyt.runtime.cuda.host import build

CHECKS = Path(__file__).with_name("device_looking.py")

pytestmark = pytest.mark.skipif(
    build.cpp_compiler() is None or build.c_compiler() is None,
    reason="the host-executed device needs a C and a C++ compiler",
)


@pytest.mark.parametrize("check", ["training", "moving", "dumping", "reporting"])
@pytest.mark.parametrize("tier", ["numpy", "c"])
def test_looking_at_a_device(check: str, tier: str) -> None:
    environment = {**os.environ, "LAZYT_CUDA_HOST": "ctypes", "LAZYT_CPU": tier}
    done = subprocess.run(
        [sys.executable, str(CHECKS), check],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
