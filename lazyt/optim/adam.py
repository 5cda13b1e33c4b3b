"""Adam.

With gradient g and step t counting from 1, the moments and the update are

    m ← β₁ m + (1 - β₁) g,    v ← β₂ v + (1 - β₂) g²,
    p ← p - γ / (1 - β₁ᵗ) · m / (sqrt(v) / sqrt(1 - β₂ᵗ) + ε)

(Kingma and Ba, Adam: A method for stochastic optimization, 2015). Weight decay adds λ p to g or,
decoupled, multiplies p by 1 - γ λ first (Loshchilov and Hutter, Decoupled weight decay
regularization, 2019). AMSGrad puts the largest v so far for v (Reddi et al., On the convergence
of Adam and beyond, 2018). State and options are those of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Adam.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar, check_betas, check_fused, check_not_negative
from lazyt.optim.updates import UpdateRule, descend_ratio, rate_of
from lazyt.tensor import Tensor

__all__ = ["Adam"]


class Adam(UpdateRule):
    """Adam, with decoupled weight decay if asked.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        betas, eps, weight_decay, amsgrad: see the module's formulas.
        maximize: ascend instead.
        decoupled_weight_decay: AdamW's weight decay.
        capturable, differentiable: compute the bias corrections from the step tensor; the latter
            lets autograd track the step.
        foreach, fused: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    later_options: ClassVar[dict[str, Any]] = {
        "amsgrad": False,
        **UpdateRule.later_options,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor):
            if foreach and not capturable:
                raise ValueError(
                    "lr as a Tensor is not supported for capturable=False and foreach=True"
                )
            if lr.numel() != 1:
                raise ValueError("Tensor lr must be 1-element")
        check_not_negative(lr=lr, eps=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        if not any(all(isinstance(beta, kind) for beta in betas) for kind in (float, Tensor)):
            raise ValueError("betas must be either both floats or both Tensors")
        for i in (0, 1):
            if isinstance(betas[i], Tensor):
                if foreach and not capturable:
                    raise ValueError(
                        f"betas[{i}] as a Tensor is not supported for capturable=False and "
                        "foreach=True"
                    )
                if betas[i].numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        defaults = {
            "lr": lr,
            "betas": (as_scalar(betas[0]), as_scalar(betas[1])),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        own = {
            "step": self._numbers.new(group, param, 0.0),
            "exp_avg": lazyt.zeros_like(param),
            "exp_avg_sq": lazyt.zeros_like(param),
        }
        if group["amsgrad"]:
            own["max_exp_avg_sq"] = lazyt.zeros_like(param)
        return own

    def _count(self, group: dict[str, Any], step: Tensor) -> Any:
        """Add 1 to the step tensor; the new count: a number, or a tensor where all that follows
        from it stays on tensors, so that nothing is read and autograd may track it. On the CPU
        `capturable` goes with `fused` only, which counts in float64 whatever the tensor is."""
        captured = group["capturable"] and step.device.type != "cpu"
        if not (captured or group["differentiable"]):
            return self._numbers.add_one(step)
        if group["differentiable"] and step.requires_grad:
            raise RuntimeError("`requires_grad` is not supported for `step` in differentiable mode")
        step += 1
        return step.clone()  # it is written again at the next step: autograd must keep a copy

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        if group["fused"] and isinstance(beta1, Tensor):
            beta1, beta2 = beta1.to(param.dtype), beta2.to(param.dtype)
        count = self._count(group, own["step"])
        mean, squares = own["exp_avg"], own["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        if isinstance(beta2, Tensor):
            squares.mul_(beta2).add_(grad * grad * (1 - beta2))
        else:
            squares.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if group["amsgrad"]:
            largest = own["max_exp_avg_sq"]
            largest.copy_(lazyt.maximum(largest, squares))
            squares = largest
        root = (squares.sqrt() / (1 - beta2**count) ** 0.5).add_(group["eps"])
        if group["differentiable"]:
            mean = mean.clone()
        descend_ratio(param, mean, root, rate_of(group) / (1 - beta1**count))
