"""CUDA C on the host: values of hand-written kernels, every kind of fault, the driver under PyCUDA.

The kernels are in tests/cuda/*.cu, in the C that nvcc takes too. In faults.cu the line where a
fault is expected carries its kind as a comment:

    a[0] += 1.0f;  // race
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lazyt.runtime.cuda.driver import missing
from lazyt.runtime.cuda.host import build
from lazyt.runtime.cuda.host.build import compile_host
from lazyt.runtime.cuda.host.launch import HostFault, HostModule

SOURCES = Path(__file__).parent / "cuda"
FAULTS = (SOURCES / "faults.cu").read_text()
ORDERS = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
CHECKS = pytest.mark.parametrize("check", [True, False], ids=["check", "fast"])

pytestmark = pytest.mark.skipif(
    build.cpp_compiler() is None, reason="CUDA C on the host needs a C++ compiler, none was found"
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of this module's own: what is tested is compiled here."""
    folder = tmp_path_factory.mktemp("lazyt-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAZYT_CACHE", str(folder))
        module.cache_clear()
        yield folder
    module.cache_clear()


@functools.cache
def module(name: str, check: bool = True) -> HostModule:
    return HostModule(compile_host((SOURCES / f"{name}.cu").read_text(), check=check))


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def unwritten(shape: int | tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """An output that shows what a kernel left out: NaN in floats, -1 in integers."""
    out: np.ndarray = np.empty(shape, dtype)
    out.view(np.uint8)[...] = 0xFF
    return out


# ----------------------------------------------------------------------------------------- values


@CHECKS
@ORDERS
def test_elementwise(check: bool, reverse: bool) -> None:
    m = module("elementwise", check)
    x, y = normal(1000), normal(2, 500)[1].repeat(2)
    expected = np.float32(3) * x + y
    m.launch("scale_add", 8, 128, (x, y, 3.0, 1000), reverse=reverse)
    np.testing.assert_array_equal(y, expected)
    out = unwritten(1000)
    m.launch("silu", 2, 96, (x, out, 1000), reverse=reverse)
    np.testing.assert_allclose(out, x / (1 + np.exp(-x)), rtol=1e-6)
    out = unwritten(1000)
    m.launch("square4", 3, 32, (x, out, 1000), reverse=reverse)
    np.testing.assert_array_equal(out, x * x)


@ORDERS
def test_indices_and_extents_are_three_dimensional(reverse: bool) -> None:
    out = unwritten(2 * 3 * 2 * 24, np.uint32)
    module("elementwise").launch("positions", (2, 3, 2), (4, 3, 2), (out,), reverse=reverse)
    blocks, threads = np.divmod(np.arange(out.size), 24)
    np.testing.assert_array_equal(out, blocks * 10000 + threads)


def test_parameters_of_every_kind() -> None:
    m, out = module("elementwise"), unwritten(5, np.float64)
    affine = np.array([2, 0.5], np.float32)
    m.launch("parameters", 1, 1, (1.5, affine, True, -(1 << 40), 255, None, out))
    np.testing.assert_array_equal(out, [3.5, 1, -(1 << 40), 255, -1])
    m.launch("parameters", 1, 1, (np.float64(1), affine, 0, np.int64(7), 0, affine, out))
    np.testing.assert_array_equal(out, [2.5, 0, 7, 0, 2])


@CHECKS
@ORDERS
def test_block_reductions(check: bool, reverse: bool) -> None:
    m = module("reductions", check)
    x, out = normal(5, 1000), unwritten(5)
    m.launch("row_sum", 5, 256, (x, out, 1000), reverse=reverse)
    np.testing.assert_allclose(out, x.sum(1, dtype=np.float64), rtol=1e-5)
    x, out = normal(6, 128), unwritten(6)
    m.launch("tree_max", 6, 128, (x, out), shared_bytes=4 * 128, reverse=reverse)
    np.testing.assert_array_equal(out, x.max(1))


@CHECKS
@ORDERS
def test_warps(check: bool, reverse: bool) -> None:
    m = module("reductions", check)
    x = np.random.default_rng(1).integers(-99, 99, (7, 32), np.int32)
    out = unwritten((7, 32), np.int32)
    m.launch("warp_scan", 7, 32, (x, out), reverse=reverse)
    np.testing.assert_array_equal(out, x.cumsum(1))
    y, out = normal(128), unwritten(128)
    m.launch("warp_reverse", 1, 128, (y, out), reverse=reverse)
    np.testing.assert_array_equal(out, y.reshape(4, 32)[:, ::-1].ravel())


@ORDERS
def test_shuffles_of_a_width_and_votes(reverse: bool) -> None:
    x = np.random.default_rng(2).integers(-9, 9, 64, np.int32)
    out = unwritten((64, 12), np.int32)
    module("reductions").launch("votes", 1, 64, (x, out), reverse=reverse)
    expected = np.empty_like(out)
    for t in range(64):
        group, warp = t - t % 8, t - t % 32
        positive = x[warp : warp + 32] > 0
        ballot = int.from_bytes(np.packbits(positive, bitorder="little"), "little", signed=True)
        expected[t] = [
            x[group + 3],
            x[t + 2] if t % 8 < 6 else x[t],
            x[t - 2] if t % 8 >= 2 else x[t],
            ballot,
            positive.any(),
            positive.all(),
            x[t ^ 1] if t % 32 < 16 else x[warp + 16],
            (x > 0).sum(),
            0,
            1,
            x[t ^ 16],
            32,
        ]
    np.testing.assert_array_equal(out, expected)


@CHECKS
@ORDERS
def test_tiled_transpose_and_product(check: bool, reverse: bool) -> None:
    m = module("matrices", check)
    a, out = normal(70, 45), unwritten((45, 70))
    m.launch("transpose", (2, 3), (32, 8), (a, out, 70, 45), reverse=reverse)
    np.testing.assert_array_equal(out, a.T)
    b, out = normal(45, 37), unwritten((70, 37))
    m.launch("matmul", (3, 5), (16, 16), (a, b, out, 70, 37, 45), reverse=reverse)
    np.testing.assert_allclose(out, a.astype(np.float64) @ b, rtol=1e-4, atol=1e-5)


def hard_floats() -> np.ndarray:
    """The halves, their midpoints, the midpoints' neighbours; and floats of every size."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = np.sort(halves[np.isfinite(halves)])
    middles = (finite[1:] + finite[:-1]) / 2
    near = [np.nextafter(middles, np.float32(s)) for s in (-np.inf, np.inf)]
    bits = np.random.default_rng(3).integers(0, 1 << 32, 50000, np.uint32)
    ends = np.array([65519.996, 65520, 1e-8, 3e38, 3.4e38, 3.3961e38, 1e-45], np.float32)
    return np.concatenate([halves, middles, *near, bits.view(np.float32), ends, -ends])


def bfloat16(x: np.ndarray) -> np.ndarray:
    """The bits of float32 numbers rounded to bfloat16, to nearest even."""
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FFF, rounded).astype(np.uint16)


def test_conversions_round_to_nearest_even() -> None:
    m, x = module("small_floats", False), hard_floats()
    out = unwritten(x.size, np.float16)
    m.launch("to_half", 64, 128, (x, out, x.size))
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(out, x.astype(np.float16))
    np.testing.assert_array_equal(np.signbit(out)[~np.isnan(x)], np.signbit(x)[~np.isnan(x)])
    out = unwritten(x.size, np.uint16)
    m.launch("to_bfloat16", 64, 128, (x, out, x.size))
    np.testing.assert_array_equal(out, bfloat16(x))
    every = np.arange(1 << 16, dtype=np.uint16)
    out = unwritten(every.size)
    m.launch("from_half", 64, 128, (every.view(np.float16), out, every.size))
    np.testing.assert_array_equal(out, every.view(np.float16).astype(np.float32))
    m.launch("from_bfloat16", 64, 128, (every, out, every.size))
    np.testing.assert_array_equal(out, (every.astype(np.uint32) << 16).view(np.float32))


def nearest_half(exact: Fraction) -> np.float16:
    """The half closest to a number within their range, the one with an even last bit of two."""
    start = np.float16(float(exact))
    near = [np.nextafter(start, np.float16(s)) for s in (-np.inf, np.inf)]
    candidates = [c for c in (start, *near) if np.isfinite(c)]
    return min(candidates, key=lambda c: (abs(Fraction(float(c)) - exact), c.view(np.uint16) & 1))


def test_half_arithmetic_rounds_once() -> None:
    rng, n = np.random.default_rng(4), 2000
    a, b, c = (rng.normal(size=n) * 2.0 ** rng.integers(-9, 5, n) for _ in range(3))
    a, b, c = (v.astype(np.float16) for v in (a, b, c))
    # Sums that a second rounding would get wrong: a tie but for a last bit far below.
    a[:2], b[:2] = 1 + 2.0**-10, [1 + 2.0**-10, -1 - 2.0**-10]
    c[:2] = [2.0**-11 - 2.0**-20, 2.0**-11]
    out = unwritten(6 * n, np.float16)
    module("small_floats").launch("half_arithmetic", 16, 128, (a, b, c, out, n))
    total, difference, product, quotient, fused, chosen = out.reshape(6, n)
    x, y, z = (v.astype(np.float64) for v in (a, b, c))
    np.testing.assert_array_equal(total, (x + y).astype(np.float16))
    np.testing.assert_array_equal(difference, (x - y).astype(np.float16))
    np.testing.assert_array_equal(product, (x * y).astype(np.float16))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(quotient, (x / y).astype(np.float16))
    np.testing.assert_array_equal(chosen, np.where(x > y, a, -b))
    exact = [Fraction(p) * Fraction(q) + Fraction(r) for p, q, r in zip(x, y, z)]
    np.testing.assert_array_equal(fused, [nearest_half(e) for e in exact])


def test_pairs_and_bfloat16_storage() -> None:
    m = module("small_floats")
    a, b = normal(2, 200).astype(np.float16)
    out = unwritten(200, np.float16)
    m.launch("half2_fma", 1, 100, (a, b, out, 100))
    swapped = a.reshape(100, 2)[:, ::-1].ravel().astype(np.float64)
    exact = a.astype(np.float64) * b + swapped
    np.testing.assert_array_equal(out, exact.astype(np.float16))
    x = normal(300)
    stored, out = bfloat16(x), unwritten(300, np.uint16)
    m.launch("bfloat16_scale", 3, 100, (stored, out, 1.7, 300))
    kept = (stored.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(out, bfloat16(kept * np.float32(1.7)))


@CHECKS
@ORDERS
def test_atomics(check: bool, reverse: bool) -> None:
    m = module("atomics", check)
    x = np.random.default_rng(5).integers(0, 64, 3000, np.int32)
    bins = np.zeros(64, np.int32)
    m.launch("histogram", 4, 128, (x, bins, 3000), reverse=reverse)
    np.testing.assert_array_equal(bins, np.bincount(x, minlength=64))
    f, d = np.zeros(1, np.float32), np.zeros(1)
    i, u = np.zeros(3, np.int32), np.array([0, 0, 5], np.uint32)
    wide = np.zeros(2, np.uint64)
    m.launch("atomics", 2, 64, (f, d, i, u, wide), reverse=reverse)
    assert (f[0], d[0]) == (64, 32)
    assert i.tolist() == [128 * 127 // 2, 127, -127]
    assert u.tolist() == [256, 7, 9]
    assert wide.tolist() == [128 << 33, 127 << 40]
    total, counter = unwritten(1, np.int32), np.zeros(1, np.uint32)
    m.launch("last_block", 50, 32, (x, unwritten(50, np.int32), counter, total), reverse=reverse)
    assert total[0] == x[:50].sum()


def aligned(x: np.ndarray, dtype: type | None = None) -> np.ndarray:
    """A copy at an address that matrices may be loaded from."""
    x = np.ascontiguousarray(x, dtype)
    memory = np.empty(x.nbytes + 32, np.uint8)
    start = -memory.ctypes.data % 32
    made = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    made[...] = x
    return made


@CHECKS
@ORDERS
@pytest.mark.parametrize("kernel, m, n, k", [
    ("half_rr", 16, 16, 16), ("half_cr", 32, 8, 16), ("half_rc", 8, 32, 16),
    ("bfloat16_cc", 16, 16, 16), ("bfloat16_rr", 8, 32, 16), ("tf32_rc", 16, 16, 8),
])  # fmt: skip
def test_matrices_of_a_warp(
    kernel: str, m: int, n: int, k: int, check: bool, reverse: bool
) -> None:
    """2 (a b + c) in every type; operands row-major or column-major, c column-major."""
    rng, columns = np.random.default_rng(7), {"r": False, "c": True}
    # Few bits, so that every sum is exact; with bits that tf32 has not, which must not count.
    a, b, c = (rng.integers(-8, 9, shape) / 4 for shape in ((m, k), (k, n), (m, n)))
    given = [x.T if columns[letter] else x for x, letter in zip((a, b), kernel[-2:])]
    if kernel.startswith("half"):
        operands = [x.astype(np.float16) for x in given]
    elif kernel.startswith("bfloat16"):
        operands = [bfloat16(x.astype(np.float32)) for x in given]
    else:
        operands = [np.ascontiguousarray(x, np.float32) for x in given]
        operands = [x + (x != 0) * np.spacing(x) * np.float32(0x1FFF) for x in operands]
    kind = np.float16 if kernel == "half_rc" else np.float32
    d = aligned(unwritten((m, n), kind))
    arguments = [*map(aligned, operands), aligned(c.T, kind), d]
    module("fragments", check).launch(kernel, 1, 32, arguments, reverse=reverse)
    np.testing.assert_array_equal(d, 2 * (a @ b + c))


def test_tf32_has_ten_bits_of_mantissa() -> None:
    x = hard_floats()
    out = unwritten(x.size)
    module("fragments", False).launch("to_tf32", -(-x.size // 128), 128, (x, out, x.size))
    finite = np.isfinite(x)
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x1000) & ~np.uint64(0x1FFF)).astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(out, np.where(finite, rounded, x))
    near = finite & (np.abs(x) > 1e-37) & (np.abs(x) < 3.4e38)
    wide = x[near].astype(np.float64)
    assert (np.abs(out[near] - wide) <= 2.0**-11 * np.abs(wide)).all()


def test_functions_against_numpy() -> None:
    x = np.concatenate([np.linspace(-7.9, 7.9, 400), [0.0, -0.0]]).astype(np.float32)
    v, names = x.astype(np.float64), ("functions", "integers")
    m, out = module(names[0]), unwritten((47, x.size))
    m.launch("functions", 4, 128, (x, out, x.size))
    a, unit = np.abs(v) + 0.01, v / 8
    erf, erfc, lgamma = (np.vectorize(f) for f in (math.erf, math.erfc, math.lgamma))
    expected = [
        np.exp(v), np.exp(v), np.exp2(v), np.expm1(v), np.log(a), np.log2(a), np.log1p(a),
        np.sin(v), np.cos(v), np.tan(v), np.tanh(v), np.sinh(v), np.cosh(v), np.arctan(v),
        np.arcsin(unit), np.arccos(unit), np.arctan2(v, 2), np.arcsinh(v), np.arctanh(unit),
        np.sqrt(a), 1 / np.sqrt(a), np.cbrt(v), a**1.5, erf(v), erfc(v), None,
        v * v + 1, np.minimum(v, 1), v, np.floor(v), np.ceil(v), np.trunc(v),
        np.rint(v), np.trunc(v + np.copysign(0.5, v)), np.fmod(v, 1.5), np.copysign(1, v),
        np.hypot(v, 3), lgamma(a), v / 3, np.clip(v, 0, 1), np.maximum(v, 0.5), v,
        -v, np.zeros_like(v), v, np.sin(np.pi * v), erfc(-v / np.sqrt(2)) / 2,
    ]  # fmt: skip
    for row, (got, want) in enumerate(zip(out, expected, strict=True)):
        if want is None:
            np.testing.assert_allclose(erf(got.astype(np.float64)), unit, rtol=1e-6, atol=1e-7)
        else:
            np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-7, err_msg=f"row {row}")


def test_integer_functions() -> None:
    p, q = np.random.default_rng(6).integers(0, 1 << 32, (2, 200), np.uint32)
    p[:3], q[:3] = [0, 1, 0xFFFFFFFF], [0, 0xFFFFFFFF, 0x80000000]
    out = unwritten((11, 200), np.uint32)
    module("functions").launch("integers", 2, 128, (p, q, out, 200))
    for got, a, b in zip(out.T.tolist(), p.tolist(), q.tolist()):
        signed = max(a - (a >> 31 << 32), b - (b >> 31 << 32))
        assert got == [
            a * b >> 32,
            a.bit_count(),
            32 - a.bit_length(),
            int(f"{a:032b}"[::-1], 2),
            (a & -a).bit_length(),
            min(a, b),
            signed % (1 << 32),
            ((b << 32 | a) << 5 >> 32) % (1 << 32),
            a.bit_count() + b.bit_count(),
            round(a % 1000 / 2),
            1,
        ]


# ----------------------------------------------------------------------------------------- faults


def expected_fault(kernel: str) -> tuple[list[str], list[int]]:
    """The kinds that faults.cu tells for a kernel (the order decides which), and the lines."""
    start = FAULTS.index(f" {kernel}(")
    end = FAULTS.find('extern "C"', start)
    first = FAULTS.count("\n", 0, start) + 1
    told = [
        (m[1], first + i)
        for i, text in enumerate(FAULTS[start:end].splitlines())
        if (m := re.search(r";\s+// ([a-z ]+)$", text))
    ]
    return told[0][0].split(" or "), [line for _, line in told]


def provoke(m: HostModule, kernel: str, reverse: bool) -> HostFault:
    """Launches a kernel of faults.cu with 64 threads and gives the fault it raises."""
    a = np.arange(64, dtype=np.float32)
    fixed = np.arange(64, dtype=np.float32)
    fixed.flags.writeable = False
    args: dict[str, tuple] = {
        "shared_past_end": (a, 1),
        "shared_before_start": (a, 1),
        "global_past_end": (fixed, a, 64),
        "atomic_past_end": (a, 64),
        "partial_vote": (np.zeros(64, np.int32),),
        "divides": (np.zeros(64, np.int32),),
        "null_pointer": (None,),
        "read_only": (fixed,),
        "stale": (np.zeros(128, np.float32),),
    }
    grid = {"stale": 2, "blocks_overlap": 2, "global_past_end": 2}.get(kernel, 1)
    block = 32 if kernel == "blocks_overlap" else 64
    shared = 63 * 4 if kernel == "dynamic_past_end" else 0
    with pytest.raises(HostFault) as caught:
        m.launch(kernel, grid, block, args.get(kernel, (a,)), shared, reverse)
    return caught.value


NOT_HERE = {"none", "bounded"}
if platform.machine() not in ("x86_64", "AMD64"):
    NOT_HERE.add("divides")  # other processors go on after a division by zero
EVERY_FAULT = [k for k in build.kernels(FAULTS) if k not in NOT_HERE]
# What is found without a look at every access: guards, barriers, shuffles, traps.
WITHOUT_CHECKS = [
    k
    for k in EVERY_FAULT
    if expected_fault(k)[0][0] in ("barrier", "warp", "shared bounds", "trap", "assert")
    or k == "null_pointer"
]


@ORDERS
@pytest.mark.parametrize("kernel", EVERY_FAULT)
def test_each_fault_is_found_in_both_orders(kernel: str, reverse: bool) -> None:
    kinds, lines = expected_fault(kernel)
    fault = provoke(module("faults"), kernel, reverse)
    assert fault.kind in kinds, str(fault)
    assert fault.kernel == kernel and f"kernel '{kernel}'" in str(fault)
    assert re.search(r"block \(\d+, 0, 0\), thread \(\d+, 0, 0\): ", str(fault))
    if fault.kind != "trap" and shutil.which("addr2line"):
        assert fault.line in lines, str(fault)


@ORDERS
@pytest.mark.parametrize("kernel", WITHOUT_CHECKS)
def test_faults_found_without_checks(kernel: str, reverse: bool) -> None:
    fault = provoke(module("faults", False), kernel, reverse)
    assert [fault.kind] == expected_fault(kernel)[0], str(fault)


@CHECKS
def test_a_launch_after_a_fault_runs(check: bool) -> None:
    m = module("faults", check)
    for kernel in ("exit_before_barrier", "half_warp", "two_barriers", "traps", "asserts"):
        provoke(m, kernel, False)
        a = np.arange(64, dtype=np.float32)
        m.launch("none", 1, 64, (a,))
        np.testing.assert_array_equal(a, np.arange(64)[::-1])


def test_messages_name_what_was_touched() -> None:
    m = module("faults")
    told = {
        "shared_past_end": "thread (63, 0, 0): write of 4 bytes at byte 256 of shared array "
        "'tile', which has 256 bytes",
        "shared_before_start": "thread (0, 0, 0): write of 4 bytes at byte -4 of shared "
        "array 'tile'",
        "uninitialised": "thread (5, 0, 0): read of 4 bytes at byte 20 of shared array 'tile', "
        "which no thread of the block has written yet",
        "global_past_end": "block (1, 0, 0), thread (0, 0, 0): read of 4 bytes at byte 256 of "
        "'argument 0', which has 256 bytes",
        "missing_barrier": "races with a write by thread (0, 0, 0): no barrier orders them",
        "blocks_overlap": "races with a write by a thread of another block",
        "exit_before_barrier": "thread (40, 0, 0): exited while thread (0, 0, 0) waits at "
        "the barrier",
        "half_warp": "thread (16, 0, 0): exited while thread (0, 0, 0) waits for its lane 16 at "
        "__shfl_xor_sync",
    }
    for kernel, text in told.items():
        assert text in str(provoke(m, kernel, False))


def test_a_block_that_fills_no_warp() -> None:
    fault = None
    try:
        module("reductions").launch(
            "votes", 1, 48, (np.zeros(64, np.int32), np.zeros(768, np.int32))
        )
    except HostFault as caught:
        fault = caught
    assert fault is not None and fault.kind == "warp"
    assert "names lane 16; the block has 48 threads" in str(fault)


def test_launches_that_no_device_takes() -> None:
    m, a = module("faults"), np.zeros(2048, np.float32)
    for kernel, grid, block, shared in (
        ("none", 1, 1025, 0),
        ("none", 1, (8, 1, 65), 0),
        ("none", (1, 65536), 32, 0),
        ("none", 0, 32, 0),
        ("none", 1, 32, 227 * 1024),
        ("bounded", 1, 96, 0),
    ):
        with pytest.raises(HostFault) as caught:
            m.launch(kernel, grid, block, (a,), shared)
        assert caught.value.kind == "launch"
    assert m.static_shared("none") == 256


def test_a_deep_stack_is_told() -> None:
    source = """
        __device__ __attribute__((noinline)) float deep(float* a, int n) {
            volatile float big[512];
            for (int i = 0; i < 512; i++) big[i] = n;
            return n ? deep(a, n - 1) + big[n] : a[0];
        }
        extern "C" __global__ void nested(float* a) { a[threadIdx.x] = deep(a, 34); }
    """
    m = HostModule(compile_host(source, check=False))
    with pytest.raises(HostFault, match="more than 65536 bytes of stack"):
        m.launch("nested", 1, 1, (np.zeros(1, np.float32),))


def test_arguments_that_do_not_fit() -> None:
    m = module("elementwise")
    x = normal(8)
    for args, error in (
        ((x, x.copy(), 1.0), TypeError),
        ((x, x.astype(np.float64), 1.0, 8), TypeError),
        ((x, x.astype(np.int32), 1.0, 8), TypeError),
        ((x, 12345, 1.0, 8), TypeError),
        ((x, x.copy(), "1", 8), TypeError),
        ((x, x.copy(), 1.0, 8.0), TypeError),
        ((x, x.copy(), 1.0, 1 << 31), OverflowError),
    ):
        with pytest.raises(error):
            m.launch("scale_add", 1, 8, args)
    with pytest.raises(KeyError, match="no kernel 'other'"):
        m.launch("other", 1, 8, ())


ASAN_SCRIPT = """
import sys
import numpy as np
from pathlib import Path
from lazyt.runtime.cuda.host.build import compile_host
from lazyt.runtime.cuda.host.launch import HostModule
m = HostModule(compile_host(Path(sys.argv[1]).read_text(), sanitize=True))
a, x = np.arange(64, dtype=np.float32), np.arange(64, dtype=np.float32)
m.launch("none", 1, 64, (a,))
assert (a == x[::-1]).all()
args = {"global_past_end": (x, a, 64), "shared_past_end": (a, 1)}.get(sys.argv[2], (a,))
print("launching", flush=True)
m.launch(sys.argv[2], 2, 64, args, 252)
"""


def test_the_header_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the copy of the header lies its compiled form; a broken one is made anew."""
    if "clang" in build._version(build.cpp_compiler()):
        pytest.skip("clang does not look for compiled headers itself")
    monkeypatch.setenv("LAZYT_CACHE", str(tmp_path))
    source = 'extern "C" __global__ void set(float* a) { a[threadIdx.x] = %d; }'

    def run(number: int) -> Path:
        a = np.zeros(3, np.float32)
        HostModule(compile_host(source % number, check=False)).launch("set", 1, 3, (a,))
        assert a.tolist() == [number] * 3
        (found,) = tmp_path.rglob("*.gch")
        return found

    first = run(1)
    made = first.stat().st_mtime_ns
    assert run(2) == first and first.stat().st_mtime_ns == made
    content = first.read_bytes()
    first.write_bytes(content[: len(content) // 2])
    a = np.zeros(3, np.float32)
    HostModule(compile_host(source % 3, check=False)).launch("set", 1, 3, (a,))
    assert a.tolist() == [3.0] * 3 and not first.exists()
    run(4)
    assert first.stat().st_size > len(content) // 2


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[: len(content) // 2],
    "other bytes": lambda content: bytes(200) + content[200:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_cache_is_made_again(damage: str, tmp_path: Path) -> None:
    """Images, sources, headers and the driver: a loader would end the process with some."""
    program = "import lazyt as t; print((t.ones(5, device='cuda') * 3).exp().sum().item() // 1)"
    env = os.environ | {"LAZYT_CUDA_HOST": "ctypes", "LAZYT_CACHE": str(tmp_path)}

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
        )
        return f"{done.stdout}{done.stderr}{done.returncode}"

    assert run() == "100.0\n0"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {".cubin", ".cu", ".so", ".h", ".1"} <= {file.suffix for file in files}
    for file in files:
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(DAMAGE[damage](content))
    assert run() == "100.0\n0"


@pytest.mark.parametrize("kernel", ["global_past_end", "shared_past_end", "dynamic_past_end"])
def test_address_sanitizer(kernel: str) -> None:
    try:
        variables = build.sanitizer_environment()
    except RuntimeError as missing:
        pytest.skip(str(missing))
    source = str(SOURCES / "faults.cu")
    compile_host(FAULTS, sanitize=True)  # outside of the process that is watched
    done = subprocess.run(
        [sys.executable, "-c", ASAN_SCRIPT, source, kernel],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "launching" in done.stdout, done.stderr
    assert done.returncode != 0 and "ERROR: AddressSanitizer" in done.stderr
    assert f"in {kernel}" in done.stderr or "symbolize=0" in variables["ASAN_OPTIONS"]


def test_a_sanitized_module_is_refused_without_the_library() -> None:
    if hasattr(ctypes.CDLL(None), "__asan_init"):
        pytest.skip("this process has the address sanitizer")
    with pytest.raises(RuntimeError, match="from the start of the process"):
        HostModule(Path("made.sanitize.so"))


# -------------------------------------------------------------------------------------- compiling


def test_kernels_of_a_source() -> None:
    source = """
        // extern "C" __global__ void commented(int n);
        const char* text = "__global__ void quoted(";
        extern "C" __global__ void plain(int n) {}
        extern "C" __global__ void __launch_bounds__(128) bounded(int n) {}
        extern "C" __global__ __launch_bounds__(64, 2)
        void earlier(int n) {}
    """
    assert build.kernels(source) == {"plain": "1024", "bounded": "128", "earlier": "64"}
    with pytest.raises(ValueError, match="defines no kernel"):
        compile_host("int f() { return 1; }")


def test_compiled_files_are_kept(cache: Path) -> None:
    source = 'extern "C" __global__ void one(int* a) { a[0] = 1; }'
    first = compile_host(source)
    written = first.stat().st_mtime_ns
    assert compile_host(source) == first and first.stat().st_mtime_ns == written
    assert first.is_relative_to(cache)
    others = {compile_host(source, check=False), compile_host(source + " "), first}
    assert len(others) == 3
    assert not list((cache / "cuda-host").glob("tmp*")), "temporary files were left"


def test_a_compile_error_shows_the_source(cache: Path) -> None:
    with pytest.raises(build.HostCompileError) as caught:
        compile_host('extern "C" __global__ void bad(float* a) {\n    a[0] = undefined_name;\n}')
    assert "undefined_name" in str(caught.value)
    path = re.search(r"(\S+\.cu):2:", str(caught.value))
    assert path and "undefined_name" in Path(path[1]).read_text()


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.cu")), ids=lambda p: p.stem)
def test_nvcc_takes_the_same_sources(path: Path, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    made = tmp_path / "kernels.cubin"
    command = [nvcc, "-arch=sm_90", "-cubin", "-o", str(made), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert made.stat().st_size


# ------------------------------------------------------------------------------------- the driver


@pytest.fixture(scope="module")
def driver() -> ctypes.CDLL:
    if build.c_compiler() is None:
        pytest.skip("the driver for the host needs a C compiler, none was found")
    missing()  # what this process takes for a driver is settled before the library poses as one
    library = ctypes.CDLL(str(build.fake_driver()))
    library.lazyt_driver_count.restype = ctypes.c_size_t
    library.lazyt_driver_limit.argtypes = [ctypes.c_size_t]
    library.cuMemFree_v2.argtypes = [ctypes.c_uint64]
    library.cuMemcpyHtoD_v2.argtypes = [ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t]
    assert library.cuInit(0) == 0
    context = ctypes.c_void_p()
    assert library.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert library.cuCtxPushCurrent_v2(context) == 0
    return library


def test_driver_memory_is_limited_and_counted(driver: ctypes.CDLL) -> None:
    counts = {n: driver.lazyt_driver_count(n.encode()) for n in ("live", "allocations", "bytes")}
    driver.lazyt_driver_limit(1000)
    first, second = ctypes.c_uint64(), ctypes.c_uint64()
    assert driver.cuMemAlloc_v2(ctypes.byref(first), ctypes.c_size_t(600)) == 0
    assert driver.cuMemAlloc_v2(ctypes.byref(second), ctypes.c_size_t(600)) == 2
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    assert driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    assert (free.value, total.value) == (400, 1000)
    assert driver.lazyt_driver_count(b"live") == counts["live"] + 1
    assert driver.lazyt_driver_count(b"allocations") == counts["allocations"] + 1
    assert driver.lazyt_driver_count(b"bytes") == counts["bytes"] + 600
    assert ctypes.string_at(first.value, 600) == b"\xff" * 600
    assert driver.cuMemcpyHtoD_v2(first.value + 590, b"x" * 11, 11) == 1
    assert driver.cuMemcpyHtoD_v2(first.value + 590, b"x" * 10, 10) == 0
    assert driver.cuMemFree_v2(first.value + 1) == 1
    assert driver.cuMemFree_v2(first.value) == 0
    assert driver.cuMemFree_v2(first.value) == 1
    driver.lazyt_driver_limit(1 << 30)
    assert driver.lazyt_driver_count(b"other") == ctypes.c_size_t(-1).value


def test_driver_error_strings_are_always_written(driver: ctypes.CDLL) -> None:
    for code, text in ((2, "out of memory"), (719, "unspecified launch failure"), (12345, "unrec")):
        shown = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(shown))
        assert shown.value is not None and shown.value.decode().startswith(text)


def with_pycuda(script: str, **variables: str) -> dict:
    """What a script that runs PyCUDA on the host's driver prints, as JSON.

    In a process of its own: no other test shall find a CUDA device.
    """
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("PyCUDA is not installed: .ci/pycuda.sh PYTHON builds it")
    start = """
        import json, ctypes
        from pathlib import Path
        import numpy as np
        import pycuda.driver as cuda
        import pycuda.tools
        from lazyt.runtime.cuda.host import build
        cuda.init()
        context = cuda.Device(0).retain_primary_context()
        context.push()
        library = ctypes.CDLL("libcuda.so.1")
        library.lazyt_driver_count.restype = ctypes.c_size_t
        count = lambda name: library.lazyt_driver_count(name.encode())
        def load(name):
            text = (Path(SOURCES) / f"{name}.cu").read_text()
            return cuda.module_from_buffer(build.compile_host(text).read_bytes())
    """
    end = """
        cuda.Context.pop()
        print(json.dumps(result))
    """
    text = f"SOURCES = {str(SOURCES)!r}\n" + "".join(map(textwrap.dedent, (start, script, end)))
    folders = [str(build.fake_driver().parent), os.environ.get("LD_LIBRARY_PATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders)), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_pycuda_device_and_memory() -> None:
    result = with_pycuda("""
        device = cuda.Device(0)
        x = np.arange(1000, dtype=np.float32)
        back, there = np.empty_like(x), cuda.mem_alloc(x.nbytes)
        stream, start, end = cuda.Stream(), cuda.Event(), cuda.Event()
        pinned = cuda.pagelocked_empty(1000, np.float32)
        pinned[:] = x
        start.record(stream)
        cuda.memcpy_htod_async(there, pinned, stream)
        cuda.memcpy_dtoh_async(back, there, stream)
        end.record(stream)
        end.synchronize(); stream.synchronize()
        stream.wait_for_event(end)
        second = cuda.mem_alloc(x.nbytes)
        cuda.memcpy_dtod(second, there, x.nbytes)
        cuda.memset_d32(there, 7, 1000)
        seven = np.empty(1000, np.int32)
        cuda.memcpy_dtoh(seven, there)
        copied = np.empty_like(x)
        cuda.memcpy_dtoh(copied, second)
        attribute = cuda.device_attribute
        result = dict(
            capability=device.compute_capability(), version=cuda.get_driver_version(),
            warp=device.get_attribute(attribute.WARP_SIZE), total=device.total_memory(),
            equal=bool((back == x).all() and (copied == x).all() and (seven == 7).all()),
            done=end.query() and stream.is_done(), elapsed=end.time_since(start) >= 0,
            live=count("live"), info=cuda.mem_get_info())
    """)
    assert result["capability"] == [9, 0] and result["warp"] == 32 and result["version"] == 13000
    assert result["equal"] and result["done"] and result["elapsed"]
    assert result["total"] == 1 << 30 and result["live"] == 3
    assert result["info"] == [(1 << 30) - 2 * 4000, 1 << 30]  # pinned memory is the host's


def test_pycuda_launches() -> None:
    result = with_pycuda("""
        module = load("elementwise")
        add = module.get_function("scale_add")
        x, y = np.arange(500, dtype=np.float32), np.ones(500, np.float32)
        expected = 3 * x + y
        add(cuda.In(x), cuda.InOut(y), np.float32(3), np.int32(500), block=(128, 1, 1), grid=(4, 1))
        plain = bool((y == expected).all())
        dx, dy = cuda.to_device(x), cuda.to_device(y)
        add.prepare("PPfi")
        stream = cuda.Stream()
        add.prepared_async_call((4, 1), (128, 1, 1), stream, dx, dy, 2.0, 500)
        add.prepared_call((4, 1), (128, 1, 1), dx, dy, 1.0, 500)
        out = np.empty_like(y)
        cuda.memcpy_dtoh(out, dy)
        prepared = bool((out == expected + 2 * x + x).all())

        reductions = load("reductions")
        best = reductions.get_function("tree_max")
        out = np.zeros(2, np.float32)
        best(cuda.In(x), cuda.Out(out), block=(128, 1, 1), grid=(2, 1), shared=512)
        best.set_attribute(cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, 200 << 10)

        atomics = load("atomics")
        weights, size = atomics.get_global("weights")
        cuda.memcpy_htod(weights, np.float32([1, 2, 3, 4]))
        out4 = np.zeros(4, np.float32)
        atomics.get_function("weigh")(cuda.Out(out4), block=(32, 1, 1))
        silu = module.get_function("silu")
        result = dict(
            plain=plain, prepared=prepared, shared=out.tolist(), size=size, weights=out4.tolist(),
            launches=count("launches"), bounds=silu.max_threads_per_block,
            static=reductions.get_function("row_sum").shared_size_bytes)
    """)
    assert result["plain"] and result["prepared"] and result["shared"] == [127, 255]
    assert result["size"] == 16 and result["weights"] == [1, 2, 3, 4]
    assert result["launches"] == 5 and result["bounds"] == 256 and result["static"] == 128


def test_pycuda_pools_and_memory_that_ends() -> None:
    script = """
        pool = pycuda.tools.DeviceMemoryPool()
        a = pool.allocate(100000)
        first = count("allocations")
        a.free()
        b = pool.allocate(100000)
        reused = count("allocations") == first
        try:
            pool.allocate(1 << 20)
            failed = ""
        except cuda.MemoryError as error:
            failed = str(error)
        b.free(); pool.free_held()
        pinned = pycuda.tools.PageLockedMemoryPool()
        page = pinned.allocate((100,), np.float32)
        page[:] = 1
        result = dict(reused=reused, failed=failed, live=count("live"), peak=count("peak"))
    """
    result = with_pycuda(script, LAZYT_FAKE_CUDA_MEMORY=str(1 << 20))
    assert result["reused"] and "out of memory" in result["failed"]
    assert result["live"] == 1 and 100000 <= result["peak"] < 1 << 20


@ORDERS
def test_pycuda_tells_faults(reverse: bool) -> None:
    script = """
        module, told = load("faults"), {}
        there = cuda.mem_alloc(256)
        extra = {"atomic_past_end": (64,)}
        for name in ("lost_update", "half_warp", "atomic_past_end", "uninitialised"):
            cuda.memset_d32(there, 0, 64)
            try:
                module.get_function(name)(there, *map(np.int32, extra.get(name, ())),
                    block=(64, 1, 1))
            except cuda.LaunchError as error:
                told[name] = str(error)
        module.get_function("none")(there, block=(64, 1, 1))
        try:
            module.get_function("bounded")(there, block=(96, 1, 1))
        except cuda.LogicError as error:
            told["bounded"] = str(error)
        try:
            cuda.module_from_buffer(b"not a module" * 10)
        except cuda.Error as error:
            told["image"] = str(error)
        result = told
    """
    order = {"LAZYT_FAKE_CUDA_REVERSE": "1"} if reverse else {}
    told = with_pycuda(script, LAZYT_FAKE_CUDA_RACES="1", **order)
    assert "kernel 'lost_update'" in told["lost_update"] and "races with" in told["lost_update"]
    assert "no thread of the block has written" in told["uninitialised"]
    assert f"thread ({47 if reverse else 16}, 0, 0)" in told["half_warp"]
    assert "__shfl_xor_sync" in told["half_warp"]
    assert "of 'device memory', which has 256 bytes" in told["atomic_past_end"]
    assert "invalid argument" in told["bounded"]
    assert "image is invalid" in told["image"]
