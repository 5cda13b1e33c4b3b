"""Forward-mode differentiation: dual tensors that carry a tangent (torch.autograd.forward_ad).

    with forward_ad.dual_level():
        x = forward_ad.make_dual(primal, tangent)
        value, slope = forward_ad.unpack_dual(x.sin())      # slope: primal.cos() * tangent

A dual tensor records history; unpacking pushes the tangents through it, by reverse mode applied
twice (`lazyt.func.derivatives.pushed`). So it needs grad mode, and what is unpacked is computed
once for each time it is asked for.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from lazyt.gradmode import enable_grad
from lazyt.tensor import Tensor

NO_LEVEL = (
    "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
    "enter_dual_level() first."
)


class UnpackedDualTensor(NamedTuple):
    """The value of a dual tensor, and its tangent (None where it has none)."""

    primal: Tensor
    tangent: Tensor | None


class _Current(threading.local):
    """The duals of this thread's level: what each was made from, and its tangent."""

    def __init__(self) -> None:
        self.open = False
        self.primals: list[Tensor] = []
        self.tangents: list[Tensor] = []


_CURRENT = _Current()


def enter_dual_level() -> int:
    """Opens the level that dual tensors live in; RuntimeError where one is open."""
    if _CURRENT.open:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _CURRENT.open = True
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Closes the level: tangents of its dual tensors are forgotten."""
    if not _CURRENT.open:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This "
            "is not supported."
        )
    _CURRENT.open = False
    _CURRENT.primals, _CURRENT.tangents = [], []


class dual_level:
    """A level, as a context manager."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *error: Any) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor with the value of `tensor` that carries `tangent`, of its shape and dtype.

    Errors: RuntimeError outside of a level, or for a tangent that does not fit; ValueError for
    what is not floating-point.
    """
    from lazyt.func.derivatives import check_tangent

    if not _CURRENT.open:
        raise RuntimeError(NO_LEVEL)
    for name, t in (("primal", tensor), ("tangent", tangent)):
        if not t.dtype.is_floating_point:
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {t.dtype}")
    check_tangent(tensor, tangent)
    with enable_grad():
        own = tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
        _CURRENT.primals.append(own)
        _CURRENT.tangents.append(tangent)
        return own.clone()


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of a tensor and its tangent, None where it was not computed from a dual one."""
    from lazyt.func.derivatives import pushed

    from .engine import grad

    if not _CURRENT.open or not _CURRENT.primals or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    with enable_grad():
        primals = _CURRENT.primals
        reached = grad(tensor, primals, tensor.detach(), retain_graph=True, allow_unused=True)
        if all(g is None for g in reached):
            return UnpackedDualTensor(tensor, None)
        outer = any(not p.is_leaf for p in primals)
        (tangent,) = pushed([tensor], primals, _CURRENT.tangents, outer)
    return UnpackedDualTensor(tensor if outer else tensor.detach(), tangent)
