"""The autograd attributes of a tensor: whether it requires a gradient, its history, cutting it off.

    w = torch.ones(3, requires_grad=True)
    y = (w * 2).sum()
    w.is_leaf, y.is_leaf, y.grad_fn      # (True, False, <SumBackward0 ...>)
    y.detach().requires_grad             # False: the same memory without the history

What a backward does with them is in `autograd/`; what an alias shares is told in docs/state.md.
"""

from __future__ import annotations

from typing import Any

from lazyt.ir import dtypes
from lazyt.ir.complexes import NO_GRADIENT
from lazyt.ir.node import LOCAL

from .handles import Detached
from .state import Meta, Versions, counter_of, has_history, node_of, own_history, root_of, values_of
from .tensor import Tensor, attach

_new = object.__new__


def _get_requires_grad(self: Tensor) -> bool:
    meta = self._meta
    if meta is not None and (
        meta.leaf or meta.base is not None and (root_of(self).requires_grad or has_history(self))
    ):
        return True
    return node_of(self).grad != 0


def _set_requires_grad(self: Tensor, flag: bool) -> None:
    if not isinstance(flag, bool):
        raise RuntimeError("requires_grad must be a bool")
    if flag and self.dtype.category < dtypes.FLOATING:
        raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
    self.requires_grad_(flag)


def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Asks for gradients of this leaf (or no longer); RuntimeError if it is no float leaf."""
    if requires_grad.__class__ is not bool:
        raise TypeError(
            "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not "
            f"{type(requires_grad).__name__}"
        )
    meta = self._meta
    leaf = meta is not None and meta.leaf
    view = meta is not None and meta.base is not None
    if not leaf and (has_history(self) if view else not self.is_leaf):
        if requires_grad:
            return self
        raise RuntimeError(
            "you can only change requires_grad flags of leaf variables. If you want to use a "
            "computed variable in a subgraph that doesn't require differentiation use "
            "var_no_grad = var.detach()."
        )
    if requires_grad and self.dtype.is_complex:
        raise NotImplementedError(NO_GRADIENT)
    if requires_grad and not self.dtype.is_floating_point:
        raise RuntimeError("only Tensors of floating point dtype can require gradients")
    if requires_grad == leaf:
        return self
    if requires_grad and meta is not None and meta.inference and not LOCAL.inference:
        raise RuntimeError(
            "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
        )
    own = self._own_meta()
    own.leaf = bool(requires_grad)
    self._node = self._seen = None
    return self


def _get_is_leaf(self: Tensor) -> bool:
    meta = self._meta
    if meta is not None and meta.leaf:
        return True
    node = node_of(self)
    return node.grad == 0 or (node.tag is not None and node.tag.leaf is not None)


def _get_grad(self: Tensor) -> Tensor | None:
    meta = self._meta
    if meta is None or meta.grad is None:
        expected = meta is not None and (meta.retains or meta.leaf)
        if not expected and (own_history(self) is not None or values_of(self).grad):
            from .autograd import warn_non_leaf_grad

            warn_non_leaf_grad()
        return None
    return meta.grad


def _set_grad(self: Tensor, value: Tensor | None) -> None:
    if value is None:
        if self._meta is not None:
            self._meta.grad = None
        return
    from .autograd import check_assigned_grad

    check_assigned_grad(self, value)
    self._own_meta().grad = value


def _delete_grad(self: Tensor) -> None:
    if self._meta is not None:
        self._meta.grad = None


def _get_grad_fn(self: Tensor) -> Any:
    meta = self._meta
    if meta is not None and meta.leaf:
        return None
    node = node_of(self)
    if not node.grad or (node.tag is not None and node.tag.leaf is not None):
        return None
    from .autograd import grad_fn_of

    return grad_fn_of(node)


def _get_data(self: Tensor) -> Tensor:
    """An alias without history whose writes autograd does not see."""
    other = self.detach()
    other._own_meta().counter = Versions()
    return other


def _set_data(self: Tensor, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
    if self.requires_grad and value.dtype.is_complex:
        raise NotImplementedError(NO_GRADIENT)
    if self.requires_grad and not value.dtype.is_floating_point:
        raise RuntimeError(
            "data set to a tensor that requires gradients must be floating point or complex dtype"
        )
    old = self._meta
    history = None
    if old is None or not old.leaf:
        history = node_of(self)
    meta = value._meta.child() if value._meta is not None else Meta()
    if old is not None:
        meta.leaf, meta.grad, meta.hooks = old.leaf, old.grad, old.hooks
        meta.after_accumulate, meta.retains = old.after_accumulate, old.retains
    meta.stopped = True
    meta.counter = Versions(counter_of(self).version)
    self._meta = meta
    self._storage = value._storage
    if old is not None and old.memory is not None:
        meta.memory = old.memory
        meta.memory.move(self)
    # What was computed keeps its history, whatever data it is given.
    self._node = history if history is not None and history.grad else None
    self._seen = None


def detach(self: Tensor) -> Tensor:
    """An alias of the same memory that carries no history."""
    other = _new(Tensor)
    other._storage = self._storage
    other._node = other._seen = None
    meta = self._meta.child() if self._meta is not None else Meta()
    meta.stopped = True
    other._meta = meta
    return other


def detach_(self: Tensor) -> Tensor:
    """Cuts this tensor's history, in place."""
    if self._meta is not None and self._meta.base is not None:
        raise RuntimeError(
            "Can't detach views in-place. Use detach() instead. If you are using "
            "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
            "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
            "these gradients. To fix this error, please refer to the Optimizer.zero_grad() "
            "function in torch/optim/optimizer.py as the solution."
        )
    history = own_history(self) or node_of(self)
    if not self.is_leaf and history.after is None:
        history.after = Detached(history)
    own = self._own_meta()
    own.leaf = False
    own.stopped = True
    self._node = self._seen = None
    return self


def _get_base(self: Tensor) -> Tensor | None:
    return self._meta.base if self._meta is not None else None


def _get_version(self: Tensor) -> int:
    if is_inference(self):
        raise RuntimeError("Inference tensors do not track version counter.")
    return counter_of(self).version


def _is_view(self: Tensor) -> bool:
    return self._base is not None


def is_inference(self: Tensor) -> bool:
    base = self._base
    if base is not None:
        return base.is_inference()
    return self._meta is not None and self._meta.inference


def _get_retains_grad(self: Tensor) -> bool:
    return self._meta is not None and self._meta.retains


def _get_output_nr(self: Tensor) -> int:
    """This view's number among those that one call gave (`unbind`); 0 for everything else."""
    meta = self._meta
    several = meta is not None and meta.multi is not None and self.requires_grad
    return meta.multi[0] if several else 0  # type: ignore[union-attr,index]


attach(
    requires_grad=property(_get_requires_grad, _set_requires_grad),
    is_leaf=property(_get_is_leaf),
    grad=property(_get_grad, _set_grad, _delete_grad),
    grad_fn=property(_get_grad_fn),
    data=property(_get_data, _set_data),
    _base=property(_get_base),
    _version=property(_get_version),
    retains_grad=property(_get_retains_grad),
    output_nr=property(_get_output_nr),
    requires_grad_=requires_grad_,
    detach=detach,
    detach_=detach_,
    _is_view=_is_view,
    is_inference=is_inference,
)
