"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import lazyt
from lazyt.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters flattened, one after the other; differentiable. TypeError where they are on
    several devices."""
    listed = list(parameters)
    _check_devices(listed)
    return lazyt.cat([p.view(-1) for p in listed])


def _check_devices(parameters: list[Tensor]) -> None:
    if len({p.device for p in parameters}) > 1:
        raise TypeError(
            "Found two parameters on different devices, this is currently not supported."
        )


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Makes the parameters show consecutive parts of `vec`. TypeError for anything but a tensor,
    and for parameters on several devices."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start, listed = 0, list(parameters)
    _check_devices(listed)
    for p in listed:
        count = p.numel()
        p.data = vec[start : start + count].view_as(p).data
        start += count
