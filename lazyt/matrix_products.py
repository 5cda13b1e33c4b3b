"""Matrix products of every rank, and sums with them.

    a @ b, matmul      every combination of ranks: dot, matrix times vector, matrix, stacks
    mm, mv, bmm, dot   the products of fixed rank
    addmm, ...         beta * input + alpha * product

Operands of a product have one dtype; half types are multiplied in float32 and rounded once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_linalg as lin
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_reduce import sum_
from lazyt.ir.types import broadcast_shapes

from .dims import c_name, numbered
from .dispatch import deliver, scalar_name, tagged, update, wrap
from .registry import public
from .state import check_writable, node_of
from .tensor import Tensor, attach
from .views import expand

# --- checks ---------------------------------------------------------------------------------------


def operands(name: str, **tensors: Any) -> list[Node]:
    """The nodes of tensor arguments, by name; TypeError for anything else."""
    nodes = []
    for position, (argument, t) in enumerate(tensors.items(), 1):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
                f"{type(t).__name__}"
            )
        nodes.append(node_of(t))
    return nodes


def _not_for_bool(node: Node, kernel: str) -> None:
    if node.type.dtype is dtypes.bool_:
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")


def check_mm(a: Node, b: Node, rows: int | None = None) -> None:
    """PyTorch's errors for a product of two matrices (`rows`: of a stack that was folded)."""
    m, k = a.type.shape[-2:] if rows is None else (rows, a.type.shape[-1])
    n, p = b.type.shape
    if k != n:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {n}x{p})")
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            "expected m1 and m2 to have the same dtype, but got: "
            f"{c_name(a.type.dtype)} != {c_name(b.type.dtype)}"
        )
    _not_for_bool(a, "addmm_impl_cpu_")


def check_mv(matrix: tuple[int, ...], vector: Node, rows: int | None = None) -> None:
    """PyTorch's error for the sizes of a matrix times a vector, added to `rows` elements."""
    (m, k), (n,) = matrix, vector.type.shape
    if k != n or rows is not None and rows != m:
        got = m if rows is None else rows
        raise RuntimeError(f"size mismatch, got input ({got}), mat ({m}x{k}), vec ({n})")


def check_mv_dtypes(added: DType, matrix: Node, vector: Node) -> None:
    kinds = (added, matrix.type.dtype, vector.type.dtype)
    if kinds[0] is not kinds[1] or kinds[1] is not kinds[2]:
        first, second, third = map(scalar_name, kinds)
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {first}, {second}, and {third}"
        )
    _not_for_bool(matrix, "addmv_impl_cpu")


def check_dot(a: Node, b: Node, name: str = "dot") -> None:
    """PyTorch's errors for an inner product of two vectors."""
    first, second = a.type.shape, b.type.shape
    if len(first) != 1 or len(second) != 1:
        raise RuntimeError(f"1D tensors expected, but got {len(first)}D and {len(second)}D tensors")
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            f"{name} : expected both vectors to have same dtype, but found "
            f"{scalar_name(a.type.dtype)} and {scalar_name(b.type.dtype)}"
        )
    if first != second:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{first[0]}] and src [{second[0]}] to have "
            f"the same number of elements, but got {first[0]} and {second[0]} elements respectively"
        )
    _not_for_bool(a, "dot")


def check_batches(a: Node, b: Node, batch: int, rows: tuple[int, ...]) -> None:
    """PyTorch's errors for a product of two stacks; `rows`: of the second stack, as given."""
    inner = a.type.shape[-1]
    if rows != (batch, inner):
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{batch}, {inner}] "
            f"but got: [{rows[0]}, {rows[1]}]."
        )
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(a.type.dtype)} but found "
            f"{scalar_name(b.type.dtype)}"
        )
    _not_for_bool(a, "bmm")


def check_stacks(a: Node, b: Node) -> None:
    for node, name in ((a, "batch1"), (b, "batch2")):
        if len(node.type.shape) != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    check_batches(a, b, a.type.shape[0], b.type.shape[:2])


def exact(node: Node, out: Tensor | None) -> Tensor:
    """`deliver`, for functions whose `out` must have the result's dtype."""
    if out is not None and out.dtype is not node.type.dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {c_name(node.type.dtype)}, but got "
            f"{c_name(out.dtype)} instead"
        )
    return deliver(node, out, sys._getframe(1).f_code.co_name if out is not None else "")


# --- matmul ---------------------------------------------------------------------------------------


def compute_matmul(a: Node, b: Node) -> Node:
    """The product of two nodes of any ranks but 0, with PyTorch's errors and grad_fn names."""
    left, right = a.type.shape, b.type.shape
    m, n = len(left), len(right)
    if not m or not n:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {m}D and {n}D"
        )
    if m == 2 and n == 2:
        check_mm(a, b)
        return lin.matmul(a, b)
    if m == 1 and n == 1:
        check_dot(a, b)
        return tagged(lin.matmul(a, b), "Dot", a, b)
    if m == 2 and n == 1:
        check_mv(left, b)
        check_mv_dtypes(b.type.dtype, a, b)
        return tagged(lin.matmul(a, b), "Mv", a, b)
    if m == 1 and n == 2:
        check_mm(a, b, rows=1)
        return numbered(lin.matmul(a, b), "SqueezeBackward4", a, b)
    if n <= 2:
        rows = prod(left[:-1])
        if n == 2:
            check_mm(a, b, rows)
        else:
            check_mv((rows, left[-1]), b)
            check_mv_dtypes(b.type.dtype, a, b)
    else:
        batch = prod(broadcast_shapes(left[:-2], right[:-2]))
        check_batches(a, b, batch, (batch, right[-2]))
        if m == 2 and a.grad:
            # PyTorch folds the stack into one product of transposes and copies the result back.
            return tagged(lin.matmul(a, b), "Clone", a, b)
    return tagged(lin.matmul(a, b), "UnsafeView", a, b)


def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The matrix product. Vectors count as a row on the left and a column on the right; leading
    dimensions broadcast.

    Errors: RuntimeError for shapes that do not match, 0-d operands and mixed dtypes.
    """
    a, b = operands("matmul", input=input, other=other)
    return exact(compute_matmul(a, b), out)


def _matmul_operator(self: Tensor, other: Any) -> Any:
    if not isinstance(other, Tensor):
        return NotImplemented
    return wrap(compute_matmul(node_of(self), node_of(other)))


def _matmul_reflected(self: Tensor, other: Any) -> Any:
    if not isinstance(other, Tensor):
        return NotImplemented
    return wrap(compute_matmul(node_of(other), node_of(self)))


def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of two matrices."""
    a, b = operands("mm", input=input, mat2=mat2)
    for node, name in ((a, "self"), (b, "mat2")):
        if len(node.type.shape) != 2:
            raise RuntimeError(f"{name} must be a matrix")
    check_mm(a, b)
    return exact(lin.matmul(a, b), out)


def mv(input: Tensor, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A matrix times a vector."""
    a, b = operands("mv", input=input, vec=vec)
    _check_ranks_mv(1, a, b)
    check_mv(a.type.shape, b)
    check_mv_dtypes(b.type.dtype, a, b)
    return exact(tagged(lin.matmul(a, b), "Mv", a, b), out)


def _check_ranks_mv(added: int, matrix: Node, vector: Node) -> None:
    ranks = len(matrix.type.shape), len(vector.type.shape)
    if ranks != (2, 1) or added > 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {added}, {ranks[0]}, {ranks[1]}"
        )


def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The products of two stacks of matrices, pair by pair."""
    a, b = operands("bmm", input=input, mat2=mat2)
    check_stacks(a, b)
    return exact(tagged(lin.matmul(a, b), "Bmm", a, b), out)


def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inner product of two vectors."""
    a, b = operands("dot", input=input, tensor=tensor)
    check_dot(a, b)
    return exact(tagged(lin.matmul(a, b), "Dot", a, b), out)


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inner product of two vectors (the first would be conjugated)."""
    a, b = operands("vdot", input=input, other=other)
    check_dot(a, b, "vdot")
    return exact(tagged(lin.matmul(a, b), "Vdot", a, b), out)


# --- sums with a product --------------------------------------------------------------------------


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
    number = float if dtype.category == FLOATING else int
    beta, alpha = number(beta), number(alpha)
    result = lin.matmul(cast(a, wide), cast(b, wide))
    if len(result.type.shape) > len(shape):
        result = sum_(result, arg=((0,), False))
    if alpha != 1:
        result = ops.mul(result, alpha)
    if beta != 0:
        spread = cast(spread, wide)
        result = ops.add(spread if beta == 1 else ops.mul(spread, beta), result)
    return tagged(cast(result, dtype), name, own, a, b)


def _check_expands(input: Tensor, shape: tuple[int, ...]) -> None:
    if node_of(input).type.shape != shape:
        expand(input, *shape)


def compute_addmm(input: Tensor, mat1: Tensor, mat2: Tensor, beta: Any, alpha: Any) -> Node:
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
    own, a, b = operands("addmv", input=input, mat=mat, vec=vec)
    _check_ranks_mv(len(own.type.shape), a, b)
    rows = own.type.numel if own.type.numel != 1 else a.type.shape[0]
    check_mv(a.type.shape, b, rows)
    check_mv_dtypes(own.type.dtype, a, b)
    return _weighted(input, a, b, a.type.shape[:1], beta, alpha, "Addmv")


def compute_baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, beta: Any, alpha: Any) -> Node:
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
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2); the input broadcasts."""
    return exact(compute_addmm(input, mat1, mat2, beta, alpha), out)


def addmm_(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`addmm`, in place."""
    check_writable(self)
    _, a, b = operands("addmm_", input=self, mat1=mat1, mat2=mat2)
    if len(a.type.shape) == 2 == len(b.type.shape):
        _check_fits(self, (a.type.shape[0], b.type.shape[1]))
    return _written(self, compute_addmm(self, mat1, mat2, beta, alpha))


def addmv(
    input: Tensor,
    mat: Tensor,
    vec: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    return exact(compute_addmv(input, mat, vec, beta, alpha), out)


def addmv_(self: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`addmv`, in place."""
    check_writable(self)
    return _written(self, compute_addmv(self, mat, vec, beta, alpha))


def baddbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), pair by pair."""
    return exact(compute_baddbmm(input, batch1, batch2, beta, alpha), out)


def baddbmm_(
    self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`baddbmm`, in place."""
    check_writable(self)
    return _written(self, compute_baddbmm(self, batch1, batch2, beta, alpha))


def addbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * the sum of the products of two stacks."""
    return exact(compute_addbmm(input, batch1, batch2, beta, alpha), out)


def addbmm_(
    self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """`addbmm`, in place."""
    check_writable(self)
    return _written(self, compute_addbmm(self, batch1, batch2, beta, alpha))


_PUBLIC: tuple[Callable, ...] = (
    matmul,
    mm,
    mv,
    bmm,
    dot,
    vdot,
    addmm,
    addmv,
    baddbmm,
    addbmm,
)
for _function in _PUBLIC:
    public(_function)
for _inplace in (addmm_, addmv_, baddbmm_, addbmm_):
    setattr(Tensor, _inplace.__name__, _inplace)
# No __imatmul__: as in PyTorch `a @= b` makes a new tensor.
attach(__matmul__=_matmul_operator, __rmatmul__=_matmul_reflected)
