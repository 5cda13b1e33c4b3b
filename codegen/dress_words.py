"""The words that kernels are dressed in: what an operation's result is called, what is reserved.

exp(x)                        exponential
amax of x over the last axis  row_max
x - row_max                   x_minus_max
row_sum / 48                  row_mean           (where a row has 48 elements)
x * x                         x_squared
"""

from __future__ import annotations

import builtins
import keyword
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from lazyt.ir.graph import Scalar, Value
from lazyt.ir.passes.fuse_loops import Space
from lazyt.ir.places import constant_of, counted, shown_by

# What renderers put behind a name, in words.
SUFFIXES = {
    "v": "value",
    "r": "row",
    "q": "start",
    "w": "wide",
    "p": "partial",
    "n": "nan",
    "s": "stride",
    "t": "total",
    "k": "share",
    "in": "inside",
    "out": "outside",
    "i0": "index",
    "i1": "index_1",
}

# What the local names of a language's texts are in words.
LOCALS = {
    "c": {
        "p": "arrays",
        "n": "sizes",
        "lo": "first",
        "hi": "past",
        "t": "results",
        "b": "block",
        "m": "width",
        "c": "chunk",
        "e": "chunk_end",
        "u": "tile",
        "w": "tile_end",
        "g": "strip",
        "h": "strip_end",
        "k": "share",
        "bad": "refused",
    },
    # Kernels of products (templates/build.py).
    "own": {
        "c": "contraction",
        "s": "strides",
        "w": "window",
        "at": "column",
    },
}
# Operations that have kernels of their own, in the title of one.
OWN_KERNELS = {
    "matmul": "a matrix product",
    "conv": "a convolution",
    "conv_input": "the gradient of a convolution's input",
    "conv_weight": "the gradient of a convolution's weight",
    "segment_reduce": "each row takes the values that name it",
    "count_each": "how often each number occurs",
    "topk": "the first of sorted rows",
    "kthvalue": "one of sorted rows",
    "cumsum": "a running sum",
    "cumprod": "a running product",
    "cummax": "a running maximum",
    "cummin": "a running minimum",
    "logcumsumexp": "a running sum of exponentials",
}
# What the operands of a product are called behind a name that is taken.
SIDES = ("left", "right")

REDUCED = {
    "sum": "sum",
    "prod": "product",
    "amax": "max",
    "amin": "min",
    "amax_whole": "max",
    "amin_whole": "min",
    "any": "any",
    "all": "all",
}
RESULTS = {
    "add": "sum",
    "sub": "difference",
    "mul": "product",
    "div": "quotient",
    "neg": "negative",
    "reciprocal": "reciprocal",
    "sqrt": "root",
    "rsqrt": "inverse_root",
    "standardize": "standardized",
    "var": "variance",
    "pow": "power",
    "exp": "exponential",
    "exp_nonpositive": "exponential",
    "exp2": "power_of_2",
    "expm1": "exponential_less_1",
    "log": "logarithm",
    "log2": "logarithm_2",
    "log10": "logarithm_10",
    "log1p": "logarithm_of_1_plus",
    "abs": "magnitude",
    "sin": "sine",
    "cos": "cosine",
    "tan": "tangent",
    "tanh": "hyperbolic_tangent",
    "erf": "error_function",
    "where": "chosen",
    "isnan": "is_nan",
    "cast": "converted",
    "eq": "is_equal",
    "ne": "is_unequal",
    "lt": "is_less",
    "le": "is_at_most",
    "gt": "is_greater",
    "ge": "is_at_least",
    "logical_and": "both",
    "logical_or": "either",
    "logical_not": "is_not",
    "logical_xor": "one_of_two",
    "maximum": "larger",
    "minimum": "smaller",
    "clamp_min": "clamped",
    "clamp_max": "clamped",
    "floor": "floored",
    "round": "rounded",
    "class_checked": "checked",
    "index_checked": "checked",
    "copy": "copied",
    "gather": "picked",
    "index": "picked",
    "row_pick": "picked",
    "affine_pick": "picked",
    "arange": "position",
    "positions": "position",
    "philox": "random_bits",
    "unsigned_remainder": "remainder",
    "shift_right": "shifted",
    "bitwise_and": "masked",
    "matmul": "matrix_product",
    "conv": "convolution",
    "conv_input": "input_gradient",
    "conv_weight": "weight_gradient",
    "sigmoid": "sigmoid",
    "relu": "relu",
}
# What a run-time number is to the operation that takes it, or what it is as each operand.
ROLES: dict[str, str | tuple[str, ...]] = {
    "mul": "factor",
    "div": "divisor",
    "add": "addend",
    "sub": "subtrahend",
    "pow": "exponent",
    "philox": ("block", "word", "seed_low", "seed_high", "offset_low", "offset_high"),
}


def role_of(s: Scalar, members: list[Value]) -> str:
    """A name for a run-time number, by what it does."""
    for v in members:
        for k, operand in enumerate(v.src):
            constant = constant_of(operand) if operand.__class__ is Value else None
            if operand is s or (constant is not None and constant.src[0] is s):
                role = ROLES.get(v.op.name, "number")
                return role if isinstance(role, str) else role[k]
    return "number"


def describe(v: Value, space: Space, named: Mapping[Value, str]) -> tuple[str, str]:
    """A name for the result of an operation, and what may be said behind it if it is taken.

    named: the names of the values before it.
    """
    operands = [_operand(s, named) for s in v.src]
    if v.op.kind == "reduce":
        return _reduction(v, space), f"of_{operands[0]}" if operands[0] else ""
    rule = RULES.get(v.op.name)
    found = rule(v, operands, space, named) if rule is not None else ""
    return found or RESULTS.get(v.op.name, v.op.name), ""


def _operand(s: Any, named: Mapping[Value, str]) -> Any:
    """A number, or the name of an operand: a view of something named is called the same."""
    if s.__class__ is not Value:
        return s
    constant = constant_of(s)
    if constant is not None:
        return constant.src[0]
    if s not in named and counted(s):
        return "position"
    while s not in named and s.op is not None and s.op.view:
        s = shown_by(s)
    return named.get(s)


def _reduction(v: Value, space: Space) -> str:
    noun = REDUCED.get(v.op.name, v.op.name)
    if space.level(v) == "total":
        return f"total_{noun}"
    if len(space.axes) == len(space.shape):
        return f"whole_{noun}"
    return f"{_line(space)}_{noun}"


def _line(space: Space) -> str:
    """What is reduced: rows, or columns where the innermost axis is kept."""
    kept = [i for i in range(len(space.shape)) if i not in space.axes and space.shape[i] != 1]
    inner = [i for i in space.axes if space.shape[i] != 1]
    if not kept or not inner:
        return "row"
    if max(kept) > max(inner):
        return "column"
    return "row" if max(kept) < min(inner) else "channel"


def _short(name: Any) -> str:
    """An operand's name, where it is short enough to be part of another."""
    return name if isinstance(name, str) and len(name) <= 20 else ""


def _quotient(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
    name, count = operands
    counts = {math.prod(space.shape[i] for i in space.axes), math.prod(space.shape)}
    if isinstance(name, str) and count in counts and "_sum" in name:
        sum_ = v.src[0]
        while sum_.op.view:
            sum_ = shown_by(sum_)
        summed = _operand(sum_.src[0], named) if sum_.src else None
        if isinstance(summed, str) and summed.endswith("minus_mean_squared"):
            return name.split("_sum")[0] + "_variance"
        return name.replace("_sum", "_mean")
    if _short(operands[1]) and operands[0] == 1:
        return f"one_over_{operands[1]}"
    return ""


def _product(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
    a, b = operands
    if v.src[0] is v.src[1] and _short(a):
        return f"{a}_squared"
    if _short(a) and _short(b) and len(a) + len(b) <= 24 and "times" not in a + b:
        return f"{a}_times_{b}"
    if _short(a) and b.__class__ in (int, float):
        return f"scaled_{a.removeprefix('scaled_')}"
    return ""


def _difference(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
    a, b = operands
    if not (_short(a) and isinstance(b, str)):
        return ""
    last = b.rsplit("_", 1)[-1]
    return f"{a}_minus_{last}" if last in ("mean", "max", "min") and "minus" not in a else ""


def _sum(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
    a, b = operands
    if _short(a) and b.__class__ is float and 0 < b < 1e-3:
        return f"{a}_plus_epsilon"
    return f"{a}_plus_1" if _short(a) and b.__class__ in (int, float) and b == 1 else ""


def _of_operand(template: str) -> Callable:
    def rule(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
        return template.format(operands[0]) if _short(operands[0]) else ""

    return rule


def _root(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
    inverse = "inverse_" if v.op.name == "rsqrt" else ""
    if "variance" in (operands[0] or ""):
        return f"{inverse}deviation"
    return f"{inverse}root_{operands[0]}" if _short(operands[0]) else ""


def _conversion(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
    return f"{operands[0]}_as_{v.type.dtype.name}" if _short(operands[0]) else ""


def _comparison(word: str) -> Callable:
    def rule(v: Value, operands: list, space: Space, named: Mapping[Value, str]) -> str:
        a, b = operands
        if _short(a) and b.__class__ is int:
            b = f"minus_{-b}" if b < 0 else str(b)
        return f"{a}_{word}_{b}" if _short(a) and _short(b) else ""

    return rule


VIEWS = {
    "expand": "expanded",
    "permute": "transposed",
    "reshape": "reshaped",
    "slice": "sliced",
    "part": "part",
    "as_strided": "strided",
    "get": "part",
    "replaced": "replaced",
}

RULES: dict[str, Callable] = {
    "add": _sum,
    "sub": _difference,
    "mul": _product,
    "div": _quotient,
    "div_by_total": _quotient,
    "cast": _conversion,
    "neg": _of_operand("minus_{}"),
    "exp": _of_operand("exp_{}"),
    "exp_nonpositive": _of_operand("exp_{}"),
    "log": _of_operand("log_{}"),
    "sqrt": _root,
    "rsqrt": _root,
    "tanh": _of_operand("tanh_{}"),
    "erf": _of_operand("erf_{}"),
    "class_checked": _of_operand("checked_{}"),
    "index_checked": _of_operand("checked_{}"),
    "eq": _comparison("is"),
    "ne": _comparison("is_not"),
    "lt": _comparison("below"),
    "gt": _comparison("above"),
}

# --- reserved -------------------------------------------------------------------------------------

KEYWORDS = """
alignas alignof and and_eq asm atomic_cancel atomic_commit auto bitand bitor bool break case catch
char char16_t char32_t char8_t class co_await co_return co_yield compl concept const const_cast
consteval constexpr constinit continue decltype default delete do double dynamic_cast else enum
explicit export extern false float for friend goto if inline int long mutable namespace new noexcept
not not_eq nullptr operator or or_eq private protected public reflexpr register reinterpret_cast
requires restrict return short signed sizeof static static_assert static_cast struct switch
synchronized template this thread_local throw true try typedef typeid typename typeof
typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
LIBRARY = """
NAN INFINITY NULL EOF INT64_MIN INT64_MAX INT32_MIN INT32_MAX main std errno abort exit free malloc
calloc realloc printf puts scanf gets read write open close link remove rename signal time clock
index rindex memcpy memset memmove memcmp strlen div ldiv lldiv rand srand random abs labs llabs
fabs acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 exp10
expm1 fdim floor fma fmax fmin fmod frexp hypot ilogb ldexp lgamma gamma llrint llround log log10
log1p log2 logb lrint lround modf nan nearbyint nextafter nexttoward pow remainder remquo rint round
scalbln scalbn sin sinh sqrt tan tanh tgamma trunc significand drem j0 j1 jn y0 y1 yn isnan isinf
isfinite isnormal signbit fpclassify rsqrt rcbrt normcdf sincos sinpi cospi erfinv rhypot min max
sigmoid swap sort move size data begin end select accept bind connect listen send stat sync pause
sleep wait kill pipe dup access nice brk ftime wchar byte string vector pair tuple function array
threadIdx blockIdx blockDim gridDim warpSize dim3 half half2 float1 float2 float3 float4 double1
double2 double3 double4 int1 int2 int3 int4 uint1 uint2 uint3 uint4 char4 uchar4 short2 short4
ushort2 ushort4 long1 long2 longlong2 cudaError_t saturate clock64 assert warp grid block thread np
numpy run copied
"""
_LIBRARY = frozenset(LIBRARY.split())
RESERVED = frozenset(KEYWORDS.split()) | _LIBRARY | {f"{name}f" for name in _LIBRARY}
_PREFIXED = re.compile(r"lz_|omp_|cuda[A-Z]|U?INT\d*_")


def prefixed(name: str) -> bool:
    """Whether a word begins as those of our prelude and of some libraries do."""
    return _PREFIXED.match(name) is not None


def reserved(name: str) -> bool:
    """Whether a word means something to C, C++, CUDA or Python, their libraries or our prelude."""
    common = name in ("input", "sum", "type", "range", "filter", "map", "hash", "id", "vars")
    if name in RESERVED or prefixed(name) or keyword.iskeyword(name):
        return True
    return hasattr(builtins, name) and not common
