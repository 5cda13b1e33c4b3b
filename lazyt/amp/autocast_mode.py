"""autocast: a part of a program whose products run in a lower precision.

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = criterion(model(x), y)  # linear layers in bfloat16, the loss in float32
    loss.backward()

Semantics follow https://docs.pytorch.org/docs/2.13/amp.html. Casts of weights are not kept from
one use to the next, as nothing is computed twice in one trace; the functions about that cache only
remember what they are told.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from lazyt.amp.casting import divert_listed_functions
from lazyt.amp.state import DTYPES, STATE
from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.tensor import Tensor
from lazyt.warned import warn

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_DEVICE_TYPES = (
    "cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, "
    "mps, meta, hpu, mtia, privateuseone"
)
_SUPPORTED = (dtypes.bfloat16, dtypes.float16)


# The state, by device type


def _check_device_type(name: str, device_type: Any) -> str:
    if not isinstance(device_type, str):
        raise TypeError(
            f"{name}(): argument 'device_type' (position 1) must be str, not "
            f"{type(device_type).__name__}"
        )
    if device_type not in _DEVICE_TYPES.split(", "):
        raise RuntimeError(
            f"Expected one of {_DEVICE_TYPES} device type at start of device string: {device_type}"
        )
    return device_type


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for a device type.

    Raises:
        RuntimeError: no such device type.
    """
    return _check_device_type("_is_autocast_available", device_type) in DTYPES


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on in this thread for a device type."""
    return _check_device_type("is_autocast_enabled", device_type) in STATE.on


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Turn autocast on or off for a device type; with one argument, for CUDA."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    _check_device_type("set_autocast_enabled", device_type)
    if enabled and device_type in DTYPES:
        divert_listed_functions(device_type)
    others = tuple(device for device in STATE.on if device != device_type)
    STATE.on = (*others, device_type) if enabled else others


def get_autocast_dtype(device_type: str) -> DType:
    """The lower precision of a device type.

    Raises:
        RuntimeError: there is no autocast for it.
    """
    found = STATE.dtypes.get(_check_device_type("get_autocast_dtype", device_type))
    if found is None:
        raise RuntimeError("unsupported scalarType")
    return found


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Set the lower precision of a device type."""
    STATE.dtypes[_check_device_type("set_autocast_dtype", device_type)] = dtype


def is_autocast_cache_enabled() -> bool:
    """What `set_autocast_cache_enabled` was last told: True at first."""
    return STATE.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Accepted; there is no cache to turn off."""
    STATE.cache = enabled


def clear_autocast_cache() -> None:
    """Accepted; there is no cache to clear."""


def autocast_increment_nesting() -> int:
    """Count one more `autocast` around; how many there are then."""
    STATE.nesting += 1
    return STATE.nesting


def autocast_decrement_nesting() -> int:
    """Count one less; how many there are then."""
    STATE.nesting -= 1
    return STATE.nesting


def _of_device(function: Callable[..., Any], device_type: str, old: str) -> Callable[..., Any]:
    """The older function for one device type, which says so."""
    name = function.__name__

    def older(*args: Any) -> Any:
        shown = ", ".join([f"'{device_type}'", *(["dtype"] if args else [])])
        warn(
            f"torch.{old}({'dtype' if args else ''}) is deprecated. Please use "
            f"torch.{name}({shown}) instead.",
            DeprecationWarning,
        )
        return function(device_type, *args)

    older.__name__ = older.__qualname__ = old
    older.__doc__ = f"`{name}` of {device_type}."
    return older


is_autocast_cpu_enabled = _of_device(is_autocast_enabled, "cpu", "is_autocast_cpu_enabled")
set_autocast_cpu_enabled = _of_device(set_autocast_enabled, "cpu", "set_autocast_cpu_enabled")
get_autocast_cpu_dtype = _of_device(get_autocast_dtype, "cpu", "get_autocast_cpu_dtype")
set_autocast_cpu_dtype = _of_device(set_autocast_dtype, "cpu", "set_autocast_cpu_dtype")
get_autocast_gpu_dtype = _of_device(get_autocast_dtype, "cuda", "get_autocast_gpu_dtype")
set_autocast_gpu_dtype = _of_device(set_autocast_dtype, "cuda", "set_autocast_gpu_dtype")


# The context


class autocast:
    """Run listed operations in a lower precision, in a `with` block or a decorated function.

    Args:
        device_type: "cpu" or "cuda".
        dtype: bfloat16 or float16; the device type's by default.
        enabled: False turns it off inside.
        cache_enabled: accepted.

    Raises:
        ValueError: `device_type` is no string.
        RuntimeError: there is no autocast for it.
    """

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if not is_autocast_available(device_type):
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        self.device = device_type
        self._cache_enabled = STATE.cache if cache_enabled is None else cache_enabled
        self._enabled = enabled and self._supported()
        self._before: list[tuple[bool, DType, bool]] = []

    def _supported(self) -> bool:
        if self.device == "cuda":
            from lazyt.cuda import is_available

            if is_available():
                return True
            message = "CUDA is not available or torch_xla is imported. Disabling autocast."
        elif self.fast_dtype in _SUPPORTED:
            return True
        else:
            name = self.device.upper()
            message = (
                f"In {name} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{name} Autocast only supports dtypes of {', '.join(map(str, _SUPPORTED))} "
                "currently."
            )
        warn(message)
        return False

    def __enter__(self) -> autocast:
        device = self.device
        self._before.append((is_autocast_enabled(device), get_autocast_dtype(device), STATE.cache))
        set_autocast_enabled(device, self._enabled)
        set_autocast_dtype(device, self.fast_dtype)
        autocast_increment_nesting()
        set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        enabled, dtype, cache = self._before.pop()
        autocast_decrement_nesting()
        set_autocast_enabled(self.device, enabled)
        set_autocast_dtype(self.device, dtype)
        set_autocast_cache_enabled(cache)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you "
                "mean to use autocast as a context manager? For example:\n"
                "    with torch.autocast(device_type=...):\n        output = model(input)"
            )
        return autocast_decorator(self, func)


def autocast_decorator(autocast_instance: autocast, func: Callable[..., Any]) -> Callable[..., Any]:
    """`func` inside the context."""

    @functools.wraps(func)
    def decorate_autocast(*args: Any, **kwargs: Any) -> Any:
        with autocast_instance:
            return func(*args, **kwargs)

    return decorate_autocast


# Functions with a derivative of their own


def _cast(value: Any, device_type: str, dtype: DType) -> Any:
    """`value` with the float tensors of a device type, in containers too, cast to `dtype`."""
    if isinstance(value, Tensor):
        eligible = (
            value.is_floating_point()
            and value.device.type == device_type
            and value.dtype is not dtypes.float64
        )
        return value.to(dtype) if eligible else value
    if isinstance(value, str | bytes | np.ndarray):
        return value
    if isinstance(value, Mapping):
        return {
            _cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()
        }
    if isinstance(value, Iterable):
        members = (_cast(v, device_type, dtype) for v in value)
        return type(value)(members) if isinstance(value, list | tuple) else members
    return value


def _check_str(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(
    fwd: Callable[..., Any] | None = None,
    *,
    device_type: str,
    cast_inputs: DType | None = None,
) -> Callable[..., Any]:
    """Decorate the `forward` of an autograd.Function: its backward runs under the same autocast.

    Args:
        cast_inputs: run with autocast off, on operands cast to this dtype, where it is on.
    """
    _check_str(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorate_fwd(*args: Any, **kwargs: Any) -> Any:
        context = args[0]
        context._dtype = get_autocast_dtype(device_type)
        enabled = is_autocast_enabled(device_type)
        context._fwd_used_autocast = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(
                *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs)
            )

    return decorate_fwd


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorate the `backward` of an autograd.Function whose `forward` has `custom_fwd`."""
    _check_str(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorate_bwd(*args: Any, **kwargs: Any) -> Any:
        context = args[0]
        with autocast(device_type, enabled=context._fwd_used_autocast, dtype=context._dtype):
            return bwd(*args, **kwargs)

    return decorate_bwd
