"""Checks of runtime/cuda, each to be run in a process of its own: a process has one driver.

    LAZYT_CUDA_HOST=ctypes python tests/cuda_runtime_checks.py strided_copies

A check is a function here without arguments; it asserts. tests/test_cuda_runtime.py runs them all.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from lazyt.codegen.launches import Array, CudaKernel, Fixed, Launch, Refused, Scalar, Scratch, Table
from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType, float32, int32
from lazyt.ir.numerics import round_bfloat16
from lazyt.ir.types import TensorType
from lazyt.runtime.cuda import array as arrays
from lazyt.runtime.cuda import compiler, driver, launch, memory, streams
from lazyt.runtime.cuda.array import DeviceArray, copy_into, download, empty, to_device, upload
from lazyt.runtime.native import CompilerError
from lazyt.runtime.stats import COUNTERS


def library() -> ctypes.CDLL:
    """The driver for the host, to ask what happened in it; call it when it is in use."""
    found = ctypes.CDLL("libcuda.so.1")
    found.lazyt_driver_count.restype = ctypes.c_size_t
    return found


def count(what: str) -> int:
    return library().lazyt_driver_count(what.encode())


def put(values: Any, dtype: DType = float32, device: int = 0, later: bool = False) -> DeviceArray:
    given = np.asarray(values, dtype.numpy)
    return upload(given, TensorType.of(given.shape, dtype, f"cuda:{device}"), later)


def raised(kind: type[Exception], call: Any) -> str:
    """The text of the error that a call must raise."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")


def same(x: DeviceArray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(download(x), expected)


# A kernel that adds a number, and refuses sums above a bound.
ADD_TEXT = """
extern "C" __global__ void add_number(const float* x, float* y, int n, double s, int* refused) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = x[i] + (float)s;
        if (y[i] > 1000) *refused = 1;
    }
}
"""


def add_number(n: int) -> CudaKernel:
    arguments = (Array(0), Array(1), Fixed(n, "i"), Scalar(0), Refused())
    step = Launch("add_number", (-(-n // 64), 1, 1), (64, 1, 1), arguments)
    return CudaKernel("add_number", ADD_TEXT, (step,))


# --------------------------------------------------------------------------------------- devices


def devices() -> None:
    assert not driver.in_use()
    assert driver.missing() is None and driver.device_count() == 2
    assert not driver.in_use()
    first = driver.device(0)
    assert driver.in_use() and driver.device(0) is first and driver.devices() == [first]
    assert first.name == "host emulation of sm_90" and first.capability == (9, 0)
    assert first.total_memory == 1 << 30 and first.multiprocessors == 132 and first.host
    kind = os.environ["LAZYT_CUDA_HOST"]
    assert type(first).__name__.lower().startswith("pycuda" if kind == "1" else kind)
    assert "invalid device ordinal 2: there are 2" in raised(RuntimeError, lambda: driver.device(2))
    assert "invalid device ordinal -1" in raised(RuntimeError, lambda: driver.device(-1))
    free = first.free_memory()
    kept = memory.allocate(1 << 20, first)
    assert first.free_memory() <= free - (1 << 20)
    assert driver.device(1).free_memory() >= (1 << 30) - (1 << 16)
    del kept


def copies_of_every_dtype() -> None:
    draw = np.random.default_rng(0)
    for dtype in dtypes.REAL:
        values = (draw.standard_normal((5, 7)) * 3).astype(dtype.numpy)
        if dtype is dtypes.bfloat16:
            values = round_bfloat16(values)
            values[0, :3] = np.inf, -np.inf, 0
        for later in (False, True):
            given = values.copy()
            x = put(given, dtype, later=later)
            given[:] = 1  # the copy is of the values at the call
            assert x.nbytes == 35 * dtype.itemsize and x.whole and x.contiguous
            same(x, values)
            same(x.view(lambda a: a.T[::-1]), values.T[::-1])
    nan = download(put([np.nan, 1], dtypes.bfloat16))
    assert np.isnan(nan[0]) and nan[1] == 1
    for shape in ((), (0,), (3, 0, 2)):
        values = np.zeros(shape, np.float32)
        x = put(values)
        assert download(x).shape == shape and x.whole
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    same(put(fortran, dtypes.float64), fortran)
    wrong = TensorType.of((4,), float32, "cuda:0")
    assert "(3,)" in raised(ValueError, lambda: upload(np.zeros(3, np.float32), wrong))


# ------------------------------------------------------------------------------ views and copies


def views() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = put(values)
    y = x.view(lambda a: a.transpose(2, 0, 1)[1:])
    assert y.shape == (3, 2, 3) and y.strides == (1, 12, 4) and y.address == x.address + 4
    assert not y.contiguous and not y.whole and y.memory is x.memory
    same(y, values.transpose(2, 0, 1)[1:])
    row = x.view(lambda a: a[1])
    assert row.contiguous and not row.whole and row.address == x.address + 48
    assert x.view(lambda a: a.reshape(6, 4, copy=False)).whole
    nothing = x.view(lambda a: a[:0])
    assert nothing.shape == (0, 3, 4) and download(nothing).shape == (0, 3, 4)
    elsewhere = np.zeros(3, np.float32)
    assert "memory of its array" in raised(ValueError, lambda: x.view(lambda a: elsewhere))
    assert "float32" in raised(ValueError, lambda: x.view(lambda a: a.view(np.int32)))
    late = lambda: x.view(lambda a: a.T.reshape(24, copy=False))
    assert raised(ValueError, late)
    element = x.view(lambda a: a[1, 2, 3, ...])
    assert element.shape == () and download(element) == 23


def random_view(draw: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """A function that views an array of a shape by a permutation, steps and flips."""
    order = draw.permutation(len(shape))
    steps = tuple(slice(None, None, int(draw.choice([1, 1, 2, -1]))) for _ in shape)
    return lambda a: a.transpose(order)[steps]


def strided_copies() -> None:
    draw = np.random.default_rng(1)
    kinds = (dtypes.int8, dtypes.float16, dtypes.bfloat16, int32, dtypes.float64)
    for trial in range(150):
        dtype = kinds[trial % len(kinds)]
        shape = tuple(int(n) for n in draw.integers(1, 6, int(draw.integers(1, 6))))
        values = draw.integers(-100, 100, shape).astype(dtype.numpy)
        change = random_view(draw, shape)
        source = put(values, dtype).view(change)
        expected = change(values)
        if draw.random() < 0.3 and source.shape[0] > 1:  # an expanded source
            source = source.view(lambda a: np.broadcast_to(a[:1], a.shape))
            expected = np.broadcast_to(expected[:1], expected.shape)
        # A target that is a view of something larger, which must not change around it.
        wide = tuple(2 * n for n in source.shape)
        order = draw.permutation(len(wide))
        inverse = np.argsort(order)
        around = np.full([wide[i] for i in order], 7, dtype.numpy)
        inner = tuple(slice(n // 2, n // 2 + n) for n in source.shape)
        place = lambda a, inverse=inverse, inner=inner: a.transpose(inverse)[inner]
        target = put(around, dtype)
        copy_into(target.view(place), source)
        place(around)[...] = expected
        same(target, around)


def transposes() -> None:
    """Through tiles where they pay: two long axes, others around them, ends that fill no tile."""
    draw = np.random.default_rng(2)
    assert arrays.transposed([40, 16], [16, 1], [1, 40]) == 0
    assert arrays.transposed([40, 15], [15, 1], [1, 40]) is None
    assert arrays.transposed([15, 40], [40, 1], [1, 15]) is None
    assert arrays.transposed([40, 40], [40, 1], [80, 1]) is None
    assert arrays.transposed([16, 3, 20], [60, 20, 1], [1, 16, 48]) == 0
    kinds = (dtypes.int8, dtypes.float16, int32, dtypes.float64)
    for trial, (shape, order) in enumerate(
        [
            ((33, 64), (1, 0)),
            ((16, 100), (1, 0)),
            ((3, 20, 35), (0, 2, 1)),
            ((20, 3, 35), (2, 1, 0)),
            ((35, 2, 3, 17), (3, 1, 2, 0)),
            ((2, 17, 3, 40), (2, 0, 3, 1)),
            ((31, 32, 33), (1, 2, 0)),
        ]
    ):
        dtype = kinds[trial % 4]
        values = draw.integers(-100, 100, shape).astype(dtype.numpy)
        x = put(values, dtype)
        turn = lambda a, order=order: a.transpose(order)
        same(x.view(turn), turn(values))
        # Rows from the last to the first, in both, and a target with room around it.
        back = x.view(lambda a: a[::-1]).view(turn)
        same(back, turn(values[::-1]))
        wide = put(np.zeros([n + 3 for n in back.shape]), dtype)
        inner = tuple(slice(1, n + 1) for n in back.shape)
        copy_into(wide.view(lambda a, inner=inner: a[inner]), back)
        expected = np.zeros([n + 3 for n in back.shape], dtype.numpy)
        expected[inner] = turn(values[::-1])
        same(wide, expected)


def copies_that_overlap() -> None:
    values = np.arange(40, dtype=np.float32)
    for to, source in (
        (lambda a: a[1:], lambda a: a[:-1]),
        (lambda a: a[:-1], lambda a: a[1:]),
        (lambda a: a[::-1], lambda a: a),
        (lambda a: a[::2], lambda a: a[:20]),
        (
            lambda a: a.reshape(5, 8, copy=False)[:, 4:],
            lambda a: a.reshape(5, 8, copy=False)[:, :4],
        ),
    ):
        x = put(values)
        copy_into(x.view(to), x.view(source))
        expected = values.copy()
        to(expected)[...] = source(values).copy()
        same(x, expected)
    square = np.arange(36, dtype=np.float32).reshape(6, 6)
    x = put(square)
    copy_into(x.view(lambda a: a.T), x)
    same(x, square.T)


def copies_count_their_launches() -> None:
    x, y = put(np.arange(24.0).reshape(4, 6)), put(np.zeros((4, 6)))
    copy_into(y, x.view(lambda a: a[:, ::-1]))  # compiled by now
    for to, source, expected in (
        (lambda a: a, lambda a: a, 0),
        (lambda a: a.T, lambda a: a.T, 0),  # the same order of memory
        (lambda a: a[1:3], lambda a: a[2:], 0),
        (lambda a: a[:, 1:], lambda a: a[:, 1:], 1),
        (lambda a: a, lambda a: a[:1], 1),
        (lambda a: a[:0], lambda a: a[:0], 0),
    ):
        before = count("launches")
        copy_into(y.view(to), x.view(source))
        assert count("launches") - before == expected
    before = count("copies")
    copy_into(x, x)
    assert count("copies") == before


def axes_merge() -> None:
    assert arrays.coalesce((2, 3, 4), (12, 4, 1), (12, 4, 1)) == ([24], [1], [1])
    assert arrays.coalesce((4, 3), (1, 4), (3, 1)) == ([3, 4], [4, 1], [1, 3])
    assert arrays.coalesce((5, 1, 2), (2, 9, 1), (4, 7, 1)) == ([5, 2], [2, 1], [4, 1])
    assert arrays.coalesce((3, 4), (4, 1), (0, 0)) == ([12], [1], [0])
    assert arrays.coalesce((), (), ()) == ([1], [0], [0])
    eight = np.zeros((3,) * 8, np.int8)
    eight.reshape(-1)[:] = np.arange(3**8) % 127
    x = put(eight, dtypes.int8)
    out = empty(TensorType.of((2,) * 8, dtypes.int8, "cuda:0"))
    copy_into(out, x.view(lambda a: a[(slice(1, None),) * 8]))
    same(out, eight[(slice(1, None),) * 8])
    nine = put(np.zeros((3,) * 9, np.int8), dtypes.int8)
    out = empty(TensorType.of((2,) * 9, dtypes.int8, "cuda:0"))
    part = nine.view(lambda a: a[(slice(1, None),) * 9])
    assert "9 axes: at most 8" in raised(ValueError, lambda: copy_into(out, part))


def copies_that_are_refused() -> None:
    x, y = put(np.zeros((2, 3))), put(np.zeros((2, 3)), int32)
    assert "convert or move" in raised(ValueError, lambda: copy_into(x, y))
    there = put(np.zeros((2, 3)), device=1)
    assert "convert or move" in raised(ValueError, lambda: copy_into(x, there))
    wide = x.view(lambda a: np.broadcast_to(a[:1], (5, 3)))
    assert "same memory" in raised(ValueError, lambda: copy_into(wide, put(np.zeros((5, 3)))))
    raised(ValueError, lambda: copy_into(x, put(np.zeros((3, 2)))))


def the_host_cannot_touch_device_memory() -> None:
    """With LAZYT_FAKE_CUDA_PROTECT=1 this ends with a segmentation fault."""
    x = put(np.arange(3.0))
    same(x, np.arange(3, dtype=np.float32))
    print("copied", flush=True)
    x.geometry.sum()


# ------------------------------------------------------------------------------------- interface


class Lender:
    """An object of another library that shows device memory."""

    def __init__(self, shown: dict[str, Any], holds: Any = None):
        self.__cuda_array_interface__ = shown
        self.holds = holds


def interface() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = put(values)
    told = x.__cuda_array_interface__
    assert told == {
        "version": 3,
        "shape": (3, 4),
        "typestr": "<f4",
        "data": (x.address, False),
        "strides": None,
        "stream": 1,
    }
    turned = x.view(lambda a: a.T[::-1])
    assert turned.__cuda_array_interface__["strides"] == (-4, 16)
    assert put([1], dtypes.bfloat16).__cuda_array_interface__["typestr"] == "<V2"
    for shown, expected in ((x, values), (turned, values.T[::-1])):
        lender = Lender(shown.__cuda_array_interface__, shown)
        taken = arrays.from_interface(lender)
        assert taken.address == shown.address and taken.strides == shown.strides
        same(taken, expected)
    out = empty(TensorType.of((4, 3), float32, "cuda:0"))
    copy_into(out, taken)
    same(out, values.T[::-1])
    references = sys.getrefcount(lender)
    del taken
    memory.accounts(driver.device(0)).collect()
    assert sys.getrefcount(lender) == references - 1
    half = put([[1.5, 2.5]], dtypes.bfloat16)
    same(arrays.from_interface(half), np.array([[1.5, 2.5]], np.float32))
    assert arrays.from_interface(put(np.zeros((0, 2)))).shape == (0, 2)
    base = x.__cuda_array_interface__
    unsigned = Lender({**base, "typestr": "<u4"})
    assert "<u4" in raised(TypeError, lambda: arrays.from_interface(unsigned))
    fixed = Lender({**base, "data": (x.address, True)})
    assert "read-only" in raised(TypeError, lambda: arrays.from_interface(fixed))


# ------------------------------------------------------------------------------------- launching

ARGUMENTS_TEXT = """
struct Row { const float* x; double s; long long n; };
struct Rows { Row row[2]; };
extern "C" __global__ void arguments_first(int i, long long q, unsigned u, float f, double d,
                                           Rows rows, double* scratch) {
    scratch[0] = (double)i + q + u + f + d;
    for (int r = 0; r < 2; r++)
        scratch[1 + r] = rows.row[r].x[rows.row[r].n] * rows.row[r].s;
}
extern "C" __global__ void arguments_second(const double* scratch, float f, double* out) {
    for (int i = 0; i < 3; i++) out[i] = scratch[i - 2] + f;
}
"""


def arguments_of_every_kind() -> None:
    table = Table(
        (
            (Array(0), Scalar(0), Fixed(2, "q")),
            (Array(1), Fixed(0.5, "d"), Fixed(1, "i")),
        )
    )
    numbers = (Fixed(-3, "i"), Fixed(1 << 40, "q"), Fixed(4000000000, "I"), Fixed(0.5, "f"))
    first = (*numbers, Fixed(0.25, "d"), table, Scratch(16))
    one = (1, 1, 1)
    nothing = Launch("arguments_second", (0, 1, 1), one, ())  # a grid that a driver refuses
    kernel = CudaKernel(
        "arguments",
        ARGUMENTS_TEXT,
        (
            Launch("arguments_first", one, one, first),
            nothing,
            Launch("arguments_second", one, one, (Scratch(32), Fixed(1, "f"), Array(2))),
        ),
        scratch=64,
    )
    run = launch.launcher(kernel, driver.device(0))
    x, y = put([1, 2, 3]), put([10, 20])
    out = put(np.zeros(3), dtypes.float64)
    run([x, y, out], [7.0])
    same(out, np.array([-3 + 2**40 + 4000000000 + 0.75 + 1, 22, 11]))
    run([x.view(lambda a: a[:2]), y, out], [7.0])  # another place, bound at each call
    assert memory.memory_allocated(driver.device(0)) == 3 * 512


def packed_bytes() -> None:
    class Place:
        address = 0x1122334455667788

    step = Launch(
        "f",
        (1, 1, 1),
        (1, 1, 1),
        (Fixed(1, "i"), Array(0), Fixed(2, "i"), Fixed(3, "i"), Refused(), Scratch(16)),
    )
    packed = launch.packer(step)((Place,), (), 0x1000, 0x2000)
    words = np.frombuffer(packed, np.uint32).tolist()
    assert words == [1, 0, 0x55667788, 0x11223344, 2, 3, 0x2000, 0, 0x1010, 0]


SHARED_TEXT = """
#ifndef LAZYT_DYNAMIC_SHARED
#define LAZYT_DYNAMIC_SHARED(type, name) \\
    extern __shared__ __align__(16) unsigned char lazyt_dynamic[]; \\
    type* name = reinterpret_cast<type*>(lazyt_dynamic)
#endif
extern "C" __global__ void much_shared(float* out, int n) {
    LAZYT_DYNAMIC_SHARED(float, held);
    for (int i = threadIdx.x; i < n; i += blockDim.x) held[i] = i;
    __syncthreads();
    if (threadIdx.x == 0) out[0] = held[n - 1];
}
"""


def much_shared_memory() -> None:
    n = 25000  # 100,000 bytes: more than a kernel gets unasked
    step = Launch(
        "much_shared", (1, 1, 1), (64, 1, 1), (Array(0), Fixed(n, "i")), shared_bytes=4 * n
    )
    out = put([0.0])
    launch.launcher(CudaKernel("much_shared", SHARED_TEXT, (step,)), driver.device(0))([out], [])
    same(out, np.array([n - 1], np.float32))


def preludes() -> None:
    text = """
extern "C" __global__ void with_prelude(float* y) { y[0] = lz_probe(y[0]); }
"""
    kernel = CudaKernel(
        "with_prelude",
        text,
        (Launch("with_prelude", (1, 1, 1), (1, 1, 1), (Array(0),)),),
        preludes=("probe.h",),
    )
    compiler._prelude = lambda name: (
        f"__device__ float lz_probe(float x) {{ return {len(name)} + x; }}"
    )
    assert compiler.source_of([kernel, kernel]).count("lz_probe(float") == 1
    y = put([1.0])
    launch.launcher(kernel, driver.device(0))([y], [])
    same(y, np.array([8], np.float32))


def refusals() -> None:
    device = driver.device(0)
    run = launch.launcher(add_number(3), device)
    x, y = put([1, 2, 3]), put([0, 0, 0])
    run([x, y], [0.5])
    same(y, np.array([1.5, 2.5, 3.5], np.float32))
    event = streams.Event()
    side = streams.Stream(device)

    def recorded() -> None:
        event.record(streams.current_stream(device))
        event.synchronize()

    nothing = empty(TensorType.of((0,), float32, "cuda:0"))
    for wait in (
        lambda: download(y),
        device.synchronize,
        recorded,
        side.synchronize,
        streams.current_stream(device).synchronize,
        lambda: download(nothing),
    ):
        run([x, y], [2000.0])
        text = raised(IndexError, wait)
        assert text.startswith("an index is out of range (found on the device cuda:0")
        wait()  # only once
    same(y, np.array([2001, 2002, 2003], np.float32))


def faults_are_errors() -> None:
    """With LAZYT_CUDA_CHECK=1."""
    x, y = put([1, 2, 3]), put([0, 0, 0])
    run = launch.launcher(add_number(200), driver.device(0))
    text = raised(RuntimeError, lambda: run([x, y], [1.0]))
    assert text.startswith("CUDA error: ") and "(kernel add_number)" in text
    assert "kernel 'add_number', block (2, 0, 0), thread (" in text and "read of 4 bytes" in text
    launch.launcher(add_number(3), driver.device(0))([x, y], [1.0])
    same(y, np.array([2, 3, 4], np.float32))


# ---------------------------------------------------------------------------------- several devices


def several_devices() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = put(values)
    there = to_device(x.view(lambda a: a.T), 1)
    assert there.device_index == 1 and there.contiguous and to_device(there, 1) is there
    same(there, values.T)
    same(to_device(there, 0), values.T)
    same(to_device(put([1.5], dtypes.bfloat16), 1), np.array([1.5], np.float32))
    assert to_device(put(np.zeros((0, 2))), 1).shape == (0, 2)
    assert memory.memory_allocated(driver.device(1)) == 512
    out = put(np.zeros(12), device=1)
    launch.launcher(add_number(12), driver.device(1))([there, out], [1.0])
    same(out, values.T.reshape(-1) + 1)
    strange = launch.launcher(add_number(12), driver.device(1))
    text = raised(RuntimeError, lambda: strange([x, out], [1.0]))
    assert "argument 0 is memory of another device" in text
    same(put(np.arange(8.0), device=1).view(lambda a: a[::-2]), np.arange(8.0)[::-2])


def threads() -> None:
    failures: list[BaseException] = []
    devices = driver.device_count()
    kept: list[DeviceArray] = []

    def work(number: int) -> None:
        try:
            for step in range(40):
                here, other = number % devices, (number + step) % devices
                x = put(np.full((10, 10), number), device=here)
                y = to_device(x.view(lambda a: a[::2].T), other)
                out = put(np.zeros(50), device=other)
                run = launch.launcher(add_number(50), driver.device(other))
                run([y, out], [float(step)])
                same(out, np.full(50, number + step, np.float32))
            kept.append(x)
        except BaseException as error:
            failures.append(error)

    started = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert failures == [] and len(kept) == 6
    kept.clear()  # of threads that have ended
    for device in driver.devices():
        assert memory.memory_allocated(device) == 0


# ------------------------------------------------------------------------------------------ memory


def memory_is_counted() -> None:
    device = driver.device(0)
    assert memory.memory_allocated(device) == memory.max_memory_allocated(device) == 0
    x, y = memory.allocate(1, device), memory.allocate(513, device)
    nothing = memory.allocate(0, device)
    assert nothing.address == 0 and nothing.nbytes == 0 and (x.nbytes, y.nbytes) == (1, 513)
    assert memory.memory_allocated(device) == 512 + 1024
    del y
    assert memory.memory_allocated(device) == 512
    assert memory.max_memory_allocated(device) == 512 + 1024
    reserved = memory.memory_reserved(device)
    assert reserved >= 512 + 1024
    before = count("allocations")
    y = memory.allocate(600, device)  # what the pool holds
    assert count("allocations") == before
    del y
    memory.reset_peak(device)
    assert memory.max_memory_allocated(device) == 512
    assert memory.max_memory_reserved(device) == reserved
    memory.empty_cache(device)
    assert 512 <= memory.memory_reserved(device) < 1024
    memory.reset_peak(device)
    assert memory.max_memory_reserved(device) == memory.memory_reserved(device)
    del x
    memory.empty_cache(device)
    assert memory.memory_reserved(device) == 0 and count("bytes") <= 4096


def out_of_memory() -> None:
    """With LAZYT_FAKE_CUDA_MEMORY=1048576."""
    device = driver.device(0)
    small = [memory.allocate(100 << 10, device) for _ in range(8)]
    del small
    large = memory.allocate(700 << 10, device)  # what the pool holds had to go first
    kind = memory.OutOfMemoryError
    assert issubclass(kind, RuntimeError)
    text = raised(kind, lambda: memory.allocate(20 << 30, device))
    assert text.startswith("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total ")
    assert "capacity of 1.00 MiB of which " in text and "700.00 KiB is allocated by" in text
    assert "Tried to allocate 400.00 KiB." in raised(
        kind, lambda: memory.allocate(400 << 10, device)
    )

    class Ring:  # dies with a collection only
        pass

    ring = Ring()
    ring.ring, ring.held = ring, large
    gc.disable()
    del ring, large
    again = memory.allocate(900 << 10, device)
    assert memory.memory_allocated(device) == 900 << 10
    del again
    same(put([1.0]), np.array([1], np.float32))  # the process goes on
    assert memory.shown(1) == "1 bytes" and memory.shown(1536) == "1.50 KiB"


# ------------------------------------------------------------------------------ streams and events


def memory_waits_for_streams() -> None:
    device, held = driver.device(0), library()
    free = memory.allocate(4096, device)
    address = free.address
    del free
    free = memory.allocate(4096, device)
    assert free.address == address  # one stream: at once
    side = streams.Stream(device)
    held.lazyt_driver_hold(1)  # events do not pass
    with side:
        del free
        other = memory.allocate(4096, device)
        assert other.address != address
    assert memory.memory_allocated(device) == 4096
    held.lazyt_driver_hold(0)
    again = memory.allocate(4096, device)
    assert again.address == address
    held.lazyt_driver_hold(1)
    del again
    memory.memory_allocated(device)
    memory.empty_cache(device)  # waits for the device instead
    assert memory.memory_reserved(device) < 2 * 4096
    del other
    held.lazyt_driver_hold(0)


def staging_waits_for_its_stream() -> None:
    device, held = driver.device(0), library()
    put(np.zeros(1000), later=True)
    account = memory.accounts(device)
    account.collect()
    live = count("live")
    held.lazyt_driver_hold(1)
    first = put(np.arange(1000), later=True)
    second = put(np.arange(1000) + 1, later=True)
    assert len(account._waiting) == 2  # two stagings, since the first may still be read
    held.lazyt_driver_hold(0)
    account.collect()
    assert len(account._waiting) == 0
    third = put(np.arange(1000) + 2, later=True)
    for i, x in enumerate((first, second, third)):
        same(x, np.arange(1000, dtype=np.float32) + i)
    # Three arrays, one of which had the memory of the first of all; one staging more.
    assert count("live") <= live + 3


def streams_and_events() -> None:
    device = driver.device(0)
    default = streams.current_stream(device)
    assert default == streams.Stream.default(device) and default.handle == 0 and default.query()
    side = streams.Stream(device)
    assert side.handle != 0 and side != default and side.query()
    with side as chosen:
        assert chosen is side and streams.current_stream(device) is side
        assert put([1.0]).__cuda_array_interface__["stream"] == side.handle
        with streams.Stream(device) as inner:
            assert streams.current_stream(device) is inner
        assert streams.current_stream(device) is side
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(streams.current_stream(device)))
        thread.start()
        thread.join()
        assert seen == [default]
    assert streams.current_stream(device) == default
    start, end = streams.Event(timing=True), streams.Event(timing=True)
    assert start.query() and start.device is None
    assert "recorded" in raised(RuntimeError, lambda: start.elapsed_time(end))
    start.record(side)
    time.sleep(0.01)
    end.record(default)
    assert start.device is device and end.query()
    end.synchronize()
    assert 10 <= start.elapsed_time(end) < 10000
    plain = side.record_event()
    assert "enable_timing=True" in raised(RuntimeError, lambda: plain.elapsed_time(end))
    library().lazyt_driver_hold(1)
    assert not plain.query()
    assert "completed" in raised(RuntimeError, lambda: start.elapsed_time(end))
    library().lazyt_driver_hold(0)
    side.wait_event(plain)
    default.wait_event(plain)
    side.wait_stream(default)
    there = driver.device(1)
    streams.current_stream(there).wait_event(plain)
    with streams.Stream(there):
        same(put([1.0], device=1), np.array([1], np.float32))
    made = [streams.Stream(there) for _ in range(streams.LARGEST + 5)]
    assert len({s.handle for s in made}) == streams.LARGEST == len(there.queues)


# --------------------------------------------------------------------------------------- compiling


def kernel_named(name: str, number: int) -> CudaKernel:
    text = f'extern "C" __global__ void {name}(float* y) {{ y[threadIdx.x] = {number}; }}'
    return CudaKernel(name, text, (Launch(name, (1, 1, 1), (3, 1, 1), (Array(0),)),))


def runs(kernel: CudaKernel, number: float, device: int = 0) -> None:
    y = put([0, 0, 0], device=device)
    launch.launcher(kernel, driver.device(device))([y], [])
    same(y, np.full(3, number, np.float32))


def a_batch_is_one_call() -> None:
    kernels = [kernel_named(f"batch{i}", i) for i in range(5)]
    device = driver.device(0)
    compiler.functions(kernels[:4], device)
    assert COUNTERS.compiler_calls == 1
    compiler.functions(kernels, device)  # one lacks
    assert COUNTERS.compiler_calls == 2
    for i, kernel in enumerate(kernels):
        runs(kernel, i)
        runs(kernel, i, device=1)
    assert COUNTERS.compiler_calls == 2


def kernels_are_found_again() -> None:
    """After `a_batch_is_one_call` with the same cache."""
    driver.device(0)
    before = count("modules")
    for i in (3, 1, 4):
        runs(kernel_named(f"batch{i}", i), i)
    assert COUNTERS.compiler_calls == 0
    assert count("modules") == before + 2  # four of the five came from one call


def broken_entries_are_made_anew() -> None:
    """The cache has one kernel, whose entry is broken."""
    runs(kernel_named("batch0", 0), 0)
    assert COUNTERS.compiler_calls == 1


def a_cache_that_takes_nothing() -> None:
    """The folder of the cache is a file."""
    import warnings

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs(kernel_named("unkept", 2), 2)
        runs(kernel_named("unkept_too", 3), 3)
    texts = {str(w.message) for w in told}
    assert len(texts) == len(told) > 0
    assert all(t.startswith("Compiled kernels are not kept for the next run") for t in texts)


def a_kernel_that_does_not_compile() -> None:
    bad = kernel_named("bad", 1)
    bad = CudaKernel(bad.name, bad.text.replace("= 1", "= undefined_name"), bad.launches)
    for _ in range(2):
        text = raised(CompilerError, lambda: launch.launcher(bad, driver.device(0)))
        assert "undefined_name" in text
        path = next(w for w in text.split() if ".cu" in w).split(".cu")[0] + ".cu"
        assert "undefined_name" in Path(path).read_text()
    runs(kernel_named("good", 3), 3)
    gone = CudaKernel("gone", kernel_named("here", 1).text, kernel_named("gone", 1).launches)
    text = raised(CompilerError, lambda: launch.launcher(gone, driver.device(0)))
    assert "cannot be loaded" in text and "not found" in text


def a_compiler_that_hangs() -> None:
    """CXX is a compiler that tells its version and then does not end."""
    from lazyt.runtime.cuda.host import build

    build.TIMEOUT_S = 1
    hangs = lambda: launch.launcher(kernel_named("slow", 1), driver.device(0))
    assert "did not finish in 1 s" in raised(CompilerError, hangs)


# -------------------------------------------------------------------------------------------- fork


def in_child(call: Any) -> int:
    """The status of a forked child that runs a function and then ends as usual."""
    child = os.fork()
    if child == 0:
        call()
        sys.exit(0)
    return os.waitpid(child, 0)[1]


def fork_before_use() -> None:
    assert in_child(lambda: same(put([1.0]), np.array([1], np.float32))) == 0
    same(put([1.0]), np.array([1], np.float32))


def fork_after_use() -> None:
    x = put([1, 2, 3])
    run = launch.launcher(add_number(3), driver.device(0))
    words = "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you "
    words += "must use the 'spawn' start method"

    def child() -> None:
        for use in (
            lambda: download(x),
            lambda: put([1.0]),
            lambda: run([x, x], [1.0]),
            lambda: driver.device(0).synchronize(),
            lambda: driver.device(1),
            lambda: streams.Stream(driver.device(0)),
        ):
            assert raised(RuntimeError, use) == words
        assert driver.device_count() == 2

    assert in_child(child) == 0
    run([x, x], [1.0])
    same(x, np.array([2, 3, 4], np.float32))


# ------------------------------------------------------------------------------------- the end


def use_at_the_end() -> None:
    """A device is used by what runs after the runtime's own handler, and by a finalizer."""
    import atexit

    import __main__

    x = put([1, 2])

    class Late:
        def __del__(self) -> None:
            print("finalizer", download(x).tolist())

    __main__.late = Late()
    atexit._run_exitfuncs()  # the handlers, and then once more something that needs the device
    print("handler", download(x).tolist())


# ------------------------------------------------------------------------------------ torch.cuda


def surface() -> None:
    import lazyt as torch

    cuda = torch.cuda
    assert cuda.is_available() and cuda.device_count() == 2 and not cuda.is_initialized()
    assert cuda.memory_allocated() == 0 and not cuda.is_initialized()
    cuda.init()
    assert cuda.is_initialized() and cuda.is_bf16_supported()
    assert cuda.get_device_capability() == (9, 0) and cuda.get_device_name(1).startswith("host")
    properties = cuda.get_device_properties("cuda:1")
    assert properties.total_memory == 1 << 30 and (properties.major, properties.minor) == (9, 0)
    assert properties.multi_processor_count == 132
    assert cuda.current_device() == 0
    with cuda.device(1):
        assert cuda.current_device() == 1
        with cuda.device(None), cuda.device(torch.device("cuda", 0)):
            assert cuda.current_device() == 0
        assert cuda.current_device() == 1
        x = put(np.zeros(1000), device=1)
        assert cuda.memory_allocated() == 4096 == cuda.max_memory_allocated()
        assert cuda.memory_allocated("cuda:0") == 0
        assert cuda.memory_reserved() >= 4096 and cuda.max_memory_reserved() >= 4096
    del x
    assert (
        cuda.memory_allocated(1) == 0 and cuda.max_memory_allocated(torch.device("cuda:1")) == 4096
    )
    cuda.reset_peak_memory_stats(1)
    assert cuda.max_memory_allocated(1) == 0
    cuda.empty_cache()
    assert cuda.memory_reserved(1) == 0
    free, total = cuda.mem_get_info()
    assert total == 1 << 30 and 0 < free <= total
    cuda.set_device(1)
    assert cuda.current_device() == 1
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(cuda.current_device()))
    thread.start()
    thread.join()
    assert seen == [0]
    cuda.set_device("cuda:0")
    assert "invalid device ordinal 2" in raised(RuntimeError, lambda: cuda.set_device(2))
    assert "Expected a cuda device" in raised(ValueError, lambda: cuda.synchronize("cpu"))
    assert cuda.OutOfMemoryError is memory.OutOfMemoryError
    side = cuda.Stream()
    assert side.device == torch.device("cuda:0") and cuda.current_stream() == cuda.default_stream()
    with cuda.stream(side), cuda.stream(None):
        assert cuda.current_stream() == side and cuda.current_stream().cuda_stream != 0
    assert cuda.current_stream().cuda_stream == 0
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    time.sleep(0.01)
    end.record(side)
    end.synchronize()
    cuda.synchronize()
    assert start.elapsed_time(end) >= 10 and end.query() and end.device == torch.device("cuda:0")
    side.wait_stream(cuda.current_stream())
    side.wait_event(side.record_event())
    side.synchronize()
    assert side.query()
    cuda.manual_seed_all(5)
    assert cuda.initial_seed() == 5 and cuda.default_generators[1].initial_seed() == 5
    cuda.default_generators[0].set_offset(4)
    cuda.manual_seed(6)
    first, second = cuda.get_rng_state_all()
    assert first.tolist() == [6, *[0] * 15] and second.tolist() == [5, *[0] * 15]
    cuda.set_rng_state(second, 0)
    assert cuda.initial_seed() == 5
    accelerator = torch.accelerator
    assert accelerator.is_available() and accelerator.current_accelerator() == torch.device("cuda")
    assert accelerator.device_count() == 2 and accelerator.current_device_index() == 0
    accelerator.synchronize()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
