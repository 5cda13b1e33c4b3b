"""CUDA C of loop nests, run on the host with checks and compiled by nvcc where it is found.

Every case is a kernel (or several of one text) whose arrays are drawn; what its CUDA C leaves in
them, with the threads of a block in ascending and in descending order, is what NumPy says.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import loop_programs
import numpy as np
import pytest
import random_graphs
from graph_tools import inputs_of, tracing
from kernel_tools import Case, launch, memory, prelude, run
from loop_programs import calls, grouped

import lazyt as torch
from lazyt.codegen import cstyle, cuda_writer
from lazyt.codegen.cuda import render, render_many
from lazyt.codegen.cuda_nest import CudaNest
from lazyt.codegen.grouping import loop_nests
from lazyt.codegen.loops import Apply, Kernel, Load, Number, Param, Pick, Reduce, Stage, Store
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.passes.pipeline import optimize
from lazyt.ir.types import contiguous_strides
from lazyt.runtime.cuda.host import build
from lazyt.runtime.cuda.host.build import compile_host
from lazyt.runtime.cuda.host.launch import HostModule
from lazyt.runtime.plan import build_graph

ORDERS = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
TEXTS_A_FILE = 24
FLOATS, INTEGERS = ("float32", "float64"), ("int32", "int64")

needs_compiler = pytest.mark.skipif(
    build.cpp_compiler() is None, reason="CUDA C on the host needs a C++ compiler, none was found"
)
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc here")


# --- cases ----------------------------------------------------------------------------------------


def lowered(function: Callable[[], Any]) -> list[list[Kernel]]:
    """The kernels of a program, those of one call together."""
    views = torch.explain(function).programs
    return [[n.kernel for n in call] for view in views for call in calls(grouped(view))]


def elementwise(dtype: str, names: list[str]) -> Case:
    """One map with an output for each operation, over operands of a dtype."""
    shape = (3, 101)
    strides = contiguous_strides(shape)
    inputs = [Param(name, dtype, strides) for name in ("x0", "x1")] + [Param("m", "bool", strides)]
    taken = {"where": ("mv", "x0v", "x1v")}
    operands = {n: taken.get(n, ("x0v", "x1v")[: REGISTRY[n].numbered]) for n in names}
    inputs = [p for p in inputs if any(f"{p.name}v" in given for given in operands.values())]
    statements: list = [Load(f"{p.name}v", p) for p in inputs]
    outputs = []
    for k, name in enumerate(names):
        told = cstyle.COMPARISONS.keys() | {"isnan", "isinf", "isfinite", "signbit"}
        result = "bool" if name in told else dtype
        outputs.append(Param(f"y{k}", result, strides, out=True))
        statements.append(Apply(f"v{k}", name, operands[name], result, dtype))
        statements.append(Store(outputs[-1], f"v{k}"))
    kernel = Kernel(shape, (), [*inputs, *outputs], [Stage(False, statements)], [])
    kind = precision(names[0])
    exact, signs = kind != "rounded", kind == "exact"
    return Case([kernel], edges=True, exact=exact, signs=signs, tolerance=2e-6)


def precision(name: str) -> str:
    """How close an operation is to NumPy's: of two zeros NumPy takes either as the larger."""
    if name in (*cstyle.FUNCTIONS, "pow", "atan2", "rsqrt", "log_sigmoid"):
        return "rounded"
    zeros = ("maximum", "minimum", "clamp_min", "clamp_max", "fmax", "fmin", "relu")
    return "exact but for zeros" if name in zeros else "exact"


def casts() -> Iterator[tuple[str, Case]]:
    strides = (1,)
    for source in (*FLOATS, *INTEGERS, "bool"):
        x = Param("x", source, strides)
        kinds = (*FLOATS, *INTEGERS, *cstyle.SMALL, "bool")
        outputs = [Param(f"y{k}", kind, strides, out=True) for k, kind in enumerate(kinds)]
        statements: list = [Load("xv", x)]
        for k, y in enumerate(outputs):
            statements += [Apply(f"v{k}", "cast", ("xv",), y.dtype, source), Store(y, f"v{k}")]
        kernel = Kernel((515,), (), [x, *outputs], [Stage(False, statements)], [])
        yield f"cast_{source}", Case([kernel], edges=True, exact=True, signs=True)


def operations() -> Iterator[tuple[str, Case]]:
    """Every entry of the tables, six of them a kernel, for every dtype that has it."""
    tables = (cstyle.ANY, cstyle.COMPARISONS, cstyle.ARITHMETIC, cstyle.FLOATS)
    tables += (cstyle.INTEGERS, cstyle.BITS, cstyle.BOOLS)
    names = list(dict.fromkeys(name for table in tables for name in table))
    # Random bits have operands of their own kind, and tests in test_device_draws.py.
    names = [n for n in names if n == "where" or REGISTRY[n].numbered < 3]
    for dtype in (*FLOATS, *INTEGERS, "bool"):
        known = [n for n in names if cstyle.template(n, dtype, dtype) is not None]
        if dtype not in FLOATS:  # a divisor of 0: tests/test_loop_coverage.py
            known = [n for n in known if n not in cstyle.DIVISIONS]
        for kind in ("exact", "exact but for zeros", "rounded"):
            some = [n for n in known if precision(n) == kind]
            for i in range(0, len(some), 6):
                six = some[i : i + 6]
                yield f"{dtype}_{'_'.join(six)}", elementwise(dtype, six)


def reductions() -> Iterator[tuple[str, Case]]:
    """Every reduction of every dtype that has it, along rows and along columns."""
    for op in cstyle.REDUCTIONS:
        for dtype in (*FLOATS, *INTEGERS, "bool"):
            extreme = cstyle.REDUCTIONS[op].nan
            if not extreme and (dtype == "bool") != (op in ("any", "all")):
                continue
            for axis in (1, 0):
                for edges in (False, True):
                    if edges and op in ("sum", "prod"):
                        continue
                    shape, kept = (7, 45), 1 - axis
                    x = Param("x", dtype, contiguous_strides(shape))
                    y = Param("y", dtype, tuple(int(i == kept) for i in range(2)), out=True)
                    loop = Stage(True, [Load("xv", x), Reduce("v", op, "xv", dtype)])
                    final = Stage(False, [Store(y, "v")])
                    case = Case([Kernel(shape, (axis,), [x, y], [loop, final], [])], edges=edges)
                    case.exact = op != "sum" and op != "prod"
                    case.integers = (-3, 4)
                    kind = "edges" if edges else "plain"
                    yield f"{op}_{dtype}_{axis}_{kind}", case


def random_nests() -> Iterator[tuple[str, Case]]:
    """The nests of random graphs."""
    for seed in range(10):
        with tracing() as trace, np.errstate(all="ignore"):
            made = random_graphs.build(np.random.default_rng(seed), 30)
        index: dict[int, int] = {}
        for leaf in inputs_of(trace):
            index.setdefault(id(leaf.value), len(index))
        keep = tuple(sorted({trace.index(n) for n in made[-3:]}))
        graph, _ = build_graph(list(trace), keep, index, set())
        for k, call in enumerate(calls(loop_nests(optimize(graph)[0]))):
            kernels = [nest.kernel for nest in call]
            if all(map(told, kernels)):
                yield f"random_{seed}_{k}", Case(kernels, tolerance=2e-5)


def told(kernel: Kernel) -> bool:
    """Whether `kernel_tools.meaning` tells what a kernel computes. Gathers and bfloat16 run on the
    host-executed device (test_loop_coverage.py, test_gpu_primitives.py)."""
    picks = any(isinstance(s, Pick) for s in kernel.statements())
    return not picks and not any(p.dtype == "bfloat16" for p in kernel.params)


def tensor(*shape: int) -> Any:
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).view(*shape)
    x.tolist()
    return x


def shapes() -> Iterator[tuple[str, list[Kernel]]]:
    """Rows, columns and everything, of many extents and layouts."""
    made: dict[str, Callable[[], Any]] = {}
    for shape in ((5, 7), (300, 3), (40, 600), (3, 5003), (2, 4096), (1, 10), (4, 1), (1, 1)):
        x = tensor(*shape)
        name = "x".join(map(str, shape))
        made[f"softmax_{name}"] = lambda x=x: torch.softmax(x, -1)
        made[f"softmax_of_columns_{name}"] = lambda x=x: torch.softmax(x, 0)
        made[f"log_softmax_{name}"] = lambda x=x: torch.log_softmax(x, -1)
        made[f"sum_of_columns_{name}"] = lambda x=x: x.sum(0)
        made[f"amax_and_sum_{name}"] = lambda x=x: (x.amax(1), x.sum(1) * 2 + 1)
    images, y = tensor(4, 6, 5, 8), tensor(5, 4, 7)
    made["statistics_of_channels"] = lambda: (images.mean((0, 2, 3)), images.amax((0, 2, 3)))
    made["normalised_channels"] = lambda: images - images.mean((0, 2, 3), keepdim=True)
    made["sum_of_outer_and_inner"] = lambda: (y * 2).sum((0, 2))
    made["sum_of_outer_axes"] = lambda: images.sum((0, 2))
    made["softmax_of_a_middle_axis"] = lambda: torch.softmax(y, 1)
    made["softmax_of_two_axes"] = lambda: (
        torch.exp(images) / torch.exp(images).sum((1, 3), keepdim=True)
    )
    made["sum_of_the_transposed"] = lambda: (images.permute(3, 1, 0, 2) + 1).sum(3)
    long, cube = tensor(20011), tensor(9, 13, 17)
    made["sum_of_everything"] = lambda: long.sum()
    made["sum_of_a_cube"] = lambda: cube.permute(2, 0, 1).sum()
    made["mean_of_squares"] = lambda: (long * long).mean()
    made["extremes_of_everything"] = lambda: (long.amax(), long.amin())
    made["softmax_of_everything"] = lambda: torch.softmax(long[:3000], 0)
    made["any_of_everything"] = lambda: (long > 30000).any()
    made["scalar"] = lambda: torch.tensor(3.0).exp()
    made["strided"] = lambda: cube[:, ::2, ::3] * 2
    made["flipped"] = lambda: cube.flip(0, 2) + 1
    made["transposed"] = lambda: cube.permute(2, 0, 1) * 2 + cube.permute(1, 2, 0).sum()
    made["expanded"] = lambda: cube[:1].expand(9, 13, 17) + cube[:, :1, :1]
    made["outer_product"] = lambda: cube[0, :, :1] * cube[0, :1, :]
    made["five_axes"] = lambda: tensor(3, 2, 4, 2, 6).permute(2, 0, 4, 3, 1) + 1
    made["one_hot"] = lambda: torch.nn.functional.one_hot(torch.arange(7) % 3 + 0, 5)
    made["lower_triangle"] = lambda: torch.tril(tensor(9, 11))
    made["counted"] = lambda: torch.arange(1000) * 3 + torch.arange(1000)
    for shape in ((1000, 40), (300, 3), (513, 33)):
        tall, name = tensor(*shape), "x".join(map(str, shape))
        made[f"sum_of_tall_columns_{name}"] = lambda x=tall: (x.sum(0) * 2, (x * x).sum(0))
        made[f"extremes_of_tall_columns_{name}"] = lambda x=tall: (x.amax(0), x.amin(0) + x[1])
        made[f"any_of_tall_columns_{name}"] = lambda x=tall: ((x > 30).any(0), (x > -1).all(0))
    deep = tensor(6, 7, 64)[:, :, 3:40]
    made["sum_of_rows_of_two_axes"] = lambda: deep.expand(6, 7, 37).sum((0, 1)) + deep[0, 0]
    made["sum_of_many_rows_of_two_axes"] = lambda: tensor(30, 20, 40)[:, :, 3:].sum((0, 1))
    wide, stack = tensor(33, 70), tensor(5, 40, 37)
    made["turned"] = lambda: wide.t() * 2
    made["turned_and_straight"] = lambda: wide.t() + tensor(70, 33) - tensor(33)
    made["turned_stack"] = lambda: stack.transpose(1, 2) + 1
    made["turned_outwards"] = lambda: stack.permute(2, 1, 0) * stack.permute(2, 1, 0)
    made["turned_strip"] = lambda: tensor(3, 70).t() * 2
    made["turned_truth"] = lambda: (wide > 100).t() | (wide.t() < 7)
    for name, f in made.items():
        for k, kernels in enumerate(lowered(loop_programs.quiet(f))):
            yield f"{name}_{k}" if k else name, kernels


def numbered(rows: int, columns: int) -> Kernel:
    """y = x * s0 + s1, z = x with run-time numbers; rows of x lie apart."""
    x = Param("x", "float32", (columns + 4, 1))
    y = Param("y", "float32", (columns, 1), out=True)
    z = Param("z", "int64", (columns, 1), out=True)
    c = Param("c", "int64", (0, 3), counted=True)
    statements: list = [
        Load("xv", x),
        Apply("v0", "mul", ("xv", Number(0)), "float32", "float32"),
        Apply("v1", "add", ("v0", Number(1)), "float32", "float32"),
        Load("cv", c),
        Apply("v2", "add", ("cv", 5), "int64", "int64"),
        Store(y, "v1"),
        Store(z, "v2"),
    ]
    kernel = [Stage(False, statements)]
    return Kernel((rows, columns), (), [x, y, z, c], kernel, [Number(0), Number(1)])


def row_over_operand() -> Kernel:
    """y = x + sum of a row: y may be written over x, which every thread of the row could load."""
    a, x = Param("a", "float32", (600, 1)), Param("x", "float32", (1, 0))
    y = Param("y", "float32", (1, 0), out=True)
    z = Param("z", "float32", (600, 1), out=True)
    stages = [
        Stage(True, [Load("av", a), Reduce("v0", "sum", "av", "float32")]),
        Stage(False, [Load("xv", x), Apply("v1", "add", ("xv", "v0"), "float32", "float32")]),
        Stage(True, [Load("av", a), Apply("v2", "mul", ("av", "v1"), "float32", "float32")]),
        Stage(False, [Store(y, "v1")]),
    ]
    stages[2].statements.append(Store(z, "v2"))
    return Kernel((5, 600), (1,), [a, x, y, z], stages, [])


def wrapping() -> Case:
    """Integers at their ends: results wrap."""
    case = elementwise("int32", ["add", "sub", "mul", "neg", "abs"])
    case.edges, case.integers = False, (-(2**31), 2**31)
    return case


def over(kernel: Kernel) -> tuple[tuple[str, str], ...]:
    """Outputs that may be written over an operand, each with its first such operand."""
    found: dict[str, str] = {}
    for y in kernel.arrays:
        for x in kernel.arrays:
            fits = y.out and x.dtype == y.dtype and kernel.overwrites(y, x)
            if fits and y.name not in found and x.name not in found.values():
                found[y.name] = x.name
    return tuple(found.items())


@functools.cache
def of_programs() -> dict[str, Case]:
    return {
        f"{name}_{k}" if k else name: Case(kernels)
        for name, f in loop_programs.programs().items()
        for k, kernels in enumerate(lowered(f))
    }


@functools.cache
def cases() -> dict[str, Case]:
    found = dict([*operations(), *casts(), *reductions(), *random_nests()])
    found |= {name: case for name, case in of_programs().items() if told(case.kernels[0])}
    found |= {name: Case(kernels) for name, kernels in shapes()}
    for name, case in list(found.items()):
        if over(case.kernels[0]) and not case.edges:
            found[f"{name}_in_place"] = replace(case, over=over(case.kernels[0]))
    for name in ("bias_relu", "softmax_2x4096", "sum_of_everything", "layer_norm", "sgd"):
        found[f"{name}_misaligned"] = replace(found[name], starts={"x0": 1})
        found[f"{name}_wrongly_aligned"] = replace(found[name], starts={"x0": 2, "y0": 3})
    for name in ("extremes_of_everything", "extremes_of_tall_columns_513x33", "softmax_40x600"):
        found[f"{name}_of_edges"] = replace(found[name], edges=True)
    found["numbers"] = Case([numbered(5, 20)])
    found["numbers_of_many"] = Case([numbered(5, 20), numbered(3, 7), numbered(40, 300)])
    found["row_over_operand"] = Case([row_over_operand()], over=(("y", "x"),))
    found["wrapping"] = wrapping()
    found["refused"] = replace(found["cross_entropy"], integers=(0, 60), refused=True)
    found["refused_of_many"] = replace(found["refused"], many=True)
    many = (
        "softmax",
        "cross_entropy",
        "sum_of_a_cube",
        "layer_norm_training_1",
        "scalar",
        "turned",
    )
    for name in (*many, "sum_of_tall_columns_513x33"):
        found[f"many_{name}"] = replace(found[name], kernels=found[name].kernels * 2)
    sgd = found["sgd"].kernels
    found["sgd_of_many_parameters"] = Case((sgd * 4)[:200])
    return found


@functools.cache
def modules() -> dict[str, HostModule]:
    """The compiled text of every case, by the name of its kernel."""
    texts = {case.cuda.name: case.cuda.text for case in cases().values()}
    texts |= {kernel.name: kernel.text for kernel, _ in wide_cases().values()}
    names = sorted(texts)
    chunks = [names[i : i + TEXTS_A_FILE] for i in range(0, len(names), TEXTS_A_FILE)]
    source = lambda chunk: "\n".join([prelude(), *(texts[name] for name in chunk)])
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda chunk: compile_host(source(chunk)), chunks))
    return {name: HostModule(path) for chunk, path in zip(chunks, paths) for name in chunk}


@functools.cache
def wide_cases() -> dict[str, tuple[Any, Case]]:
    """Kernels rendered as if their arrays were larger than 32-bit indices reach."""
    names = ("bias_relu", "softmax", "softmax_of_columns", "sum_of_a_cube", "cross_entropy")
    names += ("batch_norm_training_1", "five_axes", "sgd", "turned_stack")
    names += ("sum_of_tall_columns_513x33",)
    limit, found = cuda_writer.INT_LIMIT, {}
    cuda_writer.INT_LIMIT = 0
    try:
        for name in names:
            case = replace(cases()[name])
            found[name] = (case.cuda, case)
    finally:
        cuda_writer.INT_LIMIT = limit
    return found


# --- tests ----------------------------------------------------------------------------------------


@needs_compiler
@ORDERS
def test_kernels_compute_what_numpy_says(reverse: bool) -> None:
    for name, case in cases().items():
        try:
            run(case, modules()[case.cuda.name], reverse)
        except Exception as error:
            error.add_note(f"case {name}:\n{case.kernels[0]}\n{case.cuda.text}")
            raise


@needs_compiler
@ORDERS
def test_wide_indices(reverse: bool) -> None:
    for kernel, case in wide_cases().values():
        assert "(int64_t)blockIdx.x" in kernel.text
        run(case, modules()[kernel.name], reverse)


def test_text_has_no_extents() -> None:
    """Kernels that differ in their extents are one text, whatever blocks and packs they use."""
    for a, b in (((40, 600), (5, 7)), ((3, 5003), (2, 4096))):
        for f in (lambda x: torch.softmax(x, -1), lambda x: x.sum(0), lambda x: (x * x).sum()):
            names = [lowered(loop_programs.quiet(lambda s=s, f=f: f(tensor(*s)))) for s in (a, b)]
            one, other = (render(found[-1][0]).text for found in names)
            assert one == other


def test_operands_that_an_output_may_be_written_over_are_not_restricted() -> None:
    (kernels,) = lowered(loop_programs.quiet(lambda: torch.relu(tensor(5, 7) + tensor(7))))
    text = render(kernels[0]).text
    assert "const float *x0, const float *__restrict__ x1, float *y0" in text


def test_a_table_is_4000_bytes_at_most() -> None:
    """200 nests of six fields: 83 fit in a launch."""
    kernel = cases()["sgd_of_many_parameters"].cuda
    assert [launch.grid[2] for launch in kernel.launches] == [83, 83, 34]
    assert all(len(launch.arguments[0].rows) == 83 for launch in kernel.launches)


def test_kernels_of_two_texts_are_no_batch() -> None:
    with pytest.raises(ValueError, match="one text"):
        render_many([cases()["softmax"].kernels[0], cases()["layer_norm"].kernels[0]])


def test_blocks_do_not_depend_on_more_than_extents() -> None:
    """Partial results are at most 1,024, and a large array has no more blocks than loops need."""
    x = Param("x", "float32", (1,))
    y = Param("y", "float32", (0,), out=True)
    loop = Stage(True, [Load("xv", x), Reduce("v", "sum", "xv", "float32")])
    kernel = Kernel((10**8,), (0,), [x, y], [loop, Stage(False, [Store(y, "v")])], [])
    first, second = render(kernel).launches
    assert (first.grid, first.block) == ((1024, 1, 1), (256, 1, 1))
    assert (second.grid, second.block) == ((1, 1, 1), (256, 1, 1))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("scalar", "point"),
        ("bias_relu", "map"),
        ("turned_stack", "tiles"),
        ("turned_strip", "map"),
        ("softmax", "rows"),
        ("softmax_of_everything", "rows"),
        ("sum_of_everything", "all"),
        ("softmax_of_columns", "columns"),
        ("sum_of_columns", "columns"),
        ("sum_of_tall_columns_513x33", "slices"),
        ("sum_of_many_rows_of_two_axes", "slices"),
    ],
)
def test_shapes_of_nests(name: str, shape: str) -> None:
    """What is launched once, and what leaves partial results for a second launch."""
    case = cases()[name]
    assert CudaNest(case.kernels[0]).shape == shape
    assert len(case.cuda.launches) == 1 + (shape in ("all", "slices"))


@needs_compiler
def test_sums_keep_the_digits_of_float32() -> None:
    """Of numbers that mostly cancel: wrong in the last place at most, along rows and columns."""
    rng = np.random.default_rng(0)
    for name in ("sum_of_everything", "sum_of_columns_40x600", "sum_of_tall_columns_513x33"):
        kernel = cases()[name].kernels[0]
        x, *rest = (p for p in kernel.arrays if not p.out)
        assert not rest
        shape = kernel.shape
        values = rng.normal(size=shape) * 10.0 ** rng.integers(-4, 5, shape)
        source = memory(x, shape, 0, values.astype(np.float32))
        arrays = [source] + [memory(p, shape, 0, None) for p in kernel.arrays if p.out]
        made = cases()[name].cuda
        scratch, flag = np.zeros(made.scratch + 16, np.uint8), np.zeros(1, np.int32)
        launch(made, modules()[made.name], arrays, (), scratch, flag, False)
        exact = source.sum(kernel.axes, dtype=np.longdouble, keepdims=True)
        factor = 2 if name.startswith("sum_of_tall") else 1
        found = arrays[1][
            tuple(slice(0, 1) if i in kernel.axes else slice(None) for i in range(len(shape)))
        ]
        expected = (exact.astype(np.float32) * np.float32(factor)).astype(np.float32)
        np.testing.assert_array_max_ulp(found, expected, 1)


def compiled_by_nvcc(texts: dict[str, str], arch: str, folder: Path) -> str:
    """What ptxas says of kernels."""
    source = folder / "kernels.cu"
    source.write_text("\n".join([prelude(), *texts.values()]))
    call = ["nvcc", f"-arch={arch}", "-Xptxas", "-v", "-cubin", str(source)]
    done = subprocess.run(
        [*call, "-o", str(folder / "kernels.cubin")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    return done.stderr


@needs_nvcc
def test_nvcc_compiles_them_without_spills(tmp_path: Path) -> None:
    texts = {case.cuda.name: case.cuda.text for case in (cases() | of_programs()).values()}
    texts |= {kernel.name: kernel.text for kernel, _ in wide_cases().values()}
    said = compiled_by_nvcc(texts, "sm_90", tmp_path)
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    assert len(spills) >= len(texts)
    assert set(spills) == {("0", "0")}


@needs_nvcc
def test_nvcc_compiles_them_for_the_oldest_device(tmp_path: Path) -> None:
    kernels = [cases()[name].cuda for name in loop_programs.READ]
    compiled_by_nvcc({kernel.name: kernel.text for kernel in kernels}, "sm_75", tmp_path)


@pytest.mark.parametrize("name", loop_programs.READ)
def test_reads_well(name: str, golden: Callable[[str], None]) -> None:
    """CUDA C of every kernel of a program (one a batch), and how it is launched."""
    parts = []
    for kernels in lowered(loop_programs.programs()[name]):
        made = Case(kernels).cuda
        launches = [f"{one.function}: grid {one.grid}, block {one.block}" for one in made.launches]
        parts += [made.text, *launches, ""]
    golden("\n".join(parts))
