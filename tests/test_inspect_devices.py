"""Looking at programs on a device: what is shown is what runs there.

What must be run stands in device_looking.py; each check has a process of its own with the
host-executed device.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import test_primitives

from lazyt.codegen.grouping import MOVING
from lazyt.inspect.program import ProgramView
from lazyt.ir import dtypes
from lazyt.ir.graph import Graph, placed
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.opdef import REGISTRY, Op
from lazyt.runtime.cuda.host import build
from lazyt.runtime.plan import build_graph

CHECKS = Path(__file__).with_name("device_looking.py")

needs_host = pytest.mark.skipif(
    build.cpp_compiler() is None or build.c_compiler() is None,
    reason="the host-executed device needs a C and a C++ compiler",
)


@needs_host
@pytest.mark.parametrize("check", ["training", "moving", "hosting", "dumping", "reporting"])
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


def on_a_device(op: Op, sample: test_primitives.Sample) -> Graph:
    """The graph of one primitive on a device."""
    leaves, node = sample.apply(op)
    inputs = [s for s in leaves if isinstance(s, Node)]
    LOCAL.trace.clear()
    graph, _ = build_graph([node], (0,), {id(s.value): i for i, s in enumerate(inputs)}, set())
    return placed(graph, "cuda:0")[0]


@pytest.mark.parametrize("name", test_primitives.NAMES)
def test_what_the_host_computes_is_said(name: str) -> None:
    """A refusal for every call of `by_host`, and only for those, of every primitive in float32."""
    for sample in test_primitives.cases(name):
        if sample.dtype is dtypes.float32:
            view = ProgramView(on_a_device(REGISTRY[name], sample))
            hosted = [k for k in view.pieces if k.hosted]
            assert len(hosted) == view.source.count("by_host(")
            said = [r for r in view.groups.refusals if r.producer == r.consumer]
            assert [r.reason for r in said] == [k.hosted for k in hosted]
            for k in view.pieces:
                assert k.hosted or k.call or k.operations[0] in MOVING
