"""Random programs on a device do what they do on the CPU.

`python tests/random_programs.py --device cuda --count 2000` compares more of them with PyTorch.
"""

from __future__ import annotations

import random

import pytest
from grammar import generate
from harness import implementation
from outcomes import apart, check, runner
from random_programs import report

pytestmark = pytest.mark.gpu

BATCH = 15


@pytest.mark.parametrize("batch", range(20))
def test_as_on_the_cpu(batch: int) -> None:
    expected = runner(implementation())
    actual = runner(implementation(), device="cuda")
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        program = apart(generate(random.Random(seed)))
        if check(program, expected, actual) is not None:
            pytest.fail(f"# seed {seed}\n{report(program, expected, actual)}")
