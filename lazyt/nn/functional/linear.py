"""Affine maps: linear, bilinear."""

from __future__ import annotations

from typing import Any

from lazyt.dispatch import c_name, scalar_name, tagged, unsupported, wrap
from lazyt.functions.views import _legacy_name
from lazyt.ir.dtypes import bool_
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import add, mul
from lazyt.ir.ops_linalg import matmul
from lazyt.ir.ops_reduce import sum_
from lazyt.ir.ops_shape import copy, expand, permute_, reshape
from lazyt.ir.overwritten import kept_apart
from lazyt.state import geometry, node_of
from lazyt.tensor import Tensor

from .common import numbered, tensor_node


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input (*, in) @ weight (out, in) transposed, plus bias (out,): (*, out).

    A weight of one dimension gives results without the last one. Errors: RuntimeError where shapes
    or dtypes do not fit.
    """
    x = tensor_node(input, "linear")
    w = tensor_node(weight, "linear", "weight", 2)
    b = None if bias is None else tensor_node(bias, "linear", "bias", 3)
    xt, wt = x.type, w.type
    if xt.dtype is bool_ and wt.dtype is bool_:
        raise unsupported("addmm_impl_cpu_", bool_)
    if len(xt.shape) != 2 or len(wt.shape) != 2:
        return _general_linear(input, x, weight, w, bias, b)
    if xt.shape[1] != wt.shape[1] or xt.dtype is not wt.dtype:
        _refuse(x, w, b)
    transposed = permute_(w, arg=((1, 0),))
    if transposed.grad:
        tagged(transposed, "T", w, saves=False)
    y = matmul(x, transposed)
    if b is None:
        return wrap(y)
    if b.type.shape != wt.shape[:1] or b.type.dtype is not xt.dtype:
        b = _fitting_bias(bias, b, x, y)
    out = add(y, b)
    if out.grad:
        tagged(out, "Addmm", b, x, transposed)
    return wrap(out)


def _refuse(x: Node, w: Node, b: Node | None) -> None:
    """PyTorch's error for operands of `linear` that do not fit."""
    if b is not None:  # one kernel for all three, which looks at the types first
        for name, node in (("self", b), ("mat1", x)):
            if node.type.dtype is not w.type.dtype:
                raise RuntimeError(
                    f"{name} and mat2 must have the same dtype, but got "
                    f"{scalar_name(node.type.dtype)} and {scalar_name(w.type.dtype)}"
                )
    columns = x.type.shape[-1]
    rows = x.type.numel // columns if columns else (x.type.shape[0] if x.type.shape else 1)
    same = x.type.dtype is w.type.dtype
    if columns != w.type.shape[1] and (same or b is None):
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{columns} and "
            f"{w.type.shape[1]}x{w.type.shape[0]})"
        )
    kinds = " != ".join(c_name(node.type.dtype) for node in (x, w))
    raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {kinds}")


def _fitting_bias(bias: Any, b: Node, x: Node, y: Node) -> Node:
    """The bias as an operand of the sum, where it is not simply (out,)."""
    target = y.type.shape
    have = b.type.shape
    if len(have) > len(target):
        raise RuntimeError(
            f"expand({_legacy_name(bias)}{{{list(have)}}}, size={list(target)}): the number of "
            f"sizes provided ({len(target)}) must be greater or equal to the number of dimensions "
            f"in the tensor ({len(have)})"
        )
    lead = len(target) - len(have)
    for axis, extent in enumerate(have, lead):
        if extent not in (1, target[axis]):
            raise RuntimeError(
                f"The expanded size of the tensor ({target[axis]}) must match the existing size "
                f"({extent}) at non-singleton dimension {axis}.  Target sizes: {list(target)}.  "
                f"Tensor sizes: {list(have)}"
            )
    if b.type.dtype is not x.type.dtype:
        raise RuntimeError(
            f"self and mat2 must have the same dtype, but got {scalar_name(b.type.dtype)} and "
            f"{scalar_name(x.type.dtype)}"
        )
    return b


def _general_linear(input: Any, x: Node, weight: Any, w: Node, bias: Any, b: Node | None) -> Tensor:
    """`linear` of vectors, stacks of matrices, or with a vector of weights."""
    rank, wrank = len(x.type.shape), len(w.type.shape)
    if not rank or not wrank:
        raise RuntimeError(
            f"both arguments to linear need to be at least 1D, but they are {rank}D and {wrank}D"
        )
    if wrank > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {wrank}D")
    if wrank == 1:
        y = input.matmul(weight)
        return y if bias is None else y + bias
    if x.type.shape[-1] != w.type.shape[1] or x.type.dtype is not w.type.dtype:
        _refuse(x, w, b if input.is_contiguous() else None)
    lead = x.type.shape[:-1]
    transposed = permute_(w, arg=((1, 0),))
    if transposed.grad:
        tagged(transposed, "T", w, saves=False)
    # One product of a tall matrix, as BLAS likes it.
    rows = x.type.numel // x.type.shape[-1] if x.type.shape[-1] else _count(lead)
    flat = reshape(x, (rows, x.type.shape[-1]))
    if not _is_tall(input):
        flat = kept_apart(flat)
    y = matmul(flat, transposed)
    target = lead + y.type.shape[-1:]
    if b is None:
        out = copy(reshape(y, target))
        name = "SqueezeBackward4" if rank == 1 else "UnsafeViewBackward0"
        return wrap(numbered(out, name, y, saves=False))
    if len(b.type.shape) > 1:
        return wrap(add(reshape(y, target), _fitting_bias(bias, b, x, reshape(y, target))))
    if b.type.shape != y.type.shape[-1:] or b.type.dtype is not x.type.dtype:
        b = _fitting_bias(bias, b, x, y)
    product = reshape(y, target)
    out = add(product, b)
    if out.grad:
        inner = tagged(product, "Addmm", b, flat, transposed) if product.grad else b
        tagged(out, "View", inner, saves=False)
    return wrap(out)


def _is_tall(t: Tensor) -> bool:
    """Whether PyTorch sees a stack of rows as one matrix without copying it."""
    _, shape, strides = geometry(t)
    return all(k == shape[i + 1] * strides[i + 1] for i, k in enumerate(strides[:-2]))


def _count(extents: tuple[int, ...]) -> int:
    count = 1
    for extent in extents:
        count *= extent
    return count


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 A x2 + b for every output: inputs (*, in1) and (*, in2), weight (out, in1, in2)."""
    a, c = tensor_node(input1, "bilinear", "input1"), tensor_node(input2, "bilinear", "input2", 2)
    w = node_of(weight)
    b = None if bias is None else node_of(bias)
    if len(a.type.shape) != len(c.type.shape):
        raise RuntimeError(
            "bilinear(): input dimensions do not match: got "
            f"{len(a.type.shape)} and {len(c.type.shape)}"
        )
    lead = a.type.shape[:-1]
    for axis, (m, n) in enumerate(zip(lead, c.type.shape)):
        if m != n:
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {axis}: got {m} and {n}"
            )
    out, in1, in2 = w.type.shape
    if a.type.shape[-1] != in1:
        raise RuntimeError(
            f"bilinear(): input1 size does not match weight size: got {a.type.shape[-1]} but "
            f"expected {in1}"
        )
    if c.type.shape[-1] != in2:
        raise RuntimeError(
            f"bilinear(): input2 size does not match weight size: got {c.type.shape[-1]} but "
            f"expected {in2}"
        )
    if b is not None and b.type.shape[0] != out:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {b.type.shape[0]} but expected "
            f"{out}"
        )
    kinds = {"input1": a, "input2": c, "weight": w} | ({} if b is None else {"bias": b})
    if len({n.type.dtype for n in kinds.values()}) > 1:
        got = ", ".join(f"{name}: {scalar_name(n.type.dtype).lower()}" for name, n in kinds.items())
        raise RuntimeError(f"All tensors must have the same dtype, got {got}")
    if a.type.dtype is bool_:
        raise unsupported("bmm", bool_)
    rows = _count(lead)
    # (out, rows, in2) = x1 @ A, then the products with x2 summed over in2.
    half = matmul(reshape(a, (rows, in1)), w)
    summed = sum_(mul(half, expand(reshape(c, (1, rows, in2)), half.type.shape)), arg=((2,), False))
    y = reshape(permute_(summed, arg=((1, 0),)), lead + (out,))
    result = copy(y) if b is None else add(y, b)
    inputs = [n for n in (a, c, w) if n is not None]
    keeps = (a, w) if c.grad else ()
    if b is None:
        return wrap(tagged(result, "View", *inputs, keeps=keeps))
    return wrap(tagged(result, "Add", *inputs, b, keeps=keeps))
