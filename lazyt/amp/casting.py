"""Autocast at work: the casts that follow from what a thread has turned on.

The functions of a device type's lists (`operations`) are diverted when its autocast is first turned
on. A diverted function looks at the state of its thread, casts its operands by its policy, and runs
with autocast off, so that what it is made of is not cast again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from lazyt.amp.diversion import divert
from lazyt.amp.operations import functions_named, policies
from lazyt.amp.state import STATE
from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.tensor import Tensor

__all__ = ["divert_listed_functions"]

_REFUSAL = """torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.
Many models use a sigmoid layer right before the binary cross entropy layer.
In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits
or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are
safe to autocast."""


def _eligible(x: Any, device: str) -> bool:
    """Whether autocast of a device type may cast `x`."""
    return (
        isinstance(x, Tensor)
        and x.device.type == device
        and x.dtype.category == dtypes.FLOATING
        and x.dtype is not dtypes.float64
    )


def _operands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """The arguments, and the members of those that are lists."""
    for x in (*args, *kwargs.values()):
        if isinstance(x, list | tuple):
            yield from x
        else:
            yield x


def _cast(x: Any, device: str, dtype: DType) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(_cast(member, device, dtype) for member in x)
    return x.to(dtype) if _eligible(x, device) else x


def _cast_all(
    function: Callable[..., Any],
    device: str,
    dtype: DType,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    return function(
        *(_cast(x, device, dtype) for x in args),
        **{key: _cast(x, device, dtype) for key, x in kwargs.items()},
    )


def _lower(function: Callable[..., Any], device: str, args: Any, kwargs: Any) -> Any:
    return _cast_all(function, device, STATE.dtypes[device], args, kwargs)


def _float32(function: Callable[..., Any], device: str, args: Any, kwargs: Any) -> Any:
    return _cast_all(function, device, dtypes.float32, args, kwargs)


def _out32(function: Callable[..., Any], device: str, args: Any, kwargs: Any) -> Any:
    given = kwargs.get("dtype") or any(isinstance(x, DType) for x in args)
    if given or not (args and _eligible(args[0], device)):
        return function(*args, **kwargs)
    return function(*args, **{**kwargs, "dtype": dtypes.float32})


def _widest(function: Callable[..., Any], device: str, args: Any, kwargs: Any) -> Any:
    several = {x.dtype for x in _operands(args, kwargs) if _eligible(x, device)}
    if dtypes.float32 in several:
        return _cast_all(function, device, dtypes.float32, args, kwargs)
    return function(*args, **kwargs)


def _framed(function: Callable[..., Any], device: str, args: Any, kwargs: Any) -> Any:
    mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
    if mode in ("reflect", "replicate"):
        return _cast_all(function, device, dtypes.float32, args, kwargs)
    return function(*args, **kwargs)


def _recurrent(function: Callable[..., Any], device: str, args: Any, kwargs: Any) -> Any:
    """PyTorch's CPU adds products in lower precision to the wide state of a GRU, and runs the other
    recurrences in lower precision all through."""
    wide = device == "cpu" and args[0] == "GRU"
    dtype = args[1].dtype if wide else STATE.dtypes[device]
    return _cast_all(function, device, dtype, args, kwargs)


def _refused(function: Callable[..., Any], device: str, args: Any, kwargs: Any) -> Any:
    raise RuntimeError(_REFUSAL)


_POLICIES = {
    "lower": _lower,
    "float32": _float32,
    "out32": _out32,
    "widest": _widest,
    "refused": _refused,
    "framed": _framed,
    "recurrent": _recurrent,
}


_Policies = dict[str, Callable[..., Any]]  # by device type


def _watching(chosen: _Policies, original: Callable[..., Any]) -> Callable[..., Any]:
    """The function that calls `original` by the policy of the device its tensors are on."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not STATE.on or kwargs.get("out") is not None:
            return original(*args, **kwargs)
        return _call(chosen, original, args, kwargs)

    return call


def _call(chosen: _Policies, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    before = STATE.on
    for device in before:
        policy = chosen.get(device)
        if policy is None or not any(
            isinstance(x, Tensor) and x.device.type == device for x in _operands(args, kwargs)
        ):
            continue
        STATE.on = tuple(other for other in before if other != device)
        try:
            return policy(original, device, args, kwargs)
        finally:
            STATE.on = before
    return original(*args, **kwargs)


# What each diverted function does on the device types that were turned on.
_CHOSEN: dict[FunctionType, _Policies] = {}


@functools.cache
def divert_listed_functions(device: str) -> None:
    """Divert every function of a device type's lists, the first time."""
    for name, policy in policies(device):
        for function in functions_named(name):
            chosen = _CHOSEN.get(function)
            if chosen is None:
                chosen = _CHOSEN[function] = {}
                divert(function, functools.partial(_watching, chosen))
            chosen.setdefault(device, _POLICIES[policy])
