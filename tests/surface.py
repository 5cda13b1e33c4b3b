"""What a line of code gives, in lazyt and in PyTorch: to be compared word for word.

    outcome(torch, "x = torch.arange(3.)", "x[1:]", gradients=False)
    # ('tensor', [2], 'float32', None, [1.0, 2.0])

A line may be an expression or a statement; after a statement the outcome is that of the name `x`.
The preparation's tensors that require a gradient are differentiated through the outcome: their
gradients belong to it. An error is its type and its text.
"""

from __future__ import annotations

import math
import types
import warnings
from typing import Any

import numpy as np


def outcome(torch: types.ModuleType, preparation: str, line: str, gradients: bool = True) -> Any:
    """The outcome of `line` after `preparation`, as plain Python data."""
    names: dict[str, Any] = {"torch": torch, "np": np, "F": torch.nn.functional}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(preparation, names)
        leaves = [
            (key, value)
            for key, value in names.items()
            if isinstance(value, torch.Tensor) and value.is_leaf and value.requires_grad
        ]
        try:
            try:
                code = compile(line, "<line>", "eval")
            except SyntaxError:
                exec(line, names)
                result = names["x"]
            else:
                result = eval(code, names)
            described = describe(torch, result)
        except Exception as error:
            return ("error", type(error).__name__, str(error))
        if gradients:
            try:
                described = (described, differentiated(torch, result, leaves))
            except RuntimeError:
                return (described, "no gradient")
    return described


def describe(torch: types.ModuleType, result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        name = None
        if result.grad_fn is not None:
            name = result.grad_fn.name().removeprefix("torch::autograd::")
        kind = str(result.dtype).rpartition(".")[2]
        return ("tensor", list(result.shape), kind, name, result.detach().tolist())
    if isinstance(result, (tuple, list)):
        return [describe(torch, r) for r in result]
    return result


def differentiated(torch: types.ModuleType, result: Any, leaves: list) -> list:
    """Gradients of the leaves for a weighted sum of the result's elements."""
    results = result if isinstance(result, (tuple, list)) else [result]
    total = None
    for r in results:
        if isinstance(r, torch.Tensor) and r.requires_grad:
            weights = torch.arange(1.0, r.numel() + 1).reshape(r.shape).to(r.dtype)
            part = (r * weights).sum()
            total = part if total is None else total + part
    if total is None:
        return []
    total.backward()
    return [(key, t.grad.tolist() if t.grad is not None else None) for key, t in leaves]


def same(expected: Any, actual: Any, tolerance: float = 1e-5) -> bool:
    """Equality with a tolerance for floating-point numbers."""
    if isinstance(expected, (list, tuple)):
        return (
            isinstance(actual, (list, tuple))
            and len(expected) == len(actual)
            and all(same(a, b, tolerance) for a, b in zip(expected, actual, strict=True))
        )
    if isinstance(expected, float) and isinstance(actual, float):
        if math.isnan(expected) or math.isnan(actual):
            return math.isnan(expected) and math.isnan(actual)
        return expected == actual or abs(expected - actual) <= tolerance * max(1, abs(expected))
    if isinstance(expected, complex) and isinstance(actual, complex):
        parts = ((z.real, z.imag) for z in (expected, actual))
        return same(*parts, tolerance)
    return type(expected) is type(actual) and expected == actual


def lines_of(text: str) -> list[str]:
    """The lines of a table of cases, without blank ones."""
    return [line.strip() for line in text.strip().splitlines() if line.strip()]
