"""Recurrent and attention layers on the host-executed device, in a process of its own: what they
give there is what they give on the CPU, gradients included."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lazyt.runtime.cuda.host import build

pytestmark = pytest.mark.skipif(
    build.cpp_compiler() is None, reason="the host-executed device needs a C++ compiler"
)
PROGRAM = """
import copy
import lazyt as torch
from lazyt import nn
from lazyt.nn.utils import rnn

def results(module, *inputs):
    inputs = [t.detach().requires_grad_() for t in inputs]
    y = module(*inputs)
    y = y[0] if isinstance(y, tuple) else y
    assert y.device == inputs[0].device
    (y * torch.linspace(0.5, 1.5, y.numel(), device=y.device).view(y.shape)).sum().backward()
    return [y, *[t.grad for t in inputs], *[p.grad for p in module.parameters()]]

def compare(module, *inputs):
    expected = results(copy.deepcopy(module), *inputs)
    found = results(copy.deepcopy(module).to("cuda"), *[t.to("cuda") for t in inputs])
    for a, b in zip(expected, found):
        assert torch.allclose(a, b.cpu(), 1e-4, 1e-5), (a - b.cpu()).abs().max()

torch.manual_seed(0)
"""
LAYERS = {
    "lstm": "compare(nn.LSTM(3, 4), torch.randn(3, 2, 3))",
    "many steps": "compare(nn.RNN(3, 4), torch.randn(12, 2, 3))",
    "encoder": """
compare(nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True), torch.randn(2, 3, 8))
""",
    "packed": """
m, x = nn.GRU(3, 4), torch.randn(3, 2, 3)
pack = lambda t: rnn.pack_padded_sequence(t, [3, 1])
expected = rnn.pad_packed_sequence(m(pack(x))[0])[0]
found = rnn.pad_packed_sequence(m.to("cuda")(pack(x.to("cuda")))[0])[0]
assert torch.allclose(expected, found.cpu(), 1e-4, 1e-5)
""",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_agree_with_the_cpu(layer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + LAYERS[layer] + "\nprint('agreed')"],
        capture_output=True,
        text=True,
        env={**os.environ, "LAZYT_CUDA_HOST": "ctypes"},
        timeout=300,
    )
    assert done.stdout == "agreed\n", done.stderr
