"""NAdam: Adam with Nesterov's momentum.

With gradient g, step t counting from 1 and momentum decay ψ, the momenta and the update are

    μₜ = β₁ (1 - ½ · 0.96^(t ψ)),    M = μ₁ μ₂ … μₜ,
    m ← β₁ m + (1 - β₁) g,    v ← β₂ v + (1 - β₂) g²,    w = sqrt(v / (1 - β₂ᵗ)) + ε,
    p ← p - γ (1 - μₜ) / (1 - M) · g / w - γ μₜ₊₁ / (1 - M μₜ₊₁) · m / w

(Dozat, Incorporating Nesterov momentum into Adam, 2016; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.NAdam.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar, check_betas, check_lr, check_not_negative
from lazyt.optim.updates import UpdateRule, descend_ratio
from lazyt.tensor import Tensor

__all__ = ["NAdam"]


class NAdam(UpdateRule):
    """NAdam, with decoupled weight decay if asked.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        betas, eps: see the module's formulas.
        weight_decay: λ, adds λ p to the gradient.
        momentum_decay: ψ.
        decoupled_weight_decay: multiply p by 1 - γ λ instead of adding to the gradient.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        capturable: keep the numbers of the state on the parameter's device.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    number_names = ("step", "mu_product")
    later_options: ClassVar[dict[str, Any]] = {
        **UpdateRule.later_options,
        "decoupled_weight_decay": False,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        check_not_negative(weight_decay=weight_decay, momentum_decay=momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        return {
            "step": self._numbers.new(group, param, 0.0),
            "mu_product": self._numbers.new(group, param, 1.0),
            "exp_avg": lazyt.zeros_like(param),
            "exp_avg_sq": lazyt.zeros_like(param),
        }

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        lr, decay = as_scalar(group["lr"]), group["momentum_decay"]
        beta1, beta2 = group["betas"]
        count = self._numbers.add_one(own["step"])
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (count * decay))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((count + 1) * decay))
        product = self._numbers.multiply(own["mu_product"], mu)
        mean, squares = own["exp_avg"], own["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        squares.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = squares.div(1 - beta2**count).sqrt().add(group["eps"])
        # The state is written again at the next step: what autograd saves has to be a copy.
        if group["differentiable"]:
            mean = mean.clone()
        descend_ratio(param, grad, root, lr * (1.0 - mu) / (1.0 - product))
        descend_ratio(param, mean, root, lr * following / (1.0 - product * following))
