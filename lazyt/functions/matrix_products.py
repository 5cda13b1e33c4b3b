"""Matrix products of every rank.

    a @ b, matmul      every combination of ranks: dot, matrix times vector, matrix, stacks
    mm, mv, bmm, dot   the products of fixed rank

Operands of a product have one dtype; half types are multiplied in float32 and rounded once.
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_linalg as lin
from lazyt.ir.dtypes import DType
from lazyt.ir.node import Node
from lazyt.ir.ops_complex import conj
from lazyt.ir.ops_shape import alias, copy
from lazyt.ir.tags import Copied
from lazyt.ir.types import broadcast_shapes, viewed_strides

from ..dispatch import EXACT, c_name, deliver, scalar_name, tagged, type_name, wrap
from ..registry import public
from ..state import geometry, node_of
from ..tensor import Tensor, attach
from .dims import numbered

# --- checks ---------------------------------------------------------------------------------------


def operands(name: str, **tensors: Any) -> list[Node]:
    """The nodes of tensor arguments, by name; TypeError for anything else."""
    nodes = []
    for position, (argument, t) in enumerate(tensors.items(), 1):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
                f"{type_name(t)}"
            )
        nodes.append(node_of(t))
    return nodes


def not_for_bool(node: Node, kernel: str) -> None:
    """NotImplementedError in PyTorch's words for a product of bools."""
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
    not_for_bool(a, "addmm_impl_cpu_")


def check_mv(matrix: tuple[int, ...], vector: Node, rows: int | None = None) -> None:
    """PyTorch's error for the sizes of a matrix times a vector, added to `rows` elements."""
    (m, k), (n,) = matrix, vector.type.shape
    if k != n or rows is not None and rows != m:
        got = m if rows is None else rows
        raise RuntimeError(f"size mismatch, got input ({got}), mat ({m}x{k}), vec ({n})")


def check_mv_dtypes(added: DType, matrix: Node, vector: Node) -> None:
    """RuntimeError unless the three operands of addmv have one dtype."""
    kinds = (added, matrix.type.dtype, vector.type.dtype)
    if kinds[0] is not kinds[1] or kinds[1] is not kinds[2]:
        first, second, third = map(scalar_name, kinds)
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {first}, {second}, and {third}"
        )
    not_for_bool(matrix, "addmv_impl_cpu")


def check_dot(a: Node, b: Node) -> None:
    """PyTorch's errors for an inner product of two vectors."""
    first, second = a.type.shape, b.type.shape
    if len(first) != 1 or len(second) != 1:
        raise RuntimeError(f"1D tensors expected, but got {len(first)}D and {len(second)}D tensors")
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            "dot : expected both vectors to have same dtype, but found "
            f"{scalar_name(a.type.dtype)} and {scalar_name(b.type.dtype)}"
        )
    if first != second:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{first[0]}] and src [{second[0]}] to have "
            f"the same number of elements, but got {first[0]} and {second[0]} elements respectively"
        )
    not_for_bool(a, "dot")


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
    not_for_bool(a, "bmm")


def check_stacks(a: Node, b: Node) -> None:
    """PyTorch's errors for a product of two stacks of matrices."""
    for node, name in ((a, "batch1"), (b, "batch2")):
        if len(node.type.shape) != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    check_batches(a, b, a.type.shape[0], b.type.shape[:2])


OUT_OF_DOT = "result dtype {have} does not match input dtype {want}"
OUT_OF_MV = "addmv input tensors must have the same dtype, but got {have}, {want}, and {want}"


def exact(node: Node, out: Tensor | None, text: str = EXACT) -> Tensor:
    """`deliver`, for functions whose `out` must have the result's dtype."""
    return deliver(node, out, sys._getframe(1).f_code.co_name if out is not None else "", text)


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
        a, b = _expanded(a), _expanded(b)
        batch = prod(broadcast_shapes(left[:-2], right[:-2]))
        check_batches(a, b, batch, (batch, right[-2]))
        if m == 2 and a.grad:
            # PyTorch folds the stack into one product of transposes and copies the result back.
            return tagged(lin.matmul(a, b), "Clone", a, b)
    return tagged(lin.matmul(a, b), "UnsafeView", a, b)


def compute_product(input: Tensor, other: Tensor) -> Node:
    """`compute_matmul` of two tensors, of which stacks are copied where PyTorch copies them, so
    that no later write reaches what a backward saved."""
    a, b = node_of(input), node_of(other)
    left, right = a.type.shape, b.type.shape
    m, n = len(left), len(right)
    if 0 < n <= 2 < m and left[-1] != right[0] and not b.grad:
        _, shape, strides = geometry(input)
        if 0 not in shape and any(
            strides[i] != strides[i + 1] * shape[i + 1] for i in range(m - 2)
        ):
            # A stack that is no tall matrix in memory meets a stack of the other one.
            stack = prod(left[:-2])
            check_batches(a, b, stack, (stack, right[0]))
    if m <= 2 and n <= 2 or not m or not n or not (a.grad or b.grad):
        return compute_matmul(a, b)
    if m == n == 3:  # a stack of one counts as the matrix
        m, n = 3 - (left[0] == 1 != right[0]), 3 - (right[0] == 1 != left[0])
    if n <= 2 < m:
        if b.grad:  # folded, for otherwise there would be a stack of gradients for the other
            a = _seen_as(a, input, left, (prod(left[:-1]), left[-1]))
    elif m <= 2 < n:
        if a.grad:
            b = _seen_as(b, other, right, (prod(right[:-2]) * right[-1], right[-2]), turned=True)
    elif left[:-2] != right[:-2]:
        try:
            batch = broadcast_shapes(left[:-2], right[:-2])
        except RuntimeError:
            return compute_matmul(a, b)  # raises
        a = _seen_as(a, input, batch + left[-2:], (prod(batch), *left[-2:]))
        b = _seen_as(b, other, batch + right[-2:], (prod(batch), *right[-2:]))
    return compute_matmul(a, b)


def _seen_as(
    node: Node, t: Tensor, spread: tuple[int, ...], target: tuple[int, ...], turned: bool = False
) -> Node:
    """A stack of matrices, copied where it cannot be viewed in the shape of `target`.

    spread: the shape it is broadcast to first. turned: its matrices are transposed first.
    """
    _, shape, strides = geometry(t)
    own = (1,) * (len(spread) - len(shape)) + shape
    steps = (0,) * (len(spread) - len(shape)) + strides
    steps = tuple(0 if k == 1 != n else s for k, n, s in zip(own, spread, steps))
    if turned:
        spread = (*spread[:-2], spread[-1], spread[-2])
        steps = (*steps[:-2], steps[-1], steps[-2])
    if viewed_strides(spread, steps, target) is not None:
        return node
    made = copy(node)
    made.tag = Copied()
    return made


def _expanded(node: Node) -> Node:
    """An operand as PyTorch hands it on: through `expand`, which takes a gradient even where that
    leads nowhere, and a view of a leaf, which shows its memory whatever `.data` it is given."""
    ends = node.grad and node.tag is not None and node.tag.leaf is not None
    return alias(node) if ends else node


def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The matrix product. Vectors count as a row on the left and a column on the right; leading
    dimensions broadcast.

    Errors: RuntimeError for shapes that do not match, 0-d operands and mixed dtypes.
    """
    operands("matmul", input=input, other=other)
    return exact(compute_product(input, other), out)


def _matmul_operator(self: Tensor, other: Any) -> Any:
    if not isinstance(other, Tensor):
        return NotImplemented
    return wrap(compute_product(self, other))


def _matmul_reflected(self: Tensor, other: Any) -> Any:
    if not isinstance(other, Tensor):
        return NotImplemented
    return wrap(compute_product(other, self))


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
    check_ranks_mv(1, a, b)
    check_mv(a.type.shape, b)
    check_mv_dtypes(b.type.dtype, a, b)
    return exact(tagged(lin.matmul(a, b), "Mv", a, b), out, OUT_OF_MV)


def check_ranks_mv(added: int, matrix: Node, vector: Node) -> None:
    """RuntimeError unless the operands are a vector, a matrix and a vector."""
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
    return exact(tagged(lin.matmul(a, b), "Dot", a, b), out, OUT_OF_DOT)


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inner product of two vectors, the first conjugated."""
    a, b = operands("vdot", input=input, other=other)
    check_dot(a, b)
    first = conj(a) if a.type.dtype.is_complex else a
    return exact(tagged(lin.matmul(first, b), "Vdot", a, b), out, OUT_OF_DOT)


for _function in (matmul, mm, mv, bmm, dot, vdot):
    public(_function)
# No __imatmul__: as in PyTorch `a @= b` makes a new tensor.
attach(__matmul__=_matmul_operator, __rmatmul__=_matmul_reflected)
