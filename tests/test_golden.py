"""Golden texts: optimized IR, groups and NumPy code of small programs, as files to read.

The programs are in golden_programs.py; what is looked at is `step()` as it runs from the third
time on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import golden_programs
import pytest

SHORT = [name for name in golden_programs.PROGRAMS if name not in ("mlp_step", "lenet_step")]


@pytest.mark.parametrize("name", SHORT)
def test_program(name: str, golden: Callable[[str], None]) -> None:
    """The whole way of a short program: traced, optimized, grouped, as code, as dressed code."""
    parts = []
    for program in golden_programs.explained(name).programs:
        parts += [f"--- {program.how}", f"--- traced\n{program.ir.traced}"]
        parts += [f"--- optimized\n{program.ir.final}", f"--- groups\n{program.groups}\n"]
        parts += [f"--- code\n{program.source}", f"--- dressed\n{program.dressed}"]
    golden("\n".join(parts))


def test_training_step(golden: Callable[[str], None]) -> None:
    """A step of a small network with momentum: the optimizer's writes are in place."""
    parts = []
    for program in golden_programs.explained("mlp_step").programs:
        parts += [f"--- {program.how}", f"--- optimized\n{program.ir.final}"]
        parts += [f"--- groups\n{program.groups}\n", f"--- dressed\n{program.dressed}"]
    golden("\n".join(parts))


def test_lenet_step(golden: Callable[[str], None]) -> None:
    """Too long to be kept whole: the kernels by name and type, and what was fused."""
    parts = []
    for program in golden_programs.explained("lenet_step").programs:
        parts += [program.how, *map(repr, program.pieces), *map(repr, program.groups.fused)]
    golden("\n".join(parts))


def test_plan_text(golden: Callable[[str], None]) -> None:
    """The description of a plan: inputs, scalars, kept values, workspace, donation, live ranges."""
    golden(golden_programs.explained("scalars").plan)


@pytest.mark.parametrize("name", golden_programs.PROGRAMS)
def test_dressed_code_is_the_code(name: str) -> None:
    """Without its comments the dressed text is the canonical one, which names no user line."""
    for program in golden_programs.explained(name).programs:
        plain = "\n".join(line.split("  # ")[0].rstrip() for line in program.dressed.splitlines())
        assert plain + "\n" == program.source
        assert "program.py" not in program.source


def test_two_processes_write_the_same_code() -> None:
    """Hash randomisation changes nothing: stages, groups and sources are byte-identical."""
    script = Path(golden_programs.__file__)
    texts = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    assert texts[0] == texts[1]
    assert all(f"==== {name}\n" in texts[0] for name in golden_programs.PROGRAMS)
