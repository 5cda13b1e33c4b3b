"""What the source of a device plan calls: memory, views, copies, launches.

Functions that also have a NumPy form of the same name (`copied`, `strided_update`, …) take values
of either kind, so that a plan (codegen/device_calls.py) reads the same wherever a value lives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lazyt.codegen.device_calls import launched
from lazyt.codegen.launches import CudaKernel
from lazyt.codegen.numpy_calls import NumpyCode
from lazyt.codegen.segments import batch
from lazyt.ir.dtypes import BY_NAME
from lazyt.ir.node import line_number
from lazyt.ir.opdef import NAMESPACE
from lazyt.ir.types import TensorType, viewed_strides

from ..programs import callers
from . import array as arrays
from .array import DeviceArray
from .compiler import functions
from .driver import device
from .launch import launcher


def empty(shape: tuple[int, ...], dtype: str, where: str) -> DeviceArray:
    """Memory for a value: not initialised."""
    return arrays.empty(TensorType.of(shape, BY_NAME[dtype], where))


def contiguous(x: Any) -> Any:
    """`x` in row-major order; itself where it is."""
    return arrays.contiguous(x) if x.__class__ is DeviceArray else np.ascontiguousarray(x)


def copied(x: Any, out: Any = None) -> Any:
    """A row-major copy of `x`, in `out` if given."""
    if x.__class__ is not DeviceArray:
        return NAMESPACE["copied"](x, out)
    if out is None:
        out = arrays.empty(arrays.type_of(x))
    arrays.copy_into(out, x)
    return out


def view(x: DeviceArray, show: Callable[[np.ndarray], np.ndarray]) -> DeviceArray:
    """What a view operation of NumPy shows of `x`."""
    return x.view(show)


def reshaped(x: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """`x` in another shape: a view where its memory can show it, else of a row-major copy."""
    strides = viewed_strides(x.shape, x.strides, shape)
    if strides is None:
        return reshaped(arrays.contiguous(x), shape)
    return x.window(0, shape, strides)


def strided(x: Any, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The strided window of a row-major value, as a view of its memory."""
    if x.__class__ is not DeviceArray:
        return NAMESPACE["strided"](x, offset, sizes, strides)
    return arrays.contiguous(x).window(offset, sizes, strides)


def strided_update(
    x: Any,
    value: Any,
    offset: int,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    out: Any = None,
) -> Any:
    """A copy of `x` (in `out`, which may be `x` itself) with the window replaced by `value`."""
    if x.__class__ is not DeviceArray:
        return NAMESPACE["strided_update"](x, value, offset, sizes, strides, out)
    if out is None or not out.contiguous:
        out = copied(x)
    elif out is not x:
        arrays.copy_into(out, x)
    target = out.window(offset, sizes, strides)
    arrays.copy_into(target, view(value, lambda a: np.broadcast_to(a, target.shape)))
    return out


def moved(x: Any, dtype: str, where: str) -> Any:
    """`x` on another device, in memory of its own."""
    if x.__class__ is not DeviceArray:
        return uploaded(x, BY_NAME[dtype], where)
    if where == "cpu":
        return arrays.download(x)
    return arrays.to_device(x, number(where))


def by_host(
    compute: Callable, where: str, dtypes: tuple[str, ...], *operands: Any
) -> DeviceArray | tuple[DeviceArray, ...]:
    """What NumPy computes of values on a device, put back there."""
    results = compute(*[arrays.download(x) if x.__class__ is DeviceArray else x for x in operands])
    single = results.__class__ is not tuple
    placed = tuple(
        uploaded(r, BY_NAME[name], where)
        for r, name in zip((results,) if single else results, dtypes)
    )
    return placed[0] if single else placed


def uploaded(x: Any, dtype: Any, where: str) -> DeviceArray:
    """A host array (or NumPy scalar) on a device."""
    x = np.asarray(x, dtype.numpy, order="C")
    return arrays.upload(x, TensorType.of(x.shape, dtype, where))


FUNCTIONS: dict[str, Any] = {
    f.__name__: f
    for f in (empty, contiguous, copied, view, reshaped, strided, strided_update, moved, by_host)
}


def number(where: str) -> int:
    """The number of a device: 1 for "cuda:1"."""
    return int(where.removeprefix("cuda:"))


def scope_of(code: NumpyCode) -> dict[str, Any]:
    """What the source of a plan calls for devices, by name; compiles what is not compiled yet."""
    made: dict[str, _Call] = {}
    scope = dict(FUNCTIONS)
    reasons = _reasons(code)
    for i, together in enumerate(code.nests):
        one = together[0]
        if one.device == "cpu":
            scope[f"k{i}"] = callers([batch([n.c for n in together])], [])[0]
        else:
            sizes = len(one.values), len(one.numbers)
            reason = reasons.get(f"k{i}", "")
            made[f"k{i}"] = _Call(launched(together), one.device, *sizes, reason)
    made |= {f"g{i}": _Call(*template) for i, template in enumerate(code.templates)}
    for where in dict.fromkeys(c.where for c in made.values()):
        functions([c.kernel for c in made.values() if c.where == where], device(number(where)))
    return scope | {name: c.function() for name, c in made.items()}


def _reasons(code: NumpyCode) -> dict[str, str]:
    """Where the operations stand that may refuse an operand, by the name of their kernel: the lines
    of the program that the plan was made for."""
    lines = code.source.splitlines()
    found: dict[str, list[str]] = {}
    for v, line in code.line_of.items():
        if v.op.raises(v.type) and v.origin is not None and v.origin[0] is not None:
            call = re.match(r" *(\w+)\(", lines[line - 1])
            if call is not None:
                places = found.setdefault(call[1], [])
                maker, offset = v.origin
                line_there = line_number(maker, offset)
                places.append(f"{maker.co_filename}:{line_there}, in {maker.co_name}")
    return {call: "; ".join(dict.fromkeys(places)) for call, places in found.items()}


class _Call(NamedTuple):
    """A kernel, its device, how many arrays and numbers each of its nests has, and where in the
    user's program operands are that it may refuse."""

    kernel: CudaKernel
    where: str
    arrays: int
    numbers: int
    reason: str = ""

    def function(self) -> Callable[..., None]:
        """A function that launches it, called with the arrays and then the numbers of each nest in
        turn."""
        launch = launcher(self.kernel, device(number(self.where)), self.reason)
        if not self.numbers:
            return lambda *arguments: launch(arguments, ())
        arrays, width = self.arrays, self.arrays + self.numbers

        def run(*arguments: Any) -> None:
            nests = [arguments[i : i + width] for i in range(0, len(arguments), width)]
            launch([a for n in nests for a in n[:arrays]], [s for n in nests for s in n[arrays:]])

        return run
