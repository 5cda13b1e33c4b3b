"""torch.linalg: norms, products of several matrices, powers and inverses, decompositions."""

from __future__ import annotations

from typing import Any

from lazyt.ir import ops_linalg as lin
from lazyt.ir.dtypes import FLOATING
from lazyt.ir.node import Node
from lazyt.ir.numerics.matmul import LinAlgError
from lazyt.ir.ops_complex import conj
from lazyt.ir.ops_shape import copy, expand
from lazyt.missing import getattr_of

from .dispatch import EXACT, at_once, deliver, fit_exactly, leading_to, scalar_name, wrap
from .functions.arithmetic import compute_mul
from .functions.decompositions import (
    check_matrices,
    check_square,
    cholesky,
    det,
    eigh,
    eigvalsh,
    lstsq,
    matrix_exp,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    solve,
    svd,
    svdvals,
)
from .functions.matrix_products import compute_matmul, matmul, operands
from .functions.norms import linalg_norm as norm
from .functions.norms import matrix_norm, vector_norm
from .functions.parts import diagonal as _diagonal
from .functions.products import linalg_cross as cross
from .functions.ranges import eye
from .registry import FUNCTIONS, public
from .state import node_of, shape_of
from .tensor import Tensor

__all__ = [
    "LinAlgError",
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "vecdot",
    "vector_norm",
]


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of two dimensions (the last two), as the last one."""
    return _diagonal(A, offset, dim1, dim2)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The inner products of vectors along `dim`; everything else broadcasts."""
    a, b = operands("linalg_vecdot", x=x, y=y)
    if a.type.dtype is not b.type.dtype:
        raise RuntimeError(
            "linalg.vecdot: Expected x and y to have the same dtype, but found x of type "
            f"{scalar_name(a.type.dtype)} and y of type {scalar_name(b.type.dtype)} instead"
        )
    if a.type.dtype.category < FLOATING:
        raise RuntimeError(
            "linalg.vecdot: Expected a floating point or complex tensor as input. Got "
            f"{scalar_name(a.type.dtype)}"
        )
    if out is not None:
        text = "linalg.vecdot: Expected out of dtype{want} but found {have}"
        fit_exactly(a.type.dtype, out.dtype, text)
    product = wrap(compute_mul(conj(a) if a.type.dtype.is_complex else a, b))
    return FUNCTIONS["sum"](product, dim, dtype=a.type.dtype, out=out)


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of square matrices; LinAlgError for a singular one."""
    (node,) = operands("linalg_inv", A=A)
    check_square(node, "linalg.inv")
    check_matrices(node, "linalg.inv")
    return deliver(at_once(lin.inverse(node)), out, exact=EXACT)


def matrix_power(input: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """The n-th power of square matrices, by repeated squaring; of the inverse where n < 0."""
    if n.__class__ is not int:
        raise TypeError(
            f"matrix_power(): argument 'n' (position 2) must be int, not {type(n).__name__}"
        )
    (base,) = operands("matrix_power", input=input)
    check_square(base, "linalg.matrix_power")
    if n == 0:
        one = node_of(eye(base.type.shape[-1], dtype=base.type.dtype, device=input.device))
        power = copy(expand(one, base.type.shape))
        return deliver(leading_to(power, "CopyBackwards", base), out)
    if n < 0:
        base, n = at_once(lin.inverse(base)), -n
    result: Node | None = None
    while True:
        if n & 1:
            result = base if result is None else compute_matmul(result, base)
        n >>= 1
        if not n:
            break
        base = compute_matmul(base, base)
    assert result is not None
    return deliver(copy(result) if result is node_of(input) else result, out, exact=EXACT)


def _cheapest(extents: list[int]) -> list[list[int]]:
    """Where to split each run of factors for the fewest multiplications (Cormen et al., 15.2)."""
    count = len(extents) - 1
    cost = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            choices = [
                cost[i][k] + cost[k + 1][j] + extents[i] * extents[k + 1] * extents[j + 1]
                for k in range(i, j)
            ]
            cost[i][j] = min(choices)
            split[i][j] = i + choices.index(cost[i][j])
    return split


def _chain(nodes: list[Node], split: list[list[int]], i: int, j: int) -> Node:
    if i == j:
        return nodes[i]
    k = split[i][j]
    return compute_matmul(_chain(nodes, split, i, k), _chain(nodes, split, k + 1, j))


def multi_dot(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """The product of several matrices in the cheapest order; the first and last may be vectors."""
    count = len(tensors)
    if count < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {count}")
    nodes = [operands("multi_dot", tensors=t)[0] for t in tensors]
    for i, node in enumerate(nodes):
        rank = len(node.type.shape)
        allowed = (1, 2) if i in (0, count - 1) else (2,)
        if rank not in allowed:
            words = "1D or 2D" if len(allowed) == 2 else "2D"
            raise RuntimeError(f"multi_dot(): tensor {i} must be {words} but got {rank}D")
    first = nodes[0].type.shape
    extents = [first[0] if len(first) == 2 else 1, first[-1]]
    for node in nodes[1:]:
        extents.append(node.type.shape[1] if len(node.type.shape) == 2 else 1)
    text = "multi_dot(): expected out tensor to have dtype {want_c} but got {have_c}"
    return deliver(_chain(nodes, _cheapest(extents), 0, count - 1), out, exact=text)


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """`multi_dot` of the arguments, which are matrices; one alone is returned as it is."""
    for t in matrices:
        rank = len(shape_of(t))
        if rank != 2:
            raise RuntimeError(f"Tensor dimension is {rank}, expected 2 instead.")
    if len(matrices) == 1:
        return matrices[0]
    return multi_dot(matrices, out=out)


public(matrix_power, "matrix_power")
public(inv, "inverse")
FUNCTIONS["chain_matmul"] = chain_matmul

__getattr__ = getattr_of(__name__)
