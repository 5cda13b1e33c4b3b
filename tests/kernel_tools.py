"""Loop nests without a device: their meaning by NumPy, and their CUDA C run on the host.

case = Case(kernels=[kernel])                # arrays are drawn from a seed
run(case, module, reverse=True)              # launches, and compares with `meaning`
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
from graph_tools import assert_same_bits

from lazyt.codegen.cuda import PRELUDES, STORAGE, CudaKernel, render, render_many
from lazyt.codegen.launches import Array, Fixed, Refused, Scalar, Scratch, Table
from lazyt.codegen.loops import Apply, Kernel, Load, Number, Param, Reduce
from lazyt.ir import evaluate
from lazyt.ir.dtypes import from_numpy
from lazyt.ir.numerics.cast import cast_array
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.types import TensorType
from lazyt.runtime.cuda.host.launch import HostModule

# Values where operations change their ways.
EDGES = {
    "f": [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e-3, -7.25, 88.0, -104.0, np.inf, -np.inf, np.nan],
    "i": [0, 1, -1, 2, -3, 7, -8, 100],
    "b": [False, True],
}


@dataclass
class Case:
    """Kernels that run together, and what is particular about their arrays.

    over: (output, operand) names of parameters that share memory. starts: by how many elements an
    array is away from aligned memory, by name. edges: among the values are infinities and the like.
    exact: results are the same numbers; signs: those of their zeros too. many: as a batch, although
    it is one. refused: an operand is out of its range. integers: the range they are drawn from.
    """

    kernels: list[Kernel]
    over: tuple[tuple[str, str], ...] = ()
    starts: dict[str, int] = field(default_factory=dict)
    numbers: tuple[float, ...] = (0.75, 0.5, -0.25, 3.0)
    edges: bool = False
    exact: bool = False
    signs: bool = False
    many: bool = False
    tolerance: float = 1e-5
    refused: bool = False
    integers: tuple[int, int] = (0, 9)

    @cached_property
    def cuda(self) -> CudaKernel:
        if len(self.kernels) > 1 or self.many:
            return render_many(self.kernels)
        return render(self.kernels[0])


def prelude(names: Sequence[str] = (*PRELUDES, *STORAGE)) -> str:
    folder = resources.files("lazyt.codegen").joinpath("prelude")
    return "\n".join(folder.joinpath(name).read_text() for name in names)


def memory(param: Param, shape: tuple[int, ...], start: int, values: np.ndarray | None) -> Any:
    """A strided view of the shape of the kernel, `start` elements into memory of its own."""
    dtype = np.dtype(param.dtype)
    low = sum(min(0, k * (n - 1)) for k, n in zip(param.strides, shape))
    high = sum(max(0, k * (n - 1)) for k, n in zip(param.strides, shape))
    block = np.empty(high - low + 160, dtype)
    block.view(np.uint8)[...] = 0xFF if dtype.kind != "b" else 1
    aligned = -(block.ctypes.data // dtype.itemsize) % (64 // dtype.itemsize)
    first = aligned - low + start
    strides = tuple(k * dtype.itemsize for k in param.strides)
    view = np.lib.stride_tricks.as_strided(block[first:], shape, strides)
    if values is not None:
        view[...] = values
    return view


def drawn(param: Param, shape: tuple[int, ...], case: Case, rng: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(param.dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "i":
        values = rng.integers(*case.integers, shape)
    else:
        values = rng.standard_normal(shape)
    values = np.asarray(values, dtype)
    if case.edges:
        edges = np.array(EDGES[dtype.kind], dtype)
        values = np.where(
            rng.random(shape) < 0.7, edges[rng.integers(0, len(edges), shape)], values
        )
    return values


# --- meaning --------------------------------------------------------------------------------------


def meaning(kernel: Kernel, arrays: dict[Param, np.ndarray], numbers: Sequence[float]) -> bool:
    """Runs a kernel on arrays, by NumPy; whether it refused an operand."""
    shape, axes, refused = kernel.shape, kernel.axes, False
    point = tuple(slice(0, 1) if i in axes else slice(None) for i in range(len(shape)))
    values: dict[str, np.ndarray] = {}

    def operand(o: Any, dtype: str) -> Any:
        if isinstance(o, str):
            return values[o]
        if isinstance(o, Number):
            return np.dtype(dtype).type(numbers[o.index])
        return o

    for stage in kernel.stages:
        for s in stage.statements:
            if isinstance(s, Load):
                values[s.name] = load(s.param, shape, arrays)
            elif isinstance(s, Apply):
                given = [
                    operand(o, "bool" if s.op == "where" and k == 0 else s.source)
                    for k, o in enumerate(s.operands)
                ]
                if s.op == "class_checked":
                    target, classes, ignored = given
                    refused |= bool(
                        (((target < 0) | (target >= classes)) & (target != ignored)).any()
                    )
                    values[s.name] = target
                else:
                    values[s.name] = applied(s, given, shape)
            elif isinstance(s, Reduce):
                value = np.broadcast_to(operand(s.operand, s.dtype), shape)
                along = axes if stage.loop else kernel.kept
                value = value if stage.loop else value[point]
                values[s.name] = np.broadcast_to(reduced(s, value, along), shape)
            else:
                target, value = arrays[s.param], operand(s.operand, s.param.dtype)
                value = np.broadcast_to(value, shape)
                whole = tuple(slice(0, 1) if k == 0 else slice(None) for k in s.param.strides)
                target[whole] = value[whole]
    return refused


def load(p: Param, shape: tuple[int, ...], arrays: dict[Param, np.ndarray]) -> np.ndarray:
    if not p.counted:
        return arrays[p].copy()
    offset = np.zeros(shape, np.int64)
    for axis, k in enumerate(p.strides):
        along = [1] * len(shape)
        along[axis] = -1
        offset += np.arange(shape[axis]).reshape(along) * k
    return offset


def applied(s: Apply, given: list, shape: tuple[int, ...]) -> np.ndarray:
    if s.op == "cast":
        return np.asarray(cast_array(np.asarray(given[0]), s.dtype))
    dtype = from_numpy(np.dtype(s.dtype))
    given = [np.broadcast_to(g, shape) if isinstance(g, np.ndarray) else g for g in given]
    made = evaluate.apply(REGISTRY[s.op], TensorType.of(shape, dtype), (), given)
    return np.broadcast_to(made, shape)


def reduced(s: Reduce, value: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    functions = {"sum": np.sum, "prod": np.prod, "any": np.any, "all": np.all}
    if s.op in functions:
        wide = {"dtype": np.float64} if s.dtype.startswith("float") else {}
        return functions[s.op](value, axis=axes, keepdims=True, **wide).astype(s.dtype)
    function = np.max if s.op.startswith("amax") else np.min
    return function(value, axis=axes, keepdims=True)


# --- launches -------------------------------------------------------------------------------------


def run(case: Case, module: HostModule, reverse: bool) -> None:
    """Launches the kernels of a case and compares every array with what NumPy says."""
    rng = np.random.default_rng(0)
    wanted: list[dict[Param, np.ndarray]] = []
    found: list[np.ndarray] = []
    names: list[str] = []
    refused = False
    for kernel in case.kernels:
        drawn_values = {p: drawn(p, kernel.shape, case, rng) for p in kernel.arrays if not p.out}
        by_name = {p.name: p for p in kernel.params}
        over = {by_name[y]: by_name[x] for y, x in case.over}
        both = []
        for _ in range(2):
            views: dict[Param, np.ndarray] = {}
            for p in kernel.arrays:
                if p not in over:
                    start = case.starts.get(p.name, 0)
                    views[p] = memory(p, kernel.shape, start, drawn_values.get(p))
            views |= {y: views[x] for y, x in over.items()}
            both.append(views)
        with np.errstate(all="ignore"):
            refused |= meaning(kernel, both[0], case.numbers)
        wanted.append(both[0])
        found += [both[1][p] for p in kernel.arrays]
        names += [p.name for p in kernel.arrays]
    flag = np.zeros(1, np.int32)
    scratch = np.full(case.cuda.scratch + 16, 0xFF, np.uint8)
    numbers = case.numbers[: len(case.kernels[0].numbers)] * len(case.kernels)
    launch(case.cuda, module, found, numbers, scratch, flag, reverse)
    assert bool(flag[0]) == refused == case.refused
    expected = [w[p] for w, k in zip(wanted, case.kernels) for p in k.arrays]
    for name, a, b in zip(names, found, expected):
        if case.signs:
            assert_same_bits(np.ascontiguousarray(a), np.ascontiguousarray(b), name)
        elif case.exact or a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            tolerance = case.tolerance if a.dtype == np.float32 else case.tolerance * 1e-8
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


def launch(
    kernel: CudaKernel,
    module: HostModule,
    arrays: list[np.ndarray],
    numbers: Sequence[float],
    scratch: np.ndarray,
    flag: np.ndarray,
    reverse: bool,
) -> None:
    """All launches of a kernel, in order."""

    def value(a: Any) -> Any:
        if isinstance(a, Array):
            return arrays[a.index]
        if isinstance(a, Scratch):
            return scratch[a.offset :]
        return {Scalar: lambda: numbers[a.index], Refused: lambda: flag, Fixed: lambda: a.value}[
            type(a)
        ]()

    def packed(a: Any) -> bytes:
        given = value(a)
        if isinstance(given, np.ndarray):
            return struct.pack("P", given.__array_interface__["data"][0])
        return struct.pack("d" if isinstance(a, Scalar) else a.kind, given)

    for one in kernel.launches:
        given, behind = [], []
        for a in one.arguments:
            if isinstance(a, Table):
                given.append(b"".join(packed(f) for row in a.rows for f in row))
                behind = [*arrays, scratch, flag]
            elif isinstance(a, Scratch):
                given.append(scratch[a.offset :].view(pointee(kernel, one.function, len(given))))
            else:
                given.append(value(a))
        assert sum(len(g) if isinstance(g, bytes) else 8 for g in given) <= 4000
        module.launch(
            one.function, one.grid, one.block, given, one.shared_bytes, reverse, memory=behind
        )


def pointee(kernel: CudaKernel, function: str, position: int) -> str:
    """The dtype that a parameter of a function points to."""
    head = kernel.text.split(f"\n{function}(", 1)[1].split(")", 1)[0]
    kind = head.split(",")[position].replace("const", "").split()[0]
    kinds = {"double": "f8", "float": "f4", "uint64_t": "u8", "int64_t": "i8"}
    return (kinds | {"int32_t": "i4", "int": "i4"})[kind]
