"""lazyt against PyTorch (eager, and with --compile torch.compile), interleaved in one process.

    [LAZYT_CPU=c] python benchmarks/compare.py [--compile] [--threads N] [--rounds R] [name ...]

Every case is run in turns on all, so that all meet the same machine; printed are the medians of the
rounds in microseconds and lazyt's ratio to each. Needs the extra `oracle`. Figures that were
measured stand in benchmarks/RESULTS.md.
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
PAUSE_S = 0.02
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


@case(2)
def lstm_step(torch):
    """An LSTM of 128 units over 50 time steps of 128 features, batch 32, plain SGD."""
    net = torch.nn.LSTM(128, 128)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    x = torch.randn(50, 32, 128)

    def step():
        optimizer.zero_grad()
        y, _ = net(x)
        loss = (y * y).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


# --- single kernels -------------------------------------------------------------------------------


def chain(torch, numel):
    """Ten elementwise operations in a row; one element is read."""
    x = torch.rand(numel)

    def run():
        y = x
        for _ in range(5):
            y = y * 1.01 + 0.5
        return y[0].item()

    return run


@case(200)
def chain_1e5(torch):
    """Ten operations over 1e5 floats."""
    return chain(torch, 100_000)


@case(3)
def chain_1e7(torch):
    """Ten operations over 1e7 floats."""
    return chain(torch, 10_000_000)


@case(10)
def softmax(torch):
    """Softmax over the rows of 4096 x 1024."""
    x = torch.randn(4096, 1024)

    def run():
        y = torch.softmax(x, -1)
        return y[0, 0].item()

    return run


@case(10)
def layer_norm(torch):
    """Layer norm of 4096 x 768, forward and backward."""
    x, g = torch.randn(4096, 768, requires_grad=True), torch.randn(4096, 768)
    layer = torch.nn.LayerNorm(768)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)
        return x.grad[0, 0].item() + layer.weight.grad[0].item()

    return run


@case(10)
def cross_entropy(torch):
    """Cross entropy of 4096 x 1000, forward and backward."""
    x, t = torch.randn(4096, 1000, requires_grad=True), torch.randint(0, 1000, (4096,))

    def run():
        x.grad = None
        loss = torch.nn.functional.cross_entropy(x, t)
        loss.backward()
        return loss.item() + x.grad[0, 0].item()

    return run


def timed(run: Callable[[], object], repeat: int) -> float:
    """Microseconds a run. Threads of the library before keep a processor busy for a while after
    their work; so there is a pause first, and a run that is not counted."""
    time.sleep(PAUSE_S)
    run()
    started = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - started) / repeat * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch (0: its default)")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--compile", action="store_true", help="also torch.compile")
    options = parser.parse_args()
    if options.threads:
        pytorch.set_num_threads(options.threads)
    columns = ["lazyt", "PyTorch", *(["compiled"] if options.compile else [])]
    print(f"{'case':16}" + "".join(f"{name + ' us':>14}" for name in columns) + "   ratios")
    for name in options.names or CASES:
        prepare, repeat = CASES[name]
        runs = [prepare(lazyt), prepare(pytorch)]
        if options.compile:
            runs.append(pytorch.compile(prepare(pytorch)))
        rounds = []
        for i in range(options.rounds + 3):
            times = [timed(run, repeat) for run in runs]
            lazyt.zeros(1).item()  # nothing that was only traced is left for the next round
            if i >= 3:
                rounds.append(times)
        ours, *others = (statistics.median(column) for column in zip(*rounds))
        figures = "".join(f"{figure:14.2f}" for figure in (ours, *others))
        print(f"{name:16}{figures}   " + " ".join(f"{ours / other:.2f}" for other in others))


if __name__ == "__main__":
    main()
