"""Bad input raises PyTorch's exceptions, in PyTorch's words, at the line that made the mistake.

The cases are the programs of data/errors.txt; data/errors.json holds what PyTorch 2.13.0 raises for
each (type, message, line of the program) and is written by

    python tests/record.py errors

An error that depends on values (group `values`: an index or a target out of range) may come as late
as the read of the result; its message then names the line that made it.
"""

from __future__ import annotations

import json
import re
import traceback
from dataclasses import asdict, dataclass

import pytest
from harness import DATA, marked, read_cases, read_not_yet, run_program

PREAMBLE = """\
import copy
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
"""
CASES = read_cases(DATA / "errors.txt")
EXPECTED = json.loads((DATA / "errors.json").read_text())
NOT_YET = read_not_yet(DATA / "errors_not_yet.txt")

# Where PyTorch's message stops speaking to the user: a C++ trace, an address, a name of its graph.
_INTERNAL = re.compile(
    r"\s*(Exception raised from|\(Triggered internally|at 0x|(?<=operation): \[).*"
)


@dataclass
class Raised:
    """What a program raised: type, message as compared, line of the program, message in full."""

    type: str
    message: str
    line: int | None
    text: str = ""


def provoke(case: str, name: str | None = None) -> Raised | None:
    """Run a case on the named implementation; None where nothing is raised."""
    filename = f"<{case}>"
    try:
        run_program(PREAMBLE + CASES[case][1], filename, name=name, seconds=20.0)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == filename]
        line = (frames[0].lineno or 0) - PREAMBLE.count("\n") if frames else None
        # KeyError and the like show their argument's repr; the argument is the message.
        words = str(error.args[0]) if len(error.args) == 1 else str(error)
        words = words.strip().replace("lazyt.", "torch.").replace("'lazyt'", "'torch'")
        shown = words if CASES[case][0] == "whole message" else words.split("\n")[0]
        return Raised(type(error).__name__, _INTERNAL.sub("", shown), line, words)
    return None


def record() -> None:
    """Write errors.json from PyTorch. A case that raises nothing there is an error of the table."""
    found = {case: provoke(case, "torch") for case in CASES}
    silent = [case for case, raised in found.items() if raised is None]
    assert not silent, f"PyTorch accepts {silent}"
    rows = {case: asdict(raised) for case, raised in found.items() if raised}
    for row in rows.values():
        del row["text"]
    (DATA / "errors.json").write_text(json.dumps(rows, indent=1) + "\n")


def names_line(message: str, line: int) -> bool:
    """Whether a message names a line of the program, counted in the text that was run."""
    return (
        re.search(rf"(line |>:|>\", line ){line + PREAMBLE.count(chr(10))}\b", message) is not None
    )


def test_every_case_is_recorded() -> None:
    assert list(EXPECTED) == list(CASES), "run python tests/record.py errors"
    assert len(CASES) >= 160


@pytest.mark.parametrize("case", marked(CASES, NOT_YET))
def test_raises_as_torch_does(case: str) -> None:
    wanted, raised = Raised(**EXPECTED[case]), provoke(case)
    assert raised is not None, f"nothing raised; PyTorch: {wanted}"
    assert raised.type == wanted.type, raised
    late = case.startswith("values/") and raised.line != wanted.line
    if late:
        assert wanted.line is not None and names_line(raised.text, wanted.line), raised
        assert raised.message.startswith(wanted.message), raised
        return
    assert raised.line == wanted.line, raised
    if CASES[case][0] != "type only":
        assert raised.message == wanted.message
