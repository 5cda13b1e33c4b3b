"""The state of tensors, transition by transition: each row of the table does what PyTorch does.

The rows are the programs of data/state.txt, grouped by the state they start from (docs/state.md);
data/state.json holds what PyTorch 2.13.0 prints for each and is written by

    python tests/record.py state

Where PyTorch is installed, the record itself is checked too.
"""

from __future__ import annotations

import json
import types

import pytest
from compare import difference
from harness import DATA, marked, read_cases, read_not_yet, run_program

PREAMBLE = '''\
import copy
import numpy as np
import torch
import torch.nn.functional as F

def tell(f):
    """Print what f returns or raises."""
    try:
        result = f()
        print("no error" if result is None else result)
    except Exception as error:
        print(type(error).__name__ + ":", str(error).split("\\n")[0].split("operation: [")[0])

def saved(f, needs="xy"):
    """Print what a backward of f(x, y) needs: operands, result, and whether it runs once only."""
    def operands():
        rows = torch.tensor([[0.5, 1.5], [2.0, 1.0]]), torch.tensor([[1.0, 2.0], [0.5, 3.0]])
        return [t.requires_grad_(n in needs) for t, n in zip(rows, "xy")]
    words = []
    for name in ("x", "y", "result"):
        x, y = (t * 1 for t in operands())
        result = f(x, y)
        {"x": x, "y": y, "result": result}[name].detach().fill_(1)
        try:
            result.sum().backward()
        except RuntimeError:
            words.append(name)
    x, y = operands()
    loss = f(x, y).sum()
    loss.backward()
    try:
        loss.backward()
    except RuntimeError:
        words.append("once")
    print("saves", *words)
'''
ROWS = read_cases(DATA / "state.txt")
EXPECTED = json.loads((DATA / "state.json").read_text())
NOT_YET = read_not_yet(DATA / "state_not_yet.txt")


def printed(row: str, name: str | None = None) -> str:
    """What a row's program prints on the named implementation."""
    return run_program(PREAMBLE + ROWS[row][1], f"<{row}>", name=name, seconds=20.0)


def record() -> None:
    """Write state.json from PyTorch."""
    rows = {row: printed(row, "torch").splitlines() for row in ROWS}
    (DATA / "state.json").write_text(json.dumps(rows, indent=1) + "\n")


def test_every_row_is_recorded() -> None:
    assert list(EXPECTED) == list(ROWS), "run python tests/record.py state"
    assert len(ROWS) >= 80


def test_record_is_what_torch_prints(oracle: types.ModuleType) -> None:
    for row in ROWS:
        found = difference("\n".join(EXPECTED[row]), printed(row, "torch"))
        assert found is None, f"{row}: {found}"


@pytest.mark.parametrize("row", marked(ROWS, NOT_YET))
def test_does_what_torch_does(row: str) -> None:
    found = difference("\n".join(EXPECTED[row]), printed(row))
    assert found is None, found
