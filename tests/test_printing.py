"""The text of tensors against what torch 2.13.0 prints.

``data/printing_torch.json`` holds torch's text of every case below, so that most of this file needs
no torch. ``python tests/test_printing.py`` records it anew where torch is installed. Where it is,
the recording is checked too, and random tensors are compared with it directly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyt.printing import format_scalar, get_printoptions, set_printoptions, tensor_text

RECORDED = Path(__file__).parent / "data" / "printing_torch.json"
NAN, INF = float("nan"), float("inf")
NUMPY_DTYPES = {"bfloat16": "float32", "complex32": "complex64"}


class Case(NamedTuple):
    """A tensor to print (plain, leaf that requires a gradient or parameter) and the options."""

    values: Any
    dtype: str = "float32"
    kind: str = "plain"
    options: dict[str, Any] = {}  # never written

    def array(self) -> np.ndarray:
        """The values as they come to the printer."""
        return np.array(self.values, dtype=NUMPY_DTYPES.get(self.dtype, self.dtype))


def ramp(*shape: int) -> np.ndarray:
    """0, 1, 2, ... in ``shape``."""
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


CASES = {
    "integral floats": Case([1.0, 2.0, 3.0]),
    "fixed point": Case([0.1, 2.25, -3.14159]),
    "fixed point matrix": Case([[1.5, -2.0], [0.0, 100.0]]),
    "rounds up to an integer": Case([0.999999, 999.99999]),
    "scalar integral": Case(3.0),
    "scalar": Case(123456.789),
    "scalar minus zero": Case(-0.0),
    "scalar tiny": Case(1e-7),
    "ratio just 1000": Case([1000.0, 1.0]),
    "ratio above 1000": Case([1000.5, 1.0]),
    "ratio of integers above 1000": Case([1001.0, 1.0]),
    "just 1e8": Case([1e8]),
    "above 1e8": Case([123456789.0]),
    "1e-4 in float32": Case([1e-4, 2e-4]),
    "1e-4 in float64": Case([1e-4, 2e-4], "float64"),
    "below 1e-4": Case([9.9e-5]),
    "signed scientific": Case([1.5e20, -2.5e-20]),
    "three digit exponent": Case([1e-300, 1.0], "float64"),
    "subnormal": Case([1e-45, 0.0]),
    "float16 overflow": Case([65504.0, 1e-7, INF], "float16"),
    "bfloat16": Case([0.10009765625, 3.0], "bfloat16"),
    "nan among integers": Case([NAN, 1.0, INF, -INF]),
    "nan among decimals": Case([1.5, NAN, -INF]),
    "nan among scientific": Case([1e10, NAN, 0.5]),
    "only nan": Case([NAN, NAN]),
    "only infinities": Case([INF, -INF]),
    "minus zero among zeros": Case([-0.0, 0.0]),
    "minus zero wider than the column": Case([[-0.0, 1.5], [2.5, 0.5]]),
    "minus infinity wider than the column": Case([[NAN, 1.0], [2.0, -INF]], "float64"),
    "int64": Case([1, -20, 300], "int64"),
    "int64 extremes": Case([-(2**63), 2**63 - 1], "int64"),
    "int32": Case([0, 1, 2], "int32"),
    "int16": Case([-3, 30000], "int16"),
    "int8 scalar": Case(-7, "int8"),
    "uint8": Case([255, 0], "uint8"),
    "bool": Case([True, False], "bool"),
    "bool column": Case([[True], [False]], "bool"),
    "all true": Case([True, True], "bool"),
    "complex64": Case([1 + 2j, complex(NAN, -1e-9), 3], "complex64"),
    "complex128": Case([1.5 - 0.25j, -1j], "complex128"),
    "complex summary": Case(ramp(1100) * (1 + 0.5j), "complex64"),
    "empty": Case([]),
    "empty int64": Case([], "int64"),
    "empty bool": Case([], "bool"),
    "empty float64 matrix": Case(np.empty((0, 3)), "float64"),
    "empty middle": Case(np.empty((2, 0, 4))),
    "empty leaf": Case(np.empty((1, 0)), kind="leaf"),
    "wrapped integral": Case(ramp(30)),
    "wrapped matrix": Case(ramp(2, 12) * 1.5 - 10),
    "wrapped bool": Case(ramp(30) % 2 == 0, "bool"),
    "wrapped scientific": Case(np.linspace(-1e-6, 1e6, 11)),
    "wrapped deep": Case(ramp(2, 1, 2, 20) / 7),
    "nested three": Case(ramp(2, 2, 2), "int64"),
    "nested four": Case(ramp(2, 1, 2, 3) / 4),
    "nested five of one": Case(np.zeros((1, 1, 1, 1, 1))),
    "leaf": Case([1.0, 2.0], kind="leaf"),
    "leaf suffix on a new line": Case(np.linspace(0, 1, 9), kind="leaf"),
    "leaf matrix": Case(np.ones((3, 3)), "float64", "leaf"),
    "both suffixes, second on a new line": Case(np.linspace(0, 1, 5), "float64", "leaf"),
    "parameter": Case([[0.5, -0.25]], kind="parameter"),
    "parameter scalar": Case(1.0, kind="parameter"),
    "at the threshold": Case(ramp(1000)),
    "vector summary": Case(ramp(1001)),
    "vector summary float64 leaf": Case(ramp(1001), "float64", "leaf"),
    "matrix summary": Case(np.zeros((40, 40))),
    "summary of columns only": Case(ramp(2, 1000), "int64"),
    "summary of rows only": Case(ramp(334, 3), "int64"),
    "summary of six is whole": Case(ramp(6, 7, 30), "int64"),
    "cube summary wraps": Case(ramp(20, 20, 20)),
    "summary looks only at what it shows": Case(np.pad([1e20], 600)),
    "precision 2": Case([0.125, 3.14159], options={"precision": 2}),
    "precision 0": Case([1.5, -3.1], options={"precision": 0}),
    "threshold and edgeitems": Case(ramp(10), options={"threshold": 5, "edgeitems": 2}),
    "no edgeitems": Case(ramp(2, 3), options={"edgeitems": 0}),
    "no edgeitems, summary": Case(ramp(2, 3), options={"edgeitems": 0, "threshold": 5}),
    "no edgeitems, scalar": Case(1, "int64", options={"edgeitems": 0, "threshold": 0}),
    "narrow line": Case(ramp(2, 3), kind="leaf", options={"linewidth": 3}),
    "wide line": Case(ramp(50), options={"linewidth": 200}),
    "scientific on": Case([1.0, 2.5, NAN], options={"sci_mode": True}),
    "scientific on, all zero": Case([0.0, -0.0], options={"sci_mode": True}),
    "scientific off": Case([1e-6, 1e6], options={"sci_mode": False}),
    "short": Case(ramp(40, 40) / 7, options={"profile": "short"}),
    "full": Case(ramp(1010), options={"profile": "full"}),
    "short with precision 6": Case([1 / 3], options={"profile": "short", "precision": 6}),
}


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    """Every test starts from the default options and leaves them."""
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


def our_text(case: Case) -> str:
    """The text of a case under test, with the case's options in force."""
    set_printoptions(**case.options)
    return tensor_text(
        case.array(),
        case.dtype,
        requires_grad=case.kind != "plain",
        parameter=case.kind == "parameter",
    )


def torch_text(case: Case) -> str:
    """What torch prints for a case."""
    import torch

    tensor = torch.from_numpy(case.array()).to(getattr(torch, case.dtype))
    if case.kind == "leaf":
        tensor.requires_grad_()
    elif case.kind == "parameter":
        tensor = torch.nn.Parameter(tensor)
    torch.set_printoptions(**{"profile": "default", **case.options})
    try:
        return repr(tensor)
    finally:
        torch.set_printoptions(profile="default")


@pytest.fixture(scope="module")
def recorded() -> dict[str, str]:
    """torch's text of every case, by its name."""
    return json.loads(RECORDED.read_text())


@pytest.mark.parametrize("name", CASES)
def test_text_is_what_torch_recorded(name: str, recorded: dict[str, str]) -> None:
    assert our_text(CASES[name]) == recorded[name]


def test_recording_is_what_torch_prints(recorded: dict[str, str]) -> None:
    pytest.importorskip("torch", reason="torch is the oracle")
    assert recorded == {name: torch_text(case) for name, case in CASES.items()}


# Suffixes that need no tensor to say what they are


def test_grad_fn_stands_in_place_of_requires_grad() -> None:
    text = tensor_text(np.float32(3), "float32", requires_grad=True, grad_fn="SumBackward0")
    assert text == "tensor(3., grad_fn=<SumBackward0>)"


def test_device_comes_first() -> None:
    values = np.array([0.5], dtype=np.float16)
    text = tensor_text(values, "float16", device="cuda:0", requires_grad=True)
    assert text == "tensor([0.5000], device='cuda:0', dtype=torch.float16, requires_grad=True)"


def test_default_dtype_is_not_spelled_out() -> None:
    one = np.ones(1)
    narrow = tensor_text(one, "float32", default_dtype="float64")
    assert narrow == "tensor([1.], dtype=torch.float32)"
    assert tensor_text(one, "float64", default_dtype="float64") == "tensor([1.])"
    assert tensor_text(one + 0j, "complex128", default_dtype="float64") == "tensor([1.+0.j])"


def test_subclass_names_and_indents() -> None:
    text = tensor_text(np.eye(2), "float32", class_name="Mask")
    assert text == "Mask([[1., 0.],\n      [0., 1.]])"
    text = tensor_text(np.ones(1), "float32", class_name="Weight", parameter=True)
    assert text == "Parameter containing:\nParameter(Weight([1.]))"


def test_strides_do_not_matter() -> None:
    values = ramp(40, 60)
    for view in (values.T, values[::-2, ::7]):
        assert tensor_text(view, "float64") == tensor_text(view.copy(), "float64")


def test_huge_tensor_is_not_formatted_whole() -> None:
    # 10**12 elements: reading them once would take hours.
    huge = np.broadcast_to(np.float32(0.5), (10**6, 10**6))
    assert tensor_text(huge, "float32").count("0.5000") == 36


# Options


def test_options_start_as_the_default_profile() -> None:
    assert get_printoptions() == {
        "precision": 4,
        "threshold": 1000,
        "edgeitems": 3,
        "linewidth": 80,
        "sci_mode": None,
    }


def test_options_given_override_the_profile_and_the_rest_stay() -> None:
    set_printoptions(linewidth=120, edgeitems=5)
    set_printoptions(precision=6, sci_mode=True)
    options = get_printoptions()
    assert (options["linewidth"], options["edgeitems"], options["precision"]) == (120, 5, 6)
    assert options["sci_mode"] is True
    set_printoptions(profile="full", precision=2)
    options = get_printoptions()
    assert (options["threshold"], options["precision"], options["linewidth"]) == (INF, 2, 80)


def test_sci_mode_left_out_is_automatic_again() -> None:
    set_printoptions(sci_mode=False)
    set_printoptions(precision=5)
    assert get_printoptions()["sci_mode"] is None


def test_options_read_can_be_set_back() -> None:
    set_printoptions(precision=7, threshold=INF, sci_mode=False)
    options = get_printoptions()
    set_printoptions(profile="default")
    set_printoptions(**options)
    assert get_printoptions() == options


# format()


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (np.float32(1 / 3), ".4f", "0.3333"),
        (np.array(0.1, dtype=np.float32), "", "0.10000000149011612"),
        (np.array(0.1), "", "0.1"),
        (np.array(3), ">4", "   3"),
        (np.array(255, dtype=np.uint8), "x", "ff"),
        (np.array(True), "", "True"),
        (np.array(True), "d", "1"),
        (np.array(-INF), "6.1f", "  -inf"),
    ],
)
def test_scalar_is_formatted_as_its_number(value: np.ndarray, spec: str, text: str) -> None:
    assert format_scalar(value, spec) == text


def test_formatting_errors_are_those_of_python() -> None:
    with pytest.raises(TypeError, match=r"unsupported format string passed to Tensor\.__format__"):
        format_scalar(np.ones(2), ".2f")
    with pytest.raises(ValueError, match="Unknown format code 'd'"):
        format_scalar(np.array(1.5), "d")


# Random tensors, against torch itself

FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "bool")


def random_shape(rng: np.random.Generator) -> tuple[int, ...]:
    """Vectors and matrices about the threshold, or up to five short axes, some of them empty."""
    choice = rng.integers(6)
    if choice == 0:
        return (int(rng.integers(1, 2200)),)
    if choice == 1:
        return tuple(rng.integers(1, 60, size=2).tolist())
    shortest = 0 if rng.random() < 0.15 else 1
    return tuple(rng.integers(shortest, rng.choice([2, 4, 8]), size=rng.integers(6)).tolist())


def random_floats(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of one of several distributions, some of them replaced by special values."""
    normal = rng.standard_normal(shape)
    distributions = (
        lambda: normal * 10.0 ** rng.integers(-12, 12),
        lambda: np.round(normal * 10.0 ** rng.integers(9)),
        lambda: normal * 10.0 ** rng.uniform(-5, 5, size=shape),
        lambda: np.round(normal, int(rng.integers(6))),
        lambda: rng.choice([0.0, -0.0, 1.0, -1.0, 1e8, 1e-4, 1e3, 0.1, 99999.5], size=shape),
        lambda: rng.integers(2**64, size=shape, dtype=np.uint64).view(np.float64),
    )
    values = np.asarray(distributions[rng.integers(len(distributions))]())
    if rng.random() < 0.3:
        special = rng.choice([NAN, INF, -INF, 0.0, -0.0], size=shape)
        values = np.where(rng.random(shape) < rng.random(), special, values)
    return values


def random_options(rng: np.random.Generator) -> dict[str, Any]:
    """The default options, or some others."""
    if rng.random() < 0.6:
        return {"profile": "default"}
    choices = {
        "precision": int(rng.integers(9)),
        "threshold": int(rng.integers(60)),
        "edgeitems": int(rng.integers(6)),
        "linewidth": int(rng.integers(1, 200)),
        "sci_mode": bool(rng.integers(2)),
        "profile": str(rng.choice(["default", "short", "full"])),
    }
    return {name: choice for name, choice in choices.items() if rng.random() < 0.5}


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_random_tensors_print_as_in_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    rng = np.random.default_rng([*dtype.encode()])
    for _ in range(40):
        shape = random_shape(rng)
        if dtype in INTEGERS:
            bound = 10 ** int(rng.integers(1, 18))
            values = torch.from_numpy(np.asarray(rng.integers(-bound, bound, size=shape)))
            # A conversion that wraps around reaches the extremes of the narrow types.
            tensor = (values % 2 == 0) if dtype == "bool" else values.to(getattr(torch, dtype))
        else:
            numbers = random_floats(rng, shape)
            if dtype.startswith("complex"):
                parts = np.stack([numbers, random_floats(rng, shape)], axis=-1)
                numbers = parts.view(np.complex128)[..., 0]
            tensor = torch.from_numpy(numbers).to(getattr(torch, dtype))
        array = (tensor.float() if dtype == "bfloat16" else tensor).numpy()
        is_leaf = dtype in FLOATS and rng.random() < 0.4
        grad_fn = None
        if is_leaf:
            tensor.requires_grad_()
            if rng.random() < 0.5:
                tensor = tensor.clone()
                grad_fn = "CloneBackward0"
        options = random_options(rng)
        set_printoptions(**options)
        torch.set_printoptions(**options)
        try:
            expected = repr(tensor)
        finally:
            torch.set_printoptions(profile="default")
        assert tensor_text(array, dtype, requires_grad=is_leaf, grad_fn=grad_fn) == expected
        set_printoptions(profile="default")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(width=32), max_size=6))
def test_any_float32_prints_as_in_torch(numbers: list[float]) -> None:
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    values = np.array(numbers, dtype=np.float32)
    assert tensor_text(values, "float32") == repr(torch.from_numpy(values))


if __name__ == "__main__":
    RECORDED.parent.mkdir(exist_ok=True)
    texts = {name: torch_text(case) for name, case in CASES.items()}
    RECORDED.write_text(json.dumps(texts, indent=1) + "\n")
