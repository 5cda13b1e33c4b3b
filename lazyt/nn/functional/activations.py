"""Activation functions. Each is a primitive or a short composition of primitives.

Formulas are those of https://docs.pytorch.org/docs/2.13/nn.functional.html; what overflows in a
branch that is not taken is clamped before, so that no gradient is `0 * inf`.
"""

from __future__ import annotations

import math
from typing import Any

from lazyt.dispatch import check_writable, promoted, scalar_name, tagged, update, wrap
from lazyt.functions.softmax import compute_softmax
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import DType, bool_, uint8
from lazyt.ir.node import Node
from lazyt.ir.ops_nn import log_sigmoid
from lazyt.ir.ops_shape import narrow, reshape
from lazyt.layout import like_operands
from lazyt.registry import FUNCTIONS
from lazyt.tensor import Tensor, attach, wrap_dim
from lazyt.warned import warn

from .common import check_floating, elementwise, in_compute_dtype, tensor_node

# --- rectifiers -----------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0)."""
    node = tensor_node(input, "relu")
    if node.type.dtype is bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    if inplace:
        check_writable(input)
        return update(input, ops.relu(node))
    return like_operands(ops.relu(node), input)


def relu_(input: Tensor) -> Tensor:
    """`relu`, in place."""
    return relu(input, True)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it is greater than `threshold`, else `value`."""

    def formula(x: Node) -> Node:
        (_, bound), _ = promoted(x, threshold, dtype=x.type.dtype)
        (_, other), _ = promoted(x, value, dtype=x.type.dtype)
        return ops.where(ops.le(x, bound), other, x)

    return elementwise(input, inplace, "threshold", "Threshold", formula, steps=True)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input limited to [min_val, max_val]; the gradient at both ends is 0."""
    return _hardtanh(input, min_val, max_val, inplace, "hardtanh")


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input, 0), 6)."""
    return _hardtanh(input, 0.0, 6.0, inplace, "relu6")


def _hardtanh(input: Any, low: float, high: float, inplace: bool, name: str) -> Tensor:
    if low > high:
        raise ValueError("min_val cannot be greater than max_val")

    dtype = tensor_node(input, name).type.dtype
    if dtype is bool_:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if dtype is uint8 and (int(low) < 0 or int(high) < 0):
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")

    def formula(x: Node) -> Node:
        (_, a), _ = promoted(x, low, dtype=x.type.dtype)
        (_, b), _ = promoted(x, high, dtype=x.type.dtype)
        # At an end the number is taken, not the input: no gradient flows there.
        y = ops.where(ops.le(x, a), a, x)
        return ops.where(ops.ge(y, b), b, y)

    return elementwise(input, inplace, name, "Hardtanh", formula, steps=True)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where it is positive, else negative_slope * input."""
    slope = float(negative_slope)

    def formula(x: Node) -> Node:
        check_floating(x, "leaky_relu_cpu")
        return ops.where(ops.gt(x, 0.0), x, ops.mul(x, slope))

    return elementwise(input, inplace, "leaky_relu", "LeakyRelu", formula, steps=True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where it is positive, else weight * input; one weight, or one for every channel."""
    x, w = tensor_node(input, "prelu"), tensor_node(weight, "prelu", "weight", 2)
    if x.type.dtype is not w.type.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {scalar_name(x.type.dtype)} and "
            f"{scalar_name(w.type.dtype)}"
        )
    shape = x.type.shape
    if w.type.numel != 1:
        if not shape:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = shape[1] if len(shape) > 1 else 1
        if channels != w.type.numel:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{w.type.numel} and channel size = {channels}."
            )
    if len(w.type.shape) > 1:
        raise RuntimeError(
            "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = "
            f"{len(w.type.shape)}"
        )
    check_floating(x, "prelu_cpu")
    axes = (1,) * len(shape)
    if len(shape) > 1:
        axes = (1, w.type.numel) + (1,) * (len(shape) - 2)
    slope = reshape(w, axes)
    y = in_compute_dtype(lambda a, b: ops.where(ops.gt(a, 0.0), a, ops.mul(a, b)), x, slope)
    return like_operands(tagged(y, "PreluKernel", x, w, keeps=(x, w)), input)


# --- exponential units ----------------------------------------------------------------------------


def _elu(x: Node, alpha: float, scale: float, input_scale: float) -> Node:
    check_floating(x, "elu_cpu")
    # The mask alone is kept for the backward, not the input: `elu_` may overwrite that.
    low = ops.le(x, 0.0)
    below = ops.where(low, x, 0.0)
    if input_scale != 1.0:
        below = ops.mul(below, input_scale)
    tail = ops.mul(ops.expm1(below), alpha * scale)
    return ops.where(low, tail, x if scale == 1.0 else ops.mul(x, scale))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, else alpha * (exp(input) - 1)."""
    a = float(alpha)
    return elementwise(input, inplace, "elu", "Elu", lambda x: _elu(x, a, 1.0, 1.0))


# Klambauer, Unterthiner, Mayr, Hochreiter 2017, "Self-normalizing neural networks".
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The self-normalizing unit: `elu` with a fixed alpha, times a fixed scale."""
    return elementwise(
        input, inplace, "selu", "Elu", lambda x: _elu(x, SELU_ALPHA, SELU_SCALE, 1.0)
    )


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(0, input) + min(0, alpha * (exp(input / alpha) - 1))."""
    a = float(alpha)
    if a == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return elementwise(input, inplace, "celu", "Celu", lambda x: _elu(x, a, 1.0, 1.0 / a))


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; input itself where beta * input exceeds `threshold`."""
    b, limit = float(beta), float(threshold)

    def formula(x: Node) -> Node:
        check_floating(x, "softplus_cpu")
        scaled = x if b == 1.0 else ops.mul(x, b)
        linear = ops.gt(scaled, limit)
        soft = ops.log1p(ops.exp(ops.where(linear, limit, scaled)))
        return ops.where(linear, x, soft if b == 1.0 else ops.div(soft, b))

    return elementwise(input, False, "softplus", "Softplus", formula)


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input)))."""
    node = tensor_node(input, "log_sigmoid")
    check_floating(node, "log_sigmoid_cpu")
    return like_operands(tagged(log_sigmoid(node), "LogSigmoid", node), input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input)."""

    def formula(x: Node) -> Node:
        check_floating(x, "silu_cpu")
        return ops.mul(x, ops.sigmoid(x))

    return elementwise(input, inplace, "silu", "Silu", formula)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input))."""

    def formula(x: Node) -> Node:
        check_floating(x, "mish_cpu")
        return ops.mul(x, ops.tanh(ops.neg(log_sigmoid(ops.neg(x)))))

    return elementwise(input, inplace, "mish", "Mish", formula)


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """input times the normal distribution function of input, exact or by tanh."""
    node = tensor_node(input, "gelu")
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    check_floating(node, "GeluKernelImpl")
    formula = _gelu if approximate == "none" else _gelu_tanh
    result = tagged(in_compute_dtype(formula, node), "Gelu", node, keeps=(node,))
    return like_operands(result, input)


def _gelu(x: Node) -> Node:
    tail = ops.add(ops.erf_(ops.mul(x, math.sqrt(0.5))), 1.0)
    return ops.mul(ops.mul(x, 0.5), tail)


def _gelu_tanh(x: Node) -> Node:
    cube = ops.mul(ops.mul(x, x), x)
    inner = ops.mul(ops.add(x, ops.mul(cube, 0.044715)), math.sqrt(2 / math.pi))
    return ops.mul(ops.mul(x, 0.5), ops.add(ops.tanh(inner), 1.0))


# --- squashing ------------------------------------------------------------------------------------


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input))."""
    return input.sigmoid()


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - FUNCTIONS["tanh"](input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6; no gradient at the ends."""

    def formula(x: Node) -> Node:
        check_floating(x, "hardsigmoid_cpu")
        middle = ops.div(ops.add(x, 3.0), 6.0)
        low = ops.where(ops.le(x, -3.0), 0.0, middle)
        return ops.where(ops.ge(x, 3.0), 1.0, low)

    return elementwise(input, inplace, "hardsigmoid", "Hardsigmoid", formula)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * min(max(input + 3, 0), 6) / 6."""

    def formula(x: Node) -> Node:
        check_floating(x, "hardswish_cpu")
        low, high = ops.le(x, -3.0), ops.lt(x, 3.0)
        # What is computed but not taken must be finite, for its part of the gradient to be 0.
        inside = ops.where(low, -3.0, ops.where(high, x, 3.0))
        middle = ops.div(ops.mul(inside, ops.add(inside, 3.0)), 6.0)
        return ops.where(high, ops.where(low, ops.mul(x, 0.0), middle), x)

    return elementwise(input, inplace, "hardswish", "Hardswish", formula)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input where |input| > lambd, else 0."""
    bound = float(lambd)
    check_floating(tensor_node(input, "hardshrink"), "hardshrink_cpu")

    def formula(x: Node) -> Node:
        inside = ops.logical_and(ops.ge(x, -bound), ops.le(x, bound))
        return ops.where(inside, 0.0, x)

    return elementwise(input, False, "hardshrink", "Hardshrink", formula, steps=True)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved towards 0 by lambd, 0 where |input| <= lambd."""
    bound = float(lambd)
    if bound < 0:
        raise RuntimeError(
            f"lambda must be in range [0, 3.40282e+38] for input dtype Float, but found {bound:g}"
        )
    check_floating(tensor_node(input, "softshrink"), "softshrink_check")

    def formula(x: Node) -> Node:
        zero = ops.mul(x, 0.0)  # nan where x is
        below = ops.where(ops.lt(x, -bound), ops.add(x, bound), zero)
        return ops.where(ops.gt(x, bound), ops.sub(x, bound), below)

    return elementwise(input, False, "softshrink", "Softshrink", formula, steps=True)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of a dimension times the sigmoid of the second."""
    node = tensor_node(input, "glu")
    shape = node.type.shape
    if not shape:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    axis = wrap_dim(dim, len(shape))
    if shape[axis] % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {axis} is size {shape[axis]}"
        )
    check_floating(node, "glu_cpu")
    half = shape[axis] // 2
    y = in_compute_dtype(
        lambda x: ops.mul(narrow(x, axis, 0, half), ops.sigmoid(narrow(x, axis, half, half))), node
    )
    return wrap(tagged(y, "Glu", node))


# --- softmax --------------------------------------------------------------------------------------

IMPLICIT_DIM = (
    "Implicit dimension choice for {} has been deprecated. Change the call to include dim=X as an "
    "argument."
)


def _default_dim(name: str, rank: int) -> int:
    warn(IMPLICIT_DIM.format(name))
    return 0 if rank in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """exp(input) / sum(exp(input)) along `dim`."""
    node = tensor_node(input, "softmax")
    if dim is None:
        dim = _default_dim("softmax", len(node.type.shape))
    return wrap(compute_softmax(node, dim, dtype, False))


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """softmax(-input)."""
    opposite = tensor_node(-input, "softmin")
    if dim is None:
        dim = _default_dim("softmin", len(opposite.type.shape))
    return wrap(compute_softmax(opposite, dim, dtype, False))


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """log(softmax(input)) along `dim`, without overflow."""
    node = tensor_node(input, "log_softmax")
    if dim is None:
        dim = _default_dim("log_softmax", len(node.type.shape))
    return wrap(compute_softmax(node, dim, dtype, True))


def normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """input divided by its p-norm along `dim`, where that is at least eps."""
    norm = input.norm(p, dim, keepdim=True)
    return FUNCTIONS["div"](input, norm.clamp_min(eps).expand_as(input), out=out)


def _in_place(function: Any, name: str) -> Any:
    def inplace(input: Tensor, *args: Any, **options: Any) -> Tensor:
        return function(input, *args, **options, inplace=True)

    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    return inplace


threshold_ = _in_place(threshold, "threshold")
hardtanh_ = _in_place(hardtanh, "hardtanh")
leaky_relu_ = _in_place(leaky_relu, "leaky_relu")
elu_ = _in_place(elu, "elu")
selu_ = _in_place(selu, "selu")
celu_ = _in_place(celu, "celu")
FUNCTIONS.update(
    threshold=threshold,
    threshold_=threshold_,
    selu=selu,
    selu_=selu_,
    celu=celu,
    celu_=celu_,
    prelu=prelu,
)
attach(prelu=prelu, hardshrink=hardshrink)
