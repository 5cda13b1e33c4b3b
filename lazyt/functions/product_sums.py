"""Sums with a matrix product: beta * input + alpha * product.

    addmm(c, a, b) = c + a @ b         baddbmm: of stacks         addbmm: summed over the stack

What stands under `beta=0` is not read, so nan in it does not count.
"""

from __future__ import annotations

from typing import Any

from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_linalg as lin
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.ops_constant import complex_number
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_reduce import sum_

from ..dispatch import c_name, scalar_name, tagged, update
from ..registry import public
from ..state import check_writable, node_of
from ..tensor import Tensor
from .matrix_products import (
    check_mm,
    check_mv,
    check_mv_dtypes,
    check_ranks_mv,
    check_stacks,
    exact,
    operands,
)
from .old_forms import old_form
from .views import expand


def _factor(number: Any, dtype: DType) -> Any:
    """A number that elements of `dtype` are multiplied by; a complex one as a tensor."""
    if number.__class__ is complex and dtype.is_complex:
        return complex_number(number, dtype)
    return float(number) if dtype.category >= FLOATING else int(number)


def _weighted(
    input: Tensor, a: Node, b: Node, shape: tuple[int, ...], beta: Any, alpha: Any, name: str
) -> Node:
    """beta * input + alpha * (a @ b), the input broadcast to `shape`; a beta of 0 ignores its nan.

    A product with more axes than `shape` is summed over the first one.
    """
    own = node_of(input)
    dtype = own.type.dtype
    wide = dtype.compute
    spread = own if own.type.shape == shape else node_of(expand(input, *shape))
    beta, alpha = _factor(beta, dtype), _factor(alpha, dtype)
    result = lin.matmul(cast(a, wide), cast(b, wide))
    if len(result.type.shape) > len(shape):
        result = cast(sum_(result, arg=((0,), False)), wide)
    if alpha.__class__ is Node or alpha != 1:
        result = ops.mul(result, alpha)
    if beta.__class__ is Node or beta != 0:
        spread = cast(spread, wide)
        if beta.__class__ is Node or beta != 1:
            spread = ops.mul(spread, beta)
        result = ops.add(spread, result)
    return tagged(cast(result, dtype), name, own, a, b)


def _check_expands(input: Tensor, shape: tuple[int, ...]) -> None:
    if node_of(input).type.shape != shape:
        expand(input, *shape)


def compute_addmm(input: Tensor, mat1: Tensor, mat2: Tensor, beta: Any, alpha: Any) -> Node:
    """beta * input + alpha * (mat1 @ mat2); the input broadcasts."""
    own, a, b = operands("addmm", input=input, mat1=mat1, mat2=mat2)
    for node, name in ((a, "mat1"), (b, "mat2")):
        rank = len(node.type.shape)
        if rank != 2:
            raise RuntimeError(f"{name} must be a matrix, got {rank}-D tensor")
    if a.type.shape[1] == b.type.shape[0]:
        kinds = own.type.dtype, b.type.dtype
        if kinds[0] is not kinds[1]:
            raise RuntimeError(
                f"self and mat2 must have the same dtype, but got {scalar_name(kinds[0])} and "
                f"{scalar_name(kinds[1])}"
            )
    check_mm(a, b)
    shape = (a.type.shape[0], b.type.shape[1])
    return _weighted(input, a, b, shape, beta, alpha, "Addmm")


def compute_addmv(input: Tensor, mat: Tensor, vec: Tensor, beta: Any, alpha: Any) -> Node:
    """beta * input + alpha * (mat @ vec); the input broadcasts."""
    own, a, b = operands("addmv", input=input, mat=mat, vec=vec)
    check_ranks_mv(len(own.type.shape), a, b)
    rows = own.type.numel if own.type.numel != 1 else a.type.shape[0]
    check_mv(a.type.shape, b, rows)
    check_mv_dtypes(own.type.dtype, a, b)
    return _weighted(input, a, b, a.type.shape[:1], beta, alpha, "Addmv")


def compute_baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, beta: Any, alpha: Any) -> Node:
    """beta * input + alpha * (batch1 @ batch2), matrix by matrix."""
    own, a, b = operands("baddbmm", input=input, batch1=batch1, batch2=batch2)
    for node, name in ((a, "batch1"), (b, "batch2")):
        if len(node.type.shape) != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    kinds = own.type.dtype, a.type.dtype, b.type.dtype
    if kinds[0] is not kinds[1] or kinds[1] is not kinds[2]:
        first, second, third = map(c_name, kinds)
        raise RuntimeError(
            f"Input dtypes must be the same, got: input {first}, batch1: {second}, batch2: {third}"
        )
    shape = a.type.shape[:2] + b.type.shape[2:]
    _check_expands(input, shape)
    check_stacks(a, b)
    return _weighted(input, a, b, shape, beta, alpha, "Baddbmm")


def compute_addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, beta: Any, alpha: Any) -> Node:
    """beta * input + alpha * the sum of batch1[i] @ batch2[i]."""
    own, a, b = operands("addbmm", input=input, batch1=batch1, batch2=batch2)
    for node, name in ((a, "batch1"), (b, "batch2")):
        if len(node.type.shape) != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    (batch, m, k), (count, n, p) = a.type.shape, b.type.shape
    if batch != count:
        raise RuntimeError(
            f"batch1 and batch2 must have same number of batches, got {batch} and {count}"
        )
    _check_expands(input, (m, p))
    if k != n:
        raise RuntimeError(f"Incompatible matrix sizes for bmm ({m}x{k} and {n}x{p})")
    if own.type.dtype is not a.type.dtype:
        raise RuntimeError(
            f"self and mat2 must have the same dtype, but got {scalar_name(own.type.dtype)} and "
            f"{scalar_name(a.type.dtype)}"
        )
    check_stacks(a, b)
    return _weighted(input, a, b, (m, p), beta, alpha, "Addbmm")


def _check_fits(self: Tensor, shape: tuple[int, ...]) -> None:
    have = node_of(self).type.shape
    if have != shape:
        raise RuntimeError(
            f"Bad in-place call: input tensor size {list(have)} and output tensor size "
            f"{list(shape)} should match"
        )


def _written(self: Tensor, node: Node) -> Tensor:
    _check_fits(self, node.type.shape)
    return update(self, node)


def addmm(
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *old: Any,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2); the input broadcasts."""
    if old:
        return old_form(addmm, input, mat1, mat2, *old, out=out)
    return exact(compute_addmm(input, mat1, mat2, beta, alpha), out)


def addmm_(
    self: Tensor, mat1: Tensor, mat2: Tensor, *old: Any, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`addmm`, in place."""
    if old:
        return old_form(addmm_, self, mat1, mat2, *old)
    check_writable(self)
    _, a, b = operands("addmm_", input=self, mat1=mat1, mat2=mat2)
    if len(a.type.shape) == 2 == len(b.type.shape):
        _check_fits(self, (a.type.shape[0], b.type.shape[1]))
    return _written(self, compute_addmm(self, mat1, mat2, beta, alpha))


def addmv(
    input: Tensor,
    mat: Tensor,
    vec: Tensor,
    *old: Any,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    if old:
        return old_form(addmv, input, mat, vec, *old, out=out)
    return exact(compute_addmv(input, mat, vec, beta, alpha), out)


def addmv_(
    self: Tensor, mat: Tensor, vec: Tensor, *old: Any, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`addmv`, in place."""
    if old:
        return old_form(addmv_, self, mat, vec, *old)
    check_writable(self)
    return _written(self, compute_addmv(self, mat, vec, beta, alpha))


def baddbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *old: Any,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), pair by pair."""
    if old:
        return old_form(baddbmm, input, batch1, batch2, *old, out=out)
    return exact(compute_baddbmm(input, batch1, batch2, beta, alpha), out)


def baddbmm_(
    self: Tensor, batch1: Tensor, batch2: Tensor, *old: Any, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`baddbmm`, in place."""
    if old:
        return old_form(baddbmm_, self, batch1, batch2, *old)
    check_writable(self)
    return _written(self, compute_baddbmm(self, batch1, batch2, beta, alpha))


def addbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *old: Any,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * the sum of the products of two stacks."""
    if old:
        return old_form(addbmm, input, batch1, batch2, *old, out=out)
    return exact(compute_addbmm(input, batch1, batch2, beta, alpha), out)


def addbmm_(
    self: Tensor, batch1: Tensor, batch2: Tensor, *old: Any, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`addbmm`, in place."""
    if old:
        return old_form(addbmm_, self, batch1, batch2, *old)
    check_writable(self)
    return _written(self, compute_addbmm(self, batch1, batch2, beta, alpha))


for _function in (addmm, addmv, baddbmm, addbmm):
    public(_function)
for _inplace in (addmm_, addmv_, baddbmm_, addbmm_):
    setattr(Tensor, _inplace.__name__, _inplace)
