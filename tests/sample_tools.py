"""PyTorch's sample inputs carried over to lazyt, and what both make of them compared.

    ours(torch.ones(2))                                  # lazyt.ones(2), same dtype and strides
    differences(torch.ones(2), lazyt.zeros(2))           # ['values differ by 1 (allowed 1e-05)']

The tables of PyTorch's own tests (`torch.testing._internal.common_*`) hold tensors, dtypes and
plain Python objects. A difference is a sentence that says where and what.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_translation import Translation, tests_of_pytorch

import lazyt
import lazyt.nn

# Relative to the largest element: sums are taken in another order than PyTorch takes them.
TOLERANCES = {
    "float64": 1e-9,
    "float32": 2e-5,
    "float16": 4e-3,
    "bfloat16": 3e-2,
    "complex128": 1e-9,
    "complex64": 2e-5,
}


def table(name: str) -> types.ModuleType:
    """A module of PyTorch's tests; the test is skipped where it cannot be imported."""
    pytest.importorskip("torch", reason="needs PyTorch as oracle: pip install lazyt[oracle]")
    pytest.importorskip("expecttest", reason="PyTorch's tables of samples import expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tests_of_pytorch(name)


def short(dtype: Any) -> str:
    """'float32' for either library's dtype."""
    return str(dtype).rpartition(".")[2]


class Counterparts(Translation):
    """The translation of values, with what only modules have: other modules, parameters, packed
    sequences, options."""

    def __call__(self, x: Any) -> Any:
        torch = self.torch
        if isinstance(x, torch.nn.Parameter):
            if id(x) not in self._tensors:
                plain = self.tensor(x.detach())
                self._tensors[id(x)] = lazyt.nn.Parameter(plain, x.requires_grad), x
            return self._tensors[id(x)][0]
        if isinstance(x, torch.nn.utils.rnn.PackedSequence):
            return lazyt.nn.utils.rnn.PackedSequence(*(self(part) for part in x))
        if isinstance(x, (torch.nn.Module, torch.nn.modules.LinearCrossEntropyOptions)):
            cls = self.kind(type(x))
            if dataclasses.is_dataclass(x):
                return cls(**{f.name: self(getattr(x, f.name)) for f in dataclasses.fields(x)})
            module = cls.__new__(cls)
            module.__dict__.update(self(dict(x.__dict__)))
            return module
        if isinstance(x, type) and x.__module__.startswith("torch.optim."):
            return getattr(sys.modules[f"lazyt.{x.__module__[6:]}"], x.__name__)
        return super().__call__(x)

    def kind(self, cls: type) -> type:
        """The class of the same name."""
        found = getattr(lazyt.nn, cls.__name__, None)
        module = lazyt.nn.modules if found else sys.modules[f"lazyt.{cls.__module__[6:]}"]
        return found or getattr(module, cls.__name__)


@functools.cache
def counterparts() -> Counterparts:
    import torch

    return Counterparts(torch, lazyt)


def ours(value: Any) -> Any:
    """The counterpart in lazyt of a value of PyTorch. What is one tensor stays one."""
    translation = counterparts()
    translation.fresh()
    return translation(value)


def each_tensor(convert: Callable[[Any], Any], value: Any) -> Any:
    """A value of PyTorch with `convert` applied to its tensors, once to each."""
    import torch

    convert = functools.cache(convert)
    is_tensor = lambda x: isinstance(x, torch.Tensor)
    return torch.utils._pytree.tree_map(lambda x: convert(x) if is_tensor(x) else x, value)


def as_leaves(value: Any) -> Any:
    """A value of PyTorch in which every tensor with a history is a leaf."""
    return each_tensor(lambda t: t if t.is_leaf else t.detach().requires_grad_(), value)


def array_of(tensor: Any) -> np.ndarray:
    """Either library's tensor as float64, complex128, integers or booleans."""
    tensor = tensor.detach()
    if short(tensor.dtype) in ("bfloat16", "float16"):
        tensor = tensor.double() if hasattr(tensor, "double") else tensor
    return np.array(tensor.tolist() if tensor.numel() == 0 else tensor.contiguous().numpy())


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the exception it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call()
            for tensor in tensors_of(result):
                tensor.detach().tolist()  # an error of a value appears when it is computed
            return result
        except Exception as error:
            return error


def tensors_of(value: Any) -> list[Any]:
    """The tensors in containers, in order."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_of(item)]
    return [value] if hasattr(value, "requires_grad") and hasattr(value, "numel") else []


def differences(
    theirs: Any, mine: Any, where: str = "", exact: Any = None, slack: float = 1.0
) -> list[str]:
    """How a result of lazyt differs from PyTorch's. Where `exact` has the numbers in float64, lazyt
    may be twice as far from them as PyTorch is. `slack` multiplies the tolerance."""
    prefix = where and f"{where}: "
    if isinstance(theirs, Exception) or isinstance(mine, Exception):
        return [prefix + text for text in _error_differences(theirs, mine)]
    if hasattr(theirs, "numel"):
        return [prefix + text for text in _tensor_differences(theirs, mine, exact, slack)]
    if isinstance(theirs, dict):
        if list(theirs) != list(mine):
            return [f"{prefix}keys {list(mine)}, not {list(theirs)}"]
        theirs, mine = tuple(theirs.values()), tuple(mine.values())
        exact = exact and tuple(exact.values())
    if isinstance(theirs, (tuple, list)):
        if not isinstance(mine, (tuple, list)) or len(theirs) != len(mine):
            return [f"{prefix}{mine!r}, not {theirs!r}"]
        if not isinstance(exact, (tuple, list)):
            exact = (None,) * len(theirs)
        rows = enumerate(zip(theirs, mine, exact, strict=True))
        return [
            text
            for i, row in rows
            for text in differences(*row[:2], f"{where}[{i}]", row[2], slack)
        ]
    floats = isinstance(theirs, float) and isinstance(mine, float)
    if floats and math.isclose(theirs, mine, rel_tol=1e-9 * slack):
        return []
    if theirs != mine and not (theirs != theirs and mine != mine):
        return [f"{prefix}{mine!r}, not {theirs!r}"]
    return []


def _error_differences(theirs: Any, mine: Any) -> list[str]:
    if not isinstance(mine, Exception):
        return [f"no error, not {type(theirs).__name__}: {first_line(theirs)}"]
    if not isinstance(theirs, Exception):
        return [f"{type(mine).__name__}: {first_line(mine)}"]
    if type(theirs).__name__ != type(mine).__name__:
        return [
            f"{type(mine).__name__}: {first_line(mine)}, "
            f"not {type(theirs).__name__}: {first_line(theirs)}"
        ]
    if first_line(theirs) != first_line(mine):
        return [f"says {first_line(mine)!r}, not {first_line(theirs)!r}"]
    return []


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0].replace("lazyt", "torch")


def _tensor_differences(theirs: Any, mine: Any, exact: Any, slack: float) -> list[str]:
    if not hasattr(mine, "numel"):
        return [f"{mine!r}, not a tensor"]
    if short(theirs.dtype) != short(mine.dtype):
        return [f"{short(mine.dtype)}, not {short(theirs.dtype)}"]
    if tuple(theirs.shape) != tuple(mine.shape):
        return [f"shape {tuple(mine.shape)}, not {tuple(theirs.shape)}"]
    if theirs.requires_grad != mine.requires_grad:
        return [f"requires_grad is {mine.requires_grad}"]
    expected, found = array_of(theirs), array_of(mine)
    if expected.size == 0:
        return []
    if expected.dtype.kind not in "fc":
        return [] if np.array_equal(expected, found) else [f"{found} instead of {expected}"]
    special = ~np.isfinite(expected)
    if not np.array_equal(special, ~np.isfinite(found)) or not np.array_equal(
        expected[special], found[special], equal_nan=True
    ):
        return [f"not finite elsewhere: {found} instead of {expected}"]
    if special.all():
        return []
    away = np.abs(expected - found)[~special].max()
    allowed = TOLERANCES[short(theirs.dtype)] * max(1.0, np.abs(expected[~special]).max())
    allowed *= max(1, slack)
    if away > allowed and exact is not None:
        judge = array_of(exact)
        allowed += 2 * np.abs(expected - judge)[~special].max()
        away = np.abs(found - judge)[~special].max()
    return [f"values differ by {away:.3g} (allowed {allowed:.2g})"] if away > allowed else []
