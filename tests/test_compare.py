"""The comparison of printed text is neither too strict nor too loose."""

from __future__ import annotations

import pytest
from compare import difference


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("tensor([1., 2.])", "tensor([1.,\n        2.])"),
        ("loss: 0.1235", "loss: 0.1236"),
        ("0.12345678", "0.12345679"),
        ("[1.0000e-05, 2.3457e+02]", "[1.0001e-05, 2.3456e+02]"),
        ("1e-09 0.0", "0.0 -0.0"),
        ("2.0000", "2."),
        ("torch.Size([2, 3])", "torch.Size([2,3])"),
    ],
)
def test_rounding_and_white_space_do_not_count(expected: str, actual: str) -> None:
    assert difference(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("shape [2, 3]", "shape [3, 2]"),
        ("True", "False"),
        ("7", "8"),
        ("1000000", "1000001"),
        ("2.", "3."),
        ("0.5", "0.6"),
        ("3", "3.0"),
        ("nan", "inf"),
        ("[1.5]", "[-1.5]"),
        ("0.1235", "0.1237"),
        ("float32", "float64"),
        ("a b", "a"),
        ("a", "a b"),
    ],
)
def test_what_counts(expected: str, actual: str) -> None:
    assert difference(expected, actual) is not None


def test_exact_counts_every_character() -> None:
    assert difference("a  b\n", "a b\n", exact=True) is not None
    assert difference("0.1235", "0.1236", exact=True) is not None
    assert difference("a\nb\n", "a\nb\n", exact=True) is None


def test_difference_shows_the_place() -> None:
    found = difference("one\ntwo 3 four", "one\ntwo 5 four")
    assert found is not None and "line 2: two »3« four" in found and "»5«" in found


def test_loose_tolerance_on_demand() -> None:
    assert difference("1.739", "1.743") is not None
    assert difference("1.739", "1.743", rtol=5e-3) is None
