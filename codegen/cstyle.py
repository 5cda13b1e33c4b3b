"""What C and CUDA C have in common: types, numbers, and the expression of every operation.

An entry of the tables is the text of one operation, `{0}`, `{1}` being its operands and `{t}` the
suffix of the math functions (f32, f64: prelude/math.h, prelude/cuda.h). One table serves both
languages.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazyt.ir.graph import Value

# The files of prelude/ that the expressions below are made of, in C.
PRELUDES = ("math.h", "semantics.h", "random.h")
C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "bool": "uint8_t",
}
SUFFIX = {"float32": "f32", "float64": "f64"}

COMPARISONS = {
    "eq": "({0} == {1})",
    "ne": "({0} != {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "logical_and": "(({0} != 0) & ({1} != 0))",
    "logical_or": "(({0} != 0) | ({1} != 0))",
    "logical_xor": "(({0} != 0) ^ ({1} != 0))",
    "logical_not": "({0} == 0)",
}
ANY = {"copy": "{0}", "where": "({0} ? {1} : {2})"}
ARITHMETIC = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "neg": "(-{0})",
}
FLOATS = {
    "div": "({0} / {1})",
    "reciprocal": "(1 / {0})",
    "abs": "lz_abs_{t}({0})",
    "sign": "lz_sign_torch_{t}({0})",
    "sqrt": "lz_sqrt_{t}({0})",
    "rsqrt": "(1 / lz_sqrt_{t}({0}))",
    "maximum": "lz_maximum_{t}({0}, {1})",
    "minimum": "lz_minimum_{t}({0}, {1})",
    "clamp_min": "lz_maximum_{t}({0}, {1})",
    "clamp_max": "lz_minimum_{t}({0}, {1})",
    "fmax": "lz_fmax_{t}({0}, {1})",
    "fmin": "lz_fmin_{t}({0}, {1})",
    "relu": "lz_maximum_{t}({0}, 0)",
    "floor": "lz_floor_{t}({0})",
    "ceil": "lz_ceil_{t}({0})",
    "trunc": "lz_trunc_{t}({0})",
    "round": "lz_round_{t}({0})",
    "isnan": "({0} != {0})",
    "isinf": "(lz_abs_{t}({0}) == INFINITY)",
    "isfinite": "(lz_abs_{t}({0}) < INFINITY)",
    "floor_div": "lz_floor_div_{t}({0}, {1})",
    "remainder": "lz_remainder_torch_{t}({0}, {1})",
    "fmod": "lz_fmod_{t}({0}, {1})",
    "pow": "lz_pow_{t}({0}, {1})",
    "atan2": "lz_atan2_{t}({0}, {1})",
}
FUNCTIONS: tuple[str, ...] = (
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
)
FUNCTIONS += ("acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "erf")
FLOATS |= {name: f"lz_{name}_{{t}}({{0}})" for name in FUNCTIONS}
INTEGERS = {
    "abs": "({0} < 0 ? -{0} : {0})",
    "sign": "(({0} > 0) - ({0} < 0))",
    "maximum": "({0} > {1} ? {0} : {1})",
    "minimum": "({0} < {1} ? {0} : {1})",
    "clamp_min": "({0} > {1} ? {0} : {1})",
    "clamp_max": "({0} < {1} ? {0} : {1})",
    "relu": "({0} > 0 ? {0} : 0)",
    "shift_right": "lz_shift_right({0}, {1})",
    "philox": "lz_philox({0}, {1}, {2}, {3}, {4}, {5})",
    "unsigned_remainder": "lz_unsigned_remainder({0}, {1}, {2})",
}
BITS = {
    "bitwise_and": "({0} & {1})",
    "bitwise_or": "({0} | {1})",
    "bitwise_xor": "({0} ^ {1})",
}


# In CUDA C integers wrap by functions (prelude/cuda.h): overflow of a signed sum is undefined, and
# nvcc has no -fwrapv.
WRAPPING = ("add", "sub", "mul", "neg", "abs")
INTEGER_SUFFIX = {"int32": "i32", "int64": "i64"}

# When an operation refuses its operands; its result is the first of them.
REFUSALS = {"class_checked": "(({0} < 0 || {0} >= {1}) && {0} != {2})"}


class Reduction:
    """How a reduction starts, takes an element in, and is finished.

    clause: OpenMP's name of it; nan: whether a nan among the elements is the result.
    """

    def __init__(self, start: str, step: str, clause: str, nan: bool = False):
        self.start = start
        self.step = step
        self.clause = clause
        self.nan = nan


REDUCTIONS = {
    "sum": Reduction("0", "{0} += {1}", "+"),
    "prod": Reduction("1", "{0} *= {1}", "*"),
    "amax": Reduction("-INFINITY", "{0} = {1} > {0} ? {1} : {0}", "max", True),
    "amin": Reduction("INFINITY", "{0} = {1} < {0} ? {1} : {0}", "min", True),
    "any": Reduction("0", "{0} |= {1} != 0", "|"),
    "all": Reduction("1", "{0} &= {1} != 0", "&"),
}
REDUCTIONS |= {"amax_whole": REDUCTIONS["amax"], "amin_whole": REDUCTIONS["amin"]}


def can(v: Value) -> bool:
    """Whether an operation has an expression in these tables, for its dtypes."""
    name, dtype = v.op.name, v.type.dtype.name
    source = source_dtype(v)
    if v.op.raises(v.type):
        return name in REFUSALS
    if v.op.kind == "reduce":
        if name not in REDUCTIONS or (REDUCTIONS[name].nan and source not in SUFFIX):
            return False
        return name in ("any", "all") or dtype != "bool"
    if name == "cast":
        # What a float outside of the integer's range becomes is NumPy's to say.
        return not (source in SUFFIX and dtype in ("int32", "int64"))
    return template(name, dtype, source) is not None


def source_dtype(v: Value) -> str:
    """The dtype of the operands an operation computes with."""
    operands = v.src[1:] if v.op.name == "where" else v.src
    for s in operands:
        if s.__class__ is Value:
            return s.type.dtype.name
    return v.type.dtype.name


def template(name: str, dtype: str, source: str) -> str | None:
    """The text of an operation on operands of `source`; None where there is none."""
    if name in ANY:
        return ANY[name]
    if name in COMPARISONS:
        return COMPARISONS[name]
    if source in SUFFIX:
        found = ARITHMETIC.get(name) or FLOATS.get(name)
        return None if found is None else found.replace("{t}", SUFFIX[source])
    if source == "bool":
        return BITS.get(name)
    return ARITHMETIC.get(name) or INTEGERS.get(name) or BITS.get(name)


def expression(name: str, operands: list[str], dtype: str, source: str) -> str:
    """The C expression of an operation."""
    if name == "cast":
        if dtype == "bool":
            return f"({operands[0]} != 0)"
        return f"(({C_TYPES[dtype]}){operands[0]})"
    text = template(name, dtype, source)
    assert text is not None, name
    return text.format(*operands)


def cuda_expression(name: str, operands: list[str], dtype: str, source: str) -> str:
    """The CUDA C expression of an operation."""
    if source in INTEGER_SUFFIX and name in WRAPPING:
        return f"lz_{name}_{INTEGER_SUFFIX[source]}({', '.join(operands)})"
    return expression(name, operands, dtype, source)


def number(value: Any, dtype: str) -> str:
    """A Python number as a constant of a dtype."""
    if dtype in SUFFIX:
        value = float(np.float32(value)) if dtype == "float32" else float(value)
        if math.isnan(value):
            return "NAN"
        if math.isinf(value):
            return "INFINITY" if value > 0 else "(-INFINITY)"
        text = str(np.float32(value)) + "f" if dtype == "float32" else repr(value)
        return f"({text})" if text.startswith("-") else text
    if dtype == "bool":
        return str(int(bool(value)))
    if value == -(2**63):
        return "INT64_MIN"
    return f"({int(value)})" if value < 0 else f"{int(value)}" + ("LL" if value >= 2**31 else "")
