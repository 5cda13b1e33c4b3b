"""Making tensors: from data, filled with a number, like another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazyt.ir.dtypes import FLOATING, DType, bfloat16
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.numerics import bfloat16_of_bits
from lazyt.ir.ops_elementwise import full as full_node
from lazyt.tensor import over_array, over_lent
from lazyt.warned import warn, warn_once

from ..device import DEFAULT, resolve, resolve_like, resolve_out
from ..dispatch import (
    SETTINGS,
    as_dtype,
    converted,
    data_node,
    deliver,
    fit_exactly,
    number_dtype,
    number_of,
    type_name,
    wrap,
)
from ..layout import like_operands
from ..registry import FUNCTIONS
from ..state import node_of, resize, shape_of
from ..tensor import Tensor, from_numpy
from .outside import array_from

# --- from data ------------------------------------------------------------------------------------


def finish(node: Node, requires_grad: bool, *like: Tensor) -> Tensor:
    """A new leaf over `node`, laid out as `like` is.

    Errors: RuntimeError where a gradient is asked of what is not float.
    """
    t = like_operands(node, *like)
    if requires_grad:
        if node.type.dtype.category < FLOATING:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        t.requires_grad_()
    if LOCAL.inference:
        t._own_meta().inference = True
    return t


def made_into(out: Tensor, node: Node, requires_grad: bool) -> Tensor:
    """`out` with the new values; it takes their shape without a word.

    Errors: RuntimeError where a dtype was asked for that is not that of `out`.
    """
    text = "dtype {want} does not match dtype of out parameter ({have})"
    fit_exactly(node.type.dtype, out.dtype, text)
    if shape_of(out) != node.type.shape:
        resize(out, node.type.shape)
    deliver(node, out)
    return out.requires_grad_() if requires_grad else out


_MISSING: Any = object()

NOT_WRITABLE_BUFFER = (
    "The given buffer is not writable, and PyTorch does not support non-writable tensors. This "
    "means you can write to the underlying (supposedly non-writable) buffer using the tensor. You "
    "may want to copy the buffer to protect its data or make it writable before converting it to a "
    "tensor. This type of warning will be suppressed for the rest of this program."
)
COPIED = (
    "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
    "sourceTensor.detach().clone().requires_grad_(True), rather than {}(sourceTensor)."
)


def tensor(
    data: Any = _MISSING,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new leaf tensor with a copy of `data` (numbers, nested sequences, arrays, tensors)."""
    if data is _MISSING:
        raise TypeError('tensor() missing 1 required positional arguments: "data"')
    dtype = as_dtype(dtype, "tensor")
    where = _device_for(device, data, "tensor")
    if isinstance(data, Tensor):
        warn(COPIED.format("torch.tensor"))
        if where != "cpu" or not data.is_cpu or not data.is_contiguous():
            moved = data.detach().to(where, dtype, copy=True)
            return finish(node_of(moved), requires_grad, moved)
    if _on_gpu(data):
        moved = over_lent(data).to(device or None, dtype, copy=True)
        return finish(node_of(moved), requires_grad)
    if isinstance(data, np.ndarray) and not data.flags.c_contiguous:
        moved = over_array(data).to(where, dtype, copy=True)  # which lies as the array does
        return finish(node_of(moved), requires_grad, moved)
    array, found = array_from(data, dtype)
    return finish(data_node(array, found, where), requires_grad)


def _on_gpu(data: Any) -> bool:
    """Whether somebody else's memory of a GPU is meant, by the CUDA array interface."""
    return not isinstance(data, Tensor) and hasattr(data, "__cuda_array_interface__")


def _device_for(device: Any, data: Any, name: str) -> str:
    """Where a tensor made of `data` goes: where it is told to, else to the default device, if one
    was chosen, else to where `data` is."""
    if isinstance(data, Tensor) and DEFAULT.device is None:
        return resolve_like(device, data, name)
    return resolve(device, name)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory where it can."""
    where = _device_for(device, data, "as_tensor")
    dtype = as_dtype(dtype, "as_tensor")
    if _on_gpu(data):
        return over_lent(data).to(device or None, dtype)
    if isinstance(data, np.ndarray):
        data = from_numpy(data)
    if isinstance(data, Tensor):
        return data.to(where, dtype)
    return tensor(data, dtype=dtype, device=where)


def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`obj` as a tensor; `copy=True` always copies, `copy=False` never."""
    made = as_tensor(obj, dtype, device)
    if copy:
        made = made.detach().clone() if made is obj or isinstance(obj, np.ndarray) else made
    return made.requires_grad_() if requires_grad else made


def from_dlpack(source: Any) -> Tensor:
    """A tensor over another library's memory, by the DLPack protocol, without a copy."""
    if isinstance(source, Tensor):
        return source.detach()
    if not hasattr(source, "__dlpack__"):
        raise TypeError("from_dlpack needs an object with __dlpack__")
    return from_numpy(np.from_dlpack(source))


def frombuffer(
    buffer: Any,
    *,
    dtype: DType,
    count: int = -1,
    offset: int = 0,
    requires_grad: bool = False,
) -> Tensor:
    """A 1-D tensor over the memory of a Python buffer; of bfloat16, whose bits are carried in
    float32, a copy."""
    if dtype is bfloat16:
        bits = np.frombuffer(buffer, np.uint16, count, offset)
        made = wrap(data_node(bfloat16_of_bits(bits), dtype))
    else:
        array = np.frombuffer(buffer, dtype.numpy, count, offset)
        if not array.flags.writeable:
            warn_once(NOT_WRITABLE_BUFFER)
        made = over_array(array)
    return made.requires_grad_() if requires_grad else made


# --- filled ---------------------------------------------------------------------------------------


def extents(name: str, *size: Any) -> tuple[int, ...]:
    """A shape given as numbers or as one sequence."""
    if len(size) == 1 and size[0].__class__ is not int:
        one = size[0]
        if isinstance(one, (tuple, list)):
            size = tuple(one)
        elif isinstance(one, bool) or not _is_extent(one):
            raise TypeError(
                f"{name}(): argument 'size' (position 1) must be tuple of ints, not "
                f"{type(one).__name__}"
            )
    elif not size:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    shape = []
    for i, extent in enumerate(size):
        if extent.__class__ is not int:
            extent = _extent(name, extent, i)
        shape.append(extent)
    for extent in shape:
        if extent < 0 and name == "zeros":
            raise RuntimeError(f"{name}: Dimension size must be non-negative.")
        if extent < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {extent}: {shape}")
    return tuple(shape)


def _is_extent(x: Any) -> bool:
    """Whether `x` stands for one integer: an int, a NumPy integer, an integer tensor of rank 0."""
    if isinstance(x, Tensor):
        return not x.dim() and not x.dtype.is_floating_point
    return hasattr(x, "__index__")


def _extent(name: str, extent: Any, position: int) -> int:
    """One number of a shape, as an int; TypeError in PyTorch's words for anything else."""
    if _is_extent(extent) and not (position == 0 and isinstance(extent, bool)):
        return extent.__index__()
    kind = type(extent).__name__
    if position:
        raise TypeError(
            f"{name}(): argument 'size' failed to unpack the object at pos {position + 1} with "
            f'error "type must be tuple of ints,but got {kind}"'
        )
    raise TypeError(
        f"{name}(): argument 'size' (position 1) must be tuple of ints, but found element of type "
        f"{kind} at pos 0"
    )


def size_argument(name: str, size: Any, position: int = 1) -> Any:
    """A shape that must be one sequence; TypeError in PyTorch's words for anything else."""
    if isinstance(size, (tuple, list)):
        return size
    raise TypeError(
        f"{name}(): argument 'size' (position {position}) must be tuple of ints, not "
        f"{type(size).__name__}"
    )


def _sized(name: str, number: Any) -> Callable[..., Tensor]:
    """`zeros` and its kin: a shape, filled with a number."""

    def function(
        *size: Any,
        out: Tensor | None = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
        names: Any = None,
        **more: Any,
    ) -> Tensor:
        if "size" in more:
            size = (more.pop("size"),)
        if more:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(more))}'")
        where = resolve_out(device, out, name)
        dtype = as_dtype(dtype, name)
        shape = extents(name, *size)
        if out is not None:
            node = full_node(shape, number, dtype or out.dtype, where)
            return made_into(out, node, requires_grad)
        node = full_node(shape, number, dtype or SETTINGS.default_dtype, where)
        return finish(node, requires_grad)

    return _named(function, name, f"A tensor of the given shape, filled with {number}.")


def _like(name: str, number: Any) -> Callable[..., Tensor]:
    """`zeros_like` and its kin."""

    def function(
        input: Tensor,
        *,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        dtype = as_dtype(dtype, name + "_like")
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{name}_like(): argument 'input' (position 1) must be Tensor, not "
                f"{type_name(input)}"
            )
        order = () if memory_format == "torch.contiguous_format" else (input,)
        where = resolve_like(device, input, name + "_like")
        node = full_node(shape_of(input), number, dtype or input.dtype, where)
        return finish(node, requires_grad, *order)

    return _named(
        function,
        name + "_like",
        f"`{name}` in the shape and dtype of another tensor, on its device.",
    )


def _new(name: str, number: Any) -> Callable[..., Tensor]:
    """The methods `new_zeros` and its kin."""

    def method(
        self: Tensor,
        *size: Any,
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **more: Any,
    ) -> Tensor:
        if not size and "size" in more:
            size = (size_argument(f"new_{name}", more.pop("size")),)
        if more:
            unknown = next(iter(more))
            raise TypeError(f"new_{name}() got an unexpected keyword argument '{unknown}'")
        where = resolve_like(device, self, f"new_{name}")
        dtype = as_dtype(dtype, f"new_{name}")
        shape = extents(f"new_{name}", *size)
        return finish(full_node(shape, number, dtype or self.dtype, where), requires_grad)

    return _named(method, "new_" + name, f"`{name}` in the dtype of this tensor, on its device.")


def _named(function: Callable[..., Tensor], name: str, text: str) -> Callable[..., Tensor]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


zeros, zeros_like, new_zeros = _sized("zeros", 0), _like("zeros", 0), _new("zeros", 0)
ones, ones_like, new_ones = _sized("ones", 1), _like("ones", 1), _new("ones", 1)
# Memory that was never written reads as zeros: a value nobody can rely on, but the same every run.
empty, empty_like, new_empty = _sized("empty", 0), _like("empty", 0), _new("empty", 0)


def fill_number(value: Any, name: str) -> Any:
    """The number of a fill_value (a number, or a tensor of one element)."""
    if isinstance(value, Tensor) and not value.dim():
        return value.item()
    number = number_of(value)
    if number is None:
        raise TypeError(
            f"{name}(): argument 'fill_value' (position 2) must be Number, not "
            f"{type(value).__name__}"
        )
    return number


def full(
    size: Any,
    fill_value: Any,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Tensor:
    """A tensor of one number; the dtype is the number's unless given."""
    where = resolve_out(device, out, "full")
    dtype = as_dtype(dtype, "full")
    size_argument("full", size)
    number = fill_number(fill_value, "full")
    if dtype is None and isinstance(fill_value, Tensor):
        dtype = fill_value.dtype
    shape = extents("full", size)
    kind = dtype or number_dtype(number)
    node = full_node(shape, converted(number, kind), kind, where)
    return made_into(out, node, requires_grad) if out is not None else finish(node, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`full` in the shape and dtype of another tensor."""
    where = resolve_like(device, input, "full_like")
    dtype = as_dtype(dtype, "full_like")
    number = fill_number(fill_value, "full_like")
    kind = dtype or input.dtype
    order = () if memory_format == "torch.contiguous_format" else (input,)
    node = full_node(shape_of(input), converted(number, kind), kind, where)
    return finish(node, requires_grad, *order)


def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`full` in the dtype of this tensor."""
    size_argument("new_full", size)
    return full(
        extents("new_full", size),
        fill_value,
        dtype=as_dtype(dtype, "new_full") or self.dtype,
        device=resolve_like(device, self, "new_full"),
        requires_grad=requires_grad,
    )


def new_tensor(
    self: Tensor,
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A copy of `data` in the dtype of this tensor."""
    if isinstance(data, Tensor):
        warn(COPIED.format("tensor.new_tensor"))
    where = resolve_like(device, self, "new_tensor")
    array, found = array_from(data, as_dtype(dtype, "new_tensor") or self.dtype)
    return finish(data_node(array, found, where), requires_grad)


def empty_strided(size: Any, stride: Any, **options: Any) -> Tensor:
    """A tensor of the given shape; strides other than row-major are not kept."""
    return empty(size, **options)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own."""
    return input.clone()


def detach(input: Tensor) -> Tensor:
    """An alias without history."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """Cuts the tensor's history, in place."""
    return input.detach_()


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


for _function in (new_zeros, new_ones, new_empty, new_full, new_tensor):
    setattr(Tensor, _function.__name__, _function)
FUNCTIONS |= {
    f.__name__: f
    for f in (
        tensor, as_tensor, asarray, from_dlpack, frombuffer, from_numpy, zeros, zeros_like, ones,
        ones_like, empty, empty_like, full, full_like, empty_strided, clone, detach, detach_, numel,
    )
}  # fmt: skip
