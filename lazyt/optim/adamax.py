"""Adamax: Adam with the largest gradient in place of the root of the mean square.

With gradient g and step t counting from 1, one step is

    m ← β₁ m + (1 - β₁) g,    u ← max(β₂ u, |g| + ε),    p ← p - γ / (1 - β₁ᵗ) · m / u

(Kingma and Ba, Adam: A method for stochastic optimization, 2015, section 7; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Adamax.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lazyt
from lazyt.optim.options import as_scalar, check_betas, check_lr, check_not_negative
from lazyt.optim.updates import UpdateRule, descend_ratio
from lazyt.tensor import Tensor

__all__ = ["Adamax"]


class Adamax(UpdateRule):
    """Adamax.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        betas, eps: see the module's formulas.
        weight_decay: λ, adds λ p to the gradient.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        capturable: keep the step count on the parameter's device.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative(eps=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        return {
            "step": self._numbers.new(group, param, 0.0),
            "exp_avg": lazyt.zeros_like(param),
            "exp_inf": lazyt.zeros_like(param),
        }

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        count = self._numbers.add_one(own["step"])
        mean, largest = own["exp_avg"], own["exp_inf"]
        mean.lerp_(grad, 1 - beta1)
        largest.copy_(lazyt.maximum(largest * beta2, grad.abs() + group["eps"]))
        # The state is written again at the next step: what autograd saves has to be a copy.
        if group["differentiable"]:
            mean, largest = mean.clone(), largest.clone()
        descend_ratio(param, mean, largest, as_scalar(group["lr"]) / (1 - beta1**count))
