"""Rprop: a step for every element that grows while its gradient keeps its sign.

With gradient g, the gradient g' of the step before and steps s, which begin as γ, one step is

    s ← s times η₊ where g g' > 0, times η₋ where g g' < 0, kept between two limits,
    g ← 0 where g g' < 0,    p ← p - s sign(g)

(Riedmiller and Braun, A direct adaptive method for faster backpropagation learning: The RPROP
algorithm, 1993; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Rprop.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lazyt
from lazyt.optim.options import as_scalar, check_lr
from lazyt.optim.updates import UpdateRule
from lazyt.tensor import Tensor

__all__ = ["Rprop"]


class Rprop(UpdateRule):
    """Rprop.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: the first step γ, a number or a tensor of one element.
        etas: the factors (η₋, η₊).
        step_sizes: the least and the largest step.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        capturable: keep the step count on the parameter's device.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    foreach_devices = UpdateRule.capturable_devices

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        first = as_scalar(group["lr"])
        size = lazyt.zeros_like(param)
        if isinstance(first, Tensor):
            size.copy_(first.detach().expand_as(size))
        else:
            size.fill_(first)
        return {
            "step": self._numbers.new(group, param, 0.0),
            "prev": lazyt.zeros_like(param),
            "step_size": size,
        }

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        smaller, larger = group["etas"]
        low, high = group["step_sizes"]
        self._numbers.add_one(own["step"])
        before, size = own["prev"], own["step_size"]
        agreement = grad * before.clone() if group["differentiable"] else grad * before
        turned = agreement < 0
        factors = lazyt.ones_like(size).masked_fill(agreement > 0, larger)
        size.mul_(factors.masked_fill(turned, smaller))
        size.clamp_(low, high)
        grad = grad.masked_fill(turned, 0)
        param.addcmul_(grad.sign(), size.clone() if group["differentiable"] else size, value=-1)
        before.copy_(grad)
