"""Programs whose kernels are kept as golden files: IR, loop IR, NumPy, C, CUDA C, dressed.

They are texts, compiled as files of their own that `linecache` knows, so that the user's lines in
the headers are theirs, whatever this file looks like.
"""

from __future__ import annotations

import linecache
from typing import Any

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
TABLE = "x = torch.linspace(-3, 3, 64 * 48).view(64, 48)\n"

PROGRAMS: dict[str, str] = {
    "softmax": """
def step():
    return torch.softmax(x, -1)
""",
    "log_softmax": """
def step():
    return torch.log_softmax(x, -1)
""",
    "layer_norm": """
weight, bias = torch.ones(48), torch.zeros(48)
def step():
    return F.layer_norm(x, (48,), weight, bias)
""",
    "layer_norm_backward": """
norm = nn.LayerNorm(48)
x.requires_grad_()
grad_y = torch.ones(64, 48)
def step():
    x.grad = None
    norm.zero_grad()
    y = norm(x)
    y.backward(grad_y)
""",
    "rms_norm": """
weight = torch.ones(48)
def step():
    mean_square = (x * x).mean(-1, keepdim=True)
    return x * torch.rsqrt(mean_square + 1e-6) * weight
""",
    "gelu": """
def step():
    return F.gelu(x)
""",
    "cross_entropy": """
target = torch.arange(64) % 48
def step():
    loss = F.cross_entropy(x, target)
    return loss
""",
    "cross_entropy_backward": """
target = torch.arange(64) % 48
x.requires_grad_()
def step():
    x.grad = None
    loss = F.cross_entropy(x, target)
    loss.backward()
""",
    "batch_norm": """
images = torch.linspace(-1, 1, 4 * 8 * 36).view(4, 8, 6, 6)
norm = nn.BatchNorm2d(8)
@torch.no_grad()
def step():
    return norm(images)
""",
    "dropout": """
def step():
    return F.dropout(x, 0.25)
""",
    "sgd": """
weight = nn.Parameter(torch.ones(64, 48))
weight.grad = torch.ones(64, 48)
optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
def step():
    optimizer.step()
""",
    "adam": """
weight = nn.Parameter(torch.ones(64, 48))
weight.grad = torch.ones(64, 48)
optimizer = torch.optim.Adam([weight], lr=0.01)
def step():
    optimizer.step()
""",
    "transposed_operand": """
def step():
    turned = x.view(48, 64) * 2 + x.t()
    return torch.relu(turned)
""",
    "softmax_of_columns": """
def step():
    return torch.softmax(x, 0)
""",
    "whole_sum": """
def step():
    return x.exp().sum()
""",
    "column_sum": """
def step():
    totals = x.sum(0)
    return totals
""",
    "max_pool": """
images = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8).sin().requires_grad_()
grad_pooled = torch.ones(2, 3, 4, 4)
def step():
    images.grad = None
    pooled = F.max_pool2d(images, 2)
    pooled.backward(grad_pooled)
    return pooled
""",
    "max_pool_of_padded": """
images = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8).sin()
def step():
    return F.max_pool2d(images, (1, 3), 2, (0, 1))
""",
}

# What these multiply ends, on a device, with what follows.
PRODUCTS: dict[str, str] = {
    "linear_gelu": """
layer = nn.Linear(48, 32)
@torch.no_grad()
def step():
    hidden = F.gelu(layer(x))
    return hidden
""",
    "conv_relu": """
images = torch.linspace(-1, 1, 4 * 3 * 100).view(4, 3, 10, 10)
layer = nn.Conv2d(3, 8, 3, padding=1)
@torch.no_grad()
def step():
    features = torch.relu(layer(images))
    return features
""",
}


def explained(name: str) -> Any:
    """The programs of `step()` when it comes back the third time, laid open."""
    import lazyt
    from lazyt.__main__ import torch_is_lazyt
    from lazyt.runtime import drain

    drain.drain()
    drain.clear_plans()
    file = f"{name}.py"
    source = HEAD + TABLE + (PROGRAMS | PRODUCTS)[name]
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": name}
    with torch_is_lazyt():
        exec(compile(source, file, "exec"), scope)
        drain.drain()
        for _ in range(2):
            result = scope["step"]()
            drain.drain()
        del result
        return lazyt.explain(scope["step"])
