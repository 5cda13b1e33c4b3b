"""Gradients for many cotangents at once: `torch.autograd.grad(..., is_grads_batched=True)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazyt.tensor import Tensor

from .engine import grad


def batched_grad(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor],
    **options: Any,
) -> tuple[Tensor | None, ...]:
    """`grad` for every element along the first dimension of `grad_outputs`, under `vmap`.

    options: those of `grad`. Errors: those of `grad`, and of `vmap`.
    """
    from lazyt.func.vmap import vmap

    used: list[bool] = []

    def one(*cotangents: Tensor) -> tuple[Tensor, ...]:
        found = grad(outputs, inputs, cotangents, **options)
        used[:] = [g is not None for g in found]
        return tuple(g for g in found if g is not None)

    made = iter(vmap(one, randomness="same")(*grad_outputs))
    return tuple(next(made) if u else None for u in used)
