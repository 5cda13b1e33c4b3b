"""Tensors of numbers in a row: arange, linspace, logspace, and the identity matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.ir.node import Node
from lazyt.ir.ops_constant import arange_, typed
from lazyt.ir.ops_shape import reshape
from lazyt.warned import warn

from ..device import resolve_out
from ..dispatch import SETTINGS, as_dtype, converted, data_node, number_of, unsupported
from ..registry import FUNCTIONS
from ..state import shape_of
from ..tensor import Tensor
from .creation import finish, made_into
from .numeric import cast_data

_COMBINATION = "received an invalid combination of arguments - got"
_FORMS = " * (Number start, Number end, Number step or int steps, *, Tensor out, torch.dtype dtype)"


def _numbers(name: str, *arguments: Any) -> list:
    """Python numbers for the arguments; TypeError in PyTorch's words for what is none."""
    found = [number_of(x.item() if isinstance(x, Tensor) else x) for x in arguments]
    if any(n is None for n in found):
        kinds = ", ".join(type(x).__name__ for x in arguments)
        if name == "arange" and len(arguments) == 1:
            raise TypeError(f"arange(): argument 'end' (position 1) must be Number, not {kinds}")
        raise TypeError(f"{name}() {_COMBINATION} ({kinds}), but expected one of:\n{_FORMS}")
    return found


def _count(name: str, argument: str, position: int, value: Any) -> int:
    """An integer argument; TypeError in PyTorch's words for anything else."""
    if isinstance(value, (bool, float, str)) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be int, not "
            f"{type(value).__name__}"
        )
    return value.__index__()


def _steps(name: str, start: Any, end: Any, steps: Any) -> tuple[Any, Any, int]:
    """The arguments of linspace and logspace."""
    if isinstance(steps, Tensor) and not steps.dim():
        steps = steps.item()
    if isinstance(steps, (bool, float)) or not hasattr(steps, "__index__"):
        kinds = ", ".join(type(x).__name__ for x in (start, end, steps) if x is not _MISSING)
        raise TypeError(f"{name}() {_COMBINATION} ({kinds}), but expected one of:\n{_FORMS}")
    for which, t in (("start", start), ("end", end)):
        if isinstance(t, Tensor) and t.dim():
            raise RuntimeError(
                f"{name} only supports 0-dimensional start and end tensors, but got {which} with "
                f"{t.dim()} dimension(s)."
            )
    first, last, count = _numbers(name, start, end, steps)
    if count < 0:
        raise RuntimeError("number of steps must be non-negative")
    return first, last, count


def _into(out: Tensor, node: Node, requires_grad: bool) -> Tensor:
    """`made_into`, where `out` keeps its shape if that has as many elements."""
    if out.numel() == node.type.numel:
        node = reshape(node, shape_of(out))
    return made_into(out, node, requires_grad)


_MISSING: Any = object()


def arange(
    start: Any = _MISSING,
    end: Any = _MISSING,
    step: Any = _MISSING,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers from start (0 if only one is given) up to and without end."""
    where = resolve_out(device, out, "arange")
    dtype = as_dtype(dtype, "arange")
    given = [x for x in (start, end, step) if x is not _MISSING]
    if not given:
        raise TypeError(f"arange() {_COMBINATION} (), but expected one of:\n{_FORMS}")
    numbers = _numbers("arange", *given)
    if end is _MISSING or start is _MISSING:
        numbers.insert(0, 0)
    start, end, step = (*numbers, 1)[:3]
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if math.isinf(start) or math.isinf(end) or math.isnan(start) or math.isnan(end):
        raise RuntimeError(f"unsupported range: {float(start):g} -> {float(end):g}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is None and out is not None:
        dtype = out.dtype
    if dtype is None:
        whole = all(isinstance(n, int) for n in (start, end, step))
        dtype = dtypes.int64 if whole else SETTINGS.default_dtype
    if dtype is dtypes.bool_:
        raise NotImplementedError("\"arange_cpu\" not implemented for 'Bool'")
    if dtype.is_complex:
        raise unsupported("arange_cpu", dtype)
    if dtype.category != dtypes.FLOATING:
        if not all(-(2**63) <= n < 2**64 for n in (start, end, step)):
            raise OverflowError("int too big to convert")
        if not all(-(2**63) <= n < 2**63 for n in (start, end, step)):
            raise RuntimeError("value cannot be converted to type int64_t without overflow")
        first, stride = int(start), int(step)
        if dtype is dtypes.int64:
            if stride == 0:
                raise ValueError("step must be nonzero")
            count = max(0, -(-(int(end) - first) // stride))
        else:  # PyTorch counts before it drops what is after the point
            count = max(0, math.ceil((end - start) / step))
        start, step = first, stride
    else:
        count = max(0, math.ceil((end - start) / step))
    node = arange_(start, step, arg=typed((count,), dtype, where))
    if out is not None:
        return _into(out, node, requires_grad)
    return finish(node, requires_grad)


def _exact(values: Any, dtype: DType) -> Any:
    """The values as a half type holds them; those of other types as they are."""
    return cast_data(values, dtype) if dtype.is_half else values


def _ends(start: Any, end: Any, dtype: DType) -> tuple[Any, Any]:
    """Both ends of a row as elements of `dtype`, in the type that it is computed in: float64 for
    integers. RuntimeError for what `dtype` has no room for."""
    work = np.dtype(np.float64) if dtype.category <= dtypes.INTEGRAL else dtype.compute.numpy
    ends = []
    for number in (start, end):
        if dtype.is_complex:
            value = work.type(number)
        else:
            value = work.type(converted(number, dtype))
        ends.append(_exact(value, dtype)[()])
    return ends[0], ends[1]


def _row_dtype(name: str, dtype: DType | None, out: Tensor | None, steps: int) -> DType:
    """The dtype of a row of numbers; NotImplementedError for several bools."""
    have = SETTINGS.default_dtype if out is None else out.dtype
    dtype = as_dtype(dtype, name) or have
    if dtype is dtypes.bool_ and steps > 1 and (out is None or have is dtype):
        raise unsupported(f"{name}_cpu", dtype)
    return dtype


def linspace(
    start: Any,
    end: Any,
    steps: Any = _MISSING,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included."""
    where = resolve_out(device, out, "linspace")
    start, end, steps = _steps("linspace", start, end, steps)
    dtype = _row_dtype("linspace", dtype, out, steps)
    # From both ends towards the middle, as PyTorch does, so that the last element is `end` itself.
    first, last = _ends(start, end, dtype)
    scalar = type(first)
    if steps == 1:
        values = np.array([first])
    else:
        # Of a half type the step and its multiples are rounded too.
        step = _exact(scalar((last - first) / scalar(max(steps - 1, 1))), dtype)
        i = np.arange(steps)
        half = steps // 2
        low = first + _exact(scalar(step) * i[:half].astype(scalar), dtype)
        high = last - _exact(scalar(step) * (steps - 1 - i[half:]).astype(scalar), dtype)
        values = np.concatenate([low, high])
    node = data_node(cast_data(values, dtype), dtype, where)
    if out is not None:
        return _into(out, node, requires_grad)
    return finish(node, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: Any = _MISSING,
    base: float = 10.0,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """base ** x for evenly spaced x from start to end."""
    where = resolve_out(device, out, "logspace")
    start, end, steps = _steps("logspace", start, end, steps)
    dtype = _row_dtype("logspace", dtype, out, steps)
    with np.errstate(over="ignore"):
        values = np.float64(base) ** _exponents(start, end, steps, dtype)
    node = data_node(cast_data(values, dtype), dtype, where)
    return _into(out, node, requires_grad) if out is not None else finish(node, requires_grad)


def _exponents(start: Any, end: Any, steps: int, dtype: DType) -> np.ndarray:
    """`steps` numbers from start to end, both as elements of `dtype` if there are several."""
    if steps == 1:
        return np.array([start])
    first, last = (x.astype(np.float64) for x in _ends(start, end, dtype))
    step, i = _exact(last - first, dtype) / max(steps - 1, 1), np.arange(steps)
    return np.where(i < steps // 2, first + step * i, last - step * (steps - 1 - i))


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Ones on the diagonal of an n by m matrix, zeros elsewhere."""
    where = resolve_out(device, out, "eye")
    n = _count("eye", "n", 1, n)
    m = n if m is None else _count("eye", "m", 2, m)
    for name, extent in (("n", n), ("m", m)):
        if extent < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {extent}")
    dtype = as_dtype(dtype, "eye") or (out.dtype if out is not None else SETTINGS.default_dtype)
    node = data_node(np.eye(n, m, dtype=dtype.numpy), dtype, where)
    if out is not None:
        return made_into(out, node, requires_grad)
    return finish(node, requires_grad)


def range_(
    start: Any = 0,
    end: Any = _MISSING,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from start up to and with end, of the default dtype; deprecated, as in PyTorch."""
    if end is _MISSING:
        raise TypeError('range() missing 1 required positional arguments: "end"')
    warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use torch.arange, which produces "
        "values in [start, end).",
    )
    start, end, step = _numbers("range", start, end, step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    where = resolve_out(device, out, "range")
    dtype = as_dtype(dtype, "range") or (out.dtype if out is not None else SETTINGS.default_dtype)
    count = math.floor((end - start) / step) + 1
    values = cast_data(start + step * np.arange(count, dtype=np.float64), dtype)
    node = data_node(values, dtype, where)
    if out is not None:
        return made_into(out, node, requires_grad)
    return finish(node, requires_grad)


FUNCTIONS |= {"arange": arange, "linspace": linspace, "logspace": logspace, "eye": eye}
FUNCTIONS["range"] = range_
