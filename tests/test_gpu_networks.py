"""Modules, losses, optimizers and networks on a device: the CPU's values, gradients and steps."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_layers
import test_losses
import test_nn
import test_resizing
import test_windows
from gpu_tools import difference
from surface import lines_of
from test_examples import DIGITS, losses, needs_extras, run, write_idx_files

import lazyt as torch
from lazyt import nn
from lazyt.nn import functional as F

pytestmark = pytest.mark.gpu

NAMES = {"torch": torch, "nn": nn, "F": F, "np": np}


def on(device: str, value: Any) -> Any:
    """A copy of a value, a module or a tree of them on a device."""
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if isinstance(value, (tuple, list)):
        return type(value)(on(device, v) for v in value)
    if isinstance(value, torch.Tensor):
        return value.detach().to(device, copy=True).requires_grad_(value.requires_grad)
    return value


def array(t: torch.Tensor) -> np.ndarray:
    host = t.detach().cpu()
    return (host.float() if t.dtype is torch.bfloat16 else host).numpy()


def compare(here: list, there: list, what: str, looser: float = 10) -> list[str]:
    """How lists of tensors of the CPU and of the device differ, in words."""
    wrong = []
    assert len(here) == len(there)
    for i, (a, b) in enumerate(zip(here, there)):
        if a is None or b is None:
            told = None if a is b else f"{b} instead of {a}"
        else:
            assert b.device.type == "cuda", what
            told = difference(array(b), array(a), str(a.dtype).removeprefix("torch."), looser)
        if told:
            wrong.append(f"{what}, {i}: {told}")
    return wrong


# --- modules and losses ---------------------------------------------------------------------------

# Modules with inputs for each; those of test_nn come with theirs.
MORE = """
nn.Identity()(torch.randn(2, 3))
nn.Conv1d(2, 4, 3)(torch.randn(2, 2, 6))
nn.Conv2d(1, 6, 3)(torch.randn(2, 1, 7, 6))
nn.Conv2d(3, 8, (3, 5), stride=2, padding=1, bias=False)(torch.randn(2, 3, 8, 9))
nn.Conv2d(4, 4, 3, padding='same', dilation=2, groups=2)(torch.randn(1, 4, 6, 5))
nn.Conv3d(1, 2, (1, 2, 3))(torch.randn(1, 1, 3, 4, 5))
nn.ConvTranspose1d(2, 1, 2)(torch.randn(1, 2, 5))
nn.ConvTranspose2d(2, 2, 3, 2, output_padding=1, dilation=2, padding=1)(torch.randn(1, 2, 4, 4))
nn.ConvTranspose3d(2, 1, 2, stride=2)(torch.randn(1, 2, 2, 3, 2))
nn.MaxPool1d(2)(torch.randn(2, 3, 7))
nn.MaxPool2d((2, 3), ceil_mode=True)(torch.randn(2, 3, 5, 7))
nn.MaxPool3d(2, 1)(torch.randn(1, 2, 3, 3, 3))
nn.AvgPool2d((2, 2))(torch.randn(2, 3, 5, 6))
nn.AvgPool3d(3, padding=1)(torch.randn(1, 2, 4, 4, 4))
nn.AdaptiveAvgPool1d(3)(torch.randn(2, 3, 7))
nn.AdaptiveAvgPool3d((1, 2, 3))(torch.randn(1, 2, 3, 4, 5))
nn.BatchNorm1d(3)(torch.randn(5, 3))
nn.BatchNorm1d(3, momentum=None, affine=False)(torch.randn(5, 3, 4))
nn.BatchNorm2d(3)(torch.randn(2, 3, 4, 5))
nn.BatchNorm2d(3).eval()(torch.randn(2, 3, 4, 5))
nn.BatchNorm3d(3, track_running_stats=False)(torch.randn(2, 3, 2, 2, 2))
nn.LayerNorm(5)(torch.randn(3, 5))
nn.LayerNorm(5, bias=False)(torch.randn(3, 5))
nn.Dropout(0.5).eval()(torch.randn(3, 4))
nn.AlphaDropout(0.2).eval()(torch.randn(3, 4))
nn.Embedding(10, 3, max_norm=1.0)(torch.tensor([[1, 2], [9, 1]]))
nn.Flatten(0, 2)(torch.randn(2, 3, 4))
nn.NLLLoss()(torch.randn(3, 4).log_softmax(1), torch.tensor([0, 3, 1]))
nn.CrossEntropyLoss(weight=torch.rand(4))(torch.randn(3, 4), torch.tensor([0, 3, 1]))
nn.CrossEntropyLoss()(torch.randn(2, 4, 3), torch.tensor([[0, 1, 2], [3, -100, 1]]))
nn.BCEWithLogitsLoss(pos_weight=torch.ones(2))(torch.randn(3, 2), torch.rand(3, 2))
nn.SmoothL1Loss()(torch.randn(3), torch.randn(3))
nn.HuberLoss()(torch.randn(3), torch.randn(3))
nn.MSELoss()(torch.randn(3, 2), torch.randn(3, 2))
nn.L1Loss()(torch.randn(3), torch.randn(3))
nn.Mish()(torch.randn(3, 2))
nn.Hardswish()(torch.randn(3, 2))
nn.ModuleDict({'a': nn.Linear(2, 2)})['a'](torch.randn(3, 2))
nn.Sequential(nn.Linear(2, 4), nn.Sequential(nn.GELU(), nn.Softmax(1)))(torch.randn(3, 2))
"""
ACTIVATION_NAMES = """
ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Tanh Sigmoid LogSigmoid Softplus Softsign Tanhshrink
Hardtanh Hardsigmoid Hardshrink Softshrink Softmax LogSoftmax Softmin Threshold GLU
"""
ACTIVATIONS = [
    f"{text}(torch.randn(2, 4, 6))"
    for text in test_nn.LAYERS
    if text.split("(")[0].removeprefix("nn.") in ACTIVATION_NAMES.split()
]
TABLES = [test_losses.MODULES, test_resizing.MODULES, test_windows.MODULES, test_layers.FORWARD]
# What draws when it is called, what has no shape yet, what gives or takes several tensors.
OTHERWISE = ("Fractional", "Lazy", "LogSoftmax", "*nn")
LAYERS = [line for table in TABLES for line in table if not any(word in line for word in OTHERWISE)]
CALLS = [*test_nn.FORWARD, *lines_of(MORE), *ACTIVATIONS, *LAYERS]
TOGETHER = 20


def parts(line: str) -> tuple[Any, list, dict[str, Any], Callable[[Any], Any]]:
    """The module, the arguments and what is taken of the result of a line such as
    `nn.Linear(2, 3)(torch.ones(1, 2))`, made on the CPU."""
    tree = ast.parse(line, mode="eval").body
    taken: Callable[[Any], Any] = lambda y: y
    if isinstance(tree, ast.Subscript):
        index = ast.literal_eval(tree.slice)
        taken, tree = (lambda y: y[index]), tree.value
    assert isinstance(tree, ast.Call)
    made = lambda node: eval(ast.unparse(node), dict(NAMES))
    module, arguments = made(tree.func), [made(a) for a in tree.args]
    return module, arguments, {k.arg: made(k.value) for k in tree.keywords if k.arg}, taken


def called(module: Any, arguments: list, options: dict[str, Any], taken: Callable) -> list:
    """What a module gives, and gradients of its arguments, its parameters, and its buffers."""
    given = [a for a in arguments if isinstance(a, torch.Tensor) and a.dtype.is_floating_point]
    if type(module).__name__.endswith("MarginLoss"):
        given = given[:1]  # targets have no gradients
    for t in given:
        t.requires_grad_()
    # An activation in place must not write a leaf.
    passed = [a * 1 if any(a is g for g in given) else a for a in arguments]
    y = taken(module(*passed, **options))
    found = [y]
    leaves = [*given, *module.parameters()]
    if y.requires_grad:
        weights = torch.arange(y.numel(), device=y.device).reshape(y.shape).to(y.dtype) * 0.3 + 1
        (y * weights).sum().backward()
        found += [leaf.grad for leaf in leaves]
    return [*found, *module.buffers()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("start", range(0, len(CALLS), TOGETHER))
def test_modules(start: int) -> None:
    rows = []
    for line in CALLS[start : start + TOGETHER]:
        torch.manual_seed(0)
        module, arguments, options, taken = parts(line)
        here = called(on("cpu", module), on("cpu", arguments), options, taken)
        there = called(on("cuda", module), on("cuda", arguments), options, taken)
        rows.append((line, here, there))
    wrong = [told for line, here, there in rows for told in compare(here, there, line)]
    assert not wrong, "\n".join(wrong)


HALF = """
nn.Linear(8, 6)(torch.randn(5, 8))
nn.Conv2d(2, 4, 3)(torch.randn(2, 2, 6, 6))
nn.LayerNorm(8)(torch.randn(4, 8))
nn.BatchNorm1d(8)(torch.randn(6, 8))
nn.GELU()(torch.randn(4, 8))
nn.Softmax(1)(torch.randn(4, 8))
nn.MSELoss()(torch.randn(4, 8), torch.randn(4, 8))
nn.AvgPool1d(2)(torch.randn(2, 3, 8))
nn.MaxPool1d(2)(torch.randn(2, 3, 8))
"""


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_modules_in_half_types(dtype: torch.dtype) -> None:
    rows = []
    for line in lines_of(HALF):
        torch.manual_seed(0)
        module, arguments, options, taken = parts(line)
        module, arguments = module.to(dtype), [a.to(dtype) for a in arguments]
        here = called(on("cpu", module), on("cpu", arguments), options, taken)
        there = called(on("cuda", module), on("cuda", arguments), options, taken)
        rows.append((line, here, there))
    wrong = [told for line, here, there in rows for told in compare(here, there, line, 3)]
    assert not wrong, "\n".join(wrong)


# --- training -------------------------------------------------------------------------------------


def batches(count: int, make: Callable[[], tuple]) -> list[tuple]:
    torch.manual_seed(1)
    return [make() for _ in range(count)]


def trained(net: nn.Module, optimizer: Any, data: list[tuple], loss: Callable) -> list[float]:
    """The losses of as many steps as there are batches."""
    losses = []
    for x, t in data:
        optimizer.zero_grad()
        value = loss(net(x), t)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))


def capturable(ps: list) -> torch.optim.Optimizer:
    """Refused on the CPU."""
    return torch.optim.AdamW(ps, lr=0.02, capturable=ps[0].is_cuda)


OPTIMIZERS = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda ps: torch.optim.Adam(ps, lr=0.02),
    "amsgrad": lambda ps: torch.optim.Adam(ps, lr=0.02, amsgrad=True, weight_decay=0.01),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.02),
    "capturable": lambda ps: capturable(list(ps)),
    "rmsprop": lambda ps: torch.optim.RMSprop(ps, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda ps: torch.optim.Adagrad(ps, lr=0.1, lr_decay=0.1),
    "adadelta": lambda ps: torch.optim.Adadelta(ps),
    "adamax": lambda ps: torch.optim.Adamax(ps, lr=0.02),
    "nadam": lambda ps: torch.optim.NAdam(ps, lr=0.02),
    "radam": lambda ps: torch.optim.RAdam(ps, lr=0.02),
    "rprop": lambda ps: torch.optim.Rprop(ps),
    "asgd": lambda ps: torch.optim.ASGD(ps, lr=0.1, t0=4),
    "maximize": lambda ps: torch.optim.SGD(ps, lr=0.001, maximize=True),
}


NUMBERS = ("step", "mu", "eta", "mu_product")  # what of a state may be on the CPU


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    """Twenty steps from the same weights on the same batches."""
    make = OPTIMIZERS[name]
    data = batches(20, lambda: (torch.randn(5, 6), torch.randint(0, 3, (5,))))
    losses, weights, states = {}, {}, {}
    for device in ("cpu", "cuda"):
        net = small_net().to(device)
        optimizer = make(net.parameters())
        losses[device] = trained(net, optimizer, on(device, data), F.cross_entropy)
        weights[device] = list(net.state_dict().values())
        own = optimizer.state_dict()["state"].values()
        states[device] = [t for state in own for k, t in state.items() if k not in NUMBERS]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=2e-5)
    assert not compare(weights["cpu"], weights["cuda"], name, 50)
    assert not compare(states["cpu"], states["cuda"], name, 50)


class LeNet(nn.Module):
    """The network of examples/train_digits.py."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 16, 3)
        self.fc1 = nn.Linear(16 * 6 * 6, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def test_digits_lenet() -> None:
    """The losses of the CPU to the digits that the example prints, and its weights."""
    data = batches(8, lambda: (torch.rand(8, 1, 32, 32) * 2 - 1, torch.randint(0, 10, (8,))))
    losses, weights = {}, {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = LeNet().to(device)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        losses[device] = trained(net, optimizer, on(device, data), nn.CrossEntropyLoss())
        weights[device] = list(net.parameters())
    printed = {device: [f"{value:.3f}" for value in found] for device, found in losses.items()}
    assert printed["cuda"] == printed["cpu"]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-5)
    assert not compare(weights["cpu"], weights["cuda"], "weights", 50)


def test_the_digits_example(tmp_path: Path) -> None:
    """The script itself, on images of noise: it prints the same losses for both devices."""
    needs_extras()
    write_idx_files(tmp_path)
    options = [
        "--data",
        tmp_path,
        "--epochs",
        2,
        "--print-every",
        1,
        "--picture",
        tmp_path / "p.png",
    ]
    here, there = (losses(run(DIGITS, *options, "--device", d)) for d in ("cpu", "cuda"))
    assert len(here) == 6
    assert there == here
