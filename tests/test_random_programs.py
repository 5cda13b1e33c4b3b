"""Random programs do on lazyt what they do on PyTorch, and reading a value changes nothing.

`python tests/random_programs.py --count 2000` runs more of them.
"""

from __future__ import annotations

import random
import re
import types
from pathlib import Path

import pytest
from grammar import generate
from harness import implementation
from hypothesis import given, settings
from hypothesis import strategies as st
from outcomes import Outcome, Runner, Statements, check, run, runner
from random_programs import reads_matter, report

BATCH = 25
ONCE_DIFFERENT = Path(__file__).parent / "data" / "once_different.txt"


def programs(path: Path) -> list[Statements]:
    """The programs of a file, each as its statements."""
    blocks = path.read_text().split("\n\n")[1:]
    return [re.split(r"\n(?! )", block.strip("\n")) for block in blocks]


def broken(torch: types.ModuleType, method: str, wrong: object) -> Runner:
    """Runs programs on PyTorch with one method of its tensors replaced."""

    def runs(program: Statements) -> Outcome:
        right = getattr(torch.Tensor, method)
        setattr(torch.Tensor, method, wrong)
        try:
            return run(program, torch)
        finally:
            setattr(torch.Tensor, method, right)

    return runs


@pytest.mark.parametrize("batch", range(20))
def test_as_torch_does(batch: int, oracle: types.ModuleType) -> None:
    expected, actual = runner("torch"), runner(implementation())
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        program = generate(random.Random(seed))
        if check(program, expected, actual) is not None:
            pytest.fail(f"# seed {seed}\n{report(program, expected, actual)}")


@pytest.mark.parametrize("program", programs(ONCE_DIFFERENT), ids=lambda p: p[-1][:40])
def test_what_once_differed(program: Statements, oracle: types.ModuleType) -> None:
    found = check(program, runner("torch"), runner(implementation()))
    assert found is None, found


@settings(max_examples=50)
@given(choose=st.randoms(use_true_random=False))
def test_as_torch_does_by_hypothesis(choose: random.Random, oracle: types.ModuleType) -> None:
    program = generate(choose, length=12)
    expected, actual = runner("torch"), runner(implementation())
    if check(program, expected, actual) is not None:
        pytest.fail(report(program, expected, actual))


@pytest.mark.parametrize("batch", range(4))
def test_reads_change_nothing(batch: int) -> None:
    runs = runner(implementation())
    for seed in range(1000 + batch * BATCH, 1000 + (batch + 1) * BATCH):
        program = generate(random.Random(seed))
        found = reads_matter(program, random.Random(seed), runs)
        assert found is None, f"# seed {seed}\n" + "\n".join(program) + f"\n# {found}"


def test_same_seed_same_program() -> None:
    assert generate(random.Random(3)) == generate(random.Random(3))
    assert generate(random.Random(3)) != generate(random.Random(4))


def test_most_statements_work(oracle: types.ModuleType) -> None:
    outcomes = [run(generate(random.Random(seed)), oracle) for seed in range(200)]
    errors = [error for outcome in outcomes for error in outcome.errors]
    assert sum(error is not None for error in errors) < 0.08 * len(errors)
    tensors = [t for o in outcomes for t in o.state.values() if isinstance(t, dict)]
    assert sum(t.get("grad") is not None for t in tensors) > 50
    assert sum(not t.get("is_leaf", True) for t in tensors) > 50


def test_finds_a_lost_write_and_shrinks(oracle: types.ModuleType) -> None:
    """A mul_ that forgets views of the tensor is found, and little of the program is left."""

    def elsewhere(self: object, other: object) -> object:
        self.data = (self.detach() * other).to(self.dtype)  # type: ignore[attr-defined]
        return self

    expected, actual = runner("torch"), broken(oracle, "mul_", elsewhere)
    for seed in range(200):
        program = generate(random.Random(seed))
        if check(program, expected, actual) is not None:
            shown = report(program, expected, actual)
            assert "mul_" in shown
            lines = [line for line in shown.splitlines() if line[0] != "#"]
            assert len(lines) <= 12, shown
            return
    pytest.fail("not found in 200 programs")


def test_finds_a_wrong_exception(oracle: types.ModuleType) -> None:
    def refuse(self: object, *sizes: object) -> object:
        raise ValueError("no")

    actual = broken(oracle, "transpose", refuse)
    program = ["x0 = torch.ones(2, 3)", "x1 = x0.transpose(0, 5)"]
    found = check(program, runner("torch"), actual)
    assert (
        found is not None and "raised ValueError: no, expected IndexError: Dimension out" in found
    )
