"""Options that optimizers share: their checks, with PyTorch's words.

check_not_negative(lr=-1)  # ValueError: Invalid learning rate: -1
"""

from __future__ import annotations

from typing import Any

from lazyt.tensor import Tensor

__all__ = ["as_scalar", "check_betas", "check_fused", "check_lr", "check_not_negative"]


def as_scalar(value: Any) -> Any:
    """An option that may be a tensor of one element: without its dimensions."""
    return value.squeeze() if isinstance(value, Tensor) and value.dim() != 0 else value


# What PyTorch's errors call an option; "<name> value" else.
_OPTION_NAMES = {"lr": "learning rate", "eps": "epsilon value"}


def check_lr(lr: Any) -> None:
    """ValueError unless `lr` is a number of at least 0, or a tensor with one such element."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    check_not_negative(lr=lr)


def check_not_negative(**options: Any) -> None:
    """ValueError for the first of the options that is below 0 or nan."""
    for name, value in options.items():
        if not 0.0 <= value:  # noqa: SIM300 (PyTorch's order, which a TypeError tells)
            raise ValueError(f"Invalid {_OPTION_NAMES.get(name, f'{name} value')}: {value}")


def check_betas(betas: Any) -> None:
    """ValueError unless both decay rates are in [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def check_fused(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """The combinations of these options that PyTorch refuses. Otherwise the choice makes no
    difference here: the compiler fuses the steps of all parameters by itself."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
