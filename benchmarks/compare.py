"""lazyt against PyTorch (eager, and optionally one thread), interleaved in one process.

    python benchmarks/compare.py [--threads N] [--rounds R] [name ...]

Every case is run in turns on both, so that both meet the same machine; printed are the medians of
the rounds in microseconds and their ratio. Needs the extra `oracle`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from types import ModuleType

import torch as pytorch

import lazyt

Case = Callable[[ModuleType], Callable[[], object]]
CASES: dict[str, tuple[Case, int]] = {}


def case(repeat: int) -> Callable[[Case], Case]:
    """Registers a case: given a library it prepares data and returns what is timed."""

    def register(function: Case) -> Case:
        CASES[function.__name__] = (function, repeat)
        return function

    return register


@case(2000)
def trace_add(torch):
    """One addition; lazyt only traces it (the trace is emptied outside the clock)."""
    a, b = torch.ones(3, 3), torch.ones(3, 3)
    return lambda: a + b


@case(1)
def chain_of_ten(torch):
    """Ten elementwise operations over 4 Mi floats."""
    x = torch.rand(1024, 4096)

    def run():
        y = x * 2 + 1
        y = (y.sigmoid() * y - 0.5).tanh()
        y = (y * y + x).exp() * 0.1
        return y.sum().item()

    return run


def training(torch, net, shape, classes, momentum):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=momentum)
    criterion = torch.nn.CrossEntropyLoss()
    x, y = torch.randn(*shape), torch.randint(0, classes, (shape[0],))

    def step():
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@case(20)
def mlp_step(torch):
    """64-64-64-10, batch 32, SGD with momentum."""
    nn = torch.nn
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    return training(torch, nn.Sequential(*layers), (32, 64), 10, 0.9)


def lenet(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(576, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


@case(10)
def lenet_step_2(torch):
    """The tour's LeNet, batch 2, plain SGD."""
    return training(torch, lenet(torch), (2, 1, 32, 32), 10, 0)


@case(4)
def lenet_step_32(torch):
    """The tour's LeNet, batch 32, SGD with momentum."""
    return training(torch, lenet(torch), (32, 1, 32, 32), 10, 0.9)


def timed(run: Callable[[], object], repeat: int) -> float:
    started = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - started) / repeat * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch (0: its default)")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    if options.threads:
        pytorch.set_num_threads(options.threads)
    print(f"{'case':16}{'lazyt us':>12}{'PyTorch us':>12}{'ratio':>8}")
    for name in options.names or CASES:
        prepare, repeat = CASES[name]
        ours, theirs = prepare(lazyt), prepare(pytorch)
        pairs = []
        for i in range(options.rounds + 3):
            one, other = timed(ours, repeat), timed(theirs, repeat)
            lazyt.zeros(1).item()  # nothing that was only traced is left for the next round
            if i >= 3:
                pairs.append((one, other))
        a, b = (statistics.median(column) for column in zip(*pairs))
        print(f"{name:16}{a:12.2f}{b:12.2f}{a / b:8.2f}")


if __name__ == "__main__":
    main()
