"""The C math functions of codegen/prelude/math.h: bounds, special values, vectorisation.

`python tests/c_math.py` prints what is asserted here, and takes all 2^32 float32 inputs when asked.
"""

from __future__ import annotations

import math
import re

import c_math
import numpy as np
import pytest
from c_math import EXACT, FUNCTIONS, Library

COMPILER = c_math.find_compiler()
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

OURS = [f.name for f in FUNCTIONS.values() if not f.library]
HOT = [f"{name}_f32" for name in ("exp", "log", "tanh", "sigmoid", "erf", "sin", "cos")]
INF, NAN = math.inf, math.nan

# name: argument, value
ENDS = {
    "exp": {-INF: 0.0, INF: INF, 0.0: 1.0, 1000.0: INF, -1000.0: 0.0},
    "exp2": {-INF: 0.0, INF: INF, 0.0: 1.0, 3.0: 8.0, -1.0: 0.5},
    "expm1": {-INF: -1.0, INF: INF, 1000.0: INF, -1000.0: -1.0},
    "log": {0.0: -INF, 1.0: 0.0, INF: INF, -1.0: NAN, -INF: NAN},
    "log2": {0.0: -INF, 8.0: 3.0, 0.125: -3.0, INF: INF, -1.0: NAN},
    "log10": {0.0: -INF, 1000.0: 3.0, INF: INF, -1.0: NAN},
    "log1p": {-1.0: -INF, INF: INF, -2.0: NAN, -INF: NAN},
    "tanh": {INF: 1.0, -INF: -1.0, 30.0: 1.0},
    "sigmoid": {INF: 1.0, -INF: 0.0, 0.0: 0.5},
    "erf": {INF: 1.0, -INF: -1.0, 7.0: 1.0},
    "erfc": {INF: 0.0, -INF: 2.0, 0.0: 1.0},
    "sin": {INF: NAN, -INF: NAN},
    "cos": {INF: NAN, -INF: NAN, 0.0: 1.0},
    "tan": {INF: NAN, -INF: NAN},
    "sinh": {INF: INF, -INF: -INF},
    "cosh": {INF: INF, -INF: INF, 0.0: 1.0},
    "asin": {2.0: NAN, -INF: NAN, 1.0: math.pi / 2},
    "acos": {2.0: NAN, -INF: NAN, 1.0: 0.0, -1.0: math.pi},
    "atan": {INF: math.pi / 2, -INF: -math.pi / 2},
    "asinh": {INF: INF, -INF: -INF},
    "acosh": {1.0: 0.0, INF: INF, 0.5: NAN, -3.0: NAN, -INF: NAN},
    "atanh": {1.0: INF, -1.0: -INF, 2.0: NAN, INF: NAN},
    "rsqrt": {0.0: INF, INF: 0.0, -1.0: NAN},
    "sqrt": {0.0: 0.0, INF: INF, -1.0: NAN},
}
# f(x) = x where x is so small that its square is lost
IDENTITIES = ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p")
# C11, F.10.4.4
POWERS = [
    (0.0, -3.0, INF),
    (-0.0, -3.0, -INF),
    (-0.0, -2.0, INF),
    (-0.0, -INF, INF),
    (-0.0, 3.0, -0.0),
    (-0.0, 0.5, 0.0),
    (-1.0, INF, 1.0),
    (-1.0, -INF, 1.0),
    (1.0, NAN, 1.0),
    (NAN, 0.0, 1.0),
    (NAN, -0.0, 1.0),
    (NAN, 2.0, NAN),
    (2.0, NAN, NAN),
    (-8.0, 1 / 3, NAN),
    (-2.0, 3.0, -8.0),
    (-2.0, 2.0, 4.0),
    (0.5, -INF, INF),
    (0.5, INF, 0.0),
    (2.0, -INF, 0.0),
    (2.0, INF, INF),
    (-INF, -3.0, -0.0),
    (-INF, -2.0, 0.0),
    (-INF, 3.0, -INF),
    (-INF, 0.5, INF),
    (INF, -0.5, 0.0),
    (INF, 0.5, INF),
]


@pytest.fixture(scope="module")
def library() -> Library:
    names, flags = [*FUNCTIONS, *EXACT], (*c_math.FLAGS, "-Wall", "-Wextra")
    try:
        return Library(COMPILER, "native", names, flags)
    except RuntimeError:  # a compiler without -march=native
        return Library(COMPILER, "", names, flags)


def _same(got: np.ndarray, want: np.ndarray) -> None:
    """Equal values, nan places and signs of zero."""
    np.testing.assert_array_equal(got, want)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])


def test_no_warnings(library: Library) -> None:
    assert library.warnings == []


@pytest.mark.parametrize("name", OURS)
def test_error_bound(library: Library, name: str) -> None:
    function = FUNCTIONS[name]
    if function.width == "f64" and not c_math.LONG_DOUBLE_IS_WIDER:
        pytest.skip("needs a long double with more than 53 bits as reference")
    worst, where, _ = c_math.check_sample(library, function)
    assert worst <= function.bound, where


@pytest.mark.parametrize("name", EXACT)
def test_equals_numpy(library: Library, name: str) -> None:
    count, first = c_math.mismatches(library, EXACT[name])
    assert count == 0, first


@pytest.mark.parametrize("width", ["f32", "f64"])
@pytest.mark.parametrize("name", ENDS)
def test_values_at_the_ends(library: Library, name: str, width: str) -> None:
    dtype = c_math.DTYPE[c_math.WIDTH[width]]
    x = np.array([*ENDS[name], NAN], dtype)
    _same(library.ours(f"{name}_{width}", x), np.array([*ENDS[name].values(), NAN], dtype))


@pytest.mark.parametrize("width", ["f32", "f64"])
@pytest.mark.parametrize("name", IDENTITIES)
def test_zeros_and_subnormals_pass(library: Library, name: str, width: str) -> None:
    dtype = c_math.DTYPE[c_math.WIDTH[width]]
    info = np.finfo(dtype)
    tiny = np.array([0.0, info.smallest_subnormal, info.tiny / 2, info.tiny * 1.5], dtype)
    x = np.concatenate([tiny, -tiny])
    _same(library.ours(f"{name}_{width}", x), x)


@pytest.mark.parametrize("width", ["f32", "f64"])
def test_pow_of_special_values(library: Library, width: str) -> None:
    dtype = c_math.DTYPE[c_math.WIDTH[width]]
    base, exponent, want = (np.array(v, dtype) for v in zip(*POWERS))
    _same(library.ours(f"pow_{width}", base, exponent), want)


@pytest.mark.parametrize("width", ["f32", "f64"])
def test_atan2_of_special_values(library: Library, width: str) -> None:
    dtype = c_math.DTYPE[c_math.WIDTH[width]]
    values = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN]
    y, x = (np.array(v, dtype) for v in zip(*((a, b) for a in values for b in values)))
    want = np.array([math.atan2(a, b) for a, b in zip(y, x)], dtype)
    _same(library.ours(f"atan2_{width}", y, x), want)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_beyond_the_near_range_is_nan(library: Library, name: str) -> None:
    x = np.array([2.0**20 * 1.0001, -1e300, INF, NAN])
    assert np.isnan(library.ours(f"{name}_near_f64", x)).all()


@pytest.mark.parametrize("name", HOT)
def test_hot_loops_are_vectorised(library: Library, name: str) -> None:
    assert name in library.vectorised


@pytest.mark.parametrize("name", OURS)
def test_result_does_not_depend_on_the_position(library: Library, name: str) -> None:
    """The vectorised part of a loop and its scalar rest do the same arithmetic."""
    function = FUNCTIONS[name]
    dtype = c_math.DTYPE[function.type]
    a, b = (v[::997][:203] for v in c_math.pairs(dtype))
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    back = library.ours(name, a[::-1].copy(), b[::-1].copy())[::-1]
    np.testing.assert_array_equal(library.ours(name, a, b), back)


def test_the_table_in_the_header_is_up_to_date() -> None:
    """Its bounds are those asserted above; "-" stands for the C library."""
    header, table = c_math.HEADER.read_text(), {}
    for row in re.findall(r"^   (\w+) +([\d.]+) +[\d.]+\*? +(?:([\d.]+) +[\d.]+|-)$", header, re.M):
        table[f"{row[0]}_f32"], table[f"{row[0]}_f64"] = row[1:]
    for row in re.findall(r"^   (\w+_near) +([\d.]+) +[\d.]+$", header, re.M):
        table[f"{row[0]}_f64"] = row[1]
    want = {f.name: "" if f.library else f"{f.bound:.2f}" for f in FUNCTIONS.values()}
    assert table == want
