"""What an expression gives in lazyt and in PyTorch: its value, its gradients, and theirs.

    check(lazyt, torch, "x.sum(1)", twice=True)

Expressions read the tensors of `operands`. Those that require a gradient are differentiated through
a weighted sum of the results, and the gradients once more through the sum of their squares. An
error is its type and the first line of its text.
"""

from __future__ import annotations

import math
import types
import warnings
from typing import Any

import numpy as np
from surface import describe, same

NAN = math.nan


def operands(torch: types.ModuleType) -> dict[str, Any]:
    """Small tensors of every kind, the same for both implementations."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return torch.tensor(rng.standard_normal(shape).astype(np.float32).tolist()).reshape(shape)

    tracked = {"x": (3, 4), "y": (2, 3, 4), "v": (4,), "w": (4, 5), "z": (2, 4, 5), "sq": (3, 3)}
    names = {name: normal(*shape) for name, shape in tracked.items()}
    names |= {"d": normal(3, 4).double(), "s": torch.tensor(2.0)}
    names["n"] = torch.tensor([[1.0, NAN, 2.0], [NAN, 0.5, -1.0]])
    names["ties"] = torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 3.0]])
    for t in names.values():
        t.requires_grad_()
    names |= {"p": normal(3, 4), "h": normal(3, 4).half(), "bf": normal(3, 4).bfloat16()}
    names["i"] = torch.arange(6).reshape(2, 3)
    names["b"] = names["i"] > 2
    names["u"] = torch.tensor([[0, 1], [1, 3]], dtype=torch.uint8)
    names["e"] = torch.empty(0, 3)
    return names | {"torch": torch, "inf": math.inf, "nan": NAN}


def outcome(torch: types.ModuleType, line: str, twice: bool) -> Any:
    """The value, the gradients and (with `twice`) the second gradients of one expression."""
    names = operands(torch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = eval(line, names)
        except Exception as error:
            return ("error", type(error).__name__, str(error).split("\n")[0])
        value = [type(result).__name__, describe(torch, result)]
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        leaves = [t for t in names.values() if isinstance(t, torch.Tensor) and t.requires_grad]
        tracked = [r for r in results if isinstance(r, torch.Tensor) and r.requires_grad]
        first = gradients(torch, [(r * weights(torch, r)).sum() for r in tracked], leaves, twice)
        second = None
        if twice:
            second = gradients(
                torch, [(g * g).sum() for g in first if g is not None and g.requires_grad], leaves
            )
            second = [numbers(torch, g, t) for g, t in zip(second, leaves)]
    return (value, [numbers(torch, g, t) for g, t in zip(first, leaves)], second)


def weights(torch: types.ModuleType, t: Any) -> Any:
    return torch.arange(t.numel()).reshape(t.shape).to(t.dtype) * 0.3 + 1


def gradients(torch: types.ModuleType, sums: list, leaves: list, create: bool = False) -> list:
    """Gradients of a total of 0-d tensors; None for every leaf where there is nothing to add."""
    total = None
    for part in sums:
        total = part.double() if total is None else total + part.double()
    if total is None or not total.requires_grad:
        return [None] * len(leaves)
    return list(torch.autograd.grad(total, leaves, allow_unused=True, create_graph=create))


def numbers(torch: types.ModuleType, g: Any, leaf: Any) -> Any:
    """A gradient as numbers with its dtype; no gradient counts as zeros."""
    if g is None:
        g = torch.zeros(leaf.shape, dtype=leaf.dtype)
    return (str(g.dtype), g.detach().tolist())


def check(
    ours: types.ModuleType, oracle: types.ModuleType, line: str, *, twice: bool, runs: int = 3
) -> None:
    """Fails where lazyt differs from PyTorch: in the first run, evaluated, or compiled later."""
    expected = outcome(oracle, line, twice)
    for _ in range(runs):
        actual = outcome(ours, line, twice)
        assert same(expected, actual, 3e-5), f"\nPyTorch: {expected}\nlazyt:   {actual}"
