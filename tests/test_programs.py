"""Whole programs written for PyTorch print what PyTorch prints.

Each tests/programs/<theme>/<name>.py says `import torch`; <name>.out beside it is what PyTorch
2.13.0 printed on a CPU. What lazyt does not have yet stands in not_yet.txt, `theme/name: reason` on
one line; a program of that list that begins to pass fails its test until the line is taken out.
"""

from __future__ import annotations

import sys

import pytest
from compare import RTOL, difference
from harness import PROGRAMS, marked, read_not_yet, run_program

SECONDS = {"tour": 240.0}  # the training loop there makes 4,200 steps
# So many steps amplify the order of additions: PyTorch itself prints a second loss of 1.739 or
# 1.741, by its number of threads.
LOOSE = {"tour/training": 5e-3}

FILES = {str(p.relative_to(PROGRAMS).with_suffix("")): p for p in sorted(PROGRAMS.glob("*/*.py"))}
NOT_YET = read_not_yet(PROGRAMS / "not_yet.txt")
# What Python itself prints another way since 3.12: OrderedDict.
PRINTED_AS_IN_3_11 = {"modules/buffers"}


@pytest.mark.parametrize("program", marked(FILES, NOT_YET))
def test_prints_what_torch_prints(program: str) -> None:
    if program in PRINTED_AS_IN_3_11 and sys.version_info >= (3, 12):
        pytest.skip("prints an OrderedDict, whose text changed in Python 3.12")
    path = FILES[program]
    theme = path.parent.name
    printed = run_program(path.read_text(), str(path), seconds=SECONDS.get(theme, 60.0))
    expected = path.with_suffix(".out").read_text()
    found = difference(expected, printed, exact=theme == "printing", rtol=LOOSE.get(program, RTOL))
    assert found is None, found
