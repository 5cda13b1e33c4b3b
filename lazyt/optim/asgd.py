"""ASGD: stochastic gradient descent with a running average of the parameters.

With gradient g and step t counting from 1, one step is

    p ← p (1 - λ ηₜ) - ηₜ g,    a ← a + μₜ (p - a),
    ηₜ₊₁ = γ / (1 + λ γ t)^α,    μₜ₊₁ = 1 / max(1, t - t₀)

(Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.ASGD.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lazyt
from lazyt.optim.options import check_lr, check_not_negative
from lazyt.optim.updates import UpdateRule
from lazyt.tensor import Tensor

__all__ = ["ASGD"]


class ASGD(UpdateRule):
    """Averaged stochastic gradient descent; the average is `state[p]["ax"]`.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element, which is read at every step.
        lambd, alpha, t0: λ, α and t₀ of the module's formulas.
        weight_decay: adds so many times p to the gradient.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        capturable: only on devices; the numbers of the state are there in any case.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    number_names = ("step", "mu", "eta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        on_device = {**group, "capturable": True}
        new = self._numbers.new
        return {
            "step": new(on_device, param, 0.0),
            "eta": new(on_device, param, _number(group["lr"])),
            "mu": new(on_device, param, 1.0),
            "ax": lazyt.zeros_like(param),
        }

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        numbers, lr, lambd = self._numbers, _number(group["lr"]), group["lambd"]
        count = numbers.add_one(own["step"])
        eta, mu = numbers.get(own["eta"]), numbers.get(own["mu"])
        average = own["ax"]
        param.mul_(1 - lambd * eta).add_(grad, alpha=-eta)
        if mu == 1:
            average.copy_(param)
        else:
            average.add_(param.sub(average).mul_(mu))
        numbers.put(own["eta"], lr / ((1 + lambd * lr * count) ** group["alpha"]))
        numbers.put(own["mu"], 1 / max(1, count - group["t0"]))


def _number(lr: Any) -> float:
    return lr.item() if isinstance(lr, Tensor) else lr
