"""Muon: momentum made orthogonal, for the matrices of hidden layers.

With gradient G and momentum μ, one step is

    B ← μ B + (1 - μ) G,    p ← p (1 - γ λ) - γ' O,

where O is near the closest orthogonal matrix to B, or for Nesterov's variant to a mean of G and B,
found by some Newton-Schulz iterations in bfloat16 (Jordan et al., Muon: An optimizer for hidden
layers in neural networks, 2024, https://kellerjordan.github.io/posts/muon/; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Muon.html).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar
from lazyt.optim.updates import UpdateRule, descend
from lazyt.tensor import Tensor

__all__ = ["Muon"]

# How the rate goes with the shape of a matrix of n rows and m columns.
_ADJUSTMENTS = {
    None: lambda n, m: math.sqrt(max(1, n / m)),
    "original": lambda n, m: math.sqrt(max(1, n / m)),
    "match_rms_adamw": lambda n, m: 0.2 * math.sqrt(max(n, m)),
}


class Muon(UpdateRule):
    """Muon, with decoupled weight decay. Takes matrices only.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate γ, a number or a tensor of one element.
        weight_decay: λ.
        momentum, nesterov: see the module's formulas.
        ns_coefficients, ns_steps: of the polynomial that is iterated, and how often.
        eps: the least norm that a matrix is divided by.
        adjust_lr_fn: how γ' follows from γ and the shape: "original" or "match_rms_adamw".

    Raises:
        ValueError: an option is out of its range, or a parameter is no matrix.
    """

    number_names = ()
    later_options: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for valid, text in (
            (lr >= 0.0, f"Learning rate should be >= 0 but is: {lr}"),
            (momentum >= 0.0, f"momentum should be >= 0 but is: {momentum}"),
            (weight_decay >= 0.0, f"weight decay should be >= 0 but is: {weight_decay}"),
            (
                adjust_lr_fn in _ADJUSTMENTS,
                f"Adjust learning rate function {adjust_lr_fn} is not supported",
            ),
        ):
            if not valid:
                raise ValueError(text)
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.dim() != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{param.size()}"
                    )

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        if param.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": lazyt.zeros_like(param)}

    def _decayed(self, group: dict[str, Any], param: Tensor, grad: Tensor) -> Tensor:
        param.mul_(1 - as_scalar(group["lr"]) * group["weight_decay"])
        return grad

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        momentum, buffer = group["momentum"], own["momentum_buffer"]
        buffer.lerp_(grad, 1 - momentum)
        along = grad.lerp(buffer, momentum) if group["nesterov"] else buffer
        direction = _orthogonal(along, group["ns_coefficients"], group["ns_steps"], group["eps"])
        ratio = _ADJUSTMENTS[group["adjust_lr_fn"]](*param.shape)
        descend(param, direction, as_scalar(group["lr"]) * ratio)


def _orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """About the orthogonal matrix closest to `matrix`, in bfloat16: all singular values are driven
    near 1 by iterating x ↦ a x + b x³ + c x⁵.

    Raises:
        ValueError: 100 steps or more, or another number of coefficients.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.bfloat16()
    x = x.t() if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.t()
        x = lazyt.addmm(x, lazyt.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x
