"""Elementwise primitives: every entry is the whole of its operation.

Operands that are nodes have one dtype (the frontend inserts casts) and broadcast; operands that are
plain numbers are weak and take that dtype. A rule of `vjp` gives the cotangent in the shape of the
result: reducing it to the operand's shape is the differentiator's work (`autodiff.sum_to`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .complexes import check_gradient
from .dtypes import DType, bfloat16, bool_, float16, float32, float64, int32, uint8
from .node import LOCAL, Node
from .numerics import elementwise as forms
from .numerics.cast import cast_array
from .numerics.select import select
from .numerics.special import erf, erfc, erfinv
from .opdef import Op, provide
from .ops_constant import full as full
from .ops_constant import full_like as full_like
from .ops_constant import zeros_like as zeros_like
from .types import TensorType, broadcast_shapes

provide(
    cast=cast_array,
    select=select,
    floor_divide=forms.floor_divide,
    remainder=forms.remainder,
    fmod=forms.fmod,
    trunc_divide=forms.trunc_divide,
    power=forms.power,
    erf=erf,
    erfc=erfc,
    erfinv=erfinv,
    sigmoid=forms.sigmoid,
    sign=forms.sign,
    shift_left=forms.shift_left,
    shift_right=forms.shift_right,
)


def common(src: tuple) -> tuple[tuple[int, ...], Node]:
    """The broadcast shape of the node operands, and the first of them."""
    first: Node | None = None
    shape: tuple[int, ...] = ()
    for s in src:
        if s.__class__ is Node:
            if first is None:
                first, shape = s, s.type.shape
            elif s.type.shape != shape:
                shape = broadcast_shapes(shape, s.type.shape)
    if first is None:
        raise TypeError("an elementwise primitive needs a tensor among its operands")
    return shape, first


def _same(src: tuple, arg: tuple) -> TensorType:
    lead = src[0]
    if lead.__class__ is Node:
        type = lead.type
        for s in src:
            if s.__class__ is Node and s.type is not type:
                break
        else:
            return type
    shape, first = common(src)
    return first.type.with_shape(shape)


def _boolean(src: tuple, arg: tuple) -> TensorType:
    shape, first = common(src)
    return first.type.with_shape(shape).boolean


def elementwise(
    name: str, numpy: str, *, vjp: Any = None, infer: Callable = _same, **more: Any
) -> Op:
    """A primitive of kind "elementwise" whose result has the dtype of its operands."""
    return Op(name, numpy, kind="elementwise", vjp=vjp, infer=infer, **more)


def tied(c: Node, x: Node) -> Node:
    """A cotangent `c` that depends on `x` by steps only: differentiated again it gives `x` zeros.

    Without that, what PyTorch calls a function of `x` would be a constant. The sum that stands for
    its history is never computed.
    """
    if not LOCAL.grad or not x.grad:
        return c
    from .ops_shape import replaced

    return replaced(add(c, floor(x)), c)


def _rounded_once(rule: Callable) -> Callable:
    """A rule of g and y whose result is rounded to a half type only at the end."""

    def rounded(g: Node, y: Node, x: Node) -> Node:
        dtype = g.type.dtype
        if dtype.compute is dtype:
            return rule(g, y)
        return cast(rule(cast(g, dtype.compute), cast(y, dtype.compute)), dtype)

    return rounded


def _with_steps(c: Node, y: Node) -> Node:
    """A cotangent of a selection, tied to the input of the activation that it is the end of."""
    tag = y.tag
    if LOCAL.grad and tag is not None and tag.steps and tag.inputs:
        return tied(c, tag.inputs[0])
    return c


def comparison(name: str, numpy: str, **more: Any) -> Op:
    """An elementwise primitive whose result is bool."""
    return Op(name, numpy, kind="elementwise", infer=_boolean, **more)


# --- arithmetic -----------------------------------------------------------------------------------

add: Op = elementwise(
    "add",
    "np.add({0}, {1}, out={out})",
    vjp=(lambda g, y, a, b: g, lambda g, y, a, b: g),
)
sub: Op = elementwise(
    "sub",
    "np.subtract({0}, {1}, out={out})",
    vjp=(lambda g, y, a, b: g, lambda g, y, a, b: neg(g)),
)
mul: Op = elementwise(
    "mul",
    "np.multiply({0}, {1}, out={out})",
    vjp=(lambda g, y, a, b: mul(g, b), lambda g, y, a, b: mul(g, a)),
    saves_numbers=True,
)
div: Op = elementwise(
    "div",
    "np.divide({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: div(g, b),
        lambda g, y, a, b: mul(neg(g), div(div(a, b), b)),
    ),
    saves_numbers="always",
    samples="nonzero",
)
neg: Op = elementwise("neg", "np.negative({0}, out={out})", vjp=(lambda g, y, x: neg(g),))
abs_: Op = elementwise(
    "abs", "np.abs({0}, out={out})", vjp=(lambda g, y, x: mul(g, sign(x)),), samples="nonzero"
)
sign: Op = elementwise("sign", "sign({0}, out={out})", vjp=(lambda g, y, x: zeros_like(g),))


def _step(g, y, a, b):
    return zeros_like(g)


floor_div: Op = elementwise(
    "floor_div",
    "floor_divide({0}, {1}, out={out})",
    vjp=(_step, _step),
    samples="nonzero",
    raising="integers",
)
trunc_div: Op = elementwise(
    "trunc_div",
    "trunc_divide({0}, {1}, out={out})",
    vjp=(_step, _step),
    samples="nonzero",
    raising="integers",
)
remainder: Op = elementwise(
    "remainder",
    "remainder({0}, {1}, out={out})",
    vjp=(lambda g, y, a, b: g, lambda g, y, a, b: mul(neg(g), floor_div(a, b))),
    samples="nonzero",
    raising="integers",
)
fmod: Op = elementwise(
    "fmod",
    "fmod({0}, {1}, out={out})",
    vjp=(lambda g, y, a, b: g, lambda g, y, a, b: mul(neg(g), trunc_div(a, b))),
    samples="nonzero",
    raising="integers",
)


def _pow_base(g: Node, y: Node, a: Any, b: Any) -> Node:
    if b.__class__ is not Node:
        if b == 0:
            return zeros_like(g)
        # To be differentiated again a square is a power too: its third derivative is 0, not none.
        return mul(g, mul(a if b == 2 and not LOCAL.grad else pow_(a, b - 1), b))
    if a.__class__ is not Node:
        a = full_like(y, a)
    return where(eq(b, 0.0), 0.0, mul(g, mul(b, pow_(a, sub(b, 1.0)))))


def _pow_exponent(g: Node, y: Node, a: Any, b: Any) -> Node:
    if a.__class__ is not Node:
        if a == 0:
            return where(ge(b, 0.0), 0.0, mul(g, mul(y, -math.inf)))
        return mul(g, mul(y, math.log(a) if a > 0 else math.nan))
    return where(logical_and(eq(a, 0.0), ge(b, 0.0)), 0.0, mul(g, mul(y, log(a))))


pow_: Op = elementwise(
    "pow",
    "power({0}, {1}, out={out})",
    vjp=(_pow_base, _pow_exponent),
    samples="positive",
    also_saves=lambda n: (0, 1, -1) if n.src[1].__class__ is Node else (),
)
# An operand that is nan, or whose partner is, receives the cotangent, as in PyTorch.
maximum: Op = elementwise(
    "maximum",
    "np.maximum({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: where(lt(a, b), 0.0, where(eq(a, b), mul(g, 0.5), g)),
        lambda g, y, a, b: where(gt(a, b), 0.0, where(eq(a, b), mul(g, 0.5), g)),
    ),
)
minimum: Op = elementwise(
    "minimum",
    "np.minimum({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: where(gt(a, b), 0.0, where(eq(a, b), mul(g, 0.5), g)),
        lambda g, y, a, b: where(lt(a, b), 0.0, where(eq(a, b), mul(g, 0.5), g)),
    ),
)
fmax: Op = elementwise(
    "fmax",
    "np.fmax({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: where(logical_or(ge(a, b), _undefined(b)), g, 0.0),
        lambda g, y, a, b: where(logical_or(ge(a, b), _undefined(b)), 0.0, g),
    ),
)
fmin: Op = elementwise(
    "fmin",
    "np.fmin({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: where(logical_or(le(a, b), _undefined(b)), g, 0.0),
        lambda g, y, a, b: where(logical_or(le(a, b), _undefined(b)), 0.0, g),
    ),
)
# clamp differs from maximum where both are equal: PyTorch sends the whole cotangent to the input.
clamp_min: Op = elementwise(
    "clamp_min",
    "np.maximum({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: where(ge(a, b), g, 0.0),
        lambda g, y, a, b: where(lt(a, b), g, 0.0),
    ),
    grad_name="Clamp",
)
clamp_max: Op = elementwise(
    "clamp_max",
    "np.minimum({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: where(le(a, b), g, 0.0),
        lambda g, y, a, b: where(gt(a, b), g, 0.0),
    ),
    grad_name="Clamp",
)
nextafter: Op = elementwise(
    "nextafter",
    "np.nextafter({0}, {1}, out={out})",
    vjp=(lambda g, y, a, b: where(ne(a, b), g, 0.0), lambda g, y, a, b: zeros_like(b)),
)
atan2: Op = elementwise(
    "atan2",
    "np.arctan2({0}, {1}, out={out})",
    vjp=(
        lambda g, y, a, b: div(mul(g, b), _radius(a, b)),
        lambda g, y, a, b: div(mul(neg(g), a), _radius(a, b)),
    ),
    samples="nonzero",
)


def _radius(a: Any, b: Any) -> Node:
    return add(*[mul(v, v) if v.__class__ is Node else v * v for v in (a, b)])


def _undefined(b: Any) -> Node:
    return isnan(b) if b.__class__ is Node else b != b


# --- functions of one operand ---------------------------------------------------------------------

exp: Op = elementwise("exp", "np.exp({0}, out={out})", vjp=(lambda g, y, x: mul(g, y),))
exp2: Op = elementwise(
    "exp2", "np.exp2({0}, out={out})", vjp=(lambda g, y, x: mul(g, mul(y, math.log(2))),)
)
expm1: Op = elementwise(
    "expm1", "np.expm1({0}, out={out})", vjp=(lambda g, y, x: mul(g, add(y, 1.0)),)
)
log: Op = elementwise(
    "log", "np.log({0}, out={out})", vjp=(lambda g, y, x: div(g, x),), samples="positive"
)
log2: Op = elementwise(
    "log2",
    "np.log2({0}, out={out})",
    vjp=(lambda g, y, x: div(g, mul(x, math.log(2))),),
    samples="positive",
)
log10: Op = elementwise(
    "log10",
    "np.log10({0}, out={out})",
    vjp=(lambda g, y, x: div(g, mul(x, math.log(10))),),
    samples="positive",
)
log1p: Op = elementwise(
    "log1p",
    "np.log1p({0}, out={out})",
    vjp=(lambda g, y, x: div(g, add(x, 1.0)),),
    samples="positive",
)
sqrt: Op = elementwise(
    "sqrt",
    "np.sqrt({0}, out={out})",
    vjp=(lambda g, y, x: div(g, mul(y, 2.0)),),
    samples="positive",
)
rsqrt: Op = elementwise(
    "rsqrt",
    "np.reciprocal(np.sqrt({0}), out={out})",
    vjp=(lambda g, y, x: mul(mul(g, -0.5), mul(y, mul(y, y))),),
    samples="positive",
)
reciprocal: Op = elementwise(
    "reciprocal",
    "np.reciprocal({0}, out={out})",
    vjp=(lambda g, y, x: mul(neg(g), mul(y, y)),),
    samples="nonzero",
)
sin: Op = elementwise("sin", "np.sin({0}, out={out})", vjp=(lambda g, y, x: mul(g, cos(x)),))
cos: Op = elementwise("cos", "np.cos({0}, out={out})", vjp=(lambda g, y, x: mul(g, neg(sin(x))),))
tan: Op = elementwise(
    "tan",
    "np.tan({0}, out={out})",
    vjp=(lambda g, y, x: mul(g, add(mul(y, y), 1.0)),),
    samples="unit",
)
asin: Op = elementwise(
    "asin",
    "np.arcsin({0}, out={out})",
    vjp=(lambda g, y, x: mul(g, rsqrt(add(neg(mul(x, x)), 1.0))),),
    samples="unit",
)
acos: Op = elementwise(
    "acos",
    "np.arccos({0}, out={out})",
    vjp=(lambda g, y, x: mul(neg(g), rsqrt(add(neg(mul(x, x)), 1.0))),),
    samples="unit",
)
atan: Op = elementwise(
    "atan", "np.arctan({0}, out={out})", vjp=(lambda g, y, x: div(g, add(mul(x, x), 1.0)),)
)
sinh: Op = elementwise("sinh", "np.sinh({0}, out={out})", vjp=(lambda g, y, x: mul(g, cosh(x)),))
cosh: Op = elementwise("cosh", "np.cosh({0}, out={out})", vjp=(lambda g, y, x: mul(g, sinh(x)),))
tanh: Op = elementwise(
    "tanh",
    "np.tanh({0}, out={out})",
    vjp=(_rounded_once(lambda g, y: mul(g, sub(1.0, mul(y, y)))),),
)
asinh: Op = elementwise(
    "asinh",
    "np.arcsinh({0}, out={out})",
    vjp=(lambda g, y, x: mul(g, rsqrt(add(mul(x, x), 1.0))),),
)
acosh: Op = elementwise(
    "acosh",
    "np.arccosh(np.add({0}, 0), out={out})",
    vjp=(lambda g, y, x: mul(g, rsqrt(sub(mul(x, x), 1.0))),),
    samples="above_one",
)
atanh: Op = elementwise(
    "atanh",
    "np.arctanh({0}, out={out})",
    vjp=(lambda g, y, x: div(g, sub(1.0, mul(x, x))),),
    samples="unit",
)
sigmoid: Op = elementwise(
    "sigmoid",
    "sigmoid({0}, out={out})",
    vjp=(lambda g, y, x: mul(mul(g, sub(1.0, y)), y),),
)
relu: Op = elementwise(
    "relu",
    "np.maximum({0}, 0, out={out})",
    vjp=(lambda g, y, x: tied(where(le(y, 0.0), 0.0, g), y),),
    samples="nonzero",
)
erf_: Op = elementwise(
    "erf",
    "erf({0}, out={out})",
    vjp=(lambda g, y, x: mul(g, mul(exp(neg(mul(x, x))), 2 / math.sqrt(math.pi))),),
)
erfc_: Op = elementwise(
    "erfc",
    "erfc({0}, out={out})",
    vjp=(lambda g, y, x: mul(g, mul(exp(neg(mul(x, x))), -2 / math.sqrt(math.pi))),),
)
erfinv_: Op = elementwise(
    "erfinv",
    "erfinv({0}, out={out})",
    vjp=(lambda g, y, x: mul(g, mul(exp(pow_(erfinv_(x), 2)), math.sqrt(math.pi) / 2)),),
    samples="unit",
)


def _flat(g: Node, y: Node, x: Node) -> Node:
    return zeros_like(g)


floor: Op = elementwise("floor", "np.floor({0}, out={out})", vjp=(_flat,))
ceil: Op = elementwise("ceil", "np.ceil({0}, out={out})", vjp=(_flat,))
trunc: Op = elementwise("trunc", "np.trunc({0}, out={out})", vjp=(_flat,))
round_: Op = elementwise("round", "np.rint({0}, out={out})", vjp=(_flat,))

# --- comparisons, logic, bits ---------------------------------------------------------------------

eq: Op = comparison("eq", "np.equal({0}, {1}, out={out})")
ne: Op = comparison("ne", "np.not_equal({0}, {1}, out={out})")
lt: Op = comparison("lt", "np.less({0}, {1}, out={out})")
le: Op = comparison("le", "np.less_equal({0}, {1}, out={out})")
gt: Op = comparison("gt", "np.greater({0}, {1}, out={out})")
ge: Op = comparison("ge", "np.greater_equal({0}, {1}, out={out})")
logical_and: Op = comparison("logical_and", "np.logical_and({0}, {1}, out={out})")
logical_or: Op = comparison("logical_or", "np.logical_or({0}, {1}, out={out})")
logical_xor: Op = comparison("logical_xor", "np.logical_xor({0}, {1}, out={out})")
logical_not: Op = comparison("logical_not", "np.logical_not({0}, out={out})")
isnan: Op = comparison("isnan", "np.isnan({0}, out={out})")
isinf: Op = comparison("isinf", "np.isinf({0}, out={out})")
isfinite: Op = comparison("isfinite", "np.isfinite({0}, out={out})")
signbit: Op = comparison("signbit", "np.signbit({0}, out={out})")
bitwise_and: Op = elementwise(
    "bitwise_and", "np.bitwise_and({0}, {1}, out={out})", samples="integer"
)
bitwise_or: Op = elementwise("bitwise_or", "np.bitwise_or({0}, {1}, out={out})", samples="integer")
bitwise_xor: Op = elementwise(
    "bitwise_xor", "np.bitwise_xor({0}, {1}, out={out})", samples="integer"
)
bitwise_not: Op = elementwise("bitwise_not", "np.invert({0}, out={out})", samples="integer")
shift_left: Op = elementwise("shift_left", "shift_left({0}, {1}, out={out})", samples="shift")
shift_right: Op = elementwise("shift_right", "shift_right({0}, {1}, out={out})", samples="shift")


# --- selection, conversion, constants -------------------------------------------------------------


def _where_type(src: tuple, arg: tuple) -> TensorType:
    shape, _ = common(src)
    valued = next((s for s in src[1:] if s.__class__ is Node), None)
    if valued is None:
        raise TypeError("where needs a tensor in one of its branches")
    return valued.type.with_shape(shape)


where: Op = Op(
    "where",
    "select({0}, {1}, {2}, out={out})",
    kind="elementwise",
    vjp=(
        None,
        lambda g, y, c, a, b: _with_steps(where(c, g, 0.0), y),
        lambda g, y, c, a, b: _with_steps(where(c, 0.0, g), y),
    ),
    infer=_where_type,
    samples=lambda: [
        (([[True, False, True]], (2, 3), (2, 3)), ()),
        (([True, False, True], (2, 1), 0.5), ()),
    ],
)
cast_: Op = Op(
    "cast",
    "cast({0}, {dtype_to}, out={out})",
    kind="elementwise",
    fields=("dtype_to",),
    vjp=(lambda g, y, x: cast(g, x.type.dtype) if x.type.dtype.is_floating_point else None,),
    infer=lambda src, arg: src[0].type.with_dtype(arg[0]),
    grad_name="ToCopy",
    samples=lambda: [
        (((2, 3),), (to,)) for to in (float64, float32, float16, bfloat16, int32, uint8, bool_)
    ],
)


def cast(x: Node, dtype: DType) -> Node:
    """`x` in another dtype; `x` itself where it has it already.

    NotImplementedError for complex numbers in a real dtype other than bool: there is `real`.
    """
    if x.type.dtype is dtype:
        return x
    if x.type.dtype.is_complex:
        if not dtype.is_complex and dtype is not bool_:
            raise NotImplementedError("this is not implemented for complex tensors")
    elif dtype.is_complex:
        check_gradient(x)
    made = cast_(x, arg=(dtype,))
    if not dtype.is_floating_point:
        made.grad = 0
    return made
