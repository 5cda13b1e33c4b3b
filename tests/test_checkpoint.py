"""torch.utils.checkpoint against PyTorch: values, gradients, draws, errors; and that it frees."""

from __future__ import annotations

import gc
import re
import tracemalloc
import types
import warnings
from typing import Any

import pytest
from harness import run_program
from surface import same

import lazyt

PREPARATION = """
import torch, warnings
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
reentrant = {reentrant}
torch.manual_seed(0)
net = nn.Sequential(
    nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
)
x = torch.sin(torch.arange(6.0)).reshape(2, 3).requires_grad_()
calls = []
def run(a, *more):
    calls.append(1)
    return net(a)
def saved(f, *args, **options):
    return checkpoint(f, *args, use_reentrant=reentrant, **options)
def numbers(*tensors):
    return [None if t is None else [round(v, 4) for v in t.flatten().tolist()] for t in tensors]
def gradients():
    return numbers(x.grad, *[p.grad for p in net.parameters()])
def shown(f):
    try:
        print(f())
    except Exception as error:
        print(type(error).__name__, str(error)[:110])
"""

PROGRAMS = {
    "dropout draws the same mask again": """
y = saved(run, x)
y.pow(2).sum().backward()
print(numbers(y), gradients(), len(calls), numbers(torch.rand(3)))
""",
    "without the state of the stream": """
y = saved(lambda a: a.sin() * 2, x, preserve_rng_state=False)
y.sum().backward()
print(numbers(x.grad))
""",
    "what its result is called": """
print(saved(torch.sin, x).grad_fn.name(), saved(lambda a: a.view(-1), x).grad_fn.name())
""",
    "sequential": """
y = checkpoint_sequential(net, 3, x, use_reentrant=reentrant)
y.pow(2).sum().backward()
print(numbers(y), gradients())
""",
    "a list of functions": """
steps = [torch.sin, torch.exp, lambda a: a * x.detach()]
for segments in (1, 2, 3):
    y = checkpoint_sequential(steps, segments, x, use_reentrant=reentrant)
    print(numbers(*torch.autograd.grad(y.sum(), x)) if not reentrant else numbers(y))
""",
    "no argument requires a gradient": """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    y = saved(net, x.detach())
print(y.requires_grad, [str(w.message) for w in caught])
""",
    "grad": "shown(lambda: numbers(*torch.autograd.grad(saved(torch.sin, x).sum(), x)))",
    "backward with inputs": """
y = saved(torch.sin, x).sum()
shown(lambda: y.backward(inputs=[x]))
""",
    "nested": """
inner = lambda a: saved(lambda b: b.sin() * b, a)
saved(lambda a: inner(a).exp(), x).sum().backward()
print(numbers(x.grad))
""",
    "what it closes over": """
w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
h = w * 2
y = saved(lambda a: (a * h * w).sin(), x * h).sum()
shown(lambda: (y.backward(), numbers(w.grad, x.grad)))
""",
    "several outputs": """
a, b, c, d = saved(lambda a: (a.sin(), 3, a.detach(), a * 2), x)
(a.sum() + d.sum()).backward()
print(numbers(x.grad), b, c.requires_grad, numbers(c))
""",
    "one of several outputs is used": """
a, b = saved(lambda a: (a.sin(), a.exp()), x)
b.sum().backward()
print(numbers(x.grad))
""",
    "its argument is its output": """
y = saved(lambda a: a, x * 2)
y.sum().backward()
print(numbers(x.grad, y))
""",
    "a second backward": """
y = saved(torch.sin, x).sum()
y.backward()
shown(y.backward)
""",
    "a second backward that may": """
y = saved(torch.sin, x).sum()
y.backward(retain_graph=True)
y.backward()
print(numbers(x.grad))
""",
    "an argument is written to": """
a = x * 1
y = saved(torch.sin, a).sum()
a.add_(1)
shown(y.backward)
""",
    "second derivatives": """
def second():
    y = saved(lambda a: a.sin().exp(), x)
    g, = torch.autograd.grad(y.sum(), x, create_graph=True)
    return numbers(g, *torch.autograd.grad(g.sum(), x))
shown(second)
""",
    "keyword arguments": "shown(lambda: numbers(saved(lambda a, b=2: a * b, x, b=3)))",
    "inside no_grad": """
with torch.no_grad():
    print(saved(net, x).requires_grad)
""",
    "the second run gives something else": """
def unstable(a):
    calls.append(1)
    return a.sin() if len(calls) % 2 else a[:1].sin()
y = saved(unstable, x).sum()
shown(y.backward)
""",
    "it reads a value": """
def reading(a):
    b = a.sin()
    return (b * 2 if b.sum().item() > -100 else b).exp()
saved(reading, x).sum().backward()
print(numbers(x.grad))
""",
    "under autocast, which has ended before the backward": """
seen = []
def product(a):
    y = net[0](a)
    seen.append(y.dtype)
    return y.relu()
with torch.autocast("cpu", dtype=torch.bfloat16):
    y = saved(product, x)
y.float().sum().backward()
print(y.dtype, seen, torch.is_autocast_enabled("cpu"), gradients())
""",
    "a hook inside": """
def hooked(a):
    b = a.sin()
    if b.requires_grad:
        b.register_hook(lambda g: g * 10)
    return b.exp()
saved(hooked, x).sum().backward()
print(numbers(x.grad))
""",
    "not said which": """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    y = checkpoint(torch.sin, x)
print(y.requires_grad, [str(w.message)[:80] for w in caught])
""",
    "a step of training": """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(3):
    optimizer.zero_grad()
    loss = saved(run, x).pow(2).sum()
    loss.backward()
    optimizer.step()
print(numbers(*net.parameters()))
""",
}


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_gives_what_torch_gives(oracle: types.ModuleType, name: str, reentrant: bool) -> None:
    text = PREPARATION.format(reentrant=reentrant) + PROGRAMS[name]
    expected = run_program(text, name="torch")
    found = run_program(text, name="lazyt")
    assert same(tokens(expected), tokens(found), 1e-3), (expected, found)


def tokens(printed: str) -> list[Any]:
    """The words and numbers of a text."""
    parts = re.split(r"(-?\d+\.\d+(?:e-?\d+)?)", printed)
    return [float(p) if i % 2 else p for i, p in enumerate(parts)]


def _kept(checkpointed: bool) -> int:
    """Bytes that are held between forward and backward of eight steps over a megabyte."""
    torch = lazyt
    checkpoint = torch.utils.checkpoint.checkpoint
    step = lambda a: ((a.sin() * a).exp() * 0.1).tanh()
    leaf = torch.ones(1 << 18, requires_grad=True)
    tracemalloc.start()
    try:
        h = leaf * 1
        for _ in range(8):
            h = checkpoint(step, h, use_reentrant=False) if checkpointed else step(h)
        loss = h.sum()
        loss.item()
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    loss.backward()
    expected = torch.ones(1, requires_grad=True)
    h = expected * 1
    for _ in range(8):
        h = step(h)
    h.sum().backward()
    assert abs(leaf.grad[0].item() - expected.grad[0].item()) < 1e-6
    return kept


def test_what_is_inside_is_not_kept() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, outputs = _kept(False), _kept(True)
    # Several values a step against one, the step's argument.
    megabytes = 1 << 20
    assert whole > 8 * 3 * megabytes
    assert outputs < 11 * megabytes
