"""What C and CUDA C have in common: types, numbers, and the expression of every operation.

An entry of the tables is the text of one operation, `{0}`, `{1}` being its operands and `{t}` the
suffix of the functions (f32, f64, i32, i64: prelude/math.h, semantics.h). One table serves both
languages.

Elements of 16 bits are floats once they are loaded. Integers of less than 32 bits are computed in
`int`, as C has it, and wrap when the result gets its type.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lazyt.ir.gathers import gathered
from lazyt.ir.graph import Value

# The files of prelude/ that the expressions below are made of, in C.
PRELUDES = ("math.h", "semantics.h", "storage.h", "random.h")
C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "bool": "uint8_t",
    "float16": "lz_half",
    "bfloat16": "lz_bfloat16",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
}
HALVES = {"float16": "f16", "bfloat16": "bf16"}  # suffixes of prelude/storage.h
SUFFIX = {"float32": "f32", "float64": "f64"} | dict.fromkeys(HALVES, "f32")
SMALL = ("int16", "int8", "uint8")
WHOLE = {"int64": "i64", "int32": "i32"} | dict.fromkeys(SMALL, "i32")

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
    "div_by_total": "lz_div_by_total_{t}({0}, {1})",
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
    "trunc_div": "lz_trunc_{t}({0} / {1})",
    "log_sigmoid": "(lz_minimum_{t}({0}, 0) - lz_log1p_{t}(lz_exp_{t}(-lz_abs_{t}({0}))))",
    "pow": "lz_pow_{t}({0}, {1})",
    "atan2": "lz_atan2_{t}({0}, {1})",
    "signbit": "(copysign(1.0, {0}) < 0)",
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
FUNCTIONS += ("erfc", "exp_nonpositive")
FLOATS |= {name: f"lz_{name}_{{t}}({{0}})" for name in FUNCTIONS}
# Operations that cost more than storing their result and loading it again.
DEAR = frozenset((*FUNCTIONS, "pow", "atan2"))
INTEGERS = {
    "abs": "({0} < 0 ? -{0} : {0})",
    "sign": "(({0} > 0) - ({0} < 0))",
    "maximum": "({0} > {1} ? {0} : {1})",
    "minimum": "({0} < {1} ? {0} : {1})",
    "clamp_min": "({0} > {1} ? {0} : {1})",
    "clamp_max": "({0} < {1} ? {0} : {1})",
    "relu": "({0} > 0 ? {0} : 0)",
    "floor_div": "lz_floor_div_{t}({0}, lz_divisor_{t}({1}))",
    "trunc_div": "lz_trunc_div_{t}({0}, lz_divisor_{t}({1}))",
    "remainder": "lz_remainder_{t}({0}, lz_divisor_{t}({1}))",
    "fmod": "lz_fmod_{t}({0}, lz_divisor_{t}({1}))",
    "pow": "lz_pow_{t}({0}, {1})",
    "shift_left": "lz_shift_left_{t}({0}, {1})",
    "shift_right": "lz_shift_right_{t}({0}, {1})",
    "philox": "lz_philox({0}, {1}, {2}, {3}, {4}, {5})",
    "unsigned_remainder": "lz_unsigned_remainder({0}, {1}, {2})",
    "bitwise_not": "(~{0})",
    "signbit": "({0} < 0)",
    "isnan": "0",
    "isinf": "0",
    "isfinite": "1",
}
BOOLS = {
    "abs": "{0}",
    "signbit": "0",
    "isnan": "0",
    "isinf": "0",
    "isfinite": "1",
    "add": "({0} | {1})",
    "mul": "({0} & {1})",
    "maximum": "({0} | {1})",
    "minimum": "({0} & {1})",
    "bitwise_not": "({0} == 0)",
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

# When an operation refuses its operands. Those of integers that divide have an expression above.
REFUSALS = {
    "class_checked": "(({0} < 0 || {0} >= {1}) && {0} != {2})",
    "index_checked": "({0} < 0 || {0} >= {1})",
}
DIVISIONS = ("floor_div", "trunc_div", "remainder", "fmod")


class Reduction:
    """How a reduction starts, takes an element in, and is finished.

    start: for each dtype, or for all. clause: OpenMP's name of it; nan: whether a nan among the
    elements is the result.
    """

    def __init__(self, start: str | dict[str, str], step: str, clause: str, nan: bool = False):
        self.start = start
        self.step = step
        self.clause = clause
        self.nan = nan


LOWEST = dict.fromkeys(("float32", "float64"), "-INFINITY")
LOWEST |= {"int64": "INT64_MIN", "int32": "(-2147483647 - 1)", "int16": "-32768", "int8": "-128"}
LOWEST |= {"uint8": "0", "bool": "0"}
HIGHEST = dict.fromkeys(("float32", "float64"), "INFINITY")
HIGHEST |= {"int64": "9223372036854775807LL", "int32": "2147483647", "int16": "32767"}
HIGHEST |= {"int8": "127", "uint8": "255", "bool": "1"}
REDUCTIONS = {
    "sum": Reduction("0", "{0} += {1}", "+"),
    "prod": Reduction("1", "{0} *= {1}", "*"),
    "amax": Reduction(LOWEST, "{0} = {1} > {0} ? {1} : {0}", "max", True),
    "amin": Reduction(HIGHEST, "{0} = {1} < {0} ? {1} : {0}", "min", True),
    "any": Reduction("0", "{0} |= {1} != 0", "|"),
    "all": Reduction("1", "{0} &= {1} != 0", "&"),
}
REDUCTIONS |= {"amax_whole": REDUCTIONS["amax"], "amin_whole": REDUCTIONS["amin"]}


def can(v: Value) -> bool:
    """Whether an operation has an expression in these tables, for its dtypes."""
    name, dtype = v.op.name, v.type.dtype.name
    source = source_dtype(v)
    if dtype not in C_TYPES or any(s.type.dtype.name not in C_TYPES for s in v.operands()):
        return False
    if gathered(v) is not None:
        return True
    if v.op.raises(v.type) and name not in REFUSALS and name not in DIVISIONS:
        return False
    if name in REFUSALS or name == "cast":
        return True
    if v.op.kind == "reduce":
        if name not in REDUCTIONS or dtype in HALVES:
            return False
        return REDUCTIONS[name].nan or name in ("any", "all") or dtype != "bool"
    if dtype in HALVES and name not in ANY:
        return False  # ir/passes/legalize.py makes it a float32 operation and a cast
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
        return BOOLS.get(name) or BITS.get(name)
    found = ARITHMETIC.get(name) or INTEGERS.get(name) or BITS.get(name)
    return None if found is None else found.replace("{t}", WHOLE[source])


def refusal(name: str, operands: list[str], source: str) -> str | None:
    """The condition on which an operation refuses its operands; None where it takes all."""
    if name in DIVISIONS and source not in SUFFIX:
        return f"({operands[1]} == 0)"
    return REFUSALS[name].format(*operands) if name in REFUSALS else None


def expression(name: str, operands: list[str], dtype: str, source: str) -> str:
    """The C expression of an operation."""
    if name == "cast":
        return converted(operands[0], dtype, source)
    if name in REFUSALS:
        return operands[0]
    text = template(name, dtype, source)
    assert text is not None, name
    return text.format(*operands)


def cuda_expression(name: str, operands: list[str], dtype: str, source: str) -> str:
    """The CUDA C expression of an operation."""
    if source in INTEGER_SUFFIX and name in WRAPPING:
        return f"lz_{name}_{INTEGER_SUFFIX[source]}({', '.join(operands)})"
    return expression(name, operands, dtype, source)


def converted(x: str, dtype: str, source: str) -> str:
    """A value in another dtype; of floats that an integer cannot hold, what x86 makes of them
    (ir/numerics/cast.py)."""
    if dtype == "bool":
        return f"({x} != 0)"
    if dtype in HALVES:
        return f"lz_round_{HALVES[dtype]}((float){x})"
    if source in SUFFIX and dtype in WHOLE:
        by = "i64" if dtype in ("int64", "uint8") else "i32"
        x = f"lz_{by}_of_{SUFFIX[source]}({x})"
        if by == WHOLE[dtype] and dtype not in SMALL:
            return x
    return f"(({C_TYPES[dtype]}){x})"


def computed(dtype: str) -> str:
    """The dtype that a value of a dtype has once it is loaded."""
    return "float32" if dtype in HALVES else dtype


def number(value: Any, dtype: str) -> str:
    """A Python number as a constant of a dtype."""
    if dtype in SUFFIX:
        if dtype == "float16":
            value = np.float16(value)
        single = dtype != "float64"
        value = float(np.float32(value)) if single else float(value)
        if math.isnan(value):
            return "NAN"
        if math.isinf(value):
            return "INFINITY" if value > 0 else "(-INFINITY)"
        text = str(np.float32(value)) + "f" if single else repr(value)
        return f"({text})" if text.startswith("-") else text
    if dtype == "bool":
        return str(int(bool(value)))
    if value == -(2**63):
        return "INT64_MIN"
    return f"({int(value)})" if value < 0 else f"{int(value)}" + ("LL" if value >= 2**31 else "")
