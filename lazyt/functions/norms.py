"""Norms of vectors and matrices, and the distance between two tensors.

    x.norm(), torch.norm(x, 1, dim=0), linalg.vector_norm(x, 3), linalg.matrix_norm(x, "fro")

The gradient at a norm of 0 is 0, and the infinity norms share theirs among ties.
"""

from __future__ import annotations

import math
from typing import Any

from lazyt.ir import ops_elementwise as ops
from lazyt.ir import ops_reduce as red
from lazyt.ir.dtypes import FLOATING, DType
from lazyt.ir.node import Node
from lazyt.ir.ops_complex import modulus
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import copy, permute, reshape
from lazyt.ir.tags import OUTPUT

from ..dispatch import EXACT, as_dtype, deliver, number_of, promoted, scalar_name, tagged, wrap
from ..tensor import Tensor, wrap_dim
from .arithmetic import compute_sub
from .decompositions import of_singular_values
from .dims import axes_of, input_node, publish

Axes = tuple[int, ...]


def compute_norm(x: Node, p: float, axes: Axes, keepdim: bool) -> Node:
    """The p-norm over `axes`. RuntimeError where a norm without an identity meets no elements."""
    shape = x.type.shape
    if p < 0 or p == math.inf:
        for axis in axes:
            if shape[axis] == 0:
                shown = "inf" if p == math.inf else f"{p:g}"
                what = "tensor" if len(axes) == len(shape) else f"dimension {axis}"
                raise RuntimeError(
                    f"linalg.vector_norm cannot compute the {shown} norm on an empty {what} "
                    "because the operation does not have an identity"
                )
    arg = (axes, keepdim)
    if p == 2:
        return red.norm2(x, arg=arg)
    if p == 0:
        return red.sum_(ops.abs_(ops.sign(x)), arg=arg)
    if p == 1:
        return red.sum_(ops.abs_(x), arg=arg)
    if math.isinf(p):
        return (red.amax if p > 0 else red.amin)(ops.abs_(x), arg=arg)
    return red.norm_p(x, arg=(*arg, p))


def _vector_operand(input: Any, dtype: DType | None, name: str) -> tuple[Node, Node]:
    node, dtype = input_node(input, name), as_dtype(dtype, name)
    if node.type.dtype.category < FLOATING:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{scalar_name(node.type.dtype)}"
        )
    if dtype is not None and dtype.category < FLOATING:
        raise RuntimeError(
            "linalg.vector_norm: dtype should be floating point or complex, but got "
            f"{scalar_name(dtype)}"
        )
    return node, cast(node, dtype or node.type.dtype)


def _vector_norm(norm: Node, x: Node) -> Node:
    return tagged(norm, "LinalgVectorNorm", x, keeps=(x, OUTPUT))


def vector_norm(
    input: Tensor,
    ord: Any = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The `ord`-norm of vectors along `dim` (or of all elements).

    Errors: RuntimeError for integers, and where there are no elements and `ord` is negative or inf.
    """
    p = number_of(ord)
    if p is None:
        raise TypeError(
            "linalg_vector_norm(): argument 'ord' (position 2) must be Number, not "
            f"{type(ord).__name__}"
        )
    node, x_node = _vector_operand(input, dtype, "linalg_vector_norm")
    if x_node.type.dtype.is_complex:
        x_node = modulus(x_node)
    axes = axes_of(dim, len(node.type.shape), "linalg_vector_norm")
    return deliver(
        _vector_norm(compute_norm(x_node, float(p), axes, keepdim), node),
        out,
        "linalg_vector_norm",
        EXACT,
    )


OF_MATRIX = (
    "linalg_matrix_norm",
    "linalg.matrix_norm expected out tensor dtype {want} but got: {have}",
)


def _matrix_axes(dim: Any, rank: int) -> tuple[int, int]:
    axes = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if len(axes) != 2:
        raise RuntimeError(
            "linalg.matrix_norm: dim must be a 2-tuple. Got " + " ".join(map(str, axes))
        )
    rows, columns = (wrap_dim(int(d), rank) for d in axes)
    if rows == columns:
        raise RuntimeError(
            f"linalg.matrix_norm: dims must be different. Got ({axes[0]}, {axes[1]})"
        )
    return rows, columns


def matrix_norm(
    input: Tensor,
    ord: Any = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The norm of matrices in two dimensions: "fro", "nuc", 1, -1, 2, -2, inf or -inf.

    Errors: RuntimeError for other orders.
    """
    node, x = _vector_operand(input, dtype, "linalg_matrix_norm")
    rank = len(node.type.shape)
    if rank < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions."
        )
    known = ord in ("fro", "nuc") if isinstance(ord, str) else abs(ord) in (1, 2, math.inf)
    if not known:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    rows, columns = _matrix_axes(dim, rank)
    if ord == "fro":
        result = compute_norm(x, 2.0, tuple(sorted((rows, columns))), keepdim)
        return deliver(_vector_norm(result, node), out, *OF_MATRIX)
    if ord == "nuc" or abs(ord) == 2:
        if x.type.dtype.is_half:
            raise RuntimeError(
                "linalg.matrix_norm: Low precision dtypes not supported. Got "
                f"{scalar_name(x.type.dtype)}"
            )
        others = tuple(i for i in range(rank) if i not in (rows, columns))
        result = of_singular_values(permute(x, (*others, rows, columns)), ord)
        if keepdim:
            kept_shape = tuple(
                1 if i in (rows, columns) else n for i, n in enumerate(node.type.shape)
            )
            result = copy(reshape(result, kept_shape))
        return deliver(result, out, *OF_MATRIX)
    # A norm of 1 adds up columns (the row axis goes), one of inf adds up rows.
    added, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = _vector_norm(compute_norm(x, 1.0, (added,), True), node)
    result = (red.amax if ord > 0 else red.amin)(sums, arg=((kept,), True))
    if not keepdim:
        shape = tuple(n for i, n in enumerate(node.type.shape) if i not in (rows, columns))
        result = tagged(
            copy(reshape(result, shape)), "Amax" if ord > 0 else "Amin", sums, saves=False
        )
    return deliver(result, out, *OF_MATRIX)


def linalg_norm(
    input: Tensor,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """A vector norm (one dimension, or no `ord`) or a matrix norm (two dimensions)."""
    rank = len(input_node(input, "linalg_norm").type.shape)
    more: dict[str, Any] = {"dtype": dtype, "out": out}
    if dim is not None:
        axes = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
        if len(axes) not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(axes)}"
            )
        if len(axes) == 2 and ord is not None:
            return matrix_norm(input, ord, axes, keepdim, **more)
    elif ord is not None:
        if rank not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                f"{rank}D."
            )
        if rank == 2 or isinstance(ord, str):
            return matrix_norm(input, ord, keepdim=keepdim, **more)
    elif rank == 0:
        dim = None
    if isinstance(ord, str):
        return matrix_norm(input, ord, dim, keepdim, **more)
    return vector_norm(input, 2 if ord is None else ord, dim, keepdim, **more)


def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Tensor | None = None,
    dtype: DType | None = None,
) -> Tensor:
    """The p-norm over `dim` (all dimensions where it is None), "fro" standing for 2."""
    if p == "nuc" or isinstance(p, str) and p != "fro":
        where = dim if dim is not None else (-2, -1)
        return matrix_norm(input, p, where, keepdim, dtype=dtype, out=out)
    if p is None or p == "fro":
        p = 2
    if isinstance(p, Tensor):
        p = p.item()
    return vector_norm(input, p, dim, keepdim, dtype=dtype, out=out)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    a, b = input_node(input, "dist"), input_node(other, "dist")
    (x, y), dtype = promoted(a, b)
    if dtype.category < FLOATING:
        raise RuntimeError(
            "norm(): input dtype should be either floating point or complex. Got "
            f"{scalar_name(dtype)} instead."
        )
    gap = compute_sub(x, y)
    gap = modulus(gap) if dtype.is_complex else gap
    axes = tuple(range(len(gap.type.shape)))
    result = compute_norm(gap, float(p), axes, False)
    return wrap(tagged(result, "Dist", a, b, keeps=(a, b, OUTPUT)))


publish(norm)
publish(dist)
