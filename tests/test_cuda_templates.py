"""Matrix products in CUDA C: values on the host with checks, and what nvcc says of them.

Tolerances are those of the arithmetic: a sum of k products in a type with unit roundoff u differs
from the exact one by at most (k + 1) u times the sum of the products' absolute values (Higham 2002,
"Accuracy and Stability of Numerical Algorithms", 3.1), whatever the order.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cuda_kernels import Resources, host_module, launch, nvcc, resources_of

from lazyt.codegen.launches import CudaKernel
from lazyt.codegen.loops import Apply, Load, Number, Param, Store
from lazyt.codegen.templates import Product, matmul, tiles, ways
from lazyt.codegen.templates import build as templates_build
from lazyt.codegen.templates.tiles import Tile
from lazyt.runtime.cuda.host import build
from lazyt.runtime.cuda.host.launch import HostModule

needs_host = pytest.mark.skipif(
    build.cpp_compiler() is None, reason="CUDA C on the host needs a C++ compiler, none was found"
)
needs_nvcc = pytest.mark.skipif(nvcc() is None, reason="no nvcc was found")
ORDERS = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "tf32": 2.0**-11}
UNIT |= {"float16": 2.0**-11, "bfloat16": 2.0**-8}
SUM_UNIT = {"float64": UNIT["float64"]}  # else float32's
SMALLEST = {"float16": 2.0**-25}  # half of the smallest number, where rounding is not relative


# --- numbers of every dtype as arrays -------------------------------------------------------------


def encode(x: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers in memory: bfloat16 as its bits, rounded to nearest even."""
    if dtype != "bfloat16":
        return x.astype(dtype)
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def decode(x: np.ndarray) -> np.ndarray:
    """Memory as numbers in float64; uint16 is bfloat16."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64)


@dataclass
class Operand:
    """memory: flat. strides: of its shape. value: what it holds, in float64."""

    memory: np.ndarray
    strides: tuple[int, ...]
    value: np.ndarray


def operand(
    shape: tuple[int, ...], dtype: str, seed: int, order: str = "rows", offset: int = 0
) -> Operand:
    """Random numbers. order: "rows", "columns" (the last two axes exchanged in memory), "spread"
    (every second element), "broadcast" (batch axes of one matrix). offset: elements before them."""
    rank = len(shape)
    kept = list(range(rank))
    if order == "columns":
        kept[-2:] = kept[-1], kept[-2]
    extents = [1 if order == "broadcast" and i < rank - 2 else shape[i] for i in kept]
    size = int(np.prod(extents)) * (2 if order == "spread" else 1)
    numbers = np.random.default_rng(seed).normal(size=size + offset)
    memory = encode(numbers, dtype)[offset:]
    step, strides = (2 if order == "spread" else 1), [0] * rank
    for i, extent in zip(reversed(kept), reversed(extents)):
        strides[i] = 0 if extent == 1 and shape[i] > 1 else step
        step *= extent
    flat = decode(memory)
    view = np.lib.stride_tricks.as_strided(flat, shape, [8 * s for s in strides])
    return Operand(memory, tuple(strides), view)


def empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An output full of nan."""
    kept = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    return np.full(math.prod(shape) * kept.itemsize, 0xFF, np.uint8).view(kept).reshape(shape)


# --- cases ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A product with its operands' layouts. tile: the one to use, else the table's choice."""

    dtype: str
    m: int
    n: int
    k: int
    batch: tuple[int, ...] = ()
    a: str = "rows"
    b: str = "rows"
    tile: Tile | None = None
    tensor: bool = False
    offset: int = 0

    def __str__(self) -> str:
        tile = f"-tile{self.tile.rows}x{self.tile.columns}" if self.tile else ""
        batch = "x".join(map(str, (*self.batch, "")))
        place = f"-from{self.offset}" if self.offset else ""
        tensor = "-tensor" if self.tensor else ""
        shape = f"{batch}{self.m}x{self.n}x{self.k}"
        return f"{self.dtype}-{shape}-{self.a}-{self.b}{tile}{tensor}{place}"

    def operands(self) -> tuple[Operand, Operand]:
        a = operand((*self.batch, self.m, self.k), self.dtype, 1, self.a, self.offset)
        b = operand((*self.batch, self.k, self.n), self.dtype, 2, self.b, self.offset)
        return a, b

    def problem(self) -> Product:
        a, b = (o.strides for o in self.operands())
        tf32 = self.tensor and self.dtype == "float32"
        return Product(
            self.batch, self.m, self.n, self.k, a, b, self.dtype, tf32, tensor_cores=self.tensor
        )

    def kernel(self) -> CudaKernel:
        return with_tile(self.tile, self.problem())

    def bound(self, a: np.ndarray, b: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """The largest error that each element may have."""
        sums = np.abs(a) @ np.abs(b)
        u = SUM_UNIT.get(self.dtype, UNIT["float32"])
        error = (self.k + 1) * u * sums
        if self.tensor and self.dtype == "float32":
            error += (2 * UNIT["tf32"] + UNIT["tf32"] ** 2) * sums
        error *= 1 + UNIT[self.dtype]
        return error + UNIT[self.dtype] * np.abs(exact) + SMALLEST.get(self.dtype, 0)


def with_tile(tile: Tile | None, problem: Product) -> CudaKernel:
    """The kernel of a product, by one tile if it is given."""
    if tile is None:
        return matmul(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "choose", lambda tiles, *extents: choose((tile,), *extents))
        return matmul(problem)


choose = tiles.choose
DTYPES = ("float32", "float64", "float16", "bfloat16")
LAYOUTS = ("rows", "columns")
EVERY_TILE = [(d, t) for d, table in tiles.TILES.items() for t in table]
TENSOR_TILES = [(d, t) for d, table in tiles.TENSOR_TILES.items() for t in table]
CASES = [
    # Every tile and layout, extents that fill no tile; then such that 16-byte loads are taken.
    *(
        Case(d, t.rows + 5, t.columns + 3, 2 * t.depth + 1, a=a, b=b, tile=t)
        for d, t in EVERY_TILE
        for a, b in itertools.product(LAYOUTS, LAYOUTS)
    ),
    *(
        Case(d, t.rows + 8, t.columns + 8, 2 * t.depth + 8, a=a, b=b, tile=t)
        for d, t in EVERY_TILE
        for a, b in itertools.product(LAYOUTS, LAYOUTS)
    ),
    # The same with matrix units.
    *(
        Case(d, t.rows + r, t.columns + c, 2 * t.depth + k, a=a, b=b, tile=t, tensor=True)
        for d, t in TENSOR_TILES
        for a, b in itertools.product(LAYOUTS, LAYOUTS)
        for r, c, k in ((5, 3, 1), (8, 8, 8))
    ),
    *(Case(d, 20, 24, 1500, tensor=True) for d in tiles.TENSOR_TILES),
    *(Case(d, 5, 6, 0, tensor=True) for d in tiles.TENSOR_TILES),
    # Vectors, along and across the matrix's lines, short and long, and one element.
    *(
        Case(d, m, n, k, a=a, b=b)
        for d in DTYPES
        for m, n, k in ((1, 45, 70), (45, 1, 70), (3, 1, 4104), (1, 1, 5), (1, 1, 1))
        for a, b in itertools.product(LAYOUTS, LAYOUTS)
    ),
    # Sums cut into shares; none at all; batches, broadcast operands, strides that are not 1.
    *(Case(d, 20, 24, 1500, b=b) for d in DTYPES for b in LAYOUTS),
    *(Case(d, 1, 1, 4096) for d in DTYPES),
    *(Case(d, m, n, 0) for d in DTYPES for m, n in ((5, 6), (1, 6), (1, 1))),
    *(Case("float32", m, n, k) for m, n, k in ((0, 4, 3), (4, 0, 3), (0, 0, 0))),
    *(Case(d, 33, 17, 20, (2, 3), "broadcast", "columns") for d in ("float32", "float64")),
    *(
        Case("float32", 9, 10, 11, (2, 3), a, b)
        for a, b in (("rows", "broadcast"), ("spread", "rows"))
    ),
    *(
        Case("float32", m, n, 40, (3,), a="spread", b="columns")
        for m, n in ((1, 9), (9, 1), (7, 9))
    ),
    *(Case(d, 40, 48, 32, a=a, b=b, offset=1) for d in DTYPES for a, b in (LAYOUTS, LAYOUTS[::-1])),
]


@pytest.fixture(scope="module")
def products() -> HostModule:
    """The kernels of all cases, compiled in one call."""
    return host_module([case.kernel() for case in CASES])


@needs_host
@ORDERS
@pytest.mark.parametrize("case", CASES, ids=str)
def test_product(products: HostModule, case: Case, reverse: bool) -> None:
    a, b = case.operands()
    y = empty((*case.batch, case.m, case.n), case.dtype)
    launch(products, case.kernel(), [a.memory, b.memory, y], reverse=reverse)
    exact = a.value @ b.value
    error = np.abs(decode(y) - exact)
    assert (error <= case.bound(a.value, b.value, exact)).all(), error.max()


# --- epilogues ------------------------------------------------------------------------------------


def bias_relu(m: int, n: int, dtype: str) -> tuple:
    """y = relu(acc + bias), the bias a row."""
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    return (
        Load("b0", Param("bias", dtype, (0, 1))),
        Apply("s0", "add", ("acc", "b0"), wide, wide),
        Apply("p0", "gt", ("s0", 0), "bool", wide),
        Apply("r0", "where", ("p0", "s0", 0.0), wide, wide),
        Store(Param("out", dtype, (n, 1), out=True), "r0"),
    )


EPILOGUES = [
    Case(d, m, n, k)
    for d in DTYPES
    for m, n, k in ((35, 41, 19), (1, 45, 30), (45, 1, 30), (20, 24, 1500))
]


@pytest.fixture(scope="module")
def ends() -> HostModule:
    """The kernels of all cases with an epilogue, compiled in one call."""
    return host_module([with_bias(case) for case in EPILOGUES])


def with_bias(case: Case) -> CudaKernel:
    return matmul(replace(case.problem(), epilogue=bias_relu(case.m, case.n, case.dtype)))


@needs_host
@ORDERS
@pytest.mark.parametrize("case", EPILOGUES, ids=str)
def test_bias_and_activation(ends: HostModule, case: Case, reverse: bool) -> None:
    a, b = case.operands()
    bias = operand((case.n,), case.dtype, 3)
    y = empty((case.m, case.n), case.dtype)
    launch(ends, with_bias(case), [a.memory, b.memory, bias.memory, y], reverse=reverse)
    product = a.value @ b.value
    exact = np.maximum(product + bias.value, 0)
    rounded = SUM_UNIT.get(case.dtype, UNIT["float32"]) * (np.abs(exact) + np.abs(product))
    bound = case.bound(a.value, b.value, exact) + 2 * rounded
    assert (np.abs(decode(y) - exact) <= bound).all()


@needs_host
def test_residual_written_over_its_operand_and_a_second_output() -> None:
    """Two outputs of two dtypes, a number of run time, a batch, and an input that is an output."""
    batch, m, n = (2, 3), 9, 10
    strides = (3 * m * n, m * n, n, 1)
    statements = (
        Load("r", Param("residual", "float32", strides)),
        Apply("scaled", "mul", ("acc", Number(0)), "float32", "float32"),
        Apply("sum", "add", ("scaled", "r"), "float32", "float32"),
        Store(Param("out", "float32", strides, out=True), "sum"),
        Apply("wide", "cast", ("sum",), "float64", "float32"),
        Store(Param("copied", "float64", (n, 2 * n, 6 * n, 1), out=True), "wide"),
    )
    case = Case("float32", m, n, 11, batch)
    kernel = matmul(replace(case.problem(), epilogue=statements))
    a, b = case.operands()
    both = np.random.default_rng(4).normal(size=(*batch, m, n)).astype(np.float32)
    residual, copied = both.copy(), np.full((m, 3, 2, n), np.nan)
    launch(host_module([kernel]), kernel, [a.memory, b.memory, both, both, copied], [0.5])
    exact = 0.5 * (a.value @ b.value) + residual
    bound = case.bound(a.value, b.value, exact)
    assert (np.abs(both - exact) <= bound).all()
    np.testing.assert_array_equal(copied.transpose(2, 1, 0, 3), both)


@needs_host
@ORDERS
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_gelu(dtype: str, reverse: bool) -> None:
    """Functions of the table of expressions, from the preludes of generated loop nests."""
    m, n, wide = 35, 41, "float64" if dtype == "float64" else "float32"
    statements = (
        Apply("t", "mul", ("acc", 0.5**0.5), wide, wide),
        Apply("e", "erf", ("t",), wide, wide),
        Apply("u", "add", ("e", 1), wide, wide),
        Apply("h", "mul", ("acc", 0.5), wide, wide),
        Apply("y", "mul", ("h", "u"), wide, wide),
        Store(Param("out", dtype, (n, 1), out=True), "y"),
    )
    case = Case(dtype, m, n, 19)
    kernel = matmul(replace(case.problem(), epilogue=statements))
    assert {"cuda.h", "semantics.h"} <= set(kernel.preludes)
    a, b = case.operands()
    y = empty((m, n), dtype)
    launch(host_module([kernel]), kernel, [a.memory, b.memory, y], reverse=reverse)
    product = a.value @ b.value
    exact = product * np.vectorize(math.erfc)(-product * 0.5**0.5) / 2
    # The slope of gelu is below 1.13; erf errs by two units at most.
    bound = 1.13 * case.bound(a.value, b.value, exact)
    bound += 6 * SUM_UNIT.get(dtype, UNIT["float32"]) * np.abs(product)
    assert (np.abs(decode(y) - exact) <= bound).all()


def test_matrix_units_are_taken_only_where_they_may_be() -> None:
    def text(dtype: str, **options: bool) -> str:
        return matmul(Product((), 64, 64, 64, (64, 1), (64, 1), dtype, **options)).text

    for dtype in DTYPES:
        assert "TensorTile" not in text(dtype, tf32=True)
        allowed = dtype in ("float16", "bfloat16")
        assert ("TensorTile" in text(dtype, tensor_cores=True)) == allowed
        allowed |= dtype == "float32"
        assert ("TensorTile" in text(dtype, tensor_cores=True, tf32=True)) == allowed


def test_an_epilogue_has_no_reductions_and_no_unknown_names() -> None:
    out = Param("out", "float32", (4, 1), out=True)
    problem = Product((), 4, 4, 4, (4, 1), (4, 1), "float32", epilogue=(Store(out, "other"),))
    with pytest.raises(ValueError, match="uses 'other' before it is defined"):
        matmul(problem)


# --- what must not matter -------------------------------------------------------------------------


@needs_host
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_do_not_depend_on_alignment_or_the_width_of_indices(dtype: str) -> None:
    """Sixteen bytes at once or one element, int or long long: the same bits."""
    case = Case(dtype, 40, 48, 32, a="columns")
    kernel = case.kernel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates_build, "INT_LIMIT", 0)
        wide = case.kernel()
    assert "long long" in wide.text and "long long" not in kernel.text
    module = host_module([kernel, wide])
    a, b = case.operands()
    moved = [np.concatenate([o.memory[:1], o.memory])[1:] for o in (a, b)]
    assert all(o.memory.ctypes.data % 16 == 0 != x.ctypes.data % 16 for o, x in zip((a, b), moved))
    results = [empty((40, 48), dtype) for _ in range(3)]
    launch(module, kernel, [a.memory, b.memory, results[0]])
    launch(module, kernel, [*moved, results[1]])
    launch(module, wide, [a.memory, b.memory, results[2]])
    np.testing.assert_array_equal(results[0].view(np.uint8), results[1].view(np.uint8))
    np.testing.assert_array_equal(results[0].view(np.uint8), results[2].view(np.uint8))


@needs_host
def test_more_batch_axes_than_a_launch_has() -> None:
    """Axes that do not merge: the outermost become launches of the same function."""
    batch, m, n, k = (2, 3, 2, 3, 2), 3, 5, 4
    rng = np.random.default_rng(5)
    a = rng.normal(size=(2, 1, 2, 1, 2, m, k)).astype(np.float32)
    b = rng.normal(size=(1, 3, 1, 3, 1, k, n)).astype(np.float32)
    strides = [tuple(0 if e == 1 else s // 4 for e, s in zip(x.shape, x.strides)) for x in (a, b)]
    kernel = matmul(Product(batch, m, n, k, *strides, "float32"))
    assert len(kernel.launches) == 6 and len({step.function for step in kernel.launches}) == 1
    y = empty((*batch, m, n), "float32")
    launch(host_module([kernel]), kernel, [a, b, y])
    exact = a.astype(float) @ b.astype(float)
    assert (np.abs(y - exact) <= (k + 1) * UNIT["float32"] * (np.abs(a) @ np.abs(b)) * 2).all()


def test_extents_and_strides_are_not_in_the_text() -> None:
    texts = {
        matmul(Product(batch, m, n, k, a, b, "float32")).text
        for batch, m, n, k, a, b in (
            ((), 70, 45, 37, (37, 1), (45, 1)),
            ((), 71, 50, 90, (90, 1), (64, 2)),
            ((4, 2), 9, 8, 7, (0, 63, 7, 1), (56, 0, 8, 1)),
        )
    }
    assert len(texts) == 1


def test_the_choice_of_tiles() -> None:
    """Large products take large tiles, small ones spread over many blocks, long sums are shared."""

    def chosen(m: int, n: int, k: int, batch: int = 1) -> tuple[int, int, int]:
        tile, pieces = choose(tiles.FLOAT, m, n, k, batch)
        return tile.rows, tile.columns, pieces

    assert chosen(4096, 4096, 512) == (128, 128, 1)
    assert chosen(64, 64, 100_000) == (64, 64, 128)
    assert chosen(100_000, 20, 256) == (128, 32, 1)
    assert chosen(20, 100_000, 256) == (32, 128, 1)
    assert chosen(50, 50, 50) == (32, 32, 1)
    assert tiles.shares(1, 1_000_000) == tiles.SPREAD
    assert tiles.shares(1, 2 * tiles.SHORTEST_SHARE - 1) == 1


# --- nvcc and golden texts ------------------------------------------------------------------------


@needs_nvcc
@pytest.mark.parametrize("arch", ["sm_90", "sm_75"])
def test_nvcc_spills_nothing(arch: str, tmp_path: Path) -> None:
    """Every kernel in one call; for compute capability 7.5 those that it has matrix units for."""
    old = arch == "sm_75"
    cases = [c for c in CASES if c.tensor and c.dtype == "float16"] if old else CASES
    cases = [c for c in cases if c.dtype != "bfloat16" or c.tensor]  # as float16
    kernels = [case.kernel() for case in cases if case.k and case.m and case.n]
    kernels += [with_bias(case) for case in EPILOGUES]
    found = resources_of(kernels, arch, tmp_path)
    assert {step.function for k in kernels for step in k.launches} == set(found)
    check_resources(kernels, found)


def check_resources(kernels: list[CudaKernel], found: dict[str, Resources]) -> None:
    """No spills, and a block fits on a multiprocessor."""
    for kernel in kernels:
        for step in kernel.launches:
            used = found[step.function]
            assert (used.spills, used.stack) == (0, 0), (step.function, used)
            assert used.registers * step.block[0] <= 65536 and used.shared <= 48 * 1024


GOLDEN = {
    "product": Case("float32", 1000, 1000, 300),
    "transposed_half": Case("float16", 100, 90, 80, a="columns", b="columns"),
    "vector": Case("float64", 1, 50, 40),
    "shares": Case("bfloat16", 20, 24, 1500),
    "matrix_units": Case("float32", 2000, 2000, 300, tensor=True),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_text(name: str, golden) -> None:
    golden(matmul(GOLDEN[name].problem()).text)


def test_text_of_an_epilogue(golden) -> None:
    golden(with_bias(Case("float32", 100, 90, 80)).text)
