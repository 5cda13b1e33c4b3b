"""Warnings name the user's line, whether the function was called or a layer called it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import lazyt as torch
from lazyt import nn, warned
from lazyt.nn import functional as F

A, B = torch.ones(3), torch.ones(3, 1)
LOG = torch.zeros(2, 3)
CLASSES = torch.tensor([0, 1])

CALLS = {
    "function": lambda: F.mse_loss(A, B),
    "layer": lambda: nn.MSELoss()(A, B),
    "layer in a container": lambda: nn.Sequential(nn.Softmax())(LOG),
    "two old arguments": lambda: F.nll_loss(LOG, CLASSES, size_average=False),
    "two old arguments, below": lambda: F.binary_cross_entropy(A, A, size_average=False),
    "a layer with them": lambda: nn.MSELoss(size_average=False),
    "implicit dimension": lambda: F.softmax(LOG),
    "implicit dimension of a layer": lambda: nn.LogSoftmax()(LOG),
    "a tensor copied": lambda: torch.tensor(A),
    "a result resized": lambda: torch.add(A, B, out=torch.empty(2)),
    "a recurrent layer": lambda: nn.LSTM(2, 2, dropout=0.5),
    "gradient of what is no leaf": lambda: (A.clone().requires_grad_() * 2).grad,
    "a scheduler first": lambda: torch.optim.lr_scheduler.StepLR(
        torch.optim.SGD([nn.Parameter(A.clone())]), 1
    ).step(),
    "nothing clipped": lambda: nn.utils.clip_grad_norm_((p for p in ()), 1.0),
}


@pytest.mark.parametrize("call", CALLS)
def test_names_the_users_line(call):
    function = CALLS[call]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    first = function.__code__.co_firstlineno
    for warning in caught:
        assert warning.filename == __file__
        assert first <= warning.lineno <= first + 2
    assert caught


PROGRAM = """\
import torch

def test(x):
    return torch.nn.functional.mse_loss(x, torch.ones(1), size_average=False)

test(torch.ones(1))
loss = torch.nn.Linear(1, 1)(torch.ones(1)).sum()
print("%.0f" % (loss * 0))
print(int(loss * 0), float(loss * 0), f"{loss * 0:.0f}")
"""


def test_a_program_is_warned_as_by_pytorch(tmp_path: Path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "lazyt", str(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1][0] == "0"
    places = [line for line in done.stderr.splitlines() if "Warning:" in line]
    assert [p.split(" ")[0] for p in places] == [f"{script}:4:", f"{script}:8:"]
    assert "Consider using tensor.detach() first.\n" in done.stderr


def _overlapping():
    return np.broadcast_to(np.ones(1), (3,))


# What PyTorch warns of, or does not, in programs as they are published.
SAID = [
    lambda torch, t: float(t),
    lambda torch, t: complex(t),
    lambda torch, t: torch.tensor([t, 1.0]),
    lambda torch, t: torch.FloatTensor([t]),
    lambda torch, t: (int(t), t.item(), t.tolist(), bool(t), f"{t:.1f}"),
    lambda torch, t: float(t.detach()),
    lambda torch, t: torch.no_grad()(lambda: float(t))(),
    lambda torch, t: torch.tensor([np.ones(2), np.ones(2)]),
    lambda torch, t: torch.FloatTensor([[1.0, 2.0], np.ones(2)]),
    lambda torch, t: torch.tensor([np.float32(2), np.float32(3)]),
    lambda torch, t: torch.from_numpy(_overlapping()),
    lambda torch, t: torch.as_tensor(_overlapping()),
    lambda torch, t: torch.tensor(_overlapping()),
    lambda torch, t: torch.frombuffer(b"12345678", dtype=torch.uint8),
    lambda torch, t: t.new_tensor(t),
    lambda torch, t: torch.add(torch.ones(3), 1, out=torch.ones(2)),
    lambda torch, t: torch.ones(2, 2).T,
    lambda torch, t: torch.ones(2, 3, 4).T,
    lambda torch, t: (torch.ones(()).T, torch.ones(()).H),
    lambda torch, t: (torch.ones(1).std(), torch.var(torch.ones(3, 1), 1)),
    lambda torch, t: torch.std_mean(torch.ones(2, 0), 0),
    lambda torch, t: (torch.ones(2).std(), torch.ones(1).var(unbiased=False)),
    lambda torch, t: torch.ones(2).storage().tolist(),
    lambda torch, t: torch.ones(2).untyped_storage().nbytes(),
    lambda torch, t: torch.set_default_tensor_type(torch.FloatTensor),
    lambda torch, t: torch.cross(torch.ones(3, 3), torch.ones(3, 3)),
    lambda torch, t: torch.where(torch.ByteTensor([1, 0]), torch.ones(2), torch.zeros(2)),
    lambda torch, t: torch.ones(2).add_(2, torch.ones(2)),
    lambda torch, t: torch.add(torch.ones(2), 2, torch.ones(2)),
    lambda torch, t: torch.ones(2).addcdiv_(2, torch.ones(2), torch.ones(2)),
    lambda torch, t: torch.ones(2).addmv_(2, torch.ones(2, 2), torch.ones(2)),
    lambda torch, t: torch.addr(1, torch.ones(2, 2), 2, torch.ones(2), torch.ones(2)),
    lambda torch, t: torch.autograd.backward([t], grad_variables=[torch.ones(())]),
    lambda torch, t: torch.nn.utils.clip_grad_norm_((p for p in ()), 1.0),
    lambda torch, t: torch.nn.utils.clip_grad_norm_([], 1.0),
]


@pytest.mark.parametrize("call", SAID)
def test_says_what_pytorch_says(call, oracle):
    said = []
    for lib in (torch, oracle):
        lib.set_warn_always(True)
        assert lib.is_warn_always_enabled()
    oracle.storage._reset_warn_typed_storage_removal()
    try:
        for lib in (torch, oracle):
            t = lib.tensor(1.5, requires_grad=True) * 1
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call(lib, t)
            words = [str(w.message).partition("(Triggered")[0].strip() for w in caught]
            said.append(sorted(set(words)))
    finally:
        for lib in (torch, oracle):
            lib.set_warn_always(False)
    assert said[0] == said[1]


def test_once_a_process(monkeypatch):
    monkeypatch.setattr(warned, "_SAID", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.ones(2).add_(2, torch.ones(2))
        torch.ones(2).sub_(2, torch.ones(2))
    assert len(caught) == 1
