"""Python functions called for every element, in place: `x.apply_(lambda v: 0 if v < 0.5 else 1)`.

They run on the host, one element after the other, when the line is reached; nothing of them is in a
graph, and autograd does not see the write, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor, attach
from .conversion import TYPE_NAMES
from .creation import tensor as made_of


def _refuse(t: Tensor, name: str) -> None:
    if t.requires_grad:
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. "
            f"Use var.detach().{name}() instead."
        )


def _write(self: Tensor, values: list) -> Tensor:
    made = made_of(values, dtype=self.dtype, device=self.device)
    self.data.copy_(made.reshape(self.shape))
    return self


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Every element becomes callable(element), a number; in place, in row-major order.

    Errors: RuntimeError where a gradient is required; whatever the function raises.
    """
    _refuse(self, "apply_")
    return _write(self, [callable(v) for v in self.reshape(-1).tolist()])


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Every element becomes callable(element, that of `tensor`), which is broadcast; in place.

    Errors: RuntimeError where a gradient is required, TypeError for a tensor of another type.
    """
    _refuse(self, "map_")
    _refuse(tensor, "map_")
    if tensor.dtype is not self.dtype:
        raise TypeError(
            f"map_: expected torch.{TYPE_NAMES[self.dtype.name]} for 'other' "
            f"(got torch.{TYPE_NAMES[tensor.dtype.name]})"
        )
    others = tensor.expand(self.shape).reshape(-1).tolist()
    return _write(self, [callable(v, w) for v, w in zip(self.reshape(-1).tolist(), others)])


attach(apply_=apply_, map_=map_)
