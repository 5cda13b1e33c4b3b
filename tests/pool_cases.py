"""Random windows, and the pools over them: what loops compute against the reference evaluator.

    LAZYT_CUDA_HOST=ctypes python tests/pool_cases.py

exits with 1 where something differs on the device. The evaluator's own pools are compared with
PyTorch in test_numerics.py. A case has one to three spatial dimensions, padding, dilation, strides
that are wider or narrower than the window, ties, nan, infinities and windows of nothing but -inf.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import numpy as np
from graph_tools import tracing
from loop_coverage import Made, alone, applied, differences
from test_primitives import Sample, of_dtype

from lazyt.ir import dtypes
from lazyt.ir.node import Node
from lazyt.ir.numerics import pool
from lazyt.ir.ops_device import transfer


def cases(seed: int) -> Iterator[tuple[str, Sample]]:
    """The pools of one random geometry, each with operands that fit it."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    pick = lambda choices: tuple(int(v) for v in rng.choice(choices, rank))
    kernel, stride = pick([1, 2, 3, 3, 5] if rank < 3 else [1, 2, 3]), pick([1, 2, 2, 3, 4])
    dilation = pick([1, 1, 1, 2])
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    spatial = tuple(int(rng.integers(d * (k - 1) + 1, 10)) for k, d in zip(kernel, dilation))
    ceil = bool(rng.random() < 0.5)
    dtype = [dtypes.float32, dtypes.float64][seed % 2]
    lead = (2, 3)[: int(rng.integers(1, 3))]
    x = rng.integers(0, 5, (*lead, *spatial)).astype(np.float64)
    if seed % 4 == 1:
        x[rng.random(x.shape) < 0.2] = np.nan
    elif seed % 4 == 2:
        x[rng.random(x.shape) < 0.8] = -np.inf
    x = of_dtype(x, dtype)
    windows = (kernel, stride, padding, dilation)
    values, winners = pool.max_pool(x, *windows, ceil)
    draw = lambda shape: of_dtype(rng.standard_normal(shape), dtype)
    g = draw(values.shape)
    yield "max_pool", Sample([x], (*windows, ceil), dtype)
    yield "max_pool_values", Sample([x], (*windows, ceil), dtype)
    yield "max_pool_positions", Sample([winners], (spatial, *windows), dtype)
    yield "max_pool_grad", Sample([g, winners], (spatial, *windows), dtype)
    yield "max_pool_gather", Sample([draw(x.shape), winners], windows, dtype)
    average = (kernel, stride, padding, ceil, bool(seed % 3), 7 if seed % 5 == 0 else None)
    y = pool.avg_pool(x, *average)
    yield "avg_pool", Sample([draw(x.shape)], average, dtype)
    yield "avg_pool_grad", Sample([draw(y.shape)], (spatial, *average), dtype)


def differing(device: str, seeds: Iterable[int]) -> list[str]:
    """What a device computes otherwise than the evaluator does, or not in loops."""
    place = lambda x: x if device == "cpu" or not isinstance(x, Node) else transfer(x, device)
    back = lambda x: x if device == "cpu" else transfer(x, "cpu")
    with tracing() as trace:
        made: list[Made] = [applied(name, s, place) for seed in seeds for name, s in cases(seed)]
        wrong = differences(made, trace, back)
        return wrong + sorted(alone(trace, [r for m in made for r in m.results], device))


if __name__ == "__main__":
    import lazyt

    lazyt.zeros(1, device="cuda")  # starts the device
    wrong = differing("cuda:0", range(10))
    print("\n".join(wrong))
    sys.exit(bool(wrong))
