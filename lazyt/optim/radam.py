"""RAdam: Adam whose adaptive rate waits until its variance is known well enough.

With gradient g and step t counting from 1, the moments m and v are those of Adam and

    ρ∞ = 2 / (1 - β₂) - 1,    ρₜ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ),
    p ← p - γ m / (1 - β₁ᵗ) · r,

where r is 1 up to ρₜ = 5 and sqrt((ρₜ - 4)(ρₜ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρₜ)) · sqrt(1 - β₂ᵗ) /
(sqrt(v) + ε) beyond (Liu et al., On the variance of the adaptive learning rate and beyond, 2020; in
the form of https://docs.pytorch.org/docs/2.13/generated/torch.optim.RAdam.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar, check_betas, check_lr, check_not_negative
from lazyt.optim.updates import UpdateRule
from lazyt.tensor import Tensor

__all__ = ["RAdam"]


class RAdam(UpdateRule):
    """RAdam, with decoupled weight decay if asked.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        betas, eps: see the module's formulas.
        weight_decay: λ, adds λ p to the gradient.
        decoupled_weight_decay: multiply p by 1 - γ λ instead of adding to the gradient.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        capturable: keep the step count on the parameter's device.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    later_options: ClassVar[dict[str, Any]] = {
        **UpdateRule.later_options,
        "decoupled_weight_decay": False,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        return {
            "step": self._numbers.new(group, param, 0.0),
            "exp_avg": lazyt.zeros_like(param),
            "exp_avg_sq": lazyt.zeros_like(param),
        }

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        count = self._numbers.add_one(own["step"])
        mean, squares = own["exp_avg"], own["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        squares.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        correction = 1 - beta2**count
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * count * (beta2**count) / correction
        step = mean / (1 - beta1**count) * as_scalar(group["lr"])
        if length > 5.0:
            rectified = (
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            ) ** 0.5
            root = squares.sqrt().add(group["eps"])
            step = step * (correction**0.5 / root) * rectified
        param.add_(step, alpha=-1.0)
