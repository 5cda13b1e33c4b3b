"""`python -m lazyt.coverage`: what a program needs and lacks; and the page of all names."""

from __future__ import annotations

from pathlib import Path

import pytest

from lazyt.coverage import needs_of, state_of
from lazyt.coverage.__main__ import main
from lazyt.coverage.page import page

PROGRAM = """\
import numpy as np
import torch, torchvision
import torch.nn as nn
import torch.nn.functional as F
from torch import optim as O, is_vulkan_available
from torch.utils.data import DataLoader
from torchvision import transforms

alias = torch.nn.functional
device = torch.device("cpu")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.missing = nn.qat
    def q_scale(self):
        return np.q_zero_point(self.layer)
    def forward(self, x):
        y = F.relu(x).q_zero_point()
        return alias.no_such_thing(y).int_repr().append(self.q_scale())

optimizer = O.SGD(Net().parameters(), lr=0.1)
torch.is_vulkan_available()
torch.float32.is_floating_point
"""


def test_names_are_followed() -> None:
    found = {n.name: (n.kind, n.state.word, n.lines) for n in needs_of(PROGRAM)}
    assert found["torch.nn.Linear"] == ("name", "works", [15])
    assert found["torch.nn.functional.relu"] == ("name", "works", [20])
    assert found["torch.optim.SGD"] == ("name", "differs", [23])
    assert found["torch.utils.data.DataLoader"] == ("name", "differs", [6])
    assert found["Module.parameters"] == ("method", "works", [23])
    missing = {
        name: (kind, lines) for name, (kind, word, lines) in found.items() if word == "missing"
    }
    assert missing == {
        "torchvision": ("package", [2, 7]),
        "torch.is_vulkan_available": ("name", [5, 24]),
        "torch.nn.qat": ("name", [16]),
        "Tensor.q_zero_point": ("method", [20]),
        "torch.nn.functional.no_such_thing": ("name", [21]),
        "Tensor.int_repr": ("method", [21]),
    }


def test_what_is_imported_by_star() -> None:
    found = {n.name: n.state.word for n in needs_of("from torch.nn import *\nLinear(1, 1)\nqat")}
    assert found == {"torch.nn": "works", "torch.nn.Linear": "works", "torch.nn.qat": "missing"}


def test_another_meaning_of_a_name() -> None:
    found = [n.name for n in needs_of("import torch\nx = torch.nn\nx = 3\nx.qat\n")]
    assert "torch.nn.qat" not in found


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    assert main([str(path)]) == 1
    printed = capsys.readouterr().out
    assert "6 missing" in printed.splitlines()[0]
    assert "  line 2, 7: torchvision, a package of its own that is not part of PyTorch" in printed
    assert "  line 5, 24: torch.is_vulkan_available is missing" in printed
    assert "PyTorch lacks it, too" in printed
    path.write_text("import torch\nprint(torch.ones(2).sum())\n")
    assert main([str(path)]) == 0
    assert "0 missing" in capsys.readouterr().out
    path.write_text("import torch(")
    assert main([str(path)]) == 2
    assert main([]) == 2


def test_states() -> None:
    assert state_of("torch.nn.Linear") == ("works", "")
    assert state_of("torch.nn.Module.training").word == "works"
    assert state_of("torch.nn.qat").word == "missing"
    assert state_of("torch.autograd.gradcheck.GradcheckError").word == "works"
    assert state_of("torch.autograd.profiler.emit_nvtx").how.startswith("Accepted")


def test_the_page_is_up_to_date() -> None:
    path = Path(__file__).parents[1] / "docs" / "pytorch_names.md"
    assert path.read_text() == page(), "run: python -m lazyt.coverage --page docs/pytorch_names.md"
