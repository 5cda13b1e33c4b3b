"""How exactly devices compute products: settings, the kernels they choose, and the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from graph_tools import inputs_of, leaf_of, tracing

import lazyt as torch
from lazyt.codegen.grouping import loop_nests
from lazyt.codegen.source import generate
from lazyt.codegen.templates import NO_UNITS, MatrixUnits
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_linalg import conv, matmul
from lazyt.nn import functional as F
from lazyt.runtime.drain import clear_plans
from lazyt.runtime.plan import ON_COMPILE, Plan, build_graph
from lazyt.runtime.precision import PRECISION, Precision, set_precision, units_of

GPU = "cuda:0"
HALVES = ("float16", "bfloat16")


@pytest.fixture(autouse=True)
def _default() -> Iterator[None]:
    yield
    set_precision(**Precision()._asdict())


@pytest.fixture
def compiled() -> Iterator[list[Plan]]:
    """The plans that are made during a test."""
    clear_plans()
    plans: list[Plan] = []
    ON_COMPILE.append(plans.append)
    yield plans
    ON_COMPILE.remove(plans.append)


def on_units(plans: list[Plan]) -> list[bool]:
    """Which of the products of some plans matrix units compute."""
    return ["TensorTile" in kernel.text for p in plans for kernel, *_ in p.code.templates]


# --- settings -------------------------------------------------------------------------------------


def test_the_defaults_are_pytorchs() -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is True


def test_two_words_for_one_setting() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("medium")
    assert torch.backends.cuda.matmul.allow_tf32 is True
    assert torch.get_float32_matmul_precision() == "medium"
    torch.backends.cuda.matmul.allow_tf32 = False
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cudnn.allow_tf32 is True


def test_flags_of_cudnn_hold_while_they_are_open() -> None:
    cudnn = torch.backends.cudnn
    with pytest.raises(KeyError), cudnn.flags(enabled=True, allow_tf32=False, deterministic=True):
        assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark) == (False, True, False)
        raise KeyError
    assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled) == (True, False, True)


WRONG = [
    "torch.set_float32_matmul_precision(3)",
    "torch.backends.cuda.matmul.allow_tf32 = 3",
    "torch.backends.cuda.matmul.allow_tf32 = 'yes'",
    "torch.backends.cudnn.allow_tf32 = 1",
]


@pytest.mark.parametrize("line", WRONG)
def test_what_is_no_setting_has_pytorchs_words(line: str, oracle: Any) -> None:
    texts = []
    for module in (torch, oracle):
        with pytest.raises(RuntimeError) as caught:
            exec(line, {"torch": module})
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert PRECISION[0] == Precision()


def test_an_unknown_precision_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="best is not one of 'highest', 'high', or 'medium'"):
        torch.set_float32_matmul_precision("best")
    assert torch.get_float32_matmul_precision() == "highest"


def test_an_attribute_that_is_no_setting_is_refused() -> None:
    with pytest.raises(AttributeError):
        torch.backends.cuda.matmul.allow_tf23 = True


# --- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "precision", "products", "convolutions"),
    [
        ((7, 0), Precision("high"), (), ()),
        ((7, 5), Precision("high"), ("float16",), ("float16",)),
        ((8, 0), Precision(), HALVES, (*HALVES, "float32")),
        ((9, 0), Precision("medium"), (*HALVES, "float32"), (*HALVES, "float32")),
        ((12, 0), Precision("highest", False), HALVES, HALVES),
    ],
)
def test_what_units_compute(
    capability: tuple[int, int], precision: Precision, products: tuple, convolutions: tuple
) -> None:
    expected = MatrixUnits(frozenset(products), frozenset(convolutions))
    assert units_of(capability, precision) == expected


def test_the_host_executed_device_rounds_only_when_told() -> None:
    both = frozenset((*HALVES, "float32"))
    assert units_of((9, 0), Precision(), host=True).convolutions == frozenset(HALVES)
    told = Precision(convolutions_in_tf32=True)
    assert units_of((9, 0), told, host=True).convolutions == both


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("units", [NO_UNITS, units_of((7, 5), Precision("high"))])
def test_a_plan_is_told_what_units_compute(dtype: str, units: MatrixUnits) -> None:
    """The text of a product and of a convolution, for a device that is not there."""
    with tracing() as trace:
        a = transfer(leaf_of(np.ones((64, 64), dtype)), GPU)
        x = transfer(leaf_of(np.ones((2, 8, 9, 9), dtype)), GPU)
        w = transfer(leaf_of(np.ones((16, 8, 3, 3), dtype)), GPU)
        results = [matmul(a, a), conv(x, w, arg=((1, 1), (0, 0), (1, 1), 1))]
    leaves = {id(s.value): i for i, s in enumerate(inputs_of(trace))}
    graph, _ = build_graph(trace, tuple(map(trace.index, results)), leaves, set())
    code = generate(loop_nests(graph, native=False), units={GPU: units})
    expected = dtype == "float16" and units is not NO_UNITS
    assert [("TensorTile" in kernel.text) for kernel, *_ in code.templates] == [expected] * 2


def operands(*shapes: tuple[int, ...]) -> list[Any]:
    """Tensors on the device, whose elements are more exact than tf32."""
    rng = np.random.default_rng(0)
    made = [torch.from_numpy(rng.standard_normal(s, np.float32)).to(GPU) for s in shapes]
    for t in made:
        t.tolist()
    return made


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 rounded to ten bits of mantissa, to nearest, ties away from zero, as cvt.rna does."""
    return ((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)


@pytest.mark.gpu
def test_products_of_float32_follow_the_setting(compiled: list[Plan]) -> None:
    a, b = operands((64, 48), (48, 32))
    exact = a.cpu().numpy().astype(np.float64) @ b.cpu().numpy()
    coarse = rounded(a.cpu().numpy()).astype(np.float64) @ rounded(b.cpu().numpy())
    compiled.clear()
    found = []
    for precision in ("highest", "high", "medium", "highest", "high"):
        torch.set_float32_matmul_precision(precision)
        found.append((a @ b).cpu().numpy())
    # "medium" is a setting of its own; one that comes back finds its plan.
    assert on_units(compiled) == [False, True, True]
    for k, values in enumerate(found):
        right = exact if k in (0, 3) else coarse
        np.testing.assert_allclose(values, right, rtol=1e-5, atol=1e-5)
    assert abs(exact - coarse).max() > 1e-4


@pytest.mark.gpu
def test_what_was_traced_before_a_change_is_computed_as_it_was(compiled: list[Plan]) -> None:
    a, b = operands((64, 48), (48, 32))
    compiled.clear()
    before = a @ b
    torch.backends.cuda.matmul.allow_tf32 = True
    after = a @ b
    assert before.tolist() != after.tolist()
    assert on_units(compiled) == [False, True]


@pytest.mark.gpu
@pytest.mark.parametrize(
    "product",
    [
        lambda x, w: F.conv2d(x, w),
        lambda x, w: torch.autograd.grad(F.conv2d(x.requires_grad_(), w).sum(), x)[0],
        lambda x, w: torch.autograd.grad(F.conv2d(x, w.requires_grad_()).square().sum(), w)[0],
    ],
)
def test_convolutions_follow_their_own_setting(product: Callable, compiled: list[Plan]) -> None:
    x, w = operands((2, 8, 9, 9), (16, 8, 3, 3))
    torch.backends.cudnn.allow_tf32 = True
    compiled.clear()
    coarse = product(x.detach(), w.detach()).tolist()
    assert on_units(compiled) and all(on_units(compiled))
    compiled.clear()
    torch.backends.cudnn.allow_tf32 = False
    exact = product(x.detach(), w.detach()).tolist()
    assert on_units(compiled) and not any(on_units(compiled))
    error = abs(np.array(coarse) - np.array(exact)).max()
    assert 0 < error < 2e-3 * abs(np.array(exact)).max()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_of_halves_are_taken_by_matrix_units(dtype: Any, compiled: list[Plan]) -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this device has none for every half")
    a, b = (t.to(dtype) for t in operands((64, 48), (48, 32)))
    a.tolist(), b.tolist()
    compiled.clear()
    found = (a @ b).float().cpu().numpy()
    assert on_units(compiled) == [True]
    right = a.float().cpu().numpy().astype(np.float64) @ b.float().cpu().numpy()
    np.testing.assert_allclose(found, right, rtol=1e-2, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layers_of_halves_agree_with_the_cpu(dtype: Any) -> None:
    """Forward and backward of products with other operations around them."""

    def gradients(device: str) -> list[Any]:
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(4, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 5)
        )
        net.to(device, dtype)
        x = torch.randn(6, 4, 5, 5).to(device, dtype)
        y = net(x)
        y.float().square().mean().backward()
        return [t.detach().float().cpu().numpy() for t in (y, *(p.grad for p in net.parameters()))]

    coarse = 2.0**-7 if dtype is torch.bfloat16 else 2.0**-10
    for found, right in zip(gradients(GPU), gradients("cpu"), strict=True):
        assert abs(found - right).max() <= 4 * coarse * max(1.0, abs(right).max())
