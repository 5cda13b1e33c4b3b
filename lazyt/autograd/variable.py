"""`Variable`, as tensors with history were once called; programs still wrap their tensors in it.

x = Variable(torch.ones(2), requires_grad=True)     # a Tensor on the same memory, a leaf
isinstance(x, Variable)                             # True, as of every tensor
"""

from __future__ import annotations

from typing import Any

from lazyt.tensor import Tensor
from lazyt.warned import warn

__all__ = ["Variable", "VariableMeta"]


class VariableMeta(type):
    """Every tensor is an instance of the classes of this type."""

    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=VariableMeta):
    """Makes tensors without history on the memory of others; has no instances of its own."""

    def __new__(  # type: ignore[misc]  # what it makes is a Tensor, as in PyTorch
        cls,
        data: Tensor | None = None,
        requires_grad: bool = False,
        volatile: bool = False,
        _grad_fn: Any = None,
        name: str | None = None,
    ) -> Tensor:
        """A leaf that shares memory and version counter with `data`; empty without it.

        Errors: TypeError where `data` is no tensor; RuntimeError where its dtype has no gradients.
        """
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        if volatile:
            warn(
                "volatile was removed and now has no effect. Use `with torch.no_grad():` instead.",
            )
        made = data.detach()
        return made.requires_grad_() if requires_grad else made
