"""Adagrad: a rate for every element, which falls with the squares of its gradients so far.

With gradient g and step t counting from 1, one step is

    s ← s + g²,    p ← p - γ / (1 + (t - 1) η) · g / (sqrt(s) + ε)

(Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic
optimization, 2011; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Adagrad.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar, check_fused, check_lr, check_not_negative
from lazyt.optim.updates import UpdateRule, descend_ratio
from lazyt.tensor import Tensor

__all__ = ["Adagrad"]


class Adagrad(UpdateRule):
    """Adagrad. Its state exists from the beginning, before any step.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        lr_decay: η of the module's formulas.
        weight_decay: λ, adds λ p to the gradient.
        initial_accumulator_value: what the sum of squares begins with.
        eps: ε.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        foreach, fused: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    later_options: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_not_negative(
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param].update(self._start(group, param))

    def share_memory(self) -> None:
        """Move the sums into memory that other processes share."""
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["sum"].share_memory_()

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        return {
            "step": self._numbers.new(group, param, 0.0),
            "sum": lazyt.full_like(param, self.defaults["initial_accumulator_value"]),
        }

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        count = self._numbers.add_one(own["step"])
        lr = as_scalar(group["lr"]) / (1 + (count - 1) * group["lr_decay"])
        total = own["sum"]
        total.addcmul_(grad, grad, value=1)
        descend_ratio(param, grad, total.sqrt().add(group["eps"]), lr)
