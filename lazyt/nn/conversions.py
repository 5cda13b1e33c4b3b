"""Moving a module to another device or dtype: every parameter, gradient and buffer of its tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import lazyt
from lazyt.dispatch import as_dtype
from lazyt.gradmode import no_grad
from lazyt.parameter import Parameter
from lazyt.tensor import Tensor

if TYPE_CHECKING:
    from lazyt.nn.module import Module

_Self = TypeVar("_Self", bound="Conversions")


class Conversions:
    """What Module offers for it. Parameters stay the objects they are."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    if TYPE_CHECKING:

        def children(self) -> Iterator[Module]: ...

    def _apply(self: _Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Self:
        """Convert every parameter, gradient and buffer with `fn`. Parameters and gradients stay
        the objects they are: an optimizer that holds them goes on working."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is not None:
                _convert(param, fn)
                if param.grad is not None:
                    _convert(param.grad, fn)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def cuda(self: _Self, device: Any = None) -> _Self:
        """Move to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def cpu(self: _Self) -> _Self:
        """Move to the CPU."""
        return self._apply(lambda t: t.cpu())

    def type(self: _Self, dst_type: Any) -> _Self:
        """Convert all parameters and buffers, integers too, to a dtype or type name."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: _Self) -> _Self:
        """Convert what is floating point to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self: _Self) -> _Self:
        """Convert what is floating point to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self: _Self) -> _Self:
        """Convert what is floating point to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self: _Self) -> _Self:
        """Convert what is floating point to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def share_memory(self: _Self) -> _Self:
        """Returns itself: processes that are forked later see the same values."""
        return self

    def to_empty(self: _Self, *, device: Any, recurse: bool = True) -> _Self:
        """Move to a device without copying the values."""
        return self._apply(lambda t: lazyt.empty_like(t, device=device), recurse=recurse)

    def to(self: _Self, *args: Any, **kwargs: Any) -> _Self:
        """Move to a device, convert what is floating point to a dtype, or both:
        `to(device, dtype, non_blocking)`, `to(dtype)`, `to(tensor)`."""
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            wanted = {} if device is None else {"device": device}
            if dtype is not None and tensor.is_floating_point():
                wanted["dtype"] = dtype
            return tensor.to(**wanted, non_blocking=non_blocking) if wanted else tensor

        return self._apply(convert)


def _convert(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> None:
    """Give a tensor the data that `fn` makes of it; views of the old data keep that."""
    with no_grad():
        converted = fn(tensor)
    if converted is not tensor:
        tensor.data = converted


def _parse_to(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    memory_format: Any = None,
    tensor: Tensor | None = None,
) -> tuple[Any, Any, bool]:
    """Device, dtype and non_blocking of the forms of `to` (torch.Tensor.to). Memory formats are
    accepted: here tensors always lie in the order of their dimensions."""
    given = list(args)
    if given and isinstance(given[0], Tensor):
        tensor = given.pop(0)
    elif given and isinstance(given[0], (lazyt.dtype, type)):
        dtype = given.pop(0)
    elif given:
        device = given.pop(0)
        if given and (given[0] is None or isinstance(given[0], (lazyt.dtype, type))):
            dtype = given.pop(0)
    if given:
        non_blocking = given.pop(0)
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    if device is not None:
        device = lazyt.device(device)
    return device, as_dtype(dtype, "to"), bool(non_blocking)
