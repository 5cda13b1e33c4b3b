"""Adadelta: steps in units of the steps before them.

With gradient g, one step is

    v ← ρ v + (1 - ρ) g²,    d = sqrt(u + ε) / sqrt(v + ε) · g,
    u ← ρ u + (1 - ρ) d²,    p ← p - γ d

(Zeiler, ADADELTA: An adaptive learning rate method, 2012; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Adadelta.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar, check_lr, check_not_negative
from lazyt.optim.updates import UpdateRule, descend
from lazyt.tensor import Tensor

__all__ = ["Adadelta"]


class Adadelta(UpdateRule):
    """Adadelta.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        rho, eps: see the module's formulas.
        weight_decay: λ, adds λ p to the gradient.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        capturable: keep the step count on the parameter's device.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    capturable_devices: ClassVar[list[str]] = ["cuda", "xpu", "hpu", "privateuseone"]

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative(eps=eps, weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        return {
            "step": self._numbers.new(group, param, 0.0),
            "square_avg": lazyt.zeros_like(param),
            "acc_delta": lazyt.zeros_like(param),
        }

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        rho, eps = group["rho"], group["eps"]
        self._numbers.add_one(own["step"])
        squares, deltas = own["square_avg"], own["acc_delta"]
        squares.mul_(rho).addcmul_(grad, grad, value=1 - rho)
        delta = deltas.add(eps).sqrt() / squares.add(eps).sqrt() * grad
        deltas.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        descend(param, delta, as_scalar(group["lr"]))
