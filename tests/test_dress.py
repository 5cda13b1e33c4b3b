"""Dressed kernels: names, headers, and golden texts of a dozen kernels in every tier's words."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_programs
import kernel_programs
import numpy as np
import pytest

import lazyt
from lazyt.codegen.dress import Facts, Wardrobe, commented, dressed, identifier
from lazyt.codegen.dress_words import KEYWORDS, LIBRARY, reserved
from lazyt.inspect.kernels import Kernel
from lazyt.inspect.program import ProgramView
from lazyt.ir.evaluate import apply
from lazyt.ir.graph import Value, placed
from lazyt.ir.types import TensorType


def as_run_by(tier: str, view: ProgramView) -> ProgramView:
    """The program on the CPU in a tier, or ("cuda") on a device."""
    if tier == "cuda":
        return ProgramView(placed(view.traced, "cuda:0")[0], view.donatable, names=view.names)
    return ProgramView(view.traced, view.donatable, names=view.names, tier=tier)


def kernels(name: str, tier: str = "c") -> list[Kernel]:
    """The kernels of a program, as a tier runs them."""
    views = kernel_programs.explained(name).programs
    return [k for view in views for k in as_run_by(tier, view).kernels]


@pytest.mark.parametrize("name", kernel_programs.PROGRAMS)
def test_kernels_read_well(name: str, golden: Callable[[str], None]) -> None:
    """The loop nests of a program: IR, loop IR, NumPy, C and CUDA C, side by side."""
    golden(side_by_side(kernels(name)))


@pytest.mark.parametrize("name", kernel_programs.PRODUCTS)
def test_products_read_well(name: str, golden: Callable[[str], None]) -> None:
    """On a device, where the product's own kernel ends with the nest that follows it."""
    golden(side_by_side(kernels(name, "cuda")))


def side_by_side(kernels: list[Kernel]) -> str:
    parts = []
    for k in kernels:
        if k.loops:
            parts += [f"==== {k.name}", k.texts.ir, k.loops, k.numpy, k.c, k.cuda]
    return "\n".join(parts)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("net.fc1.weight", "net_fc1_weight"),
        ("2nd", "value_2nd"),
        ("größe", "gr_e"),
        ("_hidden__state_", "hidden_state"),
        ("float", "float_value"),
        ("template", "template_value"),
        ("lambda", "lambda_value"),
        ("expf", "expf_value"),
        ("y0", "y0_value"),
        ("threadIdx", "threadIdx_value"),
        ("lz_exp_f32", "value_lz_exp_f32"),
        ("", "value"),
        ("x1", "x1"),
    ],
)
def test_identifiers(text: str, name: str) -> None:
    assert identifier(text) == name
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and "__" not in name


def test_no_word_of_a_language_is_a_name() -> None:
    for word in (*KEYWORDS.split(), *LIBRARY.split()):
        assert reserved(word) and not reserved(identifier(word))


def test_names_are_chosen_once() -> None:
    wardrobe = Wardrobe({"row", "chunk"})
    chosen = [wardrobe.choose(w) for w in ("row", "exponential", "exponential", "exponential")]
    assert chosen == ["row_2", "exponential", "exponential_2", "exponential_3"]
    assert wardrobe.choose("chunk", "array") == "chunk_array"
    assert wardrobe.choose("chunk", "array") == "chunk_array_2"


def test_dressing_replaces_words_only() -> None:
    text = "const float v1 = x0r[j] * 1e-05f + v10; if (v1p > box0) kab12_end(v1n);"
    names = {"v1": "scaled", "x0": "images", "v10": "scaled_partial", "kab12": "softmax_kernel"}
    assert dressed(text, names) == (
        "const float scaled = images_row[j] * 1e-05f + scaled_partial; "
        "if (scaled_partial_ > box0) softmax_kernel_end(scaled_nan);"
    )


@pytest.mark.parametrize("name", kernel_programs.PROGRAMS)
def test_dressed_text_is_the_canonical_one(name: str) -> None:
    """Word for word another name, the same everywhere; nothing else differs."""
    word = re.compile(r"(?<!\w)[A-Za-z_]\w*")
    for k in kernels(name):
        for _, lowered in k.texts.nests if k.nests == 1 else []:
            body = k.c.split("*/\n", 1)[1]
            plain = lowered.c.text
            assert word.sub("", body).split() == word.sub("", plain).split()
            pairs = set(zip(word.findall(plain), word.findall(body)))
            assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
            assert name not in plain.replace("lz_", "")


def test_the_user_s_names() -> None:
    """Variables, parameters of modules, gradients, what an optimizer keeps; written in place."""
    net = lazyt.nn.Linear(4, 3)
    optimizer = lazyt.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(images: Any) -> Any:
        optimizer.zero_grad()
        hidden = net(images).tanh()
        loss = hidden.sum()
        loss.backward()
        optimizer.step()
        return loss, hidden

    batch = lazyt.ones(2, 4)
    for _ in range(3):
        step(batch)
        lazyt.runtime.drain.drain()
    found = lazyt.explain(step, batch)
    (view,) = found.programs
    assert {"images", "weight", "bias"} <= set(view.user_names.inputs.values())
    outputs = set(view.names.outputs.values())
    assert {"grad_weight", "momentum_buffer", "weight"} <= outputs
    statements = set(view.user_names.statements.values())
    assert {"hidden", "loss"} <= statements
    written = [k.numpy for k in found.kernels if "new_weight" in k.numpy]
    assert written and all("weight" in text for text in written)


def test_names_of_parameters_that_were_given_other_memory() -> None:
    """`.double()` and `.to(device)` keep the Parameter; an optimizer's step then replaces what the
    storage holds, as it does for others."""
    net = lazyt.nn.Linear(4, 3).double()
    optimizer = lazyt.optim.SGD(net.parameters(), lr=0.1)

    def step(images: Any) -> None:
        optimizer.zero_grad()
        net(images).sum().backward()
        optimizer.step()

    batch = lazyt.ones(2, 4).double()
    (view,) = lazyt.explain(step, batch).programs
    assert {"images", "weight", "bias"} <= set(view.user_names.inputs.values())


def test_names_are_none_of_the_words_of_a_text() -> None:
    """Locals of the CUDA C among them."""
    packs, packed = lazyt.ones(64, 48), lazyt.ones(64, 48)
    (kernel,) = lazyt.explain(lambda: packs + packed).kernels[-1:]
    assert "points(const float *packs_array, const float *packed_array" in kernel.cuda
    tile, b, c = (lazyt.ones(8, 8) for _ in range(3))
    (kernel,) = lazyt.explain(lambda: tile @ b).kernels[-1:]
    assert "const float *__restrict__ tile_left,\n    const float *__restrict__ b,\n" in kernel.cuda
    (kernel,) = lazyt.explain(lambda: c @ c).kernels[-1:]
    assert "const float *__restrict__ c,\n    const float *__restrict__ c_right,\n" in kernel.cuda


def test_layers_that_have_a_number_only() -> None:
    net = lazyt.nn.Sequential(lazyt.nn.Linear(4, 3))
    x = lazyt.ones(2, 4)
    texts = [k.numpy for k in lazyt.explain(net, x).kernels]
    assert any("net_0_weight" in text for text in texts)
    texts = [k.numpy for k in lazyt.explain(lambda: net(x)).kernels]
    assert any("net_0_weight" in text for text in texts)


def test_a_look_holds_nothing() -> None:
    """Names are found on the stack, and nothing there is held or changed by that."""
    from sys import getrefcount

    def inner() -> tuple[int, int]:
        x = lazyt.ones(3)
        before = getrefcount(x)
        y = x * 2
        held = lazyt.explain(y)
        assert "x" not in held.kernels[0].numpy or held.programs
        del held
        return before, getrefcount(x)

    before, after = inner()
    assert before == after


def test_locals_that_somebody_holds_are_left_alone() -> None:
    x = lazyt.ones(3)
    kept = locals()
    lazyt.explain(x * 2)
    assert kept["x"] is x


# --- every tier -----------------------------------------------------------------------------------


TEXTS = ("loops", "numpy", "c", "cuda")


def every_kernel() -> list[Kernel]:
    found = []
    for name in golden_programs.PROGRAMS:
        for view in golden_programs.explained(name).programs:
            for tier in ("numpy", "c", "cuda"):
                found += as_run_by(tier, view).kernels
    return found


@pytest.mark.filterwarnings("ignore:.*encountered in divide")
def test_every_kernel_has_every_text(tmp_path: Path) -> None:
    """Whatever tier runs: NumPy that runs and agrees with the evaluator, C that compiles."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    sources = []
    for i, k in enumerate(every_kernel()):
        files = k.texts.files()
        assert set(files) == {
            "py",
            *(["loops", "c"] if k.loops else []),
            *(["cu"] if k.cuda else []),
        }
        assert set(k.absent) == {"loops", "c", "cuda"} - {t for t in TEXTS if getattr(k, t)}
        assert k.cuda or not k.loops
        if not k.loops:
            assert k.absent["loops"] == k.absent["c"] and k.c == ""
        _runs(k, files["py"])
        if k.loops:
            sources.append(tmp_path / f"k{i}.c")
            sources[-1].write_text(files["c"])
            for name, text in k.texts.headers().items():
                (tmp_path / name).write_text(text)
    assert len(sources) > 40
    if compiler is not None:
        done = subprocess.run(
            [compiler, "-std=c11", "-fopenmp-simd", "-fsyntax-only", "-Werror", *map(str, sources)],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_cuda_files_compile(tmp_path: Path) -> None:
    """The files of every kernel that is kept as a golden text, as they are, in one call."""
    programs = (*kernel_programs.PROGRAMS, *kernel_programs.PRODUCTS)
    found = [k for name in programs for tier in ("c", "cuda") for k in kernels(name, tier)]
    parts = []
    for i, k in enumerate(k for k in found if k.cuda):
        for header, text in k.texts.headers().items():
            (tmp_path / header).write_text(text)
        text = k.texts.files()["cu"]
        (tmp_path / f"k{i}.cu").write_text(text)
        # Functions of one name stand in many files; here they are one program.
        own = sorted(set(re.findall(r"\b\w+_kernel\w*", text)))
        parts += [f"#define {n} {n}_{i}" for n in own]
        parts.append(f'#include "k{i}.cu"')
        parts += [f"#undef {n}" for n in own]
    (tmp_path / "all.cu").write_text("\n".join([*parts, ""]))
    command = ["nvcc", "-arch=sm_90", "-cubin", "-o", "all.cubin", "all.cu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def _runs(k: Kernel, text: str) -> None:
    graph = k.texts.graph
    if graph.scalars:
        return
    inputs = [_filled(v.type) for v in graph.inputs]
    values: dict[Any, Any] = dict(zip(graph.inputs, inputs))
    for v in graph.body:
        operands = [values[s] if s.__class__ is Value else s for s in v.src]
        values[v] = apply(v.op, v.type, v.arg, operands)
    expected = [values[v] for v in graph.outputs]
    scope: dict[str, Any] = {}
    exec(compile(text, "kernel.py", "exec"), scope)
    codes = [(f, getattr(f, "__code__", None)) for f in scope.values()]
    (function,) = (f for f, code in codes if code is not None and code.co_filename == "kernel.py")
    for a, b in zip(function(*inputs), expected):
        np.testing.assert_array_equal(a, b)


def _filled(type: TensorType) -> np.ndarray:
    count = np.arange(type.numel) % 3
    return count.reshape(type.shape).astype(type.dtype.numpy)


def test_numpy_kernels_say_where_their_functions_are(tmp_path: Path) -> None:
    """A file runs in a process that has imported nothing yet, whatever module a function is of."""
    x, target = lazyt.ones(3, 4), lazyt.arange(3)
    loss = lambda: lazyt.nn.functional.cross_entropy(x.sort()[0].expm1(), target)
    text = "\n".join(k.texts.files()["py"] for k in lazyt.explain(loss).pieces)
    assert "from lazyt.ir.numerics.nn import class_count\n" in text
    (tmp_path / "kernels.py").write_text(text)
    subprocess.run([sys.executable, str(tmp_path / "kernels.py")], check=True, timeout=60)


def test_every_function_of_numpy_code_can_be_imported() -> None:
    from lazyt.inspect.files import imports
    from lazyt.ir.opdef import NAMESPACE

    for name in {n for n in NAMESPACE if not n.startswith("__")} - {"np"}:
        scope: dict[str, Any] = {}
        exec("\n".join(imports(name)), scope)
        assert scope[name] is NAMESPACE[name]


def test_a_product_says_why_it_has_no_loops() -> None:
    a, b = lazyt.ones(3, 4), lazyt.ones(4, 5)
    (kernel,) = lazyt.explain(lambda: a @ b).kernels[-1:]
    assert kernel.operations == ("matmul",) and kernel.c == kernel.loops == ""
    assert kernel.absent == dict.fromkeys(("loops", "c"), "no loop nest computes matmul")
    assert "matrix_product = matmul(a, b)" in kernel.numpy


def test_cuda_is_dressed_by_the_same_function() -> None:
    image = lazyt.ones(64, 48)
    (kernel,) = lazyt.explain(lambda: image.exp()).kernels[-1:]
    assert "exp_image_kernel(const float *image, float *exp_image, int n)" in kernel.cuda
    assert "const float exp_image_value = lz_exp_f32(image_value);" in kernel.cuda
    assert " * reads   image: float32[64,48]\n" in kernel.cuda
    assert " * exp_image_kernel: grid 3 x 1 x 1, block 256 x 1 x 1\n" in kernel.cuda
    assert kernel.texts.files()["cu"].startswith('#include "lazyt_cuda.h"\n')


def test_the_header() -> None:
    t = TensorType.of((2, 3), lazyt.float32)
    facts = Facts("y over [2, 3]", [("x", t)], [("y", t)], 12, 24, 24, [("a.py:7", "y = x * 2")])
    assert facts.text() == [
        "y over [2, 3]",
        "reads   x: float32[2,3]",
        "writes  y: float32[2,3]",
        "12 FLOP, 24 B read, 24 B written, 0.25 FLOP/B",
        "a.py:7  y = x * 2",
    ]
    assert commented(["a */ b", "ends in \\"], "c") == "/* a * / b\n * ends in\n */"
    assert commented(["a", ""], "python") == "# a\n#"
