"""Making tensors: from data, filled with a number, like another one, as ranges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.ops_elementwise import arange_, cast
from lazyt.ir.ops_elementwise import full as full_node

from .device import resolve
from .dispatch import SETTINGS, data_node, number_of, wrap
from .numeric import cast_data
from .outside import array_from
from .state import shape_of
from .tensor import Tensor, from_numpy

# --- from data ------------------------------------------------------------------------------------


def finish(node: Node, requires_grad: bool) -> Tensor:
    t = wrap(node)
    if requires_grad:
        if not node.type.dtype.is_floating_point:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        t.requires_grad_()
    if LOCAL.inference:
        t._own_meta().inference = True
    return t


_MISSING: Any = object()


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
    resolve(device)
    check_dtype(dtype, "tensor")
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), "
            "rather than torch.tensor(sourceTensor).",
            stacklevel=2,
        )
    array, found = array_from(data, dtype)
    return finish(data_node(array, found), requires_grad)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory where it can."""
    resolve(device)
    if isinstance(data, Tensor):
        return data if dtype is None or dtype is data.dtype else data.to(dtype)
    if isinstance(data, np.ndarray):
        shared = from_numpy(data)
        return shared if dtype is None or dtype is shared.dtype else shared.to(dtype)
    return tensor(data, dtype=dtype)


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
    """A 1-D tensor over the memory of a Python buffer."""
    made = from_numpy(np.frombuffer(buffer, dtype.numpy, count, offset))
    return made.requires_grad_() if requires_grad else made


# --- filled ---------------------------------------------------------------------------------------


def extents(name: str, *size: Any) -> tuple[int, ...]:
    """A shape given as numbers or as one sequence."""
    if len(size) == 1 and not isinstance(size[0], int):
        one = size[0]
        if isinstance(one, Tensor) and one.dim() == 0:
            size = (one,)
        elif isinstance(one, (tuple, list, Tensor)):
            size = tuple(one)
        elif not hasattr(one, "__index__"):
            raise TypeError(
                f"{name}(): argument 'size' (position 1) must be tuple of ints, not "
                f"{type(one).__name__}"
            )
    shape = []
    for i, extent in enumerate(size):
        if isinstance(extent, (float, str)) or not hasattr(extent, "__index__"):
            raise TypeError(
                f"{name}(): argument 'size' (position 1) must be tuple of ints, but found element "
                f"of type {type(extent).__name__} at pos {i}"
            )
        shape.append(extent.__index__())
    for extent in shape:
        if extent < 0 and name == "zeros":
            raise RuntimeError(f"{name}: Dimension size must be non-negative.")
        if extent < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {extent}: {shape}")
    return tuple(shape)


def check_dtype(dtype: Any, name: str) -> None:
    if dtype is not None and not isinstance(dtype, DType):
        raise TypeError(
            f"{name}(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}"
        )


def _filled(name: str, number: Any):
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
        resolve(device)
        check_dtype(dtype, name)
        shape = extents(name, *size)
        node = full_node(shape, number, dtype or SETTINGS.default_dtype)
        if out is not None:
            from .dispatch import deliver

            return deliver(node if dtype else full_node(shape, number, out.dtype), out)
        return finish(node, requires_grad)

    def like(
        input: Tensor,
        *,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        resolve(device)
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{name}_like(): argument 'input' (position 1) must be Tensor, not "
                f"{type(input).__name__}"
            )
        return finish(full_node(shape_of(input), number, dtype or input.dtype), requires_grad)

    def new(
        self: Tensor,
        *size: Any,
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        resolve(device)
        shape = extents(f"new_{name}", *size)
        return finish(full_node(shape, number, dtype or self.dtype), requires_grad)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"A tensor of the given shape, filled with {number}."
    like.__name__ = like.__qualname__ = name + "_like"
    like.__doc__ = f"`{name}` in the shape and dtype of another tensor."
    new.__name__ = new.__qualname__ = "new_" + name
    new.__doc__ = f"`{name}` in the dtype of this tensor."
    return function, like, new


zeros, zeros_like, new_zeros = _filled("zeros", 0)
ones, ones_like, new_ones = _filled("ones", 1)
# Memory that was never written reads as zeros: a value nobody can rely on, but the same every run.
empty, empty_like, new_empty = _filled("empty", 0)


def fill_number(value: Any, name: str) -> Any:
    if isinstance(value, Tensor):
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
    names: Any = None,
) -> Tensor:
    """A tensor of one number; the dtype is the number's unless given."""
    resolve(device)
    from .dispatch import deliver, number_dtype

    number = fill_number(fill_value, "full")
    if dtype is None and isinstance(fill_value, Tensor):
        dtype = fill_value.dtype
    shape = extents("full", size)
    node = full_node(shape, number, dtype or number_dtype(number))
    return deliver(node, out) if out is not None else finish(node, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`full` in the shape and dtype of another tensor."""
    resolve(device)
    number = fill_number(fill_value, "full_like")
    return finish(full_node(shape_of(input), number, dtype or input.dtype), requires_grad)


def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`full` in the dtype of this tensor."""
    return full(
        size, fill_value, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad
    )


def new_tensor(
    self: Tensor,
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A copy of `data` in the dtype of this tensor."""
    array, found = array_from(data, dtype or self.dtype)
    return finish(data_node(array, found), requires_grad)


def empty_strided(size: Any, stride: Any, **options: Any) -> Tensor:
    """A tensor of the given shape; strides other than row-major are not kept."""
    return empty(size, **options)


# --- ranges ---------------------------------------------------------------------------------------


def _range_numbers(*numbers: Any) -> list:
    return [n.item() if isinstance(n, Tensor) else n for n in numbers]


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from start (0 if only one is given) up to and without end."""
    resolve(device)
    start, end, step = _range_numbers(start, end, step)
    if end is None:
        start, end = 0, start
    for n in (start, end, step):
        if number_of(n) is None:
            raise TypeError(f"arange(): argument 'end' must be Number, not {type(n).__name__}")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if math.isinf(start) or math.isinf(end) or math.isnan(start) or math.isnan(end):
        raise RuntimeError(f"unsupported range: {float(start):g} -> {float(end):g}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    start, end, step = (number_of(n) for n in (start, end, step))
    if dtype is None:
        whole = all(isinstance(n, int) for n in (start, end, step))
        dtype = dtypes.int64 if whole else SETTINGS.default_dtype
    if dtype.category != dtypes.FLOATING:
        start, step = int(start), int(step)
        count = max(0, -(-(int(end) - start) // step))
    else:
        count = max(0, math.ceil((end - start) / step))
    node = arange_(start, step, arg=((count,), dtype))
    if out is not None:
        from .dispatch import deliver

        return deliver(cast(node, out.dtype), out)
    return finish(node, requires_grad)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included."""
    resolve(device)
    start, end, steps = _range_numbers(start, end, steps)
    for n in (start, end, steps):
        if number_of(n) is None:
            raise TypeError(f"linspace(): argument must be Number, not {type(n).__name__}")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    dtype = dtype or SETTINGS.default_dtype
    # From both ends towards the middle, as PyTorch does, so that the last element is `end` itself.
    work = dtype.compute.numpy if dtype.is_floating_point else np.dtype(np.float64)
    scalar = work.type
    if steps == 1:
        values = np.array([start], work)
    else:
        step = scalar((scalar(end) - scalar(start)) / scalar(max(steps - 1, 1)))
        i = np.arange(steps)
        half = steps // 2
        low = scalar(start) + step * i[:half].astype(work)
        high = scalar(end) - step * (steps - 1 - i[half:]).astype(work)
        values = np.concatenate([low, high])
    node = data_node(cast_data(values, dtype), dtype)
    if out is not None:
        from .dispatch import deliver

        return deliver(node, out)
    return finish(node, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """base ** x for evenly spaced x from start to end."""
    dtype = dtype or SETTINGS.default_dtype
    start, end, steps = _range_numbers(start, end, steps)
    values = np.float64(base) ** np.linspace(start, end, steps)
    return finish(data_node(cast_data(values, dtype), dtype), requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal of an n by m matrix, zeros elsewhere."""
    resolve(device)
    if n < 0:
        raise RuntimeError(f"n must be greater or equal to 0, got {n}")
    dtype = dtype or SETTINGS.default_dtype
    node = data_node(np.eye(n, n if m is None else m, dtype=dtype.numpy), dtype)
    if out is not None:
        from .dispatch import deliver

        return deliver(node, out)
    return finish(node, requires_grad)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own."""
    return input.clone()


def detach(input: Tensor) -> Tensor:
    """An alias without history."""
    return input.detach()


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


for _function in (new_zeros, new_ones, new_empty, new_full, new_tensor):
    setattr(Tensor, _function.__name__, _function)
PUBLIC = {
    f.__name__: f
    for f in (
        tensor, as_tensor, asarray, from_dlpack, frombuffer, from_numpy, zeros, zeros_like, ones,
        ones_like, empty, empty_like, full, full_like, empty_strided, arange, linspace, logspace,
        eye, clone, detach, numel,
    )
}  # fmt: skip
