"""What is said of names that are not here, and that asking for them stays cheap."""

from __future__ import annotations

import types

import pytest

import lazyt as torch
from lazyt.coverage.names import ABSENT, found, public_names

# Names that nobody means to add here.
ABSENT_NAMES = ("torch.nn.qat", "torch.is_vulkan_available", "torch.Tensor.q_zero_point")


def said(line: str) -> tuple[str, str]:
    with pytest.raises(Exception) as caught:
        exec(line, {"torch": torch})
    return type(caught.value).__name__, str(caught.value)


def test_a_name_of_pytorch() -> None:
    kind, text = said("torch.is_vulkan_available")
    assert kind == "AttributeError"
    assert text.startswith("PyTorch has torch.is_vulkan_available, lazyt does not yet")
    assert "\n" not in text


def test_the_nearest_name() -> None:
    text = "PyTorch has torch.nn.SyncBatchNorm, lazyt does not yet; the nearest there is: {}"
    if found("torch.nn.SyncBatchNorm") is ABSENT:
        near = said("torch.nn.SyncBatchNorm")[1]
        assert near in {text.format(f"torch.nn.BatchNorm{d}d") for d in (1, 2, 3)}
    _, text = said("torch.ones(2).arccoss")
    assert text == "'Tensor' object has no attribute 'arccoss'"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("torch.nn.Liner", "module 'torch.nn' has no attribute 'Liner'. Did you mean: 'Linear'?"),
        ("torch.onse", "module 'torch' has no attribute 'onse'. Did you mean: 'ones'?"),
        ("torch.optim.adam_w", "module 'torch.optim' has no attribute 'adam_w'. "
         "Did you mean: 'AdamW'?"),
        ("torch.nn.functional.rellu", "module 'torch.nn.functional' has no attribute 'rellu'. "
         "Did you mean: 'relu'?"),
    ],
)  # fmt: skip
def test_a_typing_error(line: str, text: str) -> None:
    assert said(line) == ("AttributeError", text)


@pytest.mark.parametrize(
    "line",
    ["torch.quux", "torch.nn.quux", "torch.optim.quux", "torch.autograd.quux", "torch.utils.quux",
     "torch.nn.functional.quux", "torch.ones(2).quux"],
)  # fmt: skip
def test_what_pytorch_lacks_too_has_its_text(oracle: types.ModuleType, line: str) -> None:
    with pytest.raises(AttributeError) as expected:
        exec(line, {"torch": oracle})
    assert said(line) == ("AttributeError", str(expected.value))


def test_an_import_says_it_too() -> None:
    kind, text = said("from lazyt import Tensor, is_vulkan_available")
    assert (kind, text[:29]) == ("ImportError", "PyTorch has torch.is_vulkan_a")
    assert said("from lazyt.nn import Liner")[1] == (
        "cannot import name 'Liner' from 'torch.nn'. Did you mean: 'Linear'?"
    )


def test_a_method_of_pytorch_says_it_too() -> None:
    kind, text = said("torch.ones(2).q_zero_point()")
    assert kind == "AttributeError"
    assert text.startswith("PyTorch has torch.Tensor.q_zero_point, lazyt does not yet")
    assert said("torch.Tensor.q_zero_point")[1] == text


def test_asking_is_cheap_and_false(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*args: object) -> None:
        raise AssertionError("the text was made")

    monkeypatch.setattr("lazyt.missing.explained", nobody)
    assert not hasattr(torch, "is_vulkan_available")
    assert not hasattr(torch.nn, "qat")
    assert not hasattr(torch.ones(2), "q_zero_point")
    assert not hasattr(torch.Tensor, "q_zero_point")
    assert getattr(torch.ones(2), "q_zero_point", 3) == 3


def test_names_are_recorded() -> None:
    assert len(public_names()) > 3500
    assert {"torch.nn.Linear", "torch.Tensor.add", "torch.optim.Adam", *ABSENT_NAMES[1:]} <= set(
        public_names()
    )
    assert all(found(name) is ABSENT for name in ABSENT_NAMES)
