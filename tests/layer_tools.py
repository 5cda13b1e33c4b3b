"""The same lines on lazyt and on PyTorch: what tests of layers compare.

    same("m = nn.RNN(2, 3)\\nresult = [*run(m, torch.randn(4, 1, 2))]", oracle)

`run(m, *inputs)` gives the outputs of a module, the gradients of its inputs and parameters for a
weighted sum of the outputs, flat.
"""

from __future__ import annotations

import importlib
import math
import types
import warnings
from typing import Any

import numpy as np
import pytest

import lazyt
import lazyt.nn
import lazyt.nn.functional


def flat(value: Any) -> list[Any]:
    """The leaves of nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


def weighted(m: types.ModuleType, value: Any) -> Any:
    """A sum of all floating elements of a structure of tensors, each with a weight of its own."""
    total = 0.0
    for t in flat(value):
        if isinstance(t, m.Tensor) and t.is_floating_point() and t.requires_grad:
            weights = m.linspace(0.3, 1.7, t.numel(), dtype=t.dtype)
            total = total + (t.reshape(-1) * weights).sum()
    return total


def runner(m: types.ModuleType) -> Any:
    """`run` for an implementation."""

    def run(module: Any, *inputs: Any, **options: Any) -> list[Any]:
        leaves = [t for t in flat(inputs) if isinstance(t, m.Tensor) and t.is_floating_point()]
        for t in leaves:
            t.requires_grad_()
        outputs = module(*inputs, **options)
        weighted(m, outputs).backward()
        parameters = module.parameters() if hasattr(module, "parameters") else ()
        return flat(outputs) + [t.grad for t in leaves] + [p.grad for p in parameters]

    return run


def names_of(m: types.ModuleType) -> dict[str, Any]:
    """What lines of code may use."""
    nn = importlib.import_module(m.__name__ + ".nn")
    return {
        "torch": m,
        "nn": nn,
        "F": nn.functional,
        "rnn": importlib.import_module(m.__name__ + ".nn.utils.rnn"),
        "np": np,
        "math": math,
        "flat": flat,
        "run": runner(m),
    }


def outcome(text: str, m: types.ModuleType, dtype: str = "float32") -> list[Any]:
    """What `text` leaves in `result`, flat; run from seed 0."""
    names = names_of(m)
    m.manual_seed(0)
    m.set_default_dtype(getattr(m, dtype))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(text, names)
    finally:
        m.set_default_dtype(m.float32)
    return flat(names["result"])


def same(text: str, oracle: types.ModuleType, dtype: str = "float32") -> None:
    """Asserts that `text` leaves the same in `result` on both, in float64 to 1e-9 and in float32 to
    1e-4."""
    ours, theirs = outcome(text, lazyt, dtype), outcome(text, oracle, dtype)
    assert len(ours) == len(theirs), (ours, theirs)
    rtol, atol = (1e-4, 1e-5) if dtype == "float32" else (1e-9, 1e-12)
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if isinstance(b, oracle.Tensor):
            assert str(a.dtype) == str(b.dtype), i
            assert tuple(a.shape) == tuple(b.shape), i
            found, wanted = (np.array(t.detach().double().tolist()) for t in (a, b))
            np.testing.assert_allclose(found, wanted, rtol, atol, err_msg=f"result {i}")
        else:
            assert a == b, i


def raised(text: str, m: types.ModuleType) -> tuple[str, str]:
    """The type and the first line of the error that `text` raises."""
    with pytest.raises(Exception) as caught:
        outcome(f"result = {text}", m)
    return type(caught.value).__name__, str(caught.value).split("\n")[0]


def same_error(text: str, oracle: types.ModuleType) -> None:
    """Asserts that an expression raises the same error on both."""
    assert raised(text, lazyt) == raised(text, oracle)


def numpy_state(m: Any) -> dict[str, np.ndarray]:
    """A module's state as arrays, which both understand."""
    return {name: t.detach().numpy() for name, t in m.state_dict().items()}
