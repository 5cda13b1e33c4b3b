"""Programs get the implementation under the name torch, and leave nothing behind."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from harness import TimeLimit, implementation, read_cases, run_program

STAND_IN = {
    "__init__.py": """\
def manual_seed(seed): ...
def set_grad_enabled(mode): ...
def set_printoptions(profile): ...
def set_default_dtype(dtype): ...
float32 = "float32"
""",
    "nn/__init__.py": "from . import functional\n",
    "nn/functional.py": "def relu(x):\n    return max(x, 0)\n",
}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny package that programs can get as torch."""
    for name, text in STAND_IN.items():
        path = tmp_path / "stand_in_for_torch" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return "stand_in_for_torch"


def test_torch_is_the_implementation(stand_in: str) -> None:
    program = """\
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn import functional
print(torch.__name__, F.__name__, F.__spec__.name, __name__)
print(nn.functional is F is functional is torch.nn.functional, F.relu(-3))
try:
    import torch.nothing
except ImportError as error:
    print(type(error).__name__)
"""
    assert run_program(program, name=stand_in).split() == [
        *[stand_in, f"{stand_in}.nn.functional", f"{stand_in}.nn.functional", "__main__"],
        *["True", "0", "ModuleNotFoundError"],
    ]


def test_nothing_is_left_behind(stand_in: str) -> None:
    before = {n: m for n, m in sys.modules.items() if n.split(".")[0] in ("torch", "__main__")}
    finders = list(sys.meta_path)
    run_program("import torch.nn, sys\nsys.setrecursionlimit(5000)", name=stand_in)
    after = {n: m for n, m in sys.modules.items() if n.split(".")[0] in ("torch", "__main__")}
    assert before == after and finders == sys.meta_path and sys.getrecursionlimit() != 5000


def test_exceptions_come_through(stand_in: str) -> None:
    with pytest.raises(ZeroDivisionError):
        run_program("import torch\n1 / 0", name=stand_in)
    assert sys.modules.get("torch") is None or sys.modules["torch"].__name__ == "torch"


def test_classes_of_a_program_can_be_pickled(stand_in: str) -> None:
    program = "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)"
    assert run_program(program, name=stand_in) == "True\n"


def test_endless_programs_are_stopped(stand_in: str) -> None:
    with pytest.raises(TimeLimit):
        run_program(
            "while True:\n    try: [].pop()\n    except Exception: pass", name=stand_in, seconds=0.2
        )


def test_oracle_is_real_after_programs(stand_in: str, oracle: types.ModuleType) -> None:
    run_program("import torch", name=stand_in)
    import torch

    assert torch is oracle and torch.ones(2).sum().item() == 2


def test_implementation_is_one_of_two() -> None:
    assert implementation() in ("lazyt", "torch")


def test_case_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cases.txt"
    path.write_text("#: note\n## g\n== a\nx = 1\nfor i in x:\n    y\n\n== b: type only\nz\n")
    assert read_cases(path) == {
        "g/a": ("", "x = 1\nfor i in x:\n    y\n"),
        "g/b": ("type only", "z\n"),
    }
