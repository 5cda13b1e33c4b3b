"""Stochastic gradient descent with momentum.

With gradient g, learning rate γ, momentum μ, dampening τ and weight decay λ, one step is

    g ← g + λ p,    b ← μ b + (1 - τ) g,    p ← p - γ b,

where b begins as the first g, and Nesterov's variant goes along g + μ b instead of b
(Sutskever et al., On the importance of initialization and momentum in deep learning, 2013; in the
form of https://docs.pytorch.org/docs/2.13/generated/torch.optim.SGD.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lazyt.optim.optimizer import Optimizer, without_grad
from lazyt.optim.options import as_scalar, check_fused
from lazyt.tensor import Tensor

__all__ = ["SGD"]

# Options that older checkpoints lack.
_LATER_OPTIONS = {
    "nesterov": False,
    "maximize": False,
    "foreach": None,
    "differentiable": False,
    "fused": False,
}


class SGD(Optimizer):
    """Stochastic gradient descent.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a tensor of one element.
        momentum, dampening, weight_decay, nesterov: see the module's formulas.
        maximize: ascend instead.
        differentiable: let autograd track the step.
        foreach, fused: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in _LATER_OPTIONS.items():
                group.setdefault(name, value)

    @without_grad
    def step(self) -> None:
        """Update every parameter that has a gradient; returns what the closure returns."""
        for group in self.param_groups:
            self._step_group(group)

    def _step_group(self, group: dict[str, Any]) -> None:
        state = self.state
        lr = as_scalar(group["lr"])
        momentum, keep = group["momentum"], 1 - group["dampening"]
        decay, nesterov, maximize = group["weight_decay"], group["nesterov"], group["maximize"]
        # A tensor stays a tensor: taking its number would compute everything that is pending.
        number = not isinstance(lr, Tensor)
        descent = -lr if number else None
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if maximize:
                grad = -grad
            if isinstance(decay, Tensor):
                grad = grad.addcmul(param, decay)
            elif decay != 0:
                grad = grad.add(param, alpha=decay)
            if momentum != 0:
                own = state[param]
                buffer = own.get("momentum_buffer")
                if buffer is None:
                    buffer = own["momentum_buffer"] = grad.detach().clone()
                else:
                    buffer.mul_(momentum).add_(grad, alpha=keep)
                grad = grad.add(buffer, alpha=momentum) if nesterov else buffer
            if number:
                param.add_(grad, alpha=descent)
            else:
                param.addcmul_(grad, lr, value=-1)
