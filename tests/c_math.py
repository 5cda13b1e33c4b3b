"""Measures the C math functions of codegen/prelude/math.h: accuracy, speed, vectorisation.

    python tests/c_math.py                      every function on a fixed sample
    python tests/c_math.py --function exp_f32   one (or `exp`, both widths)
    python tests/c_math.py --exhaustive         all 2^32 inputs of float32 functions of one
                                                argument: one to three minutes a function
    python tests/c_math.py --compiler clang --march x86-64-v2

A shared object holds three loops a function: ours, the C library's in the same precision, and the
reference in the next wider one (double for float32, long double for float64, which tells something
only where long double has more than 53 bits). Errors are in units in the last place of the exact
result; inf and nan in the wrong place, and a zero of the wrong sign, count as an infinite error.
What must be equal bit by bit (conversions, rounding, division with remainder) is compared with
NumPy instead.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

PRELUDE = Path(__file__).resolve().parent.parent / "codegen" / "prelude"
HEADER, SEMANTICS = PRELUDE / "math.h", PRELUDE / "semantics.h"
COMPILERS = ("gcc", "clang", "cc")
FLAGS = ("-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")
LONG_DOUBLE_IS_WIDER = np.finfo(np.longdouble).nmant > 52

WIDTH = {"f32": "float", "f64": "double", "f16": "uint16_t", "bf16": "uint16_t"}
WIDER = {"f32": "double", "f64": "long double"}
DTYPE = {
    "float": np.float32,
    "double": np.float64,
    "uint16_t": np.uint16,
    "int32_t": np.int32,
    "int64_t": np.int64,
}


@dataclass(frozen=True)
class Function:
    """One function with a bound in ulp; `reference` is C over a and b, `{}` the libm suffix."""

    name: str
    bound: float
    reference: str
    span: tuple[float, float] = (-5.0, 5.0)  # what is timed
    arguments: int = 1
    library: bool = False  # stays the C library's: nothing is promised
    domain: tuple[float, float] = (-math.inf, math.inf)  # the arguments it is for, and nan

    @property
    def width(self) -> str:
        return self.name.rpartition("_")[2]

    @property
    def type(self) -> str:
        return WIDTH[self.width]


@dataclass(frozen=True)
class Exact:
    """One function with one right answer, NumPy's."""

    name: str
    takes: str
    gives: str
    numpy: Callable[..., np.ndarray]
    arguments: int = 1


def _functions() -> Iterator[Function]:
    positive, unit = (0.1, 10.0), (-0.99, 0.99)
    plain = {
        # name: float32 bound, float64 bound (None: the C library's), range that is timed
        "exp": (1.0, 1.0, (-5.0, 5.0)),
        "exp2": (1.25, 1.25, (-5.0, 5.0)),
        "expm1": (0.51, 1.25, (-5.0, 5.0)),
        "log": (1.0, 1.0, positive),
        "log2": (0.51, 1.0, positive),
        "log10": (0.51, 1.0, positive),
        "log1p": (0.51, 1.0, (-0.9, 5.0)),
        "sin": (1.0, None, (-5.0, 5.0)),
        "cos": (1.0, None, (-5.0, 5.0)),
        "tan": (0.51, None, (-5.0, 5.0)),
        "sinh": (0.51, None, (-5.0, 5.0)),
        "cosh": (0.51, None, (-5.0, 5.0)),
        "tanh": (1.5, 1.5, (-5.0, 5.0)),
        "asin": (0.51, None, unit),
        "acos": (0.51, None, unit),
        "atan": (0.51, None, (-5.0, 5.0)),
        "asinh": (0.51, None, (-5.0, 5.0)),
        "acosh": (0.51, None, (1.0, 10.0)),
        "atanh": (0.51, None, unit),
        "erf": (1.5, 1.5, (-4.0, 4.0)),
        "erfc": (0.51, 3.0, (-4.0, 4.0)),
        "sqrt": (0.5, 0.5, positive),
    }
    for name, (single, double, span) in plain.items():
        yield Function(f"{name}_f32", single, name + "{}(a)", span)
        yield Function(f"{name}_f64", double or 2.0, name + "{}(a)", span, library=double is None)
    for name in ("sin", "cos"):
        yield Function(f"{name}_near_f64", 1.0, name + "{}(a)", domain=(-(2.0**20), 2.0**20))
    for width in WIDER:
        yield Function(
            f"exp_nonpositive_{width}", 1.0, "exp{}(a)", (-10.0, 0.0), domain=(-math.inf, 0.0)
        )
    for width, bounds in {"f32": (2.0, 1.5, 0.51, 0.51), "f64": (2.0, 1.5, 2.0, 1.0)}.items():
        sigmoid, rsqrt, atan2, power = bounds
        yield Function(f"sigmoid_{width}", sigmoid, "1 / (1 + exp{}(-a))")
        yield Function(f"rsqrt_{width}", rsqrt, "1 / sqrt{}(a)", positive)
        yield Function(
            f"atan2_{width}", atan2, "atan2{}(a, b)", arguments=2, library=width == "f64"
        )
        yield Function(f"pow_{width}", power, "pow{}(a, b)", positive, 2)


def _sign(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, 1, np.where(x < 0, -1, 0)).astype(x.dtype)


def _sign_or_nan(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), x, _sign(x))


def _remainder_like_torch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    rest = np.fmod(a, b)
    return np.where((rest != 0) & ((b < 0) != (rest < 0)), rest + b, rest)


def _trunc_div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    quotient = np.floor_divide(a, b)
    return quotient + ((np.fmod(a, b) != 0) & ((a < 0) != (b < 0))).astype(a.dtype)


def _bf16(x: np.ndarray) -> np.ndarray:
    """float32 to bfloat16 through float64, where half a unit can be added without rounding."""
    u = x.view(np.uint32).astype(np.uint64)
    down = u >> 16
    rest = u & 0xFFFF
    up = (rest > 0x8000) | ((rest == 0x8000) & (down & 1 == 1))
    return np.where(np.isnan(x), down | 0x40, down + up).astype(np.uint16)


def _exact() -> Iterator[Exact]:
    for width in ("f32", "f64"):
        t = WIDTH[width]
        for name in ("floor", "ceil", "trunc"):
            yield Exact(f"{name}_{width}", t, t, getattr(np, name))
        yield Exact(f"round_{width}", t, t, np.rint)
        yield Exact(f"abs_{width}", t, t, np.abs)
        yield Exact(f"sign_{width}", t, t, _sign_or_nan)
        yield Exact(f"sign_torch_{width}", t, t, _sign)
        for name in ("maximum", "minimum", "fmax", "fmin", "fmod", "remainder"):
            yield Exact(f"{name}_{width}", t, t, getattr(np, name), 2)
        yield Exact(f"remainder_torch_{width}", t, t, _remainder_like_torch, 2)
        yield Exact(f"floor_div_{width}", t, t, np.floor_divide, 2)
        yield Exact(f"div_by_total_{width}", t, t, np.divide, 2)
    for width in ("i32", "i64"):
        t = f"int{width[1:]}_t"
        yield Exact(f"floor_div_{width}", t, t, np.floor_divide, 2)
        yield Exact(f"remainder_{width}", t, t, np.remainder, 2)
        yield Exact(f"trunc_div_{width}", t, t, _trunc_div, 2)
        yield Exact(f"fmod_{width}", t, t, np.fmod, 2)
    yield Exact("f32_of_f16", "uint16_t", "float", lambda x: x.view(np.float16).astype(np.float32))
    yield Exact("f16_of_f32", "float", "uint16_t", lambda x: x.astype(np.float16).view(np.uint16))
    yield Exact(
        "f32_of_bf16", "uint16_t", "float", lambda x: (x.astype(np.uint32) << 16).view(np.float32)
    )
    yield Exact("bf16_of_f32", "float", "uint16_t", _bf16)


FUNCTIONS = {f.name: f for f in _functions()}
EXACT = {f.name: f for f in _exact()}

# The error of `got` against a wider `want`, and how many results are not the rounded reference.
_MEASURE = """
static double error_{s}({t} got, {w} want, int *rounded) {{
  {t} near = ({t})want;
  *rounded = got == near || (got != got && near != near);
  if (got != got || near != near) return got != got && near != near ? 0 : INFINITY;
  if (got == 0 && near == 0) return signbit(got) == signbit(near) ? 0 : INFINITY;
  {w} limit = ldexp{l}(1, {top}), g = isinf(got) ? copysign{l}(limit, got) : got;
  if (isinf(near) && isinf(got)) return signbit(got) == signbit(near) ? 0 : INFINITY;
  {w} r = fabs{l}(want) > limit ? copysign{l}(limit, want) : want;
  int e = want == 0 ? {low} : ilogb{l}(r);
  e = e < {low} ? {low} : e > {top} - 1 ? {top} - 1 : e;
  return (double)(fabs{l}(g - r) * ldexp{l}(1, {digits} - e));
}}
void measure_{s}(
    const {t} *got, const {w} *want, long n, double *worst, long *where, long *wrong) {{
  *worst = -1; *where = 0; *wrong = 0;
  for (long i = 0; i < n; i++) {{
    int rounded;
    double e = error_{s}(got[i], want[i], &rounded);
    *wrong += !rounded;
    if (e > *worst) {{ *worst = e; *where = i; }}
  }}
}}
"""
_LOOP = (
    "void {kind}_{name}(const {t} *restrict x, const {t} *restrict y, {r} *restrict z, long n) {{ "
    "for (long i = 0; i < n; i++) {{ {t} a = x[i], b = y[i]; (void)b; z[i] = {body}; }} }}\n"
)


def find_compiler(wanted: str | None = None) -> str | None:
    """The first C compiler on the path, or the one asked for."""
    candidates = (wanted,) if wanted else COMPILERS
    return next((c for c in candidates if shutil.which(c.split()[0])), None)


class Library:
    """The functions of the header as loops over arrays, compiled."""

    def __init__(self, compiler: str, march: str, names: list[str], flags: tuple[str, ...] = FLAGS):
        text = [f'#include "{HEADER}"\n#include "{SEMANTICS}"\n']
        lines: dict[int, str] = {}

        def loop(kind: str, name: str, t: str, r: str, body: str) -> None:
            text.append(_LOOP.format(kind=kind, name=name, t=t, r=r, body=body))
            if kind == "ours":
                lines["".join(text).count("\n")] = name

        for width, suffix, top, digits in (("f32", "", 128, 23), ("f64", "l", 1024, 52)):
            text.append(
                _MEASURE.format(
                    s=width,
                    t=WIDTH[width],
                    w=WIDER[width],
                    l=suffix,
                    top=top,
                    low=2 - top,
                    digits=digits,
                )
            )
        for name in names:
            f = FUNCTIONS.get(name) or EXACT[name]
            call = f"lz_{name}(a, b)" if f.arguments == 2 else f"lz_{name}(a)"
            if isinstance(f, Exact):
                loop("ours", name, f.takes, f.gives, call)
                continue
            loop("ours", name, f.type, f.type, call)
            wide, single = WIDER[f.width], f.width == "f32"
            loop("libm", name, f.type, f.type, f.reference.format("f" if single else ""))
            body = re.sub(r"\b([ab])\b", rf"(({wide})\1)", f.reference)
            loop("wide", name, f.type, wide, body.format("" if single else "l"))
        with TemporaryDirectory() as folder:
            source, target = Path(folder, "math.c"), Path(folder, "math.so")
            source.write_text("".join(text))
            report = (
                ["-Rpass=loop-vectorize"]
                if "clang" in subprocess.getoutput(f"{compiler} --version").lower()
                else ["-fopt-info-vec-optimized"]
            )
            target_flags = [f"-march={march}"] if march else []
            command = [*compiler.split(), *flags, *target_flags, *report, "-shared", "-fPIC"]
            done = subprocess.run(
                [*command, str(source), "-o", str(target), "-lm"], capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"{compiler} failed:\n{done.stderr[-4000:]}")
            self._library = ctypes.CDLL(str(target))
        found = re.findall(
            r"math\.c:(\d+):\d+: (?:optimized: loop vectorized|remark: vectorized loop)",
            done.stderr + done.stdout,
        )
        self.vectorised = {lines[int(n)] for n in found if int(n) in lines}
        self.warnings = [line for line in done.stderr.splitlines() if "warning:" in line]

    def _call(self, kind: str, name: str, dtype: type, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = np.empty(a.shape, dtype)
        pointers = (ctypes.c_void_p(v.ctypes.data) for v in (a, b, result))
        getattr(self._library, f"{kind}_{name}")(*pointers, ctypes.c_long(a.size))
        return result

    def ours(self, name: str, a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        """Our function of contiguous arrays."""
        f = FUNCTIONS.get(name) or EXACT[name]
        gives = f.type if isinstance(f, Function) else f.gives
        return self._call("ours", name, DTYPE[gives], a, a if b is None else b)

    def measure(
        self, f: Function, a: np.ndarray, b: np.ndarray | None = None
    ) -> tuple[float, int, int]:
        """The largest error in ulp, its position, and how many results are misrounded."""
        b = a if b is None else b
        got = self.ours(f.name, a, b)
        wide = np.float64 if f.width == "f32" else np.longdouble
        want = self._call("wide", f.name, wide, a, b)
        worst, where, wrong = ctypes.c_double(), ctypes.c_long(), ctypes.c_long()
        getattr(self._library, f"measure_{f.width}")(
            ctypes.c_void_p(got.ctypes.data),
            ctypes.c_void_p(want.ctypes.data),
            ctypes.c_long(a.size),
            ctypes.byref(worst),
            ctypes.byref(where),
            ctypes.byref(wrong),
        )
        return worst.value, where.value, wrong.value

    def time(self, kind: str, name: str, takes: str, span: tuple[float, float]) -> float:
        """Nanoseconds an element, for arrays that stay in the cache."""
        rng = np.random.default_rng(0)
        f = FUNCTIONS.get(name)
        dtype = DTYPE[takes]
        a, b = (rng.uniform(*span, 8192).astype(dtype) for _ in range(2))
        if dtype is not np.float32 and dtype is not np.float64:
            a, b = (rng.integers(1, 1000, 8192).astype(dtype) for _ in range(2))
        result = np.empty(a.shape, DTYPE[f.type if f else EXACT[name].gives])
        run = getattr(self._library, f"{kind}_{name}")
        pointers = [ctypes.c_void_p(v.ctypes.data) for v in (a, b, result)]
        best = math.inf
        for _ in range(40):
            start = time.perf_counter()
            run(*pointers, ctypes.c_long(a.size))
            best = min(best, time.perf_counter() - start)
        return best / a.size * 1e9


# Samples

_POINTS = (
    [
        0.0,
        1e-4,
        0.25,
        0.5,
        0.625,
        0.70710678,
        0.9277,
        1.0,
        1.41421356,
        1.5,
        2.0,
        3.95,
        4.0,
        6.0,
        10.0,
    ]
    + [10.06, 10.5, 16.6, 22.0, 26.5, 27.2, 28.0, 36.7, 87.3, 88.72, 89.4, 103.97, 126.0, 128.0]
    + [149.0, 150.0, 708.4, 709.78, 745.13, 1022.0, 1024.0, 1074.0]
)
_SPECIAL = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.5, 1e10, math.inf, math.nan]


def _bits(dtype: type) -> tuple[type, int, int]:
    return (np.uint32, 23, 8) if dtype is np.float32 else (np.uint64, 52, 11)


def _neighbours(points: np.ndarray, dtype: type, count: int) -> np.ndarray:
    """`count` floats on either side of every point, and their negatives."""
    unsigned = _bits(dtype)[0]
    centre = np.abs(points.astype(dtype)).view(unsigned).astype(np.int64)
    near = (centre[:, None] + np.arange(-count, count + 1)).reshape(-1)
    near = near[near >= 0].astype(unsigned).view(dtype)
    return np.concatenate([near, -near])


def special_values(dtype: type) -> np.ndarray:
    """Zeros, infinities, nan, the ends of the normal and subnormal numbers, some small integers."""
    info = np.finfo(dtype)
    ends = [info.max, info.tiny, info.smallest_subnormal, info.tiny / 2, 1 + info.eps]
    ends += [float(2 ** (info.nmant + k)) - 1 for k in (0, 1)]
    positive = np.array(_SPECIAL + ends, dtype)
    return np.concatenate([positive, -positive])


def sample(dtype: type, seed: int = 0) -> np.ndarray:
    """About 700,000 float32 or 500,000 float64 inputs.

    Every exponent, the neighbours of special points and of multiples of pi/2, special values.
    """
    rng = np.random.default_rng(seed)
    unsigned, mantissa, exponent = _bits(dtype)
    each = 1 << (10 if dtype is np.float32 else 6)
    top = np.arange(2 << exponent, dtype=np.uint64).repeat(each) << np.uint64(mantissa)
    low = rng.integers(0, 1 << mantissa, top.size, dtype=np.uint64)
    every = (top | low).astype(unsigned).view(dtype)
    turns = np.concatenate([np.arange(1, 2000), rng.integers(1, 1 << 30, 2000)]) * (np.pi / 2)
    spread = [rng.uniform(-s, s, 40_000).astype(dtype) for s in (1.0, 10.0, 120.0, 800.0)]
    return np.concatenate(
        [
            special_values(dtype),
            every,
            _neighbours(np.array(_POINTS), dtype, 200),
            _neighbours(turns, dtype, 2),
            *spread,
        ]
    )


def pairs(dtype: type, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two operands: special with special, any exponents, like sizes, bases near 1, integers."""
    rng = np.random.default_rng(seed)
    unsigned, _, exponent = _bits(dtype)
    special = special_values(dtype)
    n = 100_000
    bits = 8 * dtype().itemsize
    wild = [
        rng.integers(0, 1 << bits, n, dtype=np.uint64).astype(unsigned).view(dtype) for _ in "ab"
    ]
    like = np.exp(rng.uniform(-20, 20, n))
    whole = [rng.integers(-40, 41, n).astype(dtype) for _ in "ab"]
    tenths = [(rng.integers(-400, 401, n) / 10).astype(dtype) for _ in "ab"]
    near_one = 1 + rng.uniform(-1, 1, n) * 2.0 ** rng.uniform(-24, 0, n)
    limit = (1 << (exponent - 1)) * math.log(2)
    base = np.exp(rng.uniform(-20, 20, n))
    first = [np.repeat(special, special.size), wild[0], like, whole[0], tenths[0], near_one, base]
    second = [
        np.tile(special, special.size),
        wild[1],
        np.exp(rng.uniform(-20, 20, n)) * rng.choice([-1, 1], n),
        whole[1],
        tenths[1],
        rng.uniform(-1, 1, n) * limit / np.abs(np.log(near_one) + 1e-30),
        rng.uniform(-1.05, 1.05, n) * limit / np.abs(np.log(base)),
    ]
    with np.errstate(all="ignore"):
        return tuple(np.concatenate([v.astype(dtype) for v in part]) for part in (first, second))


def parts_of_totals(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from 0 to 1, and totals from 1 on: of all mantissas some, full ones among them."""
    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    mantissas = np.concatenate([1 + eps * np.arange(300), 2 - eps * np.arange(1, 300)])
    drawn = rng.uniform(1, 2, (2, 1_000_000)).astype(dtype)
    parts = np.concatenate([drawn[0], np.repeat(mantissas, mantissas.size)])
    totals = np.concatenate([drawn[1], np.tile(mantissas, mantissas.size)])
    parts = np.ldexp(parts, rng.integers(-101, 0, parts.size))
    totals = np.ldexp(totals, rng.integers(0, 40, totals.size))
    ends = [(0.0, 1.0), (1.0, 1.0), (0.0, np.nan), (np.nan, 3.0), (np.nan, np.nan)]
    a, b = (np.array(v) for v in zip(*ends))
    return np.concatenate([parts, a]).astype(dtype), np.concatenate([totals, b]).astype(dtype)


def exact_operands(f: Exact) -> tuple[np.ndarray, ...]:
    """Operands for a function with one right answer."""
    dtype = DTYPE[f.takes]
    if dtype is np.uint16:
        return (np.arange(1 << 16, dtype=np.uint16),)
    if f.takes.startswith("int"):
        rng = np.random.default_rng(0)
        info = np.iinfo(dtype)
        edges = np.array(
            [info.min, info.min + 1, -7, -2, -1, 1, 2, 3, 7, info.max - 1, info.max], dtype
        )
        small = [rng.integers(-50, 51, 100_000, dtype=dtype) for _ in "ab"]
        wild = [rng.integers(info.min, info.max, 100_000, dtype=dtype) for _ in "ab"]
        a = np.concatenate([np.repeat(edges, edges.size), [0], small[0], wild[0], wild[1]])
        b = np.concatenate([np.tile(edges, edges.size), [5], small[1], wild[1], small[0]])
        return a.astype(dtype), np.where(b == 0, 1, b).astype(dtype)
    if f.name.startswith("div_by_total"):
        return parts_of_totals(dtype)
    if f.arguments == 2:
        return pairs(dtype)
    ties = np.arange(-300, 300) / 2
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)
    halves = halves[np.isfinite(halves)]
    middles = halves[:-1] / 2 + halves[1:] / 2  # ties of the conversion to half
    near = _neighbours(middles, dtype, 1)
    return (np.concatenate([sample(dtype), ties.astype(dtype), near]),)


def mismatches(library: Library, f: Exact) -> tuple[int, str]:
    """How many results differ from NumPy's bit by bit (nan equals nan), and the first of them."""
    operands = exact_operands(f)
    got = library.ours(f.name, *operands)
    with np.errstate(all="ignore"):
        want = f.numpy(*operands)
    shown = ""
    if f.gives == "uint16_t":
        kind = np.float16 if "f16" in f.name and "bf16" not in f.name else None
        both = (
            np.isnan(got.view(kind)) & np.isnan(want.view(kind))
            if kind
            else (got & 0x7FFF > 0x7F80) & (want & 0x7FFF > 0x7F80)
        )
        differs = (got != want) & ~both
    elif got.dtype.kind == "f":
        both = np.isnan(got) & np.isnan(want)
        zeros = "max" in f.name or "min" in f.name  # of two zeros either may be returned
        signs = (np.signbit(got) != np.signbit(want)) & ~(zeros & (got == 0))
        differs = ((got != want) | signs) & ~both
    else:
        differs = got != want
    wrong = np.flatnonzero(differs)
    if wrong.size:
        i = wrong[0]
        shown = f"{f.name}({', '.join(repr(v[i]) for v in operands)}) = {got[i]!r}, not {want[i]!r}"
    return int(wrong.size), shown


def sweep(library: Library, f: Function) -> tuple[float, float, float]:
    """All 2^32 float32 inputs: the largest error, where, and the share of misrounded results."""
    chunk = 1 << 22
    worst, where, wrong = -1.0, 0.0, 0
    for start in range(0, 1 << 32, chunk):
        x = np.arange(start, start + chunk, dtype=np.uint64).astype(np.uint32).view(np.float32)
        error, i, count = library.measure(f, x)
        wrong += count
        if error > worst:
            worst, where = error, float(x[i])
    return worst, where, wrong / (1 << 32)


def check_sample(library: Library, f: Function) -> tuple[float, str, float]:
    """The same on the fixed sample, for any function with a bound."""
    dtype = DTYPE[f.type]
    operands = pairs(dtype) if f.arguments == 2 else (sample(dtype),)
    low, high = f.domain
    if f.arguments == 1:
        operands = tuple(v[~((v < low) | (v > high))] for v in operands)
    worst, i, wrong = library.measure(f, *operands)
    return worst, ", ".join(f"{v[i]!r}" for v in operands), wrong / operands[0].size


def _chosen(word: str | None) -> list[str]:
    names = [*FUNCTIONS, *EXACT]
    if not word:
        return names
    return [n for n in names if word in (n, n.rpartition("_")[0])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--function", help="a name with or without its width: exp, exp_f64")
    parser.add_argument("--exhaustive", action="store_true", help="all 2^32 float32 inputs")
    parser.add_argument("--compiler")
    parser.add_argument("--march", default="native")
    parser.add_argument("--flags", default="", help="further compiler flags, in one word")
    options = parser.parse_args()
    names = _chosen(options.function)
    compiler = find_compiler(options.compiler)
    if not names or compiler is None:
        print("no such function" if not names else "no C compiler found", file=sys.stderr)
        return 2
    library = Library(compiler, options.march, names, FLAGS + tuple(options.flags.split()))
    print(*library.warnings, sep="\n", end="\n" if library.warnings else "")
    titles = f"{'bound':>7}{'max ulp':>9}{'misrounded':>12}{'ns':>8}{'libm ns':>9}  vec  at"
    print(f"{'function':20}{titles}")
    failed = False
    for name in names:
        vectorised = "yes" if name in library.vectorised else "no"
        if name in EXACT:
            e = EXACT[name]
            count, first = mismatches(library, e)
            ns = library.time("ours", name, e.takes, (1.0, 50.0))
            failed |= count > 0
            shown = "exact" if not count else f"{count} wrong"
            print(
                f"{name:20}{'0':>7}{shown:>21}{ns:8.2f}{'':9}  {vectorised:4}",
                "" if not count else first,
            )
            continue
        f = FUNCTIONS[name]
        everything = options.exhaustive and f.width == "f32" and f.arguments == 1
        start = time.perf_counter()
        worst, where, share = sweep(library, f) if everything else check_sample(library, f)
        took = f" ({time.perf_counter() - start:.0f} s)" if everything else ""
        ns = library.time("ours", name, f.type, f.span)
        libm = library.time("libm", name, f.type, f.span)
        failed |= worst > f.bound and not f.library
        print(
            f"{name:20}{f.bound:7.2f} {worst:8.4g}{share:12.4%}{ns:8.2f}{libm:9.2f}"
            f"  {vectorised:4} {where}{took}",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
