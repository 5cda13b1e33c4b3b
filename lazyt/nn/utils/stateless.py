"""torch.nn.utils.stateless: `torch.func.functional_call` where it was before."""

from __future__ import annotations

from typing import Any

from lazyt.nn.module import Module
from lazyt.tensor import Tensor
from lazyt.warned import warn

__all__ = ["functional_call"]

_MOVED = (
    "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be "
    "removed in a future version of PyTorch. Please use `torch.func.functional_call` instead which "
    "is a drop-in replacement."
)


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with other tensors in the place of parameters and buffers."""
    from lazyt.func import functional_call as call  # it imports networks itself

    warn(_MOVED, FutureWarning)
    return call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )
