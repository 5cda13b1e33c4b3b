"""Matrix products, and what is named torch.linalg.

    a @ b, matmul      every combination of ranks: dot, matrix times vector, matrix, stacks
    mm, mv, bmm, dot   the products of fixed rank
    addmm, ...         beta * input + alpha * product

Operands of a product have one dtype; half types are multiplied in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from operator import index as as_int
from typing import Any

from lazyt.ir import dtypes
from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_linalg as lin
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_reduce import sum_
from lazyt.ir.ops_shape import copy
from lazyt.ir.types import broadcast_shapes

from .dispatch import deliver, scalar_name, tagged, update, wrap
from .norms import linalg_norm as norm
from .norms import matrix_norm, vector_norm
from .pointwise import FUNCTIONS, compute_mul, public
from .products import linalg_cross as cross
from .reductions import c_name, numbered
from .state import check_writable, node_of
from .tensor import Tensor
from .views import expand

__all__ = [
    "LinAlgError",
    "cross",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "vecdot",
    "vector_norm",
]


class LinAlgError(RuntimeError):
    """A matrix that the operation is not defined for."""


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
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {n}x{p})"
        )
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
            "addmv input tensors must have the same dtype, but got "
            f"{first}, {second}, and {third}"
        )
    _not_for_bool(matrix, "addmv_impl_cpu")


def check_dot(a: Node, b: Node, name: str = "dot") -> None:
    """PyTorch's errors for an inner product of two vectors."""
    first, second = a.type.shape, b.type.shape
    if len(first) != 1 or len(second) != 1:
        raise RuntimeError(
            f"1D tensors expected, but got {len(first)}D and {len(second)}D tensors"
        )
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            f"{name} : expected both vectors to have same dtype, but found "
            f"{scalar_name(a.type.dtype)} and {scalar_name(b.type.dtype)}"
        )
    if first != second:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{first[0]}] and src [{second[0]}] to have the "
            f"same number of elements, but got {first[0]} and {second[0]} elements respectively"
        )
    _not_for_bool(a, "dot")


def check_batches(a: Node, b: Node, batch: int, rows: tuple[int, int]) -> None:
    """PyTorch's errors for a product of two stacks; `rows`: of the second stack, as given."""
    inner = a.type.shape[-1]
    if rows != (batch, inner):
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{batch}, {inner}] but "
            f"got: [{rows[0]}, {rows[1]}]."
        )
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(a.type.dtype)} but found {scalar_name(b.type.dtype)}"
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
    return deliver(node, out)


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
        check_mv(left, b)  # type: ignore[arg-type]
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
    check_mv(a.type.shape, b)  # type: ignore[arg-type]
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


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The inner products of vectors along `dim`; everything else broadcasts."""
    a, b = operands("linalg_vecdot", x=x, y=y)
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            "linalg.vecdot: Expected x and y to have the same dtype, but found x of type "
            f"{scalar_name(a.type.dtype)} and y of type {scalar_name(b.type.dtype)} instead"
        )
    return FUNCTIONS["sum"](wrap(compute_mul(a, b)), dim, dtype=a.type.dtype, out=out)


# --- sums with a product --------------------------------------------------------------------------


def _fitted(input: Tensor, shape: tuple[int, ...]) -> Node:
    node = node_of(input)
    return node if node.type.shape == shape else node_of(expand(input, *shape))


def _combined(input: Node, product: Node, beta: Any, alpha: Any) -> Node:
    """beta * input + alpha * product; a beta of 0 ignores the input, nan and all."""
    if input.type.dtype.category == FLOATING:
        beta, alpha = float(beta), float(alpha)
    else:
        beta, alpha = int(beta), int(alpha)
    if alpha != 1:
        product = ops.mul(product, alpha)
    if beta == 0:
        return product
    return ops.add(input if beta == 1 else ops.mul(input, beta), product)


def _adding(name: str, compute: Callable[..., Node]) -> None:
    """Publishes `name(input, first, second, beta, alpha)` and its in-place form.

    `compute(input, first, second)` checks and returns the product before it is scaled.
    """
    title = name.title()

    def combine(input: Any, first: Any, second: Any, beta: Any, alpha: Any) -> Node:
        nodes = operands(name, input=input, **{_NAMES[name][0]: first, _NAMES[name][1]: second})
        own, a, b = nodes
        check, product, shape = compute(own, a, b)
        del check
        dtype = own.type.dtype
        wide = dtype.compute
        result = _combined(
            cast(_fitted(input, shape), wide),
            product(cast(a, wide), cast(b, wide)),
            beta,
            alpha,
        )
        return tagged(cast(result, dtype), title, own, a, b)

    def function(
        input: Tensor,
        first: Tensor,
        second: Tensor,
        *,
        beta: Any = 1,
        alpha: Any = 1,
        out: Tensor | None = None,
    ) -> Tensor:
        return exact(combine(input, first, second, beta, alpha), out)

    def inplace(
        self: Tensor, first: Tensor, second: Tensor, *, beta: Any = 1, alpha: Any = 1
    ) -> Tensor:
        check_writable(self)
        node = combine(self, first, second, beta, alpha)
        if node.type.shape != node_of(self).type.shape:
            raise RuntimeError(
                f"Bad in-place call: input tensor size {list(node_of(self).type.shape)} and output "
                f"tensor size {list(node.type.shape)} should match"
            )
        return update(self, node)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"beta * input + alpha * the product of {' and '.join(_NAMES[name])}."
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, in place."
    public(function, name, inplace=inplace)
