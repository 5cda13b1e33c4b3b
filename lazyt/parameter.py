"""nn.Parameter: a leaf tensor that modules and optimizers recognise."""

from __future__ import annotations

from typing import Any

from lazyt.ir.complexes import NO_GRADIENT

from .functions.creation import empty
from .tensor import SUBCLASSES, Tensor


class Parameter(Tensor):
    """A tensor that requires a gradient; assigned to a Module it becomes one of its parameters."""

    __slots__ = ()
    _is_parameter = True
    _public_name = "torch.nn.parameter.Parameter"

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        source = empty(0) if data is None else data
        made = source.detach()._as(cls)
        made._own_meta().leaf = bool(requires_grad)
        if requires_grad and made.dtype.is_complex:
            raise NotImplementedError(NO_GRADIENT)
        if requires_grad and not made.dtype.is_floating_point:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        return made

    def __deepcopy__(self, memo: dict) -> Any:
        """A copy of the values; unlike a plain leaf's, it has no `.grad`."""
        grad, self.grad = self.grad, None
        try:
            made = Tensor.__deepcopy__(self, memo)
            made._storage.version = 0
            return made
        finally:
            self.grad = grad


class Buffer(Tensor):
    """A tensor that a Module keeps as a buffer when it is assigned to an attribute."""

    __slots__ = ()
    _public_name = "torch.nn.parameter.Buffer"
    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        made = (empty(0) if data is None else data).detach()._as(cls)
        made.persistent = persistent
        return made


SUBCLASSES.update((Parameter, Buffer))
