"""Convolutions in CUDA C, and the table of primitives: values on the host with checks, against the
NumPy forms of the primitives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cuda_kernels import host_module, launch, resources_of
from test_cuda_templates import (
    EVERY_TILE,
    ORDERS,
    SMALLEST,
    SUM_UNIT,
    TENSOR_TILES,
    UNIT,
    Operand,
    check_resources,
    decode,
    empty,
    encode,
    needs_host,
    needs_nvcc,
)

from lazyt.codegen.launches import CudaKernel
from lazyt.codegen.loops import Apply, Load, Param, Store
from lazyt.codegen.templates import (
    TEMPLATES,
    Convolution,
    convolve,
    convolve_input,
    convolve_weight,
    template,
    ways,
)
from lazyt.codegen.templates import build as templates_build
from lazyt.ir import ops_nn  # noqa: F401 (registers the primitives)
from lazyt.ir.dtypes import dtype_named
from lazyt.ir.graph import Value
from lazyt.ir.numerics.conv import conv, conv_input_grad, conv_output_size, conv_weight_grad
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.types import TensorType, contiguous_strides
from lazyt.runtime.cuda.host.launch import HostModule

KERNELS = {"conv": convolve, "conv_input": convolve_input, "conv_weight": convolve_weight}


@dataclass(frozen=True)
class Case:
    """A convolution: shapes of input and weight, and its geometry. order: "rows", or "last" with
    channels innermost in memory."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    dtype: str = "float32"
    order: str = "rows"
    tensor: bool = False

    def __str__(self) -> str:
        parts = ["x".join(map(str, e)) for e in (self.x, self.w)]
        for letter, values in zip("spd", (self.stride, self.padding, self.dilation)):
            parts.append(letter + "".join(map(str, values)))
        parts += [f"g{self.groups}", self.dtype, self.order]
        return "-".join(parts + (["tensor"] if self.tensor else []))

    @property
    def out(self) -> tuple[int, ...]:
        spatial = conv_output_size(self.x[2:], self.w[2:], self.stride, self.padding, self.dilation)
        return (self.x[0], self.w[0], *spatial)

    def operands(self, name: str) -> tuple[Operand, Operand]:
        shapes = {
            "conv": (self.x, self.w),
            "conv_input": (self.out, self.w),
            "conv_weight": (self.out, self.x),
        }[name]
        first, second = (laid(shape, self.dtype, i, self.order) for i, shape in enumerate(shapes))
        return first, second

    def problem(self, name: str) -> Convolution:
        a, b = self.operands(name)
        return Convolution(
            self.x,
            self.w,
            a.strides,
            b.strides,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.dtype,
            tf32=self.tensor,
            tensor_cores=self.tensor,
        )

    def kernel(self, name: str) -> CudaKernel:
        return KERNELS[name](self.problem(name))

    def apply(self, name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What ir/numerics says, in float64."""
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        if name == "conv":
            return conv(a, b, *geometry)
        if name == "conv_input":
            return conv_input_grad(a, b, self.x[2:], *geometry)
        return conv_weight_grad(a, b, self.w[2:], *geometry)

    def shape(self, name: str) -> tuple[int, ...]:
        return {"conv": self.out, "conv_input": self.x, "conv_weight": self.w}[name]

    def terms(self, name: str) -> int:
        """The most products that an element of the result is a sum of."""
        taps = int(np.prod(self.w[2:]))
        positions = self.x[0] * int(np.prod(self.out[2:]))
        return {
            "conv": self.w[1] * taps,
            "conv_input": self.w[0] // self.groups * taps,
            "conv_weight": positions,
        }[name]

    def bound(self, name: str, a: np.ndarray, b: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """See test_cuda_templates.py."""
        sums = self.apply(name, np.abs(a), np.abs(b))
        error = (self.terms(name) + 1) * SUM_UNIT.get(self.dtype, UNIT["float32"]) * sums
        if self.tensor and self.dtype == "float32":
            error += (2 * UNIT["tf32"] + UNIT["tf32"] ** 2) * sums
        error *= 1 + UNIT[self.dtype]
        return error + UNIT[self.dtype] * np.abs(exact) + SMALLEST.get(self.dtype, 0)


def laid(shape: tuple[int, ...], dtype: str, seed: int, order: str) -> Operand:
    """Random numbers, row-major or with the second axis innermost."""
    axes = list(range(len(shape)))
    if order == "last":
        axes.append(axes.pop(1))
    memory = encode(np.random.default_rng(seed).normal(size=[shape[i] for i in axes]), dtype)
    value = decode(memory).transpose(np.argsort(axes))
    strides = tuple(s // memory.itemsize for s in memory.transpose(np.argsort(axes)).strides)
    return Operand(memory, strides, np.ascontiguousarray(value))


PLAIN = Case((2, 3, 9, 10), (5, 3, 3, 3), (1, 1), (1, 1), (1, 1))
CASES = [
    PLAIN,
    Case((2, 4, 7, 8), (6, 2, 3, 2), (2, 1), (1, 0), (1, 2), 2),
    Case((2, 6, 11, 9), (6, 1, 3, 3), (1, 1), (1, 1), (1, 1), 6),
    Case((1, 6, 11, 9), (12, 1, 3, 3), (2, 2), (1, 1), (1, 1), 6),
    Case((2, 5, 8, 8), (7, 5, 1, 1), (1, 1), (0, 0), (1, 1)),
    Case((2, 5, 8, 9), (7, 5, 1, 1), (2, 2), (0, 0), (1, 1)),
    Case((3, 6, 9, 9), (8, 3, 1, 1), (1, 1), (0, 0), (1, 1), 2, order="last"),
    Case((3, 6, 70), (8, 3, 1), (1,), (0,), (1,), 2, "float16", tensor=True),
    Case((3, 6, 4, 4), (8, 3, 1, 1), (1, 1), (0, 0), (1, 1), 2),
    Case((1, 3, 12, 12), (4, 3, 4, 4), (4, 4), (0, 0), (1, 1)),
    Case((2, 2, 13, 11), (3, 2, 3, 3), (2, 3), (2, 1), (4, 3)),
    Case((2, 2, 13, 14), (3, 2, 2, 3), (4, 6), (1, 2), (2, 4)),
    Case((2, 3, 5, 5), (4, 3, 2, 2), (7, 1), (1, 1), (1, 1)),
    Case((0, 3, 5, 5), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1)),
    Case((2, 3, 40), (8, 3, 5), (1,), (2,), (1,)),
    Case((3, 4, 31), (8, 2, 4), (3,), (1,), (2,), 2),
    Case((1, 2, 5, 6, 7), (3, 2, 3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2)),
    Case((2, 4, 5, 4, 5), (4, 2, 2, 2, 2), (2, 2, 2), (0, 1, 0), (1, 1, 1), 2),
    # Parts of the gradient of the input of which only some have one tap.
    Case((1, 4, 7, 9), (2, 2, 3, 3), (2, 4), (0, 2), (3, 2), 2),
    Case((3, 6, 3, 1, 3), (6, 2, 2, 1, 3), (1, 1, 2), (1, 0, 1), (1, 2, 1), 3, order="last"),
    Case((4, 3, 20, 20), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1)),
    Case((1, 40, 12, 12), (36, 40, 3, 3), (1, 1), (1, 1), (1, 1)),
    replace(PLAIN, order="last"),
    *(replace(PLAIN, dtype=d) for d in ("float64", "float16", "bfloat16")),
    *(replace(PLAIN, dtype=d, tensor=True) for d in ("float32", "float16", "bfloat16")),
    Case((2, 4, 9, 8), (40, 2, 3, 3), (2, 2), (1, 1), (1, 1), 2, "float16", tensor=True),
]


def random_cases(count: int) -> list[Case]:
    """Small convolutions of every rank with any geometry."""
    rng = np.random.default_rng(11)
    made: list[Case] = []
    while len(made) < count:
        rank, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))

        def some(low: int, high: int, rank: int = rank) -> tuple[int, ...]:
            return tuple(map(int, rng.integers(low, high, rank)))

        samples, channels, maps = some(1, 4, 3)
        x = (samples, groups * channels, *some(1, 10 if rank < 3 else 6))
        w = (groups * maps, channels, *some(1, 4))
        order, tensor = str(rng.choice(["rows", "last"])), bool(rng.integers(0, 4) == 0)
        case = Case(x, w, some(1, 5), some(0, 3), some(1, 4), groups, "float32", order, tensor)
        if min(case.out) > 0:
            made.append(case)
    return made


CASES += random_cases(24)
EVERY = [(name, case) for case in CASES for name in KERNELS]
NAMED = pytest.mark.parametrize("name, case", EVERY, ids=lambda v: str(v))


@pytest.fixture(scope="module")
def convolutions() -> HostModule:
    """The kernels of all cases, compiled in one call."""
    return host_module([case.kernel(name) for name, case in EVERY])


@needs_host
@ORDERS
@NAMED
def test_convolution(convolutions: HostModule, name: str, case: Case, reverse: bool) -> None:
    a, b = case.operands(name)
    y = empty(case.shape(name), case.dtype)
    launch(convolutions, case.kernel(name), [a.memory, b.memory, y], reverse=reverse)
    exact = case.apply(name, a.value, b.value)
    error = np.abs(decode(y) - exact)
    assert (error <= case.bound(name, a.value, b.value, exact)).all(), error.max()


@needs_host
def test_bias_and_activation_ride_on_the_forward_convolution() -> None:
    case = Case((2, 4, 7, 8), (6, 2, 3, 2), (2, 1), (1, 0), (1, 2), 2)
    strides = tuple(s // 4 for s in np.empty(case.out, np.float32).strides)
    epilogue = (
        Load("b", Param("bias", "float32", (0, 1, 0, 0))),
        Load("r", Param("residual", "float32", strides)),
        Apply("s", "add", ("acc", "b"), "float32", "float32"),
        Apply("t", "add", ("s", "r"), "float32", "float32"),
        Apply("p", "gt", ("t", 0), "bool", "float32"),
        Apply("y", "where", ("p", "t", 0.0), "float32", "float32"),
        Store(Param("out", "float32", strides, out=True), "y"),
    )
    kernel = convolve(replace(case.problem("conv"), epilogue=epilogue))
    x, w = case.operands("conv")
    bias, residual = laid((6,), "float32", 7, "rows"), laid(case.out, "float32", 8, "rows")
    y = empty(case.out, "float32")
    arrays = [x.memory, w.memory, bias.memory, residual.memory, y]
    launch(host_module([kernel]), kernel, arrays)
    product = case.apply("conv", x.value, w.value)
    added = bias.value.reshape(6, 1, 1), residual.value
    exact = np.maximum(product + added[0] + added[1], 0)
    sizes = np.abs(product) + np.abs(added[0]) + np.abs(added[1])
    bound = case.bound("conv", x.value, w.value, exact) + 3 * UNIT["float32"] * sizes
    assert (np.abs(y - exact) <= bound).all()


@needs_host
@pytest.mark.parametrize("name", KERNELS)
def test_results_do_not_depend_on_the_width_of_indices(name: str) -> None:
    case = Case((2, 4, 7, 8), (6, 2, 3, 2), (2, 1), (1, 0), (1, 2), 2)
    kernel = case.kernel(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates_build, "INT_LIMIT", 0)
        wide = case.kernel(name)
    assert "long long" in wide.text and "long long" not in kernel.text
    a, b = case.operands(name)
    narrow, broad = empty(case.shape(name), "float32"), empty(case.shape(name), "float32")
    module = host_module([kernel, wide])
    launch(module, kernel, [a.memory, b.memory, narrow])
    launch(module, wide, [a.memory, b.memory, broad])
    np.testing.assert_array_equal(narrow, broad)


def test_a_strided_gradient_is_launches_of_one_function() -> None:
    """A part for each rest of the input position, each with the taps that it meets."""
    kernel = Case((2, 3, 9, 9), (4, 3, 3, 3), (2, 2), (1, 1), (1, 1)).kernel("conv_input")
    assert len(kernel.launches) == 4
    assert {step.function for step in kernel.launches} == {kernel.name}


def test_a_kernel_of_one_tap_is_a_plain_product() -> None:
    case = Case((2, 5, 8, 8), (7, 5, 1, 1), (1, 1), (0, 0), (1, 1))
    for name in ("conv", "conv_input"):
        assert "Window" not in case.kernel(name).text
        assert "Window" in replace(case, padding=(1, 0)).kernel(name).text


def test_geometry_is_not_in_the_text() -> None:
    cases = [PLAIN, Case((1, 4, 20, 9), (8, 2, 2, 3), (2, 1), (0, 2), (2, 1), 2)]
    assert len({case.kernel("conv").text for case in cases}) == 1


@needs_nvcc
@pytest.mark.parametrize("arch", ["sm_90", "sm_75"])
def test_nvcc_spills_nothing(arch: str, tmp_path: Path) -> None:
    """Every kind of tile in one call, and what takes most registers: two operands found by tables,
    with indices of 64 bits. For compute capability 7.5 the matrix units that it has."""
    dtypes = ("float16",) if arch == "sm_75" else ("float32", "float64", "float16")
    every = [(d, t) for d, t in [*EVERY_TILE, *TENSOR_TILES] if d in dtypes]
    kernels = []
    for dtype, tile in every:
        if dtype == "float16" and not tile.tensor:
            continue
        case = replace(PLAIN, dtype=dtype, tensor=tile.tensor)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ways, "choose", lambda tiles, *extents, tile=tile: (tile, 1))
            kernels += [case.kernel(name) for name in ("conv", "conv_input")]
            patch.setattr(templates_build, "INT_LIMIT", 0)
            if tile.rows < 128 or not tile.tensor:
                kernels.append(case.kernel("conv_input"))
    found = resources_of(kernels, arch, tmp_path)
    assert {step.function for k in kernels for step in k.launches} == set(found)
    check_resources(kernels, found)


def test_wide_indices_do_not_take_the_largest_tile() -> None:
    """Its places would not fit in the registers."""
    case = Case((64, 256, 32, 32), (128, 256, 3, 3), (1, 1), (1, 1), (1, 1))
    strides = [contiguous_strides(shape) for shape in (case.out, case.w)]
    problem = replace(PLAIN.problem("conv_input"), x=case.x, w=case.w, dtype="bfloat16")
    problem = replace(problem, left=strides[0], right=strides[1], tensor_cores=True)
    narrow = convolve_input(problem).text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates_build, "INT_LIMIT", 0)
        wide = convolve_input(problem).text
    assert "TensorTile<__nv_bfloat16, 128, 128," in narrow
    assert "TensorTile<__nv_bfloat16, 64, 64," in wide


@pytest.mark.parametrize("name", KERNELS)
def test_text(name: str, golden) -> None:
    golden(PLAIN.kernel(name).text)


# --- the table of primitives ----------------------------------------------------------------------


def inputs(shapes: list[tuple[int, ...]], dtype: str = "float32") -> tuple[Value, ...]:
    types = [TensorType.of(shape, dtype_named(dtype)) for shape in shapes]
    return tuple(Value(None, (), (), t, index=i) for i, t in enumerate(types))


def samples() -> list[tuple[str, list[tuple[int, ...]], tuple]]:
    """Every sample of the primitives that have a template."""
    return [
        (name, list(shapes), arg) for name in TEMPLATES for shapes, arg in REGISTRY[name].samples()
    ]


@needs_host
@pytest.mark.parametrize("name, shapes, arg", samples(), ids=str)
def test_primitives(name: str, shapes: list[tuple[int, ...]], arg: tuple) -> None:
    """The registry's own samples, against the primitive's NumPy form."""
    op, operands = REGISTRY[name], inputs(shapes)
    v = Value(op, operands, arg, op.infer(operands, arg))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    kernel = template(v, [tuple(s // 4 for s in a.strides) for a in arrays])
    assert kernel is not None
    y = empty(v.type.shape, "float32")
    if kernel.launches:
        launch(host_module([kernel]), kernel, [*arrays, y])
    exact = op.function(v.type, arg, *(a.astype(np.float64) for a in arrays))
    np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-5)


def random_products(count: int) -> list[tuple[np.ndarray, np.ndarray, Value, CudaKernel]]:
    """Products of any rank and any order of axes in memory, broadcast or vectors."""
    rng, op, made = np.random.default_rng(12), REGISTRY["matmul"], []
    for _ in range(count):
        m, n, k = (int(e) for e in rng.choice([1, 2, 5, 17, 33, 64], 3))
        batch = rng.integers(1, 4, rng.integers(0, 5))
        shapes = []
        for matrix in ((m, k), (k, n)):
            lead = np.where(rng.integers(0, 3, len(batch)) > 0, batch, 1).tolist()
            stack = (*lead[int(rng.integers(0, len(lead) + 1)) :], *matrix)
            shapes.append((k,) if rng.integers(0, 8) == 0 else stack)
        dtype = str(rng.choice(["float32", "float64"]))
        arrays = []
        for shape in shapes:
            axes = rng.permutation(len(shape))
            memory = rng.normal(size=[shape[i] for i in axes]).astype(dtype)
            arrays.append(memory.transpose(np.argsort(axes)))
        operands = inputs(shapes, dtype)
        v = Value(op, operands, (), op.infer(operands, ()))
        kernel = template(v, [tuple(s // x.itemsize for s in x.strides) for x in arrays])
        assert kernel is not None
        made.append((*arrays, v, kernel))
    return made


@needs_host
def test_random_products() -> None:
    products = random_products(40)
    module = host_module([kernel for *_, kernel in products])
    for a, b, v, kernel in products:
        dtype = v.type.dtype.name
        y = empty(v.type.shape, dtype)
        launch(module, kernel, [memory_of(a), memory_of(b), y])
        exact, sums = (np.matmul(f(a), f(b), dtype=np.float64) for f in (np.positive, np.abs))
        bound = (a.shape[-1] + 2) * UNIT[dtype] * sums
        assert (np.abs(y - exact) <= bound).all(), (a.shape, a.strides, b.shape, b.strides)


def memory_of(x: np.ndarray) -> np.ndarray:
    """The array of the elements in the order in which they lie."""
    return x.transpose(np.argsort([-s for s in x.strides], kind="stable"))


def test_what_has_no_template() -> None:
    product, exponential = REGISTRY["matmul"], REGISTRY["exp"]
    integers, floats = inputs([(2, 2), (2, 2)], "int64"), inputs([(2, 2)])
    for op, operands in ((product, integers), (exponential, floats)):
        v = Value(op, operands, (), operands[0].type)
        assert template(v, [(2, 1)] * len(operands)) is None
