"""The small programs whose IR and generated code are kept as golden files, and how they are run.

Each defines `step()`; what it does when it comes back the third time is looked at. They are
texts, compiled as the file `program.py`, so that the lines in dressed code are theirs. Run as a
script this prints the code of all of them: two processes must print the same.
"""

from __future__ import annotations

from typing import Any

ELEMENTWISE = """
import torch
x = torch.arange(6.0).reshape(2, 3)
def step():
    scaled = x * 2 + 1
    y = scaled.exp() - x
    del scaled
    return y
"""
SIMPLIFIED = """
import torch
x = torch.arange(6.0)
def step():
    same = x * 1.0
    unused = x.exp()
    folded = same * (torch.full((), 2.0) + torch.full((), 3.0))
    again = (x + 1) * (x + 1)
    return folded + again
"""
BROADCASTING = """
import torch
rows = torch.arange(3.0).reshape(3, 1).requires_grad_()
columns = torch.arange(4.0)
def step():
    rows.grad = None
    product = rows * columns
    product.sum().backward()
    return rows.grad
"""
BLOCKED = """
import torch
x = torch.linspace(0, 1, 150000).reshape(500, 300)
bias = torch.linspace(-1, 1, 300)
def step():
    return ((x + bias) * 0.5).tanh().sum(1)
"""
VIEWS = """
import torch
x = torch.arange(12.0)
def step():
    table = x.reshape(3, 4)
    turned = table.t()
    window = turned[1:3]
    return window * 2, table.permute(1, 0)[0] + 1
"""
SLICES = """
import torch
data = torch.arange(40.0).reshape(10, 4)
at = [0]
def step():
    at[0] += 2
    batch = data[at[0] : at[0] + 2]
    return batch * 3
"""
WRITES = """
import torch
x = torch.zeros(4, 5)
def step():
    x[1:3] += 1
    x[0, 2] = 7
    x.mul_(0.5)
    return x.sum().item()
"""
HALVES = """
import torch
x = torch.arange(4.0).to(torch.float16)
w = torch.arange(4.0).to(torch.bfloat16)
def step():
    return x * x + x, (w + 1) * 2
"""
SCALARS = """
import torch
w = torch.ones(3)
rate = [0.1]
def step():
    rate[0] *= 0.9
    w.sub_(rate[0] * w)
    return w.sum().item()
"""
REDUCTIONS = """
import torch
x = torch.arange(12.0).reshape(3, 4)
def step():
    mean = x.mean(1, keepdim=True)
    spread = x.var(1)
    best = x.argmax(1)
    return (x - mean).abs().amax(), spread, best
"""
SOFTMAX = """
import torch
import torch.nn.functional as F
logits = torch.arange(12.0).reshape(4, 3).requires_grad_()
target = torch.tensor([0, 2, 1, 1])
def step():
    logits.grad = None
    loss = F.cross_entropy(logits, target)
    loss.backward()
    return loss.item()
"""
MLP = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
x, y = torch.rand(5, 4), torch.rand(5, 2)
def step():
    optimizer.zero_grad()
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()
"""
LENET = """
import torch
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
images, labels = torch.rand(4, 1, 32, 32), torch.tensor([1, 2, 3, 4])
def step():
    optimizer.zero_grad()
    loss = F.cross_entropy(net(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()
"""

PROGRAMS: dict[str, str] = {
    "elementwise": ELEMENTWISE,
    "simplified": SIMPLIFIED,
    "broadcasting": BROADCASTING,
    "blocked": BLOCKED,
    "views": VIEWS,
    "slices": SLICES,
    "writes": WRITES,
    "halves": HALVES,
    "scalars": SCALARS,
    "reductions": REDUCTIONS,
    "softmax_cross_entropy": SOFTMAX,
    "mlp_step": MLP,
    "lenet_step": LENET,
}


def explained(name: str) -> Any:
    """The explanation of the program's `step()` when it comes back the third time."""
    import lazyt
    from lazyt.__main__ import torch_is_lazyt
    from lazyt.runtime import drain

    drain.clear_plans()  # numbers seen before, by another program of this shape, would be scalars
    scope: dict[str, Any] = {"__name__": "program"}
    with torch_is_lazyt():
        exec(compile(PROGRAMS[name], "program.py", "exec"), scope)
        drain.drain()
        for _ in range(2):
            result = scope["step"]()
            drain.drain()
        del result
        return lazyt.explain(scope["step"])


def main() -> None:
    for name in PROGRAMS:
        found = explained(name)
        for program in found.programs:
            print(
                f"==== {name}\n{program.ir}\n{program.groups}\n{program.source}\n{program.dressed}"
            )


if __name__ == "__main__":
    main()
