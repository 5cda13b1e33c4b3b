"""Adafactor: squares of gradients kept as one row and one column of each matrix.

With gradient G of n rows and m columns, step t counting from 1 and β = t^δ, one step is

    R ← R + β (mean over columns of G² - R),    C ← C + β (mean over rows of G² - C),
    U = G / sqrt(R C / mean(R)),    p ← p - max(ε₂, rms(p)) · min(γ, 1/√t) · U / max(1, rms(U) / d)

where a vector keeps all its squares (Shazeer and Stern, Adafactor: Adaptive learning rates with
sublinear memory cost, 2018; in the form of
https://docs.pytorch.org/docs/2.13/generated/torch.optim.Adafactor.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import lazyt
from lazyt.optim.options import as_scalar
from lazyt.optim.updates import UpdateRule
from lazyt.tensor import Tensor

__all__ = ["Adafactor"]


class Adafactor(UpdateRule):
    """Adafactor, with decoupled weight decay.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: the largest rate γ, a number or a tensor of one element.
        beta2_decay: δ, at most 0.
        eps: (ε₁, ε₂): the least root of a square, the dtype's precision for None; the least scale.
        d: from which size on an update is clipped, at least 1.
        weight_decay: λ, multiplies p by 1 - γ λ.
        maximize: ascend instead.
        foreach: accepted; the compiler fuses anyway.

    Raises:
        ValueError: an option is out of its range.
    """

    later_options: ClassVar[dict[str, Any]] = {"foreach": None}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for valid, text in (
            (lr >= 0.0, f"Learning rate should be >= 0 but is: {lr}"),
            (beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}"),
            (eps[0] is None or eps[0] >= 0.0, f"epsilon1 should be >= 0 but is: {eps[0]}"),
            (eps[1] >= 0.0, f"epsilon2 should be >= 0 but is: {eps[1]}"),
            (d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}"),
            (weight_decay >= 0.0, f"weight_decay should be >= 0 but is: {weight_decay}"),
        ):
            if not valid:
                raise ValueError(text)
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _start(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        if param.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        own = {"step": self._numbers.new(group, param, 0.0)}
        if param.dim() > 1:
            own["row_var"] = param.new_zeros((*param.shape[:-1], 1))
            own["col_var"] = param.new_zeros((*param.shape[:-2], 1, param.shape[-1]))
        else:
            own["variance"] = lazyt.zeros_like(param)
        return own

    def _decayed(self, group: dict[str, Any], param: Tensor, grad: Tensor) -> Tensor:
        return grad  # the size of the parameter is taken before it decays

    def _update(
        self, group: dict[str, Any], param: Tensor, grad: Tensor, own: dict[str, Any]
    ) -> None:
        lr, (least_root, least_scale) = as_scalar(group["lr"]), group["eps"]
        if least_root is None:
            least_root = lazyt.finfo(param.dtype).eps
        count = self._numbers.add_one(own["step"])
        share = count ** group["beta2_decay"]
        longest = 1 / count**0.5
        rate = lr.clamp(max=longest) if isinstance(lr, Tensor) else min(lr, longest)
        rate = _rms(param).clamp(min=least_scale) * rate
        if group["weight_decay"] != 0:
            param.mul_(1 - lr * group["weight_decay"])
        if grad.dim() > 1:
            rows, columns = own["row_var"], own["col_var"]
            rows.lerp_((grad * grad).mean(-1, keepdim=True), share)
            columns.lerp_((grad * grad).mean(-2, keepdim=True), share)
            squares = rows @ columns / rows.mean(-2, keepdim=True).clamp(min=least_root)
        else:
            squares = own["variance"].lerp_(grad * grad, share)
        update = squares.clamp(min=least_root * least_root).rsqrt() * grad
        clipped = update / (_rms(update) / group["d"]).clamp(min=1.0)
        param.addcmul_(clipped, rate, value=-1)


def _rms(tensor: Tensor) -> Tensor:
    """The root of the mean square of all elements."""
    rms: Tensor = tensor.norm(2) / tensor.numel() ** 0.5
    return rms
