"""Adam and AdamW.

With gradient g and step t counting from 1, the moments and the update are

    m ← β₁ m + (1 - β₁) g,    v ← β₂ v + (1 - β₂) g²,
    p ← p - γ / (1 - β₁ᵗ) · m / (sqrt(v) / sqrt(1 - β₂ᵗ) + ε)

(Kingma and Ba, Adam: A method for stochastic optimization, 2015). Weight decay adds λ p to g or,
in AdamW, multiplies p by 1 - γ λ first (Loshchilov and Hutter, Decoupled weight decay
regularization, 2019). AMSGrad puts the largest v so far for v (Reddi et al., On the convergence
of Adam and beyond, 2018). State and options are those of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Adam.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import lazyt
from lazyt.optim.optimizer import Optimizer, as_scalar, check_fused, without_grad
from lazyt.tensor import Tensor

__all__ = ["Adam", "AdamW"]

# Options that older checkpoints lack.
_LATER_OPTIONS = {
    "amsgrad": False,
    "maximize": False,
    "foreach": None,
    "capturable": False,
    "differentiable": False,
    "decoupled_weight_decay": False,
    "fused": None,
}


def _step_dtype(fused: bool | None = None) -> Any:
    """PyTorch's dtype of the step count: float32, unless everything is float64 by default."""
    double = lazyt.get_default_dtype() == lazyt.float64 and not fused
    return lazyt.float64 if double else lazyt.float32


class Adam(Optimizer):
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
        if not 0.0 <= lr:  # noqa: SIM300 (PyTorch's order, which a TypeError tells)
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 <= eps:  # noqa: SIM300 (PyTorch's order, which a TypeError tells)
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i in (0, 1):
            if not 0.0 <= betas[i] < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")
        if not 0.0 <= weight_decay:  # noqa: SIM300 (PyTorch's order, which a TypeError tells)
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
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

    def _complete(self) -> None:
        super()._complete()
        # By parameter: its step tensor, that tensor's version after our last write, and the number
        # we left in it. Reading it there would compute everything that is pending.
        self._counts: dict[Tensor, tuple[Tensor, int, float]] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in _LATER_OPTIONS.items():
                group.setdefault(name, value)
            for param in group["params"]:
                own = self.state.get(param)
                if own and not isinstance(own["step"], Tensor):
                    own["step"] = self._new_step(group, param, float(own["step"]))

    def _new_step(self, group: dict[str, Any], param: Tensor, value: float) -> Tensor:
        fused = group["fused"]
        device = param.device if fused or group["capturable"] else lazyt.device("cpu")
        step: Tensor = lazyt.full((), value, dtype=_step_dtype(fused), device=device)
        self._counts[param] = (step, step._version, value)
        return step

    def _own_state(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        own: dict[str, Any] = self.state[param]
        if not own:
            own["step"] = self._new_step(group, param, 0.0)
            own["exp_avg"] = lazyt.zeros_like(param)
            own["exp_avg_sq"] = lazyt.zeros_like(param)
            if group["amsgrad"]:
                own["max_exp_avg_sq"] = lazyt.zeros_like(param)
        return own

    def _count(self, param: Tensor, step: Tensor) -> float:
        """Add 1 to the step tensor of a parameter; the new number."""
        known = self._counts.get(param)
        if known is None or known[0] is not step or known[1] != step._version:
            self._read_counts()
            known = self._counts[param]
        count = known[2] + 1
        step += 1
        self._counts[param] = (step, step._version, count)
        return count

    def _read_counts(self) -> None:
        """Read the step tensors that were loaded or that somebody else wrote: all of them before
        any is written again, for only the first read has something to compute then."""
        for param in chain.from_iterable(group["params"] for group in self.param_groups):
            step = self.state[param].get("step") if param in self.state else None
            known = self._counts.get(param)
            if step is None or (known and known[0] is step and known[1] == step._version):
                continue
            self._counts[param] = (step, step._version, step.item())

    @without_grad
    def step(self) -> None:
        """Update every parameter that has a gradient; returns what the closure returns."""
        for group in self.param_groups:
            if group["capturable"] or group["differentiable"]:
                self._step_group_on_tensors(group)
            else:
                self._step_group(group)

    def _gradient(self, group: dict[str, Any], param: Tensor, lr: Any) -> Tensor:
        """The gradient as the moments take it, with weight decay in it or in the parameter."""
        grad = param.grad
        assert grad is not None  # parameters without one are passed over
        if group["maximize"]:
            grad = -grad
        decay = group["weight_decay"]
        if isinstance(decay, Tensor) or decay != 0:
            if group["decoupled_weight_decay"]:
                param.mul_(1 - lr * decay)
            elif isinstance(decay, Tensor):
                grad = grad.addcmul(param, decay)
            else:
                grad = grad.add(param, alpha=decay)
        return grad

    def _step_group(self, group: dict[str, Any]) -> None:
        lr, eps, amsgrad = as_scalar(group["lr"]), group["eps"], group["amsgrad"]
        beta1, beta2 = (b.item() if isinstance(b, Tensor) else b for b in group["betas"])
        plain = not group["maximize"] and not group["weight_decay"]
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            own = self._own_state(group, param)
            exp_avg, exp_avg_sq = own["exp_avg"], own["exp_avg_sq"]
            count = self._count(param, own["step"])
            if not plain:
                grad = self._gradient(group, param, lr)
            exp_avg.lerp_(grad, 1 - beta1)
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            if amsgrad:
                largest = own["max_exp_avg_sq"]
                lazyt.maximum(largest, exp_avg_sq, out=largest)
                exp_avg_sq = largest
            correction = (1 - beta2**count) ** 0.5
            denominator = (exp_avg_sq.sqrt() / correction).add_(eps)
            step_size = lr / (1 - beta1**count)
            if isinstance(step_size, Tensor):
                param.addcmul_(exp_avg / denominator, step_size, value=-1)
            else:
                param.addcdiv_(exp_avg, denominator, value=-step_size)

    def _step_group_on_tensors(self, group: dict[str, Any]) -> None:
        """The same with the step count, and what follows from it, as tensors all through, so
        that nothing is read and autograd may track it."""
        lr, eps = as_scalar(group["lr"]), group["eps"]
        beta1, beta2 = group["betas"]
        for param in group["params"]:
            if param.grad is None:
                continue
            own = self._own_state(group, param)
            if group["differentiable"] and own["step"].requires_grad:
                raise RuntimeError(
                    "`requires_grad` is not supported for `step` in differentiable mode"
                )
            step = own["step"]
            step += 1
            grad = self._gradient(group, param, lr)
            exp_avg, exp_avg_sq = own["exp_avg"], own["exp_avg_sq"]
            exp_avg.lerp_(grad, 1 - beta1)
            exp_avg_sq.mul_(beta2).add_(grad * grad * (1 - beta2))
            if group["amsgrad"]:
                largest = own["max_exp_avg_sq"]
                largest.copy_(lazyt.maximum(largest.clone(), exp_avg_sq))
                exp_avg_sq = largest
            # `step` is written again at the next step: autograd must keep a copy.
            count = step.clone()
            step_size = -(lr / (1 - beta1**count))
            correction = (1 - beta2**count).sqrt()
            denominator = (exp_avg_sq.sqrt() / (correction * step_size)).add_(eps / step_size)
            param.addcdiv_(exp_avg.clone(), denominator)


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
