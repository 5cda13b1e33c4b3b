"""Elementwise functions of several primitives: selections, limits, fills, weighted sums."""

from __future__ import annotations

import math
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir.dtypes import FLOATING
from lazyt.ir.node import Node
from lazyt.ir.ops_complex import modulus
from lazyt.ir.ops_constant import complex_number
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import expand, reshape
from lazyt.ir.types import broadcast_shapes
from lazyt.warned import warn_once

from ..dispatch import (
    FOUND,
    Inner,
    as_tensor_operand,
    c_name,
    can_cast,
    check_writable,
    converted,
    number_of,
    operand,
    overwritten,
    promoted,
    renamed,
    result_dtype,
    scalar_name,
    tagged,
    type_name,
    unsupported,
    update,
    without_history,
    wrap,
)
from ..layout import given, like_operands
from ..registry import FUNCTIONS, public
from ..state import check_overlap, node_of, shape_of
from ..tensor import Tensor, attach
from .arithmetic import COMPUTE, Compute, cast_bool, compute_add, compute_div, compute_mul, unsaved
from .old_forms import old_form


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None):
    """input where condition holds, else other; with the condition alone,
    `nonzero(as_tuple=True)`."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    cond = node_of(condition)
    if cond.type.dtype is not dtypes.bool_:
        if cond.type.dtype is not dtypes.uint8:
            raise RuntimeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{scalar_name(cond.type.dtype)}"
            )
        warn_once(
            "where received a uint8 condition tensor. This behavior is deprecated and will be "
            "removed in a future version of PyTorch. Use a boolean condition instead."
        )
        cond = cast_bool(cond)
    a, b = operand(input, "where", 0), operand(other, "where", 1)
    (x, y), dtype = promoted(a, b)
    if x.__class__ is not Node and y.__class__ is not Node:
        y = as_tensor_operand(y, dtype, cond.type.device)
    text = "Expected out type to be {want} but got {have}"
    return given(ops.where(cond, x, y), out, "where", condition, input, other, exact=text)


public(where, "where")
attach(where=lambda self, condition, other: where(condition, self, other))


def _bound(x: Any) -> Any:
    if x is None:
        return None
    return operand(x, "clamp", 1)


def compute_clamp(input: Node, min: Any, max: Any, name: str = "ClampBackward1") -> Node:
    """Each element, or the nearest of `min` and `max`."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    low, high = _bound(min), _bound(max)
    dtype = result_dtype(*[x for x in (input, low, high) if x is not None])
    if dtype is dtypes.bool_:
        if low is not None and high is not None:
            raise unsupported("clamp_cpu", dtype)
        if (low if high is None else high).__class__ is not Node:
            raise unsupported(f"clamp_{'min' if high is None else 'max'}_scalar_cpu", dtype)
    node = cast(input, dtype)
    for bound, op in ((low, ops.clamp_min), (high, ops.clamp_max)):
        if bound is not None:
            number = bound.__class__ is not Node
            if node.grad and node is not input and node.tag is None:
                node.tag = Inner()
            node = op(node, converted(bound, dtype) if number else cast(bound, dtype))
    tagged(node, "Clamp", input)
    tensors = isinstance(min, Tensor) or isinstance(max, Tensor)
    return node if tensors else renamed(node, name)


def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Elements limited to [min, max]; nan stays nan."""
    return given(compute_clamp(node_of(input), min, max), out, "clamp", input, min, max)


def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """`clamp`, in place."""
    check_writable(self)
    node = compute_clamp(node_of(self), min, max)
    tensors = isinstance(min, Tensor) or isinstance(max, Tensor)
    if not tensors and not can_cast(node.type.dtype, self.dtype):
        raise RuntimeError(
            f"result type {scalar_name(node.type.dtype)} can't be cast to the desired output type "
            f"{c_name(self.dtype)}"
        )
    return update(self, node)


public(clamp, "clamp", "clip", inplace=clamp_)


def _exact_for(bound: Any) -> str:
    """What is said of an `out` of another dtype, where the bound is a number."""
    return "" if isinstance(bound, Tensor) else "Found dtype {have} but expected {want}"


def clamp_min(input: Tensor, min: Any, *, out: Tensor | None = None) -> Tensor:
    """`clamp` from below."""
    node = compute_clamp(node_of(input), min, None, "ClampMinBackward0")
    return given(node, out, "clamp_min", input, min, exact=_exact_for(min))


def clamp_max(input: Tensor, max: Any, *, out: Tensor | None = None) -> Tensor:
    """`clamp` from above."""
    node = compute_clamp(node_of(input), None, max, "ClampMaxBackward0")
    return given(node, out, "clamp_max", input, max, exact=_exact_for(max))


public(clamp_min, "clamp_min", inplace=lambda self, min: clamp_(self, min=min))
public(clamp_max, "clamp_max", inplace=lambda self, max: clamp_(self, max=max))


def _scaled(value: Any, node: Node) -> Node:
    number = number_of(value)
    if number == 1:
        return node
    (x, y), _ = promoted(node, number)
    return ops.mul(x, y)


INTEGER_ADDCDIV = (
    "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will "
    "perform a true division of tensor1 and tensor2. The historic addcdiv behavior can be "
    "implemented as (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer "
    "inputs and as (input + value * tensor1 / tensor2) for float inputs. The future addcdiv "
    "behavior is just the latter implementation: (input + value * tensor1 / tensor2), for all "
    "dtypes."
)


def compute_addcmul(a: Node, b: Node, c: Node, value: Any, op: Compute) -> Node:
    """a + value * op(b, c)."""
    integers = b.type.dtype.category < FLOATING and c.type.dtype.category < FLOATING
    if op is compute_div and integers:
        raise RuntimeError(INTEGER_ADDCDIV)
    if all(x.type.dtype is dtypes.bool_ for x in (a, b, c)):
        raise unsupported("addcmul_cpu_out", dtypes.bool_)
    dtype = result_dtype(a, b, c)
    a, b, c = (cast(x, dtype.compute) for x in (a, b, c))
    if dtype.is_half:  # rounded once, at the end
        return cast(compute_add(a, op(_scaled(value, b), c)), dtype)
    return compute_add(a, _scaled(value, op(b, c)))


def addcmul(
    input: Tensor,
    tensor1: Tensor,
    tensor2: Tensor,
    *old: Any,
    value: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """input + value * tensor1 * tensor2."""
    if old:
        return old_form(addcmul, input, tensor1, tensor2, *old, out=out)
    a, b, c = node_of(input), node_of(tensor1), node_of(tensor2)
    node = tagged(compute_addcmul(a, b, c, value, compute_mul), "Addcmul", a, b, c)
    return given(node, out, "addcmul", input, tensor1, tensor2)


def addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *old: Any, value: Any = 1) -> Tensor:
    """`addcmul`, in place."""
    if old:
        return old_form(addcmul_, self, tensor1, tensor2, *old)
    check_writable(self)
    check_overlap(self, tensor1)
    check_overlap(self, tensor2)
    nodes = node_of(self), node_of(tensor1), node_of(tensor2)
    return update(self, compute_addcmul(*nodes, value, compute_mul))


public(addcmul, "addcmul", inplace=addcmul_)


def addcdiv(
    input: Tensor,
    tensor1: Tensor,
    tensor2: Tensor,
    *old: Any,
    value: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """input + value * tensor1 / tensor2."""
    if old:
        return old_form(addcdiv, input, tensor1, tensor2, *old, out=out)
    a, b, c = node_of(input), node_of(tensor1), node_of(tensor2)
    node = tagged(compute_addcmul(a, b, c, value, compute_div), "Addcdiv", a, b, c)
    return given(node, out, "addcdiv", input, tensor1, tensor2)


def addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *old: Any, value: Any = 1) -> Tensor:
    """`addcdiv`, in place."""
    if old:
        return old_form(addcdiv_, self, tensor1, tensor2, *old)
    check_writable(self)
    check_overlap(self, tensor1)
    check_overlap(self, tensor2)
    nodes = node_of(self), node_of(tensor1), node_of(tensor2)
    return update(self, compute_addcmul(*nodes, value, compute_div))


public(addcdiv, "addcdiv", inplace=addcdiv_)


def compute_lerp(a: Node, b: Node, weight: Any) -> Node:
    """a + weight * (b - a), from the nearer end."""
    w = operand(weight, "lerp", 1)
    dtype = a.type.dtype
    for x, argument in ((b, "end"), (w, "weight")):
        if x.__class__ is Node and x.type.dtype is not dtype:
            raise RuntimeError(
                f"expected dtype {c_name(dtype)} for `{argument}` but got dtype "
                f"{c_name(x.type.dtype)}"
            )
    if dtype.category != FLOATING:
        raise unsupported(f"lerp_kernel_{'tensor' if w.__class__ is Node else 'scalar'}", dtype)
    if dtype.is_half:  # rounded once, at the end
        a, b, w = (cast(x, dtypes.float32) if x.__class__ is Node else x for x in (a, b, w))
    gap = ops.sub(b, a)
    if w.__class__ is Node:
        near = ops.add(a, ops.mul(gap, w))
        far = ops.sub(b, ops.mul(gap, ops.sub(1.0, w)))
        result = ops.where(ops.lt(ops.abs_(w), 0.5), near, far)
    elif abs(w) < 0.5:
        result = ops.add(a, unsaved(ops.mul(gap, float(w))))
    else:
        result = ops.sub(b, unsaved(ops.mul(gap, 1.0 - float(w))))
    return cast(result, dtype)


def lerp(input: Tensor, end: Tensor, weight: Any, *, out: Tensor | None = None) -> Tensor:
    """input + weight * (end - input)."""
    a, b = node_of(input), node_of(end)
    node = tagged(compute_lerp(a, b, weight), "Lerp", a, b)
    exact = FOUND if isinstance(weight, Tensor) else ""
    return given(node, out, "lerp", input, end, weight, exact=exact)


def lerp_(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`lerp`, in place."""
    check_writable(self)
    check_overlap(self, end)
    a, b = node_of(self), node_of(end)
    return update(self, tagged(compute_lerp(a, b, weight), "Lerp", a, b))


public(lerp, "lerp", inplace=lerp_)


def nan_to_num(
    input: Tensor,
    nan: float | None = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """nan and the infinities replaced by numbers; None stands for 0 and the dtype's limits."""
    node = node_of(input)
    dtype = node.type.dtype
    if dtype.is_complex:
        raise NotImplementedError("nan_to_num is not implemented for complex tensors")
    if dtype.category == FLOATING:
        from ..info import finfo

        limit = finfo(dtype)
        high = limit.max if posinf is None else float(posinf)
        low = limit.min if neginf is None else float(neginf)
        result = ops.where(ops.isnan(node), float(nan or 0.0), node)
        result = ops.where(ops.eq(node, math.inf), high, result)
        node = ops.where(ops.eq(node, -math.inf), low, result)
        tagged(node, "NanToNum", node_of(input), keeps=(node_of(input),))
    if node is node_of(input):
        node = ops.cast_(node, arg=(dtype,))
    text = "nan_to_num: dtype of out: {have} should be same as input: {want}"
    return given(node, out, "nan_to_num", input, exact=text)


def nan_to_num_(
    self: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """`nan_to_num`, in place."""
    check_writable(self)
    return update(self, node_of(nan_to_num(self, nan, posinf, neginf)))


public(nan_to_num, "nan_to_num", inplace=nan_to_num_)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Every element becomes `value` (a number or a 0-d tensor)."""
    check_writable(self, allow_overlap=True)
    shape, dtype = shape_of(self), self.dtype
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.dim()} dimensions."
            )
        number = transfer(cast(node_of(value), dtype), self._storage.node.type.device)
        filled = expand(reshape(number, (1,) * len(shape)), shape)
        if not filled.grad:
            filled = overwritten(self, filled, "FillBackward3")
        return update(self, filled)
    number = number_of(value)
    if number is None:
        raise TypeError(
            f"fill_(): argument 'value' (position 1) must be Tensor or Number, not "
            f"{type(value).__name__}"
        )
    filled = ops.full(shape, converted(number, dtype), dtype, self._storage.node.type.device)
    return update(self, overwritten(self, filled, "FillBackward2"))


def zero_(self: Tensor) -> Tensor:
    """Every element becomes 0."""
    check_writable(self, allow_overlap=True)
    zeros = ops.full(shape_of(self), 0, self.dtype, self._storage.node.type.device)
    return update(self, overwritten(self, zeros, "ZeroBackward0"))


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like the input, every element of which is `value` (a number or a 0-d tensor)."""
    node = node_of(input)
    everywhere = ops.full(node.type.shape, True, dtypes.bool_, node.type.device)
    if not isinstance(value, Tensor):
        number = converted(number_of(value), node.type.dtype)
        if number.__class__ is complex:
            number = complex_number(number, node.type.dtype, node.type.device)
        return like_operands(tagged(ops.where(everywhere, number, node), "Fill", node), input)
    if value.dim():
        raise RuntimeError(
            "fill only supports 0-dimension value tensor but got tensor with "
            f"{value.dim()} dimensions."
        )
    source = node_of(value)
    filled = ops.where(everywhere, cast(source, node.type.dtype), node)
    return like_operands(renamed(tagged(filled, "Fill", node, source), "FillBackward1"), input)


attach(fill_=fill_, zero_=zero_)
FUNCTIONS |= {"fill": fill, "fill_": fill_, "zero_": zero_}


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where `mask` holds, else the input."""
    return wrap(_masked(node_of(input), mask, value, "masked_fill"))


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`masked_fill`, in place."""
    check_writable(self, allow_overlap=True)
    return update(self, _masked(node_of(self), _of_memory(self, mask), value, "masked_fill_"))


def _of_memory(t: Tensor, mask: Tensor) -> Tensor:
    """A mask over the elements of an expanded tensor as one over the memory they share."""
    meta = t._meta
    if meta is None or meta.strides is None or 0 not in meta.strides:
        return mask
    shape = shape_of(t)
    for axis, (extent, stride) in enumerate(zip(shape, meta.strides)):
        if stride == 0 and extent > 1:
            mask = mask.expand(shape).any(axis, keepdim=True)
    return mask


def _masked(node: Node, mask: Tensor, value: Any, name: str) -> Node:
    m = node_of(mask)
    if m.type.dtype is not dtypes.bool_:
        raise RuntimeError(
            "masked_fill_ only supports boolean masks, but got mask with dtype "
            f"{c_name(m.type.dtype)}"
        )
    filler = operand(value, name, 1)
    if filler.__class__ is Node and filler.type.shape:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{len(filler.type.shape)} dimension(s)."
        )
    dtype = node.type.dtype
    if filler.__class__ is Node:
        filler = cast(filler, dtype)
    else:
        filler = converted(filler, dtype)
    if filler.__class__ is complex:
        filler = complex_number(filler, dtype, node.type.device)
    broadcast_shapes(m.type.shape, node.type.shape)
    tensor = isinstance(value, Tensor)
    filled = tagged(ops.where(m, filler, node), "MaskedFill", node)
    return renamed(filled, "MaskedFillBackward1") if tensor else filled


public(masked_fill, "masked_fill", inplace=masked_fill_)


def _needs_tensor(name: str, other: Any) -> None:
    """TypeError in PyTorch's words where the second argument is no tensor."""
    if not isinstance(other, Tensor):
        raise TypeError(
            f"{name}(): argument 'other' (position 2) must be Tensor, not {type_name(other)}"
        )


@without_history
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol * |other|, or equal."""
    _needs_tensor("isclose", other)
    a, b = node_of(input), node_of(other)
    for name, bound in (("rtol", rtol), ("atol", atol)):
        if not bound >= 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {bound:g}")
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(f"{scalar_name(a.type.dtype)} did not match {scalar_name(b.type.dtype)}")
    close = ops.eq(a, b)
    if equal_nan and a.type.dtype.category >= FLOATING:
        close = ops.logical_or(close, ops.logical_and(ops.isnan(a), ops.isnan(b)))
    if rtol == 0 and atol == 0:
        return like_operands(close, input, other)
    x, y = (cast(v, dtypes.float64) if v.type.dtype.category < FLOATING else v for v in (a, b))
    absolute = modulus if x.type.dtype.is_complex else ops.abs_
    allowed = ops.add(absolute(ops.mul(y, float(rtol))), float(atol))
    gap = absolute(ops.sub(x, y))
    near = ops.logical_and(ops.isfinite(gap), ops.le(gap, allowed))
    return like_operands(ops.logical_or(close, near), input, other)


public(isclose, "isclose")


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether `isclose` holds everywhere."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


public(allclose, "allclose")


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0; RuntimeError where there is not exactly one."""
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape."""
    return shape_of(input) == shape_of(other)


public(is_nonzero, "is_nonzero")
public(is_same_size, "is_same_size")


@without_history
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape and equal elements."""
    _needs_tensor("equal", other)
    a, b = node_of(input), node_of(other)
    if a.type.shape != b.type.shape:
        return False
    return bool(wrap(COMPUTE["eq"](a, b)).all()) if a.type.numel else True


public(equal, "equal")


def logaddexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(exp(input) + exp(other)), without overflow."""
    _needs_tensor("logaddexp", other)
    (a, b), dtype = promoted(node_of(input), node_of(other))
    if dtype.category != FLOATING:
        raise unsupported("logaddexp_cpu", dtype)
    x, y = cast(a, dtype.compute), cast(b, dtype.compute)
    top = ops.maximum(x, y)
    gap = ops.neg(ops.abs_(ops.sub(x, y)))
    result = ops.where(ops.isinf(top), top, ops.add(top, ops.log1p(ops.exp(gap))))
    node = tagged(cast(result, dtype), "Logaddexp", a, b)
    return given(node, out, "logaddexp", input, other)


public(logaddexp, "logaddexp")
