"""Small programs whose loop nests are looked at: how many there are, and how they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lazyt as torch
import lazyt.nn as nn
import lazyt.nn.functional as F
from lazyt.codegen.grouping import loop_nests
from lazyt.codegen.lower import Lowered
from lazyt.codegen.source import generate
from lazyt.inspect.program import ProgramView
from lazyt.ir.passes.fuse import Grouping
from lazyt.ir.passes.pipeline import optimize

ROWS, COLUMNS = 64, 48
# The programs whose kernels have golden files.
READ = (
    *("softmax", "softmax_of_columns", "layer_norm", "gelu", "dropout", "bias_relu", "sum_of_rows"),
    *("sum_of_columns", "whole_sum", "transposed", "layer_norm_training", "batch_norm_training"),
    *("cross_entropy", "cross_entropy_training", "sgd"),
)


def quiet(function: Callable[[], Any]) -> Callable[[], Any]:
    """The function, without gradients."""

    def run() -> Any:
        with torch.no_grad():
            return function()

    return run


def table() -> Any:
    return torch.arange(ROWS * COLUMNS, dtype=torch.float32).view(ROWS, COLUMNS) / 100


def layer_norm_backward(x: Any, layer: Any) -> Callable[[], Any]:
    def run() -> Any:
        input = x.detach().requires_grad_()
        layer.zero_grad()
        layer(input).backward(x)
        return input.grad, layer.weight.grad, layer.bias.grad

    return run


def cross_entropy_backward(x: Any, classes: Any) -> Callable[[], Any]:
    def run() -> Any:
        scores = x.detach().requires_grad_()
        loss = F.cross_entropy(scores, classes)
        loss.backward()
        return loss, scores.grad

    return run


def pooling_backward(x: Any, pool: Callable[[Any], Any]) -> Callable[[], Any]:
    seed = pool(x).detach().clone()
    seed.tolist()

    def run() -> Any:
        input = x.detach().requires_grad_()
        pooled = pool(input)
        pooled.backward(seed)
        return pooled, input.grad

    return run


SHAPES = tuple((3 + i, 4) for i in range(5))


def optimizer(
    kind: Callable[..., Any], count: int = 60, shapes: Sequence[tuple[int, ...]] = SHAPES
) -> Callable[[], Any]:
    """A step of an optimizer over so many parameters of several shapes."""
    parameters = [nn.Parameter(torch.ones(shapes[i % len(shapes)])) for i in range(count)]
    for p in parameters:
        p.grad = torch.ones(p.shape)
    made = kind(parameters)
    for _ in range(2):
        made.step()
    return made.step


def programs() -> dict[str, Callable[[], Any]]:
    x = table()
    images = torch.arange(4 * 8 * 36, dtype=torch.float32).view(4, 8, 6, 6) / 100
    layer, batch = nn.LayerNorm(COLUMNS), nn.BatchNorm2d(8)
    bias, classes = torch.ones(COLUMNS), torch.arange(ROWS) % COLUMNS
    classes.tolist()
    return {
        "softmax": quiet(lambda: torch.softmax(x, -1)),
        "log_softmax": quiet(lambda: torch.log_softmax(x, -1)),
        "softmax_of_columns": quiet(lambda: torch.softmax(x, 0)),
        "layer_norm": quiet(lambda: F.layer_norm(x, (COLUMNS,))),
        "rms_norm": quiet(lambda: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)),
        "gelu": quiet(lambda: F.gelu(x)),
        "dropout": quiet(lambda: F.dropout(x, 0.5)),
        "bias_relu": quiet(lambda: torch.relu(x + bias)),
        "sum_of_rows": quiet(lambda: x.sum(1)),
        "sum_of_columns": quiet(lambda: x.sum(0)),
        "whole_sum": quiet(lambda: x.sum()),
        "transposed": quiet(lambda: x.view(COLUMNS, ROWS) * 2 + x.t()),
        "layer_norm_training": layer_norm_backward(x, layer),
        "batch_norm_training": quiet(lambda: batch(images)),
        "cross_entropy": quiet(lambda: F.cross_entropy(x, classes)),
        "cross_entropy_training": cross_entropy_backward(x, classes),
        "max_pool_training": pooling_backward(images, lambda t: F.max_pool2d(t, 2)),
        "overlapping_pool_training": pooling_backward(images, lambda t: F.max_pool2d(t, 3, 2, 1)),
        "average_pool_training": pooling_backward(images, lambda t: F.avg_pool2d(t, 3, 2, 1)),
        "large_pool_training": pooling_backward(images, lambda t: F.max_pool2d(t, 5, 1)),
        "sgd": optimizer(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        "adam": optimizer(torch.optim.Adam),
        "adamw": optimizer(torch.optim.AdamW),
    }


def grouped(view: ProgramView) -> Grouping:
    """The loop nests of a program."""
    return loop_nests(optimize(view.traced)[0])


def calls(grouping: Grouping) -> list[list[Lowered]]:
    """The loop nests as a plan calls them: those of one call together."""
    return generate(grouping).nests


def lenet_step() -> Callable[[], Any]:
    """A training step of the digits network on a batch."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    made = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    images = torch.arange(8 * 28 * 28, dtype=torch.float32).view(8, 1, 28, 28) / 6272
    classes = torch.arange(8)
    classes.tolist()

    def step() -> Any:
        made.zero_grad()
        loss = F.cross_entropy(net(images), classes)
        loss.backward()
        made.step()
        return loss

    for _ in range(2):
        step().item()
    return step
