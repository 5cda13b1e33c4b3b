"""Sorts, segments and scans in CUDA C: which launches an operation takes, texts, and nvcc.

Their values on a device are tested in test_gpu_primitives.py and test_gpu_orders.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graph_tools  # noqa: F401 (registers the primitives)
import pytest
from cuda_kernels import nvcc, resources_of

from lazyt.codegen.launches import CudaKernel
from lazyt.codegen.templates import WHOLE, steps, whole
from lazyt.ir.dtypes import BY_NAME, int32, int64
from lazyt.ir.graph import Value
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.types import TensorType

needs_nvcc = pytest.mark.skipif(nvcc() is None, reason="no nvcc")
FLOATS = ("float32", "float64")
DTYPES = (*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool")


def operand(dtype: str, *shape: int) -> Value:
    return Value(None, (), (), TensorType.of(shape, BY_NAME[dtype], "cuda:0"))


def applied(name: str, *src: Value, arg: tuple = ()) -> Value:
    op = REGISTRY[name]
    return Value(op, src, arg, op.infer(src, arg))  # type: ignore[misc]


def kernel_of(name: str, *src: Value, arg: tuple = ()) -> CudaKernel:
    made = whole(applied(name, *src, arg=arg))
    assert made is not None
    assert len(made.arrays) == len(src) + REGISTRY[name].results
    return made.kernel


def launched(kernel: CudaKernel) -> list[str]:
    """The functions that are launched, by what their names end with."""
    return [step.function.rpartition("_")[2] for step in kernel.launches]


def reduced(
    dtype: str, how: str, count: int, inner: int = 8, each: bool = False, base: bool = True
) -> CudaKernel:
    """A reduction by segment into 1,000 rows."""
    shape = (2, count, inner) if each else (count,)
    at = Value(None, (), (), TensorType.of(shape, int32, "cuda:0"))
    src = [operand(dtype, 2, count, inner), at, *[operand(dtype, 2, 1000, inner)] * base]
    return kernel_of("segment_reduce", *src, arg=((2, 1000, inner), how, True))


# --- launches -------------------------------------------------------------------------------------


def test_a_sort_merges_what_a_block_cannot_hold() -> None:
    arg = (1, False)
    short = kernel_of("sort", operand("float32", 1000, 10), arg=arg)
    assert launched(short) == ["runs", "first"]
    assert short.launches[0].grid == (8, 1, 1)  # 128 rows of 16 places each in a block
    long = kernel_of("sort", operand("float32", 3, 5000), arg=arg)
    assert launched(long) == ["runs", "merge", "merge", "first"]
    assert long.launches[0].grid == (9, 1, 1)
    assert long.scratch == 2 * 15000 * 8
    whole_tile = kernel_of("sort", operand("float64", 2048, 2), arg=(0, True))
    assert launched(whole_tile) == ["runs", "first"] and whole_tile.launches[0].grid == (2, 1, 1)


def test_short_lists_of_segments_are_not_sorted() -> None:
    assert launched(reduced("float32", "sum", 32)) == ["gather"]
    assert launched(reduced("float32", "sum", 33)) == ["runs", "gather"]
    assert launched(reduced("float32", "sum", 3000, each=True)) == ["runs", "merge", "gather"]


def test_scans_of_few_long_lines_are_cut_into_chunks() -> None:
    def launches(*shape: int, axis: int) -> list[str]:
        return launched(kernel_of("cumsum", operand("float32", *shape), arg=(axis,)))

    assert launches(2, 1_000_000, axis=1) == ["totals", "scan"]
    assert launches(1000, 1_000_000, axis=1) == ["scan"]
    assert launches(4, 1000, axis=1) == ["scan"]
    assert launches(1000, 8192, axis=0) == ["across"]
    assert launches(100_000, 40, axis=0) == ["totals", "scan"]


def test_extents_are_not_in_the_text() -> None:
    for one, other in (
        [
            kernel_of("sort", operand("float32", *s), arg=(1, d))
            for s, d in (((3, 9), 0), ((2, 7), 1))
        ],
        [kernel_of("cumsum", operand("int64", *s), arg=(1,)) for s in ((3, 9), (20, 70))],
        [reduced("float32", "sum", count, inner) for count, inner in ((50, 8), (70, 6))],
    ):
        assert one.text == other.text and one.launches != other.launches


def test_indices_are_as_wide_as_they_have_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = reduced("float32", "sum", 40)
    monkeypatch.setattr(steps, "INT_LIMIT", 0)
    wide = reduced("float32", "sum", 40)
    assert "<int>" in narrow.text and "long long>" in wide.text


def test_what_has_no_kernel() -> None:
    def has(name: str, *src: Value, arg: tuple = ()) -> bool:
        return whole(applied(name, *src, arg=arg)) is not None

    assert not has("cumsum", operand("bool", 3, 4), arg=(1,))
    assert not has("sort", operand("bfloat16", 3, 4), arg=(1, False))  # computed in float32
    assert not has("searchsorted", operand("float32", 4), operand("float64", 3), arg=(False, False))


# --- nvcc and texts -------------------------------------------------------------------------------


def every_kernel() -> list[CudaKernel]:
    found: list[CudaKernel] = []

    def add(name: str, *src: Value, arg: tuple) -> None:
        found.append(kernel_of(name, *src, arg=arg))

    for dtype in DTYPES:
        x = operand(dtype, 3, 5000)
        add("sort", x, arg=(1, False))
        add("kthvalue", x, arg=((1,), False, 7))
        add("mode", x, arg=((1,), False))
        add("searchsorted", operand(dtype, 50), x, arg=(False, dtype == "int32"))
        shapes = [((40, 50), 0), ((40, 50), 1), ((2, 20000), 1)]
        for shape, axis in shapes:
            add("cummax", operand(dtype, *shape), arg=(axis,))
            if dtype != "bool":
                add("cumprod", operand(dtype, *shape), arg=(axis,))
        for how in ("last", "sum", "amax", *(["mean"] * (dtype != "bool"))):
            found += [reduced(dtype, how, count) for count in (9, 90)]
    for dtype in FLOATS:
        add("median", operand(dtype, 3, 50), arg=((1,), False))
        add("nanmedian", operand(dtype, 3, 50), arg=((1,), False))
        add("logcumsumexp", operand(dtype, 2, 20000), arg=(1,))
        add("logcumsumexp", operand(dtype, 40, 50), arg=(0,))
        found.append(reduced(dtype, "prod", 90, each=True, base=False))
    at = Value(None, (), (), TensorType.of((9000,), int64, "cuda:0"))
    add("count_each", at, arg=(100,))
    return found


@needs_nvcc
def test_nvcc_spills_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = every_kernel()
    monkeypatch.setattr(steps, "INT_LIMIT", 0)
    kernels += [k for k in every_kernel() if "float" in k.text.split(")")[1]]
    found = resources_of(kernels, "sm_90", tmp_path)
    assert {step.function for k in kernels for step in k.launches} == set(found)
    for kernel in kernels:
        for step in kernel.launches:
            used = found[step.function]
            assert (used.spills, used.stack) == (0, 0), (step.function, used)
            assert used.registers <= 64 and used.shared <= 48 * 1024


GOLDEN: dict[str, Any] = {
    "sort": lambda: kernel_of("sort", operand("float32", 3, 5000), arg=(1, False)),
    "mode": lambda: kernel_of("mode", operand("int64", 3, 50), arg=((1,), False)),
    "rows_added": lambda: reduced("float32", "sum", 3000),
    "rows_stored": lambda: reduced("int64", "last", 20, each=True, base=False),
    "running_sum": lambda: kernel_of("cumsum", operand("float32", 2, 20000), arg=(1,)),
    "running_maximum": lambda: kernel_of("cummax", operand("float64", 40, 50), arg=(0,)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_text(name: str, golden) -> None:
    golden(GOLDEN[name]().text)


def test_every_operation_is_compiled_by_nvcc() -> None:
    names = {k.name.rpartition("_")[0] for k in every_kernel()}
    missing = WHOLE.keys() - names - {"segment_reduce", "count_each"}
    assert missing == {"topk", "cumsum", "cummin"}  # functions that others have as well
