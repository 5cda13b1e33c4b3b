"""RMSprop: gradients over a running root of their mean square.

With gradient g, smoothing α and momentum μ, one step is

    v ← α v + (1 - α) g²,    b ← μ b + g / (sqrt(v) + ε),    p ← p - γ b,

where the centered variant takes v - m² for v, with m the running mean of g (Hinton, Neural networks
for machine learning, lecture 6e, 2012; Graves, Generating sequences with recurrent neural networks,
2013; in the form of https://docs.pytorch.org/docs/2.13/generated/torch.optim.RMSprop.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar, check_lr, check_not_negative
from lazyt.optim.updates import UpdateRule, descend, descend_ratio
from lazyt.tensor import Tensor

__all__ = ["RMSprop"]


class RMSprop(UpdateRule):
    """RMSprop, with momentum and centering if asked.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        alpha, eps, momentum, centered: see the module's formulas.
        weight_decay: λ, adds λ p to the gradient.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        capturable: keep the step count on the parameter's device.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    later_options: ClassVar[dict[str, Any]] = {
        "momentum": 0,
        "centered": False,
        **UpdateRule.later_options,
    }

    foreach_devices = UpdateRule.capturable_devices

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative(eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        own = {
            "step": self._numbers.new(group, param, 0.0),
            "square_avg": lazyt.zeros_like(param),
        }
        if group["momentum"] > 0:
            own["momentum_buffer"] = lazyt.zeros_like(param)
        if group["centered"]:
            own["grad_avg"] = lazyt.zeros_like(param)
        return own

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        lr, alpha, momentum = as_scalar(group["lr"]), group["alpha"], group["momentum"]
        self._numbers.add_one(own["step"])
        square_avg = own["square_avg"]
        square_avg.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if group["centered"]:
            mean = own["grad_avg"]
            mean.lerp_(grad, 1 - alpha)
            average = square_avg.addcmul(mean, mean, value=-1).sqrt_()
        else:
            average = square_avg.sqrt()
        # Out of place where autograd may have saved the root.
        average = average.add(group["eps"])
        if momentum > 0:
            buffer = own["momentum_buffer"]
            buffer.mul_(momentum).addcdiv_(grad, average)
            descend(param, buffer, lr)
        else:
            descend_ratio(param, grad, average, lr)
